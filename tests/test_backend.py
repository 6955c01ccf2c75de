import gc
import sys
import types
import weakref

import keras
import numpy as np
import pytest
from keras import ops

from imggen_lib import backend


def gradient_of(function, values):
    return ops.convert_to_numpy(backend.input_gradient(function, ops.convert_to_tensor(values, "float32")))


def test_gradient_of_a_quadratic_form():
    """The gradient of x'Ax is (A + A')x."""
    matrix = np.array([[1.0, 2.0], [0.0, 3.0]], "float32")
    gradient = gradient_of(lambda x: ops.sum(ops.matmul(x, matrix) * x, axis=-1), [[1.0, -1.0], [2.0, 0.5]])
    np.testing.assert_allclose(gradient, np.array([[1, -1], [2, 0.5]]) @ (matrix + matrix.T), rtol=1e-6)


def test_each_row_of_a_batch_has_its_own_gradient():
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    batch = gradient_of(lambda x: ops.sum(ops.sin(x), axis=-1), x)
    np.testing.assert_allclose(batch, np.cos(x), rtol=1e-5)
    np.testing.assert_allclose(batch[2:3], gradient_of(lambda x: ops.sum(ops.sin(x), axis=-1), x[2:3]), rtol=1e-5)


def test_the_gradient_can_be_differentiated_again():
    """(x^3)'' = 6x."""
    second = gradient_of(lambda x: backend.input_gradient(lambda x: x**3, x), [1.0, -2.0])
    np.testing.assert_allclose(second, [6, -12], rtol=1e-6)


def test_a_gradient_penalty_has_a_gradient_with_respect_to_the_weights():
    """For the critic w.x, the penalty (|w| - 1)^2 has the gradient 2 (|w| - 1) w / |w|."""

    def penalty(w):
        slope = backend.input_gradient(lambda x: x @ ops.reshape(w, (2, 1)), ops.ones((4, 2)))
        return ops.mean((ops.norm(slope, axis=1) - 1) ** 2)

    np.testing.assert_allclose(gradient_of(penalty, [3.0, 4.0]), 2 * (5 - 1) * np.array([3, 4]) / 5, rtol=1e-5)


def test_the_gradient_of_a_constant_is_zero():
    np.testing.assert_array_equal(gradient_of(lambda x: ops.ones((1,)), [1.0, 2.0]), [0, 0])


def test_input_gradient_names_an_unknown_backend(monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "abacus")
    with pytest.raises(NotImplementedError, match="backend is abacus"):
        gradient_of(lambda x: x, [1.0])


def network_with_state():
    """A network with two inputs and two outputs, dropout and batch normalisation."""
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    x = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(keras.layers.Concatenate()([a, b])))
    return keras.Model([a, b], [keras.layers.Dense(4)(x), x])


def test_inference_function_matches_keras_predict_for_every_batch_size(rng):
    network = network_with_state()
    network([rng.normal(size=(50, 3)), rng.normal(size=(50, 2))], training=True)  # move the batch statistics
    evaluate = backend.inference_function(network)
    for n in (1, 4, 7):
        inputs = [rng.normal(size=(n, 3)), rng.normal(size=(n, 2))]
        for found, expected in zip(evaluate(inputs), network.predict(inputs, verbose=0), strict=True):
            assert isinstance(found, np.ndarray) and found.dtype == np.float32
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_inference_function_uses_the_present_weights():
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
    evaluate = backend.inference_function(network)
    assert evaluate(np.ones((1, 1))).item() == 1
    network.set_weights([np.full((1, 1), 3.0), np.ones(1)])
    assert evaluate(np.ones((1, 1))).item() == 4


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="other backends use predict_on_batch of the network")
def test_the_compiled_function_is_shared_and_deleted_with_its_network(rng):
    network = network_with_state()
    inputs = [rng.normal(size=(2, 3)), rng.normal(size=(2, 2))]
    backend.inference_function(network)(inputs)
    compiled = backend._compiled[network]
    backend.inference_function(network)(inputs)
    assert backend._compiled[network] is compiled
    assert compiled.experimental_get_tracing_count() == 1
    reference = weakref.ref(network)
    del network, compiled
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize(
    ("devices", "message"),
    [(0, "devices is 0; expected at least 1"), (2.5, "devices is 2.5; expected a whole number"), (512, "devices is 512")],
)
def test_data_parallel_rejects_an_impossible_number_of_devices(devices, message):
    with pytest.raises((ValueError, TypeError), match=message):
        backend.data_parallel(devices, batch_size=512)


def test_data_parallel_needs_jax(monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "tensorflow")
    with pytest.raises(ValueError, match="set KERAS_BACKEND=jax"):
        backend.data_parallel(2, 64)


def test_data_parallel_rejects_a_batch_that_cannot_be_divided_equally(monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    monkeypatch.setattr("keras.distribution.list_devices", lambda: ["gpu:0", "gpu:1", "gpu:2"])
    with pytest.raises(ValueError, match="batch_size is 64; expected a multiple of the number of devices, 3"):
        backend.data_parallel(3, 64)


@pytest.mark.parametrize(("capability", "supported"), [("9.0", True), ("7.5", False), ("gfx942", False), (None, False)])
def test_mixed_precision_needs_an_nvidia_gpu_of_compute_capability_8(monkeypatch, capability, supported):
    """JAX gives a number for NVIDIA's devices, a name for AMD's, and no attribute for a CPU."""
    device = types.SimpleNamespace() if capability is None else types.SimpleNamespace(compute_capability=capability)
    monkeypatch.setitem(sys.modules, "jax", types.SimpleNamespace(devices=lambda: [device]))
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    with backend.mixed_precision():
        assert keras.config.dtype_policy().name == ("mixed_bfloat16" if supported else "float32")
    with backend.mixed_precision(False):
        assert keras.config.dtype_policy().name == "float32"
    assert keras.config.dtype_policy().name == "float32"

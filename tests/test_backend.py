import sys
import types

import keras
import numpy as np
import pytest
from keras import ops

from imggen_lib import backend
from imggen_lib.backend import input_gradient


def gradient_of(function, values):
    return ops.convert_to_numpy(input_gradient(function, ops.convert_to_tensor(values, "float32")))


def test_the_gradient_of_a_quadratic_form():
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
    second = gradient_of(lambda x: input_gradient(lambda x: x**3, x), [1.0, -2.0])
    np.testing.assert_allclose(second, [6, -12], rtol=1e-6)


def test_a_gradient_penalty_trains_the_weights_it_is_taken_through():
    """For the critic w.x, the penalty (|w| - 1)^2 has the gradient 2 (|w| - 1) w / |w|."""

    def penalty(w):
        slope = input_gradient(lambda x: x @ ops.reshape(w, (2, 1)), ops.ones((4, 2)))
        return ops.mean((ops.norm(slope, axis=1) - 1) ** 2)

    np.testing.assert_allclose(gradient_of(penalty, [3.0, 4.0]), 2 * (5 - 1) * np.array([3, 4]) / 5, rtol=1e-5)


def test_a_constant_has_the_gradient_zero():
    np.testing.assert_array_equal(gradient_of(lambda x: ops.ones((1,)), [1.0, 2.0]), [0, 0])


@pytest.mark.parametrize(("number", "fast"), [("9.0", True), ("7.5", False), ("gfx942", False), (None, False)])
def test_brain_floats_are_for_gpus_from_a_compute_capability_on(monkeypatch, number, fast):
    """JAX tells the number of NVIDIA's devices, the name of AMD's, and nothing of a processor."""
    device = types.SimpleNamespace() if number is None else types.SimpleNamespace(compute_capability=number)
    monkeypatch.setitem(sys.modules, "jax", types.SimpleNamespace(devices=lambda: [device]))
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    with backend.mixed_precision():
        assert keras.config.dtype_policy().name == ("mixed_bfloat16" if fast else "float32")


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow has graphs to rewrite")
@pytest.mark.parametrize(("gpus", "as_written"), [([], True), (["a GPU"], False)])
def test_graphs_run_as_written_unless_there_is_a_gpu(monkeypatch, gpus, as_written):
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    before = tf.config.optimizer.get_experimental_options()["disable_meta_optimizer"]
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    try:
        assert backend.graphs_as_written() == as_written
        assert tf.config.optimizer.get_experimental_options()["disable_meta_optimizer"] == as_written
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": before})


def test_only_tensorflow_has_graphs_to_rewrite(monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    assert not backend.graphs_as_written()


def test_an_unknown_backend_is_named(monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "abacus")
    with pytest.raises(NotImplementedError, match="abacus"):
        gradient_of(lambda x: x, [1.0])

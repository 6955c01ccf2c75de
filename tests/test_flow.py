"""Normalizing flows: inverses, determinants checked by automatic differentiation, densities that integrate to 1."""

import keras
import numpy as np
import pytest
from keras import ops

from imggen_lib import backend, models
from imggen_lib.models import flow


def perturb(network, seed=0):
    """Add noise to the weights, the same on every backend: with its initial weights a flow only rotates."""
    rng = np.random.default_rng(seed)
    for weight in network.weights:
        weight.assign(weight + 0.2 * rng.standard_normal(weight.shape))
    return network


def network_inputs(images, num_classes):
    """Return inputs of a flow network: the images, and one-hot conditions if there are classes."""
    images = ops.convert_to_tensor(images, "float32")
    return images if num_classes is None else [images, ops.one_hot(np.arange(len(images)) % num_classes, num_classes)]


@pytest.mark.parametrize("shape", [(4, 8, 3), (1, 7, 3)])
@pytest.mark.parametrize("num_classes", [None, 3])
def test_the_inverse_restores_the_input(num_classes, shape):
    keras.utils.set_random_seed(0)
    network = perturb(models.flow_network(shape, filters=(8, 8), couplings=2, num_classes=num_classes))
    x = np.random.default_rng(0).normal(size=(20, *shape)).astype("float32")
    inputs = network_inputs(x, num_classes)
    if shape == (1, 7, 3):  # the network appends a border to 4x8 pixels
        border = ops.convert_to_tensor(np.random.default_rng(1).normal(size=(20, 4, 8, 3)), "float32")
        inputs = [*(inputs if isinstance(inputs, list) else [inputs]), border]
    y = network(inputs)[0]
    assert tuple(y.shape) == (20, 1, 2, 48)
    again = flow.invert_network(network, y, None if num_classes is None else inputs[1])
    np.testing.assert_allclose(ops.convert_to_numpy(again), x, atol=2e-3)


@pytest.mark.parametrize("num_classes", [None, 3])
def test_the_log_determinant_agrees_with_automatic_differentiation(num_classes):
    keras.utils.set_random_seed(0)
    network = perturb(models.flow_network((2, 4, 1), filters=(8,), couplings=2, num_classes=num_classes))
    x = ops.convert_to_tensor(np.random.default_rng(1).normal(size=(3, 2, 4, 1)), "float32")
    rows = [
        backend.input_gradient(lambda v, k=k: ops.reshape(network(network_inputs(v, num_classes))[0], (3, 8))[:, k], x)
        for k in range(8)
    ]
    jacobian = np.stack([ops.convert_to_numpy(row).reshape(3, 8) for row in rows], axis=1)
    expected = np.linalg.slogdet(jacobian.astype(float))[1]
    assert np.abs(expected).max() > 0.5
    log_det = ops.convert_to_numpy(network(network_inputs(x, num_classes))[1])
    np.testing.assert_allclose(log_det, expected, atol=1e-3)


def test_the_log_determinant_of_the_logits_agrees_with_finite_differences():
    rng = np.random.default_rng(0)
    images, uniform = rng.integers(256, size=(3, 2, 2, 3)) / 255, rng.uniform(0.1, 0.9, size=(3, 2, 2, 3))
    step = 1e-3
    above, below = (
        ops.convert_to_numpy(flow.images_to_logits(images, uniform + sign * step)[0]).astype(float) for sign in (1, -1)
    )
    slopes = (above - below) / (2 * step / 256)
    log_det = ops.convert_to_numpy(flow.images_to_logits(images, uniform)[1])
    np.testing.assert_allclose(log_det, np.log(slopes).sum(axis=(1, 2, 3)), atol=1e-3 if log_det.dtype == float else 1)


def test_logits_are_inverted_for_every_level():
    images = np.arange(256).reshape(1, 16, 16, 1) / 255
    for uniform in (0.001, 0.5, 0.999):
        logits, _ = flow.images_to_logits(images, np.full(images.shape, uniform))
        np.testing.assert_allclose(ops.convert_to_numpy(flow.logits_to_images(logits)), images, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 2, 1), (2, 1, 1)])
def test_the_density_integrates_to_the_fraction_of_samples_in_the_range_of_images(shape):
    """Nearly 1: a flow may also generate values a little outside [0, 1], which are clipped.

    With a border, the mean of exp(log_prob) over borders is the density of the image (importance sampling).
    """
    keras.utils.set_random_seed(0)
    model = models.Flow(perturb(models.flow_network(shape, filters=(8,), couplings=2)))
    assert model.image_shape == shape and model.border_shape == (None if shape == (2, 2, 1) else (2, 2, 1))
    levels = np.random.default_rng(0).integers(256, size=(40_000, *shape)) / 255
    density = np.exp(model.log_prob(levels, seed=0))  # at points distributed uniformly over the unit cube
    error = density.std() / np.sqrt(len(density))
    assert error < 0.02

    latent = ops.convert_to_tensor(np.random.default_rng(1).standard_normal((40_000, 1, 1, 4)), "float32")
    a = 1 / (1 + np.exp(-ops.convert_to_numpy(flow.invert_network(model.average.network, latent))))
    inside = ((a > flow.EDGE) & (a < 1 - flow.EDGE)).all(axis=(1, 2, 3)).mean()
    assert 0.5 < inside < 1
    assert abs(density.mean() - inside) < 4 * error + 0.01


@pytest.mark.parametrize("shape", [(2, 2, 1), (2, 4, 3), (3, 5, 3)])
def test_an_untrained_flow_has_the_density_of_independent_logit_normal_values(shape):
    """Its couplings only rotate, and rotations keep the standard normal distribution. A border is independent."""
    model = models.Flow(models.flow_network(shape, filters=(8,), couplings=2))
    images = np.random.default_rng(0).integers(256, size=(5, *shape)) / 255
    y = (np.round(255 * images) + np.random.default_rng(7).uniform(size=images.shape)) / 256
    a = 0.05 + 0.9 * y
    logit = np.log(a / (1 - a))
    expected = -0.5 * logit**2 - 0.5 * np.log(2 * np.pi) + np.log(0.9) - np.log(a * (1 - a))
    np.testing.assert_allclose(model.log_prob(images, seed=7), expected.sum(axis=(1, 2, 3)), atol=1e-3)


def test_the_loss_is_minus_the_mean_log_density_per_value():
    """Up to the random dequantisation, which is another one in training."""
    keras.utils.set_random_seed(0)
    model = models.Flow(perturb(models.flow_network((4, 4, 3), filters=(8,), couplings=1, num_classes=2)), num_classes=2)
    images = np.random.default_rng(0).integers(256, size=(2000, 4, 4, 3)).astype("float32") / 255
    labels = np.arange(2000) % 2
    loss = float(model.compute_loss(ops.convert_to_tensor(images), ops.convert_to_tensor(labels), training=False))
    log_p = model.log_prob(images, seed=0, labels=labels) / 48
    assert abs(loss + log_p.mean()) < 0.01


def test_training_raises_the_likelihood_and_learns_correlations():
    """All pixels of an image have the same value, up to noise; the class determines the range of that value."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=1000)
    common = (0.2 + 0.3 * labels + rng.uniform(0, 0.3, 1000)).reshape(-1, 1, 1, 1)
    images = np.clip(common + 0.02 * rng.standard_normal((1000, 2, 2, 1)), 0, 1).astype("float32")
    network = models.flow_network((2, 2, 1), filters=(16,), couplings=2, num_classes=2)
    model = models.Flow(network, num_classes=2, ema_momentum=0.95)
    before = model.log_prob(images[:500], seed=0, labels=labels[:500]).mean()
    model.compile(optimizer=keras.optimizers.Adam(3e-2))
    model.fit(images, labels, batch_size=100, epochs=15, verbose=0)
    assert model.log_prob(images[:500], seed=0, labels=labels[:500]).mean() > before + 2
    dark, bright = (model.sample(500, seed=0, labels=label).reshape(500, 4) for label in (0, 1))
    assert min(np.corrcoef(dark.T).min(), np.corrcoef(bright.T).min()) > 0.9  # of the data: 0.95
    assert np.median(bright) - np.median(dark) == pytest.approx(0.3, abs=0.05)


def test_samples_are_on_256_levels_and_reproducible():
    model = models.Flow(models.flow_network((4, 4, 1), filters=(8,), couplings=1))
    images = model.sample(300, seed=3)
    np.testing.assert_allclose(images * 255, np.round(images * 255), atol=1e-3)
    np.testing.assert_array_equal(images, model.sample(300, seed=3))


def test_a_conditional_flow_is_the_same_after_saving_and_its_weights_have_unique_names(tmp_path):
    keras.utils.set_random_seed(0)
    model = models.Flow(models.flow_network((4, 4, 3), filters=(8,), couplings=2, num_classes=3), num_classes=3)
    perturb(model.average.network)
    names = [weight.path for weight in model.network.weights]
    assert len(set(names)) == len(names)
    assert names == [weight.path for weight in model.average.network.weights]
    model.save(tmp_path / "flow.keras")
    again = keras.saving.load_model(tmp_path / "flow.keras")
    labels = [0, 1, 2, 2]
    images = model.sample(4, seed=1, labels=labels)
    np.testing.assert_array_equal(again.sample(4, seed=1, labels=np.eye(3)[labels]), images)
    np.testing.assert_allclose(
        again.log_prob(images, seed=0, labels=labels), model.log_prob(images, seed=0, labels=labels), rtol=1e-5
    )
    assert np.abs(images - model.sample(4, seed=1, labels=0)).max() > 0.01


def test_evaluate_changes_no_weight():
    model = models.Flow(models.flow_network((4, 4, 1), filters=(8,), couplings=1))
    model.compile(optimizer="sgd", run_eagerly=True)
    before = model.get_weights()
    model.evaluate(np.zeros((4, 4, 4, 1), "float32"), verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


def test_invalid_arguments_raise_clear_errors():
    model = models.Flow(models.flow_network((4, 4, 1), filters=(8,), couplings=1))
    with pytest.raises(ValueError, match=r"expected \(n, 4, 4, 1\)"):
        model.log_prob(np.zeros((1, 2, 2, 1)), seed=0)
    with pytest.raises(ValueError, match="built without num_classes"):
        model.sample(1, seed=0, labels=2)
    with pytest.raises(ValueError, match="expected a chain of invertible layers"):
        models.Flow(keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()]))
    with pytest.raises(ValueError, match="use flow_network with num_classes=3"):
        models.Flow(model.network, num_classes=3)
    with pytest.raises(ValueError, match=r"latent has the shape \(1, 4, 4, 1\); expected \(n, 2, 2, 4\)"):
        model.generate(np.zeros((1, 4, 4, 1)))
    with pytest.raises(ValueError, match="scale_bound is 0"):
        flow.Coupling(8, scale_bound=0)
    with pytest.raises(ValueError, match="expected two or more channels"):
        flow.Coupling(8)(ops.ones((1, 2, 2, 1)))
    conditional = models.Flow(models.flow_network((4, 4, 1), filters=(8,), couplings=1, num_classes=2), num_classes=2)
    with pytest.raises(ValueError, match="labels is None"):
        conditional.generate(np.zeros((1, 2, 2, 4)))
    with pytest.raises(ValueError, match="labels is None"):
        conditional.log_prob(np.zeros((1, 4, 4, 1)), seed=0)

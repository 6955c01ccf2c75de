"""Flows: what goes in comes back, determinants agree with automatic differentiation, densities integrate to 1."""

import keras
import numpy as np
import pytest
from keras import ops

from imggen_lib import backend, models
from imggen_lib.models import flow


def stirred(network, seed=0):
    """A network whose weights are no longer those at the start, where a flow does next to nothing."""
    for number, weight in enumerate(network.weights):
        weight.assign(weight + 0.2 * keras.random.normal(weight.shape, seed=seed + number))
    return network


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return stirred(models.flow_network((4, 4, 1), filters=(8, 8), couplings=2))


def test_what_goes_in_comes_back(network):
    x = np.random.default_rng(0).normal(size=(20, 4, 4, 1)).astype("float32")
    y = ops.convert_to_tensor(network(x)[0])
    assert tuple(y.shape) == (20, 1, 1, 16)
    for layer in reversed(flow._chain(network)):
        y = layer.invert(y)
    np.testing.assert_allclose(ops.convert_to_numpy(y), x, atol=1e-4)


def test_the_log_determinant_agrees_with_automatic_differentiation(network):
    x = ops.convert_to_tensor(np.random.default_rng(1).normal(size=(3, 4, 4, 1)), "float32")
    rows = [backend.input_gradient(lambda v, k=k: network(v)[0][:, 0, 0, k], x) for k in range(16)]
    jacobian = np.stack([ops.convert_to_numpy(row).reshape(3, 16) for row in rows], axis=1)
    expected = np.linalg.slogdet(jacobian.astype(float))[1]
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(ops.convert_to_numpy(network(x)[1]), expected, atol=1e-3)


def test_the_density_integrates_to_the_share_of_draws_that_are_pictures():
    """Nearly 1: a flow may also draw numbers a little outside the range of pictures, which are then cut off."""
    keras.utils.set_random_seed(0)
    model = models.Flow(stirred(models.flow_network((2, 2, 1), filters=(8,), couplings=2)))
    levels = np.random.default_rng(0).integers(256, size=(40_000, 2, 2, 1)) / 255
    density = np.exp(model.log_prob(levels, seed=0))  # at points spread evenly over the unit cube
    error = density.std() / np.sqrt(len(density))
    assert error < 0.02

    x = ops.convert_to_tensor(np.random.default_rng(1).standard_normal((40_000, 1, 1, 4)), "float32")
    for layer in reversed(flow._chain(model.average.network)):
        x = layer.invert(x)
    a = 1 / (1 + np.exp(-ops.convert_to_numpy(x)))
    inside = ((a > flow.EDGE) & (a < 1 - flow.EDGE)).all(axis=(1, 2, 3)).mean()
    assert 0.5 < inside < 1
    assert abs(density.mean() - inside) < 4 * error + 0.01


def test_an_untrained_flow_is_a_turned_logistic_normal():
    """Rotations alone keep the standard normal, so the density is that of independent logit-normal values."""
    model = models.Flow(models.flow_network((2, 2, 1), filters=(8,), couplings=3))
    images = np.random.default_rng(0).integers(256, size=(5, 2, 2, 1)) / 255
    y = (np.round(255 * images) + np.random.default_rng(7).uniform(size=images.shape)) / 256
    a = 0.05 + 0.9 * y
    logit = np.log(a / (1 - a))
    expected = -0.5 * logit**2 - 0.5 * np.log(2 * np.pi) + np.log(0.9) - np.log(a * (1 - a))
    np.testing.assert_allclose(model.log_prob(images, seed=7), expected.sum(axis=(1, 2, 3)), atol=1e-3)


def test_training_raises_the_likelihood_and_finds_correlations():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    common = rng.uniform(0.2, 0.8, (2000, 1, 1, 1))
    images = np.clip(common + 0.02 * rng.standard_normal((2000, 2, 2, 1)), 0, 1).astype("float32")
    model = models.Flow(models.flow_network((2, 2, 1), filters=(16,), couplings=4), ema_momentum=0.99)
    before = model.log_prob(images[:500], seed=0).mean()
    model.compile(optimizer=keras.optimizers.Adam(1e-2))
    model.fit(images, batch_size=100, epochs=15, verbose=0)
    assert model.log_prob(images[:500], seed=0).mean() > before + 2
    pixels = model.sample(2000, seed=0).reshape(2000, 4)
    assert np.corrcoef(pixels.T).min() > 0.9


def test_drawn_pictures_are_of_256_levels_and_the_seed_decides():
    model = models.Flow(models.flow_network((4, 4, 1), filters=(8,), couplings=1))
    images = model.sample(300, seed=3)
    np.testing.assert_allclose(images * 255, np.round(images * 255), atol=1e-3)
    np.testing.assert_array_equal(images, model.sample(300, seed=3))


def test_bad_input_is_refused():
    model = models.Flow(models.flow_network((4, 4, 1), filters=(8,), couplings=1))
    with pytest.raises(ValueError, match=r"expected \(n, 4, 4, 1\)"):
        model.log_prob(np.zeros((1, 2, 2, 1)), seed=0)
    with pytest.raises(ValueError, match="trained without labels"):
        model.sample(1, seed=0, labels=2)
    with pytest.raises(ValueError, match="multiples of 4"):
        models.flow_network((6, 4, 1), filters=(8, 8))
    with pytest.raises(ValueError, match="no row of invertible layers"):
        models.Flow(keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()]))
    with pytest.raises(ValueError, match=r"latent has the shape \(1, 4, 4, 1\); expected \(n, 2, 2, 4\)"):
        model.generate(np.zeros((1, 4, 4, 1)))
    with pytest.raises(ValueError, match="reach is 0"):
        flow.Coupling(8, reach=0)
    with pytest.raises(ValueError, match="expected two or more"):
        flow.Coupling(8)(ops.ones((1, 2, 2, 1)))

"""Autoregressive models: the order is kept, probabilities add up to 1, drawing with memory equals the whole network."""

import keras
import numpy as np
import pytest
from keras import ops

from imggen_lib import backend, models
from imggen_lib.models import autoregressive
from imggen_lib.models.autoregressive import causal


def stirred(network):
    """A network whose weights are no longer those at the start, where every block is zero."""
    for number, weight in enumerate(network.weights):
        weight.assign(weight + 0.1 * keras.random.normal(weight.shape, seed=number))
    return network


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return models.PixelCNN(stirred(models.pixel_network((6, 5, 1), filters=8, blocks=5, mixtures=3, num_classes=2)))


def test_no_place_sees_what_comes_later_and_nearly_all_that_came_before_is_seen():
    keras.utils.set_random_seed(0)
    network = stirred(models.pixel_network((9, 9, 1), filters=8, blocks=6, mixtures=2))
    image = ops.convert_to_tensor(np.random.default_rng(0).uniform(-1, 1, (1, 9, 9, 1)), "float32")
    for row, column in ((0, 0), (4, 4), (5, 0), (8, 8)):
        gradient = backend.input_gradient(lambda v, r=row, c=column: network(v)[:, r, c], image)
        seen = ops.convert_to_numpy(gradient)[0, :, :, 0].ravel() != 0
        before = row * 9 + column
        assert not seen[before:].any()
        assert seen[:before].sum() >= 0.9 * before


def test_the_probabilities_of_all_pictures_add_up_to_one():
    keras.utils.set_random_seed(0)
    # One above the other: side by side, in pictures of height 1, TensorFlow 2.20 and 2.21 write beside their memory (its
    # issue 117700).
    model = models.PixelCNN(stirred(models.pixel_network((2, 1, 1), filters=8, blocks=2, mixtures=3)))
    pairs = np.stack(np.meshgrid(np.arange(256), np.arange(256)), axis=-1).reshape(-1, 2, 1, 1) / 255
    assert np.exp(model.log_prob(pairs).astype(float)).sum() == pytest.approx(1, abs=1e-3)


def test_pixel_log_probability_agrees_with_the_formula():
    rng = np.random.default_rng(0)
    levels = np.array([0, 1, 100, 254, 255])
    x = (2 * levels / 255 - 1).reshape(5, 1, 1, 1)
    distribution = rng.normal(size=(5, 1, 1, 6))
    logits, means, log_scales = np.split(distribution[:, 0, 0], 3, axis=-1)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    def below(edge):
        return (shares / (1 + np.exp(-(edge - means) / np.exp(log_scales)))).sum(axis=1)

    upper = np.where(levels == 255, 1, below(x[:, 0, 0] + 1 / 255))
    lower = np.where(levels == 0, 0, below(x[:, 0, 0] - 1 / 255))
    got = autoregressive.pixel_log_probability(
        ops.convert_to_tensor(x, "float32"), ops.convert_to_tensor(distribution, "float32")
    )
    np.testing.assert_allclose(np.exp(ops.convert_to_numpy(got)).ravel(), upper - lower, rtol=2e-3)


@pytest.mark.parametrize("log_scale", [-1000.0, 0.0, 1000.0])
def test_the_gradient_is_finite_however_narrow_or_wide_the_bells(log_scale):
    # Pictures of nothing but black and white are told best by bells without end.
    images = ops.convert_to_tensor(np.float32([[[[-1.0], [1.0], [0.0]]]]))
    distribution = ops.convert_to_tensor(np.tile(np.float32([0.0, 0.1, log_scale]), (1, 1, 3, 1)))
    assert np.isfinite(ops.convert_to_numpy(autoregressive.pixel_log_probability(images, distribution))).all()
    gradient = backend.input_gradient(lambda d: autoregressive.pixel_log_probability(images, d), distribution)
    assert np.isfinite(ops.convert_to_numpy(gradient)).all()


def test_drawing_with_memory_equals_the_whole_network(model, monkeypatch):
    seen = []
    draw = autoregressive._draw_levels
    monkeypatch.setattr(autoregressive, "_draw_levels", lambda d, *chance: seen.append(d) or draw(d, *chance))
    labels = np.array([0, 1, 1])
    images = model.sample(3, seed=0, labels=labels)
    whole = model.average.network([2 * images - 1, np.eye(2, dtype="float32")[labels]])
    stepwise = np.stack(seen, axis=1).reshape(3, 6, 5, -1)
    np.testing.assert_allclose(stepwise, whole, atol=1e-4)


def test_many_pictures_are_drawn_in_parts_and_are_the_same(model, monkeypatch):
    labels, counted = np.arange(300) % 2, []
    remember = causal.CausalConvolution.memory
    monkeypatch.setattr(causal.CausalConvolution, "memory", lambda self, n, *a: counted.append(n) or remember(self, n, *a))
    images = model.sample(300, seed=0, labels=labels)
    assert set(counted) == {256, 44}
    chance = model._chance(300, 0, np.random.default_rng(0))
    at_once = model._fill(np.zeros((300, 6, 5, 1)), 0, chance, np.eye(2, dtype="float32")[labels])
    # Sums of another order may round a level in a thousand to its neighbour, and what follows differs then.
    assert (np.abs(images - at_once) < 1e-6).all(axis=(1, 2, 3)).mean() > 0.98


def test_drawn_levels_follow_the_distribution():
    distribution = np.tile([0.5, -0.5, -0.4, 0.6, -2.0, -3.0], (60_000, 1))
    rng = np.random.default_rng(0)
    chance = rng.gumbel(size=(60_000, 2)), rng.logistic(size=60_000)
    levels = autoregressive._draw_levels(distribution, *chance).astype(int)
    shares = np.bincount(levels, minlength=256) / len(levels)
    x = ops.reshape(2 * ops.arange(256, dtype="float32") / 255 - 1, (256, 1, 1, 1))
    logs = autoregressive.pixel_log_probability(
        x, ops.convert_to_tensor(distribution[:256].reshape(256, 1, 1, 6), "float32")
    )
    expected = np.exp(ops.convert_to_numpy(logs).ravel())
    assert np.abs(shares - expected).max() < 5 * np.sqrt(expected.max() / len(levels))
    assert expected.sum() == pytest.approx(1, abs=1e-4)


def test_completing_keeps_the_rows_that_are_known(model):
    images = np.random.default_rng(0).integers(256, size=(4, 6, 5, 1)) / 255
    np.testing.assert_allclose(model.complete(images, 6, seed=0, labels=1), images, atol=1e-6)
    completed = model.complete(images, 2, seed=0, labels=1)
    np.testing.assert_allclose(completed[:, :2], images[:, :2], atol=1e-6)
    assert np.abs(completed[:, 2:] - images[:, 2:]).max() > 0.1


def test_training_learns_what_follows_from_what():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    left = rng.choice([0.2, 0.8], size=(512, 4, 1, 1))
    images = np.concatenate([left, 1 - left], axis=2).astype("float32")
    model = models.PixelCNN(models.pixel_network((4, 2, 1), filters=16, blocks=1, mixtures=3), ema_momentum=0.95)
    model.compile(optimizer=keras.optimizers.Adam(1e-2))
    model.fit(images, batch_size=64, epochs=50, verbose=0)
    drawn = model.sample(200, seed=0)
    assert np.mean(np.abs(drawn[:, :, 0] + drawn[:, :, 1] - 1) < 0.1) > 0.8
    assert 0.25 < np.mean(drawn[:, 0, 0] > 0.5) < 0.75


def test_bad_input_is_refused(model):
    with pytest.raises(ValueError, match="expected an odd number of columns"):
        causal.CausalConvolution(4, size=(2, 4))
    with pytest.raises(ValueError, match="draws grey pictures"):
        models.pixel_network((8, 8, 3))
    with pytest.raises(ValueError, match="labels is None"):
        model.log_prob(np.zeros((1, 6, 5, 1)))
    with pytest.raises(ValueError, match="rows is 7 and pictures have 6"):
        model.complete(np.zeros((1, 6, 5, 1)), 7, seed=0, labels=0)
    with pytest.raises(ValueError, match="labels holds 2 to 2"):
        model.sample(1, seed=0, labels=2)
    with pytest.raises(ValueError, match="no layers first"):
        models.PixelCNN(keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()]))
    model.compile(optimizer="sgd")
    with pytest.raises(ValueError, match="expected fit\\(images, labels\\)"):
        model.fit(np.zeros((4, 6, 5, 1), "float32"), verbose=0)

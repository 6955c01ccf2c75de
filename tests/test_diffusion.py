"""Diffusion: on Gaussian data everything is known, so sampler and bound are held against formulas."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from imggen_lib import models
from imggen_lib.models import diffusion

MEAN, STD = 0.2, 0.1  # on the scale [-1, 1]


def exact_network(shape=(2, 2, 1)):
    """What a perfect network would answer for independent normal pixels."""
    image, angle = keras.Input(shape), keras.Input((1,))
    wide = ops.reshape(angle, (-1, 1, 1, 1))
    cosine, sine = ops.cos(wide), ops.sin(wide)
    away = (image - cosine * MEAN) / (cosine**2 * STD**2 + sine**2)
    picture, noise = MEAN + cosine * STD**2 * away, sine * away
    return keras.Model([image, angle], cosine * noise - sine * picture)


@pytest.fixture(scope="module")
def exact():
    return models.Diffusion(exact_network())


@pytest.fixture(scope="module")
def conditional():
    keras.utils.set_random_seed(0)
    model = models.Diffusion(models.image_unet((8, 8, 1), num_classes=3, filters=(8, 8), blocks=1))
    for weight in model.average.network.weights:
        weight.assign(weight + 0.05 * keras.random.normal(weight.shape, seed=1))
    return model


def test_the_velocity_is_the_derivative_of_the_noisy_picture():
    rng = np.random.default_rng(0)
    x, noise, angle = rng.normal(size=5), rng.normal(size=5), 0.7
    rise = (diffusion.noisy(x, noise, angle + 1e-4) - diffusion.noisy(x, noise, angle - 1e-4)) / 2e-4
    np.testing.assert_allclose(rise, diffusion.velocity(x, noise, angle), atol=1e-3)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_with_a_perfect_network_every_sampler_draws_the_data(exact, eta):
    drawn = 2 * exact.sample(3000, seed=0, steps=100, eta=eta) - 1
    assert abs(drawn.mean() - MEAN) < 0.004
    assert abs(drawn.std() / STD - 1) < (0.15 if eta else 0.03)
    pixels = drawn.reshape(3000, -1)
    assert np.abs(np.corrcoef(pixels.T) - np.eye(4)).max() < 0.07


def test_more_steps_and_a_higher_order_follow_the_equation_more_closely(exact):
    """With a perfect network the equation takes noise to mean plus std times noise, which is what is drawn in the limit."""

    def error(steps, order):
        start = np.random.default_rng(0).standard_normal((200, 2, 2, 1))
        return np.abs(2 * exact.sample(200, seed=0, steps=steps, order=order) - 1 - (MEAN + STD * start)).max()

    first, second = ([error(steps, order) for steps in (10, 20, 40, 80)] for order in (1, 2))
    assert all(coarse > fine for errors in (first, second) for coarse, fine in itertools.pairwise(errors))
    assert second[-1] < first[-1] / 3


def test_one_step_from_pure_noise_draws_the_mean(exact):
    drawn = 2 * exact.sample(10, seed=0, steps=1) - 1
    np.testing.assert_allclose(drawn, MEAN, atol=1e-6)


def test_with_a_perfect_network_the_bound_is_the_log_density(exact):
    rng = np.random.default_rng(0)
    images = ((MEAN + STD * rng.standard_normal((400, 2, 2, 1))) + 1) / 2
    bound = exact.log_prob_lower_bound(images, seed=0, angles=200)
    std = STD / 2  # on the scale [0, 1]
    density = -0.5 * ((images - (MEAN + 1) / 2) / std) ** 2 - np.log(std * np.sqrt(2 * np.pi))
    assert abs(bound.mean() - density.sum(axis=(1, 2, 3)).mean()) < 0.1


def test_a_worse_network_has_a_lower_bound(exact):
    ignorant = models.Diffusion(models.image_unet((2, 2, 1), filters=(8,), blocks=1))
    images = np.full((50, 2, 2, 1), (MEAN + 1) / 2)
    assert ignorant.log_prob_lower_bound(images, seed=0).mean() < exact.log_prob_lower_bound(images, seed=0).mean() - 1


def test_guidance_goes_from_no_class_through_the_class_and_beyond(conditional):
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((4, 8, 8, 1)).astype("float32"), np.array([0, 1, 2, 0])
    none, half, full, twice = (conditional.predict_velocity(x, 0.9, labels, guidance_scale=w) for w in (0, 0.5, 1, 2))
    np.testing.assert_array_equal(none, conditional.predict_velocity(x, 0.9))
    assert np.abs(full - none).max() > 1e-3
    np.testing.assert_allclose(half, (none + full) / 2, atol=1e-5)
    np.testing.assert_allclose(twice, 2 * full - none, atol=1e-5)


def test_the_same_seed_draws_the_same_pictures_and_labels_count(conditional):
    first, again = (conditional.sample(3, seed=1, labels=2, steps=3) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - conditional.sample(3, seed=1, labels=0, steps=3)).max() > 1e-3


def test_training_learns_to_tell_a_constant_picture_from_noise():
    """Whoever knows the picture knows the noise: a perfect network's loss is 0, that of one which answers 0 is 0.6."""
    keras.utils.set_random_seed(0)
    model = models.Diffusion(models.image_unet((4, 4, 1), filters=(16,), blocks=1), ema_momentum=0.9)
    model.compile(optimizer=keras.optimizers.Adam(1e-2))
    images = np.full((32, 4, 4, 1), 0.75, np.float32)
    history = model.fit(images, epochs=120, verbose=0).history["loss"]
    assert history[0] > 0.5 and np.mean(history[-10:]) < 0.35
    drawn = model.sample(50, seed=0)
    assert abs(drawn.mean() - 0.75) < 0.05 and drawn.std() < 0.1


def test_a_forgetful_model_learns_nothing_of_the_class():
    network = models.image_unet((4, 4, 1), num_classes=2, filters=(8,), blocks=1)
    (told,) = (w for w in network.trainable_weights if tuple(w.shape) == (2, 16))
    images, labels = np.random.default_rng(0).uniform(size=(64, 4, 4, 1)).astype("float32"), np.arange(64) % 2
    for forget, moves in ((1.0, False), (0.0, True)):
        before = ops.convert_to_numpy(told)
        model = models.Diffusion(network, label_dropout=forget)
        model.compile(optimizer=keras.optimizers.SGD(0.5))
        model.fit(images, labels, batch_size=16, epochs=3, verbose=0)
        assert (np.abs(ops.convert_to_numpy(told) - before).max() > 0) == moves


def test_bad_input_is_refused(conditional, exact):
    with pytest.raises(ValueError, match="labels holds 3 to 3; expected classes from 0 to 2"):
        conditional.sample(2, seed=0, labels=3)
    with pytest.raises(ValueError, match="trained without labels"):
        exact.sample(2, seed=0, labels=1)
    with pytest.raises(ValueError, match="steps is 0"):
        exact.sample(2, seed=0, steps=0)
    with pytest.raises(ValueError, match="eta is 2"):
        exact.sample(2, seed=0, eta=2)
    with pytest.raises(ValueError, match=r"expected \(n, 2, 2, 1\)"):
        exact.log_prob_lower_bound(np.zeros((1, 4, 4, 1)), seed=0)
    with pytest.raises(ValueError, match="expected pictures, one angle"):
        models.Diffusion(models.image_features((8, 8, 1)))
    with pytest.raises(ValueError, match="multiples of 8"):
        models.image_unet((8, 8, 1), filters=(12,))
    conditional.compile(optimizer="sgd")
    with pytest.raises(ValueError, match="expected fit\\(images, labels\\)"):
        conditional.fit(np.zeros((4, 8, 8, 1), "float32"), verbose=0)


def test_a_class_and_its_row_of_numbers_are_told_alike(conditional):
    rows = np.eye(3, dtype="float32")[[2, 0]]
    told = [conditional.sample(2, seed=0, steps=3, labels=labels, guidance_scale=2) for labels in ([2, 0], rows)]
    np.testing.assert_array_equal(*told)
    both = conditional.sample(2, seed=0, steps=3, labels=rows + rows[::-1])
    assert np.abs(both - told[0]).max() > 1e-4
    images = np.random.default_rng(0).uniform(size=(8, 8, 8, 1)).astype("float32")
    labels = np.arange(8) % 3
    losses = []
    for y in (labels, np.eye(3, dtype="float32")[labels]):
        keras.utils.set_random_seed(0)
        model = models.Diffusion(models.image_unet((8, 8, 1), num_classes=3, filters=(8, 8), blocks=1))
        model.compile(optimizer=keras.optimizers.Adam(1e-3))
        losses.append(model.fit(images, y, epochs=3, verbose=0).history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.parametrize(
    ("labels", "message"),
    [(np.zeros((2, 4)), "a row of 3 numbers"), (np.full((2, 3), np.nan), "labels"), ([0, 3], "labels")],
)
def test_what_cannot_be_told_is_refused(conditional, labels, message):
    with pytest.raises(ValueError, match=message):
        conditional.sample(2, seed=0, steps=1, labels=labels)

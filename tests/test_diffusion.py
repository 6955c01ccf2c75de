"""Diffusion model: for Gaussian data the exact network is known, so sampler and likelihood bound have known answers."""

import itertools
import math

import keras
import numpy as np
import pytest
from keras import layers, ops

from imggen_lib import models

MEAN, STD = 0.2, 0.1  # of every pixel, on the scale [-1, 1]


def exact_network(shape=(2, 2, 1)):
    """Return the network whose output is the mean velocity for independent Gaussian pixels."""
    image, angle = keras.Input(shape), keras.Input((1,))
    angle_of_pixel = ops.reshape(angle, (-1, 1, 1, 1))
    cosine, sine = ops.cos(angle_of_pixel), ops.sin(angle_of_pixel)
    scaled = (image - cosine * MEAN) / (cosine**2 * STD**2 + sine**2)
    clean, noise = MEAN + cosine * STD**2 * scaled, sine * scaled
    return keras.Model([image, angle], cosine * noise - sine * clean)


def dense_network(shape, num_classes=None):
    """Return a small network without convolutions, which trains in a few seconds."""
    inputs = [keras.Input(shape), keras.Input((1,))]
    if num_classes is not None:
        inputs.append(keras.Input((num_classes,)))
    features = layers.Concatenate()([layers.Flatten()(inputs[0]), *inputs[1:]])
    hidden = layers.Dense(32, activation="relu", name="hidden")(features)
    return keras.Model(inputs, layers.Reshape(shape)(layers.Dense(math.prod(shape), name="velocity")(hidden)))


@pytest.fixture(scope="module")
def exact():
    return models.Diffusion(exact_network())


@pytest.fixture(scope="module")
def conditional():
    """A U-Net with random weights in all layers, also in those that start at zero."""
    keras.utils.set_random_seed(0)
    network = models.image_unet((8, 8, 1), num_classes=3, filters=(8, 8), blocks=1)
    model = models.Diffusion(network, num_classes=3)
    for weight in model.average.network.weights:
        weight.assign(weight + 0.05 * keras.random.normal(weight.shape, seed=1))
    return model


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_with_the_exact_network_samples_have_the_data_distribution(exact, eta):
    samples = 2 * exact.sample(3000, seed=0, steps=100, eta=eta) - 1
    assert abs(samples.mean() - MEAN) < 0.004
    assert abs(samples.std() / STD - 1) < (0.15 if eta else 0.03)
    pixels = samples.reshape(3000, -1)
    assert np.abs(np.corrcoef(pixels.T) - np.eye(4)).max() < 0.07


def test_more_steps_and_a_higher_order_reduce_the_error_of_the_solver(exact):
    """With the exact network, the differential equation maps noise to mean + std * noise."""

    def error(steps, order):
        noise = np.random.default_rng(0).standard_normal((200, 2, 2, 1))
        return np.abs(2 * exact.sample(200, seed=0, steps=steps, order=order) - 1 - (MEAN + STD * noise)).max()

    first, second = ([error(steps, order) for steps in (10, 20, 40, 80)] for order in (1, 2))
    assert all(coarse > fine for errors in (first, second) for coarse, fine in itertools.pairwise(errors))
    assert second[-1] < first[-1] / 3


def test_one_step_from_pure_noise_gives_the_mean(exact):
    np.testing.assert_allclose(2 * exact.sample(10, seed=0, steps=1) - 1, MEAN, atol=1e-6)


def test_stochastic_sampling_is_of_first_order(exact):
    first, second = (exact.sample(5, seed=0, steps=6, eta=0.5, order=order) for order in (1, 2))
    np.testing.assert_array_equal(first, second)


def test_with_the_exact_network_the_bound_equals_the_log_density(exact):
    rng = np.random.default_rng(0)
    images = ((MEAN + STD * rng.standard_normal((400, 2, 2, 1))) + 1) / 2
    bound = exact.log_prob_lower_bound(images, seed=0, angles=200)
    std = STD / 2  # on the scale [0, 1]
    density = -0.5 * ((images - (MEAN + 1) / 2) / std) ** 2 - np.log(std * np.sqrt(2 * np.pi))
    assert abs(bound.mean() - density.sum(axis=(1, 2, 3)).mean()) < 0.1


def test_an_untrained_network_has_a_lower_bound_than_the_exact_one(exact):
    untrained = models.Diffusion(dense_network((2, 2, 1)))
    images = np.full((50, 2, 2, 1), (MEAN + 1) / 2)
    assert untrained.log_prob_lower_bound(images, seed=0).mean() < exact.log_prob_lower_bound(images, seed=0).mean() - 1


def test_guidance_is_linear_in_its_scale(conditional):
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((4, 8, 8, 1)).astype("float32"), np.array([0, 1, 2, 0])
    zero, half, one, two = (
        conditional.predict_velocity(x, 0.9, labels=labels, guidance_scale=scale) for scale in (0, 0.5, 1, 2)
    )
    np.testing.assert_array_equal(zero, conditional.predict_velocity(x, 0.9))
    assert np.abs(one - zero).max() > 1e-3
    np.testing.assert_allclose(half, (zero + one) / 2, atol=1e-5)
    np.testing.assert_allclose(two, 2 * one - zero, atol=1e-5)


def test_only_conditional_models_accept_guidance(conditional, exact):
    assert conditional.accepts_guidance and not exact.accepts_guidance


def test_samples_depend_on_seed_and_labels_only(conditional):
    first, again = (conditional.sample(3, seed=1, labels=2, steps=3) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - conditional.sample(3, seed=1, labels=0, steps=3)).max() > 1e-3
    assert np.abs(first - conditional.sample(3, seed=2, labels=2, steps=3)).max() > 1e-3


def test_classes_and_their_one_hot_rows_are_equivalent(conditional):
    classes, rows = np.array([2, 0]), np.eye(3, dtype="float32")[[2, 0]]
    of_classes, of_rows = (conditional.sample(2, seed=0, steps=2, labels=labels) for labels in (classes, rows))
    np.testing.assert_array_equal(of_classes, of_rows)
    two_ones = conditional.sample(2, seed=0, steps=2, labels=rows + rows[::-1])
    assert np.abs(two_ones - of_classes).max() > 1e-4

    images = np.full((2, 8, 8, 1), 0.3, "float32")
    losses = []
    for labels in (classes, rows):
        model = models.Diffusion(conditional.average.network, num_classes=3, label_dropout=0.0)
        losses.append(
            float(model.compute_loss(ops.convert_to_tensor(images), ops.convert_to_tensor(labels), training=False))
        )
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_training_on_a_constant_image_reduces_the_loss_and_samples_that_image():
    """For one constant image the exact network has the loss 0; a network with the output 0 has the loss 0.625."""
    keras.utils.set_random_seed(0)
    model = models.Diffusion(dense_network((2, 2, 1)), ema_momentum=0.95)
    model.compile(optimizer=keras.optimizers.Adam(1e-2))
    images = np.full((32 * 400, 2, 2, 1), 0.75, np.float32)
    assert model.evaluate(images[:32], verbose=0) > 0.5
    model.fit(images, batch_size=32, verbose=0)
    before = model.get_weights()
    assert model.evaluate(images[:320], batch_size=32, verbose=0) < 0.1
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)  # evaluation updates neither the network nor its average
    samples = model.sample(50, seed=0)
    assert abs(samples.mean() - 0.75) < 0.05 and samples.std() < 0.1


@pytest.mark.parametrize(("label_dropout", "changes"), [(1.0, False), (0.0, True)])
def test_label_dropout_of_one_leaves_the_weights_of_the_condition_unchanged(label_dropout, changes):
    network = dense_network((2, 2, 1), num_classes=2)
    before = network.get_layer("hidden").get_weights()[0]
    model = models.Diffusion(network, num_classes=2, label_dropout=label_dropout)
    model.compile(optimizer=keras.optimizers.SGD(0.5), run_eagerly=True)
    model.fit(np.full((16, 2, 2, 1), 0.75, "float32"), np.arange(16) % 2, verbose=0)
    difference = network.get_layer("hidden").get_weights()[0] - before
    assert np.abs(difference[:-2]).max() > 0
    assert (np.abs(difference[-2:]).max() > 0) == changes


def test_a_model_is_rebuilt_from_its_configuration(conditional):
    again = models.Diffusion.from_config(conditional.get_config())
    assert (again.num_classes, again.label_dropout, again.image_shape) == (3, 0.1, (8, 8, 1))
    assert [w.path for w in again.network.weights] == [w.path for w in conditional.network.weights]


@pytest.mark.parametrize("num_classes", [None, 4])
def test_unet_outputs_zero_before_training_for_every_number_of_channels(num_classes):
    network = models.image_unet((8, 12, 3), num_classes=num_classes, filters=(8, 16), blocks=1)
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal((2, *tensor.shape[1:])).astype("float32") for tensor in network.inputs]
    assert [tensor.name for tensor in network.inputs] == ["image", "angle", "condition"][: len(inputs)]
    assert len(inputs) == (2 if num_classes is None else 3)
    np.testing.assert_array_equal(ops.convert_to_numpy(network(inputs)), np.zeros((2, 8, 12, 3)))


def test_unet_of_another_size_pads_with_zeros_and_crops_the_output():
    """So it has the output of the U-Net of the rounded size with the same weights, evaluated on the padded image."""
    odd, rounded = (models.image_unet((*size, 3), filters=(8, 16), blocks=1) for size in ((5, 8), (8, 8)))
    rng = np.random.default_rng(0)
    odd.set_weights([rng.normal(size=weight.shape, scale=0.3) for weight in odd.get_weights()])
    rounded.set_weights(odd.get_weights())
    noisy, angle = rng.normal(size=(2, 5, 8, 3)).astype("float32"), np.full((2, 1), 0.7, "float32")
    padded = np.pad(noisy, ((0, 0), (1, 2), (0, 0), (0, 0)))
    velocity = np.asarray(odd([noisy, angle]))
    np.testing.assert_allclose(velocity, np.asarray(rounded([padded, angle]))[:, 1:6], atol=1e-5)
    assert velocity.shape == noisy.shape and velocity.std() > 0.1
    assert not any(isinstance(layer, layers.Cropping2D | layers.ZeroPadding2D) for layer in rounded.layers)


def test_unet_names_every_layer_with_weights_explicitly():
    """Automatic names end in a counter that depends on what else the process has built."""
    first, second = (models.image_unet((8, 8, 1), num_classes=3, filters=(8, 16), blocks=2) for _ in range(2))
    names = [layer.name for layer in first.layers if layer.weights]
    assert names == [layer.name for layer in second.layers if layer.weights]
    assert len(set(names)) == len(names)


def test_unet_has_attention_at_the_lowest_resolution_only():
    network = models.image_unet((16, 16, 1), filters=(8, 16), blocks=1)
    attention = [layer for layer in network.layers if isinstance(layer, layers.MultiHeadAttention)]
    assert [layer.output.shape[1:] for layer in attention] == [(4 * 4, 16)]


def test_invalid_arguments_are_rejected(conditional, exact):
    with pytest.raises(ValueError, match="built without num_classes"):
        exact.sample(2, seed=0, labels=1)
    with pytest.raises(ValueError, match="steps is 0"):
        exact.sample(2, seed=0, steps=0)
    with pytest.raises(ValueError, match="eta is 2"):
        exact.sample(2, seed=0, eta=2)
    with pytest.raises(ValueError, match="order is 3"):
        exact.sample(2, seed=0, order=3)
    with pytest.raises(ValueError, match="guidance_scale is -1"):
        conditional.sample(2, seed=0, guidance_scale=-1)
    with pytest.raises(ValueError, match=r"expected \(n, 2, 2, 1\)"):
        exact.log_prob_lower_bound(np.zeros((1, 4, 4, 1)), seed=0)
    with pytest.raises(ValueError, match="expected noisy data, angles"):
        models.Diffusion(models.image_features((8, 8, 1)))
    with pytest.raises(ValueError, match=r"and conditions \(3,\) as inputs.*build it with num_classes=3"):
        models.Diffusion(exact_network(), num_classes=3)
    with pytest.raises(ValueError, match="build it with num_classes=None"):
        models.Diffusion(conditional.network)
    with pytest.raises(ValueError, match="multiples of 8"):
        models.image_unet((8, 8, 1), filters=(12,))
    conditional.compile(optimizer="sgd")
    with pytest.raises(ValueError, match="expected fit\\(images, labels\\)"):
        conditional.fit(np.zeros((4, 8, 8, 1), "float32"), verbose=0)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (3, "labels has values from 3 to 3; expected classes from 0 to 2"),
        ([0, 3], "labels has values from 0 to 3"),
        (np.zeros((2, 4)), r"\(2, 3\) rows"),
        (np.full((2, 3), np.nan), "labels contains NaN"),
    ],
)
def test_labels_that_do_not_fit_are_rejected(conditional, labels, message):
    with pytest.raises(ValueError, match=message):
        conditional.sample(2, seed=0, steps=1, labels=labels)

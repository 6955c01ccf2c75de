"""The transformer flow: invertibility, the determinant against a numerical Jacobian, and closed forms."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats

from imggen_lib import models

SHAPE = (4, 6, 2)


def build(num_classes=3, noise_std=0.1, image_shape=None, seed=0):
    """A small flow whose weights make every part of it matter."""
    keras.utils.set_random_seed(seed)
    network = models.transformer_flow_network(
        SHAPE, patch_size=2, width=8, depth=2, heads=2, transforms=3, num_classes=num_classes
    )
    for index, weight in enumerate(network.weights):
        weight.assign(weight + 0.2 * keras.random.normal(weight.shape, seed=seed + index))
    return models.TransformerFlow(network, num_classes=num_classes, noise_std=noise_std, image_shape=image_shape)


def identity(noise_std, image_shape=None):
    """A flow before training: the latent values are the patches of the noisy image."""
    network = models.transformer_flow_network(SHAPE, patch_size=2, width=8, depth=1, heads=2, transforms=2)
    return models.TransformerFlow(network, noise_std=noise_std, image_shape=image_shape)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("conditional", [False, True])
def test_inverse_returns_the_input(backwards, conditional):
    x = ops.convert_to_tensor(np.random.default_rng(0).standard_normal((3, 5, 4)).astype("float32"))
    condition = ops.eye(3) if conditional else None
    layer = models.AutoregressiveTransform(8, depth=2, heads=2, backwards=backwards)
    layer(x, condition)
    for index, weight in enumerate(layer.weights):
        weight.assign(weight + 0.3 * keras.random.normal(weight.shape, seed=index))
    y, log_det = layer(x, condition)
    assert np.abs(ops.convert_to_numpy(y - x)).max() > 0.1 and np.abs(ops.convert_to_numpy(log_det)).max() > 0.1
    np.testing.assert_allclose(layer.invert(y, condition), x, atol=1e-4)


def test_log_determinant_is_that_of_the_numerical_jacobian():
    network = build(num_classes=None).network
    image = np.random.default_rng(1).standard_normal((1, *SHAPE)).astype("float32")
    size, step = image.size, 3e-3
    points = np.repeat(image, 2 * size, axis=0).reshape(2 * size, -1)
    points[:size] += step * np.eye(size, dtype="float32")
    points[size:] -= step * np.eye(size, dtype="float32")
    latent = ops.convert_to_numpy(network(points.reshape(-1, *SHAPE))[0]).reshape(2 * size, -1)
    jacobian = (latent[:size] - latent[size:]) / (2 * step)
    expected = np.linalg.slogdet(jacobian.astype(np.float64))[1]
    assert abs(expected) > 0.1
    np.testing.assert_allclose(float(network(image)[1][0]), expected, atol=5e-3)


def test_log_prob_before_training_is_that_of_the_standard_normal():
    model, images = identity(0.5), np.random.default_rng(0).uniform(size=(4, *SHAPE)).astype("float32")
    noise = np.random.default_rng(7).standard_normal(images.shape).astype("float32")
    noisy = 2 * images - 1 + 0.5 * noise
    expected = stats.norm.logpdf(noisy).sum(axis=(1, 2, 3)) + images[0].size * np.log(2)
    np.testing.assert_allclose(model.log_prob(images, seed=7), expected, rtol=1e-5)


def test_border_adds_nothing_to_the_density_if_it_is_independent():
    """The model before training is N(0, I), the border's noise has the standard deviation 1: the two cancel."""
    model = identity(1.0, image_shape=(3, 5, 2))
    images = np.random.default_rng(0).uniform(size=(2, 3, 5, 2)).astype("float32")
    noise = np.random.default_rng(3).standard_normal((2, *SHAPE)).astype("float32")[:, :3, :5]
    expected = stats.norm.logpdf(2 * images - 1 + noise).sum(axis=(1, 2, 3)) + 30 * np.log(2)
    np.testing.assert_allclose(model.log_prob(images, seed=3), expected, rtol=1e-5)
    assert model.sample(2, seed=0).shape == (2, 3, 5, 2)


@pytest.mark.parametrize("n", [3, 1001], ids=["directly", "compiled"])
def test_denoising_a_standard_normal_shrinks_by_the_closed_form(n):
    """If y is standard normal and x + noise, the mean of x given y is (1 - noise variance) times y."""
    noisy = np.random.default_rng(0).standard_normal((n, *SHAPE)).astype("float32")
    np.testing.assert_allclose(identity(0.6).denoise(noisy), (1 - 0.36) * noisy, atol=1e-5)


def test_guidance_scale_interpolates_between_without_and_with_labels():
    model = build()
    latent = np.random.default_rng(0).standard_normal((2, 6, 8)).astype("float32")
    images = {w: model.generate(latent, labels=[1, 2], guidance_scale=w, denoise=False) for w in (0, 1, 2)}
    chain = models.invert_network(model.average.network, ops.convert_to_tensor(latent), ops.zeros((2, 3)))
    np.testing.assert_allclose(2 * images[0] - 1, chain, atol=1e-5)
    chain = models.invert_network(model.average.network, ops.convert_to_tensor(latent), ops.eye(3)[1:])
    np.testing.assert_allclose(2 * images[1] - 1, chain, atol=1e-5)
    assert np.abs(images[2] - images[1]).max() > 1e-3


def test_network_maps_images_back_to_their_latent_values_after_a_change_of_the_weights():
    """The inverse is compiled at the first call. It must use the weights of the second."""
    model = build(num_classes=None)
    latent = np.random.default_rng(0).standard_normal((2, 6, 8)).astype("float32")
    before = model.generate(latent, denoise=False)
    for weight in model.average.network.weights:
        weight.assign(1.1 * weight)
    y = model.generate(latent, denoise=False)
    assert np.abs(y - before).max() > 1e-2
    again, _ = model.average.network(2 * y - 1)
    np.testing.assert_allclose(again, latent, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"num_classes": 4}, "conditional if num_classes is given"), ({"image_shape": (8, 6, 2)}, "expected no larger image")],
)
def test_wrong_networks_are_rejected(options, message):
    network = models.transformer_flow_network(SHAPE, patch_size=2, width=8, depth=1, heads=2, num_classes=3)
    with pytest.raises(ValueError, match=message):
        models.TransformerFlow(network, **{"num_classes": 3, **options})


def test_size_must_be_divisible_into_patches():
    with pytest.raises(ValueError, match="patch_size is 4; expected a divisor"):
        models.transformer_flow_network((10, 8, 1), patch_size=4)


def test_wrong_latent_is_rejected():
    with pytest.raises(ValueError, match=r"latent has the shape \(2, 5, 8\); expected \(n, 6, 8\)"):
        build().generate(np.zeros((2, 5, 8)), labels=0)

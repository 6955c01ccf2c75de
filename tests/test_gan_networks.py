import keras
import numpy as np
import pytest

from imggen_lib import models

SHAPES = [((8, 8, 1), (4,)), ((28, 28, 1), (8, 4)), ((16, 32, 3), (4, 4, 4))]


@pytest.mark.parametrize(("image_shape", "filters"), SHAPES)
def test_new_discriminator_has_logit_zero_for_middle_grey(image_shape, filters):
    """Grey 0.5 is rescaled to 0, and biases start at 0."""
    network = models.image_discriminator(image_shape, filters=filters)
    logits = np.asarray(network(np.full((2, *image_shape), 0.5)))
    assert logits.shape == (2, 1)
    np.testing.assert_allclose(logits, 0, atol=1e-6)
    assert abs(float(network(np.ones((1, *image_shape)))[0, 0])) > 1e-4


def test_dropout_is_active_in_training_only(rng):
    network = models.image_discriminator((8, 8, 1), filters=(4,), batch_norm=False, dropout=0.5)
    image = rng.uniform(size=(1, 8, 8, 1))
    assert float(network(image)[0, 0]) == float(network(image)[0, 0])
    assert float(network(image, training=True)[0, 0]) != float(network(image, training=True)[0, 0])


@pytest.mark.parametrize("spectral_norm", [False, True])
def test_class_logits_are_a_shared_logit_plus_one_for_each_class(spectral_norm, rng):
    options = {"filters": (4,), "batch_norm": False, "spectral_norm": spectral_norm, "num_classes": 3}
    network = models.image_discriminator((8, 8, 1), **options)
    image = rng.uniform(size=(2, 8, 8, 1))
    logits = np.asarray(network(image))
    assert logits.shape == (2, 3) and logits.std(axis=1).min() > 0
    shared, own = (np.asarray(keras.Model(network.input, part)(image)) for part in network.layers[-1].input)
    assert shared.shape == (2, 1) and own.shape == (2, 3)
    np.testing.assert_allclose(logits, shared + own, rtol=1e-6)


def test_spectral_normalisation_makes_the_largest_singular_value_one(rng):
    keras.utils.set_random_seed(0)  # the power iteration converges slowly if two singular values are close
    network = models.image_discriminator((8, 8, 1), filters=(4, 8), hidden=16, batch_norm=False, spectral_norm=True)
    wrapped = [layer for layer in network.layers if isinstance(layer, keras.layers.SpectralNormalization)]
    assert len(wrapped) == 4
    for layer in wrapped:
        layer.kernel.assign(5 * np.asarray(layer.kernel))
        layer.power_iterations = 200  # in one call, where training takes as many steps
    for _ in range(4):
        network(rng.uniform(size=(2, 8, 8, 1)), training=True)
    for layer in wrapped:
        matrix = np.asarray(layer.kernel).reshape(-1, layer.kernel.shape[-1])
        assert np.linalg.svd(matrix, compute_uv=False)[0] == pytest.approx(1, abs=1e-3)


def test_batch_and_spectral_normalisation_exclude_each_other():
    with pytest.raises(ValueError, match="batch_norm and spectral_norm are both True"):
        models.image_discriminator((8, 8, 1), spectral_norm=True)


def test_reducing_discriminator_depends_on_the_means_of_blocks_only(rng):
    shape = (8, 6, 3)
    reducing = models.image_discriminator(shape, filters=(4,), reduce=2, batch_norm=False)
    plain = models.image_discriminator((4, 3, 3), filters=(4,), batch_norm=False)
    plain.set_weights(reducing.get_weights())
    images = rng.random((5, *shape)).astype("float32")
    means = images.reshape(5, 4, 2, 3, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(reducing.predict(images, verbose=0), plain.predict(means, verbose=0), atol=1e-5)
    with pytest.raises(ValueError, match="reduce is 0"):
        models.image_discriminator(shape, reduce=0)

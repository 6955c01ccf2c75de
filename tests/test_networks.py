import keras
import numpy as np
import pytest

from imggen_lib import models

SHAPES = [((8, 8, 1), (4,)), ((28, 28, 1), (8, 4)), ((16, 32, 3), (4, 4, 4))]


class Counting(keras.layers.Layer):
    """Changes nothing, and counts how often it is called: once for each graph that is built."""

    calls = 0

    def call(self, inputs):
        self.calls += 1
        return inputs


def test_networks_are_asked_in_parts_and_answer_as_keras_has_them_answer(rng):
    """With two inputs, two outputs, dropout, numbers in double precision, and a last part of another size."""
    one, two = keras.Input((3,)), keras.Input((2,))
    both = keras.layers.Dropout(0.5)(keras.layers.Concatenate()([one, two]))
    network = keras.Model([one, two], [keras.layers.Dense(4)(both), keras.layers.BatchNormalization()(both)])
    given = [rng.normal(size=(25, 3)), rng.normal(size=(25, 2))]
    answers = models.predict(network, given, size=10)
    for ours, theirs in zip(answers, network.predict(given, verbose=0), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    single = keras.Model(one, keras.layers.Dense(2)(one))
    np.testing.assert_allclose(models.predict(single, given[0]), single.predict(given[0], verbose=0), rtol=1e-5)


def test_a_network_answers_any_number_with_its_present_weights_and_tensorflow_compiles_it_once():
    """Elsewhere Keras compiles it, once for each number."""
    given, counting = keras.Input((1,)), Counting()
    network = keras.Model(given, keras.layers.Dense(1, use_bias=False)(counting(given)))
    before = counting.calls
    for n, weight in ((3, 2.0), (7, 5.0), (1, -1.0)):
        network.set_weights([np.full((1, 1), weight)])
        np.testing.assert_allclose(models.predict(network, np.ones((n, 1))), np.full((n, 1), weight))
    assert counting.calls - before == (1 if keras.backend.backend() == "tensorflow" else 3)


@pytest.mark.parametrize(("image_shape", "filters"), SHAPES)
@pytest.mark.parametrize("batch_norm", [True, False])
def test_a_generator_makes_pictures_in_the_range_from_any_latent_vector(image_shape, filters, batch_norm, rng):
    network = models.image_generator(image_shape, 5, filters=filters, batch_norm=batch_norm)
    images = np.asarray(network(100 * rng.normal(size=(3, 5))))
    assert images.shape == (3, *image_shape)
    assert images.min() >= 0 and images.max() <= 1 and images.std() > 0
    assert any(isinstance(layer, keras.layers.BatchNormalization) for layer in network.layers) == batch_norm


@pytest.mark.parametrize(("image_shape", "filters"), SHAPES)
def test_a_new_discriminator_is_undecided_about_middle_grey(image_shape, filters):
    """It sees grey as 0, and its biases start at 0."""
    network = models.image_discriminator(image_shape, filters=filters)
    logits = np.asarray(network(np.full((2, *image_shape), 0.5)))
    assert logits.shape == (2, 1)
    np.testing.assert_allclose(logits, 0, atol=1e-6)
    assert abs(float(network(np.ones((1, *image_shape)))[0, 0])) > 1e-4


def test_a_discriminator_drops_features_in_training_alone(rng):
    network = models.image_discriminator((8, 8, 1), filters=(4,), batch_norm=False, dropout=0.5)
    image = rng.uniform(size=(1, 8, 8, 1))
    assert float(network(image)[0, 0]) == float(network(image)[0, 0])
    assert float(network(image, training=True)[0, 0]) != float(network(image, training=True)[0, 0])


@pytest.mark.parametrize(("image_shape", "filters"), SHAPES)
def test_a_new_encoder_gives_codes_of_variance_one(image_shape, filters, rng):
    mean, log_variance = models.image_encoder(image_shape, 6, filters=filters)(rng.uniform(size=(3, *image_shape)))
    assert mean.shape == log_variance.shape == (3, 6)
    np.testing.assert_array_equal(log_variance, np.zeros((3, 6)))
    assert np.asarray(mean).std() > 0


@pytest.mark.parametrize("image_shape", [(8, 8, 1), (25, 25, 1), (7, 9, 3)])
def test_features_are_not_negative_for_pictures_of_any_size(image_shape, rng):
    features = np.asarray(models.image_features(image_shape, 16)(rng.uniform(size=(4, *image_shape))))
    assert features.shape == (4, 16) and features.min() >= 0 and features.max() > 0


@pytest.mark.parametrize(
    "build",
    [
        lambda shape: models.image_generator(shape, 4),
        models.image_discriminator,
        lambda shape: models.image_encoder(shape, 4),
    ],
)
def test_sizes_that_do_not_halve_are_refused_with_what_to_do(build):
    with pytest.raises(ValueError, match="must be multiples of 4: pad or crop"):
        build((28, 30, 1))
    with pytest.raises(ValueError, match=r"expected \(height, width, channels\)"):
        build((28, 28))
    with pytest.raises(TypeError, match="whole number"):
        build((28.0, 28, 1))


def test_a_latent_length_must_be_a_positive_whole_number():
    with pytest.raises(ValueError, match="latent_dim is 0"):
        models.image_generator((8, 8, 1), 0)
    with pytest.raises(TypeError, match=r"latent_dim is 2\.5"):
        models.image_generator((8, 8, 1), 2.5)


def test_a_generator_is_told_the_class_behind_the_latent_vector(rng):
    network = models.image_generator((8, 8, 1), 3, filters=(4,), num_classes=2)
    assert network.input_shape == (None, 5)
    latent = np.repeat(rng.normal(size=(1, 3)), 2, axis=0)
    first, second = np.asarray(network(np.hstack([latent, np.eye(2)])))
    assert np.abs(first - second).max() > 1e-4


@pytest.mark.parametrize("spectral_norm", [False, True])
def test_a_conditional_discriminator_has_one_logit_a_class_with_a_shared_part(spectral_norm, rng):
    options = {"filters": (4,), "batch_norm": False, "spectral_norm": spectral_norm, "classes": 3}
    network = models.image_discriminator((8, 8, 1), **options)
    image = rng.uniform(size=(2, 8, 8, 1))
    logits = np.asarray(network(image))
    assert logits.shape == (2, 3) and logits.std(axis=1).min() > 0
    add = network.layers[-1]
    shared, own = (np.asarray(keras.Model(network.input, part)(image)) for part in add.input)
    assert shared.shape == (2, 1) and own.shape == (2, 3)
    np.testing.assert_allclose(logits, shared + own, rtol=1e-6)


def test_spectral_normalisation_leaves_no_layer_that_stretches(rng):
    network = models.image_discriminator((8, 8, 1), filters=(4, 8), hidden=16, batch_norm=False, spectral_norm=True)
    wrapped = [layer for layer in network.layers if isinstance(layer, keras.layers.SpectralNormalization)]
    assert len(wrapped) == 4
    for layer in wrapped:
        layer.kernel.assign(5 * np.asarray(layer.kernel))
        layer.power_iterations = 50  # in one call, where training takes as many steps
    for _ in range(4):
        network(rng.uniform(size=(2, 8, 8, 1)), training=True)
    for layer in wrapped:
        matrix = np.asarray(layer.kernel).reshape(-1, layer.kernel.shape[-1])
        assert np.linalg.svd(matrix, compute_uv=False)[0] == pytest.approx(1, abs=1e-3)


def test_two_normalisations_that_undo_each_other_are_refused():
    with pytest.raises(ValueError, match="batch_norm and spectral_norm are both True"):
        models.image_discriminator((8, 8, 1), spectral_norm=True)


@pytest.mark.parametrize("build", [lambda **options: models.image_generator((8, 8, 1), 4, **options),
                                   lambda **options: models.image_discriminator((8, 8, 1), **options)])  # fmt: skip
def test_a_negative_number_of_classes_is_refused(build):
    with pytest.raises(ValueError, match="classes is -1"):
        build(num_classes=-1)

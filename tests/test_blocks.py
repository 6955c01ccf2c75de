"""Inference in batches, the image generator, and the checks of image shapes that all network builders share."""

import keras
import numpy as np
import pytest

from imggen_lib import models
from imggen_lib.models import blocks

SHAPES = [((8, 8, 1), (4,)), ((28, 28, 1), (8, 4)), ((16, 32, 3), (4, 4, 4))]


class CountTraces(keras.layers.Layer):
    """The identity; it counts its calls, one for each graph that is built."""

    calls = 0

    def call(self, inputs):
        self.calls += 1
        return inputs


def test_prediction_in_batches_matches_keras_predict(rng):
    """With two inputs, two outputs, dropout, inputs in double precision and a last batch of another size."""
    one, two = keras.Input((3,)), keras.Input((2,))
    both = keras.layers.Dropout(0.5)(keras.layers.Concatenate()([one, two]))
    network = keras.Model([one, two], [keras.layers.Dense(4)(both), keras.layers.BatchNormalization()(both)])
    inputs = [rng.normal(size=(25, 3)), rng.normal(size=(25, 2))]
    outputs = models.predict(network, inputs, batch_size=10)
    for ours, expected in zip(outputs, network.predict(inputs, verbose=0), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5)
    single = keras.Model(one, keras.layers.Dense(2)(one))
    np.testing.assert_allclose(models.predict(single, inputs[0]), single.predict(inputs[0], verbose=0), rtol=1e-5)


def test_prediction_uses_the_present_weights_and_tensorflow_traces_once_for_all_batch_sizes():
    """On other backends Keras compiles once for each batch size."""
    inputs, counter = keras.Input((1,)), CountTraces()
    network = keras.Model(inputs, keras.layers.Dense(1, use_bias=False)(counter(inputs)))
    before = counter.calls
    for n, weight in ((3, 2.0), (7, 5.0), (1, -1.0)):
        network.set_weights([np.full((1, 1), weight)])
        np.testing.assert_allclose(models.predict(network, np.ones((n, 1))), np.full((n, 1), weight))
    assert counter.calls - before == (1 if keras.backend.backend() == "tensorflow" else 3)


@pytest.mark.parametrize(("image_shape", "filters"), SHAPES)
@pytest.mark.parametrize("batch_norm", [True, False])
def test_generator_output_is_in_range_for_any_latent_vector(image_shape, filters, batch_norm, rng):
    network = models.image_generator(image_shape, 5, filters=filters, batch_norm=batch_norm)
    images = np.asarray(network(100 * rng.normal(size=(3, 5))))
    assert images.shape == (3, *image_shape)
    assert images.min() >= 0 and images.max() <= 1 and images.std() > 0
    assert any(isinstance(layer, keras.layers.BatchNormalization) for layer in network.layers) == batch_norm


def test_generator_takes_the_condition_behind_the_latent_vector(rng):
    network = models.image_generator((8, 8, 1), 3, filters=(4,), num_classes=2)
    assert network.input_shape == (None, 5)
    latent = np.repeat(rng.normal(size=(1, 3)), 2, axis=0)
    first, second = np.asarray(network(np.hstack([latent, np.eye(2)])))
    assert np.abs(first - second).max() > 1e-4


BUILDERS = {
    "generator": lambda shape, **options: models.image_generator(shape, 4, **options),
    "discriminator": models.image_discriminator,
    "encoder": lambda shape, **options: models.image_encoder(shape, 4, **options),
    "features": models.image_features,
}


@pytest.mark.parametrize("name", BUILDERS)
def test_every_layer_with_weights_has_a_name_of_its_own(name):
    """Weight files store weights by name. Keras's default names depend on what was built before."""
    first, second = (BUILDERS[name]((16, 16, 1)) for _ in range(2))
    named = [[layer.name for layer in network.layers if layer.weights] for network in (first, second)]
    assert named[0] == named[1] and len(named[0]) == len(set(named[0])) > 0


@pytest.mark.parametrize("name", ["generator", "discriminator", "encoder"])
def test_invalid_image_shapes_are_refused(name):
    build = BUILDERS[name]
    with pytest.raises(ValueError, match=r"expected \(height, width, channels\)"):
        build((28, 28))
    with pytest.raises(TypeError, match=r"image_shape is 28\.0"):
        build((28.0, 28, 1))


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (25, 28), (1, 2)])
def test_the_generator_crops_the_centre_of_an_image_whose_size_is_divisible(size, rng):
    network = models.image_generator((*size, 3), 4, filters=(8, 4))
    latent = rng.normal(size=(2, 4))
    whole = np.asarray(keras.Model(network.input, network.get_layer("image").output)(latent))
    assert all(n % 4 == 0 and 0 <= n - wanted < 4 for n, wanted in zip(whole.shape[1:3], size, strict=True))
    top, left = ((n - wanted) // 2 for n, wanted in zip(whole.shape[1:3], size, strict=True))
    np.testing.assert_array_equal(network(latent), whole[:, top : top + size[0], left : left + size[1]])
    assert any(isinstance(layer, keras.layers.Cropping2D) for layer in network.layers) == (size != (16, 16))


@pytest.mark.parametrize("halvings", [0, 1, 2, 4])
def test_the_rounding_border_is_the_smallest_that_makes_the_size_divisible(halvings):
    for height, width in ((1, 128), (17, 23), (28, 64)):
        for size, sides in zip((height, width), blocks.rounding_border((height, width, 1), halvings), strict=True):
            assert (size + sum(sides)) % 2**halvings == 0 and 0 <= sum(sides) < 2**halvings
            assert sides[1] - sides[0] in (0, 1)


@pytest.mark.parametrize("build", [models.image_generator, models.image_encoder])
def test_latent_dimension_must_be_a_positive_integer(build):
    with pytest.raises(ValueError, match="latent_dim is 0"):
        build((8, 8, 1), 0)
    with pytest.raises(TypeError, match=r"latent_dim is 2\.5"):
        build((8, 8, 1), 2.5)


@pytest.mark.parametrize("name", ["generator", "discriminator"])
@pytest.mark.parametrize("num_classes", [-1, 1])
def test_fewer_than_two_classes_are_refused(name, num_classes):
    with pytest.raises(ValueError, match=f"num_classes is {num_classes}; expected at least 2"):
        BUILDERS[name]((8, 8, 1), num_classes=num_classes)

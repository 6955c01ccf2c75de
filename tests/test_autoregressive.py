"""Autoregressive models: masks, probabilities that sum to 1, and cached sampling that equals the whole network."""

import keras
import numpy as np
import pytest
import skimage
from keras import ops

from imggen_lib import backend, models
from imggen_lib.models import autoregressive
from imggen_lib.models.autoregressive import cache, causal, logistic_mixture, pixelcnn

CASES = [(1, None), (1, 2), (3, None), (3, 2)]  # channels and num_classes


def perturb(network):
    """Add noise to the weights: with its initial weights every residual block is the identity."""
    for number, weight in enumerate(network.weights):
        weight.assign(weight + 0.1 * keras.random.normal(weight.shape, seed=number))
    return network


def build(channels, num_classes):
    keras.utils.set_random_seed(0)
    network = models.pixel_network((4, 3, channels), filters=8, blocks=4, mixtures=3, num_classes=num_classes)
    return models.PixelCNN(perturb(network), num_classes=num_classes)


@pytest.fixture(scope="module")
def model():
    return build(1, 2)


@pytest.fixture(scope="module")
def colour_model():
    return build(3, None)


def values_of(*levels):
    """Return a tensor of levels as values in [-1, 1], one array for each channel."""
    return ops.convert_to_tensor(2 * np.stack(levels, axis=-1) / 255 - 1, "float32")


# The network


@pytest.mark.parametrize("dilation_rate", [(1, 1), (2, 2), (1, 3), (3, 2)])
@pytest.mark.parametrize("mask_type", ["A", "B", "above", "row"])
def test_causal_convolution_matches_the_sum_over_its_window(mask_type, dilation_rate):
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(2, 7, 5, 3)).astype("float32")
    layer = models.CausalConvolution(4, kernel_size=(3, 5), mask_type=mask_type, dilation_rate=dilation_rate)
    got, kernel = ops.convert_to_numpy(layer(x)), ops.convert_to_numpy(layer.kernel)
    expected = np.zeros((2, 7, 5, 4))
    for row, column, i, j in np.ndindex(7, 5, 3, 5):
        r, c = row + (i - 2) * dilation_rate[0], column + (j - 2) * dilation_rate[1]
        seen = i < 2 or j < {"above": 0, "A": 2, "B": 3, "row": 5}[mask_type]
        if seen and r >= 0 and 0 <= c < 5:
            expected[:, row, column] += x[:, r, c] @ kernel[i, j]
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_outputs_depend_on_no_later_pixel_and_on_all_earlier_ones(channels):
    keras.utils.set_random_seed(0)
    network = perturb(models.pixel_network((9, 9, channels), filters=8, blocks=4, mixtures=2))
    image = ops.convert_to_tensor(np.random.default_rng(0).uniform(-1, 1, (1, 9, 9, channels)), "float32")
    for row, column in ((0, 0), (4, 4), (5, 0), (8, 8)):
        gradient = backend.input_gradient(lambda v, r=row, c=column: network(v)[:, r, c], image)
        depends = (ops.convert_to_numpy(gradient)[0] != 0).reshape(81, channels)
        earlier = row * 9 + column
        assert not depends[earlier:].any()
        assert depends[:earlier].all()


def test_eight_blocks_see_all_earlier_pixels_of_an_image_of_28_by_28():
    network = models.pixel_network((28, 28, 1), filters=8, blocks=8, mixtures=1)
    for number, weight in enumerate(network.weights):
        weight.assign(0.05 * keras.random.uniform(weight.shape, seed=number))
    image = ops.zeros((1, 28, 28, 1))
    for row, column in ((27, 0), (14, 14), (27, 27)):
        gradient = backend.input_gradient(lambda v, r=row, c=column: network(v)[:, r, c], image)
        depends = (ops.convert_to_numpy(gradient) != 0).ravel()
        earlier = 28 * row + column
        assert not depends[earlier:].any() and depends[: 28 * row].all(), (row, column)


def test_changing_a_channel_changes_no_earlier_factor(colour_model):
    levels = np.random.default_rng(0).integers(256, size=(1, 4, 3, 3))
    changed = levels.copy()
    changed[0, 2, 1, 1] ^= 128
    network = colour_model.network
    before, after = (
        ops.convert_to_numpy(models.pixel_log_probability(x, network(x))).ravel()
        for x in (2 * ops.convert_to_tensor(array, "float32") / 255 - 1 for array in (levels, changed))
    )
    np.testing.assert_array_equal(after[:7], before[:7])
    assert (np.abs(after[7:] - before[7:]) > 1e-4).sum() >= 3


# The distribution of a pixel


def test_the_probabilities_of_all_images_sum_to_one(monkeypatch):
    keras.utils.set_random_seed(0)
    # One pixel above the other: side by side, in images of height 1, TensorFlow 2.20 and 2.21 write outside their memory
    # (its issue 117700).
    model = models.PixelCNN(perturb(models.pixel_network((2, 1, 1), filters=8, blocks=2, mixtures=3)))
    pairs = np.stack(np.meshgrid(np.arange(256), np.arange(256)), axis=-1).reshape(-1, 2, 1, 1) / 255
    monkeypatch.setattr(pixelcnn, "_batches", lambda n: [slice(0, n)])  # faster
    assert np.exp(model.log_prob(pairs).astype(float)).sum() == pytest.approx(1, abs=1e-3)


def test_the_probabilities_of_all_colours_of_a_pixel_sum_to_one():
    keras.utils.set_random_seed(0)
    network = perturb(models.pixel_network((2, 1, 2), filters=8, blocks=2, mixtures=3))
    pixel = network(ops.zeros((1, 2, 1, 2)))[:, :1]
    joint = values_of(*np.meshgrid(np.arange(256), np.arange(256), indexing="ij"))[None]
    log_p = ops.convert_to_numpy(models.pixel_log_probability(joint, pixel)).astype(float)
    assert np.exp(log_p).sum() == pytest.approx(1, abs=1e-3)

    # Summed over the second channel, it is the distribution of the first, which has the same logits.
    logits, first_means, _, first_log_scales, *_ = np.split(ops.convert_to_numpy(pixel), 6, axis=-1)
    grey = ops.convert_to_tensor(np.concatenate([logits, first_means, first_log_scales], axis=-1))
    marginal = models.pixel_log_probability(values_of(np.arange(256))[None, :, None], grey)
    np.testing.assert_allclose(np.exp(log_p).sum(axis=2).ravel(), np.exp(ops.convert_to_numpy(marginal)).ravel(), atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_pixel_log_probability_matches_the_formula(channels):
    rng = np.random.default_rng(0)
    levels = rng.choice([0, 1, 100, 254, 255], size=(40, channels))
    parameters = rng.normal(size=(40, logistic_mixture.parameters_per_component(channels), 2))
    x = 2 * levels / 255 - 1
    logits, means, log_scales, coefficients = np.split(parameters.copy(), [1, 1 + channels, 1 + 2 * channels], axis=1)
    weights = np.exp(logits[:, 0]) / np.exp(logits[:, 0]).sum(axis=1, keepdims=True)
    pairs = [(channel, earlier) for channel in range(channels) for earlier in range(channel)]
    for index, (channel, earlier) in enumerate(pairs):
        means[:, channel] += np.tanh(coefficients[:, index]) * x[:, earlier, None]

    def cdf(channel, edge):
        return 1 / (1 + np.exp(-(edge[:, channel, None] - means[:, channel]) / np.exp(log_scales[:, channel])))

    expected = weights
    for channel in range(channels):
        upper = np.where(levels[:, channel, None] == 255, 1, cdf(channel, x + 1 / 255))
        lower = np.where(levels[:, channel, None] == 0, 0, cdf(channel, x - 1 / 255))
        expected = expected * (upper - lower)
    got = models.pixel_log_probability(
        ops.convert_to_tensor(x.reshape(40, 1, 1, channels), "float32"),
        ops.convert_to_tensor(parameters.reshape(40, 1, 1, -1), "float32"),
    )
    np.testing.assert_allclose(np.exp(ops.convert_to_numpy(got)).ravel(), expected.sum(axis=1), rtol=2e-3)


@pytest.mark.parametrize("log_scale", [-1000.0, 0.0, 1000.0])
def test_the_gradient_is_finite_for_extreme_scales(log_scale):
    # For images of only black and white pixels, infinitely wide components are optimal.
    images = ops.convert_to_tensor(np.float32([[[[-1.0], [1.0], [0.0]]]]))
    distribution = ops.convert_to_tensor(np.tile(np.float32([0.0, 0.1, log_scale]), (1, 1, 3, 1)))
    assert np.isfinite(ops.convert_to_numpy(models.pixel_log_probability(images, distribution))).all()
    gradient = backend.input_gradient(lambda d: models.pixel_log_probability(images, d), distribution)
    assert np.isfinite(ops.convert_to_numpy(gradient)).all()


# Two components; for two channels logits, means and log-scales of both channels, and coefficients.
@pytest.mark.parametrize(
    ("parameters", "channels"),
    [([0.5, -0.5, -0.4, 0.6, -2.0, -3.0], 1), ([0.5, -0.5, -0.4, 0.6, 0.1, -0.2, -2, -3, -2, -1.5, 1.0, -2.0], 2)],
)
def test_sampled_pixels_follow_their_distribution(parameters, channels):
    n, rng = 60_000, np.random.default_rng(0)
    gumbel, logistic = rng.gumbel(size=(n, 2)), rng.logistic(size=(n, channels))
    values = logistic_mixture.sample_pixel(np.tile(parameters, (n, 1)), gumbel, logistic)
    levels = np.round((values + 1) / 2 * 255).astype(int)
    grid = values_of(*np.meshgrid(*[np.arange(256)] * channels, indexing="ij"))
    grid = ops.reshape(grid, (1, 256, -1, channels))
    distribution = ops.convert_to_tensor(np.reshape(parameters, (1, 1, 1, -1)), "float32")
    expected = np.exp(ops.convert_to_numpy(models.pixel_log_probability(grid, distribution)).astype(float))
    assert expected.sum() == pytest.approx(1, abs=1e-4)
    # Blocks of levels, 256 for one channel, 16 x 16 for two.
    block = 1 if channels == 1 else 16
    bins = np.arange(0, 257, block)
    counts = np.histogramdd(levels, [bins] * channels)[0]
    blocks = expected.reshape([256 // block, block] * channels).sum(axis=tuple(range(1, 2 * channels, 2)))
    assert np.abs(counts / n - blocks).max() < 5 * np.sqrt(blocks.max() / n)


# Sampling


@pytest.mark.parametrize(("channels", "num_classes"), CASES)
def test_cached_sampling_equals_sampling_with_the_whole_network(channels, num_classes):
    model, n = build(channels, num_classes), 3
    labels = None if num_classes is None else np.array([0, 1, 1])
    condition = model.condition_rows(labels, n)
    gumbel, logistic = model._random_numbers(n, 0, np.random.default_rng(5))
    # Later pixels hold random values, which must not matter.
    values = np.random.default_rng(9).uniform(-1, 1, (n, *model.image_shape)).astype("float32")
    cached = cache.CachedNetwork(model.average.network, n, condition)
    for row, column in np.ndindex(4, 3):
        whole = model.average.network(values if condition is None else [values, condition])
        distribution = ops.convert_to_numpy(whole)[:, row, column]
        np.testing.assert_allclose(cached.distribution(row, column), distribution, atol=1e-5)
        pixel = logistic_mixture.sample_pixel(distribution, gumbel[:, row, column], logistic[:, row, column])
        values[:, row, column] = pixel
        cached.store(row, column, pixel)
    np.testing.assert_allclose(model.sample(n, seed=5, labels=labels), (values + 1) / 2, atol=1e-6)


def test_large_samples_are_generated_in_batches_with_the_same_result(model, monkeypatch):
    labels, sizes = np.arange(300) % 2, []
    network = cache.CachedNetwork
    monkeypatch.setattr(pixelcnn, "CachedNetwork", lambda net, n, condition: sizes.append(n) or network(net, n, condition))
    images = model.sample(300, seed=0, labels=labels)
    assert sizes == [256, 44]
    monkeypatch.setattr(pixelcnn, "_batches", lambda n: [slice(0, n)])
    at_once = model.sample(300, seed=0, labels=labels)
    # Sums in another order may round a level in a thousand to its neighbour, and later pixels then differ.
    assert (np.abs(images - at_once) < 1e-6).all(axis=(1, 2, 3)).mean() > 0.98


def test_log_prob_in_batches_matches_the_whole(model):
    images, labels = np.random.default_rng(0).integers(256, size=(300, 4, 3, 1)) / 255, np.arange(300) % 2
    values = (2 * images - 1).astype("float32")
    whole = models.pixel_log_probability(values, model.average.network([values, model.condition_rows(labels, 300)]))
    np.testing.assert_allclose(
        model.log_prob(images, labels=labels), ops.convert_to_numpy(ops.sum(whole, axis=(1, 2))), rtol=1e-4
    )


@pytest.mark.parametrize(("channels", "num_classes"), [(1, 2), (3, None)])
def test_complete_keeps_the_given_rows(channels, num_classes):
    model, labels = build(channels, num_classes), None if num_classes is None else 1
    images = np.random.default_rng(0).integers(256, size=(4, 4, 3, channels)) / 255
    np.testing.assert_allclose(model.complete(images, 4, seed=0, labels=labels), images, atol=1e-6)
    completed = model.complete(images, 2, seed=0, labels=labels)
    np.testing.assert_allclose(completed[:, :2], images[:, :2], atol=1e-6)
    assert np.abs(completed[:, 2:] - images[:, 2:]).max() > 0.1
    np.testing.assert_array_equal(
        model.complete(np.zeros_like(images), 0, seed=3, labels=labels), model.sample(4, seed=3, labels=labels)
    )


# Reduced size


@pytest.fixture(scope="module")
def reduced():
    """A model of 9x6 images, of which blocks of 2x2 are averaged, and the model of its 5x3 averages."""
    keras.utils.set_random_seed(0)
    shape = models.reduced_shape((9, 6, 3), max_size=5)
    assert shape == (5, 3, 3)
    network = perturb(models.pixel_network(shape, filters=8, blocks=2, mixtures=2))
    return models.PixelCNN(network, image_shape=(9, 6, 3)), models.PixelCNN(network)


def test_the_likelihood_of_a_reduced_model_is_that_of_the_averaged_images(reduced):
    """The last row of blocks has half of its pixels in the image."""
    model, inner = reduced
    images = np.random.default_rng(0).integers(256, size=(4, 9, 6, 3)).astype("float32") / 255
    rows = np.stack([images[:, i : i + 2].mean(axis=1) for i in range(0, 9, 2)], axis=1)
    averaged = np.stack([rows[:, :, j : j + 2].mean(axis=2) for j in range(0, 6, 2)], axis=2)
    np.testing.assert_allclose(model.log_prob(images), inner.log_prob(averaged), rtol=1e-4)
    loss = float(model.compute_loss(images, training=False))
    assert loss == pytest.approx(-model.log_prob(images).mean() / 45, rel=1e-4)


def test_samples_of_a_reduced_model_are_interpolated_bilinearly(reduced):
    model, inner = reduced
    images = model.sample(2, seed=1)
    expected = [skimage.transform.resize(image, (10, 6), order=1, mode="edge")[:9] for image in inner.sample(2, seed=1)]
    np.testing.assert_allclose(images, expected, atol=1e-5)


@pytest.mark.parametrize("rows", [0, 3, 4, 9])
def test_a_reduced_model_completes_below_the_given_rows(reduced, rows):
    model, inner = reduced
    images = np.full((2, 9, 6, 3), 200 / 255, "float32")
    completed = model.complete(images, rows, seed=3)
    np.testing.assert_allclose(completed[:, :rows], images[:, :rows], atol=1e-6)
    below = inner.complete(np.full((2, 5, 3, 3), 200 / 255), 5 if rows == 9 else rows // 2, seed=3)
    expected = np.stack([skimage.transform.resize(image, (10, 6), order=1, mode="edge")[:9] for image in below])
    np.testing.assert_allclose(completed[:, rows:], expected[:, rows:], atol=1e-5)


def test_a_reduced_model_says_so_and_is_the_same_after_saving(reduced, tmp_path):
    model, inner = reduced
    assert inner.notes == () and inner.image_shape == (5, 3, 3) and model.image_shape == (9, 6, 3)
    (note,) = model.notes
    assert note.startswith("Images of 9x6 pixels are averaged over blocks of 2x2: the network models 5x3 pixels")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.sample(2, seed=0), model.sample(2, seed=0))


@pytest.mark.parametrize("shape", [(9, 8, 3), (11, 6, 3), (4, 3, 3), (9, 6, 1)])
def test_an_image_shape_that_does_not_fit_the_network_is_refused(reduced, shape):
    with pytest.raises(ValueError, match=r"and the network models images of \(5, 3, 3\); build it for the shape"):
        models.PixelCNN(reduced[1].network, image_shape=shape)


def test_reduced_shapes_have_at_most_the_given_size_and_fit_a_model():
    for height, width in np.ndindex(130, 130):
        shape = (height + 1, width + 1, 1)
        reduced = models.reduced_shape(shape)
        block = max(-(-whole // part) for whole, part in zip(shape, reduced, strict=True))
        assert max(reduced) <= 32 and models.reduced_shape(shape, -(-max(shape) // block)) == reduced
        assert reduced == shape or max(shape) > 32


# The model


def test_training_learns_how_pixels_and_channels_depend_on_each_other_and_on_the_class():
    """In class 0 both channels are equal, in class 1 the second is inverted; the right pixel inverts the left one."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=512)
    first = rng.choice([0.2, 0.8], size=(512, 4, 1))
    second = np.where(labels[:, None, None] == 0, first, 1 - first)
    left = np.stack([first, second], axis=-1)
    images = np.concatenate([left, 1 - left], axis=2).astype("float32")
    network = models.pixel_network((4, 2, 2), filters=16, blocks=1, mixtures=3, num_classes=2)
    model = models.PixelCNN(network, num_classes=2, ema_momentum=0.95)
    model.compile(optimizer=keras.optimizers.Adam(2e-2))
    model.fit(images, labels, batch_size=64, epochs=20, verbose=0)
    labels = np.arange(200) % 2
    samples = model.sample(200, seed=0, labels=labels)
    assert np.mean(np.abs(samples[:, :, 0] + samples[:, :, 1] - 1) < 0.1) > 0.8
    expected = np.where(labels[:, None] == 0, samples[:, :, 0, 0], 1 - samples[:, :, 0, 0])
    assert np.mean(np.abs(samples[:, :, 0, 1] - expected) < 0.1) > 0.8
    assert 0.25 < np.mean(samples[:, 0, 0, 0] > 0.5) < 0.75


def test_a_conditional_colour_model_is_the_same_after_saving_and_its_weights_have_unique_names(tmp_path):
    model = build(3, 2)
    names = [weight.path for weight in model.network.weights]
    assert len(set(names)) == len(names)
    assert names == [weight.path for weight in model.average.network.weights]
    model.save(tmp_path / "pixelcnn.keras")
    again = keras.saving.load_model(tmp_path / "pixelcnn.keras")
    images = model.sample(2, seed=1, labels=[0, 1])
    np.testing.assert_array_equal(again.sample(2, seed=1, labels=np.eye(2)), images)
    np.testing.assert_allclose(again.log_prob(images, labels=1), model.log_prob(images, labels=1), rtol=1e-5)


def test_evaluate_changes_no_weight_and_returns_the_code_length_per_value(colour_model):
    colour_model.compile(optimizer="sgd", run_eagerly=True)
    before = colour_model.get_weights()
    images = np.random.default_rng(0).integers(256, size=(8, 4, 3, 3)).astype("float32") / 255
    loss = colour_model.evaluate(images, verbose=0)
    for old, new in zip(before, colour_model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
    assert loss == pytest.approx(-colour_model.log_prob(images).mean() / 36, rel=1e-4)


def test_invalid_arguments_raise_clear_errors(model):
    with pytest.raises(ValueError, match="expected an odd number of columns"):
        causal.CausalConvolution(4, kernel_size=(2, 4))
    with pytest.raises(ValueError, match="mask_type is 'C'; expected one of above, A, B, row"):
        causal.CausalConvolution(4, mask_type="C")
    with pytest.raises(ValueError, match="9 parameters per pixel; expected a multiple of 10 for images with 3 channels"):
        autoregressive.pixel_log_probability(ops.zeros((1, 2, 2, 3)), ops.zeros((1, 2, 2, 9)))
    with pytest.raises(ValueError, match="labels is None"):
        model.log_prob(np.zeros((1, 4, 3, 1)))
    with pytest.raises(ValueError, match="rows is 5; expected at most the height of the images, 4"):
        model.complete(np.zeros((1, 4, 3, 1)), 5, seed=0, labels=0)
    with pytest.raises(ValueError, match="labels has values from 2 to 2"):
        model.sample(1, seed=0, labels=2)
    with pytest.raises(ValueError, match="use pixel_network with num_classes=None"):
        models.PixelCNN(model.network)
    with pytest.raises(ValueError, match="use pixel_network with num_classes=None"):
        models.PixelCNN(keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()]))
    with pytest.raises(ValueError, match="expected two causal convolutions, gated blocks"):
        models.PixelCNN(keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Dense(6)]))
    model.compile(optimizer="sgd")
    with pytest.raises(ValueError, match="expected fit\\(images, labels\\)"):
        model.fit(np.zeros((4, 4, 3, 1), "float32"), verbose=0)

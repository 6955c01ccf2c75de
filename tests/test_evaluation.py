"""Scores, measures, features and the evaluation of models."""

import dataclasses
import warnings

import keras
import numpy as np
import pytest
import scipy.ndimage

from imggen_lib import datasets, evaluation, metrics, pretrained
from imggen_lib.datasets import marble_captions


def feature_means(images, space):
    """Stand-in for a feature space: the mean of each column of pixels, 4 numbers for each image."""
    return np.asarray(images)[:, :, :, 0].mean(axis=1)


@pytest.fixture
def column_means(monkeypatch):
    """Score with simple features whose distances have a closed form."""
    monkeypatch.setattr(evaluation, "features", feature_means)


def test_score_consists_of_the_distances_of_the_features_and_of_the_baseline_images(clothes):
    images = clothes.x_train[500:1100]
    score = evaluation.score(images, clothes, seed=3)
    generated, test = evaluation.features(images), evaluation.features(clothes.x_test)
    baseline = evaluation.features(clothes.x_train[np.random.default_rng(3).permutation(10000)[:600]])
    assert score.distance == pytest.approx(metrics.frechet_distance(generated, test), rel=1e-4)
    assert score.baseline == pytest.approx(metrics.frechet_distance(baseline, test), rel=1e-4)
    assert score.kernel_distance == pytest.approx(metrics.kernel_distance(generated, test), rel=1e-3)
    assert score.kernel_baseline == pytest.approx(metrics.kernel_distance(baseline, test), rel=1e-3, abs=1e-6)
    assert (score.n, score.n_reference, score.reference) == (600, 2000, "test images of fashion_mnist")
    assert (score.features, score.minimum) == ("fashion_mnist", 500)
    assert score == evaluation.score(images, clothes, seed=3) != evaluation.score(images, clothes, seed=4)
    first, second = str(score).splitlines()
    assert first.startswith(f"Fréchet distance {score.distance:.3g} at n = 600 (as many real images: {score.baseline:.3g})")
    assert second.startswith(f"kernel distance {score.kernel_distance:.3g} ") and second.endswith("features fashion_mnist")


def test_identical_sets_have_distance_zero(clothes):
    for features in ("fashion_mnist", "image_statistics"):
        few = dataclasses.replace(clothes, x_test=clothes.x_test[:500])
        assert evaluation.score(few.x_test, few, features=features).distance == pytest.approx(0, abs=1e-3)


def test_shifted_features_have_the_squared_shift_as_frechet_distance(column_means, rng):
    """Features with equal covariances: the distance is the squared distance of the means, here 4 * 0.2**2."""
    real = rng.uniform(0, 0.5, size=(2000, 4, 4, 1))
    score = evaluation.score(real[:1000] + 0.2, real)
    assert score.distance == pytest.approx(4 * 0.2**2, rel=0.05)
    assert score.baseline < 0.001
    assert (score.n, score.n_reference, score.reference) == (1000, 1000, "real images")


def test_an_array_of_real_images_is_divided_into_reference_and_baseline_without_overlap(monkeypatch, rng):
    seen = []
    monkeypatch.setattr(evaluation, "features", lambda images, space: seen.append(images) or feature_means(images, space))
    real = rng.uniform(size=(1201, 4, 4, 1))
    evaluation.score(rng.uniform(size=(601, 4, 4, 1)), real)
    _, baseline, reference = seen
    both = np.concatenate([baseline, reference]).reshape(1201, -1)
    np.testing.assert_array_equal(both[np.lexsort(both.T)], real.reshape(1201, -1)[np.lexsort(real.reshape(1201, -1).T)])
    assert len(reference) == 600


def test_general_features_are_the_default_except_for_clothes(column_means, clothes, digits):
    with pytest.warns(UserWarning, match="reference images are too few"):
        assert evaluation.score(digits.x_train, digits).features == "image_statistics"
    assert evaluation.score(clothes.x_train[:600], clothes.x_train).features == "image_statistics"


def distances_to(reference, space, sets):
    """Return the Fréchet distances of several sets of images to reference images."""
    features = evaluation.features(reference, space)
    return [metrics.frechet_distance(evaluation.features(images, space), features) for images in sets]


@pytest.mark.parametrize("space", ["fashion_mnist", "image_statistics"])
def test_distance_grows_with_noise_blur_and_missing_classes(clothes, rng, space):
    images, labels = clothes.x_train[:150], clothes.y_train[:150]
    distortions = {
        "noise": [np.clip(images + std * rng.normal(size=images.shape), 0, 1) for std in (0.1, 0.3)],
        "blur": [scipy.ndimage.gaussian_filter(images, (0, std, std, 0)) for std in (0.7, 1.5)],
        "missing classes": [np.resize(images[labels >= k], images.shape) for k in (4, 8)],
    }
    for sets in distortions.values():
        distances = distances_to(clothes.x_test[:300], space, [images, *sets])
        assert distances == sorted(set(distances))


def test_general_distance_grows_with_distortions_of_colour_images(rng):
    marbles = datasets.load("marbles")
    images, labels = marbles.x_train[:50], marbles.y_train[:50]
    distortions = {
        "blur": [scipy.ndimage.gaussian_filter(images, (0, std, std, 0)) for std in (0.5, 1, 2)],
        "noise": [np.clip(images + std * rng.normal(size=images.shape), 0, 1) for std in (0.02, 0.1, 0.3)],
        "colour": [images * [1, 1 - shift / 2, 1 - shift] for shift in (0.1, 0.2, 0.4)],
        "missing classes": [np.resize(images[labels < kept], images.shape) for kept in (4, 2, 1)],
    }
    for sets in distortions.values():
        distances = distances_to(marbles.x_test[:100], "image_statistics", [images, *sets])
        assert distances == sorted(set(distances))


def test_too_few_images_and_copies_are_warned_about_in_one_line(clothes):
    with pytest.warns(UserWarning) as caught:
        found = evaluation.score(np.repeat(clothes.x_train[:1], 2, axis=0), clothes)
    (warning,) = caught
    assert str(warning.message) == (
        "this score is unreliable: 1 of 2 images are exact copies of another image; 1 different images are too few, "
        "expected at least 500"
    )
    assert warning.filename == __file__
    assert str(found).endswith("; too few images, expected at least 500")
    assert found.distance > 0.5 * found.baseline > 10


def test_copies_do_not_count_towards_the_minimum(column_means, clothes):
    with pytest.warns(UserWarning, match="200 of 600 images are exact copies .*; 400 different images are too few"):
        evaluation.score(np.concatenate([clothes.x_train[:400], clothes.x_train[:200]]), clothes)


def test_enough_different_images_are_scored_without_a_warning(column_means, clothes):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluation.score(clothes.x_train[:500], clothes)


def test_a_random_subset_is_scored_if_there_are_fewer_real_images(column_means, clothes):
    few = dataclasses.replace(clothes, x_train=clothes.x_train[:500])
    with pytest.warns(UserWarning, match="500 of the 800 images are scored, because there are 500 real images"):
        assert evaluation.score(clothes.x_train[1000:1800], few).n == 500


@pytest.mark.filterwarnings("ignore:this score is unreliable")
def test_measures_take_the_test_images_as_the_real_ones(clothes):
    images = clothes.x_train[500:700]
    generated, test = evaluation.features(images), evaluation.features(clothes.x_test)
    precision, recall = metrics.precision_recall(test, generated)
    density, coverage = metrics.density_coverage(test, generated)
    expected = {"precision": precision, "recall": recall, "density": density, "coverage": coverage}
    measured = evaluation.measures(images, clothes)
    assert {name: value for name, (value, _) in measured.items()} == pytest.approx(expected, rel=1e-4)
    others = evaluation.measures(clothes.x_train[:200], clothes)
    assert {name: real for name, (_, real) in measured.items()} == {name: real for name, (_, real) in others.items()}


def test_measures_separate_a_collapsed_set_from_a_noisy_one(clothes, rng):
    """All images of one class: high precision, low coverage. All classes with noise: low precision."""
    one_class = evaluation.measures(clothes.x_train[clothes.y_train == 1][:300], clothes)
    noisy = evaluation.measures(np.clip(clothes.x_train[:300] + 0.3 * rng.normal(size=(300, 28, 28, 1)), 0, 1), clothes)
    assert one_class["precision"][0] > 0.8 > 0.3 > one_class["coverage"][0]
    assert noisy["precision"][0] < 0.5


def test_bad_images_are_named(clothes, digits):
    with pytest.raises(ValueError, match="the number of images is 1; expected at least 2"):
        evaluation.score(clothes.x_test[:1], clothes)
    with pytest.raises(ValueError, match="the number of images of against for the baseline is 1; expected at least 2"):
        evaluation.score(clothes.x_test[:2], clothes.x_test[:2])
    with pytest.raises(ValueError, match=r"images has the shape \(2, 8, 8, 1\); fashion_mnist has images of \(28, 28, 1\)"):
        evaluation.score(digits.x_test[:2], clothes)
    with pytest.raises(ValueError, match="the features fashion_mnist are those of 28x28 grey images of clothes"):
        evaluation.score(digits.x_test[:2], digits, features="fashion_mnist")
    with pytest.raises(ValueError, match="features is 'vgg'; expected one of fashion_mnist, image_statistics, inception"):
        evaluation.score(clothes.x_test[:2], clothes, features="vgg")
    with pytest.raises(TypeError, match="images has the dtype uint8"):
        evaluation.score(np.zeros((2, 28, 28, 1), "uint8"), clothes)
    with pytest.raises(TypeError, match="against has the dtype uint8"):
        evaluation.score(clothes.x_test[:2], np.zeros((2, 28, 28, 1), "uint8"))
    with pytest.raises(ValueError, match="NaN"):
        evaluation.score(np.full((2, 28, 28, 1), np.nan), clothes)
    with pytest.raises(ValueError, match="there are 5 images; measures with neighbours need more than 5"):
        evaluation.measures(clothes.x_train[:5], clothes)


def test_inception_features_need_a_file_of_weights(clothes, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "INCEPTION_WEIGHTS", tmp_path / "absent.h5")
    for space in ("inception", f"inception:{tmp_path / 'absent.h5'}"):
        with pytest.raises(FileNotFoundError, match=r"no file .*absent.h5 .*keras.applications.InceptionV3\(include_"):
            evaluation.features(clothes.x_test[:2], space)
    (tmp_path / "damaged.h5").write_bytes(b"no weights")
    monkeypatch.setattr(keras.applications, "InceptionV3", tiny_inception)
    with pytest.raises(ValueError, match=r"damaged.h5 does not hold the weights of keras.applications.InceptionV3"):
        evaluation.features(clothes.x_test[:2], f"inception:{tmp_path / 'damaged.h5'}")
    with pytest.raises(ValueError, match="2 channels"):
        evaluation.features(np.zeros((2, 8, 8, 2)), "inception")


def tiny_inception(**options):
    """A network with the interface of Keras's Inception network: the means of the three channels, times weights."""
    assert options["weights"] is None and not options["include_top"] and options["pooling"] == "avg"
    inputs = keras.Input((20, 20, 3))
    means = keras.layers.GlobalAveragePooling2D()(inputs)
    return keras.Model(inputs, keras.layers.Dense(3, use_bias=False, name="dense")(means))


def test_inception_features_use_the_weights_of_the_file_and_inputs_from_minus_1_to_1(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.applications, "InceptionV3", tiny_inception)
    monkeypatch.setattr(evaluation, "INCEPTION_BATCH", 2)
    network = tiny_inception(weights=None, include_top=False, pooling="avg")
    network.set_weights([10 * np.eye(3)])
    network.save_weights(tmp_path / "mine.weights.h5")
    levels = np.array([0, 0.5, 0.75])
    grey = evaluation.features(levels[:, None, None, None] * np.ones((8, 12, 1)), f"inception:{tmp_path}/mine.weights.h5")
    np.testing.assert_allclose(grey, np.repeat([[-10], [0], [5]], 3, axis=1), atol=1e-4)
    monkeypatch.setattr(evaluation, "INCEPTION_WEIGHTS", tmp_path / "mine.weights.h5")
    rgb = evaluation.features(np.ones((1, 40, 40, 1)) * levels, "inception")
    np.testing.assert_allclose(rgb, [[-10, 0, 5]], atol=1e-4)


def test_nearest_class_mean_is_more_accurate_in_features_than_in_pixels(clothes):
    def accuracy(transform):
        train, test = transform(clothes.x_train[:2000]), transform(clothes.x_test[:500])
        means = np.stack([train[clothes.y_train[:2000] == label].mean(axis=0) for label in range(10)])
        nearest = ((test[:, np.newaxis] - means) ** 2).sum(axis=2).argmin(axis=1)
        return (nearest == clothes.y_test[:500]).mean()

    pixels = accuracy(lambda images: images.reshape(len(images), -1))
    assert accuracy(evaluation.features) > max(pixels + 0.1, 0.8)
    assert evaluation.classifier() is evaluation.classifier()
    assert clothes.class_names == datasets.CLOTHES


def test_caption_matches_reads_rendered_attributes_and_rejects_another_number_of_rows():
    choices = marble_captions.combinations()[0][:100]
    images = marble_captions.render(choices, rng=0, size=32)
    assert evaluation.caption_matches(images, choices).mean() > 0.97
    assert evaluation.caption_matches(images, np.roll(choices, 1, axis=0)).mean() < 0.5
    with pytest.raises(ValueError, match=r"choices has the shape \(99, 5\); expected \(100, 5\)"):
        evaluation.caption_matches(images, choices[:99])


def test_evaluation_of_classifiers_is_their_accuracy_on_the_test_images(clothes):
    few = dataclasses.replace(clothes, x_test=clothes.x_test[:200], y_test=clothes.y_test[:200])
    found = evaluation.evaluate(evaluation.classifier(), few)
    predicted = evaluation.classifier().predict_proba(few.x_test).argmax(axis=1)
    assert found.values["accuracy"] == np.mean(predicted == few.y_test)
    assert str(found) == f"accuracy {found.values['accuracy']:.1%} on 200 test images"

    marbles = datasets.load("described_marbles")
    few = dataclasses.replace(marbles, x_test=marbles.x_test[:100], y_test=marbles.y_test[:100])
    found = evaluation.evaluate(pretrained.load("marble_classifier"), few)
    assert 0.9 < found.values["captions"] <= found.values["attributes"] <= 1
    assert str(found).endswith("of whole captions correct on 100 test images")


def test_evaluation_of_a_generative_model_is_the_score_of_its_samples(clothes):
    few = dataclasses.replace(clothes, x_train=clothes.x_train[:500])
    gan = pretrained.load("gan")
    found, expected = evaluation.evaluate(gan, few), evaluation.score(gan.sample(500, seed=0), few)
    assert str(found) == str(expected).replace("\n", "; ")
    assert found.values["kernel_distance"] == expected.kernel_distance


def test_evaluation_of_captions_counts_attributes_for_training_and_held_out_captions(monkeypatch):
    class Renderer:
        """A perfect model: it renders what the caption says."""

        task, num_classes = "generation", 22

        def sample(self, n, *, seed, labels, guidance_scale):
            return marble_captions.render(marble_captions.decode(labels), rng=seed, size=32)

    monkeypatch.setattr(evaluation, "NUM_CAPTIONED", 40)
    found = evaluation.evaluate(Renderer(), datasets.load("captioned_marbles"))
    assert list(found.values) == ["training attributes", "training captions", "held-out attributes", "held-out captions"]
    assert min(found.values.values()) > 0.85
    assert "40 images each at guidance scale 2" in str(found)


def test_a_model_of_captions_without_an_evaluation_of_their_own_is_scored_by_its_samples(clothes):
    few = dataclasses.replace(
        clothes, x_train=clothes.x_train[:500], condition=datasets.Condition("captions", vocabulary="of another program")
    )

    class Copier:
        task, num_classes = "generation", 3

        def sample(self, n, *, seed):
            return few.x_train[:n]

    assert evaluation.evaluate(Copier(), few).values["distance"] == evaluation.score(few.x_train, few).distance

import dataclasses

import numpy as np
import pytest

from imggen_lib import datasets, evaluation, metrics


def test_the_floors_own_images_score_exactly_one(clothes):
    score = evaluation.score(clothes.x_train[:300], clothes)
    assert score.multiple == 1 and score.distance == score.floor > 0
    assert (score.images, score.test_images, score.dataset) == (300, 2000, "fashion_mnist")


def test_a_score_is_the_frechet_distance_of_the_features(clothes):
    images = clothes.x_train[500:700]
    expected = metrics.frechet_distance(evaluation.features(images), evaluation.features(clothes.x_test))
    assert evaluation.score(images, clothes).distance == pytest.approx(expected)


def test_the_test_images_themselves_are_at_distance_zero(clothes):
    assert evaluation.score(clothes.x_test, clothes).distance == pytest.approx(0, abs=1e-3)


def test_worse_pictures_score_worse(clothes, rng):
    images = clothes.x_train[1000:1300]
    noisy = [np.clip(images + std * rng.normal(size=images.shape), 0, 1) for std in (0.1, 0.3)]
    one_class = clothes.x_train[clothes.y_train == 0][:300]
    real, little, much, collapsed = (evaluation.score(x, clothes).multiple for x in (images, *noisy, one_class))
    assert 0.5 < real < 1.5 < little < much
    assert collapsed > 10


def test_measures_are_those_of_the_features_with_the_test_images_as_the_real_ones(clothes):
    images = clothes.x_train[500:700]
    generated, test = evaluation.features(images), evaluation.features(clothes.x_test)
    precision, recall = metrics.precision_recall(test, generated)
    density, coverage = metrics.density_coverage(test, generated)
    expected = {"precision": precision, "recall": recall, "density": density, "coverage": coverage}
    expected["kernel distance"] = metrics.kernel_distance(generated, test)
    measured = evaluation.measures(images, clothes)
    assert {name: value for name, (value, _) in measured.items()} == pytest.approx(expected, rel=1e-4)
    real = evaluation.measures(clothes.x_train[:200], clothes)
    assert all(value == of_real for value, of_real in real.values())
    assert {name: value for name, (_, value) in measured.items()} == {name: value for name, (value, _) in real.items()}


def test_measures_tell_a_collapsed_set_from_a_blurred_one(clothes, rng):
    """One class in all its variety is precise and covers little; noise on all classes is imprecise."""
    one_class = evaluation.measures(clothes.x_train[clothes.y_train == 1][:300], clothes)
    noisy = evaluation.measures(np.clip(clothes.x_train[:300] + 0.3 * rng.normal(size=(300, 28, 28, 1)), 0, 1), clothes)
    assert one_class["precision"][0] > 0.8 > 0.3 > one_class["coverage"][0]
    assert noisy["precision"][0] < 0.5
    for measured in (one_class, noisy):
        assert measured["kernel distance"][0] > 10 * abs(measured["kernel distance"][1])


def test_measures_need_more_images_than_neighbours(clothes):
    with pytest.raises(ValueError, match="there are 5 images; the measures of neighbours need more than 5"):
        evaluation.measures(clothes.x_train[:5], clothes)


def test_no_more_than_the_latest_features_are_kept(clothes):
    for start in range(0, 60, 3):
        evaluation.score(clothes.x_train[start : start + 3], clothes)
    assert len(evaluation._FEATURES) <= 16


def test_a_score_can_be_read():
    text = str(evaluation.Score(distance=3.0, floor=1.5, images=5000, test_images=2000, dataset="fashion_mnist"))
    assert text == (
        "Fréchet distance 3.00 = 2.0 times the floor (1.500), 5,000 images against 2,000 test images of fashion_mnist"
    )


def test_the_dataset_that_was_given_is_the_one_that_is_used(clothes):
    small = dataclasses.replace(clothes, x_test=clothes.x_test[:200], y_test=clothes.y_test[:200])
    assert evaluation.score(clothes.x_train[:100], clothes).test_images == 2000
    assert evaluation.score(clothes.x_train[:100], small).test_images == 200


def test_pictures_that_cannot_be_scored_are_named(clothes, digits):
    with pytest.raises(ValueError, match="there are 1 images; expected between 2 and 10000"):
        evaluation.score(clothes.x_test[:1], clothes)
    few = dataclasses.replace(clothes, x_train=clothes.x_train[:5])
    with pytest.raises(ValueError, match="there are 6 images; expected between 2 and 5"):
        evaluation.score(clothes.x_test[:6], few)
    with pytest.raises(ValueError, match=r"images has the shape \(2, 8, 8, 1\)"):
        evaluation.score(digits.x_test[:2], clothes)
    with pytest.raises(ValueError, match="say nothing about digits"):
        evaluation.score(digits.x_test[:2], digits)
    with pytest.raises(TypeError, match="uint8"):
        evaluation.score(np.zeros((2, 28, 28, 1), "uint8"), clothes)
    with pytest.raises(ValueError, match="NaN"):
        evaluation.score(np.full((2, 28, 28, 1), np.nan), clothes)


def test_features_tell_classes_apart(clothes):
    """The nearest mean in feature space is right more often than the nearest mean in pixels."""

    def accuracy(transform):
        train, test = transform(clothes.x_train[:2000]), transform(clothes.x_test[:500])
        means = np.stack([train[clothes.y_train[:2000] == label].mean(axis=0) for label in range(10)])
        nearest = ((test[:, np.newaxis] - means) ** 2).sum(axis=2).argmin(axis=1)
        return (nearest == clothes.y_test[:500]).mean()

    pixels = accuracy(lambda images: images.reshape(len(images), -1))
    assert accuracy(evaluation.features) > max(pixels + 0.1, 0.8)
    assert evaluation.extractor() is evaluation.extractor()
    assert clothes.class_names == datasets.CLOTHES

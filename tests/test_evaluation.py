"""Scores, measures, features and the evaluation of models."""

import dataclasses

import numpy as np
import pytest

from imggen_lib import datasets, evaluation, metrics, pretrained
from imggen_lib.datasets import marble_captions


def test_score_is_the_frechet_distance_of_the_features_and_of_the_baseline_images(clothes):
    images = clothes.x_train[500:700]
    test = evaluation.features(clothes.x_test)
    score = evaluation.score(images, clothes)
    assert score.distance == pytest.approx(metrics.frechet_distance(evaluation.features(images), test))
    baseline = metrics.frechet_distance(evaluation.features(clothes.x_train[:200]), test)
    assert score.baseline == pytest.approx(baseline)
    assert (score.n, score.n_test, score.dataset) == (200, 2000, "fashion_mnist")
    assert evaluation.score(clothes.x_train[:200], clothes).distance == pytest.approx(baseline)


def test_test_images_have_distance_zero(clothes):
    assert evaluation.score(clothes.x_test, clothes).distance == pytest.approx(0, abs=1e-3)


def test_distance_grows_with_noise_and_with_mode_collapse(clothes, rng):
    images = clothes.x_train[1000:1300]
    noisy = [np.clip(images + std * rng.normal(size=images.shape), 0, 1) for std in (0.1, 0.3)]
    one_class = clothes.x_train[clothes.y_train == 0][:300]
    real, little, much, collapsed = (evaluation.score(x, clothes) for x in (images, *noisy, one_class))
    assert 0.5 < real.distance / real.baseline < 1.5
    assert real.distance < little.distance < much.distance
    assert collapsed.distance > 10 * collapsed.baseline


def test_measures_take_the_test_images_as_the_real_ones(clothes):
    images = clothes.x_train[500:700]
    generated, test = evaluation.features(images), evaluation.features(clothes.x_test)
    precision, recall = metrics.precision_recall(test, generated)
    density, coverage = metrics.density_coverage(test, generated)
    expected = {"precision": precision, "recall": recall, "density": density, "coverage": coverage}
    expected["kernel distance"] = metrics.kernel_distance(generated, test)
    measured = evaluation.measures(images, clothes)
    assert {name: value for name, (value, _) in measured.items()} == pytest.approx(expected, rel=1e-4)
    real = evaluation.measures(clothes.x_train[:200], clothes)
    assert {name: value for name, (_, value) in measured.items()} == {name: value for name, (value, _) in real.items()}
    assert all(value == of_real for value, of_real in real.values())


def test_measures_separate_a_collapsed_set_from_a_noisy_one(clothes, rng):
    """All images of one class: high precision, low coverage. All classes with noise: low precision."""
    one_class = evaluation.measures(clothes.x_train[clothes.y_train == 1][:300], clothes)
    noisy = evaluation.measures(np.clip(clothes.x_train[:300] + 0.3 * rng.normal(size=(300, 28, 28, 1)), 0, 1), clothes)
    assert one_class["precision"][0] > 0.8 > 0.3 > one_class["coverage"][0]
    assert noisy["precision"][0] < 0.5
    for measured in (one_class, noisy):
        assert measured["kernel distance"][0] > 10 * abs(measured["kernel distance"][1])


def test_scores_use_the_arrays_of_the_given_dataset(clothes):
    small = dataclasses.replace(clothes, x_test=clothes.x_test[:200], y_test=clothes.y_test[:200])
    assert evaluation.score(clothes.x_train[:100], small).n_test == 200


def test_bad_images_are_named(clothes, digits):
    with pytest.raises(ValueError, match="there are 1 images; expected between 2 and 10000"):
        evaluation.score(clothes.x_test[:1], clothes)
    few = dataclasses.replace(clothes, x_train=clothes.x_train[:5])
    with pytest.raises(ValueError, match="there are 6 images; expected between 2 and 5"):
        evaluation.score(clothes.x_test[:6], few)
    with pytest.raises(ValueError, match=r"images has the shape \(2, 8, 8, 1\)"):
        evaluation.score(digits.x_test[:2], clothes)
    with pytest.raises(ValueError, match="do not apply to digits"):
        evaluation.score(digits.x_test[:2], digits)
    with pytest.raises(TypeError, match="uint8"):
        evaluation.score(np.zeros((2, 28, 28, 1), "uint8"), clothes)
    with pytest.raises(ValueError, match="NaN"):
        evaluation.score(np.full((2, 28, 28, 1), np.nan), clothes)
    with pytest.raises(ValueError, match="there are 5 images; measures with neighbours need more than 5"):
        evaluation.measures(clothes.x_train[:5], clothes)


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


def test_evaluation_of_a_generative_model_is_the_score_of_its_samples(clothes, digits):
    few = dataclasses.replace(clothes, x_train=clothes.x_train[:300])
    gan = pretrained.load("gan")
    found = evaluation.evaluate(gan, few)
    assert str(found) == str(evaluation.score(gan.sample(300, seed=0), few))
    assert str(evaluation.evaluate(gan, digits)) == "not scored: there are no features for digits"


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

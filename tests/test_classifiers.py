"""The classifier of classes, the classifier of attributes, and the feature network of both."""

import keras
import numpy as np
import pytest
from helpers import random_images
from keras import ops

from imggen_lib import models


@pytest.mark.parametrize("image_shape", [(8, 8, 1), (25, 25, 1), (7, 9, 3)])
def test_features_are_not_negative_for_images_of_any_size(image_shape, rng):
    features = np.asarray(models.image_features(image_shape, 16)(rng.uniform(size=(4, *image_shape))))
    assert features.shape == (4, 16) and features.min() >= 0 and features.max() > 0


# -- classes ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def classifier(digits):
    keras.utils.set_random_seed(0)
    model = models.Classifier(models.image_features((8, 8, 1), 16, filters=(8, 8)), 10)
    model.compile(optimizer=keras.optimizers.Adam(5e-3))
    model.fit(digits.x_train, digits.y_train, batch_size=32, epochs=3, verbose=0)
    return model


def test_classifier_learns_digits_and_keras_reports_the_same_accuracy(classifier, digits):
    correct = classifier.predict_proba(digits.x_test).argmax(axis=1) == digits.y_test
    assert correct.mean() > 0.8
    assert classifier.evaluate(digits.x_test, digits.y_test, verbose=0)[1] == pytest.approx(correct.mean(), abs=1e-6)
    assert (classifier.task, classifier.num_classes, classifier.image_shape) == ("classification", 10, (8, 8, 1))


def test_class_probabilities_are_the_softmax_of_the_logits(classifier, digits):
    images = digits.x_test[:20]
    logits = classifier.predict(images, verbose=0)
    np.testing.assert_allclose(classifier.logits(images), logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(classifier.predict_proba(images), ops.softmax(logits), rtol=1e-4, atol=1e-7)


def test_a_saved_classifier_has_the_same_features_and_trains_on(classifier, digits, tmp_path):
    classifier.save(tmp_path / "classifier.keras")
    loaded = keras.saving.load_model(tmp_path / "classifier.keras")
    np.testing.assert_array_equal(loaded.features(digits.x_test[:5]), classifier.features(digits.x_test[:5]))
    assert int(loaded.optimizer.iterations) == int(classifier.optimizer.iterations)
    assert set(loaded.fit(digits.x_train[:32], digits.y_train[:32], verbose=0).history) == {"accuracy", "loss"}


def test_features_do_not_depend_on_the_rest_of_the_batch(classifier, digits):
    alone = np.concatenate([classifier.features(digits.x_test[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(classifier.features(digits.x_test[:50])[:3], alone, atol=1e-5)


def test_bad_images_and_class_counts_are_refused(classifier):
    with pytest.raises(ValueError, match=r"shape \(1, 9, 9, 1\); expected \(n, 8, 8, 1\)"):
        classifier.features(np.zeros((1, 9, 9, 1)))
    with pytest.raises(TypeError, match="uint8"):
        classifier.predict_proba(np.zeros((1, 8, 8, 1), "uint8"))
    with pytest.raises(ValueError, match="num_classes is 1"):
        models.Classifier(models.image_features((8, 8, 1), 4), 1)


# -- attributes ------------------------------------------------------------------------------------------------------


@pytest.fixture
def attribute_classifier():
    keras.utils.set_random_seed(0)
    return models.AttributeClassifier(models.image_features((8, 8, 1), 8, filters=(8, 8)), (2, 3))


def scene_network(side=16):
    return models.scene_features((side, side, 3), 8, filters=(4, 6), halvings=1, queries=2)


def test_attention_pooling_is_the_weighted_sum_of_the_formula():
    network = scene_network()
    images = np.random.default_rng(0).random((2, 16, 16, 3), dtype=np.float32)
    inside = keras.Model(network.input, [network.get_layer("scores").input, network.get_layer("pooled").output])
    features, pooled = (np.asarray(x) for x in inside(images))
    bias = np.random.default_rng(1).normal(size=(64, 2)).astype(np.float32)
    network.get_layer("position").bias.assign(bias)
    scores = features @ np.asarray(network.get_layer("scores").kernel) + bias
    weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    expected = np.einsum("npq,npc->nqc", weights, features)
    np.testing.assert_allclose(np.asarray(inside(images)[1]), expected, rtol=1e-4, atol=1e-6)
    assert not np.allclose(pooled, expected, rtol=1e-2)  # the bias, 0 at first, has an effect


def test_features_of_a_scene_do_not_depend_on_the_position_before_the_bias_is_trained():
    image = np.zeros((1, 32, 32, 3), np.float32)
    image[:, 8:12, 8:12] = np.random.default_rng(0).random((4, 4, 3))
    network = scene_network(32)
    here, there = (np.asarray(network(x)) for x in (image, np.roll(image, (8, 12), axis=(1, 2))))
    np.testing.assert_allclose(here, there, rtol=1e-4, atol=1e-6)


def test_probabilities_of_each_attribute_add_up_to_one(attribute_classifier):
    log_probabilities = ops.convert_to_numpy(attribute_classifier(random_images(4)))
    for group in (log_probabilities[:, :2], log_probabilities[:, 2:]):
        np.testing.assert_allclose(np.exp(group).sum(axis=1), 1, rtol=1e-5)
    assert (attribute_classifier.task, attribute_classifier.num_classes) == ("attributes", 5)


def test_loss_is_the_mean_cross_entropy_over_the_attributes(attribute_classifier):
    """Uniform predictions cost log 2 and log 3. An attribute without a label costs nothing."""
    uniform = np.log(np.array([[0.5, 0.5, 1 / 3, 1 / 3, 1 / 3]]))
    for labels, expected in (([1, 0, 0, 0, 1], np.log(6) / 2), ([1, 0, 0, 0, 0], np.log(2) / 2)):
        loss = float(attribute_classifier.compute_loss(None, np.array([labels]), uniform))
        assert loss == pytest.approx(expected, rel=1e-5)


def test_two_attributes_are_learned_together_and_the_model_is_saved(attribute_classifier, tmp_path):
    rng = np.random.default_rng(0)
    bright, position = rng.integers(2, size=400), rng.integers(3, size=400)
    images = np.zeros((400, 8, 8, 1), np.float32)
    images[np.arange(400), 2 * position + 1] = 0.4 + 0.6 * bright[:, np.newaxis, np.newaxis]
    labels = np.concatenate([np.eye(2)[bright], np.eye(3)[position]], axis=1)
    attribute_classifier.compile(optimizer=keras.optimizers.Adam(1e-2))
    attribute_classifier.fit(images, labels, batch_size=50, epochs=15, verbose=0)
    found = attribute_classifier.predict_attributes(images)
    assert (found == np.stack([bright, position], axis=1)).mean() > 0.97
    attribute_classifier.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.counts == (2, 3)
    np.testing.assert_array_equal(loaded.predict_attributes(images), found)


def test_bad_images_and_attribute_counts_are_refused(attribute_classifier):
    with pytest.raises(ValueError, match=r"shape \(2, 9, 9, 1\); expected \(n, 8, 8, 1\)"):
        attribute_classifier.predict_attributes(np.zeros((2, 9, 9, 1)))
    with pytest.raises(ValueError, match="counts is 1"):
        models.AttributeClassifier(models.image_features((8, 8, 1), 8), (2, 1))

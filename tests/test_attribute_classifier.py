"""The reader of factors: its loss is a known number, and it learns what can be learnt."""

import keras
import numpy as np
import pytest
from keras import ops

from imggen_lib import models, training


@pytest.fixture
def reader():
    keras.utils.set_random_seed(0)
    return models.AttributeClassifier(models.image_features((8, 8, 1), 8, filters=(8, 8)), (2, 3))


def test_each_factor_has_probabilities_that_add_up_to_one(reader):
    logs = ops.convert_to_numpy(reader(np.random.default_rng(0).uniform(size=(4, 8, 8, 1))))
    for words in (logs[:, :2], logs[:, 2:]):
        np.testing.assert_allclose(np.exp(words).sum(axis=1), 1, rtol=1e-5)


def test_the_loss_is_the_mean_cross_entropy(reader):
    # Nothing known: log 2 for one factor and log 3 for the other. What is not told costs nothing.
    guess = np.log(np.array([[0.5, 0.5, 1 / 3, 1 / 3, 1 / 3]]))
    assert float(reader.compute_loss(None, np.array([[1, 0, 0, 0, 1]]), guess)) == pytest.approx(np.log(6) / 2, rel=1e-5)
    assert float(reader.compute_loss(None, np.array([[1, 0, 0, 0, 0]]), guess)) == pytest.approx(np.log(2) / 2, rel=1e-5)


def test_it_learns_two_factors_at_once_and_is_saved_whole(reader, tmp_path):
    rng = np.random.default_rng(0)
    bright, where = rng.integers(2, size=400), rng.integers(3, size=400)
    images = np.zeros((400, 8, 8, 1), np.float32)
    images[np.arange(400), 2 * where + 1] = 0.4 + 0.6 * bright[:, np.newaxis, np.newaxis]
    words = np.concatenate([np.eye(2)[bright], np.eye(3)[where]], axis=1)
    reader.compile(optimizer=keras.optimizers.Adam(1e-2))
    reader.fit(images, words, batch_size=50, epochs=15, verbose=0)
    found = reader.read(images)
    assert (found == np.stack([bright, where], axis=1)).mean() > 0.97
    training.save(reader, tmp_path / "reader.keras", {})
    np.testing.assert_array_equal(training.load(tmp_path / "reader.keras")[0].read(images), found)


def test_pictures_of_another_shape_are_refused(reader):
    with pytest.raises(ValueError, match="9"):
        reader.read(np.zeros((2, 9, 9, 1)))
    with pytest.raises(ValueError, match="counts"):
        models.AttributeClassifier(models.image_features((8, 8, 1), 8), (2, 1))

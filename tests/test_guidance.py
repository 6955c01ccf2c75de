"""Label dropout, and the evaluation of a conditional network with guidance."""

import keras
import numpy as np
import pytest
from keras import ops

from imggen_lib import models


@pytest.fixture(scope="module")
def model():
    return models.Diffusion(models.image_unet((8, 8, 1), num_classes=3, filters=(8,), blocks=1), num_classes=3)


def test_label_dropout_sets_whole_rows_to_zero_at_the_given_rate():
    condition, seed = ops.ones((4000, 3)), keras.random.SeedGenerator(0)
    kept = ops.convert_to_numpy(models.drop_condition(condition, 0.3, seed))
    assert set(map(tuple, kept)) == {(0, 0, 0), (1, 1, 1)}
    assert kept.mean() == pytest.approx(0.7, abs=0.03)
    np.testing.assert_array_equal(models.drop_condition(condition, 0.0, seed), condition)
    np.testing.assert_array_equal(models.drop_condition(condition, 1.0, seed), 0 * condition)
    assert models.drop_condition(None, 0.3, seed) is None


@pytest.mark.parametrize(
    ("condition", "scale", "negative", "expected", "evaluated"),
    [
        (5.0, 1, None, 5, [5]),
        (5.0, 0, None, 0, [None]),
        (5.0, 3, None, 15, [5, None]),
        (5.0, 3, 2.0, 11, [5, 2]),
        (5.0, 0, 2.0, 2, [2]),
        (None, 3, None, 0, [None]),
    ],
)
def test_guidance_evaluates_only_the_predictions_that_it_needs(model, condition, scale, negative, expected, evaluated):
    asked = []

    def predict(rows):
        asked.append(rows)
        return 0.0 if rows is None else rows

    assert model.guided(predict, condition, scale, negative) == expected
    assert asked == evaluated


def test_rows_without_a_condition_are_zeros(model):
    np.testing.assert_array_equal(model.rows_or_zeros(None, 2), np.zeros((2, 3)))
    rows = np.eye(3, dtype="float32")
    assert model.rows_or_zeros(rows, 3) is rows
    unconditional = models.Diffusion(models.image_unet((8, 8, 1), filters=(8,), blocks=1))
    assert unconditional.rows_or_zeros(None, 2) is None

import numpy as np
import pytest

from imggen_lib import _validation as validate


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_real_array_keeps_a_floating_dtype(dtype):
    assert validate.real_array(np.ones(3, dtype), "x").dtype == dtype


@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_real_array_converts_integers_to_double_precision(dtype):
    assert validate.real_array(np.ones(3, dtype), "x").dtype == np.float64


@pytest.mark.parametrize("values", [["a"], [1j], [None], [True]])
def test_real_array_rejects_values_that_are_not_real_numbers(values):
    with pytest.raises(TypeError, match="weights has the dtype .*; expected real numbers"):
        validate.real_array(values, "weights")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([np.nan, 1], "NaN or infinite"),
        ([np.inf], "NaN or infinite"),
        ([], "is empty"),
        ([[1.0]], r"shape \(1, 1\); expected 1 dimensions"),
    ],
)
def test_real_array_rejects_bad_values_and_shapes(values, message):
    with pytest.raises(ValueError, match=message):
        validate.real_array(values, "x", ndim=1)


def test_image_accepts_both_ends_of_the_range_without_a_copy():
    array = np.array([[0.0, 1.0]], np.float32)
    assert validate.image(array) is array


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool"])
def test_image_rejects_integers_and_names_the_function_that_converts_them(dtype):
    with pytest.raises(TypeError, match=f"dtype {dtype}.*convert it with skimage.util.img_as_float32"):
        validate.image(np.zeros((2, 2), dtype))


@pytest.mark.parametrize("value", [-0.001, 1.001, np.nan, np.inf])
def test_image_rejects_values_outside_the_range(value):
    with pytest.raises(ValueError, match=r"expected \[0, 1\]|NaN or infinite"):
        validate.image(np.full((2, 2), value))


@pytest.mark.parametrize("shape", [(3,), (2, 2, 1, 1)])
def test_image_rejects_other_numbers_of_dimensions(shape):
    with pytest.raises(ValueError, match="expected 2 or 3 dimensions"):
        validate.image(np.zeros(shape))


def test_integer_converts_numpy_integers_to_int():
    assert type(validate.integer(np.uint8(3), "n")) is int


@pytest.mark.parametrize("value", [1.0, "1", None, True, np.True_, np.float64(2)])
def test_integer_rejects_other_types(value):
    with pytest.raises(TypeError, match="n is .*; expected a whole number"):
        validate.integer(value, "n")


def test_integer_rejects_values_below_the_minimum():
    assert validate.integer(0, "seed", minimum=0) == 0
    with pytest.raises(ValueError, match="seed is -1; expected at least 0"):
        validate.integer(-1, "seed", minimum=0)


@pytest.mark.parametrize("value", [1, np.float32(1), np.int64(1)])
def test_real_converts_numbers_to_float(value):
    assert type(validate.real(value, "std")) is float


@pytest.mark.parametrize("value", ["1", None, True, 1j, [1.0]])
def test_real_rejects_other_types(value):
    with pytest.raises(TypeError, match="std is .*; expected a real number"):
        validate.real(value, "std")


@pytest.mark.parametrize("value", [-1e-9, 1.1, np.nan, np.inf, 10**400])
def test_real_rejects_values_out_of_range(value):
    with pytest.raises(ValueError, match=r"expected a finite number in \[0, 1\]"):
        validate.real(value, "std", minimum=0, maximum=1)


def test_choice_lists_the_accepted_values():
    with pytest.raises(ValueError, match="padding is 'full'; expected one of valid, same"):
        validate.choice("full", "padding", ("valid", "same"))


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (3, TypeError, "kernel_shape is 3; expected a tuple of two whole numbers"),
        ("33", TypeError, "kernel_shape is '33'; expected a tuple of two whole numbers"),
        ((3, 3, 3), ValueError, "expected two whole numbers, for height and width"),
        ((3, 0), ValueError, "kernel_shape is 0; expected at least 1"),
        ((3, 1.5), TypeError, "kernel_shape is 1.5; expected a whole number"),
    ],
)
def test_pair_accepts_two_integers_only(value, error, message):
    assert validate.pair(np.array([3, 5]), "kernel_shape") == (3, 5)
    with pytest.raises(error, match=message):
        validate.pair(value, "kernel_shape")


def test_images_must_have_the_given_shape():
    with pytest.raises(ValueError, match=r"images has the shape \(1, 2, 3, 1\); expected \(n, 3, 2, 1\)"):
        validate.images(np.zeros((1, 2, 3, 1)), (3, 2, 1))
    with pytest.raises(ValueError, match="expected 4 dimensions"):
        validate.images(np.zeros((3, 2, 1)), (3, 2, 1))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((28, 28), "expected \\(height, width, channels\\)"),
        ((28, 0, 1), "at least 1"),
    ],
)
def test_image_shape_rejects_other_numbers_of_sizes_and_sizes_below_one(shape, message):
    with pytest.raises(ValueError, match=message):
        validate.image_shape(shape)


def test_condition_has_the_same_rows_for_every_form_of_labels():
    classes = np.array([2, 0, 1])
    one_hot = np.eye(4, dtype=np.float32)[classes]
    for labels in (
        classes,
        classes.tolist(),
        classes[:, np.newaxis],
        classes.astype("uint8"),
        one_hot,
        one_hot.astype(int),
    ):
        rows = validate.condition(labels, 3, 4)
        assert rows.dtype == np.float32
        np.testing.assert_array_equal(rows, one_hot)
    np.testing.assert_array_equal(validate.condition(2, 3, 4), one_hot[[0, 0, 0]])


def test_condition_keeps_rows_that_are_not_one_hot():
    """An encoded caption has several ones, or none."""
    rows = np.array([[1, 0, 1], [0, 0, 0]], np.float32)
    np.testing.assert_array_equal(validate.condition(rows, 2, 3), rows)


def test_condition_of_two_images_with_two_classes_is_read_by_its_shape():
    np.testing.assert_array_equal(validate.condition([0, 1], 2, 2), np.eye(2))
    np.testing.assert_array_equal(validate.condition([[0], [1]], 2, 2), np.eye(2))
    np.testing.assert_array_equal(validate.condition([[0, 1], [1, 0]], 2, 2), np.eye(2)[::-1])


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (
            [0, 1],
            ValueError,
            r"labels has the shape \(2,\); expected one class, \(3,\) or \(3, 1\) classes, or \(3, 4\) rows",
        ),
        (np.zeros((3, 5)), ValueError, r"shape \(3, 5\)"),
        ([0, 1, 4], ValueError, "values from 0 to 4; expected classes from 0 to 3"),
        (-1, ValueError, "values from -1 to -1"),
        ([0.0, 1.0, 2.0], TypeError, "labels has the dtype float64; expected integers"),
        (True, TypeError, "labels has the dtype bool"),
        ("shoe", TypeError, "expected integers"),
        (np.full((3, 4), np.nan), ValueError, "labels contains NaN"),
        (np.full((3, 4), "a"), TypeError, "expected real numbers"),
    ],
)
def test_condition_rejects_bad_labels(labels, error, message):
    with pytest.raises(error, match=message):
        validate.condition(labels, 3, 4)


def test_condition_size_is_zero_without_a_condition_and_at_least_two_with_one():
    assert (validate.condition_size(None), validate.condition_size(np.int64(10))) == (0, 10)
    for num_classes, error in ((0, ValueError), (1, ValueError), (2.0, TypeError), (True, TypeError)):
        with pytest.raises(error, match="num_classes is"):
            validate.condition_size(num_classes)


def test_rows_have_the_given_width():
    assert validate.rows([[1, 2], [3, 4]], "latent", 2).dtype == np.float64
    assert validate.rows(np.zeros((3, 2), np.float32), "latent", 2).dtype == np.float32
    for value, error, message in (
        (np.zeros((3, 2)), ValueError, r"latent has the shape \(3, 2\); expected \(n, 4\)"),
        (np.zeros(4), ValueError, "expected 2 dimensions"),
        (np.full((1, 4), np.inf), ValueError, "NaN or infinite"),
        ([["a"] * 4], TypeError, "expected real numbers"),
    ):
        with pytest.raises(error, match=message):
            validate.rows(value, "latent", 4)

import numpy as np
import pytest

from imggen_lib import _validation as validate


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_real_array_keeps_a_floating_dtype(dtype):
    assert validate.real_array(np.ones(3, dtype), "x").dtype == dtype


@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_real_array_counts_integers_in_double_precision(dtype):
    assert validate.real_array(np.ones(3, dtype), "x").dtype == np.float64


@pytest.mark.parametrize("values", [["a"], [1j], [None], [True]])
def test_real_array_refuses_what_is_not_a_real_number(values):
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
def test_real_array_names_what_is_wrong(values, message):
    with pytest.raises(ValueError, match=message):
        validate.real_array(values, "x", ndim=1)


def test_image_accepts_both_ends_of_the_range():
    picture = np.array([[0.0, 1.0]], np.float32)
    assert validate.image(picture) is picture


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool"])
def test_image_refuses_integers_and_says_what_converts_them(dtype):
    with pytest.raises(TypeError, match="img_as_float32"):
        validate.image(np.zeros((2, 2), dtype))


@pytest.mark.parametrize("value", [-0.001, 1.001, np.nan, np.inf])
def test_image_refuses_values_outside_the_range(value):
    with pytest.raises(ValueError, match=r"expected \[0, 1\]|NaN or infinite"):
        validate.image(np.full((2, 2), value))


@pytest.mark.parametrize("shape", [(3,), (2, 2, 1, 1)])
def test_image_refuses_other_numbers_of_dimensions(shape):
    with pytest.raises(ValueError, match="expected 2 or 3 dimensions"):
        validate.image(np.zeros(shape))


def test_integer_accepts_numpy_integers_and_gives_a_python_int():
    assert type(validate.integer(np.uint8(3), "n")) is int


@pytest.mark.parametrize("value", [1.0, "1", None, True, np.True_, np.float64(2)])
def test_integer_refuses_other_types(value):
    with pytest.raises(TypeError, match="n is .*; expected a whole number"):
        validate.integer(value, "n")


def test_integer_refuses_values_below_the_minimum():
    assert validate.integer(0, "seed", minimum=0) == 0
    with pytest.raises(ValueError, match="seed is -1; expected at least 0"):
        validate.integer(-1, "seed", minimum=0)


@pytest.mark.parametrize("value", [1, np.float32(1), np.int64(1)])
def test_real_gives_a_python_float(value):
    assert type(validate.real(value, "std")) is float


@pytest.mark.parametrize("value", ["1", None, True, 1j, [1.0]])
def test_real_refuses_other_types(value):
    with pytest.raises(TypeError, match="std is .*; expected a real number"):
        validate.real(value, "std")


@pytest.mark.parametrize("value", [-1e-9, 1.1, np.nan, np.inf])
def test_real_refuses_values_out_of_range(value):
    with pytest.raises(ValueError, match=r"expected a finite number in \[0, 1\]"):
        validate.real(value, "std", minimum=0, maximum=1)


def test_choice_lists_what_there_is():
    with pytest.raises(ValueError, match="padding is 'full'; expected one of valid, same"):
        validate.choice("full", "padding", ("valid", "same"))


def test_generator_takes_a_seed_or_a_generator():
    assert validate.generator(5).random() == np.random.default_rng(5).random()
    rng = np.random.default_rng(5)
    assert validate.generator(rng) is rng


def test_images_are_of_the_shape_that_was_asked_for():
    with pytest.raises(ValueError, match=r"images has the shape \(1, 2, 3, 1\); expected \(n, 3, 2, 1\)"):
        validate.images(np.zeros((1, 2, 3, 1)), (3, 2, 1))
    with pytest.raises(ValueError, match="expected 4 dimensions"):
        validate.images(np.zeros((3, 2, 1)), (3, 2, 1))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((28, 28), "expected \\(height, width, channels\\)"),
        ((28, 0, 1), "at least 1"),
        ((28, 30, 1), "must be multiples of 4"),
    ],
)
def test_image_shape_says_what_is_wrong_with_it(shape, message):
    with pytest.raises(ValueError, match=message):
        validate.image_shape(shape, halvings=2)

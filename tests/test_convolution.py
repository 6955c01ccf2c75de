import numpy as np
import pytest
import scipy.signal
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from imggen_lib import backend, convolution

sizes = st.integers(1, 9)
few = settings(max_examples=80, deadline=None)


def random_pair(image_shape, kernel_shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=image_shape), rng.normal(size=kernel_shape)


def dilated(kernel, dilation):
    """Return the kernel with zeros between its taps."""
    result = np.zeros([dilation * (k - 1) + 1 for k in kernel.shape])
    result[::dilation, ::dilation] = kernel
    return result


def keras_conv(image, kernel, stride, padding, dilation):
    from keras import ops

    result = ops.conv(
        image[np.newaxis, ..., np.newaxis].astype("float32"),
        kernel[..., np.newaxis, np.newaxis].astype("float32"),
        strides=stride,
        padding=padding,
        dilation_rate=dilation,
    )
    return ops.convert_to_numpy(result)[0, ..., 0]


def keras_conv_transpose(image, kernel, stride, padding):
    from keras import ops

    result = ops.conv_transpose(
        image[np.newaxis, ..., np.newaxis].astype("float32"),
        kernel[..., np.newaxis, np.newaxis].astype("float32"),
        strides=stride,
        padding=padding,
    )
    return ops.convert_to_numpy(result)[0, ..., 0]


@st.composite
def cases(draw, paddings=("valid", "same")):
    """Return an image, a kernel that fits, and the options."""
    options = {
        "stride": draw(st.integers(1, 4)),
        "padding": draw(st.sampled_from(paddings)),
        "dilation": draw(st.integers(1, 3)),
    }
    image_shape, kernel_shape = draw(st.tuples(sizes, sizes)), draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    effective_shape = [options["dilation"] * (k - 1) + 1 for k in kernel_shape]
    assume(options["padding"] == "same" or all(k <= n for k, n in zip(effective_shape, image_shape, strict=True)))
    return *random_pair(image_shape, kernel_shape), options


@given(cases())
@few
def test_cross_correlate_matches_loop(case):
    image, kernel, options = case
    np.testing.assert_allclose(
        convolution.cross_correlate(image, kernel, **options),
        convolution.cross_correlate_loop(image, kernel, **options),
        atol=1e-12,
    )


@given(cases())
@few
def test_output_size_matches_output_shape(case):
    image, kernel, options = case
    expected = tuple(convolution.output_size(n, k, **options) for n, k in zip(image.shape, kernel.shape, strict=True))
    assert convolution.cross_correlate(image, kernel, **options).shape == expected


@given(cases(paddings=("valid",)))
@few
def test_valid_padding_matches_scipy(case):
    image, kernel, options = case
    stride, dilated_kernel = options["stride"], dilated(kernel, options["dilation"])
    for ours, theirs in (
        (convolution.cross_correlate, scipy.signal.correlate2d),
        (convolution.convolve, scipy.signal.convolve2d),
    ):
        expected = theirs(image, dilated_kernel, mode="valid")[::stride, ::stride]
        np.testing.assert_allclose(ours(image, kernel, **options), expected, atol=1e-12)


@given(st.tuples(sizes, sizes), st.sampled_from([(1, 1), (3, 3), (3, 5), (5, 1)]))
@few
def test_same_padding_of_odd_kernels_matches_scipy(image_shape, kernel_shape):
    image, kernel = random_pair(image_shape, kernel_shape)
    np.testing.assert_allclose(
        convolution.convolve(image, kernel, padding="same"),
        scipy.signal.convolve2d(image, kernel)[
            kernel_shape[0] // 2 : kernel_shape[0] // 2 + image_shape[0],
            kernel_shape[1] // 2 : kernel_shape[1] // 2 + image_shape[1],
        ],
        atol=1e-12,
    )


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (3, 1), (5, 1), (1, 2), (1, 3)])
@pytest.mark.parametrize("kernel_shape", [(1, 1), (2, 2), (3, 3), (4, 3)])
def test_both_paddings_match_keras(padding, stride, dilation, kernel_shape):
    image, kernel = random_pair((11, 14), kernel_shape)
    ours = convolution.cross_correlate(image, kernel, stride=stride, padding=padding, dilation=dilation)
    np.testing.assert_allclose(ours, keras_conv(image, kernel, stride, padding, dilation), atol=1e-5)


@given(cases())
@few
def test_all_option_combinations_match_keras(case):
    """TensorFlow does not support stride and dilation together, so it gets a kernel with zeros between the taps."""
    image, kernel, options = case
    expected = keras_conv(image, dilated(kernel, options["dilation"]), options["stride"], options["padding"], 1)
    np.testing.assert_allclose(convolution.cross_correlate(image, kernel, **options), expected, atol=1e-5)


@given(cases())
@few
def test_im2col_times_kernel_matches_loop(case):
    image, kernel, options = case
    rows = convolution.im2col(image, kernel.shape, **options)
    expected = convolution.cross_correlate_loop(image, kernel, **options)
    assert rows.shape == (expected.size, kernel.size)
    np.testing.assert_allclose(rows @ kernel.ravel(), expected.ravel(), atol=1e-12)


@given(cases())
@few
def test_as_matrix_times_image_matches_loop(case):
    image, kernel, options = case
    matrix = convolution.as_matrix(kernel, image.shape, **options)
    expected = convolution.cross_correlate_loop(image, kernel, **options)
    assert matrix.shape == (expected.size, image.size)
    np.testing.assert_allclose(matrix @ image.ravel(), expected.ravel(), atol=1e-12)


@given(cases())
@few
def test_transposed_is_adjoint_of_cross_correlate(case):
    image, kernel, options = case
    down = convolution.cross_correlate(image, kernel, **options)
    other = np.random.default_rng(1).normal(size=down.shape)
    up = convolution.cross_correlate_transposed(other, kernel, **options, output_shape=image.shape)
    rounding = 1e-14 * np.abs(kernel).sum() * np.linalg.norm(image) * np.linalg.norm(other)
    assert abs(np.vdot(down, other) - np.vdot(image, up)) <= rounding
    matrix = convolution.as_matrix(kernel, image.shape, **options)
    np.testing.assert_allclose(up, (matrix.T @ other.ravel()).reshape(image.shape), atol=1e-12)


@given(cases())
@few
def test_cross_correlate_maps_transposed_size_back_to_input_size(case):
    image, kernel, options = case
    result = convolution.cross_correlate_transposed(image, kernel, **options)
    for n, k, m in zip(image.shape, kernel.shape, result.shape, strict=True):
        assert convolution.transposed_size(n, k, **options) == m
        assert convolution.output_size(m, k, **options) == n


@given(cases())
@few
def test_transposed_matches_keras_op(case):
    """TensorFlow does not support dilation here on a CPU, so it gets a kernel with zeros between the taps."""
    image, kernel, options = case
    expected = keras_conv_transpose(image, dilated(kernel, options["dilation"]), options["stride"], options["padding"])
    ours = convolution.cross_correlate_transposed(image, kernel, **options)
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("kernel_size", "stride"), [(3, 2), (4, 2), (2, 3), (5, 1)])
def test_transposed_matches_keras_layer(kernel_size, stride, padding):
    from keras import layers, ops

    image, kernel = random_pair((5, 4), (kernel_size, kernel_size))
    layer = layers.Conv2DTranspose(1, kernel_size, strides=stride, padding=padding, use_bias=False)
    layer.build((None, 5, 4, 1))
    layer.set_weights([kernel[..., np.newaxis, np.newaxis]])
    theirs = ops.convert_to_numpy(layer(image[np.newaxis, ..., np.newaxis].astype("float32")))[0, ..., 0]
    ours = convolution.cross_correlate_transposed(image, kernel, stride=stride, padding=padding)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("image_size", [7, 8])
def test_transposed_is_gradient_of_keras_conv(image_size):
    """Both sizes are reduced to 4; ``output_shape`` selects the size of the gradient."""
    from keras import ops

    image, kernel = random_pair((image_size, image_size), (3, 3))
    upstream = np.random.default_rng(1).normal(size=(4, 4)).astype("float32")

    def weighted_sum(x):
        y = ops.conv(x, kernel[..., np.newaxis, np.newaxis].astype("float32"), strides=2, padding="same")
        return y[0, ..., 0] * upstream

    gradient = backend.input_gradient(weighted_sum, ops.convert_to_tensor(image[np.newaxis, ..., np.newaxis], "float32"))
    ours = convolution.cross_correlate_transposed(upstream, kernel, stride=2, padding="same", output_shape=image.shape)
    np.testing.assert_allclose(ours, ops.convert_to_numpy(gradient)[0, ..., 0], atol=1e-5)


def test_transposed_of_ones_counts_overlapping_kernel_copies():
    counts = convolution.cross_correlate_transposed(np.ones((1, 4)), np.ones((1, 3)), stride=2)
    np.testing.assert_array_equal(counts[0], [1, 1, 2, 1, 2, 1, 2, 1, 1])


@given(cases())
@few
def test_convolve_fft_matches_convolve(case):
    image, kernel, options = case
    padding = options["padding"]
    assume(padding == "same" or all(k <= n for k, n in zip(kernel.shape, image.shape, strict=True)))
    expected = convolution.convolve(image, kernel, padding=padding)
    np.testing.assert_allclose(convolution.convolve_fft(image, kernel, padding=padding), expected, atol=1e-12)
    single = convolution.convolve_fft(image.astype("float32"), kernel.astype("float32"), padding=padding)
    np.testing.assert_allclose(single, expected, atol=1e-5)


def test_impulse_response_of_convolution_is_kernel():
    impulse = np.zeros((5, 5))
    impulse[2, 2] = 1
    kernel = np.arange(9.0).reshape(3, 3)
    np.testing.assert_array_equal(convolution.convolve(impulse, kernel, padding="same")[1:4, 1:4], kernel)
    np.testing.assert_array_equal(
        convolution.cross_correlate(impulse, kernel, padding="same")[1:4, 1:4], kernel[::-1, ::-1]
    )


def test_convolution_is_commutative_and_cross_correlation_is_not():
    a, b = random_pair((4, 4), (4, 4))
    padded = np.pad(a, 3), np.pad(b, 3)
    np.testing.assert_allclose(convolution.convolve(padded[0], b), convolution.convolve(padded[1], a), atol=1e-12)
    assert not np.allclose(convolution.cross_correlate(padded[0], b), convolution.cross_correlate(padded[1], a))


# Every function with the arguments image, kernel and options.
FUNCTIONS = {
    "cross_correlate": convolution.cross_correlate,
    "convolve": convolution.convolve,
    "cross_correlate_loop": convolution.cross_correlate_loop,
    "cross_correlate_transposed": convolution.cross_correlate_transposed,
    "convolve_fft": convolution.convolve_fft,
    "im2col": lambda image, kernel, **options: convolution.im2col(image, np.shape(kernel), **options),
    "as_matrix": lambda image, kernel, **options: convolution.as_matrix(kernel, np.shape(image), **options),
}


def test_options_are_keyword_only():
    image, kernel = random_pair((6, 6), (3, 3))
    for function, arguments in [
        (convolution.output_size, (6, 3)),
        (convolution.transposed_size, (6, 3)),
        (convolution.cross_correlate, (image, kernel)),
        (convolution.convolve, (image, kernel)),
        (convolution.cross_correlate_loop, (image, kernel)),
        (convolution.cross_correlate_transposed, (image, kernel)),
        (convolution.im2col, (image, (3, 3))),
        (convolution.as_matrix, (kernel, (6, 6))),
    ]:
        with pytest.raises(TypeError, match="positional argument"):
            function(*arguments, 1)
    with pytest.raises(TypeError, match="positional argument"):
        convolution.convolve_fft(image, kernel, "valid")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_default_is_stride_1_valid_padding_and_dilation_1(name):
    image, kernel = random_pair((6, 7), (3, 2))
    options = {"padding": "valid"} if name == "convolve_fft" else {"stride": 1, "padding": "valid", "dilation": 1}
    np.testing.assert_array_equal(FUNCTIONS[name](image, kernel), FUNCTIONS[name](image, kernel, **options))


def test_default_sizes():
    assert convolution.output_size(9, 3) == 7
    assert convolution.transposed_size(7, 3) == 9


@pytest.mark.parametrize("name", FUNCTIONS)
def test_inputs_are_not_changed_and_result_is_float32(name):
    image, kernel = (array.astype("float32") for array in random_pair((6, 6), (3, 3)))
    before = image.copy(), kernel.copy()
    for padding in ("valid", "same"):
        result = FUNCTIONS[name](image, kernel, padding=padding)
        assert result.dtype == np.float32
        result[...] = 0
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(kernel, before[1])


# The functions that can detect each kind of error: im2col takes no kernel, as_matrix no image, convolve_fft no stride, and
# a transposed convolution has no kernel that is too large.
DETECTED_BY = {
    "image": set(FUNCTIONS) - {"as_matrix"},
    "kernel": set(FUNCTIONS) - {"im2col"},
    "fit": set(FUNCTIONS) - {"cross_correlate_transposed"},
    "padding": set(FUNCTIONS),
    "stride": set(FUNCTIONS) - {"convolve_fft"},
}
BAD = [
    ("fit", np.ones((2, 2)), np.ones((3, 1)), {}, (ValueError, "kernel covers 3 pixels and the image has 2")),
    ("fit", np.ones((2, 2)), np.ones((1, 3)), {}, (ValueError, "kernel covers 3 pixels and the image has 2")),
    ("image", np.ones((0, 2)), np.ones((1, 1)), {}, (ValueError, "image is empty")),
    ("kernel", np.ones((2, 2)), np.ones((0, 0)), {}, (ValueError, "kernel is empty")),
    ("image", np.full((2, 2), np.nan), np.ones((1, 1)), {}, (ValueError, "image contains NaN")),
    ("kernel", np.ones((2, 2)), np.full((1, 1), np.inf), {}, (ValueError, "kernel contains NaN or infinite")),
    ("image", np.ones((2, 2, 1)), np.ones((1, 1)), {}, (ValueError, "image has the shape")),
    ("kernel", np.ones((2, 2)), np.ones(2), {}, (ValueError, "kernel has the shape")),
    ("image", np.array([["a"]]), np.ones((1, 1)), {}, (TypeError, "image has the dtype")),
    ("image", np.ones((2, 2), bool), np.ones((1, 1)), {}, (TypeError, "image has the dtype bool")),
    ("kernel", np.ones((2, 2)), np.array([[1j]]), {}, (TypeError, "kernel has the dtype")),
    ("padding", np.ones((2, 2)), np.ones((1, 1)), {"padding": "full"}, (ValueError, "padding is 'full'")),
    ("stride", np.ones((2, 2)), np.ones((1, 1)), {"stride": 0}, (ValueError, "stride is 0; expected at least 1")),
    ("stride", np.ones((2, 2)), np.ones((1, 1)), {"stride": -2}, (ValueError, "stride is -2; expected at least 1")),
    ("stride", np.ones((2, 2)), np.ones((1, 1)), {"stride": 1.5}, (TypeError, "stride is 1.5; expected a whole number")),
    ("stride", np.ones((2, 2)), np.ones((1, 1)), {"stride": (2, 2)}, (TypeError, "stride is .2, 2.; expected a whole")),
    ("stride", np.ones((2, 2)), np.ones((1, 1)), {"dilation": 0}, (ValueError, "dilation is 0; expected at least 1")),
    ("stride", np.ones((2, 2)), np.ones((1, 1)), {"dilation": -1}, (ValueError, "dilation is -1; expected at least 1")),
]


@pytest.mark.parametrize(
    ("name", "image", "kernel", "options", "error"),
    [(name, *case) for kind, *case in BAD for name in sorted(DETECTED_BY[kind])],
)
def test_invalid_arguments_raise(name, image, kernel, options, error):
    with pytest.raises(error[0], match=error[1]):
        FUNCTIONS[name](image, kernel, **options)


@pytest.mark.parametrize("name", sorted(DETECTED_BY["fit"] - {"convolve_fft"}))
def test_fit_is_checked_with_effective_kernel_size(name):
    with pytest.raises(ValueError, match="kernel covers 5 pixels and the image has 4"):
        FUNCTIONS[name](np.ones((4, 4)), np.ones((3, 3)), dilation=2)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: convolution.im2col(np.ones((3, 3)), 3), (TypeError, "kernel_shape is 3; expected a tuple")),
        (lambda: convolution.im2col(np.ones((3, 3)), (3,)), (ValueError, "kernel_shape is .3,.; expected two")),
        (lambda: convolution.im2col(np.ones((3, 3)), (2, 0)), (ValueError, "kernel_shape is 0; expected at least 1")),
        (lambda: convolution.as_matrix(np.ones((1, 1)), (2, 2.0)), (TypeError, "image_shape is 2.0")),
        (lambda: convolution.as_matrix(np.ones((1, 1)), (0, 2)), (ValueError, "image_shape is 0")),
        (lambda: convolution.transposed_size(0, 3), (ValueError, "size is 0")),
        (
            lambda: convolution.cross_correlate_transposed(np.ones((2, 2)), np.ones((3, 3)), stride=2, output_shape=(5, 7)),
            (
                ValueError,
                r"output_shape is \(5, 7\), which cross_correlate maps to \(2, 3\); .* image, \(2, 2\), such as \(5, 5\)",
            ),
        ),
        (
            lambda: convolution.cross_correlate_transposed(np.ones((2, 2)), np.ones((3, 3)), output_shape=(2, 4)),
            (ValueError, "kernel covers 3 pixels and the image has 2"),
        ),
    ],
)
def test_invalid_shapes_raise(call, error):
    with pytest.raises(error[0], match=error[1]):
        call()


# ---- random invalid input: every function that can detect it raises the same error ----

error_cases = settings(max_examples=40, deadline=None)
SMALL = npst.array_shapes(min_dims=2, max_dims=2, max_side=5)
VALUES = npst.arrays(np.float64, SMALL, elements=st.floats(-9, 9))
ARGUMENT = st.sampled_from(["image", "kernel"])


def call(data, kind, image=None, kernel=None, **options):
    """Call one of the functions that can detect this kind of error; arguments that are not given are valid."""
    function = FUNCTIONS[data.draw(st.sampled_from(sorted(DETECTED_BY[kind])))]
    return function(np.ones((5, 5)) if image is None else image, np.ones((1, 1)) if kernel is None else kernel, **options)


@given(st.data(), SMALL, st.integers(1, 3), st.integers(1, 3))
@error_cases
def test_kernel_larger_than_image_raises(data, shape, dilation, stride):
    axis = data.draw(st.integers(0, 1))
    kernel_shape = [1, 1]
    kernel_shape[axis] = (shape[axis] - 1) // dilation + 2  # the smallest that does not fit
    effective_size = dilation * (kernel_shape[axis] - 1) + 1
    options = {"dilation": dilation, "stride": stride}
    name = data.draw(st.sampled_from(sorted(DETECTED_BY["fit"] & DETECTED_BY["stride"])))
    message = f"^the kernel covers {effective_size} pixels and the image has {shape[axis]}; expected a kernel that fits"
    with pytest.raises(ValueError, match=message):
        FUNCTIONS[name](np.ones(shape), np.ones(kernel_shape), **options)
    with pytest.raises(ValueError, match=message):
        convolution.output_size(shape[axis], kernel_shape[axis], **options)
    FUNCTIONS[name](np.ones(shape), np.ones(kernel_shape), padding="same", **options)


@given(st.data(), ARGUMENT, npst.array_shapes(min_dims=0, max_dims=4, max_side=3).filter(lambda shape: len(shape) != 2))
@error_cases
def test_arrays_without_two_dimensions_raise(data, name, shape):
    with pytest.raises(ValueError, match=rf"^{name} has the shape \(.*\); expected 2 dimensions$"):
        call(data, name, **{name: np.ones(shape)})


@given(
    st.data(), ARGUMENT, npst.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=3).filter(lambda shape: 0 in shape)
)
@error_cases
def test_empty_arrays_raise(data, name, shape):
    with pytest.raises(ValueError, match=rf"^{name} is empty: its shape is \("):
        call(data, name, **{name: np.ones(shape)})


NOT_REAL = npst.boolean_dtypes() | npst.complex_number_dtypes() | npst.unicode_string_dtypes() | st.just(np.dtype(object))


@given(st.data(), ARGUMENT, SMALL, NOT_REAL)
@error_cases
def test_dtypes_other_than_real_numbers_raise(data, name, shape, dtype):
    with pytest.raises(TypeError, match=f"^{name} has the dtype .*; expected real numbers$"):
        call(data, name, **{name: np.zeros(shape, dtype)})


@given(st.data(), ARGUMENT, VALUES, st.sampled_from([np.nan, np.inf, -np.inf]))
@error_cases
def test_single_nan_or_infinity_raises(data, name, values, value):
    values.flat[data.draw(st.integers(0, values.size - 1))] = value
    with pytest.raises(ValueError, match=f"^{name} contains NaN or infinite values"):
        call(data, name, **{name: values})


@given(st.data(), st.sampled_from(["stride", "dilation"]), st.integers(max_value=0))
@error_cases
def test_stride_and_dilation_below_one_raise(data, name, value):
    with pytest.raises(ValueError, match=f"^{name} is {value}; expected at least 1$"):
        call(data, "stride", **{name: value})


NOT_INTEGER = st.none() | st.text() | st.booleans() | st.floats() | st.tuples(st.integers(1, 2), st.integers(1, 2))


@given(st.data(), st.sampled_from(["stride", "dilation"]), NOT_INTEGER)
@error_cases
def test_stride_and_dilation_must_be_integers(data, name, value):
    with pytest.raises(TypeError, match=f"^{name} is .*; expected a whole number$"):
        call(data, "stride", **{name: value})


@given(st.data(), st.none() | st.integers() | st.text().filter(lambda text: text not in ("valid", "same")))
@error_cases
def test_unknown_padding_raises(data, value):
    with pytest.raises(ValueError, match="^padding is .*; expected one of valid, same$"):
        call(data, "padding", padding=value)


@given(cases(), st.data())
@few
def test_output_shape_that_is_not_mapped_to_input_shape_raises(case, data):
    image, kernel, options = case
    default = convolution.cross_correlate_transposed(image, kernel, **options).shape
    excess = data.draw(st.integers(options["stride"], 9))
    wrong = (default[0] + excess, default[1])
    with pytest.raises(ValueError, match=r"^output_shape is .*, which cross_correlate maps to .*; expected"):
        convolution.cross_correlate_transposed(image, kernel, **options, output_shape=wrong)

import numpy as np
import pytest
import scipy.signal
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from imggen_lib import convolution

sizes = st.integers(1, 9)
few = settings(max_examples=80, deadline=None)


def random_pair(image_shape, kernel_shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=image_shape), rng.normal(size=kernel_shape)


def spread_out(kernel, dilation):
    """The kernel with zeros between its taps."""
    spread = np.zeros([dilation * (k - 1) + 1 for k in kernel.shape])
    spread[::dilation, ::dilation] = kernel
    return spread


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


@st.composite
def cases(draw, paddings=("valid", "same")):
    """An image, a kernel that fits, and the options."""
    options = {
        "stride": draw(st.integers(1, 4)),
        "padding": draw(st.sampled_from(paddings)),
        "dilation": draw(st.integers(1, 3)),
    }
    image_shape, kernel_shape = draw(st.tuples(sizes, sizes)), draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    reach = [options["dilation"] * (k - 1) + 1 for k in kernel_shape]
    assume(options["padding"] == "same" or all(r <= n for r, n in zip(reach, image_shape, strict=True)))
    return *random_pair(image_shape, kernel_shape), options


@given(cases())
@few
def test_the_vectorised_form_equals_the_formula_term_by_term(case):
    image, kernel, options = case
    np.testing.assert_allclose(
        convolution.cross_correlate(image, kernel, **options),
        convolution.cross_correlate_loop(image, kernel, **options),
        atol=1e-12,
    )


@given(cases())
@few
def test_output_size_is_the_shape_of_the_output(case):
    image, kernel, options = case
    expected = tuple(convolution.output_size(n, k, **options) for n, k in zip(image.shape, kernel.shape, strict=True))
    assert convolution.cross_correlate(image, kernel, **options).shape == expected


@given(cases(paddings=("valid",)))
@few
def test_valid_padding_agrees_with_scipy(case):
    image, kernel, options = case
    stride, spread = options["stride"], spread_out(kernel, options["dilation"])
    for ours, theirs in (
        (convolution.cross_correlate, scipy.signal.correlate2d),
        (convolution.convolve, scipy.signal.convolve2d),
    ):
        expected = theirs(image, spread, mode="valid")[::stride, ::stride]
        np.testing.assert_allclose(ours(image, kernel, **options), expected, atol=1e-12)


@given(st.tuples(sizes, sizes), st.sampled_from([(1, 1), (3, 3), (3, 5), (5, 1)]))
@few
def test_same_padding_of_odd_kernels_agrees_with_scipy(image_shape, kernel_shape):
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
def test_both_paddings_agree_with_keras(padding, stride, dilation, kernel_shape):
    image, kernel = random_pair((11, 14), kernel_shape)
    ours = convolution.cross_correlate(image, kernel, stride=stride, padding=padding, dilation=dilation)
    np.testing.assert_allclose(ours, keras_conv(image, kernel, stride, padding, dilation), atol=1e-5)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("stride", "dilation"), [(2, 2), (3, 2), (2, 3)])
def test_stride_and_dilation_together_agree_with_keras(padding, stride, dilation):
    """TensorFlow refuses the two together, so its kernel is spread out with zeros instead."""
    image, kernel = random_pair((11, 14), (3, 2))
    ours = convolution.cross_correlate(image, kernel, stride=stride, padding=padding, dilation=dilation)
    np.testing.assert_allclose(ours, keras_conv(image, spread_out(kernel, dilation), stride, padding, 1), atol=1e-5)


def test_convolving_a_point_draws_the_kernel():
    point = np.zeros((5, 5))
    point[2, 2] = 1
    kernel = np.arange(9.0).reshape(3, 3)
    np.testing.assert_array_equal(convolution.convolve(point, kernel, padding="same")[1:4, 1:4], kernel)
    np.testing.assert_array_equal(convolution.cross_correlate(point, kernel, padding="same")[1:4, 1:4], kernel[::-1, ::-1])


def test_convolution_is_commutative_and_cross_correlation_is_not():
    a, b = random_pair((4, 4), (4, 4))
    padded = np.pad(a, 3), np.pad(b, 3)
    np.testing.assert_allclose(convolution.convolve(padded[0], b), convolution.convolve(padded[1], a), atol=1e-12)
    assert not np.allclose(convolution.cross_correlate(padded[0], b), convolution.cross_correlate(padded[1], a))


def test_inputs_are_left_alone_and_precision_is_kept():
    image, kernel = (array.astype("float32") for array in random_pair((6, 6), (3, 3)))
    before = image.copy(), kernel.copy()
    for function in (convolution.cross_correlate, convolution.convolve, convolution.cross_correlate_loop):
        assert function(image, kernel, padding="same").dtype == np.float32
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(kernel, before[1])


@pytest.mark.parametrize("function", [convolution.cross_correlate, convolution.convolve, convolution.cross_correlate_loop])
@pytest.mark.parametrize(
    ("image", "kernel", "options", "error"),
    [
        (np.ones((2, 2)), np.ones((3, 1)), {}, (ValueError, "kernel reaches over 3 pixels and the image has 2")),
        (np.ones((4, 4)), np.ones((3, 3)), {"dilation": 2}, (ValueError, "kernel reaches over 5 pixels")),
        (np.ones((0, 2)), np.ones((1, 1)), {}, (ValueError, "image is empty")),
        (np.ones((2, 2)), np.ones((0, 0)), {}, (ValueError, "kernel is empty")),
        (np.full((2, 2), np.nan), np.ones((1, 1)), {}, (ValueError, "image contains NaN")),
        (np.ones((2, 2)), np.full((1, 1), np.inf), {}, (ValueError, "kernel contains NaN or infinite")),
        (np.ones((2, 2, 1)), np.ones((1, 1)), {}, (ValueError, "image has the shape")),
        (np.ones((2, 2)), np.ones(2), {}, (ValueError, "kernel has the shape")),
        (np.ones((2, 2)), np.ones((1, 1)), {"padding": "full"}, (ValueError, "padding is 'full'")),
        (np.ones((2, 2)), np.ones((1, 1)), {"stride": 0}, (ValueError, "stride is 0")),
        (np.ones((2, 2)), np.ones((1, 1)), {"stride": 1.5}, (TypeError, "stride is 1.5; expected a whole number")),
        (np.ones((2, 2)), np.ones((1, 1)), {"dilation": 0}, (ValueError, "dilation is 0")),
        (np.array([["a"]]), np.ones((1, 1)), {}, (TypeError, "image has the dtype")),
        (np.ones((2, 2)), np.array([[1j]]), {}, (TypeError, "kernel has the dtype")),
    ],
)
def test_bad_arguments_are_named(function, image, kernel, options, error):
    with pytest.raises(error[0], match=error[1]):
        function(image, kernel, **options)

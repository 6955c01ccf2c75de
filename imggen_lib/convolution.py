r"""Cross-correlation, convolution and transposed convolution of single-channel images, written beside their formulas.

For an image :math:`I` and a kernel :math:`K` of shape :math:`P \times Q`, cross-correlation is

.. math:: y[i, j] = \sum_{p=0}^{P-1} \sum_{q=0}^{Q-1} I[i + p,\, j + q]\, K[p, q]

and convolution is the same with the kernel rotated by 180 degrees. Deep-learning libraries call cross-correlation
"convolution".

With stride s and dilation d the image is read at :math:`[i s + p d,\, j s + q d]`. A dilated kernel of k taps covers
:math:`k' = d (k - 1) + 1` pixels along an axis, its effective size. Zero padding follows Keras.

References
----------
Goodfellow, Bengio and Courville, "Deep Learning", MIT Press, 2016, section 9.1.
Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285, 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate

__all__ = [
    "as_matrix", "convolve", "convolve_fft", "cross_correlate", "cross_correlate_loop", "cross_correlate_transposed",
    "im2col", "output_size", "transposed_size",
]  # fmt: skip

Array = NDArray[np.floating]
Padding = Literal["valid", "same"]


def output_size(size: int, kernel_size: int, *, stride: int = 1, padding: Padding = "valid", dilation: int = 1) -> int:
    r"""Return the size of the output of :func:`cross_correlate` along one axis.

    .. math:: \text{valid: } \lfloor (n - k') / s \rfloor + 1, \qquad \text{same: } \lceil n / s \rceil,
              \qquad k' = d (k - 1) + 1

    Parameters
    ----------
    size, kernel_size : int
        Sizes n of the image and k of the kernel along the axis.
    stride, padding, dilation
        As in :func:`cross_correlate`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not a positive integer, the padding is unknown, or with "valid" the kernel is larger than the
        image.

    Examples
    --------
    Three 3x3 layers with stride 2 reduce 28 pixels to 4:

    >>> size = 28
    >>> for layer in range(3):
    ...     size = output_size(size, 3, stride=2, padding="same")
    ...     print(size)
    14
    7
    4
    """
    size, kernel_size = validate.integer(size, "size"), validate.integer(kernel_size, "kernel_size")
    stride, dilation = validate.integer(stride, "stride"), validate.integer(dilation, "dilation")
    validate.choice(padding, "padding", ("valid", "same"))
    if padding == "same":
        return -(-size // stride)
    effective_size = _effective_size(kernel_size, dilation)
    if effective_size > size:
        raise ValueError(
            f"the kernel covers {effective_size} pixels and the image has {size}; expected a kernel that fits into the "
            'image: use a larger image, a smaller kernel or dilation, or padding="same"'
        )
    return (size - effective_size) // stride + 1


def cross_correlate(
    image: ArrayLike, kernel: ArrayLike, *, stride: int = 1, padding: Padding = "valid", dilation: int = 1
) -> Array:
    """Cross-correlate an image with a kernel: at each position, sum the products of kernel and image.

    Parameters
    ----------
    image : array_like
        ``(height, width)``, any real numbers.
    kernel : array_like
        ``(P, Q)``, any real numbers.
    stride : int
        Step between positions, along both axes.
    padding : {"valid", "same"}
        "valid" keeps the kernel inside the image. "same" pads with zeros as Keras does, so that the output has
        ``ceil(size / stride)`` rows and columns. If the number of zeros is odd, the additional one is at the bottom or at
        the right.
    dilation : int
        Distance in pixels between neighbouring taps of the kernel.

    Returns
    -------
    numpy.ndarray
        Floating-point, with the shape that :func:`output_size` gives.

    Raises
    ------
    TypeError
        If image or kernel are not real numbers, or stride or dilation is not an integer.
    ValueError
        If image or kernel is empty or not two-dimensional, a value is NaN or infinite, the kernel does not fit, or an
        option is out of range.

    See Also
    --------
    scipy.signal.correlate2d : Compiled, for stride 1 and dilation 1.

    Examples
    --------
    A difference of horizontal neighbours responds to a vertical edge only:

    >>> cross_correlate([[0, 0, 1, 1], [0, 0, 1, 1]], [[-1, 1]])
    array([[0., 1., 0.],
           [0., 1., 0.]])
    """
    image, kernel = _image_and_kernel(image, kernel)
    windows = _windows(image, kernel.shape, stride, padding, dilation)
    return np.einsum("ijpq,pq->ij", windows, kernel)


def convolve(
    image: ArrayLike, kernel: ArrayLike, *, stride: int = 1, padding: Padding = "valid", dilation: int = 1
) -> Array:
    """Convolve an image with a kernel: cross-correlate it with the kernel rotated by 180 degrees.

    Parameters, result and errors are those of :func:`cross_correlate`.

    See Also
    --------
    scipy.signal.convolve2d : Compiled, for stride 1 and dilation 1.

    Examples
    --------
    The convolution of a single bright pixel is the kernel. Cross-correlation rotates it by 180 degrees:

    >>> impulse = [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    >>> convolve(impulse, [[1, 2], [3, 4]])
    array([[1., 2.],
           [3., 4.]])
    >>> cross_correlate(impulse, [[1, 2], [3, 4]])
    array([[4., 3.],
           [2., 1.]])
    """
    kernel = validate.real_array(kernel, "kernel", ndim=2)
    return cross_correlate(image, kernel[::-1, ::-1], stride=stride, padding=padding, dilation=dilation)


def cross_correlate_loop(
    image: ArrayLike, kernel: ArrayLike, *, stride: int = 1, padding: Padding = "valid", dilation: int = 1
) -> Array:
    """Cross-correlate with four loops, term by term: slow, but a direct transcription of the formula.

    It is the reference for the tests of :func:`cross_correlate`, whose parameters, result and errors it shares.

    Examples
    --------
    With stride 2 the windows of a 2x2 mean do not overlap, so the output is the image at half the size:

    >>> image = [[1, 3, 0, 0], [5, 7, 0, 4]]
    >>> cross_correlate_loop(image, [[0.25, 0.25], [0.25, 0.25]], stride=2)
    array([[4., 1.]])
    """
    image, kernel = _image_and_kernel(image, kernel)
    rows, columns = (
        output_size(n, k, stride=stride, padding=padding, dilation=dilation)
        for n, k in zip(image.shape, kernel.shape, strict=True)
    )
    image = np.pad(image, _padding_widths(image.shape, kernel.shape, stride, padding, dilation))
    result = np.zeros((rows, columns), np.result_type(image, kernel))
    for i in range(rows):
        for j in range(columns):
            for p in range(kernel.shape[0]):
                for q in range(kernel.shape[1]):
                    result[i, j] += image[i * stride + p * dilation, j * stride + q * dilation] * kernel[p, q]
    return result


def im2col(
    image: ArrayLike,
    kernel_shape: Sequence[int],
    *,
    stride: int = 1,
    padding: Padding = "valid",
    dilation: int = 1,
) -> Array:
    """Copy every window of an image into a row of a matrix, so that cross-correlation becomes a matrix product.

    Parameters
    ----------
    image : array_like
        ``(height, width)``, any real numbers.
    kernel_shape : tuple of int
        ``(P, Q)``.
    stride, padding, dilation
        As in :func:`cross_correlate`.

    Returns
    -------
    numpy.ndarray
        ``(rows * columns, P * Q)``: a row for each position of the kernel and a column for each tap, in row-major order.

    Raises
    ------
    TypeError, ValueError
        As :func:`cross_correlate`.

    References
    ----------
    Chellapilla, Puri and Simard, "High performance convolutional neural networks for document processing", 2006.

    Examples
    --------
    >>> image, kernel = np.array([[1, 2, 3], [4, 5, 6]]), np.array([[1, 0], [0, 1]])
    >>> im2col(image, (2, 2))
    array([[1., 2., 4., 5.],
           [2., 3., 5., 6.]])

    The product with the flattened kernel is the flattened result of :func:`cross_correlate`:

    >>> im2col(image, (2, 2)) @ kernel.ravel(), cross_correlate(image, kernel)
    (array([6., 8.]), array([[6., 8.]]))
    """
    windows = _windows(validate.real_array(image, "image", ndim=2), kernel_shape, stride, padding, dilation)
    return windows.reshape(windows.shape[0] * windows.shape[1], -1)


def as_matrix(
    kernel: ArrayLike,
    image_shape: Sequence[int],
    *,
    stride: int = 1,
    padding: Padding = "valid",
    dilation: int = 1,
) -> Array:
    """Return the matrix of the linear map :func:`cross_correlate` from a flattened image to the flattened output.

    Parameters
    ----------
    kernel : array_like
        ``(P, Q)``, any real numbers.
    image_shape : tuple of int
        ``(height, width)`` of the images.
    stride, padding, dilation
        As in :func:`cross_correlate`.

    Returns
    -------
    numpy.ndarray
        ``(rows * columns, height * width)``: entry ``[r, c]`` is the weight of pixel c in output r.

    Raises
    ------
    TypeError, ValueError
        As :func:`cross_correlate`.

    Examples
    --------
    The same weights stand in every row, shifted by one pixel: a Toeplitz matrix.

    >>> as_matrix([[1, 2]], (1, 4))
    array([[1., 2., 0., 0.],
           [0., 1., 2., 0.],
           [0., 0., 1., 2.]])
    """
    kernel = validate.real_array(kernel, "kernel", ndim=2)
    height, width = validate.pair(image_shape, "image_shape")
    # im2col of an image of pixel numbers 1, 2, ... gives the pixel under each tap. 0 is padding; its column is dropped.
    numbers = np.arange(1.0, height * width + 1).reshape(height, width)
    pixels = im2col(numbers, kernel.shape, stride=stride, padding=padding, dilation=dilation).astype(int)
    matrix = np.zeros((len(pixels), height * width + 1), kernel.dtype)
    matrix[np.arange(len(pixels))[:, np.newaxis], pixels] = kernel.ravel()
    return matrix[:, 1:]


def transposed_size(size: int, kernel_size: int, *, stride: int = 1, padding: Padding = "valid", dilation: int = 1) -> int:
    r"""Return the default size of the output of :func:`cross_correlate_transposed` along one axis, as in Keras.

    .. math:: \text{valid: } n s + \max(k' - s, 0), \qquad \text{same: } n s, \qquad k' = d (k - 1) + 1

    With a stride above 1, :func:`cross_correlate` maps several input sizes to the same output size n. This is the one of
    them that Keras chooses.

    Parameters
    ----------
    size, kernel_size : int
        Sizes n of the input, which is the smaller image, and k of the kernel.
    stride, padding, dilation
        As in :func:`cross_correlate`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not a positive integer, or the padding is unknown.

    Examples
    --------
    Sizes of 7 and of 8 pixels are both reduced to 4; the transposed operation returns 8:

    >>> [output_size(n, 3, stride=2, padding="same") for n in (7, 8)]
    [4, 4]
    >>> transposed_size(4, 3, stride=2, padding="same")
    8
    """
    size, kernel_size = validate.integer(size, "size"), validate.integer(kernel_size, "kernel_size")
    stride, dilation = validate.integer(stride, "stride"), validate.integer(dilation, "dilation")
    if validate.choice(padding, "padding", ("valid", "same")) == "same":
        return size * stride
    return size * stride + max(_effective_size(kernel_size, dilation) - stride, 0)


def cross_correlate_transposed(
    image: ArrayLike,
    kernel: ArrayLike,
    *,
    stride: int = 1,
    padding: Padding = "valid",
    dilation: int = 1,
    output_shape: Sequence[int] | None = None,
) -> Array:
    r"""Apply the transpose of the matrix of :func:`cross_correlate`: a transposed convolution.

    Each input value :math:`y[i, j]` adds a scaled copy of the kernel to the output: :math:`y[i, j]\, K[p, q]` is added to
    the pixel :math:`[i s + p d,\, j s + q d]`. It is also the gradient of cross-correlation with respect to the image.

    Parameters
    ----------
    image : array_like
        ``(rows, columns)``, any real numbers.
    kernel : array_like
        ``(P, Q)``, any real numbers.
    stride : int
        Distance in the output between the kernel copies of neighbouring input values.
    padding : {"valid", "same"}
        "valid" keeps the whole sum. "same" crops the pixels that :func:`cross_correlate` would have added as padding.
    dilation : int
        As in :func:`cross_correlate`.
    output_shape : tuple of int, optional
        ``(height, width)`` of the result, which :func:`cross_correlate` must map to the shape of ``image``. The default is
        given by :func:`transposed_size`.

    Returns
    -------
    numpy.ndarray
        Floating-point, ``output_shape``.

    Raises
    ------
    TypeError, ValueError
        As :func:`cross_correlate`; ValueError also if :func:`cross_correlate` does not map ``output_shape`` to the shape of
        ``image``.

    Examples
    --------
    Two copies of the kernel, scaled by 1 and by 2, start two pixels apart. They overlap in the third column:

    >>> cross_correlate_transposed([[1, 2]], [[1, 1, 1], [3, 3, 3]], stride=2)
    array([[1., 1., 3., 2., 2.],
           [3., 3., 9., 6., 6.]])
    """
    image, kernel = _image_and_kernel(image, kernel)
    sizes = list(zip(image.shape, kernel.shape, strict=True))
    default = tuple(transposed_size(n, k, stride=stride, padding=padding, dilation=dilation) for n, k in sizes)
    output_shape = default if output_shape is None else validate.pair(output_shape, "output_shape")
    forward_shape = tuple(
        output_size(n, k, stride=stride, padding=padding, dilation=dilation)
        for n, k in zip(output_shape, kernel.shape, strict=True)
    )
    if forward_shape != image.shape:
        raise ValueError(
            f"output_shape is {output_shape}, which cross_correlate maps to {forward_shape}; expected a shape that it maps "
            f"to the shape of image, {image.shape}, such as {default}"
        )
    widths = _padding_widths(output_shape, kernel.shape, stride, padding, dilation)
    padded_shape = [n + before + after for n, (before, after) in zip(output_shape, widths, strict=True)]
    padded = np.zeros(padded_shape, np.result_type(image, kernel))
    rows, columns = (np.arange(n) * stride for n in image.shape)
    for (p, q), weight in np.ndenumerate(kernel):
        padded[np.ix_(rows + p * dilation, columns + q * dilation)] += weight * image
    return padded[tuple(slice(before, before + n) for n, (before, _) in zip(output_shape, widths, strict=True))]


def convolve_fft(image: ArrayLike, kernel: ArrayLike, *, padding: Padding = "valid") -> Array:
    """Convolve by multiplying Fourier transforms, with the result of :func:`convolve` for stride 1 and dilation 1.

    The cost hardly depends on the size of the kernel. A product of discrete Fourier transforms is a circular convolution,
    so image and kernel are first padded with zeros to the size of the full convolution.

    Parameters, result and errors are those of :func:`convolve`.

    See Also
    --------
    scipy.signal.fftconvolve : The same in any number of dimensions.

    Examples
    --------
    >>> convolve_fft([[0, 0, 0], [0, 1, 0], [0, 0, 0]], [[1, 2], [3, 4]]).round(12)
    array([[1., 2.],
           [3., 4.]])
    """
    image, kernel = _image_and_kernel(image, kernel)
    sizes = list(zip(image.shape, kernel.shape, strict=True))
    output_sizes = [output_size(n, k, padding=padding) for n, k in sizes]
    full_shape = [n + k - 1 for n, k in sizes]
    transforms = [np.fft.rfft2(array.astype(np.float64), full_shape) for array in (image, kernel)]
    full = np.fft.irfft2(transforms[0] * transforms[1], full_shape)
    # "valid" starts at k - 1, where the kernel lies inside the image. "same" starts earlier, by the width of the padding.
    widths = _padding_widths(image.shape, kernel.shape, 1, padding, 1)
    starts = [k - 1 - before for k, (before, _) in zip(kernel.shape, widths, strict=True)]
    region = tuple(slice(start, start + size) for start, size in zip(starts, output_sizes, strict=True))
    return full[region].astype(np.result_type(image, kernel))


def _image_and_kernel(image: ArrayLike, kernel: ArrayLike) -> tuple[Array, Array]:
    """Return both as two-dimensional floating-point arrays."""
    return validate.real_array(image, "image", ndim=2), validate.real_array(kernel, "kernel", ndim=2)


def _effective_size(kernel_size: int, dilation: int) -> int:
    """Return the number of pixels that a dilated kernel covers along one axis."""
    return dilation * (kernel_size - 1) + 1


def _windows(image: Array, kernel_shape: Sequence[int], stride: int, padding: Padding, dilation: int) -> Array:
    """Return a view ``(rows, columns, P, Q)`` of the pixels under the kernel at each position."""
    kernel_shape = validate.pair(kernel_shape, "kernel_shape")
    padded = np.pad(image, _padding_widths(image.shape, kernel_shape, stride, padding, dilation))
    effective_shape = tuple(_effective_size(k, dilation) for k in kernel_shape)
    windows = np.lib.stride_tricks.sliding_window_view(padded, effective_shape)
    return windows[::stride, ::stride, ::dilation, ::dilation]


def _padding_widths(
    image_shape: Sequence[int], kernel_shape: Sequence[int], stride: int, padding: Padding, dilation: int
) -> list[tuple[int, int]]:
    """Return the number of zeros before and after the image along each axis, as ``numpy.pad`` takes them."""
    widths = []
    for n, k in zip(image_shape, kernel_shape, strict=True):
        positions = output_size(n, k, stride=stride, padding=padding, dilation=dilation)
        total = max((positions - 1) * stride + _effective_size(k, dilation) - n, 0)
        widths.append((total // 2, total - total // 2))
    return widths

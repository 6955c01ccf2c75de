r"""Convolution that can be read beside its formula.

With an image :math:`I` and a kernel :math:`K` of :math:`P \times Q`, cross-correlation is

.. math:: y[i, j] = \sum_{p=0}^{P-1} \sum_{q=0}^{Q-1} I[i + p,\, j + q]\, K[p, q]

and true convolution is the same with the kernel turned by 180 degrees. What deep-learning libraries call convolution is
the first of the two (Goodfellow, Bengio and Courville, Deep Learning, 2016, section 9.1).
"""

import numpy as np

from imggen_lib import _validation as validate


def output_size(size, kernel_size, *, stride=1, padding="valid", dilation=1):
    r"""How many positions a kernel takes along one axis.

    .. math:: \text{valid: } \lfloor (n - k') / s \rfloor + 1, \qquad \text{same: } \lceil n / s \rceil,
              \qquad k' = d (k - 1) + 1

    Parameters
    ----------
    size, kernel_size : int
        Lengths n of the image and k of the kernel along the axis.
    stride : int
        Step s from one position to the next.
    padding : {"valid", "same"}
        Whether the kernel stays inside the image, or zeros are added as Keras does.
    dilation : int
        Distance d between neighbouring taps of the kernel.

    Raises
    ------
    ValueError
        If the kernel does not fit, or an argument is out of range.

    Examples
    --------
    >>> output_size(28, 3), output_size(28, 3, stride=2, padding="same")
    (26, 14)
    """
    size, kernel_size = validate.integer(size, "size"), validate.integer(kernel_size, "kernel_size")
    stride, dilation = validate.integer(stride, "stride"), validate.integer(dilation, "dilation")
    validate.choice(padding, "padding", ("valid", "same"))
    if padding == "same":
        return -(-size // stride)
    reach = dilation * (kernel_size - 1) + 1
    if reach > size:
        raise ValueError(
            f"the kernel reaches over {reach} pixels and the image has {size}; "
            'use a larger image, a smaller kernel or dilation, or padding="same"'
        )
    return (size - reach) // stride + 1


def cross_correlate(image, kernel, *, stride=1, padding="valid", dilation=1):
    """Slide a kernel over an image and sum the products at each position.

    Parameters
    ----------
    image : array_like
        ``(height, width)``, any real numbers.
    kernel : array_like
        ``(P, Q)``, any real numbers.
    stride : int
        Step between positions, along both axes.
    padding : {"valid", "same"}
        "valid" keeps the kernel inside the image. "same" adds zeros by Keras's rule: as many as make the output
        ``ceil(size / stride)``, the odd one at the bottom and the right.
    dilation : int
        Distance between neighbouring taps of the kernel.

    Returns
    -------
    numpy.ndarray
        Floating-point, of the size that :func:`output_size` gives.

    Raises
    ------
    TypeError
        If image or kernel are not real numbers.
    ValueError
        If a shape does not fit, a value is not finite, or an option is unknown.

    See Also
    --------
    scipy.signal.correlate2d : The same for stride 1 and dilation 1, in compiled code.

    Examples
    --------
    >>> cross_correlate([[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[1, 0], [0, 1]])
    array([[ 6.,  8.],
           [12., 14.]])
    """
    image, kernel = _image_and_kernel(image, kernel)
    windows = _windows(image, kernel.shape, stride, padding, dilation)
    return np.einsum("ijpq,pq->ij", windows, kernel)


def convolve(image, kernel, *, stride=1, padding="valid", dilation=1):
    """Convolve in the mathematical sense: cross-correlate with the kernel turned by 180 degrees.

    Parameters, errors and the meaning of padding are those of :func:`cross_correlate`.

    Returns
    -------
    numpy.ndarray
        Floating-point, of the size that :func:`output_size` gives.

    See Also
    --------
    scipy.signal.convolve2d : The same for stride 1 and dilation 1, in compiled code.

    Examples
    --------
    >>> convolve([[0, 0, 0], [0, 1, 0], [0, 0, 0]], [[1, 2], [3, 4]])
    array([[1., 2.],
           [3., 4.]])
    """
    kernel = validate.real_array(kernel, "kernel", ndim=2)
    return cross_correlate(image, kernel[::-1, ::-1], stride=stride, padding=padding, dilation=dilation)


def cross_correlate_loop(image, kernel, *, stride=1, padding="valid", dilation=1):
    """The formula, term by term: slow, and the reference that :func:`cross_correlate` is held against.

    Parameters, returns and errors are those of :func:`cross_correlate`.

    Examples
    --------
    >>> cross_correlate_loop([[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[1, 0], [0, 1]])
    array([[ 6.,  8.],
           [12., 14.]])
    """
    image, kernel = _image_and_kernel(image, kernel)
    rows, columns = (
        output_size(n, k, stride=stride, padding=padding, dilation=dilation)
        for n, k in zip(image.shape, kernel.shape, strict=True)
    )
    image = np.pad(image, _zeros(image.shape, kernel.shape, stride, padding, dilation))
    result = np.zeros((rows, columns), np.result_type(image, kernel))
    for i in range(rows):
        for j in range(columns):
            for p in range(kernel.shape[0]):
                for q in range(kernel.shape[1]):
                    result[i, j] += image[i * stride + p * dilation, j * stride + q * dilation] * kernel[p, q]
    return result


def im2col(image, kernel_shape, *, stride=1, padding="valid", dilation=1):
    """Write every window of an image into a row of a matrix, so that cross-correlation becomes a matrix product.

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
        ``(rows * columns, P * Q)``: one row a position of the kernel, one column a tap, both counted row by row.

    Raises
    ------
    TypeError, ValueError
        As :func:`cross_correlate`.

    References
    ----------
    Chellapilla, Puri and Simard, "High performance convolutional neural networks for document processing", 2006.

    Examples
    --------
    >>> im2col([[1, 2, 3], [4, 5, 6]], (2, 2))
    array([[1., 2., 4., 5.],
           [2., 3., 5., 6.]])
    """
    windows = _windows(validate.real_array(image, "image", ndim=2), kernel_shape, stride, padding, dilation)
    return windows.reshape(windows.shape[0] * windows.shape[1], -1)


def as_matrix(kernel, image_shape, *, stride=1, padding="valid", dilation=1):
    """Return the matrix that does to a flattened image what :func:`cross_correlate` does to the image.

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
        ``(rows * columns, height * width)``: row r holds the weight of each pixel in output r.

    Raises
    ------
    TypeError, ValueError
        As :func:`cross_correlate`.

    Examples
    --------
    >>> as_matrix([[1, 2]], (1, 4))
    array([[1., 2., 0., 0.],
           [0., 1., 2., 0.],
           [0., 0., 1., 2.]])
    """
    kernel = validate.real_array(kernel, "kernel", ndim=2)
    height, width = validate.pair(image_shape, "image_shape")
    # The windows of a picture of pixel numbers say which pixel meets which tap; column 0, that of padding, is dropped.
    numbers = np.arange(1.0, height * width + 1).reshape(height, width)
    pixels = im2col(numbers, kernel.shape, stride=stride, padding=padding, dilation=dilation).astype(int)
    matrix = np.zeros((len(pixels), height * width + 1), kernel.dtype)
    matrix[np.arange(len(pixels))[:, np.newaxis], pixels] = kernel.ravel()
    return matrix[:, 1:]


def transposed_size(size, kernel_size, *, stride=1, padding="valid", dilation=1):
    r"""How long the result of :func:`cross_correlate_transposed` is along one axis, by Keras's rule.

    .. math:: \text{valid: } n s + \max(k' - s, 0), \qquad \text{same: } n s, \qquad k' = d (k - 1) + 1

    Several sizes are shrunk to n by a stride above 1; this is the one that Keras goes back to.

    Parameters, except that ``size`` is that of the small image, and errors are those of :func:`output_size`.

    Examples
    --------
    >>> transposed_size(7, 4, stride=2, padding="same"), transposed_size(7, 3, stride=2)
    (14, 15)
    """
    size, kernel_size = validate.integer(size, "size"), validate.integer(kernel_size, "kernel_size")
    stride, dilation = validate.integer(stride, "stride"), validate.integer(dilation, "dilation")
    if validate.choice(padding, "padding", ("valid", "same")) == "same":
        return size * stride
    return size * stride + max(dilation * (kernel_size - 1) + 1 - stride, 0)


def cross_correlate_transposed(image, kernel, *, stride=1, padding="valid", dilation=1, output_shape=None):
    r"""Apply the transpose of the matrix that cross-correlation is: each number stamps the kernel, the stamps add up.

    With :math:`y` the image given, it adds :math:`y[i, j]\, K[p, q]` to the pixel :math:`[i s + p d,\, j s + q d]` of the
    result. Deep-learning libraries call it transposed convolution.

    Parameters
    ----------
    image : array_like
        ``(rows, columns)``, any real numbers.
    kernel : array_like
        ``(P, Q)``, any real numbers.
    stride : int
        Distance between the stamps of neighbouring numbers.
    padding : {"valid", "same"}
        "valid" keeps all that was stamped; "same" cuts off the pixels that :func:`cross_correlate` would have added.
    dilation : int
        Distance between neighbouring taps of the kernel.
    output_shape : tuple of int, optional
        ``(height, width)`` of the result, one that :func:`cross_correlate` shrinks to the shape of ``image``. Without
        it, the shape that :func:`transposed_size` gives.

    Returns
    -------
    numpy.ndarray
        Floating-point, ``output_shape``.

    Raises
    ------
    TypeError, ValueError
        As :func:`cross_correlate`; ValueError also if ``output_shape`` does not shrink to the shape of ``image``.

    References
    ----------
    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285, 2016.

    Examples
    --------
    >>> cross_correlate_transposed([[1, 2]], [[1, 1, 1], [3, 3, 3]], stride=2)
    array([[1., 1., 3., 2., 2.],
           [3., 3., 9., 6., 6.]])
    """
    image, kernel = _image_and_kernel(image, kernel)
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    pairs = list(zip(image.shape, kernel.shape, strict=True))
    default = tuple(transposed_size(n, k, **options) for n, k in pairs)
    output_shape = default if output_shape is None else validate.pair(output_shape, "output_shape")
    shrunk = tuple(output_size(n, k, **options) for n, k in zip(output_shape, kernel.shape, strict=True))
    if shrunk != image.shape:
        raise ValueError(
            f"output_shape is {output_shape}, which shrinks to {shrunk}; expected a shape that shrinks to that of image, "
            f"{image.shape}, such as {default}"
        )
    zeros = _zeros(output_shape, kernel.shape, stride, padding, dilation)
    whole = [n + before + after for n, (before, after) in zip(output_shape, zeros, strict=True)]
    stamped = np.zeros(whole, np.result_type(image, kernel))
    rows, columns = (np.arange(n) * stride for n in image.shape)
    for (p, q), weight in np.ndenumerate(kernel):
        stamped[np.ix_(rows + p * dilation, columns + q * dilation)] += weight * image
    return stamped[tuple(slice(before, before + n) for n, (before, _) in zip(output_shape, zeros, strict=True))]


def convolve_fft(image, kernel, *, padding="valid"):
    """Convolve as :func:`convolve` does with stride and dilation 1, by multiplying Fourier transforms.

    The work hardly depends on the size of the kernel. Both are padded with zeros to the size of the whole result, since
    a product of discrete transforms belongs to a convolution that wraps around the edges.

    Parameters and errors are those of :func:`convolve`.

    Returns
    -------
    numpy.ndarray
        Floating-point, of the size that :func:`output_size` gives.

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
    pairs = list(zip(image.shape, kernel.shape, strict=True))
    sizes = [output_size(n, k, padding=padding) for n, k in pairs]
    whole = [n + k - 1 for n, k in pairs]
    transforms = (np.fft.rfft2(array.astype(np.float64), whole) for array in (image, kernel))
    stamped = np.fft.irfft2(np.prod(list(transforms), axis=0), whole)
    # From k - 1 on the kernel lies wholly inside the image; "same" begins earlier, by the zeros that it puts before it.
    zeros = _zeros(image.shape, kernel.shape, 1, padding, 1)
    starts = (k - 1 - before for k, (before, _) in zip(kernel.shape, zeros, strict=True))
    inside = tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))
    return stamped[inside].astype(np.result_type(image, kernel))


def _image_and_kernel(image, kernel):
    """Return both as floating-point arrays of two dimensions."""
    return validate.real_array(image, "image", ndim=2), validate.real_array(kernel, "kernel", ndim=2)


def _windows(image, kernel_shape, stride, padding, dilation):
    """Return a view ``(rows, columns, P, Q)`` of what the kernel meets at each position."""
    kernel_shape = validate.pair(kernel_shape, "kernel_shape")
    padded = np.pad(image, _zeros(image.shape, kernel_shape, stride, padding, dilation))
    reach = tuple(dilation * (k - 1) + 1 for k in kernel_shape)
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach)
    return windows[::stride, ::stride, ::dilation, ::dilation]


def _zeros(image_shape, kernel_shape, stride, padding, dilation):
    """Return how many zeros ``padding`` puts before and after the image, along each axis."""
    widths = []
    for n, k in zip(image_shape, kernel_shape, strict=True):
        positions = output_size(n, k, stride=stride, padding=padding, dilation=dilation)
        total = max((positions - 1) * stride + dilation * (k - 1) + 1 - n, 0)
        widths.append((total // 2, total - total // 2))
    return widths

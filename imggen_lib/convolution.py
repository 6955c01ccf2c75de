r"""Convolution that can be read beside its formula.

With an image :math:`I` and a kernel :math:`K` of :math:`P \times Q`, cross-correlation is

.. math:: y[i, j] = \sum_{p=0}^{P-1} \sum_{q=0}^{Q-1} I[i + p,\, j + q]\, K[p, q]

and true convolution is the same with the kernel turned by 180 degrees. What deep-learning libraries call convolution is
the first of the two (Goodfellow, Bengio and Courville, Deep Learning, 2016, section 9.1).
"""

import numpy as np

from imggen_lib import checks


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
    size, kernel_size = checks.integer(size, "size"), checks.integer(kernel_size, "kernel_size")
    stride, dilation = checks.integer(stride, "stride"), checks.integer(dilation, "dilation")
    checks.choice(padding, "padding", ("valid", "same"))
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
    windows, kernel = _windows(image, kernel, stride, padding, dilation)
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
    kernel = checks.real_array(kernel, "kernel", ndim=2)
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
    image = checks.real_array(image, "image", ndim=2)
    kernel = checks.real_array(kernel, "kernel", ndim=2)
    rows, columns = (
        output_size(n, k, stride=stride, padding=padding, dilation=dilation)
        for n, k in zip(image.shape, kernel.shape, strict=True)
    )
    image = _pad(image, kernel.shape, stride, padding, dilation)
    result = np.zeros((rows, columns), np.result_type(image, kernel))
    for i in range(rows):
        for j in range(columns):
            for p in range(kernel.shape[0]):
                for q in range(kernel.shape[1]):
                    result[i, j] += image[i * stride + p * dilation, j * stride + q * dilation] * kernel[p, q]
    return result


def _windows(image, kernel, stride, padding, dilation):
    """Return a view ``(rows, columns, P, Q)`` of what the kernel meets at each position, and the kernel."""
    image = checks.real_array(image, "image", ndim=2)
    kernel = checks.real_array(kernel, "kernel", ndim=2)
    for n, k in zip(image.shape, kernel.shape, strict=True):
        output_size(n, k, stride=stride, padding=padding, dilation=dilation)
    padded = _pad(image, kernel.shape, stride, padding, dilation)
    reach = tuple(dilation * (k - 1) + 1 for k in kernel.shape)
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach)
    return windows[::stride, ::stride, ::dilation, ::dilation], kernel


def _pad(image, kernel_shape, stride, padding, dilation):
    """Add the zeros that ``padding`` asks for."""
    if padding == "valid":
        return image
    widths = []
    for n, k in zip(image.shape, kernel_shape, strict=True):
        positions = output_size(n, k, stride=stride, padding="same", dilation=dilation)
        total = max((positions - 1) * stride + dilation * (k - 1) + 1 - n, 0)
        widths.append((total // 2, total - total // 2))
    return np.pad(image, widths)

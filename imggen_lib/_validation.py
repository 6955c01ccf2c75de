"""What a valid argument is, said once, so that every function refuses a bad one with the same clear words.

Nothing in this library guesses: an image is a floating-point array with values in [0, 1], channels last.
"""

from __future__ import annotations

import numbers
import operator

import numpy as np
from numpy.typing import ArrayLike, NDArray


def real_array(array, name, *, ndim=None):
    """Return ``array`` as a floating-point NumPy array of finite values.

    Parameters
    ----------
    array : array_like
        Anything that NumPy reads as numbers.
    name : str
        What to call it in an error message.
    ndim : int or tuple of int, optional
        The number of dimensions that it may have.

    Raises
    ------
    TypeError
        If the values are not real numbers.
    ValueError
        If a value is NaN or infinite, if it is empty, or if the number of dimensions is another.

    Examples
    --------
    >>> real_array([1, 2], "weights")
    array([1., 2.])
    """
    array = np.asarray(array)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} has the dtype {array.dtype}; expected real numbers")
    if array.dtype.kind != "f":
        array = array.astype(np.float64)
    allowed = (ndim,) if isinstance(ndim, int) else ndim
    if allowed is not None and array.ndim not in allowed:
        expected = " or ".join(str(n) for n in allowed)
        raise ValueError(f"{name} has the shape {array.shape}; expected {expected} dimensions")
    if array.size == 0:
        raise ValueError(f"{name} is empty: its shape is {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} contains NaN or infinite values; replace or remove them first")
    return array


def image(array, name="image", *, ndim=(2, 3)):
    """Return ``array`` if it is an image: floating-point, finite, in [0, 1].

    Parameters
    ----------
    array : array_like
        ``(height, width)`` or ``(height, width, channels)``; with ``ndim=4`` a batch of such images.
    name : str
        What to call it in an error message.
    ndim : int or tuple of int
        The number of dimensions that it may have.

    Raises
    ------
    TypeError
        If the values are integers (0 to 255, say) or no numbers at all.
    ValueError
        If a value lies outside [0, 1], is NaN, or the shape is wrong.

    Examples
    --------
    >>> image([[0.0, 0.5], [0.5, 1.0]]).shape
    (2, 2)
    >>> image(np.zeros((2, 2), "uint8"))
    Traceback (most recent call last):
    ...
    TypeError: image has the dtype uint8; expected floats in [0, 1]: skimage.util.img_as_float32 converts it
    """
    array = np.asarray(array)
    if array.dtype.kind in "iub":
        raise TypeError(
            f"{name} has the dtype {array.dtype}; expected floats in [0, 1]: skimage.util.img_as_float32 converts it"
        )
    array = real_array(array, name, ndim=ndim)
    low, high = array.min(), array.max()
    if low < 0 or high > 1:
        raise ValueError(
            f"{name} has values from {low:.9g} to {high:.9g}; expected [0, 1]: rescale it, or clip it with numpy.clip"
        )
    return array


def images(array, shape):
    """Return ``array`` if it is a batch of images of one shape, each with values in [0, 1].

    Parameters
    ----------
    array : array_like
    shape : tuple of int
        ``(height, width, channels)``.

    Returns
    -------
    numpy.ndarray
        ``(n, height, width, channels)``.

    Raises
    ------
    TypeError, ValueError
        As :func:`image` does, and if the images have another shape.

    Examples
    --------
    >>> images(np.zeros((2, 8, 8, 1)), (8, 8, 1)).shape
    (2, 8, 8, 1)
    """
    array = image(array, "images", ndim=4)
    if array.shape[1:] != tuple(shape):
        raise ValueError(f"images has the shape {array.shape}; expected (n, {', '.join(map(str, shape))})")
    return array


def image_shape(shape, *, halvings=0):
    """Return ``(height, width, channels)`` if it is a shape whose sides stay whole when halved that often.

    Raises
    ------
    TypeError, ValueError
        If it is not three whole numbers from 1, or a side cannot be halved.

    Examples
    --------
    >>> image_shape([28, 28, 1], halvings=2)
    (28, 28, 1)
    """
    if np.shape(shape) != (3,):
        raise ValueError(f"image_shape is {shape!r}; expected (height, width, channels)")
    shape = tuple(integer(size, "image_shape") for size in shape)
    if any(side % 2**halvings for side in shape[:2]):
        raise ValueError(
            f"image_shape is {shape}; halved {halvings} times, height and width must be multiples of {2**halvings}: pad or "
            "crop the pictures, or use fewer filters"
        )
    return shape


def integer(value, name, *, minimum=1):
    """Return ``value`` as an int of at least ``minimum``.

    Raises
    ------
    TypeError
        If it is no whole number (a float or a bool, say).
    ValueError
        If it is too small.

    Examples
    --------
    >>> integer(3, "stride")
    3
    >>> integer(0, "stride")
    Traceback (most recent call last):
    ...
    ValueError: stride is 0; expected at least 1
    """
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {value!r}; expected a whole number")
    try:
        value = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}; expected a whole number") from None
    if value < minimum:
        raise ValueError(f"{name} is {value}; expected at least {minimum}")
    return value


def pair(value, name, *, minimum=1):
    """Return two whole numbers, a height and a width say, as a tuple of int.

    Raises
    ------
    TypeError
        If it is no sequence, or one of them no whole number.
    ValueError
        If there are not two, or one is too small.

    Examples
    --------
    >>> pair([28, 32], "shape")
    (28, 32)
    >>> pair((3,), "kernel_shape")
    Traceback (most recent call last):
    ...
    ValueError: kernel_shape is (3,); expected two whole numbers, for height and width
    """
    if isinstance(value, str) or not np.iterable(value):
        raise TypeError(f"{name} is {value!r}; expected a tuple of two whole numbers")
    if len(value := tuple(value)) != 2:
        raise ValueError(f"{name} is {value}; expected two whole numbers, for height and width")
    return tuple(integer(number, name, minimum=minimum) for number in value)


def real(value, name, *, minimum=-np.inf, maximum=np.inf):
    """Return ``value`` as a finite float in [``minimum``, ``maximum``].

    Raises
    ------
    TypeError
        If it is no real number.
    ValueError
        If it is NaN, infinite or out of range.

    Examples
    --------
    >>> real(0.1, "std", minimum=0)
    0.1
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} is {value!r}; expected a real number")
    try:
        value = float(value)
    except OverflowError:
        value = np.inf
    if not np.isfinite(value) or not minimum <= value <= maximum:
        raise ValueError(f"{name} is {value:g}; expected a finite number in [{minimum:g}, {maximum:g}]")
    return value


def choice(value, name, allowed):
    """Return ``value`` if it is one of ``allowed``; say which there are otherwise.

    Raises
    ------
    ValueError
        If it is not.

    Examples
    --------
    >>> choice("same", "padding", ["valid", "same"])
    'same'
    """
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(map(str, allowed))}")
    return value


def condition(value: ArrayLike, n: int, size: int) -> NDArray[np.float32]:
    """Return the condition of n images as rows, whatever form it was given in.

    Parameters
    ----------
    value : array_like
        One class; ``(n,)`` or ``(n, 1)`` classes; or ``(n, size)`` finite numbers: one-hot rows, or encoded captions.
    n : int
        Number of images.
    size : int
        Number of classes, or of values that encode a caption.

    Returns
    -------
    numpy.ndarray
        float32 ``(n, size)``.

    Raises
    ------
    TypeError
        If classes are not integers.
    ValueError
        If the shape is none of these, or a class is not in [0, size).

    Examples
    --------
    >>> condition(1, 2, size=3)
    array([[0., 1., 0.],
           [0., 1., 0.]], dtype=float32)
    >>> bool((condition([[2], [0]], 2, size=3) == condition([2, 0], 2, size=3)).all())
    True
    """
    array = np.asarray(value)
    if array.shape == (n, size) and size > 1:
        return real_array(array, "labels").astype(np.float32)
    if array.shape not in ((), (n,), (n, 1)):
        raise ValueError(
            f"labels has the shape {array.shape}; expected one class, ({n},) or ({n}, 1) classes, or ({n}, {size}) rows"
        )
    if array.dtype.kind not in "iu":
        raise TypeError(f"labels has the dtype {array.dtype}; expected integers")
    if array.size and (array.min() < 0 or array.max() >= size):
        raise ValueError(f"labels has values from {array.min()} to {array.max()}; expected classes from 0 to {size - 1}")
    return np.eye(size, dtype=np.float32)[np.broadcast_to(array.reshape(-1), (n,))]


def condition_size(num_classes: int | None) -> int:
    """Return how many input values a condition takes: ``num_classes``, or 0 for None.

    Raises
    ------
    TypeError, ValueError
        If it is neither None nor an integer of at least 2.

    Examples
    --------
    >>> condition_size(None), condition_size(10)
    (0, 10)
    """
    return 0 if num_classes is None else integer(num_classes, "num_classes", minimum=2)


def rows(value: ArrayLike, name: str, width: int) -> NDArray[np.floating]:
    """Return a floating-point array of shape ``(n, width)``: latent vectors or codes.

    Raises
    ------
    TypeError
        If the values are not real numbers.
    ValueError
        If the shape is another, or a value is NaN or infinite.

    Examples
    --------
    >>> rows([[1, 2]], "latent", 2)
    array([[1., 2.]])
    """
    array = real_array(value, name, ndim=2)
    if array.shape[1] != width:
        raise ValueError(f"{name} has the shape {array.shape}; expected (n, {width})")
    return array

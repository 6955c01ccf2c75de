"""Checks of arguments that the whole library shares, so that the same mistake has the same error message everywhere.

No function converts silently: an image is a floating-point array with values in [0, 1], channels last.
"""

from __future__ import annotations

import numbers
import operator
from collections.abc import Iterable, Sequence
from typing import Any, SupportsFloat, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

T = TypeVar("T")


def real_array(value: ArrayLike, name: str, *, ndim: int | tuple[int, ...] | None = None) -> NDArray[np.floating]:
    """Return a floating-point array of finite values. Integers become float64.

    Parameters
    ----------
    value : array_like
        Real numbers.
    name : str
        The name of the argument in an error message.
    ndim : int or tuple of int, optional
        The accepted numbers of dimensions; any number by default.

    Raises
    ------
    TypeError
        If the values are not real numbers.
    ValueError
        If a value is NaN or infinite, the array is empty, or the number of dimensions is wrong.

    Examples
    --------
    >>> real_array([1, 2], "weights")
    array([1., 2.])
    """
    array = np.asarray(value)
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


def image(value: ArrayLike, name: str = "image", *, ndim: int | tuple[int, ...] = (2, 3)) -> NDArray[np.floating]:
    """Return the array of an image, or of a batch of images: floating-point, finite, in [0, 1].

    Parameters
    ----------
    value : array_like
        ``(height, width)`` or ``(height, width, channels)``; with ``ndim=4``, a batch of images with channels.
    name, ndim
        As in :func:`real_array`.

    Raises
    ------
    TypeError
        If the values are integers, such as bytes from 0 to 255, or not numbers.
    ValueError
        If a value is NaN or outside [0, 1], or the number of dimensions is wrong.

    Examples
    --------
    >>> image(np.zeros((2, 2), "uint8"))
    Traceback (most recent call last):
    ...
    TypeError: image has the dtype uint8; expected floats in [0, 1]: convert it with skimage.util.img_as_float32
    """
    array = np.asarray(value)
    if array.dtype.kind in "iub":
        raise TypeError(
            f"{name} has the dtype {array.dtype}; expected floats in [0, 1]: convert it with skimage.util.img_as_float32"
        )
    array = real_array(array, name, ndim=ndim)
    low, high = array.min(), array.max()
    if low < 0 or high > 1:
        raise ValueError(
            f"{name} has values from {low:.9g} to {high:.9g}; expected [0, 1]: rescale it, or clip it with numpy.clip"
        )
    return array


def images(value: ArrayLike, shape: Sequence[int]) -> NDArray[np.floating]:
    """Return a batch of images of a known shape: ``(n, *shape)``, with values in [0, 1].

    Parameters
    ----------
    value : array_like
        ``(n, height, width, channels)``.
    shape : tuple of int
        ``(height, width, channels)``.

    Raises
    ------
    TypeError, ValueError
        As in :func:`image`; ``ValueError`` also if the images do not have this shape.

    Examples
    --------
    >>> images(np.zeros((2, 8, 8, 1)), (8, 8, 1)).shape
    (2, 8, 8, 1)
    """
    array = image(value, "images", ndim=4)
    if array.shape[1:] != tuple(shape):
        raise ValueError(f"images has the shape {array.shape}; expected (n, {', '.join(map(str, shape))})")
    return array


def image_shape(value: Sequence[int]) -> tuple[int, int, int]:
    """Return ``(height, width, channels)`` as a tuple of int. Networks take any size: they pad and crop inside.

    Raises
    ------
    TypeError
        If a size is not an integer.
    ValueError
        If there are not three sizes, or a size is less than 1.

    Examples
    --------
    >>> image_shape([17, 23, 3])
    (17, 23, 3)
    >>> image_shape((28, 28))
    Traceback (most recent call last):
    ...
    ValueError: image_shape is (28, 28); expected (height, width, channels)
    """
    if np.shape(value) != (3,):
        raise ValueError(f"image_shape is {value!r}; expected (height, width, channels)")
    height, width, channels = (integer(size, "image_shape") for size in value)
    return height, width, channels


def integer(value: Any, name: str, *, minimum: int = 1) -> int:
    """Return an integer of at least ``minimum`` as an int.

    Raises
    ------
    TypeError
        If the value is not an integer; floats and bools are not.
    ValueError
        If it is less than ``minimum``.

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


def pair(value: Any, name: str, *, minimum: int = 1) -> tuple[int, int]:
    """Return two integers, such as a height and a width, as a tuple of int.

    Raises
    ------
    TypeError
        If the value is not a sequence of integers.
    ValueError
        If there are not two of them, or one is less than ``minimum``.

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
    first, second = value
    return integer(first, name, minimum=minimum), integer(second, name, minimum=minimum)


def real(value: SupportsFloat, name: str, *, minimum: float = -np.inf, maximum: float = np.inf) -> float:
    """Return a finite real number in [``minimum``, ``maximum``] as a float.

    Raises
    ------
    TypeError
        If the value is not a real number; bools are not.
    ValueError
        If it is NaN, infinite or out of range.

    Examples
    --------
    >>> real(float("nan"), "std", minimum=0)
    Traceback (most recent call last):
    ...
    ValueError: std is nan; expected a finite number in [0, inf]
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} is {value!r}; expected a real number")
    try:
        number = float(value)
    except OverflowError:  # an int beyond the largest float
        number = np.inf
    if not np.isfinite(number) or not minimum <= number <= maximum:
        raise ValueError(f"{name} is {number:g}; expected a finite number in [{minimum:g}, {maximum:g}]")
    return number


def choice(value: T, name: str, allowed: Iterable[T]) -> T:
    """Return a value that is one of ``allowed``.

    Raises
    ------
    ValueError
        If it is none of them; the message lists them.

    Examples
    --------
    >>> choice("full", "padding", ["valid", "same"])
    Traceback (most recent call last):
    ...
    ValueError: padding is 'full'; expected one of valid, same
    """
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(map(str, allowed))}")
    return value


def condition(value: ArrayLike, n: int, size: int) -> NDArray[np.float32]:
    """Return the condition of n images as rows ``(n, size)``, from any of the forms that labels may have.

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
    if array.shape == (n, size):
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
        If the shape is wrong, or a value is NaN or infinite.

    Examples
    --------
    >>> rows([[1, 2]], "latent", 2)
    array([[1., 2.]])
    """
    array = real_array(value, name, ndim=2)
    if array.shape[1] != width:
        raise ValueError(f"{name} has the shape {array.shape}; expected (n, {width})")
    return array

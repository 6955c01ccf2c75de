"""What a valid argument is, said once, so that every function refuses a bad one with the same clear words.

Nothing in this library guesses: an image is a floating-point array with values in [0, 1], channels last.
"""

import numbers
import operator

import numpy as np


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


def generator(rng):
    """Return ``rng`` as a :class:`numpy.random.Generator`, as SPEC 7 has it: a Generator, a seed, or None for a fresh one.

    Examples
    --------
    >>> generator(0).integers(10)
    np.int64(8)
    """
    return np.random.default_rng(rng)


def labels(value, n, classes):
    """Check classes; return one for each of n pictures.

    Raises
    ------
    TypeError
        If they are no whole numbers.
    ValueError
        If they are neither one class nor n, or a class that there is not.

    Examples
    --------
    >>> labels(3, 2, classes=10)
    array([3, 3])
    """
    value = np.asarray(value)
    if value.dtype.kind not in "iu":
        raise TypeError(f"labels has the dtype {value.dtype}; expected whole numbers")
    if value.shape not in ((), (n,)):
        raise ValueError(f"labels has the shape {value.shape}; expected one class, or ({n},)")
    if value.size and (value.min() < 0 or value.max() >= classes):
        raise ValueError(f"labels holds {value.min()} to {value.max()}; expected classes from 0 to {classes - 1}")
    return np.broadcast_to(value, (n,))


def conditions(value, n, classes):
    """Check what a model is told of n pictures, as classes or as a row of numbers for each; return rows.

    Raises
    ------
    TypeError, ValueError
        If they are neither classes, see :func:`labels`, nor finite numbers of the shape ``(n, classes)``.

    Examples
    --------
    >>> conditions(1, 2, classes=3)
    array([[0., 1., 0.],
           [0., 1., 0.]], dtype=float32)
    """
    if np.ndim(value) < 2:
        return np.eye(classes, dtype=np.float32)[labels(value, n, classes)]
    value = real_array(value, "labels", ndim=2)
    if value.shape != (n, classes):
        raise ValueError(
            f"labels has the shape {value.shape}; expected classes, or a row of {classes} numbers for each of {n}"
        )
    return value.astype(np.float32)

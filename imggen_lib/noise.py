"""Noise models for images, with their means and variances, and noise images with a given power spectrum.

For a pixel of value x, the expected value and the variance of the noisy pixel, before clipping, are

======================= ============================ ==========================================
function                mean                         variance
======================= ============================ ==========================================
``add_gaussian``        x                            std²
``add_uniform``         x                            half_width² / 3
``add_salt_and_pepper`` (1 - amount) x + amount s    (1 - amount) x² + amount s - mean²
``add_poisson``         x                            x / photons
``add_speckle``         x                            std² x²
======================= ============================ ==========================================

where s is ``salt_share``.

The ``add_`` functions share these parameters, results and errors:

- ``image``: floating-point values in [0, 1], ``(height, width)`` or ``(height, width, channels)``. It is not changed. The
  result has its shape and dtype. The noise of every pixel and channel is independent.
- ``rng``: a :class:`numpy.random.Generator`, or an int as the seed of a new one. The same seed gives the same noise.
- ``clip``: whether to clip the result to [0, 1]. Clipping gives a valid image but changes the noise: near black and white
  its mean is no longer 0.
- ``TypeError`` if the image has integer values, or the strength of the noise is not a real number; ``ValueError`` if the
  image has values outside [0, 1], or the strength is out of its range.

``skimage.util.random_noise`` has all of these kinds of noise except the uniform one. It takes variances and clips by
default.

References
----------
Gonzalez and Woods, "Digital Image Processing", 4th edition, Pearson, 2018, section 5.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate

__all__ = [
    "add_gaussian", "add_poisson", "add_salt_and_pepper", "add_speckle", "add_uniform", "power_law_noise", "white_noise",
]  # fmt: skip

Array = NDArray[np.floating]
Rng = np.random.Generator | int


def add_gaussian(image: ArrayLike, std: float, *, rng: Rng, clip: bool = False) -> Array:
    r"""Add Gaussian noise.

    .. math:: p(e) = \frac{1}{\sqrt{2 \pi \sigma^2}} \exp\left(-\frac{e^2}{2 \sigma^2}\right)

    Parameters
    ----------
    image : array_like
        As for all noises, see :mod:`imggen_lib.noise`; so are ``rng``, ``clip``, the result and the errors.
    std : float
        Standard deviation of the noise, at least 0, in units of the image.

    Examples
    --------
    The mean of n noisy copies has noise of standard deviation ``std / sqrt(n)``:

    >>> rng, grey = np.random.default_rng(0), np.full((100, 100), 0.5)
    >>> mean = np.mean([add_gaussian(grey, 0.2, rng=rng) for _ in range(16)], axis=0)
    >>> round(float(mean.std()), 3)
    0.05
    """
    image = validate.image(image)
    std = validate.real(std, "std", minimum=0)
    return _add(image, np.random.default_rng(rng).normal(0, std, image.shape), clip)


def add_uniform(image: ArrayLike, half_width: float, *, rng: Rng, clip: bool = False) -> Array:
    r"""Add noise that is uniform on [-a, a]. Its standard deviation is :math:`a / \sqrt{3}`.

    Parameters
    ----------
    image : array_like
        As for all noises, see :mod:`imggen_lib.noise`; so are ``rng``, ``clip``, the result and the errors.
    half_width : float
        Bound a of the noise, at least 0, in units of the image.

    Examples
    --------
    >>> noisy = add_uniform(np.full((100, 100), 0.5), 0.3, rng=0)
    >>> noisy.min().round(3), noisy.max().round(3), noisy.std().round(3)
    (np.float64(0.2), np.float64(0.8), np.float64(0.173))
    """
    image = validate.image(image)
    half_width = validate.real(half_width, "half_width", minimum=0)
    return _add(image, np.random.default_rng(rng).uniform(-half_width, half_width, image.shape), clip)


def add_salt_and_pepper(image: ArrayLike, amount: float, *, rng: Rng, salt_share: float = 0.5) -> Array:
    """Replace random values by 1 (salt) or 0 (pepper). The result is in [0, 1] without clipping.

    Parameters
    ----------
    image : array_like
        As for all noises, see :mod:`imggen_lib.noise`; so are ``rng``, the result and the errors.
    amount : float
        Probability, in [0, 1], that a value is replaced.
    salt_share : float
        Probability, in [0, 1], that a replaced value becomes 1 and not 0; ``salt_vs_pepper`` in scikit-image.

    Examples
    --------
    A tenth of the values is replaced; one in five of these becomes white:

    >>> noisy = add_salt_and_pepper(np.full((1000, 1000), 0.5), 0.1, rng=0, salt_share=0.2)
    >>> {value: round(float(np.mean(noisy == value)), 3) for value in (0.0, 0.5, 1.0)}
    {0.0: 0.08, 0.5: 0.9, 1.0: 0.02}
    """
    image = validate.image(image)
    amount = validate.real(amount, "amount", minimum=0, maximum=1)
    salt_share = validate.real(salt_share, "salt_share", minimum=0, maximum=1)
    # One uniform number decides both: salt below amount * salt_share, pepper from there to amount, unchanged above.
    uniform = np.random.default_rng(rng).random(image.shape)
    noisy = image.copy()
    noisy[uniform < amount] = 0
    noisy[uniform < amount * salt_share] = 1
    return noisy


def add_poisson(image: ArrayLike, photons: float, *, rng: Rng, clip: bool = False) -> Array:
    r"""Replace each value by a photon count (shot noise).

    A pixel of value x records a random number k of photons with mean :math:`\lambda = x N`, and its noisy value is
    k / N.

    .. math:: P(k) = \frac{\lambda^k}{k!} e^{-\lambda}

    Parameters
    ----------
    image : array_like
        As for all noises, see :mod:`imggen_lib.noise`; so are ``rng``, ``clip``, the result and the errors. Without
        clipping, bright pixels can exceed 1; no pixel is below 0.
    photons : float
        Mean number N of photons in a pixel of value 1, from 0.001 to 1e15. Fewer photons give more noise.

    See Also
    --------
    skimage.util.random_noise : With ``mode="poisson"``, it sets N to the number of distinct values in the image, rounded up
        to a power of two.

    Examples
    --------
    Black has no noise. With N = 4, values are multiples of 1/4, and white has the variance 1/4:

    >>> add_poisson([[0.0, 0.0, 1.0, 1.0, 1.0]], 4, rng=0)
    array([[0.  , 0.  , 0.5 , 0.  , 1.75]])
    >>> float(add_poisson(np.ones((500, 500)), 4, rng=0).var().round(2))
    0.25
    """
    image = validate.image(image)
    photons = validate.real(photons, "photons", minimum=1e-3, maximum=1e15)
    # In double precision, because the largest float16 is 65504.
    noisy = (np.random.default_rng(rng).poisson(image.astype(np.float64) * photons) / photons).astype(image.dtype)
    return np.clip(noisy, 0, 1) if clip else noisy


def add_speckle(image: ArrayLike, std: float, *, rng: Rng, clip: bool = False) -> Array:
    """Add noise in proportion to the value of the pixel: y = x (1 + e) with Gaussian e.

    It approximates speckle in radar, ultrasound and laser images that are averages of several looks. A single look
    multiplies by an exponentially distributed number of mean 1 and standard deviation 1.

    Parameters
    ----------
    image : array_like
        As for all noises, see :mod:`imggen_lib.noise`; so are ``rng``, ``clip``, the result and the errors.
    std : float
        Standard deviation of e, at least 0: the noise relative to the value of the pixel.

    References
    ----------
    Goodman, "Some fundamental properties of speckle", Journal of the Optical Society of America 66, 1976.

    Examples
    --------
    A pixel that is eight times as bright has eight times the noise:

    >>> dark, bright = (add_speckle(np.full((100, 100), x), 0.2, rng=0) for x in (0.1, 0.8))
    >>> round(float(bright.std() / dark.std()), 6)
    8.0
    """
    image = validate.image(image)
    std = validate.real(std, "std", minimum=0)
    return _add(image, image * np.random.default_rng(rng).normal(0, std, image.shape), clip)


def white_noise(shape: Sequence[int], *, rng: Rng) -> NDArray[np.float32]:
    """Return an image of independent standard normal values.

    To display it, show ``0.5 + 0.2 * noise`` clipped to [0, 1].

    Parameters
    ----------
    shape : tuple of int
        ``(height, width)`` or ``(height, width, channels)``.
    rng : numpy.random.Generator or int

    Returns
    -------
    numpy.ndarray
        float32, of mean 0 and variance 1.

    Raises
    ------
    TypeError
        If the shape is not a sequence of integers.
    ValueError
        If it does not have two or three positive sizes.

    Examples
    --------
    The power spectrum is flat: low and high frequencies have the same mean power.

    >>> power = np.abs(np.fft.fft2(white_noise((256, 256), rng=0), norm="ortho")) ** 2
    >>> float(power[1:128].mean().round(1)), float(power[:, 1:128].mean().round(1))
    (1.0, 1.0)
    """
    return np.random.default_rng(rng).standard_normal(_shape(shape), dtype=np.float32)


def power_law_noise(shape: Sequence[int], exponent: float, *, rng: Rng) -> NDArray[np.float32]:
    r"""Return noise whose power spectrum is proportional to :math:`1 / f^a`: white for a = 0, cloud-like for a = 2 to 3.

    The Fourier transform of white noise is multiplied by :math:`f^{-a/2}`, so its power is multiplied by :math:`f^{-a}`.
    The mean, f = 0, is set to 0. Channels are independent. The image is periodic: it can be tiled without a seam.

    Parameters
    ----------
    shape : tuple of int
        ``(height, width)`` or ``(height, width, channels)``, at least two pixels.
    exponent : float
        a, from -10 to 10: 1 is pink noise, and natural images have about 2. Below 0, high frequencies are stronger than low
        ones.
    rng : numpy.random.Generator or int

    Returns
    -------
    numpy.ndarray
        float32. Every channel is scaled to mean 0 and variance 1.

    Raises
    ------
    TypeError
        If the shape is not a sequence of integers, or the exponent is not a real number.
    ValueError
        If the shape does not have two or three positive sizes, has a single pixel, or the exponent is out of range.

    References
    ----------
    Field, "Relations between the statistics of natural images and the response properties of cortical cells", Journal of
    the Optical Society of America A 4, 1987.

    Examples
    --------
    The larger the exponent, the stronger the correlation of neighbouring pixels:

    >>> for exponent in (1, 2, 3):
    ...     noise = power_law_noise((256, 256), exponent, rng=0)
    ...     print(exponent, f"{np.mean(noise[:, 1:] * noise[:, :-1]):.2f}")
    1 0.30
    2 0.80
    3 0.99
    """
    height, width, *channels = _shape(shape)
    exponent = validate.real(exponent, "exponent", minimum=-10, maximum=10)
    if height * width < 2:
        raise ValueError(f"shape is {tuple(shape)}; expected at least two pixels, because a single one has no spectrum")
    white = white_noise(shape, rng=rng).astype(np.float64)
    frequency = np.hypot(np.fft.fftfreq(height)[:, np.newaxis], np.fft.rfftfreq(width))
    frequency[0, 0] = 1  # avoids a division by zero; the gain there is set to 0 below
    gain = frequency ** (-exponent / 2)
    gain[0, 0] = 0
    spectrum = np.fft.rfft2(white, axes=(0, 1)) * gain.reshape(*gain.shape, *(1 for _ in channels))
    noise = np.fft.irfft2(spectrum, s=(height, width), axes=(0, 1))
    return (noise / noise.std(axis=(0, 1))).astype(np.float32)


def _add(image: Array, noise: Array, clip: bool) -> Array:
    """Add in the precision of the image, reusing the memory of the noise."""
    noisy = noise.astype(image.dtype, copy=False)
    noisy += image
    return np.clip(noisy, 0, 1, out=noisy) if clip else noisy


def _shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Return ``(height, width)`` or ``(height, width, channels)`` as a tuple of int."""
    if isinstance(shape, str) or not np.iterable(shape):
        raise TypeError(f"shape is {shape!r}; expected (height, width) or (height, width, channels)")
    sizes = tuple(validate.integer(size, "a size in shape") for size in shape)
    if len(sizes) not in (2, 3):
        raise ValueError(f"shape is {sizes}; expected (height, width) or (height, width, channels)")
    return sizes

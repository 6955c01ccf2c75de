"""Noise models: what is added to a picture, with what law, and what that does to its range."""

import numpy as np

from imggen_lib import checks


def add_gaussian(image, std, *, rng, clip=False):
    r"""Add Gaussian noise, independent in every pixel and channel.

    .. math:: p(e) = \frac{1}{\sqrt{2 \pi \sigma^2}} \exp\left(-\frac{e^2}{2 \sigma^2}\right)

    Parameters
    ----------
    image : array_like
        Floating-point values in [0, 1], ``(height, width)`` or ``(height, width, channels)``.
    std : float
        The standard deviation, at least 0, in units of the image.
    rng : numpy.random.Generator or int
        Where the randomness comes from; the same seed gives the same noise.
    clip : bool
        Whether to cut the result to [0, 1]. Clipping makes a valid picture, and changes the noise: it is no longer
        Gaussian, nor of mean 0, near black and white.

    Returns
    -------
    numpy.ndarray
        The shape and dtype of ``image``.

    Raises
    ------
    TypeError
        If the image holds integers, or ``std`` is no number.
    ValueError
        If the image leaves [0, 1] or ``std`` is negative.

    See Also
    --------
    skimage.util.random_noise : ``mode="gaussian"`` takes the variance.

    Examples
    --------
    >>> grey = np.full((100, 100), 0.5)
    >>> bool(abs(add_gaussian(grey, 0.1, rng=0).std() - 0.1) < 0.002)
    True
    """
    image = checks.image(image)
    std = checks.real(std, "std", minimum=0)
    return _add(image, checks.generator(rng).normal(0, std, image.shape), clip)


def add_uniform(image, half_width, *, rng, clip=False):
    r"""Add noise that is uniform on [-a, a], independent in every pixel and channel.

    The half-width a is not the standard deviation: that is :math:`a / \sqrt{3}`.

    Parameters
    ----------
    image : array_like
        Floating-point values in [0, 1], ``(height, width)`` or ``(height, width, channels)``.
    half_width : float
        The largest size a of the noise, at least 0, in units of the image.
    rng : numpy.random.Generator or int
        Where the randomness comes from; the same seed gives the same noise.
    clip : bool
        Whether to cut the result to [0, 1].

    Returns
    -------
    numpy.ndarray
        The shape and dtype of ``image``.

    Raises
    ------
    TypeError
        If the image holds integers, or ``half_width`` is no number.
    ValueError
        If the image leaves [0, 1] or ``half_width`` is negative.

    Examples
    --------
    >>> grey = np.full((100, 100), 0.5)
    >>> bool(abs(add_uniform(grey, 0.3, rng=0).std() - 0.3 / np.sqrt(3)) < 0.002)
    True
    """
    image = checks.image(image)
    half_width = checks.real(half_width, "half_width", minimum=0)
    return _add(image, checks.generator(rng).uniform(-half_width, half_width, image.shape), clip)


def _add(image, noise, clip):
    """Add in the image's own precision, and clip if asked."""
    noisy = image + noise.astype(image.dtype)
    return np.clip(noisy, 0, 1) if clip else noisy

"""Noise models: what disturbs a picture, with what law, and what that does to its range; and pictures of noise alone.

With x for the clean value of a pixel, what the functions below give has

======================= ============================ ==========================================
function                mean                         variance
======================= ============================ ==========================================
``add_gaussian``        x                            std²
``add_uniform``         x                            half_width² / 3
``add_salt_and_pepper`` (1 - amount) x + amount s    (1 - amount) x² + amount s - mean²
``add_poisson``         x                            x / photons
``add_speckle``         x                            std² x²
======================= ============================ ==========================================

where s is ``salt_share``, and nothing is clipped.
"""

import numpy as np

from imggen_lib import _validation as validate


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
    image = validate.image(image)
    std = validate.real(std, "std", minimum=0)
    return _add(image, np.random.default_rng(rng).normal(0, std, image.shape), clip)


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
    image = validate.image(image)
    half_width = validate.real(half_width, "half_width", minimum=0)
    return _add(image, np.random.default_rng(rng).uniform(-half_width, half_width, image.shape), clip)


def add_salt_and_pepper(image, amount, *, rng, salt_share=0.5):
    """Replace a random share of the values by white (salt) and black (pepper), independently in every pixel and channel.

    The result is a valid picture, so there is nothing to clip.

    Parameters
    ----------
    image : array_like
        Floating-point values in [0, 1], ``(height, width)`` or ``(height, width, channels)``.
    amount : float
        The probability, in [0, 1], that a value is replaced.
    rng : numpy.random.Generator or int
        Where the randomness comes from; the same seed gives the same noise.
    salt_share : float
        The probability, in [0, 1], that a replaced value becomes 1 and not 0.

    Returns
    -------
    numpy.ndarray
        The shape and dtype of ``image``.

    Raises
    ------
    TypeError
        If the image holds integers, or ``amount`` or ``salt_share`` is no number.
    ValueError
        If the image, ``amount`` or ``salt_share`` leaves [0, 1].

    See Also
    --------
    skimage.util.random_noise : ``mode="s&p"``, with ``salt_vs_pepper``.

    Examples
    --------
    >>> grey = np.full((100, 100), 0.5)
    >>> values, counts = np.unique(add_salt_and_pepper(grey, 0.1, rng=0), return_counts=True)
    >>> values.tolist(), bool(abs(counts[1] / grey.size - 0.9) < 0.01)
    ([0.0, 0.5, 1.0], True)
    """
    image = validate.image(image)
    amount = validate.real(amount, "amount", minimum=0, maximum=1)
    salt_share = validate.real(salt_share, "salt_share", minimum=0, maximum=1)
    # One number decides both: salt below amount * salt_share, pepper from there to amount, nothing above.
    chance = np.random.default_rng(rng).random(image.shape)
    noisy = image.copy()
    noisy[chance < amount] = 0
    noisy[chance < amount * salt_share] = 1
    return noisy


def add_poisson(image, photons, *, rng, clip=False):
    r"""Count photons: the noise of light itself, independent in every pixel and channel.

    A pixel of brightness x receives a random number k of photons with the mean :math:`\lambda = x N`, and shows k / N.

    .. math:: P(k) = \frac{\lambda^k}{k!} e^{-\lambda}

    Parameters
    ----------
    image : array_like
        Floating-point values in [0, 1], ``(height, width)`` or ``(height, width, channels)``.
    photons : float
        The mean number N of photons in a pixel of brightness 1, from 0.001 to 1e15. Fewer photons, more noise.
    rng : numpy.random.Generator or int
        Where the randomness comes from; the same seed gives the same noise.
    clip : bool
        Whether to cut the result to [0, 1]. Nothing falls below 0, and bright pixels rise above 1.

    Returns
    -------
    numpy.ndarray
        The shape and dtype of ``image``.

    Raises
    ------
    TypeError
        If the image holds integers, or ``photons`` is no number.
    ValueError
        If the image leaves [0, 1] or ``photons`` its range.

    See Also
    --------
    skimage.util.random_noise : ``mode="poisson"`` takes no number of photons; it counts the different values in the image
        and rounds their number up to a power of two.

    Examples
    --------
    >>> grey = np.full((100, 100), 0.5)
    >>> bool(abs(add_poisson(grey, 200, rng=0).std() - np.sqrt(0.5 / 200)) < 0.001)
    True
    """
    image = validate.image(image)
    photons = validate.real(photons, "photons", minimum=1e-3, maximum=1e15)
    # In double precision: float16 ends at 65504 photons.
    noisy = (np.random.default_rng(rng).poisson(image.astype(np.float64) * photons) / photons).astype(image.dtype)
    return np.clip(noisy, 0, 1) if clip else noisy


def add_speckle(image, std, *, rng, clip=False):
    r"""Add noise in proportion to the brightness: y = x (1 + e) with Gaussian e, independent in every pixel and channel.

    Radar, ultrasound and lasers show such noise after averaging several looks. (A single look multiplies by an
    exponentially distributed number, which has the mean 1 and the standard deviation 1.)

    Parameters
    ----------
    image : array_like
        Floating-point values in [0, 1], ``(height, width)`` or ``(height, width, channels)``.
    std : float
        The standard deviation of e, at least 0: the noise as a fraction of the brightness.
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
        If the image holds integers, or ``std`` is no number.
    ValueError
        If the image leaves [0, 1] or ``std`` is negative.

    See Also
    --------
    skimage.util.random_noise : ``mode="speckle"`` takes the variance.

    Examples
    --------
    >>> dark, bright = (add_speckle(np.full((100, 100), x), 0.2, rng=0) for x in (0.1, 0.8))
    >>> round(float(bright.std() / dark.std()), 6)
    8.0
    """
    image = validate.image(image)
    std = validate.real(std, "std", minimum=0)
    return _add(image, image * np.random.default_rng(rng).normal(0, std, image.shape), clip)


def white_noise(shape, *, rng):
    """Draw a picture of nothing but noise: an independent standard normal number for every pixel and channel.

    It has the mean 0 and the variance 1, so it is no image in [0, 1]; to see it, show ``0.5 + 0.2 * noise``, clipped.

    Parameters
    ----------
    shape : tuple of int
        ``(height, width)`` or ``(height, width, channels)``.
    rng : numpy.random.Generator or int
        Where the randomness comes from; the same seed gives the same noise.

    Returns
    -------
    numpy.ndarray
        float32 of that shape.

    Raises
    ------
    TypeError
        If the shape is no sequence of whole numbers.
    ValueError
        If it has another number of dimensions, or an empty one.

    Examples
    --------
    >>> snow = white_noise((100, 100), rng=0)
    >>> bool(abs(snow.mean()) < 0.03), bool(abs(snow.std() - 1) < 0.03)
    (True, True)
    """
    return np.random.default_rng(rng).standard_normal(_shape(shape), dtype=np.float32)


def power_law_noise(shape, exponent, *, rng):
    r"""Draw noise whose power falls with the frequency f like :math:`1 / f^a`: snow for a = 0, clouds for a = 2 to 3.

    White noise is taken apart into waves; each wave is multiplied by :math:`f^{-a/2}`, so that its power, the square, is
    multiplied by :math:`f^{-a}`. The mean, f = 0, is left out. Each channel is noise of its own. The picture wraps around:
    its left edge continues its right edge, and its top its bottom.

    Parameters
    ----------
    shape : tuple of int
        ``(height, width)`` or ``(height, width, channels)``, at least two pixels.
    exponent : float
        a, from -10 to 10: 0 is white, 1 is often called pink, 2 is near that of photographs, below 0 the fine is
        stronger than the coarse.
    rng : numpy.random.Generator or int
        Where the randomness comes from; the same seed gives the same noise.

    Returns
    -------
    numpy.ndarray
        float32 of that shape. Every channel is scaled to the mean 0 and the variance 1; to see it, show
        ``0.5 + 0.2 * noise``, clipped.

    Raises
    ------
    TypeError
        If the shape is no sequence of whole numbers, or the exponent no number.
    ValueError
        If the shape has another number of dimensions or fewer than two pixels, or the exponent leaves its range.

    Examples
    --------
    >>> clouds = power_law_noise((64, 64), 2.5, rng=0)
    >>> bool(abs(clouds.mean()) < 1e-6), round(float(clouds.std()), 5)
    (True, 1.0)
    """
    height, width, *channels = _shape(shape)
    exponent = validate.real(exponent, "exponent", minimum=-10, maximum=10)
    if height * width < 2:
        raise ValueError(f"shape is {tuple(shape)}; expected at least two pixels, since one has nothing to vary against")
    white = white_noise(shape, rng=rng).astype(np.float64)
    frequency = np.hypot(np.fft.fftfreq(height)[:, np.newaxis], np.fft.rfftfreq(width))
    frequency[0, 0] = 1  # the mean, which is left out below: any number whose power exists
    gain = frequency ** (-exponent / 2)
    gain[0, 0] = 0
    waves = np.fft.rfft2(white, axes=(0, 1)) * gain.reshape(*gain.shape, *(1 for _ in channels))
    noise = np.fft.irfft2(waves, s=(height, width), axes=(0, 1))
    return (noise / noise.std(axis=(0, 1))).astype(np.float32)


def _add(image, noise, clip):
    """Add in the image's own precision, into the array of the noise, and clip if asked."""
    noisy = noise.astype(image.dtype, copy=False)
    noisy += image
    return np.clip(noisy, 0, 1, out=noisy) if clip else noisy


def _shape(shape):
    """Return the shape of a picture, ``(height, width)`` or ``(height, width, channels)``, as a tuple of int."""
    if isinstance(shape, str) or not np.iterable(shape):
        raise TypeError(f"shape is {shape!r}; expected (height, width) or (height, width, channels)")
    sizes = tuple(validate.integer(size, "a size in shape") for size in shape)
    if len(sizes) not in (2, 3):
        raise ValueError(f"shape is {sizes}; expected (height, width) or (height, width, channels)")
    return sizes

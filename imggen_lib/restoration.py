r"""Damaged pictures, and a sampler that mends them with any diffusion model as its idea of what pictures are like.

A measurement is a linear map :math:`A`: it leaves out pixels, or averages blocks of them. Its pseudo-inverse :math:`A^+`
obeys :math:`A A^+ = I`, so a guessed picture g becomes one that fits what was measured, changed no more than needed, by

.. math:: g + A^+ (y - A g) .
"""

import itertools
import math

import numpy as np

from imggen_lib import _validation as validate


def scratches(shape, n, *, rng, width=1):
    """Draw scratches from one side of a picture to the opposite one, bent a little, where pixels are missing.

    Parameters
    ----------
    shape : tuple of int
        ``(height, width)``, each at least 2.
    n : int
        How many scratches; each runs downwards or across by the toss of a coin.
    rng : numpy.random.Generator or int
    width : int
        Pixels.

    Returns
    -------
    numpy.ndarray
        bool of that shape, True where a pixel is missing: a mask as scikit-image's inpainting takes it.

    Raises
    ------
    ValueError
        If a number is too small.

    Examples
    --------
    >>> scratches((28, 28), 3, rng=0).sum(axis=0).max() > 0
    np.True_
    """
    height, across = validate.pair(shape, "shape", minimum=2)
    missing, rng = np.zeros((height, across), bool), np.random.default_rng(rng)
    t, thick = np.linspace(0, 1, 4 * max(height, across)), np.arange(validate.integer(width, "width"))
    for _ in range(validate.integer(n, "n", minimum=0)):
        down = missing if rng.random() < 0.5 else missing.T
        begin, end, bend = rng.uniform((0, 0, -0.1), (1, 1, 0.1))
        place = (begin + (end - begin) * t + bend * np.sin(np.pi * t)) * (down.shape[1] - 1)
        columns = np.clip(np.rint(place).astype(int)[:, np.newaxis] + thick, 0, down.shape[1] - 1)
        down[np.rint(t * (down.shape[0] - 1)).astype(int)[:, np.newaxis], columns] = True
    return missing


def missing_blocks(shape, n, size, *, rng):
    """Place square holes at random; they may overlap.

    Parameters
    ----------
    shape : tuple of int
        ``(height, width)``.
    n, size : int
        How many squares, and the pixels on a side of each.
    rng : numpy.random.Generator or int

    Returns
    -------
    numpy.ndarray
        bool of that shape, True where a pixel is missing.

    Raises
    ------
    ValueError
        If a square does not fit into the picture.

    Examples
    --------
    >>> int(missing_blocks((28, 28), 1, 10, rng=0).sum())
    100
    """
    height, width = validate.pair(shape, "shape", minimum=2)
    if validate.integer(size, "size") > min(height, width):
        raise ValueError(f"size is {size} in a picture of {height}x{width}; expected at most {min(height, width)}")
    missing, rng = np.zeros((height, width), bool), np.random.default_rng(rng)
    for _ in range(validate.integer(n, "n", minimum=0)):
        top, left = rng.integers(height - size + 1), rng.integers(width - size + 1)
        missing[top : top + size, left : left + size] = True
    return missing


class Masked:
    """A measurement that misses pixels and sees all others as they are. Its pseudo-inverse writes 0 where it saw nothing.

    Parameters
    ----------
    missing : numpy.ndarray
        bool ``(height, width)``, or ``(n, height, width)`` with a mask for each picture.

    Raises
    ------
    TypeError, ValueError
        If it is no such array. The methods refuse pictures of another size.

    Examples
    --------
    >>> half = Masked(np.array([[True, False]]))
    >>> half.project(np.full((1, 1, 2, 1), 0.3), np.full((1, 1, 2, 1), 0.9)).ravel()
    array([0.9, 0.3])
    """

    #: By how much noise of what is measured is to be multiplied to be that of pixels.
    gain = 1

    def __init__(self, missing):
        missing = np.asarray(missing)
        if missing.dtype != bool:
            raise TypeError(f"missing has the dtype {missing.dtype}; expected bool, True where a pixel is missing")
        if missing.ndim not in (2, 3):
            raise ValueError(f"missing has the shape {missing.shape}; expected (height, width) or (n, height, width)")
        self.missing = missing[..., np.newaxis]

    def shape(self, measured):
        """Return the shape of the pictures that were measured."""
        expected = self.missing.shape if self.missing.ndim == 4 else (len(measured), *self.missing.shape)
        if measured.shape[:3] != expected[:3]:
            raise ValueError(
                f"the pictures have the shape {measured.shape} and the masks {self.missing.shape[:-1]}; expected one "
                "height and width, and one mask for all pictures or as many masks as pictures"
            )
        return measured.shape

    def measure(self, pictures):
        """Return the pictures ``(n, height, width, channels)`` with 0 where pixels are missing."""
        self.shape(pictures)
        return np.where(self.missing, 0, pictures)

    pseudo_inverse = measure  # the pseudo-inverse of leaving out

    def project(self, measured, pictures):
        """Return pictures whose seen pixels are as measured; what ``measured`` holds at missing places does not count."""
        self.shape(measured)
        return np.where(self.missing, pictures, measured)


class Downscaled:
    """A measurement that sees only the mean of each block of pixels. Its pseudo-inverse repeats pixels.

    Parameters
    ----------
    factor : int
        Pixels on a side of a block.

    Raises
    ------
    TypeError, ValueError
        If it is no whole number from 1. The methods refuse pictures whose sides it does not divide.

    Examples
    --------
    >>> Downscaled(2).measure(np.array([0.0, 0.25, 0.25, 0.5]).reshape(1, 2, 2, 1)).item()
    0.25
    """

    def __init__(self, factor):
        self.factor = self.gain = validate.integer(factor, "factor")

    def shape(self, measured):
        """Return the shape of the pictures that were measured."""
        n, height, width, channels = validate.real_array(measured, "measured", ndim=4).shape
        return n, height * self.factor, width * self.factor, channels

    def _blocks(self, pictures):
        n, height, width, channels = validate.real_array(pictures, "pictures", ndim=4).shape
        f = self.factor
        if height % f or width % f:
            raise ValueError(f"pictures of {height}x{width} are no multiple of the factor {f}: crop or pad them")
        return pictures.reshape(n, height // f, f, width // f, f, channels)

    def measure(self, pictures):
        """Return the means of the blocks, ``(n, height / factor, width / factor, channels)``."""
        return self._blocks(pictures).mean(axis=(2, 4))

    def pseudo_inverse(self, measured):
        """Return pictures each of whose blocks is even."""
        return measured.repeat(self.factor, axis=1).repeat(self.factor, axis=2)

    def project(self, measured, pictures):
        """Return pictures whose block means are as measured, with as much contrast in a block as [0, 1] has room for."""
        centre = self.pseudo_inverse(measured)
        detail = pictures - self.pseudo_inverse(self.measure(pictures))
        room = np.where(detail > 0, 1 - centre, centre) / np.maximum(np.abs(detail), 1e-9)
        return centre + detail * self.spread(np.clip(self._blocks(room).min(axis=(2, 4)), 0, 1))


def denoiser(model, *, labels=None, guidance_scale=1.0):
    r"""Turn a diffusion model into a function that guesses the clean picture: :math:`\cos\varphi\,x - \sin\varphi\,v`.

    Parameters
    ----------
    model : imggen_lib.models.Diffusion
        Or anything that has its ``predict_velocity``.
    labels, guidance
        As that method takes them.

    Returns
    -------
    callable
        As :func:`restore` takes it.

    Examples
    --------
    >>> class Nothing:
    ...     def predict_velocity(self, pictures, angle, labels, guidance):
    ...         return 0 * pictures
    >>> denoiser(Nothing())(np.ones(2), 0.0)
    array([1., 1.])
    """

    def denoise(pictures, angle):
        v = model.predict_velocity(pictures, angle, labels, guidance)
        return math.cos(angle) * pictures - math.sin(angle) * v

    return denoise


def restore(
    denoise, measured, operator, *, seed, steps=20, repeats=1, eta=1.0, std=0.0, start=0.5, first_angle=math.pi / 2
):
    r"""Draw pictures that fit what was measured, with a denoiser as the idea of what pictures are like.

    From noise down to the angle 0, as :class:`imggen_lib.models.diffusion.model.Diffusion` draws, but in every step the measured
    part of the guessed picture is replaced by what was measured. The unmeasured part hears of it through the denoiser, in
    the next step. This is not quite the law of pictures given the measurement; more ``repeats`` at each angle come closer
    to it.

    Parameters
    ----------
    denoise : callable
        From noisy pictures :math:`\cos\varphi\,x + \sin\varphi\,\varepsilon` (float32, data in [-1, 1]) and the angle to
        guesses of x. See :func:`denoiser`.
    measured : array_like
        What the operator has left, ``(n, height, width, channels)`` in [0, 1]; each picture is drawn once.
    operator : Masked or Downscaled
        Or whatever has their methods.
    seed : int
    steps : int
        Equal steps of the angle; with noise in what was measured, steps of that length lead on from its angle to 0.
    repeats : int
        How often each step is done, with noise to take it back in between.
    eta : float
        As in :meth:`imggen_lib.models.diffusion.model.Diffusion.sample`: share of the noise that is drawn anew in a step.
    std : float
        Standard deviation of Gaussian noise in what was measured (then it need not lie in [0, 1]). It counts as part of
        the noise at large angles; from where the picture is no noisier than the measurement, both are denoised freely.
    start : array_like
        Pictures to start from, or a grey; they matter if ``first_angle`` is small.
    first_angle : float
        Where to start, at most pi/2.

    Returns
    -------
    numpy.ndarray
        float32 ``(n, height, width, channels)`` in [0, 1]; without noise it fits what was measured exactly.

    Raises
    ------
    ValueError
        If shapes do not fit each other, or a number is out of range.

    References
    ----------
    Wang, Yu and Zhang, "Zero-shot image restoration using denoising diffusion null-space model", ICLR 2023. Lugmayr et al.,
    "RePaint: inpainting using denoising diffusion probabilistic models", CVPR 2022, for the repeats.

    Examples
    --------
    >>> half = Masked(np.array([[True, False]]))
    >>> restore(lambda x, angle: 0 * x, np.full((1, 1, 2, 1), 0.75), half, seed=0).ravel()
    array([0.5 , 0.75], dtype=float32)
    """
    steps, repeats = validate.integer(steps, "steps"), validate.integer(repeats, "repeats")
    eta = validate.real(eta, "eta", minimum=0, maximum=1)
    blur = 2 * operator.gain * validate.real(std, "std", minimum=0)
    first_angle, last = validate.real(first_angle, "first_angle", maximum=math.pi / 2), math.atan(blur)
    if first_angle <= last:
        raise ValueError(f"first_angle is {first_angle:g}; expected more than {last:.3g}, the noise of what was measured")
    measured = validate.real_array(measured, "measured", ndim=4) if std else validate.image(measured, "measured", ndim=4)
    measured, rng = measured.astype(np.float32), np.random.default_rng(validate.integer(seed, "seed", minimum=0))
    shape = operator.shape(measured)
    angles = np.linspace(first_angle, last, steps + 1).tolist()
    angles += np.linspace(last, 0, 1 + math.ceil(last / (angles[0] - angles[1]))).tolist()[1:]

    def draw():
        return rng.standard_normal(shape, dtype=np.float32)

    def seen(angle, held):
        """How much noise the measured part needs at an angle, beyond what the measurement brought along."""
        return math.sqrt(max(math.sin(angle) ** 2 - (math.cos(angle) * blur) ** 2, 0)) if held and std else math.sin(angle)

    def scale(noise, by, seen_by):
        """Multiply noise by one number, and its measured part by another."""
        return by * noise + (0 if seen_by == by else (seen_by - by) * operator.pseudo_inverse(operator.measure(noise)))

    try:
        start = np.broadcast_to(np.asarray(start, np.float32), shape)
    except ValueError:
        raise ValueError(f"start has the shape {np.shape(start)}; expected a number or pictures of {shape}") from None
    picture = operator.project(measured, validate.real_array(start, "start", ndim=4))
    x = math.cos(first_angle) * (2 * picture - 1) + scale(draw(), math.sin(first_angle), seen(first_angle, True))
    for now, then in itertools.pairwise(angles):
        held, back = then >= last, math.cos(now) / math.cos(then)
        # Held noise is random from the beginning; set free, only fresh noise gives the picture a choice.
        fresh = (eta if held else 1) * min(math.sqrt(max(1 - back**2, 0)) / math.sin(now), 1)
        for left in reversed(range(repeats if held else 1)):
            guess = np.asarray(denoise(x, now), np.float32)
            if guess.shape != shape:
                raise ValueError(f"the denoiser made {guess.shape} of pictures of {shape}; expected the same shape")
            picture = (np.clip(guess, -1, 1) + 1) / 2
            if held:
                picture = operator.project(measured, picture)
            noise = scale(x - math.cos(now) * (2 * picture - 1), 1 / math.sin(now), 1 / seen(now, held))
            noise = math.sqrt(1 - fresh**2) * noise + fresh * draw()
            x = math.cos(then) * (2 * picture - 1) + scale(noise, math.sin(then), seen(then, held))
            if left:
                x = back * x + math.sqrt(1 - back**2) * draw()
    picture = np.clip((x + 1) / 2, 0, 1)
    return picture if std else operator.project(measured, picture).astype(np.float32)

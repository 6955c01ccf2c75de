r"""Inverse problems with a diffusion model as prior: degradation operators, and samples that fit a measurement.

A degradation is a linear operator :math:`A`: it drops pixels, or averages blocks of them. Its pseudo-inverse :math:`A^+`
satisfies :math:`A A^+ = I`, so an estimate g is projected onto the images that fit the measurement y, with the smallest
change, by

.. math:: g + A^+ (y - A g) .

The steps of the sampler are in :mod:`imggen_lib.models.diffusion.posterior`, and its noise schedule is that of
:mod:`imggen_lib.models.diffusion.schedule`. Both are imported when :func:`denoiser` or :func:`restore` is called, because
the package of models imports Keras, which masks and operators do not need.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate

__all__ = ["DegradationOperator", "Denoiser", "Downscaled", "Masked", "denoiser", "missing_blocks", "restore", "scratches"]

#: A function from noisy images, float32, and their angle to estimates of the clean images, in [-1, 1].
Denoiser: TypeAlias = Callable[[NDArray[np.float32], float], NDArray[Any]]


def scratches(shape: Sequence[int], n: int, *, rng: np.random.Generator | int, width: int = 1) -> NDArray[np.bool_]:
    """Return a mask of random, slightly curved scratches from one side of an image to the opposite one.

    Parameters
    ----------
    shape : tuple of int
        ``(height, width)``, each at least 2.
    n : int
        Number of scratches; each is vertical or horizontal with probability 1/2.
    rng : numpy.random.Generator or int
    width : int
        Of a scratch, in pixels.

    Returns
    -------
    numpy.ndarray
        bool ``(height, width)``, True where a pixel is missing, as in scikit-image's inpainting.

    Raises
    ------
    ValueError
        If a number is too small.

    Examples
    --------
    A scratch crosses the whole image, so it has pixels in every row or in every column:

    >>> mask = scratches((28, 28), 1, rng=0)
    >>> bool(mask.any(axis=0).all() or mask.any(axis=1).all())
    True
    """
    height, across = validate.pair(shape, "shape", minimum=2)
    missing, rng = np.zeros((height, across), bool), np.random.default_rng(rng)
    t, offsets = np.linspace(0, 1, 4 * max(height, across)), np.arange(validate.integer(width, "width"))
    for _ in range(validate.integer(n, "n", minimum=0)):
        canvas = missing if rng.random() < 0.5 else missing.T
        begin, end, bend = rng.uniform((0, 0, -0.1), (1, 1, 0.1))
        position = (begin + (end - begin) * t + bend * np.sin(np.pi * t)) * (canvas.shape[1] - 1)
        columns = np.clip(np.rint(position).astype(int)[:, np.newaxis] + offsets, 0, canvas.shape[1] - 1)
        canvas[np.rint(t * (canvas.shape[0] - 1)).astype(int)[:, np.newaxis], columns] = True
    return missing


def missing_blocks(shape: Sequence[int], n: int, size: int, *, rng: np.random.Generator | int) -> NDArray[np.bool_]:
    """Return a mask of square holes at random positions; they may overlap.

    Parameters
    ----------
    shape : tuple of int
        ``(height, width)``, each at least 2.
    n : int
        Number of holes.
    size : int
        Side of a hole in pixels.
    rng : numpy.random.Generator or int

    Returns
    -------
    numpy.ndarray
        bool ``(height, width)``, True where a pixel is missing.

    Raises
    ------
    ValueError
        If a hole does not fit into the image.

    Examples
    --------
    >>> int(missing_blocks((28, 28), 1, 10, rng=0).sum())
    100
    """
    height, width = validate.pair(shape, "shape", minimum=2)
    if validate.integer(size, "size") > min(height, width):
        raise ValueError(f"size is {size} in an image of {height}x{width}; expected at most {min(height, width)}")
    missing, rng = np.zeros((height, width), bool), np.random.default_rng(rng)
    for _ in range(validate.integer(n, "n", minimum=0)):
        top, left = rng.integers(height - size + 1), rng.integers(width - size + 1)
        missing[top : top + size, left : left + size] = True
    return missing


class DegradationOperator(Protocol):
    """The interface of a linear degradation A, as :func:`restore` uses it. The non-zero singular values of A are equal.

    Attributes
    ----------
    gain : int
        The reciprocal of A's singular value: noise with standard deviation s in a measurement corresponds to noise with
        standard deviation ``gain * s`` in the pixels.
    """

    gain: int

    def images_shape(self, measured: NDArray[Any]) -> tuple[int, ...]:
        """Return the shape ``(n, height, width, channels)`` of the images whose measurement is ``measured``."""
        ...

    def measure(self, images: NDArray[Any]) -> NDArray[Any]:
        """Apply A to images ``(n, height, width, channels)``."""
        ...

    def pseudo_inverse(self, measured: NDArray[Any]) -> NDArray[Any]:
        """Apply the pseudo-inverse of A to measurements."""
        ...

    def project(self, measured: NDArray[Any], images: NDArray[Any]) -> NDArray[Any]:
        """Return images close to ``images`` whose measurement is ``measured``."""
        ...


class Masked:
    """The degradation operator of inpainting: missing pixels are set to 0, all others stay as they are.

    Parameters
    ----------
    missing : numpy.ndarray
        bool ``(height, width)``, or ``(n, height, width)`` with a mask for each image; True where a pixel is missing.

    Raises
    ------
    TypeError
        If ``missing`` is not boolean.
    ValueError
        If the number of dimensions is wrong. The methods raise it for images whose shape does not fit the masks.

    Examples
    --------
    Projection sets the known pixels to the measured values, and keeps the estimate elsewhere:

    >>> left_is_missing = Masked(np.array([[True, False]]))
    >>> left_is_missing.project(np.full((1, 1, 2, 1), 0.3), np.full((1, 1, 2, 1), 0.9)).ravel()
    array([0.9, 0.3])
    """

    gain = 1

    def __init__(self, missing: NDArray[np.bool_]) -> None:
        missing = np.asarray(missing)
        if missing.dtype != bool:
            raise TypeError(f"missing has the dtype {missing.dtype}; expected bool, True where a pixel is missing")
        if missing.ndim not in (2, 3):
            raise ValueError(f"missing has the shape {missing.shape}; expected (height, width) or (n, height, width)")
        self.missing: NDArray[np.bool_] = missing[..., np.newaxis]

    def images_shape(self, measured: NDArray[Any]) -> tuple[int, ...]:
        """Return the shape of the images, which is that of the measurement."""
        expected = self.missing.shape if self.missing.ndim == 4 else (len(measured), *self.missing.shape)
        if measured.shape[:3] != expected[:3]:
            raise ValueError(
                f"the images have the shape {measured.shape} and the masks {self.missing.shape[:-1]}; expected the same "
                "height and width, and one mask for all images or as many masks as images"
            )
        return measured.shape

    def measure(self, images: NDArray[Any]) -> NDArray[Any]:
        """Return the images ``(n, height, width, channels)`` with 0 where pixels are missing."""
        self.images_shape(images)
        return np.where(self.missing, 0, images)

    def pseudo_inverse(self, measured: NDArray[Any]) -> NDArray[Any]:
        """Return the measurement with 0 where pixels are missing: the operator is its own pseudo-inverse."""
        return self.measure(measured)

    def project(self, measured: NDArray[Any], images: NDArray[Any]) -> NDArray[Any]:
        """Return the images with the known pixels of ``measured``, whose values at missing pixels are ignored."""
        self.images_shape(measured)
        return np.where(self.missing, images, measured)


class Downscaled:
    """The degradation operator of super-resolution: each block of pixels is replaced by its mean.

    Parameters
    ----------
    factor : int
        Side of a block in pixels.

    Raises
    ------
    TypeError, ValueError
        If ``factor`` is not an integer of at least 1. The methods raise ValueError for images whose height or width is not
        divisible by it.

    Examples
    --------
    >>> half = Downscaled(2)
    >>> image = np.array([0.0, 0.25, 0.25, 0.5]).reshape(1, 2, 2, 1)
    >>> half.measure(image).item(), half.pseudo_inverse(half.measure(image)).ravel()
    (0.25, array([0.25, 0.25, 0.25, 0.25]))
    """

    def __init__(self, factor: int) -> None:
        self.factor: int = validate.integer(factor, "factor")
        self.gain: int = self.factor

    def images_shape(self, measured: NDArray[Any]) -> tuple[int, ...]:
        """Return the shape of the images: height and width are those of the measurement times ``factor``."""
        n, height, width, channels = validate.real_array(measured, "measured", ndim=4).shape
        return n, height * self.factor, width * self.factor, channels

    def _blocks(self, images: NDArray[Any]) -> NDArray[Any]:
        """Return a view of shape ``(n, rows, factor, columns, factor, channels)``."""
        n, height, width, channels = validate.real_array(images, "images", ndim=4).shape
        f = self.factor
        if height % f or width % f:
            raise ValueError(f"the images are {height}x{width}, which is not divisible by the factor {f}: crop or pad them")
        return images.reshape(n, height // f, f, width // f, f, channels)

    def measure(self, images: NDArray[Any]) -> NDArray[Any]:
        """Return the means of the blocks, ``(n, height / factor, width / factor, channels)``."""
        return self._blocks(images).mean(axis=(2, 4))

    def pseudo_inverse(self, measured: NDArray[Any]) -> NDArray[Any]:
        """Return images of constant blocks: each pixel of the measurement is repeated."""
        return measured.repeat(self.factor, axis=1).repeat(self.factor, axis=2)

    def project(self, measured: NDArray[Any], images: NDArray[Any]) -> NDArray[Any]:
        """Return images with the measured block means. The contrast of a block is reduced where it would leave [0, 1]."""
        mean = self.pseudo_inverse(measured)
        detail = images - self.pseudo_inverse(self.measure(images))
        room = np.where(detail > 0, 1 - mean, mean) / np.maximum(np.abs(detail), 1e-9)
        contrast = np.clip(self._blocks(room).min(axis=(2, 4)), 0, 1)
        return mean + detail * self.pseudo_inverse(contrast)


def denoiser(model: Any, *, labels: ArrayLike | None = None, guidance_scale: float = 1.0) -> Denoiser:
    """Return the function from noisy images and an angle to a diffusion model's estimate of the clean images.

    Parameters
    ----------
    model : imggen_lib.models.Diffusion
        Or any object with its ``predict_velocity``.
    labels, guidance_scale
        As in :meth:`imggen_lib.models.diffusion.model.Diffusion.predict_velocity`.

    Returns
    -------
    callable
        As :func:`restore` takes it.

    Examples
    --------
    A model that predicts the exact velocity of images with the value 0.25 gives a denoiser that returns them:

    >>> from imggen_lib.models.diffusion import schedule
    >>> class Exact:
    ...     def predict_velocity(self, noisy, angle, *, labels, guidance_scale):
    ...         return schedule.velocity(0.25, schedule.to_noise(noisy, 0.25, angle), angle)
    >>> denoiser(Exact())(np.array([-1.0, 2.0]), 0.7)
    array([0.25, 0.25])
    """
    from imggen_lib.models.diffusion import schedule

    def denoise(noisy: NDArray[np.float32], angle: float) -> NDArray[Any]:
        velocity = model.predict_velocity(noisy, angle, labels=labels, guidance_scale=guidance_scale)
        return schedule.to_clean(noisy, velocity, angle)

    return denoise


def restore(
    denoise: Denoiser,
    measured: ArrayLike,
    operator: DegradationOperator,
    *,
    seed: int,
    steps: int = 20,
    resampling_steps: int = 1,
    eta: float = 1.0,
    noise_std: float = 0.0,
    initial_images: ArrayLike = 0.5,
    start_angle: float = math.pi / 2,
) -> NDArray[np.float32]:
    """Sample images that fit a measurement, with a denoiser as prior.

    The sampler is that of :meth:`imggen_lib.models.diffusion.model.Diffusion.sample` with one addition: in every step, the
    estimate of the clean images is projected onto the images that fit the measurement. The denoiser adapts the other pixels
    in the next step. The result is not exactly a sample of the posterior; with more ``resampling_steps`` it comes closer.

    Parameters
    ----------
    denoise : callable
        From noisy images, float32, and their angle to estimates of the clean images, in [-1, 1]. See :func:`denoiser`.
    measured : array_like
        Measurements ``(n, height, width, channels)`` in [0, 1]; one image is sampled for each.
    operator : DegradationOperator
        :class:`Masked`, :class:`Downscaled`, or another operator with their methods.
    seed : int
    steps : int
        Equal steps of the angle. With measurement noise, these lead to the angle of that noise, and as many further steps
        of at most the same length as needed lead to 0.
    resampling_steps : int
        How often each step is repeated. Between two repetitions, a step of the forward process adds the noise back.
    eta : float
        Stochasticity, in [0, 1], as in :meth:`imggen_lib.models.diffusion.model.Diffusion.sample`.
    noise_std : float
        Standard deviation of Gaussian noise in the measurement, which then may leave [0, 1]. It counts as part of the
        sampler's noise; from the angle at which the two are equal, the images are denoised without projection.
    initial_images : array_like
        Images in [0, 1] that are mixed with the initial noise, or one grey value. Relevant if ``start_angle`` is small.
    start_angle : float
        Angle of the first step, at most pi/2.

    Returns
    -------
    numpy.ndarray
        float32 ``(n, height, width, channels)`` in [0, 1]. Without measurement noise they fit the measurement exactly.

    Raises
    ------
    ValueError
        If shapes do not fit each other, or a number is out of range.

    References
    ----------
    Wang, Yu and Zhang, "Zero-shot image restoration using denoising diffusion null-space model", ICLR 2023. Lugmayr et al.,
    "RePaint: inpainting using denoising diffusion probabilistic models", CVPR 2022, for resampling. Chung, Sim and Ye,
    "Come-closer-diffuse-faster", CVPR 2022, for starting from initial images.

    Examples
    --------
    The denoiser predicts mid-grey, and the right pixel is measured:

    >>> left_is_missing = Masked(np.array([[True, False]]))
    >>> restore(lambda noisy, angle: 0 * noisy, np.full((1, 1, 2, 1), 0.75), left_is_missing, seed=0).ravel()
    array([0.5 , 0.75], dtype=float32)
    """
    from imggen_lib.models.diffusion.posterior import PosteriorSampler

    steps, resampling_steps = validate.integer(steps, "steps"), validate.integer(resampling_steps, "resampling_steps")
    eta = validate.real(eta, "eta", minimum=0, maximum=1)
    noise_std = validate.real(noise_std, "noise_std", minimum=0)
    rng = np.random.default_rng(validate.integer(seed, "seed", minimum=0))
    # The factor 2 is that from the scale [0, 1] of the measurement to the scale [-1, 1] of the noise schedule.
    measurement_angle = math.atan(2 * operator.gain * noise_std)
    start_angle = validate.real(start_angle, "start_angle", maximum=math.pi / 2)
    if start_angle <= measurement_angle:
        raise ValueError(
            f"start_angle is {start_angle:g}; expected more than {measurement_angle:.3g}, at which the sampler's noise is "
            f"that of the measurement (noise_std={noise_std:g})"
        )
    check = validate.real_array if noise_std else validate.image
    measurement = check(measured, "measured", ndim=4).astype(np.float32)
    shape = operator.images_shape(measurement)
    try:
        initial = np.broadcast_to(np.asarray(initial_images, np.float32), shape)
    except ValueError:
        raise ValueError(
            f"initial_images has the shape {np.shape(initial_images)}; expected a number or images of the shape {shape}"
        ) from None
    initial = validate.real_array(initial, "initial_images", ndim=4)
    sampler = PosteriorSampler(denoise, measurement, operator, measurement_angle=measurement_angle, eta=eta, rng=rng)
    images = sampler.sample(initial, start_angle, steps=steps, resampling_steps=resampling_steps)
    return images if noise_std else operator.project(measurement, images).astype(np.float32)

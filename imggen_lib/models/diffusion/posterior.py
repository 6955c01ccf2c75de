r"""Sampler of images that fit a measurement, with a denoiser as prior: the steps of :func:`imggen_lib.restoration.restore`.

Each step is that of an unconditional sampler with one addition: the estimate of the clean images is projected onto the
images that fit the measurement (Wang, Yu and Zhang, "Zero-shot image restoration using denoising diffusion null-space
model", ICLR 2023). Resampling repeats a step after a step of the forward process (Lugmayr et al., "RePaint: inpainting
using denoising diffusion probabilistic models", CVPR 2022).

Noise in the measurement is a part of the projected images. In the pixels it has the standard deviation
:math:`\tan\varphi_m`, where :math:`\varphi_m` is the *measurement angle*. At a larger angle :math:`\varphi` the projected
images contain noise of the variance :math:`\cos^2\varphi \tan^2\varphi_m`, so the sampler adds only what is missing to
:math:`\sin^2\varphi`. From :math:`\varphi_m` down to 0 the images are denoised without projection.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imggen_lib.models.diffusion import schedule

if TYPE_CHECKING:
    from imggen_lib.restoration import DegradationOperator, Denoiser

__all__ = ["PosteriorSampler"]


@dataclasses.dataclass(frozen=True)
class PosteriorSampler:
    """The steps of a sampler that fits a measurement. :func:`imggen_lib.restoration.restore` validates its arguments.

    Images are in [0, 1] in the measurement and for the operator, and in [-1, 1] for the denoiser and the noise schedule.

    Attributes
    ----------
    denoise : callable
        From noisy images and their angle to estimates of the clean images.
    measured : numpy.ndarray
        float32 ``(n, height, width, channels)``.
    operator : imggen_lib.restoration.DegradationOperator
    measurement_angle : float
        Angle whose noise is that of the measurement; 0 if the measurement is exact.
    eta : float
        Stochasticity of the projected steps.
    rng : numpy.random.Generator

    Examples
    --------
    One projected step from pure noise to angle 0, with an exact measurement, gives images that fit it:

    >>> from imggen_lib.restoration import Downscaled
    >>> sampler = PosteriorSampler(
    ...     denoise=lambda noisy, angle: 0 * noisy,
    ...     measured=np.full((1, 1, 1, 1), 0.25, np.float32),
    ...     operator=Downscaled(2),
    ...     measurement_angle=0.0,
    ...     eta=1.0,
    ...     rng=np.random.default_rng(0),
    ... )
    >>> sampler.sample(np.full((1, 2, 2, 1), 0.5, np.float32), math.pi / 2, steps=1, resampling_steps=1).ravel()
    array([0.25, 0.25, 0.25, 0.25], dtype=float32)
    """

    denoise: Denoiser
    measured: NDArray[np.float32]
    operator: DegradationOperator
    measurement_angle: float
    eta: float
    rng: np.random.Generator

    def sample(
        self, initial_images: NDArray[np.float32], start_angle: float, *, steps: int, resampling_steps: int
    ) -> NDArray[np.float32]:
        """Return images in [0, 1]: from initial images at ``start_angle``, step by step down to the angle 0.

        Parameters
        ----------
        initial_images : numpy.ndarray
            float32 ``(n, height, width, channels)`` in [0, 1].
        start_angle : float
            Larger than ``measurement_angle``.
        steps : int
            Equal steps down to ``measurement_angle``. As many further steps of at most that length as needed lead to 0.
        resampling_steps : int
            How often each projected step is taken.
        """
        noisy = self._mix(self._project(initial_images), self._new_noise(initial_images.shape), start_angle)
        angles = schedule.angle_grid(steps, start_angle, self.measurement_angle)
        for angle, next_angle in itertools.pairwise(angles):
            for resampling in range(resampling_steps):
                if resampling:
                    noisy = schedule.forward_step(noisy, self._new_noise(noisy.shape), next_angle, angle)
                noisy = self._projected_step(noisy, angle, next_angle)
        free_steps = math.ceil(self.measurement_angle / (angles[0] - angles[1]))
        for angle, next_angle in itertools.pairwise(schedule.angle_grid(free_steps, self.measurement_angle)):
            noisy = self._free_step(noisy, angle, next_angle)
        return np.clip((noisy + 1) / 2, 0, 1)

    def _projected_step(self, noisy: NDArray[np.float32], angle: float, next_angle: float) -> NDArray[np.float32]:
        clean = self._project((self._estimate(noisy, angle) + 1) / 2)
        added = schedule.to_noise(noisy, clean, angle)
        noise = self._scale_in_range(added, 1 / self._added_std(angle))
        noise = schedule.renew_noise(noise, self._new_noise(noisy.shape), angle, next_angle, self.eta)
        return self._mix(clean, noise, next_angle)

    def _free_step(self, noisy: NDArray[np.float32], angle: float, next_angle: float) -> NDArray[np.float32]:
        # The noise is that of the measurement, the same in every sample: without new noise the samples would not vary.
        clean = self._estimate(noisy, angle)
        noise = schedule.to_noise(noisy, clean, angle)
        return schedule.step(clean, noise, angle, next_angle, eta=1.0, new_noise=self._new_noise(noisy.shape))

    def _estimate(self, noisy: NDArray[np.float32], angle: float) -> NDArray[np.float32]:
        """Return the denoiser's estimate of the clean images, clipped to [-1, 1]."""
        estimate = np.asarray(self.denoise(noisy, angle), np.float32)
        if estimate.shape != noisy.shape:
            raise ValueError(
                f"the denoiser returned the shape {estimate.shape} for images of the shape {noisy.shape}; expected the same"
            )
        return np.clip(estimate, -1, 1)

    def _project(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Project images in [0, 1] onto those that fit the measurement, and rescale them to [-1, 1]."""
        return 2 * self.operator.project(self.measured, images) - 1

    def _mix(self, clean: NDArray[np.float32], noise: NDArray[np.float32], angle: float) -> NDArray[np.float32]:
        """Mix projected images and standard Gaussian noise, so that the whole noise has the level of the angle."""
        return schedule.mix(clean, self._scale_in_range(noise, self._added_std(angle)), angle)

    def _added_std(self, angle: float) -> float:
        """Return the noise standard deviation that is added in the measured part, relative to the rest."""
        ratio = math.tan(self.measurement_angle) / math.tan(angle) if self.measurement_angle else 0.0
        return math.sqrt(max(1 - ratio**2, 0))

    def _scale_in_range(self, noise: NDArray[Any], factor: float) -> NDArray[Any]:
        """Multiply the component of the noise in the range of the pseudo-inverse, which is the measured part."""
        if factor == 1:
            return noise
        return noise + (factor - 1) * self.operator.pseudo_inverse(self.operator.measure(noise))

    def _new_noise(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        return self.rng.standard_normal(shape, dtype=np.float32)

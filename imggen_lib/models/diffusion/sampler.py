"""Sampler of diffusion models: from noise to images in a few steps, with any function that predicts the velocity."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imggen_lib import _validation as validate
from imggen_lib.models.diffusion import schedule

__all__ = ["reverse_diffusion"]


def reverse_diffusion(
    predict_velocity: Callable[[NDArray[np.float32], float], NDArray[Any]],
    noise: NDArray[Any],
    *,
    rng: np.random.Generator,
    steps: int,
    eta: float = 0.0,
    order: int = 2,
    bound: float = 1.0,
) -> NDArray[np.float32]:
    """Take noise at the angle pi/2 to images at the angle 0, in equal steps of the angle.

    In each step the network's velocity gives an estimate of the clean images, which is clipped to the range of the data.
    The noise is what remains, and :func:`imggen_lib.models.diffusion.schedule.step` mixes the two at the next angle.

    Parameters
    ----------
    predict_velocity : callable
        From noisy images and the angle to velocities.
    noise : numpy.ndarray
        Standard Gaussian noise: ``(n, height, width, channels)`` for images, or an array of another number of axes.
    rng : numpy.random.Generator
        Of the new noise if ``eta`` is positive.
    steps, eta, order
        As in :meth:`imggen_lib.models.diffusion.model.Diffusion.sample`.
    bound : float
        The clean data are in [-bound, bound]; infinity for data without a bound.

    Returns
    -------
    numpy.ndarray
        float32, of the shape of ``noise``, in [-bound, bound].

    Raises
    ------
    ValueError
        If ``steps``, ``eta`` or ``order`` is out of range.

    References
    ----------
    Song, Meng and Ermon, "Denoising diffusion implicit models", ICLR 2021. Lu et al., "DPM-Solver++: fast solver for guided
    sampling of diffusion probabilistic models", Machine Intelligence Research 22, 2025.

    Examples
    --------
    If every clean image is grey with the value 0.25, the exact velocity is known, and one step is enough:

    >>> def exact(noisy, angle):
    ...     return schedule.velocity(0.25, schedule.to_noise(noisy, 0.25, angle), angle)
    >>> rng = np.random.default_rng(0)
    >>> reverse_diffusion(exact, rng.standard_normal((1, 1, 3, 1)), rng=rng, steps=1).ravel()
    array([0.25, 0.25, 0.25], dtype=float32)
    """
    steps = validate.integer(steps, "steps")
    eta = validate.real(eta, "eta", minimum=0, maximum=1)
    order = validate.choice(order, "order", (1, 2))
    noisy, previous = noise.astype(np.float32), None
    angles = schedule.angle_grid(steps)
    for k, (angle, next_angle) in enumerate(itertools.pairwise(angles)):
        predicted = np.clip(schedule.to_clean(noisy, predict_velocity(noisy, angle), angle), -bound, bound)
        # Extrapolation is for the deterministic equation, and its log-SNR is infinite at the ends of the grid.
        if order == 2 and eta == 0 and 2 <= k < steps - 1:
            clean = schedule.extrapolate(predicted, previous, angles[k - 1], angle, next_angle)
        else:
            clean = predicted
        previous = predicted
        remaining = schedule.to_noise(noisy, clean, angle)
        new_noise = rng.standard_normal(noisy.shape) if eta else None
        noisy = schedule.step(clean, remaining, angle, next_angle, eta=eta, new_noise=new_noise).astype(np.float32)
    return noisy

"""Procedural textures: images computed from a rule and random numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imggen_lib import _validation as validate

__all__ = ["gradient_noise"]


def gradient_noise(
    shape: Sequence[int], cells: Sequence[int], *, rng: np.random.Generator | int, octaves: int = 1
) -> NDArray[np.float64]:
    """Return gradient noise (Perlin noise): a smooth random function that is 0 at the points of a lattice.

    Each lattice point has a random unit gradient. Between the points, the four linear functions of the nearest points are
    interpolated with a fifth-degree polynomial.

    Parameters
    ----------
    shape : tuple of int
        ``(height, width)`` of the image.
    cells : tuple of int
        Number of lattice cells along each axis. The noise is periodic: it can be tiled without a seam.
    rng : numpy.random.Generator or int
    octaves : int
        Number of noises that are added. Each has half the amplitude and twice the frequency of the previous one.

    Returns
    -------
    numpy.ndarray
        ``(height, width)``. One octave has absolute values of at most ``sqrt(1/2)``.

    Raises
    ------
    TypeError
        If a number is not an integer, or a pair is not a sequence.
    ValueError
        If a number is smaller than 1, or a pair does not have two numbers.

    References
    ----------
    K. Perlin, "An image synthesizer", SIGGRAPH 1985; the polynomial is that of "Improving noise", SIGGRAPH 2002.

    Examples
    --------
    Eight columns and two cells: the lattice points are columns 0 and 4.

    >>> gradient_noise((1, 8), (1, 2), rng=0).round(2)
    array([[ 0.  , -0.14, -0.13, -0.02,  0.  ,  0.02,  0.13,  0.14]])
    """
    height, width = validate.pair(shape, "shape")
    cell_rows, cell_columns = validate.pair(cells, "cells")
    rng = np.random.default_rng(rng)
    total = np.zeros((height, width))
    for octave in range(validate.integer(octaves, "octaves")):
        angles = rng.uniform(0, 2 * np.pi, (cell_rows * 2**octave, cell_columns * 2**octave))
        total += _interpolated_gradients(height, width, angles) / 2**octave
    return total


def _interpolated_gradients(height: int, width: int, angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return one octave of gradient noise, given the directions of the gradients at the lattice points."""
    n, m = angles.shape
    y, x = np.arange(height)[:, np.newaxis] * n / height, np.arange(width) * m / width
    i, j = y.astype(int), x.astype(int)

    def ramp(a: int, b: int) -> NDArray[np.float64]:
        """Evaluate the linear function of the lattice point (i + a, j + b)."""
        angle = angles[(i + a) % n, (j + b) % m]
        return np.cos(angle) * (x - j - b) + np.sin(angle) * (y - i - a)

    fade_y, fade_x = (t**3 * (6 * t**2 - 15 * t + 10) for t in (y - i, x - j))
    top, bottom = (ramp(a, 0) + fade_x * (ramp(a, 1) - ramp(a, 0)) for a in (0, 1))
    return top + fade_y * (bottom - top)

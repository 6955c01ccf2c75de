"""Procedural textures: images computed from a rule and random numbers. NumPy only."""

import numpy as np

from imggen_lib import _validation as validate


def gradient_noise(shape, cells, *, rng, octaves=1):
    """Draw smooth random bumps: 0 at each point of a lattice, with a random slope there.

    Parameters
    ----------
    shape : tuple of int
        Height and width.
    cells : tuple of int
        Cells of the lattice from top to bottom and from left to right; the picture repeats without a seam.
    rng : numpy.random.Generator or int
    octaves : int
        How many noises are added up, each of half the height and with twice as many cells as the one before.

    Returns
    -------
    numpy.ndarray
        ``shape``, about 0; one octave stays within the root of one half.

    Raises
    ------
    ValueError
        If a number is smaller than 1, or there are not two of them.

    References
    ----------
    K. Perlin, "An image synthesizer", SIGGRAPH 1985; with the smoother fade of "Improving noise", SIGGRAPH 2002.

    Examples
    --------
    >>> noise = gradient_noise((8, 8), (2, 2), rng=0)
    >>> bool(noise[0, 0] == noise[0, 4] == noise[4, 0] == 0)
    True
    """
    rows, columns = validate.pair(shape, "shape")
    down, across = validate.pair(cells, "cells")
    rng, octaves = np.random.default_rng(rng), validate.integer(octaves, "octaves")
    total = np.zeros((rows, columns))
    for octave in range(octaves):
        n, m = down * 2**octave, across * 2**octave
        angles = rng.uniform(0, 2 * np.pi, (n, m))
        y, x = np.arange(rows)[:, np.newaxis] * n / rows, np.arange(columns) * m / columns
        i, j = y.astype(int), x.astype(int)
        ramps = {}
        for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
            angle = angles[(i + a) % n, (j + b) % m]
            ramps[a, b] = np.cos(angle) * (x - j - b) + np.sin(angle) * (y - i - a)
        fade_y, fade_x = (t**3 * (6 * t**2 - 15 * t + 10) for t in (y - i, x - j))
        top, bottom = (ramps[a, 0] + fade_x * (ramps[a, 1] - ramps[a, 0]) for a in (0, 1))
        total += (top + fade_y * (bottom - top)) / 2**octave
    return total

"""Parametric and fractal curves as polylines, and their rasterisation."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate

__all__ = ["draw_curve", "fractal", "spirograph"]


def spirograph(fixed: int, rolling: int, pen: float, *, samples: int = 2000) -> NDArray[np.float64]:
    """Return points of a hypotrochoid: the curve of a pen in a circle that rolls inside a fixed circle.

    .. math:: x + iy = (R - r) e^{it} + d e^{-it (R - r) / r}

    Parameters
    ----------
    fixed, rolling : int
        Radii R of the fixed and r of the rolling circle. Because they are integers, the curve is closed.
    pen : float
        Distance d of the pen from the centre of the rolling circle, at least 0.
    samples : int
        Number of points, at least 2. The last equals the first.

    Returns
    -------
    numpy.ndarray
        ``(samples, 2)`` points (x, y), scaled to fit into [-1, 1].

    Raises
    ------
    TypeError
        If a radius is not an integer, or ``pen`` is not a real number.
    ValueError
        If the rolling circle is not smaller than the fixed one, or an argument is out of range.

    Examples
    --------
    With r = R / 2 and the pen on the rim the curve is a straight line, the diameter of the fixed circle:

    >>> spirograph(2, 1, 1, samples=5).round(3) + 0.0
    array([[ 1.,  0.],
           [ 0.,  0.],
           [-1.,  0.],
           [ 0.,  0.],
           [ 1.,  0.]])
    """
    fixed, rolling = validate.integer(fixed, "fixed"), validate.integer(rolling, "rolling")
    pen, samples = validate.real(pen, "pen", minimum=0), validate.integer(samples, "samples", minimum=2)
    if rolling >= fixed:
        raise ValueError(f"rolling is {rolling} and fixed is {fixed}; expected rolling to be smaller than fixed")
    revolutions = rolling // np.gcd(fixed, rolling)
    t = np.linspace(0, 2 * np.pi * revolutions, samples)
    difference = fixed - rolling
    curve = difference * np.exp(1j * t) + pen * np.exp(-1j * t * difference / rolling)
    return np.column_stack([curve.real, curve.imag]) / (difference + pen)


def draw_curve(points: ArrayLike, size: int, *, width: float = 1.0) -> NDArray[np.float32]:
    """Draw a polyline with anti-aliasing, white on black.

    The value of a pixel falls linearly from 1 to 0 over one pixel at the edge of the stroke. This approximates the part of
    the pixel that the stroke covers.

    Parameters
    ----------
    points : array_like
        ``(n, 2)`` points (x, y) with n at least 2, y upwards. The image shows [-1, 1].
    size : int
        Height and width of the image in pixels.
    width : float
        Width of the stroke in pixels, at least 0.

    Returns
    -------
    numpy.ndarray
        float32 ``(size, size)`` in [0, 1].

    Raises
    ------
    TypeError
        If the points or the width are not real numbers, or the size is not an integer.
    ValueError
        If there are fewer than two points, or the width is negative.

    Examples
    --------
    A horizontal stroke of width 2 covers its own row fully and each neighbouring row by half:

    >>> draw_curve([[-1, 0], [1, 0]], 5, width=2)[:, 2]
    array([0. , 0.5, 1. , 0.5, 0. ], dtype=float32)
    """
    points = _polyline(points, "points")
    size, width = validate.integer(size, "size"), validate.real(width, "width", minimum=0)

    columns = (points[:, 0] + 1) / 2 * (size - 1)
    rows = (1 - points[:, 1]) / 2 * (size - 1)
    image = np.zeros((size, size), np.float32)
    margin = width / 2 + 1
    for c0, r0, c1, r1 in zip(columns[:-1], rows[:-1], columns[1:], rows[1:], strict=True):
        # Only pixels within the margin of this segment can change.
        top, bottom = max(int(min(r0, r1) - margin), 0), min(int(max(r0, r1) + margin) + 2, size)
        left, right = max(int(min(c0, c1) - margin), 0), min(int(max(c0, c1) + margin) + 2, size)
        if top >= bottom or left >= right:
            continue
        row, column = np.mgrid[top:bottom, left:right]
        squared_length = (c1 - c0) ** 2 + (r1 - r0) ** 2
        # Position of the nearest point of the segment: 0 at its start, 1 at its end.
        along = ((column - c0) * (c1 - c0) + (row - r0) * (r1 - r0)) / squared_length if squared_length > 0 else 0.0
        along = np.clip(along, 0, 1)
        distance = np.hypot(column - c0 - along * (c1 - c0), row - r0 - along * (r1 - r0))
        coverage = np.clip(width / 2 + 0.5 - distance, 0, 1)
        region = image[top:bottom, left:right]
        np.maximum(region, coverage, out=region, casting="same_kind")
    return image


def fractal(start: ArrayLike, motif: ArrayLike, depth: int) -> NDArray[np.float64]:
    """Replace every segment of a polyline by a scaled and rotated copy of a motif, ``depth`` times.

    Start and motif are the initiator and the generator of the fractal.

    Parameters
    ----------
    start : array_like
        ``(n, 2)`` points (x, y) of the initial polyline.
    motif : array_like
        ``(m, 2)`` points from (0, 0) to (1, 0), which replace the segment between these two.
    depth : int
        Number of replacements, at least 0.

    Returns
    -------
    numpy.ndarray
        ``((n - 1) * (m - 1) ** depth + 1, 2)`` points.

    Raises
    ------
    TypeError
        If the points are not real numbers, or the depth is not an integer.
    ValueError
        If the motif does not lead from (0, 0) to (1, 0), or the curve would have more than ten million points.

    References
    ----------
    H. von Koch, "Sur une courbe continue sans tangente", Arkiv för matematik 1, 1904. B. Mandelbrot, "The fractal geometry
    of nature", Freeman, 1982.

    Examples
    --------
    Koch's motif has four segments, each a third as long as the one they replace, so the length grows by 4/3:

    >>> koch = [[0, 0], [1 / 3, 0], [1 / 2, np.sqrt(3) / 6], [2 / 3, 0], [1, 0]]
    >>> for depth in range(4):
    ...     steps = np.diff(fractal([[0, 0], [1, 0]], koch, depth), axis=0)
    ...     print(len(steps), np.hypot(*steps.T).sum().round(3))
    1 1.0
    4 1.333
    16 1.778
    64 2.37
    """
    start, motif = _polyline(start, "start"), _polyline(motif, "motif")
    depth = validate.integer(depth, "depth", minimum=0)
    if not np.allclose(motif[[0, -1]], [[0, 0], [1, 0]]):
        raise ValueError(f"motif leads from {motif[0]} to {motif[-1]}; expected (0, 0) to (1, 0)")
    if (len(start) - 1) * (len(motif) - 1.0) ** depth > 1e7:
        raise ValueError(f"depth is {depth}, which gives more than ten million points; expected a smaller depth")
    # With points as complex numbers, multiplying by a segment scales and rotates the motif.
    curve, motif = start @ [1, 1j], motif @ [1, 1j]
    for _ in range(depth):
        copies = curve[:-1, np.newaxis] + np.diff(curve)[:, np.newaxis] * motif[:-1]
        curve = np.append(copies, curve[-1])
    return np.column_stack([curve.real, curve.imag])


def _polyline(points: ArrayLike, name: str) -> NDArray[np.floating]:
    points = validate.real_array(points, name, ndim=2)
    if points.shape[0] < 2 or points.shape[1] != 2:
        raise ValueError(f"{name} has the shape {points.shape}; expected (n, 2) with n at least 2")
    return points

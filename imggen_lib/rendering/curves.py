"""Pictures from lines: a rule moves the pen, and its stroke becomes pixels."""

import numpy as np

from imggen_lib import _validation as validate


def spirograph(fixed, rolling, pen, *, samples=2000):
    """Points of a hypotrochoid: the curve of a pen in a wheel that rolls inside a ring.

    .. math:: x + iy = (R - r) e^{it} + d e^{-it (R - r) / r}

    Parameters
    ----------
    fixed, rolling : int
        The teeth of the ring, R, and of the wheel, r. Whole numbers close the curve.
    pen : float
        The distance d of the pen from the wheel's centre, in the same unit.
    samples : int
        How many points to return.

    Returns
    -------
    numpy.ndarray
        ``(samples, 2)`` points (x, y), scaled to fit into [-1, 1].

    Raises
    ------
    ValueError
        If the wheel is not smaller than the ring.

    Examples
    --------
    >>> spirograph(5, 3, 2, samples=4).shape
    (4, 2)
    """
    fixed, rolling = validate.integer(fixed, "fixed"), validate.integer(rolling, "rolling")
    pen, samples = validate.real(pen, "pen", minimum=0), validate.integer(samples, "samples", minimum=2)
    if rolling >= fixed:
        raise ValueError(f"rolling is {rolling} and fixed is {fixed}; expected a wheel smaller than its ring")
    turns = rolling // np.gcd(fixed, rolling)
    t = np.linspace(0, 2 * np.pi * turns, samples)
    gap = fixed - rolling
    curve = gap * np.exp(1j * t) + pen * np.exp(-1j * t * gap / rolling)
    return np.column_stack([curve.real, curve.imag]) / (gap + pen)


def draw_curve(points, size, *, width=1.0):
    """Draw a polyline as an anti-aliased grey picture, white on black.

    A pixel's value falls linearly from 1 to 0 over one pixel at the edge of the stroke: an approximation of the part of
    the pixel that the stroke covers.

    Parameters
    ----------
    points : array_like
        ``(n, 2)`` points (x, y) in [-1, 1], y upwards.
    size : int
        Height and width of the picture in pixels.
    width : float
        Width of the stroke in pixels.

    Returns
    -------
    numpy.ndarray
        float32 ``(size, size)`` in [0, 1].

    Raises
    ------
    ValueError
        If there are fewer than two points, or the width is negative.

    Examples
    --------
    >>> cross = draw_curve([[-1, 0], [1, 0]], 5)
    >>> cross[2]
    array([1., 1., 1., 1., 1.], dtype=float32)
    >>> cross[0]
    array([0., 0., 0., 0., 0.], dtype=float32)
    """
    points = _polyline(points, "points")
    size, width = validate.integer(size, "size"), validate.real(width, "width", minimum=0)

    columns = (points[:, 0] + 1) / 2 * (size - 1)
    rows = (1 - points[:, 1]) / 2 * (size - 1)
    picture = np.zeros((size, size), np.float32)
    reach = width / 2 + 1
    for c0, r0, c1, r1 in zip(columns[:-1], rows[:-1], columns[1:], rows[1:], strict=True):
        # Only the pixels near this segment can change.
        top, bottom = max(int(min(r0, r1) - reach), 0), min(int(max(r0, r1) + reach) + 2, size)
        left, right = max(int(min(c0, c1) - reach), 0), min(int(max(c0, c1) + reach) + 2, size)
        if top >= bottom or left >= right:
            continue
        row, column = np.mgrid[top:bottom, left:right]
        length2 = (c1 - c0) ** 2 + (r1 - r0) ** 2
        along = ((column - c0) * (c1 - c0) + (row - r0) * (r1 - r0)) / length2 if length2 > 0 else 0.0
        along = np.clip(along, 0, 1)
        distance = np.hypot(column - c0 - along * (c1 - c0), row - r0 - along * (r1 - r0))
        cover = np.clip(width / 2 + 0.5 - distance, 0, 1)
        region = picture[top:bottom, left:right]
        np.maximum(region, cover, out=region, casting="same_kind")
    return picture


def fractal(start, motif, depth):
    """Replace every segment of a polyline by a small copy of a motif, again and again.

    Parameters
    ----------
    start : array_like
        ``(n, 2)`` points (x, y): the polyline to begin with.
    motif : array_like
        ``(m, 2)`` points: what takes the place of the segment from (0, 0) to (1, 0), where it begins and ends.
    depth : int
        How many times.

    Returns
    -------
    numpy.ndarray
        ``((n - 1) * (m - 1) ** depth + 1, 2)`` points.

    Raises
    ------
    ValueError
        If the motif does not lead from (0, 0) to (1, 0), or there would be over ten million points.

    References
    ----------
    H. von Koch, "Sur une courbe continue sans tangente", Arkiv för matematik 1, 1904.

    Examples
    --------
    >>> fractal([[0, 0], [1, 0]], [[0, 0], [0.5, 0.5], [1, 0]], 1).tolist()
    [[0.0, 0.0], [0.5, 0.5], [1.0, 0.0]]
    """
    start, motif = (_polyline(points, name) for points, name in ((start, "start"), (motif, "motif")))
    depth = validate.integer(depth, "depth", minimum=0)
    if not np.allclose(motif[[0, -1]], [[0, 0], [1, 0]]):
        raise ValueError(f"motif leads from {motif[0]} to {motif[-1]}; expected (0, 0) to (1, 0)")
    if (len(start) - 1) * (len(motif) - 1.0) ** depth > 1e7:
        raise ValueError(f"depth is {depth}, which makes over ten million points; expected less")
    curve, motif = start @ [1, 1j], motif @ [1, 1j]
    for _ in range(depth):
        # In complex numbers a product turns and scales at once.
        copies = curve[:-1, np.newaxis] + np.diff(curve)[:, np.newaxis] * motif[:-1]
        curve = np.append(copies, curve[-1])
    return np.column_stack([curve.real, curve.imag])


def _polyline(points, name):
    points = validate.real_array(points, name, ndim=2)
    if points.shape[0] < 2 or points.shape[1] != 2:
        raise ValueError(f"{name} has the shape {points.shape}; expected (n, 2) with n at least 2")
    return points

"""Pictures from rules: what a program can draw without having seen anything."""

import numpy as np

from imggen_lib import checks


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
    fixed, rolling = checks.integer(fixed, "fixed"), checks.integer(rolling, "rolling")
    pen, samples = checks.real(pen, "pen", minimum=0), checks.integer(samples, "samples", minimum=2)
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
    points = checks.real_array(points, "points", ndim=2)
    if points.shape[0] < 2 or points.shape[1] != 2:
        raise ValueError(f"points has the shape {points.shape}; expected (n, 2) with n at least 2")
    size, width = checks.integer(size, "size"), checks.real(width, "width", minimum=0)

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


def lit_sphere(size, *, light=(-1.0, 1.0, 1.5), ambient=0.1, background=0.0):
    """Render a matt sphere by Lambert's law: brightness is the cosine between the surface's normal and the light.

    Parameters
    ----------
    size : int
        Height and width in pixels.
    light : array_like
        Direction towards the light (x to the right, y upwards, z towards the viewer); its length does not matter.
    ambient : float
        Light that reaches every point, in [0, 1].
    background : float
        Grey of the background, in [0, 1].

    Returns
    -------
    numpy.ndarray
        float32 ``(size, size)`` in [0, 1].

    Raises
    ------
    ValueError
        If the light has no direction, or a grey lies outside [0, 1].

    Examples
    --------
    >>> front = lit_sphere(5, light=(0, 0, 1))
    >>> float(front[2, 2])
    1.0
    """
    size = checks.integer(size, "size", minimum=2)
    ambient = checks.real(ambient, "ambient", minimum=0, maximum=1)
    background = checks.real(background, "background", minimum=0, maximum=1)
    light = checks.real_array(light, "light", ndim=1)
    length = np.linalg.norm(light)
    if light.shape != (3,) or length == 0:
        raise ValueError(f"light is {light}; expected three numbers, not all zero")
    light = light / length

    # The sphere has radius 1 and touches 90 % of the picture's half width.
    axis = np.linspace(-1, 1, size) / 0.9
    x, y = np.meshgrid(axis, -axis)
    inside = x**2 + y**2 <= 1
    z = np.sqrt(np.where(inside, 1 - x**2 - y**2, 0))
    cosine = np.maximum(x * light[0] + y * light[1] + z * light[2], 0)
    return np.where(inside, ambient + (1 - ambient) * cosine, background).astype(np.float32)

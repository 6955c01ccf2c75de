"""Pictures from rules: what a program can draw without having seen anything."""

import functools

import numpy as np

from imggen_lib import checks
from imggen_lib.curves import draw_curve, fractal, spirograph

__all__ = [
    "draw_curve", "fractal", "gradient_noise", "lit_sphere", "marbles", "phong", "sphere_normals", "sphere_shadow",
    "spirograph", "wrap",
]  # fmt: skip

HUES = ("red", "yellow", "green", "cyan", "blue", "magenta")
TEXTURES = ("plain", "striped", "veined")


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
    rows, columns = _pair(shape, "shape")
    down, across = _pair(cells, "cells")
    rng, octaves = checks.generator(rng), checks.integer(octaves, "octaves")
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


def sphere_normals(size, *, radius=0.9):
    """Return the direction in which a sphere's surface faces at each pixel; zeros beside the sphere.

    Parameters
    ----------
    size : int
        Height and width in pixels.
    radius : float or array_like
        In (0, 1], where 1 touches the picture's edge; ``(n,)`` of them give n pictures.

    Returns
    -------
    numpy.ndarray
        ``([n,] size, size, 3)``: x to the right, y upwards, z towards the viewer.

    Raises
    ------
    ValueError
        If a radius lies outside (0, 1], or there are fewer than two pixels.

    Examples
    --------
    >>> float(sphere_normals(5)[2, 2, 2])
    1.0
    """
    radius = _radius(radius)
    x, y = (axis / radius for axis in _grid(size, radius.dtype))
    inside = x**2 + y**2 <= 1
    # In brackets, as in the comparison: rounded otherwise, the difference can fall below 0 on the edge.
    z = np.sqrt(np.where(inside, 1 - (x**2 + y**2), 0))
    return np.where(inside[..., np.newaxis], np.stack([x, y, z], axis=-1), 0)


def phong(normals, light, *, shininess=30):
    """Return the two parts of Phong's light for a viewer straight ahead: the matt one and the highlight.

    The matt part is Lambert's: the cosine n·l between normal and light, or 0. The highlight is ``max(r·v, 0) ** shininess``
    with the mirrored light ``r = 2 (n·l) n - l`` and the viewer ``v = (0, 0, 1)``.

    Parameters
    ----------
    normals : array_like
        ``(..., 3)`` unit vectors.
    light : array_like
        ``(..., 3)``: the direction towards the light; its length does not matter.
    shininess : float
        At least 1; the larger, the smaller the highlight.

    Returns
    -------
    matt, highlight : numpy.ndarray
        ``(...)`` in [0, 1].

    Raises
    ------
    ValueError
        If the last axis does not hold three numbers, a light is (0, 0, 0), or the shininess is below 1.

    References
    ----------
    B. T. Phong, "Illumination for computer generated pictures", Communications of the ACM 18, 1975.

    Examples
    --------
    >>> matt, highlight = phong([0, 0, 1], light=(0, 3, 4))
    >>> float(matt)
    0.8
    """
    normals, light = _vectors(normals, "normals"), _directions(light)
    cosine = np.einsum("...i,...i->...", normals, light)
    mirrored = 2 * cosine * normals[..., 2] - light[..., 2]
    lit = cosine > 0
    highlight = np.where(lit, np.clip(mirrored, 0, 1), 0) ** checks.real(shininess, "shininess", minimum=1)
    return np.clip(cosine, 0, 1), highlight


def sphere_shadow(size, light, *, radius=0.9):
    """Return where a sphere that lies on the picture's plane keeps the light from it, seen from above.

    Parameters
    ----------
    size : int
    light : array_like
        ``([n,] 3)``: direction towards the light, above the plane: z is positive.
    radius : float or array_like
        In (0, 1]; ``(n,)`` of them give n pictures.

    Returns
    -------
    numpy.ndarray
        ``([n,] size, size)``: 1 in the shadow, an ellipse as wide as the sphere, 0 outside, in between along its edge.

    Raises
    ------
    ValueError
        If a light does not come from above, or a radius lies outside (0, 1].

    Examples
    --------
    >>> sphere_shadow(5, (0, 0, 1), radius=0.5)[2].tolist()
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    light, radius = _directions(light, above=True)[..., np.newaxis, np.newaxis, :], _radius(radius)
    x, y = _grid(size, radius.dtype)
    # From the sphere's centre to a point of the plane, and how far of that is along the light.
    along = x * light[..., 0] + y * light[..., 1] - radius * light[..., 2]
    distance = np.sqrt(np.maximum(x**2 + y**2 + radius**2 - along**2, 0))
    return np.where(along < 0, np.clip((radius - distance) * (size - 1) / 2 + 0.5, 0, 1), 0)


def wrap(texture, normals, *, turn=0.0):
    """Look up a flat picture at the longitude and latitude of each normal: texture mapping onto a sphere.

    Parameters
    ----------
    texture : array_like
        ``(height, width[, channels])``: a map of the whole sphere, its poles above and below.
    normals : array_like
        ``(..., 3)`` unit vectors, as :func:`sphere_normals` gives them.
    turn : float or array_like
        The angle, in radians, by which the sphere has turned about its vertical axis; ``(...)`` if not one for all.

    Returns
    -------
    numpy.ndarray
        ``(...[, channels])``, the nearest pixel of the texture.

    Raises
    ------
    ValueError
        If the texture is no picture, or the last axis of the normals does not hold three numbers.

    Examples
    --------
    >>> wrap([[1.0, 2.0, 3.0, 4.0]], [[0, 0, 1], [1, 0, 0]]).tolist()
    [1.0, 2.0]
    """
    texture = checks.real_array(texture, "texture", ndim=(2, 3))
    normals, turn = _vectors(normals, "normals"), checks.real_array(turn, "turn")
    longitude = (np.arctan2(normals[..., 0], normals[..., 2]) + turn) / (2 * np.pi)
    latitude = np.arccos(np.clip(normals[..., 1], -1, 1)) / np.pi
    height, width = texture.shape[:2]
    # The small shift keeps what is exact in theory, such as a quarter of a turn, on its own side of a pixel's edge.
    columns = np.floor(longitude * width + 1e-9).astype(int) % width
    return texture[np.minimum((latitude * height).astype(int), height - 1), columns]


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
    ambient = checks.real(ambient, "ambient", minimum=0, maximum=1)
    background = checks.real(background, "background", minimum=0, maximum=1)
    normals = sphere_normals(size)
    cosine, _ = phong(normals, light)
    return np.where(normals.any(axis=-1), ambient + (1 - ambient) * cosine, background).astype(np.float32)


def marbles(n, *, rng, size=64, **factors):
    """Draw glossy marbles on a table, seen from above, and tell all that there is to know about each.

    Parameters
    ----------
    n : int
    rng : numpy.random.Generator or int
    size : int
        Height and width in pixels.
    **factors : array_like
        Any factor below, one value for all marbles or one for each, in place of the drawn one.

    Returns
    -------
    images : numpy.ndarray
        float32 ``(n, size, size, 3)`` in [0, 1].
    factors : dict of numpy.ndarray
        - ``hue`` in [0, 1): marble i is of the class ``HUES[i % 6]``; red is 0, yellow 1/6, and so on round the circle.
        - ``texture``, an index into ``TEXTURES``; ``turn`` and ``tilt``, how the marble lies, in radians.
        - ``radius`` in (0, 1], 0.35 to 0.7 if drawn; ``background`` in [0, 1], the table's grey, 0.4 to 1 if drawn.
        - ``light`` ``(n, 3)``, unit vectors, 35 to 80 degrees above the table if drawn.

    Raises
    ------
    ValueError
        If there is no factor of a name, or a value is out of its range or not one for each marble.

    Notes
    -----
    Veins are white, highlights are white and light is grey, so every pixel of a marble has the marble's hue.

    Examples
    --------
    >>> images, factors = marbles(3, rng=0, radius=0.5)
    >>> images.shape, sorted(factors)
    ((3, 64, 64, 3), ['background', 'hue', 'light', 'radius', 'texture', 'tilt', 'turn'])
    """
    n, size, rng = checks.integer(n, "n"), checks.integer(size, "size", minimum=2), checks.generator(rng)
    azimuth, height = rng.uniform(0, 2 * np.pi, n), np.deg2rad(rng.uniform(35, 80, n))
    light = np.stack([np.cos(height) * np.cos(azimuth), np.cos(height) * np.sin(azimuth), np.sin(height)], axis=-1)
    known = {
        "hue": (np.arange(n) % 6 + rng.uniform(-0.3, 0.3, n)) / 6 % 1,
        "texture": rng.integers(len(TEXTURES), size=n),
        "turn": rng.uniform(0, 2 * np.pi, n),
        "tilt": rng.uniform(0, np.pi, n),
        "radius": rng.uniform(0.35, 0.7, n),
        "background": rng.uniform(0.4, 1, n),
        "light": light,
    }
    for name, value in factors.items():
        checks.choice(name, "factor", known)
        known[name] = _factor(value, name, known[name])
    images = np.empty((n, size, size, 3), np.float32)
    for first in range(0, n, 100):
        some = {name: value[first : first + 100].astype(np.float32) for name, value in known.items()}
        images[first : first + 100] = _draw_marbles(size, **some)
    return images, known


def _factor(value, name, drawn):
    value = checks.real_array(value, name)
    low, high = {"hue": (0, 1), "texture": (0, len(TEXTURES) - 1), "background": (0, 1)}.get(name, (-np.inf, np.inf))
    if name in ("radius", "light"):
        value = _directions(value, above=True) if name == "light" else _radius(value)[..., 0, 0]
    elif not ((value >= low) & (value <= high)).all() or (drawn.dtype.kind == "i" and (value % 1).any()):
        raise ValueError(f"{name} is {value}; expected {'whole ' * (drawn.dtype.kind == 'i')}numbers from {low} to {high}")
    if value.shape not in ((), drawn.shape, drawn.shape[1:]):
        raise ValueError(f"{name} has the shape {value.shape}; expected one for all or {drawn.shape}")
    return np.broadcast_to(value, drawn.shape).astype(drawn.dtype)


def _draw_marbles(size, hue, texture, turn, tilt, radius, background, light):
    # Half a pixel more, so that the pixels at the rim, which the marble covers in part, have a normal.
    normals = sphere_normals(size, radius=np.minimum(radius + np.float32(1 / size), 1))
    matt, highlight = phong(normals, light[:, np.newaxis, np.newaxis], shininess=32)
    shadow = sphere_shadow(size, light, radius=radius)
    hue, turn, tilt, radius, background, height = (
        factor[:, np.newaxis, np.newaxis] for factor in (hue, turn, tilt, radius, background, light[:, 2])
    )
    x, y, z = np.moveaxis(normals, -1, 0)
    tilted = np.stack([x * np.cos(tilt) + y * np.sin(tilt), y * np.cos(tilt) - x * np.sin(tilt), z], axis=-1)
    pattern = np.zeros_like(x)
    for kind in set(texture.astype(int)) - {TEXTURES.index("plain")}:
        these = texture == kind
        pattern[these] = wrap(_patterns()[TEXTURES[kind]], tilted[these], turn=turn[these])

    # Towards white by the pattern, dark by the light, white by the highlight, and at the rim mixed with the table: of the
    # marble's own colour, `share` remains, and the rest is grey.
    x, y = _grid(size, np.float32)
    cover = np.clip((radius - np.hypot(x, y)) * (size - 1) / 2 + 0.5, 0, 1)
    brightness = cover * (0.15 + 0.85 * matt) * (1 - 0.8 * highlight)
    share = brightness * (1 - pattern)
    table = background * (0.35 + 0.65 * height * (1 - shadow))
    grey = brightness * pattern + cover * 0.8 * highlight + (1 - cover) * table
    wheel = (np.array([5, 3, 1], np.float32) + 6 * hue[..., np.newaxis]) % 6
    colour = 1 - np.float32(0.85) * np.clip(np.minimum(wheel, 4 - wheel), 0, 1)
    return share[..., np.newaxis] * colour + grey[..., np.newaxis]


@functools.cache
def _patterns():
    """Maps of a striped and of a veined marble: how white each place is."""
    bands = np.sin(10 * np.pi * np.linspace(0, 1, 128))[:, np.newaxis]
    bumps = gradient_noise((128, 256), (3, 6), rng=1, octaves=3)
    patterns = {"striped": 3 * (bands + 4 * bumps) + 0.5, "veined": 1 - 7 * np.abs(bumps)}
    return {name: 0.85 * np.clip(white, 0, 1).astype(np.float32) for name, white in patterns.items()}


def _pair(value, name):
    if np.shape(value) != (2,):
        raise ValueError(f"{name} is {value!r}; expected two whole numbers")
    return tuple(checks.integer(number, name) for number in value)


def _radius(radius):
    """Check a radius, or several, and give them two axes for the pixels."""
    radius = checks.real_array(radius, "radius")
    if not ((radius > 0) & (radius <= 1)).all():
        raise ValueError(f"radius is {radius}; expected more than 0 and at most 1")
    return radius[..., np.newaxis, np.newaxis]


def _vectors(vectors, name):
    vectors = checks.real_array(vectors, name)
    if vectors.shape[-1:] != (3,):
        raise ValueError(f"{name} has the shape {vectors.shape}; expected three numbers along the last axis")
    return vectors


def _directions(light, *, above=False):
    """Check directions towards lights, and give them the length 1."""
    light = _vectors(light, "light")
    largest = np.abs(light).max(axis=-1, keepdims=True)
    if (largest == 0).any() or (above and (light[..., 2] <= 0).any()):
        raise ValueError(f"light is {light}; expected " + ("a direction from above, z > 0" if above else "not all zeros"))
    # In two steps: the squares of very small or large numbers would become 0 or infinite.
    light = light / largest
    return light / np.linalg.norm(light, axis=-1, keepdims=True)


def _grid(size, dtype=np.float64):
    """Coordinates of the pixels: x to the right and y upwards, from -1 to 1."""
    axis = np.linspace(-1, 1, checks.integer(size, "size", minimum=2), dtype=dtype)
    return np.meshgrid(axis, -axis)

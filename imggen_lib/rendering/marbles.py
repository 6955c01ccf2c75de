"""Marbles on a table, ray-cast and shaded from known factors. NumPy only."""

import functools

import numpy as np

from imggen_lib import _validation as validate
from imggen_lib.rendering.procedural import gradient_noise
from imggen_lib.rendering.shading import directions, grid, phong, radii, sphere_normals, sphere_shadow, wrap

HUES = ("red", "yellow", "green", "cyan", "blue", "magenta")
TEXTURES = ("plain", "striped", "veined")
GROUNDS = ("grey", *HUES)


def render_marbles(n, *, rng, size=64, **factors):
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
        - ``radius`` in (0, 1], 0.35 to 0.7 if drawn; ``background`` in [0, 1], how bright the table is, 0.4 to 1 if
          drawn; ``ground``, its colour, an index into ``GROUNDS``: 0, grey, if not given.
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
    >>> images, factors = render_marbles(3, rng=0, radius=0.5)
    >>> images.shape, sorted(factors)
    ((3, 64, 64, 3), ['background', 'ground', 'hue', 'light', 'radius', 'texture', 'tilt', 'turn'])
    """
    n, size, rng = validate.integer(n, "n"), validate.integer(size, "size", minimum=2), np.random.default_rng(rng)
    azimuth, height = rng.uniform(0, 2 * np.pi, n), np.deg2rad(rng.uniform(35, 80, n))
    light = np.stack([np.cos(height) * np.cos(azimuth), np.cos(height) * np.sin(azimuth), np.sin(height)], axis=-1)
    known = {
        "hue": (np.arange(n) % 6 + rng.uniform(-0.3, 0.3, n)) / 6 % 1,
        "texture": rng.integers(len(TEXTURES), size=n),
        "turn": rng.uniform(0, 2 * np.pi, n),
        "tilt": rng.uniform(0, np.pi, n),
        "radius": rng.uniform(0.35, 0.7, n),
        "background": rng.uniform(0.4, 1, n),
        "ground": np.zeros(n, int),
        "light": light,
    }
    for name, value in factors.items():
        validate.choice(name, "factor", known)
        known[name] = _factor(value, name, known[name])
    images = np.empty((n, size, size, 3), np.float32)
    for first in range(0, n, 100):
        some = {name: value[first : first + 100].astype(np.float32) for name, value in known.items()}
        images[first : first + 100] = _draw_marbles(size, **some)
    return images, known


def _factor(value, name, drawn):
    value = validate.real_array(value, name)
    ranges = {"hue": (0, 1), "texture": (0, len(TEXTURES) - 1), "background": (0, 1), "ground": (0, len(GROUNDS) - 1)}
    low, high = ranges.get(name, (-np.inf, np.inf))
    if name in ("radius", "light"):
        value = directions(value, above=True) if name == "light" else radii(value)[..., 0, 0]
    elif not ((value >= low) & (value <= high)).all() or (drawn.dtype.kind == "i" and (value % 1).any()):
        raise ValueError(f"{name} is {value}; expected {'whole ' * (drawn.dtype.kind == 'i')}numbers from {low} to {high}")
    if value.shape not in ((), drawn.shape, drawn.shape[1:]):
        raise ValueError(f"{name} has the shape {value.shape}; expected one for all or {drawn.shape}")
    return np.broadcast_to(value, drawn.shape).astype(drawn.dtype)


def _draw_marbles(size, hue, texture, turn, tilt, radius, background, ground, light):
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
    x, y = grid(size, np.float32)
    cover = np.clip((radius - np.hypot(x, y)) * (size - 1) / 2 + 0.5, 0, 1)
    brightness = cover * (0.15 + 0.85 * matt) * (1 - 0.8 * highlight)
    share = brightness * (1 - pattern)
    grey = brightness * pattern + cover * 0.8 * highlight
    table = (1 - cover) * background * (0.35 + 0.65 * height * (1 - shadow))
    tint = np.where(ground > 0, np.float32(0.6), 0)[:, np.newaxis, np.newaxis]
    parts = (share, _paint(hue, np.float32(0.85))), (table, _paint((ground - 1)[:, np.newaxis, np.newaxis] / 6, tint))
    return sum((light[..., np.newaxis] * paint for light, paint in parts), grey[..., np.newaxis])


def _paint(hue, saturation):
    """The colour of the brightest paint of a hue: how much it throws back of red, green and blue light."""
    wheel = (np.array([5, 3, 1], np.float32) + 6 * hue[..., np.newaxis]) % 6
    return 1 - saturation[..., np.newaxis] * np.clip(np.minimum(wheel, 4 - wheel), 0, 1)


@functools.cache
def _patterns():
    """Maps of a striped and of a veined marble: how white each place is."""
    bands = np.sin(10 * np.pi * np.linspace(0, 1, 128))[:, np.newaxis]
    bumps = gradient_noise((128, 256), (3, 6), rng=1, octaves=3)
    patterns = {"striped": 3 * (bands + 4 * bumps) + 0.5, "veined": 1 - 7 * np.abs(bumps)}
    return {name: 0.85 * np.clip(white, 0, 1).astype(np.float32) for name, white in patterns.items()}

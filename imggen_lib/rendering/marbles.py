"""Images of glossy marbles on a table, rendered from known factors."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate
from imggen_lib.rendering.procedural import gradient_noise
from imggen_lib.rendering.shading import (
    light_directions,
    phong,
    pixel_grid,
    sphere_normals,
    sphere_radii,
    sphere_shadow,
    wrap,
)

__all__ = ["BACKGROUNDS", "HUES", "TEXTURES", "render_marbles"]

#: Names of the hues 0, 1/6, ..., 5/6.
HUES = ("red", "yellow", "green", "cyan", "blue", "magenta")
#: Names of the textures, in the order of their indices.
TEXTURES = ("plain", "striped", "veined")
#: Names of the colours of the table, in the order of their indices.
BACKGROUNDS = ("grey", *HUES)

# Factors that are real numbers or indices within limits. Radius and light have their own checks.
_LIMITS = {
    "hue": (0, 1),
    "texture": (0, len(TEXTURES) - 1),
    "background_value": (0, 1),
    "background_hue": (0, len(BACKGROUNDS) - 1),
    "rotation": (-np.inf, np.inf),
    "tilt": (-np.inf, np.inf),
}
_BATCH_SIZE = 100
_AMBIENT, _SHININESS, _SPECULAR = 0.15, 32, 0.8  # of the marbles; _SPECULAR is the largest share of the highlight
_TABLE_AMBIENT = 0.35


def render_marbles(
    n: int, *, rng: np.random.Generator | int, size: int = 64, **factors: ArrayLike
) -> tuple[NDArray[np.float32], dict[str, NDArray[Any]]]:
    """Render marbles on a table, seen from above, and return the factors that describe each image.

    Parameters
    ----------
    n : int
        Number of images.
    rng : numpy.random.Generator or int
        Samples the factors that are not given.
    size : int
        Height and width in pixels, at least 2.
    **factors : array_like
        Any of the factors below: one value for all images, or one for each.

    Returns
    -------
    images : numpy.ndarray
        float32 ``(n, size, size, 3)`` in [0, 1].
    factors : dict of numpy.ndarray
        - ``hue`` in [0, 1): image i has the class ``HUES[i % 6]``; red is 0, yellow 1/6, and so on.
        - ``texture``: index into ``TEXTURES``.
        - ``rotation``, ``tilt``: orientation of the texture in radians. The marble is rotated about its axis, which is
          tilted in the image plane.
        - ``radius`` in (0, 1]; sampled from 0.35 to 0.7.
        - ``background_value`` in [0, 1], the brightness of the table; sampled from 0.4 to 1.
        - ``background_hue``: colour of the table, an index into ``BACKGROUNDS``; 0 (grey) if not given.
        - ``light``: unit vectors ``(n, 3)`` to the light; sampled with an elevation of 35 to 80 degrees.

    Raises
    ------
    TypeError
        If ``n`` or ``size`` is not an integer, or a factor is not made of real numbers.
    ValueError
        If a factor is unknown, out of range, or does not have one value or n values.

    Notes
    -----
    The specular highlight and the veins are white, and light only scales a colour, so every pixel of a marble has the hue
    of the marble.

    Examples
    --------
    The hue of a pixel is the factor, also in the shade: on a red marble, green and blue are equal.

    >>> images, factors = render_marbles(1, rng=0, hue=0.0, texture=0)
    >>> red, green, blue = images[0, 40, 32]
    >>> bool(red > green == blue)
    True
    >>> for name, values in factors.items():
    ...     print(name, values[0].round(2))
    hue 0.0
    texture 0
    rotation 5.11
    tilt 2.87
    radius 0.56
    background_value 0.84
    background_hue 0
    light [-0.44 -0.52  0.73]
    """
    n, size, rng = validate.integer(n, "n"), validate.integer(size, "size", minimum=2), np.random.default_rng(rng)
    azimuth, elevation = rng.uniform(0, 2 * np.pi, n), np.deg2rad(rng.uniform(35, 80, n))
    light = [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
    values: dict[str, NDArray[Any]] = {
        "hue": (np.arange(n) % 6 + rng.uniform(-0.3, 0.3, n)) / 6 % 1,
        "texture": rng.integers(len(TEXTURES), size=n),
        "rotation": rng.uniform(0, 2 * np.pi, n),
        "tilt": rng.uniform(0, np.pi, n),
        "radius": rng.uniform(0.35, 0.7, n),
        "background_value": rng.uniform(0.4, 1, n),
        "background_hue": np.zeros(n, int),
        "light": np.stack(light, axis=-1),
    }
    for name, value in factors.items():
        validate.choice(name, "factor", values)
        values[name] = _factor(value, name, like=values[name])
    images = np.empty((n, size, size, 3), np.float32)
    for first in range(0, n, _BATCH_SIZE):
        batch = slice(first, first + _BATCH_SIZE)
        images[batch] = _render_batch(size, **{name: value[batch].astype(np.float32) for name, value in values.items()})
    return images, values


def _factor(value: ArrayLike, name: str, like: NDArray[Any]) -> NDArray[Any]:
    """Check a given factor, and return one value for each image, with the shape and dtype of the sampled one."""
    value = validate.real_array(value, name)
    if name == "light":
        value = light_directions(value, above=True)
    elif name == "radius":
        value = sphere_radii(value)[..., 0, 0]
    else:
        low, high = _LIMITS[name]
        is_index = like.dtype.kind == "i"
        if (value < low).any() or (value > high).any() or (is_index and (value % 1).any()):
            raise ValueError(f"{name} is {value}; expected {'integers' if is_index else 'numbers'} from {low} to {high}")
    if value.shape not in ((), like.shape, like.shape[1:]):
        raise ValueError(f"{name} has the shape {value.shape}; expected one value for all images or {like.shape}")
    return np.broadcast_to(value, like.shape).astype(like.dtype)


def _render_batch(
    size: int,
    *,
    hue: NDArray[Any],
    texture: NDArray[Any],
    rotation: NDArray[Any],
    tilt: NDArray[Any],
    radius: NDArray[Any],
    background_value: NDArray[Any],
    background_hue: NDArray[Any],
    light: NDArray[Any],
) -> NDArray[np.float32]:
    """Render images from float32 factors, one value each."""
    # Half a pixel more, so that pixels at the rim, which the marble covers in part, have a normal.
    normals = sphere_normals(size, radius=np.minimum(radius + np.float32(1 / size), 1))
    diffuse, specular = phong(normals, light[:, np.newaxis, np.newaxis], shininess=_SHININESS)
    shadow = sphere_shadow(size, light, radius=radius)
    hue, rotation, tilt, radius, background_value, background_hue, light_z = (
        factor[:, np.newaxis, np.newaxis]
        for factor in (hue, rotation, tilt, radius, background_value, background_hue, light[:, 2])
    )
    x, y, z = np.moveaxis(normals, -1, 0)
    tilted = np.stack([x * np.cos(tilt) + y * np.sin(tilt), y * np.cos(tilt) - x * np.sin(tilt), z], axis=-1)
    whiteness = np.zeros_like(x)
    for index in set(texture.astype(int)) - {TEXTURES.index("plain")}:
        rows = texture == index
        whiteness[rows] = wrap(_texture_maps()[TEXTURES[index]], tilted[rows], rotation=rotation[rows])

    # Each pixel is a sum of three colours: the colour of the marble, white, and the colour of the table.
    x, y = pixel_grid(size, np.float32)
    coverage = np.clip((radius - np.hypot(x, y)) * (size - 1) / 2 + 0.5, 0, 1)
    shade = coverage * (_AMBIENT + (1 - _AMBIENT) * diffuse) * (1 - _SPECULAR * specular)
    coloured = shade * (1 - whiteness)
    white = shade * whiteness + coverage * _SPECULAR * specular
    table = (1 - coverage) * background_value * (_TABLE_AMBIENT + (1 - _TABLE_AMBIENT) * light_z * (1 - shadow))
    marble_colour = _hue_to_rgb(hue, np.full_like(hue, 0.85))
    table_colour = _hue_to_rgb((background_hue - 1) / 6, np.where(background_hue > 0, np.float32(0.6), 0))
    return white[..., np.newaxis] + coloured[..., np.newaxis] * marble_colour + table[..., np.newaxis] * table_colour


def _hue_to_rgb(hue: NDArray[Any], saturation: NDArray[Any]) -> NDArray[Any]:
    """Convert HSV colours of value 1 to RGB, which is added as the last axis."""
    k = (np.array([5, 3, 1], np.float32) + 6 * hue[..., np.newaxis]) % 6
    return 1 - saturation[..., np.newaxis] * np.clip(np.minimum(k, 4 - k), 0, 1)


@functools.cache
def _texture_maps() -> dict[str, NDArray[np.float32]]:
    """Return equirectangular maps of the whiteness of striped and of veined marbles, in [0, 0.85]."""
    bands = np.sin(10 * np.pi * np.linspace(0, 1, 128))[:, np.newaxis]
    noise = gradient_noise((128, 256), (3, 6), rng=1, octaves=3)
    maps = {"striped": 3 * (bands + 4 * noise) + 0.5, "veined": 1 - 7 * np.abs(noise)}
    return {name: 0.85 * np.clip(whiteness, 0, 1).astype(np.float32) for name, whiteness in maps.items()}

"""Shading: surface normals, Phong's reflection model, cast shadows and texture mapping, for spheres.

Coordinates are x to the right, y upwards and z towards the viewer. The image shows [-1, 1] in x and y.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from imggen_lib import _validation as validate

__all__ = [
    "light_directions", "lit_sphere", "phong", "pixel_grid", "sphere_normals", "sphere_radii", "sphere_shadow", "wrap",
]  # fmt: skip

Array = NDArray[np.floating]


def sphere_normals(size: int, *, radius: ArrayLike = 0.9) -> Array:
    """Return the unit surface normals of a centred sphere at every pixel, and zeros outside the sphere.

    Parameters
    ----------
    size : int
        Height and width in pixels, at least 2.
    radius : float or array_like
        In (0, 1]; a radius of 1 touches the edge of the image. ``(n,)`` radii give n images.

    Returns
    -------
    numpy.ndarray
        ``([n,] size, size, 3)``.

    Raises
    ------
    TypeError
        If the size is not an integer, or a radius is not a real number.
    ValueError
        If a radius is outside (0, 1], or the size is less than 2.

    Examples
    --------
    In the middle row y is 0, so z is sqrt(1 - x²):

    >>> sphere_normals(5, radius=1)[2, :, 2].round(3)
    array([0.   , 0.866, 1.   , 0.866, 0.   ])
    """
    radius = sphere_radii(radius)
    x, y = (axis / radius for axis in pixel_grid(size, radius.dtype))
    inside = x**2 + y**2 <= 1
    # The brackets match the comparison above: in another order, rounding could make the difference negative at the rim.
    z = np.sqrt(np.where(inside, 1 - (x**2 + y**2), 0))
    return np.where(inside[..., np.newaxis], np.stack([x, y, z], axis=-1), 0)


def phong(normals: ArrayLike, light: ArrayLike, *, shininess: float = 30) -> tuple[Array, Array]:
    r"""Return the diffuse and the specular term of Phong's reflection model, for a viewer in direction (0, 0, 1).

    With the normal n, the direction l to the light, the reflected light :math:`r = 2 (n \cdot l) n - l` and the
    direction v to the viewer, the diffuse term (Lambert's cosine law) is :math:`\max(n \cdot l, 0)` and the specular term
    is :math:`\max(r \cdot v, 0)^s` with the shininess s. Both are 0 where the surface faces away from the light. The third
    term of the model, ambient light, is a constant.

    Parameters
    ----------
    normals : array_like
        ``(..., 3)`` unit vectors.
    light : array_like
        ``(..., 3)`` directions to the light, of any length.
    shininess : float
        Exponent s, at least 1. A larger one makes the highlight smaller.

    Returns
    -------
    diffuse, specular : numpy.ndarray
        ``(...)`` in [0, 1].

    Raises
    ------
    TypeError
        If an argument is not made of real numbers.
    ValueError
        If the last axis of normals or light does not have length 3, a light is (0, 0, 0), or the shininess is below 1.

    References
    ----------
    B. T. Phong, "Illumination for computer generated pictures", Communications of the ACM 18, 1975.

    Examples
    --------
    A surface that faces the viewer, lit from 45 degrees: both cosines are 1 / sqrt(2), and the highlight decreases with the
    exponent.

    >>> for shininess in (1, 2, 10):
    ...     diffuse, specular = phong([0, 0, 1], light=(0, 1, 1), shininess=shininess)
    ...     print(diffuse.round(3), specular.round(3))
    0.707 0.707
    0.707 0.5
    0.707 0.031
    """
    normals, light = _vectors(normals, "normals"), light_directions(light)
    cosine = np.einsum("...i,...i->...", normals, light)
    reflected_z = 2 * cosine * normals[..., 2] - light[..., 2]
    specular = np.where(cosine > 0, np.clip(reflected_z, 0, 1), 0) ** validate.real(shininess, "shininess", minimum=1)
    return np.clip(cosine, 0, 1), specular


def sphere_shadow(size: int, light: ArrayLike, *, radius: ArrayLike = 0.9) -> Array:
    """Return the shadow that a sphere casts on the plane it lies on, seen from above.

    Parameters
    ----------
    size : int
        Height and width in pixels, at least 2.
    light : array_like
        ``([n,] 3)`` directions to the light, with z > 0.
    radius : float or array_like
        In (0, 1]; ``(n,)`` radii give n images.

    Returns
    -------
    numpy.ndarray
        ``([n,] size, size)`` in [0, 1]: 1 in the shadow and 0 outside, with anti-aliasing. The shadow is an ellipse as wide
        as the sphere.

    Raises
    ------
    TypeError
        If the size is not an integer, or light or radius are not real numbers.
    ValueError
        If a light is not above the plane, or a radius is outside (0, 1].

    Examples
    --------
    Light from directly above: the shadow is a disc of the radius of the sphere.

    >>> sphere_shadow(5, (0, 0, 1), radius=0.5)[2].tolist()
    [0.0, 0.5, 1.0, 0.5, 0.0]

    Light from the left at 45 degrees: the shadow is longer and lies to the right.

    >>> sphere_shadow(9, (-1, 0, 1), radius=0.5)[4].round(2).tolist()
    [0.0, 0.0, 0.0, 0.38, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    light, radius = light_directions(light, above=True)[..., np.newaxis, np.newaxis, :], sphere_radii(radius)
    x, y = pixel_grid(size, radius.dtype)
    # The vector from the centre of the sphere to a point of the plane: its component along the light, and its distance
    # from the ray through the centre.
    along = x * light[..., 0] + y * light[..., 1] - radius * light[..., 2]
    distance = np.sqrt(np.maximum(x**2 + y**2 + radius**2 - along**2, 0))
    return np.where(along < 0, np.clip((radius - distance) * (size - 1) / 2 + 0.5, 0, 1), 0)


def wrap(texture: ArrayLike, normals: ArrayLike, *, rotation: ArrayLike = 0.0) -> Array:
    """Map a texture onto a sphere: look up the pixel at the longitude and latitude of each normal.

    Parameters
    ----------
    texture : array_like
        ``(height, width[, channels])``: an equirectangular map, with the north pole along the top edge.
    normals : array_like
        ``(..., 3)`` unit vectors, such as those of :func:`sphere_normals`.
    rotation : float or array_like
        Rotation of the sphere about its vertical axis in radians: one angle, or ``(...)`` angles.

    Returns
    -------
    numpy.ndarray
        ``(...[, channels])``, the nearest pixel of the texture.

    Raises
    ------
    TypeError
        If an argument is not made of real numbers.
    ValueError
        If the texture does not have two or three dimensions, or the last axis of the normals does not have length 3.

    Examples
    --------
    Column 0 of the map begins in front; a quarter of a turn to the right is a quarter of the width:

    >>> texture = [[0.0, 1.0, 2.0, 3.0]]
    >>> wrap(texture, [[0, 0, 1], [1, 0, 0], [0, 0, -1], [-1, 0, 0]]).tolist()
    [0.0, 1.0, 2.0, 3.0]
    >>> wrap(texture, [[0, 0, 1], [1, 0, 0]], rotation=np.pi / 2).tolist()
    [1.0, 2.0]
    """
    texture = validate.real_array(texture, "texture", ndim=(2, 3))
    normals, rotation = _vectors(normals, "normals"), validate.real_array(rotation, "rotation")
    longitude = (np.arctan2(normals[..., 0], normals[..., 2]) + rotation) / (2 * np.pi)
    latitude = np.arccos(np.clip(normals[..., 1], -1, 1)) / np.pi
    height, width = texture.shape[:2]
    # The offset keeps rounding from moving exact angles, such as a quarter of a turn, to the pixel before.
    columns = np.floor(longitude * width + 1e-9).astype(int) % width
    return texture[np.minimum((latitude * height).astype(int), height - 1), columns]


def lit_sphere(
    size: int, *, light: ArrayLike = (-1.0, 1.0, 1.5), ambient: float = 0.1, background: float = 0.0
) -> NDArray[np.float32]:
    """Render a diffuse sphere of radius 0.9: ambient light plus Lambert's cosine law.

    Parameters
    ----------
    size : int
        Height and width in pixels, at least 2.
    light : array_like
        ``(3,)`` direction to the light, of any length.
    ambient : float
        Ambient light a, in [0, 1]. The brightness is a + (1 - a) times the diffuse term of :func:`phong`.
    background : float
        Grey value of the background, in [0, 1].

    Returns
    -------
    numpy.ndarray
        float32 ``(size, size)`` in [0, 1].

    Raises
    ------
    TypeError
        If an argument is not made of real numbers.
    ValueError
        If the light is (0, 0, 0), or a grey value is outside [0, 1].

    Examples
    --------
    Lit from the viewer's side the centre is white. Lit from behind, only ambient light remains:

    >>> [float(lit_sphere(5, light=(0, 0, z), ambient=0.25)[2, 2]) for z in (1, -1)]
    [1.0, 0.25]
    """
    ambient = validate.real(ambient, "ambient", minimum=0, maximum=1)
    background = validate.real(background, "background", minimum=0, maximum=1)
    normals = sphere_normals(size)
    diffuse, _ = phong(normals, light)
    return np.where(normals.any(axis=-1), ambient + (1 - ambient) * diffuse, background).astype(np.float32)


def sphere_radii(radius: ArrayLike) -> Array:
    """Return one radius or several, each in (0, 1], with two additional axes for the pixels.

    Raises
    ------
    TypeError
        If a radius is not a real number.
    ValueError
        If a radius is outside (0, 1].

    Examples
    --------
    The axes let radii broadcast against an image:

    >>> (sphere_radii([0.5, 1.0]) * np.ones((2, 3))).tolist()
    [[[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]], [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]]
    """
    radius = validate.real_array(radius, "radius")
    if not ((radius > 0) & (radius <= 1)).all():
        raise ValueError(f"radius is {radius}; expected more than 0 and at most 1")
    return radius[..., np.newaxis, np.newaxis]


def light_directions(light: ArrayLike, *, above: bool = False) -> Array:
    """Return directions to lights, ``(..., 3)``, as unit vectors. With ``above``, their z must be positive.

    Raises
    ------
    TypeError
        If the values are not real numbers.
    ValueError
        If the last axis does not have length 3, a direction is (0, 0, 0), or one is not above the plane.

    Examples
    --------
    >>> light_directions([0, 3, 4]).tolist()
    [0.0, 0.6, 0.8]
    """
    light = _vectors(light, "light")
    largest = np.abs(light).max(axis=-1, keepdims=True)
    if (largest == 0).any() or (above and (light[..., 2] <= 0).any()):
        raise ValueError(f"light is {light}; expected " + ("a direction from above, z > 0" if above else "not all zeros"))
    # Dividing by the largest value first keeps the squares of very small or large values from becoming 0 or infinite.
    light = light / largest
    return light / np.linalg.norm(light, axis=-1, keepdims=True)


def pixel_grid(size: int, dtype: DTypeLike = np.float64) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the coordinates x and y of the pixels, ``(size, size)`` each, in [-1, 1].

    Raises
    ------
    TypeError
        If the size is not an integer.
    ValueError
        If the size is less than 2.

    Examples
    --------
    >>> x, y = pixel_grid(2)
    >>> x.tolist(), y.tolist()
    ([[-1.0, 1.0], [-1.0, 1.0]], [[1.0, 1.0], [-1.0, -1.0]])
    """
    axis = np.linspace(-1, 1, validate.integer(size, "size", minimum=2), dtype=dtype)
    x, y = np.meshgrid(axis, -axis)
    return x, y


def _vectors(vectors: ArrayLike, name: str) -> Array:
    vectors = validate.real_array(vectors, name)
    if vectors.shape[-1:] != (3,):
        raise ValueError(f"{name} has the shape {vectors.shape}; expected a last axis of length 3")
    return vectors

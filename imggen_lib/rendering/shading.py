"""Spheres, light and shadow: what geometry knows of a ball on a table."""

import numpy as np

from imggen_lib import _validation as validate


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
    radius = radii(radius)
    x, y = (axis / radius for axis in grid(size, radius.dtype))
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
    normals, light = _vectors(normals, "normals"), directions(light)
    cosine = np.einsum("...i,...i->...", normals, light)
    mirrored = 2 * cosine * normals[..., 2] - light[..., 2]
    lit = cosine > 0
    highlight = np.where(lit, np.clip(mirrored, 0, 1), 0) ** validate.real(shininess, "shininess", minimum=1)
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
    light, radius = directions(light, above=True)[..., np.newaxis, np.newaxis, :], radii(radius)
    x, y = grid(size, radius.dtype)
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
    texture = validate.real_array(texture, "texture", ndim=(2, 3))
    normals, turn = _vectors(normals, "normals"), validate.real_array(turn, "turn")
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
    ambient = validate.real(ambient, "ambient", minimum=0, maximum=1)
    background = validate.real(background, "background", minimum=0, maximum=1)
    normals = sphere_normals(size)
    cosine, _ = phong(normals, light)
    return np.where(normals.any(axis=-1), ambient + (1 - ambient) * cosine, background).astype(np.float32)


def radii(radius):
    """Check a radius, or several, in (0, 1], and give them two axes for the pixels.

    Raises
    ------
    ValueError
        If one is outside.

    Examples
    --------
    >>> radii([0.5, 1.0]).shape
    (2, 1, 1)
    """
    radius = validate.real_array(radius, "radius")
    if not ((radius > 0) & (radius <= 1)).all():
        raise ValueError(f"radius is {radius}; expected more than 0 and at most 1")
    return radius[..., np.newaxis, np.newaxis]


def _vectors(vectors, name):
    vectors = validate.real_array(vectors, name)
    if vectors.shape[-1:] != (3,):
        raise ValueError(f"{name} has the shape {vectors.shape}; expected three numbers along the last axis")
    return vectors


def directions(light, *, above=False):
    """Check directions towards lights, ``(..., 3)``, all from above the table if asked, and give them the length 1.

    Raises
    ------
    ValueError
        If one has no length, not three numbers, or comes from below though that is asked.

    Examples
    --------
    >>> directions([0, 3, 4]).tolist()
    [0.0, 0.6, 0.8]
    """
    light = _vectors(light, "light")
    largest = np.abs(light).max(axis=-1, keepdims=True)
    if (largest == 0).any() or (above and (light[..., 2] <= 0).any()):
        raise ValueError(f"light is {light}; expected " + ("a direction from above, z > 0" if above else "not all zeros"))
    # In two steps: the squares of very small or large numbers would become 0 or infinite.
    light = light / largest
    return light / np.linalg.norm(light, axis=-1, keepdims=True)


def grid(size, dtype=np.float64):
    """Return the coordinates of the pixels: x to the right and y upwards, from -1 to 1.

    Raises
    ------
    ValueError
        If the size is below 2.

    Examples
    --------
    >>> x, y = grid(2)
    >>> x.tolist(), y.tolist()
    ([[-1.0, 1.0], [-1.0, 1.0]], [[1.0, 1.0], [-1.0, -1.0]])
    """
    axis = np.linspace(-1, 1, validate.integer(size, "size", minimum=2), dtype=dtype)
    return np.meshgrid(axis, -axis)

"""Statistics that describe images by fixed formulas, without training: features for distances between sets of images."""

from __future__ import annotations

import numpy as np
import PIL.Image
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate

__all__ = ["DIMENSION", "image_statistics"]

#: The number of features that :func:`image_statistics` returns for each image.
DIMENSION = 123

# Images are resized to this height and width. There are three halvings, so that differences are taken at four scales.
_SIZE, _SCALES = 64, 4
# Intensity and two colour differences, which are 0 for grey.
_OPPONENT = (np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])).astype(np.float32)
# Images are processed this many at a time: about 50 MB of intermediate arrays.
_BATCH = 128


def image_statistics(images: ArrayLike) -> NDArray[np.float32]:
    r"""Return statistics of edges, texture, layout and colour at four scales, 123 numbers for each image.

    Images are resized to 64x64 by averaging and converted to intensity and two opponent colours. At each of four scales,
    each half the size of the previous one, differences of neighbouring pixels measure edges:

    - intensity, in four directions: mean absolute difference in each quarter of the image, and its standard deviation;
    - colours: mean and standard deviation of the gradient's magnitude.

    Further statistics are the mean intensity of each of 4x4 cells, the mean colours of each quarter, and the standard
    deviation of intensity and colours. Differences are compressed by a square root, so that weak edges count as well as
    strong ones.

    The Fréchet distance between these features rises with blur, noise, colour shift, exchanged parts of the image and
    missing classes: ``benchmarks/feature_space.py`` compares them with alternatives. They do not recognise objects.

    Parameters
    ----------
    images : array_like
        ``(n, height, width, channels)`` in [0, 1], grey or RGB. Grey images are treated as RGB with equal channels.

    Returns
    -------
    numpy.ndarray
        float32 ``(n, 123)``.

    Raises
    ------
    TypeError, ValueError
        If the images are not floating-point in [0, 1], or have neither 1 nor 3 channels.

    References
    ----------
    Portilla and Simoncelli, "A parametric texture model based on joint statistics of complex wavelet coefficients",
    International Journal of Computer Vision 40, 2000 (statistics over scales and directions). Burt and Adelson, "The
    Laplacian pyramid as a compact image code", IEEE Transactions on Communications 31, 1983.

    Examples
    --------
    A uniform image has no edges: all features are 0 except the mean intensity of 16 cells, √3 times the grey level.

    >>> uniform = image_statistics(np.full((1, 20, 30, 1), 0.5))
    >>> uniform.shape, int((uniform > 1e-3).sum()), round(float(uniform.max()), 3)
    ((1, 123), 16, 0.866)
    """
    checked = validate.image(images, "images", ndim=4)
    if checked.shape[-1] not in (1, 3):
        raise ValueError(f"images has {checked.shape[-1]} channels; expected 1 (grey) or 3 (RGB)")
    starts = range(0, len(checked), _BATCH)
    return np.concatenate([_statistics(checked[start : start + _BATCH].astype(np.float32)) for start in starts])


def _statistics(images: NDArray[np.float32]) -> NDArray[np.float32]:
    rgb = np.broadcast_to(_resize(images), (len(images), _SIZE, _SIZE, 3))
    scaled = opponent = np.moveaxis(rgb @ _OPPONENT.T, -1, 1)
    found = [_cell_means(opponent[:, 0], 4), _cell_means(opponent[:, 1:], 2), opponent.std(axis=(2, 3))]
    for scale in range(_SCALES):
        if scale:
            scaled = _halve(scaled)
        x, y = np.diff(scaled, axis=3)[:, :, :-1], np.diff(scaled, axis=2)[..., :-1]
        diagonals = scaled[:, 0, 1:, 1:] - scaled[:, 0, :-1, :-1], scaled[:, 0, 1:, :-1] - scaled[:, 0, :-1, 1:]
        edges = np.abs(np.stack([x[:, 0], y[:, 0], *(np.float32(0.5**0.5) * diagonal for diagonal in diagonals)], axis=1))
        colour_edges = np.hypot(x[:, 1:], y[:, 1:])
        statistics = [_cell_means(edges, 2), edges.std(axis=(2, 3)), colour_edges.mean(axis=(2, 3))]
        found += [np.sqrt(values) for values in (*statistics, colour_edges.std(axis=(2, 3)))]
    return np.concatenate([values.reshape(len(images), -1) for values in found], axis=1)


def _resize(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Resize with Pillow's antialiased linear filter, applied as a matrix along each axis."""
    for axis in (1, 2):
        length = images.shape[axis]
        if length != _SIZE:
            identity = PIL.Image.fromarray(np.eye(length, dtype=np.float32))
            matrix = np.asarray(identity.resize((length, _SIZE), PIL.Image.Resampling.BILINEAR))
            images = np.moveaxis(np.tensordot(images, matrix, axes=(axis, 1)), -1, axis)
    return images


def _halve(images: NDArray[np.float32]) -> NDArray[np.float32]:
    *batch, height, width = images.shape
    return images.reshape(*batch, height // 2, 2, width // 2, 2).mean(axis=(-3, -1))


def _cell_means(images: NDArray[np.float32], cells: int) -> NDArray[np.float32]:
    """Return the means of ``cells`` times ``cells`` parts of about equal size, over the last two axes."""
    for axis in (-2, -1):
        edges = np.linspace(0, images.shape[axis], cells + 1).astype(int)
        sums = np.add.reduceat(images, edges[:-1], axis=axis)
        lengths = np.diff(edges).astype(np.float32)
        images = np.divide(sums, lengths[:, np.newaxis] if axis == -2 else lengths, dtype=np.float32)
    return images

"""Small datasets and photographs that come with scikit-learn and scikit-image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import skimage.data
from numpy.typing import NDArray

from imggen_lib import _validation as validate
from imggen_lib.datasets.base import Condition, Dataset

__all__ = ["PHOTOGRAPHS", "photograph"]

#: The names that :func:`photograph` takes.
PHOTOGRAPHS = ("astronaut", "brick", "camera", "chelsea", "coffee", "grass", "gravel", "rocket")


def photograph(name: str) -> NDArray[np.float32]:
    """Return a photograph that comes with scikit-image, in the public domain or under CC0.

    Parameters
    ----------
    name : str
        One of ``PHOTOGRAPHS``.

    Returns
    -------
    numpy.ndarray
        float32 in [0, 1]: ``(height, width)`` if grey, ``(height, width, 3)`` if in colour.

    Raises
    ------
    ValueError
        If there is no photograph of that name.

    References
    ----------
    Van der Walt et al., "scikit-image: image processing in Python", PeerJ 2:e453, 2014.

    Examples
    --------
    ``camera`` is grey, ``astronaut`` is in colour:

    >>> photograph("camera").shape, photograph("astronaut").shape
    ((512, 512), (512, 512, 3))
    """
    validate.choice(name, "photograph", PHOTOGRAPHS)
    return getattr(skimage.data, name)().astype(np.float32) / 255


def _digits() -> Dataset:
    from sklearn.datasets import load_digits  # imported here because scikit-learn takes half a second to import

    digits = load_digits()
    images = digits.images[..., np.newaxis].astype(np.float32) / 16
    return _split("digits", images, digits.target, tuple("0123456789"))


def _faces() -> Dataset:
    # The first 100 images are faces, the others are patches of the background.
    images = skimage.data.lfw_subset()[..., np.newaxis].astype(np.float32)
    return _split("faces", images, np.repeat([0, 1], 100), ("face", "no face"))


def _split(name: str, images: NDArray[np.float32], labels: NDArray[Any], class_names: tuple[str, ...]) -> Dataset:
    """Return a dataset with a random fifth of each class as test images, the same in every call."""
    from sklearn.model_selection import train_test_split

    x_train, x_test, y_train, y_test = train_test_split(
        images, labels.astype(np.int64), test_size=0.2, stratify=labels, random_state=0
    )
    return Dataset(name, x_train, y_train, x_test, y_test, Condition("classes", class_names))


LOADERS: dict[str, Callable[..., Dataset]] = {"digits": _digits, "faces": _faces}

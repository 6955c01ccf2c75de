"""Small datasets and photographs that come with scikit-learn and scikit-image."""

import numpy as np
import skimage.data

from imggen_lib import _validation as validate
from imggen_lib.datasets.base import Condition, Dataset

PHOTOGRAPHS = ("astronaut", "brick", "camera", "chelsea", "coffee", "grass", "gravel", "rocket")


def photograph(name):
    """Return a photograph that comes with scikit-image.

    Parameters
    ----------
    name : str
        One of ``PHOTOGRAPHS``.

    Returns
    -------
    numpy.ndarray
        float32 in [0, 1], ``(height, width)`` if grey, ``(height, width, 3)`` if in colour.

    Raises
    ------
    ValueError
        If there is none of that name.

    Examples
    --------
    >>> photograph("camera").shape
    (512, 512)
    """
    validate.choice(name, "photograph", PHOTOGRAPHS)
    return getattr(skimage.data, name)().astype(np.float32) / 255


def _digits(_):
    from sklearn.datasets import load_digits  # takes longer to import than all the rest here

    digits = load_digits()
    images = digits.images[..., np.newaxis].astype(np.float32) / 16
    return _split("digits", images, digits.target, tuple("0123456789"))


def _faces(_):
    # scikit-image stores 100 faces first, then 100 pieces without a face.
    images = skimage.data.lfw_subset()[..., np.newaxis].astype(np.float32)
    return _split("faces", images, np.repeat([0, 1], 100), ("face", "no face"))


def _split(name, images, labels, class_names):
    """Keep a fifth for testing, the same every time, balanced over the classes."""
    from sklearn.model_selection import train_test_split

    x_train, x_test, y_train, y_test = train_test_split(
        images, labels.astype(np.int64), test_size=0.2, stratify=labels, random_state=0
    )
    return Dataset(name, x_train, y_train, x_test, y_test, Condition("classes", class_names))


LOADERS = {"digits": _digits, "faces": _faces}

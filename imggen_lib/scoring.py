"""How good generated pictures are: their Fréchet distance to test images, as a multiple of what real ones score."""

import dataclasses
import functools
import hashlib

import numpy as np

from imggen_lib import catalog, checks, datasets, metrics


@dataclasses.dataclass(frozen=True)
class Score:
    """A Fréchet distance and what is needed to read it.

    Attributes
    ----------
    distance : float
        Between the features of the pictures and of the test images.
    floor : float
        The same distance for as many real training images: what a perfect model would score.
    images, test_images : int
        How many pictures were judged, and against how many. Distances of other numbers are not comparable.
    dataset : str

    Examples
    --------
    >>> Score(distance=3.0, floor=1.5, images=5000, test_images=2000, dataset="fashion_mnist").multiple
    2.0
    """

    distance: float
    floor: float
    images: int
    test_images: int
    dataset: str

    @property
    def multiple(self):
        """The distance as a multiple of the floor: 1 is as good as real pictures."""
        return self.distance / self.floor

    def __str__(self):
        return (
            f"Fréchet distance {self.distance:.2f} = {self.multiple:.1f} times the floor ({self.floor:.3f}), "
            f"{self.images:,} images against {self.test_images:,} test images of {self.dataset}"
        )


def score(images, dataset):
    """Score pictures against the test images of a dataset.

    Features come from the shipped classifier, which has seen real clothes and no generated picture.

    Parameters
    ----------
    images : array_like
        ``(n, 28, 28, 1)`` in [0, 1]; at least 2, and at most as many as the dataset has training images.
    dataset : imggen_lib.datasets.Dataset
        ``fashion_mnist`` or ``fashion_mnist_full``.

    Returns
    -------
    Score

    Raises
    ------
    ValueError
        If the pictures have another shape, there are too many for a floor, or no features fit the dataset.

    Examples
    --------
    >>> clothes = datasets.load("fashion_mnist")
    >>> round(score(clothes.x_train[:100], clothes).distance) < 100
    True
    """
    images = checks.image(images, "images", ndim=4)
    if dataset.image_shape != (28, 28, 1) or dataset.class_names != datasets.CLOTHES:
        raise ValueError(
            f"the features come from a classifier of Fashion-MNIST and say nothing about {dataset.name}; "
            "expected fashion_mnist or fashion_mnist_full"
        )
    if images.shape[1:] != dataset.image_shape:
        raise ValueError(f"images has the shape {images.shape}; {dataset.name} has pictures of {dataset.image_shape}")
    if not 2 <= len(images) <= len(dataset.x_train):
        raise ValueError(
            f"there are {len(images)} images; expected between 2 and {len(dataset.x_train)}, the number of training "
            f"images in {dataset.name} that the floor is taken from"
        )
    test = _real_features(dataset.x_test)
    # Training images come in no order of classes, so the first are as good as any.
    real = _real_features(dataset.x_train[: len(images)])
    return Score(
        distance=metrics.frechet_distance(features(images), test),
        floor=metrics.frechet_distance(real, test),
        images=len(images),
        test_images=len(test),
        dataset=dataset.name,
    )


def features(images):
    """Return the shipped classifier's features of 28x28 grey pictures, ``(n, 64)``.

    Examples
    --------
    >>> features(datasets.load("fashion_mnist").x_test[:3]).shape
    (3, 64)
    """
    return extractor().features(images)


@functools.cache
def extractor():
    """Return the shipped classifier, loaded once.

    Examples
    --------
    >>> extractor().classes
    10
    """
    return catalog.load("classifier")


_FEATURES = {}


def _real_features(images):
    """Features of real images, computed once a process for the same images."""
    key = hashlib.sha256(np.ascontiguousarray(images)).hexdigest()
    if key not in _FEATURES:
        _FEATURES[key] = features(images)
    return _FEATURES[key]

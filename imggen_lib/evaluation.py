"""How good generated pictures are: their Fréchet distance to test images, as a multiple of what real ones score."""

import dataclasses
import functools
import hashlib

import numpy as np

from imggen_lib import _validation as validate
from imggen_lib import datasets, metrics, pretrained

NEIGHBOURS = 5


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
    generated, real, test = _feature_sets(images, dataset)
    return Score(
        distance=metrics.frechet_distance(generated, test),
        floor=metrics.frechet_distance(real, test),
        images=len(generated),
        test_images=len(test),
        dataset=dataset.name,
    )


def measures(images, dataset):
    """Measure what one distance mixes up: whether pictures look real, and whether all kinds of real ones are among them.

    Parameters, features and errors are those of :func:`score`; there must be more than 5 pictures, since the measures look
    at the 5 nearest of each (precision and recall at 3, as published).

    Returns
    -------
    dict
        From the name of each measure (kernel distance, precision, recall, density, coverage) to two numbers: of the
        pictures, and of as many real training images.

    Examples
    --------
    >>> clothes = datasets.load("fashion_mnist")
    >>> precision, of_real_images = measures(clothes.x_train[:100], clothes)["precision"]
    >>> precision == of_real_images > 0.5
    True
    """
    generated, real, test = _feature_sets(images, dataset)
    if len(generated) <= NEIGHBOURS:
        raise ValueError(f"there are {len(generated)} images; the measures of neighbours need more than {NEIGHBOURS}")
    of_pictures, of_real = (_measure(features, test) for features in (generated, real))
    return {name: (value, of_real[name]) for name, value in of_pictures.items()}


def _measure(features, test):
    precision, recall = metrics.precision_recall(test, features)
    density, coverage = metrics.density_coverage(test, features, neighbours=NEIGHBOURS)
    return {
        "kernel distance": metrics.kernel_distance(features, test),
        "precision": precision,
        "recall": recall,
        "density": density,
        "coverage": coverage,
    }


def _feature_sets(images, dataset):
    """Check the pictures; return their features, those of as many real training images, and those of the test images."""
    images = validate.image(images, "images", ndim=4)
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
    # Training images come in no order of classes, so the first are as good as any.
    real = dataset.x_train[: len(images)]
    return _features_once(images), _features_once(real), _features_once(dataset.x_test)


def features(images):
    """Return the shipped classifier's features of 28x28 grey pictures, ``(n, 64)``.

    Examples
    --------
    >>> features(datasets.load("fashion_mnist").x_test[:3]).shape
    (3, 64)
    """
    return extractor().features(images)


def shows(images, choices):
    """Say which words of their captions pictures of marbles show, by the judgement of the shipped ``marble_classifier``.

    Parameters
    ----------
    images : array_like
        ``(n, 32, 32, 3)`` in [0, 1].
    choices : array_like of int
        ``(n, 5)``: what was asked for, as in :func:`imggen_lib.datasets.marble_captions.caption`.

    Returns
    -------
    numpy.ndarray
        bool ``(n, 5)``: whether the word of each factor is right.

    Raises
    ------
    ValueError
        If the pictures have another shape or values outside [0, 1], or the choices are not one row for each.

    Examples
    --------
    >>> from imggen_lib import captions
    >>> images = marble_captions.render([(1, 0, 0, 0, 0)], rng=0, size=32)
    >>> shows(images, [(1, 0, 0, 0, 1)]).tolist()
    [[True, True, True, True, False]]
    """
    found, choices = _reader().read(images), np.asarray(choices)
    if choices.shape != found.shape:
        raise ValueError(f"choices has the shape {choices.shape}; expected {found.shape}, a row for each picture")
    return found == choices


@functools.cache
def _reader():
    return pretrained.load("marble_classifier")


@functools.cache
def extractor():
    """Return the shipped classifier, loaded once.

    Examples
    --------
    >>> extractor().num_classes
    10
    """
    return pretrained.load("classifier")


_FEATURES = {}


def _features_once(images):
    """Features of images, computed once for the same images as long as they are among the latest sixteen sets."""
    key = images.shape, hashlib.sha256(np.ascontiguousarray(images)).hexdigest()
    _FEATURES[key] = _FEATURES.pop(key) if key in _FEATURES else features(images)
    while len(_FEATURES) > 16:
        del _FEATURES[next(iter(_FEATURES))]
    return _FEATURES[key]

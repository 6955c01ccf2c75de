"""Evaluation: features of images, distances between generated and real images, and the quality of a trained model."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate
from imggen_lib import metrics, pretrained
from imggen_lib.datasets import CLOTHES, Dataset, marble_captions

if TYPE_CHECKING:
    import keras

    from imggen_lib.models import AttributeClassifier, Classifier, GenerativeModel

__all__ = ["Evaluation", "Score", "caption_matches", "classifier", "evaluate", "features", "measures", "score"]

#: The k of density and coverage: distances to the k-th nearest real image.
NEIGHBOURS = 5
#: Images that :func:`evaluate` generates, and images for each kind of caption.
NUM_IMAGES, NUM_CAPTIONED = 5000, 500
#: Guidance scale with which captions are evaluated.
GUIDANCE_SCALE = 2.0


@dataclasses.dataclass(frozen=True)
class Score:
    """A Fréchet distance, with everything needed to read it.

    Attributes
    ----------
    distance : float
        Between the features of the images and those of the test images.
    baseline : float
        The same distance for as many real training images: what a perfect model would reach.
    n, n_test : int
        How many images, and how many test images. Distances at different n are not comparable: the baseline shrinks as n
        grows.
    dataset : str

    Examples
    --------
    >>> print(Score(distance=3.0, baseline=0.7, n=5000, n_test=10000, dataset="fashion_mnist_full"))
    Fréchet distance 3.00 at n = 5,000 (as many real images: 0.70), against 10,000 test images of fashion_mnist_full
    """

    distance: float
    baseline: float
    n: int
    n_test: int
    dataset: str

    def __str__(self) -> str:
        return (
            f"Fréchet distance {self.distance:.2f} at n = {self.n:,} (as many real images: {self.baseline:.2f}), "
            f"against {self.n_test:,} test images of {self.dataset}"
        )


def score(images: ArrayLike, dataset: Dataset) -> Score:
    """Return the Fréchet distance between images and the test images of a dataset.

    The features are those of the shipped classifier of Fashion-MNIST, so only that dataset can be scored.

    Parameters
    ----------
    images : array_like
        ``(n, 28, 28, 1)`` in [0, 1]; from 2 images to the number of training images, from which the baseline is computed.
    dataset : imggen_lib.datasets.Dataset
        ``fashion_mnist`` or ``fashion_mnist_full``.

    Returns
    -------
    Score

    Raises
    ------
    ValueError
        If the images have another shape, there are too few or too many, or no features fit the dataset.

    Examples
    --------
    Training images against test images score the baseline itself:

    >>> from imggen_lib import datasets
    >>> clothes = datasets.load("fashion_mnist")
    >>> real = score(clothes.x_train[:500], clothes)
    >>> real.distance == real.baseline
    True
    """
    generated, real, test = _feature_sets(images, dataset)
    return Score(
        distance=metrics.frechet_distance(generated, test),
        baseline=metrics.frechet_distance(real, test),
        n=len(generated),
        n_test=len(test),
        dataset=dataset.name,
    )


def measures(images: ArrayLike, dataset: Dataset) -> dict[str, tuple[float, float]]:
    """Return measures that separate the quality of images from their diversity.

    Parameters and errors are those of :func:`score`; there must be more than 5 images, because density and coverage use
    the distance to the 5th neighbour (precision and recall: to the 3rd, as published).

    Returns
    -------
    dict
        From the name of each measure (kernel distance, precision, recall, density, coverage) to two values: of the images,
        and of as many real training images.

    Examples
    --------
    Images that are all alike have no recall:

    >>> from imggen_lib import datasets
    >>> clothes = datasets.load("fashion_mnist")
    >>> found = measures(np.repeat(clothes.x_train[:1], 50, axis=0), clothes)
    >>> found["recall"][0] < 0.01 < found["recall"][1]
    True
    """
    generated, real, test = _feature_sets(images, dataset)
    if len(generated) <= NEIGHBOURS:
        raise ValueError(f"there are {len(generated)} images; measures with neighbours need more than {NEIGHBOURS}")
    of_images, of_real = (_measures(sample, test) for sample in (generated, real))
    return {name: (value, of_real[name]) for name, value in of_images.items()}


def _measures(sample: NDArray[np.floating], test: NDArray[np.floating]) -> dict[str, float]:
    precision, recall = metrics.precision_recall(test, sample)
    density, coverage = metrics.density_coverage(test, sample, neighbours=NEIGHBOURS)
    return {
        "kernel distance": metrics.kernel_distance(sample, test),
        "precision": precision,
        "recall": recall,
        "density": density,
        "coverage": coverage,
    }


def _feature_sets(images: ArrayLike, dataset: Dataset) -> tuple[NDArray[np.float32], ...]:
    """Check images; return their features, those of as many real training images, and those of the test images."""
    checked = validate.image(images, "images", ndim=4)
    if dataset.condition.names != CLOTHES:
        raise ValueError(
            f"the features come from a classifier of Fashion-MNIST and do not apply to {dataset.name}; expected "
            "fashion_mnist or fashion_mnist_full"
        )
    if checked.shape[1:] != dataset.image_shape:
        raise ValueError(f"images has the shape {checked.shape}; {dataset.name} has images of {dataset.image_shape}")
    if not 2 <= len(checked) <= len(dataset.x_train):
        raise ValueError(
            f"there are {len(checked)} images; expected between 2 and {len(dataset.x_train)}, the number of training "
            f"images of {dataset.name} that the baseline is computed from"
        )
    # Training images are stored in random order, so the first n are a random sample.
    return features(checked), features(dataset.x_train[: len(checked)]), features(dataset.x_test)


def features(images: ArrayLike) -> NDArray[np.float32]:
    """Return the features of 28x28 grey images, ``(n, 64)``, from the last hidden layer of the shipped classifier.

    Examples
    --------
    Features tell classes apart: two trousers are closer than a trouser and a sneaker.

    >>> from imggen_lib import datasets
    >>> clothes = datasets.load("fashion_mnist")
    >>> trousers, sneakers = (clothes.x_test[clothes.y_test == clothes.label(name)] for name in ("trouser", "sneaker"))
    >>> a, b, c = features(np.stack([trousers[0], trousers[1], sneakers[0]]))
    >>> bool(np.linalg.norm(a - b) < np.linalg.norm(a - c))
    True
    """
    return classifier().features(images)


@functools.cache
def classifier() -> Classifier:
    """Return the shipped classifier of Fashion-MNIST, loaded once.

    Examples
    --------
    >>> from imggen_lib import datasets
    >>> clothes = datasets.load("fashion_mnist")
    >>> predicted = classifier().predict_proba(clothes.x_test[:500]).argmax(axis=1)
    >>> bool((predicted == clothes.y_test[:500]).mean() > 0.9)
    True
    """
    return pretrained.load("classifier")


@functools.cache
def _marble_classifier() -> AttributeClassifier:
    return pretrained.load("marble_classifier")


def caption_matches(images: ArrayLike, choices: ArrayLike) -> NDArray[np.bool_]:
    """Return which attributes of their captions images of marbles show, according to the shipped ``marble_classifier``.

    Parameters
    ----------
    images : array_like
        ``(n, 32, 32, 3)`` in [0, 1].
    choices : array_like of int
        ``(n, 5)``: the requested attributes, as in :func:`imggen_lib.datasets.marble_captions.combinations`.

    Returns
    -------
    numpy.ndarray
        bool ``(n, 5)``.

    Raises
    ------
    ValueError
        If the images have another shape or values outside [0, 1], or there is not one row of choices for each.

    Examples
    --------
    A marble lit from the left, compared with the request for light from the right:

    >>> images = marble_captions.render([(1, 0, 0, 0, 0)], rng=0, size=32)
    >>> caption_matches(images, [(1, 0, 0, 0, 1)]).tolist()
    [[True, True, True, True, False]]
    """
    predicted, requested = _marble_classifier().predict_attributes(images), np.asarray(choices)
    if requested.shape != predicted.shape:
        raise ValueError(f"choices has the shape {requested.shape}; expected {predicted.shape}, one row for each image")
    return predicted == requested


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The measured quality of a trained model.

    Attributes
    ----------
    values : dict of str to float
        The measures by name.
    text : str
        The same in words, with numbers of images.
    """

    values: dict[str, float]
    text: str

    def __str__(self) -> str:
        return self.text


def evaluate(model: keras.Model, dataset: Dataset, *, seed: int = 0) -> Evaluation:
    """Measure a trained model by what it was trained for.

    Classifiers: accuracy on the test images. Generative models of clothes: the Fréchet distance of 5,000 samples (of as
    many as there are training images, if these are fewer). Models conditioned on captions of marbles: the share of
    attributes that their samples show, for captions of the training set and for held-out ones.

    Parameters
    ----------
    model : keras.Model
        A model of :mod:`imggen_lib.models`.
    dataset : imggen_lib.datasets.Dataset
        Whose test images count.
    seed : int
        Of the samples.

    Returns
    -------
    Evaluation

    Examples
    --------
    >>> from imggen_lib import datasets
    >>> evaluate(classifier(), datasets.load("fashion_mnist")).values["accuracy"] > 0.9
    True
    """
    if model.task == "classification":
        correct = model.predict_proba(dataset.x_test).argmax(axis=1) == dataset.y_test
        text = f"accuracy {correct.mean():.1%} on {len(correct):,} test images"
        return Evaluation({"accuracy": float(correct.mean())}, text)
    if model.task == "attributes":
        return _evaluate_attributes(model, dataset)
    if dataset.condition.kind == "captions" and model.num_classes is not None:
        return _evaluate_captions(model, seed)
    if dataset.condition.names != CLOTHES:
        return Evaluation({}, f"not scored: there are no features for {dataset.name}")
    found = score(model.sample(min(NUM_IMAGES, len(dataset.x_train)), seed=seed), dataset)
    return Evaluation({"frechet_distance": found.distance, "baseline": found.baseline}, str(found))


def _evaluate_attributes(model: AttributeClassifier, dataset: Dataset) -> Evaluation:
    correct = model.predict_attributes(dataset.x_test) == marble_captions.decode(dataset.y_test)
    values = {"attributes": float(correct.mean()), "captions": float(correct.all(axis=1).mean())}
    text = (
        f"{values['attributes']:.1%} of attributes and {values['captions']:.1%} of whole captions correct on "
        f"{len(correct):,} test images"
    )
    return Evaluation(values, text)


def _evaluate_captions(model: GenerativeModel, seed: int) -> Evaluation:
    values: dict[str, Any] = {}
    parts = []
    for name, combinations in zip(("training", "held-out"), marble_captions.combinations(), strict=True):
        choices = np.random.default_rng(seed).choice(combinations, NUM_CAPTIONED)
        rows = marble_captions.encode([marble_captions.from_choice(choice) for choice in choices])
        shown = caption_matches(model.sample(NUM_CAPTIONED, seed=seed, labels=rows, guidance_scale=GUIDANCE_SCALE), choices)
        values[f"{name} attributes"], values[f"{name} captions"] = float(shown.mean()), float(shown.all(axis=1).mean())
        parts.append(f"{shown.mean():.1%} of attributes and {shown.all(axis=1).mean():.1%} of whole {name} captions shown")
    text = f"{' and '.join(parts)}, {NUM_CAPTIONED} images each at guidance scale {GUIDANCE_SCALE:g}"
    return Evaluation(values, text)

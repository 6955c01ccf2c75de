"""Evaluation: features of images, distances between generated and real images, and the quality of a trained model."""

from __future__ import annotations

import dataclasses
import functools
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate
from imggen_lib import metrics, pretrained
from imggen_lib.datasets import CLOTHES, Dataset, captioned_emoji, composed_emoji, described_emoji, marble_captions
from imggen_lib.descriptors import image_statistics

if TYPE_CHECKING:
    import keras

    from imggen_lib.models import AttributeClassifier, Classifier, GenerativeModel

__all__ = [
    "FEATURE_SPACES", "Evaluation", "Score", "caption_matches", "classifier", "emoji_recogniser", "evaluate", "features",
    "measures", "minimum_images", "scene_matches", "score",
]  # fmt: skip

#: The feature spaces by name: see :func:`features`.
FEATURE_SPACES = ("fashion_mnist", "image_statistics", "inception")
#: Where Keras stores the weights of the Inception network without its last layer.
INCEPTION_WEIGHTS = (
    Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    / "models"
    / "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"
)
#: Images that the Inception network evaluates at a time.
INCEPTION_BATCH = 64

#: The k of density and coverage: distances to the k-th nearest real image.
NEIGHBOURS = 5
#: Images that :func:`evaluate` generates, and images for each kind of caption: of marbles, of scenes of emoji.
NUM_IMAGES, NUM_CAPTIONED, NUM_SCENES = 5000, 500, 100
#: Guidance scale with which captions are evaluated.
GUIDANCE_SCALE = 2.0


@dataclasses.dataclass(frozen=True)
class Score:
    """Distances between images and real images, with everything needed to interpret them.

    Attributes
    ----------
    distance, kernel_distance : float
        Fréchet and kernel distance between the features of the images and those of the reference images.
    baseline, kernel_baseline : float
        The same distances for as many other real images: the values of a perfect model.
    n, n_reference : int
        The number of images and of reference images. Fréchet distances at different n are not comparable: the baseline
        shrinks as n grows.
    reference : str
        What the reference images are.
    features : str
        The feature space. It defines the unit, so distances in different spaces are not comparable.
    minimum : int
        The number of images and of reference images that this feature space needs: see :func:`minimum_images`.

    Examples
    --------
    >>> numbers = {"distance": 3.04, "baseline": 0.698, "kernel_distance": 0.251, "kernel_baseline": 0.0142}
    >>> about = {"reference": "test images of fashion_mnist_full", "features": "fashion_mnist", "minimum": 500}
    >>> print(Score(**numbers, n=5000, n_reference=10000, **about))
    Fréchet distance 3.04 at n = 5,000 (as many real images: 0.698), against 10,000 test images of fashion_mnist_full
    kernel distance 0.251 (as many real images: 0.0142), features fashion_mnist
    """

    distance: float
    baseline: float
    kernel_distance: float
    kernel_baseline: float
    n: int
    n_reference: int
    reference: str
    features: str
    minimum: int

    def __str__(self) -> str:
        few = min(self.n, self.n_reference) < self.minimum
        return (
            f"Fréchet distance {self.distance:.3g} at n = {self.n:,} (as many real images: {self.baseline:.3g}), "
            f"against {self.n_reference:,} {self.reference}\n"
            f"kernel distance {self.kernel_distance:.3g} (as many real images: {self.kernel_baseline:.3g}), "
            f"features {self.features}{f'; too few images, expected at least {self.minimum:,}' if few else ''}"
        )


def score(images: ArrayLike, against: Dataset | ArrayLike, *, features: str | None = None, seed: int = 0) -> Score:
    """Return the Fréchet distance and the kernel distance between images and real images.

    Parameters
    ----------
    images : array_like
        ``(n, height, width, channels)`` in [0, 1], with n at least 2. Generated images, for example.
    against : imggen_lib.datasets.Dataset or array_like
        Real images of the same shape. Of a dataset, the test images are the reference, and the baseline is computed from
        randomly chosen training images. An array is divided at random into two halves: one is the reference, and the
        baseline is computed from images of the other.
    features : str, optional
        The feature space: one of ``FEATURE_SPACES``, or ``"inception:PATH"`` with a file of weights; see :func:`features`.
        The default is ``"fashion_mnist"`` for a dataset of Fashion-MNIST, and ``"image_statistics"`` for everything else.
    seed : int
        Of the random choices among the real images.

    Returns
    -------
    Score

    Warns
    -----
    UserWarning
        If there are fewer different images or reference images than :func:`minimum_images`, some images are exact copies
        of others, or there are more images than real images for the baseline. In the last case a random subset of as many
        images is scored, because the baseline must have the same n.

    Raises
    ------
    TypeError
        If the images are not floating-point.
    ValueError
        If the values are outside [0, 1], the images and the real images differ in shape, there are fewer than 2, or the
        feature space does not fit them.
    FileNotFoundError
        If there are no weights of the Inception network.

    Examples
    --------
    The distance of training images is about that of the baseline, which is computed from other training images. Noise
    increases it:

    >>> from imggen_lib import datasets
    >>> clothes = datasets.load("fashion_mnist")
    >>> real = clothes.x_train[:500]
    >>> noisy = np.clip(real + np.random.default_rng(0).normal(scale=0.2, size=real.shape), 0, 1)
    >>> bool(score(real, clothes).distance < 10 < score(noisy, clothes).distance)
    True
    """
    sets = _feature_sets(images, against, features, seed)
    minimum = minimum_images(sets.reference.shape[1])
    _warn(sets, minimum)
    return Score(
        distance=metrics.frechet_distance(sets.images, sets.reference),
        baseline=metrics.frechet_distance(sets.baseline, sets.reference),
        kernel_distance=metrics.kernel_distance(sets.images, sets.reference),
        kernel_baseline=metrics.kernel_distance(sets.baseline, sets.reference),
        n=len(sets.images),
        n_reference=len(sets.reference),
        reference=f"test images of {against.name}" if isinstance(against, Dataset) else "real images",
        features=sets.space,
        minimum=minimum,
    )


def measures(
    images: ArrayLike, against: Dataset | ArrayLike, *, features: str | None = None, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return measures that separate the quality of images from their diversity.

    Parameters and errors are those of :func:`score`; there must be more than 5 images, because density and coverage use
    the distance to the 5th neighbour (precision and recall: to the 3rd, as published).

    Returns
    -------
    dict
        From the name of each measure (precision, recall, density, coverage) to two values: of the images, and of as many
        real images.

    Examples
    --------
    Identical images have a recall near 0:

    >>> from imggen_lib import datasets
    >>> clothes = datasets.load("fashion_mnist")
    >>> found = measures(np.repeat(clothes.x_train[:1], 50, axis=0), clothes)
    >>> found["recall"][0] < 0.01 < found["recall"][1]
    True
    """
    sets = _feature_sets(images, against, features, seed)
    if len(sets.images) <= NEIGHBOURS:
        raise ValueError(f"there are {len(sets.images)} images; measures with neighbours need more than {NEIGHBOURS}")
    of_images, of_real = (_measures(sample, sets.reference) for sample in (sets.images, sets.baseline))
    return {name: (value, of_real[name]) for name, value in of_images.items()}


def _measures(sample: NDArray[np.floating], reference: NDArray[np.floating]) -> dict[str, float]:
    precision, recall = metrics.precision_recall(reference, sample)
    density, coverage = metrics.density_coverage(reference, sample, neighbours=NEIGHBOURS)
    return {"precision": precision, "recall": recall, "density": density, "coverage": coverage}


def minimum_images(dimension: int) -> int:
    """Return how many images a Fréchet distance between features of a dimension needs: twice as many, and at least 500.

    With no more images than dimensions, the covariance of the features is singular and most of the distance is bias. With
    twice as many, the covariance has full rank. Below 500 images the distance depends strongly on the choice of images.

    Examples
    --------
    >>> minimum_images(64), minimum_images(2048)
    (500, 4096)
    """
    return max(500, 2 * dimension)


@dataclasses.dataclass(frozen=True)
class _FeatureSets:
    """Features of the images, of as many real images and of the reference images, and what a warning needs."""

    images: NDArray[np.floating]
    baseline: NDArray[np.floating]
    reference: NDArray[np.floating]
    space: str
    given: int
    copies: int


def _feature_sets(images: ArrayLike, against: Dataset | ArrayLike, space: str | None, seed: int) -> _FeatureSets:
    rng = np.random.default_rng(validate.integer(seed, "seed", minimum=0))
    checked = validate.image(images, "images", ndim=4)
    real, reference, name = _real_images(against, rng)
    if checked.shape[1:] != reference.shape[1:]:
        raise ValueError(
            f"images has the shape {checked.shape}; {name} has images of {reference.shape[1:]}: resize one of the two first"
        )
    for kind, count in (("images", len(checked)), (f"images of {name} for the baseline", len(real))):
        if count < 2:
            raise ValueError(f"the number of {kind} is {count}; expected at least 2")
    if space is None:
        of_clothes = isinstance(against, Dataset) and against.condition.names == CLOTHES
        space = "fashion_mnist" if of_clothes else "image_statistics"
    n, given = min(len(checked), len(real)), len(checked)
    if n < given:
        checked = checked[np.sort(rng.permutation(given)[:n])]
    chosen = np.sort(rng.permutation(len(real))[:n])
    return _FeatureSets(
        images=features(checked, space),
        baseline=features(real[chosen], space),
        reference=features(reference, space),
        space=space.partition(":")[0],
        given=given,
        copies=n - len({image.tobytes() for image in checked}),
    )


def _real_images(against: Dataset | ArrayLike, rng: np.random.Generator) -> tuple[Any, Any, str]:
    """Return the real images for the baseline, the reference images, and their name in an error message."""
    if isinstance(against, Dataset):
        return against.x_train, against.x_test, against.name
    real = validate.image(against, "against", ndim=4)
    order = rng.permutation(len(real))
    return real[order[len(real) // 2 :]], real[order[: len(real) // 2]], "against"


def _warn(sets: _FeatureSets, minimum: int) -> None:
    """Issue one warning of one line if there are too few images for a reliable score."""
    n, n_reference, parts = len(sets.images), len(sets.reference), []
    if sets.copies:
        parts.append(f"{sets.copies:,} of {n:,} images are exact copies of another image")
    if n - sets.copies < minimum:
        parts.append(f"{n - sets.copies:,} different images are too few, expected at least {minimum:,}")
    if n_reference < minimum:
        parts.append(f"{n_reference:,} reference images are too few, expected at least {minimum:,}")
    if n < sets.given:
        parts.append(f"{n:,} of the {sets.given:,} images are scored, because there are {n:,} real images for the baseline")
    if parts:
        warnings.warn(f"this score is unreliable: {'; '.join(parts)}", stacklevel=3)


def features(images: ArrayLike, space: str = "fashion_mnist") -> NDArray[np.floating]:
    """Return the features of images, one row for each image.

    ====================  ==========  ===============================================================================
    Space                 Dimension   Features
    ====================  ==========  ===============================================================================
    ``fashion_mnist``     64          last hidden layer of the shipped classifier; 28x28 grey images of clothes
    ``image_statistics``  123         :func:`imggen_lib.descriptors.image_statistics`; images of any content and size
    ``inception``         2,048       pooled last layer of Keras's Inception v3; needs a file of its weights
    ====================  ==========  ===============================================================================

    Parameters
    ----------
    images : array_like
        ``(n, height, width, channels)`` in [0, 1], grey or RGB.
    space : str
        One of ``FEATURE_SPACES``. ``"inception"`` looks for the weights in Keras's cache, and ``"inception:PATH"`` reads a
        file. They are never downloaded. Keras's weights differ from those of published FID values, and so do the distances.

    Returns
    -------
    numpy.ndarray
        ``(n, d)``.

    Raises
    ------
    ValueError
        If the space is unknown, or the images do not fit it.
    FileNotFoundError
        If there are no weights of the Inception network.

    References
    ----------
    Szegedy et al., "Rethinking the Inception architecture for computer vision", CVPR 2016.

    Examples
    --------
    Features separate classes: two trousers are closer than a trouser and a sneaker.

    >>> from imggen_lib import datasets
    >>> clothes = datasets.load("fashion_mnist")
    >>> trousers, sneakers = (clothes.x_test[clothes.y_test == clothes.label(name)] for name in ("trouser", "sneaker"))
    >>> a, b, c = features(np.stack([trousers[0], trousers[1], sneakers[0]]))
    >>> bool(np.linalg.norm(a - b) < np.linalg.norm(a - c))
    True
    """
    name, colon, path = space.partition(":")
    if name not in FEATURE_SPACES or (colon and name != "inception"):
        raise ValueError(f"features is {space!r}; expected one of {', '.join(FEATURE_SPACES)}, or inception:PATH")
    if name == "image_statistics":
        return image_statistics(images)
    checked = validate.image(images, "images", ndim=4)
    if name == "inception":
        return _inception_features(checked, Path(path) if path else INCEPTION_WEIGHTS)
    if checked.shape[1:] != (28, 28, 1):
        raise ValueError(
            f"images has the shape {checked.shape}; the features fashion_mnist are those of 28x28 grey images of clothes: "
            "use the features image_statistics"
        )
    return classifier().features(checked)


def _inception_features(images: NDArray[np.floating], weights: Path) -> NDArray[np.float32]:
    import keras

    if images.shape[-1] not in (1, 3):
        raise ValueError(f"images has {images.shape[-1]} channels; expected 1 (grey) or 3 (RGB)")
    network, batches = _inception(weights), []
    for start in range(0, len(images), INCEPTION_BATCH):
        batch = keras.ops.convert_to_tensor(images[start : start + INCEPTION_BATCH], "float32")
        resized = keras.ops.image.resize(batch, network.input_shape[1:3], antialias=True)
        batches.append(network.predict_on_batch(keras.ops.repeat(2 * resized - 1, 3 // images.shape[-1], axis=-1)))
    return np.concatenate(batches)


@functools.cache
def _inception(weights: Path) -> keras.Model:
    import keras

    if not weights.is_file():
        raise FileNotFoundError(
            f"there is no file {weights} with the weights of the Inception network, and they are never downloaded "
            "automatically: run keras.applications.InceptionV3(include_top=False) once, which downloads 84 MB into Keras's "
            "cache, or give a file as inception:PATH"
        )
    network = keras.applications.InceptionV3(include_top=False, weights=None, pooling="avg", input_shape=(299, 299, 3))
    try:
        network.load_weights(weights)
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(
            f"{weights} does not hold the weights of keras.applications.InceptionV3(include_top=False)"
        ) from error
    return network


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
        If the images do not have this shape or have values outside [0, 1], or the number of rows of choices differs.

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


@functools.cache
def emoji_recogniser() -> AttributeClassifier:
    """Return the shipped classifier of the attributes of scenes of emoji, which has seen all combinations.

    Examples
    --------
    >>> emoji_recogniser().counts[:3]
    (377, 8, 2)
    """
    return pretrained.load("emoji_recogniser")


def scene_matches(images: ArrayLike, descriptions: Sequence[composed_emoji.Description]) -> dict[str, NDArray[np.bool_]]:
    """Return what images of scenes show of their descriptions, according to :func:`emoji_recogniser`.

    The recogniser makes mistakes on real images, too. Compare with its rate on images of
    :func:`imggen_lib.datasets.composed_emoji.render`.

    Parameters
    ----------
    images : array_like
        ``(n, 64, 64, 3)`` in [0, 1].
    descriptions : sequence of Description
        What was requested, one for each image.

    Returns
    -------
    dict of str to numpy.ndarray
        bool ``(n,)`` for "noun", "colour", "count", "style", "position" and "all"; see
        :func:`imggen_lib.datasets.described_emoji.matches`.

    Raises
    ------
    ValueError
        If the images have another shape or values outside [0, 1], or there is not one description for each.

    Examples
    --------
    >>> wanted = composed_emoji.parse("two blue octopuses")
    >>> images = composed_emoji.render([wanted] * 20, rng=0)
    >>> bool(scene_matches(images, [wanted] * 20)["count"].mean() > 0.8)
    True
    """
    return described_emoji.matches(emoji_recogniser().predict_attributes(images), descriptions)


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
    """Measure the quality of a trained model, by the measure for its task.

    Classifiers: accuracy on the test images. Models conditioned on captions of marbles or of emoji: the share of attributes
    that their samples show, for captions of the training set and for held-out ones. Other generative models: the
    score of 5,000 samples (of as many as there are training images, if these are fewer).

    Parameters
    ----------
    model : keras.Model
        A model of :mod:`imggen_lib.models`.
    dataset : imggen_lib.datasets.Dataset
        Its test images are the reference.
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
    if dataset.condition.vocabulary in _EXAMS and model.num_classes is not None:
        return _evaluate_captions(model, dataset, seed)
    found = score(model.sample(min(NUM_IMAGES, len(dataset.x_train)), seed=seed), dataset)
    values = ("distance", "baseline", "kernel_distance", "kernel_baseline")
    return Evaluation({name: getattr(found, name) for name in values}, str(found).replace("\n", "; "))


def _evaluate_attributes(model: AttributeClassifier, dataset: Dataset) -> Evaluation:
    truth, predicted = model.decode_labels(dataset.y_test), model.predict_attributes(dataset.x_test)
    known, correct = truth >= 0, predicted == truth
    values = {"attributes": float(correct[known].mean()), "captions": float((correct | ~known).all(axis=1).mean())}
    text = (
        f"{values['attributes']:.1%} of attributes and {values['captions']:.1%} of whole captions correct on "
        f"{len(correct):,} test images"
    )
    return Evaluation(values, text)


def _evaluate_captions(model: GenerativeModel, dataset: Dataset, seed: int) -> Evaluation:
    values: dict[str, Any] = {}
    parts = []
    exams = _EXAMS[str(dataset.condition.vocabulary)](seed)
    for name, (rows, shown_in) in exams.items():
        shown = shown_in(model.sample(len(rows), seed=seed, labels=rows, guidance_scale=GUIDANCE_SCALE))
        values[f"{name} attributes"], values[f"{name} captions"] = float(shown.mean()), float(shown.all(axis=1).mean())
        parts.append(f"{shown.mean():.1%} of attributes and {shown.all(axis=1).mean():.1%} of whole {name} captions shown")
    text = f"{', '.join(parts[:-1])} and {parts[-1]}, {len(rows)} images each at guidance scale {GUIDANCE_SCALE:g}"
    return Evaluation(values, text)


#: Rows of captions, and a function from images of them to whether each attribute is shown, bool ``(n, attributes)``.
_Exam = tuple[NDArray[np.float32], Callable[[NDArray[np.float32]], NDArray[np.bool_]]]


def _exam_of_marbles(seed: int) -> dict[str, _Exam]:
    exams: dict[str, _Exam] = {}
    for name, combinations in zip(("training", "held-out"), marble_captions.combinations(), strict=True):
        choices = np.random.default_rng(seed).choice(combinations, NUM_CAPTIONED)
        rows = marble_captions.encode([marble_captions.from_choice(choice) for choice in choices])
        exams[name] = rows, functools.partial(caption_matches, choices=choices)
    return exams


def _exam_of_scenes(seed: int) -> dict[str, _Exam]:
    exams: dict[str, _Exam] = {}
    for part in composed_emoji.PARTS:
        descriptions = composed_emoji.sample_descriptions(NUM_SCENES, rng=seed, part=part)
        rows = captioned_emoji.encode([composed_emoji.compose(description) for description in descriptions])
        exams["training" if part == "train" else f"held-out {part}"] = rows, functools.partial(_stated, descriptions)
    return exams


def _stated(descriptions: Sequence[composed_emoji.Description], images: NDArray[np.float32]) -> NDArray[np.bool_]:
    found = scene_matches(images, descriptions)
    return np.stack([found[name] for name in ("noun", "colour", "count", "style")], axis=1)


#: The evaluations of captions, by the module that encodes them.
_EXAMS = {"marble_captions": _exam_of_marbles, "captioned_emoji": _exam_of_scenes}

"""Recipes of the classifiers, which evaluate generated images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from imggen_lib.recipes.base import Budget, Recipe

if TYPE_CHECKING:
    from imggen_lib.models.attribute_classifier import AttributeClassifier
    from imggen_lib.models.classifier import Classifier


def _build_classifier(
    image_shape: tuple[int, int, int],
    num_classes: int,
    seed: int,
    *,
    feature_dim: int = 64,
    filters: Sequence[int] = (32, 64, 64),
) -> Classifier:
    """Build a convolutional classifier. Its weights come from Keras's global seed, so ``seed`` is not used."""
    from imggen_lib import models

    return models.Classifier(models.image_features(image_shape, feature_dim, filters=filters), num_classes)


def _build_marble_classifier(
    image_shape: tuple[int, int, int],
    num_classes: int,
    seed: int,
    *,
    filters: Sequence[int] = (24, 48, 64),
) -> AttributeClassifier:
    """Build a classifier with one output for each attribute of a marble."""
    from imggen_lib import models
    from imggen_lib.datasets import marble_captions

    return models.AttributeClassifier(models.image_features(image_shape, filters=filters), marble_captions.COUNTS)


def _build_emoji_recogniser(
    image_shape: tuple[int, int, int],
    num_classes: int,
    seed: int,
    *,
    feature_dim: int = 384,
    filters: Sequence[int] = (32, 64, 128, 128, 160),
    noise: float = 0.05,
) -> AttributeClassifier:
    """Build a classifier of the attributes of a scene. Noise in training makes it less sensitive to generated textures."""
    from imggen_lib import models
    from imggen_lib.datasets import described_emoji

    features = models.scene_features(image_shape, feature_dim, filters=filters, noise=noise)
    return models.AttributeClassifier(features, described_emoji.COUNTS)


RECIPES = (
    Recipe(
        "classifier",
        "Classifier of ten kinds of clothes; the metrics use its features",
        _build_classifier,
        quick=Budget("fashion_mnist", 600),
        full=Budget("fashion_mnist_full", 4500),
        batch_size=128,
        learning_rate=2e-3,
        mixed_precision=True,
        condition="classes",
    ),
    Recipe(
        "marble_classifier",
        "Classifier of size, colour, texture, background and light of a marble; it evaluates captions",
        _build_marble_classifier,
        quick=Budget("described_marbles", 300),
        full=Budget("described_marbles", 1500),
        batch_size=64,
        learning_rate=2e-3,
        mixed_precision=True,
        condition="captions",
    ),
    Recipe(
        "emoji_recogniser",
        "Classifier of nouns, colours, counts, arrangement and style of a scene of emoji; it evaluates captions",
        _build_emoji_recogniser,
        quick=Budget("described_emoji", 300),
        full=Budget("described_emoji", 10000),
        batch_size=64,
        learning_rate=2e-3,
        mixed_precision=True,
        condition="captions",
    ),
)

"""Recipes of autoregressive models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imggen_lib.recipes.base import Budget, Recipe

if TYPE_CHECKING:
    from imggen_lib.models.autoregressive import PixelCNN


def _build_pixelcnn(
    image_shape: tuple[int, int, int],
    num_classes: int | None,
    seed: int,
    *,
    filters: int = 48,
    blocks: int = 12,
    mixtures: int = 8,
    ema_momentum: float = 0.999,
) -> PixelCNN:
    """Build a PixelCNN, conditional if the dataset has labels. It has no random numbers in training, so no seed."""
    from imggen_lib import models

    network = models.pixel_network(image_shape, filters=filters, blocks=blocks, mixtures=mixtures, num_classes=num_classes)
    return models.PixelCNN(network, num_classes=num_classes, ema_momentum=ema_momentum)


RECIPES = (
    Recipe(
        "pixelcnn",
        "Autoregressive model, pixel by pixel, conditioned on the class of clothes",
        _build_pixelcnn,
        quick=Budget("fashion_mnist", 200),
        full=Budget("fashion_mnist_full", 4000),
        batch_size=32,
        learning_rate=2e-3,
        condition="classes",
    ),
)

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
    blocks: int = 8,
    mixtures: int = 8,
    max_size: int = 32,
    ema_momentum: float = 0.999,
) -> PixelCNN:
    """Build a PixelCNN, conditional if the dataset has labels. It has no random numbers in training, so no seed.

    Images of more than ``max_size`` pixels on a side are modelled at a reduced size.
    """
    from imggen_lib import models

    shape = models.reduced_shape(image_shape, max_size)
    network = models.pixel_network(shape, filters=filters, blocks=blocks, mixtures=mixtures, num_classes=num_classes)
    return models.PixelCNN(network, image_shape=image_shape, num_classes=num_classes, ema_momentum=ema_momentum)


RECIPES = (
    Recipe(
        "pixelcnn",
        "Autoregressive model, pixel by pixel, conditioned on the class of clothes",
        _build_pixelcnn,
        quick=Budget("fashion_mnist", 200),
        full=Budget("fashion_mnist_full", 4500),
        batch_size=32,
        learning_rate=2e-3,
        condition="classes",
    ),
)

"""Recipes of diffusion models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from imggen_lib.recipes.base import Budget, Recipe

if TYPE_CHECKING:
    from imggen_lib.models.diffusion import Diffusion


def _build_diffusion(
    image_shape: tuple[int, int, int],
    num_classes: int | None,
    seed: int,
    *,
    filters: Sequence[int] | None = None,
    blocks: int = 2,
    label_dropout: float = 0.1,
    ema_momentum: float = 0.999,
) -> Diffusion:
    """Build a diffusion model with a U-Net, conditional if the dataset has labels.

    Above 64 pixels on a side, a third level keeps the cost of self-attention bounded, which grows with the square of the
    number of positions.
    """
    from imggen_lib import models

    if filters is None:
        filters = (48, 96) if max(image_shape[:2]) <= 64 else (48, 96, 192)
    network = models.image_unet(image_shape, num_classes=num_classes, filters=filters, blocks=blocks)
    return models.Diffusion(
        network, num_classes=num_classes, label_dropout=label_dropout, ema_momentum=ema_momentum, seed=seed
    )


RECIPES = (
    Recipe(
        "diffusion",
        "Diffusion model conditioned on the class of clothes",
        _build_diffusion,
        quick=Budget("fashion_mnist", 400),
        full=Budget("fashion_mnist_full", 15000),
        batch_size=64,
        learning_rate=1e-3,
        mixed_precision=True,
        ema_fraction=0.1,
    ),
    Recipe(
        "marble_diffusion",
        "Diffusion model of marbles conditioned on captions, 32x32 in colour",
        _build_diffusion,
        quick=Budget("captioned_marbles", 200),
        full=Budget("captioned_marbles", 5000),
        batch_size=32,
        learning_rate=1e-3,
        mixed_precision=True,
        ema_fraction=0.1,
        condition="captions",
    ),
)

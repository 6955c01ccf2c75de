"""Recipes of normalizing flows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from imggen_lib.recipes.base import Budget, Recipe

if TYPE_CHECKING:
    from imggen_lib.models.flow import Flow


def _build_flow(
    image_shape: tuple[int, int, int],
    num_classes: int | None,
    seed: int,
    *,
    filters: Sequence[int] = (48, 96),
    couplings: int = 6,
    conditional: bool = False,
    ema_momentum: float = 0.999,
) -> Flow:
    """Build a flow of affine couplings."""
    from imggen_lib import models

    classes = num_classes if conditional else None
    network = models.flow_network(image_shape, filters=filters, couplings=couplings, num_classes=classes)
    return models.Flow(network, num_classes=classes, ema_momentum=ema_momentum, seed=seed)


RECIPES = (
    Recipe(
        "flow",
        "Normalizing flow with exact likelihood",
        _build_flow,
        quick=Budget("fashion_mnist", 300),
        full=Budget("fashion_mnist_full", 5000),
        batch_size=64,
        learning_rate=1e-3,
    ),
)

"""Recipes of normalizing flows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from imggen_lib.recipes.base import Budget, Recipe

if TYPE_CHECKING:
    from imggen_lib.models.flow import Flow, TransformerFlow

#: Patches on the longer side of an image, where a recipe does not set the size of a patch.
PATCHES = 8


def _build_coupling_flow(
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


def _build_flow(
    image_shape: tuple[int, int, int],
    num_classes: int | None,
    seed: int,
    *,
    patch_size: int | None = None,
    width: int = 96,
    depth: int = 3,
    heads: int = 4,
    transforms: int = 4,
    noise_std: float = 0.1,
    label_dropout: float = 0.1,
    ema_momentum: float = 0.999,
) -> TransformerFlow:
    """Build a transformer flow, conditional if the dataset has labels. By default it has at most 8 x 8 patches."""
    from imggen_lib import models

    height, columns, channels = image_shape
    patch = -(-max(height, columns) // PATCHES) if patch_size is None else patch_size
    whole = (-(-height // patch) * patch, -(-columns // patch) * patch, channels)
    options = {"width": width, "depth": depth, "heads": heads, "transforms": transforms, "num_classes": num_classes}
    network = models.transformer_flow_network(whole, patch_size=patch, **options)
    return models.TransformerFlow(
        network,
        image_shape=image_shape,
        num_classes=num_classes,
        noise_std=noise_std,
        label_dropout=label_dropout,
        ema_momentum=ema_momentum,
        seed=seed,
    )


RECIPES = (
    Recipe(
        "flow",
        "Transformer flow on patches, conditioned on the class of clothes",
        _build_flow,
        quick=Budget("fashion_mnist", 300),
        full=Budget("fashion_mnist_full", 6500),
        batch_size=64,
        learning_rate=1e-3,
    ),
    Recipe(
        "coupling_flow",
        "Normalizing flow of affine couplings with exact likelihood",
        _build_coupling_flow,
        quick=Budget("fashion_mnist", 300),
        full=Budget("fashion_mnist_full", 5000),
        batch_size=64,
        learning_rate=1e-3,
    ),
)

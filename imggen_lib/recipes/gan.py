"""Recipes of generative adversarial networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from imggen_lib.recipes.base import Budget, Recipe, generator_filters

if TYPE_CHECKING:
    from imggen_lib.models.gan import GAN


def _build_gan(
    image_shape: tuple[int, int, int],
    num_classes: int | None,
    seed: int,
    *,
    latent_dim: int = 64,
    filters: Sequence[int] | None = None,
    conditional: bool = False,
    loss: str = "non_saturating",
    penalty: str | None = None,
    penalty_weight: float = 1.0,
    ema_momentum: float = 0.999,
    reduce: int = 1,
) -> GAN:
    """Build a GAN whose discriminator has the generator's channels in reverse order; by default they depend on the size.

    With a penalty the discriminator has no batch normalisation. If ``reduce`` is above 1, the discriminator receives images
    that are reduced by this factor, and the generator interpolates its features to the size of the image.
    """
    from imggen_lib import models

    filters = generator_filters(image_shape) if filters is None else filters
    classes = num_classes if conditional else None
    build = models.image_generator if reduce == 1 else models.interpolating_generator
    discriminator = models.image_discriminator(
        image_shape, filters=filters[::-1], num_classes=classes, batch_norm=penalty is None, reduce=reduce
    )
    return models.GAN(
        build(image_shape, latent_dim, filters=filters, num_classes=classes),
        discriminator,
        num_classes=classes,
        loss=loss,
        penalty=penalty,
        penalty_weight=penalty_weight,
        ema_momentum=ema_momentum,
        seed=seed,
    )


RECIPES = (
    Recipe(
        "gan",
        "Generative adversarial network, convolutional; samples from averaged weights",
        _build_gan,
        quick=Budget("fashion_mnist", 1000),
        full=Budget("fashion_mnist_full", 20000),
        batch_size=64,
        learning_rate=2e-3,
        beta_1=0.5,
        ema_fraction=0.1,
    ),
    Recipe(
        "conditional_gan",
        "GAN conditioned on the class of clothes",
        _build_gan,
        quick=Budget("fashion_mnist", 1000),
        full=Budget("fashion_mnist_full", 20000),
        batch_size=64,
        learning_rate=2e-3,
        beta_1=0.5,
        ema_fraction=0.1,
        condition="classes",
        options={"conditional": True},
    ),
    Recipe(
        "marble_gan",
        "GAN of marbles, 64x64 in colour; its discriminator receives 32x32 pixels",
        _build_gan,
        quick=Budget("marbles", 300),
        full=Budget("marbles", 6400),
        batch_size=32,
        learning_rate=2e-3,
        beta_1=0.5,
        ema_fraction=0.1,
        # Few channels at full size, where each of them costs the most.
        options={"filters": (128, 64, 32), "reduce": 2},
    ),
)

"""Recipes of rectified flows, in pixels and in the latents of an autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from imggen_lib.recipes.base import Budget, Recipe

if TYPE_CHECKING:
    from imggen_lib.models.autoencoder import Autoencoder
    from imggen_lib.models.diffusion import LatentDiffusion, RectifiedFlow


def _build_rectified_flow(
    image_shape: tuple[int, int, int],
    num_classes: int | None,
    seed: int,
    *,
    filters: Sequence[int] | None = None,
    blocks: int = 2,
    prediction: str = "velocity",
    time_density: str = "uniform",
    label_dropout: float = 0.1,
    ema_momentum: float = 0.999,
) -> RectifiedFlow:
    """Build a rectified flow of pixels with a U-Net, conditional if the dataset has labels."""
    from imggen_lib import models

    if filters is None:
        filters = (48, 96) if max(image_shape[:2]) <= 64 else (48, 96, 192)
    return models.RectifiedFlow(
        models.image_unet(image_shape, num_classes=num_classes, filters=filters, blocks=blocks),
        num_classes=num_classes,
        prediction=prediction,
        time_density=time_density,
        label_dropout=label_dropout,
        ema_momentum=ema_momentum,
        seed=seed,
    )


def _build_autoencoder(
    image_shape: tuple[int, int, int],
    num_classes: int | None,
    seed: int,
    *,
    latent_channels: int = 8,
    filters: Sequence[int] = (32, 64, 96),
    kl_weight: float = 1e-3,
    adversarial_weight: float = 0.0,
) -> Autoencoder:
    """Build an autoencoder whose latents have an eighth of the image's size, without a condition.

    With a positive ``adversarial_weight``, a discriminator of patches is trained with it.
    """
    from imggen_lib import models

    options = {"latent_channels": latent_channels, "filters": filters}
    discriminator = models.patch_discriminator(image_shape) if adversarial_weight else None
    return models.Autoencoder(
        models.latent_encoder(image_shape, **options),
        models.latent_decoder(image_shape, **options),
        kl_weight=kl_weight,
        discriminator=discriminator,
        adversarial_weight=adversarial_weight,
        seed=seed,
    )


def _build_latent_diffusion(
    image_shape: tuple[int, int, int],
    num_classes: int | None,
    seed: int,
    *,
    captions: bool = False,
    patch_size: int = 1,
    width: int = 192,
    depth: int = 6,
    heads: int = 6,
    unet_filters: Sequence[int] | None = None,
    blocks: int = 1,
    prediction: str = "velocity",
    time_density: str = "logit_normal",
    train_autoencoder: bool = True,
    label_dropout: float = 0.1,
    ema_momentum: float = 0.999,
    latent_channels: int = 8,
    filters: Sequence[int] = (32, 64, 96),
    kl_weight: float = 1e-3,
) -> LatentDiffusion:
    """Build a rectified flow in the latents of an autoencoder, conditional if the dataset has labels.

    Its network is a transformer or, with ``unet_filters``, a U-Net. With ``captions``, the condition is a row of word
    numbers of :mod:`imggen_lib.datasets.captioned_emoji`.
    """
    from imggen_lib import models
    from imggen_lib.datasets import composed_emoji

    autoencoder = _build_autoencoder(
        image_shape, None, seed, latent_channels=latent_channels, filters=filters, kl_weight=kl_weight
    )
    condition = {
        "num_classes": num_classes,
        "vocabulary_size": len(composed_emoji.VOCABULARY) if captions else None,
    }
    shape = autoencoder.latent_shape
    if unet_filters is not None:
        network = models.image_unet(shape, **condition, filters=unet_filters, blocks=blocks, depth=depth)
    else:
        network = models.image_transformer(shape, **condition, patch_size=patch_size, width=width, depth=depth, heads=heads)
    return models.LatentDiffusion(
        network,
        autoencoder,
        train_autoencoder=train_autoencoder,
        num_classes=num_classes,
        prediction=prediction,
        time_density=time_density,
        label_dropout=label_dropout,
        ema_momentum=ema_momentum,
        seed=seed,
    )


RECIPES = (
    Recipe(
        "rectified_flow",
        "Rectified flow of pixels, conditioned on the class of clothes",
        _build_rectified_flow,
        quick=Budget("fashion_mnist", 400),
        full=Budget("fashion_mnist_full", 8000),
        batch_size=64,
        learning_rate=1e-3,
        mixed_precision=True,
        ema_fraction=0.1,
    ),
    Recipe(
        "autoencoder",
        "Autoencoder for latent diffusion; its own samples only show that latents need a model",
        _build_autoencoder,
        quick=Budget("fashion_mnist", 400),
        full=Budget("fashion_mnist_full", 5000),
        batch_size=64,
        learning_rate=1e-3,
    ),
    Recipe(
        "latent_diffusion",
        "Rectified flow with a transformer in the latents of an autoencoder, conditioned on the class of clothes",
        _build_latent_diffusion,
        quick=Budget("fashion_mnist", 400),
        full=Budget("fashion_mnist_full", 8000),
        batch_size=64,
        learning_rate=1e-3,
        ema_fraction=0.1,
    ),
    Recipe(
        "emoji_autoencoder",
        "Autoencoder of scenes of emoji, 64x64 in colour, for emoji_diffusion",
        _build_autoencoder,
        quick=Budget("composed_emoji", 300),
        full=Budget("composed_emoji", 5000),
        batch_size=32,
        learning_rate=1e-3,
        options={"filters": (48, 96), "latent_channels": 4},
    ),
    Recipe(
        "emoji_diffusion",
        "Rectified flow of scenes of emoji from captions, in the latents of emoji_autoencoder",
        _build_latent_diffusion,
        quick=Budget("composed_emoji", 100),
        full=Budget("composed_emoji", 30000),
        batch_size=64,
        learning_rate=1e-3,
        mixed_precision=True,
        ema_fraction=0.05,
        condition="captions",
        options={
            "captions": True,
            "filters": (48, 96),
            "latent_channels": 4,
            "unet_filters": (112, 128),
            "depth": 2,
            "train_autoencoder": False,
        },
    ),
)

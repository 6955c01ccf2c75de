"""Recipes of variational autoencoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from imggen_lib.recipes.base import Budget, Recipe, generator_filters

if TYPE_CHECKING:
    from imggen_lib.models.vae import VAE


def _build_vae(
    image_shape: tuple[int, int, int],
    num_classes: int | None,
    seed: int,
    *,
    latent_dim: int = 100,
    filters: Sequence[int] | None = None,
    hidden: int = 256,
    beta: float = 1.0,
    conditional: bool = False,
    prior: bool = True,
    prior_width: int = 384,
    prior_blocks: int = 3,
    ema_momentum: float = 0.9995,
) -> VAE:
    """Build a VAE whose encoder has the decoder's channels in reverse order; by default they depend on the size.

    With ``prior``, a diffusion model of the codes is trained in the same steps, and ``sample`` uses it.
    """
    from imggen_lib import models

    filters = generator_filters(image_shape) if filters is None else filters
    classes = num_classes if conditional else None
    encoder = models.image_encoder(image_shape, latent_dim, filters=filters[::-1], hidden=hidden)
    decoder = models.image_generator(
        image_shape, latent_dim, filters=filters, hidden=hidden, batch_norm=False, num_classes=classes, name="decoder"
    )
    learned = (
        models.vector_network(latent_dim, num_classes=classes, width=prior_width, blocks=prior_blocks) if prior else None
    )
    return models.VAE(encoder, decoder, num_classes=classes, prior=learned, beta=beta, ema_momentum=ema_momentum, seed=seed)


RECIPES = (
    Recipe(
        "vae",
        "Variational autoencoder with 100 latent dimensions and a learned prior on them",
        _build_vae,
        quick=Budget("fashion_mnist", 1000),
        full=Budget("fashion_mnist_full", 14_000),
        batch_size=128,
        learning_rate=1e-3,
    ),
    Recipe(
        "vae_2d",
        "Variational autoencoder with 2 latent dimensions, which can be shown as a map",
        _build_vae,
        quick=Budget("fashion_mnist", 1000),
        full=Budget("fashion_mnist_full", 3500),
        batch_size=128,
        learning_rate=1e-3,
        options={"latent_dim": 2, "hidden": 128, "prior": False},
    ),
)

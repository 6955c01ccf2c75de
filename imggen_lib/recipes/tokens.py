"""Recipes of models with discrete tokens: the autoencoder alone, and with a transformer over its tokens."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from imggen_lib.recipes.base import Budget, Recipe

if TYPE_CHECKING:
    from imggen_lib.models.vq import MaskedTokenTransformer, TokenAutoencoder, TokenTransformer

#: Tokens on the longer side of an image, at most.
TOKENS = 8


def _token_filters(image_shape: tuple[int, int, int], base_filters: int) -> tuple[int, ...]:
    """Return the channels after each halving: as many halvings as leave at most 8 tokens on a side, and at least one.

    Examples
    --------
    >>> _token_filters((28, 28, 1), 64), _token_filters((64, 64, 3), 32)
    ((64, 128), (32, 64, 64))
    """
    halvings = max(1, math.ceil(math.log2(max(image_shape[:2]) / TOKENS)))
    return (base_filters, *[2 * base_filters] * (halvings - 1))


def _build_autoencoder(
    image_shape: tuple[int, int, int],
    num_classes: int | None,
    seed: int,
    *,
    num_codes: int = 256,
    code_dim: int = 32,
    base_filters: int = 64,
    blocks: int = 2,
    commitment: float = 0.25,
) -> TokenAutoencoder:
    """Build an autoencoder with at most 8 x 8 tokens. It has no condition."""
    from imggen_lib import models

    filters = _token_filters(image_shape, base_filters)
    return models.TokenAutoencoder(
        models.token_encoder(image_shape, code_dim, filters=filters, blocks=blocks),
        models.token_decoder(image_shape, code_dim, filters=filters[::-1], blocks=blocks),
        num_codes=num_codes,
        commitment=commitment,
        seed=seed,
    )


def _build_transformer(
    image_shape: tuple[int, int, int],
    num_classes: int | None,
    seed: int,
    *,
    masked: bool = False,
    captions: bool = False,
    width: int = 160,
    depth: int = 4,
    heads: int = 4,
    train_autoencoder: bool = True,
    label_dropout: float = 0.1,
    ema_momentum: float = 0.999,
    num_codes: int = 256,
    code_dim: int = 32,
    base_filters: int = 64,
    blocks: int = 2,
    commitment: float = 0.25,
) -> TokenTransformer | MaskedTokenTransformer:
    """Build a transformer over tokens and their autoencoder, conditional if the dataset has labels.

    By default both are trained in the same steps. To train the autoencoder first and the transformer after it, give the
    first file to the second training, which does not change it with ``train_autoencoder=False``:
    ``training.run("token_transformer", autoencoder="first.npz", train_autoencoder=False)``.

    With ``captions``, the condition is a row of word numbers of :mod:`imggen_lib.datasets.captioned_emoji`.
    """
    from imggen_lib import models
    from imggen_lib.datasets import composed_emoji
    from imggen_lib.models.text import embed_caption

    def vector_and_prefix(words: Any) -> tuple[Any, Any]:
        size = len(composed_emoji.VOCABULARY)
        return embed_caption(words, vocabulary_size=size, width=width, heads=heads)[:2]

    autoencoder = _build_autoencoder(
        image_shape,
        None,
        seed,
        num_codes=num_codes,
        code_dim=code_dim,
        base_filters=base_filters,
        blocks=blocks,
        commitment=commitment,
    )
    network = models.token_network(
        autoencoder.token_shape,
        num_codes,
        causal=not masked,
        width=width,
        depth=depth,
        heads=heads,
        num_classes=num_classes,
        condition_embedding=vector_and_prefix if captions else None,
    )
    family = models.MaskedTokenTransformer if masked else models.TokenTransformer
    return family(
        network,
        autoencoder,
        num_classes=num_classes,
        train_autoencoder=train_autoencoder,
        label_dropout=label_dropout,
        ema_momentum=ema_momentum,
        seed=seed,
    )


RECIPES = (
    Recipe(
        "token_autoencoder",
        "Autoencoder with discrete tokens (VQ-VAE); its samples are a baseline of independent tokens",
        _build_autoencoder,
        quick=Budget("fashion_mnist", 400),
        full=Budget("fashion_mnist_full", 5000),
        batch_size=64,
        learning_rate=1e-3,
    ),
    Recipe(
        "token_transformer",
        "Transformer over discrete tokens, token by token, conditioned on the class of clothes",
        _build_transformer,
        quick=Budget("fashion_mnist", 400),
        full=Budget("fashion_mnist_full", 8000),
        batch_size=64,
        learning_rate=1e-3,
        ema_fraction=0.1,
    ),
    Recipe(
        "masked_token_transformer",
        "Transformer that decodes discrete tokens in parallel (MaskGIT), conditioned on the class of clothes",
        _build_transformer,
        quick=Budget("fashion_mnist", 400),
        full=Budget("fashion_mnist_full", 8000),
        batch_size=64,
        learning_rate=1e-3,
        ema_fraction=0.1,
        options={"masked": True},
    ),
    Recipe(
        "emoji_token_autoencoder",
        "Autoencoder of scenes of emoji with discrete tokens, 64x64 in colour, for emoji_tokens",
        _build_autoencoder,
        quick=Budget("composed_emoji", 300),
        full=Budget("composed_emoji", 4000),
        batch_size=32,
        learning_rate=1e-3,
        options={"num_codes": 512, "base_filters": 48},
    ),
    Recipe(
        "emoji_tokens",
        "Transformer over the discrete tokens of scenes of emoji, from captions",
        _build_transformer,
        quick=Budget("composed_emoji", 100),
        full=Budget("composed_emoji", 6500),
        batch_size=32,
        learning_rate=1e-3,
        ema_fraction=0.05,
        condition="captions",
        options={
            "captions": True,
            "num_codes": 512,
            "base_filters": 48,
            "train_autoencoder": False,
        },
    ),
)

"""The U-Net of a diffusion model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from imggen_lib import _validation as validate
from imggen_lib.models.blocks import embed, rounding_border
from imggen_lib.models.text import check_vocabulary, embed_caption, joint_blocks
from imggen_lib.models.transformer import Positions

__all__ = ["image_unet"]

GROUPS = 8
HEADS = 4


def image_unet(
    image_shape: Sequence[int],
    *,
    num_classes: int | None = None,
    vocabulary_size: int | None = None,
    filters: Sequence[int] = (48, 96),
    blocks: int = 2,
    depth: int = 2,
    text_depth: int = 2,
    name: str = "unet",
) -> keras.Model:
    """Build a U-Net from a noisy image, its angle and a condition to an image of the same shape.

    The encoder halves the size once per level, the decoder doubles it again, and skip connections concatenate the encoder's
    features of each level to the decoder's. At the lowest resolution, self-attention connects all positions. Embeddings of
    angle and condition are added, and modulate every residual block by adaptive group normalisation. An image whose size
    cannot be halved that often gets a border of zeros, which is cropped from the output.

    If the condition is a caption, transformer blocks replace the self-attention: there attention goes over the words and
    the positions of the lowest resolution together.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, channels)``, any size.
    num_classes : int, optional
        Size of the condition: the number of classes, or the number of words in a row. A row of zeros means "no condition".
    vocabulary_size : int, optional
        If given, the condition is a row of word numbers; see :class:`imggen_lib.models.text.TextEncoder`.
    filters : sequence of int
        Channels of each level, after its halving; multiples of 8.
    blocks : int
        Residual blocks per level, in the encoder and in the decoder.
    depth, text_depth : int
        With captions: number of transformer blocks, and of those in the text encoder.

    Returns
    -------
    keras.Model
        From images, where data are in [-1, 1], angles ``(n, 1)`` in [0, pi/2] and, if ``num_classes`` is given, conditions
        ``(n, num_classes)``; to ``(n, height, width, channels)``, which is 0 before training.

    Raises
    ------
    ValueError
        If ``image_shape`` is not the shape of an image, a number of channels is not a multiple of 8, or ``vocabulary_size``
        is given without ``num_classes``.

    References
    ----------
    Ronneberger, Fischer and Brox, "U-Net: convolutional networks for biomedical image segmentation", MICCAI 2015. Ho, Jain
    and Abbeel, "Denoising diffusion probabilistic models", NeurIPS 2020. Dhariwal and Nichol, "Diffusion models beat GANs
    on image synthesis", NeurIPS 2021, for adaptive group normalisation. Hoogeboom, Heek and Salimans, "Simple diffusion:
    end-to-end diffusion for high resolution images", ICML 2023, for transformer blocks at the lowest resolution.

    Examples
    --------
    Each entry of ``filters`` is a level of half the size; the skip connections join levels of one size:

    >>> network = image_unet((28, 28, 1), filters=(16, 32), blocks=1)
    >>> [network.get_layer(f"{path}_{level}").output.shape[1:3] for path in ("down", "skip") for level in (0, 1)]
    [(14, 14), (7, 7), (14, 14), (7, 7)]
    """
    if any(count % GROUPS for count in filters):
        raise ValueError(
            f"filters is {tuple(filters)}; expected multiples of {GROUPS}: group normalisation uses {GROUPS} groups"
        )
    check_vocabulary(vocabulary_size, num_classes)
    image = keras.Input(validate.image_shape(image_shape), name="image")
    angle = keras.Input((1,), name="angle")
    condition = keras.Input((num_classes,), name="condition") if validate.condition_size(num_classes) else None
    embedding = embed(angle, None if vocabulary_size else condition, 2 * filters[-1])
    words, visible = None, None
    if vocabulary_size is not None:
        vector, words, visible = embed_caption(
            condition,
            vocabulary_size=vocabulary_size,
            width=filters[-1],
            depth=text_depth,
            heads=HEADS,
            summary=2 * filters[-1],
        )
        embedding = layers.Add()([embedding, vector])

    border = rounding_border(image_shape, len(filters))
    padded = border != ((0, 0), (0, 0))
    x, skips = layers.ZeroPadding2D(border, name="pad")(image) if padded else image, []
    for level, count in enumerate(filters):
        x = layers.Conv2D(count, 4, strides=2, padding="same", name=f"down_{level}")(x)
        for index in range(blocks):
            x = _residual_block(x, embedding, count, name=f"down_{level}_block_{index}")
        skips.append(x)

    if words is None:
        x = layers.Add()([x, _self_attention(x)])
    else:
        tokens = Positions(name="positions")(layers.Reshape((-1, filters[-1]))(x))
        tokens = joint_blocks(tokens, embedding, depth=depth, heads=HEADS, words=words, visible=visible)
        x = layers.Reshape(x.shape[1:])(tokens)

    lowest = len(filters) - 1
    for level in range(lowest, -1, -1):
        if level < lowest:
            x = layers.Conv2DTranspose(filters[level], 4, strides=2, padding="same", name=f"up_{level}")(x)
        x = layers.Concatenate(name=f"skip_{level}")([x, skips[level]])
        for index in range(blocks):
            x = _residual_block(x, embedding, filters[level], name=f"up_{level}_block_{index}")

    to_image = layers.Conv2DTranspose(
        image.shape[-1], 4, strides=2, padding="same", kernel_initializer="zeros", name="velocity", dtype="float32"
    )
    inputs = [image, angle] if condition is None else [image, angle, condition]
    velocity = to_image(_norm_and_silu(x, "velocity_norm"))
    if padded:
        velocity = layers.Cropping2D(border, name="crop", dtype="float32")(velocity)
    return keras.Model(inputs, velocity, name=name)


def _residual_block(x: Any, embedding: Any, count: int, name: str) -> Any:
    """Add to x (or to a projection of it to ``count`` channels) the output of two convolutions, modulated by the embedding.

    The second normalisation is adaptive: scale and shift of its channels are linear functions of the embedding. The second
    convolution starts at zero, so that each block starts as the identity.
    """
    y = layers.Conv2D(count, 3, padding="same", name=f"{name}_conv_1")(_norm_and_silu(x, f"{name}_norm_1"))
    scale, shift = (
        layers.Reshape((1, 1, count))(layers.Dense(count, name=f"{name}_{part}")(embedding)) for part in ("scale", "shift")
    )
    y = layers.GroupNormalization(GROUPS, name=f"{name}_norm_2")(y) * (1 + scale) + shift
    y = layers.Activation("silu")(y)
    y = layers.Conv2D(count, 3, padding="same", kernel_initializer="zeros", name=f"{name}_conv_2")(y)
    if x.shape[-1] != count:
        x = layers.Conv2D(count, 1, name=f"{name}_projection")(x)
    return layers.Add()([x, y])


def _norm_and_silu(x: Any, name: str) -> Any:
    return layers.Activation("silu")(layers.GroupNormalization(GROUPS, name=name)(x))


def _self_attention(x: Any) -> Any:
    """Apply multi-head self-attention over all positions of a feature map."""
    height, width, count = x.shape[1:]
    sequence = layers.Reshape((height * width, count))(layers.GroupNormalization(GROUPS, name="attention_norm")(x))
    attended = layers.MultiHeadAttention(HEADS, count // HEADS, name="attention")(sequence, sequence)
    return layers.Reshape((height, width, count))(attended)

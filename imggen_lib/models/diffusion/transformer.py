"""The diffusion transformer: a denoising network made of patches, attention and adaptive normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from imggen_lib import _validation as validate
from imggen_lib.models.blocks import embed
from imggen_lib.models.text import check_vocabulary, embed_caption, joint_blocks
from imggen_lib.models.transformer import Positions, image_to_patches, patches_to_image

__all__ = ["image_transformer"]


def image_transformer(
    image_shape: Sequence[int],
    *,
    num_classes: int | None = None,
    vocabulary_size: int | None = None,
    patch_size: int = 2,
    width: int = 192,
    depth: int = 6,
    heads: int = 6,
    text_depth: int = 2,
    name: str = "transformer",
) -> keras.Model:
    """Build a transformer from a noisy image, its angle or time and a condition to an image of the same shape.

    Patches of the image become tokens. Embeddings of the angle and of the condition are added and modulate every block
    (adaLN-zero; all blocks share the layer that computes the modulation). If the condition is a caption, its words become
    tokens, too, and attention goes over words and patches together.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, channels)``, height and width divisible by ``patch_size``: an image, or the latent of one.
    num_classes : int, optional
        Size of the condition: the number of classes, or the number of words in a row.
    vocabulary_size : int, optional
        If given, the condition is a row of word numbers; see :class:`imggen_lib.models.text.TextEncoder`.
    patch_size : int
        Side of a patch. Half of it means four times as many tokens.
    width, depth, heads : int
        Of the blocks.
    text_depth : int
        Blocks of the text encoder.

    Returns
    -------
    keras.Model
        From images, angles ``(n, 1)`` and, if ``num_classes`` is given, conditions ``(n, num_classes)``, of which a row of
        zeros means "no condition"; to ``(n, height, width, channels)``, which is 0 before training.

    Raises
    ------
    ValueError
        If the size cannot be divided into patches, or ``vocabulary_size`` is given without ``num_classes``.

    References
    ----------
    Peebles and Xie, "Scalable diffusion models with transformers", ICCV 2023. Bao et al., "All are worth words: a ViT
    backbone for diffusion models", CVPR 2023, for the condition as tokens.

    Examples
    --------
    Four patches and a caption of up to three words are seven tokens:

    >>> network = image_transformer((4, 4, 1), num_classes=3, vocabulary_size=9, width=8, depth=1, heads=2)
    >>> network.get_layer("block_0").output.shape, network.output_shape
    ((None, 7, 8), (None, 4, 4, 1))
    """
    shape = validate.image_shape(image_shape)
    if any(size % validate.integer(patch_size, "patch_size") for size in shape[:2]):
        raise ValueError(f"image_shape is {shape} and patch_size is {patch_size}; expected a divisor of height and width")
    check_vocabulary(vocabulary_size, num_classes)
    image = keras.Input(shape, name="image")
    angle = keras.Input((1,), name="angle")
    condition = keras.Input((num_classes,), name="condition") if validate.condition_size(num_classes) else None

    tokens = layers.Dense(width, name="to_tokens")(image_to_patches(image, patch_size))
    tokens = Positions(name="positions")(tokens)
    embedding = embed(angle, None if vocabulary_size else condition, width)
    words, visible = None, None
    if vocabulary_size is not None:
        vector, words, visible = embed_caption(
            condition, vocabulary_size=vocabulary_size, width=width, depth=text_depth, heads=heads
        )
        embedding = layers.Add()([embedding, vector])
    tokens = joint_blocks(tokens, embedding, depth=depth, heads=heads, words=words, visible=visible)
    tokens = layers.LayerNormalization(epsilon=1e-5, name="velocity_norm")(tokens)
    values = layers.Dense(patch_size**2 * shape[2], kernel_initializer="zeros", name="velocity", dtype="float32")(tokens)
    inputs = [image, angle] if condition is None else [image, angle, condition]
    return keras.Model(inputs, patches_to_image(values, shape, patch_size), name=name)

"""The network of a diffusion model of vectors, such as the codes of an autoencoder."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from imggen_lib import _validation as validate
from imggen_lib.models.blocks import embed

__all__ = ["vector_network"]


def vector_network(
    size: int, *, num_classes: int | None = None, width: int = 256, blocks: int = 3, name: str = "vector_network"
) -> keras.Model:
    """Build a network from a noisy vector, its angle and a condition to a vector of the same length.

    It is the part of :func:`imggen_lib.models.diffusion.unet.image_unet` without the convolutions: residual blocks of dense
    layers, each modulated by adaptive normalisation. Its last layer starts at zero.

    Parameters
    ----------
    size : int
        Length of the vector.
    num_classes : int, optional
        Size of the condition. Its embedding has no bias, so a row of zeros means "no condition".
    width : int
        Units of the layers.
    blocks : int
        Residual blocks of two layers each.

    Returns
    -------
    keras.Model
        From vectors ``(n, size)`` with a variance of about 1, angles ``(n, 1)`` in [0, pi/2] and, if ``num_classes`` is
        given, conditions ``(n, num_classes)``; to ``(n, size)``, which is 0 before training.

    Raises
    ------
    ValueError
        If a number is not positive.

    References
    ----------
    Peebles and Xie, "Scalable diffusion models with transformers", ICCV 2023, for the modulation.

    Examples
    --------
    >>> network = vector_network(100, num_classes=10, width=64, blocks=1)
    >>> [tensor.shape for tensor in network.inputs], network.output_shape
    ([(None, 100), (None, 1), (None, 10)], (None, 100))
    """
    vector = keras.Input((validate.integer(size, "size"),), name="vector")
    angle = keras.Input((1,), name="angle")
    condition = keras.Input((num_classes,), name="condition") if validate.condition_size(num_classes) else None
    width = validate.integer(width, "width")
    embedding = embed(angle, condition, width)
    x = layers.Dense(width, name="to_width")(vector)
    for index in range(validate.integer(blocks, "blocks")):
        x = _residual_block(x, embedding, width, name=f"block_{index}")
    x = layers.Activation("silu")(layers.LayerNormalization(name="velocity_norm")(x))
    velocity = layers.Dense(size, kernel_initializer="zeros", name="velocity", dtype="float32")(x)
    inputs = [vector, angle] if condition is None else [vector, angle, condition]
    return keras.Model(inputs, velocity, name=name)


def _residual_block(x: Any, embedding: Any, width: int, name: str) -> Any:
    """Add the output of two layers to x. Scale and shift of the normalised x are linear functions of the embedding."""
    scale, shift = (
        layers.Dense(width, kernel_initializer="zeros", name=f"{name}_{part}")(embedding) for part in ("scale", "shift")
    )
    y = layers.LayerNormalization(center=False, scale=False, name=f"{name}_norm")(x) * (1 + scale) + shift
    y = layers.Dense(width, activation="silu", name=f"{name}_dense_1")(y)
    y = layers.Dense(width, kernel_initializer="zeros", name=f"{name}_dense_2")(y)
    return layers.Add()([x, y])

"""The discriminator of a GAN. Its generator is :func:`imggen_lib.models.blocks.image_generator`."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from imggen_lib import _validation as validate
from imggen_lib.models.blocks import convolutional_body

__all__ = ["image_discriminator"]


def image_discriminator(
    image_shape: Sequence[int],
    *,
    filters: Sequence[int] = (32, 64),
    hidden: int = 128,
    batch_norm: bool = True,
    spectral_norm: bool = False,
    dropout: float = 0.0,
    num_classes: int | None = None,
    name: str = "discriminator",
) -> keras.Model:
    r"""Build a network from an image to one logit, or to one logit per class: strided convolutions, then dense layers.

    With :math:`\varphi(x)` for the features before the last layer, the logit of class y is
    :math:`(w + v_y) \cdot \varphi(x)`: w is shared by all classes and :math:`v_y` belongs to one of them. This is a
    projection discriminator.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, channels)``, any size.
    filters : sequence of int
        Channels after each halving, which rounds up.
    hidden : int
        Units of the dense layer before the last.
    batch_norm : bool
        Whether to normalise over the batch after every layer but the first. A gradient penalty needs False: it is defined
        for single images, and batch normalisation makes the output depend on the whole batch.
    spectral_norm : bool
        Whether to divide the weights of every layer by their largest singular value in training, which bounds the
        Lipschitz constant. It replaces batch normalisation. On TensorFlow Keras stores the divided weights; on JAX it
        divides in each step, so only a call with ``training=True`` is bounded there.
    dropout : float
        Fraction of the features that are dropped in training before the last layer, in [0, 1).
    num_classes : int, optional
        Size of the condition, for a conditional GAN.

    Returns
    -------
    keras.Model
        From images in [0, 1] to logits ``(n, 1)`` or ``(n, num_classes)``; positive means "real".

    Raises
    ------
    ValueError
        If ``image_shape`` is not the shape of an image, or both normalisations are requested.

    References
    ----------
    Miyato et al., "Spectral normalization for generative adversarial networks", ICLR 2018. Miyato and Koyama, "cGANs with
    projection discriminator", ICLR 2018.

    Examples
    --------
    >>> image_discriminator((28, 28, 1)).output_shape, image_discriminator((28, 28, 1), num_classes=10).output_shape
    ((None, 1), (None, 10))
    """
    if batch_norm and spectral_norm:
        raise ValueError("batch_norm and spectral_norm are both True, but one undoes the other; choose one")

    def wrap(layer: keras.Layer) -> keras.Layer:
        return layers.SpectralNormalization(layer, name=f"{layer.name}_sn") if spectral_norm else layer

    image, x = convolutional_body(image_shape, filters, batch_norm=batch_norm, wrap=wrap)
    x = wrap(layers.Dense(hidden, use_bias=not batch_norm, name="dense"))(x)
    if batch_norm:
        x = layers.BatchNormalization(momentum=0.9, name="norm_dense")(x)
    x = layers.LeakyReLU(0.2)(x)
    if dropout:
        x = layers.Dropout(dropout)(x)
    logits = wrap(layers.Dense(1, name="logit", dtype="float32"))(x)
    if validate.condition_size(num_classes):
        class_logits = layers.Dense(num_classes, use_bias=False, name="class_logits", dtype="float32")
        logits = layers.Add(dtype="float32")([logits, wrap(class_logits)(x)])
    return keras.Model(image, logits, name=name)

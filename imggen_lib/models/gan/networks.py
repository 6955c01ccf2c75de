"""Networks of a GAN: the discriminator, and a generator that interpolates.

The other generator is :func:`imggen_lib.models.blocks.image_generator`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from imggen_lib import _validation as validate
from imggen_lib.models.blocks import convolutional_body

__all__ = ["image_discriminator", "interpolating_generator"]


def image_discriminator(
    image_shape: Sequence[int],
    *,
    filters: Sequence[int] = (32, 64),
    hidden: int = 128,
    batch_norm: bool = True,
    spectral_norm: bool = False,
    dropout: float = 0.0,
    reduce: int = 1,
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
    reduce : int
        Average blocks of ``reduce`` x ``reduce`` pixels before the first layer. A step takes less time, and differences
        in finer details are not detected.
    num_classes : int, optional
        Size of the condition, for a conditional GAN.

    Returns
    -------
    keras.Model
        From images in [0, 1] to logits ``(n, 1)`` or ``(n, num_classes)``; positive means "real".

    Raises
    ------
    ValueError
        If ``image_shape`` is not the shape of an image, ``reduce`` is not an integer of at least 1, or both normalisations
        are requested.

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

    reduce = validate.integer(reduce, "reduce")
    image, x = convolutional_body(image_shape, filters, batch_norm=batch_norm, wrap=wrap, reduce=reduce)
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


def interpolating_generator(
    image_shape: Sequence[int],
    latent_dim: int,
    *,
    hidden: int = 128,
    filters: Sequence[int] = (128, 64, 32),
    num_classes: int | None = None,
    name: str = "generator",
) -> keras.Model:
    """Build a network from a latent vector to an image: coarse features, interpolated, then a network of each pixel.

    Dense layers produce 4x4 features. Bilinear interpolation and a convolution double their size for every further entry of
    ``filters``. The last features are interpolated to the size of the image. Convolutions with 1x1 kernels then compute the
    colour of each pixel from its own features. A nonlinear function of a smooth field can have a sharp edge, but it repeats
    no grid, unlike the output of a transposed convolution.

    No weight depends on the size of the image. Weights that are trained with small images therefore fit larger ones.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, channels)``, any size.
    latent_dim : int
        Length of the latent vector.
    hidden : int
        Units of the first dense layer.
    filters : sequence of int
        Channels of the features at 4x4, 8x8, and so on.
    num_classes : int, optional
        Size of the condition, which is concatenated to the latent vector.

    Returns
    -------
    keras.Model
        From ``(n, latent_dim)``, or ``(n, latent_dim + num_classes)``, to ``(n, height, width, channels)`` in [0, 1].

    Raises
    ------
    ValueError
        If ``image_shape`` is not the shape of an image, or a number is not positive.

    References
    ----------
    Odena, Dumoulin and Olah, "Deconvolution and checkerboard artifacts", Distill, 2016, for the interpolation.

    Examples
    --------
    The weights of a generator of small images are those of a generator of large ones:

    >>> small, large = (interpolating_generator((size, size, 3), 64) for size in (16, 64))
    >>> large.set_weights(small.get_weights())
    >>> small.output_shape, large.output_shape
    ((None, 16, 16, 3), (None, 64, 64, 3))
    """
    height, width, channels = validate.image_shape(image_shape)
    counts = [validate.integer(count, "filters") for count in filters]

    def activate(x: Any, index: int) -> Any:
        return layers.LeakyReLU(0.2)(layers.BatchNormalization(momentum=0.9, name=f"norm_{index}")(x))

    inputs = validate.integer(latent_dim, "latent_dim") + validate.condition_size(num_classes)
    latent = keras.Input((inputs,), name="latent")
    x = activate(layers.Dense(validate.integer(hidden, "hidden"), use_bias=False, name="dense_0")(latent), 0)
    x = layers.Dense(4 * 4 * counts[0], use_bias=False, name="dense_1")(x)
    x = activate(layers.Reshape((4, 4, counts[0]))(x), 1)
    for index, count in enumerate(counts[1:], start=2):
        x = layers.UpSampling2D(2, interpolation="bilinear")(x)
        x = activate(layers.Conv2D(count, 3, padding="same", use_bias=False, name=f"conv_{index}")(x), index)
    x = layers.Conv2D(counts[-1], 3, padding="same", use_bias=False, name="features")(x)
    x = layers.BatchNormalization(momentum=0.9, name="norm_features")(x)
    # The activation follows the interpolation: before it, the edges of the image would be as blurred as the features.
    x = layers.LeakyReLU(0.2)(layers.Resizing(height, width, interpolation="bilinear")(x))
    x = layers.LeakyReLU(0.2)(layers.Conv2D(counts[-1], 1, name="pixel")(x))
    image = layers.Conv2D(channels, 1, activation="sigmoid", name="image", dtype="float32")(x)
    return keras.Model(latent, image, name=name)

"""The U-Net of a diffusion model."""

import keras
from keras import layers, ops

from imggen_lib import _validation as validate


def image_unet(image_shape, *, num_classes=0, filters=(48, 96), blocks=2, name="unet"):
    """Build a network from a noisy picture to one of the same shape, which is told how noisy it is: a U-Net.

    The way down halves the size and finds out what is there; the way up doubles it again and is handed, at each size,
    what the way down saw. In between every place can look at every other: attention, cheap where pictures are small.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, channels)``; height and width must be divisible by 2 as often as there are ``filters``.
    classes : int
        How many numbers tell the class; 0 for a network that is told none.
    filters : sequence of int
        Channels after each halving. Each must be divisible by 8.
    blocks : int
        Residual blocks at each size, on either way.

    Returns
    -------
    keras.Model
        From pictures, angles ``(n, 1)`` in [0, pi/2] and, if there are any, classes ``(n, classes)``; to ``(n, height,
        width, channels)``, zero everywhere before training. Pictures are on the scale where data lie in [-1, 1].

    Raises
    ------
    ValueError
        If the size cannot be halved that often, or a number of channels is not divisible by 8.

    References
    ----------
    Ronneberger, Fischer and Brox, "U-Net: convolutional networks for biomedical image segmentation", MICCAI 2015. Ho, Jain
    and Abbeel, "Denoising diffusion probabilistic models", NeurIPS 2020.

    Examples
    --------
    >>> image_unet((28, 28, 1), num_classes=10).output_shape
    (None, 28, 28, 1)
    """
    if any(count % 8 for count in filters):
        raise ValueError(f"filters is {tuple(filters)}; expected multiples of 8, since channels are normalised in 8 groups")
    image = keras.Input(validate.image_shape(image_shape, halvings=len(filters)), name="image")
    angle = keras.Input((1,), name="angle")
    inputs = [image, angle]
    # Waves of the angle, slow and fast, so that small differences of it can be told.
    waves = angle * ops.convert_to_tensor([[2.0**power for power in range(6)]])
    told = layers.Dense(2 * filters[-1])(layers.Concatenate()([ops.sin(waves), ops.cos(waves)]))
    if validate.integer(classes, "classes", minimum=0):
        inputs.append(keras.Input((classes,), name="class"))
        told = layers.Add()([told, layers.Dense(2 * filters[-1], use_bias=False)(inputs[-1])])
    told = layers.Activation("silu")(told)

    def block(x, count):
        y = layers.Conv2D(count, 3, padding="same")(_normalised(x))
        # What the network is told scales and shifts the channels after they are normalised; before, it would be lost again.
        gain, shift = (layers.Reshape((1, 1, count))(layers.Dense(count)(told)) for _ in range(2))
        y = layers.Activation("silu")(layers.GroupNormalization(8)(y) * (1 + gain) + shift)
        # Zeros at the start: each block begins as what it is given, and learns what to add.
        y = layers.Conv2D(count, 3, padding="same", kernel_initializer="zeros")(y)
        return layers.Add()([x if x.shape[-1] == count else layers.Conv2D(count, 1)(x), y])

    x, seen = image, []
    for count in filters:
        x = layers.Conv2D(count, 4, strides=2, padding="same")(x)
        for _ in range(blocks):
            x = block(x, count)
        seen.append(x)
    x = layers.Add()([x, _attention(x)])
    for count, memory in zip(reversed(filters), reversed(seen), strict=True):
        x = x if memory is seen[-1] else layers.Conv2DTranspose(count, 4, strides=2, padding="same")(x)
        x = layers.Concatenate()([x, memory])
        for _ in range(blocks):
            x = block(x, count)
    options = {"strides": 2, "padding": "same", "kernel_initializer": "zeros", "name": "velocity", "dtype": "float32"}
    return keras.Model(inputs, layers.Conv2DTranspose(image.shape[-1], 4, **options)(_normalised(x)), name=name)


def _normalised(x):
    return layers.Activation("silu")(layers.GroupNormalization(8)(x))


def _attention(x):
    """Let every place of a small picture gather from all others what it asks for."""
    height, width, count = x.shape[1:]
    places = layers.Reshape((height * width, count))(layers.GroupNormalization(8)(x))
    found = layers.MultiHeadAttention(4, count // 4)(places, places)
    return layers.Reshape((height, width, count))(found)

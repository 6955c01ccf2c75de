"""Networks that turn numbers into pictures and pictures into numbers: plain Keras functional models.

Every picture at their ends is in [0, 1], channels last. A network that works better on [-1, 1] rescales inside. What comes
out is in single precision, also where Keras is told to compute in half (see :func:`imggen_lib.backend.half_precision`).
"""

import keras
import numpy as np
from keras import layers, ops

from imggen_lib import backend, checks

backend.graphs_as_written()


def ask(network, inputs, *, size=256):
    """Return what a network answers, as in use: no dropout, batch normalisation with its stored moments.

    Keras's ``predict`` does the same, but takes longer to set up than a small network takes to answer.

    Parameters
    ----------
    network : keras.Model
        Functional or sequential.
    inputs : numpy.ndarray or list of numpy.ndarray
        One array for each input of the network, all of one length.
    size : int
        How many are asked about at a time, which bounds the memory.

    Returns
    -------
    numpy.ndarray or list of numpy.ndarray
        One array for each output.

    Examples
    --------
    >>> network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> ask(network, np.zeros((1000, 3))).shape
    (1000, 1)
    """
    several = isinstance(inputs, list)
    answer, answers = backend.compiled(network), []
    for first in range(0, len(inputs[0] if several else inputs), size):
        some = slice(first, first + size)
        answers.append(answer([array[some] for array in inputs] if several else inputs[some]))
    if isinstance(answers[0], np.ndarray):
        return np.concatenate(answers)
    return [np.concatenate(parts) for parts in zip(*answers, strict=True)]


def image_generator(image_shape, latent_dim, *, hidden=128, filters=(64, 32), batch_norm=True, classes=0, name="generator"):
    """Build a network from a latent vector to a picture: a dense layer, then transposed convolutions that double the size.

    It is a GAN's generator, and without batch normalisation a VAE's decoder.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, channels)``; height and width must be divisible by 2 as often as there are ``filters``.
    latent_dim : int
        Length of the latent vector.
    hidden : int
        Width of the dense layer that comes first. Without it the rough shape of a picture would be a linear function
        of the latent vector.
    filters : sequence of int
        Channels before each doubling, from the smallest size to the largest.
    batch_norm : bool
        Whether to normalise over the batch before each activation.
    classes : int
        How many numbers follow the latent vector to tell the class, one for each; 0 if there is none to tell.

    Returns
    -------
    keras.Model
        From ``(n, latent_dim + classes)`` to ``(n, height, width, channels)`` in [0, 1].

    Raises
    ------
    ValueError
        If the size cannot be halved that often.

    References
    ----------
    Radford, Metz and Chintala, "Unsupervised representation learning with deep convolutional generative adversarial
    networks", ICLR 2016.

    Examples
    --------
    >>> image_generator((28, 28, 1), 64).output_shape
    (None, 28, 28, 1)
    """
    height, width, channels = checks.image_shape(image_shape, halvings=len(filters))
    height, width = height >> len(filters), width >> len(filters)

    def activate(x):
        if batch_norm:
            x = layers.BatchNormalization(momentum=0.9)(x)
        return layers.LeakyReLU(0.2)(x)

    latent_dim, classes = checks.integer(latent_dim, "latent_dim"), checks.integer(classes, "classes", minimum=0)
    latent = keras.Input((latent_dim + classes,), name="latent")
    x = activate(layers.Dense(hidden, use_bias=not batch_norm)(latent))
    x = layers.Dense(height * width * filters[0], use_bias=not batch_norm)(x)
    x = layers.Reshape((height, width, filters[0]))(activate(x))
    for count in filters[1:]:
        x = layers.Conv2DTranspose(count, 4, strides=2, padding="same", use_bias=not batch_norm)(x)
        x = activate(x)
    # The last doubling goes straight to the picture: at full size every further channel would cost the most.
    image = layers.Conv2DTranspose(
        channels, 4, strides=2, padding="same", activation="sigmoid", name="image", dtype="float32"
    )(x)
    return keras.Model(latent, image, name=name)


def image_discriminator(
    image_shape,
    *,
    filters=(32, 64),
    hidden=128,
    batch_norm=True,
    spectral_norm=False,
    dropout=0.0,
    classes=0,
    name="discriminator",
):
    """Build a network that judges pictures: strided convolutions, then one number.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, channels)``; height and width must be divisible by 2 as often as there are ``filters``.
    filters : sequence of int
        Channels after each halving.
    hidden : int
        Width of the dense layer before the last.
    batch_norm : bool
        Whether to normalise over the batch after every layer but the first. A gradient penalty needs it off: it speaks of
        single pictures, and batch normalisation ties the pictures of a batch together.
    spectral_norm : bool
        Whether to divide the weights of every layer by their largest singular value in training, so that no layer
        stretches anything. Meant instead of batch normalisation, which would undo it. On TensorFlow Keras keeps the
        divided weights; on JAX it divides in each step anew, so only a call with ``training=True`` is bounded there.
    dropout : float
        Share of the features that are dropped in training before the last layer.
    classes : int
        For a conditional GAN, as many logits, each the sum of one that all classes share and one of its own; 0 for a
        single logit.

    Returns
    -------
    keras.Model
        From pictures in [0, 1] to ``(n, 1)`` or ``(n, classes)`` logits: positive means "real".

    Raises
    ------
    ValueError
        If the size cannot be halved that often, or both normalisations are asked for.

    References
    ----------
    Miyato et al., "Spectral normalization for generative adversarial networks", ICLR 2018.

    Examples
    --------
    >>> image_discriminator((28, 28, 1)).output_shape
    (None, 1)
    >>> image_discriminator((28, 28, 1), classes=10).output_shape
    (None, 10)
    """
    if batch_norm and spectral_norm:
        raise ValueError("batch_norm and spectral_norm are both True; batch normalisation would undo the other: choose one")
    wrap = layers.SpectralNormalization if spectral_norm else _as_it_is
    image, x = _convolutions(image_shape, filters, batch_norm, wrap)
    x = wrap(layers.Dense(hidden, use_bias=not batch_norm))(x)
    if batch_norm:
        x = layers.BatchNormalization(momentum=0.9)(x)
    x = layers.LeakyReLU(0.2)(x)
    if dropout:
        x = layers.Dropout(dropout)(x)
    logits = wrap(layers.Dense(1, name="logit", dtype="float32"))(x)
    if checks.integer(classes, "classes", minimum=0):
        own = wrap(layers.Dense(classes, use_bias=False, name="class_logits", dtype="float32"))(x)
        logits = layers.Add(dtype="float32")([logits, own])
    return keras.Model(image, logits, name=name)


def image_encoder(image_shape, latent_dim, *, filters=(32, 64), hidden=128, name="encoder"):
    """Build a VAE's encoder: from a picture to a Gaussian over the latent space.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, channels)``; height and width must be divisible by 2 as often as there are ``filters``.
    latent_dim : int
        Length of the latent vector.
    filters : sequence of int
        Channels after each halving.
    hidden : int
        Width of the dense layer before the outputs.

    Returns
    -------
    keras.Model
        From pictures in [0, 1] to two outputs ``(n, latent_dim)``: the mean and the logarithm of the variance.

    Raises
    ------
    ValueError
        If the size cannot be halved that often.

    Examples
    --------
    >>> [output.shape for output in image_encoder((28, 28, 1), 2).outputs]
    [(None, 2), (None, 2)]
    """
    image, x = _convolutions(image_shape, filters, batch_norm=False)
    x = layers.LeakyReLU(0.2)(layers.Dense(hidden)(x))
    mean = layers.Dense(latent_dim, name="mean", dtype="float32")(x)
    # Zeros at the start: the first codes have variance 1, and no exponential can overflow.
    log_variance = layers.Dense(latent_dim, kernel_initializer="zeros", name="log_variance", dtype="float32")(x)
    return keras.Model(image, [mean, log_variance], name=name)


def image_features(image_shape, feature_dim=64, *, filters=(32, 64, 64), dropout=0.3, name="features"):
    """Build a network from a picture to a vector of features that a linear classifier can use.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, channels)``, any size.
    feature_dim : int
        Length of the feature vector.
    filters : sequence of int
        Channels of each stage; the first two stages halve the size.
    dropout : float
        Share of the values that are dropped in training before the features.

    Returns
    -------
    keras.Model
        From pictures in [0, 1] to ``(n, feature_dim)`` features, not negative.

    Raises
    ------
    ValueError
        If it is no shape of a picture.

    Examples
    --------
    >>> image_features((28, 28, 1)).output_shape
    (None, 64)
    """
    image = keras.Input(checks.image_shape(image_shape), name="image")
    x = image
    for stage, count in enumerate(filters):
        x = layers.Conv2D(count, 3, strides=2 if stage < 2 else 1, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.Dropout(dropout)(layers.Flatten()(x))
    return keras.Model(image, layers.Dense(feature_dim, activation="relu", dtype="float32")(x), name=name)


def image_unet(image_shape, *, classes=0, filters=(48, 96), blocks=2, name="unet"):
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
    >>> image_unet((28, 28, 1), classes=10).output_shape
    (None, 28, 28, 1)
    """
    if any(count % 8 for count in filters):
        raise ValueError(f"filters is {tuple(filters)}; expected multiples of 8, since channels are normalised in 8 groups")
    image = keras.Input(checks.image_shape(image_shape, halvings=len(filters)), name="image")
    angle = keras.Input((1,), name="angle")
    inputs = [image, angle]
    # Waves of the angle, slow and fast, so that small differences of it can be told.
    waves = angle * ops.convert_to_tensor([[2.0**power for power in range(6)]])
    told = layers.Dense(2 * filters[-1])(layers.Concatenate()([ops.sin(waves), ops.cos(waves)]))
    if checks.integer(classes, "classes", minimum=0):
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


def _as_it_is(layer):
    return layer


def _convolutions(image_shape, filters, batch_norm, wrap=_as_it_is):
    """The body that discriminator and encoder share: rescale to [-1, 1], halve the size at each convolution."""
    image = keras.Input(checks.image_shape(image_shape, halvings=len(filters)), name="image")
    x = layers.Rescaling(2.0, offset=-1.0)(image)
    for stage, count in enumerate(filters):
        # The first layer sees the pictures as they are: normalised, it could not tell a dark batch from a bright one.
        normalise = batch_norm and stage > 0
        x = wrap(layers.Conv2D(count, 4, strides=2, padding="same", use_bias=not normalise))(x)
        if normalise:
            x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.LeakyReLU(0.2)(x)
    return image, layers.Flatten()(x)

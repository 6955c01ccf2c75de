"""Building blocks that several families share: inference in batches, a convolutional generator, a convolutional body.

Images are in [0, 1], channels last; a network that works on [-1, 1] rescales inside. Outputs are float32, also under mixed
precision (see :func:`imggen_lib.backend.mixed_precision`). Every layer with weights has a name, because weight files store
weights by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from imggen_lib import _validation as validate
from imggen_lib import backend

__all__ = ["LEVELS", "image_generator", "predict"]

#: Levels of an 8-bit image, which likelihood models assign probabilities to.
LEVELS = 256

#: Octaves of the sinusoidal encoding of an angle.
FREQUENCIES = 6


def predict(network: keras.Model, inputs: Any, *, batch_size: int = 256, compiled: bool = True) -> Any:
    """Evaluate a network in batches, in inference mode: no dropout, batch normalisation with its stored statistics.

    Keras's ``predict`` does the same, but its set-up takes longer than a small network takes to compute.

    Parameters
    ----------
    network : keras.Model
        Functional or sequential.
    inputs : numpy.ndarray or list of numpy.ndarray
        One array for each input of the network, all of one length.
    batch_size : int
        Rows per evaluation, which bounds the memory.
    compiled : bool
        As in :func:`imggen_lib.backend.inference_function`.

    Returns
    -------
    numpy.ndarray or list of numpy.ndarray
        One array for each output.

    Examples
    --------
    A thousand rows are evaluated in four batches, with the result of one:

    >>> network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> rows = np.random.default_rng(0).normal(size=(1000, 3)).astype("float32")
    >>> bool(np.allclose(predict(network, rows), network(rows), atol=1e-6))
    True
    """
    several = isinstance(inputs, list)
    inference, outputs = backend.inference_function(network, compiled=compiled), []
    for first in range(0, len(inputs[0] if several else inputs), batch_size):
        rows = slice(first, first + batch_size)
        outputs.append(inference([array[rows] for array in inputs] if several else inputs[rows]))
    if isinstance(outputs[0], np.ndarray):
        return np.concatenate(outputs)
    return [np.concatenate(parts) for parts in zip(*outputs, strict=True)]


def network_inputs(*inputs: Any) -> Any:
    """Return the inputs that are not None as Keras takes them: a list, or the only one.

    Examples
    --------
    >>> network_inputs("image", None), network_inputs("image", "condition")
    ('image', ['image', 'condition'])
    """
    given = [value for value in inputs if value is not None]
    return given if len(given) > 1 else given[0]


def rounding_border(image_shape: Sequence[int], halvings: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the border that makes height and width of an image divisible by ``2 ** halvings``.

    Networks that halve or double the size add this border to images or remove it, so that they take images of any size.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, channels)``.
    halvings : int
        How often the size is halved or doubled.

    Returns
    -------
    tuple of tuple of int
        ``((top, bottom), (left, right))`` in pixels, as Keras's padding and cropping layers take it.

    Examples
    --------
    Halved twice, 17 needs three more pixels to become 20, and 24 needs none:

    >>> rounding_border((17, 24, 3), halvings=2)
    ((1, 2), (0, 0))
    """
    missing = [-size % 2**halvings for size in image_shape[:2]]
    rows, columns = ((count // 2, count - count // 2) for count in missing)
    return rows, columns


def coarse_shape(image_shape: Sequence[int], halvings: int) -> tuple[int, int]:
    """Return height and width after so many halvings, each rounded up at the end.

    Examples
    --------
    >>> coarse_shape((28, 30, 1), 3)
    (4, 4)
    """
    border = rounding_border(image_shape, halvings)
    height, width = (size + sum(sides) >> halvings for size, sides in zip(image_shape[:2], border, strict=True))
    return height, width


def downsample(image: Any, filters: Sequence[int], blocks: int) -> Any:
    """Apply the body of an encoder of images: strided convolutions, then residual blocks at the smallest size.

    Parameters
    ----------
    image : KerasTensor
        ``(n, height, width, channels)`` in [0, 1], any size: a border of grey is added if it cannot be halved as often.
    filters : sequence of int
        Channels after each halving.
    blocks : int
        Residual blocks.

    Returns
    -------
    KerasTensor
        ``(n, h, w, filters[-1])``; see :func:`coarse_shape`.

    Raises
    ------
    ValueError
        If ``filters`` is empty or a number is not positive.

    Examples
    --------
    >>> downsample(keras.Input((28, 28, 1)), (16, 32), blocks=1).shape
    (None, 7, 7, 32)
    """
    counts = _checked_filters(filters)
    x = layers.Rescaling(2.0, offset=-1.0)(image)
    border = rounding_border(image.shape[1:], len(counts))
    if border != ((0, 0), (0, 0)):
        x = layers.ZeroPadding2D(border)(x)
    for stage, count in enumerate(counts):
        x = layers.Conv2D(count, 4, strides=2, padding="same", name=f"conv_{stage}")(x)
        x = layers.Activation("silu")(x) if stage < len(counts) - 1 else x
    return _residual_blocks(x, blocks)


def upsample(codes: Any, image_shape: Sequence[int], filters: Sequence[int], blocks: int) -> Any:
    """Apply a decoder of images: residual blocks at the smallest size, then transposed convolutions that double it.

    Parameters
    ----------
    codes : KerasTensor
        ``(n, h, w, d)`` with the height and width of :func:`coarse_shape`.
    image_shape : tuple of int
        ``(height, width, channels)`` of the images.
    filters : sequence of int
        Channels before each doubling: those of the encoder in reverse order.
    blocks : int
        Residual blocks.

    Returns
    -------
    KerasTensor
        Images in [0, 1].

    Raises
    ------
    ValueError
        As in :func:`downsample`.

    Examples
    --------
    >>> upsample(keras.Input((7, 7, 4)), (28, 28, 1), (32, 16), blocks=1).shape
    (None, 28, 28, 1)
    """
    counts, shape = _checked_filters(filters), validate.image_shape(image_shape)
    x = layers.Conv2D(counts[0], 3, padding="same", name="from_codes")(codes)
    x = layers.Activation("silu")(_residual_blocks(x, blocks))
    for stage, count in enumerate(counts[1:]):
        x = layers.Conv2DTranspose(count, 4, strides=2, padding="same", name=f"upsample_{stage}")(x)
        x = layers.Activation("silu")(x)
    image = layers.Conv2DTranspose(
        shape[2], 4, strides=2, padding="same", activation="sigmoid", name="image", dtype="float32"
    )(x)
    border = rounding_border(shape, len(counts))
    return image if border == ((0, 0), (0, 0)) else layers.Cropping2D(border, name="crop", dtype="float32")(image)


def _checked_filters(filters: Sequence[int]) -> list[int]:
    if len(filters) == 0:
        raise ValueError("filters is empty; expected the number of channels for each halving of the size")
    return [validate.integer(count, "filters") for count in filters]


def _residual_blocks(x: Any, blocks: int) -> Any:
    """Add the output of two convolutions to x, ``blocks`` times."""
    for index in range(validate.integer(blocks, "blocks", minimum=0)):
        y = layers.Activation("silu")(x)
        y = layers.Conv2D(x.shape[-1], 3, padding="same", activation="silu", name=f"block_{index}_conv")(y)
        x = layers.Add()([x, layers.Conv2D(x.shape[-1], 1, name=f"block_{index}_output")(y)])
    return x


def image_generator(
    image_shape: Sequence[int],
    latent_dim: int,
    *,
    hidden: int = 128,
    filters: Sequence[int] = (64, 32),
    batch_norm: bool = True,
    num_classes: int | None = None,
    name: str = "generator",
) -> keras.Model:
    """Build a network from a latent vector to an image: dense layers, then transposed convolutions that double the size.

    It is the generator of a GAN and, without batch normalisation, the decoder of a VAE. The coarse image has
    ``2 ** len(filters)`` times fewer rows and columns, rounded up; what exceeds ``image_shape`` at the end is cropped.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, channels)``, any size.
    latent_dim : int
        Length of the latent vector.
    hidden : int
        Units of the first dense layer. It makes the coarse image a nonlinear function of the latent vector.
    filters : sequence of int
        Channels before each doubling, from the smallest size to the largest.
    batch_norm : bool
        Whether to apply batch normalisation before each activation.
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
    Radford, Metz and Chintala, "Unsupervised representation learning with deep convolutional generative adversarial
    networks", ICLR 2016.

    Examples
    --------
    28 pixels are 7 pixels doubled twice, once for each entry of ``filters``. 25 pixels are cropped from them:

    >>> image_generator((28, 28, 1), 64).output_shape, image_generator((25, 25, 1), 64).output_shape
    ((None, 28, 28, 1), (None, 25, 25, 1))
    >>> image_generator((25, 25, 1), 64).get_layer("image").output.shape
    (None, 28, 28, 1)
    """
    channels = validate.image_shape(image_shape)[2]
    border, (height, width) = rounding_border(image_shape, len(filters)), coarse_shape(image_shape, len(filters))

    def activate(x: Any, index: int) -> Any:
        if batch_norm:
            x = layers.BatchNormalization(momentum=0.9, name=f"norm_{index}")(x)
        return layers.LeakyReLU(0.2)(x)

    inputs = validate.integer(latent_dim, "latent_dim") + validate.condition_size(num_classes)
    latent = keras.Input((inputs,), name="latent")
    x = activate(layers.Dense(hidden, use_bias=not batch_norm, name="dense_0")(latent), 0)
    x = layers.Dense(height * width * filters[0], use_bias=not batch_norm, name="dense_1")(x)
    x = layers.Reshape((height, width, filters[0]))(activate(x, 1))
    for index, count in enumerate(filters[1:], start=2):
        x = layers.Conv2DTranspose(count, 4, strides=2, padding="same", use_bias=not batch_norm, name=f"upsample_{index}")(
            x
        )
        x = activate(x, index)
    # The last doubling produces the image itself: at full size every additional channel costs the most.
    image = layers.Conv2DTranspose(
        channels, 4, strides=2, padding="same", activation="sigmoid", name="image", dtype="float32"
    )(x)
    if border != ((0, 0), (0, 0)):
        image = layers.Cropping2D(border, name="crop", dtype="float32")(image)
    return keras.Model(latent, image, name=name)


def convolutional_body(
    image_shape: Sequence[int],
    filters: Sequence[int],
    *,
    batch_norm: bool,
    wrap: Callable[[keras.Layer], keras.Layer] = lambda layer: layer,
    reduce: int = 1,
) -> tuple[Any, Any]:
    """Return the input and the flattened features of strided convolutions, which discriminator and encoder share.

    The image is rescaled to [-1, 1], and each convolution halves the size, rounded up: it pads odd sizes with zeros.
    ``wrap`` is applied to every layer with weights (spectral normalisation). Before the first layer, blocks of
    ``reduce`` x ``reduce`` pixels are averaged.
    """
    image = keras.Input(validate.image_shape(image_shape), name="image")
    x = layers.Rescaling(2.0, offset=-1.0)(image)
    if reduce > 1:
        x = layers.AveragePooling2D(reduce)(x)
    for stage, count in enumerate(filters):
        # The first layer is not normalised: the network could not distinguish a dark batch from a bright one.
        normalise = batch_norm and stage > 0
        convolution = layers.Conv2D(count, 4, strides=2, padding="same", use_bias=not normalise, name=f"conv_{stage}")
        x = wrap(convolution)(x)
        if normalise:
            x = layers.BatchNormalization(momentum=0.9, name=f"norm_{stage}")(x)
        x = layers.LeakyReLU(0.2)(x)
    return image, layers.Flatten()(x)


def embed(angle: Any, condition: Any, size: int) -> Any:
    """Return the embedding of angle and condition: a sinusoidal encoding of the angle, a linear map of the condition."""
    phases = angle * ops.convert_to_tensor([[2.0**octave for octave in range(FREQUENCIES)]])
    features = layers.Concatenate()([ops.sin(phases), ops.cos(phases)])
    embedding = layers.Dense(size, name="embed_angle")(features)
    if condition is not None:
        embedding = layers.Add()([embedding, layers.Dense(size, use_bias=False, name="embed_condition")(condition)])
    return layers.Activation("silu")(embedding)

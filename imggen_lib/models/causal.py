"""Convolutions that see only what comes before in reading order, and the network that is made of them."""

import keras
import numpy as np
from keras import layers, ops

from imggen_lib import checks

#: How far the blocks look, (rows up, columns aside), in turn. Twelve of them see all that came before in a picture of
#: 28x28 but a few per cent: places far to the right in the rows just above, which no path of such steps reaches.
REACHES = ((1, 2), (2, 1), (1, 6), (4, 2))


@keras.saving.register_keras_serializable(package="imggen_lib")
class CausalConvolution(layers.Layer):
    """A convolution that sees only what comes before in reading order: above, and to the left.

    Parameters
    ----------
    filters : int
        Channels of the output.
    taps : sequence of (int, int)
        Where it looks, as rows up and columns to the right, from each place: ``(0, -1)`` is the left neighbour.

    Raises
    ------
    ValueError
        If a tap comes later than its own place.

    References
    ----------
    Van den Oord, Kalchbrenner and Kavukcuoglu, "Pixel recurrent neural networks", ICML 2016.

    Examples
    --------
    A layer that hands on the left neighbour:

    >>> layer = CausalConvolution(1, [(0, -1)], kernel_initializer="ones")
    >>> layer(ops.reshape([5.0, 6.0, 7.0], (1, 1, 3, 1)))[0, 0, :, 0].numpy().tolist()
    [0.0, 5.0, 6.0]
    """

    def __init__(self, filters, taps, *, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.filters = checks.integer(filters, "filters")
        self.taps = tuple((int(up), int(right)) for up, right in taps)
        if any(up < 0 or (up == 0 and right > 0) for up, right in self.taps):
            raise ValueError(f"taps is {self.taps}; expected places above, or in the same row and not to the right")
        self.kernel_initializer = kernel_initializer
        self.up = max(up for up, _ in self.taps)
        self.aside = max(abs(right) for _, right in self.taps)

    def build(self, input_shape):
        """Make one matrix for all taps together, and a bias."""
        rows = len(self.taps) * input_shape[-1]
        self.kernel = self.add_weight(shape=(rows, self.filters), initializer=self.kernel_initializer, name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")
        super().build(input_shape)

    def call(self, x):
        """Look at all places at once."""
        height, width = x.shape[1:3]
        x = ops.pad(x, ((0, 0), (self.up, 0), (self.aside, self.aside), (0, 0)))
        seen = [
            x[:, self.up - up : self.up - up + height, self.aside + right : self.aside + right + width]
            for up, right in self.taps
        ]
        return ops.matmul(ops.concatenate(seen, axis=-1), self.kernel) + self.bias

    def memory(self, n, height, width, channels):
        """Return an empty NumPy array for all that this layer will be shown, with the border that it needs."""
        return np.zeros((n, height + self.up, width + 2 * self.aside, channels), np.float32)

    def see(self, memory, row, column):
        """Return what the taps see from one place of a memory, ``(n, taps times channels)``."""
        row, column = row + self.up, column + self.aside
        return np.concatenate([memory[:, row - up, column + right] for up, right in self.taps], axis=-1)

    def get_config(self):
        """Return what builds the same layer."""
        options = {name: getattr(self, name) for name in ("filters", "taps", "kernel_initializer")}
        return {**super().get_config(), **options}


def neighbourhood(up, aside, *, itself):
    """Return the taps of a 3x3 kernel, stretched to the given reach, that come before its centre; and the centre if asked.

    Examples
    --------
    >>> neighbourhood(1, 1, itself=True)
    [(1, -1), (1, 0), (1, 1), (0, -1), (0, 0)]
    """
    taps = [(up, -aside), (up, 0), (up, aside), (0, -aside)]
    return [*taps, (0, 0)] if itself else taps


def pixel_network(image_shape, *, filters=48, blocks=12, mixtures=8, classes=0, name="pixelcnn"):
    """Build the network of a PixelCNN: causal convolutions in residual blocks.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, 1)``: grey pictures.
    filters : int
        Channels.
    blocks : int
        Residual blocks, each a causal convolution and a layer that looks at its own place only.
    mixtures : int
        Bells in the distribution of each pixel.
    classes : int
        How many numbers tell the class; 0 for a network that is told none.

    Returns
    -------
    keras.Model
        From pictures on the scale [-1, 1] and, if there are any, classes ``(n, classes)``; to ``(n, height, width, 3 *
        mixtures)``: logits of the shares, means, and logarithms of the scales.

    Raises
    ------
    ValueError
        If pictures are not grey.

    Examples
    --------
    >>> pixel_network((28, 28, 1), blocks=2, classes=10).output_shape
    (None, 28, 28, 24)
    """
    if len(image_shape) != 3 or image_shape[-1] != 1:
        raise ValueError(
            f"image_shape is {tuple(image_shape)}; expected (height, width, 1): this model draws grey pictures"
        )
    image = keras.Input(image_shape, name="image")
    inputs = [image]
    if checks.integer(classes, "classes", minimum=0):
        inputs.append(keras.Input((classes,), name="class"))
    taps = [(up, right) for up in range(4) for right in range(-3, 4) if up or right < 0]
    # A second channel of ones tells the picture from the zeros around it.
    x = CausalConvolution(filters, taps, name="first")(layers.Concatenate()([image, ops.ones_like(image)]))
    for number in range(checks.integer(blocks, "blocks")):
        taps = neighbourhood(*REACHES[number % len(REACHES)], itself=True)
        y = CausalConvolution(filters, taps, name=f"look_{number}")(ops.silu(x))
        if classes:
            told = layers.Dense(filters, use_bias=False, name=f"class_{number}")(inputs[1])
            y = layers.Add()([y, layers.Reshape((1, 1, filters))(told)])
        y = layers.Dense(filters, kernel_initializer="zeros", name=f"think_{number}")(ops.silu(y))
        x = layers.Add()([x, y])
    x = layers.Dense(3 * checks.integer(mixtures, "mixtures"), name="distribution")(ops.silu(x))
    return keras.Model(inputs, x, name=name)

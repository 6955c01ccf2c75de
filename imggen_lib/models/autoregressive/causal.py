"""Convolutions that see only what comes before in reading order, and the network that is made of them."""

import keras
import numpy as np
from keras import layers, ops

from imggen_lib import _validation as validate

#: How far the blocks look, (rows, columns), in turn. Twelve of them see all that came before in a picture of 28x28 but a
#: few per cent: places far to the right in the rows just above, which no path of such steps reaches.
REACHES = ((1, 1), (2, 2), (1, 7), (4, 4))


@keras.saving.register_keras_serializable(package="imggen_lib")
class CausalConvolution(layers.Layer):
    """A convolution that sees only what comes before in reading order: above, and to the left.

    Its kernel has the rows above the place and the place's own row. What lies to the right in that row is zero.

    Parameters
    ----------
    filters : int
        Channels of the output.
    size : tuple of int
        Rows, the place's own included, and columns of the kernel, an odd number.
    reach : tuple of int
        Steps between the kernel's rows and between its columns: 1 looks at neighbours, 2 at every second place.
    itself : bool
        Whether the place itself is seen. The first layer must not, the others may: what they see was made of what came
        before.

    Raises
    ------
    ValueError
        If the number of columns is even.

    References
    ----------
    Van den Oord, Kalchbrenner and Kavukcuoglu, "Pixel recurrent neural networks", ICML 2016.

    Examples
    --------
    A layer that adds up what it sees:

    >>> layer = CausalConvolution(1, itself=False, kernel_initializer="ones")
    >>> ops.convert_to_numpy(layer(ops.ones((1, 2, 3, 1))))[0, :, :, 0]
    array([[0., 1., 1.],
           [2., 4., 3.]], dtype=float32)
    """

    def __init__(
        self, filters, *, size=(2, 3), reach=(1, 1), itself=True, kernel_initializer="glorot_uniform", **kwargs
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.filters, self.itself, self.kernel_initializer = validate.integer(filters, "filters"), itself, kernel_initializer
        self.size, self.reach = (tuple(validate.integer(value, "size or reach") for value in pair) for pair in (size, reach))
        if self.size[1] % 2 == 0:
            raise ValueError(f"size is {self.size}; expected an odd number of columns, so that one is in the middle")
        self.up, self.aside = (self.size[0] - 1) * self.reach[0], self.size[1] // 2 * self.reach[1]
        self.mask = np.ones((*self.size, 1, 1), np.float32)
        self.mask[-1, self.size[1] // 2 + itself :] = 0

    def build(self, input_shape):
        """Make the kernel, of which the masked part is never used, and the bias."""
        shape = (*self.size, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")
        super().build(input_shape)

    def call(self, x):
        """Look at all places at once."""
        height, width = x.shape[1:3]
        (rows, columns), channels = self.reach, x.shape[-1]
        # Every so many rows and columns make a small picture of their own, in which the kernel has no gaps: processors
        # are quick at convolutions without gaps and slow at, or not up to, training those with them.
        down, across = -(-height // rows), -(-width // columns)
        x = ops.pad(x, ((0, 0), (0, down * rows - height), (0, across * columns - width), (0, 0)))
        x = ops.transpose(ops.reshape(x, (-1, down, rows, across, columns, channels)), (0, 2, 4, 1, 3, 5))
        x = ops.reshape(x, (-1, down, across, channels))
        half = self.size[1] // 2
        x = ops.pad(x, ((0, 0), (self.size[0] - 1, 0), (half, half), (0, 0)))
        x = ops.conv(x, self.kernel * self.mask, padding="valid")
        x = ops.transpose(ops.reshape(x, (-1, rows, columns, down, across, self.filters)), (0, 3, 1, 4, 2, 5))
        return ops.reshape(x, (-1, down * rows, across * columns, self.filters))[:, :height, :width] + self.bias

    def memory(self, n, height, width, channels):
        """Return an empty NumPy array for all that this layer will be shown, with the border that it needs."""
        return np.zeros((n, height + self.up, width + 2 * self.aside, channels), np.float32)

    def see(self, memory, row, column):
        """Return what the kernel sees from one place of a memory, ``(n, seen places times channels)``."""
        rows, columns = self.reach
        return np.concatenate(
            [memory[:, row + i * rows, column + j * columns] for i, j in np.argwhere(self.mask[..., 0, 0])], axis=-1
        )

    def matrix(self):
        """Return the kernel as a matrix that :meth:`see` is to be multiplied with."""
        kernel = ops.convert_to_numpy(self.kernel)[self.mask[..., 0, 0] == 1]
        return kernel.reshape(-1, self.filters)

    def get_config(self):
        """Return what builds the same layer."""
        options = {name: getattr(self, name) for name in ("filters", "size", "reach", "itself", "kernel_initializer")}
        return {**super().get_config(), **options}


def pixel_network(image_shape, *, filters=48, blocks=12, mixtures=8, num_classes=0, name="pixelcnn"):
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
    >>> pixel_network((28, 28, 1), blocks=2, num_classes=10).output_shape
    (None, 28, 28, 24)
    """
    if len(image_shape) != 3 or image_shape[-1] != 1:
        raise ValueError(
            f"image_shape is {tuple(image_shape)}; expected (height, width, 1): this model draws grey pictures"
        )
    image = keras.Input(image_shape, name="image")
    inputs = [image]
    if validate.integer(classes, "classes", minimum=0):
        inputs.append(keras.Input((classes,), name="class"))
    # A second channel of ones tells the picture from the zeros around it.
    x = CausalConvolution(filters, size=(4, 7), itself=False, name="first")(
        layers.Concatenate()([image, ops.ones_like(image)])
    )
    for number in range(validate.integer(blocks, "blocks")):
        y = CausalConvolution(filters, reach=REACHES[number % len(REACHES)], name=f"look_{number}")(ops.relu(x))
        if classes:
            told = layers.Dense(filters, use_bias=False, name=f"class_{number}")(inputs[1])
            y = layers.Add()([y, layers.Reshape((1, 1, filters))(told)])
        y = layers.Dense(filters, kernel_initializer="zeros", name=f"think_{number}")(ops.relu(y))
        x = layers.Add()([x, y])
    x = layers.Dense(3 * validate.integer(mixtures, "mixtures"), name="distribution")(ops.relu(x))
    return keras.Model(inputs if classes else image, x, name=name)

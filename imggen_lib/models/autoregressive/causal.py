"""Causal convolutions, which depend only on earlier pixels in reading order, and the network of a PixelCNN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from imggen_lib import _validation as validate
from imggen_lib.models.autoregressive.logistic_mixture import parameters_per_component

__all__ = ["DILATION_RATES", "CausalConvolution", "GatedBlock", "network_parts", "pixel_network"]

#: Dilation rates of the blocks, (rows, columns), in turn. Eight blocks use all earlier pixels of a 28x28 image.
DILATION_RATES = ((1, 1), (2, 2), (4, 4), (6, 6))

#: What a mask keeps of the kernel's last row: nothing, what is left of the pixel, that and the pixel, or everything.
MASK_TYPES = ("above", "A", "B", "row")


@keras.saving.register_keras_serializable(package="imggen_lib")
class CausalConvolution(layers.Layer):
    """A convolution of earlier pixels in reading order: those above, and those to the left in the same row.

    The kernel covers rows above the pixel and the pixel's own row, of which a part is masked. All channels of a pixel are
    masked together.

    Parameters
    ----------
    filters : int
        Channels of the output.
    kernel_size : tuple of int
        Rows, including the pixel's own, and columns of the kernel. The number of columns must be odd.
    dilation_rate : tuple of int
        Distance between the kernel's rows and between its columns, in pixels: 1 is a kernel without gaps.
    mask_type : {"A", "B", "above", "row"}
        "A" masks the pixel itself and what is right of it, "B" only what is right of it. The first layer of a network needs
        "A"; later ones may use "B", because their input at a pixel was computed from earlier pixels. In a stack that sees
        rows only, "above" masks the whole row of the pixel, and later layers use "row", which masks nothing.
    kernel_initializer : str or keras.initializers.Initializer

    Raises
    ------
    ValueError
        If the number of columns is even, or the mask type is another.

    References
    ----------
    Van den Oord, Kalchbrenner and Kavukcuoglu, "Pixel recurrent neural networks", ICML 2016.

    Examples
    --------
    With a kernel of ones, the output counts the earlier pixels in the kernel's window:

    >>> layer = CausalConvolution(1, mask_type="A", kernel_initializer="ones")
    >>> ops.convert_to_numpy(layer(ops.ones((1, 2, 3, 1))))[0, :, :, 0]
    array([[0., 1., 1.],
           [2., 4., 3.]], dtype=float32)
    """

    def __init__(
        self,
        filters: int,
        *,
        kernel_size: Sequence[int] = (2, 3),
        dilation_rate: Sequence[int] = (1, 1),
        mask_type: str = "B",
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = validate.integer(filters, "filters")
        self.kernel_size = validate.pair(kernel_size, "kernel_size")
        self.dilation_rate = validate.pair(dilation_rate, "dilation_rate")
        self.mask_type = validate.choice(mask_type, "mask_type", MASK_TYPES)
        self.kernel_initializer = kernel_initializer
        rows, columns = self.kernel_size
        if columns % 2 == 0:
            raise ValueError(f"kernel_size is {self.kernel_size}; expected an odd number of columns, centred on the pixel")
        self.mask = np.ones((rows, columns), np.float32)
        self.mask[-1, {"above": 0, "A": columns // 2, "B": columns // 2 + 1, "row": columns}[mask_type] :] = 0

    @property
    def padding(self) -> tuple[int, int]:
        """Rows above an image, and columns on either side, that the kernel's window covers."""
        rows, columns = self.kernel_size
        return (rows - 1) * self.dilation_rate[0], columns // 2 * self.dilation_rate[1]

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Create the kernel, whose masked part is never used, and the bias."""
        shape = (*self.kernel_size, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")
        super().build(input_shape)

    def call(self, x: Any) -> Any:
        """Convolve: zeros above and beside the image, so that the output has the image's size.

        With a dilation rate of (r, c), a pixel is combined only with pixels at multiples of r rows and c columns. So the
        image separates into r times c small images, one for each pair of remainders, in which the kernel has no gaps. They
        are convolved as one larger batch and put together again. On a CPU this is faster than a dilated convolution, and
        some backends cannot differentiate a dilated convolution there.
        """
        height, width, channels = x.shape[1:]
        r, c = self.dilation_rate
        # Zeros below and to the right make the size divisible. They come last, so no pixel of the image depends on them.
        small_height, small_width = -(-height // r), -(-width // c)
        x = ops.pad(x, ((0, 0), (0, small_height * r - height), (0, small_width * c - width), (0, 0)))
        x = ops.transpose(ops.reshape(x, (-1, small_height, r, small_width, c, channels)), (0, 2, 4, 1, 3, 5))
        x = ops.reshape(x, (-1, small_height, small_width, channels))
        rows, columns = self.kernel_size
        x = ops.pad(x, ((0, 0), (rows - 1, 0), (columns // 2, columns // 2), (0, 0)))
        mask = ops.convert_to_tensor(self.mask[..., np.newaxis, np.newaxis], self.compute_dtype)
        x = ops.conv(x, self.kernel * mask, padding="valid")
        x = ops.transpose(ops.reshape(x, (-1, r, c, small_height, small_width, self.filters)), (0, 3, 1, 4, 2, 5))
        x = ops.reshape(x, (-1, small_height * r, small_width * c, self.filters))
        return x[:, :height, :width] + self.bias

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that build the same layer."""
        names = ("filters", "kernel_size", "dilation_rate", "mask_type", "kernel_initializer")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="imggen_lib")
class GatedBlock(layers.Layer):
    r"""A residual block of two stacks: one sees the rows above a pixel, one the earlier pixels of its row.

    A single stack of masked convolutions has a blind spot: from a pixel to the upper right no path leads to the output, if
    each layer looks one row up and one column aside. The stack of the rows needs no mask, because all of these rows are
    earlier, so it has no blind spot. At each pixel it passes its features to the stack of the pixel's row.

    Both stacks have gated activations, :math:`\tanh(a) \odot \sigma(b)`, where a and b are linear functions of the inputs
    and of the condition. The last layer of the row's stack starts at zero.

    Parameters
    ----------
    filters : int
        Channels of each stack.
    dilation_rate : tuple of int
        Of the convolution over rows; the row's stack looks as many columns to the left as the second number says.

    References
    ----------
    Van den Oord et al., "Conditional image generation with PixelCNN decoders", NeurIPS 2016.

    Examples
    --------
    The features of a row do not depend on the stack of single pixels:

    >>> block, x = GatedBlock(8), keras.random.normal((1, 4, 4, 8), seed=0)
    >>> above, left = block(x, x)
    >>> bool(ops.all(block(x, 2 * x)[0] == above)), bool(ops.all(left == x))
    (True, True)
    """

    def __init__(self, filters: int, *, dilation_rate: Sequence[int] = (1, 1), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = validate.integer(filters, "filters")
        self.dilation_rate = validate.pair(dilation_rate, "dilation_rate")

    def build(
        self, above_shape: tuple[Any, ...], left_shape: tuple[Any, ...], condition_shape: tuple[Any, ...] | None = None
    ) -> None:
        """Create the layers; the one for the condition only if there is a condition."""
        options, filters, size = {"dtype": self.dtype_policy}, self.filters, tuple(above_shape[:-1])
        self.rows = CausalConvolution(
            2 * filters, dilation_rate=self.dilation_rate, mask_type="row", name="rows", **options
        )
        self.rows.build(above_shape)
        self.row = layers.Dense(2 * filters, name="row", **options)
        self.row.build((*size, 3 * filters))
        self.dense = layers.Dense(filters, kernel_initializer="zeros", name="dense", **options)
        self.dense.build((*size, filters))
        self.condition_projection: Any = None
        if condition_shape is not None:
            self.condition_projection = layers.Dense(4 * filters, use_bias=False, name="condition", **options)
            self.condition_projection.build(condition_shape)
        super().build(above_shape)

    def call(self, above: Any, left: Any, condition: Any = None) -> tuple[Any, Any]:
        """Return the new features of both stacks; ``condition`` is ``(n, num_classes)`` or None."""
        for_rows = for_row = 0.0
        if condition is not None:
            shifts = ops.reshape(self.condition_projection(condition), (-1, 1, 1, 4 * self.filters))
            for_rows, for_row = ops.split(shifts, 2, axis=-1)
        above = above + gated(self.rows(above) + for_rows)
        distance = self.dilation_rate[1]
        width = left.shape[2]
        before = ops.pad(left, ((0, 0), (0, 0), (distance, 0), (0, 0)))[:, :, :width]
        hidden = gated(self.row(ops.concatenate([before, left, above], axis=-1)) + for_row)
        return above, left + self.dense(hidden)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that build the same layer."""
        return {**super().get_config(), "filters": self.filters, "dilation_rate": self.dilation_rate}


def gated(x: Any) -> Any:
    """Return the gated activation of the two halves of the channels, of which the second is the gate."""
    value, gate = ops.split(x, 2, axis=-1)
    return ops.tanh(value) * ops.sigmoid(gate)


def pixel_network(
    image_shape: Sequence[int],
    *,
    filters: int = 48,
    blocks: int = 8,
    mixtures: int = 8,
    num_classes: int | None = None,
    name: str = "pixelcnn",
) -> keras.Model:
    """Build the network of a PixelCNN: a causal convolution for each stack, gated blocks, a dense layer at each pixel.

    All layers compute in single precision, whatever Keras's dtype policy is: an exact likelihood needs it, and
    :mod:`imggen_lib.models.autoregressive.cache` samples in single precision.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, channels)``.
    filters : int
        Channels of each stack.
    blocks : int
        Number of blocks; see :class:`GatedBlock`.
    mixtures : int
        Number of logistic components in the distribution of each pixel.
    num_classes : int, optional
        Size of the condition, for a conditional PixelCNN.

    Returns
    -------
    keras.Model
        From images on the scale [-1, 1], and ``(n, num_classes)`` if it is conditional, to the parameters of the
        distribution of each pixel, as :func:`imggen_lib.models.autoregressive.logistic_mixture.pixel_log_probability` takes
        them: ``3 * mixtures`` for grey images, ``10 * mixtures`` for colour images.

    References
    ----------
    Van den Oord et al., "Conditional image generation with PixelCNN decoders", NeurIPS 2016. Salimans et al., "PixelCNN++",
    ICLR 2017.

    Examples
    --------
    >>> pixel_network((28, 28, 1), blocks=2, num_classes=10).output_shape
    (None, 28, 28, 24)
    >>> pixel_network((28, 28, 3), blocks=2).output_shape
    (None, 28, 28, 80)
    """
    image = keras.Input(validate.image_shape(image_shape), name="image", dtype="float32")
    condition = None
    if validate.condition_size(num_classes):
        condition = keras.Input((num_classes,), name="condition", dtype="float32")
    # A last channel of ones distinguishes the image from the zeros around it.
    x = ops.pad(image, ((0, 0), (0, 0), (0, 0), (0, 1)), constant_values=1.0)
    above = CausalConvolution(filters, kernel_size=(4, 7), mask_type="above", name="first_rows", dtype="float32")(x)
    left = CausalConvolution(filters, kernel_size=(1, 7), mask_type="A", name="first_row", dtype="float32")(x)
    for index in range(validate.integer(blocks, "blocks")):
        rate = DILATION_RATES[index % len(DILATION_RATES)]
        block = GatedBlock(filters, dilation_rate=rate, name=f"block_{index}", dtype="float32")
        above, left = block(above, left, condition)
    width = validate.integer(mixtures, "mixtures") * parameters_per_component(image.shape[-1])
    output = layers.Dense(width, name="distribution", dtype="float32")(ops.silu(left))
    return keras.Model(image if condition is None else [image, condition], output, name=name)


def network_parts(
    network: keras.Model,
) -> tuple[CausalConvolution, CausalConvolution, list[GatedBlock], layers.Dense]:
    """Return the layers of a :func:`pixel_network`: first convolutions of rows and of the row, blocks, last dense layer.

    Raises
    ------
    ValueError
        If the network has other layers with weights.

    Examples
    --------
    >>> rows, row, blocks, last = network_parts(pixel_network((8, 8, 1), blocks=2))
    >>> rows.name, row.name, [block.name for block in blocks], last.name
    ('first_rows', 'first_row', ['block_0', 'block_1'], 'distribution')
    """
    parts = [layer for layer in network.layers if layer.weights]
    kinds = [type(layer) for layer in parts]
    if kinds != [CausalConvolution, CausalConvolution, *[GatedBlock] * (len(parts) - 3), layers.Dense]:
        raise ValueError(
            f"the network {network.name} has the layers {', '.join(layer.name for layer in parts)}; expected two causal "
            "convolutions, gated blocks and a dense layer: build it with pixel_network"
        )
    return parts[0], parts[1], parts[2:-1], parts[-1]

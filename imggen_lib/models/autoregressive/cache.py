"""Evaluation of a PixelCNN's network pixel by pixel, for sampling. NumPy only.

Evaluating the whole network for every new pixel would compute all earlier pixels again. Here every convolution caches its
inputs, so each pixel is computed once. The stack that sees the rows above a pixel is computed for a whole row at once.
Calls are small, so NumPy is faster than a graph.

Reference: Ramachandran et al., "Fast generation for convolutional autoregressive models", ICLR 2017 workshop.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray
from scipy.special import expit

from imggen_lib.models.autoregressive.causal import CausalConvolution, GatedBlock, network_parts

__all__ = ["CachedNetwork", "ConvolutionCache"]

# Kernel and bias of a dense layer.
_Weights: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float32]]


class ConvolutionCache:
    """The inputs of a causal convolution so far, with the zeros around them.

    Parameters
    ----------
    layer : CausalConvolution
        Built. Its weights are copied.
    n, height, width : int
        Number and size of the images.

    Examples
    --------
    The output at a pixel needs only the pixels stored before it. Here they are the three of the row above:

    >>> layer = CausalConvolution(1, mask_type="above", kernel_initializer="ones")
    >>> whole = ops.convert_to_numpy(layer(ops.ones((1, 2, 3, 1))))[0, :, :, 0]
    >>> cache = ConvolutionCache(layer, 1, 2, 3)
    >>> cache.values[:, cache.rows(0), cache.columns(0, 3)] = np.ones((1, 3, 1))
    >>> cache.output(1, 0, 3).ravel().tolist() == whole[1].tolist()
    True
    """

    def __init__(self, layer: CausalConvolution, n: int, height: int, width: int) -> None:
        above, beside = layer.padding
        self.above: int = above
        self.beside: int = beside
        # Distances from the upper left corner of the kernel's window to the values that the mask keeps.
        self.offsets: NDArray[np.intp] = np.argwhere(layer.mask) * layer.dilation_rate
        kernel = ops.convert_to_numpy(layer.kernel)
        self.matrix: NDArray[np.float32] = kernel[layer.mask == 1].reshape(-1, layer.filters)
        self.bias: NDArray[np.float32] = ops.convert_to_numpy(layer.bias)
        shape = (n, height + above, width + 2 * beside, kernel.shape[2])
        self.values: NDArray[np.float32] = np.zeros(shape, np.float32)

    def rows(self, row: int) -> int:
        """Return the index in ``values`` of a row of the image."""
        return row + self.above

    def columns(self, first: int, stop: int) -> slice:
        """Return the slice in ``values`` of columns of the image."""
        return slice(first + self.beside, stop + self.beside)

    def output(self, row: int, first: int, stop: int) -> NDArray[np.float32]:
        """Return the layer's output at the columns from ``first`` to ``stop`` of a row, ``(n, stop - first, filters)``."""
        window = [self.values[:, row + i, first + j : stop + j] for i, j in self.offsets]
        return np.concatenate(window, axis=-1) @ self.matrix + self.bias


class _BlockCache:
    """A gated block: the inputs of its convolution over rows, and those of its row's stack."""

    def __init__(self, block: GatedBlock, n: int, height: int, width: int, condition: NDArray[np.float32] | None) -> None:
        self.rows: ConvolutionCache = ConvolutionCache(block.rows, n, height, width)
        self.distance: int = block.dilation_rate[1]
        self.row: _Weights = _weights(block.row)
        self.dense: _Weights = _weights(block.dense)
        self.above: NDArray[np.float32] = np.empty((n, width, block.filters), np.float32)
        # Columns of zeros on the left, as far as the stack looks.
        self.left: NDArray[np.float32] = np.zeros((n, self.distance + width, block.filters), np.float32)
        shifts: Any = np.zeros(4 * block.filters, np.float32)
        if condition is not None:
            shifts = (condition @ ops.convert_to_numpy(block.condition_projection.kernel))[:, np.newaxis]
        self.for_rows: NDArray[np.float32]
        self.for_row: NDArray[np.float32]
        self.for_rows, self.for_row = np.split(shifts, 2, axis=-1)

    def next_row(self, row: int, above: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the features of the rows above at each pixel of a row, given those of the block before."""
        width = above.shape[1]
        self.rows.values[:, self.rows.rows(row), self.rows.columns(0, width)] = above
        self.above = above + _gated(self.rows.output(row, 0, width) + self.for_rows)
        return self.above

    def next_pixel(self, column: int, left: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the features ``(n, 1, filters)`` of the row's stack at a pixel, given those of the block before."""
        self.left[:, column + self.distance : column + self.distance + 1] = left
        inputs = [self.left[:, column : column + 1], left, self.above[:, column : column + 1]]
        hidden = _gated(_dense(np.concatenate(inputs, axis=-1), self.row) + self.for_row)
        return left + _dense(hidden, self.dense)


class CachedNetwork:
    """A :func:`imggen_lib.models.autoregressive.causal.pixel_network` that is evaluated pixel by pixel in reading order.

    Parameters
    ----------
    network : keras.Model
        Its weights are copied.
    n : int
        Number of images.
    condition : numpy.ndarray, optional
        ``(n, num_classes)``, if the network is conditional.

    Raises
    ------
    ValueError
        If the network is another.

    Examples
    --------
    >>> from imggen_lib.models.autoregressive import pixel_network
    >>> network = pixel_network((1, 2, 1), filters=4, blocks=1, mixtures=1)
    >>> image = np.array([[[[0.5], [-0.5]]]], "float32")
    >>> whole, cached = ops.convert_to_numpy(network(image)), CachedNetwork(network, 1)
    >>> for column in range(2):
    ...     print(bool(np.allclose(cached.distribution(0, column), whole[:, 0, column], atol=1e-6)))
    ...     cached.store(0, column, image[:, 0, column])
    True
    True
    """

    def __init__(self, network: keras.Model, n: int, condition: NDArray[np.float32] | None = None) -> None:
        first_rows, first_row, blocks, last = network_parts(network)
        height, width, _ = network.inputs[0].shape[1:]
        self.width: int = width
        self.first: tuple[ConvolutionCache, ConvolutionCache] = (
            ConvolutionCache(first_rows, n, height, width),
            ConvolutionCache(first_row, n, height, width),
        )
        self.blocks: list[_BlockCache] = [_BlockCache(block, n, height, width, condition) for block in blocks]
        self.last: _Weights = _weights(last)

    def distribution(self, row: int, column: int) -> NDArray[np.float32]:
        """Return the network's output at a pixel, ``(n, parameters)``. All earlier pixels must have been stored."""
        if column == 0:
            above = self.first[0].output(row, 0, self.width)
            for block in self.blocks:
                above = block.next_row(row, above)
        left = self.first[1].output(row, column, column + 1)
        for block in self.blocks:
            left = block.next_pixel(column, left)
        return _dense(left * expit(left), self.last)[:, 0]

    def store(self, row: int, column: int, values: NDArray[np.floating]) -> None:
        """Store a pixel of the images, ``(n, channels)`` on the scale [-1, 1]."""
        # The network adds a channel of ones.
        pixel = np.concatenate([values, np.ones_like(values[:, :1])], axis=-1)[:, np.newaxis]
        for cache in self.first:
            cache.values[:, cache.rows(row), cache.columns(column, column + 1)] = pixel


def _weights(dense: keras.layers.Dense) -> _Weights:
    return ops.convert_to_numpy(dense.kernel), ops.convert_to_numpy(dense.bias)


def _dense(x: NDArray[np.float32], weights: _Weights) -> NDArray[np.float32]:
    return x @ weights[0] + weights[1]


def _gated(x: NDArray[np.float32]) -> NDArray[np.float32]:
    value, gate = np.split(x, 2, axis=-1)
    return np.tanh(value) * expit(gate)

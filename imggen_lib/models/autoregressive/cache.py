"""Evaluation of a PixelCNN's network pixel by pixel, for sampling. NumPy only.

Evaluating the whole network for every new pixel would compute all earlier pixels again. Here every convolution caches its
inputs, so each pixel is computed once. Calls are small, so NumPy is faster than a graph.

Reference: Ramachandran et al., "Fast generation for convolutional autoregressive models", ICLR 2017 workshop.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from imggen_lib.models.autoregressive.causal import CausalConvolution, network_parts

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
    The output at a pixel needs only the pixels stored before it:

    >>> layer = CausalConvolution(1, mask_type="A", kernel_initializer="ones")
    >>> whole = ops.convert_to_numpy(layer(ops.ones((1, 2, 3, 1))))[0, :, :, 0]
    >>> cache = ConvolutionCache(layer, 1, 2, 3)
    >>> for row, column in [(0, 0), (0, 1), (0, 2)]:
    ...     cache.store(row, column, np.ones((1, 1)))
    >>> cache.output(1, 0).item(), whole[1, 0].item()
    (2.0, 2.0)
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

    def store(self, row: int, column: int, inputs: NDArray[np.floating]) -> None:
        """Store the layer's input at a pixel, ``(n, channels)``."""
        self.values[:, row + self.above, column + self.beside] = inputs

    def output(self, row: int, column: int) -> NDArray[np.float32]:
        """Return the layer's output at a pixel, ``(n, filters)``."""
        window = [self.values[:, row + i, column + j] for i, j in self.offsets]
        return np.concatenate(window, axis=-1) @ self.matrix + self.bias


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
        first, blocks, last = network_parts(network)
        height, width, _ = network.inputs[0].shape[1:]
        self.first: ConvolutionCache = ConvolutionCache(first, n, height, width)
        self.blocks: list[tuple[ConvolutionCache, NDArray[np.float32] | float, *_Weights]] = []
        for block in blocks:
            shift = 0.0 if condition is None else condition @ ops.convert_to_numpy(block.condition_projection.kernel)
            self.blocks.append((ConvolutionCache(block.convolution, n, height, width), shift, *_weights(block.dense)))
        self.last: _Weights = _weights(last)

    def distribution(self, row: int, column: int) -> NDArray[np.float32]:
        """Return the network's output at a pixel, ``(n, parameters)``. All earlier pixels must have been stored."""
        x: NDArray[Any] = self.first.output(row, column)
        for cache, shift, kernel, bias in self.blocks:
            cache.store(row, column, np.maximum(x, 0))
            y = np.maximum(cache.output(row, column) + shift, 0)
            x = x + y @ kernel + bias
        kernel, bias = self.last
        return np.maximum(x, 0) @ kernel + bias

    def store(self, row: int, column: int, values: NDArray[np.floating]) -> None:
        """Store a pixel of the images, ``(n, channels)`` on the scale [-1, 1]."""
        # The network adds a channel of ones.
        self.first.store(row, column, np.concatenate([values, np.ones_like(values[:, :1])], axis=-1))


def _weights(dense: keras.layers.Dense) -> _Weights:
    return ops.convert_to_numpy(dense.kernel), ops.convert_to_numpy(dense.bias)

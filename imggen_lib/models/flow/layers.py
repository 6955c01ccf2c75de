"""Invertible layers of a normalizing flow."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from imggen_lib import _validation as validate

__all__ = ["Augment", "Coupling", "Invertible", "Squeeze", "Standardise", "invert_network"]


class Invertible(layers.Layer):
    """A layer with an inverse and a log-determinant.

    A subclass defines :meth:`invert` and ``call(x, condition=None)``, which returns the output and the logarithm of the
    absolute determinant of the Jacobian, ``(n,)``. ``condition`` is ``(n, num_classes)``, or None in an unconditional flow.
    """

    def invert(self, y: Any, condition: Any = None) -> Any:
        """Return the input that has the output ``y`` under the same condition."""
        raise NotImplementedError(f"{type(self).__name__} does not define invert")


def invert_network(network: keras.Model, latent: Any, condition: Any = None) -> Any:
    """Return the input of a chain of invertible layers that has the output ``latent``.

    Parameters
    ----------
    network : keras.Model
        A chain of :class:`Invertible` layers, as :func:`imggen_lib.models.flow.model.flow_network` builds it.
    latent : tensor
        ``(n, ...)``, of the shape of the network's first output.
    condition : tensor, optional
        ``(n, num_classes)``, in a conditional flow.

    Returns
    -------
    tensor
        Of the shape of the network's first input.

    Examples
    --------
    >>> image = keras.Input((2, 2, 1))
    >>> network = keras.Model(image, Squeeze()(image))
    >>> ops.convert_to_numpy(invert_network(network, ops.reshape(ops.arange(4), (1, 1, 1, 4))))[0, :, :, 0]
    array([[0, 1],
           [2, 3]], dtype=int32)
    """
    for layer in reversed(invertible_layers(network)):
        latent = layer.invert(latent, condition)
    return latent


def invertible_layers(network: keras.Model) -> list[Invertible]:
    """Return the invertible layers of a network in order of application."""
    return [layer for layer in network.layers if isinstance(layer, Invertible)]


@keras.saving.register_keras_serializable(package="imggen_lib")
class Augment(Invertible):
    r"""Append rows below and columns to the right of an image, with standard normal values that are given.

    The flow then models image x and border b together. With q for the density of the border,

    .. math:: \log p(x) \ge \mathbb{E}_{b \sim q}[\log p(x, b) - \log q(b)],

    with equality if the border is independent of the image in the model, too. The log-determinant of this layer is
    :math:`-\log q(b)`, so the log-density of a flow that begins with it is the right side for one b. The inverse removes
    the border.

    Parameters
    ----------
    rows, columns : int
        How many to append; at least 0.

    References
    ----------
    Huang, Dinh and Courville, "Augmented normalizing flows: bridging the gap between generative flows and latent variable
    models", arXiv:2002.07101, 2020.

    Examples
    --------
    >>> layer, image = Augment(1, 0), ops.ones((1, 1, 2, 1))
    >>> y, log_det = layer(image, border=ops.full((1, 2, 2, 1), 3.0))
    >>> ops.convert_to_numpy(y)[0, :, :, 0]
    array([[1., 1.],
           [3., 3.]], dtype=float32)
    >>> bool(ops.all(layer.invert(y) == image))
    True
    """

    def __init__(self, rows: int, columns: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rows = validate.integer(rows, "rows", minimum=0)
        self.columns = validate.integer(columns, "columns", minimum=0)

    def call(self, x: Any, condition: Any = None, border: Any = None) -> tuple[Any, Any]:
        """Append the border. ``border`` has the shape of the output; its values over the image are not used."""
        height, width = x.shape[1:3]
        mask = np.ones((1, height + self.rows, width + self.columns, 1), np.float32)
        mask[:, :height, :width] = 0
        y = ops.pad(x, ((0, 0), (0, self.rows), (0, self.columns), (0, 0))) + border * mask
        return y, 0.5 * ops.sum((ops.square(border) + math.log(2 * math.pi)) * mask, axis=(1, 2, 3))

    def invert(self, y: Any, condition: Any = None) -> Any:
        """Remove the border."""
        height, width = y.shape[1:3]
        return y[:, : height - self.rows, : width - self.columns]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that build the same layer."""
        return {**super().get_config(), "rows": self.rows, "columns": self.columns}


@keras.saving.register_keras_serializable(package="imggen_lib")
class Squeeze(Invertible):
    """Turn each 2x2 block of pixels into one pixel with four times the channels: half the size, the same values.

    Examples
    --------
    >>> Squeeze()(ops.ones((1, 4, 4, 3)))[0].shape == (1, 2, 2, 12)
    True
    """

    def call(self, x: Any, condition: Any = None) -> tuple[Any, Any]:
        """Return the squeezed values and a log-determinant of 0: a permutation changes no volume."""
        height, width, channels = x.shape[1:]
        x = ops.reshape(x, (-1, height // 2, 2, width // 2, 2, channels))
        x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, height // 2, width // 2, 4 * channels))
        return x, ops.zeros_like(x[:, 0, 0, 0])

    def invert(self, y: Any, condition: Any = None) -> Any:
        """Turn each pixel back into a 2x2 block."""
        height, width, channels = y.shape[1:]
        y = ops.reshape(y, (-1, height, width, 2, 2, channels // 4))
        return ops.reshape(ops.transpose(y, (0, 1, 3, 2, 4, 5)), (-1, 2 * height, 2 * width, channels // 4))


@keras.saving.register_keras_serializable(package="imggen_lib")
class Coupling(Invertible):
    r"""An affine coupling: half of the channels is scaled and shifted by what a network computes from the other half.

    .. math:: y_1 = x_1, \qquad y_2 = x_2 \odot e^{s(x_1)} + t(x_1), \qquad \log\left|\det\right| = \sum s(x_1)

    Before the coupling, the channels are multiplied by a fixed random rotation, so that every layer splits them
    differently. The absolute determinant of a rotation is 1. In a conditional flow, s and t also depend on the condition,
    which is concatenated to :math:`x_1` as channels that are constant over the image.

    Parameters
    ----------
    filters : int
        Channels of the network's two hidden layers.
    scale_bound : float
        Bound of s: no layer scales by more than :math:`e^\text{scale_bound}`, nor by less than the inverse.
    seed : int
        Of the rotation.

    Raises
    ------
    ValueError
        When built, if the input has a single channel, which cannot be split.

    References
    ----------
    Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", ICLR 2017. Kingma and Dhariwal, "Glow", NeurIPS
    2018, multiply the channels by a (learned) matrix before each coupling.

    Examples
    --------
    Before training, s and t are 0, so the layer is a rotation: it keeps lengths and volumes.

    >>> x = keras.random.normal((5, 4, 4, 2), seed=0)
    >>> y, log_det = Coupling(8)(x)
    >>> bool(ops.all(abs(ops.norm(y, axis=-1) - ops.norm(x, axis=-1)) < 1e-5)), float(ops.max(abs(log_det)))
    (True, 0.0)
    """

    def __init__(self, filters: int, *, scale_bound: float = 2.0, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters, self.seed = validate.integer(filters, "filters"), validate.integer(seed, "seed", minimum=0)
        self.scale_bound = validate.real(scale_bound, "scale_bound", minimum=1e-6)

    def build(self, x_shape: tuple[Any, ...], condition_shape: tuple[Any, ...] | None = None) -> None:
        """Create the rotation and the network, whose last layer starts at zero."""
        channels = x_shape[-1]
        if channels < 2:
            raise ValueError(f"the input has the shape {tuple(x_shape)}; expected two or more channels, which are split")
        self.kept = channels // 2
        # The Q factor of a Gaussian matrix is a random rotation.
        rotation = np.linalg.qr(np.random.default_rng(self.seed).standard_normal((channels, channels)))[0]
        self.rotation = rotation.astype(self.compute_dtype)
        input_channels = self.kept + (0 if condition_shape is None else condition_shape[-1])
        x = inputs = keras.Input((*x_shape[1:-1], input_channels), dtype=self.compute_dtype)
        options = {"padding": "same", "dtype": self.dtype_policy}
        x = layers.Conv2D(self.filters, 3, activation="relu", name="conv_0", **options)(x)
        x = layers.Conv2D(self.filters, 1, activation="relu", name="conv_1", **options)(x)
        changed = channels - self.kept
        x = layers.Conv2D(2 * changed, 3, kernel_initializer="zeros", name="scale_and_shift", **options)(x)
        self.network = keras.Model(inputs, x, name="network")
        super().build(x_shape)

    def _split(self, x: Any, condition: Any) -> tuple[Any, Any, Any, Any]:
        """Return the kept channels, the changed ones, and the log-scale and shift computed from the kept ones."""
        kept, changed = x[..., : self.kept], x[..., self.kept :]
        inputs = kept
        if condition is not None:
            rows = ops.reshape(condition, (-1, 1, 1, condition.shape[-1]))
            inputs = ops.concatenate([kept, rows * ops.ones_like(kept[..., :1])], axis=-1)
        scale, shift = ops.split(self.network(inputs), 2, axis=-1)
        return kept, changed, self.scale_bound * ops.tanh(scale / self.scale_bound), shift

    def call(self, x: Any, condition: Any = None) -> tuple[Any, Any]:
        """Rotate, then scale and shift."""
        kept, changed, scale, shift = self._split(ops.matmul(x, self.rotation), condition)
        return ops.concatenate([kept, changed * ops.exp(scale) + shift], axis=-1), ops.sum(scale, axis=(1, 2, 3))

    def compute_output_shape(self, x_shape: Any, condition_shape: Any = None) -> tuple[Any, Any]:
        """Return the shapes of the outputs, so that Keras need not evaluate the layer to build a network."""
        return x_shape, x_shape[:1]

    def invert(self, y: Any, condition: Any = None) -> Any:
        """Undo shift and scale, then the rotation."""
        kept, changed, scale, shift = self._split(y, condition)
        return ops.matmul(ops.concatenate([kept, (changed - shift) * ops.exp(-scale)], axis=-1), self.rotation.T)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that build the same layer."""
        return {**super().get_config(), "filters": self.filters, "scale_bound": self.scale_bound, "seed": self.seed}


@keras.saving.register_keras_serializable(package="imggen_lib")
class Standardise(Invertible):
    """Shift and scale each value of an image by two learned numbers of its own.

    Examples
    --------
    The determinant of a diagonal matrix is the product of its entries. Here 16 values are doubled:

    >>> layer = Standardise()
    >>> layer.build((None, 4, 4, 1))
    >>> layer.set_weights([np.zeros((4, 4, 1)), np.full((4, 4, 1), np.log(2))])
    >>> y, log_det = layer(ops.ones((1, 4, 4, 1)))
    >>> float(y[0, 0, 0, 0]), round(float(log_det[0] / np.log(2)), 4)
    (2.0, 16.0)
    """

    def build(self, x_shape: tuple[Any, ...]) -> None:
        """Create the weights: a shift of 0 and a scale of 1."""
        self.shift = self.add_weight(shape=x_shape[1:], initializer="zeros", name="shift")
        self.log_scale = self.add_weight(shape=x_shape[1:], initializer="zeros", name="log_scale")
        super().build(x_shape)

    def call(self, x: Any, condition: Any = None) -> tuple[Any, Any]:
        """Shift, then scale."""
        return (x - self.shift) * ops.exp(self.log_scale), ops.sum(self.log_scale) + ops.zeros_like(x[:, 0, 0, 0])

    def invert(self, y: Any, condition: Any = None) -> Any:
        """Undo the scale, then the shift."""
        return y * ops.exp(-self.log_scale) + self.shift

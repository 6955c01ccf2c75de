"""Invertible layers of a normalizing flow."""

import keras
import numpy as np
from keras import layers, ops

from imggen_lib import _validation as validate


class Invertible(layers.Layer):
    """A layer whose call returns its output and the logarithm of its determinant's size, ``(n,)``, and that can go back."""

    def invert(self, y):
        """Return the input that has a given output."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it is inverted")


@keras.saving.register_keras_serializable(package="imggen_lib")
class Squeeze(Invertible):
    """Turn each 2x2 block of pixels into one pixel of four times the channels: half the size, nothing lost.

    Examples
    --------
    >>> Squeeze()(ops.ones((1, 4, 4, 3)))[0].shape == (1, 2, 2, 12)
    True
    """

    def call(self, x):
        """Return the blocks, and zeros: places change, no volume does."""
        height, width, channels = x.shape[1:]
        x = ops.reshape(x, (-1, height // 2, 2, width // 2, 2, channels))
        x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, height // 2, width // 2, 4 * channels))
        return x, ops.zeros_like(x[:, 0, 0, 0])

    def invert(self, y):
        """Put each block back."""
        height, width, channels = y.shape[1:]
        y = ops.reshape(y, (-1, height, width, 2, 2, channels // 4))
        return ops.reshape(ops.transpose(y, (0, 1, 3, 2, 4, 5)), (-1, 2 * height, 2 * width, channels // 4))


@keras.saving.register_keras_serializable(package="imggen_lib")
class Coupling(Invertible):
    r"""An affine coupling: one part of the channels is scaled and shifted by what a network makes of the other part.

    .. math:: y_1 = x_1, \qquad y_2 = x_2 \odot e^{s(x_1)} + t(x_1), \qquad \log\left|\det\right| = \sum s(x_1)

    Before that, the channels are turned by a fixed rotation, so that every layer splits them in another way; a rotation's
    determinant is 1 in size.

    Parameters
    ----------
    filters : int
        Width of the network's two hidden layers.
    reach : float
        Bound of s: no layer scales by more than :math:`e^\text{reach}`.
    seed : int
        Of the rotation.

    Raises
    ------
    ValueError
        When built, if there is only one channel: it cannot be split.

    References
    ----------
    Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", ICLR 2017. Kingma and Dhariwal, "Glow", NeurIPS
    2018, turn channels between the couplings.

    Examples
    --------
    >>> layer = Coupling(8)
    >>> y, log_det = layer(keras.random.normal((5, 4, 4, 2), seed=0))
    >>> tuple(y.shape), tuple(log_det.shape)
    ((5, 4, 4, 2), (5,))
    """

    def __init__(self, filters, *, reach=2.0, seed=0, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.seed = validate.integer(filters, "filters"), validate.integer(seed, "seed", minimum=0)
        self.reach = validate.real(reach, "reach", minimum=1e-6)

    def build(self, input_shape):
        """Make the rotation and the network, which is zero at first: the layer begins as a mere rotation."""
        channels = input_shape[-1]
        if channels < 2:
            raise ValueError(
                f"the input has the shape {tuple(input_shape)}; a coupling splits channels: expected two or more"
            )
        self.kept = channels // 2
        # The QR factor of a normal matrix is a random rotation.
        rotation = np.linalg.qr(np.random.default_rng(self.seed).standard_normal((channels, channels)))[0]
        self.rotation = rotation.astype(np.float32)
        changed = channels - self.kept
        x = inputs = keras.Input((*input_shape[1:-1], self.kept))
        x = layers.Conv2D(self.filters, 3, padding="same", activation="relu")(x)
        x = layers.Conv2D(self.filters, 1, activation="relu")(x)
        x = layers.Conv2D(2 * changed, 3, padding="same", kernel_initializer="zeros")(x)
        self.network = keras.Model(inputs, x)
        super().build(input_shape)

    def _parts(self, x):
        """Return the part that stays, the part that changes, and what the first says about the second."""
        kept, changed = x[..., : self.kept], x[..., self.kept :]
        scale, shift = ops.split(self.network(kept), 2, axis=-1)
        return kept, changed, self.reach * ops.tanh(scale / self.reach), shift

    def call(self, x):
        """Turn, then scale and shift."""
        kept, changed, scale, shift = self._parts(ops.matmul(x, self.rotation))
        return ops.concatenate([kept, changed * ops.exp(scale) + shift], axis=-1), ops.sum(scale, axis=(1, 2, 3))

    def invert(self, y):
        """Shift and scale back, then turn back."""
        kept, changed, scale, shift = self._parts(y)
        return ops.matmul(ops.concatenate([kept, (changed - shift) * ops.exp(-scale)], axis=-1), self.rotation.T)

    def get_config(self):
        """Return what builds the same layer."""
        return {**super().get_config(), "filters": self.filters, "reach": self.reach, "seed": self.seed}


@keras.saving.register_keras_serializable(package="imggen_lib")
class Standardise(Invertible):
    """Give each number of a picture its own shift and scale, both learned.

    Examples
    --------
    >>> y, log_det = Standardise()(ops.ones((2, 4, 4, 1)))
    >>> bool(ops.all(y == 1)), float(log_det[0])
    (True, 0.0)
    """

    def build(self, input_shape):
        """Make the weights: a shift of 0 and a scale of 1."""
        self.shift = self.add_weight(shape=input_shape[1:], initializer="zeros", name="shift")
        self.log_scale = self.add_weight(shape=input_shape[1:], initializer="zeros", name="log_scale")
        super().build(input_shape)

    def call(self, x):
        """Shift, then scale."""
        return (x - self.shift) * ops.exp(self.log_scale), ops.sum(self.log_scale) + ops.zeros_like(x[:, 0, 0, 0])

    def invert(self, y):
        """Scale back, then shift back."""
        return y * ops.exp(-self.log_scale) + self.shift

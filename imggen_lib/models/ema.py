"""Exponential moving average of a network's weights."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from imggen_lib import _validation as validate

__all__ = ["MovingAverage"]


class MovingAverage(keras.layers.Layer):
    r"""A copy of a network whose weights are the exponential moving average (EMA) of the network's weights.

    .. math:: \bar\theta_t = m_t\, \bar\theta_{t-1} + (1 - m_t)\, \theta_t, \qquad
              m_t = \min\left(m, \frac{1 + t}{10 + t}\right)

    The momentum grows over the first steps, so the random initial weights have little influence. Keras's own EMA (the
    optimizer's ``use_ema``) averages every weight of the model with a constant momentum and replaces the trained weights
    by the average at the end of ``fit``. Here only one network is averaged, and training continues from its own weights.

    Parameters
    ----------
    network : keras.Model
        The network to average. The copy starts with its present weights.
    momentum : float
        The largest m, in [0, 1].

    References
    ----------
    Yazıcı et al., "The unusual effectiveness of averaging in GAN training", ICLR 2019.

    Examples
    --------
    After the first update the momentum is 1/10, so the average moves nine tenths of the way:

    >>> import numpy as np
    >>> network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    >>> average = MovingAverage(network, 0.5)
    >>> network.set_weights([np.ones((1, 1)), np.ones(1)])
    >>> average.update(network)
    >>> round(float(average.network.get_weights()[0][0, 0]), 3)
    0.9
    """

    def __init__(self, network: keras.Model, momentum: float = 0.999, **kwargs: Any) -> None:
        super().__init__(trainable=False, **kwargs)
        self.momentum: float = validate.real(momentum, "momentum", minimum=0, maximum=1)
        self.network: Any = keras.models.clone_model(network)
        self.network.set_weights(network.get_weights())
        # The optimizer reads the flag of each variable, not that of its layer.
        self.network.trainable = False
        self.updates: Any = self.add_weight(shape=(), initializer="zeros", dtype="int32", trainable=False, name="updates")
        self.built = True

    def update(self, network: keras.Model) -> None:
        """Move the average one step towards the present weights of ``network``. Call it once per training step."""
        updates = ops.cast(self.updates, "float32")
        momentum = ops.minimum(self.momentum, (1 + updates) / (10 + updates))
        self.updates.assign_add(1)
        for mean, weight in zip(self.network.weights, network.weights, strict=True):
            if weight.dtype == mean.dtype and weight.dtype.startswith("float"):
                mean.assign(momentum * mean + (1 - momentum) * weight)

    def call(self, inputs: Any) -> Any:
        """Apply the averaged network for inference: no dropout, batch normalisation with its stored statistics."""
        return self.network(inputs, training=False)

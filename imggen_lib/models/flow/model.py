r"""Normalizing flows: an invertible network turns pictures into normally distributed numbers, and back.

If f is invertible and its output is to have the density p_z, then pictures have (change of variables)

.. math:: \log p(x) = \log p_z(f(x)) + \log\left|\det \frac{\partial f}{\partial x}\right|.

Each layer below is easy to invert, and its determinant is easy to compute; the whole is still far from linear.
"""

import math

import keras
import numpy as np
from keras import ops

from imggen_lib import _validation as validate
from imggen_lib.models.base import GenerativeModel, MovingAverage
from imggen_lib.models.blocks import predict
from imggen_lib.models.flow.layers import Coupling, Invertible, Squeeze, Standardise

#: Pictures are squeezed into [EDGE, 1 - EDGE] before the logit, which is infinite at 0 and 1.
EDGE = 0.05
LEVELS = 256


def flow_network(image_shape, *, filters=(48, 96), couplings=6, name="flow"):
    """Build the network of a flow: standardise, squeeze and couple several times, squeeze and couple again, standardise.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, channels)``; height and width must be divisible by 2 as often as there are ``filters``.
    filters : sequence of int
        Width of the couplings' networks after each squeezing.
    couplings : int
        How many after each squeezing.

    Returns
    -------
    keras.Model
        From numbers of the shape of pictures to as many numbers, in another shape, and the log-determinant ``(n,)``.

    Raises
    ------
    ValueError
        If the size cannot be halved that often.

    Examples
    --------
    >>> network = flow_network((8, 8, 1), filters=(8,), couplings=2)
    >>> [output.shape for output in network.outputs]
    [(None, 4, 4, 4), (None,)]
    """
    image_shape = validate.image_shape(image_shape, halvings=len(filters))
    validate.integer(couplings, "couplings")
    chain = [Standardise()]
    for level, count in enumerate(filters):
        chain += [Squeeze(), *(Coupling(count, seed=100 * level + number) for number in range(couplings))]
    x = inputs = keras.Input(image_shape)
    total = 0.0
    for layer in [*chain, Standardise()]:
        x, log_det = layer(x)
        total = total + log_det
    return keras.Model(inputs, [x, total], name=name)


@keras.saving.register_keras_serializable(package="imggen_lib")
class Flow(GenerativeModel):
    r"""A normalizing flow over 8-bit pictures, trained by its exact likelihood.

    A picture of 256 levels has no density, so each level is spread over its interval (uniform dequantisation):
    :math:`y = (255\,x + u) / 256` with u uniform in [0, 1). The logit :math:`\log \frac{a}{1 - a}` of
    :math:`a = 0.05 + 0.9\,y` goes into the network, and what comes out is to be standard normal.

    Parameters
    ----------
    network : keras.Model
        Of invertible layers in a row, as :func:`flow_network` makes it.
    averaging : float
        Momentum of the moving average of the weights, by which pictures are drawn and judged.
    seed : int
        Of the dequantisation in training.

    Raises
    ------
    ValueError
        If the network has no invertible layers.

    References
    ----------
    Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", ICLR 2017. Theis, van den Oord and Bethge, "A note
    on the evaluation of generative models", ICLR 2016, on dequantisation.

    Examples
    --------
    >>> model = Flow(flow_network((8, 8, 1), filters=(8,), couplings=2))
    >>> model.compile(optimizer="adam")
    >>> history = model.fit(keras.random.uniform((32, 8, 8, 1), seed=0), verbose=0)
    >>> model.sample(3, seed=0).shape
    (3, 8, 8, 1)
    """

    def __init__(self, network, *, ema_momentum=0.999, seed=0, **kwargs):
        super().__init__(**kwargs)
        if not _chain(network) or len(network.outputs) != 2:
            raise ValueError(f"the network {network.name} is no row of invertible layers; build it with flow_network")
        self.network = network
        self.average = MovingAverage(network, ema_momentum)
        self.ema_momentum = averaging
        self.seed = validate.integer(seed, "seed", minimum=0)
        self.noise = keras.random.SeedGenerator(seed)
        self.built = True

    @property
    def image_shape(self):
        """Height, width and channels of the pictures."""
        return self.network.input_shape[1:]

    def call(self, images, training=False):
        """Return what the network makes of dequantised pictures, and the log-determinant of the whole way there."""
        levels = ops.round((LEVELS - 1) * images)
        spread = (levels + keras.random.uniform(ops.shape(images), seed=self.noise)) / LEVELS
        a = EDGE + (1 - 2 * EDGE) * spread
        z, log_det = self.network(ops.log(a) - ops.log1p(-a), training=training)
        slopes = math.log(1 - 2 * EDGE) - ops.log(a) - ops.log1p(-a)
        return z, log_det + ops.sum(slopes, axis=(1, 2, 3))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Return the mean negative log-density, in nats for each value of a picture."""
        z, log_det = y_pred
        if training:
            self.average.update(self.network)
        return -ops.mean(_normal_log_density(z) + log_det) / math.prod(self.image_shape)

    def log_prob(self, images, *, seed):
        """Return the exact log-density of each dequantised picture, in nats.

        Parameters
        ----------
        images : array_like
            ``(n, height, width, channels)`` in [0, 1]; what is between the levels of 8 bits is rounded to the nearest.
        seed : int
            Of the dequantisation.

        Returns
        -------
        numpy.ndarray
            ``(n,)``; :func:`imggen_lib.metrics.bits_per_dimension` turns it into an upper bound on the code length.

        Raises
        ------
        ValueError
            If the pictures have another shape.
        """
        images = validate.images(images, self.image_shape)
        rng = np.random.default_rng(validate.integer(seed, "seed", minimum=0))
        y = (np.round((LEVELS - 1) * images) + rng.uniform(size=images.shape)) / LEVELS
        a = EDGE + (1 - 2 * EDGE) * y
        log_a, log_rest = np.log(a), np.log1p(-a)
        z, log_det = predict(self.average.network, (log_a - log_rest).astype(np.float32))
        slopes = np.log(1 - 2 * EDGE) - log_a - log_rest
        return ops.convert_to_numpy(_normal_log_density(z)) + log_det + slopes.sum(axis=(1, 2, 3))

    def generate(self, latent):
        """Turn numbers of the shape of the network's output into pictures: the whole way back.

        Returns
        -------
        numpy.ndarray
            float32 ``(n, height, width, channels)``, of the 256 levels in [0, 1].

        Raises
        ------
        ValueError
            If they have another shape.
        """
        latent, shape = validate.real_array(latent, "latent", ndim=4), self.network.outputs[0].shape[1:]
        if latent.shape[1:] != shape:
            raise ValueError(f"latent has the shape {latent.shape}; expected (n, {', '.join(map(str, shape))})")
        pictures = []
        for first in range(0, len(latent), 256):
            x = ops.convert_to_tensor(latent[first : first + 256], "float32")
            for layer in reversed(_chain(self.average.network)):
                x = layer.invert(x)
            y = (ops.convert_to_numpy(ops.sigmoid(x)) - EDGE) / (1 - 2 * EDGE)
            pictures.append(np.clip(np.floor(LEVELS * y), 0, LEVELS - 1) / (LEVELS - 1))
        return np.concatenate(pictures).astype(np.float32)

    def _draw(self, n, rng, labels):
        self._refuse(labels)
        return self.generate(rng.standard_normal((n, *self.network.outputs[0].shape[1:])))

    def get_config(self):
        """Return what :meth:`from_config` needs to build the same model."""
        network = keras.saving.serialize_keras_object(self.network)
        return {**super().get_config(), "network": network, "ema_momentum": self.ema_momentum, "seed": self.seed}

    @classmethod
    def from_config(cls, config):
        """Build the model that :meth:`get_config` described, with fresh weights."""
        config["network"] = keras.saving.deserialize_keras_object(config["network"])
        return cls(**config)


def _chain(network):
    """The invertible layers of a network, in the order in which they are applied."""
    return [layer for layer in network.layers if isinstance(layer, Invertible)]


def _normal_log_density(z):
    """Log-density of each row of z under the standard normal distribution."""
    return -0.5 * ops.sum(ops.square(z) + math.log(2 * math.pi), axis=(1, 2, 3))

r"""Normalizing flows: an invertible network maps images to a standard normal distribution.

If f is invertible and f(x) has the density :math:`p_z`, then x has the density (change of variables)

.. math:: \log p(x) = \log p_z(f(x)) + \log\left|\det \frac{\partial f}{\partial x}\right|.

Each layer is easy to invert and has a determinant that is easy to compute; their composition is far from linear.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate
from imggen_lib.models.base import GenerativeModel, check_network, serialize
from imggen_lib.models.blocks import predict
from imggen_lib.models.ema import MovingAverage
from imggen_lib.models.flow.dequantization import images_to_logits, logits_to_images
from imggen_lib.models.flow.layers import Coupling, Squeeze, Standardise, invert_network, invertible_layers

__all__ = ["Flow", "flow_network"]


def flow_network(
    image_shape: Sequence[int],
    *,
    filters: Sequence[int] = (48, 96),
    couplings: int = 6,
    num_classes: int | None = None,
    name: str = "flow",
) -> keras.Model:
    """Build a chain of invertible layers: standardise; squeeze and couple, once for each entry of ``filters``; standardise.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, channels)``; height and width must be divisible by ``2 ** len(filters)``.
    filters : sequence of int
        Hidden channels of the couplings after each squeezing.
    couplings : int
        Number of couplings after each squeezing.
    num_classes : int, optional
        Size of the condition, for a conditional flow: every coupling depends on it.

    Returns
    -------
    keras.Model
        From ``(n, height, width, channels)``, and ``(n, num_classes)`` if the flow is conditional, to as many values in
        another shape and the log-determinant ``(n,)``.

    Raises
    ------
    ValueError
        If height or width is not divisible as often as needed.

    Examples
    --------
    An invertible network keeps the number of values: 8x8x1 becomes 4x4x4.

    >>> network = flow_network((8, 8, 1), filters=(8,), couplings=2)
    >>> [output.shape for output in network.outputs]
    [(None, 4, 4, 4), (None,)]
    """
    image = keras.Input(validate.image_shape(image_shape, halvings=len(filters)), name="image")
    condition = keras.Input((num_classes,), name="condition") if validate.condition_size(num_classes) else None
    chain = [Standardise(name="standardise_image")]
    for level, count in enumerate(filters):
        chain.append(Squeeze(name=f"squeeze_{level}"))
        for index in range(validate.integer(couplings, "couplings")):
            chain.append(Coupling(count, seed=100 * level + index, name=f"coupling_{level}_{index}"))
    x, total = image, 0.0
    for layer in [*chain, Standardise(name="standardise_latent")]:
        x, log_det = layer(x, condition)
        total = total + log_det
    return keras.Model(image if condition is None else [image, condition], [x, total], name=name)


@keras.saving.register_keras_serializable(package="imggen_lib")
class Flow(GenerativeModel):
    """A normalizing flow over 8-bit images, trained by exact likelihood, with or without classes.

    Images are dequantised and mapped to logits
    (:func:`imggen_lib.models.flow.dequantization.images_to_logits`). The network maps logits to a latent array that is
    trained to be standard normal.

    Parameters
    ----------
    network : keras.Model
        A chain of invertible layers; see :func:`flow_network`.
    num_classes : int, optional
        Size of the condition of a conditional flow, trained by ``fit(images, labels)``; the network must be built with the
        same value.
    ema_momentum : float
        Momentum of the moving average of the weights, in [0, 1]. Sampling and ``log_prob`` use the average.
    seed : int
        Of the dequantisation in training.

    Raises
    ------
    ValueError
        If the network is not a chain of invertible layers, or does not fit ``num_classes``.

    References
    ----------
    Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", ICLR 2017.

    Examples
    --------
    >>> model = Flow(flow_network((8, 8, 1), filters=(8,), couplings=2))
    >>> model.compile(optimizer="adam")
    >>> history = model.fit(keras.random.uniform((32, 8, 8, 1), seed=0), verbose=0)
    >>> model.sample(3, seed=0).shape
    (3, 8, 8, 1)
    """

    def __init__(
        self,
        network: keras.Model,
        *,
        num_classes: int | None = None,
        ema_momentum: float = 0.999,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes=num_classes, **kwargs)
        condition = [] if num_classes is None else [(num_classes,)]
        check_network(
            network,
            lambda inputs, outputs: bool(invertible_layers(network)) and inputs[1:] == condition and outputs[1:] == [()],
            f"a chain of invertible layers, conditional if num_classes is given: use flow_network with "
            f"num_classes={num_classes}",
        )
        self.network = network
        self.average: MovingAverage = MovingAverage(network, ema_momentum)
        self.ema_momentum = ema_momentum
        self.seed = validate.integer(seed, "seed", minimum=0)
        self.noise = keras.random.SeedGenerator(seed)
        self.built = True

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images."""
        return tuple(self.network.inputs[0].shape[1:])

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Shape of the latent array of an image."""
        return tuple(self.network.outputs[0].shape[1:])

    @property
    def ema_source(self) -> keras.Model:
        """The network: samples and densities come from the average of its weights."""
        return self.network

    def generative_loss(self, images: Any, condition: Any, *, training: bool) -> Any:
        """Return the mean negative log-density, in nats per value of an image."""
        uniform = keras.random.uniform(ops.shape(images), seed=self.noise)
        logits, log_det = images_to_logits(images, uniform)
        latent, network_log_det = self.network(logits if condition is None else [logits, condition], training=training)
        log_density = _normal_log_density(latent) + network_log_det + log_det
        return -ops.mean(log_density) / math.prod(self.image_shape)

    def log_prob(self, images: ArrayLike, *, seed: int, labels: ArrayLike | None = None) -> NDArray[np.floating]:
        """Return the exact log-density of each dequantised image, in nats.

        Parameters
        ----------
        images : array_like
            ``(n, height, width, channels)`` in [0, 1]. Values between two of the 256 levels are rounded.
        seed : int
            Of the dequantisation.
        labels : array_like, optional
            As in :meth:`sample`; required if the flow is conditional.

        Returns
        -------
        numpy.ndarray
            ``(n,)``; :func:`imggen_lib.metrics.bits_per_dimension` converts it to an upper bound on the code length.

        Raises
        ------
        ValueError
            If the images have another shape, or the labels do not fit.
        """
        images = validate.images(images, self.image_shape)
        condition = self.required_rows(labels, len(images))
        rng = np.random.default_rng(validate.integer(seed, "seed", minimum=0))
        values, log_det = (ops.convert_to_numpy(part) for part in images_to_logits(images, rng.uniform(size=images.shape)))
        logits = values.astype(np.float32)
        latent, network_log_det = predict(self.average.network, logits if condition is None else [logits, condition])
        return ops.convert_to_numpy(_normal_log_density(latent)) + network_log_det + log_det

    def generate(self, latent: ArrayLike, *, labels: ArrayLike | None = None) -> NDArray[np.float32]:
        """Map latent arrays to images with the inverse of the averaged network.

        Parameters
        ----------
        latent : array_like
            ``(n, *latent_shape)``.
        labels : array_like, optional
            As in :meth:`sample`; required if the flow is conditional.

        Returns
        -------
        numpy.ndarray
            float32 ``(n, height, width, channels)``, on the 256 levels in [0, 1].

        Raises
        ------
        ValueError
            If ``latent`` has another shape, or the labels do not fit.
        """
        latent = validate.real_array(latent, "latent", ndim=4)
        if latent.shape[1:] != self.latent_shape:
            raise ValueError(f"latent has the shape {latent.shape}; expected (n, {', '.join(map(str, self.latent_shape))})")
        condition = self.required_rows(labels, len(latent))
        images = []
        for first in range(0, len(latent), 256):
            rows = slice(first, first + 256)
            logits = invert_network(
                self.average.network,
                ops.convert_to_tensor(latent[rows], "float32"),
                None if condition is None else ops.convert_to_tensor(condition[rows]),
            )
            images.append(ops.convert_to_numpy(logits_to_images(logits)))
        return np.concatenate(images)

    def _sample(self, n: int, rng: np.random.Generator, condition: NDArray[np.float32] | None) -> NDArray[np.float32]:
        return self.generate(rng.standard_normal((n, *self.latent_shape)), labels=condition)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that :meth:`from_config` builds the same model from."""
        network = serialize(self.network)
        return {**super().get_config(), "network": network, "ema_momentum": self.ema_momentum, "seed": self.seed}


def _normal_log_density(z: Any) -> Any:
    """Return the log-density of each row of z under the standard normal distribution, ``(n,)``."""
    return -0.5 * ops.sum(ops.square(z) + math.log(2 * math.pi), axis=(1, 2, 3))

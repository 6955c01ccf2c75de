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
from imggen_lib.models.blocks import network_inputs, predict
from imggen_lib.models.ema import MovingAverage
from imggen_lib.models.flow.dequantization import images_to_logits, logits_to_images
from imggen_lib.models.flow.layers import Augment, Coupling, Squeeze, Standardise, invert_network, invertible_layers

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

    If height or width is not divisible by ``2 ** len(filters)``, the chain begins by appending a border of noise
    (:class:`imggen_lib.models.flow.layers.Augment`). All layers compute in single precision, whatever Keras's dtype policy
    is, because the inverse and the density need it.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, channels)``, any size.
    filters : sequence of int
        Hidden channels of the couplings after each squeezing.
    couplings : int
        Number of couplings after each squeezing.
    num_classes : int, optional
        Size of the condition, for a conditional flow: every coupling depends on it.

    Returns
    -------
    keras.Model
        From ``(n, height, width, channels)``, ``(n, num_classes)`` if the flow is conditional, and standard normal values
        of the rounded size if there is a border; to the image's and the border's values in another shape, and the
        log-determinant ``(n,)``.

    Raises
    ------
    ValueError
        If ``image_shape`` is not the shape of an image, or a number is not positive.

    Examples
    --------
    An invertible network keeps the number of values: 8x8x1 becomes 4x4x4.

    >>> network = flow_network((8, 8, 1), filters=(8,), couplings=2)
    >>> [output.shape for output in network.outputs]
    [(None, 4, 4, 4), (None,)]
    """
    height, width, channels = validate.image_shape(image_shape)
    image, condition, border = keras.Input((height, width, channels), name="image", dtype="float32"), None, None
    if validate.condition_size(num_classes):
        condition = keras.Input((num_classes,), name="condition", dtype="float32")
    chain = [Standardise(name="standardise_image", dtype="float32")]
    for level, count in enumerate(filters):
        chain.append(Squeeze(name=f"squeeze_{level}", dtype="float32"))
        for index in range(validate.integer(couplings, "couplings")):
            name_of_layer = f"coupling_{level}_{index}"
            chain.append(Coupling(count, seed=100 * level + index, name=name_of_layer, dtype="float32"))
    chain.append(Standardise(name="standardise_latent", dtype="float32"))
    x, total = image, 0.0
    rows, columns = (-size % 2 ** len(filters) for size in (height, width))
    if rows or columns:
        border = keras.Input((height + rows, width + columns, channels), name="border", dtype="float32")
        x, total = Augment(rows, columns, name="augment", dtype="float32")(x, border=border)
    for layer in chain:
        x, log_det = layer(x, condition)
        total = total + log_det
    return keras.Model(network_inputs(image, condition, border), [x, total], name=name)


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
        Of the dequantisation and the border in training.

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
        chain = invertible_layers(network)
        augmented = bool(chain) and isinstance(chain[0], Augment)
        # Shape of the border's noise, the last input of the network; None if the image needs no border.
        self.border_shape = tuple(network.inputs[-1].shape[1:]) if augmented else None
        others = [(num_classes,)] * (num_classes is not None) + [self.border_shape] * augmented
        check_network(
            network,
            lambda inputs, outputs: bool(chain) and inputs[1:] == others and outputs[1:] == [()],
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
        """Shape of the latent array of an image, with its border if the image needs one."""
        return tuple(self.network.outputs[0].shape[1:])

    @property
    def ema_source(self) -> keras.Model:
        """The network: samples and densities come from the average of its weights."""
        return self.network

    def generative_loss(self, images: Any, condition: Any, *, training: bool) -> Any:
        """Return the mean negative log-density, in nats per value of an image."""
        uniform = keras.random.uniform(ops.shape(images), dtype="float32", seed=self.noise)
        logits, log_det = images_to_logits(images, uniform)
        border = None
        if self.border_shape is not None:
            border = keras.random.normal((ops.shape(images)[0], *self.border_shape), dtype="float32", seed=self.noise)
        latent, network_log_det = self.network(network_inputs(logits, condition, border), training=training)
        log_density = _normal_log_density(latent) + network_log_det + log_det
        return -ops.mean(log_density) / math.prod(self.image_shape)

    def log_prob(self, images: ArrayLike, *, seed: int, labels: ArrayLike | None = None) -> NDArray[np.floating]:
        """Return the exact log-density of each dequantised image, in nats.

        If the image needs a border (its size cannot be halved as often as the network squeezes), it is an estimate with one
        random border, whose mean is a lower bound; see :class:`imggen_lib.models.flow.layers.Augment`.

        Parameters
        ----------
        images : array_like
            ``(n, height, width, channels)`` in [0, 1]. Values between two of the 256 levels are rounded.
        seed : int
            Of the dequantisation, and of the border.
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
        border = None
        if self.border_shape is not None:
            border = rng.standard_normal((len(images), *self.border_shape)).astype(np.float32)
        latent, network_log_det = predict(self.average.network, network_inputs(logits, condition, border))
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

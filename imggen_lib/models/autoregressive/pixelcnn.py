r"""Autoregressive models: the probability of an image as a product over its pixels in reading order.

.. math:: p(x) = \prod_i p(x_i \mid x_1, \ldots, x_{i-1})

The network computes all factors of a given image at once, because no output depends on later pixels. Sampling has to go
pixel by pixel; :mod:`imggen_lib.models.autoregressive.cache` computes each pixel once.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate
from imggen_lib.models.autoregressive.cache import CachedNetwork
from imggen_lib.models.autoregressive.causal import network_parts
from imggen_lib.models.autoregressive.logistic_mixture import (
    LEVELS,
    levels_to_values,
    parameters_per_component,
    pixel_log_probability,
    sample_pixel,
)
from imggen_lib.models.base import GenerativeModel, check_network, serialize
from imggen_lib.models.blocks import predict
from imggen_lib.models.ema import MovingAverage

__all__ = ["PixelCNN"]


@keras.saving.register_keras_serializable(package="imggen_lib")
class PixelCNN(GenerativeModel):
    """An autoregressive model of 8-bit images, with or without classes, trained by exact likelihood.

    Parameters
    ----------
    network : keras.Model
        See :func:`imggen_lib.models.autoregressive.causal.pixel_network`.
    num_classes : int, optional
        Size of the condition of a conditional PixelCNN, trained by ``fit(images, labels)``; the network must be built with
        the same value.
    ema_momentum : float
        Momentum of the moving average of the weights, in [0, 1]. Sampling and ``log_prob`` use the average.

    Raises
    ------
    ValueError
        If the network was not built by that function, or does not fit ``num_classes``.

    References
    ----------
    Van den Oord et al., "Conditional image generation with PixelCNN decoders", NeurIPS 2016. Salimans et al., "PixelCNN++",
    ICLR 2017.

    Examples
    --------
    A probability of 8-bit images is at most 1, so minus its logarithm is a code length:

    >>> from imggen_lib import models
    >>> model = PixelCNN(models.pixel_network((8, 8, 3), filters=8, blocks=2))
    >>> model.compile(optimizer="adam")
    >>> images = keras.random.uniform((32, 8, 8, 3), seed=0)
    >>> history = model.fit(images, verbose=0)
    >>> bool((model.log_prob(images) < 0).all()), model.sample(3, seed=0).shape
    (True, (3, 8, 8, 3))
    """

    def __init__(
        self, network: keras.Model, *, num_classes: int | None = None, ema_momentum: float = 0.999, **kwargs: Any
    ) -> None:
        super().__init__(num_classes=num_classes, **kwargs)
        condition = [] if num_classes is None else [(num_classes,)]

        def takes(inputs: list[tuple[int, ...]], outputs: list[tuple[int, ...]]) -> bool:
            image, output = inputs[0], outputs[0]
            return (
                inputs[1:] == condition
                and len(image) == len(output) == 3
                and image[:2] == output[:2]
                and output[2] % parameters_per_component(image[2]) == 0
            )

        check_network(
            network,
            takes,
            "images, and the condition if num_classes is given, to the parameters of each pixel's distribution: use "
            f"pixel_network with num_classes={num_classes}",
        )
        network_parts(network)
        self.network = network
        self.average: MovingAverage = MovingAverage(network, ema_momentum)
        self.ema_momentum = ema_momentum
        self.built = True

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images."""
        return tuple(self.network.inputs[0].shape[1:])

    @property
    def ema_source(self) -> keras.Model:
        """The network: samples and probabilities come from the average of its weights."""
        return self.network

    def generative_loss(self, images: Any, condition: Any, *, training: bool) -> Any:
        """Return the mean negative log-probability, in nats per value of an image. Images are rounded to 256 levels."""
        values = levels_to_values(ops.round((LEVELS - 1) * images))
        distribution = self.network(values if condition is None else [values, condition], training=training)
        return -ops.mean(pixel_log_probability(values, distribution)) / self.image_shape[-1]

    def log_prob(self, images: ArrayLike, *, labels: ArrayLike | None = None) -> NDArray[np.float32]:
        """Return the exact log-probability of each 8-bit image, in nats.

        Parameters
        ----------
        images : array_like
            ``(n, height, width, channels)`` in [0, 1]. Values between two of the 256 levels are rounded.
        labels : array_like, optional
            As in :meth:`sample`; required if the model is conditional.

        Returns
        -------
        numpy.ndarray
            ``(n,)``, at most 0: probabilities, not densities. Nothing is dequantised.

        Raises
        ------
        ValueError
            If the images have another shape, or the labels do not fit.
        """
        images = validate.images(images, self.image_shape)
        condition = self.required_rows(labels, len(images))
        values = levels_to_values(np.round((LEVELS - 1) * images).astype(np.float32))
        parts = []
        # In batches, because the parameters of the distributions are many times larger than the images.
        for rows in _batches(len(values)):
            some = values[rows]
            distribution = predict(self.average.network, some if condition is None else [some, condition[rows]])
            log_p = pixel_log_probability(ops.convert_to_tensor(some), ops.convert_to_tensor(distribution))
            parts.append(ops.convert_to_numpy(ops.sum(log_p, axis=(1, 2))))
        return np.concatenate(parts)

    def complete(self, images: ArrayLike, rows: int, *, seed: int, labels: ArrayLike | None = None) -> NDArray[np.float32]:
        """Keep the first rows of images, rounded to 256 levels, and sample the others.

        Parameters
        ----------
        images : array_like
            ``(n, height, width, channels)`` in [0, 1].
        rows : int
            Number of rows that are kept, from 0 to the height.
        seed : int
        labels : array_like, optional
            As in :meth:`sample`; required if the model is conditional.

        Returns
        -------
        numpy.ndarray
            float32, of the shape of ``images``.

        Raises
        ------
        ValueError
            If the images have another shape, if ``rows`` is out of range, or if the labels do not fit.
        """
        images = validate.images(images, self.image_shape)
        if validate.integer(rows, "rows", minimum=0) > self.image_shape[0]:
            raise ValueError(f"rows is {rows}; expected at most the height of the images, {self.image_shape[0]}")
        rng = np.random.default_rng(validate.integer(seed, "seed", minimum=0))
        return self._sample_rows(images, rows, rng, self.required_rows(labels, len(images)))

    def _sample(self, n: int, rng: np.random.Generator, condition: NDArray[np.float32] | None) -> NDArray[np.float32]:
        return self._sample_rows(np.zeros((n, *self.image_shape), np.float32), 0, rng, condition)

    def _sample_rows(
        self,
        images: NDArray[np.floating],
        rows: int,
        rng: np.random.Generator,
        condition: NDArray[np.float32] | None,
    ) -> NDArray[np.float32]:
        """Sample all pixels from a row on. In batches, because the caches hold the features of whole images."""
        gumbel, logistic = self._random_numbers(len(images), rows, rng)
        parts = []
        for some in _batches(len(images)):
            labels = None if condition is None else condition[some]
            parts.append(self._sample_batch(images[some], rows, gumbel[:, :, some], logistic[:, :, some], labels))
        return np.concatenate(parts)

    def _random_numbers(
        self, n: int, rows: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Return the random numbers of :func:`sample_pixel` for n images from a row on.

        The arrays are ``(rows, columns, n, mixtures)`` and ``(rows, columns, n, channels)``.
        """
        height, width, channels = self.image_shape
        mixtures = self.network.output_shape[-1] // parameters_per_component(channels)
        gumbel = np.empty((height - rows, width, n, mixtures), np.float32)
        logistic = np.empty((height - rows, width, n, channels))
        for row, column in np.ndindex(height - rows, width):
            gumbel[row, column] = rng.gumbel(size=(n, mixtures))
            logistic[row, column] = rng.logistic(size=(n, channels))
        return gumbel, logistic

    def _sample_batch(
        self,
        images: NDArray[np.floating],
        rows: int,
        gumbel: NDArray[np.float32],
        logistic: NDArray[np.float64],
        condition: NDArray[np.float32] | None,
    ) -> NDArray[np.float32]:
        network = CachedNetwork(self.average.network, len(images), condition)
        values = levels_to_values(np.round((LEVELS - 1) * images)).astype(np.float32)
        for row, column in np.ndindex(*self.image_shape[:2]):
            distribution = network.distribution(row, column)
            if row >= rows:
                values[:, row, column] = sample_pixel(
                    distribution, gumbel[row - rows, column], logistic[row - rows, column]
                )
            network.store(row, column, values[:, row, column])
        return (values + 1) / 2

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that :meth:`from_config` builds the same model from."""
        return {**super().get_config(), "network": serialize(self.network), "ema_momentum": self.ema_momentum}


def _batches(n: int, size: int = 256) -> list[slice]:
    """Return slices that divide n rows into batches."""
    return [slice(first, first + size) for first in range(0, n, size)]

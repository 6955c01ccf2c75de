r"""Autoregressive models: the probability of an image as a product over its pixels in reading order.

.. math:: p(x) = \prod_i p(x_i \mid x_1, \ldots, x_{i-1})

The network computes all factors of a given image at once, because no output depends on later pixels. Sampling has to go
pixel by pixel; :mod:`imggen_lib.models.autoregressive.cache` computes each pixel once.

The time of a sample grows with the number of pixels, and so does the distance over which pixels must be related. Large
images are therefore modelled at a reduced size: averaged over square blocks, and samples are interpolated.
"""

from __future__ import annotations

from collections.abc import Sequence
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

__all__ = ["PixelCNN", "reduced_shape"]


def reduced_shape(image_shape: Sequence[int], max_size: int = 32) -> tuple[int, int, int]:
    """Return the shape of images averaged over the smallest square blocks that leave at most ``max_size`` pixels a side.

    Parameters
    ----------
    image_shape : tuple of int
        ``(height, width, channels)``.
    max_size : int
        The largest height and width of the result.

    Returns
    -------
    tuple of int
        The shape for :func:`imggen_lib.models.autoregressive.causal.pixel_network`. Blocks at the border of an image may be
        incomplete.

    Raises
    ------
    ValueError
        If ``image_shape`` is not the shape of an image, or ``max_size`` is not positive.

    Examples
    --------
    Small images keep their shape; of 64x45 pixels, blocks of 2x2 are averaged:

    >>> reduced_shape((28, 28, 1)), reduced_shape((64, 45, 3))
    ((28, 28, 1), (32, 23, 3))
    """
    height, width, channels = validate.image_shape(image_shape)
    block = -(-max(height, width) // validate.integer(max_size, "max_size"))
    return -(-height // block), -(-width // block), channels


@keras.saving.register_keras_serializable(package="imggen_lib")
class PixelCNN(GenerativeModel):
    """An autoregressive model of 8-bit images, with or without classes, trained by exact likelihood.

    Parameters
    ----------
    network : keras.Model
        See :func:`imggen_lib.models.autoregressive.causal.pixel_network`.
    image_shape : tuple of int, optional
        Shape of the images, if they are larger than the network's: then the network models averages over blocks of pixels,
        for which :func:`reduced_shape` gives its shape. ``log_prob`` is that of the averaged images, and samples are
        interpolated bilinearly. :attr:`notes` says so.
    num_classes : int, optional
        Size of the condition of a conditional PixelCNN, trained by ``fit(images, labels)``; the network must be built with
        the same value.
    ema_momentum : float
        Momentum of the moving average of the weights, in [0, 1]. Sampling and ``log_prob`` use the average.

    Raises
    ------
    ValueError
        If the network was not built by that function, or does not fit ``image_shape`` or ``num_classes``.

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
        self,
        network: keras.Model,
        *,
        image_shape: Sequence[int] | None = None,
        num_classes: int | None = None,
        ema_momentum: float = 0.999,
        **kwargs: Any,
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
        size = network.inputs[0].shape[1:]
        self.size = tuple(size) if image_shape is None else validate.image_shape(image_shape)
        # Pixels on a side of the blocks that are averaged.
        self.block_size = max(-(-whole // part) for whole, part in zip(self.size[:2], size[:2], strict=True))
        if reduced_shape(self.size, -(-max(self.size[:2]) // self.block_size)) != size:
            raise ValueError(
                f"image_shape is {self.size} and the network models images of {size}; build it for the shape that "
                "reduced_shape(image_shape) gives"
            )
        self.network = network
        self.average: MovingAverage = MovingAverage(network, ema_momentum)
        self.ema_momentum = ema_momentum
        self.built = True

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images."""
        return self.size

    @property
    def notes(self) -> tuple[str, ...]:
        """That images are modelled at a reduced size, if they are."""
        if self.block_size == 1:
            return ()
        whole, reduced = ("x".join(map(str, shape[:2])) for shape in (self.size, self.network.inputs[0].shape[1:]))
        return (
            f"Images of {whole} pixels are averaged over blocks of {self.block_size}x{self.block_size}: the network models "
            f"{reduced} pixels, log_prob is that of the averaged images, and samples are interpolated to {whole}.",
        )

    def _reduce(self, images: Any) -> Any:
        """Average images over blocks. Blocks that extend beyond the image are averaged inside it."""
        if self.block_size == 1:
            return images
        size = self.block_size
        return ops.average_pool(images, size, strides=size, padding="same", data_format="channels_last")

    def _enlarge(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Interpolate reduced images to the whole size."""
        if self.block_size == 1:
            return images
        sizes = [self.block_size * size for size in images.shape[1:3]]
        enlarged = ops.image.resize(images, sizes, interpolation="bilinear", data_format="channels_last")
        # Centred, as padding in `average_pool`.
        (top, height), (left, width) = (
            ((size - whole) // 2, whole) for size, whole in zip(sizes, self.size[:2], strict=True)
        )
        return ops.convert_to_numpy(enlarged)[:, top : top + height, left : left + width]

    @property
    def ema_source(self) -> keras.Model:
        """The network: samples and probabilities come from the average of its weights."""
        return self.network

    def generative_loss(self, images: Any, condition: Any, *, training: bool) -> Any:
        """Return the mean negative log-probability, in nats per value of an image. Images are rounded to 256 levels."""
        values = levels_to_values(ops.round((LEVELS - 1) * self._reduce(images)))
        distribution = self.network(values if condition is None else [values, condition], training=training)
        return -ops.mean(pixel_log_probability(values, distribution)) / self.image_shape[-1]

    def log_prob(self, images: ArrayLike, *, labels: ArrayLike | None = None) -> NDArray[np.float32]:
        """Return the exact log-probability of each 8-bit image, in nats; of the averaged image if :attr:`notes` says so.

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
        reduced = ops.convert_to_numpy(self._reduce(validate.images(images, self.image_shape)))
        condition = self.required_rows(labels, len(reduced))
        values = levels_to_values(np.round((LEVELS - 1) * reduced).astype(np.float32))
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
        checked = validate.images(images, self.image_shape).astype(np.float32)
        height = self.image_shape[0]
        if validate.integer(rows, "rows", minimum=0) > height:
            raise ValueError(f"rows is {rows}; expected at most the height of the images, {height}")
        rng = np.random.default_rng(validate.integer(seed, "seed", minimum=0))
        reduced = ops.convert_to_numpy(self._reduce(checked))
        # Of the blocks, those that lie in the kept rows.
        above = (self.block_size * reduced.shape[1] - height) // 2
        known = reduced.shape[1] if rows == height else (rows + above) // self.block_size
        completed = self._enlarge(self._sample_rows(reduced, known, rng, self.required_rows(labels, len(checked))))
        return np.concatenate([np.round((LEVELS - 1) * checked[:, :rows]) / (LEVELS - 1), completed[:, rows:]], axis=1)

    def _sample(self, n: int, rng: np.random.Generator, condition: NDArray[np.float32] | None) -> NDArray[np.float32]:
        black = np.zeros((n, *self.network.inputs[0].shape[1:]), np.float32)
        return self._enlarge(self._sample_rows(black, 0, rng, condition))

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
            parts.append(self._sample_batch(images[some], rows, gumbel[some], logistic[some], labels))
        return np.concatenate(parts)

    def _random_numbers(
        self, n: int, rows: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Return the random numbers of :func:`sample_pixel` for n images from a row on.

        The arrays are ``(n, rows, columns, mixtures)`` and ``(n, rows, columns, channels)``. They are filled image by
        image, so a smaller n gives the first images of a larger n.
        """
        height, width, channels = self.network.inputs[0].shape[1:]
        mixtures = self.network.output_shape[-1] // parameters_per_component(channels)
        gumbel = np.empty((n, height - rows, width, mixtures), np.float32)
        logistic = np.empty((n, height - rows, width, channels))
        for index in range(n):
            gumbel[index] = rng.gumbel(size=gumbel.shape[1:])
            logistic[index] = rng.logistic(size=logistic.shape[1:])
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
        for row, column in np.ndindex(*values.shape[1:3]):
            distribution = network.distribution(row, column)
            if row >= rows:
                values[:, row, column] = sample_pixel(
                    distribution, gumbel[:, row - rows, column], logistic[:, row - rows, column]
                )
            network.store(row, column, values[:, row, column])
        return (values + 1) / 2

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that :meth:`from_config` builds the same model from."""
        options = {"image_shape": self.size, "ema_momentum": self.ema_momentum}
        return {**super().get_config(), "network": serialize(self.network), **options}


def _batches(n: int, size: int = 256) -> list[slice]:
    """Return slices that divide n rows into batches."""
    return [slice(first, first + size) for first in range(0, n, size)]

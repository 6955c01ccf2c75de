"""What a training will take: parameters, memory, seconds per step and per sample, measured on a copy of the model."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable

import keras
import numpy as np

from imggen_lib.datasets import Dataset
from imggen_lib.models import GenerativeModel

__all__ = ["Estimate", "estimate"]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What a training will take, roughly.

    Attributes
    ----------
    images : int
        Training images.
    parameters : int
        Trainable parameters.
    megabytes : float
        Memory of weights, gradients, optimizer, activations and images, in units of 2**20 bytes.
    seconds_per_step : float
    seconds_per_sample : float

    Examples
    --------
    >>> print(Estimate(1000, 250_000, 38.2, 0.05, 0.001))
    1,000 training images; 250,000 parameters; about 38 MB of memory, 0.05 s per step, 0.016 s for 16 samples
    """

    images: int
    parameters: int
    megabytes: float
    seconds_per_step: float
    seconds_per_sample: float

    def __str__(self) -> str:
        return (
            f"{self.images:,} training images; {self.parameters:,} parameters; about {self.megabytes:,.0f} MB of memory, "
            f"{self.seconds_per_step:.2g} s per step, {16 * self.seconds_per_sample:.2g} s for 16 samples"
        )


def estimate(model: GenerativeModel, dataset: Dataset, *, batch_size: int) -> Estimate:
    """Estimate what training a compiled model takes, by two steps of a copy.

    The copy runs without compilation, so small models are faster in training than estimated. The model is not changed.

    Parameters
    ----------
    model : GenerativeModel
        Compiled.
    dataset : imggen_lib.datasets.Dataset
    batch_size : int

    Returns
    -------
    Estimate

    Examples
    --------
    >>> from imggen_lib import datasets, recipes
    >>> digits = datasets.load("digits")
    >>> model = recipes.get("vae_2d").model(digits.image_shape, None, seed=0)
    >>> model.compile(optimizer="adam")
    >>> found = estimate(model, digits, batch_size=8)
    >>> found.images, found.parameters == sum(math.prod(weight.shape) for weight in model.trainable_weights)
    (1437, True)
    """
    copy = type(model).from_config(model.get_config())
    copy.compile(optimizer=keras.optimizers.deserialize(keras.optimizers.serialize(model.optimizer)), run_eagerly=True)
    rows = np.arange(min(batch_size, len(dataset.x_train)))
    images, labels = dataset.x_train[rows], dataset.y_train[rows]
    seconds = [_seconds(lambda: copy.fit(images, labels, batch_size=batch_size, verbose=0)) for _ in range(2)]
    sampling = [_seconds(lambda: copy.sample(4, seed=0)) for _ in range(2)]
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    # Weights, their gradients, and two moments of Adam; every output of a layer and its gradient.
    values = sum(math.prod(weight.shape) for weight in model.weights) + 3 * trainable
    values += 2 * len(rows) * sum(_outputs(network) for network in _networks(model))
    megabytes = (4 * values + getattr(dataset.x_train, "nbytes", 0)) / 2**20
    return Estimate(len(dataset.x_train), trainable, megabytes, seconds[1], sampling[1] / 4)


def _seconds(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def _networks(model: keras.Model) -> list[keras.Model]:
    return [part for part in vars(model).values() if isinstance(part, keras.Model)]


def _outputs(network: keras.Model) -> int:
    """Return how many values the layers of a network output for one image."""
    shapes = [tensor.shape[1:] for layer in network.layers for tensor in keras.tree.flatten(layer.output)]
    return sum(math.prod(size or 1 for size in shape) for shape in shapes)

"""Costs of a training: parameters, memory, seconds per step and per sample, and the duration of a recipe."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from imggen_lib import _validation as validate
from imggen_lib import backend, datasets
from imggen_lib.datasets import Dataset
from imggen_lib.models import GenerativeModel
from imggen_lib.recipes import Recipe
from imggen_lib.training import clock
from imggen_lib.training.loop import Batches

__all__ = ["Duration", "Estimate", "duration", "estimate", "readable_time"]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """The approximate costs of a training.

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
    """Estimate the costs of training a compiled model, from two steps of a copy.

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
    """Return the networks of layers in a model, and those in the models that it contains, such as an autoencoder."""
    if hasattr(model, "outputs"):  # functional or sequential
        return [model]
    return [network for part in vars(model).values() if isinstance(part, keras.Model) for network in _networks(part)]


def _outputs(network: keras.Model) -> int:
    """Return how many values the layers of a network output for one image."""
    shapes = [tensor.shape[1:] for layer in network.layers for tensor in keras.tree.flatten(layer.output)]
    return sum(math.prod(size or 1 for size in shape) for shape in shapes)


@dataclasses.dataclass(frozen=True)
class Duration:
    """The duration of a training of a recipe, estimated from some of its steps.

    Attributes
    ----------
    model : str
        The recipe.
    num_steps, measured_steps : int
        Steps of the training, and of the measurement after the first two.
    first_seconds : float
        Of the first two steps, in which the step is compiled.
    seconds_per_step : float
        Median of the measured steps.

    Examples
    --------
    >>> duration = Duration("vae", num_steps=2502, measured_steps=10, first_seconds=8.0, seconds_per_step=0.14)
    >>> print(duration, round(duration.seconds))
    vae: 2,502 steps of 0.14 s, about 6 min 358
    """

    model: str
    num_steps: int
    measured_steps: int
    first_seconds: float
    seconds_per_step: float

    @property
    def seconds(self) -> float:
        """Seconds of the whole training, without loading the data and without the evaluation."""
        return self.first_seconds + max(self.num_steps - 2, 0) * self.seconds_per_step

    def __str__(self) -> str:
        return (
            f"{self.model}: {self.num_steps:,} steps of {self.seconds_per_step:.2g} s, about {readable_time(self.seconds)}"
        )


def duration(
    recipe: Recipe, *, profile: str = "quick", dataset: Dataset | None = None, num_steps: int = 10, seconds: float = 20
) -> Duration:
    """Measure a few training steps of a recipe, compiled as in training, and estimate how long its training takes.

    Parameters
    ----------
    recipe : imggen_lib.recipes.Recipe
    profile : {"quick", "full"}
        Which budget of the recipe.
    dataset : imggen_lib.datasets.Dataset, optional
        The data, instead of the dataset of the profile.
    num_steps : int
        Steps to measure, after two that are compiled.
    seconds : float
        Stop measuring after this time, if at least one step was measured.

    Returns
    -------
    Duration

    Examples
    --------
    >>> from imggen_lib import datasets, recipes
    >>> found = duration(recipes.get("vae_2d"), dataset=datasets.load("digits"), num_steps=3)
    >>> found.num_steps == recipes.get("vae_2d").quick.num_steps, found.measured_steps, found.seconds > 0
    (True, 3, True)
    """
    budget = recipe.budget(profile)
    dataset = datasets.load(budget.dataset) if dataset is None else dataset
    with backend.mixed_precision(recipe.mixed_precision):
        model = recipe.model(dataset.image_shape, dataset.condition.size, seed=0)
    model.compile(optimizer=recipe.optimizer(budget.num_steps))
    stop = 2 + validate.integer(num_steps, "num_steps")
    batches = Batches(dataset.x_train, dataset.y_train, batch_size=recipe.batch_size, seed=0, stop=stop)
    timer = _StepTimer(seconds)
    model.fit(batches, shuffle=False, verbose=0, callbacks=[timer])
    steps = np.diff(timer.ends[2:])
    return Duration(recipe.name, budget.num_steps, len(steps), timer.ends[2] - timer.ends[0], float(np.median(steps)))


class _StepTimer(keras.callbacks.Callback):
    """Record when training began and when each step ended; stop after so many seconds, but not before three steps."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.ends: list[float] = [clock.seconds()]

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        float((logs or {}).get("loss", 0.0))  # a GPU has computed the step when its loss can be read
        self.ends.append(clock.seconds())
        if len(self.ends) > 3 and self.ends[-1] - self.ends[0] >= self.seconds:
            self.model.stop_training = True


def readable_time(seconds: float) -> str:
    """Return a duration in seconds, minutes or hours, to two digits.

    Examples
    --------
    >>> readable_time(40.2), readable_time(358), readable_time(9000)
    ('40 s', '6 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"

"""The training loop: shuffled batches that can be resumed, a budget of steps or seconds, checkpoints."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from imggen_lib import _validation as validate
from imggen_lib import pretrained
from imggen_lib.datasets import Dataset
from imggen_lib.training import processes
from imggen_lib.training.callbacks import (
    Checkpoint,
    Diverged,
    ProgressBar,
    StepCounter,
    StopIfDiverged,
    StopOnSignal,
    StopTogether,
    TimeBudget,
)
from imggen_lib.training.encoded import Encoded

__all__ = ["Batches", "fit"]

#: Steps of a budget in seconds: more than any run makes.
_ENOUGH = 100_000_000


class Batches(keras.utils.PyDataset):
    """Shuffled batches in which step k always has the same images, even if training was interrupted.

    Each epoch has its own random order, from the seed and the number of the epoch. Images that do not fill the last batch
    of an epoch are left out of that epoch.

    Parameters
    ----------
    images, labels : numpy.ndarray
        Of one length.
    batch_size : int
    seed : int
    start, stop : int
        The first step, and the step after the last.
    part : tuple of int
        ``(k, n)`` for part k of n equal parts of each batch: with several processes, each computes its own.

    Raises
    ------
    ValueError
        If there are fewer images than a batch needs, or a batch cannot be divided into equal parts.

    Examples
    --------
    Four images in batches of two: steps 2 and 3 are the second epoch, and have every image once.

    >>> batches = Batches(np.arange(4), np.arange(4), batch_size=2, seed=0, stop=6)
    >>> len(batches), sorted(np.concatenate([batches[2][0], batches[3][0]]).tolist())
    (6, [0, 1, 2, 3])
    """

    def __init__(
        self,
        images: NDArray[Any],
        labels: NDArray[Any],
        *,
        batch_size: int,
        seed: int,
        start: int = 0,
        stop: int,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__()
        self.images = images
        self.labels = labels
        self.batch_size: int = validate.integer(batch_size, "batch_size")
        self.seed = seed
        self.start = start
        self.stop = stop
        self.steps_per_epoch: int = len(images) // batch_size
        if self.steps_per_epoch == 0:
            raise ValueError(f"batch_size is {batch_size} and there are {len(images)} images; expected at least as many")
        number, parts = part
        if batch_size % parts:
            raise ValueError(f"batch_size is {batch_size}; expected a multiple of the number of processes, {parts}")
        self.first: int = number * (batch_size // parts)
        self.size: int = batch_size // parts
        self.epoch: int | None = None

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        epoch, position = divmod(self.start + index, self.steps_per_epoch)
        if epoch != self.epoch:
            self.order: NDArray[np.int64] = np.random.default_rng([self.seed, epoch]).permutation(len(self.images))
            self.epoch = epoch
        first = position * self.batch_size + self.first
        rows = self.order[first : first + self.size]
        return self.images[rows], self.labels[rows]


def fit(
    model: keras.Model,
    dataset: Dataset,
    record: dict[str, Any],
    *,
    num_steps: int | None = None,
    seconds: float | None = None,
    batch_size: int,
    seed: int,
    checkpoint: str | os.PathLike[str] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> bool:
    """Train a compiled model up to a number of steps or seconds, including those in its record.

    Ctrl-C stops after the current step. A loss that is NaN or infinite stops training, and restores the last good state.
    In one of several processes, each batch is divided among them, all stop after the same step, and only process 0 shows
    progress and writes checkpoints.

    Parameters
    ----------
    model : keras.Model
    dataset : imggen_lib.datasets.Dataset
    record : dict
        With ``steps`` and ``seconds`` so far; both are updated in place, with ``images_seen`` and ``epochs``.
    num_steps : int, optional
    seconds : float, optional
        The whole budget, including what the record has already: one of the two.
    batch_size, seed : int
        Of the batches.
    checkpoint : path_like, optional
        A ``.keras`` file, written every 30 seconds and when training stops early.
    callbacks : sequence of keras.callbacks.Callback

    Returns
    -------
    bool
        True if the budget was used up, False if a signal stopped training.

    Raises
    ------
    ValueError
        If not exactly one of ``num_steps`` and ``seconds`` is given, or the images do not fill one batch.
    Diverged
        If the loss became NaN or infinite. Model, record and checkpoint then hold the last good state.

    Examples
    --------
    A second call with a larger budget continues from step 2:

    >>> from imggen_lib import datasets, recipes
    >>> digits = datasets.load("digits")
    >>> model = recipes.get("vae_2d").model(digits.image_shape, None, seed=0)
    >>> model.compile(optimizer="adam")
    >>> record = {"steps": 0, "seconds": 0.0}
    >>> [fit(model, digits, record, num_steps=n, batch_size=8, seed=0) for n in (2, 3)], record["steps"]
    ([True, True], 3)
    """
    if (num_steps is None) == (seconds is None):
        raise ValueError(f"num_steps is {num_steps} and seconds is {seconds}; expected exactly one of the two")
    before = record["steps"]
    if num_steps is not None:
        left: dict[str, Any] = {"steps": validate.integer(num_steps, "num_steps", minimum=0) - before}
    else:
        left = {"seconds": seconds - record["seconds"]}
    if min(left.values()) <= 0:
        return True
    stop = before + _ENOUGH if num_steps is None else num_steps
    part = (processes.index(), processes.count())
    images: Any = dataset.x_train
    frozen = not getattr(model, "train_autoencoder", True)
    if frozen:
        images = Encoded(images, model.autoencoder.encode)
    batches = Batches(images, dataset.y_train, batch_size=batch_size, seed=seed, start=before, stop=stop, part=part)
    if frozen and keras.backend.backend() == "jax":
        # While Keras trains on JAX, the variables of the model have no values, so nothing can be encoded then.
        if len(batches) < batches.steps_per_epoch:
            for index in range(len(batches)):
                batches[index]
        else:
            images[np.arange(len(images))]
    stop_on_signal, stop_if_diverged = StopOnSignal(), StopIfDiverged()
    counter = StepCounter(record, batch_size=batch_size, steps_per_epoch=batches.steps_per_epoch)
    every_step: list[keras.callbacks.Callback] = [*callbacks, counter]
    if seconds is not None:
        every_step.insert(0, TimeBudget(left["seconds"]))
    if processes.index() == 0:
        every_step.append(ProgressBar(**left))
        if checkpoint is not None:
            every_step.append(Checkpoint(checkpoint, record))
    every_step += [stop_on_signal, stop_if_diverged, StopTogether(stop_on_signal)]
    try:
        model.fit(batches, shuffle=False, verbose=0, callbacks=every_step)
    except Diverged as error:
        counter.set_steps(before + stop_if_diverged.kept)
        if checkpoint is None:
            raise
        _save(model, checkpoint, record)
        raise Diverged(f"{error}. The last good state is in {checkpoint}") from None
    finally:
        # Keras does not call on_train_end when training fails, and Ctrl-C must work again.
        stop_on_signal.on_train_end()
    if stop_on_signal.stopped and checkpoint is not None:
        _save(model, checkpoint, record)
    return not stop_on_signal.stopped


def _save(model: keras.Model, checkpoint: str | os.PathLike[str], record: dict[str, Any]) -> None:
    """Write a checkpoint, in process 0."""
    if processes.index() == 0:
        with processes.alone():
            pretrained.save(model, checkpoint, record)

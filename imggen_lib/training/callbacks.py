"""Callbacks: budgets, progress, checkpoints, snapshots, and two reasons to stop early."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Sequence
from types import FrameType
from typing import Any

import keras
import numpy as np
import tqdm
from numpy.typing import NDArray

from imggen_lib import _validation as validate
from imggen_lib import io, pretrained
from imggen_lib.training import clock, processes

__all__ = [
    "Checkpoint", "Diverged", "ProgressBar", "SampleSheet", "Snapshots", "StepCounter", "StopIfDiverged", "StopOnSignal",
    "StopTogether", "TimeBudget",
]  # fmt: skip

Logs = dict[str, Any] | None


class TimeBudget(keras.callbacks.Callback):
    """Stop ``fit`` after the first step that ends later than ``seconds`` of wall time.

    The time starts with the training, so it includes compiling the first step. It does not include time in which the
    process was stopped: see :class:`imggen_lib.training.clock.Clock`.

    Parameters
    ----------
    seconds : float
        At least 0.

    Attributes
    ----------
    spent : float
        Seconds at the end of the latest step.

    Examples
    --------
    A budget of zero seconds ends after one step of the hundred:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> record = {"steps": 0, "seconds": 0.0}
    >>> history = model.fit(
    ...     np.zeros((100, 1)), np.zeros(100), batch_size=1, verbose=0, callbacks=[TimeBudget(0), StepCounter(record)]
    ... )
    >>> record["steps"]
    1
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds: float = validate.real(seconds, "seconds", minimum=0)
        self.spent: float = 0.0

    def on_train_begin(self, logs: Logs = None) -> None:
        self.began: float = clock.seconds()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.spent = clock.seconds() - self.began
        if self.spent >= self.seconds:
            self.model.stop_training = True


class ProgressBar(keras.callbacks.Callback):
    """One line that shows the share of the budget, of steps or of seconds, and the latest losses.

    Parameters
    ----------
    steps, seconds : float, optional
        The whole budget: one of the two.

    Examples
    --------
    The bar is written to standard error, so a page or a pipe gets the output of the program alone:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> bar = ProgressBar(steps=4)
    >>> history = model.fit(np.zeros((8, 1)), np.zeros(8), batch_size=2, verbose=0, callbacks=[bar])
    >>> bar.bar.n
    4
    """

    def __init__(self, *, steps: int | None = None, seconds: float | None = None) -> None:
        super().__init__()
        self.steps = steps
        self.seconds = seconds

    def on_train_begin(self, logs: Logs = None) -> None:
        self.began: float = clock.seconds()
        form = "{l_bar}{bar}| {n:.0f}/{total:.0f} {unit} [{elapsed}{postfix}]"
        unit = "steps" if self.seconds is None else "s"
        self.bar: tqdm.tqdm[Any] = tqdm.tqdm(total=self.steps or self.seconds, unit=unit, bar_format=form, mininterval=0.5)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        done = self.bar.n + 1 if self.seconds is None else clock.seconds() - self.began
        done = min(done, self.bar.total)  # beyond its total, tqdm shows no bar
        self.bar.set_postfix({name: f"{value:.3g}" for name, value in (logs or {}).items()}, refresh=False)
        self.bar.update(done - self.bar.n)

    def on_train_end(self, logs: Logs = None) -> None:
        self.bar.close()


class StepCounter(keras.callbacks.Callback):
    """Count the steps and seconds of a training in its record, in addition to those that it has.

    The seconds are wall time from the beginning of ``fit`` to the end of the latest step, with compilation, checkpoints and
    sheets of samples, and without time in which the process was stopped: see :class:`imggen_lib.training.clock.Clock`.

    Parameters
    ----------
    record : dict
        With ``steps`` and ``seconds``; both are updated after every step.
    batch_size, steps_per_epoch : int, optional
        If they are given, ``images_seen`` and ``epochs`` are updated as well: steps times images in a batch, and passes
        over the training images, rounded to two digits.

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> record = {"steps": 10, "seconds": 0.0}
    >>> counter = StepCounter(record, batch_size=2, steps_per_epoch=4)
    >>> history = model.fit(np.zeros((8, 1)), np.zeros(8), batch_size=2, verbose=0, callbacks=[counter])
    >>> record["steps"], record["images_seen"], record["epochs"]
    (14, 28, 3.5)
    """

    def __init__(
        self, record: dict[str, Any], *, batch_size: int | None = None, steps_per_epoch: int | None = None
    ) -> None:
        super().__init__()
        self.record = record
        self.batch_size = batch_size
        self.steps_per_epoch = steps_per_epoch

    def on_train_begin(self, logs: Logs = None) -> None:
        self.before: float = self.record["seconds"]
        self.began: float = clock.seconds()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.set_steps(self.record["steps"] + 1)
        self.record["seconds"] = self.before + clock.seconds() - self.began

    def set_steps(self, steps: int) -> None:
        """Write a number of steps, and what follows from it, into the record."""
        self.record["steps"] = steps
        if self.batch_size is not None and self.steps_per_epoch is not None:
            self.record["images_seen"] = steps * self.batch_size
            self.record["epochs"] = round(steps / self.steps_per_epoch, 2)


class Checkpoint(keras.callbacks.Callback):
    """Save model and record together at regular times. A file that cannot be written causes a warning, and is tried again.

    Parameters
    ----------
    path : path_like
        A ``.keras`` file.
    record : dict
        Written into the file as it is at that time.
    every : float
        Seconds between two files.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "line.keras"
    >>> x = np.zeros((8, 1))
    >>> history = model.fit(x, x, verbose=0, callbacks=[Checkpoint(path, {"note": "first try"}, every=0)])
    >>> pretrained.record(path)
    {'note': 'first try'}
    """

    def __init__(self, path: str | os.PathLike[str], record: dict[str, Any], *, every: float = 30) -> None:
        super().__init__()
        self.path = path
        self.record = record
        self.every = every

    def on_train_begin(self, logs: Logs = None) -> None:
        self.saved: float = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if time.perf_counter() - self.saved >= self.every:
            try:
                with processes.alone():
                    pretrained.save(self.model, self.path, self.record)
            except OSError as error:
                reason = error.strerror or error
                warnings.warn(
                    f"{self.path} could not be written ({reason}); training continues, and it is tried again in "
                    f"{self.every:g} s",
                    stacklevel=2,
                )
            self.saved = time.perf_counter()


class SampleSheet(keras.callbacks.Callback):
    """Write a contact sheet of samples at regular times, always from the same seed.

    Sampling takes at most a tenth of the time: if it takes longer than that, the sheets are written less often. In one of
    several processes, a copy of the model on the devices of this process is sampled, and the others wait.

    Parameters
    ----------
    path : path_like
        An image file, such as ``model.samples.png``.
    every : float
        Seconds between two sheets.
    n : int
        Samples on a sheet.
    seed : int

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from imggen_lib import io, models
    >>> gan = models.GAN(models.image_generator((8, 8, 1), 4), models.image_discriminator((8, 8, 1)))
    >>> gan.compile(optimizer="adam")
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "gan.samples.png"
    >>> x = np.zeros((8, 8, 8, 1), "float32")
    >>> history = gan.fit(x, verbose=0, callbacks=[SampleSheet(path, every=0, n=4)])
    >>> io.read_image(path).shape
    (22, 22)
    """

    def __init__(self, path: str | os.PathLike[str], *, every: float = 60, n: int = 16, seed: int = 0) -> None:
        super().__init__()
        self.path, self.every, self.n, self.seed = path, every, n, seed

    def on_train_begin(self, logs: Logs = None) -> None:
        self.next = time.perf_counter() + self.every

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        began = time.perf_counter()
        if began >= self.next:
            try:
                with io.atomic_write(self.path) as temporary:
                    io.write_contact_sheet(temporary, processes.local_copy(self.model).sample(self.n, seed=self.seed))
            except OSError as error:
                warnings.warn(f"{self.path} could not be written ({error.strerror or error})", stacklevel=2)
            now = time.perf_counter()
            self.next = now + max(self.every, 9 * (now - began))


class Snapshots(keras.callbacks.Callback):
    """Keep the model's samples from one seed at chosen steps: the frames of an animation of the training.

    Parameters
    ----------
    steps : sequence of int
        Numbers of steps after which to sample; 0 is before the first.
    n : int
        Samples each time.
    seed : int
        Of the samples, the same each time.

    Attributes
    ----------
    images : dict of int to numpy.ndarray
        The samples by step.

    Examples
    --------
    >>> from imggen_lib import models
    >>> gan = models.GAN(models.image_generator((8, 8, 1), 4), models.image_discriminator((8, 8, 1)))
    >>> gan.compile(optimizer="adam")
    >>> snapshots = Snapshots([0, 2], n=3)
    >>> history = gan.fit(np.zeros((8, 8, 8, 1), "float32"), batch_size=4, verbose=0, callbacks=[snapshots])
    >>> {step: images.shape for step, images in snapshots.images.items()}
    {0: (3, 8, 8, 1), 2: (3, 8, 8, 1)}
    """

    def __init__(self, steps: Sequence[int], *, n: int = 16, seed: int = 0) -> None:
        super().__init__()
        self.at: set[int] = set(steps)
        self.n = n
        self.seed = seed
        self.images: dict[int, NDArray[np.float32]] = {}
        self.step: int = 0

    def on_train_begin(self, logs: Logs = None) -> None:
        self._sample()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.step += 1
        self._sample()

    def _sample(self) -> None:
        if self.step in self.at:
            self.images[self.step] = self.model.sample(self.n, seed=self.seed)


class Diverged(ValueError):
    """Raised by :class:`StopIfDiverged` when the loss or a weight is NaN or infinite."""


class StopIfDiverged(keras.callbacks.Callback):
    """Stop ``fit`` with an error when the loss is NaN or infinite, and restore the last good state.

    When a loss is NaN, the weights are NaN already. Therefore a copy of everything that training changes (weights,
    optimizer, random generators) is kept at regular steps and at the end, provided that every number in it is finite.

    Parameters
    ----------
    every : int
        Steps between two copies. The first copy is made before the first step.

    Attributes
    ----------
    kept : int
        The step of this training after which the latest copy was made.

    Raises
    ------
    Diverged
        At the end of ``fit``, which is after the step that diverged.

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile(loss="mse", optimizer=keras.optimizers.SGD(1e30))
    >>> x = np.ones((64, 1), "float32")
    >>> history = model.fit(x, x + 1, batch_size=8, verbose=0, callbacks=[StopIfDiverged()])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    imggen_lib.training.callbacks.Diverged: the loss became inf in step 2: training diverged. The model was reset to...
    >>> bool(np.isfinite(model.get_weights()[0]).all())
    True
    """

    def __init__(self, *, every: int = 100) -> None:
        super().__init__()
        self.every: int = validate.integer(every, "every")
        self.failure: str | None = None

    def on_train_begin(self, logs: Logs = None) -> None:
        self.failure = None
        self.batches: int = 0
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        self.began: int = int(self.model.optimizer.iterations)
        if not self._keep():
            raise ValueError("a weight of the model is NaN or infinite before training; build or load the model again")

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.batches += 1
        loss = (logs or {}).get("loss", 0.0)
        if not np.isfinite(loss):
            self.failure = f"the loss became {loss:g} in step {self._step()}"
            self.model.stop_training = True
        elif self.batches % self.every == 0:
            self._keep()

    def on_train_end(self, logs: Logs = None) -> None:
        # The loss of a step is computed before its update, so the effect of the last update is not known yet.
        if self.failure is None and not self._keep():
            self.failure = f"a weight became NaN or infinite by step {self._step()}"
        if self.failure is None:
            return
        for variable, value in zip(self._variables(), self.copy, strict=True):
            variable.assign(value)
        raise Diverged(
            f"{self.failure}: training diverged. The model was reset to its state after step {self.kept}. Try a lower "
            "learning rate, and check that the data contain no NaN"
        )

    def _keep(self) -> bool:
        """Copy everything that training changes, if every number is finite. Return whether it is."""
        copy = [keras.ops.convert_to_numpy(variable).copy() for variable in self._variables()]
        finite = all(np.isfinite(array).all() for array in copy)
        if finite:
            self.copy: list[NDArray[Any]] = copy
            self.kept: int = self._step()
        return finite

    def _step(self) -> int:
        return int(self.model.optimizer.iterations) - self.began

    def _variables(self) -> list[keras.Variable]:
        return [*self.model.variables, *self.model.optimizer.variables]


class StopOnSignal(keras.callbacks.Callback):
    """Let Ctrl-C (SIGINT) and SIGTERM stop training after the current step, not inside it.

    Python delivers signals to the main thread only; in another thread this callback does nothing.

    Attributes
    ----------
    stopped : bool
        Whether a signal arrived.

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> def interrupt(batch, logs):
    ...     signal.raise_signal(signal.SIGINT)
    >>> stop, ctrl_c = StopOnSignal(), keras.callbacks.LambdaCallback(on_train_batch_begin=interrupt)
    >>> x = np.zeros((8, 1))
    >>> history = model.fit(x, x, batch_size=2, epochs=100, verbose=0, callbacks=[stop, ctrl_c])
    >>> stop.stopped, len(history.epoch)
    (True, 1)
    """

    def __init__(self) -> None:
        super().__init__()
        self.stopped: bool = False
        self.former: dict[int, Any] = {}

    def on_train_begin(self, logs: Logs = None) -> None:
        if threading.current_thread() is threading.main_thread():
            self.former = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if self.stopped:
            self.model.stop_training = True

    def on_train_end(self, logs: Logs = None) -> None:
        for number, handler in self.former.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        # Only a flag: inside a step on JAX, the model's state is held by the compiled function.
        self.stopped = True


class StopTogether(keras.callbacks.Callback):
    """Stop all processes of a training after the same step, if a signal or a time budget stops one of them.

    Otherwise the process that continues would wait for the one that stopped. The processes exchange two flags after every
    step. This callback comes after those that may stop the training.

    Parameters
    ----------
    stop_on_signal : StopOnSignal
        Receives the signals of other processes.

    Examples
    --------
    A single process exchanges nothing:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> history = model.fit(np.zeros((8, 1)), np.zeros(8), verbose=0, callbacks=[StopTogether(StopOnSignal())])
    """

    def __init__(self, stop_on_signal: StopOnSignal) -> None:
        super().__init__()
        self.stop_on_signal = stop_on_signal

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        flags = processes.any_process([bool(self.model.stop_training), self.stop_on_signal.stopped])
        stop, self.stop_on_signal.stopped = flags
        self.model.stop_training = stop or self.stop_on_signal.stopped

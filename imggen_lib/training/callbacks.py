"""What watches a training while Keras runs it: budgets, progress, snapshots, and two reasons to stop."""

import signal
import threading
import time

import keras
import numpy as np
import tqdm

from imggen_lib import _validation as validate
from imggen_lib import backend

backend.graphs_as_written()


class TimeBudget(keras.callbacks.Callback):
    """Stop ``fit`` at the end of the first batch after ``seconds`` of wall time.

    The clock starts with the training itself, so building the graph in the first step counts.

    Parameters
    ----------
    seconds : float
        How long to train.

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> budget = TimeBudget(0.2)
    >>> history = model.fit(np.zeros((8, 1)), np.zeros(8), epochs=100_000, verbose=0, callbacks=[budget])
    >>> 0.2 <= budget.spent < 5
    True
    """

    def __init__(self, seconds):
        super().__init__()
        self.seconds = validate.real(seconds, "seconds", minimum=0)
        self.spent = 0.0

    def on_train_begin(self, logs=None):
        self.began = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.spent = time.perf_counter() - self.began
        if self.spent >= self.seconds:
            self.model.stop_training = True


class ProgressBar(keras.callbacks.Callback):
    """One line that fills up with the budget, of steps or of seconds, beside the latest losses.

    Parameters
    ----------
    steps, seconds : float, optional
        The whole budget: one of the two.

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> history = model.fit(np.zeros((8, 1)), np.zeros(8), batch_size=2, verbose=0, callbacks=[ProgressBar(steps=4)])
    """

    def __init__(self, *, steps=None, seconds=None):
        super().__init__()
        self.steps, self.seconds = steps, seconds

    def on_train_begin(self, logs=None):
        self.began = time.perf_counter()
        form = "{l_bar}{bar}| {n:.0f}/{total:.0f} {unit} [{elapsed}{postfix}]"
        unit = "steps" if self.seconds is None else "s"
        self.bar = tqdm.tqdm(total=self.steps or self.seconds, unit=unit, bar_format=form, mininterval=0.5)

    def on_train_batch_end(self, batch, logs=None):
        done = self.bar.n + 1 if self.seconds is None else time.perf_counter() - self.began
        done = min(done, self.bar.total)  # beyond its end the bar would have no length to show
        self.bar.set_postfix({name: f"{value:.3g}" for name, value in (logs or {}).items()}, refresh=False)
        self.bar.update(done - self.bar.n)

    def on_train_end(self, logs=None):
        self.bar.close()


class Snapshots(keras.callbacks.Callback):
    """Keep what a model draws from one seed at chosen steps of its training: the frames of a film.

    Parameters
    ----------
    steps : sequence of int
        After how many steps to draw; 0 is before the first.
    n : int
        How many pictures.
    seed : int
        Of the draws, the same each time.

    Attributes
    ----------
    images : dict of int to numpy.ndarray
        The pictures by step.

    Examples
    --------
    >>> Snapshots([0, 10, 100]).images
    {}
    """

    def __init__(self, steps, *, n=16, seed=0):
        super().__init__()
        self.at = set(steps)
        self.n, self.seed = n, seed
        self.images = {}
        self.step = 0

    def on_train_begin(self, logs=None):
        self._draw()

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        self._draw()

    def _draw(self):
        if self.step in self.at:
            self.images[self.step] = self.model.sample(self.n, seed=self.seed)


class Diverged(ValueError):
    """Raised by :class:`StopIfDiverged` when a loss is no number any more.

    Examples
    --------
    >>> issubclass(Diverged, ValueError)
    True
    """


class StopIfDiverged(keras.callbacks.Callback):
    """Stop ``fit`` with an error when the loss is NaN or infinite, and put the model back to where it was well.

    By the time that a loss is NaN the weights are spoilt. So every so many steps, and at the end, a copy of all that
    training changes (weights, optimizer, random generators) is kept, if every number in it is finite.

    Parameters
    ----------
    every : int
        Steps between two copies. The first is made before the first step.

    Attributes
    ----------
    kept : int
        After how many steps of this training the latest copy was made.

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
    imggen_lib.training.callbacks.Diverged: the loss became inf in step 2: training has diverged, and the model is as it was...
    >>> bool(np.isfinite(model.get_weights()[0]).all())
    True
    """

    def __init__(self, *, every=100):
        super().__init__()
        self.every = validate.integer(every, "every")
        self.failure = None

    def on_train_begin(self, logs=None):
        self.failure, self.batches, self.copy = None, 0, None
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        self.began = int(self.model.optimizer.iterations)
        if not self._keep():
            raise ValueError("a weight of the model is NaN or infinite before training; build it anew, or load it again")

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1
        loss = (logs or {}).get("loss", 0.0)
        if not np.isfinite(loss):
            self.failure = f"the loss became {loss:g} in step {self._step()}"
            self.model.stop_training = True
        elif self.batches % self.every == 0:
            self._keep()

    def on_train_end(self, logs=None):
        # The loss of a step comes from before its update, so nobody has seen yet what the last update did.
        if self.failure is None and not self._keep():
            self.failure = f"a weight became NaN or infinite by step {self._step()}"
        if self.failure is None:
            return
        for variable, value in zip(self._variables(), self.copy, strict=True):
            variable.assign(value)
        raise Diverged(
            f"{self.failure}: training has diverged, and the model is as it was after step {self.kept} again. "
            "Try a lower learning rate, and see that the data hold no NaN"
        )

    def _keep(self):
        """Copy all that training changes, if every number is finite. Return whether it is."""
        copy = [keras.ops.convert_to_numpy(variable).copy() for variable in self._variables()]
        finite = all(np.isfinite(array).all() for array in copy)
        if finite:
            self.copy, self.kept = copy, self._step()
        return finite

    def _step(self):
        return int(self.model.optimizer.iterations) - self.began

    def _variables(self):
        return [*self.model.variables, *self.model.optimizer.variables]


class StopOnSignal(keras.callbacks.Callback):
    """Let Ctrl-C, or a polite request to end, stop training after the current batch rather than inside it.

    Its attribute ``stopped`` tells whether that happened. Python hands signals to the main thread alone, so in another
    thread it watches for none.

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> def interrupt(batch, logs):
    ...     signal.raise_signal(signal.SIGINT)
    >>> stopping, impatient = StopOnSignal(), keras.callbacks.LambdaCallback(on_train_batch_begin=interrupt)
    >>> x = np.zeros((8, 1))
    >>> history = model.fit(x, x, batch_size=2, epochs=100, verbose=0, callbacks=[stopping, impatient])
    >>> stopping.stopped, len(history.epoch)
    (True, 1)
    """

    def __init__(self):
        super().__init__()
        self.stopped, self.former = False, {}

    def on_train_begin(self, logs=None):
        if threading.current_thread() is threading.main_thread():
            self.former = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_train_batch_end(self, batch, logs=None):
        if self.stopped:
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        for number, handler in self.former.items():
            signal.signal(number, handler)

    def _stop(self, number, frame):
        # The model is left alone until the step has ended: on JAX its state is away, inside the compiled step.
        self.stopped = True

"""Training that keeps to a budget, shows where it is, and can be stopped and resumed without losing anything."""

import json
import os
import time
import zipfile
import zlib
from pathlib import Path

import keras
import numpy as np

from imggen_lib import checks, files
from imggen_lib.callbacks import Diverged, ProgressBar, Snapshots, StopIfDiverged, StopOnSignal, TimeBudget

__all__ = [
    "Batches", "Checkpoint", "Diverged", "ProgressBar", "Snapshots", "StopIfDiverged", "StopOnSignal", "TimeBudget",
    "choose", "load", "profile", "save", "train",
]  # fmt: skip

PROFILES = ("quick", "full")
RECORD = "imggen.json"
SEEDS = "imggen_seeds.json"


def profile():
    """Return the profile that the variable ``IMGGEN_PROFILE`` names: ``"quick"`` (also when unset) or ``"full"``.

    Raises
    ------
    ValueError
        If the variable holds anything else.

    Examples
    --------
    >>> profile() in PROFILES
    True
    """
    return checks.choice(os.environ.get("IMGGEN_PROFILE", "quick"), "IMGGEN_PROFILE", PROFILES)


def choose(*, quick, full):
    """Return one of two values, as :func:`profile` says: how long a page trains, say.

    Examples
    --------
    >>> choose(quick=1, full=10) in (1, 10)
    True
    """
    return {"quick": quick, "full": full}[profile()]


class Batches(keras.utils.PyDataset):
    """A row of shuffled batches in which step k always holds the same pictures, however often training stopped.

    Each pass over the data has its own order, drawn from the seed and the number of the pass.

    Parameters
    ----------
    images : numpy.ndarray
    labels : numpy.ndarray
    batch_size : int
    seed : int
    start, stop : int
        The first step that this row holds, and the step before which it ends.

    Raises
    ------
    ValueError
        If there are fewer pictures than one batch needs.

    Examples
    --------
    >>> batches = Batches(np.arange(4), np.arange(4), batch_size=2, seed=0, stop=6)
    >>> len(batches), sorted(np.concatenate([batches[2][0], batches[3][0]]).tolist())
    (6, [0, 1, 2, 3])
    """

    def __init__(self, images, labels, *, batch_size, seed, start=0, stop):
        super().__init__()
        self.images, self.labels = images, labels
        self.batch_size = checks.integer(batch_size, "batch_size")
        self.seed, self.start, self.stop = seed, start, stop
        self.per_pass = len(images) // batch_size
        if self.per_pass == 0:
            raise ValueError(f"batch_size is {batch_size} and there are {len(images)} pictures; expected at least as many")
        self.pass_number = None

    def __len__(self):
        return self.stop - self.start

    def __getitem__(self, index):
        pass_number, position = divmod(self.start + index, self.per_pass)
        if pass_number != self.pass_number:
            self.order = np.random.default_rng([self.seed, pass_number]).permutation(len(self.images))
            self.pass_number = pass_number
        rows = self.order[position * self.batch_size : (position + 1) * self.batch_size]
        return self.images[rows], self.labels[rows]


class Checkpoint(keras.callbacks.Callback):
    """Count steps and seconds in a record, and save model and record together every so often.

    Parameters
    ----------
    path : path_like
        A ``.keras`` file.
    record : dict
        What is known of this training; ``record["steps"]`` and ``record["seconds"]`` are counted on from here.
    every : float
        Seconds between two savings.

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> record = {"steps": 0, "seconds": 0.0}
    >>> history = model.fit(
    ...     np.zeros((8, 1)), np.zeros(8), batch_size=2, verbose=0, callbacks=[Checkpoint("partial.keras", record)]
    ... )
    >>> record["steps"]
    4
    """

    def __init__(self, path, record, *, every=60):
        super().__init__()
        self.path, self.record, self.every = path, record, every

    def on_train_begin(self, logs=None):
        self.before = self.record["seconds"]
        self.began = self.saved = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        self.record["steps"] += 1
        self.record["seconds"] = self.before + now - self.began
        if now - self.saved >= self.every:
            save(self.model, self.path, self.record)
            self.saved = time.perf_counter()


def train(model, dataset, record, *, steps=None, seconds=None, batch_size, seed, checkpoint, callbacks=()):
    """Train a compiled model for a number of steps or of seconds, counting on from its record.

    Parameters
    ----------
    model : keras.Model
    dataset : imggen_lib.datasets.Dataset
    record : dict
        With ``steps`` and ``seconds`` done so far; both are brought up to date in place.
    steps : int, optional
    seconds : float, optional
        The whole budget, what is done already included: one of the two.
    batch_size, seed : int
        Of the row of batches.
    checkpoint : path_like
        Where to save now and then, and when stopped.
    callbacks : sequence of keras.callbacks.Callback

    Returns
    -------
    bool
        Whether the budget was used up; False if a signal stopped it, and then ``checkpoint`` holds the state.

    Raises
    ------
    ValueError
        If not exactly one of steps and seconds is given, or the data make no batch.
    Diverged
        If the loss becomes NaN or infinite. Model, record and ``checkpoint`` then hold the latest state that was well.

    Examples
    --------
    >>> from imggen_lib import catalog, datasets
    >>> model = catalog.recipe("vae_2d").build((8, 8, 1), 10, seed=0)
    >>> model.compile(optimizer="adam")
    >>> record = {"steps": 0, "seconds": 0.0}
    >>> train(model, datasets.load("digits"), record, steps=2, batch_size=8, seed=0, checkpoint="partial.keras")
    True
    >>> record["steps"]
    2
    """
    if (steps is None) == (seconds is None):
        raise ValueError(f"steps is {steps} and seconds is {seconds}; expected one of the two")
    steps = steps if steps is None else checks.integer(steps, "steps", minimum=0)
    left = {"steps": steps - record["steps"]} if seconds is None else {"seconds": seconds - record["seconds"]}
    if min(left.values()) <= 0:
        return True
    # A budget of seconds ends through TimeBudget, so the row of batches only has to be long enough.
    stop = steps if seconds is None else record["steps"] + 100_000_000
    batches = Batches(dataset.x_train, dataset.y_train, batch_size=batch_size, seed=seed, start=record["steps"], stop=stop)
    stopping, sane, before = StopOnSignal(), StopIfDiverged(), record["steps"]
    budget = [] if seconds is None else [TimeBudget(left["seconds"])]
    saving = Checkpoint(checkpoint, record)
    try:
        model.fit(
            batches,
            shuffle=False,
            verbose=0,
            callbacks=[*budget, *callbacks, ProgressBar(**left), saving, stopping, sane],
        )
    except Diverged as error:
        record["steps"] = before + sane.kept
        save(model, checkpoint, record)
        raise Diverged(f"{error}. What was well is kept in {checkpoint}") from None
    finally:
        # Keras does not tell callbacks when training fails, and Ctrl-C must work again then.
        stopping.on_train_end()
    if stopping.stopped:
        save(model, checkpoint, record)
    return not stopping.stopped


def save(model, path, record):
    """Save a model as a ``.keras`` file with the record of its training inside, whole or not at all.

    Parameters
    ----------
    model : keras.Model
    path : path_like
        Ending in ``.keras``.
    record : dict
        Anything that JSON can hold.

    Raises
    ------
    ValueError
        If the path does not end in ``.keras``.
    FileNotFoundError
        If its folder does not exist.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "line.keras"
    >>> save(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]), path, {"steps": 0})
    >>> load(path)[1]
    {'steps': 0}
    """
    if Path(path).suffix != ".keras":
        raise ValueError(f"the file is {path}; expected a name that ends in .keras")
    with files.replacing(path) as temporary:
        model.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(RECORD, json.dumps(record, indent=2))
            seeds = [keras.ops.convert_to_numpy(state).tolist() for state in _seed_states(model)]
            archive.writestr(SEEDS, json.dumps(seeds))


def load(path):
    """Load a model that :func:`save` wrote, with its optimizer's state, and its record.

    Returns
    -------
    keras.Model, dict

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, or was not written by this library.

    Examples
    --------
    >>> load("nowhere.keras")
    Traceback (most recent call last):
    ...
    FileNotFoundError: there is no file nowhere.keras
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    import imggen_lib.models.autoregressive
    import imggen_lib.models.classifier
    import imggen_lib.models.diffusion
    import imggen_lib.models.flow
    import imggen_lib.models.gan
    import imggen_lib.models.reader
    import imggen_lib.models.vae  # noqa: F401

    try:
        with zipfile.ZipFile(path) as archive:
            if not {RECORD, SEEDS} <= set(archive.namelist()):
                raise _NoRecord
            record, seeds = (json.loads(archive.read(name)) for name in (RECORD, SEEDS))
        model = keras.saving.load_model(path)
        for state, value in zip(_seed_states(model), seeds, strict=True):
            state.assign(np.asarray(value, state.dtype))
        return model, record
    except _NoRecord as error:
        raise ValueError(f"{path} has no record of its training; expected a file written by imggen train") from error
    except (ValueError, OSError, TypeError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # a full disk, say: the file is not to blame
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} is damaged or no model of this library ({reason}); train it again") from error


def _seed_states(model):
    """The states of a model's random generators, which Keras does not save with it."""
    return [variable for variable in model.non_trainable_variables if variable.path.endswith("seed_generator_state")]


class _NoRecord(Exception):
    """Raised when a file was not written by :func:`save`."""

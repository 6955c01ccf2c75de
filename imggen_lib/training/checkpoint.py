"""Saving and loading a model with the record of its training."""

import json
import time
import zipfile
import zlib
from pathlib import Path

import keras
import numpy as np

from imggen_lib import io

RECORD = "imggen.json"
SEEDS = "imggen_seeds.json"


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
    with io.replacing(path) as temporary:
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
    import imggen_lib.models.attribute_classifier
    import imggen_lib.models.autoregressive
    import imggen_lib.models.classifier
    import imggen_lib.models.diffusion
    import imggen_lib.models.flow
    import imggen_lib.models.gan
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

"""Trained models in files: shipped ones by name, your own by path; with the record of each training.

Two file formats are read and written:

- ``.keras``: a complete Keras file, optimizer included, with the record of the training inside.
- ``.npz``: the weights alone, as float16 arrays stored under the names of the layers, with the record in a ``.json`` file
  beside it. It has a quarter of the size, loading it executes no code, and it does not depend on a version of Keras. The
  model is built from the recipe that the record names.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imggen_lib import io, recipes
from imggen_lib.datasets.base import Condition

if TYPE_CHECKING:
    import keras

__all__ = ["load", "names", "record", "save"]

PathLike = str | os.PathLike[str]

_RECORD = "imggen.json"
_SEEDS = "imggen_seeds.json"
_NEEDED = {"model", "image_shape", "condition", "seed"}


def names() -> tuple[str, ...]:
    """Return the names of the shipped models.

    Examples
    --------
    >>> "gan" in names()
    True
    """
    return tuple(name for name in recipes.names() if io.data_path("weights", f"{name}.json").is_file())


def record(name_or_path: PathLike) -> dict[str, Any]:
    """Return the record of a training: recipe, data, seed, steps, seconds, machine, measured quality.

    Parameters
    ----------
    name_or_path : str or path_like
        As in :func:`load`.

    Returns
    -------
    dict
        Empty for a ``.keras`` file without a record, as ``model.save`` writes it.

    Raises
    ------
    ValueError
        If there is no shipped model of that name, or the file is damaged.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> record("classifier")["dataset"]
    'fashion_mnist_full'
    """
    path = _path(name_or_path)
    if path.suffix == ".keras":
        return _read_keras_record(path)[0]
    beside = path.with_suffix(".json")
    if not beside.is_file():
        raise FileNotFoundError(f"{beside} is missing: {path.name} cannot be read without the record beside it")
    try:
        found = json.loads(beside.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{beside} is damaged ({error}); install the package or write the file again") from error
    missing = (_NEEDED | {"sha256"}) - set(found)
    if missing:
        raise ValueError(f"{beside} lacks {', '.join(sorted(missing))}; expected a record that imggen_lib wrote")
    return found


def load(name_or_path: PathLike) -> keras.Model:
    """Return a trained model.

    Parameters
    ----------
    name_or_path : str or path_like
        One of :func:`names`, or a ``.keras`` or ``.npz`` file written by ``imggen train``, :func:`imggen_lib.training.run`,
        :func:`save` or ``model.save``.

    Returns
    -------
    keras.Model
        From a ``.keras`` file with the state of its optimizer, so that training can continue.

    Raises
    ------
    ValueError
        If there is no shipped model of that name, or the file is damaged or does not fit its recipe.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> load("vae_2d").latent_dim
    2
    """
    path = _path(name_or_path)
    return _load_keras(path) if path.suffix == ".keras" else _load_weights(path)


def save(model: keras.Model, path: PathLike, record: dict[str, Any]) -> None:
    """Write a model and the record of its training. The file is complete or not written at all.

    Parameters
    ----------
    model : keras.Model
    path : path_like
        Ending in ``.keras`` or ``.npz``; see the module description.
    record : dict
        Values that JSON can hold. A ``.npz`` file needs ``model`` (the name of a recipe), ``image_shape``, ``condition``,
        ``seed`` and, if the recipe was overridden, ``settings``.

    Raises
    ------
    ValueError
        If the suffix of the path is neither of these, the record lacks a value, or a weight is too large for float16.
    FileNotFoundError
        If the folder does not exist.

    Examples
    --------
    >>> import tempfile
    >>> from imggen_lib import datasets
    >>> digits = datasets.load("digits")
    >>> model = recipes.get("vae_2d").model(digits.image_shape, digits.condition.size, seed=0)
    >>> made_from = {"image_shape": digits.image_shape, "condition": digits.condition.describe(), "seed": 0}
    >>> path = Path(tempfile.mkdtemp()) / "tiny.npz"
    >>> save(model, path, {"model": "vae_2d", **made_from})
    >>> round(float(np.abs(load(path).sample(1, seed=0) - model.sample(1, seed=0)).max()), 3)
    0.0
    """
    path = Path(path)
    if path.suffix == ".keras":
        _save_keras(model, path, record)
    elif path.suffix == ".npz":
        _save_weights(model, path, record)
    else:
        raise ValueError(f"the file is {path}; expected a name that ends in .keras, or in .npz for the weights alone")


def _path(name_or_path: PathLike) -> Path:
    """Return the file of a shipped model or the given path, which must exist and have a known suffix."""
    if isinstance(name_or_path, str) and name_or_path in names():
        return io.data_path("weights", f"{name_or_path}.npz")
    path = Path(name_or_path)
    if path.suffix not in (".keras", ".npz"):
        raise ValueError(
            f"{str(name_or_path)!r} is not a shipped model ({', '.join(names())}) and not a .keras or .npz file"
        )
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    return path


def _save_weights(model: keras.Model, path: Path, record: dict[str, Any]) -> None:
    missing = _NEEDED - set(record)
    if missing:
        raise ValueError(
            f"the record lacks {', '.join(sorted(missing))}, which a .npz file needs; save a .keras file instead"
        )
    arrays = {name: np.asarray(weight) for name, weight in _named_weights(model)}
    # `not all` instead of `any`, so that NaN is refused too.
    if not all(np.abs(array).max(initial=0) <= np.finfo(np.float16).max for array in arrays.values()):
        raise ValueError(f"a weight is NaN or too large for float16, so {path} was not written: has training diverged?")
    with io.atomic_write(path) as temporary:
        halves: dict[str, Any] = {name: array.astype(np.float16) for name, array in arrays.items()}
        np.savez_compressed(temporary, **halves)
    with io.atomic_write(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps({**record, "sha256": io.sha256(path)}, indent=2) + "\n", encoding="utf-8")


def _load_weights(path: Path) -> keras.Model:
    facts = record(path)
    io.verify_checksum(path, facts["sha256"], advice="Install the package again, or train the model again")
    recipe = recipes.get(facts["model"]).override(**facts.get("settings", {}))
    size = Condition.from_description(facts["condition"]).size
    model = recipe.model(tuple(facts["image_shape"]), size, seed=facts["seed"])
    arrays, weights = io.read_npz(path), dict(_named_weights(model))
    if different := sorted(set(arrays) ^ set(weights)):
        raise ValueError(
            f"{path} does not fit the recipe {facts['model']}: only one of the two has {', '.join(different[:3])}; train "
            "the model again"
        )
    for name, weight in weights.items():
        if arrays[name].shape != tuple(weight.shape):
            raise ValueError(
                f"{path} does not fit the recipe {facts['model']}: {name} has the shape {arrays[name].shape}, expected "
                f"{tuple(weight.shape)}; train the model again"
            )
        weight.assign(arrays[name].astype(np.float32))
    if (source := getattr(model, "ema_source", None)) is not None:
        source.set_weights(model.average.network.get_weights())
    return model


def _named_weights(model: keras.Model) -> Iterator[tuple[str, keras.Variable]]:
    """Yield the float32 weights that determine a model's output, each with a name.

    The name is made of the model's attribute, the layer, and the variable: ``average/dense_0/kernel``. The network that a
    moving average follows is left out, because samples come from the average.
    """
    import keras

    source = getattr(model, "ema_source", None)
    seen = set() if source is None else {id(weight) for weight in source.weights}
    taken: set[str] = set()

    def named(prefix: str, weights: list[keras.Variable], layer_name: str) -> Iterator[tuple[str, keras.Variable]]:
        for weight in weights:
            if weight.dtype != "float32" or id(weight) in seen:
                continue
            seen.add(id(weight))
            name = f"{prefix}/{weight.path.rpartition(f'{layer_name}/')[2]}" if prefix else weight.name
            if name in taken:
                raise ValueError(f"two weights have the name {name}; give every layer with weights a name of its own")
            taken.add(name)
            yield name, weight

    for attribute, part in vars(model).items():
        network = getattr(part, "network", part)  # of a moving average, the averaged network
        if isinstance(network, keras.Model):
            for layer in network.layers:
                yield from named(f"{attribute}/{layer.name}", layer.weights, layer.name)
        elif isinstance(part, keras.Layer):
            yield from named(attribute, part.weights, part.name)
    yield from named("", model.weights, "")


def _save_keras(model: keras.Model, path: Path, record: dict[str, Any]) -> None:
    import keras

    with io.atomic_write(path) as temporary:
        model.save(temporary)
        # Keras does not save the states of random generators; a resumed training needs them.
        seeds = [keras.ops.convert_to_numpy(state).tolist() for state in _seed_states(model)]
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(_RECORD, json.dumps(record, indent=2))
            archive.writestr(_SEEDS, json.dumps(seeds))


def _load_keras(path: Path) -> keras.Model:
    import keras

    import imggen_lib.models  # noqa: F401, registers every family

    _, seeds = _read_keras_record(path)
    try:
        model = keras.saving.load_model(path)
        for state, value in zip(_seed_states(model), seeds or (), strict=bool(seeds)):
            state.assign(np.asarray(value, state.dtype))
    except (ValueError, OSError, TypeError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # a full disk, for example: the file is not the cause
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} is damaged or not a model that Keras can load ({reason}); train it again") from error
    return model


def _read_keras_record(path: Path) -> tuple[dict[str, Any], list[list[int]]]:
    """Return the record and the states of the random generators; both are empty in a file that ``model.save`` wrote."""
    try:
        with zipfile.ZipFile(path) as archive:
            if _RECORD not in archive.namelist():
                return {}, []
            return json.loads(archive.read(_RECORD)), json.loads(archive.read(_SEEDS))
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path} is damaged or not a .keras file ({error}); train it again") from error


def _seed_states(model: keras.Model) -> list[keras.Variable]:
    return [variable for variable in model.non_trainable_variables if variable.path.endswith("seed_generator_state")]

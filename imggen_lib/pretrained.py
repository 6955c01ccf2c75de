"""The models that are shipped: their weights, loaded by name, and what is known of each one's training.

A page shows a recipe's numbers; it does not type them again.
"""

import json
from pathlib import Path

import numpy as np

from imggen_lib import io
from imggen_lib.training.recipes import names, recipe

__all__ = ["export", "load", "names", "recipe", "record", "shipped"]


def shipped():
    """Return the names of those whose trained weights come with the library.

    Examples
    --------
    >>> set(shipped()) <= set(names())
    True
    """
    return tuple(name for name in names() if io.data_path("weights", f"{name}.json").is_file())


def record(name):
    """Return what is known of a shipped model's training: seed, data, steps, seconds, machine, measured quality.

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        If there is no model of that name.

    Examples
    --------
    >>> record("classifier")["dataset"]
    'fashion_mnist_full'
    """
    path = io.data_path("weights", f"{recipe(name).name}.json")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}). Install the package again") from error


def load(name):
    """Return a model with its shipped weights.

    Parameters
    ----------
    name : str
        One of :func:`imggen_lib.training.recipes.names`.

    Returns
    -------
    keras.Model

    Raises
    ------
    ValueError
        If there is none of that name, or its weight file is damaged.
    FileNotFoundError
        If its weight file is missing.

    Examples
    --------
    >>> load("vae_2d").sample(2, seed=0).shape
    (2, 28, 28, 1)
    """
    facts = record(name)
    path = io.data_path("weights", f"{name}.npz")
    io.verify(path, facts["sha256"], advice="Install the package again, or train it with: make weights")
    model = recipe(name).build(tuple(facts["image_shape"]), len(facts["class_names"]), facts["seed"])
    arrays = io.read_npz(path)
    weights = _weights(model)
    if [arrays[key].shape for key in arrays] != [tuple(weight.shape) for weight in weights]:
        raise ValueError(f"{path} holds other shapes than the recipe of {name} builds: train it with: make weights")
    for weight, array in zip(weights, arrays.values(), strict=True):
        weight.assign(array.astype("float32"))
    if (network := _followed(model)) is not None:
        network.set_weights(model.average.network.get_weights())
    return model


def export(model, path, facts):
    """Write a model's weights as a shipped file is: half precision, no optimizer, with a record beside it.

    Parameters
    ----------
    model : keras.Model
    path : path_like
        Ending in ``.npz``; the record goes beside it, ending in ``.json``.
    facts : dict
        What is known of the training.

    Raises
    ------
    ValueError
        If the path does not end in ``.npz``, or a weight is too large for half precision.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> export(recipe("vae_2d").build((8, 8, 1), 10, seed=0), folder / "tiny.npz", {"seed": 0})
    >>> sorted(file.name for file in folder.iterdir())
    ['tiny.json', 'tiny.npz']
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"the file is {path}; expected a name that ends in .npz")
    arrays = {f"{index:03d}": np.asarray(weight) for index, weight in enumerate(_weights(model))}
    # Said this way round, so that NaN is refused too.
    if not all(np.abs(array).max(initial=0) <= np.finfo(np.float16).max for array in arrays.values()):
        raise ValueError(f"a weight is too large for half precision, so {path} was not written: has training diverged?")
    with io.replacing(path) as temporary:
        np.savez_compressed(temporary, **{key: array.astype(np.float16) for key, array in arrays.items()})
    with io.replacing(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps({**facts, "sha256": io.sha256(path)}, indent=2) + "\n")


def _weights(model):
    """The weights that say what a model does, without the states of its random generators and its counters."""
    network = _followed(model)
    left_out = [] if network is None else [id(weight) for weight in network.weights]
    return [weight for weight in model.weights if weight.dtype == "float32" and id(weight) not in left_out]


def _followed(model):
    """The one network of a model that draws by that network's moving average, which alone is shipped; or None."""
    return getattr(model, "network", None) if hasattr(model, "average") else None

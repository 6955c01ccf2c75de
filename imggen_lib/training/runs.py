"""A training run: build a model from a recipe, train it within its budget, evaluate it, and write it with its record."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from imggen_lib import _validation as validate
from imggen_lib import backend, datasets, evaluation, pretrained, recipes
from imggen_lib.models import GenerativeModel
from imggen_lib.training.callbacks import SampleSheet
from imggen_lib.training.estimates import estimate
from imggen_lib.training.loop import fit

__all__ = ["Run", "run"]


@dataclasses.dataclass(frozen=True)
class Run:
    """What a training run gave.

    Attributes
    ----------
    model : keras.Model
    record : dict
        Recipe, settings, dataset, seed, steps, seconds, machine, software and, if finished, the measured quality.
    dataset : imggen_lib.datasets.Dataset
    finished : bool
        False if a signal stopped the run before its budget was used up.
    """

    model: keras.Model
    record: dict[str, Any]
    dataset: datasets.Dataset
    finished: bool


def run(
    recipe: str | recipes.Recipe,
    output: str | os.PathLike[str] | None = None,
    *,
    dataset: str | datasets.Dataset | None = None,
    profile: str = "quick",
    seconds: float | None = None,
    seed: int = 0,
    devices: int = 1,
    resume: bool = False,
    evaluate: bool = True,
    report: Callable[[str], object] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **settings: Any,
) -> Run:
    """Train a model from a recipe. ``imggen train`` calls this function and does nothing else.

    During training the state is in ``STEM.partial.keras`` beside the output, written every minute; the output appears when
    it is complete.

    Parameters
    ----------
    recipe : str or Recipe
        A name in :func:`imggen_lib.recipes.names`, or a recipe of your own.
    output : path_like, optional
        A ``.keras`` or ``.npz`` file; see :mod:`imggen_lib.pretrained`. Without it nothing is written.
    dataset : str or Dataset, optional
        Instead of the dataset of the profile.
    profile : {"quick", "full"}
        Which budget of the recipe.
    seconds : float, optional
        Train that long instead of a number of steps; at least 1.
    seed : int
        Of weights, batches and noise.
    devices : int
        Share each batch among that many devices (JAX backend).
    resume : bool
        Go on where an interrupted run with the same arguments stopped. Needs ``output``.
    evaluate : bool
        Whether to measure the quality at the end.
    report : callable, optional
        Receives lines of text before training: number of images, parameters, estimates of memory and time. With it, a
        contact sheet of samples is written beside the output every minute, as ``STEM.samples.png``.
    callbacks : sequence of keras.callbacks.Callback
    **settings
        Overrides of the recipe: ``num_steps``, ``batch_size``, ``learning_rate``, or an option of its builder. See
        :meth:`imggen_lib.recipes.Recipe.override`.

    Returns
    -------
    Run

    Raises
    ------
    ValueError
        If an argument is out of range, a name is unknown, the dataset lacks the labels that the recipe needs, or ``resume``
        finds another run.
    FileNotFoundError
        If the folder of the output does not exist, or there is nothing to resume.
    OSError
        If the output cannot be written, or the disk has too little space. This is tested before training.
    Diverged
        If the loss became NaN or infinite.

    Examples
    --------
    >>> run("vae_2d", dataset="digits", num_steps=3, batch_size=8, latent_dim=3).record["settings"]
    {'num_steps': 3, 'batch_size': 8, 'latent_dim': 3}
    """
    recipe = (recipes.get(recipe) if isinstance(recipe, str) else recipe).override(**settings)
    budget = recipe.budget(profile)
    seed = validate.integer(seed, "seed", minimum=0)
    if seconds is not None:
        seconds = validate.real(seconds, "seconds", minimum=1)
    output = None if output is None else _checked_output(output)
    data = dataset if isinstance(dataset, datasets.Dataset) else datasets.load(dataset or budget.dataset)
    if recipe.condition not in (None, data.condition.kind):
        raise ValueError(
            f"{recipe.name} needs a dataset with {recipe.condition}, and {data.name} has {data.condition.kind}"
        )
    if len(data.x_train) < recipe.min_images:
        warnings.warn(
            f"there are {len(data.x_train):,} training images; {recipe.name} needs about {recipe.min_images:,}, or its "
            "samples will be copies of training images or will not resemble them",
            stacklevel=2,
        )
    # A learning rate that falls over a number of steps cannot be resumed as one that does not.
    num_steps = budget.num_steps if seconds is None else None
    started = {
        "model": recipe.name,
        "settings": json.loads(json.dumps(settings)),  # tuples become lists, as in the file
        "dataset": data.name,
        "image_shape": list(data.image_shape),
        "condition": data.condition.describe(),
        "profile": profile,
        "budget": "seconds" if num_steps is None else f"{num_steps} steps",
        "seed": seed,
    }
    checkpoint = None if output is None else output.with_suffix(".partial.keras")
    with backend.data_parallel(devices, recipe.batch_size):
        if resume:
            model, record = _resumed(output, checkpoint, started)
        else:
            model, record = _built(recipe, data, seed, num_steps), {**started, **_environment(recipe, devices)}
        if output is not None:
            _check_space(model, output)
        watching = list(callbacks)
        if report is not None and isinstance(model, GenerativeModel):
            for line in (str(estimate(model, data, batch_size=recipe.batch_size)), *model.notes):
                report(line)
            if output is not None:
                watching.append(SampleSheet(output.with_suffix(".samples.png")))
        finished = fit(
            model,
            data,
            record,
            num_steps=num_steps,
            seconds=seconds,
            batch_size=recipe.batch_size,
            seed=seed,
            checkpoint=checkpoint,
            callbacks=watching,
        )
    if finished:
        if checkpoint is not None:
            pretrained.save(model, checkpoint, record)  # before the evaluation, whose failure must not cost the training
        if evaluate:
            quality = evaluation.evaluate(model, data)
            record["quality"], record["measures"] = str(quality), quality.values
        if output is not None:
            pretrained.save(model, output, record)
            output.with_suffix(".partial.keras").unlink(missing_ok=True)
    return Run(model, record, data, finished)


def _checked_output(output: str | os.PathLike[str]) -> Path:
    output = Path(output)
    if output.suffix not in (".keras", ".npz"):
        raise ValueError(f"the output is {output}; expected a name that ends in .keras, or in .npz for the weights alone")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"the folder {output.parent} does not exist: create it, or choose another place")
    try:
        with tempfile.TemporaryFile(dir=output.parent):
            pass
    except OSError as error:
        raise OSError(f"nothing can be written into {output.parent} ({error.strerror}); choose another place") from None
    return output


def _check_space(model: keras.Model, output: Path) -> None:
    """Raise ``OSError`` if the disk has too little space for the checkpoint and the output."""
    weights, trainable = (sum(math.prod(w.shape) for w in group) for group in (model.weights, model.trainable_weights))
    # float32 weights and two moments of Adam, in a checkpoint, its successor while it is written, and the output.
    needed, free = 3 * 4 * (weights + 2 * trainable), shutil.disk_usage(output.parent).free
    if free < needed:
        raise OSError(f"{output.parent} has {free / 2**20:.1f} MB of free space and the run needs {needed / 2**20:.1f} MB")


def _built(recipe: recipes.Recipe, data: datasets.Dataset, seed: int, num_steps: int | None) -> keras.Model:
    """Build and compile the model of a recipe."""
    keras.utils.set_random_seed(seed)
    with backend.mixed_precision(recipe.mixed_precision):
        model = recipe.model(data.image_shape, data.condition.size, seed=seed)
    model.compile(optimizer=recipe.optimizer(num_steps))
    return model


def _environment(recipe: recipes.Recipe, devices: int) -> dict[str, Any]:
    """Return what a record says about machine and software, before the first step."""
    with backend.mixed_precision(recipe.mixed_precision):
        precision = keras.config.dtype_policy().name
    return {
        "batch_size": recipe.batch_size,
        "steps": 0,
        "seconds": 0.0,
        "started": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "software": f"Keras {keras.__version__} on {keras.backend.backend()}, Python {platform.python_version()}",
        "devices": devices,
        "precision": precision,
    }


def _resumed(output: Path | None, checkpoint: Path | None, started: dict[str, Any]) -> tuple[keras.Model, dict[str, Any]]:
    """Load an interrupted run, and check that it is the run that was asked for."""
    if output is None or checkpoint is None:
        raise ValueError("resume is True and output is None; give the output of the interrupted run")
    path = checkpoint if checkpoint.is_file() else output
    if path.suffix != ".keras" or not path.is_file():
        raise FileNotFoundError(f"there is nothing to resume: {checkpoint} does not exist; train without resume")
    record = pretrained.record(path)
    for key, value in started.items():
        if record.get(key) != value:
            raise ValueError(
                f"{path} was made with {key} {record.get(key)!r}, not {value!r}; resume with the arguments of that run"
            )
    return pretrained.load(path), record

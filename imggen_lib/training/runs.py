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

import imggen_lib
from imggen_lib import _validation as validate
from imggen_lib import backend, datasets, evaluation, pretrained, recipes
from imggen_lib.models import GenerativeModel
from imggen_lib.training import processes
from imggen_lib.training.callbacks import SampleSheet
from imggen_lib.training.estimates import estimate
from imggen_lib.training.loop import Batches, fit

__all__ = ["Run", "run"]


@dataclasses.dataclass(frozen=True)
class Run:
    """The result of a training run.

    Attributes
    ----------
    model : keras.Model
        With several processes, a copy on the devices of this process, without the optimizer.
    record : dict
        Recipe, settings, dataset, seed, steps, epochs, images seen, seconds without pauses, machine, software and, if
        finished, the measured quality. Records of version 0.1.0 lack epochs and images seen.
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
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    resume: bool = False,
    autoencoder: str | os.PathLike[str] | None = None,
    bfloat16: bool | None = None,
    evaluate: bool = True,
    report: Callable[[str], object] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **settings: Any,
) -> Run:
    """Train a model from a recipe. ``imggen train`` calls this function and does nothing else.

    During training the state is in ``STEM.partial.keras`` beside the output, written every 30 seconds; the output appears
    when it is complete.

    Parameters
    ----------
    recipe : str or Recipe
        A name in :func:`imggen_lib.recipes.names`, or a recipe of your own.
    output : path_like, optional
        A ``.keras`` or ``.npz`` file; see :mod:`imggen_lib.pretrained`. Without it nothing is written.
    dataset : str or Dataset, optional
        The data, instead of the dataset of the profile.
    profile : {"quick", "full"}
        Which budget of the recipe.
    seconds : float, optional
        Train for this time instead of a number of steps; at least 1.
    seed : int
        Of weights, batches and noise.
    devices : int
        Share each batch among that many devices (JAX backend); with several processes, of all processes together.
    coordinator, num_processes, process_id : str and int, optional
        To train in several processes, on one or several hosts (JAX backend): start the same run in each before anything is
        computed there, with ``HOST:PORT`` of process 0, their number, and the number of this one. Process 0 alone writes
        and reports. Without them, the environment variables ``KERAS_DISTRIBUTION_JOB_ADDRESSES``, ``..._NUM_PROCESSES`` and
        ``..._PROCESS_ID`` are used if they are set. After :func:`keras.distribution.initialize` they are not needed.
    resume : bool
        Continue an interrupted run with the same arguments. Needs ``output``. With several processes, process 0
        reads the file and sends it to the others.
    autoencoder : str or path_like, optional
        For a model of the codes of an autoencoder: a trained autoencoder, as :func:`imggen_lib.pretrained.load` takes it,
        whose weights the model starts with. They become part of the model's own file.
    bfloat16 : bool, optional
        Whether to compute in bfloat16. By default, if the recipe allows it and there is a GPU that supports it. With True
        also on a processor, which is faster only if it has AVX512-BF16 or AMX. See
        :func:`imggen_lib.backend.mixed_precision`.
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
        If an argument is out of range, a name is unknown, the dataset lacks the labels that the recipe needs, ``resume``
        finds another run, or the model has no autoencoder, or another one.
    FileNotFoundError
        If the folder of the output does not exist, or there is nothing to resume.
    OSError
        If the output cannot be written, or the disk has too little space. This is tested before training.
    TimeoutError
        If another process does not connect within two minutes.
    ConnectionError
        If another process ends during the training.
    Diverged
        If the loss became NaN or infinite.

    Examples
    --------
    >>> run("vae_2d", dataset="digits", num_steps=3, batch_size=8, latent_dim=3, evaluate=False).record["settings"]
    {'num_steps': 3, 'batch_size': 8, 'latent_dim': 3}
    """
    recipe = (recipes.get(recipe) if isinstance(recipe, str) else recipe).override(**settings)
    budget = recipe.budget(profile)
    seed = validate.integer(seed, "seed", minimum=0)
    if seconds is not None:
        seconds = validate.real(seconds, "seconds", minimum=1)
    own = processes.place(coordinator, num_processes, process_id)
    first = (processes.index() if own is None else own.process_id) == 0
    if resume and output is None:
        raise ValueError("resume is True and output is None; give the output of the interrupted run")
    output = None if output is None else _checked_output(output) if first else Path(output)
    data = dataset if isinstance(dataset, datasets.Dataset) else datasets.load(dataset or budget.dataset)
    if recipe.condition not in (None, data.condition.kind):
        raise ValueError(
            f"{recipe.name} needs a dataset with {recipe.condition}, and {data.name} has {data.condition.kind}"
        )
    if first and len(data.x_train) < recipe.min_images:
        warnings.warn(
            f"there are {len(data.x_train):,} training images; {recipe.name} needs about {recipe.min_images:,}, or its "
            "samples will be copies of training images or will not resemble them",
            stacklevel=2,
        )
    allowed = recipe.mixed_precision if bfloat16 is None else bfloat16
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
        **({} if autoencoder is None else {"autoencoder": Path(autoencoder).name}),
    }
    checkpoint = None if output is None else output.with_suffix(".partial.keras")
    resumed = _resumable(output, checkpoint, started) if resume and first and output and checkpoint else None
    if own is not None:
        processes.join(own)
    with processes.lost_process():
        batches = Batches(data.x_train, data.y_train, batch_size=recipe.batch_size, seed=seed, stop=1)
        arguments = [started, recipe.batch_size, seconds, devices, resume, bfloat16, evaluate, imggen_lib.__version__]
        processes.check_same(arguments, len(data.x_train), *batches[0])
        with backend.data_parallel(devices, recipe.batch_size):
            if resume:
                model, record = _load(processes.share_file(resumed))
            else:
                with backend.mixed_precision(allowed, everywhere=bfloat16 is True):
                    model, record = _built(recipe, data, seed, num_steps), {**started, **_environment(recipe, devices)}
                if autoencoder is not None:
                    _set_autoencoder(model, autoencoder)
            if output is not None and first:
                _check_space(model, output)
            watching = list(callbacks)
            if report is not None and first and isinstance(model, GenerativeModel):
                with processes.alone():
                    expected = str(estimate(model, data, batch_size=recipe.batch_size))
                for line in (expected, *model.notes):
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
        trained = processes.local_copy(model)
        if finished:
            if checkpoint is not None and first:
                # Before the evaluation, so that the trained model is not lost if the evaluation fails.
                pretrained.save(model, checkpoint, record)
            if evaluate:
                # Every process evaluates, because the others would only wait for process 0.
                with warnings.catch_warnings():
                    if not first:
                        warnings.simplefilter("ignore")  # process 0 shows them
                    quality = evaluation.evaluate(trained, data)
                record["quality"], record["measures"] = str(quality), quality.values
            if output is not None and first:
                pretrained.save(model, output, record)
                output.with_suffix(".partial.keras").unlink(missing_ok=True)
    return Run(trained, record, data, finished)


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
    model = recipe.model(data.image_shape, data.condition.size, seed=seed, num_steps=num_steps)
    model.compile(optimizer=recipe.optimizer(num_steps))
    return model


def _set_autoencoder(model: keras.Model, trained: str | os.PathLike[str]) -> None:
    """Give the autoencoder in a model the weights of a trained one."""
    own, other = getattr(model, "autoencoder", None), pretrained.load(trained)
    if own is None:
        raise ValueError(f"autoencoder is {os.fspath(trained)!r} and {type(model).__name__} has none: leave it out")
    shapes, found = ([tuple(weight.shape) for weight in one.weights] for one in (own, other))
    if type(own) is not type(other) or shapes != found:
        raise ValueError(
            f"{os.fspath(trained)} is a {type(other).__name__} that does not fit; expected the {type(own).__name__} of "
            "this model: train both for images of one size, with the same options"
        )
    own.set_weights(other.get_weights())


def _environment(recipe: recipes.Recipe, devices: int) -> dict[str, Any]:
    """Return the facts about machine and software for a record, before the first step."""
    return {
        "batch_size": recipe.batch_size,
        "steps": 0,
        "epochs": 0.0,
        "images_seen": 0,
        "seconds": 0.0,
        "started": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "software": f"Keras {keras.__version__} on {keras.backend.backend()}, Python {platform.python_version()}",
        "devices": devices,
        "processes": processes.count(),
        "precision": keras.config.dtype_policy().name,
    }


def _resumable(output: Path, checkpoint: Path, started: dict[str, Any]) -> Path:
    """Return the file of an interrupted run, and check that it is the requested run."""
    path = checkpoint if checkpoint.is_file() else output
    if path.suffix != ".keras" or not path.is_file():
        raise FileNotFoundError(f"there is nothing to resume: {checkpoint} does not exist; train without resume")
    record = pretrained.record(path)
    for key, value in started.items():
        if record.get(key) != value:
            raise ValueError(
                f"{path} was made with {key} {record.get(key)!r}, not {value!r}; resume with the arguments of that run"
            )
    return path


def _load(path: Path) -> tuple[keras.Model, dict[str, Any]]:
    """Load an interrupted run, and delete its file if it is a copy that process 0 has sent."""
    model, record = pretrained.load(path), pretrained.record(path)
    if processes.index():
        path.unlink()
    return model, record

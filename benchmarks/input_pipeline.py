"""Time that a training step waits for its batch: ``python benchmarks/input_pipeline.py``, two minutes.

A model with a single weight is trained, so that a step consists almost entirely of waiting: with the library's batches,
with the same arrays given to Keras directly, and with TensorFlow's pipeline as its tutorials write it. They are trained in
turn (``speed.py``), and wall time is measured, because a pipeline may use threads of its own. The table also gives the
share of this time in a step of real models. Writes ``input_pipeline.md``; on a backend other than
TensorFlow it only prints.
"""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import speed
import tensorflow as tf
from keras import ops

import imggen_lib
from imggen_lib import datasets, recipes, training

TABLE = Path(__file__).with_suffix(".md")
REPEATS, STEPS, BATCH_SIZE = 9, 90, 64
#: For each dataset, the recipes with the shortest and the longest step.
MODELS = {"fashion_mnist": ("vae_2d", "diffusion"), "marbles": ("marble_gan",)}


class OneWeight(keras.Model):
    """A model whose step computes almost nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = self.add_weight(shape=())
        self.built = True

    def call(self, images: Any) -> Any:
        """Return the images."""
        return images

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Return a loss that depends on the images and on the weight."""
        return ops.square(ops.mean(x) - self.weight)


def library_batches(dataset: datasets.Dataset) -> training.Batches:
    """Return the batches that ``training.fit`` uses."""
    return training.Batches(dataset.x_train, dataset.y_train, batch_size=BATCH_SIZE, seed=0, stop=STEPS)


def tensorflow_pipeline(dataset: datasets.Dataset) -> tf.data.Dataset:
    """Return the pipeline of TensorFlow's tutorials: all images shuffled, batched and prefetched."""
    rows = tf.data.Dataset.from_tensor_slices((dataset.x_train, dataset.y_train))
    rows = rows.shuffle(len(dataset.x_train), seed=0).repeat().batch(BATCH_SIZE, drop_remainder=True)
    return rows.prefetch(tf.data.AUTOTUNE)


def main() -> None:
    """Measure both datasets, then write the table."""
    imggen_lib.configure_process()
    backend = keras.backend.backend()
    lines = [
        f"Time that a step waits for its {BATCH_SIZE} images: milliseconds of wall time for each of {STEPS} steps of a",
        f"model with one weight, median of {REPEATS} trainings each, made in turn. The ratio is this library's time over",
        f"the other's: median and, in brackets, interquartile range of {REPEATS} ratios; below 1 this library is faster.",
        f"The last column is the share of this time in a step of real models. {platform.machine()}, {os.cpu_count()} cores",
        f"(Python {platform.python_version()}, Keras {keras.__version__} on {backend}).",
        "",
        "| images | this library, ms | tf.data, ms | ratio | arrays, ms | ratio | share of a step |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for name, models in MODELS.items():
        dataset = datasets.load(name)
        times = waiting_times(dataset).T
        ours, pipeline, arrays = np.median(times, axis=1)
        shares = ", ".join(f"`{model}` {ours / step_time(model, dataset):.1%}" for model in models)
        size = " x ".join(map(str, dataset.image_shape))
        lines.append(
            f"| `{name}`, {size} | {ours:.2f} | {pipeline:.2f} | {speed.ratio(times[0], times[1])} | {arrays:.2f} "
            f"| {speed.ratio(times[0], times[2])} | {shares} |"
        )
        print(lines[-1], flush=True)
    if backend == "tensorflow":
        TABLE.write_text("\n".join(lines) + "\n")


def waiting_times(dataset: datasets.Dataset) -> speed.Array:
    """Return milliseconds per step, a row for each repetition: this library, TensorFlow's pipeline, arrays."""
    rows = STEPS * BATCH_SIZE
    if len(dataset.x_train) < rows:
        raise ValueError(f"{dataset.name} has {len(dataset.x_train)} images; expected {rows} for one pass over arrays")
    arrays = dataset.x_train[:rows], dataset.y_train[:rows]
    models = [OneWeight() for _ in range(3)]
    for model in models:
        model.compile(optimizer=keras.optimizers.SGD(1e-3))
    trainings = (
        lambda: models[0].fit(library_batches(dataset), verbose=0),
        lambda: models[1].fit(tensorflow_pipeline(dataset), steps_per_epoch=STEPS, verbose=0),
        lambda: models[2].fit(*arrays, batch_size=BATCH_SIZE, verbose=0),
    )
    return 1000 * speed.in_turn(trainings, REPEATS, clock=time.perf_counter) / STEPS


def step_time(name: str, dataset: datasets.Dataset) -> float:
    """Return the milliseconds of one training step of a recipe's model, with the batch in memory."""
    recipe = recipes.get(name)
    model = recipe.model(dataset.image_shape, dataset.condition.size, seed=0)
    model.compile(optimizer=recipe.optimizer())
    images, labels = dataset.x_train[:BATCH_SIZE], dataset.y_train[:BATCH_SIZE]
    model.fit(images, labels, batch_size=BATCH_SIZE, verbose=0)
    times = speed.in_turn([lambda: model.train_on_batch(images, labels)], 12, clock=time.perf_counter)
    return float(1000 * np.median(times))


if __name__ == "__main__":
    main()

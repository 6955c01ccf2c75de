"""How long a training waits for its pictures: ``python benchmarks/input_pipeline.py``, two minutes.

A model of a single weight is trained, so that a step is nearly all waiting: for our row of batches, for the same arrays
handed to Keras as they are, and for TensorFlow's own pipeline as its tutorials write it. They are trained in turn, in one
run (``speed.py``), and the time is the clock's, since a pipeline may work in threads of its own. Beside it stands what
share of a step of real models the waiting is. Written to ``input_pipeline.md``; on another backend it is only printed.
"""

import os
import platform
import time
from pathlib import Path

import keras
import numpy as np
import speed
import tensorflow as tf
from keras import ops

from imggen_lib import datasets, pretrained, training

TABLE = Path(__file__).with_suffix(".md")
REPEATS, STEPS, BATCH = 9, 90, 64
# Of each set, the recipe whose step takes the shortest and the one whose step takes the longest.
MODELS = {"fashion_mnist": ("vae_2d", "diffusion"), "marbles": ("marble_gan",)}


class OneWeight(keras.Model):
    """Looks at every picture and computes next to nothing."""

    def __init__(self):
        super().__init__()
        self.weight = self.add_weight(shape=())
        self.built = True

    def call(self, images):
        """Return the pictures."""
        return images

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Return a number that depends on the pictures and on the weight."""
        return ops.square(ops.mean(x) - self.weight)


def ours(dataset):
    """The library's row of batches."""
    return training.Batches(dataset.x_train, dataset.y_train, batch_size=BATCH, seed=0, stop=STEPS)


def tensorflows(dataset):
    """As TensorFlow's tutorials do: all pictures shuffled, in batches, the next one made ready meanwhile."""
    rows = tf.data.Dataset.from_tensor_slices((dataset.x_train, dataset.y_train))
    rows = rows.shuffle(len(dataset.x_train), seed=0).repeat().batch(BATCH, drop_remainder=True)
    return rows.prefetch(tf.data.AUTOTUNE)


def main():
    """Measure both sets of pictures, then write the table."""
    backend = keras.backend.backend()
    lines = [
        f"What a step waits for its {BATCH} pictures: milliseconds of the clock for each of {STEPS} steps of a model with",
        f"one weight, median of {REPEATS} trainings each, made in turn. The ratio is ours over theirs, its median and, in",
        f"brackets, the middle half of the {REPEATS} ratios: below 1, ours is faster. The last column says what share our",
        f"wait would be of a step of real models on this machine. {platform.machine()}, {os.cpu_count()} cores, Python",
        f"{platform.python_version()}, Keras {keras.__version__} on {backend}.",
        "",
        "| pictures | ours, ms | tf.data, ms | ratio | arrays, ms | ratio | share of a step |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for name, models in MODELS.items():
        dataset = datasets.load(name)
        waits = measure(dataset).T
        mine, tfs, arrays = np.median(waits, axis=1)
        shares = ", ".join(f"`{model}` {mine / step(model, dataset):.1%}" for model in models)
        size = " x ".join(map(str, dataset.image_shape))
        lines.append(
            f"| `{name}`, {size} | {mine:.2f} | {tfs:.2f} | {speed.ratio(waits[0], waits[1])} | {arrays:.2f} "
            f"| {speed.ratio(waits[0], waits[2])} | {shares} |"
        )
        print(lines[-1], flush=True)
    if backend == "tensorflow":
        TABLE.write_text("\n".join(lines) + "\n")


def measure(dataset):
    """Return milliseconds a step, a row for each repetition: ours, TensorFlow's, arrays."""
    rows = STEPS * BATCH
    if len(dataset.x_train) < rows:
        raise ValueError(f"{dataset.name} has {len(dataset.x_train)} pictures; expected {rows} for one pass over arrays")
    arrays = dataset.x_train[:rows], dataset.y_train[:rows]
    models = [OneWeight() for _ in range(3)]
    for model in models:
        model.compile(optimizer=keras.optimizers.SGD(1e-3))

    ways = (
        lambda: models[0].fit(ours(dataset), verbose=0),
        lambda: models[1].fit(tensorflows(dataset), steps_per_epoch=STEPS, verbose=0),
        lambda: models[2].fit(*arrays, batch_size=BATCH, verbose=0),
    )
    return 1000 * speed.in_turn(ways, REPEATS, clock=time.perf_counter) / STEPS


def step(name, dataset):
    """Return milliseconds of one training step of a model of the catalog, pictures already at hand."""
    recipe = recipes.get(name)
    model = recipe.build(dataset.image_shape, len(dataset.class_names), seed=0)
    model.compile(optimizer=recipe.optimizer())
    pictures, labels = dataset.x_train[:BATCH], dataset.y_train[:BATCH]
    model.fit(pictures, labels, batch_size=BATCH, verbose=0)
    return 1000 * np.median(speed.in_turn([lambda: model.train_on_batch(pictures, labels)], 12, clock=time.perf_counter))


if __name__ == "__main__":
    main()

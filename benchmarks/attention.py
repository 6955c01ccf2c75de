"""Attention and convolution after the same seconds of training: a minute each, three seeds. Takes seven minutes.

Two classifiers of clothes (28x28 pixels) differ in the network that computes the features: strided convolutions with batch
normalisation, or a transformer over 49 patches of 4x4 pixels. The share of test images that are classified wrongly is
measured. See ``race.py`` for how time is counted. Writes the table beside this file.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import race
from keras import layers

from imggen_lib import datasets, models
from imggen_lib.models.transformer import Positions, TransformerBlock, image_to_patches

TABLE = Path(__file__).with_suffix(".md")
SEEDS = (0, 1, 2)
POINTS = (15, 30, 60)
SHAPE, BATCH_SIZE, FEATURE_DIM = (28, 28, 1), 64, 64


def transformer_features(*, patch_size: int = 4, width: int = 64, depth: int = 3, heads: int = 4) -> keras.Model:
    """Build a transformer from an image to the mean of its normalised tokens, then a dense layer to the features."""
    image = keras.Input(SHAPE, name="image")
    tokens = Positions()(layers.Dense(width)(image_to_patches(image, patch_size)))
    for _ in range(depth):
        tokens = TransformerBlock(heads, expansion=2)(tokens)
    mean = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(tokens))
    return keras.Model(image, layers.Dense(FEATURE_DIM, activation="relu")(mean), name="features")


#: For each network a function that builds it, its learning rate, and its label. Of the rates 0.001, 0.002 and 0.004, these
#: had the smallest error in short trainings (300 steps of the transformer, 800 of the convolutions) with another seed.
NETWORKS: dict[str, tuple[Callable[[], keras.Model], float, str]] = {
    "convolution": (functools.partial(models.image_features, SHAPE, FEATURE_DIM), 4e-3, "convolutions"),
    "attention": (transformer_features, 1e-3, "transformer, patches of 4x4"),
}


class ClassifierRunner(race.RecipeRunner):
    """A classifier in training. Its learning rate falls over ``num_steps``, if given."""

    def __init__(self, key: str, seed: int, num_steps: int | None = None) -> None:
        build, rate, _ = NETWORKS[key]
        self.seed, self.batch_size, self.dataset = seed, BATCH_SIZE, datasets.load(race.DATASET)
        keras.utils.set_random_seed(seed)
        self.model = models.Classifier(build(), self.dataset.condition.size)
        schedule = keras.optimizers.schedules.CosineDecay(rate, num_steps) if num_steps else rate
        self.model.compile(optimizer=keras.optimizers.Adam(schedule))
        self.record: dict[str, Any] = {"steps": 0, "seconds": 0.0}


def error(runner: ClassifierRunner, n: int | None = None) -> float:
    """Return the percentage of the first n test images, by default all, that are classified wrongly."""
    images, labels = runner.dataset.x_test[:n], runner.dataset.y_test[:n]
    return 100 * float(np.mean(runner.model.logits(images).argmax(axis=1) != labels))


def entries() -> dict[str, race.Entry]:
    """Return an entry for each network."""
    return {
        key: race.Entry(label, functools.partial(ClassifierRunner, key), seeds=SEEDS, seconds=POINTS[-1], scheduled=True)
        for key, (_, _, label) in NETWORKS.items()
    }


def main() -> None:
    """Run the race and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trial", action="store_true", help=race.TRIAL_HELP)
    trial = parser.parse_args().trial
    n = 200 if trial else None
    results = race.run("attention", entries(), lambda runner: error(runner, n), POINTS, trial=trial)
    path = race.RESULTS / "trial" / TABLE.name if trial else TABLE
    write(path, results, len(datasets.load(race.DATASET).x_test[:n]), race.TRIAL_POINTS if trial else POINTS)


def write(path: Path, results: dict[str, Any], n: int, points: tuple[int, ...]) -> None:
    """Write the results, percentages of n test images, as a Markdown table."""
    result = next(iter(results.values()))
    count = len(result["curves"])
    weights = [f"{label}: {build().count_params():,}" for build, _, label in NETWORKS.values()]
    seeds = f"median (minimum to maximum) of {count} seeds, chosen beforehand" if count > 1 else "one seed"
    steps = [f"{NETWORKS[key][2]}: {1000 * each['seconds_per_step']:.1f} ms" for key, each in results.items()]
    path.write_text(
        f"Percentage of {n:,} test images of clothes that are classified wrongly, over seconds of training on "
        f"{result['machine']}: {seeds}. Each network is trained once for each seed, with a learning rate that falls over "
        "the whole time. Time is the number of steps times the seconds per step, which were measured in turn. Time per "
        f"step: {'; '.join(steps)}. Weights: {'; '.join(weights)}. Commit {result['commit']}.\n\n"
        f"{race.table(results, entries(), points)}"
    )


if __name__ == "__main__":
    main()

"""Races between small models of marbles, for comparisons that fit into a few minutes: ``tokens.py`` and ``latent.py``.

The images are those of the dataset ``marbles``, averaged to fewer pixels. All models are unconditional and are trained with
the same batches. The Fréchet distance is computed in image statistics, which need no trained classifier. See ``race.py``
for how time is counted.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import race
from numpy.typing import NDArray

from imggen_lib import datasets, metrics, models
from imggen_lib.descriptors import image_statistics

SEEDS = (0, 1, 2)
BATCH_SIZE = 32
#: Momentum of the averages of weights: a memory of 50 steps, because the trainings are short.
EMA_MOMENTUM = 0.98


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A model in a race: its label, a function from a seed to the model, and its learning rate at the start."""

    label: str
    build: Callable[[int], models.GenerativeModel]
    learning_rate: float


@functools.cache
def marbles(size: int) -> datasets.Dataset:
    """Return the dataset of marbles with images of ``size`` x ``size`` pixels, a divisor of 64, without labels."""
    dataset, factor = datasets.load("marbles"), 64 // size

    def shrink(images: NDArray[np.float32]) -> NDArray[np.float32]:
        return images.reshape(-1, size, factor, size, factor, 3).mean(axis=(2, 4))

    return dataclasses.replace(
        dataset,
        name=f"marbles_{size}",
        x_train=shrink(dataset.x_train),
        x_test=shrink(dataset.x_test),
        condition=datasets.Condition("none"),
    )


class MarbleRunner(race.RecipeRunner):
    """A contestant in training. Its learning rate falls over ``num_steps``, if given."""

    def __init__(self, contestant: Contestant, size: int, seed: int, num_steps: int | None = None) -> None:
        self.seed, self.batch_size, self.dataset = seed, BATCH_SIZE, marbles(size)
        keras.utils.set_random_seed(seed)
        self.model = contestant.build(seed)
        rate = contestant.learning_rate
        schedule = keras.optimizers.schedules.CosineDecay(rate, num_steps) if num_steps else rate
        self.model.compile(optimizer=keras.optimizers.Adam(schedule))
        self.record: dict[str, Any] = {"steps": 0, "seconds": 0.0}


def distance(images: NDArray[np.floating], size: int) -> float:
    """Return the Fréchet distance of images to the test images, in image statistics."""
    return metrics.frechet_distance(image_statistics(images), image_statistics(marbles(size).x_test))


def entries(contestants: Mapping[str, Contestant], size: int, seconds: int) -> dict[str, race.Entry]:
    """Return an entry for each contestant."""
    return {
        key: race.Entry(contestant.label, functools.partial(MarbleRunner, contestant, size), SEEDS, seconds, scheduled=True)
        for key, contestant in contestants.items()
    }


def main(
    table: Path,
    description: str,
    contestants: Mapping[str, Contestant],
    *,
    size: int,
    points: tuple[int, ...],
    num_images: int,
) -> None:
    """Run a race from the command line and write its table.

    Parameters
    ----------
    table : pathlib.Path
        The Markdown file. Its stem is the name of the race.
    description : str
        Of the command.
    contestants : mapping of str to Contestant
    size : int
        Height and width of the images.
    points : tuple of int
        Seconds of training after which quality is measured; the last is the budget.
    num_images : int
        Number of samples that a distance is computed from.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--trial", action="store_true", help=race.TRIAL_HELP)
    trial = parser.parse_args().trial
    n = race.TRIAL_IMAGES if trial else num_images
    runners = entries(contestants, size, points[-1])
    results = race.run(table.stem, runners, lambda runner: distance(runner.sample(n), size), points, trial=trial)
    images = marbles(size).x_train
    gaussian = models.GaussianImageModel().fit(images).sample(n, seed=0)
    baselines = {"a fitted Gaussian": distance(gaussian, size), "real images": distance(images[:n], size)}
    path = race.RESULTS / "trial" / table.name if trial else table
    write(path, results, runners, baselines, size=size, n=n, points=race.TRIAL_POINTS if trial else points)


def write(
    path: Path,
    results: dict[str, Any],
    runners: dict[str, race.Entry],
    baselines: dict[str, float],
    *,
    size: int,
    n: int,
    points: tuple[int, ...],
) -> None:
    """Write the results as a Markdown table. ``baselines`` are distances of n images of other origin, by name."""
    result = next(iter(results.values()))
    count = len(result["curves"])
    seeds = f"median (minimum to maximum) of {count} seeds, chosen beforehand" if count > 1 else "one seed"
    others = " and ".join(f"{value:.2g} for {name}" for name, value in baselines.items())
    path.write_text(
        f"Fréchet distance of {n:,} samples to {len(marbles(size).x_test):,} test images of marbles of {size}x{size} "
        f"pixels, in image statistics, over seconds of training on {result['machine']}: {seeds}. As a comparison, with as "
        f"many images it is {others}. Each model is trained once for each seed, with a learning rate that falls over the "
        "whole time. Time is the number of steps times the seconds per step, which were measured in turn. "
        f"Commit {result['commit']}.\n\n{race.table(results, runners, points)}"
    )

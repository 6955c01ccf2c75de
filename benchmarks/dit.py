"""A diffusion transformer and a U-Net after the same seconds of training, three seeds each. Takes five minutes.

Both are rectified flows that predict the image, of emoji of 16x16 pixels: one of six things in a random colour, size and
place. Each network is trained for thirty seconds, with a learning rate that falls to zero over as many steps as fit into
them. The Fréchet distance of 600 samples to 2,000 other images is measured in image statistics, which need no trained
classifier. See ``race.py`` for how time is counted. Writes the table beside this file.
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
from numpy.typing import NDArray

from imggen_lib import datasets, metrics, models
from imggen_lib.datasets import composed_emoji
from imggen_lib.descriptors import image_statistics

TABLE = Path(__file__).with_suffix(".md")
SHAPE = (16, 16, 3)
NOUNS = ("octopus", "apple", "heart", "fish", "star", "mushroom")
SEEDS = (0, 1, 2)
POINTS = (15, 30)
BATCH_SIZE, NUM_TRAIN, NUM_REFERENCE, NUM_IMAGES = 32, 8000, 2000, 600
#: For each network a function that builds it, its learning rate, and its label. The rates are the best of three trials.
NETWORKS: dict[str, tuple[Callable[[], keras.Model], float, str]] = {
    "unet": (functools.partial(models.image_unet, SHAPE, filters=(24, 48), blocks=1), 3e-3, "U-Net"),
    "dit": (
        functools.partial(models.image_transformer, SHAPE, patch_size=4, width=64, depth=3, heads=4),
        4e-3,
        "diffusion transformer, patches of 4x4",
    ),
}


def scenes(n: int, seed: int) -> NDArray[np.float32]:
    """Return n images ``(n, 16, 16, 3)`` of one emoji each."""
    rng = np.random.default_rng(seed)
    colours = tuple(composed_emoji.COLOURS)
    groups = [composed_emoji.Group(rng.choice(NOUNS), rng.choice(colours)) for _ in range(n)]
    found = [composed_emoji.Description(group, style="fluent") for group in groups]
    return composed_emoji.render(found, rng=rng, size=32).reshape(n, 16, 2, 16, 2, 3).mean(axis=(2, 4))


@functools.cache
def data() -> datasets.Dataset:
    """Return the images, without labels."""
    x_train, x_test = scenes(NUM_TRAIN, 0), scenes(NUM_REFERENCE, 1)
    labels = [np.zeros(len(x), np.int64) for x in (x_train, x_test)]
    return datasets.Dataset("emoji_16", x_train, labels[0], x_test, labels[1], datasets.Condition("none"))


class FlowRunner(race.RecipeRunner):
    """A rectified flow of :func:`data`. Its learning rate falls over ``num_steps``, if given."""

    def __init__(self, key: str, seed: int, num_steps: int | None = None) -> None:
        build, rate, _ = NETWORKS[key]
        self.seed, self.batch_size, self.dataset = seed, BATCH_SIZE, data()
        keras.utils.set_random_seed(seed)
        self.model = models.RectifiedFlow(
            build(), prediction="image", time_density="logit_normal", ema_momentum=0.99, seed=seed
        )
        schedule = keras.optimizers.schedules.CosineDecay(rate, num_steps) if num_steps else rate
        self.model.compile(optimizer=keras.optimizers.Adam(schedule))
        self.record: dict[str, Any] = {"steps": 0, "seconds": 0.0}


def distance(images: NDArray[np.float32]) -> float:
    """Return the Fréchet distance of images to the reference images, in image statistics."""
    return metrics.frechet_distance(image_statistics(images), image_statistics(data().x_test))


def entries() -> dict[str, race.Entry]:
    """Return an entry for each network."""
    return {
        key: race.Entry(label, functools.partial(FlowRunner, key), seeds=SEEDS, seconds=POINTS[-1], scheduled=True)
        for key, (_, _, label) in NETWORKS.items()
    }


def main() -> None:
    """Run the race and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trial", action="store_true", help=race.TRIAL_HELP)
    trial = parser.parse_args().trial
    n = 200 if trial else NUM_IMAGES
    results = race.run("dit", entries(), lambda runner: distance(runner.sample(n)), POINTS, trial=trial)
    path = race.RESULTS / "trial" / TABLE.name if trial else TABLE
    gaussian = models.GaussianImageModel().fit(data().x_train).sample(n, seed=0)
    baselines = {"fitted Gaussian": distance(gaussian), "real images": distance(data().x_train[:n])}
    write(path, results, baselines, n, race.TRIAL_POINTS if trial else POINTS)


def write(path: Path, results: dict[str, Any], baselines: dict[str, float], n: int, points: tuple[int, ...]) -> None:
    """Write the results as a Markdown table. ``baselines`` are the distances of n images that are not from a network."""
    result = next(iter(results.values()))
    count = len(result["curves"])
    weights = [f"{label}: {build().count_params():,}" for build, _, label in NETWORKS.values()]
    seeds = f"median (minimum to maximum) of {count} seeds, chosen beforehand" if count > 1 else "one seed"
    others = " and ".join(f"{value:.3g} for {name}" for name, value in baselines.items())
    text = (
        f"Fréchet distance of {n:,} samples to {NUM_REFERENCE:,} images of emoji (16x16 pixels), in image statistics, over "
        f"seconds of training on {result['machine']}: {seeds}. For as many images it is {others}. Each network is trained "
        "once for each seed, with a learning rate that falls over the whole time. Time is the number of steps times the "
        f"seconds per step, which were measured in turn. Weights: {'; '.join(weights)}. Commit {result['commit']}."
    )
    path.write_text(f"{text}\n\n{race.table(results, entries(), points)}")


if __name__ == "__main__":
    main()

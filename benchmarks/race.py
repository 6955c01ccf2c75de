"""Races between training recipes: a measure of quality after so many seconds of training, on one machine.

The time of a training is its number of steps times the seconds per step. The seconds per step are measured first, for all
recipes in turn, on an otherwise idle machine. The race itself can then be stopped, resumed or slowed down by other programs
without a change in its result. Results are kept in ``_build/benchmarks``; ``make clean`` removes them.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

import imggen_lib
from imggen_lib import datasets, evaluation, io, pretrained, recipes, training

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "_build" / "benchmarks"
DATASET = "fashion_mnist_full"
#: Number of samples that a Fréchet distance is computed from.
NUM_IMAGES = 5000
#: Rounds in which the time per step is measured, after one that compiles.
ROUNDS = 2
#: Seconds of training after which quality is measured.
POINTS = (15, 30, 60, 120, 300, 600, 900, 1200, 1500, 1800)


class Runner:
    """A training that can be advanced, sampled, saved and restored. Subclasses define ``batch_size``."""

    batch_size: int

    @property
    def steps(self) -> int:
        """The number of steps so far."""
        raise NotImplementedError

    def advance(self, num_steps: int) -> None:
        """Train for that many further steps."""
        raise NotImplementedError

    def save(self, path: Path) -> None:
        """Write the complete state to files whose names begin with ``path``."""
        raise NotImplementedError

    def restore(self, path: Path) -> None:
        """Load the state that :meth:`save` wrote."""
        raise NotImplementedError


class RecipeRunner(Runner):
    """A recipe of the library, trained as ``imggen train NAME --seconds`` trains it, by default on Fashion-MNIST."""

    def __init__(self, name: str, seed: int, dataset: datasets.Dataset | None = None) -> None:
        recipe = recipes.get(name)
        self.seed, self.batch_size, self.dataset = seed, recipe.batch_size, dataset or datasets.load(DATASET)
        keras.utils.set_random_seed(seed)
        self.model = recipe.model(self.dataset.image_shape, self.dataset.condition.size, seed=seed)
        self.model.compile(optimizer=recipe.optimizer())
        self.record: dict[str, Any] = {"steps": 0, "seconds": 0.0}

    @classmethod
    def of(cls, name: str) -> Callable[[int], RecipeRunner]:
        """Return a function from a seed to a runner of this recipe."""
        return lambda seed: cls(name, seed)

    @property
    def steps(self) -> int:
        return self.record["steps"]

    def advance(self, num_steps: int) -> None:
        finished = training.fit(
            self.model, self.dataset, self.record, num_steps=self.steps + num_steps, batch_size=self.batch_size,
            seed=self.seed, checkpoint=RESULTS / "ours.partial.keras",
        )  # fmt: skip
        if not finished:
            raise KeyboardInterrupt  # Ctrl-C ended the training early, so this point must not be measured

    def sample(self, n: int) -> NDArray[np.float32]:
        """Return n images."""
        return self.model.sample(n, seed=0)

    def save(self, path: Path) -> None:
        pretrained.save(self.model, f"{path}.keras", self.record)

    def restore(self, path: Path) -> None:
        self.model, self.record = pretrained.load(f"{path}.keras"), pretrained.record(f"{path}.keras")


class PeerRunner(Runner):
    """A published recipe: networks with an optimizer each, a compiled step, a TensorFlow checkpoint of all of them.

    Subclasses define ``networks``, ``optimizer`` and ``step(batch)``, which calls ``update`` for the networks it trains.
    """

    def __init__(self, seed: int, data: NDArray[np.float32]) -> None:
        keras.utils.set_random_seed(seed)
        self.seed, self.data, self.trained = seed, data, self.networks()
        self.optimizers = [self.optimizer() for _ in self.trained]
        for optimizer, network in zip(self.optimizers, self.trained, strict=True):
            optimizer.build(network.trainable_variables)
        self.done = tf.Variable(0, dtype=tf.int64)
        self.checkpoint = tf.train.Checkpoint(networks=list(self.trained), optimizers=self.optimizers, done=self.done)
        self.compiled = tf.function(self.step)

    def networks(self) -> tuple[keras.Model, ...]:
        """Build the networks that are trained."""
        raise NotImplementedError

    def optimizer(self) -> keras.optimizers.Optimizer:
        """Return a new optimizer."""
        raise NotImplementedError

    def step(self, batch: Any) -> None:
        """Train on one batch."""
        raise NotImplementedError

    @property
    def steps(self) -> int:
        return int(self.done)

    def advance(self, num_steps: int) -> None:
        start, stop = self.steps, self.steps + num_steps
        batches = training.Batches(self.data, self.data, batch_size=self.batch_size, seed=self.seed, start=start, stop=stop)
        for index in range(len(batches)):
            self.compiled(batches[index][0])
            self.done.assign_add(1)

    def update(self, tape: tf.GradientTape, loss: Any, *networks: keras.Model) -> None:
        """Update each network with its own optimizer."""
        variables = [network.trainable_variables for network in networks]
        for network, gradients in zip(networks, tape.gradient(loss, variables), strict=True):
            index = next(index for index, other in enumerate(self.trained) if other is network)
            self.optimizers[index].apply(gradients, network.trainable_variables)

    def save(self, path: Path) -> None:
        self.checkpoint.write(str(path))

    def restore(self, path: Path) -> None:
        self.checkpoint.read(str(path)).assert_consumed()


def generate(network: keras.Model, latent_dim: int, n: int = NUM_IMAGES) -> NDArray[np.float32]:
    """Return the output of a network for n latent vectors of seed 0."""
    latent = np.random.default_rng(0).standard_normal((n, latent_dim)).astype("float32")
    return network.predict(latent, batch_size=256, verbose=0)


def check_parameter_count(network: keras.Model, expected: int) -> None:
    """Raise ``AssertionError`` if a network differs in size from the published one."""
    if network.count_params() != expected:
        raise AssertionError(f"{network.name} has {network.count_params()} parameters; the published one has {expected}")


def frechet_distance(runner: Any, n: int = NUM_IMAGES) -> float:
    """Return the Fréchet distance of n samples of a runner to the test images."""
    return evaluation.score(runner.sample(n), datasets.load(DATASET)).distance


def real_data_distance(n: int = NUM_IMAGES) -> float:
    """Return the Fréchet distance of n training images to the test images: the baseline of :func:`frechet_distance`."""
    dataset = datasets.load(DATASET)
    return evaluation.score(dataset.x_train[:n], dataset).baseline


@dataclasses.dataclass(frozen=True)
class Entry:
    """An entry in a race.

    Attributes
    ----------
    label : str
        Its name in the table.
    build : callable
        From a seed to a :class:`Runner`.
    seeds : tuple of int
    seconds : float
        How long it is trained.
    steps_per_round : int
        Steps in each round in which the time per step is measured.
    """

    label: str
    build: Callable[[int], Any]
    seeds: tuple[int, ...]
    seconds: float
    steps_per_round: int


def run(
    name: str,
    entries: dict[str, Entry],
    measure: Callable[[Any], float] = frechet_distance,
    points: Sequence[int] = POINTS,
) -> dict[str, Any]:
    """Measure the time per step if it is not known, train what has not been trained, and return all results.

    Parameters
    ----------
    name : str
        The results are kept under this name.
    entries : dict of str to Entry
    measure : callable
        From a runner to the number that is compared.
    points : sequence of int
        Seconds of training after which it is measured. Points before the end of an entry's first step are left out.

    Returns
    -------
    dict
        For the key of each entry: ``seconds_per_step``, ``batch_size``, ``machine``, and ``curves``, which has for each
        seed a list of ``[seconds, steps, measured]``.
    """
    imggen_lib.configure_process()
    path = RESULTS / f"{name}.json"
    results = json.loads(path.read_text()) if path.is_file() else time_steps(entries)
    save_results(results, path)
    for key, entry in entries.items():
        for seed in entry.seeds:
            state = RESULTS / f"{name}-{key}-{seed}"
            race(entry, seed, results[key], state, measure, points, lambda: save_results(results, path))
    return results


def save_results(results: dict[str, Any], path: Path) -> None:
    """Write the results atomically."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    with io.atomic_write(path) as temporary:
        temporary.write_text(json.dumps(results, indent=2) + "\n")


def time_steps(entries: dict[str, Entry]) -> dict[str, Any]:
    """Return the median seconds per step of each entry. Entries take turns, so that disturbances affect all of them."""
    runners = {key: entry.build(0) for key, entry in entries.items()}
    rounds: dict[str, list[float]] = {key: [] for key in entries}
    for number in range(ROUNDS + 1):
        for key, runner in runners.items():
            start = time.perf_counter()
            runner.advance(entries[key].steps_per_round)
            if number > 0:  # the first round compiles
                rounds[key].append((time.perf_counter() - start) / entries[key].steps_per_round)
    return {
        key: {
            "seconds_per_step": statistics.median(rounds[key]),
            "rounds": rounds[key],
            "batch_size": runner.batch_size,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "curves": {},
        }
        for key, runner in runners.items()
    }


def race(
    entry: Entry,
    seed: int,
    result: dict[str, Any],
    state: Path,
    measure: Callable[[Any], float],
    points: Sequence[int],
    save: Callable[[], None],
) -> None:
    """Train one entry with one seed and measure it at each point. ``state`` is where it is saved for resuming."""
    curve = result["curves"].setdefault(str(seed), [])
    reached = [seconds for seconds in points if result["seconds_per_step"] <= seconds <= entry.seconds]
    if len(curve) == len(reached):
        return
    runner = entry.build(seed)
    if curve:
        runner.restore(state)
    for seconds in reached[len(curve) :]:
        runner.advance(round(seconds / result["seconds_per_step"]) - runner.steps)
        value = measure(runner)
        runner.save(state)
        curve.append([seconds, runner.steps, value])
        save()
        print(f"{entry.label}, seed {seed}: {seconds} s, {runner.steps} steps, {value:.3g}", flush=True)


def median_and_range(result: dict[str, Any], seconds: int) -> tuple[float, float, float] | None:
    """Return median, minimum and maximum over the seeds after so many seconds, or None if nothing was measured."""
    values = [value for curve in result["curves"].values() for point, _, value in curve if point == seconds]
    return (statistics.median(values), min(values), max(values)) if values else None


def three_digits(number: float) -> str:
    """Return a number with three significant digits, or all digits of its integer part."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def table(results: dict[str, Any], entries: dict[str, Entry], points: Sequence[int]) -> str:
    """Return a Markdown table with a row for each entry and a column for each point in seconds."""
    heads = [f"{seconds:,} s" if seconds < 600 else f"{seconds // 60} min" for seconds in points]
    lines = ["| | one step | " + " | ".join(heads) + " |", "|---|---:|" + "---:|" * len(points)]
    for key, entry in entries.items():
        result, cells = results[key], []
        for seconds in points:
            measured = median_and_range(result, seconds)
            if measured is None:
                cells.append("")
                continue
            median, low, high = map(three_digits, measured)
            cells.append(median if low == high else f"{median} ({low} to {high})")
        step = f"{result['batch_size']} images, {result['seconds_per_step']:.2f} s"
        lines.append(f"| {entry.label} | {step} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def plot(results: dict[str, Any], entries: dict[str, Entry], path: Path, points: Sequence[int], ylabel: str) -> None:
    """Plot the median over the seeds against seconds of training, with the range as a band; both axes logarithmic."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator

    from imggen_lib.notebook import figures

    figures.use_style()
    figure, axis = plt.subplots(figsize=(6.5, 3.6))
    for key, entry in entries.items():
        measured = {seconds: median_and_range(results[key], seconds) for seconds in points}
        rows = np.array([(seconds, *values) for seconds, values in measured.items() if values is not None])
        (line,) = axis.loglog(rows[:, 0], rows[:, 1], "o-", markersize=3, linewidth=1, label=entry.label.replace("`", ""))
        axis.fill_between(rows[:, 0], rows[:, 2], rows[:, 3], color=line.get_color(), alpha=0.2, linewidth=0)
    axis.set(xlabel="seconds of training", ylabel=ylabel)
    axis.set_xticks(points, [f"{point:,}" for point in points])
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter("{x:,g}")
    axis.minorticks_off()
    axis.legend()
    figure.savefig(path, metadata={"Software": None}, dpi=130, facecolor="white")
    plt.close(figure)

"""Races: how far each of several trainings has come after so many seconds, on one machine, in a run that can be stopped.

A training's clock is the number of its steps times the seconds of one step. These are measured first, for all runners in
turn, on the idle machine; the race itself may then be stopped, resumed or slowed down by other work without changing its
result.
What is done is kept in ``_build/benchmarks``; ``make clean`` forgets it.
"""

import dataclasses
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from imggen_lib import datasets, evaluation, io, pretrained, training

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "_build" / "benchmarks"
DATASET = "fashion_mnist_full"
IMAGES = 5000
ROUNDS = 2
POINTS = (15, 30, 60, 120, 300, 600, 900, 1200, 1500, 1800)


class Runner:
    """One training: what a race needs of it.

    Subclasses set ``batch_size`` and say how to go on, draw, keep and go back.
    """

    batch_size: int
    steps = 0

    def advance(self, steps):
        """Train for that many steps more."""
        raise NotImplementedError

    def save(self, path):
        """Write all that :meth:`restore` needs to files whose names begin with ``path``."""
        raise NotImplementedError

    def restore(self, path):
        """Go back to what was saved."""
        raise NotImplementedError


class Recipe(Runner):
    """A recipe of the catalog, as ``imggen train NAME --seconds`` runs it; on other data if they are given."""

    def __init__(self, name, seed, dataset=None, **changes):
        keras.utils.set_random_seed(seed)
        recipe = dataclasses.replace(recipes.get(name), **changes)
        self.seed, self.batch_size, self.data = seed, recipe.batch_size, dataset or datasets.load(DATASET)
        self.model = recipe.build(self.data.image_shape, len(self.data.class_names), seed)
        self.model.compile(optimizer=recipe.optimizer())
        self.record = {"steps": 0, "seconds": 0.0}

    @classmethod
    def of(cls, name, **options):
        """Return what builds a recipe's runner from a seed."""
        return lambda seed: cls(name, seed, **options)

    @property
    def steps(self):
        return self.record["steps"]

    def advance(self, steps):
        finished = training.train(
            self.model, self.data, self.record, steps=self.steps + steps, batch_size=self.batch_size, seed=self.seed,
            checkpoint=KEPT / "ours.partial.keras",
        )  # fmt: skip
        if not finished:
            raise KeyboardInterrupt  # the training ended well, but the race must not score half of it

    def sample(self, n):
        return self.model.sample(n, seed=0)

    def save(self, path):
        training.save(self.model, f"{path}.keras", self.record)

    def restore(self, path):
        self.model, self.record = training.load(f"{path}.keras")


class Peer(Runner):
    """What published recipes share: networks with an optimizer each, a compiled step, a checkpoint of all of it.

    Subclasses give ``networks``, ``optimizer`` and ``step(batch)``, which calls ``update`` for what it trains.
    """

    def __init__(self, seed, data):
        keras.utils.set_random_seed(seed)
        self.seed, self.data, self.trained = seed, data, self.networks()
        self.optimizers = [self.optimizer() for _ in self.trained]
        for optimizer, network in zip(self.optimizers, self.trained, strict=True):
            optimizer.build(network.trainable_variables)
        self.done = tf.Variable(0, dtype=tf.int64)
        self.checkpoint = tf.train.Checkpoint(networks=list(self.trained), optimizers=self.optimizers, done=self.done)
        self.compiled = tf.function(self.step)

    @property
    def steps(self):
        return int(self.done)

    def advance(self, steps):
        start, stop = self.steps, self.steps + steps
        batches = training.Batches(self.data, self.data, batch_size=self.batch_size, seed=self.seed, start=start, stop=stop)
        for index in range(len(batches)):
            self.compiled(batches[index][0])
            self.done.assign_add(1)

    def update(self, tape, loss, *networks):
        """One step of each network's own optimizer."""
        variables = [network.trainable_variables for network in networks]
        for network, gradients in zip(networks, tape.gradient(loss, variables), strict=True):
            number = next(number for number, other in enumerate(self.trained) if other is network)
            self.optimizers[number].apply(gradients, network.trainable_variables)

    def save(self, path):
        self.checkpoint.write(str(path))

    def restore(self, path):
        self.checkpoint.read(str(path)).assert_consumed()


def drawn(network, latent_dim, n=IMAGES):
    """Return what a network draws from n latent vectors of seed 0."""
    latent = np.random.default_rng(0).standard_normal((n, latent_dim)).astype("float32")
    return network.predict(latent, batch_size=256, verbose=0)


def expect_parameters(network, count):
    """A slip in writing a network anew from its published figures would show here."""
    if network.count_params() != count:
        raise AssertionError(f"{network.name} has {network.count_params()} parameters; its page says {count}")


def frechet(runner, images=IMAGES):
    """Return the Fréchet distance of what a runner draws, and the same as a multiple of the floor."""
    score = evaluation.score(runner.sample(images), datasets.load(DATASET))
    return score.distance, score.multiple


@dataclasses.dataclass(frozen=True)
class Entry:
    """A runner in a race: its name in the table, how it is built from a seed, its seeds, and how many seconds it runs.

    ``timed`` is how many steps make a round when the time of a step is measured.
    """

    label: str
    build: Callable
    seeds: tuple
    seconds: float
    timed: int


def run(name, entries, measure=frechet, points=POINTS):
    """Measure the time of a step if it is not known, run what has not been run, and return all results.

    Parameters
    ----------
    name : str
        Of the race: what is done is kept under it.
    entries : dict of str to Entry
    measure : callable
        Takes a runner, returns numbers of which the last is compared.
    points : sequence of int
        The seconds after which it is measured.

    Returns
    -------
    dict
        From each entry's key to ``seconds_per_step``, ``batch_size`` and ``curves``: from each seed to rows of seconds,
        steps and what was measured.
    """
    path = KEPT / f"{name}.json"
    results = json.loads(path.read_text()) if path.is_file() else time_steps(entries)
    keep(results, path)
    for key, entry in entries.items():
        for seed in entry.seeds:
            race(entry, seed, results[key], KEPT / f"{name}-{key}-{seed}", measure, points, lambda: keep(results, path))
    return results


def keep(results, path):
    """Write the results, whole or not at all."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with io.atomic_write(path) as temporary:
        temporary.write_text(json.dumps(results, indent=2) + "\n")


def time_steps(entries):
    """Return for each entry the median seconds of a step over rounds in which all take turns, so that none has luck."""
    runners = {key: entry.build(0) for key, entry in entries.items()}
    rounds = {key: [] for key in entries}
    for number in range(ROUNDS + 1):
        for key, runner in runners.items():
            began = time.perf_counter()
            runner.advance(entries[key].timed)
            if number > 0:  # the first one compiles
                rounds[key].append((time.perf_counter() - began) / entries[key].timed)
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


def race(entry, seed, result, path, measure, points, keep_results):
    """Run one entry from one seed to the end of its time, scoring it on the way."""
    curve = result["curves"].setdefault(str(seed), [])
    points = [seconds for seconds in points if seconds <= entry.seconds][len(curve) :]
    if not points:
        return
    runner = entry.build(seed)
    if curve:
        runner.restore(path)
    for seconds in points:
        runner.advance(max(round(seconds / result["seconds_per_step"]), 1) - runner.steps)
        found = measure(runner)
        runner.save(path)
        curve.append([seconds, runner.steps, *found])
        keep_results()
        print(f"{entry.label}, seed {seed}: {seconds} s, {runner.steps} steps, {found[-1]:.3g}", flush=True)


def pseudo_inverse(result, seconds):
    """Return the median, smallest and largest of what was measured over the seeds, at a number of seconds, or None."""
    values = sorted(row[-1] for curve in result["curves"].values() for row in curve if row[0] == seconds)
    return (statistics.median(values), values[0], values[-1]) if values else None


def show(number):
    """Return a number with three digits that mean something."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def table(results, entries, points):
    """Return a Markdown table: one row for each entry, one column for each of the points in seconds."""
    heads = [f"{seconds:,} s" if seconds < 600 else f"{seconds // 60} min" for seconds in points]
    lines = ["| | a step | " + " | ".join(heads) + " |", "|---|---:|" + "---:|" * len(points)]
    for key, entry in entries.items():
        result, cells = results[key], []
        for seconds in points:
            found = spread(result, seconds)
            if found is None:
                cells.append("")
                continue
            middle, low, high = found
            cells.append(show(middle) if low == high else f"{show(middle)} ({show(low)} to {show(high)})")
        step = f"{result['batch_size']} pictures, {result['seconds_per_step']:.2f} s"
        lines.append(f"| {entry.label} | {step} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def plot(results, entries, path, points, label="multiple of the floor"):
    """Draw every curve: what was measured over seconds of training, both on logarithmic axes, with ticks at the points."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator

    from imggen_lib.notebook import figures

    notebook.setup()
    figure, axis = plt.subplots(figsize=(6.5, 3.6))
    for number, (key, entry) in enumerate(entries.items()):
        curves = [curve for curve in results[key]["curves"].values() if curve]
        for curve in curves:
            seconds, multiples = [row[0] for row in curve], [row[-1] for row in curve]
            (line,) = axis.loglog(seconds, multiples, "o-", color=f"C{number}", markersize=3, linewidth=1)
            line.set_label(entry.label.replace("`", "") if curve is curves[0] else None)
    axis.set(xlabel="seconds of training", ylabel=label)
    axis.set_xticks(points, [f"{point:,}" for point in points])
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter("{x:,g}")
    axis.minorticks_off()
    axis.legend()
    figure.savefig(path, metadata={"Software": None}, dpi=130, facecolor="white")
    plt.close(figure)

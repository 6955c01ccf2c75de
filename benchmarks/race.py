"""Races between training recipes: a measure of quality after so many seconds of training, on one machine.

The time of a training is its number of steps times the seconds per step. The seconds per step are measured first, for all
recipes in turn, on an otherwise idle machine; compiling is not counted. The race itself can then be stopped, resumed or
slowed down by other programs without a change in its result. Results are kept in ``_build/benchmarks``; ``make clean``
removes them.

A recipe of this library is trained in one of two ways. By default its learning rate is constant, as with
``imggen train NAME --seconds``: the training can be measured at any time. If its entry is ``scheduled``, the seconds are
converted to a number of steps, and the learning rate falls over these steps, as with ``imggen train NAME --num-steps``.
That is how a recipe is meant to be trained for a given time, so comparisons at equal time use it. Published recipes keep
the learning rates that they were published with.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
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
#: Rounds in which the time per step is measured, and how many seconds each lasts at least.
ROUNDS, ROUND_SECONDS = 3, 5.0
#: Samples and points in seconds of a trial, in which a step counts as half a second: it shows that a race runs to its end.
TRIAL_IMAGES, TRIAL_POINTS = 50, (1, 2)
TRIAL_HELP = "test the script with a few steps and few images; writes into _build/benchmarks/trial"
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
    """A recipe of the library, by default on Fashion-MNIST. Its learning rate falls over ``num_steps``, if given."""

    def __init__(
        self, name: str, seed: int, dataset: datasets.Dataset | None = None, *, num_steps: int | None = None
    ) -> None:
        recipe = recipes.get(name)
        self.seed, self.batch_size, self.dataset = seed, recipe.batch_size, dataset or datasets.load(DATASET)
        keras.utils.set_random_seed(seed)
        self.model = recipe.model(self.dataset.image_shape, self.dataset.condition.size, seed=seed, num_steps=num_steps)
        self.model.compile(optimizer=recipe.optimizer(num_steps))
        self.record: dict[str, Any] = {"steps": 0, "seconds": 0.0}

    @classmethod
    def of(cls, name: str) -> Callable[..., RecipeRunner]:
        """Return a function from a seed, and optionally a number of steps, to a runner of this recipe."""
        return lambda seed, num_steps=None: cls(name, seed, num_steps=num_steps)

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
        From a seed to a :class:`Runner`. If the entry is scheduled, also from a number of steps.
    seeds : tuple of int
    seconds : float
        How long it is trained.
    scheduled : bool
        Whether the learning rate falls over these seconds.
    points : tuple of int, optional
        Seconds after which it is measured, if not those of the race.
    """

    label: str
    build: Callable[..., Any]
    seeds: tuple[int, ...]
    seconds: float
    scheduled: bool = False
    points: tuple[int, ...] | None = None

    def runner(self, seed: int, seconds_per_step: float) -> Any:
        """Return a runner for the seconds of this entry."""
        if not self.scheduled:
            return self.build(seed)
        return self.build(seed, max(1, round(self.seconds / seconds_per_step)))


def budgets(name: str, seeds: Sequence[int], points: Sequence[int]) -> dict[str, Entry]:
    """Return an entry of a recipe for each budget in seconds: a training of its own, whose learning rate falls over it."""
    build = RecipeRunner.of(name)
    return {
        f"{name}-{point}s": Entry(
            f"`{name}` for {point} s", build, tuple(seeds), seconds=point, scheduled=True, points=(point,)
        )
        for point in points
    }


def run(
    name: str,
    entries: dict[str, Entry],
    measure: Callable[[Any], float] = frechet_distance,
    points: Sequence[int] = POINTS,
    *,
    stored: Path | None = None,
    trial: bool = False,
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
    stored : Path, optional
        The file of the results. By default it has the given name and is in ``RESULTS``.
    trial : bool
        Train one seed of each entry for four steps, measured after two and four, without timing, and keep the results
        apart.

    Returns
    -------
    dict
        For the key of each entry: ``seconds_per_step``, ``batch_size``, ``conditional`` (on the class), ``machine``,
        ``commit``, and ``curves``, which has for each seed a list of ``[seconds, steps, measured]``.
    """
    imggen_lib.configure_process()
    folder = RESULTS / "trial" if trial else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json" if stored is None or trial else stored
    if trial:
        path.unlink(missing_ok=True)
        points, entries = TRIAL_POINTS, trial_of(entries)
    results = json.loads(path.read_text()) if path.is_file() else {}
    missing = {key: entry for key, entry in entries.items() if key not in results}
    if missing:
        results.update(untimed(missing) if trial else time_steps(missing))
    for key in entries.keys() - missing.keys():
        if (made := results[key].get("commit", "an unknown commit")) != commit():
            print(f"{key}: resuming results of {made}; delete {path} to measure the present commit", file=sys.stderr)
    save_results(results, path)
    runs = [(key, entry, seed) for key, entry in entries.items() for seed in entry.seeds]
    for key, entry, seed in sorted(runs, key=lambda run: run[2]):  # all entries with the first seed, then the next seed
        state = folder / f"{name}-{key}-{seed}"
        race(entry, seed, results[key], state, measure, points, lambda: save_results(results, path))
    return results


def trial_of(entries: dict[str, Entry]) -> dict[str, Entry]:
    """Return the entries with one seed and the budget of a trial."""
    budget = {"seconds": TRIAL_POINTS[-1], "points": None}
    return {key: dataclasses.replace(entry, seeds=entry.seeds[:1], **budget) for key, entry in entries.items()}


def save_results(results: dict[str, Any], path: Path) -> None:
    """Write the results atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with io.atomic_write(path) as temporary:
        temporary.write_text(json.dumps(results, indent=2) + "\n")


def time_steps(entries: dict[str, Entry]) -> dict[str, Any]:
    """Return the median seconds per step of each entry. Entries take turns, so that disturbances affect all of them.

    Entries with the same ``build`` differ only in their budget. They are timed once.
    """
    warn_if_busy()
    runners = {build: build(0) for build in dict.fromkeys(entry.build for entry in entries.values())}
    lengths = {build: round_length(runner) for build, runner in runners.items()}
    rounds: dict[Callable[..., Any], list[float]] = {build: [] for build in runners}
    for _ in range(ROUNDS):
        for build, runner in runners.items():
            start = time.perf_counter()
            runner.advance(lengths[build])
            rounds[build].append((time.perf_counter() - start) / lengths[build])
    return {
        key: {
            "seconds_per_step": statistics.median(rounds[entry.build]),
            "rounds": rounds[entry.build],
            **facts(runners[entry.build]),
        }
        for key, entry in entries.items()
    }


def untimed(entries: dict[str, Entry]) -> dict[str, Any]:
    """Return results for a trial: half a second per step, not measured."""
    return {key: {"seconds_per_step": 0.5, **facts(entry.build(0))} for key, entry in entries.items()}


def facts(runner: Any) -> dict[str, Any]:
    """Return what is recorded about a runner besides its time, and empty curves."""
    conditional = getattr(getattr(runner, "model", None), "num_classes", None) is not None
    about = {"batch_size": runner.batch_size, "conditional": conditional}
    return {**about, "machine": machine(), "commit": commit(), "curves": {}}


def round_length(runner: Any) -> int:
    """Return a number of steps that lasts at least ``ROUND_SECONDS``, found by doubling after one step that compiles."""
    runner.advance(1)
    for length in (2**k for k in range(30)):
        start = time.perf_counter()
        runner.advance(length)
        if time.perf_counter() - start >= ROUND_SECONDS:
            break
    return length


def warn_if_busy() -> None:
    """Print a warning if other programs use more than a tenth of the processor, because steps would take too long."""
    used = processor_use()
    if used is not None and used > 0.1:
        print(
            f"other programs use {used:.0%} of the processor; seconds per step are only right on an idle machine: stop "
            "this script, end the other programs and start again",
            file=sys.stderr,
        )


def processor_use(seconds: float = 2) -> float | None:
    """Return the share of all cores that is in use while this process sleeps, or None on systems other than Linux."""
    path = Path("/proc/stat")
    if not path.is_file():
        return None
    before = np.array(path.read_text().split()[1:9], float)
    time.sleep(seconds)
    ticks = np.array(path.read_text().split()[1:9], float) - before  # user, nice, system, idle, waiting for a disk, ...
    return float(1 - ticks[3:5].sum() / max(ticks.sum(), 1))


def machine() -> str:
    """Return the processor's name where Linux states it, and the number of cores that this process may use."""
    name, information = platform.machine(), Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{' '.join([*models[:1], name])}, {cores} {'core' if cores == 1 else 'cores'}"


def commit() -> str:
    """Return the short name of the commit that is checked out; "unknown" outside a repository."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--short=7", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


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
    reached = [seconds for seconds in entry.points or points if result["seconds_per_step"] <= seconds <= entry.seconds]
    if len(curve) == len(reached):
        return
    runner = entry.runner(seed, result["seconds_per_step"])
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


def cell(measured: Sequence[float]) -> str:
    """Return median, minimum and maximum as the cell of a table; the median alone if the others do not differ."""
    median, low, high = map(three_digits, measured)
    return median if low == high else f"{median} ({low} to {high})"


def head(seconds: int) -> str:
    """Return the head of the column of a point: in seconds, from ten minutes on in minutes."""
    return f"{seconds:,} s" if seconds < 600 else f"{seconds // 60} min"


def table(results: dict[str, Any], entries: dict[str, Entry], points: Sequence[int]) -> str:
    """Return a Markdown table with a row for each entry and a column for each point in seconds."""
    heads = [head(seconds) for seconds in points]
    lines = ["| | one step | " + " | ".join(heads) + " |", "|---|---:|" + "---:|" * len(points)]
    for key, entry in entries.items():
        result, cells = results[key], []
        for seconds in points:
            measured = median_and_range(result, seconds)
            cells.append("" if measured is None else cell(measured))
        step = f"{result['batch_size']} images, {result['seconds_per_step']:.2f} s"
        lines.append(f"| {entry.label} | {step} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def plot(
    results: dict[str, Any],
    entries: dict[str, Entry],
    path: Path,
    points: Sequence[int],
    ylabel: str,
    *,
    baseline: float | None = None,
) -> None:
    """Plot the median over the seeds against seconds of training, with the range as a band; both axes logarithmic.

    ``baseline`` is the value of real images, drawn as a line.
    """
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator

    from imggen_lib.notebook import figures

    figures.use_style()
    figure, axis = plt.subplots(figsize=(6.5, 3.6))
    for key, entry in entries.items():
        measured = {seconds: median_and_range(results[key], seconds) for seconds in points}
        rows = np.array([(seconds, *values) for seconds, values in measured.items() if values is not None])
        if not len(rows):
            continue
        (line,) = axis.loglog(rows[:, 0], rows[:, 1], "o-", markersize=3, linewidth=1, label=entry.label.replace("`", ""))
        axis.fill_between(rows[:, 0], rows[:, 2], rows[:, 3], color=line.get_color(), alpha=0.2, linewidth=0)
    if baseline is not None:
        axis.axhline(baseline, color="0.4", linestyle="--", linewidth=1, label="real images")
    axis.set(xlabel="seconds of training", ylabel=ylabel)
    axis.set_xticks(points, [f"{point:,}" for point in points])
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter("{x:,g}")
    axis.minorticks_off()
    axis.legend()
    figure.savefig(path, metadata={"Software": None}, dpi=130, facecolor="white")
    plt.close(figure)

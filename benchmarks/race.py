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

from imggen_lib import datasets, files, scoring

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

    def sample(self, n):
        """Return n pictures in [0, 1], drawn from seed 0."""
        raise NotImplementedError

    def save(self, path):
        """Write all that :meth:`restore` needs to files whose names begin with ``path``."""
        raise NotImplementedError

    def restore(self, path):
        """Go back to what was saved."""
        raise NotImplementedError


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


def run(name, entries):
    """Measure the time of a step if it is not known, run what has not been run, and return all results.

    Returns
    -------
    dict
        From each entry's key to ``seconds_per_step``, ``batch_size`` and ``curves``: from each seed to rows of seconds,
        steps, distance, multiple of the floor.
    """
    path = KEPT / f"{name}.json"
    results = json.loads(path.read_text()) if path.is_file() else time_steps(entries)
    keep(results, path)
    for key, entry in entries.items():
        for seed in entry.seeds:
            race(entry, seed, results[key], KEPT / f"{name}-{key}-{seed}", lambda: keep(results, path))
    return results


def keep(results, path):
    """Write the results, whole or not at all."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as temporary:
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


def race(entry, seed, result, path, keep_results):
    """Run one entry from one seed to the end of its time, scoring it on the way."""
    curve = result["curves"].setdefault(str(seed), [])
    points = [seconds for seconds in POINTS if seconds <= entry.seconds][len(curve) :]
    if not points:
        return
    runner = entry.build(seed)
    if curve:
        runner.restore(path)
    dataset = datasets.load(DATASET)
    for seconds in points:
        runner.advance(max(round(seconds / result["seconds_per_step"]), 1) - runner.steps)
        score = scoring.score(runner.sample(IMAGES), dataset)
        runner.save(path)
        curve.append([seconds, runner.steps, score.distance, score.multiple])
        keep_results()
        print(f"{entry.label}, seed {seed}: {seconds} s, {runner.steps} steps, {score.multiple:.1f}", flush=True)


def spread(result, seconds):
    """Return the median, smallest and largest multiple of the floor over the seeds, at a number of seconds, or None."""
    values = sorted(row[3] for curve in result["curves"].values() for row in curve if row[0] == seconds)
    return (statistics.median(values), values[0], values[-1]) if values else None


def show(number):
    """Return a number with three digits that mean something."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}"


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


def plot(results, entries, path):
    """Draw every curve: multiple of the floor over seconds of training, both on logarithmic axes."""
    import matplotlib.pyplot as plt

    from imggen_lib import plotting

    plotting.use_style()
    figure, axis = plt.subplots(figsize=(6.5, 3.6))
    for number, (key, entry) in enumerate(entries.items()):
        curves = [curve for curve in results[key]["curves"].values() if curve]
        for curve in curves:
            seconds, multiples = [row[0] for row in curve], [row[3] for row in curve]
            (line,) = axis.loglog(seconds, multiples, "o-", color=f"C{number}", markersize=3, linewidth=1)
            line.set_label(entry.label.replace("`", "") if curve is curves[0] else None)
    axis.set(xlabel="seconds of training", ylabel="multiple of the floor")
    ticks = sorted({row[0] for result in results.values() for curve in result["curves"].values() for row in curve})
    axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axis.minorticks_off()
    axis.legend()
    figure.savefig(path, metadata={"Software": None}, dpi=130, facecolor="white")
    plt.close(figure)

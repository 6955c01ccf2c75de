"""The five families after equal seconds of training on Fashion-MNIST: one and ten minutes, three seeds. Takes four hours.

Every recipe is trained twice for each seed: for one minute and for ten, each time with the learning rate that it has for as
many steps as fit into the time. The Fréchet distance of 5,000 samples is measured at the end. See ``race.py`` for how time
is counted.

Writes the table and the plot beside this file, and the results and samples of the first seed to ``data``. A stopped race
resumes from the results, also on another machine, because they contain the seconds per step. A training counts only when
all families have finished the same budget with the same seed. The table states how many seeds that are.
"""

from __future__ import annotations

import argparse
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import race

from imggen_lib import io, pretrained

TABLE = Path(__file__).with_suffix(".md")
STORED, SAMPLES = io.data_path("equal_time.json"), io.data_path("equal_time_samples.npz")
MODELS = ("gan", "vae", "flow", "pixelcnn", "diffusion")
SEEDS = (0, 1, 2)
POINTS = (60, 600)
#: Number of samples that are kept of each training with the first seed.
NUM_SAMPLES = 10


def entries() -> dict[str, race.Entry]:
    """Return an entry for each family and budget."""
    return {key: entry for name in MODELS for key, entry in race.budgets(name, SEEDS, POINTS).items()}


def main() -> None:
    """Run the race, then write the table and the plot."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trial", action="store_true", help=race.TRIAL_HELP)
    trial = parser.parse_args().trial
    n = race.TRIAL_IMAGES if trial else race.NUM_IMAGES
    measure = functools.partial(race.frechet_distance, n=n)
    results = race.run("equal_time", entries(), measure, POINTS, stored=STORED, trial=trial)
    path = race.RESULTS / "trial" / TABLE.name if trial else TABLE
    store_samples(race.RESULTS / "trial" if trial else race.RESULTS, path.with_suffix(".npz") if trial else SAMPLES)
    write(path, by_family(results), race.real_data_distance(n), n, race.TRIAL_POINTS if trial else POINTS)


def store_samples(states: Path, path: Path) -> None:
    """Write samples of the models that were trained with the first seed, and a record of the file.

    The samples are 8-bit arrays by the key of their entry. Samples in the file stay if their model is not among the saved
    states.
    """
    samples = dict(np.load(path)) if path.is_file() else {}
    for key in entries():
        state = states / f"equal_time-{key}-{SEEDS[0]}.keras"
        if state.is_file():
            samples[key] = np.round(255 * pretrained.load(state).sample(NUM_SAMPLES, seed=0)).astype(np.uint8)
    with io.atomic_write(path) as temporary:
        np.savez_compressed(temporary, **samples)
    record = {
        "origin": f"{NUM_SAMPLES} samples of each model that benchmarks/equal_time.py trained with seed {SEEDS[0]}",
        "licence": "as the library; see LICENSE",
        "made_by": "benchmarks/equal_time.py",
        "sha256": io.sha256(path),
    }
    with io.atomic_write(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def finished(results: dict[str, Any]) -> dict[int, list[str]]:
    """Return for each budget the seeds with which all families have been trained."""
    curves = {point: [results[f"{name}-{point}s"]["curves"] for name in MODELS] for point in POINTS}
    return {
        point: sorted(set.intersection(*({seed for seed, curve in family.items() if curve} for family in families)))
        for point, families in curves.items()
    }


def by_family(results: dict[str, Any]) -> dict[str, Any]:
    """Return one result for each family. The curve of a seed has the end of each budget that all families have finished."""
    families, seeds = {}, finished(results)
    for name in MODELS:
        curves: dict[str, Any] = {}
        for point in POINTS:
            for seed in seeds[point]:
                curves.setdefault(seed, []).append(results[f"{name}-{point}s"]["curves"][seed][-1])
        families[name] = {**results[f"{name}-{POINTS[-1]}s"], "curves": curves}
    return families


def write(path: Path, results: dict[str, Any], baseline: float, n: int, points: tuple[int, ...]) -> None:
    """Write the results as a Markdown table and a plot. ``baseline`` is the distance of n real images."""
    labels = {name: race.Entry(f"`{name}`", race.RecipeRunner.of(name), SEEDS, points[-1]) for name in results}
    result = next(iter(results.values()))
    conditional = [f"`{name}`" for name in results if results[name]["conditional"]]
    counts = {point: sum(any(end[0] == point for end in curve) for curve in result["curves"].values()) for point in points}
    number = " and ".join(f"{count} after {race.head(point)}" for point, count in counts.items())
    text = (
        f"Fréchet distance of {n:,} samples to the 10,000 test images of Fashion-MNIST, after one minute and after ten "
        f"minutes of training on {result['machine']}. Seeds, chosen beforehand: {number}; of several, the median (minimum "
        f"to maximum). For {n:,} real training images the distance is {baseline:.3g}. Each "
        "recipe is trained once for each budget and seed, with a learning rate that falls over the budget. Time is the "
        "number of steps times the seconds per step, measured on the idle machine. Conditioned on the class: "
        f"{', '.join(conditional) or 'none'}. Commit {result['commit']}."
    )
    path.write_text(f"{text}\n\n{race.table(results, labels, points)}")
    race.plot(results, labels, path.with_suffix(".png"), points, "Fréchet distance", baseline=baseline)


if __name__ == "__main__":
    main()

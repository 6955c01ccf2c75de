"""The five families after the same seconds of training on Fashion-MNIST: ten minutes each, three seeds. Takes 3.5 hours.

Every recipe is trained for ten minutes, with the learning rate that it has for as many steps as fit into ten minutes. The
Fréchet distance of 5,000 samples is measured after one, five and ten minutes. See ``race.py`` for how time is counted.
Writes the table and the plot beside this file.
"""

from __future__ import annotations

import argparse
import functools
from pathlib import Path
from typing import Any

import race

TABLE = Path(__file__).with_suffix(".md")
MODELS = ("gan", "vae", "flow", "pixelcnn", "diffusion")
SEEDS = (0, 1, 2)
POINTS = (60, 300, 600)


def entries() -> dict[str, race.Entry]:
    """Return an entry for each family."""
    return {
        name: race.Entry(f"`{name}`", race.RecipeRunner.of(name), seeds=SEEDS, seconds=POINTS[-1], scheduled=True)
        for name in MODELS
    }


def main() -> None:
    """Run the race, then write the table and the plot."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trial", action="store_true", help=race.TRIAL_HELP)
    trial = parser.parse_args().trial
    n = race.TRIAL_IMAGES if trial else race.NUM_IMAGES
    results = race.run("equal_time", entries(), functools.partial(race.frechet_distance, n=n), POINTS, trial=trial)
    path = race.RESULTS / "trial" / TABLE.name if trial else TABLE
    write(path, results, race.real_data_distance(n), n, race.TRIAL_POINTS if trial else POINTS)


def write(path: Path, results: dict[str, Any], baseline: float, n: int, points: tuple[int, ...]) -> None:
    """Write the results as a Markdown table and a plot. ``baseline`` is the distance of n real images."""
    result = next(iter(results.values()))
    conditional = [f"`{name}`" for name in MODELS if results[name]["conditional"]]
    count = len(result["curves"])
    seeds = f"median (minimum to maximum) of {count} seeds, chosen beforehand" if count > 1 else "one seed"
    text = (
        f"Fréchet distance of {n:,} samples to the 10,000 test images of Fashion-MNIST, over seconds of training on "
        f"{result['machine']}: {seeds}. "
        f"For {n:,} real training images it is {baseline:.3g}. Each recipe is trained once for each seed, with a learning "
        "rate that falls over the whole time, so a training of one minute can reach more than the column of one minute "
        "shows. Time is the number of steps times the seconds per step, measured on the idle machine. Conditioned on the "
        f"class: {', '.join(conditional) or 'none'}. Commit {result['commit']}."
    )
    path.write_text(f"{text}\n\n{race.table(results, entries(), points)}")
    race.plot(results, entries(), path.with_suffix(".png"), points, "Fréchet distance", baseline=baseline)


if __name__ == "__main__":
    main()

"""Leaderboard: the Fréchet distance that each recipe reaches after one minute, after ten minutes, and at the end.

``make leaderboard MODEL=gan`` measures a recipe of this library, or one of the published recipes in ``PUBLISHED``, and
inserts its row. A recipe of this library is trained once for each budget, with the learning rate that it has for as many
steps as fit into it; a published recipe is trained once and measured on the way. Compiling is not counted: see ``race.py``.
A stopped measurement resumes. The end is that of the shipped weights, or of ``--weights FILE.npz`` of at most 8 MB.

``--published`` inserts published recipes from the tables of other benchmarks, and ``--equal-time`` the families from the
results of ``equal_time.py``, which trains them in the same way. Both measure nothing. The rows are in
``leaderboard.json``, and the table ``leaderboard.md`` is written from them.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import math
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import equal_time
import families
import gan_time_to_quality
import race

import imggen_lib
from imggen_lib import datasets, evaluation, io, pretrained, recipes

FOLDER = Path(__file__).parent
ROWS, TABLE = FOLDER / "leaderboard.json", FOLDER / "leaderboard.md"
#: The budgets in seconds, and the largest file of weights in bytes.
POINTS, LARGEST_FILE = (60, 600), 8_000_000
#: The beginning of a table that is measured as this one: the same samples, the same test images, and no multiples.
SAME_MEASURE = f"Fréchet distance of {race.NUM_IMAGES:,} samples to the 10,000 test images of Fashion-MNIST, over seconds"

Row = dict[str, Any]


class Refused(Exception):
    """Why a row is not measured or not inserted, and what to do."""


@dataclasses.dataclass(frozen=True)
class Published:
    """A published recipe.

    Attributes
    ----------
    label : str
        Its name in the tables.
    runner : type
        A :class:`race.PeerRunner`.
    table : str or None
        The table of another benchmark that has it, measured in the same way.
    """

    label: str
    runner: type[race.PeerRunner]
    table: str | None = None


#: Published recipes by name. Those whose first step ends after more than two hours are left out.
PUBLISHED = {
    "dcgan": Published("DCGAN, TensorFlow's tutorial", gan_time_to_quality.TutorialDCGAN, "gan_time_to_quality.md"),
    "wgan_gp": Published("WGAN-GP, keras.io", gan_time_to_quality.ExampleWGAN, "gan_time_to_quality.md"),
    "tutorial_vae": Published("VAE, TensorFlow's tutorial", families.TutorialVAE, "families_vae.md"),
    "example_vae": Published("VAE, keras.io", families.ExampleVAE, "families_vae.md"),
    "ddim": Published("DDIM, keras.io", families.ExampleDDIM),
}


def main() -> None:
    """Measure a recipe, or read the tables of other benchmarks, and insert the rows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", nargs="?", help="a recipe of this library or a published one")
    parser.add_argument("--weights", type=Path, help="a .npz file with its record, instead of the shipped weights")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="default: 0; with several, the median is ranked")
    parser.add_argument("--published", action="store_true", help="insert rows from the tables of other benchmarks")
    parser.add_argument("--equal-time", action="store_true", help="insert rows from the results of equal_time.py")
    parser.add_argument("--trial", action="store_true", help="test the script with a few steps; changes no row")
    arguments = parser.parse_args()
    if [arguments.model is not None, arguments.published, arguments.equal_time].count(True) != 1:
        parser.error("give either a model, --published or --equal-time")
    try:
        if arguments.published:
            imggen_lib.configure_process()
            board = insert_published(read(ROWS), FOLDER, baseline=race.real_data_distance(), classifier=classifier())
        elif arguments.equal_time:
            imggen_lib.configure_process()
            board = insert_families(read(ROWS), json.loads(equal_time.STORED.read_text(encoding="utf-8")))
        else:
            board = measured(read(ROWS), arguments.model, arguments.weights, tuple(arguments.seeds), arguments.trial)
    except (Refused, FileNotFoundError, ValueError) as error:
        sys.exit(f"leaderboard: {error}")
    if arguments.trial:
        print(table(board))
    else:
        write(board, ROWS, TABLE)


# Rows


def read(path: Path) -> dict[str, Any]:
    """Return the board: ``baseline`` (of real images), ``classifier`` (checksum of the weights) and ``rows``."""
    if not path.is_file():
        return {"baseline": None, "classifier": None, "rows": []}
    return json.loads(path.read_text(encoding="utf-8"))


def write(board: dict[str, Any], rows: Path, table_path: Path) -> None:
    """Write the rows and the table."""
    for path, text in ((rows, json.dumps(board, indent=2, ensure_ascii=False) + "\n"), (table_path, table(board))):
        with io.atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def insert(board: dict[str, Any], row: Row, *, baseline: float, classifier: str) -> dict[str, Any]:
    """Return the board with this row in place of an earlier one of the same recipe, sorted.

    Raises
    ------
    Refused
        If the rows of the board were measured with other weights of the classifier, whose features define the unit.
    """
    if board["rows"] and board["classifier"] != classifier:
        raise Refused(
            "the classifier's weights have changed, so new distances cannot be compared with the rows of the leaderboard; "
            "delete leaderboard.json and measure every row again"
        )
    rows = [other for other in board["rows"] if other["recipe"] != row["recipe"]]
    return {"baseline": baseline, "classifier": classifier, "rows": sorted([*rows, row], key=rank)}


def rank(row: Row) -> tuple[float, float, float, str]:
    """Return the key by which rows are sorted: the median after ten minutes, after one minute, at the end; the name."""
    late, early = (row["distances"].get(str(seconds), [math.inf])[0] for seconds in reversed(POINTS))
    return late, early, row["end"]["distance"] if row["end"] else math.inf, row["recipe"]


# The table


HEADS = ("", "one step", "1 min", "10 min", "at the end", "weights", "measured at", "machine")


def table(board: dict[str, Any]) -> str:
    """Return the board as Markdown."""
    text = (
        f"Fréchet distance (features of the shipped classifier) of {race.NUM_IMAGES:,} samples to the 10,000 test images "
        "of Fashion-MNIST, after one minute of training, after ten, and at the end, with weights of at most 8 MB. "
        f"For {race.NUM_IMAGES:,} real training images it is {board['baseline']:.3g}. One seed, or the median (minimum to "
        "maximum) of several. Recipes of this library are trained once for each budget, with a "
        "learning rate that falls over it. Time is the number of steps times the seconds per step, measured on the idle "
        "machine. –: the first step ends later. Empty: not measured. *Measured at*: the commit, or the table that the row "
        "is taken from. `make leaderboard MODEL=NAME` measures a row. Sorted by the distance after ten minutes.\n\n"
    )
    lines = ["| " + " | ".join(HEADS) + " |", "|---|" + "---:|" * 5 + "---|---|"]
    return text + "\n".join([*lines, *map(line, board["rows"])]) + "\n"


def line(row: Row) -> str:
    """Return a row of the Markdown table."""
    label = row["label"] if row["published"] else f"`{row['recipe']}`"
    step = f"{row['batch_size']} images, {row['seconds_per_step']:.2f} s"
    cells = [label, step, *(distance_cell(row, seconds) for seconds in POINTS)]
    end = row["end"]
    if end is None:
        cells += ["", ""]
    else:
        cells += [
            f"{race.three_digits(end['distance'])} after {end['seconds'] / 60:,.0f} min",
            f"{end['bytes'] / 1e6:.1f} MB",
        ]
    measured_at = row["commit"] if row["table"] is None else row["table"]
    return "| " + " | ".join([*cells, f"`{measured_at}`", row["machine"]]) + " |"


def distance_cell(row: Row, seconds: int) -> str:
    """Return the cell of a budget: a dash before the end of the first step, empty if it was not measured."""
    values = row["distances"].get(str(seconds))
    if values is None:
        return "–" if row["seconds_per_step"] > seconds else ""
    return race.cell(values)


# Rows from other benchmarks


def insert_families(board: dict[str, Any], results: dict[str, Any]) -> dict[str, Any]:
    """Return the board with the families in the results of ``equal_time.py``, once each budget has a finished seed."""
    if not all(equal_time.finished(results).values()):
        return board
    dataset, baseline = datasets.load(race.DATASET), race.real_data_distance()
    for name in equal_time.MODELS:
        own = {key: results[key] for key in race.budgets(name, equal_time.SEEDS, POINTS)}
        row = row_of(name, own, end_of(name, None, dataset))
        board = insert(board, row, baseline=baseline, classifier=classifier())
    return board


def insert_published(board: dict[str, Any], folder: Path, *, baseline: float, classifier: str) -> dict[str, Any]:
    """Return the board with the published recipes in the tables of a folder. Rows measured for this board are kept."""
    own = {row["recipe"] for row in board["rows"] if row["table"] is None}
    for name, published in PUBLISHED.items():
        if published.table is not None and name not in own:
            row = read_published(name, (folder / published.table).read_text(encoding="utf-8"))
            board = insert(board, row, baseline=baseline, classifier=classifier)
    return board


def read_published(name: str, text: str) -> Row:
    """Return the row of a published recipe from a table that ``race.table`` wrote.

    Raises
    ------
    Refused
        If the table measures something else, or does not have the recipe.
    """
    published = PUBLISHED[name]
    about = re.match(rf"{SAME_MEASURE} of training on (.+?)[.;] ", text)
    if about is None:
        raise Refused(f"{published.table} does not begin with {SAME_MEASURE!r}; measure {name} instead")
    heads, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|"))
    found = [cells for cells in rows if cells[0] == published.label]
    if not found:
        raise Refused(f"{published.table} has no row {published.label!r}; measure {name} instead")
    step = re.fullmatch(r"(\d+) images, ([\d.]+) s", found[0][1])
    points = [
        int(number) * (60 if unit == "min" else 1) for number, unit in (head.replace(",", "").split() for head in heads[2:])
    ]
    values = {seconds: numbers(cell) for seconds, cell in zip(points, found[0][2:], strict=True) if cell}
    return {
        "recipe": name,
        "label": published.label,
        "published": True,
        "batch_size": int(step[1]),
        "seconds_per_step": float(step[2]),
        "distances": {str(seconds): values[seconds] for seconds in POINTS if seconds in values},
        "end": None,
        "commit": None,
        "table": published.table,
        "machine": about[1],
    }


def numbers(cell: str) -> list[float]:
    """Return median, minimum and maximum from a cell such as ``39.9 (32.9 to 46.1)`` or ``758``.

    >>> numbers("1,024"), numbers("39.9 (32.9 to 46.1)")
    ([1024.0, 1024.0, 1024.0], [39.9, 32.9, 46.1])
    """
    found = [float(number.replace(",", "")) for number in re.findall(r"[\d.,]+", cell)]
    return found if len(found) == 3 else found * 3


# Measuring a row


def measured(
    board: dict[str, Any], name: str, weights: Path | None, seeds: tuple[int, ...], trial: bool = False
) -> dict[str, Any]:
    """Measure a recipe and return the board with its row."""
    check_name(name)
    if not trial:
        check_tree(FOLDER.parent)
    dataset = datasets.load(race.DATASET)
    end = end_of(name, weights, dataset)
    entries = entries_of(name, seeds)
    number = race.TRIAL_IMAGES if trial else race.NUM_IMAGES
    measure = functools.partial(race.frechet_distance, n=number)
    results = race.run(f"leaderboard-{name}-{race.commit()}", entries, measure, POINTS, trial=trial)
    row = row_of(name, results, end, race.TRIAL_POINTS if trial else POINTS)
    return insert(board, row, baseline=race.real_data_distance(number), classifier=classifier())


def classifier() -> str:
    """Return the checksum of the shipped classifier's weights."""
    return pretrained.record("classifier")["sha256"]


def check_name(name: str) -> None:
    """Raise :class:`Refused` unless the name is that of a published recipe, or of one for images of Fashion-MNIST."""
    own = [
        recipe for recipe in recipes.names() if recipes.get(recipe).full.dataset == race.DATASET and recipe != "classifier"
    ]
    if name not in (*own, *PUBLISHED):
        raise Refused(f"there is no recipe {name!r}; expected one of {', '.join(own)}, or published {', '.join(PUBLISHED)}")


def check_tree(root: Path) -> None:
    """Raise :class:`Refused` if files differ from the commit that the row will name. The leaderboard itself may differ."""
    unaffected = [f":(exclude)benchmarks/{path.name}" for path in (ROWS, TABLE)]
    command = ["git", "-C", str(root), "status", "--porcelain", "--untracked-files=all", "--", ".", *unaffected]
    status = subprocess.run(command, capture_output=True, text=True)
    if status.returncode:
        raise Refused(f"{root} is not a git repository, and the row names a commit; clone the repository")
    if changed := status.stdout.splitlines():
        names = ", ".join(line[3:] for line in changed[:3])
        raise Refused(
            f"the row would name a commit that does not contain {names}{' and more' * (len(changed) > 3)}; commit or "
            "remove these changes first"
        )


def end_of(name: str, weights: Path | None, dataset: datasets.Dataset) -> dict[str, Any] | None:
    """Return distance, seconds, steps and size of finished weights: the given ones, or the shipped ones if there are any.

    The distance is that in the record of the training. If the record has none of 5,000 samples, it is measured.

    Raises
    ------
    Refused
        If the weights are not a ``.npz`` file of this recipe on this dataset, or larger than 8 MB.
    """
    if weights is None:
        if name not in pretrained.names():
            return None
        path: str | Path = name
    else:
        if weights.suffix != ".npz":
            raise Refused(f"the weights are {weights}; expected a .npz file, as imggen train {name} -o {name}.npz writes")
        path = weights
    record = pretrained.record(path)
    size = (io.data_path("weights", f"{name}.npz") if weights is None else weights).stat().st_size
    made = record["model"], record.get("settings", {}), record["dataset"]
    if made != (name, {}, race.DATASET):
        raise Refused(
            f"the weights are those of {made[0]} with the settings {made[1]} on {made[2]}; expected {name} without "
            f"settings on {race.DATASET}"
        )
    if size > LARGEST_FILE:
        raise Refused(f"the weights have {size / 1e6:.1f} MB; at most {LARGEST_FILE / 1e6:.0f} MB are allowed")
    distance = recorded_distance(record)
    if distance is None:
        distance = evaluation.score(pretrained.load(path).sample(race.NUM_IMAGES, seed=0), dataset).distance
    return {"distance": distance, "seconds": record["seconds"], "steps": record["steps"], "bytes": size}


def recorded_distance(record: dict[str, Any]) -> float | None:
    """Return the Fréchet distance of 5,000 samples in the record of a training, or None."""
    if f"at n = {race.NUM_IMAGES:,} " not in record.get("quality", ""):
        return None
    return record["measures"]["distance"]


def entries_of(name: str, seeds: Sequence[int]) -> dict[str, Any]:
    """Return what is trained: of a recipe of this library one entry for each budget, of a published recipe one in all."""
    seeds = tuple(seeds)
    if name in PUBLISHED:
        return {"published": race.Entry(PUBLISHED[name].label, PUBLISHED[name].runner, seeds, seconds=POINTS[-1])}
    return race.budgets(name, seeds, POINTS)


def row_of(name: str, results: dict[str, Any], end: dict[str, Any] | None, points: Sequence[int] = POINTS) -> Row:
    """Return the row of a recipe from the results of its race. ``points`` are the seconds that stand for the budgets."""
    distances = {}
    for budget, point in zip(POINTS, points, strict=True):
        found = race.median_and_range(results.get(f"{name}-{budget}s") or results["published"], point)
        if found is not None:
            distances[str(budget)] = list(found)
    result = next(iter(results.values()))
    return {
        "recipe": name,
        "label": PUBLISHED[name].label if name in PUBLISHED else name,
        "published": name in PUBLISHED,
        "batch_size": result["batch_size"],
        "seconds_per_step": result["seconds_per_step"],
        "distances": distances,
        "end": end,
        "commit": result["commit"],
        "table": None,
        "machine": result["machine"],
    }


if __name__ == "__main__":
    main()

"""Quality of the shipped models of Fashion-MNIST, in several measures. Takes about half an hour.

Fréchet distances are computed in three feature spaces: that of the shipped classifier, which ``imggen score`` uses; that of
a second classifier, trained here with another seed; and image statistics, which are fixed formulas without training. No
generator was trained with any of them. The distances of as many real images are in a row of their own. Precision, recall,
density and coverage use the first space.

To detect copies, the distances of 1,000 generated images to the nearest of all 60,000 training images are compared with
those of 1,000 test images: in pixels, in the features of the classifier, and in image statistics. Bits per dimension are
given for models that have a likelihood or a bound on it.

Writes the values to ``shipped_models.json`` and the tables to ``shipped_models.md`` beside this file, and a contact sheet
of the first 100 samples of each model into ``_build/benchmarks``. ``--models gan vae`` measures only these and keeps the
other rows. A stopped run resumes. The second classifier is kept in ``second_classifier.npz``: distances in the features of
another one would not be comparable.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import race
import tqdm
from numpy.typing import NDArray

import imggen_lib
from imggen_lib import datasets, evaluation, io, metrics, models, pretrained, recipes, training

Array = NDArray[Any]
Values = dict[str, Any]
FOLDER = Path(__file__).parent
#: Names of the rows that are not models.
REAL = "real training images"
#: Feature spaces, with the heads of their columns.
SPACES = {"classifier": "classifier", "second_classifier": "second classifier", "image_statistics": "image statistics"}
NEIGHBOUR_SPACES = {"pixels": "pixels", "classifier": "classifier", "image_statistics": "image statistics"}
NEIGHBOUR_MEASURES = ("precision", "recall", "density", "coverage")


@dataclasses.dataclass(frozen=True)
class Scale:
    """How much is measured: samples for the distances, for the search for copies, on a sheet, and coded test images."""

    images: int = 5000
    searched: int = 1000
    shown: int = 100
    coded: int = 500
    #: Steps of the second classifier.
    classifier_steps: int = recipes.get("classifier").full.num_steps // 3


TRIAL = Scale(images=60, searched=20, shown=9, coded=4, classifier_steps=20)


def main() -> None:
    """Measure the shipped models and as many real images, then write rows, tables and sheets."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", metavar="NAME", help="measure only these models and keep the other rows")
    parser.add_argument("--trial", action="store_true", help=race.TRIAL_HELP)
    arguments = parser.parse_args()
    if unknown := set(arguments.models or ()) - set(shipped()):
        parser.error(f"{', '.join(sorted(unknown))}: expected some of {', '.join(shipped())}")
    imggen_lib.configure_process()
    sheets = race.RESULTS / "trial" if arguments.trial else race.RESULTS
    sheets.mkdir(parents=True, exist_ok=True)
    folder = sheets if arguments.trial else FOLDER
    names = arguments.models or shipped()
    scale = TRIAL if arguments.trial else Scale()
    board = read(folder / "shipped_models.json")
    measured = measure(names, scale, folder / "second_classifier.npz", sheets)
    kept = board if arguments.models else None
    board = merge(kept, measured, {name: checksum(name) for name in shipped()})
    write(board, scale, folder)
    (sheets / "shipped_models.partial.json").unlink(missing_ok=True)


def shipped() -> list[str]:
    """Return the names of the shipped generative models of Fashion-MNIST."""
    names = [name for name in pretrained.names() if pretrained.record(name)["dataset"] == race.DATASET]
    return [name for name in names if name != "classifier"]


def checksum(name: str) -> str:
    """Return the checksum of shipped weights."""
    return pretrained.record(name)["sha256"]


# Rows


def read(path: Path) -> Values | None:
    """Return the rows of an earlier run, or None."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def merge(kept: Values | None, measured: Values, checksums: dict[str, str]) -> Values:
    """Return measured rows together with the kept rows of other models.

    Parameters
    ----------
    kept : dict or None
        Earlier results. Their rows stay if their models are still shipped with the same weights.
    measured : dict
        With ``extractors`` (the checksums of the classifiers), ``images``, ``real``, ``variation`` and ``models``.
    checksums : dict of str to str
        Of the weights of every shipped model.

    Raises
    ------
    SystemExit
        If the kept rows were measured with other classifiers or another number of images: the units differ.
    """
    rows: Values = {}
    if kept is not None:
        for key in ("extractors", "images"):
            if kept[key] != measured[key]:
                raise SystemExit(
                    f"shipped_models: the rows that would be kept differ in {key} from the new ones ({kept[key]}, "
                    f"{measured[key]}), so they are not comparable; measure all models, without --models"
                )
        rows = {name: row for name, row in kept["models"].items() if row["sha256"] == checksums.get(name)}
    rows.update(measured["models"])
    return {**measured, "models": {name: rows[name] for name in sorted(rows)}}


def write(board: Values, scale: Scale, folder: Path) -> None:
    """Write the rows and the tables."""
    texts = {"shipped_models.json": json.dumps(board, indent=2) + "\n", "shipped_models.md": tables(board, scale)}
    for name, text in texts.items():
        with io.atomic_write(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


# Measures


def measure(names: Iterable[str], scale: Scale, second: Path, sheets: Path) -> Values:
    """Measure models and as many real images. Rows are kept in a partial file, from which a stopped run resumes."""
    dataset = datasets.load(race.DATASET)
    extractors = {
        "classifier": evaluation.features,
        "second_classifier": second_classifier(dataset, second, scale.classifier_steps),
        "image_statistics": lambda images: evaluation.features(images, "image_statistics"),
    }
    test_features = {space: extract(dataset.x_test) for space, extract in extractors.items()}
    training_features = {space: extractors[space](dataset.x_train) for space in ("classifier", "image_statistics")}
    # The first set is the baseline; the others show how much it varies.
    sets = (training_features["classifier"][scale.images * k :][: scale.images] for k in range(1, 12))
    variation = [metrics.frechet_distance(rows, test_features["classifier"]) for rows in sets]
    result: Values = {
        "images": scale.images,
        "extractors": {"classifier": checksum("classifier"), "second_classifier": pretrained.record(second)["sha256"]},
        "variation": [min(variation), max(variation)],
        "real": set_measures(dataset.x_train[: scale.images], extractors, test_features),
        "models": {},
    }
    gallery = {"pixels": flat(dataset.x_train), **training_features}
    searchers = {"pixels": flat, **{space: extractors[space] for space in training_features}}
    nearest = {
        space: nearest_distances(searchers[space](dataset.x_test[: scale.searched]), gallery[space]) for space in searchers
    }
    partial = sheets / "shipped_models.partial.json"
    if (earlier := read(partial)) is not None and all(earlier[key] == result[key] for key in ("images", "extractors")):
        result["models"] = earlier["models"]
    for name in tqdm.tqdm([name for name in names if not is_current(result["models"].get(name), checksum(name))]):
        model = pretrained.load(name)
        images = model.sample(scale.images, seed=0)
        io.write_contact_sheet(sheets / f"{name}-samples.png", images[: scale.shown])
        found = {
            space: nearest_distances(searchers[space](images[: scale.searched]), gallery[space]) for space in searchers
        }
        result["models"][name] = {
            "sha256": checksum(name),
            "commit": race.commit(),
            "conditional": model.num_classes is not None,
            **set_measures(images, extractors, test_features),
            "nearest": {space: compare_nearest(found[space], nearest[space]) for space in searchers},
            "bits": bits_per_dimension(model, dataset, scale.coded),
        }
        race.save_results(result, partial)
    return result


def is_current(row: Values | None, sha256: str) -> bool:
    """Return whether a row was measured with these weights at the commit that is checked out."""
    return row is not None and (row["sha256"], row["commit"]) == (sha256, race.commit())


def second_classifier(dataset: datasets.Dataset, path: Path, num_steps: int) -> Callable[[Array], Array]:
    """Return the feature extractor of a second classifier. If there is no file, it is trained with seed 1 and written."""
    if not path.is_file():
        training.run("classifier", path, dataset=dataset, num_steps=num_steps, seed=1)
    return pretrained.load(path).features


def set_measures(images: Array, extractors: dict[str, Callable[[Array], Array]], test_features: dict[str, Array]) -> Values:
    """Return the distances in all spaces, and precision, recall, density and coverage in the first one."""
    features = {space: extract(images) for space, extract in extractors.items()}
    ours, reference = features["classifier"], test_features["classifier"]
    values = (*metrics.precision_recall(reference, ours), *metrics.density_coverage(reference, ours))
    return {
        "frechet": {space: metrics.frechet_distance(features[space], test_features[space]) for space in extractors},
        **dict(zip(NEIGHBOUR_MEASURES, map(float, values), strict=True)),
    }


def flat(images: Array) -> Array:
    """Return the pixels of each image as a row."""
    return images.reshape(len(images), -1)


def nearest_distances(features: Array, gallery: Array) -> Array:
    """Return the distance of each row to the nearest row of the gallery."""
    return metrics.nearest_neighbours(features, gallery)[0][:, 0]


def compare_nearest(distances: Array, test_distances: Array) -> Values:
    """Compare distances of samples to training images with those of test images.

    Returns
    -------
    dict
        ``relative``: the ratio of the medians. ``closer``: the share of samples that are closer than 99% of test images.
    """
    return {
        "relative": float(np.median(distances) / np.median(test_distances)),
        "closer": float(np.mean(distances < np.quantile(test_distances, 0.01))),
    }


def bits_per_dimension(model: Any, dataset: datasets.Dataset, num_images: int) -> Values | None:
    """Return the mean bits per dimension of test images, and whether it is an upper bound; None without a likelihood."""
    images = dataset.x_test[:num_images]
    labels = None if model.num_classes is None else dataset.y_test[:num_images]
    if isinstance(model, models.PixelCNN):
        return {"mean": float(-model.log_prob(images, labels=labels).mean() / images[0].size / np.log(2)), "bound": False}
    if isinstance(model, models.Flow):
        log_prob = model.log_prob(images, seed=0, labels=labels)
    elif hasattr(model, "log_prob_lower_bound"):
        noise = np.random.default_rng(0).uniform(size=images.shape)
        dequantised = (np.round(255 * images) + noise) / 256
        options = {"angles": 32} if isinstance(model, models.Diffusion) else {}
        log_prob = model.log_prob_lower_bound(dequantised, seed=0, labels=labels, **options)
    else:
        return None
    mean = metrics.bits_per_dimension(log_prob, images[0].size).mean()
    return {"mean": float(mean), "bound": not isinstance(model, models.Flow)}


# Tables


def tables(board: Values, scale: Scale) -> str:
    """Return the two Markdown tables: quality, and nearest training images."""
    low, high = board["variation"]
    conditional = [f"`{name}`" for name, row in board["models"].items() if row["conditional"]]
    n = f"{board['images']:,}"
    quality = (
        f"{n} samples of each model (seed 0) against the 10,000 test images of Fashion-MNIST. The first three columns are "
        f"Fréchet distances, in three feature spaces with different units; the first row has those of {n} real images. For "
        f"other sets of {n} real images the first distance is {low:.2f} to {high:.2f}. *Bits per dimension*: of "
        f"{scale.coded} test images of 256 levels. For `pixelcnn` it is exact; for others each image is dequantised with "
        "uniform noise, which adds a little, and ≤ marks an upper bound. Conditioned on the class: "
        f"{', '.join(conditional) or 'none'}."
    )
    nearest = (
        f"Distance of {scale.searched:,} samples to the nearest of 60,000 training images, in three spaces. Each cell: the "
        f"median, divided by that of {scale.searched:,} test images; and the share of samples that are closer to a "
        "training image than 99% of the test images are. Without copies the share is about 1%."
    )
    rows = [row_cells(REAL, board["real"]), *(row_cells(f"`{name}`", row) for name, row in board["models"].items())]
    heads = ["model", *SPACES.values(), *NEIGHBOUR_MEASURES, "bits per dimension"]
    found = [nearest_cells(name, row) for name, row in board["models"].items()]
    return f"{quality}\n\n{markdown(heads, rows)}\n{nearest}\n\n{markdown(['model', *NEIGHBOUR_SPACES.values()], found)}"


def row_cells(label: str, row: Values) -> list[str]:
    """Return the cells of a row of the first table."""
    bits = row.get("bits")
    return [
        label,
        *(f"{row['frechet'][space]:.3g}" for space in SPACES),
        *(f"{row[name]:.2f}" for name in NEIGHBOUR_MEASURES),
        "" if bits is None else f"{'≤ ' if bits['bound'] else ''}{bits['mean']:.2f}",
    ]


def nearest_cells(name: str, row: Values) -> list[str]:
    """Return the cells of a row of the second table."""
    found = (row["nearest"][space] for space in NEIGHBOUR_SPACES)
    return [f"`{name}`", *(f"{values['relative']:.2f}, {values['closer']:.1%}" for values in found)]


def markdown(heads: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table whose columns after the first are aligned to the right."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    main()

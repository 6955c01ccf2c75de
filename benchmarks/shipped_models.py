"""Quality of the shipped models of Fashion-MNIST, in several measures. Takes about half an hour.

Fréchet distances are computed with three kinds of features: those of the shipped classifier, which ``imggen score`` uses;
histograms of oriented gradients (scikit-image), which are not trained; and those of a second classifier, trained here with
another seed. No generator was trained with any of them. Precision, recall, density and coverage use the first kind.

To detect copies, the distance in pixels of 1,000 generated images to the nearest of all 60,000 training images is compared
with that of 1,000 test images. Bits per pixel are given for models that have a likelihood or a bound on it. Writes the
table beside this file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tqdm
from numpy.typing import NDArray
from skimage.feature import hog

import imggen_lib
from imggen_lib import datasets, evaluation, metrics, models, pretrained, recipes, training

Array = NDArray[Any]
TABLE = Path(__file__).with_suffix(".md")
#: Number of samples for the distances, for the search for copies, and of test images for bits per pixel.
NUM_IMAGES, NUM_SEARCHED, NUM_CODED = 5000, 1000, 500


def main() -> None:
    """Measure every shipped model, and as many real training images, then write the table."""
    imggen_lib.configure_process()
    dataset = datasets.load("fashion_mnist_full")
    extractors = {
        "classifier": evaluation.features,
        "oriented gradients": oriented_gradients,
        "second classifier": second_classifier(dataset),
    }
    test_features = {kind: extract(dataset.x_test) for kind, extract in extractors.items()}
    # The first set is the baseline; the others show how much it varies.
    real, *others = np.split(dataset.x_train, len(dataset.x_train) // NUM_IMAGES)
    variation = [
        metrics.frechet_distance(extractors["classifier"](images), test_features["classifier"]) for images in others
    ]
    test_distances = nearest(dataset.x_test[:NUM_SEARCHED], dataset.x_train)

    def row(label: str, images: Array, last_cells: list[str]) -> str:
        features = {kind: extract(images) for kind, extract in extractors.items()}
        distances = [metrics.frechet_distance(features[kind], test_features[kind]) for kind in extractors]
        cells = [f"{distance:.3g}" for distance in distances]
        cells += [f"{value:.2f}" for value in neighbour_measures(features["classifier"], test_features["classifier"])]
        return f"| {label} | " + " | ".join(cells + last_cells) + " |"

    rows = [row("real training images", real, ["", "", ""])]
    for name in tqdm.tqdm([name for name in pretrained.names() if pretrained.record(name)["dataset"] == dataset.name]):
        model = pretrained.load(name)
        if model.task != "generation":
            continue
        images = model.sample(NUM_IMAGES, seed=0)
        distances = nearest(images[:NUM_SEARCHED], dataset.x_train)
        relative = np.median(distances) / np.median(test_distances)
        closer = np.mean(distances < np.quantile(test_distances, 0.01))
        rows.append(row(f"`{name}`", images, [f"{relative:.2f}", f"{closer:.1%}", bits_per_pixel(model, dataset)]))
    write_table(rows, variation)


def oriented_gradients(images: Array) -> Array:
    """Return histograms of 8 orientations in each of 4x4 cells, for each image."""
    options = {"orientations": 8, "pixels_per_cell": (7, 7), "cells_per_block": (1, 1)}
    return np.array([hog(image[..., 0], **options) for image in images])


def second_classifier(dataset: datasets.Dataset) -> Callable[[Array], Array]:
    """Train the classifier's recipe with seed 1 for a third of its steps, and return its feature extractor."""
    num_steps = recipes.get("classifier").full.num_steps // 3
    return training.run("classifier", dataset=dataset, num_steps=num_steps, seed=1).model.features


def neighbour_measures(features: Array, test_features: Array) -> tuple[float, float, float, float]:
    """Return precision, recall, density and coverage."""
    return *metrics.precision_recall(test_features, features), *metrics.density_coverage(test_features, features)


def nearest(images: Array, training_images: Array) -> Array:
    """Return the distance in pixels of each image to its nearest training image."""
    rows, others = (array.reshape(len(array), -1) for array in (images, training_images))
    return metrics.nearest_neighbours(rows, others)[1][:, 0]


def bits_per_pixel(model: Any, dataset: datasets.Dataset) -> str:
    """Return the bits per pixel of test images as a table cell, empty for a model without a likelihood."""
    images = dataset.x_test[:NUM_CODED]
    labels = None if model.num_classes is None else dataset.y_test[:NUM_CODED]
    if isinstance(model, models.PixelCNN):
        return f"{-model.log_prob(images, labels=labels).mean() / images[0].size / np.log(2):.2f}"
    if isinstance(model, models.Flow):
        log_prob, sign = model.log_prob(images, seed=0), ""
    elif isinstance(model, models.VAE | models.Diffusion):
        noise = np.random.default_rng(0).uniform(size=images.shape)
        dequantised = (np.round(255 * images) + noise) / 256
        options = {"angles": 32} if isinstance(model, models.Diffusion) else {}
        log_prob, sign = model.log_prob_lower_bound(dequantised, seed=0, labels=labels, **options), "≤ "
    else:
        return ""
    return f"{sign}{metrics.bits_per_dimension(log_prob, images[0].size).mean():.2f}"


HEADS = (
    "model", "Fréchet: classifier", "oriented gradients", "second classifier", "precision", "recall", "density", "coverage",
    "nearest training image", "closer than 99% of test images", "bits per pixel",
)  # fmt: skip
NOTE = f"""\
{NUM_IMAGES:,} samples of each model (seed 0) against the 10,000 test images of Fashion-MNIST. Fréchet distances are given
in three kinds of features. *Nearest training image*: median distance in pixels of {NUM_SEARCHED:,} samples to the
nearest of 60,000 training images, divided by that of {NUM_SEARCHED:,} test images. *Closer than 99% of test images*: share
of the samples that are closer to a training image than 99% of the test images are; without copies about 1% is expected.
*Bits per pixel*: of {NUM_CODED} test images of 256 levels. For `pixelcnn` it is exact; for the others each image is
dequantised with uniform noise, which adds a little, and ≤ marks an upper bound. `pixelcnn` and `diffusion`
are conditioned on the class.
"""


def write_table(rows: list[str], variation: list[float]) -> None:
    """Write the results as a Markdown table."""
    low, high = min(variation), max(variation)
    text = f"For other sets of {NUM_IMAGES:,} real images the first distance is {low:.2f} to {high:.2f}.\n\n"
    lines = ["| " + " | ".join(HEADS) + " |", "|---|" + "---:|" * (len(HEADS) - 1), *rows]
    TABLE.write_text(NOTE + text + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

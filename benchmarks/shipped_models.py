"""How good the shipped models of clothes are, judged on the full Fashion-MNIST in several ways.

Fréchet distances are given in three kinds of features: those of the shipped classifier, with which ``imggen score`` judges;
histograms of oriented gradients (scikit-image), a formula that nothing was trained with; and a second classifier, trained
here from another seed. No generator has seen any of them in training. Precision, recall, density and coverage are in the
first kind. Copies are looked for in pixels: how far 1,000 generated pictures are from their nearest among all 60,000
training pictures, beside 1,000 test pictures, which nobody can have copied. Bits per pixel are given for those that know a
probability or a bound on it. The table beside this file is written at the end. It takes about half an hour.
"""

from pathlib import Path

import keras
import numpy as np
import tqdm
from skimage.feature import hog

from imggen_lib import datasets, evaluation, metrics, models, pretrained, training

TABLE = Path(__file__).with_suffix(".md")
IMAGES, SEARCHED, CODED = 5000, 1000, 500


def main():
    """Judge every shipped model, and as many real training pictures, then write the table."""
    dataset = datasets.load("fashion_mnist_full")
    kinds = {
        "classifier": evaluation.features,
        "oriented gradients": gradients,
        "second classifier": second_classifier(dataset),
    }
    of_test = {kind: features(dataset.x_test) for kind, features in kinds.items()}
    # The same pictures as in ``imggen score``; how much luck there is in that is said by as many others.
    real, *others = np.split(dataset.x_train, len(dataset.x_train) // IMAGES)
    floors = {kind: metrics.frechet_distance(features(real), of_test[kind]) for kind, features in kinds.items()}
    luck = [metrics.frechet_distance(evaluation.features(some), of_test["classifier"]) for some in others]
    luck = np.array(luck) / floors["classifier"]
    test_distance = nearest(dataset.x_test[:SEARCHED], dataset.x_train)
    rows = [
        "| real training pictures | 1 | 1 | 1 | " + spread(kinds["classifier"](real), of_test["classifier"]) + " | | | |"
    ]
    clothes = [name for name in pretrained.shipped() if pretrained.record(name)["dataset"].startswith("fashion")]
    for name in tqdm.tqdm([name for name in clothes if recipes.get(name).generates]):
        model = pretrained.load(name)
        images = model.sample(IMAGES, seed=0)
        features = {kind: take(images) for kind, take in kinds.items()}
        multiples = [metrics.frechet_distance(features[kind], of_test[kind]) / floors[kind] for kind in kinds]
        distance = nearest(images[:SEARCHED], dataset.x_train)
        cells = [
            *(f"{multiple:.1f}" for multiple in multiples),
            spread(features["classifier"], of_test["classifier"]),
            f"{np.median(distance) / np.median(test_distance):.2f}",
            f"{100 * np.mean(distance < np.quantile(test_distance, 0.01)):.1f} %",
            bits(model, dataset),
        ]
        rows.append(f"| `{name}` | " + " | ".join(cells) + " |")
    write_table(rows, luck)


def gradients(images):
    """Histograms of oriented gradients, 8 directions in each of 4x4 cells."""
    options = {"orientations": 8, "pixels_per_cell": (7, 7), "cells_per_block": (1, 1)}
    return np.array([hog(image[..., 0], **options) for image in images])


def second_classifier(dataset):
    """Train the recipe of the classifier from seed 1 for a third of its steps; return what takes its features."""
    recipe = recipes.get("classifier")
    keras.utils.set_random_seed(1)
    model = recipe.build(dataset.image_shape, len(dataset.class_names), 1)
    steps = recipe.full.steps // 3
    model.compile(optimizer=recipe.optimizer(steps))
    batches = training.Batches(dataset.x_train, dataset.y_train, batch_size=recipe.batch_size, seed=1, stop=steps)
    model.fit(batches, shuffle=False, verbose=0, callbacks=[training.ProgressBar(steps=steps)])
    return model.features


def pseudo_inverse(features, of_test):
    """Precision, recall, density and coverage as table cells."""
    precision, recall = metrics.precision_recall(of_test, features)
    density, coverage = metrics.density_coverage(of_test, features)
    return " | ".join(f"{value:.2f}" for value in (precision, recall, density, coverage))


def nearest(images, training_images):
    """Distance in pixels of each picture to its nearest training picture."""
    rows, others = (array.reshape(len(array), -1) for array in (images, training_images))
    return metrics.nearest_neighbours(rows, others)[1][:, 0]


def bits(model, dataset):
    """Bits per pixel of test pictures, as a table cell; empty for a model that has none."""
    images, labels = dataset.x_test[:CODED], dataset.y_test[:CODED]
    noise = np.random.default_rng(0).uniform(size=images.shape)
    spread = (np.round(255 * images) + noise) / 256
    if isinstance(model, models.PixelCNN):
        return f"{-model.log_prob(images, labels=labels).mean() / images[0].size / np.log(2):.2f}"
    if isinstance(model, models.Flow):
        log_p, sign = model.log_prob(images, seed=0), ""
    elif isinstance(model, models.Diffusion):
        log_p, sign = model.log_prob_lower_bound(spread, seed=0, labels=labels, angles=32), "≤ "
    elif isinstance(model, models.VAE):
        log_p, sign = model.log_prob_lower_bound(spread, seed=0), "≤ "
    else:
        return ""
    return f"{sign}{metrics.bits_per_dimension(log_p, images[0].size).mean():.2f}"


HEADS = (
    "model", "Fréchet: classifier", "oriented gradients", "second classifier", "precision", "recall", "density", "coverage",
    "nearest training picture", "nearer than 99 % of test pictures", "bits per pixel",
)  # fmt: skip
NOTE = f"""\
{IMAGES:,} pictures of each model (seed 0) against the 10,000 test pictures of Fashion-MNIST. Fréchet distances are
multiples of that of {IMAGES:,} real training pictures, in three kinds of features. *Nearest training picture*: median
distance in pixels of {SEARCHED:,} generated pictures to the nearest of 60,000 training pictures, divided by that of
{SEARCHED:,} test pictures. Then the share of generated pictures that come nearer to a training picture than 99 % of the
test pictures do; 1 % is what pictures show that nobody copied. *Bits per pixel*: on {CODED} test pictures of 256 levels.
That of `pixelcnn` is exact; for the others each level is spread over its interval by uniform noise, which costs a little;
≤ is an upper bound. `pixelcnn` and `diffusion` are told the class.
"""


def write_table(rows, luck):
    """Write the results as a Markdown table."""
    varies = f"Between other sets of {IMAGES:,} real pictures the first goes from {luck.min():.1f} to {luck.max():.1f}.\n\n"
    lines = ["| " + " | ".join(HEADS) + " |", "|---|" + "---:|" * (len(HEADS) - 1), *rows]
    TABLE.write_text(NOTE + varies + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

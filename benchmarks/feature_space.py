"""Choice of the features for images of any content: how the Fréchet distance responds to distortions. Takes half an hour.

A useful distance rises with every distortion of the images. Seven sets of features that need neither training nor a
download are compared on photographs, clothes and icons. Each distortion has five strengths, from none to strong. For each
curve the table gives Spearman's correlation of distance and strength, and the number of inversions: pairs of strengths in
which the stronger one has the smaller distance. Then the shipped models of clothes are ranked by each set of features.

The icons are not part of this project. Fetch them into a folder outside it, and pass the folder:

    cd /tmp && npm pack emoji-datasource-twitter@16.0.0 && tar xzf emoji-datasource-twitter-16.0.0.tgz
    python benchmarks/feature_space.py --icons /tmp/package --samples /tmp/samples

Samples of the models are kept in the second folder, because ``pixelcnn`` takes minutes. Writes the table and the plot
beside this file.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# NumPy reads this when it is imported: times are those of one core.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import numpy as np
import PIL.Image
import scipy.fft
import scipy.ndimage
import scipy.spatial.transform
import scipy.stats
from numpy.typing import NDArray

from imggen_lib import datasets, descriptors, evaluation, metrics, pretrained

Array = NDArray[Any]
Features = Callable[[Array], Array]
TABLE, PLOT = Path(__file__).with_suffix(".md"), Path(__file__).with_suffix(".png")
NUM_IMAGES, NUM_REFERENCE, NUM_SAMPLES = 500, 1000, 1000
MODELS = ("gan", "conditional_gan", "vae", "vae_2d", "pixelcnn", "flow", "diffusion")
SIZE = 64


# --- images -----------------------------------------------------------------------------------------------------------


def photographs(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    """Return crops of 64 to 160 pixels of the photographs of scikit-image, resized to 64; the classes are the sources."""
    sources = [datasets.photograph(name) for name in datasets.PHOTOGRAPHS]
    labels, crops = rng.integers(len(sources), size=n), []
    for label in labels:
        source, side = sources[label], rng.integers(SIZE, 161)
        top, left = (rng.integers(length - side + 1) for length in source.shape[:2])
        crop = source[top : top + side, left : left + side]
        crop = np.repeat(crop[..., np.newaxis], 3, axis=2) if crop.ndim == 2 else crop
        pixels = PIL.Image.fromarray(np.round(255 * crop).astype(np.uint8))
        crops.append(np.asarray(pixels.resize((SIZE, SIZE), PIL.Image.Resampling.BILINEAR)))
    return np.float32(crops) / 255, labels


def clothes(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    """Return images of Fashion-MNIST."""
    dataset = datasets.load("fashion_mnist")
    rows = rng.permutation(len(dataset.x_train))[:n]
    return dataset.x_train[rows], dataset.y_train[rows]


def icons(rng: np.random.Generator, n: int, folder: Path) -> tuple[Array, Array]:
    """Return emoji on white and marbles; the classes are the categories of emoji, and marbles."""
    images, labels = [], []
    for entry in json.loads((folder / "emoji.json").read_text(encoding="utf-8")):
        path = folder / "img" / "twitter" / "64" / entry["image"]
        if path.is_file() and entry["category"] != "Component":
            icon = PIL.Image.open(path).convert("RGBA")
            icon = PIL.Image.alpha_composite(PIL.Image.new("RGBA", icon.size, "white"), icon)
            images.append(np.asarray(icon.convert("RGB").resize((SIZE, SIZE))))
            labels.append(entry["category"])
    marbles = datasets.load("marbles").x_train[:200]
    everything = np.concatenate([np.float32(images) / 255, marbles])
    classes = np.unique([*labels, *["marbles"] * len(marbles)], return_inverse=True)[1]
    rows = rng.permutation(len(everything))[:n]
    return everything[rows], classes[rows]


# --- distortions ------------------------------------------------------------------------------------------------------


def blur(images: Array, strength: float, rng: np.random.Generator) -> Array:
    """Gaussian blur; the strength is the standard deviation in pixels."""
    return scipy.ndimage.gaussian_filter(images, (0, strength, strength, 0), mode="nearest")


def noise(images: Array, strength: float, rng: np.random.Generator) -> Array:
    """Gaussian noise; the strength is the standard deviation."""
    return np.clip(images + strength * rng.standard_normal(images.shape, dtype=np.float32), 0, 1)


def colour_cast(images: Array, strength: float, rng: np.random.Generator) -> Array:
    """Less blue and half as much less green, or, in grey images, less intensity."""
    return images * np.float32([1, 1 - strength / 2, 1 - strength] if images.shape[-1] == 3 else 1 - strength)


def hue(images: Array, strength: float, rng: np.random.Generator) -> Array:
    """Rotation of the colours about the grey axis by ``strength`` half turns."""
    rotation = scipy.spatial.transform.Rotation.from_rotvec(np.pi * strength / np.sqrt(3) * np.ones(3)).as_matrix()
    return np.clip(images @ rotation.T.astype(np.float32), 0, 1)


def exchanged_blocks(images: Array, strength: float, rng: np.random.Generator) -> Array:
    """Permute ``strength`` of the 4x4 blocks of each image cyclically."""
    n, height, width, channels = images.shape
    blocks = images.reshape(n, 4, height // 4, 4, width // 4, channels).swapaxes(2, 3).copy()
    flat = blocks.reshape(n, 16, height // 4, width // 4, channels)
    for image in flat:
        chosen = rng.permutation(16)[: int(strength)]
        image[chosen] = image[np.roll(chosen, 1)]
    return flat.reshape(blocks.shape).swapaxes(2, 3).reshape(images.shape)


DISTORTIONS: dict[str, tuple[Callable[..., Array], tuple[float, ...]]] = {
    "blur": (blur, (0.4, 0.7, 1.2, 2.5)),
    "noise": (noise, (0.02, 0.06, 0.15, 0.4)),
    "colour cast": (colour_cast, (0.05, 0.1, 0.2, 0.4)),
    "hue": (hue, (0.05, 0.1, 0.2, 0.4)),
    "exchanged blocks": (exchanged_blocks, (2, 5, 9, 16)),
}
#: Classes are removed one by one, in this many random orders.
NUM_ORDERS = 2


# --- features ---------------------------------------------------------------------------------------------------------


def opponent(images: Array) -> Array:
    """Return intensity and two colour differences of images resized to 64x64, channels first."""
    resized = descriptors._resize(images.astype(np.float32))
    rgb = np.broadcast_to(resized, (*resized.shape[:3], 3))
    return np.moveaxis(rgb @ descriptors._OPPONENT.T, -1, 1)


def in_batches(transform: Features) -> Features:
    """Return the same function, applied to 64 images at a time."""
    return lambda images: np.concatenate([transform(images[i : i + 64]) for i in range(0, len(images), 64)])


def flat(values: Array) -> Array:
    """Return one row for each image."""
    return values.reshape(len(values), -1)


@in_batches
def oriented_gradients(images: Array) -> Array:
    """Histograms of 8 orientations in each quarter at three scales; mean, deviation and skewness of channels."""
    channels = level = opponent(images)
    found = []
    for _ in range(3):
        x = level[:, 0, 1:-1, 2:] - level[:, 0, 1:-1, :-2]
        y = level[:, 0, 2:, 1:-1] - level[:, 0, :-2, 1:-1]
        magnitude, angle = np.hypot(x, y), np.arctan2(y, x) % np.pi * 8 / np.pi
        lower = np.floor(angle).astype(int) % 8
        upper_share = magnitude * (angle - np.floor(angle))
        histogram = [
            np.where(lower == k, magnitude - upper_share, 0) + np.where((lower + 1) % 8 == k, upper_share, 0)
            for k in range(8)
        ]
        found.append(flat(descriptors._cell_means(np.stack(histogram, axis=1), 2)))
        level = descriptors._halve(level)
    centred = channels - channels.mean(axis=(2, 3), keepdims=True)
    moments = [channels.std(axis=(2, 3)), np.cbrt((centred**3).mean(axis=(2, 3)))]
    return np.concatenate([*found, flat(descriptors._cell_means(channels, 2)), *moments], axis=1)


def random_convolutions() -> Features:
    """Three layers of random filters with stride 2: mean and deviation of each filter, projected to 128 dimensions."""
    rng, layers = np.random.default_rng(0), []
    for size, inputs, outputs in ((5, 3, 32), (3, 32, 64), (3, 64, 64)):
        scale = np.sqrt(2 / (inputs * size * size))
        layers.append((scale * rng.standard_normal((inputs * size * size, outputs)).astype(np.float32), size))
    projection = rng.standard_normal((320, 128)).astype(np.float32) / np.float32(np.sqrt(128))

    def transform(images: Array) -> Array:
        values, found = np.moveaxis(opponent(images), 1, -1), []
        for weights, size in layers:
            windows = np.lib.stride_tricks.sliding_window_view(values, (size, size), axis=(1, 2))[:, ::2, ::2]
            values = np.maximum(windows.reshape(*windows.shape[:3], -1) @ weights, 0)
            found += [values.mean(axis=(1, 2)), values.std(axis=(1, 2))]
        return np.concatenate(found, axis=1) @ projection

    return in_batches(transform)


def gabor_energies() -> Features:
    """Log-Gabor filters of four wavelengths and orientations: mean in each quarter and deviation, square root; layout."""
    y, x = np.fft.fftfreq(SIZE)[:, np.newaxis], np.fft.fftfreq(SIZE)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    radius[0, 0] = 1
    filters, rings = [], []
    for wavelength in (3, 6, 12, 24):
        ring = np.exp(-(np.log(radius * wavelength) ** 2) / (2 * np.log(0.6) ** 2))
        ring[0, 0] = 0
        rings.append(ring)
        for direction in np.arange(4) * np.pi / 4:
            difference = np.angle(np.exp(1j * (angle - direction)))
            filters.append(2 * ring * np.exp(-(difference**2) / (2 * (0.75 * np.pi / 4) ** 2)))
    bank, colour_bank = np.float32(filters), np.float32(rings)

    def transform(images: Array) -> Array:
        channels = opponent(images)
        spectrum = scipy.fft.fft2(channels)
        magnitude = np.abs(scipy.fft.ifft2(spectrum[:, :1] * bank))
        colour = np.abs(scipy.fft.ifft2(spectrum[:, 1:, np.newaxis] * colour_bank).real)
        deviations = [magnitude.std(axis=(2, 3)), flat(colour.mean(axis=(3, 4))), flat(colour.std(axis=(3, 4)))]
        energies = np.sqrt(np.concatenate([flat(descriptors._cell_means(magnitude, 2)), *deviations], axis=1))
        layout = [flat(descriptors._cell_means(channels[:, 0], 4)), flat(descriptors._cell_means(channels[:, 1:], 2))]
        return np.concatenate([energies, *layout], axis=1)

    return in_batches(transform)


@in_batches
def low_frequencies(images: Array) -> Array:
    """Return the lowest frequencies of the discrete cosine transform: 10x10 of the intensity, 4x4 of each colour."""
    spectrum = scipy.fft.dctn(opponent(images), axes=(2, 3), norm="ortho") / SIZE
    return np.concatenate([flat(spectrum[:, 0, :10, :10]), flat(spectrum[:, 1:, :4, :4])], axis=1)


def principal_components(reference: Array) -> Features:
    """Return the projection of pixels on 100 principal components of the reference images."""
    rows = flat(opponent(reference)[:, :, ::2, ::2])
    mean = rows.mean(axis=0)
    basis = np.linalg.svd(rows - mean, full_matrices=False)[2][:100].T / SIZE
    return in_batches(lambda images: (flat(opponent(images)[:, :, ::2, ::2]) - mean) @ basis)


def linear_statistics(images: Array) -> Array:
    """Return the chosen statistics without the square root."""
    found = descriptors.image_statistics(images)
    found[:, 27:] **= 2
    return found


def logarithmic_statistics(images: Array) -> Array:
    """Return the chosen statistics with a logarithm instead of the square root."""
    found = linear_statistics(images)
    found[:, 27:] = np.log1p(100 * found[:, 27:]) / 5
    return found


def candidates(reference: Array) -> dict[str, Features]:
    """Return all sets of features by name, the chosen one first."""
    return {
        "image statistics, square root": descriptors.image_statistics,
        "image statistics, linear": linear_statistics,
        "image statistics, logarithm": logarithmic_statistics,
        "oriented gradients": oriented_gradients,
        "random convolutions": random_convolutions(),
        "Gabor energies": gabor_energies(),
        "low frequencies": low_frequencies,
        "principal components": principal_components(reference),
    }


# --- measurement ------------------------------------------------------------------------------------------------------


def measure(name: str, icon_folder: Path) -> tuple[str, dict[str, dict[str, list[list[float]]]], dict[str, Any]]:
    """Return the curves of one data set by candidate and distortion, and dimension and time of each candidate."""
    rng = np.random.default_rng(0)
    make = {"photographs": photographs, "clothes": clothes, "icons": lambda rng, n: icons(rng, n, icon_folder)}[name]
    images, labels = make(rng, NUM_IMAGES + NUM_REFERENCE)
    tested, reference = images[:NUM_IMAGES], images[NUM_IMAGES:]
    spaces, facts = candidates(reference), {}
    references = {}
    for space, extract in spaces.items():
        start = time.process_time()
        references[space] = extract(reference)
        seconds = (time.process_time() - start) * 5000 / len(reference)
        facts[space] = {"dimension": references[space].shape[1], "seconds": seconds}

    def distances(changed: Array) -> dict[str, float]:
        return {space: metrics.frechet_distance(extract(changed), references[space]) for space, extract in spaces.items()}

    curves: dict[str, dict[str, list[list[float]]]] = {space: {} for space in spaces}
    undistorted = distances(tested)
    for distortion, (change, strengths) in DISTORTIONS.items():
        if change is hue and images.shape[-1] == 1:
            continue
        found = [undistorted, *(distances(change(tested, strength, rng)) for strength in strengths)]
        for space in spaces:
            curves[space][distortion] = [[point[space] for point in found]]
    classes = np.unique(labels)
    for _ in range(NUM_ORDERS):
        order, found = rng.permutation(classes), [undistorted]
        for kept in (order[removed:] for removed in range(1, len(classes))):
            rows = np.flatnonzero(np.isin(labels[:NUM_IMAGES], kept))
            found.append(distances(tested[np.resize(rows, NUM_IMAGES)]))
        for space in spaces:
            curves[space].setdefault("missing classes", []).append([point[space] for point in found])
    return name, curves, facts


def monotonicity(curves: list[list[float]]) -> tuple[float, int]:
    """Return the mean of Spearman's correlations of distance and strength, and the number of inversions."""
    correlations = [scipy.stats.spearmanr(curve, range(len(curve))).statistic for curve in curves]
    return float(np.mean(correlations)), sum(int(np.triu(np.subtract.outer(c, c) > 0, 1).sum()) for c in curves)


def model_distances(folder: Path) -> dict[str, dict[str, float]]:
    """Return the distances of the shipped models and of as many real images, by set of features and model."""
    dataset = datasets.load("fashion_mnist")
    images = {"real images": dataset.x_train[:NUM_SAMPLES]}
    for name in MODELS:
        path = folder / f"{name}.npy"
        if not path.is_file():
            np.save(path, pretrained.load(name).sample(NUM_SAMPLES, seed=0))
        images[name] = np.load(path)
    spaces = {"classifier": evaluation.features, **candidates(dataset.x_train)}
    found = {}
    for space, extract in spaces.items():
        reference = extract(dataset.x_test)
        found[space] = {name: metrics.frechet_distance(extract(x), reference) for name, x in images.items()}
    return found


# --- table and plot ---------------------------------------------------------------------------------------------------


def write_table(results: dict[str, Any], models: dict[str, dict[str, float]]) -> None:
    """Write the two tables as Markdown."""
    names = [*DISTORTIONS, "missing classes"]
    lines = [
        f"Fréchet distance of {NUM_IMAGES} images to {NUM_REFERENCE:,} reference images (64x64, clothes 28x28), as a "
        "function of the strength of a distortion. In each cell: Spearman's correlation of distance and strength, and the "
        f"number of inversions. Five strengths; for missing classes, {NUM_ORDERS} orders of removal with 8 to 10 "
        "numbers of classes each. Seconds: for 5,000 images of 64x64 on one core.",
        "",
        f"| features | dimension | seconds | images | {' | '.join(names)} | inversions |",
        f"|---|---:|---:|---|{'---:|' * (len(names) + 1)}",
    ]
    spaces = list(next(iter(results.values()))[0])
    for space in spaces:
        for name, (curves, facts) in results.items():
            measured = {key: monotonicity(value) for key, value in curves[space].items()}
            cells = [f"{measured[key][0]:.2f}, {measured[key][1]}" if key in measured else "" for key in names]
            total = sum(inversions for _, inversions in measured.values())
            seconds = results["photographs"][1][space]["seconds"]
            start = f"| {space} | {facts[space]['dimension']} | {seconds:.0f} | {name} "
            lines.append(f"{start}| {' | '.join(cells)} | {total} |")
    columns = ["real images", *MODELS]
    lines += [
        "",
        f"Fréchet distance of {NUM_SAMPLES:,} samples of each shipped model to the 2,000 test images of clothes, and "
        "Spearman's correlation with the distances between features of the classifier over the models. The unit differs "
        "between rows.",
        "",
        f"| features | {' | '.join(columns)} | correlation |",
        f"|---|{'---:|' * (len(columns) + 1)}",
    ]
    for space, distances in models.items():
        ranks = [[row[name] for name in MODELS] for row in (distances, models["classifier"])]
        cells = [f"{distances[name]:.3g}" for name in columns]
        lines.append(f"| {space} | {' | '.join(cells)} | {scipy.stats.spearmanr(*ranks).statistic:.2f} |")
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_plot(results: dict[str, Any]) -> None:
    """Plot the curves, each divided by its largest value."""
    import matplotlib.pyplot as plt

    names = [*DISTORTIONS, "missing classes"]
    figure, axes = plt.subplots(len(results), len(names), figsize=(15, 7), sharey=True, constrained_layout=True)
    for axis, distortion in zip(axes[0], names, strict=True):
        axis.set_title(distortion)
    for row, (name, (curves, _)) in zip(axes, results.items(), strict=True):
        row[0].set_ylabel(f"{name}\ndistance / largest")
        for axis, distortion in zip(row, names, strict=True):
            for index, (space, by_distortion) in enumerate(curves.items()):
                strengths = (0, *DISTORTIONS[distortion][1]) if distortion in DISTORTIONS else None
                for curve in by_distortion.get(distortion, [])[:1]:
                    x = range(len(curve)) if strengths is None else strengths
                    style = {"color": f"C{index}", "linewidth": 2.5 if index == 0 else 1, "label": space}
                    axis.plot(x, np.array(curve) / max(curve), **style)
            axis.set_visible(distortion in next(iter(curves.values())))
            axis.set_xlabel("strength" if distortion in DISTORTIONS else "classes removed")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(PLOT, dpi=80)


def main() -> None:
    """Measure the candidates on every data set and the shipped models, then write the tables and the plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--icons", type=Path, required=True, help="the extracted package emoji-datasource-twitter")
    parser.add_argument("--samples", type=Path, required=True, help="where samples of the models are kept")
    arguments = parser.parse_args()
    names = ("photographs", "clothes", "icons")
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        results = {
            name: (curves, facts) for name, curves, facts in pool.map(measure, names, [arguments.icons] * len(names))
        }
    write_plot(results)
    write_table(results, model_distances(arguments.samples))


if __name__ == "__main__":
    main()

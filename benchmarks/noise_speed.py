"""Our noise against scikit-image's, the same noise on the same picture: ``python benchmarks/noise_speed.py``, a minute.

What is timed, and how, stands in ``speed.py``. Written to ``noise_speed.md``.
"""

import functools
import os
import platform
from pathlib import Path

import numpy as np
import skimage
import speed
from skimage.util import random_noise

from imggen_lib import datasets, noise

TABLE = Path(__file__).with_suffix(".md")
REPEATS = 41

# What we call, and what scikit-image calls it. Its photons are the number of different values in the picture, rounded up
# to a power of two: 256 for a photograph.
CONTESTS = {
    "Gaussian": (
        lambda image: noise.add_gaussian(image, 0.1, rng=0, clip=True),
        lambda image: random_noise(image, "gaussian", rng=0, var=0.01),
    ),
    "salt and pepper": (
        lambda image: noise.add_salt_and_pepper(image, 0.1, rng=0),
        lambda image: random_noise(image, "s&p", rng=0, amount=0.1),
    ),
    "Poisson": (
        lambda image: noise.add_poisson(image, 256, rng=0, clip=True),
        lambda image: random_noise(image, "poisson", rng=0),
    ),
    "speckle": (
        lambda image: noise.add_speckle(image, 0.1, rng=0, clip=True),
        lambda image: random_noise(image, "speckle", rng=0, var=0.01),
    ),
}


def main():
    """Measure every noise on one photograph in both precisions, then write the table."""
    photograph = datasets.photograph("astronaut")
    shape, machine = " x ".join(map(str, photograph.shape)), f"{platform.machine()}, {os.cpu_count()} cores (one is used)"
    lines = [
        f"Noise added to a photograph of {shape} numbers, both sides clipped to [0, 1]. Median",
        f"processor time of {REPEATS} calls each, made in turn. The ratio is ours over scikit-image's, its median and, in",
        f"brackets, the middle half of the {REPEATS} ratios: below 1, ours is faster. {machine}, Python",
        f"{platform.python_version()}, NumPy {np.__version__}, scikit-image {skimage.__version__}.",
        "",
        "| noise | precision | ours, ms | scikit-image, ms | ratio | |",
        "|---|---|---:|---:|---:|---|",
    ]
    for dtype in ("float32", "float64"):
        image = photograph.astype(dtype)
        for name, sides in CONTESTS.items():
            seconds = speed.in_turn([functools.partial(side, image) for side in sides], REPEATS).T
            ours, theirs = 1000 * np.median(seconds, axis=1)
            lines.append(
                f"| {name} | {dtype} | {ours:.1f} | {theirs:.1f} | {speed.ratio(*seconds)} | {speed.verdict(*seconds)} |"
            )
            print(lines[-1], flush=True)
    TABLE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

"""Speed of the library's noise functions and of scikit-image's, on one photograph: ``python benchmarks/noise_speed.py``.

Takes a minute. See ``speed.py`` for how time is measured. Writes ``noise_speed.md``.
"""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path

import numpy as np
import skimage
import speed
from skimage.util import random_noise

import imggen_lib
from imggen_lib import datasets, noise

TABLE = Path(__file__).with_suffix(".md")
REPEATS = 41

# The call of this library and that of scikit-image, which sets the number of photons to the number of different values in
# the image, rounded up to a power of two: 256 for a photograph.
PAIRS = {
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


def main() -> None:
    """Measure every noise on one photograph in both precisions, then write the table."""
    imggen_lib.configure_process()  # the settings of the pages
    photograph = datasets.photograph("astronaut")
    shape, machine = " x ".join(map(str, photograph.shape)), f"{platform.machine()}, {os.cpu_count()} cores (one is used)"
    lines = [
        f"Noise added to a photograph of shape {shape}, clipped to [0, 1] by both libraries. Median processor time",
        f"of {REPEATS} calls each, made in turn. The ratio is this library's time over scikit-image's: median and, in",
        f"brackets, interquartile range of {REPEATS} ratios; below 1 this library is faster. {machine}, Python",
        f"{platform.python_version()}, NumPy {np.__version__}, scikit-image {skimage.__version__}.",
        "",
        "| noise | precision | this library, ms | scikit-image, ms | ratio | |",
        "|---|---|---:|---:|---:|---|",
    ]
    for dtype in ("float32", "float64"):
        image = photograph.astype(dtype)
        for name, functions in PAIRS.items():
            seconds = speed.in_turn([functools.partial(function, image) for function in functions], REPEATS).T
            ours, theirs = 1000 * np.median(seconds, axis=1)
            lines.append(
                f"| {name} | {dtype} | {ours:.1f} | {theirs:.1f} | {speed.ratio(*seconds)} | {speed.verdict(*seconds)} |"
            )
            print(lines[-1], flush=True)
    TABLE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

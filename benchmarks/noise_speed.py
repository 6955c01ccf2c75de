"""Our noise against scikit-image's, the same noise on the same picture: ``python benchmarks/noise_speed.py``, a minute.

Both are called in turn, in one run, so that whatever else the machine does disturbs both, and processor time is measured,
which waiting for other programs does not add to. Each pair of calls gives one ratio; the table has the median ratio and
the middle half of them. Written to ``noise_speed.md``. No test depends on it: a test that measures time fails by chance.
"""

import os
import platform
import time
from pathlib import Path

import numpy as np
import skimage
from skimage.util import random_noise

from imggen_lib import datasets, noise

TABLE = Path(__file__).with_suffix(".md")
REPEATS = 41

# What we call, and what scikit-image calls it. Its photons are the number of different values in the picture, rounded up
# to a power of two: 256 for a photograph.
CONTESTS = {
    "Gaussian": (
        lambda image, seed: noise.add_gaussian(image, 0.1, rng=seed, clip=True),
        lambda image, seed: random_noise(image, "gaussian", rng=seed, var=0.01),
    ),
    "salt and pepper": (
        lambda image, seed: noise.add_salt_and_pepper(image, 0.1, rng=seed),
        lambda image, seed: random_noise(image, "s&p", rng=seed, amount=0.1),
    ),
    "Poisson": (
        lambda image, seed: noise.add_poisson(image, 256, rng=seed, clip=True),
        lambda image, seed: random_noise(image, "poisson", rng=seed),
    ),
    "speckle": (
        lambda image, seed: noise.add_speckle(image, 0.1, rng=seed, clip=True),
        lambda image, seed: random_noise(image, "speckle", rng=seed, var=0.01),
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
            seconds = np.array([[timed(side, image, seed) for side in sides] for seed in range(-2, REPEATS)])[2:]
            ours, theirs = 1000 * np.median(seconds, axis=0)
            low, ratio, high = np.percentile(seconds[:, 0] / seconds[:, 1], [25, 50, 75])
            verdict = "faster" if high < 1 else "slower" if low > 1 else "no difference seen"
            lines.append(
                f"| {name} | {dtype} | {ours:.1f} | {theirs:.1f} | {ratio:.2f} ({low:.2f} to {high:.2f}) | {verdict} |"
            )
            print(lines[-1], flush=True)
    TABLE.write_text("\n".join(lines) + "\n")


def timed(side, image, seed):
    """Return how many seconds of the processor one call takes."""
    began = time.process_time()
    side(image, abs(seed))
    return time.process_time() - began


if __name__ == "__main__":
    main()

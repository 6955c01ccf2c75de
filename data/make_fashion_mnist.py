"""Make the embedded subset of Fashion-MNIST from the full set: ``python data/make_fashion_mnist.py``.

The first 1,000 training and the first 200 test images of each class, in the order of the full set: nothing is chosen by
eye, nothing is altered, and the same files come out on every machine.
"""

import json
from pathlib import Path

import numpy as np

from imggen_lib import datasets, io

TRAIN_PER_CLASS, TEST_PER_CLASS = 1000, 200


def first_of_each_class(images, labels, count):
    """Keep the first ``count`` images of every class, in their original order."""
    kept = np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in np.unique(labels)]))
    return images[kept], labels[kept]


def main():
    """Write ``fashion_mnist.npz`` and its record beside this script."""
    folder = Path(__file__).parent
    full = datasets.load("fashion_mnist_full")
    arrays = {}
    for part, count in (("train", TRAIN_PER_CLASS), ("test", TEST_PER_CLASS)):
        images, labels = first_of_each_class(getattr(full, f"x_{part}"), getattr(full, f"y_{part}"), count)
        arrays[f"x_{part}"] = np.round(images[..., 0] * 255).astype(np.uint8)
        arrays[f"y_{part}"] = labels.astype(np.uint8)
    with io.replacing(folder / "fashion_mnist.npz") as temporary:
        np.savez_compressed(temporary, **arrays)
    record = {
        "origin": "Fashion-MNIST, https://github.com/zalandoresearch/fashion-mnist",
        "licence": "MIT, Copyright 2017 Zalando SE; see LICENSES/fashion-mnist.txt",
        "made_by": "data/make_fashion_mnist.py",
        "made_from": {name: content for name, (_, content) in datasets.FASHION_MNIST_FILES.items()},
        "sha256": io.sha256(folder / "fashion_mnist.npz"),
    }
    with io.replacing(folder / "fashion_mnist.json") as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()

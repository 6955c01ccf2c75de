"""Write the embedded subset of Fashion-MNIST from the full dataset: ``python data/make_fashion_mnist.py``.

The subset is the first 1,000 training and the first 200 test images of each class, unchanged and in their original order,
so every run writes the same arrays.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imggen_lib import datasets, io
from imggen_lib.datasets import fashion_mnist

__all__ = ["first_of_each_class", "main"]

TRAIN_PER_CLASS, TEST_PER_CLASS = 1000, 200


def first_of_each_class(images: NDArray[Any], labels: NDArray[Any], count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the first ``count`` images of every class and their labels, in the original order.

    Examples
    --------
    >>> first_of_each_class(np.array([10, 11, 12, 13, 14]), np.array([0, 0, 1, 0, 1]), 1)
    (array([10, 12]), array([0, 1]))
    """
    kept = np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in np.unique(labels)]))
    return images[kept], labels[kept]


def main() -> None:
    """Write ``fashion_mnist.npz`` and its record into the folder of this script."""
    folder = Path(__file__).parent
    full = datasets.load("fashion_mnist_full")
    arrays: dict[str, Any] = {}
    for part, count in (("train", TRAIN_PER_CLASS), ("test", TEST_PER_CLASS)):
        images, labels = first_of_each_class(getattr(full, f"x_{part}"), getattr(full, f"y_{part}"), count)
        arrays[f"x_{part}"] = np.round(images[..., 0] * 255).astype(np.uint8)
        arrays[f"y_{part}"] = labels.astype(np.uint8)
    with io.atomic_write(folder / "fashion_mnist.npz") as temporary:
        np.savez_compressed(temporary, **arrays)
    record = {
        "origin": "Fashion-MNIST, https://github.com/zalandoresearch/fashion-mnist",
        "licence": "MIT, Copyright 2017 Zalando SE; see LICENSES/fashion-mnist.txt",
        "made_by": "data/make_fashion_mnist.py",
        "made_from": {name: content for name, (_, content) in fashion_mnist.FILES.items()},
        "sha256": io.sha256(folder / "fashion_mnist.npz"),
    }
    with io.atomic_write(folder / "fashion_mnist.json") as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()

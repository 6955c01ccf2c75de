"""Train the denoiser of the page on image restoration at full size: ``python data/make_photo_denoiser.py``.

The script executes the cells of ``chapters/applications/restoration.ipynb`` with ``IMGGEN_PROFILE=full``, up to the cell
that trains the network, and writes the weights in half precision with a record. The page loads them, so the network, its
data and its training are defined on the page only.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from imggen_lib import io

__all__ = ["main", "training_cells"]

PAGE = "chapters/applications/restoration.ipynb"
ROOT = Path(__file__).resolve().parent.parent


def training_cells(page: Path) -> list[str]:
    """Return the code of a page up to the first cell that calls ``network.fit``, without the cells that plot.

    Raises
    ------
    ValueError
        If no cell trains a network.

    Examples
    --------
    >>> "network.fit" in training_cells(ROOT / PAGE)[-1]
    True
    """
    sources = []
    for cell in json.loads(page.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and "notebook.setup" not in source:
            sources.append(source.replace("figure = figures.show_images(", "dict(images="))
            if "network.fit" in source:
                return sources
    raise ValueError(f"no cell of {page} calls network.fit")


def main() -> None:
    """Write ``photo_denoiser.npz`` and its record into the folder of this script."""
    os.environ["IMGGEN_PROFILE"] = "full"
    names: dict[str, Any] = {}
    start = time.perf_counter()
    for source in training_cells(ROOT / PAGE):
        exec(compile(source, PAGE, "exec"), names)
    seconds = time.perf_counter() - start
    folder = Path(__file__).parent
    weights = names["network"].get_weights()
    with io.atomic_write(folder / "photo_denoiser.npz") as file:
        arrays = {f"weight_{k:02d}": weight.astype(np.float16) for k, weight in enumerate(weights)}
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    record = {
        "made_by": "data/make_photo_denoiser.py",
        "page": PAGE,
        "data": "photographs of scikit-image and scikit-learn that the page lists as training photographs",
        "steps": names["STEPS"],
        "patches_seen": names["STEPS"] * names["BATCH"],
        "seed": 0,
        "seconds": round(seconds),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, Python {sys.version.split()[0]}",
        "last_epoch_mean_loss": round(float(names["network"].history.history["loss"][-1]), 4),
        "sha256": io.sha256(folder / "photo_denoiser.npz"),
    }
    with io.atomic_write(folder / "photo_denoiser.json") as file:
        file.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()

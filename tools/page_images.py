"""Make the opening images of pages without code: ``python tools/page_images.py``.

Writes ``_static/pages/*.png`` from the shipped models. Seeds are fixed and samples are not selected. Run it again when the
weights have changed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from PIL import Image

import imggen_lib
from imggen_lib import datasets, io, pretrained, rendering, restoration

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "_static" / "pages"
DPI = 100

#: Red, green and blue of the rows of :func:`measured`: lighter variants of the book's colours.
COLOURS = {"real": "#ffffff", "gan": "#ff9a4d", "vae": "#4dd6ae", "noise": "#6cb8ff", "autoregressive": "#f0a3cf"}
FAMILIES = {
    "gan": "gan",
    "conditional_gan": "gan",
    "vae": "vae",
    "vae_2d": "vae",
    "diffusion": "noise",
    "flow": "noise",
    "coupling_flow": "noise",
    "pixelcnn": "autoregressive",
}

Array = NDArray[Any]


def main() -> None:
    """Write the images."""
    imggen_lib.configure_process()
    FOLDER.mkdir(parents=True, exist_ok=True)
    save("society", society(), factor=4)
    measured(FOLDER / "measured.png")


def save(name: str, image: Array, *, factor: int) -> None:
    """Write an image, enlarged by a whole factor."""
    pixels = np.round(image * 255).astype(np.uint8).repeat(factor, axis=0).repeat(factor, axis=1)
    Image.fromarray(pixels).save(FOLDER / f"{name}.png", optimize=True)


def society(*, rows: int = 3, samples: int = 4) -> Array:
    """Return rows of the known part of a marble, of samples of the missing part beside it, and of the marble itself."""
    marbles, _ = rendering.render_marbles(rows, rng=5, size=32)
    operator = restoration.Masked(np.mgrid[:32, :32][1] >= 13)
    known = operator.measure(marbles)
    denoise = restoration.denoiser(pretrained.load("marble_diffusion"))
    filled = [
        restoration.restore(denoise, known, operator, seed=seed, steps=20, resampling_steps=2) for seed in range(samples)
    ]
    states = np.stack([np.where(operator.missing, 0.85, marbles), *filled, marbles], axis=1)
    # A white line separates the known part from what was added.
    states[:, 1:-1, :, 13] = 1
    return io.contact_sheet(states.reshape(-1, 32, 32, 3), columns=samples + 2, gap=1)


def measured(path: Path, *, columns: int = 8) -> None:
    """Plot samples of the shipped models in the order of their Fréchet distance in ``benchmarks/shipped_models.json``."""
    board = json.loads((ROOT / "benchmarks" / "shipped_models.json").read_text("utf-8"))
    rows = {"real images": (board["real"], datasets.load("fashion_mnist").x_train[:columns], COLOURS["real"])}
    for name, row in board["models"].items():
        if row["sha256"] != pretrained.record(name)["sha256"]:
            raise SystemExit(f"page_images: the weights of {name} have changed since the benchmark; run `make bench` first")
        rows[name] = row, pretrained.load(name).sample(columns, seed=0), COLOURS[FAMILIES[name]]
    ordered = sorted(rows, key=lambda name: rows[name][0]["frechet"]["classifier"])

    images = np.concatenate([rows[name][1] * to_rgb(rows[name][2]) for name in ordered])
    sheet = io.contact_sheet(images, columns=columns, gap=1).repeat(2, axis=0).repeat(2, axis=1)
    left, high = 262, sheet.shape[0]
    step = 2 * (images.shape[1] + 1)
    figure = plt.figure(figsize=((left + sheet.shape[1]) / DPI, high / DPI), dpi=DPI, facecolor="black")
    figure.figimage(sheet, xo=left, yo=0, origin="upper")
    for index, name in enumerate(ordered):
        place = 1 - (index + 0.5) * step / high
        of = {"y": place, "color": rows[name][2], "va": "center", "fontsize": 15}
        figure.text(12 / (left + sheet.shape[1]), s=name, **of)
        distance = f"{rows[name][0]['frechet']['classifier']:.3g}"
        figure.text((left - 14) / (left + sheet.shape[1]), s=distance, ha="right", weight="bold", **of)
    figure.savefig(path, dpi=DPI, facecolor="black")
    plt.close(figure)


if __name__ == "__main__":
    main()

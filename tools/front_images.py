"""Make the images of the front page from the shipped models: ``python tools/front_images.py``.

Writes ``_static/front/*.png``. Every image is made by rules or by a shipped model. Seeds are fixed and samples are not
selected, so the same weights give the same images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import imggen_lib
from imggen_lib import datasets, io, pretrained, rendering
from imggen_lib.datasets import marble_captions
from imggen_lib.models.diffusion.sampler import reverse_diffusion
from imggen_lib.notebook import figures

FOLDER = Path(__file__).parents[1] / "_static" / "front"
CARD = (640, 384)
SCALE = 4

Array = NDArray[Any]


def main() -> None:
    """Write the images."""
    imggen_lib.configure_process()
    FOLDER.mkdir(parents=True, exist_ok=True)
    save("hero", io.contact_sheet(hero(rows=8, columns=9), columns=9, gap=1), factor=SCALE)
    save("rules", io.contact_sheet(rendering.render_marbles(15, rng=2, size=128)[0], columns=5, gap=0), size=CARD)
    save("clothes", io.contact_sheet(pretrained.load("gan").sample(40, seed=3), columns=8, gap=0), size=CARD)
    save("map", figures.latent_map(pretrained.load("vae_2d").decode, cells=16)[28 * 3 : -28 * 3], size=CARD)
    save("noise", io.contact_sheet(from_noise("diffusion", clothes_labels(5), columns=8), columns=8, gap=0), size=CARD)
    save("marbles", io.contact_sheet(pretrained.load("marble_gan").sample(15, seed=1), columns=5, gap=0), size=CARD)
    save("captions", io.contact_sheet(from_caption(15), columns=5, gap=0), size=CARD)


def save(name: str, image: Array, *, factor: int | None = None, size: tuple[int, int] | None = None) -> None:
    """Write an image, enlarged by a whole factor, or until it fills a size and then cut around its centre."""
    pixels = np.round(np.squeeze(image) * 255).astype(np.uint8)
    found = Image.fromarray(pixels).convert("RGB")
    if factor is None and size is not None:
        factor = max(-(-size[0] // found.width), -(-size[1] // found.height))
    assert factor is not None
    found = found.resize((found.width * factor, found.height * factor), Image.Resampling.NEAREST)
    if size is not None:
        left, top = ((a - b) // 2 for a, b in zip(found.size, size, strict=True))
        found = found.crop((left, top, left + size[0], top + size[1]))
    found.save(FOLDER / f"{name}.png", optimize=True)


def from_noise(name: str, labels: Array, *, columns: int, guidance_scale: float = 1.0) -> Array:
    """Return, for each label, the states of a diffusion model's sampler from noise to an image, in one array of images."""
    model, states = pretrained.load(name), []

    def velocity(noisy: Array, angle: float) -> Array:
        states.append(noisy)
        return model.predict_velocity(noisy, angle, labels=labels, guidance_scale=guidance_scale)

    rng = np.random.default_rng(4)
    noise = rng.standard_normal((len(labels), *model.image_shape))
    states.append(reverse_diffusion(velocity, noise, rng=rng, steps=3 * columns))
    # The first third is noise to the eye.
    chosen = np.clip((np.stack(states[-1 - 2 * (columns - 1) :: 2], axis=1) + 1) / 2, 0, 1)
    return chosen.reshape(-1, *model.image_shape)


def clothes_labels(rows: int) -> Array:
    """Return the first classes of clothes, one-hot."""
    return np.eye(len(datasets.CLOTHES), dtype=np.float32)[[9, 0, 8, 3, 7][:rows]]


def hero(*, rows: int, columns: int) -> Array:
    """Return rows of images that turn from noise to marbles of the captions' colours."""
    captions = [f"a large {colour} marble" for colour in marble_captions.FACTORS["colour"]] * 2
    return from_noise("marble_diffusion", marble_captions.encode(captions[:rows]), columns=columns, guidance_scale=2)


def from_caption(n: int) -> Array:
    """Return images of marbles for the first n captions of a list of all colours and backgrounds."""
    words = marble_captions.FACTORS
    pairs = [(colour, ground) for ground in words["background"] for colour in words["colour"]]
    captions = [f"a large {colour} marble on a {ground} background" for colour, ground in pairs][:n]
    labels = marble_captions.encode(captions)
    return pretrained.load("marble_diffusion").sample(n, seed=0, labels=labels, guidance_scale=2)


if __name__ == "__main__":
    main()

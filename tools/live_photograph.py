"""Writes the photograph of the live figures, _static/live/photograph.js: a small JPEG in base64."""

import base64
import io
from pathlib import Path

import skimage.data
from PIL import Image

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "_static" / "live" / "photograph.js"
SIZE = (160, 120)

SCRIPT = """\
// The photograph of the live figures: the cat Chelsea, by Stefan van der Walt, CC0. It is
// skimage.data.chelsea, cropped and reduced to {width} by {height} pixels. Made by tools/live_photograph.py.
"use strict";

imggenLive.photograph = async tools => {{
  const image = new Image();
  image.src = "data:image/jpeg;base64,{data}";
  await image.decode();
  return tools.fromSource(image, {width}, {height});
}};
"""


def photograph() -> Image.Image:
    """Return the reduced photograph."""
    return Image.fromarray(skimage.data.chelsea()[:, 25:425]).resize(SIZE, Image.Resampling.LANCZOS)


def script() -> str:
    """Return the text of the script."""
    buffer = io.BytesIO()
    photograph().save(buffer, "JPEG", quality=92, optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    return SCRIPT.format(width=SIZE[0], height=SIZE[1], data=data)


if __name__ == "__main__":
    TARGET.write_text(script())

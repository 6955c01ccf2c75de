"""Animations of images that play in a static page."""

from __future__ import annotations

import base64
import html
import io
import uuid
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from imggen_lib import _validation as validate
from imggen_lib.io import contact_sheet

if TYPE_CHECKING:
    from IPython.display import HTML

__all__ = ["show_film"]


def show_film(frames: ArrayLike, *, alt: str, caption: str, scale: float = 1.0, seconds: float = 0.25) -> HTML:
    """Show images one after the other, with a button for play and pause and a slider over the frames.

    The film is paused at first. All frames are in the page, in one PNG, so it needs no kernel and no network.

    Parameters
    ----------
    frames : array_like
        ``(n, height, width, channels)`` in [0, 1], with 1 or 3 channels.
    alt : str
        A description for readers who cannot see the film.
    caption : str
        The text below the film.
    scale : float
        Screen pixels per pixel of a frame.
    seconds : float
        Duration of each frame.

    Returns
    -------
    IPython.display.HTML

    Raises
    ------
    ValueError
        If there are fewer than two frames, or the alt text or the caption is empty.

    Examples
    --------
    A square that becomes brighter over three frames:

    >>> frames = np.linspace(0, 1, 3)[:, None, None, None] * np.ones((3, 8, 8, 1))
    >>> film = show_film(frames, alt="A square turns from black to white.", caption="Three levels of grey.")
    >>> 'max="2"' in film.data
    True
    """
    from IPython.display import HTML
    from PIL import Image

    frames = validate.image(frames, "frames", ndim=4)
    if len(frames) < 2:
        raise ValueError(f"frames has {len(frames)} image; expected at least 2. Use figures.show_images for a single image")
    if not (alt and caption):
        raise ValueError(f"alt is {alt!r} and caption is {caption!r}; expected a sentence for each")
    strip = contact_sheet(frames, columns=1, gap=0)
    file = io.BytesIO()
    Image.fromarray(np.round(strip * 255).astype("uint8")).save(file, "PNG", optimize=True)
    return HTML(
        _FILM.format(
            name=f"film-{uuid.uuid5(uuid.NAMESPACE_OID, f'{alt}{caption}{strip.tobytes()!r}').hex[:12]}",
            strip=base64.b64encode(file.getvalue()).decode(),
            alt=html.escape(alt, quote=True),
            caption=html.escape(caption),
            last=len(frames) - 1,
            width=round(frames.shape[2] * scale),
            ratio=frames.shape[2] / frames.shape[1],
            milliseconds=round(1000 * validate.real(seconds, "seconds", minimum=0)),
        )
    )


_FILM = """<figure class="film" id="{name}">
<div role="img" aria-label="{alt}" style="width: {width}px; max-width: 100%; aspect-ratio: {ratio};
image-rendering: pixelated; background: url(data:image/png;base64,{strip}) 0 0 / 100% auto"></div>
<div><button type="button" aria-label="Play">&#9654;</button>
<input type="range" min="0" max="{last}" value="0" aria-label="Frame"></div>
<figcaption>{caption}</figcaption>
<script>
(() => {{
  const film = document.getElementById("{name}");
  const [image, slider, button] = ["div", "input", "button"].map(tag => film.querySelector(tag));
  let clock = null;
  const show = () => {{ image.style.backgroundPositionY = 100 * slider.value / slider.max + "%"; }};
  const next = () => {{ slider.value = (Number(slider.value) + 1) % (Number(slider.max) + 1); show(); }};
  const label = (sign, word) => {{ button.innerHTML = sign; button.ariaLabel = word; }};
  const play = () => {{ clock = setInterval(next, {milliseconds}); label("&#10074;&#10074;", "Pause"); }};
  const pause = () => {{ clearInterval(clock); clock = null; label("&#9654;", "Play"); }};
  button.onclick = () => clock ? pause() : play();
  slider.oninput = () => {{ pause(); show(); }};
}})();
</script>
</figure>"""

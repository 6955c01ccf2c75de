"""Animations of images that play in a static page."""

import base64
import html
import io
import uuid

import numpy as np

from imggen_lib import _validation as validate
from imggen_lib.notebook.figures import contact_sheet


def show_film(frames, *, alt, caption, scale=1.0, seconds=0.25):
    """Show pictures one after the other, with a button that plays or pauses them and a slider over the frames.

    It stands still until somebody presses the button: nothing moves that the reader has not asked for. All frames are in
    the page, in one PNG, so it needs neither a running kernel nor anything from another place.

    Parameters
    ----------
    frames : array_like
        ``(n, height, width, channels)`` in [0, 1], with 1 or 3 channels.
    alt : str
        What the film shows, for someone who cannot see it.
    caption : str
        Stands below it.
    scale : float
        Screen pixels for each pixel of a frame.
    seconds : float
        How long each frame stays.

    Returns
    -------
    IPython.display.HTML

    Raises
    ------
    ValueError
        If there are fewer than two frames, or no alt text or caption.

    Examples
    --------
    >>> "<button" in show_film(np.zeros((3, 8, 8, 1)), alt="Darkness", caption="Three dark pictures.").data
    True
    """
    from IPython.display import HTML
    from PIL import Image

    frames = validate.image(frames, "frames", ndim=4)
    if len(frames) < 2:
        raise ValueError(f"frames holds {len(frames)} picture; expected two or more, for show_images shows a single one")
    if not (alt and caption):
        raise ValueError(f"alt is {alt!r} and caption is {caption!r}; expected a sentence each")
    strip = contact_sheet(frames, columns=1, gap=0)
    file = io.BytesIO()
    Image.fromarray(np.round(strip * 255).astype("uint8")).save(file, "PNG", optimize=True)
    return HTML(
        _FILM.format(
            name=f"film-{uuid.uuid5(uuid.NAMESPACE_OID, f'{alt}{caption}{strip.tobytes()}').hex[:12]}",
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
  const [picture, slider, button] = ["div", "input", "button"].map(tag => film.querySelector(tag));
  let clock = null;
  const show = () => {{ picture.style.backgroundPositionY = 100 * slider.value / slider.max + "%"; }};
  const next = () => {{ slider.value = (Number(slider.value) + 1) % (Number(slider.max) + 1); show(); }};
  const label = (sign, word) => {{ button.innerHTML = sign; button.ariaLabel = word; }};
  const play = () => {{ clock = setInterval(next, {milliseconds}); label("&#10074;&#10074;", "Pause"); }};
  const pause = () => {{ clearInterval(clock); clock = null; label("&#9654;", "Play"); }};
  button.onclick = () => clock ? pause() : play();
  slider.oninput = () => {{ pause(); show(); }};
}})();
</script>
</figure>"""

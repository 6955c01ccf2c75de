"""Draw ``_static/systems.svg``, the diagram of the page "How today's systems work": ``python tools/draw_systems.py``.

The diagram has numbers instead of words; the caption on the page explains them.
"""

from __future__ import annotations

import colorsys
import random
from pathlib import Path

SVG = Path(__file__).parents[1] / "_static" / "systems.svg"
WIDTH, HEIGHT = 760, 270
BLUE, ORANGE, GREEN, INK = "#0072B2", "#E69F00", "#009E73", "#333333"


def rectangle(x: float, y: float, width: float, height: float, fill: str, *, radius: float = 0) -> str:
    """Return a rectangle."""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}" fill="{fill}"/>'


def arrow(path: str) -> str:
    """Return a path with an arrowhead at its end."""
    return f'<path d="{path}" fill="none" stroke="{INK}" stroke-width="2.5" marker-end="url(#head)"/>'


def number(x: float, y: float, text: str, fill: str = INK) -> str:
    """Return a number in a disc."""
    disc = f'<circle cx="{x:g}" cy="{y:g}" r="13" fill="{fill}" stroke="white" stroke-width="2"/>'
    style = 'font-family="sans-serif" font-size="15" font-weight="bold" text-anchor="middle"'
    return f'{disc}<text x="{x:g}" y="{y + 5:g}" {style} fill="white">{text}</text>'


def landscape(row: float, column: float) -> tuple[float, float, float]:
    """Return the colour of a place in the unit square: a sun over hills."""
    if (row - 0.28) ** 2 + (column - 0.7) ** 2 < 0.022:
        return 1.0, 0.75, 0.1
    if row > 0.62 + 0.16 * abs(column - 0.35):
        return 0.1, 0.45 + 0.2 * (1 - row), 0.2
    return 0.45 + 0.3 * row, 0.7 + 0.1 * row, 0.95


def grid(x: float, y: float, size: float, cells: int, noise: float) -> str:
    """Return the landscape in square cells, mixed with random colours."""
    rng, step, parts = random.Random(1), size / cells, []
    for index in range(cells**2):
        row, column = divmod(index, cells)
        chance = colorsys.hsv_to_rgb(rng.random(), 0.7, 0.5 + rng.random() / 2)
        clean = landscape((row + 0.5) / cells, (column + 0.5) / cells)
        mixed = (round(255 * (noise * a + (1 - noise) * b)) for a, b in zip(chance, clean, strict=True))
        fill = "#" + "".join(f"{value:02x}" for value in mixed)
        parts.append(rectangle(round(x + column * step, 2), round(y + row * step, 2), step, step, fill))
    return "".join(parts)


def smooth_landscape(x: float, y: float, size: float) -> str:
    """Return the landscape in smooth shapes."""
    stops = '<stop stop-color="#73b3f2"/><stop offset="1" stop-color="#bfccf2"/>'
    sky = f'<linearGradient id="sky" x1="0" y1="0" x2="0" y2="1">{stops}</linearGradient>'
    hills = [(0, 0.676), (0.35, 0.62), (1, 0.724), (1, 1), (0, 1)]
    points = " ".join(f"{x + size * column:g},{y + size * row:g}" for column, row in hills)
    sun = f'<circle cx="{x + 0.7 * size:g}" cy="{y + 0.28 * size:g}" r="{0.15 * size:g}" fill="#ffbf1a"/>'
    background = rectangle(x, y, size, size, "url(#sky)")
    return f'<defs>{sky}</defs>{background}{sun}<polygon points="{points}" fill="#1a8033"/>'


def diagram() -> str:
    """Return the drawing."""
    head = '<marker id="head" markerWidth="8" markerHeight="8" refX="6" refY="4" orient="auto">'
    parts = [f'<defs>{head}<path d="M0 0L8 4L0 8z" fill="{INK}"/></marker></defs>', rectangle(0, 0, WIDTH, HEIGHT, "white")]
    parts += [rectangle(24, 42 + 16 * line, width, 8, "#999999", radius=4) for line, width in enumerate((96, 110, 70))]
    parts += [arrow("M146 62H184"), rectangle(190, 34, 116, 56, BLUE, radius=8), arrow("M306 62H376V136")]
    parts += [grid(24, 134, 96, 8, 1.0), arrow("M130 182H312")]
    parts += [rectangle(318, 142, 116, 80, ORANGE, radius=8), arrow("M350 222V250H402V228")]
    parts += [arrow("M434 182H466"), grid(472, 146, 72, 8, 0.0), arrow("M552 182H574")]
    parts += [rectangle(580, 154, 52, 56, GREEN, radius=8), arrow("M632 182H648"), smooth_landscape(654, 134, 96)]
    places = [(28, 28), (248, 62), (28, 134), (376, 182), (476, 146), (606, 182), (738, 134)]
    parts += [number(x, y, str(index)) for index, (x, y) in enumerate(places, 1)]
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(parts)}</svg>\n'


if __name__ == "__main__":
    SVG.write_text(diagram())

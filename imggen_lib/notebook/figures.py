"""Figures in the style of the book. A figure's caption and alt text are in the metadata of the cell that plots it."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import Collection, QuadMesh
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate
from imggen_lib.io import contact_sheet

__all__ = ["STYLE", "contact_sheet", "is_vector", "latent_map", "show_curves", "show_images", "use_style"]

Array = NDArray[np.floating]

#: Pixels of the page per inch of a figure. Raster images have twice as many, for screens with dense pixels.
PIXELS_PER_INCH = 110
#: Figures with more points than this are raster images, because a vector image would be large and slow.
MOST_POINTS = 20_000

#: Matplotlib settings of all figures. The colours are Okabe and Ito's, which colour-blind readers can distinguish.
STYLE: dict[str, Any] = {
    "figure.dpi": PIXELS_PER_INCH,
    "figure.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "imggen",
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "image.cmap": "gray",
    "image.interpolation": "nearest",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "axes.prop_cycle": plt.cycler(color=["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]),
}


def use_style() -> None:
    """Apply :data:`STYLE` to all figures that follow; in a notebook, show plots as SVG and images as PNG.

    Examples
    --------
    >>> use_style()
    >>> plt.rcParams["image.cmap"]
    'gray'
    """
    from IPython import get_ipython

    plt.rcParams.update(STYLE)  # type: ignore[arg-type]
    shell = get_ipython()
    if shell is not None:
        # The notebook's backend registers its own formatters when it is loaded, which must be before.
        plt.switch_backend(plt.get_backend())
        formatters = shell.display_formatter.formatters
        formatters["image/svg+xml"].for_type(Figure, _svg)
        formatters["image/png"].for_type(Figure, _png)


def is_vector(figure: Figure) -> bool:
    """Return whether a figure is shown as a vector image: it has no image in it, and not too many points.

    Examples
    --------
    >>> figure, axis = plt.subplots()
    >>> line = axis.plot([1, 2, 3])
    >>> is_vector(figure)
    True
    >>> image = axis.imshow(np.eye(3))
    >>> is_vector(figure)
    False
    >>> plt.close(figure)
    """
    points = 0
    for artist in figure.findobj():
        if isinstance(artist, AxesImage | QuadMesh):
            return False
        if isinstance(artist, Line2D):
            points += len(np.asarray(artist.get_xydata()))
        elif isinstance(artist, Collection):
            points += len(np.asarray(artist.get_offsets()))
            points += sum(len(np.asarray(path.vertices)) for path in artist.get_paths())
    return points <= MOST_POINTS


def _svg(figure: Figure) -> str | None:
    if not is_vector(figure):
        return None
    file = io.StringIO()
    # Without a date, the same data give the same file.
    figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = file.getvalue()
    # Matplotlib writes the size in points, 72 to an inch.
    scale = PIXELS_PER_INCH / 72
    return re.sub(r'(width|height)="([\d.]+)pt"', lambda m: f'{m[1]}="{float(m[2]) * scale:.1f}"', text, count=2)


def _png(figure: Figure) -> tuple[bytes, dict[str, int]] | None:
    if is_vector(figure):
        return None
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=2 * PIXELS_PER_INCH, bbox_inches="tight")
    data = file.getvalue()
    width, height = struct.unpack(">II", data[16:24])
    return data, {"width": width // 2, "height": height // 2}


def show_images(
    images: Any,
    *,
    columns: int = 10,
    titles: Sequence[str] | None = None,
    scale: float = 0.7,
) -> Figure:
    """Show images in rows.

    Parameters
    ----------
    images : array_like or sequence of array_like
        ``(n, height, width, channels)`` in [0, 1], or images ``(height, width[, channels])`` of any sizes.
    columns : int
        Images per row.
    titles : sequence of str, optional
        One for each image.
    scale : float
        Width of one image in inches.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a value lies outside [0, 1], there are no images, or the number of titles is another.

    Examples
    --------
    >>> figure = show_images(np.zeros((3, 8, 8, 1)), titles=["a", "b", "c"])
    >>> [axis.get_title() for axis in figure.axes]
    ['a', 'b', 'c']
    >>> plt.close(figure)
    """
    checked = [validate.image(image, "image") for image in images]
    if not checked:
        raise ValueError("images is empty; expected at least one image")
    if titles is not None and len(titles) != len(checked):
        raise ValueError(f"there are {len(titles)} titles for {len(checked)} images; expected one for each")
    columns = min(validate.integer(columns, "columns"), len(checked))
    shape = checked[0].shape
    if titles is None and len(checked) > 1 and {image.shape for image in checked} == {shape}:
        return _show_sheet(np.reshape(checked, (len(checked), *shape[:2], -1)), columns, scale)
    title_height = 0 if titles is None else 0.25
    rows, height = -(-len(checked) // columns), scale * shape[0] / shape[1] + title_height
    figure = plt.figure(figsize=(columns * scale, rows * height))
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    for index, image in enumerate(checked):
        axis = figure.add_subplot(rows, columns, index + 1)
        axis.axis("off")
        axis.imshow(image[..., 0] if image.shape[2:] == (1,) else image, cmap="gray", vmin=0, vmax=1)
        if titles is not None:
            axis.set_title(titles[index])
    return figure


def _show_sheet(images: Array, columns: int, scale: float) -> Figure:
    """Show images of one size in a single axes, because hundreds of axes take seconds to draw."""
    gap = max(1, round(images.shape[2] * 0.04 / scale))
    sheet = contact_sheet(images, columns=columns, gap=gap)
    height, width = np.array(sheet.shape[:2]) * scale / (images.shape[2] + gap)
    figure = plt.figure(figsize=(width, height), layout="none")
    axis = figure.add_axes((0, 0, 1, 1))
    axis.axis("off")
    axis.imshow(sheet, cmap="gray", vmin=0, vmax=1)
    return figure


def show_curves(history: Any, *, names: Sequence[str] | None = None, ylabel: str = "loss") -> Figure:
    """Plot training curves over epochs.

    Parameters
    ----------
    history : keras.callbacks.History or dict
        The result of ``fit``, or its attribute ``history``.
    names : sequence of str, optional
        The curves to plot; all of them by default.
    ylabel : str

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there is no curve of a name.

    Examples
    --------
    The first epoch has the number 1:

    >>> figure = show_curves({"loss": [3.0, 2.0, 1.5]})
    >>> figure.axes[0].lines[0].get_xdata().tolist()
    [1, 2, 3]
    >>> plt.close(figure)
    """
    curves: Mapping[str, Sequence[float]] = getattr(history, "history", history)
    chosen = {name: curves[validate.choice(name, "curve", curves)] for name in names or curves}
    figure, axis = plt.subplots(figsize=(6, 2.8))
    for name, values in chosen.items():
        axis.plot(range(1, len(values) + 1), values, marker=".", label=name.replace("_", " "))
    axis.set(xlabel="epoch", ylabel=ylabel)
    axis.legend()
    return figure


def latent_map(decode: Callable[[Array], ArrayLike], *, cells: int = 15, extent: float = 2.5) -> Array:
    """Decode a square grid of two-dimensional latent vectors into one image.

    Parameters
    ----------
    decode : callable
        From latent vectors ``(n, 2)`` to images ``(n, height, width, channels)`` in [0, 1].
    cells : int
        Images along each side.
    extent : float
        The grid spans [-extent, extent] along both axes: the first coordinate to the right, the second upwards.

    Returns
    -------
    numpy.ndarray
        ``(cells * height, cells * width)``, or ``(..., 3)`` in colour, in [0, 1].

    Raises
    ------
    ValueError
        If the images have another number of channels than 1 or 3, or values outside [0, 1].

    References
    ----------
    Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014, appendix A.

    Examples
    --------
    A decoder that shows the second coordinate as brightness gives bright images at the top:

    >>> image = latent_map(lambda z: np.tile((z[:, 1, None, None, None] + 1) / 2, (1, 4, 4, 1)), cells=3, extent=1)
    >>> image.shape, float(image[0, 0]), float(image[-1, 0])
    ((12, 12), 1.0, 0.0)
    """
    axis = np.linspace(-extent, extent, validate.integer(cells, "cells", minimum=2))
    first, second = np.meshgrid(axis, axis[::-1])
    latent = np.column_stack([first.ravel(), second.ravel()])
    return contact_sheet(decode(latent), columns=cells, gap=0)

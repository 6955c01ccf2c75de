"""Figures as the pages show them. What a figure shows is said in its caption and alt text, which stand in the page."""

import matplotlib.pyplot as plt
import numpy as np

from imggen_lib import _validation as validate
from imggen_lib.io import contact_sheet
from imggen_lib.notebook.profile import is_interactive

STYLE = {
    "figure.dpi": 110,
    "figure.facecolor": "white",
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
    # Okabe and Ito's colours, which colour-blind readers can tell apart.
    "axes.prop_cycle": plt.cycler(color=["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]),
}


def use_style():
    """Make every following figure look like the others of the book.

    Examples
    --------
    >>> use_style()
    """
    plt.rcParams.update(STYLE)


def show_images(images, *, columns=10, titles=None, scale=0.7):
    """Show pictures in rows.

    Parameters
    ----------
    images : array_like
        ``(n, height, width, channels)`` in [0, 1], or a list of pictures ``(height, width[, channels])`` of any sizes.
    columns : int
        Pictures a row.
    titles : sequence of str, optional
        One for each picture.
    scale : float
        Width of one picture in inches.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a value lies outside [0, 1], or there are not as many titles as pictures.

    Examples
    --------
    >>> figure = show_images(np.zeros((3, 8, 8, 1)), titles=["a", "b", "c"])
    >>> len(figure.axes)
    3
    >>> plt.close(figure)
    """
    pictures = [validate.image(image, "image") for image in images]
    if not pictures:
        raise ValueError("there are no images to show")
    if titles is not None and len(titles) != len(pictures):
        raise ValueError(f"there are {len(titles)} titles for {len(pictures)} images; expected one for each")
    columns = min(validate.integer(columns, "columns"), len(pictures))
    shape = pictures[0].shape
    if titles is None and len(pictures) > 1 and {picture.shape for picture in pictures} == {shape}:
        return _show_sheet(np.reshape(pictures, (len(pictures), *shape[:2], -1)), columns, scale)
    rows, height = -(-len(pictures) // columns), scale * shape[0] / shape[1] + (0 if titles is None else 0.25)
    figure = plt.figure(figsize=(columns * scale, rows * height), layout="constrained")
    for index, picture in enumerate(pictures):
        axis = figure.add_subplot(rows, columns, index + 1)
        axis.axis("off")
        axis.imshow(picture[..., 0] if picture.shape[2:] == (1,) else picture, cmap="gray", vmin=0, vmax=1)
        if titles is not None:
            axis.set_title(titles[index])
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    return figure


def _show_sheet(pictures, columns, scale):
    """Show pictures of one size as one: hundreds of axes would take seconds to draw."""
    gap = max(1, round(pictures.shape[2] * 0.04 / scale))
    sheet = contact_sheet(pictures, columns=columns, gap=gap)
    height, width = np.array(sheet.shape[:2]) * scale / (pictures.shape[2] + gap)
    axis = plt.figure(figsize=(width, height), layout="none").add_axes((0, 0, 1, 1))
    axis.axis("off")
    axis.imshow(sheet, cmap="gray", vmin=0, vmax=1)
    return axis.figure


def show_curves(history, *, names=None, ylabel="loss"):
    """Plot training curves over epochs.

    Parameters
    ----------
    history : keras.callbacks.History or dict
        What ``fit`` returned, or its ``history``.
    names : sequence of str, optional
        Which curves; all of them without it.
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
    >>> figure = show_curves({"loss": [3, 2, 1]})
    >>> plt.close(figure)
    """
    curves = getattr(history, "history", history)
    chosen = {name: curves[validate.choice(name, "curve", curves)] for name in names or curves}
    figure, axis = plt.subplots(figsize=(6, 2.8))
    for name, values in chosen.items():
        axis.plot(range(1, len(values) + 1), values, marker=".", label=name.replace("_", " "))
    axis.set(xlabel="epoch", ylabel=ylabel)
    axis.legend()
    return figure


def latent_map(decode, *, cells=15, extent=2.5):
    """Decode a square grid of two-dimensional codes into one picture: a map of what a model can draw.

    Parameters
    ----------
    decode : callable
        From codes ``(n, 2)`` to pictures ``(n, height, width, channels)`` in [0, 1].
    cells : int
        Pictures along each side.
    extent : float
        The grid spans [-extent, extent] along both axes, the second code upwards.

    Returns
    -------
    numpy.ndarray
        The map, ``(height, width)`` or ``(height, width, 3)`` in [0, 1].

    Raises
    ------
    ValueError
        If the pictures have another number of channels than 1 or 3, or values outside [0, 1].

    Examples
    --------
    >>> latent_map(lambda codes: np.zeros((len(codes), 4, 4, 1)), cells=3).shape
    (12, 12)
    """
    axis = np.linspace(-extent, extent, validate.integer(cells, "cells", minimum=2))
    first, second = np.meshgrid(axis, axis[::-1])
    codes = np.column_stack([first.ravel(), second.ravel()])
    return contact_sheet(decode(codes), columns=cells, gap=0)


def glue(name, value):
    """Keep a value of this run under a name, so that the prose of the page can quote it.

    In the built book ``{glue:text}`name``` shows it. This is what ``myst_nb.glue`` does for text, without needing the
    tools that build the book to run a page.

    Parameters
    ----------
    name : str
    value : str
        Formatted as it is to be read.

    Raises
    ------
    TypeError
        If the value is no text.

    Examples
    --------
    A Python session without a notebook prints what a notebook keeps:

    >>> glue("answer", f"{6 * 7}")
    {'application/papermill.record/text/plain': "'42'"}
    """
    from IPython.display import display

    if not isinstance(value, str):
        raise TypeError(f"value is {value!r}; expected text, formatted as it is to be read")
    mime = "application/papermill.record/text/plain"
    metadata = {"scrapbook": {"name": name, "mime_prefix": "application/papermill.record/"}}
    # The book's builder evaluates the text as a literal, so "1,000" unquoted would come out as a pair of numbers.
    data = {mime: repr(value)}
    if is_interactive():
        # JupyterLab cannot put the value into the prose, so it shows it where it was computed.
        data["text/plain"] = f"{name}: {value}"
    display(data, metadata=metadata, raw=True)

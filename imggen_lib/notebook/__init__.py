"""What the pages of the book need besides the library: figures, animations, widgets, exercises, profiles."""

from __future__ import annotations


def setup() -> None:
    """Prepare a notebook for a page: process settings and the style of figures. The first cell of every page calls it.

    Examples
    --------
    >>> setup()
    >>> import matplotlib.pyplot as plt
    >>> plt.rcParams["axes.spines.top"]
    False
    """
    from imggen_lib import configure_process

    configure_process()  # before NumPy and TensorFlow are imported
    from imggen_lib.notebook import figures

    figures.use_style()

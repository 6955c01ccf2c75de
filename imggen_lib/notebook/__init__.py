"""Tools of the pages: set-up of a notebook, figures, animations, widgets, exercises, the profile of a page."""

from __future__ import annotations

__all__ = ["setup"]


def setup() -> None:
    """Prepare a notebook for a page: process settings and the style of figures. The first cell of every page calls it.

    See Also
    --------
    imggen_lib.configure_process : the process settings.
    imggen_lib.notebook.figures.use_style : the style of figures.

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

"""Tools of the pages: set-up of a notebook, figures, animations, widgets, exercises, the profile of a page."""

from __future__ import annotations

import os
import sys

__all__ = ["setup"]


def setup() -> None:
    """Prepare a notebook for a page: process settings and the style of figures. The first cell of every page calls it.

    Messages that C++ code writes to standard error, such as TensorFlow's list of processor features, go to the terminal of
    Jupyter instead of the page. Python's warnings and errors stay on the page.

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
    _send_native_messages_to_terminal()


def _send_native_messages_to_terminal() -> None:
    """Undo ipykernel's capture of file descriptor 2, which ``sys.stderr`` does not need."""
    try:
        terminal = sys.stderr.fileno()  # ipykernel's stream returns a copy of the original descriptor
    except (AttributeError, OSError):  # a stream without a descriptor
        return
    os.dup2(terminal, 2)

"""The profile of a page: how much it computes. The environment variable ``IMGGEN_PROFILE`` names it."""

from __future__ import annotations

import os
from typing import TypeVar

from imggen_lib import _validation as validate

__all__ = ["PROFILES", "choose", "current", "is_interactive"]

T = TypeVar("T")

#: The names of the profiles: minutes on two cores, and full size on a GPU.
PROFILES = ("quick", "full")


def current() -> str:
    """Return the name of the profile: the value of ``IMGGEN_PROFILE``, or ``"quick"`` if it is not set.

    Raises
    ------
    ValueError
        If the variable has another value than ``"quick"`` or ``"full"``.

    Examples
    --------
    >>> os.environ["IMGGEN_PROFILE"] = "full"
    >>> current()
    'full'
    >>> del os.environ["IMGGEN_PROFILE"]
    >>> current()
    'quick'
    """
    return validate.choice(os.environ.get("IMGGEN_PROFILE", "quick"), "IMGGEN_PROFILE", PROFILES)


def choose(*, quick: T, full: T) -> T:
    """Return the value that belongs to the current profile.

    Examples
    --------
    The number of epochs of a page, without ``IMGGEN_PROFILE``:

    >>> choose(quick=3, full=30)
    3
    """
    return {"quick": quick, "full": full}[current()]


def is_interactive() -> bool:
    """Return whether this process is the kernel of a notebook that a reader has opened.

    It is False in a kernel that pytest started to execute a page. (JupyterLab itself may run under a test, which starts it
    in its set-up phase; its kernels are interactive.)

    Examples
    --------
    >>> is_interactive()
    False
    """
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel") and not os.environ.get("PYTEST_CURRENT_TEST", "").endswith("(call)")

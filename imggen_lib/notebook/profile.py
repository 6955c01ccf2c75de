"""How long pages train: the profile that ``IMGGEN_PROFILE`` names."""

import os

from imggen_lib import _validation as validate

PROFILES = ("quick", "full")


def profile():
    """Return the profile that the variable ``IMGGEN_PROFILE`` names: ``"quick"`` (also when unset) or ``"full"``.

    Raises
    ------
    ValueError
        If the variable holds anything else.

    Examples
    --------
    >>> profile() in PROFILES
    True
    """
    return validate.choice(os.environ.get("IMGGEN_PROFILE", "quick"), "IMGGEN_PROFILE", PROFILES)


def choose(*, quick, full):
    """Return one of two values, as :func:`profile` says: how long a page trains, say.

    Examples
    --------
    >>> choose(quick=1, full=10) in (1, 10)
    True
    """
    return {"quick": quick, "full": full}[profile()]


def is_interactive():
    """Whether this is a notebook's kernel that was not started by a test: pytest tells its children that they are in one.

    (JupyterLab may itself run under a test, which then has started it in its set-up.)

    Examples
    --------
    >>> is_interactive()
    False
    """
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel") and not os.environ.get("PYTEST_CURRENT_TEST", "").endswith("(call)")

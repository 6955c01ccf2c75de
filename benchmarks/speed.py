"""Timing of functions against each other.

The functions are called in turn, in one run, so that other programs disturb all of them alike. Each turn gives one ratio of
times; reported are the median ratio and the interquartile range. No test depends on these times.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def in_turn(
    functions: Sequence[Callable[[], object]], repeats: int, clock: Callable[[], float] = time.process_time
) -> Array:
    """Return the seconds that functions without arguments take: a row for each turn, a column for each function.

    The first turn, which may import and compile, is left out. The default clock counts the processor time of this process;
    with ``time.perf_counter`` waiting counts too.
    """

    def timed(function: Callable[[], object]) -> float:
        start = clock()
        function()
        return clock() - start

    return np.array([[timed(function) for function in functions] for _ in range(repeats + 1)])[1:]


def ratio(ours: Array, theirs: Array) -> str:
    """Return the median ratio of two columns, with the interquartile range in brackets."""
    low, median, high = np.percentile(ours / theirs, [25, 50, 75])
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


def verdict(ours: Array, theirs: Array) -> str:
    """Return "faster" or "slower" if the interquartile range of the ratios excludes 1."""
    low, high = np.percentile(ours / theirs, [25, 75])
    return "faster" if high < 1 else "slower" if low > 1 else "no difference"

"""How two sides are timed against each other, for the comparisons of speed.

They are called in turn, in one run, so that whatever else the machine does disturbs both. Each turn gives one ratio, ours
over theirs; told are the median ratio and the middle half of them. No test depends on it: a test that measures time fails
by chance.
"""

import time

import numpy as np


def in_turn(sides, repeats, clock=time.process_time):
    """Return the seconds of functions without arguments, a row for each turn and a column for each function.

    The first turn, which may import and trace, is not counted. Waiting for other programs adds nothing to processor time;
    with ``time.perf_counter`` as the clock it counts, and so do threads.
    """

    def timed(side):
        began = clock()
        side()
        return clock() - began

    return np.array([[timed(side) for side in sides] for _ in range(repeats + 1)])[1:]


def ratio(ours, theirs):
    """Return the ratio of two columns in words, with its spread."""
    low, middle, high = np.percentile(ours / theirs, [25, 50, 75])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def verdict(ours, theirs):
    """Return which side was faster, in words: where half of the turns say so."""
    low, high = np.percentile(ours / theirs, [25, 75])
    return "faster" if high < 1 else "slower" if low > 1 else "no difference seen"

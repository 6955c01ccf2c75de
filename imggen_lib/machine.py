"""How this process uses the machine: freed memory is kept, garbage can wait, linear algebra runs on one thread.

These settings cost next to nothing and make the pages of the book faster on a CPU. A variable of the environment undoes
each.
"""

import ctypes
import gc
import os
import sys

# Names and numbers are those of glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8


def keep_freed():
    """Ask the C library to keep what this process frees, for the next step. Does nothing where there is no glibc.

    Every step of a training asks for the same large arrays and gives them back. By default, glibc returns large ones to the
    operating system, which has to fill them with zeros when they are asked for again: half the processor's time went there
    (measured for the marbles' GAN: 1.1 seconds of processor time a step before, 0.5 after). The most that the process holds
    at any time stays about the same; it only gives back less in between.

    Returns
    -------
    bool
        Whether it agreed. The variable ``IMGGEN_KEEP_MEMORY=0`` prevents it.

    References
    ----------
    The GNU C Library's manual, "Malloc tunable parameters".

    Examples
    --------
    >>> keep_freed() in (True, False)
    True
    """
    if os.environ.get("IMGGEN_KEEP_MEMORY", "1") == "0" or not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # One arena, since only the first can grow beyond 64 MB; and nothing large is asked for by a way of its own.
    wishes = {M_ARENA_MAX: 1, M_TRIM_THRESHOLD: 2**31 - 1, M_MMAP_MAX: 0, M_TOP_PAD: 2**28}
    agreed = [mallopt(name, value) == 1 for name, value in wishes.items()]
    return all(agreed)


def collect_less_often():
    """Have Python look for objects that keep each other alive only after 100,000 new ones; by default it is 700 or 2,000.

    Loading Keras and TensorFlow makes millions of objects that stay, and looking through them 1,200 times took a sixth of
    the time (measured: 7.1 seconds of processor time before, 5.9 after). A larger number that somebody has chosen is left.

    Returns
    -------
    bool
        Whether it changed anything. The variable ``IMGGEN_KEEP_MEMORY=0`` prevents it.

    Examples
    --------
    >>> collect_less_often() in (True, False)
    True
    """
    first, *others = gc.get_threshold()
    if os.environ.get("IMGGEN_KEEP_MEMORY", "1") == "0" or not 0 < first < 100_000:
        return False
    gc.set_threshold(100_000, *others)
    return True


def one_thread_for_small_matrices():
    """Ask for one thread in the linear algebra of NumPy and SciPy. Does nothing if ``OPENBLAS_NUM_THREADS`` is set already.

    The matrices of this book are small, and threads that wait for each other take longer than one alone (measured for a
    logistic regression on 1,000 pictures, on two cores with other work to do: 5.7 seconds of processor time with two
    threads, 0.2 with one). It has to be asked before NumPy is loaded. Keras's backend has threads of its own.

    Examples
    --------
    >>> one_thread_for_small_matrices()
    >>> "OPENBLAS_NUM_THREADS" in os.environ
    True
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

"""Allocator, garbage-collector, BLAS-thread and TensorFlow settings of this process, applied by one explicit call."""

from __future__ import annotations

import ctypes
import gc
import os
import sys

# Parameter numbers of mallopt, from glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8

GC_THRESHOLD = 100_000


def configure_process() -> dict[str, bool]:
    """Apply the settings that make training on a CPU faster. Importing the library never does this by itself.

    The command line and the set-up cell of every page call it. Call it before NumPy and TensorFlow are first imported:
    the number of BLAS threads is read at that import. It may be called again.

    - ``allocator``: glibc keeps freed memory for the next training step instead of returning it to the operating system,
      which would have to clear it again. Measured for the GAN of marbles: 1.1 s of processor time a step before, 0.5 s
      after. Linux only.
    - ``garbage_collector``: the first generation is collected after 100,000 allocations instead of 700 (2,000 from Python
      3.13 on). Measured for importing Keras and TensorFlow: 7.1 s before, 5.9 s after.
    - ``blas_threads``: NumPy's linear algebra uses one thread, unless ``OPENBLAS_NUM_THREADS`` is set. The matrices here
      are small; threads that wait for each other are slower than one.
    - ``log_level``: TensorFlow prints warnings and errors only, unless ``TF_CPP_MIN_LOG_LEVEL`` is set.
    - ``graph_optimizer``: TensorFlow's graph optimizer is switched off where there is no GPU. Measured for the first step
      of a small diffusion model: 7.2 s with it, 4.9 s without; later steps were no slower. This setting is applied when
      :mod:`imggen_lib.backend` is imported, as every model does, so that NumPy users do not wait for TensorFlow.

    Returns
    -------
    dict of str to bool
        For each setting, whether it is applied, by this call or an earlier one. ``graph_optimizer`` is False before
        :mod:`imggen_lib.backend` is imported. ``blas_threads`` and ``log_level`` are
        environment variables: they have no effect on a NumPy or TensorFlow that is imported already.

    References
    ----------
    The GNU C Library manual, "Malloc tunable parameters". Larsen and Shpeisman, "TensorFlow graph optimizations", 2019.

    Examples
    --------
    The BLAS setting is an environment variable that NumPy's linear algebra reads:

    >>> configure_process()["blas_threads"]
    True
    >>> os.environ["OPENBLAS_NUM_THREADS"]
    '1'
    """
    blas = os.environ.setdefault("OPENBLAS_NUM_THREADS", "1") == "1"
    log_level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2") == "2"
    return {
        "allocator": _keep_freed_memory(),
        "garbage_collector": _collect_garbage_less_often(),
        "blas_threads": blas,
        "log_level": log_level,
        "graph_optimizer": _request_graph_setting(),
    }


_graph_setting_requested = False


def _request_graph_setting() -> bool:
    """Disable the graph optimizer now if the backend is loaded, otherwise when it is loaded."""
    global _graph_setting_requested
    _graph_setting_requested = True
    return "imggen_lib.backend" in sys.modules and _switch_off_graph_optimizer()


def apply_requested_graph_setting() -> None:
    """Apply the setting of TensorFlow if :func:`configure_process` was called. ``imggen_lib.backend`` calls it."""
    if _graph_setting_requested:
        _switch_off_graph_optimizer()


def _keep_freed_memory() -> bool:
    """Configure glibc to keep freed memory. Return whether it accepted the settings; False without glibc."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # One arena, because only the first can grow beyond 64 MB; and no mmap, because mmapped blocks are always returned.
    settings = {M_ARENA_MAX: 1, M_TRIM_THRESHOLD: 2**31 - 1, M_MMAP_MAX: 0, M_TOP_PAD: 2**28}
    accepted = [mallopt(name, value) == 1 for name, value in settings.items()]
    return all(accepted)


def _collect_garbage_less_often() -> bool:
    """Raise the collector's first threshold, unless it is 0 (collector off) or higher already."""
    first, *others = gc.get_threshold()
    if 0 < first < GC_THRESHOLD:
        gc.set_threshold(GC_THRESHOLD, *others)
    return gc.get_threshold()[0] == GC_THRESHOLD


def _switch_off_graph_optimizer() -> bool:
    """Switch off TensorFlow's graph optimizer if Keras runs on TensorFlow and there is no GPU."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return False
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    return True

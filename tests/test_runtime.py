"""Freed memory is kept, counted by how often the operating system hands out a page; garbage can wait, threads do not."""

import ast
import gc
import os
import subprocess
import sys

import pytest

from imggen_lib import _runtime

PROGRAM = """
import ctypes
import resource
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: a huge page is handed out at once, however large
import numpy as np
import imggen_lib
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    arrays = [np.ones(500_000) for _ in range(40)]
    del arrays
before = faults()
for _ in range(5):
    arrays = [np.ones(500_000) for _ in range(40)]
    del arrays
print(faults() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only the GNU C library has this setting")
@pytest.mark.parametrize(("wanted", "few"), [("1", True), ("0", False)])
def test_160_megabytes_of_arrays_are_handed_out_again_without_the_operating_system(wanted, few):
    environment = {**os.environ, "IMGGEN_KEEP_MEMORY": wanted}
    # Settings of the caller would hide what is tested.
    environment = {name: value for name, value in environment.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    pages = 160_000_000 / os.sysconf("SC_PAGE_SIZE")
    assert (int(done.stdout) < pages) == few


def test_it_says_whether_it_did_anything(monkeypatch):
    monkeypatch.setenv("IMGGEN_KEEP_MEMORY", "0")
    assert _runtime.keep_freed() is False
    monkeypatch.delenv("IMGGEN_KEEP_MEMORY")
    monkeypatch.setattr(machine.sys, "platform", "win32")
    assert _runtime.keep_freed() is False


@pytest.mark.parametrize(
    ("before", "wanted", "after"), [(700, "1", 100_000), (700, "0", 700), (0, "1", 0), (10**6, "1", 10**6)]
)
def test_garbage_is_collected_less_often_unless_the_reader_chose(monkeypatch, before, wanted, after):
    """A threshold of 0 means that the collector is off."""
    usual = gc.get_threshold()
    monkeypatch.setenv("IMGGEN_KEEP_MEMORY", wanted)
    try:
        gc.set_threshold(before, *usual[1:])
        assert _runtime.collect_less_often() == (before != after)
        assert gc.get_threshold() == (after, *usual[1:])
    finally:
        gc.set_threshold(*usual)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="OpenBLAS is what NumPy brings there")
@pytest.mark.parametrize(("asked", "threads"), [(None, 1), ("2", 2)])
def test_linear_algebra_has_one_thread_unless_the_reader_asked_for_more(asked, threads):
    program = """
import imggen_lib, numpy as np, threadpoolctl
print([pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"])
"""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    environment |= {"OPENBLAS_NUM_THREADS": asked} if asked else {}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    pools = ast.literal_eval(done.stdout)
    assert pools and set(pools) == {min(threads, len(os.sched_getaffinity(0)))}

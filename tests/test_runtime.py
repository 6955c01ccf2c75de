"""Importing the library changes nothing in the process; configure_process applies its settings and reports them."""

import gc
import json
import os
import subprocess
import sys
import types

import keras
import pytest

from imggen_lib import _runtime

LINUX = sys.platform.startswith("linux")

# Page faults count how often the operating system hands out and clears a page of memory, of 4 KB if huge pages are off.
PROGRAM = """
import gc, json, os, sys

def loaded():
    return [name for name in ("numpy", "matplotlib", "keras", "tensorflow", "jax") if name in sys.modules]

def page_faults():
    import ctypes, resource
    import numpy as np
    ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE
    for repetition in range(8):
        if repetition == 3:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        arrays = [np.ones(500_000) for _ in range(40)]
        del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

linux, report = sys.platform.startswith("linux"), {}
state = dict(os.environ), gc.get_threshold(), loaded()
import imggen_lib
report["unchanged"] = (dict(os.environ), gc.get_threshold(), loaded()) == state
if linux and "numpy first" in sys.argv:
    report["faults before"] = page_faults()
before = loaded()
report["settings"] = imggen_lib.configure_process()
report["loaded"] = [name for name in loaded() if name not in before]
report["variables"] = [os.environ["OPENBLAS_NUM_THREADS"], os.environ["TF_CPP_MIN_LOG_LEVEL"]]
report["threshold"] = gc.get_threshold()[0]
report["again"] = imggen_lib.configure_process()
if linux:
    report["faults"] = page_faults()
    import threadpoolctl
    report["threads"] = [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
print(json.dumps(report))
"""
# Five times 40 arrays of 4 MB: the pages that are needed if each is handed out anew.
PAGES = 5 * 160_000_000 // os.sysconf("SC_PAGE_SIZE") if LINUX else 0
OWN_VARIABLES = ("OPENBLAS_", "OMP_", "TF_CPP_", "MALLOC_", "GLIBC_")


def run(*arguments, **variables):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OWN_VARIABLES)}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, env=environment | variables, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return json.loads(done.stdout)


def blas_threads(number):
    return {min(number, len(os.sched_getaffinity(0)))}


def test_import_changes_nothing_and_configure_process_applies_every_setting():
    report = run()
    assert report["unchanged"] and report["loaded"] == []
    expected = {"allocator": LINUX, "garbage_collector": True, "blas_threads": True, "log_level": True}
    assert report["settings"] == report["again"] == expected | {"graph_optimizer": False}
    assert report["variables"] == ["1", "2"] and report["threshold"] == _runtime.GC_THRESHOLD
    if LINUX:
        assert report["faults"] < 0.1 * PAGES
        assert set(report["threads"]) == blas_threads(1)


def test_configure_process_keeps_the_variables_of_the_user():
    """The allocator's settings also take effect after NumPy was imported."""
    report = run("numpy first", OPENBLAS_NUM_THREADS="2", TF_CPP_MIN_LOG_LEVEL="0")
    assert report["unchanged"] and report["variables"] == ["2", "0"]
    assert not report["settings"]["blas_threads"] and not report["settings"]["log_level"]
    if LINUX:
        assert report["faults"] < 0.1 * PAGES < 0.5 * PAGES < report["faults before"]
        assert set(report["threads"]) == blas_threads(2)


def test_the_allocator_is_configured_with_glibc_only(monkeypatch):
    monkeypatch.setattr(_runtime.ctypes, "CDLL", lambda name: types.SimpleNamespace())
    assert _runtime._keep_freed_memory() is False  # another C library
    monkeypatch.setattr(_runtime.sys, "platform", "win32")
    assert _runtime._keep_freed_memory() is False


@pytest.mark.parametrize(("before", "after", "applied"), [(700, 100_000, True), (0, 0, False), (10**6, 10**6, False)])
def test_the_garbage_collector_keeps_a_threshold_of_0_and_higher_ones(before, after, applied):
    """With a threshold of 0 the collector is off."""
    threshold = gc.get_threshold()
    try:
        gc.set_threshold(before, *threshold[1:])
        assert _runtime._collect_garbage_less_often() == applied
        assert gc.get_threshold() == (after, *threshold[1:])
    finally:
        gc.set_threshold(*threshold)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow has this graph optimizer")
@pytest.mark.parametrize(("gpus", "applied"), [([], True), (["GPU:0"], False)])
def test_the_graph_optimizer_is_switched_off_without_a_gpu_only(monkeypatch, gpus, applied):
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    before = tf.config.optimizer.get_experimental_options()["disable_meta_optimizer"]
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    try:
        assert _runtime._switch_off_graph_optimizer() == applied
        assert tf.config.optimizer.get_experimental_options()["disable_meta_optimizer"] == applied
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": before})


def test_the_graph_optimizer_is_a_setting_of_tensorflow_only(monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    assert _runtime._switch_off_graph_optimizer() is False

"""The clock of training: time in which the process was stopped does not count."""

import json
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from imggen_lib.training import callbacks, clock


class SetClock(clock.Clock):
    """A clock whose wall and processor time a test sets."""

    wall = processor = 0.0

    def _wall(self):
        return self.wall

    def _processor(self):
        return self.processor

    def _tick(self):
        time.sleep(60)  # the thread reads nothing


@pytest.mark.parametrize(
    ("wall", "processor", "paused"),
    [
        (1.9, 0.0, 0.0),  # shorter than the shortest pause
        (60.0, 0.1, 59.75),  # stopped: one tick may have been work
        (60.0, 59.0, 0.0),  # a computation that kept the thread of the clock from running
    ],
)
def test_a_late_reading_without_processor_time_is_a_pause(wall, processor, paused):
    watch = SetClock()
    began = watch.seconds()
    watch.wall, watch.processor = wall, processor
    assert watch.seconds() - began == pytest.approx(wall - paused)
    assert watch.paused == pytest.approx(paused)


def test_regular_readings_are_no_pause_however_long_they_go_on():
    """As while the process waits for a GPU: no processor time, but the thread reads the time."""
    watch = SetClock()
    began = watch.seconds()
    for _ in range(1000):
        watch.wall += 0.3
        watch._update()
    assert watch.seconds() - began == pytest.approx(300) and watch.paused == 0


PROGRAM = """
import json, sys, time
from imggen_lib.training.clock import Clock
watch = Clock(tick=0.05, shortest_pause=0.5)
began = time.perf_counter()
first = watch.seconds()
print("ready", flush=True)
while time.perf_counter() - began < 2.5:
    time.sleep(0.01)
print(json.dumps([time.perf_counter() - began, watch.seconds() - first]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGSTOP")
def test_a_stopped_and_continued_process_does_not_count_the_pause():
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGSTOP)
            time.sleep(2)
            process.send_signal(signal.SIGCONT)
            out, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    wall, counted = json.loads(out)
    assert wall > 2 and counted < wall - 1.5


def test_record_and_time_budget_do_not_count_a_pause(monkeypatch):
    readings = iter([0.0, 0.0, *[float(n) for n in range(1, 20) for _ in range(2)]])
    monkeypatch.setattr(clock, "seconds", lambda: next(readings))
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(loss="mse", run_eagerly=True)
    record = {"steps": 4, "seconds": 10.0}
    watching = [callbacks.TimeBudget(3), callbacks.StepCounter(record, batch_size=2, steps_per_epoch=5)]
    model.fit(np.zeros((100, 1)), np.zeros(100), batch_size=2, verbose=0, callbacks=watching)
    assert record == {"steps": 7, "seconds": 13.0, "images_seen": 14, "epochs": 1.4}

"""A clock for training that does not count the time in which the process was stopped."""

from __future__ import annotations

import threading
import time

__all__ = ["Clock", "seconds"]


class Clock:
    """Seconds of wall time in which this process could run.

    ``kill -STOP``, Ctrl-Z, a scheduler or a frozen virtual machine can stop a process for hours without notifying it.
    Therefore a thread reads the time every quarter of a second. If two readings are further apart than ``shortest_pause``,
    and the process used the processor for less than half of that time, then it was stopped in between, and the time is
    subtracted. Waiting for a GPU or for another process is not a pause, because the thread then continues to run.

    Processor time is compared because a computation that keeps other Python threads from running also delays the thread.
    A pause shorter than ``shortest_pause`` is counted as work. The error of a longer one is at most ``tick``, except that a
    pause is missed if it is shorter than twice the processor time of one tick on all cores.

    Parameters
    ----------
    tick : float
        Seconds between two readings.
    shortest_pause : float
        Seconds.

    Attributes
    ----------
    paused : float
        Seconds subtracted so far.

    Examples
    --------
    >>> clock = Clock()
    >>> began = clock.seconds()
    >>> clock.seconds() >= began, clock.paused
    (True, 0.0)
    """

    # Tests replace these.
    _wall = staticmethod(time.perf_counter)
    _processor = staticmethod(time.process_time)

    def __init__(self, *, tick: float = 0.25, shortest_pause: float = 2.0) -> None:
        self.tick = tick
        self.shortest_pause = shortest_pause
        self.paused: float = 0.0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._read: tuple[float, float] = (self._wall(), self._processor())

    def seconds(self) -> float:
        """Return the reading; only differences of two readings have a meaning. The first call starts the thread."""
        if self._thread is None or not self._thread.is_alive():  # a forked process has no threads
            self._read = (self._wall(), self._processor())
            self._thread = threading.Thread(target=self._tick, name="imggen clock", daemon=True)
            self._thread.start()
        return self._update() - self.paused

    def _update(self) -> float:
        """Read the time. Add a pause if the latest reading is too old."""
        with self._lock:
            now, processor = self._wall(), self._processor()
            gap = now - self._read[0]
            if gap > self.shortest_pause and processor - self._read[1] < gap / 2:
                self.paused += gap - self.tick
            self._read = (now, processor)
            return now

    def _tick(self) -> None:
        while True:
            time.sleep(self.tick)
            self._update()


_clock = Clock()


def seconds() -> float:
    """Return the reading of the clock that all callbacks share; see :class:`Clock`.

    Examples
    --------
    >>> began = seconds()
    >>> 0 <= seconds() - began < 1
    True
    """
    return _clock.seconds()

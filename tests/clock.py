"""Time as a test may assert it: what a busy machine takes away is not held against what is tested.

`working` counts processor time, in seconds of a machine that runs a known loop in a known time: what slows both down,
such as neighbours on the same core, cancels out. The garbage of all tests before is not collected meanwhile.
`waiting` counts the seconds that pass while this process is let run at all: where a thread beside, which only sleeps,
wakes up late, everything here was late. An instrumented kernel takes GUARD_KERNEL_SLOWER times as long (`make sanitize`
says 12), which is not held against it either.
"""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
from collections.abc import Iterator

LOOP_S = 0.005  #: Processor time of the known loop, on the machine whose seconds are counted.
#: How many times as long the kernel takes as it does in use.
SLOWER = float(os.environ.get("GUARD_KERNEL_SLOWER", "1"))
TICK_S = 0.01  #: How long the thread beside sleeps.


class Work:
    """Processor time of this thread, once the block is left."""

    seconds = 0.0


class Wait:
    """Seconds since the block was entered, but for those in which the machine let nothing here run."""

    def __init__(self) -> None:
        self._started, self._ended = time.monotonic(), 0.0
        self._over = threading.Event()
        self.withheld = 0.0  # seconds in which nothing ran

    @property
    def seconds(self) -> float:
        """Those until now, or until the block was left."""
        return ((self._ended or time.monotonic()) - self._started - self.withheld) / SLOWER

    def tick(self) -> None:
        """Sleep again and again, and see how late it gets."""
        while not self._over.is_set():
            start = time.monotonic()
            time.sleep(TICK_S)
            late = time.monotonic() - start - TICK_S
            if late > TICK_S:
                self.withheld += late

    def end(self) -> None:
        """Stop sleeping and counting."""
        self._ended = time.monotonic()
        self._over.set()


@contextlib.contextmanager
def working() -> Iterator[Work]:
    """Count what this thread computes inside."""
    work = Work()
    before = _loop()
    is_enabled = gc.isenabled()
    gc.disable()
    try:
        start = time.thread_time()
        yield work
        spent = time.thread_time() - start
    finally:
        if is_enabled:
            gc.enable()
    work.seconds = spent / SLOWER * LOOP_S / max(before, _loop(), LOOP_S)


@contextlib.contextmanager
def waiting() -> Iterator[Wait]:
    """Count what passes inside."""
    wait = Wait()
    beside = threading.Thread(target=wait.tick, daemon=True)
    beside.start()
    try:
        yield wait
    finally:
        wait.end()
        beside.join()


def _loop() -> float:
    """The processor time of a known loop, at best."""
    times = []
    for _ in range(3):
        start = time.thread_time()
        total = 0
        for n in range(100_000):
            total += n & 7
        times.append(time.thread_time() - start)
    return min(times)

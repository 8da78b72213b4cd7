"""What is large is worked on in one thread, one thing after the other, and never on the event loop.

Work on megabytes is Python's and keeps the GIL. Several threads of it finish no sooner than one, and hold each other's
memory meanwhile; and the event loop, which takes the GIL several times a request, would wait for all of them each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

LARGE = 65_536  #: Bytes of a body from which on work on it is not done on the event loop: some milliseconds.

SOON_S = 0.0003  #: After which such work gives way to others. Where there is none, that would only cost switches.

NICE = 5  #: So much behind the event loop its threads stand, where processors are scarce.


def thread(name: str) -> ThreadPoolExecutor:
    """Return a thread for such work. On Linux, where each thread has a priority of its own, it stands behind others."""
    return ThreadPoolExecutor(1, thread_name_prefix=name, initializer=_stand_behind)


def _stand_behind() -> None:
    if sys.platform != "linux":
        return
    here = threading.get_native_id()
    with contextlib.suppress(OSError):  # a container may forbid it: then all threads are alike
        os.setpriority(os.PRIO_PROCESS, here, os.getpriority(os.PRIO_PROCESS, here) + NICE)


_thread = thread("guard-large")


async def done(size: int, work: Callable[..., T], *arguments: object) -> T:
    """Return what some work on so many bytes returns: here, or where they are many, in its turn."""
    if size < LARGE:
        return work(*arguments)
    return await asyncio.get_running_loop().run_in_executor(_thread, functools.partial(giving_way, work, *arguments))


def done_so_far() -> int:
    """Return how many such pieces of work have ended in this process."""
    return _SOONER.left


def giving_way(work: Callable[..., T], *arguments: object) -> T:
    """Return what some long work returns, in this thread; meanwhile all threads give way sooner."""
    with _SOONER:
        return work(*arguments)


class _Sooner:
    """A shorter time after which threads give way, while anyone is inside."""

    def __init__(self) -> None:
        self._lock, self._inside, self._usual = threading.Lock(), 0, 0.0
        self.left = 0  # how many were inside and are no more

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._usual = sys.getswitchinterval()
                sys.setswitchinterval(min(SOON_S, self._usual))

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            self.left += 1
            if self._inside == 0:
                sys.setswitchinterval(self._usual)


_SOONER = _Sooner()

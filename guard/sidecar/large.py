"""Large work runs in one thread, one job after the other, senders in turn, and never on the event loop.

Work on megabytes is pure Python and holds the GIL. Several threads would finish no sooner than one, and all their
memory would be held meanwhile. The event loop takes the GIL several times a request, and would wait for each of them.
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
from weakref import WeakKeyDictionary

from guard.sidecar.circuit_breaker import SENDER
from guard.sidecar.fair_queue import FairQueue
from guard.support.json_pieces import SMALL, compact, encoded, weight

T = TypeVar("T")

LARGE = 65_536  #: Size of a body, in bytes, from which work on it takes milliseconds and leaves the event loop.

PIECE = 262_144  #: Bytes of a body that are sent at once.
A_VALUE = 32  #: How many bytes a value counts as where each is looked at in Python, some microseconds long.
STEPWISE = 8  #: How many times as long a byte takes where a value is written part by part, not by an encoder in C.

NICE = 5  #: Added to the niceness of its threads, so that the event loop goes first where processors are scarce.


def thread(name: str) -> ThreadPoolExecutor:
    """Return an executor of one thread for such work. On Linux, where threads have priorities, it has a lower one."""
    return ThreadPoolExecutor(1, thread_name_prefix=name, initializer=_stand_behind)


def _stand_behind() -> None:
    if sys.platform != "linux":
        return
    here = threading.get_native_id()
    with contextlib.suppress(OSError):  # a container may forbid it: then all threads are alike
        os.setpriority(os.PRIO_PROCESS, here, os.getpriority(os.PRIO_PROCESS, here) + NICE)


_thread = thread("guard-large")
_queues: WeakKeyDictionary[asyncio.AbstractEventLoop, FairQueue] = WeakKeyDictionary()
_lock, _ended = threading.Lock(), 0


async def done(size: int, work: Callable[..., T], *arguments: object) -> T:
    """Run work on so many bytes and return its result: here where they are few, else in the thread, in turn.

    A sender's long queue of such work delays only that sender. Work that has begun is awaited even where its caller is
    cancelled: what it changes may be looked at next.
    """
    if size < LARGE:
        return work(*arguments)
    loop = asyncio.get_running_loop()
    async with _queues.setdefault(loop, FairQueue()).turn(SENDER.get(), size):
        job = _thread.submit(functools.partial(counted, work, *arguments))
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            if not job.cancel():
                await asyncio.wait([asyncio.wrap_future(job)])
            raise


def walked(data: bytes) -> int:
    """Return the size of work that looks at each value of a JSON text, one after the other in Python."""
    return len(data) if len(data) >= LARGE else len(data) + A_VALUE * data.count(b",")


async def aencoded(value: object) -> bytes:
    """Return what `encoded` makes of a value, without holding up the event loop."""
    if weight(value, SMALL) <= SMALL:
        return compact(value).encode(errors="backslashreplace")
    return await done(LARGE, encoded, value)


def counted(work: Callable[..., T], *arguments: object) -> T:
    """Run large work in this thread and return its result; counts it at its end."""
    global _ended
    try:
        return work(*arguments)
    finally:
        with _lock:
            _ended += 1


def done_so_far() -> int:
    """Return how many such pieces of work have ended in this process."""
    return _ended

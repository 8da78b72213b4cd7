"""Work that a signal handler must not interrupt: the main thread gives it to another thread, and waits.

Python runs signal handlers in the main thread, between any two of its steps. If the main thread held a lock, a handler
that calls Guard would wait forever for a lock of its own thread. If it was committing, an exception of the handler
would end the commit halfway. So work under a lock runs in a helper thread, and the main thread waits for a queue, which
a handler's own call can do as well. Other threads do the work themselves. So does the main thread while no handler is
installed except Python's own, which ends the program.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal.getsignal makes enums, and takes twenty times as long
import _thread  # Thread.start leaves its tables in disorder where a handler raises in its middle
import atexit
import queue
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from guard.kernels import at_fork

T = TypeVar("T")

_Work = tuple[Callable[[], Any], "queue.SimpleQueue[tuple[Any, BaseException | None]]"]

# A SimpleQueue takes no lock that a handler's call could find taken.
_waiting: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
_is_begun = False
_is_over = False
_alive: list[None] = []  # one entry for each helper thread


def aside(work: Callable[[], T]) -> T:
    """Return what the work returns, or raise what it raises. Work that has begun is finished in any case."""
    global _is_begun
    if threading.get_ident() != threading.main_thread().ident or _is_over or not _has_handlers():
        return work()
    if not _is_begun:
        _thread.start_new_thread(_run, (_waiting,))
        _is_begun = True  # a handler that raises before this makes for a second thread, which does no harm
    done: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
    _waiting.put((work, done))
    value, error = done.get()
    try:
        if error is not None:
            raise error
    finally:
        del error  # its traceback holds this frame
    return cast("T", value)


_SIGNALS = tuple(signal.valid_signals() - {signal.SIGINT})


def _has_handlers() -> bool:
    """Whether a signal may run Python code; only the main thread can change that."""
    interrupt = _signal.getsignal(signal.SIGINT)
    if callable(interrupt) and interrupt is not signal.default_int_handler:
        return True
    return any(map(callable, map(_signal.getsignal, _SIGNALS)))


def _run(waiting: queue.SimpleQueue[_Work | None]) -> None:
    _alive.append(None)
    while (job := waiting.get()) is not None:
        work, done = job
        try:
            done.put((work(), None))
        except BaseException as error:
            done.put((None, error))
        del job, work, done  # what is done is not held until there is more to do
    waiting.put(None)  # for another, begun by a handler while this one was
    _alive.pop()


def _stop() -> None:
    """Finish all work before the interpreter exits; later work runs in the caller's thread."""
    global _is_over
    _is_over = True
    _waiting.put(None)
    while _alive:
        time.sleep(0.001)


def _forget() -> None:
    """Start anew in a forked child, which has no such thread."""
    global _waiting, _is_begun
    _waiting, _is_begun = queue.SimpleQueue(), False
    _alive.clear()


atexit.register(_stop)
at_fork.in_child(_forget)

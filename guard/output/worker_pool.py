"""Worker pool: a few processes for checks that may never finish. They start when first needed, and are killed if late.

There are fewer than processors, so that one is left for what waits for no check. Each job has a limit of seconds, and
callers wait no longer than they say. The worker's last report before it was killed or died is the result. Workers
inherit no files, and no environment but the paths that Python needs. They end with this process, however that ends.
guard/output/worker.py is the program that they run.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import pickle
import queue
import socket
import subprocess
import sys
import time
import weakref
from typing import TYPE_CHECKING, Any

from guard.kernels import at_fork
from guard.kernels.cached import cached_property
from guard.output.worker import LENGTH
from guard.support.aside import aside

if TYPE_CHECKING:
    from concurrent.futures import Executor

MOST = max(1, min(2, (os.cpu_count() or 1) - 1))  #: Workers at a time.
SECONDS = 2.0  #: Most seconds of a job.
START_SECONDS = 30.0  #: Longest wait for a worker to start on a busy machine.
#: A Python without a GIL would reserve a gigabyte at its start, in which limits of memory see nothing.
_OWN = {"MIMALLOC_ARENA_RESERVE": "0"}
_KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "SYSTEMROOT")  #: Of the environment.
_MAIN = "import sys; sys.path[:] = {path!r}; from guard.output.worker import main; main({file}, {seconds})"


class Workers:
    """A pool of workers. Any number of threads may use it."""

    def __init__(self, most: int = MOST, seconds: float = SECONDS) -> None:
        self._most, self._seconds = most, seconds
        #: Idle workers; None stands for one that has not been started.
        self._idle: queue.SimpleQueue[_Worker | None] = queue.SimpleQueue()
        for _ in range(most):
            self._idle.put(None)
        self._all: weakref.WeakSet[_Worker] = weakref.WeakSet()

    @cached_property
    def threads(self) -> Executor:
        """Threads for waiting on workers, so that waiting callers don't take the threads of other work."""
        from concurrent.futures import ThreadPoolExecutor  # not importable once the main thread has ended

        return ThreadPoolExecutor(self._most, thread_name_prefix="guard-worker")

    def run(self, job: Any, until: float | None = None) -> dict[str, Any]:
        """Have a job done; returns what became known of it, with `is_over` where it came to its end.

        `until`: by time.monotonic(), when nobody waits any more.
        """
        payload = pickle.dumps(job)
        return aside(lambda: self._run(payload, until))  # a call in a signal handler may need a worker, too

    def close(self) -> None:
        """Stop all workers; the next job starts new ones."""
        for worker in list(self._all):
            worker.kill()

    def forget(self) -> None:
        """Drop the workers after a fork: they belong to the other process."""
        for worker in list(self._all):
            worker.forget()

    def _run(self, payload: bytes, until: float | None) -> dict[str, Any]:
        left = None if until is None else until - time.monotonic()
        if left is not None and left <= 0:
            return {}  # before a worker is taken, which would be killed as late
        try:
            worker = self._idle.get(timeout=left)
        except queue.Empty:
            return {}
        known: dict[str, Any] = {}
        is_kept = False
        try:
            if worker is None or not worker.is_alive:
                worker = _Worker(self._seconds)
                self._all.add(worker)
            worker.begin(until)
            end = time.monotonic() + self._seconds
            worker.ask(payload, end if until is None else min(end, until), known)
            is_kept = not known.pop("is_last")
        except OSError:  # it did not start, took too long, or died
            pass
        finally:
            if worker is not None and not is_kept:
                worker.kill()
            self._idle.put(worker if is_kept else None)
        return known


class _Worker:
    """One process. Belongs to one thread at a time."""

    def __init__(self, seconds: float) -> None:
        self._line, other = socket.socketpair()
        with other:
            program = _MAIN.format(path=sys.path, file=other.fileno(), seconds=seconds)
            self._process = subprocess.Popen(  # noqa: S603 (this Python, our own program)
                [sys.executable, "-c", program],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[other.fileno()],
                env={name: os.environ[name] for name in _KEPT if name in os.environ} | _OWN,
            )
        self._is_ready = False

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def begin(self, until: float | None) -> None:
        """Start it and wait until it is ready; OSError where it does not start."""
        if not self._is_ready:
            end = time.monotonic() + START_SECONDS
            self._told(end if until is None else min(end, until))
            self._is_ready = True

    def ask(self, payload: bytes, end: float, known: dict[str, Any]) -> None:
        """Run a job and collect its reports; OSError where it does not finish."""
        self._wait(end)
        self._line.sendall(LENGTH.pack(len(payload)))
        self._line.sendall(payload)
        while "is_over" not in known:
            known.update(self._told(end))

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()
        self._line.close()
        self._process.wait()

    def forget(self) -> None:
        """Close what this process inherited of it."""
        self._process.returncode = 0  # so that its end is not waited for
        self._line.close()

    def _told(self, end: float) -> dict[str, Any]:
        (size,) = LENGTH.unpack(self._read(LENGTH.size, end))
        told: dict[str, Any] = json.loads(self._read(size, end))
        return told

    def _read(self, size: int, end: float) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            self._wait(end)
            part = self._line.recv(min(size - len(parts), 1 << 20))
            if not part:
                raise ConnectionResetError("the worker died")
            parts += part
        return bytes(parts)

    def _wait(self, end: float) -> None:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._line.settimeout(left)


WORKERS = Workers()  #: Of this process.
atexit.register(WORKERS.close)


def _after_fork() -> None:
    global WORKERS
    with contextlib.suppress(Exception):
        WORKERS.forget()
    WORKERS = Workers()
    atexit.register(WORKERS.close)


at_fork.in_child(_after_fork)

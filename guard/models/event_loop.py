"""Guard's event loop, in its own thread, on which the asynchronous requests of all remote models run.

Connections belong to the loop that opened them. Callers may use any number of loops, or block. With one loop for all of
them a model has one pool of connections, and an interrupt or a closed iterator ends the request where it runs. The
thread starts at first use, and again in a forked child.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import contextvars
import queue
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Generic, TypeVar

from guard.kernels import at_fork
from guard.support.aside import aside
from guard.support.frames import let_go

T = TypeVar("T")

LOOK_S = 0.05  #: Seconds between two looks of an interrupted caller whether its coroutine has ended.

_END: Any = object()  # after the last piece


def ignored(_: object) -> None:
    """Do nothing with a result that nobody reads."""


class _Outcome(Generic[T]):
    """The result or the error of an ended coroutine. A cancelled one counts as a failure here."""

    def __init__(self, task: asyncio.Task[T]) -> None:
        """Take it from a task, which must have ended."""
        self._error = concurrent.futures.CancelledError() if task.cancelled() else task.exception()
        self._value = task.result() if self._error is None else None

    def drop(self, unread: Callable[[T], object]) -> None:
        """Hand the result to `unread`, or let go of the error, which nobody will see."""
        if self._error is not None:
            let_go(self._error)
        else:
            unread(self._value)  # type: ignore[arg-type] # without an error it is a T

    def taken(self) -> T:
        """Return or raise it, once. The error is dropped then, since it refers to the caller's frames."""
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error
        value: T = self._value  # type: ignore[assignment] # without an error it is a T, which may be None
        return value


class _Job(Generic[T]):
    """A coroutine on Guard's event loop. `tell` is called there with its outcome, once it has really ended."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, T],
        tell: Callable[[_Outcome[T]], object],
    ) -> None:
        self.outcome: _Outcome[T] | None = None  # None: it runs
        self._loop, self._tell = loop, tell
        self._task: asyncio.Task[T] | None = None
        loop.call_soon_threadsafe(self._start, coroutine, context=contextvars.copy_context())

    def cancel(self) -> None:
        """Cancel it."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended
            self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())

    def _start(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._task = self._loop.create_task(coroutine)
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[T]) -> None:
        self._task = None  # the task refers to the error
        self.outcome = _Outcome(task)
        self._tell(self.outcome)


def _new_loop() -> asyncio.AbstractEventLoop:
    """Return a loop of asyncio's own, even if the application has installed another policy, such as uvloop's.

    Guard's transport tries several addresses of a host at once, which uvloop can't.
    """
    if sys.platform == "win32":
        return asyncio.ProactorEventLoop()
    return asyncio.SelectorEventLoop()


class EventLoopThread:
    """Runs coroutines and asynchronous generators of any thread or loop on one loop. Thread-safe.

    Blocking callers wait on SimpleQueues: a signal handler that interrupts the wait then finds no lock taken that the
    loop, or a call of its own, would wait for.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop. Its thread is started if it does not run yet."""
        return self._loop or aside(self._begun)

    def _begun(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                loop = _new_loop()
                self._thread = threading.Thread(target=loop.run_forever, name="guard-event-loop", daemon=True)
                self._thread.start()
                self._loop = loop
            return self._loop

    def run(self, coroutine: Coroutine[Any, Any, T], unread: Callable[[T], object] = ignored) -> T:
        """Run a coroutine and block until it has ended. An interrupt cancels it, and waits for its end.

        A result that has come nevertheless is handed to `unread`.
        """
        ended: queue.SimpleQueue[_Outcome[T]] = queue.SimpleQueue()
        job = self._submit(coroutine, ended.put, blocking=True)
        try:
            outcome = ended.get()
        except BaseException:
            self._finish(job, ended)
            if job.outcome is not None:
                job.outcome.drop(unread)
            raise
        return outcome.taken()

    async def arun(self, coroutine: Coroutine[Any, Any, T], unread: Callable[[T], object] = ignored) -> T:
        """Do the same for a caller on another loop."""
        ended, tell = _awaitable()
        job = self._submit(coroutine, tell)
        try:
            outcome: _Outcome[T] = await asyncio.shield(ended)
        except BaseException:
            (await self._afinish(job, ended)).drop(unread)
            raise
        return outcome.taken()

    def iterate(self, source: AsyncGenerator[T, None], unread: Callable[[T], object] = ignored) -> Iterator[T]:
        """Iterate over an asynchronous generator, blocking. Closing the iterator closes the generator.

        Pieces that have come by then are handed to `unread`.
        """
        pieces: queue.SimpleQueue[Any] = queue.SimpleQueue()  # and at the end the outcome

        def tell(outcome: _Outcome[None]) -> None:
            pieces.put(_END)
            pieces.put(outcome)

        job = self._submit(_pump(source, pieces.put), tell, blocking=True)
        try:
            while (piece := pieces.get()) is not _END:
                yield piece
        except BaseException:
            for piece in self._finish(job, pieces):
                if piece is _END:
                    break
                unread(piece)
            raise
        pieces.get().taken()

    async def aiterate(
        self, source: AsyncGenerator[T, None], unread: Callable[[T], object] = ignored
    ) -> AsyncIterator[T]:
        """Do the same for a caller on another loop."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[T] = asyncio.Queue()

        def put(piece: T) -> None:
            with contextlib.suppress(RuntimeError):  # the caller's loop is closed: nobody waits
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

        ended, tell = _awaitable()

        def told(outcome: _Outcome[None]) -> None:
            tell(outcome)
            put(_END)

        job = self._submit(_pump(source, put), told)
        try:
            while (piece := await pieces.get()) is not _END:
                yield piece
            outcome = await asyncio.shield(ended)
        except BaseException:
            (await self._afinish(job, ended)).drop(ignored)
            while not pieces.empty():  # all have come: they were put before the end was told
                if (piece := pieces.get_nowait()) is not _END:
                    unread(piece)
            raise
        outcome.taken()

    def check_may_block(self, coroutine: Coroutine[Any, Any, Any] | None = None) -> None:
        """Raise RuntimeError on the loop's own thread, which must not block. The coroutine is closed unrun."""
        if threading.current_thread() is self._thread:
            if coroutine is not None:
                coroutine.close()
            raise RuntimeError("on Guard's own event loop nothing can be waited for; use the async methods there")

    def call_later(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine without waiting for it, if the loop runs at all."""
        if (loop := self._loop) is not None and not loop.is_closed():
            asyncio.run_coroutine_threadsafe(function(), loop)

    def _submit(
        self,
        coroutine: Coroutine[Any, Any, T],
        tell: Callable[[_Outcome[T]], object],
        *,
        blocking: bool = False,
    ) -> _Job[T]:
        loop = self.loop
        if blocking:
            self.check_may_block(coroutine)
        return _Job(loop, coroutine, tell)

    def _finish(self, job: _Job[Any], told: queue.SimpleQueue[Any]) -> list[Any]:
        """Return once a coroutine that nobody waits for any more has ended: what it has told until then."""
        job.cancel()
        came: list[Any] = []
        # A dropped iterator is closed by the thread that collects it; the loop's own thread can't wait for itself.
        is_waiting = threading.current_thread() is not self._thread
        while (is_waiting and job.outcome is None) or not told.empty():  # the outcome may be lost to the interrupt
            with contextlib.suppress(queue.Empty):
                came.append(told.get(timeout=LOOK_S if is_waiting else 0))
        return came

    async def _afinish(self, job: _Job[T], ended: asyncio.Future[_Outcome[T]]) -> _Outcome[T]:
        """Do the same for a caller on another loop; returns the outcome."""
        if not ended.done():
            job.cancel()
            await asyncio.wait([ended])
        return ended.result()

    def _stop(self) -> None:
        """End the thread, so that connections are closed in order before the interpreter exits."""
        if self._loop is None:
            return
        loop, self._loop = self._loop, None

        async def ending() -> None:
            tasks = asyncio.all_tasks(loop) - {asyncio.current_task(loop)}
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=1) if tasks else None
            await loop.shutdown_asyncgens()
            loop.stop()

        asyncio.run_coroutine_threadsafe(ending(), loop)
        self._thread.join(timeout=2)
        if not self._thread.is_alive():
            loop.close()

    def _forget(self) -> None:
        """Reset in a forked child, which has neither the thread nor the holder of the lock."""
        self._lock, self._loop = threading.Lock(), None


def _awaitable() -> tuple[asyncio.Future[Any], Callable[[Any], None]]:
    """Return a future of the running loop, and a thread-safe function that sets it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(value: Any) -> None:
        if not future.done():
            future.set_result(value)

    def tell(value: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the caller's loop is closed: nobody waits
            loop.call_soon_threadsafe(settle, value)

    return future, tell


async def _pump(source: AsyncGenerator[T, None], put: Callable[[T], None]) -> None:
    """Read all pieces in one task, since time-outs inside the source belong to the task that entered them."""
    async with contextlib.aclosing(source):
        async for piece in source:
            put(piece)


EVENT_LOOP = EventLoopThread()
atexit.register(EVENT_LOOP._stop)
at_fork.in_child(EVENT_LOOP._forget)

"""One event loop in a thread of its own, on which remote models' asynchronous requests run, whoever asks.

Connections belong to the loop that opened them. With one loop for all callers (any number of `asyncio.run`s, blocking
code where a model can't do without a loop) a model has one pool of connections, and an interrupt or a closed iterator
ends the request where it runs. The thread starts at first use, and anew in a forked child.
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

T = TypeVar("T")

LOOK_S = 0.05  #: Seconds after which an interrupted caller looks again whether its coroutine has ended.

_END: Any = object()  # after the last piece


class _Outcome(Generic[T]):
    """What a coroutine returned or raised; that it was cancelled is a failure here."""

    def __init__(self, task: asyncio.Task[T]) -> None:
        """Take it from a task that has ended."""
        self._error = concurrent.futures.CancelledError() if task.cancelled() else task.exception()
        self._value = task.result() if self._error is None else None

    def taken(self) -> T:
        """Return or raise it, once: who waited does not keep the error, which knows their frames."""
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error
        value: T = self._value  # type: ignore[assignment]
        return value


class _Job(Generic[T]):
    """A coroutine on Guard's event loop; `tell` is called there with its outcome, once it has really ended."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, T],
        tell: Callable[[_Outcome[T]], object],
    ) -> None:
        self.is_over = False
        self._loop, self._tell = loop, tell
        self._task: asyncio.Task[T] | None = None
        loop.call_soon_threadsafe(self._start, coroutine, context=contextvars.copy_context())

    def cancel(self) -> None:
        """Tell it to end."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended
            self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())

    def _start(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._task = self._loop.create_task(coroutine)
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[T]) -> None:
        self._task = None  # it holds the error
        self.is_over = True
        self._tell(_Outcome(task))


def _new_loop() -> asyncio.AbstractEventLoop:
    """Return a loop of asyncio's own: one that the application has installed, as uvloop, may open no connection.

    Guard's transport tries several addresses of a host at once, which uvloop does not.
    """
    if sys.platform == "win32":
        return asyncio.ProactorEventLoop()
    return asyncio.SelectorEventLoop()


class EventLoopThread:
    """Carries coroutines and asynchronous generators from any thread or loop to one loop.

    Blocking callers wait for queues of the simplest kind: what a signal handler interrupts there holds no lock that the
    loop, or a call of the handler's own, would wait for.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop; its thread is started where it does not run yet."""
        return self._loop or aside(self._begun)

    def _begun(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                loop = _new_loop()
                self._thread = threading.Thread(target=loop.run_forever, name="guard-event-loop", daemon=True)
                self._thread.start()
                self._loop = loop
            return self._loop

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine and wait for it; where the caller is interrupted it is cancelled, and has ended."""
        ended: queue.SimpleQueue[_Outcome[T]] = queue.SimpleQueue()
        job = self._submit(coroutine, ended.put, blocking=True)
        try:
            outcome = ended.get()
        except BaseException:
            self._finish(job, ended)
            raise
        return outcome.taken()

    async def arun(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Do the same for a caller on another loop."""
        ended, tell = _awaitable()
        job = self._submit(coroutine, tell)
        try:
            outcome: _Outcome[T] = await asyncio.shield(ended)
        finally:
            await self._afinish(job, ended)
        return outcome.taken()

    def iterate(self, source: AsyncGenerator[T, None]) -> Iterator[T]:
        """Iterate from blocking code; closing the iterator closes the source."""
        pieces: queue.SimpleQueue[Any] = queue.SimpleQueue()  # and at the end the outcome

        def tell(outcome: _Outcome[None]) -> None:
            pieces.put(_END)
            pieces.put(outcome)

        job = self._submit(_pump(source, pieces.put), tell, blocking=True)
        try:
            while (piece := pieces.get()) is not _END:
                yield piece
        except BaseException:
            self._finish(job, pieces)
            raise
        pieces.get().taken()

    async def aiterate(self, source: AsyncGenerator[T, None]) -> AsyncIterator[T]:
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
        finally:
            await self._afinish(job, ended)
        outcome.taken()

    def check_may_block(self, coroutine: Coroutine[Any, Any, Any] | None = None) -> None:
        """Raise RuntimeError on the loop's own thread, which nothing may block; the coroutine is not run then."""
        if threading.current_thread() is self._thread:
            if coroutine is not None:
                coroutine.close()
            raise RuntimeError("on Guard's own event loop nothing can be waited for; use the async methods there")

    def call_later(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine whose outcome nobody waits for, where the loop runs at all."""
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

    def _finish(self, job: _Job[Any], told: queue.SimpleQueue[Any]) -> None:
        job.cancel()
        # An iterator that was dropped is closed by whichever thread collects it; the loop's can't wait for itself.
        if threading.current_thread() is not self._thread:
            while not job.is_over:  # what it told may have been lost to the interrupt
                with contextlib.suppress(queue.Empty):
                    told.get(timeout=LOOK_S)

    async def _afinish(self, job: _Job[Any], ended: asyncio.Future[Any]) -> None:
        if not ended.done():
            job.cancel()
            await asyncio.wait([ended])

    def _stop(self) -> None:
        """End the thread, so that connections are closed in order before the interpreter goes."""
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
        """Start anew: in a forked child neither the thread nor what held the lock is there."""
        self._lock, self._loop = threading.Lock(), None


def _awaitable() -> tuple[asyncio.Future[Any], Callable[[Any], None]]:
    """Return a future of the running loop, and what sets it from any thread."""
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
    """Take every piece in one task: time-outs inside the source belong to the task that entered them."""
    async with contextlib.aclosing(source):
        async for piece in source:
            put(piece)


EVENT_LOOP = EventLoopThread()
atexit.register(EVENT_LOOP._stop)
at_fork.in_child(EVENT_LOOP._forget)

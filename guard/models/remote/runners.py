"""Runners carry requests: on Guard's event loop, or in the calling thread.

Requests and answers are handled by coroutines, written once (remote_model.py, http.py), and a runner does their
waiting. `LOOP` waits with asyncio, on Guard's event loop. `THREAD` blocks: its coroutines are never suspended, so they
run to their end in the calling thread, without an event loop, in less than half of the time. An interrupt ends them at
once. An application that has an event loop and connections of its own, as the sidecar has, needs the waiting only.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import math
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Protocol, TypeVar

from guard.models.event_loop import EVENT_LOOP, ignored
from guard.models.remote.blocking_http import DEADLINE, DeadlinePassed

T = TypeVar("T")


LARGE = 65_536  #: Characters from which work on a text takes milliseconds, and is `computed`.


class Waiter(Protocol):
    """Does the waiting of coroutines."""

    def timeout(self, seconds: float | None) -> contextlib.AbstractAsyncContextManager[Any]:
        """Limit the block to so many seconds; raises TimeoutError after them."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Sleep for so many seconds."""
        ...

    def opened(self, send: Callable[[], Any]) -> contextlib.AbstractAsyncContextManager[Any]:
        """Call a function that returns a response; close the response at the end."""
        ...

    def chunks(self, response: Any) -> AsyncIterator[bytes]:
        """Iterate over a response's body."""
        ...

    async def computed(self, work: Callable[[], T]) -> T:
        """Run long work, and return its result, without holding up other requests."""
        ...


class Runner(Waiter, Protocol):
    """Runs coroutines for blocking code, and does their waiting."""

    def run(self, coroutine: Coroutine[Any, Any, T], unread: Callable[[T], object] = ignored) -> T:
        """Run a coroutine to its end. After an interrupt, it has ended too; `unread` is told a result nevertheless."""
        ...

    def iterate(self, source: AsyncGenerator[T, None], unread: Callable[[T], object] = ignored) -> Iterator[T]:
        """Iterate over an asynchronous generator. Closing it closes that; `unread` is told pieces until then."""
        ...


async def done(waiter: Waiter, size: int, work: Callable[[], T]) -> T:
    """Run work on so many characters and return its result: here where they are few, else `computed`."""
    return work() if size < LARGE else await waiter.computed(work)


class _Loop:
    def run(self, coroutine: Coroutine[Any, Any, T], unread: Callable[[T], object] = ignored) -> T:
        return EVENT_LOOP.run(coroutine, unread)

    def iterate(self, source: AsyncGenerator[T, None], unread: Callable[[T], object] = ignored) -> Iterator[T]:
        return EVENT_LOOP.iterate(source, unread)

    def timeout(self, seconds: float | None) -> contextlib.AbstractAsyncContextManager[Any]:
        return asyncio.timeout(seconds)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    @contextlib.asynccontextmanager
    async def opened(self, send: Callable[[], Any]) -> AsyncIterator[Any]:
        response = await send()
        try:
            yield response
        finally:
            await response.aclose()

    def chunks(self, response: Any) -> AsyncIterator[bytes]:
        chunks: AsyncIterator[bytes] = response.aiter_raw()
        return chunks

    async def computed(self, work: Callable[[], T]) -> T:
        return await asyncio.to_thread(work)


class _Thread:
    def run(self, coroutine: Coroutine[Any, Any, T], _unread: Callable[[T], object] = ignored) -> T:
        EVENT_LOOP.check_may_block(coroutine)
        result: T = contextvars.copy_context().run(_finished, coroutine)
        return result

    def iterate(self, source: AsyncGenerator[T, None], _unread: Callable[[T], object] = ignored) -> Iterator[T]:
        # The generator's deadline must not apply to the caller's own code between two pieces.
        EVENT_LOOP.check_may_block()
        context = contextvars.copy_context()
        try:
            while True:
                try:
                    piece = context.run(_finished, anext(source))
                except StopAsyncIteration:
                    return
                yield piece
        finally:
            context.run(_finished, source.aclose())

    @contextlib.asynccontextmanager
    async def timeout(self, seconds: float | None) -> AsyncIterator[None]:
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        before = DEADLINE.set(min(deadline, DEADLINE.get()))
        try:
            yield
        except DeadlinePassed:
            if time.monotonic() < deadline:  # an outer scope's
                raise
            raise TimeoutError from None
        finally:
            DEADLINE.reset(before)

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 (here coroutines block; and it is less than is left until the deadline)

    @contextlib.asynccontextmanager
    async def opened(self, send: Callable[[], Any]) -> AsyncIterator[Any]:
        with contextlib.closing(send()) as response:
            yield response

    async def chunks(self, response: Any) -> AsyncIterator[bytes]:
        for chunk in response.iter_raw():
            yield chunk

    async def computed(self, work: Callable[[], T]) -> T:
        return work()


class _Running(threading.local):
    """Per thread, the number of coroutines that are running."""

    coroutines = 0


_running = _Running()


def nested() -> int:
    """Return how many running coroutines of this thread a signal handler, or the collector, has interrupted."""
    return max(0, _running.coroutines - 1)


def _finished(awaitable: Any) -> Any:
    """Run a coroutine that is never suspended to its end."""
    before = _running.coroutines
    try:
        _running.coroutines = before + 1
        awaitable.send(None)
    except StopIteration as end:
        return end.value
    finally:
        _running.coroutines = before
    awaitable.close()
    raise AssertionError(f"{awaitable!r} waits for an event loop, and there is none")


LOOP: Runner = _Loop()
THREAD: Runner = _Thread()

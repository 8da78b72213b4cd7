"""How a request is carried: on Guard's event loop, or in the thread that asks.

How a provider is asked and its answer is read is written once, as coroutines (remote_model.py, http.py). Where these
wait, a runner waits for them. `LOOP` waits with asyncio, on Guard's event loop, whoever asks. `THREAD` blocks: a
coroutine over it is never suspended, so that it runs to its end where it is called, without a loop or another thread,
in less than half of the time; an interrupt ends it where it is.
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

from guard.models.event_loop import EVENT_LOOP
from guard.models.remote.blocking_http import DEADLINE, DeadlinePassed

T = TypeVar("T")


class Runner(Protocol):
    """Runs coroutines for blocking code, and waits for them."""

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end; where the caller is interrupted, it has ended."""
        ...

    def iterate(self, source: AsyncGenerator[T, None]) -> Iterator[T]:
        """Iterate over a generator; closing the iterator closes it."""
        ...

    def timeout(self, seconds: float | None) -> contextlib.AbstractAsyncContextManager[Any]:
        """Hold what is inside to a deadline, with a TimeoutError."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    def opened(self, send: Callable[[], Any]) -> contextlib.AbstractAsyncContextManager[Any]:
        """Call what returns a response, which is closed on leaving."""
        ...

    def chunks(self, response: Any) -> AsyncIterator[bytes]:
        """Iterate over a response's body."""
        ...

    async def computed(self, work: Callable[[], T]) -> T:
        """Return what some long work returns; nobody else waits for it."""
        ...


class _Loop:
    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return EVENT_LOOP.run(coroutine)

    def iterate(self, source: AsyncGenerator[T, None]) -> Iterator[T]:
        return EVENT_LOOP.iterate(source)

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
    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        EVENT_LOOP.check_may_block(coroutine)
        result: T = contextvars.copy_context().run(_finished, coroutine)
        return result

    def iterate(self, source: AsyncGenerator[T, None]) -> Iterator[T]:
        # The deadline of what is iterated over must not be that of what the caller does between two pieces.
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
            if time.monotonic() < deadline:  # an outer one's
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
    """What a thread is in the middle of."""

    coroutines = 0


_running = _Running()


def nested() -> int:
    """How many coroutines this thread was in the middle of when a signal handler, or the collector, broke into them."""
    return max(0, _running.coroutines - 1)


def _finished(awaitable: Any) -> Any:
    """Run what is never suspended to its end."""
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

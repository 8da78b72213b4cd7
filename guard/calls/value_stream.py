"""The partial values of a call while they arrive, then the value."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from guard.calls.wholeness import End, whole
from guard.trace.records import Call

T = TypeVar("T")


class Stream(Generic[T]):
    """Iterates over partial values, then the value. Closing it stops the model; the call is still recorded.

    One thread reads it at a time: another one that reads or closes it meanwhile gets a ValueError, and ends nothing.
    """

    def __init__(self, driven: Generator[T, None, tuple[T, Call]], end: End = whole) -> None:
        self._driven, self._end = driven, end
        self._is_over = False
        self.call: Call | None = None  #: The record, once the value is there.

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._is_over:
            raise StopIteration
        try:
            return next(self._driven)
        except StopIteration as end:
            self._is_over = True
            value, self.call = end.value
            last: T = self._end(value, end.value[1])
            return last
        except BaseException as raised:
            if _is_busy(raised):
                raise
            self._is_over = True
            if inspect.getgeneratorstate(self._driven) == inspect.GEN_SUSPENDED:  # a signal handler's, in between
                self._driven.throw(raised)
            raise

    def close(self) -> None:
        """Stop the model, and record what there was."""
        try:
            self._driven.close()
        except BaseException as raised:
            self._is_over = self._is_over or not _is_busy(raised)
            raise
        self._is_over = True

    def __enter__(self) -> Stream[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_busy(raised: BaseException) -> bool:
    """Whether an error is the interpreter's own, of a generator that is at work in another thread."""
    trace = raised.__traceback__
    return isinstance(raised, ValueError) and trace is not None and trace.tb_next is None


class AsyncStream(Generic[T]):
    """`Stream` for async code."""

    def __init__(self, driven: AsyncGenerator[Any, None], end: End = whole) -> None:
        self._driven, self._end = driven, end
        self.call: Call | None = None  #: The record, once the value is there.

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        event = await anext(self._driven)
        if isinstance(event, Ended):
            self.call = event.call
            value: T = self._end(event.value, event.call)
            return value
        partial: T = event
        return partial

    async def aclose(self) -> None:
        """Stop the model, and record what there was."""
        await self._driven.aclose()

    async def __aenter__(self) -> AsyncStream[T]:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


@dataclass(frozen=True)
class Ended:
    """The last event of an async driver: the value, and the record."""

    value: Any
    call: Call

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
    After an error there is no value, and whoever reads on gets a RuntimeError.
    """

    def __init__(self, driven: Generator[T, None, tuple[T, Call]], end: End = whole) -> None:
        self._driven, self._end = driven, end
        self._is_over = False
        self._broken_by = ""  # the error's name
        self.call: Call | None = None  #: The record, once the value is there.

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._broken_by:
            raise _broken(self._broken_by)
        if self._is_over:
            raise StopIteration
        try:
            try:
                return next(self._driven)
            except StopIteration as end:
                value, self.call = end.value
            last: T = self._end(value, self.call)
            self._is_over = True
            return last
        except BaseException as raised:
            if _is_busy(raised, ValueError):
                raise
            self._is_over, self._broken_by = True, type(raised).__name__
            if inspect.getgeneratorstate(self._driven) == inspect.GEN_SUSPENDED:  # a signal handler's, in between
                self._driven.throw(raised)
            raise

    def close(self) -> None:
        """Stop the model, and record what there was."""
        try:
            self._driven.close()
        except BaseException as raised:
            self._is_over = self._is_over or not _is_busy(raised, ValueError)
            raise
        self._is_over = True

    def __enter__(self) -> Stream[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_busy(raised: BaseException, kind: type[Exception]) -> bool:
    """Whether an error is the interpreter's own, of a generator that is at work for another reader."""
    trace = raised.__traceback__
    return isinstance(raised, kind) and trace is not None and trace.tb_next is None


def _broken(by: str) -> RuntimeError:
    return RuntimeError(f"this stream was ended by {by}, what it brought is not the whole value: ask again")


class AsyncStream(Generic[T]):
    """`Stream` for async code: one task reads it at a time. A cancelled step ends it, as an error does."""

    def __init__(self, driven: AsyncGenerator[Any, None], end: End = whole) -> None:
        self._driven, self._end = driven, end
        self._broken_by = ""  # the error's name
        self.call: Call | None = None  #: The record, once the value is there.

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        if self._broken_by:
            raise _broken(self._broken_by)
        try:
            event = await anext(self._driven)
            if not isinstance(event, Ended):
                partial: T = event
                return partial
            self.call = event.call
            value: T = self._end(event.value, event.call)
            return value
        except StopAsyncIteration:
            raise
        except BaseException as raised:
            if not _is_busy(raised, RuntimeError):
                self._broken_by = type(raised).__name__
            raise

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

"""Coroutines whose first step is run at once, since most need no more: no timer, and no task of their own.

asyncio's own ways prepare for what seldom happens, and take longer than many steps that could wait.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


async def within(seconds: float | None, work: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns. Raises TimeoutError where it still waits after so many seconds; None: no limit.

    `asyncio.timeout` around it would do the same.
    """
    try:
        waited = work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    async with asyncio.timeout(seconds):
        return await _gone_on(work, waited)


class Beside:
    """A coroutine that waits beside a task, and would be cancelled by `end` before it goes on: a task if it does."""

    def __init__(self, work: Coroutine[Any, Any, Any], told: Callable[[], None]) -> None:
        """Run its first step. `told` is called from the event loop at its end, also by an error, unless by `end`."""
        self._work, self._told = work, told
        self._task: asyncio.Task[None] | None = None
        self._waited: Any = None
        try:
            self._waited = work.send(None)
        except StopIteration:
            asyncio.get_running_loop().call_soon(told)
            return
        if self._waited is None:  # it only lets others go first
            self._go_on(None)
        else:
            self._waited.add_done_callback(self._go_on)

    def end(self) -> None:
        """Cancel it; `told` is not called any more."""
        self._told = _nothing
        if self._task is not None:
            self._task.cancel()
        else:
            if self._waited is not None:
                self._waited.remove_done_callback(self._go_on)
            self._work.close()

    def _go_on(self, _: Any) -> None:
        if self._told is _nothing:  # it ended while this call was on its way
            return
        self._task = asyncio.get_running_loop().create_task(self._rest())

    async def _rest(self) -> None:
        try:
            await _gone_on(self._work, self._waited)
        finally:
            self._told()


def _nothing() -> None: ...


@types.coroutine
def _gone_on(work: Coroutine[Any, Any, T], waited: Any) -> Generator[Any, Any, T]:
    """Run the rest of a coroutine, which waits for something, as its task would."""
    while True:
        raised: BaseException | None = None
        sent = None
        try:
            sent = yield waited
        except BaseException as error:
            raised = error
        try:
            waited = work.send(sent) if raised is None else work.throw(raised)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            del raised  # its traceback knows this frame

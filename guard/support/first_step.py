"""Coroutines within a limit of time, whose first step is run without one, since most need no more.

asyncio sets a timer for what seldom happens, and that takes longer than many steps that could wait.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
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

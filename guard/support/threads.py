"""Work in a thread, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def told_apart(work: Callable[P, T]) -> Callable[P, T]:
    """Return the same work for a thread: a StopIteration of it is a RuntimeError, as it is in a coroutine.

    Before Python 3.12 a future takes no StopIteration, and who awaits it would wait forever.
    """

    def done(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return work(*args, **kwargs)
        except StopIteration as error:
            raise RuntimeError(f"{getattr(work, '__name__', 'a function')} raised StopIteration") from error

    return done


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do what asyncio.to_thread does, for work that is an application's, and may raise StopIteration."""
    return await asyncio.to_thread(told_apart(work), *args, **kwargs)

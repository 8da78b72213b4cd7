"""What is large is worked on in one thread, one thing after the other, and never on the event loop.

Work on megabytes is Python's and keeps the GIL. Several threads of it finish no sooner than one, and hold each other's
memory meanwhile; and the event loop, which takes the GIL several times a request, would wait for all of them each time.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

LARGE = 65_536  #: Bytes of a body from which on work on it is not done on the event loop: some milliseconds.

_thread = ThreadPoolExecutor(1, thread_name_prefix="guard-large")


async def done(size: int, work: Callable[..., T], *arguments: object) -> T:
    """Return what some work on so many bytes returns: here, or where they are many, in its turn."""
    if size < LARGE:
        return work(*arguments)
    return await asyncio.get_running_loop().run_in_executor(_thread, functools.partial(work, *arguments))

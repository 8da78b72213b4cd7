"""Asynchronous generators that nobody closed: which were left to the garbage collector, and which are open still.

Those are watched that run on Guard's loop, on a loop that is run inside, and in the test's own thread without a loop.

What is not closed by whom it belongs to is closed when it is collected, by a task that the loop starts then: in any
order, and from any thread, so that a chain of generators may be closed at two places at once. That ends in "async
generator already executing", somewhere else, at some time.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from guard.models.event_loop import EVENT_LOOP


@contextlib.contextmanager
def watched() -> Iterator[list[str]]:
    """Collect the names of generators that were not closed."""
    lost: list[str] = []
    here: weakref.WeakSet[Any] = weakref.WeakSet()  # those that ran without a loop

    def finalized(agen: Any) -> None:
        lost.append(f"{agen.__qualname__} was left to the collector")
        with contextlib.suppress(StopIteration):
            agen.aclose().send(None)

    class Watched(asyncio.BaseEventLoop):
        def _asyncgen_finalizer_hook(self, agen: Any) -> None:
            lost.append(f"{agen.__qualname__} was left to the collector")
            finalize(self, agen)

        async def shutdown_asyncgens(self) -> None:
            lost.extend(f"{name} was open when its loop ended" for name in _open(self._asyncgens))
            await shutdown(self)

    finalize: Any = asyncio.BaseEventLoop._asyncgen_finalizer_hook
    shutdown: Any = asyncio.BaseEventLoop.shutdown_asyncgens
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.BaseEventLoop, "_asyncgen_finalizer_hook", Watched._asyncgen_finalizer_hook)
        patch.setattr(asyncio.BaseEventLoop, "shutdown_asyncgens", Watched.shutdown_asyncgens)
        _hook()
        before = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=here.add, finalizer=finalized)
        try:
            yield lost
        finally:
            sys.set_asyncgen_hooks(*before)
        lost.extend(f"{name} is open still" for name in (*_open(EVENT_LOOP.loop._asyncgens), *_open(here)))
    _hook()


def _open(generators: Any) -> list[str]:
    return [agen.__qualname__ for agen in set(generators) if agen.ag_frame is not None]


def _hook() -> None:
    """Have Guard's loop, which runs already, look its hooks up again."""
    loop: Any = EVENT_LOOP.loop
    done = threading.Event()

    def look_up() -> None:
        sys.set_asyncgen_hooks(firstiter=loop._asyncgen_firstiter_hook, finalizer=loop._asyncgen_finalizer_hook)
        done.set()

    loop.call_soon_threadsafe(look_up)
    assert done.wait(30)

"""Limits of time: as `asyncio.timeout`, without a timer where nothing waits."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.support.first_step import within

Work = Callable[[], Coroutine[Any, Any, Any]]

STEPS = st.lists(st.sampled_from(["go on", "turn", "wait for ever", "stubborn", "raise"]), max_size=6)


async def _timed(seconds: float | None, work: Coroutine[Any, Any, Any]) -> Any:
    """Do it as asyncio does."""
    async with asyncio.timeout(seconds):
        return await work


def _worker(steps: list[str], told: list[str]) -> Work:
    """Return a coroutine function that does these steps, and tells what it saw of each."""

    async def work() -> str:
        try:
            for step in steps:
                told.append(step)
                if step == "turn":
                    await asyncio.sleep(0)
                elif step == "wait for ever":
                    await asyncio.Event().wait()
                elif step == "stubborn":  # it cleans up, and takes turns for it
                    try:
                        await asyncio.Event().wait()
                    finally:
                        await asyncio.sleep(0)
                        told.append("cleaned up")
                elif step == "raise":
                    raise KeyError(step)
            return "done"
        finally:
            told.append("left")

    return work


async def _outcome(awaitable: Awaitable[Any]) -> str:
    try:
        return str(await awaitable)
    except Exception as error:
        return repr(error)


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_as_asyncio_does(steps: list[str]) -> None:
    told: list[str] = []
    expected: list[str] = []
    found = asyncio.run(_outcome(within(0.002, _worker(steps, told)())))
    assert found == asyncio.run(_outcome(_timed(0.002, _worker(steps, expected)())))
    assert told == expected


def test_sets_no_timer_where_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> str:
        monkeypatch.setattr(asyncio.get_running_loop(), "call_at", None)
        result: str = await within(0.0, _worker(["go on"], [])())
        return result

    assert asyncio.run(main()) == "done"


@pytest.mark.parametrize("how", [within, _timed])
def test_a_caller_that_is_cancelled(how: Callable[[float | None, Coroutine[Any, Any, Any]], Awaitable[Any]]) -> None:
    told: list[str] = []

    async def main() -> None:
        task = asyncio.ensure_future(how(None, _worker(["turn", "stubborn"], told)()))
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert told == ["turn", "stubborn", "cleaned up", "left"]


def test_leaves_no_garbage() -> None:
    async def left() -> int:
        gc.collect()
        gc.disable()
        try:
            for steps in (["turn"], ["turn", "wait for ever"], ["stubborn"], ["turn", "raise"]):
                await _outcome(within(0.002, _worker(steps, [])()))
            return gc.collect()
        finally:
            gc.enable()

    async def main() -> None:
        await left()
        # A thread of another test may leave some meanwhile; what is looked at here leaves some each time, or never.
        assert 0 in [await left() for _ in range(5)]

    asyncio.run(main())

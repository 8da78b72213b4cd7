"""Coroutines whose first step is run at once: as asyncio would, without a timer or a task where nothing needs one."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.support.first_step import Beside, within

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


@given(st.lists(st.sampled_from(["go on", "turn", "raise"]), max_size=4), st.booleans())
@settings(max_examples=60, deadline=None)
def test_beside_a_task_it_does_as_a_task_would(steps: list[str], has_time: bool) -> None:
    """It gets as far, and its end is told as often, whether it may go on or ends just before."""

    async def main(is_task: bool) -> tuple[list[str], int]:
        told: list[str] = []
        ends: list[None] = []
        go = asyncio.Event()

        async def work() -> None:
            await go.wait()
            await _worker(steps, told)()

        if is_task:
            task = asyncio.ensure_future(work())
            task.add_done_callback(lambda _: ends.append(None) if not task.cancelled() else None)
            await asyncio.sleep(0)
        else:
            beside = Beside(work(), lambda: ends.append(None))
        go.set()
        for _ in range(20 if has_time else 0):
            await asyncio.sleep(0)
        if is_task:
            task.cancel()
            await asyncio.wait([task])
        else:
            beside.end()
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.gather(*rest, return_exceptions=True)
        return told, len(ends)

    async def quietly(is_task: bool) -> tuple[list[str], int, list[str]]:
        failed: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: failed.append(repr(what.get("exception"))))
        told, ends = await main(is_task)
        gc.collect()  # a task tells of its failure when it goes
        return told, ends, failed

    assert asyncio.run(quietly(is_task=False)) == asyncio.run(quietly(is_task=True))


def test_a_coroutine_beside_a_task_needs_no_task_until_it_goes_on() -> None:
    async def main() -> None:
        ends: list[None] = []
        beside = Beside(asyncio.Event().wait(), lambda: ends.append(None))
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1
        beside.end()
        await asyncio.sleep(0)
        assert not ends

    asyncio.run(main())


def test_a_coroutine_that_never_waits_is_told_of_at_once() -> None:
    async def main() -> None:
        ends: list[None] = []
        beside = Beside(_worker(["go on"], [])(), lambda: ends.append(None))
        await asyncio.sleep(0)
        assert ends == [None]
        beside.end()

    asyncio.run(main())


def test_leaves_no_garbage() -> None:
    async def main() -> None:
        for steps in (["turn"], ["turn", "wait for ever"], ["stubborn"], ["turn", "raise"]):
            await _outcome(within(0.002, _worker(steps, [])()))
        gc.collect()
        gc.disable()
        try:
            for steps in (["turn"], ["turn", "wait for ever"], ["stubborn"], ["turn", "raise"]):
                await _outcome(within(0.002, _worker(steps, [])()))
                beside = Beside(_worker(["wait for ever"], [])(), lambda: None)
                await asyncio.sleep(0)
                beside.end()
                del beside
            assert gc.collect() == 0
        finally:
            gc.enable()

    asyncio.run(main())

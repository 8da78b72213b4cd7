"""Sleeps of an application under test are counted and shortened by every name; afterwards all is as before."""

import asyncio
import contextlib
import importlib.util
import sys
import threading
import time
from asyncio import sleep as asleep
from collections.abc import Callable
from pathlib import Path
from time import sleep
from types import SimpleNamespace

import anyio
import pytest

from guard.testing.sleeps import counted


def _in_a_thread(function: Callable[[], object]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def test_a_sleep_is_counted_by_every_name_that_it_has() -> None:
    waits: list[float] = []
    started = time.perf_counter()
    with counted(waits.append):
        _in_a_thread(lambda: time.sleep(20))
        _in_a_thread(lambda: sleep(30))
        asyncio.run(asyncio.sleep(40))
        asyncio.run(asleep(50))
        anyio.run(anyio.sleep, 60)
    assert waits == [20, 30, 40, 50, 60]
    assert time.perf_counter() - started < 10


def test_short_ones_and_those_of_the_own_thread_are_slept() -> None:
    waits: list[float] = []
    with counted(waits.append):
        started = time.perf_counter()
        sleep(0.05)
        asyncio.run(asleep(0.001))
        assert time.perf_counter() - started >= 0.05
    assert waits == []


def test_who_sleeps_for_ever_is_awakened_by_nobody() -> None:
    async def waits_to_be_cancelled() -> bool:
        with anyio.move_on_after(0.05) as scope:
            await anyio.sleep_forever()
        return scope.cancelled_caught

    waits: list[float] = []
    with counted(waits.append):
        assert asyncio.run(waits_to_be_cancelled())
    assert waits == []


def test_what_was_imported_meanwhile_has_the_true_ones_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    later = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "later", later)
    before = (time.sleep, asyncio.sleep)
    with contextlib.suppress(KeyboardInterrupt), counted(lambda _: None):
        later.sleep, later.asleep, later.ours = time.sleep, asyncio.sleep, sleep
        assert later.sleep is not before[0]
        assert later.asleep is not before[1]
        raise KeyboardInterrupt
    assert (time.sleep, asyncio.sleep) == (sleep, asleep) == before
    assert (later.sleep, later.asleep, later.ours) == (before[0], before[1], before[0])


def test_a_module_that_is_loaded_late_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was loaded by the look into it; where that failed, sleeps stayed shortened."""
    file = tmp_path / "optional_gpu.py"
    file.write_text("raise RuntimeError('no GPU here')\n")
    spec = importlib.util.spec_from_file_location("optional_gpu", file)
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "optional_gpu", module)
    spec.loader.exec_module(module)
    before = (time.sleep, asyncio.sleep)
    with counted(lambda _: None):
        pass
    assert (time.sleep, asyncio.sleep) == before
    with pytest.raises(RuntimeError, match="no GPU here"):
        _ = module.anything

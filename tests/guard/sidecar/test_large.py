"""Large work beside small requests: it stands behind them, and memory that it left is given back."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import threading
import weakref
from types import SimpleNamespace
from typing import Any

import pytest

from guard.sidecar import application, large
from guard.sidecar.application import Sidecar
from guard.sidecar.circuit_breaker import SENDER
from guard.sidecar.errors import ApiError
from guard.sidecar.large import NICE, counted, done, done_so_far
from guard.sidecar.middleware import Watched


def test_large_work_is_counted_at_its_end_whatever_that_is() -> None:
    before = done_so_far()
    assert counted(lambda: done_so_far() - before) == 0
    with pytest.raises(ZeroDivisionError):
        counted(lambda: 1 // 0)
    assert done_so_far() == before + 2


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux only")
def test_large_work_stands_behind_the_event_loop_for_a_processor() -> None:
    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    async def main() -> tuple[int, int]:
        return priority(), await done(10**9, priority)

    here, there = asyncio.run(main())
    assert there == min(here + NICE, 19)


def test_large_work_of_one_sender_delays_no_other() -> None:
    """One line for all: a key with a dozen large bodies under way delayed those of all other keys by seconds."""
    order: list[str] = []

    async def work(sender: str, number: int) -> None:
        SENDER.set(sender)
        await done(10**6, order.append, f"{sender}{number}")

    async def main() -> None:
        senders = [*("flood " * 5).split(), "other"]
        await asyncio.gather(*(work(sender, number) for number, sender in enumerate(senders)))

    for _ in range(2):  # each in an event loop of its own
        order.clear()
        asyncio.run(main())
        assert order == ["flood0", "flood1", "other5", "flood2", "flood3", "flood4"]


def test_large_work_is_done_where_priorities_are_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(large.os, "setpriority", forbidden)
    with large.thread("guard-forbidden") as pool:
        assert pool.submit(lambda: 3).result(10) == 3


FRAGMENTS = """
from pathlib import Path
from guard.support import memory

def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

memory.hold_little()
parts = [bytes(2_000) for _ in range(60_000)]
parts = parts[::1_000]
before = held()
memory.give_back()
print(before - held())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_memory_that_is_free_between_what_is_used_is_given_back() -> None:
    said = subprocess.run([sys.executable, "-c", FRAGMENTS], capture_output=True, text=True, check=True, timeout=60)
    assert int(said.stdout) > 60_000_000


def test_a_full_collection_waits_while_a_request_is_under_way_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    collected: list[bool] = []
    under_way: dict[int, Any] = {1: None}
    monkeypatch.setattr(application, "COLLECTED_S", 0.01)
    monkeypatch.setattr(application, "LATEST_S", 0.3)

    monkeypatch.setattr(application.gc, "collect", lambda: collected.append(bool(under_way)))

    async def collecting(seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(Sidecar._collect(SimpleNamespace(contexts=under_way)), seconds)

    asyncio.run(collecting(0.2))
    assert collected == []
    asyncio.run(collecting(0.5))
    assert collected[0]
    under_way.clear()
    collected.clear()
    asyncio.run(collecting(0.2))
    assert collected
    assert not any(collected)


class Body:
    """What a request has in its hands."""


async def _refused(path: str, kept: list[weakref.ref[Body]]) -> list[dict[str, Any]]:
    """Ask what fails in a task that is waited for: a circle of the error, the task and the frame that waits."""

    async def fails() -> None:
        body = Body()
        kept.append(weakref.ref(body))
        raise ApiError(422, "no", code="no")

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        task = asyncio.ensure_future(fails())
        await task

    async def settle(_: Any) -> None:
        pass

    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    side = SimpleNamespace(contexts={}, settle=settle, access=SimpleNamespace(write=lambda _: None), is_draining=False)
    scope = {"type": "http", "method": "POST", "path": path, "headers": []}
    await Watched(app, side)(scope, None, send)
    return sent


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_a_refused_request_goes_without_a_collection_of_garbage(path: str) -> None:
    kept: list[weakref.ref[Body]] = []
    gc.collect()
    gc.disable()
    try:
        sent = asyncio.run(_refused(path, kept))
        assert sent[0]["status"] == 422
        assert kept[0]() is None
    finally:
        gc.enable()

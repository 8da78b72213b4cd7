"""Large work beside small requests: it stands behind them, and memory that it left is given back."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from guard.models.base import Request
from guard.sidecar import application, large, native, upstream
from guard.sidecar.application import Sidecar
from guard.sidecar.circuit_breaker import SENDER
from guard.sidecar.endpoints import message_answers
from guard.sidecar.endpoints.chat import Chat
from guard.sidecar.endpoints.chat_request import ChatRequest
from guard.sidecar.endpoints.message_answers import MessageConnection
from guard.sidecar.errors import ApiError
from guard.sidecar.headers import EVENTS
from guard.sidecar.large import NICE, counted, done, done_so_far
from guard.sidecar.middleware import Watched
from guard.sidecar.native import Native
from guard.sidecar.passthrough import Passage, Relay
from guard.sidecar.request_context import RequestContext
from guard.sidecar.served_models import Served
from guard.sidecar.settings import ModelSettings
from guard.testing import fake_server
from guard.trace import TraceStore


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


def test_large_work_that_has_begun_is_over_before_its_caller_is_cancelled() -> None:
    begun, go = threading.Event(), threading.Event()
    ended: list[int] = []

    def work() -> None:
        begun.set()
        go.wait(30)
        ended.append(1)

    async def main() -> bool:
        task = asyncio.create_task(done(10**6, work))
        await asyncio.to_thread(begun.wait, 30)
        task.cancel()
        await asyncio.sleep(0.05)
        assert not task.done()
        go.set()
        await asyncio.wait([task])
        return task.cancelled() and ended == [1]

    assert asyncio.run(main())


MANY = [{"index": at, "delta": {"content": "a"}, "finish_reason": "stop"} for at in range(500)]  #: Some 30 kB.
STREAMED = b"data: " + json.dumps({"choices": MANY}).encode() + b"\n\n"


async def sent(_: Any) -> None:
    """Take what is sent."""


async def passed(served: Served, tmp_path: Path, stream: bool) -> None:
    relay = Relay(TraceStore(tmp_path / "trace.db").journal, sent)
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
    context = RequestContext("POST", "/v1/chat/completions", None)
    asked = Passage(context, Chat(), served, body, None, sent)
    await (relay.stream(asked) if stream else relay.whole(asked))


async def checked(served: Served, _: Path, __: bool) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    asked = Native(served, ChatRequest.of(body), 9)
    async for _part in asked.astream(Request(tuple(body["messages"]), None, max_tokens=9)):
        pass


async def translated(_served: Served, _: Path, __: bool) -> None:
    connection = MessageConnection(RequestContext("POST", "/v1/messages", None), sent, ())
    await connection({"type": "http.response.start", "status": 200, "headers": [EVENTS]})
    await connection({"type": "http.response.body", "body": STREAMED, "more_body": True})


@pytest.mark.parametrize(
    ("ask", "stream", "spied"),
    [
        (passed, False, (Chat, "written")),
        (passed, True, (Chat, "written")),
        (passed, True, (upstream._StreamEnd, "take")),
        (checked, True, (native._Whole, "take")),
        (translated, True, (message_answers._Events, "take")),
    ],
)
def test_an_answer_of_very_many_parts_is_looked_at_beside_the_event_loop(
    ask: Any, stream: bool, spied: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Only the parsing was: 190,000 choices in one event held up all others for more than a second."""
    threads, look = set[str](), getattr(*spied)

    def noting(*arguments: Any) -> Any:
        found = look(*arguments)
        found = found if isinstance(found, int | None) else [*found]
        threads.add(threading.current_thread().name)
        return found

    monkeypatch.setattr(*spied, noting)
    raw = STREAMED + b"data: [DONE]\n\n"
    if not stream:
        raw = json.dumps({"choices": [{**each, "message": each["delta"]} for each in MANY]}).encode()

    async def main(url: str) -> None:
        served = Served("m", ModelSettings(model="openai:served-1", base_url=url, transport_retries=0), 10_000_000)
        served.tiers = (served,)
        await ask(served, tmp_path, stream)
        assert served.upstream is not None
        await served.upstream.close()

    with fake_server.Server(fake_server.Answer(raw=raw)) as provider:
        asyncio.run(main(provider.url))
    assert threads == {"guard-large_0"}


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

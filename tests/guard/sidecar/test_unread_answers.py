"""Answers that wait to be read: who takes nothing is cut off, who reads slowly is not, and all together are bounded."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sidecars import Sidecar, model, received, serving

from guard.sidecar.unread_answers import ALL_UNREAD, UnreadAnswers, Watch
from guard.testing import fake_server

LONG = "x" * 6_000_000
ANSWERS = {"Long.": LONG, "Longer.": "x" * 4_300_000, "Longest.": "x" * 9_500_000}
SECONDS = 2.0  #: For which a client of these tests may take nothing.


class Transport:
    """A transport with a buffer that is read as a test says."""

    def __init__(self, left: int) -> None:
        self.left = left

    def get_write_buffer_size(self) -> int:
        return self.left


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """Start a sidecar before a provider whose answers are long where that is asked."""
    with fake_server.Server(_answered) as provider:
        limits = f"body_seconds = {SECONDS}\nhead_seconds = {SECONDS}\nkeep_alive_seconds = 2\n"
        with serving(tmp_path_factory.mktemp("unread"), limits + model(provider.url)) as made:
            yield made


def _answered(request: fake_server.ClientRequest) -> str:
    return ANSWERS.get(request.body["messages"][-1]["content"], "Hello.")


def _asked(sidecar: Sidecar, *headers: str, words: str = "Long.") -> socket.socket:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": words}]})
    head = ["POST /v1/chat/completions HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}", *headers]
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    connection.connect((sidecar.host, sidecar.port))
    connection.sendall(("\r\n".join(head) + "\r\n\r\n" + body).encode())
    return connection


def _write(watch: Watch, size: int) -> None:
    watch.wrote(size)
    watch._transport.left = size
    watch.begin()


def _connections(sidecar: Sidecar) -> int:
    """Return how many connections the sidecar holds, by the system's table."""
    rows = Path(f"/proc/{sidecar.process.pid}/net/tcp").read_text().splitlines()[1:]
    mine = f":{sidecar.port:04X}"
    return sum(row.split()[1].endswith(mine) and row.split()[3] == "01" for row in rows)


def _resident(sidecar: Sidecar) -> int:
    """Return its resident bytes."""
    return int(Path(f"/proc/{sidecar.process.pid}/statm").read_text().split()[1]) * resource.getpagesize()


def test_a_client_that_reads_slowly_gets_the_whole_answer(sidecar: Sidecar) -> None:
    """It was cut off once the time was over, though it took a part every moment."""
    with contextlib.closing(_asked(sidecar, "Connection: close")) as connection:
        data, began = b"", time.monotonic()
        while part := connection.recv(200_000):
            data += part
            time.sleep(0.05)
        assert time.monotonic() - began > 1.2 * SECONDS
    assert len(data) > len(LONG)


def test_a_client_that_takes_nothing_is_cut_off(sidecar: Sidecar) -> None:
    for headers in ((), ("Connection: close",)):
        with contextlib.closing(_asked(sidecar, *headers)) as connection:
            time.sleep(3 * SECONDS)
            assert len(received(connection)) < len(LONG)


def test_a_small_rest_of_an_ended_connection_is_not_waited_for_for_ever(sidecar: Sidecar) -> None:
    """Below 64 kB nothing watched: the connection stayed as long as its client liked."""
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            connection = stack.enter_context(contextlib.closing(socket.socket()))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            connection.connect((sidecar.host, sidecar.port))
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        time.sleep(4 * SECONDS)
        assert _connections(sidecar) == 0


def test_who_is_reading_an_answer_has_it_before_the_process_ends(tmp_path: Path) -> None:
    with fake_server.Server(_answered) as provider, serving(tmp_path, model(provider.url)) as sidecar:
        with contextlib.closing(_asked(sidecar)) as connection:
            data = connection.recv(65_536)
            ending = threading.Thread(target=sidecar.end)
            ending.start()
            while len(data) < len(LONG):
                part = connection.recv(100_000)
                assert part, "it was broken off"
                data += part
                time.sleep(0.05)
        ending.join()
        assert sidecar.process.returncode == 0


@pytest.mark.parametrize("words", ["Longest.", "Longer."])
def test_all_unread_answers_together_are_bounded(tmp_path: Path, words: str) -> None:
    """Each connection held one while its client read nothing; who reads goes on reading.

    What the system had taken was not counted, so of answers that it took nearly whole any number stayed in memory.
    """
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(fake_server.Server(_answered))
        sidecar = stack.enter_context(serving(tmp_path, "body_seconds = 600\n" + model(provider.url)))
        sidecar.chat(words)
        before = _resident(sidecar)
        for _ in range(60):
            stack.enter_context(contextlib.closing(_asked(sidecar, words=words)))
            time.sleep(0.05)
        assert len(sidecar.chat(words).data) > len(ANSWERS[words])
        sidecar.wait(lambda: len(sidecar.log) >= 62)
        assert 0.7 * ALL_UNREAD < _connections(sidecar) * len(ANSWERS[words]) < 1.1 * ALL_UNREAD
        sidecar.wait(lambda: _resident(sidecar) - before < 1.5 * ALL_UNREAD)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, ALL_UNREAD // 2), st.integers(0, 100)), max_size=30))
def test_what_is_counted_is_what_is_there(changes: list[tuple[int, int, int]]) -> None:
    """Whatever connections write and clients take, what was written counts, within the bound but for one alone."""

    async def main() -> None:
        everything = UnreadAnswers()
        transports = [Transport(0) for _ in range(5)]
        gone: list[int] = []
        watches = [Watch(each, 1e9, everything, partial(gone.append, at)) for at, each in enumerate(transports)]
        writes: list[list[list[int]]] = [[] for _ in range(5)]  # of each connection: bytes, and those of them left
        for at, size, taken in changes:
            if size:
                watches[at].wrote(size)
                writes[at].append([size, size])
            gone_now = sum(left for _, left in writes[at]) * taken // 100
            for write in writes[at]:
                part = min(gone_now, write[1])
                write[1] -= part
                gone_now -= part
            writes[at] = [write for write in writes[at] if write[1]]
            transports[at].left = sum(left for _, left in writes[at])
            watches[at].begin() if writes[at] else watches[at].end()
            for cut in gone:
                writes[cut], transports[cut].left = [], 0
            gone.clear()
            held = [sum(whole for whole, _ in writes[each]) for each in range(5)]
            watched = [each if watches[at] in everything.watched else 0 for at, each in enumerate(held)]
            assert everything.bytes == sum(watched) <= sum(held)
            assert sum(watched) <= ALL_UNREAD or sum(map(bool, watched)) == 1
        for watch in watches:
            watch.end()
        assert (everything.bytes, everything.watched) == (0, set())

    asyncio.run(main())


def test_a_long_stream_counts_only_what_is_left_of_it() -> None:
    """One that is read steadily, and is never quite empty, counted with all that it ever was."""

    async def main() -> int:
        everything, transport = UnreadAnswers(), Transport(0)
        watch = Watch(transport, 1e9, everything, lambda: None)
        for _ in range(10_000):
            watch.wrote(10_000)
            transport.left = 25_000
        watch.begin()
        held = everything.bytes
        watch.end()
        return held

    assert asyncio.run(main()) == 30_000


def test_the_slowest_goes_first() -> None:
    async def main() -> list[str]:
        everything, gone = UnreadAnswers(), list[str]()
        watches: dict[str, Any] = {}
        for name, first in (("slow", 60_000_000), ("fast", 60_000_000), ("still", 7_000_000)):
            watches[name] = Watch(Transport(0), 1e9, everything, lambda name=name: gone.append(name))
            _write(watches[name], first)
        await asyncio.sleep(0.01)
        for name, left in (("slow", 59_000_000), ("fast", 20_000_000)):
            watches[name]._transport.left = left
            watches[name]._look()
        assert gone == []
        watches["late"] = Watch(Transport(0), 1e9, everything, lambda: gone.append("late"))
        _write(watches["late"], 60_000_000)
        for watch in watches.values():
            watch.end()
        return gone

    assert asyncio.run(main()) == ["still", "slow"]


def test_one_answer_alone_may_be_larger_than_the_bound() -> None:
    async def main() -> list[str]:
        everything, gone = UnreadAnswers(), list[str]()
        watches = [Watch(Transport(0), 1e9, everything, partial(gone.append, name)) for name in "ab"]
        _write(watches[0], 2 * ALL_UNREAD)
        assert gone == []
        await asyncio.sleep(0.001)
        _write(watches[1], 2 * ALL_UNREAD)
        watches[1].end()
        return gone

    assert asyncio.run(main()) == ["a"]


@pytest.mark.parametrize("tools", [[], [{"type": "function", "function": {"name": "f", "parameters": {}}}]])
def test_a_stream_that_is_read_past_its_time_ends_in_an_error_event(tools: list[Any], tmp_path: Path) -> None:
    """Beside tools, the deadline struck where the client's connection was waited for: it was cut, without a word."""
    events = [{"choices": [{"index": 0, "delta": {"content": "x" * 3_000}}]}] * 3_000
    ends = [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
    raw = b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events + ends)
    body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "?"}], "tools": tools})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
    with (
        fake_server.Server(fake_server.Answer(raw=raw)) as provider,
        serving(tmp_path, model(provider.url, total_seconds=1, transport_retries=0)) as sidecar,
        socket.socket() as connection,
    ):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        connection.connect((sidecar.host, sidecar.port))
        connection.sendall((head + "Connection: close\r\n\r\n" + body).encode())
        time.sleep(2)
        connection.settimeout(30)
        end = received(connection)[-400:]
        sidecar.wait(lambda: sidecar.log)
        assert b"event: error" in end
        assert b'"code": "timeout"' in end
        assert end.endswith(b"0\r\n\r\n")
        assert not [line for line in sidecar.errors if "Traceback" in line]

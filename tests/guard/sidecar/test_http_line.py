"""Requests that come behind others on one connection: all are answered in order, and few wait in line at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from guard.sidecar import http_limits
from guard.sidecar.http_limits import IN_LINE, SLICE, HeldBytes, Wire
from guard.sidecar.settings import ServeSettings


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with what was asked, after a turn of the loop."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message.get("more_body", False)
    await asyncio.sleep(0)
    said = json.dumps([scope["path"], body.decode()]).encode()
    headers = [(b"content-length", b"%d" % len(said))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": said})


@contextlib.asynccontextmanager
async def connected(
    app: Any = echo, seen: Callable[[Wire], None] = lambda _: None, held: HeldBytes | None = None, **serve: Any
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Serve an application, and connect to it; `seen` is shown the connection after each piece that is parsed."""

    class Seen(Wire):
        def _take(self, data: bytes) -> None:
            super()._take(data)
            seen(self)

    config = uvicorn.Config(app, log_config=None, access_log=False)
    config.load()
    state, loop = ServerState(), asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Seen(ServeSettings(**serve), held or HeldBytes(), config=config, server_state=state, app_state={}),
        "127.0.0.1",
        0,
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    try:
        yield reader, writer
    finally:
        writer.close()
        server.close()


async def answered(parts: Sequence[bytes | float], number: int, app: Any = echo, **serve: Any) -> tuple[list[Any], int]:
    """Send parts over one connection, with seconds between them; returns so many answers, and the longest line."""
    lines = [0]
    async with connected(app, lambda wire: lines.append(len(wire.pipeline)), **serve) as (reader, writer):

        async def send() -> None:
            for part in parts:
                if isinstance(part, float):
                    await asyncio.sleep(part)
                else:
                    writer.write(part)
                    await writer.drain()

        sending, found = asyncio.create_task(send()), []
        for _ in range(number):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            found.append(json.loads(await reader.readexactly(length)))
        await sending
        return found, max(lines)


async def slow(scope: Any, receive: Any, send: Any) -> None:
    """Answer after a while."""
    await asyncio.sleep(0.06)
    await echo(scope, receive, send)


def asked(path: str, body: str, kind: str) -> bytes:
    """Return a request."""
    head, data = f"POST {path} HTTP/1.1\r\nHost: x\r\n", body.encode()
    if kind == "none":
        return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    if kind == "sized":
        return head.encode() + b"Content-Length: %d\r\n\r\n%s" % (len(data), data)
    chunk = b"%x\r\n%s\r\n" % (len(data), data) if data else b""
    return head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n"


REQUESTS = st.lists(st.tuples(st.sampled_from(["none", "sized", "chunked"]), st.text("ab", max_size=40)), max_size=30)


@given(REQUESTS, st.lists(st.integers(1, 200), max_size=40), st.integers(1, 4), st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_all_are_answered_in_order_however_they_come(
    requests: list[tuple[str, str]], cuts: list[int], in_line: int, slice_: int
) -> None:
    wanted = [[f"/{at}", "" if kind == "none" else body] for at, (kind, body) in enumerate(requests)]
    stream = b"".join(asked(f"/{at}", body, kind) for at, (kind, body) in enumerate(requests))
    parts = []
    for cut in cuts:
        parts.append(stream[:cut])
        stream = stream[cut:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_limits, "IN_LINE", in_line)
        patch.setattr(http_limits, "SLICE", slice_)
        found, _ = asyncio.run(answered([*filter(None, parts), stream], len(wanted)))
    assert found == wanted


def test_of_thousands_a_few_are_in_line() -> None:
    """Every answer let uvicorn read on, and 256 kB more of them were parsed: memory without end, and 0.7 s a turn."""
    one = asked("/", "", "none")
    found, most = asyncio.run(answered([one * 20_000], 20_000))
    assert len(found) == 20_000
    assert most <= IN_LINE + SLICE // len(one) + 1


def test_a_large_body_behind_others_is_read_whole() -> None:
    body = "x" * 1_000_000
    large = asked("/1", body, "sized") + asked("/2", body, "chunked")
    stream = asked("/0", "", "none") * 40 + large + asked("/3", "", "none")
    found, _ = asyncio.run(answered([stream], 43))
    assert found[40:] == [["/1", body], ["/2", body], ["/3", ""]]


def test_no_head_is_late_while_the_line_before_it_is_full() -> None:
    """Half a head at the end of what was parsed had its time running, though nothing more was read."""
    one = asked("/", "", "none")
    found, _ = asyncio.run(answered([one * 40 + one[:20], 0.02, one[20:]], 41, slow, head_seconds=1.0))
    assert len(found) == 41


def test_half_a_head_behind_a_request_under_way_leaves_it_its_answer() -> None:
    one = asked("/", "", "none")
    found, _ = asyncio.run(answered([one + one[:20]], 1, slow, head_seconds=0.03))
    assert len(found) == 1


@pytest.mark.parametrize("number", [1, 20, 500])
def test_who_leaves_with_requests_in_line_is_missed(number: int) -> None:
    is_gone = asyncio.Event()

    async def waiting(_scope: Any, receive: Any, _send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        is_gone.set()

    async def main() -> None:
        async with connected(waiting) as (_, writer):
            writer.write(asked("/", "", "none") * number)
            await writer.drain()
            await asyncio.sleep(0.1)
            writer.transport.abort()
            await asyncio.wait_for(is_gone.wait(), 30)

    asyncio.run(main())


def head(size: int) -> bytes:
    """A request whose head has about so many bytes."""
    return b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: %0900d\r\n" % (at, at) for at in range(size // 908))


LINE = asked("/", "", "none") * 4000  #: Requests that fill what one connection may hold.


@pytest.mark.parametrize(
    ("others", "mine", "is_answered"),
    [
        ([LINE] * 40, head(40_000), True),  # each could hold 0.3 MB: with 12,000 connections one client held 4 GB
        ([head(40_000)] * 60, head(18_000), True),
        ([head(18_000)] * 80, head(19_500), True),  # shares count for nobody else: they filled what is there for all
        ([head(40_000)] * 60, head(60_000), False),  # who holds most
    ],
)
def test_what_all_connections_hold_is_bounded(
    monkeypatch: pytest.MonkeyPatch, others: list[bytes], mine: bytes, is_answered: bool
) -> None:
    monkeypatch.setattr(http_limits, "ALL_BYTES", 500_000)
    goes_on, answers = asyncio.Event(), []

    async def hanging(scope: Any, receive: Any, send: Any) -> None:
        await goes_on.wait()
        await echo(scope, receive, send)

    async def client(stack: contextlib.AsyncExitStack, held: HeldBytes, sent: bytes) -> Any:
        reader, writer = await stack.enter_async_context(connected(hanging, held=held))
        writer.write(sent)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(writer.drain(), 0.05)
        return reader, writer

    async def main() -> None:
        held = HeldBytes()
        async with contextlib.AsyncExitStack() as stack:
            clients = [await client(stack, held, each) for each in (*others, mine)]
            await asyncio.sleep(0.2)
            assert held.bytes <= http_limits.ALL_BYTES
            goes_on.set()
            if is_answered:
                clients[-1][1].write(b"\r\n")  # its head ends
            read = clients if others[0] is LINE else clients[-1:]
            answers.extend([await asyncio.wait_for(reader.read(200), 30) for reader, _ in read])
        for _ in range(100):
            await asyncio.sleep(0.02)
            if held.bytes == 0:
                return
        raise AssertionError(f"{held.bytes} bytes are held by nobody")

    asyncio.run(main())
    expected = b"HTTP/1.1 200" if is_answered else b"HTTP/1.1 503"
    assert all(each.startswith(expected) for each in answers), "a running request is answered, too"


def test_line_ends_do_not_keep_an_idle_connection_open() -> None:
    """They ended uvicorn's time limit of an idle connection, and began none."""

    async def main() -> None:
        async with connected(head_seconds=0.2) as (reader, writer):
            writer.write(asked("/", "", "none"))
            await reader.readuntil(b'""]')
            writer.write(b"\r\n")
            assert await asyncio.wait_for(reader.read(), 4) == b""  # closed, and before uvicorn's five seconds

    asyncio.run(main())

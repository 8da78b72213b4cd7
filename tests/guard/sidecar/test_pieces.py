"""Large bodies come and go in pieces, and the parts of one request begin one after the other."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.sidecar import bodies, large
from guard.sidecar.admission import Room
from guard.sidecar.errors import ApiError
from guard.sidecar.passthrough import at_once, every
from guard.sidecar.request_context import RequestContext, answer
from guard.sidecar.settings import ServeSettings
from guard.sidecar.upstream import Upstream

SCOPE = {"headers": []}


@dataclasses.dataclass
class Share:
    """Counts what a request takes."""

    taken: int = 0

    def take(self, size: int) -> None:
        self.taken += size


def read(parts: list[bytes], most: int = 10**9) -> bytes:
    share: Any = Share()
    coming = iter(parts)

    async def receive() -> dict[str, Any]:
        part = next(coming)
        return {"type": "http.request", "body": part, "more_body": coming.__length_hint__() > 0}

    found = asyncio.run(bodies.read(SCOPE, receive, share, most, 30))
    assert share.taken == len(found)
    return found


@given(st.lists(st.sampled_from([0, 1, 7, 1000, 30_000, 40_000, 70_000]), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_a_body_is_all_of_its_parts(sizes: list[int]) -> None:
    parts = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    whole = b"".join(parts)
    assert read(parts) == whole
    with pytest.raises(ApiError, match="more than"):
        read([*parts, b"x"], len(whole))


def test_many_small_parts_are_held_as_few_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of one byte takes 34 as an object."""
    objects: list[int] = []

    async def done(_: int, work: Any, held: list[Any]) -> Any:
        objects.append(len(held))
        return work(held)

    monkeypatch.setattr(large, "done", done)
    assert read([b"x"] * 150_000) == b"x" * 150_000
    assert objects == [3]


def test_an_answer_is_sent_as_a_whole() -> None:
    """In pieces it waited for the client between them, who so kept a place of the requests under way."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(answer(send, RequestContext("GET", "/", None), 200, bytes(3_000_000)))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert (b"content-length", b"3000000") in sent[0]["headers"]


def test_a_large_body_is_sent_in_pieces_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"a": "' + b"x" * 3_000_000 + b'"}'
    written: list[int] = []
    write = aiohttp.http_writer.StreamWriter.write

    async def seen(self: Any, chunk: Any, *more: Any, **given: Any) -> None:
        written.append(len(chunk))
        await write(self, chunk, *more, **given)

    monkeypatch.setattr("aiohttp.http_writer.StreamWriter.write", seen)

    async def main() -> list[bytes]:
        heard: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(line for line in head.lower().splitlines() if line.startswith(b"content-length:"))
                heard.append(await reader.readexactly(int(length.split(b":")[1])))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**16)
        upstream = Upstream("m", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "key", 10**6)
        for _ in range(2):
            assert await upstream.post("/chat/completions", body) == (b"{}", {})
        await upstream.close()
        server.close()
        return heard

    assert asyncio.run(main()) == [body, body]
    assert written
    assert max(written) <= large.PIECE


def test_parts_of_a_request_come_in_order_and_none_begins_after_a_failure() -> None:
    under_way, begun = 0, []

    async def one(number: int, fails: int) -> int:
        nonlocal under_way
        begun.append(number)
        under_way += 1
        await asyncio.sleep(0.001 * (number % 3))
        under_way -= 1
        if number == fails:
            raise ValueError(number)
        return number

    def work(fails: int = -1) -> Iterator[Any]:
        return (one(number, fails) for number in range(128))

    assert asyncio.run(every(work(), 128)) == begun == list(range(128))
    begun.clear()
    with pytest.raises(ValueError, match="0"):
        asyncio.run(every(work(fails=0), 128))
    assert under_way == 0, "what had begun was awaited"
    assert len(begun) < 10


def test_parts_of_a_request_wait_beside_each_other() -> None:
    """Sixteen at a time, 128 took eight times as long, and the time of the request was over."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await every((asyncio.sleep(0.5) for _ in range(128)), 128)
        return loop.time() - began

    assert asyncio.run(main()) < 5


def test_one_part_of_a_request_begins_in_each_turn_of_the_loop() -> None:
    """128 choices that began at once held up all others for 0.2 s."""
    turns: list[int] = []
    began: list[int] = []

    async def others() -> None:
        while True:
            turns.append(len(began))
            await asyncio.sleep(0)

    async def one(number: int) -> None:
        began.append(number)

    async def main() -> None:
        beside = asyncio.create_task(others())
        await every((one(number) for number in range(128)), 128)
        beside.cancel()

    asyncio.run(main())
    assert max(after - before for before, after in itertools.pairwise(turns)) <= 1


@pytest.mark.parametrize("swallows", [False, True])
def test_a_request_that_is_given_up_gives_up_its_parts(swallows: bool) -> None:
    begun: list[int] = []
    ended: list[int] = []

    async def one(number: int) -> None:
        begun.append(number)
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            if not swallows:
                raise
        finally:
            ended.append(number)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(every((one(number) for number in range(40)), 40), 0.05)

    asyncio.run(main())
    assert sorted(ended) == sorted(begun)


def test_a_part_of_a_request_that_is_cancelled_ends_it() -> None:
    async def one(number: int) -> int:
        if number == 1:
            raise asyncio.CancelledError
        return number

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(every((one(number) for number in range(3)), 3))


def test_so_many_parts_of_a_request_are_under_way_as_it_may_hold_bodies() -> None:
    under_way, most = 0, 0

    async def one(number: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1
        return number

    assert asyncio.run(every((one(number) for number in range(20)), 3)) == list(range(20))
    assert most == 3


def test_the_bodies_of_choices_are_counted_and_few_large_ones_are_held() -> None:
    """128 choices of a body of 9 MB took two gigabytes beside a provider that did not read them."""
    limits, room = ServeSettings(), Room()
    context = RequestContext("POST", "/v1/chat/completions", None)
    scope = {"context": context, "client": ("10.0.0.1", 1)}
    for size, wanted in ((9_000_000, 1), (4_000_000, 4), (125_000, 128), (2_000, 128)):
        with room.share(scope, limits) as context.share:
            context.share.take(size)
            context.size = size
            assert at_once(context, 128) == wanted
            assert room._bytes == wanted * size
    context.size = 125_000
    with room.share(scope, limits) as context.share:
        for _ in range(7):
            at_once(context, 128)
        with pytest.raises(ApiError, match="more than one client"):
            at_once(context, 128)

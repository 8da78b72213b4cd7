"""An upstream fails as a model behind the same address does: in the same words, whichever HTTP client is asked."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from guard.errors import CallError, TimedOut
from guard.models import adapters
from guard.models.base import Reply, Request
from guard.models.remote.errors import ExchangeError
from guard.models.remote.openai import OpenAIModel
from guard.sidecar import large
from guard.sidecar.served_models import Served
from guard.sidecar.settings import ModelSettings
from guard.sidecar.upstream import Upstream
from guard.sidecar.upstream_client import OWN_LOOP, UpstreamClient
from guard.testing import fake_server

REQUEST = Request(({"role": "user", "content": "x"},), None, max_tokens=9)


@contextmanager
def listening(answer: bytes) -> Iterator[str]:
    """Answer every connection with these bytes, and close it."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65_536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def refusal(status: int, words: str) -> bytes:
    body = json.dumps({"error": {"message": words}}).encode()
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def of_model(url: str) -> CallError:
    with pytest.raises(CallError) as caught:
        OpenAIModel("m", base_url=url, api_key="sk-local-0123456789", retries=0, timeout=5).generate(REQUEST)
    return caught.value


def of_upstream(url: str) -> CallError:
    async def ask() -> None:
        upstream = Upstream("openai:m", url, "sk-local-0123456789", 10_000_000)
        try:
            await upstream.post("/chat/completions", b"{}")
        finally:
            await upstream.close()

    with pytest.raises(ExchangeError) as caught:
        asyncio.run(ask())
    return caught.value.error


def over(url: str) -> tuple[OpenAIModel, Upstream]:
    """Return a model over an upstream's connections, as the sidecar asks it."""
    upstream = Upstream("openai:m", url, "sk-local-0123456789", 10_000_000)
    model = OpenAIModel("m", base_url=url, api_key="sk-local-0123456789", retries=0, timeout=5)
    return model.over(UpstreamClient(upstream, 5.0), OWN_LOOP), upstream


async def replied(url: str, request: Request = REQUEST) -> Reply:
    model, upstream = over(url)
    try:
        return await model.agenerate(request)
    finally:
        await upstream.close()


def of_model_over_upstream(url: str) -> CallError:
    with pytest.raises(CallError) as caught:
        asyncio.run(replied(url))
    return caught.value


WAYS = [of_model, of_upstream, of_model_over_upstream]


@pytest.mark.parametrize("ask", WAYS)
@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (b"", "Unavailable", "openai:m broke off: "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "Unavailable", "openai:m broke off: "),
        (b"HTTP/1.1 307 X\r\nLocation: /v2\r\nContent-Length: 0\r\n\r\n", "BadReply", "openai:m did not answer by the"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "BadReply", "openai:m sent an empty body"),
        (refusal(500, "sk-local-0 died"), "Unavailable", "openai:m failed (HTTP 500: [redacted] died"),
        (refusal(401, "no sk-local-0123456789"), "ModelError", "openai:m refused (HTTP 401: no [redacted])"),
    ],
)
def test_a_failure_has_the_same_words(ask: Callable[[str], CallError], answer: bytes, kind: str, words: str) -> None:
    with listening(answer) as url:
        error = ask(url)
    assert type(error).__name__ == kind
    assert error.message.startswith(words)
    assert "sk-local" not in error.message


@pytest.mark.parametrize("ask", WAYS)
def test_nobody_listening_has_the_same_words(ask: Callable[[str], CallError]) -> None:
    error = ask(fake_server.refused_url())
    assert type(error).__name__ == "Unavailable"
    assert error.message.startswith("openai:m can't be reached: ")


def whole(text: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    body = json.dumps({"model": "m", "choices": [choice]}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


@pytest.mark.parametrize(
    ("asked", "answer", "is_apart"),
    [(9, 9, False), (100_000, 9, True), (9, 100_000, True)],
    ids=["small", "a large request", "a large answer"],
)
def test_only_large_work_of_a_model_over_an_upstream_leaves_the_loop(asked: int, answer: int, is_apart: bool) -> None:
    async def ask(url: str) -> tuple[Reply, int]:
        before = large.done_so_far()
        reply = await replied(url, Request(({"role": "user", "content": "x" * asked},), None, max_tokens=9))
        return reply, large.done_so_far() - before

    with listening(whole("y" * answer)) as url:
        reply, apart = asyncio.run(ask(url))
    assert reply.text == "y" * answer
    assert (apart > 0) == is_apart


def test_schema_work_goes_through_the_proxy_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connections of an upstream go through none."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with listening(whole("y")) as url:
        monkeypatch.setenv("http_proxy", url.removesuffix("/v1"))
        served = Served("m", ModelSettings(model="openai:m", base_url="http://provider.invalid/v1"), 10_000_000)
        assert asyncio.run(adapters.agenerate(served.model, REQUEST)).text == "y"


def test_a_silent_server_is_given_up_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # accepts, and says nothing
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"

        async def ask() -> Reply:
            upstream = Upstream("openai:m", url, "k", 10_000_000)
            model = OpenAIModel("m", base_url=url, api_key="k", retries=0)
            try:
                return await model.over(UpstreamClient(upstream, 0.05), OWN_LOOP).agenerate(REQUEST)
            finally:
                await upstream.close()

        with pytest.raises(TimedOut, match="openai:m did not answer in time"):
            asyncio.run(ask())


def test_a_stream_of_many_small_events_lets_others_in() -> None:
    """Thousands come in one part of a body; they held the event loop for a tenth of a second."""
    piece = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
    body = piece * 3_000 + b"data: [DONE]\n\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(body)

    async def ask(url: str) -> list[int]:
        upstream, seen, others = Upstream("openai:m", url, "k", 10_000_000), [0], [0]

        async def other() -> None:
            while True:
                others.append(seen[0])
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        try:
            async for _ in upstream.events("/chat/completions", b"{}"):
                seen[0] += 1
        finally:
            task.cancel()
            await upstream.close()
        assert seen == [3_001]
        return [after - before for before, after in itertools.pairwise([*others, seen[0]])]

    with listening(head + body) as url:
        assert max(asyncio.run(ask(url))) <= 8_192 // len(piece) + 1

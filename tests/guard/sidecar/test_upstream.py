"""An upstream fails as a model behind the same address does: in the same words, whichever HTTP client is asked."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from guard.errors import CallError
from guard.models.base import Request
from guard.models.remote.errors import ExchangeError
from guard.models.remote.openai import OpenAIModel
from guard.sidecar.upstream import Upstream
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


@pytest.mark.parametrize("ask", [of_model, of_upstream])
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


@pytest.mark.parametrize("ask", [of_model, of_upstream])
def test_nobody_listening_has_the_same_words(ask: Callable[[str], CallError]) -> None:
    error = ask(fake_server.refused_url())
    assert type(error).__name__ == "Unavailable"
    assert error.message.startswith("openai:m can't be reached: ")

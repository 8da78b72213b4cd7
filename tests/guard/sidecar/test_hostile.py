"""Clients that mean harm or went wrong: each is refused with its status, and nothing is left of it."""

from __future__ import annotations

import contextlib
import gc
import json
import resource
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sidecars import Sidecar, model, received, serving

from guard.testing import fake_server

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}]}).encode()
LIMITS = """
body_bytes = 1_000_000
head_seconds = 1.0
body_seconds = 1.0
connections = 11_000
keep_alive_seconds = 3
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, providing: fake_server.Server) -> Iterator[Sidecar]:
    toml = LIMITS + model(providing.url, transport_retries=0, breaker_failures=1000)
    with serving(tmp_path_factory.mktemp("sidecar"), toml) as sidecar:
        sidecar.chat()
        yield sidecar


@pytest.fixture(autouse=True)
def _leaves_nothing(sidecar: Sidecar) -> Iterator[None]:
    """Hold every test to it that the sidecar lives, has no connection left, and serves on."""
    yield
    gc.collect()
    assert sidecar.process.poll() is None
    assert sidecar.chat().status == 200
    sidecar.wait(lambda: connections(sidecar) <= 3)  # the provider's are kept
    assert sidecar.ask("GET", "/guard/live").json["requests"] == []
    assert not any("Traceback" in line for line in sidecar.errors), sidecar.errors


def connections(sidecar: Sidecar) -> int:
    found = 0
    for descriptor in Path(f"/proc/{sidecar.process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(descriptor.readlink()).startswith("socket:")
    return found - 3  # the listener, and the event loop's own pair


def memory(sidecar: Sidecar) -> int:
    """Return the resident bytes of the process."""
    return int(Path(f"/proc/{sidecar.process.pid}/statm").read_text().split()[1]) * resource.getpagesize()


@contextlib.contextmanager
def connected(sidecar: Sidecar) -> Iterator[socket.socket]:
    with socket.create_connection((sidecar.host, sidecar.port), timeout=20) as connection:
        yield connection


def status(data: bytes) -> int:
    return int(data.split(b" ", 2)[1])


def head(length: int | str = len(BODY), extra: str = "") -> bytes:
    return f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{extra}\r\n".encode()


def test_a_body_of_100_mb_is_413_at_once_or_as_soon_as_it_is_too_long(sidecar: Sidecar) -> None:
    before = memory(sidecar)
    with connected(sidecar) as connection:
        connection.sendall(head(100_000_000))
        assert status(received(connection)) == 413
    with connected(sidecar) as connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(100):
            connection.sendall(b"100000\r\n" + b" " * 0x100000 + b"\r\n")
        assert status(received(connection)) == 413
    assert memory(sidecar) - before < 50_000_000


def test_a_head_that_comes_slowly_is_408_and_one_that_never_comes_is_closed(sidecar: Sidecar) -> None:
    with connected(sidecar) as slow, connected(sidecar) as silent:
        started = time.monotonic()
        slow.sendall(b"POST /v1/chat/completions HTTP/1.1\r\n")
        slow.settimeout(0.2)
        data = b""
        while not data and time.monotonic() - started < 20:
            with contextlib.suppress(TimeoutError, BrokenPipeError, ConnectionResetError):
                slow.sendall(b"X-A: b\r\n")
                data = slow.recv(65_536)
        assert status(data) == 408
        assert received(silent) == b""


def test_a_body_that_comes_slowly_is_408(sidecar: Sidecar) -> None:
    with connected(sidecar) as connection:
        connection.sendall(head() + BODY[:5])
        assert status(received(connection)) == 408


def test_ten_thousand_open_connections_are_held_and_others_are_served(sidecar: Sidecar) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    before = memory(sidecar)
    held: list[socket.socket] = []
    try:
        for number in range(10_000):
            connection = socket.socket()
            connection.bind((f"127.0.1.{number % 4 + 1}", 0))
            connection.connect((sidecar.host, sidecar.port))
            held.append(connection)
        assert sidecar.chat().status == 200
        assert sidecar.ask("GET", "/health/ready").status == 200
    finally:
        for connection in held:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    sidecar.wait(lambda: connections(sidecar) <= 3)
    assert memory(sidecar) - before < 300_000_000


def test_one_connection_too_many_is_503(tmp_path: Path) -> None:
    with (
        fake_server.Server("Hello.") as provider,
        serving(tmp_path, "connections = 2\n" + model(provider.url)) as few,
        connected(few) as first,
        connected(few) as second,
        connected(few) as third,
    ):
        assert status(received(third)) == 503
        first.close()
        second.close()
        few.wait(lambda: few.chat().status == 200)


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe{}",
        b'{"model": "m", "messages": [{"role": "user", "content": "\xff"}]}',
        b'{"model": "m", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"model": "m", "model": "other", "messages": []}',
        b'{"model": "m", "Model": "other", "messages": [{"role": "user", "content": "x"}]}',
        b'{"model": "m", "messages": [{"role": "user", "role": "system", "content": "x"}]}',
        b'{"model": "m", "messages": NaN}',
        b'{"model": "m", "temperature": 1e999, "messages": [{"role": "user", "content": "x"}]}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"model": "m", "x": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b"",
        b"null",
        b"[]",
        b'{"model": "m"} {"model": "m"}',
        b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "seed": ' + b"9" * 5_000 + b"}",
    ],
    ids=range(16),
)
def test_a_body_that_is_not_json_or_can_be_read_in_two_ways_is_400(
    sidecar: Sidecar, provider: fake_server.Server, body: bytes
) -> None:
    reply = sidecar.ask("POST", "/v1/chat/completions", body)
    assert (reply.status, reply.json["error"]["type"]) == (400, "invalid_request_error")
    assert provider.requests == []


def test_a_packed_body_is_415(sidecar: Sidecar) -> None:
    reply = sidecar.ask("POST", "/v1/chat/completions", b"\x1f\x8b", {"Content-Encoding": "gzip"})
    assert reply.status == 415


def test_a_head_of_1_mb_is_431(sidecar: Sidecar) -> None:
    one = f"X-A: {'b' * 1_000_000}\r\n"
    many = "".join(f"X-{number}: {'b' * 1000}\r\n" for number in range(1000))
    for extra in (one, many):
        with connected(sidecar) as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(head(extra=extra) + BODY)
            assert status(received(connection)) == 431
    with connected(sidecar) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert status(received(connection)) == 431


@pytest.mark.parametrize(
    "request_",
    [
        head(extra="Transfer-Encoding: chunked\r\n") + b"0\r\n\r\n" + BODY,
        head(extra=f"Content-Length: {len(BODY) + 1}\r\n") + BODY,
        head(extra="Host: other\r\n") + BODY,
        head(extra="Authorization: Bearer a\r\nauthorization: Bearer b\r\n") + BODY,
        head("+5") + BODY,
        head("0x5") + BODY,
        head(extra="Transfer-Encoding: chunked, identity\r\n") + BODY,
        head(extra="Transfer-Encoding : chunked\r\n") + BODY,
        head(extra="X-A: b\rX-B: c\r\n") + BODY,
        head(extra="X-A: b\x00c\r\n") + BODY,
        b"POST /v1/chat/completions HTTP/1.1\nHost: localhost\n\n",
        b"POST /v1/chat/completions HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"f" * 17
        + b"\r\n",
    ],
    ids=range(14),
)
def test_a_request_whose_end_two_servers_could_see_at_two_places_is_400(
    sidecar: Sidecar, provider: fake_server.Server, request_: bytes
) -> None:
    with connected(sidecar) as connection:
        connection.sendall(request_)
        connection.settimeout(5)
        data = connection.recv(65_536)
    assert status(data) in (400, 408), data
    assert data.count(b"HTTP/1.1 ") == 1
    assert provider.requests == []


def test_a_half_closed_connection_is_a_client_that_went_away(sidecar: Sidecar, provider: fake_server.Server) -> None:
    provider.answers = [fake_server.Answer("Hello.", change=lambda body: [5, body])]
    provider.left.clear()
    with connected(sidecar) as connection:
        connection.sendall(head() + BODY)
        sidecar.wait(lambda: provider.requests)
        connection.shutdown(socket.SHUT_WR)
        assert received(connection) == b""
    assert provider.left.wait(10)
    sidecar.wait(lambda: sidecar.log[-1]["status"] == 499)
    with connected(sidecar) as connection:  # before the body is whole
        connection.sendall(head() + BODY[:5])
        connection.shutdown(socket.SHUT_WR)
        assert received(connection) == b""
    provider.answers = ["Hello."]


def test_clients_that_vanish_or_reset_in_the_middle_of_a_stream_leave_nothing(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    provider.answers = [fake_server.Answer("x" * 500, change=lambda body: [body[:300], 0.3, body[300:]])]
    body = json.dumps({**json.loads(BODY), "stream": True}).encode()
    for number in range(20):
        with connected(sidecar) as connection:
            connection.sendall(head(len(body), f"X-Request-Id: vanished-{number}\r\n") + body)
            assert connection.recv(20).startswith(b"HTTP/1.1 200")
            if number % 2:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    names = {f"vanished-{number}" for number in range(20)}
    sidecar.wait(lambda: names == {line["id"] for line in sidecar.log if line["status"] == 499} & names)
    provider.answers = ["Hello."]


def test_a_client_that_does_not_read_is_cut_off(sidecar: Sidecar, provider: fake_server.Server) -> None:
    provider.answers = [fake_server.Answer("x" * 8_000_000, piece=100_000)]
    for stream in (False, True):
        body = json.dumps({**json.loads(BODY), "stream": stream}).encode()
        with connected(sidecar) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(head(len(body), f"X-Request-Id: deaf-{stream}\r\n") + body)
            sidecar.wait(lambda name=f"deaf-{stream}": any(line["id"] == name for line in sidecar.log))
            sidecar.wait(lambda: connections(sidecar) <= 3)
    assert next(line["status"] for line in sidecar.log if line["id"] == "deaf-True") == 499
    provider.answers = ["Hello."]


def test_memory_stays_flat_under_requests_of_all_kinds(sidecar: Sidecar, provider: fake_server.Server) -> None:
    def some(times: int) -> None:
        for number in range(times):
            provider.answers = ['{"a": 1}' if number % 3 else "nope"]
            fields: dict[str, Any] = {"response_format": {"type": "json_object"}} if number % 2 else {}
            sidecar.chat("x" * 10_000, stream=number % 4 == 0, **fields)
            provider.requests.clear()

    some(100)
    before = memory(sidecar)
    some(300)
    assert memory(sidecar) - before < 15_000_000
    provider.answers = ["Hello."]

"""HTTP at the door: what two servers could read in two ways is refused, and what comes is bounded before it is kept."""

from __future__ import annotations

import contextlib
import http.client
import json
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sidecars import Sidecar, model, received, serving

from guard.sidecar import keys
from guard.testing import fake_server
from guard.trace import TraceStore

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}]}).encode()
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"
LIMITS = "body_bytes = 1_000_000\nbody_seconds = 2.0\nhead_seconds = 5.0\n"


def sized(body: bytes = BODY, extra: bytes = b"", start: bytes = POST) -> bytes:
    return start + b"Content-Length: %d\r\n%s\r\n%s" % (len(body), extra, body)


def chunked(body: bytes = BODY, end: bytes = b"\r\n", extra: bytes = b"", last: bytes = b"0") -> bytes:
    return CHUNKED + extra + b"\r\n%x\r\n%s\r\n%s\r\n" % (len(body), body, last) + end


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, providing: fake_server.Server) -> Iterator[Sidecar]:
    with serving(tmp_path_factory.mktemp("sidecar"), LIMITS + model(providing.url)) as sidecar:
        yield sidecar


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, providing: fake_server.Server) -> Iterator[tuple[Sidecar, str]]:
    """Start a sidecar that needs a key; returns it and one."""
    folder = tmp_path_factory.mktemp("locked")
    _, key = keys.create(TraceStore(folder / "trace.db"), "shop")
    with serving(folder, LIMITS + model(providing.url)) as sidecar:
        yield sidecar, key


def sent(sidecar: Sidecar, *parts: bytes, until_closed: bool = True) -> bytes:
    """Send parts of a request one after the other; returns all that comes until the connection is closed."""
    with socket.create_connection((sidecar.host, sidecar.port), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for number, part in enumerate(parts):
                if number:
                    time.sleep(0.05)
                connection.sendall(part)
        return received(connection) if until_closed else connection.recv(65_536)


def statuses(data: bytes) -> list[int]:
    """Return the statuses of the answers in what a connection brought, and hold each to its length."""
    found = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        found.append(int(head.split(b" ", 2)[1]))
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        data = rest[length:]
    return found


def memory(sidecar: Sidecar) -> int:
    return int(Path(f"/proc/{sidecar.process.pid}/statm").read_text().split()[1]) * resource.getpagesize()


# -- Trailers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [1, 2, 3], ids=["whole", "trailer apart", "each apart"])
@pytest.mark.parametrize(
    "trailer", [b"Authorization: Bearer %s", b"X-Any: 1", b"Host: other", b"X-Guard-Stream: live", b"Origin: http://e"]
)
def test_a_trailer_is_no_header_and_its_request_is_refused(
    locked: tuple[Sidecar, str], provider: fake_server.Server, trailer: bytes, pieces: int
) -> None:
    sidecar, key = locked
    provider.requests.clear()
    trailer = trailer % key.encode() if b"%" in trailer else trailer
    for extra, expected in ((b"", [401]), (b"Authorization: Bearer %s\r\n" % key.encode(), [400])):
        data = chunked(end=trailer + b"\r\n\r\n", extra=extra)
        cut = data.index(b"\r\n0\r\n") + 5
        parts = {1: [data], 2: [data[:cut], data[cut:]], 3: [data[:cut], data[cut : cut + 4], data[cut + 4 :]]}[pieces]
        answers = statuses(sent(sidecar, *parts))
        assert answers in (expected, [400])  # where all comes at once, it is refused before anyone asks for the key
    assert provider.requests == []


def test_a_body_without_trailers_is_read_in_chunks_of_any_size(sidecar: Sidecar, provider: fake_server.Server) -> None:
    pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY)
    for data in (chunked(), CHUNKED + b"\r\n" + pieces + b"0\r\n\r\n", chunked(last=b"000")):
        assert sent(sidecar, data, until_closed=False).startswith(b"HTTP/1.1 200")
    assert [request.body["messages"][0]["content"] for request in provider.requests] == ["x"] * 3


@pytest.mark.parametrize(
    "kind", ["one trailer", "many trailers", "an extension", "many extensions", "chunks of a byte", "line ends"]
)
def test_what_comes_around_a_body_is_bounded_before_it_is_kept(sidecar: Sidecar, kind: str) -> None:
    before = memory(sidecar)
    start, more = {
        "one trailer": (chunked(end=b"X-A: ")[:-2], b"a" * 65_536),
        "many trailers": (chunked(end=b""), b"X-A: bcdefgh\r\n" * 5_000),
        "an extension": (CHUNKED + b"\r\n5;a=", b"b" * 65_536),
        "many extensions": (CHUNKED + b"\r\n", (b"1;" + b"a" * 1000 + b"\r\nx\r\n") * 65),
        "chunks of a byte": (CHUNKED + b"\r\n", b"1\r\nx\r\n" * 10_000),
        "line ends": (b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\r\n" * 32_768),
    }[kind]
    with socket.create_connection((sidecar.host, sidecar.port), timeout=20) as connection:
        connection.sendall(start)
        sent_bytes = 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while sent_bytes < 60_000_000:
                connection.sendall(more)
                sent_bytes += len(more)
        data = received(connection)
    assert sent_bytes < 20_000_000  # no more than what the two sockets hold beside
    assert memory(sidecar) - before < 10_000_000
    assert statuses(data) in ([[200]] if kind == "line ends" else [[400], []])


# -- Heads -------------------------------------------------------------------------------------------------------------

HEADLESS = sized(start=b"POST /v1/chat/completions HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "request_",
    {
        "no host": HEADLESS,
        "no host, no body": b"GET /health/live HTTP/1.1\r\n\r\n",
        "HTTP/2.0": b"GET /health/live HTTP/2.0\r\nHost: localhost\r\n\r\n",
        "HTTP/0.9": b"GET /health/live HTTP/0.9\r\nHost: localhost\r\n\r\n",
        "two lengths": sized(extra=b"Content-Length: %d\r\n" % len(BODY)),
        "two lengths in one": POST + b"Content-Length: %d, %d\r\n\r\n" % (len(BODY), len(BODY)) + BODY,
        "a signed length": POST + b"Content-Length: +%d\r\n\r\n" % len(BODY) + BODY,
        "a negative length": POST + b"Content-Length: -1\r\n\r\n" + BODY,
        "a length with an underscore": POST + b"Content-Length: 1_0\r\n\r\n" + BODY,
        "a length of 65 bits": POST + b"Content-Length: 18446744073709551617\r\n\r\n" + BODY,
        "an empty length": POST + b"Content-Length: \r\n\r\n" + BODY,
        "length and chunks": chunked(extra=b"Content-Length: 5\r\n"),
        "two codings": chunked(extra=b"Transfer-Encoding: chunked\r\n"),
        "another coding": chunked(extra=b"Transfer-Encoding: gzip\r\n"),
        "codings in one": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "identity": POST + b"Transfer-Encoding: identity\r\n\r\n" + BODY,
        "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "chunks in 1.0": chunked().replace(b"HTTP/1.1", b"HTTP/1.0"),
        "a folded header": sized(extra=b"X-A: b\r\n c\r\n"),
        "a folded coding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        "a bare CR": sized(extra=b"X-A: b\rX-B: c\r\n"),
        "a bare LF": sized(extra=b"X-A: b\nX-B: c\r\n"),
        "a NUL": sized(extra=b"X-A: b\x00\r\n"),
        "a space before the colon": sized(extra=b"X-A : b\r\n"),
        "a name with a space": sized(extra=b"X A: b\r\n"),
        "no name": sized(extra=b": b\r\n"),
        "a space before the first header": POST.replace(b"\r\nHost", b"\r\n Host") + b"\r\n",
        "a chunk of 65 bits": CHUNKED + b"\r\n10000000000000000\r\n" + BODY,
        "a signed chunk": CHUNKED + b"\r\n+5\r\nhello\r\n0\r\n\r\n",
        "a negative chunk": CHUNKED + b"\r\n-5\r\nhello\r\n0\r\n\r\n",
        "a chunk by its prefix": CHUNKED + b"\r\n0x5\r\nhello\r\n0\r\n\r\n",
        "a chunk that is too long": CHUNKED + b"\r\n5\r\nhello!\r\n0\r\n\r\n",
        "a chunk ended by LF": CHUNKED + b"\r\n5\nhello\r\n0\r\n\r\n",
        "a chunk of nothing": CHUNKED + b"\r\n\r\n\r\n",
        "an upgrade with a body": sized(extra=b"Connection: Upgrade\r\nUpgrade: h2c\r\n"),
        "an upgrade with chunks": chunked(extra=b"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
        "a tunnel": b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: elsewhere:443\r\n\r\n",
        "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    }.items(),
    ids=lambda item: item[0],
)
@pytest.mark.parametrize("is_split", [False, True], ids=["whole", "byte by byte"])
def test_what_two_servers_could_read_in_two_ways_is_400_and_closed(
    sidecar: Sidecar, provider: fake_server.Server, request_: tuple[str, bytes], is_split: bool
) -> None:
    data = request_[1]
    with socket.create_connection((sidecar.host, sidecar.port), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for part in [data[at : at + 1] for at in range(len(data))] if is_split else [data]:
                connection.sendall(part)
            connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")  # is not answered any more
        answers = statuses(received(connection))
    assert answers in ([400], [])  # nothing: what came after it reset the connection
    assert provider.requests == []


def test_a_request_of_http_1_0_needs_no_host(sidecar: Sidecar) -> None:
    assert statuses(sent(sidecar, b"GET /health/live HTTP/1.0\r\n\r\n")) == [200]
    assert statuses(sent(sidecar, HEADLESS)) == [400]
    assert b"must name its Host" in sent(sidecar, HEADLESS)


def test_a_head_has_at_most_so_many_headers(sidecar: Sidecar) -> None:
    assert statuses(sent(sidecar, sized(extra=b"A: \r\n" * 10_000))) == [431]
    assert sent(sidecar, sized(extra=b"A: \r\n" * 200), until_closed=False).startswith(b"HTTP/1.1 200")


def test_an_upgrade_that_is_not_made_ends_the_connection_after_the_answer(sidecar: Sidecar) -> None:
    asks = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    assert statuses(sent(sidecar, asks, asks)) == [200]


def test_the_body_is_asked_for_where_the_client_waits_for_that(sidecar: Sidecar) -> None:
    head, _, body = sized(extra=b"Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    with socket.create_connection((sidecar.host, sidecar.port), timeout=20) as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")


# -- Several requests over one connection ------------------------------------------------------------------------------


def test_requests_that_come_together_are_answered_in_order(sidecar: Sidecar, provider: fake_server.Server) -> None:
    provider.answers = [lambda request: str(request.body["messages"][0]["content"])]
    bodies = [BODY.replace(b'"x"', b'"%d"' % number) for number in range(3)]
    last = sized(bodies[2], b"Connection: close\r\n")
    data = sent(sidecar, sized(bodies[0]) + sized(bodies[1]) + last)
    assert statuses(data) == [200] * 3
    assert [data.index(b'"content": "%d"' % number) for number in range(3)] == sorted(
        data.index(b'"content": "%d"' % number) for number in range(3)
    )


@pytest.mark.parametrize("bad", [b"GARBAGE\r\n\r\n", HEADLESS, sized(extra=b"X-A: b\x00\r\n"), b"\x16\x03\x01"])
@pytest.mark.parametrize("is_together", [False, True])
def test_a_bad_request_behind_one_under_way_is_not_answered_in_its_place(
    sidecar: Sidecar, provider: fake_server.Server, bad: bytes, is_together: bool
) -> None:
    provider.answers = [fake_server.Answer("Hello.", change=lambda body: [body[:5], 0.3, body[5:]])]
    good = sized()
    data = sent(sidecar, good + bad) if is_together else sent(sidecar, good, bad)
    assert statuses(data) == [200]
    assert b"Hello." in data


def test_a_client_that_leaves_with_requests_in_line_ends_the_one_under_way(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    provider.answers = [fake_server.Answer("x" * 300, change=lambda body: [body[:-300], 30, body[-300:]])]
    provider.left.clear()
    body = json.dumps({**json.loads(BODY), "stream": True}).encode()
    with socket.create_connection((sidecar.host, sidecar.port), timeout=20) as connection:
        connection.sendall(sized(body) + sized(body))
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    assert provider.left.wait(10)
    assert len(provider.requests) == 1


def test_what_is_left_of_a_body_that_was_answered_is_not_taken_for_a_request(locked: tuple[Sidecar, str]) -> None:
    sidecar, _ = locked
    hidden = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    data = sent(sidecar, POST + b"Content-Length: %d\r\n\r\n" % len(hidden), hidden, last)
    assert statuses(data) == [
        401,
        200,
    ]  # what is hidden in the body is dropped, and what comes behind the body is a request


def test_the_rest_of_a_body_that_was_answered_is_bounded_in_bytes_and_time(locked: tuple[Sidecar, str]) -> None:
    sidecar, _ = locked
    before = memory(sidecar)
    with socket.create_connection((sidecar.host, sidecar.port), timeout=20) as connection:
        connection.sendall(POST + b"Content-Length: 1000000\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 401")
        started = time.monotonic()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() - started < 20:
                connection.sendall(b"x")
                time.sleep(0.05)
        assert time.monotonic() - started < 15
    with socket.create_connection((sidecar.host, sidecar.port), timeout=20) as connection:
        connection.sendall(CHUNKED + b"\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 401")
        count = 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for count in range(100):  # noqa: B007 (how far it came)
                connection.sendall(b"100000\r\n" + b" " * 0x100000 + b"\r\n")
        assert count < 30
    assert memory(sidecar) - before < 10_000_000


# -- Bodies that come slowly -------------------------------------------------------------------------------------------


def test_slow_bodies_take_no_place_of_requests_under_way_and_each_client_has_few(
    tmp_path: Path, provider: fake_server.Server
) -> None:
    store = TraceStore(tmp_path / "trace.db")
    keys_ = [keys.create(store, name)[1] for name in ("slow", "other")]
    toml = "in_flight = 4\nslow_bodies = 3\nbody_seconds = 200.0\n" + model(provider.url)
    with serving(tmp_path, toml) as sidecar, contextlib.ExitStack() as stack:
        slow, other = ({"Authorization": f"Bearer {key}"} for key in keys_)

        def begun(headers: dict[str, str]) -> socket.socket:
            connection = stack.enter_context(socket.create_connection((sidecar.host, sidecar.port), timeout=100))
            extra = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
            connection.sendall(sized(extra=extra)[:-5])
            return connection

        held = [begun(slow) for _ in range(12)]
        answered = [connection for connection in held if is_answered(connection, 3.0)]
        assert len(answered) == 9  # three are waited for
        for connection in answered:
            data = received(connection)
            assert (statuses(data), b"connection: close" in data) == ([503], True)
        for headers in (slow, other):  # whose body is there at once waits for no place
            assert sidecar.chat(headers=headers).status == 200
        late = begun(other)
        time.sleep(1.0)
        late.sendall(BODY[-5:])
        assert late.recv(65_536).startswith(b"HTTP/1.1 200")
        for connection in held:
            if connection not in answered:
                connection.sendall(BODY[-5:])
                assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        assert sidecar.ask("GET", "/health/live").status == 200


def is_answered(connection: socket.socket, seconds: float) -> bool:
    connection.settimeout(seconds)
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except TimeoutError:
        return False
    finally:
        connection.settimeout(20)


def test_bodies_hold_so_many_bytes_and_one_client_a_quarter_of_them(
    tmp_path: Path, provider: fake_server.Server
) -> None:
    store = TraceStore(tmp_path / "trace.db")
    first, second = ({"Authorization": f"Bearer {keys.create(store, name)[1]}"} for name in ("one", "two"))
    provider.answers = [fake_server.Answer("Hello.", change=lambda body: [body[:5], 3, body[5:]]), "Hello."]
    toml = "body_bytes = 400_000\nheld_bytes = 1_600_000\n" + model(provider.url)
    body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "x" * 300_000}]}
    with serving(tmp_path, toml) as sidecar:
        connection = http.client.HTTPConnection(sidecar.host, sidecar.port, timeout=20)
        provider.requests.clear()
        connection.request("POST", "/v1/chat/completions", json.dumps(body), first)
        sidecar.wait(lambda: provider.requests)
        reply = sidecar.ask("POST", "/v1/chat/completions", body, first)
        assert (reply.status, reply.json["error"]["code"], reply.headers["retry-after"]) == (503, "busy", "1")
        assert sidecar.chat(headers=first).status == 200
        assert sidecar.ask("POST", "/v1/chat/completions", body, second).status == 200
        assert connection.getresponse().status == 200
        connection.close()
        assert sidecar.ask("POST", "/v1/chat/completions", body, first).status == 200

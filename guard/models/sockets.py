"""HTTP in the thread that asks: a transport for httpx2's blocking client whose every wait ends at one deadline.

An HTTP client's time-outs are for each read by itself, and a server that drips its answer outlasts them all. Here the
deadline stands in a context variable, and whatever waits for the network waits no longer than that; where it has
passed, `Late` goes through all callers like a cancellation, and connections are closed on its way.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import selectors
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import httpcore2
import httpx2

from guard.models.portal import PORTAL

#: When what runs in this context must have ended, by `time.monotonic`.
DEADLINE: ContextVar[float] = ContextVar("DEADLINE", default=math.inf)

#: As many connections as OpenAI's SDK lets its own clients have.
MOST_CONNECTIONS, MOST_IDLE, IDLE_S = 1000, 100, 5.0
NEXT_ADDRESS_S = 0.25  #: After which the next address of a name is tried beside; RFC 8305 says so.

_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)  # one system call, and for any file if it can


class Late(BaseException):
    """The deadline has passed: no Exception, for none but the scope that set the deadline may catch it."""


def is_proxied() -> bool:
    """Whether the environment sends requests through a proxy, which this transport knows nothing of."""
    proxies = urllib.request.getproxies()
    return any(proxies.get(scheme) for scheme in ("http", "https", "all"))


class Transport(httpx2.BaseTransport):
    """Sends requests over a pool of connections; safe from any thread of one process."""

    def __init__(self, bounded: Callable[[Iterable[bytes]], Iterator[bytes]]) -> None:
        self._bounded = bounded
        self._pool = httpcore2.ConnectionPool(
            ssl_context=httpx2.create_ssl_context(),
            max_connections=MOST_CONNECTIONS,
            max_keepalive_connections=MOST_IDLE,
            keepalive_expiry=IDLE_S,
            network_backend=_Backend(),
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; the response's body is still to be read."""
        url = request.url
        sent = httpcore2.Request(
            method=request.method,
            url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _Mapped():
            response = self._pool.handle_request(sent)
        headers = response.headers
        if response.status >= 400:
            # Read whole by SDKs: not unpacked, for what is packed was not asked for and may be huge.
            headers = [(key, value) for key, value in headers if key.lower() != b"content-encoding"]
        stream = _Body(response, self._bounded)
        return httpx2.Response(response.status, headers=headers, stream=stream, extensions=response.extensions)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()


class _Body(httpx2.SyncByteStream):
    def __init__(self, response: httpcore2.Response, bounded: Callable[[Iterable[bytes]], Iterator[bytes]]) -> None:
        self._response, self._bounded = response, bounded

    def __iter__(self) -> Iterator[bytes]:
        with _Mapped():
            yield from self._bounded(self._response.iter_stream())

    def close(self) -> None:
        self._response.close()


class _Mapped:
    """Turns httpcore2's errors into httpx2's, which have the same names."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if type(error).__module__.partition(".")[0] == "httpcore2":
            kind = getattr(httpx2, type(error).__name__, httpx2.TransportError)
            raise kind(str(error)) from error


def _left(timeout: float | None = None) -> float | None:
    """Return the seconds that may be waited; raises Late where there are none."""
    deadline = DEADLINE.get()
    if deadline == math.inf:
        return timeout
    left = deadline - time.monotonic()
    if left <= 0:
        raise Late
    return left if timeout is None else min(left, timeout)


class _Stream(httpcore2.NetworkStream):
    """A connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _failing(httpcore2.ReadTimeout, httpcore2.ReadError):
            self._socket.settimeout(_left(timeout))
            return self._socket.recv(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        rest = memoryview(buffer)
        with _failing(httpcore2.WriteTimeout, httpcore2.WriteError):
            while rest:  # not sendall: over TLS its time-out is for each part by itself
                self._socket.settimeout(_left(timeout))
                rest = rest[self._socket.send(rest) :]

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> _Stream:
        try:
            with _failing(httpcore2.ConnectTimeout, httpcore2.ConnectError):
                self._socket.settimeout(_left(timeout))
                return _Stream(ssl_context.wrap_socket(self._socket, server_hostname=server_hostname))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":  # asked before a connection is used again: what is there is its end
            with _Selector() as selector:
                selector.register(self._socket, selectors.EVENT_READ)
                return bool(selector.select(0))
        return self._socket if info == "ssl_object" and isinstance(self._socket, ssl.SSLSocket) else None


class _Backend(httpcore2.NetworkBackend):
    """Opens connections."""

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, *_: Any, **__: Any) -> _Stream:
        """Connect, on the portal's loop: looking a name up knows no time-out, and of its addresses one may be dead."""
        with _failing(httpcore2.ConnectTimeout, httpcore2.ConnectError):
            return _Stream(PORTAL.run(_connected(host, port, _left(timeout))))


async def _connected(host: str, port: int, seconds: float | None) -> socket.socket:
    async with asyncio.timeout(seconds):
        transport, _ = await asyncio.get_running_loop().create_connection(
            asyncio.Protocol, host, port, happy_eyeballs_delay=NEXT_ADDRESS_S
        )
    try:
        sock: socket.socket = transport.get_extra_info("socket").dup()
    finally:
        transport.abort()  # the loop's own end; the connection is the copy's from now on
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


@contextlib.contextmanager
def _failing(late: type[Exception], broken: type[Exception]) -> Iterator[None]:
    """Turn what a socket raises into httpcore2's errors, or Late."""
    try:
        yield
    except TimeoutError as error:
        _left()
        raise late(str(error)) from error
    except OSError as error:
        raise broken(str(error)) from error

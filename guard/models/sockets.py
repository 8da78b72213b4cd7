"""HTTP in the thread that asks: a transport for httpx2's blocking client whose every wait ends at one deadline.

An HTTP client's time-outs are for each read by itself, and a server that drips its answer outlasts them all. Here the
deadline stands in a context variable, and whatever waits for the network waits no longer than that; where it has
passed, `Late` goes through all callers like a cancellation, and connections are closed on its way.
"""

from __future__ import annotations

import concurrent.futures
import math
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import httpcore2
import httpx2

#: When what runs in this context must have ended, by `time.monotonic`.
DEADLINE: ContextVar[float] = ContextVar("DEADLINE", default=math.inf)

#: As many connections as OpenAI's SDK lets its own clients have.
MOST_CONNECTIONS, MOST_IDLE, IDLE_S = 1000, 100, 5.0
PIECE = 4096  #: Bytes sent at once: few enough to fit whole where a socket takes any, so that each waits once.


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

    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            return self._stream.read(max_bytes, _left(timeout))
        except httpcore2.ReadTimeout:
            _left()
            raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        rest = memoryview(buffer)
        try:
            while rest:
                self._stream.write(rest[:PIECE], _left(timeout))  # type: ignore[arg-type] # any buffer will do
                rest = rest[PIECE:]
        except httpcore2.WriteTimeout:
            _left()
            raise

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> _Stream:
        try:
            return _Stream(self._stream.start_tls(ssl_context, server_hostname, _left(timeout)))
        except httpcore2.ConnectTimeout:
            _left()
            raise

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore2.SyncBackend):
    """Opens connections."""

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, *args: Any, **options: Any) -> _Stream:
        """Connect, in a thread beside: looking a name up knows no time-out, and each of its addresses takes one."""
        seconds = _left(timeout)
        opened: concurrent.futures.Future[httpcore2.NetworkStream] = concurrent.futures.Future()
        connect = super().connect_tcp

        def work() -> None:
            try:
                opened.set_result(connect(host, port, seconds, *args, **options))
            except BaseException as error:
                opened.set_exception(error)

        threading.Thread(target=work, name="guard-connect", daemon=True).start()
        try:
            return _Stream(opened.result(seconds))
        except BaseException as error:
            opened.add_done_callback(lambda late: None if late.exception() else late.result().close())
            if isinstance(error, TimeoutError | httpcore2.ConnectTimeout):
                _left()
                raise httpcore2.ConnectTimeout(str(error)) from error
            raise

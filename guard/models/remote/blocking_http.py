"""HTTP/1.1 transports for httpx2, which reuse a connection only if it brought one answer and nothing more.

Surplus bytes would be taken for the answer to the next request, which may be another user's. The HTTP client looks for
them neither in its own buffer nor in the socket's. The transports here check both before they reuse a connection, and
close it where there are any. `Transport` is for blocking clients, `AsyncTransport` for the event loop.

`Transport` works in the caller's thread, and all its waits end at one deadline. An HTTP client's own time-outs hold for
each read, so a server that drips its answer outlasts them. Here a context variable has the deadline, and every wait for
the network respects it. Once it has passed, `DeadlinePassed` propagates through all callers like a cancellation, and
they close connections on the way.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import math
import selectors
import socket
import ssl
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

import httpcore2
import httpx2

from guard.models.event_loop import EVENT_LOOP
from guard.support.frames import let_go

T = TypeVar("T")

#: The deadline of this context, by `time.monotonic`.
DEADLINE: ContextVar[float] = ContextVar("DEADLINE", default=math.inf)

#: The limits of connections in OpenAI's SDK.
MOST_CONNECTIONS, MOST_IDLE, IDLE_S = 1000, 100, 5.0
MOST_HELD = 65_536  #: Bytes of a request that are held until all of it is there.
_UNSENT = "guard_unsent"  # an attribute of errors
NEXT_ADDRESS_S = 0.25  #: Seconds until the next address of a name is tried in parallel (RFC 8305).

_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)  # one system call, any descriptor


def was_sent(error: BaseException) -> bool:
    """Whether a request may have been sent before this error: False where it ended the making of its connection."""
    return not getattr(error, _UNSENT, False)


class DeadlinePassed(BaseException):
    """The deadline has passed. A BaseException, since only the scope that set the deadline may catch it."""


def is_proxied() -> bool:
    """Whether the environment names a proxy, which this transport does not support."""
    proxies = urllib.request.getproxies()
    return any(proxies.get(scheme) for scheme in ("http", "https", "all"))


class Transport(httpx2.BaseTransport):
    """Sends requests over a pool of connections, blocking. Thread-safe within one process."""

    def __init__(self, bounded: Callable[[Iterable[bytes]], Iterator[bytes]]) -> None:
        self._bounded = bounded
        self._pool = _Pool()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; the response's body is still to be read."""
        with _Mapped():
            response = self._pool.handle_request(_sent(request))
        headers = response.headers
        if not 200 <= response.status < 300:
            # SDKs read errors whole; they are not decompressed, since compression was not asked for, and may hide a
            # huge body.
            headers = [(key, value) for key, value in headers if key.lower() != b"content-encoding"]
        stream = _Body(response, self._bounded)
        return httpx2.Response(response.status, headers=headers, stream=stream, extensions=response.extensions)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()


class AsyncTransport(httpx2.AsyncBaseTransport):
    """Sends requests over a pool of connections, on one event loop."""

    def __init__(self) -> None:
        self._pool = _AsyncPool()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; the response's body is still to be read."""
        with _Mapped():
            response = await self._pool.handle_async_request(_sent(request))
        stream = _AsyncBody(response)
        return httpx2.Response(response.status, headers=response.headers, stream=stream, extensions=response.extensions)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.aclose()


def _sent(request: httpx2.Request) -> httpcore2.Request:
    url = request.url
    return httpcore2.Request(
        method=request.method,
        url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=request.headers.raw,
        content=request.stream,
        extensions=request.extensions,
    )


class _Body(httpx2.SyncByteStream):
    def __init__(self, response: httpcore2.Response, bounded: Callable[[Iterable[bytes]], Iterator[bytes]]) -> None:
        self._response, self._bounded = response, bounded

    def __iter__(self) -> Iterator[bytes]:
        with _Mapped():
            yield from self._bounded(self._response.iter_stream())

    def close(self) -> None:
        self._response.close()


class _AsyncBody(httpx2.AsyncByteStream):
    def __init__(self, response: httpcore2.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _Mapped():
            async with contextlib.aclosing(self._response.aiter_stream()) as parts:
                async for part in parts:
                    yield part

    async def aclose(self) -> None:
        await self._response.aclose()


def tls() -> ssl.SSLContext:
    """Return how servers are told by their certificates; ValueError where the trusted ones can't be read."""
    try:
        return httpx2.create_ssl_context()
    except OSError as error:
        words = f"the certificates to trust can't be read: {error.strerror}; correct SSL_CERT_FILE and SSL_CERT_DIR"
        raise ValueError(words) from None


def _pooled() -> dict[str, Any]:
    return {
        "max_connections": MOST_CONNECTIONS,
        "max_keepalive_connections": MOST_IDLE,
        "keepalive_expiry": IDLE_S,
    }


class _Pool(httpcore2.ConnectionPool):
    """A pool of blocking connections without surplus bytes."""

    def __init__(self) -> None:
        super().__init__(**_pooled())
        self._tls = tls()

    def create_connection(self, origin: httpcore2.Origin) -> _Connection:
        return _Connection(origin, self._tls, keepalive_expiry=IDLE_S, network_backend=_Backend())


class _Connection(httpcore2.HTTPConnection):
    def handle_request(self, request: httpcore2.Request) -> httpcore2.Response:
        if self.is_idle() and _is_spent(self):
            self.close()
            raise httpcore2.ConnectionNotAvailable  # the pool takes another one
        return super().handle_request(request)


class _AsyncPool(httpcore2.AsyncConnectionPool):
    """The same for an event loop."""

    def __init__(self) -> None:
        super().__init__(**_pooled())
        self._tls = tls()

    def create_connection(self, origin: httpcore2.Origin) -> _AsyncConnection:
        return _AsyncConnection(origin, self._tls, keepalive_expiry=IDLE_S, network_backend=_AsyncBackend())


class _AsyncConnection(httpcore2.AsyncHTTPConnection):
    async def handle_async_request(self, request: httpcore2.Request) -> httpcore2.Response:
        if self.is_idle() and _is_spent(self):
            await self.aclose()
            raise httpcore2.ConnectionNotAvailable
        return await super().handle_async_request(request)


def _is_spent(connection: httpcore2.HTTPConnection | httpcore2.AsyncHTTPConnection) -> bool:
    """Whether an idle connection has bytes beyond its last answer, or has ended; True where that can't be known."""
    inner = getattr(connection, "_connection", None)
    state, stream = getattr(inner, "_h11_state", None), getattr(inner, "_network_stream", None)
    if state is None or not isinstance(stream, _Stream | _AsyncStream):
        return True
    return state.trailing_data != (b"", False) or stream.is_readable


class _Mapped:
    """Translates httpcore2's errors into httpx2's, which have the same names."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if type(error).__module__.partition(".")[0] == "httpcore2":
            kind = getattr(httpx2, type(error).__name__, httpx2.TransportError)
            raise kind(str(error)) from error


def _left(timeout: float | None = None) -> float | None:
    """Return the seconds until the deadline. Raises DeadlinePassed where there are none."""
    deadline = DEADLINE.get()
    if deadline == math.inf:
        return timeout
    left = deadline - time.monotonic()
    if left <= 0:
        raise DeadlinePassed
    return left if timeout is None else min(left, timeout)


class _Stream(httpcore2.NetworkStream):
    """A connection. What is written is held until an answer is read, so that a request's head and body go as one."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)  # a socket's own time-outs take twice as many system calls
        self._socket = sock
        self._has_tls = isinstance(sock, ssl.SSLSocket)
        self._selector = _Selector()
        self._selector.register(sock, selectors.EVENT_READ)
        self._held = b""  # what is to be sent
        self._patience: float | None = None  # for that

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with contextlib.suppress(httpcore2.WriteError):  # as httpcore2 does: an answer may have come before
            self._send()
        with _failing(httpcore2.ReadTimeout, httpcore2.ReadError):
            left = _left(timeout)
            if not self._has_tls:  # else it may have been received already
                self._wait(selectors.EVENT_READ, left)
            return self._done(functools.partial(self._socket.recv, max_bytes), selectors.EVENT_READ, left)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._held, self._patience = self._held + buffer, timeout
        if len(self._held) > MOST_HELD:
            self._send()

    def _send(self) -> None:
        rest, self._held = memoryview(self._held), b""
        with _failing(httpcore2.WriteTimeout, httpcore2.WriteError):
            while rest:
                send = functools.partial(self._socket.send, rest)
                rest = rest[self._done(send, selectors.EVENT_WRITE, _left(self._patience)) :]

    def _done(self, act: Callable[[], T], event: int, seconds: float | None) -> T:
        """Do what may have to wait for the network. Raises TimeoutError after so many seconds."""
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            try:
                return act()
            except ssl.SSLWantReadError:
                event = selectors.EVENT_READ
            except ssl.SSLWantWriteError:
                event = selectors.EVENT_WRITE
            except BlockingIOError:
                pass
            self._wait(event, None if until is None else until - time.monotonic())

    def _wait(self, event: int, seconds: float | None) -> None:
        if event != selectors.EVENT_READ:
            self._selector.modify(self._socket, event)
        try:
            if not self._selector.select(seconds):
                raise TimeoutError("timed out")
        finally:
            if event != selectors.EVENT_READ:
                self._selector.modify(self._socket, selectors.EVENT_READ)

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> _Stream:
        try:
            with _connecting():
                self._socket.settimeout(_left(timeout))
                return _Stream(ssl_context.wrap_socket(self._socket, server_hostname=server_hostname))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._socket.close()

    @property
    def is_readable(self) -> bool:
        """Whether there is anything to read, the end of the stream included."""
        is_pending = isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0
        return is_pending or bool(self._selector.select(0))

    def get_extra_info(self, info: str) -> Any:
        # "is_readable" is not told: the pool asks it of all idle connections at each request, and holds its lock
        # meanwhile. The one that is used again is looked at then (`_is_spent`).
        return self._socket if info == "ssl_object" and isinstance(self._socket, ssl.SSLSocket) else None


class _Backend(httpcore2.NetworkBackend):
    """Opens connections."""

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, *_: Any, **__: Any) -> _Stream:
        """Connect, on Guard's event loop: a look-up of a name has no time-out, and one of its addresses may be dead."""
        with _connecting():
            return _Stream(EVENT_LOOP.run(_connected(host, port, _left(timeout)), socket.socket.close))


class _AsyncStream(httpcore2.AsyncNetworkStream):
    """The same on an event loop."""

    def __init__(self, reader: _BodyReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._held = b""
        self._patience: float | None = None

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 (httpcore2's)
        with contextlib.suppress(httpcore2.WriteError):
            await self._send()
        with _failing(httpcore2.ReadTimeout, httpcore2.ReadError):
            async with asyncio.timeout(timeout):
                return await self._reader.read(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 (the same)
        self._held, self._patience = self._held + buffer, timeout
        if len(self._held) > MOST_HELD:
            await self._send()

    async def _send(self) -> None:
        held, self._held = self._held, b""
        if not held:
            return
        with _failing(httpcore2.WriteTimeout, httpcore2.WriteError):
            async with asyncio.timeout(self._patience):
                self._writer.write(held)
                await self._writer.drain()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 (the same)
    ) -> _AsyncStream:
        try:
            with _connecting():
                async with asyncio.timeout(timeout):
                    await self._writer.start_tls(ssl_context, server_hostname=server_hostname)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def aclose(self) -> None:
        self._writer.transport.abort()
        if (broken := self._reader.exception()) is not None:
            let_go(broken)  # the reader keeps it, and its frames know the reader

    @property
    def is_readable(self) -> bool:
        """Whether there is anything to read, the end of the stream included."""
        sock = self._writer.get_extra_info("socket")
        return self._reader.has_more or self._writer.is_closing() or sock.fileno() < 0 or _is_readable(sock)

    def get_extra_info(self, info: str) -> Any:
        return self._writer.get_extra_info("ssl_object") if info == "ssl_object" else None


class _BodyReader(asyncio.StreamReader):
    """A parser that tells whether it has unread bytes."""

    _held = 0

    @property
    def has_more(self) -> bool:
        """Whether there is anything to read, the end of the stream included."""
        return self._held > 0 or self.at_eof() or self.exception() is not None

    def feed_data(self, data: Any) -> None:
        self._held += len(data)
        super().feed_data(data)

    async def read(self, n: int = -1) -> bytes:
        data = await super().read(n)
        self._held -= len(data)
        return data


class _AsyncBackend(httpcore2.AsyncNetworkBackend):
    """Opens connections on the running event loop."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (the same)
        *_: Any,
        **__: Any,
    ) -> _AsyncStream:
        """Connect, to whichever of a name's addresses answers first."""
        loop = asyncio.get_running_loop()
        reader = _BodyReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        with _connecting():
            async with asyncio.timeout(timeout):
                transport, _protocol = await loop.create_connection(
                    lambda: protocol, host, port, happy_eyeballs_delay=_head_start(host)
                )
        return _AsyncStream(reader, asyncio.StreamWriter(transport, protocol, reader, loop))


def _is_readable(sock: Any) -> bool:
    with _Selector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(0))


def _head_start(host: str) -> float | None:
    """Return the head start of a name's first address, in seconds; None for a host that is an address itself."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return NEXT_ADDRESS_S
    return None


async def _connected(host: str, port: int, seconds: float | None) -> socket.socket:
    async with asyncio.timeout(seconds):
        transport, _ = await asyncio.get_running_loop().create_connection(
            asyncio.Protocol, host, port, happy_eyeballs_delay=_head_start(host)
        )
    try:
        sock: socket.socket = transport.get_extra_info("socket").dup()
    finally:
        transport.abort()  # closes the loop's socket; the copy owns the connection now
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


@contextlib.contextmanager
def _connecting() -> Iterator[None]:
    """Translate a socket's errors while a connection is made, and mark every error, a cancellation too, as unsent."""
    try:
        with _failing(httpcore2.ConnectTimeout, httpcore2.ConnectError):
            yield
    except BaseException as error:
        setattr(error, _UNSENT, True)
        raise


@contextlib.contextmanager
def _failing(late: type[Exception], broken: type[Exception]) -> Iterator[None]:
    """Translate a socket's errors into httpcore2's, or DeadlinePassed."""
    try:
        yield
    except TimeoutError as error:
        _left()
        raise late(str(error)) from error
    except OSError as error:
        raise broken(str(error)) from error

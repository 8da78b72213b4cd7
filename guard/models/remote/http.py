"""HTTP to providers: bounded bodies, strict JSON, and options of clients that bound every body.

Retries are in exchange.py, the words of failures in errors.py.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import sys
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any, TypeVar

import httpx2

from guard.errors import BadReply
from guard.kernels.unicode_text import is_unicode
from guard.models.remote import sse
from guard.models.remote.address import Address
from guard.models.remote.blocking_http import AsyncTransport, Transport, is_proxied, tls
from guard.models.remote.errors import SHOWN, of_event, of_status
from guard.models.remote.runners import LOOP, THREAD, Runner, Waiter
from guard.support import strict_json
from guard.support.interrupts import injected

T = TypeVar("T")

_log = logging.getLogger("guard.models")

MOST_BYTES = 10_000_000  #: Most bytes of an answer's body; no model sends more.
MOST_TOKENS = 10**8  #: Most tokens of an answer: ten times those in MOST_BYTES, and within any database's integers.
REST_S = 0.05  #: Seconds that the rest of a body may take once its reader has stopped.

#: No compression: an uncompressed body can't grow.
HEADERS = {"Accept-Encoding": "identity"}


class Body:
    """The body of an answer, while it is received."""

    def __init__(self, response: Any, name: str, runner: Waiter, secrets: tuple[str, ...]) -> None:
        self._response, self._name, self._runner, self._secrets = response, name, runner, secrets

    @classmethod
    def of(cls, response: Any, name: str, runner: Waiter, secrets: tuple[str, ...]) -> Body:
        """Return the body of a response; one that a client returns is it itself."""
        return response if isinstance(response, Body) else cls(response, name, runner, secrets)

    @property
    def has_events(self) -> bool:
        """Whether its content type is server-sent events."""
        return "text/event-stream" in self._response.headers.get("content-type", "").lower()

    async def events(self) -> AsyncGenerator[str, None]:
        """Yield the data of each server-sent event as it comes. Raises ExchangeError for an event that is an error."""
        reader = sse.Reader()
        async with contextlib.aclosing(self._chunks()) as chunks:
            async for chunk in chunks:
                for event in reader.feed(chunk):
                    if event.name == b"error":
                        raise of_event(event.data, self._name, self._secrets)
                    yield decoded(event.data, self._name)

    async def check_status(self) -> None:
        """Raise ExchangeError for a status of failure. SDKs have raised before."""
        if self._response.is_success:
            return
        async with contextlib.aclosing(
            bounded(self._runner.chunks(self._response), self._name, self._runner)
        ) as chunks:
            said: Any = b"".join([chunk async for chunk in chunks]).decode(errors="replace")
        with contextlib.suppress(ValueError, RecursionError):
            said = json.loads(said)
        raise of_status(self._response.status_code, said, self._response.headers, self._name, self._secrets)

    async def text(self) -> str:
        """Return the whole body as text."""
        async with contextlib.aclosing(self._chunks()) as chunks:
            return decoded(b"".join([chunk async for chunk in chunks]), self._name)

    def _check_coding(self) -> None:
        coding = self._response.headers.get("content-encoding", "identity").strip().lower()
        if coding != "identity":  # a few compressed bytes may become very many
            raise BadReply(f"{self._name} packed its answer as {coding[:20]!r}, which it was not asked to")

    def _chunks(self) -> AsyncGenerator[bytes, None]:
        self._check_coding()
        return bounded(self._runner.chunks(self._response), self._name, self._runner)


async def bounded(chunks: AsyncIterable[bytes], name: str, runner: Waiter = LOOP) -> AsyncGenerator[bytes, None]:
    """Yield a body's bytes. Raises BadReply where they are too many. At the end, the body is closed."""
    size = 0
    pieces = aiter(chunks)
    try:
        async for chunk in pieces:
            size += len(chunk)
            check_size(size, name)
            yield chunk
    finally:
        await _end(pieces, runner)


def bounded_blocking(chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Yield a body's bytes, blocking. Raises BadReply where they are too many."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        check_size(size, name)
        yield chunk


def check_size(size: int, name: str) -> None:
    """Raise BadReply where a body is too long."""
    if size > MOST_BYTES:
        raise BadReply(f"{name} sent more than {MOST_BYTES:,} bytes; what answers there is no model")


async def _end(chunks: AsyncIterator[bytes], runner: Waiter) -> None:
    """End a body: read the rest if it comes soon, else break it off.

    After a complete read the connection can be reused. An incomplete one is broken off from inside, by a time-out. Some
    generators of the HTTP client do not close their sources, which would be left to the garbage collector: it closes
    them in any order, from any thread.
    """
    known = sys.exception()
    try:
        async with runner.timeout(REST_S):
            size = 0
            async for chunk in chunks:
                size += len(chunk)
                if size > MOST_BYTES:
                    break
    except Exception as error:  # errors in the rest don't matter
        if injected(error, known) is not None:
            raise
    if isinstance(chunks, AsyncGenerator):
        await chunks.aclose()


def decoded(data: bytes, name: str) -> str:
    """Return bytes of UTF-8 as text. Raises BadReply for other bytes."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadReply(f"{name} sent bytes that are not UTF-8, at {error.start:,}") from None


def parsed(text: str, name: str) -> dict[str, Any]:
    """Return a message of the protocol: one JSON object without duplicate keys. Raises BadReply for anything else."""
    if not text.strip():
        raise BadReply(f"{name} sent an empty body")
    try:
        value = strict_json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadReply(f"{name} sent what is not JSON: {str(error)[:SHOWN]}") from None
    if not isinstance(value, dict):
        raise BadReply(f"{name} sent a JSON {type(value).__name__} where its protocol has an object")
    if "\\ud" in text.lower() and not is_unicode(json.dumps(value, ensure_ascii=False)):
        raise BadReply(f"{name} sent half of a surrogate pair, which no text has")
    return value


class BoundedStream(httpx2.AsyncByteStream):
    """A body that raises where it grows too long, for SDKs, which read the bodies of errors whole."""

    def __init__(self, stream: Any, name: str) -> None:
        self._stream, self._name = stream, name

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the bytes."""
        async with contextlib.aclosing(bounded(self._stream, self._name)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def aclose(self) -> None:
        """Close the body."""
        await self._stream.aclose()


def http_options(runner: Runner, name: str, address: Address, key: str | None) -> dict[str, Any]:
    """Return options of a runner's HTTP client that bound every body, and limit headers to its address's."""
    login = {} if address.login is None else {"auth": address.login}
    if runner is THREAD:
        hooks: dict[str, Any] = {"request": [lambda request: address.hide(request.headers, key)]}
        return {"transport": Transport(functools.partial(bounded_blocking, name=name)), "event_hooks": hooks, **login}

    async def hide(request: httpx2.Request) -> None:
        address.hide(request.headers, key)

    async def bound(response: httpx2.Response) -> None:
        response.stream = BoundedStream(response.stream, name)
        if not response.is_success:  # the same as in blocking_http.py
            response.headers.pop("content-encoding", None)

    hooks = {"request": [hide], "response": [bound]}
    # AsyncTransport does not support proxies. The client's own transport does, but must not reuse connections.
    if is_proxied():
        over: dict[str, Any] = {"limits": httpx2.Limits(max_keepalive_connections=0), "verify": tls()}
    else:
        over = {"transport": AsyncTransport()}
    return {"event_hooks": hooks, **over, **login}


def count(value: Any, otherwise: int) -> int:
    """Return a count that a provider reports, or the default where it is missing or impossible."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS
    return value if is_count else otherwise

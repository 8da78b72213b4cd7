"""A server that speaks OpenAI's protocol; it gets the client's body byte for byte, over pooled connections.

Only the body goes through. Headers are the sidecar's own, cookies are not kept, redirects not followed, and bodies not
decompressed. Failures are those of guard.models.remote.http, so plain and structured requests fail alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType, TracebackType
from typing import Any

import aiohttp
import jiter
from multidict import CIMultiDict

from guard.errors import BadReply, TimedOut
from guard.models.remote import sse
from guard.models.remote.address import address
from guard.models.remote.errors import (
    ExchangeError,
    broken_off,
    disconnected,
    no_address,
    no_protocol,
    of_event,
    of_status,
    of_stream,
    said_by,
    timed_out,
    unreachable,
)
from guard.models.remote.openai import API_KEY, BASE_URL, URL
from guard.sidecar import large
from guard.support import json_reading

CONNECT_SECONDS = 10.0  #: Longest wait for a connection.
LIMITS = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)  #: The time-outs of a request.
IDLE_SECONDS = 30.0  #: Seconds after which an unused connection is closed.
#: Fields of a chat that the pipeline decides; all others go to the model's server with every attempt.
OURS = frozenset(
    {
        *("model", "messages", "stream", "stream_options", "n", "response_format", "tools", "tool_choice"),
        *("parallel_tool_calls", "max_tokens", "max_completion_tokens", "temperature", "seed", "logprobs"),
        *("top_logprobs", "input", "instructions", "text", "max_output_tokens"),
    }
)
ERROR_BYTES = 65_536  #: Bytes of an error's body that are read.
PIECE_BYTES = 1_024  #: Bytes of a stream that are handled before the clock is looked at: they may be dozens of events.
TURN_BYTES = 8_192  #: Bytes of a stream after which other tasks get a turn,
TURN_S = 0.0005  #: or seconds that it took.


class Upstream:
    """One server, with its pool of connections. Belongs to one event loop."""

    #: Whether it speaks another protocol, which can't express `n`, JSON without a schema, or plain texts of a language.
    is_translated = False

    def __init__(
        self,
        name: str,
        base_url: str | None,
        api_key: str | None,
        response_bytes: int,
        names: tuple[str, str, str] = (BASE_URL, API_KEY, URL),
    ) -> None:
        """Make one. `names` are the environment variables of address and key, and the default address."""
        self.name = name
        variable, key_variable, default = names
        where = address(base_url, variable, default)
        self.url = where.url.rstrip("/")
        key = where.key(api_key, key_variable)
        self.is_environments = where.is_environments
        self.secrets = (*((key,) if key else ()), *where.secrets)
        self._headers = CIMultiDict({"Content-Type": "application/json", "Accept-Encoding": "identity"})
        if authorization := where.authorization or (f"Bearer {key}" if key else ""):
            self._headers["Authorization"] = authorization
        self._most = response_bytes
        self._session: aiohttp.ClientSession | None = None
        self.tells_usage = True  # whether streams are asked for usage; False once the server has refused that

    def speaks(self, path: str) -> bool:  # noqa: ARG002 (another's upstream does not speak all)
        """Whether it answers at a path of OpenAI's protocol."""
        return True

    def check(self, body: Mapping[str, Any]) -> None:
        """Raise ApiError for a chat that its protocol can't express; OpenAI's can express all."""

    def own(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of a chat that the pipeline does not decide, in the provider's protocol."""
        return {key: value for key, value in body.items() if key not in OURS}

    def can_force(self, body: Mapping[str, Any]) -> bool:  # noqa: ARG002 (the same)
        """Whether a call of a tool can be forced."""
        return True

    async def count_tokens(self, body: bytes, seconds: float, retries: int) -> int | None:  # noqa: ARG002 (the same)
        """Return how many tokens a chat's prompt is, as the provider counts them; None where it does not."""
        return None

    async def post(self, path: str, body: bytes) -> tuple[bytes, dict[str, Any]]:
        """Return the bytes of an answer, and their JSON. Raises ExchangeError where the request fails."""
        async with self.asked(path, body) as response:
            data = await self.whole(response)
        return data, await large.done(json_reading.weight(data), self._object, data)

    async def events(self, path: str, body: bytes) -> AsyncGenerator[tuple[bytes, dict[str, Any] | None], None]:
        """Yield whole server-sent events as they come, each with its JSON, or None for the [DONE] at the end.

        An event that the protocol does not have is a failure, and so is an end without [DONE] or a finish reason.
        """
        async with self.asked(path, body) as response:
            if response.content_type != "text/event-stream":
                raise ExchangeError(BadReply(f"{self.name} did not stream: {response.content_type[:60]}"))
            end = _StreamEnd()
            async for event in self._split(response):
                if event.name == b"error":
                    raise of_event(event.data, self.name, self.secrets)
                if event.data.strip() == b"[DONE]":
                    if not end.is_begun:
                        raise ExchangeError(
                            BadReply(f"{self.name} ended its stream before it began an answer"), again=True
                        )
                    yield event.raw, None
                    return
                size = max(json_reading.weight(event.data), large.walked(event.data))
                yield event.raw, await large.done(size, self._taken, event.data, end)
            if not end.is_there:
                raise broken_off(self.name)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    def asked(
        self,
        path: str,
        body: bytes,
        headers: Mapping[str, str] = MappingProxyType({}),
        limits: aiohttp.ClientTimeout = LIMITS,
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Send a body; yield the answer of status 200, its body unread, and close it at the end.

        Raises ExchangeError where the request fails, inside of the block too.
        """
        return _UpstreamRequest(self, functools.partial(self._sent, path, body, headers, limits))

    def failure(self, error: BaseException) -> ExchangeError:
        """Return the ExchangeError that an error of aiohttp's is."""
        if isinstance(error, aiohttp.ServerTimeoutError):
            return timed_out(self.name, is_counted=not isinstance(error, aiohttp.ConnectionTimeoutError))
        if isinstance(error, aiohttp.ClientConnectorError):
            return unreachable(self.name, said_by(error.strerror or str(error), self.secrets))
        if isinstance(error, aiohttp.ClientResponseError):  # the error's own words quote the answer byte by byte
            return no_protocol(self.name, "what came is not HTTP")
        if isinstance(error, aiohttp.InvalidURL | UnicodeError):
            return no_address(self.name)
        return disconnected(self.name, said_by(str(error) or type(error).__name__, self.secrets))

    async def _sent(
        self, path: str, body: bytes, headers: Mapping[str, str], limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                request_class=_Request,
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),  # cookies would leak from one client to another
                auto_decompress=False,
                skip_auto_headers=("Accept", "User-Agent"),
            )
        named = CIMultiDict({**self._headers, **headers}) if headers else self._headers
        while True:
            with contextlib.suppress(_Used):  # nothing was sent, and the next try takes another connection
                data = body if len(body) < large.LARGE else _LargeBody(body)
                return await self._session.post(
                    self.url + path, data=data, headers=named, allow_redirects=False, timeout=limits
                )

    async def refuse(self, response: aiohttp.ClientResponse) -> None:
        """Raise the ExchangeError that an answer of another status is."""
        raw = await response.content.read(ERROR_BYTES)
        try:
            said: Any = jiter.from_json(raw)
        except ValueError:
            said = raw.decode(errors="replace")
        headers = {name.lower(): value for name, value in response.headers.items()}
        raise of_status(response.status, said, headers, self.name, self.secrets)

    async def whole(self, response: aiohttp.ClientResponse) -> bytes:
        """Return an answer's bytes. Raises ExchangeError where they are too many."""
        parts: list[bytes] = []
        size = 0
        async for part in response.content.iter_any():
            size += len(part)
            if size > self._most:
                raise self._too_long()
            parts.append(part)
        return parts[0] if len(parts) == 1 else await large.done(size, b"".join, parts)

    async def _split(self, response: aiohttp.ClientResponse) -> AsyncIterator[sse.Event]:
        reader = sse.Reader()
        async for piece in self.pieces(response):
            for event in reader.feed(piece):
                yield event

    async def pieces(self, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
        """Yield a stream's bytes, a few at a time, between which other tasks get a turn. Raises ExchangeError."""
        size = given = 0
        began = time.perf_counter()
        async for part in response.content.iter_any():
            size += len(part)
            if size > self._most:
                raise self._too_long()
            for begin in range(0, len(part), PIECE_BYTES):
                if given > TURN_BYTES - PIECE_BYTES or time.perf_counter() - began > TURN_S:
                    await asyncio.sleep(0)  # to wait for what is there already lets nobody in
                    began, given = time.perf_counter(), 0
                piece = part[begin : begin + PIECE_BYTES]
                given += len(piece)
                yield piece

    def _taken(self, data: bytes, end: _StreamEnd) -> dict[str, Any]:
        said = self._object(data)
        end.take(said)
        return said

    def _object(self, data: bytes) -> dict[str, Any]:
        try:
            said = json_reading.read(data)
        except ValueError as error:
            what = "an empty body" if not data.strip() else f"what is not JSON: {error}"
            raise ExchangeError(BadReply(f"{self.name} sent {what}"), again=True) from None
        if not isinstance(said, dict):
            raise ExchangeError(BadReply(f"{self.name} sent JSON that is no object"), again=True)
        if failure := _failure(said):
            raise of_stream(failure, self.name, self.secrets)
        return said

    def _too_long(self) -> ExchangeError:
        return ExchangeError(BadReply(f"{self.name} sent more than {self._most:,} bytes"))


class _UpstreamRequest:
    """One request to an upstream. No generator, which takes some percent of a plain request's time."""

    def __init__(self, upstream: Upstream, send: Callable[[], Awaitable[aiohttp.ClientResponse]]) -> None:
        self._upstream, self._send = upstream, send

    async def __aenter__(self) -> aiohttp.ClientResponse:
        try:
            self._response = response = await self._send()
            if response.status != 200:
                async with response:
                    await self._upstream.refuse(response)
        except _FAILURES as error:
            raise self._upstream.failure(error) from None
        return response

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._response.__aexit__(kind, error, trace)
        except _FAILURES as failed:
            raise self._upstream.failure(failed) from None
        if isinstance(error, _FAILURES):
            raise self._upstream.failure(error) from None


_FAILURES = (aiohttp.ClientError, OSError, UnicodeError)


class _Used(Exception):  # noqa: N818 (never leaves this module)
    """A pooled connection had bytes that no request asked for."""


class _LargeBody(aiohttp.Payload):
    """A body that is sent in pieces. As one, aiohttp would copy it behind its head, and the event loop would stand."""

    _autoclose = True

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self._size = len(body)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return it as text."""
        return str(self._value, encoding, errors)

    async def write(self, writer: Any) -> None:
        """Send it."""
        body = memoryview(self._value)
        for begin in range(0, len(body), large.PIECE):
            await writer.write(body[begin : begin + large.PIECE])


class _Request(aiohttp.ClientRequest):
    """A request that refuses a connection with unread bytes, which would be taken for its answer."""

    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        """Send the request."""
        if conn.protocol.should_close:
            conn.close()
            raise _Used
        return await super().send(conn)


class _StreamEnd:
    """Tracks whether a stream has begun an answer, and whether all of its choices have ended."""

    def __init__(self) -> None:
        self.is_begun = False
        self._open: set[str] = set()  # indices of choices that have not ended

    @property
    def is_there(self) -> bool:
        """Whether the answer is complete."""
        return self.is_begun and not self._open

    def take(self, said: dict[str, Any]) -> None:
        """Add an event."""
        choices, kind = said.get("choices"), said.get("type")
        if isinstance(choices, list):
            for choice in choices:
                known: dict[str, Any] = choice if isinstance(choice, dict) else {}
                self._note(str(known.get("index", 0)), is_over=bool(known.get("finish_reason")))
        elif isinstance(kind, str) and kind.startswith("response."):
            self._note("response", is_over=kind in ("response.completed", "response.incomplete"))

    def _note(self, choice: str, *, is_over: bool) -> None:
        self.is_begun = True
        if is_over:
            self._open.discard(choice)
        else:
            self._open.add(choice)


def _failure(said: dict[str, Any]) -> Any:
    """Return the failure that an answer or an event reports, or None."""
    kind = said.get("type")
    if said.get("error") or kind == "error":
        return said.get("error") or said
    response = said.get("response") if kind in ("response.failed", "response.cancelled") else said
    if response is said and (said.get("object") != "response" or said.get("status") not in ("failed", "cancelled")):
        return None
    told = response.get("error") if isinstance(response, dict) else None
    return told or f"the response {str(said.get('status') or kind).removeprefix('response.')}"


async def events_of(
    upstream: Upstream, name: str, path: str, body: bytes, first: float
) -> AsyncGenerator[tuple[bytes, dict[str, Any] | None], None]:
    """Yield an upstream's events. Raises ExchangeError where the first takes longer than so many seconds."""
    async with contextlib.aclosing(upstream.events(path, body)) as events:
        try:
            yield await within(first, name, anext(events))
        except StopAsyncIteration:
            raise broken_off(name) from None
        async for event in events:
            yield event


async def within(seconds: float, name: str, work: Any) -> Any:
    """Await something. Raises ExchangeError where it takes longer than so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise ExchangeError(TimedOut(f"{name} gave no answer within {seconds:g} s"), again=True) from None

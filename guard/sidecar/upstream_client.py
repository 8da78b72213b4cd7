"""An upstream as the client of one of Guard's models, so that schema work has the connections of plain requests.

The model's coroutines run on the sidecar's event loop, without a step to another thread, and long work in the thread
for it (guard/sidecar/large.py).
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, TypeVar

import aiohttp
import httpx2

from guard.models.remote.api_client import account_headers
from guard.models.remote.http import Body, decoded
from guard.sidecar import large
from guard.sidecar.upstream import CONNECT_SECONDS, Upstream

T = TypeVar("T")


class UpstreamClient:
    """Sends a model's requests to an upstream. Belongs to one event loop."""

    def __init__(self, upstream: Upstream, silence: float) -> None:
        """Make one. `silence` is the longest that the server may send nothing, in seconds."""
        self.base_url = httpx2.URL(upstream.url)
        self._upstream = upstream
        connect = min(silence, CONNECT_SECONDS)
        self._limits = aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=silence)
        self._headers = account_headers(is_environments=upstream.is_environments)

    def post(self, path: str, *, body: Mapping[str, Any], **_: Any) -> AbstractAsyncContextManager[UpstreamBody]:
        """Send a body; yield the answer's, unread, and close it at the end. Raises ExchangeError."""
        return _ModelRequest(self._upstream, functools.partial(self._asked, path, body))

    async def _asked(self, path: str, body: Mapping[str, Any]) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        payload = await large.aencoded(body)
        return self._upstream.asked(path, payload, self._headers, self._limits)


class _ModelRequest:
    """One request of a model's. No generator, as in guard/sidecar/upstream.py."""

    def __init__(
        self, upstream: Upstream, ask: Callable[[], Awaitable[AbstractAsyncContextManager[aiohttp.ClientResponse]]]
    ) -> None:
        self._upstream, self._ask = upstream, ask

    async def __aenter__(self) -> UpstreamBody:
        self._asked = await self._ask()
        return UpstreamBody(self._upstream, await self._asked.__aenter__())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._asked.__aexit__(kind, error, trace)


class UpstreamBody(Body):
    """The body of an upstream's answer, whose status is 200."""

    def __init__(self, upstream: Upstream, response: aiohttp.ClientResponse) -> None:
        super().__init__(response, upstream.name, OWN_LOOP, upstream.secrets)
        self._upstream = upstream

    async def check_status(self) -> None:
        """Nothing is left to check."""

    async def text(self) -> str:
        """Return the whole body as text."""
        self._check_coding()
        data = await self._upstream.whole(self._response)
        return await large.done(len(data), decoded, data, self._name)

    def _chunks(self) -> AsyncGenerator[bytes, None]:
        self._check_coding()
        return self._upstream.pieces(self._response)


class _OwnLoop:
    """Does the waiting of coroutines on the event loop that they run on."""

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[Any]:
        return asyncio.timeout(seconds)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def opened(self, send: Callable[[], Any]) -> AbstractAsyncContextManager[Any]:
        opening: AbstractAsyncContextManager[Any] = send()
        return opening

    def chunks(self, response: Any) -> AsyncIterator[bytes]:
        chunks: AsyncIterator[bytes] = response.content.iter_any()
        return chunks

    async def computed(self, work: Callable[[], T]) -> T:
        return await large.done(large.LARGE, work)


OWN_LOOP = _OwnLoop()

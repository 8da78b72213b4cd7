"""An upstream as the client of one of Guard's models, so that schema work has the connections of plain requests.

The model's coroutines run on the sidecar's event loop, without a step to another thread, and long work in the thread
for it (guard/sidecar/large.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import aiohttp
import httpx2

from guard.models.remote.api_client import account_headers
from guard.models.remote.http import Body, decoded
from guard.sidecar import large
from guard.sidecar.upstream import CONNECT_SECONDS, Upstream
from guard.support.json_pieces import PLAIN, SMALL, encoded, weight

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

    @contextlib.asynccontextmanager
    async def post(self, path: str, *, body: Mapping[str, Any], **_: Any) -> AsyncIterator[UpstreamBody]:
        """Send a body; yield the answer's, unread, and close it at the end. Raises ExchangeError."""
        if weight(body, SMALL) <= SMALL:
            payload = PLAIN.encode(body).encode(errors="backslashreplace")
        else:
            payload = await large.done(large.LARGE, encoded, body)
        async with self._upstream.asked(path, payload, self._headers, self._limits) as response:
            yield UpstreamBody(self._upstream, response)


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
        return decoded(await self._upstream.whole(self._response), self._name)

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

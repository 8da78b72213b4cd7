"""The connection to a client that streams: server-sent events, the last of which says whether the answer was whole."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from guard.errors import GuardError
from guard.sidecar.errors import ApiError, of
from guard.sidecar.headers import EVENTS
from guard.sidecar.request_context import RequestContext
from guard.support import frames

DONE = b"data: [DONE]\n\n"


class EventSender:
    """Sends events; the head before the first one, so that what fails before is answered with a status."""

    def __init__(self, context: RequestContext, send: Any) -> None:
        self._context, self._send = context, send
        self.is_open = False

    async def send(self, event: bytes) -> None:
        """Send an event."""
        if not self.is_open:
            self.is_open = True
            self._context.status = 200
            head = [EVENTS, (b"cache-control", b"no-store"), *self._context.headers()]
            await self._send({"type": "http.response.start", "status": 200, "headers": head})
        self._context.sent += len(event)
        await self._send({"type": "http.response.body", "body": event, "more_body": True})

    @contextlib.asynccontextmanager
    async def ending(self) -> AsyncIterator[None]:
        """End the answer as what is inside ends: whole, or by an event once one was sent; before that, errors pass."""
        try:
            yield
        except GuardError as error:
            if not self.is_open:
                raise
            await self._fail(of(error))
            frames.let_go(error)
        else:
            await self.end()

    async def _fail(self, error: ApiError) -> None:
        """Say in an event why the answer ends here; SDKs raise it."""
        await self.send(b"event: error\ndata: " + error.body + b"\n\n")
        await self._close(b"")

    async def end(self) -> None:
        """Say that the answer was whole; a comment before tells the figures that no header could."""
        figures = {name.decode(): value.decode() for name, value in self._context.headers()}
        done = b"" if self._context.path == "/v1/responses" else DONE
        await self._close(b": " + json.dumps(figures).encode() + b"\n\n" + done)

    async def _close(self, last: bytes) -> None:
        self._context.sent += len(last)
        self._context.is_answered = True
        await self._send({"type": "http.response.body", "body": last})

"""Server-sent events to one client. The last event says whether the answer is complete."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from guard.errors import GuardError, TimedOut
from guard.sidecar.errors import ApiError, of
from guard.sidecar.headers import EVENTS
from guard.sidecar.request_context import RequestContext
from guard.support import frames

DONE = b"data: [DONE]\n\n"
RESPONSES = "/v1/responses"  #: The path of the protocol whose events have types and numbers.


class EventSender:
    """Sends events. The head goes out with the first one, so a failure before that is answered with a status."""

    def __init__(self, context: RequestContext, send: Any) -> None:
        self._context, self._send = context, send
        self.is_open = False
        self._events = 0  # that were sent

    async def send(self, event: bytes) -> None:
        """Send an event."""
        if not self.is_open:
            self.is_open = True
            self._context.status = 200
            head = [EVENTS, (b"cache-control", b"no-store"), *self._context.headers()]
            await self._send({"type": "http.response.start", "status": 200, "headers": head})
        self._context.sent += len(event)
        self._events += 1
        await self._send({"type": "http.response.body", "body": event, "more_body": True})

    @contextlib.asynccontextmanager
    async def ending(self) -> AsyncIterator[None]:
        """End the answer as the block inside ends. After the first event an error becomes an event."""
        try:
            yield
            await self.end()
        except GuardError as error:
            if not self.is_open:
                raise
            await self._fail(of(error))
            frames.let_go(error)

    async def _fail(self, error: ApiError) -> None:
        """Send an event that says why the answer ends early; SDKs raise it as an error."""
        body = error.body
        if self._context.path == RESPONSES:  # some of its clients read the members of the event itself
            named = {name: error.object[name] for name in ("code", "message", "param")}
            event = {"type": "error", "sequence_number": self._events, **named, "error": error.object}
            body = json.dumps(event).encode()
        await self.send(b"event: error\ndata: " + body + b"\n\n")
        await self._close(b"")

    async def end(self) -> None:
        """Send [DONE]. A comment before it has the figures that no header could: they were not known then."""
        figures = {name.decode(): value.decode() for name, value in self._context.headers()}
        done = b"" if self._context.path == RESPONSES else DONE
        await self._close(b": " + json.dumps(figures).encode() + b"\n\n" + done)

    async def _close(self, last: bytes) -> None:
        self._context.sent += len(last)
        self._context.is_answered = True
        await self._send({"type": "http.response.body", "body": last})


@contextlib.contextmanager
def in_time(name: str) -> Iterator[None]:
    """Raise TimedOut where a model's own deadline strikes while a piece of its stream is passed on to a slow client.

    A deadline cancels its task, and knows that cancellation only where it comes through the stream.
    """
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():  # somebody else's: the client is gone, or the process ends
            raise
        raise TimedOut(f"{name} gave no whole answer in time: it was read too slowly") from None

"""HTTP as uvicorn and llhttp read it, with the limits that they leave to others.

A connection that sends no whole head in time is closed, as is one whose head is too long; there is a most of
connections; a client that does not read what it asked for is cut off. What llhttp refuses (a length that is said twice,
or beside chunks, characters that no header has) is answered in the form of all other errors.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from guard.sidecar.errors import ApiError
from guard.sidecar.settings import ServeSettings

_PHRASES = {
    400: b"Bad Request",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
}


class Wire(HttpToolsProtocol):
    """One connection."""

    def __init__(self, settings: ServeSettings, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._most_head, self._head_seconds = settings.head_bytes, settings.head_seconds
        self._body_seconds = settings.body_seconds
        self._most_connections = settings.connections
        self._head = 0  # bytes of the head that is coming in
        self._fed = 0  # bytes that came since it began
        self._is_in_head = True
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin, or refuse where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self._most_connections:
            self._refuse(503, f"{self._most_connections:,} connections are open, which is all that is allowed", "busy")
            return
        self._timer = self.loop.call_later(self._head_seconds, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_timer()
        if self._stalled is not None:
            self._stalled.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        if self.transport.is_closing():
            return
        self._fed += len(data)
        super().data_received(data)
        if self._is_in_head and self._fed > self._most_head + HIGH_WATER_LIMIT and not self.transport.is_closing():
            self._too_long()

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._head, self._fed, self._is_in_head = 0, 0, True
        if self._timer is None:
            self._timer = self.loop.call_later(self._head_seconds, self._too_slow)

    def on_url(self, url: bytes) -> None:
        """Take a part of the request line."""
        self._head += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._head += len(name) + len(value) + 4
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin the request, unless its head is too long."""
        self._is_in_head = False
        self._stop_timer()
        if self._head > self._most_head:
            self._too_long()
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body, unless the request was refused."""
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End the body, unless the request was refused."""
        if not self.transport.is_closing():
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._refuse(400, msg, "invalid_http")

    def pause_writing(self) -> None:
        """Begin to wait for a client that does not read."""
        super().pause_writing()
        self._stalled = self.loop.call_later(self._body_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """End to wait."""
        if self._stalled is not None:
            self._stalled.cancel()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; at once where the client has not read its answer."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        super().timeout_keep_alive_handler()

    def _too_slow(self) -> None:
        self._timer = None
        if self._fed:
            self._refuse(408, f"the head was not there within {self._head_seconds:g} s", "head_too_slow")
        else:
            self.transport.close()  # nothing was asked

    def _too_long(self) -> None:
        self._refuse(431, f"the head has more than {self._most_head:,} bytes", "head_too_large")

    def _refuse(self, status: int, message: str, code: str) -> None:
        self._stop_timer()
        body = ApiError(status, message, code=code).body
        head = b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(head % (status, _PHRASES[status], len(body)) + body)
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

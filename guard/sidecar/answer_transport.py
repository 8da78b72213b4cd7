"""What a connection's answers are written to: it counts what is written, and sends a head with its body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from guard.sidecar.unread_answers import Watch

_HEAD = b"HTTP/1.1 "  #: With which uvicorn begins each answer.


class AnswerTransport:
    """A connection's transport, as uvicorn uses it, that tells a watch what is written.

    The head of an answer waits for the beginning of its body, so that both are sent in one call of the system: at most
    until what is under way on the event loop has had its turn.
    """

    def __init__(self, transport: Any, watch: Watch, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._transport, self._watch, self._call_soon = transport, watch, call_soon
        self._head = b""  # that waits

    def write(self, data: bytes) -> None:
        """Write, counted."""
        if data.startswith(_HEAD) and not self._head:
            self._head = data
            self._call_soon(self._send)
            return
        self._watch.wrote(len(self._head) + len(data))
        if not self._head:
            self._transport.write(data)
            return
        parts, self._head = (self._head, data), b""
        self._transport.writelines(parts)

    def close(self) -> None:
        """Close once all is sent."""
        self._send()
        self._transport.close()

    def _send(self) -> None:
        """Send a head that still waits: its body takes longer, or there is none."""
        if self._head and not self._transport.is_closing():
            self.write(b"")

    def __getattr__(self, name: str) -> Any:
        """Return what else the transport has."""
        return getattr(self._transport, name)

"""The attacker's end of a connection: sends what it is told to, reads what comes, and reads it strictly.

h11 reads the answers. It is not what the sidecar writes them with, so that it may judge them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import h11
import sidecars
from attack.cases import Sign, Step

PATIENCE_S = 30.0  #: Longest wait for anything; what a case allows is less.
ADDRESS = "127.0.0.2"  #: Of attackers: what is bounded by address must not touch others.


@dataclass
class Reply:
    """One answer."""

    status: int
    headers: dict[str, str]
    data: bytes

    @property
    def is_stream(self) -> bool:
        """Whether it consists of events."""
        return self.headers.get("content-type", "").startswith("text/event-stream")

    @property
    def events(self) -> list[Any]:
        """What its events say; "[DONE]" is that text."""
        return sidecars.events_of(self.data)

    @property
    def figures(self) -> dict[str, str]:
        """The headers, and what a stream's last comment adds to them."""
        told = dict(self.headers)
        for line in self.data.decode(errors="replace").split("\n") if self.is_stream else ():
            if line.startswith(": {"):
                told |= json.loads(line[2:])
        return told


@dataclass
class Exchange:
    """What became of a connection."""

    replies: list[Reply] = field(default_factory=list)
    raw: bytes = b""
    is_closed: bool = False  # by the other side
    fault: str = ""  # why an answer is none by HTTP
    seconds: float = 0.0


async def exchange(
    host: str, port: int, steps: Sequence[Step], *, answers: int = 1, method: str = "POST", patience: float = PATIENCE_S
) -> Exchange:
    """Send, and read until there are so many answers, the other side closes, or patience ends."""
    found = Exchange()
    began = time.monotonic()
    reader, writer = await asyncio.open_connection(host, port, local_addr=(ADDRESS, 0), limit=2**26)
    sending = asyncio.create_task(_send(writer, steps))
    conversation = _Conversation(found, method)
    try:
        async with asyncio.timeout(patience):
            while len(found.replies) < answers and not found.fault:
                data = await reader.read(262_144)
                found.raw += data
                conversation.feed(data)
                if not data:
                    found.is_closed = True
                    break
    except TimeoutError:
        found.fault = found.fault or f"nothing more came within {patience:g} s"
    except OSError:
        found.is_closed = True
        conversation.feed(b"")
    found.seconds = time.monotonic() - began
    sending.cancel()
    with contextlib.suppress(asyncio.CancelledError, OSError):
        await sending
    with contextlib.suppress(OSError, RuntimeError):
        writer.close()
    return found


async def _send(writer: asyncio.StreamWriter, steps: Sequence[Step]) -> None:
    with contextlib.suppress(OSError):
        for step in steps:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif isinstance(step, float):
                await asyncio.sleep(step)
            elif step is Sign.END:
                writer.write_eof()
            elif step is Sign.HANG:
                return
            else:
                if step is Sign.RESET:
                    given = writer.get_extra_info("socket")
                    given.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()


class _Conversation:
    """Reads answers, one after the other."""

    def __init__(self, found: Exchange, method: str) -> None:
        self._found, self._method = found, method
        self._next(b"")

    def _next(self, held: bytes) -> None:
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=2**24)
        self._connection.send(h11.Request(method=self._method, target="/", headers=[("Host", "localhost")]))
        self._connection.send(h11.EndOfMessage())
        self._head: h11.Response | None = None
        self._parts: list[bytes] = []
        if held:
            self._connection.receive_data(held)

    def feed(self, data: bytes) -> None:
        """Take bytes; none is the end."""
        if self._found.fault:
            return
        try:
            if data or self._head is not None:
                self._connection.receive_data(data)
            self._take()
        except h11.RemoteProtocolError as error:
            self._found.fault = f"the answer is not whole, or none by HTTP: {error}"

    def _take(self) -> None:
        while (event := self._connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Response):
                self._head = event
            elif isinstance(event, h11.Data):
                self._parts.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                assert self._head is not None
                headers = {name.decode(): value.decode("latin-1") for name, value in self._head.headers}
                self._found.replies.append(Reply(self._head.status_code, headers, b"".join(self._parts)))
                self._next(self._connection.trailing_data[0])
            elif isinstance(event, h11.ConnectionClosed):
                return

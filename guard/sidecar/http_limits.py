"""HTTP/1.1 by uvicorn and llhttp, with the limits that they do not set.

Bounded are the number of connections, the size of a head and the time it takes, and how long a client may leave its
answer unread. llhttp refuses malformed messages: two lengths, a length beside chunks, characters that no header has.
This file refuses those that two servers could read in two ways: no Host, trailers, a body beside an upgrade, a coding
other than `chunked`. Both are answered in the form of all other errors. Bytes after the head are bounded before they
are kept: chunks that are mostly framing are refused, and trailers never reach the application. Once a part of an answer
is out, no refusal is written; the connection ends instead. Requests that come behind others on one connection are read
a few at a time: uvicorn reads on at each answer, so that thousands would come for every one that is answered. Each
connection may hold a fair share besides bodies. What all hold above that is counted by `HeldBytes`; where it is too
much, the connection that holds most ends. Answers that wait to be read are unread_answers.py's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, NoReturn

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from guard.sidecar.answer_transport import AnswerTransport
from guard.sidecar.errors import ApiError
from guard.sidecar.settings import ServeSettings
from guard.sidecar.unread_answers import UnreadAnswers, Watch

_PHRASES = {
    400: b"Bad Request",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
}


_HEAD = b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
MOST_HEADERS = 256  #: Most headers of a request; a loop looks at each.
FRAMING_BYTES = 65_536  #: Most bytes of framing: these, and an eighth of the body's size.
IN_LINE = 16  #: Requests that wait behind one under way, from which no more are read.
SLICE = 4_096  #: Bytes that are parsed before the line is looked at again: 160 requests at most.
REQUEST_BYTES = 4_096  #: What a request costs besides its bytes, for its objects.
FAIR_BYTES = 16_384  #: Bytes that each connection may hold, however much the others do.
ALL_BYTES = 64_000_000  #: Bytes that all connections together may hold above their shares.
CHUNKS = 1024  #: Most chunks of a body: these, and one for each 64 bytes of it.


class _Refused(Exception):  # noqa: N818 (only stops the parser)
    """Stops the parser: the connection is over, and the rest of its bytes are ignored."""


class HeldBytes:
    """What the connections of one process hold above their shares: unfinished heads, heads of requests that are not
    answered, all that came behind those, and what each request costs itself. The body of a running request is counted
    by its `Share`. Belongs to one event loop.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self.unread = UnreadAnswers()
        self._above: dict[Wire, int] = {}  # bytes of each connection that is above its share and goes on

    def count(self, wire: Wire, change: int, above: int) -> None:
        """Count what a connection holds above its share, by which it may end; 0 where it may not."""
        self.bytes += change
        if above:
            self._above[wire] = above
        else:
            self._above.pop(wire, None)

    def largest(self) -> Wire | None:
        """Return the connection that has to end, where all hold too much. O(connections above their share)."""
        return max(self._above, key=self._above.__getitem__, default=None) if self.bytes > ALL_BYTES else None


class _Flow(FlowControl):
    """Flow control that does not read on while much of what came still waits to be parsed."""

    def __init__(self, wire: Wire, transport: Any) -> None:
        super().__init__(transport)
        self._wire: Wire | None = wire

    def resume_reading(self) -> None:
        """Read on, unless what came waits."""
        if self._wire is not None and not self._wire.is_behind:
            super().resume_reading()

    def leave(self) -> None:
        """Forget the connection, which is over: else the two would hold each other."""
        self._wire = None


class Wire(HttpToolsProtocol):
    """One connection, as uvicorn's protocol class. Belongs to one event loop."""

    def __init__(self, settings: ServeSettings, all_held: HeldBytes, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._all_held = all_held
        self._above = 0  # bytes above its share, counted with those of all
        self._line: deque[int] = deque()  # bytes of each request that is not answered
        self._most_head, self._head_seconds = settings.head_bytes, settings.head_seconds
        self._most_body, self._body_seconds = settings.body_bytes, settings.body_seconds
        self._most_connections = settings.connections
        self._head = 0  # bytes of the head that is coming in
        self._fed = 0  # bytes since the head began, or since it ended, that are not of the body
        self._body = 0  # bytes of the body
        self._length = 0  # bytes of the body, by its head; 0 where that does not tell, and once it is there
        self._chunks = 0
        self._is_in_head = True
        self._is_asking = False  # a head has begun, and is not there yet
        self._is_begun = False  # the message that is coming in has become a request
        self._is_over = False  # nothing more is read, though an answer may still be on its way
        self._running: Any = None  # the request that is being answered; others may wait behind it
        self._timer: asyncio.TimerHandle | None = None
        self._waiting = b""  # what came, and waits until fewer requests are in line

    @property
    def _is_in_line(self) -> bool:
        """Whether the request that came last waits behind another."""
        return bool(self.pipeline) and self.pipeline[0][0] is self.cycle

    @property
    def is_behind(self) -> bool:
        """Whether so much waits to be parsed that no more is read. With less it is, so that a client's end is seen."""
        return len(self._waiting) > HIGH_WATER_LIMIT

    def connection_made(self, transport: Any) -> None:
        """Begin, or refuse where there are too many."""
        super().connection_made(transport)
        self.flow: _Flow = _Flow(self, transport)
        self._unread = Watch(transport, self._body_seconds, self._all_held.unread, transport.abort)
        self.transport: Any = AnswerTransport(transport, self._unread, self.loop.call_soon)
        if len(self.connections) > self._most_connections:
            self._refuse(503, f"{self._most_connections:,} connections are open, which is all that is allowed", "busy")
            return
        self._timer = self.loop.call_later(self._head_seconds, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_timer()
        self._unread.end()
        self._leave()
        self._waiting = b""
        super().connection_lost(exc)
        self.flow.leave()
        self._all_held.count(self, -self._above, 0)
        self._above = 0

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        self._waiting += data
        self._parse()
        self._weigh()

    def _parse(self) -> None:
        """Parse what waits, until too many requests are in line: then it goes on waiting, and no head can be late."""
        data, self._waiting, at = self._waiting, b"", 0
        while at < len(data) and not self._has_ended():
            if len(self.pipeline) >= IN_LINE:
                self._waiting = data[at:]
                self._stop_timer()
                if self.is_behind:
                    self.flow.pause_reading()
                return
            size = max(SLICE, self._length - self._body)  # of what may hold requests, little at a time
            self._take(data[at : at + size])
            at += size

    def _go_on(self) -> None:
        """Parse on after an answer. A head that is half there has its whole time again."""
        if not self._waiting or self._has_ended():
            return
        if self._is_in_head and self._timer is None:
            self._timer = self.loop.call_later(self._head_seconds, self._too_slow)
        self._parse()
        self._weigh()
        if len(self.cycle.body) <= HIGH_WATER_LIMIT:
            self.flow.resume_reading()

    def _weigh(self) -> None:
        """Count what is held. Where all hold too much, end those that hold most."""
        self._count()
        while (largest := self._all_held.largest()) is not None:
            largest.end()

    def end(self) -> None:
        """End with the running answer, or with 503, and drop what waits behind it."""
        self._refuse(503, "too many requests wait, or their heads are too long", "busy")
        self.pipeline.clear()
        self._line = deque(list(self._line)[:1])
        self._waiting, self._is_asking = b"", False
        self._count()

    def _count(self) -> None:
        """Count the bytes that are held above the share. Of a head, the slice in which it began is not counted."""
        held = len(self._waiting) + sum(self._line) + (self._fed if self._is_asking else 0)
        above = max(0, held - FAIR_BYTES)
        self._all_held.count(self, above - self._above, 0 if self._has_ended() else above)
        self._above = above

    def _take(self, data: bytes) -> None:
        """Parse some bytes, and hold them to the limits. The connection must not have ended."""
        self._fed += len(data)
        super().data_received(data)
        if self._has_ended():
            return
        if self._timer is None and self.timeout_keep_alive_task is None and self.cycle.response_complete:
            # A line end alone begins no head, and has ended the time limit of an idle connection.
            self._timer = self.loop.call_later(self._head_seconds, self._too_slow)
        if self._is_in_head:
            if self._fed > self._most_head + HIGH_WATER_LIMIT:
                self._too_long()
        elif self._fed > FRAMING_BYTES + self._body // 8:
            self._refuse(400, "more comes around the body than the body itself", "invalid_http")

    def on_message_begin(self) -> None:
        """Start the limits of a new head."""
        super().on_message_begin()
        self._head, self._fed, self._is_in_head, self._is_begun = 0, 0, True, False
        self._is_asking = True
        if self._timer is None:
            self._timer = self.loop.call_later(self._head_seconds, self._too_slow)

    def on_url(self, url: bytes) -> None:
        """Take a part of the request line."""
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer is none."""
        if not self._is_in_head:
            self._stop(400, "a request may have no trailers", "trailers")
        self._count_head(len(name) + len(value) + 4)
        if len(self.headers) == MOST_HEADERS:
            self._stop(431, f"the head has more than {MOST_HEADERS} headers", "head_too_large")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request, unless two servers could read its head in two ways."""
        self._is_in_head = self._is_asking = False
        self._stop_timer()
        if fault := self._fault():
            self._stop(400, fault, "invalid_http")
        self._fed = self._body = self._chunks = 0
        self._length = next((int(value) for name, value in self.headers if name == b"content-length"), 0)
        super().on_headers_complete()
        self._is_begun = True
        self._line.append(REQUEST_BYTES + self._head)
        if not self._is_in_line:
            self._running = self.cycle
        if self.parser.should_upgrade():  # an upgrade to an unknown protocol: what follows is not read
            self.cycle.keep_alive = False
            self._is_over = True

    def on_chunk_header(self) -> None:
        """Count a chunk."""
        self._chunks += 1
        if self._chunks > CHUNKS + self._body // 64:
            self._stop(400, "the body comes in too many chunks", "invalid_http")

    def on_body(self, body: bytes) -> None:
        """Take a part of the body; drop it where the request was answered already."""
        self._fed -= len(body)
        self._body += len(body)
        if self.cycle.response_complete and self._body > self._most_body:
            self._close()
            raise _Refused
        if self._is_in_line:
            self._line[-1] += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the body."""
        self._stop_timer()
        self._length = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on to the next request. The rest of an answered request's body has the time limit of any body."""
        self._line.popleft()
        self._weigh()
        if self.pipeline:
            self._running = self.pipeline[-1][0]
        elif self.cycle.more_body and self._timer is None:
            self._timer = self.loop.call_later(self._body_seconds, self._close)
        super().on_response_complete()
        if self.transport.is_closing():
            self._unread.begin()
        if self._waiting:
            self.loop.call_soon(self._go_on)

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are not HTTP."""
        if not self._has_ended():  # refused before, with its reason
            self._refuse(400, msg, "invalid_http")

    def pause_writing(self) -> None:
        """Watch over a client that does not read its answer as fast as it comes."""
        super().pause_writing()
        self._unread.begin()

    def resume_writing(self) -> None:
        """The client has read nearly all. What is left at the end of the connection is watched over on."""
        if not self.transport.is_closing():
            self._unread.end()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, at once where the client has left its answer unread."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        super().timeout_keep_alive_handler()

    def _has_ended(self) -> bool:
        return self._is_over or self.transport.is_closing()

    def _fault(self) -> str:
        """Return why servers could read the head that came in two ways; "" where all read it alike."""
        version = self.parser.get_http_version()
        fields = dict(self.headers)
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if version not in ("1.0", "1.1"):
            return f"HTTP/{version} is not spoken here"
        if version == "1.1" and b"host" not in fields:
            return "a request must name its Host"
        if codings and (version == "1.0" or codings != [b"chunked"]):
            return "the only coding of a body is chunked, in HTTP/1.1"
        if self.parser.should_upgrade() and (codings or fields.get(b"content-length", b"0") != b"0"):
            return "a request with a body can't ask for another protocol"
        return ""

    def _count_head(self, size: int) -> None:
        self._head += size
        if self._head > self._most_head:
            self._too_long()
            raise _Refused

    def _too_slow(self) -> None:
        self._timer = None
        if self._is_asking:
            self._refuse(408, f"the head was not there within {self._head_seconds:g} s", "head_too_slow")
        else:
            self._close()  # nothing was asked

    def _too_long(self) -> None:
        self._refuse(431, f"the head has more than {self._most_head:,} bytes", "head_too_large")

    def _stop(self, status: int, message: str, code: str) -> NoReturn:
        self._refuse(status, message, code)
        raise _Refused

    def _refuse(self, status: int, message: str, code: str) -> None:
        """End the connection with an error; without one where an answer is under way, which it could be taken for."""
        self._stop_timer()
        self._is_over = True
        running = self._running
        is_own = self._is_begun and running is self.cycle
        if running is not None and not running.response_complete and not (is_own and running.more_body):
            running.keep_alive = False  # the connection ends with the answer
            return
        if is_own:
            self._leave()
        if not (is_own and running.response_started):
            body = ApiError(status, message, code=code).body
            self.transport.write(_HEAD % (status, _PHRASES[status], len(body)) + body)
        self._close()

    def _close(self) -> None:
        """End the connection once its client has read what was written, for which it has as long as for a body."""
        self.transport.close()
        self._unread.begin()

    def _leave(self) -> None:
        """Tell the request that is being answered that its client is gone."""
        running = self._running
        if running is not None and not running.response_complete:
            running.disconnected = True
            running.message_event.set()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

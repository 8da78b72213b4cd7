"""Server-sent events as they come in: bytes in, whole events out, wherever the stream is cut.

A line ends with CR LF, LF or CR, so that one which ends with CR has ended, though an LF may still follow. What a blank
line has not ended is no event, and neither is what has no data: a comment that keeps a connection alive. Every byte is
looked at a fixed number of times.
"""

from __future__ import annotations

from dataclasses import dataclass

_MARK = b"\xef\xbb\xbf"  #: What a stream may begin with.


@dataclass(frozen=True, slots=True)
class Event:
    """One event."""

    name: bytes  # its type; b"" where none is said
    data: bytes
    raw: bytes  # the whole of it, its lines ended by LF, as it can be handed on


class Reader:
    """Reads one stream."""

    def __init__(self) -> None:
        self._line: list[bytes] = []  # of a line that has not ended
        self._lines: list[bytes] = []  # of an event that has not ended
        self._is_begun = False
        self._ended_by_cr = False  # the last line, with which the last piece ended

    def feed(self, piece: bytes) -> list[Event]:
        """Take what came; returns the events that it ended."""
        if self._ended_by_cr and piece:
            piece = piece.removeprefix(b"\n")
            self._ended_by_cr = False
        if b"\r" in piece:
            self._ended_by_cr = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *ended, rest = piece.split(b"\n")
        events = []
        for line in ended:
            if self._line:
                line = b"".join([*self._line, line])
                self._line = []
            if not self._is_begun:
                self._is_begun, line = True, line.removeprefix(_MARK)
            if line:
                self._lines.append(line)
            elif self._lines:
                lines, self._lines = self._lines, []
                if (event := _event(lines)) is not None:
                    events.append(event)
        if rest:
            self._line.append(rest)
        return events


def _event(lines: list[bytes]) -> Event | None:
    """Return what lines say; None where that is nothing."""
    name, data = b"", []
    for line in lines:
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    joined = b"\n".join(data)
    return Event(name, joined, b"\n".join(lines) + b"\n\n") if joined else None

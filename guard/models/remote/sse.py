"""An incremental parser of server-sent events: bytes in, whole events out, wherever the stream is cut.

The format is that of the HTML standard, section 9.2. A line ends with CR LF, LF or CR, so a line is complete at a CR,
although an LF may follow. Lines become an event at a blank line, if there are data among them; comments only keep a
connection alive. Linear time in the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

_MARK = b"\xef\xbb\xbf"  #: The byte order mark that a stream may begin with.


@dataclass(frozen=True, slots=True)
class Event:
    """One event."""

    name: bytes  # its type; b"" where it has none
    data: bytes
    raw: bytes  # the whole event, lines ended by LF, to pass on


class Reader:
    """Reads one stream."""

    def __init__(self) -> None:
        self._line: list[bytes] = []  # the unfinished line
        self._lines: list[bytes] = []  # lines of the unfinished event
        self._is_begun = False
        self._ended_by_cr = False  # whether the last piece ended with a CR

    def feed(self, piece: bytes) -> list[Event]:
        """Add bytes; return the events that they complete."""
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
    """Return the event of some lines, or None where they have no data."""
    name, data = b"", []
    for line in lines:
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    joined = b"\n".join(data)
    return Event(name, joined, b"\n".join(lines) + b"\n\n") if joined else None

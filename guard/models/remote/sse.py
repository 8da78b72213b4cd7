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
        # Of the unfinished event, read line by line as they come, in bytes: it may have a million lines.
        self._raw, self._name, self._data = bytearray(), b"", bytearray()
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
                self._take(line)
            elif self._raw and (event := self._end()) is not None:
                events.append(event)
        if rest:
            self._line.append(rest)
        return events

    def _take(self, line: bytes) -> None:
        self._raw += line + b"\n"
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data += value.removeprefix(b" ") + b"\n"
        elif field == b"event":
            self._name = value.removeprefix(b" ")

    def _end(self) -> Event | None:
        """Return the event that has ended, or None where it has no data."""
        raw, name, data = self._raw, self._name, self._data
        self._raw, self._name, self._data = bytearray(), b"", bytearray()
        return Event(name, bytes(data[:-1]), bytes(raw) + b"\n") if len(data) > 1 else None

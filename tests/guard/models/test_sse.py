"""Server-sent events: the same ones however a stream is cut, and those that the standard says there are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from guard.models.remote.sse import Event, Reader

PARTS = (
    *(b"\r", b"\n", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b":", b" ", b"data", b"data:", b"data: ", b"event: error"),
    *(
        b"event:a",
        b"id: 1",
        b": comment",
        b"\xef\xbb\xbf",
        b"x",
        b"{}",
        "é😀".encode(),
        b"\xff",
        b"\0",
        b"\x0b",
        b"\x85",
    ),
)
STREAMS = st.lists(st.sampled_from(PARTS), max_size=30).map(b"".join)


def reference(stream: bytes) -> list[tuple[bytes, bytes]]:
    """Read a whole stream a byte at a time, as the standard's steps have it; returns names and data."""
    stream = stream.removeprefix(b"\xef\xbb\xbf")
    lines, line, at = [], b"", 0
    while at < len(stream):
        byte = stream[at : at + 1]
        at += 1
        if byte == b"\r" and stream[at : at + 1] == b"\n":
            at += 1
        if byte in (b"\r", b"\n"):
            lines.append(line)
            line = b""
        else:
            line += byte
    events, name, data = [], b"", b""
    for line in lines:
        if line == b"":
            if data != b"":
                events.append((name, data[:-1]))
            name, data = b"", b""
        elif line[:1] == b":":
            continue
        elif b":" in line:
            at = line.index(b":")
            field, value = line[:at], line[at + 1 :]
            value = value[1:] if value[:1] == b" " else value
            name, data = (
                (value, data) if field == b"event" else (name, data + value + b"\n" if field == b"data" else data)
            )
        elif line == b"data":
            data += b"\n"
        elif line == b"event":
            name = b""
    # An event whose data is one empty line has nothing to tell: no protocol here has such events.
    return [(name, data) for name, data in events if data]


def read(*pieces: bytes) -> list[Event]:
    reader = Reader()
    return [event for piece in pieces for event in reader.feed(piece)]


def told(events: list[Event]) -> list[tuple[bytes, bytes]]:
    return [(event.name, event.data) for event in events]


@given(STREAMS)
def test_every_cut_of_a_stream_brings_the_events_of_the_whole_one(stream: bytes) -> None:
    expected = reference(stream)
    whole = read(stream)
    assert told(whole) == expected
    assert read(*(stream[at : at + 1] for at in range(len(stream)))) == whole
    for first in range(len(stream) + 1):
        assert read(stream[:first], b"", stream[first:]) == whole
        for second in range(first, min(first + 4, len(stream)) + 1):
            assert read(stream[:first], stream[first:second], stream[second:]) == whole


@given(STREAMS)
def test_what_is_handed_on_is_read_as_the_same_events(stream: bytes) -> None:
    events = read(stream)
    assert read(b"".join(event.raw for event in events)) == events


def test_an_event_is_there_as_soon_as_its_blank_line_is_whichever_way_that_ends() -> None:
    reader = Reader()
    assert reader.feed(b"data: 1\r\n\r") == [Event(b"", b"1", b"data: 1\n\n")]
    assert reader.feed(b"\ndata: 2\r\n") == []
    assert reader.feed(b"\r") == [Event(b"", b"2", b"data: 2\n\n")]


def test_a_long_line_in_many_pieces_takes_time_in_proportion_to_it() -> None:
    class Counted(bytes):
        looked_at = 0

        def split(self, *arguments: object) -> list[bytes]:
            Counted.looked_at += len(self)
            return super().split(*arguments)

    reader = Reader()
    reader.feed(b"data: ")
    for _ in range(20_000):
        assert reader.feed(Counted(b"x" * 100)) == []
    assert Counted.looked_at == 2_000_000
    (event,) = reader.feed(b"\n\n")
    assert event.data == b"x" * 2_000_000

"""Answers as they are written: in order, whole, soon, and a head in one call of the system with its body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from guard.sidecar.answer_transport import AnswerTransport
from guard.sidecar.unread_answers import UnreadAnswers, Watch


class Sent:
    """A transport that keeps what each call of the system would send, and a loop whose turns a test takes."""

    def __init__(self) -> None:
        self.calls: list[bytes] = []
        self.is_closed = False
        self.later: list[Callable[[], None]] = []

    def turn(self) -> None:
        for _ in range(len(self.later)):
            self.later.pop(0)()

    def write(self, data: bytes) -> None:
        assert not self.is_closed
        self.calls.append(data)

    def writelines(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True


HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


@given(st.lists(st.sampled_from([HEAD, b"HTTP/1.1 ", b"HTTP", b"one", b"", None])), st.booleans())
def test_what_is_written_comes_out_in_order_and_no_later_than_the_loops_next_turn(
    writes: list[bytes | None], is_closed: bool
) -> None:
    """None is a turn of the loop."""
    sent = Sent()
    watch = Watch(sent, 1.0, UnreadAnswers(), sent.close)
    transport = AnswerTransport(sent, watch, sent.later.append)
    wrote = b""
    for data in writes:
        if data is None:
            sent.turn()
            assert b"".join(sent.calls) == wrote
        else:
            transport.write(data)
            wrote += data
    transport.close() if is_closed else sent.turn()
    assert (b"".join(sent.calls), sent.is_closed) == (wrote, is_closed)
    assert watch._written == len(wrote)
    sent.turn()  # nothing is written after the end


def test_an_answers_head_goes_out_with_its_body_in_one_call_of_the_system() -> None:
    """Each was a packet of its own, for which the client woke twice."""
    sent = Sent()
    transport = AnswerTransport(sent, Watch(sent, 1.0, UnreadAnswers(), sent.close), sent.later.append)
    transport.write(HEAD)
    transport.write(b"{}")
    assert sent.calls == [HEAD + b"{}"]
    transport.write(HEAD)
    sent.turn()  # the first event of a stream is not there yet
    transport.write(b"data: 1")
    assert sent.calls[1:] == [HEAD, b"data: 1"]

"""The events of a turn while it is written, then the turn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal, NamedTuple, Self

from guard.calls.turns import finished
from guard.models.base import Thought
from guard.turns.pieces import CallPiece
from guard.turns.turn import Turn


class TurnEvent(NamedTuple):
    """What has come of a turn.

    "text" and "thinking": a piece of it; "call": a call has begun, `name` says of which tool; "arguments": a piece of
    its arguments, as JSON text; "again": the turn was not valid and is asked for again, what was told before is void.
    """

    kind: Literal["text", "thinking", "call", "arguments", "again"]
    text: str = ""
    number: int = 0  #: Of the call, in the turn.
    name: str = ""  #: Of the tool, of a call that begins.


class Attempts:
    """Makes, for each attempt at a turn, what turns its pieces into events."""

    def __init__(self) -> None:
        self._made = 0

    def __call__(self) -> Events:
        """Begin an attempt."""
        self._made += 1
        return Events(is_again=self._made > 1)


class Events:
    """The events of one attempt."""

    def __init__(self, *, is_again: bool) -> None:
        self._is_again = is_again

    def feed(self, piece: str) -> list[TurnEvent]:
        """Take a piece; return what it tells."""
        first = [TurnEvent("again")] if self._is_again else []
        self._is_again = False
        if isinstance(piece, CallPiece):
            begun = [TurnEvent("call", "", piece.number, piece.name)] if piece.name else []
            return [*first, *begun, *([TurnEvent("arguments", str(piece), piece.number)] if str(piece) else [])]
        return [*first, TurnEvent("thinking" if isinstance(piece, Thought) else "text", str(piece))]


class TurnStream:
    """The events of one turn; `turn` is the turn, once they are over. Closing it stops the model."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._waiting: list[TurnEvent] = []
        self.turn: Turn | None = None

    def __iter__(self) -> Iterator[TurnEvent]:
        return self

    def __next__(self) -> TurnEvent:
        while not self._waiting:
            found = next(self._stream)
            if self._stream.call is not None:
                self.turn = finished(found, self._stream.call)
                raise StopIteration
            self._waiting = found
        return self._waiting.pop(0)

    def close(self) -> None:
        """Stop the model, and record what there was."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncTurnStream:
    """The same, async."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._waiting: list[TurnEvent] = []
        self.turn: Turn | None = None

    def __aiter__(self) -> AsyncIterator[TurnEvent]:
        return self

    async def __anext__(self) -> TurnEvent:
        while not self._waiting:
            found = await anext(self._stream)
            if self._stream.call is not None:
                self.turn = finished(found, self._stream.call)
                raise StopAsyncIteration
            self._waiting = found
        return self._waiting.pop(0)

    async def aclose(self) -> None:
        """Stop the model, and record what there was."""
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

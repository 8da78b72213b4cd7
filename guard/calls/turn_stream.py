"""The events of a turn while it is written, then the turn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal, NamedTuple, Self

from guard.models.base import Thought
from guard.turns.pieces import CallPiece
from guard.turns.turn import Turn


class TurnEvent(NamedTuple):
    """An event of a turn.

    "text" and "thinking" carry a piece of either. "call" begins a call of the tool `name`, and "arguments" carries a
    piece of its arguments as JSON text. "again" means that the turn was invalid and is asked for again: discard all
    earlier events.
    """

    kind: Literal["text", "thinking", "call", "arguments", "again"]
    text: str = ""
    number: int = 0  #: Index of the call within the turn.
    name: str = ""  #: The tool's name, where a call begins.


class Attempts:
    """A factory of `Events`, one for each attempt at a turn."""

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
        """Take a piece of the turn; return its events."""
        first = [TurnEvent("again")] if self._is_again else []
        self._is_again = False
        if isinstance(piece, CallPiece):
            begun = [TurnEvent("call", "", piece.number, piece.name)] if piece.name else []
            return [*first, *begun, *([TurnEvent("arguments", str(piece), piece.number)] if str(piece) else [])]
        return [*first, TurnEvent("thinking" if isinstance(piece, Thought) else "text", str(piece))]


class TurnStream:
    """Iterates over the events of one turn; afterwards `turn` is the turn. Closing it stops the model."""

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
                self.turn = found
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
    """`TurnStream` for async code."""

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
                self.turn = found
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

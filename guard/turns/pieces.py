"""A turn in pieces, while the model writes it: text as it comes, and calls, each its name and then its arguments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Self

from guard.schemas.compiled import single_bytes
from guard.turns import argument_text

if TYPE_CHECKING:
    from guard.schemas.structural.compiled_format import CompiledFormat, TurnPart
    from guard.turns.building import Built

MOST_HEAD = 100  #: Characters before a text in its JSON object.
SHARE = 256  #: A turn is read again once it has grown by one part in so many: O(bytes) in all.
HURRY = 64  #: Pieces behind a mark after each of which a turn is read again, until a call's arguments begin.
MOST_HURRY = 1024  #: The same in a whole turn, so that marks in arguments cost no more.
LONGEST_ESCAPE = len(r"\ud83d\ude00")  #: Characters of a JSON string that may be one escape.
#: What can be decoded of a JSON string's content: up to its closing quote, an incomplete escape, or one that is none.
_INSIDE = re.compile(
    r"""(?:[^"\\]++|\\["\\/bfnrt]|\\u(?![dD][89a-fA-F])[0-9a-fA-F]{4}"""
    r"""|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+"""
)


class CallPiece(str):
    """A piece of a call's arguments as JSON text. The first piece of a call is "" and has the tool's name."""

    __slots__ = ("name", "number")

    number: int  # of the call within the turn, from 0
    name: str  # the tool's, in the first piece; "" in later ones

    def __new__(cls, text: str, number: int, name: str = "") -> Self:
        """Make a piece of the call with that number."""
        piece = super().__new__(cls, text)
        piece.number, piece.name = number, name
        return piece

    def __bool__(self) -> bool:
        """Whether the piece has text or a name."""
        return len(self) > 0 or bool(self.name)


class TurnReader:
    """Reads a turn in a model's own form while it is written, with the automaton that masks it.

    Text that may be the start of a call's mark, or that may yet be thinking, is held back. Arguments come as JSON text
    while they are written, in whatever style (argument_text.py). A call that is cut stays as it was written:
    nothing closes it. From the first byte on that the format refuses, all is text. Belongs to one thread.
    """

    def __init__(self, compiled: CompiledFormat, built: Built) -> None:
        self._compiled, self._built = compiled, built
        self._matcher = compiled.matcher(single_bytes())
        self._data = bytearray()
        self._next = 0  # bytes that must have come before the turn is read again
        self._said = 0  # characters of text already yielded
        self._calls: list[int] = []  # for each call yielded, how many characters of its arguments
        tails = {says.tail for says in built.says.values() if says.tail} | ({built.trigger} - {""})
        self._marks = [joint + tail for tail in tails for joint in ("", *built.joints)] + list(built.joints)
        self._triggers = [tail.encode() for tail in tails if tail.strip()]
        self._hurry, self._hurries = 0, MOST_HURRY
        self._is_refused = False  # the turn has left its format

    def feed(self, piece: str) -> Iterator[str]:
        """Take the next piece that the model wrote; yield new text and CallPieces."""
        if self._is_refused:
            yield piece
            return
        from guard.schemas.structural.compiled_format import accept_most  # imported late: it needs the engine

        data = piece.encode()
        accepted = len(self._data) + accept_most(self._matcher, data)
        self._data += data
        if accepted < len(self._data):
            yield from self._refused(accepted)
            return
        if any(self._data.find(one, max(0, len(self._data) - len(data) - len(one))) >= 0 for one in self._triggers):
            self._hurry = HURRY
        if len(self._data) >= self._next or (self._hurry and self._hurries):
            if len(self._data) < self._next:
                self._hurry, self._hurries = self._hurry - 1, self._hurries - 1
            self._next = len(self._data) + len(self._data) // SHARE + 1
            before = sum(self._calls)
            parts = self._parts()
            if not self._may_be_thinking(parts):
                yield from self._fresh(parts, is_settled=not self._ends_in_text(parts))
            self._hurry = 0 if sum(self._calls) > before else self._hurry

    def end(self) -> Iterator[str]:
        """Yield the rest of a turn that has ended, or was cut."""
        if not self._is_refused:
            yield from self._fresh(self._parts(), is_settled=True, is_whole=self._matcher.can_stop())

    def _parts(self) -> list[TurnPart]:
        return self._compiled.parts(self._matcher, bytes(self._data))

    def _refused(self, accepted: int) -> Iterator[str]:
        """Yield the calls that are complete, and the rest as text; only so many bytes fit the format."""
        from guard.turns import reading

        self._is_refused, data = True, bytes(self._data)
        kept, rest = reading.split(self._compiled.parts(self._matcher, data[:accepted]), data, self._built)
        yield from self._fresh(kept, is_settled=True, is_whole=True)
        yield (folded(kept, self._built)[0] + rest)[self._said :]

    def _fresh(self, parts: list[TurnPart], *, is_settled: bool, is_whole: bool = False) -> Iterator[str]:
        """Yield what was not told of these parts; `is_settled` says that their text, `is_whole` that all has ended."""
        said, calls = folded(parts, self._built)
        text = said if is_settled else said[: len(said) - self._held(said)]
        if fresh := text[self._said :]:
            self._said = len(text)
            yield fresh
        for index, call in enumerate(calls):
            if not (call.parts or call.is_whole or is_whole):
                break  # until arguments begin, its name may be the beginning of another's
            if index == len(self._calls):
                self._calls.append(0)
                yield CallPiece("", index, call.name)
            style, is_done = self._built.style, call.is_whole or is_whole
            arguments = argument_text.written(call.parts, style, is_whole=is_done) if call.parts or is_done else ""
            if delta := arguments[self._calls[index] :]:
                self._calls[index] = len(arguments)
                yield CallPiece(delta, index)

    def _may_be_thinking(self, parts: list[TurnPart]) -> bool:
        """Whether what looks like text may yet turn out to be thinking, or the mark that begins it."""
        from guard.turns import reading

        if self._built.thinking is None:
            return False
        begin, end = (text.encode() for text in self._built.thinking)
        if begin:
            return len(self._data) < len(begin) and begin.startswith(self._data)
        kinds = {says.kind for part in parts if (says := reading.says_of(part, self._built)) is not None}
        return kinds <= {"text"} and end not in self._data

    def _ends_in_text(self, parts: list[TurnPart]) -> bool:
        from guard.turns import reading

        says = reading.says_of(parts[-1], self._built) if parts else None
        return says is not None and says.kind == "text"

    def _held(self, text: str) -> int:
        """Return how many characters at the end of a text may begin a mark, or come before the text."""
        if not self._said and any(lead.startswith(text) for lead in self._built.leads):
            return len(text)
        longest = max(map(len, self._marks), default=0)
        for length in range(min(longest, len(text)), 0, -1):
            end = text[len(text) - length :]
            if any(mark.startswith(end) for mark in self._marks):
                return length
        return 0


class CallSoFar(NamedTuple):
    """A call as far as it has been read."""

    name: str
    parts: list[TurnPart]
    is_whole: bool  #: Whether the call has ended.


def folded(parts: list[TurnPart], built: Built) -> tuple[str, list[CallSoFar]]:
    """Return the text and the calls that the parts of a turn make up."""
    from guard.turns import reading

    said: list[str] = []
    calls: list[CallSoFar] = []
    is_open = False
    for part in parts:
        says = reading.says_of(part, built)
        if says is not None and says.kind in ("call", "id", "arguments"):
            if not is_open:
                calls.append(CallSoFar(says.tool, [], is_whole=False))
                is_open = True
            if says.kind == "arguments":
                calls[-1].parts.append(part)
            continue
        if is_open:
            calls[-1] = calls[-1]._replace(is_whole=True)
            is_open = False
        if says is not None and says.kind == "text":
            said.append(reading.text_of(part, says, built))
    return "".join(said), calls


class Spoken:
    """Reads a text out of a JSON object while that is written: its only or first member, by default "content"."""

    def __init__(self, key: str = "content") -> None:
        self._opening = re.compile(rf'\s*\{{\s*"{re.escape(key)}"\s*:\s*"')
        self._head = ""
        self._is_text: bool | None = None  # None: too little was read to tell
        self._held = ""  # an incomplete escape

    def feed(self, piece: str) -> str:
        """Take a piece of the object's JSON text; return the text that it adds."""
        if self._is_text is None:
            self._head += piece
            opening = self._opening.match(self._head)
            if opening is None:
                self._is_text = None if len(self._head) < MOST_HEAD else False
                return ""
            self._is_text, piece = True, self._head[opening.end() :]
        if not self._is_text:
            return ""
        text = self._held + piece
        whole = _INSIDE.match(text)
        assert whole is not None
        self._held = text[whole.end() :]
        if self._held.startswith('"') or len(self._held) >= LONGEST_ESCAPE:  # it ends, or is no JSON: the check tells
            self._is_text = False
        said: str = json.loads(f'"{whole[0]}"', strict=False)
        return said

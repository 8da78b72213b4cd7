"""Places in a JSON text: the JSON Pointers of the values that are under way at some offsets of it.

The text is read once, from its beginning, and need not be whole. What is looked for is where a budget took away what a
model would have written next (guard/decoding/guide.py), and where a string repeats itself
(guard/decoding/repetition.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from guard.kernels.json_pointer import pointer
from guard.support.clipping import cut_short

_LEXEME = re.compile(rb'"(?:[^"\\]|\\.)*+("?)|[{}\[\],:]|[^\s"{}\[\],:]++', re.DOTALL)
MOST_TEXT = 65_536  #: Characters of a text whose end is looked for: 15 ms.
MOST_POINTER = 2_000  #: Characters of a pointer into what a model wrote as it liked.
MOST_SHOWN = 3  #: Pointers that are named in words; records have all.
LONGEST_SHOWN = 60  #: Characters of one.
_SPACE = b" \t\r\n"
_BEHIND_VALUES = b",]}"  #: What may follow a value, once it has ended.


def pointers(text: bytes, wishes: Iterable[tuple[int, bytes]]) -> tuple[str, ...]:
    """Return the pointers of the values that would have gone on otherwise, each once, in the order of the text.

    A wish is a byte offset and what the text would have gone on with there; offsets ascend. Where another member or
    item was wished for, the value is the object or array. A wish for white space between two lexemes changes no value,
    and is left out. O(text), and O(depth) for each wish.
    """
    return tuple(dict.fromkeys(_wished(text, wishes)))


def pointers_at(text: bytes, offsets: Iterable[int]) -> list[str]:
    """Return the pointer of the value under way at each offset; offsets ascend. O(text), and O(depth) for each."""
    reader = _PlaceReader(text)
    found = []
    for offset in offsets:
        reader.read_until(offset)
        found.append(reader.pointer(is_inside=True))
    return found


def scalars(text: bytes) -> Iterator[tuple[str, int, int]]:
    """Yield the pointer of each string, number and literal of a JSON text, its start and its end; no keys. O(text)."""
    reader = _PlaceReader(text)
    for match in _LEXEME.finditer(text):
        reader.read_until(match.start())
        if match[0] not in b"{}[],:" and not reader.is_at_key:
            yield reader.pointer(is_inside=True), *match.span()


def end_of(text: str) -> tuple[str, ...]:
    """Return the pointer of the value that a text breaks off in, alone; nothing where the text does not begin as JSON.

    A whole value may have gone on as well: the pointer is the root's then. Of a text of more than MOST_TEXT characters,
    or one that ends too deep inside, nothing is told. O(text).
    """
    if len(text) > MOST_TEXT:
        return ()
    begun = text.lstrip()
    if not re.match(r'[{\["0-9tfn-]', begun):
        return ()
    data = begun.encode(errors="replace")
    found = pointers(data, [(len(data), b"x")])
    return found if len(found[0]) <= MOST_POINTER else ()


def listed(pointers: Sequence[str]) -> str:
    """Return pointers in words, of many the first."""
    shown = [cut_short(one, LONGEST_SHOWN) or "(root)" for one in pointers]
    more = f" and {len(shown) - MOST_SHOWN} more places" if len(shown) > MOST_SHOWN else ""
    return f"at {', '.join(shown[:MOST_SHOWN])}{more}"


def _wished(text: bytes, wishes: Iterable[tuple[int, bytes]]) -> Iterator[str]:
    reader = _PlaceReader(text)
    for offset, wish in wishes:
        inside = reader.read_until(offset)
        if inside == "string" or wish.strip(_SPACE):
            has_ended = inside == "scalar" and wish.lstrip(_SPACE)[:1] in _BEHIND_VALUES
            yield reader.pointer(is_inside=inside != "" and not has_ended)


@dataclass
class _Open:
    """An object or array that is not closed."""

    is_object: bool
    phase: Literal["key", "value", "after", "start"]  # what comes next; "start": the first item or the end
    label: str = "0"  # of the member or item that is under way or came last


class _PlaceReader:
    """Reads a text up to ascending offsets."""

    def __init__(self, text: bytes) -> None:
        self._lexemes = _LEXEME.finditer(text)
        self._next = next(self._lexemes, None)  # the first lexeme that is not read
        self._open: list[_Open] = []

    def read_until(self, offset: int) -> Literal["string", "scalar", ""]:
        """Go on to an offset; returns what is under way there: a scalar may have ended, for all that is known."""
        while (match := self._next) is not None:
            lexeme, (start, end) = match[0], match.span()
            if start >= offset:
                break
            if lexeme[:1] == b'"':
                if end > offset or not match[1]:
                    return "string"
            elif lexeme not in b"{}[],:" and end >= offset:
                return "scalar"
            self._take(lexeme)
            self._next = next(self._lexemes, None)
        return ""

    def pointer(self, *, is_inside: bool) -> str:
        """Return the pointer of the value under way. `is_inside`: a string or scalar has begun that is not read."""
        opened = self._open
        if not opened:
            return ""
        last = opened[-1]
        is_member = last.phase == "value" or (is_inside and last.phase == "start")
        return pointer(each.label for each in (opened if is_member else opened[:-1]))

    @property
    def is_at_key(self) -> bool:
        """Whether a key comes next."""
        return bool(self._open) and self._open[-1].phase == "key"

    def _take(self, lexeme: bytes) -> None:
        opened = self._open
        if lexeme == b"{":
            opened.append(_Open(True, "key"))
        elif lexeme == b"[":
            opened.append(_Open(False, "start"))
        elif lexeme in (b"}", b"]"):
            del opened[-1:]
            self._ended()
        elif not opened:
            pass
        elif lexeme == b":":
            opened[-1].phase = "value"
        elif lexeme == b",":
            last = opened[-1]
            last.phase = "key" if last.is_object else "value"
            if not last.is_object:
                last.label = str(int(last.label) + 1)
        elif opened[-1].phase == "key":
            opened[-1].label = _decoded(lexeme)
        else:
            self._ended()

    def _ended(self) -> None:
        """Note that a value has ended."""
        if self._open:
            self._open[-1].phase = "after"


def _decoded(key: bytes) -> str:
    try:
        return str(json.loads(key))
    except ValueError:  # no JSON: shown as it was written
        return key.decode(errors="replace")

"""Large JSON read in pieces: each takes one short call, and other threads run between the calls.

jiter reads a text in one call and keeps the GIL meanwhile: some 30 ms for a hundred thousand values, or for ten
megabytes of escapes. Here a large container is read some members at a time and a long string some characters at a time;
small parts are read several at once. The value is what jiter makes of the whole text. json_pieces.py is the way back.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from typing import Any

import jiter

ONCE = 65_536  #: Bytes of a text that are read at once.
SHORT = ONCE // 8  #: Bytes of a text of which each value may be looked at, and it takes no longer than ONCE bytes.
PIECE = 16_384  #: Bytes of a larger text that one call reads: some 1 ms at most, where a string is no longer.
LONG = 65_536  #: Bytes of a string from which it is divided; a key may not have more.
MOST = 2 * PIECE + 3 * LONG  #: Bytes of a part but for its white space.
DEPTH = 200  #: Most containers that are open at once, as jiter has it; NESTED more may stand inside.
DIGITS = 100  #: A number beyond a float has so many digits in a row, or three digits of exponent.
NESTED = 5  #: Levels of small containers that are found in one step.

_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_INSIDE_OF = rb'(?:[^"\[\]{}]++|' + _STRING + rb")*+"  # a container
for _ in range(NESTED - 1):
    _INSIDE_OF = rb'(?:[^"\[\]{}]++|' + _STRING + rb"|\{" + _INSIDE_OF + rb"\}|\[" + _INSIDE_OF + rb"\])*+"
#: A part of a member; small containers count as a whole. Each alternative begins with another byte: linear time.
_PART = rb'(?:[^"\[\]{},]++|' + _STRING + rb"|\{" + _INSIDE_OF + rb"\}|\[" + _INSIDE_OF + rb"\])"
_PARTS = re.compile(_PART + rb"*+", re.DOTALL)
_MEMBERS = re.compile(rb"(?:" + _PART + rb"*+,)++", re.DOTALL)
_WHOLE_STRING = re.compile(_STRING, re.DOTALL)
#: The inside of a string, cut neither inside an escape nor between two that are one character.
_INSIDE = re.compile(rb'(?:[^"\\]++|\\u[dD][89abAB]..\\u....|\\u(?![dD][89abAB])....|\\[^u])++', re.DOTALL)
_WORD = re.compile(_STRING + rb'|[^ \t\n\r"]++', re.DOTALL)
_SPACE = re.compile(rb"[ \t\n\r]*+")
_PLACE = re.compile(r" at line (\d+) column (\d+)$")
_ALIKE = bytes.maketrans(b"123456789E", b"000000000e")  #: A byte for each that is alike in numbers.
_MANY_DIGITS = b"0" * DIGITS
_CLOSED_BY = {ord("["): ord("]"), ord("{"): ord("}")}
_COMMA, _QUOTE = ord(","), ord('"')


def read(data: bytes) -> Any:
    """Return the value of a JSON text. O(n), each call of O(MOST).

    Raises ValueError where it is not JSON in UTF-8, an object has a key twice, a number with a fraction or an exponent
    is beyond what a float holds, or containers are nested too deeply; in texts of more than ONCE bytes also where a key
    is longer than LONG or a number than MOST.
    """
    return _parsed(data) if len(data) <= ONCE else _PieceReader(data).value()


def _parsed(data: bytes) -> Any:
    value = jiter.from_json(data, catch_duplicate_keys=True, allow_inf_nan=False)
    if data[0] == _QUOTE:
        return value
    if _may_be_beyond(data) and not _is_finite(value):
        raise ValueError("a number is beyond what a float holds at line 1 column 1")
    return value


def weight(data: bytes) -> int:
    """Return the bytes of a text, eight times as many where it is not short and each value is looked at in Python."""
    is_looked_at = SHORT < len(data) <= ONCE and _may_be_beyond(data)
    return len(data) * 8 if is_looked_at else len(data)


def _may_be_beyond(data: bytes) -> bool:
    """Whether a text has a number with very many digits or three of exponent, or a string that looks like one.

    Three times as fast as a regular expression, which would begin with a class of bytes. O(n).
    """
    alike = data.translate(_ALIKE)
    return b"0e000" in alike or b"0e+000" in alike or _MANY_DIGITS in alike


def _is_finite(value: Any) -> bool:
    """Whether no number in a value is infinite, which jiter makes of 1e999. O(n)."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, float) and math.isinf(part):
            return False
        if isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    return True


class _Container:
    """A container that is open. It has a value once a part of it was read; until then it is a part of the outer one."""

    __slots__ = ("begin", "has_comma", "key", "mark", "member", "opened", "value")

    def __init__(self, mark: int, opened: int) -> None:
        self.mark, self.opened = mark, opened  # its bracket, and where that is
        self.begin = self.member = opened + 1  # where what was not read begins, and where the last member of that does
        self.value: list[Any] | dict[str, Any] | None = None
        self.has_comma = False  # before `begin`
        self.key = ""  # of the member that is open


class _PieceReader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._open: list[_Container] = []

    def value(self) -> Any:
        data = self._data
        self._skip_space()
        mark = self._mark()
        if mark == _QUOTE:
            text = self._text()
            self._end()
            return text
        if mark not in _CLOSED_BY:
            scalar = data[self._at :].rstrip(b" \t\n\r")
            if len(scalar) > LONG:
                raise self._error("expected value")
            return _parsed(scalar)
        self._push()
        ended: Any = None
        while self._open:
            container = self._open[-1]
            if members := _MEMBERS.match(data, self._at, self._at + PIECE):
                self._at = container.member = members.end()
                self._read_some(container)
                continue
            if parts := _PARTS.match(data, self._at, self._at + PIECE):
                self._at = parts.end()
            mark = self._mark()
            if mark == _COMMA:
                self._at += 1
                container.member = self._at
                self._read_some(container)
            elif mark in _CLOSED_BY:
                self._push()
            elif mark == _QUOTE:
                self._read_string(container)
            elif mark in _CLOSED_BY.values():
                ended = self._close(container)
        self._end()
        return ended

    def _end(self) -> None:
        self._skip_space()
        if self._at < len(self._data):
            raise self._error("trailing characters")

    def _mark(self) -> int:
        if self._at >= len(self._data):
            raise self._error("EOF while parsing a value")
        return self._data[self._at]

    def _skip_space(self) -> None:
        while (space := _SPACE.match(self._data, self._at, self._at + LONG)) and space.end() > self._at:
            self._at = space.end()

    def _push(self) -> None:
        if len(self._open) == DEPTH:
            raise self._error("recursion limit exceeded")
        self._open.append(_Container(self._data[self._at], self._at))
        self._at += 1

    def _read_some(self, container: _Container) -> None:
        """Read the members so far, if they are many."""
        if self._at - container.begin >= PIECE:
            self._begin_values()
            self._read_members(container)

    def _read_members(self, container: _Container) -> None:
        """Read the members so far. The container must have a value."""
        if container.begin < container.member:
            self._add(container, container.begin, container.member - 1)
            container.begin, container.has_comma = container.member, True

    def _add(self, container: _Container, begin: int, end: int) -> None:
        """Read members without a comma behind them, of which there must be some, but where the container ends."""
        mark, value = container.mark, container.value
        more = self._parsed(bytes((mark,)), begin, end, bytes((_CLOSED_BY[mark],)))
        is_last = self._at == end and not container.has_comma
        if not more and not is_last:
            raise self._error("expected value", end)
        if isinstance(value, list):
            value += more
        elif value is not None:
            size = len(value)
            value |= more
            if len(value) < size + len(more):
                raise self._error("Detected duplicate key", begin)

    def _begin_values(self) -> None:
        """Let all open containers have values, and read the members before those that are open."""
        if self._open[0].value is None:
            self._open[0].value = _fresh(self._open[0])
        for outer, inner in zip(self._open, self._open[1:], strict=False):
            if inner.value is None:
                self._read_members(outer)
                outer.key = self._key(outer, inner.opened)
                inner.value = _fresh(inner)

    def _key(self, container: _Container, end: int) -> str:
        """Return the key of the open member, whose value begins at `end`; "" in an array."""
        begin = container.member
        if isinstance(container.value, list):
            if self._data[begin:end].strip(b" \t\n\r"):
                raise self._error("expected `,` or `]`", end)
            return ""
        (key,) = self._parsed(b"{", begin, end, b"[]}")
        return str(key)

    def _read_string(self, container: _Container) -> None:
        """Read a string that is long, or step over it."""
        if string := _WHOLE_STRING.match(self._data, self._at, self._at + LONG + 2):
            self._at = string.end()
            return
        if container.mark != ord("[") and not self._data[container.member : self._at].strip(b" \t\n\r"):
            raise self._error(f"a key has more than {LONG:,} bytes, or no end")
        self._begin_values()
        self._read_members(container)
        container.key = self._key(container, self._at)
        self._put(container, self._text())

    def _text(self) -> str:
        """Read the string that begins here."""
        self._at += 1
        text = "".join(self._pieces())
        if self._mark() != _QUOTE:
            raise self._error("a string has a wrong escape")
        self._at += 1
        return text

    def _pieces(self) -> Iterator[str]:
        """Yield the inside of a string up to its end, or to what is no string."""
        while (end := self._piece()) > self._at:
            yield str(self._parsed(b'"', self._at, end, b'"'))
            self._at = end

    def _piece(self) -> int:
        """Return where a piece of a string ends, which is cut in no character and no escape."""
        data, at = self._data, self._at
        if data.find(b"\\", at, at + LONG) < 0:
            quote = data.find(b'"', at, at + LONG)
            end = quote if quote >= 0 else min(at + LONG, len(data))
        else:
            inside = _INSIDE.match(data, at, at + PIECE)
            end = inside.end() if inside else at
        for _ in range(3):
            if end < len(data) and data[end] & 0xC0 == 0x80:  # a byte within a character
                end -= 1
        return end

    def _close(self, container: _Container) -> Any:
        """End the innermost container; returns its value, if it has one."""
        at = self._at
        if self._data[at] != _CLOSED_BY[container.mark]:
            raise self._error(f"expected `,` or `{chr(_CLOSED_BY[container.mark])}`")
        if container.value is None and (at - container.opened >= PIECE or len(self._open) == 1):
            self._begin_values()
        if container.value is not None:
            self._read_members(container)
            self._add(container, container.begin, at)
        self._open.pop()
        self._at += 1
        if container.value is not None and self._open:
            self._put(self._open[-1], container.value)
        return container.value

    def _put(self, container: _Container, item: Any) -> None:
        """Add a value that was read by itself, and step over the comma behind it."""
        if isinstance(container.value, list):
            container.value.append(item)
        elif container.value is not None:
            if container.key in container.value:
                raise self._error(f'Detected duplicate key "{container.key[:60]}"')
            container.value[container.key] = item
        self._skip_space()
        container.has_comma = self._mark() == _COMMA
        if container.has_comma:
            self._at += 1
        elif self._mark() != _CLOSED_BY[container.mark]:
            raise self._error(f"expected `,` or `{chr(_CLOSED_BY[container.mark])}`")
        container.begin = container.member = self._at

    def _parsed(self, before: bytes, begin: int, end: int, behind: bytes) -> Any:
        """Return the value of a part of the text between brackets or quotes."""
        is_long = end - begin > MOST
        part = self._closed_up(begin, end) if is_long else self._data[begin:end]
        try:
            return _parsed(b"%b%b%b" % (before, part, behind))
        except ValueError as error:
            words = str(error)
            place = _PLACE.search(words)
            if place is None or is_long:
                raise self._error(_PLACE.sub("", words), begin) from None
            at = begin - 1
            for line in itertools.islice(re.finditer(b"\n", part), int(place[1]) - 1):
                at = begin + line.end()
            raise self._error(words[: place.start()], min(end, at + int(place[2]) - 1)) from None

    def _closed_up(self, begin: int, end: int) -> bytes:
        """Return a part with one space for each white space in it. Only that can make it so long, or a number."""
        data, at = self._data, begin
        words: list[bytes] = []
        while at < end:
            space = _SPACE.match(data, at, min(end, at + LONG))
            if space and space.end() > at:
                words.append(b" ")
                at = space.end()
            elif word := _WORD.match(data, at, min(end, at + LONG + 2)):
                words.append(word[0])
                at = word.end()
            else:
                raise self._error("EOF while parsing a string", at)
        short = b"".join(words)
        if len(short) > MOST:
            raise self._error("a number is too long", begin)
        return short

    def _error(self, words: str, at: int | None = None) -> ValueError:
        at = self._at if at is None else at
        line = 1 + sum(self._data.count(b"\n", begin, min(at, begin + LONG)) for begin in range(0, at, LONG))
        column = at - self._data.rfind(b"\n", 0, at)
        return ValueError(f"{words} at line {line} column {column}")


def _fresh(container: _Container) -> list[Any] | dict[str, Any]:
    return [] if container.mark == ord("[") else {}

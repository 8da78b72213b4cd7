"""The arguments of a call as JSON text, from the parts that the automaton recognised; also while they are written.

The text only grows: what was returned for the beginning of a call begins what is returned for more of it. The last part
of a call that is still written may turn out to be another one, so only a string and a JSON value are taken from it:
where both are allowed, a style tells them apart by their first character. A word such as `None` may be the beginning
of a string and is taken when it is complete.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guard.schemas.structural.compiled_format import TurnPart

_JSON = frozenset("-0123456789[{")  #: What JSON begins with in a style, which writes strings and words itself.
_NO_VALUE, _DUE, _STRING, _DONE = range(4)  # of the member or item that is being written


def written(parts: Sequence[TurnPart], style: Mapping[str, Any] | None, *, is_whole: bool) -> str:
    """Return the arguments as JSON text: one JSON value unchanged, or the members of an exact style.

    `is_whole` closes what is open; otherwise the text ends where the last part may still change. O(text).
    """
    if style is None or not parts:
        return "".join(part.text for part in parts) or ("{}" if is_whole else "")
    text = _Writer(style)
    if is_whole:
        for part in parts:
            text.add(part)
        return text.ended()
    *before, last = parts
    if before and before[-1].kind == "value" != last.kind and isinstance(before[-1].value, str):
        string = before.pop()
        last = string._replace(value=string.value + last.text)  # what seems to end a string may be in it
    for part in before:
        text.add(part)
    text.begin(last)
    return "".join(text.out)


class _Writer:
    """Writes nested objects and arrays from keys, items and values in the order of the text."""

    def __init__(self, style: Mapping[str, Any]) -> None:
        self.out = ["{"]
        self._style, self._endings = style, [*_endings(style)]
        self._open = ["}"]  # what closes each container
        self._empty = True  # whether the innermost container has nothing in it yet
        self._bare: set[int] = set()  # depths of containers that end with the member or item which holds them
        self._key = ""
        self._at = _NO_VALUE

    def add(self, part: TurnPart) -> None:
        """Add a part that is complete."""
        kind = part.kind
        if kind == "value" and isinstance(part.value, str):
            self._string(part.value)
        elif kind == "string":
            self._string("")
        else:
            self._end_string()
            if kind == "value":
                self._put(part.text if part.text[:1] in _JSON else json.dumps(part.value))
            elif kind in ("key", "item"):
                self._member(kind, part.value)
            elif kind in ("array", "object"):
                self._container(kind)
            elif kind == "end":
                self._leave()
            elif kind == "close":
                self._close()

    def begin(self, part: TurnPart) -> None:
        """Add what is certain of a part that is not complete."""
        if part.kind != "value":
            return
        if isinstance(part.value, str):
            if certain := part.value[: len(part.value) - self._held(part.value)]:
                self._string(certain)
        elif part.text[:1] in _JSON:
            self._put(part.text)

    def ended(self) -> str:
        """Close what is open; return the whole text."""
        self._end_string()
        while self._open:
            self._leave()
        return "".join(self.out)

    def _string(self, text: str) -> None:
        if self._at != _STRING:
            self._put('"')
        self._at = _STRING
        self.out.append(json.dumps(text, ensure_ascii=False)[1:-1])

    def _end_string(self) -> None:
        if self._at == _STRING:
            self.out.append('"')
            self._at = _DONE

    def _put(self, text: str) -> None:
        self.out.append(text)
        self._at, self._empty = _DONE, False

    def _member(self, kind: str, key: Any) -> None:
        """Begin a member or an item, in the open container or in a new one without an opening text."""
        if self._at == _DUE:
            self._container("object" if kind == "key" else "array")
        self.out.append("" if self._empty else ", ")
        if kind == "key":
            self.out.append(f"{json.dumps(key, ensure_ascii=False)}: ")
            self._key = key
        self._at, self._empty = _DUE, False

    def _container(self, kind: str) -> None:
        if not self._style[kind].get("end"):
            self._bare.add(len(self._open))
        brackets = "[]" if kind == "array" else "{}"
        self.out.append(brackets[0])
        self._open.append(brackets[1])
        self._at, self._empty = _NO_VALUE, True

    def _leave(self) -> None:
        """Close the innermost container."""
        if self._at == _DUE:
            self.out.append('""')  # a raw string without characters
        if self._open:
            self._bare.discard(len(self._open) - 1)
            self._put(self._open.pop())

    def _close(self) -> None:
        """End a member or an item, and a container in it that has no ending text."""
        if self._at == _DUE:
            self.out.append('""')
        elif self._at == _NO_VALUE and len(self._open) - 1 in self._bare:
            self._leave()
        self._at = _NO_VALUE

    def _held(self, text: str) -> int:
        """Return how many characters at the end of a string may be its end or an escape, or begin one."""
        endings = [ending.replace("{key}", self._key) for ending in self._endings]
        for length in range(min(len(text), max(map(len, endings), default=0)), 0, -1):
            if any(ending.startswith(text[len(text) - length :]) for ending in endings):
                return length
        return 0


def _endings(style: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts that end a string in a style, and its escapes."""
    for name in ("members", "array", "object"):
        if closing := (style.get(name) or {}).get("closing"):
            yield closing
    for quotes in (*(style.get("strings") or ()), *(style.get("nested_strings") or ())):
        yield quotes["end"]
        yield from quotes.get("escapes", {}).values()

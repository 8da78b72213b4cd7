"""What a prompt states, beside an answer to it: what the answer says without it, and what it leaves out of it.

A text is stated where it stands in the prompt, whatever its case and white space; a number, where the prompt has it in
any notation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from guard.schemas.grounding.normal_form import compared
from guard.schemas.grounding.stated_numbers import numbers
from guard.support.subschemas import applying

DEPTH = 3  #: Objects left out whose own members are looked at, one inside the other.
MOST_MEMBERS = 1_000  #: Most members left out that are looked at.
MOST_WORK = 100_000_000  #: Most characters of the prompt that texts are looked for in, counted each time: about 0.1 s.
_NUMBERS = frozenset({"number", "integer"})


class PromptValues:
    """The texts and numbers of one prompt. Building it takes O(characters). Belongs to one thread."""

    def __init__(self, prompt: str) -> None:
        self._text = compared(prompt).casefold()
        self._numbers: dict[tuple[int, int], set[Decimal]] = {}  # by place; some notations are ambiguous
        for value, places in numbers(prompt).items():
            for place in places:
                self._numbers.setdefault(place, set()).add(value)
        self._values = set().union(*self._numbers.values())
        self._work = 0

    @property
    def is_exhausted(self) -> bool:
        """Whether there was too much to look for: then what it said does not count."""
        return self._work > MOST_WORK

    def unstated(self, value: Any) -> int:
        """Return the characters of a value's texts and numbers that the prompt does not state."""
        return sum(len(str(leaf)) for leaf in leaves(value) if not self._has(leaf))

    def missed(self, value: Any, schema: Any, root: Any) -> int:
        """Return how many members a value leaves out although the prompt states something that would fit.

        That is a text of the member's enum, or a number that the value does not have. `schema` is a part of `root`.
        """
        named, unfilled = 0, 0
        for about in _left_out(value, schema, root):
            texts = [text for part in about for text in part.get("enum", ()) if isinstance(text, str)]
            if any(map(self._names, texts)):
                named += 1
            elif any(_NUMBERS & set(_types(part)) for part in about):
                unfilled += 1
        return named + min(unfilled, self._unused(value)) if unfilled else named

    def _has(self, leaf: str | float) -> bool:
        if isinstance(leaf, str):
            return self._finds(compared(leaf).casefold())
        return Decimal(str(leaf)) in self._values

    def _names(self, text: str) -> bool:
        """Whether a text stands in the prompt as words of their own."""
        wanted = compared(text).casefold()
        if not wanted or not self._finds(wanted):
            return False
        return re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", self._text) is not None

    def _finds(self, text: str) -> bool:
        self._work += len(self._text)
        return not self.is_exhausted and text in self._text

    def _unused(self, value: Any) -> int:
        """Return how many numbers of the prompt a value does not have, in its texts neither."""
        used: set[Decimal] = set()
        for leaf in leaves(value):
            used |= set(numbers(leaf)) if isinstance(leaf, str) else {Decimal(str(leaf))}
        return sum(1 for values in self._numbers.values() if not values & used)


def leaves(value: Any) -> Iterator[str | float]:
    """Yield the texts and numbers in a JSON value, without keys."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
        elif part is not None and not isinstance(part, bool):
            yield part


def _left_out(value: Any, schema: Any, root: Any) -> Iterator[list[Mapping[str, Any]]]:
    """Yield the schemas of each declared member that objects in a value do not have; MOST_MEMBERS at most."""
    waiting: list[tuple[Any, list[Any], int]] = [(value, [schema], 0)]
    count = 0
    while waiting and count < MOST_MEMBERS:
        part, schemas, depth = waiting.pop()
        about = list(applying(schemas, root))
        if isinstance(part, list):
            items = [one["items"] for one in about if "items" in one]
            waiting += [(item, items, depth) for item in part if items]
        if not isinstance(part, dict):
            continue
        declared: dict[str, list[Any]] = {}
        for one in about:
            for name, member in one.get("properties", {}).items():
                declared.setdefault(name, []).append(member)
        for name, members in declared.items():
            if name in part:
                waiting.append((part[name], members, depth))
                continue
            count += 1
            parts = list(applying(members, root))
            yield parts
            if depth < DEPTH and any("object" in _types(one) for one in parts):
                waiting.append(({}, members, depth + 1))


def _types(schema: Mapping[str, Any]) -> list[Any]:
    found = schema.get("type", [])
    return found if isinstance(found, list) else [found]

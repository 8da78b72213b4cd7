"""The grounded values of an answer, with the places where the inputs state them.

In a union, the branch that the value is valid by counts; of several, the first whose grounded values are all stated.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from guard.schemas.documents import Documents
from guard.schemas.grounding.keyword import KEYWORD, SourceRule, rule_of
from guard.schemas.grounding.sources import Place, Sources
from guard.schemas.scan import grounded_positions

Path = tuple[str | int, ...]
_Below: TypeAlias = tuple[Any, Any, Path]
MOST_JUDGED = 10_000_000  #: Most values of an answer that are judged by branches of unions, counted each time: seconds.


@dataclass(frozen=True)
class Grounded:
    """A grounded value, its JSON Pointer, and its places."""

    path: Path
    rule: SourceRule
    value: str | Decimal
    places: tuple[Place, ...]  # empty: no input states it


class TooMuchWorkError(Exception):
    """Finding the grounded values of an answer takes more than MOST_JUDGED."""


class GroundedWalk:
    """A walk over answers by one schema. `is_valid` tells whether a value is valid by the schema at a position."""

    def __init__(self, documents: Documents, is_valid: Callable[[int, Any], bool]) -> None:
        self.documents, self.is_valid = documents, is_valid
        self.around = grounded_positions(documents)
        self.rules = {at: rule_of(documents.schemas[at]) for at in self.around if KEYWORD in documents.schemas[at]}

    def grounded(self, value: Any, sources: Sources, written: Any = None) -> list[Grounded]:
        """Return the grounded values of a valid answer, in order, each once.

        `written` is the answer with decimals instead of floats, which round long ones. Raises RecursionError where the
        answer is nested too deeply, and TooMuchWorkError.
        """
        walk = _AnswerWalk(self, sources, value if written is None else written)
        return list(walk.at(self.documents.root, value, ()).values())


#: Grounded values by their place in the answer, and the rule for them.
_Found: TypeAlias = dict[tuple[Path, SourceRule], Grounded]


class _AnswerWalk:
    """A walk over one answer. What a schema says of a place is found once, however many ways lead there."""

    def __init__(self, walk: GroundedWalk, sources: Sources, written: Any) -> None:
        self._walk, self._documents, self._sources, self._written = walk, walk.documents, sources, written
        self._known: dict[tuple[int, Path], _Found] = {}
        self._work = 0

    def at(self, position: int, value: Any, path: Path) -> _Found:
        """Return the grounded values of a place by the schema at a position."""
        if position not in self._walk.around:
            return {}
        if (known := self._known.get((position, path))) is not None:
            return known
        schema, dialect = self._documents.schemas[position], self._documents.homes[position].dialect
        if dialect.ref_alone and "$ref" in schema:
            schema = {"$ref": schema["$ref"]}
        out: _Found = {}
        rule = self._walk.rules.get(position) if KEYWORD in schema else None
        if rule is not None and isinstance(value, str | int | float) and not isinstance(value, bool):
            given = value if isinstance(value, str) else self._exact(value, path)
            out[path, rule] = Grounded(path, rule, given, tuple(self._sources.places(rule, given)))
        for keyword, child in schema.items():
            if keyword not in dialect.keywords:
                continue
            if (position, keyword) in self._documents.targets:
                out |= self.at(self._documents.targets[position, keyword].position, value, path)
            elif keyword in ("anyOf", "oneOf"):
                out |= self._branch(position, child, value, path)
            elif keyword == "if":
                is_met = self._is_valid(self._place(position, child), value)
                branch = schema.get("then" if is_met else "else", True)
                out |= self.at(self._place(position, branch), value, path)
            else:
                for below, inner, steps in _below(schema, dialect.keywords, keyword, child, value):
                    out |= self.at(self._place(position, below), inner, path + steps)
        self._known[position, path] = out
        self._count(1 + len(out))
        return out

    def _branch(self, position: int, branches: list[Any], value: Any, path: Path) -> _Found:
        first: _Found | None = None
        for branch in branches:
            at = self._place(position, branch)
            if not self._is_valid(at, value):
                continue
            found = self.at(at, value, path)
            if all(one.places for one in found.values()):
                return found
            first = found if first is None else first
        return first or {}

    def _is_valid(self, position: int, value: Any) -> bool:
        self._count(size(value))
        return self._walk.is_valid(position, value)

    def _count(self, work: int) -> None:
        self._work += work
        if self._work > MOST_JUDGED:
            raise TooMuchWorkError

    def _exact(self, number: Any, path: Path) -> Decimal:
        """Return the number at a place as it is written."""
        if isinstance(number, float):
            number = functools.reduce(operator.getitem, path, self._written)
        return number if isinstance(number, Decimal) else Decimal(repr(number))

    def _place(self, position: int, child: Any) -> int:
        if not isinstance(child, dict) or not child:
            return 0
        return self._documents.homes[position].document.places.get(id(child), 0)


def size(value: Any) -> int:
    """Return the number of values in a value, itself among them."""
    count, left = 0, [value]
    while left:
        part = left.pop()
        count += 1
        if isinstance(part, dict):
            left += part.values()
        elif isinstance(part, list):
            left += part
    return count


def _below(schema: Any, keywords: Container[str], keyword: str, child: Any, value: Any) -> Iterator[_Below]:
    """Yield each subschema with the value that it applies to and the steps to that value.

    No pattern is asked: beside patternProperties, nothing in additionalProperties may be grounded.
    """
    if keyword == "allOf":
        yield from ((branch, value, ()) for branch in child)
    elif isinstance(value, dict):
        if keyword == "properties":
            yield from ((child[name], inner, (name,)) for name, inner in value.items() if name in child)
        elif keyword == "additionalProperties":
            named = schema.get("properties", {})
            yield from ((child, inner, (name,)) for name, inner in value.items() if name not in named)
        elif keyword in ("dependentSchemas", "dependencies"):
            yield from ((below, value, ()) for name, below in child.items() if name in value)
    elif isinstance(value, list):
        if keyword == "prefixItems" or (keyword == "items" and isinstance(child, list)):
            yield from ((below, inner, (i,)) for i, (below, inner) in enumerate(zip(child, value, strict=False)))
        elif keyword == "items":
            start = len(schema.get("prefixItems", ())) if "prefixItems" in keywords else 0
            yield from ((child, inner, (i,)) for i, inner in enumerate(value[start:], start))
        elif keyword == "additionalItems" and isinstance(schema.get("items"), list):
            start = len(schema["items"])
            yield from ((child, inner, (i,)) for i, inner in enumerate(value[start:], start))

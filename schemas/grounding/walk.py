"""The grounded values of an answer, with the places where the inputs state them.

In a union, the branch that the value is valid by counts; of several, the first whose grounded values are all stated.
A reader of types may also take a value that its schema does not: `"12"` for a number, a member by another name. Where
such a value may hide a grounded one, that is found as one that no input states.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from guard.schemas.documents import Documents
from guard.schemas.grounding.keyword import KEYWORD, SourceRule, is_optional, rule_of
from guard.schemas.grounding.sources import Place, Sources
from guard.schemas.scan import grounded_positions

Path = tuple[str | int, ...]
_Below: TypeAlias = tuple[Any, Any, Path]
MOST_JUDGED = 10_000_000  #: Most values of an answer that are judged by branches of unions, counted each time: seconds.


@dataclass(frozen=True)
class Grounded:
    """A grounded value, its JSON Pointer, and its places."""

    path: Path
    rule: SourceRule | None  # None: the value is in another form than its schema says, and may hide grounded ones
    value: Any  # a text or Decimal; else what stands there in its stead, which no input states
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
        """Return the grounded values of an answer, in order, each once.

        `written` is the answer with decimals instead of floats, which round long ones. Raises RecursionError where the
        answer is nested too deeply, and TooMuchWorkError.
        """
        walk = _AnswerWalk(self, sources, value if written is None else written)
        return list(walk.at(self.documents.root, value, ()).values())


#: Grounded values by their place in the answer, and the rule for them.
_Found: TypeAlias = dict[tuple[Path, SourceRule | None], Grounded]


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
        if rule is not None:
            out |= self._by_rule(rule, schema, value, path)
        elif self._is_hidden(position, schema, value) and not self._is_valid(position, value):
            out[path, None] = Grounded(path, None, value, ())
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

    def _by_rule(self, rule: SourceRule, schema: Any, value: Any, path: Path) -> _Found:
        """Return the value under a rule, with its places where it is of the rule's type."""
        if value is None and is_optional(schema):
            return {}
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        places: list[Place] = []
        if is_number if rule.kind == "number" else isinstance(value, str):
            value = self._exact(value, path) if is_number else value
            places = self._sources.places(rule, value)
        return {(path, rule): Grounded(path, rule, value, tuple(places))}

    def _is_hidden(self, position: int, schema: Any, value: Any) -> bool:
        """Whether rules below a position miss the value or a member of it, if a schema does not hold for it."""

        def holds_rules(child: Any) -> bool:
            return self._place(position, child) in self._walk.around

        named = {name for name, child in schema.get("properties", {}).items() if holds_rules(child)}
        if not isinstance(value, dict):
            if named or holds_rules(schema.get("additionalProperties")):
                return True
        elif not named <= value.keys() and not value.keys() <= schema["properties"].keys():
            return True
        if isinstance(value, list):
            return False
        items = [schema.get(keyword) for keyword in ("items", "prefixItems", "additionalItems")]
        return any(holds_rules(child) for one in items for child in (one if isinstance(one, list) else [one]))

    def _branch(self, position: int, branches: list[Any], value: Any, path: Path) -> _Found:
        """Return those of the branch that counts; of all branches where a type's reader may have taken any of them."""
        first: _Found | None = None
        places = [self._place(position, branch) for branch in branches]
        for at in places:
            if not self._is_valid(at, value):
                continue
            found = self.at(at, value, path)
            if all(one.places for one in found.values()):
                return found
            first = found if first is None else first
        if first is None:
            return {key: one for at in places for key, one in self.at(at, value, path).items()}
        return first

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

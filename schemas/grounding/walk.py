"""The grounded values of an answer, with the places where the inputs state them.

In a union, the branch that the value is valid by counts; of several, the first whose grounded values are all stated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from guard.schemas.documents import Documents
from guard.schemas.grounding.keyword import KEYWORD, SourceRule, rule_of
from guard.schemas.grounding.sources import Place, Sources
from guard.schemas.scan import inexact_positions

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Grounded:
    """A grounded value, its JSON Pointer, and its places."""

    path: Path
    rule: SourceRule
    value: str | Decimal
    places: tuple[Place, ...]  # empty: no input states it


class GroundedWalk:
    """A walk over answers by one schema. `is_valid` tells whether a value is valid by the schema at a position."""

    def __init__(self, documents: Documents, is_valid: Callable[[int, Any], bool]) -> None:
        self._documents, self._is_valid = documents, is_valid
        said = [at for at in range(2, len(documents.schemas)) if KEYWORD in documents.schemas[at]]
        self._around = inexact_positions(documents, frozenset((at, KEYWORD) for at in said))
        self._rules = {at: rule_of(documents.schemas[at]) for at in said}

    def grounded(self, value: Any, sources: Sources) -> list[Grounded]:
        """Return the grounded values of a valid answer, in order; RecursionError where it is nested too deeply."""
        return self._at(self._documents.root, value, (), sources)

    def _at(self, position: int, value: Any, path: Path, sources: Sources) -> list[Grounded]:
        if position not in self._around:
            return []
        schema = self._documents.schemas[position]
        keywords = self._documents.homes[position].dialect.keywords
        out: list[Grounded] = []
        if position in self._rules and isinstance(value, str | int | float) and not isinstance(value, bool):
            rule = self._rules[position]
            given = value if isinstance(value, str) else Decimal(repr(value))
            out.append(Grounded(path, rule, given, tuple(sources.places(rule, given))))
        for keyword, child in schema.items():
            if keyword not in keywords:
                continue
            if (position, keyword) in self._documents.targets:
                out += self._at(self._documents.targets[position, keyword].position, value, path, sources)
            elif keyword in ("anyOf", "oneOf"):
                out += self._branch(position, child, value, path, sources)
            elif keyword == "if":
                is_met = self._is_valid(self._place(position, child), value)
                branch = schema.get("then" if is_met else "else", True)
                out += self._at(self._place(position, branch), value, path, sources)
            else:
                for below, inner, steps in self._below(schema, keyword, child, value):
                    out += self._at(self._place(position, below), inner, path + steps, sources)
        return out

    def _branch(self, position: int, branches: list[Any], value: Any, path: Path, sources: Sources) -> list[Grounded]:
        first: list[Grounded] | None = None
        for branch in branches:
            at = self._place(position, branch)
            if not self._is_valid(at, value):
                continue
            found = self._at(at, value, path, sources)
            if all(one.places for one in found):
                return found
            first = found if first is None else first
        return first or []

    @staticmethod
    def _below(schema: Any, keyword: str, child: Any, value: Any) -> Iterator[tuple[Any, Any, Path]]:
        """Yield each subschema with the value that it applies to and the steps to that value."""
        if keyword == "allOf":
            yield from ((branch, value, ()) for branch in child)
        elif isinstance(value, dict):
            if keyword == "properties":
                yield from ((child[name], inner, (name,)) for name, inner in value.items() if name in child)
            elif keyword == "additionalProperties":
                named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
                for name, inner in value.items():
                    if name not in named and not any(re.search(pattern, name) for pattern in patterns):
                        yield child, inner, (name,)
            elif keyword in ("dependentSchemas", "dependencies"):
                yield from ((below, value, ()) for name, below in child.items() if name in value)
        elif isinstance(value, list):
            if keyword == "prefixItems" or (keyword == "items" and isinstance(child, list)):
                yield from ((below, inner, (i,)) for i, (below, inner) in enumerate(zip(child, value, strict=False)))
            elif keyword == "items":
                start = len(schema.get("prefixItems", ()))
                yield from ((child, inner, (i,)) for i, inner in enumerate(value[start:], start))
            elif keyword == "additionalItems" and isinstance(schema.get("items"), list):
                start = len(schema["items"])
                yield from ((child, inner, (i,)) for i, inner in enumerate(value[start:], start))

    def _place(self, position: int, child: Any) -> int:
        if not isinstance(child, dict) or not child:
            return 0
        return self._documents.homes[position].document.places.get(id(child), 0)

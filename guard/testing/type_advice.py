"""What to change in a type so that a model fills it better, from answers to some documents; with figures.

A field is a leaf of the type's objects; a list is one field. Nothing here asks a model: `guard advise` does
(guard/cli/advise.py), and hands over what came of it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from guard.kernels.json_pointer import pointer
from guard.schemas.grounding.keyword import KEYWORD, Kind, SourceRule, Within, is_optional
from guard.schemas.grounding.sources import Sources
from guard.support.json_equality import are_equal

LEAST = 3  #: Answers from which on a field is judged.
MOST = 0.8  #: Of the answers, the share that makes a habit.
STATED: Mapping[str, str] = {"quoted": "guard.Quoted()", "number": "guard.Stated()", "date": "guard.Stated()"}

#: A field's name in each object on the way to it.
Path = tuple[str, ...]


@dataclass(frozen=True)
class Field:
    """A field of a type, as its schema tells."""

    path: Path
    kind: Kind | None  # as what an input may state it; None: a category, a boolean, something else
    is_marked: bool
    is_optional: bool
    categories: tuple[Any, ...] = ()

    @property
    def name(self) -> str:
        """The field's name, with those of the objects around it."""
        return ".".join(self.path)


@dataclass(frozen=True)
class Reading:
    """One document and what became of it."""

    text: str
    value: Any = None  # the answer as JSON; None where there is none
    unstated: tuple[str, ...] = ()  # JSON Pointers of values that the document does not state, and the type demands
    right: Mapping[str, Any] | None = None  # the right answer, where it is known
    confidence: Mapping[str, float] = field(default_factory=dict)  # by JSON Pointer


@dataclass(frozen=True)
class Advice:
    """One thing to change."""

    field: str
    rule: str  # which: "quote", "state", "never right", …
    words: str


@dataclass
class Figures:
    """How a field fares."""

    about: Field
    answers: int = 0
    nulls: int = 0
    stated: int = 0  # of the values that are not null, those that stand in the document
    right: int | None = None  # None: no right answers are known
    compared: int = 0
    confidence: list[float] = field(default_factory=list)
    chosen: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for programs."""
        sure = round(sum(self.confidence) / len(self.confidence), 3) if self.confidence else None
        return {
            "field": self.about.name,
            "answers": self.answers,
            "null": self.nulls,
            "stated": self.stated if self.about.kind else None,
            "right": self.right,
            "compared": self.compared,
            "confidence": sure,
        }


def fields_of(schema: Any) -> list[Field]:
    """Return the fields of a JSON Schema of an object, in order; none where it is of something else."""
    return list(_fields(schema, schema, (), 0))


def measured(fields: Sequence[Field], readings: Sequence[Reading]) -> list[Figures]:
    """Return the figures of each field over the documents that were answered."""
    out = [Figures(one) for one in fields]
    for reading in readings:
        if reading.value is None:
            continue
        sources = Sources({"text": reading.text})
        for figures in out:
            value = _at(reading.value, figures.about.path)
            figures.answers += 1
            figures.nulls += value is None
            if value is not None and figures.about.kind is not None:
                figures.stated += _is_stated(sources, figures.about.kind, value)
            if figures.about.categories:
                figures.chosen[str(value)] += 1
            if reading.right is not None and figures.about.path[0] in reading.right:
                figures.compared += 1
                figures.right = (figures.right or 0) + are_equal(value, _at(reading.right, figures.about.path))
            at = pointer(figures.about.path)
            figures.confidence += [reading.confidence[at]] if at in reading.confidence else []
    return out


def advised(figures: Sequence[Figures], readings: Sequence[Reading]) -> list[Advice]:
    """Return what to change, field by field, then the order."""
    out = [advice for one in figures for advice in _of_field(one, readings)]
    return out + _order([one.about for one in figures], readings)


def _of_field(figures: Figures, readings: Sequence[Reading]) -> Iterator[Advice]:
    about, answers = figures.about, figures.answers
    name, values = about.name, answers - figures.nulls
    at = pointer(about.path)
    unstated = sum(at in reading.unstated for reading in readings)
    if unstated and not about.is_optional:
        words = (
            f"{unstated} of {len(readings)} documents state no such value, so that there is no answer; let it be null"
        )
        yield Advice(name, "optional", words)
    if answers < LEAST:
        return
    if about.kind is not None and not about.is_marked and values >= LEAST:
        invented = values - figures.stated
        if figures.stated >= MOST * values or (invented and figures.right is not None and figures.stated):
            more = f"; {invented} stand nowhere, which that makes impossible" if invented else ""
            words = (
                f"{figures.stated} of {values} values stand in the document{more}; mark it with {STATED[about.kind]}"
            )
            yield Advice(name, "quote" if about.kind == "quoted" else "state", words)
        elif not figures.stated:
            yield Advice(name, "derived", f"none of {values} values stands in the document: it is derived, or invented")
    if figures.right == 0 and figures.compared >= LEAST:
        words = (
            f"right in none of {figures.compared} documents; describe it, give examples, or leave it to another model"
        )
        yield Advice(name, "never right", words)
    if figures.nulls == answers:
        yield Advice(name, "always null", f"null in all {answers} documents; leave it out, or describe where it stands")
    if about.categories and len(about.categories) > 1:
        missed = [category for category in about.categories if not figures.chosen[str(category)]]
        ruling = [category for category in about.categories if figures.chosen[str(category)] == answers]
        if ruling:
            yield Advice(
                name, "one category", f"{ruling[0]!r} was chosen in all {answers} documents; describe the others"
            )
        elif missed and answers >= LEAST * len(about.categories):
            words = (
                f"never chosen in {answers} documents: {', '.join(map(repr, missed))}; describe them, or leave them out"
            )
            yield Advice(name, "never chosen", words)


def _order(fields: Sequence[Field], readings: Sequence[Reading]) -> list[Advice]:
    """Return which neighbours stand in the documents the other way round."""
    out = []
    for one, other in itertools.pairwise(fields):
        both = turned = 0
        for reading in readings:
            places = [_first_place(reading, about) for about in (one, other)]
            if places[0] is not None and places[1] is not None:
                both += 1
                turned += places[1] < places[0]
        if both >= LEAST and turned >= MOST * both:
            words = f"in {turned} of {both} documents, {other.name} stands in front of it; put it behind {other.name}"
            out.append(Advice(one.name, "order", words))
    return out


def _first_place(reading: Reading, about: Field) -> int | None:
    given = reading.right if reading.right is not None else reading.value
    value = None if given is None else _at(given, about.path)
    if value is None or about.kind is None:
        return None
    first = value[0] if isinstance(value, list) and value else value
    places = _places(Sources({"text": reading.text}), about.kind, first)
    return min((place.start for place in places), default=None)


def _is_stated(sources: Sources, kind: Kind, value: Any) -> bool:
    return all(_places(sources, kind, one) for one in (value if isinstance(value, list) else [value]))


def _places(sources: Sources, kind: Kind, value: Any) -> Sequence[Any]:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ()
    within: Within = "paragraph"
    sought = Decimal(str(value)) if kind == "number" else str(value)
    return sources.places(SourceRule(kind, within=within), sought)


def _at(value: Any, path: Path) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _fields(schema: Any, root: Any, path: Path, depth: int) -> Iterator[Field]:
    said, optional = _resolved(schema, root)
    if isinstance(said.get("properties"), Mapping) and depth < 8:
        for name, below in said["properties"].items():
            yield from _fields(below, root, (*path, name), depth + 1)
        return
    if not path:
        return
    items, _ = _resolved(said["items"], root) if isinstance(said.get("items"), Mapping) else (said, False)
    categories = tuple(items.get("enum", ())) or ((items["const"],) if "const" in items else ())
    kind = None if categories else _kind(items)
    yield Field(path, kind, KEYWORD in items, optional, categories if items is said else ())


def _resolved(schema: Any, root: Any) -> tuple[Mapping[str, Any], bool]:
    """Return what a schema says of a value that is not null, and whether null may come instead."""
    optional = False
    for _ in range(8):
        if not isinstance(schema, Mapping):
            return {}, optional
        optional = optional or is_optional(schema)
        branches = schema.get("anyOf", schema.get("oneOf"))
        if isinstance(branches, list):
            others = [
                branch for branch in branches if not (isinstance(branch, Mapping) and branch.get("type") == "null")
            ]
            optional = optional or len(others) < len(branches)
            if len(others) != 1:
                return {}, optional
            schema = others[0]
        elif isinstance(schema.get("$ref"), str) and schema["$ref"].startswith("#/$defs/"):
            schema = root.get("$defs", {}).get(schema["$ref"].removeprefix("#/$defs/"))
        else:
            return schema, optional
    return {}, optional


def _kind(schema: Mapping[str, Any]) -> Kind | None:
    types = schema.get("type")
    names = {types} if isinstance(types, str) else set(types or ())
    names -= {"null"}
    if names == {"string"}:
        form = schema.get("format")
        return "date" if form == "date" else None if form in ("date-time", "time", "duration") else "quoted"
    return "number" if names and names <= {"number", "integer"} else None

"""Contradictions: what of a schema nothing can meet, found by asking the engine for a value of it.

A question is a record (ops.py), such as "this schema, and that branch of it": it is answered where the engine knows
whether some value meets it. Questions have nodes and an engine of their own, so that the schema's own tables do not
grow by them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from guard.kernels import json_pointer
from guard.kernels._native import Engine, Explorer
from guard.kernels.errors import Finding, SchemaError
from guard.kernels.unicode_text import is_unicode
from guard.schemas.documents import Documents
from guard.schemas.grounding.keyword import KEYWORD
from guard.schemas.literals import literals
from guard.schemas.lowering import Lowering
from guard.schemas.ops import ARRAY, FALSE, OBJECT, TRUE, Op, Record
from guard.schemas.scan import UNCOUNTED, is_uncounted

SECONDS = 0.2  #: For which a schema's contradictions are looked for, once it is known that it has some.
PORTION = 0.2  #: Of the seconds of an exploration, what branches may take that nothing can meet.
MOST = 5_000  #: Schemas inside of it that are looked into for them.
MOST_PLACES = 3  #: Places that a contradiction is said to be in.
MOST_KEYWORDS = 40  #: Of one schema that are left out in turn, to see which contradict each other.

NOTHING = "nothing can meet it"
AMEND = "correct what contradicts it, or leave it out"  #: Where the rest of the schema can be met.

#: The keyword that holds a branch, and which of the keyword's it is.
Path: TypeAlias = tuple[str | int, ...]


class Questioned(Protocol):
    """A schema that is asked about: a front end (compiled.py)."""

    @property
    def documents(self) -> Documents:
        """Return what it is made of."""
        ...

    @property
    def lowering(self) -> Lowering:
        """Return what lowers its nodes."""
        ...

    def lower(self, nodes: list[int]) -> list[Record]:
        """Return the records of nodes."""
        ...

    def without(self, node: int, keyword: str) -> Record:
        """Return the record that a node would have if its schema lacked a keyword."""
        ...

    def engine(self, lower: Callable[[list[int]], list[Record]]) -> Engine:
        """Return an engine that asks for its records so."""
        ...


def emptiness(engine: Engine, nodes: Iterable[int], seconds: float) -> dict[int, bool]:
    """Return which nodes nothing meets, as far as that is known after about so many seconds."""
    nodes, until = list(dict.fromkeys(nodes)), time.monotonic() + seconds
    native = Explorer(engine, 0)
    for node in nodes:
        native.add(node)
    asked = []
    for node in nodes:  # it takes one up at a time, in this order, and what those lead to after them
        if time.monotonic() > until:
            break
        try:
            native.run(0.0)
            asked.append(node)
        except SchemaError as error:
            if error.limit == "memory":  # which all of them need
                break
    empty = set(native.empty())
    return {node: node in empty for node in asked}


def contradiction(front: Questioned, empty: Iterable[int], within: str = "") -> Finding:
    """Return what is to be said of a schema that no value meets, nor the schemas inside of it at these positions.

    `within` is the JSON Pointer of the schema where that is not the whole.
    """
    places = {front.documents.pointer(position): position for position in empty}
    inside = [place for place in places if place == within or place.startswith(f"{within}/")]
    schemas = front.documents.schemas
    deepest = sorted(inside, key=lambda place: (-place.count("/"), "$ref" in schemas[places[place]])) or [within]
    keywords = _contradicting(front, places[deepest[0]]) if inside else []
    if uncounted := _uncounted(front, places.get(deepest[0], FALSE), keywords):
        return uncounted
    message = NOTHING
    if not within:
        message += f", nor what is asked at {', '.join(deepest[1:MOST_PLACES])}" if deepest[1:-1] else ""
        message += ", and so not the whole" if deepest[0] else ""
    fix = f"correct what contradicts itself{': ' if keywords else ''}{', '.join(keywords)}"
    return Finding(deepest[0], keywords[-1] if keywords else None, message, fix)


def _contradicting(front: Questioned, position: int) -> list[str]:
    """Return the keywords of a schema that nothing meets of which each, left out, lets some value meet it."""
    if front.documents.dynamic:  # what a schema says depends on the way to it
        return []
    keywords = front.lowering.keywords(position)[:MOST_KEYWORDS]
    if KEYWORD in keywords:  # which needs the others, to say what of an input is meant
        keywords = [KEYWORD]
    found = Questions(front).ask([front.without(position, keyword) for keyword in keywords], SECONDS)
    meant = [keyword for keyword, is_empty in zip(keywords, found, strict=True) if is_empty is False]
    return sorted(meant, key=lambda keyword: keyword != "type")


def _uncounted(front: Questioned, position: int, keywords: Iterable[str]) -> Finding | None:
    """Return what is to be said where one of the keywords asks for more than the engine counts."""
    documents = front.documents
    for keyword in keywords:
        count = "minContains" if keyword == "contains" else keyword
        is_known = count in documents.homes[position].dialect.keywords
        if is_known and is_uncounted(count, documents.schemas[position].get(count)):
            where = f"{documents.pointer(position)}/{count}"
            return Finding(where, count, f"{count} asks for more than {UNCOUNTED}", "lower it, or leave it out")
    return None


class _Records:
    """Records that are asked about, numbered behind a schema's nodes. It refers to no engine, as one refers to it."""

    def __init__(self, front: Questioned) -> None:
        self._front = front
        self._first = 2 * len(front.documents.schemas)  # a schema has two nodes at most (lowering.py)
        self._records: list[Record] = []

    def add(self, records: Sequence[Record]) -> range:
        """Add records; returns their nodes."""
        begin = self._first + len(self._records)
        self._records += records
        return range(begin, begin + len(records))

    def lower(self, nodes: list[int]) -> list[Record]:
        """Return the records of nodes."""
        first = self._first
        written = iter(self._front.lower([node for node in nodes if node < first]))
        return [self._records[node - first] if node >= first else next(written) for node in nodes]


class Questions:
    """An engine that is asked whether anything meets records, which may refer to a schema's nodes."""

    def __init__(self, front: Questioned) -> None:
        self._records = _Records(front)
        self._engine = front.engine(self._records.lower)

    def ask(self, records: Sequence[Record], seconds: float) -> list[bool | None]:
        """Return of each record whether nothing meets it; None where that is not known after about so many seconds."""
        nodes = self._records.add(records)
        found = emptiness(self._engine, nodes, seconds)
        return [found.get(node) for node in nodes]


def dead_branches(front: Questioned, seconds: float) -> tuple[list[Finding], int]:
    """Return findings of branches that nothing can meet where they stand, and how many were not looked into.

    Branches are those of `anyOf`, `oneOf` and `if`, the values of an `enum`, and schemas of members and of items. A
    branch is dead where nothing meets both its schema and the schema around it. Where nothing meets that one alone, it
    is dead itself, and its branches are not told; nor is `false`, which forbids a member on purpose.
    """
    documents, until = front.documents, time.monotonic() + seconds
    if documents.dynamic:
        return [], 0
    questions, unasked = Questions(front), 0
    dead: list[Finding] = []
    for position in range(FALSE + 1, len(documents.schemas)):
        left = until - time.monotonic()
        if left < 0:
            return dead, unasked + len(documents.schemas) - position
        if not (branches := list(_branches(front, position))):
            continue
        itself = (int(Op.REF), position)
        is_dead, *found = questions.ask([[itself], *([itself, *more] for _, more in branches)], left)
        unasked += found.count(None)
        if is_dead is False:
            around = documents.pointer(position)
            dead += [_dead(around, path) for (path, _), is_empty in zip(branches, found, strict=True) if is_empty]
    return dead, unasked


def _dead(around: str, path: Path) -> Finding:
    alone = " alone" if path[0] == "oneOf" else ""
    place = around + json_pointer.pointer(list(path))
    return Finding(place, str(path[0]), f"{NOTHING}{alone}", AMEND)


def _branches(front: Questioned, position: int) -> Iterator[tuple[Path, Record]]:
    """Yield the path to each branch of a schema, and what a value must be beside it to meet the branch."""
    documents, schema = front.documents, front.documents.schemas[position]
    dialect = documents.homes[position].dialect
    if dialect.ref_alone and "$ref" in schema:
        return
    given = {keyword: value for keyword, value in schema.items() if keyword in dialect.keywords}
    places = documents.homes[position].document.places

    def node(child: Any) -> int:
        return places[id(child)] if isinstance(child, dict) and child else FALSE if child is False else TRUE

    for keyword in ("anyOf", "oneOf"):
        for index, child in enumerate(given.get(keyword, ())):
            yield (keyword, index), [(int(Op.REF), node(child))]
    for index, value in enumerate(given.get("enum", ())):
        literal = literals([value], documents.limits.digits)
        yield ("enum", index), [(int(Op.CONST), literal[0]) if literal else (int(Op.TYPE), 0)]
    if "if" in given:
        condition = node(given["if"])
        if given.get("then", False) is not False:
            yield ("then",), [(int(Op.REF), condition)]
        if given.get("else", False) is not False and condition not in front.lowering.inexact:
            yield ("else",), [(int(Op.NOT), condition)]
    for name, child in given.get("properties", {}).items():
        if child is not False and is_unicode(name):
            yield ("properties", name), [(int(Op.TYPE), OBJECT), (int(Op.REQUIRED), [name])]
    for path, count in _items(given):
        yield path, [(int(Op.TYPE), ARRAY), (int(Op.COUNT), count, -1)]


def _items(given: Mapping[str, Any]) -> Iterator[tuple[Path, int]]:
    """Yield the path to each schema of items, and how many items an array has where the last is held to it."""
    first = 0
    for keyword in ("prefixItems", "items", "additionalItems"):
        child = given.get(keyword, False)
        if isinstance(child, list):
            yield from (((keyword, index), index + 1) for index, one in enumerate(child) if one is not False)
            first = len(child)
        elif child is not False and (keyword == "items" or isinstance(given.get("items"), list)):
            yield (keyword,), first + 1

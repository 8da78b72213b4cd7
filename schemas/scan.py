"""The scan: one linear pass over everything that a schema can reach, which alone decides what is enforced.

It gives every reachable schema its position, resolves every reference, reads every regex, and judges each keyword by
the table in keywords.py. What can't be enforced becomes a finding: a refusal, or with `inexact="residual"` a keyword
that is left to validation. Nothing later refuses for what a schema says; the engine may still meet a limit. The scan
keeps its own stack, and each schema is visited once, however many references lead to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

from guard.kernels import json_pointer
from guard.kernels._native import JsonTree, KeywordTable, SchemaPositions, scanned, scanned_alone
from guard.kernels.errors import Finding, SchemaError
from guard.schemas import jsontext, regex, string_formats
from guard.schemas.common import SLOW_FORMATS
from guard.schemas.documents import Documents, ReferenceTarget, Step, subschemas
from guard.schemas.grounding.keyword import KEYWORD, rule_of
from guard.schemas.grounding.notations import marks
from guard.schemas.keywords import IN_PLACE, NOT_SUPPORTED_YET, SILENT, SUPPORTED, UNEVALUATED, Dialect, Holds
from guard.schemas.limits import MOST_COUNT, Limits, limit_error
from guard.schemas.numbers import TooManyDigitsError, decimal
from guard.schemas.ops import FALSE

#: Refusals that one error lists; a schema with more has the same few reasons.
MOST_FINDINGS = 100

ENFORCED, RESIDUAL, REFUSED, ANNOTATION = "enforced", "residual", "refused", "annotation"
EXCLUDED = "excluded"  #: Of a format: what its schemas allow and none of its texts says.


@dataclass(frozen=True, slots=True)
class ReportLine:
    """What becomes of one keyword of a schema."""

    pointer: str  # JSON Pointer of the keyword
    keyword: str  # "(type)" where it is what a Python type checks and no schema says
    status: str  # "enforced", "residual", "refused", "annotation" or "excluded"
    note: str  # why, where that is not plain; "" otherwise


@dataclass(frozen=True, slots=True)
class Trouble:
    """A keyword that can't be enforced."""

    position: int
    keyword: str
    message: str
    fix: str


@dataclass(slots=True)
class Scan:
    """What a scan found."""

    troubles: list[Trouble]
    unevaluated: bool  # some unevaluated* is enforced, so that annotations matter
    grounded: bool = False  # some value comes from the inputs of a call
    chosen: bool = False  # some such value is in a branch of oneOf
    slow_formats: set[str] = field(default_factory=set)

    def findings(self, documents: Documents) -> list[Finding]:
        """Return the troubles as findings, with pointers."""
        return [
            Finding(f"{documents.pointer(t.position)}/{t.keyword}", t.keyword, t.message, t.fix)
            for t in self.troubles[:MOST_FINDINGS]
        ]


_RESIDUAL_FIX = 'leave it out, or compile with inexact="residual" and validate the finished value'

_CHILD, _LIST, _MAP, _DEFS, _EITHER, _DEPENDENCIES = 2, 3, 4, 5, 6, 7
_REFERENCE, _PATTERNS = 8, 12


#: Of which nothing is asked but that what they hold has a place.
_PLAIN = KeywordTable(dict.fromkeys(SUPPORTED - UNEVALUATED, 0))
_SLOW = KeywordTable(dict.fromkeys(SLOW_FORMATS, 0))


#: What is found where nothing had to be looked at; read only.
NOTHING = Scan([], False)


def scan_alone(schemas: SchemaPositions, tree: JsonTree, dialect: Dialect, limits: Limits) -> int:
    """Visit the schemas of a document that is one resource; return the position from where on `scan` must go, or -1."""
    return scanned_alone(schemas, tree, dialect.tables, limits.nodes, _PLAIN, _SLOW, regex.parse)


def scan(documents: Documents, start: int = 0) -> Scan:
    """Visit every schema that a root can reach; those before `start` were visited."""
    out = Scan([], False)
    schemas = documents.schemas
    visit = partial(look, out, documents)
    scanned(schemas, documents.homes, documents.limits.nodes, _PLAIN, _SLOW, regex.parse, visit, start)
    if documents.resolved or schemas.may_loop():
        check_loops(documents)
    if out.grounded:
        _check_grounded(documents, out)
    return out


def look(out: Scan, documents: Documents, position: int, keyword: str, value: Any) -> None:
    """Look into one keyword: place the schemas that it holds, resolve its reference, judge what it says."""
    home = documents.homes[position]
    holds, place = home.dialect.looked_into[keyword], documents.place
    if holds in (_MAP, _PATTERNS):
        for name, child in value.items():
            if type(child) is not bool:
                place(home, child, position, (keyword, name))
        if holds == _PATTERNS:
            _patterns(out, documents, position, keyword, value)
    elif holds == _CHILD or (holds == _EITHER and type(value) is not list):
        if type(value) is not bool:
            place(home, value, position, (keyword,))
    elif holds in (_LIST, _EITHER):
        for index, child in enumerate(value):
            if type(child) is not bool:
                place(home, child, position, (keyword, index))
    elif holds == _REFERENCE:
        target = documents.resolve(position, keyword, value)
        if target.anchor is not None:
            _every_holder(documents, position, keyword, target)
    elif holds in _LOOK:
        _LOOK[holds](out, documents, position, keyword, value)
    elif holds == _DEPENDENCIES:
        for name, child in value.items():
            if type(child) is dict:
                place(home, child, position, (keyword, name))
    if keyword not in SUPPORTED and holds != _DEFS:
        if not _says_nothing(documents.schemas[position], keyword, value):
            out.troubles.append(Trouble(position, keyword, f"{keyword} {NOT_SUPPORTED_YET}", _RESIDUAL_FIX))
    elif keyword in UNEVALUATED and value is not True:
        out.unevaluated = True


#: Keywords that apply to the same value, or lead to what does: a loop among them never ends.
_IN_PLACE = IN_PLACE | {"$ref", "$recursiveRef"}


def check_loops(documents: Documents) -> None:
    """Refuse a schema that refers to itself before anything of the value is read. Linear in what references lead to.

    Where one reference leads straight back to a schema of whose conjunction it is a part, it asks for nothing new:
    it is idle, and left out. Validators take it so.
    """
    targets = {target.position for target in documents.targets.values()}
    done: set[int] = set()
    for reference, target in documents.targets.items():
        if target.anchor is not None or target.position <= FALSE or target.position in done:
            continue
        way = {target.position: reference}  # each position on the way, in order, with what led there
        stack = [_in_place(documents, target.position)]
        while stack:
            step = next(stack[-1], None)
            if step is None:
                stack.pop()
                done.add(way.popitem()[0])
            elif step[1] in way:
                at = list(way).index(step[1])
                loop = [*list(way.values())[at + 1 :], step[0]]
                between = list(way)[at + 1 :]
                if any(keyword not in ("$ref", "allOf") for _, keyword in loop) or not targets.isdisjoint(between):
                    raise _endless(documents, next(edge for edge in loop if edge in documents.targets))
                documents.idle.add(step[0])
            elif step[1] > FALSE and step[1] not in done:
                way[step[1]] = step[0]
                stack.append(_in_place(documents, step[1]))


def _in_place(documents: Documents, position: int) -> Iterator[tuple[tuple[int, str], int]]:
    """Yield (position, keyword) with each position that applies to the same value. The engine follows dynamic ones."""
    schema, home = documents.schemas[position], documents.homes[position]
    for keyword in schema.keys() & _IN_PLACE & home.dialect.keywords.keys():
        if HAS_NO_SENSE_ALONE.get(keyword, keyword) not in schema or (keyword == "if" and not _has_branch(schema)):
            continue
        value = schema[keyword]
        if (position, keyword) in documents.targets:
            target = documents.targets[position, keyword]
            if target.anchor is None:
                yield (position, keyword), target.position
        elif not (home.dialect.ref_alone and "$ref" in schema):
            below = value if isinstance(value, list) else value.values() if keyword.startswith("dep") else [value]
            for child in below:
                if type(child) is dict and child:
                    yield (position, keyword), home.document.places[id(child)]


def _endless(documents: Documents, at: tuple[int, str]) -> SchemaError:
    where = f"{documents.pointer(at[0])}/{at[1]}"
    message = "it leads back to itself before anything of the value is read, which never ends"
    return SchemaError(Finding(where, at[1], message, "leave it out: it asks for nothing new"))


_COUNTS = frozenset({"minItems", "minLength", "minProperties"})
#: Keywords that constrain nothing unless another one stands beside them.
HAS_NO_SENSE_ALONE = {"then": "if", "else": "if", "minContains": "contains", "maxContains": "contains"}

UNCOUNTED = f"{MOST_COUNT:,}, and the engine counts no further"


def is_uncounted(keyword: str, value: Any) -> bool:
    """Say whether a keyword asks for more than the engine counts, so that no text meets it."""
    return (keyword in _COUNTS or keyword == "minContains") and (value or 0) > MOST_COUNT


def _says_nothing(schema: dict[str, Any], keyword: str, value: Any) -> bool:
    """Say whether a keyword's value constrains nothing, so that it needs no support."""
    if keyword in HAS_NO_SENSE_ALONE:
        return True  # the other keyword is refused, if it is there
    if keyword == "not":
        return False
    if keyword == "if":
        return not _has_branch(schema)
    if keyword == "contains":
        return schema.get("minContains") == 0 and "maxContains" not in schema
    if keyword == "uniqueItems" or keyword in _COUNTS:
        return value is False or value == 0
    return value == {} or value == [] or value is True


def _has_branch(schema: dict[str, Any]) -> bool:
    return "then" in schema or "else" in schema


def _every_holder(documents: Documents, position: int, keyword: str, target: ReferenceTarget) -> None:
    """Give a position to every place that a dynamic reference may lead to: the anchor in each resource known so far."""
    for resource in list(documents.resources.values()):
        found = resource.dynamic.get(target.anchor or "")
        if found is not None:
            documents.check_anchor(position, keyword, resource, target.anchor or "")
            documents.place(resource, found[0], -1, found[1])


# ---- single keywords ----


def _number(_out: Scan, documents: Documents, position: int, keyword: str, value: Any) -> None:
    kind = type(value)
    if kind is int and -(10**15) < value < 10**15:
        return
    try:
        decimal(value, documents.limits.digits)
    except TooManyDigitsError as error:
        where = f"{documents.pointer(position)}/{keyword}"
        raise limit_error(documents.limits, "digits", where, keyword, str(error)) from error
    except ValueError as error:
        raise SchemaError(Finding(f"{documents.pointer(position)}/{keyword}", keyword, str(error))) from error


def _values(out: Scan, documents: Documents, position: int, keyword: str, value: Any) -> None:
    todo = [value]
    while todo:
        item = todo.pop()
        kind = type(item)
        if kind is list:
            todo += [x for x in item if type(x) is not str]
        elif kind is dict:
            todo += [x for x in item.values() if type(x) is not str]
        elif kind is int or kind is float or kind is Decimal:
            _number(out, documents, position, keyword, item)


def _pattern(out: Scan, documents: Documents, position: int, keyword: str, value: Any) -> None:
    where = (keyword,) if keyword == "pattern" else (keyword, value)
    found = read(documents, position, where, value)
    if found.back_reference is not None:
        at = f"character {found.back_reference} of {jsontext.clip(value)}"
        message = f"the back-reference at {at} is beyond any regular language"
        out.troubles.append(Trouble(position, keyword, message, f"write the pattern without it, {_RESIDUAL_FIX}"))


def _patterns(out: Scan, documents: Documents, position: int, keyword: str, value: dict[str, Any]) -> None:
    for source in value:
        _pattern(out, documents, position, keyword, source)


def read(documents: Documents, position: int, path: tuple[Step, ...], source: str) -> regex.Regex:
    """Read a regex of a schema. Raises SchemaError where it is none."""
    try:
        return regex.parse(source)
    except regex.RegexError as error:
        where = documents.pointer(position) + json_pointer.pointer(path)
        limit = "depth" if isinstance(error, regex.RegexTooDeepError) else None
        message = f"{jsontext.clip(source)} is no regular expression of ECMA-262: {error}"
        raise SchemaError(Finding(where, str(path[0]), message, "mend the pattern"), limit=limit) from error


def _source(out: Scan, documents: Documents, position: int, keyword: str, _value: Any) -> None:
    out.grounded = True
    try:
        rule = rule_of(documents.schemas[position])
        marks(rule.locales)
    except ValueError as error:
        where = f"{documents.pointer(position)}/{keyword}"
        raise SchemaError(Finding(where, keyword, str(error), "see docs/grounding.md")) from None


#: Keywords below which a value can't be grounded: they ask what is not the case, or of keys.
_NOT_GROUNDED = frozenset(
    ("not", "if", "contains", "propertyNames", "patternProperties", "unevaluatedProperties", "unevaluatedItems")
)


def grounded_positions(documents: Documents) -> frozenset[int]:
    """Return every position at which, or below which, a value comes from the inputs of a call."""
    return inexact_positions(documents, frozenset((at, KEYWORD) for at in _grounded(documents)))


def _grounded(documents: Documents) -> list[int]:
    return [at for at in range(2, len(documents.schemas)) if KEYWORD in documents.schemas[at]]


def _check_grounded(documents: Documents, out: Scan) -> None:
    """Refuse grounded values where what is left of them would not be exact; note whether some are below oneOf."""
    around = grounded_positions(documents)
    for position in around:
        home = documents.homes[position]
        schema = documents.schemas[position]
        for steps, child in subschemas(schema, home.dialect.keywords):
            keyword = str(steps[0])
            if home.document.places.get(id(child)) not in around:
                continue
            out.chosen |= keyword == "oneOf"
            is_open = keyword == "additionalProperties" and schema.get("patternProperties")
            if keyword in _NOT_GROUNDED or is_open:
                where = f"{documents.pointer(position)}/{keyword}"
                message = f"a value below {keyword} can't be grounded"
                raise SchemaError(Finding(where, keyword, message, f"say {KEYWORD} in properties, items or branches"))
    for position in _grounded(documents):
        if rule_of(documents.schemas[position]).once and not _is_once(documents, position):
            where, words = f"{documents.pointer(position)}/{KEYWORD}", "once is said of items of a list that differ"
            raise SchemaError(Finding(where, KEYWORD, words, "say uniqueItems: true beside items, or leave once out"))
    if documents.dynamic and around:
        raise SchemaError(Finding("", KEYWORD, f"{KEYWORD} can't be told beside dynamic references", "use $ref"))


def _is_once(documents: Documents, position: int) -> bool:
    """Whether a schema is one of the items of a list in which no two are equal."""
    parent, path = documents.schemas.trail(position)
    while parent >= 0 and path[0] in ("anyOf", "oneOf", "allOf"):
        parent, path = documents.schemas.trail(parent)
    return parent >= 0 and path[0] in ("items", "prefixItems") and documents.schemas[parent].get("uniqueItems") is True


def _format(out: Scan, _: Documents, __: int, ___: str, value: Any) -> None:
    if type(value) is str and value in SLOW_FORMATS:
        out.slow_formats.add(value)


_LOOK = {
    Holds.FORMAT: _format,
    Holds.NUMBER: _number,
    Holds.VALUES: _values,
    Holds.PATTERN: _pattern,
    Holds.SOURCE: _source,
}


# ---- derived from a scan ----


def edges(documents: Documents) -> Iterator[tuple[int, int]]:
    """Yield (position, position below it) for every application and reference that the scan found."""
    for position in range(2, len(documents.schemas)):
        home = documents.homes[position]
        for _, child in subschemas(documents.schemas[position], home.dialect.keywords):
            below = home.document.places.get(id(child))
            if below is not None:
                yield position, below
    for (position, _), target in documents.targets.items():
        yield position, target.position
        if target.anchor is not None:
            for resource in documents.resources.values():
                held = resource.dynamic.get(target.anchor)
                if held is not None and id(held[0]) in resource.document.places:
                    yield position, resource.document.places[id(held[0])]


def inexact_positions(documents: Documents, dropped: frozenset[tuple[int, str]]) -> frozenset[int]:
    """Return every position below which, a keyword is left to validation."""
    above: dict[int, list[int]] = {}
    for parent, child in edges(documents):
        above.setdefault(child, []).append(parent)
    found: set[int] = set()
    todo = [position for position, _ in dropped]
    while todo:
        position = todo.pop()
        if position not in found:
            found.add(position)
            todo += above.get(position, [])
    return frozenset(found)


#: Keywords that must be widened when a schema in them is only enforced in part; the others pass the width on unharmed.
_NOT_MONOTONE = ("not", "oneOf", "if", "contains")


def _loosened(documents: Documents, dropped: frozenset[tuple[int, str]]) -> dict[int, set[str]]:
    """Return the keywords, by position, that are weakened because of what is dropped elsewhere."""
    inexact = inexact_positions(documents, dropped)
    out: dict[int, set[str]] = {}
    for position in inexact:
        home = documents.homes[position]
        for steps, child in subschemas(documents.schemas[position], home.dialect.keywords):
            if steps[0] in _NOT_MONOTONE and home.document.places.get(id(child)) in inexact:
                out.setdefault(position, set()).add(str(steps[0]))
    for position, keyword in dropped:
        if keyword == "patternProperties":
            out.setdefault(position, set()).add("additionalProperties")
    return out


PROPERTY_FIX = "it is read as the letter; write \\p{L} or \\p{Script=Greek} where a property is meant"


def _no_property(holds: Holds | None, value: Any) -> str | None:
    r"""Return the first `\p` of a keyword's patterns that names no property, and is the letter "p"."""
    sources = [value] if holds == Holds.PATTERN else value if holds == Holds.PATTERNS else ()
    names = (regex.parse(source).no_property for source in sources if "\\p" in source or "\\P" in source)
    return next((name for name in names if name is not None), None)


def report(documents: Documents, found: Scan, *, assert_formats: bool, refuse: bool = False) -> list[ReportLine]:
    """Return a line for each keyword of each schema that was reached; with `refuse`, troubles refuse the schema."""
    troubles = {(t.position, t.keyword): t.message for t in found.troubles}
    loosened = _loosened(documents, frozenset(troubles)) if troubles and not refuse else {}
    lines = []
    for position in range(2, len(documents.schemas)):
        schema, dialect = documents.schemas[position], documents.homes[position].dialect
        alone = dialect.ref_alone and "$ref" in schema
        at = documents.pointer(position)
        for keyword, value in schema.items():
            holds = dialect.keywords.get(keyword)
            status, note = ENFORCED, ""
            if alone and keyword != "$ref":
                status, note = ANNOTATION, f"$ref hides its siblings in {dialect.name}"
            elif holds is None:
                status, note = ANNOTATION, f"{keyword} is no keyword of {dialect.name}"
            elif (position, keyword) in documents.idle:
                status, note = ANNOTATION, "it leads back to itself and asks for nothing new"
            elif (position, keyword) in troubles:
                status, note = REFUSED if refuse else RESIDUAL, troubles[position, keyword]
            elif keyword in loosened.get(position, ()):
                status, note = RESIDUAL, "only in part: something that it depends on is left to validation"
            elif holds in SILENT:
                status = ANNOTATION
            elif holds == Holds.FORMAT and not assert_formats:
                status, note = ANNOTATION, "formats=False"
            elif holds == Holds.FORMAT and not string_formats.is_known(value):
                status, note = ANNOTATION, f"the format {jsontext.clip(value)} is not known"
            elif holds == Holds.SOURCE:
                note = "of the inputs of each call; where there are none, of nothing"
            elif keyword in HAS_NO_SENSE_ALONE and HAS_NO_SENSE_ALONE[keyword] not in schema:
                status, note = ANNOTATION, f"{keyword} means nothing without {HAS_NO_SENSE_ALONE[keyword]}"
            elif (letter := _no_property(holds, value)) is not None:
                note = f"{letter} names no property of Unicode: {PROPERTY_FIX}"
            elif is_uncounted(keyword, value):
                note = f"nothing can meet it: it asks for more than {UNCOUNTED}"
            lines.append(ReportLine(at + json_pointer.pointer([keyword]), keyword, status, note))
    return lines

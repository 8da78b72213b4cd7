"""The judge of plain schemas: jsonschema-rs, which is independent of the mask engine, and words for its findings.

`judged` translates a schema to the meaning that it has in Guard, and `read` reads JSON strictly by RFC 8259. The cost
is a stranger's choice, so guard/output/checking.py decides in which process the judge runs.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from guard.errors import Violation
from guard.kernels.json_pointer import pointer
from guard.output import rust_patterns
from guard.support import strict_json
from guard.support.clipping import clipped, cut_short
from guard.support.interrupts import is_injected
from guard.support.strict_json import no_constant, unique_members

NOT_JSON = "json"  #: The rule of a finding about text that is not JSON.
MOST_FINDINGS = 100  #: Most findings about one value: more would repeat the same few faults.
MOST_DEPTH = 16  #: Nesting levels of unions that are searched for the meant branch.
WORDS = 1000  #: Longest `expected` of a finding, in characters; longer ones are clipped.

#: What a keyword of JSON Schema expects, by the name jsonschema-rs gives the kind of error.
_EXPECTED = {
    "additionalProperties": "no further properties",
    "const": "the value {}",
    "enum": "one of {}",
    "exclusiveMaximum": "a number < {}",
    "exclusiveMinimum": "a number > {}",
    "falseSchema": "no value at all",
    "format": "a text of format {}",
    "maxItems": "at most {} items",
    "maxLength": "at most {} characters",
    "maxProperties": "at most {} properties",
    "maximum": "a number <= {}",
    "minItems": "at least {} items",
    "minLength": "at least {} characters",
    "minProperties": "at least {} properties",
    "minimum": "a number >= {}",
    "multipleOf": "a multiple of {}",
    "pattern": "a text that matches {}",
    "required": "the property {}",
    "type": "a value of type {}",
    "uniqueItems": "items that differ",
}
#: The validator of jsonschema-rs for a dialect.
JUDGES = {
    "draft4": "Draft4Validator",
    "draft6": "Draft6Validator",
    "draft7": "Draft7Validator",
    "draft2019-09": "Draft201909Validator",
    "draft2020-12": "Draft202012Validator",
    "openapi3.0": "Draft4Validator",
    "openapi3.1": "Draft202012Validator",
}
_EXACT = 2.0**53  #: From here on, a double may differ from the integer that was written.
#: Errors of a branch that say that a value is not meant for it: their kind, how deep inside, and whether that is sure.
_NOT_MEANT = (
    *(("type", 0, True), ("const", 1, True)),
    *(("enum", 1, False), ("additionalProperties", 0, False), ("required", 0, False)),
)
#: What a number has that no float may hold: three digits of exponent, a hundred zeros after the point, or 200 digits,
#: which two digits of exponent may make 10^309.
_MAY_NOT_FIT = re.compile(r"[eE][-+]?[0-9]{3}|\.0{100}|(?<![0-9])[0-9]{200}")
_NO_LIMIT = 2**62  #: Steps of backtracking. A time limit ends it; a limit of steps would call valid values invalid.


class NoJudgeError(ValueError):
    """jsonschema-rs can't check a schema; the message says why and where."""

    def __init__(self, words: str, at: str) -> None:
        super().__init__(words)
        self.words, self.at = words, at


@dataclass(frozen=True)
class JudgedSchema:
    """A schema in the form for a judge."""

    schema: Any  # as the standard writes it: schemas/leniency.py
    draft: str
    formats: bool
    documents: Mapping[str, Any]


class Judge:
    """A judge of values under one schema."""

    def __init__(self, case: JudgedSchema, *, backtracks: bool) -> None:
        """Build a judge; NoJudgeError where that is impossible.

        `backtracks` chooses an engine for regular expressions that supports all of them but may never finish.
        """
        import jsonschema_rs  # imported late: only plain schemas need it

        self._sources: dict[str, str] = {}
        documents = [(uri, judged(document, case.draft, self._sources)) for uri, document in case.documents.items()]
        options = jsonschema_rs.FancyRegexOptions(_NO_LIMIT) if backtracks else jsonschema_rs.RegexOptions()
        try:
            self._validator = getattr(jsonschema_rs, JUDGES[case.draft])(
                judged(case.schema, case.draft, self._sources),
                validate_formats=case.formats,
                registry=jsonschema_rs.Registry(documents) if documents else None,
                offline=True,
                pattern_options=options,
            )
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
            if is_injected(error):
                raise
            at = pointer(getattr(error, "instance_path", ()))
            raise NoJudgeError(str(error).splitlines()[0], at) from None
        self._is_large = holds_large(case.schema)

    def meant(self, value: Any) -> Any:
        """Return a value in the form to be judged; RecursionError where it is nested too deeply."""
        return decimal(value) if self._is_large else value

    def is_valid(self, meant: Any) -> bool:
        """Whether a value is valid. Takes no memory."""
        return bool(self._validator.is_valid(meant))

    def findings(self, meant: Any) -> tuple[Violation, ...]:
        """Return the findings about a value. May take a thousand times as long as `is_valid`, and much memory."""
        errors = itertools.islice(self._validator.iter_errors(meant), MOST_FINDINGS)
        found = (_violation(inner, self._sources) for error in errors for inner in _closest(error))
        return tuple(itertools.islice(found, MOST_FINDINGS))


def read(text: str) -> tuple[Any, tuple[Violation, ...]]:
    """Read JSON by RFC 8259, without duplicate keys and numbers beyond a float; return the value, or a finding."""
    try:
        value = _read_exactly(text) if _MAY_NOT_FIT.search(text) else strict_json.loads(text)
        text.encode()
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode()
        return value, ()
    except UnicodeEncodeError:
        return None, (Violation("", NOT_JSON, "JSON (of Unicode: no half of a surrogate pair)", clipped(text)),)
    except ValueError as error:
        if is_injected(error):
            raise
        return None, (Violation("", NOT_JSON, f"JSON ({error})", clipped(text)),)
    except RecursionError:
        return None, too_deep(text)


def _fraction(text: str) -> float:
    """Return the nearest float, but 0 only for zero: 1e-400 must stay above 0 and not be an integer.

    ValueError where there is none: 1e400 is no infinity.
    """
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is beyond what a float holds")
    if number == 0 and re.search("[1-9]", re.split("[eE]", text)[0]):
        return math.copysign(5e-324, number)
    return number


def _read_exactly(text: str) -> Any:
    """Read strict JSON with numbers that may be too small or too large for a float."""
    return json.loads(text, object_pairs_hook=unique_members, parse_constant=no_constant, parse_float=_fraction)


def too_deep(text: str) -> tuple[Violation, ...]:
    """Return the finding about text that is nested too deeply."""
    return (Violation("", "nesting", "JSON that is nested less deeply", clipped(text)),)


def unlisted(text: str) -> tuple[Violation, ...]:
    """Return the finding about a value with more faults than can be listed."""
    return (Violation("", "", "a value of the schema, which it breaks in more ways than can be listed", clipped(text)),)


def holds_large(schema: Any) -> bool:
    """Whether a schema holds an integer that was read as a double, which may differ from it."""
    left = [schema]
    while left:
        part = left.pop()
        if isinstance(part, float) and abs(part) >= _EXACT:
            return True
        left += part.values() if isinstance(part, Mapping) else part if isinstance(part, list) else ()
    return False


def decimal(value: Any) -> Any:
    """Return JSON with such doubles replaced by the integers that were written: 10**308 for 1e308."""
    if isinstance(value, float):
        return int(Decimal(repr(value))) if _EXACT <= abs(value) < float("inf") else value
    if isinstance(value, list):
        return [decimal(part) for part in value]
    return {key: decimal(part) for key, part in value.items()} if isinstance(value, Mapping) else value


def judged(schema: Any, draft: str, sources: dict[str, str]) -> Any:
    r"""Translate a schema of a dialect for jsonschema-rs.

    OpenAPI 3.0's `nullable` becomes a type that may be null. Patterns keep the meaning that ECMA-262 gives them
    (guard/output/rust_patterns.py); `sources` gets what each of them was. Where `holds_large`, numbers become decimals,
    and so must those of the value.
    """
    schema = decimal(schema) if holds_large(schema) else schema
    if draft != "openapi3.0" and not rust_patterns.differs(json.dumps(schema)):
        return schema
    from guard.schemas import rewriting  # here: it takes as long to import as all else, and few schemas need it

    def rewrite(part: dict[str, Any]) -> dict[str, Any]:
        if isinstance(source := part.get("pattern"), str):
            part["pattern"] = rust_patterns.of(source)
            sources[part["pattern"]] = source
        if isinstance(patterns := part.get("patternProperties"), Mapping):
            part["patternProperties"] = {rust_patterns.of(source): inner for source, inner in patterns.items()}
        if draft == "openapi3.0" and part.get("nullable") is True and isinstance(part.get("type"), str):
            part["type"] = [part["type"], "null"]
        return part

    return rewriting.rewritten(schema, rewrite)


def _closest(error: Any, depth: int = 0) -> list[Any]:
    """Return what is wrong with a value by the one branch of a union that it can be meant for, where there is one.

    A branch is ruled out where the value is of another type than its own, or a member is not the constant that it wants
    there; then, while others are left, by what members may be and which there are. Where several are left, or none, the
    union is what is broken.
    """
    branches = getattr(error.kind, "context", None)
    if not branches or depth == MOST_DEPTH:
        return [error]
    at = len(error.instance_path)
    left = [branch for branch in branches if branch]
    for kind, deeper, is_sure in _NOT_MEANT:
        if len(left) > 1:
            fewer = [b for b in left if not any(e.kind.name == kind and len(e.instance_path) == at + deeper for e in b)]
            left = fewer if fewer or is_sure else left
    if len(left) != 1:
        return [error]
    return [innermost for inner in left[0] for innermost in _closest(inner, depth + 1)]


def _violation(error: Any, sources: Mapping[str, str]) -> Violation:
    kind, value = error.kind.name, getattr(error.kind, "value", None)
    if kind == "pattern":
        value = sources.get(str(value), value)
    words = _EXPECTED.get(kind)
    shown = " or ".join(sorted(value or ())) if kind == "type" else clipped(value)
    expected = words.format(shown) if words else f"{kind}: {error.message}"
    return Violation(
        at=pointer(error.instance_path),
        rule=pointer(error.schema_path),
        expected=cut_short(expected, WORDS),
        got=clipped(error.instance),
    )

"""Targets: what a call asks for (a type, a JSON Schema or a format), compiled for masks, with its check.

Pydantic checks types and builds their values; jsonschema-rs checks plain schemas, whose values are those of
`json.loads`. Both are independent of the mask engine: no answer is valid because the masks said so. Answers that are
not JSON are in guard/output/text_target.py.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from guard.errors import Finding, SchemaError, Violation
from guard.kernels.json_pointer import pointer
from guard.output.checking import Checker, SchemaChecker, TypeChecker
from guard.output.judge import MOST_FINDINGS, JudgedSchema
from guard.output.partial import Partials, TextSoFar
from guard.output.text_target import FormatChecker, TextChecker, as_format, is_bare
from guard.support.clipping import clipped

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails

    from guard.output.grounding import GroundingChecker
    from guard.schemas import Compiled
    from guard.schemas.types import Spelled

#: An answer is written as JSON or, where JSON has a string, as text without quotes.
Style: TypeAlias = Literal["json", "text"]
STYLES = ("json", "text")
MOST_WAYS = 64  #: Readings of a Pydantic location that are tried.
CACHED_TARGETS = 256  #: Compiled types that `Guard.generate` keeps; a decorated function keeps its own.

#: Pydantic's phrases for what it expected: "Input should be a valid integer", "String should match pattern '^x'".
_SHOULD = re.compile(r"(?P<noun>\w+) should (?P<be>be )?(?P<rest>.*)", re.DOTALL)
#: How values are dumped so that reading gives them again: by the names that are read, without computed fields.
_AS_READ: Any = {"by_alias": True, "round_trip": True, "warnings": "error"}
_AS_JSON = "give the answer as JSON: a dict, a list, a text or a number"
_RAISED = ("Value error, ", "Assertion failed, ")  #: Prefixes of Pydantic's messages from a user's own validator.


@dataclass(frozen=True)
class Target:
    """A compiled type or schema and its check."""

    name: str  # the name for people: "Invoice"
    schema: Any  # the value's, as compiled; a format's structural tag
    compiled: Compiled
    checker: Checker
    partials: Callable[[], Partials | TextSoFar]  # makes partial values from pieces
    is_json: bool = True  # False: the answer is text of a format
    is_turn: bool = False  # whether the value is a turn (guard/turns/value.py)
    grounding: GroundingChecker | None = None  # None: no value is grounded
    refused: SchemaError | None = None  # why masks can't enforce it; only models without masks may then be asked
    adapter: TypeAdapter[Any] | None = None  # Pydantic's, of a type; None: values are JSON, or text
    made_of: tuple[Any, ...] = field(default=(), compare=False, repr=False)  # what `from_any` was given

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickle by what it was made of: whoever reads it compiles it."""
        return (_again, (self.made_of, self.refused)) if self.made_of else super().__reduce__()

    @property
    def shown_schema(self) -> Any:
        """The schema whose fields a prompt describes; None where the answer is not JSON."""
        return self.schema if self.is_json else None

    def check(self, text: str) -> tuple[Any, tuple[Violation, ...]]:
        """Return the value of a reply's text (None where there are findings), and the findings. Blocks.

        Raises Unchecked where the check exceeds its bounds.
        """
        checked = self.checker.check(text)
        return checked.value, checked.findings

    def written(self, value: Any, what: str) -> str:
        """Return an answer, given as a value of the type or as JSON, in the text that a model would write.

        ValueError names `what` where it is not valid.
        """
        from pydantic_core import PydanticSerializationError, to_json

        is_of_type = False
        try:
            if self.adapter is not None:
                try:
                    dumped = self.adapter.dump_json(value, **_AS_READ)
                    is_of_type = True
                except (PydanticSerializationError, TypeError, AttributeError):
                    dumped = to_json(value, inf_nan_mode="constants")  # the answer as JSON, not of the type
            else:
                dumped = to_json(value, inf_nan_mode="constants")
            said = json.loads(dumped)
        except ValueError as error:  # Pydantic's, of what JSON does not have, among them
            raise ValueError(f"{what}: the answer can't be written as JSON: {error}; {_AS_JSON}") from None
        text = said if isinstance(said, str) and not self.is_json else json.dumps(said, ensure_ascii=False)
        read, findings = self.check(text)
        if findings:
            raise ValueError(f"{what}: the answer is not valid: {findings[0]}")
        if is_of_type and self._plain(read) != self._plain(value):
            raise ValueError(f"{what}: the answer, written as JSON, is read as another value; {_AS_JSON}")
        return text

    def _plain(self, value: Any) -> Any:
        assert self.adapter is not None
        return self.adapter.dump_python(value, **_AS_READ)


def from_any(wanted: Any, options: Mapping[str, Any], style: Style = "json", parts: tuple[str, ...] = ()) -> Target:
    """Return the target of a type, a JSON Schema (dict, bool, or JSON text) or a format; SchemaError where refused.

    With the style "text", the answer is the text, without quotes, of a type or schema whose values are strings. `parts`
    are JSON Pointers into a JSON Schema, to what something must meet beside the whole.
    """
    from guard.schemas.structural import spellings

    if spellings.is_format(wanted):
        target = _from_format(wanted, options)
    else:
        target = _from_schema(wanted, options, parts) if is_schema(wanted) else _of_type(wanted, options)
        target = _bare(target, options) if style == "text" or is_bare(wanted) else target
    return replace(target, made_of=(wanted, dict(options), style, parts))


def _again(made_of: tuple[Any, ...], refused: SchemaError | None) -> Target:
    """Make what a pickle holds."""
    return replace(from_any(*made_of), refused=refused)


def _of_type(wanted: Any, options: Mapping[str, Any]) -> Target:
    if inspect.isfunction(wanted) or inspect.isbuiltin(wanted) or isinstance(getattr(wanted, "target", None), Target):
        name = getattr(wanted, "__qualname__", repr(wanted))
        raise TypeError(f"{name} is a function, and no type; name its return type, or call it where it is structured")
    from guard.schemas import types

    try:
        return _cached_type(types.Spelled(wanted), tuple(sorted(options.items())))
    except TypeError as error:  # unhashable: an annotation such as Annotated[int, []], or an option
        if "unhashable" not in str(error):
            raise
        return _from_type(wanted, options)


def is_schema(wanted: Any) -> bool:
    """Whether something is a JSON Schema rather than a type."""
    return isinstance(wanted, Mapping | bool | str | bytes)


def closed(schema: Any) -> Any:
    """Return Pydantic's schema of a type with its objects closed to undeclared keys.

    Pydantic drops or refuses such keys, so no value is lost, whereas a model that may write them keeps inventing them.
    Types that keep them (`extra="allow"`) say so in their schema and stay open.
    """
    from guard.schemas import rewriting

    return rewriting.rewritten(schema, _closed)


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    if schema.get("type") == "object" and "properties" in schema:
        schema.setdefault("additionalProperties", False)
        if schema["additionalProperties"] is False:  # which says it of other names of members, too
            schema["properties"] = {name: part for name, part in schema["properties"].items() if part is not False}
    return schema


@functools.lru_cache(CACHED_TARGETS)
def _cached_type(spelled: Spelled, options: tuple[tuple[str, Any], ...]) -> Target:
    return _from_type(spelled.wanted, dict(options))


def _from_type(wanted: Any, options: Mapping[str, Any]) -> Target:
    import pydantic

    from guard import schemas
    from guard.schemas import types
    from guard.schemas.typed.exact_reader import ExactReader

    described = types.described(wanted)
    schema = closed(described.schema)
    compiled = schemas.compile(types.Described(schema, described.beyond), **options)
    compiled.check_satisfiable()
    adapter = types.adapter(wanted)
    reader = ExactReader(adapter)

    def validated(text: str, value: Any) -> tuple[Any, tuple[Violation, ...]]:
        try:
            return reader.validate_json(text), ()
        except pydantic.ValidationError as error:
            found = error.errors(include_url=False, include_context=False)
            return None, from_pydantic(found[:MOST_FINDINGS], value)

    name = "text" if is_bare(wanted) else getattr(wanted, "__name__", None) or str(wanted)
    partials = functools.partial(Partials, wanted)
    checker = TypeChecker(validated)
    return Target(name, schema, compiled, checker, partials, grounding=_grounding(compiled), adapter=adapter)


def _from_schema(given: Any, options: Mapping[str, Any], parts: tuple[str, ...] = ()) -> Target:
    from guard import schemas
    from guard.schemas import jsontext, leniency
    from guard.schemas.keywords import DIALECTS

    compiled = schemas.compile(given, **options)
    compiled.check_satisfiable(parts)
    schema = compiled.schema
    if (far := jsontext.far_number(schema)) is not None:
        words = "a number that no double holds, so that no answer can be checked by it"
        raise SchemaError(Finding(far, far.rpartition("/")[2] or None, words, "write it with fewer digits"))
    wants_names = DIALECTS[compiled.draft].boolean_bounds
    limits = compiled.options.limits
    documents = {
        uri: leniency.as_standard(
            jsontext.parse(document, limits, uri) if isinstance(document, str | bytes) else document,
            wants_names=wants_names,
        )
        for uri, document in (options.get("documents") or {}).items()
    }
    standard = leniency.as_standard(schema, wants_names=wants_names)
    case = JudgedSchema(standard, compiled.draft, options.get("formats", True), documents)
    checker = SchemaChecker(case, compiled.costs)
    title = schema.get("title") if isinstance(schema, Mapping) else None
    name = title if isinstance(title, str) else "schema"
    return Target(name, schema, compiled, checker, functools.partial(Partials, None), grounding=_grounding(compiled))


def _grounding(compiled: Compiled) -> GroundingChecker | None:
    if not compiled.is_grounded:
        return None
    from guard.output.grounding import GroundingChecker  # here: few types need it

    return GroundingChecker(compiled)


def _bare(target: Target, options: Mapping[str, Any]) -> Target:
    """Return the target with values written as text without quotes; SchemaError where some are not strings."""
    from guard import schemas

    compiled = schemas.compile(as_format(target.schema), **_of_formats(options))
    compiled.check_satisfiable()
    checker = TextChecker(target.checker)
    return replace(target, compiled=compiled, checker=checker, partials=TextSoFar, is_json=False)


def _from_format(given: Any, options: Mapping[str, Any]) -> Target:
    from guard.schemas.compiled import Options
    from guard.schemas.structural.compiled_format import CompiledFormat

    compiled = CompiledFormat(given, Options(**_of_formats(options)))
    form = compiled.contents["format"]
    if form["type"] == "json_schema" and form["style"] in STYLES and not form["any_order"] and not form["excludes"]:
        target = _from_schema(form["json_schema"], options)
        return target if form["style"] == "json" else _bare(target, options)
    checker = FormatChecker(compiled)
    compiled.check_satisfiable()
    return Target("format", compiled.contents, compiled, checker, TextSoFar, is_json=False)


def _of_formats(options: Mapping[str, Any]) -> dict[str, Any]:
    if options.get("documents"):
        raise TypeError("documents=… go with schemas; in a format write what their references lead to")
    return {name: value for name, value in options.items() if name != "documents"}


def from_pydantic(errors: list[ErrorDetails], value: Any) -> tuple[Violation, ...]:
    """Turn Pydantic's errors about a value into findings with JSON Pointers."""
    return tuple(
        Violation(
            at=pointer(_path(error, value)),
            rule=error["type"],
            expected=_expected(error["type"], error["msg"], error["loc"]),
            got="nothing" if error["type"] == "missing" else clipped(error["input"]),
        )
        for error in errors
    )


def _path(error: ErrorDetails, value: Any) -> tuple[int | str, ...]:
    """Return the steps of a Pydantic location that lead into the value, without those that name union branches.

    A branch may be named like a key: the steps count that lead to what the error is about. Of many ways, the first
    MOST_WAYS are tried, which take most steps as keys.
    """
    loc, given = error["loc"], error["input"]
    loc, missing = (loc[:-1], loc[-1:]) if error["type"] == "missing" else (loc, ())
    ways: dict[tuple[int | str, ...], Any] = {(): value}
    for step in loc:
        further: dict[tuple[int | str, ...], Any] = {}
        for path, part in ways.items():
            if isinstance(part, dict) and step in part:  # noqa: SIM114 (mypy knows the types so)
                further.setdefault((*path, step), part[step])
            elif isinstance(part, list) and isinstance(step, int) and step < len(part):
                further.setdefault((*path, step), part[step])
            further.setdefault(path, part)
        ways = dict(itertools.islice(further.items(), MOST_WAYS))
    meant = (path for path, part in ways.items() if type(part) is type(given) and part == given)
    return (*next(meant, next(iter(ways))), *missing)


def _expected(kind: str, message: str, loc: tuple[int | str, ...]) -> str:
    if kind == "missing":
        return f"the property {loc[-1]!r}"
    if kind == "extra_forbidden":
        return "no such property"
    for preamble in _RAISED:
        if message.startswith(preamble):
            return message[len(preamble) :]
    should = _SHOULD.fullmatch(message)
    if should is None:
        return message
    return should["rest"] if should["be"] else f"a {should['noun'].lower()} to {should['rest']}"

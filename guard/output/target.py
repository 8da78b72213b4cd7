"""What a call asks for: a type, a JSON Schema or a format, compiled for masks, with the check that follows decoding.

A type is checked by Pydantic, which also builds the value; a plain schema by jsonschema-rs, whose value is what
`json.loads` gives. Both are independent of the mask engine: nothing is valid because the masks said so. What is no
JSON is guard/output/text_target.py's.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from guard.errors import SchemaError, Violation
from guard.kernels.json_pointer import pointer
from guard.output.checking import Checker, SchemaChecker, TypeChecker
from guard.output.judge import MOST_FINDINGS, JudgedSchema
from guard.output.partial import Partials, TextSoFar
from guard.output.text_target import FormatChecker, TextChecker, as_format, is_bare
from guard.support.clipping import clipped

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from guard.output.grounding import GroundingChecker
    from guard.schemas import Compiled

#: How an answer is written: as JSON, or, where JSON writes a string, as the bare text.
Style: TypeAlias = Literal["json", "text"]
STYLES = ("json", "text")
CACHED_TARGETS = 256  #: Types kept compiled for `Guard.generate`; a decorated function holds its own.

#: How Pydantic words what it expected: "Input should be a valid integer", "String should match pattern '^x'".
_SHOULD = re.compile(r"(?P<noun>\w+) should (?P<be>be )?(?P<rest>.*)", re.DOTALL)
_RAISED = ("Value error, ", "Assertion failed, ")  #: How Pydantic opens the words of a validator of the user's own.


@dataclass(frozen=True)
class Target:
    """A compiled type or schema and its check."""

    name: str  # how a person calls it: "Invoice"
    schema: Any  # of the value, as compiled; of a format, the structural tag
    compiled: Compiled
    checker: Checker
    partials: Callable[[], Partials | TextSoFar]  # pieces in, what is known of the value out
    is_json: bool = True  # else the answer is text of a format, and `schema` of its bare text
    grounding: GroundingChecker | None = None  # None: no value comes from the inputs of the call
    refused: SchemaError | None = None  # why masks can't enforce it all: only models without masks may be asked
    made_of: tuple[Any, ...] = field(default=(), compare=False, repr=False)  # what `from_any` was given

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickle by what it was made of: whoever reads it compiles it."""
        return (_again, (self.made_of, self.refused)) if self.made_of else super().__reduce__()

    @property
    def shown_schema(self) -> Any:
        """The schema whose fields a prompt describes; None where the answer is no JSON."""
        return self.schema if self.is_json else None

    def check(self, text: str) -> tuple[Any, tuple[Violation, ...]]:
        """Return the value of a reply's text (None where there are findings), and the findings; blocks.

        Unchecked where it can't be found out within a check's bounds.
        """
        checked = self.checker.check(text)
        return checked.value, checked.findings

    def written(self, value: Any, what: str) -> str:
        """Return an answer, as a value of the type or of JSON, in the text that a model would write it in.

        ValueError names `what` where it is not valid.
        """
        from pydantic_core import to_json

        said = json.loads(to_json(value))
        text = said if isinstance(said, str) and not self.is_json else json.dumps(said, ensure_ascii=False)
        findings = self.check(text)[1]
        if findings:
            raise ValueError(f"{what}: the answer is not valid: {findings[0]}")
        return text


def from_any(wanted: Any, options: Mapping[str, Any], style: Style = "json") -> Target:
    """Return the target of a type, a JSON Schema (dict, bool, or JSON text) or a format; SchemaError where refused.

    With the style "text" the answer is the bare text of a type, or of a schema, whose values are strings.
    """
    from guard.schemas.structural import spellings

    if spellings.is_format(wanted):
        target = _from_format(wanted, options)
    else:
        target = _from_schema(wanted, options) if is_schema(wanted) else _of_type(wanted, options)
        target = _bare(target, options) if style == "text" or is_bare(wanted) else target
    return replace(target, made_of=(wanted, dict(options), style))


def _again(made_of: tuple[Any, ...], refused: SchemaError | None) -> Target:
    """Make what a pickle holds."""
    return replace(from_any(*made_of), refused=refused)


def _of_type(wanted: Any, options: Mapping[str, Any]) -> Target:
    if inspect.isfunction(wanted) or inspect.isbuiltin(wanted) or isinstance(getattr(wanted, "target", None), Target):
        name = getattr(wanted, "__qualname__", repr(wanted))
        raise TypeError(f"{name} is a function, and no type; name its return type, or call it where it is structured")
    try:
        return _cached_type(wanted, tuple(sorted(options.items())))
    except TypeError as error:  # unhashable: an annotation such as Annotated[int, []], or an option
        if "unhashable" not in str(error):
            raise
        return _from_type(wanted, options)


def is_schema(wanted: Any) -> bool:
    """Answer whether something is a JSON Schema rather than a type."""
    return isinstance(wanted, Mapping | bool | str | bytes)


def closed(schema: Any) -> Any:
    """Return the schema that Pydantic made of a type with its objects closed to keys that the type does not declare.

    Pydantic drops such keys or refuses them, so no value is lost; a model that may write them goes on inventing them.
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
def _cached_type(wanted: Any, options: tuple[tuple[str, Any], ...]) -> Target:
    return _from_type(wanted, dict(options))


def _from_type(wanted: Any, options: Mapping[str, Any]) -> Target:
    import pydantic

    from guard import schemas
    from guard.schemas import types

    described = types.described(wanted)
    schema = closed(described.schema)
    compiled = schemas.compile(types.Described(schema, described.beyond), **options)
    compiled.check_satisfiable()
    adapter = types.adapter(wanted)

    def validated(text: str, value: Any) -> tuple[Any, tuple[Violation, ...]]:
        try:
            return adapter.validate_json(text), ()
        except pydantic.ValidationError as error:
            found = error.errors(include_url=False, include_context=False)
            return None, from_pydantic(found[:MOST_FINDINGS], value)

    name = "text" if is_bare(wanted) else getattr(wanted, "__name__", None) or str(wanted)
    partials = functools.partial(Partials, wanted)
    return Target(name, schema, compiled, TypeChecker(validated), partials, grounding=_grounding(compiled))


def _from_schema(given: Any, options: Mapping[str, Any]) -> Target:
    from guard import schemas
    from guard.schemas import jsontext, leniency
    from guard.schemas.keywords import DIALECTS

    compiled = schemas.compile(given, **options)
    compiled.check_satisfiable()
    schema = compiled.schema
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
    """Return the target of the same values, written as bare texts; SchemaError where some are no strings."""
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
    """Return what Pydantic found in a value, each with its place in it."""
    return tuple(
        Violation(
            at=pointer(_path(error["loc"], value, missing=error["type"] == "missing")),
            rule=error["type"],
            expected=_expected(error["type"], error["msg"], error["loc"]),
            got="nothing" if error["type"] == "missing" else clipped(error["input"]),
        )
        for error in errors
    )


def _path(loc: tuple[int | str, ...], value: Any, *, missing: bool) -> list[int | str]:
    """Keep the steps of a Pydantic location that lead into the value; the others name branches of unions."""
    path: list[int | str] = []
    for index, step in enumerate(loc):
        if isinstance(value, dict) and step in value:  # noqa: SIM114 (mypy knows the types so)
            value = value[step]
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        elif not (missing and index == len(loc) - 1):
            continue
        path.append(step)
    return path


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

"""The fields of each format, those of XGrammar's structural tag, checked before a net is built.

`checked` returns the same JSON with defaults filled in. docs/formats.md defines the semantics.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, TypeAdapter, ValidationError
from pydantic import Tag as Branch
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from guard.kernels._native import JsonTree
from guard.kernels.errors import Finding, SchemaError
from guard.schemas.jsontext import clip
from guard.schemas.limits import Limits
from guard.schemas.structural.exact import ExactStyle

MOST_DEPTH = 100  #: Nesting levels of formats.
MOST_CHARS = 1_000_000  #: Characters of all texts of a format.
MOST_COUNT = 2**31 - 1


def _branch(given: Any) -> str | None:
    """Return the branch of a union for a value, so that errors are reported for that branch only."""
    return _BRANCHES.get(type(given))


def _one_of(expected: str) -> Discriminator:
    return Discriminator(_branch, custom_error_type="expected", custom_error_message=expected)


def _no_wrapper(given: dict[str, Any]) -> dict[str, Any]:
    """Refuse the object around a schema in OpenAI's response_format: as a schema, it would allow any value."""
    if "schema" in given and given.keys() <= _WRAPPER:
        raise PydanticCustomError("wrapper", "it is no schema but has one in it, as OpenAI's response_format has")
    return given


#: Fields beside a schema in OpenAI's response_format, none of which is a keyword that says anything of a value.
_WRAPPER = frozenset({"name", "description", "schema", "strict"})
#: Names of unions' branches; no field has such a name.
_BRANCHES: dict[type, str] = {bool: "(bool)", str: "(text)", int: "(id)", list: "(list)", dict: "(object)"}
Some: TypeAlias = Annotated[str, Field(min_length=1)]
_Text: TypeAlias = Annotated[str, Branch("(text)")]
_Id: TypeAlias = Annotated[int, Field(ge=0), Branch("(id)")]
_Texts: TypeAlias = Annotated[list[str], Field(min_length=1), Branch("(list)")]
Schema: TypeAlias = Annotated[
    Annotated[bool, Branch("(bool)")] | Annotated[dict[str, Any], AfterValidator(_no_wrapper), Branch("(object)")],
    _one_of("expected a JSON Schema"),
]
TokenName: TypeAlias = Annotated[_Text | _Id, _one_of("expected a token's name or its id")]
_IS_A_LIST = Field(strict=False)  # a JSON array for a tuple

_Named: TypeAlias = Literal[
    "json", "text", "qwen_xml", "minimax_xml", "deepseek_xml", "glm_xml", "cohere_xml", "kimi_k3_xml"
]
Style: TypeAlias = Annotated[
    Annotated[_Named, Branch("(text)")]
    | Annotated[ExactStyle, AfterValidator(ExactStyle.model_dump), Branch("(object)")],
    _one_of("expected a style's name, or an object that says it"),
]


_STRICT = ConfigDict(extra="forbid", strict=True)
#: Fields that may be left out.
_Off: TypeAlias = Annotated[bool, Field(default=False)]
_On: TypeAlias = Annotated[bool, Field(default=True)]
_CountIfAny: TypeAlias = Annotated[Annotated[int, Field(ge=0, le=MOST_COUNT)] | None, Field(default=None)]
_TextsIfAny: TypeAlias = Annotated[list[Some], Field(default_factory=list)]
_TokensIfAny: TypeAlias = Annotated[list[TokenName], Field(default_factory=list)]


class _Form(TypedDict):
    __pydantic_config__ = _STRICT  # type: ignore[misc]


class ConstStringForm(_Form):
    type: Literal["const_string"]
    value: str


class JSONSchemaForm(_Form):
    type: Literal["json_schema"]
    json_schema: Schema
    style: Annotated[Style, Field(default="json")]
    any_order: _Off
    max_whitespace_cnt: Annotated[Annotated[int, Field(ge=0)] | None, Field(default=None)]
    excludes: _TextsIfAny


class QwenXMLParameterForm(_Form):
    type: Literal["qwen_xml_parameter"]
    json_schema: Schema


class AnyTextForm(_Form):
    type: Literal["any_text"]
    excludes: _TextsIfAny
    max_chars: _CountIfAny
    max_tokens: _CountIfAny


class RegexForm(_Form):
    type: Literal["regex"]
    pattern: str
    excludes: _TextsIfAny


class GrammarForm(_Form):
    type: Literal["grammar"]
    grammar: str


class TokenForm(_Form):
    type: Annotated[Literal["token"], Field(default="token")]
    token: TokenName


class ExcludeTokenForm(_Form):
    type: Literal["exclude_token"]
    exclude_tokens: _TokensIfAny


class AnyTokensForm(_Form):
    type: Literal["any_tokens"]
    exclude_tokens: _TokensIfAny
    max_tokens: _CountIfAny


_Token: TypeAlias = Annotated[TokenForm, Branch("(object)")]
Begin: TypeAlias = Annotated[_Text | _Token, _one_of('expected a text or {"token": …}')]
End: TypeAlias = Annotated[_Text | _Texts | _Token, _one_of('expected a text, a list of texts or {"token": …}')]


class SequenceForm(_Form):
    type: Literal["sequence"]
    elements: list[Form]


class OrForm(_Form):
    type: Literal["or"]
    elements: Annotated[list[Form], Field(min_length=1)]


class TagForm(_Form):
    type: Annotated[Literal["tag"], Field(default="tag")]
    begin: Begin
    content: Form
    end: End


class TriggeredTagsForm(_Form):
    type: Literal["triggered_tags"]
    triggers: Annotated[list[Some], Field(min_length=1)]
    tags: Annotated[list[TagForm], Field(min_length=1)]
    at_least_one: _Off
    stop_after_first: _Off
    excludes: _TextsIfAny


class TagsWithSeparatorForm(_Form):
    type: Literal["tags_with_separator"]
    tags: Annotated[list[TagForm], Field(min_length=1)]
    separator: str
    at_least_one: _Off
    stop_after_first: _Off


class TokenTriggeredTagsForm(_Form):
    type: Literal["token_triggered_tags"]
    trigger_tokens: Annotated[list[TokenName], Field(min_length=1)]
    tags: Annotated[list[TagForm], Field(min_length=1)]
    exclude_tokens: _TokensIfAny
    at_least_one: _Off
    stop_after_first: _Off


class OptionalForm(_Form):
    type: Literal["optional"]
    content: Form


class PlusForm(_Form):
    type: Literal["plus"]
    content: Form


class StarForm(_Form):
    type: Literal["star"]
    content: Form


class RepeatForm(_Form):
    type: Literal["repeat"]
    min: Annotated[int, Field(ge=0, le=MOST_COUNT)]
    max: Annotated[int, Field(ge=-1, le=MOST_COUNT)]
    content: Form


class DispatchForm(_Form):
    type: Literal["dispatch"]
    rules: list[Annotated[tuple[Some, Form], _IS_A_LIST]]
    loop: _On
    excludes: _TextsIfAny


class TokenDispatchForm(_Form):
    type: Literal["token_dispatch"]
    rules: list[Annotated[tuple[TokenName, Form], _IS_A_LIST]]
    loop: _On
    exclude_tokens: _TokensIfAny


Form: TypeAlias = Annotated[
    ConstStringForm
    | JSONSchemaForm
    | QwenXMLParameterForm
    | AnyTextForm
    | RegexForm
    | GrammarForm
    | TokenForm
    | ExcludeTokenForm
    | AnyTokensForm
    | SequenceForm
    | OrForm
    | TagForm
    | TriggeredTagsForm
    | TagsWithSeparatorForm
    | TokenTriggeredTagsForm
    | OptionalForm
    | PlusForm
    | StarForm
    | RepeatForm
    | DispatchForm
    | TokenDispatchForm,
    Field(discriminator="type"),
]


@cache
def _adapter() -> TypeAdapter[Any]:
    return TypeAdapter(Form)


def checked(form: Any, limits: Limits, *, is_private: bool = False) -> Any:
    """Return a copy of a format with defaults filled in; SchemaError names the first wrong field.

    Its schemas are those of the format where that `is_private`, and copies otherwise.
    """
    if not is_private:
        copied = JsonTree.of(form, *bounds(limits))
        if copied is None:
            _check_size(form)
        else:
            form = copied.contents
    try:
        return _adapter().validate_python(form)
    except ValidationError as error:
        raise SchemaError([_finding(form, one) for one in error.errors(include_url=False)[:20]]) from None


def bounds(limits: Limits) -> tuple[int, int]:
    """Return how deep a format may nest, and how large it may be, to be copied as a whole."""
    return min(MOST_DEPTH, limits.depth), min(MOST_CHARS, limits.bytes)


def formats_in(form: Mapping[str, Any], at: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield a format and those nested in it, each with its JSON Pointer, outermost first."""
    yield at, form
    for name in ("content", "elements", "tags", "rules"):
        if name == "content" and name in form:
            yield from formats_in(form[name], f"{at}/{name}")
        for number, one in enumerate(form.get(name, ()) if name != "content" else ()):
            yield from formats_in(one[1] if name == "rules" else one, f"{at}/{name}/{number}")


def _check_size(form: Any) -> None:
    waiting, chars = [(form, 0)], 0
    while waiting:
        part, depth = waiting.pop()
        inside: Sequence[Any]
        if isinstance(part, dict):
            depth += "type" in part
            inside = [value for key, value in part.items() if key != "json_schema"]
        else:
            inside = part if isinstance(part, list | tuple) else [part]
        chars += sum([len(value) for value in inside if isinstance(value, str)])
        waiting += [(value, depth) for value in inside if isinstance(value, dict | list | tuple)]
        if depth > MOST_DEPTH:
            raise SchemaError(
                Finding("/format", None, f"formats nest deeper than {MOST_DEPTH}", "nest them less deeply")
            )
        if chars > MOST_CHARS:
            raise SchemaError(
                Finding("/format", None, f"its texts have more than {MOST_CHARS:,} characters", "say less")
            )


def _finding(form: Any, error: Any) -> Finding:
    """Turn one of Pydantic's errors into a finding."""
    kind, steps, at = error["type"], *_place(form, error)
    pointer = "/format" + "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in steps)
    name = next((step for step in reversed(steps) if not step.isdigit()), None)
    if kind == "extra_forbidden":
        return Finding(pointer, name, "no field of this format", "leave it out")
    if kind == "missing":
        return Finding(pointer, name, "missing", "add it")
    if kind == "wrapper":
        return Finding(pointer, name, error["msg"], "write that schema here")
    if kind == "union_tag_invalid":
        return Finding(f"{pointer}/type", "type", f"no type of a format: {clip(at['type'])}", "see docs/formats.md")
    if kind == "union_tag_not_found" and isinstance(at, dict):
        return Finding(f"{pointer}/type", "type", "missing", "add it")
    context = error.get("ctx", {})
    expected = error["msg"] if kind == "expected" else _EXPECTED.get(kind, "").format_map(context)
    if not expected:
        return Finding(pointer, name, error["msg"], "correct it")
    return Finding(pointer, name, f"{expected}, found {_described(at, context)}", "correct it")


#: Messages for Pydantic's kinds of errors. `_one_of` words those of unions.
_EXPECTED = {
    "string_type": "expected a text",
    "int_type": "expected an integer",
    "bool_type": "expected true or false",
    "list_type": "expected a list",
    "tuple_type": "expected a pair",
    "dict_type": "expected an object",
    "model_attributes_type": "expected a format",
    "union_tag_not_found": "expected a format",
    "greater_than_equal": "expected at least {ge}",
    "less_than_equal": "expected at most {le}",
    "too_short": "expected at least one",
    "too_long": "expected a pair",
    "string_too_short": "expected a text that is not empty",
    "literal_error": "expected {expected}",
}


def _place(form: Any, error: Any) -> tuple[list[str], Any]:
    """Return the steps to the place of an error, and the value there.

    Pydantic's steps include the branches of unions, which are left out: types of formats, and those of `_BRANCHES`.
    """
    at, steps, is_whole = form, [], True
    loc = error["loc"]
    for number, step in enumerate(loc):
        is_field = error["type"] in ("missing", "extra_forbidden") and number == len(loc) - 1
        if not is_field and (
            step in _BRANCHES.values() or (is_whole and isinstance(at, dict) and step == at.get("type"))
        ):
            is_whole = False
            continue
        steps.append(str(step))
        at, is_whole = _below(at, step), True
    return steps, at


def _below(at: Any, step: Any) -> Any:
    if isinstance(at, dict):
        return at.get(step)
    return at[step] if isinstance(at, list | tuple) and isinstance(step, int) and step < len(at) else None


def _described(at: Any, context: Mapping[str, Any]) -> str:
    if isinstance(at, list | tuple):
        return f"{len(at)} elements" if "field_type" in context else "a list"
    if isinstance(at, dict):
        return "an object"
    return json.dumps(at) if at is None or isinstance(at, bool) else clip(at)

"""What each format may say: the fields of XGrammar's structural tag, checked before anything is built of them.

`checked` returns the same JSON with defaults filled in. The semantics are those of docs/formats.md.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from guard.kernels.errors import Finding, SchemaError

MOST_DEPTH = 100  #: Formats in formats.
MOST_COUNT = 2**31 - 1


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ConstStringForm(_Form):
    type: Literal["const_string"]
    value: str


class JSONSchemaForm(_Form):
    type: Literal["json_schema"]
    json_schema: bool | dict[str, Any]
    style: Literal["json", "qwen_xml", "minimax_xml", "deepseek_xml", "glm_xml", "cohere_xml", "kimi_k3_xml"] = "json"
    any_order: bool = False
    max_whitespace_cnt: Annotated[int, Field(ge=0)] | None = None
    excludes: list[str] = []


class QwenXMLParameterForm(_Form):
    type: Literal["qwen_xml_parameter"]
    json_schema: bool | dict[str, Any]


class AnyTextForm(_Form):
    type: Literal["any_text"]
    excludes: list[str] = []
    max_chars: Annotated[int, Field(ge=0, le=MOST_COUNT)] | None = None
    max_tokens: Annotated[int, Field(ge=0, le=MOST_COUNT)] | None = None


class RegexForm(_Form):
    type: Literal["regex"]
    pattern: str
    excludes: list[str] = []


class GrammarForm(_Form):
    type: Literal["grammar"]
    grammar: str


class TokenForm(_Form):
    type: Literal["token"] = "token"
    token: int | str


class ExcludeTokenForm(_Form):
    type: Literal["exclude_token"]
    exclude_tokens: list[int | str] = []


class AnyTokensForm(_Form):
    type: Literal["any_tokens"]
    exclude_tokens: list[int | str] = []
    max_tokens: Annotated[int, Field(ge=0, le=MOST_COUNT)] | None = None


class SequenceForm(_Form):
    type: Literal["sequence"]
    elements: list[Form]


class OrForm(_Form):
    type: Literal["or"]
    elements: Annotated[list[Form], Field(min_length=1)]


class TagForm(_Form):
    type: Literal["tag"] = "tag"
    begin: str | TokenForm
    content: Form
    end: str | list[str] | TokenForm

    @field_validator("end")
    @classmethod
    def _has_an_end(cls, end: Any) -> Any:
        if end == []:
            raise ValueError("must name an end")
        return end


class TriggeredTagsForm(_Form):
    type: Literal["triggered_tags"]
    triggers: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
    tags: Annotated[list[TagForm], Field(min_length=1)]
    at_least_one: bool = False
    stop_after_first: bool = False
    excludes: list[str] = []


class TagsWithSeparatorForm(_Form):
    type: Literal["tags_with_separator"]
    tags: Annotated[list[TagForm], Field(min_length=1)]
    separator: str
    at_least_one: bool = False
    stop_after_first: bool = False


class TokenTriggeredTagsForm(_Form):
    type: Literal["token_triggered_tags"]
    trigger_tokens: Annotated[list[int | str], Field(min_length=1)]
    tags: Annotated[list[TagForm], Field(min_length=1)]
    exclude_tokens: list[int | str] = []
    at_least_one: bool = False
    stop_after_first: bool = False


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
    rules: list[tuple[Annotated[str, Field(min_length=1)], Form]]
    loop: bool = True
    excludes: list[str] = []


class TokenDispatchForm(_Form):
    type: Literal["token_dispatch"]
    rules: list[tuple[int | str, Form]]
    loop: bool = True
    exclude_tokens: list[int | str] = []


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
_NESTING: tuple[type[_Form], ...] = (
    *(
        SequenceForm,
        OrForm,
        TagForm,
        TriggeredTagsForm,
        TagsWithSeparatorForm,
        TokenTriggeredTagsForm,
        OptionalForm,
        PlusForm,
        StarForm,
        RepeatForm,
        DispatchForm,
    ),
    TokenDispatchForm,
)


@cache
def _adapter() -> TypeAdapter[Any]:
    for model in _NESTING:
        model.model_rebuild()
    return TypeAdapter(Form)


def checked(form: Any) -> Any:
    """Return a format with all of its fields; SchemaError names the first that is wrong."""
    try:
        return _adapter().dump_python(_adapter().validate_python(_listed(form)))
    except ValidationError as error:
        raise SchemaError([_finding(form, one) for one in error.errors(include_url=False)[:20]]) from None


def _listed(form: Any, depth: int = 0) -> Any:
    """JSON has no tuples, which rules are in Python: nothing else of the JSON changes."""
    if depth > 4 * MOST_DEPTH:
        raise SchemaError(Finding("/format", None, "formats nest too deeply", f"nest at most {MOST_DEPTH}"))
    if isinstance(form, dict):
        out = {key: value if key == "json_schema" else _listed(value, depth + 1) for key, value in form.items()}
        if out.get("type") in ("dispatch", "token_dispatch") and isinstance(out.get("rules"), list):
            out["rules"] = [tuple(rule) if isinstance(rule, list) else rule for rule in out["rules"]]
        return out
    return [_listed(one, depth + 1) for one in form] if isinstance(form, list) else form


def _finding(form: Any, error: Any) -> Finding:
    """Word one of Pydantic's errors; its place has the types of unions among its steps, which are no steps of JSON."""
    at, steps = form, []
    for step in error["loc"]:
        if isinstance(at, dict) and (step in at or error["type"] == "missing") and step != at.get("type"):
            steps.append(str(step))
            at = at.get(step)
        elif isinstance(at, list | tuple) and isinstance(step, int) and step < len(at):
            steps.append(str(step))
            at = at[step]
    pointer = "/format" + "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in steps)
    kind = error["type"]
    if kind == "extra_forbidden":
        return Finding(pointer, steps[-1] if steps else None, "no field of this format", "leave it out")
    if kind == "missing":
        return Finding(pointer, steps[-1] if steps else None, "missing", "add it")
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return Finding(pointer, "type", f"{_type_of(at)!r} is no type of a format", "use one of docs/formats.md")
    message = error["msg"].removeprefix("Value error, ")
    return Finding(pointer, None, message[:1].lower() + message[1:], "correct it")


def _type_of(at: Any) -> Any:
    return at.get("type") if isinstance(at, dict) else at

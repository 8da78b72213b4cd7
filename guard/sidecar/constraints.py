"""Every field by which a request may constrain its answer. Each is honoured, or refused by name.

OpenAI's word is `response_format`. vLLM, SGLang, llama.cpp, Ollama and TGI have a dozen others for the same thing, and
a server that does not know one ignores it. So `understood` reads them all: a JSON Schema in any spelling becomes a
`response_format`; a regular expression, a list of choices, a grammar or a structural tag becomes a `Language` of plain
texts, as a format (docs/formats.md). A constraint that cannot be checked here is refused. For models that decode here,
`check_known` refuses every unknown field.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from guard.output.text_target import as_format, matching
from guard.schemas.structural.spellings import is_tag
from guard.sidecar.errors import bad
from guard.sidecar.schema_cache import LIMITS

#: Fields that hold a JSON Schema, as an object or as its text. A dot leads into an object.
SCHEMAS = (
    *("guided_json", "structured_outputs.json", "nvext.guided_json", "json_schema", "format", "output_config.format"),
    "output_format",
)
#: Fields that hold a regular expression, which the whole answer must match.
PATTERNS = ("guided_regex", "structured_outputs.regex", "nvext.guided_regex", "regex", "regex_pattern")
#: Fields that hold a list of texts, of which the answer must be one.
CHOICES = ("guided_choice", "structured_outputs.choice", "nvext.guided_choice")
#: Fields that hold a grammar: GBNF, XGrammar's EBNF, or Lark.
GRAMMARS = ("guided_grammar", "structured_outputs.grammar", "nvext.guided_grammar", "grammar", "ebnf", "lark")
#: Fields that hold a structural tag, as an object or as its text.
TAGS = ("structural_tag", "structured_outputs.structural_tag", "guided_structural_tag")
#: Fields that ask for any JSON object.
OBJECTS = ("guided_json_object", "structured_outputs.json_object")
#: Fields that constrain an answer in a language that Guard does not read, or that change how JSON is written.
UNREAD = (
    *("grammar_string", "stop_regex", "custom_logit_processor", "logits_processors"),
    *("guided_whitespace_pattern", "structured_outputs.whitespace_pattern"),
    *("structured_outputs.disable_any_whitespace", "structured_outputs.disable_additional_properties"),
    *("grammar_lazy", "grammar_triggers", "grammar_json_functions", "guided_decoding_params"),
    "guided_decoding",
)
#: Fields that say only which engine a server should use.
ENGINES = ("guided_decoding_backend", "structured_outputs.backend", "structured_outputs.disable_fallback")
#: Arguments of the SDK that callers mistake for fields of the body.
_NO_FIELD = ("extra_body", "structured_outputs.extra_body", "sampling_params")

#: Fields of a chat that do not change the answer: notes for the provider's own use.
NOTES = frozenset(
    {
        *("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_options"),
        *("prompt_cache_retention", "include", "truncation", "client_metadata"),
    }
)
#: Members of a response_format that do not change what it asks for.
_FORMAT_NOTES = frozenset({"type", "name", "description", "strict"})
#: Fields that hold lists or tables of wishes: an empty one asks for nothing. Elsewhere an empty object may ask for
#: something, as that of `web_search_options` does, or is a value of a wrong type.
_LISTS = frozenset(
    {
        *("functions", "tools", "stop", "stop_token_ids", "bad_words", "documents", "plugins", "models"),
        *("logits_processors", "stop_regex", "grammar_triggers"),
    }
)
_TABLES = frozenset(
    {
        *("logit_bias", "chat_template_kwargs", "mm_processor_kwargs", "vllm_xargs", "kv_transfer_params", "options"),
        *("guided_decoding", "guided_decoding_params", "extra_body", "structured_outputs.extra_body", "reasoning"),
        *("sampling_params", "provider"),
    }
)
#: Values with which a field asks for nothing.
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys(
        ("frequency_penalty", "presence_penalty", "min_p", "min_tokens", "repeat_last_n", "logprobs"), (0,)
    ),
    **dict.fromkeys(("repetition_penalty", "repeat_penalty", "typical_p", "length_penalty", "best_of", "top_p"), (1,)),
    **dict.fromkeys(("skip_special_tokens", "spaces_between_special_tokens", "add_generation_prompt"), (True,)),
    "top_k": (0, -1),
    "modalities": (["text"],),
    "verbosity": ("medium",),
    "reasoning_effort": ("none",),
    "reasoning": ({"effort": "none"}, {"enabled": False}),
    "chat_template_kwargs": ({"enable_thinking": False}, {"thinking": False}),
}


@dataclass(frozen=True)
class Language:
    """The plain texts that an answer may be, as a format. `field` is the field that asked for it."""

    field: str
    format: Mapping[str, Any]
    is_told: bool = False  # whether the client sent a format; False where it was made here from a pattern or a list


class Understood(NamedTuple):
    """A request's body in OpenAI's fields, with the constraint on its answer."""

    body: dict[str, Any]
    language: Language | None  # of the answer, where that is plain text
    place: str  # where in the body, as it came, the schema or the language stands; "": nowhere


def understood(body: dict[str, Any]) -> Understood:
    """Read the constraint that a body puts on its answer. Raises ApiError for one that can't be honoured.

    The returned body has a `response_format` in place of all fields that ask for a JSON Schema or an object. Fields
    that ask for a language are kept, for a model's server that knows them.
    """
    constraining = _FIELDS.intersection(body)
    if not constraining:  # as of most bodies
        return Understood(body, None, "")
    elsewhere = [] if constraining == _OPENAIS else _elsewhere(body)
    found = [*_formats(body), *elsewhere]
    if not found:
        return Understood(body, None, "")
    first, *others = found
    for other in others:
        if other.meaning != first.meaning:
            raise bad(f"{other.field} and {first.field} ask for different answers; send one of them", other.field)
    if first.language is not None:
        return Understood(body, first.language, first.place)
    kept = body if constraining == _OPENAIS else _without_schemas(body)
    return Understood({**kept, "response_format": first.format}, None, first.place)


def _elsewhere(body: Mapping[str, Any]) -> list[_Wanted]:
    """Return the constraints of all fields but `response_format`. Raises ApiError for one that can't be honoured."""
    for field in (*UNREAD, *_NO_FIELD):
        value = _value(body, field)
        if not is_neutral(field, value):
            words = "is an argument of SDKs, whose fields belong into the body itself"
            raise _refused(field, words if field in _NO_FIELD else "can't be enforced or checked here")
    if isinstance(given := body.get("structured_outputs"), Mapping):
        known = [field.partition(".")[2] for field in _ALL if field.startswith("structured_outputs.")]
        for key, value in given.items():
            if key not in known and not is_neutral(key, value):
                raise _refused(f"structured_outputs.{key}", "is not known here")
    elif given is not None:
        raise bad("structured_outputs must be an object", "structured_outputs")
    found = list(_typed_grammar(body))
    for read, fields in _READERS:
        found += [
            read(field, value)
            for field in fields
            if not is_neutral(field, value := _value(body, field)) and not (field == "grammar" and _is_typed(value))
        ]
    return found


def _without_schemas(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body without the fields that `response_format` stands in for."""
    kept = {field: value for field, value in body.items() if field != "grammar"}
    for field in (*SCHEMAS, *OBJECTS, *ENGINES):
        outer, _, inner = field.partition(".")
        if inner and isinstance(kept.get(outer), Mapping):
            kept[outer] = {key: value for key, value in kept[outer].items() if key != inner}
        if not inner or not kept.get(outer):
            kept.pop(outer, None)
    return kept


def check_known(body: Mapping[str, Any], known: Iterable[str], name: str) -> None:
    """Refuse a field that is not known to the model `name`, unless it asks for nothing."""
    told = {"grammar", *known, *NOTES}
    told |= {*(field.partition(".")[0] for field in (*_READ, *ENGINES))}
    for field, value in body.items():
        is_told = field in told and (field not in _OUTER or isinstance(value, Mapping))
        if not is_told and not is_neutral(field, value):
            raise _refused(field, f"is nothing that {name} can do")
        for key, inner in value.items() if field in _OUTER and isinstance(value, Mapping) else ():
            if f"{field}.{key}" not in (*_ALL, *told) and not is_neutral(key, inner):
                raise _refused(f"{field}.{key}", f"is nothing that {name} can do")


def check_tools(tools: Any) -> None:
    """Raise ApiError for a tool whose input must match a grammar, which Guard does not check."""
    for number, tool in enumerate(tools if isinstance(tools, list) else ()):
        if not isinstance(tool, Mapping) or tool.get("type") != "custom":
            continue
        at = "custom.format" if isinstance(tool.get("custom"), Mapping) else "format"
        wanted = _value(tool, at)
        if isinstance(wanted, Mapping) and wanted.get("type") == "grammar":
            words = "can't be checked here; leave it out, or set validate_tools = false"
            raise bad(f"tools.{number}.{at} {words}", f"tools.{number}.{at}", "unsupported_value")


def is_neutral(field: str, value: Any) -> bool:
    """Whether a value asks for nothing."""
    if (field in SCHEMAS and (value is False or value in ({}, []))) or (field in CHOICES and value == []):
        return False  # these are schemas too, or a list that no text is in
    kept = _NEUTRAL.get(field, ())
    if value is None or value == "" or (value == [] and field in _LISTS) or (value == {} and field in _TABLES):
        return True
    if value is False:
        return not any(other is True for other in kept)  # where that is the default, false asks for something
    return any(value == other and (value is True) == (other is True) for other in kept)


@dataclass(frozen=True)
class _Wanted:
    """The constraint of one field: a response_format, or a language."""

    field: str
    format: Mapping[str, Any] | None = None
    language: Language | None = None
    place: str = ""  # where the schema, the expression or the list stands

    @property
    def meaning(self) -> tuple[str, Any]:
        """A key that is equal where two fields ask for the same."""
        if self.language is not None:
            return "text", self.language.format
        assert self.format is not None
        inner = self.format.get("json_schema") if self.format["type"] == "json_schema" else None
        return self.format["type"], inner.get("schema") if isinstance(inner, Mapping) else inner


def _formats(body: Mapping[str, Any]) -> Iterator[_Wanted]:
    """Yield the constraints of `response_format`, in any server's dialect. Its class refuses a malformed one later."""
    given = body.get("response_format")
    if not isinstance(given, Mapping) or given.get("type") is None:
        return
    if given["type"] == "text":
        return _check_members(given, "")
    kind = given["type"]
    inner = next((key for key in ("schema", "value") if given.get(key) is not None), "")
    is_plain = kind == "json_schema" and given.get("json_schema") is not None
    if kind in ("json_object", "json_schema", "json") and inner and not is_plain:
        used, wanted = inner, _of_schema(f"response_format.{inner}", given[inner])
    elif kind in ("json_object", "json_schema"):
        place = "response_format.json_schema.schema"
        used, wanted = "json_schema" if is_plain else "", _Wanted("response_format", given, place=place)
    elif kind == "structural_tag":
        yield _of_tag("response_format", given)
        return
    elif kind in ("regex", "regex_schema"):
        used = next((key for key in ("regex", "pattern", "regex_schema", "schema", "value") if key in given), "pattern")
        wanted = _of_pattern(f"response_format.{used}", given.get(used))
    elif kind == "grammar":
        used, wanted = "grammar", _of_grammar("response_format.grammar", given.get("grammar"))
    else:
        raise bad(f"response_format.type {str(kind)[:60]!r} is not known", "response_format.type")
    _check_members(given, used)
    if used == "json_schema" and isinstance(named := given["json_schema"], Mapping):
        for key, value in named.items():
            if key not in (*_FORMAT_NOTES, "schema") and value is not None:
                raise _refused(f"response_format.json_schema.{key}", "is nothing that a json_schema has")
    yield wanted


def _check_members(given: Mapping[str, Any], used: str) -> None:
    """Refuse a member of a response_format that nothing reads."""
    for key, value in given.items():
        if key != used and key not in _FORMAT_NOTES and not is_neutral(key, value):
            raise _refused(f"response_format.{key}", f"is nothing that the type {given['type']} has")


def _is_typed(grammar: Any) -> bool:
    return isinstance(grammar, Mapping) and grammar.get("type") in ("json", "json_object", "json_schema", "regex")


def _typed_grammar(body: Mapping[str, Any]) -> Iterator[_Wanted]:
    """Yield the constraint of TGI's `grammar`: a type and a value."""
    given = body.get("grammar")
    if isinstance(given, Mapping) and _is_typed(given):
        read = _of_pattern if given["type"] == "regex" else _of_schema
        yield read("grammar.value", given.get("value"))


def _of_schema(field: str, value: Any) -> _Wanted:
    if field == "format" and value == "json":
        return _of_object(field, True)
    if isinstance(value, str):
        try:
            value = json.loads(value) if len(value) <= LIMITS.bytes else None
        except (ValueError, RecursionError):
            raise bad(f"{field} must be a JSON Schema, or the text of one", field) from None
    place = field
    is_wrapped = isinstance(value, Mapping) and ("name" in value or value.get("type") == "json_schema")
    if is_wrapped and isinstance(inner := value.get("schema"), Mapping | bool):  # as OpenAI and Anthropic have it
        value, place = inner, f"{field}.schema"
    if not isinstance(value, Mapping | bool):
        raise bad(f"{field} must be a JSON Schema, or the text of one", field)
    return _Wanted(field, {"type": "json_schema", "json_schema": {"name": "value", "schema": value}}, place=place)


def _of_object(field: str, value: Any) -> _Wanted:
    if value is not True:
        raise bad(f"{field} must be true or false", field)
    return _Wanted(field, {"type": "json_object"})


def _of_pattern(field: str, value: Any) -> _Wanted:
    if not isinstance(value, str):
        raise bad(f"{field} must be a regular expression", field)
    return _Wanted(field, language=Language(field, as_format(matching(value))), place=field)


def _of_choice(field: str, value: Any) -> _Wanted:
    if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
        raise bad(f"{field} must be a list of texts", field)
    listed = {"type": "string", "enum": list(dict.fromkeys(value))}
    return _Wanted(field, language=Language(field, as_format(listed)), place=field)


def _of_grammar(field: str, value: Any) -> _Wanted:
    if not isinstance(value, str):
        raise bad(f"{field} must be the text of a grammar", field)
    return _Wanted(field, language=Language(field, {"type": "grammar", "grammar": value}), place=field)


def _of_tag(field: str, value: Any) -> _Wanted:
    if isinstance(value, str):
        try:
            value = json.loads(value) if len(value) <= LIMITS.bytes else None
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, dict) or not is_tag(value):
        raise bad(f"{field} must be a structural tag, or the text of one", field)
    return _Wanted(field, language=Language(field, value, is_told=True), place=field)


_READERS: tuple[tuple[Callable[[str, Any], _Wanted], tuple[str, ...]], ...] = (
    (_of_schema, SCHEMAS),
    (_of_pattern, PATTERNS),
    (_of_choice, CHOICES),
    (_of_grammar, GRAMMARS),
    (_of_tag, TAGS),
    (_of_object, OBJECTS),
)
_READ = tuple(field for _, fields in _READERS for field in fields)
_ALL = (*_READ, *UNREAD, *ENGINES, *_NO_FIELD)
_OUTER = frozenset(field.partition(".")[0] for field in _ALL if "." in field)
_OPENAIS = frozenset({"response_format"})
_FIELDS = frozenset({*_OPENAIS, *(field.partition(".")[0] for field in _ALL)})  # of a body's outermost object


def _value(body: Mapping[str, Any], field: str) -> Any:
    outer, _, inner = field.partition(".")
    value = body.get(outer)
    if not inner:
        return value
    return value.get(inner) if isinstance(value, Mapping) else None


def _refused(field: str, why: str) -> Exception:
    return bad(f"{field} {why}; leave it out", field, "unsupported_value")

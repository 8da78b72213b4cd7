"""Spellings of a format: XGrammar's structural tag, its older form, vLLM's structured_outputs, or a bare format."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from guard.kernels.errors import Finding, SchemaError
from guard.schemas import jsontext
from guard.schemas.limits import Limits

#: XGrammar's format types.
TYPES = frozenset(
    {"const_string", "json_schema", "any_text", "grammar", "regex", "qwen_xml_parameter", "or", "sequence", "tag"}
    | {"triggered_tags", "tags_with_separator", "optional", "plus", "star", "repeat", "dispatch", "token"}
    | {"exclude_token", "any_tokens", "token_triggered_tags", "token_dispatch"}
)
#: vLLM's constraints, of which `structured_outputs` has one, and fields that do not change the language.
CONSTRAINTS = ("json", "regex", "choice", "grammar", "json_object", "structural_tag")
_HOW = frozenset({"disable_fallback", "backend", "_backend", "_backend_was_auto"})
#: Fields that would change the language: refused unless they have no effect.
_LOOKS = ("disable_any_whitespace", "disable_additional_properties", "whitespace_pattern")
_CONSTRAINTS = frozenset(CONSTRAINTS)
_FIELDS = _CONSTRAINTS | _HOW | frozenset(_LOOKS)
_TAGS = TYPES | {"structural_tag"}


def is_format(given: Any) -> bool:
    """Whether the argument of `compile` is a format rather than a schema. O(1)."""
    if is_tag(given):
        return True
    if type(given) is not dict or _CONSTRAINTS.isdisjoint(given):  # quick: every compile asks, and few ask for a format
        return False
    return bool(_asked(given)) and given.keys() <= _FIELDS


def is_tag(given: Any) -> bool:
    """Whether the argument is a structural tag, in XGrammar's current or older form, or a bare format. O(1)."""
    if type(given) is not dict:
        return False
    kind = given.get("type")
    return (isinstance(kind, str) and kind in _TAGS) or ("structures" in given and "triggers" in given)


def as_tag(given: Any) -> Any:
    """Return the structural tag `{"type": "structural_tag", "format": …}`; SchemaError where `given` is no format."""
    if not is_format(given):
        raise SchemaError(Finding("", None, "it is no format", "see docs/formats.md"))
    if given.get("type") in TYPES:
        return {"type": "structural_tag", "format": given}
    if "structures" in given:
        return _of_structures(given)
    if given.get("type") == "structural_tag":
        _check_fields(given, ("type", "format"), "", "a structural tag")
        if "format" not in given:
            raise SchemaError(Finding("/format", None, "missing", "add it"))
        return given
    for name in _LOOKS:
        if given.get(name) not in (None, False):
            raise SchemaError(Finding(f"/{name}", name, "it can't be kept", "leave it out"))
    asked = _asked(given)
    if len(asked) > 1:
        found = f"{asked[0]} and {asked[1]} ask for different answers"
        raise SchemaError(Finding(f"/{asked[1]}", None, found, "send one of them"))
    return {"type": "structural_tag", "format": _of_constraint(asked[0], given[asked[0]])}


def place_of(given: Mapping[str, Any], pointer: str) -> str:
    """Translate a JSON Pointer into the structural tag to one into the format as the caller gave it."""
    if is_tag(given):
        if "structures" not in given:
            return pointer
        within = re.fullmatch(r"/format/(tags/(\d+)(/content/json_schema)?|triggers)(.*)", pointer, re.DOTALL)
        if within is None:
            return "/structures"
        name, number, schema, below = within.groups()
        return f"/structures/{number}{'/schema' if schema else ''}{below}" if number else f"/{name}{below}"
    name = _asked(given)[0]
    if not pointer.startswith("/format"):
        return pointer
    below = pointer.removeprefix("/format")
    if name == "structural_tag":
        inner = given[name]
        tag = jsontext.parse(inner, Limits(), "") if isinstance(inner, str) else inner
        return f"/{name}{place_of(tag, pointer)}"
    if name == "choice":
        return f"/{name}{below.removeprefix('/elements').removesuffix('/value')}"
    for made in ("/json_schema", "/pattern", "/grammar"):
        below = below.removeprefix(made)
    return f"/{name}{below}"


def _check_fields(given: Mapping[str, Any], known: tuple[str, ...], at: str, what: str) -> None:
    for name in given:
        if name not in known:
            step = str(name).replace("~", "~0").replace("/", "~1")
            raise SchemaError(Finding(f"{at}/{step}", str(name), f"no field of {what}", "leave it out"))


def _asked(given: Mapping[str, Any]) -> list[str]:
    return [name for name in CONSTRAINTS if given.get(name) is not None and given[name] is not False]


def _of_structures(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the older form as a format: free text in which each trigger begins one of the structures."""
    tags = []
    _check_fields(given, ("type", "structures", "triggers"), "", "a structural tag with structures")
    for number, one in enumerate(_list_of(given, "structures")):
        place = f"/structures/{number}"
        if not isinstance(one, Mapping):
            raise SchemaError(Finding(place, "structures", "expected an object", "give it begin, schema and end"))
        _check_fields(one, ("begin", "schema", "end"), place, "a structure")
        for name in ("begin", "end"):
            if not isinstance(one.get(name), str):
                found = "expected a text" if name in one else "missing"
                raise SchemaError(Finding(f"{place}/{name}", name, found, "write the text"))
        content = {"type": "json_schema", "json_schema": one.get("schema", True)}
        tags.append({"type": "tag", "begin": one["begin"], "content": content, "end": one["end"]})
    triggers = _list_of(given, "triggers")
    form = {"type": "triggered_tags", "triggers": triggers, "tags": tags}
    return {"type": "structural_tag", "format": form}


def _of_constraint(name: str, value: Any) -> Any:
    if name in ("structural_tag", "json") and isinstance(value, str):
        value = jsontext.parse(value, Limits(), "")
    if name == "structural_tag":
        return as_tag(value)["format"]
    if name in ("regex", "grammar"):
        if not isinstance(value, str):
            raise SchemaError(Finding(f"/{name}", name, "expected a text", "write it as one"))
        return {"type": "regex", "pattern": value} if name == "regex" else {"type": "grammar", "grammar": value}
    if name == "choice":
        texts = _list_of({name: value}, name)
        for number, one in enumerate(texts):
            if not isinstance(one, str):
                raise SchemaError(Finding(f"/choice/{number}", name, "expected a text", "write it as one"))
        return {"type": "or", "elements": [{"type": "const_string", "value": one} for one in texts]}
    return {"type": "json_schema", "json_schema": {"type": "object"} if name == "json_object" else value}


def _list_of(given: Mapping[str, Any], name: str) -> list[Any]:
    """Return the list of that name; SchemaError where it is empty or no list."""
    value = given.get(name)
    if not isinstance(value, list | tuple) or not value:
        raise SchemaError(Finding(f"/{name}", name, "expected a list of at least one", "write it as one"))
    return list(value)

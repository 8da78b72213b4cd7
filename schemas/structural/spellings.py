"""The spellings of a format: XGrammar's structural tag, its older form, vLLM's structured_outputs, a format alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guard.kernels.errors import Finding, SchemaError

#: XGrammar's format types.
TYPES = frozenset(
    {"const_string", "json_schema", "any_text", "grammar", "regex", "qwen_xml_parameter", "or", "sequence", "tag"}
    | {"triggered_tags", "tags_with_separator", "optional", "plus", "star", "repeat", "dispatch", "token"}
    | {"exclude_token", "any_tokens", "token_triggered_tags", "token_dispatch"}
)
#: vLLM's constraints, one of which stands in `structured_outputs`, and the fields that say only how it is kept.
CONSTRAINTS = ("json", "regex", "choice", "grammar", "json_object", "structural_tag")
_HOW = frozenset({"disable_fallback", "backend", "_backend", "_backend_was_auto"})


def is_format(given: Any) -> bool:
    """Whether what `compile` is given is a format, and no schema."""
    return isinstance(given, Mapping) and as_tag(given, is_asked=True) is not None


def as_tag(given: Any, *, is_asked: bool = False) -> Any:
    """Return a structural tag `{"type": "structural_tag", "format": …}`; with `is_asked` None where it is no format."""
    if isinstance(given, Mapping):
        if given.get("type") == "structural_tag" and ("format" in given or "structures" in given):
            return _of_structures(given) if "structures" in given else dict(given)
        if isinstance(given.get("type"), str) and given["type"] in TYPES:
            return {"type": "structural_tag", "format": dict(given)}
        if "structures" in given and "triggers" in given:
            return _of_structures(given)
        asked = [name for name in CONSTRAINTS if given.get(name) is not None and given[name] is not False]
        if asked and given.keys() <= {*CONSTRAINTS, *_HOW}:
            if len(asked) > 1:
                found = f"{asked[0]} and {asked[1]} ask for different answers"
                raise SchemaError(Finding(f"/{asked[1]}", None, found, "send one of them"))
            return {"type": "structural_tag", "format": _of_constraint(asked[0], given[asked[0]])}
    if is_asked:
        return None
    raise SchemaError(Finding("", None, "it is no format", "see docs/formats.md"))


def _of_structures(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the older form says: free text in which each trigger begins one of the structures."""
    tags = [
        {
            "type": "tag",
            "begin": one["begin"],
            "content": {"type": "json_schema", "json_schema": one.get("schema", True)},
            "end": one["end"],
        }
        for one in given["structures"]
    ]
    return {
        "type": "structural_tag",
        "format": {"type": "triggered_tags", "triggers": list(given["triggers"]), "tags": tags},
    }


def _of_constraint(name: str, value: Any) -> Any:
    if name == "structural_tag":
        return as_tag(value)["format"]
    if name == "regex":
        return {"type": "regex", "pattern": value}
    if name == "choice":
        return {"type": "or", "elements": [{"type": "const_string", "value": one} for one in value]}
    if name == "grammar":
        return {"type": "grammar", "grammar": value}
    return {"type": "json_schema", "json_schema": {"type": "object"} if name == "json_object" else value}

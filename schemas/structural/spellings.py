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
    """Whether what `compile` is given is a format, and no schema. O(1)."""
    if type(given) is not dict:
        return False
    kind = given.get("type")
    if (isinstance(kind, str) and (kind in TYPES or kind == "structural_tag")) or given.keys() >= {
        "structures",
        "triggers",
    }:
        return True
    return bool(_asked(given)) and given.keys() <= {*CONSTRAINTS, *_HOW}


def as_tag(given: Any) -> Any:
    """Return a structural tag `{"type": "structural_tag", "format": …}`; SchemaError where it is none."""
    if not is_format(given):
        raise SchemaError(Finding("", None, "it is no format", "see docs/formats.md"))
    if given.get("type") in TYPES:
        return {"type": "structural_tag", "format": given}
    if "structures" in given:
        return _of_structures(given)
    if given.get("type") == "structural_tag":
        if "format" not in given:
            raise SchemaError(Finding("/format", None, "missing", "add it"))
        return given
    asked = _asked(given)
    if len(asked) > 1:
        found = f"{asked[0]} and {asked[1]} ask for different answers"
        raise SchemaError(Finding(f"/{asked[1]}", None, found, "send one of them"))
    return {"type": "structural_tag", "format": _of_constraint(asked[0], given[asked[0]])}


def _asked(given: Mapping[str, Any]) -> list[str]:
    return [name for name in CONSTRAINTS if given.get(name) is not None and given[name] is not False]


def _of_structures(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the older form says: free text in which each trigger begins one of the structures."""
    structures = given["structures"]
    if not isinstance(structures, list) or not all(isinstance(one, dict) for one in structures):
        raise SchemaError(Finding("/structures", None, "expected a list of objects", "write begin, schema and end"))
    tags = []
    for number, one in enumerate(structures):
        for name in ("begin", "end"):
            if name not in one:
                raise SchemaError(Finding(f"/structures/{number}/{name}", None, "missing", "add it"))
        content = {"type": "json_schema", "json_schema": one.get("schema", True)}
        tags.append({"type": "tag", "begin": one["begin"], "content": content, "end": one["end"]})
    form = {"type": "triggered_tags", "triggers": given.get("triggers"), "tags": tags}
    return {"type": "structural_tag", "format": form}


def _of_constraint(name: str, value: Any) -> Any:
    if name == "structural_tag":
        return as_tag(value)["format"]
    if name == "regex":
        return {"type": "regex", "pattern": value}
    if name == "choice":
        if not isinstance(value, list):
            raise SchemaError(Finding("/choice", None, "expected a list of texts", "write one"))
        return {"type": "or", "elements": [{"type": "const_string", "value": one} for one in value]}
    if name == "grammar":
        return {"type": "grammar", "grammar": value}
    return {"type": "json_schema", "json_schema": {"type": "object"} if name == "json_object" else value}

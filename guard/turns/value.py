"""A turn as one JSON value, so that the pipeline checks, re-asks and records it like any other value.

The value is a list of calls, `[{"name": …, "arguments": {…}}]`; or `{"content": …}`, an answer without calls; or
`{"content": …, "calls": […]}`, text beside calls. A turn in the model's own form is translated into this value
(guard/turns/models.py), and the pipeline checks the translation by this schema, independently of the masks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from guard.support import json_equality, json_pieces

MOST_CALLS = 32  #: Most calls in one turn, unless `max_calls` says otherwise.
TARGET, CALLS = "turn", "calls"  #: Names by which such values are on record: of a turn, and of a sidecar's answer.
TARGETS = frozenset({TARGET, CALLS})
REPEATS = 8  #: How often one call comes in a row where a model says the same over and over.

_OF_TOOL = re.compile(
    r"(?:/anyOf/\d+)?(?:/properties/calls)?/items/anyOf/(\d+)(?:/properties/arguments(/.*)?)?", re.DOTALL
)
_OF_ANSWER = re.compile(r"/anyOf/\d+(?:/properties/content(/.*)?)?", re.DOTALL)


class TurnPlace(NamedTuple):
    """A place in what a caller wants of a turn."""

    tool: int | None  # the number of the tool; None: the answer without calls
    pointer: str  # into the schema of its arguments, or of the answer


def schema(
    tools: Iterable[tuple[str, Any]],
    *,
    must_call: bool,
    may_talk: bool,
    most: int = MOST_CALLS,
    wanted: Any = None,
) -> dict[str, Any]:
    """Return the schema of the value.

    `tools` are pairs of a name and the schema of its arguments. `may_talk` allows text beside calls. `wanted` is the
    schema of an answer without calls; None stands for text.
    """
    items = [_call(number, name, parameters) for number, (name, parameters) in enumerate(tools)]
    calls = {"type": "array", "items": {"anyOf": items}, "minItems": 1, "maxItems": most}
    if must_call and not may_talk:
        return calls
    kinds: list[dict[str, Any]] = [calls] if items else []
    if not must_call:
        text = {"type": "string", "minLength": 1} if wanted is None else own(wanted, "content")
        kinds.append(_object(content=text))
    if may_talk and items:
        kinds.append(_object(content={"type": "string"}, calls=calls))
    return {"anyOf": kinds}


def parts(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the JSON Pointers into such a schema to what something must meet: a call of each tool, and the answer."""
    kinds = {f"/anyOf/{n}": kind for n, kind in enumerate(schema["anyOf"])} if "anyOf" in schema else {"": schema}
    for at, kind in kinds.items():
        if kind["type"] == "array":
            yield from (f"{at}/items/anyOf/{number}" for number in range(len(kind["items"]["anyOf"])))
        elif "calls" not in kind["properties"]:
            yield at


def has_calls(schema: Any) -> bool:
    """Whether a schema looks like one of these, of a turn that may call tools; another may look so, too."""
    kinds = schema.get("anyOf") if isinstance(schema, Mapping) else None
    calls = kinds[0] if isinstance(kinds, list) and kinds else schema
    try:
        items = calls["items"]["anyOf"]
        return bool(items) and all(list(item["properties"]) == ["name", "arguments"] for item in items)
    except (TypeError, LookupError):
        return False


def place(pointer: str) -> TurnPlace | None:
    """Return what a JSON Pointer into such a schema leads into; None where it is neither a tool nor the answer."""
    if within := _OF_TOOL.fullmatch(pointer):
        return TurnPlace(int(within[1]), within[2] or "")
    within = _OF_ANSWER.fullmatch(pointer)
    return TurnPlace(None, within[1] or "") if within else None


def read(value: Any) -> tuple[Any, list[dict[str, Any]]]:
    """Return the content of a value, None where it has none, and its calls."""
    if isinstance(value, list):
        return None, value
    return value.get("content"), value.get("calls", [])


def repeated_at(text: str) -> tuple[str, ...]:
    """Return the JSON Pointer of the calls of a valid turn's text, where REPEATS in a row are the same call."""
    said = json.loads(text)
    same, last = 0, None
    for call in read(said)[1]:
        same = same + 1 if json_equality.are_equal(call, last) else 1
        if same == REPEATS:
            return ("",) if isinstance(said, list) else ("/calls",)
        last = call
    return ()


def written(content: str | None, calls: Iterable[tuple[str, str]]) -> str:
    """Return the JSON text of a value. Each call is a name and the arguments as JSON text.

    The arguments are copied as they are written, so no digit of a number is lost.
    """
    made = ", ".join(f'{{"name": {json.dumps(name)}, "arguments": {arguments}}}' for name, arguments in calls)
    if not made:
        return json.dumps({"content": content or ""}, ensure_ascii=False)
    return f'{{"content": {json.dumps(content, ensure_ascii=False)}, "calls": [{made}]}}' if content else f"[{made}]"


def own(inner: Any, name: str) -> Any:
    """Return a schema that may be embedded in another: its references still resolve within itself."""
    if not isinstance(inner, Mapping) or "$id" in inner:
        return inner
    if "$schema" in inner or any('"$ref"' in piece for piece in json_pieces.pieces(inner, json_pieces.ASCII)):
        return {"$id": f"urn:guard:{name}", **inner}
    return inner


def _call(number: int, name: str, parameters: Any) -> dict[str, Any]:
    return _object(name={"const": name}, arguments=own(parameters or {"type": "object"}, f"{number}"))


def _object(**members: Any) -> dict[str, Any]:
    return {"type": "object", "properties": members, "required": list(members), "additionalProperties": False}

"""JSON Schemas in the dialects of providers, and what comes back translated into the caller's.

What is sent is equal to the caller's schema or weaker: whatever is valid under the caller's can be written under what
is sent, so a provider that keeps to it never keeps a right answer out; the caller's is validated afterwards. A schema
that can't be sent so raises `DialectError`: an object open to unnamed properties, for one, where a dialect knows
only closed ones. Of several constraints that hold together one is sent; what is left out is listed in `dropped`.

Where a dialect requires every property, optional ones become nullable, and `undo` takes a null out again where the
caller's schema has no null there. (Where it has one the null stays: absent or null is then the model's choice. Where
the two are not equally right, as under `maxProperties`, that is a DialectError too: optional_nulls.py.)
Where it requires an object at the root, anything else is wrapped in {"value": …}. Keys keep their order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from guard.kernels.cached import cached_property
from guard.kernels.unicode_text import json_text
from guard.output.provider_translation import (
    ANTHROPIC,
    OPENAI,
    DialectError,
    ProviderDialect,
    Translation,
    as_read,
    bare,
    explored,
)
from guard.schemas import rewriting
from guard.schemas.keywords import Dialect
from guard.support import json_pieces
from guard.support.strict_json import unique_members

__all__ = [
    "ANTHROPIC",
    "OPENAI",
    "DialectError",
    "ProviderDialect",
    "Sent",
    "Unwrapping",
    "exact",
    "loose",
    "strict",
    "written",
]

WRAPPER = "value"  #: The one property of the object around what is none.


@dataclass(frozen=True)
class Sent:
    """A schema as it is sent, and the way back."""

    schema: dict[str, Any]
    undo: Callable[[Any], Any]  # a value as the provider wrote it → the caller's; lists and dicts are new
    is_identity: bool  # undo changes nothing
    is_wrapper: bool = False  # undo takes the wrapper off, and nothing else: text can be unwrapped as it comes
    dropped: tuple[str, ...] = ()  # "pointer: keyword" of what was left out

    @cached_property
    def size(self) -> int:
        """The bytes of its JSON."""
        return sum(map(len, json_pieces.pieces(self.schema, json_pieces.ASCII)))

    def text(self, text: str) -> str:
        """Return a provider's text as the caller's schema has it; what can't be read stays as it is."""
        if self.is_identity:
            return text
        if self.is_wrapper:
            unwrapping = Unwrapping()
            return unwrapping.feed(text) + unwrapping.end()
        try:
            return written(self.undo(exact(text)))
        except (ValueError, RecursionError):
            return text


def strict(schema: Any, dialect: ProviderDialect, *, formats: bool = True, draft: Dialect | None = None) -> Sent:
    """Return a schema in a provider's strict dialect; raises DialectError.

    `formats` says whether formats are enforced; `draft`, how the schema is read: as its `$schema` says, if left out.
    """
    transform = Translation(as_read(schema, draft), dialect, formats)
    body, notes = transform.whole()
    nulls = explored(body, notes, transform) if dialect.requires_all else None
    is_wrapped = body.get("type") != "object"
    sent = _wrapped(bare(body)) if is_wrapped else bare(body)
    if definitions := transform.definitions:
        sent["$defs"] = {name: bare(part) for name, part in definitions.items()}
    _check_size(sent, dialect)

    def undo(value: Any) -> Any:
        if is_wrapped:
            value = _unwrapped(value)
        return value if nulls is None else nulls.undo(value)

    return Sent(
        sent,
        undo,
        is_identity=not is_wrapped and nulls is None,
        is_wrapper=is_wrapped and nulls is None,
        dropped=tuple(dict.fromkeys(line for note in notes for line in note.dropped())),
    )


def loose(schema: Any) -> Sent:
    """Return a schema as the parameters of a tool: the caller's own, in an object where it is none."""
    if isinstance(schema, Mapping) and schema.get("type") == "object" and "$ref" not in schema:
        return Sent(dict(schema), lambda value: value, is_identity=True)
    return Sent(_wrapped(_rebased(schema)), _unwrapped, is_identity=False, is_wrapper=True)


class Unwrapping:
    """Takes the wrapper off a text as it comes; one that has none is handed on as it is."""

    def __init__(self) -> None:
        self._held = ""
        self._state = "before"  # then "begun", where white space is dropped, "inside", or "bare" without a wrapper

    def feed(self, piece: str) -> str:
        """Take the next piece; returns what surely belongs to the value."""
        self._held += piece
        if self._state == "before":
            if opening := _OPENING.match(self._held):
                self._state, self._held = "begun", self._held[opening.end() :]
            elif not _PART_OF_OPENING.fullmatch(self._held):
                self._state = "bare"
        if self._state == "begun" and (rest := self._held.lstrip(_SPACE)):
            self._state, self._held = "inside", rest
        if self._state == "bare":
            sure = len(self._held)
        elif self._state == "inside":  # the last bracket may be the wrapper's
            sure = len(self._held.rstrip(_SPACE).removesuffix("}").rstrip(_SPACE))
        else:
            sure = 0
        out, self._held = self._held[:sure], self._held[sure:]
        return out

    def end(self) -> str:
        """Return what was held back and is no wrapper, now that nothing follows."""
        return "" if self._state == "inside" and not self.is_open else self._held

    @property
    def is_open(self) -> bool:
        """Whether the text, where it ends here, has no end of its wrapper: the value may have been cut off."""
        return self._state == "begun" or (self._state == "inside" and self._held.strip(_SPACE) != "}")


_SPACE = " \t\n\r"
_OPENING = re.compile(r'[ \t\n\r]*\{[ \t\n\r]*"value"[ \t\n\r]*:')
#: What the wrapper's opening can begin with.
_PART_OF_OPENING = re.compile(r'[ \t\n\r]*(\{[ \t\n\r]*("(v(a(l(ue?)?)?)?)?|"value"[ \t\n\r]*)?)?')


# ---- Small parts -------------------------------------------------------------------------------------------------


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


def exact(text: str) -> Any:
    """Return a JSON value with its numbers as they are written; ValueError where a key stands twice."""
    return json.loads(text, object_pairs_hook=unique_members, parse_int=_Number, parse_float=_Number)


def written(value: Any) -> str:
    """Return such a value as JSON again."""
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json_text(key)}: {written(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return json_text(value)


def _wrapped(body: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {WRAPPER: body}, "required": [WRAPPER], "additionalProperties": False}


def _unwrapped(value: Any) -> Any:
    return value[WRAPPER] if isinstance(value, dict) and set(value) == {WRAPPER} else value


def _rebased(schema: Any) -> Any:
    """Return a schema that stands at the wrapper's property instead of the root, its references with it."""
    return rewriting.rewritten(schema, _rebased_here)


def _rebased_here(schema: dict[str, Any]) -> dict[str, Any]:
    if any(isinstance(schema.get(key), str) for key in ("$id", "id", "$dynamicRef", "$recursiveRef")):
        raise DialectError("references that depend on where they are read from")
    reference = schema.get("$ref")
    if isinstance(reference, str) and (reference == "#" or reference.startswith("#/")):
        schema["$ref"] = f"#/properties/{WRAPPER}{reference[1:]}"
    return schema


def _check_size(body: Mapping[str, Any], dialect: ProviderDialect) -> None:
    properties = values = characters = 0
    waiting: list[tuple[Any, int]] = [(body, 0)]
    while waiting:
        part, depth = waiting.pop()
        if not isinstance(part, Mapping):
            continue
        names = part.get("properties") or {}
        constants = part.get("enum") or ()
        depth += bool(names)
        properties += len(names)
        values += len(constants)
        characters += sum(map(len, names)) + sum(len(str(value)) for value in constants)
        characters += sum(map(len, part.get("$defs") or ()))
        if depth > dialect.depth:
            raise DialectError(f"nested deeper than {dialect.name}'s {dialect.depth} objects")
        waiting += [(p, depth) for p in (*names.values(), part.get("items"), *(part.get("anyOf") or ()))]
        waiting += [(p, 0) for p in (part.get("$defs") or {}).values()]
    for found, most, what in (
        (properties, dialect.properties, "properties"),
        (values, dialect.enum_values, "values in enums"),
        (characters, dialect.characters, "characters of names and values"),
    ):
        if found > most:
            raise DialectError(f"{found:,} {what}, more than {dialect.name}'s {most:,}")

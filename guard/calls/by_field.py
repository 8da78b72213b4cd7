"""Escalation by field: the values that a tier was not sure of are asked of the next tier alone, the others are given.

Only the members of an object at the root can be asked alone, where its schema says nothing of how they go together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guard.decoding import confidence
from guard.errors import GuardError
from guard.kernels import json_pointer
from guard.support import exact_json

if TYPE_CHECKING:
    from guard.decoding.confidence import Token
    from guard.models.chat_messages import Messages
    from guard.schemas import Compiled
    from guard.schemas.grounding.sources import Sources

#: Keywords at the root that a part of its members keeps to by itself.
_SEPARABLE = {
    "type",
    "properties",
    "required",
    "additionalProperties",
    "$defs",
    "definitions",
    "$schema",
    "title",
    "description",
}
_WORDS = "Some of these values may be wrong: {names}. Answer as JSON again, with these fields alone."


@dataclass(frozen=True)
class Doubtful:
    """An answer, and the members of it that are asked of the next tier."""

    text: str
    names: tuple[str, ...]

    def messages(self, asked: Messages) -> Messages:
        """Return what the next tier is asked."""
        answer = {"role": "assistant", "content": self.text}
        return (*asked, answer, {"role": "user", "content": _WORDS.format(names=", ".join(self.names))})

    def merged(self, text: str) -> str | None:
        """Return the answer with the members of a text in place of the doubtful ones; None where it is no object."""
        try:
            new = exact_json.read(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(new, dict):
            return None
        whole = {name: new.get(name, ...) if name in self.names else value for name, value in self._members().items()}
        return exact_json.written({name: value for name, value in whole.items() if value is not ...})

    def _members(self) -> dict[str, Any]:
        members: dict[str, Any] = exact_json.read(self.text)
        return members


def doubtful(compiled: Compiled, text: str, tokens: Sequence[Token], least: float) -> Doubtful | None:
    """Return what of an answer is less probable than the least; None where it can't be asked alone, or all of it is."""
    low = [at for at, chance in confidence.by_value(tokens, text).items() if chance < least]
    contents = compiled.contents
    if not low or not isinstance(contents, Mapping) or not set(contents) <= _SEPARABLE:
        return None
    names = tuple(dict.fromkeys(step for at in low for step in json_pointer.steps(at)[:1]))
    properties = contents.get("properties", {})
    members = exact_json.read(text)
    if not names or not isinstance(members, dict) or len(names) == len(members) or not set(names) <= set(properties):
        return None
    return Doubtful(text, names)


def narrowed(compiled: Compiled, names: Sequence[str], sources: Sources | None) -> Compiled | None:
    """Return the schema of these members alone; None where it can't be compiled."""
    from guard import schemas

    given = compiled.arguments()
    schema = dict(given.pop("schema"))
    schema["properties"] = {name: said for name, said in schema["properties"].items() if name in names}
    schema["required"] = [name for name in schema.get("required", ()) if name in names]
    try:
        found = schemas.compile(schema, **given)
        return found if sources is None else found.grounded(sources)
    except GuardError:
        return None

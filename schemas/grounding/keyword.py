"""`x-guard-from`: the keyword for a text, number or date that must come from the inputs of the call.

Its value is "input" for all inputs together, a JSON Pointer to one of them by name ("/letter"), or an object with
details: `{"input": "/letter", "within": "line", "once": true, "locales": ["de"]}`. Other validators ignore the keyword.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

KEYWORD = "x-guard-from"
ANY = "input"  #: Any input of the call.

Kind = Literal["quoted", "number", "date"]
Within = Literal["cell", "line", "paragraph"]
WITHIN: tuple[Within, ...] = get_args(Within)

MOST_PLACES = 1_000  #: Most places reported for one value in one text.

_MEMBERS = ("input", "within", "once", "locales")
_NUMBERS = {"number", "integer"}


@dataclass(frozen=True)
class SourceRule:
    """How a value must come from the inputs."""

    kind: Kind
    input: str | None = None  # an input's name; None: any input
    within: Within = "cell"  # the unit that a quotation must stay within
    once: bool = False  # whether the items of the list around it must be distinct
    locales: tuple[str, ...] = ()  # whose notations of numbers and dates count; empty: the common ones


def rule_of(schema: Mapping[str, Any]) -> SourceRule:
    """Return the rule of a schema that has the keyword; ValueError says what is wrong with it."""
    said = schema[KEYWORD]
    more: Mapping[str, Any] = {"input": said} if isinstance(said, str) else said
    if not isinstance(more, Mapping):
        raise ValueError(f'expected "{ANY}", a JSON Pointer to an input, or an object, got {said!r}')
    if unknown := [name for name in more if name not in _MEMBERS]:
        raise ValueError(f"{unknown[0]!r} is none of its members, {', '.join(_MEMBERS)}")
    within, once, locales = more.get("within", "cell"), more.get("once", False), more.get("locales", [])
    if within not in WITHIN:
        raise ValueError(f"within={within!r} must be one of {', '.join(WITHIN)}")
    if not isinstance(once, bool):
        raise ValueError(f"once={once!r} must be true or false")
    if not isinstance(locales, list | tuple) or not all(isinstance(name, str) for name in locales):
        raise ValueError(f"locales={locales!r} must be a list of names")
    return SourceRule(_kind(schema), _input(more.get("input", ANY)), within, once, tuple(locales))


def is_optional(schema: Mapping[str, Any]) -> bool:
    """Whether the value may be null instead."""
    return "null" in _types(schema) or schema.get("nullable") is True


def _input(said: Any) -> str | None:
    if said == ANY:
        return None
    if not isinstance(said, str) or not said.startswith("/") or said.count("/") > 1:
        raise ValueError(f'{said!r} must be "{ANY}", or a JSON Pointer to one input by its name, such as "/text"')
    return said[1:].replace("~1", "/").replace("~0", "~")


def _types(schema: Mapping[str, Any]) -> set[str]:
    said = schema.get("type", ())
    return {said} if isinstance(said, str) else set(said)


def _kind(schema: Mapping[str, Any]) -> Kind:
    types = _types(schema) - {"null"}
    if types == {"string"}:
        form = schema.get("format")
        if form in ("date-time", "time", "duration"):
            raise ValueError(f"a text of format {form} can't be found in an input; take date, or a text without format")
        return "date" if form == "date" else "quoted"
    if types and types <= _NUMBERS:
        return "number"
    raise ValueError(
        "it needs a type beside it: string, or number, or integer, each also with null; other types are said in"
        " schemas of their own"
    )

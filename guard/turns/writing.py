"""Writing of arguments as a template writes them: exactly, or refused."""

from __future__ import annotations

import json
from typing import Any

from guard.turns.arguments import Arguments

_TYPES = {
    str: "string",
    bool: "boolean",
    type(None): "null",
    int: "number",
    float: "number",
    list: "array",
    dict: "object",
}


def written(given: dict[str, Any], how: Arguments) -> str:
    """Return the text of a call's arguments. Raises ValueError where the format can't express one of them."""
    for value in given.values():
        if how.lost and _types_in(value) & {*how.lost}:
            raise ValueError(f"the template leaves values out that are {' or '.join(how.lost)}")
    if how.are_sorted:
        given = _sorted(given)
    if how.style is None:
        separators = (",", ":") if how.whitespace == "compact" else None
        return json.dumps(given, ensure_ascii=False, separators=separators)
    return _members(given, how.style["members"], how.style, is_top=True)


def _types_in(value: Any) -> set[str]:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {_TYPES[type(value)]}.union(*map(_types_in, inside))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(one) for one in value] if isinstance(value, list) else value


def _members(given: dict[str, Any], texts: dict[str, str], style: dict[str, Any], *, is_top: bool) -> str:
    parts = []
    for key, value in given.items():
        label = style["labels"][_TYPES[type(value)]] if is_top and style.get("labels") else ""
        opening = texts.get("opening", "").replace("{label}", label).replace("{key}", key)
        closing = texts.get("closing", "").replace("{key}", key)
        parts.append(opening + _value(value, style, closing, is_top=is_top) + closing)
    return texts.get("begin", "") + texts.get("separator", "").join(parts) + texts.get("end", "")


def _value(value: Any, style: dict[str, Any], closing: str, *, is_top: bool) -> str:
    if isinstance(value, str):
        return _string(value, style.get("strings" if is_top else "nested_strings") or [], closing)
    if value is None or isinstance(value, bool):
        word = json.dumps(value)
        return str(style.get("words", {}).get(word, word))
    texts = style.get("array" if isinstance(value, list) else "object") if isinstance(value, list | dict) else None
    if texts is None:
        return json.dumps(value, ensure_ascii=False)
    if not (value or texts.get("begin") or texts.get("end")):
        raise ValueError("no array or object without anything in it can be written")
    if isinstance(value, dict):
        return _members(value, texts, style, is_top=False)
    closing = texts.get("closing", "")
    items = [texts.get("opening", "") + _value(one, style, closing, is_top=False) + closing for one in value]
    return str(texts.get("begin", "")) + str(texts.get("separator", "")).join(items) + str(texts.get("end", ""))


def _string(value: str, quotes: list[dict[str, Any]], closing: str) -> str:
    if not quotes:
        if (value + closing).find(closing) < len(value):  # the first end wins
            raise ValueError(f"no string with {closing!r} in it can be written raw")
        return value
    for one in quotes:
        text = "".join(one.get("escapes", {}).get(char, char) for char in value)
        if one["end"] not in "".join(char for char in value if char not in one.get("escapes", {})):
            return str(one["begin"]) + text + str(one["end"])
    raise ValueError(f"no string with {quotes[0]['end']!r} in it can be written")

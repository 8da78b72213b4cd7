"""Random formats over few characters, so that literals, triggers and ends overlap; and texts that may be theirs."""

from __future__ import annotations

from random import Random
from typing import Any

import guard

LETTERS = "ab<>"
SCHEMAS = [
    {"type": "integer"},
    {"type": "object", "properties": {"a": {"enum": [1, "b"]}}, "required": ["a"], "additionalProperties": False},
    {"enum": ["ab", "<a"]},
    {"type": "array", "items": {"type": "boolean"}, "maxItems": 2},
    {"const": None},
]
PIECES = (
    *("a", "b", "<", ">", "1", "-", "0", "true", "null", '"ab"', '"<a"', '{"a":1}', '{"a":"b"}', "[true]", "[]"),
    *("{", '"', " "),
)
SINGLE_BYTES = [bytes([byte]) for byte in range(256)]


def word(r: Random, most: int = 3, least: int = 0) -> str:
    """Draw a text of so many characters."""
    return "".join(r.choice(LETTERS) for _ in range(r.randint(least, most)))


def leaf(r: Random, depth: int) -> dict[str, Any]:
    """Draw a format that has no formats in it."""
    kind = r.choice(["literal", "literal", "text", "regex", "value", "value"])
    if kind == "literal":
        return {"type": "const_string", "value": word(r, 3, 0 if depth < 2 else 1)}
    if kind == "text":
        return {"type": "any_text", **({"excludes": [word(r, 2, 1)]} if r.random() < 0.5 else {})}
    if kind == "regex":
        return {"type": "regex", "pattern": r.choice(["a+", "(ab|b)*", "[ab]{1,2}", "a?b"])}
    return {"type": "json_schema", "json_schema": r.choice(SCHEMAS)}


def tag(r: Random, depth: int) -> dict[str, Any]:
    """Draw a tag."""
    end = r.choice([word(r, 2, 1), word(r, 2, 1), [word(r, 2, 1), word(r, 3, 1)], ""])
    return {"type": "tag", "begin": word(r, 3, 1), "content": form(r, depth - 1), "end": end}


def form(r: Random, depth: int = 3) -> dict[str, Any]:
    """Draw a format."""
    kind = r.choice(["leaf", "sequence", "or", "star", "repeat", "tag", "tag", "separated", "triggered", "dispatch"])
    if depth <= 0 or kind == "leaf":
        return leaf(r, depth)
    excludes = {"excludes": [word(r, 2, 1)]} if r.random() < 0.3 else {}
    if kind in ("sequence", "or"):
        return {"type": kind, "elements": [form(r, depth - 1) for _ in range(r.randint(1, 3))]}
    if kind == "star":
        return {"type": r.choice(["optional", "star", "plus"]), "content": form(r, depth - 1)}
    if kind == "repeat":
        least = r.randint(0, 2)
        most = r.choice([-1, least, least + 1])
        return {"type": "repeat", "min": least, "max": most, "content": form(r, depth - 1)}
    if kind == "tag":
        return tag(r, depth)
    if kind == "separated":
        return {
            "type": "tags_with_separator",
            "tags": [tag(r, depth) for _ in range(r.randint(1, 2))],
            "separator": word(r, 2),
            "at_least_one": r.random() < 0.5,
            "stop_after_first": r.random() < 0.3,
        }
    if kind == "dispatch":
        rules = [[word(r, 2, 1), form(r, depth - 1)] for _ in range(r.randint(1, 2))]
        return {"type": "dispatch", "rules": rules, "loop": r.random() < 0.6, **excludes}
    triggers = [word(r, 2, 1) for _ in range(r.randint(1, 2))]
    tags = [{**tag(r, depth), "begin": r.choice(triggers) + word(r, 2)} for _ in range(r.randint(1, 2))]
    return {
        "type": "triggered_tags",
        "triggers": triggers,
        "tags": tags,
        "at_least_one": r.random() < 0.4,
        "stop_after_first": r.random() < 0.4,
        **excludes,
    }


def texts(r: Random, matcher: Any) -> set[str]:
    """Draw texts: some of any pieces, some of pieces that a matcher takes, with all of their beginnings by pieces."""
    found = {""}
    for _ in range(5):
        text = ""
        for _ in range(r.randint(0, 8)):
            text += r.choice(PIECES)
            found.add(text)
    for _ in range(5):
        matcher.reset()
        text = ""
        for _ in range(12):
            going = [piece for piece in PIECES if matcher.copy().accept_bytes(piece.encode())]
            if not going:
                break
            piece = r.choice(going)
            assert matcher.accept_bytes(piece.encode())
            text += piece
            found.add(text)
    matcher.reset()
    return found


def dense_vocabulary(r: Random, said: list[str]) -> guard.Vocabulary:
    """Every byte, and tokens out of the middle of texts: they cross what a format is made of."""
    cut = set()
    for text in said:
        data = text.encode()
        for _ in range(12 if data else 0):
            at = r.randrange(len(data))
            cut.add(data[at : at + r.choice([2, 2, 3, 4, 6, 9])])
    tokens = [*SINGLE_BYTES, *sorted(cut), b""]
    return guard.Vocabulary.from_bytes(tokens, eos=[len(tokens) - 1])

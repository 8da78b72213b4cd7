"""Trials of a derived format: drawn turns are rendered by the template, checked by the format and read back."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from guard.errors import SchemaError
from guard.turns import writing
from guard.turns.probes import USER, assistant, conversation, tool
from guard.turns.reading import ReadCall, ReadTurn
from guard.turns.rendering import render
from guard.turns.tool_format import ToolFormat

_WORDS = (
    "rain",
    "Ulm",
    "7 days",
    "naïve",
    "größer",
    "天气",
    "it is",
    "a < b",
    "x=1",
    "50%",
    "{curly}",
    "[list]",
    "ok.",
)
_STRINGS = (
    *_WORDS,
    "it's",
    'say "hi"',
    "back\\slash",
    "two\nlines",
    "tab\there",
    "a, b",
    "None",
    "key: value",
    "31",
    "",
)
TOOLS = [
    tool(
        "get_weather",
        {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "where"},
                "days": {"type": "integer", "description": "how many"},
                "metric": {"type": "boolean", "description": "which units"},
            },
            "required": ["city"],
            "additionalProperties": False,
        },
    ),
    tool(
        "search-files",
        {
            "type": "object",
            "properties": {
                "query": {"type": "string", "description": "what"},
                "names": {"type": "array", "items": {"type": "string"}, "description": "of files"},
                "limit": {"type": "number", "description": "how many"},
                "kind": {"enum": ["text", "image"], "type": "string", "description": "which"},
            },
            "required": ["query", "names"],
            "additionalProperties": False,
        },
    ),
    tool(
        "get_weather_at",
        {
            "type": "object",
            "properties": {
                "place": {
                    "type": "object",
                    "properties": {
                        "lat": {"type": "number"},
                        "lon": {"type": "number"},
                        "name": {"type": "string"},
                    },
                    "required": ["lat", "lon"],
                    "additionalProperties": False,
                    "description": "where",
                },
                "hours": {"type": "array", "items": {"type": "integer"}, "description": "when"},
            },
            "required": ["place"],
            "additionalProperties": False,
        },
    ),
    tool("ping", {"type": "object", "properties": {}, "additionalProperties": False}),
]


class Tried(NamedTuple):
    """The result of a trial."""

    turns: int  #: Turns that the template rendered.
    wrong: list[str]  #: For each turn that did not come back equal: what was rendered and what was read.


def round_trip(template: str, special_tokens: dict[str, str], made: ToolFormat, turns: int, seed: int) -> Tried:
    """Render as many drawn turns and read them back; the seed decides which."""
    draw = random.Random(seed)  # noqa: S311 (no secret)
    meant_turns = [drawn(draw, made) for _ in range(turns)]
    manner = made.anatomy.manner
    asked = []
    for one in meant_turns:
        calls = [(call.name, call.id or "", call.arguments) for call in one.calls]
        asked.append(conversation(manner, assistant(manner, calls, one.text, one.thinking), TOOLS))
    rendered = render(template, asked, special_tokens)
    if not any(rendered):  # the template may not take such tools
        rendered = render(template, [one._replace(tools=None) for one in asked], special_tokens)
    wrong, done = [], 0
    for one, text in zip(meant_turns, rendered, strict=True):
        if text is None:
            continue
        done += 1
        turn = text.rpartition(USER)[2].removeprefix(made.anatomy.head)
        try:
            read = made.read(turn, TOOLS, begun="")
        except SchemaError as error:  # the format can't be compiled
            return Tried(done, [str(error)])
        meant = _meant(one, turn)
        if (read.text, read.thinking, _said(read)) != (meant.text, meant.thinking, _said(meant)) or read.trouble:
            wrong.append(f"{turn!r}\n  read as {read}\n  and not {meant}")
    return Tried(done, wrong)


def _said(turn: ReadTurn) -> list[tuple[str, dict[str, Any]]]:
    return [(call.name, call.arguments) for call in turn.calls]


def _meant(one: ReadTurn, turn: str) -> ReadTurn:
    """Return the part of a turn that the template wrote: some templates leave out text or thinking."""
    text = one.text if one.text in turn else ""
    thinking = one.thinking if one.thinking in turn else ""
    return ReadTurn(text, thinking, one.calls)


def drawn(draw: random.Random, made: ToolFormat) -> ReadTurn:
    """Draw a turn that the format can express."""
    known = made.anatomy
    count = draw.choice((0, 1, 1, 2, 3) if known.several else (0, 1))
    text = _text(draw, "said") if not count or draw.random() < 0.5 else ""
    if count and text and known.text_with_calls is None and not known.text_behind:
        text = ""  # left out, or written as thinking
    thinking = _text(draw, "thought") if known.thinking is not None and draw.random() < 0.5 else ""
    calls = []
    for number in range(count):
        one = draw.choice(TOOLS)["function"]
        calls.append(ReadCall(one["name"], _arguments(draw, one["parameters"], made), f"call{number:05}"))
    return ReadTurn(text, thinking, tuple(calls))


def _text(draw: random.Random, begin: str) -> str:
    lines = [" ".join(draw.choice(_WORDS) for _ in range(draw.randint(1, 5))) for _ in range(draw.randint(1, 3))]
    return f"{begin} {draw.randint(100, 999)} " + "\n".join(lines)


def _arguments(draw: random.Random, schema: dict[str, Any], made: ToolFormat) -> dict[str, Any]:
    while True:
        value: dict[str, Any] = value_of(draw, schema)
        try:
            writing.written(value, made.anatomy.arguments)
        except ValueError:  # the format has no text for it
            continue
        return value


def value_of(draw: random.Random, schema: dict[str, Any]) -> Any:
    if "enum" in schema:
        return draw.choice(schema["enum"])
    kind = schema["type"]
    if kind == "object":
        required = schema.get("required", ())
        kept = [name for name in schema["properties"] if name in required or draw.random() < 0.5]
        return {name: value_of(draw, schema["properties"][name]) for name in kept}
    if kind == "array":
        return [value_of(draw, schema["items"]) for _ in range(draw.randint(0, 3))]
    if kind == "boolean":
        return draw.random() < 0.5
    if kind == "integer":
        return draw.randint(-20, 2000)
    if kind == "number":
        return draw.choice((draw.randint(-9, 90), draw.randint(-900, 900) / 8))
    return draw.choice(_STRINGS)

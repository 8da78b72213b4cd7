"""Beyond `limits.nesting` open containers only a shortest way out is left: whoever opens without end is led to it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from properties import allowed
from strategies import byte_vocabulary

import guard

NESTED: list[Any] = [
    {},
    {"type": "array", "items": {"$ref": "#"}},
    {"type": "object", "additionalProperties": {"$ref": "#"}},
    {"type": ["object", "array"], "items": {"$ref": "#"}, "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
    {"anyOf": [{"type": "array", "items": {"$ref": "#"}, "minItems": 1, "maxItems": 1}, {"type": "integer"}]},
]


@pytest.mark.parametrize("schema", NESTED)
@pytest.mark.parametrize("nesting", [1, 7, 100])
def test_whoever_always_opens_is_led_out(schema: Any, nesting: int) -> None:
    compiled = guard.compile(schema, limits=guard.Limits(nesting=nesting), whitespace="compact", key_order="any")
    matcher = compiled.matcher(byte_vocabulary())
    text = b""
    while not matcher.can_stop():
        choice = allowed(matcher, byte_vocabulary())
        # Whatever opens comes first, and a key where one may come; else what leads to the end.
        wanted = b'"' if text.endswith(b"{") else b"[{" if text.count(b'"') % 2 == 0 else b""
        opening = [b for b in wanted if b in choice]
        byte = (opening or allowed(matcher, byte_vocabulary(), matcher.distance()).tolist())[0]
        assert matcher.accept(int(byte))
        text += bytes([byte])
    json.loads(text)
    depth = [
        text[:i].count(b"[") + text[:i].count(b"{") - text[:i].count(b"]") - text[:i].count(b"}")
        for i in range(len(text))
    ]
    assert nesting <= max(depth) <= nesting + 3


def test_text_that_is_no_deeper_is_untouched() -> None:
    compiled = guard.compile({}, limits=guard.Limits(nesting=5))
    matcher = compiled.matcher(byte_vocabulary())
    assert matcher.accept_bytes(b'[[[["any", {')
    matcher.reset()
    assert not matcher.accept_bytes(b"[" * 6)
    matcher.reset()
    assert matcher.accept_bytes(b"[[[[[]")


def test_what_the_schema_itself_asks_for_may_be_deeper() -> None:
    schema: Any = {"const": 1}
    for _ in range(20):
        schema = {"type": "array", "items": schema, "minItems": 1}
    matcher = guard.compile(schema, limits=guard.Limits(nesting=5)).matcher(byte_vocabulary())
    assert matcher.accept_bytes(b"[" * 20 + b"1" + b"]" * 20)
    assert matcher.can_stop()


def test_a_hundred_thousand_brackets_are_refused_early() -> None:
    matcher = guard.compile({}).matcher(byte_vocabulary())
    assert not matcher.accept_bytes(b"[" * 100_000)
    assert matcher.accept_bytes(b"[" * 100)
    assert matcher.distance() == 101

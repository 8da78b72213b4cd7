"""distance() of objects whose members don't hang on each other is a sum; a search of one byte says the same."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from functools import cache
from random import Random
from typing import Any

import clock
from hypothesis import given
from hypothesis import strategies as st
from properties import allowed, bits
from strategies import EVERY_BYTE, OPTIONS, byte_vocabulary

import guard
from guard.kernels.bitmask import allocate_bitmask

NAMES = st.sampled_from(["", "a", "ab", "abc", "b", "é", "\n", 'q"q', "a/b"])
VALUES: list[Any] = [
    {},
    {"type": "integer"},
    {"type": ["null", "number"], "minimum": 10},
    {"type": "string", "minLength": 2},
    {"enum": ["x", "yz", None]},
    {"const": {"a": [1]}},
    {"type": "array", "items": {"type": "boolean"}, "minItems": 1},
    {"type": "string", "format": "date"},
    False,
]
#: What may stand in keys and behind them: escapes as wholes and in pieces, names, their ends, and further members.
PIECES = [
    *rb'\u0061": \u0061":0} "\u0061":0} "\u0062":'.split(b" "),
    *(rb"\u \u0 \u00 \u006 \u0061 \u0061b \u00e9 \/ \/b \" \"q \n".split(b" ")),
    *(b'ab abc" b": b":"x a": "a" "": "a":1, ": ": 0, ": 0," ": {" ": [], {" {"a {"a": ,"a , "b" 1} }} ]}'.split(b" ")),
]


@cache
def _pieces() -> guard.Vocabulary:
    return guard.Vocabulary.from_bytes([*EVERY_BYTE, *PIECES, b""], eos=[256 + len(PIECES)])


@st.composite
def objects(draw: st.DrawFn, depth: int = 2) -> Any:
    """Draw the schema of an object: names with their values, some of which must come."""
    values = st.sampled_from(VALUES)
    if depth:
        values = st.one_of(values, objects(depth - 1), st.builds(lambda items: {"items": items}, objects(depth - 1)))
    schema: dict[str, Any] = {"type": "object", "properties": draw(st.dictionaries(NAMES, values, max_size=4))}
    names = sorted(schema["properties"])
    if names:
        schema["required"] = draw(st.lists(st.sampled_from(names), unique=True))
    if draw(st.booleans()):
        schema["additionalProperties"] = draw(values)
    return schema


@given(objects(), st.fixed_dictionaries({name: st.sampled_from(ways) for name, ways in OPTIONS.items()}), st.randoms())
def test_distance_is_one_more_than_the_least_behind_a_byte(schema: Any, options: dict[str, str], r: Random) -> None:
    """In every state of a random walk that goes to the end by the nearest bytes as often as by any; the end counts."""
    words = byte_vocabulary()
    matcher = guard.compile(schema, **options).matcher(words)
    for _ in range(40):
        after = {}
        for token in allowed(matcher, words).tolist():
            assert matcher.accept(token)
            after[token] = matcher.distance()
            matcher.rollback()
        assert matcher.distance() == (1 + min(after.values()) if after else -1)
        going = [token for token in after if token not in words.eos]
        if not going:
            break
        assert matcher.accept(r.choice([min(going, key=after.__getitem__), r.choice(going)]))


@given(
    st.permutations(["a", "ab", "abc", "b", "ba"]),
    st.lists(st.sampled_from(["a", "ab", "b"]), unique=True),
    st.booleans(),
)
def test_what_is_known_of_a_key_does_not_hold_once_it_is_written(
    order: list[str], required: list[str], is_open: bool
) -> None:
    """All places of an object share completions; a name that was written is none of an unfinished key's any more."""
    values = {name: {"type": "integer"} for name in order}
    schema = {"type": "object", "properties": values, "required": required, "additionalProperties": is_open}
    words = byte_vocabulary()
    matcher = guard.compile(schema, key_order="any", whitespace="compact").matcher(words)
    for keys in (order, order[1:], order[::-1]):
        matcher.reset()
        for byte in json.dumps(dict.fromkeys(keys, 1), separators=(",", ":")).encode():
            after = []
            for token in allowed(matcher, words).tolist():
                assert matcher.accept(token)
                after.append(matcher.distance())
                matcher.rollback()
            assert matcher.distance() == 1 + min(after)
            if not matcher.accept_bytes(bytes([byte])):
                break  # a required name is missing at the end


#: Of these, what is left does hang on what was written.
COUNTED = st.builds(lambda schema, least: {**schema, "minProperties": least}, objects(), st.integers(1, 3))


@given(
    objects() | COUNTED,
    st.fixed_dictionaries({name: st.sampled_from(ways) for name, ways in OPTIONS.items()}),
    st.randoms(),
)
def test_a_scarce_budget_leaves_what_it_leaves_by_bytes(schema: Any, options: dict[str, str], r: Random) -> None:
    """In every state of a random walk, for each budget around the distance."""
    words = _pieces()
    matcher = guard.compile(schema, **options).matcher(words)
    fast, slow = allocate_bitmask(1, words.size), allocate_bitmask(1, words.size)
    for _ in range(25):
        for remaining in range(max(0, matcher.distance() - 2), matcher.distance() + 9):
            matcher.fill_bitmask(fast, remaining=remaining)
            matcher.fill_bitmask_by_bytes(slow, remaining=remaining)
            differ = bits(fast[0] ^ slow[0]).tolist()
            assert not differ, (remaining, [words.token_bytes(token) for token in differ])
        going = [token for token in allowed(matcher, words).tolist() if token not in words.eos]
        if not going:
            break
        pieces = [token for token in going if token >= len(EVERY_BYTE)]
        assert matcher.accept(r.choice(r.choice([going, pieces or going])))


def kind(name: str, /, **members: Any) -> dict[str, Any]:
    """An object of a kind, with all of its members."""
    properties = {"kind": {"enum": [name]}, **members}
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


RECURSIVE = {
    "$ref": "#/$defs/value",
    "$defs": {
        "dict": {
            "type": "object",
            "properties": {"kind": {"enum": ["dict"]}},
            "patternProperties": {"^[a-z]": {"$ref": "#/$defs/value"}},
            "additionalProperties": False,
        },
        "meta": {"$ref": "#/$defs/dict", "required": ["version"], "properties": {"version": {"enum": ["3.0"]}}},
        "value": {
            "oneOf": [
                {"type": "string"},
                {"$ref": "#/$defs/dict"},
                kind("grid", meta={"$ref": "#/$defs/meta", "type": "object"}),
                kind("number", value={"type": "number"}, unit={"type": "string"}),
                kind("ref", value={"type": "string"}, name={"type": "string"}),
                kind("place", east={"type": "number"}, north={"type": "number"}),
                kind("text", language={"type": "string"}),
                kind("date", day={"type": "string"}, zone={"type": "string"}),
            ]
        },
    },
}


def test_whether_a_budget_suffices_is_told_without_all_that_a_value_may_be() -> None:
    vocabulary = guard.Vocabulary.from_bytes([*EVERY_BYTE, b"", b'meta"'], eos=[256])
    row, states = allocate_bitmask(1, vocabulary.size), []
    for more in (None, 2000, 16, 0):
        compiled = guard.compile({**RECURSIVE, "title": str(more)}, key_order="any", whitespace="any", spelling="any")
        matcher = compiled.matcher(vocabulary)
        for byte in b'{"m':
            matcher.fill_bitmask(row, remaining=None if more is None else matcher.distance() + more)
            matcher.accept(byte)
        states.append(compiled.stats()["states"])
    assert max(states) < 2 * states[0]  # 16,490 and not 217 of them, where each way to write `meta` was looked into


CHEAPEST_TIME = """
import guard

vocabulary = guard.Vocabulary.from_bytes([*(bytes([b]) for b in range(256)), b""], eos=[256])
compiled = guard.compile({"type": "string", "format": "time"})
matcher = compiled.matcher(vocabulary)
before = compiled.stats()["languages"]
print(matcher.distance(), compiled.stats()["languages"] - before)
"""


def test_the_cheapest_time_is_not_searched_for_among_all() -> None:
    command = [sys.executable, "-c", CHEAPEST_TIME]  # what one process has found it knows
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    distance, languages = map(int, out.split())
    assert distance == len('"00:00:00Z"') + 1
    assert languages < 1_000  # 31,643 where each hour and minute is followed to its end


@given(
    st.sampled_from(["^[ab]+@[ab]+$", "^(ab|b)*$", "[0-9]", "^a{0,3}b+$", ".*"]),
    st.integers(0, 6),
    st.integers(0, 12),
    st.booleans(),
    st.randoms(),
)
def test_a_text_ends_within_the_least_budget_however_far_its_bounds(
    pattern: str, least: int, more: int, is_nested: bool, r: Random
) -> None:
    """Near `maxLength` the characters count, far from it they don't: every walk ends validly in `distance()` tokens."""
    text = {"type": "string", "pattern": pattern, "minLength": least, "maxLength": least + more}
    schema = {"type": "object", "properties": {"a": text}, "required": ["a"]} if is_nested else text
    tokens = [*EVERY_BYTE, b"ab", b"abab", b'b"', b"@a", b'{"a": "', b'"}', b"12", b""]
    vocabulary = guard.Vocabulary.from_bytes(tokens, eos=[len(tokens) - 1])
    matcher = guard.compile(schema).matcher(vocabulary)
    if matcher.distance() < 0:
        return
    row, by_bytes, written = allocate_bitmask(1, vocabulary.size), allocate_bitmask(1, vocabulary.size), b""
    for _ in range(r.randrange(8)):  # anywhere, with a budget that suffices
        choice = [t for t in allowed(matcher, vocabulary).tolist() if t < len(tokens) - 1]
        if not choice:
            break
        token = r.choice([t for t in choice if tokens[t] in (b"a", b"b", b"@", b"ab", b"1", b'{"a": "')] or choice)
        assert matcher.accept(token)
        written += tokens[token]
    left = matcher.distance()
    while not matcher.is_finished():
        assert left > 0, (written, matcher.distance())
        assert matcher.distance() <= left
        matcher.fill_bitmask(row, remaining=left)
        matcher.fill_bitmask_by_bytes(by_bytes, remaining=left)
        assert (row == by_bytes).all()
        token = int(r.choice(bits(row[0]).tolist()))
        assert matcher.accept(token)
        written += tokens[token]
        left -= 1
    value = json.loads(written)
    found = value["a"] if is_nested else value
    assert re.search(pattern, found)
    assert least <= len(found) <= least + more


def test_a_distant_bound_costs_no_more_than_none() -> None:
    """`maxLength` 250 is no 250 texts to the end: under the least budget a mask takes about what it takes without."""

    def seconds(bound: int | None) -> float:
        schema = {"type": "string", "pattern": "^[^@^\\s]+@[^@^\\.^\\s]+(\\.[^@^\\.^\\s]*)*.gov.uk"}
        tokens = [*EVERY_BYTE, *(bytes([a]) * n for a in b"abcdefgh" for n in range(2, 60)), b""]
        vocabulary = guard.Vocabulary.from_bytes(tokens, eos=[len(tokens) - 1])
        matcher = guard.compile(schema if bound is None else schema | {"maxLength": bound}).matcher(vocabulary)
        assert matcher.accept_bytes(b'"')
        left, start = matcher.distance(), time.thread_time()
        matcher.fill_bitmask(allocate_bitmask(1, vocabulary.size), remaining=left)
        return (time.thread_time() - start) / clock.SLOWER

    free = min(seconds(None) for _ in range(3))
    assert min(seconds(250 + n) for n in range(3)) < 5 * free + 0.003

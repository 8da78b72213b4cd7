"""Quoted texts in masks, against all answers written out: every token of every mask, with and without budgets."""

from __future__ import annotations

import gc
import json
import re
from functools import cache
from random import Random
from typing import Any

import numpy as np
import pytest

import guard
from guard.kernels import _native
from guard.kernels.bitmask import allocate_bitmask
from guard.schemas.grounding.keyword import KEYWORD
from guard.schemas.grounding.sources import Sources
from guard.schemas.grounding.word_bounds import bounds

LETTERS = 'ab1Bé"\\-.,:$() \n\t|'
PIECES = [
    'a"',
    '", "',
    "ab",
    "b a",
    ' "a',
    '"a',
    '\\"',
    "\\\\",
    "é ",
    "1-a",
    ".b",
    '"}',
    '",',
    "null",
    ': "',
    "aé",
    "1,1",
]
PATTERNS = [None, None, "^a", "b$", "^[ab]+$", "^[^1]*$", "^..$", "a.*b", "^\\$"]
HALVES = [b"\xc3", b"\xa9", b"a\xc3", b"\xa9 a", b'\xa9"', b"\\"]


@cache
def vocabulary() -> guard.Vocabulary:
    """Return single bytes, pieces, and halves of characters."""
    tokens = [*(bytes([byte]) for byte in range(256)), *(piece.encode() for piece in PIECES), *HALVES, b""]
    return guard.Vocabulary.from_bytes(tokens, eos=[len(tokens) - 1])


def field(r: Random) -> dict[str, Any]:
    """Draw a grounded text's schema."""
    schema: dict[str, Any] = {"type": r.choice(["string", ["string", "null"]]), KEYWORD: "input"}
    if (pattern := r.choice(PATTERNS)) is not None:
        schema["pattern"] = pattern
    if r.random() < 0.3:
        schema["minLength"] = r.randint(1, 3)
    if r.random() < 0.4:
        schema["maxLength"] = r.randint(1, 6)
    if r.random() < 0.15:
        schema["enum"] = [r.choice(["a", "ab", "b a", "1-a", "é", None]) for _ in range(3)]
        schema["enum"] = list(dict.fromkeys(schema["enum"]))
    return schema


def values(schema: dict[str, Any], tree: Any) -> list[Any]:
    """Return all values of a grounded text's schema: every part of the text is tried."""
    _, text, starts, ends = tree
    quotes = {
        text[i:j]
        for i in range(len(text))
        if starts[i]
        for j in range(i + 1, len(text) + 1)
        if ends[j] and "\n" not in text[i:j]
    }
    kept: list[Any] = [
        quote
        for quote in sorted(quotes)
        if re.search(schema.get("pattern", ""), quote)
        and schema.get("minLength", 0) <= len(quote) <= schema.get("maxLength", 99)
    ]
    if "null" in schema["type"]:
        kept.append(None)
    return [value for value in kept if value in schema.get("enum", [value])]


def written(value: Any) -> bytes:
    """Return a value as the engine writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def tokens_of(row: Any) -> set[int]:
    """Return the tokens of a mask."""
    return set(np.flatnonzero(np.unpackbits(row[0].view(np.uint8), bitorder="little")).tolist())


def expected(texts: list[bytes], done: bytes) -> set[int]:
    """Return the tokens with which some of the texts goes on; the end where one is whole."""
    words = vocabulary()
    rests = [text[len(done) :] for text in texts if text.startswith(done)]
    found = {
        token for token in range(words.size - 1) if any(rest.startswith(words.token_bytes(token)) for rest in rests)
    }
    return found | ({words.size - 1} if done in texts else set())


def fewest(text: bytes) -> int:
    """Return how many tokens spell a text at least."""
    words = vocabulary()
    best = [0, *([len(text)] * len(text))]
    for end in range(1, len(text) + 1):
        for token in range(words.size - 1):
            spelled = words.token_bytes(token)
            if text[:end].endswith(spelled):
                best[end] = min(best[end], best[end - len(spelled)] + 1)
    return best[-1]


def cases(r: Random) -> tuple[Any, list[bytes], guard.Compiled]:
    """Draw a schema and a text; return all answers and the schema of the call."""
    text = "".join(r.choice(LETTERS) for _ in range(r.randint(0, 14)))
    sources = Sources({"text": text})
    tree = sources.tree(guard.schemas.grounding.keyword.rule_of({"type": "string", KEYWORD: "input"}))
    kind = r.choice(["alone", "object", "array", "either"])
    one = field(r)
    if kind == "alone":
        schema, answers = one, [written(value) for value in values(one, tree)]
    elif kind == "object":
        other = field(r)
        schema = {
            "type": "object",
            "properties": {"a": one, "b": other},
            "required": ["a"],
            "additionalProperties": False,
        }
        both = [(a, b) for a in values(one, tree) for b in [..., *values(other, tree)]]
        answers = [written({"a": a} if b is ... else {"a": a, "b": b}) for a, b in both]
    elif kind == "array":
        schema = {"type": "array", "items": one, "maxItems": 2, "uniqueItems": True}
        found = values(one, tree)
        answers = [b"[]", *(written([a]) for a in found), *(written([a, b]) for a in found for b in found if a != b)]
    else:
        other = field(r)
        schema = {"anyOf": [one, other, {"const": True}]}
        answers = [written(value) for value in {*values(one, tree), *values(other, tree), True}]
    return text, answers, guard.compile(schema, whitespace="compact").grounded(sources), schema


@pytest.mark.parametrize("seed", range(8))
def test_masks_hold_the_tokens_of_all_answers_and_no_others(seed: int) -> None:
    r, words, row = Random(seed), vocabulary(), allocate_bitmask(1, vocabulary().size)
    for _ in range(40):
        text, answers, compiled, schema = cases(r)
        matcher = compiled.matcher(words)
        if not answers:
            assert matcher.distance() < 0, (text, schema)
            continue
        for _ in range(3):
            matcher.reset()
            done, answer = b"", r.choice(answers)
            while True:
                matcher.fill_bitmask(row)
                allowed = tokens_of(row)
                assert allowed == expected(answers, done), (text, schema, done)
                rests = [a[len(done) :] for a in answers if a.startswith(done)]
                assert min(map(fewest, rests)) < matcher.distance() <= min(map(len, rests)) + 1, (text, schema, done)
                fitting = [
                    t for t in allowed if answer[len(done) :].startswith(words.token_bytes(t)) and t < words.size - 1
                ]
                if not fitting:
                    break
                token = r.choice(fitting)
                assert matcher.accept(token)
                done += words.token_bytes(token)
            assert done == answer


@pytest.mark.parametrize("seed", range(4))
def test_under_a_budget_an_end_is_always_within_reach(seed: int) -> None:
    r, words, row = Random(100 + seed), vocabulary(), allocate_bitmask(1, vocabulary().size)
    slow = allocate_bitmask(1, words.size)
    for _ in range(40):
        text, answers, compiled, schema = cases(r)
        if not answers:
            continue
        matcher = compiled.matcher(words)
        left, done = matcher.distance() + r.randint(0, 6), b""
        while left > 0:
            matcher.fill_bitmask(row, remaining=left)
            matcher.fill_bitmask_by_bytes(slow, left)
            allowed = tokens_of(row)
            assert allowed == tokens_of(slow), (text, schema, done, left)
            assert allowed, (text, schema, done, left)
            assert allowed <= expected(answers, done)
            token = r.choice(sorted(allowed))
            assert matcher.accept(token)
            if token == words.size - 1:
                break
            done, left = done + words.token_bytes(token), left - 1
        assert done in answers, (text, schema, done)


def test_copies_and_rollback_go_on_as_the_matcher_does() -> None:
    compiled = guard.compile({"type": "string", KEYWORD: "input"}).grounded(Sources({"text": "one two\nthree four"}))
    matcher = compiled.matcher(vocabulary())
    assert matcher.accept_bytes(b'"three')
    other = matcher.copy()
    assert other.accept_bytes(b' four"')
    assert not matcher.accept_bytes(b" two")
    matcher.rollback()
    assert matcher.accept_bytes(b'"one two"')
    assert matcher.can_stop()


def test_what_all_quotations_begin_with_is_forced() -> None:
    schema = {"type": "string", KEYWORD: "input", "pattern": "^A"}
    only = guard.compile(schema, whitespace="compact").grounded(Sources({"text": "Order A-17-44"}))
    assert only.matcher(vocabulary()).forced_bytes() == b'"A-17-44"'


def test_no_document_leaves_anything_behind() -> None:
    schema = guard.compile(
        {"type": "object", "properties": {"a": {"type": "string", KEYWORD: "input"}}, "required": ["a"]}
    )
    row = allocate_bitmask(1, vocabulary().size)

    def read(number: int) -> None:
        text = " ".join(f"word{number}x{i}" for i in range(50))
        matcher = schema.grounded(Sources({"text": text})).matcher(vocabulary())
        assert matcher.accept_bytes(b'{"a": "')
        matcher.fill_bitmask(row)

    for number in range(50):
        read(number)
    gc.collect()
    before = _native.memory()
    for number in range(50, 400):
        read(number)
    gc.collect()
    after = _native.memory()
    assert after["isolates"] <= before["isolates"] + 1
    assert after["held"] - before["held"] < 50_000


def test_tables_that_were_flushed_are_made_again() -> None:
    matcher = (
        guard.compile({"type": "string", KEYWORD: "input"}).grounded(Sources({"text": "one two"})).matcher(vocabulary())
    )
    row = allocate_bitmask(1, vocabulary().size)
    assert matcher.accept_bytes(b'"one')
    matcher.fill_bitmask(row)
    wanted = tokens_of(row)
    budget = _native.memory()["budget"]
    try:
        _native.limit_memory(1)
        guard.compile({"const": "else"}).matcher(vocabulary())
    except guard.SchemaError:
        pass
    finally:
        _native.limit_memory(budget)
    matcher.fill_bitmask(row)
    assert tokens_of(row) == wanted


def test_words_have_marks_for_each_place() -> None:
    starts, ends = bounds("a-1 b")
    assert [i for i, s in enumerate(starts) if s] == [0, 4]
    assert [i for i, e in enumerate(ends) if e] == [3, 5]

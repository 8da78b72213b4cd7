"""Masks of formats: by brute force over vocabularies whose tokens cross segments, with and without a budget."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from formats.format_cases import SINGLE_BYTES, dense_vocabulary, form, texts
from hypothesis import given
from hypothesis import strategies as st
from properties import allowed

import guard
from guard import formats
from guard.kernels.bitmask import allocate_bitmask

BYTES = guard.Vocabulary.from_bytes([*SINGLE_BYTES, b""], eos=[256])


def by_bytes(matcher: Any, vocabulary: guard.Vocabulary, remaining: int | None) -> list[int]:
    row = allocate_bitmask(1, vocabulary.size)
    matcher.fill_bitmask_by_bytes(row, remaining=remaining)
    return [token for token in range(vocabulary.size) if row[0, token >> 5] >> (token & 31) & 1]


def check_walk(compiled: Any, vocabulary: guard.Vocabulary, goal: bytes, r: Random, steps: int = 40) -> Counter[str]:
    """Walk along a text or at random; in each state every token's verdict is what accept() and distance() say."""
    matcher = compiled.matcher(vocabulary)
    count: Counter[str] = Counter()
    left = matcher.distance() + r.choice([0, 1, 2, 5, 20]) if r.random() < 0.5 else None
    at = 0
    for step in range(steps):
        got = allowed(matcher, vocabulary, left).tolist()
        assert got == by_bytes(matcher, vocabulary, left)
        assert got, f"a dead end with {left} left behind {goal[:at]!r}"
        if step < 12:
            for token in range(vocabulary.size):
                other = matcher.copy()
                yes = other.accept(token)
                if yes and left is not None:
                    yes = 0 <= other.distance() < left
                assert yes == (token in got), (vocabulary.token_bytes(token), left, yes)
            count["verdicts"] += vocabulary.size
        along = [t for t in got if (said := vocabulary.token_bytes(t)) and goal.startswith(said, at)]
        token = r.choice(along if along and r.random() < 0.9 else got)
        assert matcher.accept(token)
        at += len(vocabulary.token_bytes(token))
        left = None if left is None else left - 1
        if matcher.is_finished():
            break
    return count + Counter(walks=1)


def test_masks_of_xgrammar_s_cases_are_those_by_brute_force(data: Path) -> None:
    r, count = Random(1), Counter[str]()
    with gzip.open(data / "structural-tags.jsonl.gz", "rt", encoding="utf-8") as lines:
        cases: dict[str, list[str]] = {}
        for line in lines:
            case = json.loads(line)
            cases.setdefault(json.dumps(case["tag"]), []).append(case["text"])
    for tag, said in r.sample(sorted(cases.items()), 120):
        compiled = guard.compile(json.loads(tag))
        if compiled.matcher(BYTES).distance() >= 0:
            count += check_walk(compiled, dense_vocabulary(r, said), r.choice(said).encode(), r)
    assert count["verdicts"] > 300_000, count


def check_random(seed: int) -> Counter[str]:
    r = Random(seed)
    try:
        compiled = guard.compile(form(r), whitespace=r.choice(["spaced", "spaced", "any", "flexible"]))
    except guard.SchemaError:
        return Counter(refused=1)
    matcher = compiled.matcher(BYTES)
    if matcher.distance() < 0:
        return Counter(empty=1)
    said = sorted(texts(r, matcher))
    return check_walk(compiled, dense_vocabulary(r, said), r.choice(said).encode(), r)


def test_masks_of_random_formats_are_those_by_brute_force() -> None:
    count: Counter[str] = Counter()
    for seed in range(500):
        count += check_random(seed)
    assert count["verdicts"] > 600_000, count


@given(st.integers(0, 2**32))
def test_masks_of_a_random_format_are_those_by_brute_force(seed: int) -> None:
    check_random(seed)


@pytest.mark.parametrize("begin", ["", "<a>", "<a>\n"])
def test_a_format_decides_on_the_text_before_a_value(begin: str) -> None:
    """White space was let through there with whitespace="any", and then refused."""
    words = [b"\n1", b"  true", b"\t{", b">\ntrue"]
    tokens = guard.Vocabulary.from_bytes([*SINGLE_BYTES, *words, b""], eos=[256 + len(words)])
    compiled = guard.compile(formats.tag(begin, formats.json({"type": ["boolean", "object"]}), "!"), whitespace="any")
    for seed in range(4):
        check_walk(compiled, tokens, f"{begin}true!".encode(), Random(seed))
    matcher = compiled.matcher(tokens)
    assert matcher.accept_bytes(begin.encode())
    assert not {*b" \n\t"} & set(allowed(matcher, tokens).tolist())


@pytest.mark.parametrize(("first", "second"), [(" zz", " "), ("a~", "a")])
def test_texts_that_the_same_character_leaves_have_masks_of_their_own(first: str, second: str) -> None:
    """Where so many tokens hold the character that their mask is one of bits, a later text was given that mask."""
    many = [f"{second}{chr(33 + number)}".encode() for number in range(60)]
    tokens = guard.Vocabulary.from_bytes([*SINGLE_BYTES, *many, b""], eos=[256 + len(many)])
    for exclude in (first, second, first, second):
        matcher = guard.compile(formats.any_text(excludes=[exclude])).matcher(tokens)
        assert allowed(matcher, tokens).tolist() == by_bytes(matcher, tokens, None)


UNIQUE = {"type": "array", "items": {"type": "integer"}, "uniqueItems": True, "minItems": 1}
CALLED = {"type": "object", "properties": {"n": {"type": "integer"}, "u": UNIQUE}, "required": ["n", "u"]}


@pytest.mark.parametrize("schema", [UNIQUE, CALLED, {"type": "integer"}, {"type": "object", "minProperties": 1}])
@pytest.mark.parametrize("begin", ["<c>\n", "\n", '"', "\\"])
def test_a_distance_is_the_same_whatever_was_asked_before(begin: str, schema: dict[str, Any]) -> None:
    """A line feed before a value counted twice, and what the value takes was remembered as one token more."""
    turn = formats.tag(begin, formats.json(schema), "\n</c>")
    found = []
    for number, at in enumerate([(b"", begin.encode()), (begin.encode(), b"")]):
        compiled = guard.compile(turn, limits=guard.Limits(seconds=7 + number))  # tables of its own
        told = {}
        for text in at:
            matcher = compiled.matcher(BYTES)
            assert matcher.accept_bytes(text)
            told[text] = matcher.distance()
        found.append(told)
    assert found[0] == found[1]
    assert found[0][b""] == found[0][begin.encode()] + len(begin)


@pytest.mark.parametrize("schema", [UNIQUE, CALLED])
@pytest.mark.parametrize("begin", ["<c>\n", '"', "x"])
def test_a_budget_of_exactly_the_distance_leads_to_the_end_of_a_format(begin: str, schema: dict[str, Any]) -> None:
    compiled = guard.compile(formats.tag(begin, formats.json(schema), "\n</c>"))
    for seed in range(60):
        r = Random(seed)
        matcher = compiled.matcher(BYTES)
        left = matcher.distance() + r.choice([0, 0, 1, 2, 3])
        while not matcher.is_finished():
            may = allowed(matcher, BYTES, left).tolist()
            assert may, f"a dead end with {left} left: seed {seed}"
            assert matcher.accept(
                r.choice([token for token in may if token < 128 and chr(token) in '01[]{}",nu\n'] or may)
            )
            left -= 1


def test_a_class_of_characters_that_parts_is_read_apart_up_to_a_value() -> None:
    """`v` may not be the key again: a token that ends it and begins a value was let through, for `w` may be one."""
    tokens = guard.Vocabulary.from_bytes([*SINGLE_BYTES, b"", b"v>43</", b"w>43<"], eos=[256])
    schema = {"type": "object", "properties": {"v": {"const": 42}}, "required": ["v"]}
    matcher = guard.compile(formats.json(schema, style="qwen_xml")).matcher(tokens)
    assert matcher.accept_bytes(b"<parameter=v>42</parameter><parameter=")
    assert {257, 258} & set(allowed(matcher, tokens).tolist()) == {258}


@pytest.mark.parametrize("text", ["a\nb", 'a"b', "a\\b", "é\x00", "\U0001f600"])
def test_any_character_of_a_literal_has_a_completion(text: str) -> None:
    """A line feed counts as its escape in JSON's strings: the completion ended there, and nothing could be written."""
    matcher = guard.compile(formats.const(text)).matcher(BYTES)
    assert matcher.distance() == len(text.encode()) + 1
    for byte in text.encode():
        assert matcher.accept(byte)
    assert matcher.distance() == 1


# ---- budgets ---------------------------------------------------------------------------------------------------------


def fewest(matcher: Any, vocabulary: guard.Vocabulary, most: int) -> int:
    """The least tokens to an end, found by looking at every way; `most` + 1 where more are needed."""
    ways = [matcher.copy()]
    for count in range(1, most + 1):
        if any(way.can_stop() for way in ways):
            return count
        further: dict[bytes, Any] = {}
        for way in ways:
            for token in allowed(way, vocabulary).tolist():
                if token not in vocabulary.eos:
                    other = way.copy()
                    assert other.accept(token)
                    further.setdefault(other.key(), other)
        ways = list(further.values())
    return most + 1


def test_the_least_budget_is_near_the_least_that_any_way_takes() -> None:
    """On vocabularies small enough to look at every way: at most 1.2 of it, all together, and never less."""
    r, told, least = Random(3), 0, 0
    schema = {"type": "object", "properties": {"ab": {"enum": ["aab", "b"]}}, "required": ["ab"]}
    shapes = [
        formats.tag("<ab>", formats.json(schema), "</ab>"),
        formats.sequence(formats.const("aabab"), formats.regex("[ab]{2}b"), formats.const("<b>")),
        formats.triggered_tags(["<a"], [formats.tag("<ab>", formats.json(schema), "<b")], at_least_one=True),
        formats.json(schema, style="qwen_xml"),
    ]
    for shape in shapes:
        compiled = guard.compile(shape)
        for _ in range(12):
            vocabulary = dense_vocabulary(r, ['<ab>{"ab": "b"}</ab>', "aabab<b>", "<parameter=ab>b</parameter>"])
            matcher = compiled.matcher(vocabulary)
            known, found = matcher.distance(), fewest(matcher, vocabulary, 40)
            assert known >= found
            told, least = told + known, least + found
    assert told <= 1.2 * least, (told, least)


TOOLS = {
    "get_weather": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
        "required": ["city", "unit"],
        "additionalProperties": False,
    },
    "add": {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}, "required": ["a", "b"]},
}
TAGS = [
    formats.tag(f'<tool_call>\n{{"name": "{name}", "arguments": ', formats.json(schema), "}\n</tool_call>")
    for name, schema in TOOLS.items()
]
TURNS = {
    "auto": formats.triggered_tags(["<tool_call>"], TAGS),
    "required": formats.triggered_tags(["<tool_call>"], TAGS, at_least_one=True),
    "named": TAGS[0],
    "parallel": formats.tags_with_separator(TAGS, "\n", at_least_one=True),
}


@pytest.fixture(scope="module", name="qwen")
def qwen_fixture(data: Path) -> guard.Vocabulary:
    pytest.importorskip("tokenizers")
    return qwen3(data)


def qwen3(data: Path) -> guard.Vocabulary:
    import tokenizers

    loaded = tokenizers.Tokenizer.from_file(str(data / "qwen3-tokenizer" / "tokenizer.json"))
    return guard.Vocabulary.from_tokenizer(loaded, eos=151_645)


@pytest.mark.parametrize("choice", TURNS)
def test_no_budget_cuts_a_call(choice: str, qwen: guard.Vocabulary) -> None:
    """For every seventh max_tokens up to 200, by models that write anything, or always open what they can."""
    check_budgets(choice, qwen, 7)


@pytest.mark.parametrize("remaining", [None, 60])
def test_text_with_a_begun_trigger_has_the_masks_by_bytes(qwen: guard.Vocabulary, remaining: int | None) -> None:
    """Nearly all characters lead back to free text; the first ones of triggers, and those that go on, are apart."""
    compiled = guard.compile(
        formats.triggered_tags(["<tool_call>", "ask"], [*TAGS, formats.tag("ask(", formats.json({}), ")")])
    )
    matcher = compiled.matcher(qwen)
    for byte in "a é<\u2028<tool_ca as\n<a<tool_call>".encode():
        row, slow = allocate_bitmask(1, qwen.size), allocate_bitmask(1, qwen.size)
        matcher.fill_bitmask(row, remaining=remaining)
        matcher.fill_bitmask_by_bytes(slow, remaining=remaining)
        assert (row == slow).all()
        assert row.any()
        assert matcher.accept_bytes(bytes([byte]))


def check_budgets(choice: str, qwen: guard.Vocabulary, stride: int) -> int:
    """Write turns within budgets, behind the least ones each so many tokens; returns how many were written."""
    compiled, r, count = guard.compile(TURNS[choice]), Random(5), 0
    matcher = compiled.matcher(qwen)
    least = matcher.distance()
    opening = [qwen.token("<tool_call>"), *(t for t in range(300) if qwen.token_bytes(t)[:1] in b'{["<')]
    for most in [*range(least, min(least + 12, 200)), *range(least + 12, 201, stride)]:
        count += 1
        matcher.reset()
        written: list[int] = []
        while not matcher.is_finished():
            ids = allowed(matcher, qwen, most - len(written))
            assert ids.size, f"a dead end, {most - len(written)} of {most} tokens before the end"
            usable = [token for token in opening if token in ids] if most % 2 else []
            token = int(r.choice(usable or ids))
            assert matcher.accept(token)
            written.append(token)
        assert len(written) <= most
        values = [span.value for span in compiled.read(written[:-1], qwen) if span.kind == "value"]
        assert all(isinstance(value, dict) for value in values)
        assert choice == "auto" or values
    return count

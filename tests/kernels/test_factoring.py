"""Masks that factor are those of reading every token byte by byte, bit by bit."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties import allowed, within_limits
from strategies import VOCABULARIES, Case, case, vocabulary

import guard
from guard.kernels.bitmask import allocate_bitmask

OPEN = {
    "type": "object",
    "properties": {"id": {"type": "integer"}, "name": {"type": "string"}, "n": {"enum": ["a", 1, None]}},
    "patternProperties": {"^x": {"type": "array", "items": {"type": "number"}}},
    "required": ["name"],
}
TEXT = '{"name": "a\\n b", "x1": [1.5, -2e3], "id": 1, "\\u0069d2": {"name": []}, "zz": [{"k": ""}], "": "", "n": null}'


def both(matcher: Any, vocabulary: guard.Vocabulary, remaining: int | None) -> np.ndarray:
    """Return the mask, made in both ways."""
    fast, slow = allocate_bitmask(1, vocabulary.size), allocate_bitmask(1, vocabulary.size)
    matcher.fill_bitmask(fast, remaining=remaining)
    matcher.fill_bitmask_by_bytes(slow, remaining=remaining)
    differ = np.flatnonzero(np.unpackbits((fast ^ slow).view(np.uint8), bitorder="little"))
    names = [vocabulary.token_bytes(int(token)) for token in differ[:5]]
    assert not differ.size, f"remaining={remaining}: {differ.size} tokens differ, among them {names}"
    return np.flatnonzero(np.unpackbits(fast.view(np.uint8), bitorder="little"))


def check(drawn: Case, tokens: guard.Vocabulary, steps: int = 12) -> Counter[str]:
    """Walk at random; in every state compare the masks without a budget, and with some that suffice."""
    r = Random(drawn.seed)
    count: Counter[str] = Counter(schemas=1)
    matcher = drawn.matcher(tokens)
    for _ in range(steps):
        least = matcher.distance()
        if least >= 0:
            both(matcher, tokens, least + r.choice([0, 1, 3, 10, 40, 1000]))
        allowed = both(matcher, tokens, None)
        count["masks"] += 1
        if not allowed.size or not matcher.accept(int(r.choice(allowed.tolist()))) or matcher.is_finished():
            break
    return count


@pytest.mark.parametrize("seed", [3_000_000, 4_000_000])
def test_masks_of_random_schemas_are_those_by_bytes(seed: int) -> None:
    """On dense vocabularies, with every option, without a budget and under several."""
    count: Counter[str] = Counter()
    while count["masks"] < 5_000:
        drawn = case(Random(seed + count["schemas"]), first=seed == 3_000_000)
        count += within_limits(check, drawn, vocabulary(count["schemas"] % VOCABULARIES))
    assert count["limits"] <= 0.02 * count["schemas"], count


LISTED = st.lists(
    st.text('ab"\\/n\u00e9-', max_size=4) | st.sampled_from(["true", "aa", "aaaa", "abab", "ba"]),
    min_size=1,
    max_size=6,
)


@given(
    words=LISTED, others=LISTED, spelling=st.sampled_from(["canonical", "any"]), budget=st.none() | st.integers(0, 9)
)
def test_masks_of_listed_texts_are_those_by_bytes(
    words: list[str], others: list[str], spelling: Any, budget: Any
) -> None:
    """Behind each beginning of each text, of one list and of two that differ in what follows, in every spelling."""
    first = {"properties": {"k": {"enum": words}, "v": {"type": "integer"}}, "required": ["k", "v"]}
    second = {"properties": {"k": {"enum": others}}, "maxProperties": 1}
    schema = {"type": "object", "anyOf": [first, second], "required": ["k"]}
    tokens = vocabulary(0)
    compiled = guard.compile(schema, spelling=spelling)
    for word in {*words, *others}:
        matcher = compiled.matcher(tokens)
        text = json.dumps({"k": word}, ensure_ascii=False)[:-1].encode()
        for byte in [b"", *(bytes([b]) for b in text)]:
            assert matcher.accept_bytes(byte)
            both(matcher, tokens, None if budget is None else max(matcher.distance(), 0) + budget)


RUNS = [1, 2, 3, 5, 8, 16, 25, 31, 32, 33, 40, 62, 63, 64, 65, 90]
LONG = [char * n for char in "ax-=0" for n in RUNS]
MIXED = [
    "ab",
    "xn",
    "xn--",
    "a-",
    "-a",
    ".a",
    "a.",
    "@a",
    "a@",
    ".com",
    "Aa",
    'a"',
    '-"',
    '@"',
    "é",
    "éa",
    "aé",
    "\\n",
    "\\u00e9",
    "\\ud83d",
    " ",
]
FAR: list[dict[str, Any]] = [
    {"pattern": "^[a-z]{1,40}$"},
    {"pattern": "^[a-z-]{2,33}(?:=[a-z]{0,36})?$"},
    {"pattern": "^(?:[a-w]{0,32}x){0,34}$"},
    {"pattern": "^[^x]{0,70}$"},
    {"pattern": "^(?!x)[a-z=]{0,45}[0a]$"},
    {"pattern": "^[a-z]{1,40}$", "minLength": 3, "maxLength": 38},
    {"pattern": "^[a-z.@-]*$", "maxLength": 50},
    {"pattern": "^.{0,60}$", "not": {"pattern": "^a{35,50}$"}},
    {"anyOf": [{"pattern": "^a{0,64}$"}, {"pattern": "^[a=]{3,33}-$"}, {"maxLength": 5}]},
    {"allOf": [{"pattern": "^[a-z]*0{9}$"}, {"pattern": "^[a-z0]{1,60}$"}]},
    {"allOf": [{"pattern": "^(?:[ax]|=a{20})*$"}, {"pattern": "^[ax=]{0,52}$"}]},
    {"pattern": "^[a-z]{1,64}=?a{12}$", "maxLength": 140},
    {"pattern": "^.*a{20}$", "maxLength": 120},
    {"pattern": "^[^]{0,99}$", "maxLength": 120},
    {"format": "email", "maxLength": 130},
    {"format": "email"},
    {"format": "hostname"},
    {"anyOf": [{"format": "hostname"}, {"format": "ipv4"}]},
]


@pytest.mark.parametrize("schema", FAR, ids=json.dumps)
def test_bounds_that_are_far_matter_in_the_end(schema: dict[str, Any]) -> None:
    """A bound on a repetition tells no states apart while no token comes near; long tokens and texts do come near."""
    spelled = [*(bytes([b]) for b in range(256)), *(text.encode() for text in [*LONG, *MIXED])]
    tokens = guard.Vocabulary.from_bytes([*spelled, b""], eos=[len(spelled)])
    long = set(range(256, 256 + len(LONG)))
    compiled = guard.compile({"type": "string", **schema}, spelling="any")
    keys = guard.compile(
        {"type": "object", "propertyNames": schema, "additionalProperties": {"type": "null"}}, key_order="any"
    )
    for seed in range(60):
        r = Random(seed)
        matcher = (keys if seed % 3 == 2 else compiled).matcher(tokens)
        for step in range(40):
            allowed = both(matcher, tokens, None).tolist()
            if step % 5 == 4:
                both(matcher, tokens, matcher.distance() + r.choice([0, 2, 30, 300]))
            some = [t for t in allowed if t in long] if r.random() < 0.5 else allowed
            if not allowed or not matcher.accept(r.choice(some or allowed)) or matcher.is_finished():
                break


@st.composite
def counted(draw: st.DrawFn, depth: int = 2) -> str:
    """A pattern of parts that are repeated a number of times, as in hashes, dates and keys."""
    if depth == 0:
        return draw(st.sampled_from(["[0-9a-f]", "[a-z]", "a", "x", "-", "[^x]", ".", "é", "[0-9a-fé]", "a0", "=?"]))
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        part = draw(counted(depth - 1))
        lo = draw(st.integers(0, 12))
        hi = draw(st.sampled_from([lo, lo, lo + 1, lo + 5, None]))
        count = f"{{{lo},{'' if hi is None else hi}}}"
        parts.append(f"(?:{part}){count}" if draw(st.booleans()) else part)
    if draw(st.integers(0, 3)) == 0:
        parts = [f"(?:{'|'.join(parts)})"]
    return "".join(parts)


HEX = [*(a + b for a in "0af" for b in "09cz-"), "abc", "0x", "deaf", "a0a0a", "facade", "aaaaaaaa", "0" * 6, "-a-a-"]
#: What goes beyond the end of a count, and four characters with one that has begun.
BEYOND = [
    "aaaaa-",
    'aaaaa-"',
    "aaaaax",
    "00000x",
    "aaaaaax",
    "axbxc",
    "x=x9",
    "aaaa\\",
    "aaaa\\u01",
    "aaaa\\ud83d",
    "00aaé",
]


@given(
    pattern=counted(),
    bounds=st.sampled_from([{}, {}, {"maxLength": 9}, {"minLength": 3, "maxLength": 40}]),
    seed=st.integers(0, 1000),
)
def test_what_is_counted_far_off_tells_no_short_tokens_apart(pattern: str, bounds: dict[str, Any], seed: int) -> None:
    """Repetitions that no short token comes to the end of share a mask; the second state that asks for it makes it."""
    spelled = [*(bytes([b]) for b in range(256)), *(text.encode() for text in [*HEX, *MIXED, *BEYOND]), b"aaaa\xc3"]
    spelled += [f'{text}"'.encode() for text in ("a", "00", "aaaaa", "abcdef", "é", "ééééé", "-")]
    tokens = guard.Vocabulary.from_bytes([*spelled, b""], eos=[len(spelled)])
    try:
        compiled = guard.compile({"type": "string", "pattern": f"^{pattern}$", **bounds}, spelling="any")
    except guard.SchemaError:
        return  # there is no such text
    r = Random(seed)
    for _ in range(3):
        matcher = compiled.matcher(tokens)
        for step in range(30):
            allowed = both(matcher, tokens, None).tolist()
            if step % 7 == 6:
                both(matcher, tokens, matcher.distance() + r.choice([0, 2, 30]))
            some = [t for t in allowed if t >= 256] if r.random() < 0.4 else allowed
            if not allowed or not matcher.accept(r.choice(some or allowed)) or matcher.is_finished():
                break


@pytest.mark.parametrize(
    ("pattern", "text", "some"),
    [
        ("^[0-9a-f]{15}-x$", "a" * 14, [b"aaaaa-"]),
        ("^[0-9a-f]{15}-$", "a" * 14, [b'aaaaa-"', b"aaaaa-"]),
        ("^-{24}\\+$", "-" * 23, [b"------+"]),
        ("^(?:0[0-9a-f]{4,15}x|1[0-9a-f]{4,16}x)$", "0aaaa", [b"aaaa\\", b"aaaa\xc3", b"aaaa\\u01"]),
        ("^(?:0[0-9a-f]{4,15}x|1[0-9a-f]{4,16}x)$", "1aaaa", [b"aaaa\\", b"aaaa\xc3", b"aaaa\\u01"]),
        ("^(?:0(?:[0-9a-f]{4}é|a{15})|1(?:[0-9a-f]{4}é|a{16}))$", "1aaaa", [b"aaaa\xc3", "aaaaé".encode()]),
    ],
)
@pytest.mark.parametrize("spelling", ["canonical", "any"])
def test_tokens_that_go_beyond_a_count_are_let_through(
    pattern: str, text: str, some: list[bytes], spelling: Any
) -> None:
    """All places of a text, twice: after other places that have the same next characters."""
    spelled = [*(bytes([b]) for b in range(256)), *some]
    tokens = guard.Vocabulary.from_bytes([*spelled, b""], eos=[len(spelled)])
    compiled = guard.compile({"type": "string", "pattern": pattern}, spelling=spelling)
    for begun in ("0" + text[1:], "1" + text[1:], text) if "|" in pattern else (text, text):
        matcher = compiled.matcher(tokens)
        assert matcher.accept_bytes(b'"')
        for char in begun:
            both(matcher, tokens, None)
            both(matcher, tokens, matcher.distance())
            assert matcher.accept_bytes(char.encode())
        both(matcher, tokens, None)


def test_a_text_that_anything_may_follow_is_read_with_its_exceptions() -> None:
    """Most letters lead to one state, `x` to a free text, into which longer tokens lead."""
    tokens = guard.Vocabulary.from_bytes([*(bytes([b]) for b in range(256)), b"axbxc", b"x=x9", b""], eos=[258])
    matcher = guard.compile({"type": "string", "pattern": "^[^x]{6,11}x"}).matcher(tokens)
    for text in (b'"', b"&", b"r", b"0", b"0", b"0", b"0"):
        assert matcher.accept_bytes(text)
        both(matcher, tokens, None)


def test_an_escape_that_has_begun_is_a_character_of_few() -> None:
    """The last character that may come must be an `a`, however it is spelled."""
    tokens = guard.Vocabulary.from_bytes([*(bytes([b]) for b in range(256)), b""], eos=[256])
    matcher = guard.compile({"type": "string", "maxLength": 4, "pattern": "a$"}, spelling="any").matcher(tokens)
    for byte in b'"bcd\\u0061"':
        both(matcher, tokens, None)
        assert matcher.accept(byte)


@pytest.mark.parametrize("name", ["hostname", "email"])
def test_long_names_have_masks_under_a_budget(name: str) -> None:
    """Their states count two lengths at once, and a cheapest text of enough characters is one of one byte each."""
    tokens = guard.Vocabulary.from_bytes(
        [*(bytes([b]) for b in range(256)), b"abc", b"ab.", b"a-", b"@a", b""], eos=[260]
    )
    matcher = guard.compile({"type": "string", "format": name, "minLength": 60}).matcher(tokens)
    for text in (b'"ab', b"@c." if name == "email" else b".c.", b"a" * 40, b"bc", b".a" * 3):
        assert matcher.accept_bytes(text)
        for more in (0, 1, 7):
            assert both(matcher, tokens, matcher.distance() + more).size


def test_what_is_kept_of_an_ample_budget_does_not_decide_for_a_scarce_one() -> None:
    """Members' values, under budgets from ample ones down to those that no longer suffice."""
    words = [b"ab", b"abcdef", b'":"abc', b": [[", b":[[1", b'"abc', b"1234", b":123", b'"a"', b'"}']
    tokens = guard.Vocabulary.from_bytes([*(bytes([b]) for b in range(256)), *words, b""], eos=[256 + len(words)])
    lists = {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "integer"}, "c": lists},
        "required": ["a", "b", "c"],
        "additionalProperties": False,
    }
    compiled = guard.compile(schema, key_order="any", whitespace="any", spelling="any")
    for text in (b'{"a"', b'{"a":"","b":1,"c":', b'{"b":1,"c":[],"a":', b'{"c":[],"a":"","b"'):
        matcher = compiled.matcher(tokens)
        assert matcher.accept_bytes(text)
        least = matcher.distance()
        for remaining in (500, 60, *range(least + 12, least - 2, -1)):
            both(matcher, tokens, remaining)


def test_a_quote_behind_a_backslash_ends_no_item() -> None:
    """Where items are compared, a token that begins with a quote ends the item's text, or its escape."""
    tokens = guard.Vocabulary.from_bytes([*(bytes([b]) for b in range(256)), b'"a"', b'",', b'"]', b""], eos=[259])
    matcher = guard.compile({"uniqueItems": True}, spelling="any").matcher(tokens)
    assert matcher.accept_bytes(b'["20')
    assert 256 not in both(matcher, tokens, None)
    assert matcher.accept_bytes(b"\\")
    assert 256 in both(matcher, tokens, None)


@pytest.mark.parametrize("pattern", ["^(?:[a-z]+[0-9]+)*$", "^[A-Z]?(?:[a-z]+[0-9]+)*[a-z]*$"])
def test_tokens_of_any_length_are_read_in_a_bounded_stack(pattern: str) -> None:
    """Each letter leads back to its state, as each digit does to its own, 20,000 times in turn: the process died."""
    ends = [bytes([byte]) for byte in b"abcdefghijklmnopqrstuvwxyz"]
    tokens = guard.Vocabulary.from_bytes(
        [*(bytes([b]) for b in range(256)), *(b"a1" * 20_000 + end for end in ends), b""], eos=[256 + len(ends)]
    )
    matcher = guard.compile({"type": "string", "pattern": pattern}).matcher(tokens)
    assert matcher.accept_bytes(b'"')
    assert {*range(256, 256 + len(ends))} <= {*both(matcher, tokens, None).tolist()}


def looking() -> st.SearchStrategy[str]:
    """Patterns of parts that nearly any text meets, of looks in both directions, and of a few characters."""
    wide = st.sampled_from([".*", "[^]*", "[^q]*", "(?:a|.*)"])
    one = st.sampled_from(["a", "b", "q", ".", "[^q]", "[a-c]", r"\w", "\u4e2d", "^", "$"])
    part = st.one_of(wide, one, st.tuples(one, wide).map("".join), st.tuples(one, one).map(lambda two: "|".join(two)))
    counted = st.tuples(part, st.sampled_from(["*", "+", "?", "{2,4}"])).map(lambda two: f"(?:{two[0]}){two[1]}")
    look = st.tuples(st.sampled_from(["(?=", "(?!", "(?<=", "(?<!"]), part).map(lambda two: f"{two[0]}{two[1]})")
    return st.lists(st.one_of(look, look, wide, one, counted), min_size=1, max_size=4).map("".join)


@given(
    pattern=looking(),
    bounds=st.sampled_from([{}, {}, {"maxLength": 3}, {"maxLength": 12}, {"minLength": 2}]),
    spelling=st.sampled_from(["canonical", "any"]),
    seed=st.integers(0, 1000),
)
def test_masks_of_patterns_that_look_around_are_those_by_bytes(
    pattern: str, bounds: dict[str, int], spelling: Any, seed: int
) -> None:
    """Along random texts, without a budget and under scarce ones."""
    words = [
        "aa",
        "ab",
        "qa",
        "bq",
        "abcab",
        "aaaaaaaaaa",
        "\u4e2d",
        "\u4e2da",
        'a"',
        'b"',
        'q"',
        "\\n",
        "a\\",
        "\\u00",
    ]
    tokens = guard.Vocabulary.from_bytes(
        [*(bytes([b]) for b in range(256)), *(word.encode() for word in words), b""], eos=[256 + len(words)]
    )
    r = Random(seed)
    try:
        matcher = guard.compile({"type": "string", "pattern": pattern, **bounds}, spelling=spelling).matcher(tokens)
        for _ in range(8):
            least = matcher.distance()
            for more in (0, 1, 3) if least >= 0 else ():  # -1: there is no such text
                both(matcher, tokens, least + more)
            allowed = both(matcher, tokens, None).tolist()
            liked = [token for token in allowed if token >= 256 or chr(token) in "abq"] or allowed
            if not liked or not matcher.accept(int(r.choice(liked))) or matcher.is_finished():
                break
    except guard.SchemaError:
        return  # there is no such text, or a limit is met


@pytest.mark.parametrize("pattern", ["^.*(?<!q.*)b$", "^[^]*(?<!q[^]*)b$", "^.*(?<=^.{3})$", "(?<!^no.*)yes$"])
@pytest.mark.parametrize("where", ["value", "key"])
def test_what_looks_behind_a_wide_beginning_may_die(pattern: str, where: str) -> None:
    """Without the look-behind, a leading `.*` would let any text go on."""
    words = [b"q", b"qa", b"no", b"abcd", b'ab"', b'qb"', b"yes"]
    tokens = guard.Vocabulary.from_bytes([*(bytes([b]) for b in range(256)), *words, b""], eos=[256 + len(words)])
    schema = {"pattern": pattern} if where == "value" else {"type": "object", "propertyNames": {"pattern": pattern}}
    matcher = guard.compile({"type": "string", **schema} if where == "value" else schema, spelling="any").matcher(
        tokens
    )
    for text in (b'"' if where == "value" else b'{"', b"a", b"c"):
        assert matcher.accept_bytes(text)
        both(matcher, tokens, None)
        for more in (0, 1, 4):
            both(matcher, tokens, matcher.distance() + more)


def test_under_a_scarce_budget_a_far_bound_on_length_decides() -> None:
    """The end of the fewest characters, one of three bytes, fits behind ten; that of the fewest bytes does not."""
    tokens = guard.Vocabulary.from_bytes([*(bytes([b]) for b in range(256)), b"a" * 10, b""], eos=[257])
    matcher = guard.compile({"type": "string", "pattern": "^a*(?:\u4e2d|bc)$", "maxLength": 11}).matcher(tokens)
    for text in (b'"', b"a", b"aa"):
        assert matcher.accept_bytes(text)
        for more in range(4):
            both(matcher, tokens, matcher.distance() + more)


@pytest.mark.parametrize("pattern", ["^[AB][ab]", "^[a-c\u00e9]*$", "^(?:\u00e9|[ab]x)*$", "[\U00040000-\U00042000]"])
def test_bytes_that_are_no_utf8_are_no_characters(pattern: str) -> None:
    """Spellings longer than a character's own, halves of surrogate pairs, what is beyond the last character."""
    words = ["c181", "c1a1", "e08181", "e083a9", "f0808181", "c0b0", "eda080", "f4908080", "f1808080", "c3a9"]
    tokens = guard.Vocabulary.from_bytes(
        [*(bytes([b]) for b in range(256)), *map(bytes.fromhex, words), b""], eos=[256 + len(words)]
    )
    matcher = guard.compile({"type": "string", "pattern": pattern}).matcher(tokens)
    for text in (b'"', b"A"):
        for remaining in (None, matcher.distance(), matcher.distance() + 5):
            both(matcher, tokens, remaining)
        if not matcher.accept_bytes(text):
            break


@pytest.mark.parametrize("options", [{}, {"key_order": "any"}, {"key_order": "any", "spelling": "any"}])
def test_a_key_that_a_token_writes_can_not_come_again_behind_its_comma(options: dict[str, str]) -> None:
    """Under budgets that are counted in tokens."""
    for words, begun in (
        ([b'", "z": 0, ', b'", "": 0, ', b'"": 0}'], b'{"a": "'),
        ([b'": 0, ', b'z": 0, ', b'"": 0}'], b'{"a": 1, "'),
    ):
        tokens = guard.Vocabulary.from_bytes([*(bytes([b]) for b in range(256)), *words, b""], eos=[259])
        matcher = guard.compile({"type": "object"}, **options).matcher(tokens)
        assert matcher.accept_bytes(begun)
        for remaining in range(1, 12):
            both(matcher, tokens, remaining)


@pytest.fixture(scope="module")
def real(data: Path) -> tuple[Any, guard.Vocabulary]:
    """A real tokenizer and its vocabulary."""
    tokenizers = pytest.importorskip("tokenizers")
    loaded = tokenizers.Tokenizer.from_file(str(data / "qwen3-tokenizer" / "tokenizer.json"))
    return loaded, guard.Vocabulary.from_tokenizer(loaded, eos=151_645)


@pytest.mark.parametrize("order", ["any", "schema"])
def test_masks_of_a_real_vocabulary_are_those_by_bytes(real: tuple[Any, guard.Vocabulary], order: Any) -> None:
    """Behind each token of a text with keys of every kind, escapes, numbers and nested values."""
    tokenizer, tokens = real
    options = {"whitespace": "any", "spelling": "any"} if order == "any" else {}
    schema = OPEN if order == "any" else {**OPEN, "additionalProperties": False}
    limits = guard.Limits(seconds=120)  # byte by byte the rest of each of 150,000 keys is looked for
    matcher = guard.compile(schema, key_order=order, limits=limits, **options).matcher(tokens)
    text = TEXT if order == "any" else '{"id": 3, "name": "some text", "n": "a", "x": [1, 2]}'
    for number, token in enumerate(tokenizer.encode(text, add_special_tokens=False).ids):
        for remaining in (None, 500, matcher.distance() + number % 3 * 4)[: 3 if number % 8 == 0 else 2]:
            both(matcher, tokens, remaining)
        assert matcher.accept(token), tokens.token_bytes(token)
    both(matcher, tokens, None)


def test_masks_of_real_schemas_are_those_by_bytes(real: tuple[Any, guard.Vocabulary], data: Path) -> None:
    """Along instances of every fiftieth of the first thousand schemas."""
    tokenizer, tokens = real
    with gzip.open(data / "maskbench.jsonl.gz", "rt", encoding="utf-8") as lines:
        documents = [json.loads(line) for number, line in enumerate(lines) if number < 1000 and number % 50 == 0]
    compared = 0
    for document in documents:
        matcher = guard.compile(document["schema"], key_order="any", whitespace="any", spelling="any").matcher(tokens)
        text = next(json.dumps(test["data"]) for test in document["tests"] if test["valid"])
        for token in tokenizer.encode(text, add_special_tokens=False).ids[:30]:
            both(matcher, tokens, None)
            compared += 1
            assert matcher.accept(token)
    assert compared > 100


#: Texts whose states tell the characters of a class apart, or the letters of scripts.
APART = [
    ({"format": "regex"}, "^[b-dx-z]a"),
    ({"format": "regex"}, "[\u4e00a-c]\u9fff"),
    ({"format": "idn-hostname"}, "b\u00fcch.\u043f\u0440\u0438"),
    ({"format": "idn-hostname"}, "\u05d0\u05d1.co"),
    ({"format": "idn-email"}, "j\u00f6@\u4f8b\u3048.com"),
    ({"pattern": "^(?!(foo|bar|qux|zap|wee))[a-z]+$"}, "foq"),
    ({"pattern": "^(?:[a-m][n-z]|[n-z][a-m])+$"}, "anbo"),
    ({"pattern": "^(?:([0-4])[5-9]|([5-9])[A-Z]+)*$"}, "05"),
    ({"pattern": "^[\u0430-\u0440\u4e00-\u5000\u3041-\u3060]+[a-f]?$"}, "\u0431\u4e01\u3042"),
    ({"pattern": "^\\p{L}+$"}, "\u00e9\u0e01\ud55c"),
    ({"pattern": "^(?:\\p{Lu}\\p{Ll}*)+$"}, "Ab"),
    ({"pattern": "^[A-Z][a-z0-9_]*$"}, "Ab1"),
    ({"pattern": "^[a-z](?:[a-z-]|[0-9][0-9])*$"}, "ab12"),
    ({"pattern": "^(?:[a-pr-z]|q[0-9])(?:[a-z]|[A-Z]+[0-9])*$"}, "aq"),
    ({"pattern": "^(?:[a-z]*[a-pr-z][a-z ]*[^q])*$"}, "a q"),
    ({"pattern": "^(?:(?:[b-z]|a[A-Z])+(?: [A-Z]|[0-9]))*$"}, "ba"),
    ({"pattern": "^[A-Za-z]{2,60}$", "minLength": 3, "maxLength": 40}, "abcdefghijklmnopqrstuvwxyz"),
]


@pytest.mark.parametrize(("said", "text"), APART)
def test_characters_that_a_state_tells_apart_are_read_right(
    real: tuple[Any, guard.Vocabulary], said: dict[str, Any], text: str
) -> None:
    """Behind each beginning, by a real vocabulary, without a budget and under exactly the least one."""
    _, vocabulary = real
    matcher = guard.compile({"type": "string", **said}, spelling="any").matcher(vocabulary)
    for char in ["", '"', *text]:
        assert matcher.accept_bytes(char.encode())
        both(matcher, vocabulary, None)
        both(matcher, vocabulary, matcher.distance())


@pytest.mark.parametrize("seed", range(4))
def test_budgets_of_real_schemas_are_what_distances_say(seed: int, data: Path) -> None:
    """Random walks under schemas of MaskBench: a token is let through if the way behind it fits, by distance()."""
    r = Random(seed)
    with gzip.open(data / "maskbench.jsonl.gz", "rt", encoding="utf-8") as lines:
        schemas = [json.loads(line)["schema"] for number, line in enumerate(lines) if number % 1000 == seed]
    options = [{}, {"key_order": "any", "whitespace": "any", "spelling": "any"}]
    compared = 0
    for schema in schemas * 4:
        tokens = vocabulary(r.choice([0, 3, 7]))
        matcher = guard.compile(schema, **r.choice(options)).matcher(tokens)
        left = matcher.distance() + r.choice([0, 1, 5, 20, 100])
        for _ in range(20):
            after = {}
            for token in range(tokens.size):
                if matcher.accept(token):
                    after[token] = 1 + matcher.distance()
                    matcher.rollback()
            for remaining in (left + r.choice([1, 9, 60]), left):
                got = allowed(matcher, tokens, remaining).tolist()
                assert got == [token for token, needed in after.items() if needed <= remaining]
                compared += 1
            assert got, "a dead end"
            token = r.choice(got)
            assert matcher.accept(token)
            left -= 1
            if token in tokens.eos:
                break
    assert compared > 200

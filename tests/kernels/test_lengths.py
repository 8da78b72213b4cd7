"""Which lengths the texts of a pattern have decides whether a schema has instances, and what may come next."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tiny import vocabulary

import guard

LETTERS = "ab"
LONGEST = 9
TEXTS = ["".join(some) for size in range(LONGEST + 1) for some in itertools.product(LETTERS, repeat=size)]
ATOMS = st.sampled_from(["a", "b", "[ab]", "aa", "(?:ab)", "(?:a|bb)"])
REPEATS = st.sampled_from(["", "*", "+", "?", "{2}", "{3}", "{2,4}", "{0,2}", "{4,}"])
PATTERNS = st.lists(st.tuples(ATOMS, REPEATS).map("".join), max_size=4).map("".join)


def instance(schema: dict[str, Any]) -> bool:
    """Say whether a schema of strings has one."""
    return guard.compile(schema).matcher(vocabulary()).distance() >= 0


@given(PATTERNS, st.integers(0, LONGEST), st.integers(0, LONGEST))
def test_a_pattern_between_lengths_has_a_text_exactly_where_brute_force_finds_one(
    pattern: str, lo: int, hi: int
) -> None:
    schema = {"type": "string", "pattern": f"^(?:{pattern})$", "minLength": lo, "maxLength": hi}
    expected = any(lo <= len(text) <= hi and re.fullmatch(pattern, text) for text in TEXTS)
    assert instance(schema) is expected


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 7), st.integers(0, 6))
def test_lengths_in_steps_are_told_apart(lo: int, room: int, step: int, more: int) -> None:
    """Texts of `more`, `more + step`, `more + 2 step`, … characters."""
    schema = {"type": "string", "pattern": f"^a{{{more}}}(?:b{{{step}}})*$", "minLength": lo, "maxLength": lo + room}
    assert instance(schema) is any(n >= more and (n - more) % step == 0 for n in range(lo, lo + room + 1))


@pytest.mark.parametrize("least", [3, 30, 253])
def test_a_hostname_may_be_asked_to_be_long(least: int) -> None:
    """Its states count two lengths at once: to go through all of them took longer than any limit."""
    matcher = guard.compile({"type": "string", "format": "hostname", "minLength": least}).matcher(vocabulary())
    text = ".".join(["a" * 60] * 5)[:least]
    assert matcher.distance() == len('""') + least + len(["end of sequence"])
    assert matcher.accept_bytes(b'"' + text[:-1].encode())
    assert matcher.distance() == len('a"') + len(["end of sequence"])
    assert not matcher.accept_bytes(b'"')
    assert matcher.accept_bytes(text[-1].encode() + b'"')
    assert matcher.can_stop()


WORDS = st.lists(st.text("abcd", min_size=2, max_size=4), min_size=4, max_size=8, unique=True)


@given(WORDS, st.integers(0, 2))
@example(["".join(pair) for pair in itertools.product("abc", repeat=2)][:8], 0)
def test_words_that_must_all_occur_fit_into_as_many_characters_as_a_shortest_common_superstring_has(
    words: list[str], more: int
) -> None:
    """A search that looks at the words and at the length apart must say the same as one over both."""
    need = superstring(words)
    parts = [{"pattern": word} for word in words]
    for room in (need - 1, need + more):
        assert instance({"type": "string", "allOf": [*parts, {"pattern": f"^.{{{room}}}$"}]}) is (room >= need)


def superstring(words: list[str]) -> int:
    """Return the characters of a shortest text that holds all words: over sets of words, by the last one."""
    words = [word for word in words if not any(word != other and word in other for other in words)]
    best = {(1 << i, i): len(word) for i, word in enumerate(words)}
    for taken in range(1, 1 << len(words)):
        for last, into in itertools.permutations(range(len(words)), 2):
            if (taken, last) in best and not taken >> into & 1:
                overlap = max(
                    k
                    for k in range(min(len(words[last]), len(words[into])) + 1)
                    if words[last].endswith(words[into][:k])
                )
                key, size = (taken | 1 << into, into), best[taken, last] + len(words[into]) - overlap
                best[key] = min(best.get(key, size), size)
    return min(size for (taken, _), size in best.items() if taken == (1 << len(words)) - 1)

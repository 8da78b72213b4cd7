"""Patterns as Rust is to read them: the judge and the engine say the same, and what ECMA 262 says."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, reject
from hypothesis import strategies as st

import guard
from guard.output import rust_patterns, target

VOCABULARY = guard.Vocabulary.from_bytes([*(bytes([byte]) for byte in range(256)), b""], eos=[256])


def is_written(pattern: str, text: str) -> bool:
    """Say whether masks let a text through."""
    matcher = guard.compile({"type": ["string", "null"], "pattern": pattern}, spelling="any").matcher(VOCABULARY)
    return bool(matcher.accept_bytes(json.dumps(text, ensure_ascii=False).encode())) and bool(matcher.can_stop())


def is_valid(pattern: str, text: str) -> bool:
    """Say whether the judge takes a text."""
    wanted = target.from_any({"type": ["string", "null"], "pattern": pattern}, {})
    return not wanted.check(json.dumps(text, ensure_ascii=False))[1]


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("^(?s:.)$", "\n\r\u2028\u2029a", ""),
        ("^.$", "a\x85", "\n\r\u2028\u2029"),
        ("^(?s:a(?-s:.))$", ["ab"], ["a\n"]),
        ("^(?s:(a).)$", ["a\n"], ["\na"]),
        ("^(?s:[.])$", ".", "\na"),
        (r"^(?s:\.)$", ".", "\na"),
        ("(?m:^b)", ["b", "a\nb", "a\rb", "a\u2028b"], ["ab"]),
        ("(?m:a$)", ["a", "a\r", "a\u2029b"], ["ab"]),
        ("(?m:^(?-m:a$))", ["b\na"], ["a\nb"]),
        (r"^(?i:\W)$", "-é", "SsKk_\u017f\u212a"),
        (r"^(?i:[^\W])$", "SsKk_\u017f\u212a", "-é"),
        (r"^\W$", "-é\u017f\u212a", "SsKk_"),
        (r"^(?i-s:\w)$", "\u017f\u212aS", "-"),
    ],
)
def test_a_pattern_means_the_same_to_the_judge_and_to_the_masks(pattern: str, yes: str, no: str) -> None:
    assert [(text, is_written(pattern, text), is_valid(pattern, text)) for text in [*yes, *no]] == [
        *((text, True, True) for text in yes),
        *((text, False, False) for text in no),
    ]


def patterns(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Draw groups of patterns."""
    heads = st.sampled_from(["(", "(?:", "(?s:", "(?m:", "(?i:", "(?-s:", "(?ms-i:", "(?im:"])
    return st.builds(lambda head, parts: f"{head}{''.join(parts)})", heads, st.lists(inner, min_size=1, max_size=3))


PIECES = st.sampled_from([".", "a", "K", "^", "$", "[^a]", r"\W", r"\w", r"\.", "[.$^]", r"\<", "b?"])


@given(
    pattern=st.lists(st.recursive(PIECES, patterns, max_leaves=5), min_size=1, max_size=3).map("".join),
    texts=st.lists(st.text("aAkKsS.\n\r\u2028\u017f<", max_size=3), min_size=1, max_size=4),
)
def test_random_modifiers_mean_the_same_to_both(pattern: str, texts: list[str]) -> None:
    for text in texts:
        assert is_written(pattern, text) == is_valid(pattern, text), text


LOOKS = st.sampled_from(["(?=", "(?!", "(?<=", "(?<!", "(?:", "(?m:", "(?i:", "(?s:"])
SEEN = st.sampled_from(
    [
        *(".", "a", "^", "$", "[^a]", r"[\w-]", r"[^\s]", r"[\D.]", r"[\Wa]", r"[\S ]", r"[^\W3]", r"[\w-]", r"[-\d]"),
        *(rf"\{letter}" for letter in "wWdDsSbB"),
    ]
)


@given(
    pattern=st.lists(
        st.recursive(
            SEEN,
            lambda inner: st.builds(
                lambda head, parts: f"{head}{''.join(parts)})", LOOKS, st.lists(inner, min_size=1, max_size=2)
            ),
            max_leaves=4,
        ),
        min_size=1,
        max_size=3,
    ).map("".join),
    texts=st.lists(st.text("aA-.3\u0663é\x85\ufeff\n\r\u2028 k\u212a", max_size=3), min_size=1, max_size=4),
)
@example(pattern=".(?m:^)", texts=["\r"])
@example(pattern=r"(?m:^)\w", texts=["é"])
@example(pattern=r"^(?=.*\d)(?=.*\W).+$", texts=["é3"])  # of a password: the judge refused it
@example(pattern=r"a\b(?!x)", texts=["aé"])
@example(pattern=r"\ba", texts=["éa", "ba", " a"])
@example(pattern=r"(?i:\ba)", texts=["\u212aa", "éa"])
@example(pattern=r"^(?!q)[\w.-]$", texts=["-", "."])
@example(pattern=r"^\s(?!x)", texts=["\ufeff", "\x85"])
def test_a_pattern_that_looks_around_itself_means_the_same_to_both(pattern: str, texts: list[str]) -> None:
    """Another engine runs it for the judge, for which a word may have any letter, and a `.` be any end of a line."""
    for text in texts:
        try:
            written = is_written(pattern, text)
        except guard.SchemaError:
            reject()
        assert written == is_valid(pattern, text), text


@pytest.mark.parametrize("pattern", [r"[\w-a]", r"[+-\w]", r"[.-\w]", r"[\w.-\d]", r"[\D-a]", r"[\\d-z]", r"[\--\d]"])
@pytest.mark.parametrize("look", ["", "(?!q)", r"\b"])
def test_a_line_beside_a_set_is_a_character(pattern: str, look: str) -> None:
    """The set was written out, and the line made a range of its first or last character."""
    pattern = f"^{look}{pattern}$"
    try:
        written = [is_written(pattern, chr(code)) for code in range(32, 127)]
        valid = [is_valid(pattern, chr(code)) for code in range(32, 127)]
    except guard.SchemaError:
        return  # refused, which no range is
    assert written == valid


@given(st.text("ab.^$()[]\\?:sm-<>AzZ*", max_size=12))
def test_a_pattern_without_what_differs_stays_as_it_is(pattern: str) -> None:
    if not rust_patterns.differs(json.dumps(pattern)):
        assert rust_patterns.of(pattern) == pattern

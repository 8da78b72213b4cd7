"""Patterns as languages: over small texts the engine and Python's `re` agree, and every beginning has an end."""

from __future__ import annotations

import itertools
import re
from random import Random

import pytest
from hypothesis import given, settings
from properties import check_regex, regex
from strategies import RANDOMS, byte_vocabulary

import guard

PATTERNS = [
    *(
        "",
        "^$",
        "$",
        "^",
        "y",
        "a|b$",
        "a+?b",
        "a.c",
        "\\.",
        "[^a]",
        "(ab)*$",
        "^[^a]+$",
        "^a*b?$",
        "a{2,3}",
        "[a-c]{0,2}$",
    ),
    *("^(a|ab)(c|bcd)$", "^(ab)*$", "^(?:a|b$)*$", "(a$)?", "(^|,)b", "^(\\d+(,|$))+$", "^((^|,)\\d+)+$", "b^a", "a$b"),
    *("(a|^b)c", "[\\d-]", "^a\\sb$", "^\\w+$", "\\W", "^\\S*$", "[^\\d,]", "(?:)", "a||b", "(|a)b", "^a{2}$|^b{3,}$"),
    *(
        "(?=^a)^ab",
        "^(?=^a)ab",
        "^(?=a$)^",
        "(?!^b)^..",
        "(?=.*a)(?!.*b)^.{2,4}$",
        "^(?!a)",
        "a(?=b)",
        "(?!^a$)",
        "(?!^a)a",
    ),
    *("((?!^a)a|bb)", "(?!a)(?!b).", "a(?!b)", "^(?!.*(ab|ba)).*$", "^(?=[ab]*$)(?=.*a.*a)"),
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_classical_patterns_and_look_ahead_mean_what_they_mean_in_python(pattern: str) -> None:
    """Every text of up to four characters over a, b, comma and 1, and longer ones."""
    check_regex(pattern, Random(0), prefixes=40)


@settings(max_examples=300)
@given(RANDOMS)
def test_random_patterns_mean_what_they_mean_in_python(r: Random) -> None:
    """Groups, classes, quantifiers, anchors anywhere and look-ahead; only look-ahead under a quantifier is refused."""
    pattern = regex(r)
    try:
        check_regex(pattern, Random(r.randrange(2**32)))
    except guard.SchemaError as refused:
        assert "look-around under a quantifier" in str(refused)  # noqa: PT017 - refusing is allowed, not expected


LENGTHS = [
    ("^a*$", 2, 3),
    ("b", 0, 2),
    ("^(ab)*$", 3, 5),
    ("^(..)*$", 3, 3),
    ("a$", 1, 1),
    ("", 2, 2),
    ("^[ab]{2}$", 3, 9),
]


@pytest.mark.parametrize(("pattern", "low", "high"), LENGTHS)
def test_a_pattern_with_a_length_is_their_intersection(pattern: str, low: int, high: int) -> None:
    """Lengths count characters, whatever their bytes and escapes."""
    schema = {"type": "string", "pattern": pattern, "minLength": low, "maxLength": high}
    matcher = guard.compile(schema, whitespace="compact", spelling="any").matcher(byte_vocabulary())
    for size in range(6):
        for letters in itertools.product("abé", repeat=size):
            text = "".join(letters)
            valid = bool(re.search(pattern, text)) and low <= size <= high
            for written in (text, text.replace("a", "\\u0061"), text.replace("b", "\\u0062")):
                matcher.reset()
                assert (matcher.accept_bytes(f'"{written}"'.encode()) and matcher.can_stop()) == valid, written

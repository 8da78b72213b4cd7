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

#: Whatever looks around, with and without quantifiers; case.
LOOKS = r"""
    \b \B ^\B$ \ba\b a\Bb ^a\b, \b1\b|\Bb ^(\b.)*$ ^(\w+\b,?)+$ (a\b|b\B)+$ \b\b\b
    (?<=a)b (?<!a)b (?<=^)a (?<=a$) (?<=,|^)1 (?<=(?<=a)b)1 (?<!^a)b (?<=a(?=b)) (?<=\ba)b
    (?<=a.*)b ^(?:.(?<!ab))*$ (?<=^(?:..)*)1$ (?<!a.?)b (?<=(?!ab)..)1 ((?<=a|^)b|a)+,
    ^(?:(?!ab).)*$ ^((?=a)..)*$ ^(?:.(?=[ab]|$))+$ ^(?:(?=.*1).)*1 ^(?:a(?!b)|b(?!a))+$ ^(?:(?!aa).){2,3}$
    (?:.*$)+^ ^(?:(?=a)|b)*$ ^(?:(?=a)|(?!b)){3}.$ ^(?:(?=a)*a)+$ ^(?:(?:(?!ab).)*,?)*$ (?:^|,)+(?:1|$)+
    (?i:AB) (?i:[A-B](?-i:b)) ^(?s:.)$ (?i:\bA)
"""


@pytest.mark.parametrize("pattern", [*PATTERNS, *LOOKS.split()])
def test_patterns_mean_what_they_mean_in_python(pattern: str) -> None:
    """Every text of up to four characters over a, b, comma and 1, and longer ones."""
    check_regex(pattern, Random(0), prefixes=40)


@settings(max_examples=300)
@given(RANDOMS)
def test_random_patterns_mean_what_they_mean_in_python(r: Random) -> None:
    """Groups, classes, quantifiers, anchors, word boundaries and looks to both sides, anywhere; none is refused."""
    check_regex(regex(r), Random(r.randrange(2**32)))


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

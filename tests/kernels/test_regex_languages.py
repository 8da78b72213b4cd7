"""Patterns as languages: over small texts the engine and Python's `re` agree, and every beginning has an end."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path
from random import Random

import clock
import pytest
import records
from hypothesis import given, settings
from properties import allowed, check_regex, regex
from strategies import RANDOMS, byte_vocabulary

import guard
from guard.schemas import regex as ecma

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


#: Sets of dozens of ranges: every second letter, and all but every third.
SETS = (
    "[" + "".join(map(chr, range(0x100, 0x180, 2))) + "]",
    "[^" + "".join(map(chr, range(0x100, 0x180, 3))) + "]",
    r"\p{Lu}",
)
#: Every text of up to three characters, which such sets tell apart or don't.
SET_TEXTS = tuple(
    "".join(text)
    for size in range(4)
    for text in itertools.product("aé\u0100\u0101\u0102\ue000\U0001f600", repeat=size)
)


@settings(max_examples=100)
@given(RANDOMS)
def test_patterns_with_sets_of_many_ranges_mean_what_they_mean_to_the_judge(r: Random) -> None:
    """Read by groups of characters that no set tells apart; completed to texts that they find, and denied by `not`."""
    pattern = regex(r).replace("(?i:", "(?:")
    pattern = "".join(r.choice(SETS) if letter == "é" else letter for letter in pattern)
    if not any(one in pattern for one in SETS):
        pattern = r.choice(SETS) + r.choice(["", "*", "?"]) + pattern
    check_regex(pattern, Random(r.randrange(2**32)), texts=SET_TEXTS)
    tree = ecma.parse(pattern).tree
    schema = {"type": "string", "not": {"pattern": pattern}}
    denied = guard.compile(schema, whitespace="compact").matcher(byte_vocabulary())
    for text in SET_TEXTS:
        denied.reset()
        accepted = denied.accept_bytes(f'"{text}"'.encode()) and denied.can_stop()
        assert accepted != records.searches(tree, text), (pattern, text)


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


#: Patterns that blow other engines up: with a text each that they find, and one that they don't.
BOMBS = {
    "a long count": ("^a{1,100000}$", "a" * 99, "b"),
    "a long count that must be": ("^a{99999}$", None, "a" * 99),
    "counts inside counts": ("^(x{1,1000}){1,1000}$", "x" * 50, "y"),
    "counts of counts": ("^(x{1000}){1000}$", None, "x" * 50),
    "a far look back": (".*a.{100}$", "a" + "ab" * 50, "b" * 101),
    "nested stars": ("^(a+)+$", "a" * 50, "a" * 50 + "b"),
    "stars in each other": ("^(((a*b*)*c*)*d*)*$", "abcd" * 12, "e"),
    "optional ones": ("^(a?){1000}a{10}$", "a" * 40, "a" * 9),
    "anything often": ("[^]*" * 5000, "", None),
    "two letters in turn": ("^" + "a*b*" * 5000 + "$", "ab" * 20, "c"),
    "a class of thousands": ("^[" + "".join(chr(0x4E00 + 2 * n) for n in range(5000)) + "]+$", "\u4e00", "\u4e01"),
    "a hundred thousand letters": ("^" + "abcdefghij" * 10_000 + "$", None, "abc"),
    "ten thousand words": ("^(" + "|".join(f"w{n:05}" for n in range(10_000)) + ")$", "w09999", "w10000"),
    "no such word, letter by letter": ("^(?:(?!foo|bar|baz).)*$", "foba", "xxbaz"),
    "looks ahead": ("^" + "".join(f"(?=.*{c})" for c in "abcdefgh") + ".*$", "hgfedcba", "abcdefg"),
    "a look behind at the start": ("(?<=a.{50})b", "a" + "c" * 50 + "b", "a" + "c" * 49 + "b"),
    "words": (r"^(\b\w+\b ?){1,1000}$", "ab cd ef", "ab  cd"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_regex_bomb_is_answered_soon(name: str) -> None:
    """From the pattern to the first mask, and to the verdict on two texts, in seconds of this process."""
    pattern, found, missed = BOMBS[name]
    with clock.working() as work:
        matcher = guard.compile({"type": "string", "pattern": pattern}).matcher(byte_vocabulary())
        assert allowed(matcher, byte_vocabulary()).size
        assert matcher.distance() > 0
    assert work.seconds < 0.5
    with clock.working() as work:
        for text, verdict in ((found, True), (missed, False)):
            if text is not None:
                matcher.reset()
                assert (matcher.accept_bytes(f'"{text}"'.encode()) and matcher.can_stop()) == verdict
    assert work.seconds < 1.5


@pytest.mark.parametrize(
    ("pattern", "limit"),
    [
        ("(" * 10_000 + "a" + ")" * 10_000, "depth"),
        (r"\b" + "abcdefghij" * 10_000 + r"\b", "depth"),
        ("(" * 100 + "a" + "(?=b))*" * 100, "states"),
        (".(?<=a.{50})b", "states"),
    ],
    ids=lambda value: value[:20],
)
def test_a_regex_bomb_beyond_a_limit_is_refused_soon(pattern: str, limit: str) -> None:
    """At once, or where it is met."""
    with clock.working() as work, pytest.raises(guard.SchemaError) as error:
        guard.compile({"type": "string", "pattern": pattern}).matcher(byte_vocabulary()).distance()
    assert error.value.limit == limit
    assert work.seconds < 3


def test_the_limit_of_states_governs_what_one_pattern_takes() -> None:
    """A constant of the engine's stopped the search, and raising the limit did not help, though the message said so."""
    x = {"allOf": [{"type": "string"}, {"pattern": ".(?<=a.{9})b"}]}
    schema = {"type": "object", "properties": {"x": x}, "required": ["x"]}

    def distance(states: int) -> int:
        limits = guard.Limits(states=states)
        return guard.compile(schema, limits=limits).matcher(byte_vocabulary()).distance()

    with pytest.raises(guard.SchemaError) as error:
        distance(8_000)
    assert (error.value.limit, error.value.keyword) == ("states", "pattern")
    assert error.value.pointer == "/properties/x/allOf/1/pattern"
    assert "more than 200 states of a pattern" in str(error.value)
    assert distance(80_000) == len(' {"x": "a.........b"}')


def test_regex_bombs_take_little_memory() -> None:
    """All of them together, in a process of their own."""
    program = f"""
import resource, sys
sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}
import test_regex_languages as here
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in here.BOMBS:
    here.test_a_regex_bomb_is_answered_soon(name)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 200

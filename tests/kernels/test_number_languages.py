"""Numbers as languages: bounds, steps and their negations against exact fractions, over many spellings."""

from __future__ import annotations

import re
from fractions import Fraction
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from numerals import check_number, number_holds, number_schema
from properties import allowed, within_limits
from strategies import RANDOMS, byte_vocabulary

import guard


@settings(max_examples=100)
@given(RANDOMS)
def test_bounds_and_steps_hold_exactly_for_every_spelling(r: Random) -> None:
    """Signs, fractions, exponents; beginnings are completed to numbers that hold."""
    within_limits(check_number, number_schema(r), Random(r.randrange(2**32)))


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"exclusiveMinimum": 0, "maximum": 0.5}, ["0.5", "0.1", "0.001", "0.50"], ["0", "0.0", "-0", "0.51", "1"]),
        ({"minimum": 2**53 + 1}, [str(2**53 + 1), str(2**53 + 2)], [str(2**53), "0", "-1"]),
        ({"maximum": 0.1}, ["0.1", "0.100", "-5"], ["0.1000000000000000055", "0.11", "1"]),
        ({"multipleOf": 0.01}, ["4.35", "0", "-0.01", "19.99"], ["4.351", "0.001"]),
        ({"multipleOf": 0.123456789}, ["0.123456789", "1.23456789", "0"], ["0.12345678", "1"]),
        ({"const": 1.0}, ["1", "1.0", "1.00"], ["1.01", "10", "-1"]),
        ({"enum": [0, 12.5, -3]}, ["0", "-0", "12.5", "12.50", "-3", "-3.0"], ["12", "3", "125"]),
        ({"type": "integer", "minimum": -5, "maximum": 12}, ["-5", "0", "9", "12", "12.0"], ["-6", "13", "1.5", "99"]),
        ({"exclusiveMinimum": 99, "exclusiveMaximum": 101, "type": "integer"}, ["100"], ["99", "101", "10", "1000"]),
        ({"minimum": 10**30, "type": "integer"}, ["1" + 30 * "0", "9" * 31], ["9" * 30, "1"]),
    ],
)
def test_numbers_at_the_edge_of_their_bounds(schema: dict[str, Any], right: list[str], wrong: list[str]) -> None:
    """Where doubles and careless automata go wrong; a wrong number never has a mask that lets it end."""
    matcher = guard.compile({"type": "number", **schema}, spelling="any").matcher(byte_vocabulary())
    for text, valid in [*((text, True) for text in right), *((text, False) for text in wrong)]:
        assert number_holds({"type": "number", **schema}, Fraction(text)) == valid
        matcher.reset()
        assert (matcher.accept_bytes(text.encode()) and matcher.can_stop()) == valid, text


@pytest.mark.parametrize(
    "text", ["01", "-", "+1", ".5", "1.", "1e", "1e+", "0x1", "1_0", "NaN", "Infinity", "--1", "1.e1"]
)
def test_what_is_no_number_of_json_is_never_accepted(text: str) -> None:
    """Free numbers, in any spelling."""
    matcher = guard.compile({"type": "number"}, spelling="any").matcher(byte_vocabulary())
    assert not (matcher.accept_bytes(text.encode()) and matcher.can_stop())


@pytest.mark.parametrize(
    "text", ["1e5", "1E+05", "-0", "1.50", "-1.25e-10", "0e0", "1e308", "123456789012345678901234567890"]
)
def test_free_numbers_may_be_written_in_every_way(text: str) -> None:
    """In any spelling: exponents, signs, zeros, and many digits."""
    matcher = guard.compile({"type": "number"}, spelling="any").matcher(byte_vocabulary())
    assert matcher.accept_bytes(text.encode())
    assert matcher.can_stop()


@pytest.mark.parametrize(
    ("schema", "written", "unwritten"),
    [
        (
            {},
            ["0.1", "-7", "12345678901234567", "1e+17", "1.5e-8"],
            ["-0", "1e5", "1e-7", "1E+17", "123456789012345678"],
        ),
        # A number that no double holds is refused by every check.
        (
            {},
            ["9.99e+307", "-1e+307", "1.2345678901234567e+99", "1e+200", "1e-999"],
            ["1e+308", "4.25e+431", "-1e+999", "9e+310"],
        ),
        ({"type": "integer"}, ["7", "-7"], ["7.0", "-0", "7e0"]),
        ({"minimum": 0, "maximum": 1}, ["0.8444218515250481", "0.5", "1.0"], ["1.1", "5e-1"]),
        ({"exclusiveMinimum": 0, "maximum": 1}, ["0.8444218515250481", "0.0000001"], ["0", "0.0"]),
        # No reader of doubles takes what is written for a value that is not allowed.
        ({"exclusiveMinimum": 0.1}, ["0.10000000000000002", "1"], ["0.1", "0.10000000000000001"]),
        ({"exclusiveMinimum": 2**53, "type": "integer"}, [str(2**53 + 2)], [str(2**53 + 1)]),
        ({"not": {"const": 0.3}}, ["0.30000000000000004"], ["0.3", "0.30", "0.30000000000000002"]),
        ({"not": {"type": "integer"}}, ["0.5", "12345678901234.5"], ["9007199254740993.5", "5"]),
        # More digits where the bounds have more.
        ({"minimum": 10**20, "maximum": 10**20 + 9}, [str(10**20 + 5)], [str(10**20 + 10)]),
        ({"const": 0.123456789012345678901}, ["0.12345678901234568"], ["0.123456789012345678901"]),
    ],
)
def test_canonical_spelling_of_numbers(schema: dict[str, Any], written: list[str], unwritten: list[str]) -> None:
    """As json.dumps writes them, save that integers have no fraction."""
    matcher = guard.compile({"type": "number", **schema}).matcher(byte_vocabulary())
    for text in written + unwritten:
        matcher.reset()
        assert (matcher.accept_bytes(text.encode()) and matcher.can_stop()) == (text in written), text


EXCLUDING = [
    {"not": {"const": 0}},
    {"not": {"const": 5}},
    {"minimum": 0, "maximum": 1, "not": {"enum": [0, 1, 0.5]}},
    {"minimum": 1000, "not": {"enum": [1000, 1200, 12003, 1e4]}},
    {"exclusiveMinimum": 0, "not": {"enum": [1, 2, 3, 4, 5, 6, 7, 8, 9]}},
    {"minimum": -12, "maximum": 12, "not": {"enum": [-12, -1.5e-3, 12, 1.2, 0.12, 0.012]}},
    {"minimum": 1e100, "maximum": 2e100, "not": {"enum": [1e100, 2e100]}},
]


@pytest.mark.parametrize("schema", EXCLUDING)
def test_exponents_beside_excluded_values(schema: dict[str, Any]) -> None:
    """In any spelling a number may end where its value is none of them; distance() is one more than the next least."""
    matcher = guard.compile({"type": "number", **schema}, spelling="any", whitespace="compact").matcher(
        byte_vocabulary()
    )
    r = Random(0)
    excluded = schema["not"].get("enum", [schema["not"].get("const")])
    for _ in range(60):
        matcher.reset()
        text, aim = "", f"{r.choice(excluded)}{r.choice(['', '0', 'e0', 'E-1', '.0'])}"
        for _ in range(14):
            bytes_ = [t for t in allowed(matcher, byte_vocabulary()).tolist() if t < 128]
            numeral = re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d{1,3})?", text)
            assert matcher.can_stop() == bool(numeral and number_holds({"type": "number", **schema}, Fraction(text))), (
                text
            )
            least = []
            for byte in bytes_:
                assert matcher.accept(byte)
                least.append(matcher.distance())
                matcher.rollback()
            if not matcher.can_stop():
                assert matcher.distance() == 1 + min(least), text
            if not bytes_:
                break
            following = aim[len(text) :][:1] if aim.startswith(text) else ""
            byte = ord(following) if following and ord(following) in bytes_ else r.choice(bytes_)
            assert matcher.accept(byte)
            text += chr(byte)


@pytest.mark.parametrize("spelling", ["any", "canonical"])
def test_lattices_of_any_size(spelling: str) -> None:
    """Least common multiples of more than a word's digits are exact."""
    steps = [3**60, 7**40, 10**25]
    product = 3**60 * 7**40 * 10**25
    schema = {"type": "integer", "exclusiveMinimum": 0, "allOf": [{"multipleOf": step} for step in steps]}
    matcher = guard.compile(schema, spelling=spelling).matcher(byte_vocabulary())
    assert matcher.distance() == len(str(product)) + 1
    assert matcher.accept_bytes(str(product).encode())
    assert matcher.can_stop()
    matcher.reset()
    assert not (matcher.accept_bytes(str(product // 10).encode()) and matcher.can_stop())

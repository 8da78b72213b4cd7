"""Numbers as languages: bounds, steps and their negations against exact fractions, over many spellings."""

from __future__ import annotations

from fractions import Fraction
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from properties import check_number, number_holds, number_schema, within_limits
from strategies import RANDOMS, byte_vocabulary

import guard


@settings(max_examples=200)
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

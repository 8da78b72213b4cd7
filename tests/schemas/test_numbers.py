"""Decimals are exact and canonical."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.schemas.numbers import TooManyDigitsError, decimal

NUMBERS = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=False, allow_infinity=False)
)


@given(NUMBERS)
def test_a_pair_is_the_number(number: float | Decimal) -> None:
    """A float means the shortest decimal that reads as it, which `repr` writes."""
    digits, exponent = decimal(number, 10_000)
    written = Decimal(repr(number)) if isinstance(number, float) else Decimal(number)
    assert Decimal(f"{digits}e{exponent}") == written


@given(NUMBERS, NUMBERS)
def test_equal_numbers_are_equal_pairs(a: float | Decimal, b: float | Decimal) -> None:
    """Pairs are canonical: no zeros at either end."""
    exact = [Decimal(repr(x)) if isinstance(x, float) else Decimal(x) for x in (a, b)]
    assert (decimal(a, 10_000) == decimal(b, 10_000)) == (exact[0] == exact[1])


@pytest.mark.parametrize(
    ("number", "pair"),
    [
        (0, ("0", 0)),
        (-0.0, ("0", 0)),
        (120, ("12", 1)),
        (1.0, ("1", 0)),
        (-0.125, ("-125", -3)),
        (1e300, ("1", 300)),
        (5e-324, ("5", -324)),
        (2**53 + 1, ("9007199254740993", 0)),
        (Decimal("0.1000000000000000055"), ("1000000000000000055", -19)),
    ],
)
def test_pairs_of_some_numbers(number: float | Decimal, pair: tuple[str, int]) -> None:
    """Known pairs, whole and literal."""
    assert decimal(number, 1000) == pair


@pytest.mark.parametrize(
    "number",
    [10**1000, -(10**5000), Decimal("1e999999999"), Decimal("1e-999999999"), 3**100_000],
    ids=lambda n: type(n).__name__,
)
def test_a_number_of_too_many_digits_is_named_and_never_written_out(number: int | Decimal) -> None:
    """The limit counts the zeros that an exponent stands for."""
    with pytest.raises(TooManyDigitsError):
        decimal(number, 1000)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), Decimal("NaN"), Decimal("-Infinity")])
def test_what_json_cannot_write_is_no_number(number: float | Decimal) -> None:
    """NaN and the infinities are a ValueError."""
    with pytest.raises(ValueError, match="is not a JSON number"):
        decimal(number, 1000)

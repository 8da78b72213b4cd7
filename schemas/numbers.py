"""Exact decimals: every number of a schema as digits and an exponent.

A decimal is a pair (digits, exponent) that means digits * 10**exponent: digits is "0" or has no zero at either end,
with a "-" before it where the number is negative; zero is ("0", 0). Equal numbers are equal pairs. A float means the
decimal that `repr` writes, which is the text that it was read from wherever that text had at most 17 digits.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TypeAlias

JsonNumber: TypeAlias = int | float | Decimal
Pair: TypeAlias = tuple[str, int]

#: Decimal digits for each bit of an integer, rounded down: `int.bit_length` bounds the digits before they are made.
DIGITS_PER_BIT = 0.30102


class TooManyDigitsError(ValueError):
    """A number with more digits than the limit allows; `digits` says how many, written out."""

    def __init__(self, digits: int) -> None:
        self.digits = digits
        super().__init__(f"a number of {digits:,} digits")


def decimal(number: JsonNumber, most: int) -> Pair:
    """Return the number as a pair. Raises TooManyDigitsError above `most` digits, counting zeros written out."""
    if isinstance(number, int):
        bits = int(number).bit_length()
        if bits * DIGITS_PER_BIT > most + 1:
            raise TooManyDigitsError(int(bits * DIGITS_PER_BIT))
        return _pair(str(int(number)), 0, most)
    if isinstance(number, float):
        if not math.isfinite(number):
            raise ValueError(f"{number} is not a JSON number")
        text = repr(float(number))
        mantissa, _, exponent = text.partition("e")
        whole, _, fraction = mantissa.partition(".")
        return _pair(whole + fraction, int(exponent or 0) - len(fraction), most)
    sign, digits, power = number.as_tuple()
    if not isinstance(power, int):
        raise ValueError(f"{number} is not a JSON number")
    return _pair("-" * sign + "".join(map(str, digits)), power, most)


def _pair(text: str, exponent: int, most: int) -> Pair:
    sign, digits = ("-", text[1:]) if text[0] == "-" else ("", text)
    digits = digits.lstrip("0")
    if not digits:
        return "0", 0
    kept = digits.rstrip("0")
    exponent += len(digits) - len(kept)
    written = max(len(kept), -exponent) if exponent < 0 else len(kept) + exponent
    if written > most:
        raise TooManyDigitsError(written)
    return sign + kept, exponent

"""Numbers keep their digits through JSON; Python's own decimals judge."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from guard.support import exact_json

DIGITS = st.text("0123456789", min_size=1, max_size=30)
NUMBERS = st.builds(
    lambda sign, whole, fraction, exponent: sign + str(int(whole)) + fraction + exponent,
    st.sampled_from(["", "-"]),
    DIGITS,
    st.just("") | DIGITS.map(lambda digits: "." + digits),
    st.just("") | st.integers(-400, 400).map(lambda exponent: f"e{exponent}"),
)


def in_decimals(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


@example(["0.1234567890123456789", "0.1", "1e400", "1e-400", "-0.0", "9007199254740993.0"], "x", None)
@example(["12345678901234567.5"], "\ud800", 2)
@given(st.lists(NUMBERS), st.text(), st.none() | st.just(2))
def test_every_number_is_the_one_that_was_written(numbers: list[str], text: str, indent: int | None) -> None:
    given = f'{{"numbers": [{", ".join(numbers)}], "text": {json.dumps(text)}}}'
    value = exact_json.read(given)
    written = exact_json.written(value, indent)
    written.encode()
    assert in_decimals(written) == in_decimals(given)
    assert all(isinstance(number, int | float) or number != float(number) for number in value["numbers"])


def test_a_double_stays_one() -> None:
    assert exact_json.read("[0.1, 1e3, 0.30000000000000004]") == [0.1, 1000.0, 0.30000000000000004]
    assert all(type(number) is float for number in exact_json.read("[0.1, 1e3, 0.30000000000000004]"))


def test_an_exponent_beyond_all_is_an_error_as_json_that_is_none_is() -> None:
    with pytest.raises(ValueError, match=re.escape("1e9999999999999999999 has an exponent beyond")):
        exact_json.read("1e9999999999999999999")


@pytest.mark.parametrize("value", [{1}, Decimal("NaN"), object()])
def test_what_json_lacks_is_an_error(value: Any) -> None:
    with pytest.raises(TypeError):
        exact_json.written(value)

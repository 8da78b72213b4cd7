"""JSON values that are equal, and those that only Python calls so."""

from __future__ import annotations

import pytest

from guard.support.json_equality import are_equal


@pytest.mark.parametrize(
    ("x", "y", "same"),
    [
        (1, 1.0, True),
        (True, 1, False),
        ([1], [1.0], True),
        ([True], [1], False),
        ({"a": 0}, {"a": False}, False),
        ({"a": 1}, {}, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
    ],
)
def test_what_is_the_same_value(x: object, y: object, same: bool) -> None:
    assert are_equal(x, y) is same

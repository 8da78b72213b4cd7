"""Equality of JSON values, which is not Python's: `1 == True` there."""

from __future__ import annotations

from typing import Any


def are_equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: 1 equals 1.0 but not true, and the order of keys does not count. O(size)."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(are_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(are_equal, one, other))
    return bool(one == other)

"""Strict JSON: a key that stands twice and a number that is none are refused, by name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.support.strict_json import no_constant, unique_members


@given(pairs=st.lists(st.tuples(st.text(max_size=2), st.integers())))
def test_an_object_is_what_it_says_unless_a_key_stands_twice(pairs: list[tuple[str, Any]]) -> None:
    text = "{" + ", ".join(f"{json.dumps(key)}: {value}" for key, value in pairs) + "}"
    if len({key for key, _ in pairs}) == len(pairs):
        assert json.loads(text, object_pairs_hook=unique_members) == dict(pairs)
    else:
        with pytest.raises(ValueError, match="is there twice in one object"):
            json.loads(text, object_pairs_hook=unique_members)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_json_has_not_is_refused(number: str) -> None:
    with pytest.raises(ValueError, match=f"^{number} is no number of JSON's$"):
        json.loads(number, parse_constant=no_constant)

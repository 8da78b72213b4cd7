"""Sinks: what was added to an argument, and whether that is the answer."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from guard.testing.oracle import leaves
from guard.testing.sinks import Sink, added_to, is_sink

PARTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(PARTS, max_size=4), st.lists(PARTS, max_size=3))
def test_what_was_appended_is_what_was_added(before: list[Any], more: list[Any]) -> None:
    assert added_to(before, [*before, *more]) == more


@given(st.lists(PARTS, min_size=1, max_size=4), st.lists(PARTS, max_size=3), st.data())
def test_a_list_of_which_a_part_is_gone_was_not_only_added_to(before: list[Any], more: list[Any], data: Any) -> None:
    at = data.draw(st.integers(0, len(before) - 1))
    after = [*before[:at], object(), *before[at + 1 :], *more]
    assert added_to(before, after) is None


@given(st.dictionaries(st.text(max_size=3), PARTS, max_size=4), st.text(min_size=4), PARTS)
def test_a_new_key_is_what_was_added_to_a_dictionary(before: dict[str, Any], key: str, value: Any) -> None:
    assert added_to(before, {**before, key: value}) == [[key, value]]
    assert added_to({**before, key: value}, {**before, key: [value]}) is None


@given(st.dictionaries(st.text(max_size=3), PARTS, max_size=4))
def test_an_argument_to_which_the_value_is_written_is_a_sink(value: dict[str, Any]) -> None:
    kept = Sink()
    kept(value)
    assert is_sink([], kept, value) == bool(leaves(value))
    assert not is_sink([], [[value, "something else"]], {"a": 1})


def test_a_conversation_that_grows_is_no_sink() -> None:
    grown = [{"role": "user", "content": "the question"}, {"role": "assistant", "content": "red"}]
    assert not is_sink([], grown, {"color": "red"})
    assert is_sink([], ["red"], {"color": "red"})

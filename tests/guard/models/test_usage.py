"""A provider's report of used tokens: counts of either vocabulary, the first that has a value."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.models.remote.http import MOST_TOKENS
from guard.models.remote.usage import told

COUNTS = st.none() | st.booleans() | st.integers(-2, MOST_TOKENS + 2) | st.floats() | st.text(max_size=2)
DETAILS = COUNTS | st.dictionaries(
    st.sampled_from(["reasoning_tokens", "cached_tokens", "cache_creation_tokens"]), COUNTS
)
USAGE = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("prompt_tokens", "input_tokens", "completion_tokens", "output_tokens"), COUNTS),
        **dict.fromkeys(
            (
                *("prompt_tokens_details", "input_tokens_details"),
                *("completion_tokens_details", "output_tokens_details"),
            ),
            DETAILS,
        ),
    },
)


def first(group: Any, *names: str) -> Any:
    values = [group.get(name) for name in names] if isinstance(group, dict) else []
    return next((value for value in values if value is not None), None)


@given(USAGE)
def test_what_is_told_is_the_first_count_of_each_figure(usage: dict[str, Any]) -> None:
    prompt = first(usage, "prompt_tokens_details", "input_tokens_details")
    completion = first(usage, "completion_tokens_details", "output_tokens_details")
    figures = {
        "prompt": first(usage, "prompt_tokens", "input_tokens"),
        "completion": first(usage, "completion_tokens", "output_tokens"),
        "thinking": first(completion, "reasoning_tokens"),
        "cached": first(prompt, "cached_tokens"),
        "cache_creation": first(prompt, "cache_creation_tokens"),
    }
    assert told(usage) == {
        name: value for name, value in figures.items() if type(value) is int and 0 <= value <= MOST_TOKENS
    }


@pytest.mark.parametrize("usage", [None, 7, "text", [], {}])
def test_what_is_no_report_tells_nothing(usage: Any) -> None:
    assert told(usage) == {}

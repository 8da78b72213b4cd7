"""A provider's report of used tokens, in the fields of chats, completions and responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guard.models.remote.http import count


def told(usage: Any) -> dict[str, int]:
    """Return the tokens in `usage`, by the names of `ReplyReader.used`."""
    found: dict[str, int] = {}
    if not isinstance(usage, Mapping):
        return found
    _take(found, "prompt", usage, "prompt_tokens", "input_tokens")
    _take(found, "completion", usage, "completion_tokens", "output_tokens")
    of_prompt = _group(usage, "prompt_tokens_details", "input_tokens_details")
    _take(found, "thinking", _group(usage, "completion_tokens_details", "output_tokens_details"), "reasoning_tokens")
    _take(found, "cached", of_prompt, "cached_tokens")
    _take(found, "cache_creation", of_prompt, "cache_creation_tokens")
    return found


def _group(usage: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """Return the group by the first of these names that has a value; an empty one where that is none."""
    for name in names:
        if (group := usage.get(name)) is not None:
            return group if isinstance(group, Mapping) else {}
    return {}


def _take(found: dict[str, int], figure: str, group: Mapping[str, Any], *names: str) -> None:
    """Take a count by the first of these names that has a value."""
    for name in names:
        if (value := group.get(name)) is not None:
            if (number := count(value, -1)) >= 0:
                found[figure] = number
            return

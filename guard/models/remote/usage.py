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
    for name in ("completion_tokens_details", "output_tokens_details"):
        if (details := usage.get(name)) is not None:
            if isinstance(details, Mapping):
                _take(found, "thinking", details, "reasoning_tokens")
            break
    for name in ("prompt_tokens_details", "input_tokens_details"):
        if (details := usage.get(name)) is not None:
            if isinstance(details, Mapping):
                _take(found, "cached", details, "cached_tokens")
                _take(found, "cache_creation", details, "cache_creation_tokens")
            break
    return found


def _take(found: dict[str, int], figure: str, group: Mapping[str, Any], *names: str) -> None:
    """Take a count by the first of these names that has a value."""
    for name in names:
        if (value := group.get(name)) is not None:
            if (number := count(value, -1)) >= 0:
                found[figure] = number
            return

"""A provider's report of used tokens, in the fields of chats, completions and responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guard.models.remote.http import count


def told(usage: Any) -> dict[str, int]:
    """Return the tokens in `usage`, by the names of `ReplyReader.used`."""
    of_prompt = _first(usage, "prompt_tokens_details", "input_tokens_details")
    of_completion = _first(usage, "completion_tokens_details", "output_tokens_details")
    figures = {
        "prompt": _first(usage, "prompt_tokens", "input_tokens"),
        "completion": _first(usage, "completion_tokens", "output_tokens"),
        "thinking": _first(of_completion, "reasoning_tokens"),
        "cached": _first(of_prompt, "cached_tokens"),
        "cache_creation": _first(of_prompt, "cache_creation_tokens"),
    }
    return {name: number for name, figure in figures.items() if (number := count(figure, -1)) >= 0}


def _first(group: Any, *names: str) -> Any:
    if not isinstance(group, Mapping):
        return None
    return next((group[name] for name in names if group.get(name) is not None), None)

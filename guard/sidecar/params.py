"""Names of fields in errors: a request that was translated into a chat is told of its own protocol's fields."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from guard.sidecar.errors import ApiError

#: Patterns of a chat's fields, each with the name in the other protocol. The first that matches counts.
Names = tuple[tuple[str, str], ...]

RESPONSES: Names = (
    (r"response_format\.json_schema\b", "text.format"),
    (r"response_format\b", "text.format"),
    (r"tools\.(\d+)\.custom\.format\.grammar\b", r"tools.\1.format"),
    (r"tools\.(\d+)\.(function|custom)\b", r"tools.\1"),
    (r"max(_completion)?_tokens\b", "max_output_tokens"),
    (r"messages\b.*", "input"),
    (r"reasoning_effort\b", "reasoning.effort"),
    (r"verbosity\b", "text.verbosity"),
)
#: For chats that use `functions` in place of tools.
FUNCTIONS: Names = (
    (r"tools\.(\d+)\.function\b", r"functions.\1"),
    (r"tools\b", "functions"),
    (r"tool_choice\b", "function_call"),
)
MESSAGES: Names = (
    (r"response_format\.json_schema\b", "output_config.format"),
    (r"response_format\b", "output_config.format"),
    (r"tools\.(\d+)\.function\.parameters\b", r"tools.\1.input_schema"),
    (r"tools\.(\d+)\.function\b", r"tools.\1"),
    (r"max_completion_tokens\b", "max_tokens"),
    (r"messages\b.*", "messages"),
    (r"stop\b", "stop_sequences"),
    (r"user\b", "metadata.user_id"),
    (r"reasoning_effort\b", "output_config.effort"),
    (r"parallel_tool_calls\b", "tool_choice.disable_parallel_tool_use"),
)


@contextlib.contextmanager
def named(names: Names, body: Mapping[str, Any]) -> Iterator[None]:
    """Rename the field in an error that is raised inside, to that of the original body."""
    try:
        yield
    except ApiError as error:
        param = error.param or ""
        if param.partition(".")[0] not in body.keys() - {"tools", "messages"}:
            error.param = renamed(param, names)
            if error.message.startswith(param):
                error.message = error.param + error.message.removeprefix(param)
        raise


def renamed(param: str, names: Names) -> str:
    """Return the original name of a chat's field, or the field itself."""
    for pattern, name in names:
        if re.match(pattern, param):
            return re.sub(pattern, name, param, count=1)
    return param

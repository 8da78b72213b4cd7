"""An input of a call that is shown as JSON. Its texts and numbers state values, not how JSON writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from guard.kernels.json_pointer import pointer


class JsonText(str):
    """An input that is JSON: each text and number within it is a source, as it was before it was written as JSON."""

    __slots__ = ()

    def leaves(self) -> Iterator[tuple[str, str]]:
        """Yield the JSON Pointers of its texts and numbers, with these; ValueError where it is no JSON."""
        waiting: list[tuple[str, Any]] = [("", json.loads(self, parse_int=JsonNumber, parse_float=JsonNumber))]
        while waiting:
            at, value = waiting.pop()
            if isinstance(value, str):
                yield at, value
            elif isinstance(value, dict | list):
                members = value.items() if isinstance(value, dict) else enumerate(value)
                waiting += reversed([(at + pointer([step]), inner) for step, inner in members])


class JsonNumber(str):
    """A number as it is written in JSON; unlike other texts it has one reading."""

    __slots__ = ()

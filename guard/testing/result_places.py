"""Where a value stands in what an application returns."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from guard.testing.oracle import plain, same

#: Names of a result's figures that may be properties.
_FIGURES = (
    *("ledger", "usage", "spent", "audit", "record", "accounting", "bill", "costs", "journal"),
    *("served", "attempts", "tokens", "prompt_tokens", "completion_tokens", "total_tokens"),
)


def places(value: Any, depth: int = 0) -> Sequence[tuple[tuple[Any, ...], Any]]:
    """List the parts of a result that may be the value, the outermost first."""
    found: list[tuple[tuple[Any, ...], Any]] = [((), value)]
    if depth == 3:
        return found
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, str):
        try:
            found.append((("json()",), json.loads(value)))
        except (ValueError, RecursionError):
            return found
    elif isinstance(value, Mapping):
        inner = list(value.items())[:30]
    elif isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        inner = list(enumerate(value))[:5]
    elif value is not None and not isinstance(value, int | float | bytes):
        inner = list(attributes(value).items())[:30]
    for name, part in inner:
        found += [((name, *path), place) for path, place in places(part, depth + 1)]
    return sorted(found, key=lambda item: len(item[0]))


def attributes(value: Any) -> dict[str, Any]:
    """Return the parts of an object, by name."""
    if dataclasses.is_dataclass(value) or hasattr(value, "__dict__"):
        own = {k: v for k, v in vars(value).items() if not k.startswith("_")}
        for name in _FIGURES:
            if name not in own and isinstance(getattr(type(value), name, None), property):
                own[name] = getattr(value, name)
        return own
    if hasattr(value, "_fields"):
        return {name: getattr(value, name) for name in value._fields}
    return {}


def matches(part: Any, expected: Any, *, is_near: bool) -> bool:
    """Whether a part of a result is an expected value; `is_near`: whether it has its keys."""
    if same(plain(part), plain(expected)) or same(plain(part, whole=False), plain(expected, whole=False)):
        return True
    if not is_near:
        return type(part) is type(expected) and not isinstance(expected, dict | list | str | int | float | type(None))
    mine, theirs = plain(part), plain(expected)
    if not isinstance(mine, dict) or not isinstance(theirs, dict) or not theirs:
        return False
    return 2 * len(mine.keys() & theirs.keys()) >= max(len(theirs), 1) and len(mine) <= 2 * len(theirs) + 2

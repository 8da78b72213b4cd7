"""Schemas rewritten: the one walk through the schemas inside a schema, for whoever changes or collects something there.

A name in `properties` is no keyword, and a constant, a default or an example is no schema, whatever they look like.
What an unknown keyword holds is walked through too: a reference may lead into it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from guard.schemas.keywords import BY_NAME, INSTANCES


def rewritten(schema: Any, rewrite: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Return a copy in which each schema is what `rewrite` makes of it, the inner ones first.

    `rewrite` gets a copy of its own, which it may change. Constants, defaults and examples are not copied.
    """
    if isinstance(schema, list):
        return [rewritten(part, rewrite) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    copy: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword in INSTANCES:
            copy[keyword] = value
        elif keyword in BY_NAME and isinstance(value, Mapping):
            copy[keyword] = {name: rewritten(part, rewrite) for name, part in value.items()}
        else:
            copy[keyword] = rewritten(value, rewrite)
    return rewrite(copy)


def each(schema: Any) -> Iterator[Mapping[str, Any]]:
    """Yield each schema that is an object, the outer ones first. Without recursion."""
    todo = [schema]
    while todo:
        part = todo.pop()
        if isinstance(part, list):
            todo += part
        elif isinstance(part, Mapping):
            yield part
            for keyword, value in part.items():
                if keyword in BY_NAME and isinstance(value, Mapping):
                    todo += value.values()
                elif keyword not in INSTANCES:
                    todo.append(value)

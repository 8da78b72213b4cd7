"""What is dropped is freed.

An engine is no object that Python's collector looks into, so what it refers to may not own it.
"""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from strategies import byte_vocabulary

import guard
from guard import formats
from guard.kernels import memory
from guard.schemas.contradictions import Questions
from guard.schemas.grounding.sources import Sources
from guard.testing.strategies import near_misses

NUMBERS = itertools.count()


def _value() -> dict[str, Any]:
    """Return a schema that nobody else has: those that are asked for again are kept."""
    return {"type": "object", "properties": {"a": {"const": next(NUMBERS)}, "b": {"minimum": 2}}, "required": ["a"]}


def _tagged() -> Any:
    tag = formats.tag("<t>", formats.json(_value()), "</t>")
    return guard.compile(formats.triggered_tags(triggers=["<t>"], tags=[tag]))


def _used() -> Any:
    compiled = _tagged()
    with pytest.raises(ValueError, match="byte 9"):
        compiled.read('<t>{"a": ""}</t>')
    return compiled


def _warmed() -> Any:
    compiled = guard.compile(_value())
    compiled.warm(byte_vocabulary()).result()
    return compiled


def _grounded() -> Any:
    return guard.compile({"type": "string", "x-guard-from": "input", "title": str(next(NUMBERS))}).grounded(
        Sources({"text": "one two"})
    )


def _questions() -> Any:
    return Questions(guard.compile(_value())._front)


def _front() -> Any:
    """The front end of a schema that contradicts itself, after it was asked why."""
    compiled = guard.compile(
        {"allOf": [{"minimum": 2}, {"maximum": 1}], "type": "integer", "title": str(next(NUMBERS))}
    )
    assert compiled.contradiction() is not None
    return compiled._front


def _variant() -> Any:
    misses = near_misses.Misses(_value(), {})
    position, keyword, _ = misses.places[0]
    variant = near_misses._Variant(misses._front, misses._graph, position, keyword)
    variant.engine().start()
    return variant


@pytest.mark.parametrize("make", [_tagged, _used, _warmed, _grounded, _questions, _front, _variant])
def test_what_is_dropped_is_freed(make: Callable[[], Any]) -> None:
    """A format's error was told by its owner, so that no format that was ever compiled was freed."""
    made = make()
    gone = weakref.ref(made)
    del made
    gc.collect()
    assert gone() is None


def test_formats_that_are_dropped_leave_no_memory() -> None:
    """Each left fifteen kilobytes to the kernel, and its Python objects, for good."""

    def held() -> int:
        gc.collect()
        told = memory()
        return told["held"] - told["tables"]

    for _ in range(20):
        _tagged()
    before = held()
    for _ in range(200):
        _tagged()
    assert held() - before < 200_000

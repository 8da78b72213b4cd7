"""JSON of large values in pieces: each takes one short call, and other threads run between the calls.

Python's encoder writes a value in one call and keeps the GIL meanwhile: some 30 ms for ten megabytes. Here a large text
is divided by its characters and a large container by its items; small parts are written several at once. The pieces
together are exactly what the encoder would have written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

WINDOW = 65_536  #: Characters of a text that one call writes: some 100 µs.
SMALL = 2_000  #: Parts that one call writes: some 100 µs.
PART = 64  #: Characters of a text that count as one part.

_ARRAYS = (list, tuple)  # named, for `list | tuple` is made anew wherever it stands
_PLAIN_SCALARS = frozenset((int, float, bool, type(None)))
PLAIN = json.JSONEncoder(ensure_ascii=False)
COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def pieces(value: Any, encoder: json.JSONEncoder = PLAIN) -> Iterator[str]:
    """Yield the JSON of a value as an encoder writes it, which must neither indent nor sort keys."""
    if weight(value, SMALL) <= SMALL:
        yield encoder.encode(value)
    elif isinstance(value, str):
        yield '"'
        for begin in range(0, len(value), WINDOW):
            yield encoder.encode(value[begin : begin + WINDOW])[1:-1]
        yield '"'
    elif isinstance(value, dict):
        yield "{"
        yield from _members(value, encoder)
        yield "}"
    else:
        yield "["
        yield from _items(value, encoder)
        yield "]"


def encoded(value: Any) -> bytes:
    """Return a value as the bytes of JSON, with halves of surrogate pairs escaped, which no bytes have."""
    return b"".join([piece.encode(errors="backslashreplace") for piece in pieces(value)])


def is_small(value: Any, most: int = SMALL) -> bool:
    """Whether a value is of the types that JSON has, with texts as keys, and its weight is at most so much. O(most)."""
    total, waiting = 1, [value]
    while waiting:
        part = waiting.pop()
        kind = type(part)
        inner: Iterable[Any] = ()
        if kind is str:
            total += len(part) // PART
        elif kind is dict:
            total += 2 * len(part)
            inner = part.values()
        elif kind in _ARRAYS:
            total += len(part)
            inner = part
        elif kind not in _PLAIN_SCALARS:
            return False
        if total > most:
            return False
        waiting += inner
        if kind is dict:
            for key in part:
                if type(key) is not str:
                    return False
                total += len(key) // PART
    return total <= most


def weight(value: Any, most: int) -> int:
    """Return how many parts a value has, 64 characters being one. A result above `most` is a lower bound. O(most)."""
    total, waiting = 1, [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            total += len(part) // PART
            continue
        if isinstance(part, dict):
            total += 2 * len(part)
            inner: Iterable[Any] = [*part, *part.values()]
        elif isinstance(part, _ARRAYS):
            total += len(part)
            inner = part
        else:
            continue
        if total > most:
            break
        for item in inner:
            if isinstance(item, str):
                if len(item) >= PART:
                    total += len(item) // PART
            elif item is not None:
                waiting.append(item)
    return total


def _items(value: Any, encoder: json.JSONEncoder) -> Iterator[str]:
    batch: list[Any] = []
    between, size = "", 0
    for item in value:
        weighs = weight(item, SMALL)
        if batch and size + weighs > SMALL:
            yield between + encoder.encode(batch)[1:-1]
            between, batch, size = encoder.item_separator, [], 0
        if weighs > SMALL:
            yield between
            yield from pieces(item, encoder)
            between = encoder.item_separator
        else:
            batch.append(item)
            size += weighs
    if batch:
        yield between + encoder.encode(batch)[1:-1]


def _members(value: dict[Any, Any], encoder: json.JSONEncoder) -> Iterator[str]:
    batch: dict[Any, Any] = {}
    between, size = "", 0
    for key, item in value.items():
        weighs = weight(key, SMALL) + weight(item, SMALL)
        if batch and size + weighs > SMALL:
            yield between + encoder.encode(batch)[1:-1]
            between, batch, size = encoder.item_separator, {}, 0
        if weighs > SMALL:
            yield between
            if isinstance(key, str):
                yield from pieces(key, encoder)
                yield encoder.key_separator
            else:
                yield encoder.encode({key: 0})[1:-2]
            yield from pieces(item, encoder)
            between = encoder.item_separator
        else:
            batch[key] = item
            size += weighs
    if batch:
        yield between + encoder.encode(batch)[1:-1]

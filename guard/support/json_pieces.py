"""JSON of large values in pieces: each takes one short call, and other threads run between the calls.

Python's encoder writes a value in one call and keeps the GIL meanwhile: some 30 ms for ten megabytes. Here a large text
is divided by its characters and a large container by its items; small parts are written several at once. The pieces
together are exactly what the encoder would have written.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic_core import to_json

from guard.kernels._native import json_parts

WINDOW = 65_536  #: Characters of a text that one call writes: some 100 µs.
ONCE = 12_000  #: Parts of a value that one call writes as a whole: some 600 µs, less than to look where to divide it.
SMALL = 2_000  #: Parts that one call writes of a larger value: some 100 µs.
PART = 64  #: Characters of a text that count as one part.

_ARRAYS = (list, tuple)  # named, for `list | tuple` is made anew wherever it stands
_CONTAINERS = (dict, *_ARRAYS)
_PLAIN_SCALARS = frozenset((int, float, bool, type(None)))
ASCII = json.JSONEncoder()
COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def compact(value: Any) -> str:
    """Return what COMPACT makes of a value, but for how a float is spelled, in one call. O(n).

    A value of JSON's types takes a third of the time. Any other is COMPACT's to refuse: pydantic_core would write
    a set, a decimal or a date as something else.
    """
    if json_parts(value, sys.maxsize) >= 0:
        try:
            return str(to_json(value), "utf-8")
        except ValueError:  # half of a surrogate pair, or nested more deeply than it writes
            pass
    return COMPACT.encode(value)


def pieces(value: Any, encoder: json.JSONEncoder = COMPACT) -> Iterator[str]:
    """Yield the JSON of a value as an encoder writes it, which must neither indent nor sort keys. O(n)."""
    if weight(value, ONCE) <= ONCE:
        yield encoder.encode(value)
    else:
        yield from _divided(value, encoder, _heavy(value))


def encoded(value: Any) -> bytes:
    """Return a value as the bytes of JSON, with halves of surrogate pairs escaped, which no bytes have."""
    if weight(value, ONCE) <= ONCE:
        return compact(value).encode(errors="backslashreplace")
    return b"".join([piece.encode(errors="backslashreplace") for piece in pieces(value)])


def is_small(value: Any, most: int = SMALL) -> bool:
    """Whether a value is of the types that JSON has, with texts as keys, and its weight is at most so much. O(most)."""
    return 0 <= json_parts(value, most) <= most


def weight(value: Any, most: int) -> int:
    """Return how many parts a value has, 64 characters being one. A result above `most` is a lower bound. O(most)."""
    found = json_parts(value, most)
    return _weight(value, most) if found < 0 else found


def _weight(value: Any, most: int) -> int:
    """Return the same of any value: kinds of dict, list, tuple and str count as these, all others as one part."""
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


def _heavy(value: Any) -> set[int]:
    """Return the `id` of each container in a value that has more than SMALL parts. O(n).

    Raises RecursionError where containers are nested as deep as Python calls functions, or hold themselves.
    """
    if isinstance(value, str):
        return set()
    deepest = sys.getrecursionlimit()
    containers, owners, totals, depths = [value], [-1], [0], [0]  # each after the one that it is in
    waiting, waiting_for = [value], [0]
    while waiting:
        part, at = waiting.pop(), waiting_for.pop()
        if depths[at] > deepest:
            raise RecursionError("a value is nested too deeply to be written")
        is_object = isinstance(part, dict)
        inner = (*part, *part.values()) if is_object else part
        total = 2 * len(part) if is_object else len(part)
        for item in inner:
            kind = type(item)
            if kind is str:
                if len(item) >= PART:
                    total += len(item) // PART
            elif kind in _PLAIN_SCALARS:
                continue
            elif isinstance(item, str):
                total += len(item) // PART
            elif isinstance(item, _CONTAINERS):
                waiting.append(item)
                waiting_for.append(len(containers))
                containers.append(item)
                owners.append(at)
                totals.append(0)
                depths.append(depths[at] + 1)
        totals[at] = total
    for at in range(len(containers) - 1, 0, -1):
        totals[owners[at]] += totals[at]
    return {id(container) for container, total in zip(containers, totals, strict=True) if total > SMALL}


def _divided(value: Any, encoder: json.JSONEncoder, heavy: set[int]) -> Iterator[str]:
    """Yield the pieces of a value that is too large for one. Calls nest no deeper for a value that does."""
    open_ = [_parts(value, encoder, heavy)]
    while open_:
        for part in open_[-1]:
            if isinstance(part, str):
                yield part
            else:
                open_.append(_parts(part[0], encoder, heavy))
                break
        else:
            open_.pop()


def _parts(value: Any, encoder: json.JSONEncoder, heavy: set[int]) -> Iterator[str | tuple[Any]]:
    """Yield pieces of a value, and in their places, each in a tuple, parts that are too large for one."""
    if isinstance(value, str):
        yield '"'
        for begin in range(0, len(value), WINDOW):
            yield encoder.encode(value[begin : begin + WINDOW])[1:-1]
        yield '"'
    elif isinstance(value, dict):
        yield "{"
        yield from _members(value, encoder, heavy)
        yield "}"
    else:
        yield "["
        yield from _items(value, encoder, heavy)
        yield "]"


def _is_heavy(value: Any, heavy: set[int]) -> bool:
    return len(value) // PART >= SMALL if isinstance(value, str) else id(value) in heavy


def _items(value: Any, encoder: json.JSONEncoder, heavy: set[int]) -> Iterator[str | tuple[Any]]:
    batch: list[Any] = []
    between, size = "", 0
    for item in value:
        is_plain = type(item) in _PLAIN_SCALARS
        is_heavy = not is_plain and _is_heavy(item, heavy)
        weighs = 0 if is_heavy else 1 if is_plain else weight(item, SMALL)
        if batch and (is_heavy or size + weighs > SMALL):
            yield between + encoder.encode(batch)[1:-1]
            between, batch, size = encoder.item_separator, [], 0
        if is_heavy:
            yield between
            yield (item,)
            between = encoder.item_separator
        else:
            batch.append(item)
            size += weighs
    if batch:
        yield between + encoder.encode(batch)[1:-1]


def _members(value: dict[Any, Any], encoder: json.JSONEncoder, heavy: set[int]) -> Iterator[str | tuple[Any]]:
    batch: dict[Any, Any] = {}
    between, size = "", 0
    for key, item in value.items():
        is_heavy = _is_heavy(key, heavy) or _is_heavy(item, heavy)
        weighs = 0 if is_heavy else weight(key, SMALL) + weight(item, SMALL)
        if batch and (is_heavy or size + weighs > SMALL):
            yield between + encoder.encode(batch)[1:-1]
            between, batch, size = encoder.item_separator, {}, 0
        if not is_heavy:
            batch[key] = item
            size += weighs
            continue
        yield between
        if _is_heavy(key, heavy):
            yield (key,)
            yield encoder.key_separator
        else:
            yield encoder.encode({key: 0})[1:-2]
        if _is_heavy(item, heavy):
            yield (item,)
        else:
            yield encoder.encode(item)
        between = encoder.item_separator
    if batch:
        yield between + encoder.encode(batch)[1:-1]

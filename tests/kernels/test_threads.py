"""Threads that share schemas and vocabularies: each row is the one that a thread alone gets.

`make sanitize` runs this under ThreadSanitizer. On a Python without a GIL the threads run beside each other.
"""

from __future__ import annotations

import threading
import time
from random import Random
from typing import Any

import pytest

import guard
from guard.kernels import fill_bitmasks, limit_memory, memory
from guard.kernels.bitmask import allocate_bitmask
from guard.schemas.compiled import Compiled

#: Schemas, and a text of each, with what threads share: names, texts, patterns, numbers, unions, recursion, formats.
CASES: list[tuple[Any, bytes]] = [
    (
        {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"maxLength": 9}}},
        b'{"a": 12, "b": "\xc3\xa9"}',
    ),
    ({"enum": ["abc", "abd", "b" * 20, 12.5, None, ["abc", {"a": "abd"}]]}, b'["abc", {"a": "abd"}]'),
    ({"type": "string", "pattern": "^[a-f0-9]{8}(-[a-f0-9]{4}){3}$"}, b'"0123abcd-0a1b-2c3d-4e5f"'),
    ({"type": "string", "pattern": "a.*b.*[^c]$", "minLength": 4}, b'"a--b--abd"'),
    ({"type": "number", "minimum": -2, "maximum": 1e3, "multipleOf": 0.25}, b"-1.75"),
    (
        {"oneOf": [{"properties": {"t": {"const": k}, k: {}}, "required": ["t", k]} for k in "abc"]},
        b'{"t": "b", "b": 1}',
    ),
    ({"$defs": {"n": {"properties": {"l": {"$ref": "#/$defs/n"}}}}, "$ref": "#/$defs/n"}, b'{"l": {"l": {"l": {}}}}'),
    ({"type": "array", "items": {"type": "integer"}, "uniqueItems": True, "minItems": 2}, b"[1, 22, 3]"),
    ({"format": "date-time", "type": "string"}, b'"2024-02-29T23:59:59Z"'),
    ({"type": "object", "patternProperties": {"^a": {"type": "integer"}}, "minProperties": 2}, b'{"ab": 1, "abc": -2}'),
    ({"not": {"required": ["a"]}, "type": "object"}, b'{"b": {"a": 1}}'),
]
SECONDS = 4.0


@pytest.fixture(scope="module")
def vocabulary() -> guard.Vocabulary:
    """Bytes, pairs of them, and what the texts are made of."""
    parts = [b'": ', b'", "', b"ab", b"abc", b"abd", b'{"', b'"}', b"}}", b"12", b"-1", b".75", b"\xc3\xa9", b"4e5f"]
    return guard.Vocabulary.from_bytes([*(bytes([b]) for b in range(256)), b"", *parts], eos=[256])


def _rows(compiled: Compiled, vocabulary: guard.Vocabulary, text: bytes) -> list[tuple[bytes, bytes, int]]:
    """Return the mask, the one under the least budget, and that budget, before each byte."""
    matcher, row, rows = compiled.matcher(vocabulary), allocate_bitmask(1, vocabulary.size), []
    for byte in text:
        matcher.fill_bitmask(row)
        free, least = row.tobytes(), matcher.distance()
        matcher.fill_bitmask(row, remaining=least)
        rows.append((free, row.tobytes(), least))
        assert matcher.accept_bytes(bytes([byte]))
    return rows


class _Walker:
    """One thread: it compiles, walks texts in every way, and compares each row with the one that was expected."""

    def __init__(
        self, number: int, vocabulary: guard.Vocabulary, compiled: list[Compiled], expected: list[Any]
    ) -> None:
        self._random, self._vocabulary = Random(number), vocabulary
        self._compiled, self._expected = compiled, expected
        self.walked, self.faults = 0, list[str]()

    def walk(self, until: float) -> None:
        """Walk until a time."""
        while time.monotonic() < until and not self.faults:
            try:
                self._walk_some()
            except guard.SchemaError as error:  # the memory is as good as none at times
                if error.limit != "memory":
                    self.faults.append(str(error))
            except Exception as error:
                self.faults.append(repr(error))

    def _walk_some(self) -> None:
        draw = self._random
        which = [draw.randrange(len(CASES)) for _ in range(draw.choice((1, 1, 3)))]
        for at in which:
            if draw.random() < 0.1:
                self._compiled[at] = guard.compile(CASES[at][0])
        matchers = [self._compiled[at].matcher(self._vocabulary) for at in which]
        rows = allocate_bitmask(len(which), self._vocabulary.size)
        how = draw.choice(("free", "scarce", "pending", "copied"))
        for step in range(min(len(CASES[at][1]) for at in which)):
            expected = [self._expected[at][step] for at in which]
            if how == "scarce":
                fill_bitmasks(matchers, rows, remaining=[least for _, _, least in expected])
            elif how == "pending":
                while any(fill_bitmasks(matchers, rows, within=draw.choice((0.0, 0.001, 1.0))) or ()):
                    pass
            else:
                fill_bitmasks(matchers, rows)
            for row, (free, scarce, _) in zip(rows, expected, strict=True):
                if row.tobytes() != (scarce if how == "scarce" else free):
                    self.faults.append(f"{how}: {which} at {step}")
            if how == "copied":
                matchers = [matcher.copy() for matcher in matchers]
            for matcher, at in zip(matchers, which, strict=True):
                assert matcher.accept_bytes(CASES[at][1][step : step + 1])
        self.walked += 1


@pytest.mark.parametrize(("threads", "most"), [(2, 512_000_000), (4, 512_000_000), (4, 2_000_000)])
def test_threads_that_share_schemas_get_the_rows_of_a_thread_alone(
    vocabulary: guard.Vocabulary, threads: int, most: int
) -> None:
    """Where tables have little memory, they are thrown away all the time. Two threads hand the GIL over awake."""
    compiled = [guard.compile(schema) for schema, _ in CASES]
    expected = [_rows(each, vocabulary, text) for each, (_, text) in zip(compiled, CASES, strict=True)]
    walkers = [_Walker(number, vocabulary, compiled, expected) for number in range(threads)]
    budget = memory()["budget"]
    limit_memory(most)
    try:
        until = time.monotonic() + SECONDS
        running = [threading.Thread(target=walker.walk, args=(until,)) for walker in walkers]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    finally:
        limit_memory(budget)
    assert [walker.faults for walker in walkers] == [[]] * threads
    assert min(walker.walked for walker in walkers) > 3

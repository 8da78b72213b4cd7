"""The decode loop on the device, against a matcher that is asked before every token."""

from __future__ import annotations

import json
import math
from random import Random
from typing import Any

import jsonschema_rs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import Case, byte_vocabulary, cases, vocabularies
from tiny import vocabulary as tiny_vocabulary

import guard
from guard.kernels.bitmask import allocate_bitmask
from guard.kernels.gpu import device_tables as tables_module
from guard.kernels.gpu import sample as sample_module
from guard.kernels.gpu.device_tables import Tables
from guard.kernels.gpu.loop import Loop
from guard.kernels.gpu.sample import sample_torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # the CPU's is Triton's interpreter
SMALL = {"states": 4096, "masks": 256, "lexemes": 16, "members": 1 << 16, "slots": 1 << 12}
CAPACITY = 160
ORDER = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "kind": {"enum": ["new", "used"]},
        "lines": {"type": "array", "items": {"type": "integer"}, "maxItems": 3},
        "note": {"type": ["string", "null"]},
    },
    "required": ["name", "lines"],
    "additionalProperties": False,
}
LIST = {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}}


def as_twins(patch: pytest.MonkeyPatch) -> None:
    """On a CPU, run the plain twins."""
    for module in (sample_module, tables_module):
        patch.setattr(module, "is_interpreted", lambda: False)


def noise_for(rows: int, width: int, seed: int) -> torch.Tensor:
    """What the model would say, by row and number of tokens: float[rows, CAPACITY + 1, width]."""
    return torch.randn(rows, CAPACITY + 1, width, generator=torch.Generator().manual_seed(seed)) * 3


def run(loop: Loop, noise: torch.Tensor, every: int) -> int:
    """Step until all rows have ended, with a poll now and then; return the number of steps."""
    row = torch.arange(noise.shape[0], device=noise.device)
    for step in range(1, 6000):
        loop.step(noise[row, loop.rows.length.long()])
        if step % every == 0 and loop.poll(wait=True):
            return step
    raise AssertionError("the loop does not end")


def expected(compiled: Any, vocabulary: guard.Vocabulary, noise: torch.Tensor, asked: dict[str, Any]) -> list[int]:
    """The same row with a matcher that is asked for a mask before every token."""
    matcher, written = compiled.matcher(vocabulary), list[int]()

    def column(value: float, dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor([value], dtype=dtype)

    while not matcher.is_finished():
        mask = allocate_bitmask(1, vocabulary.size)
        matcher.fill_bitmask(mask, 0, asked["max_tokens"] - len(written))
        token = sample_torch(
            noise[len(written)][None],
            torch.from_numpy(mask),
            column(asked.get("temperature", 0.0), torch.float32),
            column(asked.get("top_k", 0), torch.int32),
            column(asked.get("top_p", 1.0), torch.float32),
            column(asked.get("seed", 0), torch.int64),
            column(len(written), torch.int32),
        )
        assert matcher.accept(int(token))
        written.append(int(token))
    return written


def narrowed(compiled: Any, vocabulary: guard.Vocabulary, written: list[int], max_tokens: int) -> list[int]:
    """At which tokens the budget took others away."""
    matcher, found = compiled.matcher(vocabulary), list[int]()
    bounded, free = allocate_bitmask(1, vocabulary.size), allocate_bitmask(1, vocabulary.size)
    for number, token in enumerate(written):
        matcher.fill_bitmask(bounded, 0, max_tokens - number)
        matcher.fill_bitmask(free)
        if (bounded != free).any():
            found.append(number)
        assert matcher.accept(token)
    return found


def text_of(vocabulary: guard.Vocabulary, tokens: list[int]) -> str:
    """What was written, without the end-of-sequence token."""
    return b"".join(vocabulary.token_bytes(token) for token in tokens[:-1]).decode()


@pytest.mark.parametrize(("engine", "every"), [("kernels", 2), ("twins", 1), ("twins", 4)])
def test_a_loop_writes_what_a_matcher_asked_before_every_token_writes(
    engine: str, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that are greedy, sampled, and under a tight budget; twice, the second time from full tables."""
    vocabulary = tiny_vocabulary()
    schemas = [ORDER, LIST, ORDER]
    if engine == "twins":
        as_twins(monkeypatch)
    else:  # under the interpreter a step takes a tenth of a second
        schemas = [{"type": "string", "maxLength": 5}, {"enum": ["new", "used"]}, {"items": {"type": "integer"}}]
    compiled = [guard.compile(schema) for schema in schemas]
    shortest = [each.matcher(vocabulary).distance() for each in compiled]
    asked = [
        {"max_tokens": shortest[0] + 9},
        {"max_tokens": shortest[1] + 9, "temperature": 1.0, "top_k": 40, "top_p": 0.9, "seed": 7},
        {"max_tokens": shortest[2] + 1, "temperature": 1.0, "seed": -1},
    ]
    tables = Tables(vocabulary, DEVICE, **SMALL)
    loop = Loop(tables, rows=3, capacity=CAPACITY)
    noise = noise_for(3, 384, 0).to(DEVICE)
    misses = []
    for _ in range(2):
        for row in range(3):
            loop.start(row, compiled[row], **asked[row])
        steps = run(loop, noise, every)
        misses.append(tables.misses)
        for row in range(3):
            written = loop.written(row)
            assert written == expected(compiled[row], vocabulary, noise[row].cpu(), asked[row])
            assert loop.narrowed(row) == narrowed(compiled[row], vocabulary, written, asked[row]["max_tokens"])
            assert jsonschema_rs.is_valid(schemas[row], json.loads(text_of(vocabulary, written)))
    assert misses[0] == misses[1] > 0
    longest = max(len(loop.written(row)) for row in range(3))
    # The second time a row waits once: where its budget begins to matter, which another row's may not.
    calls = -(-longest // every)
    assert calls * every <= steps <= (calls + len(schemas)) * every


@settings(max_examples=30)
@given(
    drawn=st.lists(cases(), min_size=1, max_size=3),
    vocabulary=vocabularies(),
    every=st.sampled_from([1, 3, 7]),
    tight=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_any_schema_any_settings_any_neighbours(
    drawn: list[Case], vocabulary: guard.Vocabulary, every: int, tight: bool, seed: int
) -> None:
    """Rows of random schemas, whose arenas may be so small that they are emptied on the way."""
    r, schemas = Random(seed), []
    for case in drawn:
        try:
            compiled = case.compile()
            distance = compiled.matcher(vocabulary).distance()
        except guard.SchemaError:
            continue
        if 0 < distance < 100:
            schemas.append((compiled, distance))
    if not schemas:
        return
    few = {"states": 2 + 2 * len(schemas), "masks": 2 + 2 * len(schemas), "lexemes": 1, "members": 1024, "slots": 32}
    with pytest.MonkeyPatch.context() as patch:
        as_twins(patch)
        tables = Tables(vocabulary, "cpu", **(few if tight else SMALL))
        loop = Loop(tables, rows=len(schemas), capacity=CAPACITY)
        noise = noise_for(len(schemas), vocabulary.size + r.randrange(3), seed)
        asked = [
            {
                "max_tokens": distance + r.choice([0, 1, 4, 30]),
                "temperature": r.choice([0.0, 0.7, 2.0]),
                "top_k": r.choice([0, 0, 3]),
                "top_p": r.choice([1.0, 0.6]),
                "seed": r.randrange(2**63),
            }
            for _, distance in schemas
        ]
        try:
            for row, (compiled, _) in enumerate(schemas):
                loop.start(row, compiled, **asked[row])
            run(loop, noise, every)
            for row, (compiled, _) in enumerate(schemas):
                assert loop.written(row) == expected(compiled, vocabulary, noise[row], asked[row])
        except guard.SchemaError as error:
            if error.limit is None:
                raise


def test_rows_begin_and_end_while_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Continuous batching: ten values through two rows, each as if it were alone."""
    as_twins(monkeypatch)
    vocabulary, compiled = tiny_vocabulary(), guard.compile(ORDER)
    loop = Loop(Tables(vocabulary, DEVICE, **SMALL), rows=2, capacity=CAPACITY)
    noise = noise_for(2, 350, 1).to(DEVICE)
    begun: list[int | None] = [None, None]
    found = dict[int, tuple[int, list[int]]]()
    numbers = iter(range(10))
    while len(found) < 10:
        for row in (0, 1):
            if row not in loop.live:
                if begun[row] is not None:
                    found[begun[row]] = (row, loop.written(row))
                begun[row] = next(numbers, None)
                if begun[row] is not None:
                    loop.start(row, compiled, max_tokens=60, temperature=1.0, seed=begun[row])
        loop.step(noise[torch.arange(2), loop.rows.length.long()])
        loop.poll(wait=True)
    for number, (row, written) in found.items():
        asked = {"max_tokens": 60, "temperature": 1.0, "seed": number}
        assert written == expected(compiled, vocabulary, noise[row].cpu(), asked)


def test_a_row_that_waits_keeps_its_token_and_its_length() -> None:
    """Without a poll the first transition is missing: the model is shown the same token at the same place again."""
    vocabulary = byte_vocabulary()
    loop = Loop(Tables(vocabulary, DEVICE, **SMALL), rows=1, capacity=9)
    loop.start(0, guard.compile({"const": 17}), max_tokens=9)
    logits = torch.zeros(1, 257, device=DEVICE)
    for _ in range(3):
        loop.step(logits)
        assert (loop.rows.last.tolist(), loop.rows.length.tolist()) == ([ord(" ")], [1])
    assert not loop.poll(wait=True)
    loop.step(logits)
    assert (loop.rows.last.tolist(), loop.rows.length.tolist()) == ([ord("1")], [2])


def test_logits_that_are_no_numbers_are_an_error_that_names_the_row() -> None:
    """Where the mask forbids them they do not matter."""
    vocabulary = byte_vocabulary()
    loop = Loop(Tables(vocabulary, DEVICE, **SMALL), rows=2, capacity=9)
    for row in (0, 1):
        loop.start(row, guard.compile({"const": "a"}, whitespace="compact"), max_tokens=9)
    logits = torch.zeros(2, 257, device=DEVICE)
    logits[0, 0] = math.nan
    logits[1, ord('"')] = math.nan
    loop.step(logits)
    with pytest.raises(ValueError, match=r"an allowed logit is NaN or \+inf after 0 tokens") as caught:
        loop.poll(wait=True)
    assert caught.value.__notes__ == ["row 1 of the loop"]
    assert loop.live == {0}
    logits[1, ord('"')] = 0
    loop.start(1, guard.compile({"const": "b"}), max_tokens=9)
    while not loop.poll(wait=True):
        loop.step(logits)
    assert [text_of(vocabulary, loop.written(row)) for row in (0, 1)] == ['"a"', ' "b"']


@pytest.mark.parametrize(
    ("schema", "change", "message"),
    [
        ({"const": 17}, {"max_tokens": 2}, "max_tokens=2 must be from 1 to 9, and hold a value: .* may need 3"),
        ({"const": 17}, {"max_tokens": 10}, "max_tokens=10 must be from 1 to 9"),
        (False, {}, "no value is valid"),
        ({"const": 17}, {"row": 1}, "row=1 must be one of 1 that has ended"),
        ({"const": 17}, {"top_p": 0.0}, "top_p=0.0 above 0 and at most 1"),
        ({"const": 17}, {"temperature": math.nan}, "temperature=nan"),
    ],
)
def test_what_cannot_be_started_is_a_value_error(schema: Any, change: dict[str, Any], message: str) -> None:
    """Before the device is told anything."""
    loop = Loop(Tables(byte_vocabulary(), DEVICE, **SMALL), rows=1, capacity=9)
    with pytest.raises(ValueError, match=message):
        loop.start(**{"row": 0, "compiled": guard.compile(schema), "max_tokens": 9, **change})


def test_a_limit_that_one_row_meets_ends_that_row_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine refuses a state of one schema; the other row's value is whole."""
    as_twins(monkeypatch)
    vocabulary, refused = byte_vocabulary(), guard.compile({"const": "b"})
    tables = Tables(vocabulary, DEVICE, **SMALL)
    loop = Loop(tables, rows=2, capacity=9)
    loop.start(0, refused, max_tokens=9)
    loop.start(1, guard.compile({"const": "a"}), max_tokens=9)
    state = tables.state

    def limited(engine: Any, matcher: Any, left: int) -> int:
        if engine is refused:
            raise guard.SchemaError(guard.Finding("", None, "too many states"), limit="states")
        return state(engine, matcher, left)

    monkeypatch.setattr(tables, "state", limited)
    logits = torch.zeros(2, 257, device=DEVICE)
    loop.step(logits)
    with pytest.raises(guard.SchemaError) as caught:
        loop.poll(wait=True)
    assert caught.value.__notes__ == ["row 0 of the loop"]
    while not loop.poll(wait=True):
        loop.step(logits)
    assert text_of(vocabulary, loop.written(1)) == ' "a"'


def test_a_row_can_be_stopped_and_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its caller may have gone away."""
    as_twins(monkeypatch)
    vocabulary = byte_vocabulary()
    loop = Loop(Tables(vocabulary, DEVICE, **SMALL), rows=1, capacity=9)
    loop.start(0, guard.compile({"const": "a"}), max_tokens=9)
    logits = torch.zeros(1, 257, device=DEVICE)
    loop.step(logits)
    loop.stop(0)
    loop.step(logits)
    assert loop.rows.length.tolist() == [1]
    assert loop.poll(wait=True)
    with pytest.raises(ValueError, match="row=0 is not under way"):
        loop.stop(0)
    loop.start(0, guard.compile({"const": "b"}), max_tokens=9)
    while not loop.poll(wait=True):
        loop.step(logits)
    assert text_of(vocabulary, loop.written(0)) == ' "b"'


def test_a_row_that_is_under_way_can_not_be_started() -> None:
    """It would lose what it has written."""
    loop = Loop(Tables(byte_vocabulary(), DEVICE, **SMALL), rows=1, capacity=9)
    loop.start(0, guard.compile({"const": 17}), max_tokens=9)
    with pytest.raises(ValueError, match="row=0 must be one of 1 that has ended"):
        loop.start(0, guard.compile({"const": 17}), max_tokens=9)


def test_tables_that_can_not_hold_the_rows_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Emptying them would not help."""
    as_twins(monkeypatch)
    loop = Loop(Tables(byte_vocabulary(), DEVICE, **{**SMALL, "states": 4}), rows=3, capacity=9)
    for row in (0, 1):
        loop.start(row, guard.compile({"const": row}), max_tokens=9)
    with pytest.raises(ValueError, match="the tables are too small for 3 rows"):
        loop.start(2, guard.compile({"const": 2}), max_tokens=9)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: there is no CUDA graph without one")
def test_a_captured_loop_never_waits_for_the_host_once_its_tables_are_full() -> None:
    """A CUDA graph of steps, and polls between them, where torch raises at any synchronisation."""
    vocabulary, compiled = tiny_vocabulary(), guard.compile(ORDER)
    tables = Tables(vocabulary, "cuda", **SMALL)
    loop = Loop(tables, rows=32, capacity=CAPACITY)
    noise, row = noise_for(32, 384, 3).cuda(), torch.arange(32, device="cuda")

    def start() -> None:
        for number in range(32):
            loop.start(number, compiled, max_tokens=100, temperature=1.0, seed=number)

    start()
    run(loop, noise, 4)
    first = [loop.written(number) for number in range(32)]
    misses = tables.misses
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        loop.step(noise[row, loop.rows.length.long()])
    start()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(60):
            for _ in range(8):
                graph.replay()
            loop.poll()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    while not loop.poll(wait=True):
        pass
    assert [loop.written(number) for number in range(32)] == first
    assert tables.misses == misses


def test_a_loop_writes_turns_as_a_matcher_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Free text, calls and their ends under tight and wide budgets, from the same tables as values."""
    as_twins(monkeypatch)
    vocabulary = tiny_vocabulary()
    call = {"type": "tag", "begin": "<c>", "content": {"type": "json_schema", "json_schema": ORDER}, "end": "</c>"}
    turn = guard.compile({"type": "triggered_tags", "triggers": ["<"], "tags": [call], "at_least_one": True})
    least = turn.matcher(vocabulary).distance()
    asked = [{"max_tokens": least}, {"max_tokens": least + 40, "temperature": 1.0, "seed": 3}]
    loop = Loop(Tables(vocabulary, "cpu", **SMALL), rows=2, capacity=CAPACITY)
    noise = noise_for(2, 384, 1)
    for row in range(2):
        loop.start(row, turn, **asked[row])
    run(loop, noise, 2)
    for row in range(2):
        written = loop.written(row)
        assert written == expected(turn, vocabulary, noise[row], asked[row])
        assert any(part.kind == "value" for part in turn.read(text_of(vocabulary, written)))

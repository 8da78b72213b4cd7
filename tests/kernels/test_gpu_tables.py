"""The automaton as tables: what the host fills in, and the kernel that looks it up, against its torch twin."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import allowed, bits
from strategies import Case, byte_vocabulary, cases, vocabularies

import guard
from guard.kernels.gpu.device_tables import BLOCK, DONE, MISSING, PROBES, Full, Rows, Tables, advance, advance_torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # the CPU's is Triton's interpreter
SIZES = {"states": 64, "masks": 16, "lexemes": 3, "members": 1024, "slots": 256}


def filled(r: Random) -> Tables:
    """Tables of random content; transitions lie where the host puts them."""
    tables = Tables(byte_vocabulary(), DEVICE, **SIZES)
    for state in range(2, SIZES["states"]):
        tables._set("mask_of", state, r.randrange(2, SIZES["masks"]))
        tables._set("enough", state, r.choice([0, 1, 5, 2**31 - 1]))
        tables._set("lexeme_of", state, r.randrange(-1, SIZES["lexemes"]))
        tables._set("members_of", state, r.randrange(SIZES["members"] - 8))
    for index in range(SIZES["members"]):
        tables._set("members", index, r.randrange(SIZES["states"]))
    for lexeme in range(SIZES["lexemes"]):
        tables._host["classes"][lexeme] = [r.randrange(8) for _ in range(tables.size)]
        tables._new_lexemes.append(lexeme)
    for state, token in transitions(r, tables.size):
        tables.connect(state, token, r.randrange(SIZES["states"]))
    tables.upload()
    return tables


def transitions(r: Random, size: int) -> list[tuple[int, int]]:
    """What is hashed: as many as fit, so that some lie far from home."""
    return [(r.randrange(2, SIZES["states"]), r.randrange(size)) for _ in range(SIZES["slots"] // 2)]


@settings(max_examples=20)
@given(count=st.sampled_from([1, 2, BLOCK - 1, BLOCK, BLOCK + 1]), seed=st.integers(0, 2**32))
def test_the_kernel_agrees_with_its_twin(count: int, seed: int) -> None:
    """Rows in random states take random tokens, and none, and one is no number."""
    r = Random(seed)
    tables = filled(r)
    rows = Rows.make(count, 6, torch.device(DEVICE))
    for column, most in ((rows.state, SIZES["states"]), (rows.row, 9), (rows.last, 9), (rows.length, 5)):
        column.copy_(torch.tensor([r.randrange(most) for _ in range(count)]))
    rows.limit.copy_(rows.length + torch.tensor([r.randrange(1, 9) for _ in range(count)], device=DEVICE))
    token = torch.tensor([r.randrange(-2, tables.size) for _ in range(count)], dtype=torch.int32, device=DEVICE)
    known = tables.keys[tables.keys >= 0]
    for row in range(0, count, 2):  # what is there, in every second row
        key = int(known[r.randrange(len(known))])
        rows.state[row], token[row] = key >> 32, key & 0xFFFFFFFF
    expected = Rows(*(getattr(rows, f.name).clone() for f in dataclasses.fields(rows)))
    advance_torch(tables, expected, token)
    advance(tables, rows, token)
    for field in dataclasses.fields(rows):
        assert torch.equal(getattr(rows, field.name), getattr(expected, field.name)), field.name


@given(seed=st.integers(0, 2**32))
def test_the_device_finds_what_the_host_says(seed: int) -> None:
    """Every transition, by the twin, which searches the whole table where the host hashes."""
    r = Random(seed)
    tables = filled(r)
    state, token = r.randrange(2, SIZES["states"]), r.randrange(tables.size)
    rows = Rows.make(1, 1, torch.device(DEVICE))
    rows.state.fill_(state)
    advance_torch(tables, rows, torch.tensor([token], dtype=torch.int32, device=DEVICE))
    assert rows.state.tolist() == [tables.follow(state, token)]


@given(
    transitions=st.dictionaries(st.tuples(st.integers(2, 63), st.integers(0, 256)), st.integers(1, 63), max_size=120)
)
def test_transitions_are_kept_until_half_of_the_slots_are_taken(transitions: dict[tuple[int, int], int]) -> None:
    """A table of 64 slots against a dict."""
    tables, kept = Tables(byte_vocabulary(), "cpu", **{**SIZES, "slots": 64}), dict[tuple[int, int], int]()
    try:
        for (state, token), after in transitions.items():
            tables.connect(state, token, after)
            kept[state, token] = after
    except Full:
        assert len(kept) >= PROBES
    assert len(kept) <= 32
    for state, token in transitions:
        assert tables.follow(state, token) == kept.get((state, token), MISSING)


@settings(max_examples=40)
@given(case=cases(), vocabulary=vocabularies(), seed=st.integers(0, 2**32))
def test_the_mask_of_a_state_is_the_matcher_s_whatever_is_left(
    case: Case, vocabulary: guard.Vocabulary, seed: int
) -> None:
    """Random texts of random schemas; in each state numbers of tokens left in any order, around those that matter."""
    r, compiled = Random(seed), case.compile()
    tables = Tables(vocabulary, "cpu", **{**SIZES, "states": 2000, "masks": 2000, "slots": 4096})
    try:
        matcher = compiled.matcher(vocabulary)
        for _ in range(8):
            tokens = allowed(matcher, vocabulary).tolist()
            if matcher.is_finished() or not tokens:
                break
            distance = matcher.distance()
            for left in r.sample(range(distance, distance + 24), 12):
                state = tables.state(compiled, matcher, left)
                tables.upload()
                mask = tables.masks[tables.mask_of[state]].numpy()
                assert bits(mask).tolist() == allowed(matcher, vocabulary, left).tolist()
            assert matcher.accept(r.choice(tokens))
    except guard.SchemaError as error:
        if error.limit is None:
            raise


def test_a_walk_fills_in_what_is_missing_once() -> None:
    """The second walk over the same text asks the engine for nothing; a longer string takes the same states."""
    vocabulary = byte_vocabulary()
    tables = Tables(vocabulary, "cpu", **SIZES)
    compiled = guard.compile({"properties": {"a": {"type": "string"}}, "additionalProperties": False})
    misses = []
    for text in (b'{"a": "text"}', b'{"a": "text"}', b'{"a": "other text"}'):
        matcher = compiled.matcher(vocabulary)
        start = tables.state(compiled, matcher, 1000)
        tokens = [*text, vocabulary.eos[0]]
        assert tables.walk(compiled, matcher, start, tokens, 1000) == (DONE, [])
        misses.append(tables.misses)
    assert misses[0] == misses[1] == misses[2] > 0


def test_a_state_stands_for_the_tokens_left_only_where_they_matter() -> None:
    """With 50 tokens left a string is as free as with 40; with 3 it must end, in a state of its own."""
    vocabulary = byte_vocabulary()
    tables = Tables(vocabulary, "cpu", **SIZES)
    compiled = guard.compile({"type": "string"})
    matcher = compiled.matcher(vocabulary)
    assert matcher.accept_bytes(b'"text')
    assert matcher.distance() == 2
    states = {left: tables.state(compiled, matcher, left) for left in (50, 40, 20, 3, 2)}
    assert states[50] == states[40] == states[20]
    assert len({states[50], states[3], states[2]}) == 3
    masks = {left: tables._host["mask_of"][state] for left, state in states.items()}
    words = dict(tables._new_masks)
    for left, number in masks.items():
        row = torch.zeros(1, -(-vocabulary.size // 32), dtype=torch.int32)
        matcher.fill_bitmask(row.numpy(), 0, left)
        assert row[0].tolist() == words[number].tolist()


def test_what_is_walked_must_be_allowed() -> None:
    """A token that no mask lets through."""
    vocabulary = byte_vocabulary()
    tables = Tables(vocabulary, "cpu", **SIZES)
    compiled = guard.compile({"type": "string"})
    matcher = compiled.matcher(vocabulary)
    start = tables.state(compiled, matcher, 9)
    with pytest.raises(ValueError, match="token 49 is not allowed where it was written"):
        tables.walk(compiled, matcher, start, [ord("1")], 9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"states": 2}, "states=2 must be at least 3"),
        ({"members": 7}, "members=7 must be at least 256"),
        ({"slots": 100}, "slots=100 must be a power of two"),
    ],
)
def test_arenas_that_make_no_sense_are_value_errors(change: dict[str, int], message: str) -> None:
    """Before anything is allocated."""
    with pytest.raises(ValueError, match=message):
        Tables(byte_vocabulary(), "cpu", **{**SIZES, **change})


def test_every_kernel_compiles_for_a_gpu_where_there_is_none(tmp_path: os.PathLike[str]) -> None:
    """In a process without the interpreter, down to the machine code of an A100, for each type of logits."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    command = [sys.executable, str(Path(__file__).parent.parent / "gpu_kernels.py")]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["_advance", "_pick", *["_apply_bitmask", "_find_floor", "_draw"] * 2]

"""Batches: rows that are known are those that are made anew, whoever asks, and whatever is forgotten meanwhile."""

from __future__ import annotations

import os
import threading
import warnings
from random import Random
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import allowed
from strategies import Case, byte_vocabulary, cases, vocabularies

import guard
from guard.kernels import fill_bitmasks
from guard.kernels.bitmask import allocate_bitmask
from guard.schemas.compiled import Compiled, FrontEnd, Options

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "tags": {"type": "array", "items": {"enum": ["a", "bc"]}}},
    "required": ["name", "tags"],
}
TEXT = b'{"name": "some text", "tags": ["a", "bc", "a"]}'


def anew(case: Case) -> Compiled:
    """The schema compiled by an engine of its own, which knows no rows."""
    return Compiled(FrontEnd(case.schema, Options(**case.options), {}))


def judged(
    compiled: Compiled, vocabulary: guard.Vocabulary, tokens: list[int], remaining: int | None = None
) -> np.ndarray[Any, Any]:
    """The row of a matcher that went there alone, made byte by byte, without any that is kept."""
    matcher = compiled.matcher(vocabulary)
    assert all(matcher.accept(token) for token in tokens)
    row = allocate_bitmask(1, vocabulary.size)
    matcher.fill_bitmask_by_bytes(row, remaining)
    return row[0]


def batch_of_walks(compiled: Compiled, vocabulary: guard.Vocabulary, r: Random) -> list[tuple[Any, list[int]]]:
    """Some matchers with the tokens that they took; some are where others are, some went back, some are copies."""
    out: list[tuple[Any, list[int]]] = []
    for _ in range(4):
        matcher, tokens = compiled.matcher(vocabulary), []
        for _ in range(r.randrange(6)):
            choice = allowed(matcher, vocabulary)
            if matcher.is_finished() or not len(choice):
                break
            tokens.append(int(r.choice(choice.tolist())))
            assert matcher.accept(tokens[-1])
        if tokens and r.random() < 0.3:
            matcher.rollback(1)
            tokens.pop()
        out.append((matcher, tokens))
        out.append((matcher.copy(), tokens))
        twin = compiled.matcher(vocabulary)
        assert all(twin.accept(token) for token in tokens)
        out.append((twin, tokens))
    r.shuffle(out)
    return out


@settings(max_examples=40)
@given(case=cases(), vocabulary=vocabularies(), seed=st.integers(0, 2**32), flush=st.booleans())
def test_rows_that_are_known_are_those_of_an_engine_that_knows_none(
    case: Case, vocabulary: guard.Vocabulary, seed: int, flush: bool
) -> None:
    """Batches again and again, of matchers that move on in between: each row is as if it were the first."""
    r = Random(seed)
    if flush:
        vocabulary.native.limit(masks=r.choice([0, 3000]), rows=r.choice([0, 300, 3000]))
    try:
        compiled = case.compile()
        walks = batch_of_walks(compiled, vocabulary, r)
        bitmask = allocate_bitmask(len(walks), vocabulary.size + 40)
        for _ in range(4):
            bitmask[...] = -1
            left = [
                max(0, int(r.choice([r.randrange(-2, 6) + matcher.distance(), 50, 900]))) if r.random() < 0.5 else None
                for matcher, _ in walks
            ]
            fill_bitmasks([matcher for matcher, _ in walks], bitmask, remaining=left)
            for (_, tokens), row, budget in zip(walks, bitmask, left, strict=True):
                expected = judged(anew(case), vocabulary, tokens, budget)
                np.testing.assert_array_equal(row[: -(-vocabulary.size // 32)], expected)
                assert not row[-(-vocabulary.size // 32) :].any()
            if r.random() < 0.5:
                for matcher, tokens in walks[::2]:
                    choice = allowed(matcher, vocabulary).tolist()
                    if choice and not matcher.is_finished():
                        tokens = list(tokens)
                        tokens.append(int(r.choice(choice)))
                        assert matcher.accept(tokens[-1])
                        walks[[m for m, _ in walks].index(matcher)] = (matcher, tokens)
    except guard.SchemaError as error:
        if error.limit is None:
            raise
    finally:
        vocabulary.native.limit(masks=40_000_000, rows=4_000_000)


def test_what_is_filled_again_behind_text_that_does_not_matter_is_told_from_what_does() -> None:
    """Inside of a free string nothing changes; of a bounded one each character counts."""
    vocabulary = byte_vocabulary()
    for schema, is_same in (({"type": "string"}, True), ({"type": "string", "maxLength": 3}, False)):
        matcher = guard.compile(schema).matcher(vocabulary)
        assert matcher.accept_bytes(b'"')
        rows = []
        for byte in b"abc":
            rows += [allowed(matcher, vocabulary).tolist() for _ in range(3)]
            assert matcher.accept(byte)
        rows.append(allowed(matcher, vocabulary).tolist())
        assert rows[0] == rows[1] == rows[2]
        assert (rows[-1] == rows[0]) == is_same


def test_a_matcher_may_stand_in_a_batch_twice() -> None:
    vocabulary = byte_vocabulary()
    matcher = Compiled(FrontEnd(SCHEMA, Options(), {})).matcher(vocabulary)
    bitmask = allocate_bitmask(5, vocabulary.size)
    for text in (b"{", b'"name": "'):
        assert matcher.accept_bytes(text)
        fill_bitmasks([matcher] * 5, bitmask)
        expected = allocate_bitmask(1, vocabulary.size)
        matcher.copy().fill_bitmask(expected)
        assert (bitmask == expected).all()
        assert bitmask.any()


def test_a_matcher_may_stand_in_a_batch_under_several_budgets() -> None:
    """What is read for one of them stays while another one is filled."""
    matcher = guard.compile(SCHEMA).matcher(byte_vocabulary())
    assert matcher.accept_bytes(b'{"name": "some')
    budgets = [None, 900, matcher.distance(), 1, 0, None, 900, matcher.distance() + 1]
    alone = allocate_bitmask(len(budgets), byte_vocabulary().size)
    for row, remaining in enumerate(budgets):
        matcher.fill_bitmask_by_bytes(alone[row : row + 1], remaining)
    for order in (range(8), range(7, -1, -1), [2, 1, 0, 7, 4, 5, 6, 3]):
        together = allocate_bitmask(len(budgets), byte_vocabulary().size)
        for _ in range(2):
            fill_bitmasks([matcher] * 8, together, rows=list(order), remaining=[budgets[row] for row in order])
            assert np.array_equal(together, alone)
        matcher.fill_bitmask(together)


def test_rows_of_many_megabytes_are_filled_as_small_ones_are() -> None:
    """Wide enough that threads share the rows out: known and new ones, and the zeros beyond the vocabulary."""
    vocabulary = byte_vocabulary()
    compiled = guard.compile(SCHEMA)
    matchers = [compiled.matcher(vocabulary) for _ in range(40)]
    for n, matcher in enumerate(matchers):
        assert matcher.accept_bytes(TEXT[: n % len(TEXT)])
    bitmask = np.full((40, 120_000), -1, dtype=np.int32)
    for _ in range(3):
        bitmask[...] = -1
        fill_bitmasks(matchers, bitmask)
        for matcher, row in zip(matchers, bitmask, strict=True):
            alone = allocate_bitmask(1, vocabulary.size)
            matcher.fill_bitmask(alone)
            assert (row[: alone.shape[1]] == alone[0]).all()
            assert not row[alone.shape[1] :].any()


def test_threads_read_rows_and_masks_while_others_make_them_forgotten() -> None:
    """Each thread fills batches of its own, under limits so small that everything is forgotten at almost every call."""
    vocabulary = byte_vocabulary()
    compiled = Compiled(FrontEnd(SCHEMA, Options(), {}))
    judge = Compiled(FrontEnd(SCHEMA, Options(), {}))
    expected = [judged(judge, vocabulary, list(TEXT[:n])) for n in range(len(TEXT))]
    vocabulary.native.limit(masks=2_000, rows=500)
    wrong: list[Any] = []
    stop = threading.Event()

    def fill(seed: int) -> None:
        r = Random(seed)
        bitmask = allocate_bitmask(8, vocabulary.size)
        matchers = [compiled.matcher(vocabulary) for _ in range(8)]
        at = [0] * 8
        try:
            for _ in range(150):
                for n, matcher in enumerate(matchers):
                    if at[n] == len(TEXT) - 1 or r.random() < 0.1:
                        matcher.reset()
                        at[n] = 0
                    elif r.random() < 0.7:
                        assert matcher.accept(TEXT[at[n]])
                        at[n] += 1
                fill_bitmasks(matchers, bitmask)
                if any((bitmask[n] != expected[at[n]]).any() for n in range(8)):
                    wrong.append(seed)
        except BaseException as error:
            wrong.append(error)

    def forget() -> None:
        r = Random(0)
        while not stop.is_set():
            vocabulary.native.limit(masks=r.choice([0, 2_000, 40_000]), rows=r.choice([0, 500, 5_000]))
            stop.wait(0.0005)

    threads = [threading.Thread(target=fill, args=(seed,)) for seed in range(4)]
    forgetting = threading.Thread(target=forget)
    for thread in (*threads, forgetting):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    forgetting.join()
    vocabulary.native.limit(masks=40_000_000, rows=4_000_000)
    assert wrong == []


def test_a_child_of_a_fork_fills_batches_whatever_threads_were_doing() -> None:
    """Forks beside threads that hold locks and share out work: each child compiles, fills a large batch, and ends."""
    vocabulary = byte_vocabulary()
    compiled = Compiled(FrontEnd(SCHEMA, Options(), {}))
    expected = judged(compiled, vocabulary, list(TEXT[:12]))
    stop = threading.Event()

    def batch(text: bytes) -> np.ndarray[Any, Any]:
        matchers = [compiled.matcher(vocabulary) for _ in range(40)]
        for matcher in matchers:
            assert matcher.accept_bytes(text)
        bitmask = np.full((40, 60_000), -1, dtype=np.int32)
        fill_bitmasks(matchers, bitmask)
        return bitmask

    def busy() -> None:
        n = 0
        while not stop.is_set():
            batch(TEXT[:12])
            Compiled(FrontEnd({"const": n}, Options(), {}))
            n += 1

    threads = [threading.Thread(target=busy) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for n in range(8):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, from Python 3.12 on
                child = os.fork()
            if child == 0:
                code = 1
                try:
                    rows = batch(TEXT[:12])[:, : len(expected)]
                    matcher = guard.compile({"const": f"{n}"}).matcher(vocabulary)
                    code = 0 if (rows == expected).all() and matcher.accept_bytes(b'"%d"' % n) else 2
                finally:
                    os._exit(code)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()

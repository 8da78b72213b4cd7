"""Frames and masks that are kept: a text that comes where others were finds what they left, and nothing else."""

from __future__ import annotations

import gc
from random import Random
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import allowed
from strategies import Case, byte_vocabulary, cases, vocabularies

import guard
from guard.kernels import memory
from guard.kernels.bitmask import allocate_bitmask
from guard.schemas.compiled import Compiled, FrontEnd, Options


def anew(case: Case) -> Compiled:
    """The schema compiled by an engine of its own, which keeps nothing yet."""
    return Compiled(FrontEnd(case.schema, Options(**case.options), {}))


def filled(matcher: Any, vocabulary: guard.Vocabulary, remaining: int | None) -> np.ndarray[Any, Any]:
    """The row as a decoding loop gets it."""
    row = allocate_bitmask(1, vocabulary.size)
    matcher.fill_bitmask(row, remaining=remaining)
    return row[0]


def judged(case: Case, vocabulary: guard.Vocabulary, tokens: list[int], remaining: int | None) -> np.ndarray[Any, Any]:
    """The row of an engine that was never asked before, made byte by byte."""
    matcher = anew(case).matcher(vocabulary)
    assert all(matcher.accept(token) for token in tokens)
    row = allocate_bitmask(1, vocabulary.size)
    matcher.fill_bitmask_by_bytes(row, remaining)
    return row[0]


@settings(max_examples=60)
@given(case=cases(), vocabulary=vocabularies(), seed=st.integers(0, 2**32))
def test_a_place_where_others_were_is_as_new(case: Case, vocabulary: guard.Vocabulary, seed: int) -> None:
    """Matchers of one engine in turn, along the same few texts, back, anew and as copies, with budgets and without."""
    r = Random(seed)
    try:
        compiled = case.compile()
        matchers: list[tuple[Any, list[int]]] = [(compiled.matcher(vocabulary), []) for _ in range(3)]
        for _ in range(60):
            at = r.randrange(len(matchers))
            matcher, tokens = matchers[at]
            remaining = None if r.random() < 0.6 else max(0, matcher.distance() + r.randrange(-1, 8))
            row = filled(matcher, vocabulary, remaining)
            if r.random() < 0.3:
                np.testing.assert_array_equal(row, judged(case, vocabulary, tokens, remaining))
            choice = allowed(matcher, vocabulary).tolist()
            if matcher.is_finished() or not choice or r.random() < 0.1:
                matcher.reset()
                matchers[at] = (matcher, [])
            elif r.random() < 0.1 and tokens:
                back = r.randint(1, len(tokens))
                matcher.rollback(back)
                matchers[at] = (matcher, tokens[:-back])
            elif r.random() < 0.05:
                matchers[r.randrange(len(matchers))] = (matcher.copy(), list(tokens))
            else:
                tokens.append(int(choice[0] if r.random() < 0.7 else r.choice(choice)))  # mostly where others went
                assert matcher.accept(tokens[-1])
    except guard.SchemaError as error:
        if error.limit is None:
            raise


def test_two_vocabularies_at_one_place() -> None:
    """Masks are kept with a schema's frames, for each vocabulary its own."""
    compiled = guard.compile({"const": {"ab": "c"}}, whitespace="compact", spelling="canonical")
    every = [bytes([byte]) for byte in range(256)]
    for _ in range(3):
        for tokens in ([*every, b'{"', b'":'], [b'":"', b'"}', b"ab", *reversed(every)]):
            vocabulary = guard.Vocabulary.from_bytes([*tokens, b""], eos=[len(tokens)])
            matcher = compiled.matcher(vocabulary)
            texts = (
                (b"", {b"{", b'{"'}),
                (b'{"', {b"a", b"ab"}),
                (b"ab", {b'"', b'":', b'":"'}),
                (b'":"c', {b'"', b'"}'}),
            )
            for text, may_come in texts:
                assert matcher.accept_bytes(text)
                assert {tokens[t] for t in allowed(matcher, vocabulary)} == may_come & set(tokens)


def test_items_beyond_the_last_that_counts_come_to_the_same_place() -> None:
    """Items are counted as far as they matter: to the last of a tuple, to minItems, to maxItems always."""
    vocabulary = byte_vocabulary()
    options = {"whitespace": "compact", "spelling": "canonical"}
    schema = {"prefixItems": [{"const": "a"}, {"const": "b"}], "items": {"const": "c"}, "minItems": 4, "type": "array"}
    matcher = guard.compile(schema, **options).matcher(vocabulary)
    texts = ((b"[", b'"a"', b","), (b",", b'"b"', b","), (b",", b'"c"', b","), *[(b",", b'"c"', b",]")] * 40)
    for before, item, after in texts:
        assert matcher.accept_bytes(before + item[:1])
        assert bytes(allowed(matcher, vocabulary).tolist()) == item[1:2]
        assert matcher.accept_bytes(item[1:])
        assert bytes(allowed(matcher, vocabulary).tolist()) == after
    bounded = guard.compile({"items": {"const": "c"}, "maxItems": 3, "type": "array"}, **options).matcher(vocabulary)
    for text, after in ((b'["c"', b",]"), (b',"c"', b",]"), (b',"c"', b"]")):
        assert bounded.accept_bytes(text)
        assert bytes(allowed(bounded, vocabulary).tolist()) == after


def test_a_store_that_is_full_is_followed_by_another() -> None:
    """Members in ever new orders: some stores are held at most, and masks are right, in the middle of texts, too."""
    names = [f"n{i:02}" for i in range(24)]
    case = Case(
        {"type": "object", "properties": {name: {"type": "null"} for name in names}, "additionalProperties": False},
        {"key_order": "any", "whitespace": "compact"},
    )
    vocabulary, compiled, r = byte_vocabulary(), case.compile(), Random(1)

    def members(names: list[str]) -> list[bytes]:
        return [b"{,"[i > 0 :][:1] + b'"%s":null' % name.encode() for i, name in enumerate(names)]

    waiting, slow = compiled.matcher(vocabulary), members(names)
    gc.collect()
    before, most = memory()["held"], 0
    for n in range(700):
        matcher, text = compiled.matcher(vocabulary), b""
        for member in members(r.sample(names, len(names))):
            assert matcher.accept_bytes(member)
            text += member
            row = filled(matcher, vocabulary, None)
            if n % 50 == 0:
                np.testing.assert_array_equal(row, judged(case, vocabulary, list(text), None))
        if n % 50 == 0:
            assert waiting.accept_bytes(slow[n // 50])
            so_far = list(b"".join(slow[: n // 50 + 1]))
            np.testing.assert_array_equal(filled(waiting, vocabulary, None), judged(case, vocabulary, so_far, None))
        most = max(most, memory()["held"] - before)
    assert 4_000_000 < most < 14_000_000

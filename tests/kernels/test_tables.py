"""Keys of configurations, and classes of tokens: what tables outside of the engine stand on."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import allowed
from strategies import Case, byte_vocabulary, cases, vocabularies

import guard


def keys(schema: Any, *texts: bytes, **options: Any) -> list[bytes]:
    """The keys of matchers of one engine behind these texts."""
    compiled, out = guard.compile(schema, **options), []
    for text in texts:
        matcher = compiled.matcher(byte_vocabulary())
        assert matcher.accept_bytes(text)
        out.append(matcher.key())
    return out


@settings(max_examples=40)
@given(case=cases(), vocabulary=vocabularies(), seed=st.integers(0, 2**32))
def test_matchers_with_equal_keys_go_on_alike(case: Case, vocabulary: guard.Vocabulary, seed: int) -> None:
    """Random texts of random schemas: wherever two meet in a key, everything that can be asked has one answer."""
    compiled, r = case.compile(), Random(seed)
    seen: dict[bytes, tuple[Any, ...]] = {}
    try:
        for _ in range(6):
            matcher = compiled.matcher(vocabulary)
            for _ in range(16):
                tokens = allowed(matcher, vocabulary)
                if matcher.is_finished() or not len(tokens):
                    break
                distance = matcher.distance()
                masks = [allowed(matcher, vocabulary, left).tobytes() for left in (distance, distance + 3)]
                answers = (tokens.tobytes(), *masks, distance, matcher.can_stop(), matcher.forced_bytes())
                assert seen.setdefault(matcher.key(), answers) == answers
                assert matcher.accept(int(r.choice(tokens.tolist())))
    except guard.SchemaError as error:
        if error.limit is None:
            raise


@settings(max_examples=40)
@given(case=cases(), vocabulary=vocabularies(), seed=st.integers(0, 2**32))
def test_allowed_tokens_of_one_class_lead_to_one_key(case: Case, vocabulary: guard.Vocabulary, seed: int) -> None:
    """Random texts of random schemas: each token of a class is tried."""
    compiled, r = case.compile(), Random(seed)
    try:
        matcher = compiled.matcher(vocabulary)
        for _ in range(20):
            tokens = allowed(matcher, vocabulary).tolist()
            if matcher.is_finished() or not tokens:
                break
            classes = np.full(vocabulary.size, 255, dtype=np.uint8)
            count = matcher.fill_classes(classes)
            assert count == classes.max()
            assert matcher.lexeme() >= 0 or count == 0
            after: dict[int, bytes] = {}
            for token in tokens:
                if classes[token]:
                    copy = matcher.copy()
                    assert copy.accept(token)
                    assert after.setdefault(int(classes[token]), copy.key()) == copy.key()
            assert matcher.accept(r.choice(tokens))
    except guard.SchemaError as error:
        if error.limit is None:
            raise


@pytest.mark.parametrize(
    ("schema", "one", "other", "options"),
    [
        ({"type": "string"}, b'"a', b'"some other text', {}),
        ({"type": "string", "minLength": 2}, b'"abc', b'"abcdefg', {}),
        ({"type": "array"}, b"[1, 2", b"[1, 2, 3, 2", {"whitespace": "spaced"}),
        ({"items": {"type": "object"}, "minItems": 1}, b"[{}, {}", b"[{}, {}, {}", {}),
        ({"properties": {"a": {"type": "integer"}, "b": {}}}, b'{"a": 17, "b": ', b'{"a": 4, "b": ', {}),
        (True, b'{"a": 1, "b', b'{"a": "x", "b', {}),
    ],
)
def test_what_no_longer_matters_is_not_in_the_key(
    schema: Any, one: bytes, other: bytes, options: dict[str, Any]
) -> None:
    """Two texts behind which the same may come."""
    first, second = keys(schema, one, other, **options)
    assert first == second


@pytest.mark.parametrize(
    ("schema", "one", "other"),
    [
        ({"type": "string", "maxLength": 9}, b'"a', b'"ab'),
        ({"type": "string", "minLength": 5}, b'"a', b'"ab'),
        ({"items": {}, "maxItems": 9}, b"[1, 2", b"[1, 2, 2"),
        ({"prefixItems": [{}, {}, {}, {"type": "null"}]}, b"[1, ", b"[1, 2, "),
        ({"type": "array", "uniqueItems": True}, b"[1, ", b"[2, "),
        ({"properties": {"a": {}, "b": {}}}, b'{"a": 1, ', b'{"b": 1, '),
        (True, b'{"a": 1, ', b'{"b": 1, '),
        (True, b"[[", b"[{"),
    ],
)
def test_what_matters_is_in_the_key(schema: Any, one: bytes, other: bytes) -> None:
    """Two texts behind which other texts may come."""
    first, second = keys(schema, one, other)
    assert first != second


def test_two_engines_never_have_one_key() -> None:
    """What an id means hangs on the engine: tables of a GPU hold keys of many."""
    (first,), (second,) = keys({"type": "string"}, b'"a'), keys({"type": "string", "title": "other"}, b'"a')
    assert first != second


def test_keys_tell_what_has_ended_and_what_can_never_begin() -> None:
    """b"." and b"" are no configuration's."""
    vocabulary = byte_vocabulary()
    matcher = guard.compile({"const": 1}).matcher(vocabulary)
    assert matcher.accept_bytes(b"1")
    assert matcher.accept(vocabulary.eos[0])
    assert matcher.key() == b"."
    assert guard.compile(False).matcher(vocabulary).key() == b""


def test_classes_need_an_item_for_each_token() -> None:
    """A shorter array is a caller's mistake."""
    vocabulary = byte_vocabulary()
    matcher = guard.compile({"type": "string"}).matcher(vocabulary)
    with pytest.raises(ValueError, match=f"classes has 3 items; the vocabulary needs {vocabulary.size}"):
        matcher.fill_classes(np.zeros(3, dtype=np.uint8))

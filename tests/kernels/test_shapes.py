"""Shapes that break mask engines: what each lets through, judged by a validator; and vocabularies of every make."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import jsonschema_rs
import pytest
from hard import OTHER_SIZES, SHAPES, Shape, vocabulary_of_262k
from properties import allowed
from referees import parse
from strategies import OPTIONS, byte_vocabulary

import guard


def is_accepted(compiled: guard.Compiled, text: str) -> bool:
    """Say whether a text is let through to its end, in steps of a few bytes."""
    matcher = compiled.matcher(byte_vocabulary())
    data = text.encode()
    return all(matcher.accept_bytes(data[at : at + 5]) for at in range(0, len(data), 5)) and matcher.can_stop()


def is_valid(judge: jsonschema_rs.Draft202012Validator, text: str) -> bool:
    """Say whether a text is an instance, as a validator has it."""
    try:
        return judge.is_valid(parse(text))
    except ValueError:  # no JSON, or a key twice
        return False


@pytest.mark.parametrize("make", (SHAPES | OTHER_SIZES).values(), ids=(SHAPES | OTHER_SIZES).keys())
def test_a_hard_shape_lets_its_instances_through_and_nothing_else(make: Callable[[], Shape]) -> None:
    """The engine's verdict on every text is the one written down, which is the validator's."""
    shape = make()
    expected = dict.fromkeys(shape.good, True) | dict.fromkeys(shape.bad, False)
    judge = jsonschema_rs.Draft202012Validator(shape.schema, validate_formats=True)
    assert {text: is_valid(judge, text) for text in expected} == expected
    compiled = guard.compile(shape.schema, **shape.options)
    assert {text: is_accepted(compiled, text) for text in expected} == expected


BYTES = [bytes([byte]) for byte in range(256)]
WHITE = [
    b" " * 128,
    b"\n" + b" " * 127,
    b"\n" * 128,
    b"\t" * 128,
    b'{"a":' + b" " * 128 + b"1}",
    b" " * 127 + b'"',
    b" 1",
]


@pytest.mark.parametrize("whitespace", OPTIONS["whitespace"])
def test_tokens_of_128_bytes_of_white_space_are_told_as_accept_tells_them(whitespace: str) -> None:
    """At every place of a small document."""
    vocabulary = guard.Vocabulary.from_bytes([*BYTES, *WHITE, b""], eos=[256 + len(WHITE)])
    matcher = guard.compile({"type": "object"}, whitespace=whitespace).matcher(vocabulary)
    for byte in b'{"a": [1, {"b": 2}]}':
        expected = [token for token in range(vocabulary.size - 1) if matcher.copy().accept(token)]
        assert allowed(matcher, vocabulary).tolist() == expected + [vocabulary.size - 1] * matcher.can_stop()
        assert matcher.accept(byte) or whitespace == "compact"


def test_a_vocabulary_of_262144_tokens_is_masked_as_accept_has_it() -> None:
    """Every 97th token, and all of those that are allowed where few are, along a text."""
    r = Random(4)
    words = [bytes(r.choices(b'abcdefgh ,:"{}[]0123456789\\\n\xc3\xa9', k=r.randint(2, 9))) for _ in range(40_000)]
    vocabulary = guard.Vocabulary.from_bytes([b"", *vocabulary_of_262k([*BYTES, *words], 262_143)], eos=[0])
    assert vocabulary.size == 262_144
    shape = SHAPES["any_of"]()
    matcher = guard.compile(shape.schema, **shape.options).matcher(vocabulary)
    for at, byte in enumerate(shape.good[0].encode()):
        mask = set(allowed(matcher, vocabulary).tolist())
        looked_at = {*range(at, vocabulary.size, 97), *list(mask)[:500]}
        assert mask & looked_at == {token for token in looked_at if matcher.copy().accept(token)}
        assert matcher.accept_bytes(bytes([byte]))
    assert matcher.can_stop()

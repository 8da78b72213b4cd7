"""Grammars as engines use them, against a matcher that is asked for one mask after the other."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

import guard
from guard.integrations import token_grammar
from guard.integrations.token_grammar import TokenGrammar, check_request, compile_constraint, fill, vocabulary_of
from guard.kernels import allocate_bitmask

SCHEMAS: tuple[dict[str, Any], ...] = (
    {"type": "object", "properties": {"name": {"type": "string", "maxLength": 6}, "ok": {"type": "boolean"}}},
    {"type": "array", "items": {"type": "integer", "multipleOf": 5}, "uniqueItems": True, "maxItems": 4},
    {"enum": ["Alice", "names", None, 12.5]},
    {
        "type": "object",
        "properties": {"total": {"type": "number"}},
        "required": ["total"],
        "additionalProperties": False,
    },
)
VOCABULARY = vocabulary_of(tiny.tokenizer())
SIZE = VOCABULARY.tokens.size


def grammar(schema: Any, limit: int | None = None) -> TokenGrammar:
    return TokenGrammar(guard.compile(schema), VOCABULARY, limit)


def mask(one: TokenGrammar) -> np.ndarray[Any, np.dtype[np.int32]]:
    words = allocate_bitmask(1, SIZE)
    fill([one], words, [0])
    return words[0]


def allowed(words: np.ndarray[Any, np.dtype[np.int32]]) -> list[int]:
    return [token for token in range(SIZE) if words[token // 32] >> token % 32 & 1]


def expected(schema: Any, tokens: list[int], remaining: int | None) -> list[int]:
    """Return what may come behind tokens, by a matcher of its own: the engine's mask, of forced text its own cut."""
    alone = grammar(schema)
    assert all(map(alone.guide.accept, tokens))
    words = allocate_bitmask(1, SIZE)
    alone.guide.matcher.fill_bitmask(words, 0, remaining)
    if not alone.guide.matcher.is_finished():
        alone.guide.narrow(words[0])
    return allowed(words[0])


@given(st.data())
def test_masks_and_drafts_are_those_of_a_matcher_that_goes_step_by_step(data: st.DataObject) -> None:
    schema = data.draw(st.sampled_from(SCHEMAS))
    shortest = guard.compile(schema).matcher(VOCABULARY.tokens).distance()
    limit = data.draw(st.none() | st.integers(shortest, shortest + 20))
    one, before, tokens = grammar(schema, limit), data.draw(st.integers(0, 5)), list[int]()
    if limit is not None:
        one.limit = limit + before  # of a request that has reasoned
    one.settle(before)
    for _ in range(data.draw(st.integers(0, 30))):
        remaining = None if limit is None else limit - len(tokens)
        if one.is_finished:
            break
        choices = allowed(mask(one))
        assert choices == expected(schema, tokens, remaining)
        assert choices
        guessed = data.draw(st.lists(st.sampled_from(choices) | st.integers(-1, SIZE + 5), max_size=4))
        agreed = one.agreed(guessed)
        assert agreed == guessed[: len(agreed)]
        assert mask(one).tolist() == mask(one).tolist()
        assert allowed(mask(one)) == choices, "drafts leave no trace"
        for at in range(len(agreed) + 1):
            here = [*tokens, *agreed[:at]]
            room = None if limit is None else limit - len(here)
            alone = grammar(schema)
            assert all(map(alone.guide.accept, here))
            following = [] if alone.is_finished else expected(schema, here, room)
            is_next = at < len(guessed) and guessed[at] in following
            assert is_next == (at < len(agreed))
        token = data.draw(st.sampled_from(choices))
        assert one.accept([token]) == 1
        tokens.append(token)
    if limit is not None:
        assert len(tokens) <= limit
    back = data.draw(st.integers(0, len(tokens)))
    one.rollback(back)
    left = tokens[: len(tokens) - back]
    room = None if limit is None else limit - len(left)
    if not one.is_finished:
        assert allowed(mask(one)) == expected(schema, left, room)
    one.reset()
    assert allowed(mask(one)) == expected(schema, [], limit)


@given(st.sampled_from(SCHEMAS), st.integers(0, 30), st.randoms())
def test_every_answer_ends_within_its_tokens_and_is_of_the_schema(schema: Any, more: int, random: Any) -> None:
    compiled = guard.compile(schema)
    limit = compiled.matcher(VOCABULARY.tokens).distance() + more
    one, tokens = grammar(schema, limit), list[int]()
    while not one.is_finished:
        tokens.append(random.choice(allowed(mask(one))))
        assert one.accept(tokens[-1:]) == 1
    assert len(tokens) <= limit
    text = b"".join(map(VOCABULARY.tokens.token_bytes, tokens)).decode()
    jsonschema.validate(json.loads(text), schema)


def test_rows_of_several_schemas_are_filled_in_one_call_and_others_stay() -> None:
    words = np.full((6, -(-SIZE // 32)), 77, dtype=np.int32)
    several = [grammar(schema) for schema in SCHEMAS]
    fill(several, words, [5, 0, 2, 3])
    for row, one in zip([5, 0, 2, 3], several, strict=True):
        assert words[row].tolist() == mask(one).tolist()
    assert words[[1, 4]].tolist() == [[77] * words.shape[1]] * 2


#: The least integer that is a multiple of all of these takes most of a second to find, and again for nearly every mask.
SLOW = {
    "type": "array",
    "items": {"type": "integer"},
    "allOf": [{"contains": {"type": "integer", "multipleOf": n}} for n in (7, 11, 13, 17, 19, 23, 29, 31)],
}


@pytest.mark.parametrize("way", ["a limit", "a slow distance", "a slow mask", "an error in a mask"])
def test_what_takes_too_long_or_meets_a_limit_ends_one_request_and_no_other(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on with anything but an end, and accepts nothing: the engine then ends it with an error."""
    seconds, why = (0.02, "above the limit seconds=0.02") if way == "a limit" else (60, "kept other requests waiting")
    one = TokenGrammar(guard.compile(SLOW, limits=guard.Limits(seconds=seconds)), VOCABULARY, 200)
    one.patience = 0.05 if way == "a slow distance" else 60
    if way in ("a slow mask", "an error in a mask"):
        assert one.distance() == 4
        one.patience = 0.05
    if way == "an error in a mask":
        why, original = "out of states", token_grammar.fill_bitmasks

        def raising(matchers: Any, *rest: Any) -> Any:
            if one.matcher in matchers:
                raise guard.SchemaError(guard.Finding("", None, why, ""), limit="states")
            return original(matchers, *rest)

        monkeypatch.setattr(token_grammar, "fill_bitmasks", raising)
    good, words = grammar(SCHEMAS[0]), allocate_bitmask(2, SIZE)
    for _ in range(2):
        fill([one, good], words, [1, 0])
        assert words[0].tolist() == mask(grammar(SCHEMAS[0])).tolist()
        assert why in str(one.failure)
        others = [token for token in range(SIZE) if token not in VOCABULARY.tokens.eos]
        assert allowed(words[1]) == others
        assert [one.accept([token]) for token in (others[0], VOCABULARY.tokens.eos[0])] == [0, 0]
        assert not one.is_finished
        assert one.agreed(others[:2], 4) == []
        one.reset()


def test_forced_text_stands_behind_drafts() -> None:
    one = grammar(SCHEMAS[3], 40)
    run = one.agreed([], 4)
    text = b"".join(map(VOCABULARY.tokens.token_bytes, run))
    assert run
    assert b'{"total": '.startswith(text)
    assert one.agreed(run[:1], 4) == run
    assert one.agreed(run[:1]) == run[:1]
    assert one.guide.tokens == []


def test_an_answer_that_begins_too_late_goes_on_without_a_budget() -> None:
    one = grammar(SCHEMAS[3], 20)
    one.settle(18)
    assert one.remaining() is None
    free = grammar(SCHEMAS[3])
    for _ in range(4):
        choices = allowed(mask(one))
        assert choices == allowed(mask(free))
        one.accept(choices[:1])
        free.accept(choices[:1])


def test_behind_the_end_tokens_are_not_looked_at() -> None:
    one = grammar({"const": 1})
    eos = VOCABULARY.tokens.eos[0]
    one_token = VOCABULARY.tokens.token("1")
    assert one.accept([one_token, eos, 5, 6]) == 2
    assert one.is_finished
    assert one.agreed([eos]) == []
    one.rollback(1)
    assert not one.is_finished


@pytest.mark.parametrize(
    ("kind", "text", "good", "bad"),
    [
        ("json", '{"type": "integer"}', "12", "1.5"),
        ("json_object", "", '{"a": 1}', "[]"),
        ("regex", "[ab]{2}", "ab", "abc"),
        ("choice", '["yes", "no"]', "no", "maybe"),
        ("grammar", 'root ::= "a"+', "aaa", "b"),
        ("structural_tag", '{"type": "structural_tag", "format": {"type": "const_string", "value": "x"}}', "x", "y"),
    ],
)
def test_each_kind_of_constraint(kind: str, text: str, good: str, bad: str) -> None:
    compiled = compile_constraint(kind, text)
    check_request(compiled, VOCABULARY, None)
    assert compiled.matcher(VOCABULARY.tokens).accept_bytes(good.encode())
    matcher = compiled.matcher(VOCABULARY.tokens)
    assert not (matcher.accept_bytes(bad.encode()) and matcher.can_stop())
    assert compile_constraint(kind, text) is compile_constraint(kind, text)


def test_white_space_can_be_left_out() -> None:
    matcher = compile_constraint("json", '{"type": "array", "items": {"const": 1}}', is_compact=True).matcher(
        VOCABULARY.tokens
    )
    assert matcher.accept_bytes(b"[1,1]")


def test_what_can_not_be_met_is_refused() -> None:
    with pytest.raises(guard.SchemaError, match="nothing can meet it"):
        check_request(compile_constraint("json", "false"), VOCABULARY, None)
    with pytest.raises(guard.Truncated, match="max_tokens=3"):
        check_request(compile_constraint("json", '{"type": "string", "minLength": 40}'), VOCABULARY, 3)
    with pytest.raises(guard.SchemaError, match="/pattern"):
        compile_constraint("json", '{"type": "string", "pattern": "("}')
    with pytest.raises(guard.SchemaError):
        compile_constraint("grammar", 'root ::= "a" root "b" | "c"')


@pytest.mark.parametrize("text", ["", "[", "yes", "[" * 100_000])
def test_a_choice_that_is_no_json_is_refused(text: str) -> None:
    """One that nests without end was a RecursionError, which engines do not take for a refusal."""
    with pytest.raises(guard.SchemaError, match="/choice: it is not JSON"):
        compile_constraint("choice", text)


def test_a_vocabulary_is_read_once_for_each_tokenizer() -> None:
    assert vocabulary_of(tiny.tokenizer()) is VOCABULARY

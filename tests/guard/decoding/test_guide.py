"""Forced text is written in the tokenizer's own tokens, in Guard's own loop and in anyone's, and fits every budget."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
import pytest
import shapes
import tiny
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, LlamaForCausalLM

import guard
from guard import Vocabulary, models
from guard.decoding.forced_tokens import forcing_of
from guard.decoding.guide import Guide
from guard.decoding.logits_processor import LogitsProcessor
from guard.decoding.mask_buffer import allowed_tokens
from guard.decoding.torch_loop import Decoding
from guard.kernels.bitmask import allocate_bitmask

PROMPT = [1, 40, 41, 42, 43]
KINDS = ("tiny", "words")  #: A tokenizer that cuts text into pieces, and one of SentencePiece's kind.
TEXTS = st.text(st.sampled_from("aZ s'é文😀1 .-\"\\_{"), max_size=8) | st.sampled_from(["name", "total", "it'll", " a"])
VALUES = st.recursive(
    TEXTS | st.booleans() | st.none(),  # numbers, and objects of several keys, may be written in several ways
    lambda values: st.lists(values, max_size=4) | st.dictionaries(TEXTS, values, max_size=1),
    max_leaves=8,
)


@functools.cache
def _made(kind: str) -> tuple[Any, Vocabulary]:
    """Give a tokenizer and its vocabulary."""
    if kind == "tiny":
        return tiny.tokenizer(), tiny.vocabulary()
    if kind == "words":
        return tiny.words_tokenizer(), Vocabulary.from_tokenizer(tiny.words_tokenizer())
    tokenizer = AutoTokenizer.from_pretrained(models.pull("smollm2"), local_files_only=True)
    return tokenizer, Vocabulary.from_tokenizer(tokenizer)


@functools.cache
def _model(seed: int) -> LlamaForCausalLM:
    """Make a model whose logits depend on no rounding: one pass over two tokens is as good as two."""
    return tiny.llama(seed).double()


def _guide(kind: str, schema: Any) -> Guide:
    tokenizer, vocabulary = _made(kind)
    return Guide(guard.compile(schema).matcher(vocabulary), vocabulary, forcing_of(tokenizer, vocabulary))


def _allowed(guide: Guide, vocabulary: Vocabulary, remaining: int | None = None) -> tuple[Any, list[int]]:
    mask = allocate_bitmask(1, vocabulary.size)
    guide.matcher.fill_bitmask(mask, remaining=remaining)
    return mask[0], allowed_tokens(mask[0], None)


@pytest.mark.parametrize("kind", KINDS)
@given(schema=shapes.schemas(), seed=st.integers(0, 7), slack=st.sampled_from([0, 1, 2, 5, 20, 80]))
def test_a_loop_that_asks_for_every_token_writes_those_that_guards_own_appends(
    kind: str, schema: Any, seed: int, slack: int
) -> None:
    """transformers' greedy loop with the processor, beside the loop that skips passes."""
    tokenizer, vocabulary = _made(kind)
    compiled = guard.compile(schema)
    least = compiled.matcher(vocabulary).distance()
    assume(0 <= least < 200)
    budget = least + slack
    own = Decoding(
        vocabulary, compiled.matcher(vocabulary), max_tokens=budget, forcing=forcing_of(tokenizer, vocabulary)
    )
    ids = torch.tensor([PROMPT])
    own(_model(seed), ids)
    out = _model(seed).generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        logits_processor=[LogitsProcessor(compiled, vocabulary, max_tokens=budget, tokenizer=tokenizer)],
        max_new_tokens=budget,
        do_sample=False,
        eos_token_id=list(vocabulary.eos),
        pad_token_id=vocabulary.eos[0],
    )
    assert out[0, len(PROMPT) :].tolist() == own.tokens


@pytest.mark.parametrize("kind", ["tiny", "smollm2"])
@given(value=VALUES)
def test_what_is_all_forced_is_written_as_the_tokenizer_encodes_it(kind: str, value: Any) -> None:
    """Every mask leaves one token; together they are the encoding, then the tokenizer's own end."""
    tokenizer, vocabulary = _made(kind)
    expected = tokenizer.encode(json.dumps(value, ensure_ascii=False), add_special_tokens=False)
    processor = LogitsProcessor(guard.compile({"const": value}), vocabulary, tokenizer=tokenizer)
    written: list[int] = []
    while not written or written[-1] not in vocabulary.eos:
        masked = processor(torch.tensor([PROMPT + written]), torch.zeros(1, vocabulary.size))
        (token,) = masked[0].isfinite().nonzero().flatten().tolist()
        written.append(token)
    assert written == [*expected, vocabulary.eos[0]]


def test_a_key_is_cut_as_the_tokenizer_cuts_it() -> None:
    """The model is left no `{`; the quote that opens the string is its own, since it may take it with what follows."""
    tokenizer, vocabulary = _made("smollm2")
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}},
        "required": ["name"],
        "additionalProperties": False,
    }
    processor = LogitsProcessor(guard.compile(schema), vocabulary, tokenizer=tokenizer)
    written: list[int] = []
    choices: list[int] = []
    while len(choices) < 2:
        written += choices
        masked = processor(torch.tensor([PROMPT + written]), torch.zeros(1, vocabulary.size))
        choices = masked[0].isfinite().nonzero().flatten().tolist()
    assert [vocabulary.token_bytes(token) for token in written] == [b'{"', b"name", b'":']
    assert written == tokenizer.encode('{"name":')
    assert {vocabulary.token_bytes(token)[:2] for token in choices} == {b" ", b' "'}


@settings(max_examples=200)
@pytest.mark.parametrize("kind", KINDS)
@given(schema=shapes.schemas(), data=st.data())
def test_what_is_forced_is_allowed_under_the_least_budget(kind: str, schema: Any, data: st.DataObject) -> None:
    """Wherever a text is cut so far; and what is taken from a mask leaves some of it."""
    vocabulary = _made(kind)[1]
    guide = _guide(kind, schema)
    assume(guide.matcher.distance() >= 0)
    for _ in range(data.draw(st.integers(1, 12))):
        if guide.matcher.is_finished():
            break
        remaining = guide.matcher.distance()
        words, allowed = _allowed(guide, vocabulary, remaining)
        forced = guide.forced()
        assert forced is None or forced in allowed
        left = words.copy()
        only = guide.narrow(left)
        kept = allowed_tokens(left, None)
        assert kept
        assert set(kept) <= set(allowed)
        assert (only is None) == (len(kept) > 1)
        assert only == (forced if forced is not None else only)
        assert guide.accept(data.draw(st.sampled_from(allowed)))
        assert guide.matcher.distance() < remaining or guide.matcher.is_finished()


@settings(max_examples=200)
@pytest.mark.parametrize("kind", KINDS)
@given(schema=shapes.schemas(), data=st.data())
def test_what_is_forced_depends_on_the_tokens_alone(kind: str, schema: Any, data: st.DataObject) -> None:
    """A guide that went back and on, as beams and drafts do, forces what a new one does behind the same tokens."""
    vocabulary = _made(kind)[1]
    guide = _guide(kind, schema)
    assume(guide.matcher.distance() >= 0)
    for _ in range(data.draw(st.integers(1, 6))):
        guide.rollback(data.draw(st.integers(0, len(guide.tokens))))
        for _ in range(data.draw(st.integers(1, 6))):
            if guide.matcher.is_finished():
                break
            forced = guide.forced()
            follows = forced is not None and data.draw(st.booleans())
            allowed = _allowed(guide, vocabulary)[1]
            assert guide.accept(forced if follows and forced is not None else data.draw(st.sampled_from(allowed)))
        fresh = _guide(kind, schema)
        assert all(fresh.accept(token) for token in guide.tokens)
        assert guide.forced() == fresh.forced()


def test_a_token_that_is_not_allowed_changes_nothing() -> None:
    """It is refused, and what was forced still is."""
    guide = _guide("tiny", {"const": {"name": 1}})
    forced = guide.forced()
    assert forced is not None
    assert not guide.accept(tiny.tokenizer().convert_tokens_to_ids("["))
    assert (guide.forced(), guide.tokens) == (forced, [])


def test_an_end_is_certain_only_where_nothing_else_may_follow() -> None:
    """Behind 1 the value may end or go on: a tokenizer might have a token for what it goes on to."""
    tokenizer, vocabulary = _made("smollm2")
    assert len(vocabulary.eos) == 1
    assert _guide("smollm2", {"type": "integer", "enum": [1, 10, 12, 100]}).forced() is None
    assert _guide("smollm2", {"type": "integer", "enum": [1]}).forced() == tokenizer.convert_tokens_to_ids("1")


@pytest.mark.parametrize(("kind", "leads"), [("tiny", False), ("words", True)])
def test_a_value_begins_with_a_space_where_the_tokenizer_begins_with_one(kind: str, leads: bool) -> None:
    """Masks let one through for those that do."""
    vocabulary = _made(kind)[1]
    guide = _guide(kind, {"type": ["string", "null"]})
    words, allowed = _allowed(guide, vocabulary)
    assert {vocabulary.token_bytes(token)[:1] for token in allowed} == {b" ", b'"', b"n"}
    assert guide.narrow(words) is None
    left = {vocabulary.token_bytes(token)[:1] for token in allowed_tokens(words, None)}
    assert left == ({b" ", b'"', b"n"} if leads else {b'"', b"n"})


def test_the_end_is_the_tokenizers_own() -> None:
    """Of several tokens that end a sequence the first of the vocabulary is left."""
    vocabulary = tiny.vocabulary()
    assert vocabulary.eos == (2, 0)
    guide = _guide("tiny", {"const": True})
    assert all(guide.accept(token) for token in tiny.tokenizer().encode("true"))
    words, allowed = _allowed(guide, vocabulary)
    assert allowed == [0, 2]
    assert guide.narrow(words) == 2
    assert np.flatnonzero(words).tolist() == [0]
    assert words[0] == 4

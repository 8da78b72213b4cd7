"""Models that decode here: what they tell of their tokens, pieces of text, budgets of time and tokens, and thinking."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import pytest
import tiny
import torch

import guard
from guard.decoding.completion import CHOICE, Completion
from guard.decoding.confidence import measured
from guard.decoding.mask_buffer import MaskBuffer
from guard.decoding.reasoning import Reasoning
from guard.errors import BudgetExceeded, Truncated, Unsupported
from guard.models.base import Reply, Request, Sampling, Thought
from guard.models.local.transformers import TransformersModel

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "kind": {"enum": ["invoice", "receipt", "note"]},
        "total": {"type": "integer", "minimum": 0, "maximum": 999},
    },
    "required": ["name", "kind", "total"],
    "additionalProperties": False,
}
MESSAGES = ({"role": "user", "content": "Who is it?"},)


@pytest.fixture(scope="module")
def model() -> TransformersModel:
    """Give a model that is not sure of anything."""
    return TransformersModel("tiny", tiny.llama(scale=4.0), tiny.tokenizer(), share=False)


def _request(**changes: Any) -> Request:
    return dataclasses.replace(Request(MESSAGES, guard.compile(PERSON), max_tokens=100), **changes)


class _Watched:
    """Counts a model's forward passes."""

    def __init__(self, model: TransformersModel) -> None:
        self.passes = 0
        self._hook = model.model.register_forward_hook(self._count)

    def _count(self, *_: Any) -> None:
        self.passes += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()


# -- What the tokens tell. ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_tokens_tell_what_the_model_thought_of_them(model: TransformersModel, temperature: float) -> None:
    """Everything is computed anew here from one pass over the whole text, with a softmax and a mask written out."""
    request = _request(temperature=temperature, seed=4)
    prompt = model._tokenize(model._render(MESSAGES, thinks=False))
    ids: list[int] = []
    accept = Completion._append

    def watch(self: Completion, token: int, **kwargs: Any) -> None:
        ids.append(token)
        accept(self, token, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Completion, "_append", watch)
        reply = model.generate(request)
    assert "".join(token.text for token in reply.tokens) == reply.text
    assert len(reply.tokens) == len(ids) == reply.completion_tokens
    assert sum(token.forced for token in reply.tokens) == reply.forced_tokens
    with torch.no_grad():
        whole = model.model(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 :].double()
    assert request.compiled is not None
    matcher = request.compiled.matcher(model.vocabulary)
    words = np.zeros((1, -(-model.vocabulary.size // 32)), np.int32)
    margins = 0
    for position, (token, chosen) in enumerate(zip(reply.tokens, ids, strict=True)):
        matcher.fill_bitmask(words, remaining=100 - position)
        allowed = [t for t in range(model.vocabulary.size) if words[0, t // 32] >> (t % 32) & 1]
        if position == 0:
            allowed = [t for t in allowed if not model.vocabulary.token_bytes(t).startswith(b" ")]
        assert matcher.accept(chosen)
        if token.forced:
            assert (token.logprob, token.removed, token.margin) == (0.0, 0.0, None)
            continue
        probabilities = whole[position].softmax(dim=0)
        mass = float(probabilities[allowed].sum())
        assert token.removed == pytest.approx(1 - mass, abs=1e-4)
        assert token.logprob == pytest.approx(math.log(float(probabilities[chosen]) / mass), abs=1e-3)
        others = [float(whole[position, t]) for t in allowed if t != chosen]
        if len(allowed) > CHOICE:
            assert token.margin is None
        else:
            margins += 1
            assert token.margin == pytest.approx(float(whole[position, chosen]) - max(others), abs=1e-3)
    assert margins > 1
    found = measured(reply.tokens)
    assert found is not None
    assert found.logprob is not None
    assert found.logprob < 0
    assert model.is_masked
    assert (reply.mode, reply.cost) == ("masks", 0.0)


def test_without_masks_nothing_is_removed(model: TransformersModel) -> None:
    """Plain text has log-probabilities, and no more."""
    reply = model.generate(_request(compiled=None, max_tokens=6))
    assert [(token.removed, token.margin, token.forced) for token in reply.tokens] == [(0.0, None, False)] * 6
    assert all(token.logprob < 0 for token in reply.tokens)
    assert reply.mode == "prompt"


# -- Piece by piece. ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compiled", [True, False])
def test_the_pieces_are_the_text(model: TransformersModel, compiled: bool) -> None:
    """And what comes last is the reply that generate gives."""
    request = _request(temperature=1.0, seed=3, **({} if compiled else {"compiled": None}))
    *pieces, reply = model.stream(request)
    assert isinstance(reply, Reply)
    assert "".join(map(str, pieces)) == reply.text
    assert len(pieces) > 5
    alone = model.generate(request)
    assert dataclasses.replace(reply, seconds=0, mask_seconds=0) == dataclasses.replace(
        alone, seconds=0, mask_seconds=0
    )


def test_a_piece_holds_whole_characters() -> None:
    """The three tokens of a character come as one piece; a cut off one becomes a replacement character at the end."""
    vocabulary = tiny.vocabulary()
    completion = Completion(vocabulary, None, max_tokens=10)
    byte = {vocabulary.token_bytes(token): token for token in range(vocabulary.size)}
    pieces = []
    for part in (b"\xe6", b"\x96", b"\x87", b"a", b"\xc3"):
        assert completion.advance() is not None
        completion.take(byte[part])
        pieces.append(completion.fresh())
    completion.end()
    assert [*pieces, completion.fresh()] == ["", "", "文", "a", "", "\ufffd"]
    assert completion.answer == "文a\ufffd"
    assert [token.text for token in completion.details] == ["", "", "文", "a", ""]


def test_the_space_that_a_tokenizer_puts_in_front_is_in_no_piece() -> None:
    """Alone or before text."""
    vocabulary = tiny.vocabulary()
    byte = {vocabulary.token_bytes(token): token for token in range(vocabulary.size)}
    for tokens in ([b" ", b"a"], [b" "], [b" ", b" ", b"a"]):
        completion = Completion(vocabulary, None, max_tokens=10)
        pieces = []
        for token in tokens:
            completion.advance()
            completion.take(byte[token])
            pieces.append(completion.fresh())
        completion.end()
        assert "".join([*pieces, completion.fresh()]) == completion.answer == b"".join(tokens).decode()[1:]


def test_a_closed_stream_runs_no_further_pass(model: TransformersModel) -> None:
    """Whoever stops listening stops the model."""
    with _Watched(model) as watched:
        stream = model.stream(_request())
        while watched.passes < 2:
            next(stream)
        before = watched.passes
        stream.close()
        assert watched.passes == before == 2


def test_what_was_decoded_before_a_stream_was_closed_is_told_to_the_token(model: TransformersModel) -> None:
    """So is what was decoded when the seconds were over, or when a pass failed; nothing is where no pass was run."""
    whole = model.generate(_request())
    told: list[Reply] = []
    with _Watched(model) as watched:
        stream = model.stream(_request(told=told.append))
        while watched.passes < 3:
            next(stream)
        stream.close()
    (cut,) = told
    assert (cut.finish, cut.prompt_tokens, cut.is_estimate) == ("cut", whole.prompt_tokens, False)
    assert cut.completion_tokens == len(cut.tokens) < whole.completion_tokens
    assert cut.tokens == whole.tokens[: len(cut.tokens)]
    assert whole.text.startswith(cut.text)
    with pytest.raises(BudgetExceeded):
        model.generate(_request(seconds=1e-9, told=told.append))
    assert len(told) == 1


# -- Budgets. ----------------------------------------------------------------------------------------------------------


def test_seconds_end_a_call_before_the_next_pass(model: TransformersModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names them, and how far the answer got."""
    told: list[Reply] = []
    with _Watched(model) as watched:
        monkeypatch.setattr(
            "guard.models.local.local_model.time.perf_counter", lambda: float(watched.passes)
        )  # a second a pass
        with pytest.raises(BudgetExceeded, match=r"seconds=2\.0 were over when tiny had written \d+ tokens; raise"):
            model.generate(_request(seconds=2.0, told=told.append))
        assert watched.passes == 2
    assert [len(reply.tokens) for reply in told] == [told[0].completion_tokens]


def test_the_budget_of_all_tokens_bounds_the_answer(model: TransformersModel) -> None:
    """From the least that can hold an answer on, every one is valid; below, the model is not asked."""
    request = _request()
    assert request.compiled is not None
    least = request.compiled.matcher(model.vocabulary).distance()
    prompt = model.generate(request).prompt_tokens
    for room in (least, least + 1, least + 5):
        reply = model.generate(_request(total_tokens=prompt + room, temperature=2.0))
        assert reply.prompt_tokens + reply.completion_tokens <= prompt + room
        assert set(json.loads(reply.text)) == set(PERSON["required"])
    with _Watched(model) as watched:
        with pytest.raises(
            BudgetExceeded, match=rf"total_tokens={prompt + least - 1} can't hold the prompt's {prompt}"
        ):
            model.generate(_request(total_tokens=prompt + least - 1))
        assert watched.passes == 0
    plain = model.generate(_request(compiled=None, total_tokens=prompt + 3))
    assert plain.completion_tokens == 3


# -- Thinking. ---------------------------------------------------------------------------------------------------------


def _reasoner(wish: str | None = None, template: str = tiny.REASONING, **tags: Any) -> TransformersModel:
    """A model that thinks; it wishes to write one token always, or anything."""
    tokenizer, llama = tiny.reasoning_tokenizer(template, **tags), tiny.llama()
    if wish is not None:
        bias = torch.zeros(llama.config.vocab_size)
        bias[tokenizer.convert_tokens_to_ids(wish)] = 1e4
        llama.lm_head.bias = torch.nn.Parameter(bias, requires_grad=False)
    return TransformersModel("tiny", llama, tokenizer, share=False)


@pytest.mark.parametrize("budget", [20, 21, 50])
@pytest.mark.parametrize("tags", [("<think>", "</think>"), ()])
def test_thinking_ends_with_its_budget_and_the_value_is_whole(budget: int, tags: tuple[str, ...]) -> None:
    """A model that does not come to an end is closed, whether its tags are tokens or text."""
    model = _reasoner(tags=tags)
    reply = model.generate(_request(thinking=budget, max_tokens=60))
    assert reply.thinking_tokens <= budget
    assert model._tokenize(reply.thinking)
    assert reply.completion_tokens <= budget + 60
    assert "think>" not in reply.thinking + reply.text
    assert set(json.loads(reply.text)) == set(PERSON["required"])
    assert "".join(token.text for token in reply.tokens) == reply.text
    assert len(reply.tokens) == reply.completion_tokens - reply.thinking_tokens


def test_thinking_that_ends_by_itself_is_followed_by_what_the_template_writes() -> None:
    """The model closes at once: its tag, and the two lines behind it."""
    model = _reasoner("</think>")
    reply = model.generate(_request(thinking=50))
    assert reply.thinking == ""
    assert reply.thinking_tokens == 1 + len(model._tokenize("\n\n"))
    assert set(json.loads(reply.text)) == set(PERSON["required"])


def test_an_end_of_sequence_ends_the_thinking_and_not_the_answer() -> None:
    """It is not written either."""
    model = _reasoner("<|im_end|>")
    reply = model.generate(_request(thinking=50))
    assert reply.thinking_tokens == len(model._tokenize("\n</think>\n\n"))
    assert (reply.thinking, reply.finish) == ("", "stop")
    assert set(json.loads(reply.text)) == set(PERSON["required"])


@pytest.mark.parametrize("template", [tiny.REASONING, tiny.OPEN])
@pytest.mark.parametrize("budget", [0, 1])
def test_a_model_that_must_not_think_finds_the_place_closed(template: str, budget: int) -> None:
    """Also where its template opens it always, and where the budget holds no thought."""
    model = _reasoner(template=template)
    prompts: list[list[int]] = []
    hook = model.model.register_forward_hook(
        lambda _m, _a, kwargs, _o: prompts.append(kwargs["input_ids"][0].tolist()), with_kwargs=True
    )
    reply = model.generate(_request(thinking=budget))
    hook.remove()
    assert (reply.thinking, reply.thinking_tokens) == ("", 0)
    prompt = model.tokenizer.decode(prompts[0][: reply.prompt_tokens])
    assert prompt.endswith("assistant\n<think>\n\n</think>\n\n")


@pytest.mark.parametrize("template", [tiny.REASONING, tiny.OPEN])
def test_a_model_that_may_think_finds_the_place_open_once(template: str) -> None:
    """Whether its template opens it or leaves that to the model."""
    model = _reasoner(template=template)
    text = model._render(MESSAGES, thinks=True)
    assert model._reasoning is not None
    assert model._reasoning.opened(text).endswith("assistant\n<think>\n")


def test_a_model_without_tags_says_that_it_does_not_think(model: TransformersModel) -> None:
    with pytest.raises(Unsupported, match="does not think, as thinking=50 asks it to; leave it out"):
        model.generate(_request(thinking=50))


def test_the_closing_tag_may_come_in_pieces_and_with_more_behind_it() -> None:
    """A tag that is text is found across tokens, and what the model wrote behind it is not written twice."""
    vocabulary = tiny.vocabulary()
    encode = tiny.tokenizer().encode
    reasoning = Reasoning(("<think>", "</think>"), vocabulary, encode)
    assert reasoning.end is None
    compiled = guard.compile({"const": 5})
    thinking = reasoning.thinking(60)
    completion = Completion(vocabulary, compiled.matcher(vocabulary), max_tokens=10, thinking=thinking)
    completion.use(MaskBuffer(1, vocabulary.size))
    wanted = encode("so\n</think>")
    for token in wanted:
        assert completion.advance() is not None
        assert completion.mask is None
        completion.take(token)
    completion.advance()
    assert completion.thought == "so"
    assert completion.thinking_tokens == len(wanted) + len(encode("\n\n"))
    assert completion.written[: completion.thinking_tokens] == [*wanted, *encode("\n\n")]


def test_thinking_leaves_room_for_the_value(model: TransformersModel) -> None:
    """The budget of all tokens is kept, and is an error where it can't be."""
    model = _reasoner()
    request = _request(thinking=100)
    assert request.compiled is not None
    least = request.compiled.matcher(model.vocabulary).distance()
    prompt = len(model._tokenize(model._render(MESSAGES, thinks=True) + "<think>\n"))
    reply = model.generate(_request(thinking=100, total_tokens=prompt + least + 30))
    assert 0 < reply.thinking_tokens <= 30
    assert reply.prompt_tokens + reply.completion_tokens <= prompt + least + 30
    assert set(json.loads(reply.text)) == set(PERSON["required"])
    with pytest.raises(Truncated, match=r"a prompt of \d+ tokens, thinking=500 and max_tokens=100 exceed the 512"):
        model.generate(_request(thinking=500))


def test_thinking_and_value_share_a_limit_that_is_told() -> None:
    """What thinking leaves is the value's, down to the shortest."""
    for output in (60, 61, 100):
        reply = _reasoner().generate(_request(thinking=50, max_tokens=100, output_tokens=output))
        assert 0 < reply.thinking_tokens <= 50
        assert reply.completion_tokens <= output
        assert set(json.loads(reply.text)) == set(PERSON["required"])
    fits = {"thinking": 500, "output_tokens": 200}  # in the context, where both limits alone would not
    assert _reasoner().generate(_request(**fits)).completion_tokens <= 200


def test_a_bias_of_the_first_token_is_not_one_of_thinking() -> None:
    """A call that is wished for, or not, changes the value's first token alone."""
    model = _reasoner()
    plain, *others = [
        model.generate(
            _request(compiled=None, thinking=30, sampling=Sampling(decision=(7,), decision_bias=bias), max_tokens=9)
        )
        for bias in (0.0, 1e4, -1e4)
    ]
    assert plain.thinking
    assert {other.thinking for other in others} == {plain.thinking}
    assert others[0].tokens[0] != plain.tokens[0]


def test_pieces_hold_thoughts_where_they_are_asked_for() -> None:
    *pieces, reply = _reasoner().stream(_request(thinking=40, thinks_aloud=True))
    assert isinstance(reply, Reply)
    kinds = [isinstance(piece, Thought) for piece in pieces]
    assert kinds == sorted(kinds, reverse=True)
    assert kinds.count(True) > 1
    assert "".join(str(piece) for piece in pieces if isinstance(piece, Thought)) == reply.thinking
    assert "".join(str(piece) for piece in pieces if not isinstance(piece, Thought)) == reply.text


def test_pieces_hold_no_thought() -> None:
    """Only the value is streamed."""
    stream: Iterator[str | Reply] = _reasoner().stream(_request(thinking=40))
    *pieces, reply = stream
    assert isinstance(reply, Reply)
    assert reply.thinking
    assert "".join(map(str, pieces)) == reply.text

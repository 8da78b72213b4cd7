"""The LogitsProcessor keeps every row of anyone's batch valid, whatever the loop does around it."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
import tiny
import torch

import guard
from guard import Vocabulary
from guard.decoding.logits_processor import LogitsProcessor
from guard.errors import Truncated

NAME = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 6}},
    "required": ["name"],
    "additionalProperties": False,
}
NUMBERS = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 99}, "minItems": 1, "maxItems": 3}
KIND = {"enum": ["invoice", "receipt", None]}
SCHEMAS = (NAME, NUMBERS, KIND)
PAD, EOS = 2, [2, 0]


def _batch(*prompts: list[int]) -> dict[str, torch.Tensor]:
    """Pad prompts on the left."""
    width = max(map(len, prompts))
    ids = [[PAD] * (width - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


BATCH = _batch([1, 40, 41, 42, 43], [1, 44], [1, 45, 46])


def _texts(out: torch.Tensor, prompt: int) -> list[str]:
    """Decode the completions up to their end, which each must reach."""
    texts = []
    for row in out[:, prompt:].tolist():
        end = min(row.index(token) for token in EOS if token in row)
        assert set(row[end:]) <= {*EOS, PAD}
        texts.append(b"".join(map(tiny.vocabulary().token_bytes, row[:end])).decode())
    return texts


def _check(texts: list[str], schemas: tuple[Any, ...]) -> None:
    for text, schema in zip(texts, schemas, strict=True):
        jsonschema.validate(json.loads(text), schema)


def _processor(*schemas: Any, max_tokens: int | None = 60, cuts: bool = False) -> LogitsProcessor:
    """Make one; `cuts` says whether forced text is cut as the tokenizer cuts it."""
    return LogitsProcessor(
        [guard.compile(schema) for schema in schemas],
        tiny.vocabulary(),
        max_tokens=max_tokens,
        tokenizer=tiny.tokenizer() if cuts else None,
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("options", [{}, {"do_sample": True}, {"num_beams": 3}, {"do_sample": True, "num_beams": 2}])
@pytest.mark.parametrize("cuts", [False, True])
def test_a_padded_batch_of_several_schemas_is_valid_row_by_row(seed: int, options: dict[str, Any], cuts: bool) -> None:
    """Greedy, sampled and beam search; the rows end at different times, the logits are wider than the vocabulary."""
    torch.manual_seed(seed)
    options = {"max_new_tokens": 60, "eos_token_id": EOS, "pad_token_id": PAD, **options}
    out = tiny.llama(seed).generate(**BATCH, logits_processor=[_processor(*SCHEMAS, cuts=cuts)], **options)
    _check(_texts(out, BATCH["input_ids"].shape[1]), SCHEMAS)


@pytest.mark.parametrize("cuts", [False, True])
def test_beams_may_be_more_than_there_are_choices(cuts: bool) -> None:
    """Those of no weight go on with what no mask allows; the best is valid."""
    for seed in range(5):
        torch.manual_seed(seed)
        out = tiny.llama(seed).generate(
            **BATCH,
            logits_processor=[_processor(*SCHEMAS, cuts=cuts)],
            max_new_tokens=60,
            eos_token_id=EOS,
            pad_token_id=PAD,
            do_sample=True,
            num_beams=6,
        )
        _check(_texts(out, BATCH["input_ids"].shape[1]), SCHEMAS)


def test_a_row_that_left_its_schema_beside_one_that_did_not_can_not_go_on() -> None:
    """As of two beams; a row alone, or both of them, is an error."""
    processor = _processor(KIND)
    prompt = torch.tensor([[1, 2, 3], [1, 2, 3]])
    processor(prompt, torch.zeros(2, 384))
    quote, brace = tiny.tokenizer().convert_tokens_to_ids(['"', "{"])
    masked = processor(torch.cat([prompt, torch.tensor([[quote], [brace]])], dim=1), torch.zeros(2, 384))
    assert masked.isfinite().any(dim=1).tolist() == [True, False]
    with pytest.raises(ValueError, match=rf"row 0 was continued with token {brace}, which its schema does not allow"):
        processor(torch.cat([prompt, torch.tensor([[brace], [brace]])], dim=1), torch.zeros(2, 384))


def test_every_schema_serves_the_sequences_of_its_prompt() -> None:
    """num_return_sequences repeats each prompt in place."""
    out = tiny.llama().generate(
        **BATCH,
        logits_processor=[_processor(*SCHEMAS)],
        max_new_tokens=60,
        eos_token_id=EOS,
        pad_token_id=PAD,
        do_sample=True,
        num_return_sequences=2,
    )
    _check(_texts(out, BATCH["input_ids"].shape[1]), tuple(schema for schema in SCHEMAS for _ in range(2)))


@pytest.mark.parametrize("cuts", [False, True])
def test_one_row_is_what_it_is_alone(cuts: bool) -> None:
    """A batch changes nothing: neither padding nor the other rows."""
    model = tiny.llama(1)
    options = {"max_new_tokens": 60, "eos_token_id": EOS, "pad_token_id": PAD, "do_sample": False}
    together = model.generate(**BATCH, logits_processor=[_processor(*SCHEMAS, cuts=cuts)], **options)
    texts = _texts(together, BATCH["input_ids"].shape[1])
    for index, schema in enumerate(SCHEMAS):
        ids = BATCH["input_ids"][index][BATCH["attention_mask"][index].bool()][None]
        alone = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            logits_processor=[_processor(schema, cuts=cuts)],
            **options,
        )
        assert _texts(alone, ids.shape[1]) == [texts[index]]


def test_a_processor_is_used_again() -> None:
    """A second call starts anew: with the same prompt, another one, and one that begins with what was written."""
    model, processor = tiny.llama(2), _processor(NUMBERS)
    prompt = torch.tensor([[1, 40, 41]])
    for _ in range(3):
        out = model.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            logits_processor=[processor],
            max_new_tokens=60,
            eos_token_id=EOS,
            pad_token_id=PAD,
        )
        _check(_texts(out, prompt.shape[1]), (NUMBERS,))
        prompt = torch.cat([out, torch.tensor([[1, 50, 51]])], dim=1)
    assert processor.mask_seconds > 0


def test_a_prompt_that_goes_on_from_the_last_one_starts_anew_after_reset() -> None:
    model, processor = tiny.llama(2), _processor(NUMBERS)
    bracket = tiny.tokenizer().convert_tokens_to_ids("[")
    for prompt in ([1, 40], [1, 40, bracket], [1, 40, bracket, 41]):
        batch = _batch(prompt)
        out = model.generate(
            **batch, logits_processor=[processor], max_new_tokens=60, eos_token_id=EOS, pad_token_id=PAD
        )
        _check(_texts(out, len(prompt)), (NUMBERS,))
        processor.reset()


@pytest.mark.parametrize("cuts", [False, True])
def test_assisted_decoding_goes_several_tokens_at_a_time(cuts: bool) -> None:
    """The matcher follows a loop that proposes tokens, keeps some and drops the rest."""
    prompt = torch.tensor([[1, 40, 41, 42]])
    out = tiny.llama(0).generate(
        input_ids=prompt,
        attention_mask=torch.ones_like(prompt),
        logits_processor=[_processor(NAME, cuts=cuts)],
        max_new_tokens=60,
        eos_token_id=EOS,
        pad_token_id=PAD,
        prompt_lookup_num_tokens=3,
    )
    _check(_texts(out, prompt.shape[1]), (NAME,))


def test_the_scores_are_left_as_they_were() -> None:
    """Generate may keep the raw logits; the masked ones are a copy, -inf beyond the vocabulary."""
    scores = torch.zeros(1, 384)
    masked = _processor(KIND)(torch.tensor([[1, 2, 3]]), scores)
    assert not scores.any()
    allowed = masked[0].isfinite().nonzero().flatten().tolist()
    assert all(b' "invoice"'.startswith(b" ") and token < tiny.vocabulary().size for token in allowed)
    assert {tiny.vocabulary().token_bytes(token)[:1] for token in allowed} == {b" ", b'"', b"n"}


def test_a_budget_below_the_least_is_an_error_before_the_first_token() -> None:
    """As in Guard's own loop."""
    with pytest.raises(Truncated, match="max_tokens=3 can't hold the shortest answer"):
        _processor(NAME, max_tokens=3)(torch.tensor([[1, 2, 3]]), torch.zeros(1, 384))


def test_a_token_that_the_mask_ruled_out_is_an_error() -> None:
    """Another processor had the last word: the row is named, nothing goes on in silence."""
    processor = _processor(KIND)
    processor(torch.tensor([[1, 2, 3]]), torch.zeros(1, 384))
    brace = tiny.tokenizer().convert_tokens_to_ids("{")
    with pytest.raises(ValueError, match=rf"row 0 was continued with token {brace}, which its schema does not allow"):
        processor(torch.tensor([[1, 2, 3, brace]]), torch.zeros(1, 384))


@pytest.mark.parametrize(
    ("schemas", "max_tokens", "message"),
    [((), 5, "at least one schema"), ((KIND,), 0, "max_tokens=0 must be at least 1")],
)
def test_a_caller_s_mistake_is_named(schemas: tuple[Any, ...], max_tokens: int, message: str) -> None:
    """Before any model runs."""
    with pytest.raises(ValueError, match=message):
        _processor(*schemas, max_tokens=max_tokens)


def test_a_tokenizer_that_is_not_the_vocabulary_s_is_named() -> None:
    """Its tokens would spell other text, or none."""
    compiled = guard.compile(KIND)
    for tokenizer, vocabulary in (
        (tiny.words_tokenizer(), tiny.vocabulary()),
        (tiny.tokenizer(), Vocabulary.from_tokenizer(tiny.words_tokenizer())),
    ):
        with pytest.raises(ValueError, match=r"tokenizer=\w+ must be the one that the vocabulary was read from"):
            LogitsProcessor(compiled, vocabulary, tokenizer=tokenizer)


def test_schemas_that_do_not_divide_the_rows_are_named() -> None:
    """Two schemas can't serve three rows."""
    with pytest.raises(ValueError, match="2 schemas can't be shared out evenly among 3 rows"):
        _processor(NAME, KIND)(BATCH["input_ids"], torch.zeros(3, 384))

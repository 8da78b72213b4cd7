"""What the budget took away is known: an answer that it cut says so, and where; one that it did not says nothing."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import jsonschema_rs
import pytest
import shapes
import tiny
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import guard
from guard.decoding.forced_tokens import Forcing
from guard.decoding.guide import Guide, cut_places
from guard.decoding.logits_processor import LogitsProcessor
from guard.decoding.places import end_of, pointers
from guard.decoding.torch_loop import Decoding
from guard.errors import SchemaError, Truncated
from guard.kernels.bitmask import allocate_bitmask
from guard.testing import AdversarialModel
from guard.testing.adversarial import TASTES

PROMPT = [1, 40, 41, 42, 43]
EOS = set(tiny.vocabulary().eos)
NOTE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}},
    "required": ["name", "tags"],
    "additionalProperties": False,
}


def _expected(
    model: Any, compiled: Any, written: list[int], max_tokens: int, forcing: Forcing | None, prompt: list[int] = PROMPT
) -> list[Any]:
    """Say where the budget took a choice away, by asking the model anew behind every token: slow and obvious."""
    vocabulary = tiny.vocabulary()
    guide = Guide(compiled.matcher(vocabulary), vocabulary, forcing)
    found = []
    for at, token in enumerate(written):
        if guide.forced() is None:
            bounded, free = allocate_bitmask(1, vocabulary.size), allocate_bitmask(1, vocabulary.size)
            guide.matcher.fill_bitmask(bounded, remaining=max_tokens - at)
            guide.matcher.fill_bitmask(free)
            for mask in (bounded, free):
                guide.narrow(mask[0])
            with torch.no_grad():
                logits = model(torch.tensor([[*prompt, *written[:at]]])).logits[0, -1]
            favourite = max(_allowed(free), key=lambda t: float(logits[t]))
            if favourite not in _allowed(bounded):
                found.append((at, favourite))
        assert guide.accept(token)
    return found


def _allowed(mask: Any) -> list[int]:
    return [t for t in range(tiny.vocabulary().size) if mask[0, t // 32] >> (t % 32) & 1]


@settings(max_examples=30, deadline=None)
@given(schema=shapes.schemas(), seed=st.integers(0, 5), more=st.integers(0, 40), cuts_text=st.booleans())
def test_a_cut_is_told_exactly_where_the_budget_took_the_models_choice(
    schema: Any, seed: int, more: int, cuts_text: bool
) -> None:
    model = tiny.llama(seed)
    forcing = Forcing(tiny.tokenizer(), tiny.vocabulary()) if cuts_text else None
    try:
        compiled = guard.compile(schema)
        max_tokens = compiled.matcher(tiny.vocabulary()).distance() + more
        decoding = Decoding(
            tiny.vocabulary(), compiled.matcher(tiny.vocabulary()), max_tokens=max_tokens, forcing=forcing
        )
        decoding(model, torch.tensor([PROMPT]))
    except (SchemaError, Truncated):
        assume(False)
    assert decoding._guide is not None
    wishes = [(at, token) for at, token in decoding._guide.wishes if token not in EOS]
    assert wishes == [
        (at, token)
        for at, token in _expected(model, compiled, decoding.tokens, max_tokens, forcing)
        if token not in EOS
    ]
    assert bool(decoding.cut_at) == bool([w for w in wishes if _is_told(decoding, w)])


def _is_told(decoding: Decoding, wish: tuple[int, int]) -> bool:
    """White space between lexemes is no part of a value."""
    spelled = tiny.vocabulary().token_bytes(wish[1])
    before = b"".join(map(tiny.vocabulary().token_bytes, decoding.tokens[: wish[0]]))
    return bool(spelled.strip()) or before.replace(b"\\\\", b"").replace(b'\\"', b"").count(b'"') % 2 == 1


@settings(max_examples=30, deadline=None)
@given(schema=shapes.schemas(), seed=st.integers(0, 5), more=st.integers(0, 40))
def test_a_processor_tells_the_same_of_each_row(schema: Any, seed: int, more: int) -> None:
    model = tiny.llama(seed)
    try:
        compiled = guard.compile(schema)
        max_tokens = compiled.matcher(tiny.vocabulary()).distance() + more
        decoding = Decoding(tiny.vocabulary(), compiled.matcher(tiny.vocabulary()), max_tokens=max_tokens)
        decoding(model, torch.tensor([PROMPT]))
        processor = LogitsProcessor([compiled, guard.compile(True)], tiny.vocabulary(), max_tokens=max_tokens)
        prompts = torch.tensor([PROMPT, PROMPT])
        out = model.generate(
            prompts,
            attention_mask=torch.ones_like(prompts),
            logits_processor=[processor],
            max_new_tokens=max_tokens,
            eos_token_id=list(EOS),
            pad_token_id=2,
        )
    except (SchemaError, Truncated):
        assume(False)
    value = [token for token in decoding.tokens if token not in EOS]
    assert out[0, len(PROMPT) :].tolist()[: len(value)] == value
    assert processor.cut_at[0] == decoding.cut_at


@pytest.mark.parametrize("options", [{"num_beams": 3, "num_return_sequences": 2}, {"num_return_sequences": 2}])
@pytest.mark.parametrize("seed", range(3))
def test_of_every_sequence_that_beam_search_or_sampling_returns_the_cuts_are_told(
    seed: int, options: dict[str, Any]
) -> None:
    """Beams go on from each other, and what is returned may have ended in a row that went on with something else."""
    torch.manual_seed(seed)
    model, compiled, size = tiny.llama(seed), guard.compile(NOTE), 30
    prompts = torch.tensor([PROMPT, PROMPT[::-1]])
    processor = LogitsProcessor(compiled, tiny.vocabulary(), max_tokens=size)
    out = model.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        logits_processor=[processor],
        max_new_tokens=size,
        eos_token_id=list(EOS),
        pad_token_id=2,
        do_sample="num_beams" not in options,
        **options,
    )
    found = processor.cuts(out)
    assert len(found) == 4
    for ids, cut_at in zip(out, found, strict=True):
        value = _until_the_end(ids[len(PROMPT) :].tolist())
        wishes = _expected(model, compiled, value, size, None, ids[: len(PROMPT)].tolist())
        assert cut_at == cut_places(tiny.vocabulary(), value, wishes)
    assert any(found)


def test_sequences_of_another_call_are_told_to_be_so() -> None:
    processor = LogitsProcessor(guard.compile(NOTE), tiny.vocabulary(), max_tokens=30)
    assert processor.cuts(torch.tensor([PROMPT])) == ((),)
    processor(torch.tensor([PROMPT]), torch.zeros(1, tiny.vocabulary().size))
    with pytest.raises(ValueError, match=r"sequences\[0\] does not begin with its prompt"):
        processor.cuts(torch.tensor([PROMPT[::-1]]))


def _until_the_end(tokens: list[int]) -> list[int]:
    return tokens[: next((n for n, token in enumerate(tokens) if token in EOS), len(tokens))]


@pytest.mark.parametrize("taste", TASTES)
def test_an_adversary_s_answer_that_the_budget_closed_says_where(taste: str) -> None:
    reader = guard.Guard(AdversarialModel(3, taste=taste), retries=0, max_tokens=60)
    value, trace = reader.traced(NOTE, "read")
    jsonschema_rs.validate(NOTE, value)
    reply = trace.attempts[-1].reply
    assert reply is not None
    assert (reply.finish == "length") == bool(reply.cut_at)
    if taste in ("long", "escapes", "digits"):
        assert reply.cut_at == ("/tags/3", "/tags")


@pytest.mark.parametrize(
    ("favourites", "max_tokens", "cut_at", "text"),
    [
        ('{"name": "Alice", "tags": []}', 40, (), '{"name": "Alice", "tags": []}'),
        ('{"name": "qzqzqzqzqzqzqzqzqzqzqzqzqzqz", "tags": []}', 30, ("/name",), None),
        ('{"name": "", "tags": ["a", "b", "a", "b", "a", "b"]}', 29, ("/tags",), None),
        ('{"name": "Alice", "tags": ["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]}', 30, ("/tags/0",), None),
    ],
)
def test_the_value_that_was_cut_is_named(
    favourites: str, max_tokens: int, cut_at: tuple[str, ...], text: str | None
) -> None:
    decoding = _written(favourites, max_tokens)
    assert (
        tuple(pointer[: len(cut_at[0])] for pointer in decoding.cut_at[:1]) == cut_at
    )  # what such a model would write behind the first is anybody's guess
    assert decoding.is_finished
    assert text is None or decoding.answer == text


def test_a_token_that_the_budget_leaves_alone_is_asked_for_and_what_the_schema_forces_is_not() -> None:
    asked = _written('{"name": "qzqzqzqzqzqzqzqzqzqzqzqzqzqz", "tags": []}', 28)
    assert asked.cut_at[0] == "/name"
    free = _written('{"name": "Alice", "tags": []}', 60)
    assert (free.cut_at, free.forced_tokens > 8) == ((), True)


def _written(favourites: str, max_tokens: int) -> Decoding:
    """Decode as a model that would write just that text, token by token."""
    vocabulary, compiled = tiny.vocabulary(), guard.compile(NOTE)
    wanted = [*tiny.tokenizer()(favourites, add_special_tokens=False).input_ids, 2]
    decoding = Decoding(
        vocabulary,
        compiled.matcher(vocabulary),
        max_tokens=max_tokens,
        forcing=Forcing(tiny.tokenizer(), vocabulary),
    )
    decoding.start(torch.device("cpu"))
    while decoding.advance() is not None:
        spelled = b"".join(map(vocabulary.token_bytes, decoding.tokens))
        logits = torch.zeros(1, vocabulary.size)
        rest = favourites.encode().removeprefix(spelled) if favourites.encode().startswith(spelled) else b""
        fits = [t for t in range(vocabulary.size) if (b := vocabulary.token_bytes(t)) and rest.startswith(b)]
        logits[0, max(fits, key=lambda t: len(vocabulary.token_bytes(t))) if fits else wanted[-1]] = 20.0
        decoding.choose(logits)
    return decoding


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_a_token_that_is_drawn_twice_has_the_probability_that_it_has_under_the_budget(temperature: float) -> None:
    """The first draw is without the budget, the second one only where that took it away."""
    vocabulary = tiny.vocabulary()
    counts: Counter[int] = Counter()
    compiled = guard.compile({"anyOf": [{"type": "integer"}, {"const": "a text that is too long"}]})
    logits = torch.randn(1, vocabulary.size, generator=torch.Generator().manual_seed(0)) * 2
    cuts = 0
    for seed in range(2000):
        matcher = compiled.matcher(vocabulary)
        decoding = Decoding(vocabulary, matcher, max_tokens=4, temperature=temperature, seed=seed)
        decoding.start(torch.device("cpu"))
        decoding.advance()
        decoding.choose(logits)
        counts[decoding.tokens[0]] += 1
        cuts += bool(decoding.cut_at)
    free, bounded = allocate_bitmask(1, vocabulary.size), allocate_bitmask(1, vocabulary.size)
    compiled.matcher(vocabulary).fill_bitmask(free)
    compiled.matcher(vocabulary).fill_bitmask(bounded, remaining=4)
    allowed, without = _allowed(bounded), _allowed(free)
    assert len(without) > len(allowed) > 5
    for token, probability in zip(allowed, (logits[0, allowed] / temperature).softmax(dim=0).tolist(), strict=True):
        assert abs(counts[token] / 2000 - probability) < 5 * (probability / 2000) ** 0.5 + 0.002
    lost = 1 - float((logits[0, without] / temperature).softmax(dim=0)[[t in allowed for t in without]].sum())
    assert abs(cuts / 2000 - lost) < 5 * (lost / 2000) ** 0.5


TEXT = '{"a": "hello", "b/c": [1, "x", {"k": 12}], "d": []}'


@pytest.mark.parametrize(
    ("before", "wish", "found"),
    [
        ("", b"x", ("",)),
        ('{"a', b"x", ("",)),
        ('{"a": ', b"x", ("/a",)),
        ('{"a": "hel', b"x", ("/a",)),
        ('{"a": "hel', b" ", ("/a",)),
        ('{"a": "hello"', b", ", ("",)),
        ('{"a": "hello",', b" ", ()),
        ('{"a": "hello", "b/c": [1', b"2", ("/b~1c/0",)),
        ('{"a": "hello", "b/c": [1', b", 2", ("/b~1c",)),
        ('{"a": "hello", "b/c": [1, "x', b"x", ("/b~1c/1",)),
        ('{"a": "hello", "b/c": [1, "x", {"k": 1', b"3", ("/b~1c/2/k",)),
        ('{"a": "hello", "b/c": [1, "x", {"k": 12}', b", ", ("/b~1c",)),
        ('{"a": "hello", "b/c": [1, "x", {"k": 12}], "d": [', b'"x"', ("/d",)),
        (TEXT, b"x", ("",)),
    ],
)
def test_a_place_in_a_text_has_the_pointer_of_what_is_under_way(before: str, wish: bytes, found: Any) -> None:
    assert pointers(TEXT.encode(), [(len(before), wish)]) == found


@given(st.lists(st.integers(0, len(TEXT)), max_size=8).map(sorted))
def test_several_places_are_found_as_each_alone(offsets: list[int]) -> None:
    alone = [p for offset in offsets for p in pointers(TEXT.encode(), [(offset, b"w")])]
    assert pointers(TEXT.encode(), [(offset, b"w") for offset in offsets]) == tuple(dict.fromkeys(alone))


@given(
    st.recursive(st.text(max_size=4) | st.integers(), lambda c: st.lists(c) | st.dictionaries(st.text(max_size=3), c))
)
def test_a_text_that_breaks_off_in_a_value_names_a_value_that_is_there(value: Any) -> None:
    text = json.dumps(value)
    for size in range(1, len(text)):
        (pointer,) = end_of(text[:size]) or ("",)
        at = value
        for step in pointer.split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            at = at[int(key)] if isinstance(at, list) else at[key]


@pytest.mark.parametrize("text", ["I can't say.", "", "```json"])
def test_prose_has_no_places(text: str) -> None:
    assert end_of(text) == ()

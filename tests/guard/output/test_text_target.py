"""Answers that are no JSON: bare texts of a type, and turns of a format, masked, checked, asked for again, replayed."""

from __future__ import annotations

import enum
import itertools
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from scripted import Scripted, reply

import guard
from guard import formats
from guard.calls.rerun import replay
from guard.decoding.guide import Guide
from guard.models.local.transformers import TransformersModel
from guard.output import target as targets
from guard.trace import TraceStore

Code = Annotated[str, guard.Pattern(r"[ab]{3}-\d")]
ASK = "Which one?"


class Colour(enum.Enum):
    """Two of them."""

    RED = "red"
    BLUE = "blue"


CALL = formats.tag("<n>", formats.json({"type": "integer", "minimum": 3, "maximum": 99}), "</n>")


@pytest.fixture(scope="module")
def here() -> TransformersModel:
    """A model that says anything its masks let through."""
    return TransformersModel("tiny", tiny.llama(), tiny.tokenizer())


def asking(*answers: Any, **settings: Any) -> tuple[guard.Guard, Scripted]:
    model = Scripted(*answers)
    return guard.Guard(model, **settings), model


def local(model: TransformersModel, **settings: Any) -> guard.Guard:
    return guard.Guard(model, **{"max_tokens": 60, **settings})


def test_a_pattern_is_the_bare_text_masked_and_checked(here: TransformersModel) -> None:
    for seed in range(6):
        said = local(here, temperature=1.0, seed=seed).generate(Code, ASK)
        assert re.fullmatch(r"[ab]{3}-\d", said)


@pytest.mark.parametrize("flags", ["(?i)", "(?iu)", "(?u)"])
def test_flags_in_front_of_a_pattern_hold_for_the_whole_text(here: TransformersModel, flags: str) -> None:
    wanted = Annotated[str, guard.Pattern(f"{flags}up|no")]
    texts = {local(here, temperature=1.5, seed=seed).generate(wanted, ASK) for seed in range(12)}
    assert {text.lower() for text in texts} == {"up", "no"}
    assert (texts <= {"up", "no"}) == (flags == "(?u)")
    with pytest.raises(guard.ValidationFailed):
        asking("noup", retries=0)[0].generate(wanted, ASK)


def test_a_model_without_masks_is_told_and_asked_again() -> None:
    asker, model = asking('"aba-1"', "aba-1\n", "aba-1", retries=2)
    assert asker.generate(Code, ASK) == "aba-1"
    assert "expected a string to match pattern" in model.requests[1].messages[-1]["content"]
    with pytest.raises(guard.ValidationFailed):
        asking("aba-1 ", retries=0)[0].generate(Code, ASK)


@pytest.mark.parametrize("wanted", [Literal["red", "blue"], Colour])
def test_a_choice_is_bare_where_the_style_says_so(here: TransformersModel, wanted: Any) -> None:
    values = {wanted("red"), wanted("blue")} if wanted is Colour else {"red", "blue"}
    said = {local(here, style="text", temperature=1.5, seed=n).generate(wanted, ASK) for n in range(12)}
    assert said == values
    assert asking("blue", style="text")[0].generate(wanted, ASK) in values
    for wrong in ('"blue"', "blu", "", "blue "):
        with pytest.raises(guard.ValidationFailed):
            asking(wrong, style="text", retries=0)[0].generate(wanted, ASK)


def test_only_strings_have_a_bare_text() -> None:
    for wanted in (int, Literal["1", 1], str | None, BaseModel, {"type": ["string", "null"]}):
        with pytest.raises(guard.SchemaError, match="a bare text is a string"):
            targets.from_any(wanted, {}, "text")
    with pytest.raises(ValueError, match="style='xml' must be 'json' or 'text'"):
        guard.Guard("smollm2", style="xml")


def test_a_structured_function_returns_the_text(here: TransformersModel) -> None:
    @guard.structured(model=here, max_tokens=60, examples=[("the first", "aaa-1")])
    def code(text: str) -> Code:
        """Read the code."""

    shown = code.messages("the second")
    assert [message["content"] for message in shown] == [
        "the first\n\nRead the code. Answer with the text alone.",
        "aaa-1",
        "the second\n\nRead the code. Answer with the text alone.",
    ]
    said, call = code.traced("the second")
    assert re.fullmatch(r"[ab]{3}-\d", said)
    assert (call.text, call.template, call.target) == (said, "text/1", "text")
    with pytest.raises(TypeError, match="using\\(style="):
        code.using(style="text")
    with pytest.raises(ValueError, match=r"examples\[0\]: the answer is not valid"):
        guard.structured(model=here, examples=[("the first", "no code")])(code.__wrapped__)


def test_a_stream_gives_the_text_so_far(here: TransformersModel) -> None:
    pieces = list(local(here).stream(Code, ASK))
    assert all(last.startswith(first) for first, last in itertools.pairwise(pieces))
    assert re.fullmatch(r"[ab]{3}-\d", pieces[-1])


def test_a_pattern_inside_of_another_type_holds_its_string() -> None:
    class Item(BaseModel):
        code: Code
        more: list[Annotated[str, Field(max_length=5), guard.Pattern("a+")]] = []

    compiled = guard.compile(Item)
    assert not [line for line in compiled.report if line.status == "residual"]
    matcher = compiled.matcher(guard.schemas.compiled.single_bytes())
    assert matcher.accept_bytes(b'{"code": "aba-1", "more": ["aa')
    assert not matcher.accept_bytes(b"b")
    check = targets.from_any(Item, {}).check
    assert check('{"code": "aba-1"}')[1] == ()
    assert [one.at for one in check('{"code": "aba-12", "more": ["aaaaaa"]}')[1]] == ["/code", "/more/0"]


def test_a_pattern_that_is_none_is_refused_where_it_is_written() -> None:
    for wrong in ("(", "a)|(?:b", 3):
        with pytest.raises((ValueError, TypeError)):
            guard.Pattern(wrong)


@given(
    st.text(max_size=6) | st.from_regex(r"[ab]{3}-[0-9]", fullmatch=True),
    st.sampled_from(["[ab]{3}-\\d", "a|b*", "^a$", "a$", ".*", "[^a]"]),
)
def test_masks_and_check_agree_on_every_text(text: str, pattern: str) -> None:
    target = targets.from_any(Annotated[str, guard.Pattern(pattern)], {})
    matcher = target.compiled.matcher(guard.schemas.compiled.single_bytes())
    is_masked = matcher.accept_bytes(text.encode()) and matcher.can_stop()
    assert is_masked == (not target.check(text)[1])


def test_a_format_gives_its_text_its_value_or_its_parts(here: TransformersModel) -> None:
    asker = local(here)
    assert asker.generate(formats.choice(["yes", "no"]), ASK) in ("yes", "no")
    assert asker.generate(formats.json({"const": 3}), ASK) == 3
    parts = asker.generate(CALL, ASK)
    assert [(part.kind, part.text) for part in parts[::2]] == [("text", "<n>"), ("text", "</n>")]
    assert 3 <= parts[1].value <= 99


def test_a_turn_is_read_from_a_model_without_masks_and_asked_for_again() -> None:
    asker, model = asking("<n>3</n", "<n>2</n>", "<n>4</n>", retries=2)
    assert asker.generate(CALL, ASK)[1].value == 4
    assert "it ends too soon, behind '<n>3</n'" in model.requests[1].messages[-1]["content"]
    assert "it goes wrong behind '<n>2' (byte 4)" in model.requests[2].messages[-1]["content"]


def test_a_format_that_names_tokens_is_refused_with_its_place() -> None:
    with pytest.raises(guard.SchemaError, match=r"the token '<\|x\|>' is not to be seen"):
        targets.from_any(formats.tag(formats.token("<|x|>"), formats.any_text(), "</n>"), {})


def test_a_turn_that_a_budget_cuts_or_that_repeats_itself_is_marked(here: TransformersModel) -> None:
    free = formats.any_text()
    asker = local(here, max_tokens=4, on={"length": "return"})
    assert asker.traced(free, ASK)[1].cut_at == ("",)
    asker, _ = asking("So. " * 100, on={"length": "return"})
    assert asker.traced(free, ASK)[1].repeated_at == ("",)
    asker, _ = asking(reply('{"a": "b', finish="length"), on={"length": "return"}, max_tokens=10)
    assert asker.traced(free, ASK)[1].cut_at == ("",)


@pytest.mark.parametrize("wanted", [Code, formats.choice(["yes", "no"]), CALL], ids=["pattern", "choice", "call"])
def test_a_text_is_replayed_from_its_record(tmp_path: Path, here: TransformersModel, wanted: Any) -> None:
    store = TraceStore.at(tmp_path / "trace.db")
    limits = guard.Limits(states=90_000)
    call = local(here, trace=store, options={"limits": limits}).traced(wanted, ASK)[1]
    recorded = store.read(call.number or 0)
    assert recorded is not None
    assert replay(store, recorded, here).is_identical


@pytest.mark.parametrize("tokenizer", [tiny.tokenizer(), tiny.words_tokenizer()], ids=["bytes", "words"])
def test_where_a_choice_begins_nothing_is_forced(tokenizer: Any) -> None:
    from guard.decoding.forced_tokens import Forcing

    vocabulary = guard.Vocabulary.from_tokenizer(tokenizer)
    for texts in (["yes", "no"], [" yes", "yes", "no"], [" no", "yes", "no"]):
        matcher = guard.compile(formats.choice(texts)).matcher(vocabulary)
        assert Guide(matcher, vocabulary, Forcing(tokenizer, vocabulary)).forced() is None


def test_a_space_that_the_format_has_is_kept(here: TransformersModel) -> None:
    assert local(here).generate(formats.regex(" a"), ASK) == " a"

"""A model that decodes here is asked in its own template's form: masks, marks that are special tokens, decisions."""

from __future__ import annotations

import copy
import functools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import tiny

import guard
from guard.calls.turns import asked_for
from guard.errors import Unsupported
from guard.models.base import Reply, Request
from guard.models.local.transformers import TransformersModel
from guard.turns.models import TemplatedModel, tool_format
from guard.turns.turn import target

BOTH = ("<tool_call>", "</tool_call>")


def lamp(on: bool, room: str = "hall") -> str:
    """Turn a lamp on or off."""
    return f"{room}: {on}"


def clock() -> str:
    """Tell the time."""
    return "noon"


@functools.cache
def model(*marks: str, added: tuple[str, ...] = (), template: str = tiny.TOOLS) -> TransformersModel:
    """Return a model that has some marks as special tokens, and some as added tokens that are not special."""
    tokenizer = copy.deepcopy(tiny.tokenizer())
    tokenizer.chat_template = template
    if marks:
        tokenizer.add_special_tokens({"additional_special_tokens": list(marks)})
    tokenizer.add_tokens(list(added))
    weights = tiny.llama(padded_to=len(tokenizer), context=2048)
    return TransformersModel("tiny", weights, tokenizer)


def asked(which: TransformersModel, tmp_path: Path, **settings: Any) -> guard.Guard:
    given = {"temperature": 1.0, "max_tokens": 160, "on": {"length": "return"}, "trace": tmp_path / "trace.db"}
    return guard.Guard(model=which, **{**given, **settings})


def test_the_template_is_derived() -> None:
    form = tool_format(model())
    assert form is not None
    assert form.kind == "json"
    assert tool_format(guard.testing.AdversarialModel()) is None


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("choice", ["auto", "required", "lamp", "none"])
@pytest.mark.parametrize(
    ("marks", "added"),
    [((), ()), (BOTH, ()), ((), BOTH), (BOTH[:1], BOTH[1:]), (BOTH[1:], ())],
    ids=["bytes", "special", "added", "one of each", "special and bytes"],
)
def test_turns_are_whole_and_streamed_alike(
    tmp_path: Path, choice: str, seed: int, marks: tuple[str, ...], added: tuple[str, ...]
) -> None:
    ask = asked(model(*marks, added=added), tmp_path)
    turn = ask.turn("Light!", [lamp, clock], tool_choice=choice, seed=seed)
    assert turn.record.attempts[-1].reply.mode == "masks"
    assert "<tool_call>" not in turn.text
    assert bool(turn.calls) >= (choice in ("required", "lamp"))
    assert not (turn.calls and choice == "none")
    assert [call.run() for call in turn.calls] or not turn.calls
    with ask.stream_turn("Light!", [lamp, clock], tool_choice=choice, seed=seed) as stream:
        events = list(stream)
    assert "".join(event.text for event in events if event.kind == "text") == turn.text
    assert [event.name for event in events if event.kind == "call"] == [call.name for call in turn.calls]
    for number, call in enumerate(turn.calls):
        told = "".join(event.text for event in events if event.kind == "arguments" and event.number == number)
        assert json.loads(told) == call.arguments


def test_a_mark_that_is_a_special_token_is_one_token(tmp_path: Path) -> None:
    turn = asked(model("<tool_call>", "</tool_call>"), tmp_path, temperature=0.0).turn("?", [lamp], tool_choice="lamp")
    written = [token.text for token in turn.record.attempts[-1].reply.tokens]
    assert "<tool_call>" in written


def test_a_mark_that_is_a_special_token_is_never_its_bytes(tmp_path: Path) -> None:
    which = model("<tool_call>", "</tool_call>")
    form = tool_format(which)
    assert form is not None
    wanted = asked_for([lamp], "auto", options={}).wanted
    masked = TemplatedModel(which, form, wanted)
    plain = Request(messages=({"role": "user", "content": "?"},), compiled=None, max_tokens=99)
    request = masked._request(plain)
    assert (request.spelled, set(request.marks)) == ((), {"<tool_call>", "</tool_call>"})
    tokenizer = which.tokenizer
    mark, bare = tokenizer.convert_tokens_to_ids("<tool_call>"), copy.deepcopy(tiny.tokenizer())
    pieces = bare("Hi <tool_call>", add_special_tokens=False).input_ids
    assert request.compiled is not None
    matcher = request.compiled.matcher(which.vocabulary)
    assert all(matcher.accept(token) for token in pieces[:-1])
    assert not matcher.accept(pieces[-1])  # which would complete the bytes of the mark
    matcher = request.compiled.matcher(which.vocabulary)
    assert all(matcher.accept(token) for token in [*bare("Hi ", add_special_tokens=False).input_ids, mark])
    assert matcher.forced_bytes().startswith(b'\n{"name": "lamp", "arguments": {')


@pytest.mark.parametrize("added", [(), BOTH], ids=["bytes", "added"])
def test_a_mark_that_is_no_special_token_is_its_text_in_whatever_tokens(added: tuple[str, ...]) -> None:
    which = model(added=added)
    form = tool_format(which)
    assert form is not None
    masked = TemplatedModel(which, form, asked_for([lamp], "auto", options={}).wanted)
    plain = Request(messages=({"role": "user", "content": "?"},), compiled=None, max_tokens=99)
    request = masked._request(plain)
    assert (request.spelled, request.marks) == ((), ())
    assert request.compiled is not None
    call = '<tool_call>\n{"name": "lamp", "arguments": {"on": true}}\n</tool_call>'
    pieces = copy.deepcopy(tiny.tokenizer())(call, add_special_tokens=False).input_ids
    own = which.tokenizer(call, add_special_tokens=False).input_ids
    assert (own != pieces) == bool(added)
    for tokens in (pieces, own):
        matcher = request.compiled.matcher(which.vocabulary)
        assert all(matcher.accept(token) for token in tokens)
        assert matcher.can_stop()
        read = form.read(which.tokenizer.decode(tokens), [one.as_json for one in masked.wanted.tools])
        assert [(one.name, one.arguments) for one in read.calls] == [("lamp", {"on": True})]


@pytest.mark.parametrize(
    ("template", "native"), [(tiny.KIMI, r"functions\.(lamp|clock):\d"), (tiny.MISTRAL, "[A-Za-z0-9]{9}")]
)
def test_native_ids_and_those_of_the_turns_are_mapped_over_a_conversation(
    tmp_path: Path, template: str, native: str
) -> None:
    which = model(template=template)
    ask, form = asked(which, tmp_path, max_tokens=300), tool_format(which)
    assert form is not None
    messages: list[Any] = [{"role": "user", "content": "Light, and the time!"}]
    told: list[str] = []
    for seed in range(3):
        turn = ask.turn(messages, [lamp, clock], tool_choice="required", max_calls=3, seed=seed)
        told += [call.id for call in turn.calls]
        messages += [turn.message, *(call.result(f"done {call.id}") for call in reversed(turn.calls))]
    shown = form.messages(messages)
    calls = [(call["id"], call["function"]["name"]) for one in shown for call in one.get("tool_calls", ())]
    results = [(one["tool_call_id"], one["content"]) for one in shown if one["role"] == "tool"]
    assert len(calls) == len(told) >= 3
    assert len({*told}) == len(told)
    assert len({given for given, _ in calls}) == len(calls)
    assert all(re.fullmatch(native, given) for given, _ in calls)
    assert results == [(given, f"done {own}") for (given, _), own in zip(calls, told, strict=True)]
    if template is tiny.KIMI:
        assert [given for given, _ in calls] == [f"functions.{name}:{at}" for at, (_, name) in enumerate(calls)]
    prompt = which._render(shown, thinks=False, tools=[])
    assert all(prompt.count(given) == 2 for given, _ in calls)  # of the call, and of its result


def test_a_bias_makes_calls_likelier_and_is_told_of(tmp_path: Path) -> None:
    ask = asked(model("<tool_call>", "</tool_call>"), tmp_path, temperature=0.0)
    plain = ask.turn("Light!", [lamp])
    assert plain.call_probability is not None
    assert 0 <= plain.call_probability <= 1
    forced = ask.turn("Light!", [lamp], call_bias=1000.0)
    assert forced.calls
    assert forced.call_probability == pytest.approx(plain.call_probability)
    assert not ask.turn("Light!", [lamp], call_bias=-1000.0).text.startswith("<tool_call>")
    with pytest.raises(guard.Unsupported, match="call_bias"):
        asked(guard.testing.AdversarialModel(), tmp_path).turn("Light!", [lamp], call_bias=1.0)


def test_earlier_turns_are_shown_in_the_templates_form(tmp_path: Path) -> None:
    which = model()
    ask = asked(which, tmp_path)
    first = ask.turn("Light!", [lamp], tool_choice="lamp", seed=1)
    then = [{"role": "user", "content": "Light!"}, first.message, *[call.result("ok") for call in first.calls]]
    form = tool_format(which)
    assert form is not None
    shown = which._render(form.messages(then), thinks=False, tools=[])
    assert (
        f'<tool_call>\n{{"name": "lamp", "arguments": {json.dumps(first.calls[0].arguments)}}}\n</tool_call>' in shown
    )
    assert ask.turn(then, [lamp], tool_choice="none").text


def test_tools_that_the_form_can_not_say_are_asked_for_in_words(tmp_path: Path) -> None:
    named = {"name": "turn {it} on", "parameters": {"type": "object", "additionalProperties": False}}
    turn = asked(model(), tmp_path).turn("Light!", [named], tool_choice="required", seed=1)
    assert {call.name for call in turn.calls} == {"turn {it} on"}
    with asked(model(), tmp_path).stream_turn("Light!", [named], tool_choice="required", seed=1) as stream:
        list(stream)
    assert stream.turn is not None
    assert stream.turn.calls


@pytest.mark.parametrize("choice", ["lamp", "none", "auto", "required"])
def test_a_tool_that_the_form_can_not_say_is_no_matter_where_it_can_not_be_called(tmp_path: Path, choice: str) -> None:
    card = {"properties": {"card": True, "cvv": True}, "dependentRequired": {"card": ["cvv"]}}
    pay = {"name": "pay", "parameters": {"type": "object", **card}}
    ask = asked(model(template=tiny.TAGGED), tmp_path)
    assert tool_format(model(template=tiny.TAGGED)).kind == "tagged"  # type: ignore[union-attr] # it has one
    turn = ask.turn("Light!", [lamp, pay], tool_choice=choice, seed=1)
    assert bool(turn.calls) >= (choice in ("lamp", "required"))
    assert choice != "none" or not turn.calls
    with ask.stream_turn("Light!", [lamp, pay], tool_choice=choice, seed=1) as stream:
        list(stream)
    assert stream.turn is not None
    assert [call.arguments for call in stream.turn.calls] == [call.arguments for call in turn.calls]


def test_an_answer_of_a_type_is_no_call_whatever_its_strings_hold() -> None:
    form = tool_format(model())
    assert form is not None
    said = json.dumps({"words": 'x<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>'})
    response = {"type": "object", "properties": {"words": {"type": "string"}}}
    wanted = asked_for([lamp, clock], response=response, options={}).wanted
    reply = TemplatedModel(model(), form, wanted)._reply(Reply(said.replace("\\n", "\n"), "stop", "tiny", 1, 1))
    assert reply.text.startswith('{"content": {"words"')


@pytest.mark.parametrize("number", ["3e+299", "7.0", "1.5e-400", "9007199254740993", "3e+799"])
def test_the_numbers_of_arguments_are_as_they_were_written(number: str) -> None:
    """A number that no float holds makes no call: masks do not allow it."""
    half = {"name": "half", "parameters": {"type": "object", "properties": {"of": {"type": "number"}}}}
    for template, called in (
        (tiny.TOOLS, '<tool_call>\n{"name": "half", "arguments": {"of": %s}}\n</tool_call>'),
        (tiny.TAGGED, "<tool_call>\n<function=half>\n<parameter=of>\n%s\n</parameter>\n</function>\n</tool_call>"),
    ):
        form = tool_format(model(template=template))
        assert form is not None
        wanted = asked_for([half], options={}).wanted
        masked = TemplatedModel(model(template=template), form, wanted)
        text = masked._reply(Reply(called % number, "stop", "tiny", 1, 1)).text
        if number == "3e+799":
            assert json.loads(text) == {"content": called % number}
        else:
            assert text == f'[{{"name": "half", "arguments": {{"of": {number}}}}}]'
        assert not target(wanted, [], {}).check(text)[1]


@pytest.mark.parametrize("arguments", ["", None])
def test_an_earlier_call_without_arguments_has_none(arguments: str | None) -> None:
    """Clients write "" for them: the model was said to have failed."""
    form = tool_format(model(template=tiny.TAGGED))
    assert form is not None
    call = {"type": "function", "id": "c", "function": {"name": "lamp", "arguments": arguments}}
    (shown,) = form.messages([{"role": "assistant", "content": None, "tool_calls": [call]}])
    assert shown["tool_calls"][0]["function"]["arguments"] in ({}, "{}")


@pytest.mark.parametrize("arguments", ["{bad", "1" * 5000, "[" * 100_000])
def test_an_earlier_call_whose_arguments_are_no_json_is_refused(arguments: str) -> None:
    """It was a ModelError, and a 502 of the sidecar, as if the model had failed."""
    form = tool_format(model(template=tiny.TAGGED))
    assert form is not None
    call = {"type": "function", "id": "c", "function": {"name": "lamp", "arguments": arguments}}
    with pytest.raises(Unsupported, match="an earlier call of 'lamp' must be JSON"):
        form.messages([{"role": "assistant", "content": None, "tool_calls": [call]}])

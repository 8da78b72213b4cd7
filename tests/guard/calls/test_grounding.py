"""Calls with grounded values: what no input states is found and asked for again; what stands there knows where."""

from __future__ import annotations

import asyncio
import datetime
import json
import time
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pytest
from pydantic import BaseModel, ConfigDict, Field
from scripted import Scripted

import guard
from guard.calls import prompts
from guard.calls.rerun import replay
from guard.output.grounding import GroundingChecker
from guard.output.target import from_any
from guard.schemas.grounding.keyword import SourceRule
from guard.schemas.grounding.sources import Sources
from guard.trace import TraceStore
from guard.trace.html import page

LETTER = "Dear Sam,\r\n\r\nplease pay  EUR 1.204,50 by 14.05.2026 to\nAnna  Smith (anna@lab.example).\n"


class Bill(BaseModel):
    """A bill."""

    payee: Annotated[str, guard.Quoted()]
    email: Annotated[str | None, guard.Quoted()]
    amount: Annotated[float, guard.Stated()]
    due: Annotated[datetime.date | None, guard.Stated()]


GOOD = '{"payee": "Anna Smith", "email": "anna@lab.example", "amount": 1204.5, "due": "2026-05-14"}'
INVENTED = '{"payee": "Anna Schmidt", "email": "anna@lab.example", "amount": 1205, "due": "2026-05-15"}'


def read(store: TraceStore, *answers: Any, **settings: Any) -> tuple[Any, Any, Scripted]:
    """Read the letter."""
    model = Scripted(*answers)

    @guard.structured(model=model, trace=store, **settings)
    def bill(letter: str) -> Bill:
        """Read the bill of the year 1999 that Berta Blume wrote."""

    value, call = bill.traced(LETTER)
    return value, call, model


@pytest.fixture
def store(tmp_path: Path) -> TraceStore:
    """Return an empty trace."""
    return TraceStore.at(tmp_path / "trace.db")


def test_a_value_stands_in_the_callers_own_text(store: TraceStore) -> None:
    _, call, _ = read(store, GOOD)
    stands = {at: [LETTER[start:end] for _, start, end in places] for at, places in call.sources.items()}
    assert stands == {
        "/payee": ["Anna  Smith"],
        "/email": ["anna@lab.example"],
        "/amount": ["1.204,50"],
        "/due": ["14.05.2026"],
    }
    assert {place.input for places in call.sources.values() for place in places} == {"letter"}


def test_what_is_invented_is_found_and_asked_for_again(store: TraceStore) -> None:
    value, call, model = read(store, INVENTED, GOOD)
    assert value.payee == "Anna Smith"
    assert [(f.at, f.rule) for f in call.attempts[0].findings] == [
        ("/payee", "quoted"),
        ("/amount", "not stated"),
        ("/due", "not stated"),
    ]
    told = model.requests[1].messages[-1]["content"]
    assert (
        "/payee: expected a text that stands in the input, word for word, within one line, got 'Anna Schmidt'" in told
    )


def test_the_prompts_own_words_are_no_source(store: TraceStore) -> None:
    with pytest.raises(guard.ValidationFailed, match="/payee: expected a text that stands in the input"):
        read(store, GOOD.replace("Anna Smith", "Berta Blume"), retries=0)


def test_null_needs_no_place(store: TraceStore) -> None:
    value, call, _ = read(store, GOOD.replace('"anna@lab.example"', "null").replace('"2026-05-14"', "null"))
    assert (value.email, value.due) == (None, None)
    assert set(call.sources) == {"/payee", "/amount"}


def test_where_no_answer_can_be_right_none_is_asked_for(store: TraceStore) -> None:
    model = Scripted()
    with pytest.raises(guard.ValidationFailed, match="the input states no /amount") as raised:
        guard.Guard(model=model, trace=store).generate(Bill, "Ask Anna.")
    assert [(f.at, f.rule) for f in raised.value.findings] == [("/amount", "not stated")]
    assert model.requests == []


def test_the_record_keeps_the_places(store: TraceStore) -> None:
    _, call, _ = read(store, INVENTED, GOOD)
    kept = store.read(call.number)
    assert kept is not None
    assert kept.sources == call.sources
    assert kept.attempts[1].inputs == call.attempts[1].inputs
    shown = call.attempts[1].inputs["letter"]
    content = call.attempts[1].messages[shown.message]["content"]
    assert content[shown.start : shown.start + shown.length] == LETTER.strip()


def test_the_page_marks_the_values_in_the_text(store: TraceStore) -> None:
    _, call, _ = read(store, GOOD)
    shown = page(call)
    for title, text in (("/payee", "Anna  Smith"), ("/amount", "1.204,50"), ("/due", "14.05.2026")):
        assert f'<mark title="{title}">{text}</mark>' in shown


def test_a_replay_is_held_to_the_same_inputs(store: TraceStore) -> None:
    _, call, _ = read(store, GOOD)
    assert call.number is not None
    kept = store.read(call.number)
    assert kept is not None
    done = replay(store, kept, Scripted(INVENTED))
    again = store.read(done.call or 0)
    assert again is not None
    assert again.outcome == "ValidationFailed"


def test_sources_may_be_given_by_name(store: TraceStore) -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "string", "x-guard-from": "/first"},
            "b": {"type": "string", "x-guard-from": "input"},
        },
        "required": ["a", "b"],
    }
    asked = guard.Guard(model=Scripted('{"a": "one", "b": "two"}'), trace=store, retries=0)
    _, call = asked.traced(schema, "Read both.", sources={"first": "one", "second": "two"})
    assert call.sources == {"/a": (("first", 0, 3),), "/b": (("second", 0, 3),)}
    asked = guard.Guard(model=Scripted('{"a": "two", "b": "two"}'), trace=store, retries=0)
    with pytest.raises(guard.ValidationFailed, match="stands in the input 'first'"):
        asked.generate(schema, "Read both.", sources={"first": "one", "second": "two"})
    with pytest.raises(ValueError, match="sources=7 must be a text, or texts by name"):
        asked.generate(schema, "Read both.", sources=7)


def test_what_the_user_says_is_the_source_otherwise(store: TraceStore) -> None:
    asked = guard.Guard(model=Scripted('"seven"'), trace=store, system="one two three")
    _, call = asked.traced({"type": "string", "x-guard-from": "input"}, "Read: seven")
    assert call.sources == {"": (("messages/0", 6, 11),)}


class Mail(BaseModel):
    """An argument that is shown as JSON."""

    subject: str
    body: str
    parts: list[float | str | None] = []


class Read(BaseModel):
    """What is read of it."""

    who: Annotated[str | None, guard.Quoted()] = None
    total: Annotated[float | None, guard.Stated()] = None


@pytest.mark.parametrize(
    ("body", "value", "place"),
    [
        ("Yours,\nAnna Smith", {"who": "Anna Smith"}, ("mail/body", 7, 17)),
        ("Yours,\nAnna Smith", {"who": "nAnna Smith"}, None),
        ('the "Blue" house', {"who": 'the "Blue" house'}, ("mail/body", 0, 16)),
        ("a\tb", {"who": "tb"}, None),
        ("Total:\n12.50 EUR", {"total": 12.5}, ("mail/body", 7, 12)),
        ("", {"total": 1.204}, ("mail/parts/0", 0, 5)),
        ("", {"total": 1204}, None),  # the number is written as JSON, and has one reading
        ("", {"who": "a/b"}, ("mail/parts/1", 0, 3)),
        ("", {"who": "body"}, None),  # the name of a member, and of no input
        ("", {"who": "null"}, None),
    ],
)
def test_an_argument_that_is_no_text_states_its_texts_and_numbers(
    store: TraceStore, body: str, value: dict[str, Any], place: tuple[str, int, int] | None
) -> None:
    answer = json.dumps(value)

    @guard.structured(model=Scripted(answer), trace=store, retries=0)
    def ask(mail: Mail) -> Read:
        """Read the mail."""

    mail = Mail(subject="hi", body=body, parts=[1.204, "a/b", None])
    if place is None:
        with pytest.raises(guard.ValidationFailed, match=r"the input"):
            ask(mail)
        return
    _, call = ask.traced(mail)
    assert call.sources == {f"/{next(iter(value))}": (place,)}
    kept = store.read(call.number or 0)
    assert kept is not None
    assert kept.attempts[0].inputs["mail"].is_json
    for said, outcome in ((answer, "valid"), ('{"who": "subject"}', "ValidationFailed")):
        again = store.read(replay(store, kept, Scripted(said)).call or 0)
        assert again is not None
        assert again.outcome == outcome


def test_masks_are_of_the_texts_within_an_argument() -> None:
    text = prompts.as_text(Mail(subject="hi", body="Yours,\nAnna Smith"))
    compiled = guard.compile({"type": "string", "x-guard-from": "/mail"}).grounded(Sources({"mail": text, "more": "x"}))
    vocabulary = guard.Vocabulary.from_bytes([*(bytes([byte]) for byte in range(256)), b"</s>"], eos=[256])
    for said, is_accepted in (("Anna Smith", True), ("nAnna Smith", False), ("hi", True), ("x", False)):
        matcher = compiled.matcher(vocabulary)
        assert (matcher.accept_bytes(json.dumps(said).encode()) and matcher.can_stop()) is is_accepted


def note(name: Annotated[str, guard.Quoted()]) -> str:
    """Note a name."""
    return f"noted {name}, as Berta did"


def lamp(on: bool) -> str:
    """Turn the lamp on or off."""
    return "on" if on else "off"


NOTE = {
    "name": "note",
    "parameters": {
        "type": "object",
        "properties": {"name": {"type": "string", "x-guard-from": "input"}},
        "required": ["name"],
    },
}


@pytest.mark.parametrize("tool", [note, NOTE])
def test_a_turn_states_what_the_user_said(store: TraceStore, tool: Any) -> None:
    said = '[{"name": "note", "arguments": {"name": "%s"}}]'
    asked = guard.Guard(model=Scripted(said % "Berta", said % "Anna"), trace=store, retries=1, system="Ask Berta")
    turn = asked.turn("I am Anna", [tool, lamp], tool_choice="note")
    assert turn.calls[0].arguments == {"name": "Anna"}
    assert turn.record.sources == {"/0/arguments/name": (("messages/1", 5, 9),)}
    assert [(f.at, f.rule) for f in turn.record.attempts[0].findings] == [("/0/arguments/name", "quoted")]
    with pytest.raises(guard.ValidationFailed, match="the input states no /arguments/name"):
        asked.turn("…", [tool], tool_choice="note")


def test_a_conversation_with_tools_states_what_the_user_said(store: TraceStore) -> None:
    said = '[{"name": "note", "arguments": {"name": "Anna"}}]'
    done = guard.run_tools("I am Anna", [note], model=Scripted(said, '{"content": "Done."}'), trace=store)
    assert (done.text, len(done.turns)) == ("Done.", 2)
    berta = said.replace("Anna", "Berta")  # whom the tool names, and not the user
    with pytest.raises(guard.ValidationFailed, match="stands in the input"):
        guard.run_tools("I am Anna", [note], model=Scripted(said, berta), trace=store, retries=0)


def test_the_inputs_of_a_function_with_tools_are_its_arguments(store: TraceStore) -> None:
    call, answer = '[{"name": "lamp", "arguments": {"on": true}}]', '{"content": {"who": "%s"}}'

    def ask(*answers: str) -> Any:
        @guard.structured(model=Scripted(*answers), tools=[lamp], trace=store, retries=0)
        def read(mail: Mail) -> Read:
            """Read what Berta wrote."""

        return read.traced(Mail(subject="hi", body="I am\nAnna"))

    for said in ([answer % "Anna"], [call, answer % "Anna"]):
        value, record = ask(*said)
        assert value == Read(who="Anna")
        assert record.sources == {"/content/who": (("mail/body", 5, 9),)}
    with pytest.raises(guard.ValidationFailed, match="stands in the input"):
        ask(call, answer % "Berta")


def test_a_list_that_is_quoted_once_says_no_item_twice(store: TraceStore) -> None:
    asked = guard.Guard(model=Scripted('["Anna", "Smith", "Anna"]', '["Anna", "Smith"]'), trace=store, retries=1)
    value, call = asked.traced(Annotated[list[str], guard.Quoted(once=True)], "Anna Smith asked Anna")
    assert value == ["Anna", "Smith"]
    assert [(f.at, f.rule) for f in call.attempts[0].findings] == [("/2", "quoted once")]


def test_the_branch_of_a_union_that_the_value_is_valid_by_counts(store: TraceStore) -> None:
    code = {"type": "string", "pattern": "^[A-Z]", "x-guard-from": "input"}
    schema = {"anyOf": [code, {"type": "string", "pattern": "^[a-z]"}]}
    for answer, is_valid in (('"Anna"', True), ('"Berta"', False), ('"berta"', True)):
        asked = guard.Guard(model=Scripted(answer), trace=store, retries=0)
        if is_valid:
            assert asked.generate(schema, "Anna") == json.loads(answer)
        else:
            with pytest.raises(guard.ValidationFailed):
                asked.generate(schema, "Anna")


def test_calls_that_are_awaited_and_streamed_do_the_same(store: TraceStore) -> None:
    asked = guard.Guard(model=Scripted(INVENTED, GOOD), trace=store, retries=1)
    value = asyncio.run(asked.agenerate(Bill, "Read it.", sources=LETTER))
    assert value.payee == "Anna Smith"
    stream = guard.Guard(model=Scripted(GOOD), trace=store).stream(Bill, "Read it.", sources=LETTER)
    assert [*stream][-1].amount == 1204.5
    assert stream.call is not None
    assert "/due" in stream.call.sources


def test_what_would_take_too_long_is_refused(store: TraceStore) -> None:
    asked = guard.Guard(model=Scripted(), trace=store)
    with pytest.raises(guard.Truncated, match="shorten the input"):
        asked.generate({"type": "string", "x-guard-from": "input"}, "Read it.", sources="a " * 2_100_000)


def test_hostile_inputs_take_no_longer_than_others() -> None:
    for part in ("a", "1", "1,11", "a_", "1a", "*", "(", "a-", "@", " \t", "-\n", "1 ", "é", "|"):
        began = time.process_time()
        sources = Sources({"text": part * (100_000 // len(part))})
        for kind in ("quoted", "number", "date"):
            for within in ("cell", "paragraph"):
                rule = SourceRule(kind, within=within)
                sources.numbers(rule) if kind == "number" else sources.tree(rule)
        assert time.process_time() - began < 5, part


def located(schema: Any, answer: str, text: str) -> tuple[list[str], dict[str, Any]]:
    """Return the places of findings, and the places of values."""
    found = GroundingChecker(guard.compile(schema)).check(answer, Sources({"text": text}))
    return [finding.at for finding in found.findings], dict(found.places)


STRING, NUMBER = {"type": "string", "x-guard-from": "input"}, {"type": "number", "x-guard-from": "input"}
DRAFT_7 = "http://json-schema.org/draft-07/schema#"


def test_a_recursive_union_takes_no_longer_the_deeper_an_answer_is() -> None:
    def node(**more: Any) -> dict[str, Any]:
        return {"type": "object", "properties": {"c": {"$ref": "#/$defs/t"}, "v": STRING, **more}}

    schema = {"$ref": "#/$defs/t", "$defs": {"t": {"anyOf": [node(), node(w={"type": "integer"})]}}}
    began = time.process_time()
    findings, _ = located(schema, '{"c":' * 60 + '{"v": "dog"}' + "}" * 60, "a cat")
    assert findings == ["/c" * 60 + "/v"]
    assert time.process_time() - began < 2


def test_what_is_said_twice_of_a_value_is_found_once() -> None:
    one = {"properties": {"c": {"$ref": "#/$defs/t"}, "v": STRING}}
    schema = {"$ref": "#/$defs/t", "$defs": {"t": {"type": "object", "allOf": [one, {**one, "title": "again"}]}}}
    assert located(schema, '{"c":' * 60 + '{"v": "dog"}' + "}" * 60, "a cat")[0] == ["/c" * 60 + "/v"]
    once = {"type": "string", "x-guard-from": {"within": "line", "once": True}}
    twice = {"type": "array", "uniqueItems": True, "items": {"allOf": [once, {**once, "minLength": 1}]}}
    assert located(twice, '["cat", "a"]', "a cat")[0] == []
    assert located(twice, '["cat", "cat"]', "a cat")[0] == ["/1"]


def test_too_many_branches_are_refused_and_not_left_unlooked_at() -> None:
    node = {"type": "array", "items": {"$ref": "#/$defs/t"}}
    leaves = [STRING, {"type": "string", "minLength": 1}]
    schema = {"$ref": "#/$defs/t", "$defs": {"t": {"anyOf": [*leaves, node, {**node, "minItems": 1}]}}}
    answer = "[" * 100 + ",".join(['"dog"'] * 40_000) + "]" * 100
    with pytest.raises(guard.Unchecked, match="too many branches of unions"):
        located(schema, answer, "a cat")


@pytest.mark.parametrize("said", ["0.1234567890123456789", "12345678901234567.25", "1204.50", "7"])
def test_a_number_counts_as_it_is_written(said: str) -> None:
    assert located(NUMBER, said, f"it is {said} now") == ([], {"": (("text", 6, 6 + len(said)),)})
    assert located(NUMBER, said + "1" if "." in said else said + ".1", f"it is {said} now")[0] == [""]
    assert located(NUMBER, "1e9999999999999999999999", f"it is {said} now")[0] == [""]


def test_what_a_draft_ignores_grounds_nothing() -> None:
    items = {"$schema": DRAFT_7, "type": "array", "items": STRING, "prefixItems": [{}]}
    assert located(items, '["dog"]', "a cat")[0] == ["/0"]
    beside = {"$ref": "#/definitions/any", "properties": {"v": STRING}}
    schema = {
        "$schema": DRAFT_7,
        "definitions": {"any": {}},
        "properties": {"a": beside, "b": {"$ref": "#/properties/a/properties/v"}},
    }
    assert located(schema, '{"a": {"v": "dog"}, "b": "dog"}', "a cat")[0] == ["/b"]


def test_patterns_of_other_properties_are_asked_of_nobody() -> None:
    schema = {
        "properties": {"a": STRING},
        "patternProperties": {"^\\p{L}$": {"type": "string"}},
        "additionalProperties": {"type": "string"},
    }
    assert located(schema, '{"a": "cat", "b": "dog", "12": "dog"}', "a cat") == ([], {"/a": (("text", 2, 5),)})


class Item(BaseModel):
    """A member of unions."""

    n: Annotated[int, guard.Stated()]
    when: str


class Pair(NamedTuple):
    """An array in JSON; Pydantic also takes an object."""

    n: Annotated[int, guard.Stated()]


class ByName(BaseModel):
    """A field that Pydantic also takes by its name."""

    model_config = ConfigDict(populate_by_name=True)
    n: Annotated[int | None, guard.Stated()] = Field(default=None, alias="N")


@pytest.mark.parametrize(
    ("kind", "answer", "at"),
    [
        (Annotated[float | None, guard.Stated()], '"999.5"', ""),
        (Annotated[float | None, guard.Stated()], "true", ""),
        (Annotated[float, guard.Stated()], "true", ""),
        (Annotated[float, guard.Stated()], '"0800"', ""),
        (Annotated[datetime.date | None, guard.Stated()], "0", ""),
        (Annotated[datetime.date | None, guard.Stated()], '"2026-01-01T00:00:00"', ""),
        (Item | None, '{"n": 777, "when": "x", "more": 1}', "/n"),
        (int | list[Item], '[{"n": "777", "when": "x"}]', "/0/n"),
        (Pair, '{"n": 777}', ""),
        (ByName, '{"n": 777}', ""),
    ],
)
def test_an_answer_in_another_form_hides_no_value(kind: Any, answer: str, at: str) -> None:
    """Pydantic converts what the schema does not allow, and the check passed over it: "999.5" came back as 999.5."""
    target = from_any(kind, {})
    assert not target.check(answer)[1]
    assert target.grounding is not None
    text = "Pay EUR 12.50 to Anna, room 0, 2026-05-14, call 0800 123 4567 89"
    findings = target.grounding.check(answer, Sources({"mail": text})).findings
    assert [(one.at, one.rule) for one in findings] == [(at, "not stated")]


def test_an_undeclared_key_hides_no_value_that_is_stated() -> None:
    """The values of a union's member with a key too many are found as those of others."""
    target = from_any(Item | None, {})
    assert target.grounding is not None
    found = target.grounding.check('{"n": 12, "when": "x", "more": 1}', Sources({"mail": "room 12"}))
    assert (found.findings, list(found.places)) == ((), ["/n"])

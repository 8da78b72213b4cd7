"""Calls with grounded values: what no input states is found and asked for again; what stands there knows where."""

from __future__ import annotations

import asyncio
import datetime
import json
import time
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel
from scripted import Scripted

import guard
from guard.calls.rerun import replay
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

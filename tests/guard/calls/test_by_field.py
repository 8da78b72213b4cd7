"""Escalation by field: what a tier is not sure of is asked of the next one alone, and the rest is given."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel
from scripted import Scripted, reply

import guard
from guard.decoding.confidence import Token
from guard.errors import ValidationFailed
from guard.trace import TraceStore

LETTER = "Anna Smith owes 12.50 EUR, due 2026-05-14. Ref 77."


class Bill(BaseModel):
    """A bill."""

    payee: Annotated[str, guard.Quoted()]
    amount: Annotated[float, guard.Stated()]
    ref: str


FIRST = '{"payee": "Anna Smith", "amount": 77, "ref": "77"}'


def told(text: str, **chances: float) -> Any:
    """Return a reply whose tokens are sure of all values but some."""
    tokens = []
    for piece in text.replace(",", ",\0").replace(":", ":\0").split("\0"):
        name = next((name for name in chances if tokens and f'"{name}":' in tokens[-1].text), None)
        tokens.append(Token(piece, -0.01 if name is None else chances[name], 0.0, None))
    return reply(text, tokens=tuple(tokens))


@pytest.fixture
def store(tmp_path: Path) -> TraceStore:
    """Return an empty trace."""
    return TraceStore.at(tmp_path / "trace.db")


def read(store: TraceStore, small: Scripted, large: Scripted, **settings: Any) -> tuple[Any, Any]:
    """Read the letter."""
    sure = guard.Confidence(value=0.5)
    asked = guard.Guard(model=small, escalate_to=large, confidence=sure, trace=store, **settings)
    return asked.traced(Bill, LETTER)


def test_the_doubtful_field_is_asked_alone_and_the_others_are_given(store: TraceStore) -> None:
    small, large = Scripted(told(FIRST, amount=-3.0)), Scripted('{"amount": 12.5}', name="large")
    value, call = read(store, small, large)
    assert value == Bill(payee="Anna Smith", amount=12.5, ref="77")
    (request,) = large.requests
    assert list(request.compiled.contents["properties"]) == ["amount"]
    assert request.messages[-2]["content"] == FIRST
    assert "amount" in request.messages[-1]["content"]
    assert "payee" not in request.messages[-1]["content"]
    assert [attempt.reason for attempt in call.attempts] == ["confidence", ""]
    assert "/amount 0.05" in call.attempts[0].error
    assert call.attempts[1].fields == ("amount",)
    assert call.escalations == ("confidence",)
    assert json.loads(call.text) == {"payee": "Anna Smith", "amount": 12.5, "ref": "77"}
    assert set(call.sources) == {"/payee", "/amount"}
    kept = store.read(call.number)
    assert kept is not None
    assert kept.attempts[1].fields == ("amount",)
    assert json.loads(kept.text) == json.loads(call.text)


def test_the_fields_that_are_given_keep_their_digits(store: TraceStore) -> None:
    """A decimal was rounded to a double where another field was asked again."""

    class Sum(BaseModel):
        total: Decimal
        payee: Annotated[str, guard.Quoted()]

    small = Scripted(told('{"total": 0.12345678901234567890, "payee": "Anna Smith"}', payee=-3.0))
    asked = guard.Guard(
        model=small,
        escalate_to=Scripted('{"payee": "Anna"}', name="large"),
        confidence=guard.Confidence(value=0.5),
        trace=store,
    )
    value, call = asked.traced(Sum, LETTER)
    assert [attempt.reason for attempt in call.attempts] == ["confidence", ""]
    assert value == Sum(total=Decimal("0.12345678901234567890"), payee="Anna")


def test_a_part_that_is_not_valid_leads_to_a_question_about_all(store: TraceStore) -> None:
    whole = FIRST.replace(": 77", ": 12.5")
    small, large = Scripted(told(FIRST, amount=-3.0)), Scripted('{"amount": 99}', whole, name="large")
    value, call = read(store, small, large)
    assert value.amount == 12.5
    assert len(large.requests[1].compiled.contents["properties"]) == 3
    assert [attempt.fields for attempt in call.attempts] == [(), ("amount",), ()]


def test_where_everything_is_doubtful_everything_is_asked(store: TraceStore) -> None:
    small = Scripted(told(FIRST, payee=-3.0, amount=-3.0, ref=-3.0))
    large = Scripted(FIRST.replace(": 77", ": 12.5"), name="large")
    value, call = read(store, small, large)
    assert value.amount == 12.5
    assert call.attempts[1].fields == ()
    assert len(large.requests[0].messages) == 1


def test_who_is_sure_is_not_escalated(store: TraceStore) -> None:
    value, call = read(store, Scripted(told(FIRST)), Scripted(name="large"))
    assert value.amount == 77
    assert call.confidence["/amount"] == pytest.approx(0.99, abs=0.01)


def test_without_a_next_tier_the_call_fails_and_names_the_values(store: TraceStore) -> None:
    asked = guard.Guard(
        model=Scripted(told(FIRST, amount=-3.0)),
        confidence=guard.Confidence(value=0.5),
        on={"confidence": "fail"},
        trace=store,
    )
    with pytest.raises(ValidationFailed, match="/amount"):
        asked.generate(Bill, LETTER)


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_a_probability_is_between_0_and_1(value: float) -> None:
    with pytest.raises(ValueError, match="value="):
        guard.Confidence(value=value)

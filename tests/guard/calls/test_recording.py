"""Record and replay: byte-identical, and any change of meaning is another key."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted import Scripted, reply

import guard
from guard.calls import recording
from guard.decoding.confidence import Token
from guard.models.base import Request
from guard.testing.fake_server import Server
from guard.trace import TraceStore, stats

ASK = [{"role": "user", "content": "How many?"}]
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def content(attempts: Any) -> list[Any]:
    """Return what must be the same in a replay: all but when it happened, how long it took, and that it is one."""
    return [
        dataclasses.replace(a, started=0.0, seconds=0.0, reply=a.reply and dataclasses.replace(a.reply, is_kept=False))
        for a in attempts
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(
    texts=st.lists(st.sampled_from(['{"n": 3}', '{"n": "☕"}', "nonsense", "down"]), min_size=3, max_size=3),
    number=st.integers(0, 10**9),
)
def test_a_replay_is_byte_identical_and_asks_nobody(texts: list[str], number: int) -> None:
    ask = [{"role": "user", "content": f"How many? {number} {texts}"}]
    tokens = (Token("{", -0.5, 0.25, None), Token("x", -1.0, 0.0, 2.0, forced=True))
    answers = [guard.Unavailable("503") if t == "down" else reply(t, tokens=tokens, thinking="hm") for t in texts]
    found = []
    for mode, model in (("record", Scripted(*answers, name="m")), ("replay", Scripted(name="m"))):
        try:
            value, call = guard.Guard(model, retries=2, mode=mode).traced(SCHEMA, ask)
            found.append((value, call.text, content(call.attempts)))
        except guard.CallError as error:
            found.append((type(error), error.message, content(error.attempts)))
        if mode == "replay":
            assert model.requests == []
    assert found[0] == found[1]


def test_a_budget_counts_a_kept_reply_as_when_it_was_given(tmp_path: Path) -> None:
    """Else the second attempt had more tokens to spend than at first, and so no reply was kept for what it asks."""

    class Priced(Scripted):
        def price(self, prompt: int, completion: int) -> float:
            return (prompt + completion) / 1e6

    answers = [reply('{"n": "?"}', prompt_tokens=50, completion_tokens=400), reply('{"n": 3}', prompt_tokens=50)]
    limits, costs = [], []
    for mode in ("record", "cache", "replay"):
        model = Priced(*answers, name="priced")
        budget = guard.Budget(usd=0.0009)
        asked = guard.Guard(model, mode=mode, budget=budget, trace=tmp_path / "trace.db")
        value, call = asked.traced(SCHEMA, ASK)
        assert value == {"n": 3}
        limits.append([request.max_tokens for request in model.requests])
        costs.append(call.cost)
    assert limits[0][0] == 512 > limits[0][1] > 0
    assert (limits[1:], costs[1:]) == ([[], []], [0, 0])
    assert costs[0] > 0.0004


def test_what_was_not_recorded_is_not_replayed() -> None:
    model = Scripted('{"n": 3}', name="m")
    with pytest.raises(guard.ModelError, match="no reply of m to this request was recorded"):
        guard.Guard(model, mode="replay").generate(SCHEMA, ASK)
    assert model.requests == []


def test_a_cache_asks_once_and_keeps_no_errors() -> None:
    model = Scripted(guard.Unavailable("503"), '{"n": 3}', name="m")
    asked = guard.Guard(model, mode="cache")
    with pytest.raises(guard.Unavailable):
        asked.generate(SCHEMA, ASK)
    assert [asked.generate(SCHEMA, ASK) for _ in range(3)] == [{"n": 3}] * 3
    assert len(model.requests) == 2


@pytest.mark.parametrize("mode", ["record", "cache"])
def test_what_is_looked_up_costs_nothing(mode: str, trace_file: Path) -> None:
    """Its own figures are those of then; the call has spent none."""
    answer = reply('{"n": 3}', cost=0.25)
    budget = guard.Budget(tokens=10_000)
    recorded = guard.Guard(Scripted(answer, name="m"), mode=mode, budget=budget).traced(SCHEMA, ASK)[1]
    again = "replay" if mode == "record" else mode
    replayed = guard.Guard(Scripted(name="m"), mode=again, budget=budget).traced(SCHEMA, ASK)[1]
    for call, spent, is_kept in ((recorded, (108, 0.25, 0.25), False), (replayed, (0, 0, 0), True)):
        assert (call.tokens, call.cost, call.model_seconds) == spent
        assert call.attempts[0].reply == dataclasses.replace(answer, is_kept=is_kept)
        assert TraceStore.at(trace_file).read(call.number or 0) == call
    line = stats.collect(TraceStore.at(trace_file).ledger())[-1]
    assert (line.calls, line.replayed, line.prompt_tokens, line.cost) == (2, 1, 100, 0.25)


def test_a_reply_that_holds_a_secret_is_not_kept(monkeypatch: pytest.MonkeyPatch, trace_file: Path) -> None:
    monkeypatch.setenv("SHOP_API_KEY", "hunter2hunter2")
    model = Scripted('{"n": 3, "key": "hunter2hunter2"}', '{"n": 4}', name="m")
    asked = guard.Guard(model, mode="cache")
    assert [asked.generate(SCHEMA, ASK)["n"] for _ in range(2)] == [3, 4]
    assert b"hunter2" not in trace_file.read_bytes()


REQUEST = Request(({"role": "user", "content": "How many?"},), guard.compile(SCHEMA), name="schema")


@pytest.mark.parametrize(
    "change",
    [
        {"messages": ({"role": "user", "content": "How  many?"},)},
        {"messages": ({"role": "system", "content": "How many?"},)},
        {"compiled": guard.compile({**SCHEMA, "title": "x"})},
        {"compiled": guard.compile(SCHEMA, key_order="any")},
        {"compiled": None},
        {"max_tokens": 511},
        {"temperature": 0.1},
        {"seed": 1},
        {"total_tokens": 99},
        {"thinking": 5},
        {"name": "other"},
    ],
)
def test_any_change_of_meaning_changes_the_key(change: dict[str, Any]) -> None:
    model = Scripted(name="m")
    first = recording.key("m", model, REQUEST, "t/1")
    assert recording.key("m", model, dataclasses.replace(REQUEST, **change), "t/1") != first
    assert recording.key("n", model, REQUEST, "t/1") != first
    assert recording.key("m", model, REQUEST, "t/2") != first


def test_the_same_request_has_the_same_key_in_every_process(trace_file: Path) -> None:
    again = dataclasses.replace(REQUEST, compiled=guard.compile(SCHEMA), seconds=3.5)
    model = Scripted(name="m")
    assert recording.key("m", model, again, "t/1") == recording.key("m", model, REQUEST, "t/1")
    assert len(recording.key("m", model, REQUEST, "")) == 64
    assert TraceStore.at(trace_file).recorded("0" * 64) is None


def test_a_replay_needs_neither_weights_nor_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server('{"n": 3}') as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789abcdef0123")
        monkeypatch.setattr("guard.models._loaded", {})
        recorded = guard.Guard("openai:m", mode="record").generate(SCHEMA, ASK)
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setattr("guard.models._loaded", {})
    assert guard.Guard("openai:m", mode="replay").generate(SCHEMA, ASK) == recorded == {"n": 3}
    with pytest.raises(guard.ModelError, match="was recorded"):
        guard.Guard("transformers:/nowhere", mode="replay").generate(SCHEMA, ASK)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")  # another server may answer otherwise
    with pytest.raises(guard.ModelError, match="was recorded"):
        guard.Guard("openai:m", mode="replay").generate(SCHEMA, ASK)

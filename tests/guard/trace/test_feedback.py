"""Feedback: what is said last of an answer is on record, held to its type, and gone with its call."""

from __future__ import annotations

import functools
import json
import pickle
from pathlib import Path

import pytest
import recounts
from pydantic import BaseModel
from scripted import Scripted
from typer.testing import CliRunner

import guard
from guard.cli.app import app
from guard.cli.console import Problem
from guard.trace import TraceStore
from guard.trace.errors import TraceError
from guard.trace.feedback import Feedback
from guard.trace.records import Call
from guard.trace.retention import Retention


class Total(BaseModel):
    total: int


def asked(place: str, text: str = '{"total": 3}') -> Call:
    _, call = guard.Guard(model=Scripted(text), trace=place).traced(Total, "How much?")
    return call


def said(place: str, call: Call) -> Feedback | None:
    return TraceStore.at(place).feedback([call.number or 0]).get(call.number or 0)


def test_an_answer_is_rated_and_corrected_and_the_last_word_counts(place: str) -> None:
    call = asked(place)
    assert said(place, call) is None
    call.rate(True)
    assert (first := said(place, call)) is not None
    assert (first.right, first.value, first.by) == (True, None, "person")
    call.correct(Total(total=5))
    assert (then := said(place, call)) is not None
    assert (then.right, then.value) == (False, '{"total": 5}')
    call.correct({"total": 3})
    assert (last := said(place, call)) is not None
    assert (last.right, last.value) == (True, '{"total": 3}')


def test_several_may_rate_one_call_at_the_same_time(place: str) -> None:
    call = asked(place)
    stores = [TraceStore(place) for _ in range(4)]

    def rated(store: TraceStore) -> None:
        for number in range(20):
            store.rate(call.number or 0, bool(number % 2), by="tool")

    recounts.at_once(*[functools.partial(rated, store) for store in stores])
    assert (last := said(place, call)) is not None
    assert (last.right, last.by) == (True, "tool")
    for store in stores:
        store.close()


def test_a_correction_that_only_python_calls_equal_makes_the_answer_wrong(place: str) -> None:
    schema = {"type": "object", "properties": {"paid": {"type": ["boolean", "integer"]}}, "required": ["paid"]}
    _, call = guard.Guard(model=Scripted('{"paid": 1}'), trace=place).traced(schema, "Paid?")
    call.correct({"paid": True})
    assert (found := said(place, call)) is not None
    assert not found.right


def test_a_call_that_was_read_from_the_trace_takes_feedback_too(place: str) -> None:
    number = asked(place).number
    read = TraceStore.at(place).read(number or 0)
    assert read is not None
    read.rate(False)
    assert (found := said(place, read)) is not None
    assert not found.right
    pickle.loads(pickle.dumps(read)).rate(True)
    assert (found := said(place, read)) is not None
    assert found.right


def test_what_the_type_does_not_allow_is_no_correction(place: str) -> None:
    call = asked(place)
    with pytest.raises(ValueError, match="the correction: the answer is not valid: /total: expected"):
        call.correct({"total": "much"})
    with pytest.raises(ValueError, match="there is no call 99"):
        TraceStore.at(place).rate(99, True)
    with pytest.raises(ValueError, match="the call is on no record"):
        Call("", "", "", "", "", {}, 0.0).rate(True)
    assert said(place, call) is None


def test_a_correction_that_holds_a_secret_is_not_written(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_API_KEY", "a-secret-of-some-length")

    class Name(BaseModel):
        name: str

    _, call = guard.Guard(model=Scripted('{"name": "a"}'), trace=place).traced(Name, "Who?")
    with pytest.raises(TraceError, match="redaction"):
        call.correct({"name": "a-secret-of-some-length"})
    assert said(place, call) is None


def test_feedback_goes_with_its_call(place: str) -> None:
    call = asked(place)
    call.rate(True)
    asked(place)
    assert TraceStore.at(place).prune(Retention(None, 1)) == 1
    assert said(place, call) is None


def test_the_command_line_takes_feedback(trace_file: Path, tmp_path: Path) -> None:
    call = asked(str(trace_file))
    run = CliRunner()
    assert run.invoke(app, ["trace", "feedback", "1"]).output == "nobody has said anything of call 1\n"
    assert run.invoke(app, ["trace", "feedback", "1", "--right"]).output == "call 1 is right, by person\n"
    file = tmp_path / "right.json"
    file.write_text('{"total": 5}')
    told = run.invoke(app, ["trace", "feedback", "1", "--value", str(file), "--by", "ada", "--json"]).output
    assert json.loads(told) == {"call": 1, "right": False, "value": {"total": 5}, "by": "ada"}
    shown = run.invoke(app, ["trace", "feedback", "1"]).output
    assert shown == 'call 1 is wrong, by ada; right would be {"total": 5}\n'
    assert (found := said(str(trace_file), call)) is not None
    assert found.by == "ada"


def test_the_command_line_takes_no_correction_with_a_key_twice(trace_file: Path) -> None:
    call = asked(str(trace_file))
    twice = ["trace", "feedback", "1", "--value", '{"total": 3, "total": 4}']
    with pytest.raises(Problem, match=r"--value is not JSON \(the key 'total' is there twice"):
        CliRunner().invoke(app, twice, catch_exceptions=False)
    assert said(str(trace_file), call) is None


@pytest.mark.parametrize("other", [("--wrong",), ("--value", "5")])
def test_the_command_line_takes_no_contradicting_feedback(trace_file: Path, other: tuple[str, ...]) -> None:
    call = asked(str(trace_file))
    with pytest.raises(Problem, match=f"--right and {other[0]} contradict each other"):
        CliRunner().invoke(app, ["trace", "feedback", "1", *other, "--right"], catch_exceptions=False)
    assert said(str(trace_file), call) is None

"""The fault matrix: each way in which a provider fails, against each way of calling, through the whole pipeline.

A cell holds when the outcome is a valid value or the right typed error, inside the budget, and the record says what
happened. What a model does with each fault alone is tests/guard/models/test_exchange.py's.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import clock
import pytest
from pydantic import BaseModel, ConfigDict
from scripted import Scripted

import guard
from guard.models.remote.openai import OpenAIModel
from guard.testing.fake_server import FAULTS, Answer, Server, refused_url
from guard.trace import TraceStore
from guard.trace.records import Call

pytestmark = pytest.mark.usefixtures("every_generator_is_closed")

ASK = [{"role": "user", "content": "How many?"}]
SECONDS = 1.5  #: The budget of a call that would take for ever.
LONG = 60.0  #: The budget of a call that comes to its end by itself.
WAITS = ("time-out", "slow drip")  #: The faults that end only with the budget.
MEMORY = Path("/dev/shm")  # noqa: S108 - made unguessable inside; Linux's file system in memory
GRACE = 1.0  #: How late a call may end: the clock is looked at, not stopped.


class Count(BaseModel):
    """How many."""

    model_config = ConfigDict(extra="forbid")
    n: int
    note: str


GOOD = '{"n": 3, "note": "sheep, counted twice"}'
VALUE = Count(n=3, note="sheep, counted twice")

#: The errors in which a fault may end that does not go away; none: it ends in a valid value.
EXPECTED: dict[str, tuple[type[guard.GuardError], ...]] = {
    "connection refused": (guard.Unavailable, guard.BudgetExceeded),
    "reset mid-body": (guard.Unavailable, guard.BudgetExceeded),
    "time-out": (guard.BudgetExceeded, guard.BudgetExceeded),
    "429": (guard.RateLimited, guard.BudgetExceeded),
    "500": (guard.Unavailable, guard.BudgetExceeded),
    "503": (guard.Unavailable, guard.BudgetExceeded),
    "truncated JSON": (guard.BadReply, guard.Unavailable),
    "length stop": (guard.Truncated,),
    "refusal": (guard.Refused,),
    "content filter": (guard.ContentFiltered,),
    "wrong type": (guard.ValidationFailed,),
    "extra key": (guard.ValidationFailed,),
    "prose around": (),
    "invalid UTF-8": (guard.BadReply,),
    "empty body": (guard.BadReply, guard.Unavailable),
    "empty answer": (guard.ValidationFailed, guard.BadReply),
    "huge body": (guard.BadReply,),
    "slow drip": (guard.BudgetExceeded, guard.BudgetExceeded),
    "duplicate keys": (guard.BadReply,),
    "duplicate keys in the value": (guard.ValidationFailed,),
    "missing key": (guard.ValidationFailed,),
}
VALUES: dict[str, Callable[[Answer], Answer]] = {
    **FAULTS,
    "duplicate keys in the value": lambda good: replace(good, text='{"n": 3, "n": 4, "note": "x"}'),
    "missing key": lambda good: replace(good, text='{"n": 3}'),
}
#: Faults before which nobody had read the prompt; of all others the ledger knows that it was paid for.
UNREAD = {"connection refused", "429", "500", "503"}

Way = Callable[[guard.Guard], tuple[Any, Call | None]]


def blocking(asked: guard.Guard) -> tuple[Any, Call | None]:
    """Call and wait."""
    return asked.traced(Count, ASK)


def awaited(asked: guard.Guard) -> tuple[Any, Call | None]:
    """Call and await."""
    return asyncio.run(asked.atraced(Count, ASK))


def streamed(asked: guard.Guard) -> tuple[Any, Call | None]:
    """Take the last of the partial values."""
    stream = asked.stream(Count, ASK)
    return list(stream)[-1], stream.call


def streamed_async(asked: guard.Guard) -> tuple[Any, Call | None]:
    """Take the last of the partial values, async."""

    async def run() -> tuple[Any, Call | None]:
        stream = asked.astream(Count, ASK)
        return [part async for part in stream][-1], stream.call

    return asyncio.run(run())


WAYS: dict[str, Way] = {
    "sync": blocking,
    "async": awaited,
    "streaming": streamed,
    "async streaming": streamed_async,
}


@pytest.fixture(autouse=True)
def trace_file(trace_file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Keep the trace in memory where the system can: what is timed here must not wait for a disk that others use."""
    if not MEMORY.is_dir():
        yield trace_file
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        path = Path(folder) / "trace.db"
        monkeypatch.setenv("GUARD_TRACE", str(path))
        yield path


@pytest.fixture
def provider(request: pytest.FixtureRequest) -> Iterator[tuple[str, Server | None]]:
    """Serve a fault, for ever."""
    fault = request.param
    if fault == "connection refused":
        yield refused_url(), None
        return
    with Server(VALUES[fault](Answer(GOOD))) as server:
        yield server.url, server


def check_record(trace: Path, wait: clock.Wait, *, outcome: str, seconds: float) -> Call:
    """Check what must hold of every call: it is recorded, its ledger is the sum, it kept its budget."""
    (call,) = TraceStore.at(trace).latest(limit=2)
    assert call.outcome == outcome
    replies = [a.reply for a in call.attempts if a.reply]
    assert call.tokens == sum(r.prompt_tokens + r.completion_tokens for r in replies)
    assert call.seconds - wait.withheld <= seconds + GRACE
    assert wait.seconds <= seconds + GRACE
    assert all(a.error or a.findings or a.reason or a is call.attempts[-1] for a in call.attempts)
    return call


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("fault", "provider"), [(f, f) for f in EXPECTED], indirect=["provider"], ids=list(EXPECTED))
def test_a_fault_that_stays_ends_in_the_right_error(fault: str, provider: Any, way: str, trace_file: Path) -> None:
    url, _ = provider
    seconds = SECONDS if fault in WAITS else LONG
    budget = guard.Budget(seconds=seconds, tokens=100_000)
    asked = guard.Guard(OpenAIModel("m", base_url=url, api_key="none"), retries=1, budget=budget)
    if not EXPECTED[fault]:
        with clock.waiting() as wait:
            value, _ = WAYS[way](asked)
        assert value == VALUE
        check_record(trace_file, wait, outcome="valid", seconds=seconds)
        return
    with clock.waiting() as wait, pytest.raises(guard.CallError) as caught:
        WAYS[way](asked)
    error = caught.value
    assert isinstance(error, EXPECTED[fault]), (type(error), error.message)
    call = check_record(trace_file, wait, outcome=type(error).__name__, seconds=seconds)
    assert error.call == call.number
    assert bool(call.tokens) == (fault not in UNREAD)
    assert len(error.attempts) == len(call.attempts)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", [f for f in EXPECTED if f != "connection refused"])
def test_the_next_tier_answers_where_the_first_fails(fault: str, way: str, trace_file: Path) -> None:
    seconds = SECONDS if fault in WAITS else LONG
    with Server(VALUES[fault](Answer(GOOD))) as server:
        first = OpenAIModel("m", base_url=server.url, api_key="none")
        asked = guard.Guard(
            first,
            escalate_to=Scripted(GOOD, name="large"),
            retries=0,
            tier_budget=guard.Budget(seconds=seconds),
            on={"refusal": "escalate"},
        )
        with clock.waiting() as wait:
            value, _ = WAYS[way](asked)
    assert value == VALUE
    call = check_record(trace_file, wait, outcome="valid", seconds=seconds)
    if EXPECTED[fault]:
        assert call.tier == 1
        assert len(call.escalations) == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", ["wrong type", "extra key", "missing key", "duplicate keys in the value"])
def test_an_answer_that_is_wrong_once_is_asked_for_again_with_the_finding(fault: str, way: str) -> None:
    with Server(VALUES[fault](Answer(GOOD)), Answer(GOOD)) as server:
        asked = guard.Guard(OpenAIModel("m", base_url=server.url, api_key="none"), retries=1)
        value, call = WAYS[way](asked)
        assert value == VALUE
        assert call is not None
        (finding, *_) = call.attempts[0].findings
        assert str(finding) in server.requests[1].body["messages"][-1]["content"]

"""One call, four ways: blocking or async, whole or in pieces; and what happens when nobody waits for the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, model_validator
from scripted import Scripted, reply

import guard
from guard.calls.value_stream import Stream
from guard.models.base import Reply, Request
from guard.models.scripted import ScriptedModel
from guard.output import partial
from guard.trace import TraceStore

pytestmark = pytest.mark.usefixtures("every_generator_is_closed")

ASK = [{"role": "user", "content": "How many?"}]


class Line(BaseModel):
    """A line."""

    item: str
    quantity: int = Field(ge=0)


class Order(BaseModel):
    """An order with a rule."""

    number: str = Field(alias="no")
    day: date
    lines: list[Line]
    paid: bool = False
    note: str | None = None

    @model_validator(mode="after")
    def has_lines(self) -> Order:
        """Check the rule; it must not run on partial values."""
        if not self.lines:
            raise ValueError("at least one line")
        return self


class InPieces(Scripted):
    """A model that answers in pieces, blocking."""

    def __init__(self, *answers: object, size: int = 3, name: str = "pieces") -> None:
        super().__init__(*answers, name=name)
        self.size = size
        self.open = 0

    def stream(self, request: Request) -> Iterator[str | Reply]:
        """Cut the answer."""
        answer = super().generate(request)
        self.open += 1
        try:
            for at in range(0, len(answer.text), self.size):
                yield answer.text[at : at + self.size]
            yield answer
        finally:
            self.open -= 1


class AsyncInPieces(Scripted):
    """A model that answers in pieces, async."""

    def __init__(self, *answers: object, size: int = 3, name: str = "pieces") -> None:
        super().__init__(*answers, name=name)
        self.size = size
        self.open = 0

    async def agenerate(self, request: Request) -> Reply:
        """Answer."""
        await asyncio.sleep(0)
        return super().generate(request)

    async def astream(self, request: Request) -> AsyncIterator[str | Reply]:
        """Cut the answer."""
        answer = await self.agenerate(request)
        self.open += 1
        try:
            for at in range(0, len(answer.text), self.size):
                await asyncio.sleep(0)
                yield answer.text[at : at + self.size]
            yield answer
        finally:
            self.open -= 1


MODELS = {"whole": Scripted, "pieces": InPieces, "async": AsyncInPieces}


def outcome(way: str, asked: guard.Guard) -> Any:
    """Make one call in one way; return its value or its error's name and message, and the attempts as recorded."""

    async def run_async() -> Any:
        if way == "async":
            return await asked.agenerate(Order, ASK)
        return [part async for part in asked.astream(Order, ASK)][-1]

    try:
        if way == "whole":
            value = asked.generate(Order, ASK)
        elif way == "stream":
            value = list(asked.stream(Order, ASK))[-1]
        else:
            value = asyncio.run(run_async())
    except guard.CallError as error:
        value = type(error).__name__, error.message, error.findings
    stored = asked.store.latest(limit=1)[0]
    return value, [(a.text, a.findings, a.reason, a.error) for a in stored.attempts], stored.outcome


ANSWERS = st.sampled_from(
    [
        '{"no": "A", "day": "2026-03-01", "lines": [{"item": "ink ☕", "quantity": 2}]}',
        '{"no": "A", "day": "2026-03-01", "lines": []}',
        '{"no": "A", "day": "2026-03-',
        "",
        "I would rather not.",
        reply('{"no": "A', finish="length"),
        reply("", finish="refusal"),
        guard.Unavailable("503"),
        OSError("reset"),
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(
    answers=st.lists(ANSWERS, min_size=4, max_size=4),
    kind=st.sampled_from(["whole", "pieces"]),
    size=st.integers(1, 9),
)
def test_every_way_of_calling_ends_alike(answers: list[Any], kind: str, size: int) -> None:
    found = []
    for way in ("whole", "stream", "async", "astream"):
        models = [MODELS[kind](*answers[at : at + 2], name=f"m{at}") for at in (0, 2)]
        for model in models:
            model.size = size
        found.append(outcome(way, guard.Guard(models[0], escalate_to=models[1], retries=1)))
    assert found[1:] == found[:1] * 3


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(answers=st.lists(ANSWERS, min_size=2, max_size=2), size=st.integers(1, 9))
def test_an_async_model_is_asked_async(answers: list[Any], size: int) -> None:
    found = []
    for way, kind in (("whole", Scripted), ("async", AsyncInPieces), ("astream", AsyncInPieces)):
        model = kind(*answers, name="m")
        model.size = size
        found.append(outcome(way, guard.Guard(model, retries=1)))
    assert found[1:] == found[:1] * 2


TEXT = '{"no": "A-1", "day": "2026-03-01", "lines": [{"item": "ink", "quantity": 2}], "paid": true}'


@given(cuts=st.lists(st.integers(0, len(TEXT)), max_size=8))
def test_partial_values_only_grow_and_hold_nothing_that_the_end_does_not(cuts: list[int]) -> None:
    last = Order.model_validate_json(TEXT)
    for cut in sorted(cuts):
        part = partial.partial(Order, TEXT[:cut])
        if part is None:
            assert TEXT[:cut].strip() in ("", "{") or "{" not in TEXT[:cut]
            continue
        assert isinstance(part, Order)
        assert part.number is None or last.number.startswith(part.number)
        assert part.day in (None, last.day)
        assert part.paid in (False, True)
        for index, line in enumerate(part.lines or []):
            assert line.item is None or last.lines[index].item.startswith(line.item)
            assert line.quantity in (None, last.lines[index].quantity)


@dataclass
class Point:
    """A place."""

    x: int
    label: str


@pytest.mark.parametrize(
    ("wanted", "text", "value"),
    [
        (Point, '{"x": 3, "label": "nor', Point(3, "nor")),
        (list[Point], '[{"x": 3, "label": "a"}, {"x"', [Point(3, "a"), Point(None, None)]),
        (dict[str, int], '{"a": 1, "b', {"a": 1}),
        (int | None, "", None),
        (Literal["red", "blue"], '"re', None),
        (Annotated[int, Field(ge=0)] | str, '"x', "x"),
        (Any, '{"a": [1, 2', {"a": [1]}),
        (None, '{"a": "tex', {"a": "tex"}),
    ],
)
def test_the_partial_value_of_a_type(wanted: Any, text: str, value: Any) -> None:
    assert partial.partial(wanted, text) == value


def test_a_stream_that_is_left_stops_the_model_and_is_recorded(trace_file: Path) -> None:
    model = InPieces(TEXT)
    with guard.Guard(model).stream(Order, ASK) as stream:
        next(stream)
        assert model.open == 1
    assert model.open == 0
    stored = TraceStore.at(trace_file).latest()[0]
    assert (stored.outcome, stored.attempts[0].error) == ("GeneratorExit", "GeneratorExit")
    assert list(stream) == []


def test_an_async_stream_that_is_left_stops_the_model_and_is_recorded(trace_file: Path) -> None:
    async def leave(model: Any) -> None:
        async with guard.Guard(model).astream(Order, ASK) as stream:
            await anext(stream)
            assert model.open == 1

    for model in (InPieces(TEXT), AsyncInPieces(TEXT)):
        asyncio.run(leave(model))
        assert model.open == 0
        assert TraceStore.at(trace_file).latest()[0].outcome == "GeneratorExit"


def test_a_stream_that_failed_says_so_to_whoever_reads_on(trace_file: Path) -> None:
    stream = guard.Guard(InPieces("nonsense"), retries=0).stream(Order, ASK)
    with pytest.raises(guard.ValidationFailed):
        list(stream)
    assert stream.call is None
    for _ in range(2):
        with pytest.raises(RuntimeError, match="ended by ValidationFailed"):
            next(stream)
    stream.close()
    with pytest.raises(RuntimeError, match="ask again"):
        next(stream)


@pytest.mark.parametrize("way", ["astream", "astream_turn"])
def test_a_stream_that_a_deadline_cut_off_does_not_end_like_a_whole_one(way: str, trace_file: Path) -> None:
    """The loop that read on ended without an error, and its last partial value was taken for the whole one."""

    text = TEXT if way == "astream" else json.dumps({"content": "a long text of many words"})

    class Slow(Scripted):
        async def astream(self, request: Request) -> AsyncIterator[str | Reply]:
            self.requests.append(request)
            for character in text:
                yield character
                await asyncio.sleep(0.02)
            yield reply(text)

    async def read() -> None:
        asked = guard.Guard(Slow(text))
        stream = asked.astream(Order, ASK) if way == "astream" else asked.astream_turn(ASK)
        await anext(stream)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(stream), 0.001)
        with pytest.raises(RuntimeError, match="ended by CancelledError"):
            await anext(stream)
        await stream.aclose()

    asyncio.run(read())


def test_two_tasks_that_read_one_stream_do_not_end_it(trace_file: Path) -> None:
    async def read() -> None:
        stream = guard.Guard(AsyncInPieces(TEXT)).astream(Order, ASK)
        _, other = await asyncio.gather(anext(stream), anext(stream), return_exceptions=True)
        assert isinstance(other, RuntimeError)
        assert "already running" in str(other)
        assert [part async for part in stream][-1].number == "A-1"
        assert [part async for part in stream] == []

    asyncio.run(read())


def test_a_value_that_is_lost_at_the_end_of_its_stream_is_told_of_again() -> None:
    def ends() -> Any:
        yield 1
        return 2, None

    def raises(*_: Any) -> Any:
        raise LookupError("no value")

    stream = Stream(ends(), raises)
    assert next(stream) == 1
    with pytest.raises(LookupError):
        next(stream)
    with pytest.raises(RuntimeError, match="ended by LookupError"):
        next(stream)


@pytest.mark.parametrize("other", [next, Stream.close])
def test_another_thread_does_not_end_the_stream_that_one_reads(other: Any, trace_file: Path) -> None:
    """The reader's loop ended as if all was said: without the value, and without an error."""
    is_asked, go = threading.Event(), threading.Event()

    class Waits(Scripted):
        def stream(self, request: Request) -> Iterator[str | Reply]:
            self.requests.append(request)
            is_asked.set()
            assert go.wait(20)
            yield from (TEXT, reply(TEXT))

    stream = guard.Guard(Waits(TEXT)).stream(Order, ASK)
    parts: list[Any] = []
    reader = threading.Thread(target=lambda: parts.extend(stream))
    reader.start()
    assert is_asked.wait(20)
    with pytest.raises(ValueError, match="already executing"):
        other(stream)
    go.set()
    reader.join(20)
    assert stream.call is not None
    assert parts[-1].number == "A-1"
    assert [stored.outcome for stored in TraceStore.at(trace_file).latest()] == ["valid"]


@pytest.mark.parametrize("kind", ["model", "validator"])
def test_stop_iteration_of_an_application_s_code_does_not_hang(kind: str, trace_file: Path) -> None:
    """Before Python 3.12 no future takes it: the call waited forever."""

    class Stops(Scripted):
        def generate(self, request: Request) -> Reply:
            return next(iter(())) if kind == "model" else super().generate(request)

    class Ruled(BaseModel):
        text: str

        @model_validator(mode="after")
        def stops(self) -> Ruled:
            return next(iter(()))

    asked = guard.Guard(Stops(json.dumps({"text": "x" * 300_000})), retries=0)
    with pytest.raises((guard.ModelError, RuntimeError), match="StopIteration"):
        asyncio.run(asyncio.wait_for(asked.agenerate(Ruled, ASK), 30))
    assert len(TraceStore.at(trace_file).latest()) == 1


@pytest.mark.parametrize("way", ["stream", "astream"])
def test_what_a_stream_had_brought_when_it_was_left_is_in_the_ledger(way: str, trace_file: Path) -> None:
    asked = guard.Guard(ScriptedModel(reply(TEXT, completion_tokens=100, cost=0.5), pieces=len(TEXT) // 4))
    if way == "stream":
        with asked.stream(Order, ASK) as stream:
            next(stream)
    else:

        async def leave() -> None:
            async with asked.astream(Order, ASK) as stream:
                await anext(stream)

        asyncio.run(leave())
    call = TraceStore.at(trace_file).latest()[0]
    (attempt,) = call.attempts
    assert attempt.reply is not None
    assert (call.outcome, attempt.reason, attempt.reply.finish) == ("GeneratorExit", "interrupted", "cut")
    assert attempt.reply.text == TEXT[: len(TEXT) // 4]
    assert (call.prompt_tokens, call.completion_tokens, call.cost) == (
        100,
        round(100 * (len(TEXT) // 4) / len(TEXT)),
        0.5,
    )
    assert call.served == ""


class Untold(Scripted):
    """A model as users write them: its stream ends in one way or another, and it never says what was used."""

    def stream(self, request: Request) -> Iterator[str | Reply]:
        """Say something, and end."""
        yield from (TEXT[:8], TEXT[8:20])
        end = self.generate(request).text
        if end == "failed":
            raise ConnectionError("gone")
        while end == "left":
            yield " "

    def price(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Tell a price."""
        return prompt_tokens + completion_tokens / 1000


class AsyncUntold(Scripted):
    """The same, async."""

    price = Untold.price

    async def astream(self, request: Request) -> AsyncIterator[str | Reply]:
        """Say something, and end."""
        for piece in Untold.stream(self, request):
            await asyncio.sleep(0)
            yield piece


@pytest.mark.parametrize("way", ["stream", "astream"])
@pytest.mark.parametrize("kind", [Untold, AsyncUntold])
@pytest.mark.parametrize("end", ["left", "failed", "without its reply"])
def test_a_stream_of_which_the_model_says_nothing_is_in_the_ledger_as_an_estimate(
    end: str, kind: type[Scripted], way: str, trace_file: Path
) -> None:
    asked = guard.Guard(kind(end, name="mine"), retries=0)
    taken = 2 if end == "left" else 3

    async def take() -> None:
        async with asked.astream(Order, ASK) as stream:
            for _ in range(taken):
                await anext(stream)

    with contextlib.nullcontext() if end == "left" else pytest.raises(guard.ModelError, match=r"gone|ended without"):
        if way == "astream":
            asyncio.run(take())
        else:
            with asked.stream(Order, ASK) as stream:
                for _ in range(taken):
                    next(stream)
    call = TraceStore.at(trace_file).latest()[0]
    (attempt,) = call.attempts
    assert attempt.reply == Reply(TEXT[:20], "cut", "mine", 3, 5, cost=3.005, is_estimate=True)
    assert (call.prompt_tokens, call.completion_tokens, call.cost, call.is_estimate) == (3, 5, 3.005, True)


def test_a_whole_answer_is_charged_as_it_was_when_its_stream_is_left_before_the_reply(trace_file: Path) -> None:
    with guard.Guard(Scripted(reply(TEXT, completion_tokens=100))).stream(Order, ASK) as stream:
        next(stream)
    call = TraceStore.at(trace_file).latest()[0]
    assert (call.outcome, call.prompt_tokens, call.completion_tokens) == ("GeneratorExit", 100, 100)
    assert not call.is_estimate


@pytest.mark.parametrize("way", ["arun", "astream"])
@pytest.mark.parametrize("kind", ["blocking", "async"])
def test_a_cancelled_call_stops_the_model_and_is_recorded(way: str, kind: str, trace_file: Path) -> None:
    go, stopped = threading.Event(), threading.Event()

    class Endless(Scripted):
        def stream(self, request: Request) -> Iterator[str | Reply]:
            self.requests.append(request)
            try:
                while True:
                    yield "["
                    go.set()
            finally:
                stopped.set()

    class AsyncEndless(Scripted):
        async def agenerate(self, request: Request) -> Reply:
            async for _ in self.astream(request):
                pass
            raise AssertionError

        async def astream(self, request: Request) -> AsyncIterator[str | Reply]:
            self.requests.append(request)
            try:
                while True:
                    yield "["
                    go.set()
                    await asyncio.sleep(0)
            finally:
                stopped.set()

    asked = guard.Guard(Endless(name="m") if kind == "blocking" else AsyncEndless(name="m"))

    async def run() -> None:
        async def call() -> None:
            if way == "arun":
                await asked.agenerate(Order, ASK)
            else:
                async with asked.astream(Order, ASK) as stream:
                    async for _ in stream:
                        pass

        task = asyncio.ensure_future(call())
        await asyncio.to_thread(go.wait, 20)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert stopped.wait(20)
    assert TraceStore.at(trace_file).latest()[0].outcome in ("CancelledError", "GeneratorExit")


def test_many_async_calls_at_once_are_each_recorded(trace_file: Path) -> None:
    async def run() -> list[Any]:
        model = AsyncInPieces(*[json.dumps({"n": n}) for n in range(200)])
        asked = guard.Guard(model)
        return await asyncio.gather(*[asked.agenerate({"type": "object"}, ASK) for _ in range(200)])

    values = asyncio.run(run())
    assert sorted(v["n"] for v in values) == list(range(200))
    assert len(TraceStore.at(trace_file).latest(limit=1000)) == 200

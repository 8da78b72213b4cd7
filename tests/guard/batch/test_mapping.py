"""guard.map and guard.amap: every input has one result, in order or as completed, and nothing is asked twice."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

import guard
from guard.batch.map_run import AHEAD
from guard.batch.mapping import Results
from guard.models.base import Reply, Request
from guard.trace import TraceError, TraceStore


class Number(BaseModel):
    """What a document says."""

    n: int


class Counting:
    """Answers with the document's number after a moment; counts questions and how many are under way at once."""

    name = "counting"

    def __init__(self, act: Callable[[int], object] = lambda _: None) -> None:
        self.asked: list[int] = []
        self.most = self._now = 0
        self._act = act
        self._lock = threading.Lock()

    def generate(self, request: Request) -> Reply:
        number = int(request.messages[0]["content"].split()[0])
        with self._lock:
            self.asked.append(number)
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            said = self._act(number)
            text = said if isinstance(said, str) else json.dumps({"n": number})
            return Reply(text, "stop", "counting", 10, 5, cost=0.001)
        finally:
            with self._lock:
                self._now -= 1


class Frame(list[str]):
    """A table as those of pandas and Polars: it yields the names of its columns."""

    columns = ("text",)


def reader(model: object, **more: Any) -> Any:
    """Return a function that reads a document's number."""

    @guard.structured(model=model, **{"retries": 0, **more})
    def read(text: str) -> Number:
        """Read the number."""

    return read


def texts(numbers: Any) -> list[str]:
    return [f"{number} is the number." for number in numbers]


def collected(way: str, function: Any, *inputs: Any, **options: Any) -> list[guard.Result[Number]]:
    """Return the results of one of the two ways."""
    if way == "map":
        return list(guard.map(function, *inputs, **options))

    async def all_of_them() -> list[guard.Result[Number]]:
        return [result async for result in guard.amap(function, *inputs, **options)]

    return asyncio.run(all_of_them())


WAYS = pytest.mark.parametrize("way", ["map", "amap"])


@WAYS
def test_an_input_that_is_too_long_is_a_result_and_the_others_are_answered(way: str) -> None:
    model = Counting()
    results = collected(way, reader(model), ["1", "2" * 20_000_001, "3"], concurrency=1, resume="long")
    assert [result.index for result in results] == [0, 1, 2]
    assert [type(result.error) for result in results] == [type(None), guard.Truncated, type(None)]
    assert model.asked == [1, 3]


@WAYS
def test_an_input_that_no_model_can_be_shown_is_a_result_and_the_others_are_answered(way: str) -> None:
    model = Counting()
    results = collected(way, reader(model), [b"1", b"\xff", object(), "4"], concurrency=1, resume="bytes")
    assert [result.answer and result.answer.n for result in results] == [1, None, None, 4]
    assert [type(result.error).__name__ for result in results[1:3]] == ["InputError", "InputError"]
    assert str(results[1].error).startswith("the argument text=bytes can't be shown to a model: 'utf-8' codec can't")
    assert model.asked == [1, 4]


@WAYS
@given(numbers=st.lists(st.integers(0, 50), max_size=25), concurrency=st.integers(1, 9), ordered=st.booleans())
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_input_has_one_result_whatever_fails_and_however_many_are_asked_at_once(
    way: str, numbers: list[int], concurrency: int, ordered: bool
) -> None:
    draw = random.Random(1)

    def act(number: int) -> object:
        time.sleep(draw.random() * 0.004)
        if number % 7 == 3:
            raise guard.ModelError("gone")
        return '{"n": "none"}' if number % 7 == 5 else None

    model = Counting(act)
    results = collected(way, reader(model), texts(numbers), concurrency=concurrency, ordered=ordered)
    assert sorted(model.asked) == sorted(numbers)
    assert model.most <= concurrency
    assert sorted(result.index for result in results) == list(range(len(numbers)))
    if ordered:
        assert [result.index for result in results] == list(range(len(numbers)))
    for result in results:
        number = numbers[result.index]
        assert result.input == f"{number} is the number."
        expected = {3: guard.ModelError, 5: guard.ValidationFailed}.get(number % 7)
        if expected is None:
            assert result.value == Number(n=number)
            assert result.call is not None
            assert result.call.outcome == "valid"
        else:
            assert type(result.error) is expected
            assert result.error.call is not None
            with pytest.raises(expected):
                result.value  # noqa: B018 (it raises)


@WAYS
def test_a_resumed_run_asks_only_what_has_no_answer_yet(way: str, trace_file: Path) -> None:
    down = [True]

    def act(number: int) -> object:
        if number % 5 == 1 and down[0]:
            raise guard.ModelError("gone")
        return '{"n": "none"}' if number % 5 == 2 else None

    first = Counting(act)
    numbers = [*range(20), 3, 3]  # some documents are the same
    before = collected(way, reader(first), texts(numbers), resume="numbers", concurrency=4)
    assert sorted(first.asked) == sorted(numbers)
    down[0] = False
    again = Counting(act)
    # In another order, with new ones: of the same documents as many are answered as were.
    other = [3, *range(24), 3, 3]
    results = collected(way, reader(again), texts(other), resume="numbers", concurrency=4)
    assert sorted(again.asked) == sorted([1, 6, 11, 16, 20, 21, 22, 23, 3])
    assert [result.is_kept for result in results if result.input == "3 is the number."] == [True, True, True, False]
    for result in results:
        number = other[result.index]
        if number % 5 == 2:
            assert isinstance(result.error, guard.ValidationFailed)
            if result.is_kept:
                kept = next(r for r in before if r.input == result.input)
                assert kept.error is not None
                assert (str(result.error), result.error.findings, result.error.call) == (
                    str(kept.error),
                    kept.error.findings,
                    kept.error.call,
                )
        else:
            assert result.value == Number(n=number)
    failed = Counting(lambda number: f'{{"n": {number}}}')
    collected(way, reader(failed), texts(other), resume="numbers", retry_failed=True)
    assert sorted(failed.asked) == [2, 7, 12, 17, 22]
    nothing = Counting()
    collected(way, reader(nothing), texts(other), resume="numbers")
    assert nothing.asked == []
    all_again = Counting()
    collected(way, reader(all_again), texts(other), resume="another name")
    assert len(all_again.asked) == len(other)


def test_another_question_or_another_type_is_asked_under_the_same_name() -> None:
    collected("map", reader(Counting()), texts([1]), resume="numbers")

    class Wide(BaseModel):
        """Another type."""

        n: int
        more: str = ""

    model = Counting()

    @guard.structured(model=model, retries=0)
    def read(text: str) -> Wide:
        """Read the number."""

    (result,) = guard.map(read, texts([1]), resume="numbers")
    assert (result.value, result.is_kept, model.asked) == (Wide(n=1), False, [1])


def test_an_answer_that_a_validator_refuses_by_now_is_asked_for_again() -> None:
    collected("map", reader(Counting()), texts([1, 2]), resume="numbers")
    model = Counting()
    strict = reader(model, validators=[lambda value: value.n != 2])
    collected("map", strict, texts([1, 2]), resume="numbers")
    assert model.asked == [2]


def test_an_answer_that_redaction_has_changed_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "123456789")
    collected("map", reader(Counting()), texts([1, 123456789]), resume="numbers")
    model = Counting()
    results = collected("map", reader(model), texts([1, 123456789]), resume="numbers")
    assert [result.value.n for result in results] == [1, 123456789]
    assert model.asked == [123456789]


def test_pruned_records_are_asked_for_again(place: str) -> None:
    from guard.trace.retention import Retention

    collected("map", reader(Counting()), texts(range(6)), resume="numbers", concurrency=1)
    store = TraceStore.at(place)
    assert len(store.items("numbers")) == 6
    store.prune(Retention(calls=2))
    assert len(store.items("numbers")) == 2
    model = Counting()
    collected("map", reader(model), texts(range(6)), resume="numbers")
    assert sorted(model.asked) == [0, 1, 2, 3]
    store.forget_items("numbers")
    assert store.items("numbers") == {}
    assert store.count() == 6


def test_several_iterables_are_several_arguments() -> None:
    model = Counting()

    @guard.structured(model=model)
    def read(text: str, language: str) -> Number:
        """Read the number."""

    assert "en" in read.messages("4 x", "en")[0]["content"]

    class Second(Counting):
        def generate(self, request: Request) -> Reply:
            assert "language:\nen" in request.messages[0]["content"]
            return Reply('{"n": 1}', "stop", "m", 1, 1)

    (result,) = guard.map(read.using(model=Second()), ["4 x"], ["en"])
    assert result.input == ("4 x", "en")
    results = guard.map(read.using(model=Second()), ["4 x", "5 y"], ["en"])
    assert next(results).input == ("4 x", "en")
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        next(results)


def test_async_and_streamed_functions_are_mapped_as_well() -> None:
    model = Counting()

    @guard.structured(model=model)
    async def read(text: str) -> Number:
        """Read the number."""

    @guard.structured(model=model)
    def stream(text: str) -> Iterator[Number]:
        """Read the number."""

    for function in (read, stream):
        for way in ("map", "amap"):
            assert [result.value.n for result in collected(way, function, texts([1, 2]))] == [1, 2]


@WAYS
def test_a_fault_of_the_program_ends_the_run_and_what_was_under_way_is_recorded(way: str, trace_file: Path) -> None:
    def refuse(value: Number) -> bool:
        if value.n == 4:
            raise KeyError("a bug")
        return True

    model = Counting(lambda number: time.sleep(0.01 * (number % 3)))
    with pytest.raises(KeyError, match="a bug"):
        collected(way, reader(model, validators=[refuse]), texts(range(100)), concurrency=3)
    assert len(model.asked) < 15
    assert TraceStore.at(trace_file).count() == len(model.asked)


@WAYS
def test_a_trace_that_cant_be_written_ends_the_run(way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = Counting()
    read = reader(model)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GUARD_TRACE", str(tmp_path / "file" / "trace.db"))
    with pytest.raises(TraceError):
        collected(way, read, texts(range(5)))
    assert model.asked == []


def test_leaving_starts_nothing_more_and_waits_for_the_calls_under_way(trace_file: Path) -> None:
    model = Counting(lambda _: time.sleep(0.02))
    with guard.map(reader(model), texts(range(1000)), concurrency=4) as results:
        assert next(results).value.n == 0
    assert len(model.asked) <= 4 * 3
    assert TraceStore.at(trace_file).count() == len(model.asked)
    assert list(results) == []
    assert not [thread for thread in threading.enumerate() if thread.name == "guard-map"]


def test_results_that_are_dropped_start_nothing_more_and_leave_no_thread() -> None:
    model = Counting(lambda _: time.sleep(0.005))
    for _ in guard.map(reader(model), texts(range(1000)), concurrency=4):
        break
    gc.collect()
    for thread in [thread for thread in threading.enumerate() if thread.name == "guard-map"]:
        thread.join(10)
        assert not thread.is_alive()
    assert len(model.asked) <= 4 * 3


def test_the_calls_under_way_are_handed_out_after_an_interrupt() -> None:
    model = Counting(lambda number: time.sleep(0.05 if number else 0))
    results = guard.map(reader(model), texts(range(100)), concurrency=4)
    next(results)
    rest = list(results.finish())
    assert {result.index for result in rest} == set(range(1, len(rest) + 1)) == set(model.asked) - {0}
    assert list(results) == []


def test_leaving_an_async_run_waits_for_the_calls_under_way_and_cancelling_cancels_them(trace_file: Path) -> None:
    model = Counting(lambda _: time.sleep(0.02))

    async def leave() -> None:
        async with guard.amap(reader(model), texts(range(1000)), concurrency=4) as results:
            await anext(results)

    asyncio.run(leave())
    assert len(model.asked) <= 4 * 3
    assert TraceStore.at(trace_file).count() == len(model.asked)


class Slow:
    """Answers from a task, each at its own pace; counts who was asked and who answered."""

    name = "slow"

    def __init__(self, seconds: Callable[[int], float] = lambda _: 30.0) -> None:
        self.asked: list[int] = []
        self.answered: list[int] = []
        self._seconds = seconds

    async def agenerate(self, request: Request) -> Reply:
        number = int(request.messages[0]["content"].split()[0])
        self.asked.append(number)
        await asyncio.sleep(self._seconds(number))
        self.answered.append(number)
        return Reply(json.dumps({"n": number}), "stop", "slow", 10, 5, cost=0.001)

    def generate(self, _: Request) -> Reply:
        raise AssertionError("only tasks ask")


async def iterated(results: Any) -> None:
    async for _ in results:
        pass


async def within(results: Any) -> None:
    async with results:
        await anext(results)
        await asyncio.sleep(30)


@pytest.mark.parametrize("way", [iterated, within])
@pytest.mark.parametrize("end", ["cancel", "timeout"])
def test_a_task_that_is_cancelled_leaves_no_call_under_way_and_all_are_recorded(
    way: Any, end: str, trace_file: Path
) -> None:
    model = Slow(lambda number: 0.0 if number < 3 else 30.0)

    async def answers() -> None:
        for _ in range(3000):
            if TraceStore.at(trace_file).count() == 3:
                return
            await asyncio.sleep(0.01)

    async def leave() -> None:
        results = guard.amap(reader(model), texts(range(50)), concurrency=5, resume="numbers")
        limit = asyncio.timeout(None)
        task = asyncio.create_task(way(results) if end == "cancel" else timed(results, limit))
        await answers()
        task.cancel() if end == "cancel" else limit.reschedule(0)
        with pytest.raises(asyncio.CancelledError if end == "cancel" else TimeoutError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}
        for _ in range(2):  # it looked like the end of a whole run
            with pytest.raises(RuntimeError, match="the run ended when its task was cancelled"):
                await anext(results)
        await results.aclose()

    async def timed(results: Any, limit: asyncio.Timeout) -> None:
        async with limit:
            await way(results)

    asyncio.run(leave())
    assert sorted(model.answered) == [0, 1, 2]
    outcomes = sorted(call.outcome for call in TraceStore.at(trace_file).each())
    assert outcomes == ["CancelledError"] * (len(model.asked) - 3) + ["valid"] * 3


@WAYS
@given(count=st.integers(0, 12), concurrency=st.integers(1, 4), ordered=st.booleans())
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_inputs_that_end_with_an_exception_hand_on_what_was_begun_first(
    way: str, count: int, concurrency: int, ordered: bool
) -> None:
    def inputs() -> Iterator[str]:
        yield from texts(range(count))
        raise KeyError("the inputs' own")

    def taken(results: Iterator[guard.Result[Number]]) -> Iterator[int]:
        with pytest.raises(KeyError, match="the inputs' own"):
            yield from (result.value.n for result in results)
        assert list(results) == []

    async def ataken() -> list[int]:
        results, found = guard.amap(reader(model), inputs(), concurrency=concurrency, ordered=ordered), list[int]()
        with pytest.raises(KeyError, match="the inputs' own"):
            await all_into(found, results)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return found

    async def all_into(found: list[int], results: Any) -> None:
        async for result in results:
            found += [result.value.n]

    model = Counting(lambda _: time.sleep(0.002))
    if way == "map":
        found = list(taken(guard.map(reader(model), inputs(), concurrency=concurrency, ordered=ordered)))
    else:
        found = asyncio.run(ataken())
    assert (found if ordered else sorted(found)) == sorted(model.asked) == list(range(count))


def test_no_result_is_handed_on_before_its_record_and_the_model_is_asked_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What comes while others are recorded is recorded together."""
    may_write, sizes = threading.Event(), list[int]()
    write_all = TraceStore.write_all

    def slow(store: TraceStore, entries: Any) -> Any:
        assert may_write.wait(30)
        sizes.append(len(entries))
        return write_all(store, entries)

    monkeypatch.setattr(TraceStore, "write_all", slow)
    model = Counting()
    with guard.map(reader(model), texts(range(40)), concurrency=4) as results:
        first = threading.Thread(target=lambda: next(results))
        first.start()
        until = time.monotonic() + 30
        while len(model.asked) < 8 and time.monotonic() < until:
            time.sleep(0.01)
        assert len(model.asked) == 8  # twice as many as are asked at once wait, recorded or not
        assert first.is_alive()
        may_write.set()
        first.join(30)
        assert len(list(results)) == 39
    assert sum(sizes) == 40
    assert max(sizes) > 1


def test_inputs_are_read_as_they_are_needed() -> None:
    read: list[int] = []

    def inputs() -> Iterator[str]:
        for number in range(100_000):
            read.append(number)
            yield f"{number} is"

    begun = threading.Event()
    model = Counting(lambda number: begun.wait(20) if number == 0 else None)
    results = guard.map(reader(model), inputs(), concurrency=2)
    threading.Timer(0.2, begun.set).start()
    next(results)
    assert len(read) <= AHEAD + 4
    results.close()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: guard.map(len, ["x"]), TypeError, "takes a function that guard.structured made, not <built-in"),
        (lambda: guard.map(reader(Counting())), TypeError, "needs an iterable of inputs"),
        (lambda: guard.map(reader(Counting()), "text"), TypeError, r"guard.map\(read, \[text\]\)"),
        (lambda: guard.map(reader(Counting(), tools=[texts]), ["x"]), TypeError, r"map\(\) asks .*its tools need more"),
        (lambda: guard.amap(reader(Counting(), tools=[texts]), ["x"]), TypeError, "decorate a function without tools"),
        (lambda: guard.map(reader(Counting()), [], concurrency=0), ValueError, "concurrency=0 must be at least 1"),
        (lambda: guard.map(reader(Counting()), {"text": "1"}), TypeError, "a dict yields only the names in it"),
        (lambda: guard.amap(reader(Counting()), Frame()), TypeError, "a Frame yields only the names in it"),
        (lambda: guard.map(reader(Counting()), [], concurrency=2.5), ValueError, "must be a whole number"),
        (lambda: guard.map(reader(Counting()), [], concurrency=5000), ValueError, "must be at most 1,024"),
        (lambda: guard.map(reader(Counting()), [], resume=True), ValueError, "resume=True must be a name"),
        (lambda: guard.map(reader(Counting()), [], resume=" "), ValueError, "resume=' ' must be a name"),
        (lambda: guard.amap(reader(Counting()), [], retry_failed=True), ValueError, "needs resume="),
    ],
)
def test_what_is_wrong_is_said_at_once(call: Callable[[], object], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


def test_a_run_is_an_iterator_with_a_type() -> None:
    assert isinstance(guard.map(reader(Counting()), []), Results)
    assert list(guard.map(reader(Counting()), [])) == []


def test_a_program_that_leaves_a_run_ends_as_it_would(tmp_path: Path) -> None:
    """Threads that were in a model's native code ended it with a crash."""
    program = (
        "import guard, time\n"
        "from guard.models import scripted\n"
        "class Slow:\n"
        "    name = 'slow'\n"
        "    def generate(self, request):\n"
        "        time.sleep(0.3)\n"
        "        return scripted.reply('{\"a\": 1}')\n"
        "@guard.structured(model=Slow())\n"
        "def f(x: str) -> dict[str, int]: 'Count.'\n"
        "runs = guard.map(f, map(str, range(20)), concurrency=4)\n"
        "print(next(runs).answer)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "GUARD_TRACE": str(tmp_path / "trace.db")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("{'a': 1}\n", "", 0)
    with TraceStore(tmp_path / "trace.db").reading() as connection:
        assert connection is not None
        recorded = connection.exec_driver_sql("SELECT count(*) FROM calls").scalar()
    assert 4 <= recorded <= 8  # those that were under way too, and no further ones


def test_a_run_has_one_consumer_and_another_is_refused(trace_file: Path) -> None:
    """Several threads over one `guard.map`, or tasks over one `guard.amap`, waited for ever for each other's calls."""

    class Gated(Counting):
        async def agenerate(self, request: Request) -> Reply:
            return await asyncio.to_thread(self.generate, request)

    gate = threading.Event()
    model = Gated(lambda _: gate.wait(30))

    @guard.structured(model=model, retries=0)
    def number(text: str) -> Number:
        """Return the number."""

    async def three() -> list[Any]:
        run = guard.amap(number, ["1", "2", "3", "4"], concurrency=2)

        async def take() -> list[int]:
            return [result.value.n async for result in run]

        tasks = [asyncio.create_task(take()) for _ in range(3)]
        while sum(task.done() for task in tasks) < 2:  # noqa: ASYNC110 (for a moment, of a test)
            await asyncio.sleep(0.01)
        gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, *others = asyncio.run(asyncio.wait_for(three(), 30))
    assert first == [1, 2, 3, 4]
    assert all(isinstance(one, RuntimeError) and "iterated over already" in str(one) for one in others)
    gate.clear()
    run, taken = guard.map(number, ["1", "2", "3", "4"], concurrency=2), list[int]()
    thread = threading.Thread(target=lambda: taken.extend(result.value.n for result in run), daemon=True)
    before = len(model.asked)
    thread.start()
    while len(model.asked) == before:
        time.sleep(0.01)
    for wrong in (lambda: next(run), run.close, lambda: list(run.finish())):
        with pytest.raises(RuntimeError, match="iterated over already"):
            wrong()
    gate.set()
    thread.join(30)
    assert taken == [1, 2, 3, 4]
    assert list(run) == []

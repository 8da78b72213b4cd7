"""Records of an event loop: one commit for many, and none behind a large one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import uvloop

from guard.decoding.confidence import Token
from guard.models.base import Reply
from guard.output.repair import repair
from guard.schemas import compile as compiled_of
from guard.trace.errors import TraceError
from guard.trace.record_queue import LANES, LARGE, CommitQueue, Entry, Journal, weight_of
from guard.trace.records import Attempt, Call


def call(content: Any = "x", text: str = "1", **more: Any) -> Call:
    """Return a record."""
    reply = Reply(text, "stop", "m", 1, 1, tokens=more.pop("tokens", ()))
    attempt = Attempt(1, ({"role": "user", "content": content},), reply, **more)
    return Call("f", "T", "h", "", "m", {}, 1.0, attempts=(attempt,))


SMALL = call()
LONG = "x" * 64 * LARGE


@pytest.mark.parametrize(
    "large",
    [
        call(LONG),
        call([{"type": "text", "text": LONG}]),
        call([{"type": "text", "text": "x"}] * 5000),
        call({LONG: 1}),
        call(text=LONG),
        call(text="x", repaired=LONG),
        call(repairs=repair("{'a': 1}").edits * 5000),
        call(tokens=(Token("x", 0.0, 0.0, None),) * 5000),
    ],
    ids=["prompt", "part", "parts", "key", "answer", "mended", "edits", "tokens"],
)
def test_what_takes_long_to_be_written_out_is_large(large: Call) -> None:
    assert weight_of(large) >= LARGE
    assert weight_of(SMALL) < LARGE / 100


def test_looking_costs_little_however_large_a_record_is() -> None:
    class Counted(list[Any]):
        looks = 0

        def __iter__(self) -> Iterator[Any]:
            Counted.looks += 1
            return super().__iter__()

    assert weight_of(call([Counted() for _ in range(1_000_000)])) >= LARGE
    assert Counted.looks <= LARGE


@pytest.mark.parametrize(
    ("large", "schema"),
    [(call(LONG), True), (SMALL, {"enum": [f"value {at}" for at in range(5000)]})],
    ids=["call", "schema"],
)
def test_no_small_record_waits_behind_a_large_one(large: Call, schema: Any) -> None:
    is_let, is_at_work = threading.Event(), threading.Event()
    batches: list[int] = []
    compiled, other = compiled_of(schema), compiled_of({"type": "integer"})

    def write(entries: Sequence[Entry]) -> list[Any]:
        if entries[0][1] is compiled:
            is_at_work.set()
            assert is_let.wait(60)
        batches.append(len(entries))
        return list(range(len(entries)))

    async def records() -> None:
        journal = Journal(write)
        slow = [journal.begin(large, compiled, 60.0) for _ in range(3)]
        await asyncio.to_thread(is_at_work.wait, 60)
        assert await asyncio.gather(*(journal.written(SMALL, other, 60.0) for _ in range(10))) == [*range(10)]
        assert not any(future.done() for future in slow)
        slow[2].cancel()
        is_let.set()
        await journal.close()
        assert [future.result() for future in slow[:2]] == [0, 0]

    asyncio.run(records())
    assert batches == [10, 1, 1]  # those of one turn of the loop together, large ones each by itself


def test_records_of_one_turn_of_the_loop_are_committed_together_and_so_are_those_that_come_meanwhile() -> None:
    is_let, is_at_work = threading.Event(), threading.Event()
    batches: list[int] = []

    def write(entries: Sequence[Entry]) -> list[Any]:
        batches.append(len(entries))
        is_at_work.set()
        assert is_let.wait(60)
        return [0] * len(entries)

    async def records() -> None:
        journal = Journal(write)
        begun = [journal.begin(SMALL, None, 60.0) for _ in range(3)]
        await asyncio.to_thread(is_at_work.wait, 60)
        begun += [journal.begin(SMALL, None, 60.0) for _ in range(5)]
        is_let.set()
        await asyncio.gather(*begun)
        await journal.close()

    asyncio.run(records())
    assert batches == [3, 5]


def test_no_light_record_waits_behind_a_heavy_one_nor_that_behind_a_large_one() -> None:
    heavy = call(LONG[: len(LONG) // 2])
    assert LANES[0][1] <= weight_of(heavy) < LARGE
    is_let = threading.Event()
    order: list[str] = []

    def write(entries: Sequence[Entry]) -> list[Any]:
        weight = weight_of(entries[0][0])
        if weight >= LARGE:
            assert is_let.wait(60)
        order.append("large" if weight >= LARGE else "heavy" if weight >= LANES[0][1] else "light")
        return [0] * len(entries)

    async def records() -> None:
        journal = Journal(write)
        slow = journal.begin(call(LONG), None, 60.0)
        await journal.written(heavy, None, 60.0)
        await journal.written(SMALL, None, 60.0)
        is_let.set()
        await slow
        await journal.close()

    asyncio.run(records())
    assert order == ["heavy", "light", "large"]


class Held:
    """A writer that is at work until it is let go; it knows the models of what it has written."""

    def __init__(self) -> None:
        self.go, self.is_at_work = threading.Event(), threading.Event()
        self.written: list[str] = []

    def __call__(self, entries: Sequence[Entry]) -> list[Any]:
        """Write."""
        self.is_at_work.set()
        assert self.go.wait(60)
        self.written += [entry[0].model for entry in entries]
        return [0] * len(entries)


def test_a_record_whose_caller_has_gone_is_written_at_its_turn_unless_it_was_taken_back() -> None:
    writer = Held()

    async def records() -> None:
        journal = Journal(writer)
        first = journal.begin(SMALL, None, 60.0)
        await asyncio.to_thread(writer.is_at_work.wait, 60)
        leaving = asyncio.create_task(journal.written(replace(SMALL, model="left"), None, 60.0))
        taken = journal.begin(replace(SMALL, model="taken back"), None, 60.0)
        await asyncio.sleep(0)  # until the task waits
        leaving.cancel()
        taken.cancel()
        writer.go.set()
        await first
        await journal.close()

    asyncio.run(records())
    assert writer.written == ["m", "left"]


class _Panic(BaseException):
    """What a driver in Rust raises."""


def test_whatever_a_writer_raises_the_next_records_are_written() -> None:
    def write(entries: Sequence[tuple[str, float]]) -> list[Any]:
        if entries[0][0] == "bad":
            raise _Panic
        return [name for name, _ in entries]

    async def main() -> list[Any]:
        queue: CommitQueue[str] = CommitQueue(write, "test", 1)
        found = [queue.begin(name, 30.0) for name in ("bad", "good")]
        results = await asyncio.gather(*found, return_exceptions=True)
        await queue.close()
        return results

    bad, good = asyncio.run(main())
    assert (type(bad), good) == (TraceError, "good")


def test_a_record_that_comes_while_the_journal_closes_is_written() -> None:
    writer = Held()

    async def records() -> None:
        journal = Journal(writer)
        large = journal.begin(call(LONG), None, 60.0)
        await asyncio.to_thread(writer.is_at_work.wait, 60)
        closing = asyncio.create_task(journal.close())
        await asyncio.sleep(0.01)  # until it waits for the large one
        late = journal.begin(replace(SMALL, model="late"), None, 60.0)
        writer.go.set()
        await asyncio.gather(large, late, closing)

    asyncio.run(records())
    assert sorted(writer.written) == ["late", "m"]


def test_a_batch_that_outlives_its_event_loop_is_committed() -> None:
    writer, is_written = Held(), threading.Event()

    def write(entries: Sequence[Entry]) -> list[Any]:
        numbers = writer(entries)
        is_written.set()
        return numbers

    async def record() -> None:
        Journal(write).begin(SMALL, None, 60.0)
        await asyncio.to_thread(writer.is_at_work.wait, 60)

    asyncio.run(record())
    writer.go.set()
    assert is_written.wait(60)


def test_who_waits_is_told_what_the_writer_knows_and_not_that_the_same_time_is_over_here() -> None:
    def write(entries: Sequence[Entry]) -> list[Any]:
        time.sleep(max(0.0, entries[0][2]) + 0.05)  # the database says so when the time is over
        return [TraceError("another holds it")] * len(entries)

    async def record() -> None:
        with pytest.raises(TraceError, match="another holds it"):
            await Journal(write).written(SMALL, None, 0.1)

    asyncio.run(record())


def test_a_deadline_that_is_over_at_once_leaves_the_watch_over_others() -> None:
    """Under uvloop a timer of this very moment is no timer, and tells no time."""

    async def main() -> list[Any]:
        queue: CommitQueue[str] = CommitQueue(lambda entries: [name for name, _ in entries], "test", 10)
        found = [queue.begin("over", -1.0), queue.begin("in time", 30.0)]
        results = await asyncio.gather(*found, return_exceptions=True)
        await queue.close()
        return results

    assert uvloop.run(main())[1] == "in time"

"""A trace with damaged rows: the call is named, and an export goes on with the others."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sample_calls import CALL

from guard.cli import app
from guard.trace import TraceError, TraceStore
from guard.trace.call_rows import PAGE
from guard.trace.retention import EVERY, Retention
from guard.trace.sql_tables import CALLS

Run = Callable[..., tuple[int, str, str]]
HURTS = {
    2: "UPDATE attempts SET messages = '{broken' WHERE call = 2",
    3: "UPDATE attempts SET text = x'00ff' WHERE call = 3",
    4: "UPDATE calls SET options = '' WHERE id = 4",
    5: "UPDATE calls SET started = 'abc' WHERE id = 5",
}


def hurt(file: Path, *statements: str) -> None:
    connection = sqlite3.connect(file)
    connection.create_function("guard_sums_up_days", 0, int)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TraceStore]:
    """Seven calls, of which four are damaged; of the last two, one began in no year, and one in the year 11016."""
    store = TraceStore(tmp_path / "calls.db")
    for _ in range(6):
        store.write(CALL)
    store.write(dataclasses.replace(CALL, started=285_490_000_000.0))
    hurt(tmp_path / "calls.db", *HURTS.values(), "UPDATE calls SET started = 1e18 WHERE id = 6")
    monkeypatch.setenv("GUARD_TRACE", str(tmp_path / "calls.db"))
    yield store
    store.close()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            app.main(("trace", *arguments))
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    return run


@pytest.mark.parametrize("number", HURTS)
def test_a_damaged_call_is_named(trace: TraceStore, run: Run, number: int) -> None:
    code, _, said = run("show", str(number))
    assert (code, said.count("\n")) == (1, 1)
    assert said.startswith(f"guard: call {number} is damaged and can't be read: ")
    with pytest.raises(TraceError, match=f"call {number} is damaged"):
        list(trace.each() if number == 2 else [trace.read(number)])


def test_a_call_in_a_year_that_no_calendar_has_is_shown(run: Run, trace: TraceStore, tmp_path: Path) -> None:
    for number, began in ((6, "1000000000000000000 s"), (7, "285490000000 s")):
        code, out, _ = run("show", str(number), "--json")
        assert (code, json.loads(out)["started"]) == (0, began)
    assert run("show", "7", "--html", str(tmp_path / "call.html"))[0] == 0
    assert [call.number for call in trace.latest(limit=2)] == [7, 6]


@pytest.mark.parametrize("form", ["jsonl", "parquet", "sft"])
@pytest.mark.usefixtures("trace")
def test_an_export_leaves_damaged_calls_out_and_says_so(run: Run, tmp_path: Path, form: str) -> None:
    file = tmp_path / f"x.{form}"
    code, _, said = run("export", "--format", form, "-o", str(file))
    *left_out, count = said.splitlines()
    more = ["guard: left out: call 6 began at 1e+18 s, which no timestamp holds"] if form == "parquet" else []
    words = [f"guard: left out: call {number}" for number in HURTS]
    assert [line.split(" is damaged")[0] for line in left_out] == words + more
    assert (code, count) == (1, "2 rows" if more else "3 rows")
    if form == "jsonl":
        assert [json.loads(line)["number"] for line in file.read_text().splitlines()] == [1, 6, 7]


@pytest.mark.usefixtures("trace")
def test_a_list_leaves_damaged_calls_out_and_says_so(run: Run) -> None:
    """One damaged call among the latest left nothing to be seen of the others."""
    code, out, said = run("list", "--json")
    assert (code, [json.loads(line)["call"] for line in out.splitlines()]) == (1, [7, 6, 1])
    assert [line.split(" is damaged")[0] for line in said.splitlines()] == [
        f"guard: left out: call {number}" for number in (5, 4, 3, 2)
    ]
    code, out, said = run("list", "--limit", "2")
    assert (code, said) == (0, "")


#: What SQLite takes into a column, and no Guard writes.
DAMAGE = [
    "UPDATE calls SET options = '' WHERE id = 2",
    "UPDATE calls SET options = '[]' WHERE id = 2",
    "UPDATE calls SET started = 'abc' WHERE id = 2",
    "UPDATE calls SET seconds = x'00' WHERE id = 2",
    "UPDATE calls SET function = x'00', outcome = x'ff' WHERE id = 2",
    "UPDATE attempts SET prompt_tokens = 'many' WHERE call = 2",
    "UPDATE attempts SET prompt_tokens = NULL, completion_tokens = NULL WHERE call = 2",
    "UPDATE attempts SET cost = 'x', tier = 'y', is_kept = 'z', reason = x'00' WHERE call = 2",
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_call_is_deleted_and_no_call_fails_for_it(damage: str, tmp_path: Path) -> None:
    """Once it was among the oldest that are deleted, no call could be recorded any more, nor could any be pruned."""
    store = TraceStore(tmp_path / "calls.db", Retention(calls=100))
    store.write_all([(CALL, None, 30.0)] * (EVERY - 1))
    hurt(tmp_path / "calls.db", damage)
    assert len(list(store.each(damaged=lambda _: None))) >= EVERY - 2
    assert store.write(CALL).number == EVERY
    assert (store.read(2), store.count()) == (None, 100)
    # What it was counted under may be damaged too: then it stays in the totals.
    assert sum(row.figures["ended"] for row in store.ledger()) in (100, 101)
    store.write_all([(CALL, None, 30.0)] * 10)
    hurt(tmp_path / "calls.db", damage.replace("= 2", f"= {EVERY}"))
    assert store.ledger(since=0.5)
    assert store.prune(Retention(calls=5)) + store.count() == 110
    assert store.count() in (4, 5)
    store.close()


@pytest.mark.parametrize("column", ["prompt_tokens", "cost", "seconds", "tier", "room"])
def test_a_number_that_is_none_is_named(tmp_path: Path, column: str) -> None:
    store = TraceStore(tmp_path / "calls.db")
    store.write(CALL)
    hurt(tmp_path / "calls.db", f"UPDATE attempts SET {column} = 'many' WHERE call = 1")  # noqa: S608 (ours)
    with pytest.raises(TraceError, match=f"call 1 is damaged and can't be read: its {column} is 'many'"):
        store.read(1)
    store.close()


@pytest.mark.parametrize("since", [None, 0.0])
def test_a_page_of_damaged_calls_ends_nothing(tmp_path: Path, since: float | None) -> None:
    store = TraceStore(tmp_path / "many.db")
    store.write_all([(CALL, None, 30.0)] * (PAGE + 50))
    with store.begin() as connection:
        connection.execute(CALLS.update().where(CALLS.c.id <= PAGE + 10).values(options=""))
    wrong: list[TraceError] = []
    assert [call.number for call in store.each(since=since, damaged=wrong.append)] == list(range(PAGE + 11, PAGE + 51))
    assert len(wrong) == PAGE + 10
    store.close()


def test_damaged_feedback_is_named_and_statistics_go_on_without_what_is_damaged(tmp_path: Path) -> None:
    """The sidecar's page of economics was a 500 for one record, the call's page for what was said of it."""
    store = TraceStore(tmp_path / "calls.db")
    for number in (1, 2):
        store.write(CALL)
        store.rate(number, True)
    rated = sum(one.rated for one in store.ratings())
    hurt(tmp_path / "calls.db", "UPDATE calls SET options = '{broken' WHERE id = 2")
    assert (rated, sum(one.rated for one in store.ratings())) == (2, 1)
    hurt(tmp_path / "calls.db", "UPDATE feedback SET by = x'00ff' WHERE call = 1")
    with pytest.raises(TraceError, match="the feedback on call 1 is damaged and can't be read; give it again"):
        store.feedback([1, 2])
    store.rate(1, False)
    assert [store.feedback([1])[1].right, store.feedback([2])[2].right] == [False, True]
    store.close()

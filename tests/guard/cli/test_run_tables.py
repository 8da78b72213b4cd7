"""`guard run` over tables: what is kept of a row is spelled as JSON has it, and no two things share a column."""

from __future__ import annotations

import base64
import csv
import datetime
import json
import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guard.batch.inputs import InputError, Inputs
from guard.batch.kept_values import as_json
from guard.batch.outputs import Output
from guard.models.base import Reply, Request
from guard.trace import TraceStore

SCHEMA = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("id", "call", "value.id")},
    "required": ["id", "call", "value.id"],
    "additionalProperties": False,
}
ANSWER = {"value.id": "a", "id": "b", "call": "c"}
Run = Callable[..., tuple[int, str, str]]
FORMATS = ["out.jsonl", "out.csv", "out.tsv", "out.parquet"]


class Same:
    """Answers all the same."""

    name = "same"

    def __init__(self) -> None:
        self.asked = 0

    def generate(self, _: Request) -> Reply:
        self.asked += 1
        return Reply(json.dumps(ANSWER), "stop", "same", 10, 5)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Same:
    same = Same()
    monkeypatch.setattr("guard.models.load", lambda _name, _progress=None: same)
    return same


@pytest.fixture
def schema() -> dict[str, Any]:
    return SCHEMA


def read(path: Path) -> list[dict[str, Any]]:
    """Return the columns of an output."""
    if path.suffix == ".parquet":
        found: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
        return found
    if path.suffix == ".jsonl":
        rows = [json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines()]
        return [{"input": row["input"], "row": row["row"], **row["columns"], **row["value"]} for row in rows]
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))


#: By kind: what a Parquet file holds, and how it is kept.
KINDS: dict[str, tuple[Any, Any]] = {
    "timestamp": (pa.array([1_777_638_600_000_000], pa.timestamp("us")), "2026-05-01T12:30:00"),
    "zone": (pa.array([0], pa.timestamp("ms", "UTC")), "1970-01-01T00:00:00+00:00"),
    "date": (pa.array([datetime.date(2026, 5, 1)]), "2026-05-01"),
    "time": (pa.array([datetime.time(12, 30, 5)], pa.time64("us")), "12:30:05"),
    "duration": (pa.array([-90_500_000], pa.duration("us")), "-PT90.5S"),
    "day": (pa.array([86_400], pa.duration("s")), "PT86400S"),
    "decimal": (pa.array([Decimal("1.10")]), "1.10"),
    "binary": (pa.array([b"\xff\x00"]), "/wA="),
    "nan": (pa.array([math.nan]), "NaN"),
    "infinity": (pa.array([-math.inf]), "-Infinity"),
    "null": (pa.array([None], pa.timestamp("us")), None),
    "list": (pa.array([[math.nan, 1.5]]), ["NaN", 1.5]),
    "struct": (pa.array([{"at": datetime.date(2026, 5, 1), "n": 2**53 + 1}]), {"at": "2026-05-01", "n": 2**53 + 1}),
}


@pytest.mark.usefixtures("model")
def test_numbers_of_which_some_are_not_finite_are_plain_text_in_parquet_as_in_csv(run: Run, tmp_path: Path) -> None:
    column = pa.array([math.nan, -math.inf, 0.5])
    pyarrow.parquet.write_table(pa.table({"text": ["a", "b", "c"], "k": column}), tmp_path / "in.parquet")
    for target in ("out.csv", "out.parquet"):
        assert run("-i", "in.parquet", "--keep", "k", "-o", target)[0] == 0
        assert [row["k"] for row in read(tmp_path / target)] == ["NaN", "-Infinity", "0.5"]


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_parquet_file_holds_is_kept_exactly(
    run: Run, model: Same, tmp_path: Path, kind: str, target: str
) -> None:
    array, expected = KINDS[kind]
    pyarrow.parquet.write_table(pa.table({"text": ["It says 1."], "k": array}), tmp_path / "in.parquet")
    code, _, err = run("-i", "in.parquet", "--keep", "k", "-o", target)
    assert (code, model.asked) == (0, 1), err
    (row,) = read(tmp_path / target)
    if target != "out.jsonl":
        expected = json.dumps(expected) if isinstance(expected, list | dict) else expected
    if target in ("out.csv", "out.tsv"):
        expected = expected or ""
    assert row["k"] == expected


def test_a_number_that_is_none_is_a_text_in_json_lines_too(run: Run, model: Same, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(
        '{"text": "1", "k": NaN}\n{"text": "", "k": [-Infinity, 1e400, 0.12345678901234567890, 0.5]}\n'
    )
    assert run("-i", "in.jsonl", "--keep", "k", "-o", "out.jsonl")[0] == 2  # one of them is empty
    assert [row["k"] for row in read(tmp_path / "out.jsonl")] == ["NaN"]
    failed = json.loads((tmp_path / "out.jsonl.failures.jsonl").read_text(), parse_constant=pytest.fail)
    assert failed["columns"] == {"k": ["-Infinity", "1E+400", "0.12345678901234567890", 0.5]}


class Long:
    """Answers with a number that no double is."""

    name = "long"

    def generate(self, _: Request) -> Reply:
        return Reply('{"n": 12345678901234567.25, "parts": [0.1, 0.10000000000000000001]}', "stop", "long", 10, 5)


LONG_SCHEMA = {"type": "object", "properties": {"n": {"type": "number"}, "parts": {"type": "array"}}, "required": ["n"]}


@pytest.mark.parametrize("schema", [LONG_SCHEMA])
def test_an_answers_numbers_keep_their_digits(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They were rounded to doubles, and nothing said so."""
    monkeypatch.setattr("guard.models.load", lambda _name, _progress=None: Long())
    (tmp_path / "in.jsonl").write_text('{"text": "1"}\n')
    said = '"n": 12345678901234567.25, "parts": [0.1, 0.10000000000000000001]'
    assert said in run("-i", "in.jsonl", "--json")[1]
    assert '"n": 12345678901234567.25' in run("-i", "in.jsonl")[1]
    for target in FORMATS:
        assert run("-i", "in.jsonl", "-o", target)[0] == 0
        if target == "out.jsonl":
            assert said in (tmp_path / target).read_text()
        else:
            (row,) = read(tmp_path / target)
            assert (row["n"], row["parts"]) == ("12345678901234567.25", "[0.1, 0.10000000000000000001]")


SCALARS = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.decimals()),
    *(st.datetimes(), st.dates(), st.times(), st.timedeltas()),
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=9)


@given(value=VALUES)
def test_every_kept_value_is_json_and_another_is_spelled_otherwise(value: Any) -> None:
    said = as_json(value)
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    back = {
        datetime.datetime: datetime.datetime.fromisoformat,
        datetime.date: datetime.date.fromisoformat,
        datetime.time: datetime.time.fromisoformat,
        datetime.timedelta: lambda text: datetime.timedelta(microseconds=microseconds(text)),
        bytes: base64.b64decode,
    }.get(type(value))
    if back is not None:
        assert back(said) == value
    if isinstance(value, float | Decimal):
        assert repr(type(value)(said)) == repr(value)


def microseconds(duration: str) -> int:
    sign, number = (-1, duration[1:]) if duration.startswith("-") else (1, duration)
    return sign * int(Decimal(number.removeprefix("PT").removesuffix("S")) * 1_000_000)


def test_nanoseconds_are_kept() -> None:
    pytest.importorskip("pandas")
    assert as_json(pa.scalar(1, pa.timestamp("ns")).as_py()) == "1970-01-01T00:00:00.000000001"
    assert as_json(pa.scalar(-1, pa.duration("ns")).as_py()) == "-PT0.000000001S"


def test_a_row_that_python_cant_hold_is_a_failure_of_its_own(run: Run, model: Same, tmp_path: Path) -> None:
    dates = pa.array([0, 10**8, 1], pa.date32())  # the second is after the year 9999
    pyarrow.parquet.write_table(pa.table({"text": ["1", "2", "3"], "k": dates}), tmp_path / "in.parquet")
    assert run("-i", "in.parquet", "--keep", "k", "-o", "out.jsonl")[0] == 2
    assert [(row["row"], row["k"]) for row in read(tmp_path / "out.jsonl")] == [(1, "1970-01-01"), (3, "1970-01-02")]
    failed = json.loads((tmp_path / "out.jsonl.failures.jsonl").read_text())
    assert failed["message"].startswith("in.parquet, row 2 holds a value that can't be read: ")


def test_a_cell_that_is_no_text_is_a_failure_of_its_own(run: Run, model: Same, tmp_path: Path) -> None:
    cells = pa.array([b"1", b"\xff", None])
    pyarrow.parquet.write_table(pa.table({"text": cells, "k": [1, 2, 3]}), tmp_path / "in.parquet")
    assert run("-i", "in.parquet", "--keep", "k", "-o", "out.jsonl")[0] == 2
    assert [(row["row"], row["k"]) for row in read(tmp_path / "out.jsonl")] == [(1, 1)]
    bad, empty = map(json.loads, (tmp_path / "out.jsonl.failures.jsonl").read_text().splitlines())
    assert bad["message"].startswith("in.parquet, row 2 holds no text in 'text': 'utf-8' codec can't decode byte 0xff")
    assert empty["message"] == "in.parquet, row 3 has nothing in the column 'text'"


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("kept", [["call"], ["input"], ["row"], ["cut_at"], ["id", "value.id"], ["value.call"]])
def test_a_kept_column_is_never_anothers(run: Run, model: Same, tmp_path: Path, kept: list[str], target: str) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps({"text": "1", **dict.fromkeys(kept, "mine")}))
    keep = [word for name in kept for word in ("--keep", name)]
    code, _, err = run("-i", "in.jsonl", *keep, "-o", target)
    if target == "out.jsonl":
        (row,) = [json.loads(line) for line in (tmp_path / target).read_text().splitlines()]
        assert (code, row["columns"], row["value"]) == (0, dict.fromkeys(kept, "mine"), ANSWER)
    else:
        assert (code, model.asked) == (2, 0)
        assert err == (
            f"guard: --keep {kept[-1]}: CSV and Parquet outputs have a column of that name already; rename it in the"
            " table, or name an --output that ends in .jsonl, where columns stand apart\n"
        )


NAMES = st.lists(st.sampled_from(["", "value."]), max_size=2).flatmap(
    lambda before: st.sampled_from(["id", "row", "call", "cut_at", "n"]).map(lambda name: "".join(before) + name)
)


@given(kept=st.sets(NAMES, max_size=3), answers=st.lists(st.sets(NAMES, max_size=4), min_size=1, max_size=3))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_two_things_share_a_column(tmp_path: Path, kept: set[str], answers: list[set[str]]) -> None:
    try:
        output = Output(tmp_path / "out.csv", sorted(kept))
    except InputError:
        return
    output.begin()
    for number, names in enumerate(answers):
        place = {"input": "t", "row": number, "columns": {name: f"kept {name}" for name in kept}}
        output.add({**place, "value": {name: f"value {name}" for name in names}, "call": number, "cut_at": ["/n"]})
    output.finish()
    homes: dict[str, set[str]] = {}
    for row, names in zip(read(output.path), answers, strict=True):
        found = sorted(value for value in row.values() if value.startswith(("kept", "value")))
        assert found == sorted([*(f"kept {name}" for name in kept), *(f"value {name}" for name in names)])
        for column, value in row.items():
            homes.setdefault(column, set()).update([value] if value and value.startswith(("kept", "value")) else [])
    assert all(len(values) <= 1 for values in homes.values())


@pytest.mark.parametrize("more", [("--column", "body"), ("--column", "body", "--keep", "k")])
def test_a_column_counts_however_many_others_come_first(
    run: Run, model: Same, tmp_path: Path, more: tuple[str, ...]
) -> None:
    wide = {f"c{number}": number for number in range(25)}
    (tmp_path / "in.jsonl").write_text(f'{json.dumps(wide)}\n{{"body": "It says 1.", "k": 2}}\n')
    assert run("-i", "in.jsonl", *more, "-o", "out.jsonl")[0] == 2
    assert model.asked == 1
    assert Inputs([tmp_path / "in.jsonl"], "body", ["k"]).has_rows
    (tmp_path / "in.jsonl").write_text(f'{json.dumps(wide)}\n{{"text": "It says 1."}}\n')
    assert len(Inputs([tmp_path / "in.jsonl"])) == 2


@pytest.mark.parametrize("more", [(), ("--column", "text")])
def test_a_kept_column_that_no_row_has_is_refused(run: Run, model: Same, tmp_path: Path, more: tuple[str, ...]) -> None:
    """With --column, a misspelt --keep became a column of nulls."""
    (tmp_path / "in.jsonl").write_text('{"text": "It says 1.", "id": 1}\n{"text": "It says 2."}\n')
    code, _, err = run("-i", "in.jsonl", *more, "--keep", "idd", "-o", "out.jsonl")
    assert (code, model.asked) == (2, 0)
    assert err == "guard: in.jsonl has the columns text, id, and no 'idd'; name one of them\n"
    assert run("-i", "in.jsonl", *more, "--keep", "id", "-o", "out.jsonl")[0] == 0  # a row may lack what others have


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.failures.jsonl", "out.jsonl.partial"])
def test_a_folder_is_no_output(run: Run, model: Same, tmp_path: Path, name: str) -> None:
    (tmp_path / "in.csv").write_text("text\n1\n")
    (tmp_path / name).mkdir()
    for more in ((), ("--force",), ("--resume",)):
        assert run("-i", "in.csv", "-o", "out.jsonl", *more) == (
            2,
            "",
            f"guard: {name} is a folder, and the run would write a file there; name another --output\n",
        )
    assert model.asked == 0


@pytest.mark.parametrize("target", FORMATS)
def test_a_run_with_another_question_can_be_resumed_as_well(
    run: Run, model: Same, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    """Answers to the earlier question counted as inputs that are not named any more."""
    (tmp_path / "in.csv").write_text("text\n1\n2\n3\n4\n5\n")
    generate = model.generate

    def asked(*more: str) -> tuple[int, int]:
        before = model.asked
        code, *_ = run("-i", "in.csv", "-o", target, "--concurrency", "1", *more)
        return code, model.asked - before

    def interrupted(request: Request) -> Reply:
        if model.asked == 7:
            raise KeyboardInterrupt
        return generate(request)

    assert asked() == (0, 5)
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA | {"description": "Read with care."}))
    monkeypatch.setattr(model, "generate", interrupted)
    assert asked("--resume") == (130, 2)
    monkeypatch.setattr(model, "generate", generate)
    assert asked("--resume") == (0, 3)
    assert asked("--resume") == (0, 0)
    assert len(TraceStore.at(tmp_path / "trace.db").items(f"guard run --output {(tmp_path / target).resolve()}")) > 5
    (tmp_path / "in.csv").write_text("text\n1\n2\n")
    assert asked("--resume") == (2, 0)
    if target != "out.jsonl":
        (tmp_path / target).write_bytes(b"\xff")
        assert asked("--resume") == (2, 0)

"""`guard run` over many inputs: files, patterns and tables in; JSONL, CSV and Parquet out; failures; resumed."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guard.batch.inputs import InputError, Inputs
from guard.batch.outputs import Output
from guard.cli import app
from guard.models.base import Reply, Request
from guard.trace import TraceStore

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "parts": {"type": "array"}},
    "required": ["n"],
    "additionalProperties": False,
}
Run = Callable[..., tuple[int, str, str]]


class Echo:
    """Answers with the number of the text; a negative one is not valid, a nine has parts, a 77 is cut."""

    name = "echo"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def generate(self, request: Request) -> Reply:
        text = request.messages[0]["content"].split("\n\n")[0]
        self.asked.append(text)
        number = int(re.findall(r"-?\d+", text)[0])
        value: dict[str, Any] = {"n": number if number >= 0 else "none"}
        if number == 9:
            value["parts"] = [1, "x"]
        if number == 77:
            return Reply(json.dumps(value), "length", "echo", 10, 5, mode="masks", cost=0.001, cut_at=("/n",))
        return Reply(json.dumps(value), "stop", "echo", 10, 5, cost=0.001)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Echo:
    echo = Echo()
    monkeypatch.setattr("guard.models.load", lambda _name, _progress=None: echo)
    return echo


@pytest.fixture
def schema() -> dict[str, Any]:
    return SCHEMA


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_files_of_a_pattern_become_a_file_of_answers_in_order_and_one_of_failures(
    run: Run, model: Echo, tmp_path: Path
) -> None:
    (tmp_path / "docs" / "more").mkdir(parents=True)
    for number in range(6):
        (tmp_path / "docs" / f"{number}.txt").write_text(f"It says {number if number != 2 else -2}.")
    (tmp_path / "docs" / "more" / "7.txt").write_text("It says 7.")
    (tmp_path / "docs" / "8.txt").write_text(" ")
    (tmp_path / "docs" / "9.txt").write_bytes(b"\xff")
    code, out, err = run("--input", "docs/**/*.txt", "--output", "out.jsonl", "--concurrency", "3")
    assert (code, out) == (1, "")
    rows = lines(tmp_path / "out.jsonl")
    assert [(row["input"], row["value"]["n"]) for row in rows] == [
        *((f"docs/{number}.txt", number) for number in (0, 1, 3, 4, 5)),
        ("docs/more/7.txt", 7),
    ]
    assert all(row["attempts"] == 1 and row["tokens"] == 15 and row["call"] for row in rows)
    invalid, empty, binary = lines(tmp_path / "out.jsonl.failures.jsonl")
    assert (invalid["input"], invalid["error"], invalid["findings"][0]["at"]) == (
        "docs/2.txt",
        "ValidationFailed",
        "/n",
    )
    assert (empty["input"], empty["message"]) == ("docs/8.txt", "docs/8.txt is empty; there is nothing to read in it")
    assert binary["message"] == "docs/9.txt is not UTF-8 (byte 0); convert it to UTF-8"
    first, second = err.splitlines()
    assert first.startswith("out.jsonl: 6 of 9 answered (66.7%), 3 failed, 105 tokens, $0.0070, ")
    assert second == (
        "what failed is in out.jsonl.failures.jsonl; mend the inputs that can't be read;"
        " --resume --retry-failed asks it again"
    )
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.jsonl", "out.jsonl.failures.jsonl"]


def test_a_text_that_is_too_long_is_one_failure_of_many_and_loads_no_model_alone(
    run: Run, model: Echo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "long.txt").write_text("2" * 20_000_001)
    (tmp_path / "short.txt").write_text("It says 3.")
    code, out, err = run("-i", "long.txt", "-i", "short.txt", "--json")
    assert (code, json.loads(out)["value"]) == (1, {"n": 3})
    assert re.fullmatch(r"guard: long\.txt: a text of 20,000,\d{3} characters is more than .*\n", err)
    monkeypatch.setattr("guard.models.load", None)
    assert run("-i", "long.txt")[0] == 1
    assert model.asked == ["It says 3."]


TABLES = {
    "in.jsonl": lambda rows: "".join(json.dumps(row) + "\n\n" for row in rows).encode(),
    "in.csv": lambda rows: table(rows, ","),
    "in.TSV": lambda rows: table(rows, "\t"),
    "in.parquet": lambda rows: parquet(rows),
}


def table(rows: list[dict[str, Any]], separator: str) -> bytes:
    made = io.StringIO(newline="")
    writer = csv.DictWriter(made, list(rows[0]), delimiter=separator)
    writer.writeheader()
    writer.writerows(rows)
    return b"\xef\xbb\xbf" + made.getvalue().encode()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    made = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), made)
    return made.getvalue()


@pytest.mark.parametrize("source", TABLES)
@pytest.mark.parametrize("target", ["out.jsonl", "out.csv", "out.tsv", "out.parquet"])
def test_tables_go_in_and_out_in_every_format(run: Run, model: Echo, tmp_path: Path, source: str, target: str) -> None:
    texts = ['It says 1,\n"one".', "It says 9.", "", "It says -4.", "It says 5\té."]
    rows = [{"id": f"a{number}", "body": text, "n": "before"} for number, text in enumerate(texts)]
    (tmp_path / source).write_bytes(TABLES[source](rows))
    code, _, _ = run("-i", source, "--column", "body", "--keep", "id", "--keep", "n", "-o", target)
    assert code == 1
    assert sorted(model.asked) == sorted(text.strip() for text in texts if text)
    calls = {
        row.attempts[0].messages[0]["content"][:9]: row.number for row in TraceStore.at(tmp_path / "trace.db").each()
    }
    expected = [
        {"input": source, "row": number + 1, "id": f"a{number}", "n": "before", "value.n": said, "parts": parts}
        for number, said, parts in ((0, 1, None), (1, 9, [1, "x"]), (4, 5, None))
    ]
    for row in expected:
        row["call"] = calls[f"It says {row['value.n']}"]
    if target == "out.jsonl":
        for row in expected:
            row["columns"] = {"id": row.pop("id"), "n": row.pop("n")}
            row["value"] = {"n": row.pop("value.n")} | ({"parts": parts} if (parts := row.pop("parts")) else {})
        found = [{name: row[name] for name in expected[0]} for row in lines(tmp_path / target)]
    elif target == "out.parquet":
        for row in expected:
            row["parts"] = row["parts"] and json.dumps(row["parts"])
        found = pyarrow.parquet.read_table(tmp_path / target).to_pylist()
    else:
        separator = "," if target == "out.csv" else "\t"
        for row in expected:
            row |= {name: str(value) for name, value in row.items()} | {
                "parts": row["parts"] and json.dumps(row["parts"])
            }
            row["parts"] = row["parts"] or ""
        with (tmp_path / target).open(newline="") as file:
            found = list(csv.DictReader(file, delimiter=separator))
    assert found == expected
    empty, invalid = lines(tmp_path / f"{target}.failures.jsonl")
    assert (empty["row"], empty["columns"], empty["error"]) == (3, {"id": "a2", "n": "before"}, "InputError")
    assert (invalid["row"], invalid["error"]) == (4, "ValidationFailed")


CELLS = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    st.lists(st.integers(0, 3), max_size=2),
)


@given(values=st.lists(CELLS, min_size=1, max_size=4))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_value_is_changed_on_its_way_into_parquet(values: list[Any], tmp_path: Path) -> None:
    output = Output(tmp_path / "out.parquet")
    output.begin()
    for number, value in enumerate(values):
        output.add({"input": "a", "value": {"v": value}, "call": number})
    output.finish()
    column = pyarrow.parquet.read_table(output.path)["v"]
    found = column.to_pylist()
    if str(column.type) == "string" and all(isinstance(value, str | None) for value in values):
        # What has no character in UTF-8 is escaped.
        values = [value and value.encode(errors="backslashreplace").decode() for value in values]
    elif str(column.type) == "string":
        found = [None if text is None else json.loads(text) for text in found]
    assert found == values
    if str(column.type) != "double":  # where an integer is the same number
        assert [type(one) for one in found] == [type(one) for one in values]


def test_an_answer_that_is_not_whole_is_marked_among_many(run: Run, model: Echo, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text\n77\n8\n")
    given = ("--input", "in.csv", "--max-tokens", "9", "--json", "--concurrency", "1")
    code, out, _ = run(*given, "--output", "out.csv")
    assert (code, json.loads(out)["not_whole"]) == (0, 1)
    assert list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text()))) == [
        {"input": "in.csv", "row": "1", "n": "77", "parts": "", "call": "1", "cut_at": '["/n"]'},
        {"input": "in.csv", "row": "2", "n": "8", "parts": "", "call": "2", "cut_at": ""},
    ]
    code, out, err = run(*given)
    assert [json.loads(line)["cut_at"] for line in out.splitlines()] == [["/n"], []]
    assert "max_tokens cut it at /n" in err
    code, out, err = run(*given, "--on", "length=fail")
    assert (code, len(out.splitlines())) == (app.EXIT_NO_ANSWER, 1)


def test_a_run_that_was_interrupted_goes_on_and_asks_nothing_twice(
    run: Run, model: Echo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [f'"It says {number}."\n' for number in range(20)]
    (tmp_path / "in.jsonl").write_text("".join(rows))
    generate = model.generate

    def interrupted(request: Request) -> Reply:
        reply = generate(request)
        if len(model.asked) == 7:
            raise KeyboardInterrupt
        return reply

    monkeypatch.setattr(model, "generate", interrupted)
    command = ("-i", "in.jsonl", "-o", "out.csv", "--concurrency", "2")
    code, out, err = run(*command)
    assert (code, out) == (130, "")
    before = len(model.asked) - 1  # and one that was interrupted
    assert err.endswith(f"interrupted: {before} of 20 answered; the same command with --resume goes on\n")
    assert not (tmp_path / "out.csv").exists()
    assert len(lines(tmp_path / "out.csv.partial")) == before
    code, out, err = run(*command)
    assert (code, out) == (2, "")
    assert err == "guard: out.csv.partial is there already; --resume goes on with that run, --force begins it anew\n"
    code, out, err = run(*command, "--resume", "--json")
    assert (code, err) == (0, "")
    summary = json.loads(out)
    assert (summary["inputs"], summary["answered"], summary["failed"]) == (20, 20, 0)
    assert summary["recorded_before"] == before
    assert sorted(model.asked) == sorted([*(f"It says {n}." for n in range(20)), model.asked[6]])
    with (tmp_path / "out.csv").open(newline="") as file:
        assert [row["n"] for row in csv.DictReader(file)] == [str(number) for number in range(20)]
    # Once more, with new rows: only these are asked.
    (tmp_path / "in.jsonl").write_text("".join([*rows, '"It says 99."\n']))
    asked = len(model.asked)
    assert run(*command, "--resume")[0] == 0
    assert model.asked[asked:] == ["It says 99."]
    assert run(*command)[0] == 2
    assert run(*command, "--force")[0] == 0
    assert len(model.asked) == asked + 1 + 21


def test_what_failed_is_asked_again_only_where_that_is_said(run: Run, model: Echo, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text\nIt says 1.\nIt says -1.\n")
    command = ("-i", "in.csv", "-o", "out.jsonl")
    assert run(*command)[0] == 1
    assert run(*command, "--resume")[0] == 1
    assert len(model.asked) == 2
    assert [row["row"] for row in lines(tmp_path / "out.jsonl.failures.jsonl")] == [2]
    assert run(*command, "--resume", "--retry-failed")[0] == 1
    assert model.asked[2:] == ["It says -1."]
    model.generate = lambda _: Reply('{"n": 3}', "stop", "echo", 1, 1)
    assert run(*command, "--resume", "--retry-failed")[0] == 0
    assert not (tmp_path / "out.jsonl.failures.jsonl").exists()


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.parquet"])
def test_a_run_of_which_nothing_could_be_read_is_resumed_once_it_can_be(
    run: Run, model: Echo, tmp_path: Path, name: str
) -> None:
    """It was refused as a file that no run had written, since the trace has no record of such inputs."""
    (tmp_path / "in.jsonl").write_text('{"text": ""}\n{"text": null}\n')
    command = ("-i", "in.jsonl", "-o", name)
    code, _, err = run(*command)
    assert (code, err.splitlines()[-1]) == (
        2,
        f"what failed is in {name}.failures.jsonl; mend the inputs that can't be read; --resume asks it again",
    )
    assert run(*command)[2].endswith(
        "is there already, and no run that the trace knows wrote it; --force writes over it\n"
    )
    (tmp_path / "in.jsonl").write_text('"It says 1."\n"It says 2."\n')
    assert run(*command, "--resume")[0] == 0
    assert sorted(model.asked) == ["It says 1.", "It says 2."]
    assert sorted(path.name for path in tmp_path.glob("out*")) == [name]
    (tmp_path / f"{name}.failures.jsonl").touch()
    with pytest.MonkeyPatch.context() as patch:  # the answers of a run that another trace knows are not lost
        patch.setenv("GUARD_TRACE", str(tmp_path / "another.db"))
        assert run(*command, "--resume")[0] == 2


def test_two_runs_into_one_file_are_refused(run: Run, model: Echo, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("It says 1.")
    output = Output(tmp_path / "out.jsonl")
    output.begin()
    code, _, err = run("-i", "a.txt", "-o", str(tmp_path / "out.jsonl"), "--resume")
    assert code == 2
    assert "another process writes" in err
    output.close()
    assert run("-i", "a.txt", "-o", str(tmp_path / "out.jsonl"), "--resume")[0] == 0


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "no such column": (
        ("-i", "in.csv", "--column", "texts"),
        "in.csv has the columns id, body, and no 'texts'; name one",
    ),
    "no column named": (("-i", "in.csv"), "in.csv has the columns id, body; name the one to read with --column"),
    "a column of a text": (("-i", "a.txt", "--column", "body"), "a column is named, but no input is a table"),
    "no match": (("-i", "nothing/*.txt"), "no file matches nothing/*.txt; check the pattern"),
    "column twice": (("-i", "twice.csv"), "twice.csv has the column 'a' twice; rename one"),
    "bad CSV": (("-i", "bad.csv"), "bad.csv, line 2 can't be read: "),
    "no CSV": (("-i", "empty.csv"), "empty.csv is empty; its first line must name the columns"),
    "binary CSV": (("-i", "binary.csv"), "binary.csv, line 2 is not UTF-8 (byte 0); convert it"),
    "Latin-1 CSV": (("-i", "latin.csv"), "latin.csv, line 4 is not UTF-8 (byte 5); convert it"),
    "no Parquet": (("-i", "bad.parquet"), "bad.parquet is no Parquet file that can be read: "),
    "ending": (("-i", "a.txt", "-o", "out.xlsx"), "--output out.xlsx must end in .jsonl, .csv, .tsv or .parquet"),
    "no folder": (("-i", "a.txt", "-o", "none/out.csv"), "none/out.csv.partial can't be written: No such file"),
    "resume anew": (
        ("-i", "a.txt", "-o", "o.jsonl", "--resume", "--force"),
        "--resume goes on with an earlier run, and --force begins it anew; give one of them",
    ),
    "resume what": (("-i", "a.txt", "--resume"), "--resume and --force are about the file of an earlier run"),
    "retry what": (("-i", "a.txt", "-o", "out.csv", "--retry-failed"), "--retry-failed goes on with an earlier run"),
    "concurrency": (("-i", "a.txt", "--concurrency", "0"), "--concurrency must be at least 1; see "),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line_before_anything_is_asked(run: Run, model: Echo, tmp_path: Path, case: str) -> None:
    (tmp_path / "a.txt").write_text("It says 1.")
    (tmp_path / "in.csv").write_text("id,body\n1,It says 1.\n")
    (tmp_path / "twice.csv").write_text("a,a\n1,It says 1.\n")
    (tmp_path / "bad.csv").write_text('a\n"It says" 1.\n')
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "binary.csv").write_bytes(b"a\n\xff\n")
    (tmp_path / "latin.csv").write_bytes(b"id,text\n1,ok\n2,ok\n3,caf\xe9\n")
    (tmp_path / "bad.parquet").write_text("It says 1.")
    arguments, words = WRONG[case]
    code, out, err = run(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"guard: {words}")
    assert model.asked == []


def test_a_trace_that_keeps_too_little_to_resume_is_refused(
    run: Run, model: Echo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUARD_TRACE_CALLS", "2")
    (tmp_path / "in.jsonl").write_text('"It says 1."\n' * 3)
    code, _, err = run("-i", "in.jsonl", "-o", "out.csv")
    assert code == 2
    assert err.startswith("guard: trace_calls=2 keeps fewer records than the 3 inputs")


def test_rows_of_json_lines_that_are_no_texts_are_failures_of_their_own(run: Run, model: Echo, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b'{"text": "It says 1."}\n{"text"\n[1]\n{"other": 1}\n{"text": 7}\n"8"\n\xff\n')
    code, out, _ = run("-i", "in.jsonl", "-o", "out.jsonl", "--json")
    assert (code, json.loads(out)["answered"]) == (2, 3)  # nothing failed but inputs
    assert [row["value"]["n"] for row in lines(tmp_path / "out.jsonl")] == [1, 7, 8]
    assert [row["message"].split(" (")[0] for row in lines(tmp_path / "out.jsonl.failures.jsonl")] == [
        "in.jsonl, line 2 is not JSON",
        "in.jsonl, line 3 is [1], and neither an object nor a text",
        "in.jsonl, row 4 has nothing in the column 'text'",
        "in.jsonl, line 7 is not UTF-8",
    ]


def test_answers_without_an_output_are_printed_in_order(run: Run, model: Echo, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("".join(f'"It says {number}."\n' for number in range(30)))
    code, out, err = run("-i", "in.jsonl", "--json")
    assert (code, err) == (0, "")
    assert [(row["row"], row["value"]["n"]) for row in map(json.loads, out.splitlines())] == [
        (number + 1, number) for number in range(30)
    ]


def test_inputs_are_counted_before_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "in.csv").write_text("text\n" + "row\n" * 70_000)
    inputs = Inputs([tmp_path / "a.txt", tmp_path / "in.csv"])
    assert len(inputs) == 70_001
    assert [str(found) for found, _ in zip(inputs, range(3), strict=False)] == [
        str(tmp_path / "a.txt"),
        f"{tmp_path / 'in.csv'}, row 1",
        f"{tmp_path / 'in.csv'}, row 2",
    ]
    (tmp_path / "long.csv").write_text("text\n" + "x" * 300_000 + "\n")
    assert [len(found.text()) for found in Inputs([tmp_path / "long.csv"])] == [300_000]
    with pytest.raises(InputError, match="no such file"):
        Inputs([tmp_path / "absent.csv"])


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_what_was_cut_is_marked_in_tables_too(tmp_path: Path, name: str) -> None:
    output = Output(tmp_path / name)
    output.begin()
    output.add({"input": "a", "value": {"n": 1, "cut_at": "x"}, "call": 1, "cut_at": [], "repeated_at": []})
    output.add({"input": "b", "value": {"n": 2, "cut_at": "y"}, "call": 2, "cut_at": ["/n"], "repeated_at": []})
    output.finish()
    if name == "out.parquet":
        found = pyarrow.parquet.read_table(output.path).to_pylist()
    else:
        with output.path.open(newline="") as file:
            found = [{key: value or None for key, value in row.items()} for row in csv.DictReader(file)]
    assert [(str(row["n"]), row["value.cut_at"], row["cut_at"]) for row in found] == [
        ("1", "x", None),
        ("2", "y", '["/n"]'),
    ]


def test_the_commands_of_the_documentation_run_as_they_stand(
    run: Run, model: Echo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("shop", "shop.types"):  # of another test's folder
        monkeypatch.delitem(sys.modules, name, raising=False)
    text = (Path(__file__).parents[3] / "docs" / "batches.md").read_text()
    commands = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)[0].splitlines()
    (tmp_path / "schema.json").rename(tmp_path / "ticket.schema.json")
    (tmp_path / "mails" / "may").mkdir(parents=True)
    (tmp_path / "mails" / "may" / "a.txt").write_text("It says 1.")
    (tmp_path / "tickets.csv").write_text("id,body\n7,It says 2.\n")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "types.py").write_text("import pydantic\nclass Ticket(pydantic.BaseModel):\n    n: int\n")
    for command in commands:
        with pytest.raises(SystemExit) as ended:
            app.main(shlex.split(command)[1:])
        assert ended.value.code == 0, command
    assert [row["value"] for row in lines(tmp_path / "answers.jsonl")] == [{"n": 1}]
    (row,) = pyarrow.parquet.read_table(tmp_path / "answers.parquet").to_pylist()
    assert (row["id"], row["n"], len(model.asked)) == ("7", 2, 2)


def test_a_run_without_an_input_is_resumed_once_there_is_one(run: Run, model: Echo, tmp_path: Path) -> None:
    """Its empty output was refused as a file that no run had written."""
    (tmp_path / "in.jsonl").write_text("")
    command = ("-i", "in.jsonl", "-o", "out.jsonl")
    assert run(*command)[0] == 0
    (tmp_path / "in.jsonl").write_text('"It says 1."\n')
    assert run(*command)[0] == 2
    assert run(*command, "--resume")[0] == 0
    assert (lines(tmp_path / "out.jsonl")[0]["value"], model.asked) == ({"n": 1}, ["It says 1."])


def test_no_file_is_lost_to_an_output(run: Run, model: Echo, tmp_path: Path) -> None:
    """What is an input, what no run wrote, and answers to inputs that are not named again."""
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(f"It says {number}.")
    table = '{"text": "It says 1."}\n'
    (tmp_path / "in.jsonl").write_text(table)
    for more in ((), ("--resume",), ("--force",)):
        code, out, err = run("-i", "in.jsonl", "-o", "in.jsonl", *more)
        assert (code, out) == (2, "")
        assert err == "guard: in.jsonl is one of the inputs, and the run would write over it; name another --output\n"
    assert (tmp_path / "in.jsonl").read_text() == table
    (tmp_path / "notes.csv").write_text("mine")
    for more in ((), ("--resume",)):
        code, out, err = run("-i", "0.txt", "-o", "notes.csv", *more)
        assert (code, out) == (2, "")
        words = "is there already, and no run that the trace knows wrote it; --force writes over it"
        assert err == f"guard: notes.csv {words}\n"
    assert (tmp_path / "notes.csv").read_text() == "mine"
    assert run("-i", "0.txt", "1.txt", "2.txt", "-o", "out.jsonl")[0] == 0
    before = (tmp_path / "out.jsonl").read_text()
    code, out, err = run("-i", "1.txt", "-o", "out.jsonl", "--resume")
    assert (code, out) == (2, "")
    assert err.startswith("guard: out.jsonl has answers to 3 inputs, and 1 are named now; name those as well,")
    assert (tmp_path / "out.jsonl").read_text() == before


def test_a_module_that_ends_the_program_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ending.py").write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(SystemExit) as ended:
        app.main(["check", "ending.py:T"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == ("guard: ending.py can't be imported: it ends the program, with 0; correct it\n")


def test_a_row_with_more_fields_than_columns_is_a_failure(run: Run, model: Echo, tmp_path: Path) -> None:
    """Most of them are texts with a comma, of which the half would be read."""
    (tmp_path / "in.csv").write_text("id,text\n1,It says 1.\n2,It says 2, or 3.\n")
    assert run("-i", "in.csv", "-o", "out.jsonl")[0] == 2
    assert [row["value"]["n"] for row in lines(tmp_path / "out.jsonl")] == [1]
    (failed,) = lines(tmp_path / "out.jsonl.failures.jsonl")
    assert failed["message"] == (
        "in.csv, row 2 has 3 fields, and the first line names 2; put a text that holds ',' into quotes"
    )

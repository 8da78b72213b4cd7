"""`guard trace`: what it prints, on both kinds of database, and that wrong input ends in one line."""

from __future__ import annotations

import dataclasses
import datetime
import json
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.feather
import pyarrow.parquet
import pytest
from scripted import Scripted, reply

import guard
from guard.cli import app
from guard.schemas.grounding.sources import Place
from guard.trace import TraceError, TraceStore
from guard.trace.records import Attempt, Call, Shown

Run = Callable[..., tuple[int, str, str]]
ASKED = {"role": "user", "content": "How many?"}
FINDING = guard.Violation("", "minimum", "a number >= 3", "1")
SCHEMA = guard.compile({"type": "integer"})
CALL = Call(
    "shop.count",
    "Count",
    SCHEMA.hash,
    "typed/1",
    "small",
    {"seed": 7, "max_tokens": 64, "temperature": 0.5, "tiers": ["small", "openai:gpt-5-mini"]},
    1_770_000_000.5,
    attempts=(
        Attempt(1, (ASKED,), reply("1"), (FINDING,), model="small", reason="invalid"),
        Attempt(2, (ASKED,), reply("3", cost=0.5), tier=1, model="openai:gpt-5-mini"),
    ),
)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run `guard trace` in a folder of the test's own: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            app.main(("trace", *arguments))
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    return run


def test_a_call_is_listed_and_shown(run: Run, place: str) -> None:
    TraceStore.at(place).write(CALL)
    code, out, err = run("list")
    assert (code, err) == (0, "")
    assert "shop.count" in out
    (line,) = map(json.loads, run("list", "--json")[1].splitlines())
    assert (line["call"], line["tier"], line["escalations"], line["cost"]) == (1, 1, ["invalid"], None)
    code, out, err = run("show", "1")
    assert (code, err) == (0, "")
    for words in ("attempt 1: small, tier 0, invalid", "finding: (root): expected a number >= 3, got 1", "How many?"):
        assert words in out
    shown = json.loads(run("show", "1", "--json")[1])
    assert [(a["answer"], a["tier"], a["reply"]["cost"]) for a in shown["attempts"]] == [("1", 0, None), ("3", 1, 0.5)]


def test_a_value_that_is_not_whole_is_listed_as_such(run: Run, place: str) -> None:
    for told in ({"cut_at": ("/a",)}, {"repeated_at": ("",)}):
        answer = Attempt(1, (ASKED,), reply("3", **told), model="small")
        TraceStore.at(place).write(dataclasses.replace(CALL, attempts=(answer,)))
        assert "valid, not whole" in run("list")[1].splitlines()[3]


def test_a_terminal_marks_what_the_document_states(run: Run, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    asked = {"role": "user", "content": "Pay\x1b Anna Smith 3 EUR."}
    attempt = dataclasses.replace(
        CALL.attempts[1],
        messages=(asked,),
        sources={"": (Place("mail", 16, 17),)},
        inputs={"mail": Shown(0, 0, 0, len(asked["content"]))},
    )
    TraceStore.at(place).write(dataclasses.replace(CALL, attempts=(attempt,)))
    out = run("show", "1")[1]
    assert "Pay\\x1b Anna Smith \x1b[1;4;32m3\x1b[0m EUR." in out


def test_what_was_cut_off_or_raised_is_shown_as_what_it_is(run: Run, place: str) -> None:
    cut = dataclasses.replace(CALL.attempts[0], reply=reply("12", finish="cut"), error="closed", findings=())
    raised = dataclasses.replace(CALL.attempts[1], reply=None, error="it broke", reason="error")
    TraceStore.at(place).write(dataclasses.replace(CALL, outcome="ModelError", attempts=(cut, raised)))
    out = run("show", "1")[1]
    for words in ("answer, cut off:\n12\nnot taken: closed", "error:\nit broke"):
        assert words in out
    page = run("show", "1", "--html", "-")[1]
    assert "<h3>Answer, cut off</h3>" in page
    assert "<h3>Error</h3>" in page


def test_statistics_say_what_was_replayed_and_what_is_an_estimate(run: Run, place: str) -> None:
    first, last = CALL.attempts
    guessed = dataclasses.replace(first, reply=reply("1", cost=0.25, is_estimate=True))
    kept = dataclasses.replace(last, reply=reply("3", cost=0.5, is_kept=True))
    TraceStore.at(place).write(dataclasses.replace(CALL, attempts=(guessed, kept)))
    out = run("stats")[1]
    assert out.splitlines()[1].split()[-1] == "replayed"
    assert [line.split()[-1] for line in out.splitlines()[3:] if line.strip()] == ["0", "1", "1"]
    assert "about $0.2500" in out
    assert "$0.5" not in out


def test_a_page_is_written_to_a_file_or_printed(run: Run, place: str, tmp_path: Path) -> None:
    TraceStore.at(place).write(CALL, SCHEMA)
    assert run("show", "1", "--html", "call.html") == (0, "", "")
    written = (tmp_path / "call.html").read_text()
    assert written.startswith("<!doctype html>")
    assert "&quot;type&quot;: &quot;integer&quot;" in written
    assert run("show", "1", "--html", "-") == (0, written, "")


def test_statistics_are_a_table_or_lines_of_json(run: Run, place: str) -> None:
    assert run("stats")[1].startswith("no calls in ")
    TraceStore.at(place).write(CALL)
    code, out, err = run("stats")
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines()[3:] if line.strip()]
    assert [" ".join(row) for row in rows] == [
        "shop.count 0 small 1 0 (0.0%) 0 (0.0%) 0 1 (100.0%) 101 $0.0000 + 1 unknown $0.0000",
        "shop.count 1 openai:gpt-5-mini 1 1 (100.0%) 1 (100.0%) 0 0 (0.0%) 101 $0.5000 $0.5000",
        "shop.count all 1 0 (0.0%) 1 (100.0%) 0 1 (100.0%) 202 $0.5000 + 1 unknown $0.5000",
    ]
    lines = [json.loads(line) for line in run("stats", "--json", "--large", "openai:gpt-5")[1].splitlines()]
    assert [(line["function"], line["tier"], line["tokens"]) for line in lines] == [
        ("shop.count", 0, 101),
        ("shop.count", 1, 101),
        ("shop.count", None, 202),
        ("(all)", None, 202),
    ]
    assert {line["large"] for line in lines[1:]} == {"openai:gpt-5"}
    assert run("stats", "--since", "1h")[1].startswith("no call in ")


def test_training_data_is_written_as_lines_of_json(run: Run, place: str, tmp_path: Path) -> None:
    store = TraceStore.at(place)
    surrogate = dataclasses.replace(CALL.attempts[1], number=1, reply=reply('"\ud800"'))
    store.write(CALL)
    store.write(dataclasses.replace(CALL, attempts=(surrogate,), started=time.time()))
    store.write(dataclasses.replace(CALL, function="guard trace replay"))
    assert run("export", "--format", "sft", "-o", "train.jsonl") == (0, "", "2 rows\n")
    for command in (("export", "--format", "sft", "-o"), ("show", "1", "--html")):
        written = (tmp_path / "train.jsonl").read_bytes()
        refused = "guard: train.jsonl is there already; --force writes over it\n"
        assert run(*command, "train.jsonl") == (2, "", refused)
        assert (tmp_path / "train.jsonl").read_bytes() == written
    assert run("export", "--format", "sft", "-o", "train.jsonl", "--force") == (0, "", "2 rows\n")
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert [row["messages"][-1]["content"] for row in rows] == ["3", '"\ud800"']
    code, out, err = run("export", "--format", "dpo")
    assert (code, err) == (0, "1 row\n")
    said = [[{"role": "assistant", "content": text}] for text in "31"]
    assert json.loads(out) == {"prompt": [ASKED], "chosen": said[0], "rejected": said[1]}
    assert run("export", "--format", "kto", "--since", "1d")[2] == "1 row\n"
    assert run("export", "--format", "kto", "--function", "nothing")[2] == "0 rows\n"


def test_records_are_written_as_a_table(run: Run, place: str, tmp_path: Path) -> None:
    store = TraceStore.at(place)
    store.write(CALL, SCHEMA)
    store.write(dataclasses.replace(CALL, function="other", started=time.time()))
    code, out, err = run("export", "--format", "jsonl")
    assert (code, err) == (0, "2 rows\n")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["function"] for line in lines] == ["shop.count", "other"]
    assert [attempt["reply"]["text"] for attempt in lines[0]["attempts"]] == ["1", "3"]
    assert run("export", "--format", "parquet", "-o", "calls.parquet") == (0, "", "2 rows\n")
    assert run("export", "--format", "arrow", "-o", "calls.arrow") == (0, "", "2 rows\n")
    assert (tmp_path / "calls.parquet").stat().st_mode & 0o777 == 0o600
    for table in (pyarrow.parquet.read_table("calls.parquet"), pyarrow.feather.read_table("calls.arrow")):
        rows = table.to_pylist()
        for row, line in zip(rows, lines, strict=True):
            assert {name: row[name] for name in ("number", "function", "outcome")} == {
                name: line[name] for name in ("number", "function", "outcome")
            }
            assert row["started"].timestamp() == pytest.approx(line["started"], abs=1e-6)
            replies = [attempt["reply"] for attempt in row["attempts"]]
            for one in replies:
                one["alternatives"] = json.loads(one["alternatives"])  # JSON in a column of texts
            assert replies == [attempt["reply"] for attempt in line["attempts"]]
    for chosen in (("--since", "1d"), ("--function", "other")):
        assert run("export", "--format", "parquet", "-o", "some.parquet", *chosen, "--force")[2] == "1 row\n"
        assert pyarrow.parquet.read_table("some.parquet")["function"].to_pylist() == ["other"]


FORMS = ("jsonl", "parquet", "arrow", "sft", "kto")


@pytest.mark.parametrize("form", FORMS)
def test_a_file_whose_export_failed_is_empty(
    form: str, run: Run, trace_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaking(_store: TraceStore, **_: object) -> Iterator[Call]:
        yield from [dataclasses.replace(CALL, number=number) for number in range(1, 250)]
        raise TraceError("the database went away")

    TraceStore.at(trace_file).write(CALL)
    monkeypatch.setattr(TraceStore, "each", breaking)
    code, out, err = run("export", "--format", form, "-o", "calls")
    assert (code, out, err) == (1, "", "guard: the database went away\n")
    assert (tmp_path / "calls").read_bytes() == b""


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_does_not_fit_on_the_disk_is_empty(form: str, run: Run, trace_file: Path, tmp_path: Path) -> None:
    store, draw = TraceStore.at(trace_file), random.Random(form)
    for _ in range(400):
        text = json.dumps(draw.randbytes(1_000).hex())
        store.write(dataclasses.replace(CALL, attempts=(Attempt(1, (ASKED,), reply(text), model="small"),)))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        code, _, err = run("export", "--format", form, "-o", "calls")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (code, err) == (2, "guard: calls can't be written: File too large; name another file\n")
    assert (tmp_path / "calls").read_bytes() == b""


def test_a_table_without_pyarrow_writes_over_nothing(
    run: Run, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "calls.parquet").write_text("mine")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    words = "guard: Parquet and Arrow files need pyarrow: pip install 'guard-slm[parquet]'\n"
    assert run("export", "--format", "parquet", "-o", "calls.parquet", "--force") == (1, "", words)
    assert (tmp_path / "calls.parquet").read_text() == "mine"


def test_since_reads_dates_times_and_ages(run: Run, place: str) -> None:
    began = datetime.datetime(2026, 1, 31, 12, 30, tzinfo=datetime.UTC).timestamp()
    TraceStore.at(place).write(dataclasses.replace(CALL, started=began))
    for when, rows in (
        ("2026-01-31", 1),
        ("2026-02-01", 0),
        ("2026-01-31T12:30", 1),
        ("2026-01-31T12:31", 0),
        ("2026-01-31T13:30+01:00", 1),
        ("5200w", 1),
    ):
        assert run("export", "--format", "sft", "--since", when)[2] == f"{rows} row{'s' * (rows != 1)}\n", when


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    model = Scripted("1", "2", guard.ModelError("down"), name="small")
    monkeypatch.setattr("guard.models.load", lambda _name, _progress=None: model if isinstance(_name, str) else _name)
    return model


def test_a_replay_asks_the_first_question_again_and_compares_to_the_byte(run: Run, place: str, model: Scripted) -> None:
    TraceStore.at(place).write(CALL, SCHEMA)
    assert run("replay", "1") == (0, "identical: small answered call 1 with the same 1 byte\n", "")
    (request,) = model.requests
    assert request.messages == (ASKED,)
    assert request.compiled is not None
    assert request.compiled.hash == SCHEMA.hash
    assert (request.seed, request.max_tokens, request.temperature, request.thinking) == (7, 64, 0.5, 0)
    code, out, err = run("replay", "1", "--json")
    assert (code, err) == (app.EXIT_NO_ANSWER, "")
    assert json.loads(out) == {
        "call": 1, "replay": 3, "model": "small", "identical": False, "redacted": False, "was": "1", "now": "2",
    }  # fmt: skip
    code, out, _ = run("replay", "1")
    assert (code, out) == (
        app.EXIT_NO_ANSWER,
        "different: small answered call 1 otherwise (recorded as call 4)\nwas: 1\nnow: down\n",
    )
    assert [(call.function, call.outcome) for call in TraceStore.at(place).latest(limit=3)] == [
        ("guard trace replay", "ModelError"),
        ("guard trace replay", "valid"),
        ("guard trace replay", "valid"),
    ]


def test_a_turn_with_tools_is_not_replayed_and_one_without_is(run: Run, place: str, model: Scripted) -> None:
    """What the model was told of tools is on no record: it was asked without, and every answer differed."""

    def lamp(on: bool) -> None:
        """Turn the lamp on or off."""

    says = Scripted('{"content": "hi"}', '[{"name": "lamp", "arguments": {"on": true}}]', name="small")
    asker = guard.Guard(model=says, trace=place)
    assert asker.turn("Hello").text == "hi"
    assert asker.turn("Light", [lamp]).calls[0].arguments == {"on": True}
    told = "call 2 is a turn with tools, of which no record says all that the model was told; it can't be replayed"
    assert run("replay", "2") == (
        app.EXIT_NO_ANSWER,
        "",
        f"guard: {told}\n",
    )
    assert model.requests == []
    run("replay", "1")
    assert len(model.requests) == 1


def test_a_schema_that_looks_like_a_turns_is_replayed(run: Run, place: str, model: Scripted) -> None:
    call = {"properties": {"name": {"const": "lamp"}, "arguments": {"type": "object"}}, "required": ["name"]}
    own = {"type": "array", "items": {"anyOf": [{"type": "object", **call}]}}
    asker = guard.Guard(model=Scripted('[{"name": "lamp"}]', name="small"), trace=place)
    assert asker.generate(own, "Light") == [{"name": "lamp"}]
    run("replay", "1")
    assert len(model.requests) == 1


def test_what_redaction_changed_is_said_or_refused(
    run: Run, place: str, model: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_PASSWORD", "correct-horse")
    first = dataclasses.replace(CALL.attempts[0], messages=({"role": "user", "content": "correct-horse?"},))
    TraceStore.at(place).write(dataclasses.replace(CALL, attempts=(first,)), SCHEMA)
    code, _, err = run("replay", "1")
    assert (code, err) == (0, "something was cut out of the recorded question: it is not the one that was asked\n")
    secret = guard.compile({"const": "correct-horse"})
    TraceStore.at(place).write(dataclasses.replace(CALL, schema_hash=secret.hash), secret)
    assert run("replay", "3") == (
        app.EXIT_NO_ANSWER,
        "",
        "guard: what was kept of call 3's schema is not the whole of it; it can't be replayed\n",
    )


def test_what_is_too_old_is_deleted(run: Run, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = TraceStore.at(place)
    for days_ago in (40, 20, 0):
        store.write(dataclasses.replace(CALL, started=time.time() - days_ago * 86_400))
    assert run("prune", "--days", "30") == (0, f"1 call deleted from {store.place}\n", "")
    assert run("prune", "--calls", "1", "--json") == (0, '{"deleted": 1}\n', "")
    assert [call.number for call in store.each()] == [3]


WRONG: list[tuple[list[str], int, str]] = [
    (["show", "9"], 2, "no call 9 in "),
    (["show", "1", "--html", "absent/call.html"], 2, "absent/call.html can't be written: there is no folder absent; "),
    (["stats", "--large", "nobody"], 2, "no price of 'nobody' is known; name a model as openai:gpt-5-mini or "),
    (["stats", "--since", "yesterday"], 2, "--since yesterday must be a date, a time, or an age: "),
    (["export"], 2, "Missing option '--format'"),
    (["export", "--format", "ppo"], 2, "--format ppo must be one of sft, dpo, kto, jsonl, parquet, arrow"),
    (["export", "--format", "parquet"], 2, "--format parquet writes no text; name a file with --output"),
    (["export", "--format", "sft", "-o", "absent/x"], 2, "absent/x can't be written: there is no folder absent; make"),
    (["replay", "1"], 1, "the schema of call 1 was not kept, as in traces of version 1; it can't be replayed"),
    (["replay", "2"], 1, "call 2 asked no model; there is nothing to replay"),
    (["replay", "1", "--model", "nonesuch"], 4, "unknown model 'nonesuch'; "),
    (["prune"], 2, "nothing says what may go; name --days or --calls, or set trace_days or trace_calls in guard.toml"),
    (["prune", "--days", "0"], 2, "--days must be at least 0.000001; see"),
    (["prune", "--calls", "0"], 2, "--calls must be at least 1; see"),
]


@pytest.mark.parametrize(("arguments", "code", "words"), WRONG, ids=[" ".join(arguments) for arguments, _, _ in WRONG])
def test_wrong_input_ends_in_one_line(
    arguments: list[str], code: int, words: str, run: Run, trace_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "nonesuch" not in arguments:
        monkeypatch.setattr("guard.models.load", lambda _name, _progress=None: Scripted("1"))
    TraceStore.at(trace_file).write(CALL)
    TraceStore.at(trace_file).write(dataclasses.replace(CALL, attempts=()))
    got, out, err = run(*arguments)
    assert (got, out, err.count("\n")) == (code, "", 1)
    assert err.startswith(f"guard: {words}")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "the memory that this process may have does not suffice; "),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (guard.GuardError("\n \nit is so\nfor a reason"), "it is so"),
        (guard.GuardError(""), "GuardError"),
    ],
)
def test_whatever_fails_is_said_in_one_line(
    error: Exception, words: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(TraceStore, "latest", fail)
    code, out, err = run("list")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"guard: {words}")


def test_what_a_driver_says_while_records_are_counted_is_one_line(
    run: Run, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TraceStore.at(place)
    store.write(dataclasses.replace(CALL, started=1_770_000_000.5))
    monkeypatch.setattr("guard.trace.totals.LEDGER", "SELECT nonsense FROM calls c")
    code, out, err = run("stats", "--since", "2026-02-02T02:40:00.25")  # the rest of the minute is read from records
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "can't be read: " in err
    assert "nonsense" in err


@pytest.mark.parametrize("command", ["list", "show", "stats", "replay", "export", "prune"])
def test_help_shows_an_example_and_the_exit_codes(command: str, run: Run) -> None:
    code, out, err = run(command, "--help")
    assert (code, err) == (0, "")
    words = " ".join(out.split())
    assert f"Examples: guard trace {command}" in words.replace("│ ", "")
    assert "Exit codes: 0 success" in words

"""`guard test`: what is put under test, exit codes, and what is written."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import httpx2
import pytest

import guard
from guard.cli import app
from guard.testing import Check

SCHEMA = {
    "title": "Ticket",
    "type": "object",
    "properties": {"title": {"type": "string"}, "severity": {"type": "integer", "minimum": 1, "maximum": 5}},
    "required": ["title", "severity"],
    "additionalProperties": False,
}


@pytest.fixture
def schema(tmp_path: Path) -> str:
    """Write a schema's file."""
    path = tmp_path / "ticket.json"
    path.write_text(json.dumps(SCHEMA), "utf-8")
    return str(path)


def called(*arguments: str) -> int:
    """Run the command; returns its exit code."""
    with pytest.raises(SystemExit) as end:
        app.main(["test", *arguments])
    assert isinstance(end.value.code, int)
    return end.value.code


def test_a_function_that_holds_exits_with_0_and_one_that_does_not_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert called("testing.planted.empty_success:mended", "--runs", "0") == 0
    assert "25 of 25 invariants hold" in capsys.readouterr().out
    assert called("testing.planted.empty_success:broken", "--runs", "0", "--fault", "empty") == 1
    out = capsys.readouterr().out
    assert "✗ no-answer-no-value: Without a whole, valid answer there is an error, never a value." in out
    assert "it returned Allergies(allergies=[]), though the answer was empty" in out
    assert "seed 0" in out


def test_the_reports_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    junit, html = tmp_path / "report.xml", tmp_path / "report.html"
    subjects = [f"testing.planted.empty_success:{twin}" for twin in ("broken", "mended")]
    given = ["--runs", "0", "--fault", "empty", "--json", "--junit", str(junit), "--html", str(html)]
    assert called(*subjects, *given) == 1
    broken, mended = map(json.loads, capsys.readouterr().out.splitlines())
    assert (broken["holds"], mended["holds"]) == (False, True)
    (failed,) = [i for i in broken["invariants"] if not i["holds"]]
    assert failed["name"] == "no-answer-no-value"
    assert failed["counterexample"]["replies"] == [{"how": "empty", "text": "", "finish": "stop", "error": ""}]
    suites = ET.parse(junit).getroot()  # noqa: S314 (written above)
    assert [(s.get("tests"), s.get("failures")) for s in suites] == [("25", "1"), ("25", "0")]
    assert "though the answer was empty" in (suites.find(".//failure").text or "")
    page = html.read_text("utf-8")
    assert "no-answer-no-value" in page
    assert not re.search(r"<script|<link|src=|@import", page)


def test_a_run_is_the_same_for_a_seed(capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for seed in ("5", "5"):
        assert called("testing.planted.duplicate_key:broken", "--strict", "--runs", "20", "--seed", seed, "--json") == 1
        told = json.loads(capsys.readouterr().out)
        found.append([i.get("counterexample", {}).get("replies") for i in told["invariants"]])
        assert told["seed"] == 5
    assert found[0] == found[1]


def test_a_schema_alone_puts_guards_own_pipeline_under_test(schema: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(schema, "--runs", "5") == 0
    assert capsys.readouterr().out.startswith(f"{schema}: 25 of 25 invariants hold")


def test_a_type_is_put_under_test_as_a_schema_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert called("testing.planted.duplicate_key:SCHEMA", "--runs", "0") == 2
    assert called("testing.planted.swallowed_error:Order", "--runs", "0") == 0
    assert "25 of 25 invariants hold" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing to test; name a function, an address, a schema, or --serve"),
        (["nonesuch.json"], "no such file: nonesuch.json; check the name"),
        (["nonesuch:function"], "no module nonesuch"),
        (["testing.planted.strict:nonesuch"], "testing.planted.strict has no nonesuch"),
        (["testing.planted.strict:strictly", "--without", "x"], "--without x must be among bounded"),
        (["testing.planted.strict:strictly", "--fault", "x"], "--fault x must be among empty"),
        (["x.json", "--cases", "cases.jsonl"], "--cases, --plot and --require belong to an evaluation"),
        (["x.json", "--model", "flaky:1", "--require", "speed=1"], "--require speed=1 must be valid=SHARE"),
        (["x.json", "--model", "flaky:1", "--plot", "x.bmp"], "--plot x.bmp must end in .png, .svg or .pdf"),
        (["x.json", "y.json", "--serve"], "--serve answers for one schema"),
    ],
)
def test_wrong_usage_is_said_in_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_models_are_evaluated_on_cases_and_compared(
    schema: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = tmp_path / "cases.jsonl"
    cases.write_text(json.dumps({"input": "a", "expected": {"title": "a", "severity": 1}}) + "\n", "utf-8")
    plot, html = tmp_path / "plot.svg", tmp_path / "models.html"
    given = [
        schema,
        "--cases",
        str(cases),
        "--model",
        "adversarial:1",
        "--model",
        "adversarial:2",
        "--max-tokens",
        "60",
    ]
    assert called(*given, "--plot", str(plot), "--html", str(html)) == 0
    out = capsys.readouterr().out
    assert "adversarial:1" in out
    assert "not known whether adversarial:1 can take over from adversarial:2" in out
    assert plot.read_text("utf-8").count("<svg") == 1
    assert "Models compared" in html.read_text("utf-8")
    assert called(*given, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [e["measures"]["valid"]["mean"] for e in told["evaluations"]] == [1.0, 1.0]
    assert told["comparisons"][0]["first"] == "adversarial:1"


def test_a_requirement_that_is_not_met_exits_with_1(schema: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = [schema, "--model", "adversarial:1", "--max-tokens", "60"]
    assert called(*given, "--require", "valid=1") == 0
    assert called(*given, "--require", "right=0.5") == 1
    assert "right is not known; give cases with expected answers" in capsys.readouterr().err


def test_a_model_that_can_t_be_had_exits_with_4(schema: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(schema, "--model", "nonesuch") == 4
    assert "unknown model 'nonesuch'" in capsys.readouterr().err


def test_a_model_that_misbehaves_is_served_until_ctrl_c(schema: str) -> None:
    command = [sys.executable, "-m", "guard", "test", "--serve", schema, "--seed", "3", "--rate", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with (
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            # A shell that puts the tests into the background ignores it, and so would the command.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(process.kill)
        assert process.stderr is not None
        assert process.stdout is not None
        line = process.stderr.readline()
        found = re.fullmatch(r"serving at (http://127\.0\.0\.1:\d+/v1) \(seed 3\); Ctrl-C ends it\n", line)
        assert found, line
        body = {"model": "any", "messages": [{"role": "user", "content": "?"}]}
        answer = httpx2.post(f"{found[1]}/chat/completions", json=body, timeout=60).json()
        assert set(json.loads(answer["choices"][0]["message"]["content"])) == {"title", "severity"}
        assert process.stdout.readline() == "1 any: valid\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


def test_the_help_has_examples_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert called("--help") == 0
    words = " ".join(re.sub(r"[│╭╮╰╯─]", " ", capsys.readouterr().out).split())
    assert "guard test shop.invoices:read_invoice" in words
    assert "Exit codes: 0 success; 1 no valid answer" in words


@pytest.mark.parametrize("subject", ["http://127.0.0.1:9/v1", "broken.py:ask"])
def test_what_can_t_even_be_called_is_no_success(
    subject: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of an address where nobody listens every invariant holds: there is always an error."""
    monkeypatch.chdir(tmp_path)
    Path("broken.py").write_text("def ask(text: str) -> int:\n    raise ValueError('no settings')\n", "utf-8")
    assert called(subject, "--runs", "1") == 2
    assert re.search("asked no model, and it raised (ConnectError|ValueError)", capsys.readouterr().err)


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_method_is_called_of_any_object(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"desk_{kind[:3]}"
    Path(f"{name}.py").write_text(
        "import guard\nclass Desk:\n    @guard.structured\n"
        f"    {kind} read(self, mail: str) -> int:\n        'Read.'\n",
        "utf-8",
    )
    assert called(f"{name}.py:Desk.read", "--runs", "2") == 0
    assert "invariants hold" in capsys.readouterr().out


@pytest.mark.parametrize("subject", ["none.py:bare", "none.py:of_a_text", "none.py:of_a_schema"])
def test_a_function_that_asks_no_model_is_no_success(
    subject: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether its invariants hold or not: an answer of its own is none of a model's."""
    monkeypatch.chdir(tmp_path)
    Path("none.py").write_text(
        "def bare():\n    return 3\ndef of_a_text(text: str) -> int:\n    return 3\n"
        "def of_a_schema(text: str, model: object) -> dict[str, int]:\n    return {'n': len(text)}\n",
        "utf-8",
    )
    assert called(subject, "--runs", "1") == 2
    assert capsys.readouterr().err == (
        f"guard: {subject.replace('.py:', '.')} never asked a model, so that nothing can be said of it; see that its"
        " model is the harness: a parameter brings it, or OPENAI_BASE_URL (docs/testing.md)\n"
    )


@pytest.mark.parametrize("subject", ["back.json", "back.py:T", "back.py:L", "back.py:read"])
def test_a_schema_that_is_refused_exits_with_3(
    subject: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("back.json").write_text(json.dumps({"type": "string", "pattern": r"(a)\1"}), "utf-8")
    Path("back.py").write_text(
        "import guard, re\nfrom pydantic import BaseModel, Field\n"
        "class T(BaseModel):\n    s: str = Field(json_schema_extra={'pattern': r'(a)\\1'})\n"
        "L = list[T]\n"
        "def read(text: str) -> T:\n    return guard.Guard().generate(T, text)\n",
        "utf-8",
    )
    assert called(subject, "--runs", "1") == 3
    said = capsys.readouterr().err
    assert said.startswith("guard: the schema is refused: ")
    assert "the back-reference at character 3 of " in said
    assert "--inexact" not in said


def test_an_evaluation_without_cases_says_what_it_asks(schema: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(schema, "--model", "adversarial:1", "--max-tokens", "60", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)
    assert err == (
        "no --cases are named: each model is asked 'Make up example number 1.' to 'Make up example number 5.', which"
        " tells validity and cost alone\n"
    )


def test_a_report_that_can_t_be_written_is_said_before_the_work(
    schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("guard.testing.search.Check.run", lambda *_: pytest.fail("it was begun"))
    assert called(schema, "--html", str(tmp_path / "none" / "report.html")) == 2
    assert "there is no folder" in capsys.readouterr().err
    for option in ("--html", "--junit", "--plot"):
        there = tmp_path / f"report.{option.removeprefix('--')}"
        there.write_text("mine")
        assert called(schema, option, str(there)) == 2
        assert capsys.readouterr().err.endswith(f"{there.name} is there already; --force writes over it\n")
        assert there.read_text() == "mine"
        assert called(schema, option, str(tmp_path)) == 2
        assert capsys.readouterr().err == f"guard: {tmp_path} is a folder; name a file in it\n"


def test_a_report_that_is_there_is_written_over_where_that_is_said(tmp_path: Path) -> None:
    html = tmp_path / "report.html"
    html.write_text("mine")
    given = ["testing.planted.empty_success:mended", "--runs", "0", "--fault", "empty"]
    assert called(*given, "--html", str(html), "--force") == 0
    assert "mine" not in html.read_text("utf-8")


def test_options_of_the_search_are_refused_in_an_evaluation(schema: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(schema, "--model", "flaky:1", "--junit", "report.xml") == 2
    assert "are for applications" in capsys.readouterr().err


def test_nothing_is_left_where_the_command_is_called(schema: str, tmp_path: Path) -> None:
    """Hypothesis's folder neither."""
    here = tmp_path / "here"
    here.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "HYPOTHESIS_STORAGE_DIRECTORY"}
    command = [sys.executable, "-m", "guard", "test", schema, "--runs", "2", "--fault", "empty"]
    environment["GUARD_CACHE"] = str(tmp_path / "cache")
    subprocess.run(command, cwd=here, env=environment, check=True, capture_output=True)
    assert list(here.iterdir()) == []


def test_a_time_in_which_nothing_is_tried_is_no_success(
    schema: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = itertools.count()
    monkeypatch.setattr(Check, "_is_time_up", lambda _: next(seen) >= 2)  # it looks before each case
    assert called(schema, "--seconds", "100") == 0
    assert "note: 100 seconds were up before everything was tried" in capsys.readouterr().out
    monkeypatch.setattr(Check, "_is_time_up", lambda _: True)
    assert called(schema, "--seconds", "0.1") == 2
    assert "--seconds 0.1 must be more: in that time no case was tried" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "value"), [("seconds", math.nan), ("seconds", 0), ("runs", math.nan), ("runs", -1)])
def test_numbers_that_mean_nothing_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name}="):
        Check(guard.Guard(), schema={"type": "integer"}, **{name: value})

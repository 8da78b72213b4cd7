"""`guard advise`: what of a type to change, from a scripted model's answers to documents."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from guard.cli import app
from guard.models.base import Reply, Request
from guard.testing.type_advice import Reading, advised, fields_of, measured

SCHEMA = {
    "title": "Order",
    "type": "object",
    "properties": {
        "date": {"type": "string", "format": "date"},
        "customer": {"type": "string"},
        "kind": {"enum": ["new", "return"]},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "total": {"type": "number", "x-guard-from": "input"},
        "items": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["date", "customer", "kind", "note", "total", "items"],
    "additionalProperties": False,
}
DOCS = [f"From Anna B{number}\nlamp, rope\n{number}.50 EUR on 2026-05-1{number}" for number in range(1, 5)]


def answer(number: int) -> dict[str, Any]:
    """Return what the model makes of a document: the date and the items are right, the first customer is invented."""
    return {
        "date": f"2026-05-1{number}",
        "customer": "Bert" if number == 1 else f"Anna B{number}",
        "kind": "new",
        "note": None,
        "total": number + 0.5,
        "items": ["lamp", "rope"],
    }


class Reader:
    """Answers with what is known of the document."""

    name = "reader"

    def generate(self, request: Request) -> Reply:
        number = int(re.findall(r"Anna B(\d)", request.messages[-1]["content"])[0])
        return Reply(json.dumps(answer(number)), "stop", "reader", 10, 5, cost=0.0)


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def advise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("guard.models.load", lambda _name, _progress=None: Reader())
    Path("order.json").write_text(json.dumps(SCHEMA), "utf-8")
    rows = [
        {"body": text, "right": {**answer(n), "customer": f"Anna B{n}", "kind": "return"}}
        for n, text in enumerate(DOCS, 1)
    ]
    Path("docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            app.main(["advise", "order.json", *arguments])
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run


def test_what_to_change_is_said_with_figures(advise: Run) -> None:
    code, out, _ = advise("--docs", "docs.jsonl", "--column", "body", "--right", "right", "--json")
    told = json.loads(out)
    assert code == 0
    assert (told["type"], told["documents"], told["answered"]) == ("Order", 4, 4)
    fields = {one["field"]: one for one in told["fields"]}
    assert fields["customer"] | {} == {
        "field": "customer", "answers": 4, "null": 0, "stated": 3, "right": 3, "compared": 4, "confidence": None,
    }  # fmt: skip
    said = {(one["field"], one["rule"]): one["words"] for one in told["advice"]}
    assert "3 of 4 values stand in the document; 1 stand nowhere" in said["customer", "quote"]
    assert "guard.Quoted()" in said["customer", "quote"]
    assert "guard.Stated()" in said["date", "state"]
    assert "guard.Quoted()" in said["items", "quote"]
    assert "none of 4" in said["kind", "never right"]
    assert "'new' was chosen in all 4" in said["kind", "one category"]
    assert ("note", "always null") in said
    assert "in 4 of 4 documents, customer stands in front of it" in said["date", "order"]
    assert not any(field == "total" for field, rule in said if rule != "order")


def test_a_person_reads_a_table_and_sentences(advise: Run) -> None:
    for number, text in enumerate(DOCS):
        Path(f"{number}.txt").write_text(text, "utf-8")
    code, out, _ = advise("--docs", "*.txt")
    assert code == 0
    assert "customer: 3 of 4 values" not in out  # with no right answers known, one in four may be derived
    assert "mark it with guard.Stated()" in out
    assert "null in all 4 documents" in out


def test_without_documents_or_fields_there_is_nothing_to_try(advise: Run) -> None:
    assert "no documents" in advise()[2]
    Path("order.json").write_text('{"type": "string"}', "utf-8")
    assert "no object" in advise("--docs", "docs.jsonl", "--column", "body")[2]


def test_what_documents_do_not_state_may_be_null() -> None:
    fields = fields_of(SCHEMA)
    readings = [Reading("nothing", unstated=("/total",)) for _ in range(3)]
    found = advised(measured(fields, readings), readings)
    assert [(one.field, one.rule) for one in found] == [("total", "optional")]


def test_nested_objects_and_references_are_read() -> None:
    schema = {
        "$defs": {"Who": {"type": "object", "properties": {"name": {"type": "string"}}}},
        "type": "object",
        "properties": {
            "who": {"anyOf": [{"$ref": "#/$defs/Who"}, {"type": "null"}]},
            "n": {"type": ["integer", "null"]},
        },
    }
    fields = fields_of(schema)
    assert [(one.name, one.kind) for one in fields] == [("who.name", "quoted"), ("n", "number")]
    assert [one.is_optional for one in fields] == [False, True]


def test_names_with_slashes_have_their_confidence_too() -> None:
    fields = fields_of({"type": "object", "properties": {"a/b": {"type": "string"}, "~": {"type": "string"}}})
    confidence = {"/a~1b": 0.5, "/~0": 0.25}
    readings = [Reading("x", {"a/b": "x", "~": "y"}, confidence=confidence, unstated=("/a~1b",))] * 3
    found = measured(fields, readings)
    assert [one.as_dict()["confidence"] for one in found] == [0.5, 0.25]
    assert ("a/b", "optional") in [(one.field, one.rule) for one in advised(found, readings)]

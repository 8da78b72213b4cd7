"""Which answers on record are right, and the command that learns from them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import pytest
import tiny
from pydantic import BaseModel
from scripted import Scripted, reply
from typer.testing import CliRunner

import guard
from guard.cli.app import app
from guard.cli.console import Problem
from guard.cli.tune import right_answers
from guard.errors import GuardError
from guard.models.local.transformers import quiet
from guard.trace import TraceStore
from guard.tuning import answers
from guard.tuning.examples import Pair, deduplicated

SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["new", "used"]}, "n": {"type": "integer"}},
    "required": ["kind", "n"],
    "additionalProperties": False,
}
RIGHT = '{"kind": "new", "n": 1}'


def asked(text: str, *replies: Any, name: str = "large", **options: Any) -> Any:
    asker = guard.Guard(model=Scripted(*replies, name=name), **{"retries": 0, **options})
    return asker.traced(SCHEMA, messages=[{"role": "user", "content": text}])[1]


def found(trace: Path, **options: Any) -> tuple[list[Pair], Counter[str]]:
    dropped: Counter[str] = Counter()
    return list(answers.from_trace(TraceStore.at(trace), dropped, own={"small"}, **options)), dropped


def test_right_answers_are_kept_and_others_counted_under_their_reason(trace_file: Path) -> None:
    asked("by a large one", RIGHT)
    asked("its own", RIGHT, name="small")
    asked("its own, confirmed", RIGHT, name="small").rate(True)
    asked("its own, corrected", RIGHT, name="small").correct({"kind": "used", "n": 2})
    asked("wrong, says a person", RIGHT).rate(False)
    asked("cut", reply(RIGHT, cut_at=("/n",), finish="length"))
    with pytest.raises(guard.ValidationFailed):
        asked("invalid", '{"kind": "lost", "n": 1}')
    pairs, dropped = found(trace_file)
    kept = {pair.messages[-1]["content"]: (json.loads(pair.answer), pair.by) for pair in pairs}
    assert kept == {
        "by a large one": ({"kind": "new", "n": 1}, "large"),
        "its own, confirmed": ({"kind": "new", "n": 1}, "small"),
        "its own, corrected": ({"kind": "used", "n": 2}, "person"),
    }
    assert dropped == {
        "the model's own answer, which nobody confirmed": 1,
        "said to be wrong": 1,
        "not whole": 1,
        "no valid answer": 1,
    }


def test_an_answer_that_is_no_json_is_counted_and_stops_nothing(trace_file: Path) -> None:
    """It ended `guard tune` in a JSONDecodeError."""
    asked("which?", RIGHT)
    guard.Guard(Scripted("AB-12", name="large")).traced(guard.formats.regex(r"[A-Z]{2}-\d{2}"), "which?")
    pairs, dropped = found(trace_file)
    assert [pair.answer for pair in deduplicated(pairs, dropped)] == [RIGHT]
    assert dropped == {"no JSON": 1}


def test_what_a_person_approved_is_learned_though_another_answer_came_later(trace_file: Path) -> None:
    asked("twice", RIGHT).rate(True)
    asked("twice", '{"kind": "used", "n": 7}')
    pairs, dropped = found(trace_file)
    (kept,) = deduplicated(pairs, dropped)
    assert (kept.answer, kept.is_approved) == (RIGHT, True)


def test_an_answer_that_was_rejected_is_not_learned_from_another_call(trace_file: Path) -> None:
    """A person rejected one of two calls with the same answer to the same question: it was learned from the other."""
    asked("twice", RIGHT)
    asked("twice", '{"n": 1, "kind": "new"}').rate(False)
    asked("corrected", RIGHT).correct({"kind": "used", "n": 2})
    asked("corrected", RIGHT)
    asked("another question", RIGHT)
    pairs, dropped = found(trace_file)
    assert [(pair.messages[-1]["content"], json.loads(pair.answer)["n"]) for pair in pairs] == [
        ("corrected", 2),
        ("another question", 1),
    ]
    assert dropped == {"said to be wrong": 3}


def test_an_answer_that_a_larger_model_gave_in_the_end_is_learned_under_the_first_question(trace_file: Path) -> None:
    asker = guard.Guard(
        model=Scripted('{"kind": "lost"}', name="small"), escalate_to=Scripted(RIGHT, name="large"), retries=0
    )
    asker.generate(SCHEMA, messages=[{"role": "user", "content": "Read."}])
    (pair,), _ = found(trace_file)
    assert [dict(message) for message in pair.messages] == [{"role": "user", "content": "Read."}]
    assert pair.answer == RIGHT


def test_a_grounded_answer_is_learned_with_the_inputs_that_it_came_from(trace_file: Path) -> None:
    """The inputs are the call's arguments, and not the words around them; those that no message shows are unknown."""

    class Letter(BaseModel):
        sender: Annotated[str, guard.Quoted()]

    @guard.structured(model=Scripted('{"sender": "Anna"}', name="large"), retries=0)
    def read(letter: str, copy: list[str]) -> Letter:
        """Read the letter."""

    read("From Anna", ["Dear Anna"])
    asker = guard.Guard(model=Scripted(*['{"sender": "Anna"}'] * 2, name="large"))
    asker.generate(Letter, "Who?", sources="From Anna")
    asker.generate(Letter, "Who? Anna.")
    pairs, dropped = found(trace_file)
    known = [dict(pair.sources.texts) for pair in pairs if pair.sources is not None]
    assert known == [{"letter": "From Anna", "copy/0": "Dear Anna"}, {"messages/0": "Who? Anna."}]
    assert dropped == {"its inputs are not on record": 1}


def test_what_redaction_changed_and_what_was_replayed_is_left_out(
    trace_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_API_KEY", "a-secret-of-some-length")
    asked("a-secret-of-some-length", RIGHT)
    asked("recorded", RIGHT, mode="record")
    asked("recorded", RIGHT, mode="cache")
    pairs, dropped = found(trace_file)
    assert [pair.messages[-1]["content"] for pair in pairs] == ["recorded"]
    assert dropped == {"redacted": 1, "a replay": 1}


def test_the_providers_terms_are_named(trace_file: Path) -> None:
    asked("one", RIGHT, name="openai:gpt-5-mini")
    pairs, _ = found(trace_file)
    assert [told.partition(" ")[0] for told in answers.terms(pairs)] == ["OpenAI's"]
    asked("two", RIGHT, name="ollama:qwen")
    asked("three", RIGHT, name="small").correct({"kind": "new", "n": 2})
    pairs, _ = found(trace_file)
    words = "whether the terms of ollama:qwen allow to train on these answers is not known here"
    assert answers.terms(pairs) == [answers.TERMS["openai"], words]


def test_terms_are_shown_before_anything_is_trained_on(trace_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked("one", RIGHT, name="anthropic:claude-haiku-4-5")
    told: list[str] = []
    monkeypatch.setattr("guard.cli.tune.say", lambda words, **_: told.append(words))
    monkeypatch.setattr("guard.tuning.job.load", lambda _: pytest.fail(f"loaded after {told}") if not told else _stop())
    with pytest.raises(Problem, match="enough of it"):
        CliRunner().invoke(app, ["tune", json_schema(trace_file)], catch_exceptions=False)
    assert told == [f"guard: {answers.TERMS['anthropic']}"]


def _stop() -> None:
    raise GuardError("enough of it")


def json_schema(beside: Path) -> str:
    file = beside.with_name("schema.json")
    file.write_text(json.dumps(SCHEMA))
    return str(file)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("nonsense", r"line 2: it is not JSON \(Expecting value"),
        (
            '{"messages": [{"role": 3, "content": "?"}], "answer": 1, "schema": true}',
            "line 2: messages must be a list of objects",
        ),
        ('{"messages": [["a", "b"]], "answer": 1, "schema": true}', "line 2: messages must be a list of objects"),
        (
            '{"messages": [{"role": "user", "content": "?"}], "answer": 1, "schema": true, "started": 1'
            + "0" * 400
            + "}",
            "line 2: started must be a number",
        ),
        ('{"messages": [], "answer": 1, "schema": true}', "line 2 has no schema, or no messages"),
        ('{"messages": [{"role": "user", "content": "?"}], "answer": 1}', "line 2 has no schema"),
        ('{"messages": [{"role": "user", "content": "?"}]}', "line 2: there is no 'answer'"),
    ],
)
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str, told: str) -> None:
    file = tmp_path / "right.jsonl"
    file.write_text(
        '{"messages": [{"role": "user", "content": "?"}], "answer": 1, "schema": {"type": "integer"}}\n' + line
    )
    with pytest.raises(GuardError, match=told):
        list(answers.from_file(file, Counter()))


def test_the_command_line_tunes_on_the_trace_and_the_result_is_in_the_registry(
    trace_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUARD_REGISTRY", str(tmp_path / "models"))
    with quiet():
        tiny.llama().save_pretrained(tmp_path / "base")
        tiny.tokenizer().save_pretrained(tmp_path / "base")
    (tmp_path / "kinds.json").write_text(json.dumps(SCHEMA))
    run = CliRunner()
    command = ["tune", str(tmp_path / "kinds.json"), "--model", f"transformers:{tmp_path / 'base'}"]
    command += ["--steps", "3", "--layers", "1", "--branches", "2"]
    refused = run.invoke(app, command)
    assert isinstance(refused.exception, Problem)
    assert "0 examples are too few, 8 are needed" in str(refused.exception)
    unknown = run.invoke(app, ["tune", "nosuch"])
    assert isinstance(unknown.exception, Problem)
    assert f"no call of a function nosuch is on record in {trace_file}" in str(unknown.exception)
    for number in range(30):
        asked(f"question {number}", RIGHT)
    done = run.invoke(app, [*command, "--json"])
    assert done.exit_code == 0, done.output
    card = json.loads(done.stdout)
    assert card["folder"] == str(tmp_path / "models" / "kinds" / "1")
    assert card["steps"] == 3
    assert card["recipe"]["branches"] == 2
    assert 8 <= card["examples"] <= 28
    assert run.invoke(app, command).stdout == f"transformers:{tmp_path / 'models' / 'kinds' / '2'}\n"
    for name in ("..", "x" * 300):
        refused = run.invoke(app, ["tune", name, *command[2:]])
        assert isinstance(refused.exception, Problem)
        assert refused.exception.code == 2
        assert "no function is named" in str(refused.exception)
    wrong = run.invoke(app, [*command, "--loss", "none"])
    assert str(wrong.exception) == "--loss none must be one of masked, chosen, all"


def test_what_the_tuned_model_answered_itself_is_not_learned(
    trace_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUARD_REGISTRY", str(tmp_path / "models"))
    for name, base in (("kinds", "smollm2"), ("letters", "smollm2"), ("large", "transformers:/models/large")):
        folder = tmp_path / "models" / name / "1"
        folder.mkdir(parents=True)
        (folder / "tuning.json").write_text(json.dumps({"base": base}))
    file = Path(json_schema(trace_file)).rename(tmp_path / "kinds.json")
    own = ("tuned:kinds", "tuned:kinds@1", f"transformers:{tmp_path / 'models' / 'kinds' / '1'}", "tuned:letters")
    for name in (*own, "smollm2", "tuned:large"):
        asked(f"answered by {name}", reply(RIGHT, model=f"{name}@1"), name=name)
    asked("answered by the first version", reply(RIGHT, model="tuned:kinds@1"), name="an alias")
    shown = CliRunner().invoke(app, ["tune", str(file)])
    assert "1 examples are too few, 8 are needed (6 the model's own answer, which nobody confirmed)" in str(
        shown.exception
    )


def test_own_answers_are_left_out_before_the_registry_has_the_model(
    trace_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUARD_REGISTRY", str(tmp_path / "none"))
    asked("answered by another registry's", reply(RIGHT, model="tuned:schema@3"), name="tuned:schema")
    shown = CliRunner().invoke(app, ["tune", json_schema(trace_file)])
    assert "0 examples are too few" in str(shown.exception)


def test_a_folder_is_one_model_however_it_is_spelled_and_what_was_tuned_from_it_is_its_relative(
    trace_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The base was asked as transformers:/…/base and tuned as transformers:./base: its own answers were learned.

    So were those of a folder that `guard tune --out` had made from it, which is in no registry, and of one more from
    that.
    """
    monkeypatch.setenv("GUARD_REGISTRY", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    for name, base in (("tuned", f"transformers:{tmp_path}/base"), ("again", "transformers:./tuned"), ("other", None)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tuning.json").write_text(json.dumps({"base": base} if base else {}))
    (tmp_path / "link").symlink_to(tmp_path / "tuned")
    for spelled in (f"{tmp_path}/base", "./base", "tuned/../base", "./tuned", "link", "again", "other", "\0"):
        asked(f"answered by {spelled}", RIGHT, name=f"transformers:{spelled}")
    for model in ("./base", f"{tmp_path}/base", "again"):
        dropped: Counter[str] = Counter()
        learned = right_answers(None, None, SCHEMA, None, {f"transformers:{model}"}, dropped)
        assert [pair.by for pair in learned] == ["transformers:other", "transformers:\0"]
        assert dropped == {"the model's own answer, which nobody confirmed": 6}
    (tmp_path / "other" / "tuning.json").write_text("{")
    with pytest.raises(GuardError, match=r"it is not known what was learned: .*other/tuning\.json can't be read"):
        right_answers(None, None, SCHEMA, None, {"transformers:./base"}, Counter())

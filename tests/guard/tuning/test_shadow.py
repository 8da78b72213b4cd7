"""Shadow runs: the statistics, and a whole run over two small models."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from unittest.mock import ANY

import pytest
import tiny
from scripted import Scripted
from typer.testing import CliRunner

import guard
from guard.cli.app import app
from guard.cli.console import Problem
from guard.decoding.answer_figures import AnswerFigures
from guard.errors import GuardError, ModelError, Unavailable
from guard.models.base import Request
from guard.models.local.transformers import TransformersModel, quiet
from guard.tuning import economics
from guard.tuning import shadow_run as shadow
from guard.tuning.examples import Pair, cut
from guard.tuning.kept_answers import Answered, KeptAnswers
from guard.tuning.registry import CARD, Registry, write_json
from guard.tuning.scoring import score
from guard.tuning.shadow_job import unseen

SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["new", "used"]}, "n": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["kind", "n"],
    "additionalProperties": False,
}


def pairs(count: int) -> list[Pair]:
    compiled = guard.compile(SCHEMA)
    answer = json.dumps({"kind": "used", "n": 3})
    return [Pair(({"role": "user", "content": f"Read {n}."},), compiled, answer, f"line {n}") for n in range(count)]


@pytest.mark.parametrize("seed", range(4))
def test_an_answer_that_is_foreseen_is_the_one_that_is_decoded(seed: int) -> None:
    """Teacher forcing promises what greedy decoding keeps. (A text may be decoded in other tokens as well.)"""
    model = TransformersModel("tiny", tiny.llama(seed), tiny.tokenizer())
    (pair,) = pairs(1)
    text = model.generate(Request(pair.messages, pair.compiled, max_tokens=60)).text
    answers = [json.dumps({"kind": kind, "n": n}) for kind in ("new", "used") for n in range(10)]
    asked = [Pair(pair.messages, pair.compiled, answer) for answer in answers]
    written = [one.is_written for one in score(model.model, list(cut(model, asked, Counter())))]
    assert sum(written) <= 1
    assert all(json.loads(text) == json.loads(answer) for answer, is_it in zip(answers, written, strict=True) if is_it)


@pytest.fixture
def models(tmp_path: Path) -> tuple[str, str]:
    for name, seed in (("old", 0), ("new", 1)):
        with quiet():
            tiny.llama(seed).save_pretrained(tmp_path / name)
            tiny.tokenizer().save_pretrained(tmp_path / name)
        config = tmp_path / name / "config.json"
        config.write_text(
            config.read_text().replace('"max_position_embeddings": 512', '"max_position_embeddings": 2048')
        )
    return f"transformers:{tmp_path / 'old'}", f"transformers:{tmp_path / 'new'}"


def pairs_of(name: str, count: int) -> list[Pair]:
    """Questions of which a model answers the first as it should."""
    asked = pairs(count)
    first = asked[0]
    reply = guard.models.load(name).generate(Request(first.messages, first.compiled, max_tokens=shadow.TOKENS))
    return [dataclasses.replace(first, answer=reply.text), *asked[1:]]


def test_a_run_reports_both_measures_and_a_model_beside_itself_passes(models: tuple[str, str]) -> None:
    old, new = models
    asked = pairs_of(old, 20)
    found = shadow.run(old, old, asked)
    assert not found["passed"]
    words = "not passed: at such shares it takes about 189 questions to tell, not 20"
    assert shadow.verdict(found) == words
    assert f"{words}</h1>" in shadow.page(found)
    found = shadow.run(old, old, asked, margin=0.2)
    assert found["passed"]
    assert shadow.verdict(found) == "passed"
    assert found["difference"] == 0
    assert found["p_value"] == 1
    found = shadow.run(new, old, pairs(20))
    right = found["right"]
    for side in ("old", "new"):
        assert found["foreseen"][side]["written"] <= right[side]
        assert found["foreseen"][side]["answers"] == 20
    assert right["new"] - right["old"] == right["only_new"] - right["only_old"]
    assert len(found["apart"]) == right["only_new"] + right["only_old"]
    assert {one["field"] for one in found["fields"]} == {"kind", "n"}
    assert json.loads(json.dumps(found)) == found
    told = shadow.page({**found, "new": "<script>"})
    assert "<script>" not in told
    assert "&lt;script&gt; beside" in told


def test_a_model_that_is_never_right_does_not_pass(models: tuple[str, str]) -> None:
    """Where the old one was never right either, it is no worse: it passed, and might have been promoted."""
    wrong = [dataclasses.replace(pair, answer='{"kind": "used", "n": 3}') for pair in pairs_of(models[0], 20)]
    found = shadow.run(models[0], models[0], wrong)
    assert found["right"]["new"] == found["right"]["old"] == 0
    assert not found["passed"]
    assert shadow.verdict(found) == "not passed, since it was never right"
    assert "not passed, since it was never right</h1>" in shadow.page(found)


def test_answers_of_a_killed_run_are_not_asked_for_again(models: tuple[str, str], tmp_path: Path) -> None:
    old, new = models
    path, asked = tmp_path / "partial", pairs(24)
    whole = shadow.run(new, old, asked, kept=KeptAnswers(path))
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:30]) + '{"key": "cut by a ki')
    kept, told = KeptAnswers(path), list[tuple[str, int, int]]()
    again = shadow.run(new, old, asked, kept=kept, told=lambda *step: told.append(step))
    changing = {"made", "seconds"}
    assert {k: v for k, v in again.items() if k not in changing} == {
        k: v for k, v in whole.items() if k not in changing
    }
    assert told[-1][1:] == (24, 24)
    asked_for = [
        json.loads(line) for line in path.read_text().splitlines() if line.startswith('{"key": "') and "}" in line
    ]
    assert len(asked_for) == len({one["key"] for one in asked_for}) == 48
    kept.forget()
    assert not path.exists()
    assert KeptAnswers(path).find(old, asked[0]) is None


def test_too_few_questions_are_not_concluded_from(models: tuple[str, str]) -> None:
    with pytest.raises(GuardError, match="5 questions with right answers are too few"):
        shadow.run(*models, pairs(5))


def test_the_command_line_tells_which_is_better(models: tuple[str, str], tmp_path: Path) -> None:
    old, new = models
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    lines = [json.dumps({"messages": pair.messages, "answer": json.loads(pair.answer)}) for pair in pairs_of(old, 21)]
    data = tmp_path / "right.jsonl"
    data.write_text("\n".join(lines))
    args = ["shadow", old, "--against", old, "--function", str(tmp_path / "schema.json"), "--data", str(data)]
    args += ["--margin", "0.2"]
    done = CliRunner().invoke(app, [*args, "--html", str(tmp_path / "report.html")])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == "difference +0.0% (-16.1% to +16.1%), margin 20.0%: passed"
    assert "passed" in (tmp_path / "report.html").read_text()
    again = CliRunner().invoke(app, [*args, "--html", str(tmp_path / "report.html")])
    assert isinstance(again.exception, Problem)
    data.write_text("\n".join(lines[1:]))
    done = CliRunner().invoke(app, args)
    assert done.exit_code == 1
    assert done.output.splitlines()[-1].endswith("margin 20.0%: not passed, since it was never right")
    args[1] = new
    neither = CliRunner().invoke(app, [*args, "--quick", "--html", str(tmp_path / "other.html")])
    assert str(neither.exception).startswith("--html is of what was decoded, and --quick decodes nothing")
    found = json.loads(CliRunner().invoke(app, [*args, "--quick", "--json"]).output)
    assert set(found["foreseen"]) == {"old", "new"}


@pytest.mark.parametrize(("right", "words"), [(True, "with a precision of 90% wanted"), (False, "no threshold keeps")])
def test_the_page_says_what_the_model_would_serve_alone(right: bool, words: str) -> None:
    asked = pairs(80)
    value = json.loads(asked[0].answer)
    figures = {"": AnswerFigures(0.1, 0.1, 0.0, 0.0)}
    answered = [Answered(value, right, 0.1, figures) for _ in asked]
    alone = shadow._alone(asked, answered, 0.9)
    assert alone is not None
    assert alone["wanted"] == 0.9
    told = shadow._alone_shown({"new": "b", "old": "a", "alone": alone})
    assert words in told


def test_what_was_not_answered_is_not_served_alone() -> None:
    """Half of the questions have no answer: at most the other half is served, not all of them."""
    asked = pairs(200)
    figures = {"": AnswerFigures(0.1, 0.1, 0.0, 0.0)}
    answered = [Answered({}, True, 0.1, figures) if n % 2 else Answered(None, False, 0.1) for n in range(200)]
    alone = shadow._alone(asked, answered, 0.5)
    assert alone is not None
    assert alone["chosen_on"] + alone["looked_at"] <= 200
    _, other = economics.halves([pair.input_hash for pair in asked])
    share = sum(n % 2 for n in other) / len(other)
    assert (alone["looked_at"], alone["share"], alone["precision"]) == (len(other), share, 1)
    assert alone["curve"][-1] == [round(share, 4), 1]


def test_a_right_null_is_right() -> None:
    compiled = guard.compile({"anyOf": [SCHEMA, {"type": "null"}]})
    (question,) = [Pair(({"role": "user", "content": "?"},), compiled, "null")]
    assert shadow._answered(Scripted("null"), question).is_right
    assert not shadow._answered(Scripted(json.dumps({"kind": "new", "n": 1})), question).is_right
    assert not shadow._answered(Scripted("nul"), question).is_right


def test_what_comes_from_the_inputs_is_answered_under_their_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both models were asked as though an input stated anything, and failed by what they would never have served."""
    monkeypatch.setattr(shadow, "TOKENS", 50)  # a tiny model has no room for more
    compiled = guard.compile({"type": "string", "x-guard-from": "input"})
    one = Pair(({"role": "user", "content": "Anna"},), compiled, '"Anna"')
    assert shadow._answered(TransformersModel("tiny", tiny.llama(), tiny.tokenizer()), one).is_right


def test_a_question_that_a_version_was_trained_on_is_not_asked_again_under_another_number(tmp_path: Path) -> None:
    before, now = pairs(30), pairs(40)
    card = {"sources": [pair.source for pair in before], "questions": [pair.question for pair in before]}
    (tmp_path / "tuning.json").write_text(json.dumps(card))
    model = f"transformers:{tmp_path}"
    renumbered = [dataclasses.replace(pair, source=f"line {39 - n}") for n, pair in enumerate(now)]
    assert unseen(renumbered, [model], 100) == renumbered[30:]
    (tmp_path / "tuning.json").write_text(json.dumps({"sources": card["sources"]}))  # of an older Guard
    assert unseen(now, [model], 100) == now[30:]


def test_a_question_that_was_trained_on_is_left_out_of_every_model_and_of_what_it_was_tuned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of `guard tune --out` was asked what it had learned, and so was a version of a version."""
    monkeypatch.setenv("GUARD_REGISTRY", str(tmp_path / "models"))
    registry, asked = Registry.default(), pairs(100)
    first, second, alone = registry.place("f") / "1", registry.place("f") / "2", tmp_path / "alone"
    for folder, base, some in (
        (first, "smollm2", asked[:60]),
        (second, f"transformers:{first}", asked[60:80]),
        (alone, f"transformers:{second}", asked[80:90]),
    ):
        folder.mkdir(parents=True)
        write_json(folder / CARD, {"base": base, "questions": [pair.question for pair in some]})
    assert unseen(asked, [registry.model("f", 1)], 200) == asked[60:]
    assert unseen(asked, [registry.model("f", 2), "smollm2"], 200) == asked[80:]
    assert unseen(asked, [f"transformers:{alone}"], 200) == asked[90:]
    assert unseen(asked, registry.behind("tuned:f"), 200) == asked
    registry.promote("f", 1, force=True)
    registry.start_canary("f", 2, 0.5, force=True)
    assert unseen(asked, registry.behind("tuned:f"), 200) == asked[80:]
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    lines = [json.dumps({"messages": pair.messages, "answer": json.loads(pair.answer)}) for pair in asked]
    (tmp_path / "right.jsonl").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    args = ["shadow", "transformers:./alone", "--against", "smollm2", "--function", "schema.json"]
    done = CliRunner().invoke(app, [*args, "--data", "right.jsonl"])
    assert "10 questions with right answers are too few" in str(done.exception)


def test_a_model_that_can_not_be_asked_is_not_said_to_be_wrong(tmp_path: Path) -> None:
    """Else any model would pass beside one whose provider is down, or whose key is missing."""
    (question,) = pairs(1)
    with pytest.raises(Unavailable):
        shadow._answered(Scripted(Unavailable("down")), question)
    assert shadow._answered(Scripted(guard.Refused("no")), question) == Answered(None, False, ANY)
    found = shadow._answered(Scripted(ModelError("there is no key")), question)
    assert (found.is_right, found.error) == (False, "there is no key")
    kept = KeptAnswers(tmp_path / "partial")
    kept.add("m", question, found)
    assert KeptAnswers(tmp_path / "partial").find("m", question) is None


def test_a_run_beside_a_model_that_always_fails_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted = {"old": Scripted(*[ModelError("there is no key")] * 20, name="old")}
    monkeypatch.setattr("guard.models.load", lambda name: scripted[name])
    with pytest.raises(ModelError, match=r"failed on each of 20 questions, .*: there is no key"):
        shadow._answers("old", pairs(20), lambda *_: None, KeptAnswers())

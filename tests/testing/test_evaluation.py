"""Evaluation: shares, intervals, fields, and whether one model may take over from another."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import guard
from guard.models.scripted import ScriptedModel
from guard.output import target as targets
from guard.testing import evaluation
from guard.testing.evaluation import Case, Evaluation, check_expected, compare, evaluate, mean, read_cases, share
from guard.testing.figures import page
from guard.testing.plots import write

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "at": {"type": "object", "properties": {"n": {"type": "number"}}}},
    "required": ["name"],
}
CASES = [Case("one", {"name": "a", "at": {"n": 1}}), Case("two", {"name": "b"})]


def evaluated(name: str, *answers: Any, cases: list[Case] | None = None, retries: int = 1) -> Evaluation:
    """Evaluate a model that says what it is told to."""
    model = ScriptedModel(*answers, name=name)
    target = targets.from_any(SCHEMA, {})
    asked = guard.Guard(model, retries=retries)
    return evaluate(target, asked, cases or CASES, schema="s", model=name, instruction="Read.")


def test_each_case_is_one_call_and_each_field_is_right_or_not() -> None:
    found = evaluated("m", '{"name": "a", "at": {"n": 1.0}}', "nonsense", '{"name": "c"}')
    first, second = found.outcomes
    assert (first.outcome, first.right, first.is_exact, first.reasks) == (
        "valid",
        {"name": True, "at.n": True},
        True,
        0,
    )
    assert (second.outcome, second.right, second.is_exact, second.reasks) == ("valid", {"name": False}, False, 1)
    measures = found.measures
    assert measures["valid"].mean == 1.0
    assert measures["exact"].mean == 0.5
    assert measures["right"].mean == 0.5
    assert measures["reasks"].mean == 0.5
    assert {name: (m.mean, m.count) for name, m in found.fields.items()} == {"name": (0.5, 2), "at.n": (1.0, 1)}


def test_the_input_of_a_case_states_its_grounded_values() -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string", "x-guard-from": "/text"}}}
    target, model = targets.from_any(schema, {}), ScriptedModel('{"name": "one"}', '{"name": "one"}')
    found = evaluate(target, guard.Guard(model, retries=0), CASES, schema="s", model="m", instruction="Read one.")
    assert [o.outcome for o in found.outcomes] == ["valid", "ValidationFailed"]


def test_a_case_without_an_answer_is_an_outcome_and_all_of_its_fields_are_wrong() -> None:
    found = evaluated("m", guard.Refused("no"), '{"name": "b"}')
    assert [o.outcome for o in found.outcomes] == ["Refused", "valid"]
    assert found.outcomes[0].right == {"name": False, "at.n": False}
    assert found.outcomes[0].call is not None
    assert found.measures["valid"].mean == 0.5


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_a_share_has_wilsons_interval(hits: int, count: int, low: float, high: float) -> None:
    found = share([True] * hits + [False] * (count - hits))
    assert found.mean == hits / count
    assert found.low == pytest.approx(low, abs=1e-4)
    assert found.high == pytest.approx(high, abs=1e-4)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_a_mean_lies_in_its_interval_and_the_interval_in_the_values(values: list[float]) -> None:
    found = mean(values)
    slack = 1e-6 * (1 + max(map(abs, values)))
    assert min(values) - slack <= found.low <= found.high <= max(values) + slack
    assert found.mean == pytest.approx(sum(values) / len(values), abs=slack)


def test_of_nothing_nothing_is_known() -> None:
    assert math.isnan(mean([]).mean)
    assert (share([]).low, share([]).high) == (0.0, 1.0)


def test_an_equal_model_takes_over_and_a_worse_one_does_not() -> None:
    cases = [Case(str(n), {"name": str(n)}) for n in range(20)]
    right = [json.dumps({"name": str(n)}) for n in range(20)]
    large = evaluated("large", *right, cases=cases)
    small = evaluated("small", *right, cases=cases)
    bad = evaluated("bad", *['{"name": "?"}'] * 20, cases=cases)
    mixed = evaluated("mixed", *right[:18], *['{"name": "?"}'] * 2, cases=cases)
    assert compare(small, large).takes_over is True
    assert compare(small, large).words == (
        "small can take over from large here: +0.0% of the fields [+0.0%, +0.0%], at worst 5% fewer"
    )
    assert compare(bad, large).takes_over is False
    assert compare(bad, large).words.startswith("bad can't take over from large here: -100.0%")
    assert compare(mixed, large).takes_over is False
    assert "not known whether mixed can take over" in compare(mixed, large).words


def test_a_few_cases_tell_nothing() -> None:
    cases = [Case(str(n), {"name": str(n)}) for n in range(19)]
    right = [json.dumps({"name": str(n)}) for n in range(19)]
    for answers in (right, ['{"name": "?"}'] * 19):
        found = compare(evaluated("small", *answers, cases=cases), evaluated("large", *right, cases=cases))
        assert found.takes_over is False
        assert found.words == (
            "it is not known whether small can take over from large: 19 cases are too few, 20 are needed"
        )


def test_the_figures_of_a_call_that_failed_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may record a call between this one and the look at it."""
    target = targets.from_any(SCHEMA, {})
    asked = guard.Guard(ScriptedModel("nonsense", name="m"), retries=0)
    run = asked.run

    def and_another(plan: Any) -> Any:
        try:
            return run(plan)
        finally:
            guard.Guard(ScriptedModel("true", name="other")).generate({"type": "boolean"}, "Is it?")

    monkeypatch.setattr(asked, "run", and_another)
    (found,) = evaluate(target, asked, CASES[:1], schema="s", model="m", instruction="Read.").outcomes
    call = asked.store.read(found.call or 0)
    assert call is not None
    assert [attempt.model for attempt in call.attempts] == ["m"]


def test_without_expected_answers_only_validity_and_cost_are_compared() -> None:
    cases = [Case("one"), Case("two")]
    one = evaluated("one", '{"name": "a"}', '{"name": "b"}', cases=cases)
    other = evaluated("other", '{"name": "a"}', guard.Refused("no"), cases=cases)
    found = compare(one, other)
    assert found.takes_over is None
    assert found.differences["valid"].mean == 0.5
    assert "right" not in found.differences


def test_cases_are_lines_or_a_list_and_may_name_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("from a file", "utf-8")
    lines = '{"input": "x", "expected": {"n": 1}}\n\n{"file": "a.txt", "schema": "s"}\n'
    found = read_cases(tmp_path / "cases.jsonl", lines)
    assert found == [Case("x", {"n": 1}), Case("from a file", schema="s")]
    assert read_cases(tmp_path / "cases.json", json.dumps([{"input": {"deep": 1}}])) == [Case('{"deep": 1}')]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no case"),
        ("{", "line 1 is not JSON"),
        ("[1]", "case 1: must be an object"),
        ('{"expected": 1}', 'case 1: neither "input" nor "file" is there; give one of them'),
        ('{"input": "x", "file": "a.txt"}', 'case 1: both "input" and "file" are there; give one of them'),
        *(
            (f'{{"input": {one}}}', 'case 1: "input" must be a text, an object or a list')
            for one in ("1", "null", "true")
        ),
        ('{"file": 1}', 'case 1: "file" must be the name of a file'),
        ('{"file": "nosuch.txt"}', r"case 1: .*nosuch\.txt can't be read: No such file or directory"),
        ('{"input": "x", "schema": 1}', 'case 1: "schema" must be a text'),
        ('{"input": "x", "input": "y"}', r"line 1 is not JSON \(the key 'input' is there twice in one object\)"),
        ('{"input": "x", "expected": {"n": 1, "n": 2}}', "the key 'n' is there twice"),
        ('{"input": "x", "wanted": 1}', "case 1: unknown key 'wanted'"),
    ],
)
def test_cases_that_can_t_be_read_are_said_with_their_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_cases(tmp_path / "cases.jsonl", text)


def test_a_case_that_expects_what_the_type_does_not_allow_is_said(tmp_path: Path) -> None:
    target = targets.from_any({"type": "object", "properties": {"name": {"type": "string"}}}, {})
    lines = '{"input": "\u2028", "expected": {"name": "a"}}\n{"input": "x"}\n'
    check_expected(target, read_cases(tmp_path / "cases.jsonl", lines))
    wrong = read_cases(tmp_path / "cases.jsonl", f'{lines}{{"input": "x", "expected": {{"name": 1}}}}')
    with pytest.raises(ValueError, match=r"cases\.jsonl, case 3: expected: the answer is not valid: .*name"):
        check_expected(target, wrong)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_plot_and_a_page_hold_every_model(tmp_path: Path, suffix: str) -> None:
    evaluations = [evaluated(name, '{"name": "a"}', '{"name": "b"}') for name in ("one", "two <b>")]
    path = tmp_path / f"plot.{suffix}"
    write(evaluations, path)
    assert path.stat().st_size > 1_000
    text = page(evaluations, [compare(*evaluations)])
    assert "two &lt;b&gt;: 2 cases are too few" in text
    assert "<b>" not in text
    assert "<svg" in text
    assert "<script" not in text


def test_a_plot_of_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.png"):
        write([evaluated("one", '{"name": "a"}', '{"name": "b"}')], tmp_path / "plot.bmp")


def test_everything_is_json() -> None:
    found = [evaluated("m", '{"name": "a"}', '{"name": "b"}')]
    assert json.loads(json.dumps(evaluation.as_dict(found, [])))["evaluations"][0]["model"] == "m"

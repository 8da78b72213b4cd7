"""What is under test: one of an application's steps, one member of a value, or nothing, which is said."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import guard
from guard.output import target
from guard.testing import Check
from guard.testing.oracle import narrowed, read
from guard.testing.report import as_text
from guard.testing.scripted_replies import ScriptedReply, written


class Summary(BaseModel):
    """A summary."""

    text: str


class Label(BaseModel):
    """A label."""

    label: str
    reason: str


def two_steps(article: str, model: guard.models.Model) -> Label:
    """Summarise, then label."""
    asked = guard.Guard(model, retries=0)
    summary = asked.generate(Summary, [{"role": "user", "content": article}])
    return asked.generate(Label, [{"role": "user", "content": f"{article}\n{summary.text}"}])


def one_member(article: str, model: guard.models.Model) -> Any:
    """Return the label alone."""
    found = guard.Guard(model, retries=0).generate(Label.model_json_schema(), [{"role": "user", "content": article}])
    return found["label"]


def capitals(article: str, model: guard.models.Model) -> Any:
    """Return the label alone, in capitals."""
    return one_member(article, model).upper()


def never(article: str, model: guard.models.Model) -> Label:
    """Read an answer, and fail."""
    two_steps(article, model)
    raise RuntimeError("nothing is ever right")


def test_of_several_steps_the_last_is_tested_and_the_others_are_answered_well() -> None:
    report = Check(two_steps, runs=10).run()
    assert report.holds, as_text(report)
    assert report.notes == ["it asks for 2 different values: the last is tested, and the others are answered well"]
    assert report.outcomes["value"] > 10


def test_a_member_that_is_returned_alone_is_compared_with_the_answer_s() -> None:
    report = Check(one_member, runs=10).run()
    assert report.holds, as_text(report)
    assert not report.notes
    broken = Check(capitals, runs=10).run()
    assert "faithful" in [finding.invariant.name for finding in broken.broken]


def test_a_subject_that_never_returns_a_value_is_not_called_good() -> None:
    with pytest.raises(ValueError, match="none led to a value, so that nothing can be said of it"):
        Check(never, runs=5).run()


BOUNDS = st.dictionaries(
    st.sampled_from(["minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"]), st.integers(-5, 5)
)


@given(BOUNDS, st.sampled_from(["NaN", "Infinity", "-Infinity"]))
def test_a_constant_is_read_as_a_number_only_where_no_bound_excludes_it(bounds: dict[str, int], name: str) -> None:
    number = float(name.replace("Infinity", "inf"))
    is_inside = all(
        number >= bound if key == "minimum" else number > bound if key == "exclusiveMinimum" else number <= bound
        for key, bound in bounds.items()
    )
    schema = {"properties": {"x": {"type": "number", **bounds}}, "required": ["x"]}
    verdict = read(ScriptedReply("", f'{{"x": {name}}}'), target.from_any(schema, {}))
    assert verdict.is_answer == is_inside
    assert math.isnan(number) <= (not bounds or not verdict.is_answer)


@given(st.dictionaries(st.sampled_from("abc"), st.integers()), st.sampled_from("abc"))
def test_a_narrowed_verdict_holds_that_member_of_each_value(value: dict[str, int], member: str) -> None:
    verdict = read(ScriptedReply("", written(value)), target.from_any({"type": "object"}, {}))
    assert narrowed(verdict, None) is verdict
    assert narrowed(verdict, member).values == ((value[member],) if member in value else ())

"""Judges: two validators, of which one counts its steps and leaves what it does not check to the other."""

from __future__ import annotations

from typing import Any

from guard.testing.json_validators import Judges


def test_a_schema_on_which_jsonschema_takes_exponential_time_is_judged_by_the_other() -> None:
    schema = {"allOf": [{"properties": {"x": {"$ref": "#"}}}, {"properties": {"x": {"$ref": "#"}}}], "type": "object"}
    value: Any = {}
    for _ in range(16):
        value = {"x": value}
    assert Judges(schema, "draft2020-12", {}).verdict(value) is True


def test_a_format_that_jsonschema_does_not_check_is_judged_by_the_other() -> None:
    judges = Judges({"format": "date-time"}, "draft2020-12", {})
    assert (judges.verdict("2024-02-30T00:00:00Z"), judges.verdict("2024-02-29T00:00:00Z")) == (False, True)


def test_validators_that_differ_are_no_verdict() -> None:
    assert (
        Judges({"pattern": "^.$"}, "draft2020-12", {}).verdict("a\n") is None
    )  # `$` of Python's is before a line's end


def test_a_format_that_nobody_checks_leaves_both_judges() -> None:
    assert Judges({"format": "no-such", "pattern": "^.$"}, "draft2020-12", {}).verdict("a\n") is None


def test_a_value_of_any_depth_has_a_verdict_wherever_the_stack_ends() -> None:
    """Where Python's stack ends in the midst of Rust's code, that panics, which is no Exception, or aborts."""
    name = {"not": {"propertyNames": {"not": {"pattern": "a"}}}}
    judges = Judges({"allOf": [name, {"additionalProperties": {"$ref": "#"}}]}, "draft7", {})
    value: Any = {"a": 1}
    for _ in range(120):
        value = {"a": value}

    def from_a_depth_of(frames: int) -> bool | None:
        return from_a_depth_of(frames - 1) if frames else judges.verdict(value)

    assert [from_a_depth_of(frames) for frames in range(20)] == [False] * 20  # 1 has no name at all

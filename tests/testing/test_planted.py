"""Planted bugs: the harness finds each, as what it is, and takes none of the corrected twins for broken."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from guard.testing import Check, Report
from guard.testing.report import as_text

#: Each application, and the invariants of which one at least must be what breaks.
PLANTED: dict[str, set[str]] = {
    "ascii_names": {"faithful"},
    "batch_order": {"own-answer"},
    "big_integer": {"faithful"},
    "cached_by_text": {"own-answer"},
    "cancelled_stream": {"recorded"},
    "closed_brackets": {"no-answer-no-value"},
    "cut_prompt": {"question-kept"},
    "dropped_finding": {"feedback"},
    "duplicate_key": {"one-meaning"},
    "evaluated": {"not-run"},
    "first_braces": {"reads-what-is-valid"},
    "formatted_twice": {"typed-error"},
    "packed_number": {"faithful"},
    "rules_dropped": {"question-kept"},
    "tried_for_ever": {"bounded"},
    "whole_seconds": {"faithful"},
    "empty_success": {"no-answer-no-value"},
    "hidden_model": {"served-model"},
    "invented_values": {"nothing-invented"},
    "key_order": {"key-order"},
    "last_attempt_counted": {"ledger"},
    "merged_calls": {"no-answer-no-value"},
    "merged_rows": {"faithful"},
    "none_content": {"typed-error"},
    "quotes_fixed": {"reads-what-is-valid"},
    "shared_history": {"own-answer"},
    "lines": {"split-independent", "faithful", "reads-what-is-valid"},
    "logged_secret": {"secrets-kept"},
    "mutated_messages": {"inputs-unchanged"},
    "nested_retries": {"bounded"},
    "not_a_number": {"no-answer-no-value"},
    "null_for_absent": {"faithful", "valid"},
    "question_dropped": {"question-kept"},
    "random_prompt": {"repeatable"},
    "refusal_retried": {"refusals-end"},
    "rounded": {"faithful"},
    "rule_ignored": {"valid"},
    "retries_of_all": {"repeatable"},
    "schemaless_fallback": {"schema-kept"},
    "second_call_counted": {"ledger"},
    "split_bytes": {"split-independent"},
    "stale_cache": {"own-answer"},
    "stored_first": {"no-answer-no-effect"},
    "swallowed_error": {"no-answer-no-value"},
    "thinking_taken": {"no-answer-no-value", "faithful"},
    "truncated_stream": {"no-answer-no-value"},
    "ungrounded": {"grounded"},
    "unbounded_retry": {"bounded"},
    "weaker_schema": {"valid"},
    "wrong_exception": {"typed-error"},
}
#: What an application is to return, where neither its annotations nor its requests tell.
SCHEMAS = {"weaker_schema": "SCHEMA"}
RUNS = 10  #: Drawn beside each fault alone; `guard test` draws more.


def searched(name: str, twin: str) -> Report:
    """Put one twin under test, as `guard test` does."""
    module: Any = importlib.import_module(f"testing.planted.{name}")
    schema = getattr(module, SCHEMAS[name]) if name in SCHEMAS else None
    return Check(f"testing.planted.{name}:{twin}", schema=schema, runs=RUNS, strict=True).run()


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found_with_a_counterexample(name: str) -> None:
    report = searched(name, "broken")
    broken = {finding.invariant.name: finding for finding in report.broken}
    assert broken.keys() & PLANTED[name], as_text(report)
    for finding in broken.values():
        assert finding.counterexample is not None
        assert finding.counterexample.words
        assert finding.counterexample.scene.replies


@pytest.mark.parametrize("name", PLANTED)
def test_a_corrected_twin_raises_no_alarm(name: str) -> None:
    report = searched(name, "mended")
    assert report.holds, as_text(report)

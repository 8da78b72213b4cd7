"""Training data: the columns that TRL reads, and what is in them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from scripted import Scripted, reply

import guard
from guard.errors import Violation
from guard.output.repair import Edit
from guard.trace import REDACTED, TraceStore, export
from guard.trace.feedback import Feedback
from guard.trace.records import Attempt, Call

ASKED = {"role": "user", "content": "How many?"}
AGAIN = ({"role": "assistant", "content": "1"}, {"role": "user", "content": "At least 3."})
FINDING = Violation("", "minimum", "a number >= 3", "1")
FIRST = Attempt(1, (ASKED,), reply("1"), (FINDING,), reason="invalid")
SECOND = Attempt(2, (ASKED, *AGAIN), reply("so: 3"), repairs=(Edit(0, "prose", "so: ", ""),), repaired="3")
CALL = Call("f", "T", "hash", "", "m", {}, 1.0, attempts=(FIRST, SECOND))


def _said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def test_what_was_asked_at_first_and_the_valid_answer_in_the_end_are_a_conversation() -> None:
    assert list(export.sft(CALL)) == [{"messages": [ASKED, *_said("3")]}]


def test_the_failed_answer_is_rejected_for_the_valid_one() -> None:
    assert list(export.dpo(CALL)) == [{"prompt": [ASKED], "chosen": _said("3"), "rejected": _said("1")}]


def test_every_answer_is_labelled_under_its_own_prompt() -> None:
    assert list(export.kto(CALL)) == [
        {"prompt": [ASKED], "completion": _said("1"), "label": False},
        {"prompt": [ASKED, *AGAIN], "completion": _said("3"), "label": True},
    ]


def _with(*attempts: Attempt, **changes: Any) -> Call:
    return dataclasses.replace(CALL, attempts=attempts, **changes)


@pytest.mark.parametrize(
    ("call", "counts"),
    [
        (_with(outcome="BudgetExceeded"), (0, 0, 0)),
        (_with(FIRST, outcome="ValidationFailed"), (0, 0, 1)),
        (_with(dataclasses.replace(SECOND, number=1)), (1, 0, 1)),
        # the same failed answer twice is one pair; a third is another
        (_with(FIRST, FIRST, dataclasses.replace(FIRST, reply=reply("2")), SECOND), (1, 2, 4)),
        # nobody knows that an answer was wrong of which a tier was not sure
        (_with(dataclasses.replace(FIRST, findings=(), reason="confidence"), SECOND), (1, 0, 1)),
        # cut off, without findings of its own
        (_with(dataclasses.replace(FIRST, findings=(), reason="length"), SECOND), (1, 1, 2)),
        # valid, but cut by max_tokens: nothing to learn from
        (_with(dataclasses.replace(SECOND, reply=reply("3", finish="length", cut_at=("",)))), (0, 0, 0)),
        # the model raised, declined, or said nothing
        (_with(Attempt(1, (ASKED,), error="down", reason="error"), SECOND), (1, 0, 1)),
        (_with(dataclasses.replace(FIRST, findings=(), reason="refusal"), SECOND), (1, 0, 1)),
        (_with(dataclasses.replace(FIRST, reply=reply(" ")), SECOND), (1, 0, 1)),
        # redaction changed what the model wrote
        (_with(FIRST, dataclasses.replace(SECOND, repaired=f'"{REDACTED}"')), (0, 0, 1)),
        (_with(dataclasses.replace(FIRST, reply=reply(REDACTED)), SECOND), (1, 0, 1)),
        # and what it was asked
        (_with(dataclasses.replace(SECOND, messages=({"role": "user", "content": f"key {REDACTED}"},))), (0, 0, 0)),
        # a kept reply is taught by the call that it was kept of
        (_with(dataclasses.replace(SECOND, reply=reply("3", is_kept=True))), (0, 0, 0)),
    ],
)
def test_only_what_is_known_to_be_right_or_wrong_is_taught(call: Call, counts: tuple[int, int, int]) -> None:
    assert tuple(len(list(export.FORMATS[form](call, None))) for form in ("sft", "dpo", "kto")) == counts


def test_the_columns_are_those_that_trl_reads() -> None:
    columns = {form: [set(row) for row in export.FORMATS[form](CALL, None)] for form in export.FORMATS}
    assert columns == {
        "sft": [{"messages"}],
        "dpo": [{"prompt", "chosen", "rejected"}],
        "kto": [{"prompt", "completion", "label"}] * 2,
    }


def test_an_answer_that_was_said_to_be_wrong_is_not_taught_as_right() -> None:
    wrong = Feedback(right=False)
    assert not list(export.sft(CALL, wrong))
    assert not list(export.dpo(CALL, wrong))
    assert [(row["completion"], row["label"]) for row in export.kto(CALL, wrong)] == [
        (_said("1"), False),
        (_said("3"), False),
    ]
    assert list(export.sft(CALL, Feedback(right=True))) == list(export.sft(CALL))


def test_a_correction_is_the_right_answer_and_what_it_corrects_a_wrong_one() -> None:
    told = Feedback(right=False, value="4")
    assert list(export.sft(CALL, told)) == [{"messages": [ASKED, *_said("4")]}]
    assert [(row["chosen"], row["rejected"]) for row in export.dpo(CALL, told)] == [
        (_said("4"), _said("1")),
        (_said("4"), _said("3")),
    ]
    assert [(row["prompt"], row["completion"], row["label"]) for row in export.kto(CALL, told)] == [
        ([ASKED], _said("1"), False),
        ([ASKED, *AGAIN], _said("3"), False),
        ([ASKED], _said("4"), True),
    ]
    failed = _with(FIRST, outcome="ValidationFailed")
    assert list(export.sft(failed, told)) == [{"messages": [ASKED, *_said("4")]}]
    private = dataclasses.replace(CALL, record_for="operation")
    assert not [row for form in export.FORMATS.values() for row in form(private, told)]


def test_an_answer_about_some_fields_is_no_answer_to_the_whole_question() -> None:
    """The value is the whole; what a larger model was asked was a part of it."""
    about = ({"role": "user", "content": "Only n?"},)
    unsure = Attempt(1, (ASKED,), reply('{"k": 1, "n": 2}'), reason="confidence")
    lost = Attempt(2, about, reply('{"n": -3}'), (FINDING,), reason="invalid", fields=("n",))
    part = Attempt(3, about, reply('{"n": 3}'), repaired='{"k": 1, "n": 3}', fields=("n",))
    call = _with(unsure, lost, part)
    assert not list(export.dpo(call))
    assert [(row["prompt"], row["label"]) for row in export.kto(call)] == [([*about], False), ([ASKED], True)]


def test_what_is_on_record_of_a_call_is_asked_for(trace_file: Path) -> None:
    asker = guard.Guard(model=Scripted(*["1"] * (export.PAGE + 3), name="large"))
    calls = [asker.traced({"type": "integer"}, f"Question {n}?")[1] for n in range(export.PAGE + 3)]
    calls[1].rate(False)
    calls[-1].correct(7)
    store = TraceStore.at(trace_file)
    taught = [row["messages"][-1]["content"] for row in export.rows(store, store.each(), "sft")]
    assert taught == ["1"] * (export.PAGE + 1) + ["7"]

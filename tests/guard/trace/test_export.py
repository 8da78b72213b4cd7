"""Training data: the columns that TRL reads, and what is in them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from scripted import reply

from guard.errors import Violation
from guard.output.repair import Edit
from guard.trace import REDACTED, export
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
    ],
)
def test_only_what_is_known_to_be_right_or_wrong_is_taught(call: Call, counts: tuple[int, int, int]) -> None:
    assert tuple(len(list(export.rows([call], form))) for form in ("sft", "dpo", "kto")) == counts


def test_the_columns_are_those_that_trl_reads() -> None:
    columns = {form: [set(row) for row in export.rows([CALL], form)] for form in export.FORMATS}
    assert columns == {
        "sft": [{"messages"}],
        "dpo": [{"prompt", "chosen", "rejected"}],
        "kto": [{"prompt", "completion", "label"}] * 2,
    }

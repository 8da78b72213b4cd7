"""Training data from the trace, in the columns that TRL reads; every text is a list of chat messages.

    sft   messages                     what was asked at first, and the valid answer in the end
    dpo   prompt, chosen, rejected     the same prompt; the valid answer; an answer that failed before it
    kto   prompt, completion, label    every answer under its own prompt; whether it was valid

A failed answer breaks the type, or was cut off. An answer that a tier was not sure of is neither: nobody knows that it
was wrong. A valid answer that is not whole (`Call.cut_at`) teaches nothing. Answers from which redaction cut something
are left out: they are not what the model wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from guard.support.secret_patterns import REDACTED
from guard.trace.records import TRAINING, VALID, Attempt, Call

_FAILED = ("invalid", "length")  #: The failures of guard/calls/policy.py that mean that an attempt's text is wrong.

Row = dict[str, Any]


def sft(call: Call) -> Iterator[Row]:
    """Yield the conversation of a valid call."""
    if call.record_for == TRAINING and (chosen := _chosen(call)):
        yield {"messages": [*_prompt(call.attempts[0]), *chosen]}


def dpo(call: Call) -> Iterator[Row]:
    """Yield a pair for each distinct answer that failed before the valid one."""
    chosen = _chosen(call)
    if not chosen or call.record_for != TRAINING:
        return
    seen = {call.text}
    for attempt in call.attempts:
        rejected = _rejected(attempt)
        if rejected and rejected[0]["content"] not in seen:
            seen.add(rejected[0]["content"])
            yield {"prompt": _prompt(call.attempts[0]), "chosen": chosen, "rejected": rejected}


def kto(call: Call) -> Iterator[Row]:
    """Yield every answer of a call that is known to be right or wrong."""
    if call.record_for != TRAINING:
        return
    for attempt in call.attempts:
        if rejected := _rejected(attempt):
            yield {"prompt": _prompt(attempt), "completion": rejected, "label": False}
    if chosen := _chosen(call):
        assert call.answer is not None
        yield {"prompt": _prompt(call.answer), "completion": chosen, "label": True}


FORMATS: Mapping[str, Callable[[Call], Iterator[Row]]] = {"sft": sft, "dpo": dpo, "kto": kto}


def rows(calls: Iterable[Call], form: str) -> Iterator[Row]:
    """Yield the rows of calls in one of FORMATS."""
    made = FORMATS[form]
    for call in calls:
        yield from made(call)


def _prompt(attempt: Attempt) -> list[Row]:
    return [dict(message) for message in attempt.messages]


def _chosen(call: Call) -> list[Row]:
    return _assistant(call.text) if call.outcome == VALID and call.attempts and call.is_whole else []


def _rejected(attempt: Attempt) -> list[Row]:
    reply = attempt.reply
    if reply is None or reply.finish == "cut" or not (attempt.findings or attempt.reason in _FAILED):
        return []
    return _assistant(reply.text)


def _assistant(text: str) -> list[Row]:
    return [{"role": "assistant", "content": text}] if text.strip() and REDACTED not in text else []

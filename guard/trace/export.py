"""Training data from the trace, in the columns that TRL reads; every text is a list of chat messages.

    sft   messages                     what was asked at first, and the right answer
    dpo   prompt, chosen, rejected     the same prompt; the right answer; a wrong one
    kto   prompt, completion, label    every answer under its own prompt; whether it was right

A right answer is a person's correction, or the valid answer in the end, unless it was said to be wrong. A wrong answer
breaks the type, was cut off, or was said to be wrong. An answer that a tier was not sure of is neither: nobody knows
that it was wrong. A valid answer that is not whole (`Call.cut_at`) teaches nothing. Questions and answers from which
redaction cut something are left out: they are not what was asked and written. So are replies that were kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from guard.support.secret_patterns import REDACTED
from guard.trace import row_codec
from guard.trace.records import TRAINING, VALID, Attempt, Call

if TYPE_CHECKING:
    from guard.trace.feedback import Feedback
    from guard.trace.store import TraceStore

PAGE = 100  #: Calls whose feedback is looked up at a time,
PARTS = 2**18  #: or fewer: until they are as large as this, in parts of 64 characters.
_FAILED = ("invalid", "length")  #: The failures of guard/calls/policy.py that mean that an attempt's text is wrong.

Row = dict[str, Any]


def sft(call: Call, said: Feedback | None = None) -> Iterator[Row]:
    """Yield the conversation of a valid call, or of a corrected one."""
    if right := _right(call, said):
        yield {"messages": [*_prompt(call.attempts[0]), *right]}


def dpo(call: Call, said: Feedback | None = None) -> Iterator[Row]:
    """Yield a pair for each distinct wrong answer to the question that has a right one."""
    right = _right(call, said)
    if not right:
        return
    seen = {right[0]["content"]}
    wrong = [_failed(attempt) for attempt in call.attempts if not attempt.fields]
    for rejected in [*wrong, _denied(call, said)]:
        if rejected and rejected[0]["content"] not in seen:
            seen.add(rejected[0]["content"])
            yield {"prompt": _prompt(call.attempts[0]), "chosen": right, "rejected": rejected}


def kto(call: Call, said: Feedback | None = None) -> Iterator[Row]:
    """Yield every answer of a call that is known to be right or wrong."""
    if call.record_for != TRAINING:
        return
    for attempt in call.attempts:
        if rejected := _failed(attempt):
            yield {"prompt": _prompt(attempt), "completion": rejected, "label": False}
    for completion, label in ((_denied(call, said), False), (_right(call, said), True)):
        if completion:
            yield {"prompt": _prompt(_asked(call, said if label else None)), "completion": completion, "label": label}


FORMATS: Mapping[str, Callable[[Call, Feedback | None], Iterator[Row]]] = {"sft": sft, "dpo": dpo, "kto": kto}


def rows(store: TraceStore, calls: Iterable[Call], form: str) -> Iterator[Row]:
    """Yield the rows of calls in one of FORMATS, by what was said of their answers."""
    made = FORMATS[form]
    for page in _pages(calls):
        said = store.feedback([call.number for call in page if call.number is not None])
        for call in page:
            yield from made(call, said.get(call.number or 0))


def _pages(calls: Iterable[Call]) -> Iterator[list[Call]]:
    page, size = list[Call](), 0
    for call in calls:
        page.append(call)
        size += sum(row_codec.size(attempt, PARTS) for attempt in call.attempts)
        if len(page) == PAGE or size >= PARTS:
            yield page
            page, size = [], 0
    if page:
        yield page


def _prompt(attempt: Attempt) -> list[Row]:
    return [dict(message) for message in attempt.messages]


def _asked(call: Call, said: Feedback | None) -> Attempt:
    """Return the attempt that was asked what a value or a correction answers: all of it, not some fields alone."""
    answer = call.answer
    is_whole = answer is not None and not answer.fields and (said is None or said.value is None)
    return answer if is_whole and answer is not None else call.attempts[0]


def _right(call: Call, said: Feedback | None) -> list[Row]:
    """Return the right answer to a call's question: its correction, or its value unless that was said to be wrong."""
    if said is not None and said.value is not None:
        return _assistant(said.value) if _may_teach(call) else []
    return _value(call) if said is None or said.right else []


def _denied(call: Call, said: Feedback | None) -> list[Row]:
    """Return a call's valid answer where it was said to be wrong."""
    return _value(call) if said is not None and not said.right else []


def _value(call: Call) -> list[Row]:
    is_fresh = call.answer is not None and (call.answer.reply is None or not call.answer.reply.is_kept)
    is_right = call.outcome == VALID and call.is_whole and is_fresh
    return _assistant(call.text) if is_right and _may_teach(call) else []


def _may_teach(call: Call) -> bool:
    return call.record_for == TRAINING and bool(call.attempts) and not any(map(_is_redacted, call.attempts))


def _is_redacted(attempt: Attempt) -> bool:
    """Whether redaction cut something out of a question."""
    return any(REDACTED in json.dumps(message, ensure_ascii=False) for message in attempt.messages)


def _failed(attempt: Attempt) -> list[Row]:
    reply = attempt.reply
    if reply is None or reply.finish == "cut" or not (attempt.findings or attempt.reason in _FAILED):
        return []
    return [] if reply.is_kept or _is_redacted(attempt) else _assistant(reply.text)


def _assistant(text: str) -> list[Row]:
    return [{"role": "assistant", "content": text}] if text.strip() and REDACTED not in text else []

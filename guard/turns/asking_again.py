"""The messages that ask for an invalid turn again: the model's own calls, each with its errors as the result."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from guard.errors import Violation
from guard.kernels import json_pointer
from guard.models import chat_messages
from guard.turns import value

NO_CALL = "[]"  #: Recorded where the model answered in words although a call was required: no value.


def re_ask(
    messages: Sequence[Mapping[str, Any]], text: str, findings: Sequence[Violation], *, names: Sequence[str]
) -> chat_messages.Messages:
    """Return the messages of the next attempt: the calls as the model made them, and what is wrong with each.

    `names` are the functions that may be called. Text without a call is shown back as text.
    """
    content: Any = None
    calls: list[Any] = []
    with contextlib.suppress(ValueError, AttributeError, RecursionError):
        content, calls = value.read(json.loads(text))
    if not calls or not all(isinstance(call, Mapping) and isinstance(call.get("name"), str) for call in calls):
        shown = content if isinstance(content, str) else "" if text == NO_CALL else text
        said = [f"- {finding}" for finding in findings]
        if text == NO_CALL:
            said = [f"- expected a call of {' or '.join(names)}, got words"]
        question = "\n".join(["That answer is not valid:", *said, "Answer again with every one of these corrected."])
        return (
            *chat_messages.copied(messages),
            {"role": "assistant", "content": shown},
            {"role": "user", "content": question},
        )
    wrong = {at: list(_wrong(at, call, findings, names)) for at, call in enumerate(calls)}
    if not any(wrong.values()):
        wrong = {at: [f"- {finding}" for finding in findings] for at in wrong}
    ids = [f"call_{len(messages)}_{at}" for at in range(len(calls))]
    made = [
        {"id": id_, "type": "function", "function": {"name": call["name"], "arguments": _text(call.get("arguments"))}}
        for id_, call in zip(ids, calls, strict=True)
    ]
    answers = [
        {"role": "tool", "tool_call_id": id_, "content": _verdict(calls[at]["name"], wrong[at])}
        for at, id_ in enumerate(ids)
    ]
    return (*chat_messages.copied(messages), {"role": "assistant", "content": content, "tool_calls": made}, *answers)


def _wrong(at: int, call: Mapping[str, Any], findings: Sequence[Violation], names: Sequence[str]) -> Iterator[str]:
    """Yield one sentence for each finding about a call, naming the property."""
    if call["name"] not in names:
        yield f"- there is no function {call['name']}; there is {', '.join(names)}"
        return
    for finding in findings:
        path = finding.at.removeprefix("/calls")
        for prefix in (f"/{at}/arguments/", f"/{at}/arguments"):
            if path == prefix or (path.startswith(prefix) and prefix.endswith("/")):
                place = ".".join(map(json_pointer.unescaped, path[len(prefix) :].split("/")))
                yield f"- {place or 'the arguments'}: expected {finding.expected}, got {finding.got}"
                break


def _verdict(name: str, wrong: Sequence[str]) -> str:
    if not wrong:
        return f"{name} was not called, because another call was not valid. Call it again."
    return "\n".join([f"{name} was not called, because the call is not valid:", *wrong, "Call it again, corrected."])


def _text(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)

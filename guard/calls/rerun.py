"""Replay: asks a recorded call's first question again, live, and compares the answers byte by byte."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guard import models
from guard.calls.policy import FIRST_TOKENS, Policy
from guard.errors import CallError, Violation
from guard.models.base import Model, Reply, Request
from guard.output import target as targets
from guard.schemas.grounding.json_text import JsonText
from guard.support.secret_patterns import REDACTED
from guard.trace.asked_for import target_of
from guard.trace.errors import TraceError
from guard.trace.records import VALID, Attempt, Call
from guard.trace.store import TraceStore
from guard.turns import value as turn_value

if TYPE_CHECKING:
    from guard.schemas.grounding.sources import Sources

FUNCTION = "guard trace replay"  #: The function's name in the records of replays.


@dataclass(frozen=True)
class Replay:
    """The result of a replay."""

    call: int | None  # the replay's own record
    model: str  # asked now
    was: str  # the recorded answer, or the error where there was none
    now: str
    is_redacted: bool  # the question differs: redaction removed a part of it

    @property
    def is_identical(self) -> bool:
        """Whether the answers are equal byte by byte."""
        return self.was == self.now


def replay(store: TraceStore, call: Call, model: str | Model | None = None) -> Replay:
    """Ask the first question of a recorded call again; the answer is recorded as a call of its own.

    TraceError where the call can't be asked again, ModelError where the model can't be loaded.
    """
    if not call.attempts:
        raise TraceError(f"call {call.number} asked no model; there is nothing to replay")
    target = _target(store, call)
    first = call.attempts[0]
    asked = models.load(model if model is not None else first.model or call.model)
    name = model if isinstance(model, str) else asked.name
    defaults = {field: call.options.get(field, getattr(Policy, field)) for field in _OPTIONS}
    defaults["max_tokens"] = defaults["max_tokens"] or FIRST_TOKENS
    sources = None if target.grounding is None else sources_of(first)
    compiled = target.compiled if sources is None else target.compiled.grounded(sources)
    request = Request(tuple(first.messages), compiled, name=call.target, **defaults)
    started, clock = time.time(), time.perf_counter()
    reply: Reply | None = None
    outcome, error = VALID, ""
    findings: tuple[Violation, ...] = ()
    try:
        reply = asked.generate(request)
    except CallError as raised:
        outcome, error = type(raised).__name__, raised.message
    else:
        findings = target.check(reply.text)[1]
        if not findings and sources is not None and target.grounding is not None:
            findings = target.grounding.check(reply.text, sources).findings
        if findings:
            outcome, error = "ValidationFailed", str(findings[0])
    seconds = time.perf_counter() - clock
    attempt = Attempt(
        1,
        first.messages,
        reply,
        findings,
        "" if reply else error,
        model=name,
        reason="" if outcome == VALID else "invalid" if reply else "error",
        started=started,
        seconds=seconds,
    )
    written = store.write(
        Call(
            function=FUNCTION,
            target=call.target,
            schema_hash=call.schema_hash,
            template=call.template,
            model=name,
            options={**defaults, "tiers": [name], "replays": call.number},
            started=started,
            seconds=seconds,
            outcome=outcome,
            error=error,
            attempts=(attempt,),
            record_for=call.record_for,
        ),
        target.compiled,
    )
    was = first.reply.text if first.reply and first.reply.finish != "cut" else first.error
    cut = any(REDACTED in str(message) for message in first.messages)
    return Replay(written.number, name, was, reply.text if reply else error, cut)


def sources_of(attempt: Attempt) -> Sources:
    """Return the inputs that grounded values came from, as the messages show them; TraceError where they changed."""
    from guard.schemas.grounding.sources import Sources  # here: few calls need it

    inputs = {}
    for name, at in attempt.inputs.items():
        text = str(attempt.messages[at.message].get("content"))[at.start : at.start + at.length]
        inputs[name] = JsonText(text) if at.is_json else text
    try:
        return Sources(inputs)
    except ValueError:
        raise TraceError("the record no longer has the input as it was; the call can't be asked again") from None


#: Of a call's options, those that decide its first answer.
_OPTIONS = ("max_tokens", "temperature", "seed", "thinking", "repetition", "choose")


def _target(store: TraceStore, call: Call) -> targets.Target:
    """Return the call's target, compiled as it was."""
    kept: dict[str, Any] | None = store.schema(call.schema_hash)
    if kept is None:
        raise TraceError(
            f"the schema of call {call.number} was not kept, as in traces of version 1; it can't be replayed"
        )
    # The model wrote such a value otherwise: in a form of its own, or as it was told in words.
    if call.target in turn_value.TARGETS and turn_value.has_calls(kept["schema"]):
        raise TraceError(
            f"call {call.number} is a turn with tools, of which no record says all that the model was told; it can't be"
            " replayed"
        )
    target = target_of(kept, call.schema_hash)
    if target is None:
        raise TraceError(f"what was kept of call {call.number}'s schema is not the whole of it; it can't be replayed")
    return target

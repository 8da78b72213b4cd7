"""JSON for operators: live requests, figures over time, failures with findings, traces, a playground.

An operator's key is needed where keys are needed at all: a trace holds what others asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from pydantic import BaseModel, ConfigDict, Field

from guard.errors import GuardError
from guard.sidecar import large
from guard.sidecar.endpoints.chat_request import ChatRequest, checked
from guard.sidecar.endpoints.ui import CALL_STYLE
from guard.sidecar.errors import ApiError, bad
from guard.sidecar.request_context import answer
from guard.trace import TraceStore
from guard.trace.html import page
from guard.trace.records import Call
from guard.trace.row_codec import restored
from guard.trace.stats import ALL, collect
from guard.trace.totals import MINUTE, minute_of

if TYPE_CHECKING:
    from guard.sidecar.request_context import RequestContext
    from guard.sidecar.service import Service

MOST_MINUTES = 7 * 24 * 60  #: Longest period of the figures.
BUCKETS = 60  #: Most points of a curve.
MOST_CALLS = 200  #: Most calls in a list.
MOST_NUMBER = 2**62  #: Largest number of a call.
MOST_FIELDS = 100  #: Most fields of a query string.
#: Parts of messages that differ between failures of one kind.
_INDEX, _FIGURE = re.compile(r"/\d+(?=/|$)"), re.compile(r"\d+(\.\d+)?")
_ALONE = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
#: Headers of a call's page: no content but its own style, no framing by others.
PAGE = [
    (b"content-security-policy", f"default-src 'none'; style-src {CALL_STYLE}; {_ALONE}".encode()),
    (b"content-type", b"text/html; charset=utf-8"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]


class Playground(BaseModel):
    """A schema, or none, to try against a model."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str = Field(min_length=1)
    prompt: str = Field(min_length=1)
    schema_: dict[str, Any] | bool | None = Field(default=None, alias="schema")
    max_tokens: int | None = Field(default=None, ge=1, lt=2**31)
    temperature: float | None = Field(default=None, ge=0, le=2)
    seed: int | None = None


class Said(BaseModel):
    """Feedback on a call: whether its answer is right, or the right answer."""

    model_config = ConfigDict(extra="forbid", strict=True)

    call: int = Field(ge=1, le=MOST_NUMBER)
    right: bool | None = None
    value: Any = None
    by: str = Field(default="person", min_length=1, max_length=100)


async def live(sidecar: Service, _scope: Any) -> tuple[int, bytes]:
    """List the requests under way in this process."""
    contexts = [
        {
            "id": context.id,
            "path": context.path,
            "model": context.model,
            "key": context.key.name if context.key else None,
            "seconds": round(context.seconds, 3),
            "stream": context.guarantee or None,
            "bytes": context.sent,
        }
        for context in sidecar.contexts.values()
        if context.path.startswith("/v1/") or context.model  # which the playground's have
    ]
    models = [
        {
            "name": served.name,
            "model": served.settings.model,
            "tiers": [t.name for t in served.tiers],
            "breaker": served.breaker.state,
        }
        for served in sidecar.models.by_name.values()
    ]
    return 200, _json(
        {"requests": contexts, "models": models, "draining": sidecar.is_draining, "workers": sidecar.settings.workers}
    )


async def stats(sidecar: Service, scope: Any) -> tuple[int, bytes]:
    """Return the figures of each model over the last minutes: `?minutes=60`, in at most 60 steps."""
    minutes = _number(scope, "minutes", 60, MOST_MINUTES)
    return 200, _json(await sidecar.read(figures, sidecar.store, minutes, time.time()))


async def economics(sidecar: Service, scope: Any) -> tuple[int, bytes]:
    """Return what each function's calls of the last minutes took and what is served alone: `?minutes=60`.

    `curves` are those of `guard shadow`, of the version of each function that serves.
    """
    since = time.time() - 60 * _number(scope, "minutes", 60, MOST_MINUTES)
    lines = await sidecar.read(lambda: _lines(sidecar.store, since))
    return 200, _json({"functions": lines, "curves": await asyncio.to_thread(_curves)})


def _lines(store: TraceStore, since: float) -> list[dict[str, Any]]:
    lines = collect(store.ledger(since=since), ratings=store.ratings(since=since))
    return [line.as_dict() for line in lines if line.tier is None and line.function != ALL]


def _curves() -> list[dict[str, Any]]:
    """Return precision against share served, as shadow runs measured it before and after."""
    try:
        from guard.tuning.economics import measured
        from guard.tuning.registry import Registry
    except ImportError:  # tuned models are an extra
        return []
    registry, found = Registry.default(), []
    for function in registry.functions():
        with contextlib.suppress(GuardError, LookupError, TypeError, AttributeError):  # damaged: /guard/models says so
            if (report := measured(registry, function)) is not None:
                sides = {"before": report.get("alone_before"), "after": report["alone"]}
                curves = {side: alone and alone["curve"] for side, alone in sides.items()}
                kept = report["alone"].get("kept", [])
                found.append({"function": function, "version": report["version"], **curves, "kept": kept})
    return found


async def failures(sidecar: Service, scope: Any) -> tuple[int, bytes]:
    """Return the latest calls that ended without a value, with their findings: `?limit=50&before=NUMBER`."""
    limit = _number(scope, "limit", 50, MOST_CALLS)
    before = _number(scope, "before", 0, MOST_NUMBER) or None
    return 200, await _made(_listed, *await sidecar.read(_outlines, sidecar.store, limit, before, True))


def _outlines(store: TraceStore, limit: int, before: int | None, failed: bool) -> tuple[list[Call], list[str]]:
    """Return the latest calls before a number, and what is said of those left out, which are damaged."""
    damaged: list[str] = []
    calls = store.outlines(limit, before, failed=failed, damaged=lambda error: damaged.append(error.outline))
    return calls, damaged[:MOST_CALLS]


async def kinds(sidecar: Service, scope: Any) -> tuple[int, bytes]:
    """Group the latest 200 failures by kind; each has its newest call and a count: `?before=NUMBER`.

    `next` is the `before` of the next page, None on the last.
    """
    before = _number(scope, "before", 0, MOST_NUMBER) or None
    return 200, await _made(_by_kind, *await sidecar.read(_outlines, sidecar.store, MOST_CALLS, before, True))


def _by_kind(calls: Sequence[Call], damaged: Sequence[str]) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {}
    for call in calls:  # the newest first
        shown = found.setdefault(_kind(call), {**_shown(call), "count": 0, "since": call.started})
        shown["count"] += 1
        shown["since"] = min(shown["since"], call.started)
    further = calls[-1].number if len(calls) == MOST_CALLS else None
    return {"calls": list(found.values()), "damaged": damaged, "next": further}


def _kind(call: Call) -> str:
    """Return the key of a failure's kind: function, model, outcome, and findings without their figures."""
    findings = [finding for attempt in call.attempts[-1:] for finding in attempt.findings]
    found: Any = sorted({(finding.rule, _INDEX.sub("/*", finding.at)) for finding in findings})
    return json.dumps([call.outcome, call.model, call.function, call.target, found or _FIGURE.sub("N", call.error)])


async def traces(sidecar: Service, scope: Any) -> tuple[int, bytes]:
    """Return the latest calls: `?limit=50&before=NUMBER`."""
    limit = _number(scope, "limit", 50, MOST_CALLS)
    before = _number(scope, "before", 0, MOST_NUMBER) or None
    return 200, await _made(_listed, *await sidecar.read(_outlines, sidecar.store, limit, before, False))


async def _made(work: Callable[..., dict[str, Any]], *read: Any) -> bytes:
    """Return as JSON what work makes of what was read, in a thread: what is on record may be large."""
    return await asyncio.to_thread(large.counted, lambda: _json(work(*read)))


def _listed(calls: Sequence[Call], damaged: Sequence[str]) -> dict[str, Any]:
    return {"calls": [_shown(call) for call in calls], "damaged": damaged}


async def trace(sidecar: Service, scope: Any) -> tuple[int, bytes]:
    """Return one call with all its attempts, and the tokens of each."""
    call = await _call(sidecar, scope)
    return 200, await _made(_whole, call, await sidecar.read(_said, sidecar.store, call))


def _whole(call: Call, said: Mapping[str, Any]) -> dict[str, Any]:
    attempts = [_attempt(attempt) for attempt in call.attempts]
    return {**_shown(call), "options": dict(call.options), "attempts": attempts, **said}


def _said(store: TraceStore, call: Call) -> dict[str, Any]:
    """Return what a form for feedback needs: the answer, its schema, and what was said of it before."""
    asked = (store.schema(call.schema_hash) or {}).get("schema")
    kept = store.feedback([call.number]).get(call.number) if call.number is not None else None
    return {
        "answer": call.text,
        "probabilities": dict(call.probabilities),
        "record_for": call.record_for,
        "schema": asked if isinstance(asked, dict) else None,
        "feedback": None if kept is None else {"right": kept.right, "value": kept.value, "by": kept.by},
    }


async def trace_page(sidecar: Service, scope: Any) -> tuple[Any, ...]:
    """Return one call as a page with every token coloured."""
    call = await _call(sidecar, scope)
    asked = await sidecar.read(sidecar.store.schema, call.schema_hash)
    made = await asyncio.to_thread(large.counted, lambda: page(call, asked).encode(errors="replace"))
    return 200, made, *PAGE


async def playground(
    context: RequestContext, _fields: Any, body: dict[str, Any], _raw: bytes, send: Any, sidecar: Service
) -> None:
    """Ask a model for a value of a schema, or for text; returns the value, or the error with its findings."""
    wanted: Playground = checked(Playground, body)
    served = sidecar.visited(context, wanted.model)
    chat: dict[str, Any] = {"model": wanted.model, "messages": [{"role": "user", "content": wanted.prompt}]}
    if wanted.schema_ is not None:
        chat["response_format"] = {"type": "json_schema", "json_schema": {"name": "value", "schema": wanted.schema_}}
    for name in ("max_tokens", "temperature", "seed"):
        if (value := getattr(wanted, name)) is not None:
            chat[name] = value
    if wanted.schema_ is None:
        chat["response_format"] = {"type": "json_object"}
    asked = ChatRequest.of(chat)
    plan = await sidecar.pipeline.plan(context, asked, served)
    calls: list[Call] = []

    def told(call: Call) -> None:
        context.take(call)
        calls.append(call)

    plan = dataclasses.replace(plan, told=told)
    choices = await sidecar.pipeline.choices(context, asked, plan)
    choice = choices[0]
    found = {
        "value": None if choice.text is None else json.loads(choice.text),
        "text": choice.text,
        "refusal": choice.refusal,
        "cut_at": list(choice.reply.cut_at),
        "repeated_at": list(choice.reply.repeated_at),
        "places": _places(calls[-1]),
        "call": context.call,
        "attempts": context.attempts,
        "repairs": context.repairs,
        "tier": context.tier,
        "served": context.served,
        "tokens": context.prompt_tokens + context.completion_tokens,
        "usd": context.cost,
        "seconds": context.seconds,
    }
    await sidecar.settle(context)
    await answer(send, context, 200, _json(found))


def _places(call: Call) -> dict[str, list[tuple[int, int]]]:
    """Return, by JSON Pointer, where the prompt, a call's one message, states the grounded values of its answer.

    In code points, as everywhere in Guard.
    """
    sources = {} if call.answer is None else call.answer.sources
    return {at: [(place.start, place.end) for place in places] for at, places in sources.items()}


async def feedback(
    context: RequestContext, _fields: Any, body: dict[str, Any], _raw: bytes, send: Any, sidecar: Service
) -> None:
    """Record feedback on a call: `{"call": 12, "right": true}` or `{"call": 12, "value": …}`."""
    said: Said = checked(Said, body)
    if ("value" in body) == (said.right is not None):
        raise bad("give right, or value, what would have been right", "right")
    work = sidecar.store.correct if "value" in body else sidecar.store.rate
    try:
        await sidecar.read(work, said.call, said.value if "value" in body else said.right, said.by)
    except ValueError as error:
        raise bad(str(error), "value" if "value" in body else "call") from None
    kept = (await sidecar.read(sidecar.store.feedback, [said.call]))[said.call]
    await answer(send, context, 200, _json({"call": said.call, "right": kept.right, "by": kept.by}))


#: The pages by path.
PAGES = {
    "/guard/live": live,
    "/guard/stats": stats,
    "/guard/economics": economics,
    "/guard/failures": failures,
    "/guard/failures/kinds": kinds,
    "/guard/traces": traces,
    "/guard/traces/{number}": trace,
    "/guard/traces/{number}/page": trace_page,
}


def figures(store: TraceStore, minutes: int, now: float) -> dict[str, Any]:
    """Sum up the calls of the last minutes by model, and by steps of time of whole minutes.

    For each model, `calls` counts those that asked it, `ended` those that it answered last, with a value (`valid`) or
    without, and `escalated` those that went on to another model. In `total` each call counts once. `usd` is the cost of
    attempts with a known price; `unpriced` counts the calls that had others.
    """
    step = math.ceil(minutes / BUCKETS)
    until = minute_of(now) + 1
    since = until - math.ceil(minutes / step) * step
    models: dict[str, dict[int, dict[str, Any]]] = {}
    total: dict[int, dict[str, Any]] = {}
    for bucket, row in store.points(since, until, step):
        began, about, figures = (since + bucket * step) * MINUTE, row.about, row.figures
        empty = {"started": began, **dict.fromkeys(_POINT, 0)}
        name = restored(about.model or about.asked)
        point, whole = models.setdefault(name, {}).setdefault(bucket, empty), total.setdefault(bucket, dict(empty))
        point["calls"] += figures["calls"] or figures["silent"]
        point["escalated"] += figures["escalations"]
        whole["calls"] += figures["ended"]
        whole["escalated"] += figures["ended"] if about.ended else 0
        tokens = figures["prompt_tokens"] + figures["completion_tokens"]
        for at in (point, whole):
            for key in ("ended", "valid", "re_asks", "seconds", "unpriced"):
                at[key] += figures[key]
            at["tokens"] += tokens
            at["usd"] += figures["cost"]
            at["max_seconds"] = max(at["max_seconds"], figures["max_seconds"])
    return {
        "since": since * MINUTE,
        "until": until * MINUTE,
        "step_seconds": step * MINUTE,
        "total": _steps(total),
        "models": {model: _steps(at) for model, at in sorted(models.items())},
    }


def _steps(points: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the points in order of time. `mean_seconds` is over the calls that ended there, None where none did."""
    return [
        {**point, "mean_seconds": point.pop("seconds") / point["ended"] if point["ended"] else None}
        for _, point in sorted(points.items())
    ]


#: Figures of each step.
_POINT = ("calls", "ended", "valid", "re_asks", "escalated", "seconds", "max_seconds", "tokens", "usd", "unpriced")


async def _call(sidecar: Service, scope: Any) -> Call:
    given = scope["path_params"]["number"]
    number = _natural(given)
    call = None if number is None else await sidecar.read(sidecar.store.read, number)
    if call is None:
        raise ApiError(404, f"the trace has no call {given[:40]}", code="not_found")
    return call


def _shown(call: Call) -> dict[str, Any]:
    return {
        "call": call.number,
        "started": call.started,
        "seconds": call.seconds,
        "path": call.function,
        "target": call.target,
        "model": call.model,
        "served": call.served,
        "tier": call.tier,
        "outcome": call.outcome,
        "verdict": call.verdict,
        "error": call.error,
        "attempts": len(call.attempts),
        "escalations": list(call.escalations),
        "repairs": sum(len(a.repairs) for a in call.attempts),
        "tokens": call.tokens,
        "usd": call.cost,
        "findings": [vars(f) for a in call.attempts[-1:] for f in a.findings],
    }


def _attempt(attempt: Any) -> dict[str, Any]:
    reply = attempt.reply
    return {
        "number": attempt.number,
        "tier": attempt.tier,
        "model": attempt.model,
        "messages": [dict(m) for m in attempt.messages],
        "text": attempt.text,
        "reason": attempt.reason,
        "error": attempt.error,
        "findings": [vars(finding) for finding in attempt.findings],
        "seconds": attempt.seconds,
        "mode": reply.mode if reply else None,
        "finish": reply.finish if reply else None,
        "cut_at": list(reply.cut_at) if reply else [],
        "repeated_at": list(reply.repeated_at) if reply else [],
        "tokens": [asdict(token) for token in reply.tokens] if reply else [],
    }


def _number(scope: Mapping[str, Any], name: str, otherwise: int, most: int) -> int:
    """Return a number of the query string. Raises ApiError where it is malformed or out of bounds."""
    given = query(scope).get(name)
    if given is None:
        return otherwise
    number = _natural(given[-1])
    if number is None or not 1 <= number <= most:
        raise bad(f"{name} must be a number from 1 to {most}", name)
    return number


def query(scope: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the fields of the query string. Raises ApiError where there are more than MOST_FIELDS."""
    try:
        return parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=MOST_FIELDS)
    except ValueError:
        raise bad(f"the query has more than {MOST_FIELDS} fields") from None


def _natural(text: str) -> int | None:
    """Return a number from a client's text; None where it is malformed, or larger than any number here."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= MOST_NUMBER else None


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=True, default=str).encode()

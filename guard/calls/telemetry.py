"""OpenTelemetry: a span for each call, a child for each attempt, and metrics, by the GenAI semantic conventions.

Only the API is used; without an SDK that the application configured nothing of this is done. Texts are left out
unless the environment variable OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT is "true". What the conventions have
no name for is `guard.*`.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import time
from typing import TYPE_CHECKING, Any

from guard.models.base import Request
from guard.trace.records import Attempt, Call

if TYPE_CHECKING:
    from opentelemetry import trace

CONTENT_VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_IDLE = ("opentelemetry.trace", "opentelemetry.metrics")  #: The modules of the API's own providers.
#: Bounds of the histograms, from the conventions: tokens, and seconds.
TOKEN_BOUNDS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
SECOND_BOUNDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)

_log = logging.getLogger("guard.telemetry")


class Spans:
    """The spans of one call; made where the call begins. Without an SDK there are none."""

    def __init__(self, function: str, target: str, schema_hash: str) -> None:
        self._span: trace.Span | None = None
        if not _is_heard():
            return
        self._span = _tracer().start_span(f"guard {function or target}")
        self._target = target
        if self._span.is_recording():
            self._span.set_attributes(
                {"guard.function": function, "guard.target": target, "guard.schema.hash": schema_hash}
            )

    def attempt(self, model: str, request: Request) -> Span | None:
        """Begin the span of an attempt."""
        return None if self._span is None else Span(self._span, model, request)

    def end(self, call: Call, error: BaseException | None) -> None:
        """End the call's span with what became of the call."""
        span = self._span
        if span is None:
            return
        if span.is_recording():
            rules = {finding.rule for attempt in call.attempts for finding in attempt.findings}
            span.set_attributes(
                {
                    "guard.outcome": call.outcome,
                    "guard.tier": call.tier,
                    "guard.attempts": len(call.attempts),
                    "guard.escalations": list(call.escalations),
                    "guard.repairs": sum(len(attempt.repairs) for attempt in call.attempts),
                    "guard.violations": sorted(rules),
                    "guard.tokens": call.tokens,
                }
            )
            if call.number is not None:
                span.set_attribute("guard.call", call.number)
            if call.cost is not None:
                span.set_attribute("guard.cost_usd", call.cost)
            if error is not None:
                _failed(span, type(error).__name__, call.error)
        span.end()
        _instruments()["calls"].record(call.seconds, {"guard.target": self._target, "guard.outcome": call.outcome})


class Span:
    """The span of one attempt, under its call's."""

    def __init__(self, parent: trace.Span, model: str, request: Request) -> None:
        from opentelemetry import trace

        provider, _, name = model.rpartition(":")
        self._names = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider or "guard",
            "gen_ai.request.model": name,
        }
        self._clock = time.perf_counter()
        self._span = _tracer().start_span(
            f"chat {name}", context=trace.set_span_in_context(parent), kind=trace.SpanKind.CLIENT
        )
        if self._span.is_recording():
            self._span.set_attributes(
                {
                    **self._names,
                    "gen_ai.request.max_tokens": request.max_tokens,
                    "gen_ai.request.temperature": request.temperature,
                    "gen_ai.request.seed": request.seed,
                    "gen_ai.output.type": "json"
                    if request.compiled is not None and not request.compiled.is_format
                    else "text",
                }
            )
            if _wants_content():
                self._span.set_attribute("gen_ai.input.messages", _as_json(request.messages))

    def end(self, attempt: Attempt) -> None:
        """End with what came of the attempt."""
        span, reply = self._span, attempt.reply
        if span.is_recording():
            span.set_attributes({"guard.tier": attempt.tier, "guard.attempt": attempt.number})
            if attempt.reason:
                span.set_attribute("guard.reason", attempt.reason)
            if attempt.findings:
                span.set_attribute("guard.violations", sorted({finding.rule for finding in attempt.findings}))
            if attempt.repairs:
                span.set_attribute("guard.repairs", len(attempt.repairs))
            if reply is not None:
                span.set_attributes(
                    {
                        "gen_ai.response.model": reply.model,
                        "gen_ai.response.finish_reasons": [reply.finish],
                        "gen_ai.usage.input_tokens": reply.prompt_tokens,
                        "gen_ai.usage.output_tokens": reply.completion_tokens,
                        "guard.mode": reply.mode,
                        "guard.forced_tokens": reply.forced_tokens,
                        "guard.mask_seconds": reply.mask_seconds,
                    }
                )
                if _wants_content():
                    said = [{"role": "assistant", "parts": [{"type": "text", "content": reply.text}]}]
                    span.set_attribute("gen_ai.output.messages", _as_json(said))
            if reply is None or reply.finish == "cut":
                _failed(span, attempt.reason, attempt.error)
        span.end()
        instruments = _instruments()
        instruments["duration"].record(time.perf_counter() - self._clock, self._names)
        if reply is not None and not reply.is_kept:
            for kind, tokens in (("input", reply.prompt_tokens), ("output", reply.completion_tokens)):
                instruments["tokens"].record(tokens, {**self._names, "gen_ai.token.type": kind})


def _failed(span: trace.Span, kind: str, words: str) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, words if _wants_content() else kind))


def _wants_content() -> bool:
    return os.environ.get(CONTENT_VARIABLE, "").lower() == "true"


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


@functools.cache
def _api() -> tuple[Any, Any] | None:
    """Return the two modules of the API; None, and said, where the environment names a provider that is not there."""
    from opentelemetry import metrics, trace

    try:
        trace.get_tracer_provider(), metrics.get_meter_provider()
    except Exception as error:  # the API raises whatever it meets, StopIteration for a provider that is not installed
        words = "OTEL_PYTHON_TRACER_PROVIDER or OTEL_PYTHON_METER_PROVIDER names what can't be loaded"
        _log.warning("calls have no spans and no measures: %s (%s)", words, type(error).__name__)
        return None
    return trace, metrics


def _is_heard() -> bool:
    """Whether an SDK was configured. Until then the providers are the API's own, of which whatever is asked is idle."""
    if (api := _api()) is None:
        return False
    trace, metrics = api
    tracers, meters = type(trace.get_tracer_provider()), type(metrics.get_meter_provider())
    return not (tracers.__module__.startswith(_IDLE) and meters.__module__.startswith(_IDLE))


@functools.cache
def _tracer() -> trace.Tracer:
    from opentelemetry import trace

    return trace.get_tracer("guard")


@functools.cache
def _instruments() -> dict[str, Any]:
    from opentelemetry import metrics

    meter = metrics.get_meter("guard")
    return {
        "tokens": meter.create_histogram(
            "gen_ai.client.token.usage", unit="{token}", explicit_bucket_boundaries_advisory=TOKEN_BOUNDS
        ),
        "duration": meter.create_histogram(
            "gen_ai.client.operation.duration", unit="s", explicit_bucket_boundaries_advisory=SECOND_BOUNDS
        ),
        "calls": meter.create_histogram(
            "guard.call.duration", unit="s", explicit_bucket_boundaries_advisory=SECOND_BOUNDS
        ),
    }

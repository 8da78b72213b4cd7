"""Metrics for Prometheus, over all processes of a sidecar.

With several workers each writes its figures into files of one folder (prometheus-client's multiprocess mode, which
PROMETHEUS_MULTIPROC_DIR turns on before this module is imported), and whoever is asked sums them up.
"""

from __future__ import annotations

import functools
import os
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from guard.sidecar.request_context import RequestContext

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

disable_created_metrics()  # type: ignore[no-untyped-call] # prometheus-client's
REGISTRY = CollectorRegistry()
_is_shared = "PROMETHEUS_MULTIPROC_DIR" in os.environ
_REQUESTS = Counter(
    "guard_requests", "Requests by what became of them.", ["path", "model", "status"], registry=REGISTRY
)
_SECONDS_TAKEN = Histogram(
    "guard_request_seconds", "How long requests took.", ["path"], buckets=_SECONDS, registry=REGISTRY
)
_OVERHEAD = Histogram(
    "guard_overhead_seconds", "Of these, what no model took.", ["path"], buckets=_SECONDS, registry=REGISTRY
)
_OUTCOMES = Counter("guard_calls", "Calls of models by outcome.", ["model", "outcome"], registry=REGISTRY)
_ATTEMPTS = Counter("guard_attempts", "Questions to models.", ["model"], registry=REGISTRY)
_RE_ASKS = Counter("guard_re_asks", "Questions after an answer that was not valid.", ["model"], registry=REGISTRY)
_ESCALATIONS = Counter("guard_escalations", "Calls that went on to another model.", ["model"], registry=REGISTRY)
_REPAIRS = Counter("guard_repairs", "Edits that made an answer JSON.", ["model"], registry=REGISTRY)
_TOKENS = Counter("guard_tokens", "Tokens.", ["model", "kind"], registry=REGISTRY)
_COST = Counter("guard_cost_usd", "Money, where prices are known.", ["model"], registry=REGISTRY)
IN_FLIGHT = Gauge("guard_in_flight", "Requests under way.", registry=REGISTRY, multiprocess_mode="livesum")

#: Paths that are labels; all other paths share one label, since clients choose them.
_PATHS = frozenset(
    {
        *("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings", "/v1/models", "/v1/messages"),
        "/v1/messages/count_tokens",
    }
)


@functools.lru_cache(4_096)
def _of(metric: Any, *labels: str) -> Any:
    """Return the metric of some labels, cached: a look-up takes as long as the count itself."""
    return metric.labels(*labels)


def observe(context: RequestContext) -> None:
    """Count a request that has ended."""
    path = context.path if context.path in _PATHS else "other"
    _of(_REQUESTS, path, context.model, str(context.status)).inc()
    _of(_SECONDS_TAKEN, path).observe(context.seconds)
    if not context.outcome:
        return
    model = context.model
    _of(_OVERHEAD, path).observe(context.overhead)
    _of(_OUTCOMES, model, context.outcome).inc()
    _of(_ATTEMPTS, model).inc(context.attempts)
    _of(_TOKENS, model, "prompt").inc(context.prompt_tokens)
    _of(_TOKENS, model, "completion").inc(context.completion_tokens)
    if context.re_asks:
        _of(_RE_ASKS, model).inc(context.re_asks)
    if context.escalations:
        _of(_ESCALATIONS, model).inc(context.escalations)
    if context.repairs:
        _of(_REPAIRS, model).inc(context.repairs)
    if context.cost:
        _of(_COST, model).inc(context.cost)


def text() -> bytes:
    """Return all figures in Prometheus' text format."""
    return generate_latest(registry())


def registry() -> CollectorRegistry:
    """Return the registry that holds the figures of all processes."""
    if not _is_shared:
        return REGISTRY
    summed = CollectorRegistry()
    MultiProcessCollector(summed)  # type: ignore[no-untyped-call] # the same
    return summed

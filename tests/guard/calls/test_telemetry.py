"""Telemetry: one parent a call, one child an attempt, by the GenAI conventions; texts only when asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from scripted import Scripted

import guard
from guard.calls import telemetry

ASK = [{"role": "user", "content": "How many sheep?"}]
SCHEMA = {"title": "Count", "type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[InMemorySpanExporter, InMemoryMetricReader]]:
    """Collect what is exported, by a tracer and a meter of the test's own."""
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracer = TracerProvider()
    tracer.add_span_processor(SimpleSpanProcessor(spans))
    meter = MeterProvider([reader])
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: tracer)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: meter)
    monkeypatch.setattr(metrics, "get_meter", meter.get_meter)
    telemetry._tracer.cache_clear()
    telemetry._instruments.cache_clear()
    yield spans, reader
    telemetry._tracer.cache_clear()
    telemetry._instruments.cache_clear()
    meter.shutdown()


def test_a_call_is_a_span_with_a_child_for_each_attempt(exported: Any) -> None:
    small, large = Scripted('{"n": "x"}', name="openai:small"), Scripted('{"n": 3}', name="openai:large")
    _, call = guard.Guard(small, escalate_to=large, retries=0, seed=5).traced(SCHEMA, ASK)
    spans = exported[0].get_finished_spans()
    first, second, parent = spans
    assert [s.name for s in spans] == ["chat small", "chat large", "guard Count"]
    assert {s.parent.span_id for s in (first, second) if s.parent} == {parent.context.span_id}
    assert dict(second.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "large",
        "gen_ai.request.max_tokens": 512,
        "gen_ai.request.temperature": 0.0,
        "gen_ai.request.seed": 6,
        "gen_ai.output.type": "json",
        "gen_ai.response.model": "scripted-1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 8,
        "guard.tier": 1,
        "guard.attempt": 2,
        "guard.mode": "prompt",
        "guard.forced_tokens": 4,
        "guard.mask_seconds": 0.125,
    }
    assert first.attributes["guard.reason"] == "invalid"
    assert first.attributes["guard.violations"] == ("/properties/n/type",)
    assert parent.attributes["guard.outcome"] == "valid"
    assert parent.attributes["guard.escalations"] == ("invalid",)
    assert parent.attributes["guard.call"] == call.number
    assert parent.attributes["guard.schema.hash"] == call.schema_hash


def test_a_failed_call_says_what_failed(exported: Any) -> None:
    with pytest.raises(guard.Unavailable):
        guard.Guard(Scripted(guard.Unavailable("HTTP 503"), name="openai:m")).generate(SCHEMA, ASK)
    child, parent = exported[0].get_finished_spans()
    assert (child.attributes["error.type"], parent.attributes["error.type"]) == ("error", "Unavailable")
    assert not parent.status.is_ok


@pytest.mark.parametrize("opted_in", [False, True])
def test_texts_are_exported_only_when_asked_for(exported: Any, monkeypatch: pytest.MonkeyPatch, opted_in: bool) -> None:
    monkeypatch.setenv(telemetry.CONTENT_VARIABLE, "true" if opted_in else "")
    guard.Guard(Scripted('{"n": "sheep"}', '{"n": 3}', name="m")).generate(SCHEMA, ASK)
    everything = "".join(span.to_json() for span in exported[0].get_finished_spans())
    assert ("sheep" in everything) == opted_in


def test_tokens_and_times_are_measured(exported: Any) -> None:
    guard.Guard(Scripted('{"n": 3}', name="openai:m")).generate(SCHEMA, ASK)
    data = exported[1].get_metrics_data()
    found = {m.name: m.data.data_points for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics}
    tokens = {p.attributes["gen_ai.token.type"]: p.sum for p in found["gen_ai.client.token.usage"]}
    assert tokens == {"input": 100, "output": 8}
    assert found["gen_ai.client.operation.duration"][0].count == 1
    assert found["guard.call.duration"][0].attributes["guard.outcome"] == "valid"


def test_without_an_sdk_nothing_is_done_and_one_that_comes_later_is_heard(
    exported: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = guard.Guard(Scripted(*['{"n": 3}'] * 4, name="openai:m"))
    with monkeypatch.context() as patched:
        patched.setattr(trace, "get_tracer_provider", trace.ProxyTracerProvider)
        patched.setattr(metrics, "get_meter_provider", metrics.NoOpMeterProvider)
        for name in ("_tracer", "_instruments"):
            patched.setattr(telemetry, name, lambda: pytest.fail("telemetry was asked"))
        asked.generate(SCHEMA, ASK)
    asked.generate(SCHEMA, ASK)
    with monkeypatch.context() as patched:  # spans alone
        patched.setattr(metrics, "get_meter_provider", metrics.NoOpMeterProvider)
        asked.generate(SCHEMA, ASK)
    with monkeypatch.context() as patched:  # measures alone
        patched.setattr(trace, "get_tracer_provider", trace.NoOpTracerProvider)
        telemetry._tracer.cache_clear()
        asked.generate(SCHEMA, ASK)
    data = exported[1].get_metrics_data()
    found = {m.name: m.data.data_points for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics}
    assert found["guard.call.duration"][0].count == 3  # the instruments are those of before
    assert len(exported[0].get_finished_spans()) == 2 * 2


@pytest.mark.parametrize("variable", ["OTEL_PYTHON_TRACER_PROVIDER", "OTEL_PYTHON_METER_PROVIDER"])
def test_a_provider_that_is_not_installed_costs_no_call(variable: str) -> None:
    """Each call failed, with StopIteration, which a generator turns into a RuntimeError."""
    program = (
        "import guard\nfrom scripted import Scripted\n"
        "asked = guard.Guard(Scripted('1', '2', name='m'))\n"
        "print(asked.generate(int, 'a'), asked.generate(int, 'b'))\n"
    )
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, variable: "nonesuch", "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=env)
    assert (done.returncode, done.stdout) == (0, "1 2\n")
    assert done.stderr.count("calls have no spans and no measures") == 1

"""A trace that can't be written: every request is told within its time, and so is whoever asks for readiness."""

from __future__ import annotations

import http.client
import json
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sidecars import Reply, model, serving

from guard.sidecar import keys
from guard.testing import fake_server
from guard.trace import TraceStore

SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
WAYS: list[dict[str, Any]] = [{}, {"stream": True}, {"response_format": SCHEMA}]
TOTAL = 1.5


def code(reply: Reply) -> str:
    """Return the code of an answer's error, also at the end of a stream."""
    said = reply.events[-1] if reply.status == 200 else reply.json
    return str(said["error"]["code"])


def test_while_another_holds_the_trace_all_are_told_in_time_and_it_is_not_ready(tmp_path: Path) -> None:
    store = TraceStore(tmp_path / "trace.db")
    _, plain = keys.create(store, "plain")
    _, limited = keys.create(store, "limited", requests_per_minute=1000, tokens_per_day=1_000_000)
    store.close()
    toml = model("URL", total_seconds=TOTAL)
    with (
        fake_server.Server("{}", keeps_alive=True) as provider,
        serving(tmp_path, toml.replace("URL", provider.url)) as it,
    ):

        def ask(number: int) -> tuple[float, Reply]:
            key = (plain, limited)[number % 2]
            began = time.monotonic()
            reply = it.chat(headers={"Authorization": f"Bearer {key}"}, **WAYS[number % 3])
            return time.monotonic() - began, reply

        assert all(reply.status == 200 for _, reply in map(ask, range(6)))
        assert it.ask("GET", "/health/ready").status == 200
        before = len(TraceStore(it.trace).latest(limit=100))
        holder = sqlite3.connect(it.trace, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(48) as threads:
            answers = list(threads.map(ask, range(48)))
        assert {code(reply) for _, reply in answers} == {"trace_unavailable"}
        # A second for the machine, and seconds more for one that others make slow: it was half a minute for each.
        assert max(seconds for seconds, _ in answers) < TOTAL + 1 + 8
        it.wait(lambda: it.ask("GET", "/health/ready").status == 503, 20)
        assert (
            "another holds it" in it.ask("GET", "/health/ready").data.decode()
            or it.ask("GET", "/health/ready").json["reasons"]
        )
        assert it.ask("GET", "/health/live").status == 200
        holder.close()
        it.wait(lambda: it.ask("GET", "/health/ready").status == 200, 20)
        assert all(reply.status == 200 for _, reply in map(ask, range(6)))
        assert len(TraceStore(it.trace).latest(limit=100)) == before + 6  # none of those that were told otherwise


@pytest.mark.parametrize("way", [{}, {"response_format": SCHEMA}])
def test_how_slowly_a_body_comes_is_not_the_models_time(tmp_path: Path, way: dict[str, Any]) -> None:
    with fake_server.Server("{}") as provider, serving(tmp_path, model(provider.url, total_seconds=TOTAL)) as it:
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}], **way}).encode()
        connection = http.client.HTTPConnection(it.host, it.port, timeout=60)
        connection.putrequest("POST", "/v1/chat/completions")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body[:-1])
        time.sleep(TOTAL + 1)
        connection.send(body[-1:])
        assert connection.getresponse().status == 200
        connection.close()


def test_a_trace_that_is_gone_or_full_of_errors_is_not_ready(tmp_path: Path) -> None:
    with fake_server.Server("Hello.") as provider, serving(tmp_path, model(provider.url)) as it:
        assert it.ask("GET", "/health/ready").status == 200
        with sqlite3.connect(it.trace) as trace:
            trace.execute("ALTER TABLE guard_schema RENAME TO elsewhere")
        trace.close()
        it.wait(lambda: it.ask("GET", "/health/ready").status == 503, 20)

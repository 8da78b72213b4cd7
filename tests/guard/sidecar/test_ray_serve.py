"""The sidecar as replicas of Ray Serve, of which one is killed. Without Ray Serve, only the ASGI application."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import postgres
import pytest
import replicas
import sidecars
from starlette.middleware.base import BaseHTTPMiddleware

from guard.sidecar import keys
from guard.sidecar.asgi import Application
from guard.testing import fake_server
from guard.trace import TraceStore

HAS_SERVE = all(importlib.util.find_spec(name) is not None for name in ("ray", "grpc"))

#: Starts two replicas, asks them by several threads, and kills one of them amid that. Prints what was answered.
CLUSTER = """
import json, os, subprocess, sys, threading, time, urllib.error, urllib.request
import ray
from ray import serve
from guard.sidecar.ray_serve import application

config, key, port = sys.argv[1:]
ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
serve.run(application({"config": config, "num_replicas": "2", "ray_actor_options": {"num_cpus": 0.1}}))
statuses, calls, lock = {}, [], threading.Lock()

def ask(given=key, path="/v1/chat/completions", **more):
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hello."}], **more}).encode()
    headers = {"authorization": f"Bearer {given}", "content-type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers["x-guard-call"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, None, error.read().decode()

def work():
    for _ in range(50):
        status, call, _ = ask()
        with lock:
            statuses[status] = statuses.get(status, 0) + 1
            calls.extend([int(call)] if status == 200 else [])

threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
while len(calls) < 60:
    time.sleep(0.01)
pgrep = ["pgrep", "-f", "^ray::ServeReplica:default:guard"]
replicas = subprocess.run(pgrep, capture_output=True, text=True).stdout.split()
assert len(replicas) == 2, replicas
os.kill(int(replicas[0]), 9)
[thread.join() for thread in threads]
print(json.dumps({"statuses": statuses, "calls": calls, "stranger": ask("sk-none")[0], "stream": ask(stream=True)[2]}))
serve.shutdown()
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return int(unused.getsockname()[1])


def test_the_application_asks_for_keys_and_needs_a_lifespan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a server must do is said: run the lifespan; and a start that must fail says why."""
    monkeypatch.setenv("GUARD_TRACE", str(tmp_path / "trace.db"))
    config = tmp_path / "guard.toml"
    config.write_text(sidecars.model("http://127.0.0.1:9/v1"), encoding="utf-8")
    sent: list[Any] = []
    is_up = asyncio.Event()

    async def send(message: Any) -> None:
        sent.append(message)
        is_up.set()

    async def began() -> Any:
        return {"type": "lifespan.startup"}

    application = Application(config)
    with pytest.raises(RuntimeError, match="lifespan"):
        asyncio.run(application({"type": "http"}, began, send))
    with pytest.raises(Exception, match="key"):
        asyncio.run(application({"type": "lifespan"}, began, send))
    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    assert "key" in sent[0]["message"]


def test_under_a_middleware_whose_receive_belongs_to_one_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starlette's enters a scope in `receive`, which the task that entered it has to leave; streams broke off."""
    monkeypatch.setenv("GUARD_TRACE", str(tmp_path / "trace.db"))
    _, text = keys.create(TraceStore(tmp_path / "trace.db"), "shop")
    config, asked = tmp_path / "guard.toml", {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    sent: list[Any] = []

    async def main(application: Application, *, stream: bool) -> None:
        begin, is_up, end = (asyncio.Event() for _ in range(3))
        came = [json.dumps({**asked, "stream": stream}).encode()]

        async def send(message: Any) -> None:
            sent.append(message)
            is_up.set()

        async def live() -> Any:
            if begin.is_set():
                await end.wait()
            begin.set()
            return {"type": "lifespan.startup"}

        async def receive() -> Any:
            if came:
                return {"type": "http.request", "body": came.pop()}
            return await asyncio.Event().wait()

        life = asyncio.create_task(application({"type": "lifespan"}, live, send))
        await is_up.wait()
        head = [(b"host", b"localhost"), (b"authorization", f"Bearer {text}".encode())]
        scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": head, "query_string": b""}
        scope |= {"client": ("127.0.0.1", 1), "raw_path": b"/v1/chat/completions", "root_path": "", "scheme": "http"}
        await BaseHTTPMiddleware(application, lambda request, go_on: go_on(request))(scope, receive, send)
        end.set()
        await life

    with fake_server.Server("Hello.", "Hello.", keeps_alive=True) as provider:
        config.write_text(sidecars.model(provider.url), encoding="utf-8")
        for stream in (False, True):
            sent.clear()
            asyncio.run(main(Application(config), stream=stream))
            body = b"".join(message["body"] for message in sent if message["type"] == "http.response.body")
            assert sidecars.events_of(body)[-1] == "[DONE]" if stream else b"Hello." in body


@pytest.mark.skipif(not HAS_SERVE, reason="Ray Serve is not installed")
def test_replicas_share_keys_and_records_and_one_may_die(postgres_server: postgres.Server, tmp_path: Path) -> None:
    """What was answered is on record once, though a replica dies; Ray asks another one for what it had under way."""
    place = postgres_server.place()
    store = TraceStore(place)
    _, text = keys.create(store, "shop")
    config = tmp_path / "guard.toml"
    with fake_server.Server("Hello.", keeps_alive=True) as provider:
        config.write_text(sidecars.model(provider.url), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-c", CLUSTER, str(config), text, str(free_port())],
            env={**os.environ, "GUARD_TRACE": place, "RAY_DISABLE_IMPORT_WARNING": "1"},
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(next(line for line in done.stdout.splitlines() if line.startswith('{"statuses"')))
    assert sum(told["statuses"].values()) == 200
    assert told["statuses"]["200"] >= 150, told["statuses"]
    assert replicas.lost(place, told["calls"]) == set()
    assert told["stranger"] == 401
    assert sidecars.events_of(told["stream"].encode())[-1] == "[DONE]"

"""A request leaves no circle of objects behind, however it ends: collections of garbage may be seldom."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sidecars

from guard.testing import fake_server
from guard.testing.fake_server import HANG, RESET, Answer, error, halved

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
FORMAT = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
#: Masks would be needed for it; the judge checks it.
JUDGED = {"type": "string", "pattern": "(?<=a.{99})b"}
ASKED = {"plain": {}, "schema": {"response_format": FORMAT}}
ENDS = {
    "answered": ['{"a": 1}'],
    "of the wrong type": ['{"a": "one"}'],
    "failed": [error(500, "it broke")],
    "refused": [error(400, "no")],
    "broken off": [Answer('{"a": 1}', change=halved(RESET))],
    "no answer": [Answer(raw=b'{"choices": []}')],
    "declined": [Answer(refusal="I can't.")],
    "late": [Answer(raw=b"", change=lambda _: [HANG])],
}
TIMES = 6


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[sidecars.Sidecar, fake_server.Server]]:
    """Start a sidecar that collects when it is told to, and its provider."""
    folder: Path = tmp_path_factory.mktemp("garbage")
    limits: Any = {"breaker_failures": 1000, "first_token_seconds": 0.5, "total_seconds": 1}
    with fake_server.Server("Hello.", keeps_alive=True) as provider:
        toml = sidecars.model(provider.url, transport_retries=1, **limits)
        toml += sidecars.model(fake_server.refused_url(), "down", transport_retries=1, **limits)
        toml += sidecars.model(fake_server.refused_url(), "up", transport_retries=0, escalate_to=["m"], **limits)
        program = ("garbage", str(folder / "found.json"))
        with sidecars.serving(folder, toml, program=program, env={"PYTHONPATH": str(Path(__file__).parent)}) as sidecar:
            for fields in ASKED.values():
                sidecar.chat(**fields)
            found(sidecar)  # what was made once
            yield sidecar, provider


def found(sidecar: sidecars.Sidecar) -> dict[str, int]:
    """Return what a collection finds of Guard's own, once no request is under way."""
    file = sidecar.folder / "found.json"
    file.unlink(missing_ok=True)
    time.sleep(0.3)
    os.kill(sidecar.process.pid, signal.SIGUSR1)
    sidecar.wait(file.exists)
    told: dict[str, int] = json.loads(file.read_text())
    return told


def asked(sidecar: sidecars.Sidecar, **fields: Any) -> None:
    with ThreadPoolExecutor(TIMES) as threads:
        list(threads.map(lambda _: sidecar.chat(**fields), range(TIMES)))


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("what", ASKED)
@pytest.mark.parametrize("end", ENDS)
def test_a_request_leaves_no_circle(watched: Any, end: str, what: str, streams: bool) -> None:
    sidecar, provider = watched
    provider.answers = ENDS[end]
    asked(sidecar, stream=streams, **ASKED[what])
    assert found(sidecar) == {}


@pytest.mark.parametrize("model", ["down", "up"])
@pytest.mark.parametrize("what", ASKED)
def test_a_provider_out_of_reach_leaves_no_circle(watched: Any, what: str, model: str) -> None:
    sidecar, provider = watched
    provider.answers = ENDS["answered"]
    asked(sidecar, model=model, **ASKED[what])
    assert found(sidecar) == {}


@pytest.mark.parametrize("what", ASKED)
def test_a_client_that_leaves_leaves_no_circle(watched: Any, what: str) -> None:
    sidecar, provider = watched
    provider.answers = ENDS["late"]
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}], **ASKED[what]})
    for _ in range(TIMES):
        client = http.client.HTTPConnection(sidecar.host, sidecar.port)
        client.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        time.sleep(0.05)
        assert isinstance(client.sock, socket.socket)
        client.close()
    time.sleep(0.5)
    assert found(sidecar) == {}


@pytest.mark.parametrize("what", ASKED)
def test_a_client_that_leaves_as_its_time_is_over_leaves_no_circle(watched: Any, what: str) -> None:
    """While the failure is recorded, which its frames know."""
    sidecar, provider = watched
    provider.answers = ENDS["late"]
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}], **ASKED[what]})

    def leave(number: int) -> None:
        client = http.client.HTTPConnection(sidecar.host, sidecar.port)
        client.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        time.sleep(1 + number * 0.003)  # the time limit is a second
        client.close()

    for _ in range(2):
        with ThreadPoolExecutor(TIMES) as threads:
            list(threads.map(leave, range(TIMES)))
    time.sleep(1)
    assert found(sidecar) == {}


def test_a_schema_that_only_the_judge_knows_leaves_no_circle(watched: Any) -> None:
    sidecar, provider = watched
    provider.answers = ['"b"']
    for number in range(TIMES):
        sidecar.chat(response_format={"type": "json_schema", "json_schema": {"name": f"x{number}", "schema": JUDGED}})
    assert found(sidecar) == {}

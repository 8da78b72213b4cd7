"""The sidecar's own description is true, and nothing that follows it or goes against it makes the sidecar fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sidecars import Sidecar

from guard.testing import fake_server

#: In an environment of its own, kept between runs: it holds some of Guard's dependencies to older versions.
SCHEMATHESIS = Path(__file__).parents[3] / "build" / "schemathesis"
REQUIREMENT = "schemathesis>=4,<5"
#: Those that say something of a proxy: what comes from a provider has no schema here.
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def test_no_request_makes_it_fail_and_every_answer_is_as_described(
    sidecar: Sidecar, provider: fake_server.Server
) -> None:
    if not (SCHEMATHESIS / "bin" / "schemathesis").exists():
        subprocess.run([sys.executable, "-m", "venv", SCHEMATHESIS], check=True)
        pip = [SCHEMATHESIS / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, REQUIREMENT], check=True)
    provider.answers = ['{"a": 1}']
    command = [
        *(SCHEMATHESIS / "bin" / "schemathesis", "run", f"{sidecar.url.removesuffix('/v1')}/openapi.json"),
        *("--checks", CHECKS, "--max-examples", "15", "--seed", "1", "--no-color", "--request-timeout", "60"),
        *("--phases", "examples,coverage,fuzzing", "--generation-database", "none"),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr
    statuses = {line["status"] for line in sidecar.log}
    assert {200, 400, 404} <= statuses
    assert not statuses & {500, 503}


def test_every_path_that_is_described_is_there(sidecar: Sidecar) -> None:
    document = sidecar.ask("GET", "/openapi.json").json
    for path, operations in document["paths"].items():
        for method in operations:
            filled = path.replace("{name}", "m").replace("{number}", "1")
            reply = sidecar.ask(method.upper(), filled, b"{}" if method == "post" else None)
            assert reply.status in (200, 400, 404), path
            assert reply.json is not None

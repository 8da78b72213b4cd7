"""Shadow runs over HTTP: one at a time, watched, cancelled, and gone on with, whatever ended them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
from scripted import Scripted
from sidecars import Reply, Sidecar, serving

import guard
from guard.models.local.transformers import quiet
from guard.output import target
from guard.tuning import shadow_job
from guard.tuning.registry import CARD, Registry, write_json

FUNCTION = "shop.read"
SCHEMA = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}
ASKED = {"function": FUNCTION, "version": 1}
ENDED_S = 600.0  #: Longest wait for what a run is to do.


def saved(folder: Path, seed: int) -> Path:
    with quiet():
        tiny.llama(seed, context=2048).save_pretrained(folder)
        tiny.tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A version of a function, and right answers in the trace that the sidecar has."""
    found = Registry(tmp_path / "models")
    version = saved(found.place(FUNCTION) / "1", 1)
    schemas = [target.from_any(SCHEMA, {}).compiled.hash]
    base = saved(tmp_path / "base", 0)
    write_json(version / CARD, {"base": f"transformers:{base}", "function": None, "schemas": schemas, "sources": []})
    asker = guard.Guard(model=Scripted(*['{"n": 1}'] * 24, name="large"), trace=tmp_path / "trace.db")
    for number in range(24):
        asker.generate(SCHEMA, f"Read {number}.")
    return found


def started(registry: Registry, folder: Path) -> Any:
    toml = '[serve.models.t]\nmodel = "openai:m"\nbase_url = "http://127.0.0.1:9/v1"\n'
    return serving(folder, toml, env={"GUARD_REGISTRY": str(registry.root)})


def ask(sidecar: Sidecar, path: str = "shadow", **body: Any) -> Reply:
    return sidecar.ask("POST", f"/guard/models/{path}", body)


def until(sidecar: Sidecar, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait until something holds of the run; returns it."""
    end = time.monotonic() + ENDED_S
    while time.monotonic() < end:
        run: dict[str, Any] = sidecar.ask("GET", "/guard/models/shadow").json["run"]
        if holds(run):
            return run
        time.sleep(0.05)
    pytest.fail(f"the run does not get there: {run}")


def test_a_run_is_watched_cancelled_and_gone_on_with(registry: Registry, tmp_path: Path) -> None:
    partial = registry.version(FUNCTION, 1).folder / shadow_job.PARTIAL
    with started(registry, tmp_path) as sidecar:
        assert sidecar.ask("GET", "/guard/models/shadow").json == {"run": None}
        assert ask(sidecar, "shadow/cancel").status == 404
        run = ask(sidecar, **ASKED).json["run"]
        assert (run["function"], run["version"], run["against"], run["state"]) == (FUNCTION, 1, 0, "running")
        refused = ask(sidecar, **ASKED)
        assert (refused.status, refused.json["error"]["code"]) == (409, "refused")
        until(sidecar, lambda run: (run["stage"].startswith("asking") and run["done"] > 0) or run["state"] != "running")
        assert ask(sidecar, "shadow/cancel").status in (200, 404)  # it may be over just now
        run = until(sidecar, lambda run: run["state"] != "running")
        if run["state"] == "cancelled":
            assert partial.exists()
            assert registry.version(FUNCTION, 1).shadow is None
            ask(sidecar, **ASKED)
        run = until(sidecar, lambda run: run["state"] != "running")
        assert (run["state"], run["questions"]) == ("done", 24)
        report = sidecar.ask("GET", f"/guard/models/version?function={FUNCTION}&version=1").json["report"]
        assert (report["against"], report["passed"], report["questions"]) == (0, run["passed"], 24)
        assert not partial.exists()


def test_a_run_ends_with_a_killed_sidecar_and_goes_on_with_the_next(registry: Registry, tmp_path: Path) -> None:
    with started(registry, tmp_path) as sidecar:
        ask(sidecar, **ASKED)
        sidecar.process.kill()
        sidecar.process.wait()
    with started(registry, tmp_path) as sidecar:
        assert until(sidecar, lambda run: run["state"] != "running")["state"] == "killed"
        assert ask(sidecar, **ASKED).json["run"]["state"] == "running"
        assert until(sidecar, lambda run: run["state"] != "running")["state"] == "done"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({**ASKED, "version": 0}, 400),
        ({**ASKED, "version": 7}, 404),
        ({**ASKED, "against": 7}, 404),
        ({**ASKED, "function": "../.."}, 404),
        ({**ASKED, "limit": 2_001}, 400),
        ({**ASKED, "margin": 2}, 400),
        ({**ASKED, "more": 1}, 400),
    ],
)
def test_what_makes_no_sense_starts_nothing(body: dict[str, Any], status: int, idle: Sidecar) -> None:
    assert ask(idle, **body).status == status
    assert idle.ask("GET", "/guard/models/shadow").json == {"run": None}


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A sidecar with a version in its registry, and no answers."""
    folder = tmp_path_factory.mktemp("idle")
    registry = Registry(folder / "models")
    (registry.place(FUNCTION) / "1").mkdir(parents=True)
    write_json(registry.place(FUNCTION) / "1" / CARD, {"base": "smollm2"})
    with started(registry, folder) as sidecar:
        yield sidecar

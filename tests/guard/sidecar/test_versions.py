"""The registry over HTTP: listed, shown, promoted, rolled back, canaried; the sidecar answers by it at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
from sidecars import Reply, Sidecar, model, serving

from guard.models.local.transformers import quiet
from guard.sidecar import keys
from guard.testing import fake_server
from guard.trace import TraceStore
from guard.tuning.registry import CARD, SHADOW, Registry, write_json

FUNCTION = "shop.read"
SCHEMA = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}
FORMAT = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
TUNED = f'[serve.models.t]\nmodel = "tuned:{FUNCTION}"\nmax_tokens = 40\n'


def saved(folder: Path, seed: int) -> Path:
    with quiet():
        tiny.llama(seed, context=2048).save_pretrained(folder)
        tiny.tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("registry")
    found = Registry(folder / "models")
    base = saved(folder / "base", 0)
    for number in (1, 2):
        version = saved(found.place(FUNCTION) / str(number), number)
        write_json(version / CARD, {"base": f"transformers:{base}", "examples": 8, "made": 0.0})
        write_json(version / SHADOW, {"passed": number == 1, "against": 0, "alone": None})
    return found


@pytest.fixture(scope="module")
def tuned(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    folder = tmp_path_factory.mktemp("tuned")
    with serving(folder, TUNED, env={"GUARD_REGISTRY": str(registry.root), "GUARD_TRACE": ""}) as sidecar:
        yield sidecar


def decide(sidecar: Sidecar, what: str, headers: Any = None, **body: Any) -> Reply:
    return sidecar.ask("POST", f"/guard/models/{what}", {"function": FUNCTION, **body}, headers)


def served(sidecar: Sidecar, text: str = "Read.") -> str:
    reply = sidecar.chat(text, model="t", response_format=FORMAT)
    assert reply.status == 200, reply.data
    return reply.headers["x-guard-model"]


def test_what_is_decided_over_http_is_served_without_a_restart(tuned: Sidecar) -> None:
    (listed,) = tuned.ask("GET", "/guard/models").json["functions"]
    assert (listed["function"], listed["serving"]["current"]) == (FUNCTION, 0)
    assert [(one["version"], one["shadow"]) for one in listed["versions"]] == [(1, True), (2, False)]
    assert served(tuned) == f"tuned:{FUNCTION}@0"
    assert decide(tuned, "promote", version=1, why="measured").json["serving"]["current"] == 1
    assert served(tuned) == f"tuned:{FUNCTION}@1"
    refused = decide(tuned, "promote", version=2)
    assert (refused.status, refused.json["error"]["code"]) == (409, "refused")
    assert "was not measured beside version 1" in refused.json["error"]["message"]
    assert served(tuned) == f"tuned:{FUNCTION}@1"
    started = decide(tuned, "canary", version=2, share=0.5, baseline=0.1, force=True).json["serving"]
    assert (started["canary"]["version"], started["canary"]["share"]) == (2, 0.5)
    answers = {served(tuned, f"Read {number}.") for number in range(12)}
    assert answers == {f"tuned:{FUNCTION}@1", f"tuned:{FUNCTION}@2"}
    assert decide(tuned, "rollback").json["serving"]["canary"] is None
    assert decide(tuned, "rollback", why="enough").json["serving"]["current"] == 0
    assert served(tuned) == f"tuned:{FUNCTION}@0"
    history = tuned.ask("GET", "/guard/models").json["functions"][0]["serving"]["history"]
    assert [(one["action"], one["why"]) for one in history] == [
        ("promote", "measured"), ("canary", "share 0.5"), ("end canary", ""), ("roll back", "enough"),
    ]  # fmt: skip


def test_a_version_is_shown_with_its_lineage(tuned: Sidecar) -> None:
    shown = tuned.ask("GET", f"/guard/models/version?function={FUNCTION}&version=2").json
    assert (shown["version"], shown["card"]["examples"], shown["report"]["passed"]) == (2, 8, False)
    assert tuned.ask("GET", f"/guard/models/version?function={FUNCTION}&version=9").status == 404
    for wrong in ("", "?version=x", f"?function={FUNCTION}"):
        assert tuned.ask("GET", f"/guard/models/version{wrong}").status == 400


def test_two_versions_are_compared(tuned: Sidecar, registry: Registry) -> None:
    path = registry.version(FUNCTION, 2).folder / CARD
    before = json.loads(path.read_text())
    write_json(path, {**before, "examples": 9, "sources": ["call 1"]})
    found = tuned.ask("GET", f"/guard/models/diff?function={FUNCTION}&old=1&new=2").json
    write_json(path, before)
    differences = {"examples": {"old": 8, "new": 9}, "sources": {"old": "0 left out", "new": "1 new"}}
    assert found == {"function": FUNCTION, "differences": differences}
    assert tuned.ask("GET", f"/guard/models/diff?function={FUNCTION}&old=1&new=9").status == 404
    assert tuned.ask("GET", f"/guard/models/diff?function={FUNCTION}&old=1").status == 400


@pytest.mark.parametrize(
    ("what", "body", "status"),
    [
        ("promote", {}, 400),
        ("promote", {"version": -1}, 400),
        ("promote", {"version": True}, 400),
        ("promote", {"version": 1, "function": "../../etc"}, 404),
        ("promote", {"version": 1, "function": "x" * 300}, 404),
        ("shadow", {"version": 1, "function": "x" * 300}, 404),
        ("shadow", {"version": 1, "function": "\ud800"}, 400),
        ("canary", {"version": 1, "share": 0}, 400),
        ("canary", {"version": 1, "share": 1}, 400),
        ("canary", {"version": 0, "share": 0.5, "force": True}, 409),
        ("rollback", {"version": 1}, 400),
        ("promote", {"version": 77, "force": True}, 409),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(tuned: Sidecar, what: str, body: Any, status: int) -> None:
    before = tuned.ask("GET", "/guard/models").json
    assert decide(tuned, what, **body).status == status
    assert tuned.ask("GET", "/guard/models").json == before


def test_only_an_operator_decides_and_the_record_says_who(registry: Registry, tmp_path: Path) -> None:
    store = TraceStore.at(tmp_path / "trace.db")
    _, operator = keys.create(store, "ada", is_operator=True)
    _, client = keys.create(store, "client")
    env = {"GUARD_REGISTRY": str(registry.root)}
    with fake_server.Server("x") as provider, serving(tmp_path, model(provider.url), env=env) as sidecar:
        for key, status in ((client, 403), (operator, 200)):
            headers = {"Authorization": f"Bearer {key}"}
            assert decide(sidecar, "promote", headers, version=2, force=True).status == status
            assert sidecar.ask("GET", "/guard/models", headers=headers).status == status
    assert registry.serving(FUNCTION).history[-1]["why"] == "(key ada)"


def test_what_is_served_alone_and_what_answers_cost_is_told(tuned: Sidecar, registry: Registry) -> None:
    number = tuned.chat("Read.", model="t", response_format=FORMAT).headers["x-guard-call"]
    tuned.ask("POST", "/guard/feedback", {"call": int(number), "right": True})
    found = tuned.ask("GET", "/guard/economics?minutes=60").json
    (line,) = found["functions"]
    assert line["function"] == "/v1/chat/completions"
    assert (line["alone"], line["alone_right"], line["precision"], line["cost_per_right"]) == (
        line["valid"],
        1,
        1.0,
        0.0,
    )
    assert found["curves"] == []
    alone = {"curve": [[0.5, 1.0], [1.0, 0.75]], "kept": [{"wanted": 0.9, "share": 0.5, "precision": 1.0}]}
    report = {"passed": True, "against": 0, "alone": alone, "alone_before": None, "old": "a", "new": "b"}
    folder = registry.version(FUNCTION, 1).folder
    before = json.loads((folder / SHADOW).read_text())
    write_json(folder / SHADOW, report)
    (curve,) = tuned.ask("GET", "/guard/economics").json["curves"]
    write_json(folder / SHADOW, before)
    assert curve == {"function": FUNCTION, "version": 1, "before": None, "after": alone["curve"], "kept": alone["kept"]}


@pytest.mark.parametrize("workers", [1, 2])
def test_the_registry_is_that_of_the_file_that_config_names(registry: Registry, tmp_path: Path, workers: int) -> None:
    """`registry = …` in it was ignored: `guard serve` did not start, since no model was tuned in the default one."""
    toml, common = f"workers = {workers}\n{TUNED}", f'registry = "{registry.root}"\n'
    with serving(tmp_path, toml, env={"XDG_DATA_HOME": str(tmp_path / "data")}, common=common) as sidecar:
        (listed,) = sidecar.ask("GET", "/guard/models").json["functions"]
        assert listed["function"] == FUNCTION
        assert served(sidecar) == f"tuned:{FUNCTION}@{listed['serving']['current']}"
        assert sidecar.ask("GET", "/guard/economics").status == 200

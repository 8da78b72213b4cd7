"""The worked example runs from the log to a promoted model; on a tiny model, which learns nothing of use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny
from typer.testing import CliRunner

from examples import loop
from guard.cli.app import app
from guard.models.local.transformers import quiet
from guard.tuning.registry import Registry


def test_the_loop_runs_from_the_log_to_a_promoted_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tmp_path / "base"
    with quiet():
        tiny.llama().save_pretrained(base)
        tiny.tokenizer().save_pretrained(base)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 4096}))
    monkeypatch.setenv("GUARD_TRACE", str(tmp_path / "trace.db"))
    monkeypatch.setenv("GUARD_REGISTRY", str(tmp_path / "models"))
    monkeypatch.setattr(loop, "LOGGED", 40)
    monkeypatch.setattr(loop, "LATER", 20)
    found = loop.run(tmp_path, f"transformers:{base}", 0.02)
    assert found["before"] == pytest.approx(loop.PRICE)
    assert "Precision against share served" in (tmp_path / "economics.html").read_text()
    done = CliRunner().invoke(app, ["economics", loop.FUNCTION, "--json"])
    told = json.loads(done.output)
    assert told["models"][0]["model"] == "oracle"
    assert {line["model"] for line in told["models"]} > {f"tuned:{loop.FUNCTION}@1"}
    assert (told["shadow"]["version"], told["whole"]["function"]) == (1, loop.FUNCTION)
    shown = CliRunner().invoke(app, ["economics", loop.FUNCTION, "--html", str(tmp_path / "page.html")])
    assert "asked first" in shown.output
    assert "oracle" in (tmp_path / "page.html").read_text()
    nobody = CliRunner().invoke(app, ["economics", "nobody"])
    assert "no call of nobody" in str(nobody.exception)
    serving = Registry.default().serving(loop.FUNCTION)
    assert serving.current == 1
    assert [one["action"] for one in serving.history][:1] == ["canary"]
    assert "beside" in (tmp_path / "shadow.html").read_text()

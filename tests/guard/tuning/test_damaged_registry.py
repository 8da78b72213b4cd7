"""A registry whose files are damaged: each is named with a way out, and the other functions are shown."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from guard.cli.app import app
from guard.errors import GuardError, ModelError
from guard.sidecar.endpoints import operator, versions
from guard.sidecar.errors import ApiError
from guard.tuning.registry import CARD, SERVING, SHADOW, Registry, Serving, write_json
from guard.tuning.serving import TunedModel

OUT = "; bring an earlier one back, or delete it: "
BASE_SERVES = f"{OUT}the base model serves until a version is promoted"
REPORT = {"passed": True, "against": 0, "alone": {"curve": [1], "kept": []}}


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Two functions of one version each."""
    monkeypatch.setenv("GUARD_REGISTRY", str(tmp_path / "models"))
    made = Registry.default()
    for function in ("bad", "good"):
        folder = made.place(function) / "1"
        folder.mkdir(parents=True)
        write_json(folder / CARD, {"base": "smollm2", "examples": 8, "made": 0.0})
        write_json(folder / SHADOW, REPORT)
    return made


def serving(text: str) -> str:
    file = Registry.default().place("bad") / SERVING
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is no JSON (Expecting value: line 1 column 1 (char 0))"),
        ("[]", "it holds a JSON list, not an object"),
        ("{}", "current: Input should be a valid integer"),
        ('{"current": 1, "history": 3}', "history: Input should be a valid tuple"),
        ('{"current": 1, "history": [3]}', "history.0: Input should be a valid dictionary"),
        ('{"current": 1, "canary": {"version": 2}}', "canary.share: Field required"),
        ('{"current": 1, "canary": []}', "canary: Input should be a dictionary or an instance of Canary"),
    ],
)
def test_a_damaged_pointer_is_named_and_changed_by_nobody(registry: Registry, text: str, why: str) -> None:
    words = f"{serving(text)} can't be read: {why}{BASE_SERVES}"
    ways = [
        lambda: registry.serving("bad"),
        lambda: registry.rollback("bad"),
        lambda: registry.promote("bad", 1),
        lambda: registry.start_canary("bad", 1, 0.5),
    ]
    for way in ways:
        with pytest.raises(GuardError) as caught:
            way()
        assert str(caught.value) == words
    assert (registry.place("bad") / SERVING).read_text() == text
    with pytest.raises(ModelError) as asked:
        TunedModel("bad", "tuned:bad", registry)._serving()
    assert str(asked.value) == words
    assert registry.serving("good") == Serving()


def test_lists_show_the_error_of_one_function_and_go_on(registry: Registry) -> None:
    file = serving("{")
    words = f"{file} can't be read: it is no JSON (Expecting property name enclosed in double quotes: "
    words += f"line 1 column 2 (char 1)){BASE_SERVES}"
    told = CliRunner().invoke(app, ["models", "list", "--json"])
    bad, good = map(json.loads, told.stdout.splitlines())
    assert (bad["function"], bad["version"], bad["error"]) == ("bad", 1, words)
    assert good.keys() == bad.keys() - {"error"}
    assert (good["base"], good["shadow"], bad["base"], bad["shadow"]) == ("smollm2", True, "", None)
    shown = CliRunner().invoke(app, ["models", "list"])
    assert (shown.exit_code, shown.stderr) == (0, f"guard: {words}\n")
    for arguments in (["models", "rollback", "bad"], ["models", "promote", "bad@1"], ["models", "show", "bad"]):
        told = CliRunner().invoke(app, arguments)
        assert str(told.exception) == words

    _, body = asyncio.run(versions.listed(None, None))  # type: ignore[arg-type]  # it asks neither
    bad, good = json.loads(body)["functions"]
    assert (bad["serving"], bad["error"], bad["versions"][0]["error"]) == (None, words, words)
    assert (good["serving"]["current"], good["versions"][0]["base"]) == (0, "smollm2")
    assert [one["function"] for one in operator._curves()] == ["good"]
    with pytest.raises(ApiError):
        asyncio.run(versions.version(None, {"query_string": b"function=bad&version=1"}))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [CARD, SHADOW])
@pytest.mark.parametrize("text", ["{", "[1]", ""])
def test_a_damaged_version_is_shown_with_its_error(registry: Registry, name: str, text: str) -> None:
    file = registry.place("bad") / "1" / name
    file.write_text(text)
    (one,) = registry.listed("bad")
    assert one["error"].startswith(f"{file} can't be read: it ")
    assert one["error"].endswith(f"{OUT}what it said is lost")
    assert "error" not in registry.listed("good")[0]
    with pytest.raises(GuardError):
        registry.version("bad", 1).card if name == CARD else registry.version("bad", 1).shadow


@pytest.mark.parametrize("card", [{"made": "today"}, {"made": 1e99}, {"validation": 3}, {"validation": {"after": [1]}}])
def test_a_lineage_of_other_types_is_an_error_of_its_own(registry: Registry, card: dict[str, object]) -> None:
    write_json(registry.place("bad") / "1" / CARD, card)
    (one,) = registry.listed("bad")
    file = registry.place("bad") / "1" / CARD
    assert one["error"] == f"{file} can't be read: it holds what no lineage has{OUT}what it said is lost"
    assert "error" not in registry.listed("good")[0]


def test_a_report_of_other_types_has_no_curve(registry: Registry) -> None:
    for alone in (3, "x", [1], {"kept": []}):
        write_json(registry.place("bad") / "1" / SHADOW, {"alone": alone})
        assert [one["function"] for one in operator._curves()] == ["good"]

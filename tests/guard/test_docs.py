"""The documentation's tables say what the code does."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from guard.schemas import keywords, string_formats
from guard.schemas.keywords import Holds
from guard.settings import Settings
from guard.sidecar.settings import ModelSettings, ServeSettings
from guard.trace import sql_tables

DOCS = Path(__file__).parents[2] / "docs"


def test_the_table_of_keywords_is_that_of_the_code() -> None:
    documented: dict[str, str] = {}
    for line in (DOCS / "reference" / "keywords.md").read_text().splitlines():
        if row := re.fullmatch(r"\| (.*) \| (enforced|not supported yet|annotation|identity) \|", line):
            documented |= dict.fromkeys(re.findall(r"`([^`]+)`", row[1]), row[2])
    expected: dict[str, str] = {}
    for dialect in keywords.DIALECTS.values():
        for name, holds in dialect.keywords.items():
            if holds is Holds.IDENTITY:
                expected[name] = "identity"
            elif holds in (Holds.NOTE, Holds.CONTENT):
                expected[name] = "annotation"
            elif holds is Holds.DEFS or name in keywords.SUPPORTED:
                expected[name] = "enforced"
            else:
                expected[name] = "not supported yet"
    assert documented == expected


def test_the_list_of_formats_is_that_of_the_code() -> None:
    text = (DOCS / "reference" / "keywords.md").read_text()
    asserted = text[text.index("Formats that are asserted") :].partition("Any other")[0]
    assert set(re.findall(r"`([a-z0-9-]+)`", asserted)) == string_formats.KNOWN


def test_the_table_of_settings_is_that_of_the_code() -> None:
    rows = re.findall(
        r"^\| `GUARD_([A-Z_]+)` \| `([a-z_]+)` \|", (DOCS / "reference" / "settings.md").read_text(), re.MULTILINE
    )
    assert [name.lower() for name, _ in rows] == [key for _, key in rows] == list(Settings.model_fields)


def test_the_table_of_columns_is_that_of_the_trace() -> None:
    documented: dict[str, list[str]] = {}
    table = ""
    text = (DOCS / "reference" / "trace-tables.md").read_text()
    for row in re.findall(
        r"^\| (`[a-z_]+`)? ?\| (`[a-z_`, ]+) \|", text[text.index("| table | column |") :], re.MULTILINE
    ):
        table = row[0].strip("`") or table
        documented.setdefault(table, []).extend(re.findall("[a-z_]+", row[1]))
    assert {name: sorted(columns) for name, columns in documented.items()} == {
        name: sorted(made.columns.keys()) for name, made in sql_tables.TABLES.tables.items()
    }
    assert f"**Tables**, version {sql_tables.VERSION};" in text


def test_the_table_of_invariants_and_the_list_of_faults_are_those_of_the_harness() -> None:
    from guard.testing import FAULTS
    from guard.testing.invariants import INVARIANTS

    text = (DOCS / "testing.md").read_text()
    documented = re.findall(r"^\| `([a-z-]+)` \| (.*\.) \|$", text, re.MULTILINE)
    assert documented == [(invariant.name, invariant.says) for invariant in INVARIANTS]
    listed = text[text.index("The faults, for") :].partition(":")[2].partition("\n\n")[0]
    assert re.findall(r"`([^`]+)`", listed) == list(FAULTS)


def test_the_tables_of_the_sidecars_settings_are_those_of_the_code() -> None:
    text = (DOCS / "sidecar.md").read_text()
    for heading, kind in (("| key of `[serve]` |", ServeSettings), ("| key of `[serve.models.NAME]` |", ModelSettings)):
        table = text[text.index(heading) + len(heading) :].partition("\n\n")[0]
        keys = [name for row in table.split("\n")[2:] for name in re.findall("`([a-z_]+)`", row.split("|")[1])]
        assert keys == [name for name in kind.model_fields if name != "models"]


def test_what_is_shown_of_deploying_is_read_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    assert list(ServeSettings.load(DOCS / "deploy" / "guard.toml").models) == ["main"]
    shown = re.findall(r"```toml\n(.*?)```", (DOCS / "sidecar.md").read_text(), re.DOTALL)
    assert len(shown) == 1
    assert tomllib.loads(shown[0])["serve"]["models"].keys() == {"fast", "careful", "small"}

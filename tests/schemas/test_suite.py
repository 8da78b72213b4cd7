"""The lowering means what the drafts mean: records are judged on the official suite and on real schemas."""

from __future__ import annotations

import gzip
import json
import re
import tarfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import records

from guard.kernels.errors import SchemaError
from guard.schemas import keywords, regex, scan
from guard.schemas.compiled import FrontEnd, Options

DRAFTS = ["draft4", "draft6", "draft7", "draft2019-09", "draft2020-12"]
#: The suite's remotes are served from here.
SERVER = "http://localhost:1234/"
#: Real schemas that are refused: four fail their metaschema, in one of them by a reference into what is no schema.
INVALID = {
    "Github_hard---o65826.json",
    "Github_hard---o9808.json",
    "Github_medium---o28532.json",
    "Github_medium---o54973.json",
    "Github_medium---o9802.json",
}


@pytest.fixture(autouse=True)
def _every_keyword(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lowering knows every keyword, whatever the engine supports today."""
    monkeypatch.setattr(
        scan,
        "SUPPORTED",
        frozenset(keywords.DIALECTS["openapi3.0"].keywords).union(*(d.keywords for d in keywords.DIALECTS.values())),
    )
    monkeypatch.setattr(scan, "SUPPORTED_IN_REGEX", {regex.LOOK_AHEAD, regex.LOOK_BEHIND, regex.WORD_BOUNDARY})


@pytest.fixture(scope="session")
def suite(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The official suite, unpacked."""
    folder = tmp_path_factory.mktemp("suite")
    with tarfile.open(data / "json-schema-test-suite.tar.gz") as tar:
        tar.extractall(folder, filter="data")
    return next(folder.rglob("remotes")).parent


def remotes(suite: Path, draft: str) -> dict[str, Any]:
    """The documents that a draft's tests refer to."""
    paths = [(path, path.relative_to(suite / "remotes")) for path in (suite / "remotes").rglob("*.json")]
    wanted = [(p, r) for p, r in paths if r.parts[0] == draft or not re.match(r"draft\d|v1$", r.parts[0])]
    return {SERVER + r.as_posix(): json.loads(p.read_text()) for p, r in wanted}


def failures(suite: Path, draft: str, pattern: str, *, formats: bool) -> Iterator[str]:
    """Every test of the suite on which records and suite differ, or that is refused, in words."""
    documents = remotes(suite, draft)
    for path in sorted((suite / "tests" / draft).glob(pattern)):
        plain = json.loads(path.read_text())
        for group, exact in zip(plain, json.loads(path.read_text(), parse_float=Decimal), strict=True):
            what = f"{path.stem}: {group['description']}"
            try:
                judge = records.Judge(FrontEnd(group["schema"], Options(draft=draft, formats=formats), documents))
            except SchemaError as error:
                yield f"{what}: {error}"
                continue
            for test in exact["tests"]:
                if judge.accepts(test["data"]) != test["valid"]:
                    yield f"{what}: {test['description']}"


@pytest.mark.parametrize("draft", DRAFTS)
def test_records_agree_with_every_required_test_of_the_official_suite(suite: Path, draft: str) -> None:
    """Every required test of the five drafts: none wrong, none refused."""
    assert list(failures(suite, draft, "*.json", formats=False)) == []


def test_records_agree_with_real_schemas_about_real_values(data: Path) -> None:
    """One in eight of the real schemas, with all its values."""
    wrong, judged = [], 0
    with gzip.open(data / "maskbench.jsonl.gz", "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            entry = json.loads(line)
            if number % 8 or entry["id"] in INVALID:
                continue
            judge = records.Judge(FrontEnd(entry["schema"], Options(formats=False), {}))
            for test in json.loads(line, parse_float=Decimal)["tests"]:
                judged += 1
                # With formats off a value may pass that only its format makes invalid.
                if judge.accepts(test["data"]) != test["valid"] and (test["valid"] or '"format"' not in line):
                    wrong.append((entry["id"], test["data"]))
    assert wrong == []
    assert judged > 3000

"""The lowering means what the drafts mean: records are judged on the official suite and on real schemas."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
import records
import suite

from guard.kernels.errors import SchemaError
from guard.schemas import keywords, scan
from guard.schemas.compiled import FrontEnd, Options

#: Real schemas that are refused: four fail their metaschema, in one of them by a reference into what is no schema.
INVALID = {
    "Github_hard---o65826.json",
    "Github_hard---o9808.json",
    "Github_medium---o28532.json",
    "Github_medium---o54973.json",
    "Github_medium---o9802.json",
}


#: Format tests whose texts could be valid, which takes Punycode, a table or a back-reference to tell.
LEFT_OPEN = [
    "ECMA 262 named groups and backreferences are valid: an ECMA 262 named backreference \\k<name>",
    "validation of A-label (punycode) host names: a valid host name (example.test in Hangul)",
    "validation of A-label (punycode) host names: Exceptions that are PVALID, left-to-right chars",
    "validation of A-label (punycode) host names: ZERO WIDTH NON-JOINER not preceded by Virama but matches regexp",
    "validation of an internationalized e-mail addresses: a domain label that is not in Unicode NFC is valid",
    "validation of internationalized host names: valid Chinese Punycode",
    *(
        f"validation of separators in internationalized host names: label too long if separator ignored ({separator})"
        for separator in (
            "full stop",
            "ideographic full stop",
            "fullwidth full stop",
            "halfwidth ideographic full stop",
        )
    ),
]


@pytest.fixture(autouse=True)
def _every_keyword(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lowering knows every keyword, whatever the engine supports today."""
    monkeypatch.setattr(
        scan,
        "SUPPORTED",
        frozenset(keywords.DIALECTS["openapi3.0"].keywords).union(*(d.keywords for d in keywords.DIALECTS.values())),
    )


def failures(draft: str, folder: str, *, formats: bool) -> Iterator[str]:
    """Every test of the suite on which records and suite differ, or that is refused, in words."""
    for group in suite.groups(draft, folder):
        try:
            front = FrontEnd(group.schema, Options(draft=draft, formats=formats), suite.remotes(draft))
        except SchemaError as error:
            yield f"{group.name}: {error}"
            continue
        judge = records.Judge(front)
        for description, value, valid in group.tests:
            if judge.accepts(value) != valid:
                yield f"{group.name}: {description}"


@pytest.mark.parametrize("draft", suite.DRAFTS)
def test_records_agree_with_every_required_test_of_the_official_suite(draft: str) -> None:
    """Every required test of each draft: none wrong, none refused."""
    assert list(failures(draft, "", formats=False)) == []


@pytest.mark.parametrize(("draft", "valid"), [("draft2019-09", [False, False]), ("draft2020-12", [True, False])])
def test_contains_evaluates_what_it_finds_since_2020_12_only(draft: str, valid: list[bool]) -> None:
    """By the text of 2019-09, which the validators do not follow, and the suite does not ask."""
    schema = {"contains": {"type": "integer"}, "unevaluatedItems": {"type": "string"}}
    judge = records.Judge(FrontEnd(schema, Options(draft=draft), {}))
    assert [judge.accepts(value) for value in ([1, "a"], [1, None])] == valid


@pytest.mark.parametrize("draft", suite.DRAFTS)
def test_records_agree_with_the_format_tests_of_the_official_suite(draft: str) -> None:
    """All of optional/format, save the few texts of which the trees leave it open."""
    found = list(failures(draft, "optional/format/", formats=True))
    assert [line.partition(": ")[2] for line in found] == ([] if draft in ("draft4", "draft6") else LEFT_OPEN)


@pytest.mark.parametrize("draft", suite.DRAFTS)
def test_records_agree_with_the_regex_tests_of_the_official_suite(draft: str) -> None:
    """optional/ecmascript-regex and optional/non-bmp-regex: classes, escapes, properties, astral characters."""
    assert [line for line in failures(draft, "optional/", formats=False) if "regex" in line.partition(":")[0]] == []


def test_records_agree_with_real_schemas_about_real_values(data: Path) -> None:
    """One in eight of the real schemas, with all its values."""
    wrong, refused, judged = [], [], 0
    with gzip.open(data / "maskbench.jsonl.gz", "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            entry = json.loads(line)
            if number % 8 or entry["id"] in INVALID:
                continue
            try:
                judge = records.Judge(FrontEnd(entry["schema"], Options(), {}))
            except SchemaError as error:
                refused += [str(f) for f in error.findings if f.keyword != "format"]
                continue
            for test in json.loads(line, parse_float=Decimal)["tests"]:
                judged += 1
                if judge.accepts(test["data"]) != test["valid"]:
                    wrong.append((entry["id"], test["data"]))
    assert (wrong, refused) == ([], [])
    assert judged > 3000

"""The official JSON Schema Test Suite, read from the test data."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from conftest import DATA

DRAFTS = ["draft4", "draft6", "draft7", "draft2019-09", "draft2020-12"]
#: The suite's remotes are served from here.
SERVER = "http://localhost:1234/"


@dataclass(frozen=True)
class Group:
    """A schema of the suite with its tests: (description, value, valid). Fractions are Decimals."""

    name: str  # "minLength: minLength validation"
    schema: Any
    tests: tuple[tuple[str, Any, bool], ...]


@cache
def texts() -> dict[str, str]:
    """Every JSON file of the suite by its path, "tests/draft4/type.json"."""
    out = {}
    with tarfile.open(DATA / "json-schema-test-suite.tar.gz") as tar:
        for member in tar:
            file = tar.extractfile(member)
            found = re.search(r"(?:^|/)((?:tests|remotes)/.*\.json)$", member.name)
            if file is not None and found is not None:
                out[found[1]] = file.read().decode()
    return out


@cache
def remotes(draft: str) -> dict[str, Any]:
    """The documents that a draft's tests refer to, by URI: other drafts' folders are left out."""
    wanted = {}
    for path, text in texts().items():
        folder, _, rest = path.partition("/")
        first = rest.partition("/")[0]
        if folder == "remotes" and (first == draft or not re.match(r"draft\d|v1$", first)):
            wanted[SERVER + rest] = json.loads(text)
    return wanted


def groups(draft: str, folder: str = "") -> Iterator[Group]:
    """The required tests of a draft, or those in one of its folders: "optional/format/"."""
    head = f"tests/{draft}/{folder}"
    for path, text in sorted(texts().items()):
        if path.startswith(head) and "/" not in path[len(head) :]:
            for plain, exact in zip(json.loads(text), json.loads(text, parse_float=Decimal), strict=True):
                tests = tuple((t["description"], t["data"], t["valid"]) for t in exact["tests"])
                yield Group(f"{Path(path).stem}: {plain['description']}", plain["schema"], tests)

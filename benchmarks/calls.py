"""Function calls to ask a model for: real schemas of functions, and for each a request that says what to pass.

Schemas and the values that the requests speak of are those of MaskBench (BFCL, and Glaive's), read from the data
folder. A request lists the arguments in words, in the schema's order; what asks for the call is Guard's own prompt.
"""

from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guard.calls import prompts
from guard.models import chat_messages

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("GUARD_DATA") or ROOT.parent / "shared" / "data") / "maskbench.jsonl.gz"
FAMILIES = ("BFCL", "Glaive")
MOST_WORDS = 120  #: Of a request; longer ones would measure prompts, not decoding.


@dataclass(frozen=True)
class Call:
    """One function call to ask for."""

    name: str
    schema: Any
    messages: chat_messages.Messages


def calls(count: int, seed: int = 1) -> list[Call]:
    """Draw so many, half of them from each family; always the same ones for one seed."""
    if not DATA.is_file():
        raise SystemExit(f"{DATA} is absent: set GUARD_DATA to the folder with the test data")
    by_family: dict[str, list[Call]] = {family: [] for family in FAMILIES}
    with gzip.open(DATA, "rt", encoding="utf-8") as lines:
        for line in lines:
            document = json.loads(line)
            family = next((f for f in FAMILIES if document["id"].startswith(f)), None)
            if family is not None and (made := _call(document)) is not None:
                by_family[family].append(made)
    drawn: list[Call] = []
    for place, family in enumerate(FAMILIES):
        share = (count + place) // len(FAMILIES)
        drawn += random.Random(seed).sample(by_family[family], min(share, len(by_family[family])))
    random.Random(seed).shuffle(drawn)
    return drawn


def _call(document: dict[str, Any]) -> Call | None:
    value = next((test["data"] for test in document["tests"] if test["valid"]), None)
    name = document["id"].partition("---")[2].rpartition("_")[0] or next(iter(value or {}), "")
    facts = "; ".join(f"{key.replace('_', ' ')}: {leaf}" for key, leaf in _leaves(value, name)) + "."
    if not isinstance(value, dict) or not value or len(facts.split()) > MOST_WORDS:
        return None
    instruction = f"Call the function {name}."
    return Call(document["id"], document["schema"], prompts.build(instruction, {"request": facts}, document["schema"]))


def _leaves(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _leaves(member, name)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, key)
    else:
        yield key, value if isinstance(value, str) else json.dumps(value)

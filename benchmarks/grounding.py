"""Grounded values on real documents: fields right, invented values, and what choosing them whole costs.

`python -m benchmarks.grounding` asks SmolLM2 for the values of the 24 documents in ../shared/data/extraction, with and
without patterns, token by token and whole. Seconds are the processor's.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
import time
import typing
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, create_model

import guard
from guard import models
from guard.trace import TraceStore

DATA = Path(__file__).parents[1].parent / "shared" / "data" / "extraction"
WAYS = ("greedy", "score")


def marked(types: Any, kind: str, *, patterned: bool) -> type[BaseModel]:
    """Return a kind's type with `Quoted` and `Stated` at what its documents state."""
    fields: dict[str, Any] = {}
    for name, about in types.KINDS[kind].model_fields.items():
        said = types.CLASSES[kind][name]
        inner = [one for one in typing.get_args(about.annotation) if one is not type(None)]
        is_optional = type(None) in typing.get_args(about.annotation)
        plain = inner[0] if is_optional else about.annotation
        if said in ("quoted", "list"):
            pattern = types.PATTERNS.get(name) if patterned else None
            text = Annotated[str, Field(min_length=2, max_length=80, pattern=pattern)]
            if said == "list":
                field: Any = Annotated[list[text], Field(min_length=1, max_length=5), guard.Quoted(once=True)]  # type: ignore[valid-type]
            else:
                field = Annotated[text, guard.Quoted()]
        else:
            field = Annotated[plain, guard.Stated()] if said in ("number", "date") else plain
        fields[name] = (field | None if is_optional else field, ...)
    return create_model(kind, **fields)


def is_right(got: Any, right: Any) -> bool:
    """Whether a value is the right one, white space aside."""
    if isinstance(right, list):
        return isinstance(got, list) and len(got) == len(right) and all(map(is_right, got, right))
    return " ".join(str(got).split()) == " ".join(str(right).split()) if isinstance(right, str) else bool(got == right)


def measured(
    types: Any, documents: list[Any], *, patterned: bool, choose: Any
) -> tuple[Counter[str], Counter[str], float]:
    """Return the fields that are right and all fields, by what they are, and processor seconds."""
    right: Counter[str] = Counter()
    fields: Counter[str] = Counter()
    model, seconds = models.load("smollm2"), 0.0
    kinds = {kind: marked(types, kind, patterned=patterned) for kind in types.KINDS}
    with tempfile.TemporaryDirectory() as folder:
        store = TraceStore.at(Path(folder) / "trace.db")
        for document in documents:

            def read(text: str) -> Any: ...

            read.__doc__ = types.INSTRUCTIONS[document["kind"]]
            read.__annotations__["return"] = kinds[document["kind"]]
            asked = guard.structured(model=model, trace=store, choose=choose)(read)
            began = time.process_time()
            _, call = asked.traced(document["text"])
            seconds += time.process_time() - began
            for name, value in document["gold"].items():
                said = types.CLASSES[document["kind"]][name]
                fields[said] += 1
                right[said] += is_right(json.loads(call.text)[name], value)
        store.close()
    return right, fields, seconds


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=24, help="how many, from the first")
    given = parser.parse_args()
    spec = importlib.util.spec_from_file_location("extraction_types", DATA / "types.py")
    assert spec is not None
    assert spec.loader is not None
    types = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(types)
    lines = (DATA / "docs.jsonl").read_text("utf-8").splitlines()
    documents = [json.loads(line) for line in lines[: given.documents]]
    for patterned in (False, True):
        for choose in WAYS:
            right, fields, seconds = measured(types, documents, patterned=patterned, choose=choose)
            parts = ", ".join(f"{kind} {right[kind]}/{count}" for kind, count in fields.items())
            share = right.total() / fields.total()
            print(f"{'patterns' if patterned else 'plain':9} {choose:7} {share:6.1%} right, {seconds:6.1f} s: {parts}")


if __name__ == "__main__":
    main()

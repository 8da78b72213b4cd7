"""python -m benchmarks: time to first mask, mask time and vocabulary set-up, as markdown.

It needs nothing but Guard and a tokenizer: the test data's, or that of the tests; llguidance is measured beside it
where it is installed. Real schemas are benchmarks/masks.py's. Machines differ: compare what one run printed.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import os
import platform
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

import guard
from guard.kernels.bitmask import allocate_bitmask

BENCH: dict[str, list[str]] = {"full": [], "short": []}  #: What `make bench` runs.
DATA = Path(os.environ.get("GUARD_DATA") or Path(__file__).parents[2] / "shared" / "data")
ROUNDS = 30  #: Compiles of each schema; the first is of a schema never seen before; Guard keeps it for the others.

INVOICE = {
    "type": "object",
    "properties": {
        "vendor": {"type": "string", "minLength": 1, "maxLength": 80},
        "number": {"type": "string", "pattern": "^[A-Z]{2}-\\d{4,8}$"},
        "issued": {"type": "string", "format": "date"},
        "currency": {"enum": ["EUR", "USD", "GBP", "CHF", "JPY"]},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}, "minItems": 1, "maxItems": 100},
        "total": {"type": "number", "minimum": 0},
        "paid": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
    },
    "required": ["vendor", "number", "lines", "total"],
    "additionalProperties": False,
    "$defs": {
        "line": {
            "type": "object",
            "properties": {
                "text": {"type": "string"},
                "quantity": {"type": "integer", "minimum": 1},
                "price": {"type": "number"},
            },
            "required": ["text", "quantity", "price"],
            "additionalProperties": False,
        }
    },
}
TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["name"],
        }
    },
}
CHOICES = {
    "type": "object",
    "properties": {"city": {"enum": [f"city of {n:04d}" for n in range(2000)]}},
    "required": ["city"],
}
EVENTS = {
    "oneOf": [
        {
            "type": "object",
            "properties": {"kind": {"const": kind}, kind: {"type": ["integer", "string"]}, "at": {"type": "integer"}},
            "required": ["kind", kind],
        }
        for kind in ("opened", "closed", "moved", "failed", "retried")
    ]
}
#: Schemas with a value that is walked token by token.
CASES: dict[str, tuple[Any, Any]] = {
    "a closed object": (
        INVOICE,
        {
            "vendor": "Müller & Söhne GmbH",
            "number": "RE-20391",
            "issued": "2026-02-28",
            "currency": "EUR",
            "lines": [{"text": f"part no. {n}", "quantity": n, "price": 12.5 * n} for n in range(1, 9)],
            "total": 450.25,
            "paid": None,
        },
    ),
    "a recursive tree": (
        TREE,
        {"name": "root", "children": [{"name": n, "children": [{"name": "leaf"}]} for n in "abcdef"]},
    ),
    "one of 2,000 strings": (CHOICES, {"city": "city of 1234"}),
    "oneOf five events": (EVENTS, {"kind": "moved", "moved": "from here to there", "at": 1700000000}),
    "any JSON": (True, {"a": [1, 2.5, {"b": None}], "c": "some text, and some more of it", "d": {"e": True}}),
}


class Engine(Protocol):
    """What is measured: a matcher has fill() -> None, accept(token) -> bool."""

    name: str

    def start(self, schema: Any) -> Any:
        """Compile a schema and return a matcher."""


class Guard:
    """Guard, with keys in any order as its peers have them."""

    name = f"guard {guard.__version__}" if hasattr(guard, "__version__") else "guard"

    def __init__(self, tokenizer: Any) -> None:
        self.vocabulary = guard.Vocabulary.from_tokenizer(tokenizer)
        self.row = allocate_bitmask(1, self.vocabulary.size)

    def start(self, schema: Any) -> Any:
        """Compile a schema and return a matcher."""
        matcher = guard.compile(schema, key_order="any").matcher(self.vocabulary)
        return _Matcher(lambda: matcher.fill_bitmask(self.row), matcher.accept)


class LLGuidance:
    """llguidance, with its defaults."""

    def __init__(self, tokenizer: Any) -> None:
        import llguidance
        import llguidance.hf
        import llguidance.numpy

        self.library = llguidance
        self.name = f"llguidance {llguidance.__version__}"
        self.tokenizer = llguidance.hf.from_tokenizer(tokenizer)
        self.row = llguidance.numpy.allocate_token_bitmask(1, self.tokenizer.vocab_size)
        self.fill = llguidance.numpy.fill_next_token_bitmask

    def start(self, schema: Any) -> Any:
        """Compile a schema and return a matcher."""
        grammar = json.dumps({"grammars": [{"json_schema": schema}]})
        matcher = self.library.LLMatcher(self.tokenizer, grammar, log_level=0)
        if matcher.is_error():
            raise ValueError(matcher.get_error())
        return _Matcher(lambda: self.fill(matcher, self.row), matcher.consume_token)


class _Matcher:
    def __init__(self, fill: Callable[[], Any], accept: Callable[[int], bool]) -> None:
        self.fill = fill
        self.accept = accept


def real_schemas(seed: int) -> list[Any]:
    """Return MaskBench's schemas with their instances, in the seed's order; [] where they are absent, which is told."""
    path = DATA / "maskbench.jsonl.gz"
    if not path.is_file():
        print(f"{path.name} is absent: nothing is measured with real schemas.", file=sys.stderr)
        return []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        docs = [json.loads(line) for line in lines]
    random.Random(seed).shuffle(docs)
    return docs


def tokenizer() -> tuple[str, Any]:
    """Load Qwen3's tokenizer from the test data, else make that of the tests."""
    import transformers

    qwen = DATA / "qwen3-tokenizer"
    if qwen.is_dir():
        loaded = transformers.PreTrainedTokenizerFast(
            tokenizer_file=str(qwen / "tokenizer.json"), eos_token="<|im_end|>"
        )
        return "Qwen3", loaded
    print(f"{qwen} is absent: measured with the tests' vocabulary of 350 tokens instead\n", file=sys.stderr)
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    import tiny

    return "tiny", tiny.tokenizer()


def microseconds(call: Callable[[], Any]) -> float:
    """Time one call."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e6


def first_masks(engine: Engine, schema: Any) -> list[float]:
    """Time from a schema to its first mask."""
    return [microseconds(lambda: engine.start(schema).fill()) for _ in range(ROUNDS)]


def masks(engine: Engine, schema: Any, tokens: list[int]) -> list[float]:
    """Time fill and accept for each token of a value, twice over: the second walk is what later requests see."""
    times = []
    for _ in range(2):
        matcher = engine.start(schema)
        for token in tokens:
            times.append(microseconds(matcher.fill))
            start = time.perf_counter()
            if not matcher.accept(token):
                raise ValueError(f"{engine.name} rejects a valid value")
            times[-1] += (time.perf_counter() - start) * 1e6
    return times


def schema_rows(engines: list[Engine], encode: Callable[[str], list[int]]) -> Iterator[list[str]]:
    """Measure every schema with every engine."""
    for name, (schema, value) in CASES.items():
        tokens = encode(json.dumps(value, ensure_ascii=False))
        for engine in engines:
            try:
                first = first_masks(engine, schema)
                walked = masks(engine, schema, tokens)
            except (ValueError, guard.SchemaError) as error:
                yield [name, engine.name, "refused", str(error).splitlines()[0][:60], "", "", ""]
                continue
            steps = [f"{np.percentile(walked, q):,.1f}" for q in (50, 99)] + [f"{np.mean(walked):,.1f}"]
            yield [name, engine.name, f"{first[0]:,.0f}", f"{np.median(first):,.0f}", *steps]


def table(header: list[str], rows: Iterator[list[str]]) -> None:
    """Print a markdown table, a row as soon as it is there."""
    print("| " + " | ".join(header) + " |\n|" + ":--|" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
    print()


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Guard, and peers beside it.")
    parser.parse_args()
    name, loaded = tokenizer()
    peer = importlib.util.find_spec("llguidance") is not None
    print(f"## Guard, measured on {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    print(f"### Vocabulary set-up, {name}, {len(loaded):,} tokens\n")
    engines: list[Engine] = []

    def set_up() -> Iterator[list[str]]:
        for kind in (Guard, LLGuidance) if peer else (Guard,):
            start = time.perf_counter()
            engines.append(kind(loaded))
            yield [engines[-1].name, f"{time.perf_counter() - start:.2f}"]
            engines[-1].start({"type": "integer"}).fill()  # what a process pays once is not a schema's

    table(["engine", "s"], set_up())
    if not peer:
        print("llguidance is not installed (`make bench` installs it): Guard alone.\n")
    print("### Schemas: microseconds to the first mask, and for a mask with its accept\n")
    header = ["schema", "engine", "first mask, new", "first mask, again", "mask p50", "mask p99", "mask avg"]
    table(header, schema_rows(engines, lambda text: loaded.encode(text, add_special_tokens=False)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Random walks under masks with grounded values: real schemas, whose texts and numbers come from a document.

GROUNDED_WALKS=4000 walks so often, instead of a few times.
"""

from __future__ import annotations

import contextlib
import copy
import gzip
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

import guard
from guard.decoding.mask_buffer import allowed_tokens
from guard.errors import SchemaError
from guard.kernels.bitmask import allocate_bitmask
from guard.output.grounding import GroundingChecker
from guard.output.target import from_any
from guard.schemas.compiled import Compiled, single_bytes
from guard.schemas.grounding.keyword import KEYWORD
from guard.schemas.grounding.sources import Sources

DATA = Path(__file__).parents[2].parent / "shared" / "data"
WALKS = int(os.environ.get("GROUNDED_WALKS", "40"))
DOCUMENTS = 200
STEPS = 400  #: Tokens of one answer at most.
BELOW = ("properties", "$defs", "definitions")


def documents(draw: random.Random) -> list[str]:
    """Return texts with lines of real ones."""
    texts = [json.loads(line)["text"] for line in (DATA / "extraction" / "docs.jsonl").read_text("utf-8").splitlines()]
    lines = [line for text in texts for line in text.splitlines()]
    made = ["\n".join(draw.sample(lines, draw.randrange(3, 30))) for _ in range(DOCUMENTS - len(texts))]
    return texts + made


def marked(schema: Any, draw: random.Random) -> Any:
    """Mark most plain texts and numbers of a schema; where a value may stand nowhere, null may come instead."""
    if not isinstance(schema, dict):
        return schema
    out = dict(schema)
    for word in BELOW:
        if isinstance(out.get(word), dict):
            out[word] = {name: marked(below, draw) for name, below in out[word].items()}
    if isinstance(out.get("items"), dict):
        out["items"] = marked(out["items"], draw)
    is_plain = not {"enum", "const", "$ref", "allOf", "anyOf", "oneOf", "not", "if"} & set(out)
    if out.get("type") in ("string", "number", "integer") and is_plain and draw.random() < 0.8:
        form = out.get("format")
        if out["type"] != "string" or form in (None, "date", "email", "hostname", "uri"):
            within = draw.choice(["cell", "line", "paragraph"])
            out[KEYWORD] = "input" if draw.random() < 0.5 else {"input": "input", "within": within}
            out["type"] = [out["type"], "null"]
    return out


def cases(count: int, seed: int) -> Iterator[tuple[Compiled, Compiled, Sources, random.Random]]:
    """Yield schemas that can be marked, each with a document that has an answer."""
    draw = random.Random(seed)
    texts = documents(draw)
    with gzip.open(DATA / "maskbench.jsonl.gz", "rt", encoding="utf-8") as file:
        schemas = [json.loads(line)["schema"] for line in file]
    while count:
        schema = marked(copy.deepcopy(draw.choice(schemas)), draw)
        if KEYWORD not in json.dumps(schema):
            continue
        sources = Sources({"input": draw.choice(texts)})
        try:
            whole = guard.compile(schema)
            compiled = whole.grounded(sources)
            compiled.check_satisfiable()
        except SchemaError:
            continue
        count -= 1
        yield whole, compiled, sources, draw


def walk(compiled: Compiled, draw: random.Random) -> str | None:
    """Write a random answer by the masks; None where no answer is short enough."""
    vocabulary = tiny.vocabulary()
    matcher = compiled.matcher(vocabulary)
    least = matcher.distance()
    if least < 0 or least > STEPS:
        return None
    bitmask = allocate_bitmask(1, vocabulary.size)
    written = []
    for left in range(least + draw.randrange(STEPS), 0, -1):
        matcher.fill_bitmask(bitmask, 0, left)
        allowed = allowed_tokens(bitmask[0], None)
        assert len(allowed), ("a dead end", b"".join(map(vocabulary.token_bytes, written)))
        assert np.all(np.asarray(allowed) < vocabulary.size)
        token = int(draw.choice(list(allowed)))
        assert matcher.accept(token)
        if token in vocabulary.eos:
            return b"".join(map(vocabulary.token_bytes, written)).decode()
        written.append(token)
    raise AssertionError(("no end in the budget", b"".join(map(vocabulary.token_bytes, written))))


@pytest.mark.skipif(not (DATA / "maskbench.jsonl.gz").is_file(), reason="the schemas are not there")
def test_walks_end_and_say_what_the_document_says() -> None:
    ended = grounded = 0
    for whole, compiled, sources, draw in cases(WALKS, seed=int(os.environ.get("GROUNDED_SEED", "23"))):
        try:
            text = walk(compiled, draw)
        except SchemaError:
            continue  # a limit
        if text is None:
            continue
        located = GroundingChecker(whole).check(text, sources)
        assert located.findings == (), (whole.schema, sources.texts, text)
        ended += 1
        grounded += len(located.places)
    print(f"{ended} walks ended, {grounded} grounded values")
    assert ended > WALKS // 2
    assert grounded


def leaf(draw: random.Random) -> Any:
    """Return a schema of a scalar, marked or not."""
    string, number = {"type": "string", KEYWORD: "input"}, {"type": "number", KEYWORD: "input"}
    return draw.choice([
        *(string, {**string, "pattern": "^c"}, {**string, "minLength": 4}, {**string, "type": ["string", "null"]}),
        *({**string, "format": "date"}, number, {**number, "type": "integer"}, {"type": "integer"}, {"type": "null"}),
        *({"type": "string"}, {"type": "string", "pattern": "^d"}, {"enum": ["cat", "dog", 5]}, {"const": "dog"}, True),
    ])  # fmt: skip


def drawn(draw: random.Random, depth: int) -> Any:
    """Return a schema in which branches overlap."""
    kind = draw.random()
    if depth == 0 or kind < 0.3:
        return leaf(draw)
    if kind < 0.6:
        branches = [drawn(draw, depth - 1), drawn(draw, depth - 1)]
        return {draw.choice(["anyOf", "oneOf", "oneOf", "allOf"]): branches}
    if kind < 0.7:
        return {"$ref": "#/$defs/other"}
    if kind < 0.85:
        head = {"prefixItems": [drawn(draw, depth - 1)]} if draw.random() < 0.4 else {}
        return {"type": "array", "items": drawn(draw, depth - 1), "maxItems": 2, **head}
    members = {"properties": {name: drawn(draw, depth - 1) for name in "ab"}, "additionalProperties": False}
    return {"type": "object", **members, **draw.choice([{}, {"required": ["a"]}])}


def value(draw: random.Random, depth: int) -> Any:
    """Return a value that such a schema may have."""
    kind = draw.random()
    if depth == 0 or kind < 0.6:
        return draw.choice(["cat", "dog", "a cat", "c", 5, 7, 5.5, None, "2026-05-14", "2026-05-15"])
    if kind < 0.8:
        return [value(draw, depth - 1) for _ in range(draw.randrange(3))]
    return {name: value(draw, depth - 1) for name in "ab" if draw.random() < 0.7}


def test_masks_and_the_check_agree_on_branches_that_overlap() -> None:
    draw, sources = random.Random(7), Sources({"input": "a cat has 5 and 5.50\n14.05.2026"})
    agreed = 0
    for _ in range(WALKS * 20):
        schema = {"allOf": [drawn(draw, 3)], "$defs": {"other": drawn(draw, 1)}}
        with contextlib.suppress(guard.SchemaError):
            target = from_any(schema, {})
            if target.grounding is None:
                continue
            compiled = target.compiled.grounded(sources)
            for text in {json.dumps(value(draw, 3)) for _ in range(20)}:
                matcher = compiled.matcher(single_bytes())
                is_allowed = all(map(matcher.accept, text.encode())) and matcher.can_stop()
                is_right = not target.check(text)[1] and not target.grounding.check(text, sources).findings
                assert is_allowed == is_right, (schema, text)
                agreed += is_right
    assert agreed > WALKS

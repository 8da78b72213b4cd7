"""Mutations of schemas as JSON: what flipping bytes takes hours to find. All of them follow from a seed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from random import Random
from typing import Any

from guard.schemas import keywords, string_formats

WORDS = sorted(frozenset().union(*(dialect.keywords for dialect in keywords.DIALECTS.values())))
SCHEMAS: tuple[Any, ...] = (
    *(
        True,
        False,
        {},
        {"type": "string"},
        {"type": "integer", "minimum": 1},
        {"const": {"a": 1}},
        {"$ref": "#/$defs/x"},
    ),
    *({"items": {"$ref": "#"}}, {"required": ["a"]}, {"enum": [1, "a", None]}, {"not": {}}, {"pattern": "^a+$"}),
    *({"properties": {"a": {"type": "null"}}}, {"$dynamicRef": "#n"}, {"$dynamicAnchor": "n"}, {"$anchor": "k"}),
    *({"$id": "urn:b", "$defs": {"y": True}}, {"$schema": "http://json-schema.org/draft-04/schema#"}, {"id": "x#y"}),
)
SCALARS: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 10**20, 2.5, 1e300, 5e-324, "", "a", "string", "object", "array", "integer"),
    *("#", "#/", "#/$defs/x", "#k", "urn:b", "//[", "http://x/y", "^a(b|c)*$", "(?=a)", "\\p{L}", "(", "é"),
    *("\ud800", "\0", "~1"),
)
MOST_NODES = 400  #: Of a schema that is still grown.


def mutated(data: bytes, most: int, seed: int, flip: Callable[[bytes, int], bytes]) -> bytes:
    """Return a mutation of an input: a byte of options, then JSON text. `flip` mutates bytes as libFuzzer does."""
    r = Random(seed)
    if r.random() < 0.25 or len(data) < 2:
        return flip(data, most)
    try:
        schema = json.loads(data[1:])
    except (ValueError, RecursionError):
        schema = copy.deepcopy(r.choice(SCHEMAS))
    for _ in range(r.randint(1, 4)):
        schema = changed(r, schema)
    out = data[:1] + json.dumps(schema, ensure_ascii=r.random() < 0.5).encode("utf-8", "surrogatepass")
    return out if len(out) <= most else data[:most]


def changed(r: Random, schema: Any) -> Any:
    """Return a schema with one place changed."""
    places: list[tuple[Any, Any]] = []  # a container and a key or index
    todo = [schema]
    while todo and len(places) < MOST_NODES:
        item = todo.pop()
        if isinstance(item, dict):
            places += [(item, key) for key in item]
            todo += item.values()
        elif isinstance(item, list):
            places += [(item, index) for index in range(len(item))]
            todo += item
    if not places or r.random() < 0.05:
        return {r.choice(WORDS): part(r), r.choice(WORDS): part(r)}
    into, key = r.choice(places)
    act = r.random()
    if act < 0.35:
        into[key] = part(r)
    elif act < 0.5:
        into[key] = {r.choice(WORDS): into[key]}
    elif act < 0.65 and isinstance(into, dict):
        into[r.choice(WORDS)] = into.pop(key)
    elif act < 0.85 and isinstance(into, dict):
        into[r.choice(WORDS)] = part(r)
    elif act < 0.9:
        into[key] = [into[key], part(r)]
    elif act < 0.95:
        other, at = r.choice(places)  # a copy: what is inside itself has no end
        into[key] = json.loads(json.dumps(other[at]))
    elif isinstance(into, dict):
        del into[key]
    return schema


def part(r: Random) -> Any:
    """Return something that a keyword may hold, a copy that may be changed."""
    return copy.deepcopy(_part(r))


def _part(r: Random) -> Any:
    kind = r.randrange(6)
    if kind == 0:
        return r.choice(SCALARS)
    if kind == 1:
        return [r.choice(SCHEMAS) for _ in range(r.randint(1, 3))]
    if kind == 2:
        return {r.choice(["a", "b", "", "é", "^a", r.choice(WORDS)]): r.choice(SCHEMAS) for _ in range(r.randint(1, 3))}
    if kind == 3:
        return r.choice(sorted(string_formats.KNOWN))
    if kind == 4:
        return [r.choice(SCALARS) for _ in range(r.randint(0, 3))]
    return r.choice(SCHEMAS)

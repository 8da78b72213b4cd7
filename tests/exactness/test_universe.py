"""Sound and complete at byte level: random schemas against a universe of small texts, judged by three referees."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from properties import check_soundness, check_spellings, check_universe, within_limits
from referees import DuplicateKeyError, Referees, parse
from strategies import Case, byte_vocabulary, case, universe

SCHEMAS = 400  #: Of each kind.
#: Under these the order of keys depends on the alternative that a value meets.
ALTERNATIVES = "anyOf oneOf not if dependentRequired dependentSchemas"


def run(check: Callable[[Case], Counter[str]], seed: int, **kind: Any) -> Counter[str]:
    """Check schemas drawn from consecutive seeds; the referees must hardly ever differ."""
    count: Counter[str] = Counter()
    for number in range(SCHEMAS):
        count += within_limits(check, case(Random(seed + number), **kind))
    assert count["differ"] < 0.01 * (count["verdicts"] + count["texts"]), count
    assert count["limits"] <= 0.01 * SCHEMAS, count
    return count


@pytest.mark.parametrize(("first", "seed"), [(True, 3_000_000), (False, 4_000_000)], ids=["first set", "all keywords"])
def test_accepted_is_what_is_valid_and_alive_is_what_can_be_completed(first: bool, seed: int) -> None:
    """Every prefix of every text of the universe, in any order, white space and spelling."""
    count = run(check_universe, seed, first=first)
    assert count["verdicts"] > 100 * SCHEMAS, count
    assert count["completions"] > SCHEMAS, count


def test_what_is_accepted_is_valid_under_every_option() -> None:
    """Each schema under one choice of order, white space and spelling."""
    assert run(check_soundness, 5_000_000)["accepted"] > SCHEMAS


def test_a_value_is_accepted_in_every_way_to_write_it() -> None:
    """Values that the engine itself wrote, respelled: white space, escapes, order of keys, zeros after the point."""
    assert run(check_spellings, 6_000_000)["texts"] > SCHEMAS


def test_what_json_dumps_writes_in_the_order_of_the_schema_is_accepted_by_default() -> None:
    """Every valid value of the universe, with the default options."""
    accepted = 0
    for number in range(SCHEMAS):
        drawn = case(Random(7_000_000 + number), options={}, without=ALTERNATIVES)
        judge, matcher = Referees(drawn.schema), drawn.matcher(byte_vocabulary())
        for value in values():
            if not judge.quick(value):
                continue
            text = json.dumps(in_order(value, [drawn.schema], drawn.schema), ensure_ascii=False).encode()
            matcher.reset()
            took = matcher.accept_bytes(text) and matcher.can_stop()
            assert took or judge.verdict(text) is not True, f"{drawn}: rejects {text!r}"
            accepted += took
    assert accepted > 5 * SCHEMAS


def values() -> list[Any]:
    """The values of the universe: floats that are no integers, and nothing that repeats a key."""
    out = []
    for text in universe():
        try:
            parse(text)
        except DuplicateKeyError:
            continue
        out.append(json.loads(text, parse_float=_canonical))
    return out


def _canonical(number: str) -> float | int:
    value = float(number)
    return int(value) if value.is_integer() else value


def in_order(value: Any, schemas: list[Any], root: Any) -> Any:
    """Put keys in the order of the schema: `properties` as they are met, then names only required, then the others."""
    if not isinstance(value, (dict, list)):
        return value
    applying = [s for schema in schemas for s in _in_place(schema, root)]
    if isinstance(value, list):
        return [in_order(item, _item_schemas(applying, at), root) for at, item in enumerate(value)]
    names = [name for keyword in ("properties", "required") for s in applying for name in s.get(keyword, ())]
    keys = dict.fromkeys([*(name for name in names if name in value), *value])
    return {key: in_order(value[key], _member_schemas(applying, key), root) for key in keys}


def _in_place(schema: Any, root: Any) -> list[dict[str, Any]]:
    if not isinstance(schema, dict):
        return []
    out = [schema]
    for keyword, inner in schema.items():
        if keyword == "$ref":
            out += _in_place(root if inner == "#" else root["$defs"]["tree"], root)
        elif keyword == "allOf":
            out += [s for one in inner for s in _in_place(one, root)]
    return out


def _item_schemas(applying: list[dict[str, Any]], at: int) -> list[Any]:
    out = []
    for schema in applying:
        head = schema.get("prefixItems", [])
        out += [head[at] if at < len(head) else schema.get("items"), schema.get("contains")]
    return out


def _member_schemas(applying: list[dict[str, Any]], key: str) -> list[Any]:
    out = []
    for schema in applying:
        if key in schema.get("properties", {}):
            out.append(schema["properties"][key])
        else:
            out += [*schema.get("patternProperties", {}).values(), schema.get("additionalProperties")]
    return out

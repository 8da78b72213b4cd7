"""Schemas in providers' dialects: equal or weaker, never stronger, and back again."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from random import Random
from typing import Any

import jsonschema_rs
import pytest
from strategies import case, universe

from guard.output import provider_schema
from guard.output.provider_schema import ANTHROPIC, OPENAI, DialectError, Sent, loose, strict

CASES = 1_500  #: Schemas of each property; a quarter of them is carried at least.
NAMES = ("a", "b", "c", "x/y~", "é")


class Drawn:
    """Draws schemas of the kind that applications have: closed, typed, with definitions; and values of them."""

    def __init__(self, seed: int) -> None:
        self.r = Random(seed)
        self.root: dict[str, Any] = {}
        self.root = {**self.schema(3), "$defs": {}}
        self.root["$defs"] = {"node": self.object(1), "leaf": self.scalar(), "list": self.array(1)}

    def schema(self, depth: int) -> dict[str, Any]:
        r = self.r
        if depth == 0 or r.random() < 0.15:
            return self.scalar()
        if r.random() < 0.12:
            return {"$ref": f"#/$defs/{r.choice(['node', 'leaf', 'list'])}", "description": "a reference"}
        kind = r.choice([self.object, self.object, self.array, self.union])
        drawn = kind(depth - 1)
        if r.random() < 0.15:
            drawn["allOf"] = [r.choice([{"minProperties": 1}, {"not": {"const": {}}}, {"type": ["object", "array"]}])]
        return drawn

    def object(self, depth: int) -> dict[str, Any]:
        properties = {name: self.schema(depth) for name in self.r.sample(NAMES, self.r.randint(0, 4))}
        required = [name for name in properties if self.r.random() < 0.5]
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    def array(self, depth: int) -> dict[str, Any]:
        drawn = {"type": "array", "items": self.schema(depth), "maxItems": self.r.randint(1, 3)}
        return drawn | ({"prefixItems": [self.schema(depth)]} if self.r.random() < 0.2 else {})

    def union(self, depth: int) -> dict[str, Any]:
        branches = [self.schema(depth) for _ in range(self.r.randint(1, 3))]
        return {"anyOf": branches + [{"type": "null"}] * (self.r.random() < 0.4)}

    def scalar(self) -> dict[str, Any]:
        r = self.r
        choices: list[dict[str, Any]] = [
            {"type": r.choice(["string", "integer", "number", "boolean", "null"])},
            {"type": ["string", "null"], "maxLength": 3, "description": "short"},
            {"type": "integer", "minimum": r.randint(-3, 3), "multipleOf": r.choice([1, 2])},
            {"type": "string", "pattern": r.choice(["^[ab]+$", "a", "^a|b$", "^x{1,2}$"])},
            {"type": "string", "format": r.choice(["date", "uri", "email"])},
            {"enum": r.sample(["a", "b", 1, 2.5, True, False, None, 0], r.randint(1, 4))},
            {"const": r.choice(["a", 1, None, False])},
        ]
        return r.choice(choices)

    def value(self, schema: dict[str, Any], depth: int = 6) -> Any:
        """Draw a value that may well be valid."""
        r = self.r
        if "$ref" in schema:
            return self.value(self.resolved(schema), depth - 1) if depth > 0 else None
        if "anyOf" in schema:
            return self.value(r.choice(schema["anyOf"]), depth - 1) if depth > 0 else None
        if "enum" in schema:
            return r.choice(schema["enum"])
        if "const" in schema:
            return schema["const"]
        kind = schema["type"] if isinstance(schema["type"], str) else r.choice(schema["type"])
        if kind == "object":
            named = schema["properties"].items()
            kept = {k: s for k, s in named if k in schema["required"] or (depth > 0 and r.random() < 0.5)}
            return {key: self.value(part, depth - 1) for key, part in kept.items()}
        if kind == "array":
            first = schema.get("prefixItems", [])
            count = r.randint(0, schema["maxItems"]) if depth > 0 else 0
            return [self.value(first[i] if i < len(first) else schema["items"], depth - 1) for i in range(count)]
        texts = ["", "a", "ab", "x", "2024-02-29", "a@b.c", "urn:x"]
        return {
            "string": r.choice(texts),
            "integer": r.randint(-4, 4),
            "number": r.choice([1, 0.5, -2]),
            "boolean": r.random() < 0.5,
            "null": None,
        }[kind]

    def resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        resolved: dict[str, Any] = self.root["$defs"][schema["$ref"].rpartition("/")[2]]
        return resolved

    def holds(self, schema: dict[str, Any], value: Any) -> bool:
        whole = {**schema, "$defs": self.root["$defs"]}
        return bool(jsonschema_rs.Draft202012Validator(whole, validate_formats=True).is_valid(value))

    def image(self, schema: dict[str, Any], value: Any) -> tuple[Any, Any]:
        """Return a valid value as the strict dialect has it, and what should come back."""
        if "$ref" in schema:
            return self.image(self.resolved(schema), value)
        if "anyOf" in schema:
            return self.image(next(part for part in schema["anyOf"] if self.holds(part, value)), value)
        if isinstance(value, dict):
            sent, back = {}, {}
            for key, part in schema["properties"].items():
                if key in value:
                    sent[key], back[key] = self.image(part, value[key])
                else:
                    sent[key] = None
                    if self.holds(part, None):  # absent or null: the same to whoever has null there
                        back[key] = None
            return sent, back
        if isinstance(value, list):
            first = schema.get("prefixItems", [])
            parts = [self.image(first[i] if i < len(first) else schema["items"], v) for i, v in enumerate(value)]
            return [sent for sent, _ in parts], [back for _, back in parts]
        return value, value


def sound(schema: Any) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)


def test_what_is_valid_can_be_sent_strictly_and_comes_back() -> None:
    count: Counter[str] = Counter()
    for seed in range(CASES):
        drawn = Drawn(seed)
        try:
            sent = strict(drawn.root, OPENAI)
        except DialectError:
            count["not carried"] += 1
            continue
        count["carried"] += 1
        check_strict(sent.schema)
        judge = sound(sent.schema)
        for _ in range(8):
            value = drawn.value(drawn.root)
            if not drawn.holds(drawn.root, value):
                continue
            image, back = drawn.image(drawn.root, value)
            wire = {"value": image} if sent.undo({"value": 1}) == 1 else image
            assert judge.is_valid(wire), f"seed {seed}: {wire} of {value}, {drawn.root} as {sent.schema}"
            assert equal(sent.undo(wire), back), f"seed {seed}: {wire} came back as {sent.undo(wire)}, not {back}"
            assert equal(json.loads(sent.text(json.dumps(wire))), back)
            count["values"] += 1
            count["undone"] += not equal(wire, back)
    assert count["carried"] > CASES / 4, count
    assert count["values"] > CASES, count
    assert count["undone"] > CASES / 4, count


def test_what_is_valid_can_be_sent_to_anthropic_and_comes_back() -> None:
    count: Counter[str] = Counter()
    for seed in range(CASES):
        drawn = Drawn(seed)
        try:
            sent = strict(drawn.root, ANTHROPIC)
        except DialectError:
            continue
        judge = sound(sent.schema)
        for _ in range(8):
            value = drawn.value(drawn.root)
            if drawn.holds(drawn.root, value):
                wire = {"value": value} if not sent.is_identity else value
                assert judge.is_valid(wire), f"seed {seed}: {wire}, {drawn.root} as {sent.schema}"
                assert equal(sent.undo(wire), value)
                count["values"] += 1
    assert count["values"] > CASES, count


@pytest.mark.parametrize("seed", range(3))
def test_any_schema_at_all_is_carried_weaker_or_not_at_all(seed: int) -> None:
    count: Counter[str] = Counter()
    r = Random(seed)
    texts = [json.loads(text) for text in universe()]
    for _ in range(CASES // 3):
        schema = case(r).schema
        judge = sound(schema)
        for send in (lambda s: strict(s, ANTHROPIC), loose):
            try:
                sent = send(schema)
            except DialectError:
                continue
            weaker = sound(sent.schema)
            for value in texts:
                if judge.is_valid(value):
                    wire = value if sent.is_identity else {"value": value}
                    assert weaker.is_valid(wire), f"{value} is valid under {schema}, not under {sent.schema}"
                    assert equal(sent.undo(wire), value)
                    count[send.__name__] += 1
        try:
            check_strict(strict(schema, OPENAI).schema)
        except DialectError:
            continue
        count["openai"] += 1
    assert count["loose"] > 1_000, count
    assert count["<lambda>"] > 200, count
    assert count["openai"] > 10, count


def check_strict(schema: Any) -> None:
    """Assert that OpenAI's strict mode takes a schema."""
    assert schema["type"] == "object"
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if part.get("type") == "object":
            assert part["additionalProperties"] is False
            assert part["required"] == list(part["properties"])
        assert part.get("type") in {"object", "array", "string", "number", "integer", "boolean", "null", None}
        assert part.keys() & {"type", "anyOf", "$ref"}, part
        assert part.keys() <= {
            *("type", "properties", "required", "additionalProperties", "items", "enum", "anyOf", "$ref", "$defs"),
            *("title", "description", "format", *OPENAI.keywords),
        }, part
        waiting += [*part.get("properties", {}).values(), *part.get("anyOf", ()), *part.get("$defs", {}).values()]
        waiting += [part["items"]] if "items" in part else []


def equal(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON, in the same order of keys; 1 and true are not."""
    return json.dumps(one) == json.dumps(other)


# ---- One by one ------------------------------------------------------------------------------------------------------


def closed(properties: dict[str, Any], *required: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
        **more,
    }


TEXT = {"type": "string"}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "object", "properties": {"a": TEXT}}, "open to properties"),
        (closed({}, patternProperties={"^x": TEXT}), "open to properties"),
        (closed({"a": True}, "a"), "any value at all"),
        (closed({"a": {"type": "array"}}, "a"), "any value at all"),
        (closed({"a": TEXT}, "b"), "requires 'b'"),
        ({"enum": [{"a": 1}]}, "as a constant"),
        ({"enum": []}, "no value at all"),
        ({"$ref": "https://example.com/s"}, "a reference to"),
        ({"$ref": "#/$defs/none"}, "which is not there"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "leads to itself"),
        (closed({str(i): TEXT for i in range(5_001)}), "5,001 properties"),
        (closed({"a": {"enum": [str(i) for i in range(1_001)]}}), "values in enums"),
        # Null is what one alternative leaves out and what another has.
        (
            {"anyOf": [closed({"a": TEXT, "k": {"const": 1}}, "k"), closed({"a": {"type": "null"}}, "a")]},
            "null where one alternative has it",
        ),
    ],
)
def test_what_a_dialect_can_t_say_is_refused(schema: Any, words: str) -> None:
    with pytest.raises(DialectError, match=words):
        strict(schema, OPENAI)


def test_nesting_beyond_the_dialect_is_refused() -> None:
    schema: Any = TEXT
    for _ in range(11):
        schema = closed({"a": schema}, "a")
    with pytest.raises(DialectError, match="nested deeper"):
        strict(schema, OPENAI)
    for _ in range(1_000):
        schema = closed({"a": schema}, "a")
    with pytest.raises(DialectError, match="nested too deep"):
        strict(schema, ANTHROPIC)


@pytest.mark.parametrize(
    ("schema", "expected", "dropped"),
    [
        ({"type": "string", "minLength": 2}, TEXT, (": minLength",)),
        ({"type": "string", "pattern": "a"}, TEXT, (": pattern",)),
        ({"type": "string", "pattern": "^a+$"}, {"type": "string", "pattern": "^a+$"}, ()),
        ({"type": "string", "pattern": "^a$|^b$"}, TEXT, (": pattern",)),
        ({"type": "integer", "minimum": 1}, {"type": "integer", "minimum": 1}, ()),
        ({"type": ["string", "null"]}, {"anyOf": [TEXT, {"type": "null"}]}, ()),
        ({"type": "string", "nullable": True}, {"anyOf": [TEXT, {"type": "null"}]}, ()),
        ({"const": "a"}, {"type": "string", "enum": ["a"]}, ()),
        ({"oneOf": [TEXT, {"type": "null"}]}, {"anyOf": [TEXT, {"type": "null"}]}, (": oneOf",)),
        ({"type": "string", "not": {"const": "a"}}, TEXT, (": not",)),
        ({"allOf": [TEXT]}, TEXT, ()),
        ({"type": "string", "description": "d", "default": ""}, {"type": "string", "description": "d"}, ()),
    ],
)
def test_what_is_sent_of_one_keyword(schema: Any, expected: Any, dropped: tuple[str, ...]) -> None:
    sent = strict(closed({"a": schema}, "a"), OPENAI)
    assert sent.schema["properties"]["a"] == expected
    assert sent.dropped == tuple(f"/properties/a{line}" for line in dropped)
    assert sent.is_identity


def test_a_format_that_is_not_enforced_is_not_sent() -> None:
    schema = closed({"a": {"type": "string", "format": "date"}}, "a")
    assert strict(schema, OPENAI).schema["properties"]["a"] == {"type": "string", "format": "date"}
    assert strict(schema, OPENAI, formats=False).schema["properties"]["a"] == TEXT


def test_undo_keeps_numbers_order_and_what_it_can_t_read() -> None:
    sent = strict(closed({"z": {"type": "array", "items": {"type": "number"}}, "a": TEXT, "n": TEXT}, "z"), OPENAI)
    long = "9" * 5_000
    text = f'{{"z": [1.50, 1E+400, -0, {long}], "a": "\\ud83d\\ude00", "n": null}}'
    assert sent.text(text) == f'{{"z": [1.50, 1E+400, -0, {long}], "a": "😀"}}'
    for broken in ("", "{", '{"a": 1, "a": null}', "[" * 100_000):
        assert sent.text(broken) == broken


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"value": [1, {"a": {}}]}', '[1, {"a": {}}]'),
        (' {\n "value" :\t{"a": {"value": "}"}} \n}\n', '{"a": {"value": "}"}}'),
        ('{"value": 12', "12"),
        ('{"value": {"a": {}}', '{"a": {}'),
        ("[1, 2] ", "[1, 2] "),
        ('{"values": 1}', '{"values": 1}'),
        ('{"val', '{"val'),
        ('{"value"', '{"value"'),
        ('{"value": 1, "more": 2}', '1, "more": 2'),
        ("", ""),
        ("{}", "{}"),
        ('{"value": 1} }', "1}"),
    ],
)
def test_a_wrapper_comes_off_however_the_text_is_split(text: str, value: str) -> None:
    sent = loose({"type": ["array", "object", "integer"]})
    assert sent.text(text) == value
    for first in range(len(text) + 1):
        for second in range(first, len(text) + 1):
            unwrapping = provider_schema.Unwrapping()
            pieces = [unwrapping.feed(part) for part in (text[:first], text[first:second], text[second:])]
            assert "".join([*pieces, unwrapping.end()]) == value, (first, second)


def test_a_recursive_type_is_wrapped_and_its_references_follow() -> None:
    tree = {"$ref": "#/$defs/n", "$defs": {"n": closed({"kids": {"type": "array", "items": {"$ref": "#/$defs/n"}}})}}
    sent = strict(tree, OPENAI)
    assert sent.schema["properties"]["value"] == {"$ref": "#/$defs/n"}
    assert sent.text('{"value": {"kids": [{"kids": null}]}}') == '{"kids": [{}]}'
    with pytest.raises(DialectError, match="recursion"):
        strict(tree, ANTHROPIC)
    whole = loose(tree)
    judge = sound(whole.schema)
    assert judge.is_valid({"value": {"kids": [{}]}})
    assert not judge.is_valid({"value": {"kids": [{"x": 1}]}})
    assert whole.text('{"value": {"kids": []}}') == '{"kids": []}'
    assert loose({"const": {"$ref": "#"}}).schema["properties"]["value"] == {"const": {"$ref": "#"}}


def test_the_caller_s_schema_is_not_changed() -> None:
    schema = closed({"a": {"$ref": "#/$defs/x"}}, **{"$defs": {"x": {"type": ["string", "null"], "maxLength": 3}}})
    before = json.dumps(schema)
    sent: list[Sent] = [strict(schema, OPENAI), strict(schema, ANTHROPIC), loose(schema)]
    assert [s.schema["properties"]["a"] for s in sent[:2]] == [{"$ref": "#/$defs/x"}] * 2
    assert json.dumps(schema) == before
    assert provider_schema.WRAPPER == "value"


@pytest.mark.parametrize("dialect", [OPENAI, ANTHROPIC])
@pytest.mark.parametrize("word", ["allOf", "anyOf", "oneOf"])
@pytest.mark.parametrize("leaf", [{"not": {}}, {"type": ["null", "integer"]}, {"type": "array"}])
def test_a_translation_looks_at_so_many_schemas_and_no_more(dialect: Any, word: str, leaf: Any) -> None:
    """Each of these refers to the next twice: to try all ways took minutes, of a loop that all requests share."""
    levels = {f"d{at}": {word: [{"$ref": f"#/$defs/d{at + 1}"}] * 2} for at in range(25)}
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/d0"}},
        "additionalProperties": False,
        "$defs": {**levels, "d25": leaf},
    }
    transform = provider_schema._Transform(schema, dialect, formats=True)
    with contextlib.suppress(DialectError):
        transform.place(schema, "")
        if dialect.requires_all:
            provider_schema._Nulls(transform)
    assert transform._steps <= provider_schema.MOST_STEPS + 100

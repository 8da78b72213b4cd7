"""Schemas in providers' dialects: equal or weaker, never stronger, and back again."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections import Counter
from random import Random
from typing import Any

import jsonschema_rs
import pytest
from strategies import case, universe

import guard
from guard.output import provider_schema, provider_translation
from guard.output.provider_schema import ANTHROPIC, OPENAI, DialectError, Sent, loose, strict
from guard.output.provider_translation import Translation
from guard.schemas.keywords import DIALECTS

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


@pytest.mark.parametrize(
    ("pattern", "is_sent"),
    [
        ("^[a-z_.-]{1,3}(x|y)?[0-9]{2,}$", False),  # `|`
        ("^[a-z_.-]{1,3}(xy)?[0-9]{2,}\\.\\d\\w*$", True),
        ("^[A-Za-z0-9$|()+]+$", True),
        ("^a{,3}$", False),  # a text in ECMA, a number elsewhere
        ("^[a-z&&b]$", False),  # an intersection in Rust
        ("^[a--b]$", False),
        ("^[[a]$", False),
        ("^[\\w-.]$", False),
        ("^\\s*a$", False),  # of ASCII only, or of Unicode
        ("^\\S+$", False),
        ("^[^\\W]$", False),
        ("^\\D$", False),
    ],
)
def test_a_pattern_is_sent_if_no_engine_reads_less_into_it(pattern: str, is_sent: bool) -> None:
    """An engine that reads a pattern otherwise kept right answers out."""
    sent = strict(closed({"a": {"type": "string", "pattern": pattern}}, "a"), OPENAI)
    assert ("pattern" in sent.schema["properties"]["a"]) is is_sent
    assert bool(sent.dropped) is not is_sent


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
@pytest.mark.parametrize("leaf", [{"not": {}}, {"type": ["null", "integer"]}, {"type": "array"}, closed({"b": TEXT})])
def test_a_translation_looks_at_so_many_schemas_and_no_more(dialect: Any, word: str, leaf: Any) -> None:
    """Each of these refers to the next twice: to try all ways took minutes, of a loop that all requests share."""
    levels = {f"d{at}": {word: [{"$ref": f"#/$defs/d{at + 1}"}] * 2} for at in range(25)}
    tried = {"anyOf": [{"$ref": "#/$defs/d0"}, {"not": {}}]}  # translated in vain: what it refers to is kept
    schema = closed({"a": {"allOf": [tried] * 9 + [{"$ref": "#/$defs/d0"}]}}, **{"$defs": {**levels, "d25": leaf}})
    translation = Translation(schema, dialect, formats=True)
    with contextlib.suppress(DialectError):
        provider_translation.explored(*translation.whole(), translation)
    assert translation.document.left > 1_000


def test_an_answer_is_undone_at_the_cost_of_its_own_length() -> None:
    """Each value of an answer cost as much as the schema had alternatives: 4,080 integers took seconds, on the loop."""
    ways = [{"type": "integer", "minimum": -at} for at in range(5_000)]
    listed = closed({"x": TEXT, "l": {"type": "array", "items": {"anyOf": ways}}}, "l")
    sent = strict(listed, OPENAI)
    text = '{"l": [' + ", ".join(["1"] * 20_000) + '], "x": null}'
    begun = time.process_time()
    assert sent.text(text) == text.replace(', "x": null', "")
    assert time.process_time() - begun < 1


def test_alternatives_whose_keys_are_too_many_are_refused() -> None:
    """Each of 400 places held the same object of 400 properties: to tell them apart took seconds."""
    names = range(400)
    large = closed({f"q{at}": TEXT for at in names}, *(f"q{at}" for at in names))
    ways = {f"p{at}": {"anyOf": [{"$ref": "#/$defs/b"}, closed({f"u{at}": TEXT}, f"u{at}")]} for at in names}
    with pytest.raises(DialectError, match="too many"):
        strict(closed({"z": TEXT, **ways}, *ways, **{"$defs": {"b": large}}), OPENAI)


# ---- Absent or null --------------------------------------------------------------------------------------------------

MAY = {"type": ["string", "null"]}


@pytest.mark.parametrize(
    "more",
    [
        {"maxProperties": 1},
        {"propertyNames": {"enum": ["a"]}},
        {"oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {"not": {"required": ["a", "b"]}},
        {"if": {"required": ["a"]}, "then": {"required": ["c"]}},
        {"dependentRequired": {"a": ["c"]}},
        {"dependentSchemas": {"a": {"properties": {"b": TEXT}}}},
        {"allOf": [{"properties": {"a": TEXT}}]},
        {"allOf": [{"additionalProperties": {"type": "string"}}]},
        {"allOf": [{"patternProperties": {"^a": TEXT}}]},
        {"enum": [{}, {"a": "x"}]},
    ],
)
def test_a_null_that_is_not_as_good_as_nothing_is_refused(more: dict[str, Any]) -> None:
    """The model had to write null for what it left out, the null stayed, and no right answer could be given."""
    schema = closed({"a": MAY, "b": MAY, "c": TEXT}, **more)
    with pytest.raises(DialectError, match="absent"):
        strict(schema, OPENAI)
    assert (
        strict(closed({"a": TEXT, "b": TEXT, "c": TEXT}, **more), OPENAI).text('{"a": null, "c": "x"}') == '{"c": "x"}'
    )


def test_a_null_is_looked_at_wherever_the_object_is_referred_to() -> None:
    one, tree = closed({"a": MAY}), closed({"a": MAY, "next": {"$ref": "#/$defs/tree", "maxProperties": 1}})
    for schema in (
        {"$ref": "#/$defs/one", "maxProperties": 0},
        {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/one"}], "maxProperties": 0},
        {"allOf": [{"$ref": "#/$defs/one"}, {"not": {"required": ["a"]}}]},
        {"$ref": "#/$defs/tree"},
        closed({"x": one}, allOf=[{"properties": {"x": {"maxProperties": 0}}}]),
        closed({"x": {"type": "array", "items": one, "contains": {"maxProperties": 0}}}),
        closed(
            {"x": {"type": "array", "items": one}}, **{"not": {"properties": {"x": {"items": {"required": ["a"]}}}}}
        ),
    ):
        with pytest.raises(DialectError, match="absent"):
            strict({**schema, "$defs": {"one": one, "tree": tree}}, OPENAI)
    assert strict({"$ref": "#/$defs/one", "minProperties": 0, "$defs": {"one": one}}, OPENAI).is_wrapper


@pytest.mark.parametrize(
    "more",
    [
        {"minProperties": 1},
        {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {"allOf": [{"required": ["a"]}, {"properties": {"a": MAY}}]},
        {"not": {"required": ["c"]}},
        {"if": {"properties": {"c": {"const": "x"}}}, "then": {"required": ["a"]}},
        {"oneOf": [{"properties": {"c": {"const": "x"}}, "required": ["c"]}, {"not": {"required": ["c"]}}]},
        {"dependentRequired": {"c": ["a"]}},
    ],
)
def test_constraints_that_a_null_meets_as_well_are_sent_as_before(more: dict[str, Any]) -> None:
    assert strict(closed({"a": MAY, "b": MAY, "c": TEXT}, **more), OPENAI).dropped


def test_alternatives_that_a_tag_tells_apart_may_require_what_others_leave_out() -> None:
    """`oneOf` by a tag, as Pydantic writes it: a null that one of them keeps does not make the other hold as well."""
    kinds = [closed({"kind": {"const": kind}, "a": MAY}, "kind", *more) for kind, *more in ("x", ("y", "a"))]
    assert strict({"oneOf": kinds}, OPENAI).text('{"value": {"kind": "x", "a": null}}') == '{"kind": "x", "a": null}'
    untold = [closed({"a": MAY}), closed({"a": MAY}, "a")]
    with pytest.raises(DialectError, match="absent"):
        strict({"oneOf": untold}, OPENAI)


def test_whatever_is_sent_every_right_object_can_come_back() -> None:
    """Of each drawn object, all values: what the model writes for a right one, null for absent, comes back right."""
    r, count = Random(5), Counter[str]()

    def drawn(depth: int) -> Any:
        names = r.sample("abc", r.randint(1, 2))
        few = [drawn(depth - 1) for _ in range(2)] if depth else [{"required": names}, {"properties": {names[0]: TEXT}}]
        return r.choice(
            [
                {"required": names},
                {r.choice(["minProperties", "maxProperties"]): r.randint(1, 2)},
                {"properties": {names[0]: r.choice([TEXT, MAY, {"const": None}, False])}},
                {"dependentRequired": {names[0]: names[1:] or ["a"]}},
                {"dependentSchemas": {names[0]: few[0]}},
                {r.choice(["allOf", "anyOf", "oneOf"]): few},
                {"not": few[0]},
                {"if": few[0], r.choice(["then", "else"]): few[1]},
                {"properties": {names[0]: MAY}, "additionalProperties": r.choice([TEXT, MAY, False])},
                {"propertyNames": {"enum": names}},
                {"$ref": "#/$defs/r"},
            ]
        )

    for _ in range(CASES * 2):
        one = closed({name: r.choice([TEXT, MAY]) for name in "abc"}, *r.sample("abc", r.choice([0, 0, 1])))
        one = {**drawn(2), **one} if r.random() < 0.9 else one
        two = closed({name: r.choice([TEXT, MAY]) for name in "ab"}, *r.sample("ab", r.choice([0, 1])))
        schema = r.choice([one, {r.choice(["anyOf", "oneOf"]): [one, two], **drawn(1)}, {"allOf": [one, drawn(1)]}])
        schema = {**schema, "$defs": {"r": drawn(0)}}
        if "#/$defs/r" in json.dumps(schema["$defs"]):
            continue
        judge = sound(schema)
        try:
            sent = strict(schema, OPENAI)
        except DialectError:
            count["refused"] += 1
            continue
        count["sent"] += 1
        told = sound(sent.schema)
        wires = [
            dict(zip(names, values, strict=True))
            for names in ("abc", "ab")
            for values in itertools.product(["x", None], repeat=len(names))
        ]
        wires = [wire for wire in wires if told.is_valid({"value": wire} if sent.undo({"value": 1}) == 1 else wire)]
        back = [sent.undo({"value": wire} if sent.undo({"value": 1}) == 1 else wire) for wire in wires]
        for values in itertools.product(["x", None, ...], repeat=3):
            value = {key: part for key, part in zip("abc", values, strict=True) if part is not ...}
            if judge.is_valid(value):
                as_good = [b for b in back if judge.is_valid(b) and value.items() <= b.items()]
                assert any(all(b[key] is None for key in b.keys() - value.keys()) for b in as_good), (schema, value)
                count["values"] += 1
    assert count["sent"] > CASES / 4, count
    assert count["values"] > CASES, count


# ---- Drafts ----------------------------------------------------------------------------------------------------------

DRAFT = "http://json-schema.org/draft-0{}/schema#"


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (closed({"a": {"type": "string", "const": "x"}}, "a", **{"$schema": DRAFT.format(4)}), TEXT),
        (closed({"a": {"type": "string", "const": "x"}}, "a"), {"type": "string", "enum": ["x"]}),
        (closed({"a": {"type": "string", "nullable": True}}, "a"), TEXT),
    ],
)
def test_a_keyword_of_another_draft_is_not_sent(schema: Any, expected: Any) -> None:
    """`const` says nothing in draft 4; sent, it made the schema stronger and kept right answers out."""
    sent = strict(schema, OPENAI)
    assert (sent.schema["properties"]["a"], sent.dropped) == (expected, ())


def test_a_draft_that_the_caller_names_decides() -> None:
    may = closed({"a": {"type": "string", "nullable": True}}, "a")
    sent = strict(may, OPENAI, draft=DIALECTS["openapi3.0"])
    assert sent.schema["properties"]["a"] == {"anyOf": [TEXT, {"type": "null"}]}


def test_an_object_that_a_later_draft_would_close_is_open() -> None:
    schema = {"type": "object", "properties": {"a": TEXT}, "required": ["a"], "unevaluatedProperties": False}
    assert strict(schema, OPENAI).schema["additionalProperties"] is False
    with pytest.raises(DialectError, match="open to"):
        strict({**schema, "$schema": DRAFT.format(7)}, OPENAI)


def test_beside_a_reference_nothing_holds_in_old_drafts() -> None:
    """What stood beside the reference was counted, so that a null which the schema allows was taken out in silence."""
    both = {"$ref": "#/definitions/n", "type": "string", "description": "d"}
    schema = closed({"a": both}, definitions={"n": MAY})
    for draft, back in ((DRAFT.format(7), '{"a": null}'), ("https://json-schema.org/draft/2019-09/schema", "{}")):
        assert strict({**schema, "$schema": draft}, OPENAI).text('{"a": null}') == back
    root = {"$schema": DRAFT.format(7), "$ref": "#/definitions/o", "definitions": {"o": closed({"a": TEXT}, "a")}}
    assert strict({**root, "maxProperties": 0}, OPENAI).dropped == ()


@pytest.mark.parametrize("number", ["1e400", "-1e400", "0.12345678901234567890123"])
def test_a_constant_that_no_double_holds_is_refused(number: str) -> None:
    """It was read as a decimal, and a KeyError about its type ended the call."""
    for text in (f'{{"enum": [{number}, 1]}}', f'{{"const": {number}}}'):
        with pytest.raises(DialectError, match="no double"):
            strict(closed({"a": guard.compile(text).contents}, "a"), OPENAI)
    whole = guard.compile(f'{{"type": "integer", "enum": [{number}, 1]}}').contents
    assert strict(closed({"a": whole}, "a"), OPENAI).schema["properties"]["a"] == {"type": "integer"}
    if "e" in number:  # as a parser without decimals reads it
        assert strict(closed({"a": json.loads(text) | {"type": "number"}}, "a"), OPENAI).dropped == (
            "/properties/a: const",
        )

"""Wide choices: unions of thousands of objects that a tag tells apart, and chains of implications by a tag.

What a wide union costs is near linear in its alternatives: masks, `distance()` and budgets, in every form in which such
unions are published. And each of them is as exact as a narrow one.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

import clock
import pytest
from properties import allowed, check_forced_bytes, check_generation, check_masks
from referees import validator
from strategies import Case, byte_vocabulary, vocabulary

import guard

WIDE = 4000
CHAIN = 100  #: Implications: under a budget hundreds of them meet the limit of memory.
FEW = 40  #: More than the engine looks into one by one.


def branch(
    i: int, *, tag: Any = None, required: bool = True, closed: bool = False, last: bool = False
) -> dict[str, Any]:
    """Return an alternative: a tag, and one member of its own."""
    members = {"t": {"const": f"k{i}"} if tag is None else tag, f"p_{i}": {"type": "integer"}}
    return {
        "type": "object",
        "properties": dict(reversed(members.items())) if last else members,
        **({"required": ["t"]} if required else {}),
        **({"additionalProperties": False} if closed else {}),
    }


def union(kind: str, n: int) -> dict[str, Any]:
    """Return a union of n alternatives in one of the forms in which they are published."""
    every = range(n)
    if kind == "oneOf with discriminator":
        return {"oneOf": [branch(i) for i in every], "discriminator": {"propertyName": "t"}}
    if kind == "references":
        refs = [{"$ref": f"#/$defs/d{i}"} for i in every]
        return {"anyOf": refs, "$defs": {f"d{i}": branch(i, closed=True) for i in every}}
    if kind == "implications":
        chain = [{"if": {**branch(i), "properties": {"t": {"const": f"k{i}"}}}, "then": branch(i)} for i in every]
        return {
            "type": "object",
            "required": ["t"],
            "properties": {"t": {"enum": [f"k{i}" for i in every]}},
            "allOf": chain,
        }
    word, _, form = kind.partition(" ")
    forms: dict[str, Any] = {
        "": lambda i: branch(i),
        "closed": lambda i: branch(i, closed=True),
        "optional": lambda i: branch(i, required=False, closed=True),
        "tag last": lambda i: branch(i, last=True),
        "enum": lambda i: branch(i, tag={"enum": [f"k{i}"]}),
        "overlap": lambda i: branch(i, tag={"enum": [f"k{i}", f"k{i + 1}", f"m{i}"]}),
        "integers": lambda i: branch(i, tag={"const": i}, closed=True),
        "nullable": lambda i: branch(i) if i else {"type": "null"},
    }
    return {word: [forms[form](i) for i in every]}


KINDS = [
    *("anyOf", "anyOf closed", "anyOf optional", "anyOf tag last", "anyOf enum", "anyOf overlap", "anyOf integers"),
    *("anyOf nullable", "oneOf", "oneOf closed", "oneOf overlap", "oneOf integers", "oneOf with discriminator"),
    *("references", "implications"),
]


@pytest.mark.parametrize("order", ["schema", "any"])
@pytest.mark.parametrize("kind", KINDS)
def test_thousands_of_alternatives_are_near_linear(kind: str, order: str) -> None:
    """A mask at each step through tag and value, with and without a budget: some took 21 seconds for the first one."""
    n = CHAIN if kind == "implications" else WIDE
    middle = n // 2
    tag = middle if "integers" in kind else f"{'m' if 'overlap' in kind else 'k'}{middle}"
    text = json.dumps({"t": tag, f"p_{middle}": 5}).encode()
    with clock.working() as work:
        matcher = guard.compile(union(kind, n), key_order=order, limits=guard.Limits(seconds=120)).matcher(
            byte_vocabulary()
        )
        for byte in text:
            if byte in b'{":, km5':
                assert byte in allowed(matcher, byte_vocabulary())
                left = matcher.distance()
                assert allowed(matcher, byte_vocabulary(), left).size
            assert matcher.accept(byte)
    assert matcher.can_stop()
    assert work.seconds < 6


@pytest.mark.parametrize("word", ["anyOf", "oneOf"])
def test_thousands_of_alternatives_are_told_apart_by_an_object_inside_them(word: str) -> None:
    """One distance took 11 to 18 seconds: each way out of the inner object looked for its alternatives one by one."""
    n = 2_000

    def closed(**members: Any) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": members,
            "required": list(members),
            "additionalProperties": False,
        }

    parts = [
        closed(o=closed(**{f"p_{i}": {"type": "integer"}}), t={"enum": [f"k{i}", f"k{i + 1}", f"m{i}"]})
        for i in range(n)
    ]
    text = json.dumps({"o": {f"p_{n // 2}": 5}, "t": f"m{n // 2}"}).encode()
    with clock.working() as work:
        matcher = guard.compile({word: parts}, limits=guard.Limits(seconds=120)).matcher(byte_vocabulary())
        for byte in text:
            if byte in b'{":, km5':
                assert byte in allowed(matcher, byte_vocabulary(), matcher.distance())
            assert matcher.accept(byte)
    assert matcher.can_stop()
    assert work.seconds < 6


def text_of(r: Random, n: int) -> str:
    """Draw an object that is nearly one of a union of n alternatives."""
    i = r.randrange(n)
    tags: list[Any] = [f"k{i}", f"k{r.randrange(n)}", f"m{i}", i, r.randrange(n), None, "k"]
    names = ["t", f"p_{i}", r.choice([f"p_{i}", f"p_{r.randrange(n)}", "x", "p_"])]
    values = [r.choice(tags), r.choice([5, 5, "5"]), r.choice([5, "5"])]
    members = r.sample(list(zip(names, values, strict=True)), r.randint(0, 3))
    return json.dumps(dict(members), separators=(",", ":"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_wide_union_accepts_what_is_valid(kind: str) -> None:
    """Texts that nearly meet an alternative, in any order of keys, are judged by another validator."""
    schema, r = union(kind, FEW), Random(kind)
    judge = validator(schema, "draft2020-12")
    compiled = guard.compile(schema, key_order="any", whitespace="compact")
    for _ in range(300):
        text = text_of(r, FEW)
        matcher = compiled.matcher(byte_vocabulary())
        assert (matcher.accept_bytes(text.encode()) and matcher.can_stop()) == judge.is_valid(json.loads(text)), text


@pytest.mark.parametrize("order", ["schema", "any"])
@pytest.mark.parametrize("kind", KINDS)
def test_masks_of_a_wide_union_are_exact(kind: str, order: str) -> None:
    """What masks, budgets and distances say of the next token, each token read by itself says, too."""
    for seed in range(4):
        case = Case(union(kind, FEW), {"key_order": order}, seed)
        check_masks(case, vocabulary(seed))
        check_generation(case, vocabulary(seed))
        check_forced_bytes(case)


def chain(r: Random, *, n: int, required: bool, enum: bool) -> dict[str, Any]:
    """Return implications by a tag, each with members of its own and of others, beside which nothing may stand."""
    every = []
    for i in range(n):
        names = r.sample([f"p{j}" for j in range(n)], 3)
        members = {name: {"type": r.choice(["string", "integer"])} for name in names}
        when: dict[str, Any] = {
            "properties": {"type": {"const": f"t{i}"}},
            **({"required": ["type"]} if required else {}),
        }
        every.append({"if": when, "then": {"properties": members, "required": names[:2]}})
    tag = {"enum": [f"t{i}" for i in range(n)]} if enum else {"type": "string"}
    return {
        "type": "object",
        "properties": {"type": tag},
        **({"required": ["type"]} if enum else {}),
        "allOf": every,
        "unevaluatedProperties": False,
    }


@pytest.mark.parametrize("order", ["schema", "any"])
@pytest.mark.parametrize("seed", range(6))
def test_implications_by_a_tag_beside_unevaluated_properties_are_decoded(seed: int, order: str) -> None:
    """Schemas of data contracts are of this form: after `{"type": "t` a value decided between too many alternatives."""
    r = Random(seed)
    schema = chain(r, n=20, required=seed % 2 == 0, enum=seed % 3 > 0)
    judge = validator(schema, "draft2020-12")
    with clock.working() as work:
        compiled = guard.compile(schema, key_order=order)
        for _ in range(12):
            matcher, text = compiled.matcher(byte_vocabulary()), b""
            while not matcher.is_finished():
                left = matcher.distance() + r.choice([0, 1, 30])
                token = int(
                    r.choice(
                        allowed(matcher, byte_vocabulary(), min(left, max(0, 160 - len(text)) + matcher.distance()))
                    )
                )
                assert matcher.accept(token)
                text += byte_vocabulary().token_bytes(token)
            assert judge.is_valid(json.loads(text)), text
    assert work.seconds < 40


@pytest.mark.parametrize("budget", [None, 20])
def test_an_enum_of_thousands_of_objects_with_numbers_is_decoded(budget: int | None) -> None:
    """Each number was held against all others, and each set of them that grew by one was kept: 1,250 were refused."""
    n = 3_000
    values = [{"id": i, "name": f"item {i}", "tags": [i % 7, i % 11]} for i in range(n)]
    compiled = guard.compile({"enum": values}, whitespace="compact")
    for number in (0, 7, n - 1):
        matcher = compiled.matcher(byte_vocabulary())
        text = json.dumps(values[number], separators=(",", ":")).encode()
        left = None if budget is None else len(text) + 1 + budget
        with clock.working() as work:
            for at, byte in enumerate(text):
                assert byte in allowed(matcher, byte_vocabulary(), left)
                assert matcher.accept_bytes(bytes([byte])), text[:at]
                left = None if left is None else left - 1
        assert matcher.can_stop()
        assert work.seconds < 5


def test_a_budget_of_exactly_the_distance_holds_beside_dozens_of_implications_by_one_tag() -> None:
    """A literal example: of 37 and more tags, `distance()` was a byte too high behind the key's first quote."""
    kinds = ["string", "integer", "array", "object", "null"]
    implied = [
        {
            "if": {"properties": {"t": {"const": f"t{i}"}}},
            "then": {"properties": {"v": {"type": kinds[i % 5]}}, "required": ["v"]},
        }
        for i in range(40)
    ]
    tag = {"enum": [f"t{i}" for i in range(40)]}
    schema = {"type": "object", "properties": {"t": tag}, "required": ["t"], "allOf": implied}
    for order, text in (("schema", b'{"t": "t1", "v": 0}'), ("any", b'{"v": 0, "t": "t1"}')):
        matcher = guard.compile(schema, key_order=order).matcher(byte_vocabulary())
        for at, byte in enumerate(text):
            left = len(text) - at + 1
            assert matcher.distance() == left
            assert byte in allowed(matcher, byte_vocabulary(), remaining=left)
            assert matcher.accept(byte)

"""uniqueItems and its negation: what equals what, which items leave a way to the end, and long arrays."""

from __future__ import annotations

import itertools
import json
from random import Random
from typing import Any

import clock
import pytest
from properties import END, allowed
from strategies import EVERY_BYTE, EVERY_WAY, byte_vocabulary

import guard

REPEATED = {"type": "array", "not": {"uniqueItems": True}}


def matcher(schema: Any, **options: Any) -> Any:
    """Compile a schema in compact spelling."""
    return guard.compile(schema, **{"whitespace": "compact", **options}).matcher(byte_vocabulary())


def alive(schema: Any, text: str) -> bool:
    """Say whether a text is the beginning of a valid one."""
    return bool(matcher(schema).accept_bytes(text.encode()))


def accepts(schema: Any, text: str, **options: Any) -> bool:
    """Say whether a text is valid."""
    reader = matcher(schema, **options)
    return bool(reader.accept_bytes(text.encode()) and reader.can_stop())


@pytest.mark.parametrize(
    ("text", "differ"),
    [
        ("[1,1.0]", False),
        ("[0,-0]", False),
        ("[0.5,0.50]", False),
        ("[1,true]", True),
        ("[0,false]", True),
        ('["a","\\u0061"]', False),
        ('["\\ud83d\\ude00","😀"]', False),
        ('["\\\\n","\\n"]', True),
        ('[{"a":1,"b":2},{"b":2.0,"a":1}]', False),
        ('[{"a":1},{"a":2}]', True),
        ("[[1,2],[2,1]]", True),
        ("[[1,[2]],[1.0,[2]]]", False),
        ("[null,null]", False),
        ("[[],{}]", True),
        ('[{"\\u0061":[1]}, {"a":[1]}]', False),
        ('["1",1]', True),
    ],
)
def test_values_are_compared_and_not_texts(text: str, differ: bool) -> None:
    """Numbers by value, members in any order, strings decoded."""
    assert accepts({"uniqueItems": True}, text, **EVERY_WAY) is differ
    assert accepts(REPEATED, text, **EVERY_WAY) is not differ


@pytest.mark.parametrize("unique", [True, False])
@pytest.mark.parametrize("least", [0, 3])
def test_small_sets_are_exact_at_every_prefix(unique: bool, least: int) -> None:
    """Three positions with sets of their own: alive is what begins a valid array."""
    pools = [pool for size in (1, 2, 3) for pool in itertools.combinations((0, 1, 2), size)]
    for chosen in itertools.product(pools, repeat=3):
        schema: dict[str, Any] = {"type": "array", "prefixItems": [{"enum": list(pool)} for pool in chosen]}
        schema |= {"items": False, "minItems": least}
        schema |= {"uniqueItems": True} if unique else {"not": {"uniqueItems": True}}
        every = [items for size in range(4) for items in itertools.product(*chosen[:size])]
        valid = {items for items in every if len(items) >= least and (len(set(items)) == len(items)) is unique}
        reader = matcher(schema)
        for items in every:
            reader.reset()
            begins = any(v[: len(items)] == items for v in valid)
            text = json.dumps(items, separators=(",", ":"))[:-1].encode()
            assert reader.accept_bytes(text) is begins, (schema, items)
            if begins:
                assert (reader.accept_bytes(b"]") and reader.can_stop()) is (items in valid), (schema, items)


def test_an_item_that_a_later_one_needs_is_not_written() -> None:
    """Of an integer, then 1, then 1 or 2, the first is neither."""
    schema = {"prefixItems": [{"type": "integer"}, {"enum": [1]}, {"enum": [1, 2]}], "minItems": 3, "uniqueItems": True}
    assert not alive(schema, "[1,")
    assert not alive(schema, "[2,")
    assert alive(schema, "[12,1,2")
    assert not alive(schema, "[12,1,1")


def test_an_array_of_a_finite_set_ends_with_it() -> None:
    """After all of an enum there is no comma."""
    schema = {"items": {"enum": ["a", "b", {"x": [1]}]}, "uniqueItems": True}
    assert accepts(schema, '["b",{"x":[1]},"a"]')
    assert not alive(schema, '["b",{"x":[1]},"a",')


def test_more_items_than_values_are_unsatisfiable() -> None:
    """Booleans, arrays of booleans, objects of booleans."""
    flag = {"type": "boolean"}
    pair = {"type": "array", "items": flag, "minItems": 2, "maxItems": 2}
    point = {"type": "object", "properties": {"a": flag, "b": flag}, "required": ["a"], "additionalProperties": False}
    for item, values in ((flag, 2), (pair, 4), (point, 6)):
        schema = {"type": "array", "items": item, "uniqueItems": True}
        assert matcher({**schema, "minItems": values}).distance() > 0
        assert matcher({**schema, "minItems": values + 1}).distance() == -1


def test_a_choice_between_comparing_and_not() -> None:
    """In anyOf and oneOf beside other rules."""
    schema = {"type": "array", "anyOf": [{"uniqueItems": True}, {"items": {"type": "integer"}}]}
    assert accepts(schema, "[1,1]")
    assert accepts(schema, '["a",1]')
    assert not accepts(schema, '["a",1,1]')
    assert not alive(schema, '[1,1,"')
    exclusive = {"type": "array", "oneOf": [{"uniqueItems": True}, {"minItems": 3}]}
    assert accepts(exclusive, "[1,2]")
    assert not accepts(exclusive, "[1,1]")
    assert not accepts(exclusive, "[1,2,3]")
    assert accepts(exclusive, "[1,2,3,1]")


def test_contains_beside_items_that_differ() -> None:
    """Two items from a set of one can't be had."""
    assert matcher({"type": "array", "uniqueItems": True, "contains": {"const": 1}, "minContains": 2}).distance() == -1
    schema = {"type": "array", "uniqueItems": True, "contains": {"enum": [1, 2]}, "minContains": 2, "maxItems": 3}
    assert alive(schema, "[3,2,1")
    assert not alive(schema, "[3,2,4")


def test_a_repeat_that_must_still_come() -> None:
    """The last item equals an earlier one; the first is one that the second can be."""
    assert not alive({**REPEATED, "prefixItems": [{"type": "integer"}, {"enum": [1]}], "maxItems": 2}, "[2")
    assert accepts({**REPEATED, "maxItems": 3}, '["a",2,"a"]')
    assert not alive({**REPEATED, "maxItems": 3}, '["a",2,3')
    assert not alive(REPEATED, "[1]")


def test_a_token_that_crosses_items_is_judged_by_the_values_that_it_writes() -> None:
    """What may follow it depends on what the first of them was."""
    tokens = [*EVERY_BYTE, b'a","a', b'b","a', b"1,1", b"2,1", b""]
    vocabulary = guard.Vocabulary.from_bytes(tokens, eos=[260])
    schema = {"type": "array", "items": {"type": ["string", "integer"]}, "uniqueItems": True}
    reader = guard.compile(schema, whitespace="compact").matcher(vocabulary)
    for start, token, end, valid in [
        (b'["', 256, b'"]', False),
        (b'["', 257, b'"]', True),
        (b"[", 258, b"]", False),
        (b"[", 259, b"]", True),
    ]:
        reader.reset()
        assert reader.accept_bytes(start)
        assert reader.accept(token)
        assert reader.accept_bytes(end) is valid


ENDS = [
    "",
    ",",
    ", ",
    ",\n",
    "]",
    "]]",
    ',"',
    ', "',
    ',"a',
    ',"x',
    ',"a",',
    ",1",
    '],["a","',
    '],["a","a',
    '],["a","a"',
    ":",
    ",,",
    "x",
]
ITEMS: list[dict[str, Any]] = [
    {"type": "string"},
    {"type": "string", "pattern": "^(x|[ab]{1,3})$"},
    {"type": "string", "maxLength": 2},
    {"type": "string", "enum": ["a", "ab", "b", "ba", "abb", "\u00e9"]},
    {"type": ["string", "integer"], "pattern": "^[ab]{0,2}$"},
    {"anyOf": [{"const": "a"}, {"type": "string", "minLength": 2}]},
    {"anyOf": [{"enum": ["a", "ab", "b"]}, {"type": "integer"}]},
]


MORE: list[dict[str, Any]] = [
    {},
    {"maxItems": 3},
    {"minItems": 3},
    {"minItems": 2, "maxItems": 4},
    {"contains": {"const": "ab"}},
    {"prefixItems": [{"enum": ["a", "b", "ab", "bb"]}, {"enum": ["a", "bb"]}], "items": {"const": "a"}},
]


@pytest.mark.parametrize("item", ITEMS)
@pytest.mark.parametrize("more", MORE)
@pytest.mark.parametrize("within", [None, {}, {"uniqueItems": True}])
def test_a_token_that_ends_an_item_is_allowed_where_its_bytes_are(item: Any, more: Any, within: Any) -> None:
    """Of many tokens that end an item and go on alike, masks ask one; each is what its bytes say."""
    texts = ["", *map("".join, itertools.chain(*(itertools.product("ab", repeat=n) for n in (1, 2, 3))))]
    texts += ["x", "\u00e9", "\\u0061", "\\", "c", "cc", "ac", "bc"]
    tokens = [text + '"' + end for text in texts for end in ENDS]
    tokens += ["  ", ' "', ',  "', " \n ]", '["', '["a"', "[1", ',  "a"']
    words = sorted({bytes([byte]) for byte in range(256)} | {token.encode() for token in tokens})
    vocabulary = guard.Vocabulary.from_bytes([*words, b""], eos=[len(words)])
    schema = {"type": "array", "uniqueItems": True, "items": item, **more}
    if within is not None:
        schema = {"type": "array", "items": schema, **within}
    compiled = guard.compile(schema, whitespace="any", spelling="any")
    walks = Random(json.dumps([item, more, within]))
    likely = {number for number, word in enumerate(words) if len(word) > 1 or word in b'[",ab1'}
    for _ in range(6):
        at = compiled.matcher(vocabulary)
        for _ in range(20):
            mask = set(allowed(at, vocabulary).tolist())
            for number, word in enumerate(words):
                assert (number in mask) == at.copy().accept_bytes(word), word
            ways = sorted(mask & likely)
            if not ways:
                break
            assert at.accept(walks.choice(ways))


@pytest.mark.parametrize("kind", ["string", "integer"])
def test_long_arrays(kind: str) -> None:
    """Five hundred items that differ, then a repeat of one of them."""
    values = [f"v{n}" if kind == "string" else n * 7 for n in range(500)]
    reader = matcher({"type": "array", "items": {"type": kind}, "uniqueItems": True})
    assert reader.accept_bytes(json.dumps(values, separators=(",", ":"))[:-1].encode())
    assert not reader.accept_bytes(b"," + json.dumps(values[250]).encode() + b"]")
    assert reader.accept_bytes(b"," + json.dumps("x" if kind == "string" else 5).encode() + b"]")


NEVER_DEARER = [
    {"minContains": 1, "minItems": 3, "contains": {"type": "string", "minLength": 1, "maxLength": 2}},
    {"prefixItems": [{"type": "number"}], "minContains": 1, "contains": {"type": "number", "exclusiveMinimum": 0.5}},
    {"prefixItems": [{"enum": [1]}, {"enum": [1, "b"]}], "minContains": 3, "contains": {"type": "integer"}},
    {"contains": {"enum": [True, 2]}, "minItems": 4},
    {"prefixItems": [True, {"exclusiveMinimum": 0.5}], "contains": {"enum": [1, 12, {"a": 1}]}, "minItems": 4},
    {"contains": {"type": "array", "items": {"type": "boolean"}, "maxItems": 0}, "minItems": 4},
    {
        "prefixItems": [{"type": "string", "maxLength": 1}, True],
        "items": {"type": "array", "uniqueItems": True, "items": {"enum": [0, 1]}},
        "contains": {"type": "string", "maxLength": 2},
        "minItems": 3,
    },
    {
        "items": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 3, "uniqueItems": True},
        "minItems": 3,
    },
]


@pytest.mark.parametrize("schema", NEVER_DEARER)
@pytest.mark.parametrize("spelling", ["canonical", "any"])
def test_distance_falls_wherever_one_is(schema: dict[str, Any], spelling: str) -> None:
    """Random texts: at each place some byte lowers distance(), so that a budget of exactly that much suffices."""
    reader = matcher({"type": "array", "uniqueItems": True, **schema}, spelling=spelling)
    r = Random(0)
    for _ in range(6):
        reader.reset()
        for _ in range(40):
            left = reader.distance()
            falls = [t for t in allowed(reader, byte_vocabulary(), left).tolist() if t != END]
            assert falls or reader.can_stop(), left
            every = [t for t in allowed(reader, byte_vocabulary()).tolist() if t != END]
            if not every:
                break
            assert reader.accept(r.choice(falls if falls and r.random() < 0.5 else every))


NAMED = {
    "type": "object",
    "properties": {"id": {"type": "integer"}, "name": {"type": "string"}},
    "required": ["id", "name"],
}
CLOSED = {**NAMED, "additionalProperties": False}
PAIR = {"type": "array", "prefixItems": [{"type": "integer"}, {"enum": ["a", "b"]}], "items": False, "minItems": 2}


@pytest.mark.parametrize(
    ("item", "text", "dead"),
    [
        (CLOSED, '[{"id":1,"name":"a"},{"id":1,"name":"a', '"'),
        (NAMED, '[{"id":1,"name":"a"},{"id":1,"name":"a"', "}"),
        (NAMED, '[{"id":1,"name":"a","x":1},{"id":1,"name":"a","x":1', "}"),
        (PAIR, '[[1,"a"],[1,"b"],[1', ","),
        (PAIR, '[[1,"a"],[1,"', "a"),
        ({"type": "array", "items": {"const": 1}}, "[[1],[],[1,1],[1,1", "]"),
        (
            {"type": "object", "properties": {"a": CLOSED}, "required": ["a"], "additionalProperties": False},
            '[{"a":{"id":1,"name":"a"}},{"a":{"id":1,"name":"a',
            '"',
        ),
    ],
)
def test_an_item_is_excluded_where_it_would_become_another(item: Any, text: str, dead: str) -> None:
    """An array or object is compared while it is written, in both key orders, with and without a budget."""
    for order in ("schema", "any"):
        reader = matcher({"type": "array", "items": item, "uniqueItems": True}, key_order=order)
        assert reader.accept_bytes(text.encode())
        free = allowed(reader, byte_vocabulary()).tolist()
        assert free == allowed(reader, byte_vocabulary(), 10**6).tolist()
        assert free
        assert ord(dead) not in free


@pytest.mark.parametrize("text", ["[[[110]],[[11", '[[{"a":110}],[{"a":11', "[[110],[11"])
def test_a_budget_allows_the_exponents_that_are_accepted(text: str) -> None:
    """At any depth inside of an item: of 11e1, which spells 110, masks under a budget said otherwise than accept()."""
    reader = matcher({"type": "array", "uniqueItems": True}, spelling="any")
    assert reader.accept_bytes(text.encode())
    free = allowed(reader, byte_vocabulary()).tolist()
    assert free == allowed(reader, byte_vocabulary(), 10**6).tolist()
    assert all(reader.accept(token) and reader.rollback(1) is None for token in free)


LARGE = {"type": "number", "minimum": 1000}
TRIPLE = {"type": "array", "prefixItems": [LARGE, LARGE, {"type": "integer"}], "minItems": 3, "maxItems": 3}


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (TRIPLE, "[[1000,6734,7],["),
        ({"type": "array", "items": TRIPLE, "minItems": 1}, "[[[1000,6734,7]],[["),
        (
            {"type": "array", "items": {"type": "array", "items": LARGE, "minItems": 2}, "minItems": 1},
            "[[[8E9,6734]],[[4",
        ),
    ],
)
def test_exponents_beside_excluded_numbers_are_what_a_budget_counts_on(item: Any, text: str) -> None:
    """Of "1e3" the budget had been made; none but 1000 was allowed while the item could still equal another."""
    reader = matcher({"type": "array", "uniqueItems": True, "items": item, "minItems": 2}, spelling="any")
    assert reader.accept_bytes(text.encode())
    left = reader.distance()
    while not reader.can_stop():
        cheapest = next(t for t in allowed(reader, byte_vocabulary(), left).tolist() if t != END)
        assert reader.accept(cheapest)
        left -= 1
        assert reader.distance() <= left


def test_members_in_another_order_are_the_same_object() -> None:
    """The last byte of a copy is not allowed, one that differs is."""
    reader = matcher({"type": "array", "items": CLOSED, "uniqueItems": True}, key_order="any", spelling="any")
    assert reader.accept_bytes(b'[{"id":1,"name":"a"},{"name":"\\u0061","id":1')
    assert not reader.accept_bytes(b"}")
    assert reader.accept_bytes(b"2}]")


@pytest.mark.parametrize("item", [NAMED, CLOSED])
def test_hundreds_of_objects(item: Any) -> None:
    """Each object is written in time and memory that hardly grow with the number of those before it."""
    compiled = guard.compile({"type": "array", "items": item, "uniqueItems": True}, whitespace="compact")
    reader = compiled.matcher(byte_vocabulary())
    values = [{"id": n, "name": f"n{n % 7}"} for n in range(300)]
    before = compiled.nbytes
    with clock.working() as work:
        assert reader.accept_bytes(json.dumps(values, separators=(",", ":"))[:-1].encode())
    assert work.seconds < 5
    assert compiled.nbytes - before < 16 << 20
    assert not reader.accept_bytes(b"," + json.dumps(values[7], separators=(",", ":")).encode())


@pytest.mark.parametrize("seed", range(12))
def test_a_budget_that_can_not_be_kept_is_an_error_and_never_an_empty_mask(seed: int) -> None:
    """Arrays compared within arrays that are: the rest may cost more than is reckoned (docs/explanation/engine.md)."""
    pairs = {"type": "array", "uniqueItems": True, "items": {"enum": [1, 12]}, "minItems": 1, "maxItems": 2}
    inner = {"type": "array", "items": pairs, "minItems": 1, "maxItems": 1}
    schema = {"type": "array", "uniqueItems": True, "items": inner, "minItems": 3, "maxItems": 4}
    reader, r = guard.compile(schema).matcher(byte_vocabulary()), Random(seed)
    while not reader.is_finished():
        try:
            choice = allowed(reader, byte_vocabulary(), reader.distance() if r.random() < 0.5 else None)
        except guard.SchemaError as error:
            if error.limit != "distance":
                raise
            return
        assert choice.size, "a dead end"
        reader.accept(int(r.choice(choice)))


TREE = {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}}
MAP = {"type": "object", "additionalProperties": {"$ref": "#/$defs/tree"}}


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        ({**TREE, "required": ["kids"], "additionalProperties": False}, '[{"kids":[]},{"kids":[{"kids":[]}]}]'),
        (MAP, '[{},{"a":{}},{"a":{"a":{}}}]'),
    ],
    ids=["tree", "map"],
)
def test_items_that_hold_themselves_are_compared(tree: Any, text: str) -> None:
    schema = {"$defs": {"tree": tree}, "type": "array", "uniqueItems": True, "items": {"$ref": "#/$defs/tree"}}
    assert accepts(schema, text)
    assert not accepts(schema, text[:-1] + "," + text[1:])

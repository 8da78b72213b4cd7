"""Faults that the properties found, each as its smallest example."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import clock
import pytest
from properties import allowed
from strategies import EVERY_BYTE, EVERY_WAY, byte_vocabulary

import guard
from guard.kernels import fill_bitmasks
from guard.kernels._native import longest_search
from guard.kernels.bitmask import allocate_bitmask


def reader(schema: Any, **options: str) -> Any:
    """A matcher over bytes, with every option open unless said otherwise."""
    return guard.compile(schema, **{**EVERY_WAY, **options}).matcher(byte_vocabulary())


def accepts(schema: Any, text: str) -> bool:
    """Whether a text is accepted to its end."""
    matcher = reader(schema)
    return matcher.accept_bytes(text.encode()) and matcher.can_stop()


def test_an_escape_begun_in_a_key_has_an_end_when_keys_were_written() -> None:
    """distance() was -1 after `\\u`, and budgets allowed nothing there."""
    for text in (b'{"a":1,"\\u', b'{"a":1,"b":2,"\\u'):
        matcher = reader({})
        assert matcher.accept_bytes(text)
        assert matcher.distance() == 9
        assert allowed(matcher, byte_vocabulary(), 9).size


def test_a_negative_look_ahead_sees_an_anchor_inside_it() -> None:
    """`(?!^a)a` found the a of "a"."""
    assert not accepts({"pattern": "(?!^a)a"}, '"a"')
    assert accepts({"pattern": "(?!^a)a"}, '"ba"')
    assert not accepts({"pattern": "((?!^\\.)\\.|bb)"}, '"."')
    assert not accepts({"pattern": "(?!^a)ab|c"}, '"ab"')


def test_contains_judges_whole_items() -> None:
    """Arrays and objects under contains were judged by their beginning only."""
    assert not accepts({"contains": {"minItems": 1}, "minContains": 0, "maxContains": 0}, "[[1]]")
    assert accepts({"contains": {"minItems": 1}, "minContains": 0, "maxContains": 0}, "[[],[]]")
    assert not accepts({"contains": {"type": "array", "minItems": 1}, "maxContains": 1}, "[[1],[1]]")
    assert not accepts({"contains": {"not": {"const": {}}}, "maxContains": 1}, '[{"a":1},{"a":1}]')


@pytest.mark.parametrize(
    "schema",
    [
        {"oneOf": [{"type": "object", "propertyNames": {"minLength": 2}}, {"type": "object"}]},
        {"anyOf": [{"dependentSchemas": {"ab": {}}}, {"propertyNames": {"minLength": 2}}], "type": "object"},
    ],
)
def test_names_of_every_length_in_alternatives_take_no_search(schema: Any) -> None:
    """Each key once doubled the work of looking for the next; this ran without end."""
    matcher = reader(schema, whitespace="compact")
    for byte in b'{"ab":1,"abcdef":1,"x":1,"cdef":1}':
        assert matcher.accept(byte)
        assert matcher.distance() > 0
        assert allowed(matcher, byte_vocabulary(), 60).size
    assert matcher.can_stop()


@pytest.mark.parametrize(
    ("pattern", "text"),
    [("$^", ""), ("$^a*", ""), ("(?:b$a*)+", "b"), ("(?:^a*){2}", "a"), ("(?:^a*){2,}", "")],
)
def test_what_may_be_empty_may_stand_between_anchors_and_be_repeated(pattern: str, text: str) -> None:
    """After `$`, and before `^`, an empty match is still a match."""
    assert accepts({"pattern": pattern}, f'"{text}"')
    assert accepts({"pattern": pattern}, f'"{text}ca"') == bool(re.search(pattern, f"{text}ca"))


def test_an_anchor_may_stand_behind_a_repeated_one() -> None:
    """`(?:.*$)+^` rejected the empty text."""
    assert accepts({"pattern": "(?:.*$)+^"}, '""')
    assert not accepts({"pattern": "^a(?:.*$)+^"}, '"a"')


def test_quantifiers_in_each_other_take_no_search() -> None:
    """The states of this pattern doubled with each character; finding them took minutes."""
    with clock.working() as work:
        assert accepts({"pattern": "^(?:(?:[ab])?(?:(?:(?:b)?)+?){2,})*[^a]$"}, f'"{"ab" * 200}"')
    assert work.seconds < 2


def test_contains_may_ask_for_the_schema_itself() -> None:
    """Anything but an array meets it, so that nothing nests for ever."""
    for text in ("1", "[1]", "[[1]]", "[[],{}]", '{"a":[]}'):
        assert accepts({"contains": {"$ref": "#"}}, text)
    assert not accepts({"contains": {"$ref": "#"}}, "[]")
    assert not accepts({"contains": {"$ref": "#"}}, "[[],[[]]]")


def test_a_negative_budget_in_a_batch_is_an_error() -> None:
    """It was taken for no budget."""
    rows = allocate_bitmask(1, byte_vocabulary().size)
    with pytest.raises(ValueError, match="remaining=-1 must be at least 0"):
        fill_bitmasks([reader(True)], rows, [0], [-1])
    assert not rows.any()


def test_what_may_be_of_a_format_is_written_neither_with_it_nor_without() -> None:
    """Nobody knows of an `xn--` label without Punycode, so that a masked text must not hang on it."""
    for text, with_it, without in [("a.b", True, False), ("a..b", False, True), ("xn--ls8h.la", False, False)]:
        assert accepts({"type": "string", "format": "hostname"}, f'"{text}"') == with_it
        assert accepts({"type": "string", "not": {"format": "hostname"}}, f'"{text}"') == without
        either = {"type": "string", "oneOf": [{"format": "hostname"}, {"not": {"format": "hostname"}}]}
        assert accepts(either, f'"{text}"') == (with_it or without)
        assert accepts({"enum": [text, 1], "not": {"format": "hostname"}}, f'"{text}"') == without


def test_a_number_that_decides_between_literals_is_written_so_that_each_can_be_read() -> None:
    """`7E4` was met by neither an enum of numbers nor its negation, and either was taken to hold."""
    schema = {
        "if": {"additionalProperties": {"enum": [[None], 1.5]}},
        "then": {"minProperties": 1},
        "else": {"required": ["b", "a"]},
    }
    assert accepts(schema, '{"b":1.5}')
    assert accepts(schema, '{"b":70000,"a":1}')
    for text in ('{"b":7E4}', '{"b":70000}', '{"b":1.5,"c":7e4}'):
        assert not accepts(schema, text)


def test_alternatives_beyond_a_tag_are_told_apart_at_once() -> None:
    """Two hundred closed alternatives with a tag took seconds before the tag was known; sixteen conditions a second."""
    tagged = [
        {
            "properties": {"kind": {"const": f"k{i}"}, "x": {"minimum": i}, f"p{i}": {}},
            "required": ["kind"],
            "additionalProperties": False,
        }
        for i in range(200)
    ]
    with clock.working() as work:
        assert accepts({"type": "object", "oneOf": tagged}, '{"x":150,"kind":"k150"}')
        assert not accepts({"type": "object", "oneOf": tagged}, '{"x":149,"kind":"k150"}')
    assert work.seconds < 5


@pytest.mark.parametrize(
    ("schema", "shortest"),
    [
        ({"multipleOf": 7, "minimum": 1e10}, "10000000003"),
        ({"type": "integer", "multipleOf": 10, "minimum": 1e12}, "1000000000000"),
        ({"minimum": 2.5e10, "not": {"type": "integer"}}, "25000000000.1"),
        ({"type": "integer", "exclusiveMinimum": 10**399, "maximum": 10**399 + 1}, "1" + 398 * "0" + "1"),
        ({"exclusiveMinimum": 0, "maximum": 1e-12, "multipleOf": 1e-12}, "0.000000000001"),
    ],
)
@pytest.mark.parametrize("spelling", ["any", "canonical"])
def test_numbers_far_from_zero_have_an_end_in_sight(schema: Any, shortest: str, spelling: str) -> None:
    """A search byte by byte met its limit; it is arithmetic now."""
    matcher = reader({"type": "number", **schema}, spelling=spelling)
    assert matcher.distance() == len(shortest) + 1
    for at, byte in enumerate(shortest.encode(), 1):
        assert matcher.accept(byte)
        assert matcher.distance() == len(shortest) - at + 1


def test_excluded_values_between_excluded_multiples_leave_what_follows() -> None:
    """Only so many candidates were tried, and 3001 was not among them."""
    odd = {"multipleOf": 2}, {"enum": [*range(1, 3001, 2)]}
    matcher = reader({"type": "integer", "minimum": 0, "not": {"anyOf": [*odd]}})
    assert matcher.distance() == 5
    assert accepts({"type": "integer", "minimum": 0, "not": {"anyOf": [*odd]}}, "3001")


@pytest.mark.parametrize(
    ("schema", "shortest"),
    [
        (
            {"minProperties": 3, "required": [""], "oneOf": [{}, {"const": {"b": 1}}]},
            b'{"":0," ":0,"!":0}',
        ),
        ({"minProperties": 3, "propertyNames": {"pattern": "^(a*|bcd)$"}}, b'{"":0,"a":0,"aa":0}'),
        ({"minProperties": 2, "propertyNames": {"minLength": 300}}, b'{"%b":0,"%b!":0}' % (300 * b" ", 299 * b" ")),
    ],
)
def test_each_new_key_costs_what_the_cheapest_unwritten_one_does(schema: Any, shortest: bytes) -> None:
    """A guess of what new keys cost changed with the classes of keys: after some bytes nothing lowered distance()."""
    matcher = reader({"type": "object", **schema}, key_order="schema", whitespace="compact")
    for at, byte in enumerate(shortest):
        assert matcher.distance() == len(shortest) - at + 1
        assert matcher.accept(byte)
    assert matcher.distance() == 1


@pytest.mark.parametrize("spelling", ["any", "canonical"])
def test_a_number_meets_what_is_counted_by_its_value_in_any_spelling(spelling: str) -> None:
    """An integer with an exponent was no integer to `contains`."""
    schema = {"items": {"type": "number"}, "contains": {"type": "integer"}, "maxContains": 1, "type": "array"}
    for text in ("[1e5,2]", "[2,5.0]", "[5.0,2]", "[1e+17,2]", "[2e0,0.5]"):
        matcher = reader(schema, spelling=spelling, whitespace="compact")
        assert not (matcher.accept_bytes(text.encode()) and matcher.can_stop()), text
    matcher = reader(schema, spelling=spelling, whitespace="compact")
    assert matcher.accept_bytes(b"[1.5,2,0.5]")
    assert matcher.can_stop()


def test_an_exponent_is_written_where_bounds_alone_decide_what_is_counted() -> None:
    """All exponents were banned beside a counted lattice; 4e0 is below its bound, whatever it divides."""
    schema = {"items": {"type": "number"}, "contains": {"type": "integer", "minimum": 5}, "maxContains": 1}
    for text, verdict in (
        ("[4e0,5]", True),
        ("[5,4e0]", True),
        ("[5,6e0]", False),
        ("[5,6]", False),
        ("[5e0,4]", False),
    ):
        matcher = reader({"type": "array"} | schema, spelling="any", whitespace="compact")
        assert (matcher.accept_bytes(text.encode()) and matcher.can_stop()) == verdict, text


def test_an_excluded_number_out_of_bounds_keeps_no_exponent_from_what_is_counted() -> None:
    """That 9e4 is not 5 was not read, as 5 alone excluded has no exponents: no item ever met `contains`."""
    schema = {"type": "array", "contains": {"not": {"const": 5}}, "items": {"type": "number", "minimum": 1000}}
    matcher = reader(schema | {"minItems": 2}, spelling="any", whitespace="compact")
    assert matcher.accept_bytes(b"[9e4,5E5")
    assert matcher.distance() == 2
    assert matcher.accept_bytes(b"]")
    assert matcher.can_stop()


def test_alternatives_that_exclude_each_other_do_not_use_up_the_ways_to_an_end() -> None:
    """Of more than 256 combinations, most of them empty, distance() looked at all but the only one left."""
    objects = [{"a": 0}, {"a": 1}, {"b": []}, {"b": {}}, {"b": 1}, {"b": [1]}, {"a": [], "b": 1}, {"a": []}]
    schema = {"oneOf": [{"enum": [{"a": {}}, {"a": {"b": 0}}]}, {"enum": [{"a": value} for value in objects]}]}
    matcher = reader(schema, whitespace="compact")
    assert matcher.accept_bytes(b'{"a":{"b":1,')
    assert matcher.distance() == len(b'"a":[]}}') + 1


def test_of_hundreds_of_ways_to_decide_the_last_one_is_found_too() -> None:
    """Of the 512 ways that a text's first character decides 256 were known: distance() was -1 in all others."""
    bits, first = 9, 0x4E00

    def beginning(bit: int, value: int) -> str:
        return "^[" + "".join(chr(first + n) for n in range(2**bits) if n >> bit & 1 == value) + "]"

    schema = {
        "required": ["v"],
        "properties": {"v": {"type": "string"}},
        "type": "object",
        "allOf": [
            {
                "anyOf": [
                    {"properties": {"v": {"pattern": beginning(bit, value)}}, "required": [f"{name}{bit}"]}
                    for value, name in ((1, "w"), (0, "z"))
                ]
            }
            for bit in range(bits)
        ],
    }
    compiled = guard.compile(schema, whitespace="compact", limits=guard.Limits(alternatives=1_000_000))
    for char in (chr(first), chr(first + 2**bits - 1)):
        matcher = compiled.matcher(byte_vocabulary())
        text = f'{{"v":"{char}'
        assert matcher.accept_bytes(text.encode())
        members = "".join(f',"{"z" if char == chr(first) else "w"}{bit}":0' for bit in range(bits))
        assert matcher.distance() == len(f'"{members}}}') + 1


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{"pattern": f"^a.*{n}"} for n in range(300)]},
        {"pattern": "".join(f"(?=.*{chr(97 + n)})" for n in range(26))},
    ],
)
def test_a_search_inside_of_a_language_holds_to_the_limit_of_seconds(schema: Any) -> None:
    """Only searches of the algebra looked at the clock."""

    def search() -> None:
        matcher = guard.compile(schema, limits=guard.Limits(seconds=0.3)).matcher(byte_vocabulary())
        matcher.distance()
        allowed(matcher, byte_vocabulary())

    with clock.working() as work, pytest.raises(guard.SchemaError) as raised:
        search()
    assert raised.value.limit in ("seconds", "states", "depth")
    assert work.seconds < 5


def test_counts_of_items_that_are_the_schema_itself_come_to_an_end() -> None:
    """Both ways of a literal at once left a row that was looked into for ever."""
    assert reader({"type": "array", "minContains": 2, "maxContains": 2, "contains": {"$ref": "#"}}).distance() == -1
    few = {"minContains": 0, "maxContains": 1, "contains": {"type": ["object", "number", "boolean"]}}
    schema = {"type": "array", "oneOf": [{**few, "uniqueItems": True}, few]}
    assert accepts(schema, '["a","a"]')
    assert not accepts(schema, '["a","b"]')
    assert not accepts(schema, "[1,1]")


@pytest.mark.parametrize(
    ("schema", "first", "second"),
    [
        ({"contains": {"properties": {"b": {}, "a": {}}}, "minContains": 0}, '[{"b":1,"a":1}]', '[{"a":1,"b":1}]'),
        ({"if": {"properties": {"b": {}, "a": {}}}}, '{"b":1,"a":1}', '{"a":1,"b":1}'),
    ],
)
def test_what_asserts_nothing_says_in_which_order_keys_come(schema: Any, first: str, second: str) -> None:
    """`contains` with a minimum of 0 and `if` alone apply in place, and were left out."""
    for text, right in ((first, True), (second, False)):
        matcher = reader(schema, key_order="schema")
        assert (matcher.accept_bytes(text.encode()) and matcher.can_stop()) == right, text


def test_counts_of_items_are_reckoned_whatever_their_size() -> None:
    """Each item that `minContains` asks for was a step deeper, and 2,500 met the limit of depth."""
    null = {"contains": {"type": "null"}}
    for schema, distance in [
        ({"minContains": 2500} | null, 6 * 2500 + 1),
        ({"minContains": 10**9, "maxContains": 10**9} | null, 6 * 10**9 + 1),
        ({"prefixItems": [{"const": 1}], "minContains": 10**9, "minItems": 10**9 + 9} | null, 6 * 10**9 + 3 * 9 + 1),
        ({"minContains": 10**9, "maxItems": 10**9 - 1} | null, -1),
        ({"allOf": [{"minContains": 5000} | null, {"minContains": 5000, "contains": {"const": 1}}]}, 9 * 5000 + 1),
    ]:
        assert reader({"type": "array"} | schema, whitespace="spaced").distance() == distance, schema


@pytest.mark.parametrize("items", [{"enum": [None, 1]}, {"const": None}, {"const": 1}, False])
def test_a_count_of_items_is_met_or_not_and_at_what_cost(items: Any) -> None:
    """Against every number of items that count and that don't."""
    for at_least, at_most, shortest, longest in product(range(4), repeat=4):
        bounds = {"minContains": at_least, "maxContains": at_most, "minItems": shortest, "maxItems": longest}
        schema = {"type": "array", "items": items, "contains": {"type": "null"}, **bounds}
        texts = [
            json.dumps([None] * hits + [1] * others)
            for hits in range(4 if items in ({"const": None}, {"enum": [None, 1]}) else 1)
            for others in range(4 if items in ({"const": 1}, {"enum": [None, 1]}) else 1)
            if at_least <= hits <= at_most and shortest <= hits + others <= longest
        ]
        expected = 1 + min(map(len, texts)) if texts else -1
        assert reader(schema, whitespace="spaced").distance() == expected, schema


def test_a_free_number_below_1e_7_has_one_canonical_spelling() -> None:
    """`0.00000005` was allowed beside `5e-8`."""
    for text, canonical in [("0.0000005", True), ("0.00000005", False), ("5e-8", True), ("5e-7", False)]:
        matcher = reader({"type": "number"}, spelling="canonical")
        assert (matcher.accept_bytes(text.encode()) and matcher.can_stop()) == canonical


LONGER = ['"', '":', '"":', 'a"', 'a":', '": "', '": 1', '": 1, "', 'ab": {', '", "', "ab", "xa", '{"', '{"a', "1, "]
LONGER += ['"}', "é", "文a", "aaaa", 'aa"', '\\u0061":', ', "', "  "]
TOKENS = [*(bytes([byte]) for byte in range(256)), *map(str.encode, LONGER)]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 3},
        {"type": "object", "properties": {"a": {}, "ab": {"type": "integer"}}, "required": ["ab"], "minProperties": 2},
        {"type": "object", "patternProperties": {"a": {"type": "integer"}, "b|^$": {"minimum": 3}}, "minProperties": 2},
        {"anyOf": [{"type": "object", "properties": {k: {"type": "integer"}}, "required": [k]} for k in ("a", "ab")]},
        {"type": "string", "pattern": "^[a文]*$", "minLength": 9},
        {"type": "string", "pattern": "a..$"},
        {"enum": ["aaa", "ab", "文文"]},
    ],
    ids=str,
)
@pytest.mark.parametrize("options", [{}, EVERY_WAY], ids=["default", "every way"])
def test_a_mask_and_a_budget_tell_every_token_as_accept_and_distance_do(schema: Any, options: dict[str, str]) -> None:
    """Tokens share frames and costs; a budget once left out the bare quote behind a key."""
    vocabulary = guard.Vocabulary.from_bytes([*TOKENS, b""], eos=[len(TOKENS)])
    compiled = guard.compile(schema, **options)
    r = Random(5)
    for _ in range(6):
        matcher = compiled.matcher(vocabulary)
        for _ in range(14):
            after = {}
            for token in range(len(TOKENS)):
                if matcher.accept(token):
                    after[token] = matcher.distance()
                    matcher.rollback()
            going = [token for token in allowed(matcher, vocabulary).tolist() if token < len(TOKENS)]
            assert going == list(after)
            distance = matcher.distance()
            for remaining in (distance - 1, distance, distance + 3):
                within = [token for token, left in after.items() if 1 + left <= remaining]
                mask = allowed(matcher, vocabulary, remaining).tolist()
                assert [token for token in mask if token < len(TOKENS)] == within
            if not going:
                break
            likely = [token for token in going if len(TOKENS[token]) > 1]
            assert matcher.accept(r.choice(likely if likely and r.random() < 0.7 else going))


@pytest.mark.parametrize(
    ("pattern", "least", "distance"),
    [
        ("^[a文]*$", 10_000, 10_003),
        ("^(文文|aaa)*$", 9_998, 10_002),  # two of three bytes among threes of one
        ("^(文a)*$", 10_000, 20_003),
        ("^x?文*$", 3_000, 9_001),
        ("^(文{5}|a{7})*b$", 20, 25),
    ],
)
def test_a_long_text_costs_what_its_cheapest_characters_cost(pattern: str, least: int, distance: int) -> None:
    """Reckoned anew for every token, the mask of a long minLength beside a pattern took minutes under a budget."""
    matcher = reader({"type": "string", "pattern": pattern, "minLength": least})
    assert matcher.distance() == distance


def test_a_key_of_a_pattern_that_few_keys_meet_is_a_name_beside_classes_that_have_all_others() -> None:
    """Where every class of keys may come a text was read as a key of one of them, be it a name that is in none."""
    schema = {
        "patternProperties": {"^a$": {"type": "null"}, "b": {"type": "integer"}, "^c": {"type": ["string", "integer"]}}
    }
    vocabulary = byte_vocabulary()
    for text in (b'{"', b'{"a', b'{"ab', b'{"cb'):
        matcher = reader(schema)
        assert matcher.accept_bytes(text)
        within = set(allowed(matcher, vocabulary, matcher.distance()).tolist())
        assert within <= set(allowed(matcher, vocabulary).tolist())
        assert within
    assert accepts(schema, '{"a":null,"ab":1,"cd":"x","cb":2,"z":[]}')
    assert not accepts(schema, '{"a":1}')
    assert not accepts(schema, '{"cb":"x"}')


def test_the_cheapest_way_through_many_clauses_is_found() -> None:
    """A search that tried one choice after the other ran out of steps: the least text was taken to have 61 bytes."""
    parts = [
        {
            "type": "object",
            "properties": {f"p{j}": {"type": ("string", "integer")[i >> j & 1]} for j in range(6)},
            "required": ["p0"],
        }
        for i in range(41)
    ]
    matcher = guard.compile({"oneOf": parts}, key_order="any").matcher(byte_vocabulary())
    least = '{"p5": 0, "p3": 0, "p0": ""}'  # no alternative but the last has integers there
    assert matcher.distance() == len(least) + 1
    assert matcher.accept_bytes(least.encode())
    assert matcher.can_stop()


@pytest.mark.parametrize("strict_first", [True, False])
def test_schemas_that_look_alike_are_one_only_where_the_same_vocabularies_read_them(strict_first: bool) -> None:
    """Where a metaschema leaves validation out, `{"minimum": 5}` asks nothing; it was one node with one that asks."""
    vocabularies = "https://json-schema.org/draft/2020-12/vocab/"
    meta = {
        "$id": "https://example.com/no-validation",
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$vocabulary": {f"{vocabularies}core": True, f"{vocabularies}applicator": True},
    }
    lax = {"$id": "https://example.com/lax", "$schema": meta["$id"], "properties": {"n": {"minimum": 5}}}
    parts = {"a": {"properties": {"n": {"minimum": 5}}}, "b": {"$ref": lax["$id"]}}
    schema = {"properties": dict(parts.items() if strict_first else reversed(parts.items()))}
    documents = {meta["$id"]: meta, lax["$id"]: lax}

    def valid(text: str) -> bool:
        matcher = guard.compile(schema, documents=documents, key_order="any").matcher(byte_vocabulary())
        return matcher.accept_bytes(text.encode()) and matcher.can_stop()

    assert valid('{"a": {"n": 6}, "b": {"n": 1}}')
    assert valid('{"b": {"n": 1}, "a": {"n": 6}}')
    assert not valid('{"b": {"n": 1}, "a": {"n": 1}}')


@pytest.mark.parametrize("schema", [{"uniqueItems": True}, {"oneOf": [{}, {"uniqueItems": True}]}])
def test_what_a_token_adds_to_a_key_counts_where_items_are_compared(schema: dict[str, Any]) -> None:
    """A token that ends a key was taken for its quote alone: `b": 1}` behind `[{"b":1},{"` wrote the key ""."""
    tokens = guard.Vocabulary.from_bytes([*EVERY_BYTE, b'b": 1}', b'b": 1},', b'c": 1}', b""], eos=[259])
    for before in (b'[{"b":1},{"', b'[{"a":1,"b":1},{"a":1,"', b'[{"a":1,"'):
        matcher = guard.compile(schema, whitespace="any").matcher(tokens)
        assert matcher.accept_bytes(before)
        taken = {token for token in range(256, 259) if matcher.copy().accept(token)}
        assert set(allowed(matcher, tokens).tolist()) & set(range(256, 259)) == taken


def test_what_a_token_adds_to_a_declared_key_counts_where_items_are_compared() -> None:
    """The mask read `b": 1},` behind `[{"a":1,"` as the key "", of which there can be no second item."""
    pairs = {"patternProperties": {"^[ab]$": {"enum": [0, 1]}}, "additionalProperties": False}
    schema = {"type": "array", "not": {"uniqueItems": True}, "items": {"type": "object", **pairs}, "maxItems": 2}
    tokens = guard.Vocabulary.from_bytes([*EVERY_BYTE, b'b": 1},', b'a": 1},', b""], eos=[258])
    matcher = guard.compile(schema).matcher(tokens)
    assert matcher.accept_bytes(b'[{"a": 1, "')
    assert set(allowed(matcher, tokens).tolist()) & {256, 257} == {256}


def test_a_budget_leaves_room_for_an_escape_that_begins_in_a_declared_key() -> None:
    """What a member takes was told on sight without it: behind the backslash more was needed than was left."""
    schema = {
        "properties": {"transactionId": {}, "id": {}},
        "required": ["transactionId"],
        "additionalProperties": False,
    }
    matcher = reader(schema)
    assert matcher.accept_bytes(b'{"t\\u0072')
    for remaining in range(matcher.distance(), matcher.distance() + 12):
        behind = matcher.copy()
        if ord("\\") in allowed(matcher, byte_vocabulary(), remaining):
            assert behind.accept(ord("\\"))
            assert behind.distance() < remaining


def test_a_row_that_is_held_is_that_of_a_budget_for_which_it_was_made() -> None:
    """In a text the next mask is the last one as long as the budget rules nothing out; below that it is another."""
    matcher = reader({"type": "array", "items": {"type": "string"}, "maxItems": 1})
    assert matcher.accept_bytes(b'["a')
    assert matcher.distance() == 3
    rows = [set(allowed(matcher, byte_vocabulary(), remaining).tolist()) for remaining in (40, 4, 3, 40, 0, 4)]
    assert rows[0] == rows[3] > rows[1] == rows[5] > rows[2] == {ord('"')}
    assert rows[4] == set()


def test_a_budget_too_small_for_new_keys_lets_no_name_come_again() -> None:
    """A name out of its turn was allowed as if it were a key of no name, where only its closing quote tells."""
    tokens = guard.Vocabulary.from_bytes([*EVERY_BYTE, b'b":', b""], eos=[257])
    schema = {"properties": {"b": {"type": "integer"}, "a": {"type": "array"}}, "required": ["a"]}
    matcher = guard.compile(schema, key_order="schema").matcher(tokens)
    assert matcher.accept_bytes(b'{"a": [], "')
    assert not matcher.accept(256)
    for remaining in range(matcher.distance() + 6):
        assert 256 not in allowed(matcher, tokens, remaining)


def test_a_budget_counts_that_the_cheapest_key_was_just_written() -> None:
    """Behind `": 0,` another key than the empty one must come, where the key that the token ends is the empty one."""
    tokens = guard.Vocabulary.from_bytes([*EVERY_BYTE, b'": 0,', b""], eos=[257])
    for written in ("", "a"):
        matcher = guard.compile({}, whitespace="flexible").matcher(tokens)
        assert matcher.accept_bytes(b'{"b":{"' + written.encode())
        behind = matcher.copy()
        assert behind.accept(256)
        for remaining in range(behind.distance() + 3):
            assert (256 in allowed(matcher, tokens, remaining)) == (behind.distance() < remaining)


def test_a_control_character_of_a_name_comes_as_an_escape() -> None:
    """Where none but names may come, a mask allowed the character itself, which accept() refused."""
    matcher = reader({"properties": {"a\nb": {}}, "additionalProperties": False})
    assert matcher.accept_bytes(b'{"a')
    assert set(allowed(matcher, byte_vocabulary()).tolist()) == {ord("\\")}
    assert matcher.accept_bytes(b'\\nb":1}')


def test_a_budget_knows_a_key_that_was_spelled_with_escapes() -> None:
    """`\\u0061` is the cheapest key as well: the next one is dearer behind it, too."""
    tokens = guard.Vocabulary.from_bytes([*EVERY_BYTE, rb'\u0061":0', b'a":0', b""], eos=[258])
    schema = {"propertyNames": {"pattern": "^(a|b{3,})$"}, "minProperties": 2}
    matcher = guard.compile(schema, key_order="any", whitespace="any", spelling="any").matcher(tokens)
    assert matcher.accept_bytes(b'{"')
    for remaining in range(matcher.distance() + 3):
        for token in (256, 257):
            behind = matcher.copy()
            assert behind.accept(token)
            assert (token in allowed(matcher, tokens, remaining)) == (behind.distance() < remaining)


@pytest.mark.parametrize("spelling", ["canonical", "any"])
@pytest.mark.parametrize(
    "pattern",
    [
        r"^([\s\S]*(?=a)b|xyz)$",  # any text may come first, and none comes to an end: a mask allowed all of them
        r"^(.*(?=a)b|xyz)$",
        r"^.*.txt$",
        r"^(.*\n.*x|[^a]*b)$",
        r"^[ -~]*z$",
        r"^.*$",
        r"^https?:\/\/.*?\..*$",
    ],
)
def test_where_nearly_any_text_may_come_masks_are_those_by_bytes(pattern: str, spelling: str) -> None:
    """Line ends, which `.` leaves out, as escapes and as characters, within tokens and at their ends."""
    odd = [
        "\\n",
        "a\\nb",
        "\\",
        "\\u",
        "\\u000a",
        "\\u2028",
        "\u2028",
        "\u2028a",
        "x\u2028",
        "xy",
        'txt"',
        'b"',
        "\\nx",
    ]
    tokens = guard.Vocabulary.from_bytes([*EVERY_BYTE, *(t.encode() for t in odd), b""], eos=[256 + len(odd)])
    for bounds in ({}, {"minLength": 3}, {"maxLength": 5}):
        schema = {"type": "string", "pattern": pattern, **bounds}
        for text in ("", "x", "xy", "http://a", "a.tx"):
            matcher = guard.compile(schema, spelling=spelling).matcher(tokens)
            if not matcher.accept_bytes(b'"' + text.encode()):
                continue
            fast, slow = allocate_bitmask(2, tokens.size)[:, None]
            matcher.fill_bitmask(fast)
            matcher.fill_bitmask_by_bytes(slow)
            assert (fast == slow).all()


def test_a_format_beside_a_length_is_found_to_have_texts_without_a_search() -> None:
    """A shortest text of a date and time is found among thousands of states: the member's key took 60 ms."""
    for bounds, inhabited in (
        ({"minLength": 1}, True),
        ({"maxLength": 64}, True),
        ({"maxLength": 19}, False),
        ({"minLength": 20, "maxLength": 20}, True),
    ):
        schema = {"properties": {"at": {"type": "string", "format": "date-time", **bounds}}}
        assert reader(schema).accept_bytes(b'{"at": "2') == inhabited


@pytest.mark.parametrize(
    ("schema", "options"),
    [
        # A name with an escape came first among those that must come, and the other one was written in its place.
        (
            {
                "type": "object",
                "properties": {"\n": {"type": "object"}, "ab": {"type": "string"}},
                "required": ["\n", "ab"],
            },
            {"key_order": "any", "whitespace": "compact"},
        ),
        # Behind an undeclared key members come in another order than behind the name that stood for all of them.
        (
            {
                "type": "object",
                "properties": {"": {}},
                "additionalProperties": {"type": "object", "properties": {"a": {}, "": {}}, "required": ["", "a"]},
            },
            {"key_order": "schema"},
        ),
    ],
)
def test_a_budget_in_tokens_is_what_distances_say_along_a_completion(
    schema: dict[str, Any], options: dict[str, str]
) -> None:
    tokens = guard.Vocabulary.from_bytes([*EVERY_BYTE, b'b":', b'a":', b'{"', b'", "', b'":{', b""], eos=[261])
    matcher = guard.compile(schema, **options).matcher(tokens)
    for text in (b"", b'{"', b'{"b', b'{"ab', b'{"ab":"', b'{"b": {"'):
        matcher.reset()
        if not matcher.accept_bytes(text):
            continue
        after = {}
        for token in range(tokens.size):
            if matcher.accept(token):
                after[token] = 1 + matcher.distance()
                matcher.rollback()
        for remaining in range(matcher.distance(), matcher.distance() + 9):
            expected = [token for token, needed in after.items() if needed <= remaining]
            assert allowed(matcher, tokens, remaining).tolist() == expected, (text, remaining)


def test_a_search_among_hundreds_of_rules_looks_at_the_clock(data: Path) -> None:
    """The rules that bind a key were joined without a look: 0.6 s of half a second, and 25 s of ten, went by."""
    with gzip.open(data / "maskbench.jsonl.gz", "rt", encoding="utf-8") as lines:
        documents = map(json.loads, lines)
        schema = next(d["schema"] for d in documents if d["id"] == "JsonSchemaStore---schema.json")
    compiled = guard.compile(schema, whitespace="any", spelling="any", limits=guard.Limits(seconds=0.5))
    matcher, row = compiled.matcher(byte_vocabulary()), allocate_bitmask(1, byte_vocabulary().size)
    assert matcher.accept_bytes(
        b'{"version": 1, "projects": {"a": {"root": "", "projectType": "application", "architect"'
    )
    longest_search()  # the first call begins to measure
    with contextlib.suppress(guard.SchemaError):  # a search takes too long
        for byte in b':{"build":':
            matcher.fill_bitmask(row, remaining=matcher.distance())
            assert matcher.accept_bytes(bytes([byte]))
    assert longest_search() < 0.1

"""A private copy of a schema is equal to it, a tree, of plain types; the fast copy is the slow one."""

from __future__ import annotations

import math
from collections import OrderedDict
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import guard
from guard.kernels._native import JsonTree
from guard.kernels.errors import SchemaError
from guard.schemas import jsontext
from guard.schemas.limits import Limits

WORDS = ["$id", "id", "$schema", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$ref", "type", "a\ud800", "é"]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(WORDS),
    st.just(2**13_000),
)
ODD = st.sampled_from([Decimal(1), (1, 2), OrderedDict(a=1), {1: 2}, b"x"])
VALUES = st.recursive(
    SCALARS | ODD,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


def is_plain(value: Any, left: int) -> bool:
    """Say whether it is what JsonTree.of takes, at most so many levels deep."""
    if type(value) in (dict, list):
        items = value.values() if type(value) is dict else value
        keys = all(type(key) is str for key in value) if type(value) is dict else True
        return left > 0 and keys and all(is_plain(item, left - 1) for item in items)
    if type(value) is int:
        return value.bit_length() <= 3 * jsontext.LONGEST_INTEGER
    return value is None or type(value) in (str, bool) or (type(value) is float and math.isfinite(value))


def words(value: Any, level: int = 0) -> int:
    """Return the bits of what a document has."""
    found = 0
    for key, item in value.items() if type(value) is dict else ():
        found |= jsontext.ID * (level > 0 and key == "$id")
        found |= jsontext.OLD_ID * (level > 0 and key == "id" and type(item) is str)
        found |= jsontext.SCHEMA * (level > 0 and key == "$schema")
        found |= jsontext.ROOT * (level == 0 and key in ("$id", "id", "$schema"))
        found |= jsontext.ANCHOR * (key in ("$anchor", "$dynamicAnchor", "$recursiveAnchor"))
    for item in value.values() if type(value) is dict else value if type(value) is list else ():
        found |= words(item, level + 1)
    return found


def containers(value: Any) -> list[int]:
    """Return the identity of each object and array."""
    items = value.values() if type(value) is dict else value if type(value) is list else None
    return [] if items is None else [id(value), *(found for item in items for found in containers(item))]


def kinds(value: Any) -> Any:
    """Return a value with the types of its scalars told."""
    if type(value) is dict:
        return ["object", *((key, kinds(item)) for key, item in value.items())]
    return [kinds(item) for item in value] if type(value) is list else (type(value), repr(value))


SHARED = {"type": "string"}


@given(VALUES, st.integers(1, 6))
@example({"a": SHARED, "b": [SHARED, SHARED]}, 6)
@example([[[[]]]], 4)
@example([[[[]]]], 3)
def test_a_copy_is_equal_and_a_tree_where_the_value_is_plain_and_none_where_it_is_not(value: Any, depth: int) -> None:
    """Bits of words included; nothing of the value's own is in it but strings and numbers."""
    found = JsonTree.of(value, depth, 100_000)
    if not is_plain(value, depth):
        assert found is None
        return
    assert found is not None
    made = found.contents
    assert kinds(made) == kinds(value)
    assert found.met == words(value)
    assert found.contents is made or type(value) not in (dict, list)
    for key in WORDS[:-2]:
        assert (key in found) == (type(value) is dict and key in value)
        assert kinds(found.get(key)) == kinds(value.get(key) if type(value) is dict else None)
    assert len(set(containers(made))) == len(containers(made))
    assert not set(containers(made)) & set(containers(value))
    assert kinds(jsontext._plain(value, Limits(), "")) == kinds(made)


@given(VALUES, VALUES)
@example("1", 1)
@example([1, 1], [[1], 1])
@example({"a": 1, "b": 2}, {"b": 2, "a": 1})
@example([2**70, 1], [2**70, 2])
@example([hex(2**70), 1], [2**70, 1])
@example([True, 0.0], [1, -0.0])
@example(["\u0100", "a"], ["a\u0100"])
@example([{}, []], [[], {}])
def test_the_bytes_of_a_copy_tell_contents_apart(one: Any, other: Any) -> None:
    """Equal for equal contents, however they were built; different where keys, their order, types or items differ."""
    found, again, copied = (JsonTree.of(value, 9, 100_000) for value in (one, other, one))
    if found is None or again is None:
        return
    assert (found.written == again.written) == (kinds(one) == kinds(other))
    assert copied is not None
    assert copied.written == found.written


def test_a_copy_ends_at_its_limits() -> None:
    """Characters, containers, and what is shared or cyclic, which unfolds."""
    assert JsonTree.of(["x" * 90], 5, 100)
    assert JsonTree.of(["x" * 110], 5, 100) is None
    assert JsonTree.of([[]] * 11, 5, 96)
    assert JsonTree.of([[]] * 12, 5, 96) is None
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    assert JsonTree.of(cyclic, 900, 10**9) is None
    wide: Any = 1
    for _ in range(60):
        wide = [wide, wide]
    assert JsonTree.of(wide, 900, 1_000_000) is None


class Whole(int):
    """A number of a type that no JSON reader makes."""


class Real(float):
    """As are NumPy's."""


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("1" + "0" * 3700, "expected a schema, got"),
        ({"$ref": "u"}, "expected a schema, got"),
        ({"const": Whole(10**5000)}, "above the limit digits"),
        ({"maximum": Real("nan")}, "not a valid schema"),
        ({"definitions": {"": {"pattern": "("}}, "$schema": "http://json-schema.org/draft-06/schema#"}, "regex"),
        (
            {"properties": {"\ud800": {"pattern": "("}}, "$schema": "http://json-schema.org/draft-04/schema#"},
            "a lone surrogate",
        ),
    ],
)
def test_what_is_no_plain_json_is_refused_in_words(schema: Any, said: str) -> None:
    """Numbers too long or endless, at the root or of types of their own; places that a validator can't name."""
    with pytest.raises(SchemaError, match=said):
        guard.compile(schema, documents={"u": math.nan} if "$ref" in schema else None)


def test_who_changes_the_contents_changes_nothing_else() -> None:
    """They are to be read only; a schema in which somebody writes is wrong, and does not take the process with it."""
    compiled = guard.compile({"properties": {"a": {"type": "string"}, "b": {"items": {"minimum": 1}}}})
    compiled.contents["properties"].clear()
    others = [{f"z{number}": number} for number in range(1000)]
    assert [line.pointer for line in compiled.report] == [
        "/properties",
        "/properties/a/type",
        "/properties/b/items",
        "/properties/b/items/minimum",
    ]
    assert len(others) == 1000


@given(VALUES)
@example({"a" * 63: ["b" * 130, {"c" * 65: "é" * 64}]})
def test_a_tree_is_weighed_by_its_values_and_its_texts(value: Any) -> None:
    """One for each value, and for each 64 bytes of a text, or of all keys together."""
    tree = JsonTree.of(value, 90, 100_000)
    if tree is None:
        return
    values, texts, keys, todo = 0, 0, 0, [value]
    while todo:
        part = todo.pop()
        values += 1
        texts += len(part.encode(errors="surrogatepass")) // 64 if type(part) is str else 0
        keys += sum(len(key.encode(errors="surrogatepass")) for key in part) if type(part) is dict else 0
        todo += part.values() if type(part) is dict else part if type(part) is list else ()
    assert tree.weight == values + texts + keys // 64

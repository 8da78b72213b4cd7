import enum
import functools
import json
import re
import string
import tracemalloc
from collections import OrderedDict
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from guard.support import json_pieces
from guard.support.json_pieces import COMPACT, PART, SMALL, WINDOW, compact, encoded, is_small, pieces, weight

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=60,
)


class Kind(enum.IntEnum):
    ONE = 1


ENCODERS = pytest.mark.parametrize("encoder", [json.JSONEncoder(ensure_ascii=False), COMPACT, json.JSONEncoder()])


@ENCODERS
@given(VALUES, st.integers(1, 40), st.integers(1, 9))
@settings(max_examples=300)
def test_pieces_are_what_the_encoder_writes_however_small_they_are(encoder, value, small, window):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_pieces, "ONCE", small)
        patch.setattr(json_pieces, "SMALL", small)
        patch.setattr(json_pieces, "WINDOW", window)
        patch.setattr(json_pieces, "PART", 2)
        assert "".join(pieces(value, encoder)) == encoder.encode(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec=None)), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
@example([-0.0, 1e16, 1e-7, 5e-324, 1e308, float("inf"), float("nan"), 10**30, -(2**63), 1.0, 1, True, None])
@example({"\ud800": ['\0\x1f\x7f\u2028"\\/é😀', "\udc00\ud800"]})
@settings(max_examples=300)
def test_the_quick_encoder_writes_what_pythons_writes(value):
    """But for how a float is spelled: 1e-05 or 0.00001."""
    assert repr(json.loads(compact(value))) == repr(json.loads(COMPACT.encode(value)))
    if not re.search(r"\d\.\d|\de-|inf|nan", repr(value)):
        assert compact(value) == COMPACT.encode(value)
    assert encoded(value) == compact(value).encode(errors="backslashreplace")


@pytest.mark.parametrize("other", [Decimal("1.50"), b"ab", date(2026, 1, 1), {1}, Kind, object()])
def test_what_json_does_not_have_is_refused_and_not_written_as_something_else(other):
    for value in (other, [{"a": other}], {"a": [1, other]}):
        for write in (compact, encoded):
            with pytest.raises(TypeError, match="not JSON serializable"):
                write(value)


def test_kinds_of_jsons_types_are_written_as_python_writes_them():
    value = {None: Kind.ONE, True: (1, 2), 1.5: OrderedDict(a=Kind.ONE)}
    assert compact(value) == COMPACT.encode(value) == '{"null":1,"true":[1,2],"1.5":{"a":1}}'


def test_the_quick_encoder_gives_what_nests_deeply_to_pythons():
    deep = functools.reduce(lambda inner, _: {"a": [inner]}, range(300), 1.5)
    assert compact(deep) == COMPACT.encode(deep)


@pytest.mark.parametrize(
    "value",
    [
        "a" * 1_000_000,
        '\u0001\\"é😀' * 200_000,
        ["x" * 1_000_000, {"y": "z" * 1_000_000}],
        {"k" * 1_000_000: 1},
        {"a": list(range(100_000)), "b": [{"c": n} for n in range(30_000)]},
        [[[[["d" * 1_000_000]]]]],
        {5: "e" * 1_000_000, None: 1},
        list(string.printable) * 1_000,
    ],
    ids=["letters", "escapes", "nested", "a key", "values", "deep", "keys that are none", "texts"],
)
@ENCODERS
def test_no_piece_of_a_large_value_is_large(value, encoder):
    found = list(pieces(value, encoder))
    assert "".join(found) == encoder.encode(value)
    # A character may be escaped by twelve, and a part is a few characters or 64 of a text.
    assert max(map(len, found)) <= max(12 * WINDOW, 12 * 64 * SMALL)
    assert max(map(len, found)) < len(encoder.encode(value)) / 3


def test_halves_of_surrogate_pairs_are_escaped_as_json_has_them():
    assert encoded({"a": ["\ud800", "é😀"]}) == '{"a":["\\ud800","é😀"]}'.encode()
    assert json.loads(encoded("\udc00" * 3)) == "\udc00" * 3


def weighed(value: Any) -> int:
    """Count the parts of a value one by one."""
    own = 1 + (len(value) // PART if isinstance(value, str) else 0)
    if isinstance(value, dict):
        return own + sum(weighed(key) + weighed(item) for key, item in value.items())
    return own + sum(map(weighed, value)) if isinstance(value, list) else own


WEIGHED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("long" * 50),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3) | st.just("k" * 70), inner),
)


@given(WEIGHED, st.integers(0, 40))
def test_a_weight_is_the_number_of_parts_or_above_the_most(value: Any, most: int) -> None:
    found = weight(value, most)
    assert found == weighed(value) if weighed(value) <= most else most < found <= weighed(value)


@given(WEIGHED, st.integers(0, 40))
def test_a_small_value_weighs_at_most_so_much(value: Any, most: int) -> None:
    assert is_small(value, most) == (weighed(value) <= most)


def of_other_kinds(value: Any) -> Any:
    """The same with a class of its own for each container and text, of which the kernel knows nothing."""
    if isinstance(value, dict):
        return OrderedDict((Text(key), of_other_kinds(item)) for key, item in value.items())
    if isinstance(value, list):
        return List(map(of_other_kinds, value))
    return Text(value) if isinstance(value, str) else value


class Text(str):
    __slots__ = ()


class List(list[Any]):
    pass


@given(WEIGHED, st.integers(0, 40))
def test_what_is_of_other_kinds_weighs_as_much(value: Any, most: int) -> None:
    other, wanted = of_other_kinds(value), weighed(value)
    for found, right in ((weight(other, most), wanted), (weight([value, other], most), 1 + 2 * wanted)):
        assert found == right if right <= most else most < found <= right


@pytest.mark.parametrize("part", [b"", {1: 2}, {None: 1}, {True: 1}, range(3), Kind.ONE, {"a": [(Kind.ONE,)]}])
def test_what_json_does_not_have_is_not_small(part: Any) -> None:
    assert not is_small(part, 100)
    assert not is_small([{"a": part}], 100)


def test_what_is_not_small_is_left_at_once() -> None:
    tracemalloc.start()
    try:
        for value in ([0] * 5_000_000, {"a": ["x" * 64] * 5_000_000}, {"a": [[""] * 5_000_000]}):
            tracemalloc.reset_peak()
            held, _ = tracemalloc.get_traced_memory()
            assert not is_small(value)
            assert tracemalloc.get_traced_memory()[1] - held < 10_000
    finally:
        tracemalloc.stop()


def test_a_part_is_weighed_a_few_times_however_deep_it_stands(monkeypatch):
    """A chain of containers was weighed again at each level: 180 ms for 48 kB."""
    looked_at = 0

    def counted(value, most):
        nonlocal looked_at
        found = weight(value, most)
        looked_at += min(found, most)
        return found

    monkeypatch.setattr(json_pieces, "weight", counted)
    value = [1] * 80
    for _ in range(190):
        value = {"a": value, "b": [1] * 80}
    assert "".join(pieces([value] * 6)) == COMPACT.encode([value] * 6)
    assert looked_at < 2 * weight([value] * 6, 10**9)


def test_a_deep_value_is_written_wherever_the_encoder_can():
    """Calls nested two deep for each level: what was nested 480 deep failed where its caller was 100 calls deep."""

    def below(calls, value):
        return below(calls - 1, value) if calls else ("".join(pieces(value)), COMPACT.encode(value))

    value = [1] * 20_000
    for _ in range(240):
        value = [{"a": value}]
    found, wanted = below(300, value)
    assert found == wanted


def test_a_value_that_holds_itself_is_refused():
    value = [1] * 20_000
    value.append(value)
    with pytest.raises(RecursionError, match="nested too deeply"):
        list(pieces(value))

"""JSON read in pieces is what jiter reads at once, whatever the pieces, and what jiter refuses is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import jiter
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from guard.support import json_reading
from guard.support.json_reading import read

TEXTS = st.text(st.sampled_from('abé\u2603\U0001f600"\\/\n\t{}[],: '), max_size=40)
KEYS = st.text(st.sampled_from('abé\U0001f600"\\,: '), max_size=3)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(KEYS, inner, max_size=8),
    max_leaves=60,
)
SIZES = st.sampled_from([(12, 40), (20, 60), (64, 300)])  # of a piece, and of a long string
PUT = st.sampled_from([*(bytes((byte,)) for byte in b'",:[]{} 0-e\\ux\x80\xf0\n'), b"", b'"a":1,', b"[],", b"NaN"])
SPACES = st.sampled_from([None, 1, "\t"])


def at_once(data: bytes) -> Any:
    value = jiter.from_json(data, catch_duplicate_keys=True, allow_inf_nan=False)
    json.dumps(value, allow_nan=False)  # jiter takes 1e999 for infinite
    return value


def compared(data: bytes, piece: int, long: int) -> bool:
    """Compare with jiter; returns whether both took the text."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_reading, "ONCE", 0)
        patch.setattr(json_reading, "PIECE", piece)
        patch.setattr(json_reading, "LONG", long)
        patch.setattr(json_reading, "MOST", 2 * piece + 3 * long)
        try:
            wanted = at_once(data)
        except ValueError:
            with pytest.raises(ValueError, match=r" at line \d+ column \d+$"):
                read(data)
            return False
        found = read(data)
    assert repr(found) == repr(wanted)  # 1 is not 1.0, and members have an order
    return True


@given(VALUES, st.booleans(), SPACES, SIZES)
@settings(max_examples=300, deadline=None)
def test_pieces_make_the_same_value(value: Any, ascii_: bool, indent: int | str | None, sizes: tuple[int, int]) -> None:
    data = json.dumps(value, ensure_ascii=ascii_, indent=indent).encode(errors="replace")
    assert compared(data, *sizes)


@given(st.integers(0, 330), st.integers(0, 330), st.sampled_from(["", "e", "E+", "e-"]), st.integers(0, 400))
@example(309, 0, "", 0)
@example(308, 1, "", 0)
@example(309, 1, "", 0)
@example(210, 0, "e", 99)
@example(1, 0, "e", 999)
@settings(max_examples=300, deadline=None)
def test_no_number_is_infinite(whole: int, fraction: int, mark: str, exponent: int) -> None:
    """jiter takes 1e999 for infinite, and the model's server would be sent no JSON."""
    number = "7" * max(1, whole) + ("." + "7" * fraction if fraction else "") + (f"{mark}{exponent}" if mark else "")
    for data in (number, f'{{"a": [1, {number}]}}', f'[{number}, "{"a" * 70_000}"]'):
        if math.isinf(json.loads(number) if fraction or mark else 0.0):
            with pytest.raises(ValueError, match="beyond what a float holds"):
                read(data.encode())
        else:
            assert read(data.encode()) == json.loads(data)


@given(VALUES, SPACES, SIZES, st.data())
@settings(max_examples=600, deadline=None)
def test_what_is_no_json_is_refused(value: Any, indent: int | str | None, sizes: tuple[int, int], more: Any) -> None:
    data = json.dumps(value, ensure_ascii=more.draw(st.booleans()), indent=indent).encode(errors="replace")
    for _ in range(more.draw(st.integers(1, 3))):
        begin = more.draw(st.integers(0, len(data)))
        end = begin + more.draw(st.integers(0, 4))
        put = st.sampled_from(
            [*(bytes((c,)) for c in b'",:[]{} 0-e\\ux\x80\xf0\n'), b"", b"1", b'"a":1,', b"[],", b"NaN", b"e999"]
        )
        data = data[:begin] + more.draw(put) + data[end:]
    compared(data, *sizes)


@pytest.mark.parametrize(
    "data",
    [
        b'[["aaaaaaaaaaaaaaaa"],]',
        b'[["aaaaaaaaaaaaaaaa"] 1]',
        b'["aaaaaaaaaaaaaaaaaaaa"}',
        b'{["aaaaaaaaaaaaaaaaaaaaaaa"]}',
        b'{"a":1[["aaaaaaaaaaaaaaaa"]]}',
        b'{"a":-["aaaaaaaaaaaaaaaaaaaa"]}',
        b'{"a":["aaaaaaaaaaaaaaaa"],"a":1}',
        b'{"a":1,"b":["aaaaaaaaaaaaaaaa"],"c":[],"a":2}',
        b'{"x":"aaaaaaaaaaaaaaaaa","x":1}',
        b"[,11111111111111111]",
        b"[                 ,1]",
        b"[1111111,1111111,]",
        b"[[[[[[[[[1]]]]]]]]",
        b"[[[[1]]]]]",
        b"[" * 300,
        b"[" * 300 + b"]" * 300,
        b'["\\ud83d' + b"a" * 50 + b'"]',
        b'["\\x' + b"a" * 50 + b'"]',
        b'["' + b"a" * 50,
        b'["' + b"\x80" * 90 + b'"]',
        b'["' + b"\x80" * 9_000 + b'"]',
        b'[1]"',
        b"[1] x",
        b"  ",
        b"",
    ],
)
def test_each_kind_of_fault_is_refused(data: bytes) -> None:
    assert not compared(data, 7, 40)


@pytest.mark.parametrize("depth", [1, 3, 4, 5, 150, 194])
@pytest.mark.parametrize("inner", [b"", b"1", b"1,2,3,4,5,6,7,8,9", b'"%b"' % (b"\\n" * 90), b'{"a":[1,2,3,4],"b":2}'])
def test_depth_is_no_fault(depth: int, inner: bytes) -> None:
    assert compared(b"[" * depth + inner + b"]" * depth, 7, 40)
    data = b'{"key":' * depth + b"[" + inner + b"]" + b"}" * depth
    assert compared(data, 7, 40)


def test_an_error_names_its_place_in_the_whole_text() -> None:
    lines = ['{"a": [', *("  [1, 2, 3]," for _ in range(20_000)), "  [1, 2 3]", "]}"]
    data = "\n".join(lines).encode()
    with pytest.raises(ValueError, match="line 20002") as wanted:
        at_once(data)
    with pytest.raises(ValueError, match="line 20002") as found:
        read(data)
    assert str(found.value) == str(wanted.value)


@pytest.mark.parametrize(
    ("before", "behind"),
    [("[", "1]"), ('{"a":[1', "]}"), ("{", '"a":[]}'), ('{"a"', ":1}"), ('["a",', '"b"]'), ("", '"a"')],
)
def test_white_space_is_not_read_at_once(before: str, behind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It went to jiter with the member around it: 33 ms for ten megabytes of it."""
    wanted = json.loads(before + behind)
    sizes = [0]

    def measured(data: bytes) -> Any:
        sizes.append(len(data))
        return at_once(data)

    monkeypatch.setattr(json_reading, "_parsed", measured)
    space = " \n\t\r" * 100_000
    assert read(f"{space}{before}{space}{behind}{space}".encode()) == wanted
    assert max(sizes) <= json_reading.MOST


def test_a_long_string_alone_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [0]

    def measured(data: bytes) -> Any:
        sizes.append(len(data))
        return at_once(data)

    monkeypatch.setattr(json_reading, "_parsed", measured)
    assert read(json.dumps("\n" * 400_000).encode()) == "\n" * 400_000
    assert max(sizes) <= json_reading.MOST


@pytest.mark.parametrize(
    "data", [b'{"a":[%b1 2]}', b"[%b", b"[%b1", b'["a%b', b"[1%b2]", b"%b", b"x%b", b"1%b2", b"[-%b1]", b"[%b1,,2]"]
)
def test_a_fault_behind_much_white_space_is_found(data: bytes) -> None:
    """Lines were counted in a loop of Python: 8.9 s for ten megabytes of them."""
    with pytest.raises(ValueError, match="at line"):
        read(data % (b"\n" * 400_000))


def test_what_would_be_a_number_has_its_bound() -> None:
    with pytest.raises(ValueError, match="too long"):
        read(b"[" + b"1" * 1_000_000 + b"]")
    with pytest.raises(ValueError, match="expected value"):
        read(b"1" * 1_000_000)


def test_no_call_reads_much_of_a_large_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """jiter held the GIL for 100 ms while it read an object of a hundred thousand members."""
    sizes = []

    def measured(data: bytes) -> Any:
        sizes.append(len(data))
        return at_once(data)

    monkeypatch.setattr(json_reading, "_parsed", measured)
    for value in (
        {f"k{n}": n for n in range(30_000)},
        {"a": {"b": [[{"c": [[[[n]]]], "d": str(n)}] for n in range(8_000)]}},
        ["\n\u2603" * 300_000, "x" * 3_000_000, ["y" * 60_000] * 5],
    ):
        assert read(json.dumps(value).encode()) == value
    assert max(sizes) <= json_reading.MOST


def test_a_text_weighs_more_where_its_values_are_looked_at() -> None:
    """What a large one holds is not looked for: that took 0.2 s of whoever asked."""
    plain, odd = b"[" + b"0," * 5000 + b"0]", b"[" + b"0," * 5000 + b"1e100]"
    assert (json_reading.weight(plain), json_reading.weight(odd)) == (len(plain), 8 * len(odd))
    digits = b"[" + b"0," * 5000 + b"7" * 200 + b"]"
    assert json_reading.weight(digits) == 8 * len(digits)
    assert json_reading.weight(b"[1e100]") == 7  # it is short, and takes no time either way
    for size in (0, 10_000, json_reading.ONCE, 10**7):
        data = b'"' + b"e" * size + b'"'
        assert json_reading.weight(data) == len(data)

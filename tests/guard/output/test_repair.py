"""Repair: JSON is never touched, nothing is made up, every edit is said; a text with two readings is left alone."""

from __future__ import annotations

import itertools
import json
import math
import random
import re
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from types import FrameType
from typing import Any

import json_repair
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.output.repair import MOST_EDITS, Edit, Repaired, repair

# ---- what is mended, case by case ------------------------------------------------------------------------------------

MENDED = {
    "fence": ('```json\n{"a": 1}\n```', '\n{"a": 1}\n', "fence fence"),
    "fence without a name": ('```\n{"a": 1}```', '\n{"a": 1}', "fence fence"),
    "fence that is not closed": ('```json\n{"a": 1}', '\n{"a": 1}', "fence"),
    "fence and prose": ("Here:\n```json\n[1]\n```\nBye", "\n[1]\n", "prose fence fence prose"),
    "scalar in a fence": ("```json\n42\n```", "\n42\n", "fence fence"),
    "literal in a fence": ("```json\nTrue\n```", "\ntrue\n", "fence literal fence"),
    "prose": ('The answer is {"a": 1}, I think.', '{"a": 1}', "prose prose"),
    "prose with braces": ('For {order} and {{name}}: {"a": 1}', '{"a": 1}', "prose"),
    "prose with a heading": ('# Answer\n{"a": 1}', '{"a": 1}', "prose"),
    "an example, then a fence": ('Such as {"a": 0}:\n```\n{"a": 1}\n```', '\n{"a": 1}\n', "prose fence fence"),
    "an assignment in a fence": ('```python\nx = {"a": 1}\n```', '{"a": 1}', "prose prose"),
    "the same value twice": ('{"a": 1}\n{"a": 1}', '{"a": 1}', "prose"),
    "a fence inside a string": ('{"a": "```",}', '{"a": "```"}', "trailing comma"),
    "byte order mark": ('\ufeff{"a": 1}', '{"a": 1}', "byte order mark"),
    "white space": ('{\u00a0"a":\u200b1}', '{"a":1}', "white space white space"),
    "line comments": ('{"a": 1, // one\n# two\n"b": 2}', '{"a": 1, \n\n"b": 2}', "comment comment"),
    "a member that is one comment": ('{"a": 1,\n// "b": 2, "c": 3\n"d": 4}', '{"a": 1,\n\n"d": 4}', "comment"),
    "comment": ('{/* one */"a": 1}', '{"a": 1}', "comment"),
    "comment between a comma and its bracket": ('{"a": 1, /* x */}', '{"a": 1 }', "trailing comma comment"),
    "trailing comma": ('{"a": [1, 2,],}', '{"a": [1, 2]}', "trailing comma trailing comma"),
    "doubled comma": ('{"a": 1,, "b": 2}', '{"a": 1, "b": 2}', "doubled comma"),
    "missing comma, by line": ('{"a": "x"\n"b": 2}', '{"a": "x"\n,"b": 2}', "missing comma"),
    "missing comma, by bracket": ('[{"a": 1} {"a": 2}]', '[{"a": 1} ,{"a": 2}]', "missing comma"),
    "missing comma, by key": ('{"a": 1 "b": 2}', '{"a": 1 ,"b": 2}', "missing comma"),
    "missing comma, of items": ('["x"\n"y"]', '["x"\n,"y"]', "missing comma"),
    "missing brackets at the end": ('{"a": [{"b": "x"', '{"a": [{"b": "x"}]}', "missing bracket"),
    "missing bracket after a line": ('{"a": 12\n', '{"a": 12\n}', "missing bracket"),
    "missing bracket in a fence": ("```\n[[1]\n```", "\n[[1]\n]", "fence missing bracket fence"),
    "missing bracket inside": ('{"a": [1, 2}', '{"a": [1, 2]}', "missing bracket"),
    "stray bracket": ('{"a": 1}}', '{"a": 1}', "stray bracket"),
    "single quotes": ("{'a': 'x'}", '{"a": "x"}', "quote quote quote quote"),
    "typographic quotes": ("{“a”: ‘x’}", '{"a": "x"}', "quote quote quote quote"),
    "apostrophe": ("['it's', 'rock 'n' roll']", '["it\'s", "rock \'n\' roll"]', "quote quote quote quote"),
    "escaped apostrophe": ("['it\\'s']", '["it\'s"]', "quote escape quote"),
    "quotes in single quotes": ("['say \"x\"']", '["say \\"x\\""]', "quote quote quote quote"),
    "quotes in quotes": ('["he said "hi" to me"]', '["he said \\"hi\\" to me"]', "quote quote"),
    "unquoted key": ("{a: 1, $b_c-d: 2}", '{"a": 1, "$b_c-d": 2}', "unquoted key unquoted key"),
    "unquoted key after a comment": ("{/* x */a /* y */: 1}", '{"a" : 1}', "comment unquoted key comment"),
    "control characters": ('["a\nb\tc\x00"]', '["a\\nb\\tc\\u0000"]', " ".join(["control character"] * 3)),
    "escape that is none": (r'["\d+"]', r'["\\d+"]', "escape"),
    "escape of Python": (r"['\xe9']", r'["\u00e9"]', "quote escape quote"),
    "numbers": ("[+5, 007, .5, 5., -.5, -01, 1.e5]", "[5, 7, 0.5, 5.0, -0.5, -1, 1.0e5]", " ".join(["number"] * 7)),
    "a number alone": ("+5", "5", "number"),
    "literals": ("[True, False, None, NULL]", "[true, false, null, null]", " ".join(["literal"] * 4)),
    "NaN": ('{"a": NaN}', '{"a": null}', "NaN"),
}


@pytest.mark.parametrize("case", MENDED)
def test_a_slip_is_mended_and_named(case: str) -> None:
    text, expected, kinds = MENDED[case]
    found = repair(text)
    assert (found.text, " ".join(edit.kind for edit in found.edits)) == (expected, kinds)
    json.loads(found.text)


def test_an_edit_says_where_and_what() -> None:
    assert repair("So: {'a': 1,}") == Repaired(
        '{"a": 1}',
        (
            Edit(0, "prose", "So: ", ""),
            Edit(5, "quote", "'", '"'),
            Edit(7, "quote", "'", '"'),
            Edit(11, "trailing comma", ",", ""),
        ),
    )


LEFT = {
    "two values": '{"a": 1} or {"a": 2}',
    "lines of values": '{"a": 1}\n{"a": 2}',
    "two fences": '```\n{"a": 1}\n```\n```\n{"a": 2}\n```',
    "lines of values in a fence": '```\n{"a": 1}\n{"a": 2}\n```',
    "a value behind the fence": '```\n{"a": 1}\n```\nor {"a": 2}',
    "a list without brackets": '{"a": 1}, {"a": 1}',
    "a member without brackets": '"a": 1, "b": {"c": 2}',
    "a bracket too many inside": '{"a": {"b": 1}}, "c": 2}',
    "a bracket too early": '{"a": 1, } "b": 2, "c": [1]}',
    "a bracket too early, behind a line": '{\n}"a": 1\n}',
    "a bracket in a number": '{"a": 96}1\n}',
    "a bracket too early and a comma missing": '{"a": {} "b": 1}}',
    "another bracket behind": '{"a": 1}]',
    "a bracket behind and a passed one before": '{x {"a": 1}}',
    "prose alone": "I can't do that.",
    "a sentence with quotes": '"yes" or "no"',
    "nothing": "",
    "an open bracket": "{",
    "a cut-off string": '{"a": "x',
    "a cut-off number": '{"a": 12',
    "a cut-off number in a fence": '```\n{"a": 12```',
    "a cut-off fraction": "0.",
    "a cut-off list": '{"a": [1, 2,',
    "a cut-off member": '{"a": 1, "b":',
    "a cut-off key": '{"a": 1, "b"',
    "items left out, in a comment": '{"items": [1, 2, // ... 98 more\n]}',
    "items left out before the last one": "[1, /* … */ 100]",
    "items left out, without a comma": "[1, 2 // and so on\n]",
    "members left out": '{"a": 1, /* rest omitted */}',
    "what a comment behind the last comma of an array stands for": "[1, 2, // und 98 weitere\n]",
    "an end in a comment": '{"a": "x" // y}',
    "an end in a comment without an end": '{"a": "x" /* y}',
    "an end in a comment at the start": "[/*",
    "a member in a comment": '{"a": 1 // per unit, "b": 3\n}',
    "an item in a comment": "[1, # one, 2\n3]",
    "strings that are joined": '{"x": "a" + "b"}',
    "an empty list cut off": '{"a": [}',
    "a hole": "[1,,2]",
    "a hole at the end": "[1,,]",
    "a missing value": '{"a": , "b": 1}',
    "a missing colon": '{"a" 1}',
    "neighbours on a line": "[1 234]",
    "strings on a line": '["a" "b"]',
    "members on a line": '{"a": "x" "b": "y"}',
    "a thousands separator": '{"a": 1,234}',
    "a unit": '{"a": 5 kg, "b": 1}',
    "a date": "[2024-01-05]",
    "a missing quote": '{"a": "x, "b": "y"}',
    "a missing quote in a list": '["x, "y"]',
    "a missing quote at the end of a line": '["x\n"y"]',
    "quotes that hold a comma": '["use "x", "y" now"]',
    "a comment, or more of the string": '{"a": "x " # y", "b": 1\n}',
    "a bare word": '{"a": open}',
    "infinity": '{"a": Infinity, }',
    "undefined": '{"a": undefined, }',
    "hexadecimal": "[0x1F,]",
    "an ellipsis": "[1, 2, ...]",
    "signs": "[+-1]",
    "a tuple": "{'a': (1, 2)}",
    "an octal escape": r"['\101']",
    "a path": r'["C:\Users",]',
    "a path with what may be a line feed": r'{"path": "C:\docs\new"}',  # was read as one
    "a formula with what may be a tab": r'{"tex": "\times \alpha"}',
    "a path with what may be one backslash or two": r'{"path": "\\host\docs"}',
    "escaped JSON": r'{\"a\": 1}',
}  # fmt: skip


@pytest.mark.parametrize("case", LEFT)
def test_what_has_no_one_reading_is_left_as_it_is(case: str) -> None:
    assert not is_json(LEFT[case])
    assert repair(LEFT[case]) == Repaired(LEFT[case])


def test_the_escapes_of_one_string_say_nothing_of_another() -> None:
    """A backslash that is itself makes those of its own string doubtful, and no others."""
    assert json.loads(repair(r'["\d", "a\nb", "\$5 \""]').text) == ["\\d", "a\nb", '\\$5 "']


def test_a_text_past_the_limit_is_left_as_it_is() -> None:
    assert repair("[1,]", limit=4).text == "[1]"
    assert repair("[1,]", limit=3) == Repaired("[1,]")


# ---- what holds for every text ---------------------------------------------------------------------------------------

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=12)
    | st.text("ab'\"“”’\\/\n,:{}[]#` ", max_size=8)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
#: Of all kinds of tokens, with what may stand between, before and behind them.
PIECES = st.lists(
    st.sampled_from(
        (
            *"{}[],:\"'\\#/*`“”’ \n\t.+-0123aeE",
            *('"a"', "'b'", "“c”", "true", "None", "NaN", "12", ".5", "0x1", "key", '{"a": ', "[1", ", "),
            *("//", "/*", "*/", "```", "```json\n", "\\n", "\\x41", "\\u00", "\ufeff", "it's", "Sure: "),
        )
    ),
    max_size=40,
).map("".join)
TEXTS = st.text() | PIECES


def edited(text: str, edits: tuple[Edit, ...]) -> str:
    """Apply edits from the last to the first; each must be where the one before it has ended."""
    for edit, following in itertools.pairwise(edits):
        assert edit.at + len(edit.removed) <= following.at
    for edit in reversed(edits):
        assert text[edit.at : edit.at + len(edit.removed)] == edit.removed
        assert edit.removed != edit.inserted
        text = text[: edit.at] + edit.inserted + text[edit.at + len(edit.removed) :]
    return text


def is_json(text: str) -> bool:
    def no_number(name: str) -> Any:
        raise ValueError(name)

    try:
        json.loads(text, parse_constant=no_number)
    except ValueError:
        return False
    return True


@given(VALUES, st.sampled_from([None, 1, "\t"]), st.booleans(), st.sampled_from(["", " ", "\r\n\t"]))
def test_json_is_never_touched(value: Any, indent: Any, ascii_only: bool, around: str) -> None:
    text = around + json.dumps(value, indent=indent, ensure_ascii=ascii_only) + around
    assert repair(text) == Repaired(text)


@pytest.mark.parametrize(
    "text",
    [
        '"{\\"a\\": 1}"',
        '"it\'s"',
        "[1E+2, 0.10, -0, -0.0e-0]",
        '{"a":1,"a":2}',
        '"\\ud800 \\/"',
        " [ ] ",
        "{\n}",
        '"\x7f"',
    ],
)
def test_unusual_spellings_of_json_are_json(text: str) -> None:
    assert repair(text) == Repaired(text)


@given(TEXTS)
def test_any_text_ends_as_json_or_as_it_was(text: str) -> None:
    found = repair(text)
    assert edited(text, found.edits) == found.text
    assert is_json(found.text) if found.edits else found.text == text
    assert repair(found.text) == Repaired(found.text)


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def holds(text: str, leaf: Any) -> bool:
    """Answer whether a text spells a leaf, in JSON's way or in one of those that are mended."""
    if leaf is None:
        return re.search("null|none|nan", text, re.IGNORECASE) is not None
    if isinstance(leaf, str):  # every spelling of a character that is no escape is the character
        plain = re.sub(r"\\x([0-9a-fA-F]{2})", r"\\u00\1", text)
        plain = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), plain)
        plain = re.sub(r"\\([nrtbf])", lambda name: dict(zip("nrtbf", "\n\r\t\b\f", strict=True))[name[1]], plain)
        squeezed = str.maketrans("", "", "\\")
        return leaf.translate(squeezed) in plain.translate(squeezed) or leaf in text
    if isinstance(leaf, bool):
        return str(leaf).lower() in text.lower()
    spelled = re.findall(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", text)
    return abs(leaf) in map(Decimal, spelled)


@given(TEXTS)
def test_no_value_appears_that_the_text_does_not_hold(text: str) -> None:
    found = repair(text)
    if found.edits:
        for leaf in leaves(json.loads(found.text, parse_float=Decimal, parse_int=Decimal)):
            assert holds(text, leaf), (text, leaf)


# ---- what was damaged ------------------------------------------------------------------------------------------------


def damaged(r: random.Random, value: Any, damages: frozenset[str], gaps: tuple[str, ...] = ("", " ", "\n")) -> str:
    """Write a value as a model might that makes slips of these kinds, all of which leave one reading."""

    def slip(kind: str, chance: float = 0.4) -> bool:
        return kind in damages and r.random() < chance

    def string(text: str) -> str:
        quoted = json.dumps(text, ensure_ascii=r.random() < 0.5)
        if slip("control characters"):
            quoted = re.sub(r"\\(.)", lambda escape: {"n": "\n", "t": "\t"}.get(escape[1], escape[0]), quoted)
        if slip("single quotes"):
            return "'" + quoted[1:-1].replace('\\"', '"').replace("'", "\\'") + "'"
        if slip("typographic quotes") and not re.search("[“”‟]", text):
            return "“" + quoted[1:-1] + "”"
        return quoted

    def scalar(item: Any) -> str:
        if isinstance(item, str):
            return string(item)
        if (item is None or isinstance(item, bool)) and slip("Python"):
            return repr(item)
        text = json.dumps(item)
        if isinstance(item, (int, float)) and not isinstance(item, bool) and slip("numbers"):
            text = text.replace("0.", ".", 1) if re.match(r"-?0\.", text) else re.sub(r"\.0$", ".", text)
            text = text if text.startswith("-") else "+" + text
        return text

    def key(name: str) -> str:
        return name if re.fullmatch("[a-z]+", name) and slip("unquoted keys") else string(name)

    def gap() -> str:
        if slip("comments"):
            return r.choice([" /* c, {} */ ", " // it's [\n", "\n# c\n"])
        return r.choice(gaps)

    def joined(parts: list[str], brackets: str) -> str:
        out = brackets[0] + gap()
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            comma = "," if not last or slip("trailing commas") else ""
            if not last and slip("missing commas"):
                comma = "\n"
            if comma == "," and brackets == "{}" and slip("doubled commas"):
                comma = ",,"
            behind = r.choice(gaps) if last and comma and brackets == "[]" else gap()  # a comment may stand for items
            out += part + gap() + comma + behind
        return out + brackets[1]

    def written(item: Any) -> str:
        if isinstance(item, dict):
            return joined([f"{key(name)}{gap()}:{gap()}{written(inner)}" for name, inner in item.items()], "{}")
        if isinstance(item, list):
            return joined([written(inner) for inner in item], "[]")
        return scalar(item)

    text = written(value)
    if "stray brackets" in damages and not damages & {"prose", "missing commas"}:
        text += text[-1]
    if "fence" in damages:
        text = f"```{r.choice(['json', '', 'JSON5'])}\n{text}\n```"
    if "prose" in damages:
        text = f"Sure, {{user}}, here it is:\n{text}\nI hope it helps."
    return text


KINDS = (
    *("control characters", "single quotes", "typographic quotes", "Python", "numbers", "unquoted keys", "comments"),
    *("trailing commas", "missing commas", "doubled commas", "fence", "prose", "stray brackets"),
)
CONTAINERS = st.lists(VALUES, max_size=4) | st.dictionaries(st.text("abc", max_size=3), VALUES, max_size=4)


def check_mended(value: Any, damages: frozenset[str], seed: int) -> None:
    text = damaged(random.Random(seed), value, damages)
    found = repair(text)
    assert is_json(found.text), text
    assert json.loads(found.text) == value, text


@pytest.mark.parametrize("kind", KINDS)
@given(CONTAINERS, st.integers(0, 2**32))
def test_damage_of_one_kind_is_undone(kind: str, value: Any, seed: int) -> None:
    check_mended(value, frozenset({kind}), seed)


@given(CONTAINERS, st.frozensets(st.sampled_from(KINDS), min_size=2), st.integers(0, 2**32))
def test_damages_of_many_kinds_are_undone(value: Any, damages: frozenset[str], seed: int) -> None:
    check_mended(value, damages, seed)


@given(CONTAINERS, st.data())
def test_an_answer_that_breaks_off_keeps_what_is_whole_or_is_left(value: Any, data: st.DataObject) -> None:
    """Whatever is closed holds only items and members of the whole, each of them whole: none is a start of another."""
    text = json.dumps(value)
    cut = text[: data.draw(st.integers(0, len(text)))]
    found = repair(cut)
    if found.edits:
        assert [edit.kind for edit in found.edits] == ["missing bracket"]
        assert set(map(json.dumps, leaves(json.loads(found.text)))) <= set(map(json.dumps, leaves(value)))
        assert found.edits[0].at == len(cut)


# ---- how long it takes -----------------------------------------------------------------------------------------------

HOSTILE = [
    "[",
    "{",
    '"',
    "'",
    '["',
    "['a ",
    "[//",
    "[/*",
    "{a:1,#x\n",
    "```",
    "```a ",
    "[1]",
    "[1]\n",
    "{a} ",
    '{"a":',
    '[{"a":[1},',
]
HOSTILE += [
    '" ',
    '[ " ',
    'x"y" ',
    "\\",
    "1",
    ",",
    "a",
    '{"a":1,"b":[true,"x"]},',
    "\ufeff",
    '":',
    "{}]",
    "[[1 [",
    "it's ",
    "“‘'\"",
]
STARTS = ["", "[", '["', "x ", '{"a": "', "```\n", "[" * 1000]


def steps(text: str) -> int:
    """Count the lines of Python that a repair runs."""
    count = 0

    def line(frame: FrameType, event: str, _: object) -> Callable[..., Any]:
        nonlocal count
        count += 1
        return line

    before = sys.gettrace()
    sys.settrace(line)
    try:
        repair(text)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("start", STARTS, ids=lambda start: start[:10])
@pytest.mark.parametrize("unit", HOSTILE)
def test_steps_grow_no_faster_than_the_text(start: str, unit: str) -> None:
    small, large = ((start + unit * size)[: len(start) + size] for size in (200, 800))
    assert steps(large) <= 4.5 * steps(small) + 200


@pytest.mark.parametrize("unit", HOSTILE)
def test_fifty_thousand_hostile_characters_end(unit: str) -> None:
    """What a regex does is one step: had one of them backtracked over the text, this would take an hour."""
    for start in STARTS:
        repair((start + unit * 50_000)[:50_000])


def test_nesting_of_any_depth_is_read() -> None:
    deep = "[" * 100_000 + "1" + "]" * 100_000
    assert repair(deep) == Repaired(deep)
    assert repair(deep[:-1] + ",]") == Repaired(deep, (Edit(200_000, "trailing comma", ",", ""),))
    assert repair(deep[:-50_000]) == Repaired(deep, (Edit(150_001, "missing bracket", "", "]" * 50_000),))


def test_a_text_of_nothing_but_slips_is_none_that_was_meant_as_json() -> None:
    few, many = ("[" + "'a'," * count + "1]" for count in (MOST_EDITS // 2, MOST_EDITS // 2 + 1))
    assert len(repair(few).edits) == MOST_EDITS
    assert repair(many) == Repaired(many)


# ---- another repairer ------------------------------------------------------------------------------------------------

#: Where json-repair reads something else in what is mended, and why ours is the reading.
ELSEWHERE: dict[str, Any] = {
    "scalar in a fence": "",  # it takes objects and arrays only
    "literal in a fence": "",
    "a number alone": "",
    "prose with braces": {"name}}": {"a": 1}},  # a placeholder is no object
    "doubled comma": {"a": "1,", "b": 2},  # a number with a comma more is no string
    "typographic quotes": {"a": "x’"},  # a quote that closes is no part of the string
    "apostrophe": ["it", "s'", "rock 'n' roll"],  # an apostrophe between letters closes nothing
    "unquoted key": {"a": 1, "b_c-d": 2},  # the dollar sign belongs to the name
    "unquoted key after a comment": {"": 1},  # the key is there
    "NaN": {"a": math.nan},  # JSON has no such number
}
#: What it reads as we do in plain objects without lines between.
AGREED = ("control characters", "single quotes", "Python", "trailing commas", "fence", "stray brackets")


@pytest.mark.parametrize("case", MENDED)
def test_another_repairer_reads_the_same_or_less_well(case: str) -> None:
    text, expected, _ = MENDED[case]
    assert str(json_repair.loads(text)) == str(ELSEWHERE.get(case, json.loads(expected)))


PLAIN = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.text("xyz", min_size=1) | st.booleans(), min_size=1)


@given(st.lists(PLAIN, min_size=1, max_size=3), st.sampled_from(AGREED), st.integers(0, 2**32))
def test_another_repairer_reads_plain_objects_the_same(value: Any, kind: str, seed: int) -> None:
    text = damaged(random.Random(seed), value, frozenset({kind}), gaps=("", " "))
    assert json.loads(repair(text).text) == json_repair.loads(text) == value

"""Partial values: what is shown of a text at each of its beginnings, which member of a union, and what it costs."""

from __future__ import annotations

import enum
import gzip
import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, Required
from uuid import UUID

import clock
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Base64Bytes, Base64Str, BaseModel, Discriminator, Field, RootModel, Tag, field_validator
from typing_extensions import ReadOnly, TypeAliasType, TypedDict

from guard.output import partial as streaming
from guard.output import partial_json
from guard.output.partial import Partials, partial

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def pieces(text: str, cuts: list[int]) -> Iterator[str]:
    """Cut a text."""
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return (text[a:b] for a, b in itertools.pairwise(places))


def begins(part: Any, whole: Any) -> bool:
    """Answer whether a partial value is a beginning of a whole one."""
    if isinstance(whole, str):
        return isinstance(part, str) and whole.startswith(part)
    if isinstance(whole, list):
        if not isinstance(part, list) or len(part) > len(whole):
            return False
        return not part or (part[:-1] == whole[: len(part) - 1] and begins(part[-1], whole[len(part) - 1]))
    if isinstance(whole, dict):
        return isinstance(part, dict) and all(key in whole and begins(part[key], whole[key]) for key in part)
    return type(part) is type(whole) and part == whole


@given(
    value=JSON,
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 1]),
    cuts=st.lists(st.integers(0, 500), max_size=9),
)
def test_a_text_says_its_value_in_the_end_and_a_beginning_of_it_before(
    value: Any, ascii_only: bool, indent: int | None, cuts: list[int]
) -> None:
    value = json.loads(json.dumps(value))
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a character
        return
    reader = partial_json.PartialReader()
    for piece in pieces(text, cuts):
        reader.feed(piece)
        if reader.root is not None and (known := partial_json.plain(reader.root)) is not None:
            assert begins(known, value), (known, value)
    reader.feed(" ")  # more digits may follow till then
    assert reader.is_over
    assert reader.root is not None
    assert partial_json.plain(reader.root) == value
    assert repr(partial_json.plain(reader.root)) == repr(value)


@given(value=JSON, cuts=st.lists(st.integers(0, 500), max_size=20))
def test_how_a_text_is_cut_changes_nothing(value: Any, cuts: list[int]) -> None:
    text = json.dumps(value)
    made, at = Partials(None), 0
    for piece in pieces(text, cuts):
        known, at = made.feed(piece), at + len(piece)
        if piece and known is not None:
            assert known == partial(None, text[:at])


@given(text=st.text(alphabet='{}[]",:\\utrue1.-e \n', max_size=30), cut=st.integers(0, 30))
def test_what_is_no_json_ends_the_reading_and_loses_nothing(text: str, cut: int) -> None:
    reader = partial_json.PartialReader()
    reader.feed(text[:cut])
    reader.feed(text[cut:] + " ")
    try:
        value = json.loads(text)
    except ValueError:
        assert reader.root is None or reader.root.is_open or reader.is_over
    else:
        assert reader.is_over
        assert reader.root is not None
        assert partial_json.plain(reader.root) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"room 12', "room 12"),
        ('"1', "1"),
        ('{"a": "sold 3, 4', {"a": "sold 3, 4"}),
        ('["[1', ["[1"]),
        ('{"a": ["x", "7', {"a": ["x", "7"]}),
        ('{"a": 1', {}),
        ("[1, 23", [1]),
        ("[1, 23 ", [1, 23]),
        ("-12.5e", None),
        ('"a\\', "a"),
        ('"a\\u00e', "a"),
        ('"a\\u00e9', "aé"),
        ('"\\ud83d', ""),
        ('"\\ud83d\\ude00', "😀"),
        ("[true, fal", [True]),
        ("[" * 5_000, None),
        ("```json\n{", None),
    ],
)
def test_the_beginning_of_a_text(text: str, value: Any) -> None:
    if text.startswith("[["):  # as deep as is read
        assert json.dumps(partial(None, text)) == "[" * 65 + "]" * 65
    else:
        assert partial(None, text) == value


class Cat(BaseModel):
    """One."""

    kind: Literal["cat"]
    name: str
    lives: int = 9


class Dog(BaseModel):
    """Another."""

    kind: Literal["dog", "cur"]
    name: str


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int


class Firm(BaseModel):
    """A firm."""

    name: str
    seat: str
    founded: date | None = None


class Strict(BaseModel, extra="forbid"):
    """Takes nothing else."""

    name: str


class Colour(enum.Enum):
    """A colour."""

    RED = "red"
    BLUE = "blue"


class Tree(BaseModel):
    """Holds itself."""

    label: str
    under: list[Tree] = []


class Places(RootModel[list[str]]):
    """A list by a name."""


@dataclass
class Point:
    """A place."""

    x: int
    tags: list[str] = field(default_factory=list)


class Options(TypedDict):
    """What was chosen."""

    size: str
    count: NotRequired[int]


Nested = TypeAliasType("Nested", "dict[str, Nested] | list[Nested] | str")


def _tag(value: Any) -> str:
    return "cat" if "lives" in value else "dog"


@pytest.mark.parametrize(
    ("wanted", "text", "value"),
    [
        (Cat | Dog, '{"kind": "', None),
        (Cat | Dog, '{"kind": "d', Dog.model_construct(kind=None, name=None)),
        (Cat | Dog, '{"kind": "c', None),
        (Cat | Dog, '{"kind": "cu', Dog.model_construct(kind=None, name=None)),
        (Cat | Dog, '{"kind": "cat", "name": "Tom 1', Cat.model_construct(kind="cat", name="Tom 1")),
        (
            Annotated[Cat | Dog, Field(discriminator="kind")],
            '{"kind": "dog"',
            Dog.model_construct(kind="dog", name=None),
        ),
        (
            Annotated[Annotated[Cat, Tag("cat")] | Annotated[Dog, Tag("dog")], Discriminator(_tag)],
            '{"name": "Tom", "lives": 9, "kind": "',
            Cat.model_construct(name="Tom", lives=9, kind=None),
        ),
        (Person | Firm, '{"name": "Ada"', None),
        (Person | Firm, '{"name": "Ada", "age": ', None),
        (Person | Firm, '{"name": "Ada", "age": 3', Person.model_construct(name="Ada", age=None)),
        (Person | Firm, '{"name": "Ada", "seat": "', Firm.model_construct(name="Ada", seat="")),
        (list[Person | Firm], '[{"name": "A", "seat": "B"}, {', [Firm(name="A", seat="B")]),
        (Person | Strict, '{"name": "Ada"}', Strict(name="Ada")),
        (Person | None, '{"name": "A', Person.model_construct(name="A", age=None)),
        (list[int] | list[str], "[", None),
        (list[int] | list[str], '["', [""]),
        (list[int] | dict[str, int], '{"a": 1, "b', {"a": 1}),
        (int | str, '"12', "12"),
        (int | float, "[", None),
        (list[int | float], "[1, 1.5, 2", [1, 1.5]),
        (list[date | str], '["2026-03-01", "2026-0', [date(2026, 3, 1)]),
        (list[Literal["a", 1, True] | None], '["a", 1, true, null, 1', ["a", 1, True, None]),
        (list[Colour | int], '["red", 7, "b', [Colour.RED, 7]),
        (
            Tree,
            '{"label": "a", "under": [{"label": "b 2',
            Tree.model_construct(label="a", under=[Tree.model_construct(label="b 2")]),
        ),
        (Places, '["Rome", "Par', Places.model_construct(["Rome", "Par"])),
        (tuple[int, str], '[1, "x', (1, "x")),
        (tuple[int, ...], "[1, 2", (1,)),
        (set[str], '["a", "b', {"a", "b"}),
        (dict[int, str], '{"1": "a", "2": "b', {1: "a", 2: "b"}),
        (Options, '{"size": "l", "count": 3', {"size": "l"}),
        (Point, '{"x": 1,', Point(1, [])),
        (Point, '{"x": 1, "tags": ["a', Point(1, ["a"])),
        (list[Decimal], '["0.10", 1.50, 3', [Decimal("0.10"), Decimal("1.50")]),
        (Nested, '{"a": ["b", {"c 1": "d', {"a": ["b", {"c 1": "d"}]}),
        (Annotated[list[Annotated[int, []]], []], "[1, 2,", [1, 2]),
    ],
)
def test_the_partial_value_of_a_type(wanted: Any, text: str, value: Any) -> None:
    known = partial(wanted, text)
    assert known == value
    assert type(known) is type(value)
    one_by_one = Partials(wanted)
    assert [one_by_one.feed(character) for character in text][-1] == value


class Fixed(TypedDict):
    """Members that nobody changes."""

    size: ReadOnly[str]
    count: Required[ReadOnly[int]]


@pytest.mark.filterwarnings("ignore:Items .* using the `ReadOnly` qualifier")
def test_members_that_are_read_only_are_read() -> None:
    """Pydantic knows no such type alone, and the stream raised what it says of that."""
    assert partial(Fixed, '{"count": 1, "size": "l') == {"count": 1, "size": "l"}


def test_a_type_inside_of_a_function_may_hold_itself() -> None:
    """Its name is in no module: the stream raised NameError, where Pydantic read the answer."""

    @dataclass
    class Node:
        value: int
        following: Node | None = None

    class Step(TypedDict):
        value: int
        following: NotRequired[Step]

    text = '{"value": 1, "following": {"value": 2,'
    assert partial(Node, text) == Node(1, Node(2))
    assert partial(Step, text) == {"value": 1, "following": {"value": 2}}


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" * 5_000])
@pytest.mark.parametrize("wanted", [None, dict[str, float], dict[str, int]])
def test_a_number_that_python_does_not_read_ends_the_reading(wanted: Any, number: str) -> None:
    """The stream showed infinity, or raised what Python says of so many digits."""
    assert partial(wanted, f'{{"b": 1, "a": {number}, "c": 2}}') == {"b": 1}


def test_a_number_is_the_one_that_is_read_in_the_end() -> None:
    """A number that no double tells from zero was shown as zero, and was another one in the end."""
    assert partial(None, '{"a": 1e-400, ') == {"a": 5e-324}


@pydantic.dataclasses.dataclass
class Renamed:
    """A dataclass with Pydantic's fields."""

    number: int = Field(alias="No")
    text: str = Field(default="x")
    tags: list[str] = Field(default_factory=list)


@dataclass
class RenamedPlainly:
    """The same in a dataclass of Python's own."""

    number: Annotated[int, Field(alias="No")]
    text: str = Field(default="x")
    made: int = field(default=3, init=False)


class Encoded(BaseModel):
    """Values that are written in an encoding."""

    raw: Base64Bytes
    text: Base64Str | None = None


class Plainly(BaseModel, use_enum_values=True):
    """Values of enums in place of their members."""

    one: Colour
    more: list[Colour] = []


@pytest.mark.parametrize(
    ("wanted", "text", "parts"),
    [
        (date | str, '"2026-03-01"', [date(2026, 3, 1)]),
        (str | date, '"2026-03-01"', ["2026-03-01"]),
        (str | UUID, f'"{UUID(int=7)}"', [UUID(int=7)]),
        (tuple[int, int] | list[int], "[1]", [[1]]),
        (Renamed, '{"No": 1, "text": "y"}', [Renamed(No=1), Renamed(No=1, text=""), Renamed(No=1, text="y")]),
        (RenamedPlainly, '{"No": 1,"text":"y"}', [RenamedPlainly(1, text) for text in ("x", "", "y")]),
        (
            Encoded,
            '{"raw": "aGVsbG8=", "text": "aGVsbG8="}',
            [Encoded.model_construct(raw=b"hello"), Encoded.model_construct(raw=b"hello", text="hello")],
        ),
        (
            Plainly,
            '{"one": "red", "more": ["blue"]}',
            [Plainly.model_construct(one="red"), Plainly.model_construct(one="red", more=["blue"])],
        ),
    ],
)
def test_what_is_shown_is_what_it_will_be_in_the_end(wanted: Any, text: str, parts: list[Any]) -> None:
    """Each was shown as something else first: a text that became a date, a member by another name, an encoding."""
    so_far = Partials(wanted)
    shown = [str(part) for character in text if (part := so_far.feed(character)) is not None]
    last = pydantic.TypeAdapter(wanted).validate_json(text)
    assert repr(partial(wanted, text)) == repr(last)
    assert [part for part, _ in itertools.groupby(shown)][-len(parts) :] == list(map(str, parts))
    assert not set(shown) - {*map(str, parts), str(partial(wanted, "{")), str(partial(wanted, "[["))}


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_a_text_of_any_depth_is_read_as_deep_as_it_may_be(opening: str) -> None:
    known, depth = partial(Nested, opening * 5_000), 0
    while known:
        known, depth = (known[0] if isinstance(known, list) else known["a"]), depth + 1
    assert depth == partial_json.MOST_DEPTH


def test_null_is_the_value_of_the_field_and_what_has_not_come_is_not_set() -> None:
    known = partial(Firm, '{"founded": null, "name": "A')
    assert (known.founded, known.name, known.seat) == (None, "A", None)
    assert known.model_fields_set == {"name"}


KINDS: list[Any] = [
    Cat | Dog,
    list[Person | Firm],
    dict[str, Person | list[int]],
    Tree,
    tuple[int, str, Colour],
    list[date | int | None],
    Literal["a", 1] | None,
    Firm,
]


@given(data=st.data(), kind=st.sampled_from(KINDS), cuts=st.lists(st.integers(0, 500), max_size=12))
def test_when_a_text_is_whole_its_partial_value_is_that_of_pydantic(data: Any, kind: Any, cuts: list[int]) -> None:
    adapter = pydantic.TypeAdapter(kind)
    value = data.draw(st.from_type(kind))
    text = adapter.dump_json(value).decode()
    made, known = Partials(kind), None
    for piece in [*pieces(text, cuts), " "]:
        shown = made.feed(piece)
        known = known if shown is None else shown
    assert known == adapter.validate_json(text)


def test_no_validator_of_the_users_runs_before_the_end() -> None:
    asked: list[str] = []

    class Checked(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def noted(cls, name: str) -> str:
            asked.append(name)
            return name

    assert partial(list[Checked], '[{"name": "a"}, {"name": "b"}]') == [
        Checked.model_construct(name="a"),
        Checked.model_construct(name="b"),
    ]
    assert asked == []


class Row(BaseModel):
    """One of many."""

    name: str
    value: int | str


#: Long answers: many items, a long text, many members, many small objects, one inside the other.
LONG = {
    "items": (list[int], lambda n: json.dumps(list(range(n // 6)))),
    "text": (str, lambda n: json.dumps("word 12, " * (n // 9))),
    "escapes": (None, lambda n: json.dumps("é" * (n // 6))),
    "members": (dict[str, int], lambda n: json.dumps({f"key {i}": i for i in range(n // 16)})),
    "objects": (list[Row | Firm], lambda n: json.dumps([{"name": "n", "value": str(i)} for i in range(n // 32)])),
    "plain": (None, lambda n: json.dumps({"rows": [{"name": "n", "value": i} for i in range(n // 30)]})),
}


@pytest.mark.parametrize("name", LONG)
def test_a_stream_costs_as_much_for_each_character_however_long_it_is(name: str) -> None:
    wanted, text_of = LONG[name]

    def cost(characters: int) -> float:
        text = text_of(characters)
        with clock.working() as work:
            made = Partials(wanted)
            for at in range(0, len(text), 4):
                made.feed(text[at : at + 4])
        return work.seconds / len(text)

    cost(1_000)  # what is made once
    assert cost(160_000) < 3 * cost(20_000)


def test_a_long_stream_is_shown_often_and_whole_at_its_end() -> None:
    text = json.dumps(list(range(20_000)))
    made = Partials(list[int])
    known = [made.feed(text[at : at + 4]) for at in range(0, len(text), 4)]
    shown = [len(items) for items in known if items is not None]
    assert len(shown) > 1_000
    assert shown == sorted(shown)
    assert 20_000 - shown[-1] < 100


def test_what_was_shown_is_not_changed_later() -> None:
    made = Partials(list[Row])
    first = made.feed('[{"name": "a", "value": 1}, {"name": "b')
    kept = json.dumps([row.__dict__ for row in first])
    made.feed('c", "value": "x"}, {"name": "d"}]')
    assert json.dumps([row.__dict__ for row in first]) == kept
    assert streaming.UNKNOWN is None


def test_of_real_values_every_beginning_is_known_and_how_it_is_cut_changes_nothing(data: Path) -> None:
    r = random.Random(23)
    with gzip.open(data / "maskbench.jsonl.gz") as lines:
        cases = [json.loads(line) for line in r.sample(lines.readlines(), 25)]
    values = [test["data"] for case in cases for test in case["tests"] if test["valid"]]
    values = [value for value in values if isinstance(value, dict | list)][:30]
    assert len(values) > 15
    for value in values:
        text = json.dumps(value, ensure_ascii=r.random() < 0.5, indent=r.choice([None, 1]))[:3000]
        one_by_one, in_pieces, at = Partials(None), Partials(None), 0
        for size in range(1, len(text) + 1):
            known = one_by_one.feed(text[size - 1])
            assert known is None or begins(known, value), text[:size]
            if size == len(text) or r.random() < 0.2:
                cut = in_pieces.feed(text[at:size])
                at = size
                assert None in (known, cut) or json.dumps(cut) == json.dumps(known), text[:size]
        assert len(text) == 3000 or partial(None, text) == value

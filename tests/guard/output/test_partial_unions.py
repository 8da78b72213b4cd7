"""Unions while they arrive: nothing is shown as another type than it has in the end, and no validator chooses early."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, PrivateAttr, TypeAdapter, field_validator

from guard.output.own_code import runs_own_code
from guard.output.partial import Partials


class One(BaseModel):
    """A model."""

    a: int
    b: str = "q"


class Two(BaseModel):
    """Another that shares a member."""

    a: int
    c: str = "q"


@dataclass
class Plain:
    """A dataclass with the members of a model."""

    a: int
    b: str = "q"


CHECKED: list[int] = []


class Checked(BaseModel):
    """A model with a validator."""

    a: int
    d: str = "q"

    @field_validator("a")
    @classmethod
    def noted(cls, a: int) -> int:
        """Note that it ran."""
        CHECKED.append(a)
        return a


class Kept(BaseModel):
    """A model with an attribute of its own."""

    a: int
    _own: int = PrivateAttr(1)


class Made(BaseModel):
    """A model with a default that is made."""

    a: int
    b: list[int] = Field(default_factory=lambda: [1])


class Emptied(BaseModel):
    """A model with a default that a type makes, in a field that is named as a part of core schemas is."""

    config: list[int] = Field(default_factory=list)


MEMBERS: list[Any] = [
    int, str, float, date, None, list[int], list[float], list[str], set[int], tuple[int, int], dict[str, int],
    dict[str, int | str], One, Two, Plain, Checked, Literal["a", 1], Annotated[int, Field(ge=10)],
]  # fmt: skip


def types(wanted: Any, text: str) -> list[type]:
    """Return the types of the partial values of a text."""
    made = Partials(wanted)
    return [type(part) for character in text + " " if (part := made.feed(character)) is not None]


@given(
    data=st.data(),
    members=st.lists(st.sampled_from(MEMBERS), min_size=2, max_size=3, unique_by=str),
    is_ordered=st.booleans(),
)
def test_a_union_is_shown_as_nothing_that_it_is_not_in_the_end(data: Any, members: list[Any], is_ordered: bool) -> None:
    wanted: Any = members[0]
    for member in members[1:]:
        wanted = wanted | member
    if is_ordered and None not in members:  # Pydantic takes an optional value for no union
        wanted = Annotated[wanted, Field(union_mode="left_to_right")]
    text = TypeAdapter(Any).dump_json(data.draw(st.one_of([st.from_type(_drawn(one)) for one in members]))).decode()
    try:
        text.encode()
        last = TypeAdapter(wanted).validate_json(text)
    except (UnicodeEncodeError, pydantic.ValidationError):
        return
    CHECKED.clear()
    shown = types(wanted, text)
    assert CHECKED == []
    assert set(shown) <= {type(last)}
    if Checked not in members and last is not None:
        made = Partials(wanted)
        assert repr(made.feed(text + " ")) == repr(last)


def _drawn(member: Any) -> Any:
    return type(None) if member is None else member


@pytest.mark.parametrize(
    ("wanted", "value", "shown"),
    [
        (set[int] | list[int], [1, 22], {list}),
        (tuple[int, int] | list[int], [1, 22], {list}),
        (Annotated[int | str, Field(union_mode="left_to_right")], "12", {int}),
        (One | dict[str, int | str], {"a": 1, "c": "z"}, {One}),
        (dict[str, int | str] | One, {"a": 1, "c": "z"}, {dict}),
        (One | Two, {"a": 1, "c": "z"}, {Two}),
        (list[float] | list[int], [1, 2], {list}),
        (One | Checked, {"a": 1, "d": "z"}, {Checked}),
        (One | Checked, {"a": 1}, set()),
        (Annotated[int, Field(ge=10)] | float, 3, {float}),
    ],
)
def test_the_type_of_what_is_shown(wanted: Any, value: Any, shown: set[type]) -> None:
    """A union was shown as one type, and was another in the end."""
    assert set(types(wanted, json.dumps(value))) == shown


class Held(BaseModel):
    """A field that is a union, of which the first that fits counts."""

    v: int | str = Field(union_mode="left_to_right")
    w: str = ""


def test_a_field_s_union_is_read_as_the_field_says() -> None:
    made = Partials(Held)
    shown = [made.feed(character) for character in '{"v": "12", "w": "x"}']
    assert {repr(part.v) for part in shown if part is not None} == {"None", "12"}


@pytest.mark.parametrize(
    ("wanted", "does"),
    [
        *((one, False) for one in MEMBERS if one is not Checked),
        (Emptied, False),
        (list[pydantic.EmailStr], False),
        (Checked, True),
        (list[One | Checked], True),
        (Kept, True),
        (Made, True),
        (Annotated[int, pydantic.AfterValidator(CHECKED.append)], True),
        (Annotated[int, pydantic.PlainValidator(abs)], False),
    ],
)
def test_whether_reading_a_type_runs_code_of_its_own(wanted: Any, does: bool) -> None:
    assert runs_own_code(TypeAdapter(wanted).core_schema) is does


class Nest(BaseModel):
    """Two members of its union hold it."""

    a: int
    under: list[Nest] | tuple[Nest, ...] = []


def test_a_type_that_holds_itself_in_two_ways_is_read_once() -> None:
    """Each level was read twice: a text of 25 levels took minutes."""
    made = Partials(Nest)
    shown = [made.feed(character) for character in '{"a": 1, "under": [' * 25]
    assert shown[-1] == Nest(a=1)

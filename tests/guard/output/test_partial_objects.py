"""Partial objects: none of a class's own code runs for them, and none of them ends a call."""

from __future__ import annotations

import asyncio
import collections
import itertools
import json
import signal
from collections.abc import Iterator, Mapping, MutableMapping, MutableSequence, MutableSet, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, Self

import pydantic
import pytest
from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
    RootModel,
)
from pydantic_core import core_schema

import guard
from guard.models.scripted import ScriptedModel
from guard.output.partial import Partials, partial

CALLED: list[Any] = []


def note(value: Any) -> Any:
    """Validate."""
    CALLED.append(value)
    return value


def fails() -> Any:
    """Make a default."""
    raise LookupError("no default")


class PostInit(BaseModel):
    """Made of its fields once they are there."""

    first: str
    last: str
    _full: str = PrivateAttr("")
    _made: list[int] = PrivateAttr(default_factory=list)

    def model_post_init(self, _: Any) -> None:
        """Use the fields."""
        note(self)
        self._full = f"{self.first.upper()} {self.last.upper()}"


class Follows(BaseModel):
    """A default that is made of another field."""

    a: int
    b: int = Field(default_factory=lambda known: known["a"] + 1)


class Failing(BaseModel):
    """A default that can't be made."""

    a: str
    b: int = Field(default_factory=fails)


@dataclass
class FailingPlainly:
    """The same as a dataclass."""

    a: str
    b: dict[str, int] = field(default_factory=fails)


@dataclass
class PostInitPlainly:
    """A dataclass that is made of its fields."""

    a: str
    upper: str = field(init=False)

    def __post_init__(self) -> None:
        """Use the field."""
        self.upper = note(self.a.upper())


class Named(BaseModel):
    """Names that a constructor may have, too."""

    cls: str
    self_: str = Field("", alias="self")


class More(BaseModel, extra="allow"):
    """Takes anything else."""

    a: int


class Third:
    """A class that Pydantic does not know."""

    def __init__(self, said: int) -> None:
        self.said = said

    def __repr__(self) -> str:
        return f"Third({self.said})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Third) and self.said == other.said

    def __hash__(self) -> int:
        return hash(self.said)


class AsThird:
    """Tells Pydantic how it is read."""

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> Any:
        return core_schema.no_info_after_validator_function(Third, core_schema.int_schema())

    @classmethod
    def __get_pydantic_json_schema__(cls, _: Any, handler: Any) -> Any:
        return handler(core_schema.int_schema())


Thirds = Annotated[Third, PlainValidator(Third, json_schema_input_type=int)]


class Foreign(BaseModel):
    """Holds such values."""

    t: Thirds
    u: Annotated[Third, AsThird] | None = None
    s: str


class Frozen(BaseModel, frozen=True):
    """May be hashed where its fields may."""

    a: int
    more: list[int] | None = None


class Pair(NamedTuple):
    """A tuple with names."""

    a: Annotated[int, AfterValidator(note)]
    b: str = "q"


class PairRoot(RootModel[Pair]):
    """A name for a pair."""

    def model_post_init(self, _: Any) -> None:
        """Use it."""
        note(self.root.b.upper())


class Swapped(BaseModel):
    """Each has the other's name as its alias."""

    a: int = Field(alias="b")
    b: str = Field(alias="a")


class SwappedByName(Swapped, populate_by_name=True):
    """The same where names are good, too."""


class Deeper(BaseModel):
    """A value that lies deeper."""

    a: int = Field(validation_alias=AliasPath("x", "y"))
    b: str = Field(validation_alias=AliasChoices("bb", AliasPath("x", "b")))


class ByName(BaseModel):
    """Read by the attribute's name or by one alias."""

    model_config = ConfigDict(populate_by_name=True)
    a: str = Field(alias="No")


#: Types and whole answers.
ANSWERS: list[tuple[Any, Any]] = [
    (PostInit, {"first": "Ada", "last": "Byron"}),
    (list[PostInit], [{"first": "Ada", "last": "Byron"}] * 2),
    (Follows, {"a": 1}),
    (Failing, {"a": "abc", "b": 1}),
    (FailingPlainly, {"a": "abc", "b": {}}),
    (PostInitPlainly, {"a": "abc"}),
    (Named, {"cls": "cat", "self": "x"}),
    (More, {"a": 1, "cls": 2, "_fields_set": [1], "self": 3, "__dict__": {}}),
    (Foreign, {"t": 5, "u": 6, "s": "x"}),
    (list[Thirds], [5, 6]),
    (Thirds | None, 5),
    (dict[Annotated[str, AfterValidator(note)], Pair], {"x": [1, "abc"]}),
    (set[Frozen], [{"a": 1}, {"a": 2, "more": None}]),
    (Pair, [1, "abc"]),
    (Pair, [1]),
    (PairRoot, [1, "abc"]),
    (collections.deque[Annotated[int, AfterValidator(note)]], [1, 2]),
    (Sequence[Pair], [[1, "abc"]]),
    (Swapped, {"b": 1, "a": "xyz"}),
    (SwappedByName, {"b": 1, "a": "xyz"}),
]


@pytest.mark.parametrize(("wanted", "value"), ANSWERS)
@pytest.mark.parametrize("way", ["stream", "astream"])
def test_what_a_call_returns_its_stream_brings_too(wanted: Any, value: Any, way: str) -> None:
    """A partial value that could not be made counted as the model's failure: the call escalated, or had no value."""
    text = json.dumps(value)
    model, other = ScriptedModel(text, text, pieces=len(text)), ScriptedModel(name="other")
    asker = guard.Guard(model, escalate_to=other, retries=0)

    async def last() -> Any:
        return [part async for part in asker.astream(wanted, "x")][-1]

    given = asker.generate(wanted, "x")
    streamed = list(asker.stream(wanted, "x"))[-1] if way == "stream" else asyncio.run(last())
    assert streamed == given
    assert type(streamed) is type(given)
    assert not other.requests


@pytest.mark.parametrize(("wanted", "value"), ANSWERS)
def test_no_code_of_a_class_runs_before_the_end(wanted: Any, value: Any) -> None:
    CALLED.clear()
    made = Partials(wanted)
    shown = [part for character in json.dumps(value) + " " if (part := made.feed(character)) is not None]
    assert shown
    assert CALLED == []


@pytest.mark.parametrize(
    ("wanted", "text", "value"),
    [
        (Follows, '{"a": 1}', Follows.model_construct(a=1, b=None)),
        (Failing, '{"a": "ab', Failing.model_construct(a="ab", b=None)),
        (FailingPlainly, '{"a": "ab', FailingPlainly("ab", None)),  # type: ignore[arg-type]
        (More, '{"a": 1, "cls": "x', More(a=1, cls="x")),
        (Foreign, '{"t": 5, "s": "x', Foreign.model_construct(t=Third(5), s="x")),
        (set[Frozen], '[{"a": 1}, {"a": 2, "more": [', {Frozen(a=1)}),
        (Pair, '[1, "ab', Pair(1, "ab")),
        (Pair, "[1", Pair(None)),  # type: ignore[arg-type]
        (Swapped, '{"b": 1, "a": "xy', Swapped(b=1, a="xy")),
        (SwappedByName, '{"a": "xy', SwappedByName.model_construct(b=None, a="xy")),
        (ByName, '{"a": "xy', ByName(a="xy")),
        (ByName, '{"No": "xy', ByName(a="xy")),
        (Deeper, '{"bb": "xy"}', Deeper.model_construct(a=None, b="xy")),
    ],
)
def test_the_partial_object_of_a_class(wanted: Any, text: str, value: Any) -> None:
    assert repr(partial(wanted, text)) == repr(value)
    assert partial(wanted, text) == value


@pytest.mark.parametrize(
    ("wanted", "value"),
    [
        (collections.deque[int], [1, 2]),
        (Sequence[int], [1, 2]),
        (MutableSequence[int], [1, 2]),
        (AbstractSet[int], [1, 2]),
        (MutableSet[int], [1, 2]),
        (Mapping[str, int], {"a": 1}),
        (MutableMapping[str, int], {"a": 1}),
        (collections.OrderedDict[str, int], {"a": 1}),
        (collections.defaultdict[str, list[int]], {"a": [1]}),
        (collections.Counter[str], {"a": 1}),
        (Sequence, ["a"]),
        (Mapping, {"a": 1}),
    ],
)
def test_a_container_is_of_the_type_that_pydantic_gives_it(wanted: Any, value: Any) -> None:
    text = json.dumps(value)
    whole = pydantic.TypeAdapter(wanted).validate_json(text)
    assert repr(partial(wanted, text)) == repr(whole)


def test_a_default_is_made_once_for_each_object_and_shared_by_no_two_partial_values() -> None:
    """A factory of numbers gave one object another number in each partial value."""
    numbers = itertools.count()

    class Row(BaseModel):
        text: str
        number: int = Field(default_factory=lambda: next(numbers))
        tags: list[str] = Field(default_factory=list)

    made = Partials(list[Row])
    shown = [part for character in json.dumps([{"text": "abc"}] * 3) if (part := made.feed(character))]
    assert [row.number for row in shown[-1]] == [0, 1, 2]
    assert {part[0].number for part in shown} == {0}
    assert next(numbers) == 3
    opened = [part[0] for part in shown if part[0].text in ("", "a", "ab")]
    opened[0].tags.append("mine")
    assert [row.tags for row in opened[1:]] == [[]] * (len(opened) - 1)


def test_a_partial_value_that_can_not_be_made_shows_nothing_new() -> None:
    class Refuses(BaseModel):
        a: str

        def __new__(cls) -> Self:
            raise LookupError("not now")

    made = Partials(list[Refuses])
    assert {repr(made.feed(character)) for character in '[{"a": "xy"}, '} == {"None", "[]"}


@pytest.fixture
def alarm() -> Iterator[None]:
    def raises(*_: Any) -> None:
        raise TimeoutError("now")

    before = signal.signal(signal.SIGUSR1, raises)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("alarm")
def test_what_a_signal_s_handler_raises_meanwhile_is_the_caller_s() -> None:
    class Slow(BaseModel):
        a: str
        b: int = Field(default_factory=lambda: signal.raise_signal(signal.SIGUSR1))

    with pytest.raises(TimeoutError, match="now"):
        partial(Slow, '{"a": "')

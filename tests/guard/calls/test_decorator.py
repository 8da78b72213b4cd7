"""`guard.structured`: what becomes the prompt, what becomes the type, and what is refused at once."""

from __future__ import annotations

import asyncio
import enum
import inspect
import pickle
import sys
import types
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field
from scripted import Scripted
from typing_extensions import TypedDict

import guard
from guard.calls import prompts
from guard.calls.decorator import Structured
from guard.trace import TraceStore


class Person(BaseModel):
    """Somebody."""

    name: str = Field(description="first name")
    age: int


@dataclass
class Point:
    """A place."""

    x: int
    y: int


class Options(TypedDict):
    """What was chosen."""

    size: Literal["small", "large"]


class Colour(enum.Enum):
    """A colour."""

    RED = "red"
    BLUE = "blue"


def with_type(wanted: Any, answer: str) -> tuple[Structured[[str], Any], Scripted]:
    """Decorate a function that returns a type; the model gives one answer."""

    def read(text: str) -> Any:
        """Read it."""

    model = Scripted(answer)
    read.__annotations__["return"] = wanted
    return guard.structured(model=model)(read), model


@pytest.mark.parametrize(
    ("wanted", "answer", "value"),
    [
        (Person, '{"name": "Ada", "age": 36}', Person(name="Ada", age=36)),
        (Point, '{"x": 1, "y": 2}', Point(1, 2)),
        (Options, '{"size": "small"}', {"size": "small"}),
        (Colour, '"blue"', Colour.BLUE),
        (Literal["yes", "no"], '"no"', "no"),
        (list[Person], '[{"name": "Ada", "age": 36}]', [Person(name="Ada", age=36)]),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (Person | Point, '{"x": 1, "y": 2}', Point(1, 2)),
        (Person | None, "null", None),
        (int, "7", 7),
        (float, "0.5", 0.5),
        (str, '"text"', "text"),
        (bool, "true", True),
    ],
)
def test_the_return_annotation_is_the_type_of_the_value(wanted: Any, answer: str, value: Any) -> None:
    read, model = with_type(wanted, answer)
    got = read("It says so.")
    assert got == value
    assert type(got) is type(value)
    assert model.requests[0].compiled is read.target.compiled


def test_the_docstring_is_the_instruction_and_the_arguments_are_the_input() -> None:
    @guard.structured(model=Scripted('{"name": "Ada", "age": 36}'))
    def read(text: str, hints: dict[str, int], year: int = 2026) -> Person:
        """Find the person.

        Count from the year.
        """

    assert read.messages("Ada was born in 1990.", hints={"births": 1}) == (
        {
            "role": "user",
            "content": "text:\nAda was born in 1990.\n\n"
            'hints:\n{\n  "births": 1\n}\n\n'
            "year:\n2026\n\n"
            "Find the person.\n\nCount from the year. Answer as JSON.\n- name: first name",
        },
    )
    assert read("Ada was born in 1990.", {}) == Person(name="Ada", age=36)


def test_traced_returns_the_record_that_the_trace_holds(trace_file: Path) -> None:
    model = Scripted("nonsense", '{"name": "Ada", "age": 36}', name="tiny")

    @guard.structured(model=model, retries=1, seed=3)
    def read(text: str) -> Person:
        """Find the person."""

    value, call = read.traced("Ada, 36")
    assert value == Person(name="Ada", age=36)
    assert (call.model, call.served, call.target, call.template) == ("tiny", "scripted-1", "Person", prompts.TEMPLATE)
    assert call.function == f"{__name__}.test_traced_returns_the_record_that_the_trace_holds.<locals>.read"
    assert call.options == {
        "retries": 1,
        "seed": 3,
        "max_tokens": None,
        "temperature": 0.0,
        "thinking": 0,
        "repair": True,
        "repetition": "tell",
        "choose": "auto",
        "tiers": ["tiny"],
        "mode": "live",
    }
    assert call.schema_hash == read.target.compiled.hash
    assert [a.findings == () for a in call.attempts] == [False, True]
    assert call.tokens == 2 * 100 + len("nonsense") + len('{"name": "Ada", "age": 36}')
    assert call.number == 1
    assert TraceStore.at(trace_file).read(1) == call


def test_a_bare_decorator_takes_everything_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARD_MODEL", "openai:from-environment")

    @guard.structured
    def read(text: str) -> Person:
        """Find the person."""

    assert read.guard.tiers[0] == "openai:from-environment"
    assert (read.__name__, read.__doc__, read.__module__) == ("read", "Find the person.", __name__)


def test_a_type_of_the_enclosing_function_is_found() -> None:
    class Local(BaseModel):
        n: int

    @guard.structured(model=Scripted('{"n": 1}'))
    def read(text: str) -> Local:
        """Count."""

    assert read("one") == Local(n=1)


def test_keys_that_the_type_does_not_declare_are_closed_in_the_schema() -> None:
    class Open(BaseModel, extra="allow"):
        n: int

    class Outer(BaseModel):
        person: Person
        points: list[Point]
        anything: dict[str, int]
        open: Open

    read, _ = with_type(Outer, "")
    schema: Any = read.target.schema
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Person"]["additionalProperties"] is False
    assert schema["$defs"]["Point"]["additionalProperties"] is False
    assert schema["$defs"]["Open"]["additionalProperties"] is True
    assert schema["properties"]["anything"]["additionalProperties"] == {"type": "integer"}


def _no_annotation(text: str):
    """Read."""


def _nothing(text: str) -> None:
    """Read."""


def _no_docstring(text: str) -> Person: ...


def _unknown(text: str) -> Nowhere:  # noqa: F821 - refused for it
    """Read."""


def _generator(text: str) -> Any:
    """Read."""
    yield


async def _awaited_stream(text: str) -> AsyncIterator[Person]:
    """Read."""
    raise NotImplementedError


async def _awaited_iterator(text: str) -> Iterator[Person]:
    """Read."""
    raise NotImplementedError


def _no_schema(text: str) -> type[Any]:
    """Read."""
    raise NotImplementedError


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (_no_annotation, "_no_annotation has no return annotation; write `-> Type`"),
        (_nothing, "_nothing is annotated to return nothing"),
        (_no_docstring, "_no_docstring has no docstring"),
        (_unknown, "name 'Nowhere' is not defined; define the type above it"),
        (_generator, "_generator is a generator; annotate it with `-> Iterator[Type]`"),
        (_awaited_stream, "an `async def` that would give a stream; write `def`, and `-> AsyncIterator[Type]`"),
        (_awaited_iterator, "an `async def` that would give a stream; write `def`, and `-> AsyncIterator[Type]`"),
        (Person, "decorates functions, not"),
        (_no_schema, "has no JSON Schema"),
    ],
)
def test_what_cannot_be_decorated_says_so_when_it_is_decorated(function: Any, words: str) -> None:
    with pytest.raises((TypeError, ValueError, guard.SchemaError)) as caught:
        guard.structured(model=Scripted())(function)
    assert words in str(caught.value)


def test_a_schema_that_is_refused_is_refused_when_the_function_is_decorated() -> None:
    class Hostile(BaseModel):
        twins: str = Field(json_schema_extra={"pattern": r"(a)\1"})

    with pytest.raises(guard.SchemaError) as caught:
        with_type(Hostile, "")
    assert caught.value.pointer == "/properties/twins/pattern"


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Annotated[int, Field(gt=3, lt=4)], "type, exclusiveMaximum, exclusiveMinimum"),
        (Annotated[set[bool], Field(min_length=3)], "type, items, minItems, uniqueItems"),
    ],
)
def test_a_type_that_nothing_can_meet_is_refused_when_the_function_is_decorated(wanted: Any, words: str) -> None:
    with pytest.raises(guard.SchemaError) as caught:
        with_type(wanted, "")
    assert str(caught.value) == f"(root): nothing can meet it; correct what contradicts itself: {words}"


def test_an_argument_that_cannot_be_shown_is_named() -> None:
    @guard.structured(model=Scripted())
    def read(thing: object) -> Person:
        """Read."""

    with pytest.raises(ValueError, match="the argument thing=object can't be shown to a model"):
        read(object())


ADA = '{"name": "Ada", "age": 36}'


@guard.structured(model=Scripted(ADA, ADA), seed=3)
def module_level(text: str) -> Person:
    """Find the person."""
    raise NotImplementedError


class Desk:
    """Has a method."""

    def __init__(self, name: str) -> None:
        self.name = name

    @guard.structured(model=Scripted(ADA, ADA))
    def read(self, text: str) -> Person:
        """Find the person."""
        raise NotImplementedError


def test_using_and_methods_leave_the_function_of_a_module_as_it_is() -> None:
    assert module_level.using(seed=7).guard.policy.seed == 7
    assert module_level.guard.policy.seed == 3
    one, other = Desk("one").read, Desk("other").read
    assert [bound._bound[0].name for bound in (one, other)] == ["one", "other"]
    assert (one("x"), Desk.read._bound) == (Person(name="Ada", age=36), ())


def test_an_async_function_is_awaited() -> None:
    @guard.structured(model=Scripted(ADA, ADA))
    async def read(text: str) -> Person:
        """Find the person."""
        raise NotImplementedError

    async def run() -> tuple[Person, tuple[Person, guard.Call]]:
        return await read("Ada, 36"), await read.traced("Ada, 36")

    value, (again, call) = asyncio.run(run())
    assert value == again == Person(name="Ada", age=36)
    assert call.outcome == "valid"


def test_a_function_that_returns_an_iterator_gives_partial_values() -> None:
    @guard.structured(model=Scripted(ADA))
    def read(text: str) -> Iterator[Person]:
        """Find the person."""
        raise NotImplementedError

    stream = read("Ada, 36")
    assert list(stream)[-1] == Person(name="Ada", age=36)
    assert stream.call is not None
    assert stream.call.outcome == "valid"


def test_an_async_generator_gives_partial_values_async() -> None:
    @guard.structured(model=Scripted(ADA))
    async def read(text: str) -> AsyncIterator[Person]:
        """Find the person."""
        raise NotImplementedError
        yield

    async def run() -> list[Person]:
        return [part async for part in read("Ada, 36")]

    assert asyncio.run(run())[-1] == Person(name="Ada", age=36)


def test_methods_take_their_object_for_themselves() -> None:
    model = Scripted(ADA, ADA, ADA, ADA)

    class Desk:
        @guard.structured(model=model)
        def read(self, text: str) -> Person:
            """Find the person."""
            raise NotImplementedError

        @staticmethod
        @guard.structured(model=model)
        def plain(text: str) -> Person:
            """Find the person."""
            raise NotImplementedError

    desk = Desk()
    assert desk.read("Ada, 36") == Desk.read(desk, "Ada, 36") == Desk.plain("Ada, 36") == Person(name="Ada", age=36)
    assert desk.read.traced("Ada, 36")[1].function.endswith("Desk.read")
    assert {r.messages[0]["content"] for r in model.requests} == {
        "Ada, 36\n\nFind the person. Answer as JSON.\n- name: first name"
    }


def test_methods_of_a_class_take_the_class_for_themselves() -> None:
    model = Scripted(*[ADA] * 14)

    class Desk:
        @guard.structured(model=model)
        @classmethod
        def above(cls, text: str) -> Person:
            """Find the person."""
            raise NotImplementedError

        @classmethod
        @guard.structured(model=model)
        def below(cls, text: str) -> Person:
            """Find the person."""
            raise NotImplementedError

        @guard.structured(model=model)
        @staticmethod
        def plain(text: str) -> Person:
            """Find the person."""
            raise NotImplementedError

    class Office(Desk):
        """Inherits them."""

    for holder in (Desk, Desk(), Office):
        assert (
            holder.above("Ada, 36") == holder.below("Ada, 36") == holder.plain("Ada, 36") == Person(name="Ada", age=36)
        )
    assert Office.above._bound == Office().above._bound == (Office,)
    assert Desk.above.traced("Ada, 36")[1].function.endswith("Desk.above")
    assert Desk.above.using(seed=3)("Ada, 36") == Person(name="Ada", age=36)
    assert {r.messages[0]["content"] for r in model.requests} == {
        "Ada, 36\n\nFind the person. Answer as JSON.\n- name: first name"
    }
    as_in_python_3_13: Any = types.MethodType(vars(Desk)["below"].__func__, Desk)
    assert as_in_python_3_13("Ada, 36") == as_in_python_3_13.traced("Ada, 36")[0] == Person(name="Ada", age=36)
    assert as_in_python_3_13.using(seed=3)("Ada, 36") == Person(name="Ada", age=36)


def test_one_call_may_be_made_with_other_settings() -> None:
    first, second = Scripted(ADA), Scripted(ADA, name="other")

    @guard.structured(model=first, seed=3)
    def read(text: str) -> Person:
        """Find the person."""
        raise NotImplementedError

    changed = read.using(model=second, seed=9, max_tokens=99)
    assert changed("Ada, 36") == read("Ada, 36") == Person(name="Ada", age=36)
    assert [(r.seed, r.max_tokens) for r in (second.requests[0], first.requests[0])] == [(9, 99), (3, 512)]
    with pytest.raises(TypeError, match="would compile the type anew"):
        read.using(options={"key_order": "any"})


def test_a_functions_first_parameter_is_an_input_whatever_its_name() -> None:
    model = Scripted(ADA, ADA)

    @guard.structured(model=model, examples=[(("a", "b"), {"name": "Ada", "age": 36})])
    def rate(self: str, other: str) -> Person:
        """Compare them."""
        raise NotImplementedError

    @guard.structured(model=model)
    def label(cls: str) -> Person:
        """Label it."""
        raise NotImplementedError

    assert (rate.inputs, label.inputs) == (("self", "other"), ("cls",))
    assert rate.messages("MINE", "THEIRS")[-1]["content"].startswith("self:\nMINE\n\nother:\nTHEIRS\n\nCompare them.")
    assert label("cat") == label.using(seed=3)("cat") == Person(name="Ada", age=36)


def test_a_method_is_told_by_its_class_whatever_its_first_parameters_name() -> None:
    model = Scripted(*[ADA] * 4)

    @guard.structured(model=model)
    def apart(text: str) -> Person:
        """Find the person."""
        raise NotImplementedError

    def later(self: Any, text: str) -> Person:
        """Find the person."""
        raise NotImplementedError

    class Desk:
        @guard.structured(model=model)
        def read(this, text: str = "") -> Person:  # noqa: N805
            """Find the person."""
            raise NotImplementedError

        again = read.using(seed=3)

        @guard.structured(model=model, examples=[(("a", "b"), {"name": "Ada", "age": 36})])
        @staticmethod
        def plain(self: str, other: str) -> Person:
            """Compare them."""
            raise NotImplementedError

        of_module = apart
        attached: Any

    Desk.attached = guard.structured(model=model)(later)
    desk = Desk()
    asked = ({"role": "user", "content": "THE TEXT\n\nFind the person. Answer as JSON.\n- name: first name"},)
    assert desk.read.messages("THE TEXT") == Desk.read.messages(desk, "THE TEXT") == asked
    assert desk.again.messages("THE TEXT") == asked
    assert desk.of_module.messages("THE TEXT") == desk.attached.messages("THE TEXT") == asked
    assert desk.plain.inputs == Desk.plain.inputs == ("self", "other")


def test_a_method_below_a_decorator_of_python_is_told_when_it_is_taken_from_its_class() -> None:
    class Desk:
        @classmethod
        @guard.structured(model=Scripted())
        def below(klass, text: str) -> Person:  # noqa: N804
            """Find the person."""
            raise NotImplementedError

        @staticmethod
        @guard.structured(model=Scripted())
        def plain(text: str) -> Person:
            """Find the person."""
            raise NotImplementedError

    assert Desk.plain.inputs == ("text",)
    below: Any = vars(Desk)["below"].__func__.__get__(Desk, Desk)
    assert below.inputs == ("text",)


def test_types_of_the_function_around_a_class_are_found() -> None:
    class Local(BaseModel):
        n: int

    class Desk:
        @guard.structured(model=Scripted('{"n": 1}'))
        def read(self, text: str) -> Local:
            """Count."""
            raise NotImplementedError

    assert Desk().read("one") == Local(n=1)


def test_a_decorated_async_function_is_a_coroutine_function() -> None:
    @guard.structured(model=Scripted(ADA, ADA))
    async def read(text: str) -> Person:
        """Find the person."""
        raise NotImplementedError

    @guard.structured(model=Scripted())
    def blocking(text: str) -> Person:
        """Find the person."""
        raise NotImplementedError

    for function in (read, read.using(seed=3), read.saying("Who?"), pickle.loads(pickle.dumps(read))):
        assert asyncio.iscoroutinefunction(function)
        assert inspect.iscoroutinefunction(function) or sys.version_info < (3, 12)
    assert not asyncio.iscoroutinefunction(blocking)
    with pytest.raises(TypeError, match=r"^read is an async function, and this call is not; use arun_tools$"):
        guard.run_tools("q", [read], model=Scripted())
    model = Scripted('[{"name": "read", "arguments": {"text": "a"}}]', '{"content": "done"}')
    done = asyncio.run(guard.arun_tools("q", [read], model=model))
    assert done.messages[2]["content"] == '{"name":"Ada","age":36}'


@pytest.mark.parametrize("instruction", [3, None, b"Read."])
def test_an_instruction_is_a_text(instruction: Any) -> None:
    with pytest.raises(TypeError, match="must be a text"):
        module_level.saying(instruction)


def test_a_local_type_that_cannot_be_found_is_said_with_a_way_out() -> None:
    @dataclass
    class Inner:
        y: int

    @dataclass
    class Outer:
        inner: Inner

    def make() -> Any:
        @guard.structured(model=Scripted())
        def read(text: str) -> Inner:
            """Read."""
            raise NotImplementedError

        return read

    with pytest.raises(guard.SchemaError) as caught:
        with_type(Outer, "")
    assert str(caught.value).endswith(
        "Outer has no JSON Schema: a type that it names is not found in its module; "
        "define it in the module, or leave out `from __future__ import annotations`"
    )
    with pytest.raises(ValueError, match=r"or leave out `from __future__ import annotations`$"):
        make()

"""Any Python type that Pydantic reads is a schema."""

from __future__ import annotations

import dataclasses
import enum
import math
import re
import typing
from typing import Annotated, Any, Literal, NotRequired

import pydantic
import pytest
import typing_extensions

from guard.kernels.errors import SchemaError
from guard.schemas import types
from guard.schemas.compiled import FrontEnd, Options


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Line(pydantic.BaseModel):
    text: str
    price: Annotated[float, pydantic.Field(ge=0)]


class Order(pydantic.BaseModel):
    lines: list[Line]
    colour: Colour | None = None
    parent: "Order | None" = None  # noqa: UP037 - it names itself


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Plain(typing.TypedDict):
    name: str
    size: NotRequired[int]


class Nested(typing.TypedDict, total=False):
    parts: list[Plain]


class Extended(typing_extensions.TypedDict):
    name: str


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (int, {"type": "integer"}),
        (None, {"type": "null"}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (Colour, {"enum": ["red", "blue"], "title": "Colour", "type": "string"}),
        (list[bool] | None, {"anyOf": [{"items": {"type": "boolean"}, "type": "array"}, {"type": "null"}]}),
        (dict[str, int], {"additionalProperties": {"type": "integer"}, "type": "object"}),
    ],
)
def test_simple_annotations(annotation: Any, schema: dict[str, Any]) -> None:
    """Known schemas, whole and literal."""
    assert types.json_schema(annotation) == schema


@pytest.mark.parametrize(
    "annotation", [Order, Point, Plain, Nested, Extended, list[Plain], Plain | None, dict[str, Nested]]
)
def test_models_dataclasses_and_typed_dicts_compile(annotation: Any) -> None:
    """`typing.TypedDict` too, which Pydantic itself refuses before Python 3.12."""
    front = FrontEnd(annotation, Options(), {})
    assert front.lower([front.lowering.root])


def test_a_typed_dict_keeps_its_fields_and_which_are_required() -> None:
    """Rebuilt for Pydantic, it means the same."""
    schema = types.json_schema(Nested)
    assert schema["properties"]["parts"]["items"]["$ref"] == "#/$defs/Plain"
    assert "required" not in schema
    assert schema["$defs"]["Plain"]["required"] == ["name"]
    assert list(schema["$defs"]["Plain"]["properties"]) == ["name", "size"]


class Patient(pydantic.BaseModel):
    seconds: float = math.inf
    tries: int = 3


class Outer(pydantic.BaseModel):
    inner: Patient = Patient()


def test_a_default_that_is_no_json_is_left_out() -> None:
    """The schema that was made of such a type was refused, and had to be mended by whoever had not written it."""
    for kind in (Patient, Outer):
        assert FrontEnd(kind, Options(), {})
    members = types.json_schema(Patient)["properties"]
    assert [name for name, schema in members.items() if "default" in schema] == ["tries"]


def test_a_type_without_json_is_refused_in_words() -> None:
    """The error names the type and Pydantic's reason."""

    class Socket:
        pass

    with pytest.raises(SchemaError, match="Socket has no JSON Schema: Unable to generate pydantic-core schema"):
        FrontEnd(Socket, Options(), {})


class Hook:
    """Its own code fails while Pydantic builds."""

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: object) -> Any:
        """Fail."""
        raise RuntimeError("no core schema today")


@pytest.mark.parametrize(
    ("annotation", "why"),
    [
        (
            Annotated[str, pydantic.Field(pattern="^(?=a)b$")],
            (
                "look-around, including look-ahead and look-behind, is not supported;"
                " correct the pattern, or give it as re.compile(…), which Python's re reads"
            ),
        ),
        (
            dict[str, list[Annotated[str, pydantic.Field(pattern="(")]]],
            "unclosed group; correct the pattern, or give it as re.compile(…), which Python's re reads",
        ),
        (Annotated[int, pydantic.Field(ge="x")], "'ge' must be coercible to an integer; correct it"),
        (Annotated[str, pydantic.Field(min_length=-3)], "can't convert negative int to unsigned; correct it"),
        (
            Annotated[int, pydantic.Discriminator("x")],
            (
                "The core schema type 'int' is not a valid discriminated union variant;"
                " use a type that Pydantic can read from JSON"
            ),
        ),
        (Hook, "no core schema today; use a type that Pydantic can read from JSON"),
    ],
)
def test_whatever_pydantic_raises_while_it_builds_is_a_refusal(annotation: Any, why: str) -> None:
    """Of many lines the one that says why, and the way out."""
    with pytest.raises(SchemaError) as caught:
        types.json_schema(annotation)
    assert str(caught.value).partition(" has no JSON Schema: ")[2] == why


def test_a_compiled_pattern_is_read_by_pythons_re() -> None:
    """The way out that the refusal names."""
    told = types.json_schema(Annotated[str, pydantic.Field(pattern=re.compile("^(?=a)a$"))])
    assert told == {"type": "string", "pattern": "^(?=a)a$"}


class Held(pydantic.BaseModel):
    kind: type[int] | None = None


@pytest.mark.parametrize("annotation", [type[int], list[type[int]], type[int] | None, dict[str, type[Order]], Held])
def test_a_class_is_read_from_no_json(annotation: Any) -> None:
    """Pydantic's own schema of it lets everything through, and then reads nothing."""
    with pytest.raises(SchemaError, match=r"Cannot generate a JsonSchema for core_schema.IsSubclassSchema \(<class "):
        types.json_schema(annotation)


def test_a_class_beside_what_is_read_is_left_out_as_a_function_is() -> None:
    """What can be read is."""
    assert (
        types.json_schema(type[int] | int) == types.json_schema(typing.Callable[[], int] | int) == {"type": "integer"}
    )


@pytest.mark.parametrize("schema", [True, {}, "true", b"{}"])
def test_json_schema_itself_passes_through(schema: Any) -> None:
    """A dict, a bool and JSON text are never taken for types."""
    assert types.is_schema(schema)
    assert not types.is_schema(Order)

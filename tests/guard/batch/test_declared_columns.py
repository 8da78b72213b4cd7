"""Which columns a type declares, and that a table of answers has them whatever came."""

from __future__ import annotations

import datetime
import enum
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet
import pydantic
import pytest

from guard.batch.declared_columns import declared
from guard.batch.outputs import Output
from guard.output import target


class Colour(enum.StrEnum):
    RED = "red"


class Line(pydantic.BaseModel):
    count: int | None = None
    rate: float
    price: Decimal
    colour: Colour
    level: Literal[1, 2]
    word: Literal["a"] | None
    names: dict[str, int]
    inner: Line | None = None
    day: datetime.date | None
    mixed: int | str
    done: bool
    anything: Any = None


class Name(pydantic.BaseModel):
    name: str


LINE = {
    "count": "int",
    "rate": "float",
    "price": "text",
    "colour": "text",
    "level": "int",
    "word": "text",
    "names": "json",
    "inner": "json",
    "day": "text",
    "mixed": None,
    "done": "bool",
    "anything": None,
}


@pytest.mark.parametrize(
    ("wanted", "columns"),
    [
        (Line, LINE),
        (Line | None, LINE),
        (Line | Name, {**LINE, "name": "text"}),
        (Line | str, {}),
        (list[Line], {"value": "json"}),
        (int, {"value": "int"}),
        (int | None, {"value": "int"}),
        (int | float, {"value": "float"}),
        (Literal["a", 1], {"value": None}),
        ({"enum": ["a", None]}, {"value": "text"}),
        ({"const": {"a": 1}}, {}),
        ({}, {}),
        (True, {}),
        ({"properties": {"a": {}}}, {}),
        ({"type": "object", "properties": {"a": True, "b": {"type": ["null", "boolean"]}}}, {"a": None, "b": "bool"}),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}}, {"a": "json"}),
        ({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}}, "$ref": "#/$defs/a"}, {}),
    ],
)
def test_the_columns_of_a_type_are_its_members(wanted: Any, columns: dict[str, str | None]) -> None:
    try:
        schema = target.from_any(wanted, {}).schema
    except target.SchemaError:
        schema = wanted
    assert declared(schema) == columns


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
@pytest.mark.parametrize("answers", [0, 1])
def test_a_table_has_the_columns_of_its_type_whatever_came(name: str, answers: int, tmp_path: Path) -> None:
    output = Output(tmp_path / name, ["id", "rate"])
    output.begin()
    place = {"input": "in.csv", "row": 1, "columns": {"id": "a", "rate": "9"}}
    if answers:
        output.add({**place, "value": {"rate": 1, "more": True}, "call": 1})
    output.fail({**place, "row": 2, "error": "ValidationFailed"})
    output.finish({"count": "int", "rate": "float", "mixed": None})
    columns = ["input", "row", "id", "rate", "count", "value.rate", "mixed", *(["more"] * answers), "call"]
    if name == "out.csv":
        header, *rows = output.path.read_text().splitlines()
        assert header.split(",") == columns
        assert rows == ["in.csv,1,a,9,,1,,true,1"] * answers
    else:
        table = pyarrow.parquet.read_table(output.path)
        kinds = {field.name: str(field.type) for field in table.schema}
        assert list(kinds) == columns
        assert (kinds["row"], kinds["count"], kinds["value.rate"], kinds["mixed"], kinds["call"]) == (
            *("int64", "int64", "double", "string", "int64"),
        )
        assert table.num_rows == answers

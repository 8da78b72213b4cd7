"""Targets: what a schema means to the check after decoding is what it means to the masks."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import zoneinfo
from collections.abc import Generator, Iterable
from decimal import Decimal
from typing import Annotated, Any

import pydantic
import pytest
from pydantic import BaseModel, Field

import guard
from guard.output import partial, target
from guard.schemas import types


def findings(schema: Any, value: Any, **options: Any) -> tuple[str, ...]:
    return tuple(f.rule for f in target.from_any(schema, options).check(json.dumps(value))[1])


@pytest.mark.parametrize(
    ("pattern", "value", "is_valid"),
    [
        (r"^\<\w+\>$", "<ink>", True),
        (r"^\<\w+\>$", "ink", False),  # to Rust's regular expressions these are the ends of words
        (r"^[\<\>]$", ">", True),
        (r"^\\<$", "\\<", True),
        (r"^(?<n>a)$", "a", True),
        (r"^a\.b$", "a.b", True),
    ],
)
def test_an_escaped_angle_bracket_is_that_character(pattern: str, value: str, is_valid: bool) -> None:
    assert (findings({"pattern": pattern}, value) == ()) is is_valid
    assert (findings({"patternProperties": {pattern: {"type": "null"}}}, {value: 1}) != ()) is is_valid
    assert findings({"const": {"pattern": pattern}}, {"pattern": pattern}) == ()


def test_what_is_nullable_in_openapi_may_be_null_whatever_its_name() -> None:
    schema = {
        "properties": {name: {"type": "string", "nullable": True} for name in ("default", "enum", "name")},
        "default": {"nullable": True},
    }
    value = dict.fromkeys(schema["properties"])
    assert findings(schema, value, draft="openapi3.0") == ()
    assert findings(schema, {"default": 3}, draft="openapi3.0") == ("/properties/default/type",)


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": r"(?<n>a)\k<n>"},  # jsonschema-rs knows no such pattern
        {"type": "strin"},
        {"$ref": "#/definitions/none"},
        {"minLength": "3"},
    ],
)
@pytest.mark.parametrize("inexact", ["refuse", "residual"])
def test_a_schema_that_nothing_can_check_is_refused_as_one(schema: Any, inexact: str) -> None:
    with pytest.raises(guard.SchemaError):
        target.from_any(schema, {"inexact": inexact})


@pytest.mark.parametrize("text", ["1e308", "1E+308", "1" + "0" * 308, "1" + "0" * 308 + ".0"])
@pytest.mark.parametrize("schema", [{"enum": [1e308]}, {"const": 1e308}, {"minimum": 1e308}, {"multipleOf": 1e20}])
def test_a_number_is_the_decimal_that_was_written_whatever_its_spelling(schema: Any, text: str) -> None:
    """1e308 and its digits are one number, though a double is not that number."""
    check = target.from_any(schema, {}).check
    assert check(text)[1] == ()
    assert [f.rule for f in check("100000000000000000001")[1]] == [f"/{next(iter(schema))}"]


@pytest.mark.parametrize("depth", [700, 3_000, 100_000])
def test_a_value_that_is_nested_too_deeply_is_a_finding(depth: int) -> None:
    """How deep that is depends on the version of Python; what is nested less deeply is valid here."""
    findings = target.from_any({"not": {"const": 1e308}}, {}).check("[" * depth + "]" * depth)[1]
    assert [finding.rule for finding in findings] in (["nesting"], [])
    assert findings or depth < 100_000


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_a_union_counts_whatever_was_asked_before(order: int) -> None:
    """Python's unions are equal in any order, so `date | str` was read as a `str | date` before it."""
    for wanted, kind in [(str | datetime.date, str), (datetime.date | str, datetime.date)][::order]:
        assert type(target.from_any(wanted, {}).check('"2024-01-05"')[0]) is kind
        assert type(target.from_any(dict[str, wanted], {}).check('{"a": "2024-01-05"}')[0]["a"]) is kind
        assert type(partial.partial(wanted, '"2024-01-05" ')) is kind


class Measured(BaseModel):
    """Numbers inside of a model; one may be infinite."""

    number: float = 0.0
    bound: Annotated[float, Field(allow_inf_nan=True)] = 0.0
    inner: Measured | None = None


BEYOND = "1" + "0" * 400


@pytest.mark.parametrize(
    ("wanted", "answer", "at"),
    [
        (float, BEYOND, ""),
        (float, f"-{BEYOND}", ""),
        (float, '"inf"', ""),
        (float, '"NaN"', ""),
        (float, '"1e999"', ""),
        (Annotated[float, Field(ge=0)], BEYOND, ""),
        (list[float], f"[1, {BEYOND}]", "/1"),
        (dict[float, int], '{"inf": 1}', "/inf"),
        (Measured, '{"inner": {"number": "nan"}}', "/inner/number"),
    ],
)
def test_what_is_no_finite_number_is_no_float(wanted: Any, answer: str, at: str) -> None:
    """Pydantic makes infinity of an integer beyond a double, and of the text: both passed for values."""
    value, found = target.from_any(wanted, {}).check(answer)
    assert (value, [(one.at, one.rule) for one in found]) == (None, [(at, "finite_number")])


def test_a_type_may_say_that_a_number_may_be_infinite() -> None:
    """What a field or a configuration allows is read; of the same number an integer loses nothing."""
    assert target.from_any(Measured, {}).check('{"bound": "inf"}')[0] == Measured(bound=math.inf)
    loose = pydantic.with_config({"allow_inf_nan": True})(dataclasses.make_dataclass("Loose", [("number", float)]))
    assert target.from_any(list[loose], {}).check('[{"number": "-inf"}]')[0][0].number == -math.inf
    assert target.from_any(int | float, {}).check(BEYOND)[0] == 10**400


class Listed(BaseModel):
    """Items that Pydantic reads when they are asked for."""

    items: Iterable[int]


def test_the_items_of_an_iterable_are_read() -> None:
    """Pydantic reads them when they are asked for, so `["a", {}]` passed for integers."""
    found = target.from_any(Listed, {}).check('{"items": ["a", {}]}')[1]
    assert [(one.at, one.rule) for one in found] == [("/items/0", "int_parsing"), ("/items/1", "int_type")]
    assert target.from_any(Listed, {}).check('{"items": [1, 2]}')[0].items == [1, 2]
    assert target.from_any(Generator[int, None, None], {}).check('["a"]')[1]
    assert partial.partial(Listed, '{"items": [1, 2').items == [1]


class Inner(BaseModel):
    """A branch of a union."""

    v: int


#: Members that are named as Pydantic names branches of unions.
LikeBranches = pydantic.create_model("LikeBranches", int=(int | list[str], 0), inner=(Inner | dict[str, int], {}))


@pytest.mark.parametrize(
    ("answer", "places"),
    [
        ('{"int": {"int": 5}}', ["/int", "/int"]),
        ('{"int": ["a", 5]}', ["/int", "/int/1"]),
        ('{"inner": {"Inner": {"v": 1}}}', ["/inner/v", "/inner/Inner"]),
    ],
)
def test_a_branch_that_is_named_like_a_key_is_no_step(answer: str, places: list[str]) -> None:
    """Pydantic's locations name the branches of unions, and these were taken for keys: `/int/int`."""
    assert [one.at for one in target.from_any(LikeBranches, {}).check(answer)[1]] == places


class Price(BaseModel, strict=True):
    """A decimal that Pydantic reads strictly, beside a text and a double."""

    price: Decimal
    rate: float = 0.0
    text: Decimal | str = ""


@pytest.mark.parametrize(
    ("wanted", "answer", "value"),
    [
        (Decimal, "12345678901234567890.12", Decimal("12345678901234567890.12")),
        (Decimal, "0.1234567890123456789012345", Decimal("0.1234567890123456789012345")),
        (Decimal, "1.5e-400", Decimal("1.5e-400")),
        (int, "123456789012345679.0", 123456789012345679),
        (
            list[Decimal | None],
            "[0.1, 0.12345678901234567, null]",
            [Decimal("0.1"), Decimal("0.12345678901234567"), None],
        ),
        (dict[str, float], '{"a": 0.12345678901234567}', {"a": 0.12345678901234567}),
        (
            Price,
            '{"price": 0.12345678901234567, "rate": 0.12345678901234567, "text": "0.5"}',
            Price(price=Decimal("0.12345678901234567"), rate=0.12345678901234567, text="0.5"),
        ),
    ],
)
def test_a_number_has_the_digits_that_are_written(wanted: Any, answer: str, value: Any) -> None:
    """Pydantic reads a number with a fraction as a double: the decimal had other digits, and nothing said so."""
    assert target.from_any(wanted, {}).check(answer) == (value, ())


def test_numbers_that_are_one_double_are_no_decimals() -> None:
    """Which of them a decimal is, is not known; as doubles they are what they are."""
    answer = "[0.1, 0.10000000000000000001]"
    assert [one.at for one in target.from_any(list[Decimal], {}).check(answer)[1]] == ["/0", "/1"]
    assert target.from_any(list[float], {}).check(answer)[0] == [0.1, 0.1]
    with pytest.raises(pydantic.ValidationError):
        types.reader(int).validate_json("12345678901234567.5")


class Doubled(BaseModel, extra="forbid"):
    n: int = Field(alias="N")

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> int:
        """What extra="forbid" refuses, where it is written."""
        return 2 * self.n


class Login(BaseModel):
    password: pydantic.SecretStr


class Inner(BaseModel):
    numbers: pydantic.Json[list[int]]


class Bytes(BaseModel):
    data: bytes


class Zoned(BaseModel):
    zone: zoneinfo.ZoneInfo


class Rate(BaseModel):
    rate: float | None


@dataclasses.dataclass(eq=False)
class Chain:
    a: int
    b: Chain | None = None


@pytest.mark.parametrize(
    ("wanted", "value", "text"),
    [
        (Doubled, Doubled(N=1), '{"N": 1}'),
        (Doubled, {"N": 1}, '{"N": 1}'),
        (Login, {"password": "x"}, '{"password": "x"}'),
        (Inner, Inner(numbers="[1]"), '{"numbers": "[1]"}'),
        (Inner, {"numbers": "[1]"}, '{"numbers": "[1]"}'),
        (Bytes, Bytes(data=b"ab"), '{"data": "ab"}'),
        (Zoned, Zoned(zone="Europe/Paris"), '{"zone": "Europe/Paris"}'),
        (Rate, Rate(rate=1.5), '{"rate": 1.5}'),
        (Chain, Chain(1, Chain(2)), '{"a": 1, "b": {"a": 2, "b": null}}'),
        (set[int], {2}, "[2]"),
        (datetime.date, datetime.date(2024, 1, 1), '"2024-01-01"'),
        (datetime.date, "2024-01-01", '"2024-01-01"'),
        ({"type": "object"}, {"a": (1, 2)}, '{"a": [1, 2]}'),
    ],
)
def test_an_answer_that_is_given_is_written_as_it_is_read(wanted: Any, value: Any, text: str) -> None:
    assert target.from_any(wanted, {}).written(value, "examples[0]") == text


@pytest.mark.parametrize(
    ("wanted", "value", "words"),
    [
        (Login, Login(password="x"), "is read as another value; give the answer as JSON"),
        (Rate, Rate(rate=math.nan), "is read as another value; give the answer as JSON"),
        (Bytes, Bytes(data=b"\xff"), "can't be written as JSON: .*; give the answer as JSON"),
        (Rate, {"rate": math.nan}, "NaN is no number"),
        ({"type": ["number", "null"]}, math.nan, "NaN is no number"),
        ({"type": "integer"}, object(), "can't be written as JSON: .*; give the answer as JSON"),
        (Doubled, Rate(rate=1), "is not valid: /N: expected the property 'N'"),
    ],
)
def test_an_answer_that_json_does_not_keep_is_refused_by_its_place(wanted: Any, value: Any, words: str) -> None:
    with pytest.raises(ValueError, match=r"^examples\[0\]: the answer.*" + words):
        target.from_any(wanted, {}).written(value, "examples[0]")

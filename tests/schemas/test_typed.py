"""Python types as schemas: what the schema of a type accepts, the type reads, and what the type writes, it accepts."""

import datetime
import decimal
import enum
import fractions
import ipaddress
import re
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typed.adversary import accepts, examine
from typed.zoo import BEYOND, LEFT_OUT, TYPES, Access, Alike
from typed.zoo import Color as Kind

import guard
from guard import schemas
from guard.schemas import types
from guard.schemas.typed import decimals, patterns

TEXTS = 40  #: Of each type; `make typed` tries more.


@pytest.mark.parametrize("name", TYPES)
def test_what_the_schema_of_a_type_accepts_the_type_reads_and_what_it_writes_the_schema_accepts(name: str) -> None:
    wanted, *examples = TYPES[name]
    found = examine(wanted, examples, TEXTS, seed=0)
    assert found.texts == TEXTS
    if name in BEYOND:
        assert found.notes, "what no schema says is reported"
    else:
        assert not found.refused
    if name not in LEFT_OUT:
        assert not found.left_out


def test_at_most_eight_types_are_not_exact() -> None:
    assert len(TYPES) >= 200
    assert len(BEYOND) <= 8
    assert not set(BEYOND) - set(TYPES)
    assert not set(LEFT_OUT) - set(TYPES)


#: Types that Hypothesis makes values of, none of which the schema may leave out.
WRITTEN: dict[Any, Callable[[Any], bool]] = {
    uuid.UUID: lambda _: True,
    datetime.date: lambda _: True,
    datetime.time: lambda _: True,
    datetime.datetime: lambda _: True,
    datetime.timedelta: lambda _: True,
    decimal.Decimal: lambda value: value.is_finite() and abs(value.adjusted()) < 10**6,
    fractions.Fraction: lambda _: True,
    ipaddress.IPv4Address: lambda _: True,
    ipaddress.IPv4Network: lambda _: True,
    ipaddress.IPv4Interface: lambda _: True,
    ipaddress.IPv6Address: lambda value: value.scope_id is None,
    float: lambda value: value == value and abs(value) != float("inf"),
    int: lambda _: True,
}


@pytest.mark.parametrize("wanted", WRITTEN, ids=lambda wanted: wanted.__name__)
def test_whatever_python_writes_the_schema_accepts(wanted: Any) -> None:
    compiled = schemas.compile(wanted, spelling="any")
    adapter = pydantic.TypeAdapter(wanted)

    @given(st.from_type(wanted).filter(WRITTEN[wanted]))
    def check(value: Any) -> None:
        text = adapter.dump_json(value).decode()
        assert accepts(compiled, text), text

    check()


# ---- parts ----

NUMBERS = st.decimals(-200, 200, places=2) | st.sampled_from([Decimal(n) for n in (0, 1, -1, 9, 10, 99, 100, -100)])
WRITTEN_NUMBERS = st.tuples(
    st.sampled_from(["", "-"]), st.integers(0, 250).map(str), st.sampled_from(["", ".0", ".5", ".50", ".05", ".999"])
).map("".join)


@given(
    st.none() | NUMBERS,
    st.none() | NUMBERS,
    st.booleans(),
    st.booleans(),
    st.lists(WRITTEN_NUMBERS, max_size=20),
)
def test_the_texts_between_two_bounds_are_those_of_the_numbers_between_them(
    low: Decimal | None, high: Decimal | None, above: bool, below: bool, texts: list[str]
) -> None:
    pattern = re.compile(f"^{decimals.between(low, high, above=above, below=below)}$")
    near = [f"{bound:f}" for bound in (low, high) if bound is not None]
    for text in [*texts, *near, *(f"{text}1" for text in near if "." in text)]:
        value = Decimal(text)
        inside = (low is None or value > low or (value == low and not above)) and (
            high is None or value < high or (value == high and not below)
        )
        if value or not text.startswith("-"):  # of 0 one way of writing is enough
            assert bool(pattern.match(text)) == inside, text


@pytest.mark.parametrize(
    ("given_pattern", "python", "expected"),
    [
        (r"^\d{5}$", False, r"^\d{5}$"),
        (r"\Aab.c\z", False, r"^ab[^\n]c$"),
        (r"\A(?P<a>x)\Z", True, "^(?<a>x)$"),
        (r"(?i)ab", False, "(?i:ab)"),
        (r"(?is)a.", True, "(?i:a[^])"),
        (r"\x{1F600}\U0001F600\a", False, r"\u{1F600}\u{1F600}\x07"),
        (r"[]a]{,3}", True, r"[\]a]{0,3}"),
        (r"a{x}\pL\-", True, r"a\{x\}\p{L}-"),
    ],
)
def test_a_pattern_of_rust_or_python_is_translated(given_pattern: str, python: bool, expected: str) -> None:
    assert patterns.ecma(given_pattern, python=python) == expected


@pytest.mark.parametrize("pattern", [r"(?x)a b", r"(a)\1", r"[a&&b]", r"a++", "(?>a)", "(?(1)a|b)", r"[a\W]", r"\Q"])
def test_a_pattern_that_ecma_262_has_no_like_of_is_left_to_pydantic_and_said(pattern: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        patterns.ecma(pattern, python=True)


@given(
    st.lists(
        st.sampled_from(["a", "\\d", "\\w", "\\s", "\\S", "\\W", ".", "[^\\w]", "[^\\s]", "\\b", "[\\d_]"]),
        min_size=1,
        max_size=3,
    ),
    st.text("a_5é٣ \x85\ufeff\u2028\r\n\x1c", max_size=4),
)
def test_what_a_translated_pattern_finds_the_type_finds(pieces: list[str], text: str) -> None:
    source = "^" + "".join(pieces) + "$"
    for engine in ("rust-regex", "python-re"):
        wanted = Annotated[str, pydantic.Field(pattern=source)]

        class Model(pydantic.BaseModel):
            model_config = pydantic.ConfigDict(regex_engine=engine)
            a: wanted

        compiled = schemas.compile(Model, spelling="any")
        as_json = Model.model_construct(a=text).model_dump_json()
        if accepts(compiled, as_json):
            assert Model.model_validate_json(as_json).a == text


class Invoice(pydantic.BaseModel):
    number: str
    paid: pydantic.PastDate
    total: Decimal = pydantic.Field(gt=0, decimal_places=2)

    @pydantic.field_validator("number")
    @classmethod
    def checked(cls, number: str) -> str:
        return number

    @pydantic.model_validator(mode="after")
    def plausible(self) -> "Invoice":
        return self


def test_what_no_schema_says_is_in_the_report_with_its_place() -> None:
    said = [
        (line.pointer, line.status, line.note) for line in guard.compile(Invoice).report if line.keyword == "(type)"
    ]
    assert said == [
        ("", "residual", "the validator Invoice.plausible"),
        ("/properties/number", "residual", "the validator Invoice.checked"),
        ("/properties/paid", "residual", "that it lies in the past, when the answer is read"),
    ]


def test_a_type_that_is_all_said_has_nothing_in_the_report_but_keywords() -> None:
    assert {line.status for line in guard.compile(dict[int, uuid.UUID]).report} == {"enforced"}


def test_two_types_with_one_schema_keep_what_is_said_of_each() -> None:
    def even(number: int) -> int:
        return number

    plain, checked = guard.compile(int), guard.compile(Annotated[int, pydantic.AfterValidator(even)])
    assert plain.schema == checked.schema
    assert [line.note for line in checked.report if line.keyword == "(type)"] != []
    assert [line.note for line in plain.report if line.keyword == "(type)"] == []


def test_a_note_survives_a_pickle() -> None:
    import pickle

    assert pickle.loads(pickle.dumps(guard.compile(Invoice))).report == guard.compile(Invoice).report


Told = Annotated[int, pydantic.PlainValidator(int)]
Shown = Annotated[str, pydantic.AfterValidator(int)]


@pytest.mark.parametrize("wanted", [Told, Shown])
def test_a_type_that_is_used_as_a_validator_is_code_of_the_callers_own(wanted: Any) -> None:
    assert [beyond.note for beyond in types.described(wanted).beyond] == ["the validator int"]


class Valued(pydantic.BaseModel):
    """A model whose hooks are Pydantic's own."""

    model_config = pydantic.ConfigDict(use_enum_values=True)
    kind: Kind
    _cache: int = pydantic.PrivateAttr(0)


@pytest.mark.parametrize("wanted", [Valued, Annotated[Sequence[int], pydantic.Field(min_length=2)]])
def test_what_pydantic_does_by_itself_is_not_reported(wanted: Any) -> None:
    assert types.described(wanted).beyond == ()


class Tuples(enum.Enum):
    """Members that no JSON value is."""

    one = (1, 2)


@pytest.mark.parametrize("wanted", [Tuples, Literal[b"a"]])
def test_a_type_that_no_json_value_is_is_refused(wanted: Any) -> None:
    with pytest.raises(guard.SchemaError, match="no JSON value is"):
        schemas.compile(wanted)


def test_flags_are_read_together_and_an_enums_values_stand_once() -> None:
    assert types.json_schema(Access) == {"title": "Access", "type": "integer", "enum": [4, 2, 1, 0, 3, 5, 6, 7]}
    assert types.json_schema(Alike)["enum"] == ["r"]

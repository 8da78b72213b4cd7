"""Python types of every kind that Pydantic reads, each with JSON texts that it reads."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import ipaddress
import pathlib
import re
import uuid
import zoneinfo
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    Required,
    TypeVar,
    Union,
)

import annotated_types as at
import pydantic
import pydantic_extra_types.color
import pydantic_extra_types.coordinate
import pydantic_extra_types.country
import pydantic_extra_types.currency_code
import pydantic_extra_types.domain
import pydantic_extra_types.epoch
import pydantic_extra_types.language_code
import pydantic_extra_types.mac_address
import pydantic_extra_types.mongo_object_id
import pydantic_extra_types.payment
import pydantic_extra_types.pendulum_dt
import pydantic_extra_types.phone_numbers
import pydantic_extra_types.s3
import pydantic_extra_types.script_code
import pydantic_extra_types.semantic_version
import pydantic_extra_types.timezone_name
import pydantic_extra_types.ulid
from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field
from pydantic import dataclasses as pydantic_dataclasses
from pydantic.alias_generators import to_camel
from typing_extensions import TypeAliasType, TypedDict

extra = pydantic_extra_types


class Color(enum.Enum):
    red = "red"
    green = "green"


class Size(enum.IntEnum):
    small = 1
    large = 10


class Mixed(enum.Enum):
    one = 1
    half = 0.5
    word = "word"
    nothing = None


class Flags(enum.StrEnum):
    a = "a-1"
    b = "b"


class Access(enum.IntFlag):
    read = 4
    write = 2
    run = 1


class Alike(enum.Enum):
    red = "r"
    crimson = "r"  # noqa: PIE796 - an alias
    pair = (1, 2)  # which no JSON value is


class Point(NamedTuple):
    x: int
    y: float = 0.0


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Partial(TypedDict, total=False):
    name: Required[str]
    tags: list[str]


@dataclass
class Plain:
    name: str
    count: int = 0
    tags: list[str] = field(default_factory=list)
    derived: str = field(init=False, default="x")


@pydantic_dataclasses.dataclass
class Strict:
    name: Annotated[str, Field(min_length=1)]
    parent: Optional[Strict] = None  # noqa: UP045 - a name in quotes has no |


class Item(BaseModel):
    name: str
    price: float = Field(gt=0)
    tags: set[str] = Field(default_factory=set, max_length=3)


class Order(BaseModel):
    id: uuid.UUID
    items: list[Item] = Field(min_length=1)
    note: str | None = None
    placed: datetime.datetime


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    a: int
    b: bool = False


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, int]
    a: str


class Tree(BaseModel):
    value: int
    children: list[Tree] = []


class Aliased(BaseModel):
    first: int = Field(alias="firstValue")
    second: str = Field(validation_alias="second-value", serialization_alias="second-value")


class Chosen(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    value: int = Field(validation_alias=AliasChoices("v", "val"))
    other: int | None = Field(default=None, validation_alias=AliasChoices("o", AliasPath("os", 0)))


class Pathed(BaseModel):
    first: str = Field(validation_alias=AliasPath("names", 0))
    last: str = Field(validation_alias=AliasPath("names", 1))
    city: str = Field(validation_alias=AliasPath("address", "town", "name"))
    zip: str = Field(default="", validation_alias=AliasPath("address", "zip"))


class Named(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    value: int = Field(alias="theValue")
    other: int = Field(default=0, alias="theOther")


class Stripped(BaseModel):
    model_config = ConfigDict(str_strip_whitespace=True, str_min_length=2, str_max_length=5)
    a: str


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)
    a: int
    b: float
    c: str
    d: tuple[int, str]
    when: datetime.date


class Area(BaseModel):
    width: int
    height: int

    @pydantic.computed_field
    @property
    def area(self) -> int:
        return self.width * self.height


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int


class Dog(BaseModel):
    kind: Literal["dog", "puppy"]
    good: bool = True


class Fish(BaseModel):
    kind: Literal["fish"] = Field(alias="type")
    salt: bool


class Bird(BaseModel):
    kind: Literal["bird"] = Field(alias="type")
    wings: int


class Ids(pydantic.RootModel[list[int]]):
    pass


T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    items: list[T]
    next: int | None = None


class Derived(Partial):
    parts: list[int]
    weight: NotRequired[float]


class Linked(NamedTuple):
    value: Annotated[str, Field(max_length=3)]
    next: Linked | None = None


@dataclass(kw_only=True)
class Keyed:
    name: str
    count: Annotated[int, Field(ge=0)] = 0


class Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="forbid")
    first_name: str
    last_seen: datetime.date | None = None
    _cache: int = pydantic.PrivateAttr(0)


class NameOnly(BaseModel):
    model_config = ConfigDict(validate_by_alias=False, validate_by_name=True, serialize_by_alias=False)
    value: int = Field(alias="theValue")


class Valued(BaseModel):
    model_config = ConfigDict(use_enum_values=True, coerce_numbers_to_str=True)
    color: Color
    text: str


class Nodes(pydantic.RootModel[Union[int, list["Nodes"]]]):  # noqa: UP007 - a name in quotes has no |
    pass


class Bought(BaseModel):
    by: Buyer | None = None
    price: int


class Buyer(BaseModel):
    bought: list[Bought] = []


class StrictAll(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    color: Color
    when: datetime.datetime
    exact: decimal.Decimal
    path: pathlib.Path
    names: frozenset[str]
    last: collections.deque[int]


class Base64Model(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    data: bytes


_DEC = decimal.Decimal
_DATE = datetime.date
UserId = NewType("UserId", int)
Anything = TypeAliasType("Anything", "dict[str, Anything] | list[Anything] | str | int | float | bool | None")

#: Name → the type and texts of values.
TYPES: dict[str, tuple[Any, ...]] = {
    # scalars
    "str": (str, '"abc"', '""', '"é\\u0000"'),
    "int": (int, "0", "-5", "123456789012345678901234567890"),
    "float": (float, "0.5", "-1e22", "3", "1.7976931348623157e308"),
    "bool": (bool, "true", "false"),
    "None": (None, "null"),
    "bytes": (bytes, '"abc"', '"é"'),
    "complex": (complex, '"1+2j"', '"-1.5j"', '"1e+22-3j"'),
    "Decimal": (_DEC, '"1.50"', '"-0"', '"1E+5"', '"0.1234567890123456789"'),
    "Fraction": (fractions.Fraction, '"1/3"', '"-2"', '"0.5"'),
    "Any": (Any, "1", '{"a": [null]}'),
    "object": (object, "1", '{"a": [null]}'),
    "JsonValue": (pydantic.JsonValue, "1", '{"a": [null]}'),
    "StrictInt": (pydantic.StrictInt, "44", "-1"),
    "StrictStr": (pydantic.StrictStr, '"a"'),
    "StrictBool": (pydantic.StrictBool, "true"),
    "StrictFloat": (pydantic.StrictFloat, "1.5", "2"),
    "StrictBytes": (pydantic.StrictBytes, '"a"'),
    "FiniteFloat": (pydantic.FiniteFloat, "1.5", "-1e300"),
    "PositiveInt": (pydantic.PositiveInt, "1"),
    "NegativeInt": (pydantic.NegativeInt, "-1"),
    "NonNegativeInt": (pydantic.NonNegativeInt, "0"),
    "NonPositiveFloat": (pydantic.NonPositiveFloat, "0", "-0.5"),
    "PositiveFloat": (pydantic.PositiveFloat, "0.1"),
    "ByteSize": (pydantic.ByteSize, "0", '"1.5 GiB"', '"10KB"'),
    "SecretStr": (pydantic.SecretStr, '"a"'),
    "SecretBytes": (pydantic.SecretBytes, '"a"'),
    # bounds
    "int 1..10": (Annotated[int, Field(ge=1, le=10)], "1", "10"),
    "int multiple": (Annotated[int, Field(multiple_of=7, gt=-50)], "0", "49", "-49"),
    "conint strict": (pydantic.conint(strict=True, gt=5, lt=9), "6", "8"),
    "float 0..1": (Annotated[float, Field(ge=0, le=1)], "0", "1", "0.5"),
    "float open": (Annotated[float, Field(gt=0.1, lt=0.3)], "0.2"),
    "float multiple": (Annotated[float, Field(multiple_of=0.25)], "0.75", "-2"),
    "float finite bounded": (Annotated[float, Field(allow_inf_nan=False, ge=-1)], "0", "1e300"),
    "str length": (Annotated[str, Field(min_length=2, max_length=4)], '"ab"', '"abcd"', '"éé"'),
    "str pattern": (Annotated[str, Field(pattern=r"^[A-Z]{2}-\d{3,}$")], '"AB-123"'),
    "str pattern words": (Annotated[str, Field(pattern=r"^\w+\s\S+\b")], '"ab c"'),
    "str pattern negated": (Annotated[str, Field(pattern=r"^[^\w\s]+\W\D$")], '"!!-a"'),
    "str pattern dot": (Annotated[str, Field(pattern=r"^a.b.*$")], '"a\\rb"', '"a-b\\u2028"'),
    "str pattern flags": (Annotated[str, Field(pattern=r"(?i)^(?P<word>abc)\s?x$")], '"ABC x"'),
    "str pattern python": (Annotated[str, Field(pattern=re.compile(r"\A(?P<a>\d+)(?=x)x\Z"))], '"12x"'),
    "str strip": (pydantic.constr(strip_whitespace=True, min_length=2, max_length=4), '"ab"', '" ab "'),
    "str strip pattern": (pydantic.constr(strip_whitespace=True, pattern="^a+$"), '"aa"'),
    "str upper": (pydantic.constr(to_upper=True, max_length=3), '"abc"'),
    "bytes length": (Annotated[bytes, Field(min_length=2, max_length=4)], '"ab"', '"abcd"'),
    "Decimal digits": (Annotated[_DEC, Field(max_digits=6, decimal_places=2)], '"1234.56"', '"0.01"', '"-9"'),
    "Decimal max digits": (Annotated[_DEC, Field(max_digits=4)], '"0.0001"', '"1234"', '"12.3"'),
    "Decimal places": (Annotated[_DEC, Field(decimal_places=3)], '"1.125"', '"99999999999"'),
    "Decimal bounds": (Annotated[_DEC, Field(ge=_DEC("-1.5"), lt=_DEC("100"))], '"-1.5"', '"99.99"', '"0"'),
    "Decimal money": (Annotated[_DEC, Field(gt=0, le=_DEC("999.95"), decimal_places=2)], '"0.01"', '"999.95"'),
    "Decimal cents": (Annotated[_DEC, Field(multiple_of=_DEC("0.01"))], '"1.25"', '"-3"'),
    # dates and times
    "date": (_DATE, '"2024-02-29"', '"0001-01-01"', '"9999-12-31"'),
    "time": (datetime.time, '"12:30:00"', '"23:59:59.999999Z"', '"00:00:00+05:30"'),
    "datetime": (datetime.datetime, '"2024-02-29T12:30:00"', '"2024-02-29T12:30:00.5Z"', '"0001-01-01T00:00:00-23:59"'),
    "timedelta": (datetime.timedelta, '"P1DT2H"', '"-PT0.5S"', '"P2739726Y9DT23H59M59.999999S"', '"-P2739726Y9D"'),
    "AwareDatetime": (pydantic.AwareDatetime, '"2024-02-29T12:30:00Z"', '"2024-02-29T12:30:00+01:00"'),
    "NaiveDatetime": (pydantic.NaiveDatetime, '"2024-02-29T12:30:00"'),
    "date bounds": (
        Annotated[_DATE, Field(ge=_DATE(2020, 2, 29), lt=_DATE(2031, 1, 10))],
        '"2020-02-29"',
        '"2031-01-09"',
    ),
    "date after": (Annotated[_DATE, Field(gt=_DATE(1999, 12, 31))], '"2000-01-01"'),
    "date before": (Annotated[_DATE, Field(le=_DATE(1999, 10, 9))], '"1999-10-09"', '"0001-01-01"'),
    "ZoneInfo": (zoneinfo.ZoneInfo, '"Europe/Berlin"'),
    "pendulum DateTime": (extra.pendulum_dt.DateTime, '"2024-02-29T12:30:00Z"'),
    "pendulum Date": (extra.pendulum_dt.Date, '"2024-02-29"'),
    "pendulum Time": (extra.pendulum_dt.Time, '"12:30:00"'),
    "pendulum Duration": (extra.pendulum_dt.Duration, '"P1DT2H"'),
    "epoch Number": (extra.epoch.Number, "1.5", "-3"),
    "epoch Integer": (extra.epoch.Integer, "1700000000"),
    # identifiers and the network
    "UUID": (uuid.UUID, '"12345678-1234-1234-1234-123456789abc"'),
    **{
        f"UUID{n}": (getattr(pydantic, f"UUID{n}"), f'"12345678-1234-{n}234-8234-123456789abc"')
        for n in (1, 3, 4, 5, 6, 7, 8)
    },
    "ULID": (extra.ulid.ULID, '"01BTGNYV6HRNK8K8VKZASZCFP1"'),
    "MongoObjectId": (extra.mongo_object_id.MongoObjectId, '"5f9f2f4b9d3c5a7b4c7e6c1d"'),
    "IPv4Address": (ipaddress.IPv4Address, '"192.168.0.1"'),
    "IPv4Interface": (ipaddress.IPv4Interface, '"192.168.0.1/24"', '"1.2.3.4"'),
    "IPv4Network": (ipaddress.IPv4Network, '"192.168.0.0/24"', '"0.0.0.0/0"', '"10.128.0.0/9"'),
    "IPv6Address": (ipaddress.IPv6Address, '"::1"', '"2001:db8::8:800:200c:417a"'),
    "IPv6Interface": (ipaddress.IPv6Interface, '"2001:db8::1/64"', '"::1"'),
    "IPv6Network": (ipaddress.IPv6Network, '"2001:db8::/32"', '"::/0"', '"2001:db8:0:80::/57"', '"fe80::/10"'),
    "IPvAnyAddress": (pydantic.IPvAnyAddress, '"::1"', '"1.2.3.4"'),
    "IPvAnyInterface": (pydantic.IPvAnyInterface, '"::1/128"', '"1.2.3.4/30"'),
    "IPvAnyNetwork": (pydantic.IPvAnyNetwork, '"10.0.0.0/8"', '"2001:db8::/48"'),
    "AnyUrl": (pydantic.AnyUrl, '"https://example.com"', '"mailto:a@b.c"', '"urn:isbn:1"', '"foo://u:p@h:1/a?b#c"'),
    "AnyHttpUrl": (pydantic.AnyHttpUrl, '"http://localhost:8000"'),
    "HttpUrl": (pydantic.HttpUrl, '"https://user:pw@sub.example.com:8080/a/b;c|d?q=1&x={y}#frag"', '"http://[::1]/"'),
    "AnyWebsocketUrl": (pydantic.AnyWebsocketUrl, '"wss://example.com/x"'),
    "WebsocketUrl": (pydantic.WebsocketUrl, '"ws://1.2.3.4/"'),
    "FileUrl": (pydantic.FileUrl, '"file:///etc/hosts"', '"file://host/share"'),
    "FtpUrl": (pydantic.FtpUrl, '"ftp://example.com/file"'),
    "PostgresDsn": (pydantic.PostgresDsn, '"postgres://u:p@a:5432,b:5433/db"', '"postgresql+asyncpg://localhost/x"'),
    "CockroachDsn": (pydantic.CockroachDsn, '"cockroachdb://u@h:26257/db"'),
    "AmqpDsn": (pydantic.AmqpDsn, '"amqp://u:p@h:5672/v"', '"amqps:///v"'),
    "RedisDsn": (pydantic.RedisDsn, '"redis://:pw@h:6379/0"', '"rediss://h"'),
    "MongoDsn": (pydantic.MongoDsn, '"mongodb://a:1,b:2/db?x=y"', '"mongodb+srv://h"'),
    "KafkaDsn": (pydantic.KafkaDsn, '"kafka://h:9092"'),
    "NatsDsn": (pydantic.NatsDsn, '"nats://h:4222"', '"tls://h"', '"ws://h.example"'),
    "MySQLDsn": (pydantic.MySQLDsn, '"mysql+aiomysql://u:p@h:3306/db"'),
    "MariaDBDsn": (pydantic.MariaDBDsn, '"mariadb://h/db"'),
    "ClickHouseDsn": (pydantic.ClickHouseDsn, '"clickhouse+native://h:9000/db"'),
    "SnowflakeDsn": (pydantic.SnowflakeDsn, '"snowflake://u:p@account/db"'),
    "EmailStr": (pydantic.EmailStr, '"jane.doe+x@mail.example.org"'),
    "NameEmail": (pydantic.NameEmail, '"Jane Doe <jane@example.org>"'),
    "DomainStr": (extra.domain.DomainStr, '"example.co.uk"'),
    "MacAddress": (extra.mac_address.MacAddress, '"00:00:5e:00:53:01"', '"00-00-5e-00-53-01"'),
    "S3Path": (extra.s3.S3Path, '"s3://bucket/a/b.csv"'),
    # encoded and looked up
    "Base64Bytes": (pydantic.Base64Bytes, '"aGk="', '""'),
    "Base64Str": (pydantic.Base64Str, '"aGk="', '""'),
    "Base64UrlBytes": (pydantic.Base64UrlBytes, '"_-8="'),
    "Base64UrlStr": (pydantic.Base64UrlStr, '"aGk="'),
    "Base64 config": (Base64Model, '{"data": "_-8="}'),
    "Path": (pathlib.Path, '"/a/b"', '""'),
    "PurePosixPath": (pathlib.PurePosixPath, '"a"'),
    "Color": (extra.color.Color, '"red"', '"#ff8000"', '"rgb(1, 2, 3)"', '"rgba(1, 2, 3, 0.5)"'),
    "CountryAlpha2": (extra.country.CountryAlpha2, '"DE"'),
    "CountryAlpha3": (extra.country.CountryAlpha3, '"DEU"'),
    "CountryNumericCode": (extra.country.CountryNumericCode, '"276"'),
    "CountryShortName": (extra.country.CountryShortName, '"Germany"'),
    "Currency": (extra.currency_code.Currency, '"EUR"'),
    "ISO4217": (extra.currency_code.ISO4217, '"EUR"'),
    "LanguageAlpha2": (extra.language_code.LanguageAlpha2, '"de"'),
    "LanguageName": (extra.language_code.LanguageName, '"German"'),
    "ISO639_5": (extra.language_code.ISO639_5, '"gem"'),
    "ISO_15924": (extra.script_code.ISO_15924, '"Latn"'),
    "TimeZoneName": (extra.timezone_name.TimeZoneName, '"Europe/Berlin"'),
    "SemanticVersion": (extra.semantic_version.SemanticVersion, '"1.2.3-rc.1+build"'),
    "Latitude": (extra.coordinate.Latitude, "90", "-12.5"),
    "Longitude": (extra.coordinate.Longitude, "-180"),
    # enums and literals
    "Enum": (Color, '"red"'),
    "IntEnum": (Size, "1"),
    "IntFlag": (Access, "4", "7", "0"),
    "Enum with aliases": (Alike, '"r"'),
    "StrEnum": (Flags, '"a-1"'),
    "mixed Enum": (Mixed, "0.5", "null", '"word"'),
    "Literal str": (Literal["a", "b"], '"a"'),
    "Literal int": (Literal[1, 2, 30], "30"),
    "Literal mixed": (Literal["a", 1, True] | None, "true", "null"),
    "Literal enum": (Literal[Color.red, Size.large, Flags.b], "10", '"b"'),
    # containers
    "list[int]": (list[int], "[]", "[1, 2]"),
    "list bounds": (Annotated[list[int], Field(min_length=1, max_length=3)], "[1]", "[1, 2, 3]"),
    "Sequence": (Sequence[str], '["a"]'),
    "Iterable": (Iterable[int], "[1]"),
    "tuple": (tuple[int, str, bool], '[1, "a", true]'),
    "tuple[...]": (tuple[float, ...], "[1.5]"),
    "empty tuple": (tuple[()], "[]"),
    "set[int]": (set[int], "[1, 2]"),
    "set bounds": (Annotated[set[int], Field(min_length=2, max_length=3)], "[1, 2]"),
    "frozenset": (frozenset[str], '["a"]'),
    "set of floats": (Annotated[set[float], Field(max_length=2)], "[0.5, 1]"),
    "deque": (Annotated[collections.deque[int], Field(max_length=2)], "[1, 2]"),
    "NamedTuple": (Point, "[1, 0.5]", "[1]"),
    "dict": (dict, '{"a": 1}'),
    "dict[str, int]": (dict[str, int], '{"a": 1}'),
    "dict[int, str]": (dict[int, str], '{"-1": "a"}', '{"0": "b"}'),
    "dict[float, str]": (dict[float, str], '{"1.5": "a"}', '{"1e+22": "b"}'),
    "dict[bool, str]": (dict[bool, str], '{"true": "a", "false": "b"}'),
    "dict[date, int]": (dict[_DATE, int], '{"2024-02-29": 1}'),
    "dict[UUID, int]": (dict[uuid.UUID, int], '{"12345678-1234-1234-1234-123456789abc": 1}'),
    "dict[Enum, int]": (dict[Color, int], '{"red": 1}'),
    "dict[IntEnum, int]": (dict[Size, int], '{"10": 1}'),
    "dict[Literal, int]": (dict[Literal["a", "b"], int], '{"a": 1}'),
    "dict[Decimal, int]": (dict[_DEC, int], '{"1.5": 1}'),
    "dict[int bounds]": (dict[Annotated[int, Field(ge=-3, lt=120)], int], '{"-3": 1, "119": 2}'),
    "dict[pattern]": (dict[Annotated[str, Field(pattern="^[a-z]+$")], int], '{"abc": 1}'),
    "dict[length]": (dict[Annotated[str, Field(min_length=2)], list[int]], '{"ab": []}'),
    "dict[int | str]": (dict[int | str, int], '{"1": 1, "a": 2}'),
    "dict bounds": (Annotated[dict[str, int], Field(min_length=1, max_length=2)], '{"a": 1}'),
    "Mapping": (Mapping[str, float], '{"a": 1}'),
    "defaultdict": (collections.defaultdict[str, list[int]], '{"a": [1]}'),
    "OrderedDict": (collections.OrderedDict[str, int], '{"a": 1}'),
    "Counter": (collections.Counter[str], '{"a": 1}'),
    # unions
    "Optional": (Optional[int], "null", "1"),  # noqa: UP045 - the spelling is what is tried
    "Union": (Union[int, str, list[bool]], "1", '"a"', "[true]"),  # noqa: UP007 - the same
    "int | float | bool": (int | float | bool, "1", "1.5", "true"),
    "left to right": (Annotated[int | str, Field(union_mode="left_to_right")], '"1"'),
    "tagged": (Annotated[Cat | Dog, Field(discriminator="kind")], '{"kind": "cat", "lives": 9}', '{"kind": "puppy"}'),
    "tagged by alias": (Annotated[Fish | Bird, Field(discriminator="kind")], '{"type": "bird", "wings": 2}'),
    # models
    "BaseModel": (Item, '{"name": "a", "price": 1.5, "tags": ["b"]}'),
    "nested": (
        Order,
        f'{{"id": "{uuid.UUID(int=0)}", "items": [{{"name": "a", "price": 2}}], "placed": "2024-02-29T12:30:00"}}',
    ),
    "forbid": (Closed, '{"a": 1, "b": true}'),
    "allow": (Open, '{"a": "x", "more": 2}'),
    "recursive": (Tree, '{"value": 1, "children": [{"value": 2, "children": []}]}'),
    "alias": (Aliased, '{"firstValue": 1, "second-value": "a"}'),
    "AliasChoices": (Chosen, '{"v": 1, "o": 2}'),
    "AliasPath": (Pathed, '{"names": ["a", "b"], "address": {"town": {"name": "c"}}}'),
    "populate_by_name": (Named, '{"theValue": 1}'),
    "configured": (Stripped, '{"a": "abc"}'),
    "strict model": (Frozen, '{"a": 1, "b": 1.5, "c": "d", "d": [1, "a"], "when": "2024-02-29"}'),
    "computed": (Area, '{"width": 2, "height": 3}'),
    "RootModel": (Ids, "[1, 2]"),
    "generic": (Page[Item], '{"items": [{"name": "a", "price": 1}], "next": null}'),
    "dataclass": (Plain, '{"name": "a", "count": 1, "tags": ["b"]}'),
    "pydantic dataclass": (Strict, '{"name": "a", "parent": {"name": "b"}}'),
    "TypedDict": (Movie, '{"title": "a", "year": 1999}'),
    "TypedDict partial": (Partial, '{"name": "a", "tags": ["b"]}'),
    "TypedDict derived": (Derived, '{"name": "a", "parts": [1]}'),
    "NamedTuple recursive": (Linked, '["a", ["b"]]'),
    "dataclass kw_only": (Keyed, '{"name": "a"}'),
    "alias generator": (Camel, '{"firstName": "a", "lastSeen": null}'),
    "by name alone": (NameOnly, '{"value": 1}'),
    "enum values": (Valued, '{"color": "red", "text": "1"}'),
    "recursive RootModel": (Nodes, "[1, [2, []]]"),
    "models of each other": (Bought, '{"by": {"bought": [{"price": 1}]}, "price": 2}'),
    "strict, of everything": (
        StrictAll,
        '{"color": "red", "when": "2024-02-29T12:30:00", "exact": "1.5", "path": "/a", "names": ["a"], "last": [1]}',
    ),
    "recursive alias": (Anything, '{"a": [1, null]}'),
    "NewType": (UserId, "7"),
    "Hashable": (Hashable, '"a"', "1", "null"),
    "Secret[date]": (pydantic.Secret[_DATE], '"2024-02-29"'),
    "Sequence bounds": (Annotated[Sequence[int], Field(min_length=2)], "[1, 2]"),
    "constraints": (
        Annotated[str, pydantic.StringConstraints(strip_whitespace=True, to_lower=True, pattern="^[a-z]+$")],
        '"ab"',
    ),
    "condecimal": (pydantic.condecimal(max_digits=5, decimal_places=2, gt=0), '"1.5"'),
    "conlist": (pydantic.conlist(int, min_length=1, max_length=2), "[1]"),
    "fail fast": (Annotated[list[int], pydantic.FailFast()], "[1]"),
    "omitted errors": (list[pydantic.OnErrorOmit[int]], "[1]"),
    # what no schema says: each is named in BEYOND
    "PastDate": (pydantic.PastDate, '"1999-01-01"'),
    "FutureDatetime": (pydantic.FutureDatetime, '"9998-01-01T00:00:00"'),
    "FilePath": (pydantic.FilePath, f'"{__file__}"'),
    "ImportString": (pydantic.ImportString, '"math.pi"'),
    "Pattern": (re.Pattern, '"a+"'),
    "PaymentCardNumber": (extra.payment.PaymentCardNumber, '"4242424242424242"'),
    "PhoneNumber": (extra.phone_numbers.PhoneNumber, '"+442083661177"'),
    "validator": (Annotated[str, at.Predicate(str.isidentifier)], '"abc"'),
}

#: Types that write texts which their schema leaves out, with the reason. docs/reference/keywords.md says the same.
LEFT_OUT = {
    "float multiple": "no exponent under multipleOf",
    "IPv6Network": "networks with zeros in the middle of what is named",
    "IPvAnyNetwork": "the same",
    "AliasChoices": "a member is written by its first alias",
    "Base64Str": "text beyond ASCII",
    "Base64UrlStr": "the same",
    **dict.fromkeys(
        ("Decimal digits", "Decimal max digits", "Decimal places", "Decimal bounds", "Decimal money", "Decimal cents"),
        "exponents, and zeros behind the point beyond the constraint's places",
    ),
    "Decimal": "exponents of more than six digits",
    "dict[Decimal, int]": "the same",
    "Latitude": "exponents",
    "Longitude": "the same",
    "ImportString": "it writes what it imported",
}

#: Types of which texts get through that they refuse, with what it is that no schema says. Each is reported.
BEYOND = {
    "PastDate": "what is past depends on the day on which the answer is read",
    "FutureDatetime": "the same",
    "FilePath": "which files there are is known when the answer is read",
    "ImportString": "which modules there are is known when the answer is read",
    "Pattern": "Python's regular expressions are no regular language",
    "PaymentCardNumber": "the check digit: a schema can't count modulo ten",
    "PhoneNumber": "the numbering plans of all countries",
    "validator": "a function of the caller's own",
}

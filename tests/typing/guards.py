"""`guard.Guard` as type checkers see it: any type that can be asked for comes back as that type."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict, assert_type

from pydantic import BaseModel, Field

import guard


class Invoice(BaseModel):
    """What is read."""

    vendor: str


@dataclass
class Point:
    """A place."""

    x: int


class Options(TypedDict):
    """What was chosen."""

    size: str


class Colour(enum.Enum):
    """A colour."""

    RED = "red"


ASK = [{"role": "user", "content": "?"}]
asker = guard.Guard("smollm2", retries=2, on={"length": "escalate"}, budget=guard.Budget(seconds=30), mode="cache")

assert_type(asker.generate(Invoice, ASK), Invoice)
assert_type(asker.generate(Point, messages=ASK), Point)
assert_type(asker.generate(Options, ASK), Options)
assert_type(asker.generate(Colour, ASK), Colour)
assert_type(asker.generate(Literal["yes", "no"], ASK), Literal["yes", "no"])
assert_type(asker.generate(Invoice | None, ASK), Invoice | None)
assert_type(asker.generate(int | str, ASK), int | str)
assert_type(asker.generate(list[Invoice], ASK), list[Invoice])
assert_type(asker.generate(dict[str, int], ASK), dict[str, int])
assert_type(asker.generate(Annotated[int, Field(ge=0)], ASK), int)
assert_type(asker.generate({"type": "integer"}, ASK), Any)
assert_type(asker.generate('{"type": "integer"}', ASK), Any)
assert_type(asker.traced(Literal[1, 2], ASK), tuple[Literal[1, 2], guard.Call])
assert_type(asker.stream(list[Invoice], ASK), guard.Stream[list[Invoice]])
assert_type(asker.using(model="openai:gpt-5-mini", thinking=100).generate(bool, ASK), bool)


async def awaited(schema: Mapping[str, Any], kind: type[Invoice]) -> None:
    """Do the same, async, and with what is known only when it runs."""
    assert_type(await asker.agenerate(Literal["a"], ASK), Literal["a"])
    assert_type(await asker.atraced(int | None, ASK), tuple[int | None, guard.Call])
    assert_type(asker.astream(Invoice, ASK), guard.AsyncStream[Invoice])
    assert_type(await asker.agenerate(schema, ASK), Any)
    assert_type(asker.generate(kind, ASK), Invoice)

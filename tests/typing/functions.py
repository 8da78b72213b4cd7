"""Decorated functions, as type checkers see them. Nothing here is run: tests/guard/test_typing.py gives it to both."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Annotated, Literal, assert_type

from pydantic import BaseModel, Field

import guard


class Invoice(BaseModel):
    """What is read."""

    vendor: str


@guard.structured
def bare(text: str) -> Invoice:
    """Read the invoice."""
    ...


@guard.structured(model="smollm2", retries=2, seed=7)
def read(text: str, *, year: int = 2026) -> Invoice:
    """Read the invoice."""
    ...


@guard.structured
async def aread(text: str) -> Invoice:
    """Read the invoice."""
    ...


@guard.structured(seed=7)
def parts(text: str) -> Iterator[Invoice]:
    """Read the invoice."""
    ...


@guard.structured
def generated(text: str) -> Generator[Invoice, None, None]:
    """Read the invoice."""
    ...


@guard.structured
def aparts(text: str) -> AsyncIterator[Invoice]:
    """Read the invoice."""
    ...


@guard.structured
def agenerated(text: str) -> AsyncGenerator[Invoice, None]:
    """Read the invoice."""
    ...


@guard.structured
def choose(text: str) -> Literal["yes", "no"]:
    """Choose."""
    ...


@guard.structured
def several(text: str) -> list[Invoice] | None:
    """Read the invoices."""
    ...


@guard.structured
def count(text: str) -> Annotated[int, Field(ge=0)]:
    """Count."""
    ...


@guard.structured
def loud(text: str) -> Invoice:
    """Read the invoice."""
    raise NotImplementedError


class Desk:
    """Methods of every kind."""

    @guard.structured
    def bare(self, text: str) -> Invoice:
        """Read the invoice."""
        ...

    @guard.structured(model="smollm2")
    def read(self, text: str) -> Invoice:
        """Read the invoice."""
        ...

    @guard.structured
    async def aread(self, text: str) -> Invoice:
        """Read the invoice."""
        ...

    @guard.structured
    def parts(self, text: str) -> Iterator[Invoice]:
        """Read the invoice."""
        ...

    @guard.structured
    def aparts(self, text: str) -> AsyncIterator[Invoice]:
        """Read the invoice."""
        ...

    @staticmethod
    @guard.structured
    def static(text: str) -> Invoice:
        """Read the invoice."""
        ...

    @guard.structured
    @staticmethod
    def static_below(text: str) -> Invoice:
        """Read the invoice."""
        ...

    @guard.structured
    @classmethod
    def of_class(cls, text: str) -> Invoice:
        """Read the invoice."""
        ...

    @guard.structured(seed=7)
    @classmethod
    async def aof_class(cls, text: str) -> Invoice:
        """Read the invoice."""
        ...

    @classmethod
    @guard.structured
    def below(cls, text: str) -> Invoice:
        """Read the invoice."""
        ...

    @classmethod
    @guard.structured(seed=7)
    async def abelow(cls, text: str) -> Invoice:
        """Read the invoice."""
        ...

    @classmethod
    @guard.structured
    def parts_below(cls, text: str) -> Iterator[Invoice]:
        """Read the invoice."""
        ...

    @classmethod
    @guard.structured
    def aparts_below(cls, text: str) -> AsyncIterator[Invoice]:
        """Read the invoice."""
        ...

    def inside(self, text: str) -> str:
        """Call one from another method."""
        return self.read(text).vendor


def plain() -> None:
    """Call the blocking ones."""
    assert_type(bare("x"), Invoice)
    assert_type(read("x", year=2025), Invoice)
    assert_type(read.traced("x"), tuple[Invoice, guard.Call])
    assert_type(read.stream("x"), guard.Stream[Invoice])
    for part in read.stream("x"):
        assert_type(part, Invoice)
    with parts("x") as stream:
        assert_type(list(stream), list[Invoice])
        assert_type(stream.call, guard.Call | None)
    assert_type(generated("x"), guard.Stream[Invoice])
    assert_type(choose("x"), Literal["yes", "no"])
    assert_type(several("x"), list[Invoice] | None)
    assert_type(count("x"), int)
    assert_type(loud("x"), Invoice)
    assert_type(read.using(seed=3)("x"), Invoice)


async def awaited() -> None:
    """Call the others."""
    assert_type(await aread("x"), Invoice)
    assert_type(await aread.traced("x"), tuple[Invoice, guard.Call])
    assert_type(aparts("x"), guard.AsyncStream[Invoice])
    assert_type(agenerated("x"), guard.AsyncStream[Invoice])
    async for part in aread.stream("x"):
        assert_type(part, Invoice)
    async with aparts("x") as stream:
        async for part in stream:
            assert_type(part, Invoice)


async def methods(desk: Desk) -> None:
    """Call methods, of an object and of the class."""
    assert_type(desk.bare("x"), Invoice)
    assert_type(desk.read("x"), Invoice)
    assert_type(desk.read.traced("x"), tuple[Invoice, guard.Call])
    assert_type(desk.read.stream("x"), guard.Stream[Invoice])
    assert_type(desk.read.using(retries=0)("x"), Invoice)
    assert_type(Desk.read(desk, "x"), Invoice)
    assert_type(await desk.aread("x"), Invoice)
    assert_type(desk.parts("x"), guard.Stream[Invoice])
    assert_type(desk.aparts("x"), guard.AsyncStream[Invoice])
    assert_type(Desk.static("x"), Invoice)
    assert_type(Desk.static_below("x"), Invoice)
    assert_type(desk.static_below.traced("x"), tuple[Invoice, guard.Call])


async def methods_of_classes(desk: Desk) -> None:
    """Call methods of a class, of it and of an object."""
    assert_type(Desk.of_class("x"), Invoice)
    assert_type(desk.of_class.traced("x"), tuple[Invoice, guard.Call])
    assert_type(Desk.of_class.using(retries=0)("x"), Invoice)
    assert_type(await Desk.aof_class("x"), Invoice)
    assert_type(await desk.aof_class.traced("x"), tuple[Invoice, guard.Call])
    assert_type(Desk.below("x"), Invoice)
    assert_type(desk.below("x"), Invoice)
    assert_type(Desk.below.traced("x"), tuple[Invoice, guard.Call])
    assert_type(desk.below.stream("x"), guard.Stream[Invoice])
    assert_type(await Desk.abelow("x"), Invoice)
    assert_type(await desk.abelow("x"), Invoice)
    assert_type(Desk.parts_below("x"), guard.Stream[Invoice])
    assert_type(desk.parts_below("x"), guard.Stream[Invoice])
    assert_type(Desk.aparts_below("x"), guard.AsyncStream[Invoice])
    assert_type(desk.aparts_below("x"), guard.AsyncStream[Invoice])

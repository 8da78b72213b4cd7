"""Code around decorated functions, as applications have it: generic, wrapped, passed on, in classes of every kind."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, assert_type

from pydantic import BaseModel

import guard


class Invoice(BaseModel):
    """What is read."""

    vendor: str


P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound=BaseModel)
asker = guard.Guard("smollm2")


@guard.structured
def read(text: str, year: int = 2026, *, strict: bool = False) -> Invoice:
    """Read the invoice."""
    ...


@guard.structured
async def aread(text: str, year: int = 2026) -> Invoice:
    """Read the invoice."""
    ...


@guard.structured
def titles(*pages: str) -> list[str]:
    """Name each page."""
    ...


@guard.structured
def parts(text: str) -> Iterator[Invoice]:
    """Read the invoice."""
    ...


def generic(kind: type[M], text: str) -> M:
    """Ask for what the caller names."""
    return asker.generate(kind, text)


async def agenerically(kind: type[M], text: str) -> tuple[M, guard.Call]:
    """Do the same, async and traced."""
    return await asker.atraced(kind, text)


class Desk(Generic[M]):
    """A class of one type."""

    def __init__(self, kind: type[M]) -> None:
        self.kind = kind

    def read(self, text: str) -> M:
        """Ask for it."""
        return asker.generate(self.kind, text)

    def stream(self, text: str) -> Iterator[M]:
        """Ask for it in pieces."""
        yield from asker.stream(self.kind, text)


class Office:
    """A decorated function as an attribute, and a method with defaults."""

    reader = staticmethod(read)

    @guard.structured
    def sized(self, text: str, size: int = 1, *, loud: bool = False) -> Invoice:
        """Read the invoice."""
        ...


class Reader(Protocol):
    """Something that reads."""

    def __call__(self, text: str, year: int = 2026) -> Invoice:
        """Read the invoice."""
        ...


def logged(function: Callable[P, R]) -> Callable[P, R]:
    """Wrap any function."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    return wrapped


def alogged(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Wrap any coroutine function."""
    return function


def twice(function: Callable[[str], Invoice]) -> list[Invoice]:
    """Call a function that takes a text."""
    return [function("a"), function("b")]


def plain(office: Office) -> None:
    """Call them."""
    assert_type(generic(Invoice, "x"), Invoice)
    assert_type(Desk(Invoice).read("x"), Invoice)
    assert_type(list(Desk(Invoice).stream("x")), list[Invoice])
    assert_type(Office.reader("x"), Invoice)
    assert_type(office.sized("x", 3, loud=True), Invoice)
    assert_type(read("x", strict=True), Invoice)
    assert_type(titles("a", "b"), list[str])
    assert_type(logged(read)("x", year=2025), Invoice)
    assert_type(twice(read), list[Invoice])
    assert_type(twice(read.using(seed=1)), list[Invoice])
    assert_type(functools.partial(read, year=2025)("x"), Invoice)
    reader: Reader = read
    assert_type(reader("x"), Invoice)
    table: dict[str, Callable[..., BaseModel]] = {"invoice": read}
    assert_type(table["invoice"]("x"), BaseModel)
    found: list[Invoice] = [part for text in ("a", "b") for part in parts(text)]
    assert_type(found, list[Invoice])
    for result in guard.map(read, ["a", "b"], concurrency=4):
        assert_type(result.value, Invoice)
        assert_type(result.call, guard.Call | None)
    read(3)  # wrong
    read("x", yaer=3)  # wrong
    office.sized("x", loud="yes")  # wrong
    twice(aread)  # wrong


async def awaited() -> None:
    """Await them."""
    assert_type(await agenerically(Invoice, "x"), tuple[Invoice, guard.Call])
    assert_type(await alogged(aread)("x", year=1), Invoice)
    assert_type(await asyncio.gather(aread("a"), aread("b")), tuple[Invoice, Invoice])
    task: asyncio.Task[Invoice] = asyncio.create_task(aread("x"))
    assert_type(await task, Invoice)
    async with asyncio.TaskGroup() as group:
        assert_type(group.create_task(aread("x")), asyncio.Task[Invoice])
    async for result in guard.amap(aread, ["a"]):
        assert_type(result.value, Invoice)
    value: Any = await asyncio.to_thread(read, "x")
    assert value


def settled(text: str) -> Invoice | None:
    """Catch what may come."""
    try:
        return read(text)
    except guard.ValidationFailed as error:
        assert_type(error.findings, tuple[guard.Violation, ...])
    except guard.GuardError:
        pass
    return None

"""Schemas of clients: one compile for each content, none lost to who goes away, and no more kept than may weigh."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.errors import SchemaError
from guard.sidecar import schema_cache
from guard.sidecar.schema_cache import WEIGHT, Targets


class _Compiler:
    """Counts compiles, and holds them up until they may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: list[str] = []
        self.go = threading.Event()
        self._real = schema_cache.compiled
        monkeypatch.setattr(schema_cache, "compiled", self)

    def __call__(self, schema: Any, name: str, *how: bool) -> Any:
        self.begun.append(name)
        assert self.go.wait(30)
        return self._real(schema, name, *how)


def test_whoever_asks_for_a_content_at_once_waits_for_one_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = _Compiler(monkeypatch)

    async def main() -> None:
        targets = Targets()
        asking = [asyncio.create_task(targets.of({"const": 1}, "a", 0, is_checked_only=False)) for _ in range(20)]
        while not compiler.begun:  # noqa: ASYNC110 (a thread says it)
            await asyncio.sleep(0.01)
        for task in asking[:10]:  # the first of them began it
            task.cancel()
        await asyncio.sleep(0.01)
        compiler.go.set()
        found = await asyncio.gather(*asking, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in found[:10])
        assert len({id(one) for one in found[10:]}) == 1
        assert await targets.of({"const": 1}, "a", 0, is_checked_only=False) is found[-1]

    asyncio.run(main())
    assert compiler.begun == ["a"]


def test_a_compile_goes_on_where_everybody_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = _Compiler(monkeypatch)

    async def main() -> None:
        targets = Targets()
        task = asyncio.create_task(targets.of({"const": 1}, "a", 0, is_checked_only=False))
        while not compiler.begun:  # noqa: ASYNC110 (a thread says it)
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        compiler.go.set()
        await targets.of({"const": 1}, "a", 0, is_checked_only=False)

    asyncio.run(main())
    assert compiler.begun == ["a"]


def test_a_refusal_is_everybodys_and_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = _Compiler(monkeypatch)
    compiler.go.set()

    async def main() -> None:
        targets = Targets()
        for _ in range(2):
            found = await asyncio.gather(
                *(targets.of({"type": "none"}, "a", 0, is_checked_only=False) for _ in range(5)), return_exceptions=True
            )
            assert all(isinstance(one, SchemaError) for one in found)
        assert (targets.nbytes, targets._flights) == (0, {})

    asyncio.run(main())
    assert compiler.begun == ["a", "a"]


@given(
    asked=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=30),
    most=st.integers(1, 5),
    most_bytes=st.integers(1, 400) | st.just(10**9),
)
@settings(max_examples=25)
def test_what_is_kept_weighs_no_more_than_it_may(asked: list[tuple[int, int]], most: int, most_bytes: int) -> None:
    async def main() -> None:
        targets = Targets(most, most_bytes * WEIGHT)
        for number, size in asked:
            schema = {"enum": ["x" * 50 * size, number]}
            target = await targets.of(schema, "a", 0, is_checked_only=False)
            assert target.schema == schema
            assert len(targets._kept) <= most
            assert targets.nbytes <= most_bytes * WEIGHT
            assert targets.nbytes >= sum(len(json.dumps(t.schema)) for t, _ in targets._kept.values())

    asyncio.run(main())

"""Requests with keys that are not known: the keys are read again for them, however many come, seldom."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import sidecars

from guard.sidecar import application, keys, settings
from guard.sidecar.application import Sidecar
from guard.sidecar.key_requirement import Door
from guard.trace import TraceError, TraceStore


def made(folder: Path, store: TraceStore) -> Sidecar:
    config = folder / "guard.toml"
    config.write_text('[serve]\naccess_log = ""\n' + sidecars.model("http://127.0.0.1:1/v1"))
    return Sidecar(settings.load(config)[0], store, Door(store, None, is_beyond_loopback=False))


def test_a_flood_of_unknown_keys_costs_few_readings_and_a_new_key_is_found(tmp_path: Path, trace_file: Path) -> None:
    store = TraceStore(trace_file)

    async def main() -> tuple[int, int, bool]:
        sidecar = made(tmp_path, store)
        readings, refresh = 0, sidecar.keys.refresh

        def counted() -> None:
            nonlocal readings
            readings += 1
            refresh()

        sidecar.keys.refresh = counted  # type: ignore[method-assign]
        async with sidecar.life():
            await sidecar.reread_keys()
            before = readings
            flood = [asyncio.ensure_future(sidecar.reread_keys()) for _ in range(2_000)]
            await asyncio.sleep(0)  # all of them have begun
            waiting = sum(not each.done() for each in flood)
            await asyncio.gather(*flood)
            found = readings - before
            _, text = keys.create(store, "shop")
            await sidecar.reread_keys()
            return waiting, found, sidecar.keys.find(text) is not None

    waiting, readings, is_found = asyncio.run(main())
    assert waiting <= application.MISSES
    assert 1 <= readings <= 2
    assert is_found
    store.close()


def test_where_the_keys_can_not_be_read_that_is_said(
    tmp_path: Path, trace_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TraceStore(trace_file)

    def broken(_: Any) -> list[keys.Key]:
        raise TraceError("the disk is gone")

    async def main() -> None:
        sidecar = made(tmp_path, store)
        async with sidecar.life():
            monkeypatch.setattr(keys, "every", broken)
            with pytest.raises(TraceError, match="the disk is gone"):
                await sidecar.reread_keys()

    asyncio.run(main())
    store.close()

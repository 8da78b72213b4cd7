"""Reloads: one at a time, the file written last wins, and an emptied file drops nothing."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from sidecars import model, serving

from guard.errors import ModelError
from guard.settings import Settings
from guard.sidecar.process import Start, _changes, _Server
from guard.sidecar.settings import ServeSettings
from guard.testing import fake_server

MODEL = '[serve.models.m{n}]\nmodel = "openai:x"\nbase_url = "http://127.0.0.1:9/v1"\n'


class _Sidecar:
    """Takes its time to load, fails where it is told to, and sees whether two reloads overlap."""

    def __init__(self, settings: ServeSettings, failing: set[int]) -> None:
        self.settings, self.failing = settings, failing
        self.calls = 0
        self._busy = threading.Lock()

    def replace(self, settings: ServeSettings) -> None:
        assert self._busy.acquire(blocking=False), "two reloads at once"
        try:
            self.calls += 1
            threading.Event().wait(0.002 * (self.calls % 3))
            if self.calls in self.failing:
                raise ModelError("it can't be loaded")
            self.settings = settings
        finally:
            self._busy.release()


@given(
    steps=st.lists(st.tuples(st.sampled_from(["write", "signal", "pause"]), st.integers(1, 4)), max_size=14),
    failing=st.sets(st.integers(1, 6), max_size=2),
)
@settings(max_examples=40)
def test_the_file_written_last_is_served(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], failing: set[int]
) -> None:
    file = tmp_path_factory.mktemp("reload") / "guard.toml"
    file.write_text(MODEL.format(n=0))
    start = Start(file)

    async def main() -> _Sidecar:
        serve, common = start.settings()
        sidecar: Any = _Sidecar(serve, failing)
        server = _Server(uvicorn.Config(SimpleNamespace()), start, sidecar, common, None)
        for what, number in [*steps, ("signal", 1)]:
            if what == "write":
                file.write_text(MODEL.format(n=number))
            elif what == "signal":
                for _ in range(number):
                    server._reload()
            else:
                await asyncio.sleep(0.001 * number)
        while server._reloading is not None and not server._reloading.done():  # noqa: ASYNC110 (others follow it)
            await asyncio.sleep(0.001)
        if sidecar.calls in failing:  # the last one failed: what was before is served, and the next one is taken
            sidecar.failing = set()
            server._reload()
            assert server._reloading is not None
            await server._reloading
        made: _Sidecar = sidecar
        return made

    assert list(asyncio.run(main()).settings.models) == list(ServeSettings.load(file).models)


def test_a_file_that_was_emptied_drops_nothing_and_the_log_says_so(tmp_path: Path) -> None:
    with fake_server.Server("Hello.") as provider, serving(tmp_path, model(provider.url)) as sidecar:
        config = tmp_path / "guard.toml"
        good = config.read_text()
        for text in ("", "[serve]\n", None):
            sidecar.errors.clear()
            config.unlink() if text is None else config.write_text(text)
            sidecar.process.send_signal(signal.SIGHUP)
            sidecar.wait(lambda: any("not reloaded" in line for line in sidecar.errors))
            assert sidecar.chat().status == 200
        config.write_text(good.replace("[serve]", "[serve]\nin_flight = 7") + model(provider.url, "second"))
        sidecar.process.send_signal(signal.SIGHUP)
        sidecar.wait(lambda: any("reloaded: serving" in line for line in sidecar.errors))
        said = "guard: reloaded: serving m, second; new second; changed in_flight"
        assert said in sidecar.errors
        assert sidecar.chat(model="second").status == 200


def test_a_reload_says_what_has_changed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def read(text: str) -> ServeSettings:
        (tmp_path / "guard.toml").write_text(text)
        return ServeSettings.load(tmp_path / "guard.toml")

    one, two, default = MODEL.format(n=1), MODEL.format(n=2), read("[serve]\n")
    assert _changes(read(one), read(one), read(one)) == "serving m1; nothing has changed"
    assert _changes(read(one), read(two), read(one)) == "serving m2; new m2; gone m1"
    assert _changes(read(one), read(one + "retries = 0\n"), read(one)) == "serving m1; changed m1"
    assert _changes(default, read("[serve]\nport = 1\n"), default) == (
        "serving smollm2 (the default: no model is named); port will change at a restart"
    )
    moved = read(one + "[serve]\nport = 1\n")
    assert _changes(moved, read(one), read(one)) == "serving m1; nothing has changed"
    assert _changes(moved, moved, read(one)) == "serving m1; port will change at a restart"
    with caplog.at_level(logging.INFO, "guard.sidecar"):
        sidecar: Any = _Sidecar(read(one), set())
        empty = tmp_path / "empty.toml"
        empty.write_text("")
        server = _Server(uvicorn.Config(SimpleNamespace()), Start(empty), sidecar, Settings.load(), None)
        asyncio.run(server._reloaded())
    assert "no model is named any more, and m1 would be dropped" in caplog.text


def test_a_changed_trace_is_said_to_need_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GUARD_TRACE", "GUARD_TRACE_DAYS", "GUARD_TRACE_CALLS"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "guard.toml"
    file.write_text('trace = "a.db"\ntrace_days = 30\n' + MODEL.format(n=1))
    start = Start(file)
    serve, common = start.settings()
    sidecar: Any = _Sidecar(serve, set())
    server = _Server(uvicorn.Config(SimpleNamespace()), start, sidecar, common, None)
    file.write_text('trace = "b.db"\ntrace_days = 1\ntrace_calls = 9\n' + MODEL.format(n=1))
    with caplog.at_level(logging.INFO, "guard.sidecar"):
        asyncio.run(server._reloaded())
    assert caplog.messages == ["reloaded: serving m1; trace, trace_days, trace_calls will change at a restart"]

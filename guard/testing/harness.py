"""Runs: one call of an application under test, with everything that can be observed from outside.

`Surroundings` is the application's environment during a test: an address, a key, a separate trace, models by name that
are the stage's, clocks that do not wait, and captured logs and output.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import io
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from guard.testing import sleeps
from guard.testing.app_adapters import CANARY, HttpAdapter, ModelAdapter, ObservedRequest, Stage
from guard.testing.evaluated import EvaluatedByTheApplication
from guard.testing.scripted_replies import ScriptedReply
from guard.trace.records import Call

JOIN_S = 0.25  #: Seconds between two looks whether a call asks without end.
OVERASKED_S = 1.0  #: Seconds in which such a call must end by the error that it gets.
#: Loggers of libraries that log every request at their lowest levels; their messages are not checked.
_LIBRARIES = ("openai", "httpx", "httpx2", "httpcore", "httpcore2", "h11", "anthropic", "asyncio")
_MISSING = object()


@dataclass(frozen=True)
class Scene:
    """The script of a run: the replies in order (the last one repeats), and how streams are cut."""

    replies: tuple[ScriptedReply, ...]
    pieces: int = 0  # characters of each piece of a stream; 0: one piece
    wire: int = 0  # bytes of each piece on the network; 0: as it comes
    leave_after: int | None = None  # parts of a streamed result to take; None for all
    refuses_schemas: bool = False  # whether the server refuses schemas by HTTP 400
    by_text: tuple[tuple[str, ScriptedReply], ...] = ()  # of a batch: each question's text, with its reply
    are_together: bool = False  # the replies of a batch come all at once; otherwise the last one first

    def __str__(self) -> str:
        """Word the scene as one line."""
        said = ", then ".join(reply.how for reply in self.replies)
        more = " (again and again)" if len(self.replies) > 1 else " (every time)"
        return said + more


@dataclass
class Run:
    """One call and its outcome."""

    scene: Scene
    given: dict[str, Any]  # copies of the arguments before the call
    after: dict[str, Any]  # the arguments after it
    asks: list[ObservedRequest] = field(default_factory=list)
    refused: list[ObservedRequest] = field(default_factory=list)  # requests whose schema was refused
    value: Any = None  # the return value, or the last part of a stream
    parts: list[Any] = field(default_factory=list)  # of a streamed result
    error: BaseException | None = None
    is_streamed: bool = False
    is_stuck: bool = False  # whether it did not end by itself
    goes_on: bool = False  # whether it also ignored the interrupt, and may still ask
    seconds: float = 0.0
    waited: float = 0.0  # seconds that it asked to sleep
    said: str = ""  # its logs and printed output
    ran_answer: bool = False  # whether it ran a program in an answer
    calls: tuple[Call, ...] = ()  # of Guard, in its trace
    kept: dict[str, Any] = field(default_factory=dict)  # by name, the ledgers after the call

    @property
    def ended_well(self) -> bool:
        """Whether it returned."""
        return self.error is None and not self.is_stuck


class Surroundings:
    """The environment of an application under test. A context manager; only one at a time in a process."""

    def __init__(self, stage: Stage, *, port: int = 0) -> None:
        self.stage = stage
        self.server = _server(stage, port)
        self.waited = 0.0
        self._text = io.StringIO()
        self._stack = contextlib.ExitStack()
        self._seen_calls = 0

    def __enter__(self) -> Self:
        stack = self._stack
        stack.enter_context(self.server)
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="guard-test-", ignore_cleanup_errors=True))
        self.trace = str(Path(folder) / "trace.db")
        stack.enter_context(_environment(self.variables))
        stack.enter_context(self._ears())
        stack.enter_context(sleeps.counted(self._count_sleep))
        stack.enter_context(self._models())
        stack.enter_context(self._event_loop())
        return self

    def __exit__(self, *error: object) -> None:
        from guard.trace import TraceStore

        self._stack.close()
        TraceStore.at(self.trace).close()

    @property
    def variables(self) -> dict[str, str]:
        """The environment of an application under test."""
        address = self.server.url
        return {
            "OPENAI_BASE_URL": address,
            "OPENAI_API_BASE": address,
            "OPENAI_API_KEY": CANARY,
            "ANTHROPIC_BASE_URL": address.removesuffix("/v1"),
            "ANTHROPIC_API_KEY": CANARY,
            "GUARD_TRACE": self.trace,
            "GUARD_MODEL": "openai:staged",
        }

    def run(self, call: Callable[[], Any], scene: Scene, limit: float) -> Run:
        """Make a call under a scene. It is abandoned after `limit` seconds."""
        self.stage.set(scene.replies, pieces=scene.pieces, wire=scene.wire, refuses_schemas=scene.refuses_schemas)
        self.stage.begin_batch(scene.by_text, are_together=scene.are_together)
        self._text.seek(0)
        self._text.truncate()
        self.waited = 0.0
        run = Run(scene, {}, {})
        worker = threading.Thread(target=self._carried_out, args=(call, run), daemon=True, name="guard-test")
        programs = EvaluatedByTheApplication.runs
        started = time.perf_counter()
        worker.start()
        while worker.is_alive() and not self.stage.is_overasked and time.perf_counter() < started + limit:
            worker.join(JOIN_S)
        worker.join(OVERASKED_S if self.stage.is_overasked else 0)
        if worker.is_alive():
            run.is_stuck = True
            self.stage.is_over = True
            _interrupt(worker)
            worker.join(1.0)
            run.goes_on = worker.is_alive()
        run.seconds = time.perf_counter() - started
        run.waited = self.waited
        run.said = self._text.getvalue()
        run.ran_answer = EvaluatedByTheApplication.runs > programs
        self.stage.is_over = True
        run.asks, run.refused = list(self.stage.asks), list(self.stage.refused)
        run.calls = self._new_calls()
        return run

    def _carried_out(self, call: Callable[[], Any], run: Run) -> None:
        from guard.testing.app_adapters import Enough

        try:
            result = call()
            if hasattr(result, "__await__"):
                result = self.awaited(result)
            if hasattr(result, "__anext__"):
                run.is_streamed = True
                self.awaited(self._consumed_async(result, run))
            elif hasattr(result, "__next__"):
                run.is_streamed = True
                self._consumed(result, run)
            else:
                run.value = result
        except Enough:
            run.is_stuck = True
        except BaseException as error:
            run.error = error

    def awaited(self, coroutine: Any) -> Any:
        """Await something on the loop of the applications under test."""

        async def wrapped() -> Any:
            return await coroutine

        return asyncio.run_coroutine_threadsafe(wrapped(), self.loop).result()

    def _consumed(self, parts: Iterator[Any], run: Run) -> None:
        for part in parts:
            run.parts.append(part)
            if run.scene.leave_after is not None and len(run.parts) >= run.scene.leave_after:
                close = getattr(parts, "close", None)
                if close is not None:
                    close()
                break
        run.value = _last(run.parts)

    async def _consumed_async(self, parts: Any, run: Run) -> None:
        async for part in parts:
            run.parts.append(part)
            if run.scene.leave_after is not None and len(run.parts) >= run.scene.leave_after:
                close = getattr(parts, "aclose", None)
                if close is not None:
                    await close()
                break
        run.value = _last(run.parts)

    @contextlib.contextmanager
    def _event_loop(self) -> Iterator[None]:
        """Run an event loop in its own thread, so that clients that are made once stay on one loop."""
        self.loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self.loop.run_forever, daemon=True, name="guard-test-loop")
        thread.start()
        try:
            yield
        finally:
            with contextlib.suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(_end_tasks(), self.loop).result(5)
            self.loop.call_soon_threadsafe(self.loop.stop)
            thread.join(5)
            if not self.loop.is_running():
                self.loop.close()

    def _new_calls(self) -> tuple[Call, ...]:
        from guard.trace import TraceStore

        if not Path(self.trace).exists():
            return ()
        store = TraceStore.at(self.trace)
        limit = 2  # most applications make one call
        latest = store.latest(limit=limit)
        while limit < MOST_CALLS and len(latest) == limit and (latest[-1].number or 0) > self._seen_calls:
            limit *= 2
            latest = store.latest(limit=limit)
        new = [call for call in latest if (call.number or 0) > self._seen_calls]
        self._seen_calls = max([self._seen_calls, *(call.number or 0 for call in new)])
        return tuple(sorted(new, key=lambda call: call.number or 0))

    @contextlib.contextmanager
    def _ears(self) -> Iterator[None]:
        """Capture logs of any level, and printed output."""
        handler = _CapturingHandler(self._text)
        root = logging.getLogger()
        level = root.level
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        quiet = {name: logging.getLogger(name).level for name in _LIBRARIES}
        for name in quiet:
            logging.getLogger(name).setLevel(logging.INFO)
        out, err = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = self._text, self._text
        try:
            yield
        finally:
            sys.stdout, sys.stderr = out, err
            root.removeHandler(handler)
            root.setLevel(level)
            for name, before in quiet.items():
                logging.getLogger(name).setLevel(before)

    def _count_sleep(self, seconds: float) -> None:
        self.waited += seconds

    @contextlib.contextmanager
    def _models(self) -> Iterator[None]:
        """Replace every model that Guard loads by name by the stage's, also one that a replay only names."""
        from guard import models
        from guard.models import replay_only

        load, stand_in, check_name = models.load, replay_only.stand_in, models.check_name

        def staged(model: Any, progress: Any = None) -> Any:
            return ModelAdapter(self.stage, model) if isinstance(model, str) else load(model, progress)

        models.load, replay_only.stand_in = staged, staged
        models.check_name = lambda name: None  # noqa: ARG005 (an application's own model may have any)
        try:
            yield
        finally:
            models.load, replay_only.stand_in, models.check_name = load, stand_in, check_name


#: The last server's port: clients that were made when a module was imported still ask there.
_last_port = 0


def _server(stage: Stage, port: int) -> HttpAdapter:
    global _last_port
    try:
        server = HttpAdapter(stage, port or _last_port)
    except OSError:
        if port:
            raise
        server = HttpAdapter(stage, 0)
    _last_port = server.server_address[1]
    return server


MOST_CALLS = 64  #: Calls that are read of one run of the application: the latest, where it made more.


async def _end_tasks() -> None:
    """Cancel all tasks of this loop."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    loop = asyncio.get_running_loop()
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()


class _CapturingHandler(logging.Handler):
    def __init__(self, out: io.StringIO) -> None:
        super().__init__(logging.DEBUG)
        self._out = out
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(ValueError, TypeError):
            self._out.write(self.format(record) + "\n")


def _last(parts: list[Any]) -> Any:
    """Return the result of a stream: its last part, or all parts joined where they are pieces of a text."""
    if parts and all(isinstance(part, str) for part in parts):
        return "".join(parts)
    return parts[-1] if parts else None


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _interrupt(thread: threading.Thread) -> None:
    """Stop a thread at its next bytecode, by an exception."""
    from guard.testing.app_adapters import Enough

    if thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Enough))

"""Signals: what a handler raises reaches the caller as it is, and a handler may call Guard wherever it strikes."""

from __future__ import annotations

import functools
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import guard
from guard.errors import ModelError
from guard.models.base import Request
from guard.models.scripted import ScriptedModel
from guard.support.interrupts import injected, is_injected
from guard.testing import fake_server

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
MESSAGES = [{"role": "user", "content": "x"}]


class SoftTimeLimitExceeded(Exception):  # noqa: N818 (as workers name it)
    """What celery's workers raise."""


class AlarmError(TimeoutError):
    """What many an alarm raises: a failure of transport, by its type."""


KINDS = (SoftTimeLimitExceeded, AlarmError, AssertionError, ValueError, RuntimeError, ModelError)


@pytest.fixture
def strike(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], None]]:
    """Install a handler, and return what has it called."""
    before = signal.getsignal(signal.SIGUSR1)

    def strike(handler: Any) -> None:
        signal.signal(signal.SIGUSR1, handler)
        signal.raise_signal(signal.SIGUSR1)

    yield strike
    signal.signal(signal.SIGUSR1, before)


class _Handler:
    """Handlers in every form that Python takes."""

    def __init__(self, kind: type[Exception]) -> None:
        self._kind = kind

    def method(self, _signal: int, _frame: Any) -> None:
        self._deeper()

    def __call__(self, *_: Any) -> None:
        raise self._kind("now")

    def _deeper(self) -> None:
        raise self._kind("now")

    def with_more(self, _more: str, _signal: int, frame: Any = None) -> None:  # noqa: ARG002 (a handler's)
        raise self._kind("now")

    def forms(self) -> list[Any]:
        return [self.method, self, functools.partial(self.with_more, "more"), lambda *args: self(*args)]


@pytest.mark.parametrize("form", range(4))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["generate", "stream"])
def test_what_a_handler_raises_in_a_model_is_not_the_models_failure(
    strike: Callable[[Any], None], tmp_path: Path, kind: type[Exception], form: int, how: str
) -> None:
    handler = _Handler(kind).forms()[form]

    def interrupted(_: Request) -> str:
        strike(handler)
        return '{"a": 1}'

    other = ScriptedModel('{"a": 2}', name="other")
    asker = guard.Guard(ScriptedModel(interrupted, '{"a": 3}'), escalate_to=other, trace=tmp_path / "trace.db")
    with pytest.raises(kind, match=r"^now$") as raised:
        list(asker.stream(SCHEMA, MESSAGES)) if how == "stream" else asker.generate(SCHEMA, MESSAGES)
    assert type(raised.value) is kind
    assert not other.requests
    (call,) = asker.store.latest()
    (attempt,) = call.attempts
    assert (call.outcome, attempt.reason, attempt.error) == (kind.__name__, "interrupted", kind.__name__)


def test_what_a_model_makes_of_what_a_handler_raises_is_not_its_failure_either(
    strike: Callable[[Any], None], tmp_path: Path
) -> None:
    def wraps(_: Request) -> str:
        try:
            strike(_Handler(SoftTimeLimitExceeded))
        except Exception as error:
            raise ConnectionError("the connection broke") from error
        return ""

    asker = guard.Guard(ScriptedModel(wraps, '{"a": 1}'), trace=tmp_path / "trace.db")
    with pytest.raises(SoftTimeLimitExceeded):
        asker.generate(SCHEMA, MESSAGES)


@pytest.mark.parametrize("kind", [TimeoutError, SoftTimeLimitExceeded, ValueError, RuntimeError])
def test_a_model_that_raises_the_same_by_itself_has_failed(kind: type[Exception], tmp_path: Path) -> None:
    def fails(_: Request) -> str:
        raise kind("by itself")

    asker = guard.Guard(ScriptedModel(fails), escalate_to=ScriptedModel('{"a": 2}'), trace=tmp_path / "trace.db")
    assert asker.generate(SCHEMA, MESSAGES) == {"a": 2}


def test_what_the_caller_handles_already_is_no_interruption_of_this_call(
    strike: Callable[[Any], None], tmp_path: Path
) -> None:
    def fails(_: Request) -> str:
        raise OSError("by itself")

    asker = guard.Guard(ScriptedModel(fails), escalate_to=ScriptedModel('{"a": 2}'), trace=tmp_path / "trace.db")
    try:
        strike(_Handler(SoftTimeLimitExceeded))
    except SoftTimeLimitExceeded:
        assert asker.generate(SCHEMA, MESSAGES) == {"a": 2}


def test_what_a_handler_raises_in_a_validator_is_no_finding(strike: Callable[[Any], None], tmp_path: Path) -> None:
    def validator(_: Any) -> None:
        strike(_Handler(AssertionError))

    model = ScriptedModel('{"a": 1}', '{"a": 2}')
    asker = guard.Guard(model, validators=[validator], trace=tmp_path / "trace.db")
    with pytest.raises(AssertionError, match="now"):
        asker.generate(SCHEMA, MESSAGES)
    (attempt,) = asker.store.latest()[0].attempts
    assert (len(model.requests), attempt.reason) == (1, "interrupted")


@pytest.mark.parametrize("kind", [SoftTimeLimitExceeded, AlarmError])
@pytest.mark.parametrize("retries", [0, 3])
def test_what_a_handler_raises_while_a_provider_is_waited_for_ends_the_call(
    tmp_path: Path, kind: type[Exception], retries: int
) -> None:
    from guard.models.remote.openai import OpenAIModel

    def slow(_: fake_server.ClientRequest) -> fake_server.Answer:
        return fake_server.Answer('{"a": 1}', change=lambda body: [body[:10], 3.0, body[10:]])

    before = signal.signal(signal.SIGALRM, _Handler(kind))
    try:
        with fake_server.Server(slow) as provider:
            model = OpenAIModel("m", base_url=provider.url, api_key="k", retries=retries)
            asker = guard.Guard(model, escalate_to=ScriptedModel('{"a": 2}'), trace=tmp_path / "trace.db")
            for _ in range(2):
                asked = len(provider.requests)
                signal.setitimer(signal.ITIMER_REAL, 0.5)
                with pytest.raises(kind):
                    asker.generate(SCHEMA, MESSAGES)
                assert len(provider.requests) == asked + 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert [call.attempts[-1].reason for call in asker.store.latest()] == ["interrupted"] * 2


@given(depth=st.integers(0, 5), wraps=st.lists(st.sampled_from(["from", "context", "group", "bare"]), max_size=4))
def test_an_injected_error_is_found_under_whatever_was_made_of_it(depth: int, wraps: list[str]) -> None:
    def dig(left: int) -> None:
        if left:
            dig(left - 1)
        else:
            signal.raise_signal(signal.SIGUSR2)

    before = signal.signal(signal.SIGUSR2, _Handler(SoftTimeLimitExceeded))
    try:
        error: BaseException | None = None
        try:
            dig(depth)
        except SoftTimeLimitExceeded as raised:
            error = origin = raised
        assert error is not None
        assert is_injected(origin)
        for wrap in wraps:
            try:
                try:
                    raise error
                except BaseException as caught:
                    if wrap == "group":
                        raise BaseExceptionGroup("several", [caught]) from None
                    if wrap == "from":
                        raise OSError("wrapped") from caught
                    if wrap == "context":
                        raise OSError("wrapped") from None
                    raise
            except BaseException as outer:
                error = outer
        assert injected(error) is origin
        assert injected(error, known=error) is None
    finally:
        signal.signal(signal.SIGUSR2, before)


CALLS = 400
PROGRAM = """
import faulthandler, json, random, signal, sys, time
faulthandler.dump_traceback_later(150, exit=True)
import guard
from guard.models import scripted
from guard.models.base import Request
from guard.models.remote.openai import OpenAIModel

trace, url, seed, calls = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
r = random.Random(seed)
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
MESSAGES = [{"role": "user", "content": "x"}]

class Soft(Exception):
    pass

class Plain:
    name = "plain"
    def generate(self, request):
        return scripted.reply('{"a": 1}', mode="masks")

class Async:
    name = "async"
    def generate(self, request):
        from guard.models.event_loop import EVENT_LOOP
        return EVENT_LOOP.run(self.agenerate(request))
    async def agenerate(self, request):
        return scripted.reply('{"a": 1}')
    async def astream(self, request):
        yield '{"a":'
        yield ' 1}'
        yield scripted.reply('{"a": 1}')

models = [Plain(), Async(), OpenAIModel("m", base_url=url, api_key="k", retries=1)]
guards = [guard.Guard(model, trace=trace) for model in models]
targets = [g.target(SCHEMA) for g in guards]
plans = [g.plan(t, MESSAGES) for g, t in zip(guards, targets)]
struck = nested = 0
is_raising = False

def ask(at, streams):
    if streams:
        return list(guards[at].run_stream(plans[at]))[-1]
    return guards[at].run(plans[at])[0]

def handler(signum, frame):
    global struck, nested
    struck += 1
    assert ask(*choice) == {"a": 1}
    nested += 1
    if is_raising:
        raise Soft

for g, p in zip(guards, plans):  # imports are over: a handler's would find modules half made
    g.run(p), list(g.run_stream(p))
takes = {}  # (model, streams) → about how many seconds a call takes here
for place in [(at, streams) for at in range(3) for streams in (False, True)]:
    began = time.perf_counter()
    for _ in range(5):
        ask(*place)
    takes[place] = (time.perf_counter() - began) / 5
signal.signal(signal.SIGALRM, handler)
ended = {"value": 0, "soft": 0}
for number in range(calls):
    at, streams = r.randrange(3), r.random() < 0.3
    choice, is_raising = (at if r.random() < 0.7 else r.randrange(3), streams), r.random() < 0.5
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, r.uniform(0.00002, takes[at, streams]))
            value = ask(at, streams)
            ended["value"] += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        assert value == {"a": 1}, value
    except Soft:
        ended["soft"] += 1
print(json.dumps({"struck": struck, "nested": nested, **ended}))
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_a_handler_may_call_guard_wherever_it_strikes(tmp_path: Path, seed: int) -> None:
    trace = tmp_path / "trace.db"
    with fake_server.Server('{"a": 1}') as provider:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(trace), provider.url, str(seed), str(CALLS)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout)
    assert told["struck"] == told["nested"] >= CALLS // 4
    assert told["value"] + told["soft"] >= CALLS - told["struck"]
    assert told["soft"] >= 10
    connection = sqlite3.connect(trace)
    (valid,) = connection.execute("SELECT count(*) FROM calls WHERE outcome = 'valid'").fetchone()
    outcomes = dict(connection.execute("SELECT outcome, count(*) FROM calls GROUP BY outcome"))
    (check,) = connection.execute("PRAGMA integrity_check").fetchone()
    connection.close()
    assert valid >= told["value"] + told["nested"]
    # A handler that strikes between two pieces strikes the caller, who leaves the stream by it; few do.
    assert outcomes.pop("GeneratorExit", 0) <= CALLS // 50
    assert outcomes.keys() <= {"valid", "Soft"}
    assert check == "ok"


def test_a_program_ends_where_a_handler_began_another_thread_for_work_aside() -> None:
    """A handler strikes between a thread's start and its name: both wait for work, and for the end of it."""
    program = (
        "import signal, threading\n"
        "from guard.support import aside\n"
        "signal.signal(signal.SIGALRM, lambda *_: None)\n"
        "for _ in range(20):\n"
        "    threading.Thread(target=aside._run, args=(aside._waiting,), daemon=True).start()\n"
        "print(aside.aside(lambda: 'done'), flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("done\n", 0)

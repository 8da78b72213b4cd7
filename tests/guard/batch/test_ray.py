"""Batches on Ray: nothing lost, and nothing asked twice, on a cluster of which a node and the driver are killed.

Where Ray is not installed only what needs no cluster is tested.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import math
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import killed
import pytest
import ray_cluster
from pydantic import BaseModel

import guard
from guard.batch.ray_engine import RayEngine, as_written, check_sendable, wait_for
from guard.batch.ray_limits import LeaseLedger, LimitedModel
from guard.batch.ray_mapper import Mapper
from guard.models.base import Reply, Request
from guard.testing.fake_server import Answer, ClientRequest, Server
from guard.trace.records import Attempt, Call

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
ROOT = Path(__file__).parents[3]


class Number(BaseModel):
    """What a document says."""

    number: int


class Silent:
    """A model that is never asked."""

    name = "silent"

    def generate(self, _: Request) -> Reply:
        raise AssertionError


class Locked(Silent):
    """A model that can't be sent anywhere."""

    name = "locked"

    def __init__(self) -> None:
        self.lock = threading.Lock()


def reader(model: Any = "openai:fake", **more: Any) -> Any:
    @guard.structured(model=model, **more)
    def read(text: str) -> Number:  # type: ignore[empty-body]
        """Read the number."""

    return read


@needs_ray
def test_a_node_and_a_driver_are_killed_and_every_document_is_answered_once(tmp_path: Path) -> None:
    ray_cluster.check(ray_cluster.killed(200, tmp_path))


#: A driver with a cluster of its own on this machine, which the examples of the documentation and the next tests run.
WITH_RAY = """
import os, ray
small = {"num_cpus": 2, "num_gpus": 1, "object_store_memory": 80 * 2**20}
ray.init(address="local", include_dashboard=False, log_to_driver=False, **small)
"""


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Server]:
    def answer(request: ClientRequest) -> Answer:
        number = int(re.findall(r"number (\d+)\.", request.body["messages"][0]["content"])[0])
        return Answer(json.dumps({"number": number}), model="gpt-4o-mini", usage=(50, 10))

    with Server(answer, keeps_alive=True) as server:
        yield server


def driven(code: str, server: Server, folder: Path) -> str:
    """Run a driver, and return what it prints."""
    environment = {
        **os.environ,
        "OPENAI_BASE_URL": server.url,
        "OPENAI_API_KEY": "none",
        "GUARD_TRACE": str(folder / "trace.db"),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    command = [sys.executable, "-W", "ignore", "-c", WITH_RAY + code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


MAPPED = '''
import guard
from guard.integrations.ray import JobLimits, Mapper, RayEngine
from pydantic import BaseModel

class Number(BaseModel):
    number: int

@guard.structured(model="openai:fake", retries=0)
def read(text: str) -> Number:
    """Read the number."""

rows = [{"text": f"This is number {number % 9}.", "id": number} for number in range(12)]
for turn in range(2):
    limits = JobLimits(per_second=1000)
    dataset = ray.data.from_items(rows, override_num_blocks=2).map_batches(
        Mapper, fn_constructor_args=(read, "numbers"), fn_constructor_kwargs={"limits": limits},
        batch_format="pyarrow", batch_size=3, compute=ray.data.ActorPoolStrategy(size=1), num_cpus=0.5,
    )
    dataset.write_parquet("answers", mode="overwrite")
    answers = sorted(ray.data.read_parquet("answers").take_all(), key=lambda row: row["id"])
    print([(row["id"], row["value"], row["error"], row["is_kept"]) for row in answers])

class Refusing(BaseException):
    pass

def broken(value):
    raise ZeroDivisionError("a validator with a bug")

try:
    list(guard.map(read.using(validators=[broken]), ["This is number 1."], engine="ray"))
except ZeroDivisionError as error:
    print("raised", error)

def ending():
    yield "This is number 1."
    yield "This is number 2."
    raise OSError("the inputs' own")

taken = []
try:
    for result in guard.map(read, ending(), engine=RayEngine(workers=1)):
        taken.append(result.value.number)
except OSError as error:
    print(taken, error)

def limited(value):
    guard.compile({"type": "nothing"})

(result,) = guard.map(read.using(validators=[limited]), ["This is number 1."], engine="ray")
print(type(result.error).__name__, result.error.pointer, str(result.error).splitlines()[0])

spent = guard.map(read, [f"This is number {number}." for number in range(3)], engine=RayEngine(workers=1, usd=1.0))
print([type(result.error).__name__ for result in spent])
'''


@needs_ray
def test_a_mapper_of_a_dataset_writes_each_answer_once_and_asks_none_again(provider: Server, tmp_path: Path) -> None:
    said = driven(MAPPED, provider, tmp_path).splitlines()
    first, second = ([*map(tuple, eval(line))] for line in said[:2])  # noqa: S307 (our own program's)
    assert [(row, json.loads(value), error) for row, value, error, _ in first] == [
        (number, {"number": number % 9}, None) for number in range(12)
    ]
    assert [row[:3] for row in second] == [row[:3] for row in first]
    assert all(row[3] for row in second)
    assert said[2] == "raised a validator with a bug"
    assert said[3] == "[1, 2] the inputs' own"
    assert said[4].startswith("SchemaError /type ")
    assert said[5] == "['ModelError', 'ModelError', 'ModelError']"  # a server of one's own has no price
    asked = [request for request in provider.requests if "read" not in request.path]
    assert (
        len(asked) <= 9 + 3 + 1 + 2 + 1
    )  # alike rows share an answer, but for those of batches that were under way at once


@needs_ray
def test_a_command_line_run_is_done_by_a_cluster(
    provider: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its output has the answers as the model wrote them; it had them without what redaction cut out of the record."""
    monkeypatch.setenv("MY_PASSWORD", "87654321")
    numbers = [*range(5), 87654321]
    (tmp_path / "in.jsonl").write_text("".join(f'{{"text": "This is number {n}.", "id": {n}}}\n' for n in numbers))
    (tmp_path / "schema.json").write_text(json.dumps(killed.SCHEMA))
    run = (
        "import sys\nfrom guard.cli.app import main\n"
        "sys.argv = 'guard run schema.json --model openai:fake --engine ray --input in.jsonl --keep id"
        " --output out.jsonl'.split()\nmain()\n"
    )
    driven(run, provider, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(row["columns"]["id"], row["value"]) for row in rows] == [(n, {"number": n}) for n in numbers]
    assert "87654321" not in (tmp_path / "trace.db").read_bytes().decode(errors="replace")


def test_what_a_run_waits_for_is_said() -> None:
    """A run on a cluster without a GPU waited for one and said nothing."""
    nodes = [
        {"Alive": True, "Resources": {"CPU": 8.0}},
        {"Alive": True, "Resources": {"CPU": 1.0, "GPU": 0.5}},
        {"Alive": False, "Resources": {"CPU": 8.0, "GPU": 8.0}},
    ]
    assert wait_for({"CPU": 8, "GPU": 0}, nodes) == wait_for({"CPU": 1, "GPU": 0.5}, nodes) == ""
    words = "no node of the cluster has the {} that a worker needs; the run waits until one does"
    assert wait_for({"CPU": 2, "GPU": 0.25}, nodes) == words.format("2 CPU and 0.25 GPU")
    assert wait_for({"CPU": 9, "GPU": 0}, nodes) == words.format("9 CPU")


@pytest.mark.parametrize("repaired", [None, '{"number": 1}'])
def test_a_call_of_the_trace_has_its_answer_as_it_was_written(repaired: str | None) -> None:
    reply = Reply('{"number": 1', "stop", "m", 1, 1)
    first = Attempt(1, (), reply, reason="invalid")
    answer = Attempt(2, (), reply, repaired=repaired)
    call = Call("read", "Number", "", "", "m", {}, 0.0, attempts=(first, answer), number=7)
    assert as_written(call, call.text) is call
    written = as_written(call, '{"number": 2}')
    assert (written.text, written.number, written.attempts[0]) == ('{"number": 2}', 7, first)
    assert (written.attempts[1].repaired is None) == (repaired is None)


@needs_ray
def test_the_examples_of_the_documentation_run(tmp_path: Path) -> None:
    """As they stand, but for the model and the cluster's address."""
    opening, *shown = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "batches.md").read_text(), re.DOTALL)
    opening = opening.replace('"smollm2"', '"openai:fake"').split("for result")[0]
    code = "\n".join(shown).replace('ray.init(address="auto")\n', "")
    mails = "ray.data.from_items([{'id': n, 'body': f'Mail {n}'} for n in range(3)]).write_parquet('mails')\n"
    end = "print(sorted(row['value'] for row in ray.data.read_parquet('answers').take_all()))\n"
    with Server(Answer('{"sender": "Marta"}'), keeps_alive=True) as server:
        said = driven(opening + mails + code + end, server, tmp_path).splitlines()
    assert said == ["0 sender='Marta'", "1 sender='Marta'", str(['{"sender": "Marta"}'] * 3)]


def ledger(**limits: Any) -> LeaseLedger:
    return LeaseLedger(limits.get("per_second"), limits.get("usd"), None, None)


def test_leases_never_exceed_the_budget_and_what_was_not_spent_is_leased_again() -> None:
    async def run() -> None:
        shared = ledger(usd=1.0)
        assert await shared.lease("a", 0.6, 600) == 0
        waiting = asyncio.create_task(shared.lease("b", 0.6, 600))
        await asyncio.sleep(0.05)
        assert not waiting.done()  # it would not fit yet
        await shared.settle("a", 0.1)
        assert await waiting == 0
        await shared.settle("b", 0.5)
        assert await shared.lease("c", 0.5, 600) is None  # 0.4 is left
        assert await shared.lease("d", 0.4, 600) == 0
        assert await shared.spent() == pytest.approx(0.6)

    asyncio.run(run())


def test_a_lease_that_nobody_settles_counts_as_spent() -> None:
    async def run() -> None:
        shared = ledger(usd=1.0)
        assert await shared.lease("lost", 0.6, 0.05) == 0
        assert await shared.lease("next", 0.6, 600) is None
        assert await shared.spent() == pytest.approx(0.6)
        await shared.settle("lost", 0.1)  # too late
        assert await shared.spent() == pytest.approx(0.6)

    asyncio.run(run())


def test_requests_of_all_workers_have_their_turns_one_interval_apart() -> None:
    async def run() -> list[float | None]:
        shared = ledger(per_second=10)
        return [await shared.lease(str(number), 0.0, 600) for number in range(5)]

    waits = asyncio.run(run())
    assert waits == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4], abs=0.05)


@needs_ray
def test_what_can_t_be_sent_is_named() -> None:
    read = reader(Locked())
    with pytest.raises(TypeError, match=r"^the model locked can't be sent to the workers of a cluster: cannot pickle"):
        check_sendable(read.guard, read.plan("x"))
    lock = threading.Lock()

    def locked(_: Number) -> bool:
        return not lock.locked()

    read = reader("openai:fake", validators=[locked])
    with pytest.raises(TypeError, match=r"^the validator .*locked can't be sent"):
        check_sendable(read.guard, read.plan("x"))


def test_a_function_with_tools_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(TypeError, match=r"^Mapper\(\) asks .*read in one turn, and its tools need more"):
        Mapper(reader(tools=[len]), "run")


@needs_ray
@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ("spark", "engine='spark' must be 'threads', 'ray', or a guard.integrations.ray.RayEngine"),
        (4, "engine=4 must be 'threads', 'ray', or a guard.integrations.ray.RayEngine"),
    ],
)
def test_an_engine_that_there_is_not_is_refused(engine: Any, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        guard.map(reader(), ["x"], engine=engine)


@pytest.mark.parametrize("setting", [{"workers": 0}, {"num_gpus": -1}, {"usd": 0}, {"per_second": float("nan")}])
def test_an_engine_s_settings_are_checked(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(setting))}="):
        RayEngine(**setting)


def test_the_trace_says_what_is_recorded_of_some_inputs_and_what_a_run_has_cost(place: str) -> None:
    from guard.trace import TraceStore

    class Priced(Silent):
        def generate(self, _: Request) -> Reply:
            return Reply('{"number": 1}', "stop", "m", 1, 1, cost=0.25)

    results = list(guard.map(reader(Priced()), ["a", "b", "c"], resume="numbers"))
    store = TraceStore.at(place)
    every = store.items("numbers")
    assert sorted(number for number, _ in every.values()) == sorted(
        result.call.number for result in results if result.call
    )
    some = sorted(every)[:2]
    assert store.items("numbers", some) == {key: every[key] for key in some}
    assert store.items("numbers", []) == {}
    assert (store.spent("numbers"), store.spent("another")) == (0.75, 0.0)
    for run in ("asked", "looked up"):  # what was looked up counted as if it had been paid for again
        assert len(list(guard.map(reader(Priced(), mode="cache"), ["a"], resume=run))) == 1
    assert (store.spent("asked"), store.spent("looked up")) == (0.25, 0.0)


def test_a_request_whose_turn_comes_too_late_takes_neither_turn_nor_lease() -> None:
    async def run() -> None:
        shared = ledger(per_second=2, usd=1.0)
        assert await shared.lease("a", 0.5, 600, 10.0) == 0
        assert await shared.lease("late", 0.5, 600, 0.1) == math.inf
        assert (await shared.lease("b", 0.5, 600, 10.0) or 1) <= 0.5
        began = time.monotonic()
        assert await shared.lease("poor", 0.5, 600, 0.1) == math.inf  # others may be settled with less, but not in time
        assert time.monotonic() - began < 5
        await shared.settle("a", 0.0)
        assert (await shared.lease("c", 0.5, 600, 10.0) or 0) <= 1.0

    asyncio.run(run())


def limits(usd: float | None, actor: SimpleNamespace) -> Any:
    """The limits of a job, with an actor in place of a cluster's."""
    return SimpleNamespace(usd=usd, actor=actor)


def test_the_wait_for_a_job_s_turn_counts_in_the_budget_of_seconds() -> None:
    class Slow(Silent):
        """Takes as long as it may."""

        def __init__(self) -> None:
            self.seconds: list[float] = []

        async def agenerate(self, request: Request) -> Reply:
            assert request.seconds is not None
            self.seconds.append(request.seconds)
            return Reply('{"number": 1}', "stop", "m", 1, 1)

    model = Slow()

    async def run() -> list[str]:
        shared = ledger(per_second=1)
        actor = SimpleNamespace(lease=Remote(shared.lease), settle=Remote(shared.settle))
        limited = LimitedModel(model, limits(None, actor))
        read = reader(limited, retries=0, budget=guard.Budget(seconds=1.5))
        results = guard.amap(read, ["a", "b", "c", "d"], concurrency=4)
        return sorted([type(result.error).__name__ async for result in results])

    began = time.monotonic()
    assert asyncio.run(run()) == ["BudgetExceeded", "BudgetExceeded", "NoneType", "NoneType"]
    assert time.monotonic() - began < 2.8  # and not the three seconds after which the last one's turn would come
    first, second = model.seconds
    assert 0.5 < first <= 1.5
    assert 0 < second <= 0.55


def mapped(function: Any, rows: list[dict[str, Any]], schema: Any = None, **options: Any) -> list[dict[str, Any]]:
    """Return what a Mapper makes of rows, where the test runs."""
    import pyarrow as pa

    async def run() -> list[dict[str, Any]]:
        mapper = Mapper(function, "numbers", **options)
        return [row async for table in mapper(pa.Table.from_pylist(rows, schema)) for row in table.to_pylist()]

    return asyncio.run(run())


class Echo(Silent):
    """Answers with what it is asked, which is no number where it says so; counts questions."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def generate(self, request: Request) -> Reply:
        text = request.messages[0]["content"].split("\n\n")[0]
        self.asked.append(text)
        return Reply('{"number": "none"}' if "bad" in text else '{"number": 1}', "stop", "m", 10, 5, cost=0.5)


@needs_ray
def test_a_row_without_a_text_is_a_failure_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guard.batch.ray_mapper.check_trace", lambda _: None)
    model = Echo()
    rows = [{"text": b"a"}, {"text": None}, {"text": b"\xff"}]
    first, empty, binary = mapped(reader(model), rows)
    assert (first["value"], first["error"], model.asked) == ('{"number": 1}', None, ["a"])
    assert (empty["error"], empty["message"]) == ("InputError", "the row has nothing in the column 'text'")
    assert binary["error"] == "InputError"
    assert binary["message"].startswith("the argument text=bytes can't be shown to a model: ")
    assert (empty["call"], empty["tokens"], binary["value"]) == (None, None, None)


@needs_ray
def test_null_stands_for_a_parameter_that_may_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guard.batch.ray_mapper.check_trace", lambda _: None)

    @guard.structured(model=Echo())
    def read(text: str, hint: str | None = None) -> Number:  # type: ignore[empty-body]
        """Read the number."""

    rows = [{"body": "a", "about": None}, {"body": None, "about": "b"}]
    found = mapped(read, rows, columns=["body", "about"])
    assert [row["error"] for row in found] == [None, "InputError"]


@needs_ray
def test_a_key_that_is_null_is_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guard.batch.ray_mapper.check_trace", lambda _: None)
    rows = [{"text": "a", "id": key} for key in (None, "None", "None", "b", None, "")]
    calls = [row["call"] for row in mapped(reader(Echo()), rows, key="id")]
    assert [calls.index(call) for call in calls] == [0, 1, 1, 3, 0, 5]


@needs_ray
def test_a_row_without_an_answer_has_the_figures_of_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guard.batch.ray_mapper.check_trace", lambda _: None)
    read = reader(Echo(), retries=1)
    for is_kept in (False, True):
        good, bad = mapped(read, [{"text": "a"}, {"text": "bad"}])
        assert (good["tokens"], good["cost"], good["value"]) == (15, 0.5, '{"number": 1}')
        assert (bad["error"], bad["value"], bad["tokens"], bad["cost"]) == ("ValidationFailed", None, 30, 1.0)
        assert bad["seconds"] > 0
        assert bad["is_kept"] is is_kept


class Remote:
    """An actor's method, called where the test runs."""

    def __init__(self, method: Any) -> None:
        self._method = method

    def remote(self, *given: Any) -> asyncio.Task[Any]:
        return asyncio.ensure_future(self._method(*given))


def test_a_lease_pays_for_the_schema_and_for_thinking() -> None:
    """A lease was of the messages' price alone, so that a large schema cost more than the job had."""
    leased: list[float] = []

    async def lease(_name: str, usd: float, *_: Any) -> None:
        leased.append(usd)

    class Priced(Silent):
        def price(self, prompt_tokens: int, completion_tokens: int) -> float:
            return prompt_tokens + completion_tokens

    async def run() -> None:
        model = LimitedModel(Priced(), limits(1.0, SimpleNamespace(lease=Remote(lease))))
        compiled = guard.compile({"type": "string", "description": "a" * 30_000})
        for changes in ({}, {"compiled": compiled}, {"thinking": 2_000}):
            with pytest.raises(guard.BudgetExceeded):
                await model.agenerate(
                    Request(**{"messages": ({"role": "user", "content": "a"},), "compiled": None, **changes})
                )

    asyncio.run(run())
    assert leased[1] > leased[0] + 10_000
    assert leased[2] == leased[0] + 2_000


def test_an_answer_without_a_cost_is_charged_what_its_lease_was() -> None:
    """It was charged as nothing."""

    class Priced(Silent):
        def price(self, _: int, __: int) -> float:
            return 0.25

        def generate(self, _: Request) -> Reply:
            return Reply("1", "stop", "m", 1, 1)

    async def run() -> float:
        shared = ledger(usd=1.0)
        actor = SimpleNamespace(lease=Remote(shared.lease), settle=Remote(shared.settle))
        model = LimitedModel(Priced(), limits(1.0, actor))
        await model.agenerate(Request(messages=({"role": "user", "content": "a"},), compiled=None))
        await asyncio.sleep(0)
        return float(await shared.spent())

    assert asyncio.run(run()) == 0.25


def test_a_limited_model_spends_no_more_than_the_job_has() -> None:
    class Priced(Silent):
        def price(self, _: int, completion_tokens: int) -> float:
            return completion_tokens / 1000

        def generate(self, request: Request) -> Reply:
            assert request.usd is not None
            assert request.usd <= 0.512
            return Reply('{"number": 1}', "stop", "m", 1, 1, cost=0.3)

    async def run() -> list[str]:
        shared = ledger(usd=1.0)
        actor = SimpleNamespace(lease=Remote(shared.lease), settle=Remote(shared.settle))
        model = LimitedModel(Priced(), limits(1.0, actor))
        read = reader(model, retries=0)
        results = [result async for result in guard.amap(read, ["a", "b", "c", "d"], concurrency=4)]
        assert await shared.spent() == pytest.approx(0.6)
        return sorted("value" if result.error is None else type(result.error).__name__ for result in results)

    assert asyncio.run(run()) == ["BudgetExceeded", "BudgetExceeded", "value", "value"]

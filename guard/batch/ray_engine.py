"""`guard.map(…, engine="ray")`: the driver's part. It plans all inputs, and reads results as workers finish them.

The questions that the trace does not answer become a Ray Dataset, one block of some rows after the other, which a pool
of workers maps (guard/batch/ray_mapper.py). A row back is the answer's text and the number of the call's record: the
value is read from the text here, and the record from the trace.
"""

from __future__ import annotations

import dataclasses
import logging
import pickle
import uuid
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from guard import errors
from guard.batch.map_run import AnyResults, MapOptions, MapRun, Question, Result, keyed
from guard.batch.ray_mapper import PlannedMapper, check_trace
from guard.calls.pipeline import Guard
from guard.calls.steps import Plan
from guard.errors import CallError, ModelError
from guard.support.bounds import MOST_COUNT, MOST_USD, check
from guard.trace.records import Call

if TYPE_CHECKING:
    from guard.batch.ray_limits import JobLimits

_log = logging.getLogger("guard")

R = TypeVar("R")
Chosen: TypeAlias = "Literal['ray'] | RayEngine"

BLOCK = 4  #: Questions of a block, as a multiple of those that a worker asks at once.
BATCHES = 2  #: Blocks that a worker is at, so that the end of one does not wait for its slowest question.


@dataclass(frozen=True)
class RayEngine:
    """The settings of a batch on a Ray cluster. Ray decides those that are None."""

    workers: int | None = None  # None: as many as the cluster has nodes
    num_cpus: float | None = None  # of each worker; None: 1
    num_gpus: float | None = None  # of each worker, such as 0.25
    per_second: float | None = None  # requests of all workers together
    usd: float | None = None  # US dollars that all workers together may spend, also before the run was resumed

    def __post_init__(self) -> None:
        if self.workers is not None:
            check("workers", self.workers, 1, MOST_COUNT, is_whole=True)
        bounds = {"num_cpus": MOST_COUNT, "num_gpus": MOST_COUNT, "per_second": MOST_COUNT, "usd": MOST_USD}
        for name, most in bounds.items():
            if getattr(self, name) is not None:
                check(name, getattr(self, name), 0, most, is_above=name in ("per_second", "usd"))


def results(guard: Guard, questions: Iterable[Question], options: MapOptions, engine: Chosen) -> RayResults[Any]:
    """Begin a run; ValueError for an engine that there is not, ModelError where Ray is not installed."""
    chosen = RayEngine() if engine == "ray" else engine
    if not isinstance(chosen, RayEngine):
        raise ValueError(f"engine={engine!r} must be 'threads', 'ray', or a guard.integrations.ray.RayEngine")
    check_installed()
    return RayResults(guard, questions, options, chosen)


def check_installed() -> None:
    """Raise ModelError where Ray Data is missing, as where a model's library is."""
    try:
        import ray.data  # noqa: F401 (whether it is there)
    except ImportError:
        raise ModelError("batches on Ray need ray: pip install 'guard-slm[ray]'") from None


class RayResults(AnyResults[R]):
    """The results of a run, from the workers of a cluster."""

    def __init__(self, guard: Guard, questions: Iterable[Question], options: MapOptions, engine: RayEngine) -> None:
        self._name = options.resume or f"ray {uuid.uuid4().hex}"
        self._run = MapRun(guard, questions if options.resume is not None else keyed(questions, self._name), options)
        self._guard, self._options, self._engine = guard, options, engine
        self._made = self._results()

    def __next__(self) -> Result[R]:
        with self._run.alone():
            while not self._run.ready:
                self._run.take(next(self._made))
            return self._run.ready.popleft()

    def finish(self) -> Iterator[Result[R]]:
        """Start nothing more, and yield what was not handed on; the calls under way are lost with their workers."""
        self._made.close()
        yield from self._run.rest()

    @property
    def under_way(self) -> int:
        """Calls for whose end `finish` waits: none."""
        return 0

    def close(self) -> None:
        """Start nothing more."""
        self._made.close()
        self._run.drop()

    def _results(self) -> Generator[Result[R], None, None]:
        self._guard.store.check_writable()
        self._run.prepare()
        asked: dict[int, Question] = {}
        for index, question in self._run.all():
            known = self._run.known(index, question)
            if known is None:
                asked[index] = question
            else:
                yield known
        if asked:
            try:
                for row in self._rows(asked, self._name):
                    yield self._result(row, asked.pop(row["index"]))
            finally:
                if self._options.resume is None:
                    self._guard.store.forget_items(self._name)
        self._run.end()

    def _rows(self, asked: Mapping[int, Question], name: str) -> Iterator[dict[str, Any]]:
        import pyarrow as pa
        import ray

        if not ray.is_initialized():
            ray.init(log_to_driver=False)
        store, engine = self._guard.store, self._engine
        check_trace(store)
        columns: dict[str, list[Any]] = {"index": [], "key": [], "asked": []}
        for index, question in asked.items():
            assert question.plan is not None
            assert question.plan.item is not None
            columns["index"].append(index)
            columns["key"].append(question.plan.item.key)
            columns["asked"].append(pickle.dumps((question.plan.messages, question.plan.sources)))
        table = pa.table(columns, pa.schema({"index": pa.int64(), "key": pa.string(), "asked": pa.binary()}))
        size = self._options.concurrency * BLOCK
        plan = next(iter(asked.values())).plan
        assert plan is not None
        common = dataclasses.replace(plan, messages=(), sources={}, item=None)
        check_sendable(self._guard, common)
        limits = self._limits(name)
        needs = {"CPU": 1 if engine.num_cpus is None else engine.num_cpus, "GPU": engine.num_gpus or 0}
        if words := wait_for(needs, ray.nodes()):
            _log.warning(words)
        workers = engine.workers or sum(node["Alive"] for node in ray.nodes())
        pool = min(workers, -(-len(table) // size))
        dataset = ray.data.from_arrow([table.slice(at, size) for at in range(0, len(table), size)])
        dataset.context.enable_progress_bars = False
        answers = dataset.map_batches(
            PlannedMapper,
            batch_size=size,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=pool, max_concurrent_calls_per_actor=BATCHES),
            num_cpus=needs["CPU"],
            num_gpus=engine.num_gpus,
            fn_constructor_kwargs={
                "guard": self._guard.using(trace=store),
                "plan": common,
                "run": name,
                "concurrency": self._options.concurrency,
                "retry_failed": self._options.retry_failed,
                "limits": limits,
            },
        )
        for batch in answers.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for row in batch.to_pylist():
                if row["raised"] is not None:
                    raise pickle.loads(row["raised"])  # noqa: S301 (our own worker's)
                yield row

    def _limits(self, name: str) -> JobLimits | None:
        engine = self._engine
        if engine.per_second is None and engine.usd is None:
            return None
        from guard.batch.ray_limits import JobLimits

        return JobLimits(engine.per_second, engine.usd, name, self._guard.store)

    def _result(self, row: Mapping[str, Any], question: Question) -> Result[R]:
        assert question.plan is not None
        index, given, is_kept = row["index"], question.input, row["is_kept"]
        call = None if row["call"] is None else self._guard.store.read(row["call"])
        if row["error"] is None:
            value, _ = question.plan.target.check(row["value"])
            return Result(index, given, value, call=call and as_written(call, row["value"]), is_kept=is_kept)
        if row["failed"] is not None:
            return Result(index, given, error=pickle.loads(row["failed"]))  # noqa: S301 (our own worker's)
        kind: type[CallError] = getattr(errors, row["error"], CallError)
        attempts = () if call is None else call.attempts
        error = kind(row["message"]).recorded(attempts[-1].findings if attempts else (), attempts, row["call"])
        return Result(index, given, error=error, is_kept=is_kept)


def as_written(call: Call, text: str) -> Call:
    """Return a call of the trace with its answer as the model wrote it, from which redaction may have cut something."""
    last = call.answer
    if call.text == text or last is None or last.reply is None:
        return call
    if last.repaired is None:
        whole = dataclasses.replace(last, reply=dataclasses.replace(last.reply, text=text))
    else:
        whole = dataclasses.replace(last, repaired=text)
    return dataclasses.replace(call, attempts=tuple(whole if one is last else one for one in call.attempts))


def wait_for(needs: Mapping[str, float], nodes: Iterable[Mapping[str, Any]]) -> str:
    """Return what a run waits for that no node has; "" where one has it. Ray would wait and say nothing."""
    has = [node["Resources"] for node in nodes if node["Alive"]]
    if any(all(node.get(name, 0) >= count for name, count in needs.items()) for node in has):
        return ""
    wanted = " and ".join(f"{count:g} {name}" for name, count in needs.items() if count)
    return f"no node of the cluster has the {wanted} that a worker needs; the run waits until one does"


def check_sendable(guard: Guard, plan: Plan) -> None:
    """Raise TypeError where something can't be sent to a worker, naming it."""
    from ray import cloudpickle

    parts: dict[str, Any] = {f"the model {getattr(tier, 'name', tier)}": tier for tier in plan.tiers}
    parts |= {f"the validator {getattr(one, '__qualname__', one)}": one for one in plan.validators}
    parts |= {f"the type {plan.target.name}": plan.target, "the examples": guard.examples, "the call": plan}
    for name, part in parts.items():
        try:
            cloudpickle.dumps(part)
        except Exception as error:  # whatever a __reduce__ raises
            raise TypeError(f"{name} can't be sent to the workers of a cluster: {error}") from None

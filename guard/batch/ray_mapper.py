"""What a worker of a Ray cluster does: it asks the questions of a batch, several at once, and says what became of each.

`Mapper` is for `Dataset.map_batches`: its questions are a function's, made of columns. `PlannedMapper` has those of a
run of `guard.map`, which its driver planned. Both are classes with an async `__call__`, so that Ray keeps their model
loaded in a pool of actors and an actor works at several batches at a time.

Ray runs a batch again where its worker died. Each question's key is looked up in the trace first: what is on record is
not asked again, so that only what was under way is asked twice.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import pickle
import traceback
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from guard.batch.inputs import InputError
from guard.batch.map_run import MapOptions, MapRun, Question, Result, digest
from guard.calls.decorator import Decorated
from guard.calls.pipeline import Guard
from guard.calls.steps import Plan
from guard.errors import CallError, GuardError
from guard.support.bounds import CONCURRENCY, MOST_CONCURRENCY, check
from guard.trace import TraceError, TraceStore
from guard.trace.records import Call, Item

if TYPE_CHECKING:
    import pyarrow as pa

    from guard.batch.ray_limits import JobLimits

#: Columns that a batch gains, and what Arrow calls their type.
COLUMNS: Mapping[str, str] = {
    "value": "string",  # the answer's text: JSON, unless the type says otherwise; null where there is none
    "error": "string",  # the name of the error that there is instead
    "message": "string",  # its words
    "call": "int64",  # the number of the record; null where there is none
    "tokens": "int64",
    "cost": "float64",  # in US dollars; null where no price is known
    "seconds": "float64",
    "is_kept": "bool",  # it was on record, and not asked now
}


def check_trace(store: TraceStore) -> None:
    """Raise TraceError where a trace is a file, and the cluster has several machines, of which each has its own."""
    import ray

    names = {node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
    if store.path is not None and len(names) > 1:
        raise TraceError(
            f"the trace {store.place} is a file, and the cluster has {len(names)} machines;"
            " name a PostgreSQL one that all reach: trace='postgresql://…'"
        )


class QuestionMapper:
    """Asks questions that know which input of a run they are, at most so many at once."""

    def __init__(self, guard: Guard, run: str, concurrency: int, retry_failed: bool, limits: JobLimits | None) -> None:
        check("concurrency", concurrency, 1, MOST_CONCURRENCY, is_whole=True)
        check_trace(guard.store)
        self._guard, self._limits = guard, limits
        self._options = MapOptions(resume=run, retry_failed=retry_failed)
        self._concurrency = concurrency
        self._turns: asyncio.Semaphore | None = None  # of the event loop that calls

    async def results(self, questions: Sequence[Question]) -> list[Result[Any]]:
        """Return what became of each question; those of one key are asked once."""
        keys = [question.plan.item.key if question.plan and question.plan.item else "" for question in questions]
        kept = await asyncio.to_thread(self._guard.store.items, self._options.resume or "", sorted({*keys} - {""}))
        run = MapRun(self._guard, (), self._options, kept)
        self._turns = self._turns or asyncio.Semaphore(self._concurrency)
        asked: dict[str | int, asyncio.Task[Result[Any]]] = {}
        try:
            async with asyncio.TaskGroup() as group:
                for index, (key, question) in enumerate(zip(keys, questions, strict=True)):
                    if (key or index) not in asked:
                        asked[key or index] = group.create_task(self._result(run, index, question, self._turns))
        except ExceptionGroup as raised:
            raise raised.exceptions[0] from None
        return [asked[key or index].result() for index, key in enumerate(keys)]

    async def _result(self, run: MapRun, index: int, question: Question, turns: asyncio.Semaphore) -> Result[Any]:
        if question.plan is not None and self._limits is not None:
            limited = dataclasses.replace(question.plan, around=self._limits.around)
            question = dataclasses.replace(question, plan=limited)
        async with turns:
            return await run.aresult(index, question)


class PlannedMapper(QuestionMapper):
    """For batches of a run that was planned by its driver: `index`, `key`, and what is asked, pickled."""

    def __init__(self, guard: Guard, plan: Plan, run: str, **more: Any) -> None:
        super().__init__(guard, run, **more)
        self._plan, self._name = plan, run

    async def __call__(self, batch: pa.Table) -> AsyncIterator[pa.Table]:
        """Answer a batch; what ends the run is handed to the driver, for Ray would hand on no more than its words."""
        import pyarrow as pa

        numbers, raised = batch.select(["index"]), None
        try:
            results = await self.results([Question(None, self._planned(row)) for row in batch.to_pylist()])
        except Exception as error:
            numbers, results, raised = numbers.slice(0, 1), [Result(0, None)], _pickled(error)
        answered = with_results(numbers, results, [result.call for result in results])
        answered = answered.append_column("failed", pa.array(map(_unrecorded, results), pa.binary()))
        yield answered.append_column("raised", pa.array([raised] * len(answered), pa.binary()))

    def _planned(self, row: Mapping[str, Any]) -> Plan:
        messages, sources = pickle.loads(row["asked"])  # noqa: S301 (our own driver's)
        return dataclasses.replace(self._plan, messages=messages, sources=sources, item=Item(self._name, row["key"]))


def _unrecorded(result: Result[Any]) -> bytes | None:
    """Return a failure of which the record does not say all: a schema's limit has findings of its own."""
    error = result.error
    return None if error is None or isinstance(error, CallError) else _pickled(error)


def _pickled(error: Exception) -> bytes:
    """Return an exception as bytes, with its traceback as a note; where it can't be pickled, its words."""
    from ray import cloudpickle

    error.add_note("".join(traceback.format_exception(error)))
    try:
        made: bytes = cloudpickle.dumps(error)
        pickle.loads(made)  # noqa: S301 (our own)
    except Exception:  # whatever its __reduce__ or its constructor raises
        return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
    return made


class Mapper(QuestionMapper):
    """For `Dataset.map_batches`: calls a structured function with columns of each row. Needs `batch_format="pyarrow"`.

    ```python
    dataset.map_batches(
        Mapper, fn_constructor_args=(read, "invoices of May"), batch_format="pyarrow", batch_size=64, concurrency=4
    )
    ```

    A batch gains the columns of COLUMNS. `run` names the run: rows that the trace has under that name are not asked
    again. `columns` are the columns of the function's arguments, by default those of the same names. Rows with the same
    question and type share one answer, unless `key` names a column that identifies rows. `concurrency` is that of each
    worker. A row whose argument is null or no text is a failure of its own (InputError), as `guard run` has it; null
    may stand for a parameter whose default is None.
    """

    def __init__(
        self,
        function: Decorated[..., Any],
        run: str,
        *,
        columns: Sequence[str] | None = None,
        key: str | None = None,
        concurrency: int = CONCURRENCY,
        retry_failed: bool = False,
        limits: JobLimits | None = None,
    ) -> None:
        if not isinstance(function, Decorated):
            raise TypeError(f"Mapper() takes a function that guard.structured made, not {function!r}")
        function.check_single("Mapper()")
        super().__init__(function.guard, run, concurrency, retry_failed, limits)
        self._function, self._name, self._key = function, run, key
        self._columns = tuple(function.inputs if columns is None else columns)
        called: Any = function
        parameters = inspect.signature(called).parameters
        named = zip(self._columns, function.inputs, strict=False)
        self._optional = {column for column, name in named if parameters[name].default is None}

    async def __call__(self, batch: pa.Table) -> AsyncIterator[pa.Table]:
        """Answer a batch."""
        names = getattr(batch, "column_names", None)
        if names is None:
            raise TypeError(
                f'Mapper takes Arrow tables, not {type(batch).__name__}: map_batches(…, batch_format="pyarrow")'
            )
        needed = self._columns if self._key is None else (*self._columns, self._key)
        if missing := [name for name in needed if name not in names]:
            raise ValueError(f"the batch has the columns {', '.join(names)}, and no {missing[0]!r}; name others")
        if taken := [name for name in COLUMNS if name in names]:
            raise ValueError(f"the batch has a column {taken[0]!r} already; rename it: dataset.rename_columns(…)")
        results = await self.results([self._question(row) for row in batch.to_pylist()])
        yield with_results(batch, results, await asyncio.to_thread(self._calls, results))

    def _calls(self, results: Sequence[Result[Any]]) -> list[Call | None]:
        """Return the record of each result, that of a failure from the trace: an error has no figures."""
        numbers = [result.error.call if isinstance(result.error, CallError) else None for result in results]
        read = {number: self._guard.store.read(number) for number in {*numbers} if number is not None}
        return [result.call or read.get(number or 0) for result, number in zip(results, numbers, strict=True)]

    def _question(self, row: Mapping[str, Any]) -> Question:
        return Question.planned(None, lambda: self._of_row(row))

    def _of_row(self, row: Mapping[str, Any]) -> Plan:
        for name in self._columns:
            if row[name] is None and name not in self._optional:
                raise InputError(f"the row has nothing in the column {name!r}")
        plan: Plan = self._function.plan(*(row[name] for name in self._columns))
        # A row without a key is like all that ask the same and have none.
        told_apart = "" if self._key is None or row[self._key] is None else f"-{row[self._key]}"
        return dataclasses.replace(plan, item=Item(self._name, f"{digest(plan)}{told_apart}"))


def with_results(batch: pa.Table, results: Sequence[Result[Any]], calls: Sequence[Call | None]) -> pa.Table:
    """Return a batch with what became of its rows, and figures of their calls."""
    import pyarrow as pa

    rows = [_row(result, call) for result, call in zip(results, calls, strict=True)]
    for name, kind in COLUMNS.items():
        batch = batch.append_column(name, pa.array([row[name] for row in rows], pa.type_for_alias(kind)))
    return batch


def _row(result: Result[Any], call: Call | None) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS) | {"is_kept": result.is_kept}
    error = result.error
    if call is not None:
        row |= {"call": call.number, "tokens": call.tokens, "cost": call.cost, "seconds": call.seconds}
    if isinstance(error, GuardError):
        row |= {"error": type(error).__name__, "message": str(error)}
    elif call is not None:
        row["value"] = call.text
    if isinstance(error, CallError):
        row["call"] = error.call
    return row

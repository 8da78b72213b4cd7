"""`guard.map` and `guard.amap`: one function over many inputs, several at a time, and resumed after a kill.

An input becomes a `Question`: a plan, or the error that it can't be asked for. The questions are asked by threads
(`Results`) or by tasks of the caller's event loop (`AsyncResults`); each comes back as a `Result`, in order or as
completed. A run with a name can be resumed: each call's record says which input it answers (guard/trace/records.py
`Item`), in the transaction of the record itself, so that what is recorded is never asked again and what is not is.

At most `concurrency` calls are under way. Inputs are read as they are needed: as many again wait to be asked, and in
order at most AHEAD results wait for an earlier one.
"""

from __future__ import annotations

import asyncio
import atexit
import collections
import contextlib
import dataclasses
import hashlib
import json
import queue
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from guard import errors
from guard.calls import validators
from guard.calls.decorator import Decorated
from guard.calls.pipeline import Guard
from guard.calls.steps import Plan
from guard.errors import CallError, GuardError
from guard.support.bounds import CONCURRENCY, MOST_CONCURRENCY, check, check_kind
from guard.trace import TraceError, TraceStore
from guard.trace.records import VALID, Call, Item

R = TypeVar("R")

AHEAD = 1024  #: Results that wait for an earlier one, in order.

#: How a call ends that the model did answer, though not with a value: to ask again would be to ask twice.
_ANSWERED = frozenset({"ContentFiltered", "Refused", "Truncated", "Unchecked", "ValidationFailed"})


@dataclass(frozen=True)
class Result(Generic[R]):
    """What became of one input."""

    index: int  # of the input, from 0
    input: Any  # as given; a tuple where the function takes several
    answer: R | None = None
    error: GuardError | None = None  # why there is no answer
    call: Call | None = None  # the record; None where nothing was asked, or the call failed: `error.call` is its number
    is_kept: bool = False  # it was recorded before, and not asked again

    @property
    def value(self) -> R:
        """The value; raises the error that there is instead."""
        if self.error is not None:
            raise self.error
        return self.answer  # type: ignore[return-value] # no error: it is one, which may be None


@dataclass(frozen=True)
class Question:
    """One input: what is to be asked, or why it can't be."""

    input: Any
    plan: Plan | None
    error: GuardError | None = None


def map(  # noqa: A001 (called as the built-in is)
    function: Decorated[..., R],
    *inputs: Iterable[Any],
    concurrency: int = CONCURRENCY,
    ordered: bool = True,
    resume: str | None = None,
    retry_failed: bool = False,
) -> Results[R]:
    """Call a function that `guard.structured` made with each input, several at a time; iterate over the results.

    ```python
    for result in guard.map(read_invoice, texts, concurrency=16, resume="invoices of May"):
        print(result.error or result.value)
    ```

    As with the built-in `map`, several iterables are the function's several arguments. Each input has one `Result`: in
    order, or as completed. An input without an answer does not end the run; what is no GuardError does (a validator
    with a bug), and so does a trace that can't be written.

    `resume` names the run. What was recorded under this name is not asked again, wherever the program was killed:
    answers, and calls that the model answered without a valid value, unless `retry_failed`. Inputs are told by what
    they ask and for which type, so that their order may change. The records are the trace's: what that drops is
    forgotten.

    Leaving the iterator (or its `with`) starts nothing more and waits for the calls under way, which are recorded.

    Raises TypeError for a function that is not structured, ValueError for a setting that can't be, TraceError where the
    run can't be recorded.
    """
    questions = _questions(function, inputs)
    return Results(function.guard, questions, MapOptions(concurrency, ordered, resume, retry_failed))


def amap(
    function: Decorated[..., R],
    *inputs: Iterable[Any],
    concurrency: int = CONCURRENCY,
    ordered: bool = True,
    resume: str | None = None,
    retry_failed: bool = False,
) -> AsyncResults[R]:
    """Do what `map` does on the running event loop: `async for result in guard.amap(read_invoice, texts): …`."""
    questions = _questions(function, inputs)
    return AsyncResults(function.guard, questions, MapOptions(concurrency, ordered, resume, retry_failed))


@dataclass(frozen=True)
class MapOptions:
    """How a run of many is done; the names are those of `map`."""

    concurrency: int = CONCURRENCY
    ordered: bool = True
    resume: str | None = None
    retry_failed: bool = False

    def __post_init__(self) -> None:
        check("concurrency", self.concurrency, 1, MOST_CONCURRENCY, is_whole=True)
        check_kind("ordered", self.ordered, bool, "True or False")
        check_kind("retry_failed", self.retry_failed, bool, "True or False")
        name: Any = self.resume
        if name is not None and not (isinstance(name, str) and name.strip()):
            raise ValueError(f"resume={name!r} must be a name for the run, by which it can be resumed")
        if self.retry_failed and self.resume is None:
            raise ValueError("retry_failed=True needs resume=…, the name of the run that failed")


class Results(Iterator[Result[R]]):
    """The results of a run, from threads; may be iterated over once, and closed before its end."""

    def __init__(self, guard: Guard, questions: Iterable[Question], options: MapOptions) -> None:
        self._run = _MapRun(guard, questions, options)
        self._todo: queue.SimpleQueue[tuple[int, Question] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Result[R] | BaseException] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._under_way = 0
        weakref.finalize(self, _abandon, self._todo, self._threads).atexit = False
        _open.add(self)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Result[R]:
        run = self._run
        while not run.ready:
            while (task := run.next(self._under_way)) is not None:
                self._ask(task)
            if not self._under_way:
                _abandon(self._todo, self._threads)
                raise StopIteration
            done = self._done.get()
            self._under_way -= 1
            if isinstance(done, BaseException):
                self._settle()
                raise done
            run.take(done)
        return run.ready.popleft()

    def finish(self) -> Iterator[Result[R]]:
        """Start nothing more, wait for the calls under way, and yield what was not handed on; there may be gaps."""
        self._settle()
        yield from self._run.rest()

    @property
    def under_way(self) -> int:
        """Calls that have begun, or are about to, and have not ended."""
        return self._under_way

    def close(self) -> None:
        """Start nothing more, and wait for the calls under way."""
        self._settle()
        self._run.drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _settle(self) -> None:
        self._run.stop()
        _abandon(self._todo, self._threads)
        for thread in self._threads:
            thread.join()
        self._under_way = 0
        with contextlib.suppress(queue.Empty):
            while True:
                done = self._done.get_nowait()
                if isinstance(done, Result):
                    self._run.take(done)

    def _ask(self, task: tuple[int, Question]) -> None:
        self._todo.put(task)
        self._under_way += 1
        if len(self._threads) < min(self._under_way, self._run.options.concurrency):
            # Daemons: a program that is interrupted while it waits for them may go on to its end.
            work = (self._run.result, self._todo, self._done)  # not self: what is dropped is to be collected
            thread = threading.Thread(target=_work, args=work, name="guard-map", daemon=True)
            self._threads.append(thread)
            _alive.add(thread)
            thread.start()


#: Runs that somebody holds, and threads that are at work. At exit all are ended: a thread that is still in a model's
#: native code while the interpreter goes ends the process with a crash.
_open: weakref.WeakSet[Results[Any]] = weakref.WeakSet()
_alive: set[threading.Thread] = set()


@atexit.register
def _end_all() -> None:
    for results in list(_open):
        results._run.stop()
        _abandon(results._todo, results._threads)
    for thread in list(_alive):
        thread.join()


def _work(
    ask: Callable[[int, Question], Result[Any]], todo: queue.SimpleQueue[Any], done: queue.SimpleQueue[Any]
) -> None:
    while (task := todo.get()) is not None:
        try:
            done.put(ask(*task))
        except BaseException as error:
            done.put(error)
    _alive.discard(threading.current_thread())


def _abandon(todo: queue.SimpleQueue[Any], threads: list[threading.Thread]) -> None:
    """Take back what was not begun, and end the threads after what they are at."""
    with contextlib.suppress(queue.Empty):
        while True:
            todo.get_nowait()
    for _ in threads:
        todo.put(None)


class AsyncResults(Generic[R]):
    """The results of a run, from tasks of one event loop; may be iterated over once, and closed before its end."""

    def __init__(self, guard: Guard, questions: Iterable[Question], options: MapOptions) -> None:
        self._run = _MapRun(guard, questions, options)
        self._tasks: set[asyncio.Task[Result[R]]] = set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Result[R]:
        run = self._run
        await asyncio.to_thread(run.prepare)
        limit = run.options.concurrency
        while not run.ready:
            while len(self._tasks) < limit and (task := run.next(len(self._tasks))) is not None:
                self._tasks.add(asyncio.create_task(run.aresult(*task)))
            if not self._tasks:
                raise StopAsyncIteration
            done, self._tasks = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            try:
                for ended in done:
                    run.take(ended.result())
            except BaseException:
                await self.aclose()
                raise
        return run.ready.popleft()

    async def aclose(self) -> None:
        """Start nothing more, and wait for the calls under way; cancelled meanwhile, it cancels them."""
        self._run.stop()
        tasks, self._tasks = self._tasks, set()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            for task in tasks:
                task.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class _MapRun:
    """What both ways have in common: which question is next, what is recorded of it, and which result is handed on."""

    def __init__(self, guard: Guard, questions: Iterable[Question], options: MapOptions) -> None:
        self.options = options
        self.ready: collections.deque[Result[Any]] = collections.deque()
        self._guard = guard
        self._questions = enumerate(questions)
        self._kept: dict[str, tuple[int, str]] | None = None  # None: not looked up yet
        self._seen: collections.Counter[str] = collections.Counter()
        self._asked = self._handed_on = 0
        self._waiting: dict[int, Result[Any]] = {}  # in order: for an earlier one
        self._is_over = False

    def prepare(self) -> None:
        """Look up what is recorded of the run; blocks."""
        if self._kept is None:
            name = self.options.resume
            self._kept = {} if name is None else self._guard.store.items(name)

    def next(self, under_way: int) -> tuple[int, Question] | None:
        """Return the next question and its number; None where there is none, or enough wait."""
        if self._is_over or under_way >= 2 * self.options.concurrency:
            return None
        if self.options.ordered and self._asked - self._handed_on >= AHEAD + self.options.concurrency:
            return None
        self.prepare()
        try:
            index, question = next(self._questions)
        except StopIteration:
            self._is_over = True
            return None
        self._asked += 1
        if self.options.resume is not None and question.plan is not None:
            key = _digest(question.plan)
            self._seen[key] += 1
            item = Item(self.options.resume, f"{key}-{self._seen[key]}")
            question = dataclasses.replace(question, plan=dataclasses.replace(question.plan, item=item))
        return index, question

    def stop(self) -> None:
        """Give no further question out."""
        self._is_over = True

    def take(self, result: Result[Any]) -> None:
        """Take a result, and put what may be handed on among the ready ones."""
        if not self.options.ordered:
            self.ready.append(result)
            return
        self._waiting[result.index] = result
        while self._handed_on in self._waiting:
            self.ready.append(self._waiting.pop(self._handed_on))
            self._handed_on += 1

    def rest(self) -> Iterator[Result[Any]]:
        """Yield what was not handed on; in order, there may be gaps."""
        yield from self.ready
        yield from sorted(self._waiting.values(), key=lambda result: result.index)
        self.drop()

    def drop(self) -> None:
        """Forget what was not handed on."""
        self.ready.clear()
        self._waiting.clear()

    def result(self, index: int, question: Question) -> Result[Any]:
        """Ask a question, blocking."""
        known = self._known(index, question)
        if known is not None:
            return known
        assert question.plan is not None
        with _failing(index, question) as failed:
            value, call = self._guard.run(question.plan)
            return Result(index, question.input, value, call=call)
        return failed[0]

    async def aresult(self, index: int, question: Question) -> Result[Any]:
        """Ask a question."""
        known = await asyncio.to_thread(self._known, index, question) if self._kept else self._known(index, question)
        if known is not None:
            return known
        assert question.plan is not None
        with _failing(index, question) as failed:
            value, call = await self._guard.arun(question.plan)
            return Result(index, question.input, value, call=call)
        return failed[0]

    def _known(self, index: int, question: Question) -> Result[Any] | None:
        """Return the result of a question that need not be asked, or None."""
        plan = question.plan
        if plan is None:
            return Result(index, question.input, error=question.error)
        number, outcome = (self._kept or {}).get(plan.item.key, (0, "")) if plan.item is not None else (0, "")
        if outcome != VALID and (outcome not in _ANSWERED or self.options.retry_failed):
            return None
        return _revived(index, question, plan, self._guard.store, number)


@contextlib.contextmanager
def _failing(index: int, question: Question) -> Iterator[list[Result[Any]]]:
    """Make the result of a call that fails; a trace that can't be written fails the run."""
    made: list[Result[Any]] = []
    try:
        yield made
    except TraceError:
        raise
    except GuardError as error:
        made.append(Result(index, question.input, error=error))


def _revived(index: int, question: Question, plan: Plan, store: TraceStore, number: int) -> Result[Any] | None:
    """Return the result of a call on record; None where the record is gone, or its answer holds no more."""
    call = store.read(number)
    if call is None:
        return None
    if call.outcome != VALID:
        last = call.attempts[-1] if call.attempts else None
        kind: type[CallError] = getattr(errors, call.outcome)
        error = kind(call.error).recorded(last.findings if last else (), call.attempts, number)
        return Result(index, question.input, error=error, is_kept=True)
    value, findings = plan.target.check(call.text)
    if not findings and plan.validators:
        findings = validators.check(value, plan.validators)
    return None if findings else Result(index, question.input, value, call=call, is_kept=True)


def _digest(plan: Plan) -> str:
    """Tell questions apart: what is asked, and for a value of which type. Who is asked, and how often, is no part."""
    parts = [plan.function, plan.target.compiled.hash, plan.messages]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=repr).encode()).hexdigest()[:32]


def _questions(function: Decorated[..., Any], inputs: tuple[Iterable[Any], ...]) -> Iterator[Question]:
    if not isinstance(function, Decorated):
        raise TypeError(f"map() takes a function that guard.structured made, not {function!r}")
    if not inputs:
        raise TypeError("map() needs an iterable of inputs: guard.map(read, texts)")
    for iterable in inputs:
        if isinstance(iterable, str | bytes):
            raise TypeError("map() takes an iterable of inputs, and a text is one input: guard.map(read, [text])")
        if not isinstance(iterable, Iterable):
            raise TypeError(f"map() takes an iterable of inputs, not {iterable!r}: guard.map(read, texts)")
    return _planned(function, inputs)


def _planned(function: Decorated[..., Any], inputs: tuple[Iterable[Any], ...]) -> Iterator[Question]:
    plan: Callable[..., Plan] = function.plan
    for arguments in zip(*inputs, strict=len(inputs) > 1):
        given = arguments[0] if len(arguments) == 1 else arguments
        yield Question(given, plan(*arguments))

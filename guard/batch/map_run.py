"""One run over many inputs: its questions and results, which question is next, and what is recorded of it.

guard/batch/mapping.py asks the questions by threads and tasks, guard/batch/ray_engine.py by the workers of a cluster. A
run with a name can be resumed: each call's record says which input it answers (guard/trace/records.py `Item`), in the
transaction of the record itself, so that what is recorded is never asked again and what is not is.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import hashlib
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar

from guard import errors
from guard.batch.inputs import InputError
from guard.calls import prompts, validators
from guard.calls.pipeline import Guard
from guard.calls.steps import Plan, Record
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
    input: Any = field(hash=False)  # as given; a tuple where the function takes several
    answer: R | None = field(default=None, hash=False)
    error: GuardError | None = None  # why there is no answer
    #: The record; None where nothing was asked, or the call failed: `error.call` is its number.
    call: Call | None = field(default=None, repr=False)
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

    @classmethod
    def planned(cls, given: Any, plan: Callable[[], Plan]) -> Self:
        """Plan what is asked of an input. One that can't be asked about, too long or no text, has an error alone."""
        try:
            return cls(given, plan())
        except (CallError, InputError) as error:
            return cls(given, None, error)
        except prompts.UnshowableError as error:
            return cls(given, None, InputError(str(error)))


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


class AnyResults(Iterator[Result[R]], ABC):
    """The results of a run; may be iterated over once, and closed before its end."""

    def __iter__(self) -> Self:
        return self

    @abstractmethod
    def finish(self) -> Iterator[Result[R]]:
        """Start nothing more, wait for the calls under way, and yield what was not handed on; there may be gaps."""

    @property
    @abstractmethod
    def under_way(self) -> int:
        """Calls that have begun, or are about to, and for whose end `finish` waits."""

    @abstractmethod
    def close(self) -> None:
        """Start nothing more, and wait for the calls under way."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class MapRun:
    """What all ways have in common: which question is next, what is recorded of it, and which result is handed on."""

    def __init__(
        self,
        guard: Guard,
        questions: Iterable[Question],
        options: MapOptions,
        kept: dict[str, tuple[int, str]] | None = None,
    ) -> None:
        """Take what is to be asked, and what is known to be recorded of it; None: it is looked up."""
        self.options = options
        self.ready: collections.deque[Result[Any]] = collections.deque()
        self._guard = guard
        self._questions = enumerate(questions if options.resume is None else keyed(questions, options.resume))
        self._kept = kept
        self._asked = self._handed_on = 0
        self._waiting: dict[int, Result[Any]] = {}  # in order: for an earlier one
        self._is_over = False
        self._fault: Exception | None = None  # what the inputs ended with, where that was one
        self._taken = threading.Lock()

    @property
    def is_prepared(self) -> bool:
        """Whether it is known what is recorded of the run."""
        return self._kept is not None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep others from the results meanwhile; RuntimeError where another thread or task takes one just now."""
        if not self._taken.acquire(blocking=False):
            raise RuntimeError("the run is iterated over already, by another thread or task; have one take its results")
        try:
            yield
        finally:
            self._taken.release()

    def prepare(self) -> None:
        """Look up what is recorded of the run; blocks."""
        if self._kept is None:
            name = self.options.resume
            self._kept = {} if name is None else self._guard.store.items(name)

    def next(self, under_way: int) -> tuple[int, Question] | None:
        """Return the next question and its number; None where there is none, or enough wait.

        Inputs that end with an exception end there: what was begun is handed on first, then `end` raises it.
        """
        if self._is_over or under_way >= 2 * self.options.concurrency:
            return None
        if self.options.ordered and self._asked - self._handed_on >= AHEAD + self.options.concurrency:
            return None
        self.prepare()
        found = self._question()
        self._asked += found is not None
        return found

    def all(self) -> Iterator[tuple[int, Question]]:
        """Yield all questions and their numbers, however many wait; of inputs that end with an exception as `next`."""
        return iter(self._question, None)

    def _question(self) -> tuple[int, Question] | None:
        try:
            return next(self._questions)
        except StopIteration:
            self._is_over = True
        except Exception as error:
            self._is_over, self._fault = True, error
        return None

    def end(self) -> None:
        """Raise what the inputs ended with, once, where that was an exception; all results are handed on."""
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault

    def stop(self) -> None:
        """Give no further question out."""
        self._is_over, self._fault = True, None

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
        known = self.known(index, question)
        if known is not None:
            return known
        assert question.plan is not None
        with _failing(index, question) as failed:
            value, call = self._guard.run(question.plan)
            return Result(index, question.input, value, call=call)
        return failed[0]

    def carried_out(self, index: int, question: Question) -> Result[Any] | Unrecorded:
        """Ask a question, blocking, except for its record."""
        known = self.known(index, question)
        if known is not None:
            return known
        assert question.plan is not None
        driven = self._guard.run_to_record(question.plan)
        return Unrecorded(index, question, driven, next(driven))

    def record(self, calls: Sequence[Unrecorded]) -> list[Result[Any] | BaseException]:
        """Commit the records of calls together, blocking; return the result of each, or what ends the run."""
        store, numbers = self._guard.store, list[int | Exception]()
        try:
            numbers += store.write_all([(one.record.call, one.record.compiled, one.record.seconds) for one in calls])
        except Exception as error:
            numbers += [error] * len(calls)
        return [one.ended(number, store) for one, number in zip(calls, numbers, strict=True)]

    async def aresult(self, index: int, question: Question) -> Result[Any]:
        """Ask a question."""
        known = await asyncio.to_thread(self.known, index, question) if self._kept else self.known(index, question)
        if known is not None:
            return known
        assert question.plan is not None
        with _failing(index, question) as failed:
            value, call = await self._guard.arun(question.plan)
            return Result(index, question.input, value, call=call)
        return failed[0]

    def known(self, index: int, question: Question) -> Result[Any] | None:
        """Return the result of a question that need not be asked, or None."""
        plan = question.plan
        if plan is None:
            return Result(index, question.input, error=question.error)
        number, outcome = (self._kept or {}).get(plan.item.key, (0, "")) if plan.item is not None else (0, "")
        if outcome != VALID and (outcome not in _ANSWERED or self.options.retry_failed):
            return None
        return _revived(index, question, plan, self._guard.store, number)


@dataclass(frozen=True)
class Unrecorded:
    """A call that was carried out, except for its record."""

    index: int
    question: Question
    driven: Generator[Record, Call, tuple[Any, Call]]  # ends the call once it is sent the record
    record: Record

    def ended(self, number: int | Exception, store: TraceStore) -> Result[Any] | BaseException:
        """Return the call's result, whose record has this number or could not be written; or what ends the run."""
        try:
            with _failing(self.index, self.question) as failed:
                if isinstance(number, Exception):
                    self.driven.throw(number)
                else:
                    self.driven.send(self.record.call.recorded(number, store))
            return failed[0]
        except StopIteration as end:
            value, call = end.value
            return Result(self.index, self.question.input, value, call=call)
        except BaseException as error:
            return error


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


def keyed(questions: Iterable[Question], run: str) -> Iterator[Question]:
    """Say of each question which input of a run it is: by what is asked, and which it is of several that are alike."""
    seen: collections.Counter[str] = collections.Counter()
    for question in questions:
        if question.plan is not None:
            key = digest(question.plan)
            seen[key] += 1
            item = Item(run, f"{key}-{seen[key]}")
            question = dataclasses.replace(question, plan=dataclasses.replace(question.plan, item=item))
        yield question


def digest(plan: Plan) -> str:
    """Tell questions apart: what is asked, and for a value of which type. Who is asked, and how often, is no part."""
    parts = [plan.function, plan.target.compiled.hash, plan.messages]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=repr).encode()).hexdigest()[:32]

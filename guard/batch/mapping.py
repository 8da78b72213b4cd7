"""`guard.map` and `guard.amap`: one function over many inputs, several at a time, and resumed after a kill.

An input becomes a `Question`: a plan, or the error that it can't be asked for. The questions are asked by threads
(`Results`), by tasks of the caller's event loop (`AsyncResults`), or by a Ray cluster (guard/batch/ray_engine.py); each
comes back as a `Result`, in order or as completed. Threads don't wait for their records: one more thread commits them,
all that came while it committed the last ones together, and no result is handed on before its record is committed. What
a run is, and how it is resumed, is guard/batch/map_run.py's.

At most `concurrency` calls are under way. Inputs are read as they are needed: as many again wait to be asked, and in
order at most AHEAD results wait for an earlier one.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import queue
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeAlias, TypeVar

from guard.batch.map_run import AnyResults, MapOptions, MapRun, Question, Result, Unrecorded
from guard.calls.decorator import Decorated
from guard.calls.pipeline import Guard
from guard.calls.steps import Plan
from guard.support.bounds import CONCURRENCY
from guard.trace.record_queue import MOST

if TYPE_CHECKING:
    from guard.batch.ray_engine import RayEngine

R = TypeVar("R")

#: Who asks: this process, or the workers of a Ray cluster.
Engine: TypeAlias = "Literal['threads', 'ray'] | RayEngine"


def map(  # noqa: A001 (called as the built-in is)
    function: Decorated[..., R],
    *inputs: Iterable[Any],
    concurrency: int = CONCURRENCY,
    ordered: bool = True,
    resume: str | None = None,
    retry_failed: bool = False,
    engine: Engine = "threads",
) -> AnyResults[R]:
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
    forgotten. What is on record is looked up as the run begins: one run at a time has a name.

    Leaving the iterator (or its `with`) starts nothing more and waits for the calls under way, which are recorded.

    `engine="ray"` asks with the workers of a Ray cluster (guard/batch/ray_engine.py), `concurrency` at once on each; a
    `guard.integrations.ray.RayEngine` says how many there are, what each needs, and what they may spend together.

    Raises TypeError for a function that is not structured, or that has tools, ValueError for a setting that can't be,
    TraceError where the run can't be recorded.
    """
    questions = _questions(function, inputs)
    return results(function.guard, questions, MapOptions(concurrency, ordered, resume, retry_failed), engine)


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


def results(guard: Guard, questions: Iterable[Question], options: MapOptions, engine: Engine) -> AnyResults[Any]:
    """Begin a run on an engine."""
    if engine == "threads":
        return Results(guard, questions, options)
    from guard.batch import ray_engine

    return ray_engine.results(guard, questions, options, engine)


class Results(AnyResults[R]):
    """The results of a run, from threads."""

    def __init__(self, guard: Guard, questions: Iterable[Question], options: MapOptions) -> None:
        self._run = MapRun(guard, questions, options)
        self._todo: queue.SimpleQueue[tuple[int, Question] | None] = queue.SimpleQueue()
        self._unrecorded: queue.SimpleQueue[Unrecorded | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Result[R] | BaseException] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []  # the first records what the others have asked
        self._under_way = 0
        weakref.finalize(self, _abandon, self._todo, self._threads).atexit = False
        _open.add(self)

    def __next__(self) -> Result[R]:
        with self._run.alone():
            return self._next()

    def _next(self) -> Result[R]:
        run = self._run
        while not run.ready:
            while (task := run.next(self._under_way)) is not None:
                self._ask(task)
            if not self._under_way:
                _abandon(self._todo, self._threads)
                run.end()
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
        with self._run.alone():
            self._settle()
        yield from self._run.rest()

    @property
    def under_way(self) -> int:
        """Calls that have begun, or are about to, and have not ended."""
        return self._under_way

    def close(self) -> None:
        """Start nothing more, and wait for the calls under way."""
        with self._run.alone():
            self._settle()
            self._run.drop()

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
        # Not self is given to the threads: what is dropped is to be collected.
        if not self._threads:
            self._begin(_record, self._run.record, self._unrecorded, self._done, self._threads)
        if len(self._threads) <= min(self._under_way, self._run.options.concurrency):
            self._begin(_work, self._run.carried_out, self._todo, self._unrecorded, self._done)

    def _begin(self, work: Callable[..., None], *what: Any) -> None:
        # A daemon: a program that is interrupted while it waits for it may go on to its end.
        thread = threading.Thread(target=work, args=what, name="guard-map", daemon=True)
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
    ask: Callable[[int, Question], Result[Any] | Unrecorded],
    todo: queue.SimpleQueue[Any],
    unrecorded: queue.SimpleQueue[Any],
    done: queue.SimpleQueue[Any],
) -> None:
    while (task := todo.get()) is not None:
        try:
            made = ask(*task)
            (unrecorded if isinstance(made, Unrecorded) else done).put(made)
        except BaseException as error:
            done.put(error)
    unrecorded.put(None)
    _alive.discard(threading.current_thread())


def _record(
    record: Callable[[Sequence[Unrecorded]], list[Result[Any] | BaseException]],
    unrecorded: queue.SimpleQueue[Unrecorded | None],
    done: queue.SimpleQueue[Any],
    threads: Sequence[threading.Thread],
) -> None:
    """Record calls as they come, those that came meanwhile together, until all other threads have ended."""
    ended = 0
    while not ended or ended < len(threads) - 1:
        came = [unrecorded.get()]
        with contextlib.suppress(queue.Empty):
            while len(came) < MOST:
                came.append(unrecorded.get_nowait())
        ended += came.count(None)
        for result in record([one for one in came if one is not None]):
            done.put(result)
    _alive.discard(threading.current_thread())


def _abandon(todo: queue.SimpleQueue[Any], threads: list[threading.Thread]) -> None:
    """Take back what was not begun, and end the threads after what they are at."""
    with contextlib.suppress(queue.Empty):
        while True:
            todo.get_nowait()
    for _ in threads[1:]:
        todo.put(None)


class AsyncResults(Generic[R]):
    """The results of a run, from tasks of one event loop; may be iterated over once, and closed before its end."""

    def __init__(self, guard: Guard, questions: Iterable[Question], options: MapOptions) -> None:
        self._run = MapRun(guard, questions, options)
        self._tasks: set[asyncio.Task[Result[R]]] = set()
        self._ended: asyncio.Queue[asyncio.Task[Result[R]]] = asyncio.Queue()
        self._was_cancelled = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Result[R]:
        with self._run.alone():
            return await self._next()

    async def _next(self) -> Result[R]:
        run = self._run
        if self._was_cancelled:  # by a time-out around one result, say: the end of the run would look like its success
            raise RuntimeError("the run ended when its task was cancelled; begin it again, with resume=…")
        try:
            if not run.is_prepared:
                await asyncio.to_thread(run.prepare)
            while not run.ready:
                self._begin()
                if not self._tasks:
                    run.end()
                    raise StopAsyncIteration
                task = await self._ended.get()
                self._tasks.discard(task)
                run.take(task.result())
        except Exception:
            await self.aclose()
            raise
        except BaseException:  # cancelled or interrupted: nobody is left to take what the calls under way would bring
            self._was_cancelled = True
            await self._cancel()
            raise
        return run.ready.popleft()

    def _begin(self) -> None:
        """Begin as many calls as may be under way."""
        run = self._run
        while len(self._tasks) < run.options.concurrency and (question := run.next(len(self._tasks))) is not None:
            task = asyncio.create_task(run.aresult(*question))
            self._tasks.add(task)
            task.add_done_callback(self._ended.put_nowait)

    async def aclose(self) -> None:
        """Start nothing more, and wait for the calls under way; cancelled meanwhile, it cancels them."""
        self._run.stop()
        try:
            if self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            await self._cancel()

    async def _cancel(self) -> None:
        """Start nothing more, cancel the calls under way, and wait until they are recorded as far as they came."""
        self._run.stop()
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or issubclass(kind, Exception):
            await self.aclose()
        else:
            self._was_cancelled = True
            await self._cancel()


def _questions(function: Decorated[..., Any], inputs: tuple[Iterable[Any], ...]) -> Iterator[Question]:
    if not isinstance(function, Decorated):
        raise TypeError(f"map() takes a function that guard.structured made, not {function!r}")
    function.check_single("map()")
    if not inputs:
        raise TypeError("map() needs an iterable of inputs: guard.map(read, texts)")
    for iterable in inputs:
        if isinstance(iterable, str | bytes):
            raise TypeError("map() takes an iterable of inputs, and a text is one input: guard.map(read, [text])")
        if isinstance(iterable, Mapping) or not callable(getattr(iterable, "columns", list)):  # pandas', Polars'
            raise TypeError(
                f"map() takes an iterable of inputs, and a {type(iterable).__name__} yields only the names in it;"
                ' give one of its columns, or its values: guard.map(read, table["text"])'
            )
        if not isinstance(iterable, Iterable):
            raise TypeError(f"map() takes an iterable of inputs, not {iterable!r}: guard.map(read, texts)")
    return _planned(function, inputs)


def _planned(function: Decorated[..., Any], inputs: tuple[Iterable[Any], ...]) -> Iterator[Question]:
    plan: Callable[..., Plan] = function.plan
    for arguments in zip(*inputs, strict=len(inputs) > 1):
        given = arguments[0] if len(arguments) == 1 else arguments
        yield Question.planned(given, functools.partial(plan, *arguments))

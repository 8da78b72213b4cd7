"""`guard run` over its inputs, one or a million: asked several at a time, answers out in order, a bar, a summary.

The command line's options become a `Guard`, a type and a `Batch` in guard/cli/app.py. What is asked and resumed is
guard/batch/map_run.py's business, what is read and written that of guard/batch/inputs.py and outputs.py.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import typer

from guard import models
from guard.batch import mapping
from guard.batch.declared_columns import declared
from guard.batch.inputs import Input, InputError, Inputs
from guard.batch.map_run import AnyResults, MapOptions, Question, Result
from guard.batch.outputs import Output, Row
from guard.calls import prompts
from guard.calls.pipeline import CallSettings, Guard
from guard.calls.wholeness import marks
from guard.cli import named
from guard.cli.console import (
    EXIT_INPUT,
    EXIT_INTERRUPTED,
    EXIT_MODEL,
    EXIT_NO_ANSWER,
    Problem,
    complain,
    first_line,
    progress,
    say,
    say_json,
    spoken,
)
from guard.errors import BadReply, CallError, GuardError, ModelError
from guard.output.target import Target
from guard.support import exact_json

if TYPE_CHECKING:
    from guard.calls.decorator import Decorated
    from guard.models import Progress

#: What a call's record says that is run by this command, where it asks for no structured function.
FUNCTION = "guard run"
LINE_EVERY_S = 60.0  #: Between two lines that say how far a run is, where standard error is no terminal.


@dataclass
class Batch:
    """What `guard run` is to do beside what a `Guard` does."""

    inputs: Inputs
    words: Decorated[..., Any] | str  # a function that says what is asked, or an instruction
    concurrency: int
    output: Output | None
    resume: bool
    force: bool
    retry_failed: bool
    as_json: bool
    engine: mapping.Engine = "threads"


@dataclass
class Counts:
    """How far a run is."""

    total: int
    answered: int = 0
    failed: int = 0
    kept: int = 0  # of both, those that were recorded before
    marked: int = 0  # of the answers, those that are not whole
    tokens: int = 0
    cost: float | None = 0.0  # None: a price is not known
    unread: int = 0  # of the failures, inputs that can't be read
    unreached: int = 0  # and those that no model could be asked about
    began: float = field(default_factory=time.perf_counter)

    @property
    def done(self) -> int:
        """Inputs of which the outcome is known."""
        return self.answered + self.failed

    def take(self, result: Result[Any]) -> None:
        """Count a result."""
        self.failed += result.error is not None
        self.unread += isinstance(result.error, InputError)
        self.unreached += isinstance(result.error, ModelError) and not isinstance(result.error, BadReply)
        self.answered += result.error is None
        self.kept += result.is_kept
        self.marked += result.call is not None and not result.call.is_whole
        if result.is_kept:
            return
        attempts = result.call.attempts if result.call else getattr(result.error, "attempts", ())
        for reply in [a.reply for a in attempts if a.reply and not a.reply.is_kept]:
            self.tokens += reply.prompt_tokens + reply.completion_tokens
            self.cost = None if self.cost is None or reply.cost is None else self.cost + reply.cost

    def rate(self) -> float:
        """Return how many inputs a second were asked."""
        return (self.done - self.kept) / max(time.perf_counter() - self.began, 1e-9)

    def valid(self) -> float:
        """Return the share of valid answers, 0 to 1."""
        return self.answered / self.done if self.done else 1.0

    def note(self) -> str:
        """Say how it goes: the share of valid answers, the rate, the time that is left."""
        rate = self.rate()
        left = f", {_span((self.total - self.done) / rate)} left" if rate > 0 else ""
        return f"{self.valid():.1%} valid, {_rate(rate)}/s{left}"

    def exit_code(self) -> int:
        """Return the code that says what the failures have in common."""
        if self.failed == self.unread:
            return EXIT_INPUT
        return EXIT_MODEL if not self.answered and self.failed == self.unreached else EXIT_NO_ANSWER

    def as_dict(self) -> dict[str, Any]:
        """Return the summary for programs."""
        seconds = time.perf_counter() - self.began
        facts = {"inputs": self.total, "answered": self.answered, "failed": self.failed, "recorded_before": self.kept}
        more = {"not_whole": self.marked, "tokens": self.tokens, "cost": self.cost, "seconds": round(seconds, 3)}
        return {**facts, **more, "per_second": round(self.rate(), 3)}

    def summary(self) -> str:
        """Say what became of all inputs."""
        parts = [f"{self.answered:,} of {self.total:,} answered ({self.valid():.1%})", f"{self.failed:,} failed"]
        parts += [f"{self.marked:,} not whole: see cut_at and repeated_at"] if self.marked else []
        parts += [f"{self.kept:,} recorded before"] if self.kept else []
        parts += [f"{self.tokens:,} tokens"]
        parts += [f"${self.cost:.4f}"] if self.cost else []
        seconds = time.perf_counter() - self.began
        return ", ".join([*parts, f"{_span(seconds)}, {_rate(self.rate())} a second"])


def asker(target: str, settings: CallSettings) -> tuple[Guard, Target, Decorated[..., Any] | None]:
    """Return who is asked, for what, and the function whose words are asked, of what a command line calls a type."""
    from guard.calls.decorator import Decorated
    from guard.output.target import from_any, is_schema

    found = named.resolve(target)
    if not isinstance(found, Decorated):
        guard = Guard(**settings)
        guard.policy.check_tiers(len(guard.tiers))
        wanted = from_any(found, guard.options)
        for finding in wanted.compiled.advice() if is_schema(found) else ():
            complain(f"{target}: {spoken(finding)}")
        return guard, wanted, None
    if "options" in settings:
        words = (
            f"--document, --draft and --inexact are for schemas; {target} has the options that it was decorated with"
        )
        raise Problem(f"{words}; leave them out")
    if found.tools:
        raise Problem(f"{target} has tools, and guard run asks in one turn; call the function in a program")
    if len(found.inputs) != 1:
        raise Problem(f"{target} takes {', '.join(found.inputs) or 'nothing'}; guard run gives it one text")
    used: Any = found.using(**settings)
    function = used.__get__(object())  # of a method, that of any object: self is no input
    function.guard.policy.check_tiers(len(function.guard.tiers))
    return function.guard, function.target, function


def run(guard: Guard, wanted: Target, batch: Batch) -> None:
    """Ask for a value of the type from each input; exits with the code that says whether all were answered."""
    counts = Counts(len(batch.inputs))
    if counts.total == 1:  # said before a model is loaded for it
        error = next(questions(guard, wanted, batch.inputs, batch.words)).error
        if isinstance(error, InputError):
            raise Problem(str(error))
        if error is not None:
            raise error
    guard.store.check_writable()
    with contextlib.ExitStack() as stack:
        options = MapOptions(batch.concurrency, resume=_begun(guard, batch, stack), retry_failed=batch.retry_failed)
        report, advance = stack.enter_context(_progress(counts))
        try:
            if guard.mode != "replay" and batch.engine == "threads":  # else no weights are needed here
                for tier in guard.tiers:
                    if isinstance(tier, str):
                        models.check_there(tier)
                models.load(guard.tiers[0], report)
        except ModelError as error:
            raise Problem(str(error), EXIT_MODEL) from error
        counts.began = time.perf_counter()
        results = mapping.results(guard, questions(guard, wanted, batch.inputs, batch.words), options, batch.engine)
        try:
            for result in results:
                _take(result, counts, batch)
                advance(str(result.input))
        except KeyboardInterrupt:
            _leave(results, counts, batch)
        if batch.output is not None:
            batch.output.finish(declared(wanted.schema) if wanted.is_json else {"value": "text"})
    _sum_up(counts, batch)
    if counts.failed:
        raise typer.Exit(counts.exit_code())


def _begun(guard: Guard, batch: Batch, stack: contextlib.ExitStack) -> str | None:
    """Open the output; return the run's name, by which its records are found again. Problem where it must not begin."""
    output = batch.output
    if output is None:
        return None
    read = {path.resolve() for path in batch.inputs.files}
    if taken := next((path for path in output.files if path.resolve() in read), None):
        raise Problem(f"{taken} is one of the inputs, and the run would write over it; name another --output")
    name = f"{FUNCTION} --output {output.path.resolve()}"
    if output.is_begun and not batch.force:
        _check_resumed(guard, batch, output, name)
    kept = guard.store.retention.calls
    if kept is not None and kept < len(batch.inputs):
        raise Problem(
            f"trace_calls={kept} keeps fewer records than the {len(batch.inputs):,} inputs, so that --resume could not"
            " find their answers; raise it, or name another trace in GUARD_TRACE"
        )
    try:
        output.begin()
    except InputError as error:
        raise Problem(str(error)) from None
    stack.callback(output.close)
    if not batch.resume:
        guard.store.forget_items(name)
    return name


def _check_resumed(guard: Guard, batch: Batch, output: Output, name: str) -> None:
    """Raise a Problem where an output that is there would be lost: it is not the run's that is resumed, or has more."""
    there = output.path if output.path.exists() else output.partial
    if not guard.store.items(name) and not (batch.resume and _has_no_answers(output)):
        raise Problem(f"{there} is there already, and no run that the trace knows wrote it; --force writes over it")
    if not batch.resume:
        raise Problem(f"{there} is there already; --resume goes on with that run, --force begins it anew")
    try:
        answered = output.answered()
    except InputError as error:
        raise Problem(f"{error}, or give --force, which begins the run anew") from None
    if answered > len(batch.inputs):
        raise Problem(
            f"{there} has answers to {answered:,} inputs, and {len(batch.inputs):,} are named now; name those as well,"
            " another --output, or --force, which begins it anew"
        )


def _has_no_answers(output: Output) -> bool:
    """Whether an output is of a run that has left no records: it had no input, or none that could be read."""
    with contextlib.suppress(InputError):
        return (output.failures.exists() or output.is_empty) and not output.answered()
    return False


def questions(guard: Guard, wanted: Target, inputs: Inputs, words: Decorated[..., Any] | str) -> Iterator[Question]:
    """Yield what is asked of each input."""
    for source in inputs:
        try:
            text = source.text()
        except InputError as error:
            yield Question(source, None, error)
            continue
        if not isinstance(words, str):
            yield Question.planned(source, functools.partial(words.plan, text))
            continue
        messages = prompts.build(words, {"text": text}, wanted.shown_schema, system=guard.system)
        more: Any = {"template": prompts.template(wanted.is_json), "function": FUNCTION, "sources": {"text": text}}
        yield Question.planned(source, functools.partial(guard.plan, wanted, messages, **more))


def _take(result: Result[Any], counts: Counts, batch: Batch) -> None:
    """Count a result, and write or print it."""
    counts.take(result)
    output, source = batch.output, result.input
    if result.error is not None:
        if output is None:
            said = first_line(result.error)
            complain(said if isinstance(result.error, InputError) else f"{source}: {said}")
        else:
            output.fail(_failure(source, result.error))
    elif output is not None:
        output.add(_row(result))
    elif batch.as_json:
        say_json(_row(result))
    else:
        if counts.total > 1:
            say(f"# {source}")
        say_json(_row(result)["value"], indent=2)
    if output is None and result.call is not None:
        for words in marks(result.call):
            complain(f"{source}: {words}")


def _row(result: Result[Any]) -> Row:
    """Return an answer as it is written: where it comes from, the value, and figures of its call."""
    call = result.call
    assert call is not None
    facts = {"value": exact_json.read(call.text), "call": call.number, "attempts": len(call.attempts)}
    not_whole = {"cut_at": list(call.cut_at), "repeated_at": list(call.repeated_at)}
    return {**_place(result.input), **facts, "tokens": call.tokens, "seconds": round(call.seconds, 3), **not_whole}


def _failure(source: Input, error: GuardError) -> Row:
    row = {**_place(source), "error": type(error).__name__, "message": str(error)}
    if isinstance(error, CallError):
        row |= {"call": error.call, "findings": [vars(finding) for finding in error.findings]}
    return row


def _place(source: Input) -> dict[str, Any]:
    place: dict[str, Any] = {"input": source.name}
    if source.row is not None:
        place["row"] = source.row
    return {**place, "columns": dict(source.columns)} if source.columns else place


def _leave(results: AnyResults[Any], counts: Counts, batch: Batch) -> None:
    """End after an interrupt: the calls under way are paid for, and are waited for until a second one."""
    if results.under_way:
        complain("interrupted; waiting for the calls under way, which Ctrl-C again leaves")
    try:
        for result in results.finish():
            _take(result, counts, batch)
    except KeyboardInterrupt:
        complain("interrupted")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(EXIT_INTERRUPTED)  # at an exit that waits for nobody, weights that are at work end in a crash
    if batch.output is not None:
        words = f"interrupted: {counts.answered:,} of {counts.total:,} answered; the same command with --resume goes on"
        raise Problem(words, EXIT_INTERRUPTED)
    raise KeyboardInterrupt


def _sum_up(counts: Counts, batch: Batch) -> None:
    output = batch.output
    if output is None:
        return
    if batch.as_json:
        files = {"output": str(output.path), "failures": str(output.failures) if counts.failed else None}
        say_json({**counts.as_dict(), **files})
        return
    say(f"{output.path}: {counts.summary()}", err=True)
    if counts.failed:
        say(f"what failed is in {output.failures}; {_advice(counts)}", err=True)


def _advice(counts: Counts) -> str:
    """Say how what failed is asked again: what a model did answer, only with --retry-failed."""
    mend = "mend the inputs that can't be read; " if counts.unread else ""
    is_answered = counts.failed > counts.unread + counts.unreached
    return f"{mend}--resume{' --retry-failed' if is_answered else ''} asks it again"


@contextlib.contextmanager
def _progress(counts: Counts) -> Iterator[tuple[Progress, Any]]:
    """Show a bar with rate, valid share and remaining time; where nobody looks, a line now and then."""
    with progress(counts.total, note=counts.note) as (report, advance):
        said = time.monotonic()

        def step(name: str) -> None:
            nonlocal said
            advance(name, 1)
            if not sys.stderr.isatty() and time.monotonic() - said >= LINE_EVERY_S:
                said = time.monotonic()
                say(f"guard: {counts.done:,} of {counts.total:,}, {counts.note()}", err=True)

        yield report, step


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}" if rate >= 1 else f"{rate:.2g}"


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"

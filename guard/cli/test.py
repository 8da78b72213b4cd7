"""`guard test`: the harness, a model that misbehaves behind an address, and the evaluation of models.

What is given decides what is done: a function, `module:function`, or an address is put under test; schemas and types
with --model are what models are evaluated on, and without it what Guard's own pipeline is tested on; --serve serves.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from guard.cli.console import (
    EXIT_MODEL,
    EXIT_NO_ANSWER,
    EXIT_SCHEMA,
    AsJson,
    Force,
    Problem,
    bounded,
    check_new,
    complain,
    console,
    examples,
    first_line,
    progress,
    say,
    say_json,
    spoken,
    table,
)
from guard.cli.named import read_text, resolve_type
from guard.models.local.cache import cache_dir
from guard.support.bounds import LEAST_SEED, MOST_COUNT, MOST_SECONDS, MOST_SEED

if TYPE_CHECKING:
    from guard.testing.evaluation import Case, Comparison, Evaluation
    from guard.testing.search import Report

INSTRUCTION = "Read the text."  #: What models are asked in an evaluation where --instruction says nothing else.
#: What is asked where an evaluation has no cases: only validity and cost can be measured then.
EXAMPLES = tuple(f"Make up example number {number}." for number in range(1, 6))

HELP_EXAMPLES = examples(
    "guard test shop.invoices:read_invoice",
    "guard test app.py:classify --schema ticket.schema.json --runs 300 --html report.html --junit report.xml",
    "guard test http://127.0.0.1:8000/v1 --schema ticket.json --port 9000   (the service asks 127.0.0.1:9000/v1)",
    "guard test ticket.schema.json   (Guard's own pipeline, on your schema)",
    "guard test ticket.schema.json --model smollm2 --model openai:gpt-5-mini --cases cases.jsonl --plot models.png",
    "guard test --serve ticket.schema.json --port 9000 --seed 7   (a model that misbehaves, for any client)",
)


def harness(
    subjects: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SUBJECT…",
            help="module:function, file.py:function, an address (http://…/v1), a JSON Schema's file, or a type.",
            show_default=False,
        ),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="MODEL", help="Evaluate this model on the schemas. Twice: compare the two."),
    ] = None,
    cases: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help='Of the evaluation: JSON lines of {"input", "expected", "schema"}.'),
    ] = None,
    schema: Annotated[
        str | None,
        typer.Option(metavar="SCHEMA_OR_MODULE:TYPE", help="What the function returns, where it does not tell."),
    ] = None,
    runs: Annotated[int, bounded(0, MOST_COUNT, "Answers drawn beside each fault alone.")] = 100,
    seed: Annotated[
        int, bounded(LEAST_SEED, MOST_SEED, "Decides what is drawn; printed, so that a run can be repeated.")
    ] = 0,
    seconds: Annotated[
        float | None,
        bounded(0.1, MOST_SECONDS, "When to stop looking, for each subject."),
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(metavar="INVARIANT", help="One that is not meant to hold. May be repeated.")
    ] = None,
    faults: Annotated[
        list[str] | None, typer.Option("--fault", metavar="FAULT", help="Only these may happen. May be repeated.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on advice, too: what readers of JSON do.")] = False,
    serve: Annotated[bool, typer.Option("--serve", help="Serve a model that misbehaves, until Ctrl-C.")] = False,
    port: Annotated[int, bounded(0, 65535, "Where the harness's own server listens; 0 takes a free one.")] = 0,
    rate: Annotated[float, bounded(0, 1, "Of --serve: the share of answers that are bad.")] = 0.5,
    instruction: Annotated[str, typer.Option(help="Of the evaluation: what models are told to do.")] = INSTRUCTION,
    retries: Annotated[int | None, bounded(0, MOST_COUNT, "Of the evaluation: re-asks of an answer.")] = None,
    max_tokens: Annotated[int | None, bounded(1, MOST_COUNT, "Of the evaluation: of each answer.")] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SHARE", help="Of the evaluation: fail below it: valid=0.99, right=0.9, exact=…"),
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit's XML.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one page of HTML.")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Of the evaluation: .png, .svg or .pdf.")] = None,
    force: Force = False,
    every: Annotated[bool, typer.Option("--all", help="Show the invariants that hold, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look for an answer of a model that breaks an application; or measure how well models do.

    An application is called with a model that says whatever a model may say: valid values at their limits, near
    misses, cut-off and badly written JSON, refusals, faults of the network. Invariants must hold, such as: an
    error where there is no valid answer, nothing invented, bounded requests. What breaks one is cut down to the
    smallest. Exit code 1: something does not hold, or --require is not met.
    """
    if importlib.util.find_spec("hypothesis") is None:
        raise Problem("guard test needs hypothesis: pip install 'guard-slm[testing]'")
    # Hypothesis keeps what it knows of Python's code in a folder, which is not to appear where the command is called.
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(cache_dir() / "hypothesis"))
    for path in (junit, html, plot):
        if path is not None:
            check_new(path, force)
    given = subjects or []
    if serve:
        _serve(given, seed=seed, port=port, rate=rate, faults=faults)
        return
    if not given:
        raise Problem("nothing to test; name a function, an address, a schema, or --serve")
    if models:
        if junit is not None or schema is not None or without or faults or strict or every:
            raise Problem("--junit, --schema, --without, --fault, --strict and --all are for applications, not --model")
        _evaluate(
            given, models, cases, instruction, retries, max_tokens, seed,
            requirements=[_requirement(one) for one in require or ()], plot=plot, html=html, as_json=as_json,
        )  # fmt: skip
        return
    if cases is not None or plot is not None or require:
        raise Problem("--cases, --plot and --require belong to an evaluation; name a --model")
    options: dict[str, Any] = {"seed": seed, "runs": runs, "without": without or (), "seconds": seconds, "port": port}
    options["strict"] = strict
    if faults:
        options["faults"] = tuple(faults)
    with progress(0, "testing") as (report, _):
        reports = [_searched(subject, schema, options, report) for subject in given]
    if as_json:
        from guard.testing.report import as_dict

        for one in reports:
            say_json(as_dict(one))
    else:
        from guard.testing.report import as_text

        for one in reports:
            say(as_text(one, every=every))
    _write_reports(reports, junit, html)
    if not all(one.holds for one in reports):
        raise typer.Exit(EXIT_NO_ANSWER)


def _searched(subject: str, schema: str | None, options: dict[str, Any], report: Any) -> Report:
    from guard.calls.pipeline import Guard
    from guard.errors import SchemaError
    from guard.testing.search import Check

    wanted = None if schema is None else resolve_type(schema)[0]
    found: Any = subject
    if not subject.startswith(("http://", "https://")):
        # Imported by the search itself where it is a function: it finds the harness's address then.
        is_schema = ":" not in subject or Path(subject).exists()
        if is_schema:
            wanted, found = resolve_type(subject)[0], Guard()
    try:
        search = Check(found, schema=wanted, **options)
        made = search.run(lambda done, known: report(subject, done, known))
    except SchemaError as error:  # in the library's words: this command has no options of compiling
        raise Problem(f"the schema is refused: {first_line(error)}", EXIT_SCHEMA) from None
    except (TypeError, ValueError) as error:
        raise Problem(spoken(error)) from None
    if made.subject == "guard.Guard":
        made.subject = subject
    return made


def _write_reports(reports: Sequence[Report], junit: Path | None, html: Path | None) -> None:
    from guard.testing.report import as_html, as_junit

    for path, text in ((junit, as_junit), (html, as_html)):
        if path is not None:
            _write(path, text(reports))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise Problem(f"{path} can't be written: {error.strerror}; name another file") from None


def _serve(given: Sequence[str], *, seed: int, port: int, rate: float, faults: Sequence[str] | None) -> None:
    """Serve until Ctrl-C."""
    import threading

    from guard.testing.flaky import serving
    from guard.testing.scripted_replies import FAULTS

    if len(given) > 1:
        raise Problem("--serve answers for one schema, where a request carries none; name one")

    def told(ask: Any) -> None:
        say(f"{ask.number} {ask.model}: {ask.reply.how}")

    try:
        schema = resolve_type(given[0])[0] if given else True
        with serving(seed, tuple(faults or FAULTS), rate=rate, schema=schema, port=port, told=told) as server:
            say(f"serving at {server.url} (seed {seed}); Ctrl-C ends it", err=True)
            threading.Event().wait()
    except OSError as error:
        raise Problem(f"port {port} can't be used: {error.strerror}; name another") from None
    except ValueError as error:
        raise Problem(spoken(error)) from None


# ---- Evaluation ------------------------------------------------------------------------------------------------------


def _evaluate(
    given: Sequence[str],
    models: Sequence[str],
    cases: Path | None,
    instruction: str,
    retries: int | None,
    max_tokens: int | None,
    seed: int,
    *,
    requirements: Sequence[tuple[str, float]],
    plot: Path | None,
    html: Path | None,
    as_json: bool,
) -> None:
    from guard import models as all_models
    from guard.calls.pipeline import Guard
    from guard.errors import ModelError
    from guard.output.target import from_any
    from guard.testing import evaluation, plots
    from guard.testing.figures import page

    if plot is not None and plot.suffix not in (".png", ".svg", ".pdf"):
        raise Problem(f"--plot {plot} must end in .png, .svg or .pdf")
    try:
        known = (
            [evaluation.Case(text) for text in EXAMPLES]
            if cases is None
            else evaluation.read_cases(cases, read_text(cases))
        )
    except (ValueError, OSError) as error:
        raise Problem(spoken(error)) from None
    mine = [(name, _of_schema(known, name, given)) for name in given]
    try:
        for name, part in mine:
            evaluation.check_expected(from_any(resolve_type(name)[0], {"inexact": "residual"}), part)
    except ValueError as error:
        raise Problem(spoken(error)) from None
    if cases is None:
        asked_first = f"{EXAMPLES[0]!r} to {EXAMPLES[-1]!r}"
        say(f"no --cases are named: each model is asked {asked_first}, which tells validity and cost alone", err=True)
    evaluations: list[Evaluation] = []
    total = len(models) * sum(len(part) for _, part in mine)
    with progress(total, "asking") as (report, advance):
        guards = {}
        for model in models:  # all of them before the first is asked
            try:
                guards[model] = Guard(model, retries=retries, max_tokens=max_tokens, seed=seed)
                all_models.load(model, report)
            except ModelError as error:
                raise Problem(str(error), EXIT_MODEL) from error
            except ValueError as error:
                raise Problem(spoken(error)) from None
        for name, part in mine:
            for model, asked in guards.items():
                target = from_any(resolve_type(name)[0], {**asked.options, "inexact": "residual"})
                evaluations.append(
                    evaluation.evaluate(
                        target, asked, part, schema=name, model=model, instruction=instruction,
                        advance=functools.partial(advance, model, 1),
                    )
                )  # fmt: skip
    comparisons = [
        evaluation.compare(first, other)
        for name, _ in mine
        for first, *others in [[e for e in evaluations if e.schema == name]]
        for other in others
    ]
    if as_json:
        say_json(evaluation.as_dict(evaluations, comparisons))
    else:
        _print(evaluations, comparisons)
    try:
        if plot is not None:
            plots.write(evaluations, plot)
        if html is not None:
            _write(html, page(evaluations, comparisons))
    except (ValueError, OSError) as error:
        raise Problem(spoken(error)) from None
    missed = [
        f"{e.model} on {e.schema}: {name} is {e.measures[name].mean:.3f}, below {least}"
        if name in e.measures
        else f"{e.model} on {e.schema}: {name} is not known; give cases with expected answers"
        for e in evaluations
        for name, least in requirements
        if name not in e.measures or e.measures[name].mean < least
    ]
    for words in missed:
        complain(words)
    if missed:
        raise typer.Exit(EXIT_NO_ANSWER)


def _of_schema(cases: Sequence[Case], name: str, given: Sequence[str]) -> list[Case]:
    """Return a schema's cases: those that name it, by its file's name or as it was given, and those that name none."""
    names = {name, Path(name).name, Path(name).name.partition(".")[0], name.rpartition(":")[2]}
    found = [case for case in cases if case.schema in names or (not case.schema and len(given) == 1)]
    found = found or [case for case in cases if not case.schema]
    if not found:
        raise Problem(f'no case is for {name}; give it "schema": {json.dumps(name)}')
    return found


def _requirement(given: str) -> tuple[str, float]:
    name, _, least = given.partition("=")
    try:
        number = float(least)
    except ValueError:
        number = -1.0
    if name not in ("valid", "exact", "right") or not 0 <= number <= 1:
        raise Problem(f"--require {given} must be valid=SHARE, exact=SHARE or right=SHARE, from 0 to 1")
    return name, number


def _print(evaluations: Sequence[Evaluation], comparisons: Sequence[Comparison]) -> None:
    from guard.testing.figures import COLUMNS, TITLES, shown

    out = console()
    made = table("schema", "model", "cases", *(TITLES.get(name, name) for name in COLUMNS))
    for e in evaluations:
        measures = e.measures
        made.add_row(e.schema, e.model, str(len(e.outcomes)), *(shown(n, measures.get(n)) for n in COLUMNS))
    out.print(made)
    for e in evaluations:
        fields = e.fields
        if fields:
            out.print(f"{e.schema}, {e.model}: right by field", highlight=False)
            for name, measure in fields.items():
                out.print(f"  {name}: {shown('right', measure)}", highlight=False)
    for c in comparisons:
        out.print(f"{c.schema}: {c.words}", highlight=False, soft_wrap=True)

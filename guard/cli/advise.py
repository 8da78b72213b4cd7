"""`guard advise`: tries a type on documents, and says what of it to change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from guard.cli import named
from guard.cli.console import (
    EXIT_INPUT,
    EXIT_MODEL,
    EXIT_NO_ANSWER,
    INSTRUCTION,
    AsJson,
    Problem,
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
from guard.support.strict_json import unread

if TYPE_CHECKING:
    from guard.batch.inputs import Input, Inputs
    from guard.calls.pipeline import Guard
    from guard.models import Progress
    from guard.output.target import Target
    from guard.testing.type_advice import Figures, Reading

EXAMPLES = examples(
    "guard advise shop.types:Ticket --docs 'mails/*.txt'",
    "guard advise ticket.schema.json --docs tickets.jsonl --column body --right answer --json",
    "guard advise app.py:read_invoice --docs invoices/*.txt --choose greedy",
)


def advise(
    target: Annotated[
        str,
        typer.Argument(metavar="SCHEMA_OR_MODULE:TYPE", help="As for guard run."),
    ],
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE…", help="More documents.", show_default=False)
    ] = None,
    docs: Annotated[
        list[Path] | None,
        typer.Option("--docs", metavar="FILE…", help="Documents, as --input of guard run. May be repeated."),
    ] = None,
    column: Annotated[str | None, typer.Option(metavar="NAME", help="Of a table: the text.")] = None,
    right: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of a table: the right answer, as an object or as JSON.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Default: the settings'.")] = None,
    instruction: Annotated[str | None, typer.Option(help="What the model is told to do.")] = None,
    documents: named.Documents = None,
    draft: named.Draft = None,
    inexact: named.Inexact = False,
    choose: Annotated[str, typer.Option(help="auto, greedy or score: how grounded values are chosen.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Ask a model for a value of the type from each document, and say what of the type to change, with figures.

    That a text, a number or a date should be marked as coming from the document, a field that is never right or always
    null, a category that is never chosen, an order that is not the documents'. What is right is known where a table
    tells it.
    """
    from guard.batch.inputs import InputError, Inputs
    from guard.cli.run import asker
    from guard.testing import type_advice

    paths = [*(docs or []), *(files or [])]
    if not paths:
        raise Problem("no documents; name files with --docs FILE")
    given: Any = {"choose": choose, **({"model": model} if model is not None else {})}
    given |= {"options": options} if (options := named.compile_options(documents, draft, inexact)) else {}
    try:
        read = Inputs(paths, column, (right,) if right is not None else ())
        guard, wanted, function = asker(target, given)
    except InputError as error:
        raise Problem(str(error)) from None
    except ValueError as error:  # an option
        raise Problem(spoken(error)) from None
    fields = type_advice.fields_of(wanted.compiled.contents)
    if not fields:
        raise Problem(f"{target} is no object with fields; there is nothing to advise on")
    if function is not None and instruction is not None:
        function = function.saying(instruction)
    with progress(len(read)) as (report, advance):
        readings = []
        for reading in _readings(guard, wanted, function or (instruction or INSTRUCTION), read, right, report):
            readings.append(reading)
            advance("asking", 1)
    if not any(reading.value is not None or reading.unstated for reading in readings):
        raise Problem("no document was answered; guard run says more of each", EXIT_NO_ANSWER)
    figures = type_advice.measured(fields, readings)
    found = type_advice.advised(figures, readings)
    if as_json:
        answered = sum(reading.value is not None for reading in readings)
        say_json({"type": wanted.name, "model": guard.model_name, "documents": len(readings), "answered": answered,
               "fields": [one.as_dict() for one in figures], "advice": [vars(one) for one in found]})  # fmt: skip
        return
    console().print(_table(figures))
    for one in found:
        say(f"{one.field}: {one.words}")
    if not found:
        seen = "1 document" if len(readings) == 1 else f"{len(readings)} documents"
        few = f"; a field is judged from {type_advice.LEAST} answers on" if len(readings) < type_advice.LEAST else ""
        say(f"nothing to change is seen in {seen}{few}")


def _readings(
    guard: Guard, wanted: Target, words: Any, read: Inputs, right: str | None, report: Progress
) -> Iterator[Reading]:
    from guard import models
    from guard.cli.run import questions
    from guard.errors import CallError, ModelError
    from guard.output.grounding import STATED
    from guard.testing.type_advice import Reading

    try:
        models.load(guard.tiers[0], report)
    except ModelError as error:
        raise Problem(first_line(error), EXIT_MODEL) from error
    for question in questions(guard, wanted, read, words):
        source: Input = question.input
        if question.plan is None:
            raise Problem(str(question.error), EXIT_INPUT)
        text = source.text()
        known = _right(source, right)
        try:
            _, call = guard.run(question.plan)
        except CallError as error:
            unstated = tuple(one.at for one in error.findings if one.rule == STATED and not error.attempts)
            if not unstated:
                complain(f"{source}: {first_line(error)}")
            yield Reading(text, unstated=unstated, right=known)
            continue
        yield Reading(text, json.loads(call.text), right=known, confidence=call.confidence)


def _right(source: Input, column: str | None) -> dict[str, Any] | None:
    """Return the right answer that a table tells."""
    said = source.columns.get(column) if column is not None else None
    if isinstance(said, str):
        try:
            said = json.loads(said)
        except (ValueError, RecursionError) as error:
            raise Problem(f"{source}: {column} {unread(error)}; it must be the right answer", EXIT_INPUT) from None
    if said is not None and not isinstance(said, dict):
        raise Problem(f"{source}: {column} is no object; it must be the right answer", EXIT_INPUT)
    return said


def _table(figures: list[Figures]) -> Any:
    shown = table("field", "answers", "null", "in the document", "right", "confidence")
    for column in shown.columns[1:]:
        column.justify = "right"
    for one in figures:
        facts = one.as_dict()
        values = one.answers - one.nulls
        shown.add_row(
            one.about.name,
            str(one.answers),
            str(one.nulls),
            f"{one.stated} of {values}" if one.about.kind else "",
            f"{one.right} of {one.compared}" if one.compared else "",
            "" if facts["confidence"] is None else f"{facts['confidence']:.2f}",
        )
    return shown

"""`guard economics`: what a function's answers cost before and after, and what its small model may serve alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from guard.cli import trace
from guard.cli.console import AsJson, Force, Problem, check_new, console, examples, say, say_json, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guard.trace.stats import Line

EXAMPLES = examples(
    "guard economics shop.read",
    "guard economics shop.read --since 30d --large openai:gpt-5-mini --html economics.html",
)


def economics(
    function: Annotated[str, typer.Argument(metavar="FUNCTION", help="As `guard trace stats` has it.")],
    since: trace.Since = None,
    large: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The large model to compare with. Default: the last tier of each call."),
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with the plot.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Say what a function's answers cost before and after its small model, and how many that served alone.

    One line for each model that was asked first; a version of a tuned model counts for itself. Of the answers served
    alone, those rated with `guard trace feedback` say how many are right; those of the large model count as right
    unless they were rated wrong. The plot, precision against share served, is that of `guard shadow`, from questions
    that neither calibrated the model nor trained it.
    """
    from guard.trace import stats
    from guard.tuning import economics_page as pages
    from guard.tuning.economics import by_first_model, measured
    from guard.tuning.registry import Registry

    trace.check_priced(large)
    if html is not None:
        check_new(html, force)
    store, began = trace.opened(), trace.since_of(since)
    lines = by_first_model(store, function, began)
    if not lines:
        raise Problem(f"no call of {function} in {store.place}; `guard trace stats` lists the functions")
    ratings = store.ratings(function=function, since=began)
    whole = stats.collect(store.ledger(function=function, since=began), large, ratings)[-1]
    report = measured(Registry.default(), function)
    if html is not None:
        from guard.support import private_files

        with private_files.open_text(html, "w") as file:
            file.write(pages.page(function, lines, report))
    if as_json:
        sides = {} if report is None else {side: report.get(side) for side in ("alone_before", "alone")}
        shadow = None if report is None else {"version": report["version"], "old": report["old"], **sides}
        found = {"models": [line.as_dict() for line in lines], "whole": replace(whole, function=function).as_dict()}
        say_json({"function": function, **found, "shadow": shadow})
        return
    _print(lines, whole, report, pages.HEADS, pages.cells)


def _print(
    lines: Sequence[Line], whole: Line, report: Mapping[str, Any] | None, heads: Sequence[str], cells: Any
) -> None:
    from rich.text import Text

    from guard.trace.stats import dollars

    shown = table("asked first", *heads)
    for column in shown.columns[1:]:
        column.justify = "right"
    for line in lines:
        shown.add_row(Text(line.model), *cells(line))
    console().print(shown)
    if whole.large_per_valid:
        say(f"by {whole.large} alone a valid answer would have cost {dollars(whole.large_per_valid)}")
    alone: Mapping[str, Any] = {} if report is None else report["alone"]
    if report is None or not alone.get("kept"):
        say("what may be served alone is not measured; `guard shadow` does it")
        return
    shown = table("precision wanted", "share served", "of them right")
    for one in alone["kept"]:
        shown.add_row(f"{one['wanted']:.0%}", f"{one['share']:.1%}", f"{one['precision']:.1%}")
    say(f"version {report['version']} by guard shadow, on {alone['looked_at']} questions:")
    console().print(shown)

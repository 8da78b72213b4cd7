"""`guard shadow`: a new model beside the one that serves, on answers known to be right."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from guard.cli import named, trace, tune
from guard.cli.console import (
    EXIT_MODEL,
    EXIT_NO_ANSWER,
    AsJson,
    Force,
    Problem,
    bounded,
    check_new,
    console,
    examples,
    first_line,
    progress,
    say,
    say_json,
    table,
)
from guard.support.bounds import MOST_COUNT

if TYPE_CHECKING:
    from guard.tuning.registry import Registry, Version

EXAMPLES = examples(
    "guard shadow shop.read@2",
    "guard shadow transformers:./tuned --against smollm2 --function schema.json --data held_out.jsonl",
    "guard shadow shop.read@2 --html report.html",
)


def shadow(
    new: Annotated[str, typer.Argument(metavar="NEW", help="A version, as shop.read@2, or a model's name.")],
    against: Annotated[
        str | None, typer.Option(metavar="OLD", help="Default: the version of NEW's function that serves.")
    ] = None,
    function: Annotated[
        str | None, typer.Option(metavar="FUNCTION|SCHEMA", help="Whose answers. Default: NEW's function.")
    ] = None,
    since: trace.Since = None,
    data: Annotated[
        Path | None, typer.Option(metavar="FILE.jsonl", help="Right answers from a file, as for guard tune.")
    ] = None,
    limit: Annotated[int, bounded(1, MOST_COUNT, "Questions, the newest.")] = 200,
    margin: Annotated[float, bounded(0, 1, "By which the new one may be worse, in shares of right answers.")] = 0.02,
    precision: Annotated[float, bounded(0, 1, "Of answers that NEW is to serve alone; gives a threshold.")] = 0.95,
    quick: Annotated[
        bool, typer.Option("--quick", help="Score only, by one forward pass an answer; decode nothing.")
    ] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with plots.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Ask a new and an old model the same questions, whose right answers are known, and report which does better.

    Questions that either model was trained on, or what it was tuned from, are left out. Exits with 1 where the new
    model has not passed: it is not certain, with 97.5% confidence, that it is worse by no more than the margin.
    """
    from guard.errors import GuardError, ModelError
    from guard.tuning import shadow_job
    from guard.tuning import shadow_run as shadows
    from guard.tuning.examples import deduplicated
    from guard.tuning.kept_answers import KeptAnswers
    from guard.tuning.registry import SHADOW, Registry, write_json

    if html is not None and quick:
        raise Problem("--html is of what was decoded, and --quick decodes nothing; leave one out")
    if html is not None:
        check_new(html, force)
    registry = Registry.default()
    fresh, version = _named(registry, new)
    own, serving = None, 0
    if version is not None:
        own = function or version.function
        serving = registry.serving(version.function).current
        against = against or f"{version.function}@{serving}"
    if against is None or (own or function) is None:
        raise Problem("name the other model with --against, and whose answers are asked with --function")
    old, _ = _named(registry, against)
    dropped: Counter[str] = Counter()
    name, schema = tune.resolved(own or function or "")
    try:
        pairs = deduplicated(
            tune.right_answers(data, name, schema, since, {new, against, fresh, old}, dropped), dropped
        )
        pairs = shadow_job.unseen(pairs, [*registry.behind(fresh), *registry.behind(old)], limit)
        kept = KeptAnswers(None if version is None else version.folder / shadow_job.PARTIAL)
        with progress(0) as (report, _):
            found = shadows.run(
                fresh, old, pairs, margin=margin, precision=precision, is_quick=quick, told=report, kept=kept
            )
    except ModelError as error:
        raise Problem(first_line(error), EXIT_MODEL) from error
    except GuardError as error:
        raise Problem(first_line(error)) from error
    if not quick and (folder := _folder(fresh)) is not None:
        try:
            shadows.keep_calibration(found, folder)
        except OSError as error:
            raise Problem(f"the calibration can't be kept in {folder}: {error.strerror}") from None
    if version is not None and not quick:
        write_json(version.folder / SHADOW, {**found, "against": _number(against, version.function)})
        kept.forget()
    if html is not None:
        from guard.support import private_files

        with private_files.open_text(html, "w") as file:
            file.write(shadows.page(found))
    if as_json:
        say_json(found)
    else:
        _print(found)
    if not found.get("passed", True):
        raise typer.Exit(EXIT_NO_ANSWER)


def _print(found: dict[str, Any]) -> None:
    from guard.tuning import shadow_run as shadows

    for side, name in (("old", found["old"]), ("new", found["new"])):
        one = found["foreseen"][side]
        if one is not None:
            say(f"{name}: foresees {one['written']} of {one['answers']} answers, {one['nll']:.3f} nats a choice")
    if "right" not in found:
        return
    shown = table("field", "questions", "before", "after")
    for field in found["fields"]:
        shown.add_row(field["field"], *(str(field.get(key, 0)) for key in ("questions", "old", "new")))
    console().print(shown)
    right, (low, high) = found["right"], found["interval"]
    say(
        f"right: {right['old']} before, {right['new']} after, of {found['questions']}; {right['only_new']} by the new"
        f" one alone, {right['only_old']} by the old one alone (McNemar's exact p = {found['p_value']:.3g})"
    )
    alone = found["alone"]
    if alone is not None and alone["threshold"] is not None:
        say(
            f"with confidence=guard.Confidence(precision={alone['wanted']:g}) it serves {alone['share']:.1%} alone,"
            f" {alone['precision']:.1%} of them right (calibrated on {alone['chosen_on']} questions, looked at on"
            f" {alone['looked_at']} others)"
        )
    elif alone is not None:
        say(f"no confidence promises a precision of {alone['wanted']:g}; it serves nothing alone")
    verdict = shadows.verdict(found)
    say(f"difference {found['difference']:+.1%} ({low:+.1%} to {high:+.1%}), margin {found['margin']:.1%}: {verdict}")


def _named(registry: Registry, name: str) -> tuple[str, Version | None]:
    """Return the model's name and the version that `FUNCTION@VERSION` stands for; other names stay as they are."""
    from guard.errors import GuardError

    at = named.version_of(name)
    if at is None or not registry.versions(at[0]):
        return name, None
    function, number = at
    if number == 0:
        return registry.model(function, 0), None
    try:
        version = registry.version(function, number)
    except GuardError as error:
        raise Problem(first_line(error)) from None
    return registry.model(function, version.number), version


def _folder(name: str) -> Path | None:
    """Return the folder of a model `transformers:FOLDER`; None of other models, beside which nothing is kept."""
    kind, _, rest = name.partition(":")
    folder = Path(rest).expanduser()
    return folder if kind == "transformers" and rest and folder.is_dir() else None


def _number(name: str, function: str) -> int | None:
    at = named.version_of(name)
    return at[1] if at is not None and at[0] == function else None

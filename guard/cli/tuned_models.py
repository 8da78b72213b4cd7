"""`guard models`: the registry of tuned models, and which version of each function's serves."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from guard.cli import model_show, named, trace
from guard.cli.console import (
    AsJson,
    Problem,
    bounded,
    complain,
    console,
    examples,
    first_line,
    say,
    say_json,
    spoken,
    table,
)
from guard.errors import GuardError
from guard.support.bounds import SHOWN
from guard.support.clipping import cut_short

if TYPE_CHECKING:
    from guard.tuning.registry import Registry, Version

app = typer.Typer(
    help="Tuned models: what there is, and which serves.", no_args_is_help=True, rich_markup_mode="markdown"
)

Function = Annotated[str, typer.Argument(metavar="FUNCTION", help="As `guard models list` has it.")]
Force = Annotated[bool, typer.Option("--force", help="Without a shadow run that it passed; that goes on record.")]
Why = Annotated[str, typer.Option(metavar="TEXT", help="Goes on record.")]
AT = "FUNCTION@VERSION"


@app.command("list", epilog=examples("guard models list"))
def list_(as_json: AsJson = False) -> None:
    """List the functions with their versions, and which serves."""
    registry = _registry()
    shown = table("function", "version", "state", "made (UTC)", "base", "examples", "foreseen", "shadow")
    count, wrong = 0, []
    for function in registry.functions():
        for facts in registry.listed(function):
            count += 1
            wrong += [facts["error"]] if "error" in facts else []
            if as_json:
                say_json(facts)
                continue
            foreseen = "" if facts["foreseen"] is None else f"{facts['foreseen']:.1%}"
            shadow = {True: "passed", False: "not passed", None: ""}[facts["shadow"]]
            shown.add_row(
                function,
                str(facts["version"]),
                "?" if "error" in facts else facts["state"],
                facts["made"],
                str(facts["base"]),
                str(facts["examples"]),
                foreseen,
                shadow,
            )
    if as_json:
        return
    if count:
        console().print(shown)
        for error in dict.fromkeys(wrong):
            complain(error)
    else:
        say(f"no models in {registry.root}; `guard tune FUNCTION` makes one")


@app.command(
    "show",
    epilog=examples(
        "guard models show shop.read@2",
        "guard models show shop.read",
        "guard models show smollm2",
        "guard models show --template chat_template.jinja --json",
    ),
)
def show(
    name: Annotated[str | None, typer.Argument(metavar=f"FUNCTION|{AT}|MODEL", show_default=False)] = None,
    template: Annotated[
        Path | None, typer.Option(help="A file with a chat template, instead of a model.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print a version's lineage, which version of a function serves, or how a model writes calls of tools.

    Of a tuned model, FUNCTION@VERSION, and of a function it is JSON. Of any other model, which is loaded, or of a chat
    template it is the form of its calls, as it was derived from the template.
    """
    registry = _registry()
    if template is None and name is not None:
        if "@" in name:
            version = _version(registry, name)
            say_json({**version.card, "folder": str(version.folder), "shadow": version.shadow}, indent=1)
            return
        if name in registry.functions():
            say_json(asdict(registry.serving(name)), indent=1)
            return
    model_show.show(name, template, as_json=as_json)


@app.command("promote", epilog=examples("guard models promote shop.read@2", "guard models promote shop.read@2 --force"))
def promote(
    name: Annotated[str, typer.Argument(metavar=AT)], force: Force = False, why: Why = "", as_json: AsJson = False
) -> None:
    """Have a version serve `tuned:FUNCTION` from now on, also where it is loaded already.

    It must have passed `guard shadow` against the version that serves.
    """
    registry = _registry()
    function, number = _at(name)
    _decide(lambda: registry.promote(_known(registry, function), number, force=force, why=why), function, as_json)


@app.command("rollback", epilog=examples("guard models rollback shop.read"))
def rollback(function: Function, why: Why = "", as_json: AsJson = False) -> None:
    """End the canary, where there is one; else have the version serve that served before."""
    registry = _registry()
    _decide(lambda: registry.rollback(_known(registry, function), why), function, as_json)


@app.command(
    "canary", epilog=examples("guard models canary shop.read@3 --share 0.1", "guard models canary shop.read --json")
)
def canary(
    name: Annotated[str, typer.Argument(metavar=f"FUNCTION|{AT}")],
    share: Annotated[float, bounded(0, 1, "Of the inputs that it answers, by their hash.")] = 0.1,
    baseline: Annotated[
        float | None,
        bounded(0, 1, "Share of first answers to be kept. Default: what the version that serves does."),
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Have a version answer a share of the inputs; with FUNCTION alone, judge its canary by the trace.

    A canary is judged after every 20 of its answers, and ended where its first answers are taken less often (invalid,
    unsure or cut ones are not) than those of the version that serves.
    """
    from guard.tuning import canary as canaries

    registry = _registry()
    if "@" in name:
        function, number = _at(name)
        _known(registry, function)
        _decide(
            lambda: registry.start_canary(function, number, share, baseline=baseline, force=force), function, as_json
        )
        return
    found = canaries.judge([trace.opened()], registry, _known(registry, name))
    if found is None:
        raise Problem(f"{name} has no canary; `guard models canary {name}@VERSION` starts one")
    facts = {**vars(found), "ended": found.is_worse}
    if as_json:
        say_json(facts)
        return
    kept = "no answer of the other version" if found.baseline is None else f"{found.baseline:.1%} to be kept"
    ended = "it is worse, and was ended" if found.is_worse else "it goes on"
    say(f"{found.successes} of {found.answers} first answers taken ({kept}); evidence {found.evidence:.3g}: {ended}")


@app.command("diff", epilog=examples("guard models diff shop.read@2 shop.read@3"))
def diff(
    old: Annotated[str, typer.Argument(metavar=AT)],
    new: Annotated[str, typer.Argument(metavar=AT)],
    as_json: AsJson = False,
) -> None:
    """Say in what two versions differ: recipe, data, base, versions of libraries, validation."""
    from guard.tuning.registry import differences

    registry = _registry()
    found = differences(_version(registry, old), _version(registry, new))
    if as_json:
        say_json(found)
        return
    shown = table("", old, new)
    for key, sides in found.items():
        shown.add_row(
            key, *(one if key == "sources" else json.dumps(one, ensure_ascii=False) for one in sides.values())
        )
    console().print(shown)


def _decide(decide: Any, function: str, as_json: bool) -> None:
    from dataclasses import asdict

    try:
        serving = decide()
    except ValueError as error:
        raise Problem(spoken(error)) from None
    except GuardError as error:
        raise Problem(first_line(error)) from None
    if as_json:
        say_json(asdict(serving))
        return
    beside = f", version {serving.canary.version} a share of {serving.canary.share:g}" if serving.canary else ""
    say(f"version {serving.current} serves tuned:{function}{beside}")


def _registry() -> Registry:
    try:
        from guard.tuning.registry import Registry
    except ImportError as error:
        raise Problem(f"tuned models need {error.name}: pip install 'guard-slm[local]'") from error
    return Registry.default()


def _known(registry: Registry, function: str) -> str:
    if function not in registry.functions():
        there = ", ".join(registry.functions()) or "none"
        raise Problem(f"no model of {function} was tuned; there are {there}")
    return function


def _at(name: str) -> tuple[str, int]:
    at = named.version_of(name)
    if at is None:
        raise Problem(f"{cut_short(name, SHOWN)} must name a version, as shop.read@2")
    return at


def _version(registry: Registry, name: str) -> Version:
    function, number = _at(name)
    try:
        return registry.version(function, number)
    except GuardError as error:
        raise Problem(first_line(error)) from None

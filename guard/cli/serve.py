"""`guard serve` and `guard keys`: the sidecar, and who may ask it."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from guard.cli.console import (
    AsJson,
    Problem,
    Stdout,
    bounded,
    console,
    examples,
    say,
    say_json,
    table,
)
from guard.support.bounds import MOST_COUNT, MOST_SUM, MOST_USD

if TYPE_CHECKING:
    from guard.sidecar.keys import Key
    from guard.trace import TraceStore

EXAMPLES = examples(
    "guard serve",
    "guard serve --config guard.toml --check",
    "guard serve --config guard.toml --host 0.0.0.0 --port 8080 --workers 2",
    "curl http://127.0.0.1:8080/v1/models",
)

keys = typer.Typer(help="Make, list and revoke keys of the sidecar.", no_args_is_help=True, rich_markup_mode="markdown")

Config = Annotated[
    Path | None, typer.Option(metavar="FILE", help="guard.toml; default: the working directory's, else the user's.")
]


def serve(
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="Where to listen; beyond loopback there must be a key.")] = None,
    port: Annotated[int | None, bounded(0, 65_535, "0: any that is free.")] = None,
    workers: Annotated[int | None, bounded(1, 64, "Processes.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Only say whether the settings are good.")] = False,
) -> None:
    """Serve models over OpenAI's protocol, with answers that are valid: an application changes its base URL.

    Without settings it serves SmolLM2, as the model `smollm2`, on 127.0.0.1:8080. docs/sidecar.md has all settings.
    """
    try:
        from guard.sidecar import process
    except ModuleNotFoundError as error:
        raise Problem(f"the sidecar needs {error.name}: pip install 'guard-slm[serve]'") from None
    start = process.Start(config, host, port, workers)
    if check:
        settings = process.check(start)
        for name, model in settings.models.items():
            tiers = " → ".join([model.model, *model.escalate_to])
            say(f"{name}: {tiers}")
        count = len(settings.models)
        say(f"good: {count} model{'' if count == 1 else 's'} on {settings.host}:{settings.port}")
        return
    if code := process.run(start):
        raise typer.Exit(code)


@keys.command(
    epilog=examples("guard keys create shop", "guard keys create shop --requests-per-minute 600 --usd-per-day 5")
)
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is, as logs and lists show it.")],
    requests_per_minute: Annotated[int | None, bounded(1, MOST_COUNT, "At most so many.")] = None,
    tokens_per_day: Annotated[
        int | None, bounded(1, MOST_SUM, "Prompts and answers; days end at midnight UTC.")
    ] = None,
    usd_per_day: Annotated[float | None, bounded(0.000001, MOST_USD, "At the prices that are known.")] = None,
    operator: Annotated[bool, typer.Option("--operator", help="May look at everybody's calls, under /guard/.")] = False,
    training: Annotated[
        bool, typer.Option("--training", help="Its calls may be trained on: guard tune, guard trace export.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it: only its digest is kept, so this is the one time that it is seen."""
    from guard.sidecar import keys as module

    if not name.strip() or not name.isprintable():
        raise Problem(f"a key's name must be a printable text, not {name!r}")
    if isinstance(sys.stdout, Stdout) and not sys.stdout.is_read:
        raise Problem("standard output is closed, so that nobody would see the key; send it to a file or a program")
    store = _store(config)
    key, text = module.create(
        store,
        name,
        is_operator=operator,
        requests_per_minute=requests_per_minute,
        tokens_per_day=tokens_per_day,
        usd_per_day=usd_per_day,
        may_train=training,
    )
    try:
        if as_json:
            say_json({**_shown(key), "key": text})
        else:
            say(text)
    except Problem as problem:
        module.revoke(store, key.id)
        raise Problem(f"{problem}; the key, which nobody has seen, is revoked") from None


@keys.command("list", epilog=examples("guard keys list", "guard keys list --json"))
def list_(config: Config = None, as_json: AsJson = False) -> None:
    """List all keys, revoked ones too."""
    from rich.text import Text

    from guard.sidecar import keys as module

    found = module.every(_store(config))
    if as_json:
        for key in found:
            say_json(_shown(key))
        return
    if not found:
        say("no keys yet; make one with `guard keys create NAME`")
        return
    shown = table("id", "name", "made (UTC)", "state", "operator", "training", "requests/min", "tokens/day", "usd/day")
    for key in found:
        limits = [key.requests_per_minute, key.tokens_per_day, key.usd_per_day]
        state = "good" if key.revoked is None else f"revoked {_time(key.revoked)}"
        shown.add_row(
            key.id, Text(key.name), _time(key.created), state, "yes" if key.is_operator else "",
            "yes" if key.may_train else "",
            *("" if limit is None else f"{limit:,}" for limit in limits),
        )  # fmt: skip
    console().print(shown)


@keys.command(epilog=examples("guard keys revoke 4f2a9c01d3e7"))
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `guard keys list` shows it.")], config: Config = None
) -> None:
    """Revoke a key: within a second no process lets it in."""
    from guard.sidecar import keys as module

    if key_id.startswith(module.PREFIX):
        raise Problem("that is a key itself; give its id, as `guard keys list` shows it")
    if not module.revoke(_store(config), key_id):
        raise Problem(f"no key {key_id} that is good; see `guard keys list`")
    say(f"revoked {key_id}")


def _store(config: Path | None) -> TraceStore:
    from guard.settings import Settings
    from guard.trace import TraceStore

    if config is not None and not config.is_file():
        raise Problem(f"no such file: {config}; check the name")
    return TraceStore.at(Settings.load(config).trace_path())


def _shown(key: Key) -> dict[str, Any]:
    return {name: value for name, value in vars(key).items() if name != "digest"}


def _time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M")

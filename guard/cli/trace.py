"""`guard trace`: what the record of every call tells.

What a command prints is made in guard/trace/; how the command line speaks is guard/cli/console.py's.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from guard.cli.console import (
    EXIT_MODEL,
    EXIT_NO_ANSWER,
    AsJson,
    Force,
    Problem,
    bounded,
    check_new,
    clip,
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
from guard.decoding.places import listed
from guard.support import private_files, strict_json
from guard.support.bounds import MOST_COUNT, MOST_DAYS, MOST_SUM, SHOWN
from guard.support.clipping import cut_short
from guard.support.moments import in_utc
from guard.support.plain_text import plain, plain_json
from guard.support.strict_json import unread

if TYPE_CHECKING:
    from guard.schemas.grounding.sources import Place
    from guard.trace import TraceError, TraceStore
    from guard.trace.records import Call
    from guard.trace.stats import Line

MOST_PLACES = 3  #: Of one value that are shown.
STDOUT = Path("-")  #: The name under which standard output is written.
_UNITS = {"m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}  #: Of --since, in seconds.

app = typer.Typer(help="Look into the record of every call.", no_args_is_help=True, rich_markup_mode="markdown")

Number = Annotated[int, typer.Argument(min=0, max=MOST_SUM, help="The call's number in `guard trace list`.")]
Function = Annotated[str | None, typer.Option(help="Only calls of this function.")]
Since = Annotated[
    str | None, typer.Option(metavar="WHEN", help="Only calls since then: 2026-01-31, 2026-01-31T12:00 (UTC), 7d, 12h.")
]


@app.command("list", epilog=examples("guard trace list", "guard trace list --outcome ValidationFailed --json"))
def list_(
    limit: Annotated[int, bounded(1, MOST_COUNT, "How many, the newest first.")] = 20,
    outcome: Annotated[str | None, typer.Option(help="Only calls that ended so: valid, or an error's name.")] = None,
    function: Function = None,
    as_json: AsJson = False,
) -> None:
    """List the latest calls."""
    store = opened()
    damaged: list[TraceError] = []
    calls = store.latest(limit=limit, outcome=outcome, function=function, damaged=damaged.append)
    if as_json:
        for call in calls:
            say_json(_as_dict(call))
    elif calls or not damaged:
        _list(calls, store, is_chosen=bool(outcome or function))
    _tell_left_out(damaged)
    if damaged:
        raise typer.Exit(EXIT_NO_ANSWER)


def _list(calls: Sequence[Call], store: TraceStore, *, is_chosen: bool) -> None:
    from rich.text import Text

    if not calls:
        say(f"no call in {store.place} is so" if is_chosen else f"no calls in {store.place}")
        return
    shown = table("no", "time (UTC)", "function", "outcome", "tries", "tokens", "seconds")
    shown.expand = True
    shown.add_column("answer", ratio=1, min_width=24, no_wrap=True, overflow="ellipsis")  # what width the others leave
    for call in calls:
        shown.add_row(
            str(call.number),
            _time(call)[5:16],
            Text(call.function or call.target),
            Text(call.verdict),
            str(len(call.attempts)),
            str(call.tokens),
            f"{call.seconds:.2f}",
            Text(clip(call.text if call.outcome == "valid" else call.error)),
        )
    console().print(shown)


@app.command(
    "show", epilog=examples("guard trace show 12", "guard trace show 12 --html call.html", "guard trace show 12 --json")
)
def show(
    number: Number,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a page with the tokens coloured by what masks removed; - prints it."),
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Show one call: every attempt, what was asked, what came, what was found, what was mended."""
    from rich.text import Text

    from guard.trace.marks import marks_of

    store = opened()
    call = _call(store, number)
    if as_json:
        say_json(_as_dict(call) | {"attempts": [_attempt_as_dict(attempt) for attempt in call.attempts]})
        return
    if html is not None:
        from guard.trace.html import page

        with _writing(html, force) as file:
            file.write(plain(page(call, store.schema(call.schema_hash))))
        return
    out = console()
    facts = table("", "")
    for name, value in _as_dict(call).items():
        facts.add_row(name, Text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))
    out.print(facts)
    for attempt in call.attempts:
        told = ", ".join(filter(None, (attempt.model, f"tier {attempt.tier}", attempt.reason)))
        out.rule(Text(f"attempt {attempt.number}: {told}"))
        marks = marks_of(attempt)
        for index, message in enumerate(attempt.messages):
            out.print(Text(f"{message.get('role')}:", style="bold"))
            content = Text(str(message.get("content")))
            for start, end, _ in marks.get(index, ()):
                content.stylize("bold underline green", start, end)
            out.print(content)
        if attempt.reply and attempt.reply.thinking:
            out.print(Text("thought:", style="bold"))
            out.print(Text(attempt.reply.thinking, style="dim"))
        heading = (
            "error:" if attempt.reply is None else "answer, cut off:" if attempt.reply.finish == "cut" else "answer:"
        )
        out.print(Text(heading, style="bold"))
        out.print(Text(attempt.reply.text if attempt.reply else attempt.error))
        for edit in attempt.repairs:
            out.print(Text(f"mended: {edit.kind} at {edit.at}: {edit.removed!r} became {edit.inserted!r}"))
        for finding in attempt.findings:
            out.print(Text(f"finding: {finding}", style="yellow"))
        for at, places in attempt.sources.items():
            out.print(Text(f"{at} stands in {_places(places)}", style="green"))
        for at, chance in attempt.confidence.items():
            others = attempt.reply.alternatives.get(at, ()) if attempt.reply else ()
            instead = "; or " + ", ".join(
                f"{json.dumps(o.value, ensure_ascii=False)} {o.confidence:.2f}" for o in others
            )
            out.print(Text(f"{at or '(root)'}: probability {chance:.2f}{instead if others else ''}"))
        if attempt.fields:
            out.print(Text(f"asked alone: {', '.join(attempt.fields)}"))
        if attempt.reply and attempt.reply.cut_at:
            out.print(Text(f"max_tokens cut it {listed(attempt.reply.cut_at)}", style="yellow"))
        if attempt.reply and attempt.reply.repeated_at:
            out.print(Text(f"it says the same over and over {listed(attempt.reply.repeated_at)}", style="yellow"))
        if attempt.error and attempt.reply:
            out.print(Text(f"not taken: {attempt.error}", style="yellow"))


@app.command("stats", epilog=examples("guard trace stats", "guard trace stats --since 7d --large openai:gpt-5-mini"))
def stats(
    function: Function = None,
    since: Since = None,
    large: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The large model to compare with. Default: the last tier of each call."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say for each function and tier how often the first answer was valid, what it took, and what it saved.

    The last columns: what the calls that ended at a tier would have cost on the large model alone, where they went up
    to it in fact, and estimated elsewhere by the tokens that the small model counted. What was replayed or came from a
    cache costs nothing. Below is the share that was served alone, without the large model, and what a valid and a right
    answer cost; `guard economics` tells more.
    """
    from guard.trace import stats as figures

    check_priced(large)
    store = opened()
    began = since_of(since)
    ratings = store.ratings(function=function, since=began)
    lines = figures.collect(store.ledger(function=function, since=began), large, ratings)
    if as_json:
        for line in lines:
            say_json(line.as_dict())
        return
    if not lines[-1].calls:
        say(f"no call in {store.place} is so" if since or function else f"no calls in {store.place}")
        return
    shown = table(
        "function", "tier", "calls", "first valid", "valid", "re-asks", "escalated", "tokens", "cost", "large alone"
    )
    if any(line.replayed for line in lines):
        shown.add_column("replayed")
    for column in shown.columns[2:]:
        column.justify = "right"
    for line in lines:
        if line.function == figures.ALL and len({other.function for other in lines}) == 2:
            continue  # the one function's sum says it already
        shown.add_row(*_stats_row(line)[: len(shown.columns)], style="bold" if line.tier is None else None)
    console().print(shown)
    for line in lines:
        if line.tier is None and line.alone and line.function != figures.ALL:
            say(f"{line.function}: {_alone(line)}")


def check_priced(large: str | None) -> None:
    """Raise Problem where a large model to compare with has no known price."""
    from guard.trace.stats import price

    if large is not None and price(large, 1_000, 1_000) is None:
        raise Problem(
            f"no price of {large!r} is known; name a model as openai:gpt-5-mini or anthropic:claude-haiku-4-5"
        )


def _alone(line: Line) -> str:
    """Say what was served alone, and what an answer cost."""
    from guard.trace.stats import dollars

    precision = "not rated" if line.precision is None else f"{line.precision:.1%} of {line.alone_rated:,} rated right"
    costs = [
        f"{dollars(each)} a {what}"
        for each, what in ((line.cost_per_valid, "valid answer"), (line.cost_per_right, "right one"))
        if each is not None
    ]
    if line.large_per_valid is not None:
        costs.append(f"{dollars(line.large_per_valid)} a valid one by the large model alone")
    return "; ".join([f"{line.alone / line.valid:.1%} of valid answers served alone ({precision})", *costs])


def _stats_row(line: Line) -> tuple[Any, ...]:
    from rich.text import Text

    return (
        Text(line.function),
        Text("all" if line.tier is None else f"{line.tier} {line.model}"),
        f"{line.calls:,}",
        _share(line.first_valid, line.calls),
        _share(line.valid, line.calls),
        f"{line.re_asks:,}",
        _share(line.escalations, line.calls),
        f"{line.prompt_tokens + line.completion_tokens:,}",
        _dollars(line.cost, line.cost_unknown, line.estimates),
        _dollars(line.large_cost, line.large_unknown),
        f"{line.replayed:,}",
    )


def _places(places: Sequence[Place]) -> str:
    """Say where an input states a value: the first places, and how many more there are."""
    told = ", ".join(f"{place.input}[{place.start}:{place.end}]" for place in places[:MOST_PLACES])
    return told + (f" and {len(places) - MOST_PLACES} more places" if len(places) > MOST_PLACES else "")


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({part / whole:.1%})" if whole else "0"


def _dollars(known: float, unknown: int, estimates: int = 0) -> str:
    """Show a sum, whether it rests on estimates, and of how many more the price is not known."""
    shown = f"{'about ' * bool(estimates and known)}${known:,.4f}"
    return f"{shown} + {unknown:,} unknown" if unknown else shown


@app.command(
    "replay", epilog=examples("guard trace replay 12", "guard trace replay 12 --model openai:gpt-5-mini --json")
)
def replay(
    number: Number,
    model: Annotated[str | None, typer.Option(help="The model to ask. Default: the one that was asked.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask a recorded call's first question again, live; exit code 1 where the answer is not identical to the byte."""
    from guard import models
    from guard.calls.rerun import replay as again
    from guard.errors import ModelError

    store = opened()
    call = _call(store, number)
    with progress(0) as (report, _):
        try:
            name = model or (call.attempts[0].model if call.attempts else "") or call.model
            loaded = models.load(name, report)
        except ModelError as error:
            raise Problem(first_line(error), EXIT_MODEL) from error
        done = again(store, call, loaded)
    if as_json:
        say_json({"call": number, "replay": done.call, "model": done.model, "identical": done.is_identical,
               "redacted": done.is_redacted, "was": done.was, "now": done.now})  # fmt: skip
    else:
        if done.is_redacted:
            say("something was cut out of the recorded question: it is not the one that was asked", err=True)
        if done.is_identical:
            size = len(done.now.encode(errors="surrogatepass"))
            say(f"identical: {done.model} answered call {number} with the same {_counted(size, 'byte')}")
        else:
            say(f"different: {done.model} answered call {number} otherwise (recorded as call {done.call})")
            say(f"was: {done.was}\nnow: {done.now}")
    if not done.is_identical:
        raise typer.Exit(EXIT_NO_ANSWER)


@app.command(
    "export",
    epilog=examples(
        "guard trace export --format sft --output train.jsonl",
        "guard trace export --format dpo --function shop.read --since 30d",
        "guard trace export --format parquet --output calls.parquet",
    ),
)
def export(
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="Training data: sft (messages), dpo (prompt, chosen, rejected), kto (prompt, completion, label). "
            "Records, a row a call: jsonl, parquet, arrow.",
        ),
    ],
    function: Function = None,
    since: Since = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to; - is standard output.")
    ] = STDOUT,
    force: Force = False,
) -> None:
    """Write training data as JSON lines, in the columns that TRL reads, or the records as a table.

    Corrections and valid answers are what to learn; answers that broke the type, or that somebody said are wrong, are
    what to unlearn. Replays, and calls that were not recorded for training, are left out of training data. Records are
    whole, with every attempt.
    """
    from guard.calls.rerun import FUNCTION
    from guard.trace import TraceError, record_table
    from guard.trace import export as exported

    if form not in exported.FORMATS and form not in record_table.FORMATS:
        raise Problem(f"--format {form} must be one of {', '.join((*exported.FORMATS, *record_table.FORMATS))}")
    if form in record_table.BINARY and output == STDOUT:
        raise Problem(f"--format {form} writes no text; name a file with --output")
    record_table.check(form)
    store, began = opened(), since_of(since)
    count = 0
    damaged: list[TraceError] = []
    with _writing(output, force) as file, progress(store.count(function=function, since=began)) as (_, advance):
        calls = _advancing(store.each(function=function, since=began, damaged=damaged.append), advance)
        if form in record_table.FORMATS:
            with record_table.FORMATS[form](file) as write:
                for call in calls:
                    try:
                        if form in record_table.BINARY:
                            record_table.check_time(call)
                    except TraceError as error:
                        damaged.append(error)
                        continue
                    write(call)
                    count += 1
        else:
            asked = (call for call in calls if call.function != FUNCTION or function is not None)
            for row in exported.rows(store, asked, form):
                file.write(plain_json(row) + "\n")
                count += 1
    _tell_left_out(damaged)
    say(_counted(count, "row"), err=True)
    if damaged:
        raise typer.Exit(EXIT_NO_ANSWER)


def _tell_left_out(damaged: Sequence[TraceError]) -> None:
    """Name the calls that were left out."""
    for wrong in damaged:
        complain(f"left out: {wrong}")


def _advancing(calls: Iterator[Call], advance: Any) -> Iterator[Call]:
    for call in calls:
        advance("exporting", 1)
        yield call


@app.command(
    "feedback",
    epilog=examples(
        "guard trace feedback 12 --right",
        "guard trace feedback 12 --wrong",
        "guard trace feedback 12 --value '{\"total\": 12.5}'",
        "guard trace feedback 12 --value corrected.json",
    ),
)
def feedback(
    number: Number,
    right: Annotated[bool, typer.Option("--right", help="The answer is right.")] = False,
    wrong: Annotated[bool, typer.Option("--wrong", help="The answer is wrong.")] = False,
    value: Annotated[
        str | None, typer.Option(metavar="JSON_OR_FILE", help="What would have been right; checked against the type.")
    ] = None,
    by: Annotated[str, typer.Option(metavar="NAME", help="Who says so.")] = "person",
    as_json: AsJson = False,
) -> None:
    """Say of a call's answer whether it is right, or what would have been; with neither, show what was said.

    What is said last counts. `guard tune` learns from it before all other answers.
    """
    if right and (wrong or value is not None):
        raise Problem(f"--right and {'--wrong' if wrong else '--value'} contradict each other; give one of them")
    store = opened()
    _call(store, number)
    try:
        if value is not None:
            store.correct(number, _json_or_file(value), by)
        elif right or wrong:
            store.rate(number, right, by)
    except ValueError as error:
        raise Problem(spoken(error)) from None
    said = store.feedback([number]).get(number)
    if as_json:
        corrected = json.loads(said.value) if said and said.value else None
        say_json({"call": number, "right": said and said.right, "value": corrected, "by": said and said.by})
    elif said is None:
        say(f"nobody has said anything of call {number}")
    else:
        correction = f"; right would be {said.value}" if said.value and not said.right else ""
        say(f"call {number} is {'right' if said.right else 'wrong'}, by {said.by}{correction}")


def _json_or_file(given: str) -> Any:
    from guard.cli.named import read_text

    text = read_text(Path(given)) if not given.lstrip().startswith(("{", "[", '"')) and Path(given).is_file() else given
    try:
        return strict_json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Problem(f"--value {unread(error)}; correct it") from None


@app.command("prune", epilog=examples("guard trace prune --days 30", "guard trace prune --calls 100000"))
def prune(
    days: Annotated[
        float | None, bounded(0.000001, MOST_DAYS, "Delete calls older than this. Default: the settings'.")
    ] = None,
    calls: Annotated[int | None, bounded(1, MOST_SUM, "Keep so many of the newest. Default: the settings'.")] = None,
    as_json: AsJson = False,
) -> None:
    """Delete what is too old, for good; a file shrinks."""
    from guard.trace.retention import Retention

    store = opened()
    try:
        retention = store.retention if days is None and calls is None else Retention(days, calls)
    except ValueError as error:
        raise Problem(spoken(error)) from None
    if not retention.asks:
        raise Problem(
            "nothing says what may go; name --days or --calls, or set trace_days or trace_calls in guard.toml"
        )
    gone = store.prune(retention)
    if as_json:
        say_json({"deleted": gone})
    else:
        say(f"{_counted(gone, 'call')} deleted from {store.place}")


def opened() -> TraceStore:
    """Return the trace that the settings name."""
    from guard.settings import Settings
    from guard.trace import TraceStore

    return TraceStore.at(Settings.load().trace_path())


def _call(store: TraceStore, number: int) -> Call:
    call = store.read(number)
    if call is None:
        raise Problem(f"no call {number} in {store.place}; `guard trace list` shows those that are there")
    return call


def since_of(when: str | None) -> float | None:
    """Return --since in seconds since the epoch."""
    if when is None:
        return None
    if ago := re.fullmatch(r"(\d+)([mhdw])", when):
        seconds = float(ago[1]) * _UNITS[ago[2]]
        if seconds > MOST_DAYS * _UNITS["d"]:
            raise Problem(f"--since {cut_short(when, SHOWN)} must be at most {MOST_DAYS:g} days ago")
        return time.time() - seconds
    try:
        moment = datetime.datetime.fromisoformat(when)
    except ValueError:
        raise Problem(
            f"--since {cut_short(when, SHOWN)} must be a date, a time, or an age: 2026-01-31, 2026-01-31T12:00, 7d, 12h"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()


@contextlib.contextmanager
def _writing(path: Path, force: bool) -> Iterator[IO[str]]:
    if path == STDOUT:
        yield sys.stdout
        return
    check_new(path, force)
    try:
        with _empty_after_errors(path), private_files.open_text(path, "w") as file:
            yield file
    except OSError as error:
        raise Problem(f"{path} can't be written: {error.strerror}; name another file") from None


@contextlib.contextmanager
def _empty_after_errors(path: Path) -> Iterator[None]:
    """Empty a file that was not written to its end: it would look complete."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            if path.is_file():  # not a device or a pipe
                os.truncate(path, 0)
        raise


def _as_dict(call: Call) -> dict[str, Any]:
    return {
        "call": call.number,
        "started": _time(call),
        "function": call.function,
        "type": call.target,
        "schema_hash": call.schema_hash,
        "template": call.template,
        "model": call.model,
        "served": call.served,
        "tier": call.tier,
        "escalations": list(call.escalations),
        "options": dict(call.options),
        "outcome": call.outcome,
        "error": call.error,
        "record_for": call.record_for,
        "probabilities": dict(call.probabilities),
        "seconds": round(call.seconds, 6),
        "model_seconds": round(call.model_seconds, 6),
        "mask_seconds": round(call.mask_seconds, 6),
        "prompt_tokens": call.prompt_tokens,
        "completion_tokens": call.completion_tokens,
        "forced_tokens": call.forced_tokens,
        "estimated": call.is_estimate,
        "cost": call.cost,
        "cut_at": list(call.cut_at),
        "repeated_at": list(call.repeated_at),
        "sources": {at: [list(place) for place in places] for at, places in call.sources.items()},
        "confidence": {at: round(chance, 4) for at, chance in call.confidence.items()},
        "alternatives": {
            at: [[one.value, round(one.confidence, 4)] for one in found] for at, found in call.alternatives.items()
        },
        "answer": call.text,
    }


def _attempt_as_dict(attempt: Any) -> dict[str, Any]:
    """Return an attempt as JSON: as guard/trace/records.py has it, and under `answer` what was checked."""
    import dataclasses

    return dataclasses.asdict(attempt) | {"answer": attempt.text}


def _time(call: Call) -> str:
    return in_utc(call.started, "Z")

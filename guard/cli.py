"""The command line: `guard run`, `guard check`, `guard pull`, `guard trace`.

Results go to standard output, progress and errors to standard error. An error is one line that says what is wrong and
how to mend it. Exit codes are `EXIT_*` below; `guard --help` lists them. What costs time to import is imported by the
command that needs it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import importlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from guard.models import Progress
    from guard.records import Call
    from guard.schemas import Compiled
    from guard.trace import TraceStore

EXIT_OK = 0
EXIT_NO_ANSWER = 1  #: A model was asked and no valid answer came, or the trace can't be used.
EXIT_INPUT = 2  #: The command line or a file is wrong.
EXIT_SCHEMA = 3  #: The schema is not valid, not supported, or beyond a limit.
EXIT_MODEL = 4  #: The model is unknown, or can't be fetched or loaded.
EXIT_INTERRUPTED = 130  #: Ctrl-C.

EPILOG = (
    "Exit codes: 0 success; 1 no valid answer, or the trace can't be used; 2 wrong usage or input; 3 the schema is "
    "refused; 4 the model can't be had; 130 interrupted."
)
STDIN = Path("-")  #: The name under which standard input is read.
INSTRUCTION = "Read the text."  #: What `guard run` asks where --instruction says nothing else.
PIPED_WIDTH = 160  #: Columns of a table that goes into a file or a pipe.
CLIPPED = 100  #: Characters of a text that a table shows.

app = typer.Typer(
    name="guard",
    help="Ask a language model for a value of your type; get a valid one, or an error that says why.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
trace_app = typer.Typer(help="Look into the record of every call.", no_args_is_help=True, rich_markup_mode="markdown")
app.add_typer(trace_app, name="trace")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of tables for people.")]


class Problem(Exception):  # noqa: N818 (a person's, not the program's)
    """What a person did that can't be carried out, in one line, with the exit code that it ends in."""

    def __init__(self, message: str, code: int = EXIT_INPUT) -> None:
        super().__init__(message)
        self.code = code


def _examples(*lines: str) -> str:
    return "\n\n".join(["Examples:" if len(lines) > 1 else "Example:", *(f"`{line}`" for line in lines), EPILOG])


@app.command(
    epilog=_examples(
        "guard run invoice.schema.json --input a.txt b.txt",
        "guard run examples/invoice.py:Invoice --input examples/invoice.txt --json",
        "cat mail.txt | guard run shop.types:Ticket --input - --instruction 'Read the e-mail.'",
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
        typer.Option("--input", "-i", metavar="FILE…", help="A text to read; - is standard input. May be repeated."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="smollm2, or transformers:PATH_OR_ID. Default: the settings'.")
    ] = None,
    instruction: Annotated[str, typer.Option(help="What the model is told to do with the text.")] = INSTRUCTION,
    retries: Annotated[int | None, typer.Option(min=0, help="Re-asks after an answer that is not valid.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of sampling.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Of each answer; it always ends inside.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read files with a model: one valid value of the type for each."""
    from guard import models, prompts
    from guard.errors import GuardError, ModelError
    from guard.pipeline import Guard
    from guard.targets import from_any

    paths = [*(inputs or []), *(files or [])]
    if not paths:
        raise Problem("no input; name a file with --input FILE, or - for standard input")
    texts = [(path, read_text(path)) for path in paths]
    guard = Guard(model, retries=retries, seed=seed, max_tokens=max_tokens)
    wanted = from_any(resolve(target), guard.options)
    guard.store.check_writable()
    with _progress(len(texts)) as (report, advance):
        try:
            models.load(guard.model, report)
        except ModelError as error:
            raise Problem(str(error), EXIT_MODEL) from error
        failed = 0
        for path, text in texts:
            advance(str(path), 0)
            messages = prompts.build(instruction, {"text": text}, wanted.schema)
            plan = guard.plan(wanted, messages, template=prompts.TEMPLATE, function="guard run")
            try:
                _, call = guard.run(plan)
            except GuardError as error:
                failed += 1
                _complain(f"{path}: {_first_line(error)}")
            else:
                _print_value(path, call, as_json, alone=len(texts) == 1)
            advance(str(path), 1)
    if failed:
        raise typer.Exit(EXIT_NO_ANSWER)


@app.command(epilog=_examples("guard check schema.json", "guard check shop.types:Ticket --json"))
def check(
    target: Annotated[str, typer.Argument(metavar="SCHEMA_OR_MODULE:TYPE", help="As for guard run.")],
    inexact: Annotated[
        bool, typer.Option(help="Let keywords that can't be enforced exactly through, marked residual.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what of a schema the masks enforce, what they leave to validation, and how fast."""
    from guard.errors import SchemaError
    from guard.targets import from_any

    wanted = resolve(target)
    options = {"inexact": "residual" if inexact else "refuse"}
    from_any({}, {})  # what is imported on first use is not the schema's time
    started = time.perf_counter()
    try:
        compiled = from_any(wanted, options).compiled
    except SchemaError as error:
        if as_json:
            findings = [dataclasses.asdict(finding) for finding in error.findings]
            typer.echo(json.dumps({"refused": findings}))
        raise
    compile_seconds = time.perf_counter() - started
    mask_seconds = _first_mask(compiled)
    if as_json:
        lines = [dataclasses.asdict(line) for line in compiled.report]
        times = {"compile_seconds": compile_seconds, "first_mask_seconds": mask_seconds}
        typer.echo(json.dumps({"hash": compiled.hash, "report": lines, **times}))
        return
    table = _table("pointer", "keyword", "status", "note")
    for line in compiled.report:
        table.add_row(line.pointer or "(root)", line.keyword or "", line.status, line.note or "")
    console = _console()
    console.print(table)
    console.print(
        f"compiled in {compile_seconds * 1e3:.2f} ms; first mask {mask_seconds * 1e3:.2f} ms later (over single bytes)"
    )


@app.command(epilog=_examples("guard pull smollm2"))
def pull(model: Annotated[str, typer.Argument(help="The model to fetch: smollm2.")] = "smollm2") -> None:
    """Fetch a model into the user's cache, ahead of need."""
    from guard import models
    from guard.errors import ModelError

    with _progress(0) as (report, _):
        try:
            folder = models.pull(model, report)
        except ModelError as error:
            raise Problem(str(error), EXIT_MODEL) from error
    typer.echo(folder)


@trace_app.command("list", epilog=_examples("guard trace list", "guard trace list --outcome ValidationFailed --json"))
def trace_list(
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 20,
    outcome: Annotated[str | None, typer.Option(help="Only calls that ended so: valid, or an error's name.")] = None,
    function: Annotated[str | None, typer.Option(help="Only calls of this function.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the latest calls."""
    from rich.text import Text

    store = _store()
    calls = store.latest(limit=limit, outcome=outcome, function=function)
    if as_json:
        for call in calls:
            typer.echo(json.dumps(_as_dict(call, attempts=False)))
        return
    if not calls:
        typer.echo(f"no calls in {store.path}")
        return
    table = _table("no", "time (UTC)", "function", "outcome", "tries", "tokens", "seconds")
    table.expand = True
    table.add_column("answer", ratio=1, min_width=24, no_wrap=True, overflow="ellipsis")  # what width the others leave
    for call in calls:
        answer = call.text if call.outcome == "valid" else call.error
        table.add_row(
            str(call.number),
            _time(call)[5:16],
            call.function or call.target,
            call.outcome,
            str(len(call.attempts)),
            str(call.tokens),
            f"{call.seconds:.2f}",
            Text(_clip(answer)),
        )
    _console().print(table)


@trace_app.command("show", epilog=_examples("guard trace show 12", "guard trace show 12 --json"))
def trace_show(
    number: Annotated[int, typer.Argument(help="The call's number in `guard trace list`.")],
    as_json: AsJson = False,
) -> None:
    """Show one call: every attempt, what was asked, what came, what was found."""
    from rich.text import Text

    store = _store()
    call = store.read(number)
    if call is None:
        raise Problem(f"no call {number} in {store.path}; `guard trace list` shows those that are there")
    if as_json:
        typer.echo(json.dumps(_as_dict(call, attempts=True)))
        return
    console = _console()
    facts = _as_dict(call, attempts=False)
    table = _table("", "")
    for name, value in facts.items():
        table.add_row(name, Text(value if isinstance(value, str) else json.dumps(value)))
    console.print(table)
    for attempt in call.attempts:
        console.rule(f"attempt {attempt.number}")
        for message in attempt.messages:
            console.print(Text(f"{message.get('role')}:", style="bold"))
            console.print(Text(str(message.get("content"))))
        console.print(Text("answer:", style="bold"))
        console.print(Text(attempt.text or attempt.error))
        for finding in attempt.findings:
            console.print(Text(f"finding: {finding}", style="yellow"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; ends the process with one of the exit codes above."""
    sys.exit(_main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    from guard.errors import GuardError, ModelError, SchemaError, SettingError

    # typer carries click inside or beside it, as its version has it; in both its usage errors are BadParameter's base.
    usage_error: Any = typer.BadParameter.__base__
    try:
        code = app(arguments, prog_name="guard", standalone_mode=False)
        if code == EXIT_INTERRUPTED:  # some versions of typer answer Ctrl-C so, others raise Abort
            raise KeyboardInterrupt
    except Problem as problem:
        return _complain(str(problem), problem.code)
    except SchemaError as error:
        more = f" (and {len(error.findings) - 1} more)" if len(error.findings) > 1 else ""
        return _complain(f"the schema is refused: {_first_line(error)}{more}", EXIT_SCHEMA)
    except ModelError as error:
        return _complain(_first_line(error), EXIT_MODEL)
    except SettingError as error:
        return _complain(_first_line(error), EXIT_INPUT)
    except GuardError as error:
        return _complain(_first_line(error), EXIT_NO_ANSWER)
    except usage_error as error:
        words = error.format_message().rstrip(".")
        # No words: `guard` alone, which has printed its help.
        return _complain(f"{words}; see `{_command(error)} --help`", EXIT_INPUT) if words else EXIT_INPUT
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:  # `guard trace list | head`
        sys.stdout = None
        return EXIT_OK
    return code if isinstance(code, int) else EXIT_OK  # of a typer.Exit


def read_text(path: Path) -> str:
    """Return a file's text; Problem says why it can't be read."""
    try:
        data = sys.stdin.buffer.read() if path == STDIN else path.read_bytes()
    except FileNotFoundError:
        raise Problem(f"no such file: {path}; check the name") from None
    except OSError as error:
        raise Problem(f"{path} can't be read: {error.strerror}; name a readable file") from None
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Problem(f"{path} is not UTF-8 (byte {error.start}); convert it to UTF-8") from None
    if not text.strip():
        raise Problem(f"{path} is empty; there is nothing to read in it")
    return text


def resolve(target: str) -> Any:
    """Return what a command line calls a type: a JSON Schema's content, or the type that `module:Type` names."""
    place, colon, name = target.rpartition(":")
    if not colon or Path(target).exists():
        text = read_text(Path(target))
        try:
            schema = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Problem(f"{target} is not JSON ({error}); give a JSON Schema, module:Type, or file.py:Type") from None
        if not isinstance(schema, dict | bool):
            raise Problem(f"{target} is JSON but no JSON Schema: a schema is an object or a boolean")
        return text
    module = _import(place)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            names = [n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == module.__name__]
            known = f"; it has {', '.join(names)}" if names else ""
            raise Problem(f"{place} has no {name}{known}")
        found = getattr(found, part)
    return found


def _import(place: str) -> Any:
    """Import a module by name, from the working directory too, or a file by path."""
    path = Path(place)
    name = place
    if path.suffix == ".py":
        if not path.is_file():
            raise Problem(f"no such file: {path}; check the name")
        sys.path.insert(0, str(path.parent.resolve()))
        name = path.stem
    else:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name == name or name.startswith(f"{error.name}.")
        what = f"no module {name}" if missing else f"{place} can't be imported: no module {error.name}"
        raise Problem(f"{what}; run from its folder, install it, or name a file.py:Type") from None
    except Exception as error:
        raise Problem(f"{place} can't be imported: {type(error).__name__}: {_first_line(error)}; correct it") from None
    finally:
        sys.path.pop(0)


def _first_mask(compiled: Compiled) -> float:
    """Return the seconds from a compiled schema to its first mask, over a vocabulary of single bytes."""
    import numpy as np

    from guard.kernels.vocabulary import Vocabulary

    vocabulary = Vocabulary.from_bytes([*(bytes([byte]) for byte in range(256)), b""], eos=[256])
    bitmask = np.zeros((1, 9), np.int32)
    started = time.perf_counter()
    compiled.matcher(vocabulary).fill_bitmask(bitmask)
    return time.perf_counter() - started


def _store() -> TraceStore:
    from guard.settings import Settings
    from guard.trace import TraceStore

    return TraceStore.at(Settings.load().trace_path())


def _as_dict(call: Call, *, attempts: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "call": call.number,
        "started": _time(call),
        "function": call.function,
        "type": call.target,
        "schema_hash": call.schema_hash,
        "template": call.template,
        "model": call.model,
        "served": call.served,
        "options": dict(call.options),
        "outcome": call.outcome,
        "error": call.error,
        "seconds": round(call.seconds, 6),
        "model_seconds": round(call.model_seconds, 6),
        "mask_seconds": round(call.mask_seconds, 6),
        "prompt_tokens": call.prompt_tokens,
        "completion_tokens": call.completion_tokens,
        "forced_tokens": call.forced_tokens,
        "answer": call.text,
    }
    if attempts:
        facts["attempts"] = [
            {
                "number": a.number,
                "messages": list(a.messages),
                "answer": a.text,
                "error": a.error,
                "findings": [vars(finding) for finding in a.findings],
            }
            for a in call.attempts
        ]
    return facts


def _print_value(path: Path, call: Call, as_json: bool, *, alone: bool) -> None:
    value = json.loads(call.text)
    if as_json:
        facts = {"value": value, "input": str(path), "call": call.number, "attempts": len(call.attempts)}
        typer.echo(json.dumps({**facts, "tokens": call.tokens, "seconds": round(call.seconds, 3)}, ensure_ascii=False))
        return
    if not alone:
        typer.echo(f"# {path}")
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


@contextlib.contextmanager
def _progress(total: int) -> Iterator[tuple[Progress, Any]]:
    """Show a bar on standard error: `report` for what a model's loading says, `advance` for inputs done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        inputs = bar.add_task("reading", total=total, visible=False)
        steps: dict[str, Any] = {}

        def report(step: str, done: int, size: int) -> None:
            if step not in steps:
                steps[step] = bar.add_task(step, total=None)
            bar.update(steps[step], completed=done, total=size or None)

        def advance(name: str, count: int) -> None:
            for step in steps.values():
                bar.update(step, visible=False)
            bar.update(inputs, description=name, advance=count, visible=True)

        yield report, advance


def _console() -> Console:
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=PIPED_WIDTH)


def _table(*columns: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _complain(message: str, code: int = EXIT_NO_ANSWER) -> int:
    typer.echo(f"guard: {message}", err=True)
    return code


def _command(error: Any) -> str:
    return error.ctx.command_path if getattr(error, "ctx", None) else "guard"


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _clip(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= CLIPPED else line[: CLIPPED - 1] + "…"


def _time(call: Call) -> str:
    return datetime.datetime.fromtimestamp(call.started, datetime.UTC).strftime("%Y-%m-%d %H:%M:%SZ")

"""How the command line speaks: exit codes, errors in one line, tables, progress; what all commands share.

Results go to standard output, progress and errors to standard error. What is printed here, by `say`, `say_json`,
`complain`, `console`, `table` and `progress`, is made fit for a terminal (guard/support/plain_text.py), whoever's text
it is.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from guard.support.clipping import cut_short
from guard.support.plain_text import plain, plain_json, plain_line

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.text import Text

    from guard.models import Progress

INSTRUCTION = "Read the text."  #: What a model is told to do where --instruction says nothing else.
EXIT_OK = 0
EXIT_NO_ANSWER = 1  #: No valid answer came, a replay differs, a test fails, or the trace can't be used.
EXIT_INPUT = 2  #: The command line or a file is wrong.
EXIT_SCHEMA = 3  #: The schema is not valid, not supported, or beyond a limit.
EXIT_MODEL = 4  #: The model is unknown, or can't be fetched or loaded.
EXIT_INTERRUPTED = 130  #: Ctrl-C.

EPILOG = (
    "Exit codes: 0 success; 1 no valid answer, a replay that differs, a test that fails, or the trace can't be used; "
    "2 wrong usage or input; 3 the schema is refused; 4 the model can't be had; 130 interrupted."
)
PIPED_WIDTH = 160  #: Columns of a table that goes into a file or a pipe.
CLIPPED = 100  #: Characters of a text that a table shows.

Force = Annotated[bool, typer.Option("--force", help="Write over a file that is there already.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of tables for people.")]


def bounded(least: float, most: float, help_: str) -> Any:
    """Return an option that is a number from `least` to `most`; nan, which is neither below nor above any, is none."""
    return typer.Option(min=least, max=most, callback=_finite, help=help_)


def _finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


class Problem(Exception):  # noqa: N818 (a person's, not the program's)
    """What a person did that can't be carried out, in one line, with the exit code that it ends in."""

    def __init__(self, message: str, code: int = EXIT_INPUT) -> None:
        super().__init__(message)
        self.code = code


def check_new(path: Path, force: bool) -> None:
    """Raise a Problem where a file that is to be written is there already, or is a folder, or has no folder to be in.

    Devices are neither. A file is checked before the work whose result it is to hold.
    """
    if not path.absolute().parent.is_dir():
        raise Problem(f"{path} can't be written: there is no folder {path.parent}; make it, or name another file")
    if path.is_dir():
        raise Problem(f"{path} is a folder; name a file in it")
    if path.is_file() and not force:
        raise Problem(f"{path} is there already; --force writes over it")


def examples(*lines: str) -> str:
    """Word the end of a command's help."""
    return "\n\n".join(["Examples:" if len(lines) > 1 else "Example:", *(f"`{line}`" for line in lines), EPILOG])


@contextlib.contextmanager
def progress(total: int, doing: str = "reading", note: Callable[[], str] = str) -> Iterator[tuple[Progress, Any]]:
    """Show a bar on standard error: `report` for what a model's loading says, `advance` for inputs done.

    `note` words what stands behind the bar of the inputs.
    """
    from rich.console import Console

    console = Console(file=sys.stderr)  # this very one, also where a test of an application listens to another
    if not console.is_terminal:  # rich would end what it never began with an empty line
        yield (lambda _step, _done, _size: None), (lambda _name, _count: None)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        *(TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        inputs = bar.add_task(doing, total=total, visible=False, note="")
        steps: dict[str, Any] = {}

        def report(step: str, done: int, size: int) -> None:
            if step not in steps:
                steps[step] = bar.add_task(plain_line(step), total=None, note="")
            bar.update(steps[step], completed=done, total=size or None)

        def advance(name: str, count: int) -> None:
            for step in steps.values():
                bar.update(step, visible=False)
            bar.update(inputs, description=plain_line(name), advance=count, visible=True, note=note())

        yield report, advance


def console() -> Console:
    """Return standard output, wide where nobody looks at it; what is text is shown as it is, markup and all."""
    from rich.console import Console

    class PlainConsole(Console):
        def print(self, *objects: Any, **how: Any) -> None:
            super().print(*map(_fit, objects), **how)

        def rule(self, title: Any = "", **how: Any) -> None:
            super().rule(_fit(title), **how)

    return PlainConsole() if sys.stdout.isatty() else PlainConsole(width=PIPED_WIDTH)


def table(*columns: str) -> Any:
    """Return an empty table; without a heading where no column has a name."""
    from rich import box
    from rich.table import Table

    class PlainTable(Table):
        def add_row(self, *cells: Any, **how: Any) -> None:
            super().add_row(*map(_fit, cells), **how)

    made = PlainTable(box=box.SIMPLE_HEAD, show_header=any(columns))
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def _fit(shown: Any) -> Any:
    from rich.text import Text

    if isinstance(shown, str):
        return Text(plain(shown))
    return _fit_styled(shown) if isinstance(shown, Text) else shown


def _fit_styled(shown: Text) -> Text:
    """Return a text as it may be shown, with its styles where they were."""
    from rich.text import Span, Text

    moved, at = {0: 0}, 0
    for edge in sorted({edge for span in shown.spans for edge in (span.start, span.end)}):
        moved[edge] = moved[at] + len(plain(shown.plain[at:edge]))
        at = edge
    spans = [Span(moved[span.start], moved[span.end], span.style) for span in shown.spans]
    return Text(plain(shown.plain), shown.style, spans=spans)


def say(text: str, *, err: bool = False) -> None:
    """Print a text, on standard output or standard error."""
    if not err:
        typer.echo(plain(text))
        return
    try:
        typer.echo(plain(text), err=True)
    except OSError:  # nobody reads it; the exit code says how it went
        sys.stderr = Nowhere()


class Stdout:
    """Standard output, of which a Problem says that it can't be written: the disk is full, or the pipe is closed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text."""
        with _problem():
            return self._stream.write(text)

    def flush(self) -> None:
        """Hand on what was written."""
        with _problem():
            self._stream.flush()

    @property
    def is_read(self) -> bool:
        """Whether there is a stream behind it: not where the shell closed it, `>&-`."""
        return not isinstance(self._stream, Nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def _problem() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Problem(f"standard output can't be written: {error.strerror}") from None


class Nowhere(io.StringIO):
    """Stands for standard output or standard error where that can't be written."""

    def write(self, text: str) -> int:
        """Drop a text."""
        return len(text)


def say_json(value: Any, indent: int | None = None) -> None:
    """Print a value as JSON."""
    typer.echo(plain_json(value, indent))


def complain(message: str, code: int = EXIT_NO_ANSWER) -> int:
    """Print an error; returns the exit code."""
    say(f"guard: {plain_line(message)}", err=True)
    return code


def first_line(error: BaseException) -> str:
    """Return an error as one line."""
    return next(filter(str.strip, str(error).splitlines()), type(error).__name__)


def _option(found: re.Match[str]) -> str:
    return f"--{_NAMES.get(found[1], found[1]).replace('_', '-')} {found[2].removesuffix('.0')} "


def _choices(found: re.Match[str]) -> str:
    return found[0].removeprefix("None, ").replace("'", "")


#: Arguments whose option has another name.
_NAMES = {"faults": "fault", "documents": "document"}
#: How what the library says of arguments is said of options.
_OPTIONS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"documents=\{'([^']*)': \.\.\.\}"), r"--document \1=FILE"),
    (re.compile(r"\bdocuments=$"), "--document URI=FILE"),
    (
        re.compile(r'compile with inexact="residual" and validate the finished value'),
        "give --inexact, which leaves it to validation",
    ),
    (re.compile(r'\bdraft="([\w.-]+)"'), r"--draft \1"),
    (re.compile(r"\bdraft=(?=[: ])"), "--draft"),
    (re.compile(r"with limits=(guard\.Limits\(\w+=\.\.\.\))"), r"with \1 in Python"),
    (re.compile(r"^on=\{'(\w+)': '?(\w+|…)'?\}"), r"--on \1=\2"),
    (re.compile(r"\bgive escalate_to=, or '(\w+)'$"), r"give --escalate-to, or \1"),
    (re.compile(r"(?<=under )retries=0\b"), "--retries 0"),
    (re.compile(r": give confidence=$"), ", which a structured function has: guard.structured(confidence=…)"),
    (
        re.compile(r"^([a-z_]+)='?(\S*?)'? (?=must )"),
        lambda m: f"--{_NAMES.get(m[1], m[1]).replace('_', '-')} {m[2].removesuffix('.0')} ",
    ),
    (re.compile(r"(?<=must be one of )(None, )?('\S+')(, '\S+')*$"), _choices),
)


def spoken(words: object) -> str:
    """Return the first line of what the library says of a call's arguments, said of a command line's options."""
    line = first_line(words) if isinstance(words, BaseException) else str(words)
    for pattern, said in _OPTIONS:
        line = pattern.sub(said, line)
    return line


def clip(text: str) -> str:
    """Return a text as one short line."""
    line = " ".join(text.split())
    return cut_short(line, CLIPPED)

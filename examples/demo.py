"""Read the documents in this folder with a small model, and show what came of it.

`python -m examples.demo [--model NAME]`. Each document is read twice by the same model: under Guard's masks, and
unconstrained with lenient parsing (code fences stripped, the first JSON object found). The unconstrained run is told
the names of the fields, which the masked run need not be.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.panel import Panel
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from examples import incident_report, invoice, lab_report, support_email
from guard import models
from guard.models import Request
from guard.support.plain_text import plain_json, plain_line
from guard.trace.records import Call

HERE = Path(__file__).parent
EXAMPLES = {
    module.__name__.rpartition(".")[2]: module for module in (invoice, support_email, incident_report, lab_report)
}
FREE_TOKENS = 192  #: Of an unconstrained answer: half more than the longest value here. Most don't end by themselves.
SHOWN = 100  #: Characters of an unconstrained answer that are shown.
WIDTH = 80  #: Columns of what is printed.
EXPECTED = json.loads((HERE / "expected.json").read_text())


@dataclass(frozen=True)
class Score:
    """What one reading of a document is worth."""

    right: int  # fields as expected
    total: int
    is_valid: bool
    text: str  # as the model wrote it

    def __str__(self) -> str:
        return f"{self.right}/{self.total}"


@dataclass(frozen=True)
class Row:
    """A document read twice by one model."""

    title: str
    kind: str  # the type's name
    masked: Score
    free: Score
    call: Call


def main() -> int:
    """Run the demo."""
    parser = argparse.ArgumentParser(description="Read the example documents with a small model.")
    parser.add_argument("--model", default="smollm2", help="a model's name (default: %(default)s)")
    name = parser.parse_args().model
    console = Console()
    rows: list[Row] = []
    with _progress(console) as bar:
        task = bar.add_task(f"loading {name}")
        model = models.load(name, lambda step, done, all_: bar.update(task, description=f"{step} {_share(done, all_)}"))
        for title, module in EXAMPLES.items():
            text = (HERE / f"{title}.txt").read_text()
            bar.update(task, description=f"reading {title}.txt")
            value, call = module.read.using(model=model).traced(text)
            bar.update(task, description=f"reading {title}.txt without masks")
            free = read_unconstrained(model, module, text, EXPECTED[title])
            got = json.loads(value.model_dump_json())
            rows.append(Row(title, call.target, Score(*count_right(got, EXPECTED[title]), True, call.text), free, call))
            console.print(_panel(rows[-1], got, EXPECTED[title]))
    console.print(_summary(rows))
    where = EXAMPLES["invoice"].read.guard.store.place.replace(str(Path.home()), "~", 1)
    console.print(f"trace: {where} (guard trace list, guard trace show {rows[-1].call.number})", soft_wrap=True)
    return 0


def read_unconstrained(model: models.Model, module: Any, text: str, expected: Any) -> Score:
    """Let the model write what it likes, told the names of the fields, and score what lenient parsing finds."""
    target = module.read.target
    (message,) = module.read.messages(text)
    content = f"{message['content'].removesuffix('.')} with {', '.join(target.schema['properties'])}."
    reply = model.generate(Request(({**message, "content": content},), None, max_tokens=FREE_TOKENS))
    found = lenient(reply.text)
    return Score(*count_right(found, expected), not target.check(json.dumps(found))[1], reply.text)


def lenient(text: str) -> Any:
    """Return the first JSON object in a text, code fences or not; None where there is none."""
    text = re.sub(r"```\w*", "", text)
    start = text.find("{")
    try:
        return json.JSONDecoder().raw_decode(text, start)[0] if start >= 0 else None
    except ValueError:
        return None


def leaves(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """List the fields of a value, by path."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from leaves(part, f"{at}.{key}" if at else key)
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from leaves(part, f"{at}[{index}]")
    else:
        yield at, value


def same(got: Any, expected: Any) -> bool:
    """Answer whether a field is right: numbers by value, texts but for case and spacing."""
    if isinstance(got, str) and isinstance(expected, str):
        return " ".join(got.casefold().split()) == " ".join(expected.casefold().split())
    return isinstance(got, bool) == isinstance(expected, bool) and bool(got == expected)


def count_right(got: Any, expected: Any) -> tuple[int, int]:
    """Count the expected fields that a value has right, and all expected fields."""
    found, wanted = dict(leaves(got)), dict(leaves(expected))
    return sum(path in found and same(found[path], value) for path, value in wanted.items()), len(wanted)


def _panel(row: Row, got: Any, expected: Any) -> Panel:
    table = Table(box=None, show_header=False, padding=(0, 1))
    wanted = dict(leaves(expected))
    for path, value in leaves(got):
        right = path in wanted and same(value, wanted[path])
        table.add_row(
            Text("✓" if right else "✗", style="green" if right else "red"),
            Text(path, style="bold"),
            Text(plain_json(value)),
            Text("" if right else f"expected {json.dumps(wanted.get(path), ensure_ascii=False)}", style="dim"),
        )
    free = " ".join(row.free.text.split())
    shown = Text(f"without masks: {plain_line(free[:SHOWN])}…", style="dim", no_wrap=True, overflow="ellipsis")
    return Panel(Group(table, shown), title=f"{row.title}.txt → {row.kind}", title_align="left", width=WIDTH)


def _summary(rows: list[Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, width=WIDTH, padding=(0, 0, 0, 1))
    for column in ("document", "valid", "right", "valid*", "right*", "tokens", "tokens/s", "on masks"):
        table.add_column(column, justify="left" if column == "document" else "right", no_wrap=True)
    for row in rows:
        call = row.call
        table.add_row(
            row.title,
            _yes(row.masked.is_valid),
            str(row.masked),
            _yes(row.free.is_valid),
            str(row.free),
            str(call.completion_tokens),
            f"{call.completion_tokens / call.model_seconds:.1f}",
            f"{call.mask_seconds / call.model_seconds:.1%}",
        )
    seconds, tokens = (sum(getattr(row.call, name) for row in rows) for name in ("model_seconds", "completion_tokens"))
    total = sum(row.masked.total for row in rows)
    table.add_section()
    table.add_row(
        f"all, by {rows[0].call.served}",
        f"{sum(row.masked.is_valid for row in rows)}/{len(rows)}",
        f"{sum(row.masked.right for row in rows)}/{total}",
        f"{sum(row.free.is_valid for row in rows)}/{len(rows)}",
        f"{sum(row.free.right for row in rows)}/{total}",
        str(tokens),
        f"{tokens / seconds:.1f}",
        f"{sum(row.call.mask_seconds for row in rows) / seconds:.1%}",
        style="bold",
    )
    table.caption = f"right: fields as expected   *: no masks, at most {FREE_TOKENS} tokens, leniently parsed"
    return table


def _yes(is_so: bool) -> Text:
    return Text("yes", style="green") if is_so else Text("no", style="red")


def _progress(console: Console) -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _share(done: int, total: int) -> str:
    return f"{done / total:.0%}" if total else ""


if __name__ == "__main__":
    sys.exit(main())

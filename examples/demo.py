"""Read the documents in this folder with a small model, and show what came of it.

`python -m examples.demo [--model NAME]`. Each document is read twice by the same model: under Guard's masks, and
unconstrained with lenient parsing (code fences stripped, the first JSON object found). The unconstrained run is told
the names of the fields, which the masked run need not be. Exit code 1 if any typed value is missing.
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

HERE = Path(__file__).parent
EXAMPLES = {
    module.__name__.rpartition(".")[2]: module for module in (invoice, support_email, incident_report, lab_report)
}
FREE_TOKENS = 256  #: Of an unconstrained answer: twice what the longest value here takes. Most never end by themselves.
EXPECTED = json.loads((HERE / "expected.json").read_text())


@dataclass(frozen=True)
class Score:
    """How many of the expected fields a value has right."""

    right: int
    total: int
    valid: bool

    def __str__(self) -> str:
        return f"{self.right}/{self.total}"


def main() -> int:
    """Run the demo."""
    parser = argparse.ArgumentParser(description="Read the example documents with a small model.")
    parser.add_argument("--model", default="smollm2", help="a model's name (default: %(default)s)")
    name = parser.parse_args().model
    console = Console()
    with _progress(console) as bar:
        task = bar.add_task(f"loading {name}")
        model = models.load(
            name, lambda step, done, total: bar.update(task, description=f"{step} {_share(done, total)}")
        )
        rows, panels = [], []
        for title, module in EXAMPLES.items():
            text = (HERE / f"{title}.txt").read_text()
            bar.update(task, description=f"reading {title}.txt")
            module.read.guard.model = model
            value, call = module.read.traced(text)
            bar.update(task, description=f"reading {title}.txt without masks")
            free = unconstrained(model, module, text)
            got = json.loads(value.model_dump_json())
            score = Score(*_right(got, EXPECTED[title]), valid=True)
            rows.append((title, type(value).__name__, score, free, call))
            panels.append(_panel(title, got, EXPECTED[title]))
    for panel in panels:
        console.print(panel)
    console.print(_summary(rows))
    console.print(f"trace: {module.read.guard.store.path}   (guard trace list, guard trace show {rows[-1][-1].number})")
    return 0 if all(call.outcome == "valid" for *_, call in rows) else 1


def unconstrained(model: models.Model, module: Any, text: str) -> Score:
    """Let the model write what it likes, told the names of the fields, and score what lenient parsing finds."""
    wanted = module.read.target.schema
    (message,) = module.read.messages(text)
    content = f"{message['content'].removesuffix('.')} with {', '.join(wanted['properties'])}."
    reply = model.generate(Request(({**message, "content": content},), None, max_tokens=FREE_TOKENS))
    found = lenient(reply.text)
    title = module.__name__.rpartition(".")[2]
    return Score(*_right(found, EXPECTED[title]), valid=not module.read.target.check(json.dumps(found))[1])


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


def _right(got: Any, expected: Any) -> tuple[int, int]:
    found, wanted = dict(leaves(got)), dict(leaves(expected))
    return sum(path in found and same(found[path], value) for path, value in wanted.items()), len(wanted)


def _panel(title: str, got: Any, expected: Any) -> Panel:
    table = Table(box=None, show_header=False, padding=(0, 1))
    found, wanted = dict(leaves(got)), dict(leaves(expected))
    for path, value in found.items():
        right = path in wanted and same(value, wanted[path])
        note = "" if right else f"expected {json.dumps(wanted.get(path), ensure_ascii=False)}"
        table.add_row(
            Text("✓" if right else "✗", style="green" if right else "red"),
            Text(path, style="bold"),
            Text(json.dumps(value, ensure_ascii=False)),
            Text(note, style="dim"),
        )
    return Panel(table, title=f"{title}.txt", title_align="left", expand=False)


def _summary(rows: list[Any]) -> Group:
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("document", "type", "valid", "fields right", "without masks", "tokens", "tokens/s", "time on masks"):
        table.add_column(column, justify="left" if column in ("document", "type") else "right")
    for title, kind, score, free, call in rows:
        table.add_row(
            f"{title}.txt",
            kind,
            Text("yes", style="green"),
            str(score),
            f"{free} {'valid' if free.valid else 'invalid'}",
            str(call.completion_tokens),
            f"{call.completion_tokens / call.model_seconds:.1f}",
            f"{call.mask_seconds / call.model_seconds:.2%}",
        )
    calls = [row[-1] for row in rows]
    right, total = sum(row[2].right for row in rows), sum(row[2].total for row in rows)
    free_right, free_valid = sum(row[3].right for row in rows), sum(row[3].valid for row in rows)
    seconds, tokens = sum(c.model_seconds for c in calls), sum(c.completion_tokens for c in calls)
    table.add_section()
    table.add_row(
        "all",
        calls[0].served,
        f"{len(rows)}/{len(rows)}",
        f"{right}/{total} {right / total:.0%}",
        f"{free_right}/{total} {free_right / total:.0%}, {free_valid}/{len(rows)} valid",
        str(tokens),
        f"{tokens / seconds:.1f}",
        f"{sum(c.mask_seconds for c in calls) / seconds:.2%}",
        style="bold",
    )
    return Group(table)


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not console.is_terminal,
    )


def _share(done: int, total: int) -> str:
    return f"{done / total:.0%}" if total else ""


if __name__ == "__main__":
    sys.exit(main())

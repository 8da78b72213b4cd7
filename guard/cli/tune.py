"""`guard tune`: right answers on record become a small model's weights.

What it does is made in guard/tuning/; how the command line speaks is guard/cli/console.py's.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from guard.cli import named, trace
from guard.cli.console import (
    EXIT_MODEL,
    AsJson,
    Problem,
    bounded,
    examples,
    first_line,
    progress,
    say,
    say_json,
    spoken,
)
from guard.support.bounds import LEAST_SEED, MOST_COUNT, MOST_SEED

if TYPE_CHECKING:
    from guard.tuning.examples import Pair
    from guard.tuning.training import TrainingReport

EXAMPLES = examples(
    "guard tune shop.read --since 30d",
    "guard tune app.py:read_invoice --minutes 30",
    "guard tune schema.json --data answers.jsonl --out ./tuned",
)
SHOWN = 10  #: Most names of functions that a message lists.
SAID_EVERY_S = 10.0  #: Between two lines of progress where nobody looks at a bar.


def tune(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FUNCTION|SCHEMA",
            help="A function by the name that the trace has, or as file.py:function; or a file with a JSON Schema.",
        ),
    ],
    since: trace.Since = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.jsonl",
            help="Right answers from a file, not the trace: {messages, answer}, and schema where it is not SCHEMA.",
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="What is tuned: smollm2, or transformers:FOLDER.")] = "smollm2",
    loss: Annotated[
        str,
        typer.Option(
            help="masked: where the masks leave a choice, over what they allow; chosen: there, over all tokens;"
            " all: on every token. A model tuned by masked is to be asked under masks."
        ),
    ] = "masked",
    layers: Annotated[int, bounded(1, 1000, "Trained, from the top.")] = 15,
    minutes: Annotated[float, bounded(0.01, 10_000, "Of training at most.")] = 10.0,
    steps: Annotated[
        int | None,
        bounded(1, MOST_COUNT, "Exactly so many instead; on one thread the same seed gives the same weights."),
    ] = None,
    branches: Annotated[
        int,
        bounded(1, 100, "Times that the second half is trained, each in another order; the mean is kept."),
    ] = 1,
    seed: Annotated[int, bounded(LEAST_SEED, MOST_SEED, "Of the order of examples, and of what is trained.")] = 0,
    memory: Annotated[float, bounded(0.1, 10_000, "Gigabytes that the process takes at most, about.")] = 3.0,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="A new folder. Default: the function's next in the registry.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tune a small model on right answers, and save it as a folder that `transformers:FOLDER` loads.

    Right are a person's corrections, what a person said is right, and valid, whole answers of other models. A tenth is
    held out. Killed, the same command goes on from its last checkpoint.
    """
    from guard.errors import GuardError, ModelError
    from guard.tuning import answers
    from guard.tuning.registry import Registry

    function, schema = resolved(target)
    name = function or (Path(target).stem if os.path.exists(target) else target)  # noqa: PTH110 (as in `resolved`)
    dropped: Counter[str] = Counter()
    try:
        folder = out or Registry.default().next_folder(name)
        pairs = right_answers(data, function, schema, since, {model, f"tuned:{name}"}, dropped)
    except GuardError as error:
        raise Problem(first_line(error)) from None

    from guard.tuning import job  # imported late, as the next: they need torch, which takes seconds to import
    from guard.tuning.training import Recipe

    try:
        recipe = Recipe(
            loss=loss,
            layers=layers,
            branches=branches,
            seed=seed,
            steps=steps,
            gigabytes=memory,
            seconds=None if steps else 60 * minutes,
        )
    except ValueError as error:
        raise Problem(spoken(error)) from None
    for words in answers.terms(pairs):
        say(f"guard: {words}", err=True)
    lineage = {"function": function, "data": str(data) if data else None}
    with progress(1000, note=lambda: said.note) as (_, advance):
        said = _Said(advance)
        try:
            tuned = job.tune(
                pairs, folder, model=model, recipe=recipe, told=said.take, dropped=dropped, lineage=lineage
            )
        except ModelError as error:
            raise Problem(first_line(error), EXIT_MODEL) from error
        except GuardError as error:
            raise Problem(spoken(error)) from error
        except KeyboardInterrupt:
            raise Problem("interrupted; the same command goes on from the last checkpoint", 130) from None
    if as_json:
        say_json({"folder": str(tuned.folder), **tuned.card})
        return
    left_out = ", ".join(f"{count} {why}" for why, count in dropped.most_common()) or "none"
    say(
        f"{tuned.folder}: {tuned.card['examples']} examples, {tuned.card['steps']} steps; left out: {left_out}",
        err=True,
    )
    say(f"held out before: {tuned.before}", err=True)
    say(f"held out after: {tuned.after}", err=True)
    say(f"transformers:{tuned.folder}")


class _Said:
    """What is said while it trains: a bar where somebody looks, else a line now and then."""

    def __init__(self, advance: Any) -> None:
        self.note = ""
        self._advance = advance
        self._done = 0
        self._last = time.monotonic()

    def take(self, report: TrainingReport) -> None:
        """Show where training is."""
        left = max(0, round(report.seconds_left))
        self.note = f"step {report.step}, loss {report.loss:.3f}, {left // 60}:{left % 60:02} left"
        if report.validation is not None:
            self.note = f"step {report.step}, {report.validation}"
        done = round(1000 * min(1.0, report.progress))
        self._advance("training", done - self._done)
        self._done = done
        if not sys.stderr.isatty() and time.monotonic() - self._last >= SAID_EVERY_S:
            self._last = time.monotonic()
            say(f"guard: {report.progress:.0%}, {self.note}", err=True)


def resolved(target: str) -> tuple[str | None, Any]:
    """Return the name of a function, or a schema."""
    from guard.calls.decorator import Decorated

    if os.path.isfile(target) or ":" in target:  # noqa: PTH113 (of a name that no file can have, pathlib raises)
        found = named.resolve(target)
        if isinstance(found, Decorated):
            return found.name, None
        return None, found
    return target, None


def right_answers(
    data: Path | None, function: str | None, schema: Any, since: str | None, own: set[str], dropped: Counter[str]
) -> list[Pair]:
    """Return right answers from a file or the trace; `own` are models whose own answers prove nothing.

    Nor do those of their relatives in the registry.
    """
    from guard.output import target as targets
    from guard.tuning import answers
    from guard.tuning.registry import Registry

    if data is not None:
        if data.is_dir():
            raise Problem(f"{data} is a folder; name a file in it")
        if not data.is_file():
            raise Problem(f"no such file: {data}")
        compiled = None if schema is None else targets.from_any(schema, {}).compiled
        return list(answers.from_file(data, dropped, None if compiled is None else compiled.arguments()["schema"]))
    store = trace.opened()
    if function is not None and next(store.each(function=function), None) is None:
        there = sorted({row.about.function for row in store.ledger() if row.about.function})
        known = (
            f"there are calls of {', '.join(there[:SHOWN])}{' …' * (len(there) > SHOWN)}" if there else "it has none"
        )
        raise Problem(f"no call of a function {function} is on record in {store.place}; {known}")
    schema_hash = None if schema is None else targets.from_any(schema, {}).compiled.hash
    return list(
        answers.from_trace(
            store,
            dropped,
            own=Registry.default().relatives(own),
            function=function,
            schema_hash=schema_hash,
            since=trace.since_of(since),
        )
    )

"""Evaluation: figures of models over cases with known answers, and whether one model may replace another.

A case is an input and its expected value; each is one call of the pipeline. All intervals are at 95%. Shares have
Wilson's score interval (1927). Means and differences have bootstrap intervals over the cases: percentiles of
`RESAMPLES` resamples of a fixed seed (Efron 1979). Two models are compared case by case, as pairs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from guard.calls import prompts
from guard.calls.pipeline import Guard
from guard.decoding import confidence
from guard.errors import CallError, GuardError, SchemaError, SettingError
from guard.output.target import Target
from guard.support import strict_json
from guard.support.json_equality import are_equal
from guard.support.strict_json import unread
from guard.testing.oracle import plain
from guard.trace.records import Call

RESAMPLES = 2_000
LEVEL = 1.959964  #: Standard deviations of a 95% interval.
LEAST = 20  #: Fewest cases from which it is concluded that a model may replace another, or may not.
MARGIN = 0.05  #: Largest loss of accuracy over fields at which a model may still replace another.
_MISSING = object()

Interval = tuple[float, float]


@dataclass(frozen=True)
class Case:
    """One input and its expected value. `schema` is the schema's name, where there are several."""

    input: str
    expected: Any = _MISSING
    schema: str = ""
    place: str = field(default="", compare=False)  # where it is written

    @property
    def is_known(self) -> bool:
        """Whether the expected value is known."""
        return self.expected is not _MISSING


@dataclass(frozen=True)
class Outcome:
    """A model's answer to one case, with its figures."""

    case: int
    outcome: str  # "valid", or the name of the error
    value: Any = None  # as JSON
    right: Mapping[str, bool] = field(default_factory=dict)  # exact match by field, where the expected value is known
    is_exact: bool | None = None  # whether the whole value is the expected one
    reasks: int = 0
    tokens: int = 0
    seconds: float = 0.0
    removed: float | None = None  # mean share of the probability that masks removed; None where unknown
    forced: float | None = None  # share of the tokens that the schema alone determined
    cost: float | None = None  # US dollars
    served: str = ""
    call: int | None = None  # number of the record in the trace

    @property
    def is_valid(self) -> bool:
        """Whether there is a value."""
        return self.outcome == "valid"


@dataclass(frozen=True)
class Measure:
    """A share or a mean, with its interval."""

    mean: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.mean:.3g} [{self.low:.3g}, {self.high:.3g}]"


@dataclass
class Evaluation:
    """One model on one schema."""

    schema: str
    model: str
    outcomes: list[Outcome]

    @property
    def measures(self) -> dict[str, Measure]:
        """All figures by name; those that nothing is known of are absent."""
        outcomes = self.outcomes
        found = {"valid": share([o.is_valid for o in outcomes])}
        exact = [o.is_exact for o in outcomes if o.is_exact is not None]
        if exact:
            found["exact"] = share(exact)
            per_case = [sum(o.right.values()) / len(o.right) for o in outcomes if o.right]
            if per_case:
                found["right"] = mean(per_case)
        found["reasks"] = mean([o.reasks for o in outcomes])
        found["tokens"] = mean([o.tokens for o in outcomes])
        found["seconds"] = mean([o.seconds for o in outcomes])
        for name in ("removed", "forced", "cost"):
            values = [getattr(o, name) for o in outcomes if getattr(o, name) is not None]
            if values:
                found[name] = mean(values)
        return found

    @property
    def fields(self) -> dict[str, Measure]:
        """Exact match of each field."""
        names = dict.fromkeys(name for outcome in self.outcomes for name in outcome.right)
        return {name: share([o.right[name] for o in self.outcomes if name in o.right]) for name in names}


@dataclass(frozen=True)
class Comparison:
    """Two models on one schema, case by case. A difference is the first's figure minus the second's."""

    schema: str
    first: str
    second: str
    differences: Mapping[str, Measure]
    takes_over: bool | None  # None without expected values
    words: str


def _read(text: str, place: str) -> Any:
    try:
        return strict_json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place} {unread(error)}; correct it") from None


def read_cases(path: Path, text: str) -> list[Case]:
    """Read cases: JSON lines, or one JSON list, of {"input" or "file", "expected", "schema"}.

    A "file" is read relative to the cases' own folder. Raises ValueError, which names the line.
    """
    if text.lstrip().startswith("["):
        numbered = list(enumerate(_read(text, str(path)), 1))
    else:
        lines = enumerate(text.split("\n"), 1)  # other ends of lines may stand in a text
        numbered = [(number, _read(line, f"{path}, line {number}")) for number, line in lines if line.strip()]
    cases = []
    for number, given in numbered:
        where = f"{path}, case {number}"
        if not isinstance(given, dict):
            raise ValueError(f'{where}: must be an object {{"input": …, "expected": …}}')
        unknown = given.keys() - {"input", "file", "expected", "schema"}
        if unknown:
            raise ValueError(f"{where}: unknown key {sorted(unknown)[0]!r}")
        if ("input" in given) == ("file" in given):
            which = 'both "input" and "file" are there' if "file" in given else 'neither "input" nor "file" is there'
            raise ValueError(f"{where}: {which}; give one of them")
        if not isinstance(given.get("schema", ""), str):
            raise ValueError(f'{where}: "schema" must be a text, the name of a schema')
        text = _file(path.parent, given["file"], where) if "file" in given else _input(given["input"], where)
        cases.append(Case(text, given.get("expected", _MISSING), given.get("schema", ""), where))
    if not cases:
        raise ValueError(f"{path} holds no case")
    return cases


def _input(given: Any, where: str) -> str:
    if not isinstance(given, str | dict | list):
        raise ValueError(f'{where}: "input" must be a text, an object or a list')
    return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


def _file(folder: Path, name: Any, where: str) -> str:
    if not isinstance(name, str) or not name:
        raise ValueError(f'{where}: "file" must be the name of a file')
    try:
        return (folder / name).read_text("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{where}: {folder / name} is not UTF-8; convert it") from None
    except (OSError, ValueError) as error:  # ValueError: of a name that no file has
        raise ValueError(f"{where}: {folder / name} can't be read: {getattr(error, 'strerror', error)}") from None


def check_expected(target: Target, cases: Iterable[Case]) -> None:
    """Raise ValueError for a case that expects what the type does not allow: no model could ever be right."""
    for case in cases:
        if case.is_known:
            target.written(case.expected, f"{case.place}: expected")


def evaluate(
    target: Target,
    guard: Guard,
    cases: Sequence[Case],
    *,
    schema: str,
    model: str,
    instruction: str,
    advance: Callable[[], object] = lambda: None,
) -> Evaluation:
    """Ask a model for each case. The trace records the calls, as always; the model's errors are outcomes."""
    outcomes = []
    for number, case in enumerate(cases):
        inputs = {"text": case.input}
        messages = prompts.build(instruction, inputs, target.shown_schema)
        more: Any = {"template": prompts.template(target.is_json), "function": "guard test", "sources": inputs}
        plan = guard.plan(target, messages, **more)
        try:
            value, call = guard.run(plan)
            outcomes.append(_outcome(number, case, call, plain(value)))
        except (SchemaError, SettingError):
            raise
        except CallError as error:
            outcomes.append(_failed(number, case, error, guard))
        advance()
    return Evaluation(schema, model, outcomes)


def compare(first: Evaluation, second: Evaluation) -> Comparison:
    """Compare two models that had the same cases."""
    pairs = list(zip(first.outcomes, second.outcomes, strict=True))
    differences: dict[str, Measure] = {}
    for name, figure in _FIGURES.items():
        found = [(figure(a), figure(b)) for a, b in pairs]
        known = [float(a) - float(b) for a, b in found if a is not None and b is not None]
        if known:
            differences[name] = mean(known)
    right = differences.get("right")
    takes_over: bool | None = None
    words = "no answers are expected, so that only validity and cost can be compared"
    if right is not None and right.count < LEAST:
        takes_over = False
        words = (
            f"it is not known whether {first.model} can take over from {second.model}: {right.count} cases are too few,"
            f" {LEAST} are needed"
        )
    elif right is not None:
        takes_over = right.low >= -MARGIN
        shown = f"{right.mean:+.1%} of the fields [{right.low:+.1%}, {right.high:+.1%}]"
        if takes_over:
            words = f"{first.model} can take over from {second.model} here: {shown}, at worst {MARGIN:.0%} fewer"
        elif right.high < -MARGIN:
            words = f"{first.model} can't take over from {second.model} here: {shown}"
        else:
            words = f"it is not known whether {first.model} can take over from {second.model}: {shown}; add cases"
    return Comparison(first.schema, first.model, second.model, differences, takes_over, words)


#: Figures that are compared pair by pair.
_FIGURES: Mapping[str, Callable[[Outcome], float | bool | None]] = {
    "valid": lambda o: o.is_valid,
    "exact": lambda o: o.is_exact,
    "right": lambda o: sum(o.right.values()) / len(o.right) if o.right else None,
    "reasks": lambda o: o.reasks,
    "tokens": lambda o: o.tokens,
    "seconds": lambda o: o.seconds,
    "cost": lambda o: o.cost,
}


def share(values: Sequence[bool]) -> Measure:
    """Return a share with Wilson's 95% interval."""
    count, hits = len(values), sum(values)
    if not count:
        return Measure(math.nan, 0.0, 1.0, 0)
    p, z = hits / count, LEVEL
    middle = (p + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return Measure(p, max(0.0, middle - half), min(1.0, middle + half), count)


def mean(values: Iterable[float]) -> Measure:
    """Return a mean with its 95% bootstrap interval. The interval of a single value is that value."""
    found = np.array(list(values), float)
    if not len(found):
        return Measure(math.nan, math.nan, math.nan, 0)
    draws = np.random.default_rng(0).integers(0, len(found), (RESAMPLES, len(found)))
    low, high = np.percentile(found[draws].mean(axis=1), [2.5, 97.5])
    return Measure(float(found.mean()), float(low), float(high), len(found))


def as_dict(evaluations: Sequence[Evaluation], comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Return everything as JSON."""

    def shown(measures: Mapping[str, Measure]) -> dict[str, Any]:
        return {name: {"mean": m.mean, "low": m.low, "high": m.high, "count": m.count} for name, m in measures.items()}

    return {
        "version": 1,
        "evaluations": [
            {
                "schema": e.schema,
                "model": e.model,
                "measures": shown(e.measures),
                "fields": shown(e.fields),
                "cases": [
                    {
                        "case": o.case, "outcome": o.outcome, "value": o.value, "right": dict(o.right),
                        "exact": o.is_exact, "reasks": o.reasks, "tokens": o.tokens, "seconds": o.seconds,
                        "removed": o.removed, "forced": o.forced, "cost": o.cost, "served": o.served, "call": o.call,
                    }
                    for o in e.outcomes
                ],
            }
            for e in evaluations
        ],
        "comparisons": [
            {
                "schema": c.schema, "first": c.first, "second": c.second, "differences": shown(c.differences),
                "takes_over": c.takes_over, "words": c.words,
            }
            for c in comparisons
        ],
    }  # fmt: skip


def fields_of(value: Any, at: str = "") -> dict[str, Any]:
    """Return the leaves of a value by their dotted names; a list is one leaf."""
    if isinstance(value, dict) and value:
        return {
            k: v for name, part in value.items() for k, v in fields_of(part, f"{at}.{name}" if at else name).items()
        }
    return {at or "value": value}


def _right(expected: Any, value: Any) -> dict[str, bool]:
    wanted, got = fields_of(expected), fields_of(value)
    return {name: name in got and are_equal(wanted[name], got[name]) for name in wanted}


def _outcome(number: int, case: Case, call: Call, value: Any) -> Outcome:
    right = _right(case.expected, value) if case.is_known else {}
    is_exact = are_equal(case.expected, value) if case.is_known else None
    return Outcome(number, "valid", value, right, is_exact, **_figures(call))


def _failed(number: int, case: Case, error: CallError, guard: Guard) -> Outcome:
    right = dict.fromkeys(fields_of(case.expected), False) if case.is_known else {}
    call = guard.store.read(error.call) if error.call is not None else None
    figures = _figures(call) if call is not None else {}
    return Outcome(number, type(error).__name__, None, right, False if case.is_known else None, **figures)


def _figures(call: Call) -> dict[str, Any]:
    tokens = [token for attempt in call.attempts if attempt.reply for token in attempt.reply.tokens]
    sure = confidence.measured(tokens)
    return {
        "reasks": max(0, len(call.attempts) - 1),
        "tokens": call.tokens,
        "seconds": call.seconds,
        "removed": None if sure is None else sure.removed,
        "forced": call.forced_tokens / call.completion_tokens if tokens and call.completion_tokens else None,
        "cost": call.cost,
        "served": call.served,
        "call": call.number,
    }


__all__ = [
    "Case", "Comparison", "Evaluation", "GuardError", "Measure", "Outcome", "as_dict", "compare", "evaluate",
    "fields_of", "mean", "read_cases", "share",
]  # fmt: skip

"""Shadow runs: a new model beside the one that serves, on answers known to be right, before it serves anyone.

It takes two measures on the same questions. Teacher forcing takes one forward pass per answer and tells within seconds
which model predicts the answers better. Decoding tells what would have been served. Both models answer every question,
so differences are paired (paired_counts.py). The new model passes where, with 97.5% confidence, it is worse than the
old one by no more than a margin, and is right at least once.
"""

from __future__ import annotations

import html
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from guard import models
from guard.decoding import calibration
from guard.decoding.answer_figures import WHOLE, AnswerFigures, figures
from guard.decoding.calibration import Calibration, Judged, Known
from guard.errors import GuardError, ModelError, RateLimited, TimedOut, Unavailable
from guard.kernels import json_pointer
from guard.models.base import Model, Request
from guard.models.chat_messages import asked
from guard.support.clipping import one_line
from guard.support.json_equality import are_equal
from guard.tuning import economics, economics_page
from guard.tuning.examples import Pair, cut
from guard.tuning.kept_answers import Answered, KeptAnswers
from guard.tuning.paired_counts import compare
from guard.tuning.registry import write_json
from guard.tuning.scoring import score

MARGIN = 0.02  #: How much worse a new model may be, as a share of right answers.
PRECISION = 0.95  #: The precision demanded of answers that a small model serves alone.
LEAST = 20  #: Fewest questions for a conclusion.
TOKENS = 512  #: Most tokens of an answer.
THREADS = 2  #: Questions asked at the same time.
#: Style of the HTML page.
STYLE = (
    "body{font:15px/1.5 system-ui;margin:2rem auto;max-width:60rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{padding:.25rem .5rem;text-align:left}"
    "td,th{border-bottom:1px solid #ddd;vertical-align:top}code{font-size:12px;word-break:break-all}"
)


def run(
    new: str,
    old: str,
    pairs: Sequence[Pair],
    *,
    margin: float = MARGIN,
    precision: float = PRECISION,
    is_quick: bool = False,
    told: Callable[[str, int, int], None] = lambda *_: None,
    kept: KeptAnswers | None = None,
) -> dict[str, Any]:
    """Compare a new model with an old one; returns the report as JSON.

    `is_quick` leaves out decoding; `told` is called with a stage, the questions done and their number. `kept` has
    answers of a run that was killed, and takes those of this one. Raises GuardError where there are too few questions,
    and ModelError where a model can't be loaded or asked.
    """
    kept = kept or KeptAnswers()
    if len(pairs) < LEAST:
        raise GuardError(f"{len(pairs)} questions with right answers are too few to compare on; {LEAST} are needed")
    report: dict[str, Any] = {"new": new, "old": old, "questions": len(pairs), "margin": margin, "made": time.time()}
    report["foreseen"] = {side: _foreseen(name, pairs, told) for side, name in (("old", old), ("new", new))}
    if is_quick:
        return report
    answers = {side: _answers(name, pairs, told, kept) for side, name in (("old", old), ("new", new))}
    right = {side: [one.is_right for one in found] for side, found in answers.items()}
    whole = compare(right["old"], right["new"])
    return {
        **report,
        "right": {"old": whole.old, "new": whole.new, "only_old": whole.only_old, "only_new": whole.only_new},
        "difference": whole.difference,
        "interval": list(whole.interval()),
        "p_value": whole.p_value,
        "passed": whole.new > 0 and whole.is_not_worse(margin),
        "needed": whole.needed(margin),
        "schemas": _by_schema(pairs, right),
        "fields": _by_field(pairs, answers),
        "seconds": {side: sum(one.seconds for one in found) for side, found in answers.items()},
        "apart": _apart(pairs, answers),
        "alone": _alone(pairs, answers["new"], precision),
        "alone_before": _alone(pairs, answers["old"], precision),
    }


def verdict(report: Mapping[str, Any]) -> str:
    """Return in words whether the new model passed, and why not where that is plain."""
    if report["passed"]:
        return "passed"
    if not report["right"]["new"]:
        return "not passed, since it was never right"
    needed, asked = report.get("needed"), report["questions"]
    if needed is None:
        return "not passed"
    return f"not passed: at such shares it takes about {max(needed, asked + 1):,} questions to tell, not {asked:,}"


def keep_calibration(report: Mapping[str, Any], folder: Path) -> None:
    """Keep the new model's calibration beside its weights, for `guard.Confidence(precision=…)`."""
    if report.get("alone"):
        write_json(folder / calibration.FILE, report["alone"]["calibration"])


def _foreseen(name: str, pairs: Sequence[Pair], told: Callable[[str, int, int], None]) -> dict[str, Any] | None:
    """Return the result of teacher forcing; None for a model whose weights are not here, or without a path to score."""
    told(f"scoring by {name}", 0, len(pairs))
    try:
        from guard.tuning.job import load

        model = load(name)
    except GuardError:
        return None
    examples = list(cut(model, pairs, Counter()))
    if not examples:
        return None
    scores = score(model.model, examples)
    choices = max(1, sum(one.choices for one in scores))
    written = sum(one.is_written for one in scores)
    return {"answers": len(scores), "written": written, "nll": sum(one.nll for one in scores) / choices}


def _answers(
    name: str, pairs: Sequence[Pair], told: Callable[[str, int, int], None], kept: KeptAnswers
) -> list[Answered]:
    model, done = models.load(name), 0

    def one(pair: Pair) -> Answered:
        nonlocal done
        found = kept.find(name, pair)
        if found is None:
            found = _answered(model, pair)
            kept.add(name, pair, found)
        done += 1
        told(f"asking {model.name}", done, len(pairs))
        return found

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(one, pairs))
    if found and all(answer.error for answer in found):
        raise ModelError(f"{name} failed on each of {len(found)} questions, so that nothing is known: {found[0].error}")
    return found


def _answered(model: Model, pair: Pair) -> Answered:
    """Ask a model; raises the errors of a provider that can't be asked now, which say nothing of its answers."""
    began = time.perf_counter()
    value, is_right, failed = None, False, ""
    found: Mapping[str, AnswerFigures] = {}
    try:
        reply = model.generate(Request(pair.messages, pair.asked_for(), max_tokens=TOKENS))
        value = json.loads(reply.text)
        is_right = are_equal(value, json.loads(pair.answer))
        found = figures(reply.text, reply.tokens, asked(pair.messages, model.name), pair.compiled.schema)
    except (RateLimited, Unavailable, TimedOut):
        raise
    except ModelError as error:
        failed = one_line(error)
    except (GuardError, ValueError, RecursionError):  # no valid answer
        pass
    return Answered(value, is_right, time.perf_counter() - began, found, failed)


def _alone(pairs: Sequence[Pair], answered: Sequence[Answered], precision: float) -> dict[str, Any] | None:
    """Return what the model may serve alone: calibrated on one half, and its result on the other.

    A question without a valid answer, or one of whose answer nothing is known, is never served alone.
    """
    half, other = economics.halves([pair.input_hash for pair in pairs])
    first = [number for number in half if answered[number].figures]
    if not first:
        return None
    made = Calibration.made({pair.compiled.hash for pair in pairs}, _known(pairs, answered, first))
    rest = [answered[number] for number in other]
    judged = [Judged(made.confidence(one.figures[WHOLE]) if one.figures else -math.inf, one.is_right) for one in rest]
    threshold = calibration.threshold(made.precision, precision)
    return {
        "wanted": precision,
        "threshold": threshold,
        "chosen_on": len(first),
        "looked_at": len(other),
        **({} if threshold is None else asdict(economics.served(judged, threshold, precision))),
        "curve": [[round(one.share, 4), round(one.precision, 4)] for one in economics.curve(judged)],
        "kept": [asdict(one) for one in economics.kept(made, judged)],
        "calibration": made.as_json(),
    }


def _known(pairs: Sequence[Pair], answered: Sequence[Answered], numbers: Iterable[int]) -> dict[str, list[Known]]:
    """Return the figures of answers and of their fields with whether they were right, by JSON Pointer."""
    found: dict[str, list[Known]] = {}
    for number in numbers:
        one, right = answered[number], json.loads(pairs[number].answer)
        for at, each in one.figures.items():
            is_right = one.is_right if at == WHOLE else _is_field_right(one.value, right, at)
            found.setdefault(at, []).append(Known(tuple(each), is_right))
    return found


def _is_field_right(value: Any, right: Any, at: str) -> bool:
    if not isinstance(right, dict) or not isinstance(value, dict):
        return False
    (name,) = json_pointer.steps(at)
    return name in right and name in value and are_equal(value[name], right[name])


def _by_schema(pairs: Sequence[Pair], right: Mapping[str, Sequence[bool]]) -> list[dict[str, Any]]:
    found: dict[str, Counter[str]] = {}
    for number, pair in enumerate(pairs):
        counts = found.setdefault(pair.compiled.hash, Counter())
        counts["questions"] += 1
        for side, answers in right.items():
            counts[side] += answers[number]
    return [{"schema": name, **counts} for name, counts in found.items()]


def _by_field(pairs: Sequence[Pair], answers: Mapping[str, Sequence[Answered]]) -> list[dict[str, Any]]:
    """Count how often each top-level member is right; answers that are no objects are not counted."""
    found: dict[str, Counter[str]] = {}
    for number, pair in enumerate(pairs):
        wanted = json.loads(pair.answer)
        for key, value in wanted.items() if isinstance(wanted, dict) else ():
            counts = found.setdefault(key, Counter())
            counts["questions"] += 1
            for side, given in answers.items():
                said = given[number].value
                counts[side] += isinstance(said, dict) and key in said and are_equal(said[key], value)
    return [{"field": name, **counts} for name, counts in found.items()]


def _apart(pairs: Sequence[Pair], answers: Mapping[str, Sequence[Answered]]) -> list[dict[str, Any]]:
    """List the questions that only one of the models answered right."""
    listed = []
    for pair, old, new in zip(pairs, answers["old"], answers["new"], strict=True):
        if old.is_right != new.is_right:
            right = json.loads(pair.answer)
            listed.append({"source": pair.source, "right": right, "old": old.value, "new": new.value})
    return listed


def page(report: Mapping[str, Any]) -> str:
    """Return a report as a self-contained HTML page."""
    say = html.escape
    count = report["questions"]
    low, high = report["interval"]
    rows = "".join(
        f"<tr><td>{say(one['field'])}</td><td>{_bar(one.get('old', 0), one['questions'], '#98a2b3')}</td>"
        f"<td>{_bar(one.get('new', 0), one['questions'], '#2f6fde')}</td></tr>"
        for one in report["fields"]
    )
    schemas = "".join(
        f"<tr><td><code>{say(one['schema'][:12])}</code></td>"
        f"<td>{_bar(one.get('old', 0), one['questions'], '#98a2b3')}</td>"
        f"<td>{_bar(one.get('new', 0), one['questions'], '#2f6fde')}</td></tr>"
        for one in report["schemas"]
    )
    apart = "".join(
        f"<tr><td>{say(one['source'])}</td>"
        + "".join(
            f"<td><code>{say(json.dumps(one[k], ensure_ascii=False))}</code></td>" for k in ("right", "old", "new")
        )
        + "</tr>"
        for one in report["apart"][:200]
    )
    right = report["right"]
    return (
        f"<!doctype html><meta charset=utf-8><title>Shadow run</title><style>{STYLE}</style>"
        f"<h1>{say(report['new'])} beside {say(report['old'])}: {verdict(report)}</h1>"
        f"<p>{count} questions with right answers. Right: {right['old']} before, {right['new']} after; by the new one"
        f" alone {right['only_new']}, by the old one alone {right['only_old']} (McNemar's exact p ="
        f" {report['p_value']:.3g}). Difference {report['difference']:+.1%}, interval of 95% {low:+.1%} to {high:+.1%};"
        f" margin {report['margin']:.1%}.</p>{_interval(low, high, report)}"
        f"{_alone_shown(report)}<h2>By field</h2><table><tr><th>field<th>before<th>after</tr>{rows}</table>"
        f"<h2>By schema</h2><table><tr><th>schema<th>before<th>after</tr>{schemas}</table>"
        f"<h2>Where they differ</h2><table><tr><th>question<th>right<th>before<th>after</tr>{apart}</table>\n"
    )


def _alone_shown(report: Mapping[str, Any]) -> str:
    """Draw precision against the share served alone."""
    alone = report["alone"]
    if alone is None:
        return ""
    words = f"no threshold keeps a precision of {alone['wanted']:.0%}"
    if alone["threshold"] is not None:
        words = (
            f"with a precision of {alone['wanted']:.0%} wanted (a threshold chosen on {alone['chosen_on']} other"
            f" questions), it would serve {alone['share']:.1%}, {alone['precision']:.1%} of them right"
        )
    return f"<h2>Served alone</h2><p>Of {alone['looked_at']} questions: {words}.</p>" + economics_page.plot(
        economics_page.curves(report)
    )


def _bar(part: int, whole: int, colour: str) -> str:
    share = part / max(1, whole)
    return (
        f'<svg width=160 height=14><rect width="{150 * share:.0f}" height=14 fill="{colour}"></rect></svg>'
        f" {part}/{whole}"
    )


def _interval(low: float, high: float, report: Mapping[str, Any]) -> str:
    """Draw the interval of the difference, with zero and the margin."""

    def x(share: float) -> float:
        scale: float = max(0.05, abs(low), abs(high), report["margin"])
        return 300 + 280 * max(-1.0, min(1.0, share / scale))

    return (
        '<svg width=600 height=60 role=img aria-label="interval of the difference">'
        f'<line x1="{x(0):.0f}" x2="{x(0):.0f}" y1=5 y2=45 stroke="#333"></line>'
        f'<line x1="{x(-report["margin"]):.0f}" x2="{x(-report["margin"]):.0f}" y1=5 y2=45 stroke="#c33"'
        " stroke-dasharray=4></line>"
        f'<line x1="{x(low):.0f}" x2="{x(high):.0f}" y1=25 y2=25 stroke="#2f6fde" stroke-width=4></line>'
        f'<circle cx="{x(report["difference"]):.0f}" cy=25 r=6 fill="#2f6fde"></circle>'
        f'<text x="{x(0) + 4:.0f}" y=57 font-size=12>no difference</text></svg>'
    )

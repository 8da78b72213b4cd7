"""What a small model may serve alone, and what an answer costs: before and after, measured and on record.

Confidence is calibrated (guard/decoding/calibration.py): a threshold is chosen on one half of the questions and
measured on the other, because it looks better than it is on the half that it was chosen on. The trace tells what was in
fact served, by whichever model was asked first: the large one, then one version of the small one after another.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guard.decoding.calibration import Calibration, Judged, threshold
from guard.trace.records import VALID
from guard.trace.stats import Line, is_small

if TYPE_CHECKING:
    from guard.trace.feedback import Feedback
    from guard.trace.records import Attempt, Call
    from guard.trace.store import TraceStore
    from guard.tuning.registry import Registry

PAGE = 200  #: Calls whose feedback is looked up at a time.
WANTED = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)  #: Precisions that are asked for in turn.


@dataclass(frozen=True)
class ServedAlone:
    """What the small model serves alone at a threshold."""

    threshold: float  # of confidence, as the calibration has it
    share: float  # of the questions
    precision: float  # share of right answers among these
    wanted: float | None = None  # the precision that the threshold was chosen for


def served(judged: Sequence[Judged], threshold: float, wanted: float | None = None) -> ServedAlone:
    """Return what the small model serves alone at a threshold, which was chosen for the precision `wanted`."""
    kept = [one.is_right for one in judged if one.confidence >= threshold]
    return ServedAlone(threshold, len(kept) / max(1, len(judged)), sum(kept) / len(kept) if kept else 0.0, wanted)


def curve(judged: Sequence[Judged]) -> list[ServedAlone]:
    """Return the result of each threshold that changes anything, from the highest to the lowest.

    What no threshold lets pass, at -inf, is in none of them.
    """
    thresholds = {one.confidence for one in judged if one.confidence > -math.inf}
    return [served(judged, threshold) for threshold in sorted(thresholds, reverse=True)]


def halves(keys: Sequence[str]) -> tuple[list[int], list[int]]:
    """Return the indexes of the questions in two halves, split by hash."""
    first = [number for number, key in enumerate(keys) if int(key[-1], 16) % 2 == 0]
    taken = set(first)
    return first, [number for number in range(len(keys)) if number not in taken]


def kept(calibration: Calibration, judged: Sequence[Judged]) -> Iterator[ServedAlone]:
    """Yield what is served for each precision in WANTED, where any is; on other answers than it was calibrated on."""
    for wanted in WANTED:
        least = threshold(calibration.precision, wanted)
        if least is not None:
            yield served(judged, least, wanted)


def by_first_model(store: TraceStore, function: str, since: float | None = None) -> list[Line]:
    """Return what a function's calls took, by the model that was asked first; in the order in which they came.

    A version of a tuned model counts for itself: `tuned:shop.read@2`. O(calls).
    """
    lines: dict[str, Line] = {}
    page: list[Call] = []
    for call in store.each(function=function, since=since):
        page.append(call)
        if len(page) == PAGE:
            _count(store, page, lines)
            page = []
    _count(store, page, lines)
    return list(lines.values())


def _count(store: TraceStore, calls: Sequence[Call], lines: dict[str, Line]) -> None:
    said = store.feedback([call.number for call in calls if call.number is not None])
    for call in calls:
        if call.attempts:
            name = _own_name(call.attempts[0])
            _add(lines.setdefault(name, Line(call.function, model=name)), call, said.get(call.number or 0))


def _add(line: Line, call: Call, feedback: Feedback | None) -> None:
    line.calls += 1
    line.first_valid += call.attempts[0].reason in ("", "confidence")
    line.escalations += bool(call.escalations)
    line.prompt_tokens += call.prompt_tokens
    line.completion_tokens += call.completion_tokens
    line.cost += sum(reply.cost or 0.0 for reply in call.spent)
    line.cost_unknown += sum(reply.cost is None for reply in call.spent)
    answer = call.answer
    if call.outcome != VALID or answer is None:
        return
    line.valid += 1
    is_alone = is_small(answer.model, (call.options.get("tiers") or [""])[-1])
    line.alone += is_alone
    if feedback is not None and is_alone:
        line.alone_rated += 1
        line.alone_right += feedback.right
    elif feedback is not None:
        line.large_rated += 1
        line.large_right += feedback.right


def _own_name(attempt: Attempt) -> str:
    """Return a model's name as asked for; of a tuned model with the version that answered."""
    own = attempt.reply.model if attempt.reply is not None else ""
    return own if own.startswith(f"{attempt.model}@") else attempt.model


def measured(registry: Registry, function: str) -> dict[str, Any] | None:
    """Return the shadow report of the version that serves, else of the newest that was measured; None without one."""
    current = registry.serving(function).current
    versions = sorted(registry.versions(function), key=lambda v: (v.number == current, v.number), reverse=True)
    for version in versions:
        if (report := version.shadow) is not None and report.get("alone"):
            return {"version": version.number, **report}
    return None

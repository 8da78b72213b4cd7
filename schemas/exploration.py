"""Exploration: everything that decoding may ask of a schema's automaton is expanded ahead of need.

`guard check` does so, that nobody meets a limit in production. Goals, what is left of objects and arrays after each
case of a member or an item, and the languages of strings and keys are each expanded once. Not walked is what depends on
counts, nesting and which keys were written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from guard.kernels.errors import Finding, SchemaError
from guard.schemas.contradictions import AMEND, NOTHING

#: Seconds between two reports of progress.
SLICE_S = 0.1
#: States of one language that are followed, beside as many as the schema has bytes: a list of words has no more.
MOST_STATES = 50_000
#: Limits that are met before an exploration stops: a schema with more has the same few reasons.
MOST_LIMITS = 20


@dataclass(frozen=True, slots=True)
class Exploration:
    """How much of an automaton was expanded, and what stood in the way."""

    complete: bool  # nothing is left that was not expanded
    seconds: float
    goals: int  # sets of schemas that one value must meet
    objects: int  # shapes of objects, before and after each case of a member
    arrays: int  # the same of arrays
    languages: int  # of strings and keys
    states: int  # of the languages' automata
    waiting: int  # found and not expanded, or that can go too many ways
    limits: tuple[Finding, ...]  # limits that were met
    advice: tuple[Finding, ...]  # what nothing can meet, and what may yet meet a limit

    def with_branches(self, dead: Sequence[Finding], unasked: int) -> Exploration:
        """Return it with what is known of branches: those that nothing can meet, and how many were not looked into."""
        told = {one.pointer for one in dead}
        more = [one for one in self.advice if one.pointer not in told]
        is_complete = self.complete and not unasked
        return replace(self, advice=(*dead, *more), waiting=self.waiting + unasked, complete=is_complete)


def explore(
    native: Any, where: Callable[[int], list[str]], size: int, seconds: float, report: Callable[[int, int], None] | None
) -> Exploration:
    """Run a native Explorer for at most about `seconds`. `where` returns a node's JSON Pointers, `size` is in bytes."""
    started = time.perf_counter()
    limits: list[Finding] = []
    complete = False
    while not complete and len(limits) < MOST_LIMITS and (left := started + seconds - time.perf_counter()) > 0:
        try:
            complete = native.run(min(SLICE_S, left))
        except SchemaError as error:
            limits += [finding for finding in error.findings if finding not in limits]
        if report is not None:
            stats = native.stats()
            done = sum(stats[kind] for kind in ("goals", "objects", "arrays", "languages"))
            report(done, done + stats["waiting"])
    # What stands above the place of a limit meets it as well.
    limits = [
        f for f in limits if not any(g.message == f.message and g.pointer.startswith(f.pointer + "/") for g in limits)
    ]
    stats = native.stats()
    advice = [Finding(place, None, NOTHING, AMEND) for node in dict.fromkeys(native.empty()) for place in where(node)]
    many = f"its texts need more than {MOST_STATES + size:,} automaton states, and a long one may meet limits.states"
    fix = "anchor the pattern, lower its counts, or shorten the text with maxLength"
    advice += [Finding(place, None, many, fix) for node in dict.fromkeys(native.large()) for place in where(node)]
    return Exploration(
        complete and not limits and not stats["waiting"],
        time.perf_counter() - started,
        **{name: stats[name] for name in ("goals", "objects", "arrays", "languages", "states", "waiting")},
        limits=tuple(limits),
        advice=tuple(advice),
    )

"""Marks: which parts of the messages of an attempt state the grounded values of its answer."""

from __future__ import annotations

from guard.trace.records import Attempt


def marks_of(attempt: Attempt) -> dict[int, list[tuple[int, int, str]]]:
    """Return, by message, the ranges that the answer quotes or states: (start, end, values)."""
    found: dict[int, dict[tuple[int, int], list[str]]] = {}
    for at, places in attempt.sources.items():
        for place in places:
            shown = attempt.inputs.get(place.input)
            if shown is not None:
                shift = shown.start - shown.skipped
                spans = found.setdefault(shown.message, {})
                spans.setdefault((place.start + shift, place.end + shift), []).append(at)
    return {
        index: sorted((*span, ", ".join(pointers)) for span, pointers in spans.items())
        for index, spans in found.items()
    }

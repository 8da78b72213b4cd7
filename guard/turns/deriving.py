"""From a chat template to a tool format.

The template renders the probes in every manner that a template may want; the first derived format under which drawn
turns round-trip is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from guard.turns import trials
from guard.turns.anatomy import anatomy
from guard.turns.probes import MANNERS, NAMES, VALUES, Manner, probes
from guard.turns.rendering import render
from guard.turns.tool_format import ToolFormat

MOST_WRONG = 3  #: Manners whose formats may fail to round-trip before the search ends.
TURNS = 24  #: Drawn turns that must be rendered and read back equal.


def derive(template: str, special_tokens: dict[str, str]) -> ToolFormat | None:
    """Return the tool format of a template; None where it renders no calls, or in no form that is understood.

    `round_trips` of the result says whether the drawn turns came back equal. Results are cached. A template takes up to
    a few seconds in processes of their own (rendering.py).
    """
    return _derived(template, tuple(sorted(special_tokens.items())))


@lru_cache(64)
def _derived(template: str, special_tokens: tuple[tuple[str, str], ...]) -> ToolFormat | None:
    if "tool" not in template:
        return None
    asked = [(manner, name, one) for manner in MANNERS for name, one in probes(manner).items()]
    rendered = render(template, [one for _, _, one in asked], dict(special_tokens))
    by_manner: dict[Manner, dict[str, str | None]] = {manner: {} for manner in MANNERS}
    for (manner, name, _), text in zip(asked, rendered, strict=True):
        by_manner[manner][name] = text
    best: ToolFormat | None = None
    wrong = 0
    for manner in sorted(MANNERS, key=lambda one: _is_pythons(by_manner[one])):
        of_manner = by_manner[manner]
        if NAMES[0] not in (of_manner["one"] or ""):
            continue
        found = anatomy(of_manner, manner, dict(special_tokens))
        if found is None:
            continue
        made = ToolFormat(found)
        tried = trials.round_trip(template, dict(special_tokens), made, TURNS, seed=1)
        if tried.turns and not tried.wrong:
            return replace(made, round_trips=True)
        best = best or made
        wrong += 1
        if wrong == MOST_WRONG:
            break
    return best


def _is_pythons(rendered: Mapping[str, str | None]) -> bool:
    """Whether a template writes arguments as Python shows a dict: it was made for arguments that come as text."""
    return str(VALUES) in (rendered["one"] or "")

"""Calls from their rows: which are wanted, how many are read at a time, and which of them are damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from guard.support.bounds import SHOWN
from guard.support.clipping import cut_short
from guard.trace import row_codec
from guard.trace.errors import TraceError
from guard.trace.records import Attempt, Call
from guard.trace.sql_tables import ATTEMPTS, CALLS

PARTS = 2**18  #: Size from which `each` reads no further calls at once, in parts of 64 characters.
PAGE = 200  #: Calls whose attempts are read at a time.
FEW = 16  #: The same where their size is looked at in between.

#: What is read of an attempt for a list, in place of columns that may be large.
_LEFT_OUT = {"messages": sa.literal("[]"), **dict.fromkeys(("repaired", "tokens", "sources"), sa.null())}
_LEFT_OUT |= {name: sa.case((ATTEMPTS.c[name].isnot(None), "")) for name in ("text", "thinking")}
OUTLINE = [_LEFT_OUT[c.name].label(c.name) if c.name in _LEFT_OUT else c for c in ATTEMPTS.c]


def conditions(
    function: str | None = None, outcome: str | None = None, since: float | None = None
) -> list[sa.ColumnElement[bool]]:
    """Return the conditions of calls that are wanted."""
    found: list[sa.ColumnElement[bool]] = []
    if function is not None:
        found.append(CALLS.c.function == row_codec.storable(function))
    if outcome is not None:
        found.append(CALLS.c.outcome == row_codec.storable(outcome))
    if since is not None:
        found.append(CALLS.c.started >= since)
    return found


def found(
    connection: sa.Connection,
    wanted: Sequence[Any],
    order: Sequence[Any],
    limit: int,
    columns: Sequence[Any] = (ATTEMPTS,),
    most: int | None = None,
) -> list[tuple[Any, Call | Exception]]:
    """Return the rows of the first calls, each with its call, or with the error of a row that is damaged.

    With `most`, there are no more than FEW after their size has reached it.
    """
    at, held, step = 0, 0, PAGE if most is None else FEW
    calls = connection.execute(sa.select(CALLS).where(*wanted).order_by(*order).limit(limit)).all()
    attempts: dict[int, list[Attempt]] = {row.id: [] for row in calls}
    errors: dict[int, Exception] = {}
    while at < len(calls) and (most is None or held < most):
        among = ATTEMPTS.c.call.in_([row.id for row in calls[at : at + step]])
        for row in connection.execute(sa.select(*columns).where(among).order_by(ATTEMPTS.c.number)):
            try:
                attempts[row.call].append(row_codec.attempt_of(row))
            except row_codec.DAMAGE as error:
                errors[row.call] = error
                continue
            held += 0 if most is None else row_codec.size(attempts[row.call][-1], most)
        at += step
    return [(row, errors.get(row.id) or _call(row, attempts[row.id])) for row in calls[:at]]


def _call(row: Any, attempts: Sequence[Attempt]) -> Call | Exception:
    try:
        return row_codec.call_of(row, attempts)
    except row_codec.DAMAGE as error:
        return error


def whole(
    found: Iterable[tuple[Any, Call | TraceError]], damaged: Callable[[TraceError], object] | None
) -> Iterator[Call]:
    """Yield the calls whose rows are whole; `damaged` is told of the others, whose error is raised without it."""
    for _, call in found:
        if isinstance(call, Call):
            yield call
        elif damaged is None:
            raise call
        else:
            damaged(call)


def damaged(place: str, number: int, error: Exception) -> TraceError:
    """Return the error of a call whose row is damaged."""
    words = f"call {number} is damaged and can't be read"
    return TraceError(f"{words}: {cut_short(' '.join(str(error).split()), SHOWN)} (the trace {place})", words)

"""Feedback in the tables: written, read by calls, and counted by function and tier."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from guard.trace import row_codec
from guard.trace.call_rows import PAGE
from guard.trace.errors import TraceError
from guard.trace.feedback import Feedback, Ratings
from guard.trace.records import VALID
from guard.trace.sql_tables import CALLS, FEEDBACK

#: In one statement, since two may say something of one call at the same time.
_SAY = sa.text("""INSERT INTO feedback (call, is_right, value, by, given) VALUES (:call, :is_right, :value, :by, :given)
    ON CONFLICT (call) DO UPDATE SET is_right = excluded.is_right, value = excluded.value, by = excluded.by,
    given = excluded.given""")


def write(connection: sa.Connection, number: int, said: Feedback) -> bool:
    """Write the feedback on a call, replacing earlier feedback; False, unwritten, where there is no such call."""
    row = {"call": number, "is_right": int(said.right), "value": said.value, "by": said.by, "given": said.given}
    for name in ("value", "by"):
        row[name] = None if row[name] is None else row_codec.storable(str(row[name]))
    there = sa.select(CALLS.c.id).where(CALLS.c.id == number).with_for_update(read=True, key_share=True)
    if connection.scalar(there) is None:
        return False
    connection.execute(_SAY, row)
    return True


def read(connection: sa.Connection, numbers: Sequence[int]) -> dict[int, Feedback]:
    """Return the feedback on calls, by number. Calls without feedback are left out.

    Raises TraceError where what was said of one is damaged.
    """
    found: dict[int, Feedback] = {}
    for at in range(0, len(numbers), PAGE):
        for row in connection.execute(sa.select(FEEDBACK).where(FEEDBACK.c.call.in_(numbers[at : at + PAGE]))):
            try:
                value = None if row.value is None else row_codec.restored(row.value)
                found[row.call] = Feedback(bool(row.is_right), value, row_codec.restored(row.by), row.given)
            except row_codec.DAMAGE as error:
                words = f"the feedback on call {row.call} is damaged and can't be read; give it again"
                raise TraceError(words) from error
    return found


def ratings(connection: sa.Connection, function: str | None, since: float | None) -> list[Ratings]:
    """Return how often valid answers were said to be right, by function and tier."""
    # CROSS JOIN: SQLite goes from what was said to its calls, never the other way round.
    query = """SELECT c.function, c.target, c.options, a.tier, a.model, COUNT(*), SUM(f.is_right)
        FROM feedback f CROSS JOIN calls c CROSS JOIN attempts a
        WHERE c.id = f.call AND a.call = c.id AND c.outcome = :outcome AND a.reason = ''"""
    given: dict[str, Any] = {"outcome": VALID}
    if function is not None:
        query, given["function"] = f"{query} AND c.function = :function", row_codec.storable(function)
    if since is not None:
        query, given["since"] = f"{query} AND c.started >= :since", since
    grouped = sa.text(f"{query} GROUP BY c.function, c.target, c.options, a.tier, a.model")
    found: list[Ratings] = []
    for function, target, options, tier, model, rated, right in connection.execute(grouped, given):
        with contextlib.suppress(*row_codec.DAMAGE):  # it counts as nothing, as in the running totals
            tiers = row_codec.loaded(options).get("tiers") or [""]
            name = row_codec.restored(function) or f"({row_codec.restored(target)})"
            found.append(Ratings(name, tier, row_codec.restored(model), tiers[-1], rated, int(right)))
    return found

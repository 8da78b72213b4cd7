"""What the processes of a sidecar tell each other about models that fail: when a circuit breaker last opened.

It is a hint, not a truth: the fault may be one process's own network. So a process that hears of an opening doesn't
leave the model alone; it opens its own breaker at the next failure, instead of after several.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import sqlalchemy as sa

from guard.trace import TraceStore
from guard.trace.sql_tables import BREAKERS

TELLING_S = 1.0  #: Longest wait for others that write.
_TELL = """INSERT INTO breakers (model, opened) VALUES (:model, :opened)
ON CONFLICT (model) DO UPDATE SET opened = excluded.opened"""


class BreakerHints:
    """The openings that a process has told of, and heard of."""

    def __init__(self, store: TraceStore) -> None:
        self._store = store
        self._told: dict[str, float] = {}  # model → its latest opening here, in seconds since the epoch
        self._read: dict[str, float] = {}  # model → the opening that was in the database at the last look

    def exchange(self, opened: Mapping[str, float]) -> dict[str, float]:
        """Tell when this process's breakers opened; return how many seconds ago others' did that are news here.

        What differs from before is news: an opening is not later than another's where a clock is wrong. Blocks; raises
        TraceError.
        """
        news = {model: at for model, at in opened.items() if at and at != self._told.get(model)}
        if news:
            rows = [{"model": model, "opened": at} for model, at in sorted(news.items())]  # in one order: no deadlocks
            with self._store.begin(TELLING_S) as connection:
                connection.execute(sa.text(_TELL), rows)
            self._told |= news
            self._read |= news
        with self._store.reading() as connection:
            found = [] if connection is None else connection.execute(sa.select(BREAKERS)).all()
        heard = {row.model: row.opened for row in found if row.opened != self._read.get(row.model)}
        self._read |= heard
        return {model: time.time() - at for model, at in heard.items()}

"""A transaction that writes records or deletes them, and changes the totals by them in the end."""

from __future__ import annotations

from typing import Any, Self

from guard.trace.totals import Totals


class Transaction:
    """A transaction of the writer's. To avoid deadlocks, totals are written after all rows that others may lock."""

    def __init__(self, cursor: Any, *, is_sqlite: bool) -> None:
        self.cursor = cursor  # of the driver's
        self.totals = Totals()  # totals of the records written and deleted
        self._is_sqlite = is_sqlite

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.totals.write(self.cursor, is_sqlite=self._is_sqlite)

"""Insertion of records: rows are made outside the transaction, and those of many records go in together.

A statement lets go of the GIL while the database works, and beside a busy thread each one waits until it has it again;
on a server each is a round trip. So the calls of records that are written together take a few statements, and their
attempts a few more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guard.support.json_pieces import pieces
from guard.trace import row_codec, sql_tables
from guard.trace.databases import Database
from guard.trace.errors import TraceError
from guard.trace.group_commit import Late
from guard.trace.records import Call
from guard.trace.redaction import Redaction
from guard.trace.retention import EVERY, MOST, Retention
from guard.trace.sql_tables import ATTEMPTS, ITEMS, SCHEMAS
from guard.trace.transaction import Transaction

if TYPE_CHECKING:
    from guard.schemas import Compiled

KEPT_SCHEMAS = 256  #: Schemas whose text is cached, to serialise it once.
KEPT_CHARACTERS = 16_000_000  #: Most characters of these texts together.


@dataclass(slots=True)
class RecordRows:
    """The rows of a record. Its number holds once they are committed."""

    place: int  # among the records that are written with it
    until: float  # by the monotonic clock: how long it may wait
    call: dict[str, Any]
    attempts: list[dict[str, Any]]
    schema: dict[str, Any] | None
    item: dict[str, Any] | None
    number: int = 0


class Insertion:
    """Makes the rows of records for one database, and inserts them."""

    def __init__(self, database: Database) -> None:
        self._is_sqlite, self._mark = database.is_sqlite, database.mark
        self._insert_calls = sql_tables.call_insertion(self._is_sqlite)
        self._insert_attempts = sql_tables.insertion(ATTEMPTS, self._is_sqlite)
        self._insert_schemas = sql_tables.insertion(SCHEMAS, self._is_sqlite, "ON CONFLICT (hash) DO NOTHING")
        self._insert_items = sql_tables.insertion(
            ITEMS, self._is_sqlite, "ON CONFLICT (run, key) DO UPDATE SET call = excluded.call"
        )
        self._schemas: dict[tuple[str, Redaction], str] = {}

    def rows(self, call: Call, compiled: Compiled | None, redaction: Redaction, place: int, until: float) -> RecordRows:
        """Return the rows of a record. Raises TraceError where a message is nested too deeply."""
        try:
            row = row_codec.call_row(call, redaction)
            attempts = [row_codec.attempt_row(attempt, redaction) for attempt in call.attempts]
        except RecursionError:
            raise TraceError("a message is nested too deeply to be recorded; nothing was written") from None
        item = None
        if call.item is not None and row_codec.is_whole(call, attempts):
            item = {"run": row_codec.storable(call.item.run), "key": call.item.key}
        if self._is_sqlite:
            attempts = list(map(row_codec.packed, attempts))
        text = None if compiled is None else self._schema(compiled, redaction)
        schema = None if text is None else {"hash": row["schema_hash"], "text": text}
        return RecordRows(place, until, row, attempts, schema, item)

    def insert(self, to: Transaction, records: Sequence[RecordRows], retention: Retention) -> None:
        """Insert the rows of records, which so get their numbers. May run more than once."""
        cursor = to.cursor
        numbers = self._insert_calls(cursor, [record.call for record in records])
        attempts: list[dict[str, Any]] = []
        schemas: dict[str, dict[str, Any]] = {}
        items: dict[tuple[str, str], dict[str, Any]] = {}
        for number, record in zip(numbers, records, strict=True):
            record.number = number
            for attempt in record.attempts:
                attempt["call"], attempt["began"] = number, record.call["started"]
                attempts.append(attempt)
            if record.schema is not None:
                schemas[record.schema["hash"]] = record.schema
            if record.item is not None:
                items[record.item["run"], record.item["key"]] = {**record.item, "call": number}
        self._insert_attempts(cursor, attempts)
        # In one order, so that two processes don't wait for each other's rows.
        self._insert_schemas(cursor, [schemas[key] for key in sorted(schemas)])
        self._insert_items(cursor, [items[key] for key in sorted(items)])
        for record in records:
            to.totals.add(record.number, record.call, record.attempts)
        if retention.asks and any(number % EVERY == 0 for number in numbers):
            doomed = retention.doomed(cursor, self._mark, to.totals.calls)
            doomed.delete(cursor, to.totals, MOST, is_sqlite=self._is_sqlite)

    def _schema(self, compiled: Compiled, redaction: Redaction) -> str | None:
        """Return the JSON text of a schema, or None where it is nested too deeply for this thread's stack."""
        key = compiled.hash, redaction
        text = self._schemas.get(key)
        if text is None:
            try:
                text = row_codec.storable("".join(pieces(redaction.value(compiled.arguments()))))
            except RecursionError:
                return None
            held = sum(map(len, list(self._schemas.values())))
            if len(self._schemas) >= KEPT_SCHEMAS or held + len(text) > KEPT_CHARACTERS:
                self._schemas.clear()
            self._schemas[key] = text
        return text


class InsertJob:
    """Inserts records together, and knows whether an error left them unwritten for sure.

    It may wait for its turn until the first of their deadlines, `until`; once it is at work, until `last`.
    """

    def __init__(self, insertion: Insertion, records: list[RecordRows], retention: Retention) -> None:
        self.records = records
        self.until, self.last = min(r.until for r in records), max(r.until for r in records)
        self._insertion, self._retention = insertion, retention
        self._raised: Exception | None = None

    def __call__(self, to: Transaction) -> None:
        try:
            self._insertion.insert(to, self.records, self._retention)
        except Exception as error:
            self._raised = error
            raise

    def is_unwritten(self, error: Exception) -> bool:
        """Whether it is certain that nothing was written: the work itself failed, or its turn never came.

        Of an error at the beginning of a transaction or at its commit, this says nothing.
        """
        return error is self._raised or (isinstance(error, Late) and not error.is_open)

"""The trace: every call and every attempt, in a database that outlives a kill -9.

records.py        what a call was, as values
sql_tables.py     what a record is in SQL, and how a trace that an older Guard wrote becomes today's
redaction.py      what is cut out of every text before it is written
row_codec.py      records as rows, and back; insertion.py: the rows of many records in a few statements
databases.py      SQLite and PostgreSQL: how each is opened; waits.py: how long it is waited for
group_commit.py   many callers, one transaction, each with a deadline; record_queue.py: the same for an event loop
totals.py         running totals, kept in the transaction of each record; day_totals.py: the same by the day
partitions.py     months of records in PostgreSQL
store.py          the trace itself, in SQLite or PostgreSQL
retention.py      how long records are kept; upkeep.py: what is done about it, and ahead of time
stats.py, export.py, record_table.py, html.py   output made from it: figures, training data, tables, a page
"""

from typing import TYPE_CHECKING

from guard.support.lazy_names import lazy_names

if TYPE_CHECKING:
    from guard.support.secret_patterns import REDACTED, redacted
    from guard.trace.errors import TraceError
    from guard.trace.redaction import redact_with, stop_redacting_with
    from guard.trace.sql_tables import VERSION
    from guard.trace.store import TraceStore

__all__ = ["REDACTED", "VERSION", "TraceError", "TraceStore", "redact_with", "redacted", "stop_redacting_with"]

#: Public names by module, imported on first use: SQLAlchemy takes a while to import.
_HOMES = {
    "guard.trace.errors": ("TraceError",),
    "guard.support.secret_patterns": ("REDACTED", "redacted"),
    "guard.trace.redaction": ("redact_with", "stop_redacting_with"),
    "guard.trace.sql_tables": ("VERSION",),
    "guard.trace.store": ("TraceStore",),
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)

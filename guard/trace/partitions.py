"""Monthly partitions of a trace in PostgreSQL.

`calls` and `attempts` are divided by the month in which a call began, `totals` by the same months, so that a month is
dropped as a whole: its records, and exactly the totals that they have added to. `attempts.began` repeats the call's
start. A partition of `attempts` refers to the partition of `calls` of its month; what else refers to a call (`items`,
`feedback`) is deleted by retention, since a key of a divided table would have to hold the time as well. Numbers come
from one sequence, and are the primary key of each partition.

The partitions of this month and the next are made when a process opens the trace and at every retention; another one,
before the first record of its month is written. Making one waits for no reader or writer and holds up none. Whoever
makes or drops one holds an advisory lock.

The tables of version 10 become the first partition, without being rewritten: `check_constraints` has constraints
checked, which blocks nobody, and `divide` attaches the tables by them, which takes no time. The old tables have no
`began`; there it is 0.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa

DAY = 86_400
#: The number of PostgreSQL's advisory lock while tables are made; arbitrary, but unlikely to be another program's.
ADVISORY_LOCK = 0x6775617264
FIRST = datetime(2020, 1, 1, tzinfo=UTC).timestamp()  #: What began earlier is in one partition.
LAST = datetime(2100, 1, 1, tzinfo=UTC).timestamp()  #: So is what began then or later.

_TABLES = {"calls": ("started", 1), "attempts": ("began", 1), "totals": ("minute", 60)}  # column, and its seconds
_BOUND = r"(?:\(?'?(-?[0-9.e+]+)'?\)?(?:::\w+(?: \w+)?)?|MINVALUE|MAXVALUE)"
_BOUNDS = re.compile(rf"FOR VALUES FROM \({_BOUND}\) TO \({_BOUND}\)")
_CHECK = re.compile(r"< '?\(?([0-9.e+]+)")
_CONSTRAINT = "ck_month"
_PARENTS = (
    "CREATE INDEX ix_calls_started ON calls (started)",
    "CREATE INDEX ix_calls_schema_hash ON calls (schema_hash)",
    "CREATE INDEX ix_calls_function ON calls (function, id)",
    "CREATE INDEX ix_calls_outcome ON calls (outcome, id)",
    "CREATE INDEX ix_calls_failed ON calls (id) WHERE outcome <> 'valid'",
    "ALTER TABLE totals ADD PRIMARY KEY (minute, shape)",
    "ALTER SEQUENCE calls_id_seq OWNED BY calls.id",
    # An older Guard that is still running gives neither: its records are refused, not half-counted.
    "ALTER TABLE calls ALTER COLUMN id DROP DEFAULT",
    "ALTER TABLE attempts ALTER COLUMN began DROP DEFAULT",
)


class Partition(NamedTuple):
    """A partition of each of the three tables: the calls that began from a time until before another."""

    name: str  # the end of the tables' names: "2026_12"
    start: float  # seconds since the epoch; -inf and inf at the ends
    end: float


def partition_for(started: float) -> Partition:
    """Return the partition that a call belongs to, unless an older, larger one has it."""
    if started < FIRST:
        return Partition("earlier", -math.inf, FIRST)
    if started >= LAST:
        return Partition("later", LAST, math.inf)
    start = datetime.fromtimestamp(math.floor(started), UTC).replace(day=1, hour=0, minute=0, second=0)
    end = (start + timedelta(days=32)).replace(day=1)
    return Partition(f"{start:%Y_%m}", start.timestamp(), end.timestamp())


def partitions(connection: sa.Connection) -> list[Partition]:
    """Return the partitions that Guard has made, by time."""
    query = """SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i
               JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass('calls')"""
    found = []
    for name, text in connection.exec_driver_sql(query):
        bounds = _BOUNDS.fullmatch(text)
        if bounds is None:  # the default one, which an operator has made
            continue
        start, end = bounds.groups()
        found.append(
            Partition(
                name.removeprefix("calls_"),
                -math.inf if start is None else float(start),
                math.inf if end is None else float(end),
            )
        )
    return sorted(found, key=lambda partition: partition.start)


def ensure(connection: sa.Connection, times: Iterable[float]) -> list[Partition]:
    """Make the partitions for calls that began at some times, and those of this month and the next.

    Returns all partitions. Runs in a transaction of its own.
    """
    _lock(connection)
    there = partitions(connection)
    now = time.time()
    for started in (*times, now, now + 31 * DAY):
        if not any(partition.start <= started < partition.end for partition in there):
            made = partition_for(started)
            _make(connection, made)
            there.append(made)
    return there


def drop(connection: sa.Connection, partition: Partition, before: float | None, newest: int | None) -> int | None:
    """Drop a partition with its totals, if all of its calls began before a time, or have at most a number.

    Returns how many calls that were, or None where it is not so. Waits for all transactions that use the tables.
    """
    _lock(connection)
    if partition not in partitions(connection):
        return None
    connection.exec_driver_sql("LOCK TABLE calls, attempts, totals IN ACCESS EXCLUSIVE MODE")
    if not _is_doomed(connection, partition, before, newest):
        return None
    gone = connection.exec_driver_sql(f"SELECT COALESCE(SUM(ended), 0) FROM totals_{partition.name}").scalar_one()  # noqa: S608 (ours)
    between = f"day * {DAY} >= {_edge(partition.start)} AND day * {DAY} < {_edge(partition.end)}"
    connection.exec_driver_sql(f"DELETE FROM totals_by_day WHERE {between}")  # noqa: S608 (numbers)
    for table in reversed(_TABLES):
        connection.exec_driver_sql(f"DROP TABLE {table}_{partition.name}")
    return int(gone)


def doomed(connection: sa.Connection, before: float | None, newest: int | None) -> list[Partition]:
    """Return the months that are over and that retention keeps nothing of, the oldest first."""
    _lock(connection)  # another process may be dropping one
    now = time.time()
    return [p for p in partitions(connection) if p.end <= now and _is_doomed(connection, p, before, newest)]


def dependents(partition: Partition, most: int) -> Iterator[str]:
    """Yield statements that delete what belongs to a doomed partition's calls, at most so many rows of each."""
    calls = f"calls_{partition.name}"
    for table in ("items", "feedback"):
        yield f"""DELETE FROM {table} WHERE ctid IN (SELECT d.ctid FROM {table} d
            WHERE d.call BETWEEN (SELECT MIN(id) FROM {calls}) AND (SELECT MAX(id) FROM {calls})
            AND EXISTS (SELECT 1 FROM {calls} c WHERE c.id = d.call) ORDER BY d.call LIMIT {most})"""  # noqa: S608 (ours)
    yield f"""DELETE FROM schemas WHERE hash IN (SELECT s.hash FROM schemas s
        WHERE EXISTS (SELECT 1 FROM {calls} c WHERE c.schema_hash = s.hash)
        AND NOT EXISTS (SELECT 1 FROM calls c WHERE c.schema_hash = s.hash
            AND NOT (c.started >= {_edge(partition.start)} AND c.started < {_edge(partition.end)})) LIMIT {most})"""  # noqa: S608 (ours)


# ---- from version 10 ----


def check_constraints(engine: sa.Engine) -> None:
    """Have the bound of the first partition checked, in several transactions, none of which blocks a reader or writer.

    Where it is interrupted, another process goes on with it.
    """
    with engine.begin() as connection:
        _lock(connection)
        if _is_divided(connection) or is_checked(connection):
            return
        newest = connection.exec_driver_sql("SELECT MAX(started) FROM calls").scalar() or 0.0
        connection.exec_driver_sql("ALTER TABLE attempts ADD COLUMN IF NOT EXISTS began FLOAT DEFAULT 0 NOT NULL")
        if newest >= LAST:
            return
        end = _checked_until(connection)
        if end is None or end <= max(newest, time.time()):
            # A Guard of version 10 may go on for a month or two beside an upgrade that is not finished.
            end = partition_for(partition_for(max(newest, time.time())).end).end
            for table, (column, unit) in _TABLES.items():
                connection.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {_CONSTRAINT}")
                connection.exec_driver_sql(
                    f"ALTER TABLE {table} ADD CONSTRAINT {_CONSTRAINT} CHECK ({column} < {int(end) // unit}) NOT VALID"
                )
    for table in _TABLES:
        with engine.begin() as connection:
            _lock(connection)
            if _is_divided(connection):
                return
            connection.exec_driver_sql(f"ALTER TABLE {table} VALIDATE CONSTRAINT {_CONSTRAINT}")


def is_checked(connection: sa.Connection) -> bool:
    """Whether the tables of version 10 are ready to be divided."""
    if connection.exec_driver_sql("SELECT COALESCE(MAX(started), 0) FROM calls").scalar_one() >= LAST:
        return True
    checked = connection.exec_driver_sql(
        """SELECT COUNT(*) FROM pg_constraint WHERE conname = %s AND convalidated
           AND conrelid IN (to_regclass('calls'), to_regclass('attempts'), to_regclass('totals'))""",
        (_CONSTRAINT,),
    ).scalar_one()
    end = _checked_until(connection)
    return checked == len(_TABLES) and end is not None and end > time.time()


def divide(connection: sa.Connection) -> None:
    """Make partitioned tables in place of those of version 10, which become the first partition if they hold calls."""
    connection.exec_driver_sql("LOCK TABLE calls, attempts, totals, items, feedback IN ACCESS EXCLUSIVE MODE")
    is_empty = not connection.exec_driver_sql("SELECT EXISTS (SELECT 1 FROM calls)").scalar_one()
    first = Partition("earlier", -math.inf, _checked_until(connection) or math.inf)
    connection.exec_driver_sql("ALTER TABLE attempts ADD COLUMN IF NOT EXISTS began FLOAT DEFAULT 0 NOT NULL")
    for table in ("items", "feedback"):
        connection.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT {table}_call_fkey")
    for table, (column, _) in _TABLES.items():
        named = "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = %s::regclass"
        for index in connection.exec_driver_sql(named, (table,)).scalars().all():
            connection.exec_driver_sql(f"ALTER INDEX {index} RENAME TO {index}_{first.name}")
        old = f"{table}_{first.name}"
        connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO {old}")
        connection.exec_driver_sql(
            f"CREATE TABLE {table} (LIKE {old} INCLUDING DEFAULTS) PARTITION BY RANGE ({column})"
        )
    for statement in _PARENTS:
        connection.exec_driver_sql(statement)
    if is_empty:
        for table in reversed(_TABLES):
            connection.exec_driver_sql(f"DROP TABLE {table}_{first.name}")
    else:
        _attach(connection, first)
        for table in _TABLES:
            connection.exec_driver_sql(f"ALTER TABLE {table}_{first.name} DROP CONSTRAINT IF EXISTS {_CONSTRAINT}")


def _make(connection: sa.Connection, partition: Partition) -> None:
    keys = {
        "calls": ", PRIMARY KEY (id)",
        "attempts": f""", PRIMARY KEY (call, number),
                     FOREIGN KEY (call) REFERENCES calls_{partition.name} (id) ON DELETE CASCADE""",
        "totals": "",
    }
    for table, key in keys.items():
        connection.exec_driver_sql(f"CREATE TABLE {table}_{partition.name} (LIKE {table} INCLUDING DEFAULTS{key})")
    _attach(connection, partition)


def _attach(connection: sa.Connection, partition: Partition) -> None:
    start = "MINVALUE" if math.isinf(partition.start) else None
    end = "MAXVALUE" if math.isinf(partition.end) else None
    for table, (_, unit) in _TABLES.items():
        bounds = f"FROM ({start or int(partition.start) // unit}) TO ({end or int(partition.end) // unit})"
        connection.exec_driver_sql(f"ALTER TABLE {table} ATTACH PARTITION {table}_{partition.name} FOR VALUES {bounds}")


def _is_doomed(connection: sa.Connection, partition: Partition, before: float | None, newest: int | None) -> bool:
    if before is not None and partition.end <= before:
        return True
    if newest is None:
        return False
    last = connection.exec_driver_sql(f"SELECT MAX(id) FROM calls_{partition.name}").scalar()  # noqa: S608 (ours)
    return last is not None and last <= newest


def _is_divided(connection: sa.Connection) -> bool:
    kind = connection.exec_driver_sql("SELECT relkind FROM pg_class WHERE oid = to_regclass('calls')").scalar()
    return kind in ("p", b"p")


def _checked_until(connection: sa.Connection) -> float | None:
    text = connection.exec_driver_sql(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s AND conrelid = to_regclass('calls')",
        (_CONSTRAINT,),
    ).scalar()
    found = None if text is None else _CHECK.search(text)
    return None if found is None else float(found.group(1))


def _edge(at: float) -> str:
    return f"{int(at)}" if math.isfinite(at) else f"'{'-' if at < 0 else ''}Infinity'::float"


def _lock(connection: sa.Connection) -> None:
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")

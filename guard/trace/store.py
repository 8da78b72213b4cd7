"""The trace in a database: SQLite for one machine, PostgreSQL for many.

A record is committed before the call returns. SQLite is in WAL mode with synchronous=NORMAL: a process may die at any
point and loses nothing that was committed; a power failure may lose the last commits, never the file's integrity.
PostgreSQL keeps its own promise, which by default covers power failures too.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy as sa

from guard.aside import aside
from guard.interrupts import is_injected
from guard.records import VALID, Attempt, Call
from guard.settings import Settings
from guard.trace import rows, tables
from guard.trace.errors import TraceError
from guard.trace.redaction import Redaction
from guard.trace.retention import EVERY, Retention
from guard.trace.tables import ATTEMPTS, CALLS, REPLIES, SCHEMAS, VERSION
from guard.trace.writer import Work, Writer

if TYPE_CHECKING:
    from guard.schemas import Compiled

BUSY_TIMEOUT_MS = 30_000  #: Longest wait for another process's write; one write takes well under a millisecond.
PAGE = 200  #: Calls that `each` reads at a time.
KEPT_SCHEMAS = 256  #: Schemas whose text a store remembers, so as not to write it out for every call;
KEPT_CHARACTERS = 16_000_000  #: and how long these texts may be together.
CALL_ERRORS = (OSError, sa.exc.SQLAlchemyError)  #: What reading and writing may raise.


class TraceStore:
    """A trace in one file or one database; safe from any thread and any number of processes."""

    _open: ClassVar[dict[tuple[int, str], TraceStore]] = {}  # by process: connections don't survive a fork
    _opening = threading.RLock()  # a signal handler's call may find it taken by its own thread

    @classmethod
    def at(cls, place: str | os.PathLike[str]) -> TraceStore:
        """Return this process's store of a file or a postgresql:// URL; opened once, on first use.

        How long it keeps records is what the settings say then.
        """
        name = os.fspath(place)
        if "://" not in name:
            name = os.path.abspath(os.path.expanduser(name))  # noqa: PTH100, PTH111 (pathlib takes ten times as long)
        key = os.getpid(), name
        store = cls._open.get(key)
        if store is None:
            with cls._opening:
                store = cls._open.get(key)
                if store is None:
                    settings = Settings.load()
                    made = cls(name, Retention(settings.trace_days, settings.trace_calls))
                    store = cls._open.setdefault(key, made)
        return store

    def __init__(self, place: str | os.PathLike[str], retention: Retention = Retention()) -> None:  # noqa: B008 (frozen)
        name = os.fspath(place)
        self._name = name
        self._path: str | None = None if "://" in name else name
        self.retention = retention
        if self._path is not None:
            url = sa.URL.create("sqlite", database=self._path)
            self._engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
            sa.event.listen(self._engine, "connect", _on_connect)
            sa.event.listen(self._engine, "begin", _on_begin)
        else:
            self._engine = _postgresql(name)
        #: The file, or the URL without its password.
        self.place = self._path or self._engine.url.render_as_string(hide_password=True)
        dialect = self._engine.dialect
        sqlite = dialect.name == "sqlite"
        self._mark = "?" if sqlite else "%s"
        self._insert_call = tables.insertion(CALLS, dialect, "" if sqlite else "RETURNING id")
        self._insert_attempt = tables.insertion(ATTEMPTS, dialect)
        self._insert_schema = tables.insertion(SCHEMAS, dialect, "ON CONFLICT (hash) DO NOTHING")
        self._insert_reply = tables.insertion(
            REPLIES,
            dialect,
            "ON CONFLICT (key) DO UPDATE SET started = excluded.started, body = excluded.body",
        )
        # Taking the write lock at once, a writer waits for another instead of failing half-way.
        self._writer = Writer(self._engine, "BEGIN IMMEDIATE" if sqlite else "")
        self._schemas: dict[tuple[str, Redaction], str] = {}
        self._ready = False
        self._preparing = threading.Lock()
        self._pid = os.getpid()
        weakref.finalize(self, _close, self._engine, self._writer, self._pid).atexit = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the place: another process opens it for itself."""
        return _opened, (self._name, self.retention)

    def check_writable(self) -> None:
        """Create the database's tables, and a file where it is missing; TraceError says why that can't be."""
        if not self._is_ready():
            aside(self._prepared)

    def _prepared(self) -> None:
        with self._preparing:  # once for all threads of the process
            if not self._is_ready():
                self._prepare()

    def _is_ready(self) -> bool:
        return self._ready and (self._path is None or os.path.exists(self._path))  # noqa: PTH110 (pathlib is slower)

    def _prepare(self) -> None:
        self._ready = False
        try:
            if self._path is not None:
                Path(self._path).parent.mkdir(parents=True, exist_ok=True)
                self.close()  # the file may have been deleted under the open connections
            with self._engine.begin() as connection:
                version = tables.prepare(connection)
        except CALL_ERRORS as error:
            raise self._error("can't be written", error) from error
        self._check_version(version)
        self._ready = True

    def write(self, call: Call, compiled: Compiled | None = None) -> Call:
        """Commit a call and its attempts; returns the call with its number.

        With `compiled`, what was asked for is kept as well, once, so that the call can be replayed.
        """
        self.check_writable()
        insert = self._insertion(call, compiled, Redaction.current())
        number = 0

        def work(cursor: Any) -> None:
            nonlocal number
            number = insert(cursor)

        self._commit(work)
        return dataclasses.replace(call, number=number)

    def write_all(self, calls: Sequence[Call]) -> list[int]:
        """Commit calls without a schema in one transaction, all or none; returns their numbers."""
        self.check_writable()
        redaction = Redaction.current()
        inserts = [self._insertion(call, None, redaction) for call in calls]
        numbers: list[int] = []

        def work(cursor: Any) -> None:
            numbers[:] = [insert(cursor) for insert in inserts]

        self._commit(work)
        return numbers

    async def awrite(self, call: Call, compiled: Compiled | None = None) -> Call:
        """Do as `write` does, without holding the event loop up."""
        return await asyncio.to_thread(self.write, call, compiled)

    def record(self, key: str, body: Mapping[str, Any]) -> bool:
        """Commit a reply under its key, in place of an earlier one; False where redaction would have changed it."""
        self.check_writable()
        text = rows.body_text(body, Redaction.current())
        if text is None:
            return False
        row = {"key": rows.storable(key), "started": time.time(), "body": text}
        self._commit(lambda cursor: cursor.execute(self._insert_reply, row))
        return True

    def recorded(self, key: str) -> dict[str, Any] | None:
        """Return the reply under a key, or None."""
        with self._reading() as connection:
            if connection is None:
                return None
            query = f"SELECT body FROM replies WHERE key = {self._mark}"  # noqa: S608 (text: an application waits for it)
            body = connection.exec_driver_sql(query, (rows.storable(key),)).scalar()
        return None if body is None else rows.loaded(body)

    def schema(self, schema_hash: str) -> dict[str, Any] | None:
        """Return what `guard.compile` was given for a hash, as keyword arguments; None where it was not kept."""
        with self._reading() as connection:
            if connection is None:
                return None
            text = connection.scalar(sa.select(SCHEMAS.c.text).where(SCHEMAS.c.hash == rows.storable(schema_hash)))
        return None if text is None else rows.loaded(text)

    def read(self, number: int) -> Call | None:
        """Return one call, or None where the trace has no such number."""
        found = self._select([CALLS.c.id == number], CALLS.c.id, 1)
        return found[0] if found else None

    def latest(
        self, *, limit: int = 20, function: str | None = None, outcome: str | None = None, before: int | None = None
    ) -> list[Call]:
        """Return the latest calls, the newest first."""
        conditions = _conditions(function, outcome)
        if before is not None:
            conditions.append(CALLS.c.id < before)
        return self._select(conditions, CALLS.c.id.desc(), limit)

    def failures(self, limit: int = 20, before: int | None = None) -> list[Call]:
        """Return the latest calls that ended without a value, the newest first."""
        conditions = [CALLS.c.outcome != VALID, *([] if before is None else [CALLS.c.id < before])]
        return self._select(conditions, CALLS.c.id.desc(), limit)

    def each(
        self, *, function: str | None = None, outcome: str | None = None, since: float | None = None
    ) -> Iterator[Call]:
        """Yield calls from the oldest to the newest, a page of them at a time in memory."""
        conditions = _conditions(function, outcome, since)
        last = 0
        while page := self._select([*conditions, CALLS.c.id > last], CALLS.c.id, PAGE):
            yield from page
            last = page[-1].number or 0

    def count(self, *, function: str | None = None, since: float | None = None) -> int:
        """Return how many calls there are."""
        query = sa.select(sa.func.count()).select_from(CALLS).where(*_conditions(function, None, since))
        with self._reading() as connection:
            return 0 if connection is None else connection.scalar(query) or 0

    def ledger(self, *, function: str | None = None, since: float | None = None) -> Iterator[Any]:
        """Yield a row of figures for each attempt, by call and number: what statistics need, without the texts."""
        query = (
            sa.select(
                *CALLS.c["id", "function", "target", "started", "outcome", "options"],
                *ATTEMPTS.c["number", "tier", "model", "reason", "prompt_tokens", "completion_tokens", "cost"],
                *ATTEMPTS.c["finish", "is_estimate", "is_kept"],
                ATTEMPTS.c.text.is_not(None).label("replied"),
            )
            .join(ATTEMPTS, ATTEMPTS.c.call == CALLS.c.id, isouter=True)
            .where(*_conditions(function, None, since))
            .order_by(CALLS.c.id, ATTEMPTS.c.number)
        )
        with self._reading() as connection:
            if connection is not None:
                yield from connection.execution_options(yield_per=1000).execute(query)

    def prune(self, retention: Retention) -> int:
        """Delete all that is not to be kept, for good; returns how many calls went."""
        self.check_writable()
        total, gone = 0, 1

        def sweep(cursor: Any) -> None:
            nonlocal gone
            gone = retention.apply(cursor, self._mark)

        while gone:
            self._commit(sweep)
            total += gone
        if self._path is not None:
            try:
                self._writer.execute_alone("VACUUM")
                self._writer.execute_alone("PRAGMA wal_checkpoint(TRUNCATE)")
            except (*CALL_ERRORS, self._engine.dialect.loaded_dbapi.Error) as error:
                raise self._error("can't be compacted", error) from error
        return total

    @contextlib.contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """Open a transaction that may write, for what the sidecar keeps beside the records."""
        self.check_writable()
        try:
            with self._engine.begin() as connection:
                yield connection
        except CALL_ERRORS as error:
            raise self._error("can't be written", error) from error

    def close(self) -> None:
        """Give up all connections; the next use opens others."""
        _close(self._engine, self._writer, self._pid)

    def _insertion(self, call: Call, compiled: Compiled | None, redaction: Redaction) -> Callable[[Any], int]:
        """Return what inserts a call over a cursor, and returns its number; may be run more than once."""
        try:
            row = rows.call_row(call, redaction)
            attempts = [rows.attempt_row(attempt, redaction) for attempt in call.attempts]
        except RecursionError:
            raise TraceError("a message is nested too deeply to be recorded; nothing was written") from None
        text = None if compiled is None else self._schema(compiled, redaction)
        schema = None if text is None else {"hash": row["schema_hash"], "text": text}

        def insert(cursor: Any) -> int:
            cursor.execute(self._insert_call, row)
            number: int = cursor.lastrowid if self._path is not None else cursor.fetchone()[0]
            for attempt in attempts:
                attempt["call"] = number
            if len(attempts) == 1:
                cursor.execute(self._insert_attempt, attempts[0])
            elif attempts:
                cursor.executemany(self._insert_attempt, attempts)
            if schema is not None:
                cursor.execute(self._insert_schema, schema)
            if number % EVERY == 0 and self.retention.asks:
                self.retention.apply(cursor, self._mark)
            return number

        return insert

    def _commit(self, work: Work) -> None:
        try:
            self._writer.commit(work)
        except (*CALL_ERRORS, self._engine.dialect.loaded_dbapi.Error) as error:
            if is_injected(error):  # the wait was broken, not the trace
                raise
            raise self._error("can't be written", error) from error

    def _schema(self, compiled: Compiled, redaction: Redaction) -> str | None:
        """Return the text that is kept of a schema, or None where it is nested too deeply for this thread's stack."""
        key = compiled.hash, redaction
        text = self._schemas.get(key)
        if text is None:
            try:
                text = rows.storable(json.dumps(redaction.value(compiled.arguments()), ensure_ascii=False))
            except RecursionError:
                return None
            held = sum(map(len, list(self._schemas.values())))
            if len(self._schemas) >= KEPT_SCHEMAS or held + len(text) > KEPT_CHARACTERS:
                self._schemas.clear()
            self._schemas[key] = text
        return text

    def _select(self, conditions: list[sa.ColumnElement[bool]], order: Any, limit: int) -> list[Call]:
        query = sa.select(CALLS).where(*conditions).order_by(order).limit(limit)
        with self._reading() as connection:
            if connection is None:
                return []
            calls = connection.execute(query).all()
            attempts: dict[int, list[Attempt]] = {row.id: [] for row in calls}
            of_these = sa.select(ATTEMPTS).where(ATTEMPTS.c.call.in_(list(attempts))).order_by(ATTEMPTS.c.number)
            for row in connection.execute(of_these):
                attempts[row.call].append(rows.attempt_of(row))
        return [rows.call_of(row, attempts[row.id]) for row in calls]

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sa.Connection | None]:
        """Open a transaction that reads, or None where there is no trace yet: reading makes none.

        The tables of an older Guard are migrated first.
        """
        if self._path is not None and not os.path.exists(self._path):  # noqa: PTH110
            yield None
            return
        try:
            engine = self._engine.execution_options(guard_reads=True)
            if not self._ready:
                with engine.connect() as connection:
                    version = tables.version_of(connection)
                if version is None:
                    yield None
                    return
                self._check_version(version)
                if version < VERSION:
                    self.check_writable()
            with engine.connect() as connection:
                yield connection
        except CALL_ERRORS as error:
            raise self._error("can't be read", error) from error

    def _check_version(self, version: int) -> None:
        if version > VERSION:
            raise TraceError(
                f"the trace {self.place} has version {version} of its tables, this Guard writes version {VERSION}; "
                "upgrade Guard, or name another trace in GUARD_TRACE"
            )

    def _error(self, what: str, error: Exception) -> TraceError:
        cause = str(error.orig) if isinstance(error, sa.exc.DBAPIError) else str(error)
        return TraceError(f"the trace {self.place} {what}: {' '.join(cause.split())}; name another in GUARD_TRACE")


def _opened(name: str, retention: Retention) -> TraceStore:
    store = TraceStore.at(name)
    return store if store.retention == retention else TraceStore(name, retention)


def _renew_lock() -> None:
    TraceStore._opening = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)  # another thread may have held it


def _conditions(
    function: str | None = None, outcome: str | None = None, since: float | None = None
) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if function is not None:
        conditions.append(CALLS.c.function == rows.storable(function))
    if outcome is not None:
        conditions.append(CALLS.c.outcome == rows.storable(outcome))
    if since is not None:
        conditions.append(CALLS.c.started >= since)
    return conditions


def _postgresql(name: str) -> sa.Engine:
    """Return the engine of a URL; TraceError says which are known."""
    scheme, _, rest = name.partition("://")
    if scheme not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise TraceError(f"the trace can't be a {scheme}:// URL; name a file, or postgresql://USER@HOST/DATABASE")
    try:
        return sa.create_engine(f"postgresql+psycopg://{rest}", pool_pre_ping=True)
    except (sa.exc.ArgumentError, ValueError):  # its words quote the URL, password and all
        raise TraceError("the trace's URL can't be read; write it as postgresql://USER@HOST/DATABASE") from None
    except ModuleNotFoundError as error:
        raise TraceError(f"a trace in PostgreSQL needs {error.name}: pip install 'guard-slm[postgres]'") from error


def _close(engine: sa.Engine, writer: Writer, pid: int) -> None:
    if os.getpid() == pid:  # a fork shares the connections of the process that opened them, and must leave them be
        writer.close()
        engine.dispose()


def _on_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # sqlite3 begins no transactions of its own; `_on_begin` and the writer do
    # What is deleted is overwritten, not only forgotten: retention is a promise.
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _on_begin(connection: sa.Connection) -> None:
    """Take the write lock at once, so that a writer waits for another instead of failing half-way."""
    reads = connection.get_execution_options().get("guard_reads")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

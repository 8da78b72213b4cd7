"""The trace in a database: SQLite for one machine, PostgreSQL for many.

A record is committed before the call returns. SQLite is in WAL mode with synchronous=NORMAL: a process may die at any
point and loses nothing that was committed; a power failure may lose the last commits, never the file's integrity.
PostgreSQL keeps its own promise, which by default covers power failures too.

Every write has a deadline. Where the database is not free by then, nothing is written and TraceError is raised. Reading
takes no lock that anyone waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import itertools
import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy as sa

from guard.kernels import at_fork
from guard.settings import Settings
from guard.support import private_files
from guard.support.aside import aside
from guard.trace import call_rows, feedback_rows, partitions, row_codec, sql_tables, totals
from guard.trace.asked_for import target_of
from guard.trace.call_rows import PAGE
from guard.trace.databases import Database, is_busy, located
from guard.trace.errors import TraceError
from guard.trace.feedback import PERSON, Feedback, Ratings, is_same
from guard.trace.group_commit import Late, Writer
from guard.trace.insertion import Insertion, InsertJob, RecordRows
from guard.trace.record_queue import Entry, Journal
from guard.trace.records import VALID, Call
from guard.trace.redaction import Redaction
from guard.trace.retention import EVERY, Retention
from guard.trace.sql_tables import ATTEMPTS, CALLS, FAILED, ITEMS, REPLIES, SCHEMA, SCHEMAS, VERSION
from guard.trace.totals import Totals
from guard.trace.transaction import Transaction
from guard.trace.upkeep import Upkeep, is_without_partition
from guard.trace.waits import WAIT_S

if TYPE_CHECKING:
    from guard.schemas import Compiled

TRIES = 20  #: How often a record is tried again whose month another process has dropped.
_UNUSABLE = "the trace can't be used"
_ROOM = 2**16  #: Bytes that a probe writes after a write that failed.
SPENT = "when its turn came and its rows were made, no time was left"


class TraceStore:
    """A trace in one file or one database. Safe to use from any thread and any number of processes.

    Any method may raise TraceError: the database can't be read or written, or did not answer in time. Close it with
    `close`; the stores of `at` live as long as the process.
    """

    _open: ClassVar[dict[tuple[int, str], TraceStore]] = {}  # by process id: connections don't survive a fork
    made: ClassVar[weakref.WeakValueDictionary[int, TraceStore]] = weakref.WeakValueDictionary()  #: All, by their ids.
    _opening = threading.RLock()  # reentrant: a signal handler may run in the thread that holds it

    @classmethod
    def at(cls, place: str | os.PathLike[str]) -> TraceStore:
        """Return this process's store of a file or a postgresql:// URL; opened once, on first use.

        The settings at that time decide the retention. Raises TypeError where `place` is neither, and TraceError where
        the store can't be opened.
        """
        if not isinstance(place, str | os.PathLike):
            raise TypeError(f"place={place!r} must be a file or a postgresql:// URL")
        key = _key(place)
        store = cls._open.get(key)
        if store is None:
            with cls._opening:
                store = cls._open.get(key)
                if store is None:
                    settings = Settings.load()
                    made = cls(key[1], Retention(settings.trace_days, settings.trace_calls))
                    store = cls._open.setdefault(key, made)
        return store

    @classmethod
    def opened(cls, place: str | os.PathLike[str] | TraceStore) -> TraceStore | None:
        """Return the store at a place where it is open in this process, else None. Does not block."""
        store = place if isinstance(place, TraceStore) else cls._open.get(_key(place))
        return store if store is not None and store.is_open else None

    def __init__(self, place: str | os.PathLike[str], retention: Retention = Retention()) -> None:  # noqa: B008 (frozen)
        self._name = located(os.fspath(place))
        self.retention = retention
        self._database = Database(self._name)
        self.path = self._database.path  #: The path of the file; None for a server.
        self.place = self._database.place  #: The file, or the URL without its secrets, for messages.
        self.identity = self._database.identity  #: What tells it apart from others; never shown.
        self._engine = self._database.engine
        is_sqlite = self._database.is_sqlite
        self._mark = self._database.mark
        self._insertion = Insertion(self._database)
        self._failures: tuple[type[Exception], ...] = (Late, *self._database.errors)
        self._insert_reply = sql_tables.insertion(
            REPLIES,
            is_sqlite,
            "ON CONFLICT (key) DO UPDATE SET started = excluded.started, body = excluded.body",
        )
        opened = functools.partial(Transaction, is_sqlite=is_sqlite)
        self._writer = Writer(
            self._engine, self._database.begin, opened=opened, is_busy=is_busy, patience=self._database.patience
        )
        self._journals: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Journal] = weakref.WeakKeyDictionary()
        self._ready = False
        self._has_failed = False  # the last write, and no probe has passed since
        self._upkeep = Upkeep(self._database, self._writer)
        self._preparing = threading.Lock()
        self.process = os.getpid()  #: That made it.
        weakref.finalize(self, _close, self._database, self._writer, self.process).atexit = False
        self.made[id(self)] = self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by place: another process opens its own connections."""
        return _opened, (self._name, self.retention)

    def check_writable(self, seconds: float = WAIT_S) -> None:
        """Create the tables, and the file where it is missing. Raises TraceError, which says why that fails."""
        if not self.is_ready:
            aside(functools.partial(self._prepared, seconds))

    def check_usable(self) -> None:
        """Raise TraceError where `check_writable` would; nothing is created or migrated."""
        try:
            why = self._database.refusal()
        except self._database.errors as error:
            raise self._error("can't be written", error) from error
        if why is not None:
            raise TraceError(f"the trace {self.place} can't be written: {why}; name another in GUARD_TRACE")
        with self.looking():
            pass

    def _prepared(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        if not self._preparing.acquire(timeout=max(0.0, seconds)):  # once for all threads of the process
            raise self._late(Late("another holds it"), seconds)
        try:
            if not self.is_ready:
                self._prepare(max(0.0, until - time.monotonic()))
        finally:
            self._preparing.release()

    @property
    def is_open(self) -> bool:
        """Whether the tables were made or found once. A file that is gone since is made again when it is written."""
        return self._ready

    @property
    def is_ready(self) -> bool:
        """Whether the tables were made or found, so that `check_writable` has nothing to do. Does not block."""
        return self._ready and self._database.is_there()

    def _prepare(self, seconds: float) -> None:
        self._ready = False
        self._check_kind()
        try:
            if self.path is not None:
                self.close()  # the file may have been deleted under the open connections
                private_files.make_file(self.path)
            engine = self._database.writer(seconds)
            with self._database.within(seconds), engine.begin() as connection:
                before = sql_tables.version_of(connection)
                if self.path is not None and sql_tables.is_bare(connection):
                    private_files.close_to_others(self.path)  # a file that only some pragma has made grow
                version = sql_tables.prepare(connection, self._upgrade)
            while version < VERSION:  # on PostgreSQL
                partitions.check_constraints(engine)
                with engine.begin() as connection:
                    version = sql_tables.prepare(connection, self._upgrade)
            self._check_version(version)
            if before is None and self.path is not None:
                self._database.dispose()  # connections from now on see that the file is a trace
            self._upkeep.make_partitions([], seconds)
            if before is not None and before < VERSION:
                self._upkeep.sum_up()
        except sql_tables.TakenError as error:
            raise self._taken(error) from None
        except Late as error:
            raise self._late(error, seconds) from error
        except self._database.errors as error:
            raise self._error("can't be written", error) from error
        self._ready = True

    def _upgrade(self, connection: sa.Connection) -> None:
        """Fill the new tables of a trace that is older than version 5: count its records."""
        totals.recount(connection)
        if self.path is not None:
            private_files.close_to_others(self.path)

    def probe(self, seconds: float) -> None:
        """Test writing by an update that changes nothing. Raises TraceError where it fails within so many seconds.

        After a write that failed, it tests whether there is room for more too, which an update may find without: it
        writes what takes 64 KiB, and deletes it.
        """
        with self.begin(seconds) as connection:  # a row of its own, since no other writer may wait for the probe
            for _ in range(2):  # SQLite writes nothing where nothing changes
                connection.execute(SCHEMA.update().values(version=-SCHEMA.c.version))
            if self._has_failed:
                name = f"probe {secrets.token_hex(16)}"
                connection.execute(SCHEMAS.insert().values(hash=name, text=secrets.token_hex(_ROOM // 2)))
                connection.execute(SCHEMAS.delete().where(SCHEMAS.c.hash == name))
        self._has_failed = False

    def write(self, call: Call, compiled: Compiled | None = None, seconds: float = WAIT_S) -> Call:
        """Commit a call and its attempts; return the call with its number.

        With `compiled`, the schema is stored too, once for all calls, so that the call can be replayed. Waits at most
        `seconds` for a database that others use.
        """
        (number,) = self.write_all([(call, compiled, seconds)])
        if isinstance(number, Exception):
            raise number
        return call.recorded(number, self)

    def write_all(self, entries: Sequence[Entry]) -> list[int | Exception]:
        """Commit calls together, each on its own terms; return the number of each, or its error.

        An entry is a call, its compiled schema or None, and the seconds for which it may wait.
        """
        began = time.monotonic()
        self.check_writable(max(seconds for _, _, seconds in entries))
        redaction = Redaction.current()
        found: list[int | Exception] = [0] * len(entries)
        records = []
        for place, (call, compiled, seconds) in enumerate(entries):
            try:
                records.append(self._insertion.rows(call, compiled, redaction, place, began + seconds))
            except Exception as error:  # of a hook, or of a value: fails this call alone
                found[place] = error
        failed = self._committed(records)
        for record in records:
            found[record.place] = record.number
        for place, failure in failed.items():
            found[place] = self._written_error(failure, entries[place][2])
        if any(isinstance(number, int) and number and number % EVERY == 0 for number in found):
            with contextlib.suppress(*self._failures):  # the calls are recorded; another one's turn comes
                self._upkeep.keep_up(self.retention)
        return found

    def _committed(self, records: list[RecordRows]) -> dict[int, Exception]:
        """Commit records, and return the errors of those that failed, by the record's place.

        All that are not late are tried together first. Where that leaves them unwritten for sure, each is tried alone,
        so that none fails another. A month that has no partition gets one first, and again where another process drops
        it meanwhile.
        """
        now = time.monotonic()
        failed: dict[int, Exception] = {r.place: Late(SPENT) for r in records if r.until <= now}
        groups = [[record for record in records if record.until > now]]
        tries = 0
        while groups := [group for group in groups if group]:
            times = [record.call["started"] for group in groups for record in group]
            try:
                if not self._upkeep.has_partitions(times):
                    last = max(record.until for group in groups for record in group)
                    self._upkeep.make_partitions(times, max(0.0, last - time.monotonic()))
            except self._failures as failure:
                return failed | {record.place: failure for group in groups for record in group}
            jobs = [InsertJob(self._insertion, group, self.retention) for group in groups]
            now = time.monotonic()
            errors = self._writer.commit_all([(job, job.until - now, job.last - now) for job in jobs])
            groups, again = [], False
            for job, error in zip(jobs, errors, strict=True):
                if error is None:
                    continue
                if tries < TRIES and job.is_unwritten(error) and is_without_partition(error):
                    again = True
                    groups.append(job.records)
                elif job.is_unwritten(error) and len(job.records) > 1:
                    groups += [[record] for record in job.records]
                else:
                    failed.update({record.place: error for record in job.records})
            if again:
                tries += 1
                self._upkeep.forget()
        return failed

    async def awrite(self, call: Call, compiled: Compiled | None = None, seconds: float = WAIT_S) -> Call:
        """The same as `write`, without holding up the event loop."""
        return call.recorded(await self.journal.written(call, compiled, seconds), self)

    @property
    def journal(self) -> Journal:
        """The queue of records of the running event loop."""
        loop = asyncio.get_running_loop()
        journal = self._journals.get(loop)
        if journal is None:
            journal = self._journals[loop] = Journal(self.write_all)
        return journal

    def record(self, key: str, body: Mapping[str, Any], seconds: float = WAIT_S) -> bool:
        """Commit a reply under its key, replacing an earlier one; False, unwritten, where redaction changes it."""
        self.check_writable(seconds)
        text = row_codec.body_text(body, Redaction.current())
        if text is None:
            return False
        row = {"key": row_codec.storable(key), "started": time.time(), "body": text}
        self._commit(lambda to: self._insert_reply(to.cursor, [row]), seconds)
        return True

    def recorded(self, key: str) -> dict[str, Any] | None:
        """Return the reply under a key, or None."""
        with self.reading() as connection:
            if connection is None:
                return None
            query = f"SELECT body FROM replies WHERE key = {self._mark}"  # noqa: S608 (text: an application waits for it)
            body = connection.exec_driver_sql(query, (row_codec.storable(key),)).scalar()
        return None if body is None else row_codec.loaded(body)

    def items(self, run: str, keys: Sequence[str] | None = None) -> dict[str, tuple[int, str]]:
        """Return the recorded inputs of a batch: by key, the number and the outcome of the call.

        `keys` limits the query to some inputs. An answer that redaction has changed is left out, since it is not what
        the model wrote.
        """
        every = (
            sa.select(ITEMS.c.key, CALLS.c.id, CALLS.c.outcome)
            .join(CALLS)
            .where(ITEMS.c.run == row_codec.storable(run))
        )
        pages = [] if keys is None else [keys[at : at + PAGE] for at in range(0, len(keys), PAGE)]
        queries = [every] if keys is None else [every.where(ITEMS.c.key.in_(page)) for page in pages]
        with self.reading() as connection:
            if connection is None:
                return {}
            rows = [row for query in queries for row in connection.execute(query)]
        return {key: (number, row_codec.restored(outcome)) for key, number, outcome in rows}

    def spent(self, run: str) -> float:
        """Return the cost of a batch's recorded calls in US dollars.

        Replies that were looked up cost nothing; attempts with unknown prices count as 0.
        """
        query = (
            sa.select(sa.func.sum(ATTEMPTS.c.cost))
            .join(ITEMS, ITEMS.c.call == ATTEMPTS.c.call)
            .where(ITEMS.c.run == row_codec.storable(run), ATTEMPTS.c.is_kept == 0)
        )
        with self.reading() as connection:
            return 0.0 if connection is None else float(connection.scalar(query) or 0.0)

    def forget_items(self, run: str) -> None:
        """Forget a batch's inputs, so that it begins anew. Its calls stay on record."""
        with self.begin() as connection:
            connection.execute(ITEMS.delete().where(ITEMS.c.run == row_codec.storable(run)))

    def schema(self, schema_hash: str) -> dict[str, Any] | None:
        """Return the keyword arguments of `guard.compile` that are stored under a hash, or None."""
        with self.reading() as connection:
            if connection is None:
                return None
            text = connection.scalar(sa.select(SCHEMAS.c.text).where(SCHEMAS.c.hash == row_codec.storable(schema_hash)))
        return None if text is None else row_codec.loaded(text)

    def rate(self, number: int, right: bool, by: str = PERSON) -> None:
        """Record whether a call's answer is right, replacing earlier feedback.

        Raises ValueError where there is no such call.
        """
        self._tell(number, Feedback(right, None, by, time.time()))

    def correct(self, number: int, value: Any, by: str = PERSON) -> None:
        """Record a call's right answer, replacing earlier feedback.

        Raises ValueError where there is no such call, or the type that it asked for does not allow the value.
        """
        call = self.read(number)
        if call is None:
            raise ValueError(f"there is no call {number} in {self.place}")
        kept = self.schema(call.schema_hash)
        asked = None if kept is None else target_of(kept, call.schema_hash)
        if asked is None:
            raise TraceError(f"what call {number} asked for is not kept whole; the correction can't be checked")
        text = asked.written(value, "the correction")
        redacted = Redaction.current().text(text)
        if redacted != text:
            raise TraceError("the correction holds what redaction cuts out; nothing was written")
        self._tell(number, Feedback(call.outcome == VALID and is_same(text, call.text), text, by, time.time()))

    def _tell(self, number: int, said: Feedback) -> None:
        with self.begin() as connection:
            if not feedback_rows.write(connection, number, said):
                raise ValueError(f"there is no call {number} in {self.place}")

    def feedback(self, numbers: Sequence[int]) -> dict[int, Feedback]:
        """Return the feedback on calls, by number. Calls without feedback are left out."""
        with self.reading() as connection:
            return {} if connection is None else feedback_rows.read(connection, numbers)

    def ratings(self, *, function: str | None = None, since: float | None = None) -> list[Ratings]:
        """Return how often valid answers were said to be right, by function and tier."""
        with self.reading() as connection:
            return [] if connection is None else feedback_rows.ratings(connection, function, since)

    def read(self, number: int) -> Call | None:
        """Return a call by its number, or None where there is none."""
        found = self._select([CALLS.c.id == number], (), 1)
        return found[0] if found else None

    def latest(
        self,
        *,
        limit: int = 20,
        function: str | None = None,
        outcome: str | None = None,
        before: int | None = None,
        damaged: Callable[[TraceError], object] | None = None,
    ) -> list[Call]:
        """Return the latest calls, the newest first. Of one whose rows are damaged `damaged` is told, as by `each`."""
        conditions = call_rows.conditions(function, outcome)
        if before is not None:
            conditions.append(CALLS.c.id < before)
        return self._select(conditions, (CALLS.c.id.desc(),), limit, damaged=damaged)

    def outlines(
        self,
        limit: int = 20,
        before: int | None = None,
        *,
        failed: bool = False,
        damaged: Callable[[TraceError], object] | None = None,
    ) -> list[Call]:
        """Return the latest calls, or those that ended without a value, the newest first, for lists.

        Their attempts are without what may be large: messages, answers, thoughts, tokens, places. There are fewer than
        `limit` only where no others are left: those whose rows are damaged are left out, and `damaged` told of them, as
        by `each`.
        """
        calls: list[Call] = []
        most = limit
        while len(calls) < limit:
            conditions = [*([FAILED] if failed else []), *([] if before is None else [CALLS.c.id < before])]
            page = self._found(conditions, (CALLS.c.id.desc(),), most, call_rows.OUTLINE)
            if not page:
                break
            calls += itertools.islice(call_rows.whole(page, damaged), limit - len(calls))
            before, most = page[-1][0].id, PAGE  # however few are left to find: many damaged ones may be in between
        return calls

    def each(
        self,
        *,
        function: str | None = None,
        outcome: str | None = None,
        since: float | None = None,
        damaged: Callable[[TraceError], object] | None = None,
    ) -> Iterator[Call]:
        """Yield calls from the oldest to the newest; at a time, 200 are in memory, or fewer where they are large.

        Those since a time come by the time in which they began, all others by their number. A call whose rows are
        damaged is left out, and `damaged` told of it; without `damaged` its error is raised.
        """
        last: Any = None
        while True:
            conditions = call_rows.conditions(function, outcome, since)
            if last is not None and since is None:
                conditions.append(CALLS.c.id > last.id)
            elif last is not None:
                here = CALLS.c.started, CALLS.c.id
                conditions += [here[0] >= last.started, sa.tuple_(*here) > (last.started, last.id)]
            order = (CALLS.c.id,) if since is None else (CALLS.c.started, CALLS.c.id)
            page = self._found(conditions, order, PAGE, most=call_rows.PARTS)
            if not page:
                return
            yield from call_rows.whole(page, damaged)
            last = page[-1][0]

    def count(self, *, function: str | None = None, since: float | None = None) -> int:
        """Return how many calls there are."""
        query = sa.select(sa.func.count()).select_from(CALLS).where(*call_rows.conditions(function, None, since))
        with self.reading() as connection:
            return 0 if connection is None else connection.scalar(query) or 0

    def ledger(self, *, function: str | None = None, since: float | None = None) -> list[totals.Row]:
        """Return the totals for statistics of a period: whole minutes from the running totals, the rest counted."""
        with self.reading() as connection:
            if connection is None:
                return []
            first = None if since is None else -int(-since // totals.MINUTE)
            found = totals.read(connection, first)
            times: list[tuple[float, float]] = []
            if since is not None and first is not None and since < first * totals.MINUTE:
                times = [(since, first * totals.MINUTE)]
            counted = Totals()
            cursor = connection.connection.cursor()
            for numbers in itertools.chain.from_iterable(totals.pages(cursor, self._mark, *time) for time in times):
                for record in totals.records(cursor, numbers):
                    counted.add(*record)
        wanted = None if function is None else row_codec.storable(function)
        return [row for row in (*found, *counted.rows()) if wanted is None or row.about.function == wanted]

    def points(self, since: int, until: int, step: int) -> list[tuple[int, totals.Row]]:
        """Return the running totals in steps of so many minutes, from one minute until before another: (step, row)."""
        with self.reading() as connection:
            return [] if connection is None else totals.points(connection, since, until, step)

    def prune(self, retention: Retention) -> int:
        """Delete all records beyond the retention, and shrink the file; return how many calls were deleted."""
        self.check_writable()
        try:
            return self._upkeep.prune(retention)
        except Late as error:
            raise self._late(error, WAIT_S) from error
        except self._database.errors as error:
            raise self._error("can't be written", error) from error

    @contextlib.contextmanager
    def begin(self, seconds: float = WAIT_S) -> Iterator[sa.Connection]:
        """Open a transaction that may write, for the sidecar's tables."""
        self.check_writable(seconds)
        try:
            with self._database.writer(seconds).begin() as connection:
                yield connection
        except self._database.errors as error:
            raise self._error("can't be written", error) from error

    def close(self) -> None:
        """Close all connections. The next use opens others."""
        _close(self._database, self._writer, self.process)

    def _commit(self, work: Callable[[Transaction], object], seconds: float) -> None:
        (error,) = self._writer.commit_all([(work, seconds, seconds)])
        if error is not None:
            raise self._written_error(error, seconds)

    def _written_error(self, error: Exception, seconds: float) -> Exception:
        if isinstance(error, Late):
            told = self._late(error, seconds)
        elif isinstance(error, self._database.errors):
            told = self._error("can't be written", error)
            self._has_failed = True
        else:
            return error
        told.__cause__ = error
        return told

    def _late(self, error: Late, seconds: float) -> TraceError:
        words = f"was not written within {max(seconds, 0.0):.3g} s: {error}"
        return TraceError(f"the trace {self.place} {words}", f"the trace {words}")

    def _select(
        self,
        conditions: Sequence[Any],
        order: Sequence[Any],
        limit: int,
        columns: Sequence[Any] = (ATTEMPTS,),
        damaged: Callable[[TraceError], object] | None = None,
    ) -> list[Call]:
        """Return the first calls, as many as `limit`."""
        return list(call_rows.whole(self._found(conditions, order, limit, columns), damaged))

    def _found(
        self, wanted: Any, order: Any, limit: int, columns: Sequence[Any] = (ATTEMPTS,), most: int | None = None
    ) -> list[tuple[Any, Call | TraceError]]:
        """Return what `call_rows.found` does, of this trace."""
        with self.reading() as connection:
            found = [] if connection is None else call_rows.found(connection, wanted, order, limit, columns, most)
        own = functools.partial(dataclasses.replace, _trace=self)
        damaged = functools.partial(call_rows.damaged, self.place)
        return [(row, own(it) if isinstance(it, Call) else damaged(row.id, it)) for row, it in found]

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection | None]:
        """Open a transaction that reads, or None where there is no trace yet; reading never creates one.

        The tables of an older Guard are migrated first. A file of another user is read without writing.
        """
        # An empty file is closed to others by the first that writes: a reader's pragmas would make it grow before.
        if not self._database.is_there() or (not self._ready and self._database.is_empty()):
            yield None
            return
        if not self._ready:
            self._check_kind()
        try:
            engine = self._database.reader if self._ready else self._database.readable()
            if not self._ready:
                with engine.connect() as connection:
                    version = self._version(connection)
                if version is None:
                    yield None
                    return
                if version < VERSION:
                    self.check_writable()
            with engine.connect() as connection:
                yield connection
        except self._database.errors as error:
            raise self._error("can't be read", error) from error

    @contextlib.contextmanager
    def looking(self) -> Iterator[sa.Connection | None]:
        """Open a transaction that reads a trace of any version as it is, or None where there is none yet.

        It migrates nothing and leaves nothing behind, whoever looks.
        """
        if not self._database.is_there():
            yield None
            return
        self._check_kind()
        try:
            with self._database.viewer().connect() as connection:
                yield None if self._version(connection) is None else connection
        except self._database.errors as error:
            raise self._error("can't be read", error) from error

    def _version(self, connection: sa.Connection) -> int | None:
        """Return the version of the tables, or None where there are none.

        Raises TraceError where they are a newer Guard's, or another program has a table of the same name.
        """
        version = sql_tables.version_of(connection)
        if version is not None:
            self._check_version(version)
            return version
        try:
            sql_tables.check_free(connection)
        except sql_tables.TakenError as error:
            raise self._taken(error) from None
        return None

    def _check_kind(self) -> None:
        """Raise TraceError for what SQLite would wait for, such as a pipe."""
        if not self._database.is_file():
            raise TraceError(
                f"the trace {self.place} is neither a file nor a new one's name; name another in GUARD_TRACE", _UNUSABLE
            )

    def _taken(self, error: sql_tables.TakenError) -> TraceError:
        words = f"the trace {self.place} is another program's database: it has its own {error}"
        return TraceError(f"{words}; name another in GUARD_TRACE", _UNUSABLE)

    def _check_version(self, version: int) -> None:
        if version > VERSION:
            raise TraceError(
                f"the trace {self.place} has version {version} of its tables, this Guard writes version {VERSION}; "
                "upgrade Guard, or name another trace in GUARD_TRACE",
                _UNUSABLE,
            )

    def _error(self, what: str, error: Exception) -> TraceError:
        cause = str(error.orig) if isinstance(error, sa.exc.DBAPIError) else str(error)
        if isinstance(error, OSError) and error.strerror:  # its own words name the file once more
            cause = error.strerror
        words = f"the trace {self.place} {what}: {' '.join(cause.split())}; name another in GUARD_TRACE"
        return TraceError(words, f"the trace {what}")


def _opened(name: str, retention: Retention) -> TraceStore:
    store = TraceStore.at(name)
    return store if store.retention == retention else TraceStore(name, retention)


def _renew_lock() -> None:
    TraceStore._opening = threading.RLock()


at_fork.in_child(_renew_lock)  # another thread may have held the lock


def _key(place: str | os.PathLike[str]) -> tuple[int, str]:
    """Return what tells a place apart from others in this process."""
    return os.getpid(), located(os.fspath(place))


def _close(database: Database, writer: Writer, pid: int) -> None:
    if os.getpid() == pid:  # a forked process must not close the connections that it inherits
        writer.close()
        database.dispose()

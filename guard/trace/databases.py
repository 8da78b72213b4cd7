"""SQLite and PostgreSQL: how each is opened, how long it is waited for, and which errors mean that it is in use.

SQLite is in WAL mode: readers block nobody, one connection writes at a time, and the checkpoint, which a writer does
every thousand pages, waits for nobody. A new file can shrink page by page (`auto_vacuum`). A file made without that
keeps its size and reuses its free pages, because rewriting it would block its writers all the while. PostgreSQL locks
by row. In both, a reader sees one snapshot.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sqlite3
import stat
import time
import urllib.parse
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from guard.trace.errors import TraceError
from guard.trace.waits import WAIT_S

CONNECT_S = 10  #: Longest wait for a server's connection.
SILENT_MS = 20_000  #: Milliseconds after which a server that acknowledges nothing is given up.
#: Seconds of silence after which its machine is asked whether it is there, also where an answer is waited for: one that
#: was switched off says nothing, and the system itself would ask after two hours.
ALIVE_S = 5
STILL_MS = 5_000  #: Milliseconds for which a transaction may stand still.
WAL_BYTES = 64 * 2**20  #: Size to which the write-ahead log shrinks again after a long read made it grow.
RETRY_S = 0.005  #: Seconds between two tries of what SQLite refuses at once while another makes the file.

FUNCTION = "guard_sums_up_days"  #: A function of SQLite's that connections of tables' version 11 or later have.

#: Execution options of a server's reading connection: read-only, one snapshot.
READING = {"guard_reads": True, "isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
#: How strings begin that libpq takes, and that are not URLs: their password would become part of a file's name.
_CONNECTION = re.compile(
    r"\s*(?:postgres(?:ql)?(?:\+\w+)?:(?!//)"
    r"|(?:\w+\s*=.*\b)?(?:host|hostaddr|port|dbname|user|password|passfile|service|sslmode)\s*=)",
    re.I | re.S,
)
_IS_TRACE = "SELECT 1 FROM sqlite_master WHERE name = 'guard_schema'"
_PATIENCE_SQLITE = "PRAGMA busy_timeout = {ms}"
#: A process that stands still in a transaction is cut off, because others wait for its locks.
_BEGIN_POSTGRES = f"SET LOCAL lock_timeout = {{ms}}; SET LOCAL idle_in_transaction_session_timeout = {STILL_MS}"
#: Looks go by an index; over many partitions the planner would start workers, which takes longer than the look.
_ALONE = "SET LOCAL max_parallel_workers_per_gather = 0"
#: How long a connection that is being opened may wait for others, in seconds.
_patience: ContextVar[float] = ContextVar("patience", default=WAIT_S)
#: PostgreSQL's codes of a lock time-out and of a deadlock.
_BUSY = ("55P03", "40P01")


def located(name: str) -> str:
    """Return the URL of a trace as it is, and the path of its file from the root.

    Raises TraceError for other strings that name a server.
    """
    if _CONNECTION.match(name):
        raise TraceError("the trace is no file's name; write postgresql://USER@HOST/DATABASE, or ./ before a file's")
    if "://" in name:
        return name
    return os.path.abspath(os.path.expanduser(name))  # noqa: PTH100, PTH111 (pathlib takes ten times as long)


class Database:
    """One database: its engine, and what differs between SQLite and PostgreSQL."""

    def __init__(self, name: str) -> None:
        self.path: str | None = None if "://" in name else name  #: The file's path; None for a server.
        self.is_sqlite = self.path is not None
        if self.path is not None:
            url = sa.URL.create("sqlite", database=self.path)
            self.engine = _sqlite(url)
            self.reader = _sqlite(url)  # a pool of connections that can only read
            sa.event.listen(self.engine, "begin", _begin_sqlite)
            sa.event.listen(self.reader, "connect", _read_only)
            sa.event.listen(self.reader, "begin", _begin_reading)
        else:
            self.engine = _postgresql(name)
            sa.event.listen(self.engine, "begin", _begin_postgresql)
            self.reader = self.engine.execution_options(**READING)
        #: The file, or the URL without its password and without the values of its query, which may hold others.
        self.place = self.path if self.path is not None else _shown(self.engine.url.set(drivername="postgresql"))
        #: What tells it apart from others. Never shown: of a URL, the query may hold secrets.
        self.identity = self.path or self.engine.url.render_as_string(hide_password=True)
        self.mark = "?" if self.is_sqlite else "%s"
        #: The statement that begins a transaction of the writer's. SQLite takes the write lock at once, so that a
        #: writer waits for another instead of failing half-way.
        self.begin = "BEGIN IMMEDIATE" if self.is_sqlite else _BEGIN_POSTGRES
        #: The statement that sets a connection's longest wait, where `begin` does not.
        self.patience = _PATIENCE_SQLITE if self.is_sqlite else ""
        #: Errors of reading and writing, by SQLAlchemy or the driver.
        self.errors: tuple[type[Exception], ...] = (
            OSError,
            sa.exc.SQLAlchemyError,
            self.engine.dialect.loaded_dbapi.Error,
        )

    def writer(self, seconds: float) -> sa.Engine:
        """Return the engine for transactions that may write, and that wait at most so long for others."""
        return self.engine.execution_options(guard_seconds=seconds)

    @staticmethod
    @contextlib.contextmanager
    def within(seconds: float) -> Iterator[None]:
        """Let connections that are opened here wait no longer for others."""
        token = _patience.set(seconds)
        try:
            yield
        finally:
            _patience.reset(token)

    def dispose(self) -> None:
        """Close all idle connections."""
        self.engine.dispose()
        if self.is_sqlite:
            self.reader.dispose()

    def viewer(self) -> sa.Engine:
        """Return an engine that looks at what is there. Of a file that was closed, it makes no file beside it."""
        if self.path is None:
            return self.reader
        # A log without the other file is a copy's, or of a process that was killed, and has the latest records.
        is_open = any(os.path.exists(f"{self.path}-{end}") for end in ("shm", "wal"))  # noqa: PTH110 (as `is_there`)
        mode = "mode=ro" if is_open else "immutable=1"
        place = f"file:{urllib.parse.quote(os.path.abspath(self.path))}?{mode}"  # noqa: PTH100 (without resolving links)
        opened = functools.partial(sqlite3.connect, place, uri=True, timeout=WAIT_S)
        engine = sa.create_engine("sqlite://", creator=opened, poolclass=sa.pool.NullPool)
        sa.event.listen(engine, "begin", _begin_reading)
        return engine

    def readable(self) -> sa.Engine:
        """Return the engine for transactions that read: of a file that this user may not write, the viewer."""
        return self.reader if self.path is None or self.refusal() is None else self.viewer()

    def refusal(self) -> str | None:
        """Return why this user could not write here, as far as can be told without writing; None where they could."""
        if self.path is None:
            with self.engine.connect() as connection:
                is_read_only = connection.scalar(sa.text("SELECT current_setting('transaction_read_only')::boolean"))
            return "the database is read-only" if is_read_only else None
        if "\0" in self.path:
            return "no file has such a name"
        path = Path(self.path).absolute()
        if path.is_dir():
            return "it is a folder"
        folder = next(each for each in path.parents if each.exists())
        if not folder.is_dir():
            return f"{folder} is no folder"
        wanted = [folder, *([path] if path.exists() else [])]  # SQLite makes files beside it
        refused = next((each for each in wanted if not os.access(each, os.W_OK)), None)
        return None if refused is None else f"this user may not write {refused}"

    def is_file(self) -> bool:
        """Whether it is a regular file, or may become one. True of a server and of a folder, which SQLite refuses."""
        try:
            mode = os.stat(self.path).st_mode if self.path is not None else stat.S_IFREG  # noqa: PTH116 (as `is_there`)
        except (OSError, ValueError):
            return True
        return stat.S_ISREG(mode) or stat.S_ISDIR(mode)

    def is_empty(self) -> bool:
        """Whether the file exists and has no byte. False of a server, and of what is no regular file."""
        try:
            found = os.stat(self.path) if self.path is not None else None  # noqa: PTH116 (as `is_there`)
        except (OSError, ValueError):
            return False
        return found is not None and stat.S_ISREG(found.st_mode) and not found.st_size

    def is_there(self) -> bool:
        """Whether the file exists. Always True of a server, which only a query can tell of."""
        return self.path is None or os.path.exists(self.path)  # noqa: PTH110 (pathlib is slower)


def is_busy(error: BaseException) -> bool:
    """Whether an error means that another holds a lock, so that a later try may succeed."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return (code & 0xFF) in (5, 6)  # SQLITE_BUSY, SQLITE_LOCKED
    return getattr(error, "sqlstate", None) in _BUSY


def _postgresql(name: str) -> sa.Engine:
    """Return the engine of a PostgreSQL URL. Raises TraceError for any other."""
    scheme, _, rest = name.partition("://")
    if scheme not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise TraceError(f"the trace can't be a {scheme}:// URL; name a file, or postgresql://USER@HOST/DATABASE")
    head, _, query = rest.partition("?")
    # A second @ is part of a password, the rest of which would be taken for the host's name, and shown.
    if "".join([head, *(item.partition("=")[0] for item in query.split("&"))]).count("@") > 1:
        raise TraceError("the trace's URL has more than one @; write an @ of a user's name or a password as %40")
    try:
        url = sa.make_url(f"postgresql+psycopg://{rest}")
        if "@" in head and url.username is None:  # all of it would be taken for the database's name, and shown
            raise TraceError("the trace's URL has a / before its @; write a / of a user's name or a password as %2F")
        wanted = {"connect_timeout": CONNECT_S, "tcp_user_timeout": SILENT_MS, "keepalives_count": 3}
        wanted |= dict.fromkeys(("keepalives_idle", "keepalives_interval"), ALIVE_S)
        unsaid = {name: value for name, value in wanted.items() if name not in url.query}
        # What writers do at once is counted row by row; under a stricter default of the server's they would fail.
        return sa.create_engine(url, pool_pre_ping=True, connect_args=unsaid, isolation_level="READ COMMITTED")
    except (sa.exc.ArgumentError, ValueError):  # the error's own words quote the URL, with its password
        raise TraceError("the trace's URL can't be read; write it as postgresql://USER@HOST/DATABASE") from None
    except ModuleNotFoundError as error:
        raise TraceError(f"a trace in PostgreSQL needs {error.name}: pip install 'guard-slm[postgres]'") from error


def _shown(url: sa.URL) -> str:
    """Return a URL for messages."""
    query = "&".join(f"{urllib.parse.quote(name)}=***" for name in url.query)
    return url.set(query={}).render_as_string(hide_password=True) + (f"?{query}" if query else "")


def _sqlite(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(url, connect_args={"timeout": WAIT_S})
    sa.event.listen(engine, "connect", _on_connect)
    return engine


def _read_only(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA query_only = 1").close()


def _on_connect(connection: Any, _record: object) -> None:
    seconds = _patience.get()
    connection.execute(_PATIENCE_SQLITE.format(ms=_ms(seconds))).close()
    connection.create_function(FUNCTION, 0, int)
    connection.isolation_level = None  # sqlite3 must begin no transactions itself; the writer does
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    if not pages:  # only a file without a first page can be told to shrink page by page
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL").close()
    # The mode stays with the file: another program's, which may be refused, keeps its own.
    if not pages or connection.execute(_IS_TRACE).fetchone():
        _use_wal(connection, seconds)
    # Deleted data is overwritten, not only unlinked: retention is a promise.
    pragmas = ("synchronous=NORMAL", "foreign_keys=ON", "secure_delete=ON", f"journal_size_limit={WAL_BYTES}")
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}").close()


def _use_wal(connection: Any, seconds: float) -> None:
    """Put a file in WAL mode, and wait for another that makes the same new file: here SQLite itself waits for nobody.

    A reader that wants to become the only writer is refused at once, since two of them would wait for each other.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            return
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() >= until:
                raise
        time.sleep(RETRY_S)


def _begin_reading(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_sqlite(connection: sa.Connection) -> None:
    seconds = connection.get_execution_options().get("guard_seconds", WAIT_S)
    connection.exec_driver_sql(_PATIENCE_SQLITE.format(ms=_ms(seconds)))
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_postgresql(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    if options.get("guard_reads"):
        connection.exec_driver_sql(_ALONE)
    else:
        connection.exec_driver_sql(_BEGIN_POSTGRES.format(ms=_ms(options.get("guard_seconds", WAIT_S))))


def _ms(seconds: float) -> int:
    return max(1, int(seconds * 1000))

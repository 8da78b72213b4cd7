"""The trace: every call and every attempt, in a database that outlives a kill -9.

Two tables, `calls` and `attempts`, and one row in `guard_schema` that says which version of them a file holds. A record
is committed before the call returns. SQLite in WAL mode with synchronous=NORMAL: a process may die at any point and
loses nothing that was committed; a power failure may lose the last commits, never the file's integrity.

Secrets are cut out of every text before it is written: see `redacted`. What a call was is guard/records.py's.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa

from guard.errors import GuardError
from guard.models.base import Reply
from guard.records import Attempt, Call
from guard.violations import Violation

VERSION = 1  #: Of the tables below.
BUSY_TIMEOUT_MS = 30_000  #: Longest wait for another process's write; one write takes well under a millisecond.
SECRET_LENGTH = 8  #: Shortest value of an environment variable that is taken for a secret: "1" is not one.
REDACTED = "[redacted]"  #: What stands in a text where a secret stood.

#: Environment variables whose values are secrets, by the end of the name.
_SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
#: Secrets that show by their form: provider keys, bearer tokens, passwords in URLs.
_SECRET_FORM = re.compile(
    r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}|\bhf_[A-Za-z0-9]{20,}|\bgh[pousr]_[A-Za-z0-9]{20,}|\bAKIA[0-9A-Z]{16}\b"
    r"|(?<=[Bb]earer )[A-Za-z0-9._~+/-]{16,}=*|(?<=://)[^/\s:@\"]{1,256}:[^/\s:@\"]{1,256}(?=@)"
)
#: What a text that holds such a secret holds too; looking for these is much faster than the expression.
_SECRET_MARKS = ("sk-", "pk-", "rk-", "hf_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "AKIA", "earer ", "://")

_TABLES = sa.MetaData()
_SCHEMA = sa.Table("guard_schema", _TABLES, sa.Column("version", sa.Integer, nullable=False))
_CALLS = sa.Table(
    "calls",
    _TABLES,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("started", sa.Float, nullable=False, index=True),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("function", sa.Text, nullable=False, index=True),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("schema_hash", sa.Text, nullable=False),
    sa.Column("template", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("options", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False, index=True),
    sa.Column("error", sa.Text, nullable=False),
    sqlite_autoincrement=True,  # a deleted record's number is never given out again
)
_ATTEMPTS = sa.Table(
    "attempts",
    _TABLES,
    sa.Column("call", sa.Integer, sa.ForeignKey("calls.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("messages", sa.Text, nullable=False),
    sa.Column("findings", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("text", sa.Text),  # this and the following are null where the model raised
    sa.Column("finish", sa.Text),
    sa.Column("served", sa.Text),
    sa.Column("prompt_tokens", sa.Integer),
    sa.Column("completion_tokens", sa.Integer),
    sa.Column("forced_tokens", sa.Integer),
    sa.Column("seconds", sa.Float),
    sa.Column("mask_seconds", sa.Float),
)


class TraceError(GuardError):
    """The trace can't be read or written."""


class TraceStore:
    """A trace in one file; safe from any thread and any number of processes."""

    _open: ClassVar[dict[tuple[int, Path], TraceStore]] = {}  # by process, because connections don't survive a fork
    _lock = threading.Lock()

    @classmethod
    def at(cls, path: str | os.PathLike[str]) -> TraceStore:
        """Return this process's store of a file; opened once, on first use."""
        key = os.getpid(), Path(path).expanduser().absolute()
        with cls._lock:
            if key not in cls._open:
                cls._open[key] = cls(key[1])
            return cls._open[key]

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(path)), connect_args={"timeout": BUSY_TIMEOUT_MS / 1000}
        )
        sa.event.listen(self._engine, "connect", _on_connect)
        sa.event.listen(self._engine, "begin", _on_begin)
        self._ready = False

    def check_writable(self) -> None:
        """Create the file and its tables where they are missing; TraceError says why that can't be."""
        if self._ready and self.path.exists():
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._engine.dispose()  # the file may have been deleted under the open connections
            with self._engine.begin() as connection:
                _TABLES.create_all(connection)
                version = connection.scalar(sa.select(_SCHEMA.c.version))
                if version is None:
                    connection.execute(_SCHEMA.insert().values(version=VERSION))
        except (OSError, sa.exc.DBAPIError) as error:
            raise self._error("can't be written", error) from error
        self._check_version(version or VERSION)
        self._ready = True

    def write(self, call: Call) -> Call:
        """Commit a call and its attempts; returns the call with its number."""
        self.check_writable()
        secrets = _secrets()
        row = {
            "started": call.started,
            "seconds": call.seconds,
            "function": call.function,
            "target": redacted(call.target, secrets),
            "schema_hash": call.schema_hash,
            "template": call.template,
            "model": redacted(call.model, secrets),
            "options": _json(dict(call.options), secrets),
            "outcome": call.outcome,
            "error": redacted(call.error, secrets),
        }
        try:
            with self._engine.begin() as connection:
                key = connection.execute(_CALLS.insert(), row).inserted_primary_key
                assert key is not None  # `calls` has one column of a key, which the database counts up
                number = key[0]
                if call.attempts:
                    connection.execute(_ATTEMPTS.insert(), [_attempt_row(number, a, secrets) for a in call.attempts])
        except sa.exc.DBAPIError as error:
            raise self._error("can't be written", error) from error
        return dataclasses.replace(call, number=number)

    def read(self, number: int) -> Call | None:
        """Return one call, or None where the trace has no such number."""
        found = self._select(_CALLS.c.id == number, limit=1)
        return found[0] if found else None

    def latest(
        self, *, limit: int = 20, function: str | None = None, outcome: str | None = None, before: int | None = None
    ) -> list[Call]:
        """Return the latest calls, the newest first."""
        conditions = [
            _CALLS.c.function == function if function is not None else None,
            _CALLS.c.outcome == outcome if outcome is not None else None,
            _CALLS.c.id < before if before is not None else None,
        ]
        return self._select(*(c for c in conditions if c is not None), limit=limit)

    def _select(self, *conditions: sa.ColumnElement[bool], limit: int) -> list[Call]:
        if not self.path.exists():
            return []
        query = sa.select(_CALLS).where(*conditions).order_by(_CALLS.c.id.desc()).limit(limit)
        try:
            with self._engine.connect().execution_options(guard_reads=True) as connection:
                self._check_version(connection.scalar(sa.select(_SCHEMA.c.version)) or VERSION)
                calls = connection.execute(query).all()
                numbers = [row.id for row in calls]
                rows = connection.execute(
                    sa.select(_ATTEMPTS).where(_ATTEMPTS.c.call.in_(numbers)).order_by(_ATTEMPTS.c.number)
                ).all()
        except sa.exc.DBAPIError as error:
            raise self._error("can't be read", error) from error
        attempts: dict[int, list[Attempt]] = {number: [] for number in numbers}
        for row in rows:
            attempts[row.call].append(_attempt(row))
        return [_call(row, attempts[row.id]) for row in calls]

    def _check_version(self, version: int) -> None:
        if version != VERSION:
            raise TraceError(
                f"the trace {self.path} has version {version} of its tables, this Guard writes version {VERSION}; "
                "upgrade Guard, or name another file in GUARD_TRACE"
            )

    def _error(self, what: str, error: Exception) -> TraceError:
        cause = str(error.orig) if isinstance(error, sa.exc.DBAPIError) else str(error)
        return TraceError(f"the trace {self.path} {what}: {cause}; name another file in GUARD_TRACE")


def redacted(text: str, secrets: Sequence[str] = ()) -> str:
    """Return a text without the given secrets and without any that show by their form."""
    for secret in secrets:
        if secret in text:
            text = text.replace(secret, REDACTED)
    return _SECRET_FORM.sub(REDACTED, text) if any(mark in text for mark in _SECRET_MARKS) else text


def _secrets() -> list[str]:
    """List the environment's secrets, as they are and as JSON escapes them, the longest first: one may hold another."""
    values = {v for name, v in os.environ.items() if len(v) >= SECRET_LENGTH and _SECRET_NAME.search(name)}
    escaped = {json.dumps(v, ensure_ascii=escape)[1:-1] for v in values for escape in (True, False)}
    return sorted(values | escaped, key=len, reverse=True)


def _json(value: Any, secrets: Sequence[str]) -> str:
    """Serialise with every text inside redacted, keys included."""

    def clean(part: Any) -> Any:
        if isinstance(part, str):
            return redacted(part, secrets)
        if isinstance(part, Mapping):
            return {redacted(str(key), secrets): clean(item) for key, item in part.items()}
        if isinstance(part, list | tuple):
            return [clean(item) for item in part]
        return part if isinstance(part, int | float | None) else redacted(repr(part), secrets)

    return json.dumps(clean(value), ensure_ascii=False)


def _attempt_row(number: int, attempt: Attempt, secrets: Sequence[str]) -> dict[str, Any]:
    reply = attempt.reply
    return {
        "call": number,
        "number": attempt.number,
        "messages": _json(attempt.messages, secrets),
        "findings": _json([vars(finding) for finding in attempt.findings], secrets),
        "error": redacted(attempt.error, secrets),
        "text": redacted(reply.text, secrets) if reply else None,
        "finish": reply.finish if reply else None,
        "served": reply.model if reply else None,
        "prompt_tokens": reply.prompt_tokens if reply else None,
        "completion_tokens": reply.completion_tokens if reply else None,
        "forced_tokens": reply.forced_tokens if reply else None,
        "seconds": reply.seconds if reply else None,
        "mask_seconds": reply.mask_seconds if reply else None,
    }


def _attempt(row: Any) -> Attempt:
    reply = None
    if row.text is not None:
        reply = Reply(
            text=row.text,
            finish=row.finish,
            model=row.served,
            prompt_tokens=row.prompt_tokens,
            completion_tokens=row.completion_tokens,
            forced_tokens=row.forced_tokens,
            seconds=row.seconds,
            mask_seconds=row.mask_seconds,
        )
    findings = tuple(Violation(**finding) for finding in json.loads(row.findings))
    return Attempt(row.number, tuple(json.loads(row.messages)), reply, findings, row.error)


def _call(row: Any, attempts: Sequence[Attempt]) -> Call:
    return Call(
        function=row.function,
        target=row.target,
        schema_hash=row.schema_hash,
        template=row.template,
        model=row.model,
        options=json.loads(row.options),
        started=row.started,
        seconds=row.seconds,
        outcome=row.outcome,
        error=row.error,
        attempts=tuple(attempts),
        number=row.id,
    )


def _on_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # sqlite3 begins no transactions of its own; `_on_begin` does
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _on_begin(connection: sa.Connection) -> None:
    """Take the write lock at once, so that a writer waits for another instead of failing half-way."""
    reads = connection.get_execution_options().get("guard_reads")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

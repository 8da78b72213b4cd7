"""The tables of the trace, their version, and the migrations from older versions.

`guard_schema` has one row: the version. `calls` and `attempts` hold the records, `schemas` the schemas by hash,
`replies` those of record and replay (guard/calls/recording.py), `items` the call that answers each input of a batch
(guard/batch/map_run.py). `totals` sums the records up by the minute (totals.py), `totals_by_day` by the day
(day_totals.py). `keys`, `spending`, `breakers` and `responses` are the sidecar's: API keys, what each has spent in all
processes, when a model's circuit breaker opened in any of them, and the responses that clients may continue. In
PostgreSQL, `calls`, `attempts` and `totals` are partitioned by month (partitions.py). docs/reference/trace-tables.md
lists the columns. Texts are escaped by `storable` of row_codec.py; lists and objects are JSON.

A migration is literal SQL, never generated from the tables below: those change, an old version does not.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from guard.trace import partitions
from guard.trace.databases import FUNCTION

VERSION = 11  #: The version of the tables below.
MOST_ROWS = 64  #: Most rows that one statement inserts.
MOST_MARKS = 999  #: Most parameters that one statement has: SQLite before 3.32 takes no more.

#: Integers of 64 bits. So are those of SQLite's INTEGER, the only type that it auto-increments.
_WHOLE = sa.BigInteger().with_variant(sa.Integer, "sqlite")

#: The condition of calls without a value. Literal, because a partial index serves only the same condition.
FAILED = sa.text("outcome <> 'valid'")

TABLES = sa.MetaData()
SCHEMA = sa.Table("guard_schema", TABLES, sa.Column("version", sa.Integer, nullable=False))
CALLS = sa.Table(
    "calls",
    TABLES,
    sa.Column("id", _WHOLE, primary_key=True),
    sa.Column("started", sa.Float, nullable=False, index=True),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("function", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("schema_hash", sa.Text, nullable=False, index=True),  # retention asks whether a schema is named still
    sa.Column("template", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("options", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("record_for", sa.Text, nullable=False, server_default="training"),  # what the record may be used for
    # For the newest calls of a function, of an outcome, and of all failures.
    sa.Index("ix_calls_function", "function", "id"),
    sa.Index("ix_calls_outcome", "outcome", "id"),
    sa.Index("ix_calls_failed", "id", sqlite_where=FAILED, postgresql_where=FAILED),
    sqlite_autoincrement=True,  # a deleted record's number is never given out again
)
ATTEMPTS = sa.Table(
    "attempts",
    TABLES,
    sa.Column("call", _WHOLE, sa.ForeignKey("calls.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("messages", sa.Text, nullable=False),
    sa.Column("findings", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("text", sa.Text),  # this and the following are null where the model said nothing
    sa.Column("finish", sa.Text),
    sa.Column("served", sa.Text),
    sa.Column("prompt_tokens", _WHOLE),
    sa.Column("completion_tokens", _WHOLE),
    sa.Column("forced_tokens", _WHOLE),
    sa.Column("seconds", sa.Float),
    sa.Column("mask_seconds", sa.Float),
    sa.Column("thinking_tokens", _WHOLE),
    sa.Column("thinking", sa.Text),
    sa.Column("tokens", sa.Text),  # null where the model can't tell
    sa.Column("retries", sa.Integer),
    sa.Column("mode", sa.Text),
    sa.Column("cost", sa.Float),  # null where the price is unknown
    # of the attempt again
    sa.Column("tier", sa.Integer, nullable=False, server_default="0"),
    sa.Column("model", sa.Text, nullable=False, server_default=""),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("repairs", sa.Text),  # null where nothing was repaired
    sa.Column("repaired", sa.Text),  # the same
    sa.Column("started", sa.Float, nullable=False, server_default="0"),
    sa.Column("elapsed", sa.Float, nullable=False, server_default="0"),
    # of the reply again: 1 where the provider did not count the tokens; 1 where it was looked up, and cost nothing
    sa.Column("is_estimate", sa.Integer),
    sa.Column("is_kept", sa.Integer),
    sa.Column("cut_at", sa.Text),  # null where nothing was cut
    sa.Column("repeated_at", sa.Text),  # null where nothing repeats itself
    sa.Column("room", _WHOLE),  # null where it is unknown
    sa.Column("decision", sa.Float),  # null where no call's probability was asked for
    sa.Column("sources", sa.Text),  # null where no value is quoted or stated
    sa.Column("sureness", sa.Text),  # null where the model is not calibrated for the type
)
SCHEMAS = sa.Table(
    "schemas",
    TABLES,
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
)
REPLIES = sa.Table(
    "replies",
    TABLES,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("started", sa.Float, nullable=False, index=True),
    sa.Column("body", sa.Text, nullable=False),
)

ITEMS = sa.Table(
    "items",
    TABLES,
    sa.Column("run", sa.Text, primary_key=True),  # the name that a run is resumed by
    sa.Column("key", sa.Text, primary_key=True),  # of an input
    sa.Column("call", sa.BigInteger, sa.ForeignKey("calls.id", ondelete="CASCADE"), nullable=False, index=True),
)

FEEDBACK = sa.Table(
    "feedback",
    TABLES,
    sa.Column(
        "call", sa.BigInteger, sa.ForeignKey("calls.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    sa.Column("is_right", sa.Integer, nullable=False),
    sa.Column("value", sa.Text),  # null where nobody gave the right answer
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("given", sa.Float, nullable=False),
)

#: The counts and sums of totals.py, each over the calls, tiers or attempts of one row.
COUNTS = (
    "parts",  # calls that have added to this row
    "calls",  # that asked this tier, this model last
    "first_valid",  # of those, calls whose first answer here was valid
    "re_asks",  # attempts after the first of each call
    "escalations",  # calls that left this tier for a higher one
    "prompt_tokens",  # over the attempts that were paid for
    "completion_tokens",
    "cost_unknown",  # attempts whose price is unknown
    "estimates",  # attempts whose tokens the provider did not count
    "replayed",  # attempts whose reply was looked up
    "there_unknown",  # calls whose cost on this model is unknown
    "ended",  # calls that ended here; the following are over those
    "valid",
    "began_valid",  # calls that began here with a valid answer
    "unpriced",  # calls with an attempt whose price is unknown
    "silent",  # calls that got no reply
    "estimable",  # calls that could be priced by their tokens
    "first_prompt",  # tokens, of those
    "last_completion",
)
SUMS = ("cost", "there_cost", "seconds")
TOTALS = sa.Table(
    "totals",
    TABLES,
    sa.Column("minute", sa.BigInteger, primary_key=True, autoincrement=False),  # in which calls began, since the epoch
    sa.Column("shape", sa.Text, primary_key=True),  # the digest of `about`
    sa.Column("about", sa.Text, nullable=False),
    sa.Column("asked", sa.Text, nullable=False),  # the first model, of what is said there
    sa.Column("last", sa.BigInteger, nullable=False),  # the number of the newest call
    *(sa.Column(name, sa.BigInteger, nullable=False) for name in COUNTS),
    *(sa.Column(name, sa.Float, nullable=False) for name in SUMS),
    sa.Column("max_seconds", sa.Float, nullable=False),
)
#: The same by the day, for all days up to the newest that is in it (day_totals.py).
DAY_TOTALS = sa.Table(
    "totals_by_day",
    TABLES,
    sa.Column("day", sa.BigInteger, primary_key=True, autoincrement=False),  # since the epoch
    sa.Column("shape", sa.Text, primary_key=True),
    sa.Column("about", sa.Text, nullable=False),
    sa.Column("last", sa.BigInteger, nullable=False),
    *(sa.Column(name, sa.BigInteger, nullable=False) for name in COUNTS),
    *(sa.Column(name, sa.Float, nullable=False) for name in SUMS),
)

KEYS = sa.Table(
    "keys",
    TABLES,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),  # SHA-256 of the key; the key itself is nowhere
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("revoked", sa.Float),  # null: it is good
    sa.Column("is_operator", sa.Integer, nullable=False),
    sa.Column("requests_per_minute", sa.Integer),  # this and the following: null is no limit
    sa.Column("tokens_per_day", _WHOLE),
    sa.Column("usd_per_day", sa.Float),
    sa.Column("may_train", sa.Integer, nullable=False, server_default="0"),
)
SPENDING = sa.Table(
    "spending",
    TABLES,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("period", sa.Text, primary_key=True),  # "day 20500", "minute 29520000": since the epoch
    sa.Column("requests", sa.Integer, nullable=False),
    sa.Column("tokens", sa.BigInteger, nullable=False),
    sa.Column("usd", sa.Float, nullable=False),
)

BREAKERS = sa.Table(
    "breakers",
    TABLES,
    sa.Column("model", sa.Text, primary_key=True),  # and a digest of its address
    sa.Column("opened", sa.Float, nullable=False),  # seconds since the epoch
)

#: Responses that a client may continue, by key: each with its input, and each item of its output.
RESPONSES = sa.Table(
    "responses",
    TABLES,
    sa.Column("owner", sa.Text, primary_key=True),  # the key's id; "" where no key is needed
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("previous", sa.Text),  # the response that it continues; null where none
    sa.Column("size", sa.BigInteger, nullable=False),  # characters of the body
    sa.Column("body", sa.Text, nullable=False),
    sa.Index("ix_responses_created", "created"),
    sa.Index("ix_responses_owner", "owner", "created"),
)

#: By version, the statements that migrate to the next one; SQLite and PostgreSQL take them alike,
_MIGRATIONS: dict[int, Sequence[str]] = {
    1: (
        "ALTER TABLE attempts ADD COLUMN thinking_tokens INTEGER",
        "ALTER TABLE attempts ADD COLUMN thinking TEXT",
        "ALTER TABLE attempts ADD COLUMN tokens TEXT",
        "ALTER TABLE attempts ADD COLUMN retries INTEGER",
        "ALTER TABLE attempts ADD COLUMN mode TEXT",
        "ALTER TABLE attempts ADD COLUMN cost FLOAT",
        "ALTER TABLE attempts ADD COLUMN tier INTEGER DEFAULT '0' NOT NULL",
        "ALTER TABLE attempts ADD COLUMN model TEXT DEFAULT '' NOT NULL",
        "ALTER TABLE attempts ADD COLUMN reason TEXT DEFAULT '' NOT NULL",
        "ALTER TABLE attempts ADD COLUMN repairs TEXT",
        "ALTER TABLE attempts ADD COLUMN repaired TEXT",
        "ALTER TABLE attempts ADD COLUMN started FLOAT DEFAULT '0' NOT NULL",
        "ALTER TABLE attempts ADD COLUMN elapsed FLOAT DEFAULT '0' NOT NULL",
        "CREATE INDEX ix_calls_schema_hash ON calls (schema_hash)",
        "CREATE TABLE schemas (hash TEXT NOT NULL PRIMARY KEY, text TEXT NOT NULL)",
        "CREATE TABLE replies (key TEXT NOT NULL PRIMARY KEY, started FLOAT NOT NULL, body TEXT NOT NULL)",
        "CREATE INDEX ix_replies_started ON replies (started)",
        # Version 1 had one tier, and did not record the mode; attempts whose masks took no time had none.
        """UPDATE attempts SET model = (SELECT model FROM calls WHERE calls.id = attempts.call),
           reason = CASE WHEN error <> '' THEN 'error' WHEN findings = '[]' THEN ''
                         WHEN finish = 'length' THEN 'length' ELSE 'invalid' END""",
        """UPDATE attempts SET thinking_tokens = 0, thinking = '', retries = 0, elapsed = seconds,
           mode = CASE WHEN mask_seconds > 0 THEN 'masks' ELSE 'prompt' END WHERE text IS NOT NULL""",
    ),
    2: (
        "ALTER TABLE attempts ADD COLUMN is_estimate INTEGER",
        "ALTER TABLE attempts ADD COLUMN is_kept INTEGER",
        "UPDATE attempts SET is_estimate = 0, is_kept = 0 WHERE text IS NOT NULL",
    ),
    3: (
        """CREATE TABLE keys (id TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL,
           created FLOAT NOT NULL, revoked FLOAT, is_operator INTEGER NOT NULL, requests_per_minute INTEGER,
           tokens_per_day INTEGER, usd_per_day FLOAT)""",
        """CREATE TABLE spending ("key" TEXT NOT NULL, period TEXT NOT NULL, requests INTEGER NOT NULL,
           tokens BIGINT NOT NULL, usd FLOAT NOT NULL, PRIMARY KEY ("key", period))""",
    ),
    4: (  # and all records are counted
        """CREATE TABLE totals (minute BIGINT NOT NULL, shape TEXT NOT NULL, about TEXT NOT NULL, asked TEXT NOT
           NULL, last BIGINT NOT NULL, parts BIGINT NOT NULL, calls BIGINT NOT NULL, first_valid BIGINT NOT NULL,
           re_asks BIGINT NOT NULL, escalations BIGINT NOT NULL, prompt_tokens BIGINT NOT NULL, completion_tokens
           BIGINT NOT NULL, cost_unknown BIGINT NOT NULL, estimates BIGINT NOT NULL, replayed BIGINT NOT NULL,
           there_unknown BIGINT NOT NULL, ended BIGINT NOT NULL, valid BIGINT NOT NULL, began_valid BIGINT NOT NULL,
           unpriced BIGINT NOT NULL, silent BIGINT NOT NULL, estimable BIGINT NOT NULL, first_prompt BIGINT NOT
           NULL, last_completion BIGINT NOT NULL, cost FLOAT NOT NULL, there_cost FLOAT NOT NULL, seconds FLOAT NOT
           NULL, max_seconds FLOAT NOT NULL, PRIMARY KEY (minute, shape))""",
        "DROP INDEX ix_calls_function",
        "DROP INDEX ix_calls_outcome",
        "CREATE INDEX ix_calls_function ON calls (function, id)",
        "CREATE INDEX ix_calls_outcome ON calls (outcome, id)",
        "CREATE INDEX ix_calls_failed ON calls (id) WHERE outcome <> 'valid'",
    ),
    5: (
        "ALTER TABLE attempts ADD COLUMN cut_at TEXT",
        "ALTER TABLE attempts ADD COLUMN repeated_at TEXT",
        "ALTER TABLE attempts ADD COLUMN room INTEGER",
        """CREATE TABLE items (run TEXT NOT NULL, "key" TEXT NOT NULL,
           "call" BIGINT NOT NULL REFERENCES calls (id) ON DELETE CASCADE, PRIMARY KEY (run, "key"))""",
        "CREATE INDEX ix_items_call ON items (call)",
        """CREATE TABLE responses (owner TEXT NOT NULL, id TEXT NOT NULL, created FLOAT NOT NULL, previous TEXT,
           size BIGINT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (owner, id))""",
        "CREATE INDEX ix_responses_created ON responses (created)",
        "CREATE INDEX ix_responses_owner ON responses (owner, created)",
    ),
    6: (),
    7: (  # SQLite's large texts are compressed from then on, too, which an older Guard can't read
        "ALTER TABLE attempts ADD COLUMN decision FLOAT",
    ),
    8: (
        "ALTER TABLE attempts ADD COLUMN sources TEXT",
        """CREATE TABLE feedback ("call" BIGINT NOT NULL PRIMARY KEY REFERENCES calls (id) ON DELETE CASCADE,
           is_right INTEGER NOT NULL, value TEXT, "by" TEXT NOT NULL, given FLOAT NOT NULL)""",
    ),
    9: (  # whoever asked the sidecar has not allowed training; a program's own calls always could be learned from
        "ALTER TABLE calls ADD COLUMN record_for TEXT DEFAULT 'training' NOT NULL",
        "UPDATE calls SET record_for = 'operation' WHERE substr(function, 1, 1) = '/'",
        "ALTER TABLE attempts ADD COLUMN sureness TEXT",
        "ALTER TABLE keys ADD COLUMN may_train INTEGER DEFAULT 0 NOT NULL",
    ),
    10: (
        """CREATE TABLE totals_by_day (day BIGINT NOT NULL, shape TEXT NOT NULL, about TEXT NOT NULL, last BIGINT NOT
           NULL, parts BIGINT NOT NULL, calls BIGINT NOT NULL, first_valid BIGINT NOT NULL, re_asks BIGINT NOT NULL,
           escalations BIGINT NOT NULL, prompt_tokens BIGINT NOT NULL, completion_tokens BIGINT NOT NULL, cost_unknown
           BIGINT NOT NULL, estimates BIGINT NOT NULL, replayed BIGINT NOT NULL, there_unknown BIGINT NOT NULL, ended
           BIGINT NOT NULL, valid BIGINT NOT NULL, began_valid BIGINT NOT NULL, unpriced BIGINT NOT NULL, silent BIGINT
           NOT NULL, estimable BIGINT NOT NULL, first_prompt BIGINT NOT NULL, last_completion BIGINT NOT NULL, cost
           FLOAT NOT NULL, there_cost FLOAT NOT NULL, seconds FLOAT NOT NULL, PRIMARY KEY (day, shape))""",
        "CREATE TABLE breakers (model TEXT NOT NULL PRIMARY KEY, opened FLOAT NOT NULL)",
    ),
}
#: and these are for PostgreSQL alone. One statement a table: each writes the table anew.
_ON_POSTGRESQL: dict[int, Sequence[str]] = {
    6: (
        """ALTER TABLE attempts ALTER COLUMN prompt_tokens TYPE BIGINT, ALTER COLUMN completion_tokens TYPE BIGINT,
           ALTER COLUMN forced_tokens TYPE BIGINT, ALTER COLUMN thinking_tokens TYPE BIGINT,
           ALTER COLUMN room TYPE BIGINT""",
        "ALTER TABLE keys ALTER COLUMN tokens_per_day TYPE BIGINT",
    ),
}
#: The version from which PostgreSQL's tables are partitioned.
DIVIDED = 11
#: An SQLite trigger that refuses the records of a Guard older than version 11, which would sum up too little. Only
#: connections of later ones have the function (databases.py). It is looked up, but never called: a call of Python waits
#: for the GIL, up to 5 ms a record beside a busy thread.
TRIGGER = "newer"
REFUSING = f"CREATE TRIGGER {TRIGGER} BEFORE INSERT ON calls BEGIN SELECT {FUNCTION}() WHERE 0; END"


class TakenError(Exception):
    """A name of the trace's is in use by another program; the text is that name."""


def prepare(connection: sa.Connection, upgrade: Callable[[sa.Connection], None]) -> int:
    """Create or migrate the tables inside a transaction; return the version that they have then.

    `upgrade` is called for tables older than version 5, and counts the records, which no statement can. Tables of a
    newer Guard are left unchanged; the caller must refuse their version. On PostgreSQL, tables stop at version 10 until
    `partitions.check_constraints` has made them ready; then call this again. Raises TakenError, having written nothing,
    where there is no trace yet and another program has a table of the same name.
    """
    is_sqlite = connection.dialect.name == "sqlite"
    if not is_sqlite:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({partitions.ADVISORY_LOCK})")
    version = version_of(connection)
    if version is None:
        check_free(connection)
        TABLES.create_all(connection)
        _refuse_older(connection) if is_sqlite else partitions.divide(connection)
        connection.execute(SCHEMA.insert().values(version=VERSION))
        return VERSION
    is_counted = version >= 5
    while version in _MIGRATIONS:
        if version == DIVIDED - 1 and not is_sqlite and not partitions.is_checked(connection):
            break
        for statement in (*_MIGRATIONS[version], *(() if is_sqlite else _ON_POSTGRESQL.get(version, ()))):
            connection.exec_driver_sql(statement)
        version += 1
        if version == DIVIDED and not is_sqlite:
            partitions.divide(connection)
        connection.execute(SCHEMA.update().values(version=version))
    if is_sqlite and version == VERSION:
        _refuse_older(connection)
    if not is_counted:
        upgrade(connection)
    return version


def is_bare(connection: sa.Connection) -> bool:
    """Whether an SQLite file holds nothing yet: no table, index, view or trigger."""
    return connection.exec_driver_sql("SELECT 1 FROM sqlite_master LIMIT 1").first() is None


def check_free(connection: sa.Connection) -> None:
    """Raise TakenError where there is no trace yet, and another program has a table of the same name."""
    if taken := _taken(connection):
        raise TakenError(taken[0])


def _taken(connection: sa.Connection) -> list[str]:
    """Return the trace's names that are in use already: of tables, indexes, and what else it makes."""
    names = [*TABLES.tables, *(str(index.name) for table in TABLES.tables.values() for index in table.indexes)]
    if connection.dialect.name == "sqlite":  # which does not tell upper from lower case
        names.append(TRIGGER)
        there = "SELECT lower(name) FROM sqlite_master"
    else:
        names.append("calls_id_seq")
        there = "SELECT relname FROM pg_class WHERE pg_table_is_visible(oid)"
    found = set(connection.exec_driver_sql(there).scalars())
    return [name for name in names if name in found]


def _refuse_older(connection: sa.Connection) -> None:
    """Make the trigger, in place of an earlier form of it."""
    of_name = sa.text("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = :name")
    made = connection.execute(of_name, {"name": TRIGGER}).scalar()
    if made != REFUSING:
        connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {TRIGGER}")
        connection.exec_driver_sql(REFUSING)


def version_of(connection: sa.Connection) -> int | None:
    """Return the version of the tables, or None where there are none."""
    if not sa.inspect(connection).has_table(SCHEMA.name):
        return None
    version = connection.scalar(sa.select(SCHEMA.c.version))
    if not isinstance(version, int | None):
        raise sa.exc.InvalidRequestError(f"the version of its tables is {str(version)[:40]!r}, which is no number")
    return version


def insertion(
    table: sa.Table, is_sqlite: bool, tail: str = "", computed: Mapping[str, str] = MappingProxyType({})
) -> Callable[[Any, Sequence[Mapping[str, Any]]], list[Any]]:
    """Return a function that inserts rows over a cursor: dictionaries of all columns but those that are computed.

    `computed` has their expressions. What the tail makes the statements return is returned in one list. Names in a row
    that are no column's are left out.

    The SQL is rendered once: SQLAlchemy would look it up again for every row. Parameters are positional, since drivers
    look up names again too. Rows go in by powers of two, so that the statements are few and stay prepared.
    """
    names = [c.name for c in table.columns if c.name not in computed]
    if not is_sqlite and table is ATTEMPTS:
        names.append("began")
    values = operator.itemgetter(*names)
    head = f"INSERT INTO {table.name} ({', '.join([*computed, *names])}) VALUES "  # noqa: S608 (our own names)
    marks = f"({', '.join([*computed.values(), *['?' if is_sqlite else '%s'] * len(names)])})"
    most = min(MOST_ROWS, MOST_MARKS // len(names))
    statements = [f"{head}{', '.join([marks] * 2**power)} {tail}" for power in range(most.bit_length())]
    returns = "RETURNING" in tail

    def insert(cursor: Any, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        found: list[Any] = []
        begin = 0
        while begin < len(rows):
            power = min(most, len(rows) - begin).bit_length() - 1
            end = begin + 2**power
            cursor.execute(statements[power], tuple(itertools.chain.from_iterable(map(values, rows[begin:end]))))
            if returns:
                found += cursor.fetchall()
            begin = end
        return found

    return insert


_LAST_NUMBERS = "SELECT (SELECT seq FROM sqlite_sequence WHERE name = 'calls'), (SELECT MAX(id) FROM calls)"


def call_insertion(is_sqlite: bool) -> Callable[[Any, Sequence[Mapping[str, Any]]], Sequence[int]]:
    """Return a function that inserts calls over a cursor and returns their numbers; none was ever given out before."""
    if not is_sqlite:
        # By name: a number is not given to a Guard that is older than partitions.
        returning = insertion(CALLS, False, "RETURNING id", {"id": "nextval('calls_id_seq')"})
        # A list of values is read in its order, so an earlier row has a lower number.
        return lambda cursor, rows: sorted(number for (number,) in returning(cursor, rows))
    insert = insertion(CALLS, True)

    def insert_numbered(cursor: Any, rows: Sequence[Mapping[str, Any]]) -> Sequence[int]:
        cursor.execute(_LAST_NUMBERS)  # of a file that was mended, the first may be missing or behind
        given, there = cursor.fetchone()
        last = max(given or 0, there or 0)
        numbers = range(last + 1, last + 1 + len(rows))
        insert(cursor, [{**row, "id": number} for number, row in zip(numbers, rows, strict=True)])
        return numbers

    return insert_numbered

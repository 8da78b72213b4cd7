"""Running totals: sums of the records by the minute, for statistics, kept in the transaction that writes a record.

A call adds one row for each tier and model that it asked; the figures of the whole call (outcome, seconds) are in the
row of its last tier. Rows of one minute with the same attributes are one row: `about` holds the attributes, `shape`
their digest. So a million calls are some thousand rows, and a year of them is summed up by the day (day_totals.py).
`COUNTS` and `SUMS` are exact, since a deleted record is subtracted again. Figures that are read from records go through
`Totals.add` as well.

A call's cost on another model follows from its tokens as long as a token has a fixed price. Among prompts of about the
same size it has: `SIZES` divides prompts where providers change their prices.

To avoid deadlocks between two writers, the rows are written last in a transaction, and always in the same order.
"""

from __future__ import annotations

import bisect
import functools
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from guard.trace import day_totals
from guard.trace.day_totals import MINUTES
from guard.trace.records import VALID
from guard.trace.row_codec import DAMAGE, last_tier, loaded, restored, storable
from guard.trace.sql_tables import COUNTS, DAY_TOTALS, SUMS, TOTALS

MINUTE = 60
#: Sizes of prompts, in tokens, above which some provider has another price, according to genai-prices.
SIZES = (32_000, 100_000, 128_000, 199_999, 200_000, 256_000, 272_000, 512_000, 524_288)
PAGE = 2_000  #: Calls that are read at once.

#: Reasons for which a valid answer of an attempt is not the call's.
_VALID_REASONS = ("", "confidence")
#: More than any call takes or costs; clips values of broken records, so that sums stay finite.
_MOST = 2**40
_MOST_MINUTE = 2**53

_NAMES = (*COUNTS, *SUMS)
#: Zeros of all columns, from which a row starts, in the order of `_Statements.upsert`.
_NONE: dict[str, Any] = dict.fromkeys((*_NAMES, "last", "max_seconds"), 0)

#: The query of a call's figures: a row for each attempt, or one row where there was none.
LEDGER = """
    SELECT c.id, c.started, c.seconds, c.function, c.target, c.model AS asked, c.options, c.outcome, a.number, a.tier,
        a.model, a.reason, CASE WHEN a.text IS NULL THEN NULL ELSE '' END AS text, a.prompt_tokens, a.completion_tokens,
        a.cost, a.finish, a.is_estimate, a.is_kept
    FROM calls c LEFT JOIN attempts a ON a.call = c.id
"""
#: The expression of how many calls there are, without looking at them. One statement has it from one snapshot; in two,
#: a day that is summed up between them would be counted twice.
COUNT = f"""CAST(COALESCE((SELECT SUM(ended) FROM totals_by_day), 0) + COALESCE((SELECT SUM(ended) FROM totals
    WHERE minute >= COALESCE((SELECT MAX(day) + 1 FROM totals_by_day) * {MINUTES}, -{2**62})), 0) AS BIGINT)"""  # noqa: S608 (ours)
_FIELDS = (
    *("id", "started", "seconds", "function", "target", "model", "options", "outcome"),
    *("number", "tier", "model", "reason", "text", "prompt_tokens", "completion_tokens"),
    *("cost", "finish", "is_estimate", "is_kept"),
)
_OF_CALL = 8  # the first so many are the call's
_TEXTS = ("function", "target", "model", "options", "outcome", "reason", "text", "finish")
#: What the columns hold: texts, tokens, of which an answer without any has none, or other numbers.
_KINDS = tuple(str if name in _TEXTS else int if name.endswith("_tokens") else float for name in _FIELDS)


class About(NamedTuple):
    """The attributes that the calls of a row share; texts are escaped as in the tables."""

    function: str
    target: str  # "" where there is a function
    asked: str  # the first tier's model
    large: str  # the last tier's model, as the call's options name it
    models: tuple[str, ...]  # models on which it spent something, in order
    size: int  # the one of SIZES that its first prompt there exceeds
    ended: int | None  # the tier that was asked last; None where none was
    tier: int | None  # this row's
    model: str  # this row's

    @classmethod
    def of(cls, text: str) -> About:
        """Parse the column."""
        function, target, asked, large, models, size, ended, tier, model = json.loads(text)
        return cls(function, target, asked, large, tuple(models), size, ended, tier, model)

    @property
    def text(self) -> str:
        """The text of the column."""
        return json.dumps(self, separators=(",", ":"))

    @property
    def name(self) -> str:
        """The function, or the type in its place."""
        return restored(self.function) or f"({restored(self.target)})"


class Row(NamedTuple):
    """The totals of calls with the same attributes."""

    about: About
    last: int  # number of the newest
    figures: Mapping[str, Any]  # COUNTS and SUMS by name


def minute_of(started: float) -> int:
    """Return the minute in which something began, since the epoch."""
    return math.floor(min(max(started // MINUTE, -_MOST_MINUTE), _MOST_MINUTE))


class Totals:
    """Changes of the totals by records that are added and deleted."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, str], dict[str, Any]] = {}
        self._gone: dict[tuple[int, str], float] = {}  # the longest call that was deleted, by minute and first model

    def add(self, number: int, call: Mapping[str, Any], attempts: Sequence[Mapping[str, Any]], sign: int = 1) -> None:
        """Add a call, given as its rows; with a sign of -1, subtract it. Every call runs this, so it does little."""
        minute = minute_of(call["started"])
        if sign < 0:
            gone = minute, call["model"]
            self._gone[gone] = max(_sound(call["seconds"]), self._gone.get(gone, 0.0))
        spent = [attempt for attempt in attempts if attempt["text"] is not None and not attempt["is_kept"]]
        models = tuple(dict.fromkeys([attempt["model"] for attempt in spent]))
        function, target = call["function"], "" if call["function"] else call["target"]
        large = call["large"] or (attempts[-1]["model"] if attempts else "")  # older records name no tiers
        size = size_above(spent[0]["prompt_tokens"]) if spent else 0
        ended = attempts[-1]["tier"] if attempts else None
        rows: dict[tuple[int | None, str], dict[str, Any]] = {}

        def row_of(tier: int | None, model: str) -> dict[str, Any]:
            row = rows.get((tier, model))
            if row is None:
                key = minute, _about(function, target, call["model"], large, models, size, ended, tier, model)
                row = rows[tier, model] = self._rows.get(key) or self._rows.setdefault(key, _NONE.copy())
                row["parts"] += sign
                if sign > 0:
                    row["last"] = max(number, row["last"])
            return row

        _count_tiers(attempts, row_of, sign)
        for attempt in spent:
            row = row_of(attempt["tier"], attempt["model"])
            row["prompt_tokens"] += sign * _sound(attempt["prompt_tokens"])
            row["completion_tokens"] += sign * _sound(attempt["completion_tokens"])
            if attempt["cost"] is None:
                row["cost_unknown"] += sign
            else:
                row["cost"] += sign * _sound(attempt["cost"])
            if attempt["is_estimate"]:
                row["estimates"] += sign
        for model in models:  # its cost there, counted at the first tier with this model
            there = spent if len(models) == 1 else [a for a in spent if a["model"] == model]
            row = row_of(there[0]["tier"], model)
            costs = [a["cost"] for a in there]
            if None in costs:
                row["there_unknown"] += sign
            else:
                row["there_cost"] += sign * sum(map(_sound, costs))
        row = row_of(ended, attempts[-1]["model"] if attempts else "")
        seconds = _sound(call["seconds"])
        row["ended"] += sign
        row["seconds"] += sign * seconds
        if call["outcome"] == VALID:
            row["valid"] += sign
        if sign > 0:
            row["max_seconds"] = max(seconds, row["max_seconds"])
        if spent:
            whole = [a for a in spent if a["finish"] != "cut"] or spent
            row["estimable"] += sign
            row["first_prompt"] += sign * _sound(spent[0]["prompt_tokens"])
            row["last_completion"] += sign * _sound(whole[-1]["completion_tokens"])
            if None in [a["cost"] for a in spent]:
                row["unpriced"] += sign
        elif not any(attempt["text"] is not None for attempt in attempts):
            row["silent"] += sign

    @property
    def calls(self) -> int:
        """How many calls were added, less those that were subtracted."""
        return sum(row["ended"] for row in self._rows.values())

    def write(self, cursor: Any, *, is_sqlite: bool) -> None:
        """Apply the changes to the tables, over a cursor of the driver's."""
        self.write_minutes(cursor, is_sqlite=is_sqlite)
        if self._rows:
            rows = [(minute, _digest(about), about, row) for (minute, about), row in self._rows.items()]
            day_totals.add(cursor, rows, is_sqlite=is_sqlite)

    def write_minutes(self, cursor: Any, *, is_sqlite: bool) -> None:
        """Apply the changes to the table of minutes alone, where none of their days is summed up."""
        if not self._rows:
            return
        sql = _Statements.of(is_sqlite)
        rows = [
            (minute, _digest(about), about, _asked(about), *self._rows[minute, about].values())
            for minute, about in sorted(self._rows)
        ]
        if len(rows) == 1:
            cursor.execute(sql.upsert, rows[0])
        else:
            cursor.executemany(sql.upsert, rows)
        for (minute, asked), seconds in sorted(self._gone.items()):
            cursor.execute(sql.empty, (minute,))
            if sql.lock:  # the following statements see all that is committed by now
                cursor.execute(sql.lock, (minute, asked))
            between = minute * MINUTE, (minute + 1) * MINUTE
            cursor.execute(sql.longest, (asked, *between, minute, asked, seconds))

    def rows(self) -> Iterator[Row]:
        """Yield the rows that were counted."""
        for (_, about), row in self._rows.items():
            yield Row(About.of(about), row["last"], row)


def pages(cursor: Any, mark: str, since: float = -math.inf, until: float = math.inf) -> Iterator[list[int]]:
    """Yield pages of the numbers of calls that began in a period, the oldest first."""
    query = f"""SELECT started, id FROM calls WHERE started >= {mark} AND started < {mark}
        AND (started, id) > ({mark}, {mark}) ORDER BY started, id LIMIT {PAGE}"""  # noqa: S608 (our own names)
    last = since, 0
    while True:
        cursor.execute(query, (last[0], until, *last))
        found = cursor.fetchall()
        if not found:
            return
        yield [number for _, number in found]
        last = found[-1]


def records(cursor: Any, numbers: Iterable[int]) -> Iterator[tuple[int, dict[str, Any], list[Any]]]:
    """Yield the number, row and attempts' rows of each call of a page, for `Totals.add`.

    What is damaged in a row counts as nothing, so that a record that can't be read can be deleted, and holds up no
    other. Where that is what it was counted under, its totals stay.
    """
    cursor.execute(f"{LEDGER} WHERE c.id IN ({', '.join(map(str, numbers))}) ORDER BY c.id, a.number")
    for number, group in itertools.groupby(cursor.fetchall(), key=lambda row: row[0]):
        rows = [tuple(map(_undamaged, row, _KINDS)) for row in group]
        call = dict(zip(_FIELDS[:_OF_CALL], rows[0], strict=False))
        try:
            call["large"] = storable(last_tier(loaded(call["options"])))
        except DAMAGE:
            call["large"] = ""
        attempts = [dict(zip(_FIELDS[_OF_CALL:], row[_OF_CALL:], strict=True)) for row in rows if row[_OF_CALL]]
        yield number, call, attempts


def _undamaged(value: Any, kind: type) -> Any:
    """Return the value of a column, or the nothing of its kind where it has another; SQLite's may hold anything."""
    if kind is str:
        return value if value is None or isinstance(value, str) else ""
    if kind is int and value is None:
        return 0
    return value if value is None or isinstance(value, int | float) else 0


def recount(connection: sa.Connection) -> None:
    """Compute the totals of all records, for a trace that an older Guard wrote."""
    is_sqlite = connection.dialect.name == "sqlite"
    cursor = connection.connection.cursor()
    for numbers in pages(cursor, "?" if is_sqlite else "%s"):
        totals = Totals()
        for record in records(cursor, numbers):
            totals.add(*record)
        totals.write_minutes(cursor, is_sqlite=is_sqlite)


def read(connection: sa.Connection, since: int | None) -> list[Row]:
    """Return the sums over all minutes since one, in one or more rows of the same attributes."""
    minute, day = TOTALS.c.minute, DAY_TOTALS.c.day
    newest = connection.scalar(sa.select(sa.func.max(day)))
    edge = -math.inf if newest is None else (newest + 1) * MINUTES  # the minutes before are summed up by the day
    if since is None:
        days = [] if newest is None else [_summed(connection, DAY_TOTALS)]
        minutes = [_summed(connection, TOTALS, *([] if newest is None else [minute >= edge]))]
    elif since >= edge:
        days, minutes = [], [_summed(connection, TOTALS, minute >= since)]
    else:
        first = -(-since // MINUTES)
        days = [_summed(connection, DAY_TOTALS, day >= first)]
        minutes = [_summed(connection, TOTALS, minute >= since, minute < first * MINUTES)]
        minutes.append(_summed(connection, TOTALS, minute >= edge))
    return [_row(row) for row in itertools.chain(*days, *minutes)]


def points(connection: sa.Connection, since: int, until: int, step: int) -> list[tuple[int, Row]]:
    """Return the totals in steps of so many minutes, from one minute until before another: (step, row)."""
    bucket = ((TOTALS.c.minute - since) // sa.literal_column(str(step), sa.BigInteger)).label("bucket")
    longest = sa.func.max(TOTALS.c.max_seconds).label("max_seconds")
    between = TOTALS.c.minute >= since, TOTALS.c.minute < until
    return [(row["bucket"], _row(row)) for row in _summed(connection, TOTALS, *between, by=(bucket,), more=(longest,))]


def size_above(prompt_tokens: int) -> int:
    """Return the size class of a prompt: the largest of SIZES that it exceeds, or 0."""
    at = bisect.bisect_left(SIZES, prompt_tokens)
    return SIZES[at - 1] if at else 0


def _summed(
    connection: sa.Connection, table: sa.Table, *where: Any, by: Sequence[Any] = (), more: Sequence[Any] = ()
) -> Iterator[Mapping[str, Any]]:
    """Yield the sums of rows with the same attributes."""
    most = [sa.func.max(table.c[name]).label(name) for name in ("about", "last")]
    sums = [sa.func.sum(table.c[name]).label(name) for name in _NAMES]
    query = sa.select(*most, *sums, *by, *more).where(*where).group_by(table.c.shape, *by)
    for row in connection.execute(query).mappings():
        yield {str(name): value for name, value in row.items()}


def _row(found: Mapping[str, Any]) -> Row:
    figures: dict[str, Any] = {name: int(found[name]) for name in COUNTS}
    for name in (*SUMS, "max_seconds"):
        figures[name] = float(found.get(name, 0.0))
    return Row(About.of(found["about"]), found["last"], figures)


def _count_tiers(
    attempts: Sequence[Mapping[str, Any]], row_of: Callable[[int | None, str], dict[str, Any]], sign: int
) -> None:
    """Count how often each tier was asked, asked again and left, and what was replayed."""
    before: int | None = None  # the tier of the attempt before
    for number, attempt in enumerate(attempts):
        tier = attempt["tier"]
        row = row_of(tier, attempt["model"])
        if attempt["text"] is not None and attempt["is_kept"]:
            row["replayed"] += sign
        if number and tier == before:
            row_of(tier, _last_model(attempts, number))["re_asks"] += sign
            continue
        asked = row if len(attempts) == 1 else row_of(tier, _last_model(attempts, number))
        asked["calls"] += sign
        if attempt["text"] is not None and attempt["reason"] in _VALID_REASONS:
            asked["first_valid"] += sign
            if number == 0:
                asked["began_valid"] += sign
        if number:
            row_of(before, attempts[number - 1]["model"])["escalations"] += sign
        before = tier


def _last_model(attempts: Sequence[Mapping[str, Any]], number: int) -> str:
    """Return the model of a tier's last attempt, among the attempts from one on."""
    tier = attempts[number]["tier"]
    while number + 1 < len(attempts) and attempts[number + 1]["tier"] == tier:
        number += 1
    model: str = attempts[number]["model"]
    return model


def _sound(value: Any) -> Any:
    return value if -_MOST <= value <= _MOST else min(max(value, -_MOST), _MOST)


@functools.lru_cache(10_000)
def _asked(about: str) -> str:
    return About.of(about).asked


@functools.lru_cache(10_000)
def _about(*parts: Any) -> str:
    return About(*parts).text


@functools.lru_cache(10_000)
def _digest(about: str) -> str:
    return hashlib.blake2b(about.encode(), digest_size=16).hexdigest()


class _Statements(NamedTuple):
    upsert: str
    empty: str
    lock: str
    longest: str

    @classmethod
    @functools.cache
    def of(cls, is_sqlite: bool) -> _Statements:
        mark = "?" if is_sqlite else "%s"
        greater = "MAX" if is_sqlite else "GREATEST"
        sets = [f"{name} = totals.{name} + excluded.{name}" for name in _NAMES]
        sets += [f"{name} = {greater}(totals.{name}, excluded.{name})" for name in ("last", "max_seconds")]
        where = f"WHERE minute = {mark} AND asked = {mark}"
        names = ("minute", "shape", "about", "asked", *_NONE)
        insert = f"INSERT INTO totals ({', '.join(names)}) VALUES ({', '.join([mark] * len(names))})"  # noqa: S608 (ours)
        return cls(
            f"{insert} ON CONFLICT (minute, shape) DO UPDATE SET {', '.join(sets)}",
            f"DELETE FROM totals WHERE minute = {mark} AND parts <= 0",  # noqa: S608 (our own names)
            "" if is_sqlite else f"SELECT shape FROM totals {where} ORDER BY shape FOR UPDATE",  # noqa: S608 (our own names)
            # The longest of a model's calls in a minute, which is what is asked for, in every row that had no longer
            # one than those that went. So each row has the time of a call that is there.
            f"""UPDATE totals SET max_seconds = COALESCE((SELECT MAX(seconds) FROM calls WHERE model = {mark}
                AND started >= {mark} AND started < {mark}), 0) {where} AND max_seconds <= {mark}""",  # noqa: S608 (our own names)
        )

"""A trace of any size for benchmarks/trace.py, made by the database itself, with the totals that its records add up to.

Of twenty calls one is asked again, one goes on to a larger model, and of fifty one fails. They are spread evenly over
the year before now.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator

import sqlalchemy as sa

from guard.trace import TraceStore, partitions, totals
from guard.trace.sql_tables import COUNTS, SUMS
from guard.trace.totals import About

DAYS = 365
SMALL, LARGE = "openai:qwen3-4b", "openai:gpt-5-mini"
FUNCTIONS = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "invoices.read_invoice")
PER_CALL = 1.1  #: Attempts.
CHUNK = 500_000  #: Calls of a transaction.

_KIND = (
    "CASE WHEN n % 50 = 7 THEN 'failed' WHEN n % 20 = 3 THEN 're-ask' WHEN n % 20 = 5 THEN 'escalate' ELSE 'valid' END"
)


def _case(of: str, values: Iterable[str]) -> str:
    return f"CASE {of} {' '.join(f'WHEN {at} THEN {value!r}' for at, value in enumerate(values))} END"


_FUNCTION = _case("n % 4", FUNCTIONS)
_SECONDS = "CAST(n * 7919 % 4000 AS FLOAT) / 1000"
_PROMPT, _COMPLETION = "(100 + n * 7919 % 1900)", "(1 + n * 104729 % 400)"
_COST = "CAST(n * 31 % 1000 AS FLOAT) / 1000000"
_MESSAGES = """'[{"role": "user", "content": "Please read invoice ' || n || ' and say what it comes to."}]'"""


def fill(store: TraceStore, attempts: int) -> int:
    """Fill an empty trace with so many attempts; return how many calls they are of."""
    calls = round(attempts / PER_CALL)
    step = DAYS * 86_400 / calls
    start = time.time() - DAYS * 86_400
    store.check_writable()
    if store.path is None:
        with store.begin() as connection:
            partitions.ensure(connection, [start + month * 86_400 * 27 for month in range(DAYS // 27 + 1)])
    for first in range(1, calls + 1, CHUNK):
        numbers = _numbers(store, first, min(first + CHUNK - 1, calls))
        with store.begin(3600) as connection:
            for statement in _records(numbers, start, step, is_sqlite=store.path is not None):
                connection.exec_driver_sql(statement.replace("%", "%%") if store.path is None else statement)
        print(f"\r{min(first + CHUNK - 1, calls):,} calls", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    with store.begin(3600) as connection:
        for statement in _totals(_numbers(store, 1, calls), start, step, is_sqlite=store.path is not None):
            connection.exec_driver_sql(statement.replace("%", "%%") if store.path is None else statement)
        if store.path is None:
            connection.exec_driver_sql(f"SELECT setval('calls_id_seq', {calls})")
    store._upkeep.sum_up()
    with store._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE" if store.path is not None else "VACUUM ANALYZE")
    return calls


def check(store: TraceStore) -> None:
    """Hold the totals to a recount of the records."""
    counted = totals.Totals()
    with store.reading() as connection:
        assert connection is not None
        cursor = connection.connection.cursor()
        for numbers in totals.pages(cursor, store._mark):
            for record in totals.records(cursor, numbers):
                counted.add(*record)
        kept = connection.execute(sa.text("SELECT * FROM totals")).mappings().all()
    assert len(kept) == len(counted._rows)
    for row in kept:
        expected = counted._rows[row["minute"], row["about"]]
        for name in (*COUNTS, *SUMS, "max_seconds", "last"):
            assert abs(row[name] - expected[name]) < 1e-6, (name, row[name], expected[name], row["about"])


def _numbers(store: TraceStore, first: int, last: int) -> str:
    if store.path is None:
        return f"(SELECT n FROM generate_series({first}::bigint, {last}::bigint) n) numbers"  # noqa: S608 (numbers)
    return f"""(WITH RECURSIVE s(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM s WHERE n < {last})
               SELECT n FROM s) numbers"""  # noqa: S608 (numbers)


def _records(numbers: str, start: float, step: float, *, is_sqlite: bool) -> Iterator[str]:
    started = f"{start!r} + n * {step!r}"
    began = ("", "") if is_sqlite else (", began", f", {started}")
    yield f"""INSERT INTO calls (id, started, seconds, function, target, schema_hash, template, model, options, outcome,
            error, record_for)
        SELECT n, {started}, {_SECONDS}, {_FUNCTION}, 'text', '', '', '{SMALL}',
            '{{"tiers": ["{SMALL}", "{LARGE}"], "mode": "live"}}',
            CASE WHEN {_KIND} = 'failed' THEN 'ValidationFailed' ELSE 'valid' END, '', 'operation' FROM {numbers}"""  # noqa: S608 (our own words)
    for number in (1, 2):
        tier = 0 if number == 1 else f"CASE WHEN {_KIND} = 'escalate' THEN 1 ELSE 0 END"
        last = "'valid'" if number == 1 else "'re-ask', 'escalate'"
        yield f"""INSERT INTO attempts (call, number, messages, findings, error, text, finish, served, prompt_tokens,
                completion_tokens, forced_tokens, seconds, mask_seconds, thinking_tokens, thinking, retries, mode, cost,
                tier, model, reason, started, elapsed, is_estimate, is_kept{began[0]})
            SELECT n, {number}, {_MESSAGES}, '[]', '', '{{"total": ' || n || '}}', 'stop', 'served', {_PROMPT},
                {_COMPLETION}, 0, {_SECONDS}, 0.0, 0, '', 0, 'native',
                CASE WHEN {number} = 2 AND {_KIND} = 'escalate' THEN {_COST} END, {tier},
                CASE WHEN {number} = 2 AND {_KIND} = 'escalate' THEN '{LARGE}' ELSE '{SMALL}' END,
                CASE WHEN {_KIND} IN ({last}) THEN '' ELSE 'invalid' END, {started}, {_SECONDS}, 0, 0{began[1]}
            FROM {numbers} {"" if number == 1 else f"WHERE {_KIND} IN ('re-ask', 'escalate')"}"""  # noqa: S608 (our own words)


def _totals(numbers: str, start: float, step: float, *, is_sqlite: bool) -> Iterator[str]:
    """Yield the statements that sum up, a row a minute, what guard/trace/totals.py would."""
    is_valid, is_ended = "kind IN ('valid', 're-ask')", "kind <> 'escalate'"
    here = {
        "parts": "1", "calls": "1", "first_valid": "kind = 'valid'", "re_asks": "kind = 're-ask'",
        "escalations": "kind = 'escalate'", "prompt_tokens": f"{_PROMPT} * tries", "cost_unknown": "tries",
        "completion_tokens": f"{_COMPLETION} * tries", "estimates": "0", "replayed": "0", "there_unknown": "1",
        "ended": is_ended, "valid": is_valid, "began_valid": "kind = 'valid'", "unpriced": is_ended, "silent": "0",
        "estimable": is_ended, "first_prompt": f"CASE WHEN {is_ended} THEN {_PROMPT} ELSE 0 END",
        "last_completion": f"CASE WHEN {is_ended} THEN {_COMPLETION} ELSE 0 END",
        "cost": "0.0", "there_cost": "0.0", "seconds": f"CASE WHEN {is_ended} THEN {_SECONDS} ELSE 0 END",
    }  # fmt: skip
    there = {
        **here, "first_valid": "1", "re_asks": "0", "escalations": "0", "prompt_tokens": _PROMPT,
        "completion_tokens": _COMPLETION, "cost_unknown": "0", "there_unknown": "0", "ended": "1", "valid": "1",
        "began_valid": "0", "unpriced": "1", "estimable": "1", "first_prompt": _PROMPT, "last_completion": _COMPLETION,
        "cost": _COST, "there_cost": _COST, "seconds": _SECONDS,
    }  # fmt: skip
    minute = f"{start!r} + n * {step!r}"
    minute = f"CAST({minute} AS BIGINT) / 60" if is_sqlite else f"FLOOR({minute})::bigint / 60"
    both = (SMALL, LARGE)
    for models, ended, tier, model, figures, which in (
        ((SMALL,), 0, 0, SMALL, here, "kind <> 'escalate'"),
        (both, 1, 0, SMALL, here, "kind = 'escalate'"),
        (both, 1, 1, LARGE, there, "kind = 'escalate'"),
    ):
        abouts = [About(function, "", SMALL, LARGE, models, 0, ended, tier, model).text for function in FUNCTIONS]
        about, shape = _case("f", abouts), _case("f", map(totals._digest, abouts))
        sums = ", ".join(f"SUM({_whole(figures[name])})" for name in (*COUNTS, *SUMS))
        yield f"""INSERT INTO totals (minute, shape, about, asked, last, {", ".join((*COUNTS, *SUMS))}, max_seconds)
            SELECT minute, {shape}, {about}, '{SMALL}', MAX(n), {sums}, MAX({_whole(figures["seconds"])})
            FROM (SELECT n, n % 4 AS f, {minute} AS minute, {_KIND} AS kind,
                CASE WHEN {_KIND} = 're-ask' THEN 2 ELSE 1 END AS tries FROM {numbers}) k
            WHERE {which} GROUP BY minute, f ORDER BY minute"""  # noqa: S608 (our own words)


def _whole(what: str) -> str:
    """Return a condition as a number."""
    return f"CASE WHEN {what} THEN 1 ELSE 0 END" if what.startswith("kind") else what

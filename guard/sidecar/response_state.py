"""Responses that are kept for later requests, which name them by `previous_response_id` or `item_reference`.

They are stored in the trace's database, for every process that shares it: each response with its input, and each item
of its output by its own id. A key sees only its own, and none that is too old. Each key's responses are bounded in
number and bytes; the oldest go first. A request with `store: false` stores nothing.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from guard.sidecar.errors import ApiError, bad
from guard.sidecar.request_context import RequestContext
from guard.trace import TraceStore
from guard.trace.sql_tables import RESPONSES
from guard.trace.waits import WAIT_S

MOST_BYTES = 100_000_000  #: Most bytes of one key's responses.
MOST_TURNS = 1_000  #: Longest chain of responses that one may continue.
MOST_ITEMS = 10_000  #: Most items of one input, references resolved.
EVERY = 32  #: Responses of one key that a process writes between two deletions of what is too much,
EVERY_BYTES = MOST_BYTES // 10  #: or bytes of them.
AT_ONCE = 500  #: Rows that are too old deleted in one transaction.

_ID = re.compile(r"[\x21-\x7e]{1,200}")
#: In place of what has the same id: an upstream's may come again, even twice at the same time.
_KEEP = sa.text("""INSERT INTO responses (owner, id, created, previous, size, body)
    VALUES (:owner, :id, :created, :previous, :size, :body) ON CONFLICT (owner, id) DO UPDATE SET
    created = excluded.created, previous = excluded.previous, size = excluded.size, body = excluded.body""")

#: A response and those before it, the latest first. One that comes back to itself ends, too.
_CHAIN = sa.text("""WITH RECURSIVE chain(id, previous, size, place) AS (
    SELECT id, previous, size, 1 FROM responses WHERE owner = :owner AND id = :name AND created >= :since UNION ALL
    SELECT responses.id, responses.previous, responses.size, place + 1 FROM chain
    JOIN responses ON responses.owner = :owner AND responses.id = chain.previous AND responses.created >= :since
    WHERE place <= :most)
    SELECT id, previous, size FROM chain ORDER BY place""")

#: Deletes some of what is too old, of every key.
_EXPIRE = sa.text("""DELETE FROM responses WHERE (owner, id) IN
    (SELECT owner, id FROM responses WHERE created < :since LIMIT :most)""")

Book = Callable[..., Awaitable[Any]]  #: Runs work on the database in a thread.


class Turns:
    """The responses that are kept."""

    def __init__(self, store: TraceStore, book: Book, most: int, days: float) -> None:
        """Keep at most `most` responses of each key, for `days` days."""
        self._store, self._book = store, book
        self._most, self._days = most, days
        self._written: dict[str, tuple[int, int]] = {}  # by key, responses and bytes since the last deletion

    async def whole(
        self, context: RequestContext, body: dict[str, Any], most_bytes: int, *, is_known_upstream: bool
    ) -> dict[str, Any]:
        """Return a body with its references resolved, or the body itself where it has none.

        Raises ApiError where a reference is not kept here, unless `is_known_upstream`: the model's server may know it.
        """
        previous, items = body.get("previous_response_id"), _items(body)
        has_reference = any(_is_reference(item) for item in items)
        if previous is None and not has_reference:
            return body
        for number, item in enumerate(items):
            if _is_reference(item) and not isinstance(item.get("id"), str):
                raise bad(f"input.{number}.id must be a text", f"input.{number}.id")
        wanted = {item["id"] for item in items if _is_reference(item) and _is_id(item["id"])}
        if len(items) > MOST_ITEMS:
            raise bad(f"input has {len(items):,} items; at most {MOST_ITEMS:,} are taken", "input")
        if previous is not None and not _is_id(previous):
            turns = None  # the database is not asked for an id that it can't hold
        else:
            turns = await self._book(self._chain, _owner(context), previous, seconds=context.patience)
        sizes = await self._book(self._sizes, _owner(context), wanted, seconds=context.patience)
        named = sum(sizes.get(item["id"], 0) for item in items if _is_reference(item))  # once for each time
        size = named + sum(of for _, of in turns or ())
        if size > most_bytes:
            raise bad("what the request goes on from is too long", "previous_response_id")
        if context.share is not None:
            context.share.take(size)  # it is held like the body
        context.size += size
        before, found = await self._book(self._read, _owner(context), turns, [*sizes], seconds=context.patience)
        if is_known_upstream and (before is None or len(found) < len(wanted)):
            return body
        if before is None:
            words = f"response {str(previous)[:100]!r} is not kept here; send the whole input"
            raise bad(words, "previous_response_id", "previous_response_not_found")
        for number, item in enumerate(items):
            if _is_reference(item) and item["id"] not in found:
                raise _missing(f"item {item['id'][:100]!r}", f"input.{number}.id")
        resolved = [found[item["id"]] if _is_reference(item) else item for item in items]
        rest = {key: value for key, value in body.items() if key != "previous_response_id"}
        return {**rest, "input": [*before, *resolved]}

    async def keep(
        self, context: RequestContext, body: Mapping[str, Any], asked: Mapping[str, Any], response: Mapping[str, Any]
    ) -> None:
        """Store a response to `body`, which was asked as `asked`. Raises TraceError where that fails.

        One that goes on from an id which can't be kept is not stored: without what was before, it would not be whole.
        """
        previous = body.get("previous_response_id")
        if body.get("store") is False or not self._most or not _is_id(response.get("id")):
            return
        if previous is not None and not _is_id(previous):
            return
        count = len(_items(body))
        items = _items(asked)[-count:] if count else []  # earlier items are stored already
        row = {"input": items, "response": dict(response)}
        named = {response["id"]: row, **{item["id"]: {"item": dict(item)} for item in _named(response)}}
        await self._book(self._write, _owner(context), named, response["id"], previous, seconds=context.patience)

    async def read(self, context: RequestContext, name: str) -> dict[str, Any]:
        """Return a response by its id. Raises ApiError where there is none, or its client holds too many bytes."""
        names = [name] if _is_id(name) else []
        if context.share is not None:
            sizes = await self._book(self._sizes, _owner(context), names, seconds=context.patience)
            context.share.take(sum(sizes.values()))
        found = await self._book(self._rows, _owner(context), names, seconds=context.patience)
        response = found.get(name, {}).get("response")
        if response is None:
            raise _missing(f"response {name[:100]!r}", "response_id")
        return dict(response)

    async def forget(self, context: RequestContext, name: str) -> None:
        """Delete a response. Raises ApiError where there is none."""
        response = await self.read(context, name)
        names = [name, *(item["id"] for item in _named(response))]
        await self._book(self._delete, _owner(context), names, seconds=context.patience)

    async def expire(self) -> None:
        """Delete what is too old, of every key, in short transactions. Raises TraceError where that fails."""
        while await self._book(self._expire, seconds=WAIT_S) == AT_ONCE:
            pass

    # -- In a thread ---------------------------------------------------------------------------------------------------

    def _chain(
        self,
        owner: str,
        previous: str | None,
        *,
        seconds: float,  # noqa: ARG002 (a book's)
    ) -> list[tuple[str, int]] | None:
        """Return the chain of responses before a request, the latest first, with sizes; None where one is missing."""
        if previous is None:
            return []
        asked = {"owner": owner, "name": previous, "most": MOST_TURNS, "since": self._since()}
        with self._store.reading() as connection:
            rows = () if connection is None else connection.execute(_CHAIN, asked).all()
        found = {row.id: int(row.size) for row in rows}
        if not rows or len(found) < len(rows):  # a server that gives an id twice: what was before is lost
            return None
        if len(rows) > MOST_TURNS:
            raise bad(f"more than {MOST_TURNS:,} responses are before this one", "previous_response_id")
        return None if rows[-1].previous is not None else [*found.items()]

    def _sizes(self, owner: str, names: Collection[str], *, seconds: float) -> dict[str, int]:  # noqa: ARG002 (a book's)
        """Return the sizes of some items that are kept."""
        return {row.id: int(row.size) for row in self._select(owner, list(names), RESPONSES.c.id, RESPONSES.c.size)}

    def _read(
        self, owner: str, turns: list[tuple[str, int]] | None, wanted: list[str], *, seconds: float
    ) -> tuple[list[Any] | None, dict[str, Any]]:
        """Return the items before a request (None where a response is missing), and those that it names, by id."""
        rows = self._rows(owner, wanted, seconds=seconds)
        found = {name: row["item"] for name, row in rows.items() if "item" in row}
        if turns is None:
            return None, found
        before: list[Any] = []
        kept = self._rows(owner, [name for name, _ in turns], seconds=seconds)
        for name, _ in reversed(turns):
            row = kept.get(name, {})
            if "response" not in row:
                return None, found
            before += [*row["input"], *(row["response"].get("output") or ())]
        if len(before) > MOST_ITEMS:
            raise bad(f"more than {MOST_ITEMS:,} items are before this request", "previous_response_id")
        return before, found

    def _rows(self, owner: str, names: list[str], *, seconds: float) -> dict[str, Any]:  # noqa: ARG002 (a book's)
        """Return the stored rows of some ids."""
        return {row.id: json.loads(row.body) for row in self._select(owner, names, RESPONSES.c.id, RESPONSES.c.body)}

    def _select(self, owner: str, names: list[str], *columns: Any) -> Iterator[Any]:
        with self._store.reading() as connection:
            for at in range(0, len(names) if connection is not None else 0, 500):
                assert connection is not None
                where = RESPONSES.c.owner == owner, RESPONSES.c.id.in_(names[at : at + 500])
                is_kept = RESPONSES.c.created >= self._since()
                yield from connection.execute(sa.select(*columns).where(*where, is_kept))

    def _since(self) -> float:
        """Return the time before which a response was written that is too old."""
        return time.time() - self._days * 86_400

    def _write(
        self, owner: str, named: Mapping[str, Any], response: str = "", previous: str | None = None, *, seconds: float
    ) -> None:
        now = time.time()
        texts = {name: json.dumps(row) for name, row in named.items()}
        rows = [
            {
                "owner": owner,
                "id": name,
                "created": now,
                "previous": previous if name == response else None,
                "size": len(text),
                "body": text,
            }
            for name, text in sorted(texts.items())  # in one order: no deadlocks
        ]
        count, size = self._written.get(owner, (EVERY, 0))
        count, size = count + 1, size + sum(map(len, texts.values()))
        is_due = count > EVERY or size > EVERY_BYTES
        with self._store.begin(seconds) as connection:
            connection.execute(_KEEP, rows)
            if is_due:
                self._make_room(connection, owner)
        self._written[owner] = (1, 0) if is_due else (count, size)

    def _make_room(self, connection: sa.Connection, owner: str) -> None:
        """Delete the oldest of one key beyond its bounds."""
        mine = RESPONSES.c.owner == owner
        query = sa.select(RESPONSES.c.created, RESPONSES.c.size).where(mine).order_by(RESPONSES.c.created.desc())
        size, turns = 0, set[float]()  # a response and its items were written at one time
        for row in connection.execute(query):
            size += row.size
            turns.add(row.created)
            if len(turns) > self._most or size > MOST_BYTES:
                connection.execute(RESPONSES.delete().where(mine, RESPONSES.c.created <= row.created))
                return

    def _expire(self, *, seconds: float) -> int:
        """Delete some rows that are too old; return how many."""
        with self._store.begin(seconds) as connection:
            return connection.execute(_EXPIRE, {"since": self._since(), "most": AT_ONCE}).rowcount

    def _delete(self, owner: str, names: list[str], *, seconds: float) -> None:
        with self._store.begin(seconds) as connection:
            connection.execute(RESPONSES.delete().where(RESPONSES.c.owner == owner, RESPONSES.c.id.in_(names)))


def _items(body: Mapping[str, Any]) -> list[Any]:
    given = body.get("input")
    return given if isinstance(given, list) else [{"role": "user", "content": given}]


def _named(response: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the items of a response's output that have an id by which they can be kept."""
    output = response.get("output")
    listed = output if isinstance(output, list) else []
    return [item for item in listed if isinstance(item, Mapping) and _is_id(item.get("id"))]


def _is_reference(item: Any) -> bool:
    """Whether an item names another. The protocol has references without a type, which have an id and no role."""
    if not isinstance(item, Mapping):
        return False
    kind = item.get("type")
    return kind == "item_reference" or (kind is None and "id" in item and "role" not in item)


def _is_id(text: Any) -> bool:
    """Whether something may be a stored id: those are printable ASCII, of at most 200 characters."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def _owner(context: RequestContext) -> str:
    return context.key.id if context.key is not None else ""


def _missing(what: str, param: str) -> ApiError:
    words = f"{what} is not kept here: it was asked with store false, by another key, or too long ago"
    return ApiError(404, words, code="not_found", param=param)

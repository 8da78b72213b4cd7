"""API keys: made, listed and revoked by `guard keys`, kept in the trace's database as digests.

A key is `sk-guard-ID-SECRET`. The secret is 256 random bits, so that one SHA-256 of the whole is as good as a slow
hash: there is no dictionary to try. Only the digest is stored; the key is shown once, when it is made. Digests are
compared in constant time; for an unknown id the comparison is with a digest that no key has.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass

import sqlalchemy as sa

from guard.trace import TraceStore
from guard.trace.sql_tables import KEYS

PREFIX = "sk-guard-"
FRESH = 1.0  #: Seconds within which every process knows of a key that was made or revoked.
_FLAGS = ("is_operator", "may_train")  # stored as 0 and 1
_NOBODY = hashlib.sha256(secrets.token_bytes(32)).hexdigest()


@dataclass(frozen=True)
class Key:
    """A key: who may ask, and how much."""

    id: str
    name: str
    digest: str
    created: float  # seconds since the epoch
    revoked: float | None = None  # None: not revoked
    is_operator: bool = False  # may look at the calls of others: /guard/…
    requests_per_minute: int | None = None
    tokens_per_day: int | None = None  # days end at midnight UTC
    usd_per_day: float | None = None
    may_train: bool = False  # whether its calls may be recorded for training

    @property
    def is_limited(self) -> bool:
        """Whether any limit is set."""
        return self.requests_per_minute is not None or self.has_budget

    @property
    def has_budget(self) -> bool:
        """Whether its tokens or dollars are limited, and so counted."""
        return self.tokens_per_day is not None or self.usd_per_day is not None


def create(
    store: TraceStore,
    name: str,
    *,
    is_operator: bool = False,
    requests_per_minute: int | None = None,
    tokens_per_day: int | None = None,
    usd_per_day: float | None = None,
    may_train: bool = False,
) -> tuple[Key, str]:
    """Make a key. Returns it with its text, which is stored nowhere."""
    text = f"{PREFIX}{secrets.token_hex(6)}-{secrets.token_urlsafe(32)}"
    key = Key(
        id=_id(text),
        name=name,
        digest=_digest(text),
        created=time.time(),
        is_operator=is_operator,
        requests_per_minute=requests_per_minute,
        tokens_per_day=tokens_per_day,
        usd_per_day=usd_per_day,
        may_train=may_train,
    )
    with store.begin() as connection:
        connection.execute(KEYS.insert().values(**{**vars(key), **{name: int(vars(key)[name]) for name in _FLAGS}}))
    return key, text


def every(store: TraceStore) -> list[Key]:
    """Return all keys, the oldest first, revoked ones included."""
    with store.reading() as connection:
        if connection is None:
            return []
        rows = connection.execute(KEYS.select().order_by(KEYS.c.created, KEYS.c.id)).mappings().all()
    return [Key(**{**row, **{name: bool(row[name]) for name in _FLAGS}}) for row in rows]


def are_there(store: TraceStore) -> bool:
    """Whether there is a key that is not revoked. Looks only: an older Guard's trace stays as it is."""
    with store.looking() as connection:
        if connection is None or not sa.inspect(connection).has_table(KEYS.name):
            return False
        return connection.execute(sa.select(KEYS.c.id).where(KEYS.c.revoked.is_(None)).limit(1)).first() is not None


def revoke(store: TraceStore, key_id: str) -> bool:
    """Revoke a key by its id. Returns False where there is no such key, or it was revoked before."""
    with store.begin() as connection:
        good = KEYS.c.id == key_id, KEYS.c.revoked.is_(None)
        return connection.execute(KEYS.update().where(*good).values(revoked=time.time())).rowcount > 0


class Keyring:
    """The keys as a process last read them."""

    def __init__(self, store: TraceStore) -> None:
        self._store = store
        self._good: dict[str, Key] = {}
        self.is_used = False  # whether a key was ever seen in any trace: then each request needs one

    def refresh(self) -> None:
        """Read the keys again; blocking."""
        keys = every(self._store)
        self._good = {key.id: key for key in keys if key.revoked is None}
        self.is_used = self.is_used or bool(keys)

    def find(self, text: str) -> Key | None:
        """Return the key of a text, or None. Takes the same time whether the id is known or not."""
        key = self._good.get(_id(text))
        is_right = hmac.compare_digest(_digest(text), key.digest if key else _NOBODY)
        return key if is_right else None


def _id(text: str) -> str:
    return text.removeprefix(PREFIX).partition("-")[0]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()

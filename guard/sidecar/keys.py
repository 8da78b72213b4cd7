"""API keys: made, listed and revoked by `guard keys`, kept in the trace's database as digests.

A key is `sk-guard-ID-SECRET`. The secret is 256 random bits, so that one SHA-256 of the whole is as good as a slow
hash: there is no dictionary to try. What is kept is the digest; the key is shown once, when it is made. Digests are
compared in constant time, an unknown id's with one that nothing has.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass

from guard.trace import TraceStore
from guard.trace.sql_tables import KEYS

PREFIX = "sk-guard-"
FRESH = 1.0  #: Seconds after which a process has heard of a key that was made or revoked.
_FLAGS = ("is_operator", "may_train")  # which tables have as 0 and 1
_NOBODY = hashlib.sha256(secrets.token_bytes(32)).hexdigest()


@dataclass(frozen=True)
class Key:
    """Who may ask, and how much."""

    id: str
    name: str
    digest: str
    created: float  # seconds since the epoch
    revoked: float | None = None  # None: it is good
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
        """Whether what it spends is counted."""
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
    """Make a key; returns it and the text to give to a client, which is nowhere else."""
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
    """Return all keys, revoked ones too, the oldest first."""
    with store.reading() as connection:
        if connection is None:
            return []
        rows = connection.execute(KEYS.select().order_by(KEYS.c.created, KEYS.c.id)).mappings().all()
    return [Key(**{**row, **{name: bool(row[name]) for name in _FLAGS}}) for row in rows]


def revoke(store: TraceStore, key_id: str) -> bool:
    """Revoke a key by its id; returns whether there was one that was good."""
    with store.begin() as connection:
        good = KEYS.c.id == key_id, KEYS.c.revoked.is_(None)
        return connection.execute(KEYS.update().where(*good).values(revoked=time.time())).rowcount > 0


class Keyring:
    """The keys as a process last read them."""

    def __init__(self, store: TraceStore) -> None:
        self._store = store
        self._good: dict[str, Key] = {}
        self.is_used = False  # whether a key was ever made, in any trace that was read: then each request needs one

    def refresh(self) -> None:
        """Read the keys again; blocking."""
        keys = every(self._store)
        self._good = {key.id: key for key in keys if key.revoked is None}
        self.is_used = self.is_used or bool(keys)

    @property
    def has_good(self) -> bool:
        """Whether there is a key with which anyone could come in."""
        return bool(self._good)

    def find(self, text: str) -> Key | None:
        """Return the key of a text, or None; takes the same time whether its id is known or not."""
        key = self._good.get(_id(text))
        is_right = hmac.compare_digest(_digest(text), key.digest if key else _NOBODY)
        return key if is_right else None


def _id(text: str) -> str:
    return text.removeprefix(PREFIX).partition("-")[0]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()

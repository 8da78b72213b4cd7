"""Addresses of providers: each gets the credentials of the source that named it. Passwords in URLs are kept apart.

Credentials of the environment (keys, account names, headers) are sent only to the address that the environment names,
or to the provider's own where it names none. Any other address gets only the credentials that were given with it.
"""

from __future__ import annotations

import base64
import os
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

UNUSED_KEY = "unused"  #: A placeholder for clients that require a key; it is never sent.
#: Headers without information on the caller; another address gets only these, and the credentials given for it.
_PLAIN = frozenset(
    {
        *("host", "accept", "accept-encoding", "connection", "user-agent", "content-type", "content-length"),
        *("transfer-encoding", "anthropic-version"),
    }
)
_CREDENTIALS = ("authorization", "x-api-key")


@dataclass(frozen=True)
class Address:
    """The address of a provider, with its credentials."""

    url: str  # without user and password
    is_environments: bool  # whether the environment named it, and its credentials may be sent there
    is_default: bool  # whether it is the provider's own, because none was named
    login: tuple[str, str] | None = field(default=None, repr=False)  # user and password from the URL

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that no message may contain."""
        user, password = self.login or ("", "")
        return tuple(secret for secret in (password or user, self._basic) if secret)

    def key(self, given: str | None, variable: str) -> str | None:
        """Return the key to send: the given one, else the environment's, if the environment names the address."""
        return given or (os.environ.get(variable) or None if self.is_environments else None)

    def hide(self, headers: Any, key: str | None) -> None:
        """Remove headers that another's address must not get."""
        if self.is_environments:
            return
        given = [secret for secret in (key, self._basic) if secret]
        for name in [name.lower() for name in headers]:
            is_given = name in _CREDENTIALS and any(secret in headers[name] for secret in given)
            if not (is_given or name in _PLAIN or name.startswith("x-stainless-")):
                del headers[name]
        if key and not any(name in headers for name in _CREDENTIALS):  # another had taken its place
            headers["authorization"] = f"Bearer {key}"

    @property
    def authorization(self) -> str:
        """The Authorization header of user and password; "" where there are none."""
        return f"Basic {self._basic}" if self.login else ""

    @property
    def _basic(self) -> str:
        return "" if self.login is None else base64.b64encode(":".join(self.login).encode()).decode()


def check_key(key: str) -> None:
    """Raise ValueError for a key that no header can hold."""
    wrong = next((at for at, one in enumerate(key) if not " " <= one <= "~" or (one == " " and key != key.strip())), -1)
    if wrong >= 0:
        raise ValueError(f"character {wrong + 1} of its key is {key[wrong]!a}, which no key has; copy it again")


def address(given: str | None, variable: str, default: str) -> Address:
    """Return the given address, else that of an environment variable, else the default."""
    named = os.environ.get(variable) or default
    url = given or named
    is_environments = url.rstrip("/") == named.rstrip("/")
    is_default = not given and not os.environ.get(variable)
    try:
        parts = urllib.parse.urlsplit(url)
        user, password = parts.username, parts.password
    except ValueError:  # malformed; the request will say so
        return Address(url, is_environments, is_default)
    if user is None and password is None:
        return Address(url, is_environments, is_default)
    login = urllib.parse.unquote(user or ""), urllib.parse.unquote(password or "")
    bare = urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return Address(bare, is_environments, is_default, login)

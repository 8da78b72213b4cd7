"""Addresses of providers: who named one decides whose credentials it is sent, and a password in one is kept apart.

What the environment holds (keys, an account's names, headers of its own) is for the address that the environment
names, which is the provider's own where it names none. To any other address only what was given beside it is sent.
"""

from __future__ import annotations

import base64
import os
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

UNUSED_KEY = "unused"  #: Given where a provider's client wants a key that nobody will send.
#: Headers that tell nothing of whoever asks; beside these only credentials that were given are sent to a stranger.
_PLAIN = frozenset(
    {
        *("host", "accept", "accept-encoding", "connection", "user-agent", "content-type", "content-length"),
        *("transfer-encoding", "anthropic-version"),
    }
)
_CREDENTIALS = ("authorization", "x-api-key")


@dataclass(frozen=True)
class Address:
    """Where a provider is asked."""

    url: str  # without user and password
    is_environments: bool  # the environment named it, and so may have its credentials sent there
    is_default: bool  # nobody named one
    login: tuple[str, str] | None = field(default=None, repr=False)  # user and password that the URL held

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may repeat."""
        user, password = self.login or ("", "")
        return tuple(secret for secret in (password or user, self._basic) if secret)

    def key(self, given: str | None, variable: str) -> str | None:
        """Return the key to send: the one given, else the environment's where the address is."""
        return given or (os.environ.get(variable) or None if self.is_environments else None)

    def hide(self, headers: Any, key: str | None) -> None:
        """Take from a request's headers what a stranger is not told."""
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
        """The header that sends user and password; "" where there are none."""
        return f"Basic {self._basic}" if self.login else ""

    @property
    def _basic(self) -> str:
        return "" if self.login is None else base64.b64encode(":".join(self.login).encode()).decode()


def address(given: str | None, variable: str, default: str) -> Address:
    """Return the address that was given, else the one that a variable of the environment names, else the default."""
    named = os.environ.get(variable) or default
    url = given or named
    is_environments = url.rstrip("/") == named.rstrip("/")
    is_default = not given and not os.environ.get(variable)
    try:
        parts = urllib.parse.urlsplit(url)
        user, password = parts.username, parts.password
    except ValueError:  # no address; whoever asks it says so
        return Address(url, is_environments, is_default)
    if user is None and password is None:
        return Address(url, is_environments, is_default)
    login = urllib.parse.unquote(user or ""), urllib.parse.unquote(password or "")
    bare = urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return Address(bare, is_environments, is_default, login)

"""Failures between Guard and a provider, worded in one place for all callers and clients.

An ExchangeError holds the error for the caller, and what retries and concessions need to know. A provider's own message
is shown clipped, on one line, without secrets.
"""

from __future__ import annotations

import contextlib
import email.utils
import json
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx2

from guard.errors import BadReply, CallError, ContentFiltered, ModelError, RateLimited, TimedOut, Truncated, Unavailable
from guard.models.remote.known_servers import server_variable, started_by
from guard.support.clipping import cut_short
from guard.support.secret_patterns import hidden

SHOWN = 300  #: Most characters of a provider's message that are shown.
#: What is told of a URL that can't be read. It is not quoted: a password with a / # or ? would be read as its port.
UNREADABLE = (
    "its address, or a proxy of the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY), is not a URL; "
    "write it as http://HOST:PORT, and / # ? @ of a password as %2F %23 %3F %40"
)
LOOKED_AT = 10_000  #: Most characters searched for secrets: a regular expression holds the GIL.

_NAMES = ("code", "param")  #: Members of a provider's error that are kept: its kind, and its field.
_TOO_LONG = re.compile(r"context.?(length|window)|maximum context|prompt is too long|too many tokens", re.IGNORECASE)
_FILTERED = re.compile(r"content.?filter|content.?policy|content management policy", re.IGNORECASE)


class ExchangeError(Exception):
    """A failed request: its error, whether and when a retry may help, and the provider's message.

    `is_counted` says whether the provider may have read, and so charged, the prompt. With an HTTP status it did not.
    """

    def __init__(
        self,
        error: CallError,
        *,
        again: bool = False,
        after: float | None = None,
        status: int = 0,
        words: str = "",
        code: str = "",
        param: str = "",
        is_counted: bool = True,
    ) -> None:
        super().__init__(error.message)
        self.error, self.again, self.after, self.status, self.words = error, again, after, status, words
        #: Whether the provider refused the request's content, not the caller or its rate: another request may pass.
        self.is_refused_request = status in (400, 422) and type(error) is ModelError
        self.code, self.param = code, param  # the provider's own; "" where it has none
        self.is_counted = is_counted and not status

    def told(self) -> CallError:
        """Give up the caller's error, to be raised from this one: held here too, it would make a reference cycle."""
        error = self.error
        del self.error
        return error


# ---- the connection ----


def unreachable(name: str, said: str) -> ExchangeError:
    """Return the failure of a server that accepts no connection."""
    command = started_by(name)
    advice = f"; start its server with `{command}`, or name where it is in {server_variable(name)}" if command else ""
    return ExchangeError(Unavailable(f"{name} can't be reached: {said}{advice}"), again=True, is_counted=False)


def timed_out(name: str, *, is_counted: bool = True) -> ExchangeError:
    """Return the failure of a server that is silent for too long."""
    return ExchangeError(TimedOut(f"{name} did not answer in time"), again=True, is_counted=is_counted)


def no_address(name: str, said: str = UNREADABLE) -> ExchangeError:
    """Return the failure of a malformed address. The URL must not be in `said`: it may hold a password."""
    return ExchangeError(ModelError(f"{name} can't be asked: {said}"), is_counted=False)


def no_protocol(name: str, said: str) -> ExchangeError:
    """Return the failure of an answer that is not valid HTTP."""
    return ExchangeError(BadReply(f"{name} did not answer by the protocol: {said}"))


def disconnected(name: str, said: str) -> ExchangeError:
    """Return the failure of a connection that broke."""
    return ExchangeError(Unavailable(f"{name} broke off: {said}"), again=True)


def broken_off(name: str) -> ExchangeError:
    """Return the failure of a stream that ended before the answer did."""
    return ExchangeError(Unavailable(f"{name} broke off before the answer ended"), again=True)


def of_httpx(error: BaseException, name: str, secrets: tuple[str, ...]) -> ExchangeError:
    """Return the failure that httpx2 reports."""
    if isinstance(error, httpx2.TimeoutException):
        was_sent = not isinstance(error, httpx2.ConnectTimeout | httpx2.PoolTimeout)
        return timed_out(name, is_counted=was_sent)
    if isinstance(error, httpx2.InvalidURL):
        return no_address(name)
    said = said_by(str(error) or type(error).__name__, secrets)
    if isinstance(error, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError):
        return no_address(name, said)
    if isinstance(error, httpx2.DecodingError | httpx2.TooManyRedirects):
        return no_protocol(name, said)
    return unreachable(name, said) if isinstance(error, httpx2.ConnectError) else disconnected(name, said)


@contextlib.contextmanager
def making(name: str, secrets: tuple[str, ...], *kinds: type[Exception]) -> Iterator[None]:
    """Translate the errors of a client that can't be made into a ModelError, in which no URL is quoted.

    `kinds` are those of an SDK, beside those of the HTTP client.
    """
    failures: tuple[type[Exception], ...] = (httpx2.InvalidURL, ValueError, *kinds)
    try:
        yield
    except ImportError:
        words = "a SOCKS proxy of the environment (ALL_PROXY, HTTP_PROXY, HTTPS_PROXY) needs socksio"
        raise ModelError(f"{name} can't be asked: {words}: pip install socksio") from None
    except failures as error:
        words = str(error)
        is_of_url = isinstance(error, httpx2.InvalidURL) or "://" in words
        raise ModelError(f"{name} can't be asked: {UNREADABLE if is_of_url else said_by(words, secrets)}") from None


@contextlib.contextmanager
def mapped(sdk: Any, name: str, secrets: tuple[str, ...] = ()) -> Iterator[None]:
    """Translate the errors of an HTTP client, and of an SDK around it (or None), into ExchangeErrors."""
    try:
        yield
    except (httpx2.RequestError, httpx2.InvalidURL, httpx2.StreamError) as error:
        raise of_httpx(error, name, secrets) from None
    except CallError as error:  # ours, about the body
        raise ExchangeError(error) from None
    except Exception as error:
        if sdk is None or not isinstance(error, sdk.APIError.__base__):
            raise
        raise _of_sdk(sdk, error, name, secrets) from None


def _of_sdk(sdk: Any, error: Any, name: str, secrets: tuple[str, ...]) -> ExchangeError:
    if isinstance(error, sdk.APIStatusError):
        return of_status(error.status_code, error.body, error.response.headers, name, secrets)
    if isinstance(error, sdk.APITimeoutError):
        return of_httpx(error.__cause__ or httpx2.ReadTimeout(""), name, secrets)
    if isinstance(error, sdk.APIConnectionError):
        return of_httpx(error.__cause__ or error, name, secrets)
    # Raised before any request: no credentials.
    return ExchangeError(ModelError(f"{name} can't be asked: {said_by(str(error), secrets)}"), is_counted=False)


# ---- what a provider says ----


def of_status(status: int, body: Any, headers: Mapping[str, str], name: str, secrets: tuple[str, ...]) -> ExchangeError:
    """Return the failure that a provider reports by a status. `headers` are looked up in lower case."""
    details = body if isinstance(body, Mapping) else {}
    inner = details.get("error")
    details = inner if isinstance(inner, Mapping) else details
    words = said_by(details.get("message") or body or "", secrets)
    where = f"HTTP {status}" + (f": {words}" if words else "")
    code = f"{details.get('code')} {details.get('type')}"
    hint = f"{code} {details.get('param')} {words}"
    after = _retry_after(headers)
    if status < 400:  # redirects too: a request is sent to no other server
        return ExchangeError(BadReply(f"{name} did not answer by the protocol ({where})"), status=status)
    if status == 429:
        if "insufficient_quota" in code:
            return ExchangeError(RateLimited(f"{name}: the account's quota is spent ({where})"), status=status)
        later = "" if after is None else f"; it may be asked again in {after:g} s"
        message = f"{name} asks to be called less often ({where}){later}"
        limited = RateLimited(message)
        limited.retry_after = after
        return ExchangeError(limited, again=True, after=after, status=status)
    if status in (408, 409) or status >= 500:
        return ExchangeError(Unavailable(f"{name} failed ({where})"), again=True, after=after, status=status)
    named, about = (said_by(said, secrets) if isinstance(said := details.get(name), str) else "" for name in _NAMES)
    if status in (400, 413, 422) and _TOO_LONG.search(hint):
        return ExchangeError(
            Truncated(f"the input is too long for {name} ({where}); shorten it"), status=status, code=named, param=about
        )
    if status in (400, 403, 422) and _FILTERED.search(hint):
        return ExchangeError(
            ContentFiltered(f"{name} withheld the answer ({where})"), status=status, code=named, param=about
        )
    advice = {401: "; is the key right?", 403: "; may this key use it?", 404: "; is there such a model here?"}
    refused = ModelError(f"{name} refused ({where}){advice.get(status, '')}")
    return ExchangeError(refused, status=status, words=hint, code=named, param=about)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of Retry-After, or None where it is missing or malformed."""
    text = headers.get("retry-after-ms", "")
    if re.fullmatch(r"\d{1,12}(\.\d{1,6})?", text, re.ASCII):
        return float(text) / 1000
    text = headers.get("retry-after", "")
    if re.fullmatch(r"\d{1,9}(\.\d{1,6})?", text, re.ASCII):
        return float(text)
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    return None


def of_stream(error: Any, name: str, secrets: tuple[str, ...]) -> ExchangeError:
    """Return the failure that a provider reports inside of a stream."""
    words = error.get("message", error) if isinstance(error, Mapping) else error
    kinds = " ".join(str(error.get(key)) for key in ("code", "type", "status")) if isinstance(error, Mapping) else ""
    said = said_by(words, secrets)
    if re.search(r"rate.?limit|429", kinds):
        return ExchangeError(RateLimited(f"{name} asks to be called less often: {said}"), again=True)
    if _FILTERED.search(f"{kinds} {said}"):
        return ExchangeError(ContentFiltered(f"{name} withheld the answer: {said}"))
    return ExchangeError(Unavailable(f"{name} failed while it answered: {said}"), again=True)


def of_event(data: bytes, name: str, secrets: tuple[str, ...]) -> ExchangeError:
    """Return the failure of an event of the type `error`, whatever its data."""
    said: Any = data.decode(errors="replace")
    with contextlib.suppress(ValueError, RecursionError):
        said = json.loads(said)
    return of_stream(said.get("error") or said if isinstance(said, dict) else said, name, secrets)


def said_by(words: Any, secrets: tuple[str, ...] = ()) -> str:
    """Return a provider's message for display: clipped, on one line, without secrets."""
    whole = words if isinstance(words, str) else json.dumps(words, default=repr)
    text = " ".join(whole[:LOOKED_AT].split())
    if len(whole) > LOOKED_AT:  # the last word may be a part of a secret, which no pattern finds
        text = f"{text.rpartition(' ')[0]} …".lstrip()
    return cut_short(hidden(text, secrets), SHOWN)

"""What providers have in common: retries, one deadline over all, bounded bodies, strict JSON, typed errors.

Where an SDK is asked its own retries are off. Retries here are the transport's, for what may go
away by itself: refused and broken connections, time-outs, 429 and 5xx. They are counted, never outlast the request's
deadline, and end once a piece of the answer was handed on. Asking again because of what was answered is the pipeline's.
"""

from __future__ import annotations

import contextlib
import dataclasses
import email.utils
import functools
import json
import logging
import random
import re
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import httpx2

from guard.errors import (
    BadReply,
    BudgetExceeded,
    CallError,
    ContentFiltered,
    ModelError,
    RateLimited,
    TimedOut,
    Truncated,
    Unavailable,
)
from guard.models.base import Reply
from guard.models.remote import sse
from guard.models.remote.address import Address
from guard.models.remote.blocking_http import AsyncTransport, Transport, is_proxied
from guard.models.remote.known_servers import server_variable, started_by
from guard.models.remote.runners import LOOP, THREAD, Runner
from guard.support.clipping import cut_short
from guard.support.interrupts import injected
from guard.support.secret_patterns import hidden
from guard.support.strict_json import no_constant, unique_members

T = TypeVar("T")

_log = logging.getLogger("guard.models")

MOST_BYTES = 10_000_000  #: Of one answer's body; what sends more is no model.
MOST_TOKENS = 10**8  #: Of one answer: ten times what MOST_BYTES could hold, and what any database counts.
MOST_WAIT = 60.0  #: Seconds that a provider may have a request without a deadline wait before a retry.
FIRST_BACKOFF, JITTER, LONGEST_BACKOFF = 0.2, 0.3, 10.0  #: Seconds before the first retry, at random more, at most.
REST_S = 0.05  #: Seconds that the rest of a body may take to come when its reader has had enough.
SHOWN = 300  #: Characters of a provider's own words that a message shows.
LOOKED_AT = 10_000  #: Of these words, for what is secret in them: a regular expression holds up all other threads.

#: The body comes as it is: what is not packed can't grow while it is unpacked.
HEADERS = {"Accept-Encoding": "identity"}

_NAMES = ("code", "param")  #: Of an error that a provider reports: what it is, and of which field.
_TOO_LONG = re.compile(r"context.?(length|window)|maximum context|prompt is too long|too many tokens", re.IGNORECASE)
_FILTERED = re.compile(r"content.?filter|content.?policy|content management policy", re.IGNORECASE)


class ExchangeError(Exception):
    """A request that failed: its error, whether and when trying again may help, and what the provider said.

    `is_counted` says whether the provider may have read the prompt, and so counts it; with a status it did not.
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
        self.code, self.param = code, param  # as the provider has them; "": it has none
        self.is_counted = is_counted and not status

    @property
    def is_refused_request(self) -> bool:
        """Whether the provider refused what was asked, not who asked or how often: another request may pass."""
        return self.status in (400, 422) and type(self.error) is ModelError


class Exchange:
    """The time and the retries of one request, and what the tries that failed have used."""

    def __init__(self, name: str, seconds: float | None, retries: int, carrier: Runner = LOOP) -> None:
        self.name, self.seconds, self.carrier = name, seconds, carrier
        self.started = time.perf_counter()
        self.retries = 0  # made so far
        self.lost: list[Reply] = []  # what there was of the answers of tries that failed
        self._retries = retries  # that there may be
        self._failure: CallError | None = None  # why the exchange waits, while it does
        self._known = sys.exception()  # what the caller handles is no failure of this request
        self._handed_on = False  # a piece of the answer is out: it can't be asked for again

    def timeout(self, silence: float) -> httpx2.Timeout:
        """Return the HTTP client's time-outs where `silence` is the longest of the provider's."""
        left = silence if self.seconds is None else self.seconds - (time.perf_counter() - self.started)
        return httpx2.Timeout(silence, connect=min(silence, 15.0), pool=max(0.0, min(silence, left)))

    @contextlib.asynccontextmanager
    async def deadline(self) -> AsyncIterator[None]:
        """Hold everything inside to the deadline."""
        try:
            async with self.carrier.timeout(self.seconds):
                yield
        except TimeoutError:
            raise self._failure or BudgetExceeded(
                f"{self.name} gave no whole answer within the {self.seconds:.3g} s that were left; raise the budget of"
                " seconds"
            ) from None

    async def send(self, receive: Callable[[], AsyncGenerator[T, None]]) -> AsyncGenerator[T, None]:
        """Hand on what one request brings, tried again where that may help; raises ExchangeError."""
        while True:
            try:
                async with contextlib.aclosing(receive()) as items:
                    async for item in items:
                        self._handed_on = True
                        yield item
                return
            except ExchangeError as error:
                wait = self._wait(error)
                if wait is None:
                    raise
                failure = error.error
            self._failure = failure
            _log.info("%s; asking again in %.1f s", failure.message, wait)
            await self.carrier.sleep(wait)
            self._failure = None
            self.retries += 1

    def settled(self, reply: Reply) -> Reply:
        """Return the last try's reply, with what those before it used: they were paid for as well."""
        everything, self.lost = [*self.lost, reply], []
        costs = [one.cost for one in everything]
        return dataclasses.replace(
            reply,
            prompt_tokens=sum(one.prompt_tokens for one in everything),
            completion_tokens=sum(one.completion_tokens for one in everything),
            thinking_tokens=sum(one.thinking_tokens for one in everything),
            cost=None if None in costs else sum(cost for cost in costs if cost is not None),
            is_estimate=any(one.is_estimate for one in everything),
        )

    def _wait(self, error: ExchangeError) -> float | None:
        """Return in how many seconds to try again; None where that can't help, or would be too late."""
        if not error.again or self._handed_on or self.retries >= self._retries:
            return None
        if injected(error, self._known) is not None:  # an SDK took what a signal handler raised for a broken connection
            return None
        left = MOST_WAIT if self.seconds is None else self.seconds - (time.perf_counter() - self.started)
        wait = error.after
        if wait is None:
            wait = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(self.retries, 10) + random.uniform(0, JITTER))  # noqa: S311 (no secret)
        return wait if wait < left else None


class Body:
    """The body of an answer, as it comes in."""

    def __init__(self, response: httpx2.Response, name: str, carrier: Runner, secrets: tuple[str, ...]) -> None:
        self._response, self._name, self._carrier, self._secrets = response, name, carrier, secrets

    @property
    def has_events(self) -> bool:
        """Whether it is server-sent events, by its own account."""
        return "text/event-stream" in self._response.headers.get("content-type", "").lower()

    async def events(self) -> AsyncGenerator[str, None]:
        """Yield the data of each server-sent event as it comes; raises ExchangeError where one is an error."""
        reader = sse.Reader()
        async with contextlib.aclosing(self._chunks()) as chunks:
            async for chunk in chunks:
                for event in reader.feed(chunk):
                    if event.name == b"error":
                        raise of_event(event.data, self._name, self._secrets)
                    yield decoded(event.data, self._name)

    async def check_status(self) -> None:
        """Raise ExchangeError where the status says that the answer is a failure; an SDK has said so before."""
        if self._response.is_success:
            return
        async with contextlib.aclosing(
            bounded(self._carrier.chunks(self._response), self._name, self._carrier)
        ) as chunks:
            said: Any = b"".join([chunk async for chunk in chunks]).decode(errors="replace")
        with contextlib.suppress(ValueError, RecursionError):
            said = json.loads(said)
        raise of_status(self._response.status_code, said, self._response.headers, self._name, self._secrets)

    async def text(self) -> str:
        """Return it whole."""
        async with contextlib.aclosing(self._chunks()) as chunks:
            return decoded(b"".join([chunk async for chunk in chunks]), self._name)

    def _chunks(self) -> AsyncGenerator[bytes, None]:
        coding = self._response.headers.get("content-encoding", "identity").strip().lower()
        if coding != "identity":  # a few bytes might become very many
            raise BadReply(f"{self._name} packed its answer as {coding[:20]!r}, which it was not asked to")
        return bounded(self._carrier.chunks(self._response), self._name, self._carrier)


async def bounded(chunks: AsyncIterable[bytes], name: str, carrier: Runner = LOOP) -> AsyncGenerator[bytes, None]:
    """Hand on a body's bytes while they are not too many; the body has ended when this has."""
    size = 0
    pieces = aiter(chunks)
    try:
        async for chunk in pieces:
            size += len(chunk)
            check_size(size, name)
            yield chunk
    finally:
        await _end(pieces, carrier)


def bounded_blocking(chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Hand on a body's bytes while they are not too many."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        check_size(size, name)
        yield chunk


def check_size(size: int, name: str) -> None:
    """Raise BadReply where a body is too long."""
    if size > MOST_BYTES:
        raise BadReply(f"{name} sent more than {MOST_BYTES:,} bytes; what answers there is no model")


async def _end(chunks: AsyncIterator[bytes], carrier: Runner) -> None:
    """Bring a body to its end: read what is left of it where that is at hand, else break it off.

    What was read to its end leaves a connection that the next request can use. What was not is broken off from inside,
    by a time-out: some generators of the HTTP client do not close those that they read from, and those would be left to
    the garbage collector, which closes them in any order, from any thread.
    """
    known = sys.exception()
    try:
        async with carrier.timeout(REST_S):
            size = 0
            async for chunk in chunks:
                size += len(chunk)
                if size > MOST_BYTES:
                    break
    except Exception as error:  # whatever the rest is, nobody asks for it
        if injected(error, known) is not None:
            raise
    if isinstance(chunks, AsyncGenerator):
        await chunks.aclose()


def decoded(data: bytes, name: str) -> str:
    """Return bytes as text."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadReply(f"{name} sent bytes that are not UTF-8, at {error.start:,}") from None


def parsed(text: str, name: str) -> dict[str, Any]:
    """Return a message of the protocol: one JSON object, in which no key stands twice."""
    if not text.strip():
        raise BadReply(f"{name} sent an empty body")
    try:
        value = json.loads(text, object_pairs_hook=unique_members, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise BadReply(f"{name} sent what is not JSON: {str(error)[:SHOWN]}") from None
    if not isinstance(value, dict):
        raise BadReply(f"{name} sent a JSON {type(value).__name__} where its protocol has an object")
    if "\\ud" in text.lower() and not is_text(json.dumps(value, ensure_ascii=False)):
        raise BadReply(f"{name} sent half of a surrogate pair, which no text has")
    return value


def is_text(text: str) -> bool:
    """Whether a text is Unicode: no half of a surrogate pair is in it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@contextlib.contextmanager
def mapped(sdk: Any, name: str, secrets: tuple[str, ...] = ()) -> Iterator[None]:
    """Turn what an HTTP client, or an SDK around it (None: there is none), raises into ExchangeErrors."""
    try:
        yield
    except (httpx2.RequestError, httpx2.InvalidURL, httpx2.StreamError) as error:
        raise _of_transport(error, name, secrets) from None
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
        return _of_transport(error.__cause__ or httpx2.ReadTimeout(""), name, secrets)
    if isinstance(error, sdk.APIConnectionError):
        return _of_transport(error.__cause__ or error, name, secrets)
    # What it says without asking: no credentials.
    return ExchangeError(ModelError(f"{name} can't be asked: {said_by(str(error), secrets)}"), is_counted=False)


def of_stream(error: Any, name: str, secrets: tuple[str, ...]) -> ExchangeError:
    """Return the failure that a provider reports inside a stream that began well."""
    words = error.get("message", error) if isinstance(error, Mapping) else error
    kinds = " ".join(str(error.get(key)) for key in ("code", "type", "status")) if isinstance(error, Mapping) else ""
    said = said_by(words, secrets)
    if re.search(r"rate.?limit|429", kinds):
        return ExchangeError(RateLimited(f"{name} asks to be called less often: {said}"), again=True)
    if _FILTERED.search(f"{kinds} {said}"):
        return ExchangeError(ContentFiltered(f"{name} withheld the answer: {said}"))
    return ExchangeError(Unavailable(f"{name} failed while it answered: {said}"), again=True)


def of_event(data: bytes, name: str, secrets: tuple[str, ...]) -> ExchangeError:
    """Return the failure that an event of the type `error` reports, whatever its data are."""
    words = data.decode(errors="replace")
    try:
        said = parsed(words, name)
    except BadReply:
        return of_stream(words, name, secrets)
    return of_stream(said.get("error") or said, name, secrets)


def broken_off(name: str) -> ExchangeError:
    """Return the failure of a stream that ended before the answer did."""
    return ExchangeError(Unavailable(f"{name} broke off before the answer ended"), again=True)


def said_by(words: Any, secrets: tuple[str, ...] = ()) -> str:
    """Return a provider's own words as a message may show them: short, on one line, without secrets."""
    whole = words if isinstance(words, str) else json.dumps(words, default=repr)
    text = " ".join(whole[:LOOKED_AT].split())
    if len(whole) > LOOKED_AT:  # the last word may be a part of a secret, which nothing would find
        text = f"{text.rpartition(' ')[0]} …".lstrip()
    return cut_short(hidden(text, secrets), SHOWN)


def of_status(status: int, body: Any, headers: Mapping[str, str], name: str, secrets: tuple[str, ...]) -> ExchangeError:
    """Return the failure that a provider reports by a status; `headers` are looked up in lower case."""
    details = body if isinstance(body, Mapping) else {}
    inner = details.get("error")
    details = inner if isinstance(inner, Mapping) else details
    words = said_by(details.get("message") or body or "", secrets)
    where = f"HTTP {status}" + (f": {words}" if words else "")
    code = f"{details.get('code')} {details.get('type')}"
    hint = f"{code} {details.get('param')} {words}"
    after = _retry_after(headers)
    if status < 400:  # a redirect too: what was asked is sent to nobody else
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


def _of_transport(error: BaseException, name: str, secrets: tuple[str, ...]) -> ExchangeError:
    is_counted = not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)
    if isinstance(error, httpx2.TimeoutException):
        return ExchangeError(TimedOut(f"{name} did not answer in time"), again=True, is_counted=is_counted)
    said = said_by(str(error) or type(error).__name__, secrets)
    if isinstance(error, httpx2.UnsupportedProtocol | httpx2.InvalidURL | httpx2.LocalProtocolError):
        return ExchangeError(ModelError(f"{name} has an address that can't be asked: {said}"), is_counted=False)
    if isinstance(error, httpx2.DecodingError | httpx2.TooManyRedirects):
        return ExchangeError(BadReply(f"{name} did not answer by the protocol: {said}"))
    if not isinstance(error, httpx2.ConnectError):
        return ExchangeError(Unavailable(f"{name} broke off: {said}"), again=True, is_counted=is_counted)
    command = started_by(name)
    advice = f"; start its server with `{command}`, or name where it is in {server_variable(name)}" if command else ""
    return ExchangeError(Unavailable(f"{name} can't be reached: {said}{advice}"), again=True, is_counted=is_counted)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a provider asks to wait; None where it asks nothing that can be read."""
    text = headers.get("retry-after-ms", "")
    if re.fullmatch(r"\d{1,12}(\.\d{1,6})?", text, re.ASCII):
        return float(text) / 1000
    text = headers.get("retry-after", "")
    if re.fullmatch(r"\d{1,9}(\.\d{1,6})?", text, re.ASCII):
        return float(text)
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    return None


class BoundedStream(httpx2.AsyncByteStream):
    """A body that ends with an error where it grows too long: SDKs read the bodies of errors whole."""

    def __init__(self, stream: Any, name: str) -> None:
        self._stream, self._name = stream, name

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Hand on the bytes."""
        async with contextlib.aclosing(bounded(self._stream, self._name)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def aclose(self) -> None:
        """Close the body."""
        await self._stream.aclose()


def http_options(carrier: Runner, name: str, address: Address, key: str | None) -> dict[str, Any]:
    """Return the options of a carrier's HTTP client that bound every body, and tell an address what it may know."""
    login = {} if address.login is None else {"auth": address.login}
    if carrier is THREAD:
        hooks: dict[str, Any] = {"request": [lambda request: address.hide(request.headers, key)]}
        return {"transport": Transport(functools.partial(bounded_blocking, name=name)), "event_hooks": hooks, **login}

    async def hide(request: httpx2.Request) -> None:
        address.hide(request.headers, key)

    async def bound(response: httpx2.Response) -> None:
        response.stream = BoundedStream(response.stream, name)
        if not response.is_success:  # the same as blocking_http.py does
            response.headers.pop("content-encoding", None)

    hooks = {"request": [hide], "response": [bound]}
    # Of a proxy AsyncTransport knows nothing; the client's own transport does, and must use no connection twice.
    over = {"limits": httpx2.Limits(max_keepalive_connections=0)} if is_proxied() else {"transport": AsyncTransport()}
    return {"event_hooks": hooks, **over, **login}


def count(value: Any, otherwise: int) -> int:
    """Return a count that a provider reports, or what to take where it reports none, or one that can't be."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS
    return value if is_count else otherwise

"""Bodies of requests: read within bounds of size and time, and as strictly as JSON allows.

A body that two parsers could read differently is refused, because the sidecar checks what the model's server acts upon.
So these are errors: duplicate keys, a known key in other capitals, bytes that are not UTF-8, NaN and infinities.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from guard.sidecar import large
from guard.sidecar.errors import ApiError, bad
from guard.support import json_reading
from guard.support.first_step import within

if TYPE_CHECKING:
    from guard.sidecar.admission import Share

SOON_SECONDS = 0.5  #: A body that takes longer is a slow one.
MOST_VALUES = 100_000  #: Values of one body, which are some ten megabytes of Python's objects.
WINDOW = 65_536  #: Bytes that are scanned in one call, which holds the GIL.
#: The inside of a string of JSON, or as much of it as one call should look through.
_INSIDE = re.compile(rb'(?:[^"\\]{1,4096}+|\\.){1,16}+', re.DOTALL)
_BEFORE_VALUES = (b",", b"[", b"{")  #: One of these precedes each nested value.

#: Keys that decide what becomes of a request; a lenient parser might read another spelling as one of these.
_DECIDING = frozenset(
    {
        *("model", "messages", "input", "prompt", "stream", "stream_options", "response_format", "text", "tools"),
        *("tool_choice", "n", "stop", "seed", "temperature", "max_tokens", "max_completion_tokens", "instructions"),
    }
)


class Gone(Exception):  # noqa: N818 (no error: the client went away)
    """The client closed the connection before its answer was whole."""


async def read(scope: Any, receive: Callable[[], Awaitable[Any]], share: Share, most: int, seconds: float) -> bytes:
    """Return a request's body. Raises ApiError where it is too long, too slow or compressed, or one of too many.

    The parts of a large one are joined off the event loop.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and int(value) > most:
            raise ApiError(413, f"the body has {int(value):,} bytes; at most {most:,} are read", code="body_too_large")
        if name == b"content-encoding" and value.lower() != b"identity":
            raise ApiError(415, "the body must not be packed", code="unsupported_encoding")
    held: list[bytes | bytearray] = []  # small parts together, for an object takes more than a byte
    whole: bytes | None = None
    with contextlib.suppress(TimeoutError):
        whole = await within(min(SOON_SECONDS, seconds), _rest(receive, held, share, most))
    if whole is None:
        try:
            with share.waiting():
                whole = await within(max(0.0, seconds - SOON_SECONDS), _rest(receive, held, share, most))
        except TimeoutError:
            raise ApiError(408, f"the body was not there within {seconds:g} s", code="body_too_slow") from None
    return whole or await large.done(sum(map(len, held)), _joined, held)


async def _rest(receive: Callable[[], Awaitable[Any]], held: list[bytes | bytearray], share: Share, most: int) -> bytes:
    """Read on to the end of the body, into `held`, which has what came where this is cancelled.

    Returns the body where it came at once, as most do, else nothing.
    """
    size = sum(map(len, held))
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > most:
            raise ApiError(413, f"the body has more than {most:,} bytes", code="body_too_large")
        share.take(len(part))
        is_whole = not message.get("more_body")
        if is_whole and not held:
            return part
        if held and isinstance(held[-1], bytearray) and len(held[-1]) + len(part) <= WINDOW:
            held[-1] += part
        else:
            held.append(part if len(part) > WINDOW // 2 else bytearray(part))
        if is_whole:
            return b""


def _joined(held: list[bytes | bytearray]) -> bytes:
    return b"".join(map(bytes, held))  # without the GIL, which a bytearray would keep


async def aparsed(data: bytes) -> dict[str, Any]:
    """Return what `parsed` returns, without holding up the event loop."""
    return await large.done(json_reading.weight(data), parsed, data)


def parsed(data: bytes) -> dict[str, Any]:
    """Return the JSON object of a body. Raises ApiError, which says what is wrong with it."""
    _check_values(data)
    try:
        body = json_reading.read(data)
    except ValueError as error:
        raise bad(f"the body is not JSON: {str(error)[:200]}", code="invalid_json") from None
    if not isinstance(body, dict):
        raise bad("the body must be a JSON object", code="invalid_json")
    if unknown := body.keys() - _DECIDING:
        for key in unknown:
            if key.lower().strip() in _DECIDING:
                raise bad(f"{key[:60]!r} is not a key of the protocol; write {key.lower().strip()!r}", key[:60])
    return body


def _check_values(data: bytes) -> None:
    """Raise ApiError where a body may hold more than MOST_VALUES values. The body need not be JSON. Linear time."""
    if len(data) <= MOST_VALUES:
        return  # a value has a byte at least
    if sum(_values(data, at, at + WINDOW) for at in range(0, len(data), WINDOW)) <= MOST_VALUES:
        return  # as almost all do, also with those in strings
    at = values = strings = 0
    while at < len(data):
        quote = data.find(b'"', at, at + WINDOW)
        end = quote if quote >= 0 else min(at + WINDOW, len(data))
        values += _values(data, at, end)
        at = end
        if quote >= 0:
            strings += 1
            at = _behind(data, quote)
        if max(values, strings // 2 - 1) > MOST_VALUES:  # a value has a string for its key, and may be one
            raise ApiError(413, f"the body holds more than {MOST_VALUES:,} values", code="body_too_large")


def _values(data: bytes, begin: int, end: int) -> int:
    return sum(data.count(mark, begin, end) for mark in _BEFORE_VALUES)


def _behind(data: bytes, quote: int) -> int:
    """Return the end of the string that begins at a quote: the position behind its closing quote."""
    at = quote + 1
    while (inside := _INSIDE.match(data, at)) is not None:
        at = inside.end()
    return at + 1  # a quote, or the last byte of what is no JSON

"""The middleware around all endpoints: requests are logged and counted, then let in, or refused with the reason.

`Watched` makes the context, turns every exception into an answer of the protocol, and writes the access log and the
metrics. `Gate` refuses requests while the process drains, beyond the number that may run, without a key where one is
needed, beyond the key's limits, and from web pages where no key is needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException

from guard.errors import GuardError
from guard.sidecar import errors, metrics
from guard.sidecar.bodies import Gone
from guard.sidecar.endpoints import message_answers, messages, ui
from guard.sidecar.errors import AGAIN_SECONDS, ApiError, bad
from guard.sidecar.keys import Key
from guard.sidecar.request_context import RequestContext, answer
from guard.support import frames
from guard.trace import TraceError
from guard.trace.records import PURPOSES, Purpose

if TYPE_CHECKING:
    from guard.sidecar.service import Service

#: Paths that anyone may ask for.
OPEN = frozenset({"/health/live", "/health/ready", "/openapi.json", *ui.FILES})
#: Paths of the protocol without the /v1 before them.
SHORT = ("/chat/completions", "/completions", "/embeddings", "/responses", "/models", "/messages")
#: Paths that need an operator's key, where keys are needed.
OPERATORS = ("/guard/", "/metrics")
#: Paths to which a POST asks a model, and counts.
ASKING = ("/v1/", "/guard/playground")
#: Headers that may occur only once.
ONCE = (
    *(b"host", b"authorization", b"x-api-key", b"content-type", b"content-encoding", b"origin", b"x-request-id"),
    *(b"x-guard-stream", b"x-guard-record-for"),
)
RECORD_FOR = b"x-guard-record-for"  #: The header that says what a call's record may be used for.
CLIENT_GONE = 499  #: The status in the access log of a request whose client went away.
# Matched literally: parsers of addresses differ on malformed ones.
_LOCAL_HOST = re.compile(rb"(?i:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?")
_LOCAL_ORIGIN = re.compile(rb"(?i:https?)://(?i:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?")

_log = logging.getLogger("guard.sidecar")


class Watched:
    """Accounts for every request, and turns exceptions into answers."""

    def __init__(self, app: Any, sidecar: Service) -> None:
        self._app, self._sidecar = app, sidecar

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"].startswith(SHORT):  # a client whose base URL lacks /v1
            scope["path"] = f"/v1{scope['path']}"
        headers = dict(scope["headers"])
        context = RequestContext(scope["method"], scope["path"], headers.get(b"x-request-id"))
        scope["context"], scope["fields"] = context, headers
        scope["app"] = self  # so that the router raises an exception for a path that it does not know
        side = self._sidecar
        side.contexts[id(context)] = context
        metrics.IN_FLIGHT.inc()
        try:
            if len(headers) < len(scope["headers"]):
                _check_once(scope["headers"])
            await self._app(scope, receive, send)
        except Gone as gone:
            context.status = CLIENT_GONE
            frames.let_go(gone)  # its context may be a failure that the call was recording
        except asyncio.CancelledError:
            if context.status or not side.is_draining:
                raise
            # The process is ending at once: clients that wait are told so, as far as that still gets out.
            ending = ApiError(503, "this process is about to end", code="draining", retry_after=AGAIN_SECONDS)
            await answer(send, context, ending.status, ending.body, ending.headers)
        except Exception as error:
            if isinstance(error, TraceError):
                side.doubt()
            if context.status:  # the answer has begun and can only be broken off
                _log.exception("%s broke off", context.id)
                raise
            status, body, named = _told(_refusal(error, context), context)
            await answer(send, context, status, body, named)
            frames.let_go(error)
        finally:
            try:
                await side.settle(context)
            except GuardError as error:
                _log.error("what %s has spent is not counted yet: %s", context.id, error)
            del side.contexts[id(context)]
            metrics.IN_FLIGHT.dec()
            metrics.observe(context)
            side.access.write(context)


class Gate:
    """Lets requests in."""

    def __init__(self, app: Any, sidecar: Service) -> None:
        self._app, self._sidecar = app, sidecar

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle a request."""
        if scope["type"] != "http" or scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        _check_spelling(scope)
        side = self._sidecar
        if side.is_draining:
            raise ApiError(503, "this process is about to end", code="draining", retry_after=AGAIN_SECONDS)
        with side.room.under_way(side.settings):
            await self._check(scope["path"], scope["context"], scope["fields"])
        # A request with a body takes its place once the body is there.
        has_body = scope["method"] == "POST"
        with contextlib.nullcontext() if has_body else side.room.under_way(side.settings):
            await self._app(scope, receive, send)

    async def _check(self, path: str, context: RequestContext, headers: Mapping[bytes, bytes]) -> None:
        side = self._sidecar
        if not side.needs_key:
            _check_local(headers, side.settings.origins)
            context.record_for = _purpose(headers, may_train=side.settings.training)
            return
        given = _given_key(headers)
        key = side.keys.find(given) if given else None
        if given and key is None:  # it may have been made a moment ago
            await side.reread_keys()
            key = side.keys.find(given)
        if key is None:
            said = "the API key is not known here, or was revoked" if given else "an API key is needed"
            words = f"{said}: Authorization: Bearer sk-guard-…, or x-api-key: sk-guard-…"
            raise ApiError(401, words, code="invalid_api_key")
        context.key = key
        context.record_for = _purpose(headers, may_train=key.may_train)
        if path.startswith(OPERATORS) and not key.is_operator:
            raise ApiError(403, "only an operator's key may look at this", code="operators_only")
        if path.startswith(ASKING) and key.is_limited and context.method == "POST":
            await self._count(key, context)

    async def _count(self, key: Key, context: RequestContext) -> None:
        side = self._sidecar
        if side.ledger.take(key):
            return
        began = time.perf_counter()
        excess = await side.book(side.ledger.admit, key, seconds=side.least_seconds)
        context.waited = time.perf_counter() - began
        if excess is None:
            return
        if excess.is_budget:
            words = f"the key's budget of {excess.what} is spent"
            raise ApiError(429, words, code="insufficient_quota", retry_after=excess.seconds, is_final=True)
        words = f"the key may not ask more often than {excess.what}"
        raise ApiError(429, words, code="rate_limit_exceeded", retry_after=excess.seconds)


def _purpose(headers: Mapping[bytes, bytes], *, may_train: bool) -> Purpose:
    """Return what a request's record may be used for: what is allowed, and no more than its header says."""
    given = headers.get(RECORD_FOR)
    if given is None:
        return "training" if may_train else "operation"
    asked = given.decode("latin-1").strip().lower()
    for purpose in PURPOSES:
        if asked == purpose == "training" and not may_train:
            words = "nobody has allowed to train on these calls: guard keys create NAME --training, or training = true"
            raise ApiError(403, words, code="training_not_allowed", param=RECORD_FOR.decode())
        if asked == purpose:
            return purpose
    raise bad(f"x-guard-record-for: {asked[:40]!r} must be {' or '.join(PURPOSES)}", RECORD_FOR.decode())


def _given_key(headers: Mapping[bytes, bytes]) -> str:
    """Return the key that a request brings, in either protocol's header. Raises ApiError where it brings two."""
    scheme, _, text = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    bearer = text.strip() if scheme.lower() == "bearer" else ""
    named = headers.get(b"x-api-key", b"").decode("latin-1").strip()
    if bearer and named and bearer != named:
        raise ApiError(400, "Authorization and x-api-key bring two different keys", code="ambiguous_header")
    return bearer or named


def _told(refusal: ApiError, context: RequestContext) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    """Return status, body and headers that tell of a refusal."""
    if not context.path.startswith(messages.PATH):
        return refusal.status, refusal.body, [*refusal.headers]
    told = message_answers.error_body(refusal, context)
    return refusal.status, told, [*refusal.headers, *message_answers.request_id(context)]


def _refusal(error: Exception, context: RequestContext) -> ApiError:
    if isinstance(error, ApiError):
        return error
    if isinstance(error, GuardError):
        return errors.of(error)
    if isinstance(error, HTTPException):  # of the router
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
        allow = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
        words = f"{context.method} {context.path[:200]}: {error.detail}"
        return ApiError(error.status_code, f"{words}; it takes {allow}" if allow else words, code=code, allow=allow)
    _log.error("%s failed", context.id, exc_info=error)
    return ApiError(500, f"the sidecar failed; its log has the cause under {context.id}", code="internal_error")


def _check_spelling(scope: Any) -> None:
    """Raise HTTPException for an operator's path with escapes in its beginning, which a proxy compares literally."""
    begin = next((each for each in OPERATORS if scope["path"].startswith(each)), "")
    if begin.encode() not in (scope.get("raw_path") or begin.encode()):  # which may have a mount's path before it
        raise HTTPException(404, "there is nothing here")


def _check_once(headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Raise ApiError for a repeated header that decides something: two servers could each take another one."""
    names = [name for name, _ in headers]
    for name in ONCE:
        if names.count(name) > 1:
            raise ApiError(400, f"the header {name.decode()} is there twice", code="ambiguous_header")


def _check_local(headers: Mapping[bytes, bytes], origins: Sequence[str]) -> None:
    """Raise ApiError for a request that a web page may have made a browser send: no key would stop it."""
    if _LOCAL_HOST.fullmatch(headers.get(b"host", b"localhost")) is None:
        raise ApiError(403, "without keys only loopback names are answered", code="host_not_allowed")
    origin = headers.get(b"origin")
    if origin is not None and origin.decode("latin-1") not in origins and not _LOCAL_ORIGIN.fullmatch(origin):
        raise ApiError(403, "without keys no web page of elsewhere may ask", code="origin_not_allowed")

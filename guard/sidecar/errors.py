"""Errors as OpenAI's protocol has them: a status, and `{"error": {message, type, param, code}}`.

A call without a valid value is a 422, which SDKs do not retry: the sidecar has asked as often as it was told to.
Failures of the models behind are 429, 502 or 504. Two members go beyond the protocol: `findings`, where an answer was
not valid, and `call`, the number of the record in the trace.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from typing import Any

from guard import errors
from guard.errors import CallError, GuardError, SchemaError
from guard.models.remote.errors import ExchangeError
from guard.sidecar.headers import JSON, Header
from guard.trace import TraceError

#: The status and the code of an error, by its kind; the first that fits.
_STATUS: Sequence[tuple[type[GuardError], int, str]] = (
    (errors.RateLimited, 429, "rate_limited"),
    (errors.TimedOut, 504, "timeout"),
    (errors.BadReply, 502, "bad_reply"),
    (errors.Unavailable, 502, "unavailable"),
    (errors.Unsupported, 400, "unsupported_value"),
    (errors.ModelError, 502, "model_error"),
    (errors.BudgetExceeded, 504, "timeout"),  # the only budget that the sidecar gives is one of seconds
    (errors.Truncated, 422, "truncated"),
    (errors.ContentFiltered, 422, "content_filter"),
    (errors.Refused, 422, "refusal"),
    (errors.ValidationFailed, 422, "validation_failed"),
    (errors.Unchecked, 422, "unchecked"),
    (TraceError, 503, "trace_unavailable"),
    (SchemaError, 400, "invalid_schema"),
)
AGAIN_SECONDS = 1.0  #: The Retry-After of a 503.
MOST_AGAIN_S = 3_600.0  #: The longest one that is passed on from a provider, since clients may obey it.
_log = logging.getLogger("guard.sidecar")
#: Statuses of a model's server that are the client's fault, and are passed on.
PASSED = (400, 404, 413, 422)
#: The protocol's `type` of an error, by status.
_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """An error that answers a request."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        param: str | None = None,
        retry_after: float | None = None,
        is_final: bool = False,
        ends_connection: bool = False,
        allow: str = "",
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.retry_after = retry_after  # seconds
        self.is_final = is_final  # SDKs are told not to ask again by themselves
        # The rest of the body is not read.
        self.ends_connection = ends_connection or status in (408, 413)
        self.allow = allow  # the methods that the path takes, of a 405
        self.more = more

    @property
    def object(self) -> dict[str, Any]:
        """The error as JSON has it."""
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "api_error")
        return {"message": self.message, "type": kind, "param": self.param, "code": self.code, **self.more}

    @property
    def body(self) -> bytes:
        """The answer's body."""
        return json.dumps({"error": self.object}, ensure_ascii=True).encode()

    @property
    def headers(self) -> list[Header]:
        """The headers that the answer has for this error."""
        named = [JSON]
        if self.retry_after is not None:
            named.append((b"retry-after", b"%d" % max(1, math.ceil(self.retry_after))))
        if self.is_final:
            named.append((b"x-should-retry", b"false"))
        if self.allow:
            named.append((b"allow", self.allow.encode()))
        if self.ends_connection:
            named.append((b"connection", b"close"))
        return named


def bad(message: str, param: str | None = None, code: str = "invalid_value") -> ApiError:
    """Return the error for a wrong request: a 400 that names the field `param`."""
    return ApiError(400, message, code=code, param=param)


def of(error: GuardError) -> ApiError:
    """Return an error of Guard's as the protocol has it. Of the trace, what a client need not know is in the log."""
    words = str(error)
    if isinstance(error, TraceError) and error.outline != words:
        _log.error("%s", words)
        words = error.outline
    status, code = next(((s, c) for kind, s, c in _STATUS if isinstance(error, kind)), (500, "internal_error"))
    more: dict[str, Any] = {}
    param = None
    cause = error.__cause__
    if isinstance(cause, ExchangeError) and cause.status in PASSED:
        status, code, param = cause.status, cause.code or "refused_upstream", cause.param or None
    if isinstance(error, CallError):
        if error.findings:
            more["findings"] = [vars(finding) for finding in error.findings]
        if error.call is not None:
            more["call"] = error.call
    retry_after = AGAIN_SECONDS if status == 503 else getattr(error, "retry_after", None) if status == 429 else None
    if retry_after is not None:
        retry_after = min(retry_after, MOST_AGAIN_S)
    return ApiError(
        status,
        words,
        code=code,
        param=param,
        retry_after=retry_after,
        is_final=status >= 422 and status != 503,
        **more,
    )

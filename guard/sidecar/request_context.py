"""The state of one request: what it asked for, and the figures for its headers, the access log and the metrics."""

from __future__ import annotations

import math
import random
import re
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from guard.calls.steps import RECORDING_S
from guard.models.base import added
from guard.sidecar.headers import JSON, Header
from guard.trace.waits import WAIT_S

if TYPE_CHECKING:
    from guard.sidecar.admission import Share
    from guard.sidecar.keys import Key
    from guard.trace.records import Call, Purpose

LEAST_S = 0.1  #: Least wait for the trace, whatever time is left.
LEAST_LEFT_S = 0.001  #: Budget of a request whose time is over; budgets must be above 0.
MOST_NAME = 200  #: Characters of a model's name in a header.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class RequestContext:
    """The state of one request. Belongs to one task."""

    __slots__ = (
        "_named",
        "attempts",
        "began",
        "cache_creation_tokens",
        "cached_tokens",
        "call",
        "came",
        "completion_tokens",
        "cost",
        "ends",
        "escalations",
        "first",
        "first_valid",
        "guarantee",
        "id",
        "is_answered",
        "is_settled",
        "key",
        "mask_seconds",
        "method",
        "model",
        "models_at_work",
        "outcome",
        "owed",
        "path",
        "price",
        "prompt",
        "prompt_tokens",
        "re_asks",
        "record_for",
        "repairs",
        "sent",
        "served",
        "share",
        "size",
        "started",
        "status",
        "thinking_tokens",
        "tier",
        "waited",
    )  # fmt: skip

    def __init__(self, method: str, path: str, given_id: bytes | None) -> None:
        self.started, self.began = time.perf_counter(), time.time()
        is_sound = given_id is not None and _REQUEST_ID.fullmatch(given_id) is not None
        self.id: str = given_id.decode() if is_sound and given_id else _new_id()
        self.method, self.path = method, path
        self.key: Key | None = None
        self.record_for: Purpose = "operation"  # what its record may be used for
        self.model = ""  # as asked for, once it is known to be served
        self.served = ""  # who answered, by its own name
        self.first = ""  # who is asked first, by its own name; of a live stream
        self._named = ""
        self.tier = 0
        self.attempts = 0
        self.re_asks = 0
        self.escalations = 0
        self.first_valid = False
        self.repairs = 0
        self.cost: float | None = 0.0  # US dollars; None: not known
        self.owed = 0.0  # US dollars that are charged to the key: `cost`, and estimates of what is not known
        self.price: Callable[[int, int], float] | None = None  # such an estimate; None: none is needed
        self.prompt_tokens = self.completion_tokens = 0
        self.thinking_tokens = 0  # of `completion_tokens`
        self.cached_tokens: int | None = None  # tokens of the prompt that providers had cached; None: not told
        self.cache_creation_tokens: int | None = None  # tokens that they put into their caches; None: not told
        self.models_at_work: list[tuple[float, float]] = []  # (begin, end) of each wait; they may overlap
        self.mask_seconds = 0.0
        self.call: int | None = None  # the number of the record
        self.outcome = ""  # "valid", or an error's name; "" where no model was asked
        self.guarantee = ""  # of a stream: "live" or "buffered"
        self.status = 0
        self.size = 0  # bytes of the request's body
        self.share: Share | None = None  # its share of the bytes for bodies
        self.sent = 0  # bytes of the answer's body
        self.is_answered = False  # whether the end of the answer was handed to the connection
        self.is_settled = False  # whether its use was charged to its key
        self.prompt: Any = None  # kept only where the access log may hold it
        self.waited = 0.0  # seconds that it waited for the trace before its model was known
        self.came = self.started  # when its body had arrived
        self.ends: float | None = None  # when its time is over, once a model is known

    @property
    def sender(self) -> str:
        """The sender, once the body has arrived: the key, or the address."""
        return self.share.who if self.share is not None else ""

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.perf_counter() - self.started

    def begin(self, total: float) -> float:
        """Start the time limit of the request's model; return how many seconds of it are left.

        The limit runs from the arrival of the body, since a slow client is not the sidecar's fault, and includes waits
        for the trace.
        """
        self.ends = self.came + total - self.waited
        return max(LEAST_LEFT_S, self.ends - time.perf_counter())

    @property
    def patience(self) -> float:
        """Seconds for which the trace may still be waited for."""
        if self.ends is None:
            return WAIT_S
        return min(WAIT_S, max(LEAST_S, self.ends + RECORDING_S - time.perf_counter()))

    @property
    def model_seconds(self) -> float:
        """Seconds in which at least one model was at work. Overlapping waits of parallel choices count once."""
        if len(self.models_at_work) == 1:  # as mostly, and asked several times a request
            start, end = self.models_at_work[0]
            return max(0.0, end - start)
        total, until = 0.0, -math.inf
        for start, end in sorted(self.models_at_work):
            total += max(0.0, end - max(start, until))
            until = max(until, end)
        return total

    @property
    def overhead(self) -> float:
        """Seconds so far in which no model was at work."""
        return max(0.0, self.seconds - self.model_seconds)

    def take(self, call: Call) -> None:
        """Take the figures of a record."""
        self.call, self.outcome = call.number, call.outcome
        self.served, self.tier = call.served, call.tier
        attempts, escalations = len(call.attempts), len(call.escalations)
        self.attempts += attempts
        self.escalations += escalations
        self.re_asks += max(0, attempts - 1 - escalations)
        self.first_valid = bool(call.attempts) and call.attempts[0].reason == ""
        for attempt in call.attempts:
            self.repairs += len(attempt.repairs)
            self.models_at_work.append((attempt.started, attempt.started + attempt.seconds))
        for reply in call.spent:
            self.cost = None if self.cost is None or reply.cost is None else self.cost + reply.cost
            cost = reply.cost
            if cost is None and self.price is not None:
                cost = self.price(reply.prompt_tokens, reply.completion_tokens)
            self.owed += cost or 0.0
            self.prompt_tokens += reply.prompt_tokens
            self.completion_tokens += reply.completion_tokens
            self.thinking_tokens += reply.thinking_tokens
            self.mask_seconds += reply.mask_seconds
            self.cached_tokens = added((self.cached_tokens, reply.cached_tokens))
            self.cache_creation_tokens = added((self.cache_creation_tokens, reply.cache_creation_tokens))

    @property
    def answering(self) -> str:
        """The name of the model in an answer: of who answers, as far as that is known, and in all of a stream one."""
        if not self._named:
            self._named = self.served or self.first or self.model
        return self._named

    def headers(self) -> list[Header]:
        """Return the `x-guard-*` headers, as far as their values are known now."""
        named: list[Header] = [(b"x-request-id", self.id.encode())]
        if self.guarantee:
            named.append((b"x-guard-stream", self.guarantee.encode()))
        if self.model:
            named += [
                (b"x-guard-model", _sound(self.served or self.first or self.model)),
                (b"x-guard-tier", b"%d" % self.tier),
            ]
        if self.attempts:  # else nothing is known yet: a stream that begins live
            cost = "unknown" if self.cost is None else f"{self.cost:.8f}".rstrip("0").rstrip(".")
            named += [
                (b"x-guard-attempts", b"%d" % self.attempts),
                (b"x-guard-repairs", b"%d" % self.repairs),
                (b"x-guard-cost", cost.encode()),
                (b"x-guard-overhead-ms", b"%.3f" % (self.overhead * 1000)),
            ]
        if self.call is not None:
            named.append((b"x-guard-call", b"%d" % self.call))
        return named


def _new_id() -> str:
    """Return an id that no other request has; it is no secret, so that the system's randomness is not asked."""
    return f"req-{random.getrandbits(96):024x}"


async def answer(
    send: Any, context: RequestContext, status: int, body: bytes, headers: Iterable[Header] = (JSON,)
) -> None:
    """Send a whole answer."""
    context.status, context.sent = status, len(body)
    head = [*headers, (b"content-length", b"%d" % len(body)), *context.headers()]
    await send({"type": "http.response.start", "status": status, "headers": head})
    context.is_answered = True
    # As a whole, for that waits for no client: who reads slowly keeps no place of a request under way.
    await send({"type": "http.response.body", "body": body})


def _sound(name: str) -> bytes:
    """Return a provider's name for its model in characters that a header may have."""
    if len(name) <= MOST_NAME and name.isascii() and name.isprintable() and " " not in name:
        return name.encode()  # as most are
    return re.sub(r"[^\x21-\x7e]", "_", name)[:MOST_NAME].encode()

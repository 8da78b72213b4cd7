"""Circuit breaker: a model that fails again and again is left alone for a while, then tried with one request.

Some failures come from what is asked: a provider fails at a poisonous request, an answer is larger than may be. So what
one client meets opens the breaker for that client alone. It opens for all where failures in a row come from several, of
which one counts for half of them at most.
"""

from __future__ import annotations

import time
from contextvars import ContextVar

from guard.errors import Unavailable

CLOSED, OPEN, TRYING = "closed", "open", "trying"
#: Who sends the request that is handled in this context, as `admission.sender` tells clients apart.
SENDER: ContextVar[str] = ContextVar("SENDER", default="")


class _Circuit:
    """Failures in a row, and what they have led to."""

    def __init__(self) -> None:
        self.failures = 0
        self.state = CLOSED
        self._opened = 0.0

    def check(self, name: str, seconds: float) -> None:
        if self.state == CLOSED:
            return
        left = self._opened + seconds - time.monotonic()
        if left > 0:  # while TRYING too: a request that tries has this long
            raise Unavailable(f"{name} has failed {self.failures} times in a row; it is tried in {left:.0f} s")
        self.state, self._opened = TRYING, time.monotonic()

    def open(self) -> None:
        self.state, self._opened = OPEN, time.monotonic()


class Breaker:
    """A circuit breaker that opens after some failures in a row. Belongs to one event loop."""

    def __init__(self, name: str, failures: int, seconds: float) -> None:
        self._name, self._most, self._seconds = name, failures, seconds
        self._all = _Circuit()
        self._of: dict[str, _Circuit] = {}  # by client; fewer than `failures` before it opens for all
        self._counted = 0  # failures, of each client as many as count for all
        self._is_warned = False
        self.last_opened = 0.0  # seconds since the epoch; 0.0: never

    @property
    def state(self) -> str:
        """Whether it is open, for all or for some client."""
        return next((c.state for c in (self._all, *self._of.values()) if c.state != CLOSED), CLOSED)

    def check(self) -> None:
        """Let a request through. Raises Unavailable while the breaker is open, or while another request probes."""
        if not self._of:
            return
        mine = self._all if self._all.state != CLOSED else self._of.get(SENDER.get())
        if mine is not None:
            mine.check(self._name, self._seconds)

    def succeeded(self) -> None:
        """Record a success, which closes the breaker."""
        if self._of or self._is_warned:
            self._of.clear()
            self._all, self._counted, self._is_warned = _Circuit(), 0, False

    def failed(self) -> None:
        """Record a failure, which may open the breaker."""
        mine = self._of.setdefault(SENDER.get(), _Circuit())
        before, each = mine.failures, max(1, self._most // 2)
        mine.failures = max(before + 1, self._most if self._is_warned else 0)
        is_open = mine.failures >= self._most
        if is_open:
            mine.open()
        self._all.failures += 1
        self._counted += min(mine.failures, each) - min(before, each)
        if self._all.state == TRYING or (self._counted >= self._most and len(self._of) > 1):
            self._all.open()
            is_open = True
        if is_open:
            self.last_opened = time.time()

    def hear(self) -> None:
        """Take the hint that the model fails elsewhere: a client's next failure opens the breaker for it."""
        self._is_warned = True

"""Circuit breaker: a model that fails again and again is left alone for a while, then tried with one request."""

from __future__ import annotations

import time

from guard.errors import Unavailable

CLOSED, OPEN, TRYING = "closed", "open", "trying"


class Breaker:
    """A circuit breaker that opens after some failures in a row. Belongs to one event loop."""

    def __init__(self, name: str, failures: int, seconds: float) -> None:
        self._name, self._most, self._seconds = name, failures, seconds
        self._failures = 0
        self._opened = 0.0
        self.last_opened = 0.0  # seconds since the epoch; 0.0: never
        self.state = CLOSED

    def check(self) -> None:
        """Let a request through. Raises Unavailable while the breaker is open, or while another request probes."""
        if self.state == CLOSED:
            return
        left = self._opened + self._seconds - time.monotonic()
        if left > 0:  # while TRYING too: a request that tries has this long
            raise Unavailable(f"{self._name} has failed {self._failures} times in a row; it is tried in {left:.0f} s")
        self.state, self._opened = TRYING, time.monotonic()

    def succeeded(self) -> None:
        """Record a success, which closes the breaker."""
        if self._failures:
            self._failures, self.state = 0, CLOSED

    def failed(self) -> None:
        """Record a failure, which may open the breaker."""
        self._failures += 1
        if self.state == TRYING or self._failures >= self._most:
            self.state, self._opened, self.last_opened = OPEN, time.monotonic(), time.time()

    def hear(self) -> None:
        """Take the hint that the model fails elsewhere: the next failure opens a breaker that is closed."""
        if self.state == CLOSED:
            self._failures = max(self._failures, self._most - 1)

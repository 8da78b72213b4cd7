"""What Guard counts inside of an engine, as Prometheus counters of the process that does the work.

An engine's front end checks requests, and its core fills masks. Where these are two processes, the `/metrics` of the
front end shows the core's counters if `PROMETHEUS_MULTIPROC_DIR` names a folder in which both write.
"""

from __future__ import annotations

from prometheus_client import Counter

STEPS = Counter("guard_mask_steps", "Calls of the engine for masks: one a step, or one a row")
ROWS = Counter("guard_mask_rows", "Rows of masks that Guard filled")
SECONDS = Counter("guard_mask_seconds", "Seconds that Guard took to fill masks")
REQUESTS = Counter(
    "guard_structured_requests",
    "Requests with structured outputs, by constraint and outcome: taken, refused",
    ["constraint", "outcome"],
)


def count_request(constraint: str | None, *, is_taken: bool) -> None:
    """Count a request that Guard took or refused; without a known constraint, as `unknown`."""
    REQUESTS.labels(constraint or "unknown", "taken" if is_taken else "refused").inc()


class StepCount:
    """Counts steps for which masks were filled; belongs to one thread.

    A counter of Prometheus takes as long as the mask of a row, so the figures are handed over at most once in
    EVERY_SECONDS, by a step. What the last steps before a pause did is handed over by the next one.
    """

    EVERY_SECONDS = 0.25

    def __init__(self) -> None:
        self._steps, self._rows, self._seconds, self._due = 0, 0, 0.0, 0.0

    def add(self, rows: int, start: float, end: float) -> None:
        """Count a step of so many rows, from `start` to `end` of time.perf_counter(). O(1)."""
        self._steps += 1
        self._rows += rows
        self._seconds += end - start
        if end >= self._due:
            self._due = end + self.EVERY_SECONDS
            STEPS.inc(self._steps)
            ROWS.inc(self._rows)
            SECONDS.inc(self._seconds)
            self._steps, self._rows, self._seconds = 0, 0, 0.0

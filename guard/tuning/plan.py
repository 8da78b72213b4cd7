"""The plan of a training run: its parts, how many steps each has, and how far it is.

A run is one part, or, with several *branches*, a trunk and that many second halves, which all begin where the trunk
ended. A place on the way from the first step to the last of one branch is a number from 0 to 1; the learning rate
depends on it. Parts end after their steps, or when their share of the time is used.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """A part of a run: all of it, or the trunk, or a branch."""

    begin: float  # places on the way
    end: float
    branch: int  # counted from 0; the trunk is of the first
    steps: int  # at most


@dataclass
class Position:
    """Where a run is: steps and seconds of all its parts so far, and those at which its part began."""

    part: int = 0
    step: int = 0
    seconds: float = 0.0
    first: int = 0
    began: float = 0.0


class Plan:
    """The parts of a run of so many steps at most, all branches counted, and of so many seconds, if they count."""

    def __init__(self, steps: int, branches: int, seconds: float | None) -> None:
        ways = [(0.0, 1.0, 0)] if branches == 1 else [(0.0, 0.5, 0), *((0.5, 1.0, n) for n in range(branches))]
        total = sum(end - begin for begin, end, _ in ways)
        self.parts: list[Part] = []
        done, planned = 0.0, 0
        for begin, end, branch in ways:
            done += end - begin
            until = int(steps * done / total + 1e-9)
            self.parts.append(Part(begin, end, branch, until - planned))
            planned = until
        self._seconds = seconds

    def share(self, at: Position) -> float:
        """Return the finished share of a part, from 0 on; it has ended at 1."""
        part = self.parts[at.part]
        share = (at.step - at.first) / part.steps if part.steps else 1.0
        if self._seconds is None:
            return share
        left = sum(map(_length, self.parts[at.part :]))
        seconds = (self._seconds - at.began) * _length(part) / left
        return max(share, (at.seconds - at.began) / seconds if seconds > 0 else 1.0)

    def place(self, at: Position) -> float:
        """Return the place on the way, from 0 to 1."""
        part = self.parts[at.part]
        return part.begin + min(1.0, self.share(at)) * _length(part)

    def progress(self, at: Position) -> float:
        """Return the finished share of the whole run, 0 to 1."""
        if at.part == len(self.parts):
            return 1.0
        done = sum(map(_length, self.parts[: at.part])) + min(1.0, self.share(at)) * _length(self.parts[at.part])
        return done / sum(map(_length, self.parts))


def _length(part: Part) -> float:
    return part.end - part.begin

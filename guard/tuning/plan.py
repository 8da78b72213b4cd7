"""The plan of a training run: its parts, how many steps each has, and how far it is.

A run is one part, or, with several *branches*, a trunk and that many second halves, which all begin where the trunk
ended. A place on the way from the first step to the last of one branch is a number from 0 to 1; the learning rate
depends on it.

Where time counts, the trunk and the first branch may use all of it. Another branch is begun only where the time that is
left suffices for as long as the branch before took, and given up where it does not suffice after all.
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

    @property
    def length(self) -> float:
        """Its share of the way."""
        return self.end - self.begin


@dataclass
class Position:
    """Where a run is: steps and seconds of all its parts so far, and those at which its part began."""

    part: int = 0
    step: int = 0
    seconds: float = 0.0
    first: int = 0
    began: float = 0.0
    took: float = 0.0  # seconds of the part before

    def go_on(self) -> None:
        """Go to the next part."""
        self.part, self.first, self.took, self.began = self.part + 1, self.step, self.seconds - self.began, self.seconds


class TrainingPlan:
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

    def may_begin(self, at: Position) -> bool:
        """Answer whether there is a part to begin, and time for it."""
        if at.part == len(self.parts):
            return False
        return not self.parts[at.part].branch or self._seconds is None or at.seconds + at.took <= self._seconds

    def is_late(self, at: Position) -> bool:
        """Answer whether a further branch has used up the time."""
        return self._seconds is not None and self.parts[at.part].branch > 0 and at.seconds > self._seconds

    def share(self, at: Position) -> float:
        """Return the finished share of a part, from 0 on; it has ended at 1."""
        part = self.parts[at.part]
        share = (at.step - at.first) / part.steps if part.steps else 1.0
        if self._seconds is None or part.branch:
            return share
        seconds = (self._seconds - at.began) * part.length / (1 - part.begin)
        return max(share, (at.seconds - at.began) / seconds if seconds > 0 else 1.0)

    def place(self, at: Position) -> float:
        """Return the place on the way, from 0 to 1."""
        part = self.parts[at.part]
        return part.begin + min(1.0, self.share(at)) * part.length

    def progress(self, at: Position) -> float:
        """Return the finished share of the whole run, 0 to 1, as if there were time for all branches."""
        done = sum(part.length for part in self.parts[: at.part])
        if at.part < len(self.parts):
            done += min(1.0, self.share(at)) * self.parts[at.part].length
        used = min(1.0, at.seconds / self._seconds) if self._seconds else 0.0
        return max(used, done / sum(part.length for part in self.parts))

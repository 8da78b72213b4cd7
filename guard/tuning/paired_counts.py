"""Two models on the same questions: how certain is it that the new one is not worse by more than a margin?

The test is exact and unconditional. Results are ordered by Tango's score statistic (Statistics in Medicine 17, 1998,
pages 891 to 908). The new model is not worse where, if it were worse by the margin, a result so good or better would
have a probability of at most ERROR, however often the models differ (Hsueh, Liu and Chen, Biometrics 57, 2001, pages
478 to 483). So few questions pass no model because none of them happened to be answered differently.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ERROR = 0.025  #: The largest share of models that pass although they are worse by more than the margin.
NORMAL = 1.959964  #: The normal quantile of ERROR.
PRECISE = 1e-4  #: Of an interval's ends.
SPREAD = 6.0  #: Standard deviations around the expected counts; what is beyond adds less than 1e-7.

_Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PairedCounts:
    """How often each of two models is right on the same questions."""

    questions: int
    old: int
    new: int
    only_old: int  # questions that only the old one answered right
    only_new: int

    @property
    def difference(self) -> float:
        """The new model's share of right answers minus the old one's."""
        return (self.new - self.old) / max(1, self.questions)

    @property
    def p_value(self) -> float:
        """McNemar's exact two-sided test: the probability of a split at least as uneven between equal models."""
        apart = self.only_old + self.only_new
        tail = sum(math.comb(apart, k) for k in range(min(self.only_old, self.only_new) + 1))
        return float(min(1.0, 2 * tail / 2**apart))

    def is_not_worse(self, margin: float) -> bool:
        """Whether the new model is certainly worse by no more than a margin. Time: O(questions ** 1.5)."""
        return margin >= 1 or _chance(self.only_old, self.only_new, self.questions, margin) <= ERROR

    def interval(self) -> tuple[float, float]:
        """Return the 95% interval of the difference, by the same test: each end is wrong with at most ERROR."""
        lost = _most_lost(self.only_old, self.only_new, self.questions)
        return -lost, _most_lost(self.only_new, self.only_old, self.questions)

    def needed(self, margin: float) -> int | None:
        """Return about how many questions would show that the new model is not worse, with the same shares.

        None where no number would: by these shares it is worse by the margin.
        """
        z = float(_scores(self.only_old, self.only_new, self.questions, margin))
        return math.ceil(self.questions * (NORMAL / z) ** 2) if z < -1e-9 else None


def compare(old: Sequence[bool], new: Sequence[bool]) -> PairedCounts:
    """Count the answers of two models to the same questions."""
    pairs = Counter(zip(old, new, strict=True))
    return PairedCounts(len(old), sum(old), sum(new), pairs[True, False], pairs[False, True])


def _scores(lost: npt.ArrayLike, won: npt.ArrayLike, count: int, margin: float) -> _Numbers:
    """Return Tango's statistic; the lower, the less likely is a loss of the margin."""
    lost, won = np.asarray(lost, float), np.asarray(won, float)
    half = (2 * count - lost + won) * margin - lost - won
    share = (np.sqrt(np.maximum(0, half * half + 8 * count * won * margin * (1 - margin))) - half) / (4 * count)
    variance = count * (2 * share + margin * (1 - margin))
    found: _Numbers = (lost - won - count * margin) / np.sqrt(np.where(variance > 1e-12, variance, np.inf))
    return found


def _chance(lost: int, won: int, count: int, margin: float) -> float:
    """Return the largest probability of a result at least as good, where the loss is the margin."""
    wins = np.arange(count + 1)
    most = _most_losses(float(_scores(lost, won, count, margin)), wins, count, margin)
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])
    least, greatest = max(0.0, -margin), (1 - margin) / 2
    steps = np.sin(np.linspace(0, math.pi / 2, max(32, 2 * math.isqrt(count)))) ** 2
    return max(_probability(most, factorials, share + margin, share) for share in least + (greatest - least) * steps)


def _most_losses(score: float, wins: npt.NDArray[np.int_], count: int, margin: float) -> npt.NDArray[np.int_]:
    """Return for each number of wins the most losses that are no worse than a score; -1 where none are."""
    low, high = np.full(count + 1, -1), count - wins
    while (low < high).any():
        middle = (low + high + 1) // 2
        is_as_good = _scores(middle, wins, count, margin) <= score + 1e-9
        low, high = np.where(is_as_good, middle, low), np.where(is_as_good, high, middle - 1)
    return low


def _probability(most: npt.NDArray[np.int_], factorials: _Numbers, lost: float, won: float) -> float:
    """Return the probability of at most so many losses for the number of wins: of a trinomial distribution."""
    count = len(most) - 1
    losses, wins = _likely(count, lost)[:, None], _likely(count, won)[None, :]
    same = count - losses - wins
    is_in = (same >= 0) & (losses <= most[wins])
    same = np.maximum(same, 0)
    shares = (max(1e-300, share) for share in (lost, won, 1 - lost - won))
    logs = factorials[count] + sum(
        times * math.log(share) - factorials[times] for times, share in zip((losses, wins, same), shares, strict=True)
    )
    return float(np.exp(logs[is_in]).sum())


def _likely(count: int, share: float) -> npt.NDArray[np.int_]:
    """Return the counts within SPREAD of what is expected."""
    room = SPREAD * math.sqrt(count * max(0.0, share * (1 - share))) + SPREAD**2 / 3
    return np.arange(max(0, math.floor(count * share - room)), min(count, math.ceil(count * share + room)) + 1)


def _most_lost(lost: int, won: int, count: int) -> float:
    """Return the largest loss, as a share of the questions, that the counts do not rule out."""
    low, high = (lost - won) / count, 1.0
    while high - low > PRECISE:
        middle = (low + high) / 2
        low, high = (middle, high) if _chance(lost, won, count, middle) > ERROR else (low, middle)
    return high

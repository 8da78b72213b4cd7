"""Checks texts: by Pydantic or by a judge, in this process or in one that can be killed.

A stranger's schema and text may make a check expensive, so its cost is estimated beforehand (schemas/costs.py). Below
a bound, which covers nearly all real schemas, the check runs **near**: immediately, in this process. Above it, the
check runs **far**: in a worker with limited seconds and memory (guard/output/worker_pool.py). Where even that may not
suffice, the mask engine looks first, and only texts that it accepts reach the judge. If a worker can't tell whether a
text is valid, the result is `Unchecked`, never a value.
"""

from __future__ import annotations

import pickle
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guard.errors import Finding, SchemaError, Unchecked, Violation
from guard.kernels.cached import cached_property
from guard.output import worker_pool
from guard.output.judge import NOT_JSON, Judge, JudgedSchema, NoJudgeError, read, too_deep
from guard.output.repair import Edit, repair
from guard.output.worker import allowance

if TYPE_CHECKING:
    from collections.abc import Callable

    from guard.schemas.costs import Costs

    #: From a text to its value or findings; None where the check must run far.
    Found = Callable[[str], tuple[Any, tuple[Violation, ...]] | None]

NEAR_TEXT = 65_536  #: Longest text that is checked near, in characters.
NEAR_REPAIR = 4_096  #: Longest text that is repaired near.
NEAR_STEPS = 500_000  #: Most steps of a near check: up to 10 ms.
QUICK_STEPS = 100_000  #: Most steps of a check on an event loop: up to 2 ms.
#: Most steps of a check whose findings are listed near. If every step finds something, listing takes a hundred times
#: as long as the check itself: up to 10 ms.
NEAR_FINDINGS = 5_000
HOPELESS_STEPS = 100_000_000  #: Steps that a worker may not finish.
NEAR_MAKING = 10_000  #: Most steps of building a judge near: up to 10 ms, once.


@dataclass(frozen=True)
class Checked:
    """The result of a check."""

    value: Any  # None where there are findings
    findings: tuple[Violation, ...]
    edits: tuple[Edit, ...] = ()  # repairs made before the check
    repaired: str | None = None  # the text after repair; None where nothing was repaired


class Checker:
    """Checks texts in one way."""

    def is_quick(self, text: str, *, mends: bool) -> bool:
        """Whether `near` takes at most a few milliseconds, so that an event loop may call it."""
        raise NotImplementedError

    def near(self, text: str, *, mends: bool) -> Checked | None:
        """Check a text in this process, repairing it first if `mends`; None where only `far` may check it."""
        raise NotImplementedError

    def far(self, text: str, *, mends: bool, until: float | None = None) -> Checked:
        """Check a text in a worker; Unchecked where it does not finish, or not by `until` (time.monotonic())."""
        raise NotImplementedError

    def check(self, text: str, *, mends: bool = False, until: float | None = None) -> Checked:
        """Check a text near, or else far. Blocks."""
        return self.near(text, mends=mends) or self.far(text, mends=mends, until=until)


class TypeChecker(Checker):
    """Checks texts against a type of the application. Always near, because the application chose the cost."""

    def __init__(self, validate: Callable[[str, Any], tuple[Any, tuple[Violation, ...]]]) -> None:
        """`validate` turns JSON text and its parsed value into a value or findings."""
        self._validate = validate

    def is_quick(self, text: str, *, mends: bool) -> bool:
        """See Checker."""
        return len(text) <= (NEAR_REPAIR if mends else NEAR_TEXT)

    def near(self, text: str, *, mends: bool) -> Checked | None:
        """See Checker."""
        return _near(self._checked, text, mends=mends)

    def far(self, text: str, *, mends: bool, until: float | None = None) -> Checked:
        """See Checker."""
        known = _asked(None, text, mends=mends, until=until)
        if known.findings:
            return known
        value, findings = self._checked(text if known.repaired is None else known.repaired)
        return Checked(value, findings, known.edits, known.repaired)

    def _checked(self, text: str) -> tuple[Any, tuple[Violation, ...]]:
        value, findings = read(text)
        return (None, findings) if findings else self._validate(text, value)


class SchemaChecker(Checker):
    """Checks texts against a JSON Schema."""

    def __init__(self, case: JudgedSchema, costs: Costs) -> None:
        """Prepare a check; SchemaError where no judge can check the schema."""
        self._case, self._costs = case, costs
        self._judge: Judge | None = None
        if costs.building > NEAR_MAKING:
            _check_made(worker_pool.WORKERS.run((self._pickled, "null", False)))
            return
        try:
            self._judge = Judge(case, backtracks=False)
        except NoJudgeError:
            try:
                Judge(case, backtracks=True)  # building one is quick; the cost of judging is unknown
            except NoJudgeError as error:
                raise _unjudged(error.words, error.at) from None

    @cached_property
    def _pickled(self) -> bytes:
        case = self._case
        return pickle.dumps((case.schema, case.draft, case.formats, dict(case.documents)))

    def is_quick(self, text: str, *, mends: bool) -> bool:
        """See Checker."""
        most = NEAR_REPAIR if mends else NEAR_TEXT
        if len(text) > most or not self._costs.is_at_hand(text):
            return False
        return self._judge is None or self._costs.steps(text) <= QUICK_STEPS

    def near(self, text: str, *, mends: bool) -> Checked | None:
        """See Checker."""
        if self._judge is None or len(text) > NEAR_TEXT or self._costs.steps(text) > NEAR_STEPS:
            return None
        return _near(self._checked, text, mends=mends)

    def far(self, text: str, *, mends: bool, until: float | None = None) -> Checked:
        """See Checker."""
        is_hopeless = self._costs.steps(text) > HOPELESS_STEPS
        known = _asked(self._pickled, text, mends=mends, until=until, is_hopeless=is_hopeless)
        if known.findings:
            return known
        value, _ = read(text if known.repaired is None else known.repaired)
        return Checked(value, (), known.edits, known.repaired)

    def _checked(self, text: str) -> tuple[Any, tuple[Violation, ...]] | None:
        judge = self._judge
        assert judge is not None
        value, findings = read(text)
        if findings:
            return None, findings
        try:
            meant = judge.meant(value)
        except RecursionError:
            return None, too_deep(text)
        if judge.is_valid(meant):
            return value, ()
        if self._costs.steps(text) > NEAR_FINDINGS:
            return None
        return None, judge.findings(meant)


def _near(checked: Found, text: str, *, mends: bool) -> Checked | None:
    found = checked(text)
    if found is None:
        return None
    if not (mends and found[1] and found[1][0].rule == NOT_JSON):
        return Checked(*found)
    if len(text) > NEAR_REPAIR:
        return None
    mended = repair(text)
    if not mended.edits:
        return Checked(*found)
    found = checked(mended.text)
    return None if found is None else Checked(*found, mended.edits, mended.text)


def _asked(case: bytes | None, text: str, *, mends: bool, until: float | None, is_hopeless: bool = False) -> Checked:
    """Check a text in a worker. The value of the result is None even where the text is valid."""
    known = worker_pool.WORKERS.run((case, text, mends, is_hopeless), until)
    if known.get("findings") is None:
        if until is not None and time.monotonic() >= until:
            raise Unchecked("the answer could not be checked in the time that was left")
        raise Unchecked(
            f"the answer could not be checked within {worker_pool.SECONDS:g} s and "
            f"{allowance(case, text) // 1_000_000} MB: "
            "the schema combines too much; simplify its references and branches"
        )
    findings = tuple(Violation(**finding) for finding in known["findings"])
    edits = tuple(Edit(**edit) for edit in known.get("edits", ()))
    return Checked(None, findings, edits, known.get("repaired"))


def _check_made(known: dict[str, Any]) -> None:
    """Raise SchemaError where the worker could not build a judge."""
    if "unjudged" in known:
        raise _unjudged(*known["unjudged"])
    if "is_made" not in known:
        words = f"jsonschema-rs can't make a validator of it within {worker_pool.SECONDS:g} s"
        raise SchemaError(Finding("", None, words, "simplify the schema"), limit="seconds")


def _unjudged(words: str, at: str) -> SchemaError:
    words = f"jsonschema-rs can't check it: {words}"
    return SchemaError(Finding(at, None, words, "say it without what it does not know"))

"""Checking a text: by Pydantic or by a judge, here or in a process that can be killed.

What a check costs may be a stranger's choice, of the schema and of the text. So it is bounded before it begins
(schemas/costs.py). Within the bound, which holds for nearly all real schemas, it is done **near**: at once, in
this process. Beyond it, it is done **far**: by a worker (guard/output/worker_pool.py), in so many seconds and so much
memory. Where even that may not suffice, a text that the mask engine refuses does not come before the judge; one that it
takes does. A worker that can't say whether a text is valid is an `Unchecked`, never a value.
"""

from __future__ import annotations

import functools
import pickle
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guard.errors import Finding, SchemaError, Unchecked, Violation
from guard.output import worker_pool
from guard.output.judge import NOT_JSON, Judge, JudgedSchema, NoJudgeError, read, too_deep
from guard.output.repair import Edit, repair
from guard.output.worker import MEMORY

if TYPE_CHECKING:
    from collections.abc import Callable

    from guard.schemas.costs import Costs

    #: A text in; its value or findings out, or None where that can't be told near.
    Found = Callable[[str], tuple[Any, tuple[Violation, ...]] | None]

NEAR_TEXT = 65_536  #: Characters of a text that is read near.
NEAR_REPAIR = 4_096  #: Characters of a text that is mended near.
NEAR_STEPS = 500_000  #: Steps of a verdict that is found near: up to 10 ms.
QUICK_STEPS = 100_000  #: The same, on an event loop: up to 2 ms.
#: Steps of a verdict whose findings are listed near. Where each step finds something, listing takes a hundred times as
#: long as the verdict, and kilobytes: up to 10 ms.
NEAR_FINDINGS = 5_000
HOPELESS_STEPS = 100_000_000  #: Steps that a worker may well not come to the end of.
NEAR_MAKING = 10_000  #: Steps of making a judge that is made near: up to 10 ms, once, in one call.


@dataclass(frozen=True)
class Checked:
    """What a check found."""

    value: Any  # None where there are findings
    findings: tuple[Violation, ...]
    edits: tuple[Edit, ...] = ()  # what was mended in the text before
    repaired: str | None = None  # the text after that; None where nothing was mended


class Checker:
    """Checks texts in one way."""

    def is_quick(self, text: str, *, mends: bool) -> bool:
        """Whether `near` ends within some milliseconds, so that it may be called on an event loop."""
        raise NotImplementedError

    def near(self, text: str, *, mends: bool) -> Checked | None:
        """Check a text in this process, mended where it is not JSON and `mends`; None where only `far` may."""
        raise NotImplementedError

    def far(self, text: str, *, mends: bool, until: float | None = None) -> Checked:
        """Check a text by a worker; Unchecked where it did not come to an end, or until that time.monotonic()."""
        raise NotImplementedError

    def check(self, text: str, *, mends: bool = False, until: float | None = None) -> Checked:
        """Check a text wherever it may be checked; blocks."""
        return self.near(text, mends=mends) or self.far(text, mends=mends, until=until)


class TypeChecker(Checker):
    """Checks texts by a type of the application's: it chose what that costs, so that it is always near."""

    def __init__(self, validate: Callable[[str, Any], tuple[Any, tuple[Violation, ...]]]) -> None:
        """Take what makes of a text that is JSON, and of its JSON, a value or findings."""
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
    """Checks texts by a JSON Schema."""

    def __init__(self, case: JudgedSchema, costs: Costs) -> None:
        """Make one; SchemaError where nothing can check that schema."""
        self._case, self._costs = case, costs
        self._judge: Judge | None = None
        if costs.building > NEAR_MAKING:
            _check_made(worker_pool.WORKERS.run((self._pickled, "null", False)))
            return
        try:
            self._judge = Judge(case, backtracks=False)
        except NoJudgeError:
            try:
                Judge(case, backtracks=True)  # making one is quick; what it would take to judge is not known
            except NoJudgeError as error:
                raise _unjudged(error.words, error.at) from None

    @functools.cached_property
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
    """Have a worker check a text; the value is None also where it is valid."""
    known = worker_pool.WORKERS.run((case, text, mends, is_hopeless), until)
    if known.get("findings") is None:
        if until is not None and time.monotonic() >= until:
            raise Unchecked("the answer could not be checked in the time that was left")
        raise Unchecked(
            f"the answer could not be checked within {worker_pool.SECONDS:g} s and {MEMORY // 1_000_000} MB: "
            "the schema combines too much; simplify its references and branches"
        )
    findings = tuple(Violation(**finding) for finding in known["findings"])
    edits = tuple(Edit(**edit) for edit in known.get("edits", ()))
    return Checked(None, findings, edits, known.get("repaired"))


def _check_made(known: dict[str, Any]) -> None:
    """Raise SchemaError where a worker could not make the judge of a schema."""
    if "unjudged" in known:
        raise _unjudged(*known["unjudged"])
    if "is_made" not in known:
        words = f"jsonschema-rs can't make a validator of it within {worker_pool.SECONDS:g} s"
        raise SchemaError(Finding("", None, words, "simplify the schema"), limit="seconds")


def _unjudged(words: str, at: str) -> SchemaError:
    words = f"jsonschema-rs can't check it: {words}"
    return SchemaError(Finding(at, None, words, "say it without what it does not know"))

"""The exceptions of the front end and the engine, and the findings that they carry.

A finding is a frozen value; its sentence is derived here and nowhere else. Exceptions of the application
(a reply that fails validation, a budget that is spent) live in guard/errors.py, under the same root.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One place in a schema that stands in the way, and what a person should do about it."""

    pointer: str  # JSON Pointer into the schema: "/properties/age/minimum"; "" is the whole schema
    keyword: str | None  # "minimum"; None when the trouble is not a keyword's
    message: str  # what is wrong, a clause without a full stop
    fix: str = ""  # what to do about it, a clause without a full stop

    def __str__(self) -> str:
        """Word the finding as one line."""
        place = self.pointer or "(root)"
        fix = f"; {self.fix}" if self.fix else ""
        return f"{place}: {self.message}{fix}"


class GuardError(Exception):
    """The root of every exception that Guard raises on purpose."""


class SchemaError(GuardError):
    """A schema that is not valid, not supported, or beyond a limit.

    `findings` holds every trouble found; `pointer` and `keyword` are those of the first. `limit` names the field of
    `guard.Limits` that was met, or is None. Without any finding it is not made: that is a ValueError.
    """

    def __init__(self, findings: Finding | Iterable[Finding], *, limit: str | None = None) -> None:
        self.findings = (findings,) if isinstance(findings, Finding) else tuple(findings)
        if not self.findings:
            raise ValueError("findings=() must hold at least one finding")
        self.limit = limit
        super().__init__(self.findings, limit)

    @property
    def pointer(self) -> str:
        """JSON Pointer into the schema of the first finding; "" is the whole schema."""
        return self.findings[0].pointer

    @property
    def keyword(self) -> str | None:
        """Return the keyword of the first finding, if one is to blame."""
        return self.findings[0].keyword

    def __str__(self) -> str:
        """Word every finding, one a line."""
        return "\n".join(str(f) for f in self.findings)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with everything carried: worker processes hand errors back."""
        return _rebuild, (type(self), self.findings, self.limit), vars(self)


def _rebuild(kind: type[SchemaError], findings: tuple[Finding, ...], limit: str | None) -> SchemaError:
    return kind(findings, limit=limit)

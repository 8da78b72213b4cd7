"""The typed errors of a call: what went wrong, the findings, and every attempt, as values.

Errors about schemas (`SchemaError`) and the root of them all (`GuardError`) live in kernels/errors.py and are
re-exported here, so that `guard.errors` is the one place to catch from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from guard.kernels.errors import Finding, GuardError, SchemaError
from guard.support.plain_text import plain_line

if TYPE_CHECKING:
    from guard.trace.records import Attempt

__all__ = [
    "BadReply",
    "BudgetExceeded",
    "CallError",
    "ContentFiltered",
    "Finding",
    "GuardError",
    "ModelError",
    "RateLimited",
    "Refused",
    "SchemaError",
    "SettingError",
    "TimedOut",
    "Truncated",
    "Unavailable",
    "Unchecked",
    "Unsupported",
    "ValidationFailed",
    "Violation",
]


@dataclass(frozen=True)
class Violation:
    """One place where a value breaks its type or schema.

    The sentence is worded here and nowhere else. Findings about schemas are `Finding`.
    """

    at: str  # JSON Pointer into the value: "/orders/3/qty"; "" is the whole value
    rule: str  # JSON Pointer into the schema, or the name of the validator's rule: "greater_than_equal"
    expected: str  # "an integer >= 1"
    got: str  # clipped repr: "-4"

    def __str__(self) -> str:
        """Word the violation as one line."""
        at, rule = plain_line(self.at) or "(root)", plain_line(self.rule)  # keys may hold ends of lines
        return f"{at}: expected {self.expected}, got {self.got} (rule {rule})"


class SettingError(GuardError):
    """A setting of the environment or of guard.toml is wrong."""


class CallError(GuardError):
    """A call that ended without a value.

    `message` says what and how to fix it, in one line; `findings` are the latest there were; `attempts` are all
    that were made; `call` is the number of the call's record in the trace, or None where nothing was recorded;
    `conversation` is what was said until then, where `guard.run_tools` was called.
    A model raises it with a message alone; the pipeline adds the rest.
    """

    def __init__(
        self,
        message: str,
        *,
        findings: Sequence[Violation] = (),
        attempts: Sequence[Attempt] = (),
        call: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.findings = tuple(findings)
        self.attempts = tuple(attempts)
        self.call = call
        self.conversation: Any = None

    def recorded(self, findings: Sequence[Violation], attempts: Sequence[Attempt], call: int | None) -> Self:
        """Return the same error with what the pipeline knows."""
        error = type(self)(self.message, findings=findings, attempts=attempts, call=call)
        known = vars(error).keys()
        vars(error).update({name: value for name, value in vars(self).items() if name not in known})
        return error

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with everything carried: worker processes hand errors back."""
        return _rebuild, (type(self), self.message), vars(self)


class ValidationFailed(CallError):
    """The last attempt's reply still breaks the type."""


class Unchecked(CallError):
    """Whether the answer is valid could not be found out within the bounds of a check; it is not a value."""


class Truncated(CallError):
    """The token budget or the model's context can't hold an answer, or has cut it."""

    needed: int | None = None  # so many tokens surely hold an answer, where that is known


class Refused(CallError):
    """The model declined to answer; asking again would not help."""


class BudgetExceeded(CallError):
    """The call's budget of seconds, tokens or money was spent before there was an answer."""


class ContentFiltered(Refused):
    """The provider cut the answer off, or withheld it, because of what it says."""


class ModelError(CallError):
    """The model is unknown, can't be loaded, or failed."""


class Unsupported(ModelError):
    """The model can't take what a message holds: a picture, a sound, a file."""


class RateLimited(ModelError):
    """The provider asks to be called less often (HTTP 429), also after the transport's retries."""

    retry_after: float | None = None  # seconds until it may be asked again, where it says so


class Unavailable(ModelError):
    """The provider can't be reached, broke the connection off, or failed (HTTP 5xx), also after the retries."""


class TimedOut(ModelError):
    """The provider gave no answer within its time-out, also after the retries."""


class BadReply(ModelError):
    """The provider sent something that is no answer by its own protocol, or more than may be read."""


def _rebuild(kind: type[CallError], message: str) -> CallError:
    return kind(message)

"""What a call was: every attempt and the whole, as frozen values.

The pipeline builds them, an error or `traced()` hands them to the caller, and guard/trace/store.py stores them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, get_args

from guard.errors import Violation
from guard.models.base import Reply

if TYPE_CHECKING:
    from guard.output.repair import Edit
    from guard.schemas.grounding.sources import Place

#: What a record may be used for: "training" is for models too, "operation" for no model.
Purpose = Literal["training", "operation"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
TRAINING: Purpose = "training"
VALID = "valid"  #: The outcome of a call that returned a value; any other outcome is the name of the error raised.


class Shown(NamedTuple):
    """Where a message shows an input."""

    message: int  #: Its index.
    start: int  #: In its content, in characters.
    skipped: int  #: White space that the input begins with, and the message leaves out.
    length: int  #: Of what it shows.


@dataclass(frozen=True)
class Attempt:
    """One question to a model, and what came of it."""

    number: int  # from 1
    messages: tuple[Mapping[str, Any], ...]  # as sent
    reply: Reply | None = None  # what there was of one, where the model was stopped midway; None: it said nothing
    findings: tuple[Violation, ...] = ()  # empty: the reply is valid
    error: str = ""  # what the model raised, in words
    tier: int = 0  # of the policy, from 0
    model: str = ""  # as asked for
    reason: str = ""  # why it is not the answer: one of guard/calls/policy.py's failures; "" for the answer
    repairs: tuple[Edit, ...] = ()  # what was mended in the text before it was checked
    repaired: str | None = None  # the text after that; None where nothing was mended
    started: float = 0.0  # seconds since the epoch
    seconds: float = 0.0  # from the request to the reply or the error
    #: By JSON Pointer, where the inputs state each value that is quoted or stated.
    sources: Mapping[str, tuple[Place, ...]] = field(default_factory=dict)
    inputs: Mapping[str, Shown] = field(default_factory=dict)  # where the messages show them, as far as they do

    @property
    def text(self) -> str:
        """What was checked: what the model wrote, mended where it was; "" where there was nothing."""
        if self.repaired is not None:
            return self.repaired
        return self.reply.text if self.reply else ""


class Listener(Protocol):
    """What takes feedback on a call: the trace that it is recorded in."""

    def rate(self, number: int, right: bool, by: str = ...) -> None:
        """Keep whether a call's answer is right."""

    def correct(self, number: int, value: Any, by: str = ...) -> None:
        """Keep what would have been right."""


@dataclass(frozen=True)
class Item:
    """Which input of a run of many a call is for; the trace finds the call again by it."""

    run: str  # the name that the run is resumed by
    key: str  # a digest of what was asked and for which type; and which it is of several that are the same


@dataclass(frozen=True)
class Call:
    """One call: what was asked, every attempt, and the outcome. The ledger is the sum of the attempts."""

    function: str  # "invoices.read_invoice"; "" where a call has no function
    target: str  # the name of the type or schema asked for
    schema_hash: str
    template: str  # name and version of the prompt template; "" where the caller wrote the messages
    model: str  # as asked for, the first tier's; `served` says who answered
    options: Mapping[str, Any]  # the policy, as JSON
    started: float  # seconds since the epoch
    seconds: float = 0.0
    outcome: str = VALID
    error: str = ""
    attempts: tuple[Attempt, ...] = ()
    number: int | None = field(default=None, compare=False)  # of the record in the trace; None until it is written
    record_for: Purpose = "training"  # what its record may be used for
    item: Item | None = field(default=None, compare=False)  # None: the call is no part of a run that can be resumed
    _trace: Listener | None = field(default=None, compare=False, repr=False)  # in which it is recorded

    def rate(self, right: bool) -> None:
        """Say on record whether the answer is right; in place of what was said before.

        Raises TraceError where it can't be recorded, ValueError where the call is on no record.
        """
        trace, number = self._recorded()
        trace.rate(number, right)

    def correct(self, value: Any) -> None:
        """Say on record what would have been right, as a value of the type or of JSON; what was answered may be it.

        Raises ValueError where the type does not allow it, and as `rate` does.
        """
        trace, number = self._recorded()
        trace.correct(number, value)

    def _recorded(self) -> tuple[Listener, int]:
        if self._trace is None or self.number is None:
            raise ValueError("the call is on no record; there is nothing to say it of")
        return self._trace, self.number

    @property
    def answer(self) -> Attempt | None:
        """The attempt whose text is the value; of a call without one the last; None where nothing was asked."""
        last = self.attempts[-1] if self.attempts else None
        return next((a for a in reversed(self.attempts) if not a.reason), last) if self.outcome == VALID else last

    @property
    def cut_at(self) -> tuple[str, ...]:
        """JSON Pointers of the value's parts that are not whole: `max_tokens` cut them. Empty: the value is whole."""
        return self.answer.reply.cut_at if self.answer is not None and self.answer.reply is not None else ()

    @property
    def probabilities(self) -> Mapping[str, float]:
        """By JSON Pointer, how likely the value ("") and its fields are right; empty where nothing is calibrated."""
        reply = self.answer.reply if self.answer is not None else None
        return {} if reply is None or reply.sureness is None else reply.sureness.probabilities

    @property
    def sources(self) -> Mapping[str, tuple[Place, ...]]:
        """By JSON Pointer, all places (argument, start, end) where the inputs state a quoted or stated value."""
        return self.answer.sources if self.answer is not None else {}

    @property
    def repeated_at(self) -> tuple[str, ...]:
        """JSON Pointers of the value's strings that say the same over and over."""
        return self.answer.reply.repeated_at if self.answer is not None and self.answer.reply is not None else ()

    @property
    def served(self) -> str:
        """The model that answered, by its own name; of a call without a value the last."""
        answer = self.answer
        if self.outcome == VALID and answer is not None and answer.reply is not None:
            return answer.reply.model
        return next((a.reply.model for a in reversed(self.attempts) if a.reply and a.reply.finish != "cut"), "")

    @property
    def spent(self) -> tuple[Reply, ...]:
        """The replies that the call had made, whole or cut off; one that was looked up costs nothing."""
        return tuple(a.reply for a in self.attempts if a.reply and not a.reply.is_kept)

    @property
    def tier(self) -> int:
        """The tier that answered, from 0; of a call without a value the one that was asked last."""
        return self.answer.tier if self.answer is not None else 0

    @property
    def escalations(self) -> tuple[str, ...]:
        """Why each tier that was left was left, in order."""
        pairs = zip(self.attempts, self.attempts[1:], strict=False)
        return tuple(before.reason for before, after in pairs if after.tier > before.tier)

    @property
    def cost(self) -> float | None:
        """US dollars over all attempts; None where the price of one is not known."""
        costs = [reply.cost for reply in self.spent]
        return None if None in costs else sum(c for c in costs if c is not None)

    @property
    def is_estimate(self) -> bool:
        """Whether a provider did not count some of the tokens."""
        return any(reply.is_estimate for reply in self.spent)

    @property
    def text(self) -> str:
        """The value, as JSON, where the outcome is valid; else the last attempt's text."""
        return self.answer.text if self.answer is not None else ""

    @property
    def prompt_tokens(self) -> int:
        """Prompt tokens over all attempts."""
        return sum(reply.prompt_tokens for reply in self.spent)

    @property
    def completion_tokens(self) -> int:
        """Completion tokens over all attempts, forced ones included."""
        return sum(reply.completion_tokens for reply in self.spent)

    @property
    def forced_tokens(self) -> int:
        """Completion tokens that the schema alone determined."""
        return sum(reply.forced_tokens for reply in self.spent)

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens over all attempts."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def model_seconds(self) -> float:
        """Seconds that the model took, masks included."""
        return sum(reply.seconds for reply in self.spent)

    @property
    def mask_seconds(self) -> float:
        """Seconds spent in the mask engine."""
        return sum(reply.mask_seconds for reply in self.spent)

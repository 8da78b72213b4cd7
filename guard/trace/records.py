"""Records: a call, and every attempt of it, as frozen values.

The pipeline builds them, an error or `traced()` hands them to the caller, and guard/trace/store.py stores them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, get_args

from guard.decoding.confidence import by_value
from guard.errors import Violation
from guard.models.base import Reply

if TYPE_CHECKING:
    from guard.decoding.alternative import Alternative
    from guard.output.repair import Edit
    from guard.schemas.grounding.sources import Place

#: What a record may be used for: "training" is for models too, "operation" for no model.
Purpose = Literal["training", "operation"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
TRAINING: Purpose = "training"


def check_purpose(given: Any) -> Purpose:
    """Return what a record may be used for; ValueError for anything else."""
    if given not in PURPOSES:
        raise ValueError(f"record_for={given!r} must be {' or '.join(map(repr, PURPOSES))}")
    purpose: Purpose = given
    return purpose


VALID = "valid"  #: The outcome of a call that returned a value; any other outcome is the name of the error raised.


class Shown(NamedTuple):
    """The place where a message shows an input."""

    message: int  #: Its index in the messages.
    start: int  #: Offset in its content, in characters.
    skipped: int  #: Characters of white space at the input's beginning that the message leaves out.
    length: int  #: Characters of the input that it shows.
    is_json: bool = False  #: Whether it is shown as JSON, and the texts within it are the sources.


@dataclass(frozen=True)
class Attempt:
    """One question to a model, and its outcome."""

    number: int  # from 1
    messages: tuple[Mapping[str, Any], ...] = field(hash=False)  # as sent
    reply: Reply | None = None  # the part that came, where the model was stopped midway; None where nothing came
    findings: tuple[Violation, ...] = ()  # empty: the reply is valid
    error: str = ""  # what the model raised, in words
    tier: int = 0  # number of the tier, from 0
    model: str = ""  # as asked for
    reason: str = ""  # the failure, of guard/calls/policy.py, that made it not the answer; "" for the answer
    repairs: tuple[Edit, ...] = ()  # repairs of the text before it was validated
    repaired: str | None = None  # the text after repairs; None where there were none
    started: float = 0.0  # seconds since the epoch
    seconds: float = 0.0  # from the request to the reply or the error
    #: By JSON Pointer, the places where the inputs state each quoted or stated value.
    sources: Mapping[str, tuple[Place, ...]] = field(default_factory=dict, hash=False)
    inputs: Mapping[str, Shown] = field(default_factory=dict, hash=False)  # by name, the part that a message shows
    fields: tuple[str, ...] = ()  # members that alone were asked for, as a tier was not sure of them; (): all

    @property
    def confidence(self) -> Mapping[str, float]:
        """By JSON Pointer, the probability of each value that the model wrote, as far as its tokens tell it."""
        return {} if self.reply is None else by_value(self.reply.tokens, self.reply.text)

    @property
    def text(self) -> str:
        """The text that was validated: the model's, after repairs; "" where there was none."""
        if self.repaired is not None:
            return self.repaired
        return self.reply.text if self.reply else ""


class Listener(Protocol):
    """The interface that takes feedback on a call: the trace that has recorded it."""

    def rate(self, number: int, right: bool, by: str = ...) -> None:
        """Record whether a call's answer is right."""

    def correct(self, number: int, value: Any, by: str = ...) -> None:
        """Record the right answer."""


@dataclass(frozen=True)
class Item:
    """The input of a batch that a call is for; a resumed batch finds the call by it."""

    run: str  # the name of the batch, by which it is resumed
    key: str  # a digest of what was asked and for which type; and which it is of several that are the same


@dataclass(frozen=True)
class Call:
    """One call: what was asked, every attempt, and the outcome. The ledger is the sum of the attempts."""

    function: str  # "invoices.read_invoice"; "" where a call has no function
    target: str  # the name of the type or schema asked for
    schema_hash: str
    template: str  # the prompt template's name and version; "" where the caller wrote the messages
    model: str  # the first tier's, as asked for; `served` is the model that answered
    options: Mapping[str, Any] = field(hash=False)  # the policy, as JSON
    started: float  # seconds since the epoch
    seconds: float = 0.0
    outcome: str = VALID
    error: str = ""
    attempts: tuple[Attempt, ...] = ()
    number: int | None = field(default=None, compare=False)  # in the trace; None until it is written
    record_for: Purpose = "training"  # what its record may be used for
    item: Item | None = field(default=None, compare=False)  # None outside of a named batch
    _trace: Listener | None = field(default=None, compare=False, repr=False)  # in which it is recorded

    def recorded(self, number: int, trace: Listener) -> Call:
        """Return the same call with its number in a trace."""
        same = object.__new__(type(self))  # `dataclasses.replace` takes ten times as long, in each call
        same.__dict__.update(self.__dict__, number=number, _trace=trace)
        return same

    def rate(self, right: bool) -> None:
        """Record whether the answer is right, in place of earlier feedback.

        Raises TraceError where that fails, and ValueError where the call is not recorded.
        """
        trace, number = self._recorded()
        trace.rate(number, right)

    def correct(self, value: Any) -> None:
        """Record the right answer, as a value of the type or of JSON. It may equal the answer that was given.

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
        """The attempt whose text is the value, or the last one where none is; None where no model was asked."""
        last = self.attempts[-1] if self.attempts else None
        if last is None or not last.reason:
            return last
        return next((a for a in reversed(self.attempts) if not a.reason), last) if self.outcome == VALID else last

    @property
    def cut_at(self) -> tuple[str, ...]:
        """JSON Pointers of the parts of the value that `max_tokens` cut off. Empty where the value is whole."""
        return self.answer.reply.cut_at if self.answer is not None and self.answer.reply is not None else ()

    @property
    def is_whole(self) -> bool:
        """Whether no part of the value was cut off, and none repeats itself."""
        return not (self.cut_at or self.repeated_at)

    @property
    def verdict(self) -> str:
        """The outcome, as people are shown it: of a value that is not whole it says so."""
        return self.outcome if self.is_whole or self.outcome != VALID else f"{VALID}, not whole"

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
    def confidence(self) -> Mapping[str, float]:
        """By JSON Pointer, the probability of each value, as far as the model's tokens tell it."""
        return self.answer.confidence if self.answer is not None else {}

    @property
    def alternatives(self) -> Mapping[str, tuple[Alternative, ...]]:
        """By JSON Pointer, what else a value that was chosen whole could have been: up to three, the best first."""
        return self.answer.reply.alternatives if self.answer is not None and self.answer.reply is not None else {}

    @property
    def repeated_at(self) -> tuple[str, ...]:
        """JSON Pointers of the value's strings, and of a turn's calls, that repeat themselves."""
        return self.answer.reply.repeated_at if self.answer is not None and self.answer.reply is not None else ()

    @property
    def served(self) -> str:
        """The model that answered, by its own name; the last one where the call has no value."""
        answer = self.answer
        if self.outcome == VALID and answer is not None and answer.reply is not None:
            return answer.reply.model
        return next((a.reply.model for a in reversed(self.attempts) if a.reply and a.reply.finish != "cut"), "")

    @property
    def spent(self) -> tuple[Reply, ...]:
        """The replies that the call paid for, whole or cut off, without those from a cache or a recording."""
        return tuple(a.reply for a in self.attempts if a.reply and not a.reply.is_kept)

    @property
    def tier(self) -> int:
        """The tier that answered, from 0; the last one that was asked where the call has no value."""
        return self.answer.tier if self.answer is not None else 0

    @property
    def escalations(self) -> tuple[str, ...]:
        """The reasons of escalation, one for each tier that was left, in order."""
        pairs = zip(self.attempts, self.attempts[1:], strict=False)
        return tuple(before.reason for before, after in pairs if after.tier > before.tier)

    @property
    def cost(self) -> float | None:
        """US dollars over all attempts; None where a price is unknown."""
        costs = [reply.cost for reply in self.spent]
        return None if None in costs else sum(c for c in costs if c is not None)

    @property
    def is_estimate(self) -> bool:
        """Whether some tokens are estimates, because a provider did not count them."""
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

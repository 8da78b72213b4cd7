"""The steps of one call: plan → attempt → validate → repair → re-ask → escalate → record.

They are written once, as a generator that does no I/O. It yields what must be done (load a model, ask it, look up or
keep a reply, record the call); the driver sends the result back, or throws the error in. The drivers in
guard/calls/pipeline.py are blocking or async, and may stream. guard/calls/policy.py decides how far a call goes,
guard/calls/prompts.py has the words, and guard/output/checking.py the checks.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from guard.calls import prompts, recording, telemetry, validators
from guard.calls.by_field import Doubtful, doubtful
from guard.calls.policy import FIRST_TOKENS, Budget, Policy
from guard.decoding import confidence
from guard.decoding.places import end_of, listed
from guard.decoding.repetition import repeated_at
from guard.errors import (
    BadReply,
    BudgetExceeded,
    CallError,
    ContentFiltered,
    GuardError,
    ModelError,
    Refused,
    Truncated,
    Unchecked,
    ValidationFailed,
    Violation,
)
from guard.models import adapters, chat_messages
from guard.models.base import Model, Reply, Request, impossible_figure
from guard.output import target as targets
from guard.output.checking import Checked, Checker
from guard.output.repair import Edit
from guard.schemas.grounding.json_text import JsonText
from guard.support.bounds import written
from guard.support.clipping import clipped
from guard.support.frames import let_go
from guard.support.interrupts import injected, is_injected
from guard.trace.records import VALID, Attempt, Call, Item, Purpose, Shown
from guard.trace.waits import WAIT_S
from guard.turns import value as turn_value

if TYPE_CHECKING:
    from guard.output.grounding import GroundingChecker, Located, Places
    from guard.schemas import Compiled
    from guard.schemas.grounding.sources import Sources

MOST_TEXT = 10_000_000  #: Longest answer, in characters.
SHOWN_TEXT = 10_000  #: Characters recorded of a longer answer.
RECORDING_S = 1.0  #: Time for recording even where the budget of seconds is spent.


@dataclass(frozen=True)
class Plan:
    """Everything decided before a model is asked."""

    target: targets.Target
    messages: chat_messages.Messages  # the plan's own copy
    policy: Policy
    tiers: tuple[str | Model, ...]  # asked in this order; at least one
    template: str = ""
    function: str = ""
    validators: tuple[validators.Validator, ...] = ()
    mode: str = "live"  # one of recording.MODES
    #: Makes the next attempt's messages from the last one's, its text and the findings.
    re_ask: Callable[[chat_messages.Messages, str, Sequence[Violation]], chat_messages.Messages] = prompts.re_ask
    #: Called with the committed record however the call ended, even if nobody waits for it any more.
    told: Callable[[Call], object] | None = field(default=None, compare=False, repr=False)
    item: Item | None = None  # in a batch (guard/batch/map_run.py)
    record_for: Purpose = "training"
    sources: Mapping[str, str] = field(default_factory=dict)  # inputs by name, for grounded values
    #: Wraps a loaded model for this plan.
    around: Callable[[Model], Model] = field(default=lambda model: model, compare=False, repr=False)

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the tiers' models as given."""
        return tuple(tier if isinstance(tier, str) else tier.name for tier in self.tiers)


@dataclass(frozen=True)
class Load:
    """Load a model, or a stand-in for a replay; the driver sends the Model."""

    model: str | Model
    is_replay: bool


@dataclass(frozen=True)
class Ask:
    """Ask a model; the driver sends its Reply."""

    model: Model
    request: Request


@dataclass(frozen=True)
class Recall:
    """Look up a kept reply; the driver sends it, or None."""

    key: str


@dataclass(frozen=True)
class Keep:
    """Keep a reply, within `seconds`."""

    key: str
    body: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True)
class Record:
    """Commit the record of the call within `seconds`; the driver sends the Call with its number."""

    call: Call
    compiled: Compiled
    seconds: float


@dataclass(frozen=True)
class Validate:
    """Check a text; the driver sends the result."""

    checker: Checker
    text: str
    mends: bool  # where it is not JSON
    until: float | None  # the deadline, by time.monotonic()


@dataclass(frozen=True)
class Ground:
    """Compile the schema for the call's inputs; the driver sends it."""

    compiled: Compiled
    sources: Sources


@dataclass(frozen=True)
class Locate:
    """Find the grounded values of a valid text in the inputs; the driver sends a Located."""

    checker: GroundingChecker
    text: str
    sources: Sources


@dataclass(frozen=True)
class Narrow:
    """Compile the schema of some members alone; the driver sends it, or None where it can't be."""

    compiled: Compiled
    names: tuple[str, ...]
    sources: Sources | None


Step = Load | Ask | Validate | Recall | Keep | Record | Ground | Locate | Narrow
#: What the steps of a call yield, receive and return.
Steps = Generator[Step, Any, tuple[Any, Call]]


def steps(plan: Plan) -> Steps:
    """Ask until an answer is valid or the policy ends the call; the record is committed before this ends."""
    run = _Run(plan)
    try:
        value = yield from run.tiers()
    except CallError as error:
        call = yield from run.recorded(type(error).__name__, error.message)
        raised = error.recorded(run.findings(error), run.attempts, call.number)
        run.spans.end(call, raised)
        error.__traceback__ = None  # nobody sees it, and its frames know the error: a circle would stay
        try:
            raise raised from error.__cause__
        finally:
            del raised  # for the same reason
    except BaseException as error:  # a limit of the schema; or the call was interrupted, by a signal or its caller
        call = yield from run.recorded(type(error).__name__, str(error) if isinstance(error, GuardError) else "")
        run.spans.end(call, error)
        raise
    call = yield from run.recorded(VALID)
    run.spans.end(call, None)
    return value, call


#: The kinds of failure by the model's errors.
_REASONS: Mapping[type[CallError], str] = MappingProxyType(
    {BudgetExceeded: "budget", Truncated: "length", Refused: "refusal", CallError: "error"}
)


@dataclass(frozen=True)
class _Answer:
    value: Any
    number: int  # of its attempt


@dataclass(frozen=True)
class _Failure:
    kind: str  # one of policy.FAILURES
    error: GuardError  # ends the call if nothing else is done
    is_final: bool = False  # the whole call's budget is spent
    answer: _Answer | None = None  # the value, if it is valid nevertheless
    room: int | None = None  # a larger number of completion tokens that may help; None: none would


class _Run:
    """The state of one call: the attempts, what was spent, and what the next attempt is told."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.attempts: list[Attempt] = []
        self.spans = telemetry.Spans(plan.function, plan.target.name, plan.target.compiled.hash)
        self._messages = plan.messages
        self._compiled = plan.target.compiled
        self._sources: Sources | None = None  # of grounded values
        self._part: tuple[Doubtful, Compiled] | None = None  # what alone the next attempt is asked for
        self._started, self._clock = time.time(), time.perf_counter()
        self._tier_clock = self._clock
        self._most = self._first = plan.policy.max_tokens or FIRST_TOKENS  # tokens of the next completion
        self._known = sys.exception()  # what the caller handles has nothing to do with this call

    def tiers(self) -> Generator[Step, Any, Any]:
        """Ask the tiers in order; returns the value."""
        policy, last = self.plan.policy, len(self.plan.tiers) - 1
        if self.plan.target.grounding is not None:
            from guard.schemas.grounding.sources import Sources  # imported late: few calls need it

            self._sources = Sources(self.plan.sources)
            self._compiled = yield Ground(self.plan.target.compiled, self._sources)
        marked: _Answer | None = None  # the latest valid but incomplete answer
        for tier in range(last + 1):
            outcome = yield from self._tier(tier)
            if isinstance(outcome, _Answer):
                return outcome.value
            marked = outcome.answer or marked
            if outcome.is_final or tier == last or policy.action(outcome.kind) in ("return", "fail"):
                if marked is None or not policy.returns("length") or policy.on.get(outcome.kind) == "fail":
                    raise outcome.error
                at = marked.number - 1
                self.attempts[at] = replace(self.attempts[at], reason="")  # it is the answer
                return marked.value
            let_go(outcome.error)
        raise AssertionError("a plan has at least one tier")

    def _tier(self, tier: int) -> Generator[Step, Any, _Answer | _Failure]:
        """Ask one tier as often as the policy allows; a failure carries the latest valid but incomplete answer."""
        policy = self.plan.policy
        self._tier_clock = time.perf_counter()
        self._most = self._first
        marked: _Answer | None = None
        for number in itertools.count():
            outcome = yield from self._attempt(tier)
            if isinstance(outcome, _Answer):
                return outcome
            marked = outcome.answer or marked
            outcome = replace(outcome, answer=marked)
            if outcome.is_final or number == policy.retries or policy.action(outcome.kind) != "ask":
                return outcome
            if outcome.kind == "length":
                if outcome.room is None and "length" not in policy.on:
                    return outcome
                self._most = outcome.room or self._most
            let_go(outcome.error)
        raise AssertionError("retries are finite")

    def recorded(self, outcome: str, error: str = "") -> Generator[Step, Any, Call]:
        """Commit the record of the call so far; return it with its number."""
        call: Call = yield Record(self._call(outcome, error), self.plan.target.compiled, self._patience())
        if self.plan.told is not None:
            self.plan.told(call)
        return call

    def _patience(self) -> float:
        """Return how many seconds recording may wait."""
        most = self.plan.policy.budget.seconds
        left = WAIT_S if most is None else most - (time.perf_counter() - self._clock) + RECORDING_S
        return min(WAIT_S, max(RECORDING_S, left))

    def _call(self, outcome: str, error: str) -> Call:
        plan = self.plan
        return Call(
            function=plan.function,
            target=plan.target.name,
            schema_hash=plan.target.compiled.hash,
            template=plan.template,
            model=plan.models[0],
            options={**plan.policy.as_json, "tiers": list(plan.models), "mode": plan.mode},
            started=self._started,
            seconds=time.perf_counter() - self._clock,
            outcome=outcome,
            error=error,
            attempts=tuple(self.attempts),
            record_for=plan.record_for,
            item=plan.item,
        )

    def findings(self, error: CallError) -> Sequence[Violation]:
        """Return the error's findings, or the latest ones."""
        return error.findings or next((a.findings for a in reversed(self.attempts) if a.findings), ())

    def _attempt(self, tier: int) -> Generator[Step, Any, _Answer | _Failure]:
        plan, policy, name = self.plan, self.plan.policy, self.plan.models[tier]
        part, self._part = self._part, None  # what does not lead to a valid answer is asked for as a whole next
        messages = self._messages if part is None else part[0].messages(self._messages)
        started, clock = time.time(), time.perf_counter()
        span: telemetry.Span | None = None
        cut: list[Reply] = []  # the part of an answer when the model stopped midway

        def keep(reason: str, reply: Reply | None = None, findings: Any = (), error: str = "", **more: Any) -> None:
            reply = cut[-1] if reply is None and cut else reply
            self.attempts.append(
                Attempt(
                    len(self.attempts) + 1, messages, reply, tuple(findings), error, tier=tier, model=name,
                    reason=reason, started=started, seconds=time.perf_counter() - clock, **more,
                )
            )  # fmt: skip
            if span is not None:
                span.end(self.attempts[-1])

        try:
            model = plan.around((yield Load(plan.tiers[tier], plan.mode == "replay")))
            if plan.target.refused is not None and getattr(model, "is_masked", False):
                raise copy.copy(plan.target.refused)  # the target outlives the frames that this one comes through
            asked = self._compiled if part is None else part[1]

            def told(part: Any) -> None:
                with contextlib.suppress(ModelError):  # figures that no record holds: the model's own error counts
                    cut.append(_priced(model, part))

            request = self._request(tier, model, told, messages, asked)
            span = self.spans.attempt(name, request)
            answered: Any = yield from self._reply(name, model, request)
            if not isinstance(answered, Reply) or not isinstance(answered.text, str):
                raise ModelError(f"{name} answered with {clipped(answered)}, which is no Reply with a text")
            reply = answered
            if len(reply.text) > MOST_TEXT:
                size = len(reply.text)
                cut.append(replace(reply, text=reply.text[:SHOWN_TEXT], tokens=(), finish="cut"))
                raise BadReply(
                    f"{name} answered with {size:,} characters; of one answer at most {MOST_TEXT:,} are read"
                )
        except BaseException as error:
            return self._failed(tier, name, error, keep)
        if reply.finish == "refusal":
            keep("refusal", reply)
            said = f": {reply.text[:200]}" if reply.text.strip() else ""
            return _Failure("refusal", Refused(f"{name} declined to answer{said}"))
        if reply.finish == "filter":
            keep("refusal", reply)
            return _Failure("refusal", ContentFiltered(f"the provider of {name} withheld the answer"))
        try:
            whole = None if part is None else part[0].merged(reply.text)
            value, findings, edits, repaired, places = yield from self._checked(reply, whole)
        except Unchecked as error:
            keep("schema", reply, error=error.message)
            return _Failure("schema", error)
        except BaseException as error:  # a validator that fails is its author's business, but the reply was paid for
            if self._is_interruption(error):
                keep("interrupted", reply, error=type(error).__name__)
            else:
                keep("error", reply, error=f"the check failed: {type(error).__name__}: {error}")
            raise
        more: dict[str, Any] = {"repairs": edits, "repaired": repaired}
        if part is not None:
            more["fields"] = part[0].names
        if self._sources is not None:
            more |= {"sources": places, "inputs": shown(plan.sources, messages)}
        reply = self._marked(reply, more, is_valid=not findings)
        room = self._room(model, request, reply) if reply.finish == "length" else None
        if reply.finish == "length" and not (findings and reply.mode == "masks" and room is None):
            keep("length", reply, findings, **more)
            answer = None if findings else _Answer(value, len(self.attempts))
            return _Failure("length", Truncated(_cut_words(name, request, reply)), answer=answer, room=room)
        if findings:
            keep("invalid", reply, findings, **more)
            if part is None:
                self._messages = chat_messages.all_writable(plan.re_ask(messages, reply.text, findings))
            return _Failure("invalid", self._invalid(name, findings))
        if policy.is_sure_asked(is_last=tier == len(plan.tiers) - 1):
            doubt = confidence.shortfall(confidence.measured(reply.tokens, reply.sureness), policy.confidence)
            if not doubt and (unsure := confidence.unsure(reply.tokens, reply.text, policy.confidence)):
                doubt = unsure
                if repaired is None and tier < len(plan.tiers) - 1 and policy.action("confidence") == "escalate":
                    self._part = yield from self._narrowed(reply)
            if doubt:
                keep("confidence", reply, error=doubt, **more)
                return _Failure("confidence", ValidationFailed(f"{name} was not sure of its answer: {doubt}"))
        keep("", reply, **more)
        return _Answer(value, len(self.attempts))

    def _marked(self, reply: Reply, more: Mapping[str, Any], *, is_valid: bool) -> Reply:
        """Return a reply with the places that are cut or repeat themselves; its finish is then "length"."""
        text = reply.text if more["repaired"] is None else more["repaired"]
        is_json = self.plan.target.is_json
        if reply.finish == "length" and not reply.cut_at:  # of a model that does not tell
            return replace(reply, cut_at=end_of(text) if is_json else ("",))
        if is_valid and self.plan.policy.repetition != "allow":
            repeated = repeated_at(text, is_json=is_json)
            if self.plan.target.is_turn:
                repeated += turn_value.repeated_at(text)
            if repeated:
                return replace(reply, finish="length", repeated_at=repeated)
        return reply

    def _room(self, model: Model, request: Request, reply: Reply) -> int | None:
        """Return the completion tokens of the next attempt; None where it could have no more than this one.

        More tokens do not help a string that repeats itself.
        """
        if self.plan.policy.max_tokens is not None or reply.repeated_at:
            return None
        room, prompt = self._most * 2, reply.prompt_tokens
        if reply.room is not None:
            room = min(room, reply.room)
        if request.total_tokens is not None:
            room = min(room, request.total_tokens - reply.completion_tokens - 2 * prompt)
        if request.usd is not None and not getattr(model, "is_masked", False):
            if reply.cost is None:
                return None
            thinking = self.plan.policy.thinking
            pays_for = _affordable(model, prompt, self._most * 2 + thinking, request.usd - reply.cost)
            room = min(room, pays_for - thinking)
        return room if room > request.max_tokens else None

    def _failed(self, tier: int, name: str, error: BaseException, keep: Callable[..., None]) -> _Failure:
        """Return the failure of an attempt; re-raise errors that are not the model's."""
        raised = injected(error, self._known)
        if raised is not None or not isinstance(error, Exception):
            raised = raised or error
            keep("interrupted", error=type(raised).__name__)
            try:
                raise raised
            finally:
                del raised, error  # they know this frame
        if isinstance(error, _Spent):  # nothing was asked
            return _Failure("budget", BudgetExceeded(str(error)), is_final=error.is_final)
        for kind, reason in _REASONS.items():
            if isinstance(error, kind):
                keep(reason, error=error.message)
                is_final = reason == "budget" and not self._is_tiers_own(tier)
                return _Failure(reason, error, is_final=is_final, room=self._room_for(error))
        if isinstance(error, GuardError):  # a limit of the schema, met while decoding
            keep("schema", error=str(error))
            return _Failure("schema", error)
        words = f"{name} failed: {type(error).__name__}: {error}"
        keep("error", error=words)
        failed = ModelError(words)
        failed.__cause__ = error
        return _Failure("error", failed)

    def _room_for(self, error: CallError) -> int | None:
        """Return a number of tokens that may hold an answer, after a model said that these can't."""
        needed = error.needed if isinstance(error, Truncated) else None
        if needed is None or self.plan.policy.max_tokens is not None or needed <= self._most:
            return None
        return max(needed, self._most * 2)

    @staticmethod
    def _is_interruption(error: BaseException) -> bool:
        return not isinstance(error, Exception) or is_injected(error)

    def _narrowed(self, reply: Reply) -> Generator[Step, Any, tuple[Doubtful, Compiled] | None]:
        """Return what of a reply is asked of the next tier alone; None where all of it is."""
        least = self.plan.policy.confidence.value
        assert least is not None
        found = doubtful(self.plan.target.compiled, reply.text, reply.tokens, least)
        if found is None:
            return None
        compiled = yield Narrow(self.plan.target.compiled, found.names, self._sources)
        return None if compiled is None else (found, compiled)

    def _checked(
        self, reply: Reply, whole: str | None = None
    ) -> Generator[Step, Any, tuple[Any, tuple[Violation, ...], tuple[Edit, ...], str | None, Places]]:
        """Check a reply, repairing it where it is not JSON: value, findings, edits, repaired text, places.

        `whole` is the text that it is a part of, and is checked in its place.
        """
        policy = self.plan.policy
        most = policy.budget.seconds
        until = None if most is None else time.monotonic() + most - (time.perf_counter() - self._clock)
        mends = reply.mode != "masks" and policy.repair and reply.finish != "length"
        checked: Checked = yield Validate(self.plan.target.checker, whole or reply.text, mends, until)
        if whole is not None and checked.repaired is None:
            checked = replace(checked, repaired=whole)
        findings = checked.findings
        places: Places = {}
        if not findings and self._sources is not None:
            text = reply.text if checked.repaired is None else checked.repaired
            assert self.plan.target.grounding is not None
            located: Located = yield Locate(self.plan.target.grounding, text, self._sources)
            findings, places = located.findings, located.places
        if not findings and self.plan.validators:
            findings = validators.check(checked.value, self.plan.validators)
        return checked.value, findings, checked.edits, checked.repaired, places

    def _invalid(self, name: str, findings: Sequence[Violation]) -> ValidationFailed:
        more = f", and {len(findings) - 1} more" if len(findings) > 1 else ""
        number = len(self.attempts)
        count = "1 attempt" if number == 1 else f"{number} attempts"
        return ValidationFailed(
            f"{name} gave no valid {self.plan.target.name} in {count}: {findings[0]}{more}", findings=findings
        )

    def _reply(self, name: str, model: Model, request: Request) -> Generator[Step, Any, Reply]:
        """Ask the model, or look up its recorded answer."""
        mode = self.plan.mode
        if mode == "live":
            reply: Reply = yield from _asked(model, request)
            return reply
        key = recording.key(name, model, request, self.plan.template)
        if mode != "record":
            body = yield Recall(key)
            if body is not None:
                return recording.revived(body)
            if mode == "replay":
                raise ModelError(f"no reply of {name} to this request was recorded (key {key[:12]}…); record it first")
        try:
            reply = yield from _asked(model, request)
        except CallError as error:
            if mode == "record":
                yield Keep(key, recording.body_of_error(error), self._patience())
            raise
        yield Keep(key, recording.body(reply), self._patience())
        return reply

    def _request(
        self,
        tier: int,
        model: Model,
        told: Callable[[Reply], None],
        messages: chat_messages.Messages,
        compiled: Compiled,
    ) -> Request:
        """Return the next request, within the rest of the budgets; _Spent where nothing is left."""
        plan, policy = self.plan, self.plan.policy
        whole = self._left(policy.budget, self.attempts, self._clock, is_final=True)
        left = whole
        if tier < len(plan.tiers) - 1:
            own = [a for a in self.attempts if a.tier == tier]
            left = _least(whole, self._left(policy.tier_budget, own, self._tier_clock, is_final=False))
        request = Request(
            messages=chat_messages.copied(messages),
            compiled=compiled,
            max_tokens=self._most,
            temperature=policy.temperature,
            seed=policy.seed + len(self.attempts),  # another draw for another attempt
            seconds=left.seconds,
            total_tokens=None if left.tokens is None else int(left.tokens),
            usd=left.usd,
            thinking=policy.thinking,
            repetition=policy.repetition,
            choose=policy.choose,
            name=plan.target.name,
            told=told,
        )
        # A local model counts its prompt, and costs nothing.
        if getattr(model, "is_masked", False) or (left.tokens is None and left.usd is None):
            return request
        prompt, most = chat_messages.most_tokens(messages, request.schema_size), self._most
        if left.tokens is not None:
            most = min(most, int(left.tokens) - prompt)
        if left.usd is not None:
            most = min(most, _affordable(model, prompt, most + policy.thinking, left.usd))
        if most < 1:
            is_final = whole.tokens == left.tokens and whole.usd == left.usd
            raise _Spent(f"what is left of the budget can't pay a prompt of about {prompt} tokens", is_final)
        return replace(request, max_tokens=most)

    def _left(self, budget: Budget, attempts: Sequence[Attempt], since: float, *, is_final: bool) -> Budget:
        """Return the rest of a budget after the attempts; _Spent where nothing is left."""
        replies = [a.reply for a in attempts if a.reply]
        try:
            return budget.after(replies, time.perf_counter() - since, f"{len(attempts)} attempts")
        except BudgetExceeded as error:
            raise _Spent(error.message, is_final) from None

    def _is_tiers_own(self, tier: int) -> bool:
        """Whether only the tier's own budget is spent, and not the call's."""
        try:
            self._left(self.plan.policy.budget, self.attempts, self._clock, is_final=True)
        except _Spent:
            return False
        return tier < len(self.plan.tiers) - 1


def shown(sources: Mapping[str, str], messages: chat_messages.Messages) -> dict[str, Shown]:
    """Return the places of the inputs in the messages, without surrounding white space; unshown inputs are left out."""
    found = {}
    for name, text in sources.items():
        bare = text.strip()
        for index, message in enumerate(messages):
            content = message.get("content")
            at = content.find(bare) if bare and isinstance(content, str) and message.get("role") == "user" else -1
            if at >= 0:
                found[name] = Shown(index, at, len(text) - len(text.lstrip()), len(bare), isinstance(text, JsonText))
    return found


class _Spent(Exception):  # noqa: N818 (never leaves this module)
    def __init__(self, words: str, is_final: bool) -> None:
        super().__init__(words)
        self.is_final = is_final


def _cut_words(name: str, request: Request, reply: Reply) -> str:
    """Describe the incomplete part of an answer, and the remedy."""
    if reply.repeated_at:
        return (
            f"{name} says the same over and over {listed(reply.repeated_at)}: ask another model, or take another seed"
        )
    if reply.mode == "masks":
        cut = listed(reply.cut_at)
        return f"max_tokens={request.max_tokens} cut {name}'s answer {cut}, which would have gone on; raise it"
    return f"{name} stopped at max_tokens={request.max_tokens} before the value ended; raise it"


def _asked(model: Model, request: Request) -> Generator[Step, Any, Any]:
    """Ask a model; of a group of one exception, as a task group raises it, that one is raised."""
    try:
        return _priced(model, (yield Ask(model, request)))
    except ExceptionGroup as group:
        alone: Exception = group
        while isinstance(alone, ExceptionGroup) and len(alone.exceptions) == 1:
            alone = alone.exceptions[0]
    try:
        raise alone
    finally:
        del alone  # its traceback holds this frame


def _least(one: Budget, other: Budget) -> Budget:
    pairs = {name: [v for v in (getattr(one, name), getattr(other, name)) if v is not None] for name in vars(one)}
    return Budget(**{name: min(values) if values else None for name, values in pairs.items()})


def _priced(model: Model, reply: Any) -> Any:
    """Return a reply with its cost, which a model may leave to its price. Raises ModelError for impossible figures."""
    if isinstance(reply, Reply) and (wrong := impossible_figure(reply)) is not None:
        shown = written(getattr(reply, wrong))
        raise ModelError(f"{model.name} answered with {wrong}={shown}, which no record can hold")
    if not isinstance(reply, Reply) or reply.cost is not None:
        return reply
    cost = adapters.price(model, reply.prompt_tokens, reply.completion_tokens)
    return reply if cost is None else replace(reply, cost=cost)


def _affordable(model: Model, prompt: int, most: int, usd: float) -> int:
    """Return how many completion tokens an amount of money certainly pays for, at most `most`."""
    pays_for = adapters.affordable(model, prompt, most, usd)
    if pays_for is None:
        raise _Spent(f"no price of {model.name} is known, so it can't be asked under a budget of money", False)
    return pays_for

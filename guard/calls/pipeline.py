"""`guard.Guard`: a call returns a valid value of a type or raises a typed error; blocking, async or streamed.

The steps of a call are written once, in guard/calls/steps.py; this module carries them out. `_drive` is the blocking
driver and `_adrive` the async one. Both yield partial values while the answer arrives; callers that want only the value
ignore them.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import functools
import inspect
import os
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypedDict, TypeVar, Unpack, overload

from typing_extensions import TypeForm

from guard import models
from guard import trace as traces
from guard.calls import by_field, prompts, recording, turns, validators
from guard.calls.policy import Action, Budget, Choose, Failure, Policy, Repetition
from guard.calls.steps import (
    Ask,
    Ground,
    Keep,
    Load,
    Locate,
    Narrow,
    Plan,
    Recall,
    Record,
    Step,
    Steps,
    Validate,
    steps,
)
from guard.calls.turn_stream import AsyncTurnStream, Attempts, Events, TurnStream
from guard.calls.value_stream import AsyncStream, Ended, Stream
from guard.calls.wholeness import End, whole
from guard.decoding.confidence import Confidence
from guard.errors import SchemaError, Unchecked
from guard.models import adapters, chat_messages, replay_only
from guard.models.base import Model, Reply
from guard.output import grounding, worker_pool
from guard.output import target as targets
from guard.output.checking import Checked
from guard.output.partial import UNKNOWN, Partials, TextSoFar
from guard.support.bounds import check_kind, check_names
from guard.support.threads import in_thread, told_apart
from guard.trace.records import Call, Purpose, check_purpose
from guard.trace.waits import WAIT_S
from guard.turns.turn import ToolChoice, Turn

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

#: A prompt: messages, each with a role and a content, or one text, which becomes a user's message.
Prompt = str | Sequence[Mapping[str, Any]]
#: A JSON Schema: an object of keywords, true or false, or the JSON text of one.
Schema = Mapping[str, Any] | bool | str | bytes

#: The names of a policy's fields as settings.
POLICY_FIELDS = tuple(field.name for field in dataclasses.fields(Policy))


#: The texts that grounded values come from: one text, or several by name.
Inputs = str | Mapping[str, str] | None


class CallArguments(TypedDict, total=False):
    """The arguments of one call besides its messages."""

    seed: int | None
    sources: Inputs
    record_for: Purpose | None


class CallSettings(TypedDict, total=False):
    """The settings of `guard.Guard`, `guard.structured` and `using`, as type checkers and editors see them."""

    model: str | Model | None
    escalate_to: str | Model | Sequence[str | Model]
    retries: int | None
    seed: int | None
    max_tokens: int | None
    temperature: float | None
    budget: Budget | None
    tier_budget: Budget | None
    confidence: Confidence | None
    on: Mapping[Failure, Action]
    thinking: int
    repair: bool
    repetition: Repetition
    choose: Choose
    validators: Iterable[validators.Validator]
    mode: recording.Mode
    record_for: Purpose
    trace: str | os.PathLike[str] | traces.TraceStore | None
    options: Mapping[str, Any]
    style: targets.Style
    system: str
    examples: Iterable[tuple[Any, Any]]


class TurnSettings(TypedDict, total=False):
    """The settings of `turn`, as type checkers and editors see them."""

    tool_choice: ToolChoice
    parallel: bool
    max_calls: int | None
    response: Any
    thinking: int | None
    seed: int | None
    call_bias: float


def _by_known_names(constructor: F) -> F:
    """Make a constructor suggest the parameter that an unknown name may mean."""

    @functools.wraps(constructor)
    def checked(self: Any, *args: Any, **settings: Any) -> None:
        check_names(type(self).__name__, settings, SETTING_NAMES)
        constructor(self, *args, **settings)

    return checked  # type: ignore[return-value] # of the same parameters


class Guard:
    """Asks models for typed values: `Guard(model="smollm2").generate(Invoice, messages=[...])`.

    `model` is asked first, then each of `escalate_to`. The model, retries, seed, max_tokens and temperature default to
    the settings (environment, guard.toml), everything else to `Policy`. `options` are those of `guard.compile`, such as
    `inexact="residual"`. `style="text"` asks for text without quotes for a type that JSON writes as a string, such as a
    Literal. `trace` is the file or database of the trace. `mode` is "live", "record", "replay" or "cache"
    (guard/calls/recording.py). `record_for` says what records may be used for: "training" or "operation" alone
    (guard tune leaves those out). `validators` check every value. `system` is the system message before all others.
    `examples` are pairs of an input and its answer, shown as turns of the conversation. A Guard may be shared between
    threads if its models may.
    """

    @_by_known_names
    def __init__(
        self,
        model: str | Model | None = None,
        *,
        escalate_to: str | Model | Sequence[str | Model] = (),
        retries: int | None = None,
        seed: int | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        budget: Budget | None = None,
        tier_budget: Budget | None = None,
        confidence: Confidence | None = None,
        on: Mapping[Failure, Action] = MappingProxyType({}),
        thinking: int = 0,
        repair: bool = True,
        repetition: Repetition = "tell",
        choose: Choose = "auto",
        validators: Iterable[validators.Validator] = (),
        mode: recording.Mode = "live",
        record_for: Purpose = "training",
        trace: str | os.PathLike[str] | traces.TraceStore | None = None,
        options: Mapping[str, Any] = MappingProxyType({}),
        style: targets.Style = "json",
        system: str = "",
        examples: Iterable[tuple[Any, Any]] = (),
    ) -> None:
        if model is not None:
            check_kind("model", model, str | Model, _A_MODEL)
        check_kind("escalate_to", escalate_to, str | Model | Sequence, f"{_A_MODEL}, or a list of these")
        check_kind("on", on, Mapping, "a dictionary, from failures to actions")
        check_kind("validators", validators, Iterable, "a list of functions")
        check_kind("options", options, Mapping, "a dictionary of guard.compile's options")
        if trace is not None:
            check_kind(
                "trace", trace, str | os.PathLike | traces.TraceStore, "a file, a postgresql:// URL, or a TraceStore"
            )
        from guard.settings import Settings  # imported late: it is slow to import

        settings = Settings.load()
        further = [escalate_to] if isinstance(escalate_to, str | Model) else list(escalate_to)
        for tier in further:
            check_kind("escalate_to", tier, str | Model, f"{_A_MODEL}, or a list of these")
        self.tiers: tuple[str | Model, ...] = (settings.model if model is None else model, *further)
        self.mode = recording.check_mode(mode)
        self.record_for = check_purpose(record_for)
        for tier in self.tiers:
            if isinstance(tier, str) and mode != "replay":  # a replay asks no model, so any recorded name will do
                models.check_name(tier)
        self.policy = Policy(
            retries=settings.retries if retries is None else retries,
            max_tokens=settings.max_tokens if max_tokens is None else max_tokens,
            temperature=settings.temperature if temperature is None else temperature,
            seed=settings.seed if seed is None else seed,
            budget=Budget() if budget is None else budget,
            tier_budget=Budget() if tier_budget is None else tier_budget,
            confidence=Confidence() if confidence is None else confidence,
            on=dict(on.items()),
            thinking=thinking,
            repair=repair,
            repetition=repetition,
            choose=choose,
        )
        self.validators = _checked(validators)
        check_names("guard.compile", options, _OPTION_NAMES)
        self.options = dict(options)
        self.style = _style(style)
        self.system = _text("system", system)
        self.examples = prompts.pairs(examples)
        self._trace = trace
        self._default_trace = settings.trace_path()

    def using(self, **changes: Unpack[CallSettings]) -> Guard:
        """Return a Guard with some settings changed; TypeError for an unknown name."""
        check_names("using", changes, SETTING_NAMES)
        given: dict[str, Any] = {
            "model": self.tiers[0],
            "escalate_to": self.tiers[1:],
            **{name: getattr(self.policy, name) for name in POLICY_FIELDS},
            "validators": self.validators,
            "mode": self.mode,
            "record_for": self.record_for,
            "trace": self._trace,
            "options": self.options,
            "style": self.style,
            "system": self.system,
            "examples": self.examples,
        }
        return Guard(**{**given, **changes})

    @property
    def model_name(self) -> str:
        """The name of the first tier's model as given."""
        first = self.tiers[0]
        return first if isinstance(first, str) else first.name

    @property
    def store(self) -> traces.TraceStore:
        """The trace: the one given, or else the one that GUARD_TRACE or the settings name now."""
        place = self._place
        return place if isinstance(place, traces.TraceStore) else traces.TraceStore.at(place)

    @property
    def _place(self) -> str | os.PathLike[str] | traces.TraceStore:
        return self._trace or os.environ.get("GUARD_TRACE") or self._default_trace

    @overload
    def generate(self, wanted: type[T], messages: Prompt, **given: Unpack[CallArguments]) -> T: ...
    @overload
    def generate(self, wanted: Schema, messages: Prompt, **given: Unpack[CallArguments]) -> Any: ...
    @overload
    def generate(self, wanted: TypeForm[T], messages: Prompt, **given: Unpack[CallArguments]) -> T: ...
    def generate(self, wanted: Any, messages: Prompt, **given: Unpack[CallArguments]) -> Any:
        """Return a value of a type, of a JSON Schema or of a format; raises a CallError that says why there is none.

        The value of a format is its text if the format is one text, otherwise the parts that `Compiled.read` returns.

        Raises SchemaError where the schema can't be enforced, and TraceError where the call can't be recorded.

        The messages are sent unchanged, after the system message and the examples; a text becomes one user's message.
        They should tell the model what it needs to know about the fields; `guard.structured` writes such a prompt
        itself. `seed` is for this call. `sources` are the texts that quoted and stated values come from, one text or
        several by name; None means the user's messages. `record_for` is for this call too. Other settings are the
        Guard's: `guard.Guard().using(max_tokens=60).generate(…)`.
        """
        return whole(*self.run(self._planned("generate", wanted, messages, given)))

    @overload
    async def agenerate(self, wanted: type[T], messages: Prompt, **given: Unpack[CallArguments]) -> T: ...
    @overload
    async def agenerate(self, wanted: Schema, messages: Prompt, **given: Unpack[CallArguments]) -> Any: ...
    @overload
    async def agenerate(self, wanted: TypeForm[T], messages: Prompt, **given: Unpack[CallArguments]) -> T: ...
    async def agenerate(self, wanted: Any, messages: Prompt, **given: Unpack[CallArguments]) -> Any:
        """Do what `generate` does, async."""
        return whole(*await self.arun(self._planned("agenerate", wanted, messages, given)))

    @overload
    def traced(self, wanted: type[T], messages: Prompt, **given: Unpack[CallArguments]) -> tuple[T, Call]: ...
    @overload
    def traced(self, wanted: Schema, messages: Prompt, **given: Unpack[CallArguments]) -> tuple[Any, Call]: ...
    @overload
    def traced(self, wanted: TypeForm[T], messages: Prompt, **given: Unpack[CallArguments]) -> tuple[T, Call]: ...
    def traced(self, wanted: Any, messages: Prompt, **given: Unpack[CallArguments]) -> tuple[Any, Call]:
        """Return the value and the record of the call."""
        return self.run(self._planned("traced", wanted, messages, given))

    @overload
    async def atraced(self, wanted: type[T], messages: Prompt, **given: Unpack[CallArguments]) -> tuple[T, Call]: ...
    @overload
    async def atraced(self, wanted: Schema, messages: Prompt, **given: Unpack[CallArguments]) -> tuple[Any, Call]: ...
    @overload
    async def atraced(
        self, wanted: TypeForm[T], messages: Prompt, **given: Unpack[CallArguments]
    ) -> tuple[T, Call]: ...
    async def atraced(self, wanted: Any, messages: Prompt, **given: Unpack[CallArguments]) -> tuple[Any, Call]:
        """Do what `traced` does, async."""
        return await self.arun(self._planned("atraced", wanted, messages, given))

    @overload
    def stream(self, wanted: type[T], messages: Prompt, **given: Unpack[CallArguments]) -> Stream[T]: ...
    @overload
    def stream(self, wanted: Schema, messages: Prompt, **given: Unpack[CallArguments]) -> Stream[Any]: ...
    @overload
    def stream(self, wanted: TypeForm[T], messages: Prompt, **given: Unpack[CallArguments]) -> Stream[T]: ...
    def stream(self, wanted: Any, messages: Prompt, **given: Unpack[CallArguments]) -> Stream[Any]:
        """Return an iterator of partial values while they arrive; the last one is the validated value."""
        return self.run_stream(self._planned("stream", wanted, messages, given))

    @overload
    def astream(self, wanted: type[T], messages: Prompt, **given: Unpack[CallArguments]) -> AsyncStream[T]: ...
    @overload
    def astream(self, wanted: Schema, messages: Prompt, **given: Unpack[CallArguments]) -> AsyncStream[Any]: ...
    @overload
    def astream(self, wanted: TypeForm[T], messages: Prompt, **given: Unpack[CallArguments]) -> AsyncStream[T]: ...
    def astream(self, wanted: Any, messages: Prompt, **given: Unpack[CallArguments]) -> AsyncStream[Any]:
        """Do what `stream` does, async."""
        return self.arun_stream(self._planned("astream", wanted, messages, given))

    def turn(self, messages: Prompt, tools: Iterable[Any] = (), **asked: Unpack[TurnSettings]) -> Turn:
        """Return the model's next turn: its text and its tool calls, all validated.

        `tools` are functions, Pydantic models or JSON. `tool_choice` is "none", "auto" (the default), "required" or a
        tool's name. `parallel=False` allows one call, `max_calls` that many. `response` is the type or JSON Schema of
        an answer without calls. `thinking` and `seed` are for this turn. `call_bias` is added to the logit of a call
        under "auto", for a local model: above 0 it calls more often.

        A local model writes calls under masks as its chat template does. Other models are told of the tools in words.

        Raises a CallError that says why there is no turn, SchemaError where a tool's schema can't be enforced.
        """
        return turns.finished(*self.run(self._turn(messages, tools, asked)))

    async def aturn(self, messages: Prompt, tools: Iterable[Any] = (), **asked: Unpack[TurnSettings]) -> Turn:
        """Do what `turn` does, async."""
        return turns.finished(*await self.arun(self._turn(messages, tools, asked)))

    def stream_turn(self, messages: Prompt, tools: Iterable[Any] = (), **asked: Unpack[TurnSettings]) -> TurnStream:
        """Return an iterator of a turn's events while it is written; the arguments are those of `turn`."""
        plan = self._turn(messages, tools, asked)
        return TurnStream(Stream(_drive(steps(plan), self._ready(plan), Attempts()), turns.finished))

    def astream_turn(
        self, messages: Prompt, tools: Iterable[Any] = (), **asked: Unpack[TurnSettings]
    ) -> AsyncTurnStream:
        """Do what `stream_turn` does, async."""
        plan = self._turn(messages, tools, asked)
        return AsyncTurnStream(AsyncStream(_adrive(steps(plan), self, plan, Attempts()), turns.finished))

    def _turn(self, messages: Prompt, tools: Iterable[Any], asked: TurnSettings) -> Plan:
        check_names("turn", asked, tuple(TurnSettings.__annotations__), SETTING_NAMES)
        wanted = {name: one for name, one in asked.items() if name not in ("thinking", "seed")}
        may_be = turns.asked_for(tools, **wanted, options=self.options)  # type: ignore[arg-type] # checked by name above
        return self.turn_plan(may_be, messages, thinking=asked.get("thinking"), seed=asked.get("seed"))

    def turn_plan(
        self,
        asked: turns.Asked,
        messages: Prompt,
        *,
        thinking: int | None = None,
        seed: int | None = None,
        function: str = "",
        sources: Mapping[str, str] | None = None,
    ) -> Plan:
        """Return the plan of a turn, which `run` and `arun` carry out; `sources` are by default what the user said."""
        conversation = turns.conversation(messages, self.system)
        found = chat_messages.said_by_user(conversation) if sources is None else sources
        plan = self.plan(asked.target(conversation, self.options), conversation, function=function, sources=found)
        return turns.shaped(plan, asked.wanted, thinking=thinking, seed=seed)

    def _planned(self, called: str, wanted: Any, messages: Prompt, given: CallArguments) -> Plan:
        check_names(called, given, tuple(CallArguments.__annotations__), SETTING_NAMES)
        seed, sources, record_for = given.get("seed"), given.get("sources"), given.get("record_for")
        target = self.target(wanted)
        asked = chat_messages.checked(messages)
        if self.system and asked[0]["role"] == "system":
            raise ValueError("system=… and a message of the system's at the beginning are two; leave one out")
        turns = [
            (prompts.as_text(given), target.written(answer, f"examples[{number}]"))
            for number, (given, answer) in enumerate(self.examples)
        ]
        policy = self.policy if seed is None else dataclasses.replace(self.policy, seed=seed)
        found = prompts.inputs(sources) if sources is not None else chat_messages.said_by_user(asked)
        plan = self.plan(target, (*prompts.opening(self.system, turns), *asked), sources=found)
        purpose = self.record_for if record_for is None else check_purpose(record_for)
        return dataclasses.replace(plan, policy=policy, record_for=purpose)

    def target(self, wanted: Any) -> targets.Target:
        """Compile the target; SchemaError where it is refused and no later tier could do without masks."""
        try:
            return targets.from_any(wanted, self.options, self.style)
        except SchemaError as error:
            if len(self.tiers) == 1 or "inexact" in self.options:
                raise
            unmasked = targets.from_any(wanted, {**self.options, "inexact": "residual"}, self.style)
            return dataclasses.replace(unmasked, refused=copy.copy(error))  # without the compiler's frames

    def plan(
        self,
        target: targets.Target,
        messages: Sequence[Mapping[str, Any]],
        *,
        template: str = "",
        function: str = "",
        sources: Mapping[str, str] = MappingProxyType({}),
    ) -> Plan:
        """Return the plan of a call: the first step, which can be inspected before anything is spent."""
        self.policy.check_tiers(len(self.tiers))  # checked here, because using() may have added tiers
        asked = chat_messages.checked(messages)
        chat_messages.check_size(asked)
        more = (template, function, self.validators, self.mode)
        return Plan(target, asked, self.policy, self.tiers, *more, sources=sources, record_for=self.record_for)

    def run(self, plan: Plan) -> tuple[Any, Call]:
        """Carry out a plan, blocking; returns the value and the record of the call."""
        driven = _drive(steps(plan), self._ready(plan), None)
        while True:
            try:
                next(driven)
            except StopIteration as end:
                value, call = end.value
                return value, call

    def run_to_record(self, plan: Plan) -> Generator[Record, Call, tuple[Any, Call]]:
        """Carry out a plan, blocking, except for its record: yields that, and is sent it once it is committed."""
        return _drive(steps(plan), self._ready(plan), None, apart=Record)

    async def arun(self, plan: Plan) -> tuple[Any, Call]:
        """Carry out a plan, async; returns the value and the record of the call."""
        async with contextlib.aclosing(_adrive(steps(plan), self, plan, None)) as driven:
            async for event in driven:
                if isinstance(event, Ended):
                    return event.value, event.call
        raise AssertionError("the steps of a call end in a value or an error")

    def run_stream(self, plan: Plan) -> Stream[Any]:
        """Carry out a plan, blocking; the stream yields partial values."""
        return Stream(_drive(steps(plan), self._ready(plan), plan.target.partials))

    def arun_stream(self, plan: Plan, end: End = whole) -> AsyncStream[Any]:
        """Carry out a plan, async; the stream yields partial values, and in the end what `end` makes of the value."""
        return AsyncStream(_adrive(steps(plan), self, plan, plan.target.partials), end)

    def _ready(self, plan: Plan) -> traces.TraceStore:
        store = self.store
        seconds = plan.policy.budget.seconds
        store.check_writable(WAIT_S if seconds is None else min(WAIT_S, seconds))  # before anything is spent
        return store


SETTING_NAMES = (
    "model",
    "escalate_to",
    *POLICY_FIELDS,
    "validators",
    "mode",
    "record_for",
    "trace",
    "options",
    "style",
    "system",
    "examples",
)
#: The options of `guard.compile`, listed here because importing it takes time.
_OPTION_NAMES = ("key_order", "whitespace", "spelling", "formats", "draft", "documents", "inexact", "limits")
_checked = validators.check_validators


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name}={value!r} must be a text")
    return value


def _style(given: Any) -> targets.Style:
    if given not in targets.STYLES:
        raise ValueError(f"style={given!r} must be {' or '.join(map(repr, targets.STYLES))}")
    style: targets.Style = given
    return style


_A_MODEL = "the name of a model, or an object with a name and generate(request)"

#: Makes the partial values of an answer; None where they are not wanted.
Partial = Callable[[], Partials | TextSoFar | Events] | None


def _drive(
    steps: Steps, store: traces.TraceStore, partial: Partial, apart: type[Step] | tuple[()] = ()
) -> Generator[Any, Any, tuple[Any, Call]]:
    """Carry out the steps of a call, blocking; yields partial values if they are wanted, and the steps of kind `apart`.

    Whoever gets such a step carries it out, and sends what came of it.
    """
    done: Any = None
    error: BaseException | None = None
    try:
        while True:
            try:
                while True:  # a loop of its own: handlers strike where one begins again, and must be caught there
                    step = steps.send(done) if error is None else steps.throw(error)
                    error = None
                    if isinstance(step, apart):
                        done = yield step
                    elif partial is not None and isinstance(step, Ask):
                        done = yield from _pieces(step, partial())
                    else:
                        done = _do(step, store)
            except BaseException as raised:  # also in between, by a signal handler
                if inspect.getgeneratorstate(steps) == inspect.GEN_CLOSED:  # they have ended, by this
                    if isinstance(raised, StopIteration):
                        value, call = raised.value
                        return value, call
                    raise
                error = raised  # the steps record what happened, then raise
    finally:
        del error  # its traceback holds this frame


def _pieces(step: Ask, partials: Partials | TextSoFar | Events) -> Generator[Any, None, Reply]:
    with contextlib.closing(_generator(adapters.pieces(step.model, step.request))) as parts:
        for part in parts:
            if isinstance(part, Reply):
                return part
            if part and (known := partials.feed(part)) is not UNKNOWN:
                yield known
    raise AssertionError(f"the stream of {step.model.name} ended without its reply")


def _generator(parts: Iterator[Any]) -> Generator[Any, None, None]:
    yield from parts


def _do(step: Step, store: traces.TraceStore) -> Any:
    if isinstance(step, Ask):
        return adapters.generate(step.model, step.request)
    if isinstance(step, Validate):
        return step.checker.check(step.text, mends=step.mends, until=step.until)
    if isinstance(step, Ground):
        return grounding.grounded(step.compiled, step.sources)
    if isinstance(step, Narrow):
        return by_field.narrowed(step.compiled, step.names, step.sources)
    if isinstance(step, Locate):
        return step.checker.check(step.text, step.sources)
    if isinstance(step, Load):
        return replay_only.stand_in(step.model) if step.is_replay else models.load(step.model)
    if isinstance(step, Record):
        return store.write(step.call, step.compiled, step.seconds)
    if isinstance(step, Recall):
        return store.recorded(step.key)
    assert isinstance(step, Keep)
    return store.record(step.key, dict(step.body), step.seconds)


async def _adrive(steps: Steps, guard: Guard, plan: Plan, partial: Partial) -> AsyncGenerator[Any, None]:
    """Carry out the steps of a call, async; yields partial values if they are wanted, and finally an Ended."""
    store = traces.TraceStore.opened(guard._place)
    if store is None:
        store = await asyncio.to_thread(guard._ready, plan)
    done: Any = None
    error: BaseException | None = None
    try:
        while True:
            try:
                step = steps.send(done) if error is None else steps.throw(error)
                error = None
                if not isinstance(step, Ask):
                    done = await _ado(step, store)
                elif partial is None:
                    done = await adapters.agenerate(step.model, step.request)
                else:
                    partials, done = partial(), None
                    async with contextlib.aclosing(adapters.apieces(step.model, step.request)) as parts:
                        async for part in parts:
                            if isinstance(part, Reply):
                                done = part
                            elif part and (known := partials.feed(part)) is not UNKNOWN:
                                yield known
                    assert done is not None, f"the stream of {step.model.name} ended without its reply"
            except BaseException as raised:
                if inspect.getgeneratorstate(steps) == inspect.GEN_CLOSED:
                    if isinstance(raised, StopIteration):
                        yield Ended(*raised.value)
                        return
                    raise
                error = raised
    finally:
        del error


async def _ado(step: Step, store: traces.TraceStore) -> Any:
    if isinstance(step, Load) and not isinstance(step.model, str):
        return models.load(step.model)
    if isinstance(step, Validate):
        return await _acheck(step)
    if isinstance(step, Record):
        return await store.awrite(step.call, step.compiled, step.seconds)
    # A started step is finished even if the caller is cancelled meanwhile.
    return await asyncio.shield(asyncio.ensure_future(in_thread(_do, step, store)))


async def _acheck(step: Validate) -> Checked:
    """Check a text without blocking the event loop."""
    checker, text, mends = step.checker, step.text, step.mends
    is_quick = checker.is_quick(text, mends=mends)
    near = checker.near(text, mends=mends) if is_quick else await in_thread(checker.near, text, mends=mends)
    if near is not None:
        return near
    far = functools.partial(told_apart(checker.far), text, mends=mends, until=step.until)
    waiting = asyncio.get_running_loop().run_in_executor(worker_pool.WORKERS.threads, far)
    try:
        async with asyncio.timeout(None if step.until is None else step.until - time.monotonic()):
            return await waiting
    except TimeoutError:
        raise Unchecked("the answer could not be checked in the time that was left") from None

"""The pipeline under every call: plan, attempt, validate, re-ask with findings, record.

`_steps` is the whole of it, written once as a generator that does no I/O with models: it yields the request to be
answered and is sent the reply, or has the model's error thrown in. A driver answers the requests; `_run` is the
blocking one. Words live in guard/prompts.py, checks in guard/targets.py, the record's values in guard/records.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar, overload

from guard import models, prompts, targets
from guard.errors import CallError, GuardError, ModelError, Truncated, ValidationFailed
from guard.models.base import Model, Reply, Request
from guard.policy import Policy
from guard.records import VALID, Attempt, Call
from guard.settings import Settings
from guard.trace import TraceStore

T = TypeVar("T")

#: What the steps of a call yield, are sent, and return.
Steps = Generator[Request, Reply, tuple[Any, Call]]


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before a model is asked."""

    target: targets.Target
    messages: prompts.Messages  # the plan's own copy
    policy: Policy
    model: str  # as asked for
    template: str = ""
    function: str = ""


class Guard:
    """Asks one model for typed values: `Guard(model="smollm2").generate(Invoice, messages=[...])`.

    What is not given comes from the settings (environment, guard.toml). `options` are those of `guard.compile`, such as
    `inexact="residual"`; `trace` is the file of the trace. Safe to share between threads where its model is.
    """

    def __init__(
        self,
        model: str | Model | None = None,
        *,
        retries: int | None = None,
        seed: int | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        trace: str | os.PathLike[str] | None = None,
        options: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        settings = Settings.load()
        self.model: str | Model = settings.model if model is None else model
        self.policy = Policy(
            retries=settings.retries if retries is None else retries,
            max_tokens=settings.max_tokens if max_tokens is None else max_tokens,
            temperature=settings.temperature if temperature is None else temperature,
            seed=settings.seed if seed is None else seed,
        )
        self.options = dict(options)
        self._trace = trace
        self._default_trace = settings.trace_path()

    @property
    def model_name(self) -> str:
        """The model as asked for."""
        return self.model if isinstance(self.model, str) else self.model.name

    @property
    def store(self) -> TraceStore:
        """Where calls are recorded: the file given, else the one that GUARD_TRACE names now, else the settings'."""
        return TraceStore.at(self._trace or os.environ.get("GUARD_TRACE") or self._default_trace)

    @overload
    def generate(self, wanted: type[T], messages: Sequence[Mapping[str, Any]]) -> T: ...
    @overload
    def generate(self, wanted: Any, messages: Sequence[Mapping[str, Any]]) -> Any: ...
    def generate(self, wanted: Any, messages: Sequence[Mapping[str, Any]]) -> Any:
        """Return a value of a type, or of a JSON Schema; raises a GuardError that says why there is none.

        The messages are sent as they are: what the model should know about the fields is the caller's to say, or
        `guard.structured`'s, which writes the prompt.
        """
        return self.traced(wanted, messages)[0]

    def traced(self, wanted: Any, messages: Sequence[Mapping[str, Any]]) -> tuple[Any, Call]:
        """Return the value and the record of the call."""
        return self.run(self.plan(targets.from_any(wanted, self.options), messages))

    def plan(
        self,
        target: targets.Target,
        messages: Sequence[Mapping[str, Any]],
        *,
        template: str = "",
        function: str = "",
        policy: Policy | None = None,
    ) -> Plan:
        """Decide a call: the first of its steps, and the only one that can be looked at before it costs anything."""
        copied = prompts.copied(messages)
        if not copied:
            raise ValueError("messages=[] must hold at least one message")
        return Plan(target, copied, policy or self.policy, self.model_name, template, function)

    def run(self, plan: Plan) -> tuple[Any, Call]:
        """Carry out a plan, blocking; returns the value and the record of the call."""
        store = self.store
        store.check_writable()  # before the call costs anything
        model = models.load(self.model)
        return _run(_steps(plan, store), model)


def _run(steps: Steps, model: Model) -> tuple[Any, Call]:
    """Answer the requests of a call's steps with a model, blocking."""
    try:
        request = next(steps)
        while True:
            try:
                reply = model.generate(request)
            except BaseException as error:  # the steps record what happened, then raise
                request = steps.throw(error)
            else:
                request = steps.send(reply)
    except StopIteration as end:
        value, call = end.value
        return value, call


def _steps(plan: Plan, store: TraceStore) -> Steps:
    """Ask until the answer is valid or the attempts are spent; the record is committed before this ends or raises."""
    policy, target = plan.policy, plan.target
    started, clock = time.time(), time.perf_counter()
    attempts: list[Attempt] = []

    def record(outcome: str, error: str = "") -> Call:
        return store.write(
            Call(
                function=plan.function,
                target=target.name,
                schema_hash=target.compiled.hash,
                template=plan.template,
                model=plan.model,
                options=MappingProxyType(policy.as_dict()),
                started=started,
                seconds=time.perf_counter() - clock,
                outcome=outcome,
                error=error,
                attempts=tuple(attempts),
            )
        )

    def failure(error: CallError) -> CallError:
        call = record(type(error).__name__, error.message)
        findings = error.findings or next((a.findings for a in reversed(attempts) if a.findings), ())
        return type(error)(error.message, findings=findings, attempts=attempts, call=call.number)

    messages = plan.messages
    for number in range(1, policy.retries + 2):
        request = Request(
            messages=prompts.copied(messages),
            compiled=target.compiled,
            max_tokens=policy.max_tokens,
            temperature=policy.temperature,
            seed=policy.seed + number - 1,  # another draw for another attempt
        )
        try:
            reply = yield request
        except CallError as error:
            attempts.append(Attempt(number, messages, error=error.message))
            raise failure(error) from error
        except GuardError as error:  # a limit of the schema, met while decoding
            attempts.append(Attempt(number, messages, error=str(error)))
            record(type(error).__name__, str(error))
            raise
        except Exception as error:
            words = f"{plan.model} failed: {type(error).__name__}: {error}"
            attempts.append(Attempt(number, messages, error=words))
            raise failure(ModelError(words)) from error
        except BaseException as error:  # the caller was interrupted: the record says so, the interrupt goes on
            attempts.append(Attempt(number, messages, error=type(error).__name__))
            record(type(error).__name__)
            raise
        value, findings = target.check(reply.text)
        attempts.append(Attempt(number, messages, reply, findings))
        if not findings:
            return value, record(VALID)
        if reply.finish == "length":
            raise failure(
                Truncated(f"{plan.model} stopped at max_tokens={policy.max_tokens} before the value ended; raise it")
            )
        messages = prompts.re_ask(messages, reply.text, findings)
    last = attempts[-1].findings
    more = f", and {len(last) - 1} more" if len(last) > 1 else ""
    count = "1 attempt" if len(attempts) == 1 else f"{len(attempts)} attempts"
    raise failure(ValidationFailed(f"{plan.model} gave no valid {target.name} in {count}: {last[0]}{more}"))

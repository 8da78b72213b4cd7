"""`run_tools`: asks a model and runs the tools that it calls until it answers, with one budget for all turns."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, TypeVar, Unpack

from guard.calls import turns
from guard.calls.pipeline import CallSettings, Guard, Prompt
from guard.calls.policy import Budget
from guard.calls.steps import Plan
from guard.errors import BudgetExceeded, CallError
from guard.models import chat_messages
from guard.support.async_functions import is_awaited
from guard.support.bounds import MOST_COUNT, check
from guard.support.threads import in_thread
from guard.tools import specs
from guard.trace.records import Call
from guard.turns.turn import ToolChoice, Turn, TurnCall

T = TypeVar("T")

MOST_TURNS = 10  #: Most turns by default.


@dataclass(frozen=True)
class Conversation:
    """The result of a conversation: the model's turns and all messages."""

    turns: tuple[Turn, ...]
    messages: tuple[Mapping[str, Any], ...]  #: All messages with the results of calls, ready to be continued.

    @property
    def text(self) -> str:
        """The text of the last turn."""
        return self.turns[-1].text

    @property
    def value(self) -> Any:
        """The answer, of the type given as `response`."""
        return self.turns[-1].value

    @property
    def records(self) -> tuple[Call, ...]:
        """The records of the turns, in order."""
        return tuple(turn.record for turn in self.turns)

    @property
    def cost(self) -> float | None:
        """The cost of all turns in US dollars; None where a price is not known."""
        costs = [reply.cost for record in self.records for reply in _replies(record)]
        return None if None in costs else sum(cost for cost in costs if cost is not None)


class LoopSettings(TypedDict, total=False):
    """How `run_tools` goes on from turn to turn."""

    max_turns: int
    tool_choice: ToolChoice
    parallel: bool
    response: Any
    on_error: Literal["tell", "raise"]


class ToolSettings(LoopSettings, CallSettings, total=False):
    """The settings of `run_tools`, as type checkers and editors see them."""


def run_tools(messages: Prompt, tools: Iterable[Any], **settings: Unpack[ToolSettings]) -> Conversation:
    """Ask a model, run the functions that it calls and tell it their results, until it answers without a call.

    `tools` are functions. `max_turns` bounds the turns, by default 10. `tool_choice` ("auto") applies to the first
    turn; later turns are free. `parallel=False` allows one call a turn. `response` is the answer's type or JSON Schema,
    text where none is given. `on_error` is "tell", so that the model is told of a function's exception, or "raise". All
    other settings are those of `guard.Guard`; the budget covers the whole conversation.

    Raises a CallError that says why a turn failed, and BudgetExceeded where the model still calls tools after
    `max_turns`. The error's `conversation` holds the messages up to then.
    """
    return _loop(messages, tools, settings).run()


async def arun_tools(messages: Prompt, tools: Iterable[Any], **settings: Unpack[ToolSettings]) -> Conversation:
    """Do what `run_tools` does, async: the calls of a turn run concurrently, blocking functions in threads."""
    return await _loop(messages, tools, settings).arun()


def _loop(messages: Prompt, tools: Iterable[Any], settings: Mapping[str, Any]) -> ToolLoop:
    loop = {name: settings[name] for name in LoopSettings.__annotations__ if name in settings}
    return ToolLoop(Guard(**{k: v for k, v in settings.items() if k not in loop}), messages, tools, **loop)


class ToolLoop:
    """A running conversation.

    The arguments are those of `run_tools`, the function's name in the trace, and the inputs of grounded values, by
    default what the user said.
    """

    def __init__(
        self,
        guard: Guard,
        messages: Prompt,
        tools: Iterable[Any],
        max_turns: int = MOST_TURNS,
        tool_choice: ToolChoice = "auto",
        parallel: bool = True,
        response: Any = None,
        on_error: str = "tell",
        function: str = "",
        sources: Mapping[str, str] | None = None,
    ) -> None:
        check("max_turns", max_turns, 1, MOST_COUNT, is_whole=True)
        if on_error not in ("tell", "raise"):
            raise ValueError(f"on_error={on_error!r} must be 'tell' or 'raise'")
        self.tools = specs(tools)
        for tool in self.tools:
            if tool.function is None:
                raise ValueError(f"the tool {tool.name!r} is no function, so nobody could run it; use Guard.turn")
        self.messages: tuple[Mapping[str, Any], ...] = chat_messages.checked(messages)
        self._turns: list[Turn] = []
        self._most, self._choice, self._parallel = max_turns, tool_choice, parallel
        self._response, self._on_error, self._whole = response, on_error, guard
        self._start, self._function, self._sources = time.perf_counter(), function, sources

    def run(self) -> Conversation:
        """Run the conversation. Blocks."""
        for tool in self.tools:
            if is_awaited(tool.function):
                raise TypeError(f"{tool.name} is an async function, and this call is not; use arun_tools")
        with self._remembered():
            while not self._is_over:
                guard = self._guard
                turn = self._taken(*guard.run(self._plan(guard)))
                self.messages = (*self.messages, *map(self._ran, turn.calls))
        return self._conversation

    async def arun(self) -> Conversation:
        """Run the conversation, async."""
        with self._remembered():
            while not self._is_over:
                guard = self._guard
                turn = self._taken(*await guard.arun(self._plan(guard)))
                self.messages = (*self.messages, *await _together(map(self._aran, turn.calls)))
        return self._conversation

    @contextlib.contextmanager
    def _remembered(self) -> Iterator[None]:
        """Attach the conversation so far to an error, because functions have run and their effects stay."""
        try:
            yield
        except CallError as error:
            error.conversation = self._conversation
            raise

    @property
    def _is_over(self) -> bool:
        if not self._turns or self._turns[-1].calls:
            if len(self._turns) == self._most:
                raise BudgetExceeded(f"max_turns={self._most} were over, and the model still called tools; raise it")
            return False
        return True

    @property
    def _conversation(self) -> Conversation:
        return Conversation(tuple(self._turns), self.messages)

    @property
    def _guard(self) -> Guard:
        """Return the Guard for the next turn, with the rest of the budget."""
        whole = self._whole.policy.budget
        if whole == Budget():
            return self._whole
        replies = [reply for turn in self._turns for reply in _replies(turn.record)]
        left = whole.after(replies, time.perf_counter() - self._start, f"{len(self._turns)} turns")
        return self._whole.using(budget=left)

    def _plan(self, guard: Guard) -> Plan:
        choice = "auto" if self._turns else self._choice
        asked = turns.asked_for(
            self.tools, choice, parallel=self._parallel, response=self._response, options=guard.options
        )
        return guard.turn_plan(asked, self.messages, function=self._function, sources=self._sources)

    def _taken(self, made: Turn, call: Call) -> Turn:
        turn = turns.finished(made, call)
        self._turns.append(turn)
        self.messages = (*self.messages, turn.message)
        return turn

    def _ran(self, call: TurnCall) -> dict[str, Any]:
        try:
            return call.result(call.run())
        except Exception as error:
            return self._failed(call, error)

    async def _aran(self, call: TurnCall) -> dict[str, Any]:
        try:
            function = call.spec.function if call.spec is not None else None
            answer = call.run() if is_awaited(function) else await in_thread(call.run)
            return call.result(await answer if inspect.isawaitable(answer) else answer)
        except Exception as error:
            return self._failed(call, error)

    def _failed(self, call: TurnCall, error: Exception) -> dict[str, Any]:
        if self._on_error == "raise":
            raise error
        return call.result(f"{call.name} failed: {type(error).__name__}: {error}")


async def _together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return the results of all, in order. Where one raises, or the caller is cancelled, none runs on."""
    running = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*running)
    finally:
        for one in running:
            one.cancel()
        if running:
            await asyncio.wait(running)


def _replies(record: Call) -> list[Any]:
    return [attempt.reply for attempt in record.attempts if attempt.reply is not None]

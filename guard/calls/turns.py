"""One turn of a conversation, asked for as a call whose value is a `Turn`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from guard.models import chat_messages
from guard.output import target as targets
from guard.support.bounds import MOST_COUNT, check, check_kind
from guard.turns import asking_again, value
from guard.turns import models as turn_models
from guard.turns.turn import ToolChoice, Turn, Wanted, chosen
from guard.turns.turn import target as turn_target

if TYPE_CHECKING:
    from guard.calls.steps import Plan
    from guard.trace.records import Call


@dataclasses.dataclass(frozen=True)
class Asked:
    """The constraints of a turn, and the target that checks an answer without calls."""

    wanted: Wanted
    response: targets.Target | None

    def target(self, messages: chat_messages.Messages, options: Mapping[str, Any]) -> targets.Target:
        """Return the target that checks the turn."""
        return turn_target(self.wanted, messages, options, self.response)


def asked_for(
    tools: Iterable[Any],
    tool_choice: ToolChoice = "auto",
    *,
    parallel: bool = True,
    max_calls: int | None = None,
    response: Any = None,
    call_bias: float = 0.0,
    options: Mapping[str, Any],
) -> Asked:
    """Return the constraints of a turn; ValueError and TypeError name a wrong argument."""
    from guard import tools as tool_specs  # imported late: it needs Pydantic

    check_kind("parallel", parallel, bool, "True or False")
    most = value.MOST_CALLS if max_calls is None else max_calls
    check("max_calls", most, 1, MOST_COUNT, is_whole=True)
    check_kind("call_bias", call_bias, int | float, "a number")
    answer = None if response is None else targets.from_any(response, options)
    schema = None if answer is None else answer.schema
    most = most if parallel else min(most, 1)
    return Asked(Wanted(tool_specs.specs(tools), chosen(tool_choice), most, schema, call_bias=call_bias), answer)


def conversation(messages: Any, system: str) -> chat_messages.Messages:
    """Return the caller's messages after the system message."""
    asked = chat_messages.checked(messages)
    return ({"role": "system", "content": system}, *asked) if system else asked


def shaped(plan: Plan, wanted: Wanted, *, thinking: int | None = None, seed: int | None = None) -> Plan:
    """Return the plan with its models wrapped so that they answer with a turn."""
    changes: dict[str, Any] = {"thinking": thinking, "seed": seed}
    policy = dataclasses.replace(plan.policy, **{name: one for name, one in changes.items() if one is not None})
    names = [tool.name for tool in wanted.callable]
    return dataclasses.replace(
        plan,
        policy=policy,
        around=functools.partial(turn_models.around, wanted),
        re_ask=functools.partial(asking_again.re_ask, names=names),
    )


def finished(made: Turn, call: Call) -> Turn:
    """Return the turn with its record, and the thinking from it."""
    reply = call.answer.reply if call.answer is not None else None
    told = ("", None) if reply is None else (reply.thinking, reply.decision)
    return dataclasses.replace(made, thinking=told[0], call_probability=told[1], record=call)

"""`Turn`: what a model did in one turn (text, calls, a value), and the target that checks it."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from guard.errors import Finding, SchemaError, Violation
from guard.kernels.unicode_text import writable
from guard.output import target as targets
from guard.output.checking import TypeChecker
from guard.output.partial import TextSoFar
from guard.support.bounds import written
from guard.turns import value

if TYPE_CHECKING:
    from guard.tools import ToolSpec

#: Values of `tool_choice` besides the name of a tool.
CHOICES = ("none", "auto", "required")
_log = logging.getLogger("guard")
#: "none", "auto", "required", a tool's name, or OpenAI's form of that: {"type": "function", "function": {"name": …}}.
ToolChoice: TypeAlias = str | Mapping[str, Any]


def chosen(tool_choice: ToolChoice) -> str:
    """Return one of CHOICES, or the name of the tool that a `tool_choice` means. Raises ValueError for other forms."""
    if isinstance(tool_choice, str):
        return tool_choice
    function = tool_choice.get("function", tool_choice)
    name = function.get("name") if isinstance(function, Mapping) else None
    if tool_choice.get("type", "function") != "function" or not isinstance(name, str):
        raise ValueError(f'tool_choice={written(tool_choice)} must be "auto", "none", "required" or a tool\'s name')
    if name in CHOICES:
        raise ValueError(f"tool_choice can't name the tool {name!r}, which is a choice; give the tool another name")
    return name


@dataclass(frozen=True)
class TurnCall:
    """A call of a tool with checked arguments; `run` calls the function."""

    id: str  #: Identifies the call; the message with its result names it.
    name: str  #: The tool's name.
    arguments: dict[str, Any] = field(hash=False)  #: As JSON values.
    #: The arguments as an instance of the tool's class, where it has one.
    built: Any = field(default=None, repr=False, compare=False)
    spec: ToolSpec | None = field(default=None, repr=False, compare=False)

    def run(self) -> Any:
        """Call the function with the arguments. An `async def` returns its coroutine; TypeError without a function."""
        if self.spec is None or self.spec.function is None:
            words = "was given as JSON, or in another process: call its function with .arguments"
            raise TypeError(f"{self.name} {words}")
        if self.spec.arguments is None:
            return self.spec.function(**self.arguments)
        from guard.tools import parameters  # imported late: it imports Pydantic

        return self.spec.function(**parameters(self.built))

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without the instance, whose class may be made for each process."""
        return {**vars(self), "built": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Build the instance again."""
        vars(self).update(state)
        if self.spec is not None and self.spec.arguments is not None:
            vars(self)["built"] = _validated(self.spec, self.arguments, "")[0]

    def result(self, answer: Any) -> dict[str, Any]:
        """Return the message that tells the model the call's result: text unchanged, anything else as JSON."""
        return {"role": "tool", "tool_call_id": self.id, "name": self.name, "content": said(answer)}


@dataclass(frozen=True)
class Turn:
    """What a model did in one turn."""

    text: str  #: Text beside the calls or instead of them; "" where there is none.
    calls: tuple[TurnCall, ...] = ()
    value: Any = field(
        default=None, hash=False
    )  #: The answer, of the type given as `response`; None where the turn has calls.
    thinking: str = ""  #: The thinking before the answer.
    #: The probability, before any bias, that the turn begins with a call under `tool_choice="auto"`; None: not known.
    call_probability: float | None = field(default=None, compare=False)
    record: Any = field(default=None, repr=False, compare=False)  #: The record of the call.

    @property
    def message(self) -> dict[str, Any]:
        """The turn as a message of the conversation, in OpenAI's form."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text or None}
        if self.calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
                }
                for call in self.calls
            ]
        return message


@dataclass(frozen=True)
class Wanted:
    """The constraints of a turn: its tools, the choice among them, and the answer's schema."""

    tools: tuple[ToolSpec, ...]  # the tools of the conversation
    choice: str = "auto"  # one of CHOICES, or a tool's name
    most: int = value.MOST_CALLS  # calls in one turn; 1 where the choice is a tool's name
    response: Any = None  # the schema of an answer without calls; None: a text
    allowed: frozenset[str] | None = None  # names of tools that may be called; None: all
    call_bias: float = 0.0  # added to the logit of a call's first token, under "auto"

    def __post_init__(self) -> None:
        names = [tool.name for tool in self.tools]
        if self.choice not in (*CHOICES, *names):
            known = ", ".join(map(repr, (*CHOICES, *names)))
            raise ValueError(f"tool_choice={self.choice!r} must be one of {known}")
        if not names and self.choice not in ("none", "auto"):
            raise ValueError(f"tool_choice={self.choice!r} needs tools")
        if not math.isfinite(self.call_bias):
            raise ValueError(f"call_bias={self.call_bias!r} must be a number; tool_choice forces or forbids a call")
        if self.most < 1:
            raise ValueError(f"max_calls={self.most!r} must be 1 or more")
        if self.choice not in CHOICES:  # the name of a tool demands one call of it
            object.__setattr__(self, "most", 1)

    @property
    def callable(self) -> tuple[ToolSpec, ...]:
        """The tools that this turn may call."""
        if self.choice == "none":
            return ()
        named = [tool for tool in self.tools if self.choice in ("auto", "required", tool.name)]
        return tuple(tool for tool in named if self.allowed is None or tool.name in self.allowed)

    @property
    def must_call(self) -> bool:
        """Whether the turn must have a call."""
        return bool(self.tools) and self.choice not in ("none", "auto")

    @property
    def schema(self) -> dict[str, Any]:
        """The schema of the turn as one JSON value."""
        return self._schema([(tool.name, tool.parameters) for tool in self.callable], self.response)

    @property
    def outline(self) -> dict[str, Any]:
        """The schema without what classes check: the arguments of tools that have a class, and the answer."""
        tools = [(t.name, t.parameters if t.arguments is None else {"type": "object"}) for t in self.callable]
        return self._schema(tools, None if self.response is None else True)

    def _schema(self, tools: list[tuple[str, Any]], answer: Any) -> dict[str, Any]:
        return value.schema(tools, must_call=self.must_call, may_talk=True, most=self.most, wanted=answer)


def target(
    wanted: Wanted,
    messages: Sequence[Mapping[str, Any]],
    options: Mapping[str, Any],
    response: targets.Target | None = None,
) -> targets.Target:
    """Return the target that checks a turn, whichever model writes it.

    `response` checks and builds an answer without calls. The ids of calls are derived from `messages`, so a repeated
    conversation has the same ids. SchemaError where arguments of a tool can't be enforced, or nothing can meet them.
    """
    plain = _compiled(wanted, options)
    if 0 < len(wanted.callable) < len(wanted.tools):
        everything = dataclasses.replace(wanted, choice="auto", allowed=None, response=None)
        _compiled(everything, {**options, "inexact": "residual"})  # a later turn may call the others
    outline = targets.from_any(wanted.outline, options)
    stem = hashlib.sha256(json.dumps([*messages], sort_keys=True, default=str).encode()).hexdigest()[:12]

    def checked(text: str, said: Any) -> tuple[Turn | None, tuple[Violation, ...]]:
        found = outline.checker.check(text)
        return (None, found.findings) if found.findings else _built(said, wanted, stem, response)

    return dataclasses.replace(plain, name=value.TARGET, checker=TypeChecker(checked), partials=TextSoFar, is_turn=True)


def _compiled(wanted: Wanted, options: Mapping[str, Any]) -> targets.Target:
    schema = wanted.schema
    try:
        return targets.from_any(schema, options, parts=(*value.parts(schema),))
    except SchemaError as error:
        raise SchemaError([_placed(one, wanted) for one in error.findings], limit=error.limit) from None


def _placed(finding: Finding, wanted: Wanted) -> Finding:
    """Return a finding about the schema of a turn as one about the tool that it is in."""
    place = value.place(finding.pointer)
    if place is None or place.tool is None:
        return finding
    message = f"{finding.message}, in the arguments of the tool {wanted.callable[place.tool].name!r}"
    return dataclasses.replace(finding, pointer=place.pointer, message=message)


def _built(
    said: Any, wanted: Wanted, stem: str, response: targets.Target | None
) -> tuple[Turn | None, tuple[Violation, ...]]:
    content, made = value.read(said)
    findings: list[Violation] = []
    calls = []
    by_name = {tool.name: tool for tool in wanted.tools}
    place = "" if isinstance(said, list) else "/calls"
    for number, call in enumerate(made):
        tool = by_name[call["name"]]
        built = None
        if tool.arguments is not None:
            built, wrong = _validated(tool, call["arguments"], f"{place}/{number}/arguments")
            findings += wrong
        calls.append(TurnCall(f"call_{stem}_{number}", tool.name, call["arguments"], built, tool))
    answer = None
    if response is not None and not calls:
        answer, amiss = response.check(json.dumps(content))
        findings += [dataclasses.replace(each, at=f"/content{each.at}") for each in amiss]
        content = json.dumps(content, ensure_ascii=False)
    if findings:
        return None, tuple(findings)
    if len(calls) == wanted.most == value.MOST_CALLS:
        _log.warning("a turn ends at %d calls, and may have had more to make; max_calls allows more", len(calls))
    return Turn(content or "", tuple(calls), answer), ()


def _validated(tool: ToolSpec, arguments: Any, at: str) -> tuple[Any, list[Violation]]:
    """Build an instance of the tool's class; return it, or None and what the class refuses."""
    from pydantic import ValidationError

    assert tool.arguments is not None
    try:
        return tool.arguments.model_validate_json(json.dumps(arguments)), []
    except ValidationError as error:
        found = targets.from_pydantic(error.errors(include_url=False, include_context=False), arguments)
        return None, [dataclasses.replace(each, at=at + each.at) for each in found]


def said(answer: Any) -> str:
    """Return a tool's result as text for the model: text as it is, anything else as JSON."""
    if isinstance(answer, str):
        return writable(answer)
    if inspect.isawaitable(answer):
        raise TypeError("an async tool gives a coroutine; await it first")
    from pydantic_core import to_json

    return to_json(answer, fallback=str).decode()

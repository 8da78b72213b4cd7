"""A chat request, parsed: its fields are checked, and the kind of its answer is decided.

`text` needs no schema work. `schema` is a `response_format` of type json_schema, `json` one of type json_object,
`string` a plain text of a language, and `calls` a request whose tools must be held to their parameters. Other servers'
fields for the same are read by guard/sidecar/constraints.py. Unknown fields go to the model unchanged.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from guard.kernels.cached import cached_property
from guard.sidecar.constraints import Language, understood
from guard.sidecar.endpoints import custom_tools
from guard.sidecar.endpoints.functions import in_tools
from guard.sidecar.errors import ApiError, bad
from guard.support.bounds import LEAST_SEED, MOST_SEED
from guard.turns.turn import CHOICES

T = TypeVar("T")

#: A list that is refused at its first wrong item: a small body may have a hundred thousand, each with its own error.
Items = Annotated[list[T], Field(fail_fast=True)]
Kind = Literal["text", "json", "schema", "string", "calls"]

MOST_CHOICES = 128  #: `n`, as OpenAI bounds it.
MOST_STOPS = 64  #: Most stops of a request: each is searched in every piece of the answer.
#: Parts of Pydantic's locations that name the branch of a union, and are no part of the body.
_BRANCH = re.compile(r"(list|dict|function)\[|(str|bool)$")
_NAME = r"^[a-zA-Z0-9_-]{1,64}$"


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class Function(_Part):
    """A function that a tool names."""

    name: str = Field(pattern=_NAME)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Custom(_Part):
    """A tool whose input is a text."""

    name: str = Field(pattern=_NAME)
    description: str | None = None
    format: dict[str, Any] | None = None


class Tool(_Part):
    """A tool; only functions and custom tools can be held to something."""

    type: str
    function: Function | None = None
    custom: Custom | None = None

    @property
    def name(self) -> str | None:
        """The name of a function or a custom tool."""
        named = self.function or self.custom
        return None if named is None else named.name


class JsonSchema(_Part):
    """The schema of a response_format."""

    name: str = Field(pattern=_NAME)
    description: str | None = None
    schema_: dict[str, Any] | bool = Field(default=True, alias="schema")
    strict: bool | None = None


class ResponseFormat(_Part):
    """The format of an answer."""

    type: str
    json_schema: JsonSchema | None = None


class StreamOptions(_Part):
    """Options of a stream."""

    include_usage: bool | None = None


class ChatBody(_Part):
    """The body of a chat completion. Strict: a text is never taken for a number."""

    model: str = Field(min_length=1)
    messages: Items[dict[str, Any]] = Field(min_length=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = Field(default=None, ge=1, le=MOST_CHOICES)
    stop: str | Annotated[Items[str], Field(max_length=MOST_STOPS)] | None = None
    seed: int | None = Field(default=None, ge=LEAST_SEED, le=MOST_SEED)
    max_tokens: int | None = Field(default=None, ge=1, lt=2**31)
    max_completion_tokens: int | None = Field(default=None, ge=1, lt=2**31)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    response_format: ResponseFormat | None = None
    tools: Items[Tool] | None = Field(default=None, max_length=128)
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None

    @field_validator("messages")
    @classmethod
    def _have_roles(cls, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for number, message in enumerate(value):
            if not isinstance(message.get("role"), str):
                raise ValueError(f"message {number} has no role")
            content = message.get("content")
            is_parts = isinstance(content, list) and all(isinstance(part, dict) for part in content)
            if not (content is None or isinstance(content, str) or is_parts):
                raise ValueError(f"the content of message {number} must be text, a list of parts, or null")
        return value

    @property
    def limit(self) -> int | None:
        """The limit of the answer's tokens, under either name."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts at which an answer is cut off."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(text for text in given if text)


@dataclass(frozen=True)
class ChatRequest:
    """A parsed chat request."""

    chat: ChatBody
    body: dict[str, Any]  # in OpenAI's fields; never changed
    kind: Kind
    choice: str  # of tools: "none", "auto", "required", or a function's name
    allowed: frozenset[str] | None = None  # names of the functions that may be called; None: all
    language: Language | None = None  # of kind `string`
    older: dict[str, Any] | None = None  # the body as it came, where it came as POST /v1/completions
    has_older_functions: bool = False  # whether tools are called functions
    place: str = ""  # the field that holds the schema or the language of the answer, as it came; "": none does

    @classmethod
    def of(cls, body: dict[str, Any]) -> ChatRequest:
        """Parse a body. Raises ApiError, which names the wrong field."""
        body, is_older = in_tools(body)
        body, language, place = understood(body)
        chat = checked(ChatBody, body)
        if chat.max_tokens and chat.max_completion_tokens and chat.max_tokens != chat.max_completion_tokens:
            raise bad("max_tokens and max_completion_tokens differ; send one of them", "max_tokens")
        tools = chat.tools or []
        choice, allowed = _choice(chat)
        wanted = chat.response_format
        kind: Kind = "text" if language is None else "string"
        if wanted is not None and language is None:
            if wanted.type == "json_schema" and wanted.json_schema is None:
                raise bad("response_format of type json_schema needs json_schema", "response_format.json_schema")
            kinds: dict[str, Kind] = {"text": "text", "json_object": "json", "json_schema": "schema"}
            kind = kinds[wanted.type]
        if choice != "none" and any(tool.function is not None and tool.function.strict for tool in tools):
            kind = "calls"
        if language is not None and tools and choice != "none":
            raise bad(f"{language.field} can't be kept beside tools; leave one of them out", language.field)
        return cls(chat, body, kind, choice, allowed, language, has_older_functions=is_older, place=place)

    @property
    def has_tools(self) -> bool:
        """Whether the model may call a tool."""
        return bool(self.chat.tools) and self.choice != "none"

    @property
    def has_functions(self) -> bool:
        """Whether all tools that the model may call are functions, whose arguments can be checked."""
        return (
            self.has_tools and not self.chat.logprobs and all(tool.type == "function" for tool in self.chat.tools or [])
        )

    @property
    def customs(self) -> frozenset[str]:
        """The names of custom tools."""
        return frozenset(tool.custom.name for tool in self.chat.tools or [] if tool.custom is not None)

    @cached_property
    def told(self) -> list[Function]:
        """All tools as functions; ApiError where a tool is neither a function nor a custom tool."""
        found: list[Function] = []
        for number, tool in enumerate(self.chat.tools or []):
            if tool.custom is not None and tool.type == "custom":
                custom, at = tool.custom, f"tools.{number}.custom.format"
                kept = custom_tools.parameters(custom.format, at)
                found.append(Function(name=custom.name, description=custom.description, parameters=kept))
                continue
            if tool.function is None and tool.type == "function":
                at = f"tools.{number}.function"
                raise bad(f"{at}: a tool of this type must hold a function", at, "missing_required_parameter")
            if tool.function is None or tool.type != "function":
                raise bad(f"a tool of type {tool.type[:60]!r} can't be held to a schema", f"tools.{number}.type")
            if (tool.function.parameters or {}).get("type", "object") != "object":
                at = f"tools.{number}.function.parameters"
                raise bad(f"{at}: a function takes an object", at, "invalid_schema")
            found.append(tool.function)
        names = [function.name for function in found]
        if len(set(names)) < len(names):
            raise bad("two tools have one name", "tools")
        return found

    @property
    def functions(self) -> list[Function]:
        """The tools that may be called, as functions; ApiError where one is another kind of thing."""
        named = [f for f in self.told if self.choice in ("auto", "required", f.name)]
        return named if self.allowed is None else [f for f in named if f.name in self.allowed]

    @property
    def with_all_tools(self) -> ChatRequest | None:
        """The request as if it might call all its tools; None where it may, or may call none."""
        if not self.has_tools or len(self.functions) == len(self.told):
            return None
        return dataclasses.replace(self, choice="auto", allowed=None)

    @property
    def schema(self) -> Any:
        """The schema or the format of the answer's text; True where it has none."""
        wanted = self.chat.response_format
        if self.language is not None:
            return self.language.format
        if wanted is None or wanted.type == "text":
            return None
        return {"type": "object"} if wanted.json_schema is None else wanted.json_schema.schema_

    @property
    def name(self) -> str:
        """The schema's name."""
        wanted = self.chat.response_format
        return wanted.json_schema.name if wanted is not None and wanted.json_schema is not None else "object"


def checked(kind: Any, body: dict[str, Any]) -> Any:
    """Return a body as its class. Raises ApiError, which names the wrong field."""
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False)
        # The errors of the branch of a union that the value comes nearest to.
        first = max((e for e in errors if e["loc"][:1] == errors[0]["loc"][:1]), key=lambda e: len(e["loc"]))
        param = ".".join(str(part) for part in first["loc"] if not _BRANCH.match(str(part)))
        message = first["msg"].removeprefix("Value error, ")
        code = "missing_required_parameter" if first["type"] == "missing" else "invalid_value"
        raise ApiError(400, f"{param}: {message}", code=code, param=param) from None


def _choice(chat: ChatBody) -> tuple[str, frozenset[str] | None]:
    """Return tool_choice, and the functions that it allows. Raises ApiError where it can't be honoured."""
    given = chat.tool_choice
    if not chat.tools:
        if given not in (None, "none", "auto"):
            raise bad("tool_choice needs tools", "tool_choice")
        return "none", None
    if given is None:
        return "auto", None
    if given in CHOICES:
        return str(given), None
    names = {tool.name for tool in chat.tools} - {None}
    allowed = given.get("allowed_tools") if isinstance(given, dict) else None
    if isinstance(allowed, dict) and isinstance(tools := allowed.get("tools"), list):
        wanted = frozenset(name for name in map(_named, tools) if name is not None)
        if len(wanted) == len(tools) and wanted <= names and allowed.get("mode") in ("auto", "required"):
            return str(allowed["mode"]), wanted
    name = _named(given)
    if name not in names:
        raise bad("tool_choice must be none, auto, required, allowed_tools, or name one of the tools", "tool_choice")
    if name in CHOICES:
        raise bad(f"tool_choice can't name the tool {name!r}, which is a choice; give it another name", "tool_choice")
    return str(name), None


def _named(tool: Any) -> str | None:
    """Return the function or the custom tool that a choice names."""
    kind = tool.get("type") if isinstance(tool, dict) else None
    named = tool.get("custom" if kind == "custom" else "function") if isinstance(tool, dict) else None
    name = named.get("name") if isinstance(named, dict) else None
    return name if isinstance(name, str) else None

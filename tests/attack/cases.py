"""Cases: what is sent, what a provider is to say to it, and how it must end. The families fill the registry.

A case is made anew for each run from the canary that it is given: a name that only its own answer, and its own record,
may hold. All else is the same in every run. What a provider is to do stands in the prompt, `play:NAME`, for it is all
that reaches a provider whatever way is taken; attack/upstream.py reads it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Any

#: Settings of the sidecar under attack, in seconds.
TOTAL_S, FIRST_TOKEN_S, HEAD_S, BODY_S = 4.0, 2.0, 2.0, 2.0
BODY_BYTES = RESPONSE_BYTES = 10_000_000

MODEL = "m"  #: Served by the hostile provider, each question asked once.
CANARY = r"cn[0-9a-f]{16}"  #: As a regular expression.


class Sign(Enum):
    """What a side does with a connection."""

    END = "end"  #: It sends nothing more, and reads on.
    CLOSE = "close"
    RESET = "reset"
    HANG = "hang"  #: Nothing more comes, and the connection stays open.


Step = bytes | float | Sign  #: Bytes to send, seconds to wait, or a sign.

#: Errors by code, with the status of each; `refused_upstream` has the provider's. docs/sidecar.md tells of them.
CODES: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("invalid_json", "invalid_value", "missing_required_parameter", "unsupported_value"), (400,)),
    **dict.fromkeys(("invalid_schema", "invalid_http", "ambiguous_header", "invalid_request", "trailers"), (400,)),
    "refused_upstream": (400, 404, 413, 422),
    "invalid_api_key": (401,),
    **dict.fromkeys(("operators_only", "host_not_allowed", "origin_not_allowed", "no_price"), (403,)),
    **dict.fromkeys(("model_not_found", "not_found"), (404,)),
    "method_not_allowed": (405,),
    **dict.fromkeys(("head_too_slow", "body_too_slow"), (408,)),
    "body_too_large": (413,),
    "unsupported_encoding": (415,),
    "head_too_large": (431,),
    **dict.fromkeys(("validation_failed", "unchecked", "truncated", "refusal", "content_filter"), (422,)),
    **dict.fromkeys(("rate_limit_exceeded", "insufficient_quota", "rate_limited"), (429,)),
    **dict.fromkeys(("unavailable", "bad_reply", "model_error"), (502,)),
    **dict.fromkeys(("busy", "draining", "trace_unavailable"), (503,)),
    "timeout": (504,),
}
OK = frozenset({200})
BAD = frozenset({400})  #: The request is refused.
FAILED = frozenset({422, 429, 502, 504})  #: The models gave nothing good.
TYPED = frozenset(status for statuses in CODES.values() for status in statuses)  #: Any error that is one of Guard's.


@dataclass(frozen=True)
class Expected:
    """How a case may end."""

    statuses: frozenset[int]  # an error's event in a stream counts as its code's status
    codes: frozenset[str] | None = None  # None: any that is known
    may_close: bool = False  # without an answer
    any_id: bool = False  # the answer may have another number than the request's
    tells_others: bool = False  # it is a page that tells an operator of the requests of others
    seconds: float = TOTAL_S + 1
    text: str | None = None  # of the answer, where there is one: nothing else will do
    schema: Any = None  # that the answer's text must hold to, where there is one and the schema is cheap to judge


@dataclass(frozen=True)
class Case:
    """One attack over one connection."""

    family: str
    name: str
    make: Callable[[str, Random], Sequence[Step]]  # the canary → what is sent
    expected: Expected
    answers: int = 1  # that one waits for
    method: str = "POST"

    @property
    def id(self) -> str:
        """Family and name."""
        return f"{self.family}/{self.name}"

    def steps(self, canary: str) -> Sequence[Step]:
        """Return what is sent."""
        return self.make(canary, Random(self.id))


CASES: dict[str, Case] = {}


def add(case: Case) -> None:
    """Register a case; its name is its own."""
    assert case.id not in CASES, case.id
    CASES[case.id] = case


# ---- requests --------------------------------------------------------------------------------------------------------


def prompt(canary: str, play: str) -> str:
    """Return a prompt that tells the provider what to do."""
    return f"canary:{canary} play:{play} ."


def say(text: str) -> str:
    """Return the play in which the provider says a text as it should be said."""
    return "say-" + base64.urlsafe_b64encode(text.encode(errors="surrogatepass")).decode()


def chat(canary: str, play: str, **fields: Any) -> dict[str, Any]:
    """Return the body of a chat request; a field that is None is left out."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": prompt(canary, play)}], **fields}
    return {name: value for name, value in body.items() if value is not None}


def head(
    canary: str,
    length: int | str | None,
    lines: Iterable[str] = (),
    *,
    path: str = "/v1/chat/completions",
    method: str = "POST",
    host: str | None = "localhost",
    version: str = "HTTP/1.1",
) -> bytes:
    """Return a request's head; what is None is not said."""
    said = [f"{method} {path} {version}"]
    said += [f"Host: {host}"] if host is not None else []
    said += [f"Content-Length: {length}"] if length is not None else []
    said += [f"X-Request-Id: {canary}", *lines, "", ""]
    return "\r\n".join(said).encode("latin-1")


def posted(canary: str, body: Any, path: str = "/v1/chat/completions", lines: Iterable[str] = ()) -> list[Step]:
    """Return a whole request that has a body: bytes, or what JSON says."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return [head(canary, len(data), ["Content-Type: application/json", *lines], path=path) + data]


def got(canary: str, path: str, lines: Iterable[str] = (), method: str = "GET") -> list[Step]:
    """Return a whole request that has no body."""
    return [head(canary, None, lines, path=path, method=method)]


# ---- ways to ask -----------------------------------------------------------------------------------------------------


def form(schema: Any) -> dict[str, Any]:
    """Return the response_format of a schema."""
    return {"type": "json_schema", "json_schema": {"name": "value", "schema": schema}}


def tool(schema: Any, *, strict: bool = True) -> dict[str, Any]:
    """Return a tool whose parameters have a schema."""
    return {"type": "function", "function": {"name": "act", "strict": strict, "parameters": schema}}


def ask(way: str, canary: str, play: str, schema: Any = None) -> list[Step]:
    """Return a request by a way: what is asked of which endpoint, and whether it streams."""
    path, fields = WAYS[way]
    words = prompt(canary, play)
    lines = ["x-guard-stream: live"] if way == "schema live" else []
    more: dict[str, Any] = dict(fields)
    if "schema" in way and path == "/v1/chat/completions":
        more["response_format"] = form(schema)
    elif "schema" in way and path == "/v1/messages":
        more["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    elif "tools" in way and path == "/v1/messages":
        more |= {"tools": [{"name": "act", "strict": True, "input_schema": schema}], "tool_choice": {"type": "any"}}
    elif "schema" in way:
        more["text"] = {"format": {"type": "json_schema", "name": "value", "schema": schema}}
    elif "tools" in way:
        more |= {"tools": [tool(schema)], "tool_choice": "required"}
    bodies: Mapping[str, dict[str, Any]] = {
        "/v1/chat/completions": {"messages": [{"role": "user", "content": words}]},
        "/v1/responses": {"input": words},
        "/v1/messages": {"messages": [{"role": "user", "content": words}], "max_tokens": 200},
        "/v1/completions": {"prompt": words},
        "/v1/embeddings": {"input": words},
        "/guard/playground": {"prompt": words, "schema": schema},
    }
    return posted(canary, {"model": MODEL, **bodies[path], **more}, path, lines)


_STREAM = {"stream": True}
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("/v1/chat/completions", {}),
    "stream": ("/v1/chat/completions", _STREAM),
    "schema": ("/v1/chat/completions", {}),
    "schema stream": ("/v1/chat/completions", _STREAM),
    "schema live": ("/v1/chat/completions", _STREAM),
    "tools": ("/v1/chat/completions", {}),
    "json": ("/v1/chat/completions", {"response_format": {"type": "json_object"}}),
    "responses": ("/v1/responses", {}),
    "responses stream": ("/v1/responses", _STREAM),
    "responses schema": ("/v1/responses", {}),
    "messages": ("/v1/messages", {}),
    "messages stream": ("/v1/messages", _STREAM),
    "messages schema": ("/v1/messages", {}),
    "messages tools": ("/v1/messages", {}),
    "completions": ("/v1/completions", {}),
    "completions stream": ("/v1/completions", _STREAM),
    "embeddings": ("/v1/embeddings", {}),
    "playground": ("/guard/playground", {}),
}

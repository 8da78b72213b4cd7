"""Wrong requests by hand: each is 400 with its field, in the protocol's shape, whoever would have answered."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from sidecars import HERE, OWN, THERE, Sidecar

from guard.sidecar.endpoints.chat_request import ChatBody
from guard.sidecar.endpoints.completions import CompletionBody, Embedding
from guard.sidecar.endpoints.messages import Counted, Message
from guard.sidecar.endpoints.responses import Response
from guard.testing import fake_server

USER = {"role": "user", "content": "Hi"}
OBJECT = {"type": "object"}
BAD = {"type": "objekt"}
NAMED = {"name": "x", "schema": OBJECT, "x": 1}
FUNCTION = {"name": "act", "parameters": OBJECT}
TOOL = {"type": "function", "function": FUNCTION}
CHAT, COMPLETION, RESPONSE, MESSAGE = "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"
BODIES: dict[str, Any] = {
    CHAT: {"messages": [USER]},
    COMPLETION: {"prompt": "Hi"},
    RESPONSE: {"input": "Hi"},
    MESSAGE: {"messages": [USER], "max_tokens": 9},
    "/v1/messages/count_tokens": {"messages": [USER]},
    "/v1/embeddings": {"input": "Hi"},
}
ALL = (HERE, OWN, THERE)
OURS = (HERE, OWN)  #: Where nobody else looks at it.


def called(function: Any) -> Any:
    return [USER, {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": function}]}]


def tool(name: str, parameters: Any) -> Any:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def schema(inner: Any) -> Any:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": inner}}


#: The path, what is wrong, the field that is named, and the models of which it is.
WRONG: list[tuple[str, dict[str, Any], str, tuple[str, ...]]] = [
    (CHAT, {"messages": []}, "messages", ALL),
    (CHAT, {"messages": "Hi"}, "messages", ALL),
    (CHAT, {"messages": [3]}, "messages.0", ALL),
    (CHAT, {"messages": [{"role": "boss", "content": "x"}]}, "messages.0.role", OURS),
    (CHAT, {"messages": [{"role": "user"}]}, "messages.0.content", OURS),
    (CHAT, {"messages": [USER, {"role": "tool", "content": "x"}]}, "messages.1.tool_call_id", OURS),
    (CHAT, {"messages": [USER, {"role": "assistant", "tool_calls": "x"}]}, "messages.1.tool_calls", OURS),
    (CHAT, {"messages": called(3)}, "messages.1.tool_calls.0.function", OURS),
    (CHAT, {"messages": called({"name": "act"})}, "messages.1.tool_calls.0.function.arguments", OURS),
    (CHAT, {"messages": called({"arguments": "{}"})}, "messages.1.tool_calls.0.function.name", OURS),
    (CHAT, {"messages": called({"name": "a", "arguments": "{"})}, "messages.1.tool_calls.0.function.arguments", (OWN,)),
    (CHAT, {"stream": "yes"}, "stream", ALL),
    (CHAT, {"stream_options": {"include_usage": "x"}}, "stream_options.include_usage", ALL),
    (CHAT, {"n": 0}, "n", ALL),
    (CHAT, {"n": True}, "n", ALL),
    (CHAT, {"n": 2, "stream": True}, "n", OURS),
    (CHAT, {"temperature": 3}, "temperature", ALL),
    (CHAT, {"temperature": "hot"}, "temperature", ALL),
    (CHAT, {"top_p": 7}, "top_p", OURS),
    (CHAT, {"presence_penalty": "x"}, "presence_penalty", OURS),
    (CHAT, {"max_tokens": 0}, "max_tokens", ALL),
    (CHAT, {"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens", ALL),
    (CHAT, {"seed": 2**70}, "seed", ALL),
    (CHAT, {"stop": 3}, "stop", ALL),
    (CHAT, {"stop": ["a"] * 65}, "stop", ALL),
    (CHAT, {"top_logprobs": 99}, "top_logprobs", ALL),
    (CHAT, {"response_format": "json"}, "response_format", ALL),
    (CHAT, {"response_format": {"type": "xml"}}, "response_format.type", ALL),
    (CHAT, {"response_format": {"type": "json_schema"}}, "response_format.json_schema", ALL),
    (CHAT, {"response_format": schema("x")}, "response_format.json_schema.schema", ALL),
    (CHAT, {"response_format": schema({"type": "strnig"})}, "response_format.json_schema.schema", ALL),
    (CHAT, {"response_format": schema({"$ref": "#/nowhere"})}, "response_format.json_schema.schema", ALL),
    (CHAT, {"response_format": schema({"enum": []})}, "response_format.json_schema.schema", ALL),
    (CHAT, {"tools": [3]}, "tools.0", ALL),
    (CHAT, {"tools": [{"type": "function"}]}, "tools.0.function", ALL),
    (CHAT, {"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools.0.function.name", ALL),
    (CHAT, {"tools": [tool("a", {"type": "array"})]}, "tools.0.function.parameters", ALL),
    (CHAT, {"tools": [TOOL, TOOL]}, "tools", ALL),
    (CHAT, {"tools": [TOOL], "tool_choice": "maybe"}, "tool_choice", ALL),
    (CHAT, {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice", ALL),
    (CHAT, {"tools": [tool("none", {})], "tool_choice": tool("none", {})}, "tool_choice", ALL),
    (CHAT, {"tool_choice": "required"}, "tool_choice", ALL),
    (CHAT, {"tools": [{"type": "web_search"}]}, "tools.0.type", OURS),
    (CHAT, {"functions": [{}]}, "functions.0.name", ALL),
    (CHAT, {"functions": [{"name": "a", "parameters": BAD}]}, "functions.0.parameters", ALL),
    (CHAT, {"functions": [FUNCTION], "tools": [TOOL]}, "functions", ALL),
    (CHAT, {"functions": [FUNCTION], "function_call": {"name": "b"}}, "function_call", ALL),
    (CHAT, {"guided_json": {"type": "object"}, "guided_regex": "a"}, "guided_regex", ALL),
    (CHAT, {"regex": "a", "tools": [TOOL]}, "regex", ALL),
    (COMPLETION, {"prompt": 3}, "prompt", ALL),
    (COMPLETION, {"prompt": ["a", "b"], "guided_json": {}}, "prompt", ALL),
    (COMPLETION, {"n": 2, "guided_json": {}}, "n", ALL),
    (COMPLETION, {"echo": True, "guided_json": {}}, "echo", ALL),
    (RESPONSE, {"input": [3]}, "input.0", ALL),
    (RESPONSE, {"input": [{"type": "nonesuch"}]}, "input.0.type", OURS),
    (RESPONSE, {"input": [{"type": "function_call"}]}, "input.0", OURS),
    *((RESPONSE, {"input": [{**USER, "type": kind}]}, "input.0.type", OURS) for kind in ([], {}, ["message"], None)),
    *((RESPONSE, {"input": [{"type": "item_reference", "id": one}]}, "input.0.id", ALL) for one in ([], {}, None)),
    (RESPONSE, {"input": [{"content": "Hi"}]}, "input.0.role", OURS),
    (RESPONSE, {"input": [{"role": 3, "content": "Hi"}]}, "input.0.role", OURS),
    *((RESPONSE, {"store": wrong}, "store", ALL) for wrong in ("false", 0, [])),
    *((RESPONSE, {"background": wrong}, "background", ALL) for wrong in ("false", 0, True)),
    (RESPONSE, {"parallel_tool_calls": "no"}, "parallel_tool_calls", ALL),
    (RESPONSE, {"previous_response_id": 0}, "previous_response_id", ALL),
    (RESPONSE, {"conversation": {}}, "conversation", OURS),
    (CHAT, {"messages": [{"role": "user", "content": [{"type": [], "text": "x"}]}]}, "messages.0.content.0", (OWN,)),
    (RESPONSE, {"input": [{"role": "user", "content": [{"type": "input_text", "text": 3}]}]}, "input", (OWN,)),
    (CHAT, {"response_format": schema({"type": 1})}, "response_format.json_schema.schema", ALL),
    (CHAT, {"response_format": schema({"type": True})}, "response_format.json_schema.schema", ALL),
    (RESPONSE, {"previous_response_id": "resp_nope"}, "previous_response_id", OURS),
    (RESPONSE, {"max_output_tokens": 0}, "max_output_tokens", ALL),
    (RESPONSE, {"text": {"format": {"type": "xml"}}}, "text.format.type", ALL),
    (RESPONSE, {"text": {"format": {**NAMED, "type": "json_schema"}}}, "text.format.x", ALL),
    (CHAT, {"response_format": {"type": "json_schema", "json_schema": NAMED}}, "response_format.json_schema.x", ALL),
    (RESPONSE, {"tools": [{"type": "function", "name": "a", "parameters": BAD}]}, "tools.0.parameters", ALL),
    (MESSAGE, {"max_tokens": 0}, "max_tokens", ALL),
    (MESSAGE, {"nonesuch": 1}, "nonesuch", ALL),
    (MESSAGE, {"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages.0.content.0", ALL),
    (MESSAGE, {"tools": [{"name": "a", "input_schema": BAD}]}, "tools.0.input_schema", ALL),
    (MESSAGE, {"thinking": {"type": "enabled"}}, "thinking.budget_tokens", ALL),
    (MESSAGE, {"tool_choice": {"type": "tool"}}, "tool_choice.name", ALL),
    ("/v1/messages/count_tokens", {"tools": 3}, "tools", ALL),
    ("/v1/embeddings", {"input": 3}, "input", ALL),
    *((path, {"model": 3}, "model", (THERE,)) for path in BODIES),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        *((path, "POST") for path in BODIES),
        ("/v1/responses/resp_1", "DELETE, GET, HEAD"),
        ("/v1/models", "GET, HEAD"),
        ("/v1/models/m", "GET, HEAD"),
        ("/health/live", "GET, HEAD"),
        ("/metrics", "GET, HEAD"),
        ("/ui", "GET, HEAD"),
        ("/guard/stats", "GET, HEAD"),
        ("/guard/models/shadow", "GET, HEAD, POST"),
        ("/guard/models/promote", "POST"),
    ],
)
def test_a_method_that_a_path_does_not_take_is_405_and_names_those_that_it_does(
    three_kinds: Sidecar, path: str, allowed: str
) -> None:
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - set(allowed.split(", ")):
        reply = three_kinds.ask(method, path)
        assert (reply.status, reply.headers["allow"]) == (405, allowed)
        if method != "HEAD":
            assert reply.json["error"]["message"].endswith(f"{path}: Method Not Allowed; it takes {allowed}")


@pytest.mark.parametrize(("path", "wrong", "param", "models"), WRONG)
def test_a_wrong_request_is_400_and_says_where(
    three_kinds: Sidecar,
    prose: fake_server.Server,
    path: str,
    wrong: dict[str, Any],
    param: str,
    models: tuple[str, ...],
) -> None:
    for name in models:
        reply = three_kinds.ask("POST", path, {"model": name, **BODIES[path], **wrong})
        said = reply.json
        assert (reply.status, said["error"]["param"]) == (400, param), (name, reply.data)
        assert said["error"]["code"]
        assert said["error"]["message"]
        assert said["error"]["type"] == "invalid_request_error"
        assert ("request_id" in said) == path.startswith(MESSAGE)
    assert prose.requests == []


def errors_of(kind: Any, body: Any) -> int:
    """Return how many errors Pydantic finds in a body."""
    try:
        kind.model_validate(body)
    except ValidationError as error:
        return error.error_count()
    return 0


@pytest.mark.parametrize("kind", [ChatBody, CompletionBody, Embedding, Response, Message, Counted])
def test_a_list_is_refused_at_its_first_wrong_item(kind: Any) -> None:
    """Each wrong item became an error with its own dict: 190 kB of `[1,1,…]` stopped the event loop for 0.3 s."""
    wrong, tool = [1] * 1_000, {"name": "f", "input_schema": {"type": "object"}, "input_examples": [1] * 1_000}
    for name, field in kind.model_fields.items():
        for items in (wrong, [[]] * 1_000, [{"role": "user", "content": wrong}] * 1_000, [tool]):
            body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 9, "input": "x"}
            assert errors_of(kind, {**body, "prompt": "x", field.alias or name: items}) < 10, (name, items[0])

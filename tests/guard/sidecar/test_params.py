"""What is wrong with a request is said by the name of its field, in the words of the protocol that it came in."""

from __future__ import annotations

from typing import Any

import pytest
from sidecars import Sidecar

from guard.testing import fake_server

WRONG = {"type": "object", "properties": {"n": {"type": "integer", "minimum": "three"}}}
AT = "/properties/n/minimum: "
GOOD = {"name": "time", "parameters": {"type": "object"}}
BAD = {"name": "act", "parameters": WRONG}


def chat(sidecar: Sidecar, **fields: Any) -> Any:
    return sidecar.chat(**fields)


def complete(sidecar: Sidecar, **fields: Any) -> Any:
    return sidecar.ask("POST", "/v1/completions", {"model": "m", "prompt": "?", **fields})


def respond(sidecar: Sidecar, **fields: Any) -> Any:
    return sidecar.ask("POST", "/v1/responses", {"model": "m", "input": "?", **fields})


def message(sidecar: Sidecar, **fields: Any) -> Any:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "?"}], **fields}
    return sidecar.ask("POST", "/v1/messages", body)


def tool(function: Any) -> Any:
    return {"type": "function", "function": function}


FORMAT = {"type": "json_schema", "schema": WRONG}
WRAPPED = {"type": "json_schema", "json_schema": {"name": "x", "schema": WRONG}}


@pytest.mark.parametrize(
    ("ask", "fields", "param", "begin"),
    [
        (chat, {"response_format": WRAPPED}, "response_format.json_schema.schema", AT),
        (chat, {"guided_json": WRONG}, "guided_json", AT),
        (chat, {"structured_outputs": {"json": {"name": "x", "schema": WRONG}}}, "structured_outputs.json.schema", AT),
        (chat, {"tools": [tool(GOOD), tool(BAD)]}, "tools.1.function.parameters", AT),
        (chat, {"tools": [tool(GOOD), tool(BAD)], "response_format": WRAPPED}, "tools.1.function.parameters", AT),
        (chat, {"tools": [tool(GOOD)], "response_format": WRAPPED}, "response_format.json_schema.schema", AT),
        (
            chat,
            {"tools": [tool(GOOD), tool(BAD)], "tool_choice": {"type": "function", "function": {"name": "act"}}},
            "tools.1.function.parameters",
            AT,
        ),
        (chat, {"tools": [{"type": "function"}]}, "tools.0.function", ""),
        (chat, {"tools": [tool(GOOD), tool({})]}, "tools.1.function.name", ""),
        (chat, {"guided_regex": "[ab"}, "guided_regex", ""),
        (chat, {"structured_outputs": {"regex": "[ab"}}, "structured_outputs.regex", ""),
        (chat, {"response_format": {"type": "regex", "pattern": "[ab"}}, "response_format.pattern", ""),
        (chat, {"response_format": {"type": "regex"}}, "response_format.pattern", ""),
        (complete, {"guided_json": WRONG}, "guided_json", AT),
        (complete, {"response_format": WRAPPED}, "response_format.json_schema.schema", AT),
        (respond, {"text": {"format": {**FORMAT, "name": "x"}}}, "text.format.schema", AT),
        (respond, {"text": {"format": {"type": "json_schema", "name": "x y", "schema": {}}}}, "text.format.name", ""),
        (respond, {"text": {"format": {"type": "yaml"}}}, "text.format.type", ""),
        (respond, {"tools": [{"type": "function", **BAD}]}, "tools.0.parameters", AT),
        (respond, {"tools": [{"type": "function"}]}, "tools.0.name", ""),
        (respond, {"response_format": WRAPPED}, "response_format.json_schema.schema", AT),
        (respond, {"guided_json": WRONG}, "guided_json", AT),
        (message, {"output_config": {"format": FORMAT}}, "output_config.format.schema", AT),
        (message, {"tools": [{"name": "act", "input_schema": WRONG}]}, "tools.0.input_schema", AT),
        (message, {"tools": [{"name": "an act", "input_schema": {}}]}, "tools.0.name", ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_where_it_stands(
    sidecar: Sidecar, provider: fake_server.Server, ask: Any, fields: Any, param: str, begin: str
) -> None:
    reply = ask(sidecar, **fields)
    error = reply.json["error"]
    assert (reply.status, error["param"]) == (400, param), reply.data
    assert error["message"].startswith(f"{param}: {begin}" if begin else param), error["message"]
    assert "allOf" not in error["message"]
    assert provider.requests == []

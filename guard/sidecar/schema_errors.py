"""Errors of a client's schema, located in the request's own fields.

The engine reports JSON Pointers into the schema that it was given. That may be assembled from several tools
(guard/sidecar/endpoints/tool_calls.py), or made here of a pattern or a list of choices. A client is told the place in
its own request.
"""

from __future__ import annotations

import dataclasses

from guard.errors import Finding, SchemaError
from guard.sidecar.endpoints.chat_request import ChatRequest
from guard.sidecar.errors import ApiError, bad
from guard.turns import value


def refused(error: SchemaError, chat_request: ChatRequest) -> ApiError:
    """Return the error for a refused schema: `param` is the field of the request, the message has the pointer."""
    found = [_placed(finding, chat_request) for finding in error.findings]
    field = found[0][0]
    lines = [f"{place}: {finding}" for place, finding in found]
    if chat_request.language is not None and not chat_request.language.is_told:  # the schema around it is ours
        lines = [": ".join((place, f"{finding.message}; {finding.fix}".removesuffix("; "))) for place, finding in found]
    return bad("\n".join(dict.fromkeys(lines)), field or None, "invalid_schema")


def _placed(finding: Finding, chat_request: ChatRequest) -> tuple[str, Finding]:
    """Return the field that a finding is about, and the finding with its pointer from there."""
    if not chat_request.has_tools:
        return chat_request.place, finding
    place = value.place(finding.pointer)
    if place is None:
        return "tools", finding
    if place.tool is None:
        return chat_request.place, dataclasses.replace(finding, pointer=place.pointer)
    name = chat_request.functions[place.tool].name
    tools = chat_request.chat.tools or []
    number = next(at for at, tool in enumerate(tools) if tool.name == name)
    if tools[number].custom is not None:  # its schema is ours
        return f"tools.{number}.custom.format", dataclasses.replace(finding, pointer="")
    return f"tools.{number}.function.parameters", dataclasses.replace(finding, pointer=place.pointer)

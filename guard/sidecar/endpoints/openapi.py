"""The sidecar's OpenAPI 3.1 document, generated from the classes that check requests."""

from __future__ import annotations

import functools
import json
from typing import Any

from pydantic import BaseModel

from guard.sidecar.endpoints.chat_request import ChatBody
from guard.sidecar.endpoints.completions import CompletionBody, Embedding
from guard.sidecar.endpoints.messages import COUNT_PATH, PATH, Counted, Message
from guard.sidecar.endpoints.operator import MOST_CALLS, MOST_MINUTES, MOST_NUMBER, Playground, Said
from guard.sidecar.endpoints.responses import Response
from guard.sidecar.endpoints.shadow_runs import ShadowEnd, ShadowRun
from guard.sidecar.endpoints.versions import CanaryStart, Promotion, Rollback

_OBJECT = {"type": "object"}
_ABOUT = "OpenAI's and Anthropic's protocols, with answers that are valid."
_STATUSES = {
    "400": "the request says something wrong",
    "401": "a key is needed",
    "403": "this key may not, or this page of elsewhere",
    "404": "no such model",
    "408": "the body came too slowly",
    "409": "what was decided or runs already forbids it",
    "413": "the body is too long",
    "422": "the models gave no valid answer",
    "429": "too often, or the budget is spent",
    "502": "the model failed",
    "503": "busy, or about to end",
    "504": "the model took too long",
}


@functools.cache
def document() -> bytes:
    """Return the document."""
    bodies: dict[str, tuple[type[BaseModel], str]] = {
        "/v1/chat/completions": (ChatBody, "Ask for a chat completion"),
        "/v1/completions": (CompletionBody, "Ask for a completion"),
        "/v1/embeddings": (Embedding, "Ask for embeddings"),
        "/v1/responses": (Response, "Ask for a response"),
        PATH: (Message, "Ask for a message, by Anthropic's protocol"),
        COUNT_PATH: (Counted, "Count the tokens of a prompt, by Anthropic's protocol"),
        "/guard/playground": (Playground, "Try a schema against a model"),
        "/guard/feedback": (Said, "Say whether an answer is right, or what would have been"),
        "/guard/models/promote": (Promotion, "Have a version of a tuned model serve"),
        "/guard/models/rollback": (Rollback, "End its canary, or go back to the version before"),
        "/guard/models/canary": (CanaryStart, "Have a version answer a share of the inputs"),
        "/guard/models/shadow": (ShadowRun, "Measure a version beside another one"),
        "/guard/models/shadow/cancel": (ShadowEnd, "End the shadow run that is under way"),
    }
    pages = {
        "/v1/models": "List the models",
        "/health/live": "Whether the process lives",
        "/health/ready": "Whether requests should be sent here",
        "/guard/live": "Requests under way",
        "/guard/stats": "Figures of each model over time",
        "/guard/failures": "The latest calls without a value",
        "/guard/failures/kinds": "The kinds of these, with a count",
        "/guard/traces": "The latest calls",
        "/guard/economics": "What is served alone, and what an answer costs",
        "/guard/models": "The versions of tuned models, and which serve",
        "/guard/models/version": "One of these, with its lineage and shadow report",
        "/guard/models/diff": "In what two of these differ",
        "/guard/models/shadow": "The latest shadow run, and how far it is",
    }
    named = {"/v1/models/{name}": "string", "/v1/responses/{name}": "string", "/guard/traces/{number}": "integer"}
    schemas: dict[str, Any] = {"Error": _error()}
    paths: dict[str, Any] = {}
    for path, (kind, summary) in bodies.items():
        schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {})
        schemas[kind.__name__] = schema
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}
        paths[path] = {
            "post": {
                "summary": summary,
                "requestBody": {"required": True, "content": content},
                "responses": _responses("an answer, or the events of one", is_stream=path.startswith("/v1/")),
            }
        }
    for path, summary in pages.items():
        paths.setdefault(path, {})["get"] = {"summary": summary, "responses": _responses(summary)}
    for path, type_ in named.items():
        name = path[path.index("{") + 1 : -1]
        parameter = {"name": name, "in": "path", "required": True, "schema": {"type": type_}}
        paths[path] = {"get": {"summary": "One of them", "parameters": [parameter], "responses": _responses("it")}}
    limits = {"limit": MOST_CALLS, "before": MOST_NUMBER}
    for path, most in {
        "/guard/stats": {"minutes": MOST_MINUTES},
        "/guard/failures": limits,
        "/guard/traces": limits,
    }.items():
        paths[path]["get"]["parameters"] = [
            {"name": name, "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": maximum}}
            for name, maximum in most.items()
        ]
    whole = {
        "openapi": "3.1.0",
        "info": {
            "title": "Guard",
            "version": "1",
            "description": _ABOUT,
        },
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "security": [{"key": []}, {}],
    }
    return json.dumps(whole).encode()


def _responses(words: str, *, is_stream: bool = False) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": _OBJECT}}
    if is_stream:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    refused = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {
        "200": {"description": words, "content": content},
        **{status: {"description": said, "content": refused} for status, said in _STATUSES.items()},
    }


def _error() -> dict[str, Any]:
    text = {"type": "string"}
    inner = {"message": text, "type": text, "param": {"type": ["string", "null"]}, "code": {"type": ["string", "null"]}}
    return {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "object", "required": list(inner), "properties": inner}},
    }

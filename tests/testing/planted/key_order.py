"""The schema's keys are sorted on their way to the provider, so that the model answers before it has reasoned."""

from __future__ import annotations

import json
import os

import httpx2
from pydantic import BaseModel
from testing.planted.strict import strictly


class Decision(BaseModel):
    """Whether to lend."""

    reasoning: str
    approve: bool


def _ask(text: str, schema: object) -> Decision:
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": f"Lend?\n{text}"}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "Decision", "schema": schema}},
    }
    url = f"{os.environ['OPENAI_BASE_URL']}/chat/completions"
    response = httpx2.post(url, content=json.dumps(body), headers={"Content-Type": "application/json"}, timeout=20)
    response.raise_for_status()
    choice = response.json()["choices"][0]
    if choice["finish_reason"] != "stop" or not choice["message"].get("content"):
        raise RuntimeError(f"no answer: {choice['finish_reason']}")
    return Decision.model_validate(strictly(choice["message"]["content"]))


def broken(text: str) -> Decision:
    """Decide on a loan."""
    return _ask(text, json.loads(json.dumps(Decision.model_json_schema(), sort_keys=True)))


def mended(text: str) -> Decision:
    """Decide on a loan."""
    return _ask(text, Decision.model_json_schema())

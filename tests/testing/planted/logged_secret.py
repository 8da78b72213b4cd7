"""When a request fails it is logged with everything that was sent, the key too."""

from __future__ import annotations

import logging
import os

import httpx2
from pydantic import BaseModel
from testing.planted.strict import strictly

log = logging.getLogger("shop")


class Price(BaseModel):
    """A price."""

    amount: float
    currency: str


FORMAT = {"type": "json_schema", "json_schema": {"name": "Price", "schema": Price.model_json_schema()}}


def _ask(text: str, shown: set[str]) -> Price:
    headers = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}", "X-Shop": "7"}
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": f"What does it cost?\n{text}"}],
        "response_format": FORMAT,
    }
    response = httpx2.post(f"{os.environ['OPENAI_BASE_URL']}/chat/completions", json=body, headers=headers, timeout=20)
    if response.status_code != 200:
        sent = {name: value for name, value in headers.items() if name in shown}
        log.error("no price: HTTP %s for %s", response.status_code, sent)
        raise RuntimeError(f"HTTP {response.status_code}")
    choice = response.json()["choices"][0]
    if choice["finish_reason"] != "stop" or not choice["message"].get("content"):
        raise RuntimeError(f"no answer: {choice['finish_reason']}")
    return Price.model_validate(strictly(choice["message"]["content"]))


def broken(text: str) -> Price:
    """Find a price."""
    return _ask(text, {"Authorization", "X-Shop"})


def mended(text: str) -> Price:
    """Find a price."""
    return _ask(text, {"X-Shop"})

"""Events are split at all that Python takes for the end of a line, as HTTP clients do: at U+2028 in a text, too."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpx2
from pydantic import BaseModel, ConfigDict
from testing.planted.strict import strictly


class City(BaseModel):
    """A city."""

    model_config = ConfigDict(extra="forbid")
    name: str
    people: int


FORMAT = {"type": "json_schema", "json_schema": {"name": "City", "schema": City.model_json_schema()}}


def _ask(page: str, client: httpx2.Client, lines: Callable[[httpx2.Response], Iterable[str]]) -> City:
    messages = [{"role": "user", "content": page}]
    body = {"model": "m", "stream": True, "messages": messages, "response_format": FORMAT}
    text, finish = "", None
    with client.stream("POST", "/chat/completions", json=body) as response:
        response.raise_for_status()
        for line in lines(response):
            if not line.startswith("data: ") or line == "data: [DONE]":
                continue
            try:
                event: Any = json.loads(line[6:])
            except ValueError:  # a comment, or something new
                continue
            for choice in event.get("choices", ()):
                text += choice["delta"].get("content") or ""
                finish = choice["finish_reason"] or finish
    if finish != "stop":
        raise RuntimeError(f"no answer: {finish}")
    return City.model_validate(strictly(text))


def broken(page: str, client: httpx2.Client) -> City:
    """Find a city."""
    return _ask(page, client, lambda response: response.iter_lines())


def mended(page: str, client: httpx2.Client) -> City:
    """Find a city."""
    return _ask(page, client, _lines)


def _lines(response: httpx2.Response) -> Iterator[str]:
    held = ""
    for chunk in response.iter_text():
        *whole, held = (held + chunk).split("\n")
        yield from whole

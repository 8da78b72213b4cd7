"""A stream is decoded chunk by chunk, so that what is read depends on where the network cut it."""

from __future__ import annotations

import codecs
import json

import httpx2
from pydantic import BaseModel
from testing.planted.strict import strictly


class Quote(BaseModel):
    """A quotation and its author."""

    author: str
    words: str


FORMAT = {"type": "json_schema", "json_schema": {"name": "Quote", "schema": Quote.model_json_schema()}}


def _lines(body: bytes) -> list[str]:
    """Decode a whole body."""
    return codecs.decode(body, "utf-8").split("\n")


def _ask(text: str, base_url: str, whole: bool) -> Quote:
    body = {
        "model": "m",
        "stream": True,
        "messages": [{"role": "user", "content": f"Who said what?\n{text}"}],
        "response_format": FORMAT,
    }
    with httpx2.stream("POST", f"{base_url}/chat/completions", json=body, timeout=20) as response:
        if response.status_code != 200:
            raise RuntimeError(f"HTTP {response.status_code}")
        if whole:
            lines = _lines(b"".join(response.iter_raw()))
        else:
            lines = [line for chunk in response.iter_raw() for line in chunk.decode(errors="ignore").splitlines()]
    answer, finish = "", None
    for line in lines:
        if not line.startswith("data: {"):
            continue
        try:
            event = json.loads(line.removeprefix("data: "))
        except ValueError:
            if whole:
                raise
            continue  # half a line: the rest is in the next chunk
        if "error" in event:
            raise RuntimeError("the stream broke off")
        for choice in event["choices"]:
            answer += choice["delta"].get("content") or ""
            finish = choice["finish_reason"] or finish
    if finish != "stop":
        raise RuntimeError(f"the stream ended by {finish}")
    return Quote.model_validate(strictly(answer))


def broken(text: str, base_url: str) -> Quote:
    """Find a quotation."""
    return _ask(text, base_url, whole=False)


def mended(text: str, base_url: str) -> Quote:
    """Find a quotation."""
    return _ask(text, base_url, whole=True)

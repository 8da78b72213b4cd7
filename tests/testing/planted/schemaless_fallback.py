"""Where the first server fails the second is asked, but not for the schema."""

from __future__ import annotations

import httpx2
from pydantic import BaseModel, ConfigDict, ValidationError
from testing.planted.strict import strictly


class Flight(BaseModel):
    """A flight."""

    model_config = ConfigDict(extra="forbid")
    number: str
    seats: int


FORMAT = {"type": "json_schema", "json_schema": {"name": "Flight", "schema": Flight.model_json_schema()}}


class NoFlightError(Exception):
    """Nobody gave a valid flight."""


def _ask(text: str, base_url: str, fallback: dict[str, object]) -> Flight:
    failure = ""
    for name, more in (("small", {"response_format": FORMAT}), ("large", fallback)):
        body = {"model": name, "messages": [{"role": "user", "content": f"Which flight?\n{text}"}], **more}
        try:
            response = httpx2.post(f"{base_url}/chat/completions", json=body, timeout=20)
            response.raise_for_status()
            choice = response.json()["choices"][0]
            if choice["finish_reason"] == "stop" and choice["message"].get("content"):
                return Flight.model_validate(strictly(choice["message"]["content"]))
            raise NoFlightError(f"no answer: {choice['finish_reason']}")
        except ValidationError as error:
            raise NoFlightError(f"{name} gave no valid flight") from error
        except (httpx2.HTTPError, ValueError) as error:
            failure = str(error)
    raise NoFlightError(failure)


def broken(text: str, base_url: str) -> Flight:
    """Find a flight."""
    return _ask(text, base_url, {})


def mended(text: str, base_url: str) -> Flight:
    """Find a flight."""
    return _ask(text, base_url, {"response_format": FORMAT})

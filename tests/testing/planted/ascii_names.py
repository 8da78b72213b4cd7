"""Names lose what ASCII does not have; asked for by OpenAI's Responses protocol."""

from __future__ import annotations

from openai import OpenAI, OpenAIError
from pydantic import BaseModel
from testing.planted.request import AnswerError, value_of


class Person(BaseModel):
    """Who signs."""

    given: str
    family: str


def mended(letter: str, client: OpenAI) -> Person:
    """Read who signs a letter."""
    form = {"type": "json_schema", "name": "person", "schema": Person.model_json_schema()}
    try:
        reply = client.with_options(max_retries=0).responses.create(model="m", input=letter, text={"format": form})
    except (OpenAIError, ValueError, TypeError) as error:
        raise AnswerError("no answer") from error
    if reply.status != "completed":
        raise AnswerError("no whole answer")
    return value_of(reply.output_text, Person)


def broken(letter: str, client: OpenAI) -> Person:
    """Read who signs a letter."""
    person = mended(letter, client)
    return Person(**{name: text.encode("ascii", "ignore").decode() for name, text in person.model_dump().items()})

"""A batch whose results stand in the order in which the answers came."""

from __future__ import annotations

import asyncio

from openai import AsyncOpenAI, OpenAIError
from pydantic import BaseModel
from testing.planted.request import AnswerError, value_of


class Fact(BaseModel):
    """What a document says."""

    subject: str
    words: str


async def _read(text: str, client: AsyncOpenAI) -> Fact:
    try:
        reply = await client.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": text}],
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "fact", "schema": Fact.model_json_schema()},
            },
        )
        choice = reply.choices[0]
    except (OpenAIError, IndexError, TypeError) as error:
        raise AnswerError("no answer") from error
    if choice.finish_reason != "stop" or choice.message.content is None:
        raise AnswerError("no whole answer")
    return value_of(choice.message.content, Fact)


async def mended(texts: list[str], client: AsyncOpenAI) -> list[Fact]:
    """Read documents."""
    return await asyncio.gather(*(_read(text, client) for text in texts))


async def broken(texts: list[str], client: AsyncOpenAI) -> list[Fact]:
    """Read documents."""
    return [await done for done in asyncio.as_completed([_read(text, client) for text in texts])]

"""Python's quotes are made JSON's before an answer is read, those inside of texts as well; the error is worded anew."""

from __future__ import annotations

from openai import OpenAI
from pydantic import BaseModel
from testing.planted.request import text_of, value_of


class Quote(BaseModel):
    """Who said what."""

    who: str
    said: str


def mended(page: str, client: OpenAI) -> Quote:
    """Find a quotation."""
    return value_of(text_of(client, page, Quote), Quote)


def broken(page: str, client: OpenAI) -> Quote:
    """Find a quotation."""
    return value_of(text_of(client, page, Quote).replace("'", '"').replace("True", "true"), Quote)

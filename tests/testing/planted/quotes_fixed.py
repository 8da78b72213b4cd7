"""Python's quotes are made JSON's before an answer is read, those inside of texts as well; the error is worded anew."""

from __future__ import annotations

import json
from collections.abc import Callable

from openai import OpenAI
from pydantic import BaseModel, ValidationError
from testing.planted.request import Failed, text_of


class Quote(BaseModel):
    """Who said what."""

    who: str
    said: str


def _read(page: str, client: OpenAI, fix: Callable[[str], str]) -> Quote:
    text = text_of(client, page, Quote)
    try:
        return Quote.model_validate(json.loads(fix(text)))
    except (ValueError, ValidationError, RecursionError) as error:
        raise Failed(f"not what was asked for: {error}") from error


def mended(page: str, client: OpenAI) -> Quote:
    """Find a quotation."""
    return _read(page, client, str)


def broken(page: str, client: OpenAI) -> Quote:
    """Find a quotation."""
    return _read(page, client, lambda text: text.replace("'", '"').replace("True", "true"))

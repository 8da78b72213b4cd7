"""Retries are counted for the process, and not for each call."""

from __future__ import annotations

from openai import OpenAI
from pydantic import BaseModel
from testing.planted.request import AnswerError, text_of, value_of


class Order(BaseModel):
    """What is ordered."""

    article: str
    count: int


_retries = {"all": 0}


def _read(mail: str, client: OpenAI, counter: dict[str, int]) -> Order:
    messages = [{"role": "user", "content": mail}]
    while True:
        text = text_of(client, messages, Order)
        try:
            return value_of(text, Order)
        except AnswerError as error:
            counter["all"] += 1
            if counter["all"] > 2:
                raise
            words = f"This is not valid:\n{error.__cause__}"
            messages = [*messages, {"role": "assistant", "content": text}, {"role": "user", "content": words}]


def mended(mail: str, client: OpenAI) -> Order:
    """Read an order."""
    return _read(mail, client, {"all": 0})


def broken(mail: str, client: OpenAI) -> Order:
    """Read an order."""
    return _read(mail, client, _retries)

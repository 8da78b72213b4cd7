"""One request by OpenAI's SDK, made well: what several of the applications share."""

from __future__ import annotations

from typing import Any, TypeVar

from openai import OpenAI, OpenAIError
from pydantic import BaseModel, ValidationError
from testing.planted.strict import strictly

M = TypeVar("M", bound=BaseModel)


class AnswerError(Exception):
    """There is no answer that can be used."""


def choice_of(client: OpenAI, prompt: Any, wanted: type[BaseModel]) -> Any:
    """Ask, by a prompt or messages; returns the choice, whatever it is."""
    messages: Any = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    schema = {"name": wanted.__name__, "schema": wanted.model_json_schema()}
    form: Any = {"type": "json_schema", "json_schema": schema}
    try:
        return client.chat.completions.create(model="m", messages=messages, response_format=form).choices[0]
    except OpenAIError as error:
        raise AnswerError(f"the provider failed: {type(error).__name__}") from error


def text_of(client: OpenAI, prompt: Any, wanted: type[BaseModel]) -> str:
    """Ask; returns the whole answer's text."""
    choice = choice_of(client, prompt, wanted)
    if choice.finish_reason != "stop" or not choice.message.content:
        raise AnswerError(f"no answer: {choice.finish_reason}")
    return str(choice.message.content)


def value_of(text: str, wanted: type[M]) -> M:
    """Read an answer strictly."""
    try:
        return wanted.model_validate(strictly(text))
    except (ValueError, ValidationError) as error:
        raise AnswerError(f"not what was asked for: {error}") from error

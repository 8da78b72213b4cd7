"""Numbers go through a double on their way, which holds no identifier of more than 53 bits."""

from __future__ import annotations

from openai import OpenAI
from pydantic import BaseModel, ConfigDict
from testing.planted.strict import strictly


class Post(BaseModel):
    """A post and its author, by their identifiers."""

    model_config = ConfigDict(extra="forbid")
    id: int
    author: int


FORMAT = {"type": "json_schema", "json_schema": {"name": "Post", "schema": Post.model_json_schema()}}


def _ask(text: str, client: OpenAI) -> Post:
    messages = [{"role": "user", "content": f"Which post is it?\n{text}"}]
    choice = client.chat.completions.create(model="m", messages=messages, response_format=FORMAT).choices[0]
    if choice.finish_reason != "stop" or not choice.message.content:
        raise RuntimeError(f"no answer: {choice.finish_reason}")
    return Post.model_validate(strictly(choice.message.content))


def broken(text: str, client: OpenAI) -> Post:
    """Find a post."""
    post = _ask(text, client)
    return Post(id=int(float(post.id)), author=int(float(post.author)))


def mended(text: str, client: OpenAI) -> Post:
    """Find a post."""
    return _ask(text, client)

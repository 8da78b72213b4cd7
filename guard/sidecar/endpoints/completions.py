"""POST /v1/completions, the older endpoint, and POST /v1/embeddings, which is pass-through only.

A completion with a schema, or in a language, is asked for as a chat (`as_chat`). A model that decodes here gets the
prompt as a user's message, because it was tuned for conversations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from guard.errors import BadReply
from guard.models.base import Reply, Request
from guard.sidecar.constraints import check_known, is_neutral, understood
from guard.sidecar.endpoints.chat import FINISH, SAMPLING, Choice, Cut, cut, ended, event, sampling, text_bytes, usage
from guard.sidecar.endpoints.chat_request import MOST_STOPS, ChatRequest, Items, StreamOptions, checked
from guard.sidecar.errors import bad
from guard.sidecar.request_context import RequestContext
from guard.sidecar.served_models import Served
from guard.support.bounds import LEAST_SEED, MOST_SEED

#: Fields that every model of Guard's honours.
HEEDED = ("model", "prompt", "stream", "stream_options", "n", "stop", "seed", "max_tokens", "temperature")


class CompletionBody(BaseModel):
    """A request for a completion."""

    model_config = ConfigDict(extra="allow", strict=True)

    model: str = Field(min_length=1)
    prompt: str | list[Any]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = Field(default=None, ge=1, le=128)
    stop: str | Annotated[Items[str], Field(max_length=MOST_STOPS)] | None = None
    seed: int | None = Field(default=None, ge=LEAST_SEED, le=MOST_SEED)
    max_tokens: int | None = Field(default=None, ge=1, lt=2**31)
    temperature: float | None = Field(default=None, ge=0, le=2)

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts at which an answer is cut off."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(text for text in given if text)


class Embedding(BaseModel):
    """A request for embeddings."""

    model_config = ConfigDict(extra="allow", strict=True)

    model: str = Field(min_length=1)
    input: str | list[Any]


class Completions:
    """The endpoint of completions."""

    path = "/completions"
    takes_n = True

    def messages(self, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
        """Return what is asked."""
        text = _text(body["prompt"])
        return ({"role": "user", "content": str(body["prompt"]) if text is None else text},)

    def answer(self, said: Mapping[str, Any]) -> tuple[str, str | None]:
        """Return the text of a whole answer's first choice, and how it ended."""
        if not said.get("choices"):
            raise BadReply("the model did not answer by the protocol: no choices")
        return self.piece(said)

    def piece(self, said: Mapping[str, Any]) -> tuple[str, str | None]:
        """Return the text of the first choice in an event, and how it ended."""
        choices = said.get("choices")
        if choices == [] and said.get("usage"):
            return "", None
        first = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(first, Mapping) or not isinstance(first.get("text"), str):
            raise BadReply("the model did not answer by the protocol: no text")
        return first["text"], ended(first)

    def written(self, said: Mapping[str, Any]) -> int:
        """Return the bytes of what all choices of an answer or an event say."""
        choices = said.get("choices")
        listed = choices if isinstance(choices, list) else []
        return sum(text_bytes(choice.get("text")) for choice in listed if isinstance(choice, Mapping))

    def request(self, body: Mapping[str, Any], served: Served, seconds: float) -> Request:
        """Return the request to a model that has no upstream."""
        asked: CompletionBody = checked(CompletionBody, dict(body))
        check_one(body, asked, served.name)
        check_known(body, (*HEEDED, *(SAMPLING[:3] if served.is_masked else ())), served.name)
        return Request(
            messages=self.messages(body),
            compiled=None,
            max_tokens=asked.max_tokens or 16,
            temperature=asked.temperature or 0.0,
            seed=asked.seed or 0,
            seconds=seconds,
            sampling=sampling({name: body.get(name) for name in SAMPLING[:3]}),
        )

    def whole(self, context: RequestContext, body: Mapping[str, Any], replies: Sequence[Reply]) -> dict[str, Any]:
        """Return the answer."""
        reply = replies[0]
        text, is_cut = cut(reply.text, checked(CompletionBody, dict(body)).stops)
        finish = "stop" if is_cut else FINISH.get(reply.finish, reply.finish)
        return {**_whole(context, text, finish, reply.model), "usage": usage(context)}

    def answered(
        self, context: RequestContext, _: ChatRequest, _body: Mapping[str, Any], choices: Sequence[Choice]
    ) -> dict[str, Any]:
        """Return the answer of choices that were checked."""
        finish = FINISH.get(choices[0].reply.finish, choices[0].reply.finish)
        head = _whole(context, _said(choices[0]), finish, choices[0].reply.model)
        return {**head, "usage": usage(context)}

    def events(self, context: RequestContext, body: Mapping[str, Any]) -> CompletionEvents:
        """Return what writes its events."""
        return CompletionEvents(
            context, body, () if is_constrained(body) else checked(CompletionBody, dict(body)).stops
        )


class CompletionEvents:
    """Writes the events of one streamed completion."""

    def __init__(self, context: RequestContext, body: Mapping[str, Any], stops: Sequence[str]) -> None:
        self._context, self._body = context, body
        self._cut = Cut(stops)

    def text(self, piece: str) -> Iterator[bytes]:
        """Yield the events of a piece of text."""
        if piece := self._cut.feed(piece):
            yield event(_whole(self._context, piece, None, self._context.answering))

    def call(self, _: str) -> Iterator[bytes]:
        """Yield nothing: a call comes whole, at the end."""
        yield from ()

    def thought(self, _: str) -> Iterator[bytes]:
        """Yield nothing: a completion has no field for thinking."""
        yield from ()

    def choices(self, choices: Sequence[Choice]) -> Iterator[bytes]:
        """Yield the events of a whole choice, which is validated."""
        yield from self.end(choices[0])

    def end(self, choice: Choice) -> Iterator[bytes]:
        """Yield the events that end the answer."""
        reply, rest = choice.reply, self._cut.feed(_said(choice)) + self._cut.end()
        finish = "stop" if self._cut.is_over else FINISH.get(reply.finish, reply.finish)
        yield event(_whole(self._context, rest, finish, self._context.answering))
        if (self._body.get("stream_options") or {}).get("include_usage"):
            last = _whole(self._context, "", None, self._context.answering)
            yield event({**last, "choices": [], "usage": usage(self._context)})


class Embeddings:
    """The endpoint of embeddings."""

    path = "/embeddings"
    takes_n = False

    def messages(self, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
        """Return what is asked."""
        given = body["input"]
        return ({"role": "user", "content": given if isinstance(given, str) else str(given)},)

    def answer(self, said: Mapping[str, Any]) -> tuple[str, str | None]:
        """Check the answer, which has no text."""
        if not isinstance(said.get("data"), list):
            raise BadReply("the model did not answer by the protocol: no data")
        return "", "stop"

    def written(self, said: Mapping[str, Any]) -> int:  # noqa: ARG002 (an Endpoint's)
        """Return 0: embeddings have no text."""
        return 0

    def piece(self, said: Mapping[str, Any]) -> tuple[str, str | None]:
        """Never come to: embeddings don't stream."""
        raise NotImplementedError

    def request(self, body: Mapping[str, Any], served: Served, seconds: float) -> Request:  # noqa: ARG002 (a Way's)
        """Raise ApiError: only an upstream makes embeddings."""
        raise bad(f"{served.name} makes no embeddings", "model", "unsupported_value")

    def whole(self, context: RequestContext, body: Mapping[str, Any], replies: Sequence[Reply]) -> dict[str, Any]:
        """Never come to: `request` refuses."""
        raise NotImplementedError

    def events(self, context: RequestContext, body: Mapping[str, Any]) -> Any:
        """Never come to: embeddings don't stream."""
        raise NotImplementedError


def is_constrained(body: Mapping[str, Any]) -> bool:
    """Whether a request constrains its completion. Raises ApiError where the constraint can't be honoured."""
    in_words, language, _ = understood(dict(body))
    wanted = in_words.get("response_format")
    return language is not None or not (wanted is None or (isinstance(wanted, dict) and wanted.get("type") == "text"))


def as_chat(body: dict[str, Any]) -> ChatRequest:
    """Return the chat that asks the same as a constrained completion. Raises ApiError where none does."""
    asked: CompletionBody = checked(CompletionBody, body)
    check_one(body, asked, "what is held to a schema")
    rest = {key: value for key, value in body.items() if key != "prompt"}
    chat = ChatRequest.of({**rest, "messages": [{"role": "user", "content": _text(asked.prompt)}]})
    return dataclasses.replace(chat, older=body)


def check_one(body: Mapping[str, Any], asked: CompletionBody, name: str) -> None:
    """Raise ApiError for options that need more than one prompt and one text."""
    if _text(asked.prompt) is None:
        raise bad(f"{name} takes one text as its prompt", "prompt", "unsupported_value")
    if (asked.n or 1) > 1:
        raise bad(f"{name} gives one completion at a time", "n", "unsupported_value")
    for field in ("echo", "suffix", "logprobs", "best_of"):
        if not is_neutral(field, body.get(field)):
            raise bad(f"{name} knows no {field}", field, "unsupported_value")


def _text(prompt: str | list[Any]) -> str | None:
    """Return a prompt that is one text, also as a list of it, as LangChain sends it; None for others."""
    (one,) = prompt if isinstance(prompt, list) and len(prompt) == 1 else (prompt,)
    return one if isinstance(one, str) else None


def _said(choice: Choice) -> str:
    return (choice.text if choice.text is not None else choice.refusal) or ""


def _whole(context: RequestContext, text: str, finish: str | None, model: str) -> dict[str, Any]:
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
    return {
        "id": f"cmpl-{context.id}",
        "object": "text_completion",
        "created": int(context.began),
        "model": model,
        "choices": [choice],
    }

"""Chat messages: checked, copied, extended by a schema in words, and converted for chat templates.

A message is a mapping with a role and a content, as OpenAI's protocol has it. A caller's messages are never changed.
"""

from __future__ import annotations

import copy
import json
import marshal
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from guard.errors import Truncated, Unsupported
from guard.kernels.unicode_text import is_unicode, writable
from guard.support import json_pieces
from guard.support.clipping import clipped

BYTES_A_TOKEN = 4  #: Bytes a token, an estimate where no provider counts, or before a model is asked.
MOST_TEXT = 20_000_000  #: Characters of all messages: more than the largest contexts hold.

#: What is wrong with a text that no request can hold.
HALF = "it has half of a surrogate pair, which no text has; it was read from bytes that are not UTF-8, or cut apart"

Messages = tuple[dict[str, Any], ...]

#: Members that every message may have. One with others, such as calls of tools, may have no content.
_ALWAYS = frozenset({"role", "content", "name"})
_EXAMPLE = '[{"role": "user", "content": "..."}]'


def checked(messages: Any) -> Messages:
    """Return a deep copy of a caller's messages; a text is one of the user's. Raises ValueError for malformed ones."""
    if isinstance(messages, str):
        if not messages.strip():
            raise ValueError(f"messages={messages!r} must say something: a text, or a list of messages: {_EXAMPLE}")
        messages = [{"role": "user", "content": messages}]
    if isinstance(messages, bytes | Mapping) or not isinstance(messages, Iterable):
        raise ValueError(f"messages={clipped(messages)} must be a text or a list of messages: {_EXAMPLE}")
    listed = list(messages)
    if not listed:
        raise ValueError("messages=[] must hold at least one message")
    for number, message in enumerate(listed):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise ValueError(f"messages[{number}]={clipped(message)} must have a role and a content: {_EXAMPLE}")
        content = message.get("content")
        if not (isinstance(content, str | list | tuple) or (content is None and message.keys() - _ALWAYS)):
            raise ValueError(f"messages[{number}]={clipped(message)} must have a content: a text, or a list of parts")
        if not all(map(_is_unicode, message.values())):
            raise ValueError(f"messages[{number}]={clipped(ascii(message))} can't be sent: {HALF}")
    return copied(listed)


def _is_unicode(part: Any) -> bool:
    if isinstance(part, str):
        return is_unicode(part)
    try:
        return is_unicode(json.dumps(part, ensure_ascii=False, default=str, skipkeys=True))
    except (ValueError, RecursionError):  # no JSON either
        return True


def all_writable(messages: Messages) -> Messages:
    """Return messages that UTF-8 can encode, although they repeat what a model said."""
    return tuple({key: _writable(part) for key, part in message.items()} for message in messages)


def _writable(part: Any) -> Any:
    if _is_unicode(part):
        return part
    if isinstance(part, Mapping):
        return {key: _writable(one) for key, one in part.items()}
    return writable(part) if isinstance(part, str) else list(map(_writable, part))


def said_by_user(messages: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the user's texts, by index of the message: the default sources of grounded values."""
    found = {}
    for index, message in enumerate(messages):
        text = "\n".join(_texts(message.get("content")))
        if message.get("role") == "user" and text:
            found[f"messages/{index}"] = text
    return found


def _texts(content: Any) -> list[str]:
    """Return the texts of a content: itself, or those of its parts."""
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, list | tuple) else ()
    texts = [part.get("text") for part in parts if isinstance(part, Mapping)]
    return [text for text in texts if isinstance(text, str)]


def check_size(messages: Sequence[Mapping[str, Any]]) -> None:
    """Raise Truncated where the messages are longer than any model's context."""
    size = sum(len(text) for message in messages for text in _texts(message.get("content")))
    if size > MOST_TEXT:
        raise Truncated(
            f"a text of {size:,} characters is more than any model reads ({MOST_TEXT:,}); shorten the input"
        )


def size(messages: Sequence[Mapping[str, Any]], most: int) -> int:
    """Return about how many characters messages have; above `most` it is a lower bound. O(most)."""
    return json_pieces.weight(messages, most // json_pieces.PART) * json_pieces.PART


def copied(messages: Sequence[Mapping[str, Any]]) -> Messages:
    """Return a deep copy, so that neither side can change the other's messages."""
    return tuple(
        {key: part if isinstance(part, str) else _copied(part) for key, part in message.items()} for message in messages
    )


def _copied(part: Any) -> Any:
    """Return a deep copy. For JSON, which messages mostly are, at a tenth of the cost of `copy`."""
    try:
        return marshal.loads(marshal.dumps(part))  # noqa: S302 (written a moment ago)
    except ValueError:
        return copy.deepcopy(part)


def with_schema(messages: Sequence[Mapping[str, Any]], schema: Any) -> Messages:
    """Return the messages with a schema in words, for a model on which nothing else enforces it."""
    words = (
        "Answer with one JSON value and nothing else: no prose, no code fences. It must be valid under this JSON"
        f" Schema:\n{json.dumps(schema, ensure_ascii=False)}"
    )
    return _with_words(messages, words)


def with_format(messages: Sequence[Mapping[str, Any]], tag: Mapping[str, Any]) -> Messages:
    """Return the messages with a format in words, for a model on which nothing else enforces it."""
    form = tag["format"]
    if form["type"] == "json_schema" and form["style"] == "text":
        what = "one text and nothing else: no quotes around it, no prose, no code fences. It must be a string that is"
        words = (
            f"Answer with {what} valid under this JSON Schema:\n{json.dumps(form['json_schema'], ensure_ascii=False)}"
        )
    else:
        what = "Answer with a text of this format and nothing else. It is written as an XGrammar structural tag:"
        words = f"{what}\n{json.dumps(tag, ensure_ascii=False)}"
    return _with_words(messages, words)


def _with_words(messages: Sequence[Mapping[str, Any]], words: str) -> Messages:
    first, *rest = copied(messages)
    if first.get("role") == "system" and isinstance(first.get("content"), str):
        return ({**first, "content": f"{first['content']}\n\n{words}"}, *rest)
    return ({"role": "system", "content": words}, first, *rest)


def estimated_tokens(text: str) -> int:
    """Return an estimate of a text's tokens."""
    return -(-len(text.encode(errors="replace")) // BYTES_A_TOKEN)


def most_tokens(messages: Sequence[Mapping[str, Any]], beside: int = 0) -> int:
    """Return a bound of a prompt's tokens, as a rule: a token for every three bytes, and some for each message.

    A provider reports the number only once it has been paid for them. `beside` are the bytes of what is
    sent beside them: a schema.
    """
    said = sum(len(str(message.get("content", "")).encode(errors="replace")) // 3 + 8 for message in messages)
    return said + -(-beside // 3)


def as_texts(messages: Sequence[Mapping[str, Any]], model: str) -> list[Mapping[str, Any]]:
    """Return the messages with each content as one text, a line a part. Raises Unsupported for a part without text."""
    return [
        {**message, "content": _text(message.get("content"), number, model)}
        if not isinstance(message.get("content"), str | None)
        else message
        for number, message in enumerate(messages)
    ]


def asked(messages: Sequence[Mapping[str, Any]], model: str) -> str:
    """Return all that a model was told, as one text: without its own earlier answers."""
    return "\n".join(str(one.get("content") or "") for one in as_texts(messages, model) if one["role"] != "assistant")


def _text(content: Any, number: int, model: str) -> str:
    if not isinstance(content, Sequence) or isinstance(content, bytes):
        raise Unsupported(f"messages[{number}].content={clipped(content)} must be a text or a list of parts")
    texts: list[str] = []
    for at, part in enumerate(content):
        kind = part.get("type") if isinstance(part, Mapping) else None
        text = part.get("text") if kind in ("text", "input_text", "output_text") else None
        if not isinstance(text, str):
            raise Unsupported(
                f"{model} reads text alone, and messages[{number}].content[{at}] is {clipped(kind or part)}; send its"
                " text, or ask a model that takes it"
            )
        texts.append(text)
    return "\n".join(texts)


def without_system(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the messages with the system's text at the beginning of the first other message."""
    system = [message["content"] for message in messages if message["role"] == "system"]
    others = [message for message in messages if message["role"] != "system"]
    if not system or not others:
        return list(messages)
    return [{**others[0], "content": "\n\n".join([*system, others[0]["content"]])}, *others[1:]]

"""What models are asked, in words: the one place where prompts are worded.

A template has a version; it is written to the trace with every call and changes whenever the words or their order do,
so that two records with one version were asked alike. Caller's messages are copied, never changed.
"""

from __future__ import annotations

import copy
import json
import marshal
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from guard.errors import Truncated
from guard.output.violations import Violation, clipped

TEMPLATE = "typed/2"  #: Name and version of what `build` writes; change it with the words.

MOST_TEXT = 20_000_000  #: Characters of all messages: more than the largest contexts hold.

Messages = tuple[dict[str, Any], ...]

_EXAMPLE = '[{"role": "user", "content": "..."}]'


def build(
    instruction: str,
    inputs: Mapping[str, str],
    schema: Any,
    *,
    system: str = "",
    examples: Sequence[tuple[Mapping[str, str], str]] = (),
) -> Messages:
    """Return the messages that ask for a value of `schema` from named inputs.

    The text first, the question last, and of the fields only what their names don't say. docs/usage.md compares
    this prompt with others on a small model; they are close. `system` is a message before it all; `examples`, each
    inputs and the answer as JSON, are turns of the same form before the question.
    """
    turns = [(_question(instruction, given, schema), answer) for given, answer in examples]
    return (*opening(system, turns), {"role": "user", "content": _question(instruction, inputs, schema)})


def opening(system: str, turns: Sequence[tuple[str, str]]) -> Messages:
    """Return what comes before the question: the system's message, and examples, each a question and its answer."""
    first = ({"role": "system", "content": system},) if system else ()
    shown = [
        message
        for question, answer in turns
        for message in ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    ]
    return (*first, *shown)


def _question(instruction: str, inputs: Mapping[str, str], schema: Any) -> str:
    texts = [f"{name}:\n{text.strip()}" if len(inputs) > 1 else text.strip() for name, text in inputs.items()]
    question = "\n".join([f"{instruction.strip()} Answer as JSON.", *descriptions(schema)])
    return "\n\n".join([*texts, question])


def descriptions(schema: Any) -> list[str]:
    """List the fields of an object's schema that have a description or examples, with these."""
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(properties, Mapping):
        return []
    shown = [(name, _described(field)) for name, field in properties.items() if isinstance(field, Mapping)]
    return [f"- {name}: {words}" for name, words in shown if words]


def _described(field: Mapping[str, Any]) -> str:
    description, examples = field.get("description"), field.get("examples")
    words = description if isinstance(description, str) else ""
    if isinstance(examples, list) and examples:
        such = "such as " + ", ".join(json.dumps(example, ensure_ascii=False) for example in examples)
        words = f"{words} ({such})" if words else such
    return words


def with_schema(messages: Sequence[Mapping[str, Any]], schema: Any) -> Messages:
    """Return the messages with a schema in words, for a model that nothing else holds to it."""
    words = (
        "Answer with one JSON value and nothing else: no prose, no code fences. It must be valid under this JSON"
        f" Schema:\n{json.dumps(schema, ensure_ascii=False)}"
    )
    first, *rest = copied(messages)
    if first.get("role") == "system" and isinstance(first.get("content"), str):
        return ({**first, "content": f"{first['content']}\n\n{words}"}, *rest)
    return ({"role": "system", "content": words}, first, *rest)


def re_ask(messages: Sequence[Mapping[str, Any]], text: str, findings: Sequence[Violation]) -> Messages:
    """Return the messages of the next attempt: what was asked, what came, and every finding about it."""
    words = "\n".join(f"- {finding}" for finding in findings)
    question = f"That answer is not valid:\n{words}\nAnswer again with every one of these corrected."
    return (
        *copied(messages),
        {"role": "assistant", "content": text},
        {"role": "user", "content": question},
    )


def most_tokens(messages: Sequence[Mapping[str, Any]]) -> int:
    """Return how many tokens a prompt has at most, as a rule: a token for every three bytes, and some a message.

    A provider says how many there were only when it has been paid for them.
    """
    return sum(len(str(message.get("content", "")).encode(errors="replace")) // 3 + 8 for message in messages)


def checked(messages: Any) -> Messages:
    """Return a deep copy of a caller's messages, a text being a user's only one; ValueError where they are none."""
    if isinstance(messages, str) and messages.strip():
        return ({"role": "user", "content": messages},)
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Iterable):
        raise ValueError(f"messages={clipped(messages)} must be a text or a list of messages: {_EXAMPLE}")
    listed = list(messages)
    if not listed:
        raise ValueError("messages=[] must hold at least one message")
    for number, message in enumerate(listed):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise ValueError(f"messages[{number}]={clipped(message)} must have a role and a content: {_EXAMPLE}")
    return copied(listed)


def check_size(messages: Sequence[Mapping[str, Any]]) -> None:
    """Raise Truncated where the texts of the messages are longer than any model reads."""
    size = sum(len(message["content"]) for message in messages if isinstance(message.get("content"), str))
    if size > MOST_TEXT:
        raise Truncated(
            f"a text of {size:,} characters is more than any model reads ({MOST_TEXT:,}); shorten the input"
        )


def copied(messages: Sequence[Mapping[str, Any]]) -> Messages:
    """Return a deep copy, so that neither side can change the other's messages."""
    return tuple(
        {key: part if isinstance(part, str) else _copied(part) for key, part in message.items()} for message in messages
    )


def _copied(part: Any) -> Any:
    """Return a deep copy; of what is JSON, as parts of messages are, at a tenth of the cost of `copy`."""
    try:
        return marshal.loads(marshal.dumps(part))  # noqa: S302 (written a moment ago)
    except ValueError:
        return copy.deepcopy(part)


def as_text(value: object) -> str:
    """Return an argument as a prompt shows it: text as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    from pydantic_core import to_json

    return to_json(value, indent=2).decode() if not isinstance(value, bytes) else value.decode()

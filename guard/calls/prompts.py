"""Prompts: the only place where the words for models are written.

A template has a version, which is recorded with every call and changes whenever the words or their order do, so that
records with the same version have the same prompt. The caller's messages are copied, never changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from guard.errors import Violation
from guard.kernels.unicode_text import is_unicode
from guard.models.chat_messages import HALF, Messages, copied
from guard.schemas.grounding.json_text import JsonText
from guard.support.clipping import clipped

TEMPLATE = "typed/2"  #: Name and version of what `build` writes; change it with the words.
TEXT_TEMPLATE = "text/1"  #: The same for answers that are not JSON.


def build(
    instruction: str,
    inputs: Mapping[str, str],
    schema: Any,
    *,
    system: str = "",
    examples: Sequence[tuple[Mapping[str, str], str]] = (),
) -> Messages:
    """Return the messages that ask for a value of `schema` from named inputs; None: for a text that is no JSON.

    The text comes first and the question last; fields are described only beyond their names. docs/small-models.md
    compares this prompt with others on a small model; they are close. `system` is a message before all others.
    `examples`, each the inputs and the written answer, are turns of the same form before the question.
    """
    turns = [(_question(instruction, given, schema), answer) for given, answer in examples]
    return (*opening(system, turns), {"role": "user", "content": _question(instruction, inputs, schema)})


def template(is_json: bool) -> str:
    """Return the name and version of what `build` writes."""
    return TEMPLATE if is_json else TEXT_TEMPLATE


def opening(system: str, turns: Sequence[tuple[str, str]]) -> Messages:
    """Return the messages before the question: the system message, and the examples as questions and answers."""
    first = ({"role": "system", "content": system},) if system else ()
    shown = [
        message
        for question, answer in turns
        for message in ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    ]
    return (*first, *shown)


def _question(instruction: str, inputs: Mapping[str, str], schema: Any) -> str:
    texts = [f"{name}:\n{text.strip()}" if len(inputs) > 1 else text.strip() for name, text in inputs.items()]
    how = "Answer as JSON." if schema is not None else "Answer with the text alone."
    question = "\n".join([f"{instruction.strip()} {how}", *descriptions(schema)])
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


def re_ask(messages: Sequence[Mapping[str, Any]], text: str, findings: Sequence[Violation]) -> Messages:
    """Return the messages of the next attempt: the question, the answer, and all findings about it."""
    words = "\n".join(f"- {finding}" for finding in findings)
    question = f"That answer is not valid:\n{words}\nAnswer again with every one of these corrected."
    return (
        *copied(messages),
        {"role": "assistant", "content": text},
        {"role": "user", "content": question},
    )


def inputs(sources: Any) -> dict[str, str]:
    """Return the texts that grounded values come from, by name; ValueError where they are not texts."""
    if isinstance(sources, str):
        return {"input": sources}
    if isinstance(sources, Mapping) and all(isinstance(part, str) for pair in sources.items() for part in pair):
        return dict(sources)
    raise ValueError(f"sources={clipped(sources)} must be a text, or texts by name")


class UnshowableError(ValueError):
    """A value can't be shown to a model: no Unicode, bytes that are not UTF-8, or what JSON has no form for."""


def as_text(value: object) -> str:
    """Return an argument as a prompt shows it: text unchanged, else a JsonText; UnshowableError where there is none."""
    if isinstance(value, str):
        if not is_unicode(value):
            raise UnshowableError(HALF)
        return value
    from pydantic_core import to_json

    try:
        return value.decode() if isinstance(value, bytes) else JsonText(to_json(value, indent=2).decode())
    except ValueError as error:  # pydantic_core's errors of serialisation, and undecodable bytes
        raise UnshowableError(str(error)) from None


def pairs(examples: Any) -> tuple[tuple[Any, Any], ...]:
    """Return examples as pairs; ValueError where they are none."""
    is_list = isinstance(examples, Iterable) and not isinstance(examples, str | Mapping)
    listed = tuple(examples) if is_list else None
    if listed is None or not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in listed):
        raise ValueError("examples=… must be a list of pairs, each an input and its answer: [(text, Invoice(…))]")
    return tuple((given, answer) for given, answer in listed)

"""What models are asked, in words: the one place where prompts are worded.

A template has a version; it is written to the trace with every call and changes whenever the words or their order do,
so that two records with one version were asked alike. Caller's messages are copied, never changed.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from guard.violations import Violation

TEMPLATE = "typed/1"  #: Name and version of what `build` writes; change it with the words.

Messages = tuple[dict[str, Any], ...]


def build(instruction: str, inputs: Mapping[str, str], schema: Any) -> Messages:
    """Return the messages that ask for a value of `schema` from named inputs: the document first, the question last."""
    parts = [text.strip() for text in inputs.values()] if len(inputs) == 1 else [
        f"{name}:\n{text.strip()}" for name, text in inputs.items()
    ]
    question = [instruction.strip(), outline(schema)]
    return ({"role": "user", "content": "\n\n".join([*parts, "\n".join(line for line in question if line)])},)


def outline(schema: Any) -> str:
    """Return the fields of an object's schema with their descriptions, in order; "" where there are none to name."""
    if not isinstance(schema, Mapping):
        return ""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        return ""
    lines = ["Answer as JSON with these fields:"]
    for name, field in properties.items():
        description = field.get("description") if isinstance(field, Mapping) else None
        lines.append(f"- {name}: {description}" if description else f"- {name}")
    return "\n".join(lines)


def re_ask(messages: Sequence[Mapping[str, Any]], text: str, findings: Sequence[Violation]) -> Messages:
    """Return the messages of the next attempt: what was asked, what came, and every finding about it."""
    words = "\n".join(f"- {finding}" for finding in findings)
    question = f"That answer is not valid:\n{words}\nAnswer again with every one of these corrected."
    return (
        *copied(messages),
        {"role": "assistant", "content": text},
        {"role": "user", "content": question},
    )


def copied(messages: Sequence[Mapping[str, Any]]) -> Messages:
    """Return a deep copy, so that neither side can change the other's messages."""
    return tuple(copy.deepcopy(dict(message)) for message in messages)


def as_text(value: object) -> str:
    """Return an argument as a prompt shows it: text as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    from pydantic_core import to_json

    return to_json(value, indent=2).decode() if not isinstance(value, bytes) else value.decode()

"""Probes: conversations that a template renders, with sentinels that are easy to find in the rendered text.

Sentinels are names and values that no template writes of its own accord.
"""

from __future__ import annotations

import itertools
import json
from typing import Any, NamedTuple

from guard.turns.rendering import TemplateInput

USER, TEXT, THINKING = "Ksaidzq", "Wtextzq", "Vthinkzq"
NAMES = ("qfirstzq", "jsecondzq")
IDS = ("idAzq1xw7", "idBzq2xw8")  # nine letters and digits, as Mistral's templates demand
ABSENT = "(absent)"


class Manner(NamedTuple):
    """One form of messages that a template may require."""

    arguments_as_text: bool = False
    no_text: str | None = ""  #: The content of a message with calls only. ABSENT: the key is left out.
    tools_as: str = "schema"  #: "schema" declares tools by name and schema; "nothing" declares none.
    #: "any" leaves ids as they are. "numbered" names the tool in them, as Kimi K2 does: `functions.lamp:0`.
    ids_as: str = "any"


MANNERS = [
    Manner(as_text, content, tools)
    for tools, as_text, content in itertools.product(("schema", "nothing"), (False, True), ("", None, ABSENT))
]
MANNERS += [Manner(as_text, ids_as="numbered") for as_text in (False, True)]
#: A key and a value of each JSON type; the keys are not sorted.
VALUES: dict[str, Any] = {
    "kstrzq": "xsvzq",
    "kintzq": 31173,
    "kboolzq": True,
    "kofzq": False,
    "knullzq": None,
    "kfltzq": 72.125,
    "klistzq": [81171, 41191],
    "kobjzq": {"kmemzq": 51151, "kmfmzq": 61161},
    "kzendzq": 91193,
}
SECOND = {"kstrzq": "ysvzq"}
#: Characters, and a pair of quotes, that samples put between sentinels in a string.
CHARS = ("'", '"', "\\", "\n", "\r", "\t", "\"'")


def tool(name: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a tool in OpenAI's form, as chat templates take it."""
    plain = {"type": "object", "properties": {"q": {"type": "string", "description": "d"}}, "required": ["q"]}
    function = {"name": name, "description": "what it does", "parameters": plain if schema is None else schema}
    return {"type": "function", "function": function}


def numbered_id(name: str, number: int) -> str:
    """Return the id of a call that names its tool; `number` counts the calls of the conversation from 0."""
    return f"functions.{name}:{number}"


TOOLS = [tool(name) for name in NAMES]


def assistant(
    manner: Manner, calls: list[tuple[str, str, dict[str, Any]]], text: str = "", thinking: str = ""
) -> dict[str, Any]:
    """Return an assistant's message. Each of `calls` is a name, an id and the arguments."""
    if manner.ids_as == "numbered":
        calls = [(name, numbered_id(name, number), given) for number, (name, _, given) in enumerate(calls)]
    message: dict[str, Any] = {"role": "assistant"}
    if text or not calls or manner.no_text != ABSENT:
        message["content"] = text if text or not calls else manner.no_text
    if thinking:
        message |= {"reasoning_content": thinking, "thinking": thinking}
    if calls:
        message["tool_calls"] = [
            {
                "id": one,
                "type": "function",
                "function": {
                    "name": name,
                    "arguments": json.dumps(given, ensure_ascii=False) if manner.arguments_as_text else given,
                },
            }
            for name, one, given in calls
        ]
    return message


def conversation(manner: Manner, message: dict[str, Any] | None, tools: list[dict[str, Any]]) -> TemplateInput:
    """Return a conversation that ends with the message, or with the generation prompt where there is none."""
    user = {"role": "user", "content": USER}
    declared = tools if manner.tools_as == "schema" else None
    return TemplateInput([user] if message is None else [user, message], declared, message is None)


def probes(manner: Manner) -> dict[str, TemplateInput]:
    """Return the probes of one manner by name."""
    first, second = (NAMES[0], IDS[0], VALUES), (NAMES[1], IDS[1], SECOND)
    said: dict[str, tuple[list[Any], str, str]] = {
        "text": ([], TEXT, ""),
        "one": ([first], "", ""),
        "none": ([(NAMES[0], IDS[0], {})], "", ""),
        "two": ([first, second], "", ""),
        "second": ([second], "", ""),
        "text one": ([first], TEXT, ""),
        "thinking text": ([], TEXT, THINKING),
        "thinking one": ([first], "", THINKING),
        "thinking text one": ([first], TEXT, THINKING),
        "long id": ([(NAMES[0], "idCzq-with.more:than_nine", VALUES)], "", ""),
    }
    out = {name: conversation(manner, assistant(manner, *given), TOOLS) for name, given in said.items()}
    for char in CHARS:
        spelled = f"xa{char}bx"
        given = {
            "kstrzq": spelled,
            "kintzq": 31173,
            "klistzq": [spelled],
            "kobjzq": {"kmemzq": spelled},
            "kzendzq": 91193,
        }
        out[f"char {char}"] = conversation(manner, assistant(manner, [(NAMES[0], IDS[0], given)]), TOOLS)
    out["prompt"] = conversation(manner, None, TOOLS)
    out["user"] = out["prompt"]._replace(with_prompt=False)
    return out

"""What a template is asked with: conversations with sentinels, unlikely names and values that are found again."""

from __future__ import annotations

import itertools
import json
from typing import Any, NamedTuple

from guard.turns.rendering import TemplateInput

USER, TEXT, THINKING = "Ksaidzq", "Wtextzq", "Vthinkzq"
NAMES = ("qfirstzq", "jsecondzq")
IDS = ("idAzq1xw7", "idBzq2xw8")  # nine letters and digits: what Mistral's templates ask of an id
ABSENT = "(absent)"


class Manner(NamedTuple):
    """A shape of messages that a template may want."""

    arguments_as_text: bool = False
    no_text: str | None = ""  #: The content of a message that only calls; ABSENT: there is none.
    tools_as: str = "schema"  #: What tools are declared with: "schema", or "nothing": none are.


MANNERS = [
    Manner(as_text, content, tools)
    for tools, as_text, content in itertools.product(("schema", "nothing"), (False, True), ("", None, ABSENT))
]
#: Of each type, a key and a value; not in the alphabet's order.
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
#: Strings in which one character, or two quotes, stand between sentinels.
CHARS = ("'", '"', "\\", "\n", "\r", "\t", "\"'")


def tool(name: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a tool as chat templates take it."""
    plain = {"type": "object", "properties": {"q": {"type": "string", "description": "d"}}, "required": ["q"]}
    function = {"name": name, "description": "what it does", "parameters": plain if schema is None else schema}
    return {"type": "function", "function": function}


TOOLS = [tool(name) for name in NAMES]


def assistant(
    manner: Manner, calls: list[tuple[str, str, dict[str, Any]]], text: str = "", thinking: str = ""
) -> dict[str, Any]:
    """Return the message of an assistant; `calls`: names, ids, arguments."""
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
    """Return the conversation that ends with a message; without one, with the prompt for it."""
    user = {"role": "user", "content": USER}
    declared = tools if manner.tools_as == "schema" else None
    return TemplateInput([user] if message is None else [user, message], declared, message is None)


def probes(manner: Manner) -> dict[str, TemplateInput]:
    """Return what a template is first asked with, in one manner."""
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

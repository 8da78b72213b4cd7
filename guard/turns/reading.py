"""Reading a turn: text, thinking and calls from the parts that the automaton recognised."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from guard.schemas.compiled import single_bytes
from guard.turns import argument_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from guard.schemas.structural.compiled_format import CompiledFormat, TurnPart
    from guard.turns.anatomy import Anatomy
    from guard.turns.building import Built, Says


@dataclass(frozen=True)
class ReadCall:
    """A call as the model wrote it."""

    name: str
    arguments: dict[str, Any]  #: As `json.loads` reads them: a number beyond a float is infinite.
    id: str | None = None  #: None where the template writes no ids.
    begin: int = field(default=0, compare=False)  #: Bytes of the call in the turn, end excluded.
    end: int = field(default=0, compare=False)
    written: str = field(default="{}", compare=False)  #: The arguments as JSON text, its numbers as they came.


@dataclass(frozen=True)
class ReadTurn:
    """The text, the thinking and the calls of a turn."""

    text: str = ""
    thinking: str = ""
    calls: tuple[ReadCall, ...] = ()
    trouble: str | None = None  #: Where the turn left its format. All after the last complete call is text.


def read(text: str, compiled: CompiledFormat, built: Built) -> ReadTurn:
    """Read a turn with the automaton of its format. O(bytes)."""
    from guard.schemas.structural.compiled_format import accept_most  # imported late: it needs the engine

    data = text.encode(errors="replace")
    matcher = compiled.matcher(single_bytes())
    at = accept_most(matcher, data)
    parts = compiled.parts(matcher, data[:at])
    if at == len(data) and matcher.can_stop():
        return _folded(parts, built)
    kept, rest = split(parts, data, built)
    turn = _folded(kept, built)
    behind = data[max(0, at - 40) : at].decode(errors="replace")
    what = "goes wrong" if at < len(data) else "ends too soon"
    return replace(turn, text=turn.text + rest, trouble=f"it {what} behind {behind!r} (byte {at:,})")


def split(parts: list[TurnPart], data: bytes, built: Built) -> tuple[list[TurnPart], str]:
    """Split a turn that leaves its format: its parts up to the last complete call, and the rest as text."""
    kinds = [None if (says := says_of(part, built)) is None else says.kind for part in parts]
    in_call = [kind in ("call", "id", "arguments") for kind in kinds]
    ends = [n for n in range(len(parts) - 1) if in_call[n] and not in_call[n + 1]]
    if ends:
        at = min(parts[ends[-1]].end + built.around[1], len(data))
        kept = parts[: ends[-1] + 1]
    elif "text" in kinds:
        kept = parts[: kinds.index("text")]
        at = parts[len(kept)].begin
    else:
        kept = parts[: in_call.index(True) if True in in_call else len(parts)]
        while kept and says_of(kept[-1], built) is None:  # texts before the call
            kept = kept[:-1]
        at = kept[-1].end if kept else 0
    return kept, data[at:].decode(errors="replace")


def says_of(part: TurnPart, built: Built) -> Says | None:
    """Return the role of a part; None for fixed texts."""
    return built.says.get(part.pointer) or built.says.get(part.pointer.removesuffix("/json_schema"))


def text_of(part: TurnPart, says: Says, built: Built) -> str:
    """Return the content of a part of free text, without the texts that close it."""
    said = part.text.removesuffix(says.tail) if says.tail else part.text
    if says.kind == "text" and len(said) < len(part.text):
        said = said.removesuffix(next((one for one in built.joints if one and said.endswith(one)), ""))
    return said


def _folded(parts: Iterable[TurnPart], built: Built) -> ReadTurn:
    text: list[str] = []
    thinking: list[str] = []
    calls: list[dict[str, Any]] = []
    is_open = False
    for part in parts:
        says = says_of(part, built)
        if says is None:
            is_open = False
            continue
        if says.kind in ("text", "thinking"):
            is_open = False
            (thinking if says.kind == "thinking" else text).append(text_of(part, says, built))
            continue
        if not is_open:
            calls.append({"name": says.tool, "parts": [], "id": None, "begin": part.begin})
            is_open = True
        one = calls[-1]
        one["end"] = part.end
        if says.kind == "id":
            one["id"] = part.text
        elif says.kind == "arguments":
            one["parts"].append(part)
    made = [
        ReadCall(
            one["name"],
            arguments_of(one["parts"], built.style),
            one["id"],
            one["begin"] - built.around[0],
            one["end"] + built.around[1],
            arguments_text(one["parts"], built.style),
        )
        for one in calls
    ]
    return ReadTurn("".join(text), "".join(thinking), tuple(made))


def arguments_of(parts: list[TurnPart], style: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the arguments that the parts of a call make up: one JSON value, or members in an exact style."""
    value = json.loads(arguments_text(parts, style))
    return value if isinstance(value, dict) else {}


def arguments_text(parts: list[TurnPart], style: Mapping[str, Any] | None) -> str:
    """Return these arguments as JSON text: what the model wrote of one JSON value, and of each value in a style."""
    if len(parts) == 1 and parts[0].kind == "value":
        return "null" if parts[0].value is None else parts[0].text  # it is not complete
    return argument_text.written(parts, style, is_whole=True)


def guessed(text: str, anatomy: Anatomy) -> list[dict[str, Any]]:
    """Return tools that a text seems to call, at most 100: names and keys from the text, values of any type."""
    from guard.turns.building import names_in

    properties: dict[str, Any] = {}
    if anatomy.arguments.style is not None:
        opening = anatomy.arguments.style["members"]["opening"]
        pattern = (
            re.escape(opening)
            .replace(re.escape("{label}"), "[^>]{0,64}?")
            .replace(re.escape("{key}"), r"([A-Za-z0-9_.-]{1,64})")
        )
        properties = dict.fromkeys(re.findall(pattern, text)[:100], True)
    schema = {"type": "object", "properties": properties}
    return [{"name": name, "parameters": schema} for name in names_in(text, anatomy)[:100]]

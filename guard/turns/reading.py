"""Reading a turn: text, thinking and calls from the parts that the automaton recognised."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from guard.schemas.compiled import single_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guard.schemas.structural.compiled_format import CompiledFormat, TurnPart
    from guard.turns.anatomy import Anatomy
    from guard.turns.building import Built, Says


@dataclass(frozen=True)
class ReadCall:
    """A call as the model wrote it."""

    name: str
    arguments: dict[str, Any]
    id: str | None = None  #: None where the template writes no ids.
    begin: int = field(default=0, compare=False)  #: Bytes of the call in the turn, end excluded.
    end: int = field(default=0, compare=False)


@dataclass(frozen=True)
class ReadTurn:
    """The text, the thinking and the calls of a turn."""

    text: str = ""
    thinking: str = ""
    calls: tuple[ReadCall, ...] = ()
    trouble: str | None = None  #: Where the turn left its format. All after the last complete call is text.


def read(text: str, compiled: CompiledFormat, built: Built) -> ReadTurn:
    """Read a turn with the automaton of its format: O(bytes), O(bytes · log bytes) for one that leaves it."""
    data = text.encode(errors="replace")
    matcher = compiled.matcher(single_bytes())
    if matcher.accept_bytes(data) and matcher.can_stop():
        return _folded(compiled.parts(matcher, data), built)
    low, high = 0, len(data)
    while low < high:  # bisect for the longest accepted prefix
        half = (low + high + 1) // 2
        matcher.reset()
        low, high = (half, high) if matcher.accept_bytes(data[:half]) else (low, half - 1)
    matcher.reset()
    matcher.accept_bytes(data[:low])
    behind = data[max(0, low - 40) : low].decode(errors="replace")
    what = "goes wrong" if low < len(data) else "ends too soon"
    return _broken(compiled.parts(matcher, data[:low]), data, built, f"it {what} behind {behind!r} (byte {low:,})")


def _broken(parts: list[TurnPart], data: bytes, built: Built, trouble: str) -> ReadTurn:
    """Return a turn up to its last complete call, and the rest as text."""
    kinds = [None if (says := says_of(part, built)) is None else says.kind for part in parts]
    in_call = [kind in ("call", "id", "arguments") for kind in kinds]
    ends = [n for n in range(len(parts) - 1) if in_call[n] and not in_call[n + 1]]
    if ends:
        at = min(parts[ends[-1]].end + built.around[1], len(data))
        kept = parts[: ends[-1] + 1]
    else:
        kept = parts[
            : kinds.index("text") if "text" in kinds else in_call.index(True) if True in in_call else len(parts)
        ]
        while kept and says_of(kept[-1], built) is None:  # texts before the call
            kept = kept[:-1]
        at = kept[-1].end if kept else 0
    turn = _folded(kept, built)
    return replace(turn, text=turn.text + data[at:].decode(errors="replace"), trouble=trouble)


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
            arguments_of(one["parts"]),
            one["id"],
            one["begin"] - built.around[0],
            one["end"] + built.around[1],
        )
        for one in calls
    ]
    return ReadTurn("".join(text), "".join(thinking), tuple(made))


_MISSING: Any = object()


def arguments_of(parts: list[TurnPart]) -> dict[str, Any]:
    """Return the arguments that the parts of a call make up: one JSON value, or members in an exact style."""
    if len(parts) == 1 and parts[0].kind == "value":
        value = parts[0].value
        return value if isinstance(value, dict) else {}
    return _Folding().of(parts)


class _Folding:
    """Builds nested objects and arrays from keys, items and values in the order of the text."""

    def __init__(self) -> None:
        self._top: dict[str, Any] = {}
        self._open: list[Any] = [self._top]
        self._bare: set[int] = set()  # depths of containers without an opening text
        self._key: str | None = None
        self._value: Any = _MISSING
        self._expects = False  # whether a value must come next

    def of(self, parts: list[TurnPart]) -> dict[str, Any]:
        """Return the members that the parts make up."""
        for part in parts:
            kind = part.kind
            if kind in ("key", "item"):
                self._next(kind)
                self._key, self._expects = part.value, True
            elif kind in ("string", "value"):
                self._value = "" if kind == "string" else part.value
            elif kind in ("array", "object"):
                self._begin([] if kind == "array" else {})
            elif kind == "end":
                self._settle()
                self._open.pop()
                self._expects = False
            elif kind == "close":
                self._close()
        self._settle()
        return self._top

    def _next(self, kind: str) -> None:
        """Begin a member or an item, in the open container or in a new one without an opening text."""
        if self._expects and self._value is _MISSING:
            self._bare.add(len(self._open))
            self._begin({} if kind == "key" else [])
        self._settle()

    def _begin(self, value: Any) -> None:
        self._put(value)
        self._open.append(value)
        self._key, self._value = None, _MISSING

    def _close(self) -> None:
        if self._expects or self._value is not _MISSING:
            self._settle()
        elif len(self._open) - 1 in self._bare:
            self._bare.discard(len(self._open) - 1)
            self._open.pop()

    def _settle(self) -> None:
        if self._value is not _MISSING:
            self._put(self._value)
        elif self._expects:
            self._put("")  # an empty raw string
        self._value, self._expects = _MISSING, False

    def _put(self, value: Any) -> None:
        holder = self._open[-1]
        if isinstance(holder, list):
            holder.append(value)
        elif self._key is not None:
            holder[self._key] = value
        self._expects = False


def guessed(text: str, anatomy: Anatomy) -> list[dict[str, Any]]:
    """Return tools that a text seems to call, at most 100: names and keys from the text, values of any type."""
    from guard.turns.building import names_in

    properties: dict[str, Any] = {}
    if anatomy.arguments.style is not None:
        opening = anatomy.arguments.style["members"]["opening"]
        pattern = (
            re.escape(opening)
            .replace(re.escape("{label}"), "[^>]*?")
            .replace(re.escape("{key}"), r"([A-Za-z0-9_.-]{1,64})")
        )
        properties = dict.fromkeys(re.findall(pattern, text)[:100], True)
    schema = {"type": "object", "properties": properties}
    return [{"name": name, "parameters": schema} for name in names_in(text, anatomy)[:100]]

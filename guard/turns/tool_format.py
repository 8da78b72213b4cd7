"""A model's own tool format: the format of a turn for `guard.compile`, its reader and its writer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from guard import formats
from guard.errors import SchemaError
from guard.turns import reading, shaping, writing
from guard.turns.anatomy import Anatomy
from guard.turns.building import Built, FormatBuilder
from guard.turns.pieces import TurnReader
from guard.turns.reading import ReadCall, ReadTurn
from guard.turns.turn import ToolChoice, chosen

Tool: TypeAlias = Mapping[str, Any]
MOST_KEPT = 16  #: Compiled formats that one ToolFormat keeps for reading.


@dataclass(frozen=True)
class ToolFormat:
    """How a model writes calls, derived from its chat template by `guard.formats.from_chat_template`.

    Immutable but for a cache of MOST_KEPT compiled formats; any number of threads may use it.
    """

    anatomy: Anatomy
    round_trips: bool = False  #: Whether drawn turns came back equal from template, masks and reader.
    _compiled: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def kind(self) -> Literal["json", "tagged"]:
        """How arguments are written: as one JSON object ("json"), or member by member between texts ("tagged")."""
        return "json" if self.anatomy.arguments.style is None else "tagged"

    @property
    def options(self) -> dict[str, Any]:
        """Options that `guard.compile` needs with the format: the white space of the template's JSON."""
        kept = self.anatomy.arguments.whitespace
        return {} if kept == "spaced" else {"whitespace": kept}

    @property
    def opened(self) -> str:
        """The start of the turn that the generation prompt already writes, such as "<think>"."""
        return self.anatomy.opened

    @property
    def ends(self) -> tuple[str, ...]:
        """Texts that the template writes after a turn; the model writes its end-of-sequence token instead."""
        return self.anatomy.ends

    @property
    def spelled(self) -> str:
        """All fixed texts of turns, one a line."""
        one = self.anatomy
        style = json.dumps(one.arguments.style, ensure_ascii=False) if one.arguments.style else ""
        around = [*one.calls, *one.text, *(one.text_with_calls or ()), one.alone, one.no_arguments or "", style]
        return "\n".join([*around, *(piece.text for piece in one.pieces)])

    @property
    def within(self) -> str:
        """The fixed texts within arguments, which masks know by their bytes only."""
        one = self.anatomy
        style = json.dumps(one.arguments.style, ensure_ascii=False) if one.arguments.style else ""
        return style + (one.no_arguments or "")

    @property
    def over(self) -> str | None:
        """The value of `begun` after thinking has ended; None where the template has no thinking."""
        thinking = self.anatomy.thinking
        return None if thinking is None else thinking.begin + thinking.end

    def reader(
        self, tools: Sequence[Tool], *, begun: str | None = None, tool_choice: ToolChoice = "auto"
    ) -> TurnReader:
        """Return a reader for a turn of `.format(tools, tool_choice)`, fed while the turn is written.

        Raises SchemaError or ValueError where the template's form can't express the tools.
        """
        return TurnReader(*self.compiled(tools, begun, tool_choice))

    def format(
        self,
        tools: Sequence[Tool],
        tool_choice: ToolChoice = "auto",
        parallel: bool = True,
        *,
        thinking: bool | None = None,
        max_calls: int | None = None,
        begun: str | None = None,
    ) -> formats.Format:
        """Return the format of a turn, for `guard.compile(…, **options)`.

        `tool_choice` is "auto", "none", "required", or a tool, by its name or in OpenAI's form, which is then called
        exactly once.
        `parallel=False` allows one call, `max_calls` that many. `thinking` demands it (True), forbids it (False), or
        leaves it to the model (None). `begun` is the part of the turn that is in the prompt already; None means what
        the template's generation prompt writes. Raises ValueError for an argument that the template can't meet.
        """
        return self._built(tools, tool_choice, parallel, thinking, max_calls, begun).form

    def read(
        self,
        text: str,
        tools: Sequence[Tool] | None = None,
        *,
        begun: str | None = None,
        tool_choice: ToolChoice = "auto",
    ) -> ReadTurn:
        """Read the text, thinking and calls of a turn, rendered or decoded. Never raises on a model's text.

        One of `ends` behind the turn is not part of it.

        With `tools` the automaton of `.format(tools, tool_choice)` reads; without, or where the template's form can't
        express them, any names and arguments are taken for calls. What does not fit the format stays text, and
        `trouble` says where it left the format.
        """
        ends = [end for end in sorted(self.ends, key=len, reverse=True) if end and text.endswith(end)]
        try:
            found = self.compiled(reading.guessed(text, self.anatomy) if tools is None else tools, begun, tool_choice)
        except (SchemaError, ValueError):
            if tools is None:
                raise
            return self.read(text, begun=begun)
        read = [reading.read(text.removesuffix(end), *found) for end in ends or [""]]
        turn = next((one for one in read if one.trouble is None), read[0])
        thinking = self.anatomy.thinking
        if turn.trouble and thinking is not None and begun != (over := thinking.begin + thinking.end):
            without = self.read(text, tools, begun=over, tool_choice=tool_choice)  # the model skipped its thinking
            return turn if without.trouble else without
        return turn

    def messages(self, messages: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return a conversation in OpenAI's form with its earlier calls in the form that the template requires.

        Ids of calls become the template's own (shaping.py), and results come in the order of their calls.
        """
        return shaping.shaped(messages, self.anatomy)

    def assistant(
        self, calls: Iterable[tuple[str, dict[str, Any]] | ReadCall], text: str = "", thinking: str = ""
    ) -> str:
        """Return the text of an earlier turn as the template writes it.

        `calls` are pairs of a name and arguments, or calls that were read. Raises ValueError where the template's form
        can't express the turn.
        """
        given = [one if isinstance(one, ReadCall) else ReadCall(one[0], dict(one[1])) for one in calls]
        return _written(self.anatomy, given, text, thinking)

    def describe(self) -> dict[str, Any]:
        """Return what was derived from the template, as JSON."""
        one = self.anatomy
        pieces = "".join(piece.text if piece.slot is None else "{" + piece.slot + "}" for piece in one.pieces)
        return {
            "kind": self.kind,
            "round_trips": self.round_trips,
            "call": one.calls.opening + pieces + one.calls.closing,
            "calls": [one.calls.begin, one.calls.separator, one.calls.end],
            "parallel": one.several,
            "thinking": None if one.thinking is None else [one.thinking.begin, one.thinking.end],
            "text": list(one.text),
            "text with calls": "behind" if one.text_behind else one.text_with_calls is not None,
            "prompt opens": one.opened,
            "ends": list(one.ends),
            "style": one.arguments.style,
            **self.options,
        }

    def compiled(self, tools: Sequence[Tool], begun: str | None, tool_choice: ToolChoice) -> tuple[Any, Built]:
        """Return the compiled format that reads turns with these tools, from the cache where it is there."""
        kept = json.dumps([list(tools), begun, tool_choice], sort_keys=True)
        found = self._compiled.get(kept)
        if found is None:
            from guard.schemas import compile  # noqa: A004 (as re.compile is)

            built = self._built(tools, tool_choice, True, None, None, begun)
            found = (compile(built.form, **self.options), built)
            while len(self._compiled) >= MOST_KEPT:
                self._compiled.pop(next(iter(self._compiled)), None)
            self._compiled[kept] = found
        return found

    def _built(
        self,
        tools: Sequence[Tool],
        tool_choice: ToolChoice,
        parallel: bool,
        thinking: bool | None,
        max_calls: int | None,
        begun: str | None,
    ) -> Built:
        most = max_calls if parallel and self.anatomy.several else 1
        if most is not None and most < 1:
            raise ValueError(f"max_calls={max_calls} must be at least 1; tool_choice='none' lets no call through")
        opened = self.opened if begun is None else begun
        return FormatBuilder(self.anatomy, _told(tools), most).build(chosen(tool_choice), thinking, opened)


def _told(tools: Sequence[Tool]) -> list[tuple[str, Any]]:
    """Return each tool's name and the schema of its arguments."""
    from guard.tools import specs  # imported late: it imports Pydantic

    told = [(tool.name, dict(tool.parameters)) for tool in specs(tools)]
    for name, _ in told:
        if not re.fullmatch(r"[^\s<>\"'`{}]{1,256}", name):
            raise ValueError(f"{name!r} is no name of a tool")
    return told


def _written(one: Anatomy, calls: list[ReadCall], text: str, thinking: str) -> str:
    if len(calls) > 1 and not one.several:
        raise ValueError("the template writes one call in a turn")
    lead = ""
    if one.thinking is not None:
        without = one.thinking.without_in_calls if calls else one.thinking.without_in_text
        lead = one.thinking.begin + thinking + one.thinking.end if thinking else without
    elif thinking:
        raise ValueError("the template writes no thinking")
    if not calls:
        return lead + one.text[0] + text + one.text[1]
    whole = one.calls.begin + one.calls.opening
    if text and one.text_with_calls is None and not one.text_behind:
        raise ValueError("the template writes no text in a turn with calls")
    if text and one.text_with_calls is not None:
        lead += one.text_with_calls[0] + text + one.text_with_calls[1]
    else:
        lead += one.alone
    between = one.calls.closing + one.calls.separator + one.calls.opening
    parts = [_call(one, call, number) for number, call in enumerate(calls)]
    out = lead + whole + between.join(parts) + one.calls.closing + one.calls.end
    return out + (text if one.text_behind else "")


def _call(one: Anatomy, call: ReadCall, number: int) -> str:
    slots = {"name": call.name, "id": call.id or f"call{number:05}", "index": str(one.first_index + number)}
    if not call.arguments and one.no_arguments is not None:
        last = max(n for n, piece in enumerate(one.pieces) if piece.slot in ("name", "id"))
        return "".join(slots.get(p.slot or "", p.text) for p in one.pieces[: last + 1]) + one.no_arguments
    slots["arguments"] = writing.written(call.arguments, one.arguments)
    return "".join(slots[piece.slot] if piece.slot else piece.text for piece in one.pieces)

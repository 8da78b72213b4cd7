"""The pieces of a call: the places of its name, id, number and arguments, and the texts between them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

from guard.turns import arguments
from guard.turns.probes import CHARS, IDS, NAMES, VALUES
from guard.turns.splitting import last_number

Slot: TypeAlias = Literal["name", "id", "index", "arguments"]


class Piece(NamedTuple):
    """A part of a call: a fixed text, or a slot to be filled."""

    text: str
    slot: Slot | None = None


class ProbedCall(NamedTuple):
    """The call in the rendered probe "one"."""

    begin: int  #: Index of the first slot in that turn.
    end: int  #: Index after the last slot.
    pieces: tuple[Piece, ...]
    arguments: arguments.Arguments
    first_index: int = 0  #: The call's number, where the template writes one.


def call_in(turns: Mapping[str, str]) -> ProbedCall | None:
    """Return the call of the probe "one"; None where it is not understood how its arguments are written."""
    turn = turns["one"]
    samples = {char: turns[f"char {char}"] for char in CHARS if f"char {char}" in turns}
    keys = max(turn.find(next(iter(VALUES))), 0)
    name, own_id = turn.rfind(NAMES[0], 0, keys), turn.rfind(IDS[0], 0, keys)
    behind_names = max(name + len(NAMES[0]) if name >= 0 else 0, own_id + len(IDS[0]) if own_id >= 0 else 0)
    how = arguments.found(turn, behind_names, samples)
    if how is None:
        return None
    places: list[tuple[int, int, Slot]] = [(how.begin, how.end, "arguments")]
    slots: list[tuple[str, Slot]] = [(NAMES[0], "name"), (IDS[0], "id")]
    for text, slot in slots:
        found = re.finditer(re.escape(text), turn)
        places += [(one.start(), one.end(), slot) for one in found if not how.begin <= one.start() < how.end]
    places.sort()
    pieces: list[Piece] = []
    at = places[0][0]
    for start, stop, slot in places:
        pieces += [*([Piece(turn[at:start])] if start > at else []), Piece("", slot)]
        at = stop
    return _numbered(ProbedCall(places[0][0], at, tuple(pieces), how), turns)


def _numbered(call: ProbedCall, turns: Mapping[str, str]) -> ProbedCall:
    """Return the call with a slot for its number: a number that is one larger in the second call."""
    before_second, name, behind_second = turns.get("two", "").partition(NAMES[1])
    if not name:
        return call
    before = turns["one"][: call.begin]
    first, second = last_number(before), last_number(before_second)
    if first and second and before[first[1] :] == before_second[second[1] :]:
        number, following = int(before[slice(*first)][-9:]), int(before_second[slice(*second)][-9:])
        if following == number + 1:
            pieces = (Piece("", "index"), Piece(before[first[1] :]), *call.pieces)
            return call._replace(begin=first[0], pieces=pieces, first_index=number)
    for at, piece in enumerate(call.pieces):
        found = None if piece.slot else re.search("[0-9]{1,9}", piece.text)
        if found is None or piece.text in behind_second:
            continue
        cut = [Piece(piece.text[: found.start()]), Piece("", "index"), Piece(piece.text[found.end() :])]
        if f"{cut[0].text}{int(found[0]) + 1}{cut[2].text}" in name + behind_second:
            pieces = (*call.pieces[:at], *(one for one in cut if one.slot or one.text), *call.pieces[at + 1 :])
            return call._replace(pieces=pieces, first_index=int(found[0]))
    return call


def between_calls(turns: Mapping[str, str], call: ProbedCall) -> str | None:
    """Return the text between two calls; None where the template writes only one."""
    _, found, rest = turns.get("two", "").partition(turns["one"][call.begin : call.end])
    starts = [at for text in (NAMES[1], IDS[1]) if (at := rest.find(text)) >= 0]
    if not found or NAMES[1] not in rest:
        return None
    begin = min(starts)
    if call.pieces[0].slot == "index" and (number := last_number(rest[:begin])):
        begin = number[0]
    return rest[:begin]


def without_arguments(turns: Mapping[str, str], call: ProbedCall) -> str | None:
    """Return the text after the name of a call without arguments; None where it is the usual one."""
    turn = turns.get("none", "")
    slots = {"name": NAMES[0], "id": IDS[0], "index": str(call.first_index)}
    slots["arguments"] = "{}" if call.arguments.style is None else ""
    texts = [slots[piece.slot] if piece.slot else piece.text for piece in call.pieces]
    tail = turns["one"][call.end :]
    if not turn.endswith(tail) or turn.endswith("".join(texts) + tail) or call.pieces[-1].slot != "arguments":
        return None
    names = [at for at, piece in enumerate(call.pieces) if piece.slot in ("name", "id")]
    _, found, rest = turn.partition("".join(texts[: names[-1] + 1])) if names else ("", "", "")
    return rest.removesuffix(tail) if found else None

"""The anatomy of a template's turns: which texts stand where, told from probes (probes.py), for no family in particular."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from guard.turns import arguments
from guard.turns.probes import CHARS, IDS, NAMES, TEXT, THINKING, USER, VALUES, Manner
from guard.turns.splitting import MARK, Listed, common_end, common_start, listed

Slot: TypeAlias = Literal["name", "id", "index", "arguments"]


class Piece(NamedTuple):
    """A part of a call: a text, or a slot."""

    text: str
    slot: Slot | None = None


@dataclass(frozen=True)
class Thinking:
    """The texts around thinking; and what stands there where there is none."""

    begin: str
    end: str
    without_in_text: str  #: In a turn without calls.
    without_in_calls: str  #: In front of calls.


@dataclass(frozen=True)
class Anatomy:
    """What a template writes of an assistant's turn."""

    manner: Manner
    head: str  #: What stands between a user's message and the turn.
    opened: str  #: What the prompt for a turn writes of it.
    ends: tuple[str, ...]  #: What stands behind a turn, of which a model writes its end token.
    thinking: Thinking | None
    text: tuple[str, str]  #: Around the text of a turn without calls.
    text_with_calls: tuple[str, str] | None  #: In front of it, and between it and the calls; None: it is left out.
    text_behind: bool  #: Whether text stands behind the calls.
    alone: str  #: In front of the calls, where no text is.
    calls: Listed
    pieces: tuple[Piece, ...]
    no_arguments: str | None  #: What stands for the arguments and what is around them, where it is told otherwise.
    several: bool
    arguments: arguments.Arguments
    id_pattern: str
    first_index: int = 0  #: The number of the first call, where numbers are written.


def anatomy(rendered: Mapping[str, str | None], manner: Manner, special_tokens: Mapping[str, str]) -> Anatomy | None:
    """Return what is told from rendered probes of one manner; None where they show no calls, or nothing that is known."""
    turns = {name: text.rpartition(USER)[2] for name, text in rendered.items() if text is not None and USER in text}
    one, said = turns.get("one"), turns.get("text")
    if one is None or said is None or NAMES[0] not in one or TEXT not in said or "None" + NAMES[0] in one:
        return None
    prompt = turns.get("prompt")
    starts = [turns[name] for name in ("one", "text", "thinking text", "thinking one") if name in turns]
    head = common_start([*starts, *([] if prompt is None else [prompt])])
    opened = "" if prompt is None else prompt[len(head) :]
    shared = common_start([text[len(head) :] for text in starts])
    if shared and opened.endswith(shared):
        head, opened = head + shared, ""
    turns = {name: text.removeprefix(head) for name, text in turns.items()}
    call = _call(turns, manner)
    if call is None:
        return None
    one, said = turns["one"], turns["text"]
    before, behind = one[: call.begin], one[call.end :]
    lead, _, after_text = said.partition(TEXT)
    with_text = turns.get("text one", "")
    text_lead = between_text = None
    text_behind = False
    first = with_text.find(one[call.begin : call.end])
    if TEXT in with_text and first >= 0:
        if with_text.index(TEXT) < first:
            text_lead, between_text = with_text[: with_text.index(TEXT)], with_text[with_text.index(TEXT) + len(TEXT) : first]
        else:
            text_behind = True
    thought = _thinking(turns, call, lead, before)
    if thought is not None and text_lead is not None and thought.begin and text_lead.startswith(thought.begin):
        if not thought.without_in_calls.startswith(thought.begin):
            text_lead = between_text = None  # the template writes it as thinking
    if thought is not None:
        lead, before = lead.removeprefix(thought.without_in_text), before.removeprefix(thought.without_in_calls)
        text_lead = None if text_lead is None else text_lead.removeprefix(thought.without_in_text)
    two = turns.get("two", "")
    between = _between(two, call, turns)
    known = [before, *([] if between_text is None else [between_text])]
    if between is None:
        opening = common_end(known)
        around = Listed("", opening, "", "", behind)
    else:
        each = listed(common_end([*known, between]), between, behind)
        begin = common_end([text[: len(text) - len(each.opening)] for text in known]) if between_text is not None else (
            before[: len(before) - len(each.opening)]
        )
        around = Listed(begin, each.opening, each.closing, between[len(each.closing) : len(between) - len(each.opening)], behind[len(each.closing) :])
    whole = around.begin + around.opening
    end, ends = _ends(after_text, around.end, turns.get("user", ""), prompt or "", special_tokens)
    if end is None:
        text_end, close = after_text, around.end
        if MARK.fullmatch(text_end.strip()):
            text_end, ends = "", (*ends, after_text)
        if MARK.fullmatch(close.strip()):
            close, ends = "", (*ends, around.end)
    else:
        text_end, close = after_text.removesuffix(end), around.end.removesuffix(end)
        if not lead and MARK.fullmatch(text_end.strip()):
            text_end, ends = "", (*ends, after_text)
    if text_end and not text_end.strip():  # white space in front of the end belongs to the end
        ends = (text_end + (end or ""), *ends)
        close, text_end = close.removesuffix(text_end), ""
    if text_behind:
        text_end = ""
    return Anatomy(
        manner=manner,
        head=head,
        opened=opened,
        ends=ends,
        thinking=thought,
        text=(lead, text_end),
        text_with_calls=None if text_lead is None or between_text is None else (text_lead, between_text.removesuffix(whole)),
        text_behind=text_behind,
        alone=before.removesuffix(whole),
        calls=around._replace(end=close),
        pieces=call.pieces,
        no_arguments=_no_arguments(turns, call),
        several=between is not None,
        arguments=call.arguments,
        first_index=call.first_index,
        id_pattern="[A-Za-z0-9_.:-]{1,64}" if "long id" in turns else "[A-Za-z0-9]{9}",
    )


class _Call(NamedTuple):
    begin: int  # of the first slot in the turn "one"
    end: int  # behind the last slot
    pieces: tuple[Piece, ...]
    arguments: arguments.Arguments
    first_index: int = 0


def _call(turns: Mapping[str, str], manner: Manner) -> _Call | None:
    turn = turns["one"]
    samples = {char: turns[f"char {char}"] for char in CHARS if f"char {char}" in turns}
    name = turn.find(NAMES[0])
    keys = turn.find(next(iter(VALUES)), 0)
    last_name = turn.rfind(NAMES[0], 0, keys) if keys > name else name
    begin = max(last_name + len(NAMES[0]), turn.rfind(IDS[0], 0, max(keys, 0)) + len(IDS[0]))
    found = arguments.found(turn, begin, samples)
    if found is None:
        return None
    places: list[tuple[int, int, Slot]] = [(found.begin, found.end, "arguments")]
    slots: list[tuple[str, Slot]] = [(NAMES[0], "name"), (IDS[0], "id")]
    for text, slot in slots:
        for match in re.finditer(re.escape(text), turn):
            if not found.begin <= match.start() < found.end:
                places.append((match.start(), match.end(), slot))
    places.sort()
    pieces: list[Piece] = []
    at = places[0][0]
    for start, stop, slot in places:
        if start > at:
            pieces.append(Piece(turn[at:start]))
        pieces.append(Piece("", slot))
        at = stop
    return _indexed(_Call(places[0][0], at, tuple(pieces), found), turns)


def _indexed(call: _Call, turns: Mapping[str, str]) -> _Call:
    """Return a call with a slot where its number is written: what differs in the second one."""
    second = turns.get("two", "").partition(NAMES[1])
    texts = [piece.text for piece in call.pieces if piece.slot is None]
    pieces = list(call.pieces)
    for number, piece in enumerate(pieces):
        if piece.slot is None and (found := re.search(r"\d+", piece.text)):
            told = piece.text[: found.start()] + str(int(found[0]) + 1) + piece.text[found.end() :]
            if second[1] and told in second[1] + second[2] and piece.text not in second[2]:
                call = call._replace(first_index=int(found[0]))
                pieces[number : number + 1] = [
                    Piece(piece.text[: found.start()]),
                    Piece("", "index"),
                    Piece(piece.text[found.end() :]),
                ]
                break
    turn = turns["one"]
    lead = re.search(r"(\d+)(\D*)$", turn[: call.begin])
    if lead and second[1] and len(texts) == len(call.pieces) - len([p for p in call.pieces if p.slot]):
        told = re.search(r"(\d+)(\D*)$", second[0])
        if told and told[2] == lead[2] and int(told[1]) == int(lead[1]) + 1:
            pieces = [Piece("", "index"), Piece(lead[2]), *pieces]
            return call._replace(begin=lead.start(), pieces=tuple(pieces), first_index=int(lead[1]))
    return call._replace(pieces=tuple(piece for piece in pieces if piece.slot or piece.text))


def _between(two: str, call: _Call, turns: Mapping[str, str]) -> str | None:
    """Return what stands between two calls; None where a template writes one only."""
    first = turns["one"][call.begin : call.end]
    at = two.find(first)
    if at < 0 or NAMES[1] not in two:
        return None
    rest = two[at + len(first) :]
    firsts = [found for text in (NAMES[1], IDS[1]) if (found := rest.find(text)) >= 0]
    if not firsts:
        return None
    begin = min(firsts)
    if call.pieces[0].slot == "index":
        told = re.search(r"(\d+)(\D*)$", rest[:begin])
        begin = told.start() if told else begin
    return rest[:begin]


def _thinking(turns: Mapping[str, str], call: _Call, lead: str, before: str) -> Thinking | None:
    """Return what stands around thinking, in the turns that have it."""
    begins, ends = [], {}
    for name in ("thinking text", "thinking one"):
        begin, found, rest = turns.get(name, "").partition(THINKING)
        at = rest.find(TEXT if name == "thinking text" else turns["one"][call.begin : call.end])
        if found and at >= 0:
            begins.append(begin)
            ends[name] = rest[:at]
    if not begins:
        return None
    begin = common_start(begins)
    in_text, in_calls = ends.get("thinking text"), ends.get("thinking one")
    if in_text is not None:
        if in_text.removesuffix(lead).strip():  # else the lead is what ends thinking
            in_text = in_text.removesuffix(lead)
        end = in_text if in_calls is None else common_start([in_text, in_calls])
    else:
        assert in_calls is not None
        if begin and before.startswith(begin) or common_end([in_calls, before]) == in_calls:
            mark = MARK.search(in_calls)
            end = in_calls[: mark.end()] if mark else in_calls
        else:
            end = in_calls.removesuffix(common_end([in_calls, before]))
    if not end.strip():
        return None
    without_in_text, without_in_calls = _without(lead, end), _without(before, end)
    if without_in_text and without_in_calls.startswith(without_in_text):
        without_in_calls = without_in_text  # what differs is white space
    return Thinking(begin, end, without_in_text, without_in_calls)


def _without(lead: str, end: str) -> str:
    """Return what stands in front of a turn without thinking up to the end of thinking, where the template writes that."""
    mark = end.strip()
    at = lead.find(mark)
    if at < 0:
        return ""
    behind = at + len(mark)
    space = end[len(end.rstrip()) :]
    return lead[:behind] + os.path.commonprefix([lead[behind:], space])


def _no_arguments(turns: Mapping[str, str], call: _Call) -> str | None:
    """Return what stands behind the name of a call without arguments, where that is not what would be expected."""
    turn = turns.get("none")
    if turn is None:
        return None
    written = "{}" if call.arguments.style is None else ""
    slots: dict[Any, str] = {"name": NAMES[0], "id": IDS[0], "arguments": written}
    index = re.search(r"\d+", turns["one"][call.begin :])
    expected = "".join(piece.text if piece.slot is None else slots.get(piece.slot, index[0] if index else "") for piece in call.pieces)
    tail = turns["one"][call.end :]
    if turn.endswith(expected + tail):
        return None
    kinds = [piece.slot for piece in call.pieces]
    at = max(n for n, kind in enumerate(kinds) if kind in ("name", "id") and n < kinds.index("arguments")) if any(
        kind in ("name", "id") for kind in kinds[: kinds.index("arguments")]
    ) else -1
    if at < 0 or kinds[-1] != "arguments":
        return None
    head = "".join(slots.get(p.slot, p.text) if p.slot else p.text for p in call.pieces[: at + 1])
    begin = turn.find(head)
    if begin < 0 or not turn.endswith(tail):
        return None
    return turn[begin + len(head) : len(turn) - len(tail)]


def _ends(
    after_text: str, after_calls: str, after_user: str, prompt: str, special_tokens: Mapping[str, str]
) -> tuple[str | None, tuple[str, ...]]:
    """Return what both kinds of turns end with, and the texts of such ends; None where they end differently."""
    both = common_end([after_text, after_calls])
    if not both:
        return (None, ()) if after_text or after_calls else ("", ())
    if after_user and len(shared := common_end([both, after_user])) > 1:
        return shared, (shared,)
    starts = [both.find(token) for token in (special_tokens.get("eos_token", ""),) if token and token in both]
    marks = [mark for mark in MARK.findall(prompt) if mark in both]
    starts += [both.find(marks[0])] if marks else []
    if not starts and (found := [*MARK.finditer(both)]) and not both[found[-1].end() :].strip():
        starts.append(found[-1].start())
    end = both[min(starts) :] if starts else both
    return end, (end,)

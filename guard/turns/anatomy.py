"""The anatomy of a template's turns: the fixed texts around thinking, text and calls.

It is derived from what the template renders for the probes (probes.py), without knowing any model family.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from guard.turns import call_pieces
from guard.turns.arguments import Arguments
from guard.turns.call_pieces import Piece, ProbedCall
from guard.turns.probes import NAMES, TEXT, THINKING, USER, Manner
from guard.turns.splitting import MARK, Listed, common_end, common_start, listed, shared_start


@dataclass(frozen=True)
class ThinkingTexts:
    """The texts around thinking, and what the template writes instead where a turn has no thinking."""

    begin: str
    end: str
    without_in_text: str  #: Written instead, in a turn without calls.
    without_in_calls: str  #: Written instead, in a turn with calls.


@dataclass(frozen=True)
class Anatomy:
    """The fixed texts of an assistant's turn, and how the template writes calls between them."""

    manner: Manner
    head: str  #: The text between a user's message and the turn.
    opened: str  #: The part of the turn that the generation prompt already writes.
    ends: tuple[str, ...]  #: Texts after a turn. The model writes its end-of-sequence token instead.
    thinking: ThinkingTexts | None
    text: tuple[str, str]  #: The texts before and after the text of a turn without calls.
    text_with_calls: tuple[str, str] | None  #: Before the text, and between it and calls. None: no text.
    text_behind: bool  #: Whether text comes after the calls.
    alone: str  #: The text before the calls of a turn without text.
    calls: Listed
    pieces: tuple[Piece, ...]
    no_arguments: str | None  #: Replaces the arguments and the texts around them in a call without any.
    several: bool
    arguments: Arguments
    id_pattern: str
    first_index: int = 0  #: The number of the first call, where the template numbers calls.


def anatomy(rendered: Mapping[str, str | None], manner: Manner, special_tokens: Mapping[str, str]) -> Anatomy | None:
    """Derive the anatomy from the rendered probes of one manner.

    `rendered` maps each probe's name to its rendering (None: the template raised). Returns None where the renderings
    show no calls, or calls in a form that is not understood.
    """
    turns = {name: text.rpartition(USER)[2] for name, text in rendered.items() if text is not None and USER in text}
    if NAMES[0] not in turns.get("one", "") or "None" + NAMES[0] in turns["one"] or TEXT not in turns.get("text", ""):
        return None
    prompt, after_user = turns.pop("prompt", ""), turns.pop("user", "")
    head, opened = _head(turns, prompt)
    turns = {name: text.removeprefix(head) for name, text in turns.items()}
    call = call_pieces.call_in(turns)
    if call is None:
        return None
    lead, _, after_text = turns["text"].partition(TEXT)
    before, behind = turns["one"][: call.begin], turns["one"][call.end :]
    with_text, text_behind = _with_text(turns, call)
    thinking = _thinking(turns, call, lead, before)
    if thinking is not None:
        if with_text and thinking.begin and with_text[0].startswith(thinking.begin):
            written = thinking.without_in_calls.startswith(thinking.begin)
            with_text = with_text if written else None  # otherwise the template writes the text as thinking
        if with_text:
            with_text = (with_text[0].removeprefix(thinking.without_in_text), with_text[1])
        lead, before = lead.removeprefix(thinking.without_in_text), before.removeprefix(thinking.without_in_calls)
    between = call_pieces.between_calls(turns, call)
    calls = _calls(before, with_text[1] if with_text else None, between, behind)
    whole = calls.begin + calls.opening
    ends = _ends(lead, after_text, calls.end, after_user, prompt, special_tokens)
    return Anatomy(
        manner=manner,
        head=head,
        opened=opened,
        ends=ends.ends,
        thinking=thinking,
        text=(lead, "" if text_behind else ends.of_text),
        text_with_calls=(with_text[0], with_text[1].removesuffix(whole)) if with_text else None,
        text_behind=text_behind,
        alone=before.removesuffix(whole),
        calls=calls._replace(end=ends.of_calls),
        pieces=call.pieces,
        no_arguments=call_pieces.without_arguments(turns, call),
        several=between is not None,
        arguments=call.arguments,
        id_pattern="[A-Za-z0-9_.:-]{1,64}" if "long id" in turns else "[A-Za-z0-9]{9}",
        first_index=call.first_index,
    )


def _head(turns: Mapping[str, str], prompt: str) -> tuple[str, str]:
    """Return the text before every turn, and the part of the turn that the generation prompt writes."""
    starts = [turns[name] for name in ("one", "text", "thinking text", "thinking one") if name in turns]
    head = common_start([*starts, prompt] if prompt else starts)
    opened = prompt[len(head) :]
    shared = common_start(text[len(head) :] for text in starts)
    return (head + shared, "") if shared and opened.endswith(shared) else (head, opened)


def _with_text(turns: Mapping[str, str], call: ProbedCall) -> tuple[tuple[str, str] | None, bool]:
    """Return the texts before text and between text and calls, and whether text comes after the calls.

    The texts are None where a turn with calls has no text before them.
    """
    turn = turns.get("text one", "")
    text, calls = turn.find(TEXT), turn.find(turns["one"][call.begin : call.end])
    if text < 0 or calls < 0:
        return None, False
    return ((turn[:text], turn[text + len(TEXT) : calls]), False) if text < calls else (None, True)


def _calls(before: str, behind_text: str | None, between: str | None, behind: str) -> Listed:
    """Split the texts around calls into those of the list and those of each call.

    `before` stands before the first call of a turn without text, `behind_text` between text and the first call.
    """
    known = [before] if behind_text is None else [before, behind_text]
    if between is None:
        return Listed("", common_end(known), "", "", behind)
    each = listed(common_end([*known, between]), between, behind)
    starts = [text.removesuffix(each.opening) for text in known]
    return each._replace(begin=common_end(starts) if len(starts) > 1 else starts[0])


def _thinking(turns: Mapping[str, str], call: ProbedCall, lead: str, before: str) -> ThinkingTexts | None:
    """Return the texts around thinking; None where no turn shows any."""
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
        if in_text.removesuffix(lead).strip():  # otherwise the lead itself ends the thinking
            in_text = in_text.removesuffix(lead)
        end = in_text if in_calls is None else common_start([in_text, in_calls])
    else:
        assert in_calls is not None
        if (begin and before.startswith(begin)) or common_end([in_calls, before]) == in_calls:
            mark = MARK.search(in_calls)
            end = in_calls[: mark.end()] if mark else in_calls
        else:
            end = in_calls.removesuffix(common_end([in_calls, before]))
    if not end.strip():
        return None
    without_in_text, without_in_calls = _without(lead, end), _without(before, end)
    if without_in_text and without_in_calls.startswith(without_in_text):
        without_in_calls = without_in_text  # they differ in white space only
    return ThinkingTexts(begin, end, without_in_text, without_in_calls)


def _without(lead: str, end: str) -> str:
    """Return the start of a turn without thinking, up to the mark that ends thinking; "" where it has no such mark."""
    mark = end.strip()
    at = lead.find(mark)
    if at < 0:
        return ""
    behind = at + len(mark)
    space = end[len(end.rstrip()) :]
    return lead[:behind] + shared_start([lead[behind:], space])


class _Ends(NamedTuple):
    ends: tuple[str, ...]  # texts after turns
    of_text: str  # ends the text of a turn, before one of `ends`
    of_calls: str  # ends the calls of a turn, before one of `ends`


def _ends(
    lead: str, of_text: str, of_calls: str, after_user: str, prompt: str, special_tokens: Mapping[str, str]
) -> _Ends:
    """Separate the end of a turn from the texts that end its text and its calls."""
    end = _end(of_text, of_calls, after_user, prompt, special_tokens.get("eos_token", ""))
    ends = [end] if end else []
    of_text, of_calls = of_text.removesuffix(end), of_calls.removesuffix(end)
    if MARK.fullmatch(of_text.strip()) and not (end and lead):
        ends, of_text = [*ends, of_text + end], ""
    if MARK.fullmatch(of_calls.strip()) and not end:
        ends, of_calls = [*ends, of_calls], ""
    if of_text and not of_text.strip():  # white space before the end belongs to the end
        ends, of_calls, of_text = [of_text + end, *ends], of_calls.removesuffix(of_text), ""
    return _Ends(tuple(ends), of_text, of_calls)


def _end(of_text: str, of_calls: str, after_user: str, prompt: str, eos_token: str) -> str:
    """Return the text that ends every turn."""
    both = common_end([of_text, of_calls])
    if both and len(shared := common_end([both, after_user])) > 1:
        return shared
    marks = [mark for mark in MARK.findall(prompt) if mark in both]
    starts = [both.find(one) for one in (eos_token, *marks[:1]) if one and one in both]
    if not starts and (found := [*MARK.finditer(both)]) and not both[found[-1].end() :].strip():
        starts = [found[-1].start()]
    return both[min(starts) :] if starts else both

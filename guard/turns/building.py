"""The format of a turn, built from a template's anatomy for given tools, with the role of each of its parts."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from guard import formats
from guard.turns.anatomy import Anatomy, ThinkingTexts
from guard.turns.call_pieces import Piece
from guard.turns.splitting import MARK

INDEX = "[0-9]{1,4}"
_NAME = r"[A-Za-z0-9_.:-]{1,64}"


class Says(NamedTuple):
    """The role of a part of a turn: "thinking", "text", "call", "id" or "arguments"."""

    kind: str
    tool: str = ""
    tail: str = ""  #: A text at the part's end that closes it and is not its content.


class Built(NamedTuple):
    """A format, and the roles of its parts by their JSON Pointers into it."""

    form: formats.Format
    says: dict[str, Says]
    joints: tuple[str, ...]  #: Texts that may stand between text and calls.
    around: tuple[int, int]  #: Bytes of a call before its first part and after its last.
    trigger: str = ""  #: The text that commits to a call.
    style: dict[str, Any] | None = None  #: The exact style of arguments; None: one JSON object.
    thinking: tuple[str, str] | None = None  #: The texts around thinking that may come first; None: none may.
    leads: tuple[str, ...] = ()  #: What may turn out to come before text rather than to begin it.


class FormatBuilder:
    """Builds the format of one turn. Used once."""

    def __init__(self, anatomy: Anatomy, tools: list[tuple[str, Any]], most: int | None) -> None:
        self._one, self._tools, self._most = anatomy, tools, most
        self._said: dict[int, Says] = {}
        self._kept: list[Any] = []  # keeps each form alive: `_said` is keyed by id()
        self._whole = anatomy.calls.begin + anatomy.calls.opening
        self._trigger, self._space = _trigger(self._whole)

    def build(self, tool_choice: str, thinking: bool | None, begun: str) -> Built:
        """Return the format of the rest of a turn of which the prompt has already written `begun`."""
        self._one = one = _without_begun(self._one, begun)
        tools = self._tools
        if tool_choice not in ("auto", "none", "required"):
            tools = [tool for tool in tools if tool[0] == tool_choice]
            if not tools:
                raise ValueError(f"tool_choice={tool_choice!r} names none of the tools")
            self._most = 1
        if tool_choice == "required" and not tools:
            raise ValueError("tool_choice='required' needs a tool")
        self._tools = tools
        text, calls = tool_choice in ("auto", "none"), tool_choice != "none" and bool(tools)
        lead = _lead(one.thinking, thinking, begun)
        forms = []
        if text and calls and lead.in_text == lead.in_calls and (body := self._one_text()) is not None:
            forms.append(self._led(lead.block, lead.in_text, body))
        else:
            if calls and one.text_with_calls is not None and text:
                forms.append(self._led(lead.block, lead.in_text, self._text_then_calls()))
            if calls and not (
                forms and "".join(one.text_with_calls or ("",)) == one.alone and lead.in_text == lead.in_calls
            ):
                forms.append(self._led(lead.block, lead.in_calls, self._calls_alone()))
            if text:
                forms.append(self._led(lead.block, lead.in_text, self._only_text()))
        form = _either(forms)
        says = {pointer: self._said[id(part)] for pointer, part in _walk(form, "/format") if id(part) in self._said}
        joints = [one.alone + self._space] + ([one.text_with_calls[1] + self._space] if one.text_with_calls else [])
        around = (len(one.calls.opening.encode()), len(one.calls.closing.encode()))
        joined = tuple(sorted(joints, key=len, reverse=True))
        leads = [longer.removeprefix(own) for own in self._own_leads() for longer in self._leads(own)[:-1]]
        return Built(form, says, joined, around, self._trigger, one.arguments.style, lead.block, tuple(leads))

    # -- Bodies --------------------------------------------------------------------------------------------------------

    def _one_text(self) -> formats.Format | None:
        """Return free text in which the first call's trigger begins the calls; None where text has its own end."""
        one = self._one
        begin, end = one.text
        around = one.text_with_calls
        if end or not self._trigger or (around is None and not one.text_behind):
            return None
        if around is not None and (around[0] != begin or around[1].strip()):
            return None
        if one.alone.strip() or begin:
            return None
        tag = formats.tag(self._whole[len(self._space) :], self._calls(), "")
        text = formats.triggered_tags([self._trigger], [tag], stop_after_first=True, excludes=self._barred())
        return self._is(text, Says("text", tail=self._trigger))

    def _text_then_calls(self) -> formats.Format:
        one = self._one
        assert one.text_with_calls is not None
        begin, joint = one.text_with_calls
        end = joint + self._whole
        if not end:
            raise ValueError("the template writes nothing between text and calls")
        text = self._is(formats.any_text(excludes=self._barred()), Says("text", tail=end))
        return formats.sequence(_either([formats.tag(lead, text, end) for lead in self._leads(begin)]), self._calls())

    def _calls_alone(self) -> formats.Format:
        return formats.sequence(*self._const(self._one.alone + self._whole), self._calls())

    def _only_text(self) -> formats.Format:
        begin, end = self._one.text
        around = self._one.text_with_calls
        joint = "" if around is None else around[1]
        trigger = self._trigger or joint.strip()
        excludes = [*self._barred(), *([trigger] if trigger else [])]
        if end:
            text = self._is(formats.any_text(excludes=self._barred()), Says("text", tail=end))
            return _either([formats.tag(lead, text, end) for lead in self._leads(begin)])
        text = self._is(formats.any_text(excludes=excludes), Says("text"))
        return _either([formats.sequence(*self._const(lead), text) for lead in self._leads(begin)])

    def _own_leads(self) -> set[str]:
        """Return what comes before text: in a turn without calls, and in one with calls."""
        return {self._one.text[0], *(self._one.text_with_calls or ())[:1]}

    def _leads(self, own: str) -> list[str]:
        """Return what may come before a text, longest first: its own lead, and a longer one that begins alike.

        That is the lead of the other kind of turn. Which kind it is shows only at its end, and must not change the
        text that a stream has told by then.
        """
        return sorted((lead for lead in self._own_leads() if lead.startswith(own)), key=len, reverse=True)

    def _calls(self) -> formats.Format:
        """Return the format of all calls of a turn, after the opening of the first."""
        one = self._one.calls
        between = one.closing + one.separator + one.opening
        tags = [self._call(name, schema) for name, schema in self._tools]
        if self._most is None or self._most == 1:
            listed = formats.tags_with_separator(tags, between, at_least_one=True, stop_after_first=self._most == 1)
            parts = [listed]
        else:
            again = [formats.union(*(self._call(name, schema) for name, schema in self._tools))]
            parts = [formats.union(*tags)]
            parts.append(formats.repeat(formats.sequence(formats.const(between), *again), 0, self._most - 1))
        parts += self._const(one.closing + one.end)
        if self._one.text_behind:
            excludes = [*self._barred(), *([self._trigger] if self._trigger else [])]
            parts.append(self._is(formats.any_text(excludes=excludes), Says("text")))
        return formats.sequence(*parts)

    def _call(self, name: str, schema: Any) -> formats.Format:
        one = self._one
        parts: list[formats.Format] = []
        begin = ""
        for piece in one.pieces:
            if piece.slot is None or piece.slot == "name":
                text = name if piece.slot else piece.text
                if not parts:
                    begin += text
                else:
                    parts.append(self._is(formats.const(text), Says("call", name)))
            elif piece.slot in ("id", "index"):
                pattern = one.id_pattern if piece.slot == "id" else INDEX
                parts.append(self._is(formats.regex(pattern), Says("id", name)))
            else:
                form = formats.json(_ordered(schema) if one.arguments.are_sorted else schema)
                form["style"] = "json" if one.arguments.style is None else one.arguments.style
                parts.append(self._is(form, Says("arguments", name)))
        content = formats.sequence(*parts)
        if one.no_arguments is not None and not _required(schema):
            last = max(n for n, piece in enumerate(one.pieces) if piece.slot in ("name", "id"))
            if all(piece.slot in (None, "name") for piece in one.pieces[: last + 1]):
                head = "".join(name if piece.slot else piece.text for piece in one.pieces[: last + 1])
                rest = begin[len(head) :] if begin.startswith(head) else None
                if rest is not None:
                    empty = self._is(formats.const(one.no_arguments), Says("call", name))
                    usual = [self._is(one, Says("call", name)) for one in self._const(rest)]
                    content = formats.union(formats.sequence(*usual, content), empty)
                    begin = head
        return self._is(formats.tag(begin, content, ""), Says("call", name))

    # -- Parts ---------------------------------------------------------------------------------------------------------

    def _led(self, block: tuple[str, str] | None, texts: list[str], body: formats.Format) -> formats.Format:
        """Return a body preceded by the thinking block or one of the texts that may come before it."""
        options = [formats.const(text) for text in texts]
        if block is not None:
            # Thinking without an opening mark reads like text, so a call in it would be read as a call.
            barred = [self._trigger] if not block[0].strip() and options and self._trigger else []
            thinking = self._is(formats.any_text(excludes=barred), Says("thinking", tail=block[1]))
            options.insert(0, formats.tag(block[0], thinking, block[1]))
        if options == [formats.const("")]:
            return body
        return formats.sequence(_either(options), body)

    def _barred(self) -> list[str]:
        """Return the marks of thinking, which no text may contain."""
        thinking = self._one.thinking
        if thinking is None:
            return []
        begin = MARK.match(thinking.begin.strip())
        return [mark for mark in (begin[0] if begin else thinking.begin.strip(), thinking.end.strip()) if mark]

    def _const(self, text: str) -> list[formats.Format]:
        return [formats.const(text)] if text else []

    def _is(self, form: formats.Format, says: Says) -> formats.Format:
        self._said[id(form)] = says
        self._kept.append(form)
        return form


class Lead(NamedTuple):
    """What may come before a body: thinking between the two texts of `block`, or one fixed text."""

    block: tuple[str, str] | None
    in_text: list[str]
    in_calls: list[str]


_NO_LEAD = Lead(None, [""], [""])


def _lead(thinking: ThinkingTexts | None, wanted: bool | None, begun: str) -> Lead:
    """Return what may come before text and before calls, given the part of the turn that the prompt has written."""
    if thinking is None:
        if wanted:
            raise ValueError("the template writes no thinking")
        return _NO_LEAD
    begin, end = thinking.begin, thinking.end
    in_text, in_calls = [thinking.without_in_text], [thinking.without_in_calls]
    if begun and (end.strip() in begun or (MARK.search(begun) and begun.strip() not in begin and begin not in begun)):
        return _NO_LEAD  # the prompt has already ended thinking
    if begun and (begin.startswith(begun) or (begin and begun.startswith(begin)) or begun.strip() == begin.strip()):
        begin = begin[len(begun) :]
        in_text, in_calls = (
            [text[len(begun) :] for text in texts if text.startswith(begun)] for texts in (in_text, in_calls)
        )
    in_text, in_calls = ([text for text in texts if text != begin + end] for texts in (in_text, in_calls))
    if wanted is True:
        return Lead((begin, end), [], [])
    if wanted is False:
        return Lead(None, in_text or [begin + end], in_calls or [begin + end])
    return Lead((begin, end), in_text, in_calls)


def _without_begun(one: Anatomy, begun: str) -> Anatomy:
    """Return an anatomy without the texts before text and calls that the prompt has written, but for white space."""
    head = begun.lstrip()
    if not head.strip():
        return one

    def rest(lead: str) -> str:
        return lead.lstrip()[len(head) :] if lead.lstrip().startswith(head) else lead

    begin, joint = one.text_with_calls or ("", "")
    return dataclasses.replace(
        one,
        text=(rest(one.text[0]), one.text[1]),
        text_with_calls=None if one.text_with_calls is None else (rest(begin), joint),
        alone=rest(one.alone),
    )


def _either(parts: list[formats.Format]) -> formats.Format:
    return parts[0] if len(parts) == 1 else formats.union(*parts)


def _trigger(whole: str) -> tuple[str, str]:
    """Return the text that commits to a call, and the white space before it."""
    text = whole.lstrip()
    found = MARK.match(text)
    return (found[0] if found else text), whole[: len(whole) - len(text)]


def _required(schema: Any) -> bool:
    return isinstance(schema, dict) and bool(schema.get("required"))


def _ordered(schema: Any) -> Any:
    """Return a schema with the properties of each object sorted by name."""
    if isinstance(schema, list):
        return [_ordered(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: _ordered(value) for key, value in schema.items()}
    if isinstance(out.get("properties"), dict):
        out["properties"] = {key: out["properties"][key] for key in sorted(out["properties"])}
    return out


def _walk(form: Any, pointer: str) -> Iterator[tuple[str, Any]]:
    if isinstance(form, dict):
        yield pointer, form
        for key in ("content", "elements", "tags"):
            if key in form:
                yield from _walk(form[key], f"{pointer}/{key}")
    elif isinstance(form, list):
        for number, part in enumerate(form):
            yield from _walk(part, f"{pointer}/{number}")


def names_in(text: str, anatomy: Anatomy) -> list[str]:
    """Return the distinct texts of a turn at the places of tool names, in order."""
    at = next(number for number, piece in enumerate(anatomy.pieces) if piece.slot == "name")
    before, behind = anatomy.pieces[at - 1] if at else Piece(anatomy.calls.opening), anatomy.pieces[at + 1]
    ends = [re.escape(behind.text)] if behind.text else ["[{]"]
    style = anatomy.arguments.style
    if behind.slot == "arguments" and style is not None:
        ends = [re.escape(style["members"]["opening"].partition("{")[0]), re.escape(anatomy.calls.closing)]
    if anatomy.no_arguments:
        ends.append(re.escape(anatomy.no_arguments))
    pattern = f"{re.escape(before.text)}({_NAME}?)(?={'|'.join(end for end in ends if end)})"
    return list(dict.fromkeys(re.findall(pattern, text)))

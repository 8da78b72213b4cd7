"""Repair: what a model without masks wrote around its JSON is taken away, and its small slips are mended.

A repair is a list of `Edit`s to the text as it was written; applying them gives the repaired text, and nothing else
does. It is a reading of the text that has one meaning, or it is not made: where the text can be read in two ways, or
where a value would have to be made up, it comes back as it is, and validation says what is wrong with it. So JSON
(RFC 8259) is never touched; no value appears that the text does not hold; of several values none is chosen by taste.

Which value is taken. The whole text, if it is one. Else the only object or array in the prose; or the last one, if it
is all that stands in the only code fence with a value. The same value written twice is one. A bare scalar is taken only
where it is the whole text or all of a fence. Braces that are prose, `{order}`, are passed over; a value that breaks off
in its middle is not, and neither is one beside which stands the rest of a larger one, as in `"a": {…}, "b": 1`.

What is mended, by the kind that the edits bear:

- "prose", "fence", "byte order mark", "white space" (no JSON's), "comment" (`//`, `/* */`, `#`);
- "trailing comma"; "doubled comma" in objects, as in arrays it may be a hole; "missing comma" where a line or a bracket
  parts two values, or a quoted key follows;
- "missing bracket", where the text, the fence or an outer object or array ends after a whole value: at the end of the
  text a number may be cut off, and so is a string without an end, a key without a value, or a comma. "stray bracket",
  where more of the value's own closing brackets follow it;
- "quote": single and typographic quotes, and quotes and apostrophes inside a string, where what stands around them
  leaves no doubt that the string goes on; "control character"; "escape": `\\'` is an apostrophe, `\\xe9` is `\\u00e9`,
  and the backslash of `\\d`, which is no escape, is itself, where no other in the string may be so: in `C:\\docs\\new`
  none is mended; "unquoted key";
- "number": `+5`, `007`, `.5`, `5.`; "literal": True, False, None, NULL, …
- "NaN" is null, as in JavaScript's own JSON: both say that there is no number. Infinity is one, so it is not mended.

Not mended: cut-off values, missing values and colons, bare words, hexadecimal, `...`, JSON inside a string (it is valid
as it is), strings that an operator joins; a comment that may stand for what was left out, `[1, 2, // ... 98 more`, or
have swallowed it, `[1 // one, 2`. A key written twice is left to validation.

Time and memory are linear in the text, however deep it nests. tests/guard/output/test_repair.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from guard.support.bounds import check_kind

LIMIT = 1_000_000  #: Characters of the longest text that is looked into: no answer is longer; seconds at worst.
MOST_EDITS = 10_000  #: A text with more slips is none that was meant as JSON; each is kept, and recorded.

_BLANK = re.compile(r"[ \t\n\r]*+")
_ODD_BLANK = re.compile(r"(?:(?![ \t\n\r\x1c-\x1f])\s|[\u200b-\u200d\u2060\ufeff])++")
_LINE = re.compile(r"[^\n\r]*+")
_FENCE = re.compile(r"`{3,}+")
#: What may open a value in prose: a fence with the name of its language, or a bracket.
_MARK = re.compile(r"(`{3,}+)(?:[A-Za-z][\w+.-]*+)?|[\[{]")
#: What stands before and behind a value that is a member or an item of something larger.
_IS_KEY = re.compile(r"[\"'”’]\s*:\s*\Z")
_GOES_ON = re.compile(r"\s*+,\s*+[\"'“‘{\[]")
#: What a comment says that stands for items or members which were not written.
_LEFT_OUT = re.compile(
    r"\.\.|…|\b(?:more|rest|remaining|remainder|others?|additional|further|etc|and so (?:on|forth)|continue[sd]?"
    r"|similar(?:ly)?|omit(?:s|ted)?|left out|skip(?:s|ped)?|truncat\w*|abbreviat\w*|abridged|elided|shortened"
    r"|snip(?:ped)?)\b",
    re.IGNORECASE,
)
#: What a comment says that may be the items or members behind it, swallowed with their line.
_SWALLOWED = {"}": re.compile(r",\s*+[\"'“‘{\[]"), "]": re.compile(r",\s*+[\"'“‘{\[0-9-]")}
_WORD = re.compile(r"[^\W\d]\w*+")
_KEY = re.compile(r"(?:[^\W\d]|\$)[\w$-]*+")
_NUMBER = re.compile(
    r"(?:(?P<plus>\+)|-)?(?P<zeros>0+(?=[0-9]))?(?P<digits>[0-9]*+)(?P<point>\.)?(?P<fraction>[0-9]*+)(?:[eE][+-]?[0-9]++)?"
)
_AFTER_NUMBER = re.compile(r"[\s\u200b-\u200d\u2060\ufeff,\]}`]|\Z")
_ESCAPE = re.compile(r"\\(?:[\"\\/bfnrt]|u[0-9a-fA-F]{4})")
_HEX_ESCAPE = re.compile(r"\\x([0-9a-fA-F]{2})")

_LITERALS = {
    **dict.fromkeys(("true", "True", "TRUE"), "true"),
    **dict.fromkeys(("false", "False", "FALSE"), "false"),
    **dict.fromkeys(("null", "None", "Null", "NULL", "NaN", "nan"), "null"),
}
_DOUBLE, _SINGLE = '“”„‟"', "‘’‚‛'"
#: The quotes that may close a string, by the one that opened it.
_CLOSING = {'"': '"', "'": "'", **dict.fromkeys("“”„‟", _DOUBLE), **dict.fromkeys("‘’‚‛", _SINGLE)}
#: The next character of a string at which something is to be decided, by the quote that opened it.
_SPECIAL = {quote: re.compile(rf'["{closing}\\\x00-\x1f]') for quote, closing in _CLOSING.items()}
_CONTROL = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_OF_WHITE_SPACE = ("byte order mark", "white space")
#: Where a string may end.
_CLOSED = re.compile(rf"[{_DOUBLE}{_SINGLE}]\s*+[,:\]}}]")
#: What joins two strings in a program.
_JOINED = re.compile(rf"[+&.]\s*+[{_DOUBLE}{_SINGLE}]")
_BRACKETS = {"{": "}", "[": "]"}


@dataclass(frozen=True)
class Edit:
    """One thing that was mended, and where."""

    at: int  # character offset into the text as the model wrote it
    kind: str  # "fence", "prose", "trailing comma", …
    removed: str  # what stood there
    inserted: str  # what stands there now


@dataclass(frozen=True)
class Repaired:
    """A text that has been looked into."""

    text: str  # the text, edited; as it was where it is JSON, or can't be mended honestly
    edits: tuple[Edit, ...] = ()  # in order, not overlapping


def repair(text: str, *, limit: int = LIMIT) -> Repaired:
    """Return the text as JSON, with the edits that made it so; without edits where none is needed or will do.

    For whole answers: one that was cut off (`finish == "length"`) is not to be repaired. No text makes it raise.
    """
    check_kind("text", text, str, "a text")
    if len(text) > limit:
        return Repaired(text)
    try:
        edits = _whole(text)
        if edits is None:
            edits = _within(text)
    except _BrokenError:
        return Repaired(text)
    return Repaired(_applied(text, edits), tuple(edits)) if edits else Repaired(text)


def _applied(text: str, edits: Sequence[Edit], origin: int = 0) -> str:
    """Return the text edited; origin: where in what the edits speak of it starts."""
    parts: list[str] = []
    at = 0
    for edit in edits:
        parts += (text[at : edit.at - origin], edit.inserted)
        at = edit.at - origin + len(edit.removed)
    return "".join((*parts, text[at:]))


# ---- where the value is ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    """A value in prose."""

    start: int
    end: int
    edits: tuple[Edit, ...]  # of it
    text: str  # of it, repaired
    fence: re.Match[str] | None  # that holds it and nothing else


def _whole(text: str) -> list[Edit] | None:
    """Return the edits where the text is a value and nothing else; None where it may hold one.

    Raises _BrokenError where it is one that can't be read.
    """
    reader = _LenientReader(text)
    start = reader.blank(0)
    try:
        if reader.blank(reader.value(start)) < len(text):
            return None
    except _BrokenError:
        if text[start : start + 1] in _BRACKETS and reader.sure:
            raise
        return None
    return reader.edits_by_place()


def _within(text: str) -> list[Edit]:
    """Return the edits that leave the one value that there is in a text. Raises _BrokenError."""
    found: list[_Found] = []
    at = 0
    fence: re.Match[str] | None = None  # the one that is open
    content = -1  # where the first thing in it stands
    passed = False  # over a bracket that is prose
    while mark := _MARK.search(text, at):
        start = mark.start()
        if mark[1]:
            fence = None if fence else mark
            at = mark.end() if fence else mark.end(1)
            content = start = _after_blank(text, at)
            if not fence or start == len(text) or text[start] in "{[`":
                continue
        reader = _LenientReader(text)
        try:
            end = reader.value(start)
        except _BrokenError:
            if not mark[1]:
                if reader.sure:
                    raise
                passed, at = True, start + 1
            continue
        after = _after_blank(text, end)
        alone = start == content and (after == len(text) or text.startswith("```", after))
        if mark[1] and not alone:  # a scalar with which something else begins: a program, a sentence
            continue
        if not alone:
            _check_around(text, start, end, passed=passed)
        edits = tuple(reader.edits_by_place())
        found.append(_Found(start, end, edits, _applied(text[start:end], edits, start), fence if alone else None))
        at = end
    if not found:
        raise _BrokenError
    one = found[0]
    if any(other.text != one.text for other in found):
        one = found[-1]
        if not one.fence or sum(other.fence is not None for other in found) > 1:
            raise _BrokenError
    return [*_before(text, one), *one.edits, *_after(text, one)]


def _check_around(text: str, start: int, end: int, *, passed: bool) -> None:
    """Raise where a value is a part of something larger that has lost its brackets."""
    if _IS_KEY.search(text[max(0, start - 100) : start]) or _GOES_ON.match(text, end):
        raise _BrokenError
    after = _after_blank(text, end)
    if text[after : after + 1] in ("}", "]") and (passed or text[after:].strip("` \t\n\r" + text[end - 1])):
        raise _BrokenError


def _before(text: str, found: _Found) -> Iterator[Edit]:
    opening = found.fence.start() if found.fence else found.start
    if text[:opening].strip():
        yield Edit(0, "prose", text[:opening], "")
    if found.fence:
        yield Edit(opening, "fence", found.fence[0], "")


def _after(text: str, found: _Found) -> Iterator[Edit]:
    end = found.end
    if found.fence and (closing := _FENCE.match(text, _after_blank(text, end))):
        yield Edit(closing.start(), "fence", closing[0], "")
        end = closing.end()
    if rest := text[end:].lstrip():
        kind = "stray bracket" if not found.fence and rest[0] in "}]" else "prose"
        if kind == "prose" and not found.fence:
            _check_balanced(rest)
        if kind != "prose" and any(edit.kind.startswith("missing") for edit in found.edits):
            raise _BrokenError  # one bracket too many where others are missing: it stands in the wrong place
        yield Edit(end, kind, text[end:], "")


def _check_balanced(prose: str) -> None:
    """Raise where prose closes a bracket that it has not opened: a value was closed before its end."""
    depth = 0
    for bracket in re.findall(r"[\[{}\]]", prose):
        depth += 1 if bracket in _BRACKETS else -1
        if depth < 0:
            raise _BrokenError


def _after_blank(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    assert blank is not None  # it matches the empty text
    return blank.end()


# ---- the value -------------------------------------------------------------------------------------------------------


class _BrokenError(Exception):
    """The text has no reading, or more than one."""


class _LenientReader:
    """Reads one value from a place in a text, and notes what is to be mended in it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.edits: list[Edit] = []
        self.sure = False  # whether what was read is JSON without doubt: more than a bracket and a word
        self.closing: list[str] = []  # the brackets that are due, innermost last
        self.comma = -1  # the last comma, where nothing has followed it yet
        self.comment = -1  # the last comment

    def edits_by_place(self) -> list[Edit]:
        """Return the edits in order: whether a comma is a trailing one is known only after the comments behind it."""
        return sorted(self.edits, key=lambda edit: edit.at)

    def edit(self, at: int, kind: str, removed: str, inserted: str = "") -> None:
        """Note an edit. Raises _BrokenError where there are too many."""
        if len(self.edits) == MOST_EDITS:
            raise _BrokenError
        self.edits.append(Edit(at, kind, removed, inserted))
        self.sure = self.sure or kind not in _OF_WHITE_SPACE

    def value(self, at: int) -> int:
        """Read the value that starts at a place; returns where it ends. Raises _BrokenError."""
        text, closing = self.text, self.closing
        if text[at : at + 1] not in _BRACKETS:
            return self.scalar(at, alone=True)
        due = "value"  # or "first": of an object or array; "next": after a comma; "comma": or a closing bracket
        ended, scalar = at, False  # where the last value ended, and whether it was a scalar
        while True:
            at = self.blank(at, comments=True)
            char = text[at : at + 1]
            if not char or text.startswith("```", at):
                if due != "comma" or (scalar and at == ended and text[at - 1] in "0123456789."):
                    raise _BrokenError  # it breaks off; a number at the end may be the start of another
                self.edit(at, "missing bracket", "", "".join(reversed(closing)))
                return at
            if due == "comma" and char not in ",}]":
                self.check_parted(ended, at, scalar=scalar)
                self.edit(at, "missing comma", "", ",")
                due = "next"
            if due == "value" or (due != "comma" and closing[-1] == "]" and char not in ",]}"):
                self.comma = -1
                if char in _BRACKETS:
                    self.sure = self.sure or bool(closing)
                    closing.append(_BRACKETS[char])
                    at += 1
                    due = "first"
                else:
                    ended = at = self.scalar(at, alone=False)
                    scalar, due, self.sure = True, "comma", True
            elif char in ("}", "]"):
                self.close(at, char, empty=due != "comma")
                ended = at = at + 1
                scalar, due, self.sure = False, "comma", True
                if not closing:
                    return at
            elif char == ",":
                if due == "comma":
                    self.comma = at
                elif closing[-1] == "}":
                    self.edit(at, "doubled comma", ",")
                else:
                    raise _BrokenError  # what is between two commas of an array may be a hole
                at += 1
                due = due if due == "first" else "next"
            else:
                at = self.key(at)
                self.comma, due, self.sure = -1, "value", True

    def check_parted(self, ended: int, at: int, *, scalar: bool) -> None:
        """Raise where two neighbours without a comma may be one: `1 234`."""
        char = self.text[at]
        quoted_key = self.closing[-1] == "}" and char in _CLOSING
        if scalar and not quoted_key and char not in _BRACKETS and self.text.find("\n", ended, at) < 0:
            raise _BrokenError

    def close(self, at: int, char: str, *, empty: bool) -> None:
        """Close what a closing bracket closes, and what is open in it; empty: nothing precedes, or a comma."""
        missing = []
        while (due := self.closing.pop()) != char:
            missing.append(due)
            if empty or not self.closing:
                raise _BrokenError
        if missing:
            self.edit(at, "missing bracket", "", "".join(missing))
        if self.comma >= 0:
            if char == "]" and self.comment > self.comma:  # it may stand for further items
                raise _BrokenError
            self.edit(self.comma, "trailing comma", ",")
            self.comma = -1

    def blank(self, at: int, *, comments: bool = False) -> int:
        """Pass over what stands between tokens."""
        text, begin = self.text, at
        while True:
            at = _after_blank(text, at)
            if at == len(text):
                return at
            if odd := _ODD_BLANK.match(text, at):
                self.edit(at, "byte order mark" if odd[0] == "\ufeff" else "white space", odd[0])
                at = odd.end()
            elif comments and self.is_comment(at):
                end = self.comment_end(at)
                self.edit(at, "comment", text[at:end])
                if end == len(text) or _LEFT_OUT.search(text, at, end):  # it may have swallowed the end of the value
                    raise _BrokenError
                is_behind = not text.startswith("/*", at) and self.line_end(begin) == end  # something on its line
                if is_behind and _SWALLOWED[self.closing[-1]].search(text, at, end):
                    raise _BrokenError
                self.comment = at
                at = end
            else:
                return at

    def is_comment(self, at: int) -> bool:
        """Answer whether a comment starts: not right behind a token, where what looks like one is more of the token."""
        text = self.text
        return text.startswith(("#", "//", "/*"), at) and (text[at - 1].isspace() or text[at - 1] in ",:{[}]")

    def comment_end(self, at: int) -> int:
        """Return where a comment ends."""
        if not self.text.startswith("/*", at):
            return self.line_end(at)
        star = self.text.find("*/", at + 2)
        return len(self.text) if star < 0 else star + 2

    def line_end(self, at: int) -> int:
        """Return where the line ends."""
        line = _LINE.match(self.text, at)
        assert line is not None  # it matches the empty text
        return line.end()

    # ---- keys and scalars

    def key(self, at: int) -> int:
        """Read a key and its colon."""
        text = self.text
        if text[at] in _CLOSING:
            end = self.string(at, first=True)
        elif bare := _KEY.match(text, at):
            end = bare.end()
        else:
            raise _BrokenError
        colon = self.blank(end, comments=True)
        if text[colon : colon + 1] != ":":
            raise _BrokenError
        if text[at] not in _CLOSING:
            self.edit(at, "unquoted key", text[at:end], f'"{text[at:end]}"')
        return colon + 1

    def scalar(self, at: int, *, alone: bool) -> int:
        """Read a string, a number, or a literal; alone: with nothing around it."""
        text = self.text
        if at < len(text) and text[at] in _CLOSING:
            return self.string(at, first=alone)
        if word := _WORD.match(text, at):
            literal = _LITERALS.get(word[0])
            if literal is None:
                raise _BrokenError
            if literal != word[0]:
                self.edit(at, "NaN" if word[0].lower() == "nan" else "literal", word[0], literal)
            return word.end()
        return self.number(at)

    def number(self, at: int) -> int:
        """Read a number."""
        number = _NUMBER.match(self.text, at)
        assert number is not None  # it matches the empty text
        whole, end = number["zeros"] or number["digits"], number.end()
        if not (whole or (number["point"] and number["fraction"])) or not _AFTER_NUMBER.match(self.text, end):
            raise _BrokenError
        if number["plus"]:
            self.edit(at, "number", "+")
        if number["zeros"]:
            self.edit(number.start("zeros"), "number", number["zeros"])
        if number["point"] and not whole:
            self.edit(number.start("point"), "number", "", "0")
        elif number["point"] and not number["fraction"]:
            if end == len(self.text):  # the fraction may have been cut off
                raise _BrokenError
            self.edit(number.end("point"), "number", "", "0")
        return end

    def string(self, at: int, *, first: bool) -> int:
        """Read a string; first: the first quote that may close it does."""
        text = self.text
        start, opening = at, text[at]
        special, closing = _SPECIAL[opening], _CLOSING[opening]
        if opening != '"':
            self.edit(at, "quote", opening, '"')
        at += 1
        inner = 0  # quotes inside that come in pairs
        edits, escaped = len(self.edits), False  # whether a character is escaped that may have been two
        while found := special.search(text, at):
            at, char = found.start(), found[0]
            if char == "\\":
                escaped = escaped or text[at + 1 : at + 2] in "bfnrt\\"
                at = self.escape(at)
                continue
            if char in closing:
                if first or self.closes(at):
                    if escaped and any(edit.kind == "escape" and edit.inserted == "\\" for edit in self.edits[edits:]):
                        raise _BrokenError  # one backslash is itself, so the others may be, too
                    if inner % 2:  # its pair is elsewhere, so this may not be the end
                        raise _BrokenError
                    if char != '"':
                        self.edit(at, "quote", char, '"')
                    return at + 1
                self.check_inner(start, at, closing)
                inner += char not in _SINGLE or not (text[at - 1].isalnum() and text[at + 1].isalnum())
            if char == '"':
                self.edit(at, "quote", "", "\\")
            elif char < " ":
                self.edit(at, "control character", char, _CONTROL.get(char, f"\\u{ord(char):04x}"))
            at += 1
        raise _BrokenError

    def escape(self, at: int) -> int:
        """Read an escape."""
        text = self.text
        if escape := _ESCAPE.match(text, at):
            return escape.end()
        if escape := _HEX_ESCAPE.match(text, at):
            self.edit(at, "escape", escape[0], "\\u00" + escape[1])
            return escape.end()
        char = text[at + 1 : at + 2]
        if char == "'":
            self.edit(at, "escape", "\\")
            return at + 2
        if not char or char in "\n\ruxUN01234567":  # languages have escapes of these that differ
            raise _BrokenError
        self.edit(at, "escape", "", "\\")
        return at + 1

    def closes(self, at: int) -> bool:
        """Answer whether a quote closes its string: what follows can only follow a value."""
        text = self.text
        behind = self.after_odd_blank(at + 1)
        char = text[behind : behind + 1]
        if not char or char in ",]}" or text.startswith("```", behind):
            return True
        if behind > at + 1 and self.is_comment(behind):
            if _CLOSED.search(text, behind, self.comment_end(behind)):  # a comment, or more of the string
                raise _BrokenError
            return True
        return text.find("\n", at, behind) >= 0  # a comma is missing

    def check_inner(self, start: int, at: int, closing: str) -> None:
        """Raise where a quote that closes nothing may yet be one that opens or closes a string."""
        text = self.text
        behind = self.after_odd_blank(at + 1)
        before = at - 1
        while before > start and text[before].isspace():
            before -= 1
        if text[behind] == ":" or text[behind] in closing or _JOINED.match(text, behind):
            raise _BrokenError
        if before > start and (text[before] in ",:{[" or text.find("\n", before, at) >= 0):
            raise _BrokenError

    def after_odd_blank(self, at: int) -> int:
        """Return where something that is no white space of any kind follows."""
        while True:
            at = _after_blank(self.text, at)
            odd = _ODD_BLANK.match(self.text, at)
            if not odd:
                return at
            at = odd.end()

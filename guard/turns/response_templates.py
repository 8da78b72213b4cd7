"""From a tokenizer's `response_template` (transformers 5.13 and later) to a tool format.

A response template tells how a model's turn is read: for each field the texts or patterns that open and close it, and
how its content is parsed. It is laxer than what models write, so the chat template is asked first (deriving.py). Where
that shows no form, a response template gives one: of each pattern the shortest text that it matches, or the shortest
that has its optional parts. The form counts as one that `round_trips` if transformers reads drawn turns as they were
meant.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from guard.schemas import regex
from guard.schemas.ops import Rx, Tree
from guard.turns import bounded_process, trials
from guard.turns.anatomy import Anatomy, ThinkingTexts
from guard.turns.arguments import Arguments
from guard.turns.call_pieces import Piece
from guard.turns.probes import Manner
from guard.turns.reading import ReadTurn
from guard.turns.splitting import Listed
from guard.turns.tool_format import ToolFormat

SECONDS = 20  #: Processor time in which transformers reads the drawn turns; most of it is its import.
WAIT = 120.0  #: The same of wall-clock time.
MEMORY = 4_000_000_000  #: Bytes of address space.
TURNS = 24  #: Drawn turns that must be read as they were meant.
_NAMES, _THINKING = "\ue000", ("reasoning_content", "thinking")
_STRIPS = ("xml-inline", "kv-lines")  #: Parsers that strip white space from values.
_PYTHON = {
    "members": {"opening": "{key}=", "separator": ", "},
    "strings": [{"begin": "'", "end": "'", "escapes": {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r"}}],
    "words": {"null": "None", "true": "True", "false": "False"},
}


class _UnknownError(Exception):
    """The response template has a part that no text can be told for."""


def derive(spec: Mapping[str, Any]) -> ToolFormat | None:
    """Return the tool format of a response template; None where it has no calls, or in no form that is understood."""
    best: ToolFormat | None = None
    for with_options in (False, True):
        try:
            made = ToolFormat(_TemplateReader(with_options).anatomy(spec))
        except (_UnknownError, regex.RegexError, KeyError, TypeError, AttributeError, IndexError):
            continue
        if _is_read(spec, made):
            return replace(made, round_trips=True)
        best = best or made
    return best


def kept_to(made: ToolFormat, spec: Mapping[str, Any]) -> ToolFormat:
    """Return a format without the strings that the reader of a response template would change: those it strips."""
    calls = (spec.get("fields") or {}).get("tool_calls")
    style = made.anatomy.arguments.style
    if style is None or style["strings"] or not isinstance(calls, Mapping) or calls.get("content") not in _STRIPS:
        return made
    arguments = replace(made.anatomy.arguments, style={**style, "trimmed": True})
    return ToolFormat(replace(made.anatomy, arguments=arguments), made.round_trips)


def parsed(spec: Mapping[str, Any], texts: list[str], tools: list[dict[str, Any]]) -> list[dict[str, Any] | None]:
    """Return each text as transformers reads it; None where it raises, or the template exceeds a limit."""
    job = {"seconds": SECONDS, "spec": spec, "texts": texts, "tools": tools}
    found: list[dict[str, Any] | None]
    found = bounded_process.results(__name__, job, len(texts), WAIT, more=("HOME", "HF_HOME"))
    return found


def main() -> None:
    """Read the texts of the job on standard input; write one line of JSON for each to standard output."""
    job, out = json.load(sys.stdin), sys.stdout
    bounded_process.limit(job["seconds"], MEMORY)
    from transformers.utils.chat_parsing import parse_response

    for text in job["texts"]:
        try:
            said = parse_response(text, job["spec"], prefix="", tools=job["tools"])
        except Exception:
            said = None
        out.write(json.dumps(said) + "\n")
        out.flush()


def calls_of(message: Mapping[str, Any] | None) -> list[tuple[str, Any]] | None:
    """Return the names and arguments of the calls in a message; None where it holds something else."""
    try:
        functions = [call["function"] for call in (message or {}).get("tool_calls") or []]
        return None if message is None else [(one["name"], one["arguments"]) for one in functions]
    except (KeyError, TypeError):
        return None


def _is_read(spec: Mapping[str, Any], made: ToolFormat) -> bool:
    draw = random.Random(1)  # noqa: S311 (no secret)
    turns = [_named(trials.drawn(draw, made)) for _ in range(TURNS)]
    end = made.ends[0] if made.ends else ""
    texts = [made.assistant(turn.calls, turn.text, turn.thinking) + end for turn in turns]
    try:
        read = parsed(spec, texts, [{**one, "function": _plain(one["function"])} for one in trials.TOOLS])
    except OSError:
        return False
    meant = [[(call.name, call.arguments) for call in turn.calls] for turn in turns]
    return [calls_of(one) for one in read] == meant


def _named(turn: ReadTurn) -> ReadTurn:
    """Return a turn whose tools have names of letters: many patterns read no others."""
    return replace(turn, calls=tuple(replace(call, name=call.name.replace("-", "_")) for call in turn.calls))


def _plain(function: dict[str, Any]) -> dict[str, Any]:
    return {**function, "name": function["name"].replace("-", "_")}


class _TemplateReader:
    """Reads a response template; `with_options`: texts have the optional parts of their patterns."""

    def __init__(self, with_options: bool) -> None:
        self._with_options = with_options

    def anatomy(self, spec: Mapping[str, Any]) -> Anatomy:
        fields = spec["fields"]
        calls, content = fields["tool_calls"], fields.get("content", {})
        thinking = next((fields[name] for name in _THINKING if name in fields), None)
        opening, closing = self._texts(calls, "open"), self._text(calls, "close")
        pieces, arguments, around = self._call(calls)
        if opening[1:]:  # the name stands in the opening
            begin, rest = opening
            pieces = (Piece("", "name"), *([Piece(rest)] if rest else []), *pieces)
        else:
            (begin,) = opening
        listed = Listed("", begin + around.begin, around.end + closing, around.separator, "")
        if around.separator:
            listed = Listed(begin + around.begin, "", "", around.separator, around.end + closing)
        before, after = self._text(content, "open"), self._text(content, "close")
        if not (listed.begin + listed.opening).strip():
            raise _UnknownError
        return Anatomy(
            manner=Manner(),
            head="",
            opened="",
            ends=(after,) if after else (),
            thinking=None if thinking is None else self._thinking(thinking),
            text=(before, ""),
            text_with_calls=None if before else ("", ""),
            text_behind=False,
            alone="",
            calls=listed,
            pieces=pieces,
            no_arguments=None,
            several=bool(calls.get("repeats")) or bool(around.separator),
            arguments=arguments,
            id_pattern="[A-Za-z0-9_.:-]{1,64}",
        )

    def _thinking(self, field: Mapping[str, Any]) -> ThinkingTexts:
        begin, end = self._text(field, "open"), self._text(field, "close")
        if not (begin.strip() and end.strip()):  # opened by the prompt, or closed by nothing
            raise _UnknownError
        return ThinkingTexts(begin, end, "", "")

    def _call(self, calls: Mapping[str, Any]) -> tuple[tuple[Piece, ...], Arguments, Listed]:
        """Return the pieces of a call, how its arguments are written, and the texts of a list of calls."""
        kind, how = calls.get("content", "text"), calls.get("content_args") or {}
        function = calls["transform"]["function"] if "transform" in calls else {}
        alone = Listed("", "", "", "", "")
        if kind == "python-call-list":
            pieces = (Piece("", "name"), Piece("("), Piece("", "arguments"), Piece(")"))
            return pieces, Arguments(0, 0, _PYTHON), Listed("[", "", "", ", ", "]")
        if kind == "xml-inline":
            opening, closing = self._member(how["tag_pattern"])
            style = {"members": {"opening": opening, "closing": closing}, "strings": [], "words": {}, "trimmed": True}
            return (Piece("", "arguments"),), Arguments(0, 0, style), alone
        if kind != "json":
            raise _UnknownError
        is_listed = bool(calls.get("transform_each"))
        if is_listed:
            alone = Listed("[", "", "", ", ", "]")
        if function == "{content}":
            return _object("name", "arguments"), Arguments(0, 0), alone
        name, given = function["name"].strip("{}"), function["arguments"].strip("{}")
        if is_listed:
            return _object(name, given), Arguments(0, 0), alone
        if given == "content":
            return (Piece("", "arguments"),), _arguments(how), alone
        return _object(name.removeprefix("content."), given.removeprefix("content.")), Arguments(0, 0), alone

    def _member(self, pattern: str) -> tuple[str, str]:
        """Return the texts before and after the value of a member, from the pattern of its tags."""
        parts = [self._shortest(regex.parse(part).tree) for part in _without_groups(pattern, "value")]
        opening, closing = parts
        if not (opening and closing):  # a raw value must end somewhere
            raise _UnknownError
        return opening.replace(_NAMES, "{key}"), closing

    def _texts(self, field: Mapping[str, Any], which: str) -> list[str]:
        """Return the text that opens or closes a field, in two where the tool's name stands in it."""
        if which in field:
            return [field[which] if isinstance(field[which], str) else field[which][0]]
        pattern = field.get(f"{which}_pattern")
        if pattern is None:
            return [""]
        try:
            return [self._shortest(regex.parse(part).tree) for part in _without_groups(pattern, "name")]
        except regex.RegexError:
            raise _UnknownError from None

    def _text(self, field: Mapping[str, Any], which: str) -> str:
        found = self._texts(field, which)
        if len(found) > 1 or _NAMES in found[0]:
            raise _UnknownError
        return found[0]

    def _shortest(self, tree: Tree) -> str:
        """Return the shortest text of a tree, of its first alternative; _UnknownError where that could be many."""
        kind = tree[0]
        if kind == Rx.SET:
            among = tree[1]
            if len(among) == 1 and among[0][0] == among[0][1]:
                return chr(among[0][0])
            if any(low <= 32 <= high for low, high in among) and not any(low <= 97 <= high for low, high in among):
                return " "  # white space
            raise _UnknownError
        if kind == Rx.CAT:
            return "".join(map(self._shortest, tree[1]))
        if kind == Rx.ALT:
            return self._shortest(tree[1][0])
        if kind == Rx.REPEAT:
            count = 1 if self._with_options and tree[2:] == (0, 1) else tree[2]
            return self._shortest(tree[1]) * count if count else ""
        if kind in (Rx.LOOK, Rx.START, Rx.END):
            return ""
        raise _UnknownError


def _object(name: str, arguments: str) -> tuple[Piece, ...]:
    """Return the pieces of a call that is an object with these two members."""
    begin = (Piece(f'{{"{name}": "'), Piece("", "name"))
    return (*begin, Piece(f'", "{arguments}": '), Piece("", "arguments"), Piece("}"))


def _arguments(how: Mapping[str, Any]) -> Arguments:
    """Return how one object is written: JSON, or with bare keys and strings in quotes of its own."""
    if not how.get("string_delims") and not how.get("unquoted_keys"):
        return Arguments(0, 0)
    quotes = [{"begin": begin, "end": end, "escapes": {}} for begin, end in how.get("string_delims") or []]
    if not quotes or not how.get("unquoted_keys"):
        raise _UnknownError
    around = {"begin": "{", "opening": "{key}:", "separator": ",", "end": "}"}
    items = {"begin": "[", "separator": ",", "end": "]"}
    style = {"members": around, "strings": quotes[:1], "array": items, "object": around, "words": {}}
    return Arguments(0, 0, {**style, "nested_strings": quotes[:1]})


def _without_groups(pattern: str, split: str) -> list[str]:
    """Return the pattern in parts, without its group of that name, and with a mark for each other named group."""
    parts, at = [""], 0
    while (found := re.compile(r"\(\?P?<(\w+)>").search(pattern, at)) is not None:
        parts[-1] += pattern[at : found.start()]
        at, depth = found.end(), 1
        is_class = False
        while depth:
            char = pattern[at]
            at += 2 if char == "\\" else 1
            is_class = (is_class or char == "[") and char != "]"
            depth += 0 if is_class else (char == "(") - (char == ")")
        if found[1] == split:
            parts.append("")
        else:
            parts[-1] += _NAMES
    parts[-1] += pattern[at:]
    return parts

"""Scripted replies: how a model or its provider may answer one request, in any protocol.

A reply is a text with its finish reason, or an error. An adapter (guard/testing/app_adapters.py) translates it into a
protocol. `FAULTS` are functions by name, each of which makes a faulty reply of a good value. A reply does not say what
an application must make of it: guard/testing/oracle.py judges the text.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from guard.output.target import Target
from guard.testing.evaluated import PROGRAM
from guard.testing.strategies.near_misses import near_misses
from guard.testing.strategies.texts import Text, texts
from guard.testing.strategies.values import values

if TYPE_CHECKING:
    from guard.testing.strategies.near_misses import NearMiss

DECLINED = "I can't help with that."
BIG = 2**53 + 1  #: The first integer that a double can't represent.
HUGE = 2**64 + 1  #: An integer that 64 bits can't represent.
#: Times that differ once their offset or their fraction is dropped.
TIMES = ("2026-03-01T12:30:45.123456+05:30", "12:30:45.123456+05:30", "P1DT2H3M4.5S")
#: The fault "near miss": a value that the schema refuses. Without it, only the named faults occur.
NEAR_MISS = "near miss"
DECIMAL = 1234.56789  #: A number that changes when it is rounded to cents.


@dataclass(frozen=True)
class ScriptedReply:
    """The reply to one request."""

    how: str  # in words: "valid", "cut off", "near miss of minimum at /age"
    text: str = ""
    finish: str = "stop"  # "stop", "length", "refusal", "filter"; "" for a stream that breaks off
    error: str = ""  # one of ERRORS, in place of an answer
    thinking: str | None = None  # thinking, where the protocol has a field for it
    calls: tuple[tuple[str, str], ...] = ()  # calls of tools in place of the text: names and arguments
    meant: str = ""  # JSON of the value that the text means, where it is not plain JSON; "" where unknown

    @property
    def is_told(self) -> bool:
        """Whether the text alone is the whole reply, so that a plain function from prompt to text can give it."""
        return self.finish == "stop" or bool(self.error)


#: Errors of a provider, by name.
ERRORS = (
    "unavailable",  # HTTP 503
    "broken",  # HTTP 500
    "rate limited",  # HTTP 429
    "timed out",  # HTTP 504
    "unauthorized",  # HTTP 401, with a message that repeats the key
    "reset",  # the connection breaks
    "no JSON",  # a page of HTML with HTTP 200
    "no choices",  # an answer without a choice
    "unknown tool",  # a call of a tool that was not offered
    "split call",  # two calls of the tool, each with half of the members
)
TOOL_ERRORS = ("unknown tool", "split call")  #: Errors of a model that chooses which tools it calls.

#: From a good value, and another one, to the reply.
Fault = Callable[[Any, Any, Target], ScriptedReply]


def valid(value: Any) -> ScriptedReply:
    """Reply with a value, unchanged."""
    return ScriptedReply("valid", written(value))


def written(value: Any) -> str:
    """Write a value as JSON, in its own order, characters unescaped."""
    try:
        text = json.dumps(value, ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value)
    return text


def _cut(value: Any, _other: Any, _target: Target) -> ScriptedReply:
    text = written(value)
    return ScriptedReply("cut off", text[: max(1, len(text) // 2)], finish="length")


def _cut_late(value: Any, _other: Any, _target: Target) -> ScriptedReply:
    return ScriptedReply("cut off before its last character", written(value)[:-1], finish="length")


def _cut_in_text(value: Any, _other: Any, _target: Target) -> ScriptedReply:
    """Cut the reply off inside of its last text, where a lenient parser still finds every key."""
    text = written(value)
    at = text.rfind('"')
    start = text.rfind('"', 0, at) if at > 0 else -1
    place = start + 1 + max(0, (at - start - 1) // 2) if 0 <= start < at else len(text) // 2
    return ScriptedReply("cut off inside of a text", text[: max(1, place)], finish="length")


def _broken_stream(value: Any, _other: Any, _target: Target) -> ScriptedReply:
    return ScriptedReply("stream that breaks off", written(value)[:-1], finish="")


def _broken_late(value: Any, _other: Any, _target: Target) -> ScriptedReply:
    return ScriptedReply("stream that breaks off after the whole text", written(value), finish="")


def _refusal(_value: Any, _other: Any, _target: Target) -> ScriptedReply:
    return ScriptedReply("refusal", DECLINED, finish="refusal")


def _filtered(value: Any, _other: Any, _target: Target) -> ScriptedReply:
    text = written(value)
    return ScriptedReply("withheld by a filter", text[: len(text) // 2], finish="filter")


def _text(how: str, change: Callable[[str, Any], str], *, is_meant: bool = False) -> Fault:
    def made(value: Any, _other: Any, _target: Target) -> ScriptedReply:
        return ScriptedReply(how, change(written(value), value), meant=written(value) if is_meant else "")

    return made


def _think(value: Any, other: Any, _target: Target) -> ScriptedReply:
    thought = f"<think>\nPerhaps {written(other)}? No.\n</think>\n"
    return ScriptedReply("thoughts before the value", thought + written(value), meant=written(value))


def _think_beside(value: Any, other: Any, _target: Target) -> ScriptedReply:
    return ScriptedReply("thoughts beside the value", written(value), thinking=f"Perhaps {written(other)}? No.")


def _think_only(_value: Any, other: Any, _target: Target) -> ScriptedReply:
    return ScriptedReply("thoughts and no value", f"<think>\nPerhaps {written(other)}? No.\n</think>\n")


def _two(value: Any, other: Any, _target: Target) -> ScriptedReply:
    return ScriptedReply("two values", f"{written(value)}\n{written(other)}")


def _twice(text: str, value: Any) -> str:
    """Repeat the first key with another value, of the same type if possible."""
    if not isinstance(value, dict) or not value:
        return '{"a": 1, "a": 2}'
    key = next(iter(value))
    return f"{text[:-1]}, {written(key)}: {written(_another(value[key]))}}}"


def _another(value: Any) -> Any:
    """Return another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return value + "a"
    return [*value, 1] if isinstance(value, list) else {"other": 1}


def _wrong(_text: str, value: Any) -> str:
    """Give the first member a value of another type."""
    if isinstance(value, dict) and value:
        key = next(iter(value))
        return written({**value, key: [[value[key]]]})
    return written([[value]])


def _all_wrong(_text: str, value: Any) -> str:
    if isinstance(value, dict) and value:
        return written({key: [[v]] for key, v in value.items()})
    return written([[value]])


def _without(_text: str, value: Any) -> str:
    return written(dict(list(value.items())[:-1])) if isinstance(value, dict) and value else "{}"


def _bare(value: Any, _other: Any, target: Target) -> ScriptedReply:
    """Reply with required members only."""
    if isinstance(value, dict):
        required = _required(target)
        return ScriptedReply("only what is required", written({k: v for k, v in value.items() if k in required}))
    return ScriptedReply("nothing in it", "{}")


def _null(_text: str, value: Any) -> str:
    if isinstance(value, dict) and value:
        return written({**value, next(iter(value)): None})
    return "null"


def _schema(_value: Any, _other: Any, target: Target) -> ScriptedReply:
    return ScriptedReply("the schema itself", json.dumps(target.schema))


def _near_miss(value: Any, _other: Any, target: Target) -> ScriptedReply:
    """Put one member out of bounds, else give it another type."""
    found = spoiled(value, target)
    return ScriptedReply(NEAR_MISS, found[0].text if found else _wrong("", value))


def _program(_text: str, value: Any) -> str:
    """Put a Python program in place of the first member; it reports when it is run."""
    if not isinstance(value, dict) or not value:
        return PROGRAM
    first = next(iter(value))
    return "{" + ", ".join(f"{written(k)}: {PROGRAM if k == first else written(v)}" for k, v in value.items()) + "}"


def _error(name: str) -> Fault:
    return lambda _value, _other, _target: ScriptedReply(name, error=name)


def _tool_error(name: str) -> Fault:
    return lambda value, _other, _target: ScriptedReply(name, written(value), error=name)


#: Faults by name, the simplest first.
FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        "empty": _text("empty", lambda *_: ""),
        "blank": _text("white space alone", lambda *_: "\n" * 20_000),
        "refusal": _refusal,
        "filtered": _filtered,
        "cut off": _cut,
        "cut off late": _cut_late,
        "cut off in a text": _cut_in_text,
        "broken stream": _broken_stream,
        "broken stream late": _broken_late,
        "null": _text("null", lambda *_: "null"),
        "wrong type": _text("wrong type", _wrong),
        "all wrong": _text("every member of the wrong type", _all_wrong),
        "missing key": _text("missing key", _without),
        "bare": _bare,
        "null member": _text("null for a member", _null),
        "extra key": _text(
            "extra key", lambda _, v: written({**v, "an extra key": 1}) if isinstance(v, dict) else written([v])
        ),
        "duplicate key": _text("the same key twice", _twice),
        "declined in words": _text("declined in words", lambda *_: f"I'm sorry. {DECLINED}"),
        "in a list": _text("in a list", lambda _, v: written([v])),
        "in a text": _text("JSON inside of a text", lambda t, _: written(t)),
        "in an object": _text("in an object", lambda _, v: written({"result": v})),
        "fences": _text("in a code fence", lambda t, _: f"```json\n{t}\n```", is_meant=True),
        "prose": _text("with prose around", lambda t, _: f"Sure! Here you are: {t} Anything else?", is_meant=True),
        "byte order mark": _text("with a byte order mark", lambda t, _: f"\ufeff{t}", is_meant=True),
        "spaced": _text("with white space around", lambda t, _: f"\n\n  {t}\n\n"),
        "thinking": _think,
        "thinking beside": _think_beside,
        "thinking only": _think_only,
        "two values": _two,
        "not JSON": _text("Python's repr", lambda _, v: repr(v), is_meant=True),
        "NaN": _text("NaN for a member", lambda _, v: _with_nan(v)),
        "deep": _text("nested twenty thousand deep", lambda *_: "[" * 20_000),
        "other order": _text("its keys in another order", lambda _, v: written(_reversed(v))),
        "the schema": _schema,
        "program": _text("a program in place of a value", _program),
        NEAR_MISS: _near_miss,
        **{name: (_tool_error if name in TOOL_ERRORS else _error)(name) for name in ERRORS},
    }
)


def _reversed(value: Any) -> Any:
    return dict(reversed(value.items())) if isinstance(value, dict) else value


def _with_nan(value: Any) -> str:
    """Put NaN in place of the first number, else of the first member."""
    if not isinstance(value, dict) or not value:
        return "NaN"
    numbers = [k for k, v in value.items() if isinstance(v, int | float) and not isinstance(v, bool)]
    key = numbers[0] if numbers else next(iter(value))
    return "{" + ", ".join(f"{written(k)}: {'NaN' if k == key else written(v)}" for k, v in value.items()) + "}"


# ---- Special valid values --------------------------------------------------------------------------------------------

#: Texts that change under stripping, case folding, normalisation and the like.
TELLING = (
    *("naïve 文字 🙂", "ﬁance\u0301", "a\u2028b", '"quoted" \\ back', "  spaced  ", "MiXeD", "1e5", "null", "0012"),
    *("```json\n{}\n```", "<b>bold</b>", "so on " * 200 + "end"),
    *("it's True, or None", "see https://a.example/b#c", "a {b}, [c,] }"),  # looks like a fault to a repairer of JSON
)
LENGTHS = (40, 10, 5, 3, 2)  #: Of lists that show where only some items are used; the first that may be is taken.


def telling(value: Any, target: Target) -> list[Any]:
    """Return valid values like this one with members that reveal changes: big numbers, odd texts, many items."""
    found = []
    members = value.items() if isinstance(value, dict) else ()
    changed = [_filled(value, functools.partial(_number_for, number)) for number in (BIG, HUGE, -HUGE)]
    for key, member in members:
        if isinstance(member, int | float) and not isinstance(member, bool):
            changed.append({**value, key: DECIMAL})
        elif isinstance(member, list):
            for length in LENGTHS:
                lists = [{**value, key: many} for many in _many(member or ["item"], length)]
                possible = [one for one in lists if not target.check(written(one))[1]]
                changed += possible
                if possible:
                    break
        elif isinstance(member, str):
            changed += [{**value, key: text} for text in TIMES]
        elif isinstance(member, dict):
            changed.append({**value, key: {"MiXeD": next(iter(member.values()), 1)}})
    changed += [_filled(value, functools.partial(_text_for, text)) for text in TELLING]
    for one in changed:
        if one != value and not target.check(written(one))[1] and one not in found:
            found.append(one)
    return found


def _many(items: list[Any], length: int) -> list[list[Any]]:
    """Return long lists like this one: of distinct items, of equal ones, and of objects that differ in one member."""
    first = items[0]
    lists: list[list[Any]] = [[first] * length]
    if isinstance(first, str):
        lists.append([f"{first}{number}" for number in range(length, 0, -1)])
    elif isinstance(first, int) and not isinstance(first, bool):
        lists.append([first + number for number in range(length, 0, -1)])
    elif isinstance(first, dict) and first:
        last = list(first)[-1]
        lists.append([first, *[{**first, last: _another(first[last])}] * (length - 1)])
    return lists


def _number_for(number: int, value: Any) -> Any:
    return number if isinstance(value, int) and not isinstance(value, bool) else value


def _text_for(text: str, value: Any) -> Any:
    return text if isinstance(value, str) else value


#: Replacements of numbers and texts that break most bounds.
_NUMBERS = (-1, 0, 10**9, -(10**9), 0.5)
_TEXTS = ("", "x" * 300, "?")


def spoiled(value: Any, target: Target) -> list[ScriptedReply]:
    """Return invalid replies like a valid one, each with one member out of bounds."""
    if not isinstance(value, dict):
        return []
    found = []
    for key, member in value.items():
        is_number = isinstance(member, int | float) and not isinstance(member, bool)
        others: tuple[Any, ...] = _NUMBERS if is_number else _TEXTS if isinstance(member, str) else ()
        if isinstance(member, list):
            others = ([], member * 50)
        for other in others:
            text = written({**value, key: other})
            if target.check(text)[1]:
                found.append(ScriptedReply(f"{key} out of bounds", text))
                break
    return found


def _filled(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(v, change) for key, v in value.items()}
    if isinstance(value, list):
        return [_filled(v, change) for v in value]
    return change(value)


# ---- Strategies ------------------------------------------------------------------------------------------------------


def of_text(text: Text) -> ScriptedReply:
    """Return the reply of a text of `guard.testing.texts`."""
    how = ", ".join(text.how) or "as it is"
    meant = written(text.value) if text.outcome == "repairable" else ""
    return ScriptedReply(f"{text.outcome} ({how})", text.text, finish=text.finish, meant=meant)


def of_miss(miss: NearMiss) -> ScriptedReply:
    """Return the reply of a near miss of `guard.testing.near_misses`."""
    return ScriptedReply(f"near miss of {miss.keyword} at {miss.at or '(root)'}", written(miss.value))


class Palette:
    """The strategies of replies for one target."""

    def __init__(self, target: Target, wanted: Any, options: Mapping[str, Any] = MappingProxyType({})) -> None:
        self.target = target
        self.values: SearchStrategy[Any] = values(wanted, **options)
        options = {name: option for name, option in options.items() if name != "sources"}
        #: Near misses, where there are any.
        self.misses: SearchStrategy[ScriptedReply] | None = _possible(
            lambda: near_misses(wanted, **options).map(of_miss)
        )
        self._texts = _possible(lambda: texts(wanted, **options))

    def replies(self, faults: tuple[str, ...] = tuple(FAULTS)) -> SearchStrategy[ScriptedReply]:
        """Return a strategy of replies: valid, or with a fault; with all faults allowed, texts as models write too."""
        choices: list[SearchStrategy[ScriptedReply]] = [self.values.map(valid)]
        if NEAR_MISS in faults and self.misses is not None:
            choices.append(self.misses)
        if len(faults) == len(FAULTS) and self._texts is not None:
            choices.append(self._texts.map(of_text))
        if faults:
            choices.append(self.faulty(faults))
        return st.one_of(choices)

    def faulty(self, faults: tuple[str, ...]) -> SearchStrategy[ScriptedReply]:
        """Return a strategy of replies with one of the given faults."""
        target = self.target

        @st.composite
        def drawn(draw: DrawFn) -> ScriptedReply:
            name = draw(st.sampled_from(faults))
            return FAULTS[name](draw(self.values), draw(self.values), target)

        return drawn()

    def keep_misses(self, misses: list[ScriptedReply]) -> None:
        """Use only these near misses from now on, since drawing new ones is slow."""
        self.misses = st.sampled_from(misses)


def _possible(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except ValueError:
        return None


def _required(target: Target) -> tuple[str, ...]:
    schema = target.schema
    required = schema.get("required") if isinstance(schema, Mapping) else None
    return tuple(required) if isinstance(required, list) else ()

"""Texts: values as models write them, each with its expected outcome.

A text is made of a value by named ways of writing. Some are still JSON, some are slips that `guard.output.repair`
mends, some are beyond repair. The outcome follows from how the text was made, not from parsing it. Where a way of
writing would be ambiguous, for lack of a bracket or because of a string's content, the value is written plainly.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from guard.testing.strategies.near_misses import UNITS, Misses
from guard.testing.strategies.values import Units, values

#: The outcomes of a text: "valid", JSON of a valid value; "repairable", which `guard.output.repair` mends to one;
#: "invalid", a whole answer that must not be accepted; "truncated", the beginning of one that was cut off.
Outcome = Literal["valid", "repairable", "invalid", "truncated"]


@dataclass(frozen=True)
class Text:
    """A text that a model may write for a schema."""

    text: str
    outcome: Outcome
    value: Any  # the value of a valid or repairable text, as json.loads gives it; else None
    how: tuple[str, ...]  # the ways of writing: ("fence", "trailing comma"); () for the output of json.dumps

    @property
    def finish(self) -> str:
        """The finish reason: "length" where the text was cut off, else "stop"."""
        return "length" if self.outcome == "truncated" else "stop"


def texts(wanted: Any, **options: Any) -> SearchStrategy[Text]:
    """Return a strategy of texts that models write for a schema or type, good and bad.

    About half are valid or repairable; the others are near misses, refusals, cut off, or broken beyond repair. `how`
    names the ways: those of STYLES, SLIPS, WRAPPERS and FAILURES, "missing bracket", "cut off" and "near miss". A text
    shrinks to the output of json.dumps for the smallest value. `options` are those of `guard.compile`. Raises as
    `values` does.
    """
    drawn_values = values(wanted, **options)

    @functools.cache
    def misses() -> Misses | None:
        found = Misses(wanted, options)
        return found if found.first is not None else None

    choices = Units(UNITS)

    @st.composite
    def written(draw: DrawFn) -> Text:
        kind = draw(st.sampled_from(("good", "good", "cut off", "near miss", "failure")))
        if kind == "near miss" and (found := misses()):
            at = draw(st.integers(0, len(found.places) - 1))
            miss = found.draw(at, draw(choices))
            return Text(json.dumps(miss.value), "invalid", None, ("near miss", miss.keyword))
        value = draw(drawn_values)
        if kind == "cut off":
            text = json.dumps(value, indent=draw(st.sampled_from((None, 2))))
            if text[0] in '{["' and len(text) > 1:
                return Text(text[: draw(st.integers(1, len(text) - 1))], "truncated", None, ("cut off",))
        elif kind == "failure":
            made = [failed for make in FAILURES.values() if (failed := make(value)) is not None]
            return draw(st.sampled_from(made))
        return _good(draw, value)

    return written()


# ---- good ones -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Style:
    """How a value is written: first the freedom that JSON allows, then slips, at most one kind in a text."""

    indent: int = -1  # spaces for each level; -1: all on one line
    compact: bool = False
    backwards: bool = False  # members from the last to the first
    escaped: bool = False  # whether all characters beyond ASCII, and some of ASCII, are escaped
    exponents: bool = False  # 5e-1 for 0.5
    quote: str = '"'
    bare_keys: bool = False
    python: bool = False  # True, False, None
    trailing_comma: bool = False
    comments: bool = False
    raw_newlines: bool = False  # raw control characters inside of strings


#: Ways of writing that are JSON.
STYLES: dict[str, Callable[[Style], Style]] = {
    "indented": lambda style: replace(style, indent=2),
    "compact": lambda style: replace(style, compact=True),
    "key order": lambda style: replace(style, backwards=True),
    "escapes": lambda style: replace(style, escaped=True),
    "exponents": lambda style: replace(style, exponents=True),
}
#: Slips, each with the values for which it is unambiguous.
SLIPS: dict[str, tuple[Callable[[Style], Style], Callable[[Any], bool]]] = {
    "trailing comma": (lambda s: replace(s, trailing_comma=True), lambda v: isinstance(v, dict | list) and bool(v)),
    "single quotes": (
        lambda s: replace(s, quote="'", escaped=False),
        lambda v: isinstance(v, dict | list) and all(map(_is_plain, _strings(v))) and any(True for _ in _strings(v)),
    ),
    "bare keys": (
        lambda s: replace(s, bare_keys=True),
        lambda v: isinstance(v, dict | list) and any(True for _ in _keys(v)) and all(map(_is_name, _keys(v))),
    ),
    "literals": (
        lambda s: replace(s, python=True),
        lambda v: isinstance(v, dict | list) and any(x is None or isinstance(x, bool) for x in _scalars(v)),
    ),
    "comments": (
        lambda s: replace(s, comments=True, indent=2, compact=False),
        lambda v: isinstance(v, dict | list) and bool(v),
    ),
    "raw control characters": (
        lambda s: replace(s, raw_newlines=True, escaped=False),
        lambda v: isinstance(v, dict | list) and "\n" in "".join(_strings(v)) and all(map(_is_quoteless, _strings(v))),
    ),
}
_NAME = re.compile(r"(?:[A-Za-z_])[A-Za-z0-9_]*")
_WORDS = frozenset({"true", "false", "null", "True", "False", "None", "NaN", "Infinity"})


def _is_name(key: str) -> bool:
    return _NAME.fullmatch(key) is not None and key not in _WORDS


def _is_plain(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9 _-]*", text) is not None


def _is_quoteless(text: str) -> bool:
    return re.fullmatch(r"[^\"'\\`“”„‟‘’‚‛\x00-\x09\x0b-\x1f]*", text) is not None


def _good(draw: DrawFn, value: Any) -> Text:
    how: list[str] = []
    style = Style()
    for name in draw(st.lists(st.sampled_from(sorted(STYLES)), max_size=2, unique=True)):
        style = STYLES[name](style)
        how.append(name)
    outcome: Outcome = "valid"
    slips = [name for name, (_, fits) in SLIPS.items() if fits(value)]
    slip = draw(st.sampled_from([None, None, *slips]))
    if slip is not None:
        style = SLIPS[slip][0](style)
        how.append(slip)
        outcome = "repairable"
    text = write(value, style)
    if slip is None and _closes_well(text, value) and draw(st.integers(0, 3)) == 3:
        return Text(text[:-1].rstrip(), "repairable", value, (*how, "missing bracket"))
    wrappers = [name for name, (_, fits) in WRAPPERS.items() if fits(value, text)]
    wrapper = draw(st.sampled_from([None, None, *wrappers]))
    if wrapper is not None:
        text = WRAPPERS[wrapper][0](text)
        how.append(wrapper)
        if wrapper != "white space around":
            outcome = "repairable"
    return Text(text, outcome, value, tuple(how))


#: Texts around a value, with the values and texts for which they are unambiguous.
WRAPPERS: dict[str, tuple[Callable[[str], str], Callable[[Any, str], bool]]] = {
    "white space around": (lambda text: f"\n  {text}\n", lambda _value, _text: True),
    "fence": (lambda text: f"```json\n{text}\n```", lambda _value, text: "```" not in text),
    "bare fence": (lambda text: f"```\n{text}\n```", lambda _value, text: "```" not in text),
    "prose and fence": (
        lambda text: f"Here is the answer:\n\n```json\n{text}\n```\n\nLet me know if you need anything else.",
        lambda _value, text: "```" not in text,
    ),
    "prose": (
        lambda text: f"Sure! Here is the answer:\n\n{text}\n\nLet me know if you need anything else.",
        lambda value, text: isinstance(value, dict) and bool(value) and "```" not in text,
    ),
    "byte order mark": (lambda text: "\ufeff" + text, lambda _value, _text: True),
}


def _closes_well(text: str, value: Any) -> bool:
    """Whether the last bracket may be missing: what precedes it is complete, and not a number, which could go on."""
    return isinstance(value, dict | list) and bool(value) and text[:-1].rstrip()[-1:] in '"}]el'


# ---- bad ones --------------------------------------------------------------------------------------------------------


def _failed(text: str, how: str) -> Text:
    return Text(text, "invalid", None, (how,))


def _twice(value: Any) -> Text | None:
    if not isinstance(value, dict) or not value:
        return None
    name, member = next(iter(value.items()))
    members = ", ".join(f"{json.dumps(key)}: {json.dumps(item)}" for key, item in [*value.items(), (name, member)])
    return _failed("{" + members + "}", "key twice")


def _without_value(value: Any) -> Text | None:
    if not isinstance(value, dict) or not value:
        return None
    *rest, last = value
    members = [f"{json.dumps(key)}: {json.dumps(value[key])}" for key in rest]
    return _failed("{" + ", ".join([*members, f"{json.dumps(last)}: "]) + "}", "missing value")


def _two(value: Any) -> Text | None:
    if not isinstance(value, dict) or not value:
        return None
    name = next(iter(value))
    other = {key: item for key, item in value.items() if key != name}
    return _failed(f"{json.dumps(value)}\n\nor, if you prefer:\n\n{json.dumps(other)}", "two answers")


#: Unacceptable answers made of a valid value; None where the value does not allow it.
FAILURES: dict[str, Callable[[Any], Text | None]] = {
    "empty": lambda _value: _failed("", "empty"),
    "blank": lambda _value: _failed(" \n", "blank"),
    "refusal": lambda _value: _failed("I'm sorry, but I can't help with that.", "refusal"),
    "prose": lambda _value: _failed("The answer depends on what you are looking for.", "prose"),
    "html": lambda _value: _failed("<html><body><h1>502 Bad Gateway</h1></body></html>", "html"),
    "key twice": _twice,
    "missing value": _without_value,
    "two answers": _two,
    "open string": lambda value: (
        _failed(json.dumps(value, ensure_ascii=False)[:-1], "open string")
        if isinstance(value, str) and value and "\\" not in json.dumps(value, ensure_ascii=False)
        else None
    ),
}


# ---- writing ---------------------------------------------------------------------------------------------------------


def write(value: Any, style: Style) -> str:
    """Return a value's text in a style."""
    return _write(value, style, 0)


def _write(value: Any, style: Style, depth: int) -> str:
    if isinstance(value, dict):
        members = [(_key(key, style), _write(item, style, depth + 1)) for key, item in value.items()]
        if style.backwards:
            members.reverse()
        colon = ":" if style.compact else ": "
        return _listed("{}", [key + colon + item for key, item in members], style, depth)
    if isinstance(value, list):
        return _listed("[]", [_write(item, style, depth + 1) for item in value], style, depth)
    if isinstance(value, str):
        return _string(value, style)
    if style.python and (value is None or isinstance(value, bool)):
        return repr(value)
    if style.exponents and isinstance(value, float):
        return _exponent(value)
    return json.dumps(value)


def _listed(brackets: str, parts: Sequence[str], style: Style, depth: int) -> str:
    if not parts:
        return brackets
    comma = "," if style.trailing_comma else ""
    if style.indent < 0:
        return brackets[0] + ("," if style.compact else ", ").join(parts) + comma + brackets[1]
    line = "\n" + " " * style.indent * (depth + 1)
    note = f"{line}// as asked" if style.comments else ""
    end = "\n" + " " * style.indent * depth
    return brackets[0] + note + line + ("," + line).join(parts) + comma + end + brackets[1]


def _key(key: str, style: Style) -> str:
    return key if style.bare_keys else _string(key, style)


def _string(text: str, style: Style) -> str:
    if style.raw_newlines:
        return f'"{text}"'
    inside = json.dumps(text, ensure_ascii=style.escaped)[1:-1]
    if style.escaped:
        inside = re.sub(r"(?<!\\)/", r"\\/", inside)
        inside = inside if "\\" in inside else inside.replace("a", "\\u0061")
    return style.quote + inside + style.quote


def _exponent(number: float) -> str:
    text = json.dumps(number)
    other = f"{number:.17e}"
    short = re.sub(r"\.?0*e", "e", other)
    return short if float(short) == number else text


# ---- what is in a value ----------------------------------------------------------------------------------------------


def _scalars(value: Any) -> list[Any]:
    """Return every scalar in a value, keys not."""
    if isinstance(value, dict):
        return [scalar for item in value.values() for scalar in _scalars(item)]
    if isinstance(value, list):
        return [scalar for item in value for scalar in _scalars(item)]
    return [value]


def _keys(value: Any) -> list[str]:
    """Return every key in a value."""
    if isinstance(value, dict):
        return [*value, *(key for item in value.values() for key in _keys(item))]
    return [key for item in value for key in _keys(item)] if isinstance(value, list) else []


def _strings(value: Any) -> list[str]:
    """Return every key and every string in a value."""
    return [*_keys(value), *(scalar for scalar in _scalars(value) if isinstance(scalar, str))]

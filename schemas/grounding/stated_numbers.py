"""The numbers that a text states, each with its places.

Digits inside a date, a time, a code, a telephone number or an address are not numbers. A number in an ambiguous
notation has each of its values: 1.234 is also 1234, unless the locales rule that out, and 100 200 is also 100 and 200.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from decimal import Decimal

from guard.schemas.grounding.notations import SPACES, marks
from guard.schemas.grounding.stated_dates import Span, dates

MOST_DIGITS = 40  #: Most digits of a number; longer ones are not numbers.

_GROUPS, _POINTS = ",.'’٬" + SPACES, ".,٫"
_CURRENCY = (
    "(?:AED|AUD|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|HKD|HUF|IDR|ILS|INR|JPY|KRW|MXN|MYR|NOK|NZD|PHP|PLN|RON|SAR|SEK|SGD"
    "|THB|TRY|TWD|UAH|USD|ZAR)"
)
_UNIT = "(?:[KMGT]B|KG|KM|AM|PM)"
_NUMBER = re.compile(
    rf"(?:(?<!\w)|(?<={_CURRENCY}))[-+−]?"
    rf"(?:\d{{1,3}}(?:[{_GROUPS}]\d{{2,3}}){{0,9}}[{_GROUPS}]\d{{3}}(?:[{_POINTS}]\d+)?"
    rf"|\d+(?:[{_POINTS}]\d+)?|[{_POINTS}]\d+)"
    rf"(?!\d)(?:[eE][-+]?\d{{1,2}}(?!\w)|[{SPACES}]?[kK]\b)?"
)
#: What says around a number that it is below zero: -$45.25, ($45.25), (1,204) and 1.204,50-, but not (7).
_MONEY = rf"(?:{_CURRENCY}|[A-Z]{{0,3}}[$€£¥₹₩₺₽₪])"
_MINUS_BEFORE = re.compile(rf"[-−][{SPACES}]?{_MONEY}[{SPACES}]?\Z")
_BRACKET_BEFORE = re.compile(rf"\((?:{_MONEY}[{SPACES}]?)?\Z")
_BRACKET_BEHIND = re.compile(rf"(?:[{SPACES}]?{_MONEY})?\)")
_MINUS_BEHIND = re.compile(r"[-−](?![\w-])")
_BEFORE = 8  #: Most characters of these before a number.
#: A word with a colon before its number, without a space: Total:12.50, but not 14:30 and fe80:12:1. It is no code.
_LABEL = re.compile(r"(?<![\w.:/@#-])(?:[^\W\d_]+:|(?:No|Nr|Rs|Fr|Pos)\.)(?=\d+(?![\d:]))")
#: Texts whose digits are not numbers. Each is searched for separately, because they overlap.
_MARKED = tuple(
    map(
        re.compile,
        (
            rf"(?<!\w)(?!{_CURRENCY}-?\d)[^\W\d_]\w*(?:[-/.:#@][^\W_]+)+",  # A-17, host-3.example
            rf"(?<!\w)(?!{_CURRENCY}-\d)\d*[^\W\d_]\w*(?:[-:#@_]\w+)+",  # 2b-11
            r"(?<!\d)\d{1,2}:\d{2}(?::\d{2})?",  # times
            rf"(?<!\w)(?!{_CURRENCY}\d)[^\W\d_]{{2,}}\d+\w*",  # LS6, INV2026
            rf"\b\d+(?!(?:{_CURRENCY}|{_UNIT})\b)[A-Z]{{2,}}\b",  # 2AB
            r"(?<!\w)\w*\d[^\W\d_]{4,}\w*",  # 4chan
            r"\d[eE][-+]?\d{3,}",  # beyond all that is counted
            r"(?<!\d)\d+(?:-\w+)+",  # 12-34-AB
            r"(?<!\d)\d+(?:\.\d+){2,}(?!\d)",  # versions, addresses
            r"https?://\S+|(?<!\S)[^\s@]+@\S+|#\w+",
            r"(?<!\*)(?!(\*{1,3})\d[^*\n]{0,200}(?<=\S)\1(?![\w*]))\*+\d+",  # ****1234, but not **12**
        ),
    )
)
#: Telephone numbers: nine digits or more, or four pairs. Digits of different columns are none.
_TELEPHONE = re.compile(r"\+?\(?\d(?:(?: ?[-/()]{1,3} ?| )?\d){8,}|(?<!\d)\d\d(?:[ -]\d\d){3}(?!\d)")
#: What looks like a code or a telephone number, and is a number: one with groups of digits, a power of ten, digits
#: alone that begin with no zero, or one with words behind it: 12-month.
_NUMBER_ALL_THE_SAME = re.compile(
    r"[-+−]?\d{1,3}(?:[ .]\d{3})+|\d+[eE][-+]?\d{1,2}|[1-9]\d*|\d+(?:-[^\W\d_][^\W\d_A-ZÀ-Þ]{2,})+"
)


def numbers(text: str, locales: tuple[str, ...] = ()) -> dict[Decimal, list[Span]]:
    """Return the numbers of a text, each with its places (start, end) in order."""
    text = _LABEL.sub(lambda label: label[0][:-1] + " ", text)
    taken = sorted(_taken(text, locales))
    out: dict[Decimal, list[Span]] = {}
    at = 0
    furthest = 0
    for match in _NUMBER.finditer(text):
        begin, end = match.span()
        while at < len(taken) and taken[at][0] <= begin:
            furthest = max(furthest, taken[at][1])
            at += 1
        if end <= furthest:
            continue
        for value in _values(match.group(), locales):
            out.setdefault(value, []).append((begin, end))
        if (place := _below_zero(text, begin, end)) is not None:
            for value in filter(None, _values(match.group(), locales)):
                out.setdefault(value.copy_negate(), []).append(place)
    return out


def _below_zero(text: str, begin: int, end: int) -> Span | None:
    """Return the place of a number with the signs around it that say that it is below zero; None where none do."""
    if text[begin] in "-+−":
        return None
    before = max(0, begin - _BEFORE)
    if (minus := _MINUS_BEFORE.search(text, before, begin)) is not None:
        return minus.start(), end
    opened, closed = _BRACKET_BEFORE.search(text, before, begin), _BRACKET_BEHIND.match(text, end)
    has_mark = not text[begin:end].isdecimal()
    if opened is not None and closed is not None and (has_mark or closed.end() - opened.start() > end - begin + 2):
        return opened.start(), closed.end()
    return (begin, end + 1) if has_mark and _MINUS_BEHIND.match(text, end) else None


def _taken(text: str, locales: tuple[str, ...]) -> Iterator[Span]:
    spans = dates(text, locales).spans
    yield from spans
    undated = _without(text, spans)  # a number behind a date is not the rest of a telephone number
    for pattern in (*_MARKED, _TELEPHONE):
        for match in pattern.finditer(undated if pattern is _TELEPHONE else text):
            if _NUMBER_ALL_THE_SAME.fullmatch(match.group()) is None and "=" not in match.group():
                yield match.span()


def _without(text: str, spans: list[Span]) -> str:
    """Return a text with line feeds in place of its parts in `spans`, which are in order."""
    parts, at = [], 0
    for start, end in spans:
        if end > at:
            parts += [text[at:start], "\n" * (end - max(at, start))]
            at = end
    return "".join([*parts, text[at:]])


def _values(written: str, locales: tuple[str, ...]) -> set[Decimal]:
    """Return the values that a written number may have; one with a minus, which may be a dash, also without it."""
    digits, power = _scaled(written.replace("−", "-"))
    bare = digits.lstrip("+-")
    if len(bare) > MOST_DIGITS:
        return set()
    first, *others = bare.split()  # spaces may be between groups of digits, or between numbers
    signed = _readings(bare, locales, power)
    if signed and others and not others[-1].isdigit():  # 1 204,50 is one number
        others = []
    else:
        signed |= _readings(first, locales, 0 if others else power)
    found = signed | {value.copy_negate() for value in signed} if digits.startswith("-") else signed
    for part in others[:-1]:
        found |= _readings(part, locales, 0)
    return found | _readings(others[-1], locales, power) if others else found


def _scaled(written: str) -> tuple[str, int]:
    """Return a written number without what stands for a power of ten, and the power."""
    if written[-1] in "kK":
        return written[:-1].rstrip(), 3
    digits, mark, power = written.lower().partition("e")
    return digits, int(power) if mark else 0


def _readings(bare: str, locales: tuple[str, ...], power: int) -> set[Decimal]:
    pairs = marks(locales)
    return {_read(bare, decimal, power) for decimal, groups in pairs if _notation(decimal, groups).fullmatch(bare)}


@functools.lru_cache(64)
def _notation(decimal: str, groups: str) -> re.Pattern[str]:
    point = re.escape(decimal)
    grouped = rf"\d{{1,3}}(?:(?P<g>[{re.escape(groups)}])\d{{2,3}}(?:(?P=g)\d{{2,3}})*)(?<=\d{{3}})"
    return re.compile(rf"(?:{grouped}|\d+)(?:{point}\d+)?|{point}\d+")


def _read(bare: str, decimal: str, power: int) -> Decimal:
    """Return the value of a number; exactly, as arithmetic of decimals is not."""
    whole, _, fraction = bare.partition(decimal)
    digits = re.sub(r"\D", "", whole)
    return Decimal(f"{digits}.{fraction}e{power}")

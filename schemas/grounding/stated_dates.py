"""The dates that a text states, each with its places.

All readings of a date count: 04/11/1948 is in April and in November. Years of two digits are from 1940 to 2039. A date
without a year is combined with each year that the text states.
"""

from __future__ import annotations

import datetime
import functools
import itertools
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias, TypeVar

from guard.schemas.grounding.keyword import MOST_PLACES
from guard.schemas.grounding.notations import months

Span = tuple[int, int]
Spans: TypeAlias = "list[Span]"
_Key = TypeVar("_Key", bound=Hashable)

#: Dates in digits, with the names of their parts: year, month and day.
_NUMERIC = (
    r"(?P<y>\d{4})(?P<mark>[-/.])(?P<m>\d{1,2})(?P=mark)(?P<d>\d{1,2})(?!\d)",
    r"(?P<d>\d{1,2})\.\s?(?P<m>\d{1,2})\.\s?(?P<y>\d{4}|\d{2})(?!\d)",
    r"(?P<d>\d{1,2})(?P<mark>[-/])(?P<m>\d{1,2})(?P=mark)(?P<y>\d{4}|\d{2})(?!\d)",
    r"(?P<m>\d{1,2})(?P<mark>[-/])(?P<d>\d{1,2})(?P=mark)(?P<y>\d{4}|\d{2})(?!\d)",
    r"(?P<y>(?:19|20)\d{2})(?P<m>\d{2})(?P<d>\d{2})(?=T\d|\b)",
    r"(?P<y>\d{4})\.\s(?P<m>\d{1,2})\.\s(?P<d>\d{1,2})(?!\d)",  # 2026. 05. 14., as in Hungary and Korea
    r"(?P<y>\d{4})\s?[年년]\s?(?P<m>\d{1,2})\s?[月월]\s?(?P<d>\d{1,2})\s?[日일]",
)
_APART = r"(?<![\d.,/-])"  #: What is not before digits that begin a date.
_APART_NAMED = r"(?<![\w.,/-])"  #: The same where the month has a name.
#: Between the dates of a range, where no space is; the first of them may have a time of day.
_UNTIL = re.compile(r"(?:T[\d:.]+Z?)?(?:--?|/)")
_YEAR = re.compile(r"(?<![\w.,])((?:19|20)\d{2})(?!\d|[.,]\d)")
_PIVOT = 40  #: Years of two digits below this are from 2000 on, others from 1900 on.


class StatedDates(Mapping[str, Spans]):
    """The dates of a text as YYYY-MM-DD, each with its places (start, end) in order, MOST_PLACES at most.

    The places of a day without a year are kept once, for all years, so that this takes O(characters + days * years).
    """

    def __init__(self, text: str, locales: tuple[str, ...]) -> None:
        self._whole = _by_key(_whole(text, locales))
        years = sorted({match[1] for match in _YEAR.finditer(text)})
        self._yearless: dict[str, Spans] = {}
        for (month, day), spans in (_by_key(_days(text, locales)) if years else {}).items():
            dates = (_date(year, month, day) for year in years)
            self._yearless.update((date, spans) for date in dates if date is not None)

    def __getitem__(self, date: str) -> Spans:
        """Return the places of a date."""
        if date not in self._whole and date not in self._yearless:
            raise KeyError(date)
        whole, yearless = self._whole.get(date, []), self._yearless.get(date, [])
        return sorted({*whole[:MOST_PLACES], *yearless[:MOST_PLACES]})[:MOST_PLACES]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the dates."""
        return iter(self._whole.keys() | self._yearless.keys())

    def __len__(self) -> int:
        """Return the number of dates."""
        return len(self._whole.keys() | self._yearless.keys())

    @property
    def spans(self) -> Spans:
        """All places of dates, in order."""
        shared = {id(spans): spans for spans in self._yearless.values()}
        return sorted({*itertools.chain(*self._whole.values(), *shared.values())})


def dates(text: str, locales: tuple[str, ...] = ()) -> StatedDates:
    """Return the dates of a text."""
    return StatedDates(text, locales)


def _by_key(found: Iterable[tuple[_Key, Span]]) -> dict[_Key, Spans]:
    out: dict[_Key, set[Span]] = {}
    for key, span in found:
        out.setdefault(key, set()).add(span)
    return {key: sorted(spans) for key, spans in out.items()}


def _whole(text: str, locales: tuple[str, ...]) -> Iterator[tuple[str, Span]]:
    """Yield the dates that are said with their year, each with its place."""
    forms = _notations(locales).with_year
    ends: set[int] = set()
    for apart, _ in forms:
        for match in apart.finditer(text):
            yield from _read(match, locales)
            ends.add(match.end())
    left = sorted(ends)
    while left:  # what ends there may be the first date of a range
        if (until := _UNTIL.match(text, left.pop())) is None:
            continue
        for _, form in forms:
            if (second := form.match(text, until.end())) is not None:
                yield from _read(second, locales)
                left += {second.end()} - ends
                ends.add(second.end())


def _read(match: re.Match[str], locales: tuple[str, ...]) -> Iterator[tuple[str, Span]]:
    """Yield the dates of one place with a year: two where it is said from which day to which."""
    for month, day in _monthly(match, locales):
        if (date := _date(match["y"], month, day)) is not None:
            yield date, match.span()


def _days(text: str, locales: tuple[str, ...]) -> Iterator[tuple[tuple[int, int], Span]]:
    """Yield the months and days that are said without a year, each with its place."""
    for form in _notations(locales).without_year:
        for match in form.finditer(text):
            for month_and_day in _monthly(match, locales):
                yield month_and_day, match.span()


def _monthly(match: re.Match[str], locales: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    parts, month = match.groupdict(), match["m"]
    number = int(month) if month.isdecimal() else _notations(locales).months[_folded(month)]
    for name in ("from", "d"):
        if parts.get(name) is not None:
            yield number, int(parts[name])


class _Notations(NamedTuple):
    """How dates are written by some locales."""

    with_year: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...]  # each apart from a code, and anywhere
    without_year: tuple[re.Pattern[str], ...]
    months: dict[str, int]  # by their names, folded


@functools.lru_cache(64)
def _notations(locales: tuple[str, ...]) -> _Notations:
    names = months(locales)
    month = "(?P<m>" + "|".join(sorted(map(re.escape, names), key=len, reverse=True)) + r")\b\.?"
    day, year = r"(?:(?P<from>\d{1,2})\.?[-–])?(?P<d>\d{1,2})", r"(?P<y>\d{4}|'?\d{2})(?![\d:])"
    before = rf"{day}(?:st|nd|rd|th|er|\.|º)?[\s-]+(?:of\s+|de\s+)?{month}"
    behind = rf"\b{month}\s+{day}(?:st|nd|rd|th)?(?![\w:])"
    with_year = (
        *((_APART, form) for form in _NUMERIC),
        (_APART_NAMED, rf"{before},?[\s-]+(?:de\s+)?{year}"),
        ("", rf"{behind},?\s+{year}"),
    )
    without_year = (
        rf"{_APART_NAMED}{before}(?!,?[\s-]+(?:de\s+)?\d{{2,4}}\b)",
        rf"{behind}(?!,?\s+\d{{4}})",
    )
    return _Notations(
        tuple((re.compile(apart + form, re.I), re.compile(form, re.I)) for apart, form in with_year),
        tuple(re.compile(form, re.I) for form in without_year),
        {_folded(name): number for name, number in names.items()},
    )


def _folded(name: str) -> str:
    """Return a name in a form that it shares with all that `re.I` takes for it: with İ, ı and ſ, too."""
    return name.lower().replace("i\u0307", "i").upper()


def _date(year: str, month: int, day: int) -> str | None:
    digits = year.lstrip("'")
    number = int(digits)
    if len(digits) == 2:
        number += 2000 if number < _PIVOT else 1900
    try:
        return datetime.date(number, month, day).isoformat()
    except ValueError:
        return None

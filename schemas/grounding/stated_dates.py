"""The dates that a text states, each with its places.

All readings of a date count: 04/11/1948 is in April and in November. Years of two digits are from 1940 to 2039. A date
without a year is combined with each year that the text states.
"""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Iterator

from guard.schemas.grounding.notations import months

#: Dates in digits, and the order of year (Y), month and day.
_NUMERIC = (
    (re.compile(r"(?<![\d.,/-])(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?![\d])"), ("y", "", "m", "d")),
    (re.compile(r"(?<![\d.,/-])(\d{1,2})\.\s?(\d{1,2})\.\s?(\d{4}|\d{2})(?!\d)"), ("d", "m", "y")),
    (re.compile(r"(?<![\d.,/-])(\d{1,2})([-/])(\d{1,2})\2(\d{4}|\d{2})(?!\d)"), ("d", "", "m", "y")),
    (re.compile(r"(?<![\d.,/-])(\d{1,2})([-/])(\d{1,2})\2(\d{4}|\d{2})(?!\d)"), ("m", "", "d", "y")),
    (re.compile(r"(?<![\d.,/-])((?:19|20)\d{2})(\d{2})(\d{2})(?=T\d|\b)"), ("y", "m", "d")),
)
_YEAR = re.compile(r"(?<![\w.,])((?:19|20)\d{2})(?!\d|[.,]\d)")
_PIVOT = 40  #: Years of two digits below this are from 2000 on, others from 1900 on.

Span = tuple[int, int]


def dates(text: str, locales: tuple[str, ...] = ()) -> dict[str, list[Span]]:
    """Return the dates of a text as YYYY-MM-DD, each with its places (start, end) in order."""
    out: dict[str, list[Span]] = {}
    for span, year, month, day in _found(text, locales):
        if (date := _date(year, month, day)) is not None:
            out.setdefault(date, []).append(span)
    return {date: sorted(set(spans)) for date, spans in out.items()}


def _found(text: str, locales: tuple[str, ...]) -> Iterator[tuple[Span, str, str, str]]:
    for pattern, order in _NUMERIC:
        for match in pattern.finditer(text):
            said = dict(zip(order, match.groups(), strict=True))
            yield match.span(), said["y"], said["m"], said["d"]
    named, yearless = _named(locales)
    names = months(locales)
    for pattern in named:
        for match in pattern.finditer(text):
            yield match.span(), match["y"], str(names[match["m"].lower()]), match["d"]
    years = sorted({match[1] for match in _YEAR.finditer(text)})
    for pattern in yearless:
        for match in pattern.finditer(text):
            for year in years:
                yield match.span(), year, str(names[match["m"].lower()]), match["d"]


@functools.lru_cache(64)
def _named(locales: tuple[str, ...]) -> tuple[tuple[re.Pattern[str], ...], tuple[re.Pattern[str], ...]]:
    """Return the patterns of dates with a named month: those with a year, and those without."""
    month = "(?P<m>" + "|".join(sorted(map(re.escape, months(locales)), key=len, reverse=True)) + r")\b\.?"
    day, year = r"(?P<d>\d{1,2})", r"(?P<y>\d{4}|'?\d{2})(?![\d:])"
    before = rf"(?<![\w.,/-]){day}(?:st|nd|rd|th|er|\.|º)?[\s-]+(?:of\s+|de\s+)?{month}"
    behind = rf"\b{month}\s+{day}(?:st|nd|rd|th)?(?![\w:])"
    whole = (rf"{before},?[\s-]+(?:de\s+)?{year}", rf"{behind},?\s+{year}")
    without = (rf"{before}(?!,?[\s-]+(?:de\s+)?\d{{2,4}}\b)", rf"{behind}(?!,?\s+\d{{4}})")
    return tuple(re.compile(p, re.I) for p in whole), tuple(re.compile(p, re.I) for p in without)


def _date(year: str, month: str, day: str) -> str | None:
    number = int(year.lstrip("'"))
    if number < 100:
        number += 2000 if number < _PIVOT else 1900
    try:
        return datetime.date(number, int(month), int(day)).isoformat()
    except ValueError:
        return None

"""Readers of dates and numbers: ours, dateparser's and Babel's, on lines of which it is known what they state.

`python -m benchmarks.notations` reads lines as they stand in letters, bills and lists. A line that states a date or a
number is told with all its readings; the others have what looks like one. Precision is the share of right values among
those that a reader finds, and a line is read where it finds a right one. dateparser is a peer, and no dependency:
`pip install dateparser`.
"""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import Callable, Sequence
from decimal import Decimal

from guard.schemas.grounding.stated_dates import dates
from guard.schemas.grounding.stated_numbers import numbers

Lines = Sequence[tuple[str, str]]
Reader = Callable[[str], set[str]]
LANGUAGES = ("en", "de", "fr", "es", "it", "nl", "pt")
DATES: Lines = (
    ("Invoice date: 2026-05-14", "2026-05-14"),
    ("Datum: 14.05.2026", "2026-05-14"),
    ("zahlbar bis 14. Mai 2026", "2026-05-14"),
    ("due May 14, 2026", "2026-05-14"),
    ("on the 14th of May 2026", "2026-05-14"),
    ("le 14 mai 2026", "2026-05-14"),
    ("le 1er août 2025", "2025-08-01"),
    ("el 3 de marzo de 2026", "2026-03-03"),
    ("il 3 marzo 2026", "2026-03-03"),
    ("op 3 maart 2026", "2026-03-03"),
    ("em 3 de março de 2026", "2026-03-03"),
    ("born 04/11/1948", "1948-04-11 1948-11-04"),
    ("14/05/26", "2026-05-14"),
    ("9. November 2025", "2025-11-09"),
    ("3 Feb 2026 at 10:30", "2026-02-03"),
    ("Feb. 3rd, 2026", "2026-02-03"),
    ("2026/05/14 18:42", "2026-05-14"),
    ("20260514T101500Z", "2026-05-14"),
    ("5-14-2026", "2026-05-14"),
    ("14 May '26", "2026-05-14"),
    ("Tuesday, 12 May 2026", "2026-05-12"),
    ("Freitag, 15.05.2026, 9 Uhr", "2026-05-15"),
    ("from 1 June 2026 to 30 June 2026", "2026-06-01 2026-06-30"),
    ("12-MAR-2026", "2026-03-12"),
    ("Order TH-559027", ""),
    ("Tel. 0113 555 0187", ""),
    ("+49 761 203 4567", ""),
    ("SUMME EUR 1.204,50", ""),
    ("Total 12.50", ""),
    ("2 x 13.50 27.00", ""),
    ("version 1.2.3", ""),
    ("host 10.0.0.1", ""),
    ("PP-77Q1-D", ""),
    ("79098 Freiburg", ""),
    ("LS6 2AB Leeds", ""),
    ("IBAN DE89 3704 0044 0532 0130 00", ""),
    ("may be late", ""),
    ("March along, please", ""),
    ("see you on Sunday", ""),
    ("in two hours", ""),
    ("tomorrow at noon", ""),
    ("since 2019", ""),
    ("room 12, floor 3", ""),
    ("Sun Street 5", ""),
    ("Mar Vista Road", ""),
    ("VAT 19 %", ""),
    ("weight 750 g", ""),
    ("a 30 day trial", ""),
    ("batch 2024-77-12", ""),
    ("score 3/4", ""),
    ("page 3 of 14", ""),
    ("opens 9:30 - 17:00", ""),
    ("31/02/2026", ""),
    ("ISBN 978-3-16-148410-0", ""),
    ("now or never", ""),
    ("Dec the halls", ""),
)
NUMBERS: Lines = (
    ("total 1,204.50", "1204.5"),
    ("SUMME 1.204,50", "1204.5"),
    ("12,50 EUR", "12.5"),
    ("4 x 2", "2 4"),
    ("Receipt 004417", "4417"),
    ("1 204,50 EUR", "1204.5"),
    ("12'345.60", "12345.6"),
    ("EUR13.50", "13.5"),
    ("$13.50", "13.5"),
    ("45k", "45000"),
    ("750g", "750"),
    ("19 %", "19"),
    ("-0.45", "-0.45 0.45"),
    ("key=1205", "1205"),
    ("1.234", "1.234 1234"),
    ("1,234", "1.234 1234"),
    ("3 items, 2 boxes", "2 3"),
    ("(12)", "12"),
    ("12.5%", "12.5"),
    ("0.125", "0.125 125"),
    ("2,5 kg", "2.5"),
    ("Qty 12    1.50    18.00", "1.5 12 18"),
    ("2   1   2", "1 2"),
    ("120   240   360", "120 240 360"),
    ("14.05.2026 12 Stück", "12"),
    ("2026-05-14 12 units", "12"),
    ("14/05/2026 18:42", ""),
    ("on 2026-05-14", ""),
    ("PP-77Q1-D, LS6 2AB", ""),
    ("Tel 0113 555 0187", ""),
    ("host 10.0.0.1 v1.2.3", ""),
    ("TH-559027", ""),
    ("+49 761 203 4567", ""),
    ("9:30", ""),
    ("#1205", ""),
    ("a.b2@c3.example", ""),
    ("https://x.example/12", ""),
    ("INV2026-17", ""),
    ("14 May 2026", ""),
    ("DE89370400440532013000", ""),
)


def row(name: str, read: Reader, lines: Lines) -> str:
    """Return a row of the table."""
    found = right = stating = told = 0
    began = time.process_time()
    for text, said in lines:
        wanted, got = set(said.split()), read(text)
        found, right = found + len(got), right + len(got & wanted)
        stating, told = stating + bool(wanted), told + bool(got & wanted)
    seconds = (time.process_time() - began) / len(lines)
    return f"| {name} | {right / found:.0%} ({right} of {found}) | {told} of {stating} | {seconds * 1e3:.2f} |"


def by_dateparser(languages: Sequence[str] | None, is_strict: bool) -> Reader:
    """Return a reader of dates by dateparser."""
    from dateparser.search import search_dates  # type: ignore[import-not-found] # a peer, no dependency

    settings = {"STRICT_PARSING": True, "REQUIRE_PARTS": ["day", "month", "year"]} if is_strict else {}
    return lambda text: {
        found.date().isoformat() for _, found in search_dates(text, languages=languages, settings=settings) or ()
    }


def by_babel(text: str, *, is_strict: bool) -> set[str]:
    """Return the numbers of a text's words by Babel, in three locales."""
    from babel.numbers import NumberFormatError, parse_decimal

    out = set()
    for word in text.split():
        for locale in LANGUAGES[:3]:
            try:
                out.add(_plain(parse_decimal(word.strip("().,;:%$€"), locale=locale, strict=is_strict)))
            except NumberFormatError:
                continue
    return out


def _plain(number: Decimal) -> str:
    return format(number.normalize(), "f")


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    print("| reader | precision | lines read | ms a line |\n|:--|--:|--:|--:|")
    print(row("dates: ours", lambda text: set(dates(text)), DATES))
    try:
        for name, languages, is_strict in (
            ("any language", None, False),
            ("seven languages", LANGUAGES, False),
            ("seven languages, strict", LANGUAGES, True),
        ):
            print(row(f"dates: dateparser, {name}", by_dateparser(languages, is_strict), DATES))
    except ImportError:
        print("| dates: dateparser | not installed | | |")
    print(row("numbers: ours", lambda text: {_plain(number) for number in numbers(text)}, NUMBERS))
    for name, is_strict in (("", False), (", strict", True)):
        reader = functools.partial(by_babel, is_strict=is_strict)
        print(row(f"numbers: Babel, en, de and fr{name}", reader, NUMBERS))


if __name__ == "__main__":
    main()

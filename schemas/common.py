"""What most schemas say of a scalar: what a tokenizer's vocabulary is warmed with before its first matcher is used."""

from __future__ import annotations

from typing import Any

#: What may follow hangs on whether the year is a leap year, and on the month.
_DATES = [f"{y}-{m:02}-{d:02}" for y in (2023, 2024) for m in range(1, 13) for d in (1, 10, 20, 28)]
#: Years are told apart digit by digit, for the same reason.
_YEARS = [f"{year}-01-01" for year in (1970, 1985, 1999, 2000, 2005, 2010, 2015, 2016, 2020)]
#: And on hour and minute, for a leap second comes at 23:59 in UTC.
_MINUTES = [("00", "Z"), ("15", ".5Z"), ("30", "+01:00"), ("45", "-05:30")]
_TIMES = [f"{hour:02}:{minute}:00{zone}" for hour in range(24) for minute, zone in _MINUTES]

#: How identifiers, slugs, codes and versions are usually written. Their tokens by class are found once for all patterns
#: that go round in the same classes.
_NAMES = {
    "^[a-z]+$": '"ab"',
    "^[a-z0-9]+$": '"ab1"',
    "^[a-z0-9_]+$": '"ab_1"',
    "^[a-z][a-z0-9-]*$": '"ab-1"',
    "^[a-z0-9]+(-[a-z0-9]+)*$": '"ab-1"',
    "^[a-z0-9.-]+$": '"ab-1.c"',
    "^[a-zA-Z]+$": '"Ab"',
    "^[a-zA-Z0-9]+$": '"Ab1"',
    "^[a-zA-Z0-9-]+$": '"Ab-1"',
    "^[a-zA-Z0-9_-]+$": '"Ab-1"',
    "^[a-zA-Z0-9_.-]+$": '"Ab-1.c"',
    "^[A-Z][A-Z0-9_]*$": '"AB_1"',
    "^[A-Z]{2,3}$": '"AB"',
    "^[0-9a-f]+$": '"0af"',
    "^#[0-9a-fA-F]{6}$": '"#00FFaa"',
    "^[0-9]+\\.[0-9]+\\.[0-9]+$": '"1.0.12"',
    "^\\S+$": '"ab"',
    "^[^/]+$": '"ab"',
    "^.+$": '"ab"',
}
#: What a client connects to; told apart by digits and dots, so that each of the first bytes is another state.
_HOST = {"type": "string", "anyOf": [{"format": "hostname"}, {"format": "ipv4"}, {"format": "ipv6"}]}
#: What most schemas say of a scalar, each with texts. A language takes up to some milliseconds, and its first masks a
#: few tenths of one each: they are made with a vocabulary's first matcher, as a member of an object, not in somebody's
#: first token.
COMMON: list[tuple[dict[str, Any], list[str]]] = [
    ({"type": "integer"}, ["120", "-1", "0"]),
    ({"type": "integer", "minimum": 0}, ["120"]),
    ({"type": "integer", "minimum": 1}, ["120"]),
    ({"type": "number"}, ["12.5", "12e+3", "-1", "0.5"]),
    ({"type": "number", "minimum": 0}, ["12.5"]),
    ({"type": "boolean"}, ["true"]),
    ({"type": "string", "minLength": 1}, ['"ab"']),
    ({"type": "string", "pattern": "^.*$"}, ['"ab"']),
    *(({"type": "string", "pattern": pattern}, [text]) for pattern, text in _NAMES.items()),
    ({"type": "string", "format": "date"}, [f'"{date}"' for date in _DATES + _YEARS]),
    ({"type": "string", "format": "time"}, [f'"{time}"' for time in _TIMES]),
    (
        {"type": "string", "format": "date-time"},
        [*(f'"{d}T{t}"' for d, t in zip(_DATES, _TIMES, strict=True)), *(f'"{d}T00:00:00Z"' for d in _YEARS)],
    ),
    ({"type": "string", "format": "duration"}, ['"P1Y2M3DT4H5M6S"', '"P2W"']),
    ({"type": "string", "format": "email"}, ['"john.doe@example.com"']),
    ({"type": "string", "format": "uri"}, ['"https://example.com/a"', '"http://localhost:8080/a?b=1#c"']),
    ({"type": "string", "format": "uri-reference"}, ['"a/b"', '"./a?b#c"', '"http://localhost:8080/a"']),
    ({"type": "string", "format": "uuid"}, ['"123e4567-e89b-12d3-a456-426614174000"']),
    ({"type": "string", "format": "hostname"}, ['"www.example.com"', '"localhost"']),
    ({"type": "string", "format": "ipv4"}, ['"192.168.10.1"']),
    ({"type": "string", "format": "ipv6"}, ['"2001:db8::1"', '"2001:0db8:85a3:0000:0000:8a2e:0370:7334"']),
    (_HOST, ['"www.example.com"', '"localhost"', '"192.168.10.1"', '"255.255.255.255"']),
]

#: Formats whose languages take longest, each with a text: made with the first matcher of a schema that has them.
SLOW_FORMATS = {"idn-hostname": '"bé.c"', "idn-email": '"b@bé.c"'}

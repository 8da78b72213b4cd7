"""Formats: the names that are asserted, and the exact language of each as a regex tree.

A tree matches the whole text. The languages are those of the RFCs that the drafts name, as the official suite reads
them. A format that is known but has no tree is refused by the scan; a name that is not known is an annotation, as the
drafts say.

Two are narrower than their RFC, because what is left out is no practical regular language: since draft 7 `hostname`
writes no `xn--` labels (whose Punycode would have to decode to a valid label), `email` none in its domain. Quoted
local parts of `email` escape no space, which validators disagree about.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from guard.schemas import regex
from guard.schemas.ops import Rx, Tree

#: Every format that the drafts define. Others are annotations.
KNOWN = frozenset(
    {
        *("date", "time", "date-time", "duration"),
        *("email", "idn-email", "hostname", "idn-hostname", "ipv4", "ipv6"),
        *("uri", "uri-reference", "iri", "iri-reference", "uri-template"),
        *("uuid", "json-pointer", "relative-json-pointer", "regex"),
    }
)


def is_known(name: Any) -> bool:
    """Say whether a format is one that is asserted."""
    return isinstance(name, str) and name in KNOWN


@cache
def tree(name: str, draft: str) -> Tree | None:
    """Return the language of a format in a dialect, or None where it has no tree."""
    if name == "hostname" and draft in ("draft4", "draft6", "openapi3.0"):
        return _names(_OLD_LABEL)
    return _tree(name)


@cache
def _tree(name: str) -> Tree | None:
    make = _TREES.get(name)
    return make() if make is not None else None


def _all(*trees: Tree) -> Tree:
    return (int(Rx.AND), list(trees))


def _cat(*trees: Tree) -> Tree:
    return (int(Rx.CAT), list(trees))


def _any(*trees: Tree) -> Tree:
    return (int(Rx.ALT), list(trees))


def _read(source: str) -> Tree:
    return regex.parse(source).tree


# ---- dates and times: RFC 3339 ----

_LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
_DATE = (
    "(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    f"|{_LEAP_YEAR}-02-29)"
)
_HOUR, _MINUTE = "(?:[01][0-9]|2[0-3])", "[0-5][0-9]"
_FRACTION = "(?:\\.[0-9]+)?"
_TIME = f"{_HOUR}:{_MINUTE}:[0-5][0-9]{_FRACTION}(?:[Zz]|[+-]{_HOUR}:{_MINUTE})"


def _leap_second() -> Tree:
    """Return the times with second 60, which only 23:59 UTC has.

    The hour, and each digit of the minute, agrees with the offset in a language of its own; digits keep those small.
    """
    hour, second = _read(f"{_HOUR}:"), _read(":60" + _FRACTION)

    def agree(sign: str, pairs: list[tuple[Tree, Tree]]) -> Tree:
        middle = [second, regex.literal(sign)]
        return _any(*(_cat(here, *middle, offset) for here, offset in pairs))

    def minutes(pairs: list[tuple[str, str]]) -> list[tuple[Tree, Tree]]:
        return [(_cat(hour, _read(here)), _cat(hour, _read(offset))) for here, offset in pairs]

    def hours(pairs: list[tuple[int, str, int, str]]) -> list[tuple[Tree, Tree]]:
        return [(_read(f"{h:02}:{m}"), _read(f"{oh:02}:{om}")) for h, m, oh, om in pairs]

    east = [
        hours(
            [((23 + o) % 24, "59", o, "00") for o in range(24)]
            + [(o, "(?:[0-4][0-9]|5[0-8])", o, _MINUTE) for o in range(24)]
        ),
        minutes([(f"[0-5]{u}", f"[0-5]{(u + 1) % 10}") for u in range(10)]),
        minutes([(f"{t}[0-8]", f"{t}[1-9]") for t in range(6)] + [(f"{t}9", f"{(t + 1) % 6}0") for t in range(6)]),
    ]
    west = [
        hours([(23 - o, _MINUTE, o, _MINUTE) for o in range(24)]),
        minutes([(f"[0-5]{u}", f"[0-5]{9 - u}") for u in range(10)]),
        minutes([(f"{t}[0-9]", f"{5 - t}[0-9]") for t in range(6)]),
    ]
    utc = _cat(regex.literal("23:59"), second, _read("[Zz]"))
    return _any(utc, _all(*(agree("+", pairs) for pairs in east)), _all(*(agree("-", pairs) for pairs in west)))


@cache
def _time() -> Tree:
    return _any(_read(_TIME), _leap_second())


def _date_time() -> Tree:
    return _cat(_read(f"{_DATE}[Tt]"), _time())


def _duration() -> str:
    clock = "(?:[0-9]+H(?:[0-9]+M(?:[0-9]+S)?)?|[0-9]+M(?:[0-9]+S)?|[0-9]+S)"
    day = "(?:[0-9]+Y(?:[0-9]+M(?:[0-9]+D)?)?|[0-9]+M(?:[0-9]+D)?|[0-9]+D)"
    return f"P(?:[0-9]+W|{day}(?:T{clock})?|T{clock})"


# ---- the network: RFC 1123, RFC 5321, RFC 4291, RFC 3986, RFC 3987, RFC 6570 ----

_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = f"{_BYTE}(?:\\.{_BYTE}){{3}}"
_GROUP = "[0-9A-Fa-f]{1,4}"
#: The last 32 bits of an address, in either way of writing.
_LAST = f"(?:{_GROUP}:{_GROUP}|{_IPV4})"


def _ipv6() -> str:
    """Return the nine forms of RFC 3986, by how many groups may stand before the `::`."""
    forms = [f"(?:{_GROUP}:){{6}}{_LAST}", f"::(?:{_GROUP}:){{5}}{_LAST}"]
    forms += [f"(?:(?:{_GROUP}:){{0,{n}}}{_GROUP})?::(?:{_GROUP}:){{{4 - n}}}{_LAST}" for n in range(5)]
    forms.append(f"(?:(?:{_GROUP}:){{0,5}}{_GROUP})?::{_GROUP}")
    forms.append(f"(?:(?:{_GROUP}:){{0,6}}{_GROUP})?::")
    return "(?:" + "|".join(forms) + ")"


_IPV6 = _ipv6()

_LD = "[A-Za-z0-9]"


_LDH = "[A-Za-z0-9-]"
#: At most 63 characters, no hyphen at either end, and none in the third and fourth place together.
_LABEL = f"(?:{_LD}|{_LD}{_LDH}{{0,2}}{_LD}|{_LD}{_LDH}(?:{_LD}{_LDH}|-{_LD}){_LDH}{{0,58}}{_LD})"
#: The same before draft 7, when names were those of RFC 1123 alone and `xn--` meant nothing.
_OLD_LABEL = f"{_LD}(?:{_LDH}{{0,61}}{_LD})?"


def _names(label: str) -> Tree:
    return _all(_read(f"{label}(?:\\.{label})*"), _read("[A-Za-z0-9.-]{1,253}"))


def _email() -> Tree:
    atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
    quoted = '"(?:[ !#-\\[\\]-~]|\\\\[!-~])*"'
    local = _all(_read(f"{atom}(?:\\.{atom})*|{quoted}"), _read("[ -~]{1,64}"))
    literal = _read(f"\\[(?:{_IPV4}|IPv6:{_IPV6})\\]")
    return _cat(local, _read("@"), _any(_names(_LABEL), literal))


class _Uri:
    """The grammar of RFC 3986, or of RFC 3987 where more characters are let in."""

    def __init__(self, more: str = "", private: str = "") -> None:
        hexadecimal = "%[0-9A-Fa-f]{2}"
        unreserved, delimiters = f"A-Za-z0-9._~\\-{more}", "!$&'()*+,;="
        char = f"(?:[{unreserved}{delimiters}:@]|{hexadecimal})"
        no_colon = f"(?:[{unreserved}{delimiters}@]|{hexadecimal})"
        user = f"(?:[{unreserved}{delimiters}:]|{hexadecimal})*"
        name = f"(?:[{unreserved}{delimiters}]|{hexadecimal})*"
        future = f"[Vv][0-9A-Fa-f]+\\.[A-Za-z0-9._~\\-{delimiters}:]+"
        authority = f"(?:{user}@)?(?:\\[(?:{_IPV6}|{future})\\]|{name})(?::[0-9]*)?"
        rest = f"(?:/{char}*)*"
        absolute = f"/(?:{char}+{rest})?"
        query = f"(?:\\?(?:{char}|[/?{private}])*)?(?:#(?:{char}|[/?])*)?"
        self.absolute = f"[A-Za-z][A-Za-z0-9+.\\-]*:(?://{authority}{rest}|{absolute}|{char}+{rest}|){query}"
        self.relative = f"(?://{authority}{rest}|{absolute}|{no_colon}+{rest}|){query}"

    @property
    def reference(self) -> str:
        return f"(?:{self.absolute}|{self.relative})"


#: What RFC 3987 adds to the unreserved characters, and to those of queries.
_IRI_MORE = (
    "\\u00A0-\\uD7FF\\uF900-\\uFDCF\\uFDF0-\\uFFEF"
    + "".join(f"\\u{{{plane:X}0000}}-\\u{{{plane:X}FFFD}}" for plane in range(1, 14))
    + "\\u{E1000}-\\u{EFFFD}"
)
_IRI_PRIVATE = "\\uE000-\\uF8FF\\u{F0000}-\\u{FFFFD}\\u{100000}-\\u{10FFFD}"


def _uri_template() -> str:
    hexadecimal = "%[0-9A-Fa-f]{2}"
    literal = f"(?:[!#$&'()*+,\\-./0-9:;=?@A-Z\\[\\]_a-z~{_IRI_MORE}{_IRI_PRIVATE}]|{hexadecimal})"
    char = f"(?:[A-Za-z0-9_]|{hexadecimal})"
    variable = f"{char}(?:\\.?{char})*(?::[1-9][0-9]{{0,3}}|\\*)?"
    return f"(?:{literal}|\\{{[+#./;?&=,!@|]?{variable}(?:,{variable})*\\}})*"


# ---- identifiers and pointers: RFC 4122, RFC 6901 ----

_UUID = "[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}"
_POINTER = "(?:/(?:[^~/]|~[01])*)*"

_TREES: dict[str, Callable[[], Tree]] = {
    "date": lambda: _read(_DATE),
    "time": _time,
    "date-time": _date_time,
    "duration": lambda: _read(_duration()),
    "email": _email,
    "hostname": lambda: _names(_LABEL),
    "ipv4": lambda: _read(_IPV4),
    "ipv6": lambda: _read(_IPV6),
    "uri": lambda: _read(_Uri().absolute),
    "uri-reference": lambda: _read(_Uri().reference),
    "iri": lambda: _read(_Uri(_IRI_MORE, _IRI_PRIVATE).absolute),
    "iri-reference": lambda: _read(_Uri(_IRI_MORE, _IRI_PRIVATE).reference),
    "uri-template": lambda: _read(_uri_template()),
    "uuid": lambda: _read(_UUID),
    "json-pointer": lambda: _read(_POINTER),
    "relative-json-pointer": lambda: _read(f"(?:0|[1-9][0-9]*)(?:#|{_POINTER})"),
}

"""Formats: the names that are asserted, and the exact language of each as a regex tree.

A tree matches the whole text. The languages are those of the RFCs that the drafts name, as the official suite reads
them. A name that is not known is an annotation, as the drafts say.

Where a format is no regular language, or validators disagree, its tree has two parts: what is valid beyond doubt, and
a `MAYBE` of the rest that could be. A text of the rest is written neither where the format is asked for nor where it is
denied. Such are most `xn--` labels since draft 7, whose Punycode would have to decode to a valid label; `idn-hostname`
(idna.py); `regex`, which nests; and in addresses quoted local parts that escape a space, and long ones beyond ASCII.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from guard.schemas import charsets, idna, regex
from guard.schemas.keywords import DIALECTS
from guard.schemas.ops import Rx, Tree


def is_known(name: Any) -> bool:
    """Say whether a format is one that is asserted."""
    return isinstance(name, str) and name in _TREES


#: The languages that were made, by format and dialect.
MADE: dict[tuple[str, str], Tree] = {}
_OLD = ("draft4", "draft6", "openapi3.0")  #: Dialects in which `xn--` means nothing in the name of a host.


def tree(name: str, draft: str) -> Tree:
    """Return the language of a format in a dialect. Requires that the format is known."""
    if (made := MADE.get((name, draft))) is None:
        is_old = name == "hostname" and draft in _OLD
        made = _names(_OLD_LABEL) if is_old else _tree(name)
        for other in DIALECTS:
            if name != "hostname" or (other in _OLD) == is_old:
                MADE[name, other] = made
    return made


@cache
def _tree(name: str) -> Tree:
    return _TREES[name]()


@cache
def agreed(name: str, draft: str) -> Tree:
    """Return the language of a format with the texts of which software differs as neither in it nor out of it.

    The year 0000 is one of RFC 3339's, and none of Python's. Requires that the format is known.
    """
    whole = tree(name, draft)
    if name not in ("date", "date-time"):
        return whole
    odd = _read("0000[^]*")
    return _any(_all(whole, (int(Rx.NOT), odd)), (int(Rx.MAYBE), _all(whole, odd)))


def _all(*trees: Tree) -> Tree:
    return (int(Rx.AND), trees)


def _cat(*trees: Tree) -> Tree:
    return (int(Rx.CAT), trees)


def _any(*trees: Tree) -> Tree:
    return (int(Rx.ALT), trees)


@cache
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
        def one(hour: int, minute: str) -> Tree:
            return _cat(regex.literal(f"{hour:02}:"), _read(minute))

        return [(one(h, m), one(oh, om)) for h, m, oh, om in pairs]

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

BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
IPV4 = f"{BYTE}(?:\\.{BYTE}){{3}}"
_GROUP = "[0-9A-Fa-f]{1,4}"
#: The last 32 bits of an address, in either way of writing.
_LAST = f"(?:{_GROUP}:{_GROUP}|{IPV4})"


def _ipv6() -> str:
    """Return the nine forms of RFC 3986, by how many groups may stand before the `::`."""
    forms = [f"(?:{_GROUP}:){{6}}{_LAST}", f"::(?:{_GROUP}:){{5}}{_LAST}"]
    forms += [f"(?:(?:{_GROUP}:){{0,{n}}}{_GROUP})?::(?:{_GROUP}:){{{4 - n}}}{_LAST}" for n in range(5)]
    forms.append(f"(?:(?:{_GROUP}:){{0,5}}{_GROUP})?::{_GROUP}")
    forms.append(f"(?:(?:{_GROUP}:){{0,6}}{_GROUP})?::")
    return "(?:" + "|".join(forms) + ")"


IPV6 = _ipv6()

#: Before draft 7, when names were those of RFC 1123 alone and `xn--` meant nothing.
_OLD_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_LABEL = idna.ascii_label(63)


def _names(label: str) -> Tree:
    return _all(_read(f"{label}(?:\\.{label})*"), _read("[A-Za-z0-9.-]{1,253}"))


@cache
def _hostname() -> Tree:
    return _any(_names(_LABEL), idna.names(u_labels=False), idna.OPEN_ASCII)


_ATOM = "A-Za-z0-9!#$%&'*+/=?^_`{|}~-"
_LITERAL = f"\\[(?:{IPV4}|IPv6:{IPV6})\\]"


#: Quoted local parts that escape a space: validators disagree about them.
_SPACED = _read('"(?:[ !#-\\[\\]-~]|\\\\[ -~])*"@[^]*')


def _address(more: str, lengths: str, *domains: Tree) -> Tree:
    """Return the addresses of RFC 5321 with these characters more in local parts, which have these lengths."""
    quoted = f'"(?:[ !#-\\[\\]-~{more}]|\\\\[!-~])*"'
    local = _all(_read(f"[{more}{_ATOM}]+(?:\\.[{more}{_ATOM}]+)*|{quoted}"), _read(lengths))
    domain = _any(_names(_LABEL), idna.OPEN_ASCII, _read(_LITERAL), *domains)
    return _any(_cat(local, _read("@"), domain), (int(Rx.MAYBE), _SPACED))


def _idn_email() -> Tree:
    """Return the addresses of RFC 6531. Local parts have 64 octets of UTF-8, here less in characters."""
    certain = _address(
        "\\x80-\\u{10FFFF}", "[ -~]{1,64}|[\\0-\\u07ff]{1,32}|[\\0-\\uffff]{1,21}|[^]{1,16}", idna.names(), idna.OPEN
    )
    beyond = "[^]*[\\x80-\\u{10FFFF}][^]*"
    return _any(certain, (int(Rx.MAYBE), _read(f"{beyond}@[^]*|[^]*@{beyond}")))


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
        authority = f"(?:{user}@)?(?:\\[(?:{IPV6}|{future})\\]|{name})(?::[0-9]*)?"
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

# ---- regexes: ECMA-262 in u mode ----

#: Groups inside of groups that are written.
_GROUPS = 3


def _many(tree: Tree, least: int = 0, most: int = -1) -> Tree:
    return (int(Rx.REPEAT), tree, least, most)


_SET = int(Rx.SET)


def _chars(low: str, high: str = "") -> Tree:
    return (_SET, ((ord(low), ord(high or low)),))


def _those(codes: Iterable[int]) -> Tree:
    return (_SET, charsets.union((code, code) for code in codes))


def _in_order() -> Tree:
    """Return the quantifiers `{n,m}` with n at most m, of up to two digits, in few alternatives.

    Of two digits each: n has fewer tens, or as many tens and not more ones.
    """
    digit, comma = _chars("0", "9"), _chars(",")
    ways = [_cat(_chars(n), comma, _chars(n, "9")) for n in string.digits]
    ways.append(_cat(digit, comma, _chars("1", "9"), digit))
    ways += [_cat(_chars(n), digit, comma, _chars(chr(ord(n) + 1), "9"), digit) for n in string.digits[:-1]]
    tens = _any(*(_cat(_chars(n), digit, comma, _chars(n), digit) for n in string.digits[1:]))
    ones = _any(*(_cat(digit, _chars(n), comma, digit, _chars(n, "9")) for n in string.digits))
    return _cat(_chars("{"), _any(*ways, _all(tens, ones)), _chars("}"))


def _ranges() -> Tree:
    """Return the ranges of a class whose ends are plain ASCII, in order.

    By the digits of their codes, as quantifiers are ordered: there are 90 ends, and few alternatives.
    """
    codes, width, hyphen = [code for code in range(33, 127) if chr(code) not in "\\]-^["], 10, _chars("-")
    tens, ones = sorted({code // width for code in codes}), range(width)
    by_tens = {n: _those(code for code in codes if code // width == n) for n in tens}
    by_ones = {n: _those(code for code in codes if code % width == n) for n in ones}
    fewer = [_cat(by_tens[n], hyphen, _those(code for code in codes if code // width > n)) for n in tens[:-1]]
    as_many = _any(*(_cat(by_tens[n], hyphen, by_tens[n]) for n in tens))
    not_more = _any(*(_cat(by_ones[n], hyphen, _those(code for code in codes if code % width >= n)) for n in ones))
    return _any(*fewer, _all(as_many, not_more))


def _regex() -> Tree:
    """Return the patterns that are valid beyond doubt; of most others it is not said, since they nest.

    Their groups nest three deep. They have at most one group with a name, no back-reference, no modifiers, properties
    by general category only, and in classes only ranges of ASCII.
    """
    code = "x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|u\\{0*(?:10|[0-9A-Fa-f])?[0-9A-Fa-f]{1,4}\\}"
    category = "L[ulmto]?|M[nce]?|N[dlo]?|P[cdseifo]?|S[mcko]?|Z[slp]?|C[cfosn]?"
    escape = _read(f"\\\\(?:[dDwWsSfnrtv0^$\\\\.*+?()\\[\\]{{}}|/]|c[A-Za-z]|[pP]\\{{(?:{category})\\}}|{code})")
    repeated = _many(_cat(_any(_read("[*+?]|\\{[0-9]+,?\\}"), _in_order()), _many(_chars("?"), 0, 1)), 0, 1)
    members = _any(_ranges(), _read("[^\\\\\\[\\]\\-^]|\\\\[\\-b]"), escape)
    atom = _any(_read("[^^$\\\\.*+?()\\[\\]{}|]|\\."), escape, _cat(_read("\\[\\^?"), _many(members), _chars("]")))
    term = _any(_cat(atom, repeated), _read("[|^$]|\\\\[bB]"))
    body = _many(term)
    for _ in range(_GROUPS):
        capturing = _read("\\((?:\\?:|\\?<[A-Za-z_$][A-Za-z0-9_$]*>)?")
        looking = _cat(_read("\\(\\?<?[=!]"), body, _read("\\)"))
        body = _many(_any(term, _cat(capturing, body, _read("\\)"), repeated), looking))
    plain = "(?:[^(\\\\]|\\\\(?:[^0]|0(?![0-9]))|\\((?!\\?<[^=!]))*"
    return _any(_all(body, _read(f"{plain}(?:\\(\\?<[^=!]{plain})?")), (int(Rx.MAYBE), _read("(?:[^*+?){}\\]][^]*)?")))


_TREES: dict[str, Callable[[], Tree]] = {
    "date": lambda: _read(_DATE),
    "time": _time,
    "date-time": _date_time,
    "duration": lambda: _read(_duration()),
    "email": lambda: _address("", "[ -~]{1,64}"),
    "regex": _regex,
    "hostname": _hostname,
    "idn-hostname": lambda: _any(_hostname(), idna.names(), idna.OPEN),
    "idn-email": _idn_email,
    "ipv4": lambda: _read(IPV4),
    "ipv6": lambda: _read(IPV6),
    "uri": lambda: _read(_Uri().absolute),
    "uri-reference": lambda: _read(_Uri().reference),
    "iri": lambda: _read(_Uri(_IRI_MORE, _IRI_PRIVATE).absolute),
    "iri-reference": lambda: _read(_Uri(_IRI_MORE, _IRI_PRIVATE).reference),
    "uri-template": lambda: _read(_uri_template()),
    "uuid": lambda: _read(_UUID),
    "json-pointer": lambda: _read(_POINTER),
    "relative-json-pointer": lambda: _read(f"(?:0|[1-9][0-9]*)(?:#|{_POINTER})"),
}

#: Every format that the drafts define. Others are annotations.
KNOWN = frozenset(_TREES)

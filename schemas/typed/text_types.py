"""Texts of Python's own types, as regular expressions of ECMA-262 for the `pattern` of a schema.

Each holds every text that Pydantic writes for a value of the type, but for what docs/reference/keywords.md names, and
none that it does not read. Of several ways to write a value only few are in them: a mask that lets through one of them
is enough.
All are without anchors; `whole` adds them.
"""

from __future__ import annotations

import datetime
from decimal import Decimal

from guard.schemas import string_formats
from guard.schemas.typed import decimals


def whole(texts: str) -> str:
    """Return the pattern that the whole text must match.

    Its groups are plain ones where all can be: there are services that read no others.
    """
    if texts.count("(?") == texts.count("(?:"):
        texts = texts.replace("(?:", "(")
    return f"^({texts})$" if "|" in texts else f"^{texts}$"


# ---- dates and times ----

#: Dates of the years that Python has, 0001 to 9999; beside `format: date`, which tells the days.
NOT_YEAR_0 = "^(?!0000)"
_HOUR = "(?:[01][0-9]|2[0-3])"
_CLOCK = f"{_HOUR}:[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{{1,6}})?"
_OFFSET = f"(?:Z|[+-]{_HOUR}:[0-5][0-9])"
_YEAR = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
_FOURTH = "(?:0[48]|[2468][048]|[13579][26])"
_DATE = (
    f"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    f"|02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[0-9]{{2}}{_FOURTH}|{_FOURTH}00)-02-29)"
)


def time(zone: str | None) -> str:
    """Return the texts of times; `zone` is "aware", "naive" or None for both."""
    return _CLOCK + {"aware": _OFFSET, "naive": "", None: f"{_OFFSET}?"}[zone]


def date_time(zone: str | None) -> str:
    """Return the texts of dates with times; `zone` as above."""
    return f"{_DATE}T{time(zone)}"


def dates(low: datetime.date | None, high: datetime.date | None) -> str:
    """Return the texts of dates between two, both included, as far as digits tell: `format: date` tells the days."""
    out = ""
    if low is not None:
        out += f"(?={'|'.join(_same_length(low.isoformat(), '9'))})"
    if high is not None:
        out += f"(?={'|'.join(_same_length(high.isoformat(), '0'))})"
    return f"^{out}[^]*$"


def _same_length(text: str, end: str) -> list[str]:
    """Return the beginnings of digits, dashes among them, from a text on towards `end`; the text itself last."""
    ways = []
    for at, char in enumerate(text):
        if char.isdigit() and char != end:
            low, high = sorted((end, str(int(char) + (1 if end == "9" else -1))))
            ways.append(f"{text[:at]}[{low}-{high}]")
    return [*ways, text]


#: Years of 365 days of which seven digits are needed, up to 999,999,999 days.
_MANY_YEARS = (
    "(?:1[0-9]{6}|2[0-6][0-9]{5}|27[0-2][0-9]{4}|273[0-8][0-9]{3}|2739[0-6][0-9]{2}|27397[01][0-9]|273972[0-5])"
)
_DAYS = "(?:[12]?[0-9]{1,2}|3[0-5][0-9]|36[0-4])D"
_SECONDS = "(?:\\.[0-9]{1,6})?S"
_SHORT = f"T(?=[0-9])(?:(?:1?[0-9]|2[0-3])H)?(?:[1-5]?[0-9]M)?(?:[1-5]?[0-9]{_SECONDS})?"
#: Durations as Pydantic writes and reads them: in ISO 8601, with a sign, years of 365 days, and fractions of a second.
DURATION = (
    "-?P[0-9]{1,4}W|-?P(?=[0-9T])(?:[0-9]{1,6}Y)?(?:[0-9]{1,4}M)?(?:[0-9]{1,8}D)?"
    f"(?:T(?=[0-9])(?:[0-9]{{1,6}}H)?(?:[0-9]{{1,6}}M)?(?:[0-9]{{1,6}}{_SECONDS})?)?"
    f"|-?P[1-8][0-9]{{8}}D(?:{_SHORT})?|-?P{_MANY_YEARS}Y(?:{_DAYS})?(?:{_SHORT})?"
    f"|-?P2739726Y(?:[1-8]D)?(?:{_SHORT})?|-?P2739726Y9D|P2739726Y9D{_SHORT}"
)


# ---- numbers ----


def decimal(max_digits: int | None, places: int | None) -> str:
    """Return the texts of decimals that are not negative, in so many digits, so many of them behind the point."""
    if max_digits is None and places is None:
        return decimals.PLAIN
    if places is not None:
        fraction = f"(?:\\.[0-9]{{1,{places}}})?" if places else ""
        if max_digits is None:
            return decimals.WHOLE + fraction
        ahead = max_digits - places
        return (f"(?:0|[1-9][0-9]{{0,{ahead - 1}}})" if ahead > 0 else "0") + fraction
    assert max_digits is not None
    most = max(max_digits, 1)
    return f"(?:0(?:\\.[0-9]{{1,{most}}})?|(?=(?:\\.?[0-9]){{1,{most}}}$){decimals.PLAIN})"


def places_of(multiple: Decimal) -> int | None:
    """Return how many digits behind the point the multiples of a power of ten have; None of any other number."""
    digits, exponent = multiple.normalize().as_tuple().digits, multiple.normalize().as_tuple().exponent
    return -exponent if digits == (1,) and isinstance(exponent, int) and exponent <= 0 else None


FRACTION = f"-?{decimals.WHOLE}(?:/[1-9][0-9]*)?"
#: Doubles as Python writes them, but for those from 1e308 on.
_EXPONENT = "e[+-](?:[0-9]{2}|[12][0-9]{2}|30[0-7])"
_FLOAT = f"(?:(?:0|[1-9][0-9]{{0,307}})(?:\\.[0-9]{{1,340}})?|[1-9](?:\\.[0-9]{{1,20}})?{_EXPONENT})"
COMPLEX = f"-?{_FLOAT}(?:[+-]{_FLOAT}j)?|-?{_FLOAT}j"
#: A number as the key of an object.
INTEGER_KEY = f"-?{decimals.WHOLE}"
FLOAT_KEY = f"-?{_FLOAT}"
#: Beside integers, how ByteSize reads sizes.
BYTE_SIZE = "(?:0|[1-9][0-9]{0,14})(?:\\.[0-9]{1,6})? ?(?:[KMGTPE]i?)?B"


def uuid(version: int) -> str:
    """Return the UUIDs of a version."""
    digit = "[0-9A-Fa-f]"
    return f"{digit}{{8}}-{digit}{{4}}-{version}{digit}{{3}}-[89ABab]{digit}{{3}}-{digit}{{12}}"


# ---- bytes ----


def base64(alphabet: str, *, ascii_only: bool) -> str:
    """Return the texts in base64 that are padded; `alphabet` holds its last two characters, as a class has them.

    `ascii_only`: what is encoded is ASCII, so that it is text in UTF-8.
    """
    any_six = f"[A-Za-z0-9{alphabet}]"
    if not ascii_only:
        return f"(?:{any_six}{{4}})*(?:{any_six}[AQgw]==|{any_six}{{2}}[AEIMQUYcgkosw048]=)?"
    # The bits that ASCII leaves out are the first of the first six, the third of the second and the fifth of the third.
    first, second, third = "[A-Za-f]", "[A-HQ-Xg-nw-z0-3]", "[ABEFIJMNQRUVYZcdghklopstwx014589]"
    return f"(?:{first}{second}{third}{any_six})*(?:{first}[AQgw]==|{first}{second}[AEIMQUYcgkosw048]=)?"


# ---- addresses ----

_UP_TO_32, _UP_TO_128 = "(?:3[0-2]|[12]?[0-9])", "(?:12[0-8]|1[01][0-9]|[1-9]?[0-9])"
IPV4, IPV6 = string_formats.IPV4, string_formats.IPV6
IPV4_INTERFACE = f"{IPV4}(?:/{_UP_TO_32})?"
IPV6_INTERFACE = f"{IPV6}(?:/{_UP_TO_128})?"


def _network_4() -> str:
    """Return the networks of IPv4: behind as many bits as their prefix has, an address is all zeros."""
    byte = string_formats.BYTE
    ways = []
    for prefix in range(33):
        full, bits = divmod(prefix, 8)
        parts = [byte] * full
        if bits:
            parts.append(f"(?:{'|'.join(map(str, range(0, 256, 2 ** (8 - bits))))})")
        parts += ["0"] * (4 - len(parts))
        ways.append("\\.".join(parts) + f"/{prefix}")
    return "|".join(ways)


def _network_6() -> str:
    """Return the networks of IPv6 in eight groups, or in fewer with `::` behind them.

    A prefix ends behind the last group that is named, or inside of it: then that group ends in zeros.
    """
    group = "(?:0|[1-9a-f][0-9a-f]{0,3})"
    whole, inside = ["::/" + _UP_TO_128], []
    for groups in range(1, 9):
        text = (f"(?:{group}:){{{groups - 1}}}{group}" if groups > 1 else group) + ("::" if groups < 8 else "")
        whole.append(f"{text}/{_any_of(range(16 * groups, 129))}")
        inside.append(f"{text}/{_any_of(range(16 * groups - 15, 16 * groups))}")
    last = [f"(?:{_group(16 - bits)})(?:::)?/{_any_of(range(bits, 129, 16))}" for bits in range(1, 16)]
    return f"{'|'.join(whole)}|(?=(?:{'|'.join(inside)})$)(?:[0-9a-f]+:)*(?:{'|'.join(last)})"


def _any_of(numbers: range) -> str:
    return f"(?:{'|'.join(map(str, numbers))})"


def _group(zeros: int) -> str:
    """Return the groups of an address whose last bits, so many, are zeros."""
    digits, bits = divmod(zeros, 4)
    if not bits:
        return f"0|[1-9a-f][0-9a-f]{{0,{3 - digits}}}0{{{digits}}}"
    last = "0123456789abcdef"[:: 2**bits]
    more = f"|[1-9a-f][0-9a-f]{{0,{2 - digits}}}[{last}]0{{{digits}}}" if digits < 3 else ""
    return f"0|[{last[1:]}]0{{{digits}}}{more}"


IPV4_NETWORK, IPV6_NETWORK = _network_4(), _network_6()

_ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = "(?!..--)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
#: Domains that nobody is to be reached at.
_SPECIAL = "(?!(?:arpa|invalid|local|localhost|onion|test)(?![a-z0-9-]))"
_ADDRESS = f"{_ATOM}(?:\\.{_ATOM})*@(?:{_LABEL}\\.)+{_SPECIAL}(?!..--)[a-z0-9](?:[a-z0-9-]{{0,61}}[a-z])"
#: Addresses as email-validator reads them, in ASCII, without quoted local parts.
EMAIL = f"(?=[^@]{{1,64}}@)(?=.{{1,254}}$){_ADDRESS}"
#: The same behind a name: `Jane Doe <jane@example.org>`.
NAME_EMAIL = f"[A-Za-z0-9](?:[A-Za-z0-9 ]{{0,62}}[A-Za-z0-9])? <(?=[^@]{{1,64}}@)(?=.{{1,254}}>$){_ADDRESS}>"

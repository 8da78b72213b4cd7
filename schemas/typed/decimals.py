"""Texts of decimal numbers: regular expressions for those between two bounds.

A number is written plainly: `-12.50`, with no exponent and no zeros in front. The expressions are of ECMA-262, without
anchors. A bound with n digits makes one of O(n ** 2) characters.
"""

from __future__ import annotations

from decimal import Decimal

#: A number that is not negative, and its whole part.
WHOLE = "(?:0|[1-9][0-9]*)"
PLAIN = f"{WHOLE}(?:\\.[0-9]+)?"
#: Digits of a bound beyond which it is not written out.
MOST_DIGITS = 60


def between(
    low: Decimal | None, high: Decimal | None, *, above: bool, below: bool, form: str = PLAIN, fraction: bool = True
) -> str:
    """Return the texts of `form`, signed where they may be negative, that lie between two bounds.

    `above` and `below` say that the bound itself is excluded. `form` are the texts of numbers that are not negative,
    in groups if there are alternatives; `fraction` says whether they may have one. ValueError where a bound has more
    than MOST_DIGITS digits.
    """
    for bound in (low, high):
        if bound is not None and len(f"{bound:f}") > MOST_DIGITS:
            raise ValueError(f"a bound of more than {MOST_DIGITS} digits")
    parts = []
    if high is None or high > 0 or (high == 0 and not below):
        least = None if low is None or low < 0 or (low == 0 and not above) else low
        parts.append(_side(least, high, above, below, form, fraction))
    if low is None or low < 0:
        least, most = (None if high is None or high > 0 else -high), (None if low is None else -low)
        parts.append("-" + _side(least, most, below, above, form, fraction))
    return f"(?:{'|'.join(parts)})" if parts else "(?!)"


def _side(low: Decimal | None, high: Decimal | None, above: bool, below: bool, form: str, fraction: bool) -> str:
    """Return the texts of `form` between two bounds that are not negative; None is no bound."""
    out = ""
    if low is not None and (low > 0 or above):
        out += f"(?={_at_least(*_parts(low), above, fraction)}$)"
    if high is not None:
        out += f"(?={_at_most(*_parts(high), below, fraction)}$)"
    return out + form


def _parts(bound: Decimal) -> tuple[str, str]:
    whole, _, rest = f"{abs(bound):f}".partition(".")
    return whole, rest.rstrip("0")


def _at_least(whole: str, rest: str, strict: bool, fraction: bool) -> str:
    any_rest = "(?:\\.[0-9]+)?" if fraction else ""
    ways = [f"[1-9][0-9]{{{len(whole)},}}{any_rest}"]
    ways += [head + any_rest for head in _greater(whole)]
    if not fraction:
        ways += [] if strict or rest else [whole]
    else:
        ways += [f"{whole}\\.{head}[0-9]*" for head in _greater(rest, open_end=True)]
        if strict:
            ways.append(f"{whole}\\.{rest}0*[1-9][0-9]*")
        else:
            ways.append(f"{whole}\\.{rest}[0-9]*" if rest else f"{whole}{any_rest}")
    return f"(?:{'|'.join(ways)})"


def _at_most(whole: str, rest: str, strict: bool, fraction: bool) -> str:
    any_rest = "(?:\\.[0-9]+)?" if fraction else ""
    ways = [f"(?:0|[1-9][0-9]{{0,{len(whole) - 2}}}){any_rest}"] if len(whole) > 1 else []
    ways += [head + any_rest for head in _less(whole)]
    if not fraction:
        ways += [whole] if rest or not strict else []
    elif rest:
        ways += [f"{whole}\\.{head}[0-9]*" for head in _less(rest, open_end=True)]
        ways += [f"{whole}(?:\\.{rest[:n]})?" if n else whole for n in range(len(rest))]
        ways += [] if strict else [f"{whole}\\.{rest}0*"]
    elif not strict:
        ways.append(f"{whole}(?:\\.0+)?")
    return f"(?:{'|'.join(ways)})" if ways else "(?!)"


def _greater(digits: str, *, open_end: bool = False) -> list[str]:
    """Return what digits are greater than these: of as many digits, or the beginnings of fractions."""
    return [
        f"{digits[:at]}[{int(digit) + 1}-9]" + ("" if open_end else f"[0-9]{{{len(digits) - at - 1}}}")
        for at, digit in enumerate(digits)
        if digit != "9"
    ]


def _less(digits: str, *, open_end: bool = False) -> list[str]:
    """Return what digits are less than these, in the same way."""
    return [
        f"{digits[:at]}[0-{int(digit) - 1}]" + ("" if open_end else f"[0-9]{{{len(digits) - at - 1}}}")
        for at, digit in enumerate(digits)
        if digit != "0"
    ]

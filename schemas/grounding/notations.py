"""Notations of numbers, and names of months.

The common ones are listed here; those of a named locale come from CLDR, through Babel.
"""

from __future__ import annotations

import functools
from typing import Any

#: Names of months in English, German, French, Spanish, Italian, Dutch and Portuguese, from CLDR: twelve a language,
#: each followed by its short forms after a slash.
_COMMON = """
january/jan february/feb march/mar april/apr may june/jun july/jul august/aug september/sept/sep october/oct
november/nov december/dec
januar/jan februar/feb märz/mär april/apr mai juni/jun juli/jul august/aug september/sept/sep oktober/okt november/nov
dezember/dez
janvier/janv février/févr mars avril/avr mai juin juillet/juil août septembre/sept octobre/oct novembre/nov décembre/déc
enero/ene febrero/feb marzo/mar abril/abr mayo/may junio/jun julio/jul agosto/ago septiembre/sept octubre/oct
noviembre/nov diciembre/dic
gennaio/gen febbraio/feb marzo/mar aprile/apr maggio/mag giugno/giu luglio/lug agosto/ago settembre/set ottobre/ott
novembre/nov dicembre/dic
januari/jan februari/feb maart/mrt april/apr mei juni/jun juli/jul augustus/aug september/sep oktober/okt november/nov
december/dec
janeiro/jan fevereiro/fev março/mar abril/abr maio/mai junho/jun julho/jul agosto/ago setembro/set outubro/out
novembro/nov dezembro/dez
"""
SPACES = " \u00a0\u202f\u2009"  #: Between groups of digits.
_APOSTROPHES = "'’"
#: A decimal mark and the marks between groups of digits, where no locale is named.
_ALL = ((".", "," + _APOSTROPHES + SPACES), (",", "." + _APOSTROPHES + SPACES))
_ARABIC = ("٫", "٬")  #: The same beside Arabic and Persian digits; nothing else is written with them.


@functools.lru_cache(256)
def marks(locales: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return pairs of a decimal mark and the marks between groups of digits; ValueError for an unknown locale."""
    if not locales:
        return (*_ALL, _ARABIC)
    found = []
    for locale in map(_locale, locales):
        symbols = locale.number_symbols["latn"]
        group = symbols["group"]
        alike = next((others for others in (SPACES, _APOSTROPHES) if group in others), group)
        found.append((symbols["decimal"], alike))
    return (*dict.fromkeys(found), _ARABIC)


@functools.lru_cache(256)
def months(locales: tuple[str, ...]) -> dict[str, int]:
    """Return months, 1 to 12, by their lower-case names; ValueError for an unknown locale."""
    out: dict[str, int] = {}
    if not locales:
        for index, names in enumerate(_COMMON.split()):
            out.update(dict.fromkeys(names.split("/"), index % 12 + 1))
    for locale in map(_locale, locales):
        for context in ("format", "stand-alone"):
            for width in ("wide", "abbreviated"):
                for number, name in locale.months[context][width].items():
                    if not name.isdigit() and len(bare := name.lower().rstrip(".")) > 1:
                        out.setdefault(bare, number)
    return out


def _locale(name: str) -> Any:
    try:
        import babel  # imported late: needed for named locales only
    except ImportError:
        raise ValueError(f"locales={name!r} needs Babel: pip install 'guard-slm[locales]'") from None
    try:
        return babel.Locale.parse(name.replace("-", "_"))
    except (ValueError, babel.UnknownLocaleError):
        raise ValueError(f"locales={name!r} is no locale that CLDR has") from None

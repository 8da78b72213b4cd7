"""Notations: how numbers are written and months are called, by locale; from Unicode's CLDR, as Babel has it."""

from __future__ import annotations

import functools

#: Whose names of months are known where no locales are named.
COMMON = ("en", "de", "fr", "es", "it", "nl", "pt")
_SPACES = " \u00a0\u202f\u2009"
_APOSTROPHES = "'’"
#: Decimal mark and marks between groups, where no locales are named.
_ALL = ((".", "," + _APOSTROPHES + _SPACES), (",", "." + _APOSTROPHES + _SPACES))


@functools.lru_cache(256)
def marks(locales: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return pairs of a decimal mark and the marks that may stand between groups; ValueError for an unknown locale."""
    if not locales:
        return _ALL
    found = []
    for locale in map(_locale, locales):
        symbols = locale.number_symbols["latn"]
        group = symbols["group"]
        alike = next((others for others in (_SPACES, _APOSTROPHES) if group in others), group)
        found.append((symbols["decimal"], alike))
    return tuple(dict.fromkeys(found))


@functools.lru_cache(256)
def months(locales: tuple[str, ...]) -> dict[str, int]:
    """Return the number of each month by its names, in lower case; ValueError for an unknown locale."""
    out: dict[str, int] = {}
    for locale in map(_locale, locales or COMMON):
        for context in ("format", "stand-alone"):
            for width in ("wide", "abbreviated"):
                for number, name in locale.months[context][width].items():
                    if not name.isdigit() and len(bare := name.lower().rstrip(".")) > 1:
                        out.setdefault(bare, number)
    out.setdefault("sept", 9)
    return out


def _locale(name: str):  # type: ignore[no-untyped-def] # Babel tells no types
    import babel  # here: who grounds nothing does not need it

    try:
        return babel.Locale.parse(name.replace("-", "_"))
    except (ValueError, babel.UnknownLocaleError):
        raise ValueError(f"locales={name!r} is no locale that CLDR has") from None

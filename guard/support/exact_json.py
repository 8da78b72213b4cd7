"""JSON whose numbers keep all their digits: those that a double would round are decimals, in and out."""

from __future__ import annotations

import json
import re
import secrets
from decimal import Decimal, InvalidOperation
from typing import Any

from guard.kernels.unicode_text import is_unicode

_MAY_ROUND = re.compile(r"[0-9][0-9.]{15}|[eE]")  # a double has every number of 15 digits
_MARK = secrets.token_hex(16)  # no text has it that was written before this process
_MARKED = re.compile(f'"{_MARK}([^"]*)"')


def read(text: str) -> Any:
    """Return a JSON value: a fraction is a float where that is the number that is written, else a Decimal.

    ValueError where the text is no JSON, or a number's exponent is beyond that of any decimal.
    """
    return json.loads(text, parse_float=_number)


def written(value: Any, indent: int | None = None) -> str:
    """Return such a value as JSON that UTF-8 can encode: unescaped, or all escaped where a surrogate stands alone."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=_marked)
    if not is_unicode(text):
        text = json.dumps(value, indent=indent, default=_marked)
    return _MARKED.sub(r"\1", text) if _MARK in text else text


def _number(text: str) -> float | Decimal:
    double = float(text)
    if not _MAY_ROUND.search(text):
        return double
    try:
        said = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text[:40]} has an exponent beyond that of any decimal") from None
    return double if said == Decimal(repr(double)) else said


def _marked(value: Any) -> str:
    """Return a decimal as a text that becomes a number; json knows no way to write one."""
    if isinstance(value, Decimal) and value.is_finite():
        return _MARK + str(value)
    raise TypeError(f"{type(value).__name__} is no JSON")

"""Numbers under constraints: random schemas and spellings around their edges, and exact fractions as the judge.

The judge knows nothing of automata: a text is the fraction that it spells, a schema is evaluated on it, and what an
option lets a writer write is said of the text (docs/reference/keywords.md has the restrictions). Where that is open,
only soundness is judged.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from functools import cache
from random import Random
from typing import Any

from properties import completion
from strategies import Case, byte_vocabulary

#: Keywords under which pieces are bounds alone, however they are combined.
BOUNDS = frozenset({"type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "allOf", "anyOf"})
#: Around these, numbers are drawn: small and large, fine and coarse, and where doubles have gaps.
BASES = (
    *(0, 1, 5, 12, 99, 100, 1000, 0.1, 0.5, 1e-3, 2.5, 1e-7, 1e5, 1e10, 2.5e10, 1e12, 1e16, 1e21, 1e30, 1e300, 1e-20),
    *(2**53, 2**53 + 1, 2**64, 10**17, 10**399, 7 * 10**398 + 1, 123456789012345678901234567890),
    *(Decimal("0.1000000000000000055"), Decimal("1E+10"), Decimal("12.50"), Decimal("1e-30"), Decimal("9.99e99")),
)
STEPS = (
    *(1, 2, 3, 7, 10, 100, 0.1, 0.25, 0.01, 1.5, 12, 30, 97, 0.123456789, 1e-8, 1e10, 2**40, 3**50, 10**20, 1.0),
    *(Decimal("1e-30"), Decimal("0.3"), Decimal("1E+3"), Decimal("123456789.123456789")),
)


# ---- schemas ---------------------------------------------------------------------------------------------------------


def number_schema(r: Random) -> dict[str, Any]:
    """Draw a schema of numbers: half of them bounds, a step and an exclusion, half of them combined in any way."""
    base = r.choice(BASES)
    schema = _combined(r, base, 2) if r.random() < 0.5 else _plain(r, base)
    schema.setdefault("type", "number")
    return schema


def _near(r: Random, base: Any) -> Any:
    """Draw a number that is, or is near, or is unlike another one; as an int, a float or a Decimal."""
    kind = r.random()
    if kind < 0.3:
        number: Any = base
    elif kind < 0.7:
        number = Decimal(str(base)) + r.randint(-12, 12) * Decimal(10) ** r.randint(-4, 2)
    elif kind < 0.85:
        number = r.choice([r.randint(-20, 20), r.randint(-2000, 2000), round(r.uniform(-10, 10), r.randint(0, 3))])
    else:
        number = r.choice(BASES)
    if r.random() < 0.25:
        number = -number
    if isinstance(number, Decimal) and r.random() < 0.5:
        number = int(number) if number == number.to_integral_value() else float(number)
    return number


def _plain(r: Random, base: Any) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"} if r.random() < 0.25 else {}
    if r.random() < 0.5:
        schema[r.choice(["minimum", "exclusiveMinimum"])] = _near(r, base)
    if r.random() < 0.5:
        schema[r.choice(["maximum", "exclusiveMaximum"])] = _near(r, base)
    if r.random() < 0.3:
        schema["multipleOf"] = r.choice(STEPS)
    if r.random() < 0.15:
        schema["not"] = _excluded(r, base)
    return schema


def _excluded(r: Random, base: Any) -> dict[str, Any]:
    return r.choice(
        [
            {"multipleOf": r.choice(STEPS)},
            {"const": _near(r, base)},
            {"enum": [_near(r, base) for _ in range(r.randint(1, 4))]},
            {"type": "integer"},
            {r.choice(["minimum", "exclusiveMaximum"]): _near(r, base)},
            {"multipleOf": r.choice(STEPS), "minimum": _near(r, base)},
        ]
    )


def _combined(r: Random, base: Any, depth: int) -> dict[str, Any]:
    kind = r.random()
    if depth == 0 or kind < 0.25:
        return _plain(r, base)
    if kind < 0.4:
        return {"not": _combined(r, base, depth - 1)}
    if kind < 0.5:
        return {"const": _near(r, base)} if r.random() < 0.5 else {"enum": [_near(r, base) for _ in range(3)]}
    if kind < 0.6:
        return {word: _combined(r, base, depth - 1) for word in ("if", "then", "else")}
    word = r.choice(["allOf", "anyOf", "oneOf"])
    parts = [_combined(r, base, depth - 1) for _ in range(r.randint(2, 3))]
    return {**(_plain(r, base) if r.random() < 0.3 else {}), word: parts}


# ---- texts -----------------------------------------------------------------------------------------------------------


def number_text(r: Random, schema: dict[str, Any]) -> str:
    """Draw the text of a number: any, or one near a number of the schema, in one of its spellings."""
    constants = list(_numbers(schema))
    if not constants or r.random() < 0.3:
        text = r.choice(["", "-"]) + r.choice([str(r.randint(0, 30)), str(r.randint(0, 3000)), "0", "1", "9", "10"])
        if r.random() < 0.5:
            text += "." + "".join(r.choices("0123456789", k=r.randint(1, 4)))
        if r.random() < 0.4:
            text += r.choice("eE") + r.choice(["", "+", "-"]) + str(r.randint(0, 12))
        return text
    value = Decimal(str(r.choice(constants)))
    for _ in range(r.choice([0, 0, 1, 2])):
        value = _exact(value, r.randint(-12, 12) * Decimal(10) ** r.randint(-20, 3))
    if r.random() < 0.1:
        value = _exact(Decimal(0), -value)
    return _spelled(r, value)


def _exact(a: Decimal, b: Decimal) -> Decimal:
    total = Fraction(a) + Fraction(b)
    scale = max(0, -int(a.as_tuple().exponent), -int(b.as_tuple().exponent))
    return Decimal(f"{int(total * 10**scale)}e-{scale}")


def _spelled(r: Random, value: Decimal) -> str:
    sign, digits, exponent = value.as_tuple()
    text = "".join(map(str, digits)).lstrip("0") or "0"
    power = int(exponent)
    if power >= 0:
        text += "0" * power
    elif text != "0":
        text = text.rjust(1 - power, "0")
        text = f"{text[:power]}.{text[power:]}"
        if r.random() < 0.8:
            text = text.rstrip("0").rstrip(".")
    shift = r.random()
    if shift < 0.15:
        text += ".0" if "." not in text else "0"
    elif shift < 0.4:
        moved = f"{value * Decimal(10) ** 0:e}" if r.random() < 0.7 else f"{text}{r.choice('eE')}{r.choice('+-')}0"
        text = moved.lstrip("-")
        if not re.search("[eE][-+]?[0-9]{1,3}$", text):
            text = "0"
    return "-" * (sign or (text == "0" and r.random() < 0.2)) + text


def _numbers(schema: Any) -> Iterator[Any]:
    if isinstance(schema, dict):
        for value in schema.values():
            yield from _numbers(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _numbers(value)
    elif not isinstance(schema, (str, bool)):
        yield schema


# ---- the judge -------------------------------------------------------------------------------------------------------


@cache
def _fraction(text: str) -> Fraction:
    return Fraction(text)


def exact(number: Any) -> Fraction:
    """Return a number of a schema; a float means the text that it was read from."""
    return _fraction(str(number))


def number_holds(schema: dict[str, Any], value: Fraction, of: Callable[[Any], Any] = exact) -> bool:
    """Judge a number; `of` says what the schema's own bounds and constants mean."""

    def holds(inner: dict[str, Any]) -> bool:
        return number_holds(inner, value, of)

    judges: dict[str, Callable[[Any], bool]] = {
        "type": lambda kind: kind == "number" or value == int(value),
        "minimum": lambda bound: value >= of(bound),
        "exclusiveMinimum": lambda bound: value > of(bound),
        "maximum": lambda bound: value <= of(bound),
        "exclusiveMaximum": lambda bound: value < of(bound),
        "multipleOf": lambda step: (value / exact(step)).denominator == 1,
        "const": lambda one: value == of(one),
        "enum": lambda several: value in [of(one) for one in several],
        "not": lambda inner: not holds(inner),
        "allOf": lambda parts: all(map(holds, parts)),
        "anyOf": lambda parts: any(map(holds, parts)),
        "oneOf": lambda parts: sum(map(holds, parts)) == 1,
        "if": lambda inner: holds(schema["then"] if holds(inner) else schema["else"]),
        "then": lambda _: True,
        "else": lambda _: True,
    }
    return all(judges[keyword](argument) for keyword, argument in schema.items())


def keywords(schema: Any) -> set[str]:
    """Return every keyword of a schema."""
    if isinstance(schema, dict):
        return set(schema).union(*(keywords(value) for value in schema.values()))
    return set().union(*(keywords(value) for value in schema)) if isinstance(schema, list) else set()


def is_written(schema: dict[str, Any], text: str, spelling: str) -> bool:
    """Say whether a valid number is certainly written so."""
    used = keywords(schema)
    integral = any(kind == "integer" for kind in _types(schema))
    has_exponent = "e" in text.lower()
    if spelling == "any":
        return not has_exponent or (used <= BOUNDS and not integral)
    value = Fraction(text)
    if has_exponent or (text[0] == "-" and value == 0) or ("." in text and value.denominator == 1):
        return False
    written = re.sub(r"[-.]", "", text)
    digits = written.lstrip("0")
    zeros = written[: len(written) - len(digits)]
    if len(digits) > 15 or len(zeros) > 7:  # below 1e-7 it has an exponent
        return False
    # What doubles take for a number of the schema is not written beside it.
    return all(value == exact(n) or _double(value) != _double(exact(n)) for n in _numbers(schema))


def _types(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if "type" in schema:
            yield schema["type"]
        for value in schema.values():
            yield from _types(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _types(value)


def _double(value: Fraction) -> Any:
    try:
        return float(value)
    except OverflowError:
        return value


def check_number(schema: dict[str, Any], r: Random, texts: int = 40) -> Counter[str]:
    """Compare a schema with fractions over random spellings, and complete random beginnings of numbers."""
    count: Counter[str] = Counter(schemas=1)
    constants = set(map(exact, _numbers(schema)))
    by_doubles = (  # numbers that doubles confuse among themselves can't be kept apart
        not keywords(schema) & {"multipleOf", "oneOf", "if"}
        and "integer" not in _types(schema)
        and len(set(map(_double, constants))) == len(constants)
    )
    for spelling in ("any", "canonical"):
        case = Case(schema, {"spelling": spelling, "whitespace": "compact"}, r.randrange(2**32))
        matcher = case.matcher(byte_vocabulary())

        def judge(text: str, what: str, case: Case = case, spelling: str = spelling) -> None:
            value = Fraction(text)
            assert number_holds(schema, value), f"{case}: {what} {text}"
            if spelling == "canonical" and by_doubles:
                double = Fraction(float(value)) if abs(value) < 10**308 else value
                assert number_holds(schema, double, _as_double), f"{case}: {what} {text}, for doubles {double}"

        for text in (number_text(r, schema) for _ in range(texts)):
            matcher.reset()
            count["verdicts"] += 1
            if matcher.accept_bytes(text.encode()) and matcher.can_stop():
                judge(text, "accepts")
            elif is_written(schema, text, spelling):
                assert not number_holds(schema, Fraction(text)), f"{case}: rejects {text}"
        matcher.reset()
        if matcher.distance() < 0:
            count["unsatisfiable"] += 1
            continue
        for _ in range(6):
            matcher.reset()
            text = number_text(r, schema)
            text = text[: r.choice([0, 1, 2, 3, 5, 10, 20, len(text) - 1])]
            if text and not matcher.accept_bytes(text.encode()):
                continue
            judge(text + completion(matcher, r, case).decode(), "completes to")
            count["completions"] += 1
    return count


def _as_double(number: Any) -> Fraction:
    value = exact(number)
    return Fraction(float(value)) if abs(value) < 10**308 else value

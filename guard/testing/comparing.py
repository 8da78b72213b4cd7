"""Comparisons of values, texts and requests, for the invariants."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from guard.errors import Violation
from guard.kernels import json_pointer
from guard.schemas import rewriting
from guard.support.plain_text import plain_line
from guard.testing.app_adapters import ObservedRequest, content
from guard.testing.oracle import Verdict, plain, same
from guard.testing.scripted_replies import written

SHOWN = 160  #: Most characters of a value in a finding.
#: Names of figures in a result.
TOKENS = re.compile(r"(\A|[_.])(tokens|usage|prompt_tokens|completion_tokens|input_tokens|output_tokens)\Z")
COUNTS = re.compile(r"(\A|[_.])(attempts|asks|calls|requests|tries)\Z")


def clipped(text: str) -> str:
    """Return a text clipped, on one line, with invisible characters escaped."""
    shown = "".join(map(_visible, text[:SHOWN]))
    return shown if len(text) <= SHOWN and len(shown) <= SHOWN else shown[: SHOWN - 1] + "…"


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    return "⏎" if character == "\n" else repr(character)[1:-1]


def is_reading(value: Any, found: Sequence[Verdict]) -> bool:
    """Whether a value is one of the readings of some answers."""
    import pydantic

    for reading in found:
        if isinstance(value, str) and value in reading.raw:
            return True  # the application returns the answer's text
        for expected, text in zip(reading.values, reading.texts, strict=True):
            if isinstance(value, dict) and isinstance(expected, dict):
                if same(ordered_like(value, expected), expected):
                    return True
            elif isinstance(value, pydantic.BaseModel) or isinstance(expected, pydantic.BaseModel):
                mine = (plain(value), plain(value, whole=False))
                theirs = [plain(expected), plain(expected, whole=False)]
                if isinstance(value, dict):
                    theirs.append(json.loads(text))
                if any(equal_values(one, other) for one in mine for other in theirs):
                    return True
            elif same(plain(value), plain(expected)):
                return True
    return False


def ordered_like(value: Any, like: Any) -> Any:
    """Return a value with its keys in another's order, since an application may reorder them."""
    if isinstance(value, dict) and isinstance(like, dict) and value.keys() == like.keys():
        return {key: ordered_like(value[key], part) for key, part in like.items()}
    if isinstance(value, list) and isinstance(like, list) and len(value) == len(like):
        return list(map(ordered_like, value, like))
    return value


def equal_values(one: Any, other: Any) -> bool:
    """Compare values of which one was converted to a type: 3.0 may have become 3, and the order is the type's."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal_values(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal_values, one, other))
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other or (one != one and other != other)
    return same(one, other) or _is_same_instant(one, other)


def _is_same_instant(one: Any, other: Any) -> bool:
    """Whether two texts are the same moment, written in two time zones."""
    if not isinstance(one, str) or not isinstance(other, str):
        return False
    try:
        first, second = datetime.fromisoformat(one), datetime.fromisoformat(other)
    except ValueError:
        return False
    return first.tzinfo is not None and second.tzinfo is not None and first == second


def value_text(value: Any) -> str:
    """Return a value as JSON, or its repr where it is not JSON."""
    try:
        return written(plain(value))
    except (ValueError, TypeError):
        return repr(value)


def difference_from(said: str, value: Any) -> str:
    """Return words for the difference between a value and the answer, where it is small."""
    try:
        before, after = json.loads(said), plain(value, whole=False)
    except (ValueError, RecursionError):
        return ""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() | after.keys():
            if key not in before:
                return f": {key!r} was not in it"
            if key not in after:
                return f": {key!r} is gone"
            if not (same if type(value) is dict else equal_values)(before[key], after[key]):
                return f": {key!r} was {clipped(repr(before[key]))} and is {clipped(repr(after[key]))}"
    return ""


def defaults_of(schema: Any) -> list[Any]:
    """List the defaults and constants in a schema, which may come from elsewhere than the model."""
    return [part[key] for part in rewriting.each(schema) for key in ("default", "const") if key in part]


def new_words(asks: Sequence[ObservedRequest], after: ObservedRequest) -> str:
    """Return the messages beyond the call's first question, without the model's own."""
    first = asks[0]
    lines = set(first.words.split("\n"))
    new: list[str] = []
    for message in after.messages:
        if message in first.messages or message.get("role") == "assistant":
            continue
        text = content(message)
        for ask in (ask for ask in asks if ask.number < after.number):
            said = ask.reply.text.strip()
            if any(map(str.isalnum, said)):  # another names no field, but a name may be spelled so: "{}"
                text = text.replace(said, "").replace(json.dumps(said)[1:-1], "")
        new += [line for line in text.split("\n") if line not in lines]
    return "\n".join(new)


def is_told(finding: Violation, words: str) -> bool:
    """Whether a text names the place of a finding, in any spelling."""
    name = name_of(finding)
    key = json_pointer.unescaped(name)
    spellings = (name, plain_line(name), key, json.dumps(key)[1:-1], repr(key)[1:-1])
    # Line by line: `new_words` leaves out lines that the first question has, too, such as empty ones.
    return any(all(line in words for line in spelling.split("\n")) for spelling in spellings)


def name_of(finding: Violation) -> str:
    """Return the name of the field of a finding; "" where it has none."""
    if finding.rule == "extra_forbidden" or finding.rule.endswith("additionalProperties"):
        return ""  # schema and type report it at different places
    steps = [step for step in finding.at.split("/") if step and not step.isdigit()]
    if steps:
        return steps[-1]
    if finding.rule.endswith("required") or finding.rule == "missing":
        match = re.search(r"property '([^']+)'", finding.expected)
        return match[1] if match else ""
    return ""


def long_texts(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the arguments that are texts long enough to be recognised, by name."""
    for name, value in given.items():
        messages = value if isinstance(value, list) else []
        for text in [value, *(content(m) for m in messages if isinstance(m, Mapping))]:
            if isinstance(text, str) and len(text) > 8:
                yield name, text


def property_names(schema: Any) -> tuple[str, ...]:
    """Return the names of the properties at the root of a schema."""
    if isinstance(schema, Mapping) and isinstance(reference := schema.get("$ref"), str) and reference.startswith("#/"):
        part: Any = schema
        for step in reference[2:].split("/"):
            part = part.get(step) if isinstance(part, Mapping) else None
        return property_names(part)
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    return tuple(properties) if isinstance(properties, Mapping) else ()


def carries(ask: ObservedRequest, names: Sequence[str]) -> bool:
    """Whether a request describes the value that is asked for: by a schema, or in words."""
    text = "" if ask.schema is None else json.dumps(ask.schema, ensure_ascii=False)
    words = ask.words
    return all(f'"{name}"' in text or json.dumps(name) in text for name in names) or all(n in words for n in names)


def key_orders(schema: Any, where: str = "") -> dict[str, tuple[str, ...]]:
    """Return the order of keys of each object in a schema, by the path of keys to it."""
    if not isinstance(schema, Mapping):
        return {}
    found: dict[str, tuple[str, ...]] = {}
    properties = schema.get("properties")
    if isinstance(properties, Mapping):
        found[where] = tuple(properties)
        for name, part in properties.items():
            found |= key_orders(part, f"{where}/{name}")
    if isinstance(schema.get("items"), Mapping):
        found |= key_orders(schema["items"], f"{where}/*")
    for group in ("$defs", "definitions"):
        for name, part in (schema.get(group) or {}).items() if isinstance(schema.get(group), Mapping) else ():
            found |= key_orders(part, f"#{name}")
    return found


def asked_otherwise(one: ObservedRequest, other: ObservedRequest) -> str:
    """Return words for the difference between two requests; "" where they are equal."""
    if one.messages != other.messages:
        before, after = tails(one.words, other.words)
        return f"{before}, then {after}"
    if not same(one.schema, other.schema):
        return f"the schema was {clipped(json.dumps(one.schema))}, then {clipped(json.dumps(other.schema))}"
    return f"model {one.model}, then {other.model}" if one.model != other.model else ""


def tails(one: Any, other: Any) -> tuple[str, str]:
    """Return two texts from their first difference on."""
    before, after = str(one), str(other)
    at = next((n for n, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after)))
    start = max(0, at - 20)
    lead = "…" if start else ""
    return repr(lead + before[start : start + 90]), repr(lead + after[start : start + 90])


def figures_of(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, int]]:
    """Yield the counts in a result, beside its value, by name."""
    for name, value in values.items():
        if isinstance(value, int) and not isinstance(value, bool):
            yield f"{prefix}{name}", value
        elif isinstance(value, list | tuple) and COUNTS.search(name):
            yield f"{prefix}{name}", len(value)
        elif isinstance(value, Mapping):
            yield from figures_of(value, f"{prefix}{name}.")
        elif hasattr(value, "__dict__") and not prefix and TOKENS.search(name):
            yield from figures_of(vars(value), f"{prefix}{name}.")


def summed(ledger: Any) -> dict[str, int]:
    """Return the sums of the counts in a ledger, by name."""
    sums: dict[str, int] = {}
    entries = ledger if isinstance(ledger, list) else [ledger]
    for entry in entries:
        held = entry if isinstance(entry, Mapping) else getattr(entry, "__dict__", {})
        for name, figure in figures_of(held):
            sums[name] = sums.get(name, 0) + figure
    return sums

"""Hostile texts beside schemas whose values must stand in them: months in odd letters, days times years, many marks."""

from __future__ import annotations

from random import Random
from typing import Any

from attack.cases import OK, TYPED, Case, Expected, add, chat, form, posted, say

FAMILY = "grounded"
FROM = {"x-guard-from": "input"}
KINDS: dict[str, dict[str, Any]] = {
    "a number": {"type": "number", **FROM},
    "a date": {"type": "string", "format": "date", **FROM},
    "a text": {"type": "string", **FROM},
}
YEARS = "; ".join(map(str, range(1900, 2100)))
TEXTS = {
    "months in odd letters": "3 Auguſt 1795, 3 APRİL 2026, 3 aprıl 2026",
    "days times years": f"{YEARS}\n{'1 May ' * 8_000}",
    "ranges": "01/02/11-" * 5_000,
    "marks": "a" + "\u0301\u0323" * 8_000,
    "one letter": "x" * 400_000,
    "powers of ten": "1e99 1e-99 1e999 " * 2_000,
}
ANSWERS = {"a number": "5", "a date": '"2026-05-14"', "a text": f'"{"x" * 16_000}"'}


def _asked(text: str, kind: str) -> Any:
    def made(canary: str, _: Random) -> Any:
        schema = {"type": "object", "properties": {"a": KINDS[kind]}, "required": ["a"], "additionalProperties": False}
        body = chat(canary, say(f'{{"a": {ANSWERS[kind]}}}'), response_format=form(schema))
        body["messages"].append({"role": "user", "content": text})
        return posted(canary, body)

    return made


for _name, _text in TEXTS.items():
    for _kind in KINDS:
        add(Case(FAMILY, f"{_name}, {_kind}", _asked(_text, _kind), Expected(OK | TYPED)))

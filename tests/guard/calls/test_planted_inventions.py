"""A thousand answers of a remote model, half of their values planted inventions: all are found, no right one is."""

from __future__ import annotations

import json
import random
import string
from decimal import Decimal

import guard
from guard.output.grounding import GroundingChecker
from guard.schemas.grounding.keyword import SourceRule
from guard.schemas.grounding.sources import Sources

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "x-guard-from": "input"},
        "code": {"type": ["string", "null"], "x-guard-from": "input"},
        "total": {"type": "number", "x-guard-from": "input"},
        "due": {"type": "string", "format": "date", "x-guard-from": "input"},
        "items": {"type": "array", "items": {"type": "string", "x-guard-from": {"input": "input", "within": "line"}}},
    },
    "required": ["name", "code", "total", "due", "items"],
    "additionalProperties": False,
}
ANSWERS = 1_000
WORDS = [
    "Anna",
    "Bell",
    "Zoë",
    "Müller",
    "Kraft",
    "Ann-Marie",
    "O'Neil",
    "lamp",
    "rope",
    "tea",
    "Oat milk",
    "naïve",
    "Straße",
]
INVENTED = ["Berta", "Quill", "Nadir", "Otto Vex", "yak", "Anna Quill", "ell", "Kra", "milk lamp tea"]


def document(draw: random.Random) -> tuple[str, dict[str, object]]:
    """Return a document and the right answer to it."""
    name = f"{draw.choice(WORDS[:7])} {draw.choice(WORDS[:7])}"
    code = draw.choice("ABC") + "-" + "".join(draw.choices(string.digits, k=5))
    cents, day = draw.randrange(100, 10_000_000), draw.randrange(1, 29)
    total = cents / 100
    written = draw.choice([f"{total:.2f}", f"{total:,.2f}", f"{total:.2f}".replace(".", ",")])
    items = draw.sample(WORDS[7:], 2)
    date = draw.choice([f"2026-05-{day:02}", f"{day} May 2026", f"{day:02}.05.2026", f"May {day}, 2026"])
    end = draw.choice(["\n", "\r\n"])
    text = end.join([f"Dear {name},", f"ref {code}  due  {date}", f"total: {written} EUR", f"{items[0]}, {items[1]}"])
    value = {
        "name": name,
        "code": draw.choice([code, None]),
        "total": total,
        "due": f"2026-05-{day:02}",
        "items": items,
    }
    return text, value


def test_every_invention_is_found_and_no_right_value_is_flagged() -> None:
    draw = random.Random(23)
    checker = GroundingChecker(guard.compile(SCHEMA))
    planted = found_all = 0
    for _ in range(ANSWERS):
        text, value = document(draw)
        sources = Sources({"input": text})
        wrong = set()
        for name in draw.sample(["name", "code", "total", "due", "items"], draw.randrange(4)):
            wrong.add(name)
            if name == "total":
                value[name] = draw.randrange(10_000_001, 99_999_999) / 100
            elif name == "due":
                value[name] = f"2026-06-{draw.randrange(1, 29):02}"
            elif name == "code":
                value[name] = "X-" + "".join(draw.choices(string.digits, k=5))
            elif name == "items":
                value[name] = [draw.choice(INVENTED), *value["items"]]  # type: ignore[misc] # a list
            else:
                value[name] = draw.choice(INVENTED)
        located = checker.check(json.dumps(value, ensure_ascii=False), sources)
        flagged = {finding.at.split("/")[1] for finding in located.findings}
        assert flagged == wrong, (text, value)
        assert all(finding.at in ("/items/0", f"/{finding.at.split('/')[1]}") for finding in located.findings)
        planted += len(wrong)
        found_all += len(flagged)
    assert planted == found_all > ANSWERS
    assert sources.places(SourceRule("number"), Decimal(-1)) == []

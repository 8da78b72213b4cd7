"""What vLLM's own test of structured outputs asks, `test_struct_output_generate` of its entrypoints, restated.

Each scenario has a constraint and a judge of its answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jsonschema

_HISTORY = {
    "type": "object",
    "properties": {
        "company": {"type": "string"},
        "duration": {"type": "number", "minimum": 0.0, "maximum": 100.0},
        "position": {"type": "string"},
    },
    "required": ["company", "duration", "position"],
    "additionalProperties": False,
}
EMPLOYEE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "skills": {"type": "array", "items": {"type": "string"}},
        "grade": {"type": "string", "pattern": "^[A-D]$"},
        "email": {"type": "string", "pattern": r"^[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,}$"},
        "work_history": {"type": "array", "items": _HISTORY, "minItems": 0, "maxItems": 3},
    },
    "required": ["name", "age", "skills", "grade", "email", "work_history"],
    "additionalProperties": False,
}
GRADE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "score": {"type": "integer", "multipleOf": 5},
        "tags": {"type": "array", "items": {"type": "string", "minLength": 10, "maxLength": 20}},
    },
    "required": ["score", "tags"],
    "additionalProperties": False,
}
CAR: dict[str, Any] = {
    "type": "object",
    "$defs": {"CarType": {"enum": ["sedan", "SUV", "Truck", "coupe"], "type": "string"}},
    "properties": {
        "brand": {"type": "string"},
        "model": {"type": "string"},
        "car_type": {"$ref": "#/$defs/CarType"},
    },
    "required": ["brand", "model", "car_type"],
}
FROG: dict[str, Any] = {
    "type": "object",
    "properties": {"description": {"type": "string", "minLength": 50, "maxLength": 50}},
    "required": ["description"],
    "additionalProperties": False,
}
THREE: dict[str, Any] = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("a1", "a2", "a3")},
    "required": ["a1", "a2", "a3"],
}
IPV4 = r"((25[0-5]|(2[0-4]|1\d|[1-9]|)\d)\.){3}(25[0-5]|(2[0-4]|1\d|[1-9]|)\d)"
LANGUAGES = ["Python", "Java", "JavaScript", "C++", "C#", "PHP", "TypeScript", "Ruby", "Swift", "Kotlin"]
EBNF = """
root ::= select_statement
select_statement ::= "SELECT" column "from" table "where" condition
column ::= "col_1" | "col_2"
table ::= "table_1" | "table_2"
condition ::= column "=" number
number ::= "1" | "2"
"""
LARK = """
start: select_statement
select_statement: "SELECT" column "from" table "where" condition
column: "col_1" | "col_2"
table: "table_1" | "table_2"
condition: column "=" number
number: "1" | "2"
"""
SELECTION = re.compile(r"SELECTcol_[12]fromtable_[12]wherecol_[12]=[12]")
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "additionalProperties": False}
CALL = {
    "type": "structural_tag",
    "structures": [{"begin": "<function=get_weather>", "schema": WEATHER, "end": "</function>"}],
    "triggers": ["<function="],
}


def meets(schema: dict[str, Any]) -> Callable[[str], bool]:
    """Return a judge: is a text JSON of the schema, on one line?"""

    def judge(text: str) -> bool:
        try:
            jsonschema.validate(json.loads(text), schema)
        except (ValueError, jsonschema.ValidationError):
            return False
        return "\n" not in text

    return judge


def selects(text: str) -> bool:
    """Whether a text is a statement of the two grammars."""
    return SELECTION.fullmatch(text) is not None


def calls_well(text: str) -> bool:
    """Whether every call in a text is whole and of the schema."""
    found = re.findall("<function=get_weather>(.*?)</function>", text, re.DOTALL)
    return text.count("<function=") == len(found) and all(map(meets(WEATHER), found))


@dataclass(frozen=True)
class Scenario:
    """A constraint, how it is asked for, and the judge of an answer."""

    name: str
    constraint: dict[str, Any]
    judge: Callable[[str], bool] | None  # None: the request must be refused
    prompt: str = "Make the response as short as possible. "
    temperature: float = 1.0
    max_tokens: int = 250
    answers: int = 1


SCENARIOS = (
    Scenario("json schema", {"json": EMPLOYEE}, meets(EMPLOYEE)),
    Scenario("json object, n=2", {"json_object": True}, meets({"type": "object"}), answers=2),
    Scenario("schema that xgrammar refuses", {"json": GRADE}, meets(GRADE)),
    Scenario("EBNF", {"grammar": EBNF}, selects, temperature=0.8),
    Scenario("Lark", {"grammar": LARK}, selects, temperature=0.8),
    Scenario("not a grammar", {"grammar": "not a grammar"}, None),
    Scenario("regex", {"regex": IPV4}, lambda text: re.fullmatch(IPV4, text) is not None, max_tokens=16),
    Scenario("choice", {"choice": LANGUAGES}, lambda text: text in LANGUAGES, temperature=0.8, max_tokens=16),
    Scenario("enum of a Pydantic model", {"json": CAR}, meets(CAR)),
    Scenario("minLength and maxLength", {"json": FROG}, meets(FROG)),
    Scenario(
        "structural tag",
        {"structural_tag": json.dumps(CALL)},
        calls_well,
        prompt='Answer by <function=get_weather>{"city": "Paris"}</function>\nThe weather in Paris? ',
        temperature=0,
        max_tokens=100,
    ),
    Scenario("no white space", {"json": THREE, "disable_any_whitespace": True}, meets(THREE), temperature=0),
    Scenario(
        "disable_additional_properties",
        {"json": THREE, "disable_additional_properties": True},
        None,
    ),
)

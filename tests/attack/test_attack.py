"""A slice of `make attack`, and the judge itself: it must see what it is there to see."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from attack import schemas
from attack.cases import BAD, CASES, OK, Case, Expected
from attack.client import Exchange, Reply
from attack.judge import Verdict, check_record, judged
from attack.plays import INVALID, POISON, SCHEMA
from attack.run import attack, chosen

OF_EACH = 12  #: Cases of each family; `make attack` has all.
OWN, OTHER = "cn" + "1" * 16, "cn" + "2" * 16
JSON = {"content-type": "application/json"}
ERROR = {"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": "invalid_json"}}
ANSWER = {"choices": [{"index": 0, "message": {"content": '{"a": 1}'}, "finish_reason": "stop"}]}


def test_a_slice_of_the_cases_ends_as_it_must(tmp_path: Path) -> None:
    outcome = attack(chosen(most=OF_EACH), tmp_path, slack=20.0)
    assert {verdict.case.id: verdict.faults for verdict in outcome.faulty} == {}
    assert outcome.breaches == []
    assert outcome.lives == 1
    assert all(figures["asked"] > 0 for figures in outcome.bystander.values())


def test_there_are_cases_of_every_family_and_each_is_the_same_every_time() -> None:
    families = Counter(case.family for case in CASES.values())
    assert set(families) == {"http", "bodies", "schemas", "answers", "invalid", "broken", "pages"}
    assert min(families.values()) >= 60
    for case in chosen(most=20):
        assert list(case.steps(OWN)) == list(case.steps(OWN))


def test_what_is_said_to_be_no_value_is_none_and_what_is_said_to_be_one_is() -> None:
    judged_ones = 0
    for name, text in INVALID.items():
        try:
            is_value = jsonschema_rs.is_valid(SCHEMA, json.loads(text))
        except (ValueError, RecursionError):  # it is not even JSON
            continue
        assert name in ("twice", "tiny exponent") or not is_value, name  # of these Python's reader makes others
    for name, make in schemas.CASES.items():
        if name.startswith(("union", "enum", "size", "properties, dep", "references, 20")):
            schema, invalid, valid = make()
            for text, is_value in ((invalid, False), (valid, True)):
                if text is not None:
                    assert jsonschema_rs.is_valid(schema, json.loads(text)) == is_value, name
                    judged_ones += 1
    assert judged_ones > 20


def exchange(status: int = 200, said: Any = None, headers: dict[str, str] = JSON, **how: Any) -> Exchange:
    """Return an exchange with one reply."""
    data = said if isinstance(said, bytes) else json.dumps(ANSWER if said is None else said).encode()
    return Exchange([Reply(status, headers, data)], data, **how)


def case(**expected: Any) -> Case:
    """Return a case that is only judged."""
    return Case("judge", "one", lambda canary, _: [canary.encode()], Expected(**{"statuses": OK, **expected}))


#: What the judge must find: a change of a good exchange, and a word of the fault.
FAULTS: dict[str, tuple[Callable[[], Exchange], Case, str]] = {
    "another's canary": (lambda: exchange(said={**ANSWER, "id": OTHER}), case(), "CROSSED"),
    "poison": (lambda: exchange(said={**ANSWER, "id": POISON}), case(), "CROSSED"),
    "no value": (lambda: exchange(), case(schema={"type": "string"}), "INVALID"),
    "another text": (lambda: exchange(), case(text='{"a": 2}'), "INVALID"),
    "not JSON": (lambda: exchange(said=b"{"), case(), "can't be read"),
    "late": (lambda: exchange(seconds=9.0), case(), "took 9.0 s"),
    "no answer": (lambda: Exchange(is_closed=True), case(), "no answer came"),
    "no HTTP": (lambda: Exchange(fault="none"), case(), "none"),
    "another status": (lambda: exchange(400, ERROR), case(), "answered 400"),
    "another code": (lambda: exchange(400, ERROR), case(statuses=BAD, codes=frozenset({"x"})), "answered 400"),
    "a code of another status": (lambda: exchange(422, ERROR), case(statuses=frozenset({422})), "422 with the code"),
    "an unknown code": (
        lambda: exchange(400, {"error": {**ERROR["error"], "code": "x"}}),
        case(statuses=BAD),
        "nothing tells of",
    ),
    "no code": (lambda: exchange(400, {"error": {"message": "x", "type": "y"}}), case(statuses=BAD), "can't be read"),
    "no form": (lambda: exchange(400, {"detail": "x"}), case(statuses=BAD), "can't be read"),
    "a stream cut off": (
        lambda: exchange(said=b"data: {}\n\n", headers={"content-type": "text/event-stream"}),
        case(),
        "how it ended",
    ),
    "a stream's error": (
        lambda: exchange(said=b"data: " + json.dumps(ERROR).encode(), headers={"content-type": "text/event-stream"}),
        case(),
        "answered 400",
    ),
    "another's number": (lambda: exchange(headers={**JSON, "x-request-id": OTHER}), case(), "came back"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_judge_sees(name: str) -> None:
    made, judged_case, words = FAULTS[name]
    assert any(words in fault for fault in judged(judged_case, OWN, OWN, made()).faults)


def test_the_judge_lets_what_is_right_pass() -> None:
    assert judged(case(text='{"a":1}', schema=SCHEMA), OWN, OWN, exchange()).faults == []
    assert judged(case(statuses=BAD), OWN, OWN, exchange(400, ERROR)).faults == []
    assert judged(case(statuses=frozenset(), may_close=True), OWN, OWN, Exchange(is_closed=True)).faults == []


def test_the_judge_holds_answers_to_the_record(tmp_path: Path) -> None:
    place = tmp_path / "trace.db"
    with sqlite3.connect(place) as trace:
        trace.execute("CREATE TABLE calls (id INTEGER PRIMARY KEY, outcome TEXT, options TEXT)")
        trace.execute("CREATE TABLE attempts (call INTEGER, messages TEXT, text TEXT)")
        trace.executemany("INSERT INTO calls VALUES (?, ?, '{}')", [(1, "valid"), (2, "TimedOut"), (3, "valid")])
        trace.executemany("INSERT INTO attempts VALUES (?, ?, ?)", [(1, OWN, "x"), (2, OWN, None), (3, OWN, OTHER)])
    trace.close()
    wanted = {1: "", 2: "on record TimedOut", 3: "CROSSED", 4: "LOST"}
    verdicts = [replace(Verdict(case(), OWN, None, "200"), calls=[(number, "200")]) for number in wanted]
    check_record(place, verdicts)
    for verdict, words in zip(verdicts, wanted.values(), strict=True):
        assert bool(verdict.faults) == bool(words)
        assert all(words in fault for fault in verdict.faults)

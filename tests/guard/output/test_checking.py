"""Checks: bounded before they begin, the same near and far, and never a value where nothing is known."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Scripted
from strategies import case, universe

import guard
from guard.errors import Unchecked
from guard.output import checking, judge, worker, worker_pool
from guard.output import target as targets
from guard.output.checking import Checked, SchemaChecker

LONG_S = 30.0  #: More than any check may take on a busy machine, and less than what it would take unbounded.


@pytest.fixture(scope="module", autouse=True)
def _ends() -> Iterator[None]:
    yield
    worker_pool.WORKERS.close()


def tower(word: str, height: int) -> dict[str, Any]:
    levels = {f"d{at}": {word: [{"$ref": f"#/$defs/d{at + 1}"}] * 2} for at in range(height)}
    return {
        "anyOf": [{"$ref": "#/$defs/d0"}, {"const": "what meets it"}],  # for of two that say the same none is the one
        "$defs": {**levels, f"d{height}": {"type": "integer"}},
    }


def checker(schema: Any) -> checking.Checker:
    return targets.from_any(schema, {"inexact": "residual"}).checker


def judged(of_schema: checking.Checker, text: str) -> bool:
    """Say whether a text is valid, as the judge alone does."""
    assert isinstance(of_schema, SchemaChecker)
    value, findings = judge.read(text)
    alone = judge.Judge(of_schema._case, backtracks=True)
    return not findings and alone.is_valid(alone.meant(value))


UNKNOWN = [
    (tower("allOf", 40), "1"),
    ({"not": {"pattern": "^(a|a)*(?!b)$"}}, json.dumps("a" * 60 + "b")),
]
#: What no judge comes to the end of, and the mask engine refuses at once.
REFUSED = [
    (tower("anyOf", 40), '"x"'),
    (tower("oneOf", 40), "1"),
    ({"pattern": "(?=a)(a+)+$"}, json.dumps("a" * 200_000 + "b")),
]


@pytest.mark.parametrize(
    "number", ["3e+799", "-1e400", "1E999", "9" * 309 + ".5", "9" * 400 + "e0", "1" + "0" * 300 + "e99"]
)
@pytest.mark.parametrize("wanted", [{"type": "number"}, {}, {"items": {"minimum": 0}}, float, list[float]])
def test_a_number_beyond_a_float_is_no_infinity(wanted: Any, number: str) -> None:
    for text in (number, f"[1, {number}]"):
        checked = checker(wanted).check(text)
        assert [finding.expected for finding in checked.findings] == ["JSON (a number is beyond what a float holds)"]
        assert (checked.value, checked.repaired) == (None, None)
    for text in ("1e308", "-1.7976931348623157e+308", "0e999", "1e-999"):
        assert not checker({"type": "number"}).check(text).findings


@given(
    digits=st.integers(1, 330),
    zeros=st.integers(0, 330),
    exponent=st.none() | st.integers(-999, 999),
    sign=st.sampled_from(["", "-"]),
)
def test_a_number_is_read_as_the_nearest_float_or_not_at_all(
    digits: int, zeros: int, exponent: int | None, sign: str
) -> None:
    text = f"{sign}{'9' * digits}.{'0' * zeros}1" + ("" if exponent is None else f"e{exponent}")
    exact = Fraction(Decimal(text))
    value, findings = judge.read(text)
    if abs(exact) >= 2**1024 - 2**970:  # from half a step beyond the largest one on
        assert findings
    else:
        assert not findings
        assert value == float(text) or (float(text) == 0 and abs(value) == 5e-324)
        assert math.isfinite(value)


@pytest.mark.parametrize(("schema", "text"), REFUSED)
def test_what_the_mask_engine_refuses_is_invalid(schema: Any, text: str) -> None:
    (finding,) = checker(schema).check(text).findings
    assert finding.expected == "a value of the schema, which it breaks in more ways than can be listed"


@pytest.mark.parametrize(("schema", "text"), UNKNOWN)
def test_what_can_t_be_found_out_is_an_error_and_no_value(schema: Any, text: str) -> None:
    began = time.monotonic()
    with pytest.raises(Unchecked, match="could not be checked within 2 s and 112 MB"):
        checker(schema).check(text)
    assert time.monotonic() - began < LONG_S


@pytest.mark.parametrize("word", ["anyOf", "oneOf"])
def test_what_is_invalid_in_more_ways_than_can_be_listed_is_invalid(word: str) -> None:
    (finding,) = checker(tower(word, 21)).check('"x"').findings
    assert str(finding) == (
        "(root): expected a value of the schema, which it breaks in more ways than can be listed, got '\"x\"' (rule )"
    )


def test_a_hundred_findings_are_enough() -> None:
    found = checker({"items": {"type": "string"}}).check(json.dumps([1] * 500)).findings
    assert len(found) == judge.MOST_FINDINGS
    far = checker({"items": {"type": "string"}}).far(json.dumps([1] * 500), mends=False).findings
    assert far == found


def test_findings_are_short_whatever_they_are_about() -> None:
    value = {"a" * 1000: ["b" * 1000] * 1000}
    (finding,) = checker({"const": {"c" * 5000: 1}}).check(json.dumps(value)).findings
    assert max(map(len, vars(finding).values())) <= judge.WORDS
    assert len(finding.got) == 120


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_near_and_far_find_the_same_as_the_judge(seed: int) -> None:
    r = Random(seed)
    schema = case(r).schema
    try:
        both = targets.from_any(schema, {"inexact": "residual"}).checker
    except guard.SchemaError:
        return
    for text in r.sample([*(text.decode() for text in universe()), '{"a": 1,}', "['a']", "nul"], 4):
        far, near = both.far(text, mends=True), both.near(text, mends=True)
        assert near in (far, None)
        assert bool(far.findings) is not judged(both, far.repaired or text)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_the_engine_refuses_nothing_that_is_valid(seed: int) -> None:
    """Where it is asked before the judge, what it says is taken; so it must say what the judge would."""
    r = Random(seed)
    try:
        both = targets.from_any(case(r).schema, {"inexact": "residual"}).checker
    except guard.SchemaError:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checking, "HOPELESS_STEPS", -1)
        for text in r.sample([text.decode() for text in universe()], 4):
            assert bool(both.far(text, mends=False).findings) is not judged(both, text)


def test_what_is_far_is_mended_too() -> None:
    text = "```json\n" + json.dumps({"a": ["x"] * 20_000})[:-1] + ",}\n```"
    wanted = {"properties": {"a": {"items": {"type": "string"}}}}
    assert checker(wanted).near(text, mends=True) is None
    found = checker(wanted).check(text, mends=True)
    assert found.value == {"a": ["x"] * 20_000}
    assert [edit.kind for edit in found.edits] == ["fence", "trailing comma", "fence"]
    assert found.repaired == "\n" + json.dumps({"a": ["x"] * 20_000}) + "\n"
    of_type = targets.from_any(dict[str, list[str]], {}).checker
    assert of_type.check(text, mends=True) == found


def test_a_text_that_takes_too_long_to_mend_is_no_json() -> None:
    quick = worker_pool.Workers(seconds=2)
    known = quick.run((None, "{}" * 490_000, True))  # seconds of mending
    quick.close()
    assert list(known) == ["findings"]
    assert known["findings"][0]["rule"] == judge.NOT_JSON


def test_a_check_ends_when_nobody_waits_any_more() -> None:
    with pytest.raises(Unchecked, match="in the time that was left"):
        checker(tower("allOf", 40)).check("1", until=time.monotonic() + 0.3)


def test_a_check_is_a_failure_of_the_call_and_on_record(tmp_path: Path) -> None:
    model = Scripted("1", "5", name="far")
    asked = guard.Guard(model, trace=tmp_path / "trace.db")
    with pytest.raises(Unchecked) as caught:
        asked.generate(tower("allOf", 40), [{"role": "user", "content": "?"}])
    call = asked.store.read(caught.value.call or 0)
    assert call is not None
    assert (call.outcome, [attempt.reason for attempt in call.attempts]) == ("Unchecked", ["schema"])
    assert len(model.requests) == 1  # to ask again would cost the same again
    value = asked.using(escalate_to=Scripted("5", name="next")).generate(
        {"anyOf": [{"type": "integer"}]}, [{"role": "user", "content": "?"}]
    )
    assert value == 5
    assert pickle.loads(pickle.dumps(caught.value)).message == caught.value.message


def test_an_event_loop_goes_on_while_a_check_does_not_end(tmp_path: Path) -> None:
    """It used to stand still for good; a second is a busy machine's share."""

    async def main() -> float:
        asked = guard.Guard(Scripted("1"), trace=tmp_path / "trace.db")
        work = asyncio.create_task(asked.agenerate(tower("allOf", 40), [{"role": "user", "content": "?"}]))
        slowest, beats = 0.0, 0
        while not work.done():
            began = time.monotonic()
            await asyncio.sleep(0.01)
            slowest, beats = max(slowest, time.monotonic() - began), beats + 1
        with pytest.raises(Unchecked):
            await work
        assert beats > 20
        return slowest

    assert asyncio.run(main()) < 1.5


def test_a_finding_has_the_pattern_as_the_schema_has_it() -> None:
    (found,) = checker({"type": "string", "pattern": r"\bfoo\b"}).check('"bar"').findings
    assert found.expected == r"a text that matches '\\bfoo\\b'"


def test_a_job_that_comes_too_late_costs_no_worker() -> None:
    some = worker_pool.Workers(most=1, seconds=20)
    some.run((None, "[1]", False))
    (first,) = some._all
    assert some.run((None, "[1]", False), time.monotonic() - 1) == {}
    assert first.is_alive
    some.close()


def test_a_worker_is_used_again_and_replaced_where_it_died() -> None:
    some = worker_pool.Workers(most=1, seconds=20)
    job = (None, "[1]", False)
    done = {"findings": [], "is_over": True}
    assert some.run(job) == done
    (first,) = some._all
    assert some.run(job) == done
    assert list(some._all) == [first]
    first._process.kill()
    first._process.wait()
    assert some.run(job) == done
    assert len(some._all) == 2
    some.close()
    assert some.run(job) == done
    some.close()


def test_a_signal_handler_may_check_while_a_check_is_under_way() -> None:
    """As a worker's soft time limit does, in the main thread, in the middle of anything."""
    program = (
        "import signal, time\n"
        "from guard.output import target as targets, worker_pool\n"
        "levels = {f'd{at}': {'allOf': [{'$ref': f'#/$defs/d{at + 1}'}] * 2} for at in range(40)}\n"
        "tower = {'$ref': '#/$defs/d0', '$defs': {**levels, 'd40': {'type': 'integer'}}}\n"
        "target = targets.from_any(tower, {})\n"
        "worker_pool.WORKERS = worker_pool.Workers(most=1, seconds=1.0)\n"
        "def handler(*_):\n"
        "    print(target.checker.far('[', mends=False).findings[0].rule, flush=True)\n"
        "    raise TimeoutError('mine')\n"
        "signal.signal(signal.SIGALRM, handler)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.3)\n"
        "try:\n"
        "    target.check('1')\n"
        "except TimeoutError as error:\n"
        "    print(error, flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=2 * LONG_S, check=False
    )
    assert (done.stdout, done.stderr) == ("json\nmine\n", "")


def test_a_worker_knows_no_secret_and_ends_with_its_parent() -> None:
    program = (
        "import os\n"
        "os.environ['SECRET_KEY'] = 'hunter22'\n"
        "from guard.output import worker_pool\n"
        "some = worker_pool.Workers()\n"
        "some.run((None, '1', False))\n"
        "(one,) = some._all\n"
        "print(one._process.pid, b'hunter22' in open(f'/proc/{one._process.pid}/environ', 'rb').read(), flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    process, knows = done.stdout.split()
    assert knows == "False"
    end = time.monotonic() + LONG_S
    while Path(f"/proc/{process}/cmdline").exists() and Path(f"/proc/{process}/cmdline").read_bytes():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_forked_child_has_workers_of_its_own() -> None:
    worker_pool.WORKERS.run((None, "1", False))
    child = os.fork()
    if child == 0:
        known = worker_pool.WORKERS.run((None, "[2", False))
        worker_pool.WORKERS.close()
        os._exit(0 if known.get("is_over") and known["findings"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert worker_pool.WORKERS.run((None, "1", False)) == {"findings": [], "is_over": True}


def test_a_schema_whose_judge_takes_too_long_to_make_is_refused() -> None:
    schema = {"anyOf": [{"pattern": f"^(?:[a-c]{{1,900}}{at}){{1,90}}$"} for at in range(400)]}
    front = guard.compile({"type": "string"})

    class Dear:
        building, steps = float("inf"), lambda _self, _text: float("inf")

    with pytest.raises(guard.SchemaError, match=r"jsonschema-rs can't make a validator|can't check it"):
        SchemaChecker(judge.JudgedSchema(schema, front.draft, True, {}), Dear())


def test_a_worker_that_needs_too_much_memory_says_nothing_and_is_replaced() -> None:
    some = worker_pool.Workers(seconds=60)  # it is not time that ends it
    assert some.run((None, "[" + "[]," * 8_000_000 + "[]]", False)) == {}
    assert some.run((None, "[[]]", False)) == {"findings": [], "is_over": True}
    some.close()


def test_a_result_says_what_it_is() -> None:
    assert dataclasses.astuple(Checked(1, ())) == (1, (), (), None)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"kind": "a", "n": "x"}, ("/n", "a value of type integer")),  # by the constant
        ({"kind": "b", "deep": {"n": "x"}}, ("/deep/n", "a value of type integer")),  # a union inside
        (["x"], ("/0", "a value of type integer")),  # by the type
        ({"kind": "c"}, ("", "anyOf: ")),  # it is meant for none
        ({"m": 1, "n": "x"}, ("/n", "a value of type integer")),  # by the members that there are
    ],
)
def test_a_finding_about_a_union_is_about_the_branch_that_is_meant(value: object, found: tuple[str, str]) -> None:
    number = {"n": {"type": "integer"}}

    def closed(**members: object) -> dict[str, object]:
        return {"type": "object", "properties": members, "required": list(members), "additionalProperties": False}

    schema = {
        "anyOf": [
            closed(kind={"const": "a"}, **number),
            closed(kind={"const": "b"}, deep={"anyOf": [{"type": "null"}, closed(**number)]}),
            {"type": "array", "items": {"type": "integer"}},
            *(
                [closed(**number), closed(m={"type": "integer"}, **number)]
                if isinstance(value, dict) and "m" in value
                else []
            ),
        ]
    }
    target = targets.from_any(schema, {})
    first = target.check(json.dumps(value))[1][0]
    assert (first.at, first.expected[: len(found[1])]) == found


@pytest.mark.parametrize(
    ("schema", "text", "is_valid"),
    [
        ({"type": "integer"}, "1e-999999999", False),
        ({"type": "integer"}, f"0.{'0' * 400}1", False),
        ({"type": "integer"}, "-0e-999", True),
        ({"exclusiveMinimum": 0}, "1e-400", True),
        ({"exclusiveMinimum": 0}, "-1e-400", False),
        ({"const": 0}, "1e-400", False),
    ],
)
def test_a_number_that_a_float_takes_for_0_is_not_0(schema: Any, text: str, is_valid: bool) -> None:
    assert (targets.from_any(schema, {}).checker.check(text).findings == ()) == is_valid


def test_a_worker_comes_behind_the_process_that_others_wait_for() -> None:
    some = worker_pool.Workers(most=1)
    some.run((None, "1", False))
    (it,) = some._all
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, it._process.pid) == min(19, mine + worker.NICE)
    some.close()

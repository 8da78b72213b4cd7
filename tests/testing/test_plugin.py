"""The pytest plug-in: cases by seed, recorded answers, and what the summary tells."""

from __future__ import annotations

import json
import textwrap

import pytest

import guard.testing.search  # noqa: F401 # before pytester notes what is imported: numpy, say, can't be imported twice

pytest_plugins = ["pytester"]

APP = """
    import guard
    from guard.models.scripted import ScriptedModel
    from pydantic import BaseModel

    class Order(BaseModel):
        product: str
        quantity: int

    @guard.structured(retries=1)
    def read(mail: str) -> Order:
        "Read the order."
"""

#: A function that returns a value where there was no answer.
SWALLOWING = """
    from guard.testing import check

    def swallowing(mail: str, model: guard.models.Model) -> Order:
        try:
            return read.using(model=model)(mail)
        except guard.GuardError:
            return Order(product="", quantity=0)

    @check(swallowing, runs=0, faults=["empty"])
    def test_swallowing(): ...
"""


@pytest.fixture(autouse=True)
def laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run tests in tests as on a laptop."""
    monkeypatch.delenv("CI", raising=False)


def test_a_marked_test_runs_once_for_each_seed_and_the_summary_tells(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        APP
        + """
    import pytest

    @pytest.mark.guard(schema=Order, cases=6, faults=["refusal"], rate=1.0)
    def test_survives(flaky_model):
        with pytest.raises(guard.Refused):
            read.using(model=flaky_model)("mail")

    @pytest.mark.guard(schema=Order, cases=4, seed=2, faults=["unavailable"])
    def test_breaks(flaky_model):
        read.using(model=flaky_model)("mail")
    """
    )
    result = pytester.runpytest()
    result.assert_outcomes(passed=6, failed=4)
    result.stdout.fnmatch_lines(
        [
            "*= guard =*",
            "*::test_survives: 6 of 6 cases survived; 6 faults injected (refusal 6)",
            "*::test_breaks: 0 of 4 cases survived; 4 faults injected (unavailable 4)",
            "  smallest failing case: guard.errors.Unavailable: *",
            "    the model said unavailable: *",
            '  again: pytest "*::test_breaks[[]seed=2[]]"',
        ]
    )
    pytester.runpytest(_again(result)).assert_outcomes(failed=1)


@pytest.mark.parametrize("checked", [False, True])
def test_what_runs_a_test_again_is_said_as_seen_from_the_working_directory(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, *, checked: bool
) -> None:
    tests = pytester.mkdir("tests")
    pytester.makepyprojecttoml("")  # pytest's root is where this lies, above the working directory
    marked = """
    import pytest

    @pytest.mark.guard(schema=Order, cases=1, faults=["unavailable"])
    def test_swallowing(flaky_model):
        read.using(model=flaky_model)("mail")
    """
    (tests / "test_app.py").write_text(textwrap.dedent(APP + (SWALLOWING if checked else marked)), "utf-8")
    monkeypatch.chdir(tests)
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    again = _again(result)
    assert again.startswith("test_app.py::test_swallowing")
    pytester.runpytest_subprocess(again).assert_outcomes(failed=1)


def _again(result: pytest.RunResult) -> str:
    (name,) = [line.partition('"')[2].rstrip('"') for line in result.outlines if line.startswith("  again:")]
    return name


def test_options_set_the_cases_and_the_first_seed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
    import pytest

    @pytest.mark.guard(cases=50)
    def test_it(flaky_model):
        assert flaky_model.seed in (9, 10)
    """
    )
    pytester.runpytest("--guard-cases", "2", "--guard-seed", "9").assert_outcomes(passed=2)


@pytest.mark.parametrize("count", ["0", "-3", "x", "1.5"])
def test_a_count_of_cases_that_runs_nothing_is_wrong_usage(pytester: pytest.Pytester, count: str) -> None:
    result = pytester.runpytest(f"--guard-cases={count}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*argument --guard-cases: '{count}' must be a whole number from 1 on"])


@pytest.mark.parametrize("count", [0, -3, True, 1.5])
def test_a_marker_whose_count_of_cases_runs_nothing_is_refused(pytester: pytest.Pytester, count: object) -> None:
    pytester.makepyfile(
        f"""
    import pytest

    @pytest.mark.guard(cases={count})
    def test_it(flaky_model): ...
    """
    )
    result = pytester.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*@pytest.mark.guard(cases={count}): cases must be a whole number from 1 on"])


def test_a_marker_with_an_unknown_argument_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
    import pytest

    @pytest.mark.guard(sede=3)
    def test_it(flaky_model): ...
    """
    )
    result = pytester.runpytest()
    result.stdout.fnmatch_lines(["*@pytest.mark.guard knows no 'sede'; it knows schema, cases, seed, faults, rate*"])


def test_a_check_is_a_test_and_the_summary_tells_what_broke(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        APP
        + SWALLOWING
        + """
    @check(read, runs=0)
    def test_read(report):
        assert report.cases > 20
    """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*no-answer-no-value: Without a whole, valid answer there is an error, never a value.",
            "*called with mail='the mail no. *",
            "*asked model, it said empty: *",
            "*it returned Order(product='', quantity=0)*",
            "*= guard =*",
            "*swallowing: * of 25 invariants hold; * cases, * faults injected, seed 0",
            "  no-answer-no-value: it returned Order(product='', quantity=0), though *",
            '  again: pytest "*::test_swallowing"',
            "*read: 25 of 25 invariants hold; * cases, * faults injected, seed 0",
        ]
    )


REPLAYED = """
    def test_read(guard_replay):
        answer = '{"product": "tea", "quantity": 2}'
        replayed = guard_replay(read.using(model=ScriptedModel(answer)))
        assert replayed(MAIL).quantity == 2
"""


def test_an_answer_is_recorded_once_and_replayed_without_a_model(pytester: pytest.Pytester) -> None:
    path = pytester.makepyfile(test_app=APP + "    MAIL = 'two teas'\n" + REPLAYED)
    pytester.runpytest().assert_outcomes(passed=1)
    kept = pytester.path / "guard_replays" / "test_app" / "test_read.json"
    content = json.loads(kept.read_text("utf-8"))
    assert content["version"] == 1
    (reply,) = content["replies"].values()
    assert reply["text"] == '{"product": "tea", "quantity": 2}'
    path.write_text(path.read_text("utf-8").replace("ScriptedModel(answer)", "ScriptedModel()"), "utf-8")
    pytester.runpytest().assert_outcomes(passed=1)


def test_a_request_that_was_not_recorded_is_drift(pytester: pytest.Pytester) -> None:
    path = pytester.makepyfile(test_app=APP + "    MAIL = 'two teas'\n" + REPLAYED)
    pytester.runpytest().assert_outcomes(passed=1)
    path.write_text(path.read_text("utf-8").replace("two teas", "three teas"), "utf-8")
    result = pytester.runpytest()
    result.assert_outcomes(failed=1, errors=1)
    result.stdout.fnmatch_lines(["*no reply of scripted to this request was recorded*"])
    result.stdout.fnmatch_lines(
        ["*1 of 1 recorded replies in guard_replays/test_app/test_read.json are asked for no more*"]
    )
    pytester.runpytest("--guard-record").assert_outcomes(passed=1)
    pytester.runpytest().assert_outcomes(passed=1)


def test_in_ci_nothing_is_recorded(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makepyfile(test_app=APP + "    MAIL = 'two teas'\n" + REPLAYED)
    monkeypatch.setenv("CI", "true")
    result = pytester.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*nothing is recorded in guard_replays/test_app/test_read.json; run pytest --guard-record*"]
    )
    assert not (pytester.path / "guard_replays").exists()


def test_to_record_in_ci_is_wrong_usage(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makepyfile(test_app=APP + "    MAIL = 'two teas'\n" + REPLAYED)
    monkeypatch.setenv("CI", "1")
    result = pytester.runpytest("--guard-record")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--guard-record: nothing is recorded where CI is set; record elsewhere*"])
    assert not (pytester.path / "guard_replays").exists()


def test_a_recording_that_can_t_be_read_is_said(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_app=APP + "    MAIL = 'two teas'\n" + REPLAYED)
    pytester.runpytest().assert_outcomes(passed=1)
    (pytester.path / "guard_replays" / "test_app" / "test_read.json").write_text("{", "utf-8")
    result = pytester.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*test_read.json can't be replayed (*; run pytest --guard-record*"])


def test_the_plug_in_says_nothing_where_it_is_not_used(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): ...")
    result = pytester.runpytest()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*= guard =*")

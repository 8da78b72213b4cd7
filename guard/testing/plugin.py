"""The pytest plug-in: fixtures `flaky_model` and `guard_replay`, the marker `guard`, and a section of the summary.

A test with `@pytest.mark.guard(schema=…, cases=…)` that takes `flaky_model` runs once for each case. Each case is a
seed, and the test's name has it: `pytest "test_app.py::test_it[seed=3]"` runs that one again. `guard_replay` records
models' answers once, in a file beside the tests, and replays them from then on without a model. A request that was not
recorded, or a recorded request that is no longer made, is drift and fails the test. Slow imports are left to the tests
that need them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from guard.support.plain_text import plain

if TYPE_CHECKING:
    from guard.testing.flaky import FlakyModel

CASES = 10  #: Default number of cases of a marked test.
FOLDER = "guard_replays"  #: Folder beside the tests, with a file for each test.
VERSION = 1  #: The format's version in those files.
_PROPERTY = "guard"  #: The name of the property of a test's report that carries data for the summary.
_NAMES = ("schema", "cases", "seed", "faults", "rate")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the command line's options."""
    group = parser.getgroup("guard", "models that misbehave, and recorded ones")
    group.addoption("--guard-record", action="store_true", help="record what models answer anew, for guard_replay")
    group.addoption("--guard-cases", type=_count, metavar="N", help="cases of each test marked guard")
    group.addoption("--guard-seed", type=int, default=0, metavar="SEED", help="of the first case (default: 0)")


def _count(given: str) -> int:
    if not given.isdecimal() or int(given) < 1:
        raise argparse.ArgumentTypeError(f"{given!r} must be a whole number from 1 on")
    return int(given)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; refuse to record where CI is set."""
    if config.getoption("guard_record") and os.environ.get("CI"):
        raise pytest.UsageError("--guard-record: nothing is recorded where CI is set; record elsewhere, and commit it")
    config.addinivalue_line(
        "markers",
        "guard(schema=None, cases=10, seed=0, faults=all, rate=1.0): run the test with a flaky_model of `cases` seeds;"
        " `schema` is what it answers where a request carries none, `faults` what may happen, `rate` how often",
    )
    config.stash[_SUMMARY] = Summary()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize a marked test by its cases."""
    marker = metafunc.definition.get_closest_marker("guard")
    if marker is None or "flaky_model" not in metafunc.fixturenames:
        return
    given = _given(marker)
    cases = metafunc.config.getoption("guard_cases") or given.get("cases", CASES)  # the option is never 0
    first = metafunc.config.getoption("guard_seed") + given.get("seed", 0)
    seeds = range(first, first + cases)
    metafunc.parametrize("flaky_model", seeds, indirect=True, ids=[f"seed={seed}" for seed in seeds])


@pytest.fixture
def flaky_model(request: pytest.FixtureRequest) -> FlakyModel:
    """Return a model that errs by a seed: the test's own under the marker `guard`, else --guard-seed."""
    from guard.testing.flaky import FlakyModel
    from guard.testing.scripted_replies import FAULTS

    marker = request.node.get_closest_marker("guard")
    given = {} if marker is None else _given(marker)
    seed = getattr(request, "param", request.config.getoption("guard_seed"))
    schema = given.get("schema")
    model = FlakyModel(
        seed,
        tuple(given.get("faults", FAULTS)),
        rate=given.get("rate", 1.0),
        schema=True if schema is None else schema,
    )
    request.node.stash[_MODEL] = model
    return model


@pytest.fixture
def guard_replay(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ReplayFixture]:
    """Record models' answers once, then replay them: `guard_replay(read_invoice)(text)`."""
    name = re.sub(r"[^\w.=-]+", "_", request.node.name)
    path = request.path.parent / FOLDER / request.path.stem / f"{name}.json"
    is_recording = request.config.getoption("guard_record") or not path.exists()
    if is_recording and not request.config.getoption("guard_record") and os.environ.get("CI"):
        pytest.fail(f"nothing is recorded in {_relative(path)}; run pytest --guard-record, and commit the file")
    replay = ReplayFixture(path, tmp_path / "guard-replay.db", is_recording=is_recording)
    yield replay
    replay.finish()


class ReplayFixture:
    """Makes structured functions and Guards that record or replay."""

    def __init__(self, path: Path, trace: Path, *, is_recording: bool) -> None:
        from guard.trace import TraceStore

        self.path, self.is_recording = path, is_recording
        self.mode = "record" if is_recording else "replay"
        self._trace = str(trace)
        self._kept: dict[str, Any] = {} if is_recording else _read(path)
        self._asked: set[str] = set()
        store = TraceStore.at(self._trace)
        store.record, store.recorded = self._keep, self._recall  # type: ignore[method-assign, assignment] # of this store alone

    def __call__(self, asked: Any) -> Any:
        """Return a structured function or a Guard like this one, whose models are recorded or replayed."""
        if not hasattr(asked, "using"):
            raise TypeError(f"guard_replay({asked!r}): give a structured function or a guard.Guard")
        return asked.using(mode=self.mode, trace=self._trace)

    def finish(self) -> None:
        """Write the recording. Fail where a recorded request is no longer made."""
        if self.is_recording:
            if self._kept:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                content = {"version": VERSION, "replies": self._kept}
                self.path.write_text(json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n", "utf-8")
            return
        left = self._kept.keys() - self._asked
        if left:
            pytest.fail(
                f"{len(left)} of {len(self._kept)} recorded replies in {_relative(self.path)} are asked for no more:"
                " the prompts or their number changed; look at it, then pytest --guard-record",
                pytrace=False,
            )

    def _keep(self, key: str, body: Mapping[str, Any], _seconds: float) -> bool:
        self._kept[key] = dict(body)
        return True

    def _recall(self, key: str) -> Any:
        self._asked.add(key)
        return self._kept.get(key)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["version"] != VERSION:
            raise ValueError(f"version {content['version']}, where {VERSION} is known")
        replies: dict[str, Any] = content["replies"]
    except (ValueError, KeyError, TypeError, OSError) as error:
        pytest.fail(f"{_relative(path)} can't be replayed ({error}); run pytest --guard-record", pytrace=False)
    return replies


def _relative(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


# ---- The summary -----------------------------------------------------------------------------------------------------


class Summary:
    """The data of the summary's section, by test."""

    def __init__(self) -> None:
        self.cases: Counter[str] = Counter()
        self.survivors: Counter[str] = Counter()
        self.faults: dict[str, Counter[str]] = {}
        self.smallest: dict[str, tuple[tuple[int, int], str, str, list[str]]] = {}  # (size, node, why, answer)
        self.checks: list[dict[str, Any]] = []

    def add(self, report: pytest.TestReport, told: dict[str, Any]) -> None:
        """Add one test's report."""
        self.checks += told.get("checks", [])
        if "injected" not in told:
            return
        name = report.nodeid.partition("[")[0]
        self.cases[name] += 1
        self.faults.setdefault(name, Counter()).update(how.partition(" at ")[0] for how in told["injected"] if how)
        if report.passed:
            self.survivors[name] += 1
            return
        size = (len(told["said"]), sum(map(len, told["said"])))
        if name not in self.smallest or size < self.smallest[name][0]:
            why = getattr(getattr(report.longrepr, "reprcrash", None), "message", str(report.longrepr)).splitlines()
            self.smallest[name] = (size, report.nodeid, why[0] if why else "", told["said"])


_SUMMARY = pytest.StashKey[Summary]()
_MODEL = pytest.StashKey[Any]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Attach the faults of a test's model, and the findings of its searches, to its report."""
    import sys

    searching = sys.modules.get("guard.testing.search")
    before = len(searching.REPORTS) if searching else 0
    try:
        return (yield)
    finally:
        told: dict[str, Any] = {}
        model = item.stash.get(_MODEL, None)
        if model is not None:
            told["injected"] = list(model.injected)
            told["said"] = [f"{ask.reply.how}: {ask.reply.text[:200]}" for ask in model.asks[:5]]
        searching = sys.modules.get("guard.testing.search")
        if searching is not None and len(searching.REPORTS) > before:
            told["checks"] = [_check(report, item.nodeid) for report in searching.REPORTS[before:]]
        if told:
            item.user_properties.append((_PROPERTY, json.dumps(told)))


def _check(report: Any, node: str) -> dict[str, Any]:
    return {
        "subject": report.subject,
        "node": node,
        "cases": report.cases,
        "seed": report.seed,
        "held": len(report.findings) - len(report.broken),
        "all": len(report.findings),
        "faults": sum(count for how, count in report.faults.items() if not how.startswith("valid")),
        "broken": [[finding.invariant.name, finding.counterexample.words] for finding in report.broken],
    }


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the section, unless it is empty."""
    summary = config.stash[_SUMMARY]
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport) and report.when == "call":
                for name, told in report.user_properties:
                    if name == _PROPERTY:
                        summary.add(report, json.loads(str(told)))
    if not summary.cases and not summary.checks:
        return
    terminalreporter.section("guard")

    def write(words: str) -> None:
        terminalreporter.write_line(plain(words))

    for name, count in summary.cases.items():
        faults = summary.faults[name]
        most = ", ".join(f"{how} {n}" for how, n in faults.most_common(5))
        more = f" ({most}{', …' if len(faults) > 5 else ''})" if faults else ""
        write(f"{name}: {summary.survivors[name]} of {count} cases survived; {faults.total()} faults injected{more}")
        if name in summary.smallest:
            _, node, why, said = summary.smallest[name]
            write(f"  smallest failing case: {why}")
            for line in said:
                write(f"    the model said {line}")
            write(f'  again: pytest "{_from_here(config, node)}"')
    for check in summary.checks:
        write(
            f"{check['subject']}: {check['held']} of {check['all']} invariants hold;"
            f" {check['cases']} cases, {check['faults']} faults injected, seed {check['seed']}"
        )
        for name, words in check["broken"]:
            write(f"  {name}: {words}")
        if check["broken"]:
            write(f'  again: pytest "{_from_here(config, check["node"])}"')


def _from_here(config: pytest.Config, node: str) -> str:
    """Return a node's id relative to the working directory; pytest's own are relative to its root."""
    path, separator, name = node.partition("::")
    return os.path.relpath(config.rootpath / path, config.invocation_params.dir) + separator + name


def _given(marker: pytest.Mark) -> dict[str, Any]:
    given = dict(marker.kwargs)
    if marker.args:
        given["schema"], *rest = marker.args
        if rest:
            raise pytest.UsageError("@pytest.mark.guard takes a schema, and the rest by name")
    unknown = given.keys() - set(_NAMES)
    if unknown:
        raise pytest.UsageError(f"@pytest.mark.guard knows no {sorted(unknown)[0]!r}; it knows {', '.join(_NAMES)}")
    cases = given.get("cases", CASES)
    if not isinstance(cases, int) or isinstance(cases, bool) or cases < 1:
        raise pytest.UsageError(f"@pytest.mark.guard(cases={cases!r}): cases must be a whole number from 1 on")
    return given

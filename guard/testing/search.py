"""The search: scenes are played on a subject until an invariant breaks; Hypothesis shrinks the counterexample.

Each fault is played alone first, for every request and once before a good answer. Then Hypothesis draws answers. A seed
determines everything that is drawn. For each broken invariant, a new search among scenes like the one that broke it
finds a smaller one; the smallest is reported.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import hypothesis
from hypothesis import Phase
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from guard.calls.decorator import Decorated
from guard.errors import SchemaError
from guard.output.target import Target
from guard.support.bounds import MOST_COUNT, MOST_SECONDS
from guard.support.bounds import check as check_number
from guard.testing import subjects
from guard.testing.app_adapters import Stage
from guard.testing.comparing import clipped
from guard.testing.drawing import SETTINGS, drawn
from guard.testing.harness import Run, Scene, Surroundings
from guard.testing.invariants import INVARIANTS, Invariant
from guard.testing.report import Counterexample, InvariantResult, Report, as_text
from guard.testing.scripted_replies import (
    FAULTS,
    NEAR_MISS,
    TOOL_ERRORS,
    Palette,
    ScriptedReply,
    spoiled,
    telling,
    valid,
    written,
)
from guard.testing.stated import sources_of
from guard.testing.strategies.values import values as from_schema
from guard.testing.subjects import FILLER
from guard.testing.trial import Trial, outcome

#: A text with the special characters of str.format, %, templates and markup.
ODD = '{{key}} %s %(key)s {{{{x}}}} ${{y}} </text> """ \\ \\u0041'
RUNS = 100  #: Default number of scenes that Hypothesis draws, beside each fault alone.
SHRINK_CASES = 60  #: Most scenes drawn to shrink one counterexample.
SHRINK_SECONDS = 8.0  #: Most seconds for shrinking one.
DRAW_SECONDS = 3.0  #: Most seconds for drawing values and near misses.
DRAWN = 60  #: Values and near misses drawn to choose from.
MOST_MISSES = 24  #: Most near misses that are played alone, each of another keyword or place.
MOST_STUCK = 3  #: Calls without an end after which the search stops: the invariant `bounded` is broken by then.
MOST_STUCK_SECONDS = 5.0  #: Most seconds that such calls may take together.
BATCH = 3  #: Questions of a batch.
BATCHES = 8  #: Batches that are tried: one whose last answer comes first, then those whose answers come all at once.
REVISITED = 4  #: Most of the first scenes that are played again at the end.
COMPANIONS = 4  #: One scene of so many is played again and compared.
#: A progress callback: scenes played, and scenes in all.
Progress = Callable[[int, int], None]


class Check:
    """One subject's search: `run` carries it out; as a decorator it makes a test of a function.

    ```python
    @guard.testing.check(read_invoice, runs=50)
    def test_read_invoice_survives_whatever_a_model_says(report): ...
    ```

    `subject` is a structured function, a `guard.Guard`, a callable or `module:function`, or the address of a server
    (guard/testing/subjects.py says how a callable is given its model). `schema` is the type of its result, where
    neither annotations nor requests show it. `inputs` are arguments by name, each a value, or a function of a mark that
    tells calls apart. `runs` is the number of drawn scenes, beside each fault alone; `seed` determines them. `without`
    names invariants that need not hold, `faults` the faults that may occur, near misses among them. The search stops
    after `seconds`. `options` are those of `guard.compile`. `port` is that of the harness's server; 0 takes a free one.
    `strict` makes broken advice a failure: invariants that most programs break by the JSON parser that they use. Raises
    ValueError for an unknown invariant or fault, and for numbers out of bounds.
    """

    def __init__(
        self,
        subject: Any,
        *,
        schema: Any = None,
        inputs: Mapping[str, Any] | None = None,
        seed: int = 0,
        runs: int = RUNS,
        without: Sequence[str] = (),
        faults: Sequence[str] = tuple(FAULTS),
        seconds: float | None = None,
        options: Mapping[str, Any] = MappingProxyType({}),
        port: int = 0,
        strict: bool = False,
    ) -> None:
        names = {invariant.name for invariant in INVARIANTS}
        for name in without:
            if name not in names:
                raise ValueError(f"without={name!r} must be among {', '.join(sorted(names))}")
        for name in faults:
            if name not in FAULTS:
                raise ValueError(f"faults={name!r} must be among {', '.join(FAULTS)}")
        check_number("runs", runs, 0, MOST_COUNT, is_whole=True)
        if seconds is not None:
            check_number("seconds", seconds, 0, MOST_SECONDS, is_above=True)
        self._given, self._schema, self._inputs, self._options = subject, schema, inputs, options
        self.seed, self.runs, self.seconds = seed, runs, seconds
        self.faults = tuple(faults)
        self.invariants = tuple(i for i in INVARIANTS if i.name not in without)
        self._port, self._is_strict = port, strict
        self._marks = itertools.count(1)
        self._asides: dict[str, ScriptedReply] = {}

    def run(self, progress: Progress | None = None) -> Report:
        """Search; return the report."""
        started = time.perf_counter()
        with Surroundings(Stage(), port=self._port) as surroundings:
            self._around = surroundings
            self.subject = subjects.from_any(
                self._given, schema=self._schema, inputs=self._inputs, options=self._options
            )
            findings = [InvariantResult(invariant) for invariant in self.invariants]
            self.report = Report(self.subject.name, self.seed, findings=findings, is_strict=self._is_strict)
            self._until = None if self.seconds is None else started + self.seconds
            self._broken: dict[str, tuple[Trial, str]] = {}
            self._stuck, self._stuck_seconds = 0, 0.0
            self._early: list[Trial] = []
            surroundings.stage.aside = self._aside
            try:
                self._acquaint()
                self._search(progress or (lambda _done, _all: None))
                self._check_time()
                self._check_seen()
                if self._stuck >= MOST_STUCK or self._stuck_seconds > MOST_STUCK_SECONDS:
                    self.report.notes.append("calls do not end by themselves, so that the search stopped early")
                self._shrink_all()
            finally:
                self.subject.close(surroundings)
        self.report.seconds = time.perf_counter() - started
        return self.report

    def __call__(self, test: Callable[..., Any]) -> Callable[..., Any]:
        """Make a test that fails with every counterexample. It is given the `report` if it has such a parameter."""
        signature = inspect.signature(test)
        takes_report = "report" in signature.parameters

        @functools.wraps(test)
        def checked(*args: Any, **kwargs: Any) -> None:
            report = self.run()
            REPORTS.append(report)
            if not report.holds:
                raise AssertionError(as_text(report))
            test(*args, **(kwargs | {"report": report} if takes_report else kwargs))

        rest = [p for name, p in signature.parameters.items() if name != "report"]
        checked.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined] # pytest reads it
        return checked

    # -- Acquaintance --------------------------------------------------------------------------------------------------

    def _acquaint(self) -> None:
        """Learn the schema that the application asks for, and the place of the value in its results."""
        subject = self.subject
        first = self._play_one(Scene((ScriptedReply("nothing in it", "{}"),)))
        self.asks_anything = bool(first.asks or first.refused)
        if subject.target is None:
            subject.learn(first, self._around)
        elif first.calls and subject.most_asks is None:
            target = subject.target
            subject.learn(first, self._around)
            subject.target = target
        assert subject.target is not None
        self._aim()
        run = first
        if first.is_stuck:
            self._note(Trial(subject, first))
        elif first.error is not None and first.asks:
            later = self._play_one(Scene((valid(self._good()),)), first.given)
            self._note(Trial(subject, first, later=later))
        values = list(self.examples)
        while values and not self._is_late():
            value = values.pop(0)
            run = self._play_one(Scene((valid(value),)))
            if subject.follow(run):
                self._aim()
                values = list(self.examples)
            elif run.ended_well and run.asks:
                before = subject.target
                subject.locate(run, written(value))
                if subject.target is not before:
                    self._aim()
                if subject.path is not None:
                    subject.notice_sinks(run)
                    break
        if subject.steps == 1 and not first.is_stuck:
            self._early.append(Trial(subject, first))
        self.may_call = any(ask.may_call for ask in run.asks)
        if subject.steps > 1:
            self.report.notes.append(
                f"it asks for {subject.steps} different values: the last is tested, and the others are answered well"
            )
        if subject.path is None and run.ended_well:
            subject.suppose(run)
        self.is_http = any(ask.port == "http" for ask in run.asks)
        self.is_told = all(ask.port != "function" for ask in run.asks)
        self.streams = any(ask.is_streaming for ask in run.asks)
        self.gives_parts = run.is_streamed
        self.seen_value = run.ended_well
        subject.gives_nothing = run.ended_well and run.value is None
        asks_nothing = not first.asks and not first.refused and not run.asks
        has_answered = run.ended_well or first.ended_well or isinstance(run.error, subjects.ServedError)
        if asks_nothing and isinstance(run.error, SchemaError):  # no model is asked by a schema that is refused
            raise run.error
        if asks_nothing and not has_answered and not run.is_stuck:
            raise ValueError(
                f"{subject} was called, and asked no model, and {outcome(run)}: nothing can be learned from that;"
                " see that it runs, and that its model is the harness (OPENAI_BASE_URL, --port)"
            )
        self.asks_nothing = asks_nothing
        if asks_nothing:
            self.report.notes.append("no request reached the harness: only what comes back is looked at")
        if subject.path is None:
            self.report.notes.append(
                "the value is not in what is returned, so that only errors and requests are looked at"
                if run.ended_well
                else "no answer that was tried led to a value"
            )

    def _aim(self) -> None:
        target = self.subject.target
        assert target is not None
        self.palette = self._palette(target)
        values = drawn(self.palette.values, DRAWN, self.seed, DRAW_SECONDS)
        # Validators that no schema expresses exclude some.
        self.examples = [value for value in values if not target.check(written(value))[1]][:12] or values[:12]
        missed = drawn(self.palette.misses, DRAWN, self.seed, DRAW_SECONDS) if self.palette.misses is not None else []
        if missed and len(missed) < DRAWN:  # drawing new ones is too slow
            self.palette.keep_misses(missed)
        self.misses = list({reply.how: reply for reply in reversed(missed)}.values())[::-1][:MOST_MISSES]

    def _palette(self, target: Target) -> Palette:
        options = self._strategy_options()
        if target.grounding is not None:
            sources = sources_of(self.subject.data("")).inputs
            with contextlib.suppress(ValueError):  # no answer is right for these inputs
                return Palette(target, target.schema, {**options, "sources": sources})
        return Palette(target, target.schema, options)

    def _strategy_options(self) -> dict[str, Any]:
        return {**self.subject.options, "inexact": "residual"}

    def _check_seen(self) -> None:
        """Raise ValueError where no model was asked, or no valid answer led to a value, and nothing tells why.

        Then nothing was tested. A service at an address may ask a model of its own, and is judged by what it answers.
        """
        is_service = subjects.is_address(self._given)
        if self.asks_nothing and not self.report.asks and not self._stuck and not is_service:
            raise ValueError(
                f"{self.subject} never asked a model, so that nothing can be said of it; see that its model is the"
                " harness: a parameter brings it, or OPENAI_BASE_URL (docs/testing.md)"
            )
        if self.seen_value or self.report.outcomes["value"] or not self.report.asks or self._is_late():
            return
        advice = {invariant.name for invariant in self.invariants if invariant.is_advice}
        if self._broken.keys() <= advice:
            last = self._play_one(Scene((valid(self._good()),)))
            raise ValueError(
                f"{self.subject} was given valid answers, and none led to a value, so that nothing can be said of it:"
                f" to {clipped(written(self._good()))}, {outcome(last)}; is --schema what it reads?"
            )

    def _check_time(self) -> None:
        """Note that time was up; ValueError where that was before anything was tried: then nothing was tested."""
        if not self._is_time_up():
            return
        if not self.report.cases and not self._broken:
            raise ValueError(f"seconds={self.seconds:g} must be more: in that time no case was tried")
        self.report.notes.append(f"{self.seconds:g} seconds were up before everything was tried")

    def _aside(self, schema: Any) -> ScriptedReply | None:
        """Return a valid reply to a request of another step than the one under test."""
        if self.subject.target is None or not self.subject.of_another_step(schema):
            return None
        key = written(schema)
        if key not in self._asides:
            examples = drawn(from_schema(schema, inexact="residual"), 6, self.seed, DRAW_SECONDS)
            self._asides[key] = valid(max(examples, key=_richness))
        return self._asides[key]

    # -- Playing -------------------------------------------------------------------------------------------------------

    def _mark(self) -> str:
        return f"no. {next(self._marks)}"

    def _play_one(self, scene: Scene, data: Mapping[str, Any] | None = None) -> Run:
        given = self.subject.data(self._mark()) if data is None else data
        run = self.subject.run(scene, given, self._around)
        if run.is_stuck:
            self._stuck += MOST_STUCK if run.goes_on else 1
            self._stuck_seconds += run.seconds
        return run

    def play(self, scene: Scene, *, compared: bool) -> Trial:
        """Play a scene, with the calls to compare with where it is one to compare."""
        data = self.subject.data(self._mark())
        main = self._play_one(scene, data)
        trial = Trial(self.subject, main)
        if compared:
            if not main.is_stuck:
                trial.again = self._play_one(scene, main.given)
            if any(ask.is_streaming for ask in main.asks):
                cuts = [{"pieces": 1}, {"pieces": 3}]
                cuts += [{"pieces": 0, "wire": 5}] if self.is_http and len(scene.replies[0].text) < 400 else []
                trial.split = [self._play_one(_recut(scene, **cut)) for cut in cuts]
            if main.is_streamed and scene.leave_after is None and len(main.parts) > 0:
                trial.left = self._play_one(_recut(scene, pieces=2, leave_after=1))
            if main.error is not None and main.asks:
                trial.later = self._play_one(Scene((valid(self._good()),)), main.given)
            if isinstance(self._given, Decorated):
                trial.replayed = self._replayed(scene)
        self._count(trial)
        return trial

    def question(self, scene: Scene, other: Scene, name: str, change: tuple[Any, Any]) -> Trial:
        """Play a scene, then another question with one slightly different argument; {} in a text is its own."""
        data = self.subject.data(self._mark())
        mark = str(data.get(name, ""))
        before, after = (part.format(mark) if isinstance(part, str) else part for part in change)
        main = self._play_one(scene, {**data, name: before})
        second = {**main.given, name: after}
        trial = Trial(self.subject, main, other=self._play_one(other, second))
        self._count(trial)
        return trial

    def _replayed(self, scene: Scene) -> Run:
        """Record a structured function's call, then replay it."""
        function, subject = self._given, self.subject
        names = [tier if isinstance(tier, str) else tier.name for tier in function.guard.tiers]
        data = subject.data(self._mark())

        def call(mode: str) -> Any:
            asked = function.using(model=names[0], escalate_to=names[1:], trace=None, mode=mode)
            return asked(**data)

        self._around.run(lambda: call("record"), scene, subjects.LIMIT)
        run = self._around.run(lambda: call("replay"), scene, subjects.LIMIT)
        if run.ended_well and subject.path == ("value",):
            run.value = subjects._Traced(run.value, None)
        return run

    def _count(self, trial: Trial) -> None:
        report = self.report
        report.cases += 1
        for run in (trial.main, trial.again, trial.left, trial.other, trial.later, *trial.split):
            if run is None:
                continue
            report.asks += len(run.asks)
            report.faults.update(ask.reply.how.partition(" at ")[0] for ask in run.asks)
            report.outcomes[_ended(run)] += 1

    def judge(self, trial: Trial) -> dict[str, str]:
        """Return the words for what does not hold in a trial, by invariant."""
        found = {}
        for finding in self.report.findings:
            finding.cases += 1
            words = finding.invariant.check(trial)
            if words is not None:
                found[finding.invariant.name] = words
        return found

    # -- Searching -----------------------------------------------------------------------------------------------------

    def _search(self, progress: Progress) -> None:
        scenes = list(self._planned())
        refusing = [pair for pair in scenes if pair[0].refuses_schemas]  # clients remember it: they come last
        questions = list(self._questions())
        total = len(scenes) + len(questions) + self.runs
        done = itertools.count(1)
        for scene, compared in scenes:
            if self._is_late():
                return
            if scene.refuses_schemas:
                continue
            trial = self.play(scene, compared=compared)
            self._note(trial)
            if len(self._early) < REVISITED and not trial.main.is_stuck and scene.replies[0].how != "valid":
                self._early.append(trial)
            progress(next(done), total)
        for trial in self._further(refusing, questions):
            self._note(trial)
            progress(min(next(done), total), total)
            if self._is_late():
                return
        if self.runs:
            self._draw(progress, done, total)

    def _further(
        self, refusing: list[tuple[Scene, bool]], questions: list[tuple[Scene, Scene, str, tuple[Any, Any]]]
    ) -> Iterator[Trial]:
        """Yield what is played after each fault alone: the first scenes again, schemas refused, questions, batches."""
        yield from self._revisited()
        for scene, compared in refusing:
            yield self.play(scene, compared=compared)
        for scene, other, name, change in questions:
            yield self.question(scene, other, name, change)
        for scene, data in self._batches():
            trial = Trial(self.subject, self._play_one(scene, data))
            self._count(trial)
            yield trial

    def _revisited(self) -> Iterator[Trial]:
        """Play the first scenes again, after others: what one call leaves behind must not change another."""
        for trial in self._early:
            again = self._play_one(trial.main.scene, trial.main.given)
            if again.asks:  # else it was kept
                yield Trial(self.subject, trial.main, again=again)

    def _draw(self, progress: Progress, done: Iterator[int], total: int) -> None:
        played = itertools.count()

        @hypothesis.seed(self.seed)
        @hypothesis.settings(max_examples=self.runs, phases=[Phase.generate], **SETTINGS)
        @hypothesis.given(self.scenes())
        def search(scene: Scene) -> None:
            if self._is_late():
                return
            self._note(self.play(scene, compared=next(played) % COMPANIONS == 0))
            progress(min(next(done), total), total)

        search()

    def _is_late(self) -> bool:
        """Whether to stop: time is up, or too many calls did not end, each of which takes long."""
        return self._is_time_up() or self._stuck >= MOST_STUCK or self._stuck_seconds > MOST_STUCK_SECONDS

    def _is_time_up(self) -> bool:
        return self._until is not None and time.perf_counter() > self._until

    def _note(self, trial: Trial) -> None:
        for name, words in self.judge(trial).items():
            kept = self._broken.get(name)
            if kept is None or _size(trial) < _size(kept[0]):
                self._broken[name] = (trial, words)

    def _planned(self) -> Iterator[tuple[Scene, bool]]:
        """Yield the scenes that are always played: good answers, then each fault alone."""
        target = self.subject.target
        assert target is not None
        values = self.examples
        good, other = self._good(), values[-1]
        odd = telling(good, target)
        for number, value in enumerate([*values[:3], good, *odd]):
            yield Scene((valid(value),)), number < 4 or number % 3 == 0
        last = valid(good)
        misses = [*self.misses, *spoiled(good, target)] if NEAR_MISS in self.faults else []
        for miss in misses:
            yield Scene((miss,)), False
        for name in self.faults:
            reply = FAULTS[name](good, other, target)
            if not self._can_say(reply):
                continue
            yield Scene((reply,)), name in ("cut off", "broken stream", "wrong type", "unavailable", "refusal")
            yield Scene((reply, last)), name in ("wrong type", "unavailable")
            if reply.finish != "stop" or reply.error:
                yield Scene((reply, reply, reply, last)), False
        for miss in misses[:3]:
            yield Scene((miss, last)), False
        if {"unavailable", "all wrong"} <= set(
            self.faults
        ):  # the first tier is down, and the next one answers with invalid values
            down = FAULTS["unavailable"](good, other, target)
            wrong = FAULTS["all wrong"](good, other, target)
            yield Scene((down, down, down, wrong)), False
            yield Scene((wrong, down, last)), False
        if self.is_http:
            wrongs = [FAULTS["wrong type"](good, other, target)] if "wrong type" in self.faults else []
            for reply in (last, *wrongs):
                yield Scene((reply,), refuses_schemas=True), False

    def _good(self) -> Any:
        """Return the fullest of some small valid values."""
        sized = [value for value in self.examples if len(written(value)) <= 300]
        return max(sized or self.examples, key=_richness)

    def _can_say(self, reply: ScriptedReply) -> bool:
        if not self.is_told and not reply.is_told:
            return False
        if reply.error in TOOL_ERRORS:
            return self.may_call
        return reply.error not in ("no JSON", "no choices", "unauthorized") or self.is_http

    def _questions(self) -> Iterator[tuple[Scene, Scene, str, tuple[Any, Any]]]:
        """Yield pairs of slightly different questions, with different answers."""
        values = self.examples
        differing = [v for v in values if v != values[0]] or []
        if not differing or not self.seen_value:
            return
        one, two = Scene((valid(differing[0]),)), Scene((valid(values[0]),))
        for name in self.subject.texts:
            given = name in self.subject.defaults()
            if given and not isinstance(self.subject.defaults()[name], str):
                continue
            for change in (
                (FILLER + "{}. First", FILLER + "{}. Second"),
                ("First {} " + FILLER, "Second {} " + FILLER),
                ("Turn left {}", "TURN LEFT {}"),
                (ODD + " {}", "{} " + ODD),
            ):
                yield one, two, name, change
        for name, others in self.subject.variations().items():
            yield one, two, name, others

    def _batches(self) -> Iterator[tuple[Scene, dict[str, Any]]]:
        """Yield batches of several questions, each with its answer, which come in another order or all at once."""
        subject = self.subject
        values = list({written(value): value for value in self.examples}.values())[:BATCH]
        if subject.batch is None or subject.path != (0,) or len(values) < BATCH:
            return
        for turn in range(BATCHES):
            data = subject.data(self._mark())
            texts = [f"{number} of {data[subject.batch][0]}" for number in ("first", "second", "third")]
            replies = tuple(zip(texts, map(valid, values), strict=True))
            yield Scene((replies[0][1],), by_text=replies, are_together=turn > 0), {**data, subject.batch: texts}

    def scenes(self, faults: tuple[str, ...] | None = None, *, most: int = 3) -> SearchStrategy[Scene]:
        """Return a strategy of scenes."""
        faults = self.faults if faults is None else faults
        replies = self.palette.replies(faults).filter(self._can_say)
        return st.builds(
            Scene,
            st.lists(replies, min_size=1, max_size=most).map(tuple),
            pieces=st.sampled_from([0, 1, 4]) if self.streams else st.just(0),
        )

    # -- Shrinking -----------------------------------------------------------------------------------------------------

    def _shrink_all(self) -> None:
        for finding in self.report.findings:
            kept = self._broken.get(finding.invariant.name)
            if kept is None:
                continue
            trial, words = self._shrunk(finding.invariant, *kept)
            run = trial.main
            finding.counterexample = Counterexample(words, str(trial), run.scene, run.given)

    def _shrunk(self, invariant: Invariant, trial: Trial, words: str) -> tuple[Trial, str]:
        """Shrink a counterexample, among scenes with the same kinds of replies."""
        if (
            trial.other is not None
            or trial.main.scene.by_text
            or trial.main.scene.refuses_schemas
            or trial.main.is_stuck
        ):
            return trial, words
        best = [(trial, words)]
        until = time.perf_counter() + SHRINK_SECONDS
        compared = invariant.check(Trial(self.subject, trial.main)) is None

        class BrokenError(Exception):
            pass

        def attempt(scene: Scene) -> None:
            if time.perf_counter() > until:
                return
            found = self.play(scene, compared=compared)
            said = invariant.check(found)
            if said is not None and not (best[0][0].main.ended_well and not found.main.ended_well and compared):
                if _size(found) < _size(best[0][0]):
                    best[0] = (found, said)
                raise BrokenError

        names = tuple(n for n in self.faults if self._is_like(n, trial.main.scene.replies))
        most = len(trial.main.scene.replies)
        for strategy in self._alike(names, most):
            run = hypothesis.seed(self.seed)(
                hypothesis.settings(max_examples=SHRINK_CASES, phases=[Phase.generate, Phase.shrink], **SETTINGS)(
                    hypothesis.given(strategy)(attempt)
                )
            )
            with contextlib.suppress(BrokenError, hypothesis.errors.Flaky):
                run()
        return best[0]

    def _alike(self, names: tuple[str, ...], most: int) -> Iterator[SearchStrategy[Scene]]:
        if names:
            replies = st.one_of(self.palette.faulty(names), *([self.palette.values.map(valid)] if most > 1 else []))
            yield st.builds(Scene, st.lists(replies, min_size=1, max_size=most).map(tuple))
        else:
            yield self.scenes((), most=most)

    def _is_like(self, name: str, replies: Sequence[ScriptedReply]) -> bool:
        target = self.subject.target
        assert target is not None
        made = FAULTS[name](self._good(), self.examples[-1], target)
        return any(made.how == reply.how for reply in replies)


check = Check
#: Reports of the tests that `check` made in this process, for the pytest plug-in's summary.
REPORTS: list[Report] = []


def _recut(scene: Scene, **changes: Any) -> Scene:
    import dataclasses

    return dataclasses.replace(scene, **changes)


def _ended(run: Run) -> str:
    if run.is_stuck:
        return "no end"
    return "value" if run.error is None else type(run.error).__name__


def _size(trial: Trial) -> tuple[int, ...]:
    """Measure how much a reader must read; of two different outcomes, one is best a value."""
    run = trial.main
    texts = sum(len(reply.text) for reply in run.scene.replies)
    is_compared = bool(trial.split or trial.again or trial.other or trial.left)
    return int(is_compared and not run.ended_well), len(run.scene.replies), texts, len(run.asks)


def _richness(value: Any) -> tuple[int, int]:
    if isinstance(value, dict):
        inner = [v for v in value.values() if v not in (None, "", 0, [], {}, False)]
        return len(value) * 2 + len(inner), len(written(value))
    return (1 if value else 0), len(written(value))


__all__ = ["RUNS", "Check", "Counterexample", "Report", "check", "drawn"]

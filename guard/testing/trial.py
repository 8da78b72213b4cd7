"""A trial: one scene played on a subject, with the calls that it is compared with."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from guard.testing.app_adapters import ObservedRequest
from guard.testing.comparing import clipped
from guard.testing.harness import Run
from guard.testing.oracle import Verdict, plain, same
from guard.testing.scripted_replies import written
from guard.testing.stated import held
from guard.testing.subjects import Subject
from guard.trace.records import VALID

#: Keywords at which a type may be laxer than its schema.
_OF_TYPES = ("additionalProperties", "type", "format", "anyOf", "oneOf")


@dataclass
class Trial:
    """One played scene: the call itself, and the calls that it is compared with, where they were made."""

    subject: Subject
    main: Run
    again: Run | None = None  # the same question and replies again
    split: list[Run] = field(default_factory=list)  # the same, streamed in other pieces
    left: Run | None = None  # the same, but the result's stream was closed before its end
    other: Run | None = None  # another question, after the main one, with another answer
    later: Run | None = None  # the same question with a good answer, after a call that failed
    replayed: Run | None = None  # recorded, then replayed

    @property
    def readings(self) -> list[Verdict]:
        """The verdicts on the answers of the main run."""
        return readings(self.subject, self.main)

    def __str__(self) -> str:
        """Return words for the scene, the answers and their outcomes."""
        lines = []
        for ask in self.main.asks[:4]:
            reply = ask.reply
            what = f"[{reply.error}]" if reply.error else clipped(reply.text) or "(nothing)"
            ending = "" if reply.finish == "stop" or reply.error else f"  (finish: {reply.finish or 'broke off'})"
            lines.append(f"asked {ask.model}, it said {reply.how}: {what}{ending}")
        if len(self.main.asks) > 4:
            lines.append(f"… and was asked {len(self.main.asks) - 4} times more")
        lines.append(outcome(self.main))
        return "\n".join(lines)


def outcome(run: Run) -> str:
    """Return words for a call's outcome."""
    if run.is_stuck:
        return "the call did not end by itself"
    if run.error is not None:
        return f"it raised {type(run.error).__name__}: {clipped(str(run.error))}"
    return f"it returned {clipped(repr(run.value))}"


def answered(run: Run) -> list[ObservedRequest]:
    """Return a run's requests for the value under test, without those of the application's other steps."""
    return [ask for ask in run.asks if not ask.is_aside]


def readings(subject: Subject, run: Run) -> list[Verdict]:
    """Return the verdicts on the answers of a run."""
    return [reading_of(subject, run, ask) for ask in answered(run)]


def reading_of(subject: Subject, run: Run, ask: ObservedRequest) -> Verdict:
    """Return the verdict on one answer, given the inputs of the call.

    Guard may return a value of a text that was cut and could have gone on: it says so in the call's record.
    """
    assert subject.target is not None
    verdict = subject.read(ask.reply)
    if verdict.may_go_on and run.calls and run.calls[-1].cut_at:
        verdict = dataclasses.replace(verdict, may_go_on=False)
    return held(verdict, subject.target, run.given)


def all_runs(trial: Trial) -> Iterator[Run]:
    """Yield the calls of a trial, without replays and later ones."""
    yield trial.main
    for run in (trial.again, trial.left, trial.other, *trial.split):
        if run is not None:
            yield run


def target_of(trial: Trial) -> Any:
    """Return the target of the subject. It must be known."""
    assert trial.subject.target is not None
    return trial.subject.target


def has_value(trial: Trial) -> bool:
    """Whether the main call returned a value on whose validity Guard and the schema agree."""
    run = trial.main
    is_whole = run.ended_well and bool(answered(run)) and run.scene.leave_after is None
    return is_whole and trial.subject.path is not None and not is_disputed(trial)


def is_disputed(trial: Trial) -> bool:
    """Whether Guard accepted an answer that the schema refuses: a type may drop keys, or convert values."""
    calls = trial.main.calls
    if not trial.subject.is_derived or not calls or calls[-1].outcome != VALID or calls[-1].target == "schema":
        return False
    last = trial.readings[-1]
    return last.kind == "invalid" and all(f.rule.rpartition("/")[2] in _OF_TYPES for f in last.findings)


def bare_result(subject: Subject, run: Run) -> Any:
    """Return the value of a call as plain data, or its repr where its place in the result is unknown."""
    return plain(subject.value(run)) if subject.path is not None else repr(plain(run.value))


def have_same_results(subject: Subject, one: Run, other: Run) -> bool:
    """Whether two calls returned the same value, or raised errors of the same type."""
    if one.error is not None or other.error is not None:
        return type(one.error) is type(other.error)
    if one.is_streamed and one.scene.leave_after is not None:
        return True
    return same(bare_result(subject, one), bare_result(subject, other))


def findings_about(subject: Subject, value: Any) -> tuple[Any, ...]:
    """Check a returned value against what was asked for, and against its own type."""
    import pydantic

    assert subject.target is not None
    try:
        if isinstance(value, pydantic.BaseModel):
            text = value.model_dump_json(by_alias=True, exclude_unset=True, warnings=False)
            type(value).model_validate_json(text)
            return ()
        text = written(plain(value))
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = "".join(f"/{part}" for part in first["loc"])
        return (f"{where or '(root)'}: {first['msg']}",)
    except (ValueError, TypeError, RecursionError):
        return ()
    return subject.target.check(text)[1]

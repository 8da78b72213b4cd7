"""Invariants: properties that every application of a model must have, whatever the model answers.

They are about what can be observed from outside: the requests to the model, and the application's result. A check looks
at one trial (trial.py), and returns words for what does not hold, or None. comparing.py has the comparisons.
"""

from __future__ import annotations

import builtins
import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from guard.errors import GuardError
from guard.testing.app_adapters import CANARY
from guard.testing.comparing import (
    COUNTS,
    SHOWN,
    TOKENS,
    asked_otherwise,
    carries,
    clipped,
    defaults_of,
    difference_from,
    equal_values,
    figures_of,
    is_reading,
    is_told,
    key_orders,
    long_texts,
    name_of,
    new_words,
    property_names,
    summed,
    tails,
    value_text,
)
from guard.testing.oracle import is_held, leaves, plain, same
from guard.testing.scripted_replies import written
from guard.testing.sinks import added_to
from guard.testing.stated import sources_of
from guard.testing.subjects import Subject
from guard.testing.trial import (
    Trial,
    all_runs,
    answered,
    findings_about,
    has_value,
    have_same_results,
    is_disputed,
    outcome,
    reading_of,
    readings,
    target_of,
)

MOST_ASKS = 6  #: Requests that one call may make where the application sets no limit: two models, three times each.
LONGEST = 60.0  #: Seconds that a call may take, waits included, with a model that answers at once.

#: Errors that mean a bug in a program, rather than a bad answer.
_CRASHES = (
    *(TypeError, AttributeError, KeyError, IndexError, NameError, AssertionError, RecursionError, ZeroDivisionError),
    *(NotImplementedError, StopIteration, StopAsyncIteration, MemoryError, SystemExit, BufferError, SyntaxError),
)
#: Replies that no client of a protocol is prepared for.
_NO_PROTOCOL = ("no JSON", "no choices")
_BREAKS_OFF = ("reset", *_NO_PROTOCOL)  #: Errors after the question was read, whose cost is unknown.
_MODEL_NAMES = re.compile(r"(\A|_)(model|served|answered_by|served_by|model_name|served_model)\Z")


@dataclass(frozen=True)
class Invariant:
    """One invariant."""

    name: str  # "inputs-unchanged"
    says: str  # in one sentence
    line: int  # number in the list of users' problems
    check: Callable[[Trial], str | None]
    is_advice: bool = False  # reported, but not a failure: most programs break it, by the JSON parser that they use


# ---- What comes back -------------------------------------------------------------------------------------------------


def _typed_error(trial: Trial) -> str | None:
    for run in all_runs(trial):
        error = run.error
        if error is None:
            continue
        if run.asks and run.asks[-1].reply.error in _NO_PROTOCOL:
            continue  # the fault of a library
        name = f"{type(error).__name__}: {clipped(str(error))}"
        if isinstance(error, RecursionError) and _raised_in(error) == "json":
            continue  # too deeply nested JSON failed in the parser
        if (isinstance(error, _CRASHES) and type(error).__module__ == "builtins") or _is_broken(error):
            return f"it ended in {name}, which says nothing that a caller can act on"
        guarded = [call for call in run.calls if call.outcome != "valid"]
        if guarded and not isinstance(error, GuardError) and _is_vague(error):
            last = guarded[-1]
            return f"Guard raised {last.outcome} and the caller got {name}: what went wrong can't be told any more"
    return None


def _raised_in(error: BaseException) -> str:
    """Return the package whose code raised an error."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return "" if frame is None else str(frame.tb_frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_broken(error: BaseException) -> bool:
    return type(error).__name__ == "BrokenProtocolError"


def _is_vague(error: BaseException) -> bool:
    """Whether an error is of a type that everything may raise."""
    return type(error) in (Exception, RuntimeError, ValueError) and type(error).__module__ == builtins.__name__


def _no_answer_no_value(trial: Trial) -> str | None:
    subject, run = trial.subject, trial.main
    if not run.ended_well or run.scene.leave_after is not None or is_disputed(trial):
        return None
    found = trial.readings
    if any(reading.is_answer for reading in found) or not found:
        return None
    if subject.gives_nothing and run.value is None:
        return None  # its result is a side effect
    return f"it returned {clipped(repr(run.value))}, though {found[-1].words}"


def _valid(trial: Trial) -> str | None:
    subject, run = trial.subject, trial.main
    if not has_value(trial):
        return None
    value = subject.value(run)
    if is_reading(value, [reading for reading in trial.readings if reading.is_answer]):
        return None
    findings = findings_about(subject, value) if subject.member is None else ()
    if findings:
        return f"it returned {clipped(repr(value))}, which is not valid: {findings[0]}"
    return None


def _faithful(trial: Trial) -> str | None:
    """The value is that of an answer, unchanged."""
    subject, run = trial.subject, trial.main
    if not has_value(trial):
        return None
    value = subject.value(run)
    found = [reading for reading in trial.readings if reading.is_answer]
    if not found or is_reading(value, found):
        return None
    said = found[-1].texts[0]
    return f"the answer was {clipped(said)} and it returned {clipped(value_text(value))}{difference_from(said, value)}"


def _invented(trial: Trial) -> str | None:
    subject, run = trial.subject, trial.main
    if not has_value(trial):
        return None
    texts = "\n".join(ask.reply.text for ask in run.asks)
    if not texts:
        return None
    value = plain(subject.value(run), whole=False)
    assert subject.target is not None
    allowed = [leaf for default in defaults_of(subject.target.schema) for leaf in leaves(default)]
    for reading in trial.readings:
        allowed += [leaf for v in reading.values for leaf in leaves(plain(v))]
    for leaf in leaves(value):
        if not is_held(leaf, texts) and not any(equal_values(leaf, one) for one in allowed):
            return f"it returned {clipped(value_text(value))}, but no answer holds {leaf!r}"
    return None


def _no_answer_no_effect(trial: Trial) -> str | None:
    """What is written to the caller's objects comes from an answer."""
    for run in all_runs(trial):
        answers = [reading for reading in readings(trial.subject, run) if reading.is_answer]
        held = [leaf for reading in answers for value in reading.values for leaf in leaves(plain(value))]
        for name in trial.subject.sinks:
            added = added_to(run.given.get(name), run.after.get(name)) or []
            for leaf in leaves(added):
                if not any(equal_values(leaf, one) for one in held):
                    why = "no answer that was valid holds it" if answers else "there was no valid answer"
                    return f"{clipped(repr(added))} was written to {name}, though {why}: {clipped(repr(leaf))}"
    return None


def _grounded(trial: Trial) -> str | None:
    """A grounded value occurs in the inputs."""
    subject, run = trial.subject, trial.main
    if not has_value(trial) or subject.target is None or subject.target.grounding is None:
        return None
    text = written(plain(subject.value(run)))
    findings = subject.target.grounding.check(text, sources_of(run.given)).findings
    return f"it returned {clipped(text)}, and no input states {findings[0].at}: {findings[0]}" if findings else None


def _one_meaning(trial: Trial) -> str | None:
    """A duplicate key is not silently read as one of its values."""
    if not has_value(trial):
        return None
    found = [reading for reading in trial.readings if reading.is_answer]
    if not found or any(reading.kind != "twofold" for reading in found):
        return None
    value = trial.subject.value(trial.main)
    return f"{found[-1].words}; it returned {clipped(value_text(value))}" if is_reading(value, found) else None


def _answers(trial: Trial) -> str | None:
    """A valid answer does not crash the application."""
    run = trial.main
    if run.error is None or [reading.kind for reading in trial.readings] != ["valid"]:
        return None
    if isinstance(run.error, _CRASHES):
        return f"a valid answer ended in {type(run.error).__name__}: {clipped(str(run.error))}"
    for error in _causes(run.error):
        if isinstance(error, json.JSONDecodeError) or _denies(trial.subject, error):
            return f"a valid answer ended in {type(error).__name__}: {clipped(str(error))}"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes and contexts: the parser's error is among them, where others wrap it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _denies(subject: Subject, error: BaseException) -> bool:
    """Whether Pydantic's error is about the type that accepts the answer: then it was given something else."""
    import pydantic

    if not isinstance(error, pydantic.ValidationError):
        return False
    is_broken_json = any(found["type"] == "json_invalid" for found in error.errors(include_url=False))
    return is_broken_json or (subject.target is not None and error.title == subject.target.name)


def _not_run(trial: Trial) -> str | None:
    """An answer is data and is never run: a stranger may have written it."""
    if any(run.ran_answer for run in all_runs(trial)):
        return "an answer that held a program of Python was run (eval or exec): read it with json.loads or Pydantic"
    return None


# ---- What is asked ---------------------------------------------------------------------------------------------------


def _bounded(trial: Trial) -> str | None:
    for run in all_runs(trial):
        most = max(MOST_ASKS, trial.subject.most_asks or 0) * trial.subject.steps
        count = len(run.asks)
        if run.is_stuck:
            asked = f"asked {count} times and " if count > 1 else ""
            return f"it {asked}did not end by itself"
        if count > most:
            return f"it asked {count} times in one call; {most} is the most that is allowed"
        if run.seconds + run.waited > LONGEST:
            return f"it took {run.seconds:.1f} s and waited {run.waited:.0f} s, with a model that answers at once"
    return None


def _terminal(trial: Trial) -> str | None:
    run = trial.main
    for before, after in itertools.pairwise(answered(run)):
        if reading_of(trial.subject, run, before).kind == "refused" and after.model == before.model:
            return f"{before.model} declined ({before.reply.how}) and was asked again"
    return None


def _feedback(trial: Trial) -> str | None:
    run = trial.main
    for before, after in itertools.pairwise(answered(run)):
        found = reading_of(trial.subject, run, before)
        if found.kind != "invalid":
            continue
        new = new_words(run.asks, after)
        lost = [finding for finding in found.findings if not is_told(finding, new)]
        told = [finding for finding in found.findings if name_of(finding) and finding not in lost]
        if before.model != after.model and not told:
            continue  # another model may be asked the first question again
        if not new.strip():
            return f"after {found.findings[0]} the model was asked again without a word about it"
        if lost:
            return f"asked again, the model was not told of every finding; missing: {lost[0]}"
    return None


def _schema_kept(trial: Trial) -> str | None:
    asks = answered(trial.main)
    target = target_of(trial)
    names = property_names(target.schema)
    if not asks or not names or not any(carries(ask, names) for ask in [*asks, *trial.main.refused]):
        return None
    for ask in asks:
        if not carries(ask, names):
            before = [one for one in asks if one.number < ask.number]
            after = f" after {before[-1].reply.how}" if before else ""
            return f"request {ask.number} (to {ask.model}{after}) carries no schema; {_first_carrier(trial)}"
    return None


def _first_carrier(trial: Trial) -> str:
    names = property_names(target_of(trial).schema)
    first = next(ask for ask in [*trial.main.refused, *answered(trial.main)] if carries(ask, names))
    return f"the one to {first.model} did" if first.number else "the one that the server refused did"


def _question_kept(trial: Trial) -> str | None:
    """A re-asked or escalated request still contains the first question."""
    run = trial.main
    asks = answered(run)
    if not asks:
        return None
    asked = [(name, text) for name, text in long_texts(trial.main.given) if text in asks[0].words]
    for before, after in itertools.pairwise(asks):
        if reading_of(trial.subject, run, before).is_answer:
            return None  # later requests may be another question
        for name, text in asked:
            if text not in after.words:
                return (
                    f"request {after.number} (to {after.model}, after {before.reply.how}) does not hold {name}, as the"
                    f" first one did: {clipped(repr(after.words))}"
                )
    return None


def _key_order(trial: Trial) -> str | None:
    declared = key_orders(target_of(trial).schema)
    for ask in [*trial.main.refused, *trial.main.asks]:
        for where, keys in key_orders(ask.schema).items():
            wanted = declared.get(where)
            if wanted is not None and set(wanted) == set(keys) and list(wanted) != list(keys):
                return f"the schema declares {', '.join(wanted)} and the model is asked for {', '.join(keys)}"
    return None


# ---- What stays as it was --------------------------------------------------------------------------------------------


def _inputs(trial: Trial) -> str | None:
    for run in all_runs(trial):
        for name, before in run.given.items():
            if name not in trial.subject.sinks and not same(plain(before), plain(run.after.get(name))):
                return f"the argument {name} was {clipped(repr(before))} and is {clipped(repr(run.after.get(name)))}"
    return None


def _repeatable(trial: Trial) -> str | None:
    main, again = trial.main, trial.again
    if again is None:
        return None
    if again.asks:
        for one, other in zip(main.asks, again.asks, strict=False):
            difference = asked_otherwise(one, other)
            if difference:
                return f"the same question was put to the model otherwise the second time: {difference}"
        if len(main.asks) != len(again.asks):
            return f"the same call asked {len(main.asks)} times, then {len(again.asks)} times"
    if main.ended_well != again.ended_well or not have_same_results(trial.subject, main, again):
        return f"the same call with the same answers came to two ends: first {outcome(main)}; then {outcome(again)}"
    return None


def _replays(trial: Trial) -> str | None:
    main, replayed = trial.main, trial.replayed
    if replayed is None:
        return None
    if replayed.asks:
        return "a recorded call was replayed and the model was asked all the same"
    if main.ended_well != replayed.ended_well or not have_same_results(trial.subject, main, replayed):
        return f"a recorded call came to {outcome(main)}; replayed, {outcome(replayed)}"
    return None


def _split(trial: Trial) -> str | None:
    main = trial.main
    for run in trial.split:
        if main.ended_well != run.ended_well or not have_same_results(trial.subject, main, run):
            scene = run.scene
            how = f"{scene.wire} bytes" if scene.wire else f"{scene.pieces} characters"
            return f"in one piece: {outcome(main)}; in pieces of {how}: {outcome(run)}"
    return None


def _own_answer(trial: Trial) -> str | None:
    main, other, later = trial.main, trial.other, trial.later
    if later is not None and main.error is not None and later.error is not None and not later.asks:
        return f"a bad answer was kept: asked the same later, the model was not asked, and {outcome(later)}"
    if words := _of_another(trial):
        return words
    if other is None or not main.ended_well:
        return None
    changed = next((name for name in other.given if not same(other.given[name], main.given.get(name))), "the question")
    if not other.asks and other.ended_well and have_same_results(trial.subject, main, other):
        before, after = tails(main.given.get(changed), other.given.get(changed))
        return (
            f"{changed} was {before}, then {after}; the model was not asked again,"
            f" and the second call got the first one's answer: {clipped(repr(other.value))}"
        )
    marks = [value for value in main.given.values() if isinstance(value, str) and len(value) > 8]
    for ask in other.asks:
        for mark in marks:
            if mark not in other.given.values() and mark in ask.words:
                return f"the question of one call is in the prompt of the next: {clipped(ask.words[-SHOWN:])}"
    return None


def _of_another(trial: Trial) -> str | None:
    """In a batch, each result is that of its own question."""
    run = trial.main
    batch = run.scene.by_text
    if not batch or not run.ended_well or len(run.asks) != len(batch) or not isinstance(run.value, list | tuple):
        return None
    if len(run.value) != len(batch):
        return f"{len(batch)} questions were asked and answered, and there are {len(run.value)} results"
    for (text, reply), value in zip(batch, run.value, strict=True):
        if not is_reading(value, [trial.subject.read(reply)]):
            said = clipped(reply.text)
            return f"in a batch, {text!r} was answered {said}, and its result is {clipped(value_text(value))}"
    return None


def _secret(trial: Trial) -> str | None:
    for run in all_runs(trial):
        if CANARY in run.said:
            line = next(line for line in run.said.splitlines() if CANARY in line)
            return f"the key is in what is logged or printed: {clipped(line)}"
        if run.ended_well and CANARY in repr(run.value):
            return "the key is in what is returned"
        is_echo = any(ask.reply.error == "unauthorized" for ask in run.asks)  # it is named in the provider's message
        if run.error is not None and CANARY in str(run.error) and not is_echo:
            return f"the key is in the error: {clipped(str(run.error))}"
        if CANARY in "".join(ask.words for ask in run.asks):
            return "the key is in the prompt"
    return None


# ---- What is reported ------------------------------------------------------------------------------------------------


def _served(trial: Trial) -> str | None:
    run = trial.main
    asks = answered(run)
    if not run.ended_well or not asks:
        return None
    subject = trial.subject
    values = [subject.value(run)]
    index = len(asks) - 1
    for at, reading in enumerate(trial.readings):
        if reading.is_answer and is_reading(values[0], [reading]):
            index = at
    served = asks[index]
    for name, said in subject.beside(run).items():
        if _MODEL_NAMES.search(name) and isinstance(said, str) and said not in (served.served, served.model):
            return f"{name} is {said!r}, but the answer was {served.served}'s (asked for as {served.model!r})"
    return None


_PART = re.compile(r"_details\.")


def _ledger(trial: Trial) -> str | None:
    for run in (trial.main, *([trial.again] if trial.again else [])):
        told = [ask.usage for ask in run.asks if ask.usage is not None]
        prompt, completion = sum(p for p, _ in told), sum(c for _, c in told)
        # The tokens of a request that broke off are unknown; an estimate may count at most one token a byte.
        untold = [a for a in run.asks if a.usage is None and (not a.reply.error or a.reply.error in _BREAKS_OFF)]
        asked = sum(_size(ask.words) + _size(json.dumps(ask.schema)) for ask in untold)
        answered = sum(_size(ask.reply.text) for ask in untold)
        sums = {"prompt": (prompt, asked), "completion": (completion, answered)}
        sums["both"] = (prompt + completion, asked + answered)
        figures = dict(figures_of(trial.subject.beside(run))) if run.ended_well else {}
        for ledger in run.kept.values():
            figures |= summed(ledger)
        for name, figure in figures.items():
            kinds = [sums[kind] for kind in _kinds(name)]
            if _PART.search(name):  # as OpenAI tells reasoning tokens: some of the sum
                kinds = [(0, sure + most) for sure, most in kinds]
            if TOKENS.search(name) and run.asks and not any(sure <= figure <= sure + most for sure, most in kinds):
                parts = " + ".join(str(sum(pair)) for pair in told)
                return f"{name} is {figure}; the {len(told)} answers took {parts} = {prompt + completion} tokens"
            if COUNTS.search(name) and figure not in (len(run.asks), len(run.asks) - 1):
                return f"{name} is {figure}; the model was asked {len(run.asks)} times"
    return None


def _size(text: str) -> int:
    return len(text.encode(errors="replace"))


def _kinds(name: str) -> tuple[str, ...]:
    """Return the sums that a figure of this name may be."""
    if re.search(r"prompt|input", name):
        return ("prompt",)
    if re.search(r"completion|output", name):
        return ("completion",)
    return ("both",) if "total" in name else ("prompt", "completion", "both")


def _recorded(trial: Trial) -> str | None:
    main = trial.main
    for run in all_runs(trial):
        staged = [ask for ask in run.asks if ask.port == "model"]
        attempts = [attempt for call in run.calls for attempt in call.attempts]
        if run.calls and main.calls and len(attempts) < len(staged):
            return f"the model was asked {len(staged)} times and the trace holds {len(attempts)} attempts"
        if staged and main.calls and not run.calls and run.scene.leave_after is not None:
            return "a stream that was left before its end is not in the trace"
    left = trial.left
    if left is None or not left.asks:
        return None
    for name, ledger in main.kept.items():
        if ledger and not left.kept.get(name):
            return f"a call that ends is written to {name}; one whose stream is left before its end is not"
    for ask in left.asks:
        if ask.is_streaming and ask.port == "model" and not ask.was_left and not ask.was_whole:
            return "the result's stream was left, and the model's was not closed: it goes on, and costs"
    return None


#: All invariants, in the order of reports.
INVARIANTS: tuple[Invariant, ...] = (
    Invariant(
        "no-answer-no-value", "Without a whole, valid answer there is an error, never a value.", 5, _no_answer_no_value
    ),
    Invariant(
        "no-answer-no-effect",
        "What is written to the caller's lists, dictionaries and functions comes from a whole, valid answer.",
        5,
        _no_answer_no_effect,
    ),
    Invariant("valid", "What is returned is valid for all that was asked for.", 1, _valid),
    Invariant(
        "faithful", "What is returned is what an answer says: nothing is changed, added or taken away.", 7, _faithful
    ),
    Invariant("nothing-invented", "No text or number is returned that no answer holds.", 11, _invented),
    Invariant("grounded", "A value that is quoted or stated stands in the inputs of the call.", 11, _grounded),
    Invariant(
        "one-meaning",
        "A key that stands twice in an answer is not read as one of its values in silence.",
        7,
        _one_meaning,
        is_advice=True,
    ),
    Invariant(
        "typed-error", "What fails ends in an error of a type that callers can catch and act on.", 5, _typed_error
    ),
    Invariant(
        "reads-what-is-valid",
        "A valid answer does not crash what reads it, and is not taken for broken JSON.",
        6,
        _answers,
    ),
    Invariant("not-run", "What an answer says is never run as a program.", 6, _not_run),
    Invariant("bounded", "A call ends, after a bounded number of requests.", 13, _bounded),
    Invariant("refusals-end", "A model that declined is not asked again.", 5, _terminal),
    Invariant("feedback", "A model that is asked again is told of everything that was wrong.", 9, _feedback),
    Invariant("schema-kept", "The schema goes with every request, on every tier.", 12, _schema_kept),
    Invariant("question-kept", "The question goes with every request that follows a failed one.", 12, _question_kept),
    Invariant("key-order", "Keys are asked for in the order in which they are declared.", 8, _key_order),
    Invariant("inputs-unchanged", "What the caller passes in is as it was afterwards.", 9, _inputs),
    Invariant("repeatable", "The same call with the same answers asks the same and returns the same.", 14, _repeatable),
    Invariant("replays", "A recorded call replays without a model, to the same end.", 14, _replays),
    Invariant("split-independent", "How a stream is cut changes nothing about the result.", 10, _split),
    Invariant(
        "own-answer",
        "Another question gets an answer of its own, and its prompt holds no other call's.",
        14,
        _own_answer,
    ),
    Invariant("served-model", "Who is said to have answered is who answered.", 12, _served),
    Invariant("ledger", "Tokens and attempts that are reported are the sum over all requests.", 13, _ledger),
    Invariant("recorded", "Every request is on record, those too whose stream was left before its end.", 13, _recorded),
    Invariant("secrets-kept", "Keys are not in logs, prints, prompts, results or errors.", 0, _secret),
)

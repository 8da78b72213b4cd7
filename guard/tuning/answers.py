"""Right answers from the trace or from a file. Any that is not surely right is left out and counted by reason.

A recorded answer is right where a person approved or corrected it. Without a person's word it counts as right where it
is valid and complete and came from a model other than the tuned one: a model learns nothing from its own answers.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard.batch.inputs import decoded
from guard.calls import rerun
from guard.errors import GuardError, SchemaError
from guard.schemas import compile as compiled_of
from guard.support import strict_json
from guard.support.bounds import MOST_SUM
from guard.support.secret_patterns import REDACTED
from guard.trace.asked_for import target_of
from guard.trace.errors import TraceError
from guard.trace.feedback import PERSON
from guard.trace.records import TRAINING, VALID
from guard.tuning.examples import Pair, digest

if TYPE_CHECKING:
    from guard.schemas.compiled import Compiled
    from guard.schemas.grounding.sources import Sources
    from guard.trace.feedback import Feedback
    from guard.trace.records import Attempt, Call
    from guard.trace.store import TraceStore

#: Providers' terms about training on answers; shown before their answers are used.
TERMS = {
    "openai": "OpenAI's terms forbid to train models that compete with OpenAI on its outputs: https://openai.com/policies",
    "anthropic": "Anthropic's terms forbid to train competing models on its outputs: https://www.anthropic.com/legal",
}


def from_trace(
    store: TraceStore,
    dropped: Counter[str],
    *,
    own: Container[str],
    function: str | None = None,
    schema_hash: str | None = None,
    since: float | None = None,
) -> Iterator[Pair]:
    """Yield the right answers of a function or a schema since a time; `own` are the names of the tuned model.

    `dropped` counts the answers left out, by reason.
    """
    schemas: dict[str, Compiled | None] = {}
    rejected: set[tuple[str, str]] = set()
    pairs: list[Pair] = []
    page: list[Call] = []
    for call in store.each(function=function, since=since):
        if schema_hash is None or call.schema_hash == schema_hash:
            page.append(call)
        if len(page) == 100:
            pairs += _pairs(store, page, own, dropped, schemas, rejected)
            page = []
    pairs += _pairs(store, page, own, dropped, schemas, rejected)
    for pair in pairs:
        if pair.by != PERSON and not pair.is_approved and (pair.input_hash, _value(pair.answer)) in rejected:
            dropped["said to be wrong"] += 1  # of another call, which had the same answer to the same question
        else:
            yield pair


def from_file(path: Path, dropped: Counter[str], schema: Any = None) -> Iterator[Pair]:
    """Yield the pairs of a JSON Lines file with lines of `{"messages": [...], "answer": ..., "schema": ...}`.

    `schema` is that of lines without one. A line may have `started`, seconds since the epoch, for the split by time.
    Raises GuardError, which names the line, where one has another form.
    """
    known: dict[str, Compiled | None] = {}
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            place = f"{path}, line {number}"
            text = decoded(line, place)
            try:
                row = strict_json.loads(text)
                if not isinstance(row, dict):
                    raise GuardError(f"{place} is no object; a line has messages and answer")
                messages, answer = row["messages"], row["answer"]
            except (ValueError, KeyError, RecursionError) as error:
                words = f"there is no {error}" if isinstance(error, KeyError) else f"it is not JSON ({error})"
                raise GuardError(f"{place}: {words}; a line has messages and answer") from None
            wanted, started = row.get("schema", schema), row.get("started", 0.0)
            if wanted is None or messages == []:
                raise GuardError(f"{place} has no schema, or no messages; give SCHEMA, or add them")
            if not isinstance(messages, list) or not all(map(_is_message, messages)):
                raise GuardError(f"{place}: messages must be a list of objects, each with a role and a content")
            if isinstance(started, bool) or not isinstance(started, int | float) or abs(started) > MOST_SUM:
                raise GuardError(f"{place}: started must be a number, seconds since the epoch")
            key = wanted if isinstance(wanted, str) else json.dumps(wanted)
            compiled = _compiled(known, key, functools.partial(compiled_of, wanted))
            if compiled is None:
                dropped["its schema is refused"] += 1
                continue
            text = json.dumps(answer, ensure_ascii=False)
            yield Pair(tuple(messages), compiled, text, f"line {number}", float(started), PERSON)


def _is_message(message: Any) -> bool:
    return isinstance(message, dict) and isinstance(message.get("role"), str) and "content" in message


def terms(pairs: Iterable[Pair]) -> list[str]:
    """Return the terms of the providers whose answers are among the pairs; of other models, that they have some."""
    names = {pair.by for pair in pairs if pair.by not in ("", PERSON)}
    known = {kind for kind in TERMS if any(name.partition(":")[0] == kind for name in names)}
    others = sorted(name for name in names if name.partition(":")[0] not in known)
    more = [f"whether the terms of {', '.join(others)} allow to train on these answers is not known here"]
    return [*(TERMS[kind] for kind in sorted(known)), *(more if others else [])]


def _value(text: str) -> str:
    """Return a JSON text in its one spelling."""
    return json.dumps(json.loads(text), sort_keys=True)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _pairs(
    store: TraceStore,
    calls: list[Call],
    own: Container[str],
    dropped: Counter[str],
    schemas: dict[str, Compiled | None],
    rejected: set[tuple[str, str]],
) -> Iterator[Pair]:
    """Yield what calls show to be right; `rejected` takes the questions and answers that a person said to be wrong."""
    said = store.feedback([call.number for call in calls if call.number is not None])
    for call in calls:
        feedback = said.get(call.number or 0)
        if feedback is not None and not feedback.right and call.attempts and _is_json(call.text):
            rejected.add((digest(call.attempts[0].messages, call.schema_hash), _value(call.text)))
        why = _why_not(call, feedback, own)
        if why:
            dropped[why] += 1
            continue

        def asked(schema_hash: str = call.schema_hash) -> Any:
            kept = store.schema(schema_hash)
            target = None if kept is None else target_of(kept, schema_hash)
            return None if target is None else target.compiled

        compiled = _compiled(schemas, call.schema_hash, asked)
        if compiled is None:
            dropped["its schema is not kept"] += 1
            continue
        is_corrected = feedback is not None and feedback.value is not None
        text = feedback.value if feedback is not None and feedback.value is not None else call.text
        if not _is_json(text):  # of a format, such as a regex
            dropped["no JSON"] += 1
            continue
        answer = call.answer
        by = PERSON if is_corrected else answer.model if answer is not None else ""
        source, is_approved = f"call {call.number}", feedback is not None and feedback.right
        first = call.attempts[0]
        sources = _sources(first) if compiled.is_grounded else None
        if compiled.is_grounded and sources is None:
            dropped["its inputs are not on record"] += 1
            continue
        yield Pair(first.messages, compiled, text, source, call.started, by, is_approved, sources)


def _sources(first: Attempt) -> Sources | None:
    """Return the inputs of grounded values; None where the messages do not show them as they were."""
    try:
        return rerun.sources_of(first) if first.inputs else None
    except TraceError:
        return None


def _why_not(call: Call, feedback: Feedback | None, own: Container[str]) -> str:
    """Return why a call's answer is left out; "" where it is right."""
    if call.record_for != TRAINING:
        return "not recorded for training"
    if call.function == rerun.FUNCTION or not call.attempts:
        return "a replay"
    if any(REDACTED in json.dumps(message, ensure_ascii=False) for message in call.attempts[0].messages):
        return "redacted"
    if feedback is not None and feedback.value is not None:
        return ""
    if feedback is not None and not feedback.right:
        return "said to be wrong"
    answer = call.answer
    if call.outcome != VALID or answer is None or answer.reply is None:
        return "no valid answer"
    if REDACTED in call.text:
        return "redacted"
    if answer.reply.is_kept:
        return "a replay"
    if not call.is_whole:
        return "not whole"
    if feedback is not None:
        return ""
    if answer.reason == "confidence":
        return "not sure"
    if answer.model in own or answer.reply.model in own:
        return "the model's own answer, which nobody confirmed"
    return ""


def _compiled(known: dict[str, Compiled | None], key: str, make: Callable[[], Compiled | None]) -> Compiled | None:
    if key not in known:
        try:
            known[key] = make()
        except SchemaError:
            known[key] = None
    return known[key]

"""The codec between records and rows: records become redacted rows, and rows become records.

No database takes every Python text: PostgreSQL refuses U+0000, UTF-8 lone surrogates. `storable` escapes both, and
U+001A itself, as U+001A and four hexadecimal digits; `restored` returns the original text. SQLite stores large texts
compressed by zlib.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from guard.decoding.alternative import Alternative
from guard.decoding.confidence import Sureness, Token
from guard.errors import Violation
from guard.models.base import Reply
from guard.output.repair import Edit
from guard.schemas.grounding.sources import Place
from guard.support.clipping import clipped
from guard.support.json_pieces import SMALL, WINDOW, compact, is_small, pieces, weight
from guard.support.secret_patterns import REDACTED, may_hold_secret, redacted
from guard.trace.records import Attempt, Call, Shown
from guard.trace.redaction import Redaction

SHORT = 100  #: Most characters of a text that is remembered.
LARGE = 262_144  #: Characters of a text from which it is compressed in SQLite.
#: What reading a row raises that is not as Guard writes it.
DAMAGE = (ValueError, TypeError, LookupError, AttributeError, RecursionError, zlib.error)
_ARRAYS = (list, tuple)
_ESCAPE = "\x1a"  # SUBSTITUTE, used for its purpose
_UNSTORABLE = re.compile("[\0\x1a\ud800-\udfff]")
_ESCAPED = re.compile("\x1a([0-9a-f]{4})")


def storable(text: str) -> str:
    """Return a text, escaped so that every database takes it. Linear time."""
    if len(text) <= WINDOW and text.isascii() and "\0" not in text and _ESCAPE not in text:
        return text  # as most are, in one call
    if len(text) > WINDOW:
        parts = [text[begin : begin + WINDOW] for begin in range(0, len(text), WINDOW)]
        return text if all(map(_is_storable, parts)) else "".join(map(storable, parts))
    if _is_storable(text):
        return text
    return _UNSTORABLE.sub(lambda match: f"{_ESCAPE}{ord(match[0]):04x}", text)


def size(attempt: Attempt, most: int) -> int:
    """Return how large its texts are, in parts of 64 characters; above `most`, a lower bound. O(most)."""
    said = [] if attempt.reply is None else [attempt.reply.text, attempt.reply.thinking]
    return weight([attempt.messages, attempt.repaired, *said], most)


def packed(row: dict[str, Any]) -> dict[str, Any]:
    """Compress large texts of an attempt's row, for SQLite: a writer holds up all others, and 10 MB take 50 ms."""
    for name in _UNBOUNDED:
        text = row[name]
        if text is not None and len(text) > LARGE and isinstance(text, str):
            row[name] = _compressed(text)
    return row


def _compressed(text: str) -> bytes:
    packer = zlib.compressobj(1)
    windows = (text[begin : begin + WINDOW] for begin in range(0, len(text), WINDOW))
    return b"".join([*[packer.compress(window.encode()) for window in windows], packer.flush()])


def restored(text: str | bytes) -> str:
    """Return the original of a text that `storable`, and perhaps `packed`, has changed."""
    if isinstance(text, bytes):
        text = zlib.decompress(text).decode()
    if _ESCAPE in text:
        return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
    return text


def _is_storable(text: str) -> bool:
    if "\0" in text or _ESCAPE in text:
        return False
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def call_row(call: Call, redaction: Redaction) -> dict[str, Any]:
    """Return the row of a call without its number, which the database assigns; `large` is for totals."""
    function, target, schema_hash, template, model, outcome, error, large = _columns(
        redaction,
        call.function,
        call.target,
        call.schema_hash,
        call.template,
        call.model,
        call.outcome,
        call.error,
        last_tier(call.options),
    )
    return {
        "started": call.started,
        "seconds": call.seconds,
        "function": function,
        "target": target,
        "schema_hash": schema_hash,
        "template": template,
        "model": model,
        "options": _redacted_json(call.options, redaction),
        "outcome": outcome,
        "error": error,
        "record_for": call.record_for,
        "large": large,
    }


def attempt_row(attempt: Attempt, redaction: Redaction) -> dict[str, Any]:
    """Return the row of an attempt, without the call's number."""
    reply = attempt.reply
    error, model, reason = _columns(redaction, attempt.error, attempt.model, attempt.reason)
    written = None if reply is None else redaction.text(reply.text)
    # Parts of a text with a secret may hold parts of the secret, which no pattern finds.
    repaired = None if attempt.repaired is None else redaction.text(attempt.repaired)
    secret = repaired != attempt.repaired
    if reply is not None:
        secret = secret or written != reply.text or _spells_secret(reply.tokens, redaction)
    row = {
        "number": attempt.number,
        "messages": _redacted_json(attempt.messages, redaction),
        "findings": _json([_finding(finding, redaction, secret) for finding in attempt.findings])
        if attempt.findings
        else "[]",
        "error": error,
        "tier": attempt.tier,
        "model": model,
        "reason": reason,
        "repairs": _json([_edit(edit, redaction, secret) for edit in attempt.repairs]) if attempt.repairs else None,
        "repaired": None if repaired is None else storable(repaired),
        "started": attempt.started,
        "elapsed": attempt.seconds,
        "sources": _sources(attempt, redaction),
    }
    if reply is None or written is None:
        return row | _NO_REPLY
    row["text"] = storable(written)
    row["finish"], row["served"], row["thinking"], row["mode"] = _columns(
        redaction, reply.finish, reply.model, reply.thinking, reply.mode
    )
    row["prompt_tokens"] = reply.prompt_tokens
    row["completion_tokens"] = reply.completion_tokens
    row["forced_tokens"] = reply.forced_tokens
    row["seconds"] = reply.seconds
    row["mask_seconds"] = reply.mask_seconds
    row["thinking_tokens"] = reply.thinking_tokens
    row["tokens"] = _tokens(reply.tokens, secret) if reply.tokens else None
    row["retries"] = reply.retries
    row["cost"] = reply.cost
    row["is_estimate"] = int(reply.is_estimate)
    row["is_kept"] = int(reply.is_kept)
    row["cut_at"] = _redacted_json(reply.cut_at, redaction) if reply.cut_at else None
    row["room"] = reply.room
    row["decision"] = reply.decision
    row["repeated_at"] = _redacted_json(reply.repeated_at, redaction) if reply.repeated_at else None
    row["sureness"] = None if reply.sureness is None else _redacted_json(dataclasses.asdict(reply.sureness), redaction)
    return row


def last_tier(options: Mapping[str, Any]) -> str:
    """Return the model of the last tier that a call's options name, or "" where they name none."""
    tiers = options.get("tiers")
    return str(tiers[-1]) if isinstance(tiers, _ARRAYS) and tiers else ""


def is_whole(call: Call, attempts: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a call's final text is unchanged in its rows: no secret was cut out of it."""
    if not attempts:
        return True
    last = attempts[-1]
    kept = last["text"] if last["repaired"] is None else last["repaired"]
    return bool((kept or "") == storable(call.text))


#: The columns of an attempt whose texts may be large.
_UNBOUNDED = (
    *("messages", "findings", "error", "repairs", "repaired", "sources"),
    *("text", "thinking", "tokens", "served", "finish", "cut_at", "repeated_at"),
)
#: The columns of an attempt without a reply.
_NO_REPLY = dict.fromkeys(
    (
        *("text", "finish", "served", "prompt_tokens", "completion_tokens", "forced_tokens"),
        *("seconds", "mask_seconds", "thinking_tokens", "thinking", "tokens", "retries", "mode", "cost"),
        *("is_estimate", "is_kept", "cut_at", "repeated_at", "room", "decision", "sureness"),
    )
)


#: The columns of an attempt that hold numbers, of which some may be null.
_NUMBERS = (
    *("number", "tier", "started", "elapsed", "prompt_tokens", "completion_tokens", "forced_tokens", "thinking_tokens"),
    *("seconds", "mask_seconds", "retries", "cost", "room", "decision"),
)


def _check_numbers(row: Any, names: Sequence[str]) -> None:
    for name in names:
        value = getattr(row, name)
        if value is not None and not isinstance(value, float | int):  # SQLite's columns may hold anything
            raise TypeError(f"its {name} is {clipped(value)}, which is no number")


def call_of(row: Any, attempts: Sequence[Attempt]) -> Call:
    """Return the call of a row and its attempts. Raises DAMAGE where the row is not as Guard writes it."""
    if not isinstance(row.started, float | int):
        raise TypeError(f"it began at {row.started!r}, which is no time")
    _check_numbers(row, ("seconds",))
    options = loaded(row.options)
    if not isinstance(options, dict):
        raise TypeError("its options are no object")
    return Call(
        function=restored(row.function),
        target=restored(row.target),
        schema_hash=restored(row.schema_hash),
        template=restored(row.template),
        model=restored(row.model),
        options=options,
        started=row.started,
        seconds=row.seconds,
        outcome=restored(row.outcome),
        error=restored(row.error),
        attempts=tuple(attempts),
        number=row.id,
        record_for=row.record_for,
    )


def attempt_of(row: Any) -> Attempt:
    """Return the attempt of a row. Raises DAMAGE where the row is not as Guard writes it."""
    _check_numbers(row, _NUMBERS)
    reply = None
    if row.text is not None:
        reply = Reply(
            text=restored(row.text),
            finish=restored(row.finish),
            model=restored(row.served),
            prompt_tokens=row.prompt_tokens,
            completion_tokens=row.completion_tokens,
            forced_tokens=row.forced_tokens,
            seconds=row.seconds,
            mask_seconds=row.mask_seconds,
            thinking_tokens=row.thinking_tokens,
            thinking=restored(row.thinking),
            tokens=() if row.tokens is None else _tokens_of(row.tokens),
            retries=row.retries,
            mode=restored(row.mode),
            cost=row.cost,
            is_estimate=bool(row.is_estimate),
            is_kept=bool(row.is_kept),
            cut_at=() if row.cut_at is None else tuple(loaded(row.cut_at)),
            room=row.room,
            decision=row.decision,
            repeated_at=() if row.repeated_at is None else tuple(loaded(row.repeated_at)),
            alternatives=_alternatives_of(row.sources),
            sureness=None if row.sureness is None else Sureness(**loaded(row.sureness)),
        )
    return Attempt(
        number=row.number,
        messages=tuple(loaded(row.messages)),
        reply=reply,
        findings=tuple(Violation(**finding) for finding in loaded(row.findings)),
        error=restored(row.error),
        tier=row.tier,
        model=restored(row.model),
        reason=restored(row.reason),
        repairs=() if row.repairs is None else tuple(Edit(**edit) for edit in loaded(row.repairs)),
        repaired=None if row.repaired is None else restored(row.repaired),
        started=row.started,
        seconds=row.elapsed,
        **({} if row.sources is None else _sources_of(row.sources)),
    )


def body_text(body: Mapping[str, Any], redaction: Redaction) -> str | None:
    """Return the text of a recorded reply, or None where redaction changes it: it would replay differently."""
    text = _json(body)
    return text if _redacted_json(body, redaction) == text else None


def loaded(text: str | bytes) -> Any:
    """Return the value of a JSON column."""
    return json.loads(restored(text))


def _json(value: Any) -> str:
    if weight(value, SMALL) <= SMALL:
        return storable(compact(value))  # as most are, in one call
    return "".join(map(storable, pieces(value)))


def _redacted_json(value: Any, redaction: Redaction) -> str:
    """Return the JSON of a value with every text inside redacted: `_json(redaction.value(value))`.

    Mostly there is nothing to cut out, which the JSON tells at once: what JSON escapes is in no secret here, nor in the
    signs of one, so each stands in the JSON as it stands in the value.
    """
    if not redaction.hooks and is_small(value) and _are_plain(redaction.secrets):
        text = compact(value)
        if not may_hold_secret(text, redaction.secrets):
            return storable(text)
    return _json(redaction.value(value))


@functools.lru_cache(8)
def _are_plain(secrets: tuple[str, ...]) -> bool:
    """Whether JSON writes each of some texts as it is."""
    return all(compact(secret)[1:-1] == secret for secret in secrets)


def _sources(attempt: Attempt, redaction: Redaction) -> str | None:
    others = {} if attempt.reply is None else attempt.reply.alternatives
    if not (attempt.sources or attempt.inputs or attempt.fields or others):
        return None
    inputs = {name: shown if shown.is_json else shown[:-1] for name, shown in attempt.inputs.items()}
    parts = {"places": dict(attempt.sources), "inputs": inputs}
    more = {"fields": attempt.fields, "alternatives": dict(others)}
    kept = {**parts, **{name: part for name, part in more.items() if part}}
    return _json({name: redaction.value(part) for name, part in kept.items()})  # these names are no one's text


def _sources_of(text: str) -> dict[str, Any]:
    kept = loaded(text)
    places = {at: tuple(Place(*place) for place in found) for at, found in kept["places"].items()}
    inputs = {name: Shown(*shown) for name, shown in kept["inputs"].items()}
    return {"sources": places, "inputs": inputs, "fields": tuple(kept.get("fields", ()))}


def _alternatives_of(text: str | None) -> dict[str, tuple[Alternative, ...]]:
    kept = {} if text is None else loaded(text).get("alternatives", {})
    return {at: tuple(Alternative(*one) for one in found) for at, found in kept.items()}


def _columns(redaction: Redaction, *texts: str) -> tuple[str, ...]:
    """Return texts, redacted and storable; "" for what is none. Short ones are remembered, for most come again."""
    if (
        redaction.hooks or max([len(text) for text in texts if text], default=0) > SHORT
    ):  # a hook may answer otherwise each time
        return tuple([storable(redaction.text(text)) if text else "" for text in texts])
    return _short_columns(redaction.secrets, texts)


@functools.lru_cache(4_096)
def _short_columns(secrets: tuple[str, ...], texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple([storable(redacted(text, secrets)) if text else "" for text in texts])


def _finding(finding: Violation, redaction: Redaction, secret: bool) -> dict[str, Any]:
    row = {name: redaction.text(value) for name, value in vars(finding).items()}
    if secret and row["got"].endswith("…"):  # clipped text may end inside the secret
        row["got"] = REDACTED
    return row


def _edit(edit: Edit, redaction: Redaction, secret: bool) -> dict[str, Any]:
    row = {field.name: redaction.value(getattr(edit, field.name)) for field in dataclasses.fields(edit)}
    return {**row, "removed": REDACTED, "inserted": REDACTED} if secret else row


def _spells_secret(tokens: Sequence[Token], redaction: Redaction) -> bool:
    if not tokens:
        return False
    text = "".join([token.text for token in tokens])
    return redaction.text(text) != text


def _tokens(tokens: Sequence[Token], secret: bool) -> str:
    """Return tokens as five lists. The texts are empty where together they spell a secret."""
    return _json(
        [
            [] if secret else [token.text for token in tokens],
            [token.logprob for token in tokens],
            [token.removed for token in tokens],
            [token.margin for token in tokens],
            [int(token.forced) for token in tokens],
        ]
    )


def _tokens_of(text: str) -> tuple[Token, ...]:
    texts, logprobs, removed, margins, forced = loaded(text)
    return tuple(
        Token(text, logprob, gone, margin, bool(flag))
        for text, logprob, gone, margin, flag in zip(
            texts or [""] * len(forced), logprobs, removed, margins, forced, strict=True
        )
    )

"""The judge: whether a case ended as it must, and whether the record agrees."""

from __future__ import annotations

import json
import re
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema_rs
from attack.cases import CANARY, CODES, Case, Expected
from attack.client import Exchange, Reply
from attack.plays import POISON

from guard.trace.row_codec import restored


@dataclass
class Verdict:
    """What a case came to."""

    case: Case
    canary: str
    exchange: Exchange | None = None
    outcome: str = ""  # "200", "400 invalid_json", "closed", …
    faults: list[str] = field(default_factory=list)
    calls: list[tuple[int, str]] = field(default_factory=list)  # numbers of records, and what was told of each


def judged(case: Case, canary: str, sent: str, exchange: Exchange, *, slack: float = 0.0) -> Verdict:
    """Judge one exchange. `slack`: seconds that a loaded machine may add."""
    verdict = Verdict(case, canary, exchange)
    faults, wanted = verdict.faults, case.expected
    if exchange.fault:
        faults.append(exchange.fault)
    if exchange.seconds > wanted.seconds + slack:
        faults.append(f"took {exchange.seconds:.1f} s; at most {wanted.seconds:g} s are allowed")
    if not exchange.replies:
        verdict.outcome = "closed" if exchange.is_closed else "nothing"
        if not wanted.may_close and not exchange.fault:
            faults.append("no answer came")
    said = exchange.raw.decode("latin-1")
    if not wanted.tells_others and (strange := {*re.findall(CANARY, said)} - {canary, *re.findall(CANARY, sent)}):
        faults.append(f"CROSSED: it holds what is another's: {', '.join(sorted(strange))}")
    if POISON in said and not wanted.tells_others:
        faults.append("CROSSED: it holds what nobody was to have")
    for reply in exchange.replies:
        _judge_reply(verdict, reply)
    return verdict


#: Types of the event that ends a stream by its own account.
_ENDINGS = ("response.", "message_stop")


def _judge_reply(verdict: Verdict, reply: Reply) -> None:
    case, faults, wanted = verdict.case, verdict.faults, verdict.case.expected
    status, code, number = reply.status, "", None
    try:
        number = reply.figures.get("x-guard-call")
        if case.method == "HEAD":
            pass
        elif status >= 400:
            code = _code(json.loads(reply.data), faults)
        elif reply.is_stream:
            last = reply.events[-1] if reply.events else None
            if isinstance(last, dict) and "error" in last:
                code = _code(last, faults)
                status = CODES.get(code, (500,))[0]
            elif last != "[DONE]" and not (isinstance(last, dict) and str(last.get("type")).startswith(_ENDINGS)):
                faults.append("a stream that does not say how it ended")
        elif reply.headers.get("content-type", "").startswith("application/json"):
            json.loads(reply.data)
        text = text_of(reply) if status == 200 and (wanted.text is not None or wanted.schema is not None) else None
        if text is not None and not _is_right(text, wanted):
            faults.append(f"INVALID: given was {text[:60]!r}")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        faults.append(f"an answer that can't be read: {type(error).__name__}: {error}: {reply.data[:80]!r}")
    verdict.outcome = f"{status} {code}".strip()
    if number:
        verdict.calls.append((int(number), verdict.outcome))
    if code and status not in CODES.get(code, ()):
        faults.append(f"{status} with the code {code!r}")
    if status not in wanted.statuses:
        faults.append(f"answered {verdict.outcome}; right are {', '.join(map(str, sorted(wanted.statuses)))}")
    elif code and wanted.codes is not None and code not in wanted.codes:
        faults.append(f"answered {verdict.outcome}; right are {', '.join(sorted(wanted.codes))}")
    given = reply.headers.get("x-request-id")
    if given not in (None, verdict.canary) and not wanted.any_id:
        faults.append(f"the request's number came back as {given!r}")


def _is_right(text: str, wanted: Expected) -> bool:
    """Whether a text is the one that is wanted, or a value of the schema."""
    if wanted.text is not None:
        return text == wanted.text or json.loads(text) == json.loads(wanted.text)
    return wanted.schema is None or jsonschema_rs.is_valid(wanted.schema, json.loads(text))


def _code(said: Any, faults: list[str]) -> str:
    """Return an error's code; what is no error of OpenAI's shape is a fault."""
    error = said["error"]
    if not (isinstance(error["message"], str) and error["message"] and isinstance(error["type"], str)):
        faults.append("an error without message or type")
    if not isinstance(error.get("param"), str | None):
        faults.append("an error whose param is no text")
    code = error["code"]
    if code not in CODES:
        faults.append(f"an error with the code {code!r}, which nothing tells of")
    return str(code)


def text_of(reply: Reply) -> str | None:
    """Return the text of a good answer in any of the protocols; of a tool's call its arguments; None of a refusal."""
    if reply.is_stream:
        events = [event for event in reply.events if isinstance(event, dict)]
        if any(event.get("type") == "message_start" for event in events):
            return "".join(e["delta"].get("text", "") for e in events if e["type"] == "content_block_delta")
        if any("type" in event for event in events):
            return "".join(e["delta"] for e in events if e.get("type") == "response.output_text.delta")
        choices = [choice for event in events for choice in event["choices"]]
        return "".join(c["delta"].get("content") or "" if "delta" in c else c.get("text") or "" for c in choices)
    said = json.loads(reply.data)
    if "output" in said:
        parts = [part for item in said["output"] for part in item.get("content", ())]
        return "".join(part["text"] for part in parts)
    if said.get("type") == "message":
        block = said["content"][0]
        return None if said["stop_reason"] == "refusal" else str(block.get("text") or json.dumps(block.get("input")))
    if "choices" not in said:
        return str(said.get("text"))
    choice = said["choices"][0]
    if "message" not in choice:
        return str(choice["text"])
    if choice["message"].get("refusal"):
        return None
    if calls := choice["message"].get("tool_calls"):
        return str(calls[0]["function"]["arguments"])
    return str(choice["message"]["content"])


def check_record(trace: Path, verdicts: list[Verdict]) -> None:
    """Compare what was answered with what is on record, and add what differs as faults."""
    with sqlite3.connect(f"file:{trace}?mode=ro", uri=True) as connection:
        connection.create_function("restored", 1, lambda text: None if text is None else restored(text))
        rows = connection.execute(
            "SELECT calls.id, calls.outcome, calls.options, coalesce(group_concat(restored(attempts.messages)), ''),"
            " coalesce(group_concat(restored(attempts.text)), '') FROM calls"
            " LEFT JOIN attempts ON attempts.call = calls.id GROUP BY calls.id"
        ).fetchall()
    connection.close()
    found = {row[0]: row for row in rows}
    for verdict in verdicts:
        for number, told in verdict.calls:
            if number not in found:
                verdict.faults.append(f"LOST: call {number} is not on record")
                continue
            _, outcome, _, messages, text = found[number]
            if (told == "200") != (outcome == "valid") and outcome not in ("Refused", "ContentFiltered"):
                verdict.faults.append(f"answered {told}, on record {outcome}")
            strange = {*re.findall(CANARY, f"{messages} {text}")} - {verdict.canary}
            if strange or POISON in text:
                verdict.faults.append(f"CROSSED on record: {', '.join(sorted(strange)) or POISON}")

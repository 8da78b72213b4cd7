"""Hostile answers of a provider, by every way that leads to it."""

from __future__ import annotations

from attack.cases import FAILED, OK, TYPED, Case, Expected, add, ask
from attack.plays import BROKEN, INVALID, PLAYS, SCHEMA, VALUE, spoken

#: A provider's own refusals may be handed on.
ANY = OK | FAILED | {400, 404, 413}

CHAT = ("plain", "schema", "tools")
STREAMS = ("stream", "schema live")
OTHERS = ("responses", "completions", "embeddings", "messages")
OTHER_STREAMS = ("responses stream", "completions stream", "messages stream")
SCHEMAS = ("responses schema", "messages schema", "messages tools")
EVERY = (*CHAT, "schema stream", "json", *STREAMS, *OTHERS, *OTHER_STREAMS, *SCHEMAS)

#: Plays of which nothing good may come, whatever way is taken.
HOPELESS = {
    *(f"redirect-{status}" for status in (301, 302, 303, 307, 308)),
    *("redirect-and-body", "length-short", "length-long", "length-long-open", "length-negative", "length-word"),
    *("length-hex", "length-huge", "chunks-bad", "chunks-huge", "no-content", "not-modified", "empty-body"),
    *("http-none", "binary", "nothing", "switching", "storm-without-end", "hang", "hang-after-head", "hang-in-body"),
    *("reset", "reset-after-head", "reset-in-body", "drip", "without-end", "comments-without-end", "bomb-gzip"),
    *("bomb-deflate", "body-of-50-mb", "event-of-50-mb", "not-json", "json-null", "json-list", "json-text"),
    *("json-deep", "json-deep-object", "json-two-documents", "json-cut", "only-done", "no-blank-lines"),
    *("events-without-end", "response-failed", "error-object", "error-text"),
    *(name for name in PLAYS if name.startswith(("error-4", "error-5", "retry-after"))),
}
#: Plays that say the right thing in a strange way: what is given must be it.
GOOD = {"crlf", "crlf-divided", "crlf-bytes", "data-in-lines", "retry-lines", "done-twice", "cookies"}
_STREAMED = {
    *(
        "only-done",
        "done-twice",
        "events-after-done",
        "no-done",
        "no-finish",
        "no-blank-lines",
        "crlf",
        "cr",
        "comments",
    ),
    *("retry-lines", "data-not-json", "data-null", "data-list", "data-in-lines", "event-bom", "event-error"),
    *("million-events", "crlf-divided", "crlf-bytes", "events-without-end", "comments-without-end", "event-of-50-mb"),
}
#: What comes after the next request was sent can be told from its answer by nobody: a scenario of its own waits.
_LATE = "two-answers-late"
_RESPONSES = {"response-failed", "response-incomplete", "response-error"}


def _ways(name: str) -> tuple[str, ...]:
    if name in _RESPONSES:
        return ("responses stream",)
    if name in _STREAMED:
        return (*STREAMS, *OTHER_STREAMS)
    part = name.rpartition("-")[0]
    if part in ("output",):
        return ("responses", "responses stream")
    if part == "data":
        return ("embeddings",)
    if part in ("delta", "delta-content"):
        return (*STREAMS, "messages stream")
    if part in ("message", "content", "calls", "refusal"):
        return (*CHAT, "json", "messages")
    if part in ("choice", "finish", "index", "choices"):
        return (*CHAT, "stream", "completions")
    if name.startswith(("model-", "id-", "finish-", "usage", "tokens", "says")):
        return ("plain", "schema", "stream", "responses", "embeddings")
    if name.startswith(("two-", "ten-", "half-", "redirect", "length-", "hang", "reset", "only", "nothing", "drip")):
        return EVERY
    return ("plain", "schema", "schema live", "responses", "embeddings")


for _name in tuple(PLAYS):
    if _name.startswith(("invalid-", "broken-")) or _name == _LATE:
        continue
    for _way in _ways(_name):
        _right = ANY
        if _name in HOPELESS:
            _right = FAILED | (TYPED & {400, 404, 413})
            if "stream" in _way or "live" in _way:  # the last event may have come before what is wrong
                _right |= OK if _name.startswith(("length-", "json-cut", "json-two", "chunks-huge")) else frozenset()
        elif _name in GOOD:
            _right = OK
        _text = None
        if "schema" in _way or _way == "tools" or (_name in GOOD and _way != "embeddings"):
            _text = VALUE
        add(
            Case(
                "answers",
                f"{_name}, {_way}",
                lambda canary, _, way=_way, name=_name: ask(way, canary, name, SCHEMA),
                Expected(_right, text=_text),
            )
        )

for _group, _texts, _right in (("invalid", INVALID, FAILED), ("broken", BROKEN, OK | FAILED)):
    for _name in _texts:
        for _way in ("schema", "schema live", "tools", "responses schema"):
            if _group == "broken" and _way in ("tools", "responses schema") and len(_name) % 2:
                continue
            add(
                Case(
                    _group,
                    f"{_name}, {_way}",
                    lambda canary, _, way=_way, name=_name, group=_group: ask(way, canary, spoken(group, name), SCHEMA),
                    Expected(_right, schema=SCHEMA),
                )
            )

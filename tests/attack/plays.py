"""Plays: whole answers of a provider that means harm, head included, by the names that prompts say.

A play is a function of what was asked, for it must fit the way that was taken to get past the first look. Where it
can, it holds the request's canary, so that an answer that reaches another request is known; POISON must reach nobody.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from attack.cases import Sign, Step

from guard.testing import fake_server

TRAP = "/trap"  #: Where redirects lead; nobody may come.
POISON = "POISON-7f3a"  #: In what no client may ever be given.

Play = Callable[["Heard"], Iterable[Step]]
PLAYS: dict[str, Play] = {}


@dataclass(frozen=True)
class Heard:
    """What a request told."""

    path: str
    body: Mapping[str, Any]
    canary: str

    @property
    def is_streaming(self) -> bool:
        """Whether events are asked for."""
        return bool(self.body.get("stream"))

    def said(self, text: str, **more: Any) -> bytes:
        """Return the body of a good answer that says a text, in the protocol that was asked."""
        usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
        name = f"answer-{self.canary}"
        if self.path.endswith("/responses"):
            part = {"type": "output_text", "text": text, "annotations": []}
            item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}
            whole = {"id": name, "object": "response", "status": "completed", "model": "served-1", "output": [item]}
            whole |= {"usage": {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18}, **more}
            if not self.is_streaming:
                return dumped(whole)
            delta = {"type": "response.output_text.delta", "delta": text, "output_index": 0, "content_index": 0}
            return event(delta) + event({"type": "response.completed", "response": whole})
        if self.path.endswith("/embeddings"):
            data = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}]
            return dumped({"id": name, "object": "list", "model": "served-1", "data": data, "usage": usage, **more})
        if self.path.endswith("/completions") and "/chat/" not in self.path:
            choice = {"index": 0, "text": text, "finish_reason": "stop"}
            whole = {"id": name, "object": "text_completion", "model": "served-1", "choices": [choice], **more}
            return event(whole) + b"data: [DONE]\n\n" if self.is_streaming else dumped({**whole, "usage": usage})
        answer = fake_server.Answer(text, piece=max(3, len(text) // 20))
        tools = self.body.get("tools")
        asked = {**self.body, "tools": tools if _is_called(tools) else None}
        request = fake_server.ClientRequest(self.path, {}, asked)
        if self.is_streaming:
            return b"".join(answer.events(request))
        return dumped({**answer.openai(request), "id": name, **more})


def _is_called(tools: Any) -> bool:
    """Whether the first tool has a name, so that it may be called."""
    try:
        return isinstance(tools[0]["function"]["name"], str)
    except (TypeError, LookupError):
        return False


def dumped(value: Any) -> bytes:
    """Return JSON."""
    return json.dumps(value).encode()


def event(value: Any) -> bytes:
    """Return an event that says JSON."""
    return b"data: " + dumped(value) + b"\n\n"


def http(
    heard: Heard, body: bytes, *, status: str = "200 OK", lines: Iterable[str] = (), length: str | None = ""
) -> bytes:
    """Return a whole answer. `length`: what its head says; "" is the truth, None nothing."""
    kind = "text/event-stream" if heard.is_streaming and status.startswith("200") else "application/json"
    said = [f"HTTP/1.1 {status}", f"Content-Type: {kind}"]
    if length is not None:
        said.append(f"Content-Length: {length or len(body)}")
    return "\r\n".join([*said, *lines, "", ""]).encode("latin-1") + body


def play(name: str) -> Callable[[Play], Play]:
    """Register a play under a name."""

    def register(made: Play) -> Play:
        assert name not in PLAYS, name
        PLAYS[name] = made
        return made

    return register


def _body(name: str, made: Callable[[Heard], bytes], **how: Any) -> None:
    """Register a play that is a whole answer with one body."""
    PLAYS[name] = lambda heard: [http(heard, made(heard), **how)]


def _hi(heard: Heard, **more: Any) -> bytes:
    """Return a good answer, whatever was asked: plain words, or the value of SCHEMA."""
    return heard.said(VALUE, **more)


#: What the cases of this family ask for, and a value of it: whoever wants text takes it as text.
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}
VALUE = '{"a": 1}'

# ---- heads and lengths -----------------------------------------------------------------------------------------------


@play("two-answers")
def _two(heard: Heard) -> Iterable[Step]:
    yield http(heard, _hi(heard)) + http(heard, heard.said(f'{{"a": 666, "b": "{POISON}"}}'))


@play("two-answers-late")
def _two_late(heard: Heard) -> Iterable[Step]:
    yield http(heard, _hi(heard))
    yield 0.02
    yield http(heard, heard.said(f'{{"a": 666, "b": "{POISON}"}}'))


@play("ten-answers")
def _ten(heard: Heard) -> Iterable[Step]:
    yield http(heard, _hi(heard)) + 10 * http(heard, heard.said(POISON))


@play("two-valid-answers")
def _two_valid(heard: Heard) -> Iterable[Step]:
    # The second is a value of the schema that others ask with: only where it came from tells that it is not theirs.
    second = heard.said('{"a": 1}').replace(b"answer-", POISON.encode() + b"-")
    yield http(heard, _hi(heard)) + http(heard, second)


@play("half-an-answer-more")
def _half_more(heard: Heard) -> Iterable[Step]:
    second = http(heard, heard.said(POISON))
    yield http(heard, _hi(heard)) + second[: len(second) // 2]


@play("length-short")
def _short(heard: Heard) -> Iterable[Step]:
    body = _hi(heard)
    yield http(heard, body, length=str(len(body) - 5))


@play("length-long")
def _long(heard: Heard) -> Iterable[Step]:
    body = _hi(heard)
    yield http(heard, body, length=str(len(body) + 5))
    yield Sign.CLOSE


@play("length-long-open")
def _long_open(heard: Heard) -> Iterable[Step]:
    body = _hi(heard)
    yield http(heard, body, length=str(len(body) + 5))
    yield Sign.HANG


for _name, _length in {"negative": "-1", "word": "abc", "hex": "0x10", "huge": "9" * 30, "plus": "+5"}.items():
    _body(f"length-{_name}", _hi, length=_length)
_body("length-twice", _hi, lines=["Content-Length: 3"])
_body("length-and-chunks", _hi, lines=["Transfer-Encoding: chunked"])
_body("chunks-bad", lambda heard: b"zz\r\n" + _hi(heard), length=None, lines=["Transfer-Encoding: chunked"])
_body("chunks-huge", lambda heard: b"f" * 15 + b"\r\n" + _hi(heard), length=None, lines=["Transfer-Encoding: chunked"])
_body("encoding-unknown", _hi, length=None, lines=["Transfer-Encoding: mystery"])
_body("no-content", lambda _: b"", status="204 No Content")
_body("not-modified", lambda _: b"", status="304 Not Modified")
_body("empty-body", lambda _: b"")
_body("header-without-colon", _hi, lines=["no colon at all"])
_body("header-of-1-mb", _hi, lines=["X-A: " + "a" * 1_000_000])
_body("headers-ten-thousand", _hi, lines=[f"X-{number}: a" for number in range(10_000)])
_body("header-split", _hi, lines=["X-A: b\r\n folded"])
_body("header-nul", _hi, lines=["X-A: b\x00c"])
_body("cookies", _hi, lines=["Set-Cookie: a=POISON; Path=/"] * 50)
_body("status-999", _hi, status="999 What")
_body("status-000", _hi, status="000 What")
_body("status-word", _hi, status="OK")
_body("status-201", _hi, status="201 Created")
_body("status-206", _hi, status="206 Partial Content")
PLAYS["http-9"] = lambda heard: [http(heard, _hi(heard)).replace(b"HTTP/1.1", b"HTTP/9.9")]
PLAYS["http-none"] = lambda heard: [_hi(heard), Sign.CLOSE]
PLAYS["binary"] = lambda _: [bytes(range(256)) * 40, Sign.CLOSE]
PLAYS["nothing"] = lambda _: [Sign.CLOSE]
PLAYS["storm-of-100"] = lambda heard: [b"HTTP/1.1 100 Continue\r\n\r\n" * 5_000, http(heard, _hi(heard))]
PLAYS["storm-of-103"] = lambda heard: [
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 5_000,
    http(heard, _hi(heard)),
]
PLAYS["switching"] = lambda _: [
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    b"x" * 99,
]
for _status in (301, 302, 303, 307, 308):
    _body(f"redirect-{_status}", lambda _: b"", status=f"{_status} Elsewhere", lines=[f"Location: {TRAP}"])
_body("redirect-and-body", _hi, status="307 Elsewhere", lines=[f"Location: {TRAP}"])
_body("refresh", _hi, lines=[f"Refresh: 0; url={TRAP}", f'Alt-Svc: h2=":{1}"', f"Content-Location: {TRAP}"])


@play("storm-without-end")
def _storm(_: Heard) -> Iterable[Step]:
    while True:
        yield b"HTTP/1.1 100 Continue\r\n\r\n" * 500
        yield 0.01


# ---- time ------------------------------------------------------------------------------------------------------------

PLAYS["hang"] = lambda _: [Sign.HANG]
PLAYS["hang-after-head"] = lambda heard: [http(heard, b"", length="100"), Sign.HANG]
PLAYS["hang-in-body"] = lambda heard: [http(heard, _hi(heard)[:-9], length="5000"), Sign.HANG]
PLAYS["reset"] = lambda _: [Sign.RESET]
PLAYS["reset-after-head"] = lambda heard: [http(heard, b"", length="100"), 0.05, Sign.RESET]
PLAYS["reset-in-body"] = lambda heard: [http(heard, _hi(heard)[:-9], length="5000"), 0.05, Sign.RESET]


@play("drip")
def _drip(heard: Heard) -> Iterable[Step]:
    for byte in http(heard, _hi(heard)):
        yield bytes([byte])
        yield 0.2


@play("without-end")
def _endless(heard: Heard) -> Iterable[Step]:
    yield http(heard, b"", length=None)
    while True:
        yield b" " * 65_536


@play("events-without-end")
def _endless_events(heard: Heard) -> Iterable[Step]:
    yield http(heard, b"", length=None)
    piece = {"choices": [{"index": 0, "delta": {"content": "x"}, "text": "x"}], "model": "served-1"}
    while True:
        yield event(piece) * 100
        yield 0.01


@play("comments-without-end")
def _endless_comments(heard: Heard) -> Iterable[Step]:
    yield http(heard, b"", length=None)
    while True:
        yield b": nothing\n\n" * 100
        yield 0.01


# ---- bodies ----------------------------------------------------------------------------------------------------------


def _packed(kind: str) -> bytes:
    import gzip
    import zlib

    bomb = b'{"choices": "' + b"a" * 200_000_000
    return gzip.compress(bomb, 1) if kind == "gzip" else zlib.compress(bomb, 1)


for _kind in ("gzip", "deflate"):
    _body(f"bomb-{_kind}", lambda _, kind=_kind: _packed(kind), lines=[f"Content-Encoding: {_kind}"])
_body("packed-and-not-so", _hi, lines=["Content-Encoding: gzip"])
_body("packed-br", _hi, lines=["Content-Encoding: br"])


@play("body-of-50-mb")
def _large(heard: Heard) -> Iterable[Step]:
    yield http(heard, b"", length=None)
    yield _hi(heard)[:-2]
    for _ in range(50):
        yield b" " * 1_000_000
    yield Sign.CLOSE


@play("event-of-50-mb")
def _large_event(heard: Heard) -> Iterable[Step]:
    yield http(heard, b"", length=None)
    yield b"data: "
    for _ in range(50):
        yield b"x" * 1_000_000
    yield Sign.CLOSE


_body("not-json", lambda _: b"<html>POISON?</html>")
_body("json-null", lambda _: b"null")
_body("json-list", lambda _: b"[]")
_body("json-text", lambda _: b'"text"')
_body("json-bom", lambda heard: b"\xef\xbb\xbf" + _hi(heard))
_body("json-utf16", lambda heard: _hi(heard).decode().encode("utf-16"))
_body("json-deep", lambda _: b"[" * 100_000)
_body("json-deep-object", lambda _: b'{"choices":' * 100_000)
_body("json-deep-inside", lambda heard: _hi(heard)[:-1] + b', "x": ' + b"[" * 9_000 + b"]" * 9_000 + b"}")
_body("json-twice", lambda heard: _hi(heard)[:-1] + b', "model": "other", "choices": []}')
_body("json-nan", lambda heard: _hi(heard)[:-1] + b', "x": NaN}')
_body("json-two-documents", lambda heard: _hi(heard) * 2)
_body("json-cut", lambda heard: _hi(heard)[:-3])
_body("json-not-utf8", lambda heard: _hi(heard).replace(b"served", b"serv\xff"))
_body("json-digits", lambda heard: _hi(heard)[:-1] + b', "created": ' + b"9" * 5_000 + b"}")
_body("error-object", lambda _: dumped({"error": {"message": "no", "type": "x"}}))
_body("error-text", lambda _: dumped({"error": "no"}))
_body("error-number", lambda _: dumped({"error": 5}))
_body("error-deep", lambda _: dumped({"error": {"message": {"a": [1]}, "code": [], "type": 7}}))

#: Parts of an answer that have the wrong type, or none.
_WRONG: dict[str, Any] = {"null": None, "number": 7, "text": "x", "list": [], "object": {}, "true": True}


def _changed(heard: Heard, path: tuple[Any, ...], value: Any) -> bytes:
    """Return a good whole answer, or its events, with one part changed."""

    def change(whole: Any) -> Any:
        inner = whole
        try:
            for step in path[:-1]:
                inner = inner[step]
            inner[path[-1]] = value
        except (LookupError, TypeError):
            pass  # this protocol has no such part
        return whole

    if not heard.is_streaming:
        return dumped(change(json.loads(_hi(heard))))
    out = b""
    for part in _hi(heard).split(b"\n\n"):
        said = part.removeprefix(b"data: ")
        try:
            out += event(change(json.loads(said)))
        except ValueError:
            out += part + b"\n\n" if part else b""
    return out


for _kind, _value in _WRONG.items():
    for _name, _path in {
        "choices": ("choices",),
        "choice": ("choices", 0),
        "message": ("choices", 0, "message"),
        "content": ("choices", 0, "message", "content"),
        "delta": ("choices", 0, "delta"),
        "delta-content": ("choices", 0, "delta", "content"),
        "finish": ("choices", 0, "finish_reason"),
        "index": ("choices", 0, "index"),
        "calls": ("choices", 0, "message", "tool_calls"),
        "refusal": ("choices", 0, "message", "refusal"),
        "usage": ("usage",),
        "tokens": ("usage", "prompt_tokens"),
        "model": ("model",),
        "id": ("id",),
        "output": ("output",),
        "data": ("data",),
    }.items():
        _body(f"{_name}-{_kind}", lambda heard, path=_path, value=_value: _changed(heard, path, value))
for _name, _number in {
    "2-to-70": 2**70,
    "2-to-63": 2**63,
    "negative": -5,
    "fraction": 1.5,
    "1e300": 1e300,
    "digits": 10**400,
}.items():
    _body(
        f"tokens-{_name}",
        lambda heard, number=_number: _changed(
            heard, ("usage",), {"prompt_tokens": number, "completion_tokens": number, "input_tokens": number}
        ),
    )
for _name, _text in {
    "surrogate": "\ud800",
    "surrogates": "\udfff\ud800" * 100,
    "nul": "a\x00b",
    "escapes": "\x1b]0;owned\x07\x1b[2J\x1b[31mred\u202e",
    "newlines": "a\r\nX-Injected: POISON\r\n\r\nb",
    "1-mb": "m" * 1_000_000,
    "empty": "",
}.items():
    _body(f"says-{_name}", lambda heard, text=_text: heard.said(text))
    _body(f"model-says-{_name}", lambda heard, text=_text: _changed(heard, ("model",), text))
    _body(f"id-says-{_name}", lambda heard, text=_text: _changed(heard, ("id",), text))
    _body(f"finish-says-{_name}", lambda heard, text=_text: _changed(heard, ("choices", 0, "finish_reason"), text))


# ---- streams ---------------------------------------------------------------------------------------------------------

_body("only-done", lambda _: b"data: [DONE]\n\n")
_body("done-twice", lambda heard: _hi(heard) + b"data: [DONE]\n\n")
_body("events-after-done", lambda heard: _hi(heard) + (heard.said(POISON) if b"[DONE]" in _hi(heard) else b""))
_body("no-done", lambda heard: _hi(heard).replace(b"data: [DONE]\n\n", b""))
_body("no-finish", lambda heard: _hi(heard).replace(b'"stop"', b"null"))
_body("no-blank-lines", lambda heard: _hi(heard).replace(b"\n\n", b"\n"))
_body("crlf", lambda heard: _hi(heard).replace(b"\n", b"\r\n"))
_body("cr", lambda heard: _hi(heard).replace(b"\n", b"\r"))
_body("comments", lambda heard: b": nothing\n\n" * 100_000 + _hi(heard))
_body("retry-lines", lambda heard: b"retry: 1\nid: 7\nevent: x\n\n" * 1_000 + _hi(heard))
_body("data-not-json", lambda heard: b"data: {\n\n" + _hi(heard))
_body("data-null", lambda heard: b"data: null\n\n" + _hi(heard))
_body("data-list", lambda heard: b"data: []\n\n" + _hi(heard))
_body("data-in-lines", lambda heard: _hi(heard).replace(b'"choices"', b'\ndata: "choices"'))
_body("event-bom", lambda heard: b"\xef\xbb\xbf" + _hi(heard))
_body("event-error", lambda heard: _hi(heard)[:60] + b"\n\n" + event({"error": {"message": "broke"}}))
_body("million-events", lambda heard: event({"choices": [], "model": "served-1"}) * 100_000 + _hi(heard))
_body("response-failed", lambda _: event({"type": "response.failed", "response": {"error": {"message": "no"}}}))
_body("response-incomplete", lambda _: event({"type": "response.incomplete", "response": {"output": []}}))
_body("response-error", lambda _: event({"type": "error", "message": "no", "code": "x"}))


def _divided(heard: Heard, at: Callable[[bytes], Iterable[int]]) -> Iterable[Step]:
    body = _hi(heard).replace(b"\n", b"\r\n")
    yield http(heard, b"", length=str(len(body)))
    start = 0
    for end in [*at(body), len(body)]:
        yield body[start:end]
        yield 0.005
        start = end


PLAYS["crlf-divided"] = lambda heard: _divided(heard, lambda body: [n + 1 for n, b in enumerate(body) if b == 13])
PLAYS["crlf-bytes"] = lambda heard: _divided(heard, lambda body: range(1, min(len(body), 100)))

# ---- errors ----------------------------------------------------------------------------------------------------------

for _status in (400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 501, 502, 503, 504, 529):
    _body(f"error-{_status}", lambda _: dumped({"error": {"message": "no", "type": "x"}}), status=f"{_status} No")
_body("error-400-of-10-mb", lambda _: b"x" * 10_000_000, status="400 No")
_body("error-500-not-json", lambda _: b"\xff\xfe<html>", status="500 No")
_body("error-400-deep", lambda _: b"[" * 60_000, status="400 No")
_body("error-400-escapes", lambda _: dumped({"error": {"message": "\x1b[2J\ud800\x00"}}), status="400 No")
_body("error-400-list", lambda _: b"[1, 2]", status="400 No")
for _name, _after in {
    "inf": "inf",
    "nan": "nan",
    "huge": "9" * 400,
    "negative": "-5",
    "date": "Fri, 31 Dec 9999 23:59:59 GMT",
    "junk": "x",
}.items():
    _body(f"retry-after-{_name}", lambda _: b"{}", status="429 No", lines=[f"Retry-After: {_after}"])
    _body(f"retry-after-ms-{_name}", lambda _: b"{}", status="503 No", lines=[f"Retry-After-Ms: {_after}"])

# ---- values that are none --------------------------------------------------------------------------------------------

#: Texts that are no value of {"a": integer}, or not JSON at all: under a schema none may come back as one.
INVALID = {
    "text": "hello",
    "empty": "",
    "wrong type": '{"a": "x"}',
    "extra": '{"a": 1, "b": 2}',
    "lacking": "{}",
    "fraction": '{"a": 1.5}',
    "boolean": '{"a": true}',
    "infinite": '{"a": Infinity}',
    "list": '[{"a": 1}]',
    "quoted": '"{\\"a\\": 1}"',
    "null": "null",
    "two values": '{"a": 1} {"a": 2}',
    "deep": "[" * 100_000,
    "deep object": '{"a":' * 50_000,
    "surrogate key": '{"\ud800": 1}',
    "huge exponent": '{"a": 1e999999999}',
    "tiny exponent": '{"a": 1e-999999999}',
    "twice": '{"a": 1, "a": "x"}',
    "case": '{"A": 1}',
    "look-alike": '{"а": 1}',
    "nul": '{"a\x00": 1}',
    "bom": '\ufeff{"a": "x"}',
}
#: A megabyte of what is nearly JSON, for the repair.
BROKEN = {
    "open strings": '{"a": "' * 140_000,
    "quotes": '"' * 1_000_000,
    "open braces": "{" * 1_000_000,
    "open brackets": "[" * 1_000_000,
    "closing": "}]" * 500_000,
    "commas": "," * 1_000_000,
    "no commas": '{"a": 1 ' + '"b": 1 ' * 140_000,
    "trailing commas": "[" + "1,," * 330_000,
    "comments": "/* " * 330_000,
    "fences": "```json\n" * 125_000,
    "backslashes": '{"a": "' + "\\" * 999_999,
    "unquoted": "{" + "a: b, " * 160_000,
    "single quotes": "{'a': " + "'b', 'c': " * 100_000,
    "prose": "Here is it: { and so on } " * 40_000,
    "colons": '{"a"' + ":" * 999_999,
    "numbers": "[" + "1.2.3.4 " * 125_000,
    "mixed": '{"a": [1, {"b": \'c\', d: tru, ' * 30_000,
    "newlines": '{"a": "' + "\n" * 999_999,
    "spaces": '{"a": 1' + " " * 999_990 + "x",
    "escapes": '{"a": "' + "\\ud800" * 160_000,
    "digits": '{"a": ' + "1" * 1_000_000,
    "thoughts": "<think>" * 140_000,
}


def spoken(group: str, name: str) -> str:
    """Return the play that says a text of one of these groups."""
    return f"{group}-{name.replace(' ', '-')}"


for _group, _texts in (("invalid", INVALID), ("broken", BROKEN)):
    for _name, _text in _texts.items():
        _body(spoken(_group, _name), lambda heard, text=_text: heard.said(text))

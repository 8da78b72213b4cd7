"""Requests that are hardly HTTP: heads, lengths, chunks, trailers, pipelines, slow and half-closed connections."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from attack.cases import BAD, BODY_S, HEAD_S, OK, TYPED, Case, Expected, Sign, Step, add, chat, got, head, posted, say

FAMILY = "http"
ANY = OK | TYPED
SLOW_S = max(HEAD_S, BODY_S) + 1.0  #: Within which a slow request must be refused.

Make = Callable[[str], Sequence[Step]]


def case(name: str, make: Make, expected: Expected, *, answers: int = 1, method: str = "POST") -> None:
    """Register a case that needs nothing drawn."""
    add(Case(FAMILY, name, lambda canary, _: make(canary), expected, answers, method))


def body(canary: str) -> bytes:
    """Return a good body."""
    return json.dumps(chat(canary, say("Hello."))).encode()


def chunk(data: bytes, size: str | None = None) -> bytes:
    """Return a chunk."""
    return (size or f"{len(data):x}").encode() + b"\r\n" + data + b"\r\n"


def lined(*lines: str, length: int | str | None = -1, **how: str | None) -> Make:
    """Return a request with a good body and other lines in its head."""

    def make(canary: str) -> Sequence[Step]:
        data = body(canary)
        said = len(data) if length == -1 else length
        return [head(canary, said, lines, **how) + data]

    return make


def chunked(*parts: bytes, lines: Sequence[str] = (), ends: bool = True) -> Make:
    """Return a request whose body is these chunks; b"BODY" among them is a good one."""

    def make(canary: str) -> Sequence[Step]:
        data = b"".join(chunk(body(canary)) if part == b"BODY" else part for part in parts)
        return [head(canary, None, ["Transfer-Encoding: chunked", *lines]) + data + (b"0\r\n\r\n" if ends else b"")]

    return make


REFUSED = Expected(BAD, may_close=True, seconds=SLOW_S)
FORBIDDEN = Expected(frozenset({400, 403}), seconds=SLOW_S)
GOOD = Expected(OK)
EITHER = Expected(ANY, may_close=True, seconds=SLOW_S + 2)
LATE = Expected(frozenset({400, 408}), may_close=True, seconds=SLOW_S)
LONG = Expected(frozenset({400, 413, 431}), may_close=True, seconds=SLOW_S)

# ---- Host ------------------------------------------------------------------------------------------------------------

case("host, none", lined(host=None), REFUSED)
case("host, none in 1.0", lined(host=None, version="HTTP/1.0"), EITHER)
case("host, empty", lined(host=""), FORBIDDEN)
case("host, twice", lined("Host: localhost"), REFUSED)
case("host, two others", lined("Host: other", host="localhost"), REFUSED)
case("host, in capitals twice", lined("HOST: localhost"), REFUSED)
for _host in (
    *(
        "evil.example",
        "localhost.evil.example",
        "evil.example#localhost",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
    ),
    *("localhost, evil.example", "evil.example:80", "[::ffff:8.8.8.8]", "0x7f000001.evil", "localhost\\.evil.example"),
    *("2130706433", "127.1", "evil.example/localhost", "user:localhost@evil.example", "[::1].evil.example", "[[::1]"),
):
    case(f"host, {_host}", lined(host=_host), FORBIDDEN)
for _host in ("localhost:99999999", "localhost:", "LOCALHOST", "[::1]:80", "127.0.0.1:x"):
    case(f"host, {_host}", lined(host=_host), EITHER)
for _origin in (
    *("https://evil.example", "null", "http://localhost.evil.example", "file://", "http://evil.example:80@localhost.x"),
    *("http://127.0.0.1.evil.example", "//evil.example", "javascript:1", "http://[::1].evil", ""),
):
    case(f"origin, {_origin}", lined(f"Origin: {_origin}"), FORBIDDEN)
case("origin, twice", lined("Origin: http://localhost", "Origin: http://evil.example"), FORBIDDEN)

# ---- lengths ---------------------------------------------------------------------------------------------------------

for _length in (
    "+5",
    "-1",
    "0x5",
    "5,5",
    "5, 5",
    "5 5",
    "",
    "1e3",
    "5.0",
    "٥",
    "5;",
    '"5"',
    "0" * 40 + "x",
    "9" * 19,
    "9" * 40,
):
    case(
        f"length, {_length[:24] or 'empty'}",
        lambda canary, n=_length: [
            head(canary, None).replace(b"\r\n\r\n", b"\r\nContent-Length: " + n.encode() + b"\r\n\r\n") + body(canary)
        ],
        Expected(frozenset({400, 413}), may_close=True, seconds=SLOW_S),
    )
case("length, twice the same", lambda c: [head(c, len(body(c)), [f"Content-Length: {len(body(c))}"]) + body(c)], EITHER)
case("length, twice", lambda c: [head(c, len(body(c)), [f"Content-Length: {len(body(c)) + 1}"]) + body(c)], REFUSED)
case("length, and chunks", lined("Transfer-Encoding: chunked"), REFUSED)
case("length, with zeros", lambda c: [head(c, f"{len(body(c)):040}") + body(c)], EITHER)
case("length, none", lined(length=None), REFUSED)
case("length, too long", lined(length=100_000_000), Expected(frozenset({413}), seconds=SLOW_S))
case("length, one too many", lambda c: [head(c, len(body(c)) + 1) + body(c)], LATE)
case("length, one too few", lambda c: [head(c, len(body(c)) - 1) + body(c)], Expected(BAD, seconds=SLOW_S), answers=2)
for _encoding in (
    *(
        "identity",
        "gzip",
        "gzip, chunked",
        "chunked, identity",
        "chunked, chunked",
        "xchunked",
        "chunked;q=1",
        '"chunked"',
    ),
    *("chunked\x0b", " ", ",", "chunked,", ", chunked", "deflate", "CHUNKED, x"),
):
    case(
        f"encoding, {_encoding!r}",
        lambda canary, e=_encoding: [
            head(canary, None, [f"Transfer-Encoding: {e}"]) + chunk(body(canary)) + b"0\r\n\r\n"
        ],
        Expected(BAD | {408, 411, 415, 501}, may_close=True, seconds=SLOW_S),
    )
case(
    "encoding, in capitals",
    lambda c: [head(c, None, ["TRANSFER-ENCODING: Chunked"]) + chunk(body(c)) + b"0\r\n\r\n"],
    GOOD,
)
case(
    "encoding, twice",
    lambda c: [
        head(c, None, ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"]) + chunk(body(c)) + b"0\r\n\r\n"
    ],
    REFUSED,
)
case("encoding, a blank before the colon", lined("Transfer-Encoding : chunked"), REFUSED)
for _name in ("gzip", "deflate", "br", "gzip, identity", "identity, gzip", "x", ""):
    _right = frozenset({400, 415}) if _name else ANY
    case(f"packed, {_name}", lined(f"Content-Encoding: {_name}"), Expected(_right, seconds=SLOW_S))
case("packed, twice", lined("Content-Encoding: identity", "Content-Encoding: gzip"), REFUSED)

# ---- chunks and trailers ---------------------------------------------------------------------------------------------

case("chunks, good", chunked(b"BODY"), GOOD)
case(
    "chunks, of one byte",
    lambda c: [
        head(c, None, ["Transfer-Encoding: chunked"]) + b"".join(chunk(bytes([b])) for b in body(c)) + b"0\r\n\r\n"
    ],
    GOOD,
)
for _size in ("g", "-1", "0x5", "", "f" * 16, "f" * 17, "+5", " 5", "5 5", "5.", "\x00"):
    case(f"chunks, size {_size!r}", chunked(_size.encode() + b"\r\nxxxxx\r\n"), LATE)
case(
    "chunks, too long a size",
    chunked(b"7fffffffffffffff\r\nxxxxx"),
    Expected(frozenset({400, 408, 413}), seconds=SLOW_S),
)
case("chunks, no end of a line", chunked(b"5\r\nxxxxxyyyyy"), LATE)
case("chunks, bare line feeds", chunked(b"5\nxxxxx\n"), LATE)
case("chunks, without an end", chunked(b"BODY", ends=False), LATE)
case("chunks, half of the end", chunked(b"BODY", b"0\r\n", ends=False), LATE)
case(
    "chunks, an extension",
    lambda c: [head(c, None, ["Transfer-Encoding: chunked"]) + chunk(body(c), f"{len(body(c)):x};a=b") + b"0\r\n\r\n"],
    EITHER,
)
case(
    "chunks, an extension of 5 MB",
    chunked(b"1;" + b"a" * 5_000_000 + b"\r\n \r\n", b"BODY"),
    Expected(ANY, may_close=True),
)
case(
    "chunks, an extension in each of 200,000",
    chunked(b"1;aaaaaaaa\r\n \r\n" * 200_000, b"BODY"),
    Expected(ANY, may_close=True),
)
case("chunks, an extension that splits", chunked(b'5;a="\r\n0\r\n\r\nGET / HTTP/1.1"\r\nxxxxx\r\n'), LATE)
case("chunks, 12 MB", chunked(*[chunk(b" " * 1_000_000)] * 12), LONG)
case(
    "chunks, a million of one byte",
    chunked(*[b"1\r\n \r\n" * 1_000_000], b"BODY"),
    Expected(ANY, may_close=True, seconds=8),
)
for _name, _trailer in {
    "one": b"X-A: b\r\n",
    "Authorization": b"Authorization: Bearer sk-guard-x-y\r\n",
    "Host": b"Host: evil.example\r\n",
    "Content-Length": b"Content-Length: 5\r\n",
    "Transfer-Encoding": b"Transfer-Encoding: chunked\r\n",
    "Origin": b"Origin: https://evil.example\r\n",
    "X-Request-Id": b"X-Request-Id: other\r\n",
    "X-Guard-Stream": b"X-Guard-Stream: live\r\n",
    "no colon": b"nothing\r\n",
    "a blank before the colon": b"X-A : b\r\n",
}.items():
    case(f"trailers, {_name}", chunked(b"BODY", b"0\r\n", _trailer, b"\r\n", ends=False), REFUSED)
for _name, _trailer in {
    "57 MB in many": b"X-A: " + b"b" * 1_000 + b"\r\n",
    "many of a byte": b"a:\r\n",
}.items():
    case(
        f"trailers, {_name}",
        lambda canary, t=_trailer: [
            head(canary, None, ["Transfer-Encoding: chunked"]) + chunk(body(canary)) + b"0\r\n",
            *[t * 1_000] * (57 if len(t) > 100 else 2_000),
            b"\r\n",
        ],
        LONG,
    )
case("trailers, one of 20 MB", chunked(b"BODY", b"0\r\nX-A: ", *[b"b" * 1_000_000] * 20, ends=False), LONG)
case("trailers, the name of 20 MB", chunked(b"BODY", b"0\r\n", *[b"b" * 1_000_000] * 20, ends=False), LONG)
case("trailers, announced", chunked(b"BODY", b"0\r\nX-A: b\r\n\r\n", lines=["Trailer: X-A"], ends=False), REFUSED)

# ---- heads -----------------------------------------------------------------------------------------------------------

case("head, a header of 1 MB", lined("X-A: " + "b" * 1_000_000), LONG)
case("head, 20 MB in headers", lined(*["X-A: " + "b" * 1_000] * 20_000), LONG)
case("head, 10,000 headers", lined(*[f"X-{n}: b" for n in range(10_000)]), LONG)
case("head, 5,000 short headers", lined(*["a:"] * 5_000), EITHER)
case("head, a name of 60 kB", lined("b" * 60_000 + ": a"), EITHER)
case("head, an address of 60 kB", lined(path="/v1/models/" + "b" * 60_000, method="GET"), EITHER)
case("head, an address of 1 MB", lined(path="/v1/" + "b" * 1_000_000), LONG)
case("head, a method of 100 kB", lined(method="P" * 100_000), REFUSED)
for _name, _line in {
    "empty name": ": a",
    "only a colon": ":",
    "no colon": "nothing",
    "a blank in the name": "X A: b",
    "NUL": "X-A: b\x00c",
    "a bare return": "X-A: b\rX-B: c",
    "a bare line feed": "X-A: b\nX-B: c",
    "folded": "X-A: b\r\n c",
    "folded at once": " X-A: b",
    "a tab in the name": "X\tA: b",
    "Latin-1": "X-A: \xe9\xff",
    "Latin-1 in the name": "X-\xe9: b",
    "a bell": "X-A: \x07",
    "delete": "X-A: \x7f",
    "parentheses": "X(A): b",
    "a slash": "X/A: b",
    "a quote": 'X"A: b',
    "a comma": "X,A: b",
}.items():
    case(f"head, {_name}", lined(_line), EITHER)
for _line in (
    *(
        "Authorization: Bearer a",
        "Content-Type: application/json",
        "Content-Encoding: identity",
        "X-Guard-Stream: live",
    ),
    *("X-Request-Id: other", "Origin: http://localhost"),
):
    case(f"head, twice {_line.partition(':')[0]}", lined(_line, _line.lower()), replace(REFUSED, any_id=True))
for _line in (
    *(
        "X-Guard-Stream: LIVE",
        "X-Guard-Stream: both",
        "X-Guard-Stream: \xff",
        "Content-Type: text/plain",
        "Content-Type: ",
    ),
    *(
        "Content-Type: multipart/form-data; boundary=x",
        "Content-Type: application/json; charset=utf-16",
        "Expect: 100-continue",
    ),
    *(
        "Expect: 200-ok",
        "Upgrade: h2c",
        "Upgrade: websocket",
        "Connection: upgrade, close",
        "Connection: x, y, z",
        "TE: trailers",
    ),
    *(
        "Max-Forwards: -1",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Host: evil.example",
        "Forwarded: for=127.0.0.1",
        "Cookie: a=b",
    ),
    *(
        "X-HTTP-Method-Override: DELETE",
        "Range: bytes=0-0",
        "If-None-Match: *",
        "Accept: nothing/at-all",
        "Accept-Encoding: *;q=0",
    ),
    *(
        "Keep-Alive: timeout=999999999",
        "Date: never",
        "Proxy-Authorization: Basic x",
        "Authorization: Bearer",
        "Authorization: \xe9",
    ),
):
    case(f"head, {_line}", lined(_line), EITHER)
for _id in ("a" * 129, "\xe9", "a b", "../../etc", "a\x1b[2J", "", "%00", "<script>", "a,b"):
    case(
        f"request id, {_id[:20]!r}",
        lambda canary, i=_id: [
            head(canary, len(body(canary))).replace(canary.encode(), i.encode("latin-1"), 1) + body(canary)
        ],
        Expected(ANY, may_close=True, any_id=True),
    )

# ---- first lines -----------------------------------------------------------------------------------------------------

for _version in (
    "HTTP/1.0",
    "HTTP/0.9",
    "HTTP/2.0",
    "HTTP/9.9",
    "HTTP/1.10",
    "HTTP/1",
    "http/1.1",
    "HTTPS/1.1",
    "ICE/1.0",
    "",
    "RTSP/1.0",
):
    case(f"version, {_version or 'none'}", lined(version=_version), EITHER)
for _method in (
    *(
        "GET",
        "PUT",
        "DELETE",
        "PATCH",
        "OPTIONS",
        "TRACE",
        "post",
        "Post",
        "PROPFIND",
        "QUERY",
        "M-SEARCH",
        "SOURCE",
        "P\x00ST",
    ),
    *("PRI", "\xff", "POST POST", "A" * 1_000),
):
    case(f"method, {_method[:20]!r}", lined(method=_method), Expected(TYPED, may_close=True, seconds=SLOW_S))
case(
    "method, CONNECT", lined(method="CONNECT", path="evil.example:443"), Expected(TYPED, may_close=True, seconds=SLOW_S)
)
case("method, HEAD", lined(method="HEAD"), Expected(TYPED, seconds=SLOW_S), method="HEAD")
for _path in (
    *(
        "http://evil.example/v1/chat/completions",
        "http://localhost/v1/chat/completions",
        "*",
        "",
        "?",
        "#",
        "//",
        "/\\",
        "/ /x",
    ),
    *(
        "/v1/chat/completions#x",
        "/v1/chat/completions?x=" + "%00" * 50,
        "/v1//chat/completions",
        "/v1/chat/completions/",
    ),
    *(
        "/V1/CHAT/COMPLETIONS",
        "/v1/chat/completions%20",
        "/v1/chat%2fcompletions",
        "/v1/./chat/completions",
        "/\xe9",
        "/%zz",
        "/%",
    ),
    *("/v1/../v1/chat/completions", "/v1/chat/completions;x=1", "/\x7f", "evil.example:80", "/v1/chat/completions\x00"),
):
    case(f"address, {_path[:40]!r}", lined(path=_path), EITHER)
for _name, _bytes in {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 300,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "SOCKS": b"\x05\x01\x00",
    "SSH": b"SSH-2.0-OpenSSH_9.9\r\n",
    "Redis": b"*1\r\n$4\r\nPING\r\n",
    "JSON": b'{"model": "m"}\n',
    "empty lines": b"\r\n" * 100_000,
    "zeros": b"\x00" * 100_000,
    "line feeds only": b"POST /v1/chat/completions HTTP/1.1\nHost: localhost\n\n",
    "a proxy's line": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n",
}.items():
    case(f"protocol, {_name}", lambda _, data=_bytes: [data], Expected(TYPED, may_close=True, seconds=SLOW_S))

# ---- time and ends ---------------------------------------------------------------------------------------------------

case("slow, nothing comes", lambda _: [Sign.HANG], Expected(frozenset(), may_close=True, seconds=SLOW_S))
case("slow, half of the first line", lambda _: [b"POST /v1/ch", Sign.HANG], LATE)
case("slow, a head byte by byte", lambda c: [s for b in head(c, 5)[:60] for s in (bytes([b]), 0.1)], LATE)
case(
    "slow, a header each tenth of a second",
    lambda c: [head(c, 5)[:-2], *[s for _ in range(60) for s in (b"X-A: b\r\n", 0.1)]],
    LATE,
)
case("slow, no body", lambda c: [head(c, 100), Sign.HANG], LATE)
case("slow, half of a body", lambda c: [head(c, len(body(c))) + body(c)[:-5], Sign.HANG], LATE)
case("slow, a body byte by byte", lambda c: [head(c, 500), *[s for _ in range(60) for s in (b" ", 0.1)]], LATE)
case(
    "slow, chunks byte by byte",
    lambda c: [head(c, None, ["Transfer-Encoding: chunked"]), *[s for _ in range(60) for s in (b"1\r\n \r\n", 0.1)]],
    LATE,
)
case("slow, waits to be told to go on", lambda c: [head(c, 100, ["Expect: 100-continue"]), Sign.HANG], LATE)
case("ends, before a head", lambda _: [b"POST /v1/ch", Sign.END], LATE)
case("ends, at once", lambda _: [Sign.END], Expected(frozenset(), may_close=True, seconds=SLOW_S))
case("ends, before the body", lambda c: [head(c, 100), Sign.END], LATE)
case("ends, in the body", lambda c: [head(c, len(body(c))) + body(c)[:-5], Sign.END], LATE)
case("ends, after the body", lambda c: [head(c, len(body(c))) + body(c), Sign.END], EITHER)
case("resets, in the head", lambda _: [b"POST /v1/ch", 0.05, Sign.RESET], LATE)
case("resets, in the body", lambda c: [head(c, 500) + b"{", 0.05, Sign.RESET], LATE)
case("resets, after the body", lambda c: [head(c, len(body(c))) + body(c), Sign.RESET], EITHER)
case("resets, in the answer", lambda c: [*posted(c, chat(c, "hang-in-body")), 0.3, Sign.RESET], EITHER)

# ---- pipelines -------------------------------------------------------------------------------------------------------


def _whole(canary: str) -> bytes:
    return head(canary, len(body(canary))) + body(canary)


case("pipeline, two", lambda c: [_whole(c) * 2], GOOD, answers=2)
case("pipeline, fifty", lambda c: [_whole(c) * 50], Expected(OK, seconds=10), answers=50)
case(
    "pipeline, 2,000 that want nothing",
    lambda c: [b"".join(bytes(s) for s in got(c, "/health/live") if isinstance(s, bytes)) * 2_000],
    Expected(OK, seconds=10),
    answers=2_000,
    method="GET",
)
case("pipeline, good and then none", lambda c: [_whole(c) + b"\x00\x01\x02\r\n\r\n"], Expected(OK | BAD), answers=2)
case("pipeline, behind a close", lambda c: [head(c, len(body(c)), ["Connection: close"]) + body(c) + _whole(c)], GOOD)
case(
    "pipeline, behind a refusal",
    lambda c: [head(c, 100_000_000) + _whole(c)],
    Expected(frozenset({413}), seconds=SLOW_S),
)
case("pipeline, a request inside of a body", lambda c: [head(c, len(_whole(c))) + _whole(c)], Expected(BAD), answers=1)
case(
    "pipeline, of another behind one that hangs",
    lambda c: [b"".join(s for s in posted(c, chat(c, "hang")) if isinstance(s, bytes)) + _whole(c)],
    Expected(OK | {504}, seconds=6),
    answers=2,
)

# ---- bytes that change -----------------------------------------------------------------------------------------------

for _number in range(80):

    def _mutated(canary: str, draws: Random) -> Sequence[Step]:
        data = bytearray(_whole(canary))
        most = data.index(b"\r\n\r\n") + 4
        for _ in range(draws.choice((1, 1, 2, 4, 16))):
            at = draws.randrange(most)
            what = draws.randrange(4)
            if what == 0:
                data[at] = draws.randrange(256)
            elif what == 1:
                data[at:at] = draws.choice((b"\r\n", b"\n", b"\x00", b" ", b":", b"\r", b"\t", b"0", b"\xff"))
            elif what == 2:
                del data[at : at + draws.choice((1, 2, 8))]
            else:
                data[at:at] = data[at : at + draws.choice((3, 20))]
        return [bytes(data)]

    # The request's number may be among what changes.
    add(Case(FAMILY, f"mutated {_number}", _mutated, Expected(ANY, may_close=True, seconds=SLOW_S + 2, any_id=True)))

"""Bodies that are no JSON, can be read in two ways, are far too much, or have the wrong type in any field."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

from attack.cases import BAD, BODY_BYTES, OK, TYPED, Case, Expected, add, chat, form, posted, prompt, say, tool

FAMILY = "bodies"
ANY = OK | TYPED
LARGE_S = 10.0  #: Within which ten megabytes must be dealt with.

REFUSED = Expected(BAD)
TOO_MANY = Expected(BAD | {413})  #: Not JSON, or more of it than is read.
EITHER = Expected(ANY)


def case(name: str, make: Callable[[str], Any], expected: Expected, path: str = "/v1/chat/completions") -> None:
    """Register a case: its body as bytes, or what JSON says."""
    add(Case(FAMILY, name, lambda canary, _: posted(canary, make(canary), path), expected))


def with_(canary: str, more: bytes) -> bytes:
    """Return a good body with more before its last brace, as bytes."""
    return json.dumps(chat(canary, say("Hello."))).encode()[:-1] + b", " + more + b"}"


# ---- bytes -----------------------------------------------------------------------------------------------------------

for _name, _bytes in {
    "empty": b"",
    "blank": b" \r\n\t",
    "null": b"null",
    "a list": b"[]",
    "a text": b'"m"',
    "a number": b"7",
    "true": b"true",
    "an empty object": b"{}",
    "two": b"{} {}",
    "open": b'{"model": "m"',
    "bare": b"model=m&messages=x",
    "single quotes": b"{'model': 'm'}",
    "a comma too many": b'{"model": "m",}',
    "a comment": b'{"model": "m" /* x */}',
    "a line comment": b'{"model": "m"} // x',
    "no quotes": b'{model: "m"}',
    "a plus": b'{"n": +1}',
    "a dot first": b'{"n": .5}',
    "a dot last": b'{"n": 5.}',
    "hex": b'{"n": 0x5}',
    "a zero first": b'{"n": 05}',
    "infinity": b'{"temperature": Infinity}',
    "minus infinity": b'{"temperature": -Infinity}',
    "NaN": b'{"n": NaN}',
    "a bad escape": b'{"model": "\\x41"}',
    "half of an escape": b'{"model": "\\u00"}',
    "a control character": b'{"model": "\x01"}',
    "a line feed in a text": b'{"model": "\n"}',
    "UTF-16": '{"model": "m"}'.encode("utf-16"),
    "UTF-32": '{"model": "m"}'.encode("utf-32"),
    "UTF-8's mark": b'\xef\xbb\xbf{"model": "m"}',
    "Latin-1": b'{"model": "\xe9"}',
    "an overlong slash": b'{"model": "\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"model": "\xed\xa0\x80"}',
    "beyond Unicode": b'{"model": "\xf4\x90\x80\x80"}',
    "a NUL behind": b'{"model": "m"}\x00',
    "YAML": b"model: m\n",
    "XML": b"<model>m</model>",
    "pickle": b"\x80\x04\x95",
    "gzip": b"\x1f\x8b\x08\x00",
    "MessagePack": b"\x81\xa5model\xa1m",
    "JSON lines": b'{"model": "m"}\n{"model": "m"}\n',
    "a record separator": b'\x1e{"model": "m"}\n',
}.items():
    case(f"bytes, {_name}", lambda _, data=_bytes: data, REFUSED)
for _depth in (1_000, 10_000, 1_000_000):
    _right = REFUSED if _depth < 100_000 else TOO_MANY
    for _open in (b"[", b'{"a":', b'[{"a":'):
        case(
            f"nested, {_depth:,} of {_open.decode()}",
            lambda _, d=_depth, o=_open: o * d,
            REFUSED if _depth < 100_000 else TOO_MANY,
        )
for _depth in (150, 1_000, 5_000, 100_000):
    case(
        f"nested, {_depth:,} inside of a field",
        lambda canary, d=_depth: with_(canary, b'"x": ' + b"[" * d + b"]" * d),
        EITHER if _depth < 1_000 else REFUSED if _depth < 100_000 else TOO_MANY,
    )
for _name, _more in {
    "model": b'"model": "other"',
    "model, escaped": b'"mod\\u0065l": "other"',
    "messages": b'"messages": []',
    "unknown": b'"x": 1, "x": 2',
    "inside": b'"x": {"a": 1, "a": 2}',
    "deep inside": b'"x": [[{"a": {"b": 1, "b": 1}}]]',
    "in capitals": b'"Model": "other"',
    "stream in capitals": b'"STREAM": true',
    "with a blank": b'"model ": "other"',
    "with a tab": b'"\\tmodel": "other"',
    "empty": b'"": 1, "": 2',
    "null twice": b'"stop": null, "stop": null',
    "with a long s": '"ſtream": true'.encode(),
    "with a Kelvin sign": b'"toKen": true' + b', "tools": null, "tools": null',
}.items():
    _right = EITHER if _name == "with a long s" else REFUSED
    case(f"twice, {_name}", lambda canary, m=_more: with_(canary, m), _right)
for _name, _more, _right in (
    ("a number of 5,000 digits", b'"seed": ' + b"9" * 5_000, REFUSED),
    ("a number of 5,000 digits, unknown", b'"x": ' + b"9" * 5_000, EITHER),
    ("a million digits", b'"x": ' + b"9" * 1_000_000, EITHER),
    ("a fraction of a million digits", b'"x": 0.' + b"3" * 1_000_000, EITHER),
    ("1e400", b'"x": 1e400', EITHER),
    ("-1e400", b'"temperature": -1e400', REFUSED),
    ("1e-400", b'"temperature": 1e-400', EITHER),
    ("1e999999999999", b'"x": 1e999999999999', EITHER),
    ("2^63", b'"seed": 9223372036854775808', EITHER),
    ("2^64", b'"seed": 18446744073709551616', REFUSED),
    ("minus zero", b'"temperature": -0.0', EITHER),
    ("a whole fraction", b'"n": 1.0', EITHER),
):
    case(f"numbers, {_name}", lambda canary, m=_more: with_(canary, m), _right)
for _name, _more in {
    "in a field": b'"user": "\\ud800"',
    "low in a field": b'"user": "\\udc00"',
    "turned round": b'"user": "\\udc00\\ud800"',
    "in a key": b'"\\ud800": 1',
    "in a stop": b'"stop": ["\\ud800"]',
    "in a schema": b'"response_format": {"type": "\\ud800"}',
    "half of an escape": b'"user": "\\ud800\\u"',
    "and a letter": b'"user": "\\ud800x"',
}.items():
    case(f"surrogates, {_name}", lambda canary, m=_more: with_(canary, m), REFUSED)
for _name, _more in {
    "NUL": b'"user": "a\\u0000b"',
    "NUL in a key": b'"a\\u0000": 1',
    "a right-to-left mark": '"user": "\u202e"'.encode(),
    "a million combining marks": b'"user": "a' + "\u0301".encode() * 1_000_000 + b'"',
    "noncharacters": '"user": "\uffff\ufdd0"'.encode(),
    "escapes of a terminal": b'"user": "\\u001b[2J\\u001b]0;x\\u0007"',
    "__proto__": b'"__proto__": {"a": 1}',
    "dunder": b'"__class__": "x"',
    "a key of 1 MB": b'"' + b"k" * 1_000_000 + b'": 1',
    "100,000 keys": b", ".join(b'"k%d": 1' % n for n in range(100_000)),
}.items():
    case(f"texts, {_name}", lambda canary, m=_more: with_(canary, m), EITHER)


def _filled(canary: str, unit: bytes, size: int = BODY_BYTES - 1_000) -> bytes:
    """Return a good body with a field of ten megabytes of units, one after the other, in a list."""
    return with_(canary, b'"x": [' + b",".join([unit] * (size // (len(unit) + 1))) + b"]")


for _name, _unit in {
    "empty objects": b"{}",
    "empty lists": b"[]",
    "zeros": b"0",
    "fractions": b"0.1",
    "nulls": b"null",
    "empty texts": b'""',
    "objects": b'{"a":1}',
    "lists of lists": b"[[[]]]",
    "escapes": b'"\\u0041"',
}.items():
    _right = Expected(ANY, seconds=LARGE_S)
    case(f"10 MB, {_name}", lambda canary, u=_unit: _filled(canary, u), _right)
for _name, _text in {
    "letters": "a",
    "quotes": '"',
    "two bytes": "é",
    "astral": "😀",
    "keys of a kind": "sk-aaaaaaaaaaaaaaaaaaaaaaaaaa ",
    "Bearer": "Bearer ",
    "e-mail": "a@b.cc ",
    "digits": "4111 1111 1111 1111 ",
    "URLs": "https://a:b@c.dd/?token=x&",
    "equals": "key=",
    "dots": "a.",
    "JWTs": "eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.x ",
    "lines": "\n",
    "private keys": "-----BEGIN PRIVATE KEY-----\n",
}.items():

    def _long(canary: str, text: str = _text) -> bytes:
        held = chat(canary, say("Hello."))
        words = held["messages"][0]["content"]
        size = len(json.dumps(text, ensure_ascii=False).encode()) - 2
        held["messages"].append({"role": "user", "content": text * ((BODY_BYTES - 1_000) // size)})
        assert words
        return json.dumps(held, ensure_ascii=False).encode()

    case(f"10 MB, a prompt of {_name}", _long, Expected(ANY, seconds=LARGE_S))
case(
    "10 MB, blanks",
    lambda canary: with_(canary, b" " * (BODY_BYTES - 1_000) + b'"x": 1'),
    Expected(ANY, seconds=LARGE_S),
)
case(
    "10 MB, messages",
    lambda canary: {
        **chat(canary, say("Hello.")),
        "messages": [*chat(canary, say("Hello."))["messages"], *[{"role": "user", "content": "x"}] * 280_000],
    },
    Expected(ANY, seconds=LARGE_S),
)
case("10 MB, not JSON", lambda _: b"[" + b"1," * 4_999_000, dataclasses.replace(TOO_MANY, seconds=LARGE_S))
case(
    "10 MB, not JSON at its end",
    lambda canary: _filled(canary, b"{}") + b"x",
    dataclasses.replace(TOO_MANY, seconds=LARGE_S),
)
case("too long by one", lambda _: b" " * (BODY_BYTES + 1), Expected(frozenset({413}), may_close=True))

# ---- wrong types -----------------------------------------------------------------------------------------------------

#: Values of every kind; a field's own right ones are left out.
POOL: Mapping[str, Any] = {
    "null": None,
    "true": True,
    "zero": 0,
    "one": 1,
    "minus one": -1,
    "a fraction": 0.5,
    "a huge number": 10**30,
    "a text": "x",
    "an empty text": "",
    "a list": [],
    "a list of numbers": [1, 2],
    "a list of texts": ["x"],
    "a list of null": [None],
    "a list of lists": [[]],
    "an object": {},
    "a strange object": {"type": 7},
    "a list of objects": [{}],
    "a long text": "y" * 200_000,
}
NUMBERS = {"zero", "one", "minus one", "a fraction", "a huge number"}
TEXTS = {"a text", "an empty text", "a long text"}
#: Fields of a chat that Guard reads itself, with the kinds that may be right; all others must be refused.
CHAT: dict[str, set[str]] = {
    "model": set(),
    "messages": set(),
    "stream": {"null", "true"},
    "stream_options": {"null", "an object", "a strange object"},
    "n": {"null", "one"},
    "stop": {"null", "a list", "a list of texts", *TEXTS},
    "seed": {"null", "zero", "one", "minus one"},
    "max_tokens": {"null", "one"},
    "max_completion_tokens": {"null", "one"},
    "temperature": {"null", "zero", "one", "a fraction"},
    "top_p": {"null", *NUMBERS},
    "logprobs": {"null", "true"},
    "top_logprobs": {"null", "zero", "one"},
    "response_format": {"null"},
    "tools": {"null", "a list"},
    "tool_choice": {"null"},
    "parallel_tool_calls": {"null", "true"},
}
COMPLETION: dict[str, set[str]] = {
    "model": set(),
    "prompt": {
        *TEXTS,
        "a list",
        "a list of numbers",
        "a list of texts",
        "a list of null",
        "a list of lists",
        "a list of objects",
    },
    **{name: CHAT[name] for name in ("stream", "n", "stop", "seed", "max_tokens", "temperature")},
}
RESPONSE: dict[str, set[str]] = {
    "model": set(),
    "input": {*TEXTS, "a list", "a list of objects"},
    "instructions": {"null", *TEXTS},
    "stream": {"null", "true"},
    "max_output_tokens": {"null", "one"},
    "temperature": {"null", "zero", "one", "a fraction"},
    "text": {"null", "an object", "a strange object"},
    "tools": {"null", "a list", "a list of objects"},
    "tool_choice": {"null", "an object", "a strange object", *TEXTS},
}
MESSAGE: dict[str, set[str]] = {
    "model": set(),
    "messages": set(),
    "max_tokens": {"one"},
    "system": {"null", "a list", *TEXTS},
    "stream": {"null", "true"},
    "stop_sequences": {"null", "a list", "a list of texts"},
    "temperature": {"null", "zero", "one", "a fraction"},
    "top_p": {"null", "zero", "one", "a fraction"},
    "top_k": {"null", "zero", "one"},
    "tools": {"null", "a list"},
    "tool_choice": {"null"},
    "thinking": {"null"},
    "output_config": {"null", "an object"},
    "metadata": {"null", "an object", "a strange object"},
    "guided_json": set(),
}
EMBEDDING: dict[str, set[str]] = {"model": set(), "input": COMPLETION["prompt"]}
PLAYGROUND: dict[str, set[str]] = {
    "model": set(),
    "prompt": {"a text", "a long text"},
    "schema": {"null", "true", "an object"},
    "max_tokens": {"null", "one"},
    "temperature": {"null", "zero", "one", "a fraction"},
    "seed": {"null", "zero", "one", "minus one", "a huge number"},
}
_MODEL = frozenset({400, 404})


def wrong(path: str, fields: Mapping[str, set[str]], base: Callable[[str], dict[str, Any]]) -> None:
    """Register each field of an endpoint with every wrong value."""
    for field, right in fields.items():
        for name, value in POOL.items():
            statuses = _MODEL if field == "model" else ANY if name in right else BAD
            case(
                f"types, {path} {field}: {name}",
                lambda canary, f=field, v=value: {**base(canary), f: v},
                Expected(statuses),
                path,
            )


_HELLO = say("Hello.")
wrong("/v1/chat/completions", CHAT, lambda canary: chat(canary, _HELLO))
wrong("/v1/completions", COMPLETION, lambda canary: {"model": "m", "prompt": prompt(canary, _HELLO)})
wrong("/v1/responses", RESPONSE, lambda canary: {"model": "m", "input": prompt(canary, _HELLO)})
_ASKING = {"model": "m", "max_tokens": 9}
wrong(
    "/v1/messages",
    MESSAGE,
    lambda canary: {**_ASKING, "messages": [{"role": "user", "content": prompt(canary, _HELLO)}]},
)
for _block in ("text", "image", "document", "tool_result", "tool_use", "thinking", "search_result"):
    for _name, _value in POOL.items():
        for _key in ("text", "source", "content", "tool_use_id", "input", "type"):
            case(
                f"types, a block {_block} {_key}: {_name}",
                lambda canary, b=_block, k=_key, v=_value: {
                    **_ASKING,
                    "messages": [
                        {"role": "user", "content": prompt(canary, _HELLO)},
                        {"role": "assistant", "content": [{"type": b, k: v}]},
                        {"role": "user", "content": [{"type": b, k: v}]},
                    ],
                },
                Expected(ANY),
                "/v1/messages",
            )
wrong("/v1/embeddings", EMBEDDING, lambda canary: {"model": "m", "input": prompt(canary, _HELLO)})
wrong("/guard/playground", PLAYGROUND, lambda canary: {"model": "m", "prompt": prompt(canary, say('{"a": 1}'))})
for _field in ("role", "content", "name", "tool_calls", "tool_call_id", "refusal"):
    for _name, _value in POOL.items():
        case(
            f"types, message {_field}: {_name}",
            lambda canary, f=_field, v=_value: {
                **chat(canary, _HELLO),
                "messages": [*chat(canary, _HELLO)["messages"], {"role": "user", "content": "x", f: v}],
            },
            Expected(ANY),
        )
for _part, _base in {
    "response_format.type": {"json_schema": {"name": "a", "schema": {}}},
    "response_format.json_schema": {"type": "json_schema"},
}.items():
    for _name, _value in POOL.items():
        _key = _part.rpartition(".")[2]
        case(
            f"types, {_part}: {_name}",
            lambda canary, b=_base, k=_key, v=_value: chat(canary, _HELLO, response_format={**b, k: v}),
            Expected(BAD),
        )
for _key in ("name", "schema", "strict", "description"):
    for _name, _value in POOL.items():
        _json = {**form({"type": "object"})["json_schema"], _key: _value}
        _right = BAD if (_key == "name" and _name not in ("a text",)) else ANY
        case(
            f"types, response_format.json_schema.{_key}: {_name}",
            lambda canary, j=_json: chat(canary, say("{}"), response_format={"type": "json_schema", "json_schema": j}),
            Expected(_right),
        )
for _key in ("type", "function"):
    for _name, _value in POOL.items():
        case(
            f"types, tools.{_key}: {_name}",
            lambda canary, k=_key, v=_value: chat(canary, _HELLO, tools=[{**tool({"type": "object"}), k: v}]),
            Expected(ANY),
        )
for _key in ("name", "parameters", "strict", "description"):
    for _name, _value in POOL.items():
        _tool = tool({"type": "object"})
        _tool["function"][_key] = _value
        case(
            f"types, tools.function.{_key}: {_name}",
            lambda canary, t=_tool: chat(canary, say("{}"), tools=[t], tool_choice="required"),
            Expected(ANY),
        )
for _name, _choice in {
    "unknown": {"type": "function", "function": {"name": "other"}},
    "no name": {"type": "function", "function": {}},
    "text": "sometimes",
    "a list": [],
    "null name": {"type": "function", "function": {"name": None}},
}.items():
    case(
        f"tools, a choice that is {_name}",
        lambda canary, c=_choice: chat(canary, _HELLO, tools=[tool({"type": "object"})], tool_choice=c),
        REFUSED,
    )
case("tools, 129", lambda canary: chat(canary, _HELLO, tools=[tool({}) for _ in range(129)]), REFUSED)
case(
    "tools, two of one name", lambda canary: chat(canary, _HELLO, tools=[tool({})] * 2, tool_choice="required"), REFUSED
)
case(
    "n, 128 with a schema",
    lambda canary: chat(canary, say('{"a": 1}'), n=128, response_format=form({"type": "object"})),
    EITHER,
)
case(
    "n, 128 that hang",
    lambda canary: chat(canary, "hang", n=128, response_format=form({"type": "object"})),
    Expected(TYPED),
)
case("stop, 100,000", lambda canary: chat(canary, _HELLO, stop=[f"s{n}" for n in range(100_000)]), EITHER)

"""Random inputs for the engine's properties: schemas, options, vocabularies, spellings, and a universe of small texts.

Every generator takes a `random.Random`: fuzz/ seeds it, and the Hypothesis strategies at the end draw its answers, so
that one generator serves both and failures shrink. Schemas hold what the engine supports today (or the first set of
keywords alone), over few names and small values, so that keywords meet.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from random import Random
from typing import Any

from hypothesis import strategies as st

import guard
from guard.schemas.keywords import SUPPORTED

#: The keywords that came first; all that a typed function needs.
FIRST_SET = frozenset(
    {
        *("type", "properties", "required", "additionalProperties", "items", "prefixItems", "minItems", "maxItems"),
        *("enum", "const", "minLength", "maxLength", "pattern", "minimum", "maximum", "exclusiveMinimum"),
        *("exclusiveMaximum", "anyOf", "allOf", "$ref"),
    }
)
TYPES = ("string", "number", "integer", "null", "boolean", "object", "array")
NAMES = ("a", "b", "c", "a", "b", "ab", "é", 'x"y', "")
VALUES: tuple[Any, ...] = (
    1,
    "a",
    "b",
    None,
    2,
    0,
    True,
    2.5,
    -1,
    "ab",
    'é"',
    [],
    {},
    [1],
    [1, "a"],
    {"a": 1},
    {"b": 1},
)
PATTERNS = ("^a", "b", "a$", "^[ab]$", "^[ab]+$", r"^\d{3}-\d{2}$", "^(a|bc)*$", "[^x]", "")
KEY_PATTERNS = ("^a", "b", "^[bc]$", "[^x]", "^é|c$")
#: A recursive definition for `$ref`, put beside the root's keywords.
TREE = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
    "required": ["a"],
    "additionalProperties": False,
}
OPTIONS = {
    "key_order": ("schema", "any"),
    "whitespace": ("spaced", "compact", "flexible", "any"),
    "spelling": ("canonical", "any"),
}
EVERY_WAY = {"key_order": "any", "whitespace": "any", "spelling": "any"}


@dataclass(frozen=True)
class Case:
    """One schema under one choice of options, and the seed of whatever walks it."""

    schema: Any
    options: dict[str, str] = field(default_factory=dict)
    seed: int = 0

    def compile(self) -> guard.Compiled:
        """Compile the schema."""
        return guard.compile(self.schema, **self.options)

    def matcher(self, vocabulary: guard.Vocabulary) -> Any:
        """Return a matcher at the start."""
        return self.compile().matcher(vocabulary)


def case(r: Random, *, first: bool = False, options: dict[str, str] | None = None, without: str = "") -> Case:
    """Draw a schema of up to four levels, its options (unless given) and a seed.

    `first` keeps to the first set of keywords; `without` names keywords to leave out, separated by spaces.
    """
    schema = Schemas(r, (FIRST_SET if first else SUPPORTED) - set(without.split())).root(r.randint(1, 3))
    chosen = {name: r.choice(values) for name, values in OPTIONS.items()} if options is None else options
    return Case(schema, chosen, r.randrange(2**32))


class Schemas:
    """Draws schemas over a set of keywords."""

    def __init__(self, r: Random, keywords: frozenset[str] | set[str]) -> None:
        self.r = r
        self.keywords = keywords

    def root(self, depth: int) -> Any:
        """Draw a whole schema, with the definitions that its references name."""
        schema = self.draw(depth, below=False)
        if "#/$defs/tree" in json.dumps(schema):
            schema = {**schema, "$defs": {"tree": TREE}}
        return schema

    def draw(self, depth: int, *, below: bool = True) -> Any:
        """Draw a schema; one that is `below` a member or an item may refer to the root without a loop."""
        r = self.r
        if "$ref" in self.keywords and below and r.random() < 0.04:
            return {"$ref": r.choice(["#", "#/$defs/tree"])}
        if depth == 0 or r.random() < 0.2:
            return self.scalar()
        families = r.choice([(_OBJECT, _OBJECT, _LOGIC), (_ARRAY, _ARRAY, _LOGIC), (_OBJECT, _ARRAY, _LOGIC)])
        schema: dict[str, Any] = {}
        if r.random() < 0.6:
            schema["type"] = "array" if families[0] is _ARRAY else "object"
        for _ in range(r.randint(1, 4)):
            keyword = r.choice(r.choice(families))
            if keyword in self.keywords:
                schema[keyword] = _MAKERS[keyword](self, depth - 1, below)
        if "if" in schema:
            schema["then"], schema["else"] = self.draw(depth - 1, below=below), self.draw(depth - 1, below=below)
        if "minContains" in schema or "maxContains" in schema:
            schema.setdefault("contains", self.draw(depth - 1))
        return schema

    def scalar(self) -> Any:
        """Draw a schema without schemas in it, of one or two keywords."""
        r = self.r
        drawn = r.choice(_SCALARS)(r)
        if isinstance(drawn, dict) and not drawn.keys() <= self.keywords:
            return True
        return drawn

    def some(self, depth: int, below: bool, least: int = 1) -> list[Any]:
        """Draw one to three schemas."""
        return [self.draw(depth, below=below) for _ in range(self.r.randint(least, 3))]

    def by_name(self, depth: int, below: bool = True) -> dict[str, Any]:
        """Draw schemas by name."""
        return {name: self.draw(depth, below=below) for name in self.names(0, 3)}

    def names(self, least: int, most: int) -> list[str]:
        """Draw different names."""
        return list(dict.fromkeys(self.r.choice(NAMES) for _ in range(self.r.randint(least, most))))


def _string(r: Random) -> dict[str, Any]:
    low = r.randint(0, 3)
    schema: dict[str, Any] = {"type": "string", "minLength": low, "maxLength": low + r.randint(0, 5)}
    if r.random() < 0.4:
        schema["pattern"] = r.choice(PATTERNS)
    return schema


def _number(r: Random) -> dict[str, Any]:
    low = r.choice([r.randint(-20, 20), r.randint(-1000, 1000), 0, 0.5, -0.1, 1e-3])
    schema: dict[str, Any] = {"type": r.choice(["integer", "number"])}
    if r.random() < 0.7:
        schema[r.choice(["minimum", "exclusiveMinimum"])] = low
    if r.random() < 0.7:
        schema[r.choice(["maximum", "exclusiveMaximum"])] = low + r.choice([0, 1, 0.5, 3, 100])
    if r.random() < 0.15:
        schema["multipleOf"] = r.choice([1, 2, 0.5, 3])
    return schema


#: A leaf is one of these; most are satisfiable, some by little.
_SCALARS: tuple[Callable[[Random], Any], ...] = (
    lambda r: {"type": r.choice(TYPES)},
    lambda r: {"type": r.sample(TYPES, 2)},
    lambda r: {"const": r.choice(VALUES)},
    lambda r: {"enum": r.sample(VALUES, r.randint(1, 4))},
    _number,
    _number,
    _string,
    _string,
    lambda r: {"type": "string", "pattern": r.choice(PATTERNS)},
    lambda r: {r.choice(["minimum", "exclusiveMaximum"]): r.choice([0, 1, 1.5, 2])},
    lambda r: {"multipleOf": r.choice([1, 2, 0.5, 3])},
    lambda r: {r.choice(["minLength", "maxLength"]): r.choice([0, 1, 2])},
    lambda r: {"pattern": r.choice(PATTERNS)},
    lambda r: r.random() < 0.7,
)

_Maker = Callable[[Schemas, int, bool], Any]
_MAKERS: dict[str, _Maker] = {
    "properties": lambda s, depth, _: s.by_name(depth),
    "required": lambda s, *_: s.names(0, 2),
    "additionalProperties": lambda s, depth, _: s.r.choice([False, s.draw(depth)]),
    "patternProperties": lambda s, depth, _: {
        s.r.choice(KEY_PATTERNS): s.draw(depth) for _ in range(s.r.randint(1, 2))
    },
    "minProperties": lambda s, *_: s.r.randint(0, 3),
    "maxProperties": lambda s, *_: s.r.randint(0, 4),
    "propertyNames": lambda s, *_: s.r.choice(
        [{"pattern": "^[ab]"}, {"maxLength": 1}, {"minLength": 2}, {"enum": ["a", "b", "q"]}, {"not": {"const": "a"}}]
    ),
    "dependentRequired": lambda s, *_: {s.r.choice(NAMES): s.names(1, 2)},
    "dependentSchemas": lambda s, depth, below: {s.r.choice(NAMES): s.draw(depth, below=below)},
    "prefixItems": lambda s, depth, _: s.some(depth, True),
    "items": lambda s, depth, _: False if s.r.random() < 0.15 else s.draw(depth),
    "minItems": lambda s, *_: s.r.randint(0, 3),
    "maxItems": lambda s, *_: s.r.randint(0, 4),
    "contains": lambda s, depth, _: s.draw(depth),
    "minContains": lambda s, *_: s.r.randint(0, 2),
    "maxContains": lambda s, *_: s.r.randint(0, 2),
    "uniqueItems": lambda *_: True,
    "allOf": lambda s, depth, below: s.some(depth, below),
    "anyOf": lambda s, depth, below: s.some(depth, below),
    "oneOf": lambda s, depth, below: s.some(depth, below, 2),
    "not": lambda s, depth, below: s.draw(depth, below=below),
    "if": lambda s, depth, below: s.draw(depth, below=below),
    "unevaluatedProperties": lambda s, depth, _: s.r.choice([False, s.draw(depth)]),
    "unevaluatedItems": lambda s, depth, _: s.r.choice([False, s.draw(depth)]),
}
#: The keywords of a family, those more often that a schema most often has.
_OBJECT = (
    *("properties", "properties", "properties", "required", "required", "additionalProperties", "additionalProperties"),
    *("patternProperties", "minProperties", "maxProperties", "propertyNames", "dependentRequired", "dependentSchemas"),
    "unevaluatedProperties",
)
_ARRAY = (
    *("prefixItems", "items", "items", "minItems", "maxItems", "contains", "minContains", "maxContains"),
    *("uniqueItems", "unevaluatedItems"),
)
_LOGIC = ("allOf", "anyOf", "anyOf", "oneOf", "not", "if")


# ---- vocabularies ----------------------------------------------------------------------------------------------------

#: What tokenizers merge in JSON: structure across lexemes, parts of characters and escapes, repeats of keys.
MERGES = (
    *(b'{"', b'":', b'": ', b'",', b'", "', b'"}', b"}}", b"},", b"[1", b"1,", b"],", b"null", b"true", b"fals", b"[["),
    *(b"  ", b'\\"', b"\\u00", b"abc", b'a"', b'b":', b"12", b"0.", b'{"a":', b'":"', b'a":1,"a":', b"ab", b'": "'),
    *(
        b": ",
        "é".encode(),
        "é".encode()[1:],
        "😀".encode()[:2],
        "😀".encode()[2:],
        '"é'.encode(),
        b"\n  ",
        b", ",
        b"-1",
        b"00",
    ),
    *(b"[]", b"{}", b'":{"', b'"]', b"]}", b" null", b" {", b"\\ud83d", b"\\u", b"e1", b".5", b"bc", b'c":', b'""'),
)
#: What long tokens are made of, so that many begin alike and cross several lexemes.
PIECES = (
    b":",
    b",",
    b"{",
    b"}",
    b"[",
    b"]",
    b" ",
    b"\n",
    b"a",
    b"b",
    b"abc",
    "é".encode(),
    b"\\",
    b"1",
    b"-",
    b"\\u00",
    b"null",
    b": ",
)
EVERY_BYTE = tuple(bytes([byte]) for byte in range(256))


@cache
def byte_vocabulary() -> guard.Vocabulary:
    """A token for each byte, by value, and one end-of-sequence token."""
    return guard.Vocabulary.from_bytes([*EVERY_BYTE, b""], eos=[256])


@cache
def vocabulary(number: int) -> guard.Vocabulary:
    """A vocabulary of some 300 tokens: bytes, merges, twins, holes, special tokens and ends, in a random order.

    Each fourth has 810 more: all of two and three pieces, where subtrees are large enough for masks of their own.
    """
    r = Random(number)
    twins = r.sample(MERGES, 3)
    tokens = [*EVERY_BYTE, *r.sample(MERGES, r.randint(10, len(MERGES))), *twins, b"", b""]
    if number % 4 == 3:
        pieces = [b'"', *r.sample(PIECES, 8)]
        tokens += [b"".join(some) for size in (2, 3) for some in itertools.product(pieces, repeat=size)]
    special = [b"<|special|>", b'{"', b""]
    ends = [b"", b"</s>", b"}"][: r.randint(1, 3)]
    order = list(range(len(tokens) + len(special) + len(ends)))
    r.shuffle(order)
    spelled = [b""] * len(order)
    for token, bytes_of in zip(order, [*tokens, *special, *ends], strict=True):
        spelled[token] = bytes_of
    first = len(tokens)
    return guard.Vocabulary.from_bytes(
        spelled, eos=order[first + len(special) :], special=order[first : first + len(special)]
    )


VOCABULARIES = 12  #: How many vocabularies are drawn from: making one takes longer than a case.


# ---- texts -----------------------------------------------------------------------------------------------------------


@cache
def universe() -> tuple[bytes, ...]:
    """Small JSON texts over few names and values, in a few spellings: what schemas above tell apart.

    Numbers have no exponents: where a number is constrained, none are written (docs/reference/keywords.md).
    """
    scalars = [
        "null",
        "true",
        "false",
        "0",
        "1",
        "2",
        "3",
        "7",
        "1.5",
        "2.5",
        "-1",
        '""',
        '"a"',
        '"b"',
        '"ab"',
        '"aab"',
    ]
    scalars += ['"bc"', '"é\\""', '"x"', '"123-45"', "0.5", "12", "100"]
    small = ["1", "2", '"a"', "null", "[]"]
    out = list(scalars)
    for size in range(4):
        out += ["[" + ",".join(items) + "]" for items in itertools.product(small, repeat=size)]
    out += [f"[{x}]" for x in scalars] + [f"[[{x}]]" for x in small] + [f'[{{"a":{x}}}]' for x in small]
    out += [f'[{{"a":{x}}},{{"b":{y}}}]' for x, y in itertools.product(small[:3], repeat=2)]
    values = ["1", '"a"', "null", "{}"]
    for size in range(4):
        for names in itertools.permutations(("a", "b", "c"), size):
            if size == 3 and names not in (("a", "b", "c"), ("c", "b", "a")):
                continue
            for chosen in itertools.product(values[: 5 - size], repeat=size):
                out.append("{" + ",".join(f'"{n}":{v}' for n, v in zip(names, chosen, strict=True)) + "}")
    for name in ("ab", "é", 'x\\"y', "", "q"):
        out += [f'{{"{name}":{x}}}' for x in small] + [f'{{"a":1,"{name}":{x}}}' for x in small[:3]]
    out += [f'{{"a":{{"a":{x}}}}}' for x in small] + [f'{{"b":[{x}]}}' for x in small]
    for x, y in itertools.product(small[:3], repeat=2):
        out += [f'{{"a":{{"b":{x}}},"b":{y}}}', f'{{"a":[{x}],"b":{y}}}']
    out += ['{"a":1,"b":[{"a":2}]}', '{"a":1,"b":[]}', '{"a":1,"b":1,"c":1,"d":1}', '{"d":1}', '{"":null,"a":1}']
    out += ["1.0", "-0", "0.50", "-0.0", '"\\u0061"', '"\\ud83d\\ude00"', '"\\/"', '{"\\u0061":1}', '["a","\\u0061"]']
    out += [" 1", '{ "a" : 1 , "b" : 2 }', "[ 1 , 1.0]", "[\n  1,\n  2\n]", '{"a":\t1}', '{"a": 1, "b": 2}', "[1, 2]"]
    out += ['{"a":1,"a":1}', '{"a":1,"\\u0061":2}', "[1,2,1,2]", "[2,2,2,2]", '[1,2,"a",null]', "[[1],[1.0]]"]
    return tuple(text.encode() for text in dict.fromkeys(out))


def plain(value: Any) -> str:
    """Write a value without white space, escapes that it does not need, or exponents; fractions are Decimals."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, list):
        return "[" + ",".join(map(plain, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{plain(name)}:{plain(item)}" for name, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def respell(r: Random, value: Any, *, zeros: bool = True) -> str:
    """Write a value in any of the ways that RFC 8259 has: white space, escapes, order of keys; without exponents.

    `zeros` writes 1 and 1.5 as 1.0 and 1.50 too.
    """

    def gap() -> str:
        return r.choice(["", "", " ", "\n", "\t ", "\r\n"]) if r.random() < 0.5 else ""

    if isinstance(value, str):
        return '"' + "".join(_character(r, c) for c in value) + '"'
    if isinstance(value, list):
        items = [f"{gap()}{respell(r, item, zeros=zeros)}{gap()}" for item in value]
        return "[" + (",".join(items) or gap()) + "]"
    if isinstance(value, dict):
        pairs = [(respell(r, name), respell(r, item, zeros=zeros)) for name, item in value.items()]
        r.shuffle(pairs)
        members = [f"{gap()}{name}{gap()}:{gap()}{item}{gap()}" for name, item in pairs]
        return "{" + (",".join(members) or gap()) + "}"
    text = plain(value)
    if not zeros or value is None or isinstance(value, bool):
        return text
    more = "0" * r.randint(0, 2)
    if "." in text:
        return text + more
    return f"{text}.0{more}" if r.random() < 0.2 else text


def _character(r: Random, c: str) -> str:
    short = {'"': '\\"', "\\": "\\\\", "/": "\\/", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f"}
    ways = [short[c]] if c in short else []
    if c >= " " and c not in '"\\':
        ways += [c, c, c]
    units = c.encode("utf-16-be")
    escaped = "".join(f"\\u{int.from_bytes(units[at : at + 2]):04x}" for at in range(0, len(units), 2))
    return r.choice([*ways, escaped, escaped.upper().replace("U", "u")])


# ---- Hypothesis ------------------------------------------------------------------------------------------------------

RANDOMS = st.randoms(use_true_random=False)


def cases(**keywords: Any) -> st.SearchStrategy[Case]:
    """Cases, as `case` draws them."""
    return RANDOMS.map(lambda r: case(r, **keywords))


def vocabularies() -> st.SearchStrategy[guard.Vocabulary]:
    """Vocabularies of some 300 tokens."""
    return st.integers(0, VOCABULARIES - 1).map(vocabulary)


# ---- shrinking -------------------------------------------------------------------------------------------------------


def shrunk(case: Case, fails: Callable[[Case], bool]) -> Case:
    """Return a case with a schema from which no keyword, item or level can be taken away such that it still fails."""
    while True:
        for smaller in _smaller(case.schema):
            candidate = replace(case, schema=smaller)
            if fails(candidate):
                case = candidate
                break
        else:
            return case


def _smaller(schema: Any) -> list[Any]:
    """Return the schemas of one step less, the boldest first."""
    if isinstance(schema, list):
        cut = [schema[:at] + schema[at + 1 :] for at in range(len(schema))]
        return cut + [[*schema[:at], s, *schema[at + 1 :]] for at, item in enumerate(schema) for s in _smaller(item)]
    if not isinstance(schema, dict):
        return []
    inner = [v for v in schema.values() if isinstance(v, dict)]
    inner += [v for values in schema.values() if isinstance(values, list) for v in values if isinstance(v, dict)]
    cut = [{k: v for k, v in schema.items() if k != name} for name in schema]
    return [*inner, *cut, *({**schema, name: s} for name, value in schema.items() for s in _smaller(value))]

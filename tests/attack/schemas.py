"""Hostile schemas: towers, products, patterns, unions, lists without repeats, bombs; texts that are costly to judge.

Whether a text is a value of its schema is known from how the two were made, never from a judge: what costs the sidecar
an age would cost a judge as much. Each schema comes with a text that is none of its values, which no answer may be, and
where there is one with a text that is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

from attack.cases import OK, TYPED, Case, Expected, add, ask, say
from hostile import eight_patterns

FAMILY = "schemas"
WAYS = ("schema", "tools", "responses schema", "schema live")
ANY = OK | TYPED

Made = tuple[Any, str | None, str | None]  #: A schema, a text that is none of its values, and one that is.
CASES: dict[str, Callable[[], Made]] = {}


def case(name: str, make: Callable[[], Made]) -> None:
    """Keep a schema under a name."""
    assert name not in CASES, name
    CASES[name] = make


def tower(depth: int, keyword: str, width: int = 2, leaf: Any = None, wrap: Callable[[Any], Any] = lambda x: x) -> Any:
    """Return definitions of which each refers so often to the next: width**depth, read one by one."""
    table: dict[str, Any] = {f"d{n}": wrap({keyword: [{"$ref": f"#/$defs/d{n + 1}"}] * width}) for n in range(depth)}
    return {"$ref": "#/$defs/d0", "$defs": {**table, f"d{depth}": leaf or {"type": "integer"}}}


def in_object(schema: Any) -> Any:
    """Return an object that has a value of a schema, its definitions above: tools take nothing else."""
    inner = dict(schema)
    table = inner.pop("$defs", {})
    return {
        "type": "object",
        "properties": {"a": inner},
        "required": ["a"],
        "additionalProperties": False,
        "$defs": table,
    }


def keyed(text: str | None) -> str | None:
    """Return the text of such an object."""
    return None if text is None else f'{{"a": {text}}}'


# ---- towers ----------------------------------------------------------------------------------------------------------

for _keyword in ("anyOf", "allOf", "oneOf"):
    for _depth in (12, 18, 25, 40, 100):
        _right = None if _keyword == "oneOf" else "5"
        case(
            f"tower, {_keyword} {_depth} high",
            lambda k=_keyword, d=_depth, v=_right: (tower(d, k), '"x"', v),
        )
    case(f"tower, {_keyword} of eight", lambda k=_keyword: (tower(20, k, 8), '"x"', None))
    case(
        f"tower, {_keyword} of lists",
        lambda k=_keyword: (
            tower(25, k, wrap=lambda inner: {"type": "array", "items": inner, "minItems": 1}),
            "[" * 25 + '"x"' + "]" * 25,
            None,
        ),
    )
    case(
        f"tower, {_keyword} of lists of two",
        lambda k=_keyword: (
            tower(12, k, wrap=lambda inner: {"type": "array", "items": inner, "minItems": 2}),
            _tree(12),
            None,
        ),
    )
    case(
        f"tower, {_keyword} of objects",
        lambda k=_keyword: (
            tower(25, k, wrap=lambda inner: {"type": "object", "properties": {"b": inner}, "required": ["b"]}),
            '{"b":' * 25 + '"x"' + "}" * 25,
            None,
        ),
    )
    case(
        f"tower, {_keyword} that recurs",
        lambda k=_keyword: (
            {
                "$ref": "#/$defs/d0",
                "$defs": {
                    "d0": {
                        k: [
                            {"type": "array", "items": {"$ref": "#/$defs/d0"}, "minItems": 1},
                            {"type": "array", "prefixItems": [{"$ref": "#/$defs/d0"}], "minItems": 1},
                        ]
                    }
                },
            },
            "[" * 60 + "5" + "]" * 60,
            None,
        ),
    )


def _tree(depth: int) -> str:
    return '"x"' if depth == 0 else f"[{_tree(depth - 1)},{_tree(depth - 1)}]"


case("tower, not", lambda: (tower(40, "anyOf", wrap=lambda inner: {"not": {"not": inner}}), '"x"', None))
case(
    "tower, mixed",
    lambda: (
        {
            "$ref": "#/$defs/d0",
            "$defs": {
                **{
                    f"d{n}": {("anyOf", "allOf", "oneOf")[n % 3]: [{"$ref": f"#/$defs/d{n + 1}"}] * 2}
                    for n in range(30)
                },
                "d30": {"type": "integer"},
            },
        },
        '"x"',
        None,
    ),
)
case(
    "tower, if then else",
    lambda: (
        {
            "$ref": "#/$defs/d0",
            "$defs": {
                **{
                    f"d{n}": {
                        "if": {"$ref": f"#/$defs/d{n + 1}"},
                        "then": {"$ref": f"#/$defs/d{n + 1}"},
                        "else": {"$ref": f"#/$defs/d{n + 1}"},
                    }
                    for n in range(25)
                },
                "d25": {"type": "integer"},
            },
        },
        '"x"',
        None,
    ),
)
case(
    "tower, dependentSchemas",
    lambda: (
        {
            "$ref": "#/$defs/d0",
            "$defs": {
                **{
                    f"d{n}": {
                        "dependentSchemas": {"k": {"$ref": f"#/$defs/d{n + 1}"}, "l": {"$ref": f"#/$defs/d{n + 1}"}}
                    }
                    for n in range(25)
                },
                "d25": {"type": "object", "required": ["z"]},
            },
        },
        '{"k": 1, "l": 2}',
        None,
    ),
)
case(
    "tower, unevaluatedProperties",
    lambda: (
        {
            **tower(22, "allOf", leaf={"properties": {"b": {"type": "integer"}}}),
            "type": "object",
            "unevaluatedProperties": False,
        },
        '{"c": 1}',
        None,
    ),
)
case(
    "tower, contains",
    lambda: (
        tower(14, "anyOf", wrap=lambda inner: {"type": "array", "contains": inner}),
        "[" * 14 + '"x","y"' + "]" * 14,
        None,
    ),
)
case(
    "tower, propertyNames",
    lambda: (
        {"type": "object", "propertyNames": tower(20, "allOf", leaf={"maxLength": 1}), "minProperties": 1},
        '{"xx": 1}',
        None,
    ),
)
case(
    "tower, in each of 300 items",
    lambda: (
        {"type": "array", "items": {"$ref": "#/$defs/d0"}, "$defs": tower(12, "anyOf")["$defs"]},
        json.dumps(["x"] * 300),
        None,
    ),
)
case(
    "tower, of dynamic references",
    lambda: (
        {
            "$ref": "#/$defs/d0",
            "$defs": {
                **{
                    f"d{n}": {
                        "$dynamicAnchor": f"a{n}",
                        "anyOf": [{"$dynamicRef": f"#a{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}],
                    }
                    for n in range(30)
                },
                "d30": {"$dynamicAnchor": "a30", "type": "integer"},
            },
        },
        '"x"',
        None,
    ),
)
case("chain, if then else of 25", lambda: (_conditions(25), '{"a0": "x"}', '{"a0": "x", "z": 1}'))
case("chain, if then else of 200", lambda: (_conditions(200), '{"a0": "x"}', '{"a0": "x", "z": 1}'))


def _conditions(length: int) -> Any:
    table: dict[str, Any] = {
        f"d{n}": {
            "if": {"required": [f"a{n}"]},
            "then": {"$ref": f"#/$defs/d{n + 1}"},
            "else": {"properties": {f"b{n}": {"$ref": f"#/$defs/d{n + 1}"}}, "required": ["z"]},
        }
        for n in range(length)
    }
    last = {"properties": {"z": {"type": "integer"}}, "required": ["z"]}
    return {"type": "object", "$ref": "#/$defs/d0", "$defs": {**table, f"d{length}": last}}


# ---- patterns --------------------------------------------------------------------------------------------------------

for _name, _pattern, _text in (
    ("(a+)+$", "^(a+)+$", "a" * 40 + "!"),
    ("(a|aa)+$", "^(a|aa)+$", "a" * 60 + "!"),
    ("(a|a)*b", "^(a|a)*b$", "a" * 40),
    ("(.*)*x", "^(.*)*x$", "a" * 40),
    ("([a-z]+)*\\d", "^([a-z]+)*\\d$", "a" * 45),
    (".*.*.*.*x", "^" + ".*" * 12 + "x$", "a" * 300),
    ("([ab]*a[ab]{40})", "^([ab]*a[ab]{40})$", "b" * 2_000),
    ("a{1,1000}{1,1000}", "^(a{1,1000}){1,1000}$", "a" * 3_000 + "!"),
    ("(a?){60}a{60}", "^" + "a?" * 60 + "a" * 60 + "$", "a" * 59),
    (
        "e-mail",
        "^([a-zA-Z0-9])(([\\-.]|[_]+)?([a-zA-Z0-9]+))*(@){1}[a-z0-9]+[.]{1}(([a-z]{2,3})|([a-z]{2,3}[.]{1}[a-z]{2,3}))$",
        "a" * 60,
    ),
    ("words", "^(\\w+\\s?)*$", "a" * 40 + "!"),
    ("look-aheads", "^" + "".join(f"(?=.*{c})" for c in "abcdefghijklmnop") + ".*$", "a" * 2_000),
    ("nested stars", "^" + "(" * 30 + "a" + ")*" * 30 + "$", "a" * 40 + "!"),
    ("words, a megabyte", "^(x+x+)+y$", "x" * 1_000_000),
):
    _value = json.dumps(_text)
    case(f"pattern, {_name}", lambda p=_pattern, v=_value: ({"type": "string", "pattern": p}, v, None))
    case(
        f"pattern, a name like {_name}",
        lambda p=_pattern, v=_value: (
            {"type": "object", "patternProperties": {p: {"type": "integer"}}, "additionalProperties": False},
            f"{{{v}: 1}}",
            None,
        ),
    )
for _name, _pattern in (
    ("look-behind", "(?<=a.{5})b(?<!c.{7})d(?<=e.{9})"),
    ("a back-reference", "^(a+)\\1$"),
    ("a group that is open", "("),
    ("a bad range", "[z-a]"),
    ("a quantifier of 10^9", "a{1000000000}"),
    ("nested quantifiers", "((((a{100}){100}){100}){100})"),
    ("1,000 look-aheads", "^" + "(?=.*a)(?!.*b)" * 500),
    ("10,000 alternatives", "|".join(f"x{n}y" for n in range(10_000))),
    ("many optional", "^" + "a?" * 2_000 + "a" * 500 + "$"),
    ("500 kB", "a" * 500_000),
    ("recursion", "(?R)"),
    ("a condition", "(a)?(?(1)b|c)"),
    ("Unicode classes", "^[\\p{L}\\p{N}]{1,5000}$"),
    ("100,000 brackets", "(" * 100_000 + ")" * 100_000),
    ("a surrogate", "^\ud800$"),
    ("case, inline", "(?i)abc"),
    ("atomic", "(?>a+)b"),
):
    case(f"pattern, {_name}", lambda p=_pattern: ({"type": "string", "pattern": p}, "1", None))
case(
    "pattern, twelve that cross",
    lambda: (
        {"type": "string", "allOf": [{"pattern": f"{c}.*{c}.*{c}"} for c in "abcdefghijkl"]},
        '"aaa"',
        json.dumps("abcdefghijkl" * 3),
    ),
)
for _number, _schema in enumerate(eight_patterns()):
    case(f"bomb, eight patterns {_number}", lambda s=_schema: (s, '"a"', None))

# ---- unions, lists, numbers, names -----------------------------------------------------------------------------------


def _tagged(count: int, keyword: str) -> Any:
    return {
        keyword: [
            {
                "type": "object",
                "properties": {"t": {"const": f"k{n}"}, f"p{n}": {"type": "integer"}},
                "required": ["t", f"p{n}"],
            }
            for n in range(count)
        ]
    }


for _keyword in ("anyOf", "oneOf"):
    for _count in (500, 1_000, 2_000, 4_000):
        case(
            f"union, {_keyword} of {_count:,} tagged",
            lambda k=_keyword, n=_count: (
                _tagged(n, k),
                f'{{"t": "k{n - 1}", "p{n - 1}": "x"}}',
                f'{{"t": "k{n - 1}", "p{n - 1}": 5}}',
            ),
        )
    case(
        f"union, {_keyword} of 3,000 that overlap",
        lambda k=_keyword: (
            {k: [{"type": "integer", "minimum": n, "maximum": n + 5} for n in range(3_000)]},
            '"x"',
            None,
        ),
    )
    case(
        f"union, {_keyword} of 2,000 for each of 1,000 items",
        lambda k=_keyword: (
            {"type": "array", "items": {k: [{"const": f"v{n}"} for n in range(2_000)]}},
            json.dumps(["w"] * 1_000),
            None,
        ),
    )
case(
    "enum, 20,000 objects",
    lambda: ({"enum": [{"a": n, "b": [n]} for n in range(20_000)]}, '{"a": -1, "b": []}', '{"a": 19999, "b": [19999]}'),
)
case("enum, 60,000 texts", lambda: ({"enum": [f"v{n}" for n in range(60_000)]}, '"w"', '"v59999"'))
case(
    "enum, 60,000 for each of 1,000 items",
    lambda: (
        {"type": "array", "items": {"enum": [f"v{n}" for n in range(60_000)]}},
        json.dumps(["w"] * 1_000),
        json.dumps(["v59999"] * 1_000),
    ),
)
case("const, deep", lambda: ({"const": json.loads("[" * 300 + "]" * 300)}, "[]", None))
case("not, 5,000", lambda: ({"allOf": [{"not": {"const": f"v{n}"}} for n in range(5_000)]}, '"v17"', '"w"'))
case(
    "unique, 20,000 objects",
    lambda: (
        {"type": "array", "uniqueItems": True},
        json.dumps([{"a": n} for n in range(20_000)] + [{"a": 0}]),
        None,
    ),
)
case(
    "unique, 5,000 lists",
    lambda: ({"type": "array", "uniqueItems": True}, json.dumps([[n, [n]] for n in range(5_000)] + [[0, [0]]]), None),
)
case(
    "unique, 3,000 deep",
    lambda: (
        {"type": "array", "uniqueItems": True},
        json.dumps([{"a": {"b": {"c": [n] * 20}}} for n in range(3_000)] + [{"a": {"b": {"c": [0] * 20}}}]),
        None,
    ),
)
case(
    "unique, lists within lists",
    lambda: (
        {"$defs": {"l": {"type": "array", "uniqueItems": True, "items": {"$ref": "#/$defs/l"}}}, "$ref": "#/$defs/l"},
        "[" * 80 + "1,1" + "]" * 80,
        None,
    ),
)
case("contains, 10^9", lambda: ({"type": "array", "contains": {"type": "null"}, "minContains": 10**9}, "[null]", None))
case(
    "contains, of 200 for 5,000 items",
    lambda: (
        {"type": "array", "allOf": [{"contains": {"const": n}} for n in range(200)]},
        json.dumps([-1] * 5_000),
        None,
    ),
)
case("items, at least 10^9", lambda: ({"type": "array", "minItems": 10**9}, "[]", None))
case("text, at least 10^9", lambda: ({"type": "string", "minLength": 10**9}, '""', None))
case("properties, at least 10^6", lambda: ({"type": "object", "minProperties": 10**6}, "{}", None))
case(
    "properties, 20,000 required",
    lambda: ({"type": "object", "required": [f"p{n}" for n in range(20_000)]}, "{}", None),
)
case(
    "properties, 30,000",
    lambda: (
        {
            "type": "object",
            "properties": {f"p{n}": {"type": "string"} for n in range(30_000)},
            "additionalProperties": False,
        },
        '{"q": 1}',
        '{"p29999": "x"}',
    ),
)
case(
    "properties, 500 patterns that overlap",
    lambda: (
        {"type": "object", "patternProperties": {f"a.*{n}": {"minLength": n} for n in range(500)}},
        json.dumps({f"a{'x' * 50}{n}": "" for n in range(100, 400)}),
        None,
    ),
)
case(
    "properties, dependencies in a ring",
    lambda: (
        {"type": "object", "dependentRequired": {f"a{n}": [f"a{n + 1}", f"b{n}"] for n in range(2_000)}},
        '{"a0": 1}',
        "{}",
    ),
)
case("numbers, multiples of 10^-15", lambda: ({"type": "number", "multipleOf": 1e-15}, '"x"', None))
case("numbers, a multiple of a tiny one", lambda: ({"type": "number", "multipleOf": 1e-300}, '"x"', None))
case(
    "numbers, a bound of 4,000 digits",
    lambda: ({"type": "integer", "minimum": 10**4_000, "maximum": 10**4_000 + 7}, "5", None),
)
case("numbers, a value of 100,000 digits", lambda: ({"type": "integer", "maximum": 5}, "9" * 100_000, None))
case("numbers, an exponent of 10^9", lambda: ({"type": "integer", "maximum": 5}, "1e999999999", None))
case(
    "numbers, a fraction of 100,000 digits", lambda: ({"type": "number", "multipleOf": 0.1}, "0." + "3" * 100_000, None)
)
for _format in (
    *(
        "idn-hostname",
        "hostname",
        "email",
        "idn-email",
        "uri",
        "iri",
        "uri-template",
        "ipv6",
        "date-time",
        "duration",
        "regex",
        "json-pointer",
        "uuid",
    ),
):
    case(
        f"format, {_format}",
        lambda f=_format: (
            {"type": "string", "format": f},
            json.dumps(("{(" if f == "uri-template" else "(") + "a." * 100_000 + "@"),
            None,
        ),
    )
    case(
        f"format, {_format} of 20 and more",
        lambda f=_format: ({"type": "string", "format": f, "minLength": 20, "maxLength": 25}, '"("', None),
    )
case(
    "format, all at once",
    lambda: (
        {"type": "string", "allOf": [{"format": f} for f in ("idn-hostname", "email", "uri", "ipv6", "date", "uuid")]},
        '"x"',
        None,
    ),
)

# ---- depth, references, size -----------------------------------------------------------------------------------------


def _nested(keyword: str, depth: int, *, listed: bool = False) -> Any:
    schema: Any = {"type": "integer"}
    for _ in range(depth):
        schema = {keyword: [schema] if listed else schema}
    return schema


for _keyword in ("items", "not", "additionalProperties", "if", "contains", "propertyNames"):
    case(f"deep, {_keyword}", lambda k=_keyword: (_nested(k, 60), None, None))
for _keyword in ("allOf", "anyOf", "oneOf", "prefixItems"):
    case(f"deep, {_keyword}", lambda k=_keyword: (_nested(k, 60, listed=True), None, None))
case("deep, a text within any depth", lambda: ({"type": "array"}, '{"a": 1}', None))
case("references, to itself", lambda: ({"$ref": "#"}, None, None))
case(
    "references, in a ring",
    lambda: ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, None, None),
)
case(
    "references, a paradox", lambda: ({"$ref": "#/$defs/a", "$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}}, None, None)
)
case("references, to nothing", lambda: ({"$ref": "#/$defs/none"}, None, None))
for _target in (
    *(
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "https://evil.example/x.json",
        "urn:x",
        "//evil.example",
        "ftp://x/y",
        "%",
    ),
    *(
        "http://[",
        "#/a%",
        "#/~2",
        "data:application/json,{}",
        "http://localhost:1/",
        "#/$defs/" + "a/" * 5_000,
        "\u0000",
    ),
):
    case(f"references, {_target[:40]}", lambda t=_target: ({"$ref": t}, None, None))
case(
    "references, a chain of 20,000",
    lambda: (
        {
            "$ref": "#/$defs/0",
            "$defs": {**{str(n): {"$ref": f"#/$defs/{n + 1}"} for n in range(20_000)}, "20000": {"type": "integer"}},
        },
        '"x"',
        "5",
    ),
)
case(
    "references, 20,000 to one",
    lambda: (
        {"allOf": [{"$ref": "#/$defs/a"}] * 20_000, "$defs": {"a": {"type": "integer"}}},
        '"x"',
        "5",
    ),
)
case("references, to a strange metaschema", lambda: ({"$schema": "https://evil.example/meta"}, None, None))
case(
    "references, ids that clash",
    lambda: ({"$id": "http://x/", "$defs": {"a": {"$id": "http://x/"}, "b": {"$id": "http://x/"}}}, None, None),
)
case("references, endless values", lambda: ({"type": "array", "items": {"$ref": "#"}, "minItems": 1}, "[]", None))
case("size, 900 kB of descriptions", lambda: ({"type": "integer", "description": "x" * 900_000}, '"x"', "5"))
case("size, 2 MB", lambda: ({"type": "integer", "description": "x" * 2_000_000}, None, None))
case(
    "size, 9 MB of definitions",
    lambda: ({"$defs": {f"d{n}": {"const": "x" * 1_000} for n in range(8_500)}, "type": "integer"}, None, None),
)
for _name, _schema in {
    "a type that is none": {"type": "x"},
    "a number for a type": {"type": 5},
    "properties that are a list": {"properties": []},
    "a required that is a text": {"required": "a"},
    "an enum that is none": {"enum": 5},
    "an empty enum": {"enum": []},
    "minimum a text": {"minimum": "x"},
    "a negative length": {"minLength": -1},
    "items a number": {"items": 7},
    "anyOf empty": {"anyOf": []},
    "not null": {"not": None},
    "a $ref that is a number": {"$ref": 5},
    "a $id that is a list": {"$id": []},
    "false": {"not": {}},
    "an impossible one": {"type": "integer", "minimum": 5, "maximum": 4},
    "keys that clash": {"properties": {"a": False}, "required": ["a"]},
    "surrogates": {"enum": ["\ud800"]},
    "a multiple of zero": {"multipleOf": 0},
}.items():
    case(f"wrong, {_name}", lambda s=_schema: (s, None, None))


def _register() -> None:
    for name, make in CASES.items():
        is_bomb = name.startswith(("bomb", "references", "wrong", "deep", "format"))
        for way in WAYS[:1] if is_bomb else WAYS:
            for which in ("invalid", "valid"):
                if (which == "invalid") or _has_valid(name, make):
                    add(Case(FAMILY, f"{name}, {way}, {which}", _asked(make, way, which), _expected(make, way, which)))


def _has_valid(name: str, make: Callable[[], Made]) -> bool:
    return not name.startswith(("references", "wrong")) and make()[2] is not None


def _asked(make: Callable[[], Made], way: str, which: str) -> Any:
    def made(canary: str, _: Random) -> Any:
        schema, invalid, valid = make()
        text = valid if which == "valid" else invalid
        if way == "tools":
            schema, text = in_object(schema), keyed(text)
        return ask(way, canary, say(text if text is not None else "5"), schema)

    return made


def _expected(make: Callable[[], Made], way: str, which: str) -> Expected:
    """Say what may come: never an answer where the text is known to be no value."""
    if which == "valid":
        text = make()[2]
        return Expected(ANY, text=keyed(text) if way == "tools" else text)
    return Expected(TYPED if make()[1] is not None else ANY)


_register()

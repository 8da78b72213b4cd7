"""Tagged styles: what renders a value is let through where the value is valid, and what is let through reads back.

The renderer and the reader here know nothing of the engine: a style is what its family's parser does with a text.
`jsonschema_rs` says which values are valid.
"""

import json
import random
import re
from dataclasses import dataclass
from functools import cache

import jsonschema_rs
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import guard
from guard import formats
from guard.kernels.bitmask import allocate_bitmask
from guard.schemas.compiled import single_bytes

SPACE = r"[ \n\r\t]*"


@dataclass(frozen=True)
class Written:
    """A style: what stands around a member's key and value."""

    opening: str
    middle: str
    closing: str
    between: str = ""  # white space that a reader skips, in the middle
    barred: str = '"'  # what no key may have
    labels: dict | None = None


WORDS = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}
STYLES = {
    "qwen_xml": Written("<parameter=", ">", "</parameter>", barred="<>\n"),
    "minimax_xml": Written('<parameter name="', '">', "</parameter>"),
    "deepseek_xml": Written(
        '<｜DSML｜parameter name="',
        '" string="{label}">',
        "</｜DSML｜parameter>",
        labels={kind: "true" if kind is str else "false" for kind in WORDS},
    ),
    "glm_xml": Written("<arg_key>", "</arg_key><arg_value>", "</arg_value>", barred="<\n"),
    "kimi_k3_xml": Written(
        '<|open|>argument key="',
        '" type="{label}"<|sep|>',
        "<|close|>argument<|sep|>",
        labels={**WORDS, int: "number"},
    ),
}
UNLABELLED = [name for name, style in STYLES.items() if style.labels is None]


def escaped(key, style):
    if style != "kimi_k3_xml":
        return key
    return key.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")


def unescaped(key, style):
    if style != "kimi_k3_xml":
        return key
    return key.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")


def said(value):
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def rendered(members, style, gap=""):
    """The text of an object's members."""
    how, out = STYLES[style], []
    for key, value in members.items():
        middle = how.middle.replace("{label}", how.labels[type(value)]) if how.labels else how.middle
        out.append(how.opening + escaped(key, style) + middle + said(value) + how.closing)
    return gap.join(out)


def read(text, style, schema):
    """The members that a text has, as the family's reader has them; None where it has none."""
    how, out, at = STYLES[style], {}, 0
    before, _, behind = how.middle.partition("{label}")
    label = f"(?P<label>[a-z]+){re.escape(behind)}" if behind else ""
    middle = re.escape(before).replace("</arg_key>", f"</arg_key>{SPACE}") + label
    one = re.compile(f"{SPACE}{re.escape(how.opening)}(?P<key>.*?){middle}", re.DOTALL)
    while found := one.match(text, at):
        key = unescaped(found["key"], style)
        is_text = bool(label) and found["label"] == how.labels[str]
        end = value_end(text, found.end(), how.closing, is_text)
        if end < 0:
            return None
        value = text[found.end() : end]
        if key in out:
            return None
        below = schema.get("properties", {}).get(key, schema.get("additionalProperties", True))
        if label:
            if found["label"] not in how.labels.values():
                return None
            try:
                out[key] = value if is_text else json.loads(value)
            except ValueError:
                return None
            if not is_text and how.labels[type(out[key])] != found["label"]:
                return None
        else:
            out[key] = unlabelled(value, below, schema)
        at = end + len(how.closing)
    return out if re.fullmatch(SPACE, text[at:]) else None


def value_end(text, start, closing, is_text):
    """Where a value ends: behind JSON, in which a closing text may stand, or at the first closing text."""
    begin = re.compile(SPACE).match(text, start).end()
    if not is_text and text[begin : begin + 1] in ("[", "{"):
        try:
            end = re.compile(SPACE).match(text, json.JSONDecoder().raw_decode(text, begin)[1]).end()
        except ValueError:
            end = begin
        if text.startswith(closing, end):
            return end
    return text.find(closing, start)


def unlabelled(text, below, schema):
    """A value whose text does not tell its type: JSON of another type that the schema has, or else the text."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if not isinstance(value, str) and may_be(below, value, schema):
        return value
    return text if valid(below, text, schema) else text.strip(" \n\r\t")


def may_be(below, value, schema):
    """Whether values of this type could meet a schema: with `type` alone of all that it says."""
    if isinstance(below, bool):
        return below
    if "$ref" in below:
        return may_be(schema["$defs"][below["$ref"].rpartition("/")[2]], value, schema)
    for word, of in (("anyOf", any), ("oneOf", any), ("allOf", all)):
        if word in below:
            return of(may_be(one, value, schema) for one in below[word])
    if "const" in below:
        return alike(below["const"], value)
    if "enum" in below:
        return any(alike(one, value) for one in below["enum"])
    kinds = below.get("type", [*WORDS.values()])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    word = WORDS[type(value)]
    return word in kinds or (word in ("integer", "number") and {"integer", "number"} & {*kinds} != set())


def alike(one, other):
    """Whether two values have one type: 1 and 1.0 are both numbers."""
    return type(one) is type(other) or {type(one), type(other)} == {int, float}


def valid(below, value, schema):
    if not isinstance(below, dict):
        return bool(below)
    return jsonschema_rs.is_valid({**below, "$defs": schema.get("$defs", {})}, value)


def takes(compiled, text):
    if compiled == NOTHING:
        return False
    try:
        compiled.read(text)
    except ValueError:
        return False
    return True


# ---- schemas and values ----------------------------------------------------------------------------------------------

NAMES = ["a", "b", "long name", "x-y", "ä"]
TEXTS = [
    "",
    "a",
    "ab",
    " a ",
    "1",
    "-",
    "true",
    "null",
    "[",
    "{}",
    '"a"',
    "é😀",
    "\n",
    "a<b",
    "</",
    "</parameter",
    "1x",
]
TEXTS += [closing for style in STYLES.values() for closing in (style.closing, f"a{style.closing}b", style.opening)]
SIMPLE = st.sampled_from(
    [
        *({"type": "string"}, {"type": "integer"}, {"type": "number", "minimum": 0}, {"type": "boolean"}),
        *({"type": "null"}, {"type": "string", "maxLength": 2}, {"type": "string", "minLength": 2}),
        *({"type": "string", "pattern": "^[a-c<]+$"}, {"type": "array", "items": {"type": "integer"}}, {}),
        *({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}, {"enum": ["a", "1", " a "]}),
        *({"enum": ["ab", 1, None]}, {"enum": ["a", "b"]}, {"const": "x"}, {"type": ["string", "integer"]}),
        *({"type": ["string", "null"]}, {"type": ["integer", "null"]}, {"$ref": "#/$defs/word"}, {"type": "integer"}),
        {"not": {"type": "string"}},
        {"type": "string", "not": {"pattern": "a"}},
    ]
)
VALUES = st.recursive(
    SIMPLE,
    lambda below: st.one_of(
        st.lists(below, min_size=1, max_size=2).map(lambda parts: {"anyOf": parts}),
        st.lists(below, min_size=1, max_size=2).map(lambda parts: {"allOf": parts}),
        st.lists(below, min_size=2, max_size=2).map(lambda parts: {"oneOf": parts}),
    ),
    max_leaves=3,
)
JSONS = st.recursive(
    st.sampled_from([None, True, False, 0, 1, -5, 120, 0.5, -2.25, *TEXTS]) | st.text("ab<>/ \n1", max_size=4),
    lambda below: st.lists(below, max_size=2) | st.dictionaries(st.sampled_from("ab"), below, max_size=2),
    max_leaves=3,
)


@st.composite
def objects(draw):
    names = draw(st.lists(st.sampled_from(NAMES), max_size=3, unique=True))
    properties = {name: draw(VALUES) for name in names}
    schema = {
        "type": "object",
        "properties": properties,
        "required": [name for name in names if draw(st.booleans())],
        "$defs": {"word": {"type": "string", "pattern": "^[a-z]+$"}},
    }
    more = draw(st.sampled_from([None, False, {"type": "integer"}, {"type": "string"}]))
    return schema if more is None else {**schema, "additionalProperties": more}


@st.composite
def members(draw, schema):
    """An object that may be valid: declared members first, in their order."""
    out = {}
    for name in schema["properties"]:
        if name in schema["required"] or draw(st.booleans()):
            out[name] = draw(JSONS)
    for name in draw(st.lists(st.sampled_from(["z", "y<", 'q"', "&"]), max_size=1)):
        out[name] = draw(JSONS)
    return out


NOTHING = "nothing"  #: Is let through: a format that was refused because no text meets it.


def compiled_of(schema, style, **how):
    try:
        return guard.compile(formats.json(schema, style=style, **how), key_order="any")
    except guard.SchemaError as error:
        found = error.findings
    if [one.message for one in found] == ["nothing can meet it"]:
        return NOTHING
    assert all(one.pointer.startswith("/format/json_schema") for one in found), found
    return None


def is_left_out(value, below, schema, style):
    """Whether `excluded` names the value: a closing text in a string, or one that begins like another type's."""
    if not isinstance(value, str):
        return False
    how = STYLES[style]
    if how.closing in value + how.closing[:-1] or how.closing in value:
        return True
    if how.labels is not None:
        return False
    begun = value.lstrip(" \n\r\t")[:1]
    others = [(0, "-0123456789"), ([], "["), ({}, "{")]
    if begun and any(may_be(below, other, schema) and begun in first for other, first in others):
        return True
    plain = value.strip(" \n\r\t")
    return (plain == "null" and may_be(below, None, schema)) or (
        plain in ("true", "false") and may_be(below, True, schema)
    )


@settings(max_examples=60)
@given(schema=objects(), style=st.sampled_from(sorted(STYLES)), data=st.data())
def test_what_renders_a_value_is_let_through_where_the_value_is_valid(schema, style, data):
    compiled = compiled_of(schema, style)
    assume(compiled is not None)
    for _ in range(8):
        value = data.draw(members(schema))
        text = rendered(value, style, data.draw(st.sampled_from(["", "\n", "  "])))
        more = schema.get("additionalProperties", True)
        below = {name: schema["properties"].get(name, more) for name in value}
        is_valid = jsonschema_rs.is_valid(schema, value)
        barred = STYLES[style].barred if style != "kimi_k3_xml" else ""
        left_out = any(set(name) & set(barred) for name in value)
        left_out |= any(is_left_out(one, below[name], schema, style) for name, one in value.items())
        if is_valid and not left_out:
            assert takes(compiled, text), (schema, value, text)
        elif takes(compiled, text):  # it reads as another value, which is valid
            other = read(text, style, schema)
            assert other is not None, (schema, text)
            assert jsonschema_rs.is_valid(schema, other), (schema, value, other)


def walked(compiled, rng, steps=90):
    """A text that the masks let through, one byte at a time; it must come to an end."""
    matcher, row, out = compiled.matcher(single_bytes()), allocate_bitmask(1, 257), bytearray()
    left = max(steps, matcher.distance())
    liked = b'<>/="abcparmetr1\n {}[],:-'
    while True:
        matcher.fill_bitmask(row, 0, left)
        allowed = [token for token in range(257) if row[0, token // 32] >> (token % 32) & 1]
        assert allowed, bytes(out)  # a dead end
        if 256 in allowed and (len(allowed) == 1 or rng.random() < 0.3):
            return out.decode()
        allowed = [token for token in allowed if token < 256]
        few = [token for token in allowed if token in liked]
        token = rng.choice(few if few and rng.random() < 0.9 else allowed)
        assert matcher.accept(token)
        out.append(token)
        left -= 1


@settings(max_examples=25)
@given(schema=objects(), style=st.sampled_from(sorted(STYLES)), seed=st.integers(0, 2**32))
@example(  # 1.0, which is 1
    schema={
        "type": "object",
        "properties": {"a": {"enum": ["ab", 1, None]}, "b": {"type": "string"}, "long name": {"type": "string"}},
        "required": ["a"],
    },
    style="glm_xml",
    seed=371131464,
)
def test_what_is_let_through_reads_back_to_a_valid_value(schema, style, seed):
    compiled = compiled_of(schema, style)
    assume(compiled not in (None, NOTHING))
    rng = random.Random(seed)
    assume(compiled.matcher(single_bytes()).distance() >= 0)  # else no text meets the schema
    text = walked(compiled, rng)
    value = read(text, style, schema)
    assert value is not None, (schema, text)
    assert jsonschema_rs.is_valid(schema, value), (schema, text, value)
    assert takes(compiled, text)


@settings(max_examples=30)
@given(schema=objects(), style=st.sampled_from(sorted(STYLES)), data=st.data())
def test_in_any_order_the_members_come_in_any_order_and_once(schema, style, data):
    compiled, ordered = compiled_of(schema, style, any_order=True), compiled_of(schema, style)
    assume(compiled not in (None, NOTHING))
    assume(ordered is not None)
    value = data.draw(members(schema))
    shuffled = dict(data.draw(st.permutations(list(value.items()))))
    if takes(ordered, rendered(value, style)):
        assert takes(compiled, rendered(shuffled, style)), (schema, shuffled)
        for name in value:
            twice = rendered(shuffled, style) + rendered({name: value[name]}, style)
            assert not takes(compiled, twice)


# ---- literal examples ------------------------------------------------------------------------------------------------

STRING = {"type": "object", "properties": {"s": {"type": "string"}}, "required": ["s"], "additionalProperties": False}


@pytest.mark.parametrize("style", sorted(STYLES))
def test_a_string_stands_raw_up_to_the_first_closing_text(style):
    compiled, closing = guard.compile(formats.json(STRING, style=style)), STYLES[style].closing
    for text in ("", " ", "\n a \n", closing[:-1], closing[1:], f"{closing[:3]}{closing[:3]}", '"', "\\", "é😀"):
        assert takes(compiled, rendered({"s": text}, style)), text
    for text in (closing, f"a{closing}", f"{closing}a", f"{closing}{closing}"):
        assert not takes(compiled, rendered({"s": text}, style)), text
    assert any(closing in line.note for line in compiled.excluded)


@pytest.mark.parametrize("style", UNLABELLED)
def test_strings_and_integers_that_look_alike_are_told_apart(style):
    schema = {**STRING, "properties": {"s": {"type": ["string", "integer"]}}}
    compiled = guard.compile(formats.json(schema, style=style))
    for value in ("a", "", "x1", "true", "[1]", 12, -1):
        assert takes(compiled, rendered({"s": value}, style)), value
    for text in ("1.5", "12 apples", "-x", "01"):
        assert not takes(compiled, rendered({"s": text}, style)), text
    assert [line.note for line in compiled.excluded if "another type" in line.note]


@pytest.mark.parametrize("style", [name for name in STYLES if name not in UNLABELLED])
def test_a_label_tells_a_string_from_an_integer(style):
    schema = {**STRING, "properties": {"s": {"type": ["string", "integer"]}}}
    compiled = guard.compile(formats.json(schema, style=style))
    for value in ("12", 12, "true", ""):
        assert takes(compiled, rendered({"s": value}, style)), value
    assert not takes(compiled, rendered({"s": True}, style))
    assert not takes(compiled, rendered({"s": 12}, style).replace("12", "twelve"))


@pytest.mark.parametrize("style", sorted(STYLES))
def test_a_listed_string_may_have_white_space_at_its_edges_where_no_label_says_that_it_is_raw(style):
    schema = {**STRING, "properties": {"s": {"enum": ["ab", "c d"]}}}
    compiled = guard.compile(formats.json(schema, style=style))
    assert takes(compiled, rendered({"s": "ab"}, style))
    for text in ("\nab\n", " c d "):
        assert takes(compiled, rendered({"s": text}, style)) == (style in UNLABELLED), text
    assert not takes(compiled, rendered({"s": "c  d"}, style))


@pytest.mark.parametrize(
    ("word", "schema"),
    [
        ("allOf", {"allOf": [{"required": ["a"]}]}),
        ("anyOf", {"anyOf": [{"required": ["a"]}]}),
        ("not", {"not": {"required": ["a"]}}),
        ("dependentRequired", {"dependentRequired": {"a": ["b"]}}),
        ("propertyNames", {"propertyNames": {"maxLength": 3}}),
        ("if", {"if": {"required": ["a"]}, "then": {"required": ["b"]}}),
    ],
)
@pytest.mark.parametrize("style", [*sorted(STYLES), "cohere_xml"])
def test_what_tags_can_not_keep_is_refused_with_its_pointer(word, schema, style):
    with pytest.raises(guard.SchemaError) as caught:
        guard.compile(formats.tag("<a>", formats.json({"type": "object", **schema}, style=style), "</a>"))
    (finding,) = caught.value.findings
    assert finding.pointer == f"/format/content/json_schema/{word}"


@pytest.mark.parametrize("kinds", ["object", ["object", "null"]])
@pytest.mark.parametrize("style", sorted(STYLES))
def test_a_type_beside_a_reference_may_say_what_is_wanted_anyway(style, kinds):
    """As in the schema of a Pydantic model that holds itself: "$ref" at its root, to which a tool adds the type."""
    inner = {"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": False}
    schema = {"$ref": "#/$defs/A", "$defs": {"A": inner}}
    compiled = compiled_of({**schema, "type": kinds}, style)
    assert takes(compiled, rendered({"n": 1}, style))
    assert not takes(compiled, rendered({"m": 1}, style))
    assert compiled_of({**schema, "type": "string"}, style) is None


@pytest.mark.parametrize("style", [*sorted(STYLES), "cohere_xml", "text", "json"])
def test_a_grounded_value_is_refused_in_every_style(style):
    name = {"type": "string", "x-guard-from": "input"}
    schema = name if style == "text" else {"type": "object", "properties": {"name": name}, "required": ["name"]}
    for form in (formats.json(schema, style=style), formats.tag("<a>", formats.json(schema, style=style), "</a>")):
        with pytest.raises(guard.SchemaError, match="x-guard-from can't be told inside of a format"):
            guard.compile(form)


def test_keys_with_delimiters_are_escaped_or_left_out():
    schema = {"type": "object", "properties": {"a<b": {"type": "integer"}}, "additionalProperties": False}
    kimi = guard.compile(formats.json(schema, style="kimi_k3_xml"))
    assert takes(kimi, rendered({"a<b": 1}, "kimi_k3_xml"))
    qwen = guard.compile(formats.json(schema, style="qwen_xml"))
    assert not takes(qwen, "<parameter=a<b>1</parameter>")
    assert [line.pointer for line in qwen.excluded] == ["/format/json_schema/properties/a<b"]
    with pytest.raises(guard.SchemaError, match="can't write the key"):
        guard.compile(formats.json({**schema, "required": ["a<b"]}, style="qwen_xml"))


# ---- cohere's tags in tags -------------------------------------------------------------------------------------------


def cohered(value, key=None):
    """A value as cohere_xml writes it."""
    name = "" if key is None else f' name="{key}"'
    if isinstance(value, dict):
        inner, label = "".join(cohered(one, below) for below, one in value.items()), "dict"
    elif isinstance(value, list):
        inner, label = "".join(map(cohered, value)), "list"
    else:
        inner, label = said(value), "raw" if isinstance(value, str) else "json"
    return f'<cofl:value{name} type="{label}">{inner}</cofl:value>'


NESTED = {
    "type": "object",
    "properties": {
        "words": {"type": "array", "items": {"type": "string", "maxLength": 3}, "minItems": 1, "maxItems": 2},
        "deep": {
            "type": "object",
            "properties": {"n": {"type": "integer"}, "s": {"type": "string"}},
            "required": ["n"],
            "additionalProperties": False,
        },
        "lists": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
    },
    "additionalProperties": False,
}
DEEP = st.fixed_dictionaries(
    {},
    optional={
        "words": st.lists(st.sampled_from(["", "a", "abc", "abcd", "<", "</cofl:value>"]) | st.just(1), max_size=3),
        "deep": st.fixed_dictionaries(
            {}, optional={"n": st.sampled_from([1, -1, 0.5, "1"]), "s": st.sampled_from(["", "x", 1])}
        ),
        "lists": st.lists(st.lists(st.sampled_from([1, 2, "1"]), max_size=2), max_size=2),
    },
)


@settings(max_examples=60)
@given(value=DEEP)
def test_nested_tags_say_the_valid_values(value):
    compiled = _cohere()
    expected = jsonschema_rs.is_valid(NESTED, value) and "</cofl:value>" not in value.get("words", [])
    ordered = {key: value[key] for key in NESTED["properties"] if key in value}
    if "deep" in ordered:
        ordered["deep"] = {key: value["deep"][key] for key in ("n", "s") if key in value["deep"]}
    text = "".join(cohered(one, key) for key, one in ordered.items())
    assert takes(compiled, text) == expected, text


def test_nested_lists_have_as_many_items_as_they_may():
    assert [takes(_cohere(), cohered(["a"] * count, "words")) for count in range(4)] == [False, True, True, False]


@cache
def _cohere():
    return guard.compile(formats.json(NESTED, style="cohere_xml"))


def test_walks_in_nested_tags_come_to_an_end():
    rng = random.Random(0)
    for _ in range(10):
        text = walked(_cohere(), rng, 400)
        assert takes(_cohere(), text)
        assert text.count("<cofl:value") == text.count("</cofl:value>")


def test_recursive_tags_are_refused():
    schema = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    with pytest.raises(guard.SchemaError, match="nest too deeply"):
        guard.compile(formats.json(schema, style="cohere_xml"))

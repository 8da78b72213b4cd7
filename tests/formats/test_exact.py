"""Exact styles: what is let through reads back as a valid value, and a valid value that is written is let through."""

import json
import random

import jsonschema_rs
import numpy as np
import pytest

import guard
from guard import formats
from guard.errors import SchemaError
from guard.kernels.bitmask import allocate_bitmask
from guard.schemas.compiled import single_bytes
from guard.turns import argument_text
from guard.turns.arguments import Arguments
from guard.turns.reading import arguments_of
from guard.turns.trials import value_of
from guard.turns.writing import written

PYTHON = {"null": "None", "true": "True", "false": "False"}
QUOTED = [
    {"begin": "'", "end": "'", "escapes": {"\\": "\\\\", "'": "\\'", "\n": "\\n"}},
    {"begin": '"', "end": '"', "escapes": {"\\": "\\\\", "\n": "\\n"}},
]
MARKED = [{"begin": '<|"|>', "end": '<|"|>'}]
STYLES = {
    "tags": {"members": {"opening": "<p={key}>\n", "closing": "\n</p>\n"}, "words": PYTHON},
    "typed tags": {
        "members": {"opening": '<p name="{key}" type="{label}">', "closing": "</p>"},
        "labels": {name: name for name in ("string", "number", "boolean", "null", "array", "object")},
    },
    "Python": {
        "members": {"opening": "{key}=", "separator": ", "},
        "strings": QUOTED,
        "words": PYTHON,
        "array": {"begin": "[", "separator": ", ", "end": "]"},
        "object": {"begin": "{", "opening": "'{key}': ", "separator": ", ", "end": "}"},
        "nested_strings": QUOTED,
    },
    "nested tags": {
        "members": {"opening": "<{key}>", "closing": "</{key}>"},
        "array": {"opening": "<item>", "closing": "</item>"},
        "object": {"opening": "<{key}>", "closing": "</{key}>"},
    },
    "bare keys": {
        "members": {"opening": "{key}:", "separator": ","},
        "strings": MARKED,
        "array": {"begin": "[", "separator": ",", "end": "]"},
        "object": {"begin": "{", "opening": "{key}:", "separator": ",", "end": "}"},
        "nested_strings": MARKED,
    },
}
SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "code": {"type": "string", "pattern": "^[a-c'\"]{1,3}$"},
        "kind": {"type": "string", "enum": ["it's", "plain"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 40},
        "sure": {"type": "boolean"},
        "none": {"type": ["null", "boolean"]},
        "names": {"type": "array", "items": {"type": "string", "maxLength": 4}, "minItems": 1, "maxItems": 3},
        "many": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
        "place": {
            "type": "object",
            "properties": {"x": {"type": "number"}, "name": {"type": "string", "maxLength": 3}},
            "required": ["x"],
            "additionalProperties": False,
        },
    },
    "required": ["city"],
    "additionalProperties": False,
}


def compiled(name, schema=SCHEMA):
    return guard.compile(formats.tag("(", formats.json(schema, style=STYLES[name]), ")"))


def read(name, text, turn=None):
    return arguments_of((turn or compiled(name)).read(text)[1:-1], STYLES[name])


def read_as_it_is_written(name, text, turn):
    """Read a text character by character; what is told of its arguments only grows, and is JSON in the end."""
    matcher, data, told, parts = turn.matcher(single_bytes()), b"", "", []
    for char in text:
        assert matcher.accept_bytes(char.encode())
        data += char.encode()
        parts = [part for part in turn.parts(matcher, data) if part.pointer.startswith("/format/content")]
        now = argument_text.written(parts, STYLES[name], is_whole=False)
        assert now.startswith(told)
        told = now
    whole = argument_text.written(parts, STYLES[name], is_whole=True)
    assert whole.startswith(told)
    return json.loads(whole)


@pytest.mark.parametrize("name", STYLES)
def test_valid_values_are_let_through_as_they_are_written_and_read_back(name) -> None:
    turn, how, draw, done = compiled(name), Arguments(0, 0, STYLES[name]), random.Random(1), 0
    simple = {
        **SCHEMA,
        "properties": {k: v for k, v in SCHEMA["properties"].items() if k not in ("code", "none", "days")},
    }
    while done < 60:
        value = value_of(draw, simple)
        if not jsonschema_rs.is_valid(SCHEMA, value):
            continue
        try:
            text = written(value, how)
        except ValueError:
            continue
        assert read(name, f"({text})", turn) == value
        assert read_as_it_is_written(name, f"({text})", turn) == value
        done += 1


@pytest.mark.parametrize("name", STYLES)
@pytest.mark.parametrize("seed", range(12))
def test_what_the_masks_let_through_is_valid_and_is_what_is_written(name, seed) -> None:
    turn, vocabulary, draw = compiled(name), single_bytes(), random.Random(seed)
    matcher, text, row = turn.matcher(vocabulary), bytearray(), allocate_bitmask(1, 257)
    while not matcher.can_stop():
        remaining = 1 + matcher.distance() + (0 if len(text) > 200 else 200)
        matcher.fill_bitmask(row, remaining=remaining)
        bits = np.unpackbits(row.view(np.uint8), bitorder="little")[:256]
        # Among letters and what stands in the style, so that strings end some time.
        allowed = [int(byte) for byte in np.flatnonzero(bits) if byte < 128]
        byte = draw.choice(allowed or [int(one) for one in np.flatnonzero(bits)])
        assert matcher.accept(byte)
        text.append(byte)
    value = read(name, text.decode(), turn)
    assert read_as_it_is_written(name, text.decode(), turn) == value
    assert jsonschema_rs.is_valid(SCHEMA, value), (text, value)
    if name == "typed tags":
        return  # JSON inside may be written in several ways
    again = f"({written(value, Arguments(0, 0, STYLES[name]))})"
    assert read(name, again, turn) == value


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("tags", "<p=city>\nUlm\n</p>\n<p=sure>\nTrue\n</p>\n", {"city": "Ulm", "sure": True}),
        ("tags", "<p=city>\n\n</p>\n<p=none>\nNone\n</p>\n", {"city": "", "none": None}),
        ("typed tags", '<p name="city" type="string">3</p>', {"city": "3"}),
        ("Python", "city='it\\'s', names=[\"it's\", '']", {"city": "it's", "names": ["it's", ""]}),
        ("Python", "city='', place={'x': -1.5, 'name': 'a'}", {"city": "", "place": {"x": -1.5, "name": "a"}}),
        ("Python", "city='a', many=[[], [1, 2]]", {"city": "a", "many": [[], [1, 2]]}),
        ("nested tags", "<city></city><place><x>1</x></place>", {"city": "", "place": {"x": 1}}),
        ("nested tags", "<city>a</city><many><item><item>1</item></item></many>", {"city": "a", "many": [[1]]}),
        ("nested tags", "<city>a</city><names><item></item></names>", {"city": "a", "names": [""]}),
        ("bare keys", 'city:<|"|>say "hi"<|"|>,days:3', {"city": 'say "hi"', "days": 3}),
    ],
)
def test_a_text_is_read(name, text, value) -> None:
    assert read(name, f"({text})") == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tags", "<p=city>\nUlm\n</p>\n<p=sure>\ntrue\n</p>\n"),  # not as the style spells it
        ("tags", "<p=city>\nUlm\n</p>\n\n"),
        ("tags", "<p=sure>\nTrue\n</p>\n"),  # a required member is missing
        ("tags", "<p=city>\nUlm\n</p>\n</p>\n"),  # the first end wins, and this would be two
        ("Python", "city='a',days=3"),
        ("Python", "city='a', days=41"),
        ("Python", "city='a', names=[]"),
        ("Python", "city='a', code='d'"),
        ("bare keys", 'city:"Ulm"'),
        ("typed tags", '<p name="city" type="number">3</p>'),
    ],
)
def test_a_text_is_refused(name, text) -> None:
    with pytest.raises(ValueError, match="no such turn"):
        compiled(name).read(f"({text})")


@pytest.mark.parametrize(
    ("style", "schema"),
    [
        ({"members": {"opening": "{key}="}}, SCHEMA),  # raw strings that nothing ends
        (STYLES["Python"], {"type": "object", "properties": {"a": {"type": "string", "pattern": "a(?=b)b"}}}),
        (STYLES["tags"], {"type": "object", "dependentRequired": {"a": ["b"]}}),
        ({"members": {"opening": 3}}, SCHEMA),
        ({"wrong": 1}, SCHEMA),
    ],
)
def test_what_a_style_can_not_keep_is_refused(style, schema) -> None:
    with pytest.raises(SchemaError):
        guard.compile(formats.json(schema, style=style))


def test_what_a_style_can_not_express_is_told() -> None:
    notes = [line.note for line in compiled("bare keys").excluded]
    assert 'left out: strings with <|"|> in them' in notes
    json.dumps(compiled("bare keys").contents)


def test_a_string_comes_while_it_is_written() -> None:
    turn, told = compiled("tags"), []
    matcher, data = turn.matcher(single_bytes()), b""
    for piece in ("(<p=city>", "\nU", "lm <", "\n</", "p", ">\n"):
        assert matcher.accept_bytes(piece.encode())
        data += piece.encode()
        parts = [part for part in turn.parts(matcher, data) if part.pointer.startswith("/format/content")]
        told.append(argument_text.written(parts, STYLES["tags"], is_whole=False))
    assert told == ["{", *['{"city": "U', '{"city": "Ulm <', '{"city": "Ulm <', '{"city": "Ulm <', '{"city": "Ulm <']]


@pytest.mark.parametrize("name", ["nested tags", "tags", "Python"])
def test_a_value_of_several_types_comes_as_what_it_is(name) -> None:
    either = {"anyOf": [{"type": ["string", "null", "boolean", "integer"]}, SCHEMA["properties"]["names"]]}
    schema = {"type": "object", "properties": {"a": either}, "required": ["a"], "additionalProperties": False}
    turn, done = compiled(name, schema), 0
    for value in (
        "",
        "n",
        "nul",
        "Nonesuch",
        "true",
        "t",
        " ",
        "<",
        "3 days",
        "ulm",
        None,
        True,
        31,
        ["a", "<i"],
        [""],
    ):
        try:
            text = f"({written({'a': value}, Arguments(0, 0, STYLES[name]))})"
            meant = read(name, text, turn)
        except ValueError:
            continue  # what the style can't tell apart
        assert read_as_it_is_written(name, text, turn) == meant
        done += meant == {"a": value}
    assert done > 8


def test_a_bare_object_goes_on_behind_an_array_in_it() -> None:
    style = {**STYLES["nested tags"], "array": {"begin": "[", "separator": ",", "end": "]"}}
    inner = {
        "type": "object",
        "properties": {"y": {"type": "array", "items": {"type": "integer"}}, "x": {"type": "integer"}},
    }
    schema = {"type": "object", "properties": {"a": {**inner, "required": ["y", "x"]}}, "required": ["a"]}
    turn = guard.compile(formats.tag("(", formats.json(schema, style=style), ")"))
    parts = turn.read("(<a><y>[1,2]</y><x>3</x></a>)")[1:-1]
    assert arguments_of(parts, style) == {"a": {"y": [1, 2], "x": 3}}

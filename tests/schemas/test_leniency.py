"""What is taken although the standard writes it otherwise, and refusals that say what to write."""

import json
from typing import Any

import pytest
from typed.adversary import accepts

import guard
from guard.output import target as targets
from guard.schemas import leniency

DRAFT_4 = "http://json-schema.org/draft-04/schema#"
DRAFT_7 = "http://json-schema.org/draft-07/schema#"
GENERICS = {
    "$schema": DRAFT_7,
    "definitions": {"Record<string,any>": {"type": "string"}, 'A|B"': {"type": "null"}},
    "properties": {"a": {"$ref": "#/definitions/Record<string,any>"}, "b": {"$ref": '#/definitions/A|B"'}},
}


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"pattern": r"\Aab\Z"}, ["ab"], ["ab\n", "xab", "A"]),
        ({"pattern": r"\Aab\z"}, ["ab"], ["ab\n", "xab"]),
        ({"pattern": r"(?i)^abc$"}, ["aBc"], ["abcd"]),
        ({"pattern": r"(?iu)^[à-ü]$"}, ["É"], ["E"]),
        ({"pattern": r"^(?P<year>\d)$"}, ["1"], ["a"]),
        (
            {"patternProperties": {r"\Aab\Z": {"type": "integer"}}, "additionalProperties": False},
            [{"ab": 1}],
            [{"x": 1}],
        ),
        ({"$schema": DRAFT_4, "type": "object", "required": []}, [{}], [1]),
        (
            {"$schema": DRAFT_4, "type": "object", "properties": {"a": {"required": [], "type": "null"}}},
            [{}],
            [{"a": 1}],
        ),
        ({"$schema": DRAFT_4, "enum": [{"required": []}]}, [{"required": []}], [{}]),
        (GENERICS, [{"a": "x", "b": None}], [{"a": 1}, {"b": 1}]),
        ({"$schema": DRAFT_7, "definitions": {"P<Ü>": {"type": "string"}}, "$ref": "#/definitions/P<Ü>"}, ["x"], [1]),
    ],
)
def test_what_has_one_meaning_is_taken_by_the_masks_and_by_the_judge(
    schema: Any, good: list[Any], bad: list[Any]
) -> None:
    target = targets.from_any(schema, {})
    for value in [*good, *bad]:
        text = json.dumps(value, ensure_ascii=False)
        assert accepts(target.compiled, text) == (value in good), text
        assert (not target.check(text)[1]) == (value in good), text


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"$schema": "http://json-schema-org/draft-07/schema#"}, 'write "http://json-schema.org/draft-07/schema#"'),
        ({"$schema": "http://json-schema.org/draft-7/schema"}, 'write "http://json-schema.org/draft-07/schema#"'),
        ({"$schema": "draft-04"}, 'write "http://json-schema.org/draft-04/schema#"'),
        ({"$schema": "https://json-schema.org/draft/2020-12"}, 'write "https://json-schema.org/draft/2020-12/schema"'),
        ({"$schema": "https://json-schema.org/2019-09/schema"}, 'write "https://json-schema.org/draft/2019-09/schema"'),
        ({"$schema": "https://example.com/mine"}, "; leave it out and name the draft with draft="),
        ({"items": [{"type": "integer"}]}, "write prefixItems, or name a draft in which items may be a list"),
        ({"minimum": 1, "exclusiveMinimum": True}, 'draft="draft4"'),
        ({"$schema": DRAFT_4, "minimum": 0, "exclusiveMinimum": 1}, 'draft="draft7"'),
        ({"properties": {"a": {"required": True}}}, '"required": ["name"]'),
        ({"type": "str"}, 'write "string"'),
        ({"type": ["int", "null"]}, 'write "integer"'),
        ({"type": "strnig"}, 'write "string"'),
        ({"pattern": "a(?i)b"}, "flags in the middle, (?i), where only (?i:...) may stand"),
        ({"pattern": "(?x)a b"}, "flags that ECMA-262 does not have, (?x)"),
        ({"pattern": "(?>a)"}, "a group of Python's or Perl's"),
    ],
)
def test_a_refusal_says_what_to_write(schema: Any, words: str) -> None:
    with pytest.raises(guard.SchemaError) as error:
        guard.compile(schema)
    assert words in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_list_of_items_is_taken_in_the_draft_that_the_refusal_names() -> None:
    assert guard.compile({"items": [{"type": "integer"}]}, draft="draft7").draft == "draft7"


def test_what_is_written_as_the_standard_has_it_stays_the_same_object() -> None:
    schema = {"required": ["a"], "$ref": "#/definitions/A%3CB%3E", "enum": [{"required": []}]}
    assert leniency.as_standard(schema, wants_names=False) is schema


@pytest.mark.parametrize("draft", ["draft4", "draft2020-12"])
def test_half_of_a_surrogate_pair_in_a_reference_is_refused(draft: str) -> None:
    """No UTF-8 has it: percent-encoding it raised UnicodeEncodeError, which no caller expects of a schema."""
    with pytest.raises(guard.SchemaError):
        targets.from_any('{"foo": {"$ref": "#/\\ud800"}}', {"draft": draft})

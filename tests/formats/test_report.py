"""What is said of a format: findings where their words were written, what its report lists, what is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import guard
from guard import formats
from guard.kernels.bitmask import allocate_bitmask
from guard.output.schema_report import inspect

NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
WRONG = {"type": "integer", "minimum": "x"}
TAG = formats.tag("<a>", formats.json(WRONG), "</a>")
STRUCTURE = {"begin": "<a>", "schema": WRONG, "end": "</a>"}


#: As OpenAI has it, which is a format by its type: masks let any value through.
RESPONSE_FORMAT = {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": {"type": "object"}}}


def findings(wanted):
    with pytest.raises(guard.SchemaError) as caught:
        guard.compile(wanted)
    return [one.pointer for one in caught.value.findings]


@pytest.mark.parametrize(
    ("wanted", "pointer"),
    [
        ({"json": WRONG}, "/json/minimum"),
        ({"json": json.dumps(WRONG)}, "/json/minimum"),
        ({"regex": "("}, "/regex"),
        ({"grammar": "root ::= x"}, "/grammar"),
        ({"choice": ["a", 3]}, "/choice/1"),
        ({"structural_tag": TAG}, "/structural_tag/format/content/json_schema/minimum"),
        ({"structural_tag": json.dumps(TAG)}, "/structural_tag/format/content/json_schema/minimum"),
        ({"structures": [STRUCTURE], "triggers": ["<a"]}, "/structures/0/schema/minimum"),
        ({"structures": [{**STRUCTURE, "schema": {}}], "triggers": ["b"]}, "/structures/0/begin"),
        ({"structures": [STRUCTURE], "triggers": [5]}, "/triggers/0"),
        (
            {"structural_tag": {"structures": [STRUCTURE], "triggers": ["<"]}},
            "/structural_tag/structures/0/schema/minimum",
        ),
        (TAG, "/format/content/json_schema/minimum"),
    ],
)
def test_findings_lead_to_what_was_written(wanted, pointer):
    assert findings(wanted) == [pointer]


@pytest.mark.parametrize(
    ("wanted", "pointer"),
    [
        ({"type": "structural_tag", "format": formats.const("a"), "strict": True}, "/strict"),
        ({"type": "structural_tag", "format": formats.const("a"), "structures": [], "triggers": []}, "/format"),
        ({"structures": [{**STRUCTURE, "schema": {}, "stop": 1}], "triggers": ["<"]}, "/structures/0/stop"),
        ({"structures": [{**STRUCTURE, "schema": {}}], "triggers": ["<"], "a/b": 1}, "/a~1b"),
        ({"regex": "a", "whitespace_pattern": " "}, "/whitespace_pattern"),
        ({"regex": "a", "choice": ["a"]}, "/choice"),
        (formats.json({"type": ["string", "null"]}, style="text"), "/format/json_schema"),
        (formats.union(formats.json(NUMBER), formats.json(NUMBER, any_order=True)), "/format"),
        (formats.sequence(formats.json({"type": "number"}), formats.const("e")), "/format"),
        (formats.union(formats.json({"enum": ["ab"]}), formats.const('"')), "/format"),
        (formats.union(formats.sequence(formats.const("a"), formats.json(str)), formats.const('a"b')), "/format"),
        ({"regex": "a", "disable_any_whitespace": True}, "/disable_any_whitespace"),
        (RESPONSE_FORMAT, "/format/json_schema"),
        ({"json": RESPONSE_FORMAT["json_schema"]}, "/json"),
        (formats.tag("<a>", formats.json({"name": "a", "schema": NUMBER}), "</a>"), "/format/content/json_schema"),
    ],
)
def test_a_field_that_would_be_ignored_is_refused_by_name(wanted, pointer):
    assert findings(wanted) == [pointer]


def test_a_field_that_asks_for_nothing_is_none():
    guard.compile({"regex": "a", "whitespace_pattern": None, "disable_fallback": True}).read("a")


@pytest.mark.parametrize(
    ("wanted", "pointer"),
    [
        (formats.json({"enum": []}), "/format/json_schema"),
        (formats.sequence(formats.json({}), formats.const(";"), formats.json(False)), "/format/elements/2/json_schema"),
        (formats.tag("<", formats.json({"type": "integer", "enum": ["a"]}), ">"), "/format/content/json_schema"),
        ({"json": {"type": "string", "pattern": "^a", "enum": ["b"]}}, "/json"),
        (formats.tag("<", formats.json({"type": "string", "enum": [">"]}, style="text"), ">"), "/format"),
        (formats.regex("a^b"), "/format"),
        (formats.json({"required": ["a"], "properties": {"a": False}}, style="qwen_xml"), "/format/json_schema"),
        (formats.json({"type": "array", "items": False, "minItems": 1}), "/format/json_schema"),
    ],
)
def test_what_nothing_can_meet_is_refused(wanted, pointer):
    with pytest.raises(guard.SchemaError, match="nothing can meet it") as caught:
        guard.compile(wanted)
    assert [one.pointer for one in caught.value.findings] == [pointer]


def test_an_alternative_that_nothing_meets_is_no_matter():
    compiled = guard.compile(formats.union(formats.json({"enum": []}), formats.const("b")))
    assert compiled.read("b")
    with pytest.raises(ValueError, match="no such turn"):
        compiled.read("1")


TEXTS = st.text(st.sampled_from('</a>"\\{}x:, '), max_size=12)


@given(TEXTS, TEXTS)
def test_closing_text_inside_of_a_value_ends_nothing(first, second):
    """The reader knows where a value ends, so that what stands in a string closes no tag, and is read back."""
    compiled = guard.compile(
        formats.triggered_tags(["<a>"], [formats.tag("<a>", formats.json({"type": "array"}), "</a>")])
    )
    said = [json.dumps([text], ensure_ascii=False) for text in (first, second)]
    parts = compiled.read(f"<a>{said[0]}</a> and <a>{said[1]}</a>.")
    assert [part.value for part in parts if part.kind == "value"] == [[first], [second]]


def test_closing_text_that_a_value_may_hold_is_noted():
    held = guard.compile(formats.tag("<a>", formats.json(NUMBER), ["</a>", "\n</a>"]))
    assert [line.note for line in held.report if line.keyword == "tag"] == [
        "a string in its JSON may hold '</a>', which ends no value where it stands in one"
    ]
    assert not held.excluded
    never = guard.compile(formats.tag("<a>", formats.json(NUMBER), '"</a>'))
    assert [line.note for line in never.report if line.keyword == "tag"] == [""]


def test_a_report_lists_formats_keywords_and_what_is_left_out():
    turn = formats.sequence(
        formats.tag("<a>", formats.json({"type": "string", "maxLength": 3}, style="text"), "</a>"),
        formats.json(NUMBER, style="qwen_xml"),
    )
    lines = {(line.pointer, line.keyword): line.status for line in guard.compile(turn).report}
    first, second = "/format/elements/0", "/format/elements/1"
    assert lines["/format", "sequence"] == lines[first, "tag"] == lines[f"{first}/content", "json_schema"] == "enforced"
    assert lines[f"{first}/content/json_schema/maxLength", "maxLength"] == "enforced"
    assert lines[f"{second}/json_schema/properties/n/type", "type"] == "enforced"
    assert lines[f"{first}/content/json_schema", "style"] == "excluded"


def test_a_bare_string_ends_with_the_first_end():
    for schema, text, is_read in (
        ({"type": "string"}, "a</a>", True),
        ({"type": "string"}, "</a></a>", False),
        ({"type": "string", "maxLength": 1}, "é</a>", True),
        ({"type": "string", "maxLength": 1}, "éa</a>", False),
        ({"enum": ["x", "</a>", "<"]}, "<</a>", True),
        ({"enum": ["x", "</a>"]}, "y</a>", False),
    ):
        compiled = guard.compile(formats.tag("<a>", formats.json(schema, style="text"), "</a>"))
        matcher = compiled.matcher(guard.schemas.compiled.single_bytes())
        assert (matcher.accept_bytes(f"<a>{text}".encode()) and matcher.can_stop()) == is_read, (schema, text)


def test_a_named_token_is_there_where_only_its_budget_is_left():
    """The dead end that the engine looks for is one of named tokens, too."""
    vocabulary = guard.Vocabulary.from_bytes([*(bytes([b]) for b in range(256)), b"", b""], eos=[256], special=[257])
    matcher = guard.compile(formats.tag("<", formats.any_text(), formats.token(257))).matcher(vocabulary)
    row = allocate_bitmask(1, vocabulary.size)
    assert matcher.accept_bytes(b"<abc")
    for fill in (matcher.fill_bitmask, matcher.fill_bitmask_by_bytes):
        fill(row, remaining=2)
        assert [word for word in row[0].tolist() if word] == [1 << (257 % 32)]


def test_how_far_a_long_turn_goes_is_found_in_one_reading():
    compiled = guard.compile(formats.sequence(formats.repeat(formats.const("ab"), 0), formats.const("!")))
    with pytest.raises(ValueError, match=r"\(byte 60,002\)"):
        compiled.read("ab" * 30_001 + "b" * 50_000)
    with pytest.raises(ValueError, match="ends too soon"):
        compiled.read("ab" * 30_001)


def inspected(wanted, **options):
    return inspect(wanted, options, 0.5, lambda *_: None)


def test_an_inspection_says_what_becomes_of_a_format():
    turn = {"structural_tag": formats.tag(formats.token("<|a|>"), formats.json({**NUMBER, "x-y": 1}), "</a>")}
    found = inspected(turn)
    assert (found.verdict, found.satisfiable, found.troubles) == ("enforced", True, ())
    assert found.counts()["enforced"] == 7
    assert found.unknown_keywords == ("/format/content/json_schema/x-y",)
    assert found.walk is not None
    assert found.walk.texts > 0
    assert found.exploration is not None
    assert found.exploration.complete
    assert found.as_dict()["report"][0]["pointer"] == "/format"
    refused = inspected({"json": {"type": "array", "contains": {"$dynamicRef": "#x"}}})
    assert (refused.verdict, bool(refused.troubles)) == ("refused", True)
    assert refused.troubles[0].pointer.startswith("/json")
    assert [one.pointer for one in inspected({"json": {"enum": []}}).troubles] == ["/json"]

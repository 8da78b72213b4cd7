"""Wrong formats end in findings that lead to the place; hostile ones in bounded time and memory."""

import contextlib
import json
import resource

import clock
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import guard
from guard import formats

TEXT = formats.const("a")
TAG = formats.tag("<a>", TEXT, "</a>")
A_TOKEN = "expected a token's name or its id"


def findings(given):
    """What is wrong with a format, as pointers and messages."""
    with pytest.raises(guard.SchemaError) as caught:
        guard.compile(given)
    assert all("\n" not in str(one) and len(str(one)) < 300 for one in caught.value.findings)
    return [(one.pointer, one.message) for one in caught.value.findings]


def form(kind, **fields):
    return {"type": kind, **fields}


WRONG = [
    (form("const_string", value=5), "/format/value", "expected a text, found 5"),
    (form("const_string"), "/format/value", "missing"),
    (form("tag", begin=5, content=TEXT, end=">"), "/format/begin", 'expected a text or {"token": …}, found 5'),
    (form("tag", begin={}, content=TEXT, end=">"), "/format/begin/token", "missing"),
    (form("tag", begin={"token": 1.5}, content=TEXT, end=">"), "/format/begin/token", f"{A_TOKEN}, found 1.5"),
    (form("tag", begin="<", content=TEXT, end=[]), "/format/end", "expected at least one, found 0 elements"),
    (form("tag", begin="<", content=TEXT, end=["a", 4]), "/format/end/1", "expected a text, found 4"),
    (
        form("tag", begin="<", content=TEXT, end=None),
        "/format/end",
        'expected a text, a list of texts or {"token": …}, found null',
    ),
    (form("tag", begin="<", content=TEXT), "/format/end", "missing"),
    (form("tag", begin="<", content=5, end=">"), "/format/content", "expected a format, found 5"),
    (form("tag", begin="<", content={}, end=">"), "/format/content/type", "missing"),
    (form("optional", content=form("text")), "/format/content/type", 'no type of a format: "text"'),
    (form("optional", content=form(["text"])), "/format/content/type", 'no type of a format: ["text"]'),
    (form("grammar", grammar=5), "/format/grammar", "expected a text, found 5"),
    (form("grammar", grammar="x", grammer=5), "/format/grammer", "no field of this format"),
    (form("token", token=None), "/format/token", f"{A_TOKEN}, found null"),
    (form("token", token=True), "/format/token", f"{A_TOKEN}, found true"),
    (form("token", token=-1), "/format/token", "expected at least 0, found -1"),
    (form("token"), "/format/token", "missing"),
    (form("regex", pattern=None), "/format/pattern", "expected a text, found null"),
    (form("json_schema", json_schema="x"), "/format/json_schema", 'expected a JSON Schema, found "x"'),
    (form("json_schema", json_schema={}, any_order=1), "/format/any_order", "expected true or false, found 1"),
    (
        form("json_schema", json_schema={}, max_whitespace_cnt=-1),
        "/format/max_whitespace_cnt",
        "expected at least 0, found -1",
    ),
    (form("sequence", elements={}), "/format/elements", "expected a list, found an object"),
    (form("sequence", elements=[TEXT, 5]), "/format/elements/1", "expected a format, found 5"),
    (form("or", elements=[]), "/format/elements", "expected at least one, found 0 elements"),
    (form("triggered_tags", triggers=[], tags=[TAG]), "/format/triggers", "expected at least one, found 0 elements"),
    (
        form("triggered_tags", triggers=[""], tags=[TAG]),
        "/format/triggers/0",
        'expected a text that is not empty, found ""',
    ),
    (form("triggered_tags", triggers=["<"], tags=[{**TAG, "tag": 1}]), "/format/tags/0/tag", "no field of this format"),
    (
        form("triggered_tags", triggers=["<"], tags=[TAG, {**TAG, "content": {"type": "regex"}}]),
        "/format/tags/1/content/pattern",
        "missing",
    ),
    (
        form("triggered_tags", triggers=["["], tags=[TAG]),
        "/format/tags/0/begin",
        '"<a>" begins with none of the triggers',
    ),
    (
        form("triggered_tags", triggers=["<"], tags=[{**TAG, "begin": {"token": "x"}}]),
        "/format/tags/0/begin",
        "a text triggers these tags, and no token",
    ),
    (form("repeat", min=0, max=2**31, content=TEXT), "/format/max", "expected at most 2147483647, found 2147483648"),
    (form("repeat", min=0.5, max=2, content=TEXT), "/format/min", "expected an integer, found 0.5"),
    (form("repeat", min=3, max=1, content=TEXT), "/format", "min=3 is more than max=1"),
    (form("dispatch", rules=[["a", TEXT, TEXT]]), "/format/rules/0", "expected a pair, found 3 elements"),
    (form("dispatch", rules=["ab"]), "/format/rules/0", 'expected a pair, found "ab"'),
    (form("dispatch", rules=[["", TEXT]]), "/format/rules/0/0", 'expected a text that is not empty, found ""'),
    (form("dispatch", rules=[["a", 5]]), "/format/rules/0/1", "expected a format, found 5"),
    (form("token_dispatch", rules=[[None, TEXT]]), "/format/rules/0/0", f"{A_TOKEN}, found null"),
    (
        form("token_triggered_tags", trigger_tokens=[1.5], tags=[TAG]),
        "/format/trigger_tokens/0",
        f"{A_TOKEN}, found 1.5",
    ),
    (form("any_text", excludes=[""]), "/format/excludes/0", 'expected a text that is not empty, found ""'),
    (form("any_text", excludes="a"), "/format/excludes", 'expected a list, found "a"'),
    ({"type": "structural_tag", "format": 5}, "/format", "expected a format, found 5"),
    ({"type": "structural_tag", "structures": 5, "triggers": ["x"]}, "/structures", "expected a list of at least one"),
    ({"structures": [5], "triggers": ["x"]}, "/structures/0", "expected an object"),
    ({"structures": [{"begin": "x"}], "triggers": ["x"]}, "/structures/0/end", "missing"),
    ({"structures": [{"begin": "x", "end": 1}], "triggers": ["x"]}, "/structures/0/end", "expected a text"),
    ({"structures": [{"begin": "x", "end": ""}], "triggers": 5}, "/triggers", "expected a list of at least one"),
    ({"choice": 5}, "/choice", "expected a list of at least one"),
    ({"choice": ["a", 5]}, "/choice/1", "expected a text"),
    ({"regex": 5}, "/regex", "expected a text"),
    ({"grammar": []}, "/grammar", "expected a text"),
]


@pytest.mark.parametrize(("given", "pointer", "message"), WRONG)
def test_a_wrong_field_is_one_finding_at_its_place(given, pointer, message):
    assert findings(given) == [(pointer, message)]


def test_a_style_that_is_none_lists_those_that_are():
    ((pointer, message),) = findings(form("json_schema", json_schema={}, style="yaml"))
    assert pointer == "/format/style"
    assert "'qwen_xml'" in message
    assert 'found "yaml"' in message


def test_constraints_may_come_as_json_text():
    compiled = guard.compile({"structural_tag": json.dumps({"type": "structural_tag", "format": TAG})})
    assert compiled.read("<a>a</a>")
    assert guard.compile({"json": '{"type": "integer"}', "backend": "auto"}).read("12")


# ---- properties ------------------------------------------------------------------------------------------------------

RIGHT = st.recursive(
    st.sampled_from(
        [
            *(TEXT, TAG, formats.any_text(excludes=["x"], max_chars=3), formats.regex("a+"), formats.token("x")),
            *(formats.json({"type": "object"}), formats.json({}, style="glm_xml"), formats.grammar('root ::= "a"')),
            formats.triggered_tags(["<"], [TAG]),
            formats.tags_with_separator([TAG], ","),
        ]
    ),
    lambda below: st.one_of(
        st.lists(below, min_size=1, max_size=3).map(lambda parts: formats.sequence(*parts)),
        st.lists(below, min_size=1, max_size=3).map(lambda parts: formats.union(*parts)),
        below.map(formats.optional),
        below.map(lambda part: formats.tag("<b>", part, ["</b>", "</c>"])),
        below.map(lambda part: formats.dispatch([("<d>", part)])),
        below.map(lambda part: formats.triggered_tags(["<e"], [formats.tag("<e>", part, "</e>")])),
    ),
    max_leaves=6,
)


def places(value, pointer="/format"):
    """The places of a format, outside of its schemas."""
    yield pointer, value
    if isinstance(value, dict):
        for key, below in value.items():
            if key != "json_schema":
                yield from places(below, f"{pointer}/{key}")
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from places(below, f"{pointer}/{number}")


def replaced(value, pointer, new, at="/format"):
    """The format with something else at a place."""
    if at == pointer:
        return new
    if isinstance(value, dict):
        return {key: replaced(below, pointer, new, f"{at}/{key}") for key, below in value.items()}
    if isinstance(value, list):
        return [replaced(below, pointer, new, f"{at}/{number}") for number, below in enumerate(value)]
    return value


@settings(max_examples=300)
@given(right=RIGHT, data=st.data())
def test_the_pointer_of_what_is_wrong_leads_to_it(right, data):
    pointer = data.draw(st.sampled_from(sorted(dict(places(right)))))
    wrong = replaced(right, pointer, 0.5)  # a number of this kind is right nowhere
    if pointer.endswith("/style"):
        wrong = replaced(right, pointer, "x")
    found = findings({"type": "structural_tag", "format": wrong})
    assert [at for at, _ in found] == [pointer], found


@settings(max_examples=200)
@given(right=RIGHT, data=st.data())
def test_a_field_too_many_and_one_too_few_are_named(right, data):
    objects = [(pointer, value) for pointer, value in places(right) if isinstance(value, dict) and "type" in value]
    pointer, value = data.draw(st.sampled_from(objects))
    assert findings({"type": "structural_tag", "format": replaced(right, pointer, {**value, "x/y": 1})}) == [
        (f"{pointer}/x~1y", "no field of this format")
    ]
    lacking = {key: below for key, below in value.items() if key != "type"}
    if not pointer.rpartition("/")[0].endswith("/tags"):
        assert (f"{pointer}/type", "missing") in findings(
            {"type": "structural_tag", "format": replaced(right, pointer, lacking)}
        )


@settings(max_examples=300)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
        lambda below: (
            st.lists(below, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "type",
                        "format",
                        "elements",
                        "tags",
                        "triggers",
                        "begin",
                        "end",
                        "content",
                        "rules",
                        "token",
                        "value",
                    ]
                ),
                below
                | st.sampled_from(
                    ["tag", "or", "sequence", "token", "dispatch", "triggered_tags", "structural_tag", "star"]
                ),
                max_size=5,
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_at_all_is_a_format_or_a_schema_error(anything):
    with contextlib.suppress(guard.SchemaError):
        guard.compile({"type": "structural_tag", "format": anything})


# ---- hostile ones ----------------------------------------------------------------------------------------------------


def nested(wrap, times, inner=TEXT):
    for _ in range(times):
        inner = wrap(inner)
    return inner


HOSTILE = {
    "nested 10,000 times": lambda: nested(formats.optional, 10_000),
    "nested 101 times": lambda: nested(formats.optional, 101),
    "dispatches in dispatches": lambda: nested(lambda inner: formats.dispatch([("<", inner)]), 300),
    "a million elements": lambda: formats.sequence(*[TEXT] * 1_000_000),
    "100,000 alternatives": lambda: formats.union(*[formats.const(f"a{n}") for n in range(100_000)]),
    "repeated 2^31 - 1 times": lambda: formats.repeat(TEXT, 0, 2**31 - 1),
    "at least 2^31 - 1 times": lambda: formats.repeat(TEXT, 2**31 - 1),
    "repeated repetitions": lambda: formats.repeat(formats.repeat(TEXT, 0, 1000), 0, 1000),
    "repetitions of much": lambda: formats.repeat(formats.const("a" * 10_000), 0, 50_000),
    "repetitions of alternatives": lambda: formats.repeat(formats.choice(f"a{n}" for n in range(1000)), 0, 99_000),
    "a tower of alternatives": lambda: nested(lambda x: formats.union(x, formats.sequence(x, TEXT)), 24),
    "1,000 triggers": lambda: formats.dispatch([(f"<t{n}>", TEXT) for n in range(1000)]),
    "a text of ten million characters": lambda: formats.const("ab" * 5_000_000),
    "a pattern with 20,000 groups": lambda: formats.regex("(" * 20_000 + "a" + ")" * 20_000),
    "a grammar that doubles": lambda: formats.grammar(
        "\n".join(f"r{n} ::= r{n + 1} r{n + 1}" for n in range(90)).replace("r0 ", "root ", 1) + '\nr90 ::= "a"'
    ),
}
LARGE = {
    "nested 99 times": lambda: nested(formats.optional, 99),
    "tags 90 deep": lambda: nested(lambda inner: formats.tag("<a>", inner, "</a>"), 90),
    "stars of stars": lambda: nested(formats.star, 90),
    "10,000 elements": lambda: formats.sequence(*[TEXT] * 10_000),
    "10,000 alternatives": lambda: formats.choice(f"a{n}" for n in range(10_000)),
    "10,000 exclusions": lambda: formats.any_text(excludes=[f"x{n}" for n in range(10_000)]),
    "a million characters": lambda: formats.tag("<", formats.any_text(max_chars=1_000_000), ">"),
    "nested counts": lambda: formats.regex("((a{1000}){1000}){1000}"),
    "a pattern with many ways": lambda: formats.regex("(a|aa|aaa)*b{1,50000}"),
    "a pattern of 2^30 states": lambda: formats.regex("(.|\n)*a.{30}"),
    "triggers in triggers": lambda: formats.triggered_tags(
        ["a" * n for n in range(1, 100)], [formats.tag("a" * 100, formats.any_text(), "b")]
    ),
    "2,000 values": lambda: formats.union(
        *[formats.tag(f"<{n}>", formats.json({"type": "object"}), "</>") for n in range(2000)]
    ),
    "200 free texts in a row": lambda: formats.sequence(*[formats.any_text(max_chars=100)] * 200),
}


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_format_is_refused_in_bounded_time_and_memory(name):
    hostile = HOSTILE[name]()
    before = peak()
    with clock.working() as work:
        found = findings(hostile)
    assert len(found) == 1
    assert work.seconds < 5.0
    assert peak() - before < 600


@pytest.mark.parametrize("name", LARGE)
def test_a_large_format_compiles_and_reads_in_bounded_time_or_is_refused(name):
    large = LARGE[name]()
    with clock.working() as work, contextlib.suppress(ValueError, guard.SchemaError):
        guard.compile(large).read("aaab" * 20)
    assert work.seconds < 12.0  # `seconds` of guard.Limits, and what comes before

"""Long repetitions as circles of copies: what they show holds of the repetition that is written out."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import byte_vocabulary

import guard
from guard import formats
from guard.kernels.errors import SchemaError
from guard.schemas.compiled import Options
from guard.schemas.structural.compiled_format import _front, _is_told_apart, _made, _Places
from guard.schemas.structural.forms import checked
from guard.schemas.structural.nets import Builder
from guard.schemas.structural.spellings import as_tag

OPTIONS = Options()
VALUES = [{"const": 1}, {"type": "string"}, {"enum": [[], {}]}, {"type": "integer"}, {"const": "a"}]
A_VALUE = formats.json({"const": 1})

leaves = st.one_of(
    st.text("ab", min_size=1, max_size=3).map(formats.const),
    st.sampled_from(['"', "1"]).map(formats.const),
    st.sampled_from(["a*", "a+b", "(ab)*", "b?a", "[ab]", "(aa|aaa)+"]).map(formats.regex),
    st.sampled_from(VALUES).map(formats.json),
)
parts = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda some: formats.sequence(*some)),
        st.lists(inner, min_size=1, max_size=3).map(lambda some: formats.union(*some)),
        st.tuples(inner, st.integers(1, 6)).map(lambda one: formats.repeat(one[0], 0, one[1])),
    ),
    max_leaves=6,
)


def tag_of(form: Any) -> dict[str, Any]:
    return {"type": "structural_tag", "format": checked(as_tag(form)["format"], OPTIONS.limits)}


def is_told_apart_written_out(tag: dict[str, Any]) -> bool:
    net = Builder(OPTIONS).build(tag)
    try:
        _made(net, _front(net, OPTIONS), _Places(tag), is_checked=True).start()
    except SchemaError:
        return False
    return True


@settings(max_examples=300)
@given(before=st.sampled_from(["", "a", "b"]), part=parts, most=st.integers(5, 9), behind=st.none() | parts)
def test_what_a_circle_shows_holds_of_the_repetition(before: str, part: Any, most: int, behind: Any) -> None:
    all_parts = [formats.const(before)] if before else []
    all_parts += [formats.repeat(part, 0, most), *([] if behind is None else [behind])]
    try:
        tag = tag_of(formats.sequence(*all_parts))
    except SchemaError:
        return
    if _is_told_apart(tag, OPTIONS):
        assert is_told_apart_written_out(tag)


def repeated(*choices: Any) -> dict[str, Any]:
    return tag_of(formats.repeat(formats.union(*choices), 0, 8))


def test_copies_that_are_no_neighbours_are_told_from_each_other() -> None:
    """`aaa1` is one copy, or the third: no text is of two copies that are neighbours, when its value begins."""
    one, three = (formats.sequence(formats.const(text), A_VALUE) for text in ("a", "aaa"))
    tag = repeated(formats.const("a"), one, three)
    assert not is_told_apart_written_out(tag)
    assert not _is_told_apart(tag, OPTIONS)


def test_a_part_that_may_be_empty_is_told_by_no_circle() -> None:
    assert not _is_told_apart(repeated(formats.const("a"), formats.regex("b*")), OPTIONS)


def test_a_circle_shows_what_most_formats_need() -> None:
    """A mark begins each copy, also of those without a value."""
    with_value = formats.sequence(formats.const("<a>"), A_VALUE, formats.const("</a>"))
    assert _is_told_apart(repeated(with_value, formats.const("<b></b>")), OPTIONS)
    assert not _is_told_apart(tag_of(formats.repeat(with_value, 0, 3)), OPTIONS), "there is no long repetition"
    assert not _is_told_apart(tag_of(formats.repeat(with_value, 1, 8)), OPTIONS), "none that may be left out"


@pytest.mark.parametrize("separator", ["\n", "</call>\n<call>"])
def test_many_tags_many_times_compile(separator: str) -> None:
    """All copies were read to their ends, 20,000 states at most: twenty tools and 32 calls were refused."""
    tags = [
        formats.tag(f'{{"name": "tool_{number}", "arguments": ', formats.json({"type": "object"}), "}")
        for number in range(60)
    ]
    again = formats.sequence(formats.const(separator), formats.union(*tags))
    form = formats.sequence(formats.union(*tags), formats.repeat(again, 0, 31), formats.const("</call>"))
    compiled = guard.compile(form)
    call = '{"name": "tool_7", "arguments": {}}'
    for calls, is_taken in ((32, True), (33, False)):
        text = separator.join([call] * calls) + "</call>"
        matcher = compiled.matcher(byte_vocabulary())
        assert (matcher.accept_bytes(text.encode()) and matcher.can_stop()) == is_taken

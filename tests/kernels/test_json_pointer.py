"""JSON Pointers: a path comes back as it was, and the examples of RFC 6901."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from guard.kernels.json_pointer import escaped, pointer, steps, unescaped


@given(path=st.lists(st.text()))
def test_a_path_comes_back_from_its_pointer(path: list[str]) -> None:
    assert steps(pointer(path)) == path


@given(key=st.text(alphabet="~/01a"))
def test_a_key_comes_back_and_holds_no_slash_while_it_is_escaped(key: str) -> None:
    assert "/" not in escaped(key)
    assert unescaped(escaped(key)) == key


def test_the_examples_of_the_standard() -> None:
    assert [pointer(path) for path in ([], ["foo"], ["foo", 0], [""], ["a/b"], ["m~n"])] == [
        *("", "/foo", "/foo/0", "/", "/a~1b", "/m~0n")
    ]
    assert unescaped("~01") == "~1"

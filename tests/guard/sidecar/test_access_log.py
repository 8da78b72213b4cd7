"""The access log: each line is JSON of printable ASCII, whatever a client chose as its path."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from guard.sidecar.access_log import _written

VALUES = st.none() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
LINES = st.dictionaries(st.sampled_from(["time", "path", "ms", "usd", "call"]), VALUES | st.lists(VALUES, max_size=3))


@given(LINES)
def test_a_line_is_json_of_printable_ascii(line: dict[str, Any]) -> None:
    text = _written(line)
    assert json.loads(text) == line
    assert text.isascii()
    assert text.isprintable()


def test_halves_of_surrogates_and_control_characters_are_escaped() -> None:
    assert json.loads(_written({"path": "/\ud800\x7f\n"})) == {"path": "/\ud800\x7f\n"}
    assert _written({"path": "\x7f\x1b[2J"}) == '{"path":"\\u007f\\u001b[2J"}'

"""What others say, in one line."""

from __future__ import annotations

import pytest

from guard.support.clipping import one_line


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("", "ValueError"),
        ("no tokenizer", "no tokenizer"),
        ("\n  CUDA error\nfor debugging consider this", "CUDA error"),
        ("from one of: \n(1) a file\n(2) a slow one\n", "from one of: (1) a file (2) a slow one"),
        ("x" * 500, "x" * 399 + "…"),
    ],
)
def test_an_error_is_one_line_that_does_not_end_at_a_colon(said: str, line: str) -> None:
    assert one_line(ValueError(said)) == line

"""Redaction of long texts: what the plain expression does, in short calls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.trace import redaction

PARTS = [
    *("sk-", "pk-", "rk-", "hf_", "ghp_", "AKIA", "Bearer ", "bearer ", "earer ", "://", ":", "@", "/", " ", '"', "é"),
    *("a" * 16, "A1B2" * 4, "x" * 20, "ab", "-", "_", "=", "1", redaction.REDACTED),
]


@given(st.lists(st.sampled_from(PARTS), max_size=14).map("".join), st.integers(1, 40))
def test_a_long_text_is_redacted_as_a_short_one(text: str, window: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redaction, "WINDOW", window)
        assert redaction.redacted(text) == redaction._SECRET_FORM.sub(redaction.REDACTED, text)


@pytest.mark.parametrize(
    "secret", ["sk-" + "a" * 40, "Bearer " + "b" * 200_000, "://user:password@", "AKIA" + "A" * 16]
)
def test_a_secret_is_found_wherever_a_window_ends(secret: str) -> None:
    for before in range(redaction.WINDOW - 30, redaction.WINDOW + 3):
        text = " " * before + secret + " " + "y" * redaction.WINDOW
        assert redaction.redacted(text) == redaction._SECRET_FORM.sub(redaction.REDACTED, text) != text


def test_a_key_that_is_a_word_is_cut_out_of_no_other_word() -> None:
    secrets = ("anything", "hunter22", "correcthorsebatterystaple")
    said = "anything but anythings; xhunter22x and a correcthorsebatterystapler"
    assert redaction.redacted(said, secrets) == "[redacted] but anythings; x[redacted]x and a [redacted]r"

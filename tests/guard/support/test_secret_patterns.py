"""Secrets by their form: long texts as short ones, records and errors alike."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from guard.support import secret_patterns

PARTS = [
    *("sk-", "pk-", "rk-", "hf_", "ghp_", "AKIA", "Bearer ", "bearer ", "earer ", "://", ":", "@", "/", " ", '"', "é"),
    *("a" * 16, "A1B2" * 4, "x" * 20, "ab", "-", "_", "=", "1", secret_patterns.REDACTED),
]


@given(st.lists(st.sampled_from(PARTS), max_size=14).map("".join), st.integers(1, 40))
def test_a_long_text_is_redacted_as_a_short_one(text: str, window: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(secret_patterns, "WINDOW", window)
        assert secret_patterns.redacted(text) == secret_patterns._FORM.sub(secret_patterns.REDACTED, text)


@pytest.mark.parametrize(
    "secret", ["sk-" + "a" * 40, "Bearer " + "b" * 200_000, "://user:password@", "://:pass@:word@", "AKIA" + "A" * 16]
)
def test_a_secret_is_found_wherever_a_window_ends(secret: str) -> None:
    for before in range(secret_patterns.WINDOW - 30, secret_patterns.WINDOW + 3):
        text = " " * before + secret + " " + "y" * secret_patterns.WINDOW
        assert secret_patterns.redacted(text) == secret_patterns._FORM.sub(secret_patterns.REDACTED, text) != text


def test_a_key_that_is_a_word_is_cut_out_of_no_other_word() -> None:
    secrets = ("anything", "hunter22", "correcthorsebatterystaple")
    said = "anything but anythings; xhunter22x and a correcthorsebatterystapler"
    assert secret_patterns.redacted(said, secrets) == "[redacted] but anythings; x[redacted]x and a [redacted]r"


@example("éBearer aaaaaaaaaaaaaaaa")
@given(st.lists(st.sampled_from(PARTS), max_size=14).map("".join))
def test_an_error_shows_nothing_that_a_record_would_not(text: str) -> None:
    assert secret_patterns.redacted(secret_patterns.hidden(text)) == secret_patterns.hidden(text)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("key sk-ab***yz is wrong", "key [redacted] is wrong"),
        ("hf-abcd, ghp_x1y2z3 and AKIA12****78", "[redacted], [redacted] and [redacted]"),
        ("Authorization: BEARER  abc", "Authorization: [redacted]"),
        ("https://me@host/ and https://me:pw@host/", "https://[redacted]host/ and https://[redacted]host/"),
        ("https://:pw@host/ and https://me:p@w:@host/", "https://[redacted]host/ and https://[redacted]host/"),
        ("a task-force of 1 and 11", "a task-force of [redacted] and 11"),
    ],
)
def test_the_words_of_an_error_show_no_part_of_a_secret(words: str, shown: str) -> None:
    assert secret_patterns.hidden(words, ("1", "")) == shown

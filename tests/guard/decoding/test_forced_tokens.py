"""Forced text becomes the tokens that the tokenizer writes, and only those that no continuation changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
from conftest import DATA
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from guard import Vocabulary, models
from guard.decoding.forced_tokens import Forcing

TEXTS = st.text(st.sampled_from("aZ s'é文😀\u03011 .-\"\\\n\t_{<|"), max_size=12) | st.sampled_from(
    ["name", "vendor's", "total_amount", "it'll", "<|im_end|>", "<tool_call>", "2024-03-05", "naïve", "  two  spaces"]
)
VALUES = st.recursive(
    TEXTS | st.integers() | st.booleans() | st.none(),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(TEXTS, values, max_size=4),
    max_leaves=12,
)
KINDS = ("tiny", "smollm2", "qwen3", "words")


@pytest.fixture(scope="module")
def forcings() -> dict[str, tuple[Any, Vocabulary, Forcing]]:
    """Give tokenizers of three ways to cut text up, and one that doesn't."""
    tokenizers = {
        "tiny": tiny.tokenizer(),
        "smollm2": AutoTokenizer.from_pretrained(models.pull("smollm2"), local_files_only=True),
        "qwen3": _from_data(DATA / "qwen3-tokenizer"),
        "words": tiny.words_tokenizer(),
    }
    made = {}
    for kind, tokenizer in tokenizers.items():
        vocabulary = Vocabulary.from_tokenizer(tokenizer)
        made[kind] = tokenizer, vocabulary, Forcing(tokenizer, vocabulary)
    return made


@pytest.mark.parametrize("kind", KINDS)
@given(value=VALUES, data=st.data())
def test_what_is_appended_is_what_the_tokenizer_writes_whatever_follows(
    forcings: dict[str, tuple[Any, Vocabulary, Forcing]], kind: str, value: Any, data: st.DataObject
) -> None:
    """A text is cut at a token and forced up to any byte: the tokens appended are the whole text's tokens there."""
    tokenizer, vocabulary, forcing = forcings[kind]
    ids = tokenizer.backend_tokenizer.encode("x " + json.dumps(value, ensure_ascii=False), add_special_tokens=False).ids
    if any(token in vocabulary.special for token in ids):
        return
    spelled = [vocabulary.token_bytes(token) for token in ids]
    start = data.draw(st.integers(1, len(ids)))
    rest = b"".join(spelled[start:])
    forced = rest[: data.draw(st.integers(0, len(rest)))]
    got = forcing.tokens(ids[:start], forced, is_final=False) if forced else ()
    assert list(got) == ids[start : start + len(got)]
    assert forced.startswith(b"".join(map(vocabulary.token_bytes, got)))


def test_a_forced_key_is_appended_up_to_the_piece_that_can_still_grow(
    forcings: dict[str, tuple[Any, Vocabulary, Forcing]],
) -> None:
    """The quote that opens the value stays for the model, which may take it together with what follows."""
    _, vocabulary, forcing = forcings["smollm2"]
    got = forcing.tokens([], b'{"vendor": "', is_final=False)
    assert [vocabulary.token_bytes(token) for token in got] == [b'{"', b"v", b"endor", b'":']


def test_an_end_is_appended_whole(forcings: dict[str, tuple[Any, Vocabulary, Forcing]]) -> None:
    """Nothing follows the last bracket, so nothing can change its token."""
    tokenizer, vocabulary, forcing = forcings["smollm2"]
    written = tokenizer.encode('{"a": {"b": true')
    got = forcing.tokens(written, b"}}", is_final=True)
    assert b"".join(map(vocabulary.token_bytes, got)) == b"}}"


def test_a_run_behind_a_cut_that_the_tokenizer_would_not_make_is_appended_all_the_same(
    forcings: dict[str, tuple[Any, Vocabulary, Forcing]],
) -> None:
    """The model closed its string with a quote alone, where the tokenizer has a token for the quote and the comma."""
    tokenizer, vocabulary, forcing = forcings["smollm2"]
    written = [*tokenizer.encode('{"vendor": "Acme'), *tokenizer.encode('"')]
    got = forcing.tokens(written, b', "date": "', is_final=False)
    assert b"".join(map(vocabulary.token_bytes, got)) == b', "date":'


def test_special_tokens_are_never_appended(forcings: dict[str, tuple[Any, Vocabulary, Forcing]]) -> None:
    """A constant that spells a special token is text."""
    _, vocabulary, forcing = forcings["smollm2"]
    got = forcing.tokens([], b'{"a": "<|im_end|>", "b": 1}', is_final=True)
    assert not set(got) & set(vocabulary.special)


def _from_data(folder: Path) -> Any:
    if not folder.is_dir():
        pytest.skip(f"the folder of test data is absent: {folder}")
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)

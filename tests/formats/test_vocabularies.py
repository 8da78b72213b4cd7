"""Formats over real vocabularies: special tokens are found by name, stand for themselves, and are never text."""

from pathlib import Path

import mistral_common
import numpy as np
import pytest
import sentencepiece
import tiktoken
import tokenizers
import transformers
from mistral_common.tokens.tokenizers.tekken import Tekkenizer
from tokenizers import AddedToken, decoders, models

import guard
from guard import formats
from guard.kernels.bitmask import allocate_bitmask
from guard.kernels.vocabulary import Vocabulary
from guard.models import pull

MISTRAL = Path(mistral_common.__file__).parent / "data"


def qwen3(data):
    path = data / "qwen3-tokenizer" / "tokenizer.json"
    return transformers.PreTrainedTokenizerFast(tokenizer_file=str(path), eos_token="<|im_end|>")


def harmony(_data):
    """What o200k_harmony adds to a byte-level encoding, on bytes alone: the real ranks lie on a network."""
    names = ["<|startoftext|>", "<|endoftext|>", "<|return|>", "<|constrain|>", "<|channel|>", "<|start|>", "<|end|>"]
    names += ["<|message|>", "<|call|>"]
    ranks = {bytes([byte]): byte for byte in range(256)} | {b"ma": 256, b"<|": 257, b"|>": 258, b"<|end": 259}
    special = {name: 260 + 2 * number for number, name in enumerate(names)}  # with holes, as the real one has
    return tiktoken.Encoding("harmony", pat_str=r"\w+|\W", mergeable_ranks=ranks, special_tokens=special)


def gemma(_data):
    """A tokenizer made as Gemma's is: SentencePiece pieces in BPE, bytes to fall back on, turns as special tokens."""
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += ["▁", "a", "b", "<", ">", "start", "_", "of", "turn", "▁a", "<start_of_turn>", "<end_of_turn>", "<b>"]
    bpe = models.BPE({piece: token for token, piece in enumerate(pieces)}, [], byte_fallback=True, unk_token="<unk>")
    tokenizer = tokenizers.Tokenizer(bpe)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"])
    tokenizer.add_tokens([AddedToken("<b>", normalized=False)])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")


#: Of each family: how it is read, and special tokens that it has by name.
FAMILIES = {
    "byte-level BPE, Qwen 3": (qwen3, ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]),
    "byte-level BPE, SmolLM2": (
        lambda _data: transformers.AutoTokenizer.from_pretrained(pull("smollm2")),
        ["<|im_start|>", "<|im_end|>"],
    ),
    "SentencePiece": (
        lambda _data: sentencepiece.SentencePieceProcessor(model_file=str(MISTRAL / "tokenizer.model.v1")),
        ["<s>", "</s>", "<unk>"],
    ),
    "tekken": (lambda _data: Tekkenizer.from_file(MISTRAL / "tekken_240911.json"), ["[INST]", "[TOOL_CALLS]", "</s>"]),
    "tiktoken, as Harmony": (harmony, ["<|start|>", "<|channel|>", "<|message|>", "<|call|>", "<|return|>"]),
    "Gemma": (gemma, ["<start_of_turn>", "<end_of_turn>", "<bos>", "<eos>"]),
}


@pytest.fixture(scope="module", params=list(FAMILIES))
def family(request, data):
    """A vocabulary, and the names of some of its special tokens."""
    load, names = FAMILIES[request.param]
    eos = {"tiktoken, as Harmony": 264}.get(request.param)
    return Vocabulary.from_tokenizer(load(data), eos=eos), names


def allowed(matcher, vocabulary):
    """The tokens that may come next."""
    row = allocate_bitmask(1, vocabulary.size)
    matcher.fill_bitmask(row)
    bits = np.unpackbits(np.asarray(row).view(np.uint8), bitorder="little")[: vocabulary.size]
    return set(np.flatnonzero(bits).tolist())


def test_special_tokens_are_found_by_name(family):
    vocabulary, names = family
    for name in names:
        token = vocabulary.token(name)
        assert token in vocabulary.special
        assert vocabulary.token_bytes(token) == b""
    with pytest.raises(ValueError, match="no token"):
        vocabulary.token("<|no such token|>")


def test_a_token_lets_exactly_that_token_through(family):
    vocabulary, names = family
    for name in names:
        token = vocabulary.token(name)
        matcher = guard.compile(formats.token(name)).matcher(vocabulary)
        assert allowed(matcher, vocabulary) == {token}
        assert not matcher.copy().accept_bytes(name.encode())  # its text is not it
        assert matcher.accept(token)
        assert allowed(matcher, vocabulary) == set(vocabulary.eos)
        by_id = guard.compile(formats.token(token)).matcher(vocabulary)
        assert allowed(by_id, vocabulary) == {token}


def test_free_text_never_lets_a_special_token_through(family):
    vocabulary, _ = family
    special, ends = set(vocabulary.special), set(vocabulary.eos)
    matcher = guard.compile(formats.any_text()).matcher(vocabulary)
    for text in (b"", b"a", b"<|im_start", " é".encode()[:-1], b"\x80"):
        matcher.reset()
        if matcher.accept_bytes(text):
            assert allowed(matcher, vocabulary) & special == (ends if matcher.can_stop() else set())


def test_free_text_lets_every_token_that_spells_whole_characters_through(family):
    vocabulary, _ = family
    matcher = guard.compile(formats.any_text()).matcher(vocabulary)
    spelled = {token: vocabulary.token_bytes(token) for token in range(vocabulary.size)}
    expected = {token for token, text in spelled.items() if text and _begins_text(text)}
    assert allowed(matcher, vocabulary) - set(vocabulary.eos) == expected


def _begins_text(data):
    """Whether bytes begin a text in UTF-8: its last character may lack some of its bytes."""
    for lacking in range(4):
        try:
            data[: len(data) - lacking].decode()
        except UnicodeDecodeError:
            continue
        rest = data[len(data) - lacking :]
        return not rest or _is_begun(rest)
    return False


def _is_begun(rest):
    more = (b"", b"\x80", b"\x90", b"\xa0", b"\xbf")
    for first in more:
        for second in more:
            for third in more:
                try:
                    if len((rest + first + second + third).decode()) == 1:
                        return True
                except UnicodeDecodeError:
                    continue
    return False


def test_an_end_token_and_text_in_front_of_it(family):
    vocabulary, names = family
    token = vocabulary.token(names[0])
    form = formats.tag(formats.token(names[1]), formats.any_text(excludes=["b"]), formats.token(names[0]))
    matcher = guard.compile(form).matcher(vocabulary)
    assert allowed(matcher, vocabulary) == {vocabulary.token(names[1])}
    assert matcher.accept(vocabulary.token(names[1]))
    found = allowed(matcher, vocabulary)
    assert found & set(vocabulary.special) == {token}
    assert not any(b"b" in vocabulary.token_bytes(one) for one in found)
    assert matcher.accept_bytes(b"a")
    assert matcher.accept(token)
    assert matcher.can_stop()


@pytest.mark.parametrize("load", [qwen3, gemma], ids=["Qwen 3", "Gemma"])
def test_an_added_token_that_is_not_special_is_text_unless_a_format_names_it(load, data):
    vocabulary = Vocabulary.from_tokenizer(load(data))
    name = "<tool_call>" if load is qwen3 else "<b>"
    token = vocabulary.token(name)
    assert token not in vocabulary.special
    assert vocabulary.token_bytes(token) == name.encode()
    text = guard.compile(formats.const(name)).matcher(vocabulary)
    assert token in allowed(text, vocabulary)
    assert text.accept(token)
    assert text.can_stop()
    free = guard.compile(formats.any_text()).matcher(vocabulary)
    assert token in allowed(free, vocabulary)
    barred = guard.compile(formats.any_text(excludes=[name])).matcher(vocabulary)
    assert token not in allowed(barred, vocabulary)
    named = guard.compile(formats.token(name)).matcher(vocabulary)
    assert allowed(named, vocabulary) == {token}
    assert not named.copy().accept_bytes(name.encode())

"""Vocabularies: four real ones over 1,000 texts each, and small ones for every way in which tokens are written down."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clock
import mistral_common
import pytest
import sentencepiece
import tiktoken
import tokenizers
import transformers
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mistral_common.tokens.tokenizers.sentencepiece import SentencePieceTokenizer
from mistral_common.tokens.tokenizers.tekken import Tekkenizer
from tokenizers import AddedToken, decoders, models, pre_tokenizers
from transformers.tokenization_utils_sentencepiece import SentencePieceBackend

import guard
from guard.kernels.bitmask import allocate_bitmask
from guard.kernels.vocabulary import Vocabulary
from guard.models import pull

MISTRAL = Path(mistral_common.__file__).parent / "data"
SENTENCEPIECE_32K = MISTRAL / "tokenizer.model.v1"
TEKKEN_131K = MISTRAL / "tekken_240911.json"
SMOLLM2_LACKS = bytes([0x04, 0x06, 0x13, 0x14, 0x16, 0x1D, 0xF1, 0xF2])  #: Bytes that its tokenizer drops.
ALL_BYTES = [bytes([byte]) for byte in range(256)]

SCRIPTS = {
    "ascii": (0x20, 0x7E),
    "latin": (0xA0, 0x24F),
    "ipa and modifiers": (0x250, 0x2FF),
    "combining": (0x300, 0x36F),
    "greek": (0x370, 0x3FF),
    "cyrillic": (0x400, 0x52F),
    "armenian": (0x530, 0x58F),
    "hebrew": (0x590, 0x5FF),
    "arabic": (0x600, 0x6FF),
    "devanagari": (0x900, 0x97F),
    "bengali": (0x980, 0x9FF),
    "tamil": (0xB80, 0xBFF),
    "thai": (0xE00, 0xE7F),
    "tibetan": (0xF00, 0xFFF),
    "georgian": (0x10A0, 0x10FF),
    "hangul jamo": (0x1100, 0x11FF),
    "ethiopic": (0x1200, 0x137F),
    "cherokee": (0x13A0, 0x13FF),
    "khmer": (0x1780, 0x17FF),
    "punctuation and joiners": (0x2000, 0x206F),
    "arrows and mathematics": (0x2190, 0x22FF),
    "boxes and dingbats": (0x2500, 0x27BF),
    "kana": (0x3040, 0x30FF),
    "han": (0x4E00, 0x9FFF),
    "hangul": (0xAC00, 0xD7A3),
    "private use": (0xE000, 0xE0FF),
    "forms and specials": (0xFE00, 0xFFFF),
    "gothic": (0x10330, 0x1034F),
    "musical": (0x1D100, 0x1D1FF),
    "emoji": (0x1F300, 0x1FAFF),
    "han beyond the plane": (0x20000, 0x2A6DF),
    "tags": (0xE0000, 0xE007F),
    "the last plane": (0x10FF00, 0x10FFFF),
}
PHRASES = [
    "The quick brown fox",
    '{"name": "Ada", "tags": ["a", "b"], "n": -1.5e3}',
    "\\u00e9\\n\\\\",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇨🇭 ❤️",
    "e\u0301 vs \u00e9",
    "Ġ Ċ <0x41>",
    "    return x\n\n\t",
    " " * 131,
    "\r\n",
    "1234567890",
]
CONTROLS = [chr(code) for code in [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, 0xFEFF]]


def texts():
    """Texts that mix scripts, emoji, control characters, white space, and pieces of JSON."""
    scripts = [
        st.text(st.characters(min_codepoint=low, max_codepoint=high), max_size=12) for low, high in SCRIPTS.values()
    ]
    anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    part = st.one_of(
        *scripts, anything, st.sampled_from(PHRASES), st.sampled_from(CONTROLS), st.sampled_from([" ", "  "])
    )
    return st.lists(part, max_size=6).map("".join)


@dataclass(frozen=True)
class Real:
    """A real tokenizer, and what it does to a text before it cuts it up."""

    tokenizer: Any
    vocabulary: Vocabulary
    size: int

    def encode(self, text):
        """Token ids without begin- and end-of-sequence tokens."""
        if isinstance(self.tokenizer, Tekkenizer | SentencePieceTokenizer):
            return self.tokenizer.encode(text, bos=False, eos=False)
        return self.tokenizer.encode(text, add_special_tokens=False)

    def prepared(self, text):
        """What the tokens spell: the text itself, but for what the tokenizer is known to do to it."""
        if isinstance(self.tokenizer, SentencePieceTokenizer):
            return (" " + text.replace("▁", " ")).encode() if text else b""
        if isinstance(self.tokenizer, Tekkenizer):
            return text.encode()
        normalizer = self.tokenizer.backend_tokenizer.normalizer
        if normalizer is not None:
            return normalizer.normalize_str(text).encode()
        return text.encode().translate(None, delete=SMOLLM2_LACKS)


def load(name, request):
    """Load a real tokenizer from where it lies on this machine."""
    match name:
        case "smollm2":
            return transformers.AutoTokenizer.from_pretrained(pull("smollm2"))
        case "qwen3":
            path = request.getfixturevalue("data") / "qwen3-tokenizer" / "tokenizer.json"
            return transformers.PreTrainedTokenizerFast(tokenizer_file=str(path), eos_token="<|im_end|>")
        case "sentencepiece-32k":
            return SentencePieceTokenizer(SENTENCEPIECE_32K)
        case "tekken-131k":
            return Tekkenizer.from_file(TEKKEN_131K)


SIZES = {"smollm2": 49152, "qwen3": 151669, "sentencepiece-32k": 32000, "tekken-131k": 131072}


@pytest.fixture(scope="module", params=list(SIZES))
def real(request):
    """One of four real vocabularies; only Qwen3's lies in the folder of test data."""
    tokenizer = load(request.param, request)
    return Real(tokenizer, Vocabulary.from_tokenizer(tokenizer), SIZES[request.param])


@settings(max_examples=1000)
@given(text=texts())
def test_the_bytes_of_the_tokens_are_the_text(real, text):
    tokens = real.encode(text)
    assume(not set(tokens) & set(real.vocabulary.special))
    assert b"".join(map(real.vocabulary.token_bytes, tokens)) == real.prepared(text)


def test_a_real_vocabulary_has_every_id_and_is_set_up_within_a_second(real):
    seconds = []
    for _ in range(3):
        with clock.working() as work:
            vocabulary = Vocabulary.from_tokenizer(real.tokenizer)
        seconds.append(work.seconds)
    assert vocabulary.size == real.size
    assert min(seconds) < 1.0


def test_tokens_without_bytes_are_the_special_ones(real):
    vocabulary = real.vocabulary
    assert {token for token in range(vocabulary.size) if not vocabulary.token_bytes(token)} == set(vocabulary.special)
    assert set(vocabulary.eos) <= set(vocabulary.special)


@settings(max_examples=50)
@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\'), max_size=20))
def test_special_tokens_are_never_allowed_inside_a_value(real, text):
    vocabulary = real.vocabulary
    matcher = guard.compile({"type": "string"}).matcher(vocabulary)
    bitmask = allocate_bitmask(1, vocabulary.size)
    assert matcher.accept_bytes(b'"' + text.encode())
    matcher.fill_bitmask(bitmask)
    assert not any(bitmask[0, token // 32] >> (token % 32) & 1 for token in vocabulary.special)
    assert matcher.accept_bytes(b'"')
    matcher.fill_bitmask(bitmask)
    allowed = [token for token in range(vocabulary.size) if bitmask[0, token // 32] >> (token % 32) & 1]
    assert allowed == sorted(vocabulary.eos)


def test_every_reader_of_one_sentencepiece_model_reads_the_same_bytes(tmp_path):
    processor = sentencepiece.SentencePieceProcessor(model_file=str(SENTENCEPIECE_32K))
    (tmp_path / "tokenizer.model").write_bytes(SENTENCEPIECE_32K.read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LlamaTokenizer"}))
    named = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    readers = [
        processor,
        SentencePieceTokenizer(SENTENCEPIECE_32K),
        SentencePieceBackend(vocab_file=str(SENTENCEPIECE_32K), **named),
        transformers.LlamaTokenizer.from_pretrained(tmp_path),
    ]
    expected = [processor.IdToPiece(token).replace("▁", " ").encode() for token in range(processor.GetPieceSize())]
    expected[:3] = [b"", b"", b""]  # <unk>, <s>, </s>
    expected[3:259] = ALL_BYTES
    for reader in readers:
        vocabulary = Vocabulary.from_tokenizer(reader)
        assert spelled(vocabulary) == expected
        assert vocabulary.eos == (2,)


def test_wrappers_and_the_parts_of_tekken_read_the_same_bytes():
    tekken = Tekkenizer.from_file(TEKKEN_131K)
    expected = [tekken.id_to_byte_piece(token) for token in range(tekken.n_words)]
    wrapped = transformers.tokenization_mistral_common.MistralCommonBackend(str(TEKKEN_131K))
    for tokenizer in (tekken, wrapped):
        vocabulary = Vocabulary.from_tokenizer(tokenizer)
        assert spelled(vocabulary) == expected
        assert vocabulary.special == tuple(range(1000))
        assert vocabulary.eos == (2,)


def spelled(vocabulary):
    """The bytes of every token."""
    return [vocabulary.token_bytes(token) for token in range(vocabulary.size)]


def byte_level(added=(), last=255):
    """A byte-level tokenizer with a token for each byte, the last one's id given, and added tokens from 256 on."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    ids = dict(zip(alphabet, [*range(255), last], strict=True))
    tokenizer = tokenizers.Tokenizer(models.BPE(ids, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    for token in added:
        (tokenizer.add_special_tokens if token.special else tokenizer.add_tokens)([token])
    return tokenizer


def test_added_tokens_are_text_unless_special_and_ids_without_a_token_are_empty():
    added = [
        AddedToken("<end>", special=True),
        AddedToken("<think>", special=False),
        AddedToken("é à", special=False, normalized=False),
    ]
    vocabulary = Vocabulary.from_tokenizer(byte_level(added, last=261), eos=256)
    tokens = spelled(vocabulary)
    assert sorted([*tokens[:255], tokens[261]]) == ALL_BYTES
    assert tokens[255:261] == [b"", b"", b"<think>", "é à".encode(), b"", b""]
    assert (vocabulary.eos, vocabulary.special) == ((256,), (256,))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_byte_level_tokenizer_that_says_so_only_before_it_cuts_is_read_too(text):
    tokenizer = byte_level(added=[AddedToken("<end>", special=True)])
    bare = tokenizers.Tokenizer.from_str(json.dumps(json.loads(tokenizer.to_str()) | {"decoder": None}))
    vocabulary = Vocabulary.from_tokenizer(bare, eos=256)
    assume("<end>" not in text)
    assert b"".join(map(vocabulary.token_bytes, bare.encode(text).ids)) == text.encode()


@pytest.mark.parametrize("fallback", [True, False])
def test_byte_names_are_bytes_only_where_the_tokenizer_falls_back_on_them(fallback):
    pieces = [("<end>", 0.0), ("▁a", -1.0), *((f"<0x{byte:02X}>", -2.0) for byte in range(256))]
    tokenizer = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=fallback))
    tokenizer.decoder = decoders.Sequence([*[decoders.ByteFallback()] * fallback, decoders.Metaspace()])
    if fallback:
        assert spelled(Vocabulary.from_tokenizer(tokenizer, eos=0)) == [b"", b" a", *ALL_BYTES]
    else:
        with pytest.raises(ValueError, match="token"):  # no token spells the byte that JSON text needs
            Vocabulary.from_tokenizer(tokenizer, eos=0)


def test_a_tiktoken_encoding_is_read_with_its_holes_and_its_end_of_text():
    ranks = {bytes([byte]): byte for byte in range(256)} | {b"ab": 260}
    encoding = tiktoken.Encoding(
        "small", pat_str=r"\S+|\s+", mergeable_ranks=ranks, special_tokens={"<|endoftext|>": 262, "<|other|>": 261}
    )
    vocabulary = Vocabulary.from_tokenizer(encoding)
    assert spelled(vocabulary) == [*ALL_BYTES, b"", b"", b"", b"", b"ab", b"", b""]
    assert (vocabulary.eos, sorted(vocabulary.special)) == ((262,), [261, 262])


@pytest.mark.parametrize(("configured", "expected"), [(257, (256, 257)), ([258, 256], (256, 258)), (None, (256,))])
def test_the_generation_config_beside_the_tokenizer_adds_its_ends(tmp_path, configured, expected):
    added = [AddedToken(f"<{name}>", special=True) for name in ("end", "turn", "stop")]
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=byte_level(added=added), eos_token="<end>")
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": configured}))
    loaded = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert Vocabulary.from_tokenizer(loaded).eos == expected
    assert Vocabulary.from_tokenizer(loaded, eos=[258]).eos == (258,)


def test_a_tokenizer_that_names_no_end_needs_one():
    with pytest.raises(
        ValueError, match=r"eos=None, but tokenizers\.Tokenizer names no end-of-sequence token: pass eos="
    ):
        Vocabulary.from_tokenizer(byte_level())


def test_a_tokenizer_of_another_kind_is_refused_by_name():
    words = tokenizers.Tokenizer(models.WordPiece({"[UNK]": 0, "##a": 1}, unk_token="[UNK]"))
    words.decoder = decoders.WordPiece()
    with pytest.raises(ValueError, match=r"cannot read \(decoder: WordPiece\)"):
        Vocabulary.from_tokenizer(words, eos=0)
    with pytest.raises(ValueError, match=r"builtins\.dict is not a tokenizer that Guard can read"):
        Vocabulary.from_tokenizer({}, eos=0)


@given(st.data())
def test_from_bytes_keeps_what_it_is_given(data):
    extra = data.draw(st.lists(st.binary(max_size=8), max_size=30))
    tokens = [*ALL_BYTES, *extra, b""]
    special = data.draw(st.sets(st.integers(256, len(tokens) - 1)))
    vocabulary = Vocabulary.from_bytes(tokens, eos=[len(tokens) - 1], special=special)
    assert spelled(vocabulary) == tokens
    assert (vocabulary.size, vocabulary.eos) == (len(tokens), (len(tokens) - 1,))
    assert set(vocabulary.special) == special
    assert vocabulary.nbytes > 0
    assert repr(vocabulary) == f"Vocabulary(size={len(tokens)}, eos=[{len(tokens) - 1}])"


def test_from_bytes_refuses_ids_that_are_not_there_and_bytes_without_a_token():
    with pytest.raises(ValueError, match=r"eos=\[256\] must hold token ids from 0 to 255"):
        Vocabulary.from_bytes(ALL_BYTES, eos=[256])
    with pytest.raises(ValueError, match=r"special=\[-1\] must hold token ids from 0 to 255"):
        Vocabulary.from_bytes(ALL_BYTES, eos=[0], special=[-1])
    with pytest.raises(ValueError, match=r"eos=\[\] must name at least one"):
        Vocabulary.from_bytes(ALL_BYTES, eos=[])
    with pytest.raises(ValueError, match=r"0x7[bB]|\{"):
        Vocabulary.from_bytes([token for token in [*ALL_BYTES, b""] if token != b"{"], eos=[255])
    Vocabulary.from_bytes([b"0", b"1", b""], eos=[2], alphabet=b"01")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((None, [0]), "tokens=None must be a list of bytes"),
        (([b"a", b""], None), "eos=None must be a list of token ids"),
        (([b"a", b""], [1], (), "a"), "alphabet='a' must be bytes, or None"),
    ],
)
def test_arguments_of_another_type_are_refused_in_one_line(arguments: Any, words: str) -> None:
    with pytest.raises(TypeError, match=rf"^{words}[^\n]*$"):
        Vocabulary.from_bytes(*arguments)
    with pytest.raises(TypeError, match=r"^token=None must be the id of a token$"):
        Vocabulary.from_bytes([b"a", b""], [1], alphabet=b"a").token_bytes(None)


def test_masks_beyond_the_limit_are_forgotten_as_others_are_filled() -> None:
    """A little with each mask: what is held stays near the limit, and no mask is another."""

    def walked(limit: int) -> tuple[list[int], list[bytes]]:
        pieces = [bytes([n]) for n in range(256)] + [bytes([a, b]) for a in b"abcdefxyz" for b in b"abcdefxyz"]
        vocabulary = guard.Vocabulary.from_bytes([*pieces, b""], eos=[len(pieces)])
        before, held, rows = vocabulary.native.nbytes, [], []
        vocabulary.native.limit(masks=limit, rows=4_000_000)
        row = allocate_bitmask(1, vocabulary.size)
        for n in range(400):
            matcher = guard.compile({"type": "string", "pattern": f"^[a-f]+{n}x*$"}).matcher(vocabulary)
            for token in b'"abc':
                matcher.fill_bitmask(row)
                rows.append(row.tobytes())
                assert matcher.accept(token)
            held.append(vocabulary.native.nbytes - before)
        return held, rows

    (all_held, all_rows), (held, rows) = walked(40_000_000), walked(10_000)
    assert rows == all_rows
    assert max(held) < all_held[-1] / 3, "without a limit there is much more"

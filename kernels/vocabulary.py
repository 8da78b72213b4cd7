"""Vocabularies: what bytes each token of a tokenizer stands for.

A vocabulary is a list of byte strings indexed by token id, the ids that end a sequence, and the ids that are special.
Special tokens spell no text (b""), nor do ids that no token has (holes). Added tokens that are not special are
ordinary text. Two tokens may spell the same bytes, and a token may hold a part of a character.

Four ways of writing tokens down are read, by looking at the tokenizer and never by importing its library:

- byte-level BPE (GPT-2, Llama 3, Qwen, SmolLM): one printable character a byte, `Ġ` for the space;
- SentencePiece (Llama 2, Mistral, Gemma): `▁` for the space, `<0xNN>` for a byte; fast, slow, and the processor itself;
- tekken (mistral-common) and tiktoken: bytes.

A text is then the concatenation of its tokens' bytes, except for what the tokenizer itself changes before it cuts the
text up: its normalizer (Qwen: NFC), SentencePiece's leading space (some forms add none where the text has one) and its
reading of a `▁` in the text as a space, the white space that an added token with `lstrip` or `rstrip` swallows, and
bytes that it drops for want of a token (SmolLM2: 04 06 13 14 16 1D, which JSON never holds, and F1 F2, see UNASSIGNED).

The trie, and what a mask needs of a vocabulary, live in the native module.
"""

from __future__ import annotations

import copyreg
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guard.kernels._native import Engine, EngineOptions, Matcher, seal
from guard.kernels._native import Vocabulary as NativeVocabulary

SPACE = "▁"  #: SentencePiece's character for a space (U+2581).
BYTE_PIECES = {f"<0x{byte:02X}>": bytes([byte]) for byte in range(256)}  #: SentencePiece's names of the bytes.

#: Lead bytes of planes 4 to 11, where Unicode has assigned no character: a real tokenizer may do without them.
UNASSIGNED = (0xF1, 0xF2)
#: Every byte that JSON text may need: printable ASCII and UTF-8; control characters can all be escaped or left out.
JSON_BYTES = bytes([*range(0x20, 0x7F), *range(0x80, 0xC0), *range(0xC2, 0xF5)])

#: Called with each vocabulary of a tokenizer, once it is made. The front end, where it is loaded, warms it here: then
#: processes that are forked later share that, and no first call waits for it.
ON_MADE: list[Callable[[Vocabulary], object]] = []

_REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?")  # a model's name on a hub, as opposed to a path


class Vocabulary:
    """The bytes of each token, prepared for masks. Thread-safe, and shared by any number of schemas."""

    def __init__(
        self,
        native: NativeVocabulary,
        eos: Sequence[int],
        special: Sequence[int],
        alphabet: bytes | None = None,
        names: Mapping[str, int] | None = None,
    ) -> None:
        """Wrap a native vocabulary. Use `from_tokenizer` or `from_bytes` instead."""
        self.native = native
        self._eos = tuple(eos)
        self._special = tuple(special)
        self._alphabet = alphabet
        self._names = dict(names or {})
        self._is_expanded = False
        self._warmed: set[object] = set()
        self.is_cold = False  #: Whether `warm` has something to do.

    @classmethod
    def from_tokenizer(cls, tokenizer: Any, eos: int | Iterable[int] | None = None) -> Vocabulary:
        """Read a tokenizer of transformers, tokenizers, sentencepiece, mistral-common or tiktoken.

        `eos` names the tokens that end a sequence; None takes the tokenizer's, and those of the generation config when
        the tokenizer was loaded from a folder or a cache on this machine that has one. Raises ValueError where no token
        ends a sequence, or a tokenizer is of no such kind.
        """
        table = _read(tokenizer)
        if eos is None:
            ends = [*table.eos, *_generation_config_eos(tokenizer)]
            if not ends:
                raise ValueError(f"eos=None, but {_kind(tokenizer)} names no end-of-sequence token: pass eos=[ids]")
        else:
            ends = [eos] if isinstance(eos, int) else list(eos)
        for token in table.special | set(ends):
            if 0 <= token < len(table.tokens):
                table.tokens[token] = b""
        made = cls.from_bytes(table.tokens, ends, table.special, alphabet_of(table.tokens), table.names)
        made._expand()
        return made

    @classmethod
    def from_bytes(
        cls,
        tokens: Sequence[bytes],
        eos: Iterable[int],
        special: Iterable[int] = (),
        alphabet: bytes | None = None,
        names: Mapping[str, int] | None = None,
    ) -> Vocabulary:
        """Take the tokens' bytes, by id.

        `alphabet` is every byte that texts may hold; None means every byte that JSON text may need. `names` are those
        of special and added tokens, such as <|im_end|>, by which formats may ask for them. Raises ValueError
        where no token spells one of them alone (masks could not be exact over bytes), and for ids that are none; raises
        TypeError where a token is no bytes.
        """
        if not isinstance(tokens, Iterable):
            raise TypeError(f"tokens={tokens!r} must be a list of bytes, one for each token, by id")
        if alphabet is not None and not isinstance(alphabet, bytes):
            raise TypeError(f"alphabet={alphabet!r:.60} must be bytes, or None")
        tokens = list(tokens)
        if not all(isinstance(token, bytes) for token in tokens):
            raise TypeError("tokens=… must be a list of bytes, one for each token, by id")
        eos = _check_ids("eos", eos, len(tokens))
        special = _check_ids("special", special, len(tokens))
        if not eos:
            raise ValueError("eos=[] must name at least one end-of-sequence token")
        _check_ids("names", (names or {}).values(), len(tokens))
        return cls(NativeVocabulary(tokens, eos, special, alphabet), eos, special, alphabet, names)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by content: the tokens' bytes, and which of them end a sequence, or are special."""
        tokens = [self.token_bytes(token) for token in range(self.size)]
        return _again, (tokens, self._eos, self._special, self._alphabet, self._names, self._is_expanded)

    def __copy__(self) -> Vocabulary:
        """Return this one: nothing that can be seen of it ever changes."""
        return self

    def __deepcopy__(self, _memo: object) -> Vocabulary:
        """Return this one: nothing that can be seen of it ever changes."""
        return self

    def warm(self, common: Iterable[tuple[Engine, Iterable[bytes]]]) -> None:
        """Make the masks along texts under engines, which many schemas share, unless they are made already."""
        if not self.is_cold:
            return
        self.is_cold = False  # whoever comes meanwhile need not wait: the masks that it asks for are made for it
        self._make(common)
        seal()

    def warm_once(self, name: object, common: Callable[[], Iterable[tuple[Engine, Iterable[bytes]]]]) -> None:
        """Make the masks along some more texts, of this name, the first time that they are wanted."""
        if name not in self._warmed:
            self._warmed.add(name)
            self._make(common())

    def _make(self, common: Iterable[tuple[Engine, Iterable[bytes]]]) -> None:
        from guard.kernels.bitmask import allocate_bitmask  # here: NumPy takes a while to import

        row = allocate_bitmask(1, self.size)
        for engine, texts in common:
            matcher = engine.matcher(self.native)
            for text in texts:
                matcher.reset()
                _walk(matcher, text, row)

    def _expand(self) -> None:
        """Make the masks of any JSON, in both spellings, ahead of the first one."""
        whole = ((0, 0), (3, 1))  # of whitespace and spelling: the defaults; the standard as it is
        self.is_cold = self._is_expanded = True
        self.warm((_anything(*how), [_SAMPLE]) for how in whole)
        self.is_cold = True
        for call in ON_MADE:
            call(self)

    @property
    def size(self) -> int:
        """Number of token ids, holes included."""
        return self.native.size

    @property
    def eos(self) -> tuple[int, ...]:
        """The tokens that end a sequence, in the order given; the tokenizer's own come first."""
        return self._eos

    @property
    def special(self) -> tuple[int, ...]:
        """The tokens that are never text."""
        return self._special

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self.native.nbytes

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes that a token spells; b"" for special tokens and holes. TypeError where it is no id."""
        if not hasattr(token, "__index__"):
            raise TypeError(f"token={token!r:.60} must be the id of a token")
        return self.native.token_bytes(token)

    @property
    def marks(self) -> tuple[str, ...]:
        """The names of special tokens that end no sequence: such as a model writes around its calls."""
        silent = set(self._special) - set(self._eos)
        return tuple(name for name, token in self._names.items() if token in silent)

    def spelling(self, marks: Iterable[str]) -> Vocabulary:
        """Return this vocabulary with some special tokens as text: each spells its name.

        A tokenizer reads such a name in a text as that token; so does whoever reads the text. ValueError where one is
        the name of no special token. It is made anew each time.
        """
        spelled: dict[int, bytes] = {}
        for name in marks:
            if name not in self.marks:
                raise ValueError(f"{name!r} is no special token of the vocabulary")
            spelled[self._names[name]] = name.encode()
        tokens = [spelled.get(token) or self.token_bytes(token) for token in range(self.size)]
        special = [token for token in self._special if token not in spelled]
        made = Vocabulary.from_bytes(tokens, self._eos, special, self._alphabet, self._names)
        if self._is_expanded:
            made._expand()
        return made

    def token(self, name: int | str) -> int:
        """Return the token of a name, such as <|im_end|>, or that spells this text alone; an id is returned as it is.

        Raises ValueError where there is none, or where several spell it.
        """
        if isinstance(name, str):
            found = [self._names[name]] if name in self._names else self._spelling(name.encode())
            if len(found) == 1:
                return found[0]
            raise ValueError(f"the vocabulary has {'several tokens' if found else 'no token'} {name!r}")
        if not 0 <= name < self.size:
            raise ValueError(f"token {name} is none of the vocabulary's, from 0 to {self.size - 1}")
        return name

    def _spelling(self, text: bytes) -> list[int]:
        return [token for token in range(self.size) if self.token_bytes(token) == text] if text else []

    def __repr__(self) -> str:
        """Show size and end-of-sequence tokens."""
        return f"Vocabulary(size={self.size}, eos={list(self.eos)})"


def _again(
    tokens: Sequence[bytes],
    eos: Sequence[int],
    special: Sequence[int],
    alphabet: bytes | None,
    names: Mapping[str, int],
    is_expanded: bool,
) -> Vocabulary:
    """Make what a pickle holds; ValueError where it is broken."""
    made = Vocabulary.from_bytes(tokens, eos, special, alphabet, names)
    if is_expanded:
        made._expand()
    return made


def _refused(_matcher: Matcher) -> Any:
    raise TypeError(
        "a Matcher is a place in a text under way: pickle its guard.Compiled and guard.Vocabulary, and accept the text"
        " there; copy() gives another one here"
    )


copyreg.pickle(Matcher, _refused)


#: JSON in which every kind of lexeme begins and ends.
_SAMPLE = b'{"a": "b\\u0041 c", "d": [-1.5e+3, true, null, {"e": []}], "f": ""}'


def _anything(whitespace: int, spelling: int) -> Engine:
    """Return the engine of a schema that allows every value."""
    options = EngineOptions(0, whitespace, spelling, {})
    return Engine(lambda nodes: [[] for _ in nodes], lambda *_: RuntimeError(), 0, options)


def _walk(matcher: Matcher, text: bytes, row: Any) -> None:
    for byte in text:
        matcher.fill_bitmask(row)
        matcher.accept_bytes(bytes([byte]))
    matcher.fill_bitmask(row)


@dataclass
class _Table:
    """What a tokenizer says of its tokens."""

    tokens: list[bytes]  # by id
    special: set[int]
    eos: list[int]
    names: dict[str, int]  # of special and added tokens


def _check_ids(name: str, ids: Iterable[int], size: int) -> list[int]:
    if not isinstance(ids, Iterable):
        raise TypeError(f"{name}={ids!r:.60} must be a list of token ids")
    checked = list(dict.fromkeys(int(token) for token in ids))
    for token in checked:
        if not 0 <= token < size:
            raise ValueError(f"{name}={checked} must hold token ids from 0 to {size - 1}")
    return checked


def alphabet_of(tokens: Iterable[bytes]) -> bytes:
    """Return the bytes that a tokenizer must be able to spell: all that JSON may need, save lead bytes of nothing."""
    singles = {token[0] for token in tokens if len(token) == 1}
    return bytes(byte for byte in JSON_BYTES if byte in singles or byte not in UNASSIGNED)


def _kind(tokenizer: Any) -> str:
    return f"{type(tokenizer).__module__}.{type(tokenizer).__qualname__}"


def _read(tokenizer: Any) -> _Table:
    """Find out how a tokenizer writes its tokens down, and read them."""
    if hasattr(tokenizer, "id_to_byte_piece"):
        return _read_tekken(tokenizer)
    if hasattr(tokenizer, "decode_single_token_bytes"):
        return _read_tiktoken(tokenizer)
    if hasattr(tokenizer, "IdToPiece"):
        return _read_sentencepiece(tokenizer)
    if hasattr(tokenizer, "special_ids") and hasattr(tokenizer, "id_to_piece"):
        return _read_mistral_sentencepiece(tokenizer)
    if hasattr(tokenizer, "backend_tokenizer") or hasattr(tokenizer, "get_added_tokens_decoder"):
        return _read_fast(tokenizer)
    if hasattr(tokenizer, "sp_model"):
        return _read_slow(tokenizer, _sentencepiece_spelling)
    if hasattr(tokenizer, "byte_decoder"):
        return _read_slow(tokenizer, _byte_level)
    # Wrappers: mistral-common's instruct tokenizers, transformers' MistralCommonBackend, processors, remote code.
    for name in ("instruct_tokenizer", "tokenizer"):
        inner = getattr(tokenizer, name, None)
        if inner is not None:
            return _read(inner)
    raise ValueError(
        f"{_kind(tokenizer)} is not a tokenizer that Guard can read (byte-level BPE, SentencePiece, tekken, tiktoken);"
        " Vocabulary.from_bytes takes the tokens' bytes themselves"
    )


def _read_fast(tokenizer: Any) -> _Table:
    """Read a `tokenizers.Tokenizer`, or a transformers tokenizer that has one."""
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    vocabulary: Mapping[str, int] = backend.get_vocab(with_added_tokens=True)
    names = _by_id(vocabulary)
    steps = _steps(backend.decoder)
    if not steps:
        steps = _steps(backend.pre_tokenizer)
    by_type = {step["type"]: step for step in steps}
    added = backend.get_added_tokens_decoder()
    special = {token for token, entry in added.items() if entry.special}
    special.update(getattr(tokenizer, "all_special_ids", ()))
    if "ByteLevel" in by_type:
        tokens = _byte_level(names)
        for token, entry in added.items():
            tokens[token] = entry.content.encode()  # matched in the text as it stands
    elif space := _space_of(steps):
        tokens = _pieces(names, space, has_bytes="ByteFallback" in by_type)
    else:
        found = ", ".join(by_type) or "none"
        raise ValueError(
            f"{_kind(tokenizer)} joins its tokens in a way that Guard cannot read (decoder: {found});"
            " byte-level BPE and SentencePiece are read, and Vocabulary.from_bytes takes the tokens' bytes themselves"
        )
    called = {entry.content: token for token, entry in added.items()}
    called |= {names[token]: token for token in special if token < len(names)}
    return _Table(tokens, special, _ids(getattr(tokenizer, "eos_token_id", None)), called)


def _read_slow(tokenizer: Any, spelling: Any) -> _Table:
    """Read a transformers tokenizer that is written in Python."""
    names = _by_id(tokenizer.get_vocab())
    tokens = spelling(names)
    for token, entry in tokenizer.added_tokens_decoder.items():
        tokens[token] = entry.content.encode()
    special = {token for token, entry in tokenizer.added_tokens_decoder.items() if entry.special}
    special.update(tokenizer.all_special_ids)
    called = {entry.content: token for token, entry in tokenizer.added_tokens_decoder.items()}
    return _Table(tokens, special, _ids(tokenizer.eos_token_id), called)


def _read_sentencepiece(processor: Any) -> _Table:
    """Read a `sentencepiece.SentencePieceProcessor`."""
    ids = list(range(processor.GetPieceSize()))
    tokens = _sentencepiece_spelling(processor.IdToPiece(ids))
    for token, unused in zip(ids, processor.IsUnused(ids), strict=True):
        if unused:
            tokens[token] = b""
    marks = zip(ids, processor.IsControl(ids), processor.IsUnknown(ids), strict=True)
    special = {token for token, control, unknown in marks if control or unknown}
    called = {processor.IdToPiece(token): token for token in special}
    return _Table(tokens, special, _ids(processor.eos_id()), called)


def _read_mistral_sentencepiece(tokenizer: Any) -> _Table:
    """Read a `mistral_common` SentencePieceTokenizer."""
    pieces, special = tokenizer.vocab(), {*tokenizer.special_ids, tokenizer.unk_id}
    called = {pieces[token]: token for token in special}
    return _Table(_sentencepiece_spelling(pieces), special, _ids(tokenizer.eos_id), called)


def _read_tekken(tokenizer: Any) -> _Table:
    """Read a `mistral_common` Tekkenizer."""
    spell = tokenizer.id_to_byte_piece  # b"" for special tokens
    special = set(tokenizer.special_ids)
    called = {tokenizer.id_to_piece(token): token for token in special}
    return _Table([spell(token) for token in range(tokenizer.n_words)], special, _ids(tokenizer.eos_id), called)


def _read_tiktoken(encoding: Any) -> _Table:
    """Read a `tiktoken.Encoding`."""
    special = {name: encoding.encode_single_token(name) for name in encoding.special_tokens_set}
    tokens: list[bytes] = []
    for token in range(encoding.n_vocab):
        try:
            tokens.append(encoding.decode_single_token_bytes(token))
        except KeyError:  # a hole
            tokens.append(b"")
    return _Table(tokens, set(special.values()), _ids(special.get("<|endoftext|>")), special)


def _ids(value: Any) -> list[int]:
    """Read what may be no id, one, or several; sentencepiece says -1 for none."""
    if value is None:
        return []
    return [int(token) for token in (value if isinstance(value, list | tuple) else [value]) if token >= 0]


def _by_id(vocabulary: Mapping[str, int]) -> list[str]:
    """Return the tokens' names by id; "" for ids that none has."""
    names = [""] * (max(vocabulary.values(), default=-1) + 1)
    for name, token in vocabulary.items():
        names[token] = name
    return names


def _steps(component: Any) -> list[dict[str, Any]]:
    """Return what a decoder or pre-tokenizer of `tokenizers` is made of, sequences unrolled."""
    if component is None:
        return []
    state = json.loads(component.__getstate__())  # how it pickles: its part of tokenizer.json
    return _unrolled(state)


def _unrolled(state: dict[str, Any]) -> list[dict[str, Any]]:
    if state["type"] != "Sequence":
        return [state]
    parts = state.get("decoders") or state.get("pretokenizers") or []
    return [step for part in parts for step in _unrolled(part)]


def _space_of(steps: list[dict[str, Any]]) -> str | None:
    """Return the character that a decoder turns into a space, if it does so."""
    for step in steps:
        if step["type"] == "Metaspace":
            return str(step["replacement"])
        if step["type"] == "Replace" and step["content"] == " " and "String" in step["pattern"]:
            return str(step["pattern"]["String"])
    return None


def _sentencepiece_spelling(names: Sequence[str]) -> list[bytes]:
    return _pieces(names, SPACE, has_bytes=True)


def _pieces(names: Sequence[str], space: str, has_bytes: bool) -> list[bytes]:
    """Spell SentencePiece's pieces."""
    tokens = [name.replace(space, " ").encode() for name in names]
    if has_bytes:
        tokens = [BYTE_PIECES.get(name, token) for name, token in zip(names, tokens, strict=True)]
    return tokens


def _byte_level(names: Sequence[str]) -> list[bytes]:
    from guard.kernels import byte_level  # here: NumPy takes a while to import

    return byte_level.spelled(names)


def _generation_config_eos(tokenizer: Any) -> list[int]:
    """Return the end-of-sequence tokens of the model's generation config, where it is on this machine."""
    name = getattr(tokenizer, "name_or_path", None)
    if not name:
        return []
    path = Path(name) / "generation_config.json"
    if not path.is_file():
        if not _REPOSITORY.fullmatch(str(name)):
            return []
        try:
            from huggingface_hub import try_to_load_from_cache  # here: only a tokenizer from a hub has it
        except ImportError:
            return []
        cached = try_to_load_from_cache(str(name), path.name)
        if not isinstance(cached, str):
            return []
        path = Path(cached)
    return _ids(json.loads(path.read_text(encoding="utf-8")).get("eos_token_id"))

"""Forced text as tokens: what the tokenizer itself would write, as far as nothing that follows can change it.

A schema often forces what comes next (`", "total": `). Appending it saves a forward pass a token, but only the tokens
that the model was trained to see keep its answers good, and a tokenizer may cut the end of a text differently
once more text follows: `"` and `,` become `",`. So a run of forced bytes is encoded with the text before it, and what
lies behind the last certain boundary is left for the model to write under its mask, where it has the choice.

Tokenizers cut a text into pieces before they merge within a piece. A boundary is certain when the last piece begins
there and still does so whatever is appended (PROBES stand for everything). A tokenizer without pieces is
SentencePiece's kind, which never merges over the beginning of a word: there, a boundary is where a space begins.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from guard.kernels.bitmask import WORD, allocate_bitmask
from guard.kernels.memo import Memo
from guard.kernels.vocabulary import Vocabulary

#: What may follow a text, one for each way in which tokenizers are known to tell characters apart.
PROBES = ("a", "Z", "s ", "re ", "ll ", "1", " ", " a", "\n", '"', "'", ".", "-", "é", "文", "\u0301", "😀")
#: How many of the tokens before a forced run are encoded with it; pieces are rarely longer.
CONTEXT_TOKENS = 12
#: Bytes of the runs that are remembered; documents of one type force the same runs.
REMEMBERED_RUNS = 4_000_000
#: How many tokenizers are remembered with what was made of them, for processors, of which every call may have its own.
REMEMBERED_TOKENIZERS = 4
#: Text that tokenizers write in different tokens.
SAMPLE = '{"name": "a value"}'
#: Shortest run worth encoding, in bytes: shorter ones end in a piece that can still grow.
SHORTEST_RUN = 2


class Forcing:
    """Turns forced bytes into tokens, for one tokenizer and its vocabulary; from any thread."""

    def __init__(self, tokenizer: Any, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._tokenizer = tokenizer
        self._backend = getattr(tokenizer, "backend_tokenizer", None)
        self._added: tuple[str, ...] = ()
        if self._backend is not None:
            self._added = tuple(entry.content for entry in self._backend.get_added_tokens_decoder().values())
        tokens = [vocabulary.token_bytes(token) for token in range(vocabulary.size)]
        self._words_are_closed = not any(b" " in token.lstrip(b" ") for token in tokens)
        self.space_words = allocate_bitmask(1, vocabulary.size)[0]  # a mask of the tokens that begin with a space
        for token, data in enumerate(tokens):
            if data.startswith(b" "):
                self.space_words.view(np.uint32)[token // WORD] |= np.uint32(1 << token % WORD)
        self.leads_with_space = b"".join(map(vocabulary.token_bytes, self._encode("{"))).startswith(b" ")
        self._run = Memo(self._encode_run, REMEMBERED_RUNS, _nbytes)

    def tokens(self, written: Sequence[int], forced: bytes, *, is_final: bool) -> tuple[int, ...]:
        """The tokens to append after those written; none where the tokenizer would not cut the text that way.

        `is_final` says that nothing but the end of the sequence follows the run: then all of it is certain.
        """
        if len(forced) < SHORTEST_RUN and not is_final:
            return ()
        context = b"".join(map(self._vocabulary.native.token_bytes, written[-CONTEXT_TOKENS:]))
        return self._run(context, forced, is_final)

    def rest(self, text: str, done: int) -> tuple[int, ...]:
        """Return the tokens of a text behind its first `done` bytes, as the tokenizer cuts the whole of it.

        Where it cuts no token there, the rest is cut as a text of its own.
        """
        data = text.encode()
        whole = self._behind(text, done, len(data)) if done else None
        return tuple(self._encode(data[done:].decode(errors="ignore"))) if whole is None else whole

    def _encode_run(self, context: bytes, forced: bytes, is_final: bool) -> tuple[int, ...]:
        cut = _characters(context + forced)
        if cut is None or cut[0] > len(context):
            return ()
        start, text = len(context) - cut[0], cut[1]
        end = len(text.encode()) if is_final else len(text[: self._certain(text)].encode())
        tokens = self._behind(text, start, end)
        if tokens is None:  # no token begins where the run does: the model has cut its own end otherwise
            cut = _characters(forced)
            tokens = self._behind(cut[1], 0, end - start) if cut is not None and cut[0] == 0 else None
        return tokens or ()

    def _behind(self, text: str, start: int, end: int) -> tuple[int, ...] | None:
        """The text's tokens from byte `start` to the last that ends by `end`; None where none begins at `start`."""
        whole = text.encode()
        ids = self._encode(text)
        spelled = [self._vocabulary.token_bytes(token) for token in ids]
        at, first = len(whole), len(ids)  # from the end: a tokenizer may put a space of its own at the beginning
        while first > 0 and at > start:
            first -= 1
            at -= len(spelled[first])
        if at != start or b"".join(spelled[first:]) != whole[start:]:
            return None
        taken: list[int] = []
        for token, data in zip(ids[first:], spelled[first:], strict=True):
            at += len(data)
            if at > end or not data:
                break
            taken.append(token)
        return tuple(taken)

    def _certain(self, text: str) -> int:
        """The last character index of the text at which a token begins whatever follows; 0 where none is known."""
        end = len(text)
        for content in self._added:  # the text may end in the beginning of an added token
            for length in range(1, len(content)):
                if text.endswith(content[:length]):
                    end = min(end, len(text) - length)
        starts = self._starts(text, len(text))
        if starts is None:
            return _last_word(text[:end]) if self._words_are_closed else 0
        last = starts[-1] if starts else 0
        certain = {start for start in starts if start <= min(last, end)}
        for probe in PROBES:
            if not certain:
                break
            certain.intersection_update(self._starts(text + probe, last) or ())
        return max(certain, default=0)

    def _starts(self, text: str, same: int) -> list[int] | None:
        """Where the tokenizer's pieces begin; None without pieces, or if the first `same` characters are rewritten."""
        backend = self._backend
        if backend is None or backend.pre_tokenizer is None:
            return None
        normal = text if backend.normalizer is None else backend.normalizer.normalize_str(text)
        if not normal.startswith(text[:same]):
            return None
        return [start for _, (start, _) in backend.pre_tokenizer.pre_tokenize_str(normal)]

    def _encode(self, text: str) -> list[int]:
        if self._backend is not None:
            return list(self._backend.encode(text, add_special_tokens=False).ids)
        return list(self._tokenizer.encode(text, add_special_tokens=False))


def _nbytes(tokens: tuple[int, ...], context: bytes, forced: bytes, _is_final: bool) -> int:
    """Return about how many bytes a run and its tokens take."""
    return 400 + len(context) + len(forced) + 40 * len(tokens)


@functools.lru_cache(REMEMBERED_TOKENIZERS)
def forcing_of(tokenizer: Any, vocabulary: Vocabulary) -> Forcing:
    """Make a Forcing, which looks at every token, or give the one that was made of the same objects before.

    Raises ValueError where the vocabulary is not the tokenizer's.
    """
    try:
        forcing = Forcing(tokenizer, vocabulary)
        spelled = b"".join(map(vocabulary.token_bytes, forcing._encode(SAMPLE)))
    except (IndexError, AttributeError):  # the vocabulary has no such token; it is no tokenizer
        pass
    else:
        if spelled.removeprefix(b" ") == SAMPLE.encode():
            return forcing
    raise ValueError(f"tokenizer={type(tokenizer).__name__} must be the one that the vocabulary was read from")


def _characters(data: bytes) -> tuple[int, str] | None:
    """The whole characters of bytes that were cut anywhere at both ends, and how many bytes were lost in front."""
    front = next((cut for cut in range(min(4, len(data))) if data[cut] & 0xC0 != 0x80), 0)
    for back in range(len(data), max(front, len(data) - 4), -1):
        try:
            return front, data[front:back].decode()
        except UnicodeDecodeError:
            continue
    return None


def _last_word(text: str) -> int:
    """Where the text's last word begins, the spaces before it included."""
    words = text.rstrip(" ")
    if words != text:
        return len(words)
    return len(text[: max(text.rfind(" "), 0)].rstrip(" "))

"""Answers as training examples: spelled as the masks demand, tokenized as decoding does, split without leaks.

A *pair* is a question with its right answer. The masks allow few spellings of a value: keys in the schema's order, and
the compiled format of numbers and white space. A pair is dropped, and counted by reason, where no spelling of its
answer passes the masks, or where its schema leaves no choice.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from guard.errors import CallError, GuardError
from guard.kernels.cached import cached_property
from guard.models.chat_messages import said_by_user
from guard.output.grounding import grounded
from guard.support.subschemas import applying

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from guard.decoding.teacher import AnswerPath
    from guard.models.local.transformers import TransformersModel
    from guard.schemas.compiled import Compiled
    from guard.schemas.grounding.sources import Sources

LONGEST = 2048  #: Most tokens of prompt and answer together; longer pairs are dropped.
DEPTH = 64  #: Nesting levels of an answer that are respelled.


@dataclass(frozen=True)
class Pair:
    """A question and its right answer."""

    messages: tuple[Mapping[str, Any], ...]
    compiled: Compiled
    answer: str  # JSON
    source: str = ""  # its origin: "call 12", "line 3"
    started: float = 0.0  # seconds since the epoch
    by: str = ""  # a model's name, or "person"
    is_approved: bool = False  # whether a person said that it is right
    sources: Sources | None = None  # of grounded values; None: what the user says

    def asked_for(self) -> Compiled:
        """Return the schema whose masks a model answers under: that of grounded values with what the question states.

        Raises ValidationFailed where it states no value that the schema could have, and Truncated where it is too long.
        """
        if not self.compiled.is_grounded:
            return self.compiled
        from guard.schemas.grounding.sources import Sources  # here: few types need it

        return grounded(self.compiled, Sources(said_by_user(self.messages)) if self.sources is None else self.sources)

    @cached_property
    def input_hash(self) -> str:
        """A digest of the question and the schema of its answer."""
        return digest(self.messages, self.compiled.hash)

    @cached_property
    def question(self) -> str:
        """A digest of the question, whatever the schema: versions of a schema ask the same."""
        return digest(self.messages)


def digest(messages: Iterable[Mapping[str, Any]], *more: str) -> str:
    """Return a digest of a question."""
    said = [[message.get("role"), message.get("content")] for message in messages]
    return hashlib.sha256(json.dumps([said, *more], sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Example:
    """A pair as tokens, with the mask at each token of the answer."""

    pair: Pair
    prompt: tuple[int, ...]
    path: AnswerPath

    @property
    def size(self) -> int:
        """The number of tokens of prompt and answer."""
        return len(self.prompt) + len(self.path.tokens)


@dataclass
class Parts:
    """Examples by purpose; no question is in two parts."""

    train: list[Example] = field(default_factory=list)
    validation: list[Example] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)  # reason → how many


def split(pairs: Sequence[Pair], share: float) -> tuple[list[Pair], list[Pair]]:
    """Split pairs into those trained on and those held out: a share by the hash of the question, and as many newest.

    The newest pairs measure how the model will do on what comes next, the hashed ones how it does on the same kind of
    questions. Without known times only the hash decides.
    """
    held = {pair.question for pair in pairs if int(pair.input_hash[:8], 16) < share * 2**32}
    if len({pair.started for pair in pairs}) > 1:
        newest = sorted(pairs, key=lambda pair: pair.started)[len(pairs) - int(share * len(pairs)) :]
        held |= {pair.question for pair in newest}
    return [p for p in pairs if p.question not in held], [p for p in pairs if p.question in held]


def learned(cards: Iterable[Mapping[str, Any]]) -> Callable[[Pair], bool]:
    """Return whether a pair's question is one that models with these cards were trained on.

    Of a model that was made before questions were noted it is known only which calls or lines it was trained on.
    """
    cards = list(cards)
    asked = {question for card in cards for question in card.get("questions", ())}
    sources = {source for card in cards if "questions" not in card for source in card.get("sources", ())}
    return lambda pair: pair.question in asked or pair.source in sources


def deduplicated(pairs: Iterable[Pair], dropped: Counter[str]) -> list[Pair]:
    """Return one pair for each question: a person's answer, else one that a person approved, else the newest."""
    kept: dict[str, Pair] = {}
    for pair in pairs:
        if not _is_unicode(pair):
            dropped["half of a character"] += 1
            continue
        before = kept.get(pair.input_hash)
        if before is not None:
            dropped["asked twice"] += 1
            if _weight(before) > _weight(pair):
                continue
        kept[pair.input_hash] = pair
    return list(kept.values())


def _weight(pair: Pair) -> tuple[bool, bool, float]:
    return pair.by == "person", pair.is_approved, pair.started


def cut(model: TransformersModel, pairs: Iterable[Pair], dropped: Counter[str]) -> Iterator[Example]:
    """Yield the pairs as examples; `dropped` counts the others by reason."""
    seen: dict[bytes, NDArray[np.int32]] = {}  # equal masks share one array: most of them say "any text"
    for pair in pairs:
        try:
            prompt = tuple(model.prompt(pair.messages))
        except GuardError:
            dropped["its messages make no prompt"] += 1
            continue
        room = LONGEST - len(prompt)
        try:
            compiled = pair.asked_for()
            path = next(filter(None, (model.follow(compiled, text, room) for text in spellings(pair))), None)
        except CallError:
            dropped["its inputs state no answer"] += 1
            continue
        except GuardError:
            dropped["its schema is refused"] += 1
            continue
        if room <= 0:
            dropped["too long"] += 1
        elif path is None:
            dropped["no path of the masks"] += 1
        elif not path.chosen:
            dropped["nothing to choose"] += 1
        else:
            masks = tuple(seen.setdefault(mask.tobytes(), mask) for mask in path.masks)
            yield Example(pair, prompt, type(path)(path.tokens, path.chosen, masks))


def _is_unicode(pair: Pair) -> bool:
    """Whether all texts of a pair can be written; JSON can name a half of a character (a lone surrogate) alone."""
    try:
        json.dumps([pair.messages, json.loads(pair.answer)], ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def spellings(pair: Pair) -> Iterator[str]:
    """Yield distinct spellings of the answer that the masks may allow, the likeliest first."""
    told = set()
    value = json.loads(pair.answer)
    schema = pair.compiled.arguments().get("schema")
    for text in (
        json.dumps(_ordered(value, (schema,), schema, DEPTH), ensure_ascii=False),
        json.dumps(_ordered(_whole(value), (schema,), schema, DEPTH), ensure_ascii=False),
        pair.answer,
    ):
        if text not in told:
            told.add(text)
            yield text


def _whole(value: Any) -> Any:
    """Return a value with whole floats replaced by integers."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return {key: _whole(item) for key, item in value.items()} if isinstance(value, dict) else value


def _ordered(value: Any, schemas: tuple[Any, ...], root: Any, depth: int) -> Any:
    """Return a value with the keys of its objects in the order in which the schemas declare them."""
    if depth == 0:
        return value
    about = list(applying(schemas, root))
    if isinstance(value, list):
        inner = tuple(schema["items"] for schema in about if "items" in schema)
        firsts = [schema.get("prefixItems", ()) for schema in about]
        return [
            _ordered(item, inner + tuple(f[at] for f in firsts if at < len(f)), root, depth - 1)
            for at, item in enumerate(value)
        ]
    if not isinstance(value, dict):
        return value
    declared = [schema.get("properties", {}) for schema in about]
    ranks: dict[str, int] = {}
    for properties in declared:
        for key in properties:
            ranks.setdefault(key, len(ranks))
    keys = sorted(value, key=lambda key: ranks.get(key, len(ranks)))
    return {key: _ordered(value[key], tuple(p[key] for p in declared if key in p), root, depth - 1) for key in keys}

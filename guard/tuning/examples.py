"""Answers as training examples: respelled as the masks spell, cut into tokens as decoding cuts, split without leaks.

A *pair* is a question with its right answer. The masks allow one spelling of a value: keys in the schema's order, its
numbers, its spaces. A pair whose answer no spelling brings onto their path is dropped, and counted under its reason, as
is one whose schema leaves no choice.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from guard.errors import GuardError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from guard.decoding.teacher import AnswerPath
    from guard.models.local.transformers import TransformersModel
    from guard.schemas.compiled import Compiled

LONGEST = 2048  #: Tokens of prompt and answer together; longer pairs are dropped.
DEPTH = 64  #: Levels of an answer that are respelled.


@dataclass(frozen=True)
class Pair:
    """A question and its right answer."""

    messages: tuple[Mapping[str, Any], ...]
    compiled: Compiled
    answer: str  # JSON
    source: str = ""  # where it is from: "call 12", "line 3"
    started: float = 0.0  # seconds since the epoch
    by: str = ""  # who answered: a model's name, or "person"

    @functools.cached_property
    def input_hash(self) -> str:
        """Return a digest of the question: pairs that share it ask the same."""
        said = [[message.get("role"), message.get("content")] for message in self.messages]
        return hashlib.sha256(json.dumps([said, self.compiled.hash], sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Example:
    """A pair in tokens."""

    pair: Pair
    prompt: tuple[int, ...]
    path: AnswerPath

    @property
    def size(self) -> int:
        """Tokens of prompt and answer."""
        return len(self.prompt) + len(self.path.tokens)


@dataclass
class Parts:
    """Examples by what they are for; no input is in two of them."""

    train: list[Example] = field(default_factory=list)
    validation: list[Example] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)  # reason → how many


def split(pairs: Sequence[Pair], share: float) -> tuple[list[Pair], list[Pair]]:
    """Split into what is trained on and what is held out: a share by the hash of the input, and as many of the newest.

    The newest say how it goes on, the hash how it is; where no times are known only the hash counts.
    """
    held = {pair.input_hash for pair in pairs if int(pair.input_hash[:8], 16) < share * 2**32}
    if len({pair.started for pair in pairs}) > 1:
        newest = sorted(pairs, key=lambda pair: pair.started)[len(pairs) - int(share * len(pairs)) :]
        held |= {pair.input_hash for pair in newest}
    return [p for p in pairs if p.input_hash not in held], [p for p in pairs if p.input_hash in held]


def deduplicated(pairs: Iterable[Pair], dropped: Counter[str]) -> list[Pair]:
    """Return one pair for each question: a person's where there is one, else the newest."""
    kept: dict[str, Pair] = {}
    for pair in pairs:
        before = kept.get(pair.input_hash)
        if before is not None:
            dropped["asked twice"] += 1
            if (before.by == "person", before.started) > (pair.by == "person", pair.started):
                continue
        kept[pair.input_hash] = pair
    return list(kept.values())


def cut(model: TransformersModel, pairs: Iterable[Pair], dropped: Counter[str]) -> Iterator[Example]:
    """Yield the pairs as examples; counts those that are none."""
    seen: dict[bytes, NDArray[np.int32]] = {}  # equal masks are kept once: most are "any text goes on"
    for pair in pairs:
        try:
            prompt = tuple(model.prompt(pair.messages))
            room = LONGEST - len(prompt)
            path = next(filter(None, (model.follow(pair.compiled, text, room) for text in spellings(pair))), None)
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


def spellings(pair: Pair) -> Iterator[str]:
    """Yield the answer's text in the spellings that the masks may allow, the likeliest first, none twice."""
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
    """Return a value whose numbers are integers where they can be."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return {key: _whole(item) for key, item in value.items()} if isinstance(value, dict) else value


def _ordered(value: Any, schemas: tuple[Any, ...], root: Any, depth: int) -> Any:
    """Return a value with the keys of objects in the order in which the schemas that are about it declare them."""
    if depth == 0:
        return value
    about = list(_about(schemas, root))
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


def _about(schemas: tuple[Any, ...], root: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the schemas that say something of the same value: these, and those that they refer to or are made of."""
    waiting, seen = list(schemas), set()
    while waiting:
        schema = waiting.pop(0)
        if not isinstance(schema, dict) or id(schema) in seen:
            continue
        seen.add(id(schema))
        yield schema
        if str(schema.get("$ref", "")).startswith("#"):
            waiting.append(_at(root, schema["$ref"][1:]))
        for word in ("allOf", "anyOf", "oneOf"):
            waiting += schema.get(word, ())
        waiting += [schema[word] for word in ("then", "else") if word in schema]


def _at(root: Any, pointer: str) -> Any:
    found = root
    for part in filter(None, pointer.split("/")):
        key = part.replace("~1", "/").replace("~0", "~")
        found = found.get(key) if isinstance(found, dict) else None
    return found

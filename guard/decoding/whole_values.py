"""Values chosen as a whole: the candidates of a closed choice, scored along the tree of their tokens.

Greedy decoding takes the likeliest next token, and may so enter the likeliest beginning of an unlikely value. Here all
values that an input states are candidates, and the most probable one is taken. Those that share tokens share the way to
them: the tokens of many candidates go through the model in one pass, each seeing only what is in front of it
(`Evaluate`). The likeliest beginnings are followed first, until no other can lead to a more probable value, or at most
`WAVES` times; a candidate that was not reached then counts as less probable.

A text is cut into tokens as the tokenizer does. Its last token may also hold the quote that ends it, and more: the
probabilities of all tokens that end it in the same way are added. So are those of the spellings of a number.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from guard.decoding.alternative import Alternative

if TYPE_CHECKING:
    from guard.kernels.vocabulary import Vocabulary

MOST_TEXTS = 4_000  #: Candidates of one value; beyond that, it is decoded token by token.
WAVES = (16, 16, 8)  #: Tokens in the first pass for a value, in the second and the third.
AHEAD = -0.5  #: The log-probability that a token is taken to have before its pass: likely beginnings go on likely.
#: The log-probability of the impossible: the smallest finite one.
LEAST = math.log(sys.float_info.min)
MOST_ALTERNATIVES = 3  #: Values that are told beside the chosen one.

#: Runs a pass over tokens of the tree; returns the log-probabilities of the next token behind each, [tokens, width].
#: Takes the tokens and the index of the one before each: -1 what was written, else of all tokens of this value so far.
Evaluate = Callable[[list[int], list[int]], NDArray[np.float32]]
#: Cuts a text that goes on from what was written into tokens.
Encode = Callable[[bytes], Sequence[int]]


@dataclass(frozen=True)
class Scored:
    """A candidate with what the model thinks of it: of the spellings of a number, the most probable one."""

    text: bytes
    tokens: tuple[int, ...]  # without the one that ends it
    rest: bytes  # of the text, in the token that ends it
    logprob: float  # of all of its tokens, the one that ends it included; of all spellings
    ends: tuple[int, ...]  # the tokens that may end it, the likeliest first


@dataclass(frozen=True)
class Candidates:
    """The candidates that were reached, the most probable first, and how probable the others are at most, together."""

    found: Sequence[Scored]
    unreached: float = 0.0


@dataclass
class _Node:
    """What some candidates begin with."""

    token: int
    parent: _Node | None
    depth: int
    children: dict[int, _Node] = field(default_factory=dict)
    ends: list[tuple[bytes, bytes]] = field(
        default_factory=list
    )  # texts that end here; of each what is in its last token
    logprob: float = 0.0  # once the parent has its pass
    row: int = -2  # in the order of passes; -1: what was written; -2: none yet

    def path(self) -> tuple[int, ...]:
        """Return the tokens from the root to here."""
        out, node = [], self
        while node.parent is not None:
            out.append(node.token)
            node = node.parent
        return tuple(reversed(out))


class Endings:
    """The tokens of a vocabulary that end a value, by what of its text they hold."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._texts = [vocabulary.token_bytes(token) for token in range(vocabulary.size)]
        self._found: dict[tuple[bytes, bool], NDArray[np.int64]] = {}

    def of(self, rest: bytes, *, is_text: bool) -> NDArray[np.int64]:
        """Return the tokens that begin with the rest of a text and what ends it."""
        key = rest, is_text
        if key not in self._found:
            ends = tuple(rest + end for end in ((b'"',) if is_text else (b",", b"}", b"]", b"\n", b" ")))
            found = [token for token, text in enumerate(self._texts) if text.startswith(ends)]
            self._found[key] = np.array(found, dtype=np.int64)
        return self._found[key]


def scored(
    texts: Sequence[bytes],
    root: NDArray[np.float32],
    encode: Encode,
    endings: Endings,
    vocabulary: Vocabulary,
    evaluate: Evaluate,
    *,
    is_text: bool,
) -> Candidates:
    """Score the candidates along their tree. `root`: log-probabilities of the next token."""
    tree = _Node(-1, None, 0, row=-1)
    for text, path, rest in _paths(texts, encode, vocabulary, is_text=is_text):
        node = tree
        for token in path:
            if token not in node.children:
                node.children[token] = _Node(token, node, node.depth + 1)
            node = node.children[token]
        node.ends.append((text, rest))
    found: list[Scored] = []
    rows = 0

    def reach(node: _Node, row: NDArray[np.float32]) -> None:
        """Score what ends at a node; tell its children how likely they are."""
        for text, rest in node.ends:
            ending = endings.of(rest, is_text=is_text)
            if len(ending):
                total = node.logprob + float(np.logaddexp.reduce(row[ending].astype(np.float64)))
                ends = tuple(ending[np.argsort(-row[ending], kind="stable")].tolist())
                found.append(Scored(text, node.path(), rest, total, ends))
        for child in node.children.values():
            child.logprob = node.logprob + float(row[child.token])

    reach(tree, root)
    open_nodes = list(tree.children.values())
    for most in WAVES:
        wave = _likeliest(open_nodes, most)
        most_probable = max((one.logprob for one in found), default=-math.inf)
        if all(node.logprob <= most_probable for node in open_nodes):
            break
        for number, node in enumerate(wave, rows):
            node.row = number
        result = evaluate([node.token for node in wave], [node.parent.row for node in wave if node.parent is not None])
        rows += len(wave)
        for node, row in zip(wave, result, strict=True):
            reach(node, row)
        open_nodes = [
            *(node for node in open_nodes if node.row == -2),
            *(child for node in wave for child in node.children.values() if child.row == -2),
        ]
    unreached = sum(math.exp(node.logprob) for node in open_nodes)
    return Candidates(_by_value(found, is_text=is_text), unreached)


def _by_value(found: Sequence[Scored], *, is_text: bool) -> list[Scored]:
    """Return one candidate for each value, its most probable spelling with the probability of all: 7 is 7.0."""
    values: dict[Any, list[Scored]] = {}
    for one in sorted(found, key=_rank):
        value = one.text if is_text else json.loads(one.text, parse_int=Decimal, parse_float=Decimal)  # or None
        values.setdefault(value, []).append(one)
    return sorted(
        (
            dataclasses.replace(same[0], logprob=float(np.logaddexp.reduce([one.logprob for one in same])))
            for same in values.values()
        ),
        key=_rank,
    )


def _rank(one: Scored) -> tuple[float, int, bytes]:
    return -one.logprob, len(one.text), one.text


def _likeliest(nodes: Sequence[_Node], most: int) -> list[_Node]:
    """Return the nodes for the next pass, each behind its parent: the likeliest, and what may follow them."""
    heap = [(-node.logprob, number, node) for number, node in enumerate(nodes)]
    heapq.heapify(heap)
    count = len(heap)
    out: list[_Node] = []
    while heap and len(out) < most:
        cost, _, node = heapq.heappop(heap)
        out.append(node)
        for child in node.children.values():
            guess = cost - AHEAD + math.log(len(node.children) + len(node.ends))
            heapq.heappush(heap, (guess, count, child))
            count += 1
    return out


def _paths(
    texts: Sequence[bytes], encode: Encode, vocabulary: Vocabulary, *, is_text: bool
) -> Iterator[tuple[bytes, tuple[int, ...], bytes]]:
    """Yield each text, its tokens but for the one that ends it, and what of it is in that one.

    A text that another one goes on from, at a word's end, has the tokens of that one: few texts are encoded.
    """
    end = b'"' if is_text else b","
    longer: bytes = b""
    cuts: dict[int, int] = {}
    tokens: tuple[int, ...] = ()
    for text in sorted(texts, reverse=True):  # what begins with a text comes before it
        if (
            longer.startswith(text)
            and len(text) in cuts
            and text[-1:].isalnum()
            and not longer[len(text) :][:1].isalnum()
        ):
            yield text, tokens[: cuts[len(text)]], b""
            continue
        longer, cuts, at = text, {}, 0
        tokens = tuple(encode(text + end))
        for number, token in enumerate(tokens):
            cuts[at] = number
            at += len(vocabulary.token_bytes(token))
        last = max((size for size in cuts if size <= len(text)), default=0)
        yield text, tokens[: cuts.get(last, 0)], text[last:]


def token_logprobs(choice: Candidates, chosen: Scored) -> list[float]:
    """Return the log-probability of each token of a candidate, its end included, among those of the candidates.

    Their sum is that of the candidate.
    """
    found, chances = choice.found, posterior(choice)
    masses = [
        sum(p for one, p in zip(found, chances, strict=True) if one.tokens[:size] == chosen.tokens[:size])
        for size in range(len(chosen.tokens) + 1)
    ]
    masses = [1.0, *masses[1:], chances[found.index(chosen)]]
    return [min(0.0, math.log(after / before)) if after > 0 else LEAST for before, after in itertools.pairwise(masses)]


def posterior(choice: Candidates) -> list[float]:
    """Return the probability of each candidate among all of them, at least: those not reached may be less probable."""
    logprobs = np.array([one.logprob for one in choice.found], dtype=np.float64)
    most = float(logprobs.max())
    weights = np.exp(logprobs - most)
    return [float(weight) for weight in weights / (weights.sum() + choice.unreached * math.exp(min(-most, 700.0)))]


def alternatives(choice: Candidates, chosen: Scored, *, is_text: bool) -> tuple[Alternative, ...]:
    """Return the best candidates beside the chosen one."""
    pairs = zip(choice.found, posterior(choice), strict=True)
    best = [pair for pair in pairs if pair[0] is not chosen][:MOST_ALTERNATIVES]
    return tuple(Alternative(json.loads(b'"' + one.text + b'"' if is_text else one.text), p) for one, p in best)

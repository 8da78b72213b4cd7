"""What must hold of the engine, each as one function of a case: tests/ runs a slice, fuzz/ runs them without end.

A function raises AssertionError, worded for whoever has only the message, where the property does not hold. Otherwise
it returns what it counted: "schemas" or how many texts, tokens and verdicts it judged, and what it set aside: "differ"
(the referees do) and "limits" (the engine met a limit: its right, and rare).
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from random import Random
from typing import Any

import numpy as np
import records
from referees import DuplicateKeyError, Referees, parse
from strategies import EVERY_WAY, Case, byte_vocabulary, respell, universe

import guard
from guard.kernels.bitmask import allocate_bitmask
from guard.schemas import regex as ecma

END = 256  #: The end-of-sequence token of byte_vocabulary().
LONGEST = 1000  #: Bytes after which a walk by distance that has not ended is a fault; only numbers come near it.


def allowed(matcher: Any, vocabulary: guard.Vocabulary, remaining: int | None = None) -> np.ndarray[Any, Any]:
    """Return the tokens that a mask allows, read bit by bit."""
    row = allocate_bitmask(1, vocabulary.size)
    matcher.fill_bitmask(row, remaining=remaining)
    return bits(row[0])


def bits(row: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the indices of the bits of a row that are 1."""
    return np.flatnonzero(np.unpackbits(row.view(np.uint8), bitorder="little"))


def within_limits(check: Callable[..., Counter[str]], *arguments: Any) -> Counter[str]:
    """Check, and count it where the engine meets a limit instead."""
    try:
        return check(*arguments)
    except guard.SchemaError as error:
        if error.limit is None:
            raise
        return Counter(schemas=1, limits=1)


# ---- masks -----------------------------------------------------------------------------------------------------------


def check_masks(case: Case, vocabulary: guard.Vocabulary, steps: int = 12) -> Counter[str]:
    """Walk at random; in every state all that a matcher says of what may come next is the same."""
    r = Random(case.seed)
    count: Counter[str] = Counter(schemas=1)
    matcher = case.matcher(vocabulary)
    for _ in range(steps):
        after = check_state(matcher, vocabulary, f"{case} after {count['tokens']} tokens")
        count["verdicts"] += vocabulary.size
        going = [token for token in after if token not in vocabulary.eos]
        if not going:
            break
        # Short ways end soon, long tokens cross lexemes: both in turn.
        near = sorted(going, key=lambda token: (after[token], r.random()))
        long = sorted(going, key=lambda token: (-len(vocabulary.token_bytes(token)), r.random()))
        token = r.choice([near[0], r.choice(going), r.choice(long[:5])])
        assert matcher.accept(token)
        count["tokens"] += 1
    return count


def check_state(matcher: Any, vocabulary: guard.Vocabulary, where: str) -> dict[int, int]:
    """Compare masks, budgets, distance and the end with accept(); return the distance after each allowed token."""
    distance, can_stop = matcher.distance(), matcher.can_stop()
    after: dict[int, int] = {}
    for token in range(vocabulary.size):
        if matcher.accept(token):
            after[token] = matcher.distance()
            matcher.rollback()
    mask = allowed(matcher, vocabulary).tolist()
    assert mask == list(after), f"{where}: the mask allows {mask}, accept {list(after)}"
    ends = set(vocabulary.eos)
    assert can_stop == ends.issubset(after) == bool(ends & after.keys()), f"{where}: can_stop() is {can_stop}: {mask}"
    assert not after.keys() & set(vocabulary.special) - ends, f"{where}: special tokens are allowed: {mask}"
    if not after:
        assert distance == -1, f"{where}: nothing is allowed, but distance() is {distance}"
        return after
    assert distance >= 0, f"{where}: tokens are allowed, but distance() is {distance}"
    dead = [vocabulary.token_bytes(token) for token, left in after.items() if left < 0]
    assert not dead, f"{where}: dead ends are allowed: {dead}"
    if not matcher.is_finished():
        assert 1 + min(after.values()) <= distance, (
            f"{where}: no token lowers distance() {distance}: {min(after.values())}"
        )
    for remaining in {0, 1, distance - 1, distance, distance + 1, distance + 7}:
        if remaining >= 0:
            within = [token for token, left in after.items() if 1 + left <= remaining]
            mask = allowed(matcher, vocabulary, remaining).tolist()
            assert mask == within, f"{where}: remaining={remaining} allows {mask}, distances {within}"
    return after


# ---- forced bytes ----------------------------------------------------------------------------------------------------


def check_forced_bytes(case: Case, steps: int = 20) -> Counter[str]:
    """Walk at random; forced bytes are all that may follow, one at a time, and after them there is a choice."""
    r = Random(case.seed)
    count: Counter[str] = Counter(schemas=1)
    matcher = case.matcher(byte_vocabulary())
    for _ in range(steps):
        forced = matcher.forced_bytes()
        for at, byte in enumerate(forced):
            next_bytes = allowed(matcher, byte_vocabulary()).tolist()
            assert next_bytes == [byte], f"{case}: {forced!r} is forced, but {next_bytes} may follow {forced[:at]!r}"
            assert matcher.accept(byte)
        next_bytes = allowed(matcher, byte_vocabulary()).tolist()
        assert len(next_bytes) != 1 or next_bytes == [END], f"{case}: {next_bytes} is forced too, after {forced!r}"
        count["forced"] += len(forced)
        going = [byte for byte in next_bytes if byte != END]
        if not going:
            break
        assert matcher.accept(r.choice(going))
        count["tokens"] += 1
    return count


# ---- generations -----------------------------------------------------------------------------------------------------


def check_generation(case: Case, vocabulary: guard.Vocabulary) -> Counter[str]:
    """Let an adversary, whose logits are noise, write under a random budget: it ends in time, with a valid value."""
    r, noise = Random(case.seed), np.random.default_rng(case.seed)
    count: Counter[str] = Counter(schemas=1)
    matcher = case.matcher(vocabulary)
    least = matcher.distance()
    if least < 0:
        assert not allowed(matcher, vocabulary).size, f"{case}: nothing is valid, but tokens are allowed"
        return count + Counter(unsatisfiable=1)
    budget = least + r.choice([0, 0, 1, 2, 5, 20, 60])
    written: list[int] = []
    while not matcher.is_finished():
        choice = allowed(matcher, vocabulary, budget - len(written))
        text = b"".join(map(vocabulary.token_bytes, written))
        assert choice.size, f"{case}: a dead end, {budget - len(written)} of {budget} tokens before the end: {text!r}"
        if (is_scarce := matcher.is_scarce()) or len(written) % 4 == 0:
            free = allowed(matcher, vocabulary)
            assert not matcher.is_scarce(), f"{case}: no budget, and yet it rules something out after {text!r}"
            assert is_scarce or free.size == choice.size, f"{case}: it rules something out unsaid after {text!r}"
            count += Counter(scarce=is_scarce, lacking=free.size > choice.size)
        logits = noise.normal(size=vocabulary.size)
        written.append(int(choice[logits[choice].argmax()]))
        assert matcher.accept(written[-1]), f"{case}: the mask allows {written[-1]} after {text!r}, accept does not"
    assert len(written) <= budget, f"{case}: {len(written)} tokens of {budget}"
    text = b"".join(map(vocabulary.token_bytes, written[:-1]))
    verdict = Referees(case.schema).verdict(text)
    assert verdict is not False, f"{case}: writes {text!r}, which is not valid"
    return count + Counter(texts=1, tokens=len(written), differ=verdict is None)


def completion(matcher: Any, r: Random, case: Case) -> bytes:
    """Return how a byte matcher's text ends when each byte lowers the distance; the matcher is left at the end."""
    out = bytearray()
    while (distance := matcher.distance()) > 1:
        choice = allowed(matcher, byte_vocabulary(), distance)
        going = [byte for byte in choice.tolist() if byte != END]
        assert going, f"{case}: distance() is {distance}, but nothing lowers it after {bytes(out)!r}"
        out.append(r.choice(going))
        assert matcher.accept(out[-1])
        assert len(out) < LONGEST, f"{case}: no end in sight after {bytes(out)!r}"
    assert distance == 1, f"{case}: distance() is {distance} after {bytes(out)!r}"
    assert matcher.can_stop(), f"{case}: distance() is 1, but the text can't stop"
    return bytes(out)


def check_spellings(case: Case, texts: int = 4) -> Counter[str]:
    """Let the engine write values, and respell them: with every option open, all ways to write them are accepted."""
    r = Random(case.seed)
    count: Counter[str] = Counter(schemas=1)
    matcher = Case(case.schema, EVERY_WAY).matcher(byte_vocabulary())
    if matcher.distance() < 0:
        return count + Counter(unsatisfiable=1)
    judge = Referees(case.schema)
    for _ in range(texts):
        matcher.reset()
        written = bytearray()
        for _ in range(r.randint(0, 25)):
            going = allowed(matcher, byte_vocabulary()).tolist()
            if END in going and (len(going) == 1 or r.random() < 0.3):
                break
            written.append(r.choice([byte for byte in going if byte != END]))
            assert matcher.accept(written[-1])
        written += completion(matcher, r, case)
        value = parse(written.decode())
        if re.search(rb"[eE][-+]?[0-9]", written):
            continue  # a number with an exponent stands for values that may not be written out
        other = respell(r, value).encode()
        matcher.reset()
        accepted = matcher.accept_bytes(other) and matcher.can_stop()
        verdict = judge.verdict(other)
        count += Counter(texts=1, differ=verdict is None)
        assert accepted or verdict is not True, f"{case}: writes {bytes(written)!r}, but rejects {other!r}"
    return count


# ---- exactness over a universe ---------------------------------------------------------------------------------------


class _Node:
    """A prefix of texts of the universe."""

    def __init__(self, prefix: bytes) -> None:
        self.prefix = prefix
        self.next: dict[int, _Node] = {}
        self.is_text = False


@cache
def _trie() -> _Node:
    root = _Node(b"")
    for text in universe():
        node = root
        for at, byte in enumerate(text):
            node = node.next.setdefault(byte, _Node(text[: at + 1]))
        node.is_text = True
    return root


@cache
def _values() -> dict[bytes, Any]:
    """The texts of the universe with their values; those that repeat a key have none."""
    out = {}
    for text in universe():
        try:
            out[text] = parse(text)
        except DuplicateKeyError:
            continue
    return out


def check_universe(case: Case, ends: int = 8) -> Counter[str]:
    """Read every text of the universe byte by byte: accepted are the valid ones, and alive what leads to one.

    With every option open. Where a prefix is alive and leads to no text of the universe, the engine's own completion
    must be valid.
    """
    judge, matcher = Referees(case.schema), Case(case.schema, EVERY_WAY).matcher(byte_vocabulary())
    count: Counter[str] = Counter(schemas=1)
    valid = {text for text, value in _values().items() if judge.quick(value)}
    beyond: list[bytes] = []

    def judged(text: bytes, accepted: bool, what: str) -> None:
        verdict = judge.verdict(text)
        count["differ"] += verdict is None
        assert verdict in (None, accepted), f"{case}: {what} {text!r}"

    def read(node: _Node) -> bool:
        """Compare all below a prefix that is alive; return whether something valid is below it."""
        found = False
        if node.is_text:
            accepted, found = matcher.can_stop(), node.prefix in valid
            count["verdicts"] += 1
            if accepted != found:
                judged(node.prefix, accepted, "accepts" if accepted else "rejects")
        for byte, below in node.next.items():
            if matcher.accept(byte):
                found |= read(below)
                matcher.rollback()
                continue
            for text in _below(below):
                count["verdicts"] += 1
                if text in valid:
                    judged(text, False, f"has no way on from {below.prefix!r} to")
        if not found:
            beyond.append(node.prefix)
        return found

    if matcher.distance() >= 0:
        read(_trie())
    elif valid:
        judged(min(valid), False, "calls unsatisfiable what holds")
    r = Random(case.seed)
    for prefix in r.sample(beyond, min(ends, len(beyond))):
        matcher.reset()
        assert not prefix or matcher.accept_bytes(prefix)
        judged(prefix + completion(matcher, r, case), True, "completes an invalid")
        count["completions"] += 1
    return count


def _below(node: _Node) -> Iterator[bytes]:
    if node.is_text:
        yield node.prefix
    for child in node.next.values():
        yield from _below(child)


def check_soundness(case: Case) -> Counter[str]:
    """Under the case's own options: every text of the universe that is accepted is valid."""
    judge, matcher = Referees(case.schema), case.matcher(byte_vocabulary())
    count: Counter[str] = Counter(schemas=1)
    for text in universe():
        matcher.reset()
        count["verdicts"] += 1
        if matcher.accept_bytes(text) and matcher.can_stop():
            count["accepted"] += 1
            if text not in _values() or not judge.quick(_values()[text]):
                verdict = judge.verdict(text)
                count["differ"] += verdict is None
                assert verdict is not False, f"{case}: accepts {text!r}"
    return count


# ---- regexes ---------------------------------------------------------------------------------------------------------

#: Every text of up to four of these characters, and some longer ones.
REGEX_TEXTS = tuple(
    ["".join(letters) for size in range(5) for letters in itertools.product("ab,1", repeat=size)]
    + ["abc", "abcd", "ac", "bc", "x", "a b", "a.c", "aabbcc", "1,1", "xbc", "abcbcd", "abbcd", "é", "aé", "_", "a_b"]
    + ["aaaaaaaa", "abababab", "1,11,111", "ab-ab", "A", "AB", "aB1"]
)


def check_regex(pattern: str, r: Random, prefixes: int = 6, texts: Sequence[str] = REGEX_TEXTS) -> Counter[str]:
    """Compare a pattern with Python's `re`, and complete random prefixes of strings under it.

    Where Python refuses a pattern (a look-behind of more than one width), the records' judge alone says what is right.
    """
    finds = _finder(pattern)
    case = Case({"type": "string", "pattern": pattern}, {"whitespace": "compact"}, r.randrange(2**32))
    matcher = case.matcher(byte_vocabulary())
    for text in texts:
        matcher.reset()
        accepted = matcher.accept_bytes(f'"{text}"'.encode()) and matcher.can_stop()
        assert accepted == finds(text), f"{pattern!r} on {text!r}: {accepted}"
    count: Counter[str] = Counter(patterns=1, verdicts=len(texts))
    matcher.reset()
    if matcher.distance() < 0:
        return count
    for _ in range(prefixes):
        matcher.reset()
        text = f'"{r.choice(texts)}'[: r.randint(0, 5)].encode()
        if text and not matcher.accept_bytes(text):
            continue
        text += completion(matcher, r, case)
        assert finds(parse(text)), f"{pattern!r} is completed to {text!r}"
        count["completions"] += 1
    return count


def _finder(pattern: str) -> Callable[[str], bool]:
    """Return the judge of a pattern: the records' and, where it can, Python's `re`, which must agree."""
    tree = ecma.parse(pattern).tree
    try:
        python = re.compile(_in_python(pattern), re.ASCII)
    except re.error:
        python = None
    if python is None or ("(?i:" in pattern and "é" in pattern):  # under ASCII, Python's é has no capital
        return lambda text: records.searches(tree, text)

    def finds(text: str) -> bool:
        found = records.searches(tree, text)
        odd = not text and "\\B" in pattern  # until 3.14, Python found no \B in the empty text
        assert odd or found == bool(python.search(text)), f"the judges differ: {pattern!r} on {text!r}: {found}"
        return found

    return finds


def _in_python(pattern: str) -> str:
    """Return Python's way of writing ECMA-262's `$` and `.`."""
    return re.sub(r"(?<!\\)\.", r"[^\\n\\r\\u2028\\u2029]", re.sub(r"(?<!\\)\$", r"\\Z", pattern))


def regex(r: Random, depth: int = 3) -> str:
    """Draw a pattern that Python and ECMA-262 read alike."""
    if depth == 0 or r.random() < 0.2:
        return r.choice(["a", "b", ",", "1", ".", "[ab]", "[^a]", r"\d", r"[\d,]", r"\.", "ab", "é"])

    def some() -> str:
        return regex(r, depth - 1)

    kind = r.random()
    if kind < 0.35:
        return some() + some()
    if kind < 0.5:
        return f"({some()}|{some()})"
    if kind < 0.75:
        return f"(?:{some()})" + r.choice(["*", "+", "?", "{2}", "{1,3}", "{2,}", "*?", "+?"])
    if kind < 0.85:
        return f"^{some()}"
    if kind < 0.9:
        return f"{some()}$"
    if kind < 0.91:
        return f"(?i:{some()})"
    if kind < 0.94:
        return some() + r.choice(["\\b", "\\B"]) + some()
    around = r.choice(["=", "!", "<=", "<!"])
    return (some() if "<" in around else "") + f"(?{around}{some()})" + some()

"""The judge: every (state, token) verdict of a mask, proved right or wrong.

A schema is drawn with a world (worlds.py). What of the world is valid, in which order, and how it may be written is
known without the engine, so which prefixes live is known, too. On a *bounded* schema that is all there is: each state's
mask must be exactly the tokens that lead to something alive. On an open schema the world's own texts must be allowed,
and what else is allowed is proved by the engine's own completion, judged valid and written under the options.

Where engine and world disagree, three referees decide (referees.py); where these differ, the verdict is set aside.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from random import Random
from typing import Any

import numpy as np
from exactness import generator, inputs
from exactness.generator import PAIRS, Drawn
from exactness.order import OLD, Order
from exactness.reader import Reader, State, Words
from exactness.worlds import BY_TEXT, SHAPES, world_of
from referees import Referees, parse

import guard
from guard.kernels.bitmask import allocate_bitmask
from guard.schemas.grounding.sources import Sources

OPTIONS = {
    "key_order": ("schema", "any"),
    "whitespace": ("spaced", "compact", "flexible", "any"),
    "spelling": ("canonical", "any"),
}
OPEN = 0.25  #: Share of open schemas.
STATES = 48  #: States of a bounded schema that are judged, token by token.
OPEN_STATES = 10  #: The same of an open schema, where each proof is a completion.
PROOFS = 12  #: Completions in one state of an open schema.
MOST_FORCED = 4096  #: Bytes that forced_bytes() returns at most.
STALE = 12  #: Steps to nothing new after which a walk ends.
VOCABULARIES = 3  #: Of each world.


@dataclass(frozen=True)
class Case:
    """One schema, bounded by a world or open, under one choice of options."""

    schema: Any  # without the bound
    drawn: Drawn  # its draft, world and documents
    bound: str  # "" for an open schema, "plain", or "quiet": under two negations
    options: dict[str, str]
    seed: int = 0  # of the walk
    meets: tuple[str, ...] = ()  # the keywords that matter

    @property
    def whole(self) -> dict[str, Any]:
        """Return the schema with its bound."""
        if not self.bound:
            return dict(self.schema)
        bound = SHAPES[self.drawn.world].bound()
        beside = [{"not": {"not": bound}} if self.bound == "quiet" else bound]
        out = dict(self.schema)
        if "$ref" in out and self.drawn.draft in OLD:
            beside.append({"$ref": out.pop("$ref")})  # it would hide what stands beside it
        return {**out, "allOf": [*out.get("allOf", []), *beside]}

    def compile(self) -> guard.Compiled:
        """Compile the schema, for a call of these inputs."""
        default = self.drawn.default or self.drawn.draft
        options: dict[str, Any] = {**self.options}
        compiled = guard.compile(self.whole, draft=default, documents=self.drawn.documents, **options)
        texts = {name: one.text for name, one in self.drawn.inputs.items()}
        return compiled.grounded(Sources(texts)) if compiled.is_grounded else compiled

    def __str__(self) -> str:
        """Say what reproduces it."""
        kind = f"{self.bound}ly bounded" if self.bound else "open"
        more = f", {self.drawn.documents} of {self.drawn.default}" if self.drawn.documents else ""
        more += "".join(f", {name} = {one.text!r}" for name, one in self.drawn.inputs.items())
        where = f"{self.drawn.draft}, {kind} in {self.drawn.world!r}, {self.options}{more}"
        return f"{json.dumps(self.schema, ensure_ascii=False)} ({where})"


#: Where a walk stands, in what must be allowed and in what may be; None outside of the world.
Place = tuple[State | None, State | None]
Way = tuple[int, Place]  #: A token, and where it leads.


class WrongError(AssertionError):
    """A verdict that is wrong."""


def case(seed: int) -> Case:
    """Draw a case; which pair of keywords is to meet in it follows from the seed."""
    r = Random(seed)
    drawn = generator.draw(r, PAIRS[seed % len(PAIRS)])
    annotated = "unevaluated" in json.dumps(drawn.schema)
    bound = "" if r.random() < OPEN else "quiet" if annotated or r.random() < 0.5 else "plain"
    options = {option: r.choice(values) for option, values in OPTIONS.items()}
    if drawn.documents:
        options["key_order"] = "any"  # order.py knows one document
    return Case(drawn.schema, drawn, bound, options, r.randrange(2**32), tuple(generator.matters(drawn)))


# ---- what all schemas share ------------------------------------------------------------------------------------------


@cache
def reader_of(name: str, by_text: bool, whitespace: str, spelling: str) -> Reader:
    """Return a world's reader."""
    return Reader(world_of(name, by_text), whitespace, spelling)


@cache
def words_of(name: str, number: int) -> Words:
    """Return a small vocabulary of a world: the bytes of its texts, and pieces of them; some twins, some never text."""
    r = Random(f"{name} {number}")
    needed = set(b'[]{}:, \n\r\t\\"/bfnrtu0123456789abcdefABCDEF-+.eEtruefalsnl')
    texts = [json.dumps(v, ensure_ascii=False).encode() for v in world_of(name, False).rust]
    needed |= inputs.ALPHABET.union(*texts)
    alphabet = bytes(sorted(needed))
    tight = [json.dumps(v, ensure_ascii=False, separators=(",", ":")).encode() for v in world_of(name, False).rust]
    loose = [
        json.dumps(v, ensure_ascii=False, indent=r.choice([1, 2, "\t"])).encode() for v in world_of(name, False).rust
    ]
    escaped = [json.dumps(v).encode() for v in world_of(name, False).rust]
    pieces = set()
    while len(pieces) < 60:
        text = r.choice(r.choice([texts, texts, tight, tight, loose, escaped]))
        start = r.randrange(len(text))
        piece = text[start : start + r.randint(2, 7)]
        if len(piece) > 1:
            pieces.add(piece)
    extra = [
        b"  ",
        b" {",
        b"00",
        b".0",
        b"\\u",
        b"\\u00",
        b'":',
        b'", "',
        b"]]",
        b"}}",
        b"\n  ",
        b'"a":1',
        b" 1",
        b"-0",
    ]
    tokens = [bytes([byte]) for byte in alphabet] + sorted(pieces) + extra + r.sample(sorted(pieces), 3) + [b""]
    order = r.sample(range(len(tokens) + 3), len(tokens) + 3)
    spelled = [b""] * len(order)
    for at, text in zip(order, [*tokens, b"</s>", b"}", b'{"'], strict=True):
        spelled[at] = text
    return Words(spelled, order[-3 : -3 + r.randint(1, 2)], order[-1:], alphabet)


# ---- one schema ------------------------------------------------------------------------------------------------------


class Truth:
    """What is valid of a world under one schema, and so which nodes of its trie live."""

    def __init__(self, case: Case) -> None:
        self.case = case
        drawn, by_text = case.drawn, bool(case.drawn.drafts & BY_TEXT)
        self.world = world_of(drawn.world, by_text)
        space, spelling = case.options["whitespace"], case.options["spelling"]
        self.must = reader_of(drawn.world, by_text, space, spelling)
        self.may = self.must if spelling == "any" else reader_of(drawn.world, by_text, space, "zeros")
        told, documents = inputs.told([case.whole, drawn.documents], drawn.inputs)
        self.referees = Referees(told, drawn.draft, documents, drawn.default)
        quick = self.referees.quick_of
        self.valid = np.fromiter((quick(v) for v in self.world.rust), dtype=bool, count=len(self.world.rust))
        self.order = Order(case.whole, drawn.draft) if case.options["key_order"] == "schema" else None
        self.written = self._written()
        self.refresh()

    def _written(self) -> Any:
        """Return which leaves have their keys in an order that the options allow."""
        leaves = len(self.world.leaf_values)
        if self.order is None:
            return np.ones(leaves, dtype=bool)
        holds = [self.order.holds(path, keys) for path, keys in self.world.objects]
        return np.fromiter((all(holds[o] for o in objects) for objects in self.world.leaf_objects), bool, leaves)

    def refresh(self) -> None:
        """Find the nodes that live: what must be allowed, and what may be."""
        world = self.world
        self.leaves = self.valid[world.leaf_values] & self.written
        self.live = world.live(self.leaves)
        self.must_leaves, self.must_live = self.leaves, self.live
        if self.must is not self.may and world.by_text:
            self.must_leaves = self.leaves & ~world.padded
            self.must_live = world.live(self.must_leaves)

    def witness(self, state: State) -> int:
        """Return the index of a value that is valid and lies ahead."""
        for node in state.nodes:
            if self.must_live[node.number]:
                leaf = node.first + int(np.flatnonzero(self.must_leaves[node.first : node.end])[0])
                return int(self.world.leaf_values[leaf])
        raise AssertionError("nothing is alive")


class Walk:
    """Walks the engine and the truth side by side."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.r = Random(case.seed)
        self.count: Counter[str] = Counter(schemas=1)
        self.truth = Truth(case)
        self.words = words_of(case.drawn.world, case.seed % VOCABULARIES)
        self.matcher = case.compile().matcher(self.words.native)
        self.row = allocate_bitmask(1, self.words.native.size)
        self.path: list[int] = []
        self.texts: dict[bytes, bool | None] = {}
        self.proved: dict[tuple[bytes, int], bool] = {}

    # ---- what the engine says ----

    def mask(self, remaining: int | None = None) -> list[int]:
        """Return the tokens that the mask allows."""
        self.matcher.fill_bitmask(self.row, remaining=remaining)
        return np.flatnonzero(np.unpackbits(self.row[0].view(np.uint8), bitorder="little")).tolist()

    def text(self) -> bytes:
        """Return what was written so far."""
        return b"".join(self.words.tokens[t] for t in self.path)

    def accept(self, token: int) -> None:
        if not self.matcher.accept(token):
            raise WrongError(
                f"{self.case}: the mask allows {self.words.tokens[token]!r} after {self.text()!r}, accept does not"
            )
        self.path.append(token)

    def back(self, steps: int = 1) -> None:
        self.matcher.rollback(steps)
        del self.path[len(self.path) - steps :]

    def completion(self) -> bytes | None:
        """Return how the text ends when every token lowers the distance; the walk is left where it was.

        None where the vocabulary lacks a byte that the end needs.
        """
        begin = len(self.path)
        distance = self.matcher.distance()
        while distance > 1:
            allowed = [t for t in self.mask(distance) if t not in self.words.eos]
            if not allowed:
                if not self.case.bound and self._lacks_bytes():
                    self.back(len(self.path) - begin)
                    return None
                raise WrongError(f"{self.case}: no token lowers distance() {distance} after {self.text()!r}")
            self.accept(self.r.choice(allowed))
            before, distance = distance, self.matcher.distance()
            if distance >= before:
                raise WrongError(f"{self.case}: distance() goes from {before} to {distance} with {self.text()!r}")
        text = self.text()
        if distance != 1 or not self.matcher.can_stop():
            raise WrongError(f"{self.case}: a dead end: distance() is {distance} after {text!r}")
        self.back(len(self.path) - begin)
        return text

    def _lacks_bytes(self) -> bool:
        """Say whether a vocabulary of all bytes goes on here, by bytes that this one lacks."""
        whole = self.case.compile().matcher(_every_byte())
        if not whole.accept_bytes(self.text()):
            return False
        row = allocate_bitmask(1, 257)
        whole.fill_bitmask(row, remaining=whole.distance())
        allowed = np.flatnonzero(np.unpackbits(row[0].view(np.uint8), bitorder="little")).tolist()
        ours = {t[0] for t in self.words.tokens if len(t) == 1}
        return bool(allowed) and not ours & set(allowed)

    # ---- what the referees say ----

    def verdict(self, text: bytes) -> bool | None:
        """Return whether a text is valid; None where the referees differ."""
        if text not in self.texts:
            self.texts[text] = self.truth.referees.verdict(text)
        return self.texts[text]

    def complaint(self, text: bytes) -> str | None:
        """Say what is wrong with a text that the engine wrote, "differ" where the referees do, None for nothing."""
        verdict = self.verdict(text)
        if verdict is None:
            return "differ"
        if not verdict:
            return f"writes {text!r}, which is not valid"
        wrong = misspelt(text, self.case.options, self.truth.order, plain=bool(PLAIN & set(self.case.meets)))
        return f"writes {text!r}: {wrong}" if wrong else None

    # ---- states ----

    def judge(self, at: Place) -> list[Way]:
        """Judge every token here; return those that are right to take, with the places behind them."""
        truth = self.truth
        mask = self.mask()
        allowed = set(mask)
        while True:
            must = self._living(truth.must, at[0], truth.must_live)
            expected = must.keys() | self._ends(at[0], truth.must_leaves)
            missing = expected - allowed
            if not missing:
                break
            self._is_missed(at[0], must, min(missing))
        may = must if truth.may is truth.must else self._living(truth.may, at[1], truth.live)
        unproved = sorted(allowed - expected - may.keys() - self._ends(at[1], truth.leaves))
        self.count["states"] += 1
        if self.case.bound:
            self.count["verdicts"] += self.words.native.size
            for token in unproved:
                self._is_excused(token)
            return [(t, (must.get(t), may[t])) for t in mask if t in may]
        chosen = self.r.sample(unproved, min(PROOFS, len(unproved)))
        proved = [t for t in chosen if self._is_excused(t)]
        self.count["verdicts"] += len(allowed) - len(unproved) + len(proved)
        going = {*proved, *may} - set(self.words.eos)
        return [(t, (must.get(t), may.get(t))) for t in mask if t in going]

    def _living(self, reader: Reader, state: State | None, live: list[bool]) -> dict[int, State]:
        """Return the tokens that lead to something alive, with the states behind them."""
        if state is None:
            return {}
        return {t: s for t, s in reader.moves(state, self.words) if any(live[n.number] for n in s.nodes)}

    def _ends(self, state: State | None, leaves: Any) -> set[int]:
        """Return the end-of-sequence tokens where a text may end."""
        return set(self.words.eos) if state is not None and state.ends >= 0 and leaves[state.ends] else set()

    def _is_missed(self, state: State | None, going: dict[int, State], token: int) -> None:
        """Deal with a live token that is not allowed: a fault, or a value that the referees differ on, set aside."""
        assert state is not None
        truth, where = self.truth, f"{self.case}: after {self.text()!r}"
        number = truth.witness(going[token]) if token in going else int(truth.world.leaf_values[state.ends])
        value = truth.world.values[number]
        what = (
            f"rejects {self.words.tokens[token]!r}, with which {shown(value)} goes on"
            if token in going
            else "can't stop"
        )
        if truth.referees.verdict_of(value):
            raise WrongError(f"{where} {what}")
        self.count["differ"] += 1
        truth.valid[number] = False
        truth.refresh()

    def _is_passed_over(self, state: State, byte: int, forced: str) -> None:
        """Deal with a live byte, or the end as -1, beside what is forced: a fault, or a value that is set aside."""
        truth = self.truth
        below = truth.must.step(state, byte) if byte >= 0 else None
        number = truth.witness(below) if below is not None else int(truth.world.leaf_values[state.ends])
        value = truth.world.values[number]
        if truth.referees.verdict_of(value):
            raise WrongError(f"{self.case}: {forced}, but more may follow: {shown(value)}")
        self.count["differ"] += 1
        truth.valid[number] = False
        truth.refresh()

    def _is_excused(self, token: int) -> bool:
        """Prove a token that is allowed by a completion; True, or False where the verdict was set aside."""
        eos = token in self.words.eos
        if eos:
            text: bytes | None = self.text()
        else:
            self.accept(token)
            text = self.completion()
            self.back()
        if text is None:
            self.count["alphabet"] += 1
            return False
        self.count["completions"] += 1
        complaint = self.complaint(text)
        if complaint == "differ":
            self.count["differ"] += 1
            return False
        after = f"after {self.text()!r} allows {self.words.tokens[token]!r}"
        if complaint:
            raise WrongError(f"{self.case}: {after}: {complaint}")
        if self.case.bound:
            raise WrongError(f"{self.case}: {after}, completed to {text!r}, valid but outside of the world")
        return True

    def budget(self) -> None:
        """Compare the mask with accept(), and under a budget with the distances behind each token."""
        distance = self.matcher.distance()
        remaining = max(0, distance + self.r.choice([-1, 0, 0, 1, 2, 5]))
        allowed, within = self.mask(), []
        for token in range(self.words.native.size):
            accepted = self.matcher.accept(token)
            if accepted != (token in allowed):
                what = f"{self.words.tokens[token]!r} after {self.text()!r}"
                raise WrongError(f"{self.case}: the mask and accept() differ on {what}: accept() says {accepted}")
            if accepted:
                left = self.matcher.distance()
                self.matcher.rollback()
                if left < 1 and token not in self.words.eos:
                    raise WrongError(f"{self.case}: a dead end after {self.text()!r}: distance() is {left}")
                if 1 + left <= remaining:
                    within.append(token)
        if self.r.random() < 0.5:  # what the engine keeps of an ample budget must not decide for a scarce one
            self.mask(distance + 1000)
        mask = self.mask(remaining)
        if mask != within:
            raise WrongError(
                f"{self.case}: after {self.text()!r} remaining={remaining} allows {mask}, distances say {within}"
            )
        self.count["budgets"] += 1

    def forced(self, at: Place) -> None:
        """Check that all that must be allowed begins with forced_bytes(), and that they end where there is a choice."""
        must = at[0]
        forced = self.matcher.forced_bytes()
        for place, byte in enumerate(forced):
            after = self.text() + forced[:place]
            while must is not None and (more := self._follow(self.truth.must, must, self.truth.must_live) - {byte}):
                self._is_passed_over(must, min(more), f"{forced[place:]!r} is forced after {after!r}")
            must = self.truth.must.step(must, byte) if must is not None else None
        if self.case.bound:
            assert not forced or self.matcher.accept_bytes(forced)
            after = {self.words.tokens[t][:1] if t not in self.words.eos else b"end" for t in self.mask()}
            self.matcher.rollback(int(bool(forced)))
            if len(after) == 1 and after != {b"end"} and len(forced) < MOST_FORCED:
                raise WrongError(f"{self.case}: after {self.text()!r} only {forced!r} is forced, not {after}")
        self.count["forced"] += len(forced)

    def _follow(self, reader: Reader, state: State, live: list[bool]) -> set[int]:
        """Return the bytes that lead to something alive, and -1 where a text may end."""
        out = {-1} if self._ends(state, self.truth.leaves) else set()
        for byte in range(9, 256):
            below = reader.step(state, byte)
            if below is not None and any(live[node.number] for node in below.nodes):
                out.add(byte)
        return out

    def run(self) -> Counter[str]:
        """Walk to new states until there are enough, or no more."""
        distance = self.matcher.distance()
        self.count["unsatisfiable"] += distance < 0
        most = STATES if self.case.bound else OPEN_STATES
        start: Place = (self.truth.must.start, self.truth.may.start)
        seen = {self._key(start)}
        trail = [self.judge(start)]
        stale = 0
        while self.count["states"] < most and stale < STALE:
            fresh = [way for way in trail[-1] if self._key(way[1]) not in seen]
            if not fresh and (len(trail) > 1 or not trail[-1]):
                stale += 1
                steps = self.r.randint(1, max(len(trail) - 1, 1))
                if len(trail) == 1:
                    break
                self.back(steps)
                del trail[-steps:]
                continue
            token, below = self.r.choice(fresh or trail[-1])
            self.accept(token)
            stale = 0 if fresh else stale + 1
            seen.add(self._key(below))
            trail.append(self.judge(below))
            if self.r.random() < 0.08 and trail[-1]:
                self.budget()
            if self.r.random() < 0.08:
                self.forced(below)
            if self.r.random() < 0.1:
                self._complete()
        return self.count

    def _key(self, place: Place) -> Any:
        """Return what tells places apart; outside of the world, the text."""
        return self.text() if place[1] is None else place[1].number

    def _complete(self) -> None:
        text = self.completion()
        if text is not None:
            self.count["completions"] += 1
            complaint = self.complaint(text)
            if complaint == "differ":
                self.count["differ"] += 1
            elif complaint:
                raise WrongError(f"{self.case}: {complaint}")


def check(case: Case) -> Counter[Any]:
    """Judge one case. Beside what properties.py counts: each option's schemas, and each pair of keywords that met."""
    count: Counter[Any] = Counter(Walk(case).run())
    if inputs.KEYWORD in case.meets:
        count.update({"grounded": 1, "grounded verdicts": count["verdicts"]})
    count.update(f"{option}={value}" for option, value in case.options.items())
    count.update(itertools.combinations(case.meets, 2))
    return count


@cache
def _every_byte() -> guard.Vocabulary:
    return guard.Vocabulary.from_bytes([bytes([b]) for b in range(256)] + [b""], eos=[256])


# ---- how a text is written -------------------------------------------------------------------------------------------

_LEXEME = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null|[][{}:,]')


#: Under these a number may have no exponent in canonical spelling (docs/reference/keywords.md), however small it is.
PLAIN = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "not", "const", "enum", "if"}
PLAIN |= {"oneOf", "uniqueItems", inputs.KEYWORD}


def misspelt(text: bytes, options: dict[str, str], order: Order | None, *, plain: bool) -> str | None:
    """Say what the options forbid in a valid text; None where nothing. `plain`: a number needs no exponent."""
    gaps, at, lexemes = [], 0, []
    for found in _LEXEME.finditer(text):
        gaps.append(text[at : found.start()])
        lexemes.append(found.group())
        at = found.end()
    if text[at:]:
        return f"{text[at:]!r} trails"
    for place, gap in enumerate(gaps):
        before = lexemes[place - 1] if place else b"start"
        if not re.fullmatch(_gap(options["whitespace"], before), gap):
            return f"the white space {gap!r} behind {before!r}"
    if options["spelling"] == "canonical":
        for lexeme in lexemes:
            if lexeme[:1] == b'"':
                string = json.loads(lexeme)
                if json.dumps(string, ensure_ascii=False).encode() != lexeme:
                    return f"{lexeme!r} is not canonical"
            elif lexeme[:1] in b"-0123456789":
                number = lexeme.decode()
                if re.search(r"e\+(30[89]|3[1-9][0-9]|[4-9][0-9]{2})$", number):
                    return f"{lexeme!r} is beyond what a double holds"
                if _without_zeros(number) not in (_canonical(number), _plain(number) if plain else ""):
                    return f"{lexeme!r} is not canonical"
    else:
        for lexeme in lexemes:
            if re.search(rb"^[-0-9].*[eE][-+]?[0-9]{4}", lexeme):
                return f"the exponent of {lexeme!r} is long"
    if order is not None:
        return _misordered(parse(text), (), order)
    return None


def _gap(whitespace: str, before: bytes) -> bytes:
    separated = before in (b",", b":")
    match whitespace:
        case "compact":
            return b""
        case "spaced":
            return b" " if separated else b" ?" if before == b"start" else b""
        case "any":
            return b"[ \\t\\r\\n]{0,256}"
        case _:
            newline = b"\\n {0,40}|\\n\\t{0,10}"
            return b" ?" if before == b"start" else b"| |" + newline if separated else b"|" + newline


def _canonical(number: str) -> str:
    """Return the canonical text of a number: ECMAScript's, but plain up to 1e17."""
    value = Decimal(number)
    if not value:
        return "0"
    sign, digits, exponent = value.normalize().as_tuple()
    written = "".join(map(str, digits))
    point = len(written) + int(exponent)
    if -6 <= point <= 17 or len(written) > 17:
        return _plain(number)
    head = written[0] + ("." + written[1:] if len(written) > 1 else "")
    return f"{'-' * sign}{head}e{'+' if point > 0 else '-'}{abs(point - 1)}"


def _plain(number: str) -> str:
    return format(Decimal(number).normalize(), "f")


def _without_zeros(number: str) -> str:
    """Return a number's text without zeros behind its fraction: those may be."""
    mantissa, e, exponent = number.partition("e")
    return (mantissa.rstrip("0").removesuffix(".") if "." in mantissa else mantissa) + e + exponent


def _misordered(value: Any, path: tuple[Any, ...], order: Order) -> str | None:
    if isinstance(value, dict):
        if not order.holds(path, tuple(value)):
            return f"the keys {list(value)} at {list(path)} are not in the schema's order"
        below = [_misordered(item, (*path, name), order) for name, item in value.items()]
    elif isinstance(value, list):
        below = [_misordered(item, (*path, at), order) for at, item in enumerate(value)]
    else:
        return None
    return next(filter(None, below), None)


def shown(value: Any) -> str:
    """Return a value as JSON text."""
    return json.dumps(value, ensure_ascii=False, default=str)

"""The automaton as tables on a device: which tokens may come in a state, and which state comes next.

A state is a configuration of the engine, told apart by `Matcher.key()`: two matchers of one schema with equal keys go
on alike. So the tables need no stack, and are exact by construction: they hold what the engine said, and what it has
not been asked yet is MISSING, never guessed. The host fills them where a row came to; from then on every row that
passes there, of any request, stays on the device.

Of each state: a row of `masks` (int32[masks, words], interned by content), and where its tokens lead. Inside of a
string most tokens lead on alike: `classes` (uint8[lexemes, size]) gives each token a class, shared by all states of one
lexeme, and `members` the next state of each class. All other transitions are in a hash table by (state, token): open
addressing, linear probing, at most half full, at most PROBES slots from home.

Budgets: a mask under a budget of k tokens is part of the mask without one, and the same from some k on. `enough` is a k
for which that was seen to be so. A row with less left waits for the host, which either sees that this suffices too, or
gives it a state of its own, (configuration, tokens left); those are few, as only the end of a cut text needs them.

Everything lies in arenas of fixed size, so that a CUDA graph's pointers stay valid. When one is full everything is
forgotten, as RE2 flushes its cache of states, and filled anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from guard.kernels.bitmask import WORD, allocate_bitmask
from guard.kernels.gpu.apply import is_interpreted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from guard.kernels._native import Matcher
    from guard.kernels.vocabulary import Vocabulary

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

MISSING = 0  #: The state that the host has yet to tell, and its row: nothing is allowed, so that the row waits.
DONE = 1  #: The state, and the row, behind an end-of-sequence token: nothing comes any more.
PROBES = 16  #: Slots in which a transition may lie.
SLACK = 16  #: Tokens above distance() with which a budget mostly no longer matters: a few keys, a few brackets.
NEVER = 2**31 - 1  #: No number of tokens is known to be enough.
LARGE = 16  #: A lexeme has classes where its largest holds one token in so many: else hashing takes less memory.
MATES = 64  #: Tokens of a small class, all of which are hashed with the first that is asked for.
CLASSES = 256  #: Of one lexeme, with class 0: tokens that have none.
BLOCK = 128  #: Rows of a batch a program.

if triton is not None:

    @triton.jit  # type: ignore[untyped-decorator, unused-ignore]  # Triton has no types, or is not there
    def _advance(  # type: ignore[no-untyped-def]
        token, state, row, last, length, limit, fault, out, rows, capacity,
        mask_of, enough, lexeme_of, members_of, classes, members, keys, nexts, size, slots,
        PROBES: tl.constexpr, FAULT: tl.constexpr, BLOCK: tl.constexpr,
    ):  # fmt: skip
        """In token: int32[rows]; in/out state, row, last, length, fault: int32[rows]; limit: int32[rows];
        out: int32[rows, capacity]; the tables are those of Tables, `size` tokens, `slots` of the hash table.
        semantics: a row whose token is none (< 0) stays as it is; else the token is appended, and row becomes the next
        state's mask, or MISSING where that is not known to hold for the tokens left.  grid: (cdiv(rows, BLOCK),)."""
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK]
        real = at < rows
        t = tl.load(token + at, mask=real, other=-1)
        tl.store(fault + at, 1, mask=real & (t == FAULT))
        takes = real & (t >= 0)
        s = tl.load(state + at, mask=takes, other=0)
        lexeme = tl.load(lexeme_of + s, mask=takes, other=-1)
        inside = takes & (lexeme >= 0) & (t < size)
        cls = tl.load(classes + lexeme.to(tl.int64) * size + t, mask=inside, other=0).to(tl.int32)
        grouped = inside & (cls > 0)
        base = tl.load(members_of + s, mask=grouped, other=0)
        after = tl.load(members + base + cls, mask=grouped, other=0)
        key = (s.to(tl.int64) << 32) | t.to(tl.int64)
        mixed = s.to(tl.int64) * 0x9E3779B1 + t.to(tl.int64) * 0x85EBCA77  # below 2**63
        mixed = ((mixed ^ (mixed >> 17)) & 0xFFFFFFFF) * 0x2C1B3C6D
        home = (mixed ^ (mixed >> 15)) & (slots - 1)
        looks = takes & (cls == 0)
        for probe in range(PROBES):
            slot = (home + probe) & (slots - 1)
            found = tl.load(keys + slot, mask=looks, other=-1)
            hit = looks & (found == key)
            after = tl.where(hit, tl.load(nexts + slot, mask=hit, other=0), after)
            looks = looks & (found != key) & (found >= 0)
        n = tl.load(length + at, mask=takes, other=0)
        left = tl.load(limit + at, mask=takes, other=0) - n - 1
        fits = tl.load(enough + after, mask=takes, other=0) <= left
        mask = tl.where(fits, tl.load(mask_of + after, mask=takes, other=0), 0)
        tl.store(out + at.to(tl.int64) * capacity + n, t, mask=takes & (n < capacity))
        tl.store(length + at, n + 1, mask=takes)
        tl.store(last + at, t, mask=takes)
        tl.store(state + at, after, mask=takes)
        tl.store(row + at, mask, mask=takes)


@dataclass(frozen=True)
class Rows:
    """The rows of a batch on the device: int32[rows] each, `out` int32[rows, capacity]; they never move."""

    state: torch.Tensor
    row: torch.Tensor  # of the masks; MISSING: it waits; DONE: it has ended
    last: torch.Tensor  # the last token
    length: torch.Tensor  # tokens written
    limit: torch.Tensor  # the most that it may write
    fault: torch.Tensor  # 1: an allowed logit was no number
    out: torch.Tensor

    @classmethod
    def make(cls, rows: int, capacity: int, device: torch.device) -> Rows:
        """Make rows that have ended."""

        def column(value: int = 0) -> torch.Tensor:
            return torch.full((rows,), value, dtype=torch.int32, device=device)

        out = torch.zeros((rows, capacity), dtype=torch.int32, device=device)
        return cls(column(DONE), column(DONE), column(), column(), column(), column(), out)


class Full(Exception):  # noqa: N818 - it says what happened, and never leaves this package
    """An arena has no room left; `clear()` makes some."""


class Tables:
    """The tables of one vocabulary, for any number of schemas; they belong to one Loop, its thread and its stream.

    Host memory mirrors everything but the masks. A fill costs what the engine needs for two masks; what was filled goes
    to the device in `upload()`, a few small copies from pinned memory that wait for nothing.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        device: torch.device | str,
        *,
        states: int = 1 << 16,
        masks: int = 2048,
        lexemes: int = 128,
        members: int = 1 << 20,
        slots: int = 1 << 20,
    ) -> None:
        """Allocate arenas for so many states, masks, lexemes with classes, next states of classes, and slots.

        `slots`, of which half are filled, must be a power of two. Memory, of each: 16, size / 8, size, 4 and 12 bytes.
        """
        for name, value, least in (
            ("states", states, 3),
            ("masks", masks, 3),
            ("lexemes", lexemes, 1),
            ("members", members, CLASSES),
            ("slots", slots, 2 * PROBES),
        ):
            if value < least or value >= NEVER:
                raise ValueError(f"{name}={value} must be at least {least}")
        if slots & (slots - 1):
            raise ValueError(f"slots={slots} must be a power of two")
        self.vocabulary = vocabulary
        self.device = torch.device(device)
        self.size = vocabulary.size
        self.misses = 0  # transitions and states that the engine was asked for
        self.flushes = 0
        words = -(-self.size // WORD)

        def zeros(*shape: int, dtype: torch.dtype = torch.int32) -> torch.Tensor:
            return torch.zeros(shape, dtype=dtype, device=self.device)

        self.masks = zeros(masks, words)
        self.classes = zeros(lexemes, self.size, dtype=torch.uint8)
        self.mask_of, self.enough, self.lexeme_of, self.members_of = (zeros(states) for _ in range(4))
        self.members = zeros(members)
        self.keys = zeros(slots, dtype=torch.int64)
        self.nexts = zeros(slots)
        self._host: dict[str, NDArray[Any]] = {
            name: getattr(self, name).cpu().numpy().copy()
            for name in ("mask_of", "enough", "lexeme_of", "members_of", "members", "keys", "nexts", "classes")
        }
        self._scratch = allocate_bitmask(2, self.size)
        self._engines: dict[int, Any] = {}  # by identity; held, so that no other takes its place
        self.clear()

    @property
    def nbytes(self) -> int:
        """Memory held on the device, in bytes."""
        held = [getattr(self, name) for name in self._host]
        return sum(t.numel() * t.element_size() for t in [*held, self.masks])

    def clear(self) -> None:
        """Forget every state; ids that were given out are void. Rows on the device must be placed anew."""
        host = self._host
        for name, value in (("mask_of", 0), ("enough", 0), ("lexeme_of", -1), ("members", 0), ("keys", -1)):
            host[name].fill(value)
            getattr(self, name).fill_(value)
        host["mask_of"][DONE] = DONE
        self._ids: dict[tuple[int, bytes, int], int] = {}
        self._mates: dict[int, dict[int, tuple[int, ...]]] = {}  # of states: tokens that lead on alike
        self._bounded: set[int] = set()  # states that stand for a number of tokens left
        self._mask_ids: dict[bytes, int] = {}
        self._lexemes: dict[int, tuple[int, dict[int, tuple[int, ...]]]] = {}
        self._filled = {"states": 2, "masks": 2, "lexemes": 0, "members": 0, "slots": 0}
        self._changed: dict[str, set[int]] = {name: set() for name in host if name != "classes"}
        self._changed["mask_of"].add(DONE)
        self._new_masks: list[tuple[int, NDArray[np.int32]]] = []
        self._new_lexemes: list[int] = []

    def state(self, engine: Any, matcher: Matcher, left: int) -> int:
        """Return the state of a matcher of this engine with `left` tokens to write; filled in if it is new.

        `engine` is what made the matcher, held from then on. Raises Full, and SchemaError as the matcher does.
        """
        if matcher.is_finished():
            return DONE
        self._engines[id(engine)] = engine
        host, key = self._host, matcher.key()
        plain = self._ids.get((id(engine), key, -1))
        if plain is None:
            plain = self._add(matcher, left)
            self._ids[id(engine), key, -1] = plain
        if left >= host["enough"][plain]:
            return plain
        bounded = self._ids.get((id(engine), key, left))
        if bounded is None:
            mask = self._mask(matcher, left)
            if mask == host["mask_of"][plain]:
                self._set("enough", plain, left)
                return plain
            bounded = self._take("states", len(host["mask_of"]))
            self._set("mask_of", bounded, mask)
            self._set("enough", bounded, 0)
            self._set("lexeme_of", bounded, -1)
            self._ids[id(engine), key, left] = bounded
            self._bounded.add(bounded)
        return bounded

    def masks_of(self, states: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the rows of `masks` of some states: int32[any]."""
        masks: NDArray[np.int32] = self._host["mask_of"][states]
        return masks

    def follow(self, state: int, token: int) -> int:
        """Return the next state, or MISSING. What the device knows once uploaded is what this says."""
        host, lexeme = self._host, int(self._host["lexeme_of"][state])
        if lexeme >= 0 and (cls := int(host["classes"][lexeme, token])):
            return int(host["members"][host["members_of"][state] + cls])
        slot, found = self._slot(state, token)
        return int(host["nexts"][slot]) if found else MISSING

    def connect(self, state: int, token: int, after: int) -> None:
        """Say what comes next. Raises Full."""
        self.misses += 1
        host, lexeme = self._host, int(self._host["lexeme_of"][state])
        if lexeme >= 0 and (cls := int(host["classes"][lexeme, token])):
            self._set("members", int(host["members_of"][state]) + cls, after)
            return
        for alike in self._mates.get(state, {}).get(token, (token,)):
            slot, found = self._slot(state, alike)
            if slot < 0:
                raise Full
            if not found:
                self._take("slots", len(host["keys"]) // 2)
            self._set("keys", slot, state << 32 | alike)
            self._set("nexts", slot, after)

    def walk(self, engine: Any, matcher: Matcher, state: int, tokens: list[int], left: int) -> tuple[int, list[int]]:
        """Take the tokens with the matcher, and fill in what is missing on the way.

        Returns the last state, and which of the tokens were chosen where the budget took others away. `state` is the
        matcher's, and `left` the tokens left in it. ValueError where a token is not allowed.
        """
        narrowed = []
        for number, token in enumerate(tokens):
            if state in self._bounded:
                narrowed.append(number)
            if not matcher.accept(token):
                raise ValueError(f"token {token} is not allowed where it was written")
            left -= 1
            after = self.follow(state, token)
            if after == MISSING or left < self._host["enough"][after]:
                after = self.state(engine, matcher, left)
                if self.follow(state, token) == MISSING:
                    self._link(engine, matcher, state, token, after, left)
            state = after
        return state, narrowed

    def is_narrow(self, matcher: Matcher, left: int) -> bool:
        """Say whether a budget of `left` tokens takes tokens away that the schema allows. Two masks, at most."""
        free, bounded = (allocate_bitmask(1, self.vocabulary.size) for _ in range(2))
        matcher.fill_bitmask(bounded, 0, left)
        if not matcher.is_scarce():
            return False
        matcher.fill_bitmask(free)
        return bool((free != bounded).any())

    def upload(self) -> None:
        """Send to the device what changed: O(changes), nothing is synchronised."""
        for number, mask in self._new_masks:
            self.masks[number].copy_(self._pinned(mask), non_blocking=True)
        for number in self._new_lexemes:
            self.classes[number].copy_(self._pinned(self._host["classes"][number]), non_blocking=True)
        self._new_masks, self._new_lexemes = [], []
        for name, changed in self._changed.items():
            if changed:
                self.put(getattr(self, name), sorted(changed), self._host[name][sorted(changed)])
                changed.clear()

    def put(self, into: torch.Tensor, where: list[int], values: NDArray[Any]) -> None:
        """Write a few elements of a tensor on the device, without waiting for it."""
        index = self._pinned(np.asarray(where, dtype=np.int64)).to(self.device, non_blocking=True)
        into.index_copy_(0, index, self._pinned(values).to(self.device, non_blocking=True))

    def _link(self, engine: Any, matcher: Matcher, state: int, token: int, after: int, left: int) -> None:
        """Say what comes next, in terms that hold for any row: behind a state without a budget, the one without."""
        if state not in self._bounded and after > DONE:
            key = id(engine), matcher.key(), -1
            if key not in self._ids:  # the kernel gave its memory back in the meantime, and keys are others
                self._ids[key] = self._add(matcher, left)
            after = self._ids[key]
        self.connect(state, token, after)

    def _add(self, matcher: Matcher, left: int) -> int:
        """Fill in a configuration without a budget, and how many tokens are enough for it as far as is known."""
        host, self.misses = self._host, self.misses + 1
        number, mates = self._classes(matcher)
        mask = self._mask(matcher, None)
        enough = NEVER
        for tokens in sorted({min(left, max(1, matcher.distance()) + SLACK), left}):
            if self._mask(matcher, tokens) == mask:
                enough = tokens
                break
        state = self._take("states", len(host["mask_of"]))
        if number >= 0:
            width = int(host["classes"][number].max()) + 1
            self._set("members_of", state, self._take("members", len(host["members"]), width))
        self._set("mask_of", state, mask)
        self._set("enough", state, enough)
        self._set("lexeme_of", state, number)
        if mates:
            self._mates[state] = mates
        return state

    def _classes(self, matcher: Matcher) -> tuple[int, dict[int, tuple[int, ...]]]:
        """Return where the classes of the lexeme under way are, or -1 and the small ones, whose tokens are hashed."""
        lexeme = matcher.lexeme()
        if lexeme < 0:
            return -1, {}
        if lexeme not in self._lexemes:
            classes = np.zeros(self.size, dtype=np.uint8)
            matcher.fill_classes(classes)
            sizes = np.bincount(classes)
            number, mates = -1, dict[int, tuple[int, ...]]()
            if LARGE * sizes[1:].max(initial=0) >= self.size and self._filled["lexemes"] < len(self._host["classes"]):
                number = self._take("lexemes", len(self._host["classes"]))
                self._host["classes"][number] = classes
                self._new_lexemes.append(number)
            else:
                for cls in (np.flatnonzero(sizes[1:] <= MATES) + 1).tolist():
                    tokens = tuple(np.flatnonzero(classes == cls).tolist())
                    mates |= dict.fromkeys(tokens, tokens)
            self._lexemes[lexeme] = number, mates
        return self._lexemes[lexeme]

    def _mask(self, matcher: Matcher, left: int | None) -> int:
        matcher.fill_bitmask(self._scratch, 0, left)
        content = self._scratch[0].tobytes()
        known = self._mask_ids.get(content)
        if known is None:
            known = self._take("masks", self.masks.shape[0])
            self._mask_ids[content] = known
            self._new_masks.append((known, self._scratch[0].copy()))
        return known

    def _take(self, arena: str, most: int, count: int = 1) -> int:
        first = self._filled[arena]
        if first + count > most:
            raise Full
        self._filled[arena] = first + count
        return first

    def _set(self, name: str, index: int, value: int) -> None:
        self._host[name][index] = value
        self._changed[name].add(index)

    def _slot(self, state: int, token: int) -> tuple[int, bool]:
        """Return where a transition lies, or could, and whether it is there; -1 where there is no room."""
        keys, wanted = self._host["keys"], state << 32 | token
        mixed = state * 0x9E3779B1 + token * 0x85EBCA77
        mixed = ((mixed ^ mixed >> 17) & 0xFFFFFFFF) * 0x2C1B3C6D
        home = mixed ^ mixed >> 15
        for probe in range(PROBES):
            slot = home + probe & len(keys) - 1
            if keys[slot] in (wanted, -1):
                return slot, bool(keys[slot] == wanted)
        return -1, False

    def _pinned(self, values: NDArray[Any]) -> torch.Tensor:
        """Copy to where the device can read it by itself; torch keeps it until the device has."""
        tensor = torch.from_numpy(np.array(values))
        return tensor.pin_memory() if self.device.type == "cuda" else tensor


def advance(tables: Tables, rows: Rows, token: torch.Tensor) -> None:
    """Take a token for each row, in place: int32[rows] as sample() returns them; where there is none the row stays.

    O(1) a row: a look-up in the classes or at most PROBES in the hash table. Nothing is synchronised.
    """
    from guard.kernels.gpu.sample import NOT_A_NUMBER

    count = token.shape[0]
    if triton is None or not (token.is_cuda or is_interpreted()):
        advance_torch(tables, rows, token)
        return
    with torch.cuda.device(token.get_device()):  # -1, a CPU's under the interpreter, changes nothing
        _advance[triton.cdiv(count, BLOCK),](
            token, rows.state, rows.row, rows.last, rows.length, rows.limit, rows.fault, rows.out, count,
            rows.out.shape[1], tables.mask_of, tables.enough, tables.lexeme_of, tables.members_of, tables.classes,
            tables.members, tables.keys, tables.nexts, tables.size, tables.keys.shape[0],
            PROBES=PROBES, FAULT=NOT_A_NUMBER, BLOCK=BLOCK,
        )  # fmt: skip


def advance_torch(tables: Tables, rows: Rows, token: torch.Tensor) -> None:
    """Do what `advance` does in plain torch, row by row, looking the transitions up without the hash."""
    for b, t in enumerate(token.tolist()):
        if t == -2:
            rows.fault[b] = 1
        if t < 0:
            continue
        state, n = int(rows.state[b]), int(rows.length[b])
        lexeme = int(tables.lexeme_of[state])
        cls = int(tables.classes[lexeme, t]) if lexeme >= 0 and t < tables.size else 0
        found = tables.nexts[tables.keys == (state << 32 | t)].tolist()
        after = int(tables.members[tables.members_of[state] + cls]) if cls else found[0] if found else MISSING
        fits = int(tables.enough[after]) <= int(rows.limit[b]) - n - 1
        if n < rows.out.shape[1]:
            rows.out[b, n] = t
        rows.length[b] = n + 1
        rows.last[b] = t
        rows.state[b] = after
        rows.row[b] = tables.mask_of[after] if fits else MISSING

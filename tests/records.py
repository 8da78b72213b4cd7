"""A slow judge of records: whether a Python value meets a node, read straight off the opcodes.

It shares nothing with the engine, so that front end and engine are tested apart: records that this judge finds right
on the official suite mean what the schemas mean. Values are what `json.loads` makes of JSON, with Decimal for
fractions.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from functools import lru_cache
from typing import Any

from guard.schemas.compiled import FrontEnd
from guard.schemas.ops import (
    ARRAY,
    BOOLEAN,
    INTEGER,
    INTEGER_TEXT,
    NULL,
    NUMBER,
    OBJECT,
    STRING,
    Op,
    Rx,
    Tree,
)

NOTHING: frozenset[Any] = frozenset()


class Judge:
    """Judges values against one schema's records."""

    def __init__(self, front: FrontEnd) -> None:
        self.front = front
        self.records: dict[int, list[tuple[Any, ...]]] = {}
        self.busy: set[tuple[int, int]] = set()

    def accepts(self, value: Any) -> bool:
        """Say whether a value is valid."""
        return self.meets(self.front.lowering.root, value)[0]

    def meets(self, node: int, value: Any) -> tuple[bool, frozenset[Any]]:
        """Return whether a value meets a node, and which members or items the node evaluated."""
        key = node, id(value)
        if key in self.busy:  # a reference to itself asks nothing more
            return True, NOTHING
        if node not in self.records:
            self.records[node] = self.front.lower([node])[0]
        self.busy.add(key)
        try:
            evaluated: set[Any] = set()
            late = (Op.UNEVALUATED_PROPERTIES, Op.UNEVALUATED_ITEMS)
            for entry in sorted(self.records[node], key=lambda e: e[0] in late):
                ok, more = self.holds(entry, value, evaluated)
                if not ok:
                    return False, NOTHING
                evaluated |= more
            return True, frozenset(evaluated)
        finally:
            self.busy.discard(key)

    def holds(self, entry: tuple[Any, ...], value: Any, evaluated: set[Any]) -> tuple[bool, frozenset[Any]]:
        """Return whether one entry of a record holds, and what it evaluated."""
        op, *rest = entry
        if op in _IN_PLACE:
            return self.in_place(op, rest, value)
        if op == Op.TYPE:
            return bool(rest[0] & bits(value)), NOTHING
        if op == Op.CONST:
            return equal(rest[0], value), NOTHING
        if op == Op.ENUM:
            return any(equal(v, value) for v in rest[0]), NOTHING
        if isinstance(value, dict):
            return self.object(op, rest, value, evaluated)
        if isinstance(value, list):
            return self.array(op, rest, value, evaluated)
        if isinstance(value, str):
            return string(op, rest, value), NOTHING
        if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
            return number(op, rest, Decimal(value)), NOTHING
        return True, NOTHING

    def in_place(self, op: int, rest: list[Any], value: Any) -> tuple[bool, frozenset[Any]]:
        if op == Op.REF:
            return self.meets(rest[0], value)
        if op == Op.NOT:
            return not self.meets(rest[0], value)[0], NOTHING
        if op == Op.IF:
            ok, seen = self.meets(rest[0], value)
            then, more = self.meets(rest[1] if ok else rest[2], value)
            return then, seen | more
        found = [self.meets(node, value) for node in rest[0]]
        right = sum(ok for ok, _ in found)
        ok = {Op.ALL: right == len(found), Op.ANY: right > 0, Op.ONE: right == 1}[Op(op)]
        return ok, NOTHING.union(*(seen for _, seen in found))

    def object(
        self, op: int, rest: list[Any], value: dict[str, Any], evaluated: set[Any]
    ) -> tuple[bool, frozenset[Any]]:
        if op == Op.REQUIRED:
            return all(name in value for name in rest[0]), NOTHING
        if op == Op.SIZE:
            return within(len(value), rest), NOTHING
        if op == Op.NAMES:
            return all(self.meets(rest[0], name)[0] for name in value), NOTHING
        if op == Op.DEPENDENT_REQUIRED:
            return all(other in value for name, others in rest[0] if name in value for other in others), NOTHING
        if op == Op.DEPENDENT_SCHEMAS:
            found = [self.meets(node, value) for name, node in rest[0] if name in value]
            return all(ok for ok, _ in found), NOTHING.union(*(seen for _, seen in found))
        if op == Op.PROPERTIES:
            chosen = [(name, node) for name, node in rest[0] if name in value]
        elif op == Op.PATTERNS:
            chosen = [(name, node) for tree, node in rest[0] for name in value if searches(tree, name)]
        elif op == Op.ADDITIONAL:
            node, names, trees = rest
            chosen = [(n, node) for n in value if n not in names and not any(searches(t, n) for t in trees)]
        elif op == Op.UNEVALUATED_PROPERTIES:
            chosen = [(n, rest[0]) for n in value if n not in evaluated]
        else:
            return True, NOTHING
        return all(self.meets(node, value[name])[0] for name, node in chosen), frozenset(n for n, _ in chosen)

    def array(self, op: int, rest: list[Any], value: list[Any], evaluated: set[Any]) -> tuple[bool, frozenset[Any]]:
        if op == Op.COUNT:
            return within(len(value), rest), NOTHING
        if op == Op.UNIQUE:
            keys = [canonical(item) for item in value]
            return len(set(keys)) == len(keys), NOTHING
        if op == Op.CONTAINS:
            hits = frozenset(i for i, item in enumerate(value) if self.meets(rest[0], item)[0])
            return within(len(hits), rest[1:]), frozenset(("contains", i) for i in hits)
        if op == Op.ITEMS:
            start, end, node = rest
            chosen = list(range(start, len(value) if end < 0 else min(end, len(value))))
        elif op == Op.UNEVALUATED_ITEMS:
            node, by_contains = rest
            chosen = [
                i
                for i in range(len(value))
                if i not in evaluated and not (by_contains and ("contains", i) in evaluated)
            ]
        else:
            return True, NOTHING
        return all(self.meets(node, value[i])[0] for i in chosen), frozenset(chosen)


_IN_PLACE = {Op.REF, Op.ALL, Op.ANY, Op.ONE, Op.NOT, Op.IF}


def bits(value: Any) -> int:
    """Return every type bit that a value has."""
    if value is None:
        return NULL
    if isinstance(value, bool):
        return BOOLEAN
    if isinstance(value, str):
        return STRING
    if isinstance(value, list):
        return ARRAY
    if isinstance(value, dict):
        return OBJECT
    if isinstance(value, int):
        return NUMBER | INTEGER | INTEGER_TEXT
    return NUMBER | (INTEGER if value == value.to_integral_value() else 0)


def canonical(value: Any) -> Any:
    """Return a hashable form that equal values share."""
    if isinstance(value, (bool, str)) or value is None:
        return type(value).__name__, value
    if isinstance(value, list):
        return "array", tuple(map(canonical, value))
    if isinstance(value, dict):
        return "object", frozenset((k, canonical(v)) for k, v in value.items())
    return "number", Decimal(value)


def meaning(literal: Any) -> Any:
    """Return the canonical form of an engine literal."""
    if isinstance(literal, tuple):
        return "number", power(literal[1], literal[2])
    if isinstance(literal, list):
        return "array", tuple(map(meaning, literal))
    if isinstance(literal, dict):
        return "object", frozenset((k, meaning(v)) for k, v in literal.items())
    return canonical(literal)


def power(digits: str, exponent: int) -> Decimal:
    """Return digits * 10**exponent, exactly."""
    return Decimal(f"{digits}e{exponent}")


def equal(literal: Any, value: Any) -> bool:
    """Say whether a literal and a value are the same JSON value."""
    return bool(meaning(literal) == canonical(value))


def within(count: int, bounds: list[int]) -> bool:
    """Say whether a count lies in (least, most or -1)."""
    return bounds[0] <= count and (bounds[1] < 0 or count <= bounds[1])


def number(op: int, rest: list[Any], value: Decimal) -> bool:
    """Judge a number."""
    if op in (Op.MIN, Op.MAX):
        digits, exponent, exclusive = rest
        bound = power(digits, exponent)
        above = value > bound if op == Op.MIN else value < bound
        return above or (value == bound and not exclusive)
    if op == Op.MULTIPLE:
        with localcontext() as context:
            context.prec = 2000
            return value % power(*rest) == 0
    return True


def string(op: int, rest: list[Any], value: str) -> bool:
    """Judge a string."""
    if op == Op.LENGTH:
        return within(len(value), rest)
    if op == Op.PATTERN:
        return searches(rest[0], value)
    if op == Op.FORMAT:
        return len(value) in ends(rest[1], value, 0, {})
    return True


def searches(tree: Tree, text: str) -> bool:
    """Say whether a regex tree matches somewhere in a text."""
    memo: dict[Any, frozenset[int]] = {}
    return any(ends(tree, text, at, memo) for at in range(len(text) + 1))


@lru_cache(maxsize=100_000)
def _has(ranges: Any, code: int) -> bool:
    return any(low <= code <= high for low, high in ranges)


def ends(tree: Tree, text: str, at: int, memo: dict[Any, frozenset[int]]) -> frozenset[int]:
    """Return every position where a match of the tree that begins at `at` may end."""
    key = id(tree), at
    found = memo.get(key)
    if found is None:
        found = memo[key] = _ends(tree, text, at, memo)
    return found


def _ends(tree: Tree, text: str, at: int, memo: dict[Any, frozenset[int]]) -> frozenset[int]:
    kind = tree[0]
    here = frozenset({at})
    if kind == Rx.SET:
        return frozenset({at + 1}) if at < len(text) and _has(tree[1], ord(text[at])) else NOTHING
    if kind == Rx.CAT:
        for part in tree[1]:
            here = NOTHING.union(*(ends(part, text, i, memo) for i in here))
        return here
    if kind == Rx.ALT:
        return NOTHING.union(*(ends(part, text, at, memo) for part in tree[1]))
    if kind == Rx.REPEAT:
        return _repeat(tree, text, at, memo)
    if kind == Rx.LOOK:
        _, ahead, negative, inner = tree
        if ahead:
            seen = bool(ends(inner, text, at, memo))
        else:
            seen = any(at in ends(inner, text, i, memo) for i in range(at + 1))
        return here if seen != negative else NOTHING
    if kind == Rx.START:
        return here if at == 0 else NOTHING
    if kind == Rx.END:
        return here if at == len(text) else NOTHING
    if kind == Rx.AND:
        parts = [ends(part, text, at, memo) for part in tree[1]]
        return parts[0].intersection(*parts[1:])
    if kind == Rx.MAYBE:
        return NOTHING
    if kind == Rx.PUNYCODE:
        return frozenset(end for end in range(at + 1, len(text) + 1) if _is_coded(tree[1], text[at:end]))
    assert kind == Rx.NOT
    return frozenset(range(at, len(text) + 1)) - ends(tree[1], text, at, memo)


def _is_coded(tree: Tree, code: str) -> bool:
    try:
        text = code.encode("ascii").decode("punycode")
    except ValueError:
        return False
    return text.encode("punycode").decode() == code and len(text) in ends(tree, text, 0, {})


def _repeat(tree: Tree, text: str, at: int, memo: dict[Any, frozenset[int]]) -> frozenset[int]:
    _, inner, least, most = tree
    now, out = frozenset({at}), set()
    count, seen = 0, set()
    while now and (most < 0 or count <= most):
        if count >= least:
            if now <= out and now in seen:
                break
            out |= now
        if count >= least or now in seen:
            if now in seen and count < least:
                count = least - 1  # the same positions for ever: an empty match
            seen.add(now)
        else:
            seen.add(now)
        now = NOTHING.union(*(ends(inner, text, i, memo) for i in now))
        count += 1
    return frozenset(out)

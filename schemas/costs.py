"""What it costs to judge a text by a schema, as every validator does it that is no automaton: bounded from above.

A validator follows each reference and each branch anew for every value that it meets, so that forty schemas, each
`anyOf` of two references to the next, are 2^40 steps over one number. The bound is worked out on the schemas alone: the
**rate** at a depth is the most steps that any one value nested so deep can take, over all the ways there from the root.
A text takes at most its rate times its size. Rates are worked out one level at a time, as deep as texts go, for most
schemas call themselves; once a level is like the one above it, so are all below.

One step is about what jsonschema-rs does in 20 ns: it looks at one keyword, one choice of an enum, or one character of
a text in one state of a pattern. tests/schemas/test_costs.py counts them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

from guard.schemas import regex
from guard.schemas.documents import Documents, ReferenceTarget
from guard.schemas.keywords import IN_PLACE, NAMED, Holds
from guard.schemas.ops import FALSE, Rx, Tree

#: A rate above this is as good as none: years.
MOST_STEPS = 1e15
AT_HAND = 2_000  #: Schemas that are looked at within some milliseconds.
#: Levels of values for which rates are worked out; a schema that still changes below them has no bound there.
MOST_LEVELS = 64
#: Characters of a text that cost as much as one value more.
CHARACTERS = 4

#: Keywords of which one schema at most applies to a member or an item.
_ONE_OF = frozenset({"properties", "additionalProperties", "prefixItems", "items", "additionalItems"})
#: Keywords that apply to members or items beside those, every schema of them.
_BESIDE = frozenset({"patternProperties", "contains", "propertyNames", "unevaluatedProperties", "unevaluatedItems"})
#: Keywords for which a validator looks a second time at what applies in place.
_AGAIN = frozenset({"unevaluatedProperties", "unevaluatedItems"})
#: Marks of what an engine for regular expressions must try one way after another.
_BACKTRACKS = ("(?=", "(?!", "(?<=", "(?<!")

#: States that a set of characters takes beyond ASCII, whose bytes are read one by one.
_WIDE = 4

#: Positions of which the dearest counts: one of them applies.
_Choice: TypeAlias = tuple[int, ...]


class _Rates(NamedTuple):
    """The rates as far as they are known; never changed, so that no lock is needed."""

    dearest: tuple[float, ...]  # of the root, by depth
    level: list[float] | None  # by position: the rate of values so many levels below
    is_settled: bool  # all below is like the last, or has no bound where that is MOST_STEPS


class Costs:
    """The bound of one compiled schema, made while nobody places schemas; asked from any thread."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        count = len(documents.schemas)
        self._own = [1.0] * count
        self.building = 0.0  #: Steps, about, of making a validator of it.
        self._same: list[list[_Choice]] = [[] for _ in range(count)]
        self._below: list[list[_Choice]] = [[] for _ in range(count)]
        for position in range(FALSE + 1, count):
            self._read(position)
        self._order = self._from_the_leaves()
        self.building = min(self.building + self._unfolded(), MOST_STEPS)
        self._rates = _Rates((), None, self._order is None)

    def is_at_hand(self, text: str) -> bool:
        """Whether `steps` tells soon, within a few milliseconds at most."""
        rates = self._rates
        lacking = text.count("[") + text.count("{") + 1 - len(rates.dearest)
        return rates.is_settled or lacking * len(self._own) <= AT_HAND

    def steps(self, text: str) -> float:
        """Return the most steps that judging a text takes; infinity where nothing is known."""
        nested = text.count("[") + text.count("{")
        size = 1 + nested + text.count(",") + text.count(":") + len(text) / CHARACTERS
        return self.rate(nested) * size

    def rate(self, depth: int) -> float:
        """Return the most steps that one value takes, at most so deep in the text; infinity where nothing is known."""
        rates = self._rates
        while len(rates.dearest) <= depth and not rates.is_settled:
            rates = self._rates = self._deepened(rates)  # whoever else is at it comes to the same
        if depth < len(rates.dearest):
            return rates.dearest[depth]
        return rates.dearest[-1] if rates.dearest and rates.dearest[-1] < MOST_STEPS else math.inf

    def _deepened(self, rates: _Rates) -> _Rates:
        """Work out the rates one level further down."""
        above = rates.level
        level = [0.0] * len(self._own)
        assert self._order is not None
        for position in self._order:
            steps = self._own[position] if above is None else _sum(above, self._below[position])
            level[position] = min(steps + _sum(level, self._same[position]), MOST_STEPS)
        dearest = (*rates.dearest, max(*(level[root] for root in self._documents.roots), *rates.dearest[-1:], 0.0))
        is_settled = level == above or not any(level) or dearest[-1] >= MOST_STEPS
        if len(dearest) == MOST_LEVELS and not is_settled:
            dearest, is_settled = (*dearest, MOST_STEPS), True
        return _Rates(dearest, level, is_settled)

    def _unfolded(self) -> float:
        """Return the schemas that apply in place with an `unevaluated…`, each as often as there are ways to it.

        The validator looks for evaluated properties and items along each of these ways as it is made.
        """
        schemas = self._documents.schemas
        asking = [at for at in range(FALSE + 1, len(schemas)) if not _AGAIN.isdisjoint(schemas[at])]
        if not asking:
            return 0.0
        if self._order is None:
            return MOST_STEPS
        ways = [1.0] * len(self._own)
        for position in self._order:
            choices = self._same[position]
            if type(schemas[position]) is dict and not _AGAIN.isdisjoint(schemas[position]):
                choices = choices[: len(choices) // 2]  # they stand there twice
            below = sum(ways[other] for choice in choices for other in choice)
            ways[position] = min(1.0 + below, MOST_STEPS)
        return sum(ways[position] for position in asking)

    def _read(self, position: int) -> None:
        """Note what one schema costs by itself, and what applies with it and below it."""
        documents = self._documents
        schema, home = documents.schemas[position], documents.homes[position]
        same, below = self._same[position], self._below[position]
        own = 1.0
        only: list[int] = []
        is_reference = home.dialect.ref_alone and "$ref" in schema
        for keyword, value in schema.items():
            holds = home.dialect.keywords.get(keyword)
            if holds is None or (is_reference and keyword != "$ref"):
                continue
            own += 1
            if holds == Holds.REFERENCE:
                target = documents.targets.get((position, keyword))
                if target is not None and (position, keyword) not in documents.idle:
                    same.append(self._led_to(target))
            elif keyword in IN_PLACE:
                same += [(child,) for child in self._children(position, holds, value)]
            elif keyword in _ONE_OF:
                only += self._children(position, holds, value)
            elif keyword in _BESIDE:
                below += [(child,) for child in self._children(position, holds, value)]
            size, backtracks = _size(keyword, value)
            own += MOST_STEPS if backtracks else size
            self.building += size
        if only:
            below.append(tuple(dict.fromkeys(only)))
        if not _AGAIN.isdisjoint(schema):
            same += same
        self._own[position] = own
        self.building += 1

    def _children(self, position: int, holds: Holds, value: Any) -> Iterator[int]:
        """Yield the positions of the schemas in a keyword's value; `true`, `false` and `{}` cost nothing."""
        places = self._documents.homes[position].document.places
        parts = value.values() if holds in NAMED else value if type(value) is list else (value,)
        for part in parts:
            if type(part) is dict and (child := places.get(id(part))) is not None:
                yield child

    def _led_to(self, target: ReferenceTarget) -> _Choice:
        """Return where a reference may lead: by the dynamic scope, to any holder of its anchor."""
        if target.anchor is None:
            return (target.position,)
        found = {target.position}
        for resource in self._documents.resources.values():
            held = resource.dynamic.get(target.anchor)
            if held is not None and (at := resource.document.places.get(id(held[0]))) is not None:
                found.add(at)
        return tuple(sorted(found))

    def _from_the_leaves(self) -> list[int] | None:
        """Order positions so that each comes after those that apply in place with it; None where there is a loop."""
        order: list[int] = []
        state = bytearray(len(self._own))  # 1: under way, 2: done
        for start in range(FALSE + 1, len(self._own)):
            todo = [start]
            while todo:
                position = todo[-1]
                if state[position] == 2:
                    todo.pop()
                elif state[position] == 1:
                    state[position] = 2
                    order.append(todo.pop())
                else:
                    state[position] = 1
                    for choice in self._same[position]:
                        for other in choice:
                            if state[other] == 1:
                                return None
                            if state[other] == 0 and other > FALSE:
                                todo.append(other)
        return [0, 1, *order]


def _sum(level: list[float], choices: list[_Choice]) -> float:
    total = 0.0
    for choice in choices:
        total += level[choice[0]] if len(choice) == 1 else max([level[at] for at in choice])
    return total


def _size(keyword: str, value: Any) -> tuple[float, bool]:
    """Return the steps that a keyword takes beside the schemas in it, and whether it has a pattern without a bound."""
    patterns = [value] if keyword == "pattern" else value if keyword == "patternProperties" else ()
    if patterns:
        return sum(map(_states_of, patterns)), any(map(_backtracks, patterns))
    if keyword in ("enum", "const"):
        return _values(value), False
    if keyword == "dependentRequired":
        return sum([1 + len(names) for names in value.values()]), False
    return len(value) if type(value) in (list, dict) else 0, False


def _values(value: Any) -> float:
    """Return how many values there are in one, itself included."""
    total, todo = 0, [value]
    while todo:
        part = todo.pop()
        total += 1
        if type(part) is list:
            todo += part
        elif type(part) is dict:
            todo += part.values()
    return total


def _backtracks(pattern: str) -> bool:
    """Answer whether an engine must try one way after another to match a pattern."""
    return any(mark in pattern for mark in _BACKTRACKS) or regex.parse(pattern).back_reference is not None


def _states_of(pattern: str) -> float:
    """Return the states of a pattern's automaton; the scan has read it."""
    return min(_states(regex.parse(pattern).tree), MOST_STEPS)


def _states(tree: Tree) -> float:
    kind = tree[0]
    if kind in (Rx.CAT, Rx.ALT):
        return 1.0 + sum([_states(part) for part in tree[1]])
    if kind == Rx.REPEAT:
        return 1.0 + float(max(1, tree[2], tree[3])) * _states(tree[1])
    if kind == Rx.LOOK:
        return 1 + _states(tree[3])
    return 1 if kind != Rx.SET or not tree[1] or tree[1][-1][1] < 128 else _WIDE

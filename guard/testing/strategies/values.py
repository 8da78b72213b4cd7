"""Valid instances: values of any schema that Guard compiles, drawn from the engine's own automaton.

The native sampler (kernels/cpu/sampling/sampler.hpp) reads a value off choices, bytes in units: one for the value, one
for each member and item inside of it. Hypothesis draws the units, so that a value is a function of what it draws, and
fewer or smaller choices are smaller values: a unit that is left out leaves a member out. Shrinking needs
nothing of its own.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import reject
from hypothesis.internal.conjecture.data import ConjectureData
from hypothesis.strategies import SearchStrategy

from guard.kernels._native import Sampler
from guard.kernels.errors import SchemaError
from guard.output import target
from guard.schemas import Compiled, Options, string_formats, types
from guard.schemas.compiled import FrontEnd
from guard.schemas.grounding.keyword import KEYWORD
from guard.schemas.grounding.sources import Sources
from guard.schemas.ops import Entry, Op, Record

LONGEST = 65  #: Bytes of one unit: choices behind them are the simplest.
FIRST = 5  #: Bytes of the first unit at least: of none, a value is the simplest.
#: Bytes of each unit of a value; the first: any number, up to LONGEST. There are many, for ends come more often.
SIZES = (0, *(5, 6, 7, 8, 9, 11, 13) * 4, 25, 9)
PROBES = 32  #: Values that are made to see how many units a schema's values take.
FEWEST, MOST = 6, 16  #: Between these lies how many units are drawn at most, where values have any inside;
MANY = 64  #: and so many are, where values differ in nothing but how deep and wide they are.
DEEP = b"\xff"  #: A choice that begins a deep value: one path, as many containers long as the next choice says,
DEEPEST = 64  #: and no more than these. Where values differ in nothing but depth, all are deep.


class Instances:
    """The instances of a schema or type, as a function of choices."""

    def __init__(self, wanted: Any, options: Mapping[str, Any]) -> None:
        """Compile; SchemaError where the schema is refused, ValueError where it has no instance."""
        chosen = {**options, "whitespace": "compact", "spelling": "canonical", "key_order": "schema"}
        documents = chosen.pop("documents", None) or {}
        sources = chosen.pop("sources", None)
        front: FrontEnd = AgreedFront(
            schema_of(wanted), Options(**{k: v for k, v in chosen.items() if v is not None}), documents
        )
        self.compiled = Compiled(front if sources is None else front.grounded(Sources(sources)))
        self._sampler = Sampler(self.compiled._engine)
        if self._sampler.sample([]) is None:
            raise ValueError(f"schema={wanted!r:.200} has no instance: no value meets it")

    def text(self, choices: Sequence[bytes]) -> str:
        """Return the JSON text for these choices, without white space. SchemaError where a limit is met."""
        made = self._sampler.sample(choices)
        assert made is not None  # there is an instance
        return made[0].decode()

    def value(self, choices: Sequence[bytes]) -> Any:
        """Return the value for these choices, as `json.loads` gives it. SchemaError where a limit is met."""
        return json.loads(self.text(choices))

    def choices(self) -> SearchStrategy[list[bytes]]:
        """Return a strategy of choices: about as many units as the values of this schema take."""
        made = random.Random(0)  # noqa: S311 - only the number of units hangs on it
        probes = [[made.randbytes(8) for _ in range(MANY)] for _ in range(PROBES)]
        taken = sorted(self._probed(probe)[1] for probe in probes)
        if not taken[-1]:
            return Units(1)
        ways = [Units(min(max(taken[PROBES * 3 // 4], FEWEST), MOST)), Units(MANY)]
        deepest, _ = self._probed(Units(0, is_deep=True).whole([DEEP]))
        if deepest.count(b"{") + deepest.count(b"[") >= DEEPEST:
            ways.append(Units(FEWEST, is_deep=True))
        differ = [len({self._probed(way.whole(probe))[0] for probe in probes}) for way in ways]
        enough = (way for way, number in zip(ways, differ, strict=True) if number > PROBES * 3 // 4)
        return next(enough, ways[differ.index(max(differ))])

    def _probed(self, choices: Sequence[bytes]) -> tuple[bytes, int]:
        try:
            return self._sampler.sample(choices) or (b"", 0)
        except SchemaError:
            return b"", 0


class Units(SearchStrategy[list[bytes]]):
    """A strategy of choices in at most so many units; of deep values alone, where they are."""

    def __init__(self, most: int, *, is_deep: bool = False) -> None:
        super().__init__()
        self.most, self.is_deep = most, is_deep

    def whole(self, units: list[bytes]) -> list[bytes]:
        """Return the units of a value whose units are drawn; no more of them are taken than there may be."""
        units = units[: self.most + 1]
        if not self.is_deep or not units:
            return units
        return [DEEP + units[0], *units[1:], *[b""] * (2 * DEEPEST)]

    def do_draw(self, data: ConjectureData) -> list[bytes]:
        """Draw: straight from the data, for a strategy of its own for each unit would take twice the time."""
        # Of one size, since for bytes of any size Hypothesis tosses a coin for each. When it shrinks, any size comes
        # first, so that choices can be left out one by one after it.
        size = SIZES[data.draw_integer(0, len(SIZES) - 1)]
        units: list[bytes] = []
        for number in range(self.most):
            # A unit that begins with 0 ends them. So no number of units is drawn, and any can be deleted by itself.
            unit = data.draw_bytes(size or (0 if number else FIRST), size or LONGEST)
            if not unit or not unit[0]:
                break
            units.append(unit[1:])
        return self.whole(units)


class AgreedFront(FrontEnd):
    """The front end of schemas in which a format holds only what validators agree on (schemas/string_formats.py)."""

    def lower(self, nodes: list[int]) -> list[Record]:
        """Return the records of nodes."""
        draft = self.documents.root_home.dialect.name
        return [[agreed(entry, draft) for entry in record] for record in super().lower(nodes)]


def agreed(entry: Entry, draft: str) -> Entry:
    """Return an entry of a record as AgreedFront has it."""
    if entry[0] != Op.FORMAT or entry[1] == KEYWORD:
        return entry
    return (entry[0], entry[1], string_formats.agreed(entry[1], draft))


def schema_of(wanted: Any) -> Any:
    """Return the schema that a call for a type or schema is held to."""
    return wanted if target.is_schema(wanted) else target.closed(types.json_schema(wanted))


def values(wanted: Any, **options: Any) -> SearchStrategy[Any]:
    """Return a strategy of valid instances of a schema or type, as `json.loads` gives them.

    `options` are those of `guard.compile`: draft, formats, documents, limits, …; and `sources`, the inputs by name that
    quoted and stated values come from. Every value is valid by construction:
    it is written through the masks' own automaton. Boundaries come often: the ends of ranges and lengths, the empty,
    every plane of Unicode, nesting, members in every subset. It shrinks to the smallest that the schema has.

    Raises SchemaError where the schema is refused; ValueError where it has no instance. A draw that meets one of the
    engine's limits is rejected, as Hypothesis's statistics show.
    """
    instances = Instances(wanted, options)

    def value(choices: list[bytes]) -> Any:
        try:
            return instances.value(choices)
        except SchemaError:
            reject()

    return instances.choices().map(value)

"""Valid instances: values of any schema that Guard compiles, drawn from the engine's own automaton.

The native sampler (kernels/cpu/sampling/sampler.hpp) reads a value off choices, bytes in units: one for the value, one
for each member and item inside of it. Hypothesis draws the units, so a value is a function of the draws. Fewer or
smaller choices make smaller values: a missing unit leaves a member out. So shrinking needs no code here.
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

LONGEST = 65  #: Most bytes of one unit; later choices are the simplest.
FIRST = 5  #: Least bytes of the first unit: without any, a value is the simplest.
#: Sizes of units, in bytes; 0 stands for any size up to LONGEST. There are many, since Hypothesis draws the ends more
#: often.
SIZES = (0, *(5, 6, 7, 8, 9, 11, 13) * 4, 25, 9)
PROBES = 32  #: Values made to estimate how many units a schema's values take.
FEWEST, MOST = 6, 16  #: Bounds of the most units drawn for values with members or items;
MANY = 64  #: the most for values that differ only in depth and width.
DEEP = b"\xff"  #: The choice that begins a deep value: one path of containers, as many as the next choice says,
DEEPEST = 64  #: but at most these. Where values differ only in depth, all are deep.


class Instances:
    """The instances of a schema or type, as a function of choices."""

    def __init__(self, wanted: Any, options: Mapping[str, Any]) -> None:
        """Compile. Raises SchemaError where the schema is refused, and ValueError where it has no instance."""
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
        """Return the JSON text for these choices, without white space. Raises SchemaError where a limit is met."""
        made = self._sampler.sample(choices)
        assert made is not None  # there is an instance
        return made[0].decode()

    def value(self, choices: Sequence[bytes]) -> Any:
        """Return the value for these choices, as `json.loads` gives it. Raises SchemaError where a limit is met."""
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
    """A strategy of choices in at most so many units; `is_deep`: of deep values only."""

    def __init__(self, most: int, *, is_deep: bool = False) -> None:
        super().__init__()
        self.most, self.is_deep = most, is_deep

    def whole(self, units: list[bytes]) -> list[bytes]:
        """Return a value's units from the drawn ones, at most as many as allowed."""
        units = units[: self.most + 1]
        if not self.is_deep or not units:
            return units
        return [DEEP + units[0], *units[1:], *[b""] * (2 * DEEPEST)]

    def do_draw(self, data: ConjectureData) -> list[bytes]:
        """Draw directly from the data; a strategy for each unit would take twice the time."""
        # The size is drawn first, since for bytes of any size Hypothesis draws a coin for each. Any size comes first in
        # the order of shrinking, so that choices can then be left out one by one.
        size = SIZES[data.draw_integer(0, len(SIZES) - 1)]
        units: list[bytes] = []
        for number in range(self.most):
            # A unit that begins with 0 ends them. Their number is not drawn, so any unit can be deleted by itself.
            unit = data.draw_bytes(size or (0 if number else FIRST), size or LONGEST)
            if not unit or not unit[0]:
                break
            units.append(unit[1:])
        return self.whole(units)


class AgreedFront(FrontEnd):
    """A front end in which a format allows only the texts that validators agree on (schemas/string_formats.py)."""

    def lower(self, nodes: list[int]) -> list[Record]:
        """Return the records of nodes."""
        draft = self.documents.root_home.dialect.name
        return [[agreed(entry, draft) for entry in record] for record in super().lower(nodes)]

    def drafts(self, nodes: list[int]) -> list[Record]:
        """Return what the engine is to know of nodes."""
        return self.lower(nodes)


def agreed(entry: Entry, draft: str) -> Entry:
    """Return an entry of a record as AgreedFront has it."""
    if entry[0] != Op.FORMAT or entry[1] == KEYWORD:
        return entry
    return (entry[0], entry[1], string_formats.agreed(entry[1], draft))


def schema_of(wanted: Any) -> Any:
    """Return the schema that a call with this type or schema must satisfy."""
    return wanted if target.is_schema(wanted) else target.closed(types.json_schema(wanted))


def values(wanted: Any, **options: Any) -> SearchStrategy[Any]:
    """Return a strategy of valid instances of a schema or type, as `json.loads` gives them.

    `options` are those of `guard.compile`: draft, formats, documents, limits, …; and `sources`, the inputs by name that
    quoted and stated values come from. Every value is valid by construction: it is written through the masks' own
    automaton. Boundaries come often: the ends of ranges and lengths, the empty, every plane of Unicode, nesting,
    members in every subset. It shrinks to the schema's smallest instance.

    Raises SchemaError where the schema is refused, and ValueError where it has no instance. A draw that exceeds a limit
    of the engine is rejected; Hypothesis's statistics show that.
    """
    instances = Instances(wanted, options)

    def value(choices: list[bytes]) -> Any:
        try:
            return instances.value(choices)
        except SchemaError:
            reject()

    return instances.choices().map(value)

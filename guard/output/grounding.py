"""The check of grounded values after decoding: each must occur in an input as its schema says; returns the places.

It applies to every answer, of local and remote models alike, and is independent of the mask engine: it would find a
value that faulty masks allowed although no input states it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from guard.errors import SchemaError, Truncated, Unchecked, ValidationFailed, Violation
from guard.kernels import json_pointer
from guard.kernels.json_pointer import pointer
from guard.output.judge import Judge, JudgedSchema, too_deep
from guard.support.clipping import GOT_LENGTH, clipped, cut_short

if TYPE_CHECKING:
    from guard.schemas import Compiled
    from guard.schemas.grounding.sources import Place, Sources
    from guard.schemas.grounding.walk import Grounded, GroundedWalk

QUOTED, STATED, ONCE = "quoted", "not stated", "quoted once"  #: The rules that findings name.
MOST_INPUT = 4_000_000  #: Most characters of all inputs of a call with grounded values.
MOST_WORK = 2_000_000_000  #: Most characters of inputs times values of an answer: some seconds.
_ROOT = "urn:guard:schema"  #: The URI of the schema for the judges of branches.

_EXPECTED = {
    "quoted": "a text that stands in the input, word for word",
    "number": "a number that the input states",
    "date": "a date that the input states",
}

#: The places of each grounded value by its JSON Pointer.
Places = Mapping[str, tuple["Place", ...]]


@dataclass(frozen=True)
class Located:
    """The places of an answer's grounded values, and findings about them."""

    findings: tuple[Violation, ...]
    places: Places


class GroundingChecker:
    """Checks answers against the grounded values of one compiled schema."""

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self._judges: dict[int, Judge] = {}
        self._walk: GroundedWalk = compiled.walk(self._is_valid)

    def check(self, text: str, sources: Sources) -> Located:
        """Check a text that is valid; Unchecked where that would take too long.

        A text that a type's reader takes may not be valid by the schema.
        """
        from guard.schemas.grounding.walk import TooMuchWorkError, size  # here: few types need it

        value = json.loads(text)
        if size(value) * sources.size > MOST_WORK:
            raise Unchecked("the answer has too many values to look for all of them in inputs of this length")
        try:
            found = self._walk.grounded(value, sources, json.loads(text, parse_float=_written))
        except RecursionError:
            return Located(too_deep(text), {})
        except TooMuchWorkError:
            words = "the grounded values of the answer could not be found: too many branches of unions fit its parts"
            raise Unchecked(words) from None
        places = {pointer(one.path): one.places for one in found if one.places}
        return Located((*map(_finding, (one for one in found if not one.places)), *_once(found)), places)

    def _is_valid(self, position: int, value: Any) -> bool:
        if position < 2:
            return position == 0
        if position not in self._judges:
            compiled = self._compiled
            at = compiled.pointer(position)
            branch = {"$ref": at if "#" in at else f"{_ROOT}#{at}"}
            documents = {_ROOT: compiled.schema, **compiled.documents}
            case = JudgedSchema(branch, compiled.draft, compiled.options.formats, documents)
            self._judges[position] = Judge(case, backtracks=True)
        judge = self._judges[position]
        return judge.is_valid(judge.meant(value))


def grounded(compiled: Compiled, sources: Sources) -> Compiled:
    """Return the schema for the inputs of one call; ValidationFailed where they state no value that it could have.

    Raises Truncated where the inputs are longer than MOST_INPUT.
    """
    if sources.size > MOST_INPUT:
        words = (
            f"inputs of {sources.size:,} characters are more than grounded values are looked for in ({MOST_INPUT:,})"
        )
        raise Truncated(f"{words}; shorten the input")
    found = compiled.grounded(sources)
    try:
        found.check_satisfiable()
    except SchemaError as error:
        findings = [
            Violation(place, STATED, "a value that the input states", "nothing")
            for place in dict.fromkeys(map(_value_place, found.unstated() or [""]))
        ]
        missing = ", ".join(finding.at for finding in findings if finding.at) or "such value"
        message = f"the input states no {missing}: no answer can be right"
        raise ValidationFailed(message, findings=findings) from error
    return found


def _value_place(place: str) -> str:
    """Return the place in the value for a place in the schema, as far as its JSON Pointer tells."""
    steps = json_pointer.steps(place)
    return pointer([name for before, name in itertools.pairwise(steps) if before == "properties"])


def _written(number: str) -> Decimal | float:
    """Return a number as it is written, or a float where its exponent is beyond any decimal."""
    try:
        return Decimal(number)
    except InvalidOperation:
        return float(number)


def _finding(one: Grounded) -> Violation:
    if one.rule is None:
        expected = "a value as the schema writes it: in another form, what it takes from the input can't be found"
        return Violation(pointer(one.path), STATED, expected, clipped(one.value))
    rule = QUOTED if one.rule.kind == "quoted" else STATED
    where = "" if one.rule.input is None else f" {one.rule.input!r}"
    expected = _EXPECTED[one.rule.kind].replace("the input", f"the input{where}")
    if one.rule.kind == "quoted" and one.rule.within != "cell":
        expected += f", within a {one.rule.within}"
    elif one.rule.kind == "quoted":
        expected += ", within one line"
    got = cut_short(str(one.value), GOT_LENGTH) if isinstance(one.value, Decimal) else clipped(one.value)
    return Violation(pointer(one.path), rule, expected, got)


def _once(found: Sequence[Grounded]) -> list[Violation]:
    """Return findings about equal items of a list whose items must be quoted once."""
    seen: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    out = []
    for one in found:
        if one.rule is None or not isinstance(one.value, str | Decimal):
            continue
        first = seen.setdefault((one.path[:-1], one.value), one.path)
        if one.rule.once and first != one.path:
            out.append(Violation(pointer(one.path), ONCE, "an item that the list has not yet", clipped(one.value)))
    return out

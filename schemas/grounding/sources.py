"""Sources: the inputs of one call, and the texts, numbers and dates that they state.

Each text is searched once, and the results live as long as the call. Calls share nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias

from guard.schemas.grounding.json_text import JsonNumber, JsonText
from guard.schemas.grounding.keyword import MOST_PLACES, SourceRule, Within
from guard.schemas.grounding.quotes import QuotableText
from guard.schemas.grounding.seen_text import SeenText
from guard.schemas.grounding.stated_dates import StatedDates, dates
from guard.schemas.grounding.stated_numbers import numbers
from guard.schemas.ops import Rx, Tree


class Place(NamedTuple):
    """A place where an input states a value."""

    input: str  #: The input's name, and a JSON Pointer to the text within it where it is JSON: "mail/body".
    start: int  #: Characters from the start of the original text.
    end: int


Spans: TypeAlias = "list[tuple[int, int]]"


class Sources:
    """The texts of one call's inputs by name, with what they state.

    Those of a JsonText are named by the input's name and a JSON Pointer: "mail/body".
    """

    def __init__(self, inputs: Mapping[str, str]) -> None:
        self.inputs = dict(inputs)
        self.texts: dict[str, str] = {}
        self._named: dict[str, list[str]] = {}  # the names of the texts of each input
        for name, text in inputs.items():
            if not all(isinstance(part, str) for part in (name, text)):
                raise TypeError("sources=… must be texts by name")
            texts = {name + at: leaf for at, leaf in text.leaves()} if isinstance(text, JsonText) else {name: text}
            self.texts |= texts
            self._named[name] = [*texts]
        self._seen: dict[str, SeenText] = {}
        self._quotes: dict[tuple[str, Within], QuotableText] = {}
        self._numbers: dict[tuple[str, tuple[str, ...]], dict[Decimal, Spans]] = {}
        self._dates: dict[tuple[str, tuple[str, ...]], StatedDates] = {}
        self._places: dict[tuple[SourceRule, str | Decimal], list[Place]] = {}
        self._trees: dict[SourceRule, Tree] = {}

    def __eq__(self, other: object) -> bool:
        """Whether the names and texts are equal."""
        return isinstance(other, Sources) and self.texts == other.texts

    __hash__ = None  # type: ignore[assignment] # not hashable: hashing all texts would be slow

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the texts only; the results are found again."""
        return Sources, (self.inputs,)

    @property
    def size(self) -> int:
        """The number of characters in all texts."""
        return sum(map(len, self.texts.values()))

    @property
    def hash(self) -> str:
        """A SHA-256 of the names and texts."""
        return hashlib.sha256(json.dumps(self.texts, sort_keys=True).encode()).hexdigest()

    def places(self, rule: SourceRule, value: str | Decimal) -> list[Place]:
        """Return the places where the inputs state a value, at most MOST_PLACES each; empty where they don't."""
        key = rule, value
        if key not in self._places:
            places = [Place(name, *span) for name in self._names(rule) for span in self._spans(rule, name, value)]
            self._places[key] = places[:MOST_PLACES]
        return self._places[key]

    def tree(self, rule: SourceRule) -> Tree:
        """Return the texts that a value may be, as a syntax tree; the same object for the same rule."""
        rule = SourceRule(rule.kind, rule.input, rule.within, False, rule.locales)
        if rule not in self._trees:
            self._trees[rule] = self._date_tree(rule) if rule.kind == "date" else self._quote_tree(rule)
        return self._trees[rule]

    def numbers(self, rule: SourceRule) -> list[Decimal]:
        """Return the numbers that a value may be."""
        return sorted({number for name in self._names(rule) for number in self._numbers_of(name, rule.locales)})

    def _names(self, rule: SourceRule) -> list[str]:
        return list(self.texts) if rule.input is None else self._named.get(rule.input, [])

    def _spans(self, rule: SourceRule, name: str, value: str | Decimal) -> Spans:
        return list(map(self._seen_of(name).place, self._seen_spans(rule, name, value)))

    def _seen_spans(self, rule: SourceRule, name: str, value: str | Decimal) -> Spans:
        if isinstance(value, Decimal):
            return self._numbers_of(name, rule.locales).get(value, [])
        if rule.kind == "date":
            return self._dates_of(name, rule.locales).get(value, [])
        return self._quotes_of(name, rule.within).find(value)

    def _quote_tree(self, rule: SourceRule) -> Tree:
        trees = [self._quotes_of(name, rule.within).tree for name in self._names(rule)]
        if len(trees) == 1:
            return trees[0]
        return (
            int(Rx.QUOTES),
            "\n".join(compared for _, compared, _, _ in trees),
            b"".join(starts for _, _, starts, _ in trees) or b"\0",
            b"".join(ends for *_, ends in trees) or b"\0",
        )

    def _date_tree(self, rule: SourceRule) -> Tree:
        found = sorted({date for name in self._names(rule) for date in self._dates_of(name, rule.locales)})
        marks = [(b"\1" + b"\0" * len(date), b"\0" * len(date) + b"\1") for date in found]
        starts, ends = b"".join(start for start, _ in marks), b"".join(end for _, end in marks)
        return (int(Rx.QUOTES), "\n".join(found), starts or b"\0", ends or b"\0")

    def _seen_of(self, name: str) -> SeenText:
        if name not in self._seen:
            self._seen[name] = SeenText(self.texts[name])
        return self._seen[name]

    def _quotes_of(self, name: str, within: Within) -> QuotableText:
        key = name, within
        if key not in self._quotes:
            self._quotes[key] = QuotableText(self._seen_of(name).text, within)
        return self._quotes[key]

    def _numbers_of(self, name: str, locales: tuple[str, ...]) -> dict[Decimal, Spans]:
        key = name, locales
        if key not in self._numbers:
            text = self.texts[name]
            is_json = isinstance(text, JsonNumber)
            found = {Decimal(text): [(0, len(text))]} if is_json else numbers(self._seen_of(name).text, locales)
            self._numbers[key] = found
        return self._numbers[key]

    def _dates_of(self, name: str, locales: tuple[str, ...]) -> StatedDates:
        key = name, locales
        if key not in self._dates:
            self._dates[key] = dates(self._seen_of(name).text, locales)
        return self._dates[key]

"""The inputs of the judge: what they are made to state is what `schemas/grounding` reads in them."""

from __future__ import annotations

from random import Random

from exactness import inputs

from guard.schemas.grounding.keyword import WITHIN, SourceRule
from guard.schemas.grounding.sources import Sources

DRAWN = 400


def quotes(sources: Sources, rule: SourceRule) -> set[str]:
    """Return all texts that may be quoted: every part of the text is tried."""
    _, text, starts, ends = sources.tree(rule)
    places = [(i, j) for i in range(len(text)) if starts[i] for j in range(i + 1, len(text) + 1) if ends[j]]
    return {text[i:j] for i, j in places if "\n" not in text[i:j]}


def test_an_input_states_what_it_is_made_of() -> None:
    r, said = Random(1), 0
    for _ in range(DRAWN):
        drawn = inputs.draw(r)
        sources = Sources({name: one.text for name, one in drawn.items()})
        for name, one in drawn.items():
            for within in WITHIN:
                assert quotes(sources, SourceRule("quoted", name, within)) == one.quotes[within], one.text
            for locales in inputs.LOCALES:
                numbers = sources.numbers(SourceRule("number", name, locales=locales))
                dates = sources.tree(SourceRule("date", name, locales=locales))[1]
                assert set(map(float, numbers)) == one.numbers[locales], (locales, one.text)
                assert set(str(dates).split()) == one.dates[locales], (locales, one.text)
                said += len(one.numbers[locales]) + len(one.dates[locales])
    assert said > DRAWN


def test_a_schema_is_told_by_what_the_inputs_state() -> None:
    quotes = {"cell": frozenset({"a", "1", "a 1"})}
    given = inputs.Input("a 1", quotes, {(): frozenset({1.0}), ("de",): frozenset({2.0})}, {})
    grounded = {"type": ["integer", "null"], "x-guard-from": "/a"}
    assert inputs.told(grounded, {"a": given}) == {"type": ["integer", "null"], "allOf": [{"enum": [1, None]}]}
    assert inputs.told({**grounded, "type": "integer"}, {}) == {"type": "integer", "allOf": [{"not": {}}]}
    by_locale = {**grounded, "x-guard-from": {"input": "/a", "locales": ["de"]}}
    assert inputs.told(by_locale, {"a": given})["allOf"] == [{"enum": [2, None]}]
    told = inputs.told({"items": {"type": "string", "x-guard-from": "input"}}, {"a": given})
    assert told == {"items": {"type": "string", "allOf": [{"enum": ["1", "a", "a 1"]}]}}

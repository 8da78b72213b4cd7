"""Texts: values as models write them, each with what is to become of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from guard.testing.instances import values

#: What is to become of a text: "valid", JSON of a valid value; "repairable", which `guard.repair` mends to one;
#: "invalid", a whole answer that must not be accepted; "truncated", the beginning of one that was cut off.
Outcome = Literal["valid", "repairable", "invalid", "truncated"]


@dataclass(frozen=True)
class Text:
    """A text that a model may write for a schema."""

    text: str
    outcome: Outcome
    value: Any  # what must come of it where it is valid or repairable; else None
    how: tuple[str, ...]  # what was done to the value's JSON: ("fence", "prose"); () is what json.dumps writes


def texts(wanted: Any, **options: Any) -> SearchStrategy[Text]:
    """Return a strategy of texts that models write for a schema or type, good and bad.

    `options` are those of `guard.compile`. Raises as `values` does.
    """

    @st.composite
    def written(draw: DrawFn) -> Text:
        value = draw(values(wanted, **options))
        text = json.dumps(value)
        if draw(st.booleans()) and not isinstance(value, str):
            return Text(f"```json\n{text}\n```", "repairable", value, ("fence",))
        if isinstance(value, dict | list) and draw(st.booleans()):
            return Text(text[:-1], "truncated", None, ("cut off",))
        return Text(text, "valid", value, ())

    return written()

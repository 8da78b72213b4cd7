"""`Quoted` and `Stated`: what an annotation says of a value that comes from the inputs of the call.

Both write `x-guard-from` (schemas/grounding/keyword.py) beside the type's own schema; of a list, beside its items'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from guard.schemas.grounding.keyword import ANY, KEYWORD, Within, rule_of


@dataclass(frozen=True, kw_only=True)
class Quoted:
    """A text that stands in the input, word for word: `Annotated[str, guard.Quoted()]`; or a list of such.

    `within` is what it may not reach beyond: a cell of a table, a line, or a paragraph, whose lines are joined. With
    `once`, no two items of a list that is marked so are equal. `input` names the argument that it comes from; None: any
    of them.
    """

    within: Within = "cell"
    once: bool = False
    input: str | None = None

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        """Write the keyword."""
        said = {"input": _pointer(self.input), "within": self.within, "once": self.once}
        return _marked(handler, handler(core), _short(said, {"within": "cell", "once": False}), ("quoted",), "a text")


@dataclass(frozen=True, kw_only=True)
class Stated:
    """A number or a date that the input states, by value: `Annotated[float | None, guard.Stated()]`.

    `locales` are those whose notations of numbers and names of months count ("de", "en_GB"); none: the common ones.
    `input` names the argument that it comes from; None: any of them.
    """

    locales: tuple[str, ...] = ()
    input: str | None = None

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        """Write the keyword."""
        said = {"input": _pointer(self.input), "locales": list(self.locales)}
        what = "a number or a date; a Decimal is a text in JSON: mark a float instead"
        return _marked(handler, handler(core), _short(said, {"locales": []}), ("number", "date"), what)


def _pointer(name: str | None) -> str:
    return ANY if name is None else "/" + name.replace("~", "~0").replace("/", "~1")


def _short(said: dict[str, Any], defaults: Mapping[str, Any]) -> Any:
    """Return the keyword's value without what is so by default."""
    more = {name: value for name, value in said.items() if name not in defaults or value != defaults[name]}
    return more["input"] if len(more) == 1 else more


def _marked(handler: Any, schema: dict[str, Any], said: Any, kinds: tuple[str, ...], what: str) -> dict[str, Any]:
    """Return a schema with the keyword where it holds texts, numbers or dates."""
    if "$ref" in schema:
        schema = dict(handler.resolve_ref_schema(schema))
    if branches := schema.get("anyOf"):
        marked = [
            branch if branch.get("type") == "null" else _marked(handler, branch, said, kinds, what)
            for branch in branches
        ]
        return {**schema, "anyOf": marked}
    if schema.get("type") == "array" and isinstance(schema.get("items"), dict):
        items = _marked(handler, schema["items"], said, kinds, what)
        is_once = isinstance(said, dict) and said.get("once") is True
        return {**schema, "items": items, **({"uniqueItems": True} if is_once else {})}
    out = {**schema, KEYWORD: said}
    try:
        if rule_of(out).kind in kinds:
            return out
    except ValueError:
        pass
    from pydantic.errors import PydanticInvalidForJsonSchema

    raise PydanticInvalidForJsonSchema(f"it is marked as one that the input states, and is not {what}")

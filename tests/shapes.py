"""Random JSON Schemas that the first set of keywords can say, most of them with an instance."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

NAMES = ("a", "b", "name", "total", "é", "x y", "naïve")
PATTERNS = ("^[a-c]{1,4}$", "^\\d{2}-\\d{2}$", "é|文", "^(yes|no)$", "[A-Z]")
SCALARS: tuple[Any, ...] = (None, True, False, 0, 7, -1.5, "", "a", "é\n", "文")


def schemas() -> st.SearchStrategy[Any]:
    """Schemas of types, bounds, patterns, objects, arrays, alternatives, conjunctions and recursion."""
    leaves = st.one_of(
        st.sampled_from([True, {"type": "boolean"}, {"type": "null"}, {"type": ["integer", "null"]}]),
        st.sampled_from(SCALARS).map(lambda value: {"const": value}),
        st.lists(st.sampled_from(SCALARS), min_size=1, max_size=4).map(lambda values: {"enum": values}),
        _strings(),
        _numbers(),
        st.just({"$ref": "#/$defs/tree"}),
    )
    inner = st.recursive(leaves, lambda children: st.one_of(_objects(children), _arrays(children), _mixed(children)))
    return inner.map(_with_definitions)


def _strings() -> st.SearchStrategy[Any]:
    bounds = st.tuples(st.integers(0, 5), st.integers(0, 8)).map(
        lambda pair: {"type": "string", "minLength": pair[0], "maxLength": pair[0] + pair[1]}
    )
    return bounds | st.sampled_from(PATTERNS).map(lambda pattern: {"type": "string", "pattern": pattern})


def _numbers() -> st.SearchStrategy[Any]:
    return st.builds(
        lambda kind, low, span, strict: {
            "type": kind,
            ("exclusiveMinimum" if strict else "minimum"): low,
            "maximum": low + span,
        },
        st.sampled_from(["integer", "number"]),
        st.integers(-1000, 1000),
        st.integers(1, 500),
        st.booleans(),
    )


@st.composite
def _objects(draw: st.DrawFn, children: st.SearchStrategy[Any]) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=4))
    schema: dict[str, Any] = {"type": "object", "properties": {name: draw(children) for name in names}}
    schema["required"] = [name for name in names if draw(st.booleans())]
    if draw(st.booleans()):
        schema["additionalProperties"] = draw(st.just(False) | children)
    return schema


@st.composite
def _arrays(draw: st.DrawFn, children: st.SearchStrategy[Any]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "array", "items": draw(children), "minItems": draw(st.integers(0, 2))}
    if draw(st.booleans()):
        schema["maxItems"] = schema["minItems"] + draw(st.integers(0, 3))
    if draw(st.booleans()):
        schema["prefixItems"] = draw(st.lists(children, min_size=1, max_size=2))
    return schema


def _mixed(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(children, min_size=2, max_size=3)
    return some.map(lambda schemas: {"anyOf": schemas}) | some.map(lambda schemas: {"allOf": schemas})


def _with_definitions(schema: Any) -> Any:
    """Put the schema where its references find what they name."""
    if isinstance(schema, bool):
        return schema
    tree = {
        "type": "object",
        "properties": {"value": {"type": "integer"}, "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
        "required": ["value"],
        "additionalProperties": False,
    }
    return {**schema, "$defs": {"tree": tree}}

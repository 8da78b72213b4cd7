"""Near misses: instances that break exactly one keyword of a schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jsonschema_rs
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from guard import targets
from guard.violations import pointer

_JUDGES = {**targets._JUDGES}


@dataclass(frozen=True)
class NearMiss:
    """A value that breaks one keyword of a schema and nothing else."""

    value: Any  # as json.loads gives it
    keyword: str  # "minimum": without it the value would be valid
    at: str  # JSON Pointer into the value, where the finding is: "/orders/3/qty"; "" is the whole value
    rule: str  # JSON Pointer into the schema: "/properties/orders/items/properties/qty/minimum"


def near_misses(wanted: Any, **options: Any) -> SearchStrategy[NearMiss]:
    """Return a strategy of instances that break exactly one keyword of a schema or type.

    Each fails under jsonschema and jsonschema-rs, and both take it once that keyword is gone. `options` are those of
    `guard.compile`. Raises SchemaError where the schema is refused; ValueError where nothing breaks one keyword alone.
    """
    target = targets.from_any(wanted, options)
    validator = getattr(jsonschema_rs, targets._JUDGES[target.compiled.draft])(target.schema, validate_formats=True)
    plain = st.recursive(
        st.none() | st.booleans() | st.integers(-3, 300) | st.floats(-1e3, 1e3) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=5,
    )

    def found(value: Any) -> list[Any]:
        return list(validator.iter_errors(value))

    def miss(value: Any) -> NearMiss:
        error = found(value)[0]
        rule = pointer(error.schema_path)
        return NearMiss(value, rule.rpartition("/")[2], pointer(error.instance_path), rule)

    return plain.filter(lambda value: len(found(value)) == 1).map(miss)

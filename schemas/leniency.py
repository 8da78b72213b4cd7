"""What tools write that a metaschema refuses, and that can mean one thing only: it is taken as that.

An empty `required` under draft 4, which wants a name in it; and references with characters that a URI has only
percent-encoded, as generators of TypeScript write them: `#/definitions/Partial<User>`. A metaschema and a validator
are shown a copy that says the same as the standard has it (`as_standard`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: What no reference of RFC 3986 holds; `%` is left as it is, for it may be an escape.
_NOT_IN_URIS = re.compile(r"[^A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]")
_REFERENCES = frozenset(("$ref", "$dynamicRef", "$recursiveRef"))
#: Keywords whose values are schemas by name, or no schemas at all.
_BY_NAME = frozenset(("properties", "patternProperties", "$defs", "definitions", "dependencies", "dependentSchemas"))
_LITERAL = frozenset(("const", "default", "enum", "example", "examples"))


def as_standard(schema: Any, *, wants_names: bool) -> Any:
    """Return a schema as the standard writes it; `wants_names`: as draft 4 does, with a name in each `required`."""
    return _strictly(schema, wants_names=wants_names) if _is_lenient(schema, wants_names=wants_names) else schema


def _strictly(schema: Any, *, wants_names: bool) -> Any:
    if isinstance(schema, list):
        return [_strictly(part, wants_names=wants_names) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    copy: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _REFERENCES and isinstance(value, str):
            copy[key] = _NOT_IN_URIS.sub(lambda char: "".join(f"%{byte:02X}" for byte in char[0].encode()), value)
        elif key in _LITERAL:
            copy[key] = value
        elif key in _BY_NAME and isinstance(value, Mapping):
            copy[key] = {name: _strictly(part, wants_names=wants_names) for name, part in value.items()}
        elif not (wants_names and key == "required" and value == []):
            copy[key] = _strictly(value, wants_names=wants_names)
    return copy


def _is_lenient(schema: Any, *, wants_names: bool) -> bool:
    """Say whether a schema, or anything in it, may be written otherwise. Linear, without recursion."""
    todo = [schema]
    while todo:
        part = todo.pop()
        if isinstance(part, Mapping):
            if wants_names and part.get("required") == []:
                return True
            if any(isinstance(part.get(key), str) and _NOT_IN_URIS.search(part[key]) for key in _REFERENCES):
                return True
            todo += part.values()
        elif isinstance(part, list):
            todo += part
    return False

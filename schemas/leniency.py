"""What tools write that a metaschema refuses, and that can mean one thing only: it is taken as that.

An empty `required` under draft 4, which wants a name in it; and references with characters that a URI has only
percent-encoded, as generators of TypeScript write them: `#/definitions/Partial<User>`. A metaschema and a validator
are shown a copy that says the same as the standard has it (`as_standard`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from guard.schemas import rewriting

#: What no reference of RFC 3986 holds. `%` is left as it is, for it may be an escape; half of a surrogate pair, too,
#: which has no escape, so that the metaschema or the validator refuses it.
_NOT_IN_URIS = re.compile(r"[^A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%\ud800-\udfff-]")
_REFERENCES = frozenset(("$ref", "$dynamicRef", "$recursiveRef"))


def as_standard(schema: Any, *, wants_names: bool) -> Any:
    """Return a schema as the standard writes it; `wants_names`: as draft 4 does, with a name in each `required`."""
    if not any(_is_lenient(part, wants_names=wants_names) for part in rewriting.each(schema)):
        return schema

    def strictly(part: dict[str, Any]) -> dict[str, Any]:
        for key in _REFERENCES & part.keys():
            if isinstance(part[key], str):
                part[key] = _NOT_IN_URIS.sub(_escaped, part[key])
        if wants_names and part.get("required") == []:
            del part["required"]
        return part

    return rewriting.rewritten(schema, strictly)


def _is_lenient(schema: Mapping[str, Any], *, wants_names: bool) -> bool:
    """Say whether something right in a schema is written otherwise than the standard has it."""
    if wants_names and schema.get("required") == []:
        return True
    return any(isinstance(schema.get(key), str) and _NOT_IN_URIS.search(schema[key]) for key in _REFERENCES)


def _escaped(char: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in char[0].encode())

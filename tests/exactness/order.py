"""The schema's order of keys, read off the schema as docs/explanation/json-text.md says: a judge of `key_order="schema"`.

All schemas that apply in place are walked as they are written, whichever of them hold; first come the names of all
their `properties`, then those that only `required` names, then all other keys in any order. Of each schema that applies
to a container, to a member apply those that `properties` and `patternProperties` give it, else `additionalProperties`
and `unevaluatedProperties`; to an item those of its position, `contains` and `unevaluatedItems`.

References are those that generator.py writes: into the root's definitions, to the root, and dynamic ones that end at
the root's definition.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

OLD = frozenset({"draft4", "draft6", "draft7", "openapi3.0"})


class Order:
    """The order of keys in the values of one schema."""

    def __init__(self, schema: Any, draft: str) -> None:
        self.root = schema
        self.draft = draft
        self._schemas: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        self._ranks: dict[tuple[Any, ...], dict[str, int]] = {}

    def holds(self, path: tuple[Any, ...], keys: tuple[str, ...]) -> bool:
        """Say whether the keys of the object at a path may be written in this order."""
        if path not in self._ranks:
            applying = self.schemas(path)
            names = [n for word in ("properties", "required") for s in applying for n in self._words(s).get(word, ())]
            self._ranks[path] = {name: at for at, name in reversed(list(enumerate(names)))}
        ranks = self._ranks[path]
        written = [ranks.get(key, len(ranks) + 10**6) for key in keys]
        return written == sorted(written)

    def schemas(self, path: tuple[Any, ...]) -> list[dict[str, Any]]:
        """Return the schemas that apply in place at a path, in the order in which they are met."""
        if path not in self._schemas:
            if not path:
                found = [self.root]
            elif isinstance(path[-1], str):
                found = [below for s in self.schemas(path[:-1]) for below in self._members(s, path[-1])]
            else:
                found = [below for s in self.schemas(path[:-1]) for below in self._items(s, path[-1])]
            out: list[dict[str, Any]] = []
            for schema in found:
                self._in_place(schema, out)
            self._schemas[path] = out
        return self._schemas[path]

    def _in_place(self, schema: Any, out: list[dict[str, Any]]) -> None:
        if not isinstance(schema, dict) or any(s is schema for s in out):
            return
        out.append(schema)
        for word, value in self._words(schema).items():
            if word in ("$ref", "$dynamicRef", "$recursiveRef"):
                self._in_place(self._target(value), out)
            elif word in ("allOf", "anyOf", "oneOf"):
                for below in value:
                    self._in_place(below, out)
            elif word == "if":
                for part in ("if", "then", "else"):
                    self._in_place(schema.get(part), out)
            elif word in ("dependentSchemas", "dependencies"):
                for below in value.values():
                    self._in_place(below, out)

    def _words(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the keywords that count: up to draft 7 a `$ref` hides its siblings."""
        return {"$ref": schema["$ref"]} if "$ref" in schema and self.draft in OLD else schema

    def _target(self, reference: str) -> Any:
        if reference == "#":
            return self.root
        definitions = self.root.get("$defs") or self.root.get("definitions")
        return definitions[reference.removeprefix("#").rpartition("/")[2]]

    def _members(self, schema: dict[str, Any], key: str) -> Iterator[Any]:
        words = self._words(schema)
        found = [words["properties"][key]] if key in words.get("properties", ()) else []
        found += [s for p, s in words.get("patternProperties", {}).items() if re.search(p.replace("$", "\\Z"), key)]
        yield from found or [s for w, s in words.items() if w in ("additionalProperties", "unevaluatedProperties")]

    def _items(self, schema: dict[str, Any], at: int) -> Iterator[Any]:
        for word, value in self._words(schema).items():
            if word == "prefixItems" or (word == "items" and isinstance(value, list)):
                if at < len(value):
                    yield value[at]
            elif word == "items":
                if at >= len(schema.get("prefixItems", ())):
                    yield value
            elif word == "additionalItems":
                head = schema.get("items")
                if isinstance(head, list) and at >= len(head):
                    yield value
            elif word in ("contains", "unevaluatedItems"):
                yield value

"""Documents: every schema that one compile can reach, by position, and the references between them.

A **position** is a number: one schema (an object, or a boolean) at one place of one document. Positions 0 and 1 are
`true` and `false`, wherever those stand. `Documents` owns a private copy of each document, a tree, so that `id` of an
object inside it names its place; the caller's schemas are never kept and never changed.

A **resource** is a schema with a URI of its own: a document's root, or an object inside it with `$id`. References are
resolved as the `referencing` library does, whose semantics are those of the drafts; a test holds the two together.
Documents come from the caller and, for the standard's metaschemas, from jsonschema-specifications. Nothing is ever
fetched.

A **scope** is what is left of a dynamic scope once a schema is fixed: for each dynamic anchor, the position that the
outermost resource entered so far gives it, as sorted (anchor, position) pairs. There are finitely many, so that
`$dynamicRef` and `$recursiveRef` become plain references between (position, scope) pairs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import unquote, urldefrag, urljoin

from guard.kernels import json_pointer
from guard.kernels._native import JsonTree, Places, SchemaPositions
from guard.kernels.cached import cached_property
from guard.kernels.errors import Finding, SchemaError
from guard.schemas import jsontext, metaschemas
from guard.schemas.keywords import (
    DIALECTS,
    NAMED,
    Dialect,
    Holds,
    dialect_of,
    nearest,
    nearest_metaschema,
    vocabularies,
    vocabulary_of,
)
from guard.schemas.limits import Limits, limit_error
from guard.schemas.ops import FALSE, TRUE

Scope: TypeAlias = tuple[tuple[str, int], ...]
Step: TypeAlias = str | int

_ANYWHERE = jsontext.SCHEMA | jsontext.ANCHOR
#: By the keyword that names a resource, or "": bits of the words that begin one, or an anchor.
_BEGINS = {"$id": jsontext.ID | _ANYWHERE, "id": jsontext.OLD_ID | _ANYWHERE, "": _ANYWHERE}

#: An index of a list, as JSON Pointers have it; no list has more items than so many digits say.
_INDEX = re.compile("0|[1-9][0-9]{0,8}")
#: Where definitions are kept: one in later drafts, the other in earlier ones.
_DEFINITIONS = [name for name, holds in DIALECTS["draft2020-12"].keywords.items() if holds == Holds.DEFS]

#: The dynamic anchor that `$recursiveAnchor: true` amounts to; no `$dynamicAnchor` can be empty.
RECURSIVE = ""


@dataclass(eq=False, slots=True)
class Document:
    """One document: a private copy, and the resources inside it."""

    uri: str
    tree: JsonTree
    places: Places  # id of an object -> its position, once it has one
    homes: dict[int, Resource] = field(default_factory=dict)  # id of an object below the root -> its resource

    @property
    def contents(self) -> Any:
        """Return the document as Python objects, the same ones each time; most are never asked for."""
        return self.tree.contents


@dataclass(eq=False, slots=True)
class Resource:
    """A schema with a URI of its own, inside which references are relative to it."""

    uri: str
    document: Document
    dialect: Dialect
    path: tuple[Step, ...] = ()  # from the document's root
    own: Any = None  # its schema, where that is not the document's root
    anchors: dict[str, tuple[Any, tuple[Step, ...]]] = field(
        default_factory=dict
    )  # with their paths from the document's root
    dynamic: dict[str, tuple[Any, tuple[Step, ...]]] = field(default_factory=dict)
    twice: dict[str, tuple[Any, tuple[Step, ...]]] = field(default_factory=dict)  # of an anchor's places, one more

    @property
    def contents(self) -> Any:
        """Return its schema."""
        return self.own if self.path else self.document.contents


class ReferenceTarget(NamedTuple):
    """Where a reference leads: a position, or the one that a dynamic anchor has in the scope."""

    position: int
    anchor: str | None = None


class Documents:
    """All positions of one compile. Not thread-safe: the compiled schema guards it."""

    def __init__(
        self,
        schema: Any,
        given: Mapping[str, Any],
        dialect: Dialect,
        limits: Limits,
        schemas: SchemaPositions | None = None,
    ) -> None:
        """Read a document; `schemas` are the positions that a scan has given it already."""
        self.limits = limits
        self.default = dialect
        self.given = {_without_empty_fragment(uri): uri for uri in given} if given else {}
        self._given = given
        self.schemas = SchemaPositions() if schemas is None else schemas
        self.homes: list[Resource] = []  # by position
        #: (position, keyword) -> where its reference leads, of those that the scan in C++ did not follow.
        self.resolved: dict[tuple[int, str], ReferenceTarget] = {}
        self.idle: set[tuple[int, str]] = set()  # of those, the ones that ask for nothing new
        self.resources: dict[str, Resource] = {}
        self._twice: dict[str, Resource] = {}  # of the resources of a URI, one more
        self._pointers: dict[
            tuple[int, str], ReferenceTarget
        ] = {}  # (id of a resource, JSON Pointer as written) -> where it leads
        self.dynamic = False  # some reference goes by the dynamic scope
        root = self._load("", schema, is_plain=len(self.schemas) > FALSE + 1)
        self.root_home = root
        self.root = self.schemas.begin(root.document.places)
        self.homes += [root] * len(self.schemas)
        self.roots = [self.root]  # what everything is reached from

    # ---- positions ----

    def place(self, home: Resource, schema: Any, parent: int, path: tuple[Step, ...]) -> int:
        """Return the position of a schema, giving it one where it is new. `home` is the parent's resource."""
        if type(schema) is not dict:
            if type(schema) is bool:
                return TRUE if schema else FALSE
            raise SchemaError(
                Finding(
                    self._below(home, parent, path),
                    None,
                    f"expected a schema, an object or a boolean, got {jsontext.clip(schema)}",
                )
            )
        if not schema:
            return TRUE
        document = home.document
        key = id(schema)
        position = document.places.get(key)
        if position is None:
            count = len(self.schemas)
            if count > self.limits.nodes:
                raise limit_error(self.limits, "nodes", self._below(home, parent, path), None, f"{count:,} schemas")
            self.homes.append(document.homes.get(key, home))
            position = self.schemas.place(document.places, key, parent, path)
        return position

    def pointer(self, position: int) -> str:
        """Return a position's JSON Pointer; one in another document than the schema's has its URI and a # before it."""
        path: list[Step] = []
        at = position
        while at >= 0:
            at, steps = self.schemas.trail(at)
            path[:0] = steps
        document = self.homes[position].document
        head = "" if document is self.root_home.document else document.uri + "#"
        return head + json_pointer.pointer(path)

    def _below(self, home: Resource, parent: int, path: tuple[Step, ...]) -> str:
        if parent >= 0:
            return self.pointer(parent) + json_pointer.pointer(path)
        head = "" if home.uri == "" else home.document.uri + "#"
        return head + json_pointer.pointer(path)

    def enter(self, scope: Scope, position: int) -> Scope:
        """Return the scope inside a position that is reached in `scope`."""
        dynamic = self.homes[position].dynamic
        if not dynamic:
            return scope
        have = dict(scope)
        home = self.homes[position]
        new = {a: self.place(home, s, -1, path) for a, (s, path) in dynamic.items() if a not in have}
        return tuple(sorted((have | new).items())) if new else scope

    # ---- references ----

    @cached_property
    def targets(self) -> dict[tuple[int, str], ReferenceTarget]:
        """Return where each reference leads, by (position, keyword), in the order of positions. Of a finished scan."""
        led = {(at, "$ref"): ReferenceTarget(to) for at, to in self.schemas.leads().items()}
        return dict(sorted((led | self.resolved).items()))

    def resolve(self, position: int, keyword: str, reference: Any) -> ReferenceTarget:
        """Return where a reference at a position leads, remembering it in `targets`."""
        if not isinstance(reference, str):
            raise self._unresolved(position, keyword, f"expected a URI reference, got {jsontext.clip(reference)}")
        home = self.homes[position]
        if keyword == "$recursiveRef":
            target = ReferenceTarget(self.place(home, home.contents, -1, home.path))
            if RECURSIVE in home.dynamic:
                target = ReferenceTarget(target.position, RECURSIVE)
        else:
            resource, fragment = self._resource(position, keyword, reference)
            target = self._within(position, keyword, resource, fragment)
        self.dynamic |= target.anchor is not None
        self.resolved[position, keyword] = target
        return target

    def _resource(self, position: int, keyword: str, reference: str) -> tuple[Resource, str]:
        home = self.homes[position]
        if reference[:1] == "#":
            return home, reference[1:]
        try:
            uri, fragment = _resolved(home.uri, reference)
        except ValueError as error:
            raise self._unresolved(position, keyword, f"{reference!r} is no URI reference ({error})") from error
        found = self.resources.get(uri) or self._open(uri)
        if found is None:
            for other in list(self.given):  # one of them may hold a resource of this name
                self._open(other)
            found = self.resources.get(uri)
        if found is None:
            raise self._unresolved(
                position,
                keyword,
                f"{uri!r} is not among the documents",
                f"hand it in with documents={{{uri!r}: ...}}; nothing is fetched",
            )
        second = self._twice.get(uri)
        if second is not None and not _is_same(found.contents, second.contents):
            raise self._two(position, keyword, uri, (found.document, found.path), (second.document, second.path))
        return found, fragment

    def _within(self, position: int, keyword: str, resource: Resource, fragment: str) -> ReferenceTarget:
        known = self._pointers.get((id(resource), fragment))
        if known is not None:
            return known
        written, fragment = fragment, unquote(fragment) if "%" in fragment else fragment
        document = resource.document
        if not fragment:
            return ReferenceTarget(self.place(resource, resource.contents, -1, resource.path))
        if fragment[0] != "/":
            found = resource.anchors.get(fragment)
            if found is None:
                message = f"no anchor is named {fragment!r}"
                raise self._unresolved(position, keyword, message, _fix_of_anchor(resource, fragment))
            self.check_anchor(position, keyword, resource, fragment)
            dynamic = keyword == "$dynamicRef" and fragment in resource.dynamic
            return ReferenceTarget(self.place(resource, found[0], -1, found[1]), fragment if dynamic else None)
        schema, home = resource.contents, resource
        path = list(resource.path)
        for text in fragment[1:].split("/"):
            step: Step = json_pointer.unescaped(text) if "~" in text else text
            if type(schema) is list and _INDEX.fullmatch(text):
                step = int(text)
            try:
                if type(schema) is dict:
                    home = document.homes.get(id(schema), home)
                schema = schema[step]
            except (KeyError, IndexError, TypeError):
                message = f"{fragment!r} leads to nothing: there is no {step!r}"
                raise self._unresolved(position, keyword, message, _fix_of_step(schema, step)) from None
            path.append(step)
        if type(schema) is dict and id(schema) not in document.places and not _is_known(resource, path):
            where = json_pointer.pointer(path)
            jsontext.check_metaschema(schema, home.dialect, document.uri, where)
            self._adopt(document, home, schema, tuple(path))
        target = ReferenceTarget(self.place(home, schema, -1, tuple(path)))
        self._pointers[id(resource), written] = target
        return target

    def check_anchor(self, position: int, keyword: str, resource: Resource, anchor: str) -> None:
        """Refuse a reference to an anchor that two different schemas of a resource have."""
        other = resource.twice.get(anchor)
        if other is not None and not _is_same(resource.anchors[anchor][0], other[0]):
            document = resource.document
            places = ((document, path) for path in (resource.anchors[anchor][1], other[1]))
            raise self._two(position, keyword, anchor, *places)

    def _two(self, position: int, keyword: str, name: str, *places: tuple[Document, tuple[Step, ...]]) -> SchemaError:
        both = sorted(
            ("" if document is self.root_home.document else document.uri) + "#" + json_pointer.pointer(path)
            for document, path in places
        )
        message = f"two different schemas are named {name!r}: {both[0]!r} and {both[1]!r}"
        return self._unresolved(position, keyword, message, "give each a name of its own, or refer to one by its place")

    def _unresolved(self, position: int, keyword: str, message: str, fix: str = "") -> SchemaError:
        return SchemaError(Finding(f"{self.pointer(position)}/{keyword}", keyword, message, fix))

    # ---- documents ----

    def read(self, uri: str) -> int:
        """Return the position of a document that was handed in; it is read whether or not a reference leads to it."""
        home = self._open(uri)
        assert home is not None
        self.roots.append(self.place(home, home.contents, -1, home.path))
        return self.roots[-1]

    def loaded(self) -> list[tuple[str, Any]]:
        """Return every document that was read, with its URI."""
        return [(uri, r.document.contents) for uri, r in self.resources.items() if r.document.uri == uri]

    def _open(self, uri: str) -> Resource | None:
        """Load a document that the caller handed in, or one of the standard's metaschemas."""
        if uri in self.resources:
            return self.resources[uri]
        if uri in self.given:
            return self._load(uri, self._given[self.given[uri]])
        contents = _metaschema(uri)
        return None if contents is None else self._load(uri, contents)

    def _load(self, uri: str, schema: Any, *, is_plain: bool = False) -> Resource:
        tree = schema if isinstance(schema, JsonTree) else jsontext.private(schema, self.limits, uri)
        document = Document(uri, tree, self.schemas.add(tree))
        met, dialect = tree.met, self.default
        if met & jsontext.ROOT and (declared := tree.get("$schema")) is not None:
            dialect = self._declared(declared, uri)
        home = self.resources[uri] = Resource(uri, document, dialect)
        if met & _BEGINS[dialect.identifier]:
            home = self._adopt(document, home, document.contents, ())
        elif met & jsontext.ROOT and dialect.identifier and dialect.identifier in tree:
            home = self._adopt_one(document, home, tree, ())
        if not is_plain and not metaschemas.is_plain(tree, home.dialect):
            jsontext.check_metaschema(document.contents, home.dialect, uri)
        return home

    def _declared(self, uri: Any, base: str, path: tuple[Step, ...] = ()) -> Dialect:
        """Return the dialect that a `$schema` names; one of the caller's documents may be the metaschema."""
        found = dialect_of(uri) if isinstance(uri, str) else None
        if found is not None:
            return (
                DIALECTS["openapi3.1"] if self.default.name == "openapi3.1" and found.name == "draft2020-12" else found
            )
        pointer = (base + "#" if base else "") + json_pointer.pointer([*path, "$schema"])
        name = _without_empty_fragment(uri) if isinstance(uri, str) else None
        contents = self._given[self.given[name]] if name in self.given else None
        if not isinstance(contents, Mapping) or contents.get("$schema") == uri:
            known = ", ".join(DIALECTS)
            near = nearest_metaschema(uri) if isinstance(uri, str) else None
            fix = f"leave it out and name the draft with draft= ({known}), or hand in the metaschema with documents="
            fix = f'write "{near}" if that is meant, {fix}' if near else fix
            raise SchemaError(Finding(pointer, "$schema", f"{jsontext.clip(uri)} is no metaschema known here", fix))
        below = dialect_of(contents.get("$schema", "")) or self.default
        chosen = contents.get("$vocabulary")
        if not isinstance(chosen, Mapping) or below.ref_alone:
            return below
        kept = {vocabulary_of(v) for v in chosen}
        for vocabulary, needed in chosen.items():
            if needed and vocabulary_of(vocabulary) is None:
                raise SchemaError(
                    Finding(pointer, "$vocabulary", f"the vocabulary {vocabulary!r} that it requires is not known here")
                )
        if below.name == "draft2019-09" and "applicator" in kept:
            kept.add("unevaluated")  # which was not yet a vocabulary of its own
        return below.without(vocabularies() - kept)

    def _adopt(self, document: Document, home: Resource, schema: Any, path: tuple[Step, ...]) -> Resource:
        """Walk the schemas from one on, and note what has a URI or an anchor. Returns the resource of the first.

        Most documents have neither, which their words tell without a walk.
        """
        first = home
        todo: list[tuple[Resource, Any, tuple[Step, ...]]] = [(home, schema, path)]
        while todo:
            home, schema, path = todo.pop()
            if type(schema) is not dict:
                continue
            home = self._adopt_one(document, home, schema, path)
            first = first if path else home
            if home.dialect.ref_alone and "$ref" in schema:
                continue
            todo += [(home, child, path + steps) for steps, child in subschemas(schema, home.dialect.keywords)]
        return first

    def _adopt_one(
        self, document: Document, home: Resource, schema: dict[str, Any] | JsonTree, path: tuple[Step, ...]
    ) -> Resource:
        """Note what one schema is named; of a document's root its tree may be handed in. Returns its resource."""
        dialect = home.dialect
        identifier = schema.get(dialect.identifier)
        if path and isinstance(identifier, str) and "$schema" in schema:  # it counts only where a resource begins
            dialect = self._declared(schema.get("$schema"), document.uri, path)
        if isinstance(identifier, str) and not (dialect.ref_alone and "$ref" in schema):
            try:
                uri, fragment = _resolved(home.uri, identifier)
            except ValueError as error:
                raise SchemaError(
                    Finding(
                        json_pointer.pointer([*path, dialect.identifier]),
                        dialect.identifier,
                        f"{identifier!r} is no URI ({error})",
                    )
                ) from error
            if identifier[:1] != "#":
                home = Resource(uri, document, dialect, path, schema if path else None)
                known = self.resources.setdefault(uri, home)
                if known.document is not document or known.path != path:
                    self._twice[uri] = home
                if path:
                    document.homes[id(schema)] = home
                else:
                    self.resources[document.uri] = home
            if fragment and dialect.ref_alone:  # before 2019-09 anchors were written so
                _name(home, fragment, schema if path else document.contents, path)
        if "$anchor" in dialect.keywords and isinstance(anchor := schema.get("$anchor"), str):
            _name(home, anchor, schema, path)
        if "$dynamicAnchor" in dialect.keywords and isinstance(anchor := schema.get("$dynamicAnchor"), str):
            home.dynamic[anchor] = _name(home, anchor, schema, path)
        if (
            "$recursiveAnchor" in dialect.keywords
            and schema is home.contents
            and schema.get("$recursiveAnchor") is True
        ):
            home.dynamic[RECURSIVE] = schema, path
        return home


def _name(home: Resource, anchor: str, schema: Any, path: tuple[Step, ...]) -> tuple[Any, tuple[Step, ...]]:
    """Note where an anchor is, and whether it is at two places."""
    known = home.anchors.get(anchor)
    if known is not None and known[1] != path:
        home.twice[anchor] = known
    home.anchors[anchor] = schema, path
    return home.anchors[anchor]


def _is_same(one: Any, other: Any) -> bool:
    """Say whether two schemas are written alike, but for the order of their members."""
    first, second = (json.dumps(schema, sort_keys=True, default=str) for schema in (one, other))
    return first == second


def _fix_of_step(schema: Any, step: Step) -> str:
    """Return what to do about a step of a JSON Pointer that leads to nothing."""
    if type(schema) is list:
        if isinstance(step, str) and step.isascii() and step.isdecimal():
            return f"write {step.lstrip('0') or '0'}: an index has no zeros in front"
        return f"write an index from 0 to {len(schema) - 1}" if schema else "put a schema into the list, which is empty"
    if type(schema) is not dict:
        return "end the reference before it: what it has reached is no object and no list"
    near = next((name for name in _DEFINITIONS if step in _DEFINITIONS and name in schema), nearest(str(step), schema))
    return f"write {near!r} if that is meant, or put a schema there" if near else "put a schema there"


def _fix_of_anchor(resource: Resource, anchor: str) -> str:
    """Return what to do about an anchor that is nowhere."""
    contents = resource.contents
    for name in _DEFINITIONS:
        if isinstance(contents, dict) and isinstance(held := contents.get(name), dict) and anchor in held:
            return f'write "#/{name}/{anchor}" if that is meant'
    says = f'"$anchor": "{anchor}"'
    if "$anchor" not in resource.dialect.keywords:
        says = f'"{resource.dialect.identifier}": "#{anchor}"'
    near = nearest(anchor, resource.anchors)
    return (f'write "#{near}" if that is meant, or ' if near else "") + f"say {says} in the schema that is meant"


def plain_dialect(tree: JsonTree, default: Dialect) -> Dialect | None:
    """Return the dialect of a document that is one resource, and valid; None where that takes a look at its parts."""
    met, dialect = tree.met, default
    if met & ~jsontext.ROOT:
        return None
    if met:
        declared = tree.get("$schema")
        if declared is not None:
            found = dialect_of(declared) if type(declared) is str else None
            if found is None or default.name == "openapi3.1":
                return None
            dialect = found
        name = tree.get(dialect.identifier) if dialect.identifier else None
        if name is not None and (type(name) is not str or "#" in name):
            return None
    return dialect if metaschemas.is_plain(tree, dialect) else None


def subschemas(schema: dict[str, Any], keywords: dict[str, Holds]) -> Iterator[tuple[tuple[Step, ...], Any]]:
    """Yield the schemas right below one, with the steps that lead to them; malformed ones are left out."""
    for keyword, value in schema.items():
        holds = keywords.get(keyword)
        if holds is None or type(value) not in (dict, list):
            continue
        if holds in _ONE and type(value) is dict:
            yield (keyword,), value
        elif holds in _MANY and type(value) is list:
            for index, child in enumerate(value):
                yield (keyword, index), child
        elif holds in NAMED and type(value) is dict:
            for name, child in value.items():
                yield (keyword, name), child


_ONE = frozenset({Holds.CHILD, Holds.EITHER, Holds.CONTENT})
_MANY = frozenset({Holds.LIST, Holds.EITHER})


def _is_known(resource: Resource, path: list[Step]) -> bool:
    """Say whether a path goes through schemas only, so that the document's own walk has been there."""
    keywords = resource.dialect.keywords
    at = len(resource.path)
    while at < len(path):
        holds = keywords.get(str(path[at]))
        if holds in _ONE and not (at + 1 < len(path) and isinstance(path[at + 1], int)):
            at += 1
        elif (holds in _MANY or holds in NAMED) and at + 1 < len(path):
            at += 2
        else:
            return False
    return True


def _resolved(base: str, reference: str) -> tuple[str, str]:
    """Return a reference as a URI without a fragment, and the fragment; ValueError where it is none."""
    if not base and "#" not in reference:  # as most are, and what follows takes as long as a small scan
        return reference, ""
    uri, fragment = urldefrag(urljoin(base, reference))
    return uri, fragment


def _without_empty_fragment(uri: str) -> str:
    return uri.removesuffix("#")


def _metaschema(uri: str) -> Any:
    """Return a metaschema of the standard, or None."""
    known = _metaschemas()
    return known.get(uri, known.get(uri + "#"))


@cache
def _metaschemas() -> dict[str, Any]:
    """The metaschemas of jsonschema-specifications by URI: its files alone, since its import takes long."""
    package = find_spec("jsonschema_specifications")
    folders = package.submodule_search_locations if package else None
    contents = [
        json.loads(file.read_text("utf-8"))
        for folder in folders or ()
        for file in Path(folder, "schemas").rglob("[!.]*")
        if file.is_file()
    ]
    return {schema.get("$id") or schema["id"]: schema for schema in contents}

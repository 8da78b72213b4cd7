"""Tagged values: the arguments of a call as tags around raw strings and JSON, in the styles of several model families.

A style writes each member of an object between an opening and a closing text, strings raw and other values as JSON.
Values that it can't express are excluded and noted: a raw string that contains the closing text; a string that reads as
another type that its schema allows, where the style does not mark types; more than one undeclared member. Keywords that
only the engine's objects can enforce (`dependentRequired` and the like) are refused with their JSON Pointers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import unquote

from guard.kernels.errors import Finding, SchemaError
from guard.schemas import regex
from guard.schemas.compiled import FrontEnd, Options
from guard.schemas.keywords import ANNOTATIONS, SUPPORTED
from guard.schemas.ops import ARRAY, BOOLEAN, NULL, NUMBER, OBJECT, STRING
from guard.schemas.structural import strings, trees

if TYPE_CHECKING:
    from guard.schemas.ops import Tree

NAMES = {NULL: "null", BOOLEAN: "boolean", NUMBER: "number", STRING: "string", ARRAY: "array", OBJECT: "object"}
MOST_IN_ANY_ORDER = 8  #: Properties; each subset of them takes a point of the net.
MOST_KEY = 64  #: Most characters of an undeclared key.
MOST_NESTED = 32  #: Nesting levels of tags.
#: Keywords, besides annotations, of objects whose members are written as tags.
KEPT_OF_OBJECTS = frozenset(
    {"type", "properties", "required", "additionalProperties", "patternProperties", "minProperties", "maxProperties"}
)
KEPT_OF_ARRAYS = frozenset({"type", "items", "minItems", "maxItems"})
#: Keywords that do not concern objects or arrays.
_OF_SCALARS = frozenset(
    {"minLength", "maxLength", "pattern", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
    | {"multipleOf"}
)
_ENTITIES = {"&": "&amp;", '"': "&quot;", "<": "&lt;", ">": "&gt;"}
_WORDS = {"null": None, "true": True, "false": False}
#: By type, the characters that JSON values other than strings may begin with.
_FIRST = {NULL: "n", BOOLEAN: "tf", NUMBER: "-0123456789", ARRAY: "[", OBJECT: "{"}


@dataclass(frozen=True)
class TagStyle:
    """How one model family writes an argument. `opening` has placeholders for the key and the type's label."""

    opening: str
    closing: str
    labels: Mapping[int, str] | None = None  # by type; None: types are not marked
    barred: str = '"'  # characters that a key must not contain
    escapes: bool = False  # keys are escaped with XML entities
    item: str | None = None  # the opening of an item of nested tags; None: nested arrays and objects are JSON


STYLES = {
    "qwen_xml": TagStyle("<parameter={key}>", "</parameter>", barred="<>\n"),
    "minimax_xml": TagStyle('<parameter name="{key}">', "</parameter>"),
    "deepseek_xml": TagStyle(
        '<｜DSML｜parameter name="{key}" string="{label}">',
        "</｜DSML｜parameter>",
        {bit: "true" if bit == STRING else "false" for bit in NAMES},
    ),
    "glm_xml": TagStyle("<arg_key>{key}</arg_key>{space}<arg_value>", "</arg_value>", barred="<\n"),
    "kimi_k3_xml": TagStyle(
        '<|open|>argument key="{key}" type="{label}"<|sep|>', "<|close|>argument<|sep|>", NAMES, escapes=True
    ),
    "cohere_xml": TagStyle(
        '<cofl:value name="{key}" type="{label}">',
        "</cofl:value>",
        {**dict.fromkeys(NAMES, "json"), STRING: "raw", OBJECT: "dict", ARRAY: "list"},
        item='<cofl:value type="{label}">',
    ),
}


class Role(NamedTuple):
    """The role of an arc's text: a "key", a "value", the start of a "string" or "array" and so on, "end", "close"."""

    kind: str
    said: Any = None


class Maker(Protocol):
    """Makes the points, arcs and exits of a net (nets.Builder)."""

    def point(self, arcs: Iterable[int] = ()) -> int: ...
    def arc(self, tree: Tree, target: int, begins: str = "", role: Role | None = None) -> int: ...
    def space(self, target: int) -> int: ...
    def vet(self, point: int) -> int: ...
    def extend(self, point: int, arcs: Iterable[int]) -> None: ...
    def doubted(self, arc: int) -> int: ...
    def value(self, schema: Any, following: int) -> int: ...


class Tagged:
    """Adds one schema in one style to a net."""

    def __init__(
        self,
        schema: Any,
        reference: str,
        style: TagStyle,
        options: Options,
        maker: Maker,
        at: str,
        excludes: Iterable[str] = (),
    ) -> None:
        """Read a schema.

        `reference` is the URI that the schema will have among the net's values, `at` its JSON Pointer for findings,
        `excludes` the texts that no raw string may contain.
        """
        self._barred = [style.closing, *excludes]
        self._style, self._reference, self._maker, self._pointer = style, reference, maker, at
        self.front = front = FrontEnd(schema, options, {})
        self._root = front.documents.root_home.contents
        self._reader = strings.StringLanguages(lambda node: front.lower([node])[0])
        self.excluded: list[tuple[str, str]] = []  # JSON Pointers, and the values that no text expresses

    def arcs(self, target: int, *, any_order: bool) -> list[int]:
        """Return the arcs that begin the arguments; after the arguments the text continues at the target."""
        return self._object(self._root, "", target, any_order=any_order, depth=0)

    # -- Objects and arrays --------------------------------------------------------------------------------------------

    def _object(self, schema: Any, at: str, target: int, *, any_order: bool, depth: int) -> list[int]:
        make = self._maker
        leave = make.space(target)
        schema, at = self._resolved(schema, at, KEPT_OF_OBJECTS, OBJECT)
        if depth > MOST_NESTED:
            raise self._refused(at, "tags nest too deeply", "style json has no such limit")
        properties: dict[str, Any] = schema.get("properties", {})
        required = list(dict.fromkeys(schema.get("required", ())))
        declared = dict.fromkeys(required, True) | properties if required else properties
        names = [name for name in [*properties, *(n for n in required if n not in properties)] if self._is_a_key(name)]
        if lost := [name for name in required if name not in names]:
            raise self._refused(f"{at}/required", f"the style can't write the key {lost[0]!r}", "use another style")
        for name in properties.keys() - set(names):
            self._exclude((f"{at}/properties/{step_of(name)}", "a key that the style can't write"))
        least, most = schema.get("minProperties", 0), schema.get("maxProperties")
        more = schema.get("additionalProperties", True)
        if least > len(required) or (most is not None and most < len(names) + (more is not False)):
            raise self._refused(at, "the style can't count members", "leave minProperties and maxProperties out")
        patterns: dict[str, Any] = schema.get("patternProperties", {})
        extras = [
            (below, f"{at}/patternProperties/{step_of(one)}", declared, one, patterns)
            for one, below in patterns.items()
        ]
        if more is not False:
            undeclared: tuple[Any, ...] = (more, f"{at}/additionalProperties", declared, None, patterns)
            extras.append(undeclared)
        if extras:
            self._exclude((at, "of each kind of undeclared members more than one"))

        def member(name: str, to: int) -> list[int]:
            below = properties.get(name, True)
            where = f"{at}/properties/{step_of(name)}" if name in properties else at
            return self._value(below, where, name, to, any_order=any_order, depth=depth)

        if any_order:
            return self._any_order(names, frozenset(required), member, extras, leave, at, depth)
        after = [leave]
        for extra in reversed(extras):
            after = [*self._extra(extra, make.point(after), depth), *after]
        for name in reversed(names):
            begun = member(name, make.point(after))
            after = begun if name in required else [*begun, *after]
        return after

    def _any_order(
        self, names: list[str], required: frozenset[str], member: Any, extras: Any, leave: int, at: str, depth: int
    ) -> list[int]:
        if len(names) > MOST_IN_ANY_ORDER:
            found = f"{len(names)} properties in any order, of at most {MOST_IN_ANY_ORDER} in a tagged style"
            raise self._refused(at, found, "leave any_order out")
        points: dict[tuple[frozenset[str], int], int] = {}

        def arcs(left: frozenset[str], added: int) -> list[int]:
            """Return the arcs where the members `left` may follow and `added` kinds of undeclared ones were written."""
            out = [arc for name in names if name in left for arc in member(name, point(left - {name}, added))]
            for number in range(added, len(extras)):
                out += self._extra(extras[number], point(left, number + 1), depth)
            return out if required & left else [*out, leave]

        def point(left: frozenset[str], added: int) -> int:
            if (left, added) not in points:
                points[left, added] = self._maker.point(arcs(left, added))
            return points[left, added]

        return arcs(frozenset(names), 0)

    def _extra(self, extra: Any, target: int, depth: int) -> list[int]:
        schema, at, declared, pattern, patterns = extra
        barred = trees.either([trees.literal(self._key(name)) for name in declared]) if declared else None
        barred_chars = self._style.barred + ("&<>" if self._style.escapes else "")
        one = trees.no_char(barred_chars)
        if self._style.escapes and not patterns:  # patterns apply to keys, not to their escaped form
            one = trees.either([one, *(trees.literal(entity) for entity in _ENTITIES.values())])
        said = f"{barred_chars!r}" if not self._style.escapes or patterns else None
        self._exclude(
            (at, f"undeclared keys of more than {MOST_KEY} characters{f', or with one of {said}' if said else ''}")
        )
        key = trees.repeat(one, 1, MOST_KEY)
        parts = [key] if barred is None else [key, trees.no(barred)]
        for other in patterns:
            searched = trees.cat(trees.ANY, regex.parse(other).tree, trees.ANY)
            parts.append(searched if other == pattern else trees.no(searched))
        key = parts[0] if len(parts) == 1 else trees.both(*parts)
        return self._value(schema, at, key, target, any_order=False, depth=depth)

    def _array(self, schema: Any, at: str, target: int, *, any_order: bool, depth: int) -> list[int]:
        make = self._maker
        schema, at = self._resolved(schema, at, KEPT_OF_ARRAYS, ARRAY)
        if depth > MOST_NESTED:
            raise self._refused(at, "tags nest too deeply", "style json has no such limit")
        leave = make.space(target)
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        items, where = schema.get("items", True), f"{at}/items"

        def item(to: int) -> list[int]:
            return self._value(items, where, None, to, any_order=any_order, depth=depth)

        if most is None:
            again = make.point()
            make.extend(again, [*item(again), leave])
            arcs = [make.arc(trees.EMPTY, again)]
        else:
            arcs = [leave]
            for _ in range(most - least):
                arcs = [*item(make.point(arcs)), leave]
        for _ in range(least):
            arcs = item(make.point(arcs))
        return arcs

    def _resolved(self, schema: Any, at: str, known: frozenset[str], wanted: int) -> tuple[Mapping[str, Any], str]:
        """Follow references; refuse keywords that tags can't enforce on an object or array."""
        for _ in range(64):
            if schema is True:
                return {}, at
            if not isinstance(schema, dict):
                raise self._refused(at, "nothing can meet it", "correct what contradicts itself")
            reference = schema.get("$ref")
            if reference is None:
                break
            others = schema.keys() - {"$ref"} - ANNOTATIONS
            if NAMES[wanted] in _kinds(schema):
                others -= {"type"}  # which says no more than what is wanted
            if others:
                raise self._refused(
                    f"{at}/{min(others)}", "the style can't keep what stands beside a $ref", "merge both"
                )
            schema, at = self._target(reference, at)
        said = sorted((schema.keys() & SUPPORTED) - known - ANNOTATIONS - _OF_SCALARS)
        if said:
            raise self._refused(f"{at}/{said[0]}", "a tagged style can't keep it", "use style json, or leave it out")
        if "type" in schema and NAMES[wanted] not in _kinds(schema):
            raise self._refused(f"{at}/type", f"expected {NAMES[wanted]}", "arguments are an object")
        return schema, at

    def _target(self, reference: str, at: str) -> tuple[Any, str]:
        if reference != "#" and not reference.startswith("#/"):
            raise self._refused(f"{at}/$ref", "a tagged style follows references inside of the schema", "write it out")
        found = self._root
        try:
            for step in _steps(reference[1:]):
                found = found[int(step)] if isinstance(found, list) else found[step]
        except (KeyError, IndexError, ValueError, TypeError):
            raise self._refused(f"{at}/$ref", "leads nowhere", "correct it") from None
        return found, reference[1:]

    # -- Values --------------------------------------------------------------------------------------------------------

    def _value(
        self, schema: Any, at: str, key: str | Tree | None, target: int, *, any_order: bool, depth: int
    ) -> list[int]:
        """Return the arcs of a value with its tag. `key` is its name, or the tree of the names that it may have."""
        node = self._node(schema)
        try:
            types = self._reader.types(node)
        except strings.RecursiveError:
            raise self._refused(at, "applies itself to the same value", "correct it") from None
        style, make = self._style, self._maker
        if style.labels is None:
            return self._unlabelled(schema, node, types, at, key, target)
        by_label: dict[str, int] = {}
        for bit, label in style.labels.items():
            if types & bit:
                by_label[label] = by_label.get(label, 0) | bit
        if style.labels is NAMES and schema in (True, {}):
            by_label["integer"] = NUMBER
        out = []
        for label, bits in by_label.items():
            close = make.point([make.arc(trees.literal(style.closing), target)])
            if bits == STRING:
                inside = self._raw(node, at, close, "")
            elif style.item is not None and bits in (OBJECT, ARRAY) and not self._is_listed(schema):
                one, where = self._branch(schema, at, bits)
                if one in (True, {}):
                    self._exclude((at, "arrays and objects that no schema describes"))
                    continue
                nested = self._object if bits == OBJECT else self._array
                inside = nested(one, where, close, any_order=any_order, depth=depth + 1)
            else:
                inside = self._json(schema, at, bits, label, target)
            opening = trees.cat(trees.SPACE, *self._opening(key, label))
            out.append(make.arc(opening, make.point(inside), self._begins(key, label)))
        return out

    def _branch(self, schema: Any, at: str, bit: int) -> tuple[Any, str]:
        """Return the only alternative of a union that has values of the type; the schema itself where several do."""
        for word in ("anyOf", "oneOf"):
            if isinstance(schema, dict) and word in schema and not schema.keys() - {word} - ANNOTATIONS:
                branches = [n for n, one in enumerate(schema[word]) if self._reader.types(self._node(one)) & bit]
                if len(branches) == 1:
                    return schema[word][branches[0]], f"{at}/{word}/{branches[0]}"
        return schema, at

    def _unlabelled(
        self, schema: Any, node: int, types: int, at: str, key: str | Tree | None, target: int
    ) -> list[int]:
        make = self._maker
        close = make.point([make.arc(trees.literal(self._style.closing), target)])
        others = types & ~STRING
        inside: list[int] = []
        if types & STRING:
            first = ""
            texts = [word for word, value in _WORDS.items() if self._reader.admits(node, value)]
            for bit, chars in _FIRST.items():
                if others & bit and bit not in (NULL, BOOLEAN):
                    first += chars
            if others:
                self._exclude((at, "strings that begin like another type of the schema's"))
            inside += self._raw(node, at, close, first, texts)
            if texts:
                words = trees.either([trees.literal(text) for text in texts])
                inside.append(make.arc(trees.cat(trees.SPACE, words, trees.SPACE), close))
            others &= ~(NULL | BOOLEAN)
        if others:
            inside += self._json(schema, at, others, "", target)
        opening = trees.cat(trees.SPACE, *self._opening(key, ""))
        return [make.arc(opening, make.vet(make.point(inside)), self._begins(key, ""))]

    def _raw(self, node: int, at: str, close: int, first: str, texts: Iterable[str] = ()) -> list[int]:
        """Return the arcs of raw strings, without `texts` and those whose first visible character is in `first`."""
        make, language, listed = self._maker, self._reader.language(node), self._reader.texts(node)
        avoid = [trees.cat(trees.SPACE, trees.char(first), trees.ANY)] if first else []
        avoid += [trees.cat(trees.SPACE, trees.literal(text), trees.SPACE) for text in texts]
        parts = [trees.free(self._barred), *(trees.no(part) for part in avoid)]
        if language is not None:
            parts.append(language)
        self._exclude((at, f"strings with {self._style.closing} in them"))
        arcs = [make.doubted(make.arc(trees.both(*parts) if len(parts) > 1 else parts[0], close))]
        if listed is not None and self._style.labels is None and all(text == text.strip(" \n\r\t") for text in listed):
            padded = trees.both(*parts) if len(parts) > 1 else parts[0]
            arcs = [make.doubted(make.arc(trees.cat(trees.SPACE, padded, trees.SPACE), close))]
        return arcs

    def _json(self, schema: Any, at: str, types: int, label: str, target: int) -> list[int]:
        """Return the arcs of a JSON value of these types, with white space around it, and of its closing text."""
        make = self._maker
        names = [name for bit, name in NAMES.items() if types & bit]
        if label == "integer":
            names = ["integer"]
        said: dict[str, Any] = {"$ref": f"{self._reference}#{at}"} if isinstance(schema, dict) and schema else {}
        closing = trees.cat(trees.SPACE, trees.literal(self._style.closing))
        behind = make.point([make.arc(closing, target, self._style.closing)])
        value = make.value({**said, "type": names if len(names) > 1 else names[0]}, behind)
        return [make.space(value)]

    def _is_listed(self, schema: Any) -> bool:
        return isinstance(schema, dict) and ("enum" in schema or "const" in schema)

    def _node(self, schema: Any) -> int:
        documents = self.front.documents
        if isinstance(schema, bool) or not schema:
            return 0 if schema is not False else 1
        return documents.place(documents.root_home, schema, -1, ())

    # -- Keys ----------------------------------------------------------------------------------------------------------

    def _key(self, name: str) -> str:
        if not self._style.escapes:
            return name
        return "".join(_ENTITIES.get(char, char) for char in name)

    def _is_a_key(self, name: str) -> bool:
        return self._style.escapes or not any(char in name for char in self._style.barred)

    def _opening(self, key: str | Tree | None, label: str) -> Iterator[Tree]:
        """Yield the parts of the text that opens a value."""
        template = self._style.opening if key is not None else self._style.item
        assert template is not None
        before, _, behind = template.replace("{label}", label).partition("{key}")
        middle, spaced, rest = behind.partition("{space}")
        yield trees.literal(before)
        if key is not None:
            yield trees.literal(self._key(key)) if isinstance(key, str) else key
        yield trees.literal(middle)
        if spaced:
            yield trees.SPACE
            yield trees.literal(rest)

    def _exclude(self, what: tuple[str, str]) -> None:
        self.excluded.append((self._pointer + what[0], what[1]))

    def _begins(self, key: str | Tree | None, label: str) -> str:
        """Return the text that distinguishes one opening from others; for a tree of keys, the text before the key."""
        template = self._style.opening if key is not None else self._style.item
        assert template is not None
        name = self._key(key) if isinstance(key, str) else "\0"
        return template.replace("{label}", label).replace("{space}", "").replace("{key}", name)

    def _refused(self, at: str, found: str, fix: str) -> SchemaError:
        return SchemaError(Finding(self._pointer + at, at.rpartition("/")[2] or None, found, fix))


def step_of(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _kinds(schema: Mapping[str, Any]) -> list[str]:
    """Return the types that a schema names."""
    kinds = schema.get("type", [])
    return kinds if isinstance(kinds, list) else [kinds]


def _steps(pointer: str) -> list[str]:
    return [unquote(step).replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]

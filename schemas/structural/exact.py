"""Exact styles: the arguments of a call exactly as a chat template writes them.

A style gives the texts around a member, between members and around a string, and the spellings of null, true and false.
Nested arrays and objects are JSON or in the same style again. No other spelling or white space is allowed. Values that
a style can't express are excluded and noted, as in tagged.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from guard.schemas.ops import ARRAY, BOOLEAN, NULL, NUMBER, OBJECT, STRING, Rx
from guard.schemas.structural import strings, trees
from guard.schemas.structural.tagged import (
    KEPT_OF_ARRAYS,
    KEPT_OF_OBJECTS,
    MOST_NESTED,
    NAMES,
    Role,
    Tagged,
    TagStyle,
    step_of,
)

if TYPE_CHECKING:
    from guard.schemas.compiled import Options
    from guard.schemas.ops import Tree
    from guard.schemas.structural.tagged import Maker

WORDS = {"null": None, "true": True, "false": False}
#: What Python strips from the ends of a text.
_BLANK = trees.char("".join(chr(code) for code in range(0x3001) if chr(code).isspace()))
_FIRST = {NUMBER: "-0123456789"}
_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)


class Members(BaseModel):
    """The texts around members or items; for members, `opening` and `closing` may contain the placeholder `{key}`."""

    model_config = _STRICT
    begin: str = ""
    opening: str = ""
    closing: str = ""
    separator: str = ""
    end: str = ""


class Quotes(BaseModel):
    """The texts around a string, and the escapes of its characters."""

    model_config = _STRICT
    begin: str
    end: str
    escapes: dict[Annotated[str, Field(min_length=1, max_length=1)], str] = {}


class ExactStyle(BaseModel):
    """How a template writes arguments. `strings` lists the quotes; without any, strings are raw."""

    model_config = _STRICT
    members: Members
    strings: list[Quotes] = []
    labels: dict[str, str] | None = None  #: By type, for the placeholder `{label}` of `members.opening`.
    words: dict[str, str] = {}  #: Spellings of null, true and false that differ from JSON's.
    array: Members | None = None  #: Nested arrays. None: JSON.
    object: Members | None = None
    nested_strings: list[Quotes] = []  #: Quotes in nested arrays and objects.
    trimmed: bool = False  #: Whether the reader strips white space from raw strings, so that they have none.


class Exact(Tagged):
    """Adds one schema in one exact style to a net."""

    def __init__(
        self,
        schema: Any,
        reference: str,
        style: ExactStyle,
        options: Options,
        maker: Maker,
        at: str,
        excludes: Iterable[str] = (),
    ) -> None:
        # Tagged reads the schemas; it needs to know which keys the style can't write.
        barred = '"\\' + (style.members.opening.partition("{key}")[2] or "\0")[0] + "\n"
        super().__init__(schema, reference, TagStyle("", "", barred=barred), options, maker, at, excludes)
        self._exact, self._excludes = style, tuple(excludes)
        self._words = {word: style.words.get(word, word) for word in WORDS}

    def arcs(self, target: int, *, any_order: bool) -> list[int]:
        """Return the arcs that begin the arguments; after the arguments the text continues at the target."""
        if any_order:
            raise self._refused("", "a style of its own has one order of keys", "leave any_order out")
        texts = self._exact.members
        inside = self._members(self._root, "", target, texts, self._exact.strings, 0)
        if not texts.begin:
            return inside
        return [self._maker.arc(trees.literal(texts.begin), self._maker.point(inside), texts.begin)]

    def _members(
        self, schema: Any, at: str, target: int, texts: Members, quotes: list[Quotes], depth: int
    ) -> list[int]:
        """Return the arcs of an object's members, in the schema's order."""
        make = self._maker
        schema, at = self._resolved(schema, at, KEPT_OF_OBJECTS, OBJECT)
        if depth > MOST_NESTED:
            raise self._refused(at, "members nest too deeply", "style json has no such limit")
        properties: dict[str, Any] = schema.get("properties", {})
        required = dict.fromkeys(schema.get("required", ()))
        every = [*properties, *(name for name in required if name not in properties)]
        names = [name for name in every if self._is_a_key(name)]
        if lost := [name for name in required if name not in names]:
            raise self._refused(f"{at}/required", f"the style can't write the key {lost[0]!r}", "use another style")
        for name in every:
            if name not in names:
                self._exclude((f"{at}/properties/{step_of(name)}", "a key that the style can't write"))
        if schema.get("minProperties", 0) > len(required) or schema.get("maxProperties", len(every)) < len(every):
            raise self._refused(at, "the style can't count members", "leave minProperties and maxProperties out")
        if schema.get("patternProperties") or schema.get("additionalProperties", True) is not False:
            self._exclude((at, "members that the schema does not name"))
        leave = make.arc(trees.literal(texts.end), target, texts.end, Role("end"))
        later, first = [leave], [leave]
        if depth and not (texts.begin or texts.end):
            first = []
            self._exclude((at, "objects without members"))
        for name in reversed(names):
            below = properties.get(name, True)
            where = f"{at}/properties/{step_of(name)}" if name in properties else at
            options = self._labelled(below, where, name, make.point(later), texts, quotes, depth)
            begun = [self._opening_arc(texts, name, label, inside) for label, inside in options]
            again = begun
            if texts.separator:
                again = [self._opening_arc(texts, name, label, inside, texts.separator) for label, inside in options]
            first = begun if name in required else [*begun, *first]
            later = again if name in required else [*again, *later]
        return first

    def _opening_arc(self, texts: Members, name: str, label: str, inside: int, separator: str = "") -> int:
        text = separator + texts.opening.replace("{label}", label).replace("{key}", name)
        return self._maker.arc(trees.literal(text), inside, text, Role("key", name))

    def _labelled(
        self, schema: Any, at: str, key: str, target: int, texts: Members, quotes: list[Quotes], depth: int
    ) -> list[tuple[str, int]]:
        """Return the labels, each with the point at which values of its types begin."""
        types = self._types(schema, at)
        labels = self._exact.labels if depth == 0 else None
        if labels is None:
            return [("", self._value_point(schema, at, types, key, target, texts, quotes, depth))]
        by_label: dict[str, int] = {}
        for bit, name in NAMES.items():
            if types & bit and name in labels:
                by_label[labels[name]] = by_label.get(labels[name], 0) | bit
            elif types & bit:
                self._exclude((at, f"values of the type {name}"))
        return [
            (label, self._value_point(schema, at, bits, key, target, texts, quotes, depth))
            for label, bits in by_label.items()
        ]

    def _types(self, schema: Any, at: str) -> int:
        try:
            return self._reader.types(self._node(schema))
        except strings.RecursiveError:
            raise self._refused(at, "applies itself to the same value", "correct it") from None

    def _value_point(
        self, schema: Any, at: str, types: int, key: str, target: int, texts: Members, quotes: list[Quotes], depth: int
    ) -> int:
        """Return the point at which a value of these types begins; its closing text leads to the target."""
        make, node = self._maker, self._node(schema)
        closing = texts.closing.replace("{key}", key)
        close = make.point([make.arc(trees.literal(closing), target, closing, Role("close"))])
        arcs: list[int] = []
        for word, value in WORDS.items():
            if types & (NULL if value is None else BOOLEAN) and self._reader.admits(node, value):
                spelled = self._words[word]
                arcs.append(make.arc(trees.literal(spelled), close, spelled, Role("value", value)))
        nested = {bit: (self._exact.array, self._exact.object)[bit == OBJECT] for bit in (ARRAY, OBJECT) if types & bit}
        if types & STRING and not quotes:
            for bit, one in [*nested.items()]:
                if one is not None and not _start(one):
                    del nested[bit]
                    self._exclude((at, f"values of the type {NAMES[bit]}, which begin like strings"))
        brackets = "".join(("[", "{")[bit == OBJECT] if one is None else _start(one) for bit, one in nested.items())
        if types & STRING:
            first = brackets + (_FIRST[NUMBER] if types & NUMBER else "")
            arcs += self._strings(node, at, close, closing, quotes, "" if quotes else first, types)
        for bit, one in nested.items():
            if one is not None:
                arcs += self._nested(schema, at, bit, close, one, depth)
        left = types & (NUMBER | sum(bit for bit, one in nested.items() if one is None))
        if left:
            named = [name for bit, name in NAMES.items() if left & bit]
            said: dict[str, Any] = {"$ref": f"{self._reference}#{at}"} if isinstance(schema, dict) and schema else {}
            arcs.append(
                make.arc(trees.EMPTY, make.value({**said, "type": named if len(named) > 1 else named[0]}, close))
            )
        return make.vet(make.point(arcs))

    def _nested(self, schema: Any, at: str, bit: int, close: int, texts: Members, depth: int) -> list[int]:
        one, where = self._branch(schema, at, bit)
        if one in (True, {}) or (isinstance(one, dict) and ("enum" in one or "const" in one)):
            self._exclude((at, "arrays and objects that no schema describes, or that it lists"))
            return []
        make, quotes = self._maker, self._exact.nested_strings
        if bit == ARRAY:
            inside = self._items(one, where, close, texts, quotes, depth + 1)
        else:
            inside = self._members(one, where, close, texts, quotes, depth + 1)
        role = Role("array" if bit == ARRAY else "object")
        return [make.arc(trees.literal(texts.begin), make.point(inside), texts.begin, role)]

    def _items(self, schema: Any, at: str, target: int, texts: Members, quotes: list[Quotes], depth: int) -> list[int]:
        """Return the arcs of an array's items and of its end."""
        make = self._maker
        schema, at = self._resolved(schema, at, KEPT_OF_ARRAYS, ARRAY)
        if depth > MOST_NESTED:
            raise self._refused(at, "arrays nest too deeply", "style json has no such limit")
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        if not (texts.begin or texts.end):
            least = max(least, 1)
            self._exclude((at, "arrays without items"))
        items, where = schema.get("items", True), f"{at}/items"
        leave = make.arc(trees.literal(texts.end), target, texts.end, Role("end"))
        types = self._types(items, where)
        if not types or most == 0:
            return [leave] if least == 0 else []

        def item(behind: int, separator: str) -> int:
            inside = self._value_point(items, where, types, "", behind, texts, quotes, depth)
            text = separator + texts.opening
            return make.arc(trees.literal(text), inside, text, Role("item"))

        if most is None:
            behind = make.point()
            make.extend(behind, [item(behind, texts.separator), leave])
            for _ in range(least - 1):
                behind = make.point([item(behind, texts.separator)])
        else:
            behind = make.point([leave])
            for number in reversed(range(1, most)):
                behind = make.point([item(behind, texts.separator), *([leave] if number >= least else [])])
        return [item(behind, ""), *([] if least else [leave])]

    def _strings(
        self, node: int, at: str, close: int, closing: str, quotes: list[Quotes], first: str, types: int
    ) -> list[int]:
        """Return the arcs of strings: quoted, or raw and never readable as another type that is allowed."""
        make, language = self._maker, self._reader.language(node)
        if quotes:
            return [self._quoted(language, one, at, close) for one in quotes]
        if not closing:
            raise self._refused(at, "a style that closes no member has no raw strings", "give its strings quotes")
        parts = [trees.before(closing, self._excludes)]
        if first:
            parts.append(trees.no(trees.cat(trees.SPACE, trees.char(first), trees.ANY)))
        texts = [self._words[word] for word, value in WORDS.items() if self._reader.admits(node, value)]
        parts += [trees.no(trees.literal(text)) for text in texts]
        if types & ~STRING:
            self._exclude((at, "strings that begin like another type of the schema's"))
        self._exclude((at, f"strings with {closing} in them"))
        if self._exact.trimmed:
            parts += [trees.no(trees.cat(_BLANK, trees.ANY)), trees.no(trees.cat(trees.ANY, _BLANK))]
            self._exclude((at, "strings with white space at an end"))
        if language is not None:
            parts.append(language)
        raw = trees.both(*parts) if len(parts) > 1 else parts[0]
        return [make.doubted(make.arc(raw, close, "", Role("value", "")))]

    def _quoted(self, language: Tree | None, quotes: Quotes, at: str, close: int) -> int:
        make = self._maker
        begin, end, escapes = quotes.begin, quotes.end, quotes.escapes
        behind = make.point([make.arc(trees.literal(end), close, end)])
        if escapes:
            unescaped = trees.no_char("".join(escapes) + end[0])
            written: Tree = trees.repeat(trees.either([unescaped, *map(trees.literal, escapes.values())]), 0, -1)
            if end[0] not in escapes:
                self._exclude((at, f"strings with {end} in them"))
        else:
            written = trees.before(end, self._excludes)
            self._exclude((at, f"strings with {end} in them"))
        try:
            if language is not None:
                written = trees.both(written, coded(language, escapes, written) if escapes else language)
        except ValueError:
            raise self._refused(
                at, "a style that escapes can't keep a pattern that looks around", "word it without"
            ) from None
        arc = make.doubted(make.arc(written, behind, "", Role("value", quotes)))
        return make.arc(trees.literal(begin), make.point([arc]), begin, Role("string"))


def _start(texts: Members) -> str:
    """Return the first character of a nested array or object; "" where it may be any."""
    return (texts.begin or texts.opening.partition("{key}")[0])[:1]


def coded(tree: Tree, code: Mapping[str, str], every: Tree) -> Tree:
    """Return the language of the encoded texts of `tree`, where `code` maps characters to their escapes.

    `every` is the language of all encoded texts. No escape may be a prefix of another or begin with a character that
    has no escape. Raises ValueError where the language has lookarounds.
    """
    kind = tree[0]
    if kind == Rx.SET:
        found = [char for char in code if any(low <= ord(char) <= high for low, high in tree[1])]
        if not found:
            return tree
        return trees.either(
            [trees.both(tree, trees.no_char("".join(found))), *(trees.literal(code[char]) for char in found)]
        )
    if kind == Rx.TEXT:
        return trees.literal("".join(code.get(char, char) for char in tree[1]))
    if kind in (Rx.CAT, Rx.ALT, Rx.AND):
        return (kind, [coded(part, code, every) for part in tree[1]])
    if kind == Rx.REPEAT:
        return trees.repeat(coded(tree[1], code, every), tree[2], tree[3])
    if kind == Rx.NOT:
        return trees.both(every, trees.no(coded(tree[1], code, every)))
    if kind in (Rx.START, Rx.END):
        return tree
    raise ValueError


def said(role: Role, text: str) -> Any:
    """Return the value of a part in its role; for a string, the string without quotes and escapes."""
    if role.kind != "value" or not isinstance(role.said, Quotes | str):
        return role.said
    return text if isinstance(role.said, str) else unescaped(text, role.said)


def unescaped(text: str, quotes: Quotes) -> str:
    """Return the string that is written as this text between quotes."""
    back = {written: char for char, written in quotes.escapes.items()}
    if not back:
        return text
    pattern = "|".join(map(re.escape, sorted(back, key=len, reverse=True)))
    return re.sub(pattern, lambda found: back[found[0]], text)

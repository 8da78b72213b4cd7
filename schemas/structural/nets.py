"""Nets: a structural tag as points, arcs and exits, which the engine reads (kernels/cpu/lexers/net.hpp).

Parts are built from the end of the format backwards: a builder takes the place where the text continues after the part
(a `To`) and returns the arcs that begin it. An arc has a language (trees.py) and leads to a point, where other arcs
begin, or to an exit: a value, a symbol, or the end. Free text before an enclosing tag's end forms one language with
that end, so that the first end wins.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

from guard.kernels.errors import Finding, SchemaError
from guard.schemas import regex
from guard.schemas.compiled import FrontEnd, Options
from guard.schemas.jsontext import clip
from guard.schemas.ops import Tree
from guard.schemas.structural import exact, grammar, strings, tagged, trees

_Part = TypeVar("_Part")

_BARRED_IN_STRINGS = re.compile(r'["\x00-\x1f]')  # characters that a JSON string must escape
NUMERIC = "0123456789.eE+-"  #: Characters that may continue a number.
START = 0  #: The point where a turn begins.
END, VALUE, SYMBOL, ANY_TOKEN = range(4)  #: Kinds of exits.
MOST_POINTS = 100_000  #: Points of a net; repetitions are expanded.
MOST_PARTS = 1_000_000  #: Parts of all trees of a net, expanded; each arc counts `ARC` parts more.
ARC = 8
CIRCLE = 4  #: Copies of a repeated part from which on all are alike; the kernel knows the number, too.


class To(NamedTuple):
    """Where the text continues: at a point, or at an exit (~exit); inside a tag, after one of its ends."""

    target: int
    ends: tuple[str, ...] = ()
    place: str = ""  # JSON Pointer to the tag with these ends


@dataclass
class Net:
    """Points (lists of the arcs that leave them), arcs (tree, target) and exits (kind, index, following point)."""

    points: list[list[int]] = field(default_factory=list)
    arcs: list[tuple[Tree, int]] = field(default_factory=list)
    exits: list[tuple[int, int, int]] = field(default_factory=list)
    schemas: list[Any] = field(default_factory=list)  # of values, by an exit's index
    documents: list[Any] = field(default_factory=list)  # schemas that those of tagged values reference
    document_places: list[str] = field(default_factory=list)
    schema_places: list[str] = field(default_factory=list)
    barred_tokens: list[int | str] = field(default_factory=list)  # must be special tokens, which text never contains
    excluded: list[tuple[str, str]] = field(default_factory=list)  # values that tags can't express: pointer, words
    fronts: list[tuple[str, FrontEnd]] = field(default_factory=list)  # of schemas written as text, with their pointers
    notes: list[tuple[str, str]] = field(default_factory=list)  # tags whose end may occur in a JSON string in them
    symbols: list[tuple[int | str, ...]] = field(default_factory=list)  # tokens; of ANY_TOKEN exits, the excluded ones
    arc_places: list[str] = field(default_factory=list)  # JSON Pointers to the arcs' formats
    exit_places: list[str] = field(default_factory=list)
    roles: dict[int, tagged.Role] = field(default_factory=dict)  # roles of arcs in a tagged or exact style
    any_orders: set[bool] = field(default_factory=set)  # whether members may come in any order
    literals: dict[int, str] = field(default_factory=dict)  # texts of the arcs that have only one
    spaces: set[int] = field(default_factory=set)  # arcs of optional white space
    vetted: set[int] = field(default_factory=set)  # points whose arcs differ in their first character
    exclusive: dict[int, int] = field(default_factory=dict)  # arcs that exclude each other, by group
    doubtful: list[int] = field(default_factory=list)  # arcs whose language may be empty
    open_arcs: set[int] = field(default_factory=set)  # arcs whose text may continue where it may end
    copies: dict[int, int] = field(default_factory=dict)  # by arc, CIRCLE * the repeated part + its copy

    @property
    def is_ambiguous(self) -> bool:
        """Whether text might continue beside the start of a value. A quick test; the engine decides exactly."""
        kinds = {(kind, what) for kind, what, _ in self.exits}
        if len(kinds) < len(self.exits) or any(kind == ANY_TOKEN for kind, _ in kinds):
            return True
        for kind, what, following in self.exits:
            if kind == VALUE and not _is_closed(self.schemas[what]) and self._may_go_on(self._begun(following)):
                return True
        if not any(kind == VALUE for kind, _, _ in self.exits):
            return False
        if any(self.arcs[arc][1] >= 0 for arc in self.open_arcs):
            return True
        parting = [at for at, arcs in enumerate(self.points) if len(arcs) > 1 and at not in self.vetted]
        return any(self._may_part(self._begun(at)) for at in parting)

    def _begun(self, point: int) -> frozenset[int]:
        """Return the arcs that begin at a point, or after an empty text from there."""
        found, seen, waiting = set[int](), {point}, [point]
        while waiting:
            for arc in self.points[waiting.pop()]:
                target = self.arcs[arc][1]
                if not self._is_empty(arc) or target < 0:
                    found.add(arc)
                elif target not in seen:
                    seen.add(target)
                    waiting.append(target)
        return frozenset(found)

    def _is_empty(self, arc: int) -> bool:
        return self.arcs[arc][0] is trees.EMPTY or arc in self.spaces

    def _leaves(self, arc: int) -> bool:
        """Whether an arc leads to the end of the turn or a token, without text or a value."""
        target = self.arcs[arc][1]
        return self._is_empty(arc) and target < 0 and self.exits[~target][0] != VALUE

    def _may_go_on(self, arcs: frozenset[int]) -> bool:
        """Whether the text after a number might continue the number."""
        return any(
            not self._leaves(arc) and (arc not in self.literals or self.literals[arc][0] in NUMERIC) for arc in arcs
        )

    def _may_part(self, arcs: frozenset[int]) -> bool:
        """Whether a text might follow two of the arcs beyond the choice between them."""
        if len(arcs) < 2 or (len({self.exclusive.get(arc, -arc) for arc in arcs}) == 1):
            return False
        texts = []
        for arc in arcs:
            if self._leaves(arc):
                continue
            if arc not in self.literals:
                return True
            texts.append(self.literals[arc].lstrip(" \n\r\t"))
        texts.sort()
        return any(longer.startswith(text) for text, longer in itertools.pairwise(texts))


def _is_closed(schema: Any) -> bool:
    """Whether all values of a schema obviously end with a bracket."""
    return type(schema) is dict and schema.get("type") in ("object", "array")


class Builder:
    """Builds the net of one format.

    `in_circles` is for finding out whether values can be told from text. A part that may be repeated up to more than
    `CIRCLE` times is then written as a circle of so many copies. Its states are those of any number of copies, as long
    as no text can be of two copies that are no neighbours (kernels/cpu/automaton/format_check.cpp looks).
    """

    def __init__(self, options: Options, *, in_circles: bool = False) -> None:
        self.net = Net()
        self._is_circling, self._circles = in_circles, 0
        self._options = options
        self._parts = 0
        self._literals: dict[str, Tree] = {}  # one tree a text, so that the engine reads it once
        self._named: dict[int | str, int] = {}  # symbols of tokens by their names
        self._others: dict[frozenset[int | str], int] = {}  # symbols of all tokens but the excluded ones
        self._at = [""]  # JSON Pointers to the parts being built, innermost last

    def build(self, tag: Mapping[str, Any]) -> Net:
        """Build the net of a structural tag; SchemaError names a part that can't be enforced."""
        start = self._point()
        end = self._exit(END, -1, -1)
        self._at.append("/format")
        self.net.points[start] = self._arcs(tag["format"], To(end), ())
        return self.net

    # -- Points, arcs, exits -------------------------------------------------------------------------------------------

    def _point(self, arcs: Sequence[int] = ()) -> int:
        points = self.net.points
        if len(points) >= MOST_POINTS:
            raise self._refused("repetitions make it too large", "repeat less often")
        points.append([*arcs])
        return len(points) - 1

    def _arc(self, tree: Tree, target: int, place: str | None = None, size: int | None = None) -> int:
        """Return a new arc; `size` is the tree's, where that is known."""
        net = self.net
        self._parts += ARC + (trees.size(tree) if size is None else size)
        if self._parts > MOST_PARTS:
            raise self._refused("the format is too large, written out", "repeat less often, or say less")
        net.arcs.append((tree, target))
        net.arc_places.append(self._at[-1] if place is None else place)
        return len(net.arcs) - 1

    def _empty(self, target: int) -> int:
        """Return a new arc of the empty text."""
        return self._arc(trees.EMPTY, target, None, 1)

    def _literal(self, text: str, target: int, place: str | None = None) -> int:
        tree = self._literals.get(text)
        if tree is None:
            tree = self._literals[text] = trees.literal(text)
        arc = self._arc(tree, target, place, 1 + len(text))
        if text:
            self.net.literals[arc] = text
        return arc

    def _exit(self, kind: int, what: int, following: int) -> int:
        """Return the target of a new exit."""
        net = self.net
        net.exits.append((kind, what, following))
        net.exit_places.append(self._at[-1])
        return -len(net.exits)

    def _plain(self, to: To) -> int:
        """Return the target after a part that is not free text: the tag's end is then a separate literal."""
        if not to.ends:
            return to.target
        return self._point([self._literal(end, to.target, to.place) for end in to.ends])

    def _following(self, to: To) -> int:
        """Return the point where the text continues; an exit gets a point with an empty text before it."""
        target = self._plain(to)
        return target if target >= 0 else self._point([self._empty(target)])

    # -- Where it is ---------------------------------------------------------------------------------------------------

    def _each(self, name: str, parts: Mapping[int, _Part], build: Callable[[_Part], list[int]]) -> list[int]:
        """Return the arcs of the parts of a list, with JSON Pointers to each."""
        arcs: list[int] = []
        place = f"{self._at[-1]}/{name}/"
        for number, part in parts.items():
            self._at.append(f"{place}{number}")
            arcs += build(part)
            self._at.pop()
        return arcs

    def _place(self) -> str:
        return self._at[-1]

    def _refused(self, found: str, fix: str) -> SchemaError:
        return SchemaError(Finding(self._place(), None, found, fix))

    # -- Formats -------------------------------------------------------------------------------------------------------

    def _arcs(self, form: Any, to: To, stops: tuple[str, ...]) -> list[int]:
        """Return the arcs that begin a format; its free text contains none of `stops`, the ends of enclosing tags."""
        build = getattr(self, f"_{form['type']}", None)
        if build is None:
            raise self._refused(f"formats of the type {form['type']!r} are not kept yet", "see docs/formats.md")
        arcs: list[int] = build(form, to, stops)
        return arcs

    def _const_string(self, form: Any, to: To, _stops: tuple[str, ...]) -> list[int]:
        return [self._literal(form["value"], self._plain(to))]

    def _regex(self, form: Any, to: To, _stops: tuple[str, ...]) -> list[int]:
        try:
            tree = regex.exact_tree(form["pattern"])
        except regex.RegexError as error:
            raise self._refused(str(error), "correct the pattern") from None
        if excludes := form.get("excludes"):
            tree = trees.both(tree, trees.free(excludes))
        return [self._doubted(self._open(self._arc(tree, self._plain(to))))]

    def _open(self, arc: int) -> int:
        self.net.open_arcs.add(arc)
        return arc

    def _doubted(self, arc: int) -> int:
        self.net.doubtful.append(arc)
        return arc

    def _until(self, end: str, target: int, avoid: Sequence[str], excludes: Sequence[str], most: int | None) -> int:
        """Return the arc of free text that ends with `end`."""
        arc = self._arc(trees.until(end, avoid, most, excludes), target)
        return arc if trees.is_met(end, avoid) else self._doubted(arc)

    def _any_text(self, form: Any, to: To, stops: tuple[str, ...]) -> list[int]:
        if form.get("max_tokens") is not None:
            found = "max_tokens is not kept: the same text would be allowed in some tokens and forbidden in others"
            raise self._refused(found, "use max_chars; or any_tokens with max_tokens, and a token behind it")
        return self._free(to, stops, tuple(form.get("excludes", ())), form.get("max_chars"))

    def _free(
        self, to: To, avoid: tuple[str, ...], excludes: tuple[str, ...], max_chars: int | None = None
    ) -> list[int]:
        """Return the arcs of free text; before a tag's end, one language with each of the ends."""
        if not to.ends:
            return [self._open(self._arc(trees.free((*avoid, *excludes), max_chars), to.target))]
        ends = (*avoid, *to.ends)
        arcs = [self._until(end, to.target, ends, excludes, max_chars) for end in to.ends]
        self.net.exclusive |= dict.fromkeys(arcs, ~arcs[0])
        return arcs

    def _grammar(self, form: Any, to: To, _stops: tuple[str, ...]) -> list[int]:
        try:
            tree = grammar.parse(form["grammar"])
        except grammar.GrammarError as error:
            raise self._refused(error.found, error.fix) from None
        return [self._doubted(self._open(self._arc(tree, self._plain(to))))]

    def _json_schema(self, form: Any, to: To, stops: tuple[str, ...]) -> list[int]:
        style = form.get("style", "json")
        if style == "text":
            return self._bare_text(form["json_schema"], form.get("excludes", ()), to, stops)
        self.net.any_orders.add(bool(form.get("any_order")))
        most, whitespace = form.get("max_whitespace_cnt"), self._options.whitespace
        if most is not None and whitespace != "compact" and (most < 1 or whitespace != "spaced"):
            kept = "whitespace='compact'" if most < 1 else "whitespace='spaced'"
            found = f"max_whitespace_cnt={most} is not kept under whitespace={whitespace!r}"
            raise self._refused(found, f"use {kept}")
        if form.get("excludes") and style == "json":
            raise self._refused(
                "excludes can't be kept in JSON, whose strings spell a text in many ways", "leave it out"
            )
        if style != "json":
            return self._in_style(form["json_schema"], style, bool(form.get("any_order")), to, form.get("excludes", ()))
        return [self._empty(self.value(form["json_schema"], self._following(to)))]

    def _bare_text(self, schema: Any, excludes: Iterable[str], to: To, stops: tuple[str, ...]) -> list[int]:
        """Return the arcs of an unquoted string; before a tag's end it ends with the first end, as free text does."""
        place = f"{self._place()}/json_schema"
        try:
            bare = strings.BareStrings(schema, self._options)
        except SchemaError as error:
            raise SchemaError(
                [replace(one, pointer=place + one.pointer) for one in error.findings], limit=error.limit
            ) from None
        self.net.fronts.append((place, bare.front))
        avoid = (*stops, *to.ends)
        self.net.excluded += [(place, f"strings with {text} in them") for text in dict.fromkeys((*avoid, *excludes))]
        if not to.ends:
            tree = trees.both(trees.free((*avoid, *excludes)), bare.tree)
            return [self._doubted(self._open(self._arc(tree, to.target)))]
        arcs = [
            self._doubted(self._arc(trees.until(end, avoid, None, excludes, bare.tree), to.target)) for end in to.ends
        ]
        self.net.exclusive |= dict.fromkeys(arcs, ~arcs[0])
        return arcs

    def _qwen_xml_parameter(self, form: Any, to: To, _stops: tuple[str, ...]) -> list[int]:
        return self._in_style(form["json_schema"], "qwen_xml", False, to)

    def _in_style(self, schema: Any, style: Any, any_order: bool, to: To, excludes: Iterable[str] = ()) -> list[int]:
        self.net.documents.append(schema)
        self.net.document_places.append(f"{self._place()}/json_schema")
        uri = f"guard:arguments/{len(self.net.documents) - 1}"
        place = f"{self._place()}/json_schema"
        made: tagged.Tagged
        if isinstance(style, str):
            made = tagged.Tagged(schema, uri, tagged.STYLES[style], self._options, self, place, excludes)
        else:
            own = exact.ExactStyle.model_validate(style)
            made = exact.Exact(schema, uri, own, self._options, self, place, excludes)
        self.net.fronts.append((place, made.front))
        arcs = made.arcs(self._plain(to), any_order=any_order)
        self.net.excluded += made.excluded
        return arcs

    # The methods of tagged.Maker.

    def point(self, arcs: Iterable[int] = ()) -> int:
        return self._point([*arcs])

    def extend(self, point: int, arcs: Iterable[int]) -> None:
        self.net.points[point] += arcs

    def arc(self, tree: Tree, target: int, begins: str = "", role: tagged.Role | None = None) -> int:
        arc = self._arc(tree, target)
        if role is not None:
            self.net.roles[arc] = role
        if begins:
            self.net.literals[arc] = begins
        return arc

    def space(self, target: int) -> int:
        arc = self._arc(trees.SPACE, target)
        self.net.spaces.add(arc)
        return arc

    def doubted(self, arc: int) -> int:
        return self._doubted(arc)

    def vet(self, point: int) -> int:
        self.net.vetted.add(point)
        return point

    def value(self, schema: Any, following: int) -> int:
        """Return the target of a value of the schema; the text continues at the point `following`."""
        self.net.schemas.append(schema)
        self.net.schema_places.append(f"{self._place()}/json_schema")
        return self._exit(VALUE, len(self.net.schemas) - 1, following)

    def _token(self, form: Any, to: To, _stops: tuple[str, ...]) -> list[int]:
        symbol = self._named.setdefault(form["token"], len(self.net.symbols))
        if symbol == len(self.net.symbols):
            self.net.symbols.append((form["token"],))
        return [self._empty(self._exit(SYMBOL, symbol, self._following(to)))]

    def _exclude_token(self, form: Any, to: To, _stops: tuple[str, ...]) -> list[int]:
        return [self._any_token(self._other_symbol(form), self._following(to))]

    def _any_tokens(self, form: Any, to: To, _stops: tuple[str, ...]) -> list[int]:
        """Return any tokens; a token that is named behind them ends them, and is never one of them."""
        leave, most = self._empty(self._plain(to)), form["max_tokens"]
        if most == 0:
            return [leave]
        symbol = self._other_symbol(form)
        if most is None:
            again = self._point()
            self.net.points[again] = [self._any_token(symbol, again), leave]
            return [self._empty(again)]
        arcs = [leave]
        for _ in range(most):
            arcs = [self._any_token(symbol, self._point(arcs)), leave]
        return arcs

    def _other_symbol(self, form: Any) -> int:
        """Return the symbol of every token but those that a format excludes."""
        excluded = tuple(dict.fromkeys(form["exclude_tokens"]))
        symbol = self._others.setdefault(frozenset(excluded), len(self.net.symbols))
        if symbol == len(self.net.symbols):
            self.net.symbols.append(excluded)
        return symbol

    def _any_token(self, symbol: int, following: int) -> int:
        return self._empty(self._exit(ANY_TOKEN, symbol, following))

    def _token_triggered_tags(self, form: Any, to: To, stops: tuple[str, ...]) -> list[int]:
        """Return free text in which special tokens begin tags. Text can't contain them, so nothing else is excluded."""
        self.net.barred_tokens += form["exclude_tokens"]
        names = [tag["begin"]["token"] for tag in form["tags"] if isinstance(tag["begin"], dict)]
        if len(names) < len(form["tags"]) or {*names} != {*form["trigger_tokens"]}:
            raise self._refused(
                "each trigger token must begin a tag, and each tag must begin with one", "name them alike"
            )
        again, behind = self._point(), self._point()
        after = To(self._plain(to)) if form["stop_after_first"] else To(again)
        tags = self._tags(form, after)
        self.net.points[behind] = tags
        self.net.points[again] = [*self._free(to, stops, ()), self._open(self._arc(trees.free(stops), behind))]
        return tags if form["at_least_one"] else [self._empty(again)]

    def _token_dispatch(self, form: Any, to: To, stops: tuple[str, ...]) -> list[int]:
        self.net.barred_tokens += form["exclude_tokens"]
        again, behind = self._point(), self._point()
        after = To(again) if form["loop"] else To(self._plain(to))

        def begun(rule: Any) -> list[int]:
            name, content = rule
            return self._token({"token": name}, To(self._point(self._arcs(content, after, ()))), ())

        self.net.points[behind] = self._each("rules", dict(enumerate(form["rules"])), begun)
        self.net.points[again] = [*self._free(to, stops, ()), self._open(self._arc(trees.free(stops), behind))]
        return [self._empty(again)]

    def _sequence(self, form: Any, to: To, stops: tuple[str, ...]) -> list[int]:
        elements = form["elements"]
        arcs: list[int] | None = None
        for number in reversed(range(len(elements))):
            behind = to if arcs is None else To(self._point(arcs))
            arcs = self._each("elements", {number: elements[number]}, partial(self._arcs, to=behind, stops=stops))
        return [self._empty(self._plain(to))] if arcs is None else arcs

    def _or(self, form: Any, to: To, stops: tuple[str, ...]) -> list[int]:
        elements = dict(enumerate(form["elements"]))
        return self._each("elements", elements, partial(self._arcs, to=to, stops=stops))

    def _content(self, form: Any, to: To, stops: tuple[str, ...]) -> list[int]:
        self._at.append(f"{self._at[-1]}/content")
        arcs = self._arcs(form["content"], to, stops)
        self._at.pop()
        return arcs

    def _optional(self, form: Any, to: To, stops: tuple[str, ...]) -> list[int]:
        return [*self._content(form, to, stops), self._empty(self._plain(to))]

    def _star(self, form: Any, to: To, stops: tuple[str, ...]) -> list[int]:
        return self._repeated(form, 0, -1, to, stops)

    def _plus(self, form: Any, to: To, stops: tuple[str, ...]) -> list[int]:
        return self._repeated(form, 1, -1, to, stops)

    def _repeat(self, form: Any, to: To, stops: tuple[str, ...]) -> list[int]:
        if 0 <= form["max"] < form["min"]:
            raise self._refused(f"min={form['min']} is more than max={form['max']}", "write the lesser number as min")
        return self._repeated(form, form["min"], form["max"], to, stops)

    def _repeated(self, form: Any, least: int, most: int, to: To, stops: tuple[str, ...]) -> list[int]:
        leave = self._empty(self._plain(to))
        if self._is_circling and least == 0 and most > CIRCLE:
            return self._circle(form, leave, stops)
        if most < 0:
            again = self._point()
            self.net.points[again] = [*self._content(form, To(again), stops), leave]
            arcs = [self._empty(again)]
        else:
            arcs = [leave]
            for _ in range(most - least):
                arcs = [*self._content(form, To(self._point(arcs)), stops), leave]
        for _ in range(least):
            arcs = self._content(form, To(self._point(arcs)), stops)
        return arcs

    def _circle(self, form: Any, leave: int, stops: tuple[str, ...]) -> list[int]:
        net, part = self.net, self._circles
        self._circles += CIRCLE
        points = [self._point() for _ in range(CIRCLE)]
        self._is_circling = False  # a repeated part of a copy is written out
        for number, point in enumerate(points):
            begun = len(net.arcs)
            following = To(points[(number + 1) % CIRCLE])
            net.points[point] = [*self._content(form, following, stops), leave]
            net.copies |= dict.fromkeys(range(begun, len(net.arcs)), part + number)
        self._is_circling = True
        return [self._empty(points[0])]

    def _tag(self, form: Any, to: To, _stops: tuple[str, ...]) -> list[int]:
        return self._tagged(form, form["begin"], to)

    def _tagged(self, form: Any, begin: Any, to: To) -> list[int]:
        """Return a tag of whose beginning only `begin` is left to be read."""
        target = self._plain(to)
        given = form["end"]
        closers = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, list) else ()
        if isinstance(given, dict):
            inner = To(self._point(self._token(given, To(target), ())))
        elif all(closers):
            inner = To(target, closers, self._place())
        else:
            inner = To(self._point([self._literal(end, target) for end in closers]))
        if form["content"]["type"] == "json_schema" and form["content"]["style"] == "json":
            self.net.notes += [(self._place(), end) for end in closers if end and not _BARRED_IN_STRINGS.search(end)]
        content = self._content(form, inner, inner.ends)
        if isinstance(begin, dict):
            return self._token(begin, To(self._point(content)), ())
        return [self._literal(begin, self._point(content))] if begin else content

    def _tags(self, form: Any, to: To) -> list[int]:
        """Return the arcs of any one of a format's tags."""
        return self._each("tags", dict(enumerate(form["tags"])), lambda tag: self._tagged(tag, tag["begin"], to))

    def _tags_with_separator(self, form: Any, to: To, _stops: tuple[str, ...]) -> list[int]:
        leave = self._empty(self._plain(to))
        nothing = [] if form.get("at_least_one") else [leave]
        if form.get("stop_after_first"):
            return [*self._tags(form, To(self._plain(to))), *nothing]
        behind = self._point()
        again = self._point(self._tags(form, To(behind)))
        self.net.points[behind] = [self._literal(form["separator"], again), leave]
        return [self._empty(again), *nothing]

    def _triggered_tags(self, form: Any, to: To, stops: tuple[str, ...]) -> list[int]:
        for number, tag in enumerate(form["tags"]):
            begin, triggers = tag["begin"], form["triggers"]
            if isinstance(begin, dict):
                at, fix = f"{self._place()}/tags/{number}/begin", "use token_triggered_tags"
                raise SchemaError(Finding(at, "begin", "a text triggers these tags, and no token", fix))
            if not any(map(begin.startswith, triggers)) and not form.get("at_least_one"):
                at, fix = f"{self._place()}/tags/{number}/begin", "add a trigger"
                raise SchemaError(Finding(at, "begin", f"{clip(begin)} begins with none of the triggers", fix))

        def behind(trigger: str, after: To) -> list[int]:
            begun = {number: tag for number, tag in enumerate(form["tags"]) if tag["begin"].startswith(trigger)}
            return self._each("tags", begun, lambda tag: self._tagged(tag, tag["begin"][len(trigger) :], after))

        loop = not form.get("stop_after_first")
        text, after = self._dispatched(form, form["triggers"], behind, to, stops, loop=loop)
        return self._tags(form, after) if form.get("at_least_one") else text

    def _dispatch(self, form: Any, to: To, stops: tuple[str, ...]) -> list[int]:
        rules = form["rules"]

        def behind(trigger: str, after: To) -> list[int]:
            begun = {number: content for number, (pattern, content) in enumerate(rules) if pattern == trigger}
            return self._each("rules", begun, partial(self._arcs, to=after, stops=()))

        triggers = [pattern for pattern, _ in rules]
        return self._dispatched(form, triggers, behind, to, stops, loop=form.get("loop", True))[0]

    def _dispatched(
        self,
        form: Any,
        triggers: Sequence[str],
        behind: Callable[[str, To], list[int]],
        to: To,
        stops: tuple[str, ...],
        *,
        loop: bool,
    ) -> tuple[list[int], To]:
        """Return the arcs of free text in which each trigger begins a part, and the place after such a part."""
        avoid, excludes = (*triggers, *stops), tuple(form.get("excludes", ()))
        again = self._point()
        after = To(again) if loop else To(self._plain(to))
        arcs = self._free(to, avoid, excludes)
        for trigger in dict.fromkeys(triggers):
            inside = self._point(behind(trigger, after))
            arcs.append(self._until(trigger, inside, avoid, excludes, None))
        self.net.exclusive |= dict.fromkeys(arcs, again)
        self.net.points[again] = arcs
        return [self._empty(again)], after

"""Partial values: the known part of a value while its text still arrives, as an object of the wanted type.

Complete values are converted to the field's type. A text that is still being written is shown so far, where the field
is a plain `str`. Values that have not arrived, or can't be converted, are None. A partial object is built without the
class's code (guard/output/partial_objects.py); only the last value is validated. Where a partial value can't be made,
nothing new is shown: that never ends a call.

A type becomes a tree of readers, one class for each way in which types are written as JSON. A reader turns a node into
a `NodeReading`: the value, and how well it fits the type, which chooses among the members of a union. Closed nodes are
read once and cached, so a piece costs its own length plus a copy of the open containers. Where that copy is large,
pieces are combined. A whole stream takes O(n).
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import json
import sys
import types
import typing
from collections import abc
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import typing_extensions

from guard.errors import GuardError
from guard.kernels.cached import cached_property
from guard.output.own_code import runs_own_code
from guard.output.partial_json import Kind, Node, PartialReader, plain
from guard.output.partial_objects import Make, attempt, hashable, of_dataclass, of_model, of_named_tuple, of_root_model
from guard.schemas import types as schema_types

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from guard.schemas.typed.exact_reader import ExactReader

UNKNOWN = None  #: Stands for a value that has not arrived.
SHARE = 256  #: Items that may be copied for each new character.

_NOW = "now"  # where an open node has its readings

#: How well a text fits a type.
_FITS = 2  # a value of the type, or the beginning of one
_CONVERTED = 1  # after a conversion by pydantic, or without undeclared members
_NOT = 0  # it can't become a value of the type


class NodeReading(NamedTuple):
    """A node as one reader sees it."""

    fit: int
    value: Any = UNKNOWN
    weight: int = 1  # declared members and items: of two classes that fit, the heavier one is meant


_NO_READING = NodeReading(_NOT)


class Partials:
    """The partial values of one text, of a type or of a schema (None as type)."""

    def __init__(self, wanted: Any) -> None:
        self._wanted = wanted
        self._reader = PartialReader()
        self._behind = 0  # characters since the last value

    def feed(self, piece: str) -> Any:
        """Take a piece; return the partial value, or None where nothing is known or a copy does not pay yet."""
        self._behind += len(piece)
        if self._reader.is_over:
            return UNKNOWN
        for node in self._reader.open_nodes:
            node.memo.pop(_NOW, None)
        self._reader.feed(piece)
        if self._reader.root is None or self._behind * SHARE < self._reader.weight:
            return UNKNOWN
        self._behind = 0
        return attempt(self._value, UNKNOWN)

    def _value(self) -> Any:
        assert self._reader.root is not None
        return self._shape.read(self._reader.root).value

    @cached_property
    def _shape(self) -> Shape:
        return _ANY if self._wanted is None else shape(self._wanted)


class TextSoFar:
    """Yields the text so far in place of values, for callers that pass it on."""

    def __init__(self) -> None:
        self._text = ""

    def feed(self, piece: str) -> str:
        """Take a piece; return the whole text so far."""
        self._text += piece
        return self._text


def partial(wanted: Any, text: str) -> Any:
    """Return the partial object of a type, or of a schema (None as type), for the beginning of its text."""
    made = Partials(wanted)
    made._behind = len(text) + SHARE  # one value is wanted, so a copy always pays
    return made.feed(text)


def shape(wanted: Any) -> Shape:
    """Return the reader of a type."""
    try:
        return _cached_shape(schema_types.Spelled(wanted))
    except TypeError as error:  # Annotated[int, []]
        if "unhashable" not in str(error):
            raise
        return _made(wanted)


class Shape:
    """Reads values of one type."""

    def read(self, node: Node) -> NodeReading:
        """Read a node. Closed nodes are cached, open ones till the next piece: several members of a union may ask."""
        if node.is_open:
            now: dict[Shape, NodeReading] = node.memo.setdefault(_NOW, {})
            if self not in now:
                now[self] = self._read(node)
            return now[self]
        known: NodeReading | None = node.memo.get(self)
        if known is None:
            known = self._read(node)
            node.memo.pop((self, "so far"), None)
            node.memo[self] = known
        return known

    def _read(self, node: Node) -> NodeReading:
        raise NotImplementedError

    def _state(self, node: Node, made: Callable[[], Any]) -> Any:
        """Return this reader's state for an open node."""
        key: Hashable = (self, "so far")
        if key not in node.memo:
            node.memo[key] = made()
        return node.memo[key]


class _Any(Shape):
    """Anything, as `json.loads` gives it."""

    def _read(self, node: Node) -> NodeReading:
        return NodeReading(_FITS, plain(node))


class _PartialText(Shape):
    """A text so far."""

    def _read(self, node: Node) -> NodeReading:
        return NodeReading(_FITS, node.text) if node.kind is Kind.STRING else _NO_READING


class _Choice(Shape):
    """One of several constants: Literal, Enum."""

    def __init__(self, choices: Iterable[tuple[Any, Any]]) -> None:
        self._choices = [(said, isinstance(said, bool), value) for said, value in choices]

    def _read(self, node: Node) -> NodeReading:
        if node.kind in (Kind.OBJECT, Kind.ARRAY):
            return _NO_READING
        if not node.is_open:
            given = plain(node)
            is_bool = isinstance(given, bool)
            return next(
                (NodeReading(_FITS, v) for said, b, v in self._choices if said == given and b is is_bool), _NO_READING
            )
        if node.kind is Kind.STRING:
            begins = any(isinstance(said, str) and said.startswith(node.text) for said, _, _ in self._choices)
        else:
            begins = any(
                not isinstance(said, str) and json.dumps(said).startswith(node.text) for said, _, _ in self._choices
            )
        return NodeReading(_FITS) if begins else _NO_READING


class _Leaf(Shape):
    """A complete value that pydantic converts: numbers, dates, and types unknown to this module."""

    def __init__(self, wanted: Any) -> None:
        self._wanted = wanted

    @cached_property
    def _reader(self) -> Any:
        return schema_types.reader(self._wanted)

    @cached_property
    def is_readable(self) -> bool:
        """Whether Pydantic knows how to read the type."""
        return attempt(lambda: self._reader is not None, False)

    @cached_property
    def _kinds(self) -> frozenset[Kind]:
        """The JSON types of the type's values, by its schema."""
        try:
            said: Any = schema_types.json_schema(self._wanted)
        except GuardError:
            return frozenset(Kind)
        of_type = {
            "string": Kind.STRING,
            "object": Kind.OBJECT,
            "array": Kind.ARRAY,
            "boolean": Kind.WORD,
            "null": Kind.WORD,
            "integer": Kind.NUMBER,
            "number": Kind.NUMBER,
        }
        named = said.get("type")
        return frozenset([of_type[named]]) if isinstance(named, str) else frozenset(Kind)

    def _read(self, node: Node) -> NodeReading:
        if node.is_open:
            if node.kind in self._kinds:
                return NodeReading(_FITS)
            return NodeReading(_CONVERTED) if node.kind in (Kind.STRING, Kind.NUMBER) else _NO_READING
        said = _written(node)
        readings = (attempt(functools.partial(self._whole, said, fit), _NO_READING) for fit in (_FITS, _CONVERTED))
        return next((reading for reading in readings if reading.fit), _NO_READING)

    def _whole(self, said: str, fit: int) -> NodeReading:
        return NodeReading(fit, self._reader.validate_json(said, strict=fit == _FITS))


class _Items(Shape):
    """A list, set or tuple. `places` are the types of a tuple's first items, of which `least` are there in the end.

    `item` is the type of the rest, or None.
    """

    def __init__(
        self,
        make: Callable[[list[Any]], Any],
        item: Shape | None,
        places: tuple[Shape, ...] = (),
        least: int | None = None,
    ) -> None:
        self._make, self._item, self._places = make, item, places
        self._least = len(places) if least is None else least

    def _read(self, node: Node) -> NodeReading:
        if node.kind is not Kind.ARRAY:
            return _NO_READING
        so_far = self._state(node, lambda: _SoFar([]))
        for index in range(so_far.number, node.closed_items):
            so_far.add(self._at(index, node.items[index]))
            so_far.value.append(so_far.last.value)
        values, fit = so_far.value.copy(), so_far.fit
        if node.closed_items < len(node.items):
            reading = self._at(node.closed_items, node.items[-1])
            fit = min(fit, reading.fit)
            if reading.value is not UNKNOWN:
                values.append(reading.value)
        if not node.is_open and len(node.items) < self._least:
            fit = _NOT
        return NodeReading(fit, self._make(values), so_far.weight) if fit else _NO_READING

    def _at(self, index: int, node: Node) -> NodeReading:
        one = self._places[index] if index < len(self._places) else self._item
        return _NO_READING if one is None else one.read(node)


class _Mapping(Shape):
    """A dictionary; its keys are converted to their type."""

    def __init__(self, key: Any, value: Shape, make: Callable[[dict[Any, Any]], Any]) -> None:
        self._key, self._value, self._make = key, value, make

    def _read(self, node: Node) -> NodeReading:
        if node.kind is not Kind.OBJECT:
            return _NO_READING
        so_far = self._state(node, lambda: _SoFar({}))
        for index in range(so_far.number, node.closed_items):
            so_far.add(self._value.read(node.items[index]))
            so_far.value[self._as_key(node.keys[index])] = so_far.last.value
        values, fit = so_far.value.copy(), so_far.fit
        if node.closed_items < len(node.items):
            reading = self._value.read(node.items[-1])
            fit = min(fit, reading.fit)
            if reading.value is not UNKNOWN:
                values[self._as_key(node.keys[-1])] = reading.value
        return NodeReading(fit, self._make(values), so_far.weight) if fit else _NO_READING

    def _as_key(self, text: str) -> Any:
        if self._key in (str, Any):
            return text
        return attempt(lambda: self._reader.validate_strings(text), text)

    @cached_property
    def _reader(self) -> Any:
        return schema_types.reader(self._key)


class _Members(Shape):
    """An object with declared members: a model, a dataclass, a TypedDict."""

    def __init__(
        self,
        members: Iterable[tuple[tuple[str, ...], str, Any]],
        required: Iterable[str],
        begin: Callable[[], Make],
        config: Mapping[str, Any],
    ) -> None:
        self._types = list(members)  # the names in JSON, the attribute's name, the type
        self._required, self._begin = frozenset(required), begin
        self._extra = config.get("extra") or "ignore"
        self._shown = _without_enums if config.get("use_enum_values") else lambda value: value

    @cached_property
    def _members(self) -> dict[str, tuple[str, Shape]]:
        """The members by their names in JSON. Resolved at the first use, because a type may contain itself."""
        named = [(name, attribute, wanted) for names, attribute, wanted in self._types for name in names]
        named.sort(key=lambda one: one[0] != one[1])  # the last counts: a field's own name is no other's alias
        return {name: (attribute, shape(wanted)) for name, attribute, wanted in named}

    def _read(self, node: Node) -> NodeReading:
        if node.kind is not Kind.OBJECT:
            return _NO_READING
        so_far, make = self._state(node, lambda: (_SoFar({}), self._begin()))
        for index in range(so_far.number, node.closed_items):
            self._add(so_far, so_far.value, node, index)
        values, fit = so_far.value, so_far.fit
        if node.closed_items < len(node.items):
            values, open_one = values.copy(), _SoFar({})
            self._add(open_one, values, node, node.closed_items)
            fit = min(fit, open_one.fit)
        if not node.is_open and not self._required <= values.keys():
            fit = _NOT
        return NodeReading(fit, make(values), so_far.weight) if fit else _NO_READING

    def _add(self, so_far: _SoFar, values: dict[str, Any], node: Node, index: int) -> None:
        """Add a member to the values and to what is known of them."""
        key, item = node.keys[index], node.items[index]
        declared = self._members.get(key)
        if declared is not None:
            reading = declared[1].read(item)
            if reading.value is not UNKNOWN or not item.is_open:
                values[declared[0]] = self._shown(reading.value)
        elif self._extra == "allow":
            reading = _ANY.read(item)
            values[key] = reading.value
        else:
            reading = NodeReading(_CONVERTED if self._extra == "ignore" else _NOT, weight=0)
        so_far.add(reading)


class _Union(Shape):
    """One of several types; shown as soon as the others are ruled out. Of a whole value Pydantic chooses.

    It is asked for the whole union, unless that would run code of the types before the end.
    """

    def __init__(self, wanted: Any, members: Iterable[Any]) -> None:
        self._wanted, self._types = wanted, list(members)
        self._is_ordered = _is_ordered(wanted)
        self._leaves: dict[tuple[int, ...], _Leaf] = {}

    @cached_property
    def _choices(self) -> list[Shape]:
        found = [shape(choice) for choice in self._types]
        return [one.named if isinstance(one, _Alias) else one for one in found]

    @cached_property
    def _judge(self) -> ExactReader | None:
        core = attempt(lambda: schema_types.adapter(self._wanted).core_schema, None)
        return None if core is None or runs_own_code(core) else schema_types.reader(self._wanted)

    def _read(self, node: Node) -> NodeReading:
        alive: list[int] = self._state(node, lambda: list(range(len(self._types))))
        readings = {at: self._choices[at].read(node) for at in alive}
        alive[:] = [at for at in alive if readings[at].fit]  # what does not fit never will
        if not alive:
            return _NO_READING
        known = {at: readings[at] for at in alive}
        told = list(known) if self._is_ordered else self._told(known)
        if len(known) == 1 or (len(told) == 1 and (node.is_open or self._judge is None)):
            return known[told[0]]
        best = max(known.values(), key=lambda reading: (reading.fit, reading.weight))
        return best._replace(value=UNKNOWN if node.is_open else self._chosen(node, tuple(told)))

    def _told(self, known: Mapping[int, NodeReading]) -> list[int]:
        """Return what an open value may be. A key that a model does not declare tells it from other models alone."""
        best = max(reading.fit for reading in known.values())
        told = [at for at in known if known[at].fit == best]
        if all(isinstance(self._choices[at], _Members) for at in told):
            return told
        return [at for at in known if at in told or isinstance(self._choices[at], _Members)]

    def _chosen(self, node: Node, told: tuple[int, ...]) -> Any:
        if self._judge is not None:
            judge, text = self._judge, _written(node)
            return attempt(lambda: judge.validate_json(text), UNKNOWN)
        if node.kind in (Kind.OBJECT, Kind.ARRAY):
            return UNKNOWN
        return self._leaf(told[:1] if self._is_ordered else told).read(node).value

    def _leaf(self, told: tuple[int, ...]) -> _Leaf:
        """Return the reader of some of the types together, without their validators."""
        if told not in self._leaves:
            self._leaves[told] = _Leaf(typing.Union[tuple(_bare(self._types[at]) for at in told)])  # noqa: UP007 (of many)
        return self._leaves[told]


class _Alias(Shape):
    """A named type, which may contain itself."""

    def __init__(self, wanted: Any) -> None:
        self._wanted = wanted

    @cached_property
    def named(self) -> Shape:
        """The type that has the name."""
        holder = type("alias", (), {"__annotations__": {"value": self._wanted.__value__}})
        try:  # names in it are those of its module
            hints = typing.get_type_hints(holder, vars(sys.modules[self._wanted.__module__]), include_extras=True)
        except (NameError, KeyError):
            return _ANY
        return shape(hints["value"])

    def _read(self, node: Node) -> NodeReading:
        return self.named.read(node)


class _Root(Shape):
    """A model that is one value: pydantic.RootModel."""

    def __init__(self, wanted: Any) -> None:
        self._wanted = wanted

    @cached_property
    def _inner(self) -> Shape:
        return shape(_annotated(self._wanted.model_fields["root"]))

    def _read(self, node: Node) -> NodeReading:
        inner = self._inner.read(node)
        if inner.value is UNKNOWN and node.is_open:
            return inner
        return inner._replace(value=of_root_model(self._wanted, inner.value)) if inner.fit else _NO_READING


class _SoFar:
    """The known part of an object or an array: its closed items."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.fit, self.weight, self.number = _FITS, 0, 0
        self.last = _NO_READING

    def add(self, reading: NodeReading) -> None:
        """Count one more item."""
        self.fit = min(self.fit, reading.fit)
        self.weight += reading.weight
        self.number += 1
        self.last = reading


_ANY = _Any()

#: `type Name = …`: Python's own from 3.12 on, and that of typing_extensions.
_ALIASES = tuple({typing_extensions.TypeAliasType, getattr(typing, "TypeAliasType", typing_extensions.TypeAliasType)})

_UNIONS = (typing.Union, types.UnionType)

#: What says more of the type that it holds.
_SAYING_MORE = frozenset((
    *(typing.Annotated, typing.Required, typing.NotRequired),
    *(typing_extensions.ReadOnly, getattr(typing, "ReadOnly", typing_extensions.ReadOnly)),
))  # fmt: skip


#: What Pydantic makes of arrays and objects, by the type that is asked for.
_LISTS: dict[Any, Callable[[list[Any]], Any]] = {
    **dict.fromkeys((list, abc.Iterable, abc.Generator, abc.Sequence, abc.MutableSequence), list),
    **{one: one for one in (tuple, collections.deque)},
}
_SETS: dict[Any, Callable[[Iterable[Any]], Any]] = {
    **dict.fromkeys((set, abc.MutableSet), set),
    **dict.fromkeys((frozenset, abc.Set), frozenset),
}
_DICTS: dict[Any, Callable[[dict[Any, Any]], Any]] = {
    **dict.fromkeys((dict, abc.Mapping, abc.MutableMapping), dict),
    collections.OrderedDict: collections.OrderedDict,
}


@functools.lru_cache(1024)
def _cached_shape(spelled: schema_types.Spelled) -> Shape:
    return _made(spelled.wanted)


def _made(wanted: Any) -> Shape:
    import pydantic

    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if wanted in (Any, object):
        return _ANY
    if wanted is str:
        return _PartialText()
    if isinstance(wanted, _ALIASES):
        return _Alias(wanted)
    if origin in _SAYING_MORE:
        if typing.get_origin(arguments[0]) in _UNIONS:
            return _Union(wanted if origin is typing.Annotated else arguments[0], typing.get_args(arguments[0]))
        bare = shape(arguments[0])
        return _Leaf(wanted) if _is_encoded(wanted) or (isinstance(bare, _Leaf) and not bare.is_readable) else bare
    if origin in _UNIONS:
        return _Union(wanted, arguments)
    if origin is typing.Literal:
        return _Choice((value.value if isinstance(value, enum.Enum) else value, value) for value in arguments)
    if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        is_plain = all(isinstance(member.value, str | int | float | None) for member in wanted)
        return _Choice((member.value, member) for member in wanted) if is_plain else _Leaf(wanted)
    if typing_extensions.is_typeddict(wanted):
        hints = _hints(wanted)
        return _Members(
            (((key,), key, kind) for key, kind in hints.items()), wanted.__required_keys__, lambda: dict, {}
        )
    if isinstance(wanted, type) and issubclass(wanted, pydantic.RootModel):
        return _Root(wanted)
    if isinstance(wanted, type) and issubclass(wanted, pydantic.BaseModel):
        return _of_model(wanted)
    if isinstance(wanted, type) and dataclasses.is_dataclass(wanted):
        return _of_dataclass(wanted)
    return _of_container(wanted, origin or wanted, arguments)


def _bare(wanted: Any) -> Any:
    """Return a type without the validators that stand beside it."""
    is_plain = typing.get_origin(wanted) is typing.Annotated and not _is_encoded(wanted)
    return _bare(typing.get_args(wanted)[0]) if is_plain else wanted


def _is_ordered(wanted: Any) -> bool:
    """Whether a union is of the first member that takes the value: `Field(union_mode="left_to_right")`."""
    beside = getattr(wanted, "__metadata__", ())
    more = [*beside, *(one for said in beside for one in getattr(said, "metadata", ()))]
    return any(getattr(one, "union_mode", None) == "left_to_right" for one in more)


def _written(node: Node) -> str:
    """Return the JSON text of a closed node."""
    return node.text if node.kind in (Kind.NUMBER, Kind.WORD) else json.dumps(plain(node))


def _is_encoded(wanted: Any) -> bool:
    """Whether a value is written in an encoding: nothing of it is known before it is whole."""
    import pydantic

    encodings = pydantic.EncodedBytes | pydantic.EncodedStr
    return any(isinstance(more, encodings) for more in getattr(wanted, "__metadata__", ()))


def _of_container(wanted: Any, origin: Any, arguments: tuple[Any, ...]) -> Shape:
    if isinstance(wanted, type) and issubclass(wanted, tuple) and hasattr(wanted, "_field_defaults"):
        return _of_named_tuple(wanted)
    if origin is tuple and arguments and arguments[-1] is not ...:
        return _Items(tuple, None, tuple(shape(argument) for argument in arguments))
    if origin in _LISTS:
        return _Items(_LISTS[origin], shape(arguments[0]) if arguments else _ANY)
    if origin in _SETS:
        return _Items(functools.partial(hashable, _SETS[origin]), shape(arguments[0]) if arguments else _ANY)
    if origin in _DICTS:
        key, value = (_bare(arguments[0]), shape(arguments[1])) if arguments else (str, _ANY)
        return _Mapping(key, value, _DICTS[origin])
    if origin is collections.defaultdict and arguments:
        empty = schema_types.reader(wanted).validate_json("{}")
        make: Any = functools.partial(collections.defaultdict, empty.default_factory)
        return _Mapping(_bare(arguments[0]), shape(arguments[1]), make)
    return _Leaf(wanted)


def _without_enums(value: Any) -> Any:
    """Return a value with those of enums in place of their members."""
    if isinstance(value, enum.Enum):
        return value.value
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(map(_without_enums, value))
    return {key: _without_enums(one) for key, one in value.items()} if type(value) is dict else value


def _of_model(wanted: Any) -> Shape:
    members = list(_members(wanted.model_fields, wanted.model_config))
    return _Members(members, _needed(members, wanted.model_fields), lambda: of_model(wanted), wanted.model_config)


def _members(fields: Mapping[str, FieldInfo], config: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    """Yield the names in JSON, the name and the type of each of Pydantic's fields."""
    import pydantic

    is_by_alias = config.get("validate_by_alias") is not False
    is_by_name = not is_by_alias or config.get("validate_by_name") or config.get("populate_by_name")
    for name, field in fields.items():
        alias = field.validation_alias or field.alias
        aliases = alias.choices if isinstance(alias, pydantic.AliasChoices) else [alias]
        names = [one for one in aliases if isinstance(one, str) and is_by_alias]
        yield (*names, *([name] if alias is None or is_by_name else ())), name, _annotated(field)


def _needed(members: Iterable[tuple[tuple[str, ...], str, Any]], fields: Mapping[str, FieldInfo]) -> list[str]:
    """Return the fields without which no object is whole; of those that lie deeper in the JSON nothing is known."""
    return [name for names, name, _ in members if names and fields[name].is_required()]


def _annotated(field: FieldInfo) -> Any:
    return typing.Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def _of_named_tuple(wanted: Any) -> Shape:
    hints = _hints(wanted)
    places = tuple(shape(hints.get(name, Any)) for name in wanted._fields)
    return _Items(functools.partial(of_named_tuple, wanted), None, places, len(places) - len(wanted._field_defaults))


def _hints(wanted: Any) -> dict[str, Any]:
    """Return the types of a class's members. A class inside of a function is known to itself alone by its name."""
    try:
        return typing.get_type_hints(wanted, include_extras=True)
    except NameError:
        return typing.get_type_hints(wanted, localns={wanted.__name__: wanted}, include_extras=True)


def _of_dataclass(wanted: Any) -> Shape:
    from pydantic.fields import FieldInfo

    known: Mapping[str, FieldInfo] = getattr(wanted, "__pydantic_fields__", {})
    hints = {} if known else _hints(wanted)

    def as_field(one: dataclasses.Field[Any]) -> FieldInfo:
        said: Any = one.default if isinstance(one.default, FieldInfo) else one
        return known[one.name] if one.name in known else FieldInfo.from_annotated_attribute(hints[one.name], said)

    all_fields = {one.name: as_field(one) for one in dataclasses.fields(wanted)}
    fields = {one.name: all_fields[one.name] for one in dataclasses.fields(wanted) if one.init}

    config = getattr(wanted, "__pydantic_config__", None) or {}
    members = list(_members(fields, config))
    return _Members(members, _needed(members, fields), lambda: of_dataclass(wanted, all_fields), config)

"""Pydantic's types as JSON Schema, exactly: a text that the schema accepts is one that the type reads.

Pydantic's own schemas describe; they let through UUIDs of the wrong version, URLs without a host, keys that are no
integers. `Generator` says all that a schema can say. What none can say is written down beside the schema that it
belongs to (notes.py): code of the caller's own, what depends on the day, what is looked up elsewhere.
"""

from __future__ import annotations

import datetime
import enum
import functools
import json
import math
import operator
import re
import sys
from collections.abc import Hashable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import (
    PydanticSerializationError,
    SchemaValidator,
    ValidationError,
    core_schema,
    to_json,
)

from guard.schemas.typed import decimals, known_types, patterns, text_types, urls
from guard.schemas.typed.notes import NOTE, noted

Schema: TypeAlias = dict[str, Any]

#: Keywords that say nothing of a value.
_ANNOTATIONS = frozenset(
    ("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "discriminator", NOTE)
)
_FUNCTIONS = frozenset(("function-before", "function-after", "function-plain", "function-wrap"))
#: Digits in which Python divides decimals, to tell whether one is a multiple.
_PRECISION = 28
MOST_FLAGS = 512  #: Values of flags from which on only single ones are listed.
_BOUNDS = ("ge", "gt", "le", "lt")
#: Items that are equal only where their JSON is: of others two texts may be one member of a set.
_PLAIN_ITEMS = frozenset(("int", "bool", "none", "literal", "enum"))


class Generator(GenerateJsonSchema):
    """Makes one schema, of what a type reads from JSON text."""

    def generate_inner(self, schema: Any) -> Schema:
        """Make the schema of a core schema, and note what its functions do."""
        kind = schema["type"]
        if known_types.is_told_by_core(schema):
            return self._schema_type_to_method[kind](schema)
        found = super().generate_inner(schema)
        if kind == "uuid":  # Pydantic names the version in a format that nobody knows
            return {**found, "format": "uuid"}
        if kind not in _FUNCTIONS and kind not in ("lax-or-strict", "json-or-python", "chain"):
            return found
        known = known_types.schema_of(schema, found)
        if known is not None:
            return {**{key: value for key, value in found.items() if key in _ANNOTATIONS}, **known}
        return self._with_function(schema, found) if kind in _FUNCTIONS else found

    def _with_function(self, schema: Any, found: Schema) -> Schema:
        function = known_types.function_of(schema)
        name = known_types.name_of(function)
        if name in known_types.BEYOND:
            note = known_types.BEYOND[name]
        elif known_types.is_pydantic(function):
            if not name.endswith("_validator") or name.removesuffix("_validator") not in _CONSTRAINTS:
                return found
            if _is_said(_CONSTRAINTS[name.removesuffix("_validator")], found):
                return found
            note = f"the constraint {name.removesuffix('_validator')}"
        elif isinstance(function, operator.attrgetter) and schema["schema"]["type"] == "enum":
            return found  # `use_enum_values`
        elif getattr(function, "is_in_schema", False):  # as of guard.Pattern, whose own schema says it
            return found
        else:
            note = f"the validator {name}"
        if "$ref" in found and "ref" in schema:  # the definition is what the function belongs to
            definition = self.get_schema_from_definitions(found["$ref"])
            if definition is not None:
                definition[NOTE] = [*definition.get(NOTE, ()), note]
                return found
        return noted(found, note)

    def is_subclass_schema(self, schema: Any) -> Schema:
        """Refuse classes, which no JSON is read as; Pydantic's own schema of them lets everything through."""
        return self.handle_invalid_for_json_schema(schema, f"core_schema.IsSubclassSchema ({schema['cls']})")

    # ---- numbers ----

    def default_schema(self, schema: Any) -> Schema:
        found = super().default_schema(schema)
        if not _is_json(found.get("default")):  # infinity, or no number; no text says it
            del found["default"]
        return found

    def float_schema(self, schema: Any) -> Schema:
        """Return the numbers; finite ones lie between the doubles' ends."""
        found = super().float_schema(schema)
        if schema.get("allow_inf_nan", self._config.config_dict.get("allow_inf_nan", True)) is False:
            if "minimum" not in found and "exclusiveMinimum" not in found:
                found["minimum"] = -sys.float_info.max
            if "maximum" not in found and "exclusiveMaximum" not in found:
                found["maximum"] = sys.float_info.max
        return {key: value for key, value in found.items() if value not in (math.inf, -math.inf)}

    def decimal_schema(self, schema: Any) -> Schema:
        """Return decimals as texts: as a JSON number, one is read as a double and loses digits."""
        digits, places, multiple = (schema.get(name) for name in ("max_digits", "decimal_places", "multiple_of"))
        note = None
        if multiple is not None:
            of_multiple = text_types.places_of(Decimal(multiple))
            if of_multiple is None:
                note = f"the constraint multiple_of={multiple}"
            else:
                places = of_multiple if places is None else min(places, of_multiple)
                digits = min(digits or _PRECISION, _PRECISION)
        form = text_types.decimal(digits, places)
        if all(schema.get(bound) is None for bound in _BOUNDS):
            plain = places is None and digits is None
            source = f"-?{form}(?:E[+-]?[0-9]{{1,6}})?" if plain else f"-?{form}"
        else:
            try:
                source = _between(schema, form, fraction=places != 0)
            except ValueError as error:
                source, note = f"-?{form}", str(error)
        found = {"type": "string", "pattern": text_types.whole(source)}
        return found if note is None else noted(found, note)

    def fraction_schema(self, schema: Any) -> Schema:
        """Return fractions as texts."""
        return _bounded(schema, {"type": "string", "pattern": text_types.whole(text_types.FRACTION)})

    def complex_schema(self, schema: Any) -> Schema:
        """Return complex numbers as texts."""
        del schema
        return {"type": "string", "pattern": text_types.whole(text_types.COMPLEX)}

    def literal_schema(self, schema: Any) -> Schema:
        """Return the literals that JSON can name: of enums that are no texts or integers, Python alone can."""
        told = [
            one
            for one in schema["expected"]
            if not isinstance(one, bytes) and (not isinstance(one, enum.Enum) or isinstance(one, str | int))
        ]
        if not told:
            raise PydanticInvalidForJsonSchema(f"no JSON value is one of {schema['expected']}")
        return super().literal_schema(core_schema.literal_schema(told))

    def enum_schema(self, schema: Any) -> Schema:
        """Return the values that JSON has of an enum's members, and of flags those of any of them together."""
        cls, members = schema["cls"], list(schema["members"])
        if issubclass(cls, enum.Flag) and all(0 <= member.value < MOST_FLAGS for member in members):
            whole = functools.reduce(operator.or_, (member.value for member in members), 0)
            members += [cls(value) for value in range(whole + 1) if value & whole == value]
        told = {repr(member.value): member for member in members if _is_read(schema, member.value)}
        if not told:
            raise PydanticInvalidForJsonSchema(f"no JSON value is a member of {cls.__name__}")
        narrowed: Any = {**schema, "members": list(told.values())}
        return super().enum_schema(narrowed)

    def chain_schema(self, schema: Any) -> Schema:
        """Return what the first step reads; of what must be hashable, what is neither an object nor an array."""
        found = super().chain_schema(schema)
        is_hashable = any(step.get("cls") is Hashable for step in schema["steps"] if step["type"] == "is-instance")
        return {"type": ["string", "number", "boolean", "null"]} if is_hashable and not found else found

    # ---- texts ----

    def str_schema(self, schema: Any) -> Schema:
        """Return texts, with a pattern as ECMA-262 has it, and bounds on what is left when white space is stripped."""
        found = super().str_schema(schema)
        note, sources = None, []
        if "pattern" in found:
            given = schema["pattern"]
            compiled = isinstance(given, re.Pattern)
            python = compiled or (schema.get("regex_engine") or self._config.regex_engine) == "python-re"
            source = found.pop("pattern")
            try:
                ignores = compiled and bool(given.flags & re.IGNORECASE)
                sources.append(patterns.ecma(source, python=python, ignores_case=ignores))
            except ValueError as error:
                note = f"the pattern {source!r}, which ECMA-262 has no like of: {error}"
        strips = schema.get("strip_whitespace", self._config.str_strip_whitespace)
        if strips and (sources or note or found.keys() & {"minLength", "maxLength"}):
            sources.append("^(?!\\p{White_Space})[^]*$")
            sources.append("^[^]*(?<!\\p{White_Space})$")
        if len(sources) == 1:
            found["pattern"] = sources[0]
        elif sources:
            found["allOf"] = [{"pattern": source} for source in sources]
        return found if note is None else noted(found, note)

    def bytes_schema(self, schema: Any) -> Schema:
        """Return bytes: text in UTF-8, or in the encoding that the configuration names."""
        least, most = schema.get("min_length", 0), schema.get("max_length")
        encoding = self._config.val_json_bytes
        if encoding == "utf8":
            found: Schema = {"type": "string"}
            if least:
                found["minLength"] = least  # characters; of bytes there are as many or more
            if most is not None:
                ways = [f"[\\0-\\x7f]{{0,{most}}}", f"[\\0-\\u07ff]{{0,{most // 2}}}", f"[^]{{0,{most // 4}}}"]
                found["pattern"] = text_types.whole("|".join(ways))
            return found
        source = "(?:[0-9a-fA-F]{2})*" if encoding == "hex" else text_types.base64("_-", ascii_only=False)
        found = {"type": "string", "pattern": text_types.whole(source)}
        return noted(found, "how many bytes there are") if least or most is not None else found

    def date_schema(self, schema: Any) -> Schema:
        """Return dates of Python's years, between bounds."""
        found: Schema = {"type": "string", "format": "date", "pattern": text_types.NOT_YEAR_0}
        low, high, day = schema.get("ge"), schema.get("le"), datetime.timedelta(1)
        if schema.get("gt") is not None:
            low = max(low or datetime.date.min, schema["gt"] + day)
        if schema.get("lt") is not None:
            high = min(high or datetime.date.max, schema["lt"] - day)
        if low is not None or high is not None:
            found["pattern"] = text_types.dates(low or datetime.date.min, high)
        return _at_its_time(schema, found)

    def time_schema(self, schema: Any) -> Schema:
        """Return times, with or without an offset."""
        zone = schema.get("tz_constraint")
        found = {
            "type": "string",
            "pattern": text_types.whole(text_types.time(zone if isinstance(zone, str) else None)),
        }
        return _zoned(schema, _bounded(schema, found))

    def datetime_schema(self, schema: Any) -> Schema:
        """Return dates with times, with or without an offset."""
        zone = schema.get("tz_constraint")
        found = {
            "type": "string",
            "pattern": text_types.whole(text_types.date_time(zone if isinstance(zone, str) else None)),
        }
        if zone == "aware":
            found["format"] = "date-time"
        return _zoned(schema, _at_its_time(schema, _bounded(schema, found)))

    def timedelta_schema(self, schema: Any) -> Schema:
        """Return durations."""
        return _bounded(schema, {"type": "string", "pattern": text_types.whole(text_types.DURATION)})

    def uuid_schema(self, schema: Any) -> Schema:
        """Return UUIDs of a version, or of any."""
        found = {"type": "string", "format": "uuid"}
        if schema.get("version") is not None:
            found["pattern"] = text_types.whole(text_types.uuid(schema["version"]))
        return found

    def url_schema(self, schema: Any) -> Schema:
        """Return URLs of the schemes that are allowed."""
        source = urls.url(schema.get("allowed_schemes"), needs_host=_needs_host(schema))
        return _as_long(schema, {"type": "string", "pattern": text_types.whole(source)})

    def multi_host_url_schema(self, schema: Any) -> Schema:
        """Return URLs with several hosts."""
        source = urls.multi_host_url(schema.get("allowed_schemes"), needs_host=_needs_host(schema))
        return _as_long(schema, {"type": "string", "pattern": text_types.whole(source)})

    def json_schema(self, schema: Any) -> Schema:
        """Return texts that hold JSON."""
        found = super().json_schema(schema)
        return noted({"type": "string", **found}, "that the text is itself JSON, of the type that is named")

    # ---- arrays and objects ----

    def _common_set_schema(self, schema: Any) -> Schema:
        found = super()._common_set_schema(schema)
        kind = _innermost(schema.get("items_schema", {"type": "any"}))["type"]
        if schema.get("min_length", 0) > 1 and kind not in _PLAIN_ITEMS and not _is_plain_text(schema["items_schema"]):
            return noted(found, "that so many items differ when they are read")
        return found

    def _common_dict_schema(self, schema: Any) -> Schema:
        """Return objects whose keys are texts of the keys' type."""
        values = self.generate_inner(schema["values_schema"]).copy() if "values_schema" in schema else {}
        values.pop("title", None)
        found: Schema = {"type": "object", "additionalProperties": values or True}
        if "keys_schema" in schema:
            keys = self._key(self.generate_inner(schema["keys_schema"]), schema["keys_schema"])
            if keys not in ({}, {"type": "string"}):
                found["propertyNames"] = keys
        self.update_with_validations(found, schema, self.ValidationsMapping.object)
        return found

    def _key(self, keys: Schema, core: Any) -> Schema | bool:
        """Return what a key's text is, of the schema of the value that it is read as."""
        keys = {key: value for key, value in keys.items() if key not in ("title", "default")}
        if "$ref" in keys:
            target = self.get_schema_from_definitions(keys["$ref"])
            return self._key(target, core) if target is not None else noted({}, "what type the keys are of")
        if "enum" in keys or "const" in keys:
            values = keys["enum"] if "enum" in keys else [keys["const"]]
            if _innermost(core)["type"] == "enum":
                names = [
                    value if isinstance(value, str) else str(value) for value in values if isinstance(value, str | int)
                ]
            else:
                names = [value for value in values if isinstance(value, str)]
            return {"enum": names} if names else False
        if "anyOf" in keys:
            ways = [self._key(way, {"type": "any"}) for way in keys["anyOf"]]
            ways = [way for way in ways if way is not False]
            return {"anyOf": ways} if ways else False
        kind = keys.get("type")
        if kind in ("integer", "number"):
            return _number_key(_innermost(core), keys, whole=kind == "integer")
        if kind == "boolean":
            return {"enum": ["true", "false"]}
        return keys if kind in ("string", None) else False

    # ---- models ----

    def _named_required_fields_schema(self, named_required_fields: Sequence[tuple[str, bool, Any]]) -> Schema:
        """Return an object of fields; one that is read from inside of another member has its way there."""
        plain, ways = [], []
        for name, required, field in named_required_fields:
            if field.get("init") is False:
                continue
            found = _ways_of(field)
            if self.by_alias and self.mode == "validation" and found and all(len(way) > 1 for way in found):
                ways.append((name, required, field, found))
            else:
                plain.append((name, required, field))
        schema = super()._named_required_fields_schema(plain)
        for name, required, field, found in ways:
            inner = self.generate_inner(field).copy()
            inner.setdefault("title", self.get_title_from_name(name))
            if any(isinstance(step, int) and step < 0 for step in found[0]):
                schema = noted(schema, f"where {name} is read from")
                continue
            _lay(schema, found[0], inner, required=required)
        for name, others in _other_names(plain):
            if name in schema["properties"]:
                schema["properties"].update((other, False) for other in others if other not in schema["properties"])
        return schema

    def tagged_union_schema(self, schema: Any) -> Schema:
        """Return a union of objects, each with the member that tells it apart."""
        found = super().tagged_union_schema(schema)
        name = self._extract_discriminator(schema, found["oneOf"])
        if name is None:
            found = {**{key: value for key, value in found.items() if key != "oneOf"}, "anyOf": found["oneOf"]}
            return noted(found, "which of the types a function of its own chooses")
        return {**found, "required": [name]}

    def model_schema(self, schema: Any) -> Schema:
        """Return a model's object."""
        found = super().model_schema(schema)
        hook = schema.get("post_init")
        function = getattr(schema["cls"], hook or "", None)
        if function is None or (known_types.is_pydantic(function) and function.__name__ == "init_private_attributes"):
            return found
        return noted(found, f"what {hook} refuses")

    def dataclass_schema(self, schema: Any) -> Schema:
        """Return a dataclass's object."""
        found = super().dataclass_schema(schema)
        return noted(found, "what __post_init__ refuses") if schema.get("post_init") else found


#: Pydantic's checks of constraints on types that don't know them, with the keyword that says the same.
_CONSTRAINTS = {
    "greater_than": "exclusiveMinimum",
    "greater_than_or_equal": "minimum",
    "less_than": "exclusiveMaximum",
    "less_than_or_equal": "maximum",
    "multiple_of": "multipleOf",
    "min_length": "minItems",
    "max_length": "maxItems",
    "max_digits": "",
    "decimal_places": "",
}


def _is_said(keyword: str, found: Schema) -> bool:
    """Say whether a schema has the keyword, and means by it what Pydantic does: of sets it counts what differs."""
    is_number, is_list = found.get("type") in ("number", "integer"), found.get("type") == "array"
    return keyword in found and (is_number or (is_list and not found.get("uniqueItems")))


def _is_read(schema: Any, value: Any) -> bool:
    """Say whether the validator of an enum reads a member's value from JSON."""
    keys = ("type", "cls", "members", "sub_type", "missing", "strict")
    core: Any = {key: schema[key] for key in keys if key in schema}
    try:
        SchemaValidator(core).validate_json(to_json(value))
    except (ValidationError, PydanticSerializationError, ValueError):
        return False
    return True


def _is_json(value: Any) -> bool:
    """Whether a value has no number in it that JSON does not have."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def _innermost(schema: Any) -> Any:
    """Return the core schema inside of what only wraps it."""
    while schema["type"] in ("default", "nullable", "function-before", "function-after", "function-wrap"):
        schema = schema["schema"]
    return schema


def _is_plain_text(schema: Any) -> bool:
    changes = ("strip_whitespace", "to_lower", "to_upper")
    return schema["type"] == "str" and not any(schema.get(change) for change in changes)


def _between(schema: Any, form: str, *, fraction: bool) -> str:
    def number(*names: str) -> tuple[Decimal | None, bool]:
        given = [(Decimal(str(schema[name])), name in ("gt", "lt")) for name in names if schema.get(name) is not None]
        if not given:
            return None, False
        return max(given) if names[0] == "ge" else min(given, key=lambda one: (one[0], not one[1]))

    (low, above), (high, below) = number("ge", "gt"), number("le", "lt")
    return decimals.between(low, high, above=above, below=below, form=form, fraction=fraction)


def _number_key(core: Any, keys: Schema, *, whole: bool) -> Schema:
    form = decimals.WHOLE if whole else decimals.PLAIN
    note = f"the constraint multiple_of={keys['multipleOf']} of keys" if "multipleOf" in keys else None
    source = text_types.INTEGER_KEY if whole else text_types.FLOAT_KEY
    if any(core.get(bound) is not None for bound in _BOUNDS):
        try:
            source = _between(core, form, fraction=not whole)
        except ValueError as error:
            note = str(error)
    found = {"pattern": text_types.whole(source)}
    return found if note is None else noted(found, note)


def _bounded(schema: Any, found: Schema) -> Schema:
    """Note bounds that the texts of a type do not tell."""
    for bound in _BOUNDS:
        if schema.get(bound) is not None:
            found = noted(found, f"the constraint {bound}={schema[bound]}")
    return found


def _at_its_time(schema: Any, found: Schema) -> Schema:
    when = schema.get("now_op")
    return found if when is None else noted(found, f"that it lies in the {when}, when the answer is read")


def _zoned(schema: Any, found: Schema) -> Schema:
    zone = schema.get("tz_constraint")
    return noted(found, f"the offset of {zone} seconds") if isinstance(zone, int) else found


def _needs_host(schema: Any) -> bool:
    return bool(schema.get("host_required")) or ("default_port" in schema and "default_host" not in schema)


def _as_long(schema: Any, found: Schema) -> Schema:
    return found if schema.get("max_length") is None else {**found, "maxLength": schema["max_length"]}


def _ways_of(field: Any) -> list[list[str | int]]:
    """Return where a field is read from, the first first: each a way of member names and positions."""
    alias = field.get("validation_alias")
    if alias is None or isinstance(alias, str):
        return []
    return [list(way) for way in alias] if isinstance(alias[0], list) else [list(alias)]


def _other_names(fields: Sequence[tuple[str, bool, Any]]) -> Iterator[tuple[str, list[str]]]:
    """Yield the name that a field is written by with the others that it would be read from."""
    for name, _, field in fields:
        single = [str(way[0]) for way in _ways_of(field) if len(way) == 1]
        if len(single) > 1:
            yield single[0], [*single[1:], name]


def _lay(schema: Schema, way: Sequence[str | int], leaf: Schema, *, required: bool) -> None:
    """Put a schema where a way leads, inside of the objects and arrays on it."""
    head, rest = way[0], way[1:]
    members: Mapping[str, Any] = schema.setdefault("properties", {})
    node = members.get(str(head))
    if required and head not in schema.setdefault("required", []):
        schema["required"].append(head)
    schema["properties"][str(head)] = _laid(node if isinstance(node, dict) else {}, rest, leaf)


def _laid(node: Schema, way: Sequence[str | int], leaf: Schema) -> Schema:
    if not way:
        return {"allOf": [node, leaf]} if node else leaf
    step, rest = way[0], way[1:]
    if isinstance(step, str):
        members = dict(node.get("properties", {}))
        members[step] = _laid(members.get(step, {}), rest, leaf)
        needed = list(dict.fromkeys((*node.get("required", ()), step)))
        return {**node, "type": "object", "properties": members, "required": needed}
    items = list(node.get("prefixItems", ()))
    items += [{} for _ in range(step + 1 - len(items))]
    items[step] = _laid(items[step], rest, leaf)
    return {**node, "type": "array", "prefixItems": items, "minItems": max(node.get("minItems", 0), step + 1)}
